"""What Linux finds when it boots by ACPI without firmware: EFI's system table and memory map, the tables, /chosen."""

import re
import struct
import uuid
import zlib
from typing import Any

import pytest
from acpi import read_tables
from dtb import cells, compile_again, parse

from gicv3 import ConfigError, VirtMachine

pytest.importorskip("fdt", exc_type=ImportError)
from gicv3.acpi.efi import AcpiBoot, build_acpi_boot

RAM, RAM_SIZE = 0x4000_0000, 128 << 20
GRANULE = 0x1_0000


def boot(machine: VirtMachine | None = None, **options: Any) -> AcpiBoot:
    return build_acpi_boot(machine if machine is not None else VirtMachine(cpus=2, max_cpus=8), **options)


def chosen(found: AcpiBoot) -> dict[str, bytes]:
    at = found.dtb - found.address
    (length,) = struct.unpack_from(">I", found.data, at + 4)
    tree = parse(found.data[at : at + length])
    # Anything else, and Linux would not use ACPI.
    assert set(tree) == {"/", "/chosen"}
    return tree["/chosen"]


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def at(found: AcpiBoot, address: int, form: str) -> tuple[Any, ...]:
    return struct.unpack_from(form, found.data, address - found.address)


def memory_map(found: AcpiBoot) -> list[tuple[int, int, int]]:
    """Type, base and end of each range."""
    about = chosen(found)
    start, size = number(about["linux,uefi-mmap-start"]), number(about["linux,uefi-mmap-size"])
    assert (number(about["linux,uefi-mmap-desc-size"]), number(about["linux,uefi-mmap-desc-ver"])) == (40, 1)
    ranges = []
    for address in range(start, start + size, 40):
        kind, base, virtual, pages, attributes = at(found, address, "<I4xQQQQ")
        assert (virtual, attributes) == (0, 8)
        ranges.append((kind, base, base + pages * 4096))
    return ranges


def test_the_system_table_leads_to_the_acpi_tables_and_says_that_there_are_no_services() -> None:
    found = boot()
    system = number(chosen(found)["linux,uefi-system-table"])
    signature, revision, size, crc, reserved, vendor = at(found, system, "<8sIIIIQ")
    assert (signature, revision, size, reserved) == (b"IBI SYST", 2 << 16 | 70, 120, 0)
    header = bytearray(found.data[system - found.address :][:size])
    header[16:20] = bytes(4)
    assert zlib.crc32(header) == crc
    assert bytes(found.data[vendor - found.address :][:12]).decode("utf-16-le") == "gicv3\0"
    count, configuration = at(found, system + 104, "<QQ")
    assert count == 2
    pointers = {}
    for entry in range(count):
        guid, pointer = at(found, configuration + 24 * entry, "<16sQ")
        pointers[str(uuid.UUID(bytes_le=guid))] = pointer
    rsdp = pointers.pop("8868e871-e4f1-11d3-bc22-0080c73c8881")
    assert "DSDT" in read_tables(found.data, found.address, rsdp)
    # No runtime service is there to be called.
    ((guid, pointer),) = pointers.items()
    assert guid == "eb66918a-7eef-402a-842e-931d21c38ae9"
    assert at(found, pointer, "<HHI") == (1, 8, 0)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, [(7, RAM, RAM + RAM_SIZE - GRANULE), (9, RAM + RAM_SIZE - GRANULE, RAM + RAM_SIZE)]),
        (RAM, [(9, RAM, RAM + GRANULE), (7, RAM + GRANULE, RAM + RAM_SIZE)]),
        (
            RAM + GRANULE,
            [
                (7, RAM, RAM + GRANULE),
                (9, RAM + GRANULE, RAM + 2 * GRANULE),
                (7, RAM + 2 * GRANULE, RAM + RAM_SIZE),
            ],
        ),
    ],
)
def test_the_memory_map_covers_the_ram_and_sets_the_block_apart(
    address: int | None, expected: list[tuple[int, int, int]]
) -> None:
    found = boot(address=address)
    assert memory_map(found) == expected
    assert (9, found.address, found.address + len(found.data)) in expected


def test_chosen_has_what_was_given_and_switches_secure_boot_off() -> None:
    about = chosen(boot(bootargs="quiet", initrd=(RAM, RAM + 4), rng_seed=b"\7"))
    assert {name: value for name, value in about.items() if "uefi" not in name} == {
        "bootargs": b"quiet\0",
        "linux,initrd-start": RAM.to_bytes(8, "big"),
        "linux,initrd-end": (RAM + 4).to_bytes(8, "big"),
        "rng-seed": b"\7",
    }
    assert cells(about["linux,uefi-secure-boot"]) == (2,)


def test_dtc_accepts_the_devicetree() -> None:
    found = boot(bootargs="quiet")
    start = found.dtb - found.address
    (length,) = struct.unpack_from(">I", found.data, start + 4)
    compile_again(found.data[start : start + length])
    assert found.dtb % 8 == 0


def test_a_large_machine_takes_more_room_at_the_end_of_ram() -> None:
    found = boot(VirtMachine(cpus=1, max_cpus=630))
    assert len(found.data) % GRANULE == 0
    assert len(found.data) > GRANULE
    assert found.address + len(found.data) == RAM + RAM_SIZE
    assert chosen(found)["linux,uefi-mmap-size"] == (80).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"memory": (RAM + 0x1000, RAM_SIZE)},
            "multiples of 0x10000, got 0x8000000 bytes at 0x40001000",
        ),
        ({"memory": (RAM, RAM_SIZE + 1)}, "memory must be in multiples of 0x10000, got 0x8000001 bytes"),
        ({"memory": (RAM, 0)}, "memory must be at least 1 byte"),
        ({"address": RAM + 0x1000}, "got 0x40001000"),
        ({"address": RAM - GRANULE}, "with 0x10000 bytes behind it in the memory of 0x8000000 bytes at 0x40000000"),
        ({"address": RAM + RAM_SIZE}, "got 0x48000000"),
        ({"initrd": (RAM, RAM + RAM_SIZE - GRANULE + 1)}, "initrd must not overlap the 0x10000 bytes at 0x47ff0000"),
        ({"address": RAM, "initrd": (RAM + GRANULE - 1, RAM + GRANULE)}, "got 0x4000ffff..0x40010000"),
        ({"bootargs": "a\0"}, "bootargs must be ASCII text"),
    ],
)
def test_a_malformed_configuration_is_refused_with_value_and_limit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        boot(**options)


def test_an_initial_ram_disk_may_touch_the_block() -> None:
    boot(initrd=(RAM, RAM + RAM_SIZE - GRANULE))
    boot(address=RAM, initrd=(RAM + GRANULE, RAM + GRANULE + 1))
