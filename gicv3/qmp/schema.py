"""The commands and events of the server and the types they use, in QAPI's notation; introspection and checks follow.

`"*name"` is an optional member, `["T"]` an array of T. Names and shapes are those of QEMU 7.2; `device_set` is
ours, after RFC V6, which has no released form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gicv3.qmp.errors import QmpError

_Type = str | list[str]

ENUMS: Mapping[str, tuple[str, ...]] = {
    "ACPISlotType": ("DIMM", "CPU"),
    "AdminState": ("enable", "disable"),
    "QMPCapability": (),
    "RunState": ("paused", "running", "shutdown"),
    "SchemaMetaType": ("builtin", "enum", "array", "object", "alternate", "command", "event"),
    "ShutdownCause": ("host-qmp-quit", "host-qmp-system-reset", "guest-shutdown", "guest-reset", "subsystem-reset"),
    "SysEmuTarget": ("aarch64",),
}

OBJECTS: Mapping[str, Mapping[str, _Type]] = {
    "ACPIOSTInfo": {"*device": "str", "slot": "str", "slot-type": "ACPISlotType", "source": "int", "status": "int"},
    "CommandInfo": {"name": "str"},
    "CpuInfoFast": {
        "cpu-index": "int",
        "qom-path": "str",
        "thread-id": "int",
        "*props": "CpuInstanceProperties",
        "target": "SysEmuTarget",
    },
    "CpuInstanceProperties": {
        "*node-id": "int",
        "*socket-id": "int",
        "*die-id": "int",
        "*cluster-id": "int",
        "*core-id": "int",
        "*thread-id": "int",
    },
    "CurrentMachineParams": {"wakeup-suspend-support": "bool"},
    "HotpluggableCPU": {
        "type": "str",
        "vcpus-count": "int",
        "props": "CpuInstanceProperties",
        "*qom-path": "str",
    },
    "KvmInfo": {"enabled": "bool", "present": "bool"},
    "MachineInfo": {
        "name": "str",
        "*alias": "str",
        "*is-default": "bool",
        "cpu-max": "int",
        "hotpluggable-cpus": "bool",
        "numa-mem-supported": "bool",
        "deprecated": "bool",
        "*default-cpu-type": "str",
        "*default-ram-id": "str",
    },
    "NameInfo": {"*name": "str"},
    "ObjectPropertyInfo": {"name": "str", "type": "str", "*description": "str", "*default-value": "any"},
    "SchemaInfo": {"name": "str", "meta-type": "SchemaMetaType", "*features": ["str"]},
    "StatusInfo": {"running": "bool", "singlestep": "bool", "status": "RunState"},
    "TargetInfo": {"arch": "SysEmuTarget"},
    "VersionInfo": {"qemu": "VersionTriple", "package": "str"},
    "VersionTriple": {"major": "int", "minor": "int", "micro": "int"},
}

_PATH = {"path": "str"}

COMMANDS: Mapping[str, tuple[Mapping[str, _Type], _Type | None]] = {
    "cont": ({}, None),
    "device_add": ({"driver": "str", "*bus": "str", "*id": "str"}, None),
    "device_del": ({"id": "str"}, None),
    "device_set": ({"id": "str", "admin-state": "AdminState"}, None),
    "qmp_capabilities": ({"*enable": ["QMPCapability"]}, None),
    "qom-get": ({**_PATH, "property": "str"}, "any"),
    "qom-list": (_PATH, ["ObjectPropertyInfo"]),
    "query-acpi-ospm-status": ({}, ["ACPIOSTInfo"]),
    "query-commands": ({}, ["CommandInfo"]),
    "query-cpus-fast": ({}, ["CpuInfoFast"]),
    "query-current-machine": ({}, "CurrentMachineParams"),
    "query-hotpluggable-cpus": ({}, ["HotpluggableCPU"]),
    "query-kvm": ({}, "KvmInfo"),
    "query-machines": ({}, ["MachineInfo"]),
    "query-name": ({}, "NameInfo"),
    "query-qmp-schema": ({}, ["SchemaInfo"]),
    "query-status": ({}, "StatusInfo"),
    "query-target": ({}, "TargetInfo"),
    "query-version": ({}, "VersionInfo"),
    "quit": ({}, None),
    "stop": ({}, None),
    "system_reset": ({}, None),
}

OPEN_ENDED = frozenset({"device_add"})
"""Commands that take members beyond those of the schema: the properties of a device."""

EVENTS: Mapping[str, Mapping[str, _Type]] = {
    "ACPI_DEVICE_OST": {"info": "ACPIOSTInfo"},
    "DEVICE_DELETED": {"*device": "str", **_PATH},
    "DEVICE_UNPLUG_GUEST_ERROR": {"*device": "str", **_PATH},
    "RESET": {"guest": "bool", "reason": "ShutdownCause"},
    "RESUME": {},
    "SHUTDOWN": {"guest": "bool", "reason": "ShutdownCause"},
    "STOP": {},
}

_BUILTINS = {"str": "string", "int": "int", "bool": "boolean", "any": "value"}
_PYTHON: Mapping[str, tuple[type, str]] = {"str": (str, "string"), "int": (int, "integer"), "bool": (bool, "boolean")}


def check_arguments(command: str, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a command in the order of its schema, as QEMU does. Raises: QmpError."""
    members = COMMANDS[command][0]
    for member, kind in members.items():
        name = member.removeprefix("*")
        if name in arguments:
            _check_value(name, kind, arguments[name])
        elif name == member:
            raise QmpError(f"Parameter '{name}' is missing")
    for name in arguments:
        if name not in members and f"*{name}" not in members and command not in OPEN_ENDED:
            raise QmpError(f"Parameter '{name}' is unexpected")


