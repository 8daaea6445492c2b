"""SGIs: target lists, range selector, IRM, the groups that each register reaches, absent receivers."""

import pytest
from rig import G0, G1, SPURIOUS, Group, Rig

from gicv3 import Line

FOUR_CLUSTERS = [0x0, 0x1, 0xF, 0x100, 0x1_0000, 0x1_00_00_00_00]


def receivers(rig: Rig, intid: int) -> list[int]:
    return [pe for pe in range(rig.gic.num_pe) if rig.pending(intid, pe)]


def everywhere(rig: Rig, intid: int, group: Group = G1) -> None:
    for pe in range(rig.gic.num_pe):
        rig.prepare(intid, pe, group=group)


@pytest.mark.parametrize(
    ("cluster", "targets", "expected"),
    [
        (0x0, 0x0001, [0]), (0x0, 0x0002, [1]), (0x0, 0x8003, [0, 1, 2]), (0x0, 0x0000, []), (0x0, 0x7FFC, []),
        (0x100, 0x0001, [3]), (0x100, 0xFFFF, [3]), (0x1_0000, 0x0001, [4]), (0x1_00_00_00_00, 0x0001, [5]),
        (0x2_00_00_00_00, 0x0001, []), (0x1_00_01_00_00, 0x0001, []), (0x1_00_00_01_00, 0xFFFF, []),
        (0x200, 0xFFFF, []),
    ],
)
def test_a_target_list_names_pes_of_one_cluster_by_full_affinity(
    cluster: int, targets: int, expected: list[int]
) -> None:
    rig = Rig(affinities=FOUR_CLUSTERS)
    everywhere(rig, 5)
    rig.sgi(5, targets, cluster=cluster, pe=1)
    assert receivers(rig, 5) == expected
    assert [pe for pe in range(6) if rig.line(pe) == Line.IRQ] == expected
    assert [pe for pe in range(6) if rig.iar(pe=pe) == 5] == expected


@pytest.mark.parametrize("sender", range(6))
def test_irm_sends_to_all_but_the_sender_and_ignores_the_target_fields(sender: int) -> None:
    rig = Rig(affinities=FOUR_CLUSTERS)
    everywhere(rig, 5)
    rig.sgi(5, 0xFFFF, cluster=0xFF_00FF_FF00, all_others=True, rs=15, pe=sender)
    assert receivers(rig, 5) == [pe for pe in range(6) if pe != sender]


def hide(rig: Rig) -> None:
    """A better interrupt is chosen, of a group that is disabled at the PE: with `hpp_rule` "gate" it hides the SGI."""
    rig.prepare(20, 1, priority=0x10, group=G0)
    rig.raise_(20, pe=1)
    rig.gic.pe[1]["ICC_IGRPEN0_EL1"] = 0


def run(rig: Rig, priority: int) -> None:
    """Another interrupt is active."""
    wait(rig, priority)
    rig.iar(pe=1)
    rig.gic.set_ppi(1, 20, False)


def wait(rig: Rig, priority: int) -> None:
    """Another interrupt is shown."""
    rig.prepare(20, 1, priority=priority)
    rig.gic.set_ppi(1, 20, True)


BEFORE = {  # what happened at the PE; its line, the interrupt that ICC_HPPIR1 shows and the SGIs counted, afterwards
    "nothing": (lambda rig: None, Line.IRQ, 5, 1),
    "masked": (lambda rig: rig.gic.pe[1].__setitem__("ICC_PMR_EL1", 0x80), Line(0), 5, 1),
    "just not masked": (lambda rig: rig.gic.pe[1].__setitem__("ICC_PMR_EL1", 0x88), Line.IRQ, 5, 1),
    "disabled": (lambda rig: rig.disable(5, 1), Line(0), SPURIOUS, 1),
    "pending already": (lambda rig: rig.sgi(5, 0b10), Line.IRQ, 5, 1),
    "active itself": (lambda rig: rig.write_bit("ISACTIVER", 5, 1), Line(0), SPURIOUS, 1),
    "better active": (lambda rig: run(rig, 0x70), Line(0), 5, 1),
    "worse active": (lambda rig: run(rig, 0x90), Line.IRQ, 5, 1),
    "better shown": (lambda rig: wait(rig, 0x70), Line.IRQ, 20, 1),
    "worse shown": (lambda rig: wait(rig, 0x90), Line.IRQ, 5, 1),
    "equal shown": (lambda rig: wait(rig, 0x80), Line.IRQ, 5, 1),
    "better hidden": (hide, Line(0), SPURIOUS, 1),
    "group 0": (lambda rig: rig.group(5, G0, 1), Line.FIQ, SPURIOUS, 1),
    "absent": (lambda rig: rig.gic.set_cpustate(1, None, False), Line(0), SPURIOUS, 0),
}


@pytest.mark.parametrize("all_others", [True, False], ids=["IRM", "target list"])
@pytest.mark.parametrize("name", BEFORE)
def test_an_sgi_shows_as_what_happened_before_lets_it(name: str, all_others: bool) -> None:
    before, line, shown, counted = BEFORE[name]
    rig = Rig(2, hpp_rule="gate")
    everywhere(rig, 5)
    before(rig)
    rig.sgi(5, 0 if all_others else 0b10, all_others=all_others)
    assert rig.line(1) == line
    assert rig.hppir(pe=1) == shown
    assert rig.gic.statistics()["raised"][1, 0] == counted


