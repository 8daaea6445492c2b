"""`UnicornMachine`: interrupts and exceptions, taken where a PE would take them."""

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

import unicorn
from unicorn import arm64_const as reg
from unicorn_code import words
from unicorn_rig import CODE, IRQ_EL1H, OFF, REPORT, SYNC_EL0, SYNC_EL1H, VECTORS, WINDOW, boot, put, x

from gicv3.unicorn import Stop, UnicornError, known, native

pytestmark = pytest.mark.guest



def test_interrupt_is_taken_in_a_window_of_one_instruction() -> None:
    with boot(WINDOW, quantum=1_000_000) as engine:
        for count in range(1, 20):
            assert engine.run() is Stop.IDLE
            assert x(engine, 20) == count - 1
            engine.gic.dist["GICD_ICFGR", 2] = 0xFFFF_FFFF
            engine.gic.pulse_spi(40)
        assert engine.run() is Stop.IDLE
        assert x(engine, 20) == 19


UNMASK_LATE = words("""
    d2802585  mov x5, #300
    f10004a5  loop: subs x5, x5, #1
    54ffffe1  b.ne loop
    d50342ff  msr daifclr, #2
    d2800026  mov x6, #1
    d2800027  mov x7, #1
""")
WHERE = words("""
    d5384029  mrs x9, elr_el1
""")


@pytest.mark.parametrize("version", [unicorn.__version__, "another"])
@pytest.mark.parametrize("quantum", [3, 100, 100_000])
def test_pending_interrupt_is_taken_at_the_instruction_after_unmasking(
    quantum: int, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "VERSION", version)
    with boot(UNMASK_LATE + OFF, quantum=quantum) as engine:
        put(engine, VECTORS + IRQ_EL1H, WHERE + OFF)
        engine.gic.set_spi(40, True)
        engine.run()
        assert x(engine, 9) == CODE + 16
        assert (x(engine, 5), x(engine, 6)) == (0, 0)


ROUTE_TO_SELF = words("""
    d2a10000  movz x0, #0x0800, lsl #16
    52802001  mov w1, #0x100
    d50342ff  msr daifclr, #2
    b9020401  str w1, [x0, #0x204]        // GICD_ISPENDR1: INTID 40
    d2800026  mov x6, #1
    f930a014  str x20, [x0, #0x6140]      // GICD_IROUTER40, with an interrupt just taken
    d2800027  mov x7, #1
""")


@pytest.mark.parametrize("version", [unicorn.__version__, "another"])
def test_store_that_makes_an_interrupt_pending_is_done_once_and_interrupted_after(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "VERSION", version)
    with boot(ROUTE_TO_SELF + OFF) as engine:
        engine.gic.dist["GICD_ICFGR", 2] = 0xFFFF_FFFF
        engine.run()
        assert x(engine, 20) == 1
        assert (x(engine, 6), x(engine, 7)) == (1, 1)
        assert engine.gic.dist["GICD_IROUTER", 40] == 1


READ_A_DEVICE = words("""
    d50342ff  msr daifclr, #2
    d2a16000  movz x0, #0x0b00, lsl #16
    b9400001  ldr w1, [x0]
    d2800026  mov x6, #1
""")


@pytest.mark.parametrize("quantum", [1, 7, 1000])
def test_an_interrupt_that_a_read_of_a_device_raises_is_taken_after_the_load(quantum: int) -> None:
    def read(address: int, size: int) -> int:
        engine.gic.set_spi(40, True)
        return 5

    with boot(READ_A_DEVICE + OFF, quantum=quantum) as engine:
        engine.cpu(0).map_device(0x0B00_0000, 0x1000, read, lambda address, value, size: None)
        put(engine, VECTORS + IRQ_EL1H, WHERE + OFF)
        assert engine.run(1000) is Stop.OFF
        assert (x(engine, 1), x(engine, 6), x(engine, 9)) == (5, 0, CODE + 12)


TAKE_AN_SGI = words("""
    d2800021  mov x1, #1
    d518cba1  msr S3_0_C12_C11_5, x1      // ICC_SGI1R_EL1: INTID 0 to PE 0
    d538cc05  mrs x5, S3_0_C12_C12_0      // ICC_IAR1_EL1
    d2800026  loop: mov x6, #1
    17ffffff  b loop
""")


@pytest.mark.parametrize("quantum", [1, 7, 1000])
def test_a_vcpu_that_a_callback_of_its_access_switches_off_runs_no_further(quantum: int) -> None:
    with boot(TAKE_AN_SGI, quantum=quantum) as engine:
        cpu = engine.machine.cpus[0]
        engine.gic.on_line = lambda pe, line, level: level or engine.machine.power_off(cpu)
        assert engine.run(1000) is Stop.IDLE
        assert (engine.instructions, x(engine, 6)) == (3, 0)


