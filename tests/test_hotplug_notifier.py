"""The GIC's own CPU hotplug notifier: which vCPUs it takes, and its lifetime."""

import gc
import weakref

import pytest
from virt import refuse

from gicv3.association import CPUHotplugInfo, GicCpuHotplugNotifier
from gicv3.errors import HotplugError
from gicv3.gic import GICv3, GICv3Config
from gicv3.machine import VirtMachine
from gicv3.notifier import NotifierList
from gicv3.vcpu import Vcpu


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8)


def test_a_vcpu_of_a_foreign_affinity_fails_with_the_patchs_text_and_changes_nothing(machine):
    foreign = Vcpu(machine, 77, 0x7700)
    text = "Failed to associate cpu 77 with any GIC cpuif"
    refuse(machine, lambda: machine.update_gic(foreign, True), text)
    refuse(machine, lambda: machine.update_gic(foreign, False), text)
    refuse(machine, lambda: machine.pre_plug(foreign), text)
    assert foreign.gicv3state is None


def test_the_notifier_neither_steals_an_interface_nor_takes_anothers(machine):
    impostor = Vcpu(machine, 1, 1)
    for plugging in (True, False):
        with pytest.raises(HotplugError, match=r"cpu 1: GIC cpuif 1 .*belongs to <Vcpu 1 "):
            machine.update_gic(impostor, plugging)
    assert machine.gic.cpu(1) is machine.cpus[1]
    with pytest.raises(HotplugError, match="belongs to None"):
        machine.update_gic(Vcpu(machine, 5, 5), False)


def test_the_notifier_ignores_events_of_another_gic(machine):
    other = GICv3(GICv3Config(cpus=8))
    cpu = Vcpu(machine, 5, 5)
    machine.gic.cpuhp_notifier.notify(CPUHotplugInfo(other, cpu, True))
    assert not machine.gic.is_accessible(5)
    assert other.cpu(5) is None


@pytest.mark.drops_gics
def test_the_notifier_leaves_its_list_when_the_gic_goes():
    members = NotifierList()
    gic = GICv3(GICv3Config(cpus=2))
    members.add(gic.cpuhp_notifier)
    assert len(members) == 1
    del gic
    gc.collect()
    assert len(members) == 0
    members.notify(CPUHotplugInfo(None, None, True))


@pytest.mark.drops_gics
def test_a_gic_goes_safely_when_its_list_went_first_or_never_was():
    members = NotifierList()
    gic = GICv3(GICv3Config(cpus=2))
    members.add(gic.cpuhp_notifier)
    del members
    gone = weakref.ref(gic)
    del gic
    gc.collect()
    assert gone() is None
    gc.collect()
    gone = weakref.ref(GICv3(GICv3Config(cpus=2)))
    gc.collect()
    assert gone() is None


@pytest.mark.drops_gics
def test_a_notifier_does_not_keep_its_gic_alive():
    gic = GICv3(GICv3Config(cpus=2))
    notifier = GicCpuHotplugNotifier(gic)
    gone = weakref.ref(gic)
    del gic
    gc.collect()
    assert gone() is None
    notifier.notify(CPUHotplugInfo(object(), None, True))