@pytest.mark.parametrize("intid", range(16))
def test_every_sgi_has_its_own_bit(intid: int) -> None:
    rig = Rig(2)
    everywhere(rig, intid)
    rig.sgi(intid, 0b11)
    assert rig.gic.redist[0]["GICR_ISPENDR0"] == rig.gic.redist[1]["GICR_ISPENDR0"] == 1 << intid
    assert rig.iar(pe=1) == intid
    assert rig.gic.redist[1]["GICR_ISPENDR0"] == 0
    assert rig.gic.redist[0]["GICR_ISPENDR0"] == 1 << intid


def test_bits_of_no_field_are_ignored() -> None:
    rig = Rig(2)
    everywhere(rig, 5)
    rig.gic.pe[0]["ICC_SGI1R_EL1"] = 0xFF00_0E00_F000_0000 | 5 << 24 | 2
    assert receivers(rig, 5) == [1]


def test_an_sgi_to_oneself_is_delivered() -> None:
    rig = Rig()
    everywhere(rig, 0)
    rig.sgi(0, 1)
    assert rig.line() == Line.IRQ
    assert rig.iar() == 0


def test_an_sgi_pended_twice_is_taken_once_and_one_sent_during_service_returns() -> None:
    rig = Rig(2)
    everywhere(rig, 5)
    rig.sgi(5, 2)
    rig.sgi(5, 2)
    assert rig.iar(pe=1) == 5
    assert rig.iar(pe=1) == SPURIOUS
    rig.sgi(5, 2)
    assert rig.line(1) == 0
    rig.eoi(5, pe=1)
    assert rig.iar(pe=1) == 5
    rig.eoi(5, pe=1)
    assert rig.iar(pe=1) == SPURIOUS


def test_a_disabled_sgi_waits() -> None:
    rig = Rig(2)
    rig.group(5, G1, 1)
    rig.sgi(5, 2)
    assert rig.pending(5, 1)
    assert rig.line(1) == 0
    rig.enable(5, 1)
    assert rig.line(1) == Line.IRQ


@pytest.mark.parametrize("register", ["ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1"])
@pytest.mark.parametrize("group", [G0, G1], ids=["group0", "group1"])
@pytest.mark.parametrize("all_others", [False, True], ids=["list", "irm"])
def test_with_one_state_sgi1r_reaches_both_groups_and_the_others_group_0(
    register: str, group: Group, all_others: bool
) -> None:
    rig = Rig(2)
    everywhere(rig, 5, group)
    rig.sgi(5, 0b10, reg=register, all_others=all_others)
    reaches = group == G0 or register == "ICC_SGI1R_EL1"
    assert receivers(rig, 5) == ([1] if reaches else [])
    assert rig.line(1) == (0 if not reaches else Line.FIQ if group == G0 else Line.IRQ)


def test_the_group_at_each_target_decides() -> None:
    rig = Rig(3)
    everywhere(rig, 5)
    rig.group(5, G0, 1)
    rig.sgi(5, 0b111, reg="ICC_SGI0R_EL1")
    assert receivers(rig, 5) == [1]


# --- range selector


@pytest.mark.parametrize(
    ("rs", "targets", "expected"), [(0, 0x2, [1]), (1, 0x1, [2]), (15, 0x8000, [3]), (2, 0xFFFF, [])]
)
def test_the_range_selector_reaches_aff0_above_15(rs: int, targets: int, expected: list[int]) -> None:
    rig = Rig(affinities=[0x0, 0x1, 0x10, 0xFF], range_selector=True)
    assert rig.gic.dist["GICD_TYPER"] >> 26 & 1
    assert rig.gic.pe[0]["ICC_CTLR_EL1"] >> 18 & 1
    everywhere(rig, 5)
    rig.sgi(5, targets, rs=rs)
    assert receivers(rig, 5) == expected


def test_without_a_range_selector_rs_is_taken_as_zero() -> None:
    rig = Rig(affinities=[0x0, 0x1, 0x10, 0xFF])
    assert not rig.gic.dist["GICD_TYPER"] >> 26 & 1
    assert not rig.gic.pe[0]["ICC_CTLR_EL1"] >> 18 & 1
    everywhere(rig, 5)
    rig.sgi(5, 0x3, rs=1)
    assert receivers(rig, 5) == [0, 1]


# --- PEs without a vCPU


def test_an_sgi_to_an_absent_pe_is_dropped_and_counted() -> None:
    rig = Rig(4)
    everywhere(rig, 5)
    rig.gic.set_cpustate(2, None, False)
    rig.sgi(5, 0b1100)
    assert receivers(rig, 5) == [3]
    assert rig.gic.totals()["sgi_dropped"] == 1
    rig.gic.set_cpustate(2, None, True)
    rig.bring_up(2)
    rig.prepare(5, 2)
    assert rig.line(2) == 0, "nothing was kept for the vCPU that came later"


def test_a_target_that_no_pe_has_is_ignored_and_not_counted_as_dropped() -> None:
    rig = Rig(2)
    everywhere(rig, 5)
    rig.sgi(5, 0xFFFC)
    assert receivers(rig, 5) == []
    assert rig.gic.totals()["sgi_dropped"] == 0


def test_irm_sends_to_accessible_pes_only() -> None:
    rig = Rig(130)
    everywhere(rig, 5)
    for pe in (0, 63, 64, 128):
        rig.gic.set_cpustate(pe, None, False)
    rig.sgi(5, all_others=True, pe=65)
    assert receivers(rig, 5) == [pe for pe in range(130) if pe not in (0, 63, 64, 65, 128)]
    assert rig.gic.totals()["sgi_dropped"] == 0


def test_an_absent_pe_sends_nothing() -> None:
    rig = Rig(2)
    everywhere(rig, 5)
    rig.gic.set_cpustate(0, None, False)
    rig.sgi(5, 2, pe=0)
    assert receivers(rig, 5) == []
