"""Counts of what became of interrupts, by PE and class."""

import ctypes
from collections.abc import Callable

import numpy
import pytest
from rig import CTLR_EOIMODE, SPURIOUS, Rig

SGI, PPI, SPI, LPI = range(4)
NOTHING = dict.fromkeys(("raised", "acknowledged", "preempted", "dropped", "spurious"), 0)


def ready(cpus: int = 2, **config: object) -> Rig:
    """SGI 3, PPI 20 and 21 on every PE, SPI 40 and 41 on PE 1; 21 and 41 are the more urgent."""
    rig = Rig(cpus, **config)
    for pe in range(cpus):
        rig.prepare(3, pe)
        rig.prepare(20, pe)
        rig.prepare(21, pe, priority=0x40)
    rig.prepare(40, 1)
    rig.prepare(41, 1, priority=0x40)
    return rig


def counted(rig: Rig, pe: int, kind: int) -> dict[str, int]:
    """One class of one PE's statistics, and its spurious acknowledges."""
    record = rig.gic.statistics()[pe]
    return {name: int(record[name] if name == "spurious" else record[name][kind]) for name in NOTHING}


def test_nothing_has_happened_at_first() -> None:
    rig = ready()
    table = rig.gic.statistics()
    assert table.shape == (2,)
    assert not any(table[name].any() for name in NOTHING)
    assert (table["raised"].shape, table["spurious"].dtype) == ((2, 4), numpy.uint64)


RAISES: dict[str, tuple[int, int, Callable[[Rig], object]]] = {
    "SGI by a target list": (0, SGI, lambda rig: rig.sgi(3, 1, pe=1)),
    "SGI to all others": (0, SGI, lambda rig: rig.sgi(3, pe=1, all_others=True)),
    "SGI by ISPENDR": (0, SGI, lambda rig: rig.write_bit("ISPENDR", 3)),
    "PPI, level": (0, PPI, lambda rig: rig.raise_(20)),
    "PPI, edge": (0, PPI, lambda rig: (rig.edge(20, True), rig.gic.pulse_ppi(0, 20))),
    "PPI by ISPENDR": (0, PPI, lambda rig: rig.write_bit("ISPENDR", 20)),
    "PPI in a batch": (0, PPI, lambda rig: rig.gic.batch.set_lines(20, 0, 1)),
    "EPPI": (0, PPI, lambda rig: rig.raise_(1056)),
    "SPI, level": (1, SPI, lambda rig: rig.raise_(40)),
    "SPI, edge": (1, SPI, lambda rig: (rig.edge(40, True), rig.gic.pulse_spi(40))),
    "SPI by ISPENDR": (1, SPI, lambda rig: rig.write_bit("ISPENDR", 40)),
    "SPI by message": (1, SPI, lambda rig: rig.gic.dist.__setitem__("GICD_SETSPI_NSR", 40)),
    "disabled PPI": (0, PPI, lambda rig: (rig.disable(20), rig.raise_(20))),
    "disabled SPI": (1, SPI, lambda rig: (rig.disable(40), rig.raise_(40))),
    "ESPI": (1, SPI, lambda rig: (rig.prepare(4096, 1), rig.raise_(4096))),
}


@pytest.mark.parametrize("name", RAISES)
def test_what_becomes_pending_is_counted_once_for_its_pe(name: str) -> None:
    pe, kind, act = RAISES[name]
    rig = ready(message_spis=True, espis=32, eppis=32)
    act(rig)
    table = rig.gic.statistics()["raised"]
    assert table[pe, kind] == table.sum() == 1


@pytest.mark.parametrize("name", [name for name in RAISES if "edge" not in name])
def test_what_is_pending_already_is_not_raised_again(name: str) -> None:
    _, _, act = RAISES[name]
    rig = ready(message_spis=True, espis=32, eppis=32)
    act(rig)
    act(rig)
    rig.write_bit("ISPENDR", 20)
    rig.raise_(20)
    assert rig.gic.statistics()["raised"].sum() == 1 + (RAISES[name][1] != PPI or name == "EPPI")


def test_a_second_edge_merges_with_the_one_that_is_pending() -> None:
    rig = ready()
    for intid in (20, 40):
        rig.edge(intid, True)
    for _ in range(2):
        rig.gic.pulse_ppi(0, 20)
        rig.gic.pulse_spi(40)
    assert rig.gic.statistics()["raised"].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(("intid", "pe", "kind"), [(20, 0, PPI), (1056, 0, PPI), (40, 1, SPI), (4096, 1, SPI)])
def test_what_icfgr_makes_pending_is_raised_by_it(intid: int, pe: int, kind: int) -> None:
    rig = ready(espis=32, eppis=32)
    rig.prepare(intid, pe, edge=True)
    rig.raise_(intid, pe=pe)
    rig.edge(intid, False, pe)  # pending before and after
    rig.edge(intid, True, pe)
    assert rig.gic.statistics()["raised"][pe, kind] == 1
    rig.write_bit("ICPENDR", intid, pe)
    rig.edge(intid, False, pe)
    assert rig.pending(intid, pe)
    assert rig.gic.statistics()["raised"][pe, kind] == rig.gic.statistics()["raised"].sum() == 2


def test_an_spi_that_leads_nowhere_is_counted_for_nobody() -> None:
    rig = ready()
    rig.gic.dist["GICD_IROUTER", 40] = 0xFF00
    rig.raise_(40)
    assert rig.gic.statistics()["raised"].sum() == 0


def test_a_1_of_n_spi_is_counted_for_the_pe_that_was_chosen() -> None:
    rig = ready(one_of_n=True)
    rig.gic.dist["GICD_IROUTER", 41] = 1 << 31
    rig.raise_(41)
    assert rig.gic.statistics()["raised"][:, SPI].tolist() == [0, 1]  # 41 mod 2


