"""Steps of a stress run: random, and the same for the same seed."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

from gicv3.arguments import integer, switch
from gicv3.errors import ConfigError
from gicv3.topology import MAX_CPUS


class Action(StrEnum):
    """What a step does. Each can be done in any state; in most states of a slot it is to be refused or ignored."""

    FLIP = "flip"
    """Plug the slot's vCPU, or if it is plugged, ask for it and eject it."""
    PLUG = "plug"
    REQUEST = "request"
    REJECT = "reject"
    EJECT = "eject"
    POWER = "power"
    """Start the vCPU, or stop it."""
    FAIL_PLUG = "fail plug"
    """A notifier refuses: everything must be as before."""
    FAIL_UNPLUG = "fail unplug"
    REFUSED = "refused"
    """A request that is wrong in itself."""
    WAKE = "wake"
    """The guest prepares a PE for interrupts."""
    SGI = "sgi"
    PPI = "ppi"
    SPI = "spi"
    LPI = "lpi"
    TAKE = "take"
    """The guest takes what is pending on a PE."""
    TIMER = "timer"
    WRITE = "write"
    """The guest writes a register of a redistributor, whether a vCPU is there or not."""
    READ = "read"
    """The guest reads all registers of a PE."""
    SAVE = "save"
    """Save the machine, change it, load it."""
    RESET = "reset"


WEIGHTS = {
    Action.FLIP: 300_000,
    Action.PLUG: 1000,
    Action.REQUEST: 1000,
    Action.REJECT: 1000,
    Action.EJECT: 1000,
    Action.POWER: 2000,
    Action.FAIL_PLUG: 500,
    Action.FAIL_UNPLUG: 500,
    Action.REFUSED: 500,
    Action.WAKE: 4000,
    Action.SGI: 1500,
    Action.PPI: 2000,
    Action.SPI: 2000,
    Action.TAKE: 2500,
    Action.TIMER: 500,
    Action.WRITE: 1000,
    Action.READ: 50,
    Action.SAVE: 0,
    Action.RESET: 0,
}
"""How often each action comes, relative to the others; what costs more the more vCPUs there are, by their number."""


class Step(NamedTuple):
    """One thing done to one slot; what `value` means is the action's affair."""

    action: Action
    slot: int
    value: int

    def __str__(self) -> str:
        return f"{self.action.value} {self.slot} {self.value:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StressConfig:
    """A stress run.

    Raises: ConfigError naming the value and the limit.
    """

    max_cpus: int = 256
    """Possible vCPUs, 2..65536; vCPU 0 stays plugged."""
    cycles: int = 10_000
    """Unplugs after which the run ends, at least 1."""
    seed: int = 1
    """The same seed is the same run."""
    check_every: int = 1000
    """Plugs and unplugs between two checks of every invariant, at least 1."""
    duration: float | None = None
    """Seconds after which the run ends at its next check; None: when the cycles are done."""
    its: bool = False
    """Whether there are LPIs, sent through an ITS."""
    guest: bool = False
    """Whether guests on Unicorn do it instead: the demo's, with 4 of 8 vCPUs that come and go; needs its packages."""

    def __post_init__(self) -> None:
        for name in ("max_cpus", "cycles", "seed", "check_every"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        for name in ("its", "guest"):
            object.__setattr__(self, name, switch(name, getattr(self, name)))
        if not 2 <= self.max_cpus <= MAX_CPUS:
            raise ConfigError(f"max_cpus must be in 2..{MAX_CPUS}, got {self.max_cpus}")
        for name in ("cycles", "check_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.duration is not None and not self.duration > 0:
            raise ConfigError(f"duration must be above 0 or None, got {self.duration}")


def generate(config: StressConfig) -> Iterator[Step]:
    """The steps of a run, without end."""
    choose = random.Random(config.seed)
    weights = dict(WEIGHTS)
    weights[Action.SAVE] = weights[Action.RESET] = 1 + 8000 // config.max_cpus
    if config.its:
        weights[Action.LPI] = 6000
    actions = list(weights)
    limits = list(accumulate(weights.values()))
    total, slots = limits[-1], config.max_cpus - 1
    assert actions[0] is Action.FLIP
    flip = weights[Action.FLIP] / total
    # Most are flips: they are not looked up, need no value, and are made once.
    flips = [Step(Action.FLIP, slot, 0) for slot in range(config.max_cpus)]
    number, bits = choose.random, choose.getrandbits
    while True:
        drawn = number()
        slot = 1 + int(number() * slots)
        if drawn < flip:
            yield flips[slot]
        else:
            yield Step(actions[bisect(limits, int(drawn * total))], slot, bits(32))
