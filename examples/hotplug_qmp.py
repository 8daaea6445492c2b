"""Plug and unplug a vCPU again and again with QEMU's own client, and wait for each event.

Run: pip install qemu.qmp
     gicv3 qmp --listen unix:qmp.sock &
     python examples/hotplug_qmp.py qmp.sock --cycles 10000
"""

import argparse
import asyncio
import time
from pathlib import Path

try:
    from qemu.qmp import QMPClient
except ModuleNotFoundError:
    raise SystemExit("this needs QEMU's QMP client: pip install qemu.qmp") from None

PAGE_KIB = 4


def resident_kib(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


async def main(path: str, cycles: int) -> None:
    client = QMPClient("hotplug")
    await client.connect(path)
    slots = await client.execute("query-hotpluggable-cpus")
    free = [slot for slot in slots if "qom-path" not in slot]
    print(f"{len(slots)} slots, {len(free)} free")
    # Our server runs its machine in one thread; its number is that of the process.
    pid = (await client.execute("query-cpus-fast"))[0]["thread-id"]
    warm = min(cycles, 1000)
    started = time.monotonic()
    with client.listener("DEVICE_DELETED") as deleted:
        for cycle in range(warm + cycles):
            if cycle == warm:
                before, started = resident_kib(pid), time.monotonic()
            slot = free[cycle % len(free)]
            await client.execute("device_add", {"driver": slot["type"], "id": "hot", **slot["props"]})
            await client.execute("device_del", {"id": "hot"})
            event = await deleted.get()
            assert event["data"] == {"device": "hot", "path": "/machine/peripheral/hot"}
    seconds = time.monotonic() - started
    assert await client.execute("query-hotpluggable-cpus") == slots
    await client.disconnect()
    growth = resident_kib(pid) - before
    print(f"OK: {cycles} cycles in {seconds:.1f} s; the server's memory grew by {growth} KiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="socket file of the server")
    parser.add_argument("--cycles", type=int, default=1000, help="how many, after up to 1000 to warm up")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.path, arguments.cycles))
