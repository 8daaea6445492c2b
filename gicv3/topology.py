"""Where a vCPU sits: socket, cluster, core and thread; its MPIDR; and the slots of a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index as as_index
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex, overload

from gicv3.arguments import integer
from gicv3.errors import ConfigError, HotplugError

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine
    from gicv3.vcpu import Vcpu

MAX_CPUS = 65_536
CPUS_PER_CLUSTER = 16
"""vCPUs that share Aff1 and above: as many as the target list of an SGI register can name."""

AFFINITY_MASK = 0xFF_00FF_FFFF
"""The affinity fields of MPIDR_EL1: Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0."""


def default_affinity(index: int) -> int:
    """Affinity of the vCPU with this index: 16 to a cluster, carrying from Aff1 into Aff2 and Aff3.

    Parameters: `index`, 0..65535. Returns: the affinity fields as in MPIDR_EL1.
    """
    cluster = index // CPUS_PER_CLUSTER
    aff3 = cluster >> 16 & 0xFF
    return aff3 << 32 | (cluster & 0xFFFF) << 8 | index % CPUS_PER_CLUSTER


class CpuProps(NamedTuple):
    """Topology ids of one slot, each counted within the level above it."""

    socket_id: int
    cluster_id: int
    core_id: int
    thread_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Shape of a machine: the product of the four levels is its number of possible vCPUs.

    Raises: ConfigError when one is less than 1, or the product not in 1..65536.
    """

    sockets: int = 1
    """Sockets of the machine."""
    clusters: int = 1
    """Clusters per socket."""
    cores: int = 1
    """Cores per cluster."""
    threads: int = 1
    """Threads per core."""

    def __post_init__(self) -> None:
        for name in ("sockets", "clusters", "cores", "threads"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_cpus > MAX_CPUS:
            raise ConfigError(f"product of the hierarchy must be in 1..{MAX_CPUS}, got {self.max_cpus}")

    @property
    def max_cpus(self) -> int:
        """Number of possible vCPUs."""
        return self.sockets * self.clusters * self.cores * self.threads

    def props(self, index: int) -> CpuProps:
        """Topology ids of slot `index`."""
        core, thread = divmod(index, self.threads)
        cluster, core = divmod(core, self.cores)
        socket, cluster = divmod(cluster, self.clusters)
        return CpuProps(socket, cluster, core, thread)

    def index(
        self,
        socket_id: SupportsIndex | str | None,
        cluster_id: SupportsIndex | str | None,
        core_id: SupportsIndex | str | None,
        thread_id: SupportsIndex | str | None,
    ) -> int:
        """Slot index of four topology ids, numbers or their text; an id may be None where its level has a single value.

        Raises: HotplugError, checking thread, core, cluster and socket in this order.
        """
        if (  # most machines have cores only
            type(core_id) is int
            and 0 <= core_id < self.cores
            and socket_id is cluster_id is thread_id is None
            and self.sockets == self.clusters == self.threads == 1
        ):
            return core_id
        thread = 0 if thread_id is None and self.threads == 1 else _check_id("thread", thread_id, self.threads)
        core = 0 if core_id is None and self.cores == 1 else _check_id("core", core_id, self.cores)
        cluster = 0 if cluster_id is None and self.clusters == 1 else _check_id("cluster", cluster_id, self.clusters)
        socket = 0 if socket_id is None and self.sockets == 1 else _check_id("socket", socket_id, self.sockets)
        return ((socket * self.clusters + cluster) * self.cores + core) * self.threads + thread

    def __str__(self) -> str:
        levels = ("sockets", "clusters", "cores", "threads")
        return " * ".join(f"{level} ({getattr(self, level)})" for level in levels)


def _check_id(level: str, value: SupportsIndex | str | None, count: int) -> int:
    if value is None:
        # A forgotten id must not silently mean 0: that names somebody else's slot.
        raise HotplugError(f"CPU {level}-id is not set, correct range 0:{count - 1}")
    if isinstance(value, str):
        value = parse_number(f"{level}-id", value)
    elif not isinstance(value, int):
        try:
            value = as_index(value)
        except TypeError:
            raise HotplugError(f"Parameter '{level}-id' expects a number, got {value!r}") from None
    if not 0 <= value < count:
        # QEMU's numbers have 64 bits; Python prints no longer ones than 4300 digits.
        if not -1 << 63 <= value < 1 << 63:
            raise HotplugError(f"Parameter '{level}-id' expects a 64-bit number, got {value:#x}")
        raise HotplugError(f"Invalid {level}-id {value} specified, correct range 0:{count - 1}")
    return value


_is_number = re.compile(r"-?(0[xX][0-9a-fA-F]{1,32}|0|[1-9][0-9]{0,39})").fullmatch


def parse_number(name: str, text: object) -> int:
    """A number given as text, decimal or hexadecimal; Python's own notations are none of a management tool's.

    Parameters: `name`, of the parameter; `text`. Raises: HotplugError.
    """
    if not isinstance(text, str) or not _is_number(text):
        raise HotplugError(f"Parameter '{name}' expects a number, got {text!r}")
    return int(text, 0)


def resolve_topology(cpus: int | None, max_cpus: int | None, topology: Topology | None) -> tuple[int, int, Topology]:
    """Work out what the caller left open, as `-smp` does; without a topology every vCPU is a core.

    Returns: (cpus, max_cpus, topology). Raises: ConfigError with the value and the limit.
    """
    cpus = None if cpus is None else integer("cpus", cpus)
    max_cpus = None if max_cpus is None else integer("max_cpus", max_cpus)
    for name, value in (("cpus", cpus), ("max_cpus", max_cpus)):
        if value is not None and not 1 <= value <= MAX_CPUS:
            raise ConfigError(f"{name} must be in 1..{MAX_CPUS}, got {value}")
    if max_cpus is None:
        max_cpus = topology.max_cpus if topology is not None else cpus or 1
    if cpus is None:
        cpus = max_cpus
    if topology is None:
        topology = Topology(cores=max_cpus)
    if topology.max_cpus != max_cpus and max_cpus >= cpus:
        raise ConfigError(
            f"Invalid CPU topology: product of the hierarchy must match maxcpus: {topology} != maxcpus ({max_cpus})"
        )
    if max_cpus < cpus:
        raise ConfigError(
            "Invalid CPU topology: maxcpus must be equal to or greater than smp: "
            f"{topology} == maxcpus ({max_cpus}) < smp_cpus ({cpus})"
        )
    return cpus, max_cpus, topology


class CpuSlot:
    """One possible vCPU: a view, equal to any other view of the same slot of the same machine."""

    __slots__ = ("_machine", "index")

    def __init__(self, machine: VirtMachine, index: int) -> None:
        self._machine = machine
        self.index = index

    @property
    def arch_id(self) -> int:
        """MPIDR affinity of the slot; never changes."""
        return self._machine.gic.affinity(self.index)

    @property
    def props(self) -> CpuProps:
        """Socket, cluster, core and thread id."""
        return self._machine.topology.props(self.index)

    @property
    def type(self) -> str:
        """The `driver` that `device_add` takes for this slot."""
        return self._machine.cpu_type

    @property
    def vcpus_count(self) -> int:
        """vCPUs that one plug brings: a slot is a single thread."""
        return 1

    @property
    def cpu(self) -> Vcpu | None:
        """The vCPU in the slot, or None. Where all exist for good, the vCPU, enabled or not."""
        if self._machine.policy.admin_state:
            return self._machine.vcpu(self.index)
        return self._machine.cpus.get(self.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CpuSlot) and other._machine is self._machine and other.index == self.index

    def __hash__(self) -> int:
        return hash((id(self._machine), self.index))

    def __repr__(self) -> str:
        return f"<CpuSlot {self.index} arch_id={self.arch_id:#x} cpu={self.cpu!r}>"


class PossibleCpus(Sequence[CpuSlot]):
    """The slots of a machine in index order; a slot costs no memory until it is looked at."""

    __slots__ = ("_machine",)

    def __init__(self, machine: VirtMachine) -> None:
        self._machine = machine

    def __len__(self) -> int:
        return self._machine.max_cpus

    @overload
    def __getitem__(self, index: int) -> CpuSlot: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CpuSlot, ...]: ...
    def __getitem__(self, index: int | slice) -> CpuSlot | tuple[CpuSlot, ...]:
        if isinstance(index, slice):
            return tuple(CpuSlot(self._machine, i) for i in range(*index.indices(len(self))))
        index = integer("slot index", index)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"slot index must be in 0..{len(self) - 1}, got {index}")
        return CpuSlot(self._machine, index)

    def __repr__(self) -> str:
        return f"<{len(self)} possible CPUs, {len(self._machine.cpus)} plugged>"

    def __iter__(self) -> Iterator[CpuSlot]:
        return (CpuSlot(self._machine, i) for i in range(len(self)))
