"""Command line: compare the core with the slow model on random programs.

    python -m tests.model.compare --ops 1000000 --seed 1 --config ds1
    python -m tests.model.compare --sweep --config ds1

Prints how many operations ran in each configuration and every difference, each as a short program. Exit status 1 if
there was any.
"""

from __future__ import annotations

import argparse
import sys
import time

from .configs import CONFIGS, COST
from .runner import build_program, explain, run, sweep


def compare(name: str, ops: int, seed: int, length: int, limit: int) -> tuple[int, int]:
    """Run programs of one configuration until ``ops`` operations are done; return their number and the differences."""
    keywords, done, seen, found, programs = CONFIGS[name], 0, set[str](), 0, 0
    began = time.monotonic()
    while done < ops and len(seen) < limit:
        program = build_program(keywords, seed + programs, length)
        difference, trace = run(keywords, program)
        done += len(trace)
        if difference is not None:
            found += 1
            if difference.signature() not in seen:
                seen.add(difference.signature())
                print(f"{name}, seed {seed + programs}:\n{explain(keywords, difference, trace)}\n", flush=True)
        programs += 1
    print(
        f"{name}: {done} operations, {programs} programs (seeds {seed}..{seed + programs - 1}), "
        f"{found} differences, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return done, found


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=100_000, help="per configuration, fewer of slow ones (100000)")
    parser.add_argument("--seed", type=int, default=1, help="number of the first program (1)")
    parser.add_argument("--config", action="append", choices=["all", *CONFIGS], help="may be repeated (all)")
    parser.add_argument("--length", type=int, default=800, help="operations per program, before its dump (800)")
    parser.add_argument("--limit", type=int, default=5, help="kinds of difference after which to stop (5)")
    parser.add_argument("--sweep", action="store_true", help="access every place in every frame instead")
    arguments = parser.parse_args()
    names = arguments.config or ["all"]
    names = list(CONFIGS) if "all" in names else names
    operations = total = 0
    for name in names:
        if arguments.sweep:
            different, accesses = sweep(CONFIGS[name])
            found = len(different)
            print(f"{name}: {accesses} accesses, {len(different)} differences", *different[:20], sep="\n", flush=True)
        else:
            ops = arguments.ops // COST.get(name, 1)
            accesses, found = compare(name, ops, arguments.seed, arguments.length, arguments.limit)
        operations += accesses
        total += found
    what = "accesses" if arguments.sweep else "operations"
    print(f"total: {operations} {what} in {len(names)} configurations, {total} differences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
