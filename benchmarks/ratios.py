"""Print how far the GIC is from its floor, and how its costs grow: `python -m benchmarks.ratios [--json FILE]`.

Every ratio compares two loops measured in turn, in one run, in CPU time of this thread; it is the median over the turns
of (this / that), with the quartiles behind it. Nanoseconds are medians too and serve to read the ratios by.
With --check the exit status is 1 when a ratio is over its limit.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import Cython
import numpy

import gicv3

from . import loops
from .build import FLAGS, compiler
from .loops import Loop
from .subjects import PLUG_SIZES, SIZES, bytes_per_cpu

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Row:
    """One ratio: `ours` and `theirs` in ns per operation, `ratio` = ours / theirs, and the limit it is held to."""

    question: str
    n_pe: int
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    limit: float | None = None


def compare(question: str, n_pe: int, ours: Loop, theirs: Loop, turns: int, limit: float | None = None) -> Row:
    """Measure two loops in turn, swapping who goes first; one turn of each is not counted."""
    mine, others = [], []
    for turn in range(turns + 1):
        if turn % 2:
            others.append(theirs(turn))
            mine.append(ours(turn))
        else:
            mine.append(ours(turn))
            others.append(theirs(turn))
    ratios = [a / b for a, b in zip(mine[1:], others[1:], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Row(question, n_pe, statistics.median(mine[1:]), statistics.median(others[1:]), middle, low, high, limit)


def cycle_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """Raise, acknowledge, lower, end."""
    for n_pe in sizes:
        limit = 2.0 if n_pe < 65_536 else 1.5
        yield compare(
            "PPI cycle by gic.batch / floor", n_pe, loops.batch(n_pe, False), loops.ppi(n_pe, True), turns, limit
        )
    for n_pe in sizes:
        ours, theirs = loops.batch(n_pe, False), loops.ppi(n_pe, True, ahead=True)
        limit = 2.0 if n_pe < 65_536 else None  # there the floor's waits for memory overlap better than the batch's
        yield compare("PPI cycle by gic.batch / floor looking ahead", n_pe, ours, theirs, turns, limit)
    for n_pe in sizes:
        yield compare(
            "SPI cycle by gic.batch / floor", n_pe, loops.batch(n_pe, True), loops.spi(n_pe, True), turns, 2.0
        )
    for n_pe in sizes:
        ours, theirs = loops.batch(n_pe, True), loops.spi(n_pe, True, ahead=True)
        yield compare("SPI cycle by gic.batch / floor looking ahead", n_pe, ours, theirs, turns, 2.0)
    for n_pe in sizes:
        yield compare("PPI cycle by the C API / floor", n_pe, loops.ppi(n_pe, False), loops.ppi(n_pe, True), turns, 4.0)
    for n_pe in sizes:
        yield compare("SPI cycle by the C API / floor", n_pe, loops.spi(n_pe, False), loops.spi(n_pe, True), turns)
    for n_pe in sizes:
        yield compare(
            "PPI cycle by Python calls / in C", n_pe, loops.ppi_from_python(n_pe), loops.ppi(n_pe, False), turns
        )


def batch_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """Whole interrupts from Python: in batches against single calls and a budget, and in two threads against one."""
    for n_pe in sizes:
        limit = 1 / 15 if n_pe == 4096 else None
        yield compare(
            "PPI cycle by gic.batch / Python calls",
            n_pe,
            loops.batch(n_pe, False),
            loops.ppi_from_python(n_pe),
            turns,
            limit,
        )
    for n_pe in sizes:
        limit = 1.0 if n_pe == 4096 else None
        yield compare(
            "PPI cycle by gic.batch, ns / 50 ns", n_pe, loops.batch(n_pe, False), loops.constant(50), turns, limit
        )
    for n_pe in sizes:
        yield compare(
            "a GIC in each of 2 threads / 1 thread", n_pe, loops.threads(n_pe, 2), loops.threads(n_pe, 1), turns
        )


def drain_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """Many pending at once."""
    for depth in (4, 16):
        for n_pe in sizes:
            ours, theirs = (loops.ppi_drain(n_pe, depth, floor) for floor in (False, True))
            yield compare(f"{depth} PPIs pending / floor", n_pe, ours, theirs, turns)
    for loop, name in (
        (loops.spi_spread, "988 SPIs pending, on 988 PEs at most"),
        (loops.ppi_everywhere, "a PPI on every PE"),
    ):
        for n_pe in sizes:
            yield compare(f"{name} / floor", n_pe, loop(n_pe, False), loop(n_pe, True), turns)
    one, many = (loops.spi_drain(64, depth, False) for depth in (1, 988))
    for depth in (1, 32, 988):
        ours, theirs = (loops.spi_drain(64, depth, floor) for floor in (False, True))
        yield compare(f"{depth} SPIs pending on one PE / floor", 64, ours, theirs, turns)
    yield compare("988 SPIs pending / 1 pending, per SPI", 64, many, one, turns, limit=2.0)


def msi_rows(turns: int) -> Iterator[Row]:
    """LPIs against SPIs, by PROPBASER.IDbits (bits of an INTID less one) and by how many pend."""
    for bits in (15, 20):
        for pending in (1, 10_000):
            name = f"MSI cycle / SPI cycle, IDbits {bits}, {pending:,} pending"
            yield compare(name, 1, loops.msi(bits + 1, pending - 1), loops.spi(1, False), turns, limit=2.0)
    for bits in (15, 20):
        name = f"10,000 MSIs pending / 988 SPIs pending, each, IDbits {bits}"
        yield compare(name, 1, loops.msi_drain(bits + 1, 10_000), loops.spi_drain(64, 988, False), turns)


def lookup_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """PE by affinity."""
    for how, name in (
        ("dense", "lookup / dense table in C"), ("hash", "lookup / hash in C"), ("scan", "lookup / linear scan in C")
    ):
        for n_pe in sizes:
            yield compare(name, n_pe, loops.lookup(n_pe, "gicv3"), loops.lookup(n_pe, how), turns)
    for n_pe in sizes:
        yield compare(
            "hash in C / linear scan in C", n_pe, loops.lookup(n_pe, "hash"), loops.lookup(n_pe, "scan"), turns
        )


def broadcast_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """One SGI to all other PEs, per target."""
    sizes = tuple(n_pe for n_pe in sizes if n_pe > 1)
    for n_pe in sizes:
        limit = 2.0 if n_pe >= 4096 else None
        sent, floor = (loops.broadcast(n_pe, floor)[0] for floor in (False, True))
        yield compare("SGI to all, sent / floor", n_pe, sent, floor, turns, limit)
    for n_pe in sizes:
        limit = 2.0 if n_pe >= 4096 else None
        taken, floor = loops.take_by_batch(n_pe), loops.broadcast(n_pe, True)[1]
        yield compare("SGI to all, taken by gic.batch / floor", n_pe, taken, floor, turns, limit)
    for n_pe in sizes:
        taken, floor = (loops.broadcast(n_pe, floor)[1] for floor in (False, True))
        yield compare("SGI to all, taken by the C API / floor", n_pe, taken, floor, turns)


def machine_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """What a large machine costs to make and to fill, against budgets and against a small one."""
    small, large = PLUG_SIZES[0], PLUG_SIZES[-1]
    turns = min(turns, 5)  # a second each
    if large not in sizes:
        return
    yield compare("make a machine, ns / 0.5 s", large, loops.construct(large), loops.constant(5e8), turns, limit=1.0)
    core, total = bytes_per_cpu(large)
    for name, size, budget in (("in the core", core, 1024), ("in all", total, 2048)):
        yield compare(
            f"bytes a possible vCPU, {name} / {budget}", large, loops.constant(size), loops.constant(budget), turns, 1.0
        )
    yield compare(
        "device_add of every vCPU, ns each / 10 us", large, loops.fill(large), loops.constant(1e4), turns, 1.0
    )
    for n_pe in sizes:
        limit = 1.3 if n_pe == large else None
        yield compare(
            f"device_add of every vCPU, n / {small} PEs", n_pe, loops.fill(n_pe), loops.fill(small), turns, limit
        )


def plug_rows(sizes: tuple[int, ...], turns: int) -> Iterator[Row]:
    """Plug and unplug: a large machine against a small one, and the GIC's part against the floor."""
    small = PLUG_SIZES[0]
    for name, loop in (("machine", loops.plug_machine), ("GIC alone", loops.plug_gic)):
        for n_pe in sizes:
            limit = 1.3 if n_pe == PLUG_SIZES[-1] and name == "machine" else None
            yield compare(f"plug+unplug, {name}, n / {small} PEs", n_pe, loop(n_pe), loop(small), turns, limit)
    for n_pe in sizes:
        yield compare("plug+unplug, GIC alone / floor", n_pe, loops.plug_gic(n_pe), loops.plug_floor(n_pe), turns)


