"""An emulator without Unicorn: a CPU of seven instructions takes interrupts from the GIC.

python examples/toy_cpu.py prints what the CPU did.
"""

from gicv3 import GICv3, GICv3Config

TIMER = 27      # a PPI
PROGRAM = [("store", 0x0800_0000, 0x2),          # GICD_CTLR: Group 1
           ("store", 0x080A_0014, 0x0),          # GICR_WAKER: awake
           ("store", 0x080B_0080, 1 << TIMER),   # GICR_IGROUPR0
           ("store", 0x080B_0100, 1 << TIMER),   # GICR_ISENABLER0
           ("msr", "ICC_PMR_EL1", 0xF0), ("msr", "ICC_IGRPEN1_EL1", 1), ("unmask",), ("wfi",), ("jump", 7)]
HANDLER = [("mrs", "ICC_IAR1_EL1"), ("ack",), ("msr", "ICC_EOIR1_EL1", None), ("eret",)]


class ToyCpu:
    """A vCPU whose registers are one number, `x0`."""

    def __init__(self, gic: GICv3, index: int, ack: object) -> None:
        self.gic, self.index, self.ack = gic, index, ack
        self.code, self.pc, self.x0, self.masked, self.back = PROGRAM, 0, 0, True, 0

    def step(self) -> bool:
        """Execute one instruction, or take an interrupt before it; False while the CPU sleeps in WFI."""
        pending = self.gic.line(self.index) & 1  # the IRQ output: one byte, no lock
        if pending and not self.masked:
            self.code, self.pc, self.back, self.masked = HANDLER, 0, self.pc, True
        match self.code[self.pc]:
            case ("store", address, value):
                self.gic.mmio_write(address, value, 4, pe=self.index)
            case ("msr", register, value):
                self.gic.sysreg_write(self.index, register, self.x0 if value is None else value)
            case ("mrs", register):
                self.x0 = self.gic.sysreg_read(self.index, register)
            case ("ack",):
                self.ack(self.x0)                # the device's own acknowledgement: its wire falls
            case ("unmask",):
                self.masked = False
            case ("wfi",) if not pending:
                return False
            case ("jump", target):
                self.pc = target - 1
            case ("eret",):
                self.code, self.pc, self.masked = PROGRAM, self.back - 1, False
        self.pc += 1
        return True


def main(ticks: int = 3) -> None:
    """Run the CPU until it sleeps, tick its timer, and again."""
    gic = GICv3(GICv3Config(cpus=1))

    def acknowledge(intid: int) -> None:
        print(f"interrupt {intid}")
        gic.set_ppi(0, intid, False)

    cpu = ToyCpu(gic, 0, acknowledge)
    for tick in range(ticks):
        while cpu.step():
            pass
        print(f"asleep at {cpu.pc}, tick {tick}")
        gic.set_ppi(0, TIMER, True)
    while cpu.step():
        pass


if __name__ == "__main__":
    main()
