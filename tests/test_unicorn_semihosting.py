"""A guest that ends itself by semihosting, wherever its parameter block lies."""

import struct

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn import arm64_const as reg
from unicorn_code import words
from unicorn_rig import DATA, RAM, X1, boot, put

from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

SYS_EXIT = 0x18
CALL = words("""
    d45e0000  hlt #0xf000
""")
BLOCK = struct.pack("<QQ", 0x2_0026, 42)  # ADP_Stopped_ApplicationExit
RAM_END = 0x4800_0000
UARTDR, GICD = 0x0900_0000, 0x0800_0000
RXFE = 1 << 4

TABLE = DATA + 0x1000
FIRST_GIB, SECOND_GIB, THIRD_GIB, FOURTH_GIB = range(0, 4 << 30, 1 << 30)
SCTLR_EL1, TCR_EL1 = (1, 0, 3, 0, 0), (2, 0, 3, 0, 2)  # CRn, CRm, op0, op1, op2


def mmu_on(engine: UnicornMachine) -> None:
    """Map devices and RAM where they are, RAM once more in the third GiB, and nothing in the fourth."""
    put(engine, TABLE, struct.pack("<4Q", *(base | 0x701 for base in (FIRST_GIB, SECOND_GIB, SECOND_GIB)), 0))
    uc = engine.cpu(0).uc
    uc.reg_write(reg.UC_ARM64_REG_TTBR0_EL1, TABLE)
    for encoding, value in ((TCR_EL1, 25 | 1 << 23), (SCTLR_EL1, 0x30D0_0801)):
        uc.reg_write(reg.UC_ARM64_REG_CP_REG, (*encoding, value))


@pytest.mark.parametrize(
    ("mmu", "block", "status"),
    [
        (False, DATA, 42),
        (False, DATA + 1, 42),
        (False, RAM, 42),
        (False, RAM_END - 16, 42),
        (False, RAM_END - 15, 1),
        (False, RAM_END, 1),
        (False, RAM - 1, 1),
        (False, 0x10, 1),
        (False, (1 << 64) - 1, 1),
        (False, GICD, 1),
        (True, SECOND_GIB + DATA, 42),
        (True, DATA, 42),
        (True, SECOND_GIB + RAM_END, 1),
        (True, FOURTH_GIB, 1),
        (True, FOURTH_GIB - 8, 1),
        (True, 1 << 63, 1),
        (True, GICD, 1),
    ],
)
def test_exit_status_is_read_where_the_guest_would_read_it_or_is_1(mmu: bool, block: int, status: int) -> None:
    with boot(CALL, x0=SYS_EXIT) as engine:
        uc = engine.cpu(0).uc
        if mmu:
            mmu_on(engine)
        uc.reg_write(X1, block)
        physical = block - SECOND_GIB if mmu and block >= THIRD_GIB else block
        if status == 42:
            put(engine, physical, BLOCK)
        assert engine.run(1000) is Stop.OFF
        assert engine.status == status


def test_a_parameter_block_in_a_device_is_not_read() -> None:
    with boot(CALL, x0=SYS_EXIT, uart_on=True) as engine:
        engine.uart.receive(b"x")
        engine.cpu(0).uc.reg_write(X1, UARTDR)
        assert engine.run(1000) is Stop.OFF
        assert engine.status == 1
        assert not engine.uart.read(0x18, 4) & RXFE
