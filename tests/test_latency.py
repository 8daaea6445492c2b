"""How long interrupts wait from raise to acknowledge, in the embedder's time."""

from collections.abc import Callable
from typing import Any

import numpy
import pytest
from rig import G0, SPURIOUS, Rig
from test_statistics import PPI, SGI, SPI, ready

from gicv3 import ConfigError, GicError, GICv3


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
