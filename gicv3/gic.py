"""GICv3 and GICv3Config: what an embedder builds first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy
import numpy.typing as npt

from gicv3._core import Gic, context_set, register_encoding, sysreg_outcome
from gicv3.arguments import integer, integers, switch
from gicv3.arrays import Arrays, Latency, statistics
from gicv3.association import GicCpuHotplugNotifier
from gicv3.batch import Batch
from gicv3.errors import ConfigError
from gicv3.explain import Explanation, explain
from gicv3.its import ITS_SIZE, ItsView
from gicv3.memory import Memory
from gicv3.registers import SYSREGS, SysReg, encode
from gicv3.snapshot import Source, load_gic, restore_gic, save_gic
from gicv3.strict import Finding, findings
from gicv3.views import Access, FrameView, PeView, RedistView, Views

_SCR_NS = 1
_SCR_EEL2 = 1 << 18
_REDIST_STRIDE = 0x20000
_MAX_ADDRESS = 1 << 52
_MAX_ITS = 16
_ITS_BASE = 0x0808_0000
_ITS_PLACES = 4  # between it and the Distributor
_PIDR = tuple((part, 0xB4, 0x3B, 0, 0x44, 0, 0, 0) for part in (0x92, 0x93, 0x97))

_OPTIONAL = ("cpus", "affinities", "its_bases", "its_umsi_spi", "message_frame", "redist_regions")
_LISTS = ("affinities", "its_bases", "its_entry_sizes")
_ROWS = ("pidr", "redist_regions")
_CHOICES = {
    "hpp_rule": ("filter", "gate"), "apr_rule": ("minimum", "bpr"), "lpi_config": ("cached", "live"),
    "its_errors": ("continue", "stall"), "unknown_route": ("nowhere", "first"), "tie": ("lowest", "highest"),
}
_HEX = ("affinities", "its_bases", "iidr", "pidr", "dist_base", "message_frame")


def _plain(name: str, default: Any, value: Any) -> Any:
    """A field's value in the one form in which it is kept, compared and saved."""
    if isinstance(default, bool):
        return switch(name, value)
    if isinstance(default, str):
        return str(value) if isinstance(value, str) else value
    if name in _LISTS:
        return integers(name, value)
    if name in _ROWS:
        if not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a sequence of sequences of integers, got {value!r:.80}")
        return tuple(integers(f"an element of {name}", row) for row in value)
    return integer(name, value)


def _text(name: str, value: Any) -> str:
    """A field's value for people: addresses and affinities in hexadecimal; a long sequence by its length."""
    if name == "redist_regions" and value is not None:
        return f"[{', '.join(f'({base:#x}, {count})' for base, count in value)}]"
    if not isinstance(value, tuple):
        return f"{value:#x}" if name in _HEX else repr(value)
    if len(value) > 8:
        return f"<{len(value)} values>"
    return f"({', '.join(_text(name, item) for item in value)}{',' if len(value) == 1 else ''})"


