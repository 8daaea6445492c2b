"""The CPU hotplug registers and the GED: what a guest reads, what its writes do, and what it cannot do."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from virt import fingerprint, plug

from gicv3 import HotplugError, Notifier, VirtMachine
from gicv3.acpi.cpuhp import CpuhpCommand, CpuhpFlag, CpuhpReg, OstInfo, PendingSlots
from gicv3.plug import HotplugEvent, HotplugStage
from gicv3.policy import HotplugPolicy
from gicv3.vcpu import PowerState

FLAG, CMD = CpuhpFlag, CpuhpCommand
GED_INTID = 41
WIDE = [0, 1, 0x100, 0x12_0000_0003, 0x200, 0x201]


class Block:
    """The registers of a machine as its guest reaches them: by their addresses."""

    def __init__(self, machine: VirtMachine) -> None:
        self.machine = machine
        self.devices = {region.base: (region, device) for region, device in machine.mmio_devices.items()}
        assert machine.acpi_device is not None
        self.device = machine.acpi_device
        # The trigger that the DSDT names; without it the pulse would leave nothing behind.
        machine.gic.dist["GICD_ICFGR", GED_INTID // 16] = 2 << GED_INTID % 16 * 2

    def read(self, offset: int, size: int = 4) -> int:
        return self.devices[0x090C_0000][1].read(offset, size)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.devices[0x090C_0000][1].write(offset, value, size)

    def select(self, slot: int) -> None:
        self.write(CpuhpReg.SELECTOR, slot)

    def command(self, command: int) -> None:
        self.write(CpuhpReg.COMMAND, command, 1)

    def flags(self, slot: int | None = None) -> CpuhpFlag:
        if slot is not None:
            self.select(slot)
        return CpuhpFlag(self.read(CpuhpReg.FLAGS, 1))

    def set_flags(self, slot: int, flags: int) -> None:
        self.select(slot)
        self.write(CpuhpReg.FLAGS, flags, 1)

    def next_event(self) -> tuple[int, CpuhpFlag]:
        self.command(CMD.NEXT_EVENT)
        return self.read(CpuhpReg.DATA), self.flags()

    def ost(self, slot: int, source: int, status: int) -> None:
        self.select(slot)
        self.command(CMD.OST_EVENT)
        self.write(CpuhpReg.DATA, source)
        self.command(CMD.OST_STATUS)
        self.write(CpuhpReg.DATA, status)

    def ged(self) -> int:
        return self.devices[0x0908_0000][1].read(0, 4)


@pytest.fixture
def block() -> Block:
    return Block(VirtMachine(cpus=2, max_cpus=6))


def pending(machine: VirtMachine) -> bool:
    return bool(machine.gic.dist["GICD_ISPENDR", GED_INTID // 32] >> GED_INTID % 32 & 1)


def acknowledge(machine: VirtMachine) -> None:
    machine.gic.dist["GICD_ICPENDR", GED_INTID // 32] = 1 << GED_INTID % 32


def test_the_registers_are_at_qemus_addresses() -> None:
    machine = VirtMachine(cpus=1, max_cpus=2)
    assert {(region.base, region.size) for region in machine.mmio_devices} == {(0x0908_0000, 4), (0x090C_0000, 12)}


@pytest.mark.parametrize("options", [{"acpi": False}, {"hotplug": False}])
def test_a_machine_without_hotplug_has_no_such_registers(options: dict[str, bool]) -> None:
    machine = VirtMachine(cpus=1, **options)
    assert (machine.mmio_devices, machine.acpi_device) == ({}, None)


def test_cold_cpus_are_enabled_and_absent_ones_are_not_and_nothing_is_pending(block: Block) -> None:
    assert [block.flags(slot) for slot in range(6)] == [FLAG.ENABLED] * 2 + [0] * 4
    assert (block.ged(), pending(block.machine)) == (0, False)


def test_a_plug_is_found_by_the_guest_and_acknowledged(block: Block) -> None:
    plug(block.machine, 4)
    assert pending(block.machine)
    assert block.ged() == 1 << 3
    assert block.next_event() == (4, FLAG.ENABLED | FLAG.INSERTING)
    block.write(CpuhpReg.FLAGS, FLAG.INSERTING, 1)
    assert block.flags(4) == FLAG.ENABLED


def test_a_request_is_found_by_the_guest_and_acknowledged(block: Block) -> None:
    plug(block.machine, 4)
    block.set_flags(4, FLAG.INSERTING)
    assert block.ged() == 1 << 3
    acknowledge(block.machine)
    block.machine.device_del("cpu4")
    assert pending(block.machine)
    assert block.ged() == 1 << 3
    assert block.next_event() == (4, FLAG.ENABLED | FLAG.REMOVING)
    block.write(CpuhpReg.FLAGS, FLAG.REMOVING, 1)
    assert block.flags(4) == FLAG.ENABLED


def test_asking_again_announces_the_request_again(block: Block) -> None:
    plug(block.machine, 4)
    for _ in range(2):
        block.machine.device_del("cpu4")
        assert (block.flags(4) & FLAG.REMOVING, block.ged()) == (FLAG.REMOVING, 1 << 3)
        block.set_flags(4, FLAG.REMOVING)


def test_two_plugs_before_the_guest_looks_make_one_interrupt_and_a_scan_finds_both(block: Block) -> None:
    plug(block.machine, 5)
    plug(block.machine, 3)
    acknowledge(block.machine)
    assert (block.ged(), block.ged(), pending(block.machine)) == (1 << 3, 0, False)
    found = []
    for _ in range(2):
        slot, flags = block.next_event()
        found.append((slot, flags))
        block.write(CpuhpReg.FLAGS, FLAG.INSERTING, 1)
    both = FLAG.ENABLED | FLAG.INSERTING
    assert found == [(3, both), (5, both)]
    assert block.next_event() == (5, FLAG.ENABLED)


@pytest.mark.parametrize(("start", "found"), [(0, 3), (3, 3), (4, 5), (5, 5)])
def test_the_next_event_is_searched_from_the_selected_slot_on_itself_included(
    block: Block, start: int, found: int
) -> None:
    plug(block.machine, 3)
    plug(block.machine, 5)
    block.select(start)
    assert block.next_event()[0] == found


def test_the_search_wraps_and_leaves_the_selector_where_nothing_is_pending(block: Block) -> None:
    block.select(4)
    assert block.next_event()[0] == 4
    plug(block.machine, 2)
    assert block.next_event()[0] == 2


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (FLAG.ENABLED, FLAG.INSERTING | FLAG.REMOVING),
        (FLAG.INSERTING, FLAG.REMOVING),
        (FLAG.REMOVING, FLAG.INSERTING),
        (FLAG.INSERTING | FLAG.REMOVING, FLAG.REMOVING),
        (FLAG.REMOVING | FLAG.EJECT, FLAG.INSERTING),
        (0xE0, FLAG.INSERTING | FLAG.REMOVING),
    ],
)
def test_one_write_does_one_thing_and_the_lowest_bit_wins(block: Block, written: int, left: int) -> None:
    cpu = plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.set_flags(4, written)
    assert block.flags(4) == FLAG.ENABLED | left
    assert block.machine.cpus[4] is cpu


def test_an_ejection_wins_over_leaving_it_to_firmware(block: Block) -> None:
    plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.set_flags(4, FLAG.EJECT | FLAG.FIRMWARE_EJECT)
    assert (block.flags(4), 4 in block.machine.cpus) == (0, False)


def test_leaving_the_ejection_to_firmware_is_an_event_until_the_cpu_is_gone(block: Block) -> None:
    plug(block.machine, 4)
    block.set_flags(4, FLAG.INSERTING)
    block.set_flags(4, FLAG.FIRMWARE_EJECT)
    block.select(0)
    assert block.next_event() == (4, FLAG.ENABLED | FLAG.FIRMWARE_EJECT)
    block.machine.device_del("cpu4")
    block.machine.complete_unplug("cpu4")
    assert block.flags(4) == 0


@pytest.mark.parametrize("slot", [0, 3])
def test_neither_the_first_slot_nor_an_empty_one_is_left_to_firmware(block: Block, slot: int) -> None:
    before = block.flags(slot)
    block.set_flags(slot, FLAG.FIRMWARE_EJECT)
    assert block.flags(slot) == before


def test_the_guests_ejection_is_the_transaction_of_device_del(block: Block) -> None:
    machine = block.machine
    told: list[tuple[HotplugStage, CpuhpFlag, bool]] = []

    def on_event(event: HotplugEvent) -> None:
        told.append((event.stage, block.flags(4), 4 in machine.cpus))

    cpu = plug(machine, 4)
    block.set_flags(4, FLAG.INSERTING)
    machine.device_del("cpu4")
    block.set_flags(4, FLAG.REMOVING)
    machine.hotplug_events.add(Notifier(on_event))
    machine.cpuhp_notifiers.add(Notifier(lambda info: told.append((HotplugStage.UNPLUG, block.flags(4), True))))
    block.set_flags(4, FLAG.EJECT)
    assert (4 in machine.cpus, cpu.wired, cpu.gicv3state) == (False, False, None)
    # ACPI says it is gone before the GIC hears of it, and the slot is free before anybody is told so.
    assert told == [
        (HotplugStage.UNPLUG, FLAG.ENABLED, True),
        (HotplugStage.UNPLUG, FLAG(0), True),
        (HotplugStage.DELETED, FLAG(0), False),
    ]
    assert plug(machine, 4, "again") is not cpu


def _not_asked(block: Block) -> int:
    plug(block.machine, 4)
    return 4


def _running(block: Block) -> int:
    plug(block.machine, 4).power_state = PowerState.ON
    block.machine.device_del("cpu4")
    return 4


def _starting(block: Block) -> int:
    plug(block.machine, 4).power_state = PowerState.ON_PENDING
    block.machine.device_del("cpu4")
    return 4


def _kept_by_a_notifier(block: Block) -> int:
    plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.machine.cpuhp_notifiers.add(Notifier(_refuse))
    return 4


def _refuse(info: object) -> None:
    raise HotplugError("not now")


@pytest.mark.parametrize(
    "prepare", [lambda block: 0, lambda block: 1, lambda block: 3, _not_asked, _running, _starting, _kept_by_a_notifier]
)
def test_a_guest_cannot_eject_what_may_not_go(block: Block, prepare: Callable[[Block], int]) -> None:
    block.select(prepare(block))
    before = fingerprint(block.machine)
    block.write(CpuhpReg.FLAGS, FLAG.EJECT, 1)
    assert fingerprint(block.machine) == before
    assert block.device.cpuhp.refused_ejects == 1


def test_where_the_policy_stops_a_running_cpu_the_guest_may_eject_it() -> None:
    block = Block(VirtMachine(cpus=1, max_cpus=5, policy=HotplugPolicy(running="stop")))
    cpu = plug(block.machine, 4)
    cpu.power_state = PowerState.ON
    block.machine.device_del("cpu4")
    block.set_flags(4, FLAG.EJECT)
    assert (4 in block.machine.cpus, cpu.power_state) == (False, PowerState.OFF)


def test_a_cpu_that_is_enabled_and_disabled_for_administration_looks_plugged_and_unplugged() -> None:
    block = Block(VirtMachine(cpus=1, max_cpus=3, policy=HotplugPolicy(admin_state=True)))
    path = block.machine.vcpu(2).qom_path
    assert block.flags(2) == 0
    block.machine.device_set(path, True)
    assert (block.flags(2), block.ged()) == (FLAG.ENABLED | FLAG.INSERTING, 1 << 3)
    block.set_flags(2, FLAG.INSERTING)
    block.machine.device_set(path, False)
    assert (block.flags(2), block.ged()) == (FLAG.ENABLED | FLAG.REMOVING, 1 << 3)
    block.set_flags(2, FLAG.EJECT)
    assert block.flags(2) == 0
    assert not block.machine.vcpu(2).enabled


@pytest.mark.parametrize("seen", [False, True])
def test_a_request_that_is_taken_back_is_gone_and_a_guest_that_saw_it_is_told_that_the_cpu_came(seen: bool) -> None:
    block = Block(VirtMachine(cpus=1, max_cpus=3, policy=HotplugPolicy(admin_state=True)))
    path = block.machine.vcpu(2).qom_path
    block.machine.device_set(path, True)
    block.set_flags(2, FLAG.INSERTING)
    block.machine.device_set(path, False)
    assert block.ged() == 1 << 3
    if seen:
        block.set_flags(2, FLAG.REMOVING)
    block.machine.device_set(path, True)
    assert (block.flags(2), block.ged()) == ((FLAG.ENABLED | FLAG.INSERTING, 1 << 3) if seen else (FLAG.ENABLED, 0))
    block.set_flags(2, FLAG.EJECT)
    assert block.machine.vcpu(2).enabled
    assert block.device.cpuhp.refused_ejects == 1


def test_a_callback_that_fails_in_a_guests_ejection_is_not_swallowed(block: Block) -> None:
    def broken(info: object) -> None:
        raise ZeroDivisionError

    plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.select(4)
    before = fingerprint(block.machine)
    block.machine.cpuhp_notifiers.add(notifier := Notifier(broken))
    with pytest.raises(ZeroDivisionError):
        block.write(CpuhpReg.FLAGS, FLAG.EJECT, 1)
    notifier.remove()
    assert fingerprint(block.machine) == before


def test_a_refused_plug_announces_nothing(block: Block) -> None:
    block.machine.hotplug_events.add(Notifier(_refuse))
    with pytest.raises(HotplugError, match="not now"):
        plug(block.machine, 4)
    assert (block.flags(4), block.ged(), pending(block.machine)) == (0, 0, False)


def test_a_refused_request_announces_nothing(block: Block) -> None:
    plug(block.machine, 4)
    block.set_flags(4, FLAG.INSERTING)
    block.ged()
    acknowledge(block.machine)
    block.machine.hotplug_events.add(Notifier(_refuse))
    with pytest.raises(HotplugError, match="not now"):
        block.machine.device_del("cpu4")
    assert (block.flags(4), block.ged(), pending(block.machine)) == (FLAG.ENABLED, 0, False)


def test_a_cold_cpu_that_is_added_as_a_device_makes_no_event() -> None:
    block = Block(VirtMachine(cpus=1, max_cpus=3, devices=[{"core_id": 2}]))
    assert (block.flags(2), block.ged(), pending(block.machine)) == (FLAG.ENABLED, 0, False)


@pytest.mark.parametrize("slot", range(len(WIDE)))
def test_command_3_tells_the_whole_affinity_of_any_slot(slot: int) -> None:
    block = Block(VirtMachine(cpus=1, affinities=WIDE))
    block.select(slot)
    block.command(CMD.ARCH_ID)
    assert block.read(CpuhpReg.DATA2) << 32 | block.read(CpuhpReg.DATA) == WIDE[slot]


def test_data_and_data2_have_nothing_under_other_commands() -> None:
    block = Block(VirtMachine(cpus=1, affinities=WIDE))
    block.select(3)
    assert (block.read(CpuhpReg.DATA), block.read(CpuhpReg.DATA2)) == (3, 0)
    for command in (CMD.OST_EVENT, CMD.OST_STATUS):
        block.command(command)
        assert (block.read(CpuhpReg.DATA), block.read(CpuhpReg.DATA2)) == (0, 0)


@pytest.mark.parametrize("command", [4, 5, 0xFF])
def test_an_unknown_command_leaves_the_last_one_in_force(block: Block, command: int) -> None:
    block.select(5)
    block.command(CMD.ARCH_ID)
    block.command(command)
    assert block.read(CpuhpReg.DATA) == block.machine.gic.affinity(5)


def test_the_data_register_takes_nothing_under_commands_that_do_not_ask(block: Block) -> None:
    for command in (CMD.NEXT_EVENT, CMD.ARCH_ID):
        block.command(command)
        block.write(CpuhpReg.DATA, 1)
    assert block.device.ospm_status() == [OstInfo(None, slot, 0, 0) for slot in range(6)]


@pytest.mark.parametrize("slot", [6, 7, 0x8000_0000, 0xFFFF_FFFF])
def test_while_no_slot_is_selected_all_reads_zero_and_only_the_selector_is_written(block: Block, slot: int) -> None:
    plug(block.machine, 5)
    block.select(slot)
    before = fingerprint(block.machine)
    for command in range(5):
        block.command(command)
        block.write(CpuhpReg.DATA, 3)
        assert [block.read(offset) for offset in (0, 4, 8)] == [0, 0, 0]
    for flag in FLAG:
        block.write(CpuhpReg.FLAGS, flag, 1)
    assert fingerprint(block.machine) == before
    assert block.device.ospm_status() == [OstInfo("cpu5" if slot == 5 else None, slot, 0, 0) for slot in range(6)]
    # The last slot is still one; the command in force is the one from before.
    assert (block.flags(5), block.read(CpuhpReg.DATA)) == (FLAG.ENABLED | FLAG.INSERTING, 5)


def test_reset_changes_nothing(block: Block) -> None:
    plug(block.machine, 3)
    block.select(3)
    block.command(CMD.ARCH_ID)
    block.machine.reset()
    assert block.read(CpuhpReg.DATA) == block.machine.gic.affinity(3)
    assert block.flags() == FLAG.ENABLED | FLAG.INSERTING
    assert block.ged() == 1 << 3


def test_a_status_is_told_and_kept_with_its_source(block: Block) -> None:
    told: list[OstInfo] = []
    block.device.ost_events.add(Notifier(told.append))
    plug(block.machine, 4)
    block.ost(4, 0x200, 0)
    block.ost(1, 0x1_0000_0100, 0xFFFF_FFFF)
    expected = [OstInfo("cpu4", 4, 0x200, 0), OstInfo(None, 1, 0x100, 0xFFFF_FFFF)]
    assert told == expected
    assert block.device.ospm_status() == [
        OstInfo(None, 0, 0, 0),
        expected[1],
        OstInfo(None, 2, 0, 0),
        OstInfo(None, 3, 0, 0),
        expected[0],
        OstInfo(None, 5, 0, 0),
    ]


REJECTED = HotplugStage.UNPLUG_REJECTED


@pytest.mark.parametrize(
    ("source", "status", "stages"),
    [
        (3, 0, []),
        (3, 0x84, []),
        (3, 1, [REJECTED]),
        (3, 0x82, [REJECTED]),
        (0x103, 0x80, [REJECTED]),
        (0x103, 0x84, []),
        (0x200, 0x82, []),
        (2, 1, []),
    ],
)
def test_a_failed_ejection_ends_the_request_and_leaves_the_cpu(
    block: Block, source: int, status: int, stages: list[HotplugStage]
) -> None:
    told: list[HotplugEvent] = []
    cpu = plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.machine.hotplug_events.add(Notifier(told.append))
    block.ost(4, source, status)
    assert [(event.stage, event.status) for event in told] == [(stage, status) for stage in stages]
    assert block.machine.cpus[4] is cpu
    assert cpu.unplug_requested == (not stages)
    block.machine.device_del("cpu4")
    block.set_flags(4, FLAG.EJECT)
    assert 4 not in block.machine.cpus


def test_a_failure_that_nobody_asked_about_is_only_told(block: Block) -> None:
    told: list[Any] = []
    block.machine.hotplug_events.add(Notifier(told.append))
    plug(block.machine, 4)
    told.clear()
    block.ost(4, 3, 1)
    block.ost(3, 3, 1)
    assert told == []


def test_a_listener_that_fails_keeps_neither_the_others_nor_the_machine_from_hearing(block: Block) -> None:
    def broken(info: OstInfo) -> None:
        raise ZeroDivisionError

    cpu = plug(block.machine, 4)
    block.machine.device_del("cpu4")
    block.device.ost_events.add(Notifier(broken))
    with pytest.raises(ZeroDivisionError):
        block.ost(4, 3, 1)
    assert not cpu.unplug_requested


@pytest.mark.parametrize(("size", "value"), [(1, 0x34), (2, 0x1234), (4, 0x12_1234)])
def test_a_narrow_read_has_the_low_bytes(size: int, value: int) -> None:
    block = Block(VirtMachine(cpus=1, affinities=[0, 0x12_1234]))
    block.select(1)
    block.command(CMD.ARCH_ID)
    assert block.read(CpuhpReg.DATA, size) == value


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (2, 2), (5, 1), (6, 2), (7, 1), (9, 1), (10, 2), (11, 1)])
def test_bytes_without_a_register_read_zero(block: Block, offset: int, size: int) -> None:
    block.select(5)
    plug(block.machine, 5)
    assert block.read(offset, size) == 0
    if offset != CpuhpReg.COMMAND:
        before = fingerprint(block.machine)
        block.write(offset, 0xFFFF_FFFF, size)
        assert fingerprint(block.machine) == before
    assert block.device.cpuhp.bad_accesses == 0


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 8), (8, 8), (0, 0), (0, 3), (0, 16), (1, 2), (2, 4), (6, 4), (12, 1), (12, 4), (11, 2), (0xFFC, 4), (-4, 4)],
)
def test_a_bad_access_is_counted_and_reads_zero_and_is_ignored(block: Block, offset: int, size: int) -> None:
    plug(block.machine, 5)
    block.select(5)
    before = fingerprint(block.machine)
    assert block.read(offset, size) == 0
    block.write(offset, 0, size)
    assert fingerprint(block.machine) == before
    assert block.device.cpuhp.bad_accesses == 2


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 2), (0, 8), (1, 1), (4, 4), (-4, 4)])
def test_a_bad_read_of_the_ged_is_counted_and_clears_nothing(block: Block, offset: int, size: int) -> None:
    plug(block.machine, 5)
    assert block.device.read(offset, size) == 0
    assert block.device.bad_accesses == 1
    assert block.ged() == 1 << 3


def test_a_write_to_the_ged_is_counted_and_ignored(block: Block) -> None:
    plug(block.machine, 5)
    block.device.write(0, 0xFFFF_FFFF, 4)
    assert block.device.bad_accesses == 1
    assert block.ged() == 1 << 3


def test_slots_beyond_64_are_found_too() -> None:
    block = Block(VirtMachine(cpus=1, max_cpus=4096, redist2_capacity=4096))
    plug(block.machine, 4095)
    plug(block.machine, 64)
    assert [block.next_event()[0], block.set_flags(64, FLAG.INSERTING), block.next_event()[0]] == [64, None, 4095]


def test_pending_slots_are_what_a_plain_dictionary_of_flags_says():
    slots, plain = PendingSlots(65_536), dict[int, int]()
    edges = [0, 1, 255, 256, 257, 511, 512, 4095, 65_279, 65_280, 65_535]
    choice = random.Random(1)
    for _ in range(4000):
        slot, flags = choice.choice(edges), choice.choice([2, 4, 16])
        match choice.randrange(4):
            case 0:
                slots.clear(slot)
                plain.pop(slot, None)
            case 1:
                slots.clear(slot, flags)
                plain[slot] = plain.get(slot, 0) & ~flags
            case _:
                slots.set(slot, flags)
                plain[slot] = plain.get(slot, 0) | flags
        plain = {member: held for member, held in plain.items() if held}
        assert slots[slot] == plain.get(slot, 0)
        assert slots.having(flags) == sorted(member for member, held in plain.items() if held & flags)
        start = choice.choice(edges)
        assert slots.next(start) == min((member for member in plain if member >= start), default=None)
