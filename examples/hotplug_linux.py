"""Boot an unmodified Linux by ACPI with 2 of 8 vCPUs, and plug and unplug the other six over QMP, again and again.

Needs Debian's arm64 `linux-image-6.12.*-cloud-arm64` and `busybox-static` (their `boot/vmlinuz-*` and `bin/busybox`).
Run: python examples/hotplug_linux.py --kernel vmlinuz --busybox busybox --cycles 50
"""

import argparse
import asyncio
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from qemu.qmp import QMPClient

from gicv3 import VirtMachine
from gicv3.acpi.efi import build_acpi_boot
from gicv3.qmp import QmpServer
from gicv3.unicorn import Stop, UnicornMachine

COLD, POSSIBLE = 2, 8
RAM_SIZE = 512 << 20
INITRD = 0x4800_0000
SLICE = 1_000_000
LIMIT = 60_000_000_000
BAD = re.compile(r"WARNING|BUG|Oops|Call trace|Unable to|error:|failed|stuck|stall", re.IGNORECASE)
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
cd /sys/devices/system/cpu
last=
while :; do
    for cpu in cpu[0-9]*; do
        number=${cpu#cpu}
        # One that is on its way out refuses, or is gone by then.
        if { read state < $cpu/online && [ "$state" = 0 ] && echo 1 > $cpu/online; } 2> /dev/null; then
            /bin/busybox taskset -c $number /bin/busybox true
            /bin/busybox awk -v cpu=CPU$number '
                NR == 1 { for (i = 1; i <= NF; i++) if ($i == cpu) column = i + 1 }
                /arch_timer/ { ticks += $column }
                /^ *IPI/ { ipis += $column }
                END { print cpu, "ticks", ticks, "ipis", ipis }' /proc/interrupts
        fi
    done
    read enabled < enabled
    read online < online
    if [ "$enabled $online" != "$last" ]; then
        last="$enabled $online"
        echo "state: enabled $enabled online $online"
    fi
    /bin/busybox usleep 50000
done
"""


def cpio(entries: list[tuple[str, int, bytes, tuple[int, int]]]) -> bytes:
    """An initial RAM disk: name, mode, content and device number of each file."""
    archive = bytearray()
    for number, (name, mode, data, device) in enumerate([*entries, ("TRAILER!!!", 0, b"", (0, 0))], 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


class Linux:
    """The guest, its console, and the loop that runs it between the turns of the QMP server."""

    def __init__(self, kernel: Path, busybox: Path, echo: bool) -> None:
        folders = [(name, 0o040755, b"", (0, 0)) for name in ("bin", "dev", "proc", "sys")]
        initrd = cpio(
            [
                *folders,
                ("dev/console", 0o020600, b"", (5, 1)),
                ("bin/busybox", 0o100755, busybox.read_bytes(), (0, 0)),
                ("init", 0o100755, INIT.encode(), (0, 0)),
            ]
        )
        self.machine = VirtMachine(cpus=COLD, max_cpus=POSSIBLE, ram_size=RAM_SIZE)
        boot = build_acpi_boot(
            self.machine, initrd=(INITRD, INITRD + len(initrd)), bootargs="console=ttyAMA0 loglevel=7"
        )
        self.console = bytearray()
        self.echo = echo
        self.engine = UnicornMachine(
            self.machine,
            image=kernel,
            files=[(boot.address, boot.data), (INITRD, initrd)],
            x0=boot.dtb,
            quantum=20_000,
            tcg_buffer=64 << 20,
            output=self.print,
        )

    def print(self, text: bytes) -> None:
        self.console += text
        if self.echo:
            sys.stdout.write(text.decode("latin1"))
            sys.stdout.flush()

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Run the guest, and serve QMP, until something is so."""
        end = self.engine.clock + LIMIT
        while not done():
            stopped = self.engine.run(SLICE)
            if stopped is not Stop.LIMIT or self.engine.clock > end:
                raise SystemExit(f"waited in vain for {what} ({stopped}):\n{self.console[-2000:].decode('latin1')}")
            await asyncio.sleep(0)

    async def says(self, text: str) -> None:
        """Run the guest until its console says something new."""
        start = len(self.console)
        await self.until(lambda: text.encode() in self.console[start:], text)


async def main(kernel: Path, busybox: Path, cycles: int, echo: bool) -> None:
    linux = Linux(kernel, busybox, echo)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with QmpServer(linux.machine) as server:
            path = f"{folder}/qmp.sock"
            await server.listen(f"unix:{path}")
            client = QMPClient("linux")
            await client.connect(path)
            await linux.says("state: enabled 0-1 online 0-1\r\n")
            booted = time.monotonic()
            print(f"booted in {booted - started:.0f} s, {linux.engine.instructions / 1e6:.0f} million instructions")
            with client.listener("DEVICE_DELETED") as deleted:
                for cycle, slot in zip(range(cycles), itertools.cycle(range(COLD, POSSIBLE))):
                    await run_cycle(linux, client, deleted, cycle, slot)
            await client.disconnect()
    linux.machine.check()
    text = linux.console.decode("latin1")
    bad = [line for line in text.splitlines() if BAD.search(line)]
    print(f"{cycles} cycles in {time.monotonic() - booted:.0f} s; lines of the kernel's log that complain: {bad}")
    if bad:
        raise SystemExit(1)


async def run_cycle(linux: Linux, client: QMPClient, deleted: asyncio.Queue, cycle: int, slot: int) -> None:
    """Plug a vCPU, see it work in the guest, unplug it."""
    name = f"cpu{slot}"
    before = len(linux.console)
    with_it = f"0-{slot}" if slot == COLD else f"0-1,{slot}"
    adding = asyncio.create_task(
        client.execute("device_add", {"driver": linux.machine.cpu_type, "id": name, "core-id": slot})
    )
    await linux.says(f"state: enabled {with_it} online {with_it}\r\n")
    await adding
    work = re.search(rf"CPU{slot} ticks (\d+) ipis (\d+)", linux.console[before:].decode("latin1"))
    if work is None or not int(work[1]) or not int(work[2]):
        raise SystemExit(f"cpu {slot} has no ticks or no IPIs: {work and work[0]}")
    removing = asyncio.create_task(client.execute("device_del", {"id": name}))
    gone = asyncio.create_task(deleted.get())
    await linux.says("state: enabled 0-1 online 0-1\r\n")
    await removing
    event = await gone
    print(f"cycle {cycle + 1}: {work[0]}, then {event['event']} of {event['data']['device']}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=Path, required=True)
    parser.add_argument("--busybox", type=Path, required=True)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--echo", action="store_true", help="show the guest's console")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.kernel, arguments.busybox, arguments.cycles, arguments.echo))
