"""`UnicornMachine`: small programs on one or a few vCPUs. The whole SMP guest is in test_unicorn_guest.py."""

import copy
import gc
import struct
import threading
import weakref

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn import arm64_const as reg
from unicorn_code import words

from gicv3 import ConfigError, GicError
from gicv3.machine import VirtMachine
from gicv3.unicorn import CPU_MODELS, Stop, UnicornError, UnicornMachine, layout
from gicv3.vcpu import PowerState

pytestmark = pytest.mark.guest

RAM, CODE, VECTORS, SECOND, DATA = 0x4000_0000, 0x4020_0000, 0x4021_0000, 0x4022_0000, 0x4030_0000
X0, X1 = reg.UC_ARM64_REG_X0, reg.UC_ARM64_REG_X1
SYNC_EL1H, IRQ_EL1H, SYNC_EL0 = 0x200, 0x280, 0x400

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


# Starting and stopping

HELLO = words("""
    d2a12001  movz x1, #0x0900, lsl #16   // UARTDR
    52800d02  mov w2, #'h'
    b9000022  str w2, [x1]
    52800d22  mov w2, #'i'
    b9000022  str w2, [x1]
""")


def test_image_starts_at_its_load_address_with_x0_and_ends_with_system_off() -> None:
    sent: list[bytes] = []
    with boot(HELLO + OFF, x0=0x1234, output=sent.append) as engine:
        assert x(engine, 0) == 0x1234
        assert engine.cpu(0).pc == CODE
        assert engine.run() is Stop.OFF
        assert engine.run() is Stop.OFF
        assert b"".join(sent) == b"hi"
        assert engine.instructions == engine.clock == 8


def test_image_may_be_a_path(tmp_path) -> None:
    path = tmp_path / "guest.bin"
    path.write_bytes(OFF)
    with boot(path) as engine:  # type: ignore[arg-type]
        assert engine.run() is Stop.OFF


RESET_ONCE = words("""
    d2a80601  movz x1, #0x4030, lsl #16
    f9400022  ldr x2, [x1]
    91000442  add x2, x2, #1
    f9000022  str x2, [x1]
    f100085f  cmp x2, #2
    54000080  b.eq off
    d2b08000  movz x0, #0x8400, lsl #16   // PSCI SYSTEM_RESET
    f2800120  movk x0, #9
    d4000002  hvc #0
    d2b08000  off: movz x0, #0x8400, lsl #16
    f2800100  movk x0, #8
    d4000002  hvc #0
""")


def test_time_that_passed_before_a_callback_raised_has_passed() -> None:
    def fail(data: bytes) -> None:
        raise RuntimeError(data)

    with boot(HELLO + OFF, output=fail) as engine:
        for character, instructions in (("h", 3), ("i", 5)):
            with pytest.raises(RuntimeError, match=character):
                engine.run()
            assert engine.instructions == engine.clock == instructions
        assert engine.run() is Stop.OFF
        assert engine.instructions == engine.clock == 8


def test_system_reset_comes_back_and_boot_starts_the_guest_again() -> None:
    with boot(RESET_ONCE) as engine:
        assert engine.run() is Stop.RESET
        engine.boot()
        assert engine.run() is Stop.OFF
        assert peek(engine) == 2
        engine.boot()
        assert engine.run() is Stop.RESET


LOOP = words("""
    91000421  add x1, x1, #1
    17ffffff  b .-4
""")
SLEEP = words("""
    d503207f  wfi
    91000421  add x1, x1, #1
    17fffffe  b .-8
""")


@pytest.mark.parametrize("quantum", [1, 7, 1000])
def test_run_executes_exactly_the_ticks_asked_for(quantum: int) -> None:
    with boot(LOOP, quantum=quantum) as engine:
        for ticks in (1, 2, 999):
            assert engine.run(ticks) is Stop.LIMIT
        assert engine.clock == engine.instructions == 1002
        assert x(engine, 1) == 501


def test_guest_that_waits_for_the_host_is_idle_and_an_interrupt_wakes_it() -> None:
    with boot(SLEEP) as engine:
        assert engine.run() is Stop.IDLE
        assert engine.run(10) is Stop.IDLE
        assert (engine.instructions, x(engine, 1)) == (1, 0)
        engine.gic.set_spi(40, True)
        assert engine.run(30) is Stop.LIMIT
        # Masked, it ends WFI all the same and stays pending, so WFI no longer waits.
        assert x(engine, 1) == 10


