"""`attach`: one Unicorn program, one PE."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

import unicorn
from unicorn import arm64_const as reg
from unicorn_code import words

from gicv3 import ConfigError, GicError, GICv3, GICv3Config
from gicv3.unicorn import attach, reset

pytestmark = pytest.mark.guest

CODE, VECTORS, STACK0, STACK1 = 0x4000_0000, 0x4001_0000, 0x4002_0000, 0x4003_0000
IRQ_EL1H, FIQ_EL1H, IRQ_EL1T, IRQ_EL0, FIQ_EL0 = 0x280, 0x300, 0x080, 0x480, 0x500
EL0, EL1T, EL1H = 0, 4, 5
MASKED = 0x3C0

HANDLER = words("""
    d538cc02  mrs x2, S3_0_C12_C12_0      // ICC_IAR1_EL1
    d518cc22  msr S3_0_C12_C12_1, x2      // ICC_EOIR1_EL1
    d69f03e0  eret
""")


def make_gic(cpus: int = 2, group: int = 1) -> GICv3:
    """A GIC that delivers every SGI and PPI to PE 0, and SPI 40."""
    gic = GICv3(GICv3Config(cpus=cpus))
    gic.dist["GICD_CTLR"] = 3
    gic.dist["GICD_IGROUPR", 1] = 0xFFFF_FFFF
    gic.dist["GICD_ISENABLER", 1] = 1 << 8
    gic.redist[0]["GICR_WAKER"] = 0
    gic.redist[0]["GICR_IGROUPR0"] = 0xFFFF_FFFF if group else 0
    gic.redist[0]["GICR_ISENABLER0"] = 0xFFFF_FFFF
    gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    gic.pe[0]["ICC_IGRPEN0_EL1"] = gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    return gic


def make_uc(code: bytes, mode: int = EL1H, mask: int = 0) -> unicorn.Uc:
    """A Uc at `code` with handlers that acknowledge, end and return."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.mem_map(CODE, 0x40000)
    uc.mem_write(CODE, code)
    for vector in (IRQ_EL1H, FIQ_EL1H, IRQ_EL1T, IRQ_EL0, FIQ_EL0):
        uc.mem_write(VECTORS + vector, HANDLER)
    reset(uc, CODE)
    uc.reg_write(reg.UC_ARM64_REG_VBAR_EL1, VECTORS)
    # The stack pointer in use is kept apart from the banked ones.
    uc.reg_write(reg.UC_ARM64_REG_SP_EL0, STACK0)
    uc.reg_write(reg.UC_ARM64_REG_SP_EL1, STACK1)
    uc.reg_write(reg.UC_ARM64_REG_SP, STACK1 if mode == EL1H else STACK0)
    uc.reg_write(reg.UC_ARM64_REG_PSTATE, mode | mask)
    # Unicorn sees a new Exception level only when a system register is written: TPIDR_EL1.
    uc.reg_write(reg.UC_ARM64_REG_CP_REG, (13, 0, 3, 0, 4, 0))
    return uc


def sysreg(uc: unicorn.Uc, op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    return uc.reg_read(reg.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2))


SGI_TO_SELF = words("""
    d2800021  mov x1, #1                  // target list: PE 0
    f2a0a001  movk x1, #0x500, lsl #16    // INTID 5
    d518cba1  msr S3_0_C12_C11_5, x1      // ICC_SGI1R_EL1
    91000463  add x3, x3, #1
    91000463  add x3, x3, #1
""")


@pytest.mark.parametrize("count", [0, 100], ids=["uncounted", "counted"])
def test_interrupt_is_taken_right_after_the_access_that_caused_it(count: int) -> None:
    gic = make_gic()
    uc = make_uc(SGI_TO_SELF)
    attach(gic, uc)
    seen = []
    uc.hook_add(unicorn.UC_HOOK_CODE, lambda uc, pc, size, data: seen.append(pc))
    uc.emu_start(CODE, CODE + len(SGI_TO_SELF), count=count)
    vector = VECTORS + IRQ_EL1H
    assert seen == [CODE, CODE + 4, CODE + 8, vector, vector + 4, vector + 8, CODE + 12, CODE + 16]
    assert uc.reg_read(reg.UC_ARM64_REG_X2) == 5
    assert uc.reg_read(reg.UC_ARM64_REG_X3) == 2
    assert gic.counters(0)["sgi"] == 1
    gic.check()


