"""Give a Unicorn program of your own a GICv3: the guest sends itself an interrupt and takes it."""

import struct

import unicorn
from unicorn import arm64_const as reg

import gicv3
from gicv3.unicorn import attach, reset

CODE, VECTORS = 0x4000_0000, 0x4000_1000

PROGRAM = struct.pack(
    "<8I",
    0xD2A80000,  # movz x0, #0x4000, lsl #16
    0xF2820000,  # movk x0, #0x1000
    0xD518C000,  # msr vbar_el1, x0
    0xD50342FF,  # msr daifclr, #2
    0xD2800021,  # mov x1, #1                  target list: Aff0 0
    0xF2A0A001,  # movk x1, #0x500, lsl #16    INTID 5
    0xD518CBA1,  # msr icc_sgi1r_el1, x1
    0xD503201F,  # nop
)
IRQ_HANDLER = struct.pack(
    "<4I",
    0xD538CC02,  # mrs x2, icc_iar1_el1
    0x91000463,  # add x3, x3, #1
    0xD518CC22,  # msr icc_eoir1_el1, x2
    0xD69F03E0,  # eret
)


def main() -> None:
    """Run the program and print what its handler saw."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=1))
    # What a driver would do first; the guest could as well, by loads and stores to 0x0800_0000 and 0x080A_0000.
    gic.dist["GICD_CTLR"] = 2
    gic.redist[0]["GICR_WAKER"] = 0
    gic.redist[0]["GICR_IGROUPR0"] = gic.redist[0]["GICR_ISENABLER0"] = 0xFFFF_FFFF
    gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1

    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(CODE, 0x10000)
    uc.mem_write(CODE, PROGRAM)
    uc.mem_write(VECTORS + 0x280, IRQ_HANDLER)
    reset(uc, CODE)
    port = attach(gic, uc, pe=0)

    uc.emu_start(CODE, CODE + len(PROGRAM))
    print(f"the handler ran {uc.reg_read(reg.UC_ARM64_REG_X3)} time, for INTID {uc.reg_read(reg.UC_ARM64_REG_X2)}")

    # An interrupt from outside: take it, then let the handler run until it returns.
    gic.set_ppi(0, 27, True)
    resume = port.pc
    if port.take_interrupt():
        uc.emu_start(port.pc, resume)
    gic.set_ppi(0, 27, False)
    print(f"the handler ran {uc.reg_read(reg.UC_ARM64_REG_X3)} times, for INTID {uc.reg_read(reg.UC_ARM64_REG_X2)}")


if __name__ == "__main__":
    main()