def test_stop_and_post_reach_a_run_that_waits() -> None:
    with boot(SLEEP) as engine:
        threads = [threading.Timer(0.05, lambda: engine.post(lambda: engine.gic.set_spi(40, True)))]
        threads.append(threading.Timer(0.2, engine.stop))
        for thread in threads:
            thread.start()
        assert engine.run(wait=True) is Stop.STOPPED
        assert x(engine, 1) > 0
        for thread in threads:
            thread.join()


def test_what_a_callback_raises_comes_out_of_run() -> None:
    def output(data: bytes) -> None:
        raise RuntimeError("from the UART")

    with boot(HELLO + OFF, output=output) as engine, pytest.raises(RuntimeError, match="from the UART"):
        engine.run()


# Time

TWO_READS = words("""
    d503201f  nop
    d53be041  mrs x1, cntvct_el0
    d53be022  mrs x2, cntpct_el0
    d53be003  mrs x3, cntfrq_el0
""")


def test_counter_counts_instructions() -> None:
    with boot(TWO_READS + OFF) as engine:
        engine.run()
        assert (x(engine, 1), x(engine, 2), x(engine, 3)) == (2, 3, engine.timers.frequency)


TIMER = words("""
    d2a07d01  movz x1, #1000, lsl #16
    d51be341  msr cntv_cval_el0, x1
    d2800022  mov x2, #1
    d51be322  msr cntv_ctl_el0, x2
    d503207f  wfi
    d53be043  mrs x3, cntvct_el0
    d53be324  mrs x4, cntv_ctl_el0
""")


def test_sleeping_guest_costs_the_host_nothing_until_its_timer() -> None:
    with boot(TIMER + OFF) as engine:
        engine.run()
        assert x(engine, 3) == (1000 << 16) + 1
        assert x(engine, 4) == 5
        assert engine.instructions == 10


TIMER_BUSY = words("""
    d53be041  mrs x1, cntvct_el0
    9107d021  add x1, x1, #500
    d51be341  msr cntv_cval_el0, x1
    d2800022  mov x2, #1
    d51be322  msr cntv_ctl_el0, x2
    d50342ff  msr daifclr, #2
    14000000  loop: b loop
""")
TIMER_HANDLER = words("""
    d53be043  mrs x3, cntvct_el0
    d538cc15  mrs x21, S3_0_C12_C12_0
    d51be33f  msr cntv_ctl_el0, xzr
    d518cc35  msr S3_0_C12_C12_1, x21
""")


@pytest.mark.parametrize("quantum", [10, 1000, 1_000_000])
def test_timer_interrupt_comes_at_its_tick_whatever_the_quantum(quantum: int) -> None:
    with boot(TIMER_BUSY, quantum=quantum) as engine:
        put(engine, VECTORS + IRQ_EL1H, TIMER_HANDLER + OFF)
        assert engine.run(10_000) is Stop.OFF
        assert x(engine, 3) == x(engine, 1) + 1
        assert x(engine, 21) == 27


# Interrupts

WINDOW = words("""
    d503207f  loop: wfi
    d50342ff  msr daifclr, #2
    d5033fdf  isb
    d50342df  msr daifset, #2
    17fffffc  b loop
""")


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


@pytest.mark.parametrize("quantum", [3, 100, 100_000])
def test_pending_interrupt_is_taken_at_the_instruction_after_unmasking(quantum: int) -> None:
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


def test_store_that_makes_an_interrupt_pending_is_done_once_and_interrupted_after() -> None:
    with boot(ROUTE_TO_SELF + OFF) as engine:
        engine.gic.dist["GICD_ICFGR", 2] = 0xFFFF_FFFF
        engine.run()
        assert x(engine, 20) == 1
        assert (x(engine, 6), x(engine, 7)) == (1, 1)
        assert engine.gic.dist["GICD_IROUTER", 40] == 1


# Exceptions

REPORT = words("""
    d538520a  mrs x10, esr_el1
    d538600b  mrs x11, far_el1
    d538402c  mrs x12, elr_el1
""")
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


ID_REGISTERS = words("""
    d5380401  mrs x1, id_aa64pfr0_el1
    d53800a2  mrs x2, mpidr_el1
    d5384243  mrs x3, currentel
""")


def test_id_registers_tell_of_the_gic_and_of_no_higher_exception_level() -> None:
    with boot(ID_REGISTERS + OFF) as engine:
        engine.run()
        assert (x(engine, 1), x(engine, 2), x(engine, 3)) == (0x0100_0011, 0x8000_0000, 4)


