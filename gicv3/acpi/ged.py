"""The Generic Event Device: the interrupt by which a machine without other ACPI hardware tells its guest of events."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from gicv3.acpi.cpuhp import INSERTING, REMOVING, CpuHotplugRegisters, OstInfo
from gicv3.notifier import NotifierList

if TYPE_CHECKING:
    from gicv3.hotplug import CpuHotplugHandler


class GedEvent(IntFlag):
    """What happened, as bits of the device's register; QEMU's other events do not occur here."""

    CPU = 1 << 3


_CPU_EVENT = int(GedEvent.CPU)  # an operation on flags costs as much as the rest of a plug's notification


class AcpiGed:
    """The GED of a machine and the CPU hotplug registers that its event is about.

    Its one register, 4 bytes, has the events since it was last read; reading clears it, writes are ignored.
    Parameters: `machine`; `intid`, the SPI that each event pulses. Thread-safety: as the machine's.
    """

    SIZE = 4
    """Bytes of address space."""

    def __init__(self, machine: CpuHotplugHandler, intid: int) -> None:
        self._gic = machine.gic
        self._intid = intid
        self._events = 0
        self.cpuhp = CpuHotplugRegisters(machine)
        """The CPU hotplug register block."""
        self.bad_accesses = 0
        """Accesses to the GED of another width or place, and writes: they read zero and are ignored."""

    @property
    def ost_events(self) -> NotifierList:
        """Told of each :class:`OstInfo` when the guest reports a status by _OST."""
        return self.cpuhp.ost_events

    def ospm_status(self) -> list[OstInfo]:
        """What the guest said last of each possible vCPU, in slot order."""
        return self.cpuhp.ospm_status()

    def read(self, offset: int, size: int) -> int:
        """Read and clear the pending events; `offset` and `size` in bytes, 0 and 4 or nothing happens."""
        if offset != 0 or size != self.SIZE:
            self.bad_accesses += 1
            return 0
        events, self._events = self._events, 0
        return events

    def write(self, offset: int, value: int, size: int) -> None:
        """Ignore a write."""
        self.bad_accesses += 1

    def plugged(self, slot: int) -> None:
        """Tell the guest that a vCPU came. Raises: what a callback raised that was told of the interrupt."""
        self.cpuhp.pending.set(slot, INSERTING)
        self._events |= _CPU_EVENT
        self._gic.pulse_spi(self._intid)

    def unplug_requested(self, slot: int) -> None:
        """Ask the guest to let a vCPU go. Raises: as `plugged`."""
        self.cpuhp.pending.set(slot, REMOVING)
        self._events |= _CPU_EVENT
        self._gic.pulse_spi(self._intid)

    def unplug_cancelled(self, slot: int) -> None:
        """Take back a request. A guest that has seen it may have let go of the vCPU: it is told that one came.

        Raises: as `plugged`.
        """
        seen = not self.cpuhp.pending[slot] & REMOVING
        self.cpuhp.pending.clear(slot, REMOVING)
        if seen:
            self.plugged(slot)

    def saved(self) -> dict[str, Any]:
        """What a snapshot of the machine has of the device and its registers."""
        return {"events": self._events, **self.cpuhp.saved()}

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what `saved` gave; no interrupt is raised."""
        self._events = saved["events"]
        self.cpuhp.bring_back(saved)
