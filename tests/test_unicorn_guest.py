"""The SMP guest on `UnicornMachine`: what the demo shows, in pieces, and what must not depend on the host."""

import gc
import resource
import weakref
from pathlib import Path

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3 import guests
from gicv3.machine import VirtMachine
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

MAILBOX = guests.MAILBOX_ADDRESS - 0x4000_0000


class Guest:
    """The guest with the host's side of its mailbox."""

    def __init__(
        self, cpus: int = 4, max_cpus: int = 8, quantum: int = 1000, work: int = 0, flags: int = 0, timer: int = 0
    ) -> None:
        self.output = bytearray()
        self.machine = VirtMachine(cpus=cpus, max_cpus=max_cpus)
        self.engine = UnicornMachine(
            self.machine, image=guests.smp_image(), quantum=quantum, output=self.output.extend
        )
        self.memory = self.engine.memory[MAILBOX : MAILBOX + guests.MAILBOX_SIZE]
        self.write(guests.MAX_CPUS_OFFSET, max_cpus)
        self.write(guests.WORK_OFFSET, work)
        self.write(guests.FLAGS_OFFSET, flags)
        self.write(guests.TIMER_PERIOD_OFFSET, timer)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.memory[offset : offset + size] = value.to_bytes(size, "little")

    @property
    def mailbox(self) -> guests.Mailbox:
        return guests.parse_mailbox(self.memory)

    def record(self, cpu: int) -> guests.CpuRecord:
        return guests.parse_record(self.memory, cpu)

    def ring(self) -> None:
        self.machine.gic.pulse_spi(guests.SPI_DOORBELL)

    def run_until(self, done, ticks: int = 1000, turns: int = 10_000) -> None:
        for _ in range(turns):
            if done():
                return
            assert self.engine.run(ticks) is Stop.LIMIT
        raise AssertionError("the guest did not get there")

    def take(self, cpu: int, interrupts: int) -> None:
        goal = self.record(cpu).total + interrupts
        self.run_until(lambda: self.record(cpu).total >= goal)

    def eject(self, index: int) -> None:
        self.machine.device_del(f"cpu{index}")
        self.write(guests.EJECT_REQUEST_OFFSET, 1 << index, 8)
        self.ring()
        self.run_until(lambda: self.mailbox.ejected == 1 << index)
        self.machine.complete_unplug(f"cpu{index}")

    def plug(self, index: int) -> None:
        self.machine.device_add(id=f"cpu{index}", core_id=index)
        self.write(guests.EJECT_REQUEST_OFFSET, 0, 8)
        self.ring()
        self.run_until(lambda: self.mailbox.online >> index & 1)

    def quit(self) -> None:
        self.write(guests.QUIT_OFFSET, 1)
        self.ring()
        assert self.engine.run(1_000_000) is Stop.OFF

    def check(self) -> None:
        """The guest found nothing wrong, and counted what the GIC counted."""
        # Between its acknowledge and its count a handler is one behind the GIC.
        if self.engine.halted is None:
            self.run_until(lambda: all(pe["ICC_RPR_EL1"] in (0, 0xFF) for pe in self.machine.gic.pe), ticks=10)
        self.machine.check()
        for cpu in range(self.machine.max_cpus):
            record, counters = self.record(cpu), self.machine.gic.counters(cpu)
            assert (record.sgi, record.ppi, record.spi) == (counters["sgi"], counters["ppi"], counters["spi"])
            assert record.errors == record.log_lost == record.fault_esr == 0
        assert self.machine.gic.totals()["sgi_dropped"] == 0


def run_work(quantum: int) -> tuple[list[tuple[int, int]], bytes]:
    """Boot 4 vCPUs, do 50 rounds, plug 2 more while idle, 50 more rounds, eject one, off: the log and the output."""
    guest = Guest(max_cpus=6, quantum=quantum, work=50, flags=guests.GuestFlag.NO_TIMER)
    assert guest.engine.run() is Stop.IDLE
    for index in (4, 5):
        guest.machine.device_add(id=f"cpu{index}", core_id=index)
    guest.ring()
    assert guest.engine.run() is Stop.IDLE
    assert guest.mailbox.online == 0x3F
    guest.write(guests.WORK_OFFSET, 100)
    guest.ring()
    assert guest.engine.run() is Stop.IDLE
    guest.machine.device_del("cpu5")
    guest.write(guests.EJECT_REQUEST_OFFSET, 1 << 5, 8)
    guest.ring()
    assert guest.engine.run() is Stop.IDLE
    assert guest.mailbox.ejected == 1 << 5
    guest.machine.complete_unplug("cpu5")
    guest.check()
    guest.quit()
    assert guest.mailbox.rounds == 100
    return guests.parse_log(guest.memory), bytes(guest.output)


def test_delivery_log_does_not_depend_on_the_quantum() -> None:
    log, output = run_work(1000)
    # 50 rounds of 4 and 50 of 6, what each of 5 started vCPUs and one ejected reports, and 4 doorbells.
    assert len([entry for entry in log if entry[1] == guests.SGI_TOKEN]) == 50 * 4 + 50 * 6
    assert len([entry for entry in log if entry[1] == guests.SPI_DOORBELL]) == 4
    for quantum in (100, 10_000, 17):
        assert run_work(quantum) == (log, output)


def test_timers_of_all_vcpus_tick_at_their_rate() -> None:
    guest = Guest(cpus=4, work=1, timer=5000)
    guest.run_until(lambda: guest.mailbox.magic == guests.MAGIC)
    before = [guest.record(cpu).ppi for cpu in range(4)]
    assert guest.engine.run(5000 * 100) is Stop.LIMIT
    taken = [guest.record(cpu).ppi - before[cpu] for cpu in range(4)]
    # The handler sets the next timer a little after the last one.
    assert all(95 <= count <= 100 for count in taken), taken
    assert guest.engine.instructions < 400 * 1000
    guest.check()
    guest.quit()


def test_uart_input_is_echoed() -> None:
    guest = Guest(cpus=2, timer=50_000)
    guest.run_until(lambda: guest.mailbox.magic == guests.MAGIC)
    start = len(guest.output)
    guest.engine.uart.receive(b"hello, guest")
    guest.run_until(lambda: len(guest.output) == start + 12)
    assert guest.output[start:] == b"hello, guest"
    guest.check()
    guest.quit()


def test_64_vcpus_boot_and_pass_the_token() -> None:
    guest = Guest(cpus=64, max_cpus=64, work=2, flags=guests.GuestFlag.NO_TIMER)
    assert guest.engine.run() is Stop.IDLE
    assert guest.mailbox.online == (1 << 64) - 1
    assert guest.mailbox.rounds == 2
    guest.check()
    guest.quit()


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_plugging_and_unplugging_50_times_under_a_running_guest_leaks_nothing() -> None:
    guest = Guest(cpus=2, max_cpus=4, timer=20_000)
    guest.run_until(lambda: guest.mailbox.magic == guests.MAGIC)
    ucs = []
    sizes = []
    for cycle in range(50):
        guest.plug(3)
        ucs.append(weakref.ref(guest.engine.cpu(3).uc))
        guest.take(3, 5)
        guest.eject(3)
        if cycle in (24, 49):
            gc.collect()
            sizes.append(resident())
    assert not any(uc() for uc in ucs)
    assert guest.record(3).boots == 50
    # A Uc is about 3 MiB: 25 that were not closed would show.
    assert sizes[1] - sizes[0] < 8 << 20
    guest.check()
    guest.quit()
