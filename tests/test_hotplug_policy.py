"""Policies: which vCPUs may go, what becomes of one that runs, how long a request holds, and vCPUs that never go."""

import pytest
from virt import enable_distributor, fingerprint, plug, refuse, take, unplug, wake

from gicv3.errors import ConfigError, HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugStage
from gicv3.policy import HotplugPolicy
from gicv3.psci import PsciFunction, PsciResult
from gicv3.timer import TimerReg
from gicv3.vcpu import CpuPpi, PowerState

ENTRY = 0x4020_0000


def machine_with(**policy):
    return VirtMachine(cpus=2, max_cpus=4, policy=HotplugPolicy(**policy))


def boot(index):
    return f"/machine/unattached/device[{index}]"


class Boom(Exception):
    pass


def stages(machine):
    """A list that stages are noted in as they are told."""
    told = []
    machine.hotplug_events.add(Notifier(lambda event: told.append((event.stage, event.cpu.cpu_index, event.undo))))
    return told


@pytest.mark.parametrize(
    ("field", "value"),
    [("removable", "none"), ("running", "kill"), ("request_timeout", 0), ("request_timeout", -1)],
)
def test_a_choice_that_is_none_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be .* got {value!r}"):
        HotplugPolicy(**{field: value})


def test_all_vcpus_but_the_first_are_removable_where_the_policy_says_so():
    machine = machine_with(removable="all")
    unplug(machine, boot(1))
    machine.check()
    assert set(machine.cpus) == {0}
    assert plug(machine, 1).hotplugged
    refuse(machine, lambda: machine.device_del(boot(0)), "Boot CPU(id0=0:0:0:0) hot-unplug not supported")


def test_the_policy_may_name_the_slots():
    machine = machine_with(removable=frozenset({0, 1, 2}))
    for core in (2, 3):
        plug(machine, core)
    unplug(machine, boot(1))
    unplug(machine, "cpu2")
    refuse(machine, lambda: machine.device_del("cpu3"), "Hot-unplug of CPU of this slot not supported!")
    refuse(machine, lambda: machine.device_del(boot(0)), "Boot CPU(id0=0:0:0:0) hot-unplug not supported")
    assert [machine.is_removable(slot) for slot in range(4)] == [False, True, True, False]


def test_a_running_vcpu_is_stopped_before_it_goes_where_the_policy_says_so():
    machine = machine_with(running="stop")
    cpu = plug(machine, 2)
    order = []
    machine.on_power = lambda cpu, state: order.append((state, cpu.wired))
    told = stages(machine)
    machine.power_on(cpu, ENTRY)
    machine.powered_on(cpu)
    unplug(machine, "cpu2")
    assert order == [(PowerState.ON_PENDING, True), (PowerState.OFF, True)]
    assert [stage for stage, _, _ in told] == [
        HotplugStage.UNPLUG_REQUEST, HotplugStage.UNPLUG, HotplugStage.DELETED
    ]  # fmt: skip
    assert cpu.power_state is PowerState.OFF
    machine.check()


def test_a_vcpu_that_was_stopped_for_an_eject_that_failed_runs_on():
    machine = machine_with(running="stop")
    cpu = plug(machine, 2)
    states = []
    machine.on_power = lambda cpu, state: states.append(state)
    machine.power_on(cpu, ENTRY)
    machine.powered_on(cpu)
    machine.device_del("cpu2")
    before = fingerprint(machine)

    def refuse_once(event):
        if event.stage is HotplugStage.UNPLUG and not event.undo:
            raise Boom

    listener = Notifier(refuse_once)
    machine.hotplug_events.add(listener)
    with pytest.raises(Boom):
        machine.complete_unplug("cpu2")
    assert fingerprint(machine) == before
    assert states == [PowerState.ON_PENDING, PowerState.OFF, PowerState.ON]
    assert cpu.context.pc == ENTRY
    listener.remove()
    machine.complete_unplug("cpu2")