def first_line(*command: str) -> str:
    """The first line that a command prints, or "unknown"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.partition("\n")[0]


def processor() -> str:
    """The processor's name as Linux shows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment() -> dict[str, str]:
    """Machine, versions and commit: what a number means nothing without."""
    commit = first_line("git", "rev-parse", "--short=12", "HEAD")
    if first_line("git", "status", "--porcelain"):
        commit += " with local changes"
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": f"{processor()}, {os.cpu_count()} CPUs",
        "caches": ", ".join(path.read_text().strip() for path in caches) or "unknown",
        "system": platform.platform(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "cython": Cython.__version__,
        "numpy": numpy.__version__,
        "compiler": first_line(compiler(), "--version"),
        "floor flags": " ".join(FLAGS),
        "gicv3": gicv3.__version__,
        "commit": commit,
        "command": "python -m benchmarks.ratios " + " ".join(sys.argv[1:]),
    }


def table(rows: list[Row]) -> str:
    """The rows in Markdown, columns aligned."""
    head = ("question", "PEs", "ns", "against ns", "ratio", "quartiles", "limit")
    cells = [
        (
            row.question,
            str(row.n_pe),
            f"{row.ours:.1f}",
            f"{row.theirs:.1f}",
            f"{row.ratio:.3g}",
            f"{row.low:.3g}-{row.high:.3g}",
            f"{row.limit:.3g}" if row.limit else "",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *cells)) for i in range(len(head))]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))

    def line(texts: tuple[str, ...]) -> str:
        aligned = [texts[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(texts[1:], widths[1:]))]
        return "| " + " | ".join(aligned) + " |"

    return "\n".join(line(texts) for texts in (head, rule, *cells))


