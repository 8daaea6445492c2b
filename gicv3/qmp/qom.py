"""The object tree as far as vCPUs and the GIC go: what qom-list and qom-get show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gicv3.hotplug import DeviceNotFoundError
from gicv3.qmp.errors import QmpError
from gicv3.vcpu import Vcpu

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine

MACHINE_TYPE = "virt-machine"

_CPU: Mapping[str, tuple[str, Callable[[Vcpu], Any]]] = {
    "realized": ("bool", lambda cpu: True),
    "hotplugged": ("bool", lambda cpu: cpu.hotplugged),
    "hotpluggable": ("bool", lambda cpu: True),
    "start-powered-off": ("bool", lambda cpu: cpu.cpu_index != 0),
    "mp-affinity": ("uint64", lambda cpu: cpu.mp_affinity),
    "socket-id": ("int32", lambda cpu: cpu.props.socket_id),
    "cluster-id": ("int32", lambda cpu: cpu.props.cluster_id),
    "core-id": ("int32", lambda cpu: cpu.props.core_id),
    "thread-id": ("int32", lambda cpu: cpu.props.thread_id),
    "has_el2": ("bool", lambda cpu: cpu.machine.virtualization),
    "has_el3": ("bool", lambda cpu: cpu.machine.gic.config.security),
    "pmu": ("bool", lambda cpu: cpu.machine.pmu),
    "cntfrq": ("uint64", lambda cpu: cpu.machine.timers.frequency),
}

_GIC: Mapping[str, tuple[str, Callable[[VirtMachine], Any]]] = {
    "realized": ("bool", lambda machine: True),
    "hotplugged": ("bool", lambda machine: False),
    "hotpluggable": ("bool", lambda machine: False),
    "num-cpu": ("uint32", lambda machine: machine.max_cpus),
    "num-irq": ("uint32", lambda machine: machine.gic.config.spis + 32),
    "revision": ("uint32", lambda machine: 3),
    "has-security-extensions": ("bool", lambda machine: machine.gic.config.security),
    "len-redist-region-count": ("uint32", lambda machine: len(machine.gic.config.regions)),
}


class ObjectTree:
    """The paths of a machine: its GIC comes behind the vCPUs of the start, or behind all where all exist for good."""

    def __init__(self, machine: VirtMachine) -> None:
        self._machine = machine
        self._gic = f"device[{machine.max_cpus if machine.policy.admin_state else machine.smp_cpus}]"

    def list(self, path: str) -> list[dict[str, str]]:
        """The properties and children at a path, as ObjectPropertyInfo. Raises: QmpError."""
        return [{"name": name, "type": kind} for name, kind, _ in self._members(path)]

    def get(self, path: str, name: str) -> Any:
        """The value of a property; of a child, its path. Raises: QmpError."""
        kind = ""
        for member, _, value in self._members(path):
            if member == name:
                return value()
            if member == "type":
                kind = value()
        raise QmpError(f"Property '{kind}.{name}' not found")

    def has(self, path: str) -> bool:
        """Whether there is an object at a path."""
        try:
            next(self._members(path))
        except QmpError:
            return False
        return True

    def _members(self, path: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """(Name, type, how to get the value) of what is at a path."""
        normal = "/" + "/".join(part for part in path.split("/") if part)
        children: Iterator[tuple[str, str]]
        match normal:
            case "/":
                kind, children = "container", iter([("machine", MACHINE_TYPE)])
            case "/machine":
                kind = MACHINE_TYPE
                children = ((name, "container") for name in ("unattached", "peripheral", "peripheral-anon"))
            case "/machine/unattached" | "/machine/peripheral" | "/machine/peripheral-anon":
                kind, children = "container", self._devices(normal)
            case _:
                yield from self._device(path, normal)
                return
        yield "type", "string", lambda: kind
        for name, child in children:
            yield name, f"child<{child}>", lambda name=name: f"{normal.rstrip('/')}/{name}"  # type: ignore[misc]

    def _devices(self, parent: str) -> Iterator[tuple[str, str]]:
        machine = self._machine
        for cpu in map(machine.vcpu, range(machine.max_cpus)) if machine.policy.admin_state else machine.cpus.values():
            place, _, name = cpu.qom_path.rpartition("/")
            if place == parent:
                yield name, machine.cpu_type
        if parent == "/machine/unattached":
            yield self._gic, "arm-gicv3"

    def _device(self, path: str, normal: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        machine = self._machine
        if normal == f"/machine/unattached/{self._gic}":
            yield "type", "string", lambda: "arm-gicv3"
            for name, (kind, of_machine) in _GIC.items():
                yield name, kind, lambda of_machine=of_machine: of_machine(machine)  # type: ignore[misc]
            for index, (_, count) in enumerate(machine.gic.config.regions):
                yield f"redist-region-count[{index}]", "uint32", lambda count=count: count  # type: ignore[misc]
            for pe in range(machine.max_cpus):
                yield f"gicc-accessible[{pe}]", "bool", lambda pe=pe: machine.gic.is_accessible(pe)  # type: ignore[misc]
            return
        try:
            cpu = machine.find_cpu(normal, disabled=True)
        except DeviceNotFoundError:
            raise QmpError(f"Device '{path}' not found", "DeviceNotFound") from None
        yield "type", "string", lambda: machine.cpu_type
        for name, (kind, of_cpu) in _CPU.items():
            yield name, kind, lambda of_cpu=of_cpu: of_cpu(cpu)  # type: ignore[misc]