@pytest.mark.parametrize(("intid", "pe", "kind"), [(3, 0, SGI), (20, 0, PPI), (40, 1, SPI)])
@pytest.mark.parametrize("strict", [False, True], ids=["short path", "general path"])
def test_acknowledged_by_class(intid: int, pe: int, kind: int, strict: bool) -> None:
    rig = ready(strict=strict)
    rig.raise_(intid, pe=pe)
    assert rig.iar(pe=pe) == intid
    assert counted(rig, pe, kind) == NOTHING | {"raised": 1, "acknowledged": 1}
    names = ["sgi", "ppi", "spi"]
    assert rig.gic.counters(pe) == {name: int(name == names[kind]) for name in names}


def test_a_level_that_stays_high_is_acknowledged_again_and_raised_once() -> None:
    rig = ready()
    rig.raise_(20)
    for _ in range(3):
        rig.eoi(rig.iar())
    assert counted(rig, 0, PPI) == NOTHING | {"raised": 1, "acknowledged": 3}


@pytest.mark.parametrize("strict", [False, True], ids=["short path", "general path"])
@pytest.mark.parametrize(("first", "second", "kind"), [(20, 21, PPI), (40, 41, SPI)])
def test_an_acknowledge_while_another_is_active_preempts(first: int, second: int, kind: int, strict: bool) -> None:
    rig = ready(strict=strict)
    rig.raise_(first, pe=1)
    rig.iar(pe=1)
    assert counted(rig, 1, kind)["preempted"] == 0
    rig.raise_(second, pe=1)
    assert rig.iar(pe=1) == second
    assert counted(rig, 1, kind)["preempted"] == 1


def test_after_a_priority_drop_there_is_nothing_to_preempt() -> None:
    rig = ready()
    rig.gic.pe[0]["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.raise_(20)
    rig.eoi(rig.iar())
    rig.raise_(21)
    rig.iar()
    assert counted(rig, 0, PPI)["preempted"] == 0


@pytest.mark.parametrize("strict", [False, True], ids=["short path", "general path"])
def test_an_acknowledge_that_finds_nothing_is_spurious(strict: bool) -> None:
    rig = ready(strict=strict)
    assert rig.iar() == rig.iar(group=0) == SPURIOUS
    assert rig.hppir() == SPURIOUS  # asks, and acknowledges nothing
    assert counted(rig, 0, PPI) == NOTHING | {"spurious": 2}


def test_an_absent_vcpu_acknowledges_nothing_not_even_spuriously() -> None:
    rig = ready()
    rig.gic.set_cpustate(0, None, False)
    rig.iar()
    assert counted(rig, 0, PPI)["spurious"] == 0


def test_an_sgi_to_an_absent_vcpu_is_dropped() -> None:
    rig = ready()
    rig.gic.set_cpustate(1, None, False)
    rig.sgi(3, 2)
    assert counted(rig, 1, SGI) == NOTHING | {"dropped": 1}


def test_what_is_pending_when_a_vcpu_leaves_is_dropped() -> None:
    rig = ready(eppis=32)
    for intid in (20, 21, 1056):
        rig.edge(intid, True)
        rig.gic.pulse_ppi(0, intid)
    for intid in (0, 15):
        rig.raise_(intid)
    rig.gic.set_cpustate(0, None, False)
    assert rig.gic.statistics()["dropped"].tolist() == [[2, 3, 0, 0], [0, 0, 0, 0]]


def test_levels_that_are_high_when_a_vcpu_leaves_are_dropped_and_edges_that_were_taken_are_not() -> None:
    rig = ready(eppis=32)
    for intid in (20, 21, 1056):
        rig.raise_(intid)
    rig.edge(22, True)
    rig.raise_(22)
    rig.write_bit("ICPENDR", 22)
    rig.gic.set_cpustate(0, None, False)
    assert rig.gic.statistics()["dropped"].tolist() == [[0, 3, 0, 0], [0, 0, 0, 0]]


def test_statistics_are_a_copy_that_may_be_written() -> None:
    rig = ready()
    table = rig.gic.statistics()
    table["raised"] = 7
    rig.raise_(20)
    assert (table["raised"] == 7).all()
    assert rig.gic.statistics()["raised"].sum() == 1


def test_statistics_outlive_a_reset_and_a_vcpu() -> None:
    rig = ready()
    rig.raise_(20)
    rig.iar()
    rig.raise_(20, False)
    saved = rig.gic.save_pe(0)
    rig.gic.reset()
    rig.gic.set_cpustate(0, None, False)
    rig.gic.set_cpustate(0, None, True)
    rig.gic.restore_pe(0, saved)
    assert counted(rig, 0, PPI) == NOTHING | {"raised": 1, "acknowledged": 1}


@pytest.mark.parametrize(("intid", "pe", "kind"), [(3, 0, SGI), (20, 0, PPI), (40, 1, SPI)])
def test_counters_go_on_past_32_bits(intid: int, pe: int, kind: int) -> None:
    rig = ready()
    for name in ("raised", "acknowledged"):
        word = rig.gic.arrays.pe[name][pe, kind : kind + 1]
        ctypes.c_uint32.from_address(word.__array_interface__["data"][0]).value = 0xFFFF_FFFF
    rig.raise_(intid, pe=pe)
    assert rig.iar(pe=pe) == intid
    assert counted(rig, pe, kind) == NOTHING | {"raised": 1 << 32, "acknowledged": 1 << 32}
    assert rig.gic.counters(pe)[("sgi", "ppi", "spi")[kind]] == 1 << 32
