"""How long does an SGI to all other PEs take, for each of them?"""

import pytest

from . import loops
from .subjects import SIZES

sizes = pytest.mark.parametrize("n_pe", [n_pe for n_pe in SIZES if n_pe > 1])

TAKE = {
    "batch": loops.take_by_batch,
    "C API": lambda n_pe: loops.broadcast(n_pe, False)[1],
    "floor": lambda n_pe: loops.broadcast(n_pe, True)[1],
}


@pytest.mark.benchmark(group="SGI to all others, sent")
@sizes
@pytest.mark.parametrize("floor", [False, True], ids=["gicv3", "floor"])
def bench_send(measure, floor, n_pe):
    """The write of ICC_SGI1R_EL1."""
    measure(loops.broadcast(n_pe, floor)[0])


@pytest.mark.benchmark(group="SGI to all others, acknowledged and ended by each")
@sizes
@pytest.mark.parametrize("how", TAKE)
def bench_take(measure, how, n_pe):
    """ICC_IAR1_EL1 and ICC_EOIR1_EL1 on each target."""
    measure(TAKE[how](n_pe))
