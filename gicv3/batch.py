"""Batches: many inputs or accesses in one call, for those who drive thousands of PEs from Python."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_index
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy
import numpy.typing as npt

from gicv3._core import register_encoding, run_batch
from gicv3.arguments import integer
from gicv3.errors import ConfigError

if TYPE_CHECKING:
    from gicv3.gic import GICv3

Integers: TypeAlias = npt.NDArray[numpy.integer[Any]] | Sequence[int] | int
"""An array of any integer type, strided or not; a sequence; or one value for all elements."""

_LINES, _PULSES, _ACCESSES, _TAKE, _CYCLES = range(5)  # BATCH_* of core/batch.pxi


class Accesses(NamedTuple):
    """What a batch of system-register accesses gave, element by element.

    ``values`` (uint64) is what a read gave, 0 for a write or when the access was not done. ``codes`` (uint8) tells
    what became of it: 0 done, 1 UNDEFINED, 2 trapped to EL2, 3 trapped to EL3, 4 redirected to the virtual CPU
    interface; see `GICv3.sysreg_access` for one access with its syndrome.
    """

    values: npt.NDArray[numpy.uint64]
    codes: npt.NDArray[numpy.uint8]


class Batch:
    """Many inputs or accesses of one GIC in one call: `gic.batch`.

    Every method does for each element, in order, what a single call does, and leaves the same state, counters and
    `changed()`. Only `on_line` differs: it is told after the batch, for each line whose level is another than before,
    in the order in which the PEs changed first. What it does to the GIC comes after the batch.

    Parameters are integers or arrays of integers, all of one length; a single value stands for every element. Arrays
    are read in place, whatever their integer type, byte order and stride. A boolean is any integer, 0 for False.

    Raises, from every method: `BatchError` for a bad element, naming its index; the elements before it are done, those
    after it are not. `ConfigError` when lengths differ, TypeError for what are no integers; nothing is done then. What
    `on_line` raises comes out with what the elements gave as its ``batch_results``: as `BatchError.results`, a tuple of
    the method's arrays. So does what a signal raises, as Ctrl-C's KeyboardInterrupt: it comes after a batch, and does
    not interrupt it. Together with a bad element it is an exception group; what another batch raised inside `on_line`
    is in one as well.

    Thread safety: a batch holds the GIC's lock and releases the GIL, so batches of different GICs run at once.
    """

    __slots__ = ("_gic",)

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic

    def __repr__(self) -> str:
        return f"<Batch of {self._gic!r}>"

    def set_lines(self, intids: Integers, pes: Integers | None, levels: Integers) -> None:
        """Drive input wires: `set_ppi` or `set_spi` for each element.

        Parameters
        ----------
        intids : implemented PPIs and SPIs.
        pes : PE index of each PPI, 0..num_pe-1; not looked at for an SPI. None when there are SPIs only.
        levels : the wire's level from now on.
        """
        self._run(_LINES, (), intids=intids, pes=-1 if pes is None else pes, levels=levels)

    def pulse_lines(self, intids: Integers, pes: Integers | None = None) -> None:
        """Raise and lower input wires: `pulse_ppi` or `pulse_spi` for each element.

        Parameters
        ----------
        intids : implemented PPIs and SPIs.
        pes : PE index of each PPI, 0..num_pe-1; not looked at for an SPI. None when there are SPIs only.
        """
        self._run(_PULSES, (), intids=intids, pes=-1 if pes is None else pes)

    def sysregs(
        self,
        pes: Integers,
        regs: Integers | str | Sequence[str] | tuple[int, int, int, int, int],
        values: Integers | None = None,
        writes: Integers | None = None,
    ) -> Accesses:
        """Read and write system registers: `sysreg_read` or `sysreg_write` for each element.

        Parameters
        ----------
        pes : PE index, 0..num_pe-1.
        regs : `SysReg` members, their ints or their names; or one register for all, also as (op0, op1, CRn, CRm, op2).
            A tuple of five numbers is always such parts: give five encodings as a list.
        values : what is written, 0..2**64-1; not looked at for a read.
        writes : which elements write. None: all of them if `values` are given, else none.

        Returns
        -------
        `Accesses`: values read, and what became of each access.
        """
        if writes is None:
            writes = values is not None
        elif values is None:
            raise ConfigError("values must be given with writes")
        return Accesses(
            *self._run(
                _ACCESSES,
                (numpy.uint64, numpy.uint8),
                pes=pes,
                regs=_registers(regs),
                values=0 if values is None else values,
                writes=writes,
            )
        )

    def ack_eoi(self, pes: Integers, group: int = 1) -> npt.NDArray[numpy.uint32]:
        """Take one interrupt on each PE: read ICC_IAR<group>, and write what it gave to ICC_EOIR<group>.

        Parameters
        ----------
        pes : PE index, 0..num_pe-1.
        group : 0 or 1, the registers to use.

        Returns
        -------
        The INTIDs; a special one (1020..1023) is not ended, and 1023 stands for a PE that may not read the register.
        """
        return self._run(_TAKE, (numpy.uint32,), _group(group), pes=pes)[0]

    def cycle(self, intids: Integers, pes: Integers, group: int = 1) -> npt.NDArray[numpy.uint32]:
        """Whole interrupts: raise the wire, acknowledge as `ack_eoi` does, lower the wire, end.

        Parameters
        ----------
        intids : implemented PPIs and SPIs.
        pes : PE index, 0..num_pe-1: whose PPI it is, and who acknowledges.
        group : 0 or 1, the registers to use.

        Returns
        -------
        The INTIDs acknowledged, which are others than `intids` where something else was more urgent.
        """
        return self._run(_CYCLES, (numpy.uint32,), _group(group), intids=intids, pes=pes)[0]

    def _run(
        self, kind: int, types: tuple[type, ...], group: int = 1, **columns: Integers
    ) -> tuple[npt.NDArray[Any], ...]:
        """Line the columns up and run the batch."""
        arrays = {name: _integers(name, column) for name, column in columns.items()}
        try:
            shape = _common(*(array.shape for array in arrays.values()))
        except ValueError:
            shape = ()
        if len(shape) != 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise ConfigError(f"arrays must be of one dimension and one length, got the shapes {shapes}")
        results: tuple[npt.NDArray[Any], ...] = tuple(numpy.empty(shape, kind_of) for kind_of in types)
        inputs = tuple(array if array.shape == shape else numpy.broadcast_to(array, shape) for array in arrays.values())
        return run_batch(self._gic, kind, group, inputs, results)


def _common(first: tuple[int, ...], *others: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of all columns, single values spread; ValueError when there is none."""
    if first and all(other == first for other in others):
        return first  # the ordinary case: NumPy would take longer than a small batch does
    found = {shape for shape in (first, *others) if shape} or {(1,)}
    if len(found) > 1:
        raise ValueError
    return found.pop()