NOWHERE = 0x1000_0000
FAULTS = {
    "load": (words("""
        f9400001  ldr x1, [x0]
    """), 0x9600_0010, NOWHERE, CODE),
    "store": (words("""
        f9000001  str x1, [x0]
    """), 0x9600_0050, NOWHERE, CODE),
    "fetch": (words("""
        d61f0000  br x0
    """), 0x8600_0010, NOWHERE, NOWHERE),
    "undefined": (words("""
        00000000  udf #0
    """), 0x0200_0000, None, CODE),
    "SCR_EL3": (words("""
        d53e1101  mrs x1, S3_6_C1_C1_0
    """), 0x0200_0000, None, CODE),
    "ICC_AP1R3_EL1, which needs more priority bits": (words("""
        d538c960  mrs x0, S3_0_C12_C9_3
    """), 0x0200_0000, None, CODE),
    "ICC_EOIR1_EL1, which is read": (words("""
        d538cc20  mrs x0, S3_0_C12_C12_1
    """), 0x0200_0000, None, CODE),
    "ICC_IAR1_EL1, which is written": (words("""
        d518cc00  msr S3_0_C12_C12_0, x0
    """), 0x0200_0000, None, CODE),
    "svc": (words("""
        d40000e1  svc #7
    """), 0x5600_0007, None, CODE + 4),
    "brk": (words("""
        d4200060  brk #3
    """), 0xF200_0003, None, CODE),
    "smc": (words("""
        d4000003  smc #0
    """), 0x0200_0000, None, CODE),
}


@pytest.mark.parametrize("name", FAULTS)
def test_exception_tells_the_guest_what_and_where_and_never_raises(name: str) -> None:
    code, syndrome, address, elr = FAULTS[name]
    with boot(code, x0=NOWHERE) as engine:
        put(engine, VECTORS + SYNC_EL1H, REPORT + OFF)
        assert engine.run(1000) is Stop.OFF
        assert x(engine, 10) == syndrome
        assert address is None or x(engine, 11) == address
        assert x(engine, 12) == elr


def test_guest_without_a_vector_table_faults_for_ever_and_the_host_goes_on() -> None:
    with boot(FAULTS["load"][0], x0=NOWHERE) as engine:
        engine.cpu(0).uc.reg_write(reg.UC_ARM64_REG_VBAR_EL1, NOWHERE)
        assert engine.run(100) is Stop.LIMIT


TO_EL0 = words("""
    100000a1  adr x1, user
    d5184021  msr elr_el1, x1
    d518401f  msr spsr_el1, xzr
    d518e100  msr cntkctl_el1, x0
    d69f03e0  eret
    d53be042  user: mrs x2, cntvct_el0
    d4000021  svc #1
""")


@pytest.mark.parametrize(("cntkctl", "syndrome"), [(2, 0x5600_0001), (1, 0x6200_0000)])
def test_el0_reads_the_counter_if_cntkctl_lets_it(cntkctl: int, syndrome: int) -> None:
    with boot(TO_EL0, x0=cntkctl) as engine:
        put(engine, VECTORS + SYNC_EL0, REPORT + OFF)
        assert engine.run(1000) is Stop.OFF
        # A trapped register access has its encoding in the lower bits.
        assert x(engine, 10) & (0xFE00_0000 if cntkctl == 1 else 0xFFFF_FFFF) == syndrome
        assert x(engine, 2) == (6 if cntkctl == 2 else 0)


STEP = words("""
    d2940021  mov x1, #0xa001             // MDE, KDE, SS
    d5100241  msr mdscr_el1, x1
    d510109f  msr oslar_el1, xzr
    100000c0  adr x0, stepped
    d5184020  msr elr_el1, x0
    d28038a1  mov x1, #0x1c5
    f2a00401  movk x1, #0x20, lsl #16     // SS
    d5184001  msr spsr_el1, x1
    d69f03e0  eret
    d2800025  stepped: mov x5, #1
    d2800026  mov x6, #1
""")


def test_a_step_at_el1_ends_in_one_exception_whose_handler_is_not_stepped() -> None:
    with boot(STEP + OFF) as engine:
        put(engine, VECTORS + SYNC_EL1H, REPORT + OFF)
        assert engine.run(1000) is Stop.OFF
        assert (x(engine, 5), x(engine, 6)) == (1, 0)
        assert (x(engine, 10) >> 26, x(engine, 12)) == (0x33, CODE + 40)


ID_REGISTERS = words("""
    d5380401  mrs x1, id_aa64pfr0_el1
    d53800a2  mrs x2, mpidr_el1
    d5384243  mrs x3, currentel
""")


def test_id_registers_tell_of_the_gic_and_of_no_higher_exception_level() -> None:
    with boot(ID_REGISTERS + OFF) as engine:
        engine.run()
        assert (x(engine, 1), x(engine, 2), x(engine, 3)) == (0x0100_0011, 0x8000_0000, 4)


READ_ON = words("""
    aa0003f3  mov x19, x0
    d538cc01  mrs x1, S3_0_C12_C12_0      // ICC_IAR1_EL1
    d538cb62  mrs x2, S3_0_C12_C11_3      // ICC_RPR_EL1
    d5384603  mrs x3, S3_0_C4_C6_0        // ICC_PMR_EL1
    d518cc21  msr S3_0_C12_C12_1, x1      // ICC_EOIR1_EL1
    d538cb64  mrs x4, S3_0_C12_C11_3
    d5184600  msr S3_0_C4_C6_0, x0
    d5384605  mrs x5, S3_0_C4_C6_0
""")


@pytest.mark.parametrize("version", [unicorn.__version__, "another"])
def test_icc_registers_read_on_in_a_row_whether_unicorn_is_told_of_them_or_not(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "VERSION", version)
    with boot(READ_ON + OFF, x0=0xA0) as engine:
        engine.gic.set_spi(40, True)
        assert engine.run(1000) is Stop.OFF
        assert [x(engine, number) for number in range(1, 6)] == [40, 0, 0xF8, 0xFF, 0xA0]
        assert engine.instructions == 11


def test_a_unicorn_that_does_not_take_a_definition_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MARK", 1 << 64)
    with pytest.raises(UnicornError, match="S3_0_C4_C6_0"):
        boot(OFF)
