"""Guests of random code: whatever a guest executes, the host neither dies nor hangs, and the GIC stays consistent.

python tests/unicorn_hostile.py --seeds 5000 --first 0 runs that many.
"""

from __future__ import annotations

import argparse
import random
import struct

from unicorn_code import words
from unicorn_rig import SECOND, VECTORS, boot, put

BODY = 1024
"""Words of random code, which its exception handler keeps it in."""
HANDLER = words("""
    d5384029  mrs x9, elr_el1             // after the instruction that faulted, or over one
    91001129  add x9, x9, #4
    927e2529  and x9, x9, #0xffc
    d2a8040a  movz x10, #0x4020, lsl #16
    aa0a0129  orr x9, x9, x10
    d5184029  msr elr_el1, x9
    d538cc09  mrs x9, S3_0_C12_C12_0      // ICC_IAR1_EL1
    d518cc29  msr S3_0_C12_C12_1, x9      // ICC_EOIR1_EL1
    d2807089  mov x9, #900
    d51be309  msr cntv_tval_el0, x9
    d2800029  mov x9, #1
    d51be329  msr cntv_ctl_el0, x9
    d53be049  mrs x9, cntvct_el0          // back to EL0 or to EL1
    927e0129  and x9, x9, #4
    b4000049  cbz x9, user
    b2400129  orr x9, x9, #1
    d5184009  user: msr spsr_el1, x9
    d5381009  mrs x9, sctlr_el1           // MMU off
    927ff929  and x9, x9, #~1
    d5181009  msr sctlr_el1, x9
    d2a80429  movz x9, #0x4021, lsl #16   // vectors and stack, where it needs them
    d518c009  msr vbar_el1, x9
    d2a80609  movz x9, #0x4030, lsl #16
    9100013f  mov sp, x9
    d69f03e0  eret
""")
START = words("""
    d2a80429  movz x9, #0x4021, lsl #16
    d518c009  msr vbar_el1, x9
    d2a80409  movz x9, #0x4020, lsl #16
    d61f0120  br x9
""")
TO_BODY = 0x17FF_FC00
"""A branch from after the body to its start."""
SINGLE = (0xD69F03E0, 0xD503207F, 0xD503205F, 0xD4000001, 0xD4000002, 0xD4000003, 0xD4200000, 0xD4400000)
"""ERET, WFI, WFE, SVC, HVC, SMC, BRK, HLT."""
DEVICES = (0xD2A10000, 0xD2A12000, 0xD2A10140, 0xD2A10100, 0xD2A80600)
"""MOVZ of the addresses of GICD, UART, GICR, GITS and of RAM, without the register."""
MSR_MRS = (0xD518_0000, 0xD538_0000, 0xD51B_0000, 0xD53B_0000)
CRN = (0, 1, 2, 4, 6, 9, 10, 12, 14)


def instruction(rng: random.Random) -> int:
    """A word that may be anything, most often something that reaches a device, a system register or an exception."""
    few = rng.randrange(8)
    base = rng.randrange(8) << 5
    anything = rng.randrange(32)
    match rng.randrange(10):
        case 0:
            return rng.choice(SINGLE)
        case 1:
            return rng.choice(DEVICES) | few
        case 2:
            return 0x9100_0000 | rng.getrandbits(12) << 10 | base | few
        case 3:  # MSR and MRS
            return rng.choice(MSR_MRS) | rng.choice(CRN) << 12 | rng.getrandbits(12)
        case 4:  # SYS: TLBI, IC, DC, AT
            return 0xD508_0000 | rng.getrandbits(19)
        case 5:  # exclusives
            return rng.getrandbits(2) << 30 | 0x0800_7C00 | rng.getrandbits(3) << 21 | few << 16 | base | anything
        case 6:
            return 0x5400_0000 | rng.randrange(1 << 19) % 64 << 5 | rng.randrange(16)
        case 7:
            return rng.getrandbits(32)
        case _:  # loads and stores
            return (
                rng.getrandbits(2) << 30 | 0x3900_0000 | rng.getrandbits(2) << 22 | rng.getrandbits(12) << 10
                | base | anything
            )


def run(seed: int, ticks: int = 30_000) -> int:
    """Run the guest of one seed and check its GIC. Returns: how many instructions it has executed."""
    rng = random.Random(seed)
    body = struct.pack(f"<{BODY + 1}I", *(instruction(rng) for _ in range(BODY)), TO_BODY)
    cpus = rng.choice((1, 2))
    with boot(body, cpus=cpus, quantum=rng.choice((7, 100, 20_000)), semihosting=False) as engine:
        for vector in range(16):
            put(engine, VECTORS + vector * 0x80, HANDLER)
        put(engine, SECOND, START)
        for index in range(1, cpus):
            engine.machine.power_on(engine.machine.cpus[index], SECOND)
        engine.run(ticks)
        engine.machine.check()
        return engine.instructions


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    executed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        print(f"seed {seed}", end="\r", flush=True)
        executed += run(seed)
    print(f"{arguments.seeds} guests, {executed} instructions")


if __name__ == "__main__":
    main()
