"""The UART: what a driver sees."""

import pytest

from gicv3.errors import ConfigError
from gicv3.pl011 import PL011, Pl011Int, Pl011Reg

FR_RXFE, FR_TXFF, FR_RXFF, FR_TXFE = 1 << 4, 1 << 5, 1 << 6, 1 << 7
ON, FIFO = 0x301, 1 << 4


class Board:
    """A UART with its line and its output recorded."""

    def __init__(self, fifo: bool = False, mask: int = 0x7FF) -> None:
        self.line = False
        self.edges = 0
        self.sent = bytearray()
        self.uart = PL011(self.set_line, self.sent.extend)
        self.uart.write(Pl011Reg.LCR_H, 3 << 5 | (FIFO if fifo else 0))
        self.uart.write(Pl011Reg.CR, ON)
        self.uart.write(Pl011Reg.IMSC, mask)

    def set_line(self, level: bool) -> None:
        assert level is not self.line, "the line is told of changes only"
        self.line = level
        self.edges += 1

    def drain(self) -> bytes:
        data = bytearray()
        while not self.uart.read(Pl011Reg.FR) & FR_RXFE:
            data.append(self.uart.read(Pl011Reg.DR))
        return bytes(data)


def test_reset_values() -> None:
    uart = PL011(lambda level: None)
    values = dict.fromkeys(range(0, 0xFE0, 4), 0) | {0x18: FR_TXFE | FR_RXFE, 0x30: 0x300, 0x34: 0x12}
    assert {offset: uart.read(offset) for offset in values} == values
    assert bytes(uart.read(0xFE0 + 4 * i) for i in range(8)) == bytes.fromhex("111034000df005b1")


# Offsets of the PL011's manual, and the bits that software can write.
OFFSETS = {
    "DR": 0x00, "RSR": 0x04, "FR": 0x18, "ILPR": 0x20, "IBRD": 0x24, "FBRD": 0x28, "LCR_H": 0x2C, "CR": 0x30,
    "IFLS": 0x34, "IMSC": 0x38, "RIS": 0x3C, "MIS": 0x40, "ICR": 0x44, "DMACR": 0x48,
}
KEPT = {
    "ILPR": 0xFF, "IBRD": 0xFFFF, "FBRD": 0x3F, "LCR_H": 0xFF, "CR": 0xFF87, "IFLS": 0x3F, "IMSC": 0x7FF, "DMACR": 7
}


def test_registers_are_where_the_manual_has_them() -> None:
    assert {register.name: int(register) for register in Pl011Reg} == OFFSETS
    assert {source.name: int(source) for source in Pl011Int} == {"RX": 0x10, "TX": 0x20, "RX_TIMEOUT": 0x40}
    assert PL011.SIZE == 0x1000


@pytest.mark.parametrize("name", KEPT)
def test_a_register_keeps_the_bits_it_has(name: str) -> None:
    uart = PL011(lambda level: None)
    for value in (0xFFFF_FFFF, 0):
        uart.write(OFFSETS[name], value)
        assert uart.read(OFFSETS[name]) == value & KEPT[name]


@pytest.mark.parametrize("offset", [0x8, 0xFDC, 0xFE1, 0x4C, 0x1000])
def test_holes_read_zero_and_ignore_writes(offset: int) -> None:
    board = Board()
    board.uart.write(offset, 0xFFFF_FFFF)
    assert board.uart.read(offset) == 0


def test_sent_characters_come_out_and_raise_the_transmit_interrupt() -> None:
    board = Board(mask=Pl011Int.TX)
    for character in b"ok":
        assert not board.uart.read(Pl011Reg.FR) & FR_TXFF
        board.uart.write(Pl011Reg.DR, character)
    assert board.sent == b"ok"
    assert board.line
    board.uart.write(Pl011Reg.ICR, Pl011Int.TX)
    assert not board.line


