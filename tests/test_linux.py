"""Debian's unmodified arm64 kernel on `UnicornMachine`, to a shell and back: `make linux` fetches it and runs this."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)
pytest.importorskip("fdt", exc_type=ImportError)

from gicv3.errors import ConfigError
from gicv3.machine import MIB, VirtMachine
from gicv3.unicorn import Stop, UnicornMachine
from gicv3.unicorn.linux import linux

IMAGES = Path(__file__).parent.parent / "build" / "linux"
PROMPT = "guest# "
CPUS = 4
APPEND = "console=ttyAMA0 loglevel=7 cryptomgr.notests=1"
BAD = re.compile(r"WARNING|BUG:|Call trace|Oops|panic|lockup|stall|hung task|Unhandled|spurious", re.IGNORECASE)


class Guest:
    """A booted Linux with a shell on its console."""

    def __init__(self, cpus: int) -> None:
        self.text = ""
        self.machine = VirtMachine(cpus=cpus, ram_size=256 * MIB, its=True)
        kernel, initrd = ((IMAGES / name).read_bytes() for name in ("kernel", "initrd"))
        self.engine = UnicornMachine(
            self.machine,
            output=self._output,
            quantum=10_000,
            **linux(self.machine, kernel, initrd=initrd, append=APPEND),
        )
        self._wanted = ""
        before = time.monotonic(), time.process_time()
        self.wait(PROMPT, instructions=6_000_000_000)
        self.seconds, self.cpu_seconds = time.monotonic() - before[0], time.process_time() - before[1]
        self.boot_log = self.text

    def _output(self, data: bytes) -> None:
        self.text += data.decode("latin-1")
        if self._wanted and self.text.endswith(self._wanted):
            self.engine.stop()

    def wait(self, text: str, instructions: int = 2_000_000_000) -> None:
        """Run until the console ends with `text`."""
        self._wanted = text
        stop = self.engine.run(instructions)
        assert stop is Stop.STOPPED, f"{stop}; the console ends with:\n{self.text[-2000:]}"

    def shell(self, command: str) -> str:
        """Type a command; returns what it printed."""
        start = len(self.text)
        # The echo of what is typed must not look like the end of what it prints.
        self.engine.uart.receive(f"{command}; echo en''ded\n".encode())
        self.wait("ended\r\n" + PROMPT)
        return self.text[start:].split("en''ded\r\n", 1)[1].rsplit("ended\r\n", 1)[0].replace("\r", "")

    def interrupts(self) -> dict[str, list[int]]:
        """/proc/interrupts: counts of each vCPU by what stands behind them."""
        table = {}
        for line in self.shell("cat /proc/interrupts").splitlines()[1:]:
            name, *rest = line.split()
            counts = [int(word) for word in rest[:CPUS] if word.isdigit()]
            table[name + " " + " ".join(rest[len(counts) :])] = counts
        return table


@pytest.fixture(scope="module")
def images() -> Path:
    if not (IMAGES / "kernel").exists():
        pytest.skip("no kernel: `make linux` fetches one")
    return IMAGES


@pytest.fixture(scope="module")
def guest(images: Path, request: pytest.FixtureRequest) -> Iterator[Guest]:
    guest = Guest(CPUS)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{CPUS} vCPUs, to the shell in {guest.seconds:.1f} s ({guest.cpu_seconds:.1f} s CPU time)")
    yield guest
    guest.engine.close()


pytestmark = [pytest.mark.linux, pytest.mark.timeout(1800)]


def test_all_vcpus_come_up(guest: Guest) -> None:
    assert f"SMP: Total of {CPUS} processors activated" in guest.boot_log
    assert guest.shell("cat /sys/devices/system/cpu/online") == f"0-{CPUS - 1}\n"


def test_the_its_is_found_and_each_vcpu_has_its_lpi_tables(guest: Guest) -> None:
    assert "GICv3: ITS [mem 0x08080000-0x0809ffff]" in guest.boot_log or "ITS@0x" in guest.boot_log
    for cpu in range(CPUS):
        assert f"CPU{cpu}: using " in guest.boot_log
    counters = guest.machine.gic.its[0].counters()
    assert counters["commands"] >= CPUS
    assert (counters["errors"], counters["table_faults"]) == (0, 0)


def test_commands_run_on_the_vcpu_they_are_bound_to(guest: Guest) -> None:
    for cpu in range(CPUS):
        assert guest.shell(f"taskset {1 << cpu:x} cut -d' ' -f39 /proc/self/stat") == f"{cpu}\n"


def test_sleep_takes_its_time(guest: Guest) -> None:
    before = guest.engine.clock
    guest.shell("sleep 1")
    assert 1 <= (guest.engine.clock - before) / guest.engine.timers.frequency < 1.5


def test_a_hundred_processes(guest: Guest) -> None:
    assert guest.shell("i=0; while [ $i -lt 100 ]; do /bin/busybox true && i=$((i+1)); done; echo $i") == "100\n"


def test_a_vcpu_goes_offline_and_comes_back_twenty_times(guest: Guest) -> None:
    switch = "/sys/devices/system/cpu/cpu3/online"
    loop = f"i=0; while [ $i -lt 20 ]; do echo 0 >{switch} && echo 1 >{switch} && i=$((i+1)); done; echo $i"
    assert guest.shell(loop).splitlines()[-1] == "20"
    assert guest.shell("cat /sys/devices/system/cpu/online") == f"0-{CPUS - 1}\n"
    assert guest.shell("taskset 8 cut -d' ' -f39 /proc/self/stat") == "3\n"


def test_every_vcpu_gets_its_ticks_and_ipis_and_the_console_its_characters(guest: Guest) -> None:
    table = guest.interrupts()
    (ticks,) = (counts for name, counts in table.items() if "arch_timer" in name)
    (uart,) = (counts for name, counts in table.items() if "uart-pl011" in name)
    ipis = [counts for name, counts in table.items() if name.startswith("IPI")]
    assert min(ticks) > 10
    assert all(sum(counts[cpu] for counts in ipis) > 10 for cpu in range(CPUS))
    assert sum(uart) > 5
    (errors,) = (counts for name, counts in table.items() if name.startswith("Err"))
    assert errors == [0]


def test_the_kernel_log_has_no_warning_and_no_stall(guest: Guest) -> None:
    log = guest.shell("dmesg")
    assert "Run /init as init process" in log
    assert [line for line in log.splitlines() if BAD.search(line)] == []


def test_it_powers_off(guest: Guest) -> None:
    guest.engine.uart.receive(b"poweroff -f\n")
    assert guest.engine.run(2_000_000_000) is Stop.OFF
    assert "reboot: Power down" in guest.text
    guest.machine.check()


@pytest.mark.slow
@pytest.mark.parametrize(("cpus", "options"), [(1, []), (8, ["--acpi"])])
def test_the_command_boots_it_and_types_what_it_reads(images: Path, cpus: int, options: list[str]) -> None:
    run = [sys.executable, "-c", "import sys; from gicv3.cli import main; sys.argv[0] = 'gicv3'; main()", "run"]
    guest = ["--kernel", images / "kernel", "--initrd", images / "initrd", "--append", APPEND, "--smp", str(cpus)]
    command = [*run, *guest, "--timeout", "1500", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = bytearray()
        # Linux drops what is typed before its driver has started.
        while PROMPT.encode() not in said:
            more = process.stdout.read1()
            assert more, said.decode("latin-1")
            said += more
        said += process.communicate(b"nproc; poweroff -f\n")[0]
    assert process.returncode == 0, said.decode("latin-1")
    assert f"\n{cpus}\r\n".encode() in said
    assert b"reboot: Power down" in said
    assert [line for line in said.decode("latin-1").splitlines() if BAD.search(line)] == []


def test_what_is_no_kernel_or_does_not_fit_is_refused() -> None:
    image = bytearray(4096)
    image[56:60] = b"ARM\x64"
    image[16:24] = (4 * MIB).to_bytes(8, "little")
    with pytest.raises(ConfigError, match="kernel must be an arm64 Image"):
        linux(VirtMachine(cpus=1), b"\x7fELF" + bytes(100))
    with pytest.raises(ConfigError, match=f"ram_size must be at least .* got {6 * MIB}"):
        linux(VirtMachine(cpus=1, ram_size=6 * MIB), bytes(image))
    assert linux(VirtMachine(cpus=1, ram_size=16 * MIB), bytes(image))["x0"] == 0x4060_0000
