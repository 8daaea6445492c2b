"""`UnicornMachine`: starting and stopping it, its clock, mistakes. The whole SMP guest is in test_unicorn_guest.py."""

import copy
import gc
import threading
import weakref
from collections.abc import Callable

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_code import words
from unicorn_rig import CODE, HI, IRQ_EL1H, OFF, SECOND, VECTORS, boot, peek, put, x

from gicv3 import ConfigError, GicError
from gicv3.machine import VirtMachine
from gicv3.unicorn import CPU_MODELS, Stop, UnicornError, UnicornMachine, layout, native

pytestmark = pytest.mark.guest


def test_image_starts_at_its_load_address_with_x0_and_ends_with_system_off() -> None:
    sent: list[bytes] = []
    with boot(HI + OFF, x0=0x1234, output=sent.append) as engine:
        assert x(engine, 0) == 0x1234
        assert engine.cpu(0).pc == CODE
        assert engine.run() is Stop.OFF
        assert engine.run() is Stop.OFF
        assert b"".join(sent) == b"hi"
        assert engine.instructions == engine.clock == 8


def test_elf_file_is_no_image_unless_somebody_says_where_it_starts() -> None:
    with pytest.raises(ConfigError, match="image must be flat, got ELF"):
        UnicornMachine(VirtMachine(), image=b"\x7fELF" + HI)
    UnicornMachine(VirtMachine(), image=b"\x7fELF" + HI + OFF, entry=0x4020_0004).close()


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

    with boot(HI + OFF, output=fail) as engine:
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


WAKE = words("""
    d2a12001  movz x1, #0x0900, lsl #16   // UARTDR
    d503207f  wfi
    b9000022  str w2, [x1]
    17ffffff  b .-4
""")


@pytest.mark.parametrize("posted", [True, False], ids=["post", "stop"])
def test_another_thread_reaches_a_run_that_waits(monkeypatch: pytest.MonkeyPatch, posted: bool) -> None:
    sent: list[bytes] = []

    def output(data: bytes) -> None:
        sent.append(data)
        engine.stop()

    with boot(WAKE, output=output) as engine:
        wait = engine._wait
        other = threading.Thread(
            target=(lambda: engine.post(lambda: engine.gic.set_spi(40, True))) if posted else engine.stop
        )

        def wait_for_other(end: int) -> None:
            other.start()
            wait(end)

        monkeypatch.setattr(engine, "_wait", wait_for_other)
        assert engine.run(wait=True) is Stop.STOPPED
        other.join()
        assert bool(sent) is posted


def test_what_a_callback_raises_comes_out_of_run() -> None:
    def output(data: bytes) -> None:
        raise RuntimeError("from the UART")

    with boot(HI + OFF, output=output) as engine, pytest.raises(RuntimeError, match="from the UART"):
        engine.run()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda engine: engine.run(10), "this UnicornMachine runs already"),
        (UnicornMachine.close, "this UnicornMachine runs, and cannot be closed"),
        (UnicornMachine.boot, "this UnicornMachine runs, and cannot be booted by a callback"),
        (UnicornMachine.flush_code, "this UnicornMachine runs, and cannot be flushed by a callback"),
        (lambda engine: engine.cpu(0).detach(), "vCPU 0 is part of a machine, and cannot be detached"),
    ],
    ids=["run", "close", "boot", "flush_code", "detach"],
)
def test_what_would_pull_the_guest_from_under_a_callback_is_refused(
    call: Callable[[UnicornMachine], object], text: str
) -> None:
    refused = []

    def output(data: bytes) -> None:
        with pytest.raises(GicError, match=text):
            call(engine)
        refused.append(data)

    with boot(HI + OFF, output=output) as engine:
        assert engine.run() is Stop.OFF
        assert refused == [b"h", b"i"]
        assert engine.instructions == engine.clock == 8


@pytest.mark.parametrize("call", [UnicornMachine.run, UnicornMachine.boot, UnicornMachine.flush_code])
def test_what_needs_its_vcpus_is_refused_when_closed(call: Callable[[UnicornMachine], object]) -> None:
    engine = boot(OFF)
    engine.close()
    memory = bytes(engine.memory)
    with pytest.raises(GicError, match="this UnicornMachine is closed"):
        call(engine)
    assert engine.memory == memory


def test_a_vcpu_cannot_be_detached_from_its_machine() -> None:
    with boot(OFF) as engine:
        with pytest.raises(GicError, match="vCPU 0 is part of a machine"):
            engine.cpu(0).detach()
        assert engine.run() is Stop.OFF


def test_what_unicorn_refuses_when_a_vcpu_is_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.Hooks, "mmio", lambda *arguments: native.check(1, "map it"))
    with pytest.raises(UnicornError, match="Unicorn cannot map it"):
        boot(OFF)


