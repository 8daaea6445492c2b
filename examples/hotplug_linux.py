"""Boot an unmodified Linux by ACPI with 2 of 8 vCPUs, and plug and unplug the other six over QMP, again and again.

Run: pip install qemu.qmp; tools/linux-guest build/linux && python examples/hotplug_linux.py --cycles 50
"""

import argparse
import asyncio
import itertools
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

try:
    from qemu.qmp import QMPClient
except ModuleNotFoundError:
    raise SystemExit("this needs QEMU's QMP client: pip install qemu.qmp") from None

from gicv3 import VirtMachine
from gicv3.qmp import QmpServer
from gicv3.unicorn import Stop, UnicornMachine
from gicv3.unicorn.linux import linux

COLD, POSSIBLE = 2, 8
IMAGES = Path(__file__).parent.parent / "build" / "linux"
APPEND = "console=ttyAMA0 loglevel=7 cryptomgr.notests=1"
PROMPT = "guest# "
SLICE, LIMIT = 1_000_000, 60_000_000_000
BAD = re.compile(r"WARNING|BUG|Oops|Call trace|Unable to|lockup|stall|hung task|failed|error:", re.IGNORECASE)
ONLINE = "enabled 0-1 online 0-1"
# What udev does elsewhere; then something to do for the CPU, and its interrupts.
BRING_UP = """cd /sys/devices/system/cpu; until [ -e cpu{0}/online ]; do usleep 10000; done; echo 1 > cpu{0}/online
taskset -c {0} true; awk -v cpu=CPU{0} 'NR == 1 {{ for (i = 1; i <= NF; i++) if ($i == cpu) n = i + 1 }}
/arch_timer/ {{ t += $n }} /^ *IPI/ {{ p += $n }} END {{ print "ticks", t, "IPIs", p }}' /proc/interrupts
"""
STATE = "cd /sys/devices/system/cpu; echo enabled $(cat enabled) online $(cat online)\n"


class Linux:
    """The guest with a shell on its console, run between the turns of the QMP server."""

    def __init__(self, kernel: Path, initrd: Path, echo: bool) -> None:
        self.machine = VirtMachine(cpus=COLD, max_cpus=POSSIBLE, ram_size=256 << 20)
        self.text = ""
        self.echo = echo
        images = {"kernel": kernel.read_bytes(), "initrd": initrd.read_bytes()}
        guest = linux(self.machine, **images, append=APPEND, acpi=True)
        self.engine = UnicornMachine(self.machine, quantum=20_000, output=self.hear, **guest)

    def hear(self, data: bytes) -> None:
        self.text += data.decode("latin-1")
        if self.echo:
            print(data.decode("latin-1"), end="", flush=True)

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Run the guest, and serve QMP, until something is so."""
        end = self.engine.clock + LIMIT
        while not done():
            stopped = self.engine.run(SLICE)
            if stopped is not Stop.LIMIT or self.engine.clock > end:
                raise SystemExit(f"waited in vain for {what} ({stopped}):\n{self.text[-2000:]}")
            await asyncio.sleep(0)

    async def shell(self, commands: str) -> str:
        """Type commands; returns what appeared on the console."""
        start = len(self.text)
        # The echo of what is typed must not look like the end of what it prints.
        self.engine.uart.receive(f"{commands}echo en''ded\n".encode())
        await self.until(lambda: "\nended\r\n" in self.text[start:], f"the end of {commands}")
        return self.text[start:]


async def run_cycle(guest: Linux, client: QMPClient, deleted: asyncio.Queue, slot: int) -> str:
    """Plug a vCPU, see it work in the guest, unplug it."""
    name = f"cpu{slot}"
    device = {"driver": guest.machine.cpu_type, "id": name, "core-id": slot}
    adding = asyncio.create_task(client.execute("device_add", device))
    said = await guest.shell(BRING_UP.format(slot))
    await adding
    work = re.search(r"ticks (\d+) IPIs (\d+)\r", said)
    here = f"0-{slot}" if slot == COLD else f"0-1,{slot}"
    state = await guest.shell(STATE)
    if work is None or not int(work[1]) or not int(work[2]) or f"enabled {here} online {here}\r" not in state:
        raise SystemExit(f"cpu {slot} does not work:\n{said}{state}")
    removing = asyncio.create_task(client.execute("device_del", {"id": name}))
    gone = asyncio.create_task(deleted.get())
    await guest.until(gone.done, f"the ejection of {name}")
    await removing
    state = await guest.shell(STATE)
    if f"{ONLINE}\r" not in state:
        raise SystemExit(f"cpu {slot} is not gone:\n{state}")
    return f"{work[0].strip()}, then {gone.result()['event']} of {gone.result()['data']['device']}"


async def main(kernel: Path, initrd: Path, cycles: int, echo: bool) -> None:
    started = time.monotonic()
    guest = Linux(kernel, initrd, echo)
    with tempfile.TemporaryDirectory() as folder:
        async with QmpServer(guest.machine) as server:
            await server.listen(f"unix:{folder}/qmp.sock")
            client = QMPClient("linux")
            await client.connect(f"{folder}/qmp.sock")
            await guest.until(lambda: PROMPT in guest.text, "the shell")
            print(f"\nbooted in {time.monotonic() - started:.0f} s", flush=True)
            with client.listener("DEVICE_DELETED") as deleted:
                for cycle, slot in zip(range(1, cycles + 1), itertools.cycle(range(COLD, POSSIBLE))):
                    print(f"\ncycle {cycle}: {await run_cycle(guest, client, deleted, slot)}", flush=True)
            log = await guest.shell("dmesg\n")
            await client.disconnect()
    guest.machine.check()
    bad = [line for line in log.splitlines() if BAD.search(line)]
    print(f"\n{cycles} cycles in {time.monotonic() - started:.0f} s; complaints in the kernel's log: {bad}")
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=Path, default=IMAGES / "kernel")
    parser.add_argument("--initrd", type=Path, default=IMAGES / "initrd")
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--echo", action="store_true", help="show the guest's console")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.kernel, arguments.initrd, arguments.cycles, arguments.echo))
