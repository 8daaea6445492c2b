"""How long does it take to find a PE by affinity, and does it grow with their number?"""

import pytest

from . import loops
from .subjects import SIZES


@pytest.mark.benchmark(group="PE by affinity")
@pytest.mark.parametrize("n_pe", SIZES)
@pytest.mark.parametrize("how", ["gicv3", "hash", "dense", "scan"])
def bench_lookup(measure, how, n_pe):
    """proc_num() against three ways in C: a hash table, a dense table and the linear scan of QEMU's RFC."""
    measure(loops.lookup(n_pe, how))
