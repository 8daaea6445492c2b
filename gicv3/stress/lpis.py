"""LPIs of a stress run: an ITS and the tables of the first PEs, in memory that nothing else uses."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gicv3.gic import GICv3

MAX_PES = 64
"""PEs that get tables: LPIs sent to others would only be dropped."""
EVENTS = 512
"""Events of the one device; event n is LPI 8192 + n."""
_ID_BITS = 14
_FIRST = 1 << 13
_PAGE = 0x1_0000
_MEMORY = 0x4000_0000
_CONFIGURATION, _DEVICES, _COLLECTIONS, _QUEUE, _ITT, _PENDING = (_MEMORY + n * _PAGE for n in range(6))
_QUEUE_SIZE = 0x1000
_ENABLED = 0xA1
"""Configuration byte of an LPI: priority 0xA0, enabled."""
_PTZ, _VALID = 1 << 62, 1 << 63

_Command = tuple[int, int, int, int]


class Lpis:
    """Gives a GIC's ITS and the redistributors of its first PEs their tables, and sends messages.

    Parameters: `gic`, with `its=1`. Not thread-safe.
    """

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic
        self._its = gic.its[0]
        self._pes = min(gic.num_pe, MAX_PES)
        self._written = 0
        self._memory = bytearray(_PENDING - _MEMORY + self._pes * _PAGE)
        self._memory[:_FIRST] = bytes([_ENABLED]) * _FIRST
        gic.memory.map(_MEMORY, self._memory)

    def prepare(self) -> None:
        """What a guest does after a reset: tables, one collection a PE, one device whose events go to all in turn."""
        for pe in range(self._pes):
            redist = self._gic.redist[pe]
            redist["GICR_PROPBASER"] = _CONFIGURATION | _ID_BITS - 1
            redist["GICR_PENDBASER"] = _PENDING + pe * _PAGE | _PTZ
            redist["GICR_CTLR"] = 1
        its = self._its
        its["GITS_CTLR"] = 0
        its["GITS_BASER", 0] = _VALID | _DEVICES
        its["GITS_BASER", 1] = _VALID | _COLLECTIONS
        its["GITS_CBASER"] = _VALID | _QUEUE
        its["GITS_CWRITER"] = self._written = 0
        its["GITS_CTLR"] = 1
        self._do([(0x08, EVENTS.bit_length() - 2, _ITT | _VALID, 0)])  # MAPD
        self._do((0x09, 0, pe | pe << 16 | _VALID, 0) for pe in range(self._pes))  # MAPC
        self._do((0x0A, event | _FIRST + event << 32, event % self._pes, 0) for event in range(EVENTS))  # MAPTI

    def send(self, slot: int, value: int) -> None:
        """Send a message, or one time in eight take one back or move where it goes."""
        event = (value >> 4) % EVENTS
        match value & 0xF:
            case 0:
                self._do([(0x04, event, 0, 0)])  # CLEAR
            case 1:
                self._do([(0x01, event, slot % self._pes, 0)])  # MOVI
            case _:
                self._its.msi(0, event)

    def saved(self) -> tuple[int, bytes]:
        """What is not the GIC's: the memory with its tables, and how far the queue is written."""
        return self._written, bytes(self._memory)

    def bring_back(self, saved: tuple[int, bytes]) -> None:
        """Put back what `saved` gave, before the GIC gets its own state back."""
        self._written, self._memory[:] = saved

    def _do(self, commands: Iterable[_Command]) -> None:
        """Put commands into the queue, one at a time, and have each done."""
        for command in commands:
            at = _QUEUE - _MEMORY + self._written
            self._memory[at : at + 32] = struct.pack("<4Q", *command)
            self._written = (self._written + 32) % _QUEUE_SIZE
            self._its["GITS_CWRITER"] = self._written
