"""The devicetree: what it says, that dtc accepts it, and where it differs from QEMU's."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import required
from dtb import Nodes, cells, compile_again, parse, with_paths

from gicv3 import ConfigError, Topology, VirtMachine

pytest.importorskip("fdt", exc_type=ImportError)
from gicv3.fdt import build_fdt

REFERENCES = {"interrupt-parent", "clocks", "cpu"}


def nodes(machine: VirtMachine | None = None, **options: Any) -> Nodes:
    return parse(build_fdt(machine if machine is not None else VirtMachine(cpus=2), **options))


def test_only_plugged_cpus_are_listed_at_boot_and_after_a_plug() -> None:
    machine = VirtMachine(cpus=1, max_cpus=3)
    assert [path for path in nodes(machine) if path.startswith("/cpus/cpu@")] == ["/cpus/cpu@0"]
    machine.device_add(core_id=2)
    assert [path for path in nodes(machine) if path.startswith("/cpus/cpu@")] == ["/cpus/cpu@0", "/cpus/cpu@2"]


def test_reg_of_a_cpu_is_its_affinity_in_one_cell_while_all_aff3_are_zero() -> None:
    tree = nodes(VirtMachine(affinities=[0x00_0001, 0xFF_0203]))
    assert cells(tree["/cpus"]["#address-cells"]) == (1,)
    assert cells(tree["/cpus/cpu@1"]["reg"]) == (1,)
    assert cells(tree["/cpus/cpu@ff0203"]["reg"]) == (0xFF_0203,)


def test_reg_of_every_cpu_has_two_cells_once_one_has_an_aff3() -> None:
    tree = nodes(VirtMachine(affinities=[0x0, 0x1_0000_0002]))
    assert cells(tree["/cpus"]["#address-cells"]) == (2,)
    assert cells(tree["/cpus/cpu@0"]["reg"]) == (0, 0)
    assert cells(tree["/cpus/cpu@100000002"]["reg"]) == (1, 2)


@pytest.mark.parametrize(("cpus", "regions"), [(123, 1), (124, 2)])
def test_redistributor_regions_are_those_of_the_memory_map(cpus: int, regions: int) -> None:
    machine = VirtMachine(cpus=1, max_cpus=cpus)
    gic = nodes(machine)["/intc@8000000"]
    assert cells(gic["#redistributor-regions"]) == (regions,)
    expected = (0, 0x0800_0000, 0, 0x1_0000, 0, 0x080A_0000, 0, 0xF6_0000, 0x40, 0, 0, 0x400_0000)
    assert cells(gic["reg"]) == expected[: 4 + 4 * regions]


def test_a_machine_with_el2_keeps_hvc_for_the_guest_and_has_a_maintenance_interrupt() -> None:
    tree = nodes(VirtMachine(cpus=1, virtualization=True))
    assert tree["/psci"]["method"] == b"smc\0"
    assert cells(tree["/intc@8000000"]["interrupts"]) == (1, 9, 4)
    assert len(cells(tree["/timer"]["interrupts"])) == 5 * 3
    tree = nodes()
    assert tree["/psci"]["method"] == b"hvc\0"
    assert "interrupts" not in tree["/intc@8000000"]


def test_chosen_has_what_was_given_and_nothing_else() -> None:
    end = 0x4000_0000 + (128 << 20)
    chosen = nodes(bootargs="quiet", initrd=(0x4400_0000, end), rng_seed=b"\1\2\3")["/chosen"]
    assert chosen == {
        "bootargs": b"quiet\0",
        "linux,initrd-start": bytes.fromhex("0000000044000000"),
        "linux,initrd-end": end.to_bytes(8, "big"),
        "rng-seed": b"\1\2\3",
        "stdout-path": b"/pl011@9000000\0",
    }
    assert nodes(devices=())["/chosen"] == {}


def test_devices_that_are_not_there_are_not_described_nor_is_their_clock() -> None:
    def described(**options: Any) -> set[str]:
        return {path for path in nodes(**options) if re.match(r"/(pl0|apb)", path)}

    assert described() == {"/apb-pclk", "/pl011@9000000", "/pl031@9010000"}
    assert described(devices=["RTC"]) == {"/apb-pclk", "/pl031@9010000"}
    assert described(devices=()) == set()


def test_memory_may_differ_from_the_machines() -> None:
    tree = nodes(memory=(0x8000_0000, 0x1_0000_0000))
    assert cells(tree["/memory@80000000"]["reg"]) == (0, 0x8000_0000, 1, 0)


REDIST2 = 256 << 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bootargs": "a\0b"}, "bootargs must be ASCII text without NUL, got 'a\\x00b'"),
        ({"bootargs": "ü"}, "bootargs must be ASCII text without NUL, got 'ü'"),
        ({"bootargs": b"quiet"}, "bootargs must be ASCII text without NUL, got b'quiet'"),
        ({"initrd": (0x4000_0000, 0x4000_0000)}, "got 0x40000000..0x40000000"),
        ({"initrd": (0x3FFF_FFFF, 0x4000_1000)}, "got 0x3fffffff..0x40001000"),
        ({"initrd": (0x4000_0000, 0x4800_0001)}, "memory of 0x8000000 bytes at 0x40000000"),
        ({"rng_seed": b""}, "rng_seed must be at least one byte, got b''"),
        ({"rng_seed": "seed"}, "rng_seed must be at least one byte, got 'seed'"),
        ({"devices": ["UART9"]}, "devices must be among UART0, RTC, got 'UART9'"),
        ({"memory": (0x4000_0000, 0)}, "memory must be at least 1 byte below 2**52, got 0x0 bytes at 0x40000000"),
        ({"memory": (-1, 2)}, "got 0x2 bytes at -0x1"),
        ({"memory": ((1 << 52) - 1, 2)}, "got 0x2 bytes at 0xfffffffffffff"),
        ({"memory": (0x0900_0FFF, 1)}, "must not overlap UART0 at 0x9000000"),
        ({"memory": (0x4000_0000, REDIST2 - 0x4000_0000 + 1)}, "must not overlap HIGH_GIC_REDIST2 at 0x4000000000"),
    ],
)
def test_a_malformed_configuration_is_refused_with_value_and_limit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_fdt(VirtMachine(cpus=1, max_cpus=124), **options)


def test_memory_may_touch_a_device_and_the_end_of_the_address_space() -> None:
    machine = VirtMachine(cpus=1, max_cpus=124)
    for memory in ((0x0900_1000, 1), (0x4000_0000, REDIST2 - 0x4000_0000), ((1 << 52) - 1, 1)):
        build_fdt(machine, memory=memory)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fdt", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'gicv3[fdt]'")):
        build_fdt(VirtMachine(cpus=1))


def test_an_its_is_a_child_of_the_gic() -> None:
    node = nodes(VirtMachine(cpus=1, lpis=True, its=1))["/intc@8000000/its@8080000"]
    assert node.pop("phandle") != b""
    assert node == {
        "compatible": b"arm,gic-v3-its\0",
        "msi-controller": b"",
        "#msi-cells": (1).to_bytes(4, "big"),
        "reg": bytes.fromhex("00000000 08080000 00000000 00020000"),
    }


MACHINES: dict[str, tuple[dict[str, Any], str]] = {
    "two": ({"cpus": 2, "max_cpus": 4}, "-smp 2,maxcpus=4"),
    "its": ({"cpus": 2, "lpis": True, "its": 1}, "-smp 2 -M its=on"),
    "clusters": ({"cpus": 40, "ram_size": 512 << 20}, "-smp 40 -m 512"),
    "two-regions": ({"cpus": 124, "virtualization": True}, "-smp 124 -M virtualization=on"),
    "topology": (
        {"topology": Topology(sockets=2, clusters=3, cores=2, threads=2)},
        "-smp 24,sockets=2,clusters=3,cores=2,threads=2",
    ),
    "no-pmu": ({"cpus": 1, "pmu": False, "cpu_type": "max-arm-cpu"}, "-smp 1 -cpu max,pmu=off"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_dtc_accepts_the_tree_without_a_warning(name: str) -> None:
    options, _ = MACHINES[name]
    text = compile_again(build_fdt(VirtMachine(**options), bootargs="console=ttyAMA0"))
    assert "interrupt-controller;" in text


NOT_EMULATED = "the device is not emulated"
SEEDS = "runs can be repeated exactly, so there is no seed unless one is given"
# Differences from QEMU's own tree: path, property ("" for the whole node), the reason.
DIFFERENCES = [
    (r"/(virtio_mmio|flash|fw-cfg|pcie|pl061|platform-bus|gpio-keys)\b.*", "", NOT_EMULATED),
    (r"/chosen", "kaslr-seed", SEEDS),
    (r"/chosen", "rng-seed", SEEDS),
    (r"/psci", "cpu_suspend", "CPU_SUSPEND is not implemented"),
    (r"/psci", "migrate", "MIGRATE is not implemented"),
    (r"/cpus/cpu@0", "enable-method", "QEMU has it on a machine of several CPUs only; CPU_OFF is there on one, too"),
    (r"/cpus/cpu@0", "compatible", "QEMU's max calls itself a Cortex-A57 under TCG; it is no model of Arm's"),
    (r"/timer", "interrupts", "with EL2 the fifth timer's interrupt is described, which QEMU 7.2 leaves out"),
]


def differences(ours: Nodes, theirs: Nodes) -> set[tuple[str, str]]:
    found = {(path, "") for path in ours.keys() ^ theirs.keys()}
    for path in ours.keys() & theirs.keys():
        mine, other = ours[path], theirs[path]
        found |= {(path, name) for name in mine.keys() | other.keys() if mine.get(name) != other.get(name)}
    return found


def accepted(difference: tuple[str, str]) -> list[int]:
    """Which rows of DIFFERENCES allow it."""
    path, name = difference
    return [
        row for row, (pattern, wanted, _) in enumerate(DIFFERENCES) if wanted == name and re.fullmatch(pattern, path)
    ]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """Differences from QEMU's tree, by the machine's name."""
    qemu = required.tool("qemu-system-aarch64")
    file = tmp_path_factory.mktemp("dtb") / "qemu.dtb"
    found = {}
    for name, (options, arguments) in MACHINES.items():
        command = [qemu, "-M", f"virt,gic-version=3,its=off,dumpdtb={file}", "-cpu", "cortex-a57", "-display", "none"]
        subprocess.run([*command, *arguments.split()], check=True, capture_output=True)
        ours, theirs = (with_paths(tree, REFERENCES) for tree in (nodes(VirtMachine(**options)), dump(file)))
        found[name] = differences(ours, theirs)
    return found


def dump(file: Path) -> Nodes:
    """QEMU's tree; its CPU nodes are named by index instead of by the first address in `reg`, as they must be."""
    tree = parse(file.read_bytes())
    return {
        re.sub(r"(/cpu@)\w+", rf"\g<1>{cells(node['reg'])[0]:x}", path) if "/cpu@" in path else path: node
        for path, node in tree.items()
    }


@pytest.mark.oracle
@pytest.mark.parametrize("name", MACHINES)
def test_every_difference_from_qemus_tree_has_its_reason(name: str, compared: dict[str, set[tuple[str, str]]]) -> None:
    assert {difference for difference in compared[name] if not accepted(difference)} == set()


@pytest.mark.oracle
def test_every_reason_for_a_difference_is_needed(compared: dict[str, set[tuple[str, str]]]) -> None:
    used = {row for found in compared.values() for difference in found for row in accepted(difference)}
    assert [DIFFERENCES[row] for row in range(len(DIFFERENCES)) if row not in used] == []


def test_the_tree_of_the_largest_qemu_machine_is_one_that_dtc_accepts() -> None:
    machine = VirtMachine(cpus=635, virtualization=True)
    tree = parse(build_fdt(machine))
    compile_again(build_fdt(machine))
    affinities = {cells(tree[path]["reg"])[0] for path in tree if path.startswith("/cpus/cpu@")}
    assert affinities == {machine.gic.affinity(index) for index in range(635)}
    assert len(affinities) == 635
