# SPDX-License-Identifier: MIT
"""Bare-metal AArch64 guests that come with the package, and the memory they share with the host.

The sources are in ``tests/guests``; ``tests/guests/smp/mailbox.h`` holds the same numbers for the guest, and a test
compares the two.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from importlib.resources import files
from typing import Final, NamedTuple

__all__ = [
    "LOAD_ADDRESS",
    "MAGIC",
    "MAILBOX_ADDRESS",
    "MAILBOX_SIZE",
    "MAX_CPUS",
    "PPI_TIMER",
    "SGI_LEAVE",
    "SGI_STATE",
    "SGI_TOKEN",
    "SPI_DOORBELL",
    "SPI_UART",
    "CpuRecord",
    "CpuState",
    "GuestFlag",
    "Mailbox",
    "parse_log",
    "parse_mailbox",
    "parse_record",
    "smp_image",
]

LOAD_ADDRESS: Final = 0x4020_0000  #: where the image is loaded and entered, in bytes
MAILBOX_ADDRESS: Final = 0x4010_0000
MAILBOX_SIZE: Final = 0x4_2010  #: all that is shared, the delivery log included
MAGIC: Final = 0x4749_4356
MAX_CPUS: Final = 64
DEFAULT_CPUS: Final = 8

# Offsets from MAILBOX_ADDRESS. The host writes those marked "host", the guest all others.
MAGIC_OFFSET: Final = 0x00  # u32: MAGIC once all CPUs present at boot are online
MAX_CPUS_OFFSET: Final = 0x04  # u32, host, before start: possible CPUs, 0 means DEFAULT_CPUS
QUIT_OFFSET: Final = 0x08  # u32, host: 1 asks for SYSTEM_OFF
WORK_OFFSET: Final = 0x0C  # u32, host: rounds of the ring wanted, 0 is forever; may be raised later
EJECT_REQUEST_OFFSET: Final = 0x10  # u64, host: CPUs that are to leave and to stay away
EJECTED_OFFSET: Final = 0x18  # u64: those of the requested that are off
ONLINE_OFFSET: Final = 0x20  # u64
TIMER_PERIOD_OFFSET: Final = 0x28  # u32, host, before start: counter ticks, 0 means a hundredth of a second
ROUNDS_OFFSET: Final = 0x2C  # u32: rounds of the ring done
FLAGS_OFFSET: Final = 0x30  # u32, host, before start: GuestFlag
RECORDS_OFFSET: Final = 0x100
RECORD_SIZE: Final = 64
LOG_OFFSET: Final = 0x2000
LOG_ENTRIES_OFFSET: Final = 0x2010
LOG_CAPACITY: Final = 65536

SGI_TOKEN: Final = 0  #: goes round the ring
SGI_LEAVE: Final = 1  #: from CPU 0 to a CPU that is to be ejected
SGI_STATE: Final = 2  #: to CPU 0 from a CPU that has come online or is about to go off
PPI_TIMER: Final = 27
SPI_UART: Final = 33
SPI_DOORBELL: Final = 41


class CpuState(IntEnum):
    """Where the guest has a CPU in its life."""

    OFF = 0
    BOOTING = 1
    ONLINE = 2
    LEAVING = 3


class GuestFlag(IntFlag):
    """What the host may ask for before start."""

    NO_TIMER = 1


class Mailbox(NamedTuple):
    """The words at the start of the mailbox, in their order in memory."""

    magic: int
    max_cpus: int
    quit: int
    work: int
    eject_request: int
    ejected: int
    online: int
    timer_period: int
    rounds: int
    flags: int


class CpuRecord(NamedTuple):
    """What one CPU tells of itself; the counts go on over an eject and a new start."""

    state: int
    sgi: int
    ppi: int
    spi: int
    spurious: int
    total: int
    boots: int
    errors: int
    mpidr: int
    last_iar: int
    log_lost: int
    fault_esr: int
    fault_elr: int


_MAILBOX: Final = struct.Struct("<IIIIQQQIII")
_RECORD: Final = struct.Struct("<IIIIIIIIQQIIQ")


def smp_image() -> bytes:
    """Return the flat image of the SMP guest, to be loaded and entered at LOAD_ADDRESS.

    Thread-safe.
    """
    return (files(__name__) / "smp.bin").read_bytes()


def parse_mailbox(memory: bytes | bytearray | memoryview) -> Mailbox:
    """Decode the words at the start of the mailbox.

    Parameters: memory, the guest's memory from MAILBOX_ADDRESS on, at least 52 bytes.
    Raises: struct.error when it is shorter. Thread-safe.
    """
    return Mailbox._make(_MAILBOX.unpack_from(memory))


def parse_record(memory: bytes | bytearray | memoryview, cpu: int) -> CpuRecord:
    """Decode one CPU's record.

    Parameters: memory, the guest's memory from MAILBOX_ADDRESS on; cpu, 0..63.
    Raises: struct.error when the memory ends before the record. Thread-safe.
    """
    return CpuRecord._make(_RECORD.unpack_from(memory, RECORDS_OFFSET + cpu * RECORD_SIZE))


def parse_log(memory: bytes | bytearray | memoryview) -> list[tuple[int, int]]:
    """Decode the delivery log, oldest entry first.

    Parameters: memory, the guest's memory from MAILBOX_ADDRESS on, up to the end of the log's last entry.
    Returns: (cpu, INTID) pairs; which part of their order is invariant is told in ``tests/guests/smp/main.c``.
    Raises: struct.error when the memory ends before the log. Thread-safe.
    """
    (count,) = struct.unpack_from("<I", memory, LOG_OFFSET)
    entries = struct.unpack_from(f"<{min(count, LOG_CAPACITY)}I", memory, LOG_ENTRIES_OFFSET)
    return [(entry >> 24, entry & 0xFF_FFFF) for entry in entries]
