"""Inputs that make QEMU 7.2 die: kept from it by changing the operation."""

from __future__ import annotations

from collections.abc import Iterable

from .configs import SPIS
from .ops import ICC, USE, Kind, Op

_BPR = {ICC["ICC_BPR0_EL1"], ICC["ICC_BPR1_EL1"]}
_INTID = {ICC["ICC_EOIR0_EL1"], ICC["ICC_EOIR1_EL1"], ICC["ICC_DIR_EL1"]}


def harmless(op: Op) -> Op:
    """The operation as QEMU survives it: BPR keeps bits 2:0, EOIR and DIR name an implemented or special INTID."""
    if op.kind != Kind.MSR or op.flags & USE:
        return op
    if op.reg in _BPR:
        return op._replace(value=op.value & 7)
    if op.reg in _INTID and not (op.value < 32 + SPIS or 1020 <= op.value <= 1023):
        return op._replace(value=1023)
    return op


def without_crashes(program: Iterable[Op]) -> list[Op]:
    """A whole program as QEMU survives it."""
    return [harmless(op) for op in program]
