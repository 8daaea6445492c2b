"""The ACPI tables of a machine: what Linux needs to boot by ACPI, to use the GIC, and to plug and unplug vCPUs."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gicv3.acpi.dsdt import build_dsdt
from gicv3.machine import SPI
from gicv3.vcpu import CpuPpi

if TYPE_CHECKING:
    from gicv3.machine import Region, VirtMachine

_OEM_ID, _OEM_TABLE_ID, _CREATOR_ID = b"GICV3 ", b"GICV3VRT", b"GIC3"
_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_CHECKSUM_AT = 9

_GICC_ENABLED, _GICC_ONLINE_CAPABLE = 1 << 0, 1 << 3
_FADT_HW_REDUCED = 1 << 20
_PSCI_COMPLIANT, _PSCI_BY_HVC = 1, 2
_GTDT_ALWAYS_ON = 1 << 2
_NO_ADDRESS = (1 << 64) - 1
_LARGEST_GICR_RANGE = 1 << 31


class AcpiTables:
    """All tables, with a vCPU enabled in the MADT if it is there for good, and online-capable otherwise.

    Linux must find every possible vCPU, may never see an enabled one go, and takes their redistributors from the
    always-on GICR ranges (Documentation/arch/arm64/cpu-hotplug.rst).
    Parameters: `machine`, described as it is now. Thread-safety: none.
    """

    def __init__(self, machine: VirtMachine) -> None:
        self._dsdt = _table(b"DSDT", 2, build_dsdt(machine))
        # A guest with EL2 gets HVC for itself.
        self._by_hvc = not machine.virtualization
        self._others = [_madt(machine), _gtdt(machine), _spcr(machine)]

    def place(self, address: int) -> tuple[int, bytes]:
        """Link the tables for an address in guest memory, a multiple of 16.

        Returns: the RSDP's address, and the bytes to put at `address`, which are as many for any address.
        """
        blob = bytearray()

        def add(table: bytes) -> int:
            at = address + len(blob)
            blob.extend(table + bytes(-len(table) % 16))
            return at

        tables = [_fadt(add(self._dsdt), self._by_hvc), *self._others]
        xsdt = add(_table(b"XSDT", 1, b"".join(struct.pack("<Q", add(table)) for table in tables)))
        return add(_rsdp(xsdt)), bytes(blob)


def _table(signature: bytes, revision: int, content: bytes) -> bytes:
    length = _HEADER.size + len(content)
    header = _HEADER.pack(signature, length, revision, 0, _OEM_ID, _OEM_TABLE_ID, 1, _CREATOR_ID, 1)
    return _checked(header + content, _CHECKSUM_AT)


def _checked(data: bytes, at: int, length: int | None = None) -> bytes:
    """The same with byte `at` such that the sum of the first `length` bytes is 0."""
    checked = bytearray(data)
    checked[at] = -sum(data[:length]) & 0xFF
    return bytes(checked)


def _rsdp(xsdt: int) -> bytes:
    plain = struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, _OEM_ID, 2, 0, 36, xsdt, 0)
    return _checked(_checked(plain, 8, 20), 32)


def _fadt(dsdt: int, by_hvc: bool) -> bytes:
    content = bytearray(276 - _HEADER.size)
    conduit = _PSCI_BY_HVC if by_hvc else 0
    for offset, form, value in (
        (112, "<I", _FADT_HW_REDUCED),
        (129, "<H", _PSCI_COMPLIANT | conduit),
        (140, "<Q", dsdt),
    ):
        struct.pack_into(form, content, offset - _HEADER.size, value)
    return _table(b"FACP", 6, bytes(content))


def _madt(machine: VirtMachine) -> bytes:
    memory_map = machine.memory_map
    entries = [struct.pack("<II", 0, 0)]
    entries.append(struct.pack("<BBHIQIB3x", 0xC, 24, 0, 0, memory_map["GIC_DIST"].base, 0, 3))
    performance = CpuPpi.PMU if machine.pmu else 0
    maintenance = CpuPpi.MAINTENANCE if machine.virtualization else 0
    for index in range(machine.max_cpus):
        stays = index in machine.cpus and not machine.is_removable(index)
        flags = _GICC_ENABLED if stays else _GICC_ONLINE_CAPABLE
        entries.append(
            struct.pack(
                "<BBHIIIIIQQQQIQQB3x",
                0xB,
                80,
                0,
                index,
                index,
                flags,
                0,
                performance,
                0,
                0,
                0,
                0,
                maintenance,
                0,
                machine.gic.affinity(index),
                0,
            )
        )
    for name in ("GIC_REDIST", "HIGH_GIC_REDIST2"):
        if name in memory_map:
            entries.append(_gicr(memory_map[name]))
    for number, its in enumerate(machine.gic.its):
        entries.append(struct.pack("<BBHIQI", 0xF, 20, 0, number, its.base, 0))
    return _table(b"APIC", 5, b"".join(entries))


def _gicr(region: Region) -> bytes:
    """Always-on redistributors; a range's length has 32 bits."""
    base, size = region
    entries = b""
    while size:
        length = min(size, _LARGEST_GICR_RANGE)
        entries += struct.pack("<BBHQI", 0xE, 16, 0, base, length)
        base, size = base + length, size - length
    return entries


def _gtdt(machine: VirtMachine) -> bytes:
    timers = (CpuPpi.TIMER_SEC, CpuPpi.TIMER_PHYS, CpuPpi.TIMER_VIRT, CpuPpi.TIMER_HYP)
    pairs = b"".join(struct.pack("<II", timer, _GTDT_ALWAYS_ON) for timer in timers)
    virtual_el2 = (CpuPpi.TIMER_HYPVIRT, _GTDT_ALWAYS_ON) if machine.virtualization else (0, 0)
    content = struct.pack("<QI", _NO_ADDRESS, 0) + pairs + struct.pack("<QIIII", _NO_ADDRESS, 0, 0, *virtual_el2)
    return _table(b"GTDT", 3, content)


def _spcr(machine: VirtMachine) -> bytes:
    pl011, gic_interrupt, one_stop_bit, none = 3, 8, 1, 0xFFFF
    register = struct.pack("<BBBBQ", 0, 32, 0, 3, machine.memory_map["UART0"].base)
    content = struct.pack(
        "<B3x12sBBIBBBBBB", pl011, register, gic_interrupt, 0, 32 + SPI["UART0"], 0, 0, one_stop_bit, 0, 0, 0
    )
    return _table(b"SPCR", 2, content + struct.pack("<HHBBBIB4x", none, none, 0, 0, 0, 0, 0))