@pytest.mark.parametrize("fifo", [False, True])
def test_what_is_typed_arrives_in_order_however_much_it_is(fifo: bool) -> None:
    board = Board(fifo)
    text = bytes(range(256))
    board.uart.receive(text)
    assert board.uart.unread == 256
    assert board.line
    assert board.drain() == text
    assert not board.line
    assert board.uart.unread == 0


def test_without_fifo_each_character_has_its_interrupt() -> None:
    board = Board(mask=Pl011Int.RX)
    board.uart.receive(b"ab")
    assert board.uart.read(Pl011Reg.FR) & FR_RXFF
    assert board.uart.read(Pl011Reg.DR) == ord("a")
    assert board.line
    assert board.uart.read(Pl011Reg.DR) == ord("b")
    assert not board.line


def test_with_fifo_the_receive_interrupt_waits_for_its_level_and_the_timeout_for_silence() -> None:
    board = Board(fifo=True)
    board.uart.write(Pl011Reg.IFLS, 2 << 3)  # a half: 16 of 32
    board.uart.receive(b"x" * 15)
    assert board.uart.read(Pl011Reg.RIS) == Pl011Int.RX_TIMEOUT
    board.uart.receive(b"x")
    assert board.uart.read(Pl011Reg.RIS) & Pl011Int.RX
    board.uart.read(Pl011Reg.DR)
    assert not board.uart.read(Pl011Reg.RIS) & Pl011Int.RX
    board.drain()
    assert board.uart.read(Pl011Reg.RIS) == 0


@pytest.mark.parametrize(("level", "characters"), list(enumerate((4, 8, 16, 24, 28, 28, 28, 28))))
def test_ifls_says_how_full_the_fifo_is_at_the_receive_interrupt(level: int, characters: int) -> None:
    board = Board(fifo=True)
    board.uart.write(Pl011Reg.IFLS, level << 3 | 7)
    for count in range(1, 33):
        board.uart.receive(b"x")
        assert bool(board.uart.read(Pl011Reg.RIS) & Pl011Int.RX) == (count >= characters)
    for count in range(31, -1, -1):
        board.uart.read(Pl011Reg.DR)
        assert bool(board.uart.read(Pl011Reg.RIS) & Pl011Int.RX) == (count >= characters)


def test_the_timeout_is_over_when_the_fifo_is_empty_and_not_before() -> None:
    board = Board(fifo=True)
    board.uart.receive(b"ab")
    board.uart.read(Pl011Reg.DR)
    assert board.uart.read(Pl011Reg.RIS) == Pl011Int.RX_TIMEOUT
    board.uart.read(Pl011Reg.DR)
    assert board.uart.read(Pl011Reg.RIS) == 0


def test_a_full_fifo_raises_no_interrupt_anew_for_what_waits_behind_it() -> None:
    board = Board(fifo=True)
    board.uart.receive(b"x" * 32)
    board.uart.write(Pl011Reg.ICR, 0x7FF)
    board.uart.receive(b"y")
    assert board.uart.read(Pl011Reg.RIS) == 0
    assert board.uart.unread == 33


def test_masked_interrupt_is_raw_only() -> None:
    board = Board(mask=0)
    board.uart.receive(b"a")
    assert board.uart.read(Pl011Reg.RIS) == Pl011Int.RX
    assert board.uart.read(Pl011Reg.MIS) == 0
    assert not board.line
    board.uart.write(Pl011Reg.IMSC, Pl011Int.RX)
    assert board.uart.read(Pl011Reg.MIS) == Pl011Int.RX
    assert board.line


def test_clearing_the_interrupt_keeps_the_character() -> None:
    board = Board()
    board.uart.receive(b"a")
    board.uart.write(Pl011Reg.ICR, 0x7FF)
    assert not board.line
    assert board.drain() == b"a"


