"""The PL011 UART of the `virt` machine: characters in and out, the receive FIFO, and the interrupt line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag
from typing import Any

from gicv3.notifier import Callback


class Pl011Reg(IntEnum):
    """Register offsets in bytes."""

    DR = 0x00
    RSR = 0x04
    FR = 0x18
    ILPR = 0x20
    IBRD = 0x24
    FBRD = 0x28
    LCR_H = 0x2C
    CR = 0x30
    IFLS = 0x34
    IMSC = 0x38
    RIS = 0x3C
    MIS = 0x40
    ICR = 0x44
    DMACR = 0x48


class Pl011Int(IntFlag):
    """Interrupt sources, as bits of RIS, MIS, IMSC and ICR."""

    RX = 1 << 4
    TX = 1 << 5
    RX_TIMEOUT = 1 << 6


_FR_RXFE, _FR_RXFF, _FR_TXFE = 1 << 4, 1 << 6, 1 << 7
_LCR_H_FEN, _LCR_H_8_BITS = 1 << 4, 3 << 5
_CR_UARTEN, _CR_LBE, _CR_RXE = 1 << 0, 1 << 7, 1 << 9
_ID = bytes((0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1))  # PeriphID0..3 r1p5, PCellID0..3
_ID_OFFSET = 0xFE0
_FIFO_DEPTH = 32
# IFLS[5:3]: eighths of the FIFO at which the receive interrupt comes; reserved values act as 7/8.
_RX_LEVEL = tuple(_FIFO_DEPTH * eighths // 8 for eighths in (1, 2, 4, 6, 7, 7, 7, 7))
# Registers that only keep what is written: offset -> (reset value, write mask).
_PLAIN = {
    Pl011Reg.ILPR: (0, 0xFF),
    Pl011Reg.IBRD: (0, 0xFFFF),
    Pl011Reg.FBRD: (0, 0x3F),
    Pl011Reg.LCR_H: (0, 0xFF),
    Pl011Reg.CR: (0x300, 0xFF87),
    Pl011Reg.IFLS: (0x12, 0x3F),
    Pl011Reg.IMSC: (0, 0x7FF),
    Pl011Reg.DMACR: (0, 7),
}


class PL011:
    """A PL011 that sends at once and never loses a character: what the host types waits until the FIFO has room.

    Parameters: `set_irq`, called with the level of UARTINTR when it changes; `output`, called with each byte sent.
    Raises: ConfigError when `output` is neither callable nor None. Not thread-safe.
    """

    output = Callback[Callable[[bytes], object]]()
    """Called with each byte sent; or None."""

    SIZE = 0x1000
    """Bytes of address space."""

    def __init__(self, set_irq: Callable[[bool], object], output: Callable[[bytes], object] | None = None) -> None:
        self.output = output
        self._set_irq = set_irq
        self._line = False
        self._typed: deque[int] = deque()
        self.reset()

    def reset(self) -> None:
        """Go to the reset state and lower the line; what the host has typed still waits."""
        self._plain = {register: reset for register, (reset, _) in _PLAIN.items()}
        self._fifo: deque[int] = deque()
        self._ris = 0
        self._update()

    def switch_on(self) -> None:
        """Do what firmware does before it starts a kernel: switch the UART and its FIFOs on."""
        self.write(Pl011Reg.LCR_H, _LCR_H_FEN | _LCR_H_8_BITS)
        self.write(Pl011Reg.CR, _PLAIN[Pl011Reg.CR][0] | _CR_UARTEN)

    def receive(self, data: bytes) -> None:
        """Type `data` into the UART; the guest gets it once it has switched its receiver on.

        Parameters: `data`, any number of bytes.
        """
        self._typed.extend(data)
        self._fill()

    def saved(self) -> dict[str, Any]:
        """Registers, the FIFO and what the host has typed, for :meth:`bring_back`."""
        return {"registers": {int(register): value for register, value in self._plain.items()}, "ris": int(self._ris),
                "fifo": bytes(self._fifo), "typed": bytes(self._typed)}

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what :meth:`saved` gave; the line is as it was then, and nobody is told."""
        self._plain = dict(saved["registers"])
        self._ris = saved["ris"]
        self._fifo, self._typed = deque(saved["fifo"]), deque(saved["typed"])
        self._line = bool(self._ris & self._plain[Pl011Reg.IMSC])

    @property
    def unread(self) -> int:
        """Characters that the guest has not read yet."""
        return len(self._typed) + len(self._fifo)

    def read(self, offset: int, size: int = 4) -> int:
        """Read a register.

        Parameters: `offset`, 0..0xFFF; `size` in bytes, which the device does not look at.
        Returns: its value, 0 where there is none.
        """
        if offset == Pl011Reg.DR:
            return self._read_data()
        if offset == Pl011Reg.FR:
            flags = _FR_TXFE
            if not self._fifo:
                flags |= _FR_RXFE
            if len(self._fifo) >= self._depth():
                flags |= _FR_RXFF
            return flags
        if offset == Pl011Reg.RIS:
            return self._ris
        if offset == Pl011Reg.MIS:
            return self._ris & self._plain[Pl011Reg.IMSC]
        if offset in self._plain:
            return self._plain[Pl011Reg(offset)]
        index, misaligned = divmod(offset - _ID_OFFSET, 4)
        return _ID[index] if 0 <= index < len(_ID) and not misaligned else 0

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """Write a register; what is read-only or not there ignores it.

        Parameters: `offset`, 0..0xFFF; `value`; `size` in bytes, which the device does not look at.
        """
        if offset == Pl011Reg.DR:
            # It is gone at once, so the FIFO falls through its trigger level with every character.
            self._ris |= Pl011Int.TX
            try:
                self._send(value & 0xFF)
            finally:
                self._update()
        elif offset == Pl011Reg.ICR:
            self._ris &= ~value
        elif offset in _PLAIN:
            register = Pl011Reg(offset)
            self._plain[register] = value & _PLAIN[register][1]
            if register is Pl011Reg.LCR_H and not value & _LCR_H_FEN:
                # Without FIFOs one holding register is left.
                while len(self._fifo) > 1:
                    self._typed.appendleft(self._fifo.pop())
            self._fill()
        self._update()

    def _depth(self) -> int:
        return _FIFO_DEPTH if self._plain[Pl011Reg.LCR_H] & _LCR_H_FEN else 1

    def _trigger(self) -> int:
        return _RX_LEVEL[self._plain[Pl011Reg.IFLS] >> 3] if self._plain[Pl011Reg.LCR_H] & _LCR_H_FEN else 1

    def _read_data(self) -> int:
        if not self._fifo:
            return 0
        character = self._fifo.popleft()
        if len(self._fifo) < self._trigger():
            self._ris &= ~Pl011Int.RX
        if not self._fifo:
            self._ris &= ~Pl011Int.RX_TIMEOUT
        self._fill()
        self._update()
        return character

    def _send(self, character: int) -> None:
        if self._plain[Pl011Reg.CR] & _CR_LBE:
            if len(self._fifo) + len(self._typed) < self._depth():       # a full FIFO loses what comes
                self._typed.append(character)
                self._fill()
        elif self.output is not None:
            self.output(bytes((character,)))

    def _fill(self) -> None:
        """Let the receiver take what has been typed, as far as there is room."""
        enabled = _CR_UARTEN | _CR_RXE
        if self._plain[Pl011Reg.CR] & enabled != enabled or not self._typed:
            return
        room = self._depth() - len(self._fifo)
        for _ in range(min(room, len(self._typed))):
            self._fifo.append(self._typed.popleft())
        if room > 0:
            if len(self._fifo) >= self._trigger():
                self._ris |= Pl011Int.RX
            elif not self._typed:
                # The line has gone quiet with less than the trigger level in the FIFO.
                self._ris |= Pl011Int.RX_TIMEOUT
        self._update()

    def _update(self) -> None:
        line = bool(self._ris & self._plain[Pl011Reg.IMSC])
        if line != self._line:
            self._line = line
            self._set_irq(line)
