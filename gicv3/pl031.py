"""The PL031 real-time clock of the `virt` machine: seconds, a match value, and the interrupt line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

MASK32 = 0xFFFF_FFFF


class Pl031Reg(IntEnum):
    """Register offsets in bytes."""

    DR = 0x00
    MR = 0x04
    LR = 0x08
    CR = 0x0C
    IMSC = 0x10
    RIS = 0x14
    MIS = 0x18
    ICR = 0x1C


_ID = bytes((0x31, 0x10, 0x14, 0x00, 0x0D, 0xF0, 0x05, 0xB1))  # PeriphID0..3, PCellID0..3
_ID_OFFSET = 0xFE0


class PL031:
    """A PL031 that reads the time from `seconds`; its match is looked at when a register is accessed and by `poll`.

    Parameters: `set_irq`, called with the level of RTCINTR when it changes; `seconds`, returns the time in seconds.
    Not thread-safe.
    """

    SIZE = 0x1000
    """Bytes of address space."""

    def __init__(self, set_irq: Callable[[bool], object], seconds: Callable[[], float]) -> None:
        self._set_irq = set_irq
        self._seconds = seconds
        self._line = False
        self.reset()

    def reset(self) -> None:
        """Go to the reset state: the clock shows `seconds`, nothing is pending, and the line is low."""
        self._offset = 0
        self._match: int | None = None
        self._match_value = self._load_value = 0
        self._imsc = self._ris = 0
        self._update()

    def saved(self) -> dict[str, Any]:
        """What the clock shows, its registers, and whether it waits for its match, for :meth:`bring_back`."""
        return {"now": self.now, "match": self._match_value, "load": self._load_value, "imsc": self._imsc,
                "ris": self._ris, "waits": self._match is not None}

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what :meth:`saved` gave: the clock goes on from the second it showed, and nobody is told."""
        self._offset = (saved["now"] - int(self._seconds())) & MASK32
        self._match_value, self._load_value = saved["match"], saved["load"]
        self._imsc, self._ris = saved["imsc"], saved["ris"]
        self._line = bool(self._ris & self._imsc)
        self._match = None
        if saved["waits"]:
            self._set_match()

    @property
    def now(self) -> int:
        """What the clock shows: seconds modulo 2**32."""
        return (int(self._seconds()) + self._offset) & MASK32

    @property
    def wait(self) -> float | None:
        """Seconds until the clock comes to its match, or None when it waits for none."""
        return None if self._match is None else self._match - self._seconds()

    def poll(self) -> None:
        """Raise the interrupt if the clock has come to its match since the last look."""
        if self._match is not None and int(self._seconds()) >= self._match:
            self._match = None
            self._ris = 1
        self._update()

    def read(self, offset: int, size: int = 4) -> int:
        """Read a register.

        Parameters: `offset`, 0..0xFFF; `size` in bytes, which the device does not look at.
        Returns: its value, 0 where there is none.
        """
        self.poll()
        match offset:
            case Pl031Reg.DR:
                return self.now
            case Pl031Reg.MR:
                return self._match_value
            case Pl031Reg.LR:
                return self._load_value
            case Pl031Reg.CR:
                return 1
            case Pl031Reg.IMSC:
                return self._imsc
            case Pl031Reg.RIS:
                return self._ris
            case Pl031Reg.MIS:
                return self._ris & self._imsc
        index, misaligned = divmod(offset - _ID_OFFSET, 4)
        return _ID[index] if 0 <= index < len(_ID) and not misaligned else 0

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """Write a register; what is read-only or not there ignores it. The clock cannot be switched off.

        Parameters: `offset`, 0..0xFFF; `value`; `size` in bytes, which the device does not look at.
        """
        self.poll()
        value &= MASK32
        match offset:
            case Pl031Reg.MR:
                self._match_value = value
                self._set_match()
            case Pl031Reg.LR:
                self._load_value = value
                self._offset = (value - int(self._seconds())) & MASK32
                self._set_match()
            case Pl031Reg.IMSC:
                self._imsc = value & 1
            case Pl031Reg.ICR:
                self._ris &= ~value
        self.poll()

    def _set_match(self) -> None:
        """When the clock shows the match value next, in seconds of its source."""
        self._match = int(self._seconds()) + ((self._match_value - self.now) & MASK32)

    def _update(self) -> None:
        line = bool(self._ris & self._imsc)
        if line != self._line:
            self._line = line
            self._set_irq(line)
