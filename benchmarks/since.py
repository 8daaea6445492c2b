"""Compare this tree's core with that of an older commit: `python -m benchmarks.since COMMIT [--turns N]`.

The commit's core and its benchmarks' driver are built from `git archive` into build/since, in the way they were built
then, by this compiler. Each core serves in a process of its own: the two take turns, and every ratio is of two
neighbouring samples in CPU time. Instructions are callgrind's. With --check the exit status is 1 when a ratio is over
--limit.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from .build import HERE
from .callgrind import count

ROOT = HERE.parent
CYCLES = ("ppi", "spi")
N_PE = 64
# What a process does: a sample for each seed that it is told; or two samples, the second between two marks.
SERVE = """
import sys
sys.path.insert(0, {core!r})
from benchmarks import loops
loop = loops.{cycle}({n_pe}, False)
print("ready", flush=True)
for line in sys.stdin:
    print(loop(int(line)), flush=True)
"""
COUNT = """
import os, sys
sys.path.insert(0, {core!r})
from benchmarks import build, loops
build.FLAGS = ("-O3",)  # valgrind does not know every instruction of this machine
loop = loops.{cycle}({n_pe}, False)
loop(1)
os.getppid()
loop(2)
os.getppid()
print(loop.operations)
"""


def build(commit: str) -> Path:
    """Return the folder with the built core of a commit."""
    name = subprocess.check_output(["git", "rev-parse", "--short=12", f"{commit}^{{commit}}"], cwd=ROOT, text=True)
    folder = ROOT / "build" / "since" / name.strip()
    if not list(folder.glob("gicv3/_core.*.so")):
        folder.mkdir(parents=True, exist_ok=True)
        paths = ("gicv3", "benchmarks", "setup.py", "pyproject.toml", "README.md", "LICENSE")
        archive = subprocess.check_output(["git", "archive", commit, *paths], cwd=ROOT)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
        subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, check=True)
    return folder


def process(program: str, core: Path, cycle: str) -> list[str]:
    """Return the command of a process that uses one core; -P keeps the working directory out of its path."""
    return [sys.executable, "-P", "-c", program.format(core=str(core), cycle=cycle, n_pe=N_PE)]


def times(cores: tuple[Path, Path], cycle: str, turns: int) -> list[tuple[float, float]]:
    """Return ns of a cycle for each turn, by each core; the first turn is not counted."""
    servers = [
        subprocess.Popen(process(SERVE, core, cycle), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for core in cores
    ]

    def sample(server: subprocess.Popen[str], seed: int) -> float:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(f"{seed}\n")
        server.stdin.flush()
        return float(server.stdout.readline())

    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        both = []
        for turn in range(turns + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            found = {which: sample(servers[which], turn + 1) for which in order}
            both.append((found[0], found[1]))
        return both[1:]
    finally:
        for server in servers:
            server.communicate()


def instructions(core: Path, cycle: str) -> float:
    """Return the instructions of one cycle."""
    command = process(COUNT, core, cycle)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    printed, totals = count(command)
    return totals[1] / float(printed)


def main(arguments: list[str] | None = None) -> int:
    """Build, measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.since", description=__doc__.partition("\n")[0])
    parser.add_argument("commit", help="the older commit, at or after 37b15b6")
    parser.add_argument("--turns", type=int, default=25, help="counted samples of each core (25)")
    parser.add_argument("--limit", type=float, default=1.25, help="most that this tree may cost of the other (1.25)")
    parser.add_argument("--check", action="store_true", help="exit status 1 when it costs more")
    options = parser.parse_args(arguments)
    old = build(options.commit)
    over = False
    for cycle in CYCLES:
        both = times((old, ROOT), cycle, options.turns)
        low, ratio, high = statistics.quantiles([new / before for before, new in both], n=4)
        before, new = (statistics.median(column) for column in zip(*both, strict=True))
        counts = instructions(old, cycle), instructions(ROOT, cycle)
        print(
            f"{cycle.upper()} cycle, {N_PE} PEs: {before:.1f} ns at {old.name}, {new:.1f} ns now, ratio {ratio:.2f} "
            f"({low:.2f}-{high:.2f}); {counts[0]:.0f} instructions, {counts[1]:.0f} now, "
            f"ratio {counts[1] / counts[0]:.2f}",
            flush=True,
        )
        over |= max(ratio, counts[1] / counts[0]) > options.limit
    return int(over and options.check)


if __name__ == "__main__":
    sys.exit(main())
