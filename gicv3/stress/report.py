"""What a stress run found: as data, as JSON, and as a page with plots."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from gicv3.stress.steps import Step, StressConfig

_SHOWN = 1000
"""Steps of a script that a text has at most."""


class Sample(NamedTuple):
    """How far a run was at one of its checks."""

    seconds: float
    """Host seconds since the start."""
    cpu_seconds: float
    """Of them, those that the process had a core for."""
    operations: int
    """Plugs and unplugs."""
    plugged: int
    interrupts: int
    memory: int
    """Resident memory of the process in bytes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step after which the machine was not what it has to be."""

    step: int
    """Number of the step, from 0, in the run of the same configuration."""
    error: str
    """What was wrong."""
    script: tuple[Step, ...]
    """The fewest steps found that lead there, on a fresh machine of `max_cpus`; none for guests."""
    max_cpus: int


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run."""

    config: StressConfig
    samples: Sequence[Sample]
    steps: int
    cycles: int
    failure: Failure | None = None
    interrupted: bool = False
    """Whether Ctrl-C ended it before its time."""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return self.failure is None

    @property
    def rate(self) -> float:
        """Plugs and unplugs in a second of a core."""
        last = self.samples[-1]
        return last.operations / max(last.cpu_seconds, 1e-9)

    @property
    def growth(self) -> int:
        """Bytes by which memory grew from the first tenth of the run, when it is warm, to the end."""
        return self.samples[-1].memory - self.samples[len(self.samples) // 10].memory

    def __str__(self) -> str:
        config, last = self.config, self.samples[-1]
        where = "of guests" if config.guest else f"on {config.max_cpus} vCPUs"
        line = (
            f"seed {config.seed}: {self.cycles} cycles {where} in {last.seconds:.1f} s, "
            f"{self.rate:,.0f} plugs and unplugs a second of CPU time, {last.interrupts} interrupts, "
            f"memory {last.memory / 1e6:.0f} MB, grown by {self.growth / 1e6:.1f} MB"
        )
        failure = self.failure
        if failure is None:
            return f"{'INTERRUPTED' if self.interrupted else 'OK'}: {line}"
        text = f"FAILED: {line}\nat step {failure.step}: {failure.error}"
        if not failure.script:
            return text
        text += f"\n{len(failure.script)} steps on {failure.max_cpus} possible vCPUs lead there"
        if len(failure.script) > _SHOWN:
            return f"{text}; a report in JSON has them"
        return f"{text}:" + "".join(f"\n  {step}" for step in failure.script)

    def to_json(self) -> str:
        """The report as a JSON object."""
        data = asdict(self)
        data["samples"] = [sample._asdict() for sample in self.samples]
        if self.failure is not None:
            data["failure"]["script"] = [[step.action.value, step.slot, step.value] for step in self.failure.script]
        return json.dumps({"ok": self.ok, "rate": self.rate, "growth": self.growth, **data}, indent=2)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run: `report` is what the run had come to."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report


def write(path: str | PathLike[str], reports: Sequence[Report]) -> None:
    """Write reports to a file: a page if its name ends in .html, otherwise a JSON array."""
    path = Path(path)
    if path.suffix == ".html":
        path.write_text(_page(reports), encoding="utf-8")
    else:
        path.write_text("[" + ",\n".join(report.to_json() for report in reports) + "]\n", encoding="utf-8")


_STYLE = "body{font-family:sans-serif;max-width:60em;margin:auto}pre{white-space:pre-wrap}svg{max-width:100%}"


def _page(reports: Sequence[Report]) -> str:
    failed = sum(not report.ok for report in reports)
    title = f"gicv3 stress: {len(reports)} runs, {failed} failed"
    parts = [f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"]
    for report in reports:
        parts.append(f"<h2>seed {report.config.seed}</h2><pre>{html.escape(str(report))}</pre>{_plots(report)}")
        versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        parts.append(f"<p>{html.escape(str(report.config))}<br>{html.escape(versions)}</p>")
    return "\n".join(parts)


def _plots(report: Report) -> str:
    """Rate, plugged vCPUs, interrupts and memory over the operations; a sentence where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "<p>Plots need matplotlib: pip install matplotlib</p>"
    samples = report.samples
    operations = [sample.operations for sample in samples]
    rates = [
        (after.operations - before.operations) / max(after.cpu_seconds - before.cpu_seconds, 1e-9)
        for before, after in pairwise(samples)
    ]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, label, values in (
        (axes[0][0], "plugs and unplugs a second of CPU time", rates),
        (axes[0][1], "vCPUs plugged", [sample.plugged for sample in samples[1:]]),
        (axes[1][0], "interrupts taken", [sample.interrupts for sample in samples[1:]]),
        (axes[1][1], "resident memory, MB", [sample.memory / 1e6 for sample in samples[1:]]),
    ):
        axis.plot(operations[1:], values)
        axis.set_title(label)
        axis.set_ylim(bottom=0)
    for axis in axes[1]:
        axis.set_xlabel("plugs and unplugs")
    image = io.StringIO()
    figure.savefig(image, format="svg")
    text = image.getvalue()
    return text[text.index("<svg") :]
