"""vCPU hotplug: what the GIC does when a vCPU comes or goes, and how a machine plugs and unplugs all or nothing.

What becomes of interrupts when a vCPU goes:

- Its PPI wires are cut, and low. SGIs and PPIs pending or active on it are gone with the rest of its redistributor's
  state, which returns to reset: GICR_WAKER says asleep, nothing is enabled.
- An SGI sent to it while it is absent is dropped and counted.
- An SPI routed to it stays pending, and is signalled without further stimulus to the next vCPU in its slot.
- An SPI that was active on it stays active in the Distributor until software writes GICD_ICACTIVER.
- Its redistributor is always on: registers read and write, and the next vCPU finds what was written.
- Its CPU interface reads as reset and ignores writes; the next vCPU finds it reset.
"""

from __future__ import annotations

import re
import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import index as as_index
from typing import TYPE_CHECKING, Any, NamedTuple

from gicv3.errors import ConfigError, HotplugError
from gicv3.notifier import Notifier, NotifierList, collect, raise_all
from gicv3.policy import HotplugPolicy
from gicv3.undo import UndoSteps, take_back
from gicv3.vcpu import OFF, PowerState, Unique, Vcpu
from gicv3.views import PeView

if TYPE_CHECKING:
    from gicv3.acpi.ged import AcpiGed
    from gicv3.gic import GICv3
    from gicv3.topology import Topology


class DeviceNotFoundError(HotplugError):
    """No device has this id or path."""


@dataclass(slots=True)
class CPUHotplugInfo:
    """What a CPU hotplug notifier receives: the GIC, the vCPU, and whether it comes or goes."""

    gic: Any
    """The GICv3 that the vCPU belongs to; a notifier leaves those of others alone."""
    cpu: Any
    """The vCPU, with `mp_affinity` and `cpu_index`."""
    plugging: bool
    """True when it comes, False when it goes."""

    def inverse(self) -> CPUHotplugInfo:
        """The event that takes this one back."""
        return CPUHotplugInfo(self.gic, self.cpu, not self.plugging)


class GicCpuHotplugNotifier(Notifier):
    """Gives a GIC CPU interface to the vCPU that comes, and takes it from the one that goes.

    It holds its GIC weakly and leaves its list when the GIC goes.
    Parameters: `gic`, a GICv3.
    """

    __slots__ = ("_gic",)

    def __init__(self, gic: GICv3) -> None:
        super().__init__()
        notifier = weakref.ref(self)

        def gic_gone(_: object) -> None:
            if (self := notifier()) is not None:
                self.remove()

        self._gic = weakref.ref(gic, gic_gone)

    def notify(self, data: CPUHotplugInfo) -> None:
        """Give `data.cpu` the interface of its affinity, or take it away; an event of another GIC is ignored.

        Raises: HotplugError, with nothing changed, when no interface has its affinity or another vCPU holds it.
        """
        gic = self._gic()
        if gic is None or gic is not data.gic:
            return
        cpu = data.cpu
        pe = gic.proc_num(cpu.mp_affinity)
        if pe < 0:
            raise HotplugError(f"Failed to associate cpu {cpu.cpu_index} with any GIC cpuif")
        holder = gic.cpu(pe)
        if data.plugging:
            if holder is not None:
                raise HotplugError(f"cpu {cpu.cpu_index}: GIC cpuif {pe} already belongs to {holder!r}")
            step, back = associate, dissociate
        else:
            if holder is not cpu:
                raise HotplugError(f"cpu {cpu.cpu_index}: GIC cpuif {pe} belongs to {holder!r}")
            step, back = dissociate, associate
        try:
            step(gic, pe, cpu)
        except BaseException as error:
            # A line callback raised, when all was done.
            errors = [error]
            collect(errors, back, gic, pe, cpu)
            raise_all("a callback failed, and another when the GIC took it back", errors)


