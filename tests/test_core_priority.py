"""Priorities: masking, preemption, binary points, running and active priorities, end of interrupt, deactivation."""

import random

import pytest
from rig import CTLR_CBPR, CTLR_EOIMODE, G0, G1, IDLE, SPURIOUS, Group, Rig

from gicv3 import Line

by_bits = pytest.mark.parametrize("bits", [4, 5, 6, 7, 8])
by_group = pytest.mark.parametrize("group", [G0, G1], ids=["group0", "group1"])


def step_of(bits: int) -> int:
    """Distance of two neighbouring priorities."""
    return 1 << 8 - bits


def take(rig: Rig, intid: int, group: int = 1) -> None:
    """Make an SPI pending by software and acknowledge it."""
    rig.write_bit("ISPENDR", intid)
    assert rig.iar(group) == intid


# --- the mask


@by_bits
@by_group
def test_a_priority_must_be_above_the_mask(bits: int, group: Group) -> None:
    rig = Rig(priority_bits=bits)
    step = step_of(bits)
    rig.prepare(40, priority=0x80, group=group)
    rig.raise_(40)
    for pmr, signalled in ((0, False), (0x80 - step, False), (0x80, False), (0x80 + step, True), (0xFF, True)):
        rig.gic.pe[0]["ICC_PMR_EL1"] = pmr
        assert (rig.line() != 0) == signalled, hex(pmr)
        assert rig.hppir(min(group, 1)) == 40
        if not signalled:
            assert rig.iar(min(group, 1)) == SPURIOUS


@by_bits
def test_the_highest_priority_passes_the_smallest_mask(bits: int) -> None:
    rig = Rig(priority_bits=bits)
    rig.prepare(40, priority=0)
    rig.raise_(40)
    rig.gic.pe[0]["ICC_PMR_EL1"] = step_of(bits)
    assert rig.line() == Line.IRQ
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0
    assert rig.line() == 0


@by_bits
def test_the_lowest_priority_is_never_signalled_and_reported_unless_it_is_0xff(bits: int) -> None:
    rig = Rig(priority_bits=bits)
    rig.prepare(40, priority=0xFF)
    rig.prepare(3, priority=0xFF)
    rig.raise_(40)
    rig.raise_(3)
    assert rig.line() == 0
    assert rig.iar() == SPURIOUS
    assert rig.hppir() == (SPURIOUS if bits == 8 else 3)
    rig.priority(40, 0xFF - step_of(bits))
    assert rig.line() == Line.IRQ
    assert rig.iar() == 40


def test_unimplemented_bits_of_the_mask_do_not_count() -> None:
    rig = Rig()
    rig.prepare(40, priority=0x80)
    rig.raise_(40)
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0x87
    assert rig.gic.pe[0]["ICC_PMR_EL1"] == 0x80
    assert rig.line() == 0


# --- who is first


@by_bits
def test_a_crowd_is_acknowledged_by_priority_then_by_lowest_intid(bits: int) -> None:
    rng = random.Random(bits)
    rig = Rig(priority_bits=bits, spis=988, espis=1024, eppis=64)
    intids = [*range(32), *range(32, 1020), *range(1056, 1120), *range(4096, 5120)]
    rig.gic.pe[0]["ICC_CTLR_EL1"] = 0
    waiting = []
    for intid in rng.sample(intids, 700):
        priority = rng.randrange(0, 0xFF, step_of(bits)) if rng.random() < 0.8 else 0x40
        rig.prepare(intid, priority=priority)
        rig.write_bit("ISPENDR", intid)
        if priority < 0xFF << 8 - bits & 0xFF:
            waiting.append((priority, intid))
    rig.gic.check()
    taken = []
    while (intid := rig.iar()) != SPURIOUS:
        taken.append((rig.rpr(), intid))
        rig.eoi(intid)
    assert [intid for _, intid in taken] == [intid for _, intid in sorted(waiting)]
    mask = 0xFE if bits == 8 else 0xFF
    assert [priority for priority, _ in taken] == [priority & mask for priority, _ in sorted(waiting)]


