"""`gicv3 qmp`: a machine for QEMU's management tools."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence

from gicv3 import ConfigError, GicError
from gicv3.machine import VirtMachine
from gicv3.policy import HotplugPolicy
from gicv3.qmp import QmpServer
from gicv3.qmp.guest import Answer, StandInGuest


def run(listen: Sequence[str], cpus: int, max_cpus: int, answer: Answer, timeout: float | None) -> int:
    """Serve until a client sends quit, or a signal to end comes. Returns: the exit status."""
    try:
        asyncio.run(_serve(listen, cpus, max_cpus, answer, timeout))
    except ConfigError as error:
        print(f"gicv3 qmp: {error}", file=sys.stderr)
        return 2
    except (GicError, OSError) as error:
        print(f"gicv3 qmp: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(listen: Sequence[str], cpus: int, max_cpus: int, answer: Answer, timeout: float | None) -> None:
    policy = HotplugPolicy(request_timeout=timeout)
    # Region 2 has room for 512 unless it is told of more.
    machine = VirtMachine(cpus=cpus, max_cpus=max_cpus, redist2_capacity=max(512, max_cpus), policy=policy)
    guest = StandInGuest(machine, answer)
    async with QmpServer(machine) as server:
        for address in listen:
            print(f"listening at {await server.listen(address)}", flush=True)
        quitting = asyncio.create_task(server.wait_quit())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, quitting.cancel)
        while not quitting.done():
            await asyncio.wait([quitting], timeout=timeout)
            machine.expire_unplug_requests()
    guest.remove()