@pytest.mark.parametrize("control", [0, 0x001, 0x200])
def test_receiver_that_is_off_lets_what_is_typed_wait(control: int) -> None:
    board = Board()
    board.uart.write(Pl011Reg.CR, control)
    board.uart.receive(b"a")
    assert board.uart.read(Pl011Reg.FR) & FR_RXFE
    assert not board.line
    board.uart.write(Pl011Reg.CR, ON)
    assert board.drain() == b"a"


def test_switching_the_fifo_off_loses_nothing() -> None:
    board = Board(fifo=True)
    board.uart.receive(b"abc")
    board.uart.write(Pl011Reg.LCR_H, FIFO)
    board.uart.write(Pl011Reg.IBRD, 0)
    assert not board.uart.read(Pl011Reg.FR) & FR_RXFF
    board.uart.write(Pl011Reg.LCR_H, 0)
    assert board.uart.read(Pl011Reg.FR) & FR_RXFF, "one holding register is left"
    assert board.drain() == b"abc"


def test_loopback_receives_what_is_sent() -> None:
    board = Board()
    board.uart.write(Pl011Reg.CR, ON | 1 << 7)
    board.uart.write(Pl011Reg.DR, ord("z"))
    assert board.drain() == b"z"
    assert board.sent == b""


def test_loopback_into_a_full_fifo_loses_characters_and_no_memory() -> None:
    board = Board()
    board.uart.write(Pl011Reg.CR, ON | 1 << 7)
    board.uart.write(Pl011Reg.LCR_H, 1 << 4)
    for n in range(1000):
        board.uart.write(Pl011Reg.DR, n & 0xFF)
    assert board.uart.unread == 32
    assert board.drain() == bytes(range(32))


def test_reset_lowers_the_line_and_keeps_what_waits() -> None:
    board = Board()
    board.uart.receive(b"ab")
    board.uart.reset()
    assert not board.line
    assert board.uart.unread == 1


def test_output_that_raises_leaves_the_uart_as_after_any_character() -> None:
    board = Board(mask=Pl011Int.TX)

    def fail(data: bytes) -> None:
        raise RuntimeError(data)

    board.uart.output = fail
    with pytest.raises(RuntimeError, match="x"):
        board.uart.write(Pl011Reg.DR, ord("x"))
    assert board.line
    assert board.uart.read(Pl011Reg.RIS) == Pl011Int.TX


def test_output_is_callable_or_none() -> None:
    uart = PL011(lambda level: None)
    with pytest.raises(ConfigError, match="output must be callable or None, got 5"):
        uart.output = 5  # type: ignore[assignment]
    assert uart.output is None


def test_a_uart_that_firmware_has_switched_on_receives_into_its_fifo_from_the_start() -> None:
    uart = PL011(lambda level: None)
    uart.receive(b"early")
    assert uart.read(Pl011Reg.FR) & FR_RXFE
    uart.switch_on()
    assert bytes(uart.read(Pl011Reg.DR) for _ in range(5)) == b"early"
    uart.reset()
    uart.receive(b"x")
    assert uart.read(Pl011Reg.FR) & FR_RXFE


def test_a_uart_goes_on_from_what_another_saved() -> None:
    old, new = Board(fifo=True), Board(fifo=False, mask=0)
    old.uart.write(Pl011Reg.IFLS, 0)
    old.uart.receive(bytes(range(40)))
    saved = old.uart.saved()
    assert (old.line, len(saved["fifo"]), len(saved["typed"])) == (True, 32, 8)
    new.uart.bring_back(saved)
    assert new.edges == 0, "nobody is told"
    assert new.uart.saved() == saved
    new.line = True                                       # as the GIC's own snapshot has it
    assert [new.uart.read(register) for register in Pl011Reg] == [old.uart.read(register) for register in Pl011Reg]
    assert new.drain() == old.drain() == bytes(range(1, 40))
    new.uart.write(Pl011Reg.ICR, 0x7FF)
    assert not new.line
