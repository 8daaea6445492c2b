"""The real-time clock: what a driver sees."""

import pytest

from gicv3.pl031 import PL031, Pl031Reg


class Board:
    """A PL031 with its line recorded, and the time it reads."""

    def __init__(self, seconds: float = 1000.75) -> None:
        self.seconds = seconds
        self.line = False
        self.rtc = PL031(self.set_line, lambda: self.seconds)

    def set_line(self, level: bool) -> None:
        assert level is not self.line, "the line is told of changes only"
        self.line = level

    def read(self, register: Pl031Reg) -> int:
        return self.rtc.read(register)

    def write(self, register: Pl031Reg, value: int) -> None:
        self.rtc.write(register, value)


def test_reset_values() -> None:
    rtc = Board().rtc
    values = dict.fromkeys(range(0, 0xFE0, 4), 0) | {0x00: 1000, 0x0C: 1}
    assert {offset: rtc.read(offset) for offset in values} == values
    assert bytes(rtc.read(0xFE0 + 4 * i) for i in range(8)) == bytes.fromhex("311014000df005b1")
    assert rtc.read(0xFE2) == 0


def test_clock_counts_whole_seconds_from_what_was_loaded() -> None:
    board = Board()
    board.write(Pl031Reg.LR, 0xFFFF_FFFF)
    assert (board.read(Pl031Reg.DR), board.read(Pl031Reg.LR)) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    board.seconds = 1000.99
    assert board.read(Pl031Reg.DR) == 0xFFFF_FFFF
    board.seconds = 1001
    assert board.read(Pl031Reg.DR) == 0


def test_registers_that_are_read_only_stay() -> None:
    board = Board()
    registers = (Pl031Reg.DR, Pl031Reg.CR, Pl031Reg.RIS, Pl031Reg.MIS)
    for register in registers:
        board.write(register, 0xFFFF_FFFE)
    assert [board.read(register) for register in registers] == [1000, 1, 0, 0]


@pytest.mark.parametrize(("seconds", "wait", "raised"), [(1009.5, 0.5, 0), (1010.0, None, 1), (5000.0, None, 1)])
def test_match_raises_the_interrupt_when_its_second_begins(seconds: float, wait: float | None, raised: int) -> None:
    board = Board()
    assert board.rtc.wait is None
    board.write(Pl031Reg.IMSC, 1)
    board.write(Pl031Reg.MR, 1010)
    assert (board.read(Pl031Reg.MR), board.rtc.wait) == (1010, 9.25)
    board.seconds = seconds
    board.rtc.poll()
    assert (board.line, board.rtc.wait, board.read(Pl031Reg.RIS)) == (bool(raised), wait, raised)


def test_match_follows_a_clock_that_is_loaded_anew() -> None:
    board = Board(1000)
    board.write(Pl031Reg.MR, 60)
    board.write(Pl031Reg.LR, 50)
    assert board.rtc.wait == 10
    board.write(Pl031Reg.LR, 61)
    assert board.rtc.wait == (1 << 32) - 1


def test_masked_interrupt_waits_and_is_cleared_by_icr() -> None:
    board = Board()
    board.write(Pl031Reg.MR, 1001)
    board.seconds = 1001
    assert (board.read(Pl031Reg.RIS), board.read(Pl031Reg.MIS), board.line) == (1, 0, False)
    board.write(Pl031Reg.IMSC, 1)
    assert (board.read(Pl031Reg.MIS), board.line) == (1, True)
    board.write(Pl031Reg.ICR, 0)
    assert board.line
    board.write(Pl031Reg.ICR, 1)
    assert (board.read(Pl031Reg.RIS), board.line) == (0, False)
    assert board.rtc.wait is None


def test_reset_lowers_the_line_and_forgets_clock_and_match() -> None:
    board = Board()
    board.write(Pl031Reg.IMSC, 1)
    board.write(Pl031Reg.MR, 1000)
    board.write(Pl031Reg.LR, 7)
    assert board.line
    board.rtc.reset()
    assert not board.line
    assert (board.read(Pl031Reg.DR), board.read(Pl031Reg.MR), board.rtc.wait) == (1000, 0, None)


def test_a_clock_goes_on_from_what_another_saved() -> None:
    old, new = Board(1000), Board(77_000)
    for register, value in ((Pl031Reg.LR, 50), (Pl031Reg.MR, 60), (Pl031Reg.IMSC, 1)):
        old.write(register, value)
    old.seconds = 1004
    new.rtc.bring_back(old.rtc.saved())
    assert [new.read(register) for register in Pl031Reg] == [old.read(register) for register in Pl031Reg]
    assert (new.read(Pl031Reg.DR), new.rtc.wait) == (54, 6)
    new.seconds += 6
    new.rtc.poll()
    assert new.line
    late = Board(5)
    late.rtc.bring_back(new.rtc.saved())
    assert (late.line, late.rtc.wait) == (False, None), "nobody is told, and it waits no more"
    late.line = True                                      # as the GIC's own snapshot has it
    late.write(Pl031Reg.ICR, 1)
    assert not late.line
