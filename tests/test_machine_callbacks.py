"""Callbacks that raise: what was under way is finished first, then all that was raised is raised."""

import pytest
from virt import ALL, fingerprint, plug, wake

from gicv3 import Line
from gicv3.errors import ConfigError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.timer import TimerReg
from gicv3.vcpu import CpuPpi, PowerState


class Boom(Exception):
    pass


def fail(*_):
    raise Boom


def leaves(error):
    """The exceptions of which a group, perhaps of groups, consists."""
    if isinstance(error, ExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def busy(cpu, first=CpuPpi.TIMER_VIRT):
    """Raise two outputs of a vCPU: `first` gives an FIQ, and when it falls the other one is left with an IRQ."""
    gic, index = cpu.machine.gic, cpu.cpu_index
    gic.dist["GICD_CTLR"] = 0x13
    wake(cpu.machine, index)
    gic.redist[index]["GICR_IGROUPR0"] = ALL & ~(1 << first)
    gic.redist[index]["GICR_IPRIORITYR", 5] = gic.redist[index]["GICR_IPRIORITYR", 6] = 0x8080_8080
    gic.redist[index]["GICR_IPRIORITYR", first // 4] = 0x8080_8080 & ~(0xFF << first % 4 * 8)
    gic.pe[index]["ICC_IGRPEN0_EL1"] = 1
    cpu.set_output(CpuPpi.PMU, True)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, now=0)
    assert cpu.lines == Line.FIQ


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8)


def test_a_machine_is_reset_to_the_end(machine):
    plug(machine, 5)
    before = machine.gic.state_digest()
    for index in (1, 5):
        machine.power_on(machine.cpus[index], 0x4000_0000)
        busy(machine.cpus[index])
        machine.cpus[index].set_context(nmi_enabled=True)
    machine.on_cpu_line = machine.on_system_reset = fail
    with pytest.raises(ExceptionGroup) as caught:
        machine.reset()
    assert {type(error) for error in leaves(caught.value)} == {Boom}
    assert machine.gic.state_digest() == before
    assert [cpu.power_state.name for cpu in machine.cpus.values()] == ["ON", "OFF", "OFF"]
    assert not any(cpu.outputs or cpu.context.nmi_enabled for cpu in machine.cpus.values())
    assert machine.timers.next_deadline() is None
    machine.check()


def test_a_vcpu_is_reset_to_the_end(machine):
    cpu = machine.cpus[1]
    busy(cpu)
    machine.on_cpu_line = fail
    with pytest.raises(ExceptionGroup) as caught:
        cpu.reset()
    assert {type(error) for error in leaves(caught.value)} == {Boom}
    assert cpu.outputs == cpu.lines == 0
    assert machine.gic.pe[1]["ICC_PMR_EL1"] == 0


def test_a_vcpu_is_powered_on_though_a_line_callback_raises_in_its_reset(machine):
    cpu = machine.cpus[1]
    busy(cpu)
    machine.on_cpu_line = fail
    with pytest.raises(ExceptionGroup):
        machine.power_on(cpu, 0x4000_0000, 7)
    assert cpu.power_state is PowerState.ON
    assert (cpu.context.pc, cpu.context.x0, cpu.lines) == (0x4000_0000, 7, 0)


def test_all_that_callbacks_raise_in_a_power_on_is_raised_and_on_power_refuses_it(machine):
    cpu = machine.cpus[1]
    busy(cpu)
    machine.on_cpu_line = fail

    def refuse(*_):
        raise ConfigError("no engine")

    machine.on_power = refuse
    with pytest.raises(ExceptionGroup) as caught:
        machine.power_on(cpu, 0x4000_0000)
    assert {type(error) for error in leaves(caught.value)} == {Boom, ConfigError}
    assert cpu.power_state is PowerState.OFF


def test_a_vcpu_is_off_though_on_power_raises(machine):
    machine.power_on(machine.cpus[1], 0x4000_0000)
    machine.on_power = fail
    with pytest.raises(Boom):
        machine.power_off(machine.cpus[1])
    assert machine.cpus[1].power_state is PowerState.OFF


def test_all_wires_are_cut_and_connected(machine):
    cpu = plug(machine, 5)
    busy(cpu, CpuPpi.PMU)
    before = fingerprint(machine)
    machine.gic.on_line = fail
    with pytest.raises(ExceptionGroup):
        machine.unwire_gic_cpu_irqs(cpu)
    assert not any(machine.gic.ppi_line(5, output) for output in CpuPpi)
    with pytest.raises(Boom):
        machine.wire_gic_cpu_irqs(cpu)
    assert fingerprint(machine) == before


def test_a_context_is_recorded_where_the_gic_has_it():
    machine = VirtMachine(cpus=1, max_cpus=2, nmi=True)
    cpu = machine.cpus[0]
    busy(cpu, CpuPpi.PMU)
    machine.gic.redist[0]["GICR_INMIR0"] = 1 << CpuPpi.TIMER_VIRT
    machine.on_cpu_line = fail
    with pytest.raises((Boom, ExceptionGroup)):
        cpu.set_context(nmi_enabled=True)
    assert cpu.lines == Line.NMI
    assert cpu.context.nmi_enabled


def test_a_refused_unplug_is_taken_back_to_the_end(machine):
    """Here even the GIC's own callback raises, each time it is told of a line."""
    busy(plug(machine, 5), CpuPpi.PMU)
    machine.device_del("cpu5")
    machine.cpuhp_notifiers.add(Notifier(fail))
    before = fingerprint(machine)
    machine.gic.on_line = fail
    with pytest.raises(ExceptionGroup) as caught:
        machine.complete_unplug("cpu5")
    assert {type(error) for error in leaves(caught.value)} == {Boom}
    assert fingerprint(machine) == before
    machine.check()
