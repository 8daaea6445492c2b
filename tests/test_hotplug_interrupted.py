"""Ctrl-C during a plug or an unplug: the vCPU is there or it is not, and its slot can be used as before."""

import sys

import pytest
from virt import enable_distributor, fingerprint, plug, unplug, wake

from gicv3.errors import HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.vcpu import CpuPpi


class Follower(Notifier):
    """Knows of each vCPU whether it is there; nothing can interrupt it within."""

    def __init__(self):
        super().__init__()
        self.there = {4: False, 5: False}

    def notify(self, info):
        self.cpu = info.cpu
        self.there[info.cpu.cpu_index] = info.plugging


def machine_with_followers():
    """Slot 5 holds a vCPU with a PPI high that is asked for; followers stand before and after the GIC's notifier."""
    machine = VirtMachine(cpus=2, max_cpus=8)
    followers = Follower(), Follower()
    own = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    for notifier in (followers[0], *own, followers[1]):
        machine.cpuhp_notifiers.add(notifier)
    machine.hotplug_events.add(Notifier(str))
    enable_distributor(machine)
    cpu = plug(machine, 5)
    wake(machine, 5)
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    machine.device_del("cpu5")
    return machine, followers


def interrupted(call, place):
    """Whether `call` came as far as its `place`th chance of a signal, and got a KeyboardInterrupt there.

    CPython takes signals where a function is entered, and where a C function returns.
    """
    passed = 0

    def profile(frame, event, argument):
        nonlocal passed
        passed += event in ("call", "c_return")
        if passed == place:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize(
    ("call", "slot"),
    [
        pytest.param(lambda machine: plug(machine, 4), 4, id="plug"),
        pytest.param(lambda machine: machine.complete_unplug("cpu5"), 5, id="unplug"),
    ],
)
def test_ctrl_c_anywhere_in_a_plug_or_an_unplug_leaves_a_slot_that_works(call, slot):
    taken_back = 0
    for place in range(1, 10_000):
        machine, followers = machine_with_followers()
        before = fingerprint(machine)
        was_plugged = slot in machine.cpus
        if not interrupted(lambda machine=machine: call(machine), place):
            break
        machine.check()
        for follower in followers:
            assert follower.there[slot] == (slot in machine.cpus)
        if (slot in machine.cpus) == was_plugged:
            assert fingerprint(machine) == before
            taken_back += 1
            call(machine)
        assert (slot in machine.cpus) != was_plugged
        if not was_plugged:
            unplug(machine, "cpu4")
        plug(machine, slot, "again")
        unplug(machine, "again")
        machine.check()
    assert taken_back > 10
    assert (slot in machine.cpus) != was_plugged


@pytest.mark.parametrize(
    ("call", "plugging"),
    [
        pytest.param(lambda machine: plug(machine, 4), True, id="plug"),
        pytest.param(lambda machine: machine.complete_unplug("cpu5"), False, id="unplug"),
    ],
)
def test_a_refusal_holds_for_the_gic_and_the_vcpu_although_the_gics_notifier_left_the_list(call, plugging):
    machine, (follower, _) = machine_with_followers()
    members = list(machine.cpuhp_notifiers)
    before = fingerprint(machine)

    def refuse(info):
        machine.gic.cpuhp_notifier.remove()
        raise HotplugError("refused")

    refusing = Notifier(refuse)
    machine.cpuhp_notifiers.init()
    for notifier in [*members, refusing] if plugging else [refusing, *members]:
        machine.cpuhp_notifiers.add(notifier)
    with pytest.raises(HotplugError, match="refused"):
        call(machine)
    machine.cpuhp_notifiers.init()
    for notifier in members:
        machine.cpuhp_notifiers.add(notifier)
    machine.check()
    assert fingerprint(machine) == before
    if plugging:
        assert (follower.cpu.gicv3state, follower.cpu.sysregs, follower.cpu.wired) == (None, None, False)
    call(machine)
    machine.check()


@pytest.mark.parametrize(
    ("call", "plugging"),
    [
        pytest.param(lambda machine: plug(machine, 4), True, id="plug"),
        pytest.param(lambda machine: machine.complete_unplug("cpu5"), False, id="unplug"),
    ],
)
def test_ctrl_c_in_a_notifier_while_a_refusal_is_taken_back_leaves_nothing_half_done(call, plugging):
    machine, followers = machine_with_followers()
    members = list(machine.cpuhp_notifiers)
    before = fingerprint(machine)
    was_there = [dict(follower.there) for follower in followers]

    def tell(info):
        if info.plugging is plugging:
            return
        raise KeyboardInterrupt

    def refuse(info):
        raise HotplugError("refused")

    impatient, refusing = Notifier(tell), Notifier(refuse)
    told = [members[0], impatient, *members[1:]] if plugging else [*members[:-1], impatient, members[-1]]
    machine.cpuhp_notifiers.init()
    for notifier in [*told, refusing] if plugging else [refusing, *told]:
        machine.cpuhp_notifiers.add(notifier)
    with pytest.raises(BaseExceptionGroup) as caught:
        call(machine)
    assert [type(error) for error in caught.value.exceptions] == [HotplugError, KeyboardInterrupt]
    machine.cpuhp_notifiers.init()
    for notifier in members:
        machine.cpuhp_notifiers.add(notifier)
    machine.check()
    assert fingerprint(machine) == before
    assert [follower.there for follower in followers] == was_there
    call(machine)
    machine.check()
