"""`python -m tests.oracle`: compares the core with QEMU, prints operations and differences by entry."""

from __future__ import annotations

import argparse
import sys
import time

from . import qemu as driver
from .accepted import CHOICES, ENTRIES
from .configs import CONFIGS
from .differ import Report, fingerprint, run, shrink


def main() -> int:
    """Parses the command line, runs, prints; returns the exit status (1: a difference outside the table)."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--ops", type=int, default=100_000, help="operations per configuration")
    parser.add_argument("--config", default="ds1-smp1,ds1-smp4", help=f"comma-separated, or all: {', '.join(CONFIGS)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first program; each program takes the next")
    parser.add_argument("--length", type=int, default=5000, help="operations per program")
    parser.add_argument("--keep-going", type=int, default=1, metavar="N", help="stop after N differing programs")
    parser.add_argument("--no-shrink", action="store_true", help="print a difference as found")
    args = parser.parse_args()
    names = list(CONFIGS) if args.config == "all" else args.config.split(",")
    for name in names:
        if name not in CONFIGS:
            parser.error(f"config must be one of {', '.join(CONFIGS)}, got {name}")

    found = driver.version()
    if found is None:
        print(f"{driver.BINARY} is not installed: apt-get install qemu-system-arm (Debian 12)", file=sys.stderr)
        return 2
    print(f"{driver.BINARY} {found}")
    if not found.startswith(f"{driver.VERSION}."):
        print(f"  the table of accepted differences was written for {driver.VERSION}: others may show here")
    for name, (value, reason) in CHOICES.items():
        print(f"  core configured {name}={value}: {reason}")
    operations = differences = 0
    for name in names:
        with driver.Qemu(CONFIGS[name]) as qemu:
            started = time.monotonic()
            report = run(qemu, args.ops, args.seed, args.length, args.keep_going)
            _print(report, time.monotonic() - started)
            operations += report.operations
            differences += len(report.differences)
            seen = set()
            for seed, difference in report.differences:
                if fingerprint(difference) in seen:
                    continue
                seen.add(fingerprint(difference))
                if not args.no_shrink:
                    difference = shrink(qemu, difference)
                print(f"  DIFFERENCE (seed {seed}), program of {len(difference.program)} operations:")
                for index, op in enumerate(difference.program):
                    print(f"    {index:4} {op}")
                print("  " + str(difference).replace("\n", "\n  "))
    print(f"total: {operations} operations in {len(names)} configurations, {differences} differences outside the table")
    return 1 if differences else 0


def _print(report: Report, seconds: float) -> None:
    print(
        f"{report.config.name}: {report.operations} operations in {report.programs} programs, "
        f"{report.acknowledged} interrupts acknowledged, "
        + (f"{report.lpis} of them LPIs, {report.messages} commands and MSIs, " if report.config.its else "")
        +         f"{len(report.differences)} differences outside the table, {seconds:.0f} s",
        flush=True,
    )
    for name, count in report.hits.most_common():
        print(f"  {count:8} {name} ({ENTRIES[name].kind}): {ENTRIES[name].reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
