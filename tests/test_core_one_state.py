"""One security state in a GIC whose PEs have EL3 (GICD_CTLR.DS=1): one copy of the banked registers for everybody."""

from typing import Any

import pytest
from rig import CTLR_CBPR, CTLR_EOIMODE, G0, G1, G1S, IDLE, SCR_FIQ, SCR_IRQ, SCR_NS, SPURIOUS, Group, Rig

from gicv3 import Frame, Line, PeView

NONSECURE_AT_EL3 = 1021
STATES = ("NS", "S", "EL3 NS=0", "EL3 NS=1")
BELOW_EL3 = ("NS", "S")
each_state = pytest.mark.parametrize("state", STATES)


def make(**config: Any) -> Rig:
    rig = Rig(1, security=True, **config)
    rig.gic.frame_write(Frame.GICD, 0, 0x43, secure=True)
    return rig


def enter(rig: Rig, state: str, routed: int = 0) -> PeView:
    """Put the PE into a state, with interrupts `routed` (SCR_EL3 bits) to EL3."""
    if state == "NS":
        return rig.nonsecure(scr=SCR_NS | routed)
    if state == "S":
        return rig.secure(scr=routed)
    return rig.el3(scr=routed | (SCR_NS if state == "EL3 NS=1" else 0))


SHOWN = {
    # state and group: (line, IAR0, IAR1); 0 stands for the interrupt itself
    **{(state, G1): (Line.IRQ, SPURIOUS if state in BELOW_EL3 else NONSECURE_AT_EL3, 0) for state in STATES},
    **{(state, G0): (Line.FIQ, 0, SPURIOUS) for state in STATES},
}


@pytest.mark.parametrize(("state", "group"), SHOWN)
def test_every_state_takes_and_ends_both_groups(state: str, group: Group) -> None:
    rig = make()
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    enter(rig, state)
    line, *registers = SHOWN[state, group]
    assert rig.line() == line
    for register, wanted in enumerate(registers):
        assert rig.hppir(register) == (wanted or 40)
        assert rig.iar(register) == (wanted or 40)
    assert rig.active(40)
    assert rig.rpr() == 0x90
    rig.raise_(40, False)
    rig.eoi(40, 1 - min(group, 1))
    assert rig.active(40), "the other group's register ends nothing"
    rig.eoi(40, min(group, 1))
    assert not rig.active(40)
    assert rig.rpr() == IDLE


@each_state
def test_an_interrupt_may_be_ended_in_another_state_than_took_it(state: str) -> None:
    for taker in STATES:
        rig = make()
        rig.prepare(40, priority=0x90, edge=True)
        rig.write_bit("ISPENDR", 40)
        enter(rig, taker)
        assert rig.iar() == 40
        enter(rig, state)
        rig.eoi(40)
        assert (rig.active(40), rig.rpr()) == (False, IDLE), taker


BANKED = {"ICC_IGRPEN1_EL1": (0, 1), "ICC_BPR1_EL1": (5, 4), "ICC_AP1R0_EL1": (4, 2),
          "ICC_CTLR_EL1": (CTLR_CBPR | CTLR_EOIMODE, 0)}


@each_state
@pytest.mark.parametrize("name", BANKED)
def test_a_banked_register_is_the_same_one_in_every_state(name: str, state: str) -> None:
    rig = make()
    mask = 0xFF if name != "ICC_CTLR_EL1" else CTLR_CBPR | CTLR_EOIMODE
    for value in BANKED[name]:
        enter(rig, state)[name] = value
        for other in STATES:
            assert enter(rig, other)[name] & mask == value, other


@pytest.mark.parametrize("state", BELOW_EL3)
def test_software_below_el3_enables_group_1_for_itself(state: str) -> None:
    rig = make()
    rig.prepare(40)
    rig.raise_(40)
    pe = enter(rig, state)
    pe["ICC_IGRPEN1_EL1"] = 0
    assert rig.line() == Line(0)
    assert rig.iar() == SPURIOUS
    pe["ICC_IGRPEN1_EL1"] = 1
    assert rig.line() == Line.IRQ


def test_el3_still_holds_both_copies_but_the_secure_ones_govern_nothing() -> None:
    rig = make()
    pe = rig.el3()
    for value in (0x1F, 0):
        pe["ICC_CTLR_EL3"] = value
        assert pe["ICC_CTLR_EL3"] & 0x1F == value
    rig.prepare(40)
    rig.raise_(40)
    pe["ICC_IGRPEN1_EL3"] = 1
    assert (pe["ICC_IGRPEN1_EL3"], rig.line()) == (1, Line.IRQ)
    pe["ICC_IGRPEN1_EL3"] = 2
    assert (pe["ICC_IGRPEN1_EL3"], rig.line()) == (2, Line(0))