def test_elr_spsr_and_pstate_are_those_of_an_exception_taken_to_el1() -> None:
    gic = make_gic()
    uc = make_uc(SGI_TO_SELF)
    attach(gic, uc)
    uc.reg_write(reg.UC_ARM64_REG_PSTATE, 0x6000_0000 | EL1H)
    uc.emu_start(CODE, VECTORS + IRQ_EL1H)
    assert uc.reg_read(reg.UC_ARM64_REG_ELR_EL1) == CODE + 12
    assert sysreg(uc, 3, 0, 4, 0, 0) == 0x6000_0000 | EL1H
    assert uc.reg_read(reg.UC_ARM64_REG_PSTATE) == 0x6000_0000 | MASKED | EL1H


def test_group_0_is_taken_as_fiq() -> None:
    gic = make_gic(group=0)
    uc = make_uc(SGI_TO_SELF)
    attach(gic, uc)
    gic.pulse_ppi(0, 20)
    uc.emu_start(CODE, VECTORS + FIQ_EL1H)
    assert uc.reg_read(reg.UC_ARM64_REG_PC) == VECTORS + FIQ_EL1H


@pytest.mark.parametrize(
    ("group", "mask", "taken"), [(1, 0x80, False), (1, 0x40, True), (0, 0x40, False), (0, 0x80, True)]
)
def test_pstate_masks_irq_and_fiq_apart(group: int, mask: int, taken: bool) -> None:
    gic = make_gic(group=group)
    port = attach(gic, make_uc(b"", mask=mask))
    gic.set_ppi(0, 20, True)
    assert port.take_interrupt() is taken


@pytest.mark.parametrize(
    ("mode", "vector", "stack"), [(EL0, IRQ_EL0, STACK1), (EL1T, IRQ_EL1T, STACK1), (EL1H, IRQ_EL1H, STACK1)]
)
def test_handler_gets_its_own_stack_and_eret_gives_back_the_other(mode: int, vector: int, stack: int) -> None:
    gic = make_gic()
    uc = make_uc(b"", mode=mode)
    port = attach(gic, uc)
    before = uc.reg_read(reg.UC_ARM64_REG_SP)
    uc.reg_write(reg.UC_ARM64_REG_PC, CODE)
    gic.set_spi(40, True)
    assert port.take_interrupt()
    assert port.pc == port.entered == VECTORS + vector
    assert uc.reg_read(reg.UC_ARM64_REG_SP) == stack
    uc.emu_start(port.pc, CODE)
    assert uc.reg_read(reg.UC_ARM64_REG_X2) == 40
    assert uc.reg_read(reg.UC_ARM64_REG_PC) == CODE
    assert uc.reg_read(reg.UC_ARM64_REG_PSTATE) == mode
    assert uc.reg_read(reg.UC_ARM64_REG_SP) == before


def test_nothing_is_taken_without_an_interrupt() -> None:
    port = attach(make_gic(), make_uc(b""))
    assert not port.take_interrupt()


READ_GIC = words("""
    d2a10000  mov x0, #0x08000000
    b9400401  ldr w1, [x0, #4]            // GICD_TYPER
    d2a00140  mov x0, #0x0a0000
    f2a10180  movk x0, #0x080c, lsl #16   // RD_base of PE 1
    f9400402  ldr x2, [x0, #8]            // GICR_TYPER
    52801403  mov w3, #0xa0
    d2a10000  mov x0, #0x08000000
    3910a003  strb w3, [x0, #0x428]       // GICD_IPRIORITYR10, INTID 40
""")


def test_frames_are_mapped_where_the_configuration_says() -> None:
    gic = make_gic()
    uc = make_uc(READ_GIC)
    attach(gic, uc)
    uc.emu_start(CODE, CODE + len(READ_GIC))
    assert uc.reg_read(reg.UC_ARM64_REG_X1) == gic.dist["GICD_TYPER"]
    assert uc.reg_read(reg.UC_ARM64_REG_X2) == gic.redist[1]["GICR_TYPER"]
    assert gic.dist["GICD_IPRIORITYR", 10] == 0xA0


