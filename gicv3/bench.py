"""How fast this installation is, without a compiler: what `gicv3 bench` measures.

The ratios to a floor in C, by which the core is judged, need the source tree: `python -m benchmarks.ratios` there.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import numpy.typing as npt

import gicv3

SIZES = (1, 64, 512, 4096, 65536)
CYCLES = 200_000
"""Interrupts of one sample by a batch; single calls take fewer."""
DISTURBED = 1.2
"""Wall time of threads over the CPU time of the busiest, above which they had not a processor each."""
TRIES = 5
"""So often a disturbed sample is repeated; the last one counts, whatever it is."""


@dataclass(frozen=True)
class Result:
    """Nanoseconds per operation: the median of the samples, and their quartiles."""

    question: str
    cpus: int
    median: float
    low: float
    high: float

    @property
    def per_second(self) -> float:
        """Operations a second, from the median."""
        return 1e9 / self.median


def open_gic(cpus: int) -> gicv3.GICv3:
    """A GIC whose PEs take every SGI, PPI and SPI as Group 1, SPI n routed to PE n modulo their number."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=cpus))
    gic.dist["GICD_CTLR"] = 0x3
    for word in range(1, 32):
        gic.dist["GICD_IGROUPR", word] = gic.dist["GICD_ISENABLER", word] = 0xFFFF_FFFF
    for intid in range(32, 1020):
        gic.dist["GICD_IROUTER", intid] = gic.affinity(intid % cpus)
    for redist in gic.redist:
        redist["GICR_WAKER"] = 0
        redist["GICR_IGROUPR0"] = redist["GICR_ISENABLER0"] = 0xFFFF_FFFF
    pes = numpy.arange(cpus)
    gic.batch.sysregs(pes, "ICC_PMR_EL1", 0xF8)
    gic.batch.sysregs(pes, "ICC_IGRPEN1_EL1", 1)
    return gic


opened = cache(open_gic)