def test_run_and_close_are_refused_to_an_action_and_boot_is_not() -> None:
    with boot(HI + OFF) as engine:
        for action in (lambda: engine.run(10), engine.close):
            engine.post(action)
            with pytest.raises(GicError, match="this UnicornMachine runs"):
                engine.run()
        assert engine.run() is Stop.OFF
        engine.post(engine.boot)
        assert engine.run() is Stop.OFF


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


def test_plugged_vcpu_has_a_uc_until_it_is_unplugged() -> None:
    with boot(SLEEP, cpus=1, max_cpus=2) as engine:
        engine.machine.device_add(id="second", core_id=1)
        uc = weakref.ref(engine.cpu(1).uc)
        engine.machine.device_del("second")
        engine.machine.complete_unplug("second")
        assert uc() is None
        with pytest.raises(KeyError):
            engine.cpu(1)


def test_a_vcpu_that_is_unplugged_while_it_runs_runs_no_further() -> None:
    def leave(data: bytes) -> None:
        machine.power_off(machine.cpus[1])
        machine.device_del("second")
        machine.complete_unplug("second")

    machine = VirtMachine(cpus=1, max_cpus=2)
    machine.device_add(id="second", core_id=1)
    with UnicornMachine(machine, image=SLEEP, output=leave) as engine:
        put(engine, SECOND, HI + OFF)
        machine.power_on(machine.cpus[1], SECOND)
        uc = weakref.ref(engine.cpu(1).uc)
        assert engine.run() is Stop.IDLE
        assert list(machine.cpus) == [0]
        assert engine.instructions == 1 + 3
        assert uc() is None


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
        ({"tcg_buffer": (1 << 20) - 1}, r"tcg_buffer must be in 0x100000\.\.0x80000000, got 0xfffff"),
        ({"tcg_buffer": (1 << 31) + 1}, "tcg_buffer must be in .* got 0x80000001"),
        ({"x0": -1}, r"x0 must be in 0x0\.\.0xffffffffffffffff, got -0x1"),
        ({"x0": 1 << 64}, "x0 must be in .* got 0x10000000000000000"),
        ({"entry": -4}, r"entry must be in 0x0\.\.0xffffffffffffffff, got -0x4"),
        ({"entry": 1 << 64}, "entry must be in .* got 0x10000000000000000"),
        ({"entry": 0x4020_0002}, "entry must be a multiple of 4, got 0x40200002"),
        ({"semihosting": "x"}, "semihosting must be True or False, got 'x'"),
        ({"uart_on": 2}, "uart_on must be True or False, got 2"),
        ({"clock": "sun"}, "clock must be one of instructions, host, got 'sun'"),
        ({"load_address": 0x3FFF_FFFF}, "not within the RAM"),
        ({"load_address": 0x4800_0000}, "not within the RAM"),
        ({"files": [(0x47FF_FFFF, b"ab")]}, "not within the RAM"),
        ({"cpu_model": "max"}, "cpu_model must be one of cortex-a53.*got 'max'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        UnicornMachine(VirtMachine(cpus=1), image=OFF, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["quantum", "load_address", "entry", "x0", "tcg_buffer"])
def test_an_option_that_is_no_integer_is_refused_by_name(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, got 4096.0"):
        UnicornMachine(VirtMachine(cpus=1), image=OFF, **{name: 4096.0})  # type: ignore[arg-type]


def test_options_at_their_limits_are_taken() -> None:
    with boot(OFF, x0=(1 << 64) - 1, entry=(1 << 64) - 4, tcg_buffer=1 << 20) as engine:
        assert x(engine, 0) == (1 << 64) - 1
        assert engine.cpu(0).pc == (1 << 64) - 4


@pytest.mark.parametrize(
    ("machine", "text"),
    [
        (VirtMachine(cpus=1).gic, "machine must be a VirtMachine, got <"),
        (VirtMachine(cpus=1, virtualization=True), "machine must be without virtualization"),
    ],
)
def test_what_it_cannot_drive_is_refused(machine: VirtMachine, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        UnicornMachine(machine)


def test_more_ram_than_the_host_has_is_refused() -> None:
    machine = VirtMachine(cpus=1, ram_size=1 << 55)
    with pytest.raises(GicError, match="the host has no 0x80000000000000 bytes for the guest's RAM: Cannot allocate"):
        UnicornMachine(machine, image=OFF)


def test_run_refuses_less_than_a_tick() -> None:
    with boot(OFF) as engine, pytest.raises(ConfigError, match="at least 1, got 0"):
        engine.run(0)


@pytest.mark.parametrize("model", CPU_MODELS)
def test_every_cpu_model_runs(model: str) -> None:
    with boot(TIMER + OFF, cpu_model=model) as engine:
        assert engine.run() is Stop.OFF


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("_STRUCT_BYTES", 64, "registers"), ("_DATA_ABORT_EL1", 0x3E, "exception syndrome")],
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
