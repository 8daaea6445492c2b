"""Every entry of the table is real: a short program meets it on QEMU. An entry that no longer shows has to go."""

from __future__ import annotations

import pytest

from .accepted import ENTRIES
from .configs import CONFIGS, Config
from .differ import compare
from .machines import need_qemu
from .ops import GICD_BASE, GICR_BASE, HOST_CPU, ICC, PUSH, SCR_FIQ, SGI_FRAME, USE, Kind, Op, World
from .qemu import OracleError, Qemu

pytestmark = pytest.mark.oracle

SGI = GICR_BASE + SGI_FRAME


class Writer:
    """Writes a program for PE 0, at the highest EL unless told otherwise."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.world: World = config.world(config.base_el)
        self.program: list[Op] = []

    def at(self, el: int, ns: bool = True, scr: int = 0) -> Writer:
        """Moves to an EL and Security state."""
        self.world = self.config.world(el, ns=ns, scr=scr)
        return self

    def write(self, address: int, value: int, kind: Kind = Kind.W32) -> Writer:
        """A store."""
        self.program.append(Op(kind, 0, self.world, address=address, value=value))
        return self

    def read(self, address: int, kind: Kind = Kind.R32) -> Writer:
        """A load."""
        self.program.append(Op(kind, 0, self.world, address=address))
        return self

    def msr(self, name: str, value: int = 0, flags: int = 0) -> Writer:
        """A system register write."""
        self.program.append(Op(Kind.MSR, 0, self.world, reg=ICC[name], value=value, flags=flags))
        return self

    def mrs(self, name: str, flags: int = 0) -> Writer:
        """A system register read."""
        self.program.append(Op(Kind.MRS, 0, self.world, reg=ICC[name], flags=flags))
        return self

    def line(self, intid: int, level: int) -> Writer:
        """A change of an input line."""
        self.program.append(Op(Kind.LINE, HOST_CPU, self.world, address=intid, value=level))
        return self

    def look(self) -> Writer:
        """ISR_EL1."""
        self.program.append(Op(Kind.ISR, 0, self.world))
        return self

    def ready(self, group1: int = 0, modifier: int = 0) -> Writer:
        """All groups on, every mask open; SGIs and PPIs enabled at priority 0xA0 in the groups given."""
        self.write(GICD_BASE, 0x37).write(SGI + 0x80, group1).write(SGI + 0xD00, modifier)
        for first in range(0, 32, 4):
            self.write(SGI + 0x400 + first, 0xA0A0A0A0)
        self.write(SGI + 0x100, 0xFFFFFFFF).msr("ICC_PMR_EL1", 0xFF).msr("ICC_IGRPEN0_EL1", 1)
        if self.config.secure:
            return self.msr("ICC_IGRPEN1_EL3", 3)
        return self.msr("ICC_IGRPEN1_EL1", 1)


def _ds1(config: str) -> Writer:
    return Writer(CONFIGS[config])


def _programs() -> dict[str, Writer]:
    programs = {
        "crash-bpr": _ds1("ds1-smp1").ready(1).msr("ICC_BPR1_EL1", 8).write(SGI + 0x200, 1).mrs("ICC_IAR1_EL1"),
        "crash-intid": _ds1("ds1-smp1").msr("ICC_DIR_EL1", 5000),
        "lpi-identity": _ds1("ds1-smp1").read(GICR_BASE).read(GICR_BASE + 8, Kind.R64),
        "waker": _ds1("ds1-smp1").write(GICR_BASE + 0x14, 2),
        "priority-bits": _ds1("ds1-smp1").write(SGI + 0x400, 0xFFFFFFFF).read(SGI + 0x400),
        "typer-lines": _ds1("ds1-smp1").read(GICD_BASE + 4),
        "irouter-res0": _ds1("ds1-smp1")
        .write(GICD_BASE + 0x6100, 1 << 40, Kind.W64)
        .read(GICD_BASE + 0x6100, Kind.R64),
        "sgi1r-ds1": _ds1("ds1-smp1").ready().msr("ICC_SGI1R_EL1", 1),
        "sgi1r-secure": _ds1("ds0-smp1").ready().at(3, ns=False).msr("ICC_SGI1R_EL1", 1),
        "sgi1r-nsacr": _ds1("ds0-smp1").ready().write(SGI + 0xE00, 1).at(1).msr("ICC_SGI1R_EL1", 1),
        "ctlr-el3-nds": _ds1("ds0-smp1").mrs("ICC_CTLR_EL3"),
        "ctlr-el3-el1s": _ds1("ds0-smp1").msr("ICC_CTLR_EL3", 1 << 4).mrs("ICC_CTLR_EL3"),
        "sre-el2": _ds1("ds0-smp1").mrs("ICC_SRE_EL2"),
        "ap1r-ns": _ds1("ds0-smp1").msr("ICC_AP1R0_EL1", 1 << 31),
        "ds1-secure-fiq": _ds1("ds0-smp1").ready(1).write(GICD_BASE, 0x40).write(GICD_BASE, 3).write(SGI + 0x200, 1),
    }
    programs["icfgr-stale"] = (
        _ds1("ds1-smp1")
        .ready()
        .write(GICD_BASE + 0x84, 2)
        .write(GICD_BASE + 0xC08, 8)
        .write(GICD_BASE + 0x104, 2)
        .line(33, 1)
        .write(GICD_BASE + 0x284, 2)
        .write(GICD_BASE + 0xC08, 0)
        .look()
    )
    programs["ap-sign"] = _ds1("ds1-smp1-p8").ready().write(SGI + 0x400, 0x3E, Kind.W8).write(SGI + 0x200, 1)
    programs["ap-sign"].mrs("ICC_IAR0_EL1").mrs("ICC_AP0R0_EL1")
    # Group 1 Secure is the running one, so Secure EL1 may drop it; the INTID it names is Non-secure and stays active.
    programs["eoi-other-group"] = (
        _ds1("ds0-smp1")
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
COMPANIONS = {"typer-lines": {"lpi-identity"}, "ctlr-el3-el1s": {"ctlr-el3-nds"}}
"""Entries that cannot but show together."""


def test_every_entry_has_a_program() -> None:
    assert set(PROGRAMS) == set(ENTRIES)


@pytest.mark.parametrize("name", PROGRAMS)
def test_entry_shows_and_nothing_else_differs(name: str) -> None:
    need_qemu()
    writer = PROGRAMS[name]
    with Qemu(writer.config) as qemu:
        outcome = compare(qemu, writer.program)
    assert outcome.difference is None, str(outcome.difference)
    assert outcome.hits[name] >= 1
    assert set(outcome.hits) <= {name} | COMPANIONS.get(name, set())


def test_qemu_dies_of_a_binary_point_above_7_with_low_bits_0() -> None:
    need_qemu()
    writer = PROGRAMS["crash-bpr"]
    with Qemu(writer.config) as qemu, pytest.raises(OracleError, match="bpr > 0"):
        qemu.run(writer.program)


def test_an_fiq_to_el3_ends_an_operation_of_a_lower_level_before_it_starts() -> None:
    need_qemu()
    writer = Writer(CONFIGS["ds0-smp1"]).ready().write(SGI + 0x200, 1).at(1, scr=SCR_FIQ).mrs("ICC_HPPIR1_EL1")
    with Qemu(writer.config) as qemu:
        assert compare(qemu, writer.program).difference is None
        last = qemu.run(writer.program)[-1]
    assert (last.phase, last.taken) == (0, 2 << 2 * 3)
