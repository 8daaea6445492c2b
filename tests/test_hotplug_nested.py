"""What happens to a vCPU while it comes or goes, or when it is gone: nothing of it outlives that."""

import pytest
from virt import fingerprint, plug

from gicv3.errors import HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugStage
from gicv3.policy import HotplugPolicy
from gicv3.psci import PsciFunction, PsciResult
from gicv3.timer import TimerReg
from gicv3.vcpu import PowerState

ENTRY = 0x4020_0000
BUSY = "cpu 3 is being plugged or unplugged"


def machine_with(**policy):
    return VirtMachine(cpus=2, max_cpus=4, policy=HotplugPolicy(**policy))


def at(machine, stage, action):
    """Let `action` happen to the vCPU of an event of `stage`; whatever it raises refuses the event."""
    notifier = Notifier(lambda event: None if event.undo or event.stage is not stage else action(event.cpu))
    machine.hotplug_events.add(notifier)
    return notifier


def arm(cpu):
    cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 1234, 0)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)


def ask(machine, cpu):
    if machine.policy.admin_state:
        machine.device_set(cpu.qom_path, False)
    else:
        machine.device_del(cpu.id)


@pytest.mark.parametrize("admin_state", [False, True])
def test_a_vcpu_that_is_just_plugged_cannot_be_asked_for(admin_state):
    machine = machine_with(admin_state=admin_state, request_timeout=5.0)
    before = fingerprint(machine)
    asking = at(machine, HotplugStage.PLUG, lambda cpu: ask(machine, cpu))
    with pytest.raises(HotplugError, match=BUSY):
        machine.device_set(machine.vcpu(3).qom_path, True) if admin_state else plug(machine, 3)
    asking.remove()
    assert fingerprint(machine) == before
    assert not machine._requests
    assert not (admin_state and machine.vcpu(3).unplug_requested)
    VirtMachine.restore(machine.save(), policy=machine.policy)


@pytest.mark.parametrize("stage", [HotplugStage.PLUG, HotplugStage.UNPLUG])
@pytest.mark.parametrize("what", ["save", "load", "reset"])
def test_a_machine_is_not_saved_loaded_or_reset_in_the_midst_of_a_plug_or_unplug(what, stage):
    machine = machine_with()
    data = machine.save()
    if stage is HotplugStage.UNPLUG:
        machine.device_del(plug(machine, 3).id)
        data = machine.save()
    calls = {"save": machine.save, "load": lambda: machine.load(data), "reset": machine.reset}
    refused = []

    def try_it(cpu):
        before = fingerprint(machine)
        with pytest.raises(HotplugError, match=f"{what} not allowed while {BUSY}"):
            calls[what]()
        assert fingerprint(machine) == before
        refused.append(cpu)

    at(machine, stage, try_it)
    if stage is HotplugStage.PLUG:
        plug(machine, 3)
    else:
        machine.complete_unplug("cpu3")
    assert len(refused) == 1
    calls["save" if what == "load" else what]()


def test_another_vcpu_can_be_asked_for_meanwhile():
    machine = machine_with()
    other = plug(machine, 2)
    at(machine, HotplugStage.PLUG, lambda cpu: machine.device_del("cpu2"))
    plug(machine, 3)
    assert other.unplug_requested


def test_a_vcpu_that_just_goes_cannot_be_powered_on():
    machine = machine_with()
    cpu = plug(machine, 3)
    machine.device_del("cpu3")
    before = fingerprint(machine)
    starting = at(machine, HotplugStage.UNPLUG, lambda cpu: machine.power_on(cpu, ENTRY))
    with pytest.raises(HotplugError, match=BUSY):
        machine.complete_unplug("cpu3")
    starting.remove()
    assert fingerprint(machine) == before
    assert cpu.power_state is PowerState.OFF


def test_a_vcpu_that_is_just_plugged_cannot_be_powered_on():
    machine = machine_with()
    at(machine, HotplugStage.PLUG, lambda cpu: machine.power_on(cpu, ENTRY))
    with pytest.raises(HotplugError, match=BUSY):
        plug(machine, 3)


def test_psci_denies_a_vcpu_that_just_goes():
    machine = machine_with()
    cpu = plug(machine, 3)
    machine.device_del("cpu3")
    answers = []

    def guest(cpu):
        answers.append(machine.psci.call(machine.cpus[0], PsciFunction.CPU_ON, cpu.mp_affinity, ENTRY))

    at(machine, HotplugStage.UNPLUG, guest)
    machine.complete_unplug("cpu3")
    assert answers == [PsciResult.DENIED]
    assert cpu.power_state is PowerState.OFF


def test_a_vcpu_whose_enabling_was_refused_or_that_is_disabled_is_off():
    machine = machine_with(admin_state=True)
    cpu = machine.vcpu(3)

    def start_and_refuse(cpu):
        cpu.power_state = PowerState.ON
        raise RuntimeError("refused")

    refusing = at(machine, HotplugStage.PLUG, start_and_refuse)
    with pytest.raises(RuntimeError, match="refused"):
        machine.device_set(cpu.qom_path, True)
    refusing.remove()
    assert cpu.power_state is PowerState.OFF
    machine.device_set(cpu.qom_path, True)
    machine.device_set(cpu.qom_path, False)

    def start(cpu):
        cpu.power_state = PowerState.ON

    at(machine, HotplugStage.UNPLUG, start)
    machine.complete_unplug(cpu.qom_path)
    assert cpu.power_state is PowerState.OFF


@pytest.mark.parametrize("admin_state", [False, True])
def test_a_timer_armed_on_a_vcpu_that_is_not_there_is_not_saved(admin_state):
    machine = machine_with(admin_state=admin_state)
    if admin_state:
        cpu = machine.vcpu(3)
    else:
        cpu = plug(machine, 3)
        machine.device_del("cpu3")
        machine.complete_unplug("cpu3")
    arm(machine.cpus[1])
    arm(cpu)
    again = VirtMachine.restore(machine.save(), policy=machine.policy)
    assert [(when, cpu.cpu_index) for when, cpu, _ in again.timers.deadlines()] == [(1234, 1)]
