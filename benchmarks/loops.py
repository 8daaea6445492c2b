"""Every measured loop, with what it works on and how many operations one sample has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gicv3 import bench

from . import subjects
from .subjects import BatchCycle, BatchTake, gathered, gic_plug, machine_plug, pair, python_cycle

CYCLES = 500
"""Plug cycles of one sample."""
SPI_COUNTS = (50_000, 2_000)
"""SPI cycles of one sample, and untimed ones before it."""


@dataclass(frozen=True)
class Loop:
    """A loop that does `operations` operations a sample, after `untimed` ones; `run` takes a seed and returns ns."""

    run: Callable[[int], float]
    operations: int
    untimed: int = 0

    def __call__(self, seed: int) -> float:
        """Run one sample; ns per operation."""
        return self.run(seed) / self.operations


def ppi_counts(n_pe: int) -> tuple[int, int]:
    """PPI cycles of one sample, and untimed ones before it."""
    # Of many PEs most are visited before the clock starts, because the other side has just had the caches.
    return (200_000, n_pe) if n_pe > 10_000 else (50_000, 2_000)


def batch(n_pe: int, shared: bool) -> Loop:
    """The cycles of ppi(), or of spi(), by one call of `GICv3.batch.cycle`."""
    count, warm = SPI_COUNTS if shared else ppi_counts(n_pe)
    return Loop(BatchCycle(pair(n_pe), shared, count, warm).run, count, warm)


def ppi(n_pe: int, floor: bool, ahead: bool = False) -> Loop:
    """Raise, acknowledge, lower and end a random PPI on a random PE: four calls of the C API.

    The floor asks for the records of the PEs to come if it looks `ahead`, as batch() does.
    """
    subject = pair(n_pe)
    count, warm = ppi_counts(n_pe)
    return Loop(lambda seed: subject.ppi_cycle(floor, count, seed, warm, ahead), count, warm)


def ppi_from_python(n_pe: int) -> Loop:
    """The same with one Python call for each step."""
    subject = pair(n_pe)
    return Loop(lambda seed: python_cycle(subject.gic, 5_000, seed), 5_000)


def threads(n_pe: int, count: int) -> Loop:
    """batch() of PPIs on `count` GICs at once, a thread each; one operation is one interrupt: see in_threads()."""
    run = bench.in_threads(n_pe, count)
    return Loop(lambda seed: run(), 1)


def spi(n_pe: int, floor: bool, ahead: bool = False) -> Loop:
    """Raise, route, acknowledge, lower and end a random SPI of 988, each routed to a random PE (so to 988 at most)."""
    subject = pair(n_pe)
    count, warm = SPI_COUNTS
    return Loop(lambda seed: subject.spi_cycle(floor, count, seed, warm, ahead), count, warm)


def ppi_drain(n_pe: int, depth: int, floor: bool) -> Loop:
    """`depth` PPIs pending at once on a random PE, taken one after the other; one operation is one interrupt."""
    subject = pair(n_pe)
    count = (200_000 if n_pe > 10_000 else 40_000) // depth
    return Loop(lambda seed: subject.ppi_drain(floor, depth, count, seed), count * depth)


def spi_drain(n_pe: int, depth: int, floor: bool) -> Loop:
    """`depth` SPIs pending at once on PE 0, taken one after the other; one operation is one interrupt."""
    subject = gathered(n_pe)
    count = max(1, 20_000 // depth)
    return Loop(lambda seed: subject.spi_drain(floor, depth, count), count * depth)


def spi_spread(n_pe: int, floor: bool) -> Loop:
    """988 SPIs pending at once, each on the PE it is routed to (988 at most), then all taken; an operation is one."""
    subject = pair(n_pe)
    return Loop(lambda seed: subject.spi_spread(floor, 40), 40 * 988)


def ppi_everywhere(n_pe: int, floor: bool) -> Loop:
    """A PPI pending on every PE at once, then all taken; one operation is one interrupt."""
    subject = pair(n_pe)
    rounds = max(1, 40_000 // n_pe)
    return Loop(lambda seed: subject.ppi_everywhere(floor, rounds), rounds * n_pe)


def msi(id_bits: int, others: int) -> Loop:
    """MSI with a warm translation, acknowledge, end: a random one of 988 events, while `others` LPIs pend below it."""
    subject = subjects.msis(id_bits, 988, others)
    return Loop(lambda seed: subject.cycle(50_000, seed), 50_000)


def msi_drain(id_bits: int, depth: int) -> Loop:
    """`depth` MSIs pending at once, taken one after the other; one operation is one of them."""
    subject = subjects.msis(id_bits, depth, 0)
    return Loop(lambda seed: subject.drain(), depth)


def lookup(n_pe: int, how: str) -> Loop:
    """Find a random PE by affinity: "gicv3", or in C "hash", "dense" or "scan"."""
    subject = pair(n_pe)
    count = 40_000 if how != "scan" else max(100, 400_000 // max(n_pe, 10))
    return Loop(lambda seed: subject.lookup(how, count, seed), count)


def broadcast_rounds(n_pe: int) -> int:
    """Broadcasts of one sample, of which the median counts."""
    return max(1, 80_000 // n_pe)


def broadcast(n_pe: int, floor: bool) -> tuple[Loop, Loop]:
    """One SGI to all other PEs: sending it, and taking it; one operation is one target."""
    subject = pair(n_pe)
    rounds = broadcast_rounds(n_pe)
    return (
        Loop(lambda seed: subject.broadcast(floor, rounds)[0], n_pe - 1),
        Loop(lambda seed: subject.broadcast(floor, rounds)[1], n_pe - 1),
    )


def take_by_batch(n_pe: int) -> Loop:
    """Taking one SGI on all other PEs by one call of `GICv3.batch.ack_eoi`; one operation is one target."""
    subject = BatchTake(pair(n_pe))
    return Loop(lambda seed: subject.run(broadcast_rounds(n_pe)), n_pe - 1)


def plug_gic(n_pe: int) -> Loop:
    """Unplug and plug a random vCPU: the GIC's part, through its hotplug notifier."""
    subject = gic_plug(n_pe)
    return Loop(lambda seed: subject.cycles(CYCLES, seed), CYCLES)


def plug_floor(n_pe: int) -> Loop:
    """The least of it in C: two lookups and two resets of a record."""
    subject = pair.__wrapped__(n_pe)
    return Loop(lambda seed: subject.floor_plug_cycle(20_000, seed), 20_000)


def plug_machine(max_cpus: int) -> Loop:
    """device_add, device_del and the guest's eject, on random slots of a machine with one vCPU plugged."""
    subject = machine_plug(max_cpus)
    return Loop(lambda seed: subject.cycles(CYCLES, seed), CYCLES)


def fill(max_cpus: int) -> Loop:
    """device_add of every vCPU of fresh machines."""
    machines = max(1, 4_000 // max_cpus)
    return Loop(lambda seed: subjects.fill(max_cpus, machines, seed), machines * (max_cpus - 1))


def construct(max_cpus: int) -> Loop:
    """Make a machine of which one vCPU is plugged."""
    return Loop(lambda seed: subjects.construct(max_cpus), 1)


def constant(value: float) -> Loop:
    """Not a loop: a budget to compare with, or a size."""
    return Loop(lambda seed: value, 1)
