"""A GIC with an ITS, its tables and its queue in guest memory, and the commands by name."""

from __future__ import annotations

from typing import Any

from gicv3 import its_commands
from gicv3.its import ItsError
from gicv3.its_commands import Command as Command
from gicv3.its_commands import clear as clear
from gicv3.its_commands import discard as discard
from gicv3.its_commands import encode
from gicv3.its_commands import int_ as int_
from gicv3.its_commands import inv as inv
from gicv3.its_commands import invall as invall
from gicv3.its_commands import mapc as mapc
from gicv3.its_commands import mapi as mapi
from gicv3.its_commands import mapti as mapti
from gicv3.its_commands import movall as movall
from gicv3.its_commands import movi as movi
from gicv3.its_commands import sync as sync
from tests.lpis import FIRST as FIRST
from tests.lpis import RAM, LpiRig

DEVICES = RAM + 0x30_0000
COLLECTIONS = RAM + 0x31_0000
QUEUE = RAM + 0x32_0000
ITTS = RAM + 0x33_0000
VALID = 1 << 63


def mapd(device: int, itt: int = ITTS, bits: int = 5, valid: bool = True) -> Command:
    """MAPD, with the rig's place for one device's table."""
    return its_commands.mapd(device, itt, bits, valid)


def one(op: int, device: int, event: int) -> Command:
    """A command, known or not, about an event."""
    return (op | device << 32, event, 0, 0)


class ItsRig(LpiRig):
    """ITS 0 enabled, with 4 KB flat tables unless told otherwise, and a queue of one page.

    `events` maps device 1 with 32 events, collections 0.. to the PEs of the same numbers, and event n to LPI
    FIRST + n of collection 0.
    """

    def __init__(
        self, cpus: int = 2, *, events: int = 0, its: int = 1, enable_its: bool = True, **options: Any
    ) -> None:
        super().__init__(cpus, its=its, **options)
        self.its = self.gic.its[0]
        self.offset = 0
        self.queue = QUEUE
        self.queue_size = 4096
        if enable_its:
            self.program()
        if events:
            self.do(
                mapd(1),
                *(mapc(pe, pe) for pe in range(cpus)),
                *(mapti(1, event, FIRST + event) for event in range(events)),
            )

    def program(self, *, devices: int = 0, collections: int = 0) -> None:
        """Give the ITS tables, a queue, and enable it; the arguments are further bits of its GITS_BASERs."""
        self.its["GITS_BASER", 0] = VALID | DEVICES | devices
        self.its["GITS_BASER", 1] = VALID | COLLECTIONS | collections
        self.its["GITS_CBASER"] = VALID | self.queue | self.queue_size // 4096 - 1
        self.its["GITS_CWRITER"] = self.offset = 0
        self.its["GITS_CTLR"] = 1

    def put(self, *commands: Command) -> None:
        """Write commands into the queue, at most one lap less one, without telling the ITS."""
        for command in commands:
            at = self.queue - RAM + self.offset
            self.ram[at : at + 32] = encode(command)
            self.offset = (self.offset + 32) % self.queue_size

    def do(self, *commands: Command) -> None:
        """Write commands into the queue and have them done, in portions that the queue holds."""
        room = self.queue_size // 32 - 1
        for first in range(0, len(commands), room):
            self.put(*commands[first : first + room])
            self.its["GITS_CWRITER"] = self.offset

    def fails(self, command: Command) -> int:
        """Do a command; the code of the error that it makes, 0 for none."""
        before = self.its.counters()["errors"]
        self.do(command)
        if self.its.counters()["errors"] == before:
            return 0
        error: ItsError = self.its.errors()[-1]
        assert error.command == command
        return error.code

    def msi(self, event: int, device: int = 1) -> None:
        self.its.msi(device, event)

    def entry(self, address: int) -> int:
        """A 64-bit word of memory."""
        return int.from_bytes(self.ram[address - RAM : address - RAM + 8], "little")

    def set_entry(self, address: int, value: int) -> None:
        self.ram[address - RAM : address - RAM + 8] = value.to_bytes(8, "little")
