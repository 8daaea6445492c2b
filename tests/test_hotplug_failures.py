"""Plugs and unplugs that fail: afterwards the machine is bit for bit what it was, and works."""

import pytest
from virt import ALL, enable_distributor, fingerprint, plug, take, wake

from gicv3.errors import HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugStage
from gicv3.policy import HotplugPolicy
from gicv3.timer import TimerReg
from gicv3.vcpu import CpuPpi


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8)


class Boom(Exception):
    pass


class Failing(Notifier):
    """Fails when told what `when` accepts."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def notify(self, data):
        if self.when(data):
            raise Boom


def prepared():
    """A machine whose absent and present redistributors the guest has written, with an edge PPI high and served."""
    machine = VirtMachine(cpus=2, max_cpus=8)
    enable_distributor(machine)
    for pe in range(8):
        wake(machine, pe)
        machine.gic.redist[pe]["GICR_ICFGR1"] = ALL
        machine.gic.redist[pe]["GICR_IPRIORITYR", 6] = 0x10203040
    cpu = plug(machine, 5)
    wake(machine, 5)
    machine.gic.redist[5]["GICR_ICFGR1"] = ALL
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    assert take(machine, 5) == 27
    cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 10**9, 0)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
    machine.device_del("cpu5")
    return machine


def test_a_plug_refused_by_a_notifier_after_the_gics_changes_nothing():
    machine = prepared()
    told = []
    machine.cpuhp_notifiers.add(Notifier(lambda info: told.append(info.plugging)))
    machine.cpuhp_notifiers.add(Failing(lambda info: info.plugging))
    before = fingerprint(machine)
    with pytest.raises(Boom):
        plug(machine, 4)
    assert fingerprint(machine) == before
    assert told == [True, False]
    machine.check()


def test_a_plug_refused_by_a_listener_changes_nothing():
    machine = prepared()
    stages = []
    machine.hotplug_events.add(Notifier(stages.append))
    machine.hotplug_events.add(Failing(lambda event: event.stage is HotplugStage.PLUG and not event.undo))
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.device_add(core_id=4)
    assert fingerprint(machine) == before
    assert [(event.stage.name, event.undo) for event in stages] == [("PLUG", False), ("PLUG", True)]
    machine.check()


def test_an_unplug_refused_by_a_notifier_changes_nothing():
    machine = prepared()
    # Before the GIC's on the list, so told after it when a vCPU goes.
    notifiers = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    failing = Failing(lambda info: not info.plugging)
    for notifier in (failing, *notifiers):
        machine.cpuhp_notifiers.add(notifier)
    stages = []
    machine.hotplug_events.add(Notifier(stages.append))
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert fingerprint(machine) == before
    assert [(event.stage.name, event.undo) for event in stages] == [("UNPLUG", False), ("UNPLUG", True)]
    machine.check()
    failing.remove()
    machine.complete_unplug("cpu5")
    assert 5 not in machine.cpus


def test_an_unplug_refused_after_the_gic_was_told_counts_nothing_as_dropped():
    machine = prepared()
    # Those that are first on the list are told last that a vCPU goes.
    own = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    for notifier in [Failing(lambda info: not info.plugging), *own]:
        machine.cpuhp_notifiers.add(notifier)
    machine.gic.redist[5]["GICR_ISPENDR0"] = 1 << 3 | 1 << 20
    before = machine.gic.totals()
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert machine.gic.totals() == before
    assert machine.gic.statistics()[5]["dropped"].sum() == 0
    assert machine.gic.redist[5]["GICR_ISPENDR0"] == 1 << 3 | 1 << 20


def test_an_unplug_refused_before_the_gic_is_told_changes_nothing():
    machine = prepared()
    machine.cpuhp_notifiers.add(Failing(lambda info: not info.plugging))
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert fingerprint(machine) == before
    machine.check()


def test_an_unplug_refused_by_a_listener_changes_nothing():
    machine = prepared()
    machine.hotplug_events.add(Failing(lambda event: event.stage is HotplugStage.UNPLUG))
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert fingerprint(machine) == before
    machine.check()


def test_what_was_told_is_taken_back_in_the_opposite_order():
    machine = prepared()
    told = []
    for name in "ab":
        machine.cpuhp_notifiers.add(Notifier(lambda info, name=name: told.append((name, info.plugging))))
        machine.hotplug_events.add(Notifier(lambda event, name=name: told.append((name, event.stage.name, event.undo))))
    refusing = Failing(lambda event: event.stage is HotplugStage.PLUG)
    machine.hotplug_events.add(refusing)
    with pytest.raises(Boom):
        plug(machine, 4)
    assert [entry for entry in told if len(entry) == 2] == [("a", True), ("b", True), ("b", False), ("a", False)]
    refusing.remove()
    told.clear()
    machine.cpuhp_notifiers.add(Failing(lambda info: not info.plugging))
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert told == [(*who, undo) for undo, names in ((False, "ab"), (True, "ba")) for who in zip(names, ["UNPLUG"] * 2)]


def test_a_vcpu_whose_plug_failed_leaves_no_deadline(machine):
    def listen(event):
        event.cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 100, 0)
        event.cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
        raise Boom

    machine.hotplug_events.add(Notifier(listen))
    with pytest.raises(Boom):
        plug(machine, 4)
    assert machine.timers.next_deadline() is None


def test_a_failure_to_take_back_is_reported_and_the_gic_is_restored_all_the_same():
    machine = prepared()
    machine.cpuhp_notifiers.add(Failing(lambda info: not info.plugging))
    machine.hotplug_events.add(Failing(lambda event: True))
    before = fingerprint(machine)
    with pytest.raises(ExceptionGroup) as caught:
        plug(machine, 4)
    assert [type(error) for error in caught.value.exceptions] == [Boom, Boom]
    assert fingerprint(machine) == before
    machine.check()


def test_the_machine_works_after_a_failed_plug():
    machine = prepared()
    failing = Failing(lambda info: True)
    machine.cpuhp_notifiers.add(failing)
    with pytest.raises(Boom):
        plug(machine, 4)
    failing.remove()
    plug(machine, 4)
    wake(machine, 4)
    machine.gic.pe[0]["ICC_SGI1R_EL1"] = 5 << 24 | 1 << 4
    assert take(machine, 4) == 5


def test_a_notifier_cannot_plug_or_unplug_while_another_plug_is_under_way(machine):
    errors = []

    def nested(info):
        for call in (lambda: plug(machine, 6), lambda: machine.complete_unplug("cpu5")):
            try:
                call()
            except HotplugError as error:
                errors.append(str(error))

    plug(machine, 5)
    machine.device_del("cpu5")
    machine.cpuhp_notifiers.add(Notifier(nested))
    plug(machine, 4)
    assert errors == ["another vCPU is being plugged or unplugged"] * 2
    assert sorted(machine.cpus) == [0, 1, 4, 5]
    machine.check()


def test_a_request_that_a_listener_refuses_was_never_made(machine):
    cpu = plug(machine, 4)

    def refuse(event):
        raise RuntimeError("not now")

    listener = Notifier(refuse)
    machine.hotplug_events.add(listener)
    with pytest.raises(RuntimeError, match="not now"):
        machine.device_del(cpu.id)
    machine.hotplug_events.remove(listener)
    assert not cpu.unplug_requested


def test_a_vcpu_of_the_start_cannot_be_unplugged_by_the_bare_step_either(machine):
    for cpu in (machine.cpus[0], machine.cpus[1]):
        with pytest.raises(HotplugError, match="not supported"):
            machine.unplug(cpu)
        assert machine.gic.is_accessible(cpu.cpu_index)


@pytest.mark.parametrize("where", ["before the GIC", "after the GIC"])
def test_an_unplug_that_fails_leaves_a_pending_1_of_n_spi_where_it_was(where):
    machine = VirtMachine(cpus=4, max_cpus=4, one_of_n=True, policy=HotplugPolicy(removable="all"))
    enable_distributor(machine)
    for pe in range(4):
        wake(machine, pe)
    gic = machine.gic
    # INTID 34 goes to PE 34 mod 4.
    gic.dist["GICD_IGROUPR", 1] = gic.dist["GICD_ISENABLER", 1] = 1 << 2
    gic.dist["GICD_IROUTER", 34] = 1 << 31
    gic.set_spi(34, True)
    lines = [int(line) for line in gic.lines]
    assert [line != 0 for line in lines] == [False, False, True, False]
    name = "/machine/unattached/device[2]"
    machine.device_del(name)
    own = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    # Those that are first on the list are told last that a vCPU goes.
    failing = Failing(lambda info: not info.plugging)
    for notifier in [failing, *own] if where == "after the GIC" else [*own, failing]:
        machine.cpuhp_notifiers.add(notifier)
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug(name)
    assert fingerprint(machine) == before
    assert [int(line) for line in gic.lines] == lines
    machine.check()
    assert take(machine, 2) == 34


def test_a_vcpu_whose_plug_failed_reaches_the_gic_no_more(machine):
    came = []
    machine.hotplug_events.add(Failing(lambda event: came.append(event.cpu) or not event.undo))
    with pytest.raises(Boom):
        plug(machine, 4)
    before = fingerprint(machine)
    came[0].set_output(CpuPpi.TIMER_VIRT, True)
    assert not came[0].wired
    assert fingerprint(machine) == before


def test_an_unplug_is_taken_back_when_the_callback_fails_that_is_told_of_its_lines(machine):
    enable_distributor(machine)
    cpu = plug(machine, 5)
    wake(machine, 5)
    machine.gic.redist[5]["GICR_ISPENDR0"] = 1 << 3
    assert cpu.lines
    machine.device_del("cpu5")
    before = fingerprint(machine)

    def fail_once(pe, line, level):
        machine.gic.on_line = None
        raise Boom

    machine.gic.on_line = fail_once
    with pytest.raises(Boom):
        machine.complete_unplug("cpu5")
    assert fingerprint(machine) == before
    assert machine.gic.cpu(5) is cpu
    machine.check()
    assert take(machine, 5) == 3
    machine.complete_unplug("cpu5")
