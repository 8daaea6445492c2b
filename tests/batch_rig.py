"""A GIC with interrupts ready, for the tests of batches."""

from typing import Any

from rig import Rig


def ready(cpus: int = 4, **config: Any) -> Rig:
    """PPI 20 on every PE and SPI 40, 41 on PE 1."""
    rig = Rig(cpus, **config)
    for pe in range(cpus):
        rig.prepare(20, pe)
    rig.prepare(40, 1)
    rig.prepare(41, 1, priority=0x40)
    rig.gic.changed()
    return rig
