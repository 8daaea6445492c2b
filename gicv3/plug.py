"""How a machine plugs and unplugs a vCPU: step by step, and all steps or none."""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gicv3.association import CPUHotplugInfo
from gicv3.errors import HotplugError
from gicv3.notifier import NotifierList, collect, raise_all
from gicv3.policy import HotplugPolicy
from gicv3.undo import UndoSteps, take_back
from gicv3.vcpu import OFF, PowerState, Unique, Vcpu

if TYPE_CHECKING:
    from gicv3._core import SavedPe
    from gicv3.acpi.ged import AcpiGed
    from gicv3.gic import GICv3
    from gicv3.topology import Topology


class HotplugStage(Enum):
    """What happened to a vCPU, for firmware tables and management."""

    PLUG = "plug"
    """A hotplugged vCPU is in its slot; raising refuses it."""
    UNPLUG_REQUEST = "unplug-request"
    """The guest is asked to let a vCPU go; with `undo`, the request was taken back."""
    UNPLUG_REJECTED = "unplug-rejected"
    """The guest declined; the vCPU stays."""
    UNPLUG_TIMEOUT = "unplug-timeout"
    """The guest let the time of a request pass; the vCPU stays."""
    UNPLUG = "unplug"
    """The guest ejects a vCPU, which is still wired; raising refuses it."""
    DELETED = "deleted"
    """The vCPU is gone and its slot is free."""
    DISABLED = "disabled"
    """In its place where vCPUs are enabled and disabled: the vCPU is disabled."""


class HotplugEvent(NamedTuple):
    """What a member of `VirtMachine.hotplug_events` receives; with `undo` set, an earlier one is taken back."""

    stage: HotplugStage
    cpu: Vcpu
    status: int = 0
    undo: bool = False

    def inverse(self) -> HotplugEvent:
        """The event that takes this one back."""
        return self._replace(undo=True)


_inverse = CPUHotplugInfo.inverse
_BUSY = "another vCPU is being plugged or unplugged"


