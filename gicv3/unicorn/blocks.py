"""How far a vCPU can run before it may unmask its interrupts.

`MSR DAIFClr` and `ERET` run inside Unicorn and tell nobody. While an interrupt is pending but masked the run loop
therefore stops after each basic block and looks at PSTATE, so that even `DAIFClr; ISB; DAIFSet` takes it in between.
"""

from __future__ import annotations

import struct
from functools import lru_cache

WINDOW = 64
"""Bytes of code that `length` wants to see."""

# (mask, value): every instruction after which PSTATE.{I,F} or the flow of control may be another.
_ENDS = (
    (0x7C00_0000, 0x1400_0000),  # B, BL
    (0xFE00_0000, 0x5400_0000),  # B.cond
    (0x7C00_0000, 0x3400_0000),  # CBZ, CBNZ, TBZ, TBNZ
    (0xFE00_0000, 0xD600_0000),  # BR, BLR, RET, ERET
    (0xFF00_0000, 0xD400_0000),  # SVC, HVC, SMC, BRK, HLT
    (0xFFFF_F0FF, 0xD503_40FF),  # MSR DAIFClr, #imm
    (0xFFFF_FFE0, 0xD51B_4220),  # MSR DAIF, Xt
)


@lru_cache(4096)
def length(code: bytes) -> int:
    """Number of instructions up to and including the first that may unmask or branch; at least 1.

    Parameters: `code`, the bytes at the PC, any number of them. Thread-safe.
    """
    count = len(code) // 4
    for index, word in enumerate(struct.unpack_from(f"<{count}I", code), 1):
        if any(word & mask == value for mask, value in _ENDS):
            return index
    return max(1, count)