@pytest.mark.parametrize(("bit", "splits"), [(2, {"EL3 NS=0", "EL3 NS=1"}), (3, set()), (4, {"NS", "S"})],
                         ids=["EL3", "EL1S", "EL1NS"])
@each_state
def test_below_el3_eoimode_is_that_of_the_non_secure_copy(state: str, bit: int, splits: set[str]) -> None:
    rig = make()
    rig.el3()["ICC_CTLR_EL3"] = 1 << bit
    rig.prepare(40, edge=True)
    rig.write_bit("ISPENDR", 40)
    enter(rig, state)
    assert rig.iar() == 40
    rig.eoi(40)
    assert rig.active(40) == (state in splits)
    rig.gic.pe[0]["ICC_DIR_EL1"] = 40
    assert not rig.active(40)


@pytest.mark.parametrize(
    ("group", "routed", "allowed"),
    [(G0, SCR_IRQ, True), (G0, SCR_FIQ, False), (G1, SCR_FIQ, True), (G1, SCR_IRQ, False)],
)
@pytest.mark.parametrize("state", BELOW_EL3)
def test_dir_reaches_a_group_that_is_not_routed_to_el3(state: str, group: Group, routed: int, allowed: bool) -> None:
    rig = make()
    rig.prepare(40, group=group)
    rig.write_bit("ISACTIVER", 40)
    enter(rig, state)["ICC_CTLR_EL1"] = CTLR_EOIMODE
    enter(rig, state, routed)["ICC_DIR_EL1"] = 40
    assert rig.active(40) != allowed


@pytest.mark.parametrize("state", BELOW_EL3)
def test_with_cbpr_bpr1_is_one_above_bpr0_and_not_written_in_either_state(state: str) -> None:
    rig = make()
    pe = enter(rig, state)
    pe["ICC_BPR0_EL1"] = 4
    pe["ICC_BPR1_EL1"] = 6
    pe["ICC_CTLR_EL1"] = CTLR_CBPR
    assert pe["ICC_BPR1_EL1"] == 5
    pe["ICC_BPR1_EL1"] = 3
    assert (pe["ICC_BPR0_EL1"], pe["ICC_BPR1_EL1"]) == (4, 5)
    assert rig.el3(scr=0)["ICC_BPR1_EL1"] == 6, "EL3 reaches the real one"


def test_the_binary_point_of_group_1_is_that_of_the_one_copy() -> None:
    rig = make()
    rig.secure()["ICC_BPR1_EL1"] = 7
    for intid, priority in ((40, 0x70), (41, 0x10)):
        rig.prepare(intid, priority=priority)
    rig.raise_(40)
    assert rig.iar() == 40
    rig.raise_(41)
    assert rig.line() == Line(0), "bit 7 alone decides about preemption"
    rig.nonsecure()["ICC_BPR1_EL1"] = 4
    assert rig.secure()
    assert rig.line() == Line.IRQ


@each_state
def test_a_secure_active_priority_from_before_ds_was_set_is_ended_as_group_1(state: str) -> None:
    rig = Rig(1, security=True)
    rig.prepare(40, group=G1S, priority=0x40, edge=True)
    rig.write_bit("ISPENDR", 40)
    rig.secure()
    assert rig.iar() == 40
    rig.gic.frame_write(Frame.GICD, 0, 0x43, secure=True)
    enter(rig, state)
    rig.eoi(40, 0)
    assert rig.rpr() == 0x40, "its group is 0 now, its active priority is still in AP1R"
    rig.eoi(40)
    assert (rig.active(40), rig.rpr()) == (False, IDLE)


@each_state
def test_an_nmi_is_taken_and_ended_in_every_state(state: str) -> None:
    rig = make(nmi=True)
    rig.prepare(40, priority=0x90)
    rig.write_bit("INMIR", 40)
    rig.raise_(40)
    enter(rig, state)
    rig.gic.set_context(0, el=3 if "EL3" in state else 1, secure=state != "NS", nmi_enabled=True)
    assert rig.line() == Line.NMI
    assert rig.gic.sysreg_read(0, "ICC_NMIAR1_EL1") == 40
    assert rig.rpr() == 1 << 63
    rig.raise_(40, False)
    rig.eoi(40)
    assert (rig.active(40), rig.rpr()) == (False, IDLE)


def test_a_reset_brings_the_secure_copies_back() -> None:
    rig = make()
    rig.secure()["ICC_BPR1_EL1"] = 6
    rig.gic.reset()
    assert rig.secure()["ICC_BPR1_EL1"] == 2
    assert rig.nonsecure()["ICC_BPR1_EL1"] == 6