class HotplugSteps(Unique):
    """The steps of a plug and an unplug, and the two transactions that they make.

    Thread-safety: none; plug and unplug from one thread at a time.
    """

    gic: GICv3
    topology: Topology
    acpi: bool
    has_hotpluggable_cpus: bool
    acpi_device: AcpiGed | None
    """What tells the guest by ACPI, where vCPUs are hotpluggable."""
    cpuhp_notifiers: NotifierList
    """Told of each :class:`CPUHotplugInfo`; the GIC's own notifier is on it where vCPUs are hotpluggable."""
    hotplug_events: NotifierList
    """Told of each :class:`HotplugEvent`: the place of firmware tables and management."""
    policy: HotplugPolicy
    """What is allowed, and how."""
    _cpus: dict[int, Vcpu]
    _devices: dict[str, Vcpu]
    _busy: Vcpu | None
    """The vCPU that is being plugged or unplugged: a notifier must not begin with another, nor ask for or start it."""

    def update_gic(self, cpu: Vcpu, plugging: bool) -> None:
        """Tell the CPU hotplug notifiers that `cpu` comes, or, in the opposite order, that it goes.

        Raises: what a notifier raised; those told before it have then been told the opposite.
        """
        info = CPUHotplugInfo(self.gic, cpu, plugging)
        self.cpuhp_notifiers.propose(info, _inverse, not plugging)

    def wire_gic_cpu_irqs(self, cpu: Vcpu) -> None:
        """Connect the vCPU's interrupt outputs to its PPIs, and the GIC's lines to the vCPU.

        Raises: what a callback raised that was told of a line, after all are connected.
        """
        self._set_wires(cpu, True)

    def unwire_gic_cpu_irqs(self, cpu: Vcpu) -> None:
        """Cut the vCPU's wires; a PPI input that was high goes low.

        Raises: what a callback raised that was told of a line, after all are cut.
        """
        self._set_wires(cpu, False)

    def _set_wires(self, cpu: Vcpu, wired: bool) -> None:
        cpu.wired = wired
        if cpu.outputs:
            errors: list[BaseException] = []
            for output in cpu.raised_outputs():
                collect(errors, self.gic.set_ppi, cpu.cpu_index, output, wired)
            raise_all(f"callbacks failed when cpu {cpu.cpu_index} was {'wired' if wired else 'unwired'}", errors)

    def pre_plug(self, cpu: Vcpu) -> None:
        """First step of a plug: update the GIC, then wire the lines, because the vCPU's reset needs its ICC registers.

        Raises: what a notifier raised.
        """
        self.update_gic(cpu, True)
        cpu.wired = True  # at once: what takes a plug back goes by it
        if cpu.outputs:
            self._set_wires(cpu, True)

    def plug(self, cpu: Vcpu) -> None:
        """Second step of a plug: put the vCPU into its slot, and tell of it.

        Raises: what a member of `hotplug_events` raised.
        """
        self._cpus[cpu.cpu_index] = cpu
        if cpu.id is not None:
            self._devices[cpu.id] = cpu
        elif cpu.anonymous >= 0:
            self._devices[cpu.qom_path] = cpu
        # Nobody listens yet while a machine is built, so a cold vCPU is told to nobody.
        if self.hotplug_events.heard:
            self.hotplug_events.propose(HotplugEvent(HotplugStage.PLUG, cpu), HotplugEvent.inverse)

    def unplug(self, cpu: Vcpu) -> None:
        """Last step of an unplug: tell of it, unwire, then update the GIC, then free the slot.

        Raises: HotplugError for a vCPU of the start; what a notifier or a member of `hotplug_events` raised, and the
        vCPU is plugged as before.
        """
        self._check_unpluggable(cpu)
        self._unplug(cpu)

    def is_removable(self, slot: int) -> bool:
        """Whether the policy lets the vCPU of a slot go, or in an empty slot, one that comes there."""
        removable = self.policy.removable
        if slot == 0 or not isinstance(removable, str):
            return slot != 0 and slot in removable
        cpu = self._cpus.get(slot)
        return cpu is None or cpu.hotplugged or removable == "all"

    def _plug_all(self, cpu: Vcpu) -> None:
        """The transaction of a plug."""
        if self._busy is not None:
            raise HotplugError(_BUSY)
        before = self.gic.save_pe(cpu.cpu_index)
        self._busy = cpu
        try:
            self.pre_plug(cpu)
            self.plug(cpu)
        except BaseException as error:
            self._plug_back(cpu, before, error)
            raise
        finally:
            self._busy = None

    def _plug_back(self, cpu: Vcpu, before: SavedPe, error: BaseException) -> None:
        """Take back what a plug has done before it failed."""
        steps: UndoSteps = [(self._forget, cpu)]
        if cpu.wired:  # and so the notifiers have been told, all of them
            info = CPUHotplugInfo(self.gic, cpu, False)
            steps += [(self._set_wires, cpu, False), (partial(self.cpuhp_notifiers.notify, reverse=True), info)]
        steps.append((self.gic.restore_pe, cpu.cpu_index, before))
        try:
            take_back(error, steps)
        finally:
            cpu.associated, cpu.sysregs = False, None
            cpu.power_state = OFF
            if not self.policy.admin_state:
                cpu.drop_timers()

    def _unplug_all(self, cpu: Vcpu) -> None:
        """The transaction of an unplug, which begins with stopping a vCPU that runs."""
        if self._busy is not None:
            raise HotplugError(_BUSY)
        self._busy = cpu
        power = cpu.power_state
        try:
            if power is not OFF:
                self._set_power(cpu, OFF)
            self._unplug(cpu)
        except BaseException as error:
            if power is not OFF:
                take_back(error, [(self._set_power, cpu, power)])
            raise
        finally:
            self._busy = None

    def _unplug(self, cpu: Vcpu) -> None:
        """All of an unplug but the stop."""
        before = self.gic.save_pe(cpu.cpu_index)
        associated, sysregs = cpu.associated, cpu.sysregs
        told = False
        if self.hotplug_events.heard:
            self.hotplug_events.propose(HotplugEvent(HotplugStage.UNPLUG, cpu), HotplugEvent.inverse)
        try:
            self._set_wires(cpu, False)
            self.update_gic(cpu, False)
            told = True
            self._forget(cpu)
        except BaseException as error:
            steps: UndoSteps = []
            if told:
                steps.append((self.cpuhp_notifiers.notify, CPUHotplugInfo(self.gic, cpu, True)))
            # The PPIs have their levels again when the wires are connected: that makes no edge.
            steps += [
                (self.gic.restore_pe, cpu.cpu_index, before),
                (self._set_wires, cpu, True),
                (
                    partial(self.hotplug_events.notify, reverse=True),
                    HotplugEvent(HotplugStage.UNPLUG, cpu, undo=True),
                ),
            ]
            try:
                take_back(error, steps)
            finally:
                cpu.associated, cpu.sysregs = associated, sysregs
            raise

    def _forget(self, cpu: Vcpu) -> None:
        """Free the slot and the name of a vCPU, if it has them; nothing interrupts it between the two."""
        index, cpus, devices = cpu.cpu_index, self._cpus, self._devices
        name = cpu.id if cpu.id is not None else cpu.qom_path
        if name in devices:
            del devices[name]
        if index in cpus:
            del cpus[index]

    def _check_at_rest(self, cpu: Vcpu) -> None:
        """Raises: HotplugError for the vCPU that is being plugged or unplugged."""
        if self._busy is cpu:
            raise HotplugError(f"cpu {cpu.cpu_index} is being plugged or unplugged")

    def _check_no_transaction(self, what: str) -> None:
        """Raises: HotplugError while a vCPU is being plugged or unplugged, by whom: one of its notifiers."""
        if self._busy is not None:
            raise HotplugError(f"{what} not allowed while cpu {self._busy.cpu_index} is being plugged or unplugged")

    @abstractmethod
    def _set_power(self, cpu: Vcpu, state: PowerState) -> None:
        """Change what a vCPU does, and tell the engine."""

    def _check_unpluggable(self, cpu: Vcpu) -> None:
        if cpu.cpu_index == 0:
            raise HotplugError(f"Boot CPU({self._place(0)}) hot-unplug not supported")
        if self.policy.removable == "hotplugged" and cpu.hotplugged:
            return
        if not self.is_removable(cpu.cpu_index):
            what = "CPU of this slot" if cpu.hotplugged else "cold-booted CPU"
            raise HotplugError(f"Hot-unplug of {what} not supported!")

    def _place(self, index: int) -> str:
        return f"id{index}=" + ":".join(map(str, self.topology.props(index)))
