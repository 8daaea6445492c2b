"""`gicv3 bench`: a progress bar, a table, JSON, a plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gicv3 import bench


def table(results: list[bench.Result]) -> Table:
    """The results, a row each."""
    made = Table(box=None, pad_edge=False)
    made.add_column("question")
    for name in ("vCPUs", "ns", "quartiles", "million/s"):
        made.add_column(name, justify="right")
    for result in results:
        made.add_row(
            result.question,
            f"{result.cpus:,}",
            f"{result.median:,.1f}",
            f"{result.low:,.1f}-{result.high:,.1f}",
            f"{result.per_second / 1e6:.3g}",
        )
    return made


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


def run(sizes: tuple[int, ...], samples: int, only: str, as_json: bool, picture: Path | None) -> None:
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
        output.print(table(results))
        output.print()
        for key, value in about.items():
            output.print(f"{key}: {value}", highlight=False, soft_wrap=True)
    if picture is not None:
        plot(results, picture)
