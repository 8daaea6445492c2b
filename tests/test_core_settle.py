"""RWP, UWP and ChildrenAsleep that settle after steps, and what strict mode records."""

from collections.abc import Callable
from typing import Any

import pytest
from rig import CTLR_EOIMODE, G0, G1NS, G1S, Rig

from gicv3 import Frame, GICv3, GICv3Config, Line

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


# --- strict mode


def found(gic: GICv3) -> list[tuple[str, int | None, int | None, int]]:
    return gic.strict_log()


def take(rig: Rig, intid: int) -> None:
    rig.write_bit("ISPENDR", intid)
    assert rig.iar() == intid


def eoi_out_of_order(rig: Rig) -> None:
    rig.prepare(41, priority=0x40)
    take(rig, 40)
    take(rig, 41)
    rig.eoi(40)


def dir_of_an_inactive_interrupt(rig: Rig) -> None:
    rig.gic.pe[0]["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.gic.pe[0]["ICC_DIR_EL1"] = 40


FINDINGS: dict[str, tuple[Callable[[Rig], Any], str, int | None, int | None, int]] = {
    "hole": (lambda rig: rig.gic.frame_read(Frame.RD, 0x8000, index=1), "reserved location", 1, None, 1 << 32 | 0x8000),
    "size": (lambda rig: rig.gic.frame_write(Frame.GICD, 0x100, 0, 1), "wrong size", None, None, 0x100),
    "direction": (lambda rig: rig.gic.frame_write(Frame.GICD, 4, 0), "a direction", None, None, 4),
    "sleep with groups enabled": (
        lambda rig: rig.gic.redist[1].__setitem__("GICR_WAKER", 2), "ProcessorSleep set while ICC_IGRPEN", 1, None, 2
    ),
    "eoi of nothing": (lambda rig: rig.eoi(40), "no interrupt is active", 0, 40, 1),
    "eoi out of order": (eoi_out_of_order, "not the one acknowledged last", 0, 40, 1),
    "eoi twice": (
        lambda rig: (rig.prepare(41), take(rig, 40), rig.eoi(41)), "not the one acknowledged last", 0, 41, 1
    ),
    "eoi of the wrong group": (lambda rig: (take(rig, 40), rig.eoi(40, 0)), "wrong group", 0, 40, 0),
    "dir without eoimode": (
        lambda rig: rig.gic.sysreg_write(0, "ICC_DIR_EL1", 40), "ICC_DIR written with EOImode 0", 0, 40, 40
    ),
    "dir of an inactive one": (dir_of_an_inactive_interrupt, "an INTID that is not active", 0, 40, 40),
    "trigger of an enabled spi": (lambda rig: rig.edge(40, True), "ICFGR changed", None, 40, 0x2_0000),
    "trigger of an enabled ppi": (
        lambda rig: (rig.enable(20, 1), rig.edge(20, True, 1)), "ICFGR changed", 1, 16, 0x200
    ),
    "unknown route": (
        lambda rig: rig.gic.dist.__setitem__(("GICD_IROUTER", 40), 0x99), "affinity that no PE has", None, 40, 0x99
    ),
    "irm": (
        lambda rig: rig.gic.dist.__setitem__(("GICD_IROUTER", 40), 1 << 31), "No1N is 1", None, 40, 1 << 31
    ),
    "range selector": (lambda rig: rig.sgi(5, 1, rs=1), "ICC_SGI*R.RS is not 0", 0, 5, 1 << 44 | 5 << 24 | 1),
    "sgi to nobody": (lambda rig: rig.sgi(5, 4), "a PE that does not exist", 0, 5, 5 << 24 | 4),
    "active priority": (
        lambda rig: rig.gic.sysreg_write(0, "ICC_AP1R0_EL1", 6), "neither 0 nor what it reads", 0, None, 6
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_strict_mode_records_what_who_and_where(name: str) -> None:
    act, text, pe, intid, detail = FINDINGS[name]
    rig = Rig(2, strict=True)
    rig.prepare(40)
    assert found(rig.gic) == []
    act(rig)
    ((rule, *rest),) = found(rig.gic)
    assert text in rule
    assert rest == [pe, intid, detail]
    assert rig.gic.strict_counts() == {rule: 1}


def test_strict_mode_records_what_needs_two_states_or_time() -> None:
    rig = Rig(1, strict=True, security=True)
    rig.gic.dist["GICD_CTLR"] = 0x47
    ((rule, *rest),) = found(rig.gic)
    assert "DS set while a group is enabled" in rule
    assert rest == [None, None, 0x47]
    late = Rig(1, strict=True, settle_steps=2, ready=False)
    late.gic.redist[0]["GICR_WAKER"] = 0
    late.gic.step(2)
    late.gic.redist[0]["GICR_WAKER"] = 2
    late.gic.redist[0]["GICR_WAKER"] = 0
    ((rule, *rest),) = found(late.gic)
    assert "cleared before ChildrenAsleep was 1" in rule
    assert rest == [0, None, 0]


@pytest.mark.parametrize(
    ("group", "enter"), [(G1NS, "secure"), (G1S, "nonsecure"), (G0, "nonsecure")], ids=["G1NS", "G1S", "G0"]
)
def test_ending_a_group_of_the_other_state_is_recorded(group: int, enter: str) -> None:
    rig = Rig(1, strict=True, security=True)
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    rig.el3()
    assert rig.iar(min(group, 1)) == 40
    getattr(rig, enter)()
    rig.eoi(40, min(group, 1))
    ((rule, *_),) = found(rig.gic)
    assert "a group that this state may not end" in rule


def test_proper_use_leaves_the_log_empty() -> None:
    rig = Rig(2, strict=True, security=True, nmi=True, one_of_n=True)
    for intid, group in ((3, G1NS), (20, G1NS), (40, G1NS), (41, G1S), (42, G0)):
        rig.prepare(intid, group=group, priority=0x90)
        rig.raise_(intid)
        rig.el3()
        number = min(group, 1)
        assert rig.iar(number) == intid
        rig.raise_(intid, False)
        rig.eoi(intid, number)
    rig.prepare(43, group=G1NS)
    rig.field("INMIR", 1, 43, 1)
    rig.raise_(43)
    rig.nonsecure(nmi=True)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 43
    value = rig.gic.pe[0]["ICC_AP1R0_EL1"]
    rig.gic.pe[0]["ICC_AP1R0_EL1"] = 0
    rig.gic.pe[0]["ICC_AP1R0_EL1"] = 0
    assert value
    rig.eoi(1023)
    rig.sgi(3, 3)
    rig.gic.dist["GICD_IROUTER", 40] = 1 << 31
    assert found(rig.gic) == []
    assert rig.gic.strict_counts() == {}


def test_the_log_keeps_the_latest_1024_and_counts_all() -> None:
    gic = GICv3(GICv3Config(cpus=1, strict=True))
    for number in range(1030):
        gic.frame_read(Frame.GICD, 0xA000 + 4 * number)
    log = found(gic)
    assert [detail for *_, detail in log] == [0xA000 + 4 * number for number in range(6, 1030)]
    assert list(gic.strict_counts().values()) == [1030]


def test_without_strict_mode_nothing_is_recorded() -> None:
    for act, *_ in FINDINGS.values():
        rig = Rig(2)
        rig.prepare(40)
        act(rig)
        assert found(rig.gic) == []
        assert rig.gic.strict_counts() == {}


def visible(gic: GICv3) -> list[int]:
    """What software and the embedder see of a GIC."""
    frames = [gic.frame_read(frame, offset, index=pe) for pe in range(gic.num_pe)
              for frame in (Frame.GICD, Frame.RD, Frame.SGI) for offset in range(0, 0x7000, 4)]
    readable = ("PMR", "RPR", "AP0R0", "AP1R0", "BPR0", "BPR1", "CTLR", "IGRPEN0", "IGRPEN1", "HPPIR0", "HPPIR1")
    return [*frames, *(pe[f"ICC_{name}_EL1"] for pe in gic.pe for name in readable), *gic.lines]


@pytest.mark.parametrize("name", FINDINGS)
def test_strict_mode_changes_nothing_that_the_guest_sees(name: str) -> None:
    seen = []
    for strict in (False, True):
        rig = Rig(2, strict=strict)
        rig.prepare(40)
        FINDINGS[name][0](rig)
        seen.append(visible(rig.gic))
    assert seen[0] == seen[1]
