"""How long does an interrupt take, from the wire going up to the end of interrupt?"""

import pytest

from . import loops
from .subjects import SIZES

sides = pytest.mark.parametrize("floor", [False, True], ids=["gicv3", "floor"])
sizes = pytest.mark.parametrize("n_pe", SIZES)


@pytest.mark.benchmark(group="PPI: raise, acknowledge, lower, end")
@sizes
@sides
def bench_ppi(measure, floor, n_pe):
    """A random PPI on a random PE."""
    measure(loops.ppi(n_pe, floor))


@pytest.mark.benchmark(group="PPI: raise, acknowledge, lower, end, by Python calls")
@sizes
def bench_ppi_from_python(measure, n_pe):
    """The same with one Python call for each step."""
    measure(loops.ppi_from_python(n_pe))


@pytest.mark.benchmark(group="SPI: raise, route, acknowledge, lower, end")
@sizes
@sides
def bench_spi(measure, floor, n_pe):
    """A random SPI of 988, each routed to a random PE."""
    measure(loops.spi(n_pe, floor))


@pytest.mark.benchmark(group="PPIs pending together, taken in order")
@sizes
@pytest.mark.parametrize("depth", [4, 16])
@sides
def bench_ppi_drain(measure, floor, depth, n_pe):
    """`depth` PPIs pending at once on a random PE."""
    measure(loops.ppi_drain(n_pe, depth, floor))


@pytest.mark.benchmark(group="SPIs pending together on one PE, taken in order")
@pytest.mark.parametrize("n_pe", [64])
@pytest.mark.parametrize("depth", [1, 32, 988])
@sides
def bench_spi_drain(measure, floor, depth, n_pe):
    """`depth` SPIs pending at once on one PE."""
    measure(loops.spi_drain(n_pe, depth, floor))


@pytest.mark.benchmark(group="988 SPIs pending together, each on its PE")
@sizes
@sides
def bench_spi_spread(measure, floor, n_pe):
    """All SPIs pending at once, each on the PE it is routed to."""
    measure(loops.spi_spread(n_pe, floor))


@pytest.mark.benchmark(group="a PPI pending on every PE")
@sizes
@sides
def bench_ppi_everywhere(measure, floor, n_pe):
    """Something pending on every PE at once."""
    measure(loops.ppi_everywhere(n_pe, floor))
