"""The stress loop: steps at random, and a check of everything now and then."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import islice
from math import isqrt
from pathlib import Path

import gicv3
from gicv3.stress.report import Failure, Interrupted, Report, Sample
from gicv3.stress.shrink import shrink
from gicv3.stress.steps import Step, StressConfig, generate
from gicv3.stress.world import World

Progress = Callable[[Sample], object]
_PAGE = 4096


def run(
    config: StressConfig, progress: Progress | None = None, failed: Callable[[Report], object] | None = None
) -> Report:
    """Run to the end or to the first failure, which is then shrunk to a short script.

    Parameters: `config`; `progress`, called with a sample at each check; `failed`, called with the report of a
    failure before it is shrunk, which takes as long as the run, and a million steps at most.
    Returns: the report; it is `ok` when nothing was wrong. Raises: `Interrupted`, a KeyboardInterrupt with the report
    so far; what the callbacks raise; with `guest`, ImportError.
    """
    record = Recorder(config, progress)
    return _run_guests(config, record) if config.guest else _run_steps(config, record, failed)


class Recorder:
    """Takes the samples of a run and makes its report.

    Parameters: `config`; `progress`, called with each sample.
    """

    def __init__(self, config: StressConfig, progress: Progress | None) -> None:
        self._config = config
        self._progress = progress
        self._samples: list[Sample] = []
        self._started, self._cpu_started = time.monotonic(), time.process_time()

    def sample(self, operations: int, plugged: int, interrupts: int) -> bool:
        """Take a sample. Returns: whether the time of the run is over."""
        sample = Sample(
            time.monotonic() - self._started,
            time.process_time() - self._cpu_started,
            operations,
            plugged,
            interrupts,
            _resident(),
        )
        self._samples.append(sample)
        if self._progress is not None:
            self._progress(sample)
        return self._config.duration is not None and sample.seconds >= self._config.duration

    def report(self, steps: int, cycles: int, failure: Failure | None = None, *, interrupted: bool = False) -> Report:
        """The report of the run as it is."""
        versions = {"gicv3": gicv3.__version__, "python": platform.python_version(), "machine": platform.machine()}
        return Report(self._config, tuple(self._samples), steps, cycles, failure, interrupted, versions)


def _run_steps(config: StressConfig, record: Recorder, failed: Callable[[Report], object] | None) -> Report:
    world = World(config)

    def sample() -> bool:
        return record.sample(world.operations, len(world.plugged) + 1, world.interrupts)

    sample()
    checked, do = 0, world.do
    next_check = min(config.check_every, config.cycles)
    number, failure = -1, None
    try:
        for number, step in enumerate(generate(config)):
            try:
                do(step)
                if world.operations < next_check:
                    continue
                world.check()
            except Exception as error:
                sample()
                failure = _failure(number, error, (), config.max_cpus)
                if failed is not None:
                    failed(record.report(number + 1, world.cycles, failure))
                return record.report(number + 1, world.cycles, _locate(config, checked, number, error))
            checked = number + 1
            # No cycle is done in less than an operation: the run is looked at before it can be over.
            next_check = world.operations + max(1, min(config.check_every, config.cycles - world.cycles))
            if sample() or world.cycles >= config.cycles:
                return record.report(number + 1, world.cycles)
    except KeyboardInterrupt:
        sample()
        raise Interrupted(record.report(number + 1, world.cycles, failure, interrupted=True)) from None
    raise AssertionError("steps never end")


def _run_guests(config: StressConfig, record: Recorder) -> Report:
    """Play the demo's story with guest after guest, each with other numbers: a step is a guest."""
    from gicv3.cli.demo import HOTPLUG_CPUS, MAX_CPUS, Demo

    choose = random.Random(config.seed)
    cycles = interrupts = guests = 0
    record.sample(0, 0, 0)
    while True:
        demo = Demo(choose.randint(5, 100), choose.randint(50, 5000), lambda line: None, lambda demo: None)
        with closing(demo):
            try:
                demo.play()
            except Exception as error:
                return record.report(guests + 1, cycles, _failure(guests, error, (), MAX_CPUS))
            except KeyboardInterrupt:
                raise Interrupted(record.report(guests, cycles, interrupted=True)) from None
            finally:
                interrupts += demo.taken
        guests += 1
        cycles += len(HOTPLUG_CPUS)
        # They are plugged twice and unplugged once.
        if record.sample(3 * cycles, MAX_CPUS, interrupts) or cycles >= config.cycles:
            return record.report(guests, cycles)


def replay(config: StressConfig, steps: Iterable[Step]) -> None:
    """Do steps on a fresh machine and check after each of them. Raises: what was wrong."""
    world = World(config)
    for step in steps:
        world.do(step)
        world.check()


def _locate(config: StressConfig, checked: int, last: int, error: Exception) -> Failure:
    """Find the first step after `checked` of which something was wrong, at most `last`, and shrink what leads there.

    A check of a large machine costs as much as thousands of steps: some first tell where all are worth it.
    """
    steps = list(islice(generate(config), last + 1))
    for every in (max(1, isqrt(last - checked)), 1):
        checked, last, error = _narrow(config, steps[: last + 1], checked, every, error)
    script, max_cpus = shrink(config, steps[: last + 1], error)
    return _failure(last, error, script, max_cpus)


def _narrow(
    config: StressConfig, steps: Sequence[Step], checked: int, every: int, error: Exception
) -> tuple[int, int, Exception]:
    """Do steps on a fresh machine, and check after each `every` of them from `checked` on.

    Returns: how many steps were found right, the number of the one found wrong, at most the last, and its error.
    """
    world = World(config)
    right = checked
    for number, step in enumerate(steps):
        try:
            world.do(step)
            if number >= checked and (number + 1 - checked) % every == 0:
                world.check()
                right = number + 1
        except Exception as found:
            return right, number, found
    return right, len(steps) - 1, error


def _failure(step: int, error: Exception, script: Iterable[Step], max_cpus: int) -> Failure:
    return Failure(step, f"{type(error).__name__}: {error}", tuple(script), max_cpus)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