# Several vCPUs

SECONDARY = words("""
    d2a80601  movz x1, #0x4030, lsl #16
    f9400022  ldr x2, [x1]
    91000442  add x2, x2, #1
    f9000022  str x2, [x1]                // starts
    f9000420  str x0, [x1, #8]            // context
    d53800a3  mrs x3, mpidr_el1
    f9000823  str x3, [x1, #16]
    f9000c33  str x19, [x1, #24]          // what the last start left behind
    d28009b3  mov x19, #77
    d2b08000  movz x0, #0x8400, lsl #16   // PSCI CPU_OFF
    f2800040  movk x0, #2
    d4000002  hvc #0
""")
STARTER = words("""
    d2800054  mov x20, #2
    d2b88000  again: movz x0, #0xc400, lsl #16    // PSCI CPU_ON
    f2800060  movk x0, #3
    d2800021  mov x1, #1
    d2a80442  movz x2, #0x4022, lsl #16
    d2800543  mov x3, #42
    d4000002  hvc #0
    aa0003f5  mov x21, x0
    d2b88000  wait: movz x0, #0xc400, lsl #16     // PSCI AFFINITY_INFO
    f2800080  movk x0, #4
    d2800021  mov x1, #1
    d2800002  mov x2, #0
    d4000002  hvc #0
    f100041f  cmp x0, #1
    54ffff41  b.ne wait
    f1000694  subs x20, x20, #1
    54fffe21  b.ne again
    d2b88000  movz x0, #0xc400, lsl #16
    f2800060  movk x0, #3
    d2800041  mov x1, #2                          // possible, absent
    d4000002  hvc #0
    aa0003f6  mov x22, x0
""")


@pytest.mark.parametrize("quantum", [1, 50, 10_000])
def test_guest_starts_a_vcpu_that_switches_itself_off_and_starts_it_again(quantum: int) -> None:
    with boot(STARTER + OFF, cpus=2, max_cpus=3, quantum=quantum) as engine:
        put(engine, SECOND, SECONDARY)
        assert engine.run(100_000) is Stop.OFF
        assert x(engine, 21) == 0
        assert x(engine, 22) == 2**64 - 3
        assert [peek(engine, DATA + offset) for offset in (0, 8, 16, 24)] == [2, 42, 0x8000_0001, 0]
        assert engine.machine.cpus[1].power_state is PowerState.OFF


ADD_ATOMICALLY = words("""
    d2a80601  movz x1, #0x4030, lsl #16
    d2807d04  mov x4, #1000
    c85f7c22  again: ldxr x2, [x1]
    91000442  add x2, x2, #1
    c8037c22  stxr w3, x2, [x1]
    35ffffa3  cbnz w3, again
    f1000484  subs x4, x4, #1
    54ffff61  b.ne again
    d503207f  wfi
    17ffffff  b .-4
""")


@pytest.mark.parametrize("quantum", [3, 7, 1000])
def test_exclusive_accesses_of_four_vcpus_lose_nothing(quantum: int) -> None:
    with boot(ADD_ATOMICALLY, cpus=4, quantum=quantum) as engine:
        for index in (1, 2, 3):
            engine.machine.power_on(engine.machine.cpus[index], CODE)
        assert engine.run() is Stop.IDLE
        assert peek(engine) == 4000


CALLER = words("""
    d2a80601  movz x1, #0x4030, lsl #16
    94000003  again: bl function
    f9000020  str x0, [x1]
    17fffffe  b again
    d2800020  function: mov x0, #1
    d65f03c0  ret
""")
PATCHER = words("""
    d2a80601  movz x1, #0x4030, lsl #16
    f9400022  wait: ldr x2, [x1]
    b4ffffe2  cbz x2, wait
    d2a80443  movz x3, #0x4022, lsl #16
    18000184  ldr w4, new
    b9001064  str w4, [x3, #16]
    91004063  add x3, x3, #16
    d50b7b23  dc cvau, x3
    d5033f9f  dsb sy
    d50b7523  ic ivau, x3
    d5033f9f  dsb sy
    d5033fdf  isb
    f9400022  wait2: ldr x2, [x1]
    f100085f  cmp x2, #2
    54ffffc1  b.ne wait2
    14000002  b .+8
    d2800040  new: mov x0, #2
""")


