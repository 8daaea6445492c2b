"""vCPUs that come and go under an ITS, and the virt machine with one: no LPI is lost on the way."""

import random

import pytest

from gicv3 import ConfigError, Line, Notifier, VirtMachine
from gicv3.msi import MsiDevice
from tests.itses import (
    COLLECTIONS,
    DEVICES,
    FIRST,
    ITTS,
    QUEUE,
    VALID,
    Command,
    ItsRig,
    mapc,
    mapd,
    mapti,
    movall,
    movi,
)
from tests.lpis import PEND, PROP, RAM
from tests.virt import fingerprint, plug, unplug


def unplug_pe(rig: ItsRig, pe: int) -> None:
    rig.gic.set_cpustate(pe, None, False)


def plug_pe(rig: ItsRig, pe: int) -> None:
    """A vCPU comes, and its guest wakes the redistributor and opens the CPU interface."""
    rig.gic.set_cpustate(pe, object(), True)
    rig.bring_up(pe)


def test_an_lpi_for_an_absent_vcpu_waits_for_the_next_one() -> None:
    rig = ItsRig(2, events=2)
    rig.do(movi(1, 0, 1), movi(1, 1, 1))
    rig.msi(0)
    unplug_pe(rig, 1)
    assert rig.line(1) == 0
    rig.msi(1)
    assert rig.lpis(1) == [FIRST, FIRST + 1]
    assert rig.iar(pe=1) == 1023
    rig.gic.set_cpustate(1, object(), True)
    assert rig.line(1) == Line.WAKE
    rig.bring_up(1)
    assert rig.line(1) == Line.IRQ
    assert rig.take_all(1) == [FIRST, FIRST + 1]


def test_unplugging_leaves_the_lpi_part_of_the_redistributor() -> None:
    rig = ItsRig(2, events=1)
    names = ("GICR_PROPBASER", "GICR_PENDBASER", "GICR_CTLR")
    before = [rig.gic.redist[1][name] for name in names]
    unplug_pe(rig, 1)
    assert [rig.gic.redist[1][name] for name in names] == before
    plug_pe(rig, 1)
    assert [rig.gic.redist[1][name] for name in names] == before
    assert rig.gic.redist[1]["GICR_CTLR"] & 1


def test_movall_takes_everything_away_before_an_unplug() -> None:
    rig = ItsRig(2, events=4)
    rig.do(*(movi(1, event, 1) for event in range(4)))
    for event in range(4):
        rig.msi(event)
    rig.do(mapc(1, 0), movall(1, 0))
    unplug_pe(rig, 1)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST + n for n in range(4)], [])
    rig.msi(2)
    assert rig.take_all(0) == [FIRST + n for n in range(4)]


def test_movall_works_after_the_unplug_too() -> None:
    rig = ItsRig(2, events=1)
    rig.do(movi(1, 0, 1))
    unplug_pe(rig, 1)
    rig.msi(0)
    rig.do(movall(1, 0), movi(1, 0, 0))
    assert rig.take_all(0) == [FIRST]


def test_an_absent_vcpus_redistributor_can_be_programmed_and_disabled() -> None:
    rig = ItsRig(2, events=1)
    rig.do(movi(1, 0, 1))
    unplug_pe(rig, 1)
    rig.msi(0)
    rig.enable_lpis(1, on=False)
    assert rig.table_bit(FIRST, pe=1)
    rig.msi(0)
    assert rig.gic.totals()["lpi_discarded"] == 1
    rig.enable_lpis(1)
    plug_pe(rig, 1)
    assert rig.take_all(1) == [FIRST]


def test_putting_a_pe_back_leaves_the_lpis_that_came_meanwhile() -> None:
    rig = ItsRig(1, events=3)
    rig.msi(0)
    saved = rig.gic.save_pe(0)
    rig.msi(1)
    unplug_pe(rig, 0)
    rig.msi(2)
    rig.gic.restore_pe(0, saved)
    rig.gic.check()
    assert rig.line() == Line.IRQ
    assert rig.take_all() == [FIRST, FIRST + 1, FIRST + 2]
    rig.gic.restore_pe(0, saved)
    rig.gic.check()
    assert rig.line() == 0