def test_an_engine_that_cannot_stop_a_vcpu_keeps_it():
    machine = machine_with(running="stop")
    cpu = plug(machine, 2)
    machine.power_on(cpu, ENTRY)
    machine.device_del("cpu2")

    def on_power(cpu, state):
        if state is PowerState.OFF:
            raise Boom

    machine.on_power = on_power
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug("cpu2")
    assert fingerprint(machine) == before
    assert cpu.power_state is PowerState.ON


def test_a_request_that_is_not_answered_in_time_is_given_up():
    now = 0.0
    machine = machine_with(request_timeout=10, clock=lambda: now)
    two, three = plug(machine, 2), plug(machine, 3)
    told = stages(machine)
    machine.device_del("cpu2")
    now = 5.0
    machine.device_del("cpu3")
    now = 9.75
    assert machine.expire_unplug_requests() == []
    now = 10.0
    assert machine.expire_unplug_requests() == [two]
    assert told[2:] == [(HotplugStage.UNPLUG_TIMEOUT, 2, False)]
    refuse(machine, lambda: machine.complete_unplug("cpu2"), "unplug of cpu 2 was not requested")
    now = 100.0
    assert machine.expire_unplug_requests() == [three]
    assert machine.expire_unplug_requests() == []
    machine.device_del("cpu2")
    machine.complete_unplug("cpu2")
    machine.check()


def test_asking_again_gives_the_guest_its_time_again_and_an_answer_ends_it():
    now = 0.0
    machine = machine_with(request_timeout=10, clock=lambda: now)
    cpus = [plug(machine, core) for core in (2, 3)]
    machine.device_del("cpu2")
    machine.device_del("cpu3")
    now = 9.0
    machine.device_del("cpu2")
    now = 18.0
    assert machine.expire_unplug_requests() == [cpus[1]]
    machine.reject_unplug("cpu2")
    machine.device_del("cpu3")
    machine.complete_unplug("cpu3")
    now = 100.0
    assert machine.expire_unplug_requests() == []


def test_without_a_time_out_a_request_holds_for_ever():
    machine = machine_with(clock=lambda: pytest.fail("nobody needs the time"))
    plug(machine, 2)
    machine.device_del("cpu2")
    assert machine.expire_unplug_requests() == []
    machine.complete_unplug("cpu2")


def test_a_listener_that_fails_when_told_of_a_time_out_stops_the_others_from_being_late_only_once():
    now = 0.0
    machine = machine_with(request_timeout=1, clock=lambda: now)
    three = [plug(machine, core) for core in (2, 3)][1]

    def fail(event):
        if event.stage is HotplugStage.UNPLUG_TIMEOUT and event.cpu.cpu_index == 2:
            raise Boom

    listener = Notifier(fail)
    machine.hotplug_events.add(listener)
    for name in ("cpu2", "cpu3"):
        machine.device_del(name)
    now = 1.0
    with pytest.raises(Boom):
        machine.expire_unplug_requests()
    assert machine.expire_unplug_requests() == [three]


def test_a_rejection_that_a_listener_fails_on_leaves_the_request():
    machine = machine_with()
    plug(machine, 2)
    machine.device_del("cpu2")

    def fail(event):
        raise Boom

    listener = Notifier(fail)
    machine.hotplug_events.add(listener)
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.reject_unplug("cpu2")
    assert fingerprint(machine) == before
    listener.remove()
    machine.complete_unplug("cpu2")


def test_nothing_is_ejected_while_migrating():
    machine = machine_with()
    plug(machine, 2)
    machine.device_del("cpu2")
    machine.migrating = True
    refuse(machine, lambda: machine.complete_unplug("cpu2"), "unplug of cpu 2 not allowed while migrating")
    machine.migrating = False
    machine.complete_unplug("cpu2")


# vCPUs that all exist, enabled or disabled


def enable(machine, slot):
    return machine.device_set(boot(slot), True)


