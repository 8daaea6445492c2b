"""The generic timer: registers, outputs, deadlines, and what many idle PEs cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicv3.errors import ConfigError
from gicv3.timer import ENABLE, IMASK, ISTATUS, MASK64, Timer, TimerBank, TimerReg

REGISTERS = {
    Timer.PHYS: (TimerReg.CNTP_CTL_EL0, TimerReg.CNTP_CVAL_EL0, TimerReg.CNTP_TVAL_EL0),
    Timer.VIRT: (TimerReg.CNTV_CTL_EL0, TimerReg.CNTV_CVAL_EL0, TimerReg.CNTV_TVAL_EL0),
    Timer.HYP: (TimerReg.CNTHP_CTL_EL2, TimerReg.CNTHP_CVAL_EL2, TimerReg.CNTHP_TVAL_EL2),
    Timer.SEC: (TimerReg.CNTPS_CTL_EL1, TimerReg.CNTPS_CVAL_EL1, TimerReg.CNTPS_TVAL_EL1),
    Timer.HYPVIRT: (TimerReg.CNTHV_CTL_EL2, TimerReg.CNTHV_CVAL_EL2, TimerReg.CNTHV_TVAL_EL2),
}
ENCODINGS = {
    TimerReg.CNTFRQ_EL0: (3, 3, 14, 0, 0),
    TimerReg.CNTPCT_EL0: (3, 3, 14, 0, 1),
    TimerReg.CNTVCT_EL0: (3, 3, 14, 0, 2),
    TimerReg.CNTVOFF_EL2: (3, 4, 14, 0, 3),
    TimerReg.CNTP_TVAL_EL0: (3, 3, 14, 2, 0),
    TimerReg.CNTP_CTL_EL0: (3, 3, 14, 2, 1),
    TimerReg.CNTP_CVAL_EL0: (3, 3, 14, 2, 2),
    TimerReg.CNTV_TVAL_EL0: (3, 3, 14, 3, 0),
    TimerReg.CNTV_CTL_EL0: (3, 3, 14, 3, 1),
    TimerReg.CNTV_CVAL_EL0: (3, 3, 14, 3, 2),
    TimerReg.CNTHP_TVAL_EL2: (3, 4, 14, 2, 0),
    TimerReg.CNTHP_CTL_EL2: (3, 4, 14, 2, 1),
    TimerReg.CNTHP_CVAL_EL2: (3, 4, 14, 2, 2),
    TimerReg.CNTHV_TVAL_EL2: (3, 4, 14, 3, 0),
    TimerReg.CNTHV_CTL_EL2: (3, 4, 14, 3, 1),
    TimerReg.CNTHV_CVAL_EL2: (3, 4, 14, 3, 2),
    TimerReg.CNTPS_TVAL_EL1: (3, 7, 14, 2, 0),
    TimerReg.CNTPS_CTL_EL1: (3, 7, 14, 2, 1),
    TimerReg.CNTPS_CVAL_EL1: (3, 7, 14, 2, 2),
}


class Board:
    """A bank whose outputs are noted."""

    def __init__(self):
        self.log = []
        self.bank = TimerBank(lambda owner, timer, level: self.log.append((owner, timer, level)))

    def attach(self, owner="pe"):
        return self.bank.attach(owner)


@pytest.fixture
def board():
    return Board()


def test_every_register_has_the_architectures_encoding():
    assert set(ENCODINGS) == set(TimerReg)
    for reg, (op0, op1, crn, crm, op2) in ENCODINGS.items():
        assert reg == op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2, reg.name


@pytest.mark.parametrize("timer", Timer)
def test_output_rises_when_the_count_reaches_cval_and_falls_when_it_moves_away(board, timer):
    ctl, cval, _ = REGISTERS[timer]
    unit = board.attach()
    unit.write(cval, 100, now=0)
    unit.write(ctl, ENABLE, now=0)
    board.bank.advance(99)
    assert (board.log, unit.level(timer), unit.read(ctl, 99)) == ([], False, ENABLE)
    board.bank.advance(100)
    assert (board.log, unit.level(timer), unit.read(ctl, 100)) == ([("pe", timer, True)], True, ENABLE | ISTATUS)
    unit.write(cval, 200, now=150)
    assert board.log[1:] == [("pe", timer, False)]


@pytest.mark.parametrize("timer", Timer)
def test_mask_and_enable_gate_the_output_and_istatus_ignores_the_mask(board, timer):
    ctl, cval, _ = REGISTERS[timer]
    unit = board.attach()
    unit.write(cval, 10, now=20)
    assert unit.read(ctl, 20) == 0
    unit.write(ctl, ENABLE | IMASK, now=20)
    assert unit.read(ctl, 20) == ENABLE | IMASK | ISTATUS
    assert board.log == []
    unit.write(ctl, ENABLE, now=20)
    unit.write(ctl, IMASK, now=20)
    assert unit.read(ctl, 20) == IMASK
    assert board.log == [("pe", timer, True), ("pe", timer, False)]


def test_istatus_cannot_be_written(board):
    unit = board.attach()
    unit.write(TimerReg.CNTP_CVAL_EL0, 100, now=0)
    unit.write(TimerReg.CNTP_CTL_EL0, 0xFFFF_FFFC | ENABLE, now=0)
    assert unit.read(TimerReg.CNTP_CTL_EL0, 0) == ENABLE


@pytest.mark.parametrize(
    ("value", "cval", "met"),
    [(1, 1001, False), (0x7FFF_FFFF, 1000 + 0x7FFF_FFFF, False), (0, 1000, True), (0xFFFF_FFFF, 999, True),
     (0x8000_0000, (1000 - 0x8000_0000) & MASK64, False), (1 << 32 | 5, 1005, False)],
)
@pytest.mark.parametrize("timer", Timer)
def test_tval_is_a_signed_32_bit_distance_from_now(board, timer, value, cval, met):
    ctl, cval_reg, tval_reg = REGISTERS[timer]
    unit = board.attach()
    unit.write(ctl, ENABLE, now=0)
    unit.write(tval_reg, value, now=1000)
    assert unit.read(cval_reg, 1000) == cval
    assert unit.level(timer) == met
    assert unit.read(tval_reg, 1000) == value & 0xFFFF_FFFF
    assert unit.read(tval_reg, 1003) == (value - 3) & 0xFFFF_FFFF


def test_cval_keeps_64_bits_and_the_largest_is_reached_last(board):
    unit = board.attach()
    unit.write(TimerReg.CNTP_CVAL_EL0, 1 << 64 | MASK64, now=0)
    unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=0)
    assert unit.read(TimerReg.CNTP_CVAL_EL0, 0) == MASK64
    assert board.bank.next_deadline() == MASK64
    board.bank.advance(MASK64 - 1)
    assert not unit.level(Timer.PHYS)
    board.bank.advance(MASK64)
    assert unit.level(Timer.PHYS)


def test_cntvoff_shifts_the_el1_virtual_timer_and_no_other(board):
    unit = board.attach()
    unit.write(TimerReg.CNTVOFF_EL2, 1000, now=5000)
    assert unit.read(TimerReg.CNTVOFF_EL2, 5000) == 1000
    assert unit.read(TimerReg.CNTVCT_EL0, 5000) == 4000
    assert unit.read(TimerReg.CNTPCT_EL0, 5000) == 5000
    for timer, (ctl, cval, _) in REGISTERS.items():
        unit.write(cval, 4500, now=5000)
        unit.write(ctl, ENABLE, now=5000)
        assert unit.level(timer) == (timer is not Timer.VIRT)
    assert board.bank.next_deadline() == 5500
    board.bank.advance(5500)
    assert unit.level(Timer.VIRT)


def test_a_write_of_cntvoff_moves_the_virtual_output_at_once(board):
    unit = board.attach()
    unit.write(TimerReg.CNTV_CVAL_EL0, 100, now=150)
    unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now=150)
    unit.write(TimerReg.CNTVOFF_EL2, 100, now=150)
    unit.write(TimerReg.CNTVOFF_EL2, 0, now=150)
    assert [level for _, _, level in board.log] == [True, False, True]


def test_an_offset_ahead_of_the_counter_wraps_and_the_output_falls_at_the_wrap(board):
    unit = board.attach()
    unit.write(TimerReg.CNTVOFF_EL2, 1000, now=10)
    assert unit.read(TimerReg.CNTVCT_EL0, 10) == MASK64 + 1 - 990
    unit.write(TimerReg.CNTV_CVAL_EL0, 500, now=10)
    unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now=10)
    assert unit.level(Timer.VIRT)
    assert board.bank.next_deadline() == 1000
    board.bank.advance(1000)
    assert not unit.level(Timer.VIRT)
    assert board.bank.next_deadline() == 1500


def test_frequency_reads_and_counters_ignore_writes(board):
    unit = board.attach()
    assert unit.read(TimerReg.CNTFRQ_EL0, 0) == board.bank.frequency == 62_500_000
    for reg in (TimerReg.CNTFRQ_EL0, TimerReg.CNTPCT_EL0, TimerReg.CNTVCT_EL0):
        unit.write(reg, 77, now=5)
    assert unit.read(TimerReg.CNTFRQ_EL0, 5) == 62_500_000
    assert unit.read(TimerReg.CNTPCT_EL0, 5) == unit.read(TimerReg.CNTVCT_EL0, 5) == 5


def test_a_register_that_is_not_the_timers_is_an_error(board):
    unit = board.attach()
    for encoding in (0, TimerReg.CNTP_CVAL_EL0 + 1, TimerReg.CNTVCT_EL0 + 1):
        with pytest.raises(ValueError, match=str(encoding)):
            unit.read(encoding, 0)
        with pytest.raises(ValueError, match=str(encoding)):
            unit.write(encoding, 0, 0)


@pytest.mark.parametrize("frequency", [0, 1 << 32])
def test_a_frequency_out_of_32_bits_is_refused(frequency):
    with pytest.raises(ConfigError, match=f"got {frequency}"):
        TimerBank(print, frequency)


def test_deadlines_come_in_order_over_all_pes(board):
    for owner, cval in (("a", 30), ("b", 10), ("c", 20), ("d", 10)):
        unit = board.attach(owner)
        unit.write(TimerReg.CNTP_CVAL_EL0, cval, now=0)
        unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=0)
    seen = []
    while (deadline := board.bank.next_deadline()) is not None:
        board.bank.advance(deadline)
        seen.append((deadline, [owner for owner, _, _ in board.log]))
        board.log.clear()
    assert seen == [(10, ["b", "d"]), (20, ["c"]), (30, ["a"])]


def test_idle_masked_and_expired_timers_wait_for_nothing(board):
    units = [board.attach(owner) for owner in range(5000)]
    for unit in units:
        unit.write(TimerReg.CNTP_CVAL_EL0, 1000, now=0)
        unit.write(TimerReg.CNTP_CTL_EL0, ENABLE | IMASK, now=0)
        unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now=0)
    assert len(board.bank) == 0
    assert board.bank.next_deadline() is None


def test_reprogramming_a_far_deadline_for_ever_does_not_grow_the_heap(board):
    unit = board.attach()
    unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=0)
    for step in range(100_000):
        unit.write(TimerReg.CNTP_CVAL_EL0, 1 << 40 | step, now=0)
    assert len(board.bank) == 1
    assert len(board.bank._heap) < 200
    assert board.bank.next_deadline() == 1 << 40 | 99_999


def test_an_output_may_reprogram_its_timer_when_it_moves():
    beats = []

    def periodic(owner, timer, level):
        if level:
            beats.append(now)
            unit.write(TimerReg.CNTV_CVAL_EL0, now + 10, now)

    bank = TimerBank(periodic)
    unit = bank.attach(None)
    now = 0
    unit.write(TimerReg.CNTV_CVAL_EL0, 10, now)
    unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now)
    for now in range(100):
        bank.advance(now)
    assert beats == list(range(10, 100, 10))


def test_outputs_that_raise_do_not_keep_others_from_moving(board):
    def fail(owner, timer, level):
        board.log.append(owner)
        raise RuntimeError(owner)

    bank = TimerBank(fail)
    for owner in ("a", "b", "c"):
        unit = bank.attach(owner)
        unit.write(TimerReg.CNTP_CVAL_EL0, 10, now=0)
        unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=0)
    with pytest.raises(ExceptionGroup) as caught:
        bank.advance(10)
    assert [str(error) for error in caught.value.exceptions] == board.log == ["a", "b", "c"]
    assert len(bank) == 0


def test_reset_lowers_outputs_and_forgets_deadlines(board):
    unit = board.attach()
    unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=5)
    unit.write(TimerReg.CNTV_CVAL_EL0, 100, now=5)
    unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now=5)
    unit.write(TimerReg.CNTVOFF_EL2, 3, now=5)
    unit.reset()
    assert board.log == [("pe", Timer.PHYS, True), ("pe", Timer.PHYS, False)]
    assert len(board.bank) == 0
    assert unit.read(TimerReg.CNTVOFF_EL2, 5) == unit.read(TimerReg.CNTV_CVAL_EL0, 5) == 0


def test_reset_lowers_every_output_even_where_telling_of_it_raises():
    def fail(owner, timer, level):
        if not level:
            raise RuntimeError(timer.name)

    bank = TimerBank(fail)
    unit = bank.attach(None)
    for reg in (TimerReg.CNTP_CTL_EL0, TimerReg.CNTV_CTL_EL0):
        unit.write(reg, ENABLE, now=5)
    with pytest.raises(ExceptionGroup) as caught:
        unit.reset()
    assert [str(error) for error in caught.value.exceptions] == ["PHYS", "VIRT"]
    assert not any(unit.level(timer) for timer in Timer)


def test_cancel_forgets_deadlines_and_moves_no_output(board):
    unit = board.attach()
    unit.write(TimerReg.CNTP_CTL_EL0, ENABLE, now=5)
    unit.write(TimerReg.CNTV_CVAL_EL0, 100, now=5)
    unit.write(TimerReg.CNTV_CTL_EL0, ENABLE, now=5)
    unit.cancel()
    board.bank.advance(1000)
    assert board.log == [("pe", Timer.PHYS, True)]
    assert board.bank.next_deadline() is None


access = st.tuples(
    st.integers(0, 2),
    st.sampled_from([reg for regs in REGISTERS.values() for reg in regs] + [TimerReg.CNTVOFF_EL2]),
    st.integers(0, MASK64) | st.integers(0, 300) | st.integers(MASK64 - 300, MASK64),
    st.integers(0, 50),
)


@given(st.lists(access, max_size=40))
def test_outputs_always_equal_the_condition_computed_afresh(accesses):
    """However registers are written, stepping from deadline to deadline misses no change of any output."""
    levels = {}
    bank = TimerBank(lambda owner, timer, level: levels.__setitem__((owner, timer), level))
    units = [bank.attach(owner) for owner in range(3)]

    def expect(now):
        for owner, unit in enumerate(units):
            for timer, (ctl, cval, _) in REGISTERS.items():
                count = (now - (unit.read(TimerReg.CNTVOFF_EL2, now) if timer is Timer.VIRT else 0)) & MASK64
                enabled = unit.read(ctl, now) & (ENABLE | IMASK) == ENABLE
                level = enabled and count >= unit.read(cval, now)
                assert levels.get((owner, timer), False) == level == unit.level(timer)

    now = 0
    for owner, reg, value, delay in accesses:
        units[owner].write(reg, value, now)
        expect(now)
        while (deadline := bank.next_deadline()) is not None and deadline <= now + delay:
            assert deadline > now
            now, delay = deadline, delay - (deadline - now)
            bank.advance(now)
            expect(now)
        now += delay
        bank.advance(now)
        expect(now)
