"""From a long run that failed to the few steps that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gicv3.stress.steps import Step, StressConfig
from gicv3.stress.world import World

_SMALL = (2, 4, 16, 64)
"""Machines that a failure is tried on first."""
BUDGET = 1_000_000
"""Steps that are done at most: a failure that hides is reported longer than it could be."""
_FRESH = 500
"""What a fresh machine counts, in steps; and another one for each 16 of its vCPUs."""


class _Search:
    """Tries scripts, and remembers how many steps it may still do."""

    def __init__(self, config: StressConfig, kind: type[Exception]) -> None:
        self.config = config
        self.kind = kind
        self.left = BUDGET

    def fails(self, steps: Sequence[Step], config: StressConfig) -> bool:
        """Whether a script leads to an error of the same kind on a fresh machine; checked at the end only.

        What the budget is too small for is not tried, nor anything after it.
        """
        self.left -= len(steps) + _FRESH + config.max_cpus // 16
        if self.left < 0:
            return False
        try:
            world = World(config)
            for step in steps:
                world.do(step)
            world.check()
        except self.kind:
            return True
        except Exception:
            return False
        return False


def shrink(config: StressConfig, steps: Sequence[Step], error: Exception) -> tuple[list[Step], int]:
    """Find a short script that fails in the same way.

    Parameters: `config`; `steps`, that failed at their last; `error`, how.
    Returns: the script, and the number of possible vCPUs it is for.
    """
    search = _Search(config, type(error))
    found = _suffix(search, steps)
    max_cpus = config.max_cpus
    for size in _SMALL:
        if size >= max_cpus or search.left <= 0:
            break
        folded = [step._replace(slot=1 + step.slot % (size - 1)) for step in found]
        # Steps on slots beside the failing one do no harm where they are, and may where they are folded onto it.
        alone = [step._replace(slot=1) for step in found if step.slot == found[-1].slot]
        small = replace(config, max_cpus=size)
        for script in (alone, folded):
            if search.fails(script, small):
                return _minimize(search, script, small), size
    return _minimize(search, found, config), max_cpus


def _suffix(search: _Search, steps: Sequence[Step]) -> list[Step]:
    """The shortest of the last 1, 2, 4, ... steps that still fail, and all of them if none do."""
    length = 1
    while length < len(steps):
        if search.fails(steps[-length:], search.config):
            return list(steps[-length:])
        length *= 2
    return list(steps)


def _minimize(search: _Search, steps: list[Step], config: StressConfig) -> list[Step]:
    """Leave out ever smaller pieces as long as the rest fails (delta debugging)."""
    piece = max(len(steps) // 2, 1)
    while search.left > 0:
        start, before = 0, len(steps)
        while start < len(steps) and search.left > 0:
            rest = steps[:start] + steps[start + piece :]
            if rest and search.fails(rest, config):
                steps = rest
            else:
                start += piece
        if piece == 1 and len(steps) == before:
            break
        piece = max(piece // 2, 1)
    return steps
