"""How long does an SGI to all other PEs take, for each of them?"""

import pytest

from . import loops
from .subjects import SIZES

sides = pytest.mark.parametrize("floor", [False, True], ids=["gicv3", "floor"])
sizes = pytest.mark.parametrize("n_pe", [n_pe for n_pe in SIZES if n_pe > 1])


@pytest.mark.benchmark(group="SGI to all others, sent")
@sizes
@sides
def bench_send(measure, floor, n_pe):
    """The write of ICC_SGI1R_EL1; the time of a sample has the taking in it, its ns per operation have not."""
    measure(loops.broadcast(n_pe, floor)[0])


@pytest.mark.benchmark(group="SGI to all others, acknowledged and ended by each")
@sizes
@sides
def bench_take(measure, floor, n_pe):
    """ICC_IAR1_EL1 and ICC_EOIR1_EL1 on each target; the time of a sample has the sending in it."""
    measure(loops.broadcast(n_pe, floor)[1])
