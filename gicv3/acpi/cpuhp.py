"""The CPU hotplug registers of QEMU's machines: how a guest learns which vCPUs came or must go, and ejects them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

from gicv3.errors import HotplugError
from gicv3.notifier import NotifierList, collect, raise_all

if TYPE_CHECKING:
    from gicv3.hotplug import CpuHotplugHandler
    from gicv3.vcpu import Vcpu


class CpuhpReg(IntEnum):
    """Register offsets in bytes; some differ between reads and writes."""

    SELECTOR = 0x0
    """Write: the slot that all other registers are about."""
    DATA2 = 0x0
    """Read: the upper half of what DATA has."""
    FLAGS = 0x4
    COMMAND = 0x5
    """Write only."""
    DATA = 0x8


class CpuhpFlag(IntFlag):
    """FLAGS: what is pending when read, what to do when written, of which the lowest bit wins."""

    ENABLED = 1 << 0
    """Read only: a vCPU is in the slot."""
    INSERTING = 1 << 1
    """A vCPU came; written, the guest has seen it."""
    REMOVING = 1 << 2
    """A vCPU is to go; written, the guest has seen it."""
    EJECT = 1 << 3
    """Write only: take the vCPU out."""
    FIRMWARE_EJECT = 1 << 4
    """The ejection is left to firmware."""


class CpuhpCommand(IntEnum):
    """COMMAND: what DATA and DATA2 have next; other values are ignored."""

    NEXT_EVENT = 0
    """Select the next slot with something pending, from the selected one on; DATA has the selected slot."""
    OST_EVENT = 1
    """DATA takes the first argument of _OST."""
    OST_STATUS = 2
    """DATA takes the second argument of _OST, which is then told to `ost_events`."""
    ARCH_ID = 3
    """DATA and DATA2 have the affinity of the slot."""


class OstInfo(NamedTuple):
    """What a guest said of a slot by _OST, the fields of QEMU's ACPI_DEVICE_OST."""

    device: str | None
    """The `id` of the vCPU in the slot, or None."""
    slot: int
    source: int
    """1: a device check, that is a vCPU that came; 3 or 0x103: a request to eject; 0x200: an insertion."""
    status: int
    """0 is success."""


_ENABLED, INSERTING, REMOVING, _EJECT, _FIRMWARE = map(int, CpuhpFlag)  # flags themselves are slow to combine
EJECT_SOURCES = (3, 0x103)
_IN_PROGRESS = 0x84
_SAVED = {"inserting": INSERTING, "removing": REMOVING, "firmware": _FIRMWARE}
_WIDTHS = (1, 2, 4)
_BLOCK_BITS = 8
_BLOCK = 1 << _BLOCK_BITS  # slots
_flagged = re.compile(rb"[^\0]")


class PendingSlots:
    """Slots with something pending; noting and forgetting cost the same on any machine.

    Parameters: `slots`, how many there are.
    """

    __slots__ = ("_blocks", "_flags")

    def __init__(self, slots: int) -> None:
        self._flags = bytearray(slots)
        self._blocks = bytearray((slots >> _BLOCK_BITS) + 1)  # 1: some slot of it may have flags; else none has

    def set(self, slot: int, flag: int) -> None:
        """Note a flag of a slot; no harm when it is."""
        self._flags[slot] |= flag
        self._blocks[slot >> _BLOCK_BITS] = 1

    def clear(self, slot: int, flags: int = 0xFF) -> None:
        """Forget flags of a slot, by default all; no harm when there are none."""
        self._flags[slot] &= ~flags

    def __getitem__(self, slot: int) -> int:
        """The flags of a slot."""
        return self._flags[slot]

    def next(self, start: int) -> int | None:
        """The first slot at or after `start`, or None."""
        block = start >> _BLOCK_BITS
        while block >= 0:
            first = block * _BLOCK
            found = _flagged.search(self._flags, max(start, first), first + _BLOCK)
            if found:
                return found.start()
            if first >= start:
                self._blocks[block] = 0
            block = self._blocks.find(1, block + 1)
        return None

    def having(self, flag: int) -> list[int]:
        """Slots with a flag, in order."""
        return [
            found.start()
            for block, marked in enumerate(self._blocks)
            if marked
            for found in _flagged.finditer(self._flags, block * _BLOCK, (block + 1) * _BLOCK)
            if found[0][0] & flag
        ]


