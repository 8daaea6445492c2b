"""Booting Linux by ACPI without firmware: what its early boot reads of EFI, and a devicetree that says where that is.

Linux takes ACPI where the devicetree has `/chosen` alone, and finds the tables and its memory by the EFI system table
and memory map named there; the calls that firmware would serve are not needed.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from operator import index as as_index
from typing import TYPE_CHECKING, NamedTuple

from gicv3.acpi.tables import AcpiTables
from gicv3.errors import ConfigError
from gicv3.fdt import cells64, check_memory, chosen_node, flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gicv3.fdt import Value
    from gicv3.machine import Region, VirtMachine

ALIGNMENT = 0x1_0000
"""Bytes of the largest page that Linux uses: what is kept apart from usable memory begins and ends on one."""

_SIGNATURE = b"IBI SYST"
_REVISION = 2 << 16 | 70
_VENDOR = "gicv3\0".encode("utf-16-le")
_ACPI_20_TABLE = uuid.UUID("8868e871-e4f1-11d3-bc22-0080c73c8881").bytes_le
_RT_PROPERTIES_TABLE = uuid.UUID("eb66918a-7eef-402a-842e-931d21c38ae9").bytes_le
_NO_SERVICES = struct.pack("<HHI", 1, 8, 0)
_SYSTEM_TABLE = struct.Struct("<8sIIIIQI4x8QQQ")
_CRC_AT = 16
_DESCRIPTOR = struct.Struct("<I4xQQQQ")
_USABLE, _ACPI_TABLES = 7, 9
_WRITE_BACK = 1 << 3
_PAGE = 4096
_MOST_RANGES = 3
_NO_SECURE_BOOT = 2
# Offsets from the start of the block, in bytes.
_CONFIGURATION, _RT_PROPERTIES, _VENDOR_AT, _MEMORY_MAP, _TABLES = 128, 176, 192, 256, 384


class AcpiBoot(NamedTuple):
    """What to put into guest memory for a boot by ACPI: `data` at `address`; X0 is `dtb`, the devicetree's address."""

    address: int
    data: bytes
    dtb: int


def build_acpi_boot(
    machine: VirtMachine,
    *,
    memory: tuple[int, int] | None = None,
    address: int | None = None,
    bootargs: str = "",
    initrd: tuple[int, int] | None = None,
    rng_seed: bytes | None = None,
) -> AcpiBoot:
    """Describe a machine to a Linux that is entered at its image, without firmware.

    Parameters:
        memory: base and size of RAM in bytes, multiples of 64 KiB; by default the machine's.
        address: where the block goes, a multiple of 64 KiB; by default at the end of `memory`.
        bootargs, initrd, rng_seed: as :func:`gicv3.fdt.build_fdt`.
    Returns: an `AcpiBoot`, a multiple of 64 KiB long. Raises: ConfigError; ImportError without the extra `fdt`.
    Thread-safety: as the machine's.
    """
    ram = check_memory(machine, memory)
    if ram.base % ALIGNMENT or ram.size % ALIGNMENT:
        raise ConfigError(f"memory must be in multiples of {ALIGNMENT:#x}, got {ram.size:#x} bytes at {ram.base:#x}")
    chosen = chosen_node(bootargs, initrd, rng_seed, ram)
    tables = AcpiTables(machine)
    # Neither length depends on an address.
    dtb_at = _TABLES + len(tables.place(_TABLES)[1])
    size = -(-(dtb_at + len(_devicetree(chosen, 0, _MOST_RANGES))) // ALIGNMENT) * ALIGNMENT
    if address is None:
        address = ram.base + ram.size - size
    if as_index(address) % ALIGNMENT or not ram.base <= address <= ram.base + ram.size - size:
        raise ConfigError(
            f"address must be a multiple of {ALIGNMENT:#x} with {size:#x} bytes behind it in the memory of "
            f"{ram.size:#x} bytes at {ram.base:#x}, got {address:#x}"
        )
    if initrd is not None and initrd[0] < address + size and address < initrd[1]:
        raise ConfigError(
            f"initrd must not overlap the {size:#x} bytes at {address:#x}, got {initrd[0]:#x}..{initrd[1]:#x}"
        )
    rsdp, placed = tables.place(address + _TABLES)
    ranges = _memory_map(ram, address, size)
    data = bytearray(size)
    for offset, part in (
        (0, _system_table(address)),
        (_CONFIGURATION, _ACPI_20_TABLE + struct.pack("<Q", rsdp)),
        # Without it Linux would call services that are not there.
        (_CONFIGURATION + 24, _RT_PROPERTIES_TABLE + struct.pack("<Q", address + _RT_PROPERTIES)),
        (_RT_PROPERTIES, _NO_SERVICES),
        (_VENDOR_AT, _VENDOR),
        (_MEMORY_MAP, b"".join(ranges)),
        (_TABLES, placed),
        (dtb_at, _devicetree(chosen, address, len(ranges))),
    ):
        data[offset : offset + len(part)] = part
    return AcpiBoot(address, bytes(data), address + dtb_at)


def _devicetree(chosen: Mapping[str, Value], address: int, ranges: int) -> bytes:
    efi: dict[str, Value] = {
        "linux,uefi-system-table": cells64(address),
        "linux,uefi-mmap-start": cells64(address + _MEMORY_MAP),
        "linux,uefi-mmap-size": ranges * _DESCRIPTOR.size,
        "linux,uefi-mmap-desc-size": _DESCRIPTOR.size,
        "linux,uefi-mmap-desc-ver": 1,
        # Debian's kernels drop the whole description without it.
        "linux,uefi-secure-boot": _NO_SECURE_BOOT,
    }
    return flatten({"#address-cells": 2, "#size-cells": 2, "chosen": {**chosen, **efi}})


def _memory_map(ram: Region, address: int, size: int) -> list[bytes]:
    """The descriptors of EFI's memory map: usable memory, and the block within it that must stay."""
    return [
        _DESCRIPTOR.pack(kind, base, 0, (end - base) // _PAGE, _WRITE_BACK)
        for kind, base, end in (
            (_USABLE, ram.base, address),
            (_ACPI_TABLES, address, address + size),
            (_USABLE, address + size, ram.base + ram.size),
        )
        if base < end
    ]


def _system_table(address: int) -> bytes:
    """The EFI system table with two configuration tables, and no console or service."""
    none = (0,) * 8
    table = bytearray(
        _SYSTEM_TABLE.pack(
            _SIGNATURE, _REVISION, _SYSTEM_TABLE.size, 0, 0, address + _VENDOR_AT, 0, *none, 2, address + _CONFIGURATION
        )
    )
    struct.pack_into("<I", table, _CRC_AT, zlib.crc32(table))
    return bytes(table)