READ_FIXED = words("""
    d2a10000  mov x0, #0x08000000
    b9400001  ldr w1, [x0]                // GICD_CTLR
    b9400402  ldr w2, [x0, #4]            // GICD_TYPER
    b9400803  ldr w3, [x0, #8]            // GICD_IIDR
    b9400c04  ldr w4, [x0, #12]           // GICD_TYPER2
    39401005  ldrb w5, [x0, #4]           // no such access
""")


@pytest.mark.parametrize("ds", [False, True])
def test_registers_that_tell_what_the_gic_is_are_read_as_they_are_now(ds: bool) -> None:
    gic = GICv3(GICv3Config(cpus=2, security=ds))
    uc = make_uc(READ_FIXED)
    attach(gic, uc)
    if ds:
        gic.mmio_write(0x0800_0000, 0x40, secure=True)
    uc.emu_start(CODE, CODE + len(READ_FIXED))
    read = [uc.reg_read(reg.UC_ARM64_REG_X1 + number) for number in range(4)]
    assert read == [gic.mmio_read(0x0800_0000 + 4 * word, secure=False) for word in range(4)]
    assert uc.reg_read(reg.UC_ARM64_REG_X5) == 0


def test_without_mmio_the_frames_are_left_to_the_caller() -> None:
    uc = make_uc(READ_GIC)
    attach(make_gic(), uc, mmio=False)
    with pytest.raises(unicorn.UcError, match="READ_UNMAPPED"):
        uc.emu_start(CODE, CODE + len(READ_GIC))


READ_PMR = words("""
    d538461d  mrs x29, S3_0_C4_C6_0       // ICC_PMR_EL1
    d538461e  mrs x30, S3_0_C4_C6_0
    d538cc1f  mrs xzr, S3_0_C12_C12_0     // ICC_IAR1_EL1, discarded
    d518461f  msr S3_0_C4_C6_0, xzr
""")


def test_every_general_register_can_be_used_also_the_zero_register() -> None:
    gic = make_gic()
    uc = make_uc(READ_PMR)
    attach(gic, uc)
    uc.emu_start(CODE, CODE + len(READ_PMR))
    assert uc.reg_read(reg.UC_ARM64_REG_X29) == uc.reg_read(reg.UC_ARM64_REG_X30) == 0xF8
    assert gic.pe[0]["ICC_PMR_EL1"] == 0