def refuse_enabling(machine, slot, objects):
    """A listener raises at the events that `objects` is true for: nothing has changed then."""

    def fail(event):
        if objects(event):
            raise Boom

    listener = Notifier(fail)
    machine.hotplug_events.add(listener)
    before = fingerprint(machine)
    with pytest.raises(Boom):
        enable(machine, slot)
    assert fingerprint(machine) == before
    listener.remove()


def disable(machine, slot):
    machine.device_set(boot(slot), False)
    machine.complete_unplug(boot(slot))


def test_all_vcpus_exist_and_stay_the_same_objects():
    machine = machine_with(admin_state=True)
    cpus = [slot.cpu for slot in machine.possible_cpus]
    assert [cpu.enabled for cpu in cpus] == [True, True, False, False]
    assert [cpu.qom_path for cpu in cpus] == [boot(index) for index in range(4)]
    for _ in range(2):
        assert enable(machine, 2) is cpus[2]
        assert cpus[2].enabled
        machine.check()
        disable(machine, 2)
        assert not cpus[2].enabled
        machine.check()
    assert [slot.cpu for slot in machine.possible_cpus] == cpus


def test_a_vcpu_comes_back_from_being_disabled_as_a_new_one():
    machine, fresh = machine_with(admin_state=True), machine_with(admin_state=True)
    for one in (machine, fresh):
        enable_distributor(one)
        enable(one, 2)
    cpu = machine.cpus[2]
    wake(machine, 2)
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
    assert take(machine, 2) == 27
    machine.power_on(cpu, ENTRY, 5)
    machine.power_off(cpu)
    disable(machine, 2)
    assert (cpu.outputs, cpu.context.pc, cpu.lines, len(machine.timers)) == (0, 0, 0, 0)
    enable(machine, 2)
    assert machine.gic.state_digest() == fresh.gic.state_digest()
    assert (cpu.power_state, cpu.unplug_requested) == (PowerState.OFF, False)


def test_a_disabled_vcpu_is_for_the_gic_and_psci_as_an_absent_one():
    admin, objects = machine_with(admin_state=True), machine_with()
    enable(admin, 3)
    plug(objects, 3)
    for machine in (admin, objects):
        enable_distributor(machine)
        for pe in range(4):
            wake(machine, pe)
        gic = machine.gic
        gic.dist["GICD_IGROUPR", 1] = gic.dist["GICD_ISENABLER", 1] = 2
        gic.dist["GICD_IROUTER", 33] = gic.affinity(2)
        gic.set_spi(33, True)
        gic.pe[0]["ICC_SGI1R_EL1"] = 1 << 40 | 5 << 24
        assert not gic.is_accessible(2)
        assert [int(gic.lines[pe]) != 0 for pe in range(4)] == [False, True, False, True]
        assert machine.psci.call(machine.cpus[0], PsciFunction.CPU_ON, 2, ENTRY) == PsciResult.DENIED
        assert machine.psci.call(machine.cpus[0], PsciFunction.AFFINITY_INFO, 2) == PowerState.OFF
    enable(admin, 2)
    plug(objects, 2)
    for machine in (admin, objects):
        wake(machine, 2)
        assert take(machine, 2) == 33
        assert machine.psci.call(machine.cpus[0], PsciFunction.CPU_ON, 2, ENTRY) == PsciResult.SUCCESS
    assert admin.gic.state_digest() == objects.gic.state_digest()


def test_disabling_is_asked_of_the_guest_and_told():
    machine = machine_with(admin_state=True)
    told = stages(machine)
    enable(machine, 2)
    enable(machine, 2)
    machine.device_set(boot(2), False)
    assert machine.cpus[2].unplug_requested
    machine.complete_unplug(boot(2))
    machine.device_set(boot(2), False)
    assert told == [
        (HotplugStage.PLUG, 2, False),
        (HotplugStage.UNPLUG_REQUEST, 2, False),
        (HotplugStage.UNPLUG, 2, False),
        (HotplugStage.DISABLED, 2, False),
    ]


