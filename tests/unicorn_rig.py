"""A rig for tests of `UnicornMachine`: a machine with a small program, and what it left in registers and memory."""

import importlib.util
import struct
from pathlib import Path
from types import ModuleType

from unicorn import arm64_const as reg
from unicorn_code import words

from gicv3.machine import VirtMachine
from gicv3.unicorn import UnicornMachine

EXAMPLES = Path(__file__).parent.parent / "examples"
RAM, CODE, VECTORS, SECOND, DATA = 0x4000_0000, 0x4020_0000, 0x4021_0000, 0x4022_0000, 0x4030_0000
X0, X1 = reg.UC_ARM64_REG_X0, reg.UC_ARM64_REG_X1
SYNC_EL1H, IRQ_EL1H, SYNC_EL0 = 0x200, 0x280, 0x400

HI = words("""
    d2a12001  movz x1, #0x0900, lsl #16   // UARTDR
    52800d02  mov w2, #'h'
    b9000022  str w2, [x1]
    52800d22  mov w2, #'i'
    b9000022  str w2, [x1]
""")
OFF = words("""
    d2b08000  movz x0, #0x8400, lsl #16   // PSCI SYSTEM_OFF
    f2800100  movk x0, #8
    d4000002  hvc #0
""")
COUNT_IRQ = words("""
    d538cc15  mrs x21, S3_0_C12_C12_0     // ICC_IAR1_EL1
    91000694  add x20, x20, #1
    d518cc35  msr S3_0_C12_C12_1, x21     // ICC_EOIR1_EL1
    d69f03e0  eret
""")
WINDOW = words("""
    d503207f  loop: wfi
    d50342ff  msr daifclr, #2
    d5033fdf  isb
    d50342df  msr daifset, #2
    17fffffc  b loop
""")
REPORT = words("""
    d538520a  mrs x10, esr_el1
    d538600b  mrs x11, far_el1
    d538402c  mrs x12, elr_el1
""")


def boot(code: bytes, cpus: int = 1, max_cpus: int | None = None, **options: object) -> UnicornMachine:
    """A machine with `code` at its boot vCPU, a GIC that lets everything through, and counting IRQ handlers."""
    machine = VirtMachine(cpus=cpus, max_cpus=max_cpus or cpus)
    engine = UnicornMachine(machine, image=code, **options)  # type: ignore[arg-type]
    put(engine, VECTORS + IRQ_EL1H, COUNT_IRQ)
    engine.cpu(0).uc.reg_write(reg.UC_ARM64_REG_VBAR_EL1, VECTORS)
    gic = machine.gic
    gic.dist["GICD_CTLR"] = 3
    gic.dist["GICD_IGROUPR", 1] = gic.dist["GICD_ISENABLER", 1] = 0xFFFF_FFFF
    gic.redist[0]["GICR_WAKER"] = 0
    gic.redist[0]["GICR_IGROUPR0"] = gic.redist[0]["GICR_ISENABLER0"] = 0xFFFF_FFFF
    gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    return engine


def put(engine: UnicornMachine, address: int, data: bytes) -> None:
    engine.memory[address - RAM : address - RAM + len(data)] = data


def peek(engine: UnicornMachine, address: int = DATA) -> int:
    return int(struct.unpack_from("<Q", engine.memory, address - RAM)[0])


def x(engine: UnicornMachine, number: int, cpu: int = 0) -> int:
    register = reg.UC_ARM64_REG_X0 + number if number < 29 else reg.UC_ARM64_REG_X29 + number - 29
    return int(engine.cpu(cpu).uc.reg_read(register))


def example(name: str) -> ModuleType:
    """A program of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
