"""`UnicornMachine`: its two clocks, and the alarm of the RTC."""

import threading

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_code import words
from unicorn_rig import IRQ_EL1H, OFF, VECTORS, boot, put, x

from gicv3.machine import SPI
from gicv3.unicorn import Stop

pytestmark = pytest.mark.guest

SLEEP_A_TIMER = words("""
    d53be041  mrs x1, cntvct_el0
    91001021  add x1, x1, #4
    8b000021  add x1, x1, x0
    d51be341  msr cntv_cval_el0, x1
    d2800022  mov x2, #1
    d51be322  msr cntv_ctl_el0, x2
    d50342ff  msr daifclr, #2
    d503207f  loop: wfi
    17ffffff  b loop
""")
WOKEN = words("""
    d53be043  mrs x3, cntvct_el0
    d538cc15  mrs x21, S3_0_C12_C12_0
""")


@pytest.mark.parametrize("clock", ["instructions", "host"])
def test_sleeping_guest_is_woken_by_its_timer_not_before_its_time(clock: str) -> None:
    # A thousandth of a second by the counter.
    with boot(SLEEP_A_TIMER, x0=62_500, clock=clock) as engine:
        put(engine, VECTORS + IRQ_EL1H, WOKEN + OFF)
        assert engine.run() is Stop.OFF
        assert x(engine, 21) == 27
        assert x(engine, 3) >= x(engine, 1)
        assert engine.clock >= x(engine, 1)
        assert engine.instructions < 20


FOREVER = words("""
    d53be041  loop: mrs x1, cntvct_el0
    eb02003f  cmp x1, x2
    54000063  b.lo back
    aa0103e2  mov x2, x1
    17fffffc  b loop
    d2b08000  back: movz x0, #0x8400, lsl #16
    f2800100  movk x0, #8
    d4000002  hvc #0
""")


def test_counter_that_follows_the_host_never_goes_back_and_ends_a_run_in_time() -> None:
    with boot(FOREVER, cpus=2, clock="host", quantum=50) as engine:
        engine.machine.power_on(engine.machine.cpus[1], engine.entry)
        while engine.instructions < 10_000:
            end = engine.clock + 62_500
            assert engine.run(62_500) is Stop.LIMIT
            assert engine.clock >= end


def test_after_a_run_the_host_clock_is_not_before_what_the_guest_has_read() -> None:
    with boot(SLEEP_A_TIMER[:4] + OFF, clock="host") as engine:
        assert engine.run() is Stop.OFF
        assert engine.clock >= x(engine, 1) > 0


@pytest.mark.parametrize("ticks", [3600 * 62_500_000, 1 << 63])
def test_a_guest_that_sleeps_by_the_host_clock_is_stopped_from_another_thread(
    ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An hour, or longer than a lock can wait: only stop() ends this run.
    with boot(SLEEP_A_TIMER, x0=ticks, clock="host") as engine:
        thread = threading.Thread(target=engine.stop)
        wait = engine._wait

        def wait_and_be_stopped(end: int) -> None:
            # The other thread gets no further than this until it really waits.
            with engine._event:
                thread.start()
                wait(end)

        monkeypatch.setattr(engine, "_wait", wait_and_be_stopped)
        assert engine.run() is Stop.STOPPED
        thread.join()


def test_a_guest_that_only_the_host_could_wake_waits_by_the_host_clock_for_the_ticks_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with boot(SLEEP_A_TIMER[-8:], clock="host") as engine:
        ends: list[int] = []
        wait = engine._wait
        monkeypatch.setattr(engine, "_wait", lambda end: (ends.append(end), wait(end)))
        while not ends:
            end = engine.clock + 625_000
            assert engine.run(625_000, wait=True) is Stop.LIMIT
            assert engine.clock >= end
        assert ends == [end]
        assert engine.run(1 << 40) is Stop.IDLE


ALARM = words("""
    d2a12021  movz x1, #0x0901, lsl #16
    b9400022  ldr w2, [x1]                // RTCDR
    0b000042  add w2, w2, w0
    b9000422  str w2, [x1, #4]            // RTCMR
    52800023  mov w3, #1
    b9001023  str w3, [x1, #16]           // RTCIMSC
    d50342ff  msr daifclr, #2
    d503207f  loop: wfi
    17ffffff  b loop
""")
RUNG = words("""
    b9400024  ldr w4, [x1]
    d538cc15  mrs x21, S3_0_C12_C12_0
""")


@pytest.mark.parametrize("quantum", [3, 1000])
def test_rtc_wakes_a_guest_at_the_second_it_waits_for(quantum: int) -> None:
    with boot(ALARM, x0=5, quantum=quantum, seconds=lambda: 0) as engine:
        frequency = engine.timers.frequency
        engine.rtc._seconds = lambda: 1000.5 + engine.clock / frequency
        put(engine, VECTORS + IRQ_EL1H, RUNG + OFF)
        assert engine.run() is Stop.OFF
        assert x(engine, 21) == 32 + SPI["RTC"]
        assert x(engine, 4) == x(engine, 2) == 1005
        assert 4.5 * frequency <= engine.clock < 4.5 * frequency + 100


def test_rtc_that_runs_by_another_clock_wakes_a_guest_too() -> None:
    times = iter([10.0] * 8 + [11.5] * 4 + [12.25] * 1000)
    with boot(ALARM, x0=2, seconds=lambda: next(times)) as engine:
        put(engine, VECTORS + IRQ_EL1H, RUNG + OFF)
        assert engine.run() is Stop.OFF
        assert x(engine, 4) == x(engine, 2) == 12
