"""Saved states of a machine: its GIC's snapshot, and what the machine itself knows. docs/snapshots.md tells of both."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gicv3._core import rewind_untold, tell_changes
from gicv3.drivers import is_identifier
from gicv3.errors import ConfigError, GicError, SnapshotError
from gicv3.hotplug import MAX_DEVICES
from gicv3.policy import MAX_TIMEOUT
from gicv3.run_state import RunState
from gicv3.snapshot import Source, canonical, differences, machine_fields, pack_machine, prepare, unpack
from gicv3.timer import Timer
from gicv3.topology import Topology
from gicv3.vcpu import CpuPpi, PowerState

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine
    from gicv3.vcpu import Vcpu

_U64 = (1 << 64) - 1
_OUTPUTS = sum(1 << output for output in CpuPpi)
_NAME = {"slot", "id", "anonymous", "hotplugged"}
_CPU = _NAME | {"power", "unplug_requested", "outputs", "context", "timer"}
_CONTEXT = {"pc", "x0", "el", "secure", "scr_el3", "hcr_el2", "ich_hcr_el2", "nmi_enabled"}
_TIMER = {"cntvoff", "ctl", "cval", "levels"}
_ACPI = {"events", "selector", "command", "inserting", "removing", "firmware", "ost"}
_MACHINE = {"arguments", "run_state", "anonymous", "cpus", "deadlines", "requests", "acpi"}


# --- checks of what a file says


def _wrong(name: str, value: object) -> SnapshotError:
    return SnapshotError(f"machine.{name} is none that a machine can have: {value!r:.80}")


def _number(name: str, value: object, limit: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= limit:
        raise _wrong(name, value)
    return value


def _object(name: str, value: object, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise _wrong(name, value)
    return value


def _list(name: str, value: object, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise _wrong(name, value)
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value)
    return value


def _check_cpu(name: str, cpu: object, slots: int) -> None:
    saved = _object(name, cpu, _CPU)
    _number(f"{name}.slot", saved["slot"], slots - 1)
    _number(f"{name}.anonymous", saved["anonymous"], MAX_DEVICES - 1, -1)
    _number(f"{name}.power", saved["power"], max(PowerState))
    id = saved["id"]
    if id is not None and (not isinstance(id, str) or not is_identifier(id) or saved["anonymous"] != -1):
        raise _wrong(f"{name}.id", id)
    for flag in ("hotplugged", "unplug_requested"):
        _flag(f"{name}.{flag}", saved[flag])
    if _number(f"{name}.outputs", saved["outputs"], _OUTPUTS) & ~_OUTPUTS:
        raise _wrong(f"{name}.outputs", saved["outputs"])
    if saved["context"] is not None:
        context = _object(f"{name}.context", saved["context"], _CONTEXT)
        for key, value in context.items():
            if key in ("secure", "nmi_enabled"):
                _flag(f"{name}.context.{key}", value)
            elif value is not None or key not in ("scr_el3", "hcr_el2"):
                _number(f"{name}.context.{key}", value, 3 if key == "el" else _U64)
    if saved["timer"] is not None:
        timer = _object(f"{name}.timer", saved["timer"], _TIMER)
        _number(f"{name}.timer.cntvoff", timer["cntvoff"], _U64)
        _number(f"{name}.timer.levels", timer["levels"], (1 << len(Timer)) - 1)
        for key, limit in (("ctl", 3), ("cval", _U64)):
            for value in _list(f"{name}.timer.{key}", timer[key], len(Timer)):
                _number(f"{name}.timer.{key}", value, limit)


def _check(saved: Any, slots: int) -> dict[str, Any]:
    """A machine's text, every value of which is one that a machine of so many slots can have."""
    state = _object("state", saved, _MACHINE)
    if state["run_state"] not in [run_state.value for run_state in RunState]:
        raise _wrong("run_state", state["run_state"])
    cpus = _list("cpus", state["cpus"])
    for number, cpu in enumerate(cpus):
        _check_cpu(f"cpus[{number}]", cpu, slots)
    places = {cpu["slot"]: cpu for cpu in cpus}
    names = [cpu["id"] or cpu["anonymous"] for cpu in cpus if cpu["id"] or cpu["anonymous"] >= 0]
    if len(places) != len(cpus) or len(set(names)) != len(names) or 0 not in places:
        raise _wrong("cpus", "a slot or a name twice, or slot 0 empty")
    _number("anonymous", state["anonymous"], MAX_DEVICES, 1 + max(cpu["anonymous"] for cpu in cpus))
    for deadline in _list("deadlines", state["deadlines"]):
        when, slot, timer = _list("deadlines", deadline, 3)
        _number("deadlines", when, _U64)
        if _number("deadlines", slot, slots - 1) not in places or places[slot]["timer"] is None:
            raise _wrong("deadlines", deadline)
        _number("deadlines", timer, max(Timer))
    if len({(slot, timer) for _, slot, timer in state["deadlines"]}) != len(state["deadlines"]):
        raise _wrong("deadlines", "one timer twice")
    for request in _list("requests", state["requests"]):
        slot, left = _list("requests", request, 2)
        if type(left) not in (int, float) or not -MAX_TIMEOUT <= left <= MAX_TIMEOUT:
            raise _wrong("requests", request)
        if _number("requests", slot, slots - 1) not in places:
            raise _wrong("requests", request)
    if state["acpi"] is not None:
        _check_acpi(state["acpi"], slots)
    return state


