"""vCPU hotplug as management and guests ask for it: what is refused, and what is then plugged or unplugged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import index as as_index
from typing import SupportsIndex

from gicv3.arguments import plain_text
from gicv3.drivers import check_driver, check_identifier, is_identifier
from gicv3.errors import ConfigError, HotplugError
from gicv3.plug import HotplugEvent, HotplugStage, HotplugSteps
from gicv3.vcpu import OFF, Vcpu


class DeviceNotFoundError(HotplugError):
    """No device has this id or path."""


_boot_path = re.compile(r"/machine/unattached/device\[([0-9]{1,5})\]").fullmatch
_PERIPHERAL = "/machine/peripheral/"
MAX_DEVICES = 1 << 64
"""vCPUs that a machine can number because they were added without an id, those that are gone included."""
_PROPERTIES = frozenset({"mp_affinity", "node_id", "pmu"})


class CpuHotplugHandler(HotplugSteps):
    """The part of a machine that plugs and unplugs vCPUs, all or nothing, at the same cost on a machine of any size.

    Thread-safety: none; plug and unplug from one thread at a time.
    """

    smp_cpus: int
    max_cpus: int
    cpu_type: str
    pmu: bool
    cpus: Mapping[int, Vcpu]
    """Plugged vCPUs by slot."""
    migrating: bool
    """Set by the embedder while it migrates: plug and unplug are refused."""
    _disabled: dict[int, Vcpu]
    _requests: dict[Vcpu, float]
    _anonymous: int
    _ready: bool

    def device_add(
        self,
        /,
        driver: str | None = None,
        *,
        id: str | None = None,
        socket_id: SupportsIndex | str | None = None,
        cluster_id: SupportsIndex | str | None = None,
        core_id: SupportsIndex | str | None = None,
        thread_id: SupportsIndex | str | None = None,
        **properties: object,
    ) -> Vcpu:
        """Plug a vCPU into a running machine; it starts powered off, with its CPU interface reset.

        Parameters:
            driver: the CPU type, by default the machine's.
            id: a name for `device_del`: a letter, then letters, digits and `-._`.
            socket_id, cluster_id, core_id, thread_id: a free slot, as integers or numeric text, each counted from 0
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
            if type(id) is not str or not is_identifier(id):
                id = check_identifier(id)
            if id in self._devices:
                raise HotplugError(f"Duplicate device ID '{id}'")
        elif self._anonymous == MAX_DEVICES:
            raise HotplugError(f"{MAX_DEVICES} devices without an id have been added, no number is left")
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
        self._unplug_all(cpu)
        cpu.drop_timers()
        if self._requests:
            self._requests.pop(cpu, None)
        if self.acpi_device is not None:
            self.acpi_device.cpuhp.pending.clear(cpu.cpu_index)
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
        for `complete_unplug`, as `device_del` does. A vCPU that is as asked for already is left alone; enabling one
        that the guest was asked for takes the request back.
        Returns: the vCPU. Raises: DeviceNotFoundError; HotplugError; what a notifier raised. The machine is then bit
        for bit what it was.
        """
        if not self.policy.admin_state:
            raise HotplugError("administrative power state not supported on this machine")
        cpu = self.find_cpu(name, disabled=True)
        if self.migrating:
            raise HotplugError("device_set not allowed while migrating")
        if cpu.enabled == bool(enabled):
            if enabled and cpu.unplug_requested:
                self._cancel_request(cpu)
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
            cpu = self._disabled[slot] = self._new_cpu(slot, hotplugged=slot >= self.smp_cpus)
        return cpu

    def find_cpu(self, name: str, *, disabled: bool = False) -> Vcpu:
        """The plugged vCPU with this id or path.

        Parameters: `name`; `disabled`, whether one will do that is administratively disabled.
        Raises: DeviceNotFoundError; HotplugError for a name that is not a string.
        """
        if type(name) is not str:
            if not isinstance(name, str):
                raise HotplugError(f"a vCPU is named by a string, got {name!r}")
            name = plain_text(name)
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

    def unplug_request(self, cpu: Vcpu) -> None:
        """Check that a vCPU may go, and ask the guest; asking again tells it again.

        Raises: HotplugError.
        """
        if not self.acpi:
            raise HotplugError("GED does not exists or device is not realized!")
        if not self.has_hotpluggable_cpus:
            raise HotplugError("CPU hot(un)plug not supported on this machine")
        self._check_unpluggable(cpu)
        self._check_at_rest(cpu)
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

    def _new_cpu(self, slot: int, id: str | None = None, hotplugged: bool = True, anonymous: int = -1) -> Vcpu:
        return Vcpu(self, slot, self.gic.affinity(slot), id, hotplugged, anonymous)  # type: ignore[arg-type]

    def _end_request(self, event: HotplugEvent) -> None:
        """Forget a request and tell why. Raises: what a member raised, and the request holds."""
        event.cpu.unplug_requested = False
        try:
            self.hotplug_events.notify(event)
        except BaseException:
            event.cpu.unplug_requested = True
            raise
        self._requests.pop(event.cpu, None)

    def _cancel_request(self, cpu: Vcpu) -> None:
        """Take back what `unplug_request` asked. Raises: what a member raised, and the request holds."""
        self._check_at_rest(cpu)
        self._end_request(HotplugEvent(HotplugStage.UNPLUG_REQUEST, cpu, undo=True))
        if self.acpi_device is not None:
            self.acpi_device.unplug_cancelled(cpu.cpu_index)

    def _check_properties(self, index: int, affinity: int, properties: Mapping[str, object]) -> None:
        """Refuse what would be overwritten, or would make the vCPU differ from the boot vCPU."""
        if properties.get("node_id", 0) != 0:
            raise HotplugError("invalid node-id, must be 0")
        if properties.get("mp_affinity", affinity) != affinity:
            raise HotplugError(f"invalid mp-affinity, must be {affinity}, got {properties['mp_affinity']!r}")
        if properties.get("pmu", self.pmu) != self.pmu:
            raise HotplugError(f"CPU {index}: 'pmu' feature didn't match with existing CPUs")


def _check_requested(cpu: Vcpu) -> None:
    if not cpu.unplug_requested:
        raise HotplugError(f"unplug of cpu {cpu.cpu_index} was not requested")
