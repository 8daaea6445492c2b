"""The ACPI tables: what they say, and that ACPICA's compiler and interpreter accept them."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from acpi import HEADER_SIZE, compile_again, entries, execute, read_tables

from gicv3 import VirtMachine
from gicv3.acpi.aml import integer
from gicv3.acpi.dsdt import cpu_name
from gicv3.acpi.tables import AcpiTables
from gicv3.policy import HotplugPolicy

GICC, GICD, GICR, ITS = 0xB, 0xC, 0xE, 0xF
BASE = 0x4800_0000


def tables(machine: VirtMachine) -> dict[str, bytes]:
    rsdp, memory = AcpiTables(machine).place(BASE)
    return read_tables(memory, BASE, rsdp)


def madt(machine: VirtMachine, kind: int) -> list[bytes]:
    return [entry for found, entry in entries(tables(machine)["APIC"]) if found == kind]


def gicc_flags(machine: VirtMachine) -> list[int]:
    return [struct.unpack_from("<I", entry, 12)[0] for entry in madt(machine, GICC)]


MACHINES: dict[str, dict[str, Any]] = {
    "hotplug": {"cpus": 2, "max_cpus": 8},
    "one": {"cpus": 1, "pmu": False},
    "el2": {"cpus": 1, "max_cpus": 130, "virtualization": True},
    "fixed": {"cpus": 3, "hotplug": False},
}


@pytest.mark.parametrize("name", MACHINES)
def test_all_tables_are_there_and_their_checksums_hold(name: str) -> None:
    assert set(tables(VirtMachine(**MACHINES[name]))) == {"XSDT", "FACP", "DSDT", "APIC", "GTDT", "SPCR"}


@pytest.mark.parametrize("name", MACHINES)
def test_iasl_disassembles_every_table_and_compiles_the_same_from_it(name: str, tmp_path: Path) -> None:
    for signature, table in tables(VirtMachine(**MACHINES[name])).items():
        _, again = compile_again(table, tmp_path)
        # It shortens names in a DSDT, and so changes its length.
        if signature != "DSDT":
            assert without_what_iasl_changes(again) == without_what_iasl_changes(table)


def without_what_iasl_changes(table: bytes) -> bytes:
    """The same without checksum and creator, and the Online Capable flags that iasl 20200925 does not know."""
    changed = bytearray(table)
    changed[9] = 0
    changed[28:36] = bytes(8)
    if table.startswith(b"APIC"):
        at = HEADER_SIZE + 8
        for kind, entry in entries(table):
            if kind == GICC:
                changed[at + 12] &= ~8
            at += len(entry)
    return bytes(changed)


def test_the_source_of_the_recompiled_dsdt_is_the_same(tmp_path: Path) -> None:
    def body(source: str) -> str:
        return source[source.index("DefinitionBlock") :].replace(r"\_SB.", "")

    first, again = compile_again(tables(VirtMachine(cpus=2, max_cpus=4))["DSDT"], tmp_path)
    second, _ = compile_again(again, tmp_path)
    assert body(second) == body(first)


def test_cold_cpus_are_enabled_and_all_others_online_capable_never_both() -> None:
    machine = VirtMachine(cpus=2, max_cpus=5)
    assert gicc_flags(machine) == [1, 1, 8, 8, 8]
    machine.device_add(core_id=3)
    # It may be unplugged again, so a guest that boots now must not take it for granted.
    assert gicc_flags(machine) == [1, 1, 8, 8, 8]


@pytest.mark.parametrize(
    ("removable", "flags"), [("all", [1, 8, 8, 8]), ([2], [1, 1, 8, 8]), ([1, 3], [1, 8, 8, 8]), ([], [1, 1, 8, 8])]
)
def test_the_policy_says_which_cpus_are_there_for_good(removable: Any, flags: list[int], tmp_path: Path) -> None:
    machine = VirtMachine(cpus=2, max_cpus=4, policy=HotplugPolicy(removable=removable))
    assert gicc_flags(machine) == flags
    expected = [f"C00{slot}" for slot in range(4) if machine.is_removable(slot)]
    source, _ = compile_again(tables(machine)["DSDT"], tmp_path)
    assert ejectable(source) == expected


def ejectable(source: str) -> list[str]:
    devices = re.split(r"Device \((C00\d)\)", source)[1:]
    return [name for name, text in zip(devices[::2], devices[1::2], strict=True) if "_EJ0" in text]


def test_a_disabled_cpu_is_online_capable_like_an_absent_one() -> None:
    machine = VirtMachine(cpus=2, max_cpus=4, policy=HotplugPolicy(admin_state=True))
    assert gicc_flags(machine) == [1, 1, 8, 8]


def test_without_hotplug_every_cpu_is_enabled() -> None:
    assert gicc_flags(VirtMachine(cpus=3, hotplug=False)) == [1, 1, 1]


def test_a_gicc_names_its_cpu_and_its_interrupts_and_no_redistributor() -> None:
    affinities = [0x0, 0x1_0002_0304]
    for options, performance, maintenance in (
        ({}, 23, 0),
        ({"pmu": False}, 0, 0),
        ({"virtualization": True}, 23, 25),
    ):
        found = madt(VirtMachine(cpus=1, affinities=affinities, **options), GICC)
        for index, entry in enumerate(found):
            number, uid = struct.unpack_from("<II", entry, 4)
            pmu = struct.unpack_from("<I", entry, 20)[0]
            (gic_maintenance, redistributor, mpidr) = struct.unpack_from("<IQQ", entry, 56)
            # A redistributor named here would go away with a disabled GICC.
            assert (number, uid, pmu, gic_maintenance, redistributor) == (index, index, performance, maintenance, 0)
            assert mpidr == affinities[index]


def test_the_distributor_says_its_address_and_that_it_is_a_gicv3() -> None:
    (entry,) = madt(VirtMachine(cpus=1), GICD)
    assert struct.unpack_from("<QIB", entry, 8) == (0x0800_0000, 0, 3)


@pytest.mark.parametrize(
    ("options", "ranges"),
    [
        ({"max_cpus": 123}, [(0x080A_0000, 0xF6_0000)]),
        ({"max_cpus": 124}, [(0x080A_0000, 0xF6_0000), (0x40_0000_0000, 0x400_0000)]),
        (
            {"max_cpus": 124, "redist2_capacity": 32_769},
            [(0x080A_0000, 0xF6_0000), *((0x40_0000_0000 + n * 0x8000_0000, 0x8000_0000) for n in range(4))],
        ),
    ],
)
def test_redistributors_are_always_on_ranges_that_32_bits_can_measure(
    options: dict[str, int], ranges: list[tuple[int, int]]
) -> None:
    assert [struct.unpack_from("<QI", entry, 4) for entry in madt(VirtMachine(cpus=1, **options), GICR)] == ranges


def test_an_its_has_a_structure_of_its_own() -> None:
    (entry,) = madt(VirtMachine(cpus=1, lpis=True, its=1), ITS)
    assert struct.unpack_from("<IQ", entry, 4) == (0, 0x0808_0000)
    assert madt(VirtMachine(cpus=1), ITS) == []


@pytest.mark.parametrize(("virtualization", "flags"), [(False, 0b11), (True, 0b01)])
def test_the_fadt_names_the_psci_conduit(virtualization: bool, flags: int) -> None:
    fadt = tables(VirtMachine(cpus=1, virtualization=virtualization))["FACP"]
    assert struct.unpack_from("<H", fadt, 129) == (flags,)
    assert struct.unpack_from("<I", fadt, 112) == (1 << 20,)
    assert fadt[8] == 6


@pytest.mark.parametrize(("virtualization", "fifth"), [(False, (0, 0)), (True, (28, 4))])
def test_the_gtdt_has_the_ppis_of_the_timers(virtualization: bool, fifth: tuple[int, int]) -> None:
    gtdt = tables(VirtMachine(cpus=1, virtualization=virtualization))["GTDT"]
    assert struct.unpack_from("<8I", gtdt, 48) == (29, 4, 30, 4, 27, 4, 26, 4)
    assert struct.unpack_from("<2I", gtdt, 96) == fifth


def test_the_spcr_names_the_console() -> None:
    spcr = tables(VirtMachine(cpus=1))["SPCR"]
    assert spcr[36] == 3
    assert struct.unpack_from("<Q", spcr, 44) == (0x0900_0000,)
    assert struct.unpack_from("<I", spcr, 54) == (33,)


def test_only_cpus_that_may_go_have_an_eject_method(tmp_path: Path) -> None:
    machine = VirtMachine(cpus=2, max_cpus=4)
    machine.device_add(core_id=3)
    source, _ = compile_again(tables(machine)["DSDT"], tmp_path)
    assert ejectable(source) == ["C002", "C003"]


def test_without_hotplug_cpus_are_plain_and_there_is_no_event_device(tmp_path: Path) -> None:
    source, _ = compile_again(tables(VirtMachine(cpus=2, hotplug=False))["DSDT"], tmp_path)
    assert re.findall(r"Device \((\w+)\)", source) == ["COM0", "CPUS", "C000", "C001"]
    assert not re.search("_EJ0|_STA|_OST|_EVT|OperationRegion", source)


def test_the_event_device_has_the_edge_of_its_spi(tmp_path: Path) -> None:
    source, _ = compile_again(tables(VirtMachine(cpus=1, max_cpus=2))["DSDT"], tmp_path)
    ged = source[source.index("Device (GED)") :]
    assert re.search(r"Interrupt \(ResourceConsumer, Edge, ActiveHigh, Exclusive[ ,]*\)\s*{\s*0x00000029,", ged)


@pytest.mark.parametrize(("index", "name"), [(0, "C000"), (4095, "CFFF"), (4096, "D000"), (65_535, "RFFF")])
def test_a_cpu_device_has_a_name_of_its_own(index: int, name: str) -> None:
    assert cpu_name(index) == name


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_acpica_notifies_the_device_of_each_slot(count: int, tmp_path: Path) -> None:
    machine = VirtMachine(cpus=1, max_cpus=max(count, 2))
    slots = range(count) if count < 10 else (0, 1, 149, 150, 151, 298, 299)
    for slot in slots:  # one at a time: ACPICA tells each notification in a thread of its own
        said = execute(tables(machine)["DSDT"], tmp_path, rf"\_SB.CPUS.CTFY {slot:#x} 3")
        assert re.findall(r"Notify on \[(\w+)\] .* Value 0x03 \(Eject Request\)", said) == [cpu_name(slot)]


def test_acpica_runs_the_methods_and_an_absent_cpu_is_present_but_not_enabled(tmp_path: Path) -> None:
    cpu = r"\_SB.CPUS.C001"
    methods = (f"{cpu}._STA", f"{cpu}._OST 3 0 (00)", f"{cpu}._EJ0 1", r"\_SB.GED._EVT 0x29", r"\_SB.CPUS.CSCN")
    said = execute(tables(VirtMachine(cpus=1, max_cpus=2))["DSDT"], tmp_path, *methods)
    assert "[Integer] = 000000000000000D" in said
    assert said.count("Evaluating ") == len(methods)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (2, "0a02"),
        (0xFF, "0aff"),
        (0x100, "0b0001"),
        (0xFFFF, "0bffff"),
        (0x1_0000, "0c00000100"),
        (0xFFFF_FFFF, "0cffffffff"),
        (1 << 32, "0e0000000001000000"),
        ((1 << 64) - 1, "0effffffffffffffff"),
    ],
)
def test_an_integer_takes_its_shortest_form(value: int, encoded: str) -> None:
    assert integer(value).hex() == encoded


def test_an_integer_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError, match="got 0x10000000000000000"):
        integer(1 << 64)


def test_the_dsdt_of_many_cpus_has_every_length_right(tmp_path: Path) -> None:
    # Packages of one, two and three bytes of length.
    machine = VirtMachine(cpus=1, max_cpus=600)
    source, _ = compile_again(tables(machine)["DSDT"], tmp_path)
    assert re.findall(r"Device \((C[0-9A-F]{3})\)", source) == [cpu_name(index) for index in range(600)]


def test_the_same_machine_takes_as_many_bytes_at_any_address() -> None:
    linked = AcpiTables(VirtMachine(cpus=1, max_cpus=2))
    low, high = linked.place(0x1000), linked.place(0xFF_4000_0000)
    assert len(low[1]) == len(high[1])
    assert set(read_tables(high[1], 0xFF_4000_0000, high[0])) == set(read_tables(low[1], 0x1000, low[0]))