def test_a_refused_change_of_state_changes_nothing():
    machine = machine_with(admin_state=True)
    enable(machine, 2)
    cold = "Hot-unplug of cold-booted CPU not supported!"
    refuse(machine, lambda: machine.device_set(boot(1), False), cold)
    first = "Boot CPU(id0=0:0:0:0) hot-unplug not supported"
    refuse(machine, lambda: machine.device_set(boot(0), False), first)
    refuse(machine, lambda: machine.device_add(core_id=3), "CPU hotplug not supported on this machine")
    refuse(machine, lambda: machine.device_del(boot(2)), "CPU hot(un)plug not supported on this machine")
    for name in (boot(4), "cpu2", "", boot(99999)):
        with pytest.raises(HotplugError, match="not found"):
            machine.device_set(name, True)
    machine.migrating = True
    refuse(machine, lambda: enable(machine, 3), "device_set not allowed while migrating")
    machine.migrating = False

    refuse_enabling(machine, 3, lambda event: not event.undo)
    assert not machine.vcpu(3).enabled


def test_where_vcpus_come_and_go_they_have_no_administrative_state():
    machine = machine_with()
    refuse(machine, lambda: enable(machine, 2), "administrative power state not supported on this machine")
    with pytest.raises(HotplugError, match="slot 2 is empty"):
        machine.vcpu(2)
    assert machine.vcpu(1) is machine.cpus[1]


def test_a_vcpu_of_the_start_may_be_disabled_where_it_is_removable():
    machine = machine_with(admin_state=True, removable="all")
    cpu = machine.cpus[1]
    disable(machine, 1)
    assert machine.possible_cpus[1].cpu is cpu
    assert enable(machine, 1) is cpu
    machine.check()


def test_a_refused_enabling_leaves_the_timers_of_a_disabled_vcpu():
    machine = machine_with(admin_state=True)
    cpu = machine.vcpu(2)
    cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 1000, 0)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
    before = cpu.saved()
    listener = Notifier(fail_to_plug)
    machine.hotplug_events.add(listener)
    with pytest.raises(Boom):
        enable(machine, 2)
    assert cpu.saved() == before
    assert len(machine.timers) == 1
    listener.remove()
    assert enable(machine, 2) is cpu


def fail_to_plug(event):
    if event.stage is HotplugStage.PLUG and not event.undo:
        raise Boom


def test_enabling_takes_a_request_to_disable_back():
    now = 0.0
    machine = machine_with(admin_state=True, request_timeout=10, clock=lambda: now)
    cpu = enable(machine, 2)
    before = fingerprint(machine)
    told = stages(machine)
    machine.device_set(boot(2), False)
    assert enable(machine, 2) is cpu
    assert told == [(HotplugStage.UNPLUG_REQUEST, 2, False), (HotplugStage.UNPLUG_REQUEST, 2, True)]
    assert fingerprint(machine) == before
    refuse(machine, lambda: machine.complete_unplug(boot(2)), "unplug of cpu 2 was not requested")
    refuse(machine, lambda: machine.reject_unplug(boot(2)), "unplug of cpu 2 was not requested")
    now = 100.0
    assert machine.expire_unplug_requests() == []
    disable(machine, 2)
    assert not cpu.enabled


def test_a_request_to_disable_holds_when_a_listener_refuses_to_take_it_back():
    machine = machine_with(admin_state=True)
    enable(machine, 2)
    machine.device_set(boot(2), False)

    refuse_enabling(machine, 2, lambda event: True)
    machine.complete_unplug(boot(2))


def test_a_boot_vcpu_that_is_disabled_is_one_of_the_start_after_a_restore():
    policy = HotplugPolicy(admin_state=True, removable={1, 2})
    machine = VirtMachine(cpus=2, max_cpus=4, policy=policy)
    enable(machine, 2)
    for slot in (1, 2):
        disable(machine, slot)
    for one in (machine, VirtMachine.restore(machine.save(), policy)):
        assert [one.vcpu(slot).hotplugged for slot in range(4)] == [False, False, True, True]
        assert [enable(one, slot).hotplugged for slot in (1, 2)] == [False, True]
