"""The devicetree of a machine: what a guest that boots without ACPI is told, in the form of QEMU's `virt`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import index as as_index
from typing import TYPE_CHECKING, Any, TypeAlias

from gicv3.arguments import instance
from gicv3.errors import ConfigError
from gicv3.machine import SPI, Region, VirtMachine
from gicv3.psci import SMC64, PsciFunction
from gicv3.vcpu import CpuPpi

if TYPE_CHECKING:
    import fdt

Value: TypeAlias = "str | Sequence[str] | int | Sequence[int] | bytes | Tree | None"
"""Text or texts, one 32-bit cell or several, raw bytes, a node, or nothing but the name."""
Tree: TypeAlias = Mapping[str, Value]

DEVICES = ("UART0", "RTC")
"""Devices beside GIC, timers and memory that can be described."""

_SPI, _PPI = 0, 1
_LEVEL_HIGH = 4
_CLOCK_HZ = 24_000_000
_PHANDLE_CLOCK, _PHANDLE_GIC, _PHANDLE_CPU = 1, 2, 0x1_0000
_PHANDLE_ITS = 0x100
# The binding fixes this order; the last exists where there is EL2.
_TIMERS = (CpuPpi.TIMER_SEC, CpuPpi.TIMER_PHYS, CpuPpi.TIMER_VIRT, CpuPpi.TIMER_HYP, CpuPpi.TIMER_HYPVIRT)


def build_fdt(
    machine: VirtMachine,
    *,
    memory: tuple[int, int] | None = None,
    bootargs: str = "",
    initrd: tuple[int, int] | None = None,
    rng_seed: bytes | None = None,
    devices: Collection[str] = DEVICES,
) -> bytes:
    """Describe a machine with the vCPUs that are plugged now: a devicetree knows no vCPU that comes later.

    Parameters:
        memory: base and size of RAM in bytes; by default the machine's.
        bootargs: the kernel's command line.
        initrd: address of the first byte of the initial RAM disk, and of the first one behind it, within `memory`.
        rng_seed: what the kernel seeds its random numbers with; without it no two boots differ.
        devices: those of `DEVICES` that are there; `UART0` is the console.
    Returns: a flattened devicetree. Raises: ConfigError; ImportError without the extra `fdt`. Thread-safety: as the
    machine's.
    """
    instance("machine", machine, VirtMachine)
    memory_map = machine.memory_map
    base, size = check_memory(machine, memory)
    for name in devices:
        if name not in DEVICES:
            raise ConfigError(f"devices must be among {', '.join(DEVICES)}, got {name!r}")
    chosen = chosen_node(bootargs, initrd, rng_seed, Region(base, size))
    tree: dict[str, Value] = {
        "#address-cells": 2,
        "#size-cells": 2,
        "compatible": "linux,dummy-virt",
        "model": "linux,dummy-virt",
        "interrupt-parent": _PHANDLE_GIC,
        "chosen": chosen,
        f"memory@{base:x}": {"device_type": "memory", "reg": cells64(base, size)},
        "cpus": _cpus(machine),
        "psci": _psci(machine),
        "timer": _timer(machine),
        f"intc@{memory_map['GIC_DIST'].base:x}": _gic(machine),
    }
    if machine.pmu:
        tree["pmu"] = {"compatible": "arm,armv8-pmuv3", "interrupts": _ppi(CpuPpi.PMU)}
    if devices:
        tree["apb-pclk"] = {
            "compatible": "fixed-clock",
            "#clock-cells": 0,
            "clock-frequency": _CLOCK_HZ,
            "clock-output-names": "clk24mhz",
            "phandle": _PHANDLE_CLOCK,
        }
    if "UART0" in devices:
        name = f"pl011@{memory_map['UART0'].base:x}"
        tree[name] = _primecell(memory_map, "UART0", "arm,pl011", ("uartclk", "apb_pclk"))
        chosen["stdout-path"] = f"/{name}"
    if "RTC" in devices:
        tree[f"pl031@{memory_map['RTC'].base:x}"] = _primecell(memory_map, "RTC", "arm,pl031", ("apb_pclk",))
    return flatten(tree)


def check_memory(machine: VirtMachine, memory: tuple[int, int] | None) -> Region:
    """The RAM to describe: `memory`, or the machine's own.

    Raises: ConfigError when it is empty, above 2**52, or where a device is.
    """
    if memory is None:
        return machine.memory_map["RAM"]
    base, size = map(as_index, memory)
    if base < 0 or size < 1 or base + size > 1 << 52:
        raise ConfigError(f"memory must be at least 1 byte below 2**52, got {size:#x} bytes at {base:#x}")
    for name, region in machine.memory_map.items():
        if name != "RAM" and base < region.base + region.size and region.base < base + size:
            raise ConfigError(f"memory of {size:#x} bytes at {base:#x} must not overlap {name} at {region.base:#x}")
    return Region(base, size)


def chosen_node(
    bootargs: str, initrd: tuple[int, int] | None, rng_seed: bytes | None, memory: Region
) -> dict[str, Value]:
    """The properties of /chosen that both ways to boot share.

    Parameters: as `build_fdt`; `memory`, where the initial RAM disk must lie. Raises: ConfigError.
    """
    if not isinstance(bootargs, str) or not bootargs.isascii() or "\0" in bootargs:
        raise ConfigError(f"bootargs must be ASCII text without NUL, got {bootargs!r}")
    chosen: dict[str, Value] = {}
    if bootargs:
        chosen["bootargs"] = bootargs
    if initrd is not None:
        start, end = map(as_index, initrd)
        if not memory.base <= start < end <= memory.base + memory.size:
            raise ConfigError(
                f"initrd must be a range within the memory of {memory.size:#x} bytes at {memory.base:#x}, "
                f"got {start:#x}..{end:#x}"
            )
        chosen["linux,initrd-start"] = cells64(start)
        chosen["linux,initrd-end"] = cells64(end)
    if rng_seed is not None:
        if not isinstance(rng_seed, bytes) or not rng_seed:
            raise ConfigError(f"rng_seed must be at least one byte, got {rng_seed!r}")
        chosen["rng-seed"] = rng_seed
    return chosen


def cells64(*values: int) -> list[int]:
    """Two cells for each 64-bit number, the upper half first."""
    return [half for value in values for half in (value >> 32, value & 0xFFFF_FFFF)]


def flatten(tree: Tree) -> bytes:
    """Encode a tree: properties and child nodes by name.

    Raises: ImportError without the extra `fdt`.
    """
    try:
        import fdt
    except ImportError as error:
        raise ImportError("a devicetree needs the package fdt: pip install 'gicv3[fdt]'") from error
    blob = fdt.FDT()
    _fill(blob.root, tree, fdt)
    encoded: bytes = blob.to_dtb(version=17)
    return encoded


def _fill(node: fdt.Node, tree: Tree, library: Any) -> None:
    # In a flattened tree the properties of a node come before its children.
    children = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            children.append((name, value))
        else:
            node.append(library.PropBytes(name, data=_encode(value)))
    for name, subtree in children:
        child = library.Node(name)
        node.append(child)
        _fill(child, subtree, library)


def _encode(value: str | Sequence[str] | int | Sequence[int] | bytes | None) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case str():
            return value.encode() + b"\0"
        case int():
            return value.to_bytes(4, "big")
        case _:
            return b"".join(map(_encode, value))


def _ppi(*intids: int) -> list[int]:
    return [cell for intid in intids for cell in (_PPI, intid - 16, _LEVEL_HIGH)]


def _primecell(memory_map: Mapping[str, Region], name: str, compatible: str, clocks: Sequence[str]) -> Tree:
    return {
        "compatible": [compatible, "arm,primecell"],
        "reg": cells64(*memory_map[name]),
        "interrupts": [_SPI, SPI[name], _LEVEL_HIGH],
        "clocks": [_PHANDLE_CLOCK] * len(clocks),
        "clock-names": clocks,
    }


def _gic(machine: VirtMachine) -> Tree:
    memory_map = machine.memory_map
    # Whole regions as in QEMU: GICR_TYPER.Last ends a guest's walk, not the size.
    regions = [memory_map[name] for name in ("GIC_REDIST", "HIGH_GIC_REDIST2") if name in memory_map]
    node: dict[str, Value] = {
        "compatible": "arm,gic-v3",
        "#interrupt-cells": 3,
        "interrupt-controller": None,
        "#address-cells": 2,
        "#size-cells": 2,
        "ranges": None,
        "#redistributor-regions": len(regions),
        "reg": cells64(*memory_map["GIC_DIST"], *(number for region in regions for number in region)),
        "phandle": _PHANDLE_GIC,
    }
    if machine.virtualization:
        node["interrupts"] = _ppi(CpuPpi.MAINTENANCE)
    for number, its in enumerate(machine.gic.its):
        node[f"its@{its.base:x}"] = {
            "compatible": "arm,gic-v3-its",
            "msi-controller": None,
            "#msi-cells": 1,
            "reg": cells64(its.base, memory_map["GIC_ITS"].size),
            "phandle": _PHANDLE_ITS + number,
        }
    return node


def _timer(machine: VirtMachine) -> Tree:
    count = len(_TIMERS) if machine.virtualization else len(_TIMERS) - 1
    return {
        "compatible": ["arm,armv8-timer", "arm,armv7-timer"],
        "always-on": None,
        "interrupts": _ppi(*_TIMERS[:count]),
    }


def _psci(machine: VirtMachine) -> Tree:
    return {
        "compatible": ["arm,psci-1.0", "arm,psci-0.2", "arm,psci"],
        # A guest with EL2 gets HVC for itself.
        "method": "smc" if machine.virtualization else "hvc",
        "cpu_off": PsciFunction.CPU_OFF,
        "cpu_on": PsciFunction.CPU_ON | SMC64,
    }


def _cpus(machine: VirtMachine) -> Tree:
    cpus = [machine.cpus[index] for index in sorted(machine.cpus)]
    wide = any(cpu.mp_affinity >> 32 for cpu in cpus)
    model = machine.cpu_type.removesuffix("-arm-cpu")
    nodes: dict[str, Value] = {"#address-cells": 2 if wide else 1, "#size-cells": 0}
    cpu_map: dict[str, Any] = {}
    for cpu in cpus:
        nodes[f"cpu@{cpu.mp_affinity:x}"] = {
            "device_type": "cpu",
            # "max" and "host" are no models of Arm's.
            "compatible": "arm,armv8" if model in ("max", "host") else f"arm,{model}",
            "reg": cells64(cpu.mp_affinity) if wide else cpu.mp_affinity,
            "enable-method": "psci",
            "phandle": _PHANDLE_CPU + cpu.cpu_index,
        }
        props = cpu.props
        level = cpu_map.setdefault(f"socket{props.socket_id}", {}).setdefault(f"cluster{props.cluster_id}", {})
        level = level.setdefault(f"core{props.core_id}", {})
        if machine.topology.threads > 1:
            level = level.setdefault(f"thread{props.thread_id}", {})
        level["cpu"] = _PHANDLE_CPU + cpu.cpu_index
    nodes["cpu-map"] = cpu_map
    return nodes
