"""Guest memory as the GIC sees it: where LPI tables, ITS tables and command queues are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gicv3._core import mapping_awaited, mapping_buffer, mapping_callbacks, mapping_remove, mapping_resume
from gicv3.arguments import integer
from gicv3.errors import ConfigError

if TYPE_CHECKING:
    from gicv3.gic import GICv3

PAGE = 4096
"""Bytes that one call of a callback reads, and what callback regions are made of."""


class Memory:
    """The guest physical memory that a GIC may read and write. Nothing is mapped at first.

    What is mapped is accessed under the GIC's lock while it works; what a guest or a device writes there at the same
    time may be seen or not, as by hardware. At most 64 regions. Thread-safe as the GIC is.
    """

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic
        self._regions: dict[int, tuple[int, memoryview[int] | None]] = {}

    def __repr__(self) -> str:
        return f"<Memory: {', '.join(f'{base:#x}+{size:#x} {kind}' for base, size, kind in self.regions) or 'empty'}>"

    @property
    def regions(self) -> tuple[tuple[int, int, str], ...]:
        """(address, size in bytes, "buffer" or "callbacks") of each region, in order of addresses."""
        return tuple((base, size, "callbacks" if view is None else "buffer")
                     for base, (size, view) in sorted(self._regions.items()))

    @property
    def awaited(self) -> tuple[tuple[int, int], ...]:
        """(address, size) of what was mapped when a restored GIC was saved in the midst of work; () when all is again.

        Until then, memory that is not mapped is no fault: work that comes upon it rests, whatever is accessed, until it
        is mapped, in any order and in any pieces. A GIC that had nothing mapped awaits the first region, here (0, 0).
        An MSI whose translation is not cached waits too: `has_work` is False then, yet the GIC cannot be saved until it
        is translated.
        """
        return mapping_awaited(self._gic)

    def resume(self) -> None:
        """The rest of `awaited` will not come: memory that is not mapped is a fault again."""
        mapping_resume(self._gic)

    def map(self, address: int, buffer: Any, *, writable: bool = True) -> None:
        """Map an object's memory: accesses are as fast as a pointer, and see what its owner writes.

        Parameters
        ----------
        address : guest physical address of its first byte, 0..2**52-1.
        buffer : an object with a contiguous, writable buffer (bytearray, mmap, NumPy array, ctypes array); it is kept,
            and cannot be resized until `unmap`.
        writable : False makes every write of the GIC a fault; the buffer may be read-only then.

        Raises
        ------
        ConfigError : the range does not fit below 2**52, overlaps another, or 64 regions are mapped.
        BufferError, TypeError : the object has no such buffer.
        """
        base = integer("address", address)
        try:
            view = memoryview(buffer).cast("B")
        except TypeError as error:
            raise TypeError(f"buffer must be an object with a contiguous buffer, got {buffer!r:.80}: {error}") from None
        mapping_buffer(self._gic, base, view, writable)
        self._regions[base] = (view.nbytes, view)

    def map_callbacks(self, address: int, size: int, read: Callable[[int, int], bytes | None],
                      write: Callable[[int, bytes], object]) -> None:
        """Map memory that only callbacks reach.

        The callbacks never run under the GIC's lock, so they may call the GIC: work that needs their memory is
        suspended, the lock is released, the callback runs, and the work goes on. It is done when the call that started
        it returns, as far as `GICv3Config.work_budget` allows (each callback is a unit); inside a callback, or while
        another thread serves callbacks, when that one does. Software sees the time in between as GITS_CREADR standing
        still, GICR_CTLR.RWP and GITS_CTLR.Quiescent.

        Parameters
        ----------
        address, size : range of guest physical addresses, in whole pages of 4096 bytes.
        read : called with (address, size in bytes); returns that many bytes, or None where there is nothing.
        write : called with (address, data).

        Raises
        ------
        ConfigError : as `map`, or the range is not whole pages. What a callback raises comes out of the call that
            needed it; the GIC takes it as memory that is not there, to be read or to be written: it counts a table
            fault, and records the command or counts the LPIs that were to be written.
        """
        base, length = integer("address", address), integer("size", size)
        if base % PAGE or length % PAGE:
            raise ConfigError(f"callback memory must be whole pages of {PAGE} bytes, got {length:#x} at {base:#x}")
        for name, callback in (("read", read), ("write", write)):
            if not callable(callback):
                raise ConfigError(f"{name} must be callable, got {callback!r}")
        mapping_callbacks(self._gic, base, length, read, write)
        self._regions[base] = (length, None)

    def unmap(self, address: int) -> None:
        """Unmap the region that begins at an address. Raises: ConfigError when none does."""
        base = integer("address", address)
        if base not in self._regions:
            raise ConfigError(f"a region must begin at the address to unmap, got {base:#x}")
        mapping_remove(self._gic, base)
        del self._regions[base]

    def _place(self, address: int, size: int) -> memoryview[int]:
        for base, (length, view) in self._regions.items():
            if size >= 0 and base <= address and address + size <= base + length and view is not None:
                return view[address - base : address - base + size]
        raise ConfigError(f"{size} bytes must lie inside one mapped buffer, got {address:#x}")

    def read(self, address: int, size: int) -> bytes:
        """Bytes of a mapped buffer. Raises: ConfigError when they are not all in one."""
        return bytes(self._place(integer("address", address), integer("size", size)))

    def write(self, address: int, data: bytes) -> None:
        """Write into a mapped buffer, as the guest would. Raises: ConfigError when it is not all in one."""
        place = integer("address", address)
        try:
            size = memoryview(data).nbytes
        except TypeError:
            raise TypeError(f"data must be bytes, got {data!r:.80}") from None
        self._place(place, size)[:] = memoryview(data).cast("B")
