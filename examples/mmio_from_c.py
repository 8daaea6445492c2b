"""Drive the GIC's registers from C code that knows nothing of Python or Cython: ctypes, a C compiler and gicv3.h.

python examples/mmio_from_c.py [--count N] prints what one access costs there, and what it costs by ctypes.
"""

import argparse
import ctypes
import subprocess
import sysconfig
import tempfile
import time
from ctypes import c_double, c_uint32, c_uint64, c_void_p
from pathlib import Path

from gicv3 import GICv3, GICv3Config, capi, get_include

GICD_ISENABLER1 = 0x0800_0104
PROGRAM = r"""
#define _POSIX_C_SOURCE 200809L
#include <time.h>
#include "gicv3.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

uint64_t loop(const gicv3_api *api, gicv3_handle *gic, uint64_t address, uint32_t count, double *ns)
{
    uint64_t seen = 0;
    double start = now();
    for (uint32_t i = 0; i < count; i++)
        api->mmio_write(gic, address, 1u << i % 32, 4, 0);
    ns[1] = now() - start;
    start = now();
    for (uint32_t i = 0; i < count; i++)
        seen |= api->mmio_read(gic, address, 4, 0);
    ns[0] = now() - start;
    return seen;
}
"""


def compiled(program: str) -> ctypes.CDLL:
    """A shared object from C source."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "loop.so"
        command = [compiler, "-O2", "-shared", "-fPIC", f"-I{get_include()}", "-x", "c", "-", "-o", str(target)]
        subprocess.run(command, input=program.encode(), check=True)
        return ctypes.CDLL(str(target))


def main(count: int) -> None:
    """Access one register `count` times from C, and some from Python, and print the time of each."""
    loop = compiled(PROGRAM).loop
    loop.argtypes = [c_void_p, c_void_p, c_uint64, c_uint32, ctypes.POINTER(c_double)]
    loop.restype = c_uint64
    gic = GICv3(GICv3Config(cpus=4))                       # keep it: `gic.handle` is good while it lives
    gic.mmio_write(0x0800_0084, 0xFFFF_FFFF)               # GICD_IGROUPR1: Group 1
    ns = (c_double * 2)()
    seen = loop(capi.address(), gic.handle, GICD_ISENABLER1, count, ns)
    assert seen == gic.dist["GICD_ISENABLER", 1] == (1 << min(count, 32)) - 1
    read = capi.functions().mmio_read
    some = min(count, 200_000)
    start = time.thread_time_ns()
    for _ in range(some):
        read(gic.handle, GICD_ISENABLER1, 4, 0)
    by_ctypes = (time.thread_time_ns() - start) / some
    print(f"{count} reads and {count} writes from C: {ns[0] / count:.1f} ns a read, {ns[1] / count:.1f} ns a write; "
          f"from ctypes: {by_ctypes:.0f} ns")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000, help="reads, and as many writes")
    count = parser.parse_args().count
    if count < 1:
        parser.error(f"--count must be at least 1, got {count}")
    main(count)
