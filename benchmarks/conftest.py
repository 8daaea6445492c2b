"""One way to run a measured loop under pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .loops import Loop


@pytest.fixture
def measure(benchmark) -> Callable[[Loop], None]:
    """Time a loop; the JSON gets its ns per operation, because the columns of pytest-benchmark are per sample."""

    def run(loop: Loop) -> None:
        times: list[float] = []
        benchmark.pedantic(lambda: times.append(loop(1)), rounds=9, warmup_rounds=1)
        times.sort()
        benchmark.extra_info["operations"] = loop.operations
        benchmark.extra_info["ns_per_operation"] = times[len(times) // 2]

    return run
