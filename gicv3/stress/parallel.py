"""Runs of many seeds at once, wherever an executor takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

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


@contextmanager
def _processes(jobs: int | None) -> Iterator[Executor]:
    """A pool whose processes end with this one, or when what is done with it fails or is interrupted."""
    # A forked process would inherit locks that threads of this one hold.
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, initializer=_end_with, initargs=(reader,))
    try:
        yield pool
    except BaseException:
        writer.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        writer.close()
        reader.close()


def _end_with(pipe: Connection) -> None:
    """Have this process end when the other end of a pipe is closed, whoever closes it: a signal may end its owner."""
    Thread(target=_wait_and_end, args=(pipe,), daemon=True).start()


def _wait_and_end(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)