def _check_acpi(saved: object, slots: int) -> None:
    acpi = _object("acpi", saved, _ACPI)
    for key in ("events", "selector", "command"):
        _number(f"acpi.{key}", acpi[key], 3 if key == "command" else 0xFFFF_FFFF)
    for key in ("inserting", "removing", "firmware"):
        for slot in _list(f"acpi.{key}", acpi[key]):
            _number(f"acpi.{key}", slot, slots - 1)
    for report in _list("acpi.ost", acpi["ost"]):
        for value, limit in zip(_list("acpi.ost", report, 3), (slots - 1, 0xFFFF_FFFF, 0xFFFF_FFFF)):
            _number("acpi.ost", value, limit)


# --- save


def save_machine(machine: VirtMachine) -> bytes:
    """The bytes of `VirtMachine.save`."""
    now = machine.policy.clock() if machine._requests else 0.0
    state = {
        "arguments": dict(machine.arguments),
        "run_state": machine.run_state.value,
        "anonymous": machine._anonymous,
        "cpus": [cpu.saved() for cpu in machine.cpus.values()],
        # One that is gone or disabled may have timers, but not a place in the file.
        "deadlines": [
            [when, cpu.cpu_index, int(timer)] for when, cpu, timer in machine.timers.deadlines() if cpu.enabled
        ],
        "requests": [[cpu.cpu_index, deadline - now] for cpu, deadline in machine._requests.items()],
        "acpi": None if machine.acpi_device is None else machine.acpi_device.saved(),
    }
    return pack_machine(state, machine.gic.save())


def _arguments(saved: Any) -> dict[str, Any]:
    """The arguments of the saved machine; what an older file does not name is as it was then."""
    arguments = _object("state", saved, _MACHINE)["arguments"]
    if not isinstance(arguments, dict):
        raise _wrong("arguments", arguments)
    return {"its": False, **arguments}


# --- load


def load_machine(machine: VirtMachine, source: Source) -> None:
    """What `VirtMachine.load` does."""
    saved, gic = machine_fields(unpack(source))
    arguments = _arguments(saved)
    wrong = differences(arguments, json.loads(canonical(dict(machine.arguments))))
    if wrong:
        raise SnapshotError(f"the snapshot is of another machine: {'; '.join(wrong)}")
    state = _check(saved, machine.max_cpus)
    _match(machine, state)
    _bring_back(machine, state, gic)


