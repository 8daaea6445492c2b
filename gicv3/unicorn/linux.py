"""How an arm64 Linux kernel is started: where it, its RAM disk and its devicetree lie, and what X0 holds."""

from __future__ import annotations

import gzip
import struct
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
    Returns: keyword arguments. Raises: ConfigError when `kernel` is not an Image, or RAM has no room for all;
    ImportError without the extra `fdt`. Thread-safety: as the machine's.
    """
    if kernel[:2] == _GZIP:
        kernel = gzip.decompress(kernel)
    if kernel[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != _MAGIC:
        raise ConfigError(f"kernel must be an arm64 Image, got one that begins with {kernel[:4]!r}")
    text_offset, image_size = _HEADER.unpack_from(kernel, _HEADER_OFFSET)
    base, size = machine.memory_map["RAM"]
    start = base + ALIGNMENT + text_offset
    end = base + size
    disk = _round_up(start + max(image_size, len(kernel)))
    place = (disk, disk + len(initrd)) if initrd else None
    if acpi:
        boot = build_acpi_boot(machine, bootargs=append, initrd=place, rng_seed=rng_seed)
        tree, description = boot.dtb, (boot.address, boot.data)
        end = boot.address
        needed = disk + len(initrd) + len(boot.data)
    else:
        tree = _round_up(disk + len(initrd))
        description = (tree, build_fdt(machine, bootargs=append, initrd=place, rng_seed=rng_seed))
        needed = tree + len(description[1])
    if needed > base + size or disk + len(initrd) > end:
        raise ConfigError(
            f"ram_size must be at least {needed - base} bytes for this kernel and RAM disk, got {size}"
        )
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
