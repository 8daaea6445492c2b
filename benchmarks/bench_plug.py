"""How long does it take to plug and unplug a vCPU, and does it grow with the number of possible vCPUs?"""

import pytest

from . import loops
from .subjects import PLUG_SIZES, SIZES


@pytest.mark.benchmark(group="unplug and plug: the GIC's part")
@pytest.mark.parametrize("n_pe", SIZES)
def bench_gic(measure, n_pe):
    """The GIC's hotplug notifier, called with a vCPU going and coming."""
    measure(loops.plug_gic(n_pe))


@pytest.mark.benchmark(group="unplug and plug: the floor")
@pytest.mark.parametrize("n_pe", SIZES)
def bench_floor(measure, n_pe):
    """The least of it in C."""
    measure(loops.plug_floor(n_pe))


@pytest.mark.benchmark(group="plug and unplug: the whole machine")
@pytest.mark.parametrize("n_pe", PLUG_SIZES)
def bench_machine(measure, n_pe):
    """device_add, device_del and the guest's eject on a machine with `n_pe` possible vCPUs, one of them plugged."""
    measure(loops.plug_machine(n_pe))
