# SPDX-License-Identifier: MIT
"""The SMP guest's image: it is what its source says, and it does on QEMU what it is to do on gicv3.

QEMU is the second opinion here: a guest that only ever ran on the emulator it tests could share its mistakes.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from required import guest, tool, unavailable

from gicv3 import guests
from gicv3.guests import CpuRecord, CpuState, GuestFlag, Mailbox

SOURCE = Path(__file__).parent / "guests" / "smp"
COMPILER = "aarch64-linux-gnu-gcc"
COMPILER_VERSION = "12.2.0"  # of the committed image; another version may well choose other instructions
QEMU = "qemu-system-aarch64"
DEADLINE = 60.0  # seconds; each of the steps below takes milliseconds
QEMU_TICKS_PER_100_US = 6250
GICD_ISPENDR1 = 0x0800_0204


# The image and its source


def test_image_is_what_the_source_builds(tmp_path: Path) -> None:
    version = subprocess.run([tool(COMPILER), "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    if version.strip() != COMPILER_VERSION:
        unavailable(f"the image was built by {COMPILER} {COMPILER_VERSION}, this is {version.strip()}")
    built = guest("smp", tmp_path).read_bytes()
    assert built == guests.smp_image(), "run tests/guests/build.sh smp and commit gicv3/guests/smp.bin"


def test_image_starts_at_its_first_byte_with_interrupts_masked() -> None:
    assert guests.smp_image()[:4] == bytes.fromhex("df4f03d5")  # msr daifset, #0xf


HEADER = (SOURCE / "mailbox.h").read_text()
DEFINES = {name: int(value, 0) for name, value in re.findall(r"#define (\w+) (0x[0-9A-Fa-f]+|\d+)\b", HEADER)}


def c_fields(struct_name: str) -> list[tuple[str, str]]:
    """(name, struct format letter) of each field, in order."""
    body = re.search(rf"^struct {struct_name} {{\n(.*?)^}};", HEADER, re.MULTILINE | re.DOTALL)
    assert body is not None
    return [
        (name, {"u32": "I", "u64": "Q"}[c_type])
        for c_type, names in re.findall(r"^ +(u32|u64) ([\w, ]+);", body[1], re.MULTILINE)
        for name in names.split(", ")
    ]


def test_host_and_guest_agree_on_every_constant() -> None:
    defines = dict(DEFINES)
    assert defines.pop("FLAG_NO_TIMER") == GuestFlag.NO_TIMER
    assert defines == {name: getattr(guests, name) for name in defines}
    states = dict(re.findall(r"STATE_(\w+) = (\d+)", HEADER))
    assert {name: int(value) for name, value in states.items()} == {state.name: state.value for state in CpuState}


def test_host_and_guest_agree_on_the_mailbox() -> None:
    fields = c_fields("mailbox_page")
    assert [name for name, _ in fields] == list(Mailbox._fields)
    letters = "".join(letter for _, letter in fields)
    memory = struct.pack("<" + letters, *range(len(fields)))
    assert guests.parse_mailbox(memory) == Mailbox(*range(len(fields)))
    for i, (name, _) in enumerate(fields):
        assert getattr(guests, f"{name.upper()}_OFFSET") == struct.calcsize("<" + letters[:i]), name


def test_host_and_guest_agree_on_the_cpu_record() -> None:
    fields = c_fields("record")
    assert [name for name, _ in fields] == list(CpuRecord._fields)
    record = struct.pack("<" + "".join(letter for _, letter in fields), *range(len(fields)))
    assert len(record) == guests.RECORD_SIZE
    last = guests.MAX_CPUS - 1
    memory = bytes(guests.RECORDS_OFFSET + last * guests.RECORD_SIZE) + record
    assert guests.parse_record(memory, last) == CpuRecord(*range(len(fields)))


def test_log_ends_where_the_mailbox_ends() -> None:
    assert guests.LOG_ENTRIES_OFFSET + 4 * guests.LOG_CAPACITY == guests.MAILBOX_SIZE
    assert guests.RECORDS_OFFSET + guests.MAX_CPUS * guests.RECORD_SIZE <= guests.LOG_OFFSET


# The image on QEMU


class QemuGuest:
    """The guest on QEMU's `virt` machine; the host's side of the mailbox goes through QEMU's qtest socket."""

    def __init__(self, qtest: socket.socket, uart: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.uart = uart
        self.process = process
        self._qtest = qtest
        self._open = [qtest, uart]
        self._received = {qtest: b"", uart: b""}

    def _receive(self) -> None:
        """Wait for bytes on either socket: a UART that nobody reads would stop the guest, and with it QEMU."""
        ready, _, _ = select.select(self._open, [], [], DEADLINE)
        assert ready, f"QEMU is silent, the guest's last words: {self._received[self.uart]!r}"
        for source in ready:
            received = source.recv(65536)
            if not received:
                self._open.remove(source)
            self._received[source] += received

    def _wait_bytes(self, source: socket.socket, end: bytes) -> bytes:
        """Everything received from source up to `end`."""
        while end not in self._received[source]:
            assert source in self._open, f"QEMU is gone, the guest's last words: {self._received[self.uart]!r}"
            self._receive()
        before, _, self._received[source] = self._received[source].partition(end)
        return before

    def _command(self, line: str) -> str:
        self._qtest.sendall(line.encode() + b"\n")
        while True:
            status, *values = self._wait_bytes(self._qtest, b"\n").decode().split()
            if status == "OK":
                return values[0] if values else ""
            assert status == "IRQ", f"{line}: {status} {values}"

    def read(self, offset: int, size: int) -> bytes:
        return bytes.fromhex(self._command(f"read {guests.MAILBOX_ADDRESS + offset:#x} {size:#x}")[2:])

    def write32(self, offset: int, value: int) -> None:
        self._command(f"writel {guests.MAILBOX_ADDRESS + offset:#x} {value:#x}")

    def write64(self, offset: int, value: int) -> None:
        self._command(f"writeq {guests.MAILBOX_ADDRESS + offset:#x} {value:#x}")

    def ring_doorbell(self) -> None:
        self._command(f"writel {GICD_ISPENDR1:#x} {1 << guests.SPI_DOORBELL % 32:#x}")

    @property
    def mailbox(self) -> Mailbox:
        return guests.parse_mailbox(self.read(0, 0x40))

    def record(self, cpu: int) -> CpuRecord:
        return guests.parse_record(self.read(0, guests.LOG_OFFSET), cpu)

    @property
    def log(self) -> list[tuple[int, int]]:
        count = self.read(guests.LOG_OFFSET, 4)
        entries = self.read(guests.LOG_ENTRIES_OFFSET, 4 * max(struct.unpack("<I", count)[0], 1))
        # As it was when the count was read: a running guest goes on writing.
        return guests.parse_log(bytes(guests.LOG_OFFSET) + count.ljust(16, b"\0") + entries)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.mailbox} {[self.record(cpu) for cpu in range(4)]}"
            time.sleep(0.002)  # each question stops the guest: leave it some time between two

    def wait_text(self, text: bytes) -> None:
        """Wait for text on the UART, after what was waited for before."""
        self._wait_bytes(self.uart, text)

    def switch_off(self) -> None:
        self.write32(guests.QUIT_OFFSET, 1)
        self.ring_doorbell()
        self.wait_text(b"off\r\n")
        assert self.process.wait(DEADLINE) == 0


