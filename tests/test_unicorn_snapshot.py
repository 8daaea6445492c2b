"""What examples/save_unicorn.py saves of a running guest: it goes on as if nothing had been."""

import subprocess
import sys

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn import arm64_const as reg
from unicorn_rig import EXAMPLES, WINDOW, boot, example, put, x

from gicv3 import guests
from gicv3.machine import MIB, VirtMachine
from gicv3.pl031 import Pl031Reg
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

save_unicorn = example("save_unicorn")
CONFIGURATION, PENDING = 0x4030_0000, 0x4040_0000
REGISTERS = [reg.UC_ARM64_REG_X0 + number for number in range(29)]
REGISTERS += [reg.UC_ARM64_REG_X29, reg.UC_ARM64_REG_X30, reg.UC_ARM64_REG_SP, reg.UC_ARM64_REG_PC]


def everything(engine: UnicornMachine) -> list[object]:
    """What a guest could tell from what it was."""
    cpus = [[engine.cpu(index).uc.reg_read(register) for register in REGISTERS] for index in engine.machine.cpus]
    devices = [engine.uart.saved(), engine.rtc.saved()]
    return [engine.clock, cpus, devices, engine.gic.save(), bytes(engine.memory)]


def test_restored_guest_runs_as_the_one_that_was_saved() -> None:
    options = {"seconds": lambda: 1000.0}
    heard, again = bytearray(), bytearray()
    machine = VirtMachine(cpus=3, max_cpus=4, ram_size=16 * MIB)
    with UnicornMachine(machine, image=guests.smp_image(), output=heard.extend, **options) as engine:
        engine.run(60_000)
        machine.device_add(id="fourth", core_id=3)
        machine.gic.pulse_spi(guests.SPI_DOORBELL)
        engine.run(777)
        engine.uart.receive(b"not read yet")
        with save_unicorn.restore(save_unicorn.save(engine), output=again.extend, **options) as other:
            assert everything(other) == everything(engine)
            del heard[:]
            for each in (engine, other):
                assert each.run(100_000) is Stop.LIMIT
                each.machine.check()
            assert everything(other) == everything(engine)
    assert heard == again
    assert b"cpu 3 online" in again
    assert b"not read yet" in again


def test_sleeping_vcpu_sleeps_on_until_its_interrupt() -> None:
    with boot(WINDOW) as engine:
        assert engine.run() is Stop.IDLE
        with save_unicorn.restore(save_unicorn.save(engine)) as other:
            assert other.run() is Stop.IDLE
            assert other.clock == engine.clock
            other.gic.dist["GICD_ISPENDR", 1] = 1 << 8
            assert other.run() is Stop.IDLE
            assert x(other, 20) == 1


def test_alarm_of_the_clock_still_comes() -> None:
    with boot(WINDOW) as engine:
        engine.rtc.write(Pl031Reg.LR, 100)
        engine.rtc.write(Pl031Reg.MR, 101)
        engine.rtc.write(Pl031Reg.IMSC, 1)
        with save_unicorn.restore(save_unicorn.save(engine)) as other:
            before = other.clock
            while x(other, 21) != 34 and other.clock - before <= other.timers.frequency:
                other.run(100_000)
            assert x(other, 21) == 34


def test_example_goes_on_in_another_process() -> None:
    command = [sys.executable, EXAMPLES / "save_unicorn.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "after 200000 ticks the guest said 'still there\\n'\n"


def test_pending_table_that_was_half_read_is_read_to_its_end() -> None:
    lpis = range(8192, 8192 + 8 * 512, 512)                                 # one in each 64 bytes of the table
    with UnicornMachine(VirtMachine(cpus=1, its=True, work_budget=1, ram_size=16 * MIB)) as engine:
        gic, redist = engine.gic, engine.gic.redist[0]
        for lpi in lpis:
            put(engine, CONFIGURATION + lpi - 8192, bytes([0xA1]))          # priority 0xA0, enabled
            put(engine, PENDING + lpi // 8, b"\1")
        gic.dist["GICD_CTLR"] = 2
        redist["GICR_WAKER"] = 0
        redist["GICR_PROPBASER"] = CONFIGURATION | 15
        redist["GICR_PENDBASER"] = PENDING
        gic.pe[0]["ICC_PMR_EL1"] = 0xF0
        gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
        redist["GICR_CTLR"] = 1
        assert gic.has_work
        with save_unicorn.restore(save_unicorn.save(engine)) as other:
            taken = []
            while (lpi := other.gic.pe[0]["ICC_IAR1_EL1"]) != 1023 or other.gic.has_work:
                taken.append(lpi)
                other.gic.pe[0]["ICC_EOIR1_EL1"] = lpi
            assert set(lpis) <= set(taken)