def _check_value(name: str, kind: _Type, value: object) -> None:
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise QmpError(f"Invalid parameter type for '{name}', expected: array")
        for item in value:
            _check_value(name, kind[0], item)
        return
    python, expected = _PYTHON.get(kind, (str, "string"))
    if not isinstance(value, python) or (python is int and isinstance(value, bool)):
        raise QmpError(f"Invalid parameter type for '{name}', expected: {expected}")
    if kind in ENUMS and value not in ENUMS[kind]:
        raise QmpError(f"Parameter '{name}' does not accept value '{value}'")


def introspect() -> list[dict[str, Any]]:
    """What query-qmp-schema returns: a SchemaInfo of every command, event and type."""
    schema: list[dict[str, Any]] = []
    arrays: set[str] = set()

    def name_of(kind: _Type) -> str:
        if isinstance(kind, str):
            return kind
        array = f"[{kind[0]}]"
        if array not in arrays:
            arrays.add(array)
            schema.append({"name": array, "meta-type": "array", "element-type": kind[0]})
        return array

    def add_object(name: str, members: Mapping[str, _Type]) -> str:
        listed = []
        for member, kind in members.items():
            entry: dict[str, Any] = {"name": member.removeprefix("*"), "type": name_of(kind)}
            if member.startswith("*"):
                entry["default"] = None
            listed.append(entry)
        schema.append({"name": name, "meta-type": "object", "members": listed})
        return name

    def argument(name: str, members: Mapping[str, _Type]) -> str:
        return add_object(f"q_obj_{name}-arg", members) if members else "q_empty"

    add_object("q_empty", {})
    for name, (members, returned) in COMMANDS.items():
        schema.append({
            "name": name,
            "meta-type": "command",
            "arg-type": argument(name, members),
            "ret-type": "q_empty" if returned is None else name_of(returned),
        })  # fmt: skip
    for name, members in EVENTS.items():
        schema.append({"name": name, "meta-type": "event", "arg-type": argument(name, members)})
    for name, members in OBJECTS.items():
        add_object(name, members)
    for name, values in ENUMS.items():
        listed = [{"name": value} for value in values]
        schema.append({"name": name, "meta-type": "enum", "members": listed, "values": list(values)})
    schema += [{"name": name, "meta-type": "builtin", "json-type": json} for name, json in _BUILTINS.items()]
    return schema
