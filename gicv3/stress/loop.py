"""The stress loop: steps at random, and a check of everything now and then."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import gicv3
from gicv3.stress.report import Failure, Report, Sample
from gicv3.stress.shrink import shrink
from gicv3.stress.steps import Step, StressConfig, generate
from gicv3.stress.world import World

Progress = Callable[[Sample], object]
_PAGE = 4096


def run(config: StressConfig, progress: Progress | None = None) -> Report:
    """Run to the end or to the first failure, which is then shrunk to a short script.

    Parameters: `config`; `progress`, called with a sample at each check.
    Returns: the report; it is `ok` when nothing was wrong. Raises: what `progress` raises.
    """
    world = World(config)
    started, cpu_started = time.monotonic(), time.process_time()
    samples: list[Sample] = []

    def sample() -> None:
        samples.append(
            Sample(
                time.monotonic() - started,
                time.process_time() - cpu_started,
                world.operations,
                len(world.plugged) + 1,
                world.interrupts,
                _resident(),
            )
        )
        if progress is not None:
            progress(samples[-1])

    def report(steps: int, failure: Failure | None = None) -> Report:
        versions = {"gicv3": gicv3.__version__, "python": platform.python_version(), "machine": platform.machine()}
        return Report(config, tuple(samples), steps, world.cycles, failure, versions)

    sample()
    checked, do = 0, world.do
    next_check = config.check_every
    for number, step in enumerate(generate(config)):
        try:
            do(step)
            if world.operations < next_check and world.cycles < config.cycles:
                continue
            world.check()
        except Exception as error:
            sample()
            return report(number + 1, _locate(config, checked, number, error))
        checked = number + 1
        next_check = world.operations + config.check_every
        sample()
        late = config.duration is not None and samples[-1].seconds >= config.duration
        if late or world.cycles >= config.cycles:
            return report(number + 1)
    raise AssertionError("steps never end")


def replay(config: StressConfig, steps: Iterable[Step]) -> None:
    """Do steps on a fresh machine and check after each of them. Raises: what was wrong."""
    world = World(config)
    for step in steps:
        world.do(step)
        world.check()


def _locate(config: StressConfig, checked: int, last: int, error: Exception) -> Failure:
    """Find the first step after `checked` of which something was wrong, at most `last`, and shrink what leads there."""
    steps = list(islice(generate(config), last + 1))
    world = World(config)
    number = last
    for number, step in enumerate(steps):
        try:
            world.do(step)
            if number >= checked:
                world.check()
        except Exception as found:
            error = found
            break
    script, max_cpus = shrink(config, steps[: number + 1], error)
    return Failure(number, f"{type(error).__name__}: {error}", tuple(script), max_cpus)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