@dataclass(frozen=True, kw_only=True, repr=False)
class GICv3Config:
    """What is IMPLEMENTATION DEFINED about a GICv3, chosen once.

    Parameters
    ----------
    cpus : number of PEs, 1..65536. Affinities are then 16 PEs to a cluster, carrying upwards (Aff0 = n % 16, ...).
    affinities : instead of `cpus`, the distinct affinities in MPIDR form (Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0).
    spis : number of SPIs from INTID 32: a multiple of 32 up to 960, or 988.
    espis : number of extended SPIs from INTID 4096: a multiple of 32 up to 1024.
    eppis : number of extended PPIs from INTID 1056: 0, 32 or 64.
    priority_bits : implemented bits of a priority, 4..8 (at least 5 with `security`).
    security : two security states (GICD_CTLR.DS resets to 0 and can be set; PEs have EL3). False: DS is RAO/WI, no EL3.
        With DS set the Non-secure copy of the banked ICC registers serves every state; the SGI registers alone still
        tell a Secure writer from a Non-secure one.
    el2 : PEs have EL2: HCR_EL2.{FMO,IMO} redirect EL1 accesses.
    message_spis : GICD_SETSPI_*/CLRSPI_* exist (GICD_TYPER.MBIS).
    nmi : FEAT_GICv3_NMI.
    range_selector : SGIs reach Aff0 above 15 (RSS).
    statusr : GICD_STATUSR and GICR_STATUSR exist.
    one_of_n : SPIs with GICD_IROUTER.IRM go to one participating PE (GICD_TYPER.No1N is 0): the first at or after
        INTID mod num_pe, kept until it stops participating. Brings GICR_CTLR.DPG*, GICD_CTLR.E1NWF and PMHE.
    hpp_rule : "filter": a group disabled in ICC_IGRPEN is left out before the highest priority pending interrupt is
        chosen; "gate": the choice is made first, so such an interrupt hides others (QEMU, gem5).
    apr_rule : "minimum": active priorities are recorded as if the binary point were at its minimum (Arm's RPR text);
        "bpr": masked by the current one (QEMU, KVM).
    id_bits : INTID bits that GICD_TYPER.IDbits reports, 10..24; at least 11 with `eppis`, 13 with `espis`, 14 with
        `lpis`. ICC_CTLR_EL1 and ICC_CTLR_EL3 report 16 for up to 16, else 24.
    iidr : value of GICD_IIDR and GICR_IIDR.
    pidr : PIDR0..PIDR7 of the GICD, GICR and GICM frames: three sequences of eight bytes.
    unknown_route : what GICD_IROUTER does with an affinity that no PE has: "nowhere" (pending, not delivered) or
        "first" (PE 0); it reads back as written.
    tie : which of pending interrupts of equal priority is served first: the "lowest" INTID or the "highest".
    aff3 : affinities may have an Aff3 other than 0 (GICD_TYPER.A3V, ICC_CTLR_EL1.A3V).
    lpis : LPIs exist (GICD_TYPER.LPIS); their tables are in `GICv3.memory`.
    direct_lpi : GICR_SETLPIR and GICR_CLRLPIR exist (GICR_TYPER.DirectLPI); needs `lpis`.
    lpi_invalidate : with `lpis`, GICR_INVLPIR, GICR_INVALLR and GICR_SYNCR exist (GICR_CTLR.IR).
    lpi_config : "cached": the configuration byte of an LPI is kept until it is invalidated, or a redistributor enables
        LPIs; "live": it is read whenever the LPI becomes pending.
    its : number of ITSs, 0..16; needs `lpis`. Their tables are in `GICv3.memory`.
    its_bases : physical address of each ITS, 64 KB aligned, 128 KB long; None: ITS n at 0x0808_0000 - n * 0x2_0000, n
        up to 3.
    device_bits, event_bits : bits of a DeviceID and of an EventID, 1..32 (GITS_TYPER.Devbits and ID_bits, plus 1).
    collection_bits : bits of an ICID, 1..16; below 16 GITS_TYPER.CIL is 1.
    pta : RDbase in commands is a redistributor's address, not its number (GITS_TYPER.PTA).
    its_entry_sizes : bytes of a device, a collection and an event's table entry, 8, 16 or 32 each.
    its_errors : a command that cannot be done is recorded, and then the queue goes on ("continue") or stalls ("stall").
    its_umsi : unmapped MSIs are told in GITS_STATUSR and GITS_UMSIR (GITS_TYPER.UMSI).
    its_umsi_spi : INTID of the SPI that ITS 0 drives to tell of them, ITS n the n-th after it, or None; needs
        `its_umsi`.
    work_budget : how much work for LPIs and ITSs one call does at most, the rest going on with later calls: a command,
        an LPI or 64 bytes of a pending table is a unit; 1..2**24.
    settle_steps : `step()`s until RWP, UWP, ChildrenAsleep and GITS_CTLR.Quiescent settle; 0 settles at once.
    strict : record CONSTRAINED UNPREDICTABLE and reserved use in a bounded log; see `strict_log` and docs/explain.md.
    dist_base : physical address of the Distributor, 64 KB aligned.
    message_frame : physical address of a GICM frame, 64 KB aligned, or None; needs `message_spis`.
    redist_regions : (base, number of PEs) of each redistributor region in PE order; 128 KB a PE, 64 KB aligned.
        None: one region at 0x080A_0000.

    Raises
    ------
    ConfigError : a value is out of range; the text names it and the limit.
    TypeError : a number is no integer; the text names the field. NumPy's integers and bools are kept as Python's.
    """

    cpus: int | None = None
    affinities: Sequence[int] | None = None
    spis: int = 988
    espis: int = 0
    eppis: int = 0
    priority_bits: int = 5
    security: bool = False
    el2: bool = False
    message_spis: bool = False
    nmi: bool = False
    range_selector: bool = False
    statusr: bool = False
    one_of_n: bool = False
    hpp_rule: str = "filter"
    apr_rule: str = "minimum"
    id_bits: int = 16
    lpis: bool = False
    direct_lpi: bool = False
    lpi_invalidate: bool = True
    lpi_config: str = "cached"
    its: int = 0
    its_bases: Sequence[int] | None = None
    device_bits: int = 16
    event_bits: int = 16
    collection_bits: int = 16
    pta: bool = False
    its_entry_sizes: Sequence[int] = (8, 8, 8)
    its_errors: str = "continue"
    its_umsi: bool = False
    its_umsi_spi: int | None = None
    iidr: int = 0x43B
    pidr: Sequence[Sequence[int]] = _PIDR
    unknown_route: str = "nowhere"
    tie: str = "lowest"
    aff3: bool = True
    work_budget: int = 1 << 17
    settle_steps: int = 0
    strict: bool = False
    dist_base: int = 0x0800_0000
    message_frame: int | None = None
    redist_regions: Sequence[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):   # kept as plain values and tuples: what was checked here must not change later
            value = getattr(self, field.name)
            if value is not None or field.name not in _OPTIONAL:
                object.__setattr__(self, field.name, _plain(field.name, field.default, value))
        for name, (one, other) in _CHOICES.items():
            if getattr(self, name) not in (one, other):
                raise ConfigError(f"{name} must be {one!r} or {other!r}, got {getattr(self, name)!r}")
        if (self.cpus is None) == (self.affinities is None):
            raise ConfigError("exactly one of cpus and affinities must be given")
        if not 1 <= self.num_pe <= 65536:
            name = "cpus" if self.affinities is None else "len(affinities)"
            raise ConfigError(f"{name} must be in 1..65536, got {self.num_pe}")
        for affinity in self.affinities or ():
            if not 0 <= affinity < 1 << 40 or affinity & 0xFF00_0000:
                raise ConfigError(f"an affinity has Aff3 in 39:32 and Aff2..Aff0 in 23:0 only, got {affinity:#x}")
        if self.spis != 988 and (self.spis % 32 or not 0 <= self.spis <= 960):
            raise ConfigError(f"spis must be a multiple of 32 in 0..960, or 988, got {self.spis}")
        if self.espis % 32 or not 0 <= self.espis <= 1024:
            raise ConfigError(f"espis must be a multiple of 32 in 0..1024, got {self.espis}")
        if self.eppis not in (0, 32, 64):
            raise ConfigError(f"eppis must be 0, 32 or 64, got {self.eppis}")
        least = 5 if self.security else 4
        if not least <= self.priority_bits <= 8:
            raise ConfigError(f"priority_bits must be in {least}..8, got {self.priority_bits}")
        if not 10 <= self.id_bits <= 24:
            raise ConfigError(f"id_bits must be in 10..24, got {self.id_bits}")
        for name, least in (("eppis", 11), ("espis", 13)):
            if getattr(self, name) and self.id_bits < least:
                raise ConfigError(f"id_bits must be in {least}..24 with {name}, got {self.id_bits}")
        if self.lpis and self.id_bits < 14:
            raise ConfigError(f"id_bits must be in 14..24 with lpis=True, got {self.id_bits}")
        if self.direct_lpi and not self.lpis:
            raise ConfigError("direct_lpi needs lpis=True, got False")
        self._check_its()
        if not 0 <= self.iidr <= 0xFFFF_FFFF:
            raise ConfigError(f"iidr must be in 0..0xffffffff, got {self.iidr:#x}")
        if any(len(region) != 2 for region in self.redist_regions or ()):
            raise ConfigError(f"redist_regions must be pairs (base, number of PEs), got {self.redist_regions!r}")
        if len(self.pidr) != 3 or any(len(p) != 8 or not all(0 <= b <= 255 for b in p) for p in self.pidr):
            raise ConfigError(f"pidr must be three sequences of eight bytes, got {self.pidr!r}")
        if not self.aff3 and (high := [a for a in self.affinities or () if a >> 32]):
            raise ConfigError(f"affinities must have Aff3 = 0 with aff3=False, got {high[0]:#x}")
        if not 0 <= self.settle_steps <= 1_000_000:
            raise ConfigError(f"settle_steps must be in 0..1000000, got {self.settle_steps}")
        if not 1 <= self.work_budget <= 1 << 24:
            raise ConfigError(f"work_budget must be in 1..{1 << 24}, got {self.work_budget}")
        if self.message_frame is not None and not self.message_spis:
            raise ConfigError("message_frame needs message_spis=True, got False")
        self._check_map()

    def __repr__(self) -> str:
        """The fields that are not at their default."""
        shown = [(field.name, getattr(self, field.name)) for field in fields(self)
                 if getattr(self, field.name) != field.default]
        return f"GICv3Config({', '.join(f'{name}={_text(name, value)}' for name, value in shown)})"

    def has(self, feature: str) -> bool:
        """True when the switch that a register row names in `needs` is on."""
        value = getattr(self, feature, None)
        if feature == "lpi_invalidate":
            return self.lpis and self.lpi_invalidate
        if feature == "its_status":
            return self.its > 0 and (self.statusr or self.its_umsi)
        return value is not None if feature == "message_frame" else bool(value)

    def _check_its(self) -> None:
        if not 0 <= self.its <= _MAX_ITS:
            raise ConfigError(f"its must be in 0..{_MAX_ITS}, got {self.its}")
        if self.its and not self.lpis:
            raise ConfigError("its needs lpis=True, got False")
        if self.its_bases is not None and len(self.its_bases) != self.its:
            raise ConfigError(f"its_bases must be one for each of {self.its} ITSs, got {len(self.its_bases)}")
        if self.its_bases is None and self.its > _ITS_PLACES:
            raise ConfigError(f"its_bases must be given for more than {_ITS_PLACES} ITSs, got None for {self.its}")
        for name, most in (("device_bits", 32), ("event_bits", 32), ("collection_bits", 16)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be in 1..{most}, got {getattr(self, name)}")
        if len(self.its_entry_sizes) != 3 or not set(self.its_entry_sizes) <= {8, 16, 32}:
            raise ConfigError(f"its_entry_sizes must be three of 8, 16 and 32, got {self.its_entry_sizes}")
        if self.its_umsi and not self.its:
            raise ConfigError("its_umsi needs an ITS, got its=0")
        if self.its_umsi_spi is not None:
            last = self.its_umsi_spi + self.its - 1
            if not self.its_umsi:
                raise ConfigError("its_umsi_spi needs its_umsi=True, got False")
            if not 32 <= self.its_umsi_spi <= last < 32 + self.spis:
                raise ConfigError(f"its_umsi_spi must name {self.its} SPIs in 32..{31 + self.spis}, "
                                  f"got {self.its_umsi_spi}")

    def _check_map(self) -> None:
        """Frames must be aligned, inside 52 bits, apart from each other, and hold every PE exactly once."""
        total = sum(count for _, count in self.regions)
        if total != self.num_pe or any(count < 1 for _, count in self.regions):
            raise ConfigError(f"redist_regions must hold {self.num_pe} PEs with none empty, got {list(self.regions)}")
        spans = [(self.dist_base, 0x10000)]
        spans += [] if self.message_frame is None else [(self.message_frame, 0x10000)]
        spans += [(base, count * _REDIST_STRIDE) for base, count in self.regions]
        spans += [(base, ITS_SIZE) for base in self.its_frames]
        end = 0
        for base, size in sorted(spans):
            if base % 0x10000 or not 0 <= base <= _MAX_ADDRESS - size:
                raise ConfigError(f"a frame's base must be 64 KB aligned and end below 2**52, got {base:#x}")
            if base < end:
                raise ConfigError(f"frames must not overlap: {base:#x} is below {end:#x}, the end of the one before")
            end = base + size

    @property
    def num_pe(self) -> int:
        """Number of PEs."""
        if self.affinities is not None:
            return len(self.affinities)
        assert self.cpus is not None
        return self.cpus

    @property
    def its_frames(self) -> Sequence[int]:
        """Physical address of each ITS, the default filled in."""
        if self.its_bases is None:
            return tuple(_ITS_BASE - n * ITS_SIZE for n in range(self.its))
        return self.its_bases

    @property
    def regions(self) -> Sequence[tuple[int, int]]:
        """Redistributor regions as (base, number of PEs), the default filled in."""
        return ((0x080A_0000, self.num_pe),) if self.redist_regions is None else self.redist_regions


_A32_COMMON = 1 << 25 | 1 << 24 | 0xE << 20  # IL, CV, condition "always"
_CP15 = frozenset(row.reg for row in SYSREGS if row.aarch32)
_MCRR = {row.mcrr: row.reg for row in SYSREGS if row.mcrr is not None}
_ACCESS_KINDS = (("value", 0), ("undefined", 1), ("trap", 2), ("trap", 3), ("virtual", 1))


def _syndrome(encoding: int, read: bool) -> int:
    """ESR_ELx of a trapped MSR or MRS: EC 0x18, IL, then op0, op2, op1, CRn, CRm and the direction."""
    op0, op1 = encoding >> 14 & 3, encoding >> 11 & 7
    crn, crm, op2 = encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7
    return 0x18 << 26 | 1 << 25 | op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1 | read



def _redist(gic: GICv3, index: int) -> RedistView:
    return RedistView(gic, "GICR_", index)


class GICv3(Gic):
    """A GICv3: Distributor, redistributors and CPU interfaces, with no machine or CPU engine around it.

    Parameters
    ----------
    config : what is configurable; see `GICv3Config`.

    Attributes
    ----------
    config : as given.
    memory : the guest memory that tables of LPIs and ITSs are in; see `Memory`.
    cpuhp_notifier : gives a vCPU that comes its CPU interface; on `VirtMachine.cpuhp_notifiers`.

    Notes
    -----
    Every PE is accessible at first; a machine marks absent ones with `set_cpustate`. All PEs start asleep
    (GICR_WAKER), with everything disabled, as after a hardware reset.

    A guest's mistakes never raise: bad accesses read zero, are ignored and counted (`totals()`). An embedder's mistakes
    raise `ConfigError` and change nothing. Every method may be called from any thread.
    """

    config: GICv3Config

    def __init__(self, config: GICv3Config) -> None:
        self.cpuhp_notifier = GicCpuHotplugNotifier(self)
        self.memory = Memory(self)

    @property
    def dist(self) -> FrameView:
        """Distributor registers by name."""
        return FrameView(self, "GICD_", 0)

    @property
    def message(self) -> FrameView:
        """Registers of the message-based SPI frame by name (`message_frame`)."""
        return FrameView(self, "GICM_", 0)

    @property
    def redist(self) -> Sequence[RedistView]:
        """Redistributor registers by PE index and name."""
        return Views(self, _redist)

    @property
    def its(self) -> Sequence[ItsView]:
        """ITSs by number."""
        return tuple(ItsView(self, n) for n in range(self.config.its))

    @property
    def pe(self) -> Sequence[PeView]:
        """CPU interfaces by PE index."""
        return Views(self, PeView)

    @property
    def batch(self) -> Batch:
        """Many inputs or accesses in one call, from NumPy arrays."""
        return Batch(self)

    @property
    def arrays(self) -> Arrays:
        """Live, read-only NumPy arrays over the state of all PEs and SPIs."""
        return Arrays(self)

    @property
    def latency(self) -> Latency:
        """How long interrupts wait between raise and acknowledge, in the embedder's time; off until started."""
        return Latency(self)

    def statistics(self) -> npt.NDArray[numpy.void]:
        """What became of each PE's interrupts since construction or `load`: a copy of one moment, one record a PE.

        Resets and vCPUs that come and go change nothing; `rewind` brings back the counts of its save point.

        Returns
        -------
        Array of (num_pe,) records of uint64. ``raised``, ``acknowledged``, ``preempted`` and ``dropped`` have a column
        for SGIs, PPIs, SPIs and LPIs each; ``spurious`` is one number.

        raised : it became pending: its wire rose, it was sent, its pending bit was written, or it was made
            level-sensitive with its wire high. One that was pending already is not counted again; an SPI counts for
            the PE it is routed to, an LPI that moves to another PE for both.
        acknowledged : by ICC_IAR0, ICC_IAR1 or ICC_NMIAR1.
        preempted : of the acknowledged, those that preempted an active interrupt.
        dropped : lost without a receiver: SGIs sent to an absent vCPU, SGIs and PPIs pending when a vCPU left, LPIs
            that its redistributor does not take.
        spurious : acknowledges that found nothing: they read 1023.
        """
        return statistics(self)

    def sysreg_access(self, pe: int, reg: int | str | tuple[int, int, int, int, int],
                      value: int | None = None) -> Access:
        """Read (value None) or write a system register and say what the architecture does with the access.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1, whose context decides.
        reg : `SysReg`, its int, its name, or (op0, op1, CRn, CRm, op2).
        value : 64-bit value to write, or None to read.
        """
        code, result = sysreg_outcome(self, pe, reg, value)
        kind, target = _ACCESS_KINDS[code]
        if kind == "value":
            return Access(kind, result)
        if kind != "trap":
            return Access(kind)
        encoding = register_encoding(reg)
        return Access(kind, 0, target, _syndrome(encoding, value is None))

    def cp15_access(self, pe: int, opc1: int, crn: int, crm: int, opc2: int, value: int | None = None) -> Access:
        """An AArch32 MRC (value None) or MCR of CP15: the same registers, 32 bits wide.

        Parameters: `pe`, PE index; `opc1`, `crn`, `crm`, `opc2`, the instruction's fields; `value`, 0..2**32-1.
        Returns: an `Access`; a trap's syndrome has EC 0x03, condition 14 and Rt 0.
        """
        if value is not None and not 0 <= integer("value", value) <= 0xFFFF_FFFF:
            raise ConfigError(f"value must be in 0..0xffffffff, got {value:#x}")
        if encode(3, opc1, crn, crm, opc2) not in _CP15:
            return Access("undefined")
        if value is not None and encode(3, opc1, crn, crm, opc2) == SysReg.ICC_AP1R0_EL1:
            # The NMI flag is in the half that AArch32 does not reach.
            value |= self.sysreg_access(pe, SysReg.ICC_AP1R0_EL1).value & ~0xFFFF_FFFF
        access = self.sysreg_access(pe, (3, opc1, crn, crm, opc2), value)
        if access.kind == "trap":
            fields = opc2 << 17 | opc1 << 14 | crn << 10 | crm << 1 | (value is None)
            return access._replace(syndrome=0x03 << 26 | _A32_COMMON | fields)
        return access._replace(value=access.value & 0xFFFF_FFFF)

    def mcrr_access(self, pe: int, opc1: int, crm: int, value: int) -> Access:
        """An AArch32 MCRR of CP15 to an SGI register: CRm 12 with opc1 0 (SGI1R), 1 (ASGI1R) or 2 (SGI0R).

        Parameters: `pe`, PE index; `opc1`, `crm`, the instruction's fields; `value`, 64 bits, Rt2 the upper half.
        Returns: an `Access`; a trap's syndrome has EC 0x04, condition 14, Rt and Rt2 0.
        """
        register = _MCRR.get((opc1, crm))
        if register is None:
            return Access("undefined")
        access = self.sysreg_access(pe, register, value)
        if access.kind == "trap":
            return access._replace(syndrome=0x04 << 26 | _A32_COMMON | opc1 << 16 | crm << 1)
        return access

    def explain(self, intid: int, pe: int) -> Explanation:
        """Why an interrupt is or is not signalled to a PE: every gate on the way, which one blocks, and what opens it.

        Parameters: `intid`, 0..2**24-1; `pe`, PE index. Returns: an `Explanation`; `print` it, or read its gates.
        """
        return explain(self, intid, pe)

    def strict_log(self) -> list[Finding]:
        """What strict mode found, oldest first; the latest 1024 are kept, and `strict_counts` counts all.

        Returns: `Finding`s; none without `GICv3Config.strict`. Thread-safety: one moment's log, whoever acts.
        """
        return findings(self)

    def set_context(self, pe: int, el: int = 1, secure: bool = False, scr_el3: int | None = None,
                    hcr_el2: int | None = None, ich_hcr_el2: int = 0, nmi_enabled: bool = False) -> None:
        """Tell the GIC in which state a PE executes; lines and access rules follow.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        el : current Exception level, 0..3 (3 only with `security`, 2 only with `el2`; Secure EL2 with SCR_EL3.EEL2).
        secure : Security state below EL3; EL3 itself is Secure. Only with `security`.
        scr_el3 : SCR_EL3; None means NS = not secure, EEL2 at Secure EL2, nothing routed to EL3.
        hcr_el2 : HCR_EL2; None means 0.
        ich_hcr_el2 : ICH_HCR_EL2; its trap bits TC, TALL0, TALL1 and TDIR count.
        nmi_enabled : SCTLR_ELx.NMI of the current Exception level.

        Raises
        ------
        ConfigError : the PE has no such Exception level or state.
        TypeError : a number is no integer; the text names it.
        """
        config = self.config
        if not isinstance(el, int):
            el = integer("el", el)
        if not 0 <= el <= 3 or (el == 3 and not config.security) or (el == 2 and not config.el2):
            levels = [0, 1, *([2] if config.el2 else []), *([3] if config.security else [])]
            raise ConfigError(f"el must be one of {levels} in this configuration, got {el}")
        if secure and not config.security:
            raise ConfigError("secure must be False without two security states, got True")
        if scr_el3 is None:
            scr_el3 = _SCR_NS if not secure else _SCR_EEL2 if el == 2 else 0
        if secure and el == 2 and not integer("scr_el3", scr_el3) & _SCR_EEL2:
            raise ConfigError(f"scr_el3 must have EEL2 (bit 18) at Secure EL2, got {scr_el3:#x}")
        context_set(self, pe, el, secure, scr_el3, hcr_el2 or 0, ich_hcr_el2, nmi_enabled)

    def init_cpu_reginfo(self, cpu: Any) -> None:
        """Define the ICC system registers of a vCPU that is being plugged: cold-reset values, same set for every vCPU.

        Parameters
        ----------
        cpu : object whose ``gicv3state`` is the `PeView` it was stitched to; gets ``sysregs``, a mapping from packed
            encoding to `SysReg`.
        """
        self.reset_cpuif(cpu.gicv3state.index)
        cpu.sysregs = self.sysregs

    def save(self, path: str | PathLike[str] | None = None) -> bytes:
        """All architectural state and the configuration as bytes: equal bytes for equal state. See docs/snapshots.md.

        Callbacks, the objects of `set_cpustate`, statistics and the strict log are not part of it.

        Parameters: `path`, a file to write them to as well, or None. Thread-safety: one moment's state, whoever acts.
        """
        data = save_gic(self)
        if path is not None:
            Path(path).write_bytes(data)
        return data

    @classmethod
    def restore(cls, source: Source) -> Self:
        """A new GIC in a saved state: what `save` gave, or the path of a file with it. No edge is made.

        Raises: SnapshotError when the data is damaged, of a newer version, or of no state that a GIC can be in.
        """
        return restore_gic(cls, source)  # type: ignore[return-value]

    def load(self, source: Source) -> None:
        """Bring this GIC to a saved state of a GIC with the same configuration and the same plugged PEs.

        No edge is made; callbacks are told of the lines that differ from before. Statistics start at 0.

        Raises: SnapshotError as `restore`, or naming both sides of what differs; nothing has changed then.
        """
        load_gic(self, source)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).restore, (self.save(),)

    def __repr__(self) -> str:
        plugged = int((self.arrays.pe["flags"] & 1).sum())
        return f"<{type(self).__name__} of {self.num_pe} PEs, {plugged} plugged>"

    @cached_property
    def sysregs(self) -> dict[int, SysReg]:
        """The system registers that every PE of this GIC has, by packed encoding. One shared mapping: do not change."""
        return _implemented(self.config)


def _implemented(config: GICv3Config) -> dict[int, SysReg]:
    """System registers that exist in a configuration: AP*R1 needs 6 priority bits, AP*R2 and AP*R3 need 7."""
    words = 1 << max(0, min(config.priority_bits, 7) - 5)
    return {
        int(row.reg): row.reg
        for row in SYSREGS
        if row.index < words and (not row.needs or config.has(row.needs))
    }
