"""How long interrupts wait from raise to acknowledge, in the embedder's time."""

from collections.abc import Callable
from typing import Any

import numpy
import pytest
from rig import G0, SPURIOUS, Rig
from test_statistics import LPI, PPI, SGI, SPI, ready

from gicv3 import ConfigError, GicError, GICv3
from tests.lpis import LpiRig


def test_latency_is_off_until_it_is_started_and_after_it_is_stopped() -> None:
    rig = ready()
    for _ in range(2):
        for act in (lambda: rig.gic.latency.now, lambda: rig.gic.latency.histogram,
                    lambda: setattr(rig.gic.latency, "now", 1)):  # fmt: skip
            with pytest.raises(GicError, match="not being measured"):
                act()
        rig.gic.latency.start()
        assert rig.gic.latency.now == 0
        rig.gic.latency.stop()


@pytest.mark.parametrize(("intid", "pe", "kind"), [(3, 0, SGI), (20, 0, PPI), (1056, 0, PPI), (40, 1, SPI)])
@pytest.mark.parametrize(
    ("waited", "place"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8), (256, 9), ((1 << 64) - 2, 64)]
)
def test_a_wait_goes_to_the_bin_of_its_power_of_two(intid: int, pe: int, kind: int, waited: int, place: int) -> None:
    rig = ready(eppis=32)
    rig.prepare(1056, 0)
    rig.gic.latency.start()
    rig.raise_(intid, pe=pe)
    rig.gic.latency.now = waited
    assert rig.iar(pe=pe) == intid
    assert [tuple(map(int, found)) for found in numpy.argwhere(rig.gic.latency.histogram)] == [(kind, place)]
    assert rig.gic.latency.histogram.sum() == 1


def test_a_wait_begins_with_the_raise_that_made_it_pending() -> None:
    rig = ready()
    rig.edge(20, True)
    rig.gic.latency.start()
    rig.gic.latency.now = 100
    rig.gic.pulse_ppi(0, 20)
    rig.gic.latency.now = 107
    rig.gic.pulse_ppi(0, 20)  # merges
    rig.gic.latency.now = 108
    rig.iar()
    assert rig.gic.latency.histogram[PPI, 4] == 1


@pytest.mark.parametrize(("waited", "place"), [(0, 0), (1, 1), (7, 3), (8, 4)])
@pytest.mark.parametrize("id_bits", [14, 24])
def test_lpis_wait_too(waited: int, place: int, id_bits: int) -> None:
    rig = LpiRig(2, id_bits=id_bits)
    rig.gic.latency.start()
    rig.gic.latency.now = 5
    for pe, intid in ((0, 8192), (1, (1 << 14) - 1)):
        rig.lpi(intid, pe=pe)
    rig.gic.latency.now = 5 + waited
    assert (rig.take_all(0), rig.take_all(1)) == ([8192], [(1 << 14) - 1])
    assert rig.gic.latency.histogram[LPI, place] == rig.gic.latency.histogram.sum() == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_lpi_pending_at_two_pes_counts_where_it_was_raised_last(order: tuple[int, int]) -> None:
    rig = LpiRig(2)
    rig.gic.latency.start()
    rig.lpi(8192, pe=0)
    rig.gic.latency.now = 1000
    rig.lpi(8192, pe=1)
    rig.gic.latency.now = 1001
    for pe in order:
        assert rig.take_all(pe) == [8192]
    assert rig.gic.latency.histogram[LPI, 1] == rig.gic.latency.histogram.sum() == 1


def test_an_lpi_waits_from_its_first_raise_and_longer_while_it_is_disabled() -> None:
    rig = LpiRig(config=0xA0)
    rig.gic.latency.start()
    rig.lpi(8192)
    rig.gic.latency.now = 3
    rig.lpi(8192)  # merges
    rig.configure(8192, 0xA1, pe=0)
    rig.gic.latency.now = 4
    rig.take_all()
    assert rig.gic.latency.histogram[LPI, 3] == 1


