"""An ITS as an embedder sees it: its registers by name, MSIs, and what became of commands and MSIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gicv3._core import its_counters, its_errors, msi_send
from gicv3.registers import REGISTERS
from gicv3.views import FrameView

if TYPE_CHECKING:
    from gicv3.gic import GICv3

ITS_SIZE = 0x2_0000
"""Bytes of an ITS: control and translation frame."""
_TRANSLATER = 0x1_0000 + next(row.offset for row in REGISTERS if row.name == "GITS_TRANSLATER")


class ItsError(NamedTuple):
    """A command that could not be done.

    ``code`` is the syndrome number: 0x01, the command's class and the reason, two hex digits each; without a reason for
    an unknown command, and 0 when the command could not be read. ``command`` is its four doublewords, ``offset`` where
    it stood in the queue, in bytes.
    """

    code: int
    command: tuple[int, int, int, int]
    offset: int


class ItsView(FrameView):
    """One ITS. Stateless: any two views of the same ITS are equal. Thread-safe as the GIC is."""

    __slots__ = ()

    def __init__(self, gic: GICv3, index: int) -> None:
        super().__init__(gic, "GITS_", index)

    @property
    def base(self) -> int:
        """Physical address of the control frame."""
        return self._gic.config.its_frames[self.index]

    @property
    def translater(self) -> int:
        """Physical address of GITS_TRANSLATER, where devices write their EventIDs."""
        return self.base + _TRANSLATER

    def msi(self, device_id: int, event_id: int) -> None:
        """Signal an MSI: what a write of `event_id` to GITS_TRANSLATER does that comes from device `device_id`.

        Parameters: `device_id`, `event_id`, 0..2**32-1 each. What leads nowhere is counted, not raised.
        Raises: ConfigError.
        """
        msi_send(self._gic, self.index, device_id, event_id)

    def counters(self) -> dict[str, int]:
        """Counts since construction, `restore` or `load`; `rewind` brings those of the save point back.

        Returns
        -------
        commands : commands done, or left out because of an error.
        errors : commands that could not be done, or not be read.
        msis : MSIs that arrived: each is one of the next five, unless it waits for callback memory.
        cache_hits : translated without reading a table.
        translated : translated by reading the tables.
        unmapped : of a device, event or collection that is not mapped, or out of range.
        discarded : while the ITS was disabled or had no tables, or while 1,024 others waited for callback memory; or
            waiting for it when a reset came.
        merged : while one of the same event waited for callback memory.
        table_faults : table entries and commands that are not in guest memory, or could not be written.
        """
        return its_counters(self._gic, self.index)

    def errors(self) -> list[ItsError]:
        """The commands that could not be done, oldest first, at most 64."""
        return [ItsError(*error) for error in its_errors(self._gic, self.index)]

    def __repr__(self) -> str:
        return f"<ITS {self.index}>"
