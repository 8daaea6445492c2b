"""One way to run a measured loop under pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from . import clock
from .loops import Loop


@pytest.fixture
def measure(benchmark) -> Callable[[Loop], None]:
    """Measure a loop: what a round takes on pytest-benchmark's clock is the sample's time of one operation."""

    def run(loop: Loop) -> None:
        seeds = count(1)
        benchmark.pedantic(lambda: clock.advance(loop(next(seeds))), rounds=9, warmup_rounds=1)

    return run