@pytest.mark.parametrize(("intid", "kind"), [(20, PPI), (40, SPI)])
def test_what_icfgr_makes_pending_waits_from_then(intid: int, kind: int) -> None:
    rig = ready()
    rig.edge(intid, True, 1)
    rig.gic.latency.start()
    rig.raise_(intid, pe=1)
    rig.write_bit("ICPENDR", intid, 1)
    rig.gic.latency.now = 1000
    rig.edge(intid, False, 1)
    rig.gic.latency.now = 1001
    assert rig.iar(pe=1) == intid
    assert rig.gic.latency.histogram[kind, 1] == rig.gic.latency.histogram.sum() == 1


def test_a_withdrawn_interrupt_does_not_lengthen_the_next_wait() -> None:
    rig = ready()
    rig.gic.latency.start()
    for intid in (20, 40):
        rig.raise_(intid, pe=1)
        rig.raise_(intid, False, pe=1)
    rig.gic.latency.now = 1000
    for intid in (20, 40):
        rig.raise_(intid, pe=1)
    rig.gic.latency.now = 1001
    for _ in range(2):
        intid = rig.iar(pe=1)
        rig.raise_(intid, False, pe=1)
        rig.eoi(intid, pe=1)
    assert rig.gic.latency.histogram[:, 1].tolist() == [0, 1, 1, 0]


def test_what_was_pending_before_the_start_and_levels_that_stay_high_are_left_out() -> None:
    rig = ready()
    rig.raise_(20)
    rig.gic.latency.start()
    for _ in range(2):
        rig.eoi(rig.iar())
    assert rig.gic.latency.histogram.sum() == 0


def test_a_clock_that_goes_back_counts_as_no_time() -> None:
    rig = ready()
    rig.gic.latency.start()
    rig.gic.latency.now = 50
    rig.raise_(20)
    rig.gic.latency.now = 49
    rig.iar()
    assert rig.gic.latency.histogram[PPI, 0] == 1


def test_no_time_is_refused() -> None:
    rig = ready()
    rig.gic.latency.start()
    with pytest.raises(TypeError, match=r"^now must be an integer, got None$"):
        rig.gic.latency.now = None  # type: ignore[assignment]


@pytest.mark.parametrize("now", [-1, (1 << 64) - 1])
def test_a_time_out_of_range_is_refused(now: int) -> None:
    rig = ready()
    rig.gic.latency.start()
    rig.gic.latency.now = 7
    with pytest.raises(ConfigError, match=f"^now must be in 0..0xfffffffffffffffe, got {now}$"):
        rig.gic.latency.now = now
    assert rig.gic.latency.now == 7


def test_starting_again_empties_the_histogram() -> None:
    rig = ready()
    rig.gic.latency.start()
    rig.raise_(20)
    rig.iar()
    rig.gic.latency.start()
    assert rig.gic.latency.histogram.sum() == 0


def test_measuring_changes_no_state_and_no_result() -> None:
    plain, measured = ready(), ready()
    measured.gic.latency.start()
    for rig in (plain, measured):
        rig.prepare(5, 0, group=G0)
        for intid in (20, 5, 21):
            rig.raise_(intid)
        assert [rig.iar(), rig.iar(group=0), rig.iar()] == [21, SPURIOUS, SPURIOUS]
        rig.eoi(21)
        rig.gic.check()
    assert measured.gic.state_digest() == plain.gic.state_digest()
    assert measured.gic.save() == plain.gic.save()
    assert measured.gic.save_pe(0) == plain.gic.save_pe(0)


# --- with a state that comes back

WAYS: dict[str, tuple[Callable[[GICv3], Any], Callable[[GICv3, Any], None]]] = {
    "rewind": (GICv3.savepoint, GICv3.rewind),
    "load": (GICv3.save, GICv3.load),
    "restore_pe": (lambda gic: gic.save_pe(0), lambda gic, saved: gic.restore_pe(0, saved)),
}


