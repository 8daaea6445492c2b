"""Where this build of Unicorn keeps what its interface does not tell: the instruction counter and the last syndrome.

Both are found by one trial run with known numbers instead of being assumed; a Unicorn in which they are not found is
refused. The counter makes the guest's clock exact, the syndrome is what the guest's ESR_EL1 and FAR_EL1 must say.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import NamedTuple

import unicorn
from unicorn import arm64_const as reg

from gicv3.unicorn import native

# SCR_EL3: RW, HCE, NS and the RES1 bits; HCR_EL2: RW. With NS clear the first fetch through an EL1 MMU aborts.
SCR_EL3 = ((3, 6, 1, 1, 0), 0x501 | 0x30)
HCR_EL2 = ((3, 4, 1, 1, 0), 1 << 31)
PSTATE_RESET = 0x3C5  # EL1h, D, A, I and F masked

_COUNT = 0x5EED_CAFE_F00D
_ADDRESS = 0x00CA_11B8_A7E5_1230  # beyond any physical address: an address size fault with the MMU off
_PROGRAM = bytes.fromhex(
    "1f2003d5"  # nop
    "1f2003d5"  # nop
    "200040f9"  # ldr x0, [x1]
)
_EXECUTED = 3
_DATA_ABORT_EL1 = 0x25
_STRUCT_BYTES = 2048  # uc_struct is larger than this in every 2.1 release


class Layout(NamedTuple):
    """Offsets in bytes: `counter` in uc_struct, `syndrome` and `address` in a saved context."""

    counter: int
    syndrome: int
    address: int


class Syndrome:
    """Reads the syndrome of the exception that a Uc is reporting; not thread-safe."""

    def __init__(self, uc: unicorn.Uc, layout: Layout) -> None:
        self._saved = uc.context_save()
        address = self._saved.context.value or 0
        self._arguments = (uc._uch, ctypes.c_void_p(address))
        self._syndrome = ctypes.c_uint32.from_address(address + layout.syndrome)
        self._address = ctypes.c_uint64.from_address(address + layout.address)

    def read(self) -> tuple[int, int]:
        """What ESR_EL1 and FAR_EL1 have to say."""
        native.context_save(*self._arguments)
        return self._syndrome.value, self._address.value


def reset(uc: unicorn.Uc, entry: int = 0, x0: int = 0) -> None:
    """Put a Uc that has not run yet into the state in which firmware starts an AArch64 kernel.

    That is Non-secure EL1h with interrupts masked. SCR_EL3 and HCR_EL2 make EL1 AArch64, or ERET would be illegal.
    Parameters: `uc`, opened for UC_ARCH_ARM64; `entry`, the PC; `x0`, what X0 holds.
    Raises: ConfigError when `uc` is of another architecture; UcError.
    """
    native.check_uc(uc)
    for (op0, op1, crn, crm, op2), value in (SCR_EL3, HCR_EL2):
        uc.reg_write(reg.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2, value))
    uc.reg_write(reg.UC_ARM64_REG_PSTATE, PSTATE_RESET)
    uc.reg_write(reg.UC_ARM64_REG_X0, x0)
    uc.reg_write(reg.UC_ARM64_REG_PC, entry)


@cache
def probe(model: int) -> Layout:
    """Find the layout for one `UC_CPU_ARM64_*` model; raises UnicornError when this Unicorn is laid out differently."""
    uc = native.open_uc(model, 1 << 20)
    uc.mem_map(0, 0x1000)
    uc.mem_write(0, _PROGRAM)
    reset(uc)
    uc.reg_write(reg.UC_ARM64_REG_X1, _ADDRESS)
    uc.hook_add(unicorn.UC_HOOK_INTR, lambda uc, number, data: uc.emu_stop())
    uc.emu_start(0, 0x1000, count=_COUNT)
    state = ctypes.string_at(uc._uch.value, _STRUCT_BYTES)
    counter = state.find(struct.pack("<QQ", _EXECUTED, _COUNT))
    saved = bytes(uc.context_save())
    # X1 holds the address as well; the fault's own copy stands behind a syndrome.
    for address in range(8, len(saved) - 8, 8):
        (value,) = struct.unpack_from("<Q", saved, address)
        if value == _ADDRESS and struct.unpack_from("<I", saved, address - 8)[0] >> 26 == _DATA_ABORT_EL1:
            break
    else:
        address = -1
    if counter < 0 or address < 0:
        missing = "instruction counter" if counter < 0 else "exception syndrome"
        raise native.UnicornError(
            f"unicorn {unicorn.__version__} keeps its {missing} in an unknown place; tested with 2.1.4"
        )
    return Layout(counter, address - 8, address)
