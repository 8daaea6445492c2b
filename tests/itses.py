"""A GIC with an ITS, its tables and its queue in guest memory, and the commands by name."""

from __future__ import annotations

from typing import Any

from gicv3.its import ItsError
from tests.lpis import FIRST as FIRST
from tests.lpis import RAM, LpiRig

DEVICES = RAM + 0x30_0000
COLLECTIONS = RAM + 0x31_0000
QUEUE = RAM + 0x32_0000
ITTS = RAM + 0x33_0000
VALID = 1 << 63
Command = tuple[int, int, int, int]


def mapd(device: int, itt: int = ITTS, bits: int = 5, valid: bool = True) -> Command:
    return (0x08 | device << 32, bits - 1, itt | valid << 63, 0)


def mapc(icid: int, rdbase: int, valid: bool = True) -> Command:
    """`rdbase` is a PE's number, or with PTA the address of its redistributor in units of 64 KB."""
    return (0x09, 0, icid | rdbase << 16 | valid << 63, 0)


def mapti(device: int, event: int, intid: int, icid: int = 0) -> Command:
    return (0x0A | device << 32, event | intid << 32, icid, 0)


def mapi(device: int, event: int, icid: int = 0) -> Command:
    return (0x0B | device << 32, event, icid, 0)


def movi(device: int, event: int, icid: int) -> Command:
    return (0x01 | device << 32, event, icid, 0)


def one(op: int, device: int, event: int) -> Command:
    return (op | device << 32, event, 0, 0)


def int_(device: int, event: int) -> Command:
    return one(0x03, device, event)


def clear(device: int, event: int) -> Command:
    return one(0x04, device, event)


def inv(device: int, event: int) -> Command:
    return one(0x0C, device, event)


def discard(device: int, event: int) -> Command:
    return one(0x0F, device, event)


def invall(icid: int) -> Command:
    return (0x0D, 0, icid, 0)


def movall(source: int, target: int) -> Command:
    return (0x0E, 0, source << 16, target << 16)


def sync(rdbase: int) -> Command:
    return (0x05, 0, rdbase << 16, 0)


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
            self.do(mapd(1), *(mapc(pe, pe) for pe in range(cpus)),
                    *(mapti(1, event, FIRST + event) for event in range(events)))

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
            self.ram[at : at + 32] = b"".join(word.to_bytes(8, "little") for word in command)
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