Boot = Callable[..., QemuGuest]


@pytest.fixture
def boot() -> Iterator[Boot]:
    """A function that boots the guest: boot(cpus, *QEMU arguments, max_cpus=, work=, period=, flags=)."""
    with ExitStack() as stack:

        def boot(
            cpus: int, *arguments: str, max_cpus: int = 0, work: int = 0, period: int = 0, flags: int = 0
        ) -> QemuGuest:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            image = folder / "smp.bin"
            image.write_bytes(guests.smp_image())
            words = {
                guests.MAX_CPUS_OFFSET: max_cpus,
                guests.WORK_OFFSET: work,
                guests.TIMER_PERIOD_OFFSET: period,
                guests.FLAGS_OFFSET: flags,
            }
            command = [tool(QEMU), "-M", "virt,gic-version=3", "-cpu", "cortex-a57", "-smp", str(cpus), "-m", "128"]
            command += ["-nodefaults", "-display", "none", "-qtest-log", "none", *arguments]
            listeners = []
            for name, options in (
                ("qtest", ["-qtest", f"unix:{folder}/qtest"]),
                ("uart", ["-chardev", f"socket,id=uart,path={folder}/uart", "-serial", "chardev:uart"]),
            ):
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(f"{folder}/{name}")
                listener.listen()
                listener.settimeout(DEADLINE)
                listeners.append(listener)
                command += options
            for offset, value in words.items():
                command += ["-device", f"loader,addr={guests.MAILBOX_ADDRESS + offset:#x},data={value},data-len=4"]
            command += ["-device", f"loader,file={image},addr={guests.LOAD_ADDRESS:#x},cpu-num=0"]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            sockets = []
            for listener in listeners:
                connected = stack.enter_context(listener.accept()[0])
                connected.settimeout(DEADLINE)
                sockets.append(connected)
            guest = QemuGuest(sockets[0], sockets[1], process)
            guest.wait(lambda: guest.mailbox.magic == guests.MAGIC, "boot")
            return guest

        yield boot


def rounds_log(online: list[int], rounds: int) -> list[tuple[int, int]]:
    """What `rounds` rounds of the ring add to the log: the token visits all other CPUs and comes home to CPU 0."""
    return [(cpu, guests.SGI_TOKEN) for _ in range(rounds) for cpu in [*online[1:], 0]]


