"""A guest with an MMU, user mode, page faults, preempted handlers and FP: it checks itself, see tests/guests/user."""

import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_rig import example

from gicv3.guests import LOAD_ADDRESS, MAGIC, SPI_DOORBELL
from gicv3.machine import VirtMachine
from gicv3.trace import Tracer
from gicv3.unicorn import Stop, UnicornMachine
from gicv3.vcpu import PowerState

pytestmark = pytest.mark.guest

SHARED = 0x10_0000
FIELDS = struct.Struct("<IIIIQQI")  # `struct shared` of tests/guests/user/shared.h
WANT, ONLINE, QUIT = 0x10, 0x18, 0x20
TASKS = 3
ROUND = {"svc": 8, "data": 6, "fetch": 2, "undefined": 3, "kernel": 1}
"""Exceptions in a round of one task."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return required.guest("user", tmp_path_factory.mktemp("guest")).read_bytes()


class Guest:
    """The guest on Unicorn; `work` and `ticks` are the rounds of each task and the timer interrupts of each vCPU."""

    def __init__(
        self, image: bytes, cpus: int, max_cpus: int | None = None, work: int = 5, ticks: int = 10, quantum: int = 1000
    ) -> None:
        self.output = bytearray()
        self.machine = VirtMachine(cpus=cpus, max_cpus=max_cpus or cpus)
        self.engine = UnicornMachine(
            self.machine, image=image, load_address=LOAD_ADDRESS, quantum=quantum, output=self.output.extend
        )
        self.want = (1 << cpus) - 1
        FIELDS.pack_into(self.engine.memory, SHARED, 0, work, ticks, 20_000, self.want, 0, 0)

    @property
    def magic(self) -> int:
        return int(FIELDS.unpack_from(self.engine.memory, SHARED)[0])

    @property
    def online(self) -> int:
        return int(FIELDS.unpack_from(self.engine.memory, SHARED)[5])

    def finish(self) -> list[dict[str, int]]:
        """Run to the end; returns what each vCPU has counted."""
        assert self.engine.run(2_000_000_000) is Stop.OFF
        self.machine.check()
        *lines, total = self.output.decode().splitlines()
        counts = [{name: int(count) for name, count in re.findall(r"(\w+) (\d+)", line)} for line in lines]
        assert total == f"rounds {sum(count['rounds'] for count in counts)}", self.output.decode()
        return counts

    def ring(self) -> None:
        struct.pack_into("<Q", self.engine.memory, SHARED + WANT, self.want)
        self.machine.gic.pulse_spi(SPI_DOORBELL)

    def run_until(self, done: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if done():
                return
            assert self.engine.run(1000) is Stop.LIMIT, self.output.decode()
        raise AssertionError("the guest did not get there")

    def plug(self, index: int) -> None:
        self.machine.device_add(id=f"cpu{index}", core_id=index)
        self.want |= 1 << index
        self.ring()
        self.run_until(lambda: bool(self.online >> index & 1))

    def unplug(self, index: int) -> None:
        cpu = self.machine.cpus[index]
        self.machine.device_del(f"cpu{index}")
        self.want &= ~(1 << index)
        self.ring()
        self.run_until(lambda: cpu.power_state is PowerState.OFF)
        self.machine.complete_unplug(f"cpu{index}")


def expected(cpu: int, cpus: int, work: int, ticks: int) -> dict[str, int]:
    """What one vCPU counts: a round has four SGIs of preemption, two from the vCPU before, two back from the next."""
    rounds = TASKS * work
    return {
        "cpu": cpu,
        "rounds": rounds,
        "sgi": 8 * rounds + (cpu < cpus - 1),
        "ppi": ticks,
        "spi": rounds,
        "preempted": 2 * rounds,
        # The call with which a task begins its next round is its last.
        **{name: count * rounds + (TASKS if name == "svc" else 0) for name, count in ROUND.items()},
    }


def agrees(guest: Guest, count: dict[str, int]) -> None:
    """The guest took what the GIC counted."""
    taken = guest.machine.gic.counters(count["cpu"])
    assert [taken[name] for name in ("sgi", "ppi", "spi")] == [count[name] for name in ("sgi", "ppi", "spi")]


@pytest.mark.parametrize("cpus", [1, 4, 16])
def test_every_exception_is_right_and_every_interrupt_is_taken(image: bytes, cpus: int) -> None:
    guest = Guest(image, cpus)
    counts = guest.finish()
    assert counts == [expected(cpu, cpus, work=5, ticks=10) for cpu in range(cpus)]
    for count in counts:
        agrees(guest, count)


def test_qemu_says_the_same(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "user.bin"
    path.write_bytes(image)
    done = subprocess.run(
        [
            required.tool("qemu-system-aarch64"), "-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-smp", "4",
            "-m", "128", "-display", "none", "-nodefaults", "-serial", "stdio",
            "-device", f"loader,file={path},addr={LOAD_ADDRESS:#x},cpu-num=0",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, check=True,
    )
    guest = Guest(image, cpus=4, work=20, ticks=20)
    guest.finish()
    assert done.stdout == guest.output


def test_a_run_repeats_exactly(image: bytes) -> None:
    def once() -> tuple[str, bytes, int, int]:
        guest = Guest(image, cpus=4)
        with Tracer(guest.machine.gic, entries=1 << 16) as tracer:
            guest.finish()
        assert tracer.lost == 0
        return tracer.text(), bytes(guest.output), guest.engine.clock, guest.engine.instructions

    first = once()
    assert first[0].count(" taken ") > 4 * TASKS * 5 * 8
    assert once() == first


def test_deliveries_do_not_depend_on_the_quantum(image: bytes) -> None:
    def deliveries(quantum: int) -> tuple[bytes, list[dict[str, int]]]:
        guest = Guest(image, cpus=4, quantum=quantum)
        guest.finish()
        return bytes(guest.output), [guest.machine.gic.counters(cpu) for cpu in range(4)]

    first = deliveries(64)
    for quantum in (256, 1024, 4096, 16_384, 65_536):
        assert deliveries(quantum) == first


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_vcpus_are_plugged_and_unplugged_a_thousand_times_under_it(image: bytes) -> None:
    guest = Guest(image, cpus=2, max_cpus=4, work=0, ticks=0)
    guest.run_until(lambda: guest.magic == MAGIC)
    for cycle in range(500):
        # Each time 3 comes while 2 is there, and goes after it.
        for index in (2, 3):
            guest.plug(index)
        for index in (2, 3):
            guest.unplug(index)
        if cycle % 50 == 0:
            guest.machine.check()
    struct.pack_into("<I", guest.engine.memory, SHARED + QUIT, 1)
    guest.ring()
    counts = guest.finish()
    assert [count["cpu"] for count in counts] == [0, 1, 2, 3]
    assert min(count["rounds"] for count in counts) > 100, counts
    for count in counts:
        agrees(guest, count)


@pytest.mark.parametrize("ticks", [12_345, 120_000])
def test_a_guest_that_is_saved_while_it_works_ends_as_any_other(ticks: int, image: bytes) -> None:
    save_unicorn = example("save_unicorn")
    guest = Guest(image, 2)
    with guest.engine as engine:
        assert engine.run(ticks) is Stop.LIMIT
        guest.engine = save_unicorn.restore(save_unicorn.save(engine), output=guest.output.extend)
    guest.machine = guest.engine.machine
    with guest.engine:
        assert guest.finish() == [expected(cpu, 2, 5, 10) for cpu in range(2)]
