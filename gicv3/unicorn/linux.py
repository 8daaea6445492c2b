"""How an arm64 Linux kernel is started: where it, its RAM disk and its devicetree lie, and what X0 holds."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from gicv3.acpi.efi import build_acpi_boot
from gicv3.errors import ConfigError
from gicv3.fdt import build_fdt
from gicv3.machine import MIB, VirtMachine

_MAGIC = b"ARM\x64"
_MAGIC_OFFSET = 56
_HEADER = struct.Struct("<QQ")  # text_offset, image_size
_HEADER_OFFSET = 8
_GZIP = b"\x1f\x8b"
ALIGNMENT = 2 * MIB


def linux(
    machine: VirtMachine,
    kernel: bytes,
    *,
    initrd: bytes = b"",
    append: str = "",
    acpi: bool = False,
    rng_seed: bytes | None = None,
) -> dict[str, Any]:
    """Arguments for `UnicornMachine` that boot a kernel with the devicetree of `machine`, or its ACPI tables.

    Parameters: `machine`, with the vCPUs the kernel is to see; `kernel`, an Image, or one compressed by gzip;
    `initrd`, a RAM disk; `append`, the command line; `acpi`, describe the machine by ACPI, which can tell of vCPUs that
    are plugged later; `rng_seed`, as `build_fdt`.
    Returns: keyword arguments. Raises: ConfigError when `kernel` is not a whole Image, or RAM has no room for all;
    ImportError without the extra `fdt`. Thread-safety: as the machine's.
    """
    base, size = machine.memory_map["RAM"]
    if kernel[:2] == _GZIP:
        kernel = _decompress(kernel, size)
    if kernel[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != _MAGIC:
        raise ConfigError(f"kernel must be an arm64 Image, got one that begins with {kernel[:4]!r}")
    text_offset, image_size = _HEADER.unpack_from(kernel, _HEADER_OFFSET)
    start = base + ALIGNMENT + text_offset
    disk = _round_up(start + max(image_size, len(kernel)))
    _check_room(base, size, disk + len(initrd))
    place = (disk, disk + len(initrd)) if initrd else None
    if acpi:
        boot = build_acpi_boot(machine, bootargs=append, initrd=place, rng_seed=rng_seed)
        tree, description = boot.dtb, (boot.address, boot.data)
        _check_room(base, size, disk + len(initrd) + base + size - boot.address)
    else:
        tree = _round_up(disk + len(initrd))
        description = (tree, build_fdt(machine, bootargs=append, initrd=place, rng_seed=rng_seed))
        _check_room(base, size, tree + len(description[1]))
    return {
        "image": kernel,
        "load_address": start,
        "x0": tree,
        "files": [(disk, initrd), description],
        "semihosting": False,
        # By ACPI the kernel takes the UART for an SBSA one, which firmware has switched on.
        "uart_on": acpi,
        "tcg_buffer": 64 * MIB,
    }


def _round_up(address: int) -> int:
    return -(-address // ALIGNMENT) * ALIGNMENT


def _decompress(kernel: bytes, limit: int) -> bytes:
    """A kernel that was compressed by gzip, of less than `limit` bytes."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        image = stream.decompress(kernel, limit)
    except zlib.error as error:
        raise ConfigError(f"kernel is damaged: {error}") from error
    if len(image) == limit:
        raise ConfigError(f"ram_size must be larger than the decompressed kernel, got {limit}")
    if not stream.eof:
        raise ConfigError(f"kernel is damaged: its gzip data breaks off after {len(kernel)} bytes")
    return image


def _check_room(base: int, size: int, end: int) -> None:
    if end > base + size:
        raise ConfigError(f"ram_size must be at least {end - base} bytes for this kernel and RAM disk, got {size}")
