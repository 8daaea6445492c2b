"""Every entry of the table is real: a short program meets it on QEMU. An entry that no longer shows has to go."""

from __future__ import annotations

import pytest

from .accepted import ENTRIES
from .configs import CONFIGS
from .differ import compare
from .ops import GICD_BASE, GICR_BASE, GITS_BASE, PUSH, SCR_FIQ, TABLES, USE, Kind
from .qemu import OracleError, Qemu
from .writer import SGI, Writer

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("qemu_installed")]


ALL = (1 << 64) - 1


def _on(config: str) -> Writer:
    return Writer(CONFIGS[config])


def _with_lpis() -> Writer:
    writer = _on("its-smp1").write(GICR_BASE + 0x70, TABLES | 15, Kind.W64)
    return writer.write(GICR_BASE + 0x78, TABLES + 0x1_0000, Kind.W64).write(GICR_BASE, 1)


def _programs() -> dict[str, Writer]:
    programs = {
        "crash-bpr": _on("ds1-smp1").ready(1).msr("ICC_BPR1_EL1", 8).write(SGI + 0x200, 1).mrs("ICC_IAR1_EL1"),
        "crash-intid": _on("ds1-smp1").msr("ICC_DIR_EL1", 5000),
        "common-lpi-aff": _on("ds1-smp1").read(GICR_BASE + 8, Kind.R64).read(GICR_BASE + 8),
        "lpi-tables": _on("ds1-smp1").write(GICR_BASE, 1).read(GICR_BASE),
        "lpi-res0": _on("ds1-smp1").write(GICR_BASE + 0x70, ALL, Kind.W64).write(GICR_BASE + 0x7C, ALL >> 32),
        "lpi-fixed": _with_lpis().write(GICR_BASE + 0x70, TABLES, Kind.W64).read(GICR_BASE + 0x70, Kind.R64),
        "its-typer": _on("its-smp1").read(GITS_BASE + 8, Kind.R64).read(GITS_BASE + 8).read(GITS_BASE + 12),
        "its-quiescent": _on("its-smp1").read(GITS_BASE).write(GITS_BASE, 1).read(GITS_BASE),
        "waker": _on("ds1-smp1").write(GICR_BASE + 0x14, 2),
        "priority-bits": _on("ds1-smp1").write(SGI + 0x400, 0xFFFFFFFF).read(SGI + 0x400),
        "typer-lines": _on("ds1-smp1").read(GICD_BASE + 4),
        "irouter-res0": _on("ds1-smp1").write(GICD_BASE + 0x6100, 1 << 40, Kind.W64).read(GICD_BASE + 0x6100, Kind.R64),
        "sgi1r-ds1": _on("ds1-smp1").ready().msr("ICC_SGI1R_EL1", 1),
        "sgi1r-secure": _on("ds0-smp1").ready().at(3, ns=False).msr("ICC_SGI1R_EL1", 1),
        "sgi1r-nsacr": _on("ds0-smp1").ready().write(SGI + 0xE00, 1).at(1).msr("ICC_SGI1R_EL1", 1),
        "ctlr-idbits": _on("ds1-smp1").mrs("ICC_CTLR_EL1"),
        "ctlr-el3-nds": _on("ds0-smp1").mrs("ICC_CTLR_EL3"),
        "ctlr-el3-el1s": _on("ds0-smp1").msr("ICC_CTLR_EL3", 1 << 4).mrs("ICC_CTLR_EL3"),
        "sre-el2": _on("ds0-smp1").mrs("ICC_SRE_EL2"),
        "ap1r-ns": _on("ds0-smp1").msr("ICC_AP1R0_EL1", 1 << 31),
        "ds1-secure-fiq": _on("ds0-smp1").ready(1).write(GICD_BASE, 0x40).write(GICD_BASE, 3).write(SGI + 0x200, 1),
    }
    programs["ds1-banks"] = (
        _on("ds1-smp4-el3")
        .ready(1)
        .write(GICD_BASE, 3)
        .at(1)
        .write(SGI + 0x200, 1)
        .at(1, ns=False)
        .mrs("ICC_IAR1_EL1", flags=PUSH)
        .mrs("ICC_AP1R0_EL1")
        .msr("ICC_EOIR1_EL1", flags=USE)
        .mrs("ICC_RPR_EL1")
    )
    programs["ds1-active"] = (
        _on("ds0-smp1")
        .ready(modifier=1)
        .write(SGI + 0x200, 1)
        .mrs("ICC_IAR1_EL1", flags=PUSH)
        .write(GICD_BASE, 0x40)
        .at(1)
        .msr("ICC_EOIR1_EL1", flags=USE)
        .mrs("ICC_RPR_EL1")
    )
    programs["icfgr-stale"] = (
        _on("ds1-smp1")
        .ready()
        .write(GICD_BASE + 0x84, 2)
        .write(GICD_BASE + 0xC08, 8)
        .write(GICD_BASE + 0x104, 2)
        .line(33, 1)
        .write(GICD_BASE + 0x284, 2)
        .write(GICD_BASE + 0xC08, 0)
        .look()
    )
    programs["ap-sign"] = _on("ds1-smp1-p8").ready().write(SGI + 0x400, 0x3E, Kind.W8).write(SGI + 0x200, 1)
    programs["ap-sign"].mrs("ICC_IAR0_EL1").mrs("ICC_AP0R0_EL1")
    # Group 1 Secure is the running one, so Secure EL1 may drop it; the INTID it names is Non-secure and stays active.
    programs["eoi-other-group"] = (
        _on("ds0-smp1")
        .ready(group1=1, modifier=2)
        .write(SGI + 0x401, 0x10, Kind.W8)
        .write(SGI + 0x200, 1)
        .mrs("ICC_IAR1_EL1", flags=PUSH)
        .write(SGI + 0x200, 2)
        .mrs("ICC_IAR1_EL1")
        .at(1, ns=False)
        .msr("ICC_EOIR1_EL1", flags=USE)
    )
    return programs


PROGRAMS = _programs()
COMPANIONS = {
    "ctlr-el3-nds": {"ctlr-idbits"},
    "ctlr-el3-el1s": {"ctlr-el3-nds", "ctlr-idbits"},
}
"""Entries that cannot but show together."""


def test_every_entry_has_a_program() -> None:
    assert set(PROGRAMS) == set(ENTRIES)


@pytest.mark.parametrize("name", PROGRAMS)
def test_entry_shows_and_nothing_else_differs(name: str) -> None:
    writer = PROGRAMS[name]
    with Qemu(writer.config) as qemu:
        outcome = compare(qemu, writer.program)
    assert outcome.difference is None, str(outcome.difference)
    assert outcome.hits[name] >= 1
    assert set(outcome.hits) <= {name} | COMPANIONS.get(name, set())


def test_qemu_dies_of_a_binary_point_above_7_with_low_bits_0() -> None:
    writer = PROGRAMS["crash-bpr"]
    with Qemu(writer.config) as qemu, pytest.raises(OracleError, match="bpr > 0"):
        qemu.run(writer.program)


def test_an_fiq_to_el3_ends_an_operation_of_a_lower_level_before_it_starts() -> None:
    writer = Writer(CONFIGS["ds0-smp1"]).ready().write(SGI + 0x200, 1).at(1, scr=SCR_FIQ).mrs("ICC_HPPIR1_EL1")
    with Qemu(writer.config) as qemu:
        assert compare(qemu, writer.program).difference is None
        last = qemu.run(writer.program)[-1]
    assert (last.phase, last.taken) == (0, 2 << 2 * 3)