def _match(machine: VirtMachine, state: Mapping[str, Any]) -> None:
    """The same vCPUs must be plugged, by the same names."""
    theirs = {cpu["slot"]: {key: cpu[key] for key in _NAME} for cpu in state["cpus"]}
    ours = {cpu.cpu_index: {key: cpu.saved()[key] for key in _NAME} for cpu in machine.cpus.values()}
    for slot in sorted(theirs.keys() | ours.keys()):
        if (slot in theirs) != (slot in ours):
            raise SnapshotError(f"cpu {slot} is {'plugged' if slot in theirs else 'absent'} in the snapshot, "
                                f"{'plugged' if slot in ours else 'absent'} here")
        if theirs[slot] != ours[slot]:
            raise SnapshotError(f"cpu {slot}: {'; '.join(differences(theirs[slot], ours[slot]))}")
    if (state["acpi"] is None) != (machine.acpi_device is None):
        raise _wrong("acpi", state["acpi"])


def _bring_back(machine: VirtMachine, state: Mapping[str, Any], gic: bytes) -> None:
    """Put everything in place: first what can fail, last the callbacks, which find all of it there."""
    now = machine.policy.clock() if state["requests"] else 0.0
    rewind_untold(machine.gic, prepare(machine.gic, gic))
    _apply(machine, state, now)
    tell_changes(machine.gic)


def _apply(machine: VirtMachine, state: Mapping[str, Any], now: float) -> None:
    """Put the machine's own state in place; it was checked."""
    cpus: dict[int, Vcpu] = dict(machine.cpus)
    machine._cpus.clear()
    machine.timers.forget()
    for saved in state["cpus"]:
        cpu = machine._cpus[saved["slot"]] = cpus[saved["slot"]]
        cpu.bring_back(saved)
    machine.timers.expect([(when, cpus[slot].timer, Timer(timer)) for when, slot, timer in state["deadlines"]])
    machine._requests.clear()
    machine._requests.update({cpus[slot]: now + left for slot, left in state["requests"]})
    machine._anonymous = state["anonymous"]
    machine.run_state = RunState(state["run_state"])
    if machine.acpi_device is not None:
        machine.acpi_device.bring_back(state["acpi"])


# --- restore


def restore_machine(kind: type[VirtMachine], source: Source, **more: Any) -> VirtMachine:
    """What `VirtMachine.restore` gives."""
    saved, gic = machine_fields(unpack(source))
    arguments = _arguments(saved)
    for name in ("highmem_redists", "acpi", "hotplug", "virtualization", "pmu", "its"):
        _flag(f"arguments.{name}", arguments.get(name))
    try:
        plain = {**arguments, "topology": Topology(**arguments["topology"])}
        options = plain.pop("gic_options")
        with warnings.catch_warnings():          # whoever made the saved one has been warned
            warnings.simplefilter("ignore", RuntimeWarning)
            machine = kind(**plain, **options, **more)
        same = canonical(dict(machine.arguments)) == canonical(arguments)
    except (ConfigError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise SnapshotError(f"machine.arguments are none that a machine can have: {error}") from None
    if not same:
        raise _wrong("arguments", arguments)
    state = _check(saved, machine.max_cpus)
    try:
        _plug(machine, state)
    except GicError as error:
        raise SnapshotError(f"the vCPUs of the snapshot cannot be plugged: {error}") from None
    _match(machine, state)
    _bring_back(machine, state, gic)
    return machine


def _plug(machine: VirtMachine, state: Mapping[str, Any]) -> None:
    """Make the plugged set that of the snapshot; nobody listens to a machine that is just made."""
    wanted = {saved["slot"]: saved for saved in state["cpus"]}
    for slot, cpu in list(machine.cpus.items()):
        if slot not in wanted or any(cpu.saved()[key] != wanted[slot][key] for key in _NAME):
            machine.unwire_gic_cpu_irqs(cpu)
            machine.update_gic(cpu, False)
            machine._forget(cpu)
    for slot, saved in wanted.items():
        if slot not in machine.cpus:
            machine._plug_all(machine._new_cpu(slot, saved["id"], saved["hotplugged"], saved["anonymous"]))

