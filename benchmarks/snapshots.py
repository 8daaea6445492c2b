"""What a save point costs against a bare memcpy of as many bytes, and what a snapshot costs.

python -m benchmarks.snapshots [--turns N] prints a line for each size; the median of the turns is what counts.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable

from gicv3 import GICv3, GICv3Config


def busy(n_pe: int) -> GICv3:
    """A GIC with all SPIs pending, spread over the PEs, so that the queues and their pools are in use."""
    gic = GICv3(GICv3Config(cpus=n_pe))
    gic.dist["GICD_CTLR"] = 3
    for word in range(1, 31):
        gic.dist["GICD_ISENABLER", word] = gic.dist["GICD_ISPENDR", word] = 0xFFFF_FFFF
    for intid in range(32, 1020):
        gic.frame_write(0, 0x400 + intid, intid & 0xF8, 1)
        gic.dist["GICD_IROUTER", intid] = gic.affinity(intid % n_pe)
    for pe in range(n_pe):
        gic.redist[pe]["GICR_WAKER"] = 0
    return gic


def nanoseconds(call: Callable[[], object], times: int) -> float:
    """CPU time of this thread for one call."""
    start = time.thread_time_ns()
    for _ in range(times):
        call()
    return (time.thread_time_ns() - start) / times


def report(gic: GICv3, turns: int) -> str:
    """Measure one GIC, both sides in turn."""
    point = gic.savepoint()
    size, data = point.size, gic.save()
    source, target = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    times = max(20, 40_000_000 // size)
    copies, points = [], []
    for _ in range(turns):
        copies.append(nanoseconds(lambda: ctypes.memmove(target, source, size), times))
        points.append(nanoseconds(lambda: gic.rewind(gic.savepoint(point)), times))
    ratio = statistics.median(b / a for a, b in zip(copies, points))
    save = nanoseconds(gic.save, 3) / 1e6
    restore = nanoseconds(lambda: GICv3.restore(data), 3) / 1e6
    return (f"{size:8} bytes, memcpy {statistics.median(copies) / 1e3:8.2f} us, save point and rewind "
            f"{statistics.median(points) / 1e3:8.2f} us = {ratio:.2f} memcpys; "
            f"save {save:.1f} ms ({len(data)} bytes), restore {restore:.1f} ms")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=31, help="measurements of each side, in turn (31)")
    turns: int = parser.parse_args().turns
    for n_pe in (1, 64, 512, 4096):
        for name, gic in (("reset", GICv3(GICv3Config(cpus=n_pe))), ("busy", busy(n_pe))):
            print(f"{n_pe:5} PEs, {name:5}: {report(gic, turns)}", flush=True)


if __name__ == "__main__":
    main()