def test_every_msi_is_accounted_for_while_vcpus_come_and_go() -> None:
    """A device's vectors are never sent again before they were taken, so that no two can merge."""
    chance = random.Random(11)
    pes, devices, vectors = 8, 4, 32
    rig = ItsRig(pes)
    commands: list[Command] = [mapc(pe, pe) for pe in range(pes)]
    for device in range(devices):
        commands.append(mapd(device, ITTS + device * 0x1000))
        commands += [mapti(device, event, FIRST + device * vectors + event, event % pes) for event in range(vectors)]
    rig.do(*commands)
    plugged, waiting, taken, sent = set(range(pes)), set(), 0, 0
    for _ in range(6000):
        choice = chance.random()
        device, event, pe = chance.randrange(devices), chance.randrange(vectors), chance.randrange(pes)
        intid = FIRST + device * vectors + event
        if choice < 0.6:
            if intid not in waiting:
                rig.its.msi(device, event)
                waiting.add(intid)
                sent += 1
        elif choice < 0.7:
            rig.do(movi(device, event, pe))
        elif choice < 0.75:
            rig.do(movall(pe, chance.randrange(pes)))
        elif choice < 0.85:
            if pe in plugged:
                unplug_pe(rig, pe)
            else:
                plug_pe(rig, pe)
            plugged ^= {pe}
        else:
            got = rig.take_all(pe)
            assert pe in plugged or not got
            assert waiting >= set(got)
            waiting -= set(got)
            taken += len(got)
    pending = [intid for pe in range(pes) for intid in rig.lpis(pe)]
    assert sorted(pending) == sorted(waiting)
    assert taken + len(pending) == sent
    assert rig.gic.totals()["lpi_discarded"] == rig.gic.totals()["lpi_lost"] == 0
    assert rig.its.counters()["errors"] == rig.its.counters()["unmapped"] == 0


# --- the machine


def bring_up(machine: VirtMachine, ram: bytearray) -> None:
    """What a guest does for its LPIs: tables, redistributors, ITS, and one device with a vector for each vCPU."""
    gic = machine.gic
    gic.memory.map(RAM, ram)
    ram[PROP - RAM : PROP - RAM + 64] = b"\xa1" * 64
    gic.dist["GICD_CTLR"] = 2
    for pe in range(machine.max_cpus):
        gic.redist[pe]["GICR_PROPBASER"] = PROP | 15
        gic.redist[pe]["GICR_PENDBASER"] = PEND + pe * 0x1_0000
        gic.redist[pe]["GICR_CTLR"] = 1
        gic.redist[pe]["GICR_WAKER"] = 0
        gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
        gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1
    its = gic.its[0]
    its["GITS_BASER", 0] = VALID | DEVICES
    its["GITS_BASER", 1] = VALID | COLLECTIONS
    its["GITS_CBASER"] = VALID | QUEUE
    its["GITS_CTLR"] = 1
    commands = [mapd(0x18), *(mapc(pe, pe) for pe in range(4)), *(mapti(0x18, pe, FIRST + pe, pe) for pe in range(4))]
    for number, command in enumerate(commands):
        at = QUEUE - RAM + number * 32
        ram[at : at + 32] = b"".join(word.to_bytes(8, "little") for word in command)
    gic.mmio_write(machine.memory_map["GIC_ITS"].base + 0x88, len(commands) * 32, 8)


def test_the_virt_machine_has_its_its_where_qemu_has_it() -> None:
    machine = VirtMachine(cpus=2, its=True)
    assert machine.memory_map["GIC_ITS"] == (0x0808_0000, 0x2_0000)
    assert [its.base for its in machine.gic.its] == [0x0808_0000]
    assert machine.gic.its[0].translater == 0x0809_0040
    assert machine.gic.mmio_read(0x0808_0000) == 1 << 31
    assert len(VirtMachine(cpus=2).gic.its) == 0


