"""Registers and PEs by name: the small views that `GICv3` hands out, and what an access results in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import index as as_index
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar, overload

from gicv3._core import Line
from gicv3.arguments import integer
from gicv3.errors import RegisterError
from gicv3.registers import REGISTERS, Reg

if TYPE_CHECKING:
    from gicv3.gic import GICv3

View = TypeVar("View")

_ROWS = {row.name: row for row in REGISTERS}


class Access(NamedTuple):
    """What the architecture does with a system-register access.

    ``kind`` is "value" (done; ``value`` is what a read gives), "undefined", "trap" (to ``target_el`` with ``syndrome``
    as ESR_ELx, Rt field 0: put the register number in bits 9:5), or "virtual" (redirected to the virtual CPU
    interface, which is not emulated).
    """

    kind: str
    value: int = 0
    target_el: int = 0
    syndrome: int = 0


class FrameView:
    """Registers of a frame by name: ``gic.dist["GICD_CTLR"]``, ``gic.dist["GICD_IROUTER", 40]``.

    Accesses are Secure ones, as a debugger's. An array element is named by its architectural index.

    Raises, for a name or an index that no register has: `RegisterError`, which is a ConfigError and a KeyError.
    """

    __slots__ = ("_gic", "_prefix", "index")

    def __init__(self, gic: GICv3, prefix: str, index: int) -> None:
        self._gic = gic
        self._prefix = prefix
        self.index = index

    def _place(self, key: str | tuple[str, int]) -> tuple[Reg, int, int]:
        name, number = key, None
        if isinstance(key, tuple):
            if len(key) != 2:
                raise RegisterError(f"a register is a name, or (name, index) of an array's element, got {key!r}")
            name, number = key[0], integer("index", key[1])
        row = _ROWS.get(name) if isinstance(name, str) else None
        if row is None or not row.name.startswith(self._prefix):
            names = (name for name in _ROWS if name.startswith(self._prefix))
            raise RegisterError.unknown(f"no {self._prefix}* register is called", name, names)
        element = 0 if number is None else number - row.first
        if number is None and row.count > 1:
            last = row.first + row.count - 1
            raise RegisterError(f"{name} is an array {row.first}..{last}: give the index")
        if not 0 <= element < row.count:
            raise RegisterError(f"{name} has the indexes {row.first}..{row.first + row.count - 1}, got {number}")
        size = row.width // 8
        if size not in row.sizes:
            size = max(row.sizes)
        return row, row.offset + element * row.width // 8, size

    def __getitem__(self, key: str | tuple[str, int]) -> int:
        row, offset, size = self._place(key)
        return self._gic.frame_read(row.frame, offset, size, True, self.index)

    def __setitem__(self, key: str | tuple[str, int], value: int) -> None:
        row, offset, size = self._place(key)
        self._gic.frame_write(row.frame, offset, value, size, True, self.index)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, FrameView) and self._gic is other._gic and self._prefix == other._prefix
                and self.index == other.index)

    def __hash__(self) -> int:
        return hash((id(self._gic), self._prefix, self.index))

    def __repr__(self) -> str:
        return f"<{self._prefix}* of PE {self.index}>" if self._prefix == "GICR_" else f"<{self._prefix}*>"


class RedistView(FrameView):
    """The redistributor of one PE."""

    __slots__ = ()

    @property
    def accessible(self) -> bool:
        """True while a vCPU is plugged at this PE."""
        return self._gic.is_accessible(self.index)


class PeView:
    """One PE's CPU interface: ``pe["ICC_PMR_EL1"]``. Stateless: any two views of the same PE are equal.

    Raises, for a name that no register has: `RegisterError`, which is a ConfigError and a KeyError.
    """

    __slots__ = ("gic", "index")

    def __init__(self, gic: GICv3, index: int) -> None:
        self.gic = gic
        self.index = index

    def __getitem__(self, name: str) -> int:
        return self.gic.sysreg_read(self.index, name)

    def __setitem__(self, name: str, value: int) -> None:
        self.gic.sysreg_write(self.index, name, value)

    def sysreg_read(self, reg: int | str | tuple[int, int, int, int, int]) -> int:
        """See `GICv3.sysreg_read`."""
        return self.gic.sysreg_read(self.index, reg)

    def sysreg_write(self, reg: int | str | tuple[int, int, int, int, int], value: int) -> None:
        """See `GICv3.sysreg_write`."""
        self.gic.sysreg_write(self.index, reg, value)

    def sysreg_access(self, reg: int | str | tuple[int, int, int, int, int], value: int | None = None) -> Access:
        """See `GICv3.sysreg_access`."""
        return self.gic.sysreg_access(self.index, reg, value)

    def set_context(self, **context: Any) -> None:
        """See `GICv3.set_context`."""
        self.gic.set_context(self.index, **context)

    @property
    def irq(self) -> bool:
        """Level of the IRQ output."""
        return bool(self.gic.line(self.index) & Line.IRQ)

    @property
    def fiq(self) -> bool:
        """Level of the FIQ output."""
        return bool(self.gic.line(self.index) & Line.FIQ)

    @property
    def nmi(self) -> bool:
        """Level of the NMI output (FEAT_GICv3_NMI)."""
        return bool(self.gic.line(self.index) & Line.NMI)

    @property
    def line(self) -> Line:
        """All output lines."""
        return Line(self.gic.line(self.index))

    @property
    def accessible(self) -> bool:
        """True while a vCPU is plugged at this PE."""
        return self.gic.is_accessible(self.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PeView) and self.gic is other.gic and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self.gic), self.index))

    def __repr__(self) -> str:
        return f"<PE {self.index}>"


class Views(Sequence[View]):
    """A sequence of views made on demand, so that 65,536 PEs cost nothing until they are looked at."""

    __slots__ = ("_gic", "_make")

    def __init__(self, gic: GICv3, make: Callable[[GICv3, int], View]) -> None:
        self._gic = gic
        self._make = make

    def __len__(self) -> int:
        return self._gic.num_pe

    @overload
    def __getitem__(self, index: SupportsIndex) -> View: ...

    @overload
    def __getitem__(self, index: slice) -> list[View]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> View | list[View]:
        if isinstance(index, slice):
            return [self._make(self._gic, i) for i in range(*index.indices(len(self)))]
        index = as_index(index)
        if not 0 <= index < len(self):   # a negative one is a mistake of arithmetic, not the last PE
            raise IndexError(f"PE index must be in 0..{len(self) - 1}, got {index}")
        return self._make(self._gic, index)

    def __repr__(self) -> str:
        return f"<views of PEs 0..{len(self) - 1}>"

    def __iter__(self) -> Iterator[View]:
        return (self._make(self._gic, i) for i in range(len(self)))