def test_code_that_one_vcpu_changes_is_seen_by_another_after_ic_ivau() -> None:
    with boot(PATCHER + OFF, cpus=2) as engine:
        put(engine, SECOND, CALLER)
        engine.machine.power_on(engine.machine.cpus[1], SECOND)
        assert engine.run(100_000) is Stop.OFF


MMU_ON = words("""
    d2a80801  movz x1, #0x4040, lsl #16   // translation tables, made by the host
    d5182001  msr ttbr0_el1, x1
    d2800321  movz x1, #0x19              // TCR_EL1: 39-bit addresses, 4 KiB pages, no TTBR1 walks
    f2a01001  movk x1, #0x80, lsl #16
    d5182041  msr tcr_el1, x1
    d2801fe1  mov x1, #0xff               // MAIR_EL1: attribute 0 is Normal
    d518a201  msr mair_el1, x1
    d5033fdf  isb
    d5381001  mrs x1, sctlr_el1
    b2400021  orr x1, x1, #1
    d5181001  msr sctlr_el1, x1
    d5033fdf  isb
    d2b00003  movz x3, #0x8000, lsl #16
""")
READ_PAGE = words("""
    f9400064  again: ldr x4, [x3]
    d2a80605  movz x5, #0x4030, lsl #16
    f90000a4  str x4, [x5]
    17fffffd  b again
""")
CHANGE_PAGE = words("""
    d2a80605  movz x5, #0x4030, lsl #16
    f94000a4  wait: ldr x4, [x5]
    f100049f  cmp x4, #1
    54ffffc1  b.ne wait
    d2a80806  movz x6, #0x4040, lsl #16
    f95004c7  ldr x7, [x6, #0x2008]       // the entry after the one in use
    f91000c7  str x7, [x6, #0x2000]
    d5033f9f  dsb sy
    d508831f  tlbi vmalle1is
    d5033f9f  dsb sy
    d5033fdf  isb
    f94000a4  wait2: ldr x4, [x5]
    f100089f  cmp x4, #2
    54ffffc1  b.ne wait2
""")


def make_tables(engine: UnicornMachine) -> None:
    """Identity for the second gigabyte; 2 MiB of it at 0x8000_0000, and behind that entry one to take its place."""
    block, table = 0x701, 3
    put(engine, 0x4040_0008, struct.pack("<QQ", 0x4000_0000 | block, 0x4040_2000 | table))
    put(engine, 0x4040_2000, struct.pack("<QQ", 0x4060_0000 | block, 0x4080_0000 | block))
    put(engine, 0x4060_0000, struct.pack("<Q", 1))
    put(engine, 0x4080_0000, struct.pack("<Q", 2))


def test_tlb_maintenance_of_one_vcpu_reaches_the_other() -> None:
    with boot(MMU_ON + CHANGE_PAGE + OFF, cpus=2) as engine:
        make_tables(engine)
        put(engine, SECOND, MMU_ON + READ_PAGE)
        engine.machine.power_on(engine.machine.cpus[1], SECOND)
        assert engine.run(100_000) is Stop.OFF
        assert peek(engine) == 2


LOAD_NOTHING = words("""
    d2b00403  movz x3, #0x8020, lsl #16
    f9400064  ldr x4, [x3]                // mapped, to where there is no RAM
""")


@pytest.mark.parametrize(("entry", "syndrome"), [(0x8000_0000 | 0x701, 0x9600_0410), (0, 0x9600_0006)])
def test_aborts_with_the_mmu_on(entry: int, syndrome: int) -> None:
    with boot(MMU_ON + LOAD_NOTHING) as engine:
        make_tables(engine)
        put(engine, 0x4040_2008, struct.pack("<Q", entry))
        put(engine, VECTORS + SYNC_EL1H, REPORT + OFF)
        assert engine.run(1000) is Stop.OFF
        assert x(engine, 10) == syndrome
        # The external abort says that FAR is not valid; the translation fault has it.
        assert syndrome & 0x400 or x(engine, 11) == 0x8020_0000


def test_interrupt_is_taken_in_a_window_also_with_the_mmu_on() -> None:
    with boot(MMU_ON + WINDOW, quantum=100_000) as engine:
        make_tables(engine)
        assert engine.run() is Stop.IDLE
        engine.gic.dist["GICD_ICFGR", 2] = 0xFFFF_FFFF
        engine.gic.pulse_spi(40)
        assert engine.run() is Stop.IDLE
        assert x(engine, 20) == 1


