"""How long does an interrupt take, from the wire going up to the end of interrupt?"""

import pytest

from . import loops
from .subjects import SIZES

sides = pytest.mark.parametrize("floor", [False, True], ids=["gicv3", "floor"])
sizes = pytest.mark.parametrize("n_pe", SIZES)

PPI = {
    "batch": lambda n_pe: loops.batch(n_pe, False),
    "C API": lambda n_pe: loops.ppi(n_pe, False),
    "Python calls": loops.ppi_from_python,
    "floor": lambda n_pe: loops.ppi(n_pe, True),
    "floor looking ahead": lambda n_pe: loops.ppi(n_pe, True, ahead=True),
}
SPI = {
    "batch": lambda n_pe: loops.batch(n_pe, True),
    "C API": lambda n_pe: loops.spi(n_pe, False),
    "floor": lambda n_pe: loops.spi(n_pe, True),
    "floor looking ahead": lambda n_pe: loops.spi(n_pe, True, ahead=True),
}


def depths(*numbers: int, what: str) -> pytest.MarkDecorator:
    """How many pend at once, each number a group of its own."""
    return pytest.mark.parametrize(
        "depth", [pytest.param(n, marks=pytest.mark.benchmark(group=f"{n} {what} pending, each")) for n in numbers]
    )


@pytest.mark.benchmark(group="PPI: raise, acknowledge, lower, end")
@sizes
@pytest.mark.parametrize("how", PPI)
def bench_ppi(measure, how, n_pe):
    """A random PPI on a random PE."""
    measure(PPI[how](n_pe))


@pytest.mark.benchmark(group="PPI cycle by gic.batch, a GIC in each thread, wall time over all interrupts")
@sizes
@pytest.mark.parametrize("threads", [1, 2])
def bench_threads(measure, threads, n_pe):
    """The same in threads."""
    measure(loops.threads(n_pe, threads))


@pytest.mark.benchmark(group="SPI: raise, route, acknowledge, lower, end")
@sizes
@pytest.mark.parametrize("how", SPI)
def bench_spi(measure, how, n_pe):
    """A random SPI of 988, each routed to a random PE."""
    measure(SPI[how](n_pe))


@depths(4, 16, what="PPIs of one PE")
@sizes
@sides
def bench_ppi_drain(measure, floor, depth, n_pe):
    """`depth` PPIs pending at once on a random PE, taken in order."""
    measure(loops.ppi_drain(n_pe, depth, floor))


@depths(1, 32, 988, what="SPIs of one PE")
@pytest.mark.parametrize("n_pe", [64])
@sides
def bench_spi_drain(measure, floor, depth, n_pe):
    """`depth` SPIs pending at once on one PE, taken in order."""
    measure(loops.spi_drain(n_pe, depth, floor))


@pytest.mark.benchmark(group="988 SPIs pending, on 988 PEs at most, each")
@sizes
@sides
def bench_spi_spread(measure, floor, n_pe):
    """All SPIs pending at once, each on the PE it is routed to."""
    measure(loops.spi_spread(n_pe, floor))


@pytest.mark.benchmark(group="a PPI pending on every PE, each")
@sizes
@sides
def bench_ppi_everywhere(measure, floor, n_pe):
    """Something pending on every PE at once."""
    measure(loops.ppi_everywhere(n_pe, floor))
