"""The `virt` machine as far as interrupts go: memory map, GIC, possible and plugged vCPUs, wires, power and reset."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

from gicv3.acpi.cpuhp import CpuHotplugRegisters
from gicv3.acpi.ged import AcpiGed
from gicv3.arguments import instance, integer, integers, switch
from gicv3.association import associate
from gicv3.drivers import check_driver
from gicv3.errors import ConfigError, GicError, HotplugError
from gicv3.gic import GICv3, GICv3Config
from gicv3.hotplug import CpuHotplugHandler
from gicv3.machine_state import load_machine, restore_machine, save_machine
from gicv3.notifier import Callback, NotifierList, check_callback, collect, raise_all
from gicv3.policy import HotplugPolicy
from gicv3.psci import Psci
from gicv3.run_state import RunChange, RunControl, RunEvent, RunState
from gicv3.snapshot import Source
from gicv3.timer import DEFAULT_FREQUENCY, Timer, TimerBank
from gicv3.topology import MAX_CPUS, PossibleCpus, Topology, resolve_topology
from gicv3.vcpu import CPU_LINES, MAINT_LINE, CpuPpi, PowerState, Vcpu

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

REDIST_STRIDE = 0x2_0000
"""Bytes one GICv3 redistributor takes: its RD and SGI frames."""
REDIST_CAPACITY = 123
"""Redistributors that fit below the UART, in region 1."""
REDIST2_CAPACITY = 512
"""Redistributors in region 2, above RAM, unless `redist2_capacity` asks for more."""


class Region(NamedTuple):
    """A range of guest physical addresses, in bytes."""

    base: int
    size: int

    def __repr__(self) -> str:
        return f"Region(base={self.base:#x}, size={self.size:#x})"


_LOW_MAP = {
    "GIC_DIST": Region(0x0800_0000, 0x1_0000),
    "GIC_ITS": Region(0x0808_0000, 0x2_0000),
    "GIC_REDIST": Region(0x080A_0000, REDIST_CAPACITY * REDIST_STRIDE),
    "UART0": Region(0x0900_0000, 0x1000),
    "RTC": Region(0x0901_0000, 0x1000),
    "FW_CFG": Region(0x0902_0000, 0x18),
    "GPIO": Region(0x0903_0000, 0x1000),
    "UART1": Region(0x0904_0000, 0x1000),
    "SMMU": Region(0x0905_0000, 0x2_0000),
    "ACPI_GED": Region(0x0908_0000, AcpiGed.SIZE),
    "VIRTIO_MMIO": Region(0x0A00_0000, 0x200 * 32),
    "PCIE_MMIO": Region(0x1000_0000, 0x2EFF_0000),
    "PCIE_PIO": Region(0x3EFF_0000, 0x1_0000),
    "PCIE_ECAM": Region(0x3F00_0000, 0x100_0000),
}
_CPUHP_ACPI = Region(0x090C_0000, CpuHotplugRegisters.SIZE)
_RAM_BASE = 0x4000_0000
_HIGH_BASE = 256 * GIB

SPI = MappingProxyType(
    {"UART0": 1, "RTC": 2, "PCIE": 3, "GPIO": 7, "UART1": 8, "ACPI_GED": 9, "VIRTIO_MMIO": 16, "SMMU": 74}
)
"""SPI number of each device, the first where it has several; its INTID is 32 more."""
NUM_SPIS = 256

_TIMER_PPI = {
    Timer.PHYS: CpuPpi.TIMER_PHYS,
    Timer.VIRT: CpuPpi.TIMER_VIRT,
    Timer.HYP: CpuPpi.TIMER_HYP,
    Timer.SEC: CpuPpi.TIMER_SEC,
    Timer.HYPVIRT: CpuPpi.TIMER_HYPVIRT,
}


class MmioDevice(Protocol):
    """A device with registers: offsets and sizes are in bytes, and no access raises because a guest made it."""

    def read(self, offset: int, size: int) -> int:
        """Read a register."""

    def write(self, offset: int, value: int, size: int) -> None:
        """Write a register."""


class VirtMachine(CpuHotplugHandler, RunControl):
    """A machine with a GICv3 sized for every possible vCPU, of which some are plugged.

    Parameters:
        cpus, max_cpus: vCPUs at boot, and possible ones, 1..65536; by default what the other or `topology` says.
        topology: by default one socket of one cluster with `max_cpus` cores of one thread.
        affinities: one distinct MPIDR affinity for each possible vCPU; by default 16 vCPUs share an Aff1.
        devices: keyword arguments of `device_add` for further vCPUs that are there from the start.
        ram_size: bytes of RAM from 0x4000_0000, at least 1.
        highmem_redists: whether redistributors beyond the 123 of region 1 may lie in a region above RAM.
        redist2_capacity: redistributors that region holds, 1..65536. 512 is QEMU's 64 MiB; 65,536 take 8 GiB.
        gic_version: 3.
        acpi, hotplug: without either no vCPU can be plugged, and `max_cpus` becomes `cpus`.
        virtualization: whether vCPUs have EL2, and the GIC's maintenance output comes back as a PPI.
        pmu: whether vCPUs have a PMU.
        cpu_type: what `device_add` takes as driver.
        frequency: system counter, 1..2**32-1 Hz.
        its: whether there is an ITS at 0x0808_0000, and LPIs with it; their tables are in `gic.memory`, where the
            embedder maps its RAM (`UnicornMachine` does).
        policy: which vCPUs may go, what becomes of one that runs, how long a request holds; see `HotplugPolicy`.
        gic_options: further fields of GICv3Config; unless given, `spis` is 256 and `el2` as `virtualization`.
    Attributes:
        gic: the `GICv3`.
        cpus: the plugged vCPUs, a `Vcpu` by slot.
        possible_cpus: every slot, a `CpuSlot` by number: its affinity, its place, and the vCPU in it or None.
        timers: the generic timers of all vCPUs, which the engine advances; see `TimerBank`.
        psci: what serves a guest's HVC and SMC; see `Psci`.
        memory_map: where the guest finds RAM and devices, a `Region` by name.
        acpi_device: the ACPI registers by which the guest learns of hotplug, an `AcpiGed`; None without hotplug.
        cpuhp_notifiers: told when a vCPU comes or goes, and may refuse: a `NotifierList` of `CPUHotplugInfo`.
        hotplug_events: told of every `HotplugEvent`: the place of management; see docs/hotplug.md.
        run_events: told of every `RunEvent`: stop, resume, reset, shutdown.
        run_state: the `RunState`, as `stop`, `cont`, `system_off` and `reset` left it.
        migrating: set it while the machine is being migrated: until it is False nothing is plugged or unplugged.
        on_power: called with (vCPU, its new state) by `power_on` and `power_off`; or None.
        on_system_off: called by `system_off`; or None.
        on_system_reset: called at the end of `reset`; or None.
        max_cpus, smp_cpus: possible vCPUs, and those at boot.
        has_hotpluggable_cpus: whether vCPUs can be plugged.
        topology, policy, acpi, pmu, virtualization, cpu_type: as given, or by default.
        arguments: what `save` keeps of the parameters.
    Raises: ConfigError; TypeError naming an argument of a wrong type.
    Thread-safety: none beyond the GIC's own; use it from one thread at a time.
    """

    on_power = Callback[Callable[[Vcpu, PowerState], object]]()
    on_system_off = Callback[Callable[[], object]]()
    on_system_reset = Callback[Callable[[], object]]()

    def __init__(
        self,
        cpus: int | None = None,
        max_cpus: int | None = None,
        *,
        topology: Topology | None = None,
        affinities: Sequence[int] | None = None,
        devices: Iterable[Mapping[str, Any]] = (),
        ram_size: int = 128 * MIB,
        highmem_redists: bool = True,
        redist2_capacity: int = REDIST2_CAPACITY,
        gic_version: int = 3,
        acpi: bool = True,
        hotplug: bool = True,
        virtualization: bool = False,
        pmu: bool = True,
        cpu_type: str = "cortex-a57-arm-cpu",
        frequency: int = DEFAULT_FREQUENCY,
        its: bool = False,
        policy: HotplugPolicy | None = None,
        **gic_options: Any,
    ) -> None:
        if integer("gic_version", gic_version) != 3:
            raise ConfigError(f"gic_version must be 3, got {gic_version}")
        highmem_redists = switch("highmem_redists", highmem_redists)
        acpi, hotplug = switch("acpi", acpi), switch("hotplug", hotplug)
        virtualization, pmu, its = switch("virtualization", virtualization), switch("pmu", pmu), switch("its", its)
        ram_size, frequency = integer("ram_size", ram_size), integer("frequency", frequency)
        redist2_capacity = integer("redist2_capacity", redist2_capacity)
        try:
            check_driver(cpu_type)
        except HotplugError:
            raise ConfigError(f"cpu_type must be a vCPU model such as 'max-arm-cpu', got {cpu_type!r}") from None
        if topology is not None:
            instance("topology", topology, Topology)
        if policy is not None:
            instance("policy", policy, HotplugPolicy)
        if affinities is not None:
            affinities = integers("affinities", affinities)
            if max_cpus is None and topology is None:
                max_cpus = len(affinities)
        cpus, max_cpus, self.topology = resolve_topology(cpus, max_cpus, topology)
        self.policy = policy if policy is not None else HotplugPolicy()
        self.policy.check_slots(max_cpus)
        self.arguments: Mapping[str, Any] = MappingProxyType({
            "cpus": cpus, "max_cpus": max_cpus, "topology": asdict(self.topology),
            "affinities": None if affinities is None else list(affinities), "ram_size": ram_size,
            "highmem_redists": highmem_redists, "redist2_capacity": redist2_capacity, "acpi": acpi, "hotplug": hotplug,
            "virtualization": virtualization, "pmu": pmu, "cpu_type": cpu_type, "frequency": frequency,
            "its": its, "gic_options": (saved_options := dict(gic_options)),
        })
        self.has_hotpluggable_cpus = acpi and hotplug
        if not self.has_hotpluggable_cpus and max_cpus > cpus:
            warnings.warn("cpu hotplug feature has been disabled", RuntimeWarning, stacklevel=2)
            max_cpus = cpus
            affinities = affinities and affinities[:max_cpus]
        self.smp_cpus, self.max_cpus = cpus, max_cpus
        self.acpi = acpi
        self.pmu = pmu
        self.virtualization = virtualization
        self.cpu_type = cpu_type
        self.migrating = False
        self.memory_map, regions = _memory_map(
            max_cpus, ram_size, highmem_redists, redist2_capacity, self.has_hotpluggable_cpus
        )
        self.cpuhp_notifiers = NotifierList()
        self.hotplug_events = NotifierList()
        self.run_events = NotifierList()
        self._on_cpu_line: Callable[[Vcpu, Any, bool], object] | None = None
        self._cpus: dict[int, Vcpu] = {}
        self._devices: dict[str, Vcpu] = {}
        self._anonymous = 0
        self._disabled: dict[int, Vcpu] = {}
        self._requests: dict[Vcpu, float] = {}
        self._busy: Vcpu | None = None
        self._ready = False
        self.possible_cpus = PossibleCpus(self)
        self.cpus = MappingProxyType(self._cpus)
        self.timers = TimerBank(self._timer_output, frequency)
        self.psci = Psci(self)
        if its:
            gic_options = {"lpis": True, "its": 1, "its_bases": (self.memory_map["GIC_ITS"].base,), **gic_options}
        self.gic = self._create_gic(affinities, regions, gic_options)
        saved_options |= {name: getattr(self.gic.config, name) for name in saved_options}
        self.acpi_device = AcpiGed(self, 32 + SPI["ACPI_GED"]) if self.has_hotpluggable_cpus else None
        # Boot vCPUs are there before anybody listens: they are associated directly, by the code that hotplug uses.
        for index in range(cpus):
            cpu = Vcpu(self, index, self.gic.affinity(index))
            associate(self.gic, cpu)
            self.wire_gic_cpu_irqs(cpu)
            self.plug(cpu)
        self._cpus[0].power_state = PowerState.ON
        for device in devices:
            self.device_add(**device)
        self._ready = True

    def _create_gic(
        self, affinities: Sequence[int] | None, regions: list[tuple[int, int]], gic_options: Mapping[str, Any]
    ) -> GICv3:
        """Build the GIC for every possible vCPU, of which none has a CPU interface yet, and let it hear of hotplug."""
        if affinities is not None and len(affinities) != self.max_cpus:
            raise ConfigError(f"affinities must be one for each of {self.max_cpus} vCPUs, got {len(affinities)}")
        options = {"spis": NUM_SPIS, "el2": self.virtualization, **gic_options}
        taken = options.keys() & {"cpus", "affinities", "dist_base", "redist_regions"}
        if taken:
            raise ConfigError(f"{', '.join(sorted(taken))} of the GIC are set by the machine")
        gic = GICv3(
            GICv3Config(
                cpus=self.max_cpus if affinities is None else None,
                affinities=affinities,
                dist_base=self.memory_map["GIC_DIST"].base,
                redist_regions=regions,
                **options,
            )
        )
        gic.set_accessible_range(0, self.max_cpus, False)
        if self.has_hotpluggable_cpus:
            self.cpuhp_notifiers.add(gic.cpuhp_notifier)
        if self.virtualization:
            gic.on_line = self._gic_line
        return gic

    @property
    def mmio_devices(self) -> dict[Region, MmioDevice]:
        """Devices of the machine beside the GIC, by the addresses at which a guest must reach them."""
        ged = self.acpi_device
        return {self.memory_map["ACPI_GED"]: ged, self.memory_map["CPUHP_ACPI"]: ged.cpuhp} if ged is not None else {}

    @property
    def boot_cpus(self) -> int:
        """Number of plugged vCPUs: what fw_cfg tells firmware at the next boot."""
        return len(self._cpus)

    @property
    def on_cpu_line(self) -> Callable[[Vcpu, Any, bool], object] | None:
        """Called with (vCPU, `gicv3.Line`, level) when one of the six lines to a vCPU changes.

        Setting it takes the place of `gic.on_line`; None gives that up again, and leaves a `gic.on_line` that somebody
        set since. While that is so, nothing is called here. Without either, poll `gic.changed()` and `Vcpu.lines`.

        Raises: ConfigError when set to something that is neither callable nor None.
        """
        return self._on_cpu_line

    @on_cpu_line.setter
    def on_cpu_line(self, callback: Callable[[Vcpu, Any, bool], object] | None) -> None:
        self._on_cpu_line = check_callback("on_cpu_line", callback)
        if callback is not None or (self.virtualization and self.gic.on_line is None):
            self.gic.on_line = self._gic_line
        elif not self.virtualization and self.gic.on_line == self._gic_line:
            self.gic.on_line = None

    def power_on(self, cpu: Vcpu, entry: int, context_id: int = 0) -> None:
        """Reset a vCPU that is off and start it.

        Without `on_power` it is ON at once. With it, it is ON_PENDING until somebody, perhaps the callback, says
        `powered_on`.

        Parameters: `entry`, the address where it starts, and `context_id`, what it finds in X0: 0..2**64-1 each.
        Raises: ConfigError; GicError when it is not off, not plugged, or just being plugged or unplugged; what
        `on_power` raised, and it is off then; what a callback raised that was told of its reset, and it is started
        nevertheless.
        """
        instance("cpu", cpu, Vcpu)
        for name, value in (("entry", entry), ("context_id", context_id)):
            if not 0 <= integer(name, value) < 1 << 64:
                raise ConfigError(f"{name} must be in 0..2**64-1, got {value:#x}")
        if cpu.power_state is not PowerState.OFF or self._cpus.get(cpu.cpu_index) is not cpu:
            raise GicError(f"cpu {cpu.cpu_index} must be plugged and OFF to be powered on")
        self._check_at_rest(cpu)
        errors: list[BaseException] = []
        collect(errors, cpu.reset)
        cpu.context.pc = entry
        cpu.context.x0 = context_id
        cpu.power_state = PowerState.ON_PENDING
        if self.on_power is None:
            cpu.power_state = PowerState.ON
        else:
            try:
                self.on_power(cpu, PowerState.ON_PENDING)
            except BaseException as error:
                cpu.power_state = PowerState.OFF
                errors.append(error)
        raise_all(f"callbacks failed when cpu {cpu.cpu_index} was powered on", errors)

    def powered_on(self, cpu: Vcpu) -> None:
        """Say that the engine now runs a vCPU that was ON_PENDING; otherwise nothing happens."""
        if cpu.power_state is PowerState.ON_PENDING:
            cpu.power_state = PowerState.ON

    def power_off(self, cpu: Vcpu) -> None:
        """Stop a vCPU; its GIC state stays until it is reset or unplugged.

        Raises: what `on_power` raised; the vCPU is off nevertheless.
        """
        if cpu.power_state is not PowerState.OFF:
            self._set_power(cpu, PowerState.OFF)

    def _set_power(self, cpu: Vcpu, state: PowerState) -> None:
        cpu.power_state = state
        if self.on_power is not None:
            self.on_power(cpu, state)

    def system_off(self, *, guest: bool = False) -> None:
        """Switch the machine off; vCPUs stay plugged, and may run again after a reset and `cont`.

        Parameters: `guest`, whether its guest asked for it.
        Raises: what callbacks raised, after all were called; an ExceptionGroup for several.
        """
        errors: list[BaseException] = []
        self.run_state = RunState.SHUTDOWN
        if self.on_system_off is not None:
            collect(errors, self.on_system_off)
        collect(errors, self.run_events.notify, RunEvent(RunChange.SHUTDOWN, guest))
        raise_all("callbacks failed when the machine was switched off", errors)

    def reset(self, *, guest: bool = False) -> None:
        """System reset: the GIC, and every plugged vCPU, which stays plugged; all but vCPU 0 are then powered off.

        `on_power` is not called: an engine learns of it by `on_system_reset`.

        Parameters: `guest`, whether its guest asked for it.
        Raises: HotplugError in the midst of a plug or unplug; what callbacks raised, after all is reset; an
        ExceptionGroup for several.
        """
        self._check_no_transaction("reset")
        errors: list[BaseException] = []
        collect(errors, self.gic.reset)
        for cpu in self._cpus.values():
            collect(errors, cpu.reset)
            cpu.power_state = PowerState.OFF
        self._cpus[0].power_state = PowerState.ON
        if self.run_state is RunState.SHUTDOWN:
            self.run_state = RunState.PAUSED
        if self.on_system_reset is not None:
            collect(errors, self.on_system_reset)
        collect(errors, self.run_events.notify, RunEvent(RunChange.RESET, guest))
        raise_all("callbacks failed in the reset of the machine", errors)

    def save(self, path: str | PathLike[str] | None = None) -> bytes:
        """The state of the machine and its GIC as bytes: vCPUs, power, wires, timers, ACPI registers, requests.

        Not part of it: callbacks, the policy, RAM, and what an engine holds of a vCPU. See docs/snapshots.md.

        Parameters: `path`, a file to write them to as well, or None.
        Raises: HotplugError in the midst of a plug or unplug; SnapshotError as `GICv3.save`.
        """
        self._check_no_transaction("save")
        data = save_machine(self)
        if path is not None:
            Path(path).write_bytes(data)
        return data

    @classmethod
    def restore(cls, source: Source, policy: HotplugPolicy | None = None) -> Self:
        """A new machine in a saved state, its vCPUs plugged: what `save` gave, or the path of a file with it.

        Parameters: `policy`, as for a new machine; a snapshot has none.
        Raises: SnapshotError when it is damaged, of a newer version, or of no state that a machine can be in.
        """
        return restore_machine(cls, source, policy=policy)  # type: ignore[return-value]

    def load(self, source: Source) -> None:
        """Bring this machine to a saved state of one made alike, with the same vCPUs plugged by the same names.

        Callbacks are told of the GIC's lines that differ, when all is in place; `on_power` is not called.

        Raises: SnapshotError as `restore`, or naming both sides of what differs; HotplugError in the midst of a plug
        or unplug; nothing has changed then. What callbacks raised, after all is in place.
        """
        self._check_no_transaction("load")
        load_machine(self, source)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._cpus)} of {self.max_cpus} vCPUs plugged, {self.run_state.value}>"

    def check(self) -> None:
        """Verify the GIC's invariants, and that slots, names, associations and wires agree.

        Raises: GicError naming what is broken. Cost: proportional to `max_cpus`.
        """
        gic, cpus, slots = self.gic, self._cpus, range(self.max_cpus)
        gic.check()
        for index, accessible, holder in zip(slots, map(gic.is_accessible, slots), map(gic.cpu, slots), strict=True):
            cpu = cpus.get(index)
            if accessible != (cpu is not None) or holder is not cpu:
                raise GicError(f"slot {index} holds {cpu!r}, the GIC cpuif {holder!r}")
        for index, cpu in cpus.items():
            if cpu.cpu_index != index or cpu.mp_affinity != gic.affinity(index):
                raise GicError(f"slot {index} holds {cpu!r} of affinity {cpu.mp_affinity:#x}")
            if not cpu.associated or cpu.sysregs is None or not cpu.wired:
                raise GicError(f"{cpu!r} is plugged, but not associated and wired")
        for name, cpu in self._devices.items():
            if cpus.get(cpu.cpu_index) is not cpu or name != (cpu.qom_path if cpu.id is None else cpu.id):
                raise GicError(f"the name {name!r} is that of {cpu!r}, which is not plugged by it")
        if len(self._devices) != sum(cpu.id is not None or cpu.anonymous >= 0 for cpu in self._cpus.values()):
            raise GicError("a vCPU added as a device has no name")

    def _timer_output(self, cpu: Vcpu, timer: Timer, level: bool) -> None:
        cpu.set_output(_TIMER_PPI[timer], level)

    def _gic_line(self, pe: int, line: Any, level: bool) -> None:
        cpu = self._cpus.get(pe)
        if cpu is None or not cpu.wired:
            return
        if line & CPU_LINES:
            if self._on_cpu_line is not None:
                self._on_cpu_line(cpu, line, level)
        elif line == MAINT_LINE and self.virtualization:
            cpu.set_output(CpuPpi.MAINTENANCE, level)


def _memory_map(
    max_cpus: int, ram_size: int, highmem_redists: bool, redist2_capacity: int, hotplug: bool
) -> tuple[Mapping[str, Region], list[tuple[int, int]]]:
    """Lay out the machine: its regions by name, and (base, number of PEs) of each redistributor region."""
    if ram_size < 1:
        raise ConfigError(f"ram_size must be at least 1, got {ram_size}")
    if not 1 <= redist2_capacity <= MAX_CPUS:
        raise ConfigError(f"redist2_capacity must be in 1..{MAX_CPUS}, got {redist2_capacity}")
    capacity = REDIST_CAPACITY + (redist2_capacity if highmem_redists else 0)
    if max_cpus > capacity:
        hint = f"redist2_capacity={max_cpus - REDIST_CAPACITY}" if highmem_redists else "highmem-redists=on"
        raise ConfigError(
            f"Number of SMP CPUs requested ({max_cpus}) exceeds max CPUs supported by machine 'mach-virt' "
            f"({capacity})\nTry '{hint}' for more CPUs"
        )
    memory_map = dict(_LOW_MAP)
    # Registers that no guest of a machine without hotplug expects are not there (it would be a visible change).
    if hotplug:
        memory_map["CPUHP_ACPI"] = _CPUHP_ACPI
    memory_map["RAM"] = Region(_RAM_BASE, ram_size)
    regions = [(memory_map["GIC_REDIST"].base, min(max_cpus, REDIST_CAPACITY))]
    if max_cpus > REDIST_CAPACITY:
        # Floats above RAM, not below 256 GiB, on a multiple of its size.
        size = 1 << (redist2_capacity * REDIST_STRIDE - 1).bit_length()
        base = _round_up(max(_round_up(_RAM_BASE + ram_size, GIB), _HIGH_BASE), size)
        memory_map["HIGH_GIC_REDIST2"] = Region(base, size)
        regions.append((base, max_cpus - REDIST_CAPACITY))
    return MappingProxyType(memory_map), regions


def _round_up(value: int, multiple: int) -> int:
    return (value + multiple - 1) // multiple * multiple