class CpuHotplugRegisters:
    """The register block over all possible vCPUs of a machine.

    A guest ejects by the transaction of `complete_unplug`, and so only what was asked for, was not there from the
    start, and is off. System reset changes nothing here.
    Parameters: `machine`. Thread-safety: as the machine's.
    """

    SIZE = 12
    """Bytes of address space."""

    def __init__(self, machine: CpuHotplugHandler) -> None:
        self._machine = machine
        self.ost_events = NotifierList()
        """Told of each :class:`OstInfo` when the guest reports a status."""
        self.bad_accesses = 0
        """Accesses that were too wide, not aligned or outside the block: they read zero and are ignored."""
        self.refused_ejects = 0
        """Ejections of a vCPU that may not go."""
        self._selector = 0
        self._command = 0
        self.pending = PendingSlots(machine.max_cpus)
        """What the guest is to find, by slot: INSERTING, REMOVING and FIRMWARE_EJECT of :class:`CpuhpFlag`."""
        self._ost: dict[int, tuple[int, int]] = {}

    def read(self, offset: int, size: int) -> int:
        """Read a register.

        Parameters: `offset` in bytes; `size`, 1, 2 or 4 bytes.
        Returns: its value; 0 where there is none, for a bad access, and while no slot of the machine is selected.
        """
        if not self._valid(offset, size) or self._selector >= self._machine.max_cpus:
            return 0
        value = 0
        if offset == CpuhpReg.FLAGS:
            value = self._flags(self._selector)
        elif offset == CpuhpReg.DATA:
            value = self._data()
        elif offset == CpuhpReg.DATA2 and self._command == CpuhpCommand.ARCH_ID:
            value = self._machine.gic.affinity(self._selector) >> 32
        return value & ((1 << 8 * size) - 1)

    def write(self, offset: int, value: int, size: int) -> None:
        """Write a register; a bad access is ignored, as is all but the selector while no slot is selected.

        Parameters: `offset` in bytes; `value`; `size`, 1, 2 or 4 bytes.
        Raises: what a callback or a notifier of the machine or of `ost_events` raises; nothing a guest does.
        """
        if not self._valid(offset, size):
            return
        value &= (1 << 8 * size) - 1
        if offset == CpuhpReg.SELECTOR:
            self._selector = value
        elif self._selector >= self._machine.max_cpus:
            return
        elif offset == CpuhpReg.FLAGS:
            self._act(value)
        elif offset == CpuhpReg.COMMAND:
            if value <= CpuhpCommand.ARCH_ID:
                self._command = value
                if value == CpuhpCommand.NEXT_EVENT:
                    self._select_next()
        elif offset == CpuhpReg.DATA:
            self._report(value)

    def ospm_status(self) -> list[OstInfo]:
        """What the guest said last of each possible vCPU, in slot order."""
        return [self._info(slot) for slot in range(self._machine.max_cpus)]

    def saved(self) -> dict[str, Any]:
        """What a snapshot of the machine has of the registers."""
        return {
            "selector": self._selector, "command": self._command,
            **{name: self.pending.having(flag) for name, flag in _SAVED.items()},
            "ost": [[slot, *report] for slot, report in sorted(self._ost.items())],
        }

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what `saved` gave."""
        self._selector, self._command = saved["selector"], saved["command"]
        self.pending = PendingSlots(self._machine.max_cpus)
        for name, flag in _SAVED.items():
            for slot in saved[name]:
                self.pending.set(slot, flag)
        self._ost = {slot: (source, status) for slot, source, status in saved["ost"]}

    def _valid(self, offset: int, size: int) -> bool:
        valid = size in _WIDTHS and not offset % size and 0 <= offset <= self.SIZE - size
        self.bad_accesses += not valid
        return valid

    def _flags(self, slot: int) -> int:
        cpu = self._machine.cpus.get(slot)
        # The wires are the first that an unplug takes and the last that it gives back.
        enabled = cpu is not None and cpu.wired
        return self.pending[slot] | (_ENABLED if enabled else 0)

    def _data(self) -> int:
        if self._command == CpuhpCommand.NEXT_EVENT:
            return self._selector
        if self._command == CpuhpCommand.ARCH_ID:
            return self._machine.gic.affinity(self._selector)
        return 0

    def _act(self, value: int) -> None:
        """Do the one thing that a write to FLAGS asks for."""
        slot = self._selector
        if value & INSERTING:
            self.pending.clear(slot, INSERTING)
        elif value & REMOVING:
            self.pending.clear(slot, REMOVING)
        elif value & (_EJECT | _FIRMWARE):
            cpu = self._machine.cpus.get(slot)
            if cpu is None or slot == 0:
                self.refused_ejects += 1
            elif value & _EJECT:
                self._eject(cpu)
            else:
                self.pending.set(slot, _FIRMWARE)

    def _eject(self, cpu: Vcpu) -> None:
        try:
            self._machine.complete_unplug(cpu.qom_path)
        except HotplugError:
            self.refused_ejects += 1

    def _select_next(self) -> None:
        for start in (self._selector, 0):
            found = self.pending.next(start)
            if found is not None:
                self._selector = found
                return

    def _report(self, value: int) -> None:
        """Take an argument of _OST; the status completes it."""
        slot = self._selector
        source, status = self._ost.get(slot, (0, 0))
        if self._command == CpuhpCommand.OST_EVENT:
            self._ost[slot] = value, status
        elif self._command == CpuhpCommand.OST_STATUS:
            self._ost[slot] = source, value
            errors: list[BaseException] = []
            collect(errors, self.ost_events.notify, self._info(slot))
            cpu = self._machine.cpus.get(slot)
            declined = source in EJECT_SOURCES and value not in (0, _IN_PROGRESS)
            if declined and cpu is not None and cpu.unplug_requested:
                collect(errors, self._machine.reject_unplug, cpu.qom_path, value)
            raise_all("callbacks failed when the guest reported a status", errors)

    def _info(self, slot: int) -> OstInfo:
        cpu = self._machine.cpus.get(slot)
        return OstInfo(cpu.id if cpu is not None else None, slot, *self._ost.get(slot, (0, 0)))