def sizes_of(text: str) -> tuple[int, ...]:
    """Numbers of PEs from the command line, each once."""
    try:
        sizes = tuple(dict.fromkeys(int(size) for size in text.split(",")))
    except ValueError:
        sizes = (0,)
    if not all(1 <= size <= SIZES[-1] for size in sizes):
        raise argparse.ArgumentTypeError(f"must be numbers in 1..{SIZES[-1]} with commas, got {text!r}")
    return sizes


def over_limit(rows: list[Row]) -> list[str]:
    """The rows over their limits, in words."""
    return [
        f"over its limit: {row.question}, {row.n_pe} PEs: {row.ratio:.3g} > {row.limit:.3g}"
        for row in rows
        if row.limit is not None and row.ratio > row.limit
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and write the JSON when asked to; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE as well")
    parser.add_argument("--turns", type=int, default=15, help="turns of each comparison, at least 3 (default: 15)")
    parser.add_argument(
        "--sizes",
        type=sizes_of,
        default=",".join(map(str, SIZES)),
        help="numbers of PEs, with commas (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a ratio is over its limit")
    parser.add_argument("--only", default="", metavar="TEXT", help="only groups whose name contains TEXT")
    options = parser.parse_args(arguments)
    if options.turns < 3:
        parser.error(f"--turns must be at least 3, got {options.turns}")
    sizes = options.sizes
    plug_sizes = tuple(dict.fromkeys(max(size, PLUG_SIZES[0]) for size in sizes))
    groups: dict[str, Iterator[Row]] = {
        "cycle": cycle_rows(sizes, options.turns),
        "batch": batch_rows(sizes, options.turns),
        "drain": drain_rows(sizes, options.turns),
        "msi": msi_rows(options.turns),
        "lookup": lookup_rows(sizes, options.turns),
        "broadcast": broadcast_rows(sizes, options.turns),
        "plug": plug_rows(plug_sizes, options.turns),
        "machine": machine_rows(plug_sizes, options.turns),
    }
    chosen = {name: group for name, group in groups.items() if options.only in name}
    if not chosen:
        parser.error(f"--only must be part of one of {', '.join(groups)}, got {options.only!r}")
    about = environment()
    rows: list[Row] = []
    for group in chosen.values():
        for row in group:
            rows.append(row)
            if sys.stderr.isatty():
                print(f"\r\033[K{row.question}, {row.n_pe} PEs: {row.ratio:.3g}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if not rows:
        parser.error(f"no row of {', '.join(chosen)} is for {', '.join(map(str, sizes))} PEs")
    print(table(rows))
    print()
    for key, value in about.items():
        print(f"{key}: {value}")
    if options.json:
        options.json.write_text(json.dumps({"environment": about, "rows": [asdict(row) for row in rows]}, indent=1))
    broken = over_limit(rows)
    for text in broken:
        print(text, file=sys.stderr)
    return 1 if broken and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
