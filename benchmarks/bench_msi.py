"""How long does an MSI take through the ITS, and does it depend on what else pends or on the size of INTIDs?"""

import pytest

from . import loops

one_pe = pytest.mark.parametrize("n_pe", [1])
spi = pytest.param(None, id="SPI")


@pytest.mark.benchmark(group="MSI or SPI: raise, acknowledge, end")
@one_pe
@pytest.mark.parametrize("idbits_and_others", [(15, 0), (15, 9_999), (20, 0), (20, 9_999), spi], ids=str)
def bench_msi(measure, idbits_and_others, n_pe):
    """PROPBASER.IDbits, and how many other LPIs pend."""
    if idbits_and_others is None:
        measure(loops.spi(n_pe, False))
    else:
        idbits, others = idbits_and_others
        measure(loops.msi(idbits + 1, others))


@pytest.mark.benchmark(group="10,000 MSIs or 988 SPIs pending, each")
@one_pe
@pytest.mark.parametrize("idbits", [15, 20, spi])
def bench_msi_drain(measure, idbits, n_pe):
    """Many pending at once on one PE, taken in order."""
    measure(loops.msi_drain(idbits + 1, 10_000) if idbits else loops.spi_drain(n_pe, 988, False))