def test_run_is_repeatable() -> None:
    def once() -> tuple[int, int, bytes]:
        with boot(STARTER + OFF, cpus=2, max_cpus=3, quantum=13) as engine:
            put(engine, SECOND, SECONDARY)
            engine.run()
            return engine.clock, engine.instructions, bytes(engine.memory[DATA - RAM : DATA - RAM + 64])

    assert once() == once()


# Plugging, closing, mistakes

def test_plugged_vcpu_has_a_uc_until_it_is_unplugged() -> None:
    with boot(SLEEP, cpus=1, max_cpus=2) as engine:
        engine.machine.device_add(id="second", core_id=1)
        uc = weakref.ref(engine.cpu(1).uc)
        engine.machine.device_del("second")
        engine.machine.complete_unplug("second")
        assert uc() is None
        with pytest.raises(KeyError):
            engine.cpu(1)


def test_close_lets_go_of_the_machine_which_another_can_then_drive() -> None:
    machine = VirtMachine(cpus=1, max_cpus=2)
    engine = UnicornMachine(machine, image=OFF)
    members = len(machine.cpuhp_notifiers)
    engine.close()
    engine.close()
    assert engine.closed
    assert len(machine.cpuhp_notifiers) == members - 1
    assert machine.on_power is machine.on_system_off is machine.on_system_reset is None
    with pytest.raises(GicError, match="closed"):
        engine.run()
    with UnicornMachine(machine, image=OFF) as other:
        assert other.run() is Stop.OFF


def test_a_second_engine_is_refused() -> None:
    machine = VirtMachine(cpus=1, max_cpus=2)
    with UnicornMachine(machine, image=OFF) as engine:
        with pytest.raises(ConfigError, match="another drives"):
            UnicornMachine(machine, image=OFF)
        assert engine.run() is Stop.OFF


def test_an_engine_cannot_be_copied() -> None:
    engine = UnicornMachine(VirtMachine(cpus=1), image=OFF)
    with pytest.raises(TypeError, match="UnicornMachine cannot be copied or pickled"):
        copy.copy(engine)


def test_engine_can_be_collected_while_its_machine_stays() -> None:
    machine = VirtMachine(cpus=2, max_cpus=3)
    engine = UnicornMachine(machine, image=SLEEP)
    engine.run()
    refs = [weakref.ref(engine), weakref.ref(engine.cpu(0).uc), weakref.ref(engine.cpu(1))]
    del engine
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]
    assert machine.on_power is None
    machine.device_add(id="third", core_id=2)
    machine.check()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quantum": 0}, r"quantum must be in 1\.\..*got 0"),
        ({"ram": (0x4000_0000, 100)}, "whole pages of 4096 bytes, got 0x64"),
        ({"ram": (0x4000_0000, 0)}, "whole pages"),
        ({"load_address": 0x3FFF_FFFF}, "not within the RAM"),
        ({"load_address": 0x4100_0000}, "not within the RAM"),
        ({"cpu_model": "pentium"}, "cpu_model must be one of cortex-a53.*got 'pentium'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        UnicornMachine(VirtMachine(cpus=1), image=OFF, **options)  # type: ignore[arg-type]


def test_run_refuses_less_than_a_tick() -> None:
    with boot(OFF) as engine, pytest.raises(ConfigError, match="at least 1, got 0"):
        engine.run(0)


@pytest.mark.parametrize("model", CPU_MODELS)
def test_every_cpu_model_runs(model: str) -> None:
    with boot(TIMER + OFF, cpu_model=model) as engine:
        assert engine.run() is Stop.OFF


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("_STRUCT_BYTES", 64, "instruction counter"), ("_DATA_ABORT_EL1", 0x3E, "exception syndrome")],
)
def test_unicorn_that_is_laid_out_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, text: str
) -> None:
    monkeypatch.setattr(layout, name, value)
    with pytest.raises(UnicornError, match=f"keeps its {text} in an unknown place"):
        layout.probe.__wrapped__(0)


def test_a_guest_whose_every_fetch_faults_uses_its_ticks_and_returns():
    """The MMU on without tables: the vector faults as well, and no instruction is ever counted."""
    code = words("""
        d2800021  mov x1, #1
        d5181001  msr sctlr_el1, x1
        d5033fdf  isb
        d503201f  nop
    """)
    with boot(code, quantum=10) as engine:
        assert engine.run(100) is Stop.LIMIT
        assert engine.run(100) is Stop.LIMIT
        assert engine.clock == 200
