"""Runs of many seeds at once, wherever an executor takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context

from gicv3.stress.loop import run
from gicv3.stress.report import Report
from gicv3.stress.steps import StressConfig


def run_seeds(
    config: StressConfig,
    seeds: Iterable[int],
    executor: Executor | None = None,
    done: Callable[[Report], object] | None = None,
    jobs: int | None = None,
) -> list[Report]:
    """Run a configuration with each of several seeds.

    Parameters: `config`, whose own seed is not used; `seeds`; `executor`, of `concurrent.futures` or with its
    interface, such as that of a `dask.distributed` client: by default `jobs` processes, one for each core; `done`,
    called with each report, in the order of the seeds.
    Returns: the reports in the order of the seeds.
    """
    configs = [replace(config, seed=seed) for seed in seeds]
    with nullcontext(executor) if executor is not None else _processes(jobs) as pool:
        futures = [pool.submit(run, config) for config in configs]
        reports = []
        for future in futures:
            reports.append(future.result())
            if done is not None:
                done(reports[-1])
        return reports


def _processes(jobs: int | None) -> Executor:
    # A forked process would inherit locks that threads of this one hold.
    return ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn"))