def associate(gic: GICv3, pe: int, cpu: Vcpu) -> None:
    """Make interface `pe` accessible to `cpu` and define its ICC registers, reset; the same at boot and at a plug."""
    cpu.gicv3state = PeView(gic, pe)
    try:
        gic.set_cpustate(pe, cpu, True)
    except BaseException as error:
        errors = [error]
        collect(errors, gic.init_cpu_reginfo, cpu)
        raise_all("callbacks failed when a vCPU came", errors)
    gic.init_cpu_reginfo(cpu)


def dissociate(gic: GICv3, pe: int, cpu: Vcpu) -> None:
    """Take interface `pe` from `cpu`, in both directions: a stale vCPU must not reach what is somebody else's next."""
    cpu.gicv3state = None
    cpu.sysregs = None
    gic.set_cpustate(pe, None, False)


class HotplugStage(Enum):
    """What happened to a vCPU, for firmware tables and management."""

    PLUG = "plug"
    """A hotplugged vCPU is in its slot; raising refuses it."""
    UNPLUG_REQUEST = "unplug-request"
    """The guest is asked to let a vCPU go."""
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


_CPU_MODELS = frozenset(
    f"{model}-arm-cpu"
    for model in (
        "a64fx",
        "cortex-a35",
        "cortex-a53",
        "cortex-a55",
        "cortex-a57",
        "cortex-a710",
        "cortex-a72",
        "cortex-a76",
        "host",
        "max",
        "neoverse-n1",
        "neoverse-n2",
        "neoverse-v1",
    )
)
_NOT_PLUGGABLE = frozenset({"acpi-ged", "arm-gicv3", "arm-gicv3-its", "arm-smmuv3", "pl011", "pl031", "pl061"})
is_identifier = re.compile(r"[A-Za-z][A-Za-z0-9\-._]*").fullmatch
_boot_path = re.compile(r"/machine/unattached/device\[([0-9]{1,5})\]").fullmatch
_PERIPHERAL = "/machine/peripheral/"
_PROPERTIES = frozenset({"mp_affinity", "node_id", "pmu"})


