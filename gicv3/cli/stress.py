"""`gicv3 stress`: vCPUs come and go at random until something breaks or time is up."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pathlib import Path

from rich.console import Console
from rich.live import Live

from gicv3.stress import Report, Sample, StressConfig, run_seeds, write
from gicv3.stress import run as run_one


def run(config: StressConfig, seeds: int, jobs: int | None, report: Path | None) -> int:
    """Run one or several seeds, show how they go on, and write the report. Returns: the exit status."""
    console = Console(highlight=False)
    if report is not None:
        report.open("a").close()  # better now than after hours
    try:
        reports = _many(console, config, seeds, jobs) if seeds > 1 else [_one(console, config, report)]
    except BrokenExecutor as error:
        console.print(f"FAILED: a process died: {error}", soft_wrap=True)
        return 1
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
    return 1 if failed else 0


def _one(console: Console, config: StressConfig, path: Path | None) -> Report:
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(sample: Sample) -> None:
            if console.is_terminal:
                live.update(_line(config, sample), refresh=True)

        def failed(report: Report) -> None:
            if path is not None:
                write(path, [report])
            assert report.failure is not None
            console.print(f"step {report.failure.step}: {report.failure.error}: shrinking it", soft_wrap=True)

        report = run_one(config, show, failed)
    console.print(str(report), soft_wrap=True)
    return report


def _many(console: Console, config: StressConfig, seeds: int, jobs: int | None) -> list[Report]:
    first = config.seed
    return run_seeds(
        config,
        range(first, first + seeds),
        jobs=jobs,
        done=lambda report: console.print(str(report), soft_wrap=True),
    )


def _line(config: StressConfig, sample: Sample) -> str:
    return (
        f"seed {config.seed}: {sample.seconds:6.1f} s  {sample.operations} plugs and unplugs, "
        f"{sample.operations / max(sample.cpu_seconds, 1e-9):,.0f} a second of CPU time  {sample.plugged} plugged  "
        f"{sample.interrupts} interrupts  {sample.memory / 1e6:.0f} MB"
    )
