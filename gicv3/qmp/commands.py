"""What each command does to the machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gicv3.drivers import check_driver, is_identifier
from gicv3.errors import GicError
from gicv3.hotplug import DeviceNotFoundError
from gicv3.qmp.errors import QmpError
from gicv3.qmp.qom import MACHINE_TYPE, ObjectTree
from gicv3.qmp.schema import COMMANDS, check_arguments, introspect
from gicv3.topology import CpuProps, parse_number

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine

log = logging.getLogger(__name__)

QEMU_VERSION = {"major": 7, "minor": 2, "micro": 0}
"""The QEMU whose commands, shapes and texts these are."""

_IDS = {"socket-id": "socket_id", "cluster-id": "cluster_id", "core-id": "core_id", "thread-id": "thread_id"}
_PROPERTIES = {"node-id": "node_id", "mp-affinity": "mp_affinity", "pmu": "pmu"}
_SWITCH = {"on": True, "off": False}


class Commands:
    """Carries out commands on a machine.

    Parameters: `machine`; `package`, what query-version tells of this program; `on_quit`, called by `quit`.
    Thread-safety: as the machine's.
    """

    def __init__(self, machine: VirtMachine, package: str, on_quit: Callable[[], object]) -> None:
        self._machine = machine
        self._package = package
        self._on_quit = on_quit
        self._tree = ObjectTree(machine)
        self._schema: list[dict[str, Any]] | None = None

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run one command. Returns: what its reply returns. Raises: QmpError."""
        if name not in COMMANDS:
            raise QmpError(f"The command {name} has not been found", "CommandNotFound")
        if name == "device_add":
            # Its arguments are options of a device: scalars of any type, null for none.
            arguments = {key: _option(key, value) for key, value in arguments.items() if value is not None}
            if not is_identifier(arguments.get("id", "none")):
                raise QmpError("Parameter 'id' expects an identifier")
        check_arguments(name, arguments)
        try:
            result = _COMMANDS[name](self, arguments)
        except DeviceNotFoundError as error:
            raise QmpError(str(error), "DeviceNotFound") from error
        except GicError as error:
            raise QmpError(str(error)) from error
        except QmpError:
            raise
        except Exception as error:
            # Of a listener or an engine; the client must have its answer, and the log the traceback.
            log.exception("%s failed", name)
            raise QmpError(f"{name} failed: {type(error).__name__}: {error}") from error
        return {} if result is None else result

    def _device_add(self, arguments: Mapping[str, Any]) -> None:
        driver: str = arguments["driver"]
        check_driver(driver)
        if "bus" in arguments:
            raise QmpError(f"Bus '{arguments['bus']}' not found")
        properties: dict[str, Any] = {}
        for name, value in arguments.items():
            if name in _IDS:
                properties[_IDS[name]] = value
            elif name in _PROPERTIES:
                given = _SWITCH.get(value, value) if name == "pmu" else parse_number(name, value)
                properties[_PROPERTIES[name]] = given
            elif name not in ("driver", "id"):
                if "_" in name:  # the machine's names have it where QEMU's have a dash
                    raise QmpError(f"Property '{driver}.{name}' not found")
                properties[name] = value
        self._machine.device_add(driver, id=arguments.get("id"), **properties)

    def _device_del(self, arguments: Mapping[str, Any]) -> None:
        name = arguments["id"]
        try:
            self._machine.device_del(name)
        except DeviceNotFoundError:
            if name.startswith("/") and self._tree.has(name):
                raise QmpError(f"{name} is not a hotpluggable device") from None
            raise

    def _device_set(self, arguments: Mapping[str, Any]) -> None:
        self._machine.device_set(arguments["id"], arguments["admin-state"] == "enable")

    def _qom_list(self, arguments: Mapping[str, Any]) -> list[dict[str, str]]:
        return self._tree.list(arguments["path"])

    def _qom_get(self, arguments: Mapping[str, Any]) -> Any:
        return self._tree.get(arguments["path"], arguments["property"])

    def _query_hotpluggable_cpus(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        machine = self._machine
        if not machine.has_hotpluggable_cpus:
            raise QmpError("machine does not support hot-plugging CPUs")
        slots = []
        for slot in reversed(machine.possible_cpus):
            entry = {"type": slot.type, "vcpus-count": slot.vcpus_count, "props": _props(slot.props)}
            if slot.cpu is not None:
                entry["qom-path"] = slot.cpu.qom_path
            slots.append(entry)
        return slots

    def _query_cpus_fast(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        # All vCPUs share the thread that runs the machine.
        thread = os.getpid()
        return [
            {
                "cpu-index": cpu.cpu_index,
                "qom-path": cpu.qom_path,
                "thread-id": thread,
                "props": _props(cpu.props),
                "target": "aarch64",
            }
            for cpu in self._machine.cpus.values()
        ]

    def _query_acpi_ospm_status(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        device = self._machine.acpi_device
        if device is None:
            raise QmpError("command is not supported, missing ACPI device")
        return [ost_info(*status) for status in device.ospm_status()]

    def _query_machines(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        machine = self._machine
        return [
            {
                "name": MACHINE_TYPE.removesuffix("-machine"),
                "is-default": True,
                "cpu-max": machine.max_cpus,
                "hotpluggable-cpus": machine.has_hotpluggable_cpus,
                "numa-mem-supported": False,
                "deprecated": False,
                "default-cpu-type": machine.cpu_type,
            }
        ]

    def _query_status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine
        return {"running": machine.running, "singlestep": False, "status": machine.run_state.value}

    def _query_qmp_schema(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._schema is None:
            self._schema = introspect()
        return self._schema

    def _query_version(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"qemu": QEMU_VERSION, "package": self._package}

    def _cont(self, _: Mapping[str, Any]) -> None:
        self._machine.cont()

    def _quit(self, _: Mapping[str, Any]) -> None:
        self._on_quit()

    def _stop(self, _: Mapping[str, Any]) -> None:
        self._machine.stop()

    def _system_reset(self, _: Mapping[str, Any]) -> None:
        self._machine.reset()


_COMMANDS: Mapping[str, Callable[[Commands, Mapping[str, Any]], Any]] = {
    "cont": Commands._cont,
    "device_add": Commands._device_add,
    "device_del": Commands._device_del,
    "device_set": Commands._device_set,
    "qom-get": Commands._qom_get,
    "qom-list": Commands._qom_list,
    "query-acpi-ospm-status": Commands._query_acpi_ospm_status,
    "query-commands": lambda self, _: [{"name": name} for name in COMMANDS],
    "query-cpus-fast": Commands._query_cpus_fast,
    "query-current-machine": lambda self, _: {"wakeup-suspend-support": False},
    "query-hotpluggable-cpus": Commands._query_hotpluggable_cpus,
    "query-kvm": lambda self, _: {"enabled": False, "present": False},
    "query-machines": Commands._query_machines,
    "query-name": lambda self, _: {},
    "query-qmp-schema": Commands._query_qmp_schema,
    "query-status": Commands._query_status,
    "query-target": lambda self, _: {"arch": "aarch64"},
    "query-version": Commands._query_version,
    "quit": Commands._quit,
    "stop": Commands._stop,
    "system_reset": Commands._system_reset,
}


def ost_info(device: str | None, slot: int, source: int, status: int) -> dict[str, Any]:
    """An ACPIOSTInfo."""
    info: dict[str, Any] = {"slot": str(slot), "slot-type": "CPU", "source": source, "status": status}
    if device is not None:
        info["device"] = device
    return info


def _props(props: CpuProps) -> dict[str, int]:
    return {name: getattr(props, field) for name, field in _IDS.items()}


def _option(name: str, value: object) -> str:
    """The text of an option. Raises: QmpError for an object or array."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    raise QmpError(f"Parameter '{name}' expects a number, string or boolean")
