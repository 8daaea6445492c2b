"""How long does it take to plug and unplug a vCPU, and does it grow with the number of possible vCPUs?"""

import pytest

from . import loops
from .subjects import PLUG_SIZES, SIZES

plug_sizes = pytest.mark.parametrize("n_pe", PLUG_SIZES)


@pytest.mark.benchmark(group="unplug and plug: the GIC's part")
@pytest.mark.parametrize("n_pe", SIZES)
@pytest.mark.parametrize("loop", [loops.plug_gic, loops.plug_floor], ids=["gicv3", "floor"])
def bench_gic(measure, loop, n_pe):
    """The GIC's hotplug notifier, called with a vCPU going and coming, against the least of it in C."""
    measure(loop(n_pe))


@pytest.mark.benchmark(group="plug and unplug: the whole machine")
@plug_sizes
def bench_machine(measure, n_pe):
    """device_add, device_del and the guest's eject on a machine with `n_pe` possible vCPUs, one of them plugged."""
    measure(loops.plug_machine(n_pe))


@pytest.mark.benchmark(group="plug every vCPU of a machine, each")
@plug_sizes
def bench_fill(measure, n_pe):
    """device_add of all vCPUs but the first."""
    measure(loops.fill(n_pe))


@pytest.mark.benchmark(group="make a machine")
@plug_sizes
def bench_construct(measure, n_pe):
    """A machine with `n_pe` possible vCPUs, one of them plugged."""
    measure(loops.construct(n_pe))