def _registers(regs: Any) -> Any:
    """Registers as their encodings; a tuple of five numbers is one register."""
    if isinstance(regs, str) or (isinstance(regs, tuple) and len(regs) == 5 and not isinstance(regs[0], str)):
        return register_encoding(regs)
    if isinstance(regs, list | tuple):
        return [register_encoding(reg) if isinstance(reg, str) else reg for reg in regs]
    return regs


def _group(group: int) -> int:
    if integer("group", group) not in (0, 1):
        raise ConfigError(f"group must be 0 or 1, got {group}")
    return group


def _integers(name: str, column: Integers) -> npt.NDArray[Any]:
    """A column as an array, without a copy if it is one already."""
    if isinstance(column, numpy.ma.MaskedArray):
        raise TypeError(f"{name} must be integers, got a masked array: give its compressed()")
    try:
        array = numpy.asarray(column)
    except ValueError:
        raise ConfigError(f"{name} must be of one dimension, got rows of different lengths: {column}") from None
    if array.dtype.kind in "bui":
        return array
    if isinstance(column, numpy.ndarray):
        raise TypeError(f"{name} must be integers, got an array of {array.dtype}")
    if not array.size:
        return array.astype(numpy.uint8)  # an empty list has no type of its own
    try:  # a list of small numbers and large ones, which NumPy takes for floats
        numbers = column if isinstance(column, Sequence) else [column]
        return numpy.array([as_index(number) for number in numbers], numpy.uint64)
    except TypeError as error:
        raise TypeError(f"{name} must be integers: {error}") from None
    except OverflowError:
        raise ConfigError(f"{name} must fit one integer type of 64 bits, got {column}") from None
