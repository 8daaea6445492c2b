"""`gicv3 bench`: a progress bar, a table, JSON, a plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gicv3 import bench
from gicv3.errors import ConfigError

Earlier = dict[tuple[str, int], bench.Result]
"""Results of another run, by question and number of vCPUs."""


def earlier(path: Path) -> Earlier:
    """What `gicv3 bench --json` printed into a file. Raises: ConfigError."""
    try:
        results = [bench.Result(**result) for result in json.loads(path.read_bytes())["results"]]
        if not all(0 < result.low <= result.median <= result.high for result in results):
            raise ValueError("a median must be above 0 and within its quartiles")
        return {(result.question, result.cpus): result for result in results}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} must be what gicv3 bench --json printed: {error}") from error


def table(results: list[bench.Result], before: Earlier | None = None) -> Table:
    """The results, a row each, with their ratio to those of another run, in brackets where the quartiles overlap."""
    made = Table(box=None, pad_edge=False)
    made.add_column("question")
    for name in ("vCPUs", "ns", "quartiles", "million/s", *(["now / then"] if before is not None else [])):
        made.add_column(name, justify="right")
    for result in results:
        then = (before or {}).get((result.question, result.cpus))
        made.add_row(
            result.question,
            f"{result.cpus:,}",
            f"{result.median:,.1f}",
            f"{result.low:,.1f}-{result.high:,.1f}",
            f"{result.per_second / 1e6:.3g}",
            _ratio(result, then) if then is not None else "",
        )
    return made


def _ratio(now: bench.Result, then: bench.Result) -> str:
    overlap = now.low <= then.high and then.low <= now.high
    return f"({now.median / then.median:.2f})" if overlap else f"{now.median / then.median:.2f}"


def plot(results: list[bench.Result], path: Path) -> None:
    """Cost against the number of vCPUs, a line for each question, both axes logarithmic."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(9, 5), layout="constrained")).add_subplot()
    for question in dict.fromkeys(result.question for result in results):
        line = [result for result in results if result.question == question]
        axes.errorbar(
            [result.cpus for result in line],
            [result.median for result in line],
            [[r.median - r.low for r in line], [r.high - r.median for r in line]],
            marker="o",
            capsize=3,
            label=question,
        )
    axes.set(xscale="log", yscale="log", xlabel="vCPUs", ylabel="ns per operation")
    axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path)


def run(
    sizes: tuple[int, ...], samples: int, only: str, as_json: bool, picture: Path | None, before: Earlier | None = None
) -> None:
    """Measure, and print or draw what came out."""
    console = Console(stderr=True)
    about, results = bench.environment(), []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as progress:
        task = progress.add_task("measuring", total=len(bench.asked(sizes, only)))
        for result in bench.measure(sizes, samples, only):
            results.append(result)
            progress.update(task, advance=1, description=f"{result.question}, {result.cpus:,}")
    if as_json:
        print(json.dumps({"environment": about, "results": [asdict(result) for result in results]}, indent=1))
    else:
        output = Console()
        output.print(table(results, before))
        output.print()
        for key, value in about.items():
            output.print(f"{key}: {value}", highlight=False, soft_wrap=True)
    if picture is not None:
        plot(results, picture)
