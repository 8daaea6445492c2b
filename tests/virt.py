"""Helpers of the machine's tests: fingerprints of a whole machine, and a guest's shortest way to take interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gicv3.errors import HotplugError
from gicv3.machine import VirtMachine
from gicv3.vcpu import Vcpu

ALL = 0xFFFF_FFFF


def fingerprint(machine: VirtMachine) -> tuple[Any, ...]:
    """All state of a machine, comparable: the GIC's, and the machine's own."""
    cpus = tuple(
        (
            index,
            id(cpu),
            cpu.id,
            cpu.anonymous,
            cpu.power_state,
            cpu.wired,
            cpu.outputs,
            cpu.unplug_requested,
            cpu.gicv3state is not None,
            cpu.sysregs is not None,
            cpu.timer.cntvoff,
            cpu.lines,
        )
        for index, cpu in machine.cpus.items()
    )
    interfaces = tuple(
        (machine.gic.is_accessible(pe), id(machine.gic.cpu(pe)), int(machine.gic.lines[pe]))
        for pe in range(machine.max_cpus)
    )
    names = tuple((name, cpu.cpu_index) for name, cpu in machine._devices.items())
    return (
        machine.gic.state_digest(),
        machine.gic.statistics()["dropped"].tobytes(),
        interfaces,
        cpus,
        names,
        machine._anonymous,
        machine.boot_cpus,
        len(machine.timers),
        machine.timers.next_deadline(),
        tuple(machine.cpuhp_notifiers),
        _acpi(machine),
    )


def _acpi(machine: VirtMachine) -> object:
    device = machine.acpi_device
    if device is None:
        return None
    return device.saved()


def plug(machine: VirtMachine, core: int, name: str | None = None) -> Vcpu:
    return machine.device_add(id=name or f"cpu{core}", core_id=core)


def unplug(machine: VirtMachine, name: str) -> None:
    machine.device_del(name)
    machine.complete_unplug(name)


def enable_distributor(machine: VirtMachine) -> None:
    machine.gic.dist["GICD_CTLR"] = 0x12


def wake(machine: VirtMachine, pe: int) -> None:
    """What a guest does on a PE: wake its redistributor, enable all its private interrupts, open the interface."""
    redist = machine.gic.redist[pe]
    redist["GICR_WAKER"] = 0
    redist["GICR_IGROUPR0"] = ALL
    redist["GICR_ISENABLER0"] = ALL
    machine.gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
    machine.gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1


def take(machine: VirtMachine, pe: int) -> int:
    """Acknowledge and end one interrupt; returns its INTID, 1023 for none."""
    view = machine.gic.pe[pe]
    intid: int = view["ICC_IAR1_EL1"]
    if intid < 1020:
        view["ICC_EOIR1_EL1"] = intid
    return intid


def refuse(
    machine: VirtMachine, call: Callable[[], object], text: str, error: type[HotplugError] = HotplugError
) -> None:
    """Check that `call` is refused with exactly this text, and that nothing at all changed."""
    before = fingerprint(machine)
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text
    assert fingerprint(machine) == before