UNDEFINED = {
    "EL0 reads ICC_PMR_EL1": (EL0, words("""
        d5384600  mrs x0, S3_0_C4_C6_0
    """)),
    "EL0 writes ICC_PMR_EL1": (EL0, words("""
        d5184600  msr S3_0_C4_C6_0, x0
    """)),
    "ICC_IAR1_EL1 is written": (EL1H, words("""
        d518cc00  msr S3_0_C12_C12_0, x0
    """)),
    "ICC_EOIR1_EL1 is read": (EL1H, words("""
        d538cc20  mrs x0, S3_0_C12_C12_1
    """)),
    "ICC_AP1R3_EL1 needs more priority bits": (EL1H, words("""
        d538c960  mrs x0, S3_0_C12_C9_3
    """)),
    "ICC_SRE_EL3 is read at EL1": (EL1H, words("""
        d53ecca0  mrs x0, S3_6_C12_C12_5
    """)),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_undefined_access_stays_undefined(name: str) -> None:
    mode, code = UNDEFINED[name]
    uc = make_uc(code, mode=mode)
    gic = make_gic()
    attach(gic, uc)
    exceptions = []

    def on_exception(uc: unicorn.Uc, number: int, data: object) -> None:
        exceptions.append((number, uc.reg_read(reg.UC_ARM64_REG_PC)))
        uc.emu_stop()

    uc.hook_add(unicorn.UC_HOOK_INTR, on_exception)
    uc.emu_start(CODE, CODE + 4)
    assert exceptions == [(1, CODE)]
    assert gic.pe[0]["ICC_PMR_EL1"] == 0xF8


def test_what_a_callback_raises_comes_out_of_emu_start() -> None:
    gic = make_gic()
    uc = make_uc(SGI_TO_SELF)
    attach(gic, uc)

    def on_line(pe: int, line: object, level: bool) -> None:
        raise RuntimeError("from on_line")

    gic.on_line = on_line
    with pytest.raises(RuntimeError, match="from on_line"):
        uc.emu_start(CODE, CODE + len(SGI_TO_SELF))


def test_detach_by_a_callback_of_the_guest_is_refused_and_works_afterwards() -> None:
    gic = make_gic()
    uc = make_uc(SGI_TO_SELF)
    port = attach(gic, uc)
    gic.on_line = lambda pe, line, level: port.detach()
    with pytest.raises(GicError, match="PE 0 cannot be detached by a callback"):
        uc.emu_start(CODE, CODE + len(SGI_TO_SELF))
    port.detach()


def test_detach_leaves_a_uc_that_no_longer_knows_the_gic() -> None:
    gic = make_gic()
    uc = make_uc(READ_PMR)
    port = attach(gic, uc)
    uc.emu_start(CODE, CODE + 4)
    port.detach()
    port.detach()
    assert [region[:2] for region in uc.mem_regions()] == [(CODE, CODE + 0x3FFFF)]
    with pytest.raises(unicorn.UcError, match="EXCEPTION"):
        uc.emu_start(CODE, CODE + 4)


@pytest.mark.drops_gics
def test_port_uc_and_gic_can_be_collected() -> None:
    gic = make_gic()
    uc = make_uc(SGI_TO_SELF)
    port = attach(gic, uc)
    uc.emu_start(CODE, CODE + len(SGI_TO_SELF))
    refs = [weakref.ref(thing) for thing in (gic, uc, port)]
    del gic, uc, port
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]


def test_two_ucs_on_one_gic_send_each_other_sgis() -> None:
    gic = make_gic()
    ports = [attach(gic, make_uc(SGI_TO_SELF), pe) for pe in range(2)]
    ports[1].uc.emu_start(CODE, CODE + 12)
    assert not ports[1].take_interrupt()
    assert ports[0].take_interrupt()


def test_pe_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.\.1.*2"):
        attach(make_gic(cpus=2), make_uc(b""), pe=2)


@pytest.mark.parametrize(
    ("arch", "mode", "text"),
    [
        (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM, "uc must be opened for UC_ARCH_ARM64 .*got UC_ARCH_ARM$"),
        (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, "AArch64.*got UC_ARCH_X86$"),
        (unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_BIG_ENDIAN, "uc must be little-endian, .*got mode 0x40000000"),
    ],
)
@pytest.mark.parametrize("use", [lambda uc: attach(make_gic(), uc), reset], ids=["attach", "reset"])
def test_a_uc_that_does_not_run_little_endian_aarch64_is_refused(
    use: Callable[[unicorn.Uc], object], arch: int, mode: int, text: str
) -> None:
    uc = unicorn.Uc(arch, mode)
    with pytest.raises(ConfigError, match=text):
        use(uc)
    assert list(uc.mem_regions()) == []


def test_something_else_than_a_uc_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"uc must be a unicorn\.Uc, got 5"):
        attach(make_gic(), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("mmio", [True, False])
def test_a_second_attach_is_refused_until_the_first_is_detached(mmio: bool) -> None:
    gic, uc = make_gic(), make_uc(SGI_TO_SELF)
    port = attach(gic, uc, pe=1)
    with pytest.raises(ConfigError, match="uc is already attached to PE 1"):
        attach(gic, uc, mmio=mmio)
    port.detach()
    attach(gic, uc)
    uc.emu_start(CODE, CODE + len(SGI_TO_SELF))
    assert gic.counters(0)["sgi"] == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_port_cannot_be_copied(duplicate: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="UnicornPort cannot be copied or pickled"):
        duplicate(attach(make_gic(), make_uc(b"")))


def test_import_without_unicorn_says_what_to_install() -> None:
    code = "import sys; sys.modules['unicorn'] = None; import gicv3.unicorn"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError" in result.stderr
    assert "pip install 'gicv3[unicorn]'" in result.stderr