def random_interrupts(cpus: int, count: int, spis: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """INTIDs and the PEs that take them, the same in every run."""
    random = numpy.random.default_rng(1)
    if spis:
        intids = random.integers(32, 1020, count, numpy.uint32)
        return intids, (intids % cpus).astype(numpy.uint32)
    return random.integers(16, 32, count, numpy.uint32), random.integers(0, cpus, count, numpy.uint32)


def check_taken(taken: Sequence[int] | npt.NDArray[Any], expected: Sequence[int] | npt.NDArray[Any]) -> None:
    """AssertionError unless every interrupt acknowledged is the one raised."""
    if not numpy.array_equal(taken, expected):
        raise AssertionError("another interrupt than the one raised was acknowledged")


def by_batch(cpus: int, spis: bool) -> Callable[[], float]:
    """Raise, acknowledge, lower, end, by `gic.batch.cycle`; ns per interrupt."""
    gic, (intids, pes) = opened(cpus), random_interrupts(cpus, CYCLES, spis)

    def sample() -> float:
        start = time.thread_time_ns()
        taken = gic.batch.cycle(intids, pes)
        elapsed = time.thread_time_ns() - start
        check_taken(taken, intids)
        return elapsed / CYCLES

    return sample


def by_calls(cpus: int) -> Callable[[], float]:
    """The same for PPIs by one Python call a step; ns per interrupt."""
    gic, count = opened(cpus), 3_000
    intids, pes = (column.tolist() for column in random_interrupts(cpus, count, False))
    iar, eoir = gicv3.SysReg.ICC_IAR1_EL1, gicv3.SysReg.ICC_EOIR1_EL1

    def sample() -> float:
        found = []
        start = time.thread_time_ns()
        for intid, pe in zip(intids, pes, strict=True):
            gic.set_ppi(pe, intid, True)
            taken = gic.sysreg_read(pe, iar)
            gic.set_ppi(pe, intid, False)
            gic.sysreg_write(pe, eoir, taken)
            found.append(taken)
        elapsed = time.thread_time_ns() - start
        check_taken(found, intids)
        return elapsed / count

    return sample


def broadcast(cpus: int) -> Callable[[], float]:
    """An SGI to all other PEs, acknowledged and ended by each; ns per target."""
    gic, pes = opened(cpus), numpy.arange(1, cpus)
    rounds = max(1, 20_000 // cpus)

    def sample() -> float:
        found = []
        start = time.thread_time_ns()
        for _ in range(rounds):
            gic.sysreg_write(0, "ICC_SGI1R_EL1", 1 << 40 | 1 << 24)
            found.append(gic.batch.ack_eoi(pes))
        elapsed = time.thread_time_ns() - start
        if any((taken != 1).any() for taken in found):
            raise AssertionError("an SGI did not arrive")
        return elapsed / rounds / (cpus - 1)

    return sample


def plug(cpus: int) -> Callable[[], float]:
    """Plug and unplug one vCPU of a machine with `cpus` possible ones; ns for both."""
    machine, count = gicv3.VirtMachine(cpus=1, max_cpus=cpus, redist2_capacity=65_536), 200
    slots = numpy.random.default_rng(1).integers(1, cpus, count).tolist()
    todo = [(f"cpu{slot}", machine.possible_cpus[slot].props._asdict()) for slot in slots]

    def sample() -> float:
        added = []
        start = time.thread_time_ns()
        for name, props in todo:
            added.append(machine.device_add(id=name, **props))
            machine.device_del(name)
            machine.complete_unplug(name)
        elapsed = time.thread_time_ns() - start
        if [cpu.cpu_index for cpu in added] != slots or len(machine.cpus) != 1:
            raise AssertionError("another vCPU than the one asked for came, or one did not go")
        return elapsed / count

    return sample


def in_threads(cpus: int, threads: int) -> Callable[[], float]:
    """Batches on `threads` GICs at once, one thread each; ns per interrupt of all of them together.

    A single thread takes its CPU time. Several take wall time from the first one's start to the last one's end, which
    is as much only while each has a processor to itself: a sample that others disturbed is repeated.
    """
    gics = [open_gic(cpus) for _ in range(threads)]
    intids, pes = random_interrupts(cpus, CYCLES, False)

    def run(gic: gicv3.GICv3, begin: threading.Barrier) -> tuple[int, int, int]:
        begin.wait()
        busy, start = time.thread_time_ns(), time.perf_counter_ns()
        taken = gic.batch.cycle(intids, pes)
        end, busy = time.perf_counter_ns(), time.thread_time_ns() - busy
        check_taken(taken, intids)
        return start, end, busy

    def once() -> tuple[int, int]:
        begin = threading.Barrier(threads)
        with ThreadPoolExecutor(threads) as pool:
            started, ended, busy = zip(*pool.map(run, gics, [begin] * threads), strict=True)
        return max(ended) - min(started), max(busy)

    def sample() -> float:
        for _ in range(TRIES):
            wall, busy = once()
            if threads == 1 or wall <= DISTURBED * busy:
                break
        return (busy if threads == 1 else wall) / CYCLES / threads

    return sample


QUESTIONS: dict[str, tuple[Callable[[int], Callable[[], float]], int]] = {
    "PPI cycle by gic.batch": (lambda cpus: by_batch(cpus, False), 1),
    "SPI cycle by gic.batch": (lambda cpus: by_batch(cpus, True), 1),
    "PPI cycle by Python calls": (by_calls, 1),
    "SGI to all others, per target": (broadcast, 2),
    "plug and unplug": (plug, 2),
    "PPI cycle by gic.batch, 1 thread": (lambda cpus: in_threads(cpus, 1), 1),
    "PPI cycle by gic.batch, 2 threads with a GIC each": (lambda cpus: in_threads(cpus, 2), 1),
}
"""What is asked: how to make a sampler for a number of vCPUs, and the least number it makes sense for."""


def asked(sizes: tuple[int, ...], only: str = "") -> list[tuple[str, int]]:
    """Questions whose name contains `only`, each with the numbers of vCPUs that it makes sense for."""
    return [
        (question, cpus)
        for question, (_, least) in QUESTIONS.items()
        for cpus in dict.fromkeys(sizes)
        if only.lower() in question.lower() and cpus >= least
    ]


def measure(sizes: tuple[int, ...], samples: int, only: str = "") -> Iterator[Result]:
    """Answer what is `asked`, each from `samples` (at least 3)."""
    for question, cpus in asked(sizes, only):
        sample = QUESTIONS[question][0](cpus)
        sample()  # warms caches and allocators
        low, median, high = statistics.quantiles([sample() for _ in range(samples)], n=4)
        yield Result(question, cpus, median, low, high)


def environment() -> dict[str, str]:
    """The machine and the versions: what a number means nothing without."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": f"{processor or platform.machine()}, {os.cpu_count()} CPUs",
        "system": platform.platform(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "gicv3": gicv3.__version__,
    }