def test_a_device_reaches_vcpus_that_come_and_go() -> None:
    machine = VirtMachine(cpus=2, max_cpus=4, its=True)
    ram = bytearray(4 << 20)
    bring_up(machine, ram)
    device = MsiDevice(machine.gic, 0x18, 4)
    for vector in range(4):
        device.program(vector, machine.gic.its[0].translater, vector)
        device.fire(vector)
    assert [machine.gic.lpi_pending(pe) for pe in range(4)] == [[FIRST + pe] for pe in range(4)]
    assert [machine.cpus[pe].lines for pe in range(2)] == [Line.IRQ] * 2
    plug(machine, 3)
    machine.gic.pe[3]["ICC_PMR_EL1"] = 0xFF
    machine.gic.pe[3]["ICC_IGRPEN1_EL1"] = 1
    assert machine.cpus[3].lines == Line.IRQ
    assert machine.gic.pe[3]["ICC_IAR1_EL1"] == FIRST + 3
    unplug(machine, "cpu3")
    device.fire(3)
    assert machine.gic.lpi_pending(3) == [FIRST + 3]
    machine.check()


def test_a_refused_plug_leaves_lpis_as_they_were() -> None:
    machine = VirtMachine(cpus=1, max_cpus=2, its=True)
    bring_up(machine, bytearray(4 << 20))
    machine.gic.its[0].msi(0x18, 1)

    def refuse(info: object) -> None:
        raise RuntimeError("no")

    machine.cpuhp_notifiers.add(Notifier(refuse))
    before = fingerprint(machine)
    with pytest.raises(RuntimeError, match="no"):
        plug(machine, 1)
    assert fingerprint(machine) == before
    assert machine.gic.lpi_pending(1) == [FIRST + 1]


# --- the device


def test_a_masked_vector_is_sent_once_when_it_opens() -> None:
    rig = ItsRig(1, events=2)
    device = MsiDevice(rig.gic, 1, 2)
    device.program(0, rig.its.translater, 0, masked=True)
    device.fire(0)
    device.fire(0)
    assert (device.is_pending(0), rig.lpis()) == (True, [])
    device.mask(0, False)
    assert (device.is_pending(0), rig.lpis()) == (False, [FIRST])
    assert rig.its.counters()["msis"] == 1
    device.fire(1)  # masked from the start
    assert device.is_pending(1)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((-1, 1), "device_id must be in 0..0xffffffff, got -1"), ((0, 0), "vectors must be in 1..2048, got 0"),
     ((0, 2049), "vectors must be in 1..2048, got 2049")],
)
def test_a_device_that_cannot_be_is_refused(numbers: tuple[int, int], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MsiDevice(ItsRig(1).gic, *numbers)
    assert str(caught.value) == text


@pytest.mark.parametrize("vector", [-1, 2])
def test_a_vector_that_a_device_lacks_is_refused(vector: int) -> None:
    device = MsiDevice(ItsRig(1).gic, 1, 2)
    for call in (device.fire, device.is_pending, lambda number: device.mask(number, True)):
        with pytest.raises(ConfigError, match=rf"vector must be in 0\.\.1, got {vector}"):
            call(vector)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0, -1, 0), ConfigError, "address must be in 0..0xffffffffffffffff, got -1"),
        ((0, 1 << 64, 0), ConfigError, "address must be in 0..0xffffffffffffffff, got 18446744073709551616"),
        ((0, 0, -1), ConfigError, "data must be in 0..0xffffffff, got -1"),
        ((0, 0, 1 << 32), ConfigError, "data must be in 0..0xffffffff, got 4294967296"),
        ((0, 0, 0, 2), ConfigError, "masked must be True or False, got 2"),
        ((0, "x", 0), TypeError, "address must be an integer, got 'x'"),
        ((0, 0, 1.5), TypeError, "data must be an integer, got 1.5"),
        ((0.0, 0, 0), TypeError, "vector must be an integer, got 0.0"),
        ((2, 0, 0), ConfigError, "vector must be in 0..1, got 2"),
    ],
)
def test_a_table_entry_that_cannot_be_is_refused_and_changes_nothing(
    arguments: tuple[int, ...], error: type[Exception], text: str
) -> None:
    rig = ItsRig(1, events=1)
    device = MsiDevice(rig.gic, 1, 2)
    device.program(0, rig.its.translater, 0)
    with pytest.raises(error) as caught:
        device.program(*arguments)
    assert str(caught.value) == text
    device.fire(0)
    assert rig.lpis() == [FIRST]


def test_a_table_entry_may_have_all_its_bits() -> None:
    device = MsiDevice(ItsRig(1).gic, (1 << 32) - 1, 1)
    device.program(0, (1 << 64) - 1, (1 << 32) - 1)
    device.fire(0)
