"""THE table of accepted differences between QEMU 7.2 and the core; `rules.py` says exactly where each may show."""

from __future__ import annotations

from typing import NamedTuple

CHOICES = {
    "hpp_rule": (
        "gate",
        "ICC_IGRPEN is tested on the one highest-priority interrupt only; the architecture leaves it open",
    ),
    "apr_rule": ("bpr", "acknowledging masks the active priority by the binary point; the architecture leaves it open"),
}
"""Choices that the core offers, with the value that is QEMU's: the core is configured so, and no difference is left."""


class Entry(NamedTuple):
    """One accepted difference: the kind of reason it has, and the reason."""

    name: str
    kind: str
    reason: str


_TABLE = (
    Entry(
        "crash-bpr",
        "QEMU crash",
        "BPR1 above 7 with 0 in 2:0 fails an assertion at the next Group 1 interrupt; 2:0 kept",
    ),
    Entry("crash-intid", "QEMU crash", "EOIR, DIR of an unimplemented INTID reach outside an array; 1023 instead"),
    Entry("common-lpi-aff", "permitted", "GICR_TYPER.CommonLPIAff is 1 (same Aff3); ours 0 (all PEs)"),
    Entry("lpi-tables", "QEMU's memory", "EnableLPIs stays 0 where PROPBASER or PENDBASER leave the tables' RAM"),
    Entry("lpi-fixed", "unpredictable", "PROPBASER, PENDBASER written while LPIs are enabled: ours ignores it"),
    Entry("lpi-res0", "permitted", "PROPBASER, PENDBASER keep RES0 bits and PTZ, which ours reads as 0; written as 0"),
    Entry("its-typer", "permitted", "GITS_TYPER: entries of 12 bytes, CIL=1 with 16 bits; ours 8, CIL=0: 16 bits"),
    Entry("its-quiescent", "permitted", "GITS_CTLR.Quiescent is 1 while enabled, UNKNOWN before GICv4.1; ours 0"),
    Entry("waker", "QEMU lacks it", "a sleeping PE still gets interrupts; WAKER.ProcessorSleep is only ever written 0"),
    Entry("priority-bits", "QEMU defect", "IPRIORITYR keeps unimplemented priority bits; writes have them 0"),
    Entry(
        "typer-lines", "QEMU defect", "GICD_TYPER.ITLinesNumber is one less than the words there are; ours counts them"
    ),
    Entry("irouter-res0", "permitted", "IROUTER bits 63:40 and 30:24 read back as written; ours read 0"),
    Entry("icfgr-stale", "QEMU defect", "a changed ICFGR meets the line only with the next event; ours at once"),
    Entry("ap-sign", "QEMU defect", "8 priority bits: acknowledging sets AP bit 31 with 63:32, later EOIs drop those"),
    Entry(
        "ap1r-ns",
        "QEMU defect",
        "EL3: writes to Non-secure AP1R0 (8 bits: AP1R1 too) are dropped; one ours takes is a read",
    ),
    Entry("sgi1r-ds1", "QEMU defect", "DS=1: SGI1R does not forward an SGI in Group 0; ours does (gem5, KVM too)"),
    Entry("sgi1r-secure", "unclear", "DS=0: Secure SGI1R forwards an SGI in Group 0; ours does not (gem5)"),
    Entry(
        "sgi1r-nsacr", "unclear", "DS=0: Non-secure SGI1R forwards no Secure SGI; ours does where NSACR permits (gem5)"
    ),
    Entry("ctlr-idbits", "permitted", "ICC_CTLR.IDbits is 24 bits with 16 in GICD_TYPER; ours 16"),
    Entry("ctlr-el3-nds", "permitted", "CTLR_EL3.nDS is 1 although DS can be set; ours 0"),
    Entry("ctlr-el3-el1s", "QEMU defect", "CTLR_EL3.{EOImode,CBPR}_EL1S show the Non-secure bank; ours the Secure one"),
    Entry("sre-el2", "permitted", "ICC_SRE_EL2 at EL3 while EL2 is not enabled there is no fault; ours UNDEFINED"),
    Entry(
        "eoi-other-group", "permitted", "EOIR deactivates an INTID whose group the state could not EOI; ours does not"
    ),
    Entry("ds1-banks", "unclear", "DS=1, PE Secure: keeps its bank, sees no Group 1; ours answers as QEMU Non-secure"),
    Entry("ds1-active", "permitted", "DS set with Secure Group 1 active: who may end it; AP1R cleared before"),
    Entry("ds1-secure-fiq", "unclear", "DS=1, PE Secure: Group 1 is an FIQ; ours an IRQ (gem5)"),
)
ENTRIES = {entry.name: entry for entry in _TABLE}