def turn(rig: Rig, on: bool) -> None:
    if on:
        rig.gic.latency.start()
    else:
        rig.gic.latency.stop()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("measured", [False, True], ids=["started since", "stopped since"])
def test_a_state_comes_back_whether_or_not_latencies_were_measured_then(way: str, measured: bool) -> None:
    rig = ready()
    take, bring_back = WAYS[way]
    turn(rig, measured)
    taken = take(rig.gic)
    turn(rig, not measured)
    bring_back(rig.gic, taken)
    rig.gic.check()
    if measured:
        rig.gic.latency.start()
    for now in (10, 20, 30):
        rig.gic.latency.now = now
        rig.raise_(20)
        rig.gic.latency.now = now + 5
        rig.eoi(rig.iar())
        rig.raise_(20, False)
    assert rig.gic.latency.histogram[PPI, 3] == rig.gic.latency.histogram.sum() == 3


@pytest.mark.parametrize("way", ["rewind", "load"])
def test_what_a_state_brings_back_pending_is_left_out_and_the_rest_of_the_histogram_stays(way: str) -> None:
    rig = ready()
    take, bring_back = WAYS[way]
    rig.gic.latency.start()
    for intid in (20, 40, 3):
        rig.raise_(intid, pe=1)
    rig.gic.latency.now = 4
    assert rig.iar(pe=1) == 3
    taken = take(rig.gic)
    rig.raise_(40, False)
    rig.gic.latency.now = 1000
    rig.raise_(40)
    bring_back(rig.gic, taken)
    assert rig.gic.latency.now == 1000
    rig.eoi(3, pe=1)
    for intid in (20, 40):
        assert rig.iar(pe=1) == intid
        rig.raise_(intid, False, pe=1)
        rig.eoi(intid, pe=1)
    assert rig.gic.latency.histogram[SGI, 3] == rig.gic.latency.histogram.sum() == 1


def test_a_rewind_leaves_pending_lpis_out() -> None:
    rig = LpiRig()
    rig.gic.latency.start()
    rig.lpi(8192, 8193)
    point = rig.gic.savepoint()
    rig.take_all()
    rig.lpi(8192)
    rig.gic.rewind(point)
    assert rig.take_all() == [8192, 8193]
    assert rig.gic.latency.histogram[LPI].sum() == 2  # those before the rewind


def unplug_and_return(rig: Rig) -> None:
    saved = rig.gic.save_pe(1)
    rig.gic.set_cpustate(1, None, False)
    rig.gic.restore_pe(1, saved)


@pytest.mark.parametrize("again", [lambda rig: rig.gic.reset(), unplug_and_return], ids=["reset", "restore_pe"])
def test_what_is_pending_after_a_reset_or_a_return_is_left_out(again: Callable[[Rig], None]) -> None:
    rig = ready()
    rig.gic.latency.start()
    rig.raise_(20, pe=1)
    again(rig)
    assert rig.pending(20, 1)
    rig.gic.dist["GICD_CTLR"] = 3
    rig.bring_up(1)
    rig.prepare(20, 1)
    rig.gic.latency.now = 7
    assert rig.iar(pe=1) == 20
    assert rig.gic.latency.histogram.sum() == 0


def test_memory_use_has_the_tables_while_latencies_are_measured() -> None:
    rig = LpiRig(id_bits=14)
    before = rig.gic.memory_use()
    rig.gic.latency.start()
    grown = {name: size - before[name] for name, size in rig.gic.memory_use().items()}
    assert grown["per_pe"] == 96 * 8
    assert 16 * (1 << 14) + 8 * 2048 < grown["fixed"] < 16 * (1 << 14) + 8 * 2048 + 4096
    rig.gic.latency.stop()
    assert rig.gic.memory_use() == before
