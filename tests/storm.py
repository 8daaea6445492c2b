"""An interrupt storm that goes on where it was cut: what happens next follows from the seed and the step alone.

python tests/storm.py SNAPSHOT SEED FIRST COUNT restores a GIC from a file, and prints the trace of the steps.
"""

import random
import sys
from pathlib import Path

from gicv3 import GICv3, GICv3Config

CPUS = 8
PPIS = (16, 20, 27)
SPIS = tuple(range(32, 96))


def prepared() -> GICv3:
    """All groups open; PPIs and half of the SPIs edge-triggered; a third of the SPIs 1-of-N, the others spread."""
    gic = GICv3(GICv3Config(cpus=CPUS, spis=64, one_of_n=True))
    gic.dist["GICD_CTLR"] = 3
    for word in (1, 2):
        gic.dist["GICD_IGROUPR", word] = gic.dist["GICD_ISENABLER", word] = 0xFFFF_FFFF
    for intid in SPIS:
        gic.dist["GICD_IROUTER", intid] = 1 << 31 if intid % 3 == 0 else intid % CPUS
        gic.frame_write(0, 0x400 + intid, intid * 8 & 0xF8, 1)
    for word in range(2, 6):
        gic.dist["GICD_ICFGR", word] = 0x8888_8888
    for pe in range(CPUS):
        redist, view = gic.redist[pe], gic.pe[pe]
        redist["GICR_WAKER"] = 0
        redist["GICR_IGROUPR0"] = redist["GICR_ISENABLER0"] = 0xFFFF_FFFF
        redist["GICR_ICFGR1"] = 0xAAAA_0000
        for intid in range(32):
            gic.frame_write(2, 0x400 + intid, intid * 8 & 0xF8, 1, index=pe)
        view["ICC_PMR_EL1"] = 0xF8
        view["ICC_IGRPEN1_EL1"] = 1
    return gic


def step(gic: GICv3, seed: int, number: int) -> str:
    """One step of the storm and what came of it, as a line of text."""
    draw = random.Random(seed * 1_000_003 + number)
    pe = draw.randrange(CPUS)
    view = gic.pe[pe]
    kind = draw.randrange(14)
    if kind < 3:
        gic.set_spi(draw.choice(SPIS), draw.random() < 0.6)
    elif kind == 3:
        gic.set_ppi(pe, draw.choice(PPIS), draw.random() < 0.6)
    elif kind == 4:
        view["ICC_SGI1R_EL1"] = draw.randrange(16) << 24 | draw.randrange(1 << CPUS)
    elif kind == 5:
        view["ICC_PMR_EL1"] = draw.choice((0x80, 0xF8))
    elif kind == 6:
        gic.redist[pe]["GICR_WAKER"] = draw.choice((0, 0, 2))
    elif kind == 7 or view["ICC_RPR_EL1"] == 0xFF:
        intid = view["ICC_IAR1_EL1"]
        return f"{number} {pe} took {intid} {bytes(gic.lines).hex()}"
    else:
        last = [intid for intid in (*range(32), *SPIS) if is_active(gic, pe, intid)]
        intid = min(last, key=lambda intid: (priority(gic, pe, intid) != view["ICC_RPR_EL1"], intid), default=1023)
        view["ICC_EOIR1_EL1"] = intid
        return f"{number} {pe} ended {intid} {bytes(gic.lines).hex()}"
    return f"{number} {pe} {kind} {bytes(gic.lines).hex()}"


def priority(gic: GICv3, pe: int, intid: int) -> int:
    return gic.frame_read(2 if intid < 32 else 0, 0x400 + intid, 1, index=pe)


def is_active(gic: GICv3, pe: int, intid: int) -> bool:
    word = gic.redist[pe]["GICR_ISACTIVER0"] if intid < 32 else gic.dist["GICD_ISACTIVER", intid // 32]
    return bool(word >> intid % 32 & 1)


def run(gic: GICv3, seed: int, first: int, count: int) -> list[str]:
    """Steps `first` .. `first + count - 1`."""
    return [step(gic, seed, number) for number in range(first, first + count)]


if __name__ == "__main__":
    restored = GICv3.restore(Path(sys.argv[1]))
    print("\n".join(run(restored, *(int(argument) for argument in sys.argv[2:]))))
