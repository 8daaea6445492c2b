"""RWP, UWP and ChildrenAsleep that settle after steps."""

from collections.abc import Callable
from typing import Any

import pytest
from rig import Rig

from gicv3 import Frame, GICv3, Line

RWP_GICD, RWP_GICR, UWP = 1 << 31, 1 << 3, 1 << 31


def slow(cpus: int = 2, steps: int = 3, **config: Any) -> Rig:
    """A GIC that settles in `steps` steps, at rest."""
    rig = Rig(cpus, settle_steps=steps, ready=False, **config)
    rig.gic.dist["GICD_CTLR"] = 3
    for pe in range(cpus):
        rig.bring_up(pe)
    rig.gic.step(steps)
    return rig


def test_everything_settles_at_once_by_default() -> None:
    gic = Rig(2).gic
    gic.dist["GICD_CTLR"] = 0
    gic.dist["GICD_ICENABLER", 1] = 1
    gic.redist[0]["GICR_ICENABLER0"] = 1
    gic.pe[0]["ICC_SGI1R_EL1"] = 2
    assert gic.dist["GICD_CTLR"] == 0x50
    assert gic.redist[0]["GICR_CTLR"] == 0
    assert gic.redist[0]["GICR_WAKER"] == 0


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        (lambda gic: gic.dist.__setitem__("GICD_CTLR", 1), True),
        (lambda gic: gic.dist.__setitem__("GICD_CTLR", 2), True),
        (lambda gic: gic.dist.__setitem__("GICD_CTLR", 3), False),
        (lambda gic: gic.dist.__setitem__("GICD_CTLR", 0x83), True),
        (lambda gic: gic.dist.__setitem__(("GICD_ICENABLER", 1), 1), True),
        (lambda gic: gic.dist.__setitem__(("GICD_ISENABLER", 1), 1), False),
        (lambda gic: gic.dist.__setitem__(("GICD_ICPENDR", 1), 1), False),
    ],
    ids=["group1 off", "group0 off", "no change", "e1nwf", "ICENABLER", "ISENABLER", "ICPENDR"],
)
def test_gicd_rwp_covers_what_the_architecture_says(change: Callable[[GICv3], None], waits: bool) -> None:
    gic = slow(one_of_n=True).gic
    change(gic)
    for _ in range(3):
        assert bool(gic.dist["GICD_CTLR"] & RWP_GICD) == waits
        gic.step()
    assert not gic.dist["GICD_CTLR"] & RWP_GICD
    assert gic.redist[0]["GICR_CTLR"] == 0


def test_gicd_rwp_is_seen_in_every_view_and_covers_ds() -> None:
    gic = slow(security=True).gic
    assert gic.dist["GICD_CTLR"] == 0x33
    gic.dist["GICD_CTLR"] = 0x43
    for secure in (False, True):
        assert gic.frame_read(Frame.GICD, 0, secure=secure) == RWP_GICD | 0x53
    gic.step(3)
    assert gic.dist["GICD_CTLR"] == 0x53


@pytest.mark.parametrize(
    ("register", "value", "bit"),
    [("GICR_ICENABLER0", 1, RWP_GICR), ("GICR_ISENABLER0", 1, 0), ("GICR_CTLR", 1 << 24, RWP_GICR | 1 << 24)],
)
def test_gicr_rwp_covers_icenabler_and_dpg_of_its_own_pe(register: str, value: int, bit: int) -> None:
    gic = slow(one_of_n=True).gic
    gic.redist[1][register] = value
    assert gic.redist[1]["GICR_CTLR"] == bit
    assert gic.redist[0]["GICR_CTLR"] == 0
    gic.step(2)
    assert gic.redist[1]["GICR_CTLR"] == bit
    gic.step()
    assert gic.redist[1]["GICR_CTLR"] == bit & ~RWP_GICR


def test_uwp_follows_an_sgi_from_its_sender() -> None:
    gic = slow().gic
    gic.pe[1]["ICC_SGI1R_EL1"] = 1
    assert gic.redist[1]["GICR_CTLR"] == UWP
    assert gic.redist[0]["GICR_CTLR"] == 0
    gic.step(3)
    assert gic.redist[1]["GICR_CTLR"] == 0


def test_a_wait_starts_anew_with_each_write() -> None:
    gic = slow().gic
    gic.redist[1]["GICR_ICENABLER0"] = 1
    gic.dist["GICD_ICENABLER", 1] = 1
    gic.step(2)
    gic.redist[1]["GICR_ICENABLER0"] = 1
    gic.dist["GICD_ICENABLER", 1] = 1
    gic.step(2)
    assert gic.redist[1]["GICR_CTLR"] == RWP_GICR
    assert gic.dist["GICD_CTLR"] & RWP_GICD
    gic.step(1 << 31)
    assert gic.redist[1]["GICR_CTLR"] == 0
    assert not gic.dist["GICD_CTLR"] & RWP_GICD


def test_children_wake_after_the_steps_and_interrupts_flow_then() -> None:
    rig = slow()
    rig.prepare(40, 1)
    waker = rig.gic.redist[1]
    waker["GICR_WAKER"] = 2
    assert waker["GICR_WAKER"] == 2, "ChildrenAsleep follows later"
    rig.raise_(40)
    assert rig.line(1) == Line.WAKE, "but delivery stops now"
    rig.gic.step(3)
    assert waker["GICR_WAKER"] == 6
    waker["GICR_WAKER"] = 0
    assert waker["GICR_WAKER"] == 4
    rig.gic.step(2)
    assert waker["GICR_WAKER"] == 4
    assert rig.line(1) == 0, "a PE that is on its way up is not asked to wake"
    rig.gic.step()
    assert waker["GICR_WAKER"] == 0
    assert rig.line(1) == Line.IRQ


def test_a_step_tells_the_lines_that_it_moves() -> None:
    rig = slow()
    rig.prepare(40, 1)
    rig.gic.redist[1]["GICR_WAKER"] = 2
    rig.gic.step(3)
    rig.raise_(40)
    rig.gic.redist[1]["GICR_WAKER"] = 0
    told: list[tuple[int, Line, bool]] = []
    rig.gic.on_line = lambda *change: told.append(change)
    rig.gic.step(3)
    assert told == [(1, Line.IRQ, True)]


def test_changing_ones_mind_while_settling_ends_where_the_last_write_says() -> None:
    gic = slow().gic
    waker = gic.redist[1]
    waker["GICR_WAKER"] = 2
    gic.step()
    waker["GICR_WAKER"] = 0
    gic.step(3)
    assert waker["GICR_WAKER"] == 0
    waker["GICR_WAKER"] = 0
    assert waker["GICR_WAKER"] == 0
    gic.check()


@pytest.mark.parametrize("end", ["reset", "unplug"])
def test_reset_and_unplug_end_what_was_settling(end: str) -> None:
    gic = slow().gic
    gic.redist[1]["GICR_WAKER"] = 2
    gic.redist[1]["GICR_ICENABLER0"] = 1
    gic.pe[1]["ICC_SGI1R_EL1"] = 1
    if end == "reset":
        gic.reset()
    else:
        gic.set_cpustate(1, None, False)
    assert gic.redist[1]["GICR_CTLR"] == 0
    assert gic.redist[1]["GICR_WAKER"] == 6
    gic.step(5)
    assert gic.redist[1]["GICR_WAKER"] == 6
    gic.check()


def test_stepping_a_gic_at_rest_changes_nothing() -> None:
    gic = slow().gic
    digest = gic.state_digest()
    gic.step(0)
    gic.step()
    gic.step((1 << 32) - 1)
    assert gic.state_digest() == digest
