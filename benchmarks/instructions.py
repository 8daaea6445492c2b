"""Count instructions of the hot operations by callgrind: `python -m benchmarks.instructions [--check | --record]`.

A count depends on the compiler, but not on how busy the machine is: instructions.json has the counts of each compiler
for which somebody ran --record. With --check the exit status is 1 when an operation takes 10 % more than recorded, and
2 when nothing is recorded for this compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping

from . import loops
from .build import HERE, compiler
from .callgrind import count
from .loops import Loop
from .subjects import pair

RECORD = HERE / "instructions.json"
TOLERANCE = 1.10
N_PE = 64
Counts = dict[str, tuple[float, float]]
"""Instructions of each operation: ours, the floor's."""


def operations() -> dict[str, tuple[Loop, Loop]]:
    """Every counted operation, with its floor."""
    floors = {"PPI": loops.ppi(N_PE, True), "SPI": loops.spi(N_PE, True)}
    rounds, subject = 100, pair(N_PE)
    broadcast = [
        Loop(lambda seed, floor=floor: sum(subject.broadcast(floor, rounds)), rounds * (N_PE - 1))  # type: ignore[misc]
        for floor in (False, True)
    ]
    return {
        "PPI cycle by gic.batch": (loops.batch(N_PE, False), floors["PPI"]),
        "SPI cycle by gic.batch": (loops.batch(N_PE, True), floors["SPI"]),
        "PPI cycle by the C API": (loops.ppi(N_PE, False), floors["PPI"]),
        "SPI cycle by the C API": (loops.spi(N_PE, False), floors["SPI"]),
        "MSI cycle by the C API": (loops.msi(16, 0), floors["SPI"]),
        "MSI cycle, 10,000 pending": (loops.msi(21, 9_999), floors["SPI"]),
        "16 PPIs pending, each": (loops.ppi_drain(N_PE, 16, False), loops.ppi_drain(N_PE, 16, True)),
        "988 SPIs pending, each": (loops.spi_drain(N_PE, 988, False), loops.spi_drain(N_PE, 988, True)),
        "SGI to all others, sent and taken, each": (broadcast[0], broadcast[1]),
        "PE by affinity": (loops.lookup(N_PE, "gicv3"), loops.lookup(N_PE, "hash")),
    }


def run_marked() -> None:
    """Run every operation and its floor twice, the second time between two marks; print how many operations that is."""
    todo = operations()
    for both in todo.values():
        for loop in both:
            loop(1)  # a batch draws its interrupts
            os.getppid()  # callgrind dumps before it, and counts from zero
            loop(1)
            os.getppid()
    print(json.dumps({name: [loop.operations + loop.untimed for loop in both] for name, both in todo.items()}))


def measure() -> Counts:
    """Instructions per operation, from a run of this module under callgrind."""
    environment = {**os.environ, "GICV3_FLOOR_FLAGS": "-O3"}  # valgrind does not know every new instruction
    build = [sys.executable, "-c", "from benchmarks.build import driver; driver()"]  # at full speed
    subprocess.run(build, cwd=HERE.parent, env=environment, check=True)
    done, totals = count([sys.executable, "-m", "benchmarks.instructions", "--run"], environment)
    counted = iter(totals[1::2])  # the others are what went before
    done_each = json.loads(done)
    return {name: (next(counted) / ours, next(counted) / floor) for name, (ours, floor) in done_each.items()}


def compiler_id() -> str:
    """Family and major version of the compiler: within it, counts are comparable."""
    text = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\b(\d+)\.\d+", text)
    return f"{'clang' if 'clang' in text else 'gcc'} {version[1] if version else 'unknown'}"


def grown(measured: Counts, recorded: Mapping[str, list[float]]) -> list[str]:
    """What takes more instructions than its record allows, or has none, in words."""
    found = []
    for name, (ours, _) in measured.items():
        if name not in recorded:
            found.append(f"{name}: {ours:.0f} instructions, none recorded")
        elif ours > TOLERANCE * recorded[name][0]:
            found.append(f"{name}: {ours:.0f} instructions, recorded are {recorded[name][0]:.0f}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Count, print the table, and compare or record; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with what is recorded for this compiler")
    what.add_argument("--record", action="store_true", help="record the counts for this compiler")
    what.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        run_marked()
        return 0
    measured, name = measure(), compiler_id()
    print(f"{name}: instructions of one operation\n")
    for operation, (ours, floor) in measured.items():
        print(f"{operation:40} {ours:6.0f}   floor {floor:5.0f}   ratio {ours / floor:.2f}")
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if options.record:
        records[name] = {key: [round(count, 1) for count in counts] for key, counts in measured.items()}
        RECORD.write_text(json.dumps(records, indent=1) + "\n")
    if options.check:
        if name not in records:
            print(f"\nnothing is recorded for {name}: python -m benchmarks.instructions --record", file=sys.stderr)
            return 2
        problems = grown(measured, records[name])
        print("\n".join(("", *problems)), file=sys.stderr)
        return 1 if problems else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
