"""A guest that knows ACPI: it takes the MADT from memory, and vCPUs in and out by the GED and the hotplug registers."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3 import HotplugError, Notifier, VirtMachine
from gicv3.acpi.cpuhp import OstInfo
from gicv3.acpi.tables import AcpiTables
from gicv3.guests import LOAD_ADDRESS, MAGIC
from gicv3.plug import HotplugEvent, HotplugStage
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

RAM, SHARED, TABLES = 0x4000_0000, 0x10_0000, 0x18_0000
FORM = struct.Struct("<Q14IQ")


class Shared(NamedTuple):
    """`struct shared` of tests/guests/acpi/acpi.h."""

    rsdp: int
    decline: int
    quit: int
    ready: int
    enabled: int
    online_capable: int
    denied: int
    online: int
    events: int
    inserted: int
    ejected: int
    kept: int
    errors: int
    last_error: int
    fault_esr: int
    fault_elr: int


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return required.guest("acpi", tmp_path_factory.mktemp("guest")).read_bytes()


class Guest:
    """The guest on Unicorn, booted, and what the host hears of it."""

    def __init__(self, image: bytes, cpus: int = 2, max_cpus: int = 6) -> None:
        self.machine = machine = VirtMachine(cpus=cpus, max_cpus=max_cpus)
        self.engine = UnicornMachine(machine, image=image, load_address=LOAD_ADDRESS)
        self.ost: list[OstInfo] = []
        self.events: list[HotplugEvent] = []
        assert machine.acpi_device is not None
        machine.acpi_device.ost_events.add(Notifier(self.ost.append))
        machine.hotplug_events.add(Notifier(self.events.append))
        rsdp, tables = AcpiTables(machine).place(RAM + TABLES)
        self.engine.memory[TABLES : TABLES + len(tables)] = tables
        self.engine.memory[SHARED : SHARED + 8] = rsdp.to_bytes(8, "little")
        self.run_until(lambda: self.shared.ready == MAGIC)

    @property
    def shared(self) -> Shared:
        return Shared._make(FORM.unpack_from(self.engine.memory, SHARED))

    def write(self, field: str, value: int) -> None:
        at = SHARED + 4 + 4 * Shared._fields.index(field)
        self.engine.memory[at : at + 4] = value.to_bytes(4, "little")

    def run_until(self, done: Callable[[], bool]) -> None:
        for _ in range(5_000):
            if done():
                return
            assert self.engine.run(1000) is Stop.LIMIT or done()
        raise AssertionError(f"the guest did not get there: {self.shared}")

    def plug(self, core: int) -> None:
        goal = self.shared.inserted + 1
        self.machine.device_add(id=f"cpu{core}", core_id=core)
        self.run_until(lambda: self.shared.inserted == goal)

    def unplug(self, core: int) -> None:
        self.machine.device_del(f"cpu{core}")
        self.run_until(lambda: core not in self.machine.cpus)
        self.settle()

    def settle(self) -> None:
        """Let the guest go to sleep."""
        assert self.engine.run() is Stop.IDLE

    def check(self) -> None:
        self.machine.check()
        shared = self.shared
        assert (shared.errors, shared.last_error, shared.fault_esr) == (0, 0, 0)
        assert self.machine.acpi_device is not None
        assert self.machine.acpi_device.bad_accesses == 0
        assert self.machine.acpi_device.cpuhp.bad_accesses == 0


@pytest.fixture
def guest(image: bytes) -> Guest:
    return Guest(image)


def test_the_guest_brings_up_what_the_madt_enables_and_is_denied_the_rest(guest: Guest) -> None:
    shared = guest.shared
    assert (shared.enabled, shared.online_capable) == (0b11, 0b11_1100)
    assert (shared.online, shared.denied) == (0b11, 4)
    # Neither the boot vCPU nor another of the start lets itself be ejected.
    assert shared.kept == 2
    guest.check()


def test_a_plugged_cpu_comes_online_and_is_ejected_on_request(guest: Guest) -> None:
    guest.plug(4)
    guest.settle()
    assert guest.shared.online == 0b1_0011
    guest.unplug(4)
    assert guest.shared.online == 0b11
    assert [event.stage for event in guest.events] == [
        HotplugStage.PLUG,
        HotplugStage.UNPLUG_REQUEST,
        HotplugStage.UNPLUG,
        HotplugStage.DELETED,
    ]
    assert guest.ost == [OstInfo("cpu4", 4, 0x200, 0), OstInfo(None, 4, 3, 0)]
    # While it still ran it could not be ejected.
    assert guest.shared.kept == 3
    guest.check()


def test_two_plugs_in_one_interrupt_both_come_online(guest: Guest) -> None:
    guest.settle()
    for core in (5, 3):
        guest.machine.device_add(id=f"cpu{core}", core_id=core)
    guest.run_until(lambda: guest.shared.inserted == 2)
    guest.settle()
    assert (guest.shared.online, guest.shared.events) == (0b10_1011, 1)
    guest.check()


def test_every_slot_comes_and_goes_again_and_again(guest: Guest) -> None:
    for cycle in range(12):
        core = 2 + cycle % 4
        guest.plug(core)
        guest.unplug(core)
    assert (guest.shared.inserted, guest.shared.ejected) == (12, 12)
    assert guest.shared.online == 0b11
    guest.check()


def test_a_guest_that_declines_keeps_the_cpu_until_it_is_asked_again(guest: Guest) -> None:
    guest.plug(2)
    guest.settle()
    guest.write("decline", 1 << 2)
    guest.machine.device_del("cpu2")
    guest.settle()
    assert guest.ost[-1] == OstInfo("cpu2", 2, 3, 0x81)
    assert (guest.events[-1].stage, guest.events[-1].status) == (HotplugStage.UNPLUG_REJECTED, 0x81)
    assert guest.shared.online == 0b111
    with pytest.raises(HotplugError, match="unplug of cpu 2 was not requested"):
        guest.machine.complete_unplug("cpu2")
    guest.write("decline", 0)
    guest.unplug(2)
    assert guest.shared.online == 0b11
    guest.check()


def test_the_guest_switches_off(guest: Guest) -> None:
    guest.write("quit", 1)
    guest.machine.device_add(id="last", core_id=2)
    assert guest.engine.run(10_000_000) is Stop.OFF
    guest.check()
