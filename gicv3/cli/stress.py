"""`gicv3 stress`: vCPUs come and go at random until something breaks or time is up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path

from rich.console import Console
from rich.live import Live

from gicv3.stress import Interrupted, Report, Sample, StressConfig, run_seeds, write
from gicv3.stress import run as run_one

INTERRUPTED = 130


def run(config: StressConfig, seeds: int, jobs: int | None, report: Path | None) -> int:
    """Run one or several seeds, show how they go on, and write the report: after Ctrl-C, of what has been done.

    Returns: the exit status.
    """
    console = Console(highlight=False)
    if report is not None:
        report.open("a").close()  # better now than after hours
    reports: list[Report] = []
    interrupted = False

    def done(report: Report) -> None:
        reports.append(report)
        console.print(str(report), soft_wrap=True)

    try:
        if seeds > 1:
            run_seeds(config, range(config.seed, config.seed + seeds), jobs=jobs, done=done)
        else:
            _one(console, config, report, done)
    except BrokenExecutor as error:
        console.print(f"FAILED: a process died: {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        interrupted = True
        if seeds > 1:
            console.print(f"INTERRUPTED: {len(reports)} of {seeds} seeds are done", soft_wrap=True)
    if report is not None:
        write(report, reports)
    failed = [report for report in reports if not report.ok]
    if failed:
        options = (
            f"--max-cpus {config.max_cpus} --cycles {config.cycles} --check-every {config.check_every}"
            + " --its" * config.its
            + " --guest" * config.guest
        )
        console.print(f"again: gicv3 stress {options} --seed {failed[0].config.seed}", soft_wrap=True)
    return INTERRUPTED if interrupted else 1 if failed else 0


def _one(console: Console, config: StressConfig, path: Path | None, done: Callable[[Report], object]) -> None:
    """Run one seed. Raises: KeyboardInterrupt, when `done` has the report so far."""
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(sample: Sample) -> None:
            if console.is_terminal:
                live.update(_line(config, sample), refresh=True)

        def failed(report: Report) -> None:
            if path is not None:
                write(path, [report])
            assert report.failure is not None
            console.print(f"step {report.failure.step}: {report.failure.error}: shrinking it", soft_wrap=True)

        try:
            report = run_one(config, show, failed)
        except Interrupted as interrupted:
            live.stop()
            done(interrupted.report)
            raise
    done(report)


def _line(config: StressConfig, sample: Sample) -> str:
    return (
        f"seed {config.seed}: {sample.seconds:6.1f} s  {sample.operations} plugs and unplugs, "
        f"{sample.operations / max(sample.cpu_seconds, 1e-9):,.0f} a second of CPU time  {sample.plugged} plugged  "
        f"{sample.interrupts} interrupts  {sample.memory / 1e6:.0f} MB"
    )
