"""`UnicornMachine`: several vCPUs over one memory, with and without the MMU."""

import struct

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_code import words
from unicorn_rig import CODE, DATA, OFF, RAM, REPORT, SECOND, SYNC_EL1H, VECTORS, WINDOW, boot, peek, put, x

from gicv3.unicorn import Stop, UnicornMachine
from gicv3.vcpu import PowerState

pytestmark = pytest.mark.guest

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


def test_run_is_repeatable() -> None:
    def once() -> tuple[int, int, bytes]:
        with boot(STARTER + OFF, cpus=2, max_cpus=3, quantum=13) as engine:
            put(engine, SECOND, SECONDARY)
            engine.run()
            return engine.clock, engine.instructions, bytes(engine.memory[DATA - RAM : DATA - RAM + 64])

    assert once() == once()


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