@pytest.mark.oracle
def test_every_cpu_takes_sgis_ppis_and_spis(boot: Boot) -> None:
    guest = boot(4, period=QEMU_TICKS_PER_100_US)  # often enough to interrupt the guest's check of its registers
    assert guest.mailbox.online == 0b1111
    guest.wait_text(b"cpu 3 online\r\n")

    def all_served() -> bool:
        guest.uart.sendall(b"x")
        guest.wait_text(b"x")
        records = [guest.record(cpu) for cpu in range(4)]
        return all(r.sgi >= 100 and r.ppi >= 1000 and r.spi >= 2 for r in records)

    guest.wait(all_served, "interrupts of all classes on all CPUs")
    for cpu in range(4):
        record = guest.record(cpu)
        assert (record.state, record.boots, record.mpidr & 0xFF_00FF_FFFF) == (CpuState.ONLINE, 1, cpu)
        assert (record.errors, record.fault_esr) == (0, 0)  # log_lost depends on how fast the host lets CPU 0 run
    guest.switch_off()


@pytest.mark.oracle
def test_ejected_cpus_stop_and_start_again(boot: Boot) -> None:
    guest = boot(4)

    def wait_for_sgis(cpus: tuple[int, ...], before: list[CpuRecord]) -> None:
        guest.wait(lambda: all(guest.record(cpu).sgi > before[cpu].sgi + 100 for cpu in cpus), f"SGIs on {cpus}")

    for generation in (1, 2, 3):
        guest.write64(guests.EJECT_REQUEST_OFFSET, 0b1100)
        guest.ring_doorbell()
        guest.wait_text(b"cpu 3 offline\r\n")
        assert (guest.mailbox.online, guest.mailbox.ejected) == (0b0011, 0b1100)
        before = [guest.record(cpu) for cpu in range(4)]
        assert [(r.state, r.boots) for r in before[2:]] == [(CpuState.OFF, generation)] * 2
        wait_for_sgis((0, 1), before)
        assert [guest.record(cpu) for cpu in (2, 3)] == before[2:]

        guest.write64(guests.EJECT_REQUEST_OFFSET, 0)
        guest.ring_doorbell()
        guest.wait_text(b"cpu 3 online\r\n")
        assert (guest.mailbox.online, guest.mailbox.ejected) == (0b1111, 0)
        wait_for_sgis((0, 1, 2, 3), before)
    assert [guest.record(cpu).errors for cpu in range(4)] == [0] * 4
    guest.switch_off()


ENGINES = {
    "one host thread per vCPU": ["-accel", "tcg,thread=multi"],
    "one host thread": ["-accel", "tcg,thread=single"],
    "counted instructions": ["-accel", "tcg,thread=single", "-icount", "shift=4"],
}


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_log_without_timer_is_a_function_of_the_hosts_requests(boot: Boot, engine: str) -> None:
    guest = boot(4, *ENGINES[engine], max_cpus=6, work=200, flags=GuestFlag.NO_TIMER)
    doorbell, leave, state = ((0, guests.SPI_DOORBELL), guests.SGI_LEAVE, (0, guests.SGI_STATE))
    expected = [state] * 3 + rounds_log([0, 1, 2, 3], 200)

    def done(rounds: int) -> bool:
        return guest.mailbox.rounds == rounds and len(guest.log) == len(expected)

    guest.wait(lambda: done(200), "the first rounds")
    assert guest.log == expected

    guest.write64(guests.EJECT_REQUEST_OFFSET, 0b1010)
    guest.ring_doorbell()
    expected += [doorbell, (1, leave), state, (3, leave), state]
    guest.wait(lambda: done(200) and guest.mailbox.ejected == 0b1010, "the eject")
    assert guest.log == expected

    guest.write32(guests.WORK_OFFSET, 250)
    guest.ring_doorbell()
    expected += [doorbell, *rounds_log([0, 2], 50)]
    guest.wait(lambda: done(250), "the rounds without the ejected")
    assert guest.log == expected

    guest.write64(guests.EJECT_REQUEST_OFFSET, 0b0010)
    guest.write32(guests.WORK_OFFSET, 300)
    guest.ring_doorbell()
    expected += [doorbell, state, *rounds_log([0, 2, 3], 50)]
    guest.wait(lambda: done(300), "the rounds with CPU 3 back")
    assert guest.log == expected

    records = [guest.record(cpu) for cpu in range(6)]
    assert [r.sgi for r in records] == [sum(c == cpu and i < 16 for c, i in expected) for cpu in range(6)]
    assert [(r.ppi, r.spurious, r.errors) for r in records] == [(0, 0, 0)] * 6
    guest.switch_off()


@pytest.mark.oracle
@pytest.mark.parametrize("cpus", [1, 17, 64])
def test_ring_of_any_size(boot: Boot, cpus: int) -> None:
    guest = boot(cpus, "-accel", "tcg,thread=single", max_cpus=64, work=20, flags=GuestFlag.NO_TIMER)
    expected = [(0, guests.SGI_STATE)] * (cpus - 1) + rounds_log(list(range(cpus)), 20)
    guest.wait(lambda: guest.mailbox.rounds == 20 and len(guest.log) == len(expected), "the rounds")
    assert guest.log == expected
    mpidrs = [guest.record(cpu).mpidr & 0xFF_00FF_FFFF for cpu in range(cpus)]
    assert mpidrs == [cpu // 16 << 8 | cpu % 16 for cpu in range(cpus)]
    guest.switch_off()
