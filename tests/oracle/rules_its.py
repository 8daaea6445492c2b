"""The rules of `rules.py` that are about LPIs and the ITS."""

from __future__ import annotations

from collections.abc import Iterable

from .ops import GICR_BASE, GICR_STRIDE, TABLES, TABLES_SIZE, WRITE_SIZE, Kind, Op, Result
from .step import Accept, Step, rewritten
from .subject import Subject

_ENABLE_LPIS = 1
_PTZ = 1 << 62
_ADDRESS = (1 << 52) - (1 << 12)
# Which bits PROPBASER and PENDBASER have; PTZ is none to be compared by.
_LPI_BASE = {0x70: 7 << 56 | _ADDRESS | 3 << 10 | 7 << 7 | 0x1F, 0x78: 7 << 56 | _ADDRESS & ~0xF000 | 3 << 10 | 7 << 7}


def _redistributor(op: Op) -> int:
    return GICR_BASE + (op.address - GICR_BASE) // GICR_STRIDE * GICR_STRIDE


def write_gicr_ctlr(subject: Subject, op: Op) -> Iterable[Step]:
    """LPIs are only enabled with tables that both sides have."""
    tables = [subject.gic.mmio_read(_redistributor(op) + offset, 8, True) & _ADDRESS for offset in (0x70, 0x78)]
    if all(TABLES <= table < TABLES + TABLES_SIZE for table in tables) and subject.config.its:
        return (Step(op),)
    return rewritten(op, op.value & ~_ENABLE_LPIS, "lpi-tables")


def write_lpi_base(subject: Subject, op: Op) -> Iterable[Step]:
    """PROPBASER and PENDBASER: RES0 bits and PTZ are kept from QEMU, and all writes while LPIs are enabled."""
    if WRITE_SIZE[op.kind] < 4:
        return (Step(op),)
    offset = op.address & 0xFFFF
    if subject.gic.mmio_read(_redistributor(op), 4, True) & _ENABLE_LPIS:
        return (Step(op._replace(kind=Kind.R64 if op.kind == Kind.W64 else Kind.R32, value=0), changed="lpi-fixed"),)
    return rewritten(op, op.value & _LPI_BASE[offset & ~7] >> 8 * (offset & 7), "lpi-res0")


def _masked(entry: str, mask: int, ours_value: int, theirs_value: int) -> Accept:
    """Accepts that a field of a 64-bit register reads `ours_value` here and `theirs_value` on QEMU."""

    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        if (ours.value & mask, theirs.value & mask) != (ours_value, theirs_value):
            return ()
        return (entry,) if ours == theirs._replace(value=theirs.value & ~mask | ours_value) else ()

    return accept


def _field(op: Op, entry: str, mask: int, ours: int, theirs: int) -> Iterable[Step]:
    """A read of a 64-bit register or of half of it."""
    shift = 8 * (op.address & 7)
    if op.kind == Kind.R32:
        mask, ours, theirs = (value >> shift & 0xFFFF_FFFF for value in (mask, ours, theirs))
    return (Step(op, _masked(entry, mask, ours, theirs)),)


def read_gicr_typer(subject: Subject, op: Op) -> Iterable[Step]:
    """CommonLPIAff, 25:24."""
    return _field(op, "common-lpi-aff", 3 << 24, 0, 1 << 24)


def read_gits_typer(subject: Subject, op: Op) -> Iterable[Step]:
    """CIL 36 with CIDbits 35:32, and ITT_entry_size 7:4."""
    return _field(op, "its-typer", 0x1F << 32 | 0xF << 4, 7 << 4, 0x1F << 32 | 0xB << 4)


def read_gits_ctlr(subject: Subject, op: Op) -> Iterable[Step]:
    """Quiescent, 31, while the ITS is enabled."""
    return (Step(op, _masked("its-quiescent", 1 << 31 | 1, 1, 1 << 31 | 1)),)
