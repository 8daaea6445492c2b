"""LPIs of a stress run: their tables in memory, for the first PEs."""

from __future__ import annotations

from gicv3.gic import GICv3

MAX_PES = 64
"""PEs that get tables: LPIs sent to others would only be dropped."""
_ID_BITS = 14
_FIRST = 1 << 13
_TABLES = 0x4000_0000
_PENDING = _TABLES + 0x1_0000
_PENDING_SIZE = 0x1_0000
_ENABLED = 0xA1
"""Configuration byte of an LPI: priority 0xA0, enabled."""
_PTZ = 1 << 62


class Lpis:
    """Gives the first PEs of a GIC their tables, in memory that nothing else uses.

    Parameters: `gic`, with `lpis` and `direct_lpi`. Not thread-safe.
    """

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic
        self._pes = min(gic.num_pe, MAX_PES)
        memory = bytearray(_PENDING - _TABLES + self._pes * _PENDING_SIZE)
        memory[:_FIRST] = bytes([_ENABLED]) * _FIRST
        gic.memory.map(_TABLES, memory)

    def prepare(self) -> None:
        """What a guest does after a reset."""
        for pe in range(self._pes):
            redist = self._gic.redist[pe]
            redist["GICR_PROPBASER"] = _TABLES | _ID_BITS - 1
            redist["GICR_PENDBASER"] = _PENDING + pe * _PENDING_SIZE | _PTZ
            redist["GICR_CTLR"] = 1

    def send(self, slot: int, value: int) -> None:
        """Make an LPI pending at a PE, or one time in four not pending."""
        register = "GICR_CLRLPIR" if value % 4 == 0 else "GICR_SETLPIR"
        self._gic.redist[slot % self._pes][register] = _FIRST + (value >> 2) % _FIRST