class CpuHotplugHandler(Unique):
    """The part of a machine that plugs and unplugs vCPUs, all or nothing, at the same cost on a machine of any size.

    With `one_of_n` the GIC's whole state is copied for undo, which grows with `max_cpus`.

    Thread-safety: none; plug and unplug from one thread at a time.
    """

    gic: GICv3
    topology: Topology
    max_cpus: int
    cpu_type: str
    acpi: bool
    pmu: bool
    has_hotpluggable_cpus: bool
    acpi_device: AcpiGed | None
    """What tells the guest by ACPI, where vCPUs are hotpluggable."""
    cpus: Mapping[int, Vcpu]
    """Plugged vCPUs by slot."""
    cpuhp_notifiers: NotifierList
    """Told of each :class:`CPUHotplugInfo`; the GIC's own notifier is on it where vCPUs are hotpluggable."""
    hotplug_events: NotifierList
    """Told of each :class:`HotplugEvent`: the place of firmware tables and management."""
    migrating: bool
    """Set by the embedder while it migrates: plug and unplug are refused."""
    _cpus: dict[int, Vcpu]
    _devices: dict[str, Vcpu]
    policy: HotplugPolicy
    """What is allowed, and how."""
    _disabled: dict[int, Vcpu]
    _requests: dict[Vcpu, float]
    _anonymous: int
    _undo: UndoSteps | None
    """While a transaction is under way, what takes it back; each step adds its own."""
    _ready: bool

    def device_add(
        self,
        /,
        driver: str | None = None,
        *,
        id: str | None = None,
        socket_id: int | str | None = None,
        cluster_id: int | str | None = None,
        core_id: int | str | None = None,
        thread_id: int | str | None = None,
        **properties: object,
    ) -> Vcpu:
        """Plug a vCPU into a running machine; it starts powered off, with its CPU interface reset.

        Parameters:
            driver: the CPU type, by default the machine's.
            id: a name for `device_del`: a letter, then letters, digits and `-._`.
            socket_id, cluster_id, core_id, thread_id: a free slot, as numbers or numeric text, each counted from 0
                within the level above; one may be left out where its level has a single value.
            properties: `mp_affinity`, `node_id` and `pmu` may be given, and must then be what the slot has.
        Returns: the vCPU. Raises: HotplugError, or what a notifier raised; the machine is then bit for bit what it was.
        Only what a callback raises when the guest's interrupt reaches a vCPU comes too late for that.
        """
        if driver is None:
            driver = self.cpu_type
        elif driver != self.cpu_type:
            check_driver(driver)
        if self.migrating:
            raise HotplugError("device_add not allowed while migrating")
        if id is not None:
            if not isinstance(id, str) or not is_identifier(id):
                raise HotplugError(f"Parameter 'id' expects an identifier, got {id!r}")
            if id in self._devices:
                raise HotplugError(f"Duplicate device ID '{id}'")
        for name in properties:
            if name not in _PROPERTIES:
                raise HotplugError(f"Property '{driver}.{name.replace('_', '-')}' not found")
        hotplugged = self._ready
        if hotplugged and not self.acpi:
            raise HotplugError("GED acpi device does not exists")
        if not self.has_hotpluggable_cpus or self.policy.admin_state:
            raise HotplugError("CPU hotplug not supported on this machine")
        if driver != self.cpu_type:
            raise HotplugError(f"Invalid CPU type, expected cpu type: '{self.cpu_type}'")
        index = self.topology.index(socket_id, cluster_id, core_id, thread_id)
        affinity: int = self.gic.affinity(index)
        if index in self._cpus:
            raise HotplugError(f"cpu({self._place(index)}) with arch-id {affinity} exist")
        if properties:
            self._check_properties(index, affinity, properties)
        anonymous = self._anonymous if id is None else -1
        cpu = Vcpu(self, index, affinity, id, hotplugged, anonymous)  # type: ignore[arg-type]
        self._plug_all(cpu)
        if id is None:
            self._anonymous += 1
        if hotplugged and self.acpi_device is not None:
            self.acpi_device.plugged(index)
        return cpu

    def device_del(self, name: str) -> None:
        """Ask the guest to let a vCPU go; it stays plugged until `complete_unplug`, and asking again is harmless.

        Parameters: `name`, the id given to `device_add` or a path as `Vcpu.qom_path`.
        Raises: DeviceNotFoundError; HotplugError when it cannot be unplugged.
        """
        cpu = self.find_cpu(name)
        if self.migrating:
            raise HotplugError("device_del not allowed while migrating")
        if self.policy.admin_state:
            raise HotplugError("CPU hot(un)plug not supported on this machine")
        self.unplug_request(cpu)

    def reject_unplug(self, name: str, status: int = 1) -> None:
        """Play a guest that declines a request: the vCPU stays, and can be asked for again.

        Parameters: `name`, as :meth:`device_del`; `status`, the guest's _OST status code, 1..2**32-1.
        Raises: ConfigError for another status; DeviceNotFoundError; HotplugError when nothing was requested.
        """
        if not 1 <= as_index(status) < 1 << 32:
            raise ConfigError(f"status must be in 1..{(1 << 32) - 1}, got {status}")
        cpu = self.find_cpu(name)
        _check_requested(cpu)
        self._end_request(HotplugEvent(HotplugStage.UNPLUG_REJECTED, cpu, status))

    def complete_unplug(self, name: str) -> None:
        """Take out a vCPU that the guest was asked for and has powered off: what the guest's eject does.

        Parameters: `name`, as :meth:`device_del`.
        Raises: DeviceNotFoundError; HotplugError when it may not go; what a notifier raised. The machine is then bit
        for bit what it was; only what a member raises when told DELETED comes too late for that.
        """
        cpu = self.find_cpu(name)
        # The guest is not trusted: it may eject only what was asked for, and nothing that still runs.
        self._check_unpluggable(cpu)
        _check_requested(cpu)
        if cpu.power_state is not OFF and self.policy.running == "refuse":
            raise HotplugError(f"cpu {cpu.cpu_index} is {cpu.power_state.name}, and must be OFF to be unplugged")
        if self.migrating:
            raise HotplugError(f"unplug of cpu {cpu.cpu_index} not allowed while migrating")
        undo = self._begin()
        try:
            if cpu.power_state is not OFF:
                # It goes on where it was if the rest fails.
                undo.append((self._set_power, (cpu, cpu.power_state)))
                self._set_power(cpu, OFF)
            self._unplug(cpu)
        except BaseException as error:
            take_back(undo, error)
            raise
        finally:
            self._undo = None
        cpu.drop_timers()
        if self._requests:
            self._requests.pop(cpu, None)
        if self.acpi_device is not None:
            self.acpi_device.cpuhp.removed(cpu.cpu_index)
        if self.policy.admin_state:
            cpu.put_away()
            self._disabled[cpu.cpu_index] = cpu
        if self.hotplug_events.heard:
            stage = HotplugStage.DISABLED if self.policy.admin_state else HotplugStage.DELETED
            self.hotplug_events.notify(HotplugEvent(stage, cpu))

    def expire_unplug_requests(self) -> list[Vcpu]:
        """Give up on requests that the guest has not answered in time, by the policy's clock; call it now and then.

        Returns: the vCPUs, oldest request first; each stays, and can be asked for again.
        Raises: what a member of `hotplug_events` raised when told of the last of them; the next call goes on.
        """
        expired: list[Vcpu] = []
        now = self.policy.clock() if self._requests else 0.0
        while self._requests:
            cpu, deadline = next(iter(self._requests.items()))
            if deadline > now:
                break
            expired.append(cpu)
            del self._requests[cpu]
            cpu.unplug_requested = False
            self.hotplug_events.notify(HotplugEvent(HotplugStage.UNPLUG_TIMEOUT, cpu))
        return expired

    def device_set(self, name: str, enabled: bool) -> Vcpu:
        """Enable a vCPU, or ask the guest to let it be disabled, on a machine with `HotplugPolicy.admin_state`.

        Parameters: `name`, the vCPU's path as `Vcpu.qom_path`; `enabled`. Enabling is done at once; disabling waits
        for `complete_unplug`, as `device_del` does. A vCPU that is as asked for already is left alone.
        Returns: the vCPU. Raises: DeviceNotFoundError; HotplugError; what a notifier raised. The machine is then bit
        for bit what it was.
        """
        if not self.policy.admin_state:
            raise HotplugError("administrative power state not supported on this machine")
        cpu = self.find_cpu(name, disabled=True)
        if self.migrating:
            raise HotplugError("device_set not allowed while migrating")
        if cpu.enabled == bool(enabled):
            return cpu
        if not enabled:
            self.unplug_request(cpu)
            return cpu
        self._plug_all(cpu)
        if self.acpi_device is not None:
            self.acpi_device.plugged(cpu.cpu_index)
        return cpu

    def vcpu(self, slot: int) -> Vcpu:
        """The vCPU of a slot, enabled or not, on a machine with `HotplugPolicy.admin_state`: always the same one.

        Parameters: `slot`, 0..max_cpus-1. Raises: HotplugError for a slot that is empty, where vCPUs come and go.
        """
        cpu = self._cpus.get(slot) or self._disabled.get(slot)
        if cpu is None:
            if not self.policy.admin_state:
                raise HotplugError(f"slot {slot} is empty")
            # Made when first looked at: it costs as long as nobody does.
            cpu = self._disabled[slot] = self._new_cpu(slot)
        return cpu

    def find_cpu(self, name: str, *, disabled: bool = False) -> Vcpu:
        """The plugged vCPU with this id or path.

        Parameters: `name`; `disabled`, whether one will do that is administratively disabled.
        Raises: DeviceNotFoundError; HotplugError for a name that is not a string.
        """
        if not isinstance(name, str):
            raise HotplugError(f"a vCPU is named by a string, got {name!r}")
        cpu = self._devices.get(name)
        if cpu is None:
            if match := _boot_path(name):
                slot = int(match[1])
                cpu = self._cpus.get(slot)
                if cpu is None and disabled and self.policy.admin_state and slot < self.max_cpus:
                    cpu = self.vcpu(slot)
            else:
                cpu = self._devices.get(name.removeprefix(_PERIPHERAL))
            if cpu is None or cpu.qom_path != name:
                raise DeviceNotFoundError(f"Device '{name}' not found")
        return cpu

    def update_gic(self, cpu: Vcpu, plugging: bool) -> None:
        """Tell the CPU hotplug notifiers that `cpu` comes, or, in the opposite order, that it goes.

        Raises: what a notifier raised; those told before it have then been told the opposite.
        """
        info = CPUHotplugInfo(self.gic, cpu, plugging)
        self.cpuhp_notifiers.notify(info, undo=CPUHotplugInfo.inverse, reverse=not plugging)
        if self._undo is not None:
            self._undo.append((self._update_back, (info,)))

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
        if not cpu.outputs:
            return
        errors: list[BaseException] = []
        for output in cpu.raised_outputs():
            collect(errors, self.gic.set_ppi, cpu.cpu_index, output, wired)
        raise_all(f"callbacks failed when cpu {cpu.cpu_index} was {'wired' if wired else 'unwired'}", errors)

    def pre_plug(self, cpu: Vcpu) -> None:
        """First step of a plug: update the GIC, then wire the lines, because the vCPU's reset needs its ICC registers.

        Raises: what a notifier raised.
        """
        self.update_gic(cpu, True)
        if self._undo is not None:
            self._undo.append((self._set_wires, (cpu, False)))
        self._set_wires(cpu, True)

    def plug(self, cpu: Vcpu) -> None:
        """Second step of a plug: put the vCPU into its slot, and tell of it.

        Raises: what a member of `hotplug_events` raised.
        """
        if self._undo is not None:
            self._undo.append((self._forget, (cpu,)))
        self._cpus[cpu.cpu_index] = cpu
        if cpu.id is not None:
            self._devices[cpu.id] = cpu
        elif cpu.anonymous >= 0:
            self._devices[cpu.qom_path] = cpu
        # Nobody listens yet while a machine is built, so a cold vCPU is told to nobody.
        if self.hotplug_events.heard:
            self.hotplug_events.notify(HotplugEvent(HotplugStage.PLUG, cpu), undo=HotplugEvent.inverse)

    def unplug_request(self, cpu: Vcpu) -> None:
        """Check that a vCPU may go, and ask the guest; asking again tells it again.

        Raises: HotplugError.
        """
        if not self.acpi:
            raise HotplugError("GED does not exists or device is not realized!")
        if not self.has_hotpluggable_cpus:
            raise HotplugError("CPU hot(un)plug not supported on this machine")
        self._check_unpluggable(cpu)
        asked_before, cpu.unplug_requested = cpu.unplug_requested, True
        try:
            if self.hotplug_events.heard:
                self.hotplug_events.notify(HotplugEvent(HotplugStage.UNPLUG_REQUEST, cpu))
        except BaseException:
            cpu.unplug_requested = asked_before
            raise
        if self.policy.request_timeout is not None:
            self._requests.pop(cpu, None)  # the oldest stay first
            self._requests[cpu] = self.policy.clock() + self.policy.request_timeout
        if self.acpi_device is not None:
            self.acpi_device.unplug_requested(cpu.cpu_index)

    def unplug(self, cpu: Vcpu) -> None:
        """Last step of an unplug: tell of it, unwire, then update the GIC, then free the slot.

        Raises: HotplugError for a vCPU of the start; what a notifier or a member of `hotplug_events` raised.
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

    def _new_cpu(self, slot: int, id: str | None = None, hotplugged: bool = True, anonymous: int = -1) -> Vcpu:
        return Vcpu(self, slot, self.gic.affinity(slot), id, hotplugged, anonymous)  # type: ignore[arg-type]

    def _plug_all(self, cpu: Vcpu) -> None:
        """The transaction of a plug."""
        undo = self._begin()
        try:
            undo.append(self._gic_back(cpu.cpu_index))
            self.pre_plug(cpu)
            self.plug(cpu)
        except BaseException as error:
            try:
                take_back(undo, error)
            finally:
                cpu.drop_timers()
            raise
        finally:
            self._undo = None

    def _unplug(self, cpu: Vcpu) -> None:
        undo = self._undo
        if self.hotplug_events.heard:
            event = HotplugEvent(HotplugStage.UNPLUG, cpu)
            self.hotplug_events.notify(event, undo=HotplugEvent.inverse)
            if undo is not None:
                undo.append((self._tell_back, (event,)))
        if undo is not None:
            # The restored state has the levels of the PPIs already: connecting the wires afterwards makes no edge.
            undo.append((self._set_wires, (cpu, True)))
            undo.append(self._gic_back(cpu.cpu_index))
        self._set_wires(cpu, False)
        self.update_gic(cpu, False)
        self._forget(cpu)

    def _gic_back(self, slot: int) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """What brings the GIC back to its state now: that of the PE, and where 1-of-N SPIs may leave it, all of it."""
        gic = self.gic
        if gic.config.one_of_n:
            return gic.rewind, (gic.savepoint(),)
        return gic.restore_pe, (slot, gic.save_pe(slot))

    def _begin(self) -> UndoSteps:
        if self._undo is not None:
            raise HotplugError("another vCPU is being plugged or unplugged")
        undo: UndoSteps = []
        self._undo = undo
        return undo

    def _update_back(self, info: CPUHotplugInfo) -> None:
        self.cpuhp_notifiers.notify(info.inverse(), reverse=info.plugging)

    def _tell_back(self, event: HotplugEvent) -> None:
        self.hotplug_events.notify(event.inverse(), reverse=True)

    @abstractmethod
    def _set_power(self, cpu: Vcpu, state: PowerState) -> None:
        """Change what a vCPU does, and tell the engine."""

    def _end_request(self, event: HotplugEvent) -> None:
        """Forget a request and tell why. Raises: what a member raised, and the request holds."""
        event.cpu.unplug_requested = False
        try:
            self.hotplug_events.notify(event)
        except BaseException:
            event.cpu.unplug_requested = True
            raise
        self._requests.pop(event.cpu, None)

    def _check_unpluggable(self, cpu: Vcpu) -> None:
        if cpu.cpu_index == 0:
            raise HotplugError(f"Boot CPU({self._place(0)}) hot-unplug not supported")
        if not self.is_removable(cpu.cpu_index):
            what = "CPU of this slot" if cpu.hotplugged else "cold-booted CPU"
            raise HotplugError(f"Hot-unplug of {what} not supported!")

    def _check_properties(self, index: int, affinity: int, properties: Mapping[str, object]) -> None:
        """Refuse what would be overwritten, or would make the vCPU differ from the boot vCPU."""
        if properties.get("node_id", 0) != 0:
            raise HotplugError("invalid node-id, must be 0")
        if properties.get("mp_affinity", affinity) != affinity:
            raise HotplugError(f"invalid mp-affinity, must be {affinity}, got {properties['mp_affinity']!r}")
        if properties.get("pmu", self.pmu) != self.pmu:
            raise HotplugError(f"CPU {index}: 'pmu' feature didn't match with existing CPUs")

    def _place(self, index: int) -> str:
        return f"id{index}=" + ":".join(map(str, self.topology.props(index)))

    def _forget(self, cpu: Vcpu) -> None:
        """Free the slot and the name of a vCPU."""
        self._cpus.pop(cpu.cpu_index, None)
        self._devices.pop(cpu.id if cpu.id is not None else cpu.qom_path, None)


def check_driver(driver: object) -> None:
    """Raises: HotplugError for a driver that is no vCPU model."""
    if not isinstance(driver, str):
        raise HotplugError(f"Parameter 'driver' expects a string, got {driver!r}")
    if driver in _NOT_PLUGGABLE:
        raise HotplugError("Parameter 'driver' expects a pluggable device type")
    if driver not in _CPU_MODELS:
        raise HotplugError(f"'{driver}' is not a valid device model name")


def _check_requested(cpu: Vcpu) -> None:
    if not cpu.unplug_requested:
        raise HotplugError(f"unplug of cpu {cpu.cpu_index} was not requested")
