"""Give a Qiling program a GICv3: the guest of attach_unicorn.py, loaded as a blob.

Needs `pip install qiling unicorn==2.1.4`. No test runs it: it was tried with Qiling 1.4.6.
"""

from attach_unicorn import CODE, IRQ_HANDLER, PROGRAM, VECTORS
from qiling import Qiling
from qiling.const import QL_ARCH, QL_OS, QL_VERBOSE

import gicv3
from gicv3.unicorn import attach, reset

PROFILE = {"CODE": {"load_address": hex(CODE), "entry_point": hex(CODE), "ram_size": "0x10000",
                    "heap_address": "0x50000000", "heap_size": "0x1000"}}


def main() -> None:
    """Run the program and print what its handler saw."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=1))
    gic.dist["GICD_CTLR"] = 2
    gic.redist[0]["GICR_WAKER"] = 0
    gic.redist[0]["GICR_IGROUPR0"] = gic.redist[0]["GICR_ISENABLER0"] = 0xFFFF_FFFF
    gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1

    ql = Qiling(code=PROGRAM, archtype=QL_ARCH.ARM64, ostype=QL_OS.BLOB, profile=PROFILE, verbose=QL_VERBOSE.OFF)
    ql.mem.write(VECTORS + 0x280, IRQ_HANDLER)
    reset(ql.uc, CODE)
    attach(gic, ql.uc, pe=0)                    # ql.uc is Qiling's own engine
    ql.run(begin=CODE, end=CODE + len(PROGRAM))
    print(f"the handler ran {ql.arch.regs.x3} time, for INTID {ql.arch.regs.x2}")


if __name__ == "__main__":
    main()