@pytest.mark.parametrize(
    "intids",
    [(3, 20), (20, 40), (3, 40), (31, 32), (40, 41), (40, 1019), (1019, 1056), (1056, 4096), (4096, 4097), (95, 96)],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_of_equal_priorities_the_lowest_intid_goes_first(intids: tuple[int, int], swapped: bool) -> None:
    rig = Rig(espis=32, eppis=32)
    for intid in intids[::-1] if swapped else intids:
        rig.prepare(intid)
        rig.write_bit("ISPENDR", intid)
    assert rig.hppir() == rig.iar() == intids[0]
    rig.eoi(intids[0])
    assert rig.iar() == intids[1]


@pytest.mark.parametrize("first", [3, 20, 40, 1060, 4100])
@pytest.mark.parametrize("second", [4, 21, 41, 1061, 4101])
def test_a_higher_priority_goes_first_whatever_its_kind(first: int, second: int) -> None:
    rig = Rig(espis=32, eppis=32)
    rig.prepare(first, priority=0x78, group=G0)
    rig.prepare(second, priority=0x80, group=G1)
    rig.write_bit("ISPENDR", second)
    assert rig.line() == Line.IRQ
    rig.write_bit("ISPENDR", first)
    assert rig.line() == Line.FIQ
    assert rig.hppir(1) == SPURIOUS, "only the highest priority pending interrupt is reported"
    rig.write_bit("ICPENDR", first)
    assert rig.line() == Line.IRQ
    assert rig.iar() == second


def test_a_pending_interrupt_that_leaves_uncovers_the_next() -> None:
    rig = Rig()
    for intid in (40, 41, 42, 43):
        rig.prepare(intid, priority=0x40 + intid % 8 * 8)
        rig.raise_(intid)
    rig.raise_(40, False)
    assert rig.hppir() == 41
    rig.disable(41)
    assert rig.hppir() == 42
    rig.write_bit("ISACTIVER", 42)
    assert rig.hppir() == 43
    rig.gic.dist["GICD_IROUTER", 43] = 0x77
    assert rig.hppir() == SPURIOUS


# --- preemption


@by_bits
@by_group
def test_levels_nest_to_their_full_depth_and_unwind(bits: int, group: Group) -> None:
    rig = Rig(priority_bits=bits)
    levels = min(1 << bits, 128)
    step = 256 // levels
    priorities = list(range(256 - 2 * step, -1, -step))
    number = min(group, 1)
    for depth, priority in enumerate(priorities):
        intid = rig.prepare(40 + depth, priority=priority, group=group)
        take(rig, intid, number)
        assert rig.rpr() == priority
    words = [rig.gic.pe[0][f"ICC_AP{number}R{n}_EL1"] for n in range(max(1, levels // 32))]
    assert sum(word.bit_count() for word in words) == levels - 1
    for depth in range(len(priorities) - 1, -1, -1):
        assert rig.rpr() == priorities[depth]
        rig.eoi(40 + depth, number)
    assert rig.rpr() == IDLE


@by_bits
def test_an_equal_or_lower_priority_does_not_preempt(bits: int) -> None:
    rig = Rig(priority_bits=bits)
    step = max(step_of(bits), 2)
    for intid, priority in ((40, 0x80), (41, 0x80), (42, 0x80 + step), (43, 0x80 - step)):
        rig.prepare(intid, priority=priority)
    take(rig, 40)
    for intid, preempts in ((41, False), (42, False), (43, True)):
        rig.write_bit("ISPENDR", intid)
        assert (rig.line() == Line.IRQ) == preempts, intid
    assert rig.hppir() == 43


def test_eight_bits_preempt_on_seven() -> None:
    rig = Rig(priority_bits=8)
    for intid, priority in ((40, 0x81), (41, 0x80), (42, 0x7F)):
        rig.prepare(intid, priority=priority)
    take(rig, 40)
    assert rig.rpr() == 0x80
    rig.write_bit("ISPENDR", 41)
    assert rig.line() == 0
    rig.write_bit("ISPENDR", 42)
    assert rig.line() == Line.IRQ
    assert rig.iar() == 42
    assert rig.rpr() == 0x7E


@by_bits
@by_group
def test_a_binary_point_splits_group_priority_from_subpriority(bits: int, group: Group) -> None:
    prebits = min(bits, 7)
    number = min(group, 1)
    lowest = (7 if group == G0 else 8) - prebits
    for point in range(lowest, 8):
        first_bit = point + 1 if group == G0 else point
        rig = Rig(priority_bits=bits)
        rig.gic.pe[0][f"ICC_BPR{number}_EL1"] = point
        rig.prepare(40, priority=0xFF, group=group)
        rig.gic.check()
        for shift in range(8 - bits, 8):
            running, challenger = 1 << shift, 0
            rig.priority(40, running)
            rig.prepare(41, priority=challenger, group=group)
            take(rig, 40, number)
            rig.write_bit("ISPENDR", 41)
            assert (rig.line() != 0) == (shift >= first_bit), (point, shift)
            rig.write_bit("ICPENDR", 41)
            rig.eoi(40, number)


def test_bpr0_of_seven_leaves_no_preemption() -> None:
    rig = Rig()
    rig.gic.pe[0]["ICC_BPR0_EL1"] = 7
    rig.prepare(40, priority=0xF0, group=G0)
    rig.prepare(41, priority=0, group=G0)
    take(rig, 40, 0)
    rig.write_bit("ISPENDR", 41)
    assert rig.line() == 0
    rig.eoi(40, 0)
    assert rig.line() == Line.FIQ


@pytest.mark.parametrize(("pending", "preempts"), [(G0, False), (G1, True)], ids=["group0", "group1"])
def test_the_binary_point_of_the_pending_interrupts_group_decides(pending: Group, preempts: bool) -> None:
    rig = Rig()
    rig.gic.pe[0]["ICC_BPR0_EL1"] = 7
    rig.prepare(40, priority=0x80, group=G0 if pending == G1 else G1)
    rig.prepare(41, priority=0x40, group=pending)
    take(rig, 40, 0 if pending == G1 else 1)
    rig.write_bit("ISPENDR", 41)
    assert (rig.line() != 0) == preempts


def test_changing_a_binary_point_shows_at_once() -> None:
    rig = Rig()
    pe = rig.gic.pe[0]
    rig.prepare(40, priority=0xC0)
    rig.prepare(41, priority=0x80)
    take(rig, 40)
    rig.write_bit("ISPENDR", 41)
    assert rig.line() == Line.IRQ
    pe["ICC_BPR1_EL1"] = 7
    assert rig.line() == 0
    pe["ICC_BPR1_EL1"] = 6
    assert rig.line() == Line.IRQ


def test_cbpr_gives_group_1_the_binary_point_of_group_0() -> None:
    rig = Rig()
    pe = rig.gic.pe[0]
    pe["ICC_BPR0_EL1"], pe["ICC_BPR1_EL1"] = 5, 3
    pe["ICC_CTLR_EL1"] = CTLR_CBPR
    assert pe["ICC_BPR1_EL1"] == 6
    pe["ICC_BPR1_EL1"] = 7
    assert pe["ICC_BPR1_EL1"] == 6
    rig.prepare(40, priority=0x60)
    rig.prepare(41, priority=0x40)
    take(rig, 40)
    rig.write_bit("ISPENDR", 41)
    assert rig.line() == 0, "bits 7:6 are equal"
    rig.priority(41, 0x38)
    assert rig.line() == Line.IRQ
    pe["ICC_CTLR_EL1"] = 0
    assert pe["ICC_BPR1_EL1"] == 3, "what was written under CBPR was ignored"


@pytest.mark.parametrize(("bpr0", "shown"), [(2, 3), (6, 7), (7, 7)])
def test_under_cbpr_bpr1_reads_one_more_than_bpr0_up_to_seven(bpr0: int, shown: int) -> None:
    pe = Rig().gic.pe[0]
    pe["ICC_BPR0_EL1"] = bpr0
    pe["ICC_CTLR_EL1"] = CTLR_CBPR
    assert pe["ICC_BPR1_EL1"] == shown


@pytest.mark.parametrize(("rule", "running", "bit"), [("minimum", 0x68, 13), ("bpr", 0x40, 8)])
def test_apr_rule_decides_what_an_acknowledge_records(rule: str, running: int, bit: int) -> None:
    rig = Rig(apr_rule=rule)
    rig.gic.pe[0]["ICC_BPR1_EL1"] = 6
    rig.prepare(40, priority=0x68)
    take(rig, 40)
    assert rig.rpr() == running
    assert rig.gic.pe[0]["ICC_AP1R0_EL1"] == 1 << bit
    rig.eoi(40)
    assert rig.rpr() == IDLE
    assert rig.gic.pe[0]["ICC_AP1R0_EL1"] == 0


@by_bits
@by_group
def test_active_priority_registers_number_the_preemption_levels(bits: int, group: Group) -> None:
    number = min(group, 1)
    prebits = min(bits, 7)
    for priority in (0, 0x10, 0x80, 0xE0):
        rig = Rig(priority_bits=bits)
        rig.prepare(40, priority=priority, group=group)
        take(rig, 40, number)
        level = priority >> 8 - prebits
        words = max(1, (1 << prebits) // 32)
        shown = [rig.gic.pe[0][f"ICC_AP{number}R{n}_EL1"] for n in range(words)]
        assert shown == [(1 << level % 32 if n == level // 32 else 0) for n in range(words)]
        other = [rig.gic.pe[0][f"ICC_AP{1 - number}R{n}_EL1"] for n in range(words)]
        assert other == [0] * words


def test_restored_active_priorities_are_the_running_priority_and_mask_interrupts() -> None:
    rig = Rig(priority_bits=7)
    rig.prepare(40, priority=0x80)
    rig.raise_(40)
    pe = rig.gic.pe[0]
    pe["ICC_AP0R1_EL1"] = 1 << 31
    assert rig.rpr() == 0x7E
    assert rig.line() == 0
    pe["ICC_AP0R1_EL1"] = 0
    pe["ICC_AP1R3_EL1"] = 1 << 5
    assert rig.rpr() == (96 + 5) << 1
    assert rig.line() == Line.IRQ
    pe["ICC_AP1R3_EL1"] = 0
    assert rig.rpr() == IDLE


# --- end of interrupt


@by_group
def test_eoir_of_the_other_group_is_ignored_whole(group: Group) -> None:
    rig = Rig()
    number = min(group, 1)
    rig.prepare(40, group=group)
    take(rig, 40, number)
    rig.eoi(40, 1 - number)
    assert rig.active(40)
    assert rig.rpr() == 0x80
    rig.eoi(40, number)
    assert not rig.active(40)
    assert rig.rpr() == IDLE


@pytest.mark.parametrize("intid", [96, 1020, 1021, 1022, 1023, 1024, 1056, 1120, 4095, 4096, 5120, 8192, 0xFF_FFFF])
@pytest.mark.parametrize("mode", [0, CTLR_EOIMODE])
def test_eoir_and_dir_of_what_is_no_interrupt_are_ignored(intid: int, mode: int) -> None:
    rig = Rig(spis=64)
    pe = rig.gic.pe[0]
    rig.prepare(40)
    take(rig, 40)
    pe["ICC_CTLR_EL1"] = mode
    digest = rig.gic.state_digest()
    rig.eoi(intid)
    pe["ICC_DIR_EL1"] = intid
    assert rig.gic.state_digest() == digest


def test_bits_above_the_intid_field_are_ignored() -> None:
    rig = Rig()
    rig.prepare(40)
    take(rig, 40)
    rig.eoi(0xFFFF_FFFF_FF00_0000 | 40)
    assert not rig.active(40)


def test_eoir_with_nothing_active_is_ignored_whole() -> None:
    rig = Rig()
    rig.prepare(40)
    rig.write_bit("ISACTIVER", 40)
    rig.eoi(40)
    assert rig.active(40)


def test_eoirs_out_of_order_drop_the_highest_priority_each_time() -> None:
    rig = Rig()
    rig.prepare(40, priority=0x80)
    rig.prepare(41, priority=0x40)
    take(rig, 40)
    take(rig, 41)
    rig.eoi(40)
    assert not rig.active(40)
    assert rig.active(41)
    assert rig.rpr() == 0x80
    rig.eoi(41)
    assert not rig.active(41)
    assert rig.rpr() == IDLE


def test_eoir_of_an_inactive_interrupt_still_drops_the_priority() -> None:
    rig = Rig()
    rig.prepare(40)
    rig.prepare(41)
    take(rig, 40)
    rig.eoi(41)
    assert rig.rpr() == IDLE
    assert rig.active(40)


@pytest.mark.parametrize("intid", [3, 20, 40, 1060, 4100])
@by_group
def test_with_eoimode_set_eoir_drops_and_dir_deactivates(intid: int, group: Group) -> None:
    rig = Rig(espis=32, eppis=32)
    number = min(group, 1)
    pe = rig.gic.pe[0]
    pe["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.prepare(intid, group=group)
    rig.write_bit("ISPENDR", intid)
    assert rig.iar(number) == intid
    rig.write_bit("ISPENDR", intid)
    rig.eoi(intid, number)
    assert rig.rpr() == IDLE
    assert rig.active(intid)
    assert rig.line() == 0
    pe["ICC_DIR_EL1"] = intid
    assert not rig.active(intid)
    assert rig.line() == (Line.FIQ if group == G0 else Line.IRQ)


def test_dir_without_eoimode_is_ignored() -> None:
    rig = Rig()
    rig.prepare(40)
    take(rig, 40)
    rig.gic.pe[0]["ICC_DIR_EL1"] = 40
    assert rig.active(40)


def test_dir_before_eoir_leaves_the_running_priority() -> None:
    rig = Rig()
    pe = rig.gic.pe[0]
    pe["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.prepare(40)
    take(rig, 40)
    pe["ICC_DIR_EL1"] = 40
    assert not rig.active(40)
    assert rig.rpr() == 0x80
    rig.eoi(40)
    assert rig.rpr() == IDLE


def test_dir_deactivates_an_spi_from_any_pe_and_a_ppi_of_its_own_only() -> None:
    rig = Rig(2)
    for pe in rig.gic.pe:
        pe["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.prepare(40, pe=0, priority=0x40)
    rig.prepare(20, pe=0, priority=0x80)
    rig.raise_(20, pe=0)
    assert rig.iar(pe=0) == 20
    rig.raise_(40)
    assert rig.iar(pe=0) == 40
    rig.gic.pe[1]["ICC_DIR_EL1"] = 20
    rig.gic.pe[1]["ICC_DIR_EL1"] = 40
    assert rig.active(20, 0)
    assert not rig.active(40)


def test_disabling_the_group_of_an_active_interrupt_does_not_hinder_its_eoi() -> None:
    rig = Rig()
    rig.prepare(40)
    take(rig, 40)
    rig.gic.dist["GICD_CTLR"] = 0
    rig.gic.pe[0]["ICC_IGRPEN1_EL1"] = 0
    rig.disable(40)
    rig.eoi(40)
    assert rig.rpr() == IDLE
    assert not rig.active(40)


def test_cpu_interface_reset_forgets_priorities_and_leaves_active_states() -> None:
    rig = Rig()
    rig.prepare(40)
    take(rig, 40)
    rig.gic.reset_cpuif(0)
    assert rig.rpr() == IDLE
    assert rig.active(40)
    assert rig.gic.pe[0]["ICC_PMR_EL1"] == 0


def test_reset_leaves_the_cpu_interface() -> None:
    rig = Rig()
    rig.prepare(40)
    take(rig, 40)
    rig.gic.reset()
    assert not rig.active(40)
    assert rig.rpr() == 0x80
    assert rig.gic.pe[0]["ICC_PMR_EL1"] == 0xF8
    assert rig.gic.redist[0]["GICR_WAKER"] == 6
