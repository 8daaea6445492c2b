"""Work that takes several calls: nothing that software or a host does meanwhile loses an LPI or brings one back."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from gicv3 import GICv3
from tests.itses import (
    DEVICES,
    ItsRig,
    clear,
    discard,
    int_,
    mapc,
    mapd,
    mapti,
    movall,
    movi,
    sync,
)
from tests.lpis import FIRST, LAST, PEND, PROP, RAM, LpiRig

SPREAD = (FIRST, FIRST + 63, 20_000, 40_000, LAST - 1, LAST)
"""LPIs in several cache lines of a pending table, the last one in its last word."""


class SlowRig(ItsRig):
    """An ITS and two redistributors that do few units of work a call; event n of device 1 is LPI SPREAD[n] at PE 0.

    With `load`, PE 0 has begun to read a pending table with all of SPREAD.
    """

    def __init__(self, budget: int = 4, *, load: bool = True, **options: Any) -> None:
        super().__init__(2, work_budget=budget, **options)
        self.ram[PROP - RAM : PEND - RAM] = b"\xa1" * (PEND - PROP)
        commands = (mapd(1), mapc(0, 0), mapc(1, 1), *(mapti(1, n, intid) for n, intid in enumerate(SPREAD)))
        self.finish()
        self.do(*commands)
        self.finish()
        if load:
            self.load()

    def load(self) -> None:
        self.enable_lpis(on=False)
        self.finish()
        for intid in SPREAD:
            self.set_table_bit(intid)
        self.enable_lpis()
        assert len(self.lpis()) <= 2
        assert self.gic.has_work


# --- the pending table is still being read


@pytest.mark.parametrize("event", range(len(SPREAD)))
@pytest.mark.parametrize(
    ("command", "of_all", "moves"),
    [
        (clear, False, False),
        (discard, False, False),
        (lambda device, event: movi(device, event, 1), False, True),
        (lambda device, event: movall(0, 1), True, True),
    ],
    ids=["CLEAR", "DISCARD", "MOVI", "MOVALL"],
)
def test_a_command_waits_for_the_pending_state_that_it_is_about(
    command: Callable[[int, int], Any], of_all: bool, moves: bool, event: int
) -> None:
    rig = SlowRig()
    rig.do(command(1, event))
    rig.finish()
    assert rig.its.errors() == []
    assert rig.its["GITS_CREADR"] == rig.offset
    gone = {*SPREAD} if of_all else {SPREAD[event]}
    assert rig.lpis(0) == sorted({*SPREAD} - gone)
    assert rig.lpis(1) == (sorted(gone) if moves else [])


def test_events_that_come_while_the_table_is_read_merge_with_what_is_in_it() -> None:
    rig = SlowRig()
    rig.do(int_(1, 5))
    rig.msi(3)
    rig.finish()
    assert rig.lpis() == list(SPREAD)
    assert rig.take_all() == list(SPREAD)


@pytest.mark.parametrize("intid", SPREAD)
def test_clrlpir_of_an_lpi_that_is_not_read_yet_is_done_when_it_is(intid: int) -> None:
    rig = SlowRig()
    rig.gic.redist[0]["GICR_CLRLPIR"] = intid
    assert rig.gic.redist[0]["GICR_SYNCR"] == (intid not in SPREAD[:2])
    assert rig.gic.redist[1]["GICR_SYNCR"] == 0
    rig.finish()
    assert rig.gic.redist[0]["GICR_SYNCR"] == 0
    assert rig.lpis() == sorted({*SPREAD} - {intid})
    rig.lpi(intid)
    assert rig.lpis() == list(SPREAD)


def test_an_lpi_set_after_its_clear_stays_pending_whatever_the_table_has() -> None:
    rig = SlowRig()
    for intid in (LAST, LAST - 2):
        rig.gic.redist[0]["GICR_CLRLPIR"] = intid
        rig.lpi(intid)
    rig.finish()
    assert rig.lpis() == sorted({*SPREAD, LAST - 2})


def test_syncr_is_busy_until_the_lpi_that_is_cleared_is_read() -> None:
    rig = SlowRig()
    rig.gic.redist[0]["GICR_CLRLPIR"] = 20_000
    assert rig.gic.redist[0]["GICR_SYNCR"] == 1
    while 40_000 not in rig.lpis():
        rig.gic.step(0)
    assert rig.gic.has_work
    assert rig.gic.redist[0]["GICR_SYNCR"] == 0


def test_a_clear_counts_for_one_redistributor_and_for_one_reading() -> None:
    rig = SlowRig()
    rig.enable_lpis(1, on=False)
    rig.gic.redist[0]["GICR_CLRLPIR"] = LAST
    rig.finish()
    rig.set_table_bit(LAST, pe=1)
    rig.enable_lpis(1)
    rig.finish()
    assert rig.lpis(1) == [LAST]
    rig.load()
    rig.finish()
    assert rig.lpis(0) == list(SPREAD)


def test_lpis_disabled_while_their_table_is_read_keep_what_was_not_read_and_not_what_was_cleared() -> None:
    rig = SlowRig()
    rig.gic.redist[0]["GICR_CLRLPIR"] = LAST
    rig.lpi(30_000)
    rig.enable_lpis(on=False)
    rig.finish()
    assert [intid for intid in (*SPREAD, 30_000) if rig.table_bit(intid)] == [*SPREAD[:-1], 30_000]
    rig.enable_lpis()
    rig.finish()
    assert rig.lpis() == sorted((*SPREAD[:-1], 30_000))


def test_64_clears_wait_and_the_next_is_ignored() -> None:
    rig = LpiRig(id_bits=18, work_budget=1, enable=False)
    intids = range((1 << 18) - 65, 1 << 18)
    for intid in intids:
        rig.set_table_bit(intid)
    rig.enable_lpis()
    for intid in (intids[0], *intids):  # once more is the same
        rig.gic.redist[0]["GICR_CLRLPIR"] = intid
    rig.finish()
    assert rig.lpis() == [intids[-1]]


@pytest.mark.parametrize("budget", [1, 2, 7])
def test_a_saved_and_a_rewound_gic_go_on_alike(budget: int) -> None:
    rig = SlowRig(budget)
    rig.gic.redist[0]["GICR_CLRLPIR"] = LAST
    rig.do(clear(1, 4), movall(0, 1), sync(1))
    point, data, ram = rig.gic.savepoint(), rig.gic.save(), bytes(rig.ram)
    other = GICv3.restore(data)
    assert other.save() == data
    other.memory.map(RAM, bytearray(ram))
    while other.has_work:
        other.step(0)
    rig.finish()
    assert other.save() == rig.gic.save()
    assert other.lpi_pending(1) == rig.lpis(1) == sorted({*SPREAD} - {LAST, LAST - 1})
    rig.ram[:] = ram
    rig.gic.rewind(point)
    assert rig.gic.save() == data
    rig.finish()
    assert other.save() == rig.gic.save()


# --- MOVALL


@pytest.mark.parametrize("budget", [1, 8, 1 << 17])
def test_movall_moves_as_many_lpis_a_call_as_the_budget_has(budget: int) -> None:
    rig = SlowRig(budget, load=False)
    intids = list(range(FIRST, FIRST + 2000, 5))
    rig.lpi(*intids)
    rig.do(movall(0, 1))
    calls = 1
    while rig.its["GITS_CREADR"] != rig.offset:
        calls += 1
        assert len(rig.lpis(1)) <= 3 * budget * calls  # what the access does, and what goes on before it returns
        assert len(rig.lpis(0)) + len(rig.lpis(1)) == len(intids)
    rig.gic.check()
    assert calls > len(intids) // (3 * budget)
    assert rig.lpis(0) == []
    assert rig.take_all(1) == intids


def test_movall_leaves_what_the_other_redistributor_cannot_take() -> None:
    rig = SlowRig(2, load=False)
    rig.enable_lpis(1, on=False)
    rig.finish()
    rig.tables(1, bits=14)
    rig.enable_lpis(1)
    rig.finish()
    rig.lpi(*SPREAD)
    rig.do(movall(0, 1), movall(1, 1), sync(0))
    rig.finish()
    assert (rig.lpis(0), rig.lpis(1)) == (list(SPREAD[2:]), list(SPREAD[:2]))


# --- budgets


def test_a_long_queue_goes_on_with_any_call_and_says_so() -> None:
    rig = ItsRig(1, work_budget=10)
    rig.finish()
    rig.do(mapd(1), mapc(0, 0), *(mapti(1, n, FIRST + n) for n in range(32)), *(int_(1, n) for n in range(32)))
    assert rig.gic.has_work
    assert 3 < rig.finish() < 20
    assert rig.lpis() == list(range(FIRST, FIRST + 32))
    assert rig.its.counters()["errors"] == 0
    assert not rig.gic.has_work


# --- restored in the midst of work


PIECES = ((RAM, PEND), (PEND, DEVICES), (DEVICES, RAM + (4 << 20)))


def restored(rig: SlowRig) -> GICv3:
    """A GIC restored from one that reads a pending table and has commands to do."""
    rig.do(mapti(1, 9, 9000, 1), int_(1, 9), clear(1, 4))
    other = GICv3.restore(rig.gic.save())
    assert other.memory.awaited == ((RAM, len(rig.ram)),)
    return other


def poke(gic: GICv3) -> None:
    """What an embedder or a guest may do before all memory is mapped."""
    gic.step(0)
    assert not gic.its[0]["GITS_CREADR"] & 1
    gic.redist[0]["GICR_SYNCR"]
    gic.explain(FIRST, 0)
    gic.check()


@pytest.mark.parametrize("order", list(permutations(PIECES)))
def test_a_restored_gic_waits_for_memory_in_any_order_and_in_pieces(order: tuple[tuple[int, int], ...]) -> None:
    rig = SlowRig()
    gic = restored(rig)
    poke(gic)
    assert not gic.has_work
    for start, end in order:
        assert gic.memory.awaited
        gic.memory.map(start, rig.ram[start - RAM : end - RAM])
        poke(gic)
    assert gic.memory.awaited == ()
    while gic.has_work:
        gic.step(0)
    assert gic.lpi_pending(0) == sorted({*SPREAD} - {LAST - 1})
    assert gic.lpi_pending(1) == [9000]
    assert gic.its[0].counters()["table_faults"] == gic.totals()["lpi_table_faults"] == 0


def test_a_restored_gic_that_is_told_to_resume_takes_what_is_not_mapped_as_a_fault() -> None:
    gic = restored(SlowRig())
    gic.memory.resume()
    while gic.has_work:
        gic.step(0)
    assert gic.memory.awaited == ()
    assert gic.its[0]["GITS_CREADR"] & 1
    assert gic.totals()["lpi_table_faults"] == 1


def test_msis_wait_with_the_work_of_a_restored_gic() -> None:
    rig = SlowRig()
    gic = restored(rig)
    gic.its[0].msi(1, 5)
    gic.memory.map(RAM, rig.ram)
    while gic.has_work:
        gic.step(0)
    assert gic.its[0].counters()["translated"] == 1
    assert LAST in gic.lpi_pending(0)


def test_a_restored_gic_with_nothing_under_way_awaits_nothing() -> None:
    rig = SlowRig(load=False)
    assert GICv3.restore(rig.gic.save()).memory.awaited == ()


def test_a_reset_ends_the_wait() -> None:
    gic = restored(SlowRig())
    poke(gic)
    gic.reset()
    assert gic.memory.awaited == ()
    assert not gic.has_work


def test_loading_and_rewinding_does_no_work() -> None:
    rig = SlowRig()
    rig.do(movall(0, 1))
    data, point = rig.gic.save(), rig.gic.savepoint()
    rig.finish()
    rig.gic.load(data)
    assert rig.gic.save() == data
    rig.finish()
    rig.gic.rewind(point)
    assert rig.gic.save() == data
    rig.finish()
    assert rig.lpis(0) == []


# --- turns


@pytest.mark.parametrize("stormy", [0, 2])
def test_a_redistributor_that_asks_for_ever_more_does_not_keep_the_others_waiting(stormy: int) -> None:
    rig = LpiRig(3, work_budget=8, enable=False)
    rig.enable_lpis(stormy)
    rig.lpi(*range(FIRST, FIRST + 200), pe=stormy)
    rig.finish()
    for pe in {0, 1, 2} - {stormy}:
        for intid in SPREAD:
            rig.set_table_bit(intid, pe)
        rig.gic.redist[stormy]["GICR_INVALLR"] = 0
        rig.enable_lpis(pe)
    for _ in range(600):
        rig.gic.redist[stormy]["GICR_INVALLR"] = 0
    assert [rig.lpis(pe) for pe in range(3) if pe != stormy] == [list(SPREAD), list(SPREAD)]
    assert rig.gic.redist[stormy]["GICR_SYNCR"] == 1
    rig.finish()


def test_turns_go_on_alike_in_a_restored_and_in_a_rewound_gic() -> None:
    rig = LpiRig(3, work_budget=8, enable=False)
    for pe in range(3):
        for intid in SPREAD:
            rig.set_table_bit(intid, pe)
        rig.enable_lpis(pe)
    point, other = rig.gic.savepoint(), GICv3.restore(rig.gic.save())
    other.memory.map(RAM, bytearray(rig.ram))
    states = []
    while rig.gic.has_work:
        assert other.save() == rig.gic.save()
        states.append(rig.gic.save())
        for gic in (rig.gic, other):
            gic.step(0)
    assert len(states) > 20
    rig.gic.rewind(point)
    assert [GICv3.restore(data).save() for data in states] == states
    for data in states:
        assert rig.gic.save() == data
        rig.gic.step(0)
