"""1-of-N SPIs around plugs and unplugs that fail: each waits where it waited."""

import random

import pytest
from virt import ALL, fingerprint, take, wake

from gicv3 import GICv3, GICv3Config
from gicv3.association import CPUHotplugInfo
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.policy import HotplugPolicy

GROUP1, E1NWF = 0x12, 0x80


class Boom(Exception):
    pass


class Refuses(Notifier):
    """Refuses events of one direction."""

    def __init__(self, plugging: bool) -> None:
        super().__init__()
        self.plugging = plugging

    def notify(self, data: CPUHotplugInfo) -> None:
        if data.plugging == self.plugging:
            raise Boom


def make(cpus: int, max_cpus: int, e1nwf: bool = False) -> VirtMachine:
    """A machine whose SPIs are enabled, in Group 1, and 1-of-N."""
    machine = VirtMachine(cpus, max_cpus, one_of_n=True, spis=64, policy=HotplugPolicy(removable="all"))
    dist = machine.gic.dist
    dist["GICD_CTLR"] = GROUP1 | (E1NWF if e1nwf else 0)
    for bank in (1, 2):
        dist["GICD_IGROUPR", bank] = dist["GICD_ISENABLER", bank] = ALL
    for intid in range(32, 96):
        dist["GICD_IROUTER", intid] = 1 << 31
        dist["GICD_IPRIORITYR", intid // 4] = 0x40 * (intid // 4 % 3) * 0x0101_0101
    return machine


def boot(slot: int) -> str:
    return f"/machine/unattached/device[{slot}]"


def fail_to_unplug(machine: VirtMachine, name: str) -> None:
    """The GIC is told that the vCPU goes, and then that it does not."""
    machine.device_del(name)
    last = Refuses(plugging=False)
    members = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    for member in (last, *members):  # those that are first are told last
        machine.cpuhp_notifiers.add(member)
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.complete_unplug(name)
    assert fingerprint(machine) == before
    last.remove()
    machine.check()


def fail_to_plug(machine: VirtMachine, core: int) -> None:
    last = Refuses(plugging=True)
    machine.cpuhp_notifiers.add(last)
    before = fingerprint(machine)
    with pytest.raises(Boom):
        machine.device_add(core_id=core)
    assert fingerprint(machine) == before
    last.remove()
    machine.check()


def test_all_that_waited_for_the_vcpu_come_back_to_it_and_are_served_in_order() -> None:
    machine = make(4, 4)
    for pe in (2, 3):
        wake(machine, pe)
    machine.gic.dist["GICD_IROUTER", 40] = 2  # by affinity: it never goes elsewhere
    for intid in (34, 38, 40, 42, 50):
        machine.gic.set_spi(intid, True)
    fail_to_unplug(machine, boot(2))
    taken = []
    while (intid := take(machine, 2)) != 1023:
        taken.append(intid)
        machine.gic.set_spi(intid, False)
    assert taken == [38, 50, 40, 42, 34]


def test_an_spi_that_another_pe_took_meanwhile_stays_taken() -> None:
    machine = make(4, 4)
    for pe in (2, 3):
        wake(machine, pe)
    machine.gic.set_spi(34, True)
    machine.device_del(boot(2))
    taken = []

    def refuse(info: CPUHotplugInfo) -> None:
        if not info.plugging:
            taken.append(machine.gic.pe[3]["ICC_IAR1_EL1"])
            raise Boom

    members = list(machine.cpuhp_notifiers)
    machine.cpuhp_notifiers.init()
    for member in (Notifier(refuse), *members):
        machine.cpuhp_notifiers.add(member)
    with pytest.raises(Boom):
        machine.complete_unplug(boot(2))
    assert taken == [34]
    machine.gic.set_spi(34, False)
    machine.gic.pe[3]["ICC_EOIR1_EL1"] = 34
    assert take(machine, 2) == take(machine, 3) == 1023
    machine.check()


def test_an_spi_that_woke_a_vcpu_whose_plug_failed_waits_for_a_sleeper_again() -> None:
    machine = make(1, 2, e1nwf=True)
    machine.gic.redist[0]["GICR_CTLR"] = 1 << 25  # DPG1NS: not this one
    machine.gic.set_spi(33, True)
    fail_to_plug(machine, 1)
    machine.device_add(core_id=1)
    assert machine.gic.pe[1].line


def test_an_spi_whose_group_the_restored_pe_does_not_take_any_more_stays_where_it_is() -> None:
    gic = GICv3(GICv3Config(cpus=2, one_of_n=True))
    gic.dist["GICD_CTLR"] = 3
    for pe, groups in ((0, (1,)), (1, (0, 1))):
        gic.redist[pe]["GICR_WAKER"] = 0
        gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
        for group in groups:
            gic.pe[pe][f"ICC_IGRPEN{group}_EL1"] = 1
    gic.dist["GICD_IROUTER", 32] = 1 << 31
    gic.dist["GICD_IGROUPR", 1] = gic.dist["GICD_ISENABLER", 1] = 1
    gic.set_spi(32, True)
    assert gic.changed() == [0]
    saved = gic.save_pe(0)
    gic.set_cpustate(0, None, False)
    gic.dist["GICD_IGROUPR", 1] = 0
    gic.restore_pe(0, saved)
    assert [bool(gic.line(pe)) for pe in range(2)] == [False, True]
    gic.check()


@pytest.mark.parametrize("seed", range(20))
def test_failed_plugs_and_unplugs_change_nothing_whatever_waits_where(seed: int) -> None:
    choice = random.Random(seed)
    machine = make(2, 6, e1nwf=choice.random() < 0.5)
    gic = machine.gic
    for _ in range(60):
        slot = choice.randrange(6)
        match choice.randrange(8):
            case 0:
                wake(machine, slot)
            case 1:
                gic.redist[slot]["GICR_WAKER"] = choice.choice((0, 2))
            case 2:
                gic.redist[slot]["GICR_CTLR"] = choice.choice((0, 1 << 25))
            case 3:
                gic.pe[slot]["ICC_IGRPEN1_EL1"] = choice.randrange(2)
            case 4:
                gic.pe[slot]["ICC_CTLR_EL1"] = choice.choice((0, 1 << 6))  # PMHE
                gic.pe[slot]["ICC_PMR_EL1"] = choice.choice((0x20, 0xFF))
            case 5:
                take(machine, slot)
            case _:
                gic.set_spi(choice.randrange(32, 96), choice.random() < 0.7)
        slot = choice.randrange(1, 6)
        cpu = machine.cpus.get(slot)
        if cpu is None:
            fail_to_plug(machine, slot)
            if choice.random() < 0.3:
                machine.device_add(core_id=slot)
        else:
            fail_to_unplug(machine, cpu.qom_path)
            if choice.random() < 0.2:
                machine.complete_unplug(cpu.qom_path)
