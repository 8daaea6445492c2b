"""Where this build of Unicorn keeps what its interface does not tell, or tells too slowly: the vCPU's own registers.

Everything is found by one trial run with known numbers instead of being assumed; a Unicorn in which it is not found is
refused. Syndrome and fault address are in no register that can be read, and the others are read at every interrupt.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import Any, NamedTuple

import unicorn
from unicorn import arm64_const as reg

from gicv3.unicorn import native

# SCR_EL3: RW, HCE, NS and the RES1 bits; HCR_EL2: RW. With NS clear the first fetch through an EL1 MMU aborts.
SCR_EL3 = ((3, 6, 1, 1, 0), 0x501 | 0x30)
HCR_EL2 = ((3, 4, 1, 1, 0), 1 << 31)
SPSR_EL1 = (3, 0, 4, 0, 0)
PSTATE_RESET = 0x3C5  # EL1h, D, A, I and F masked
_PSTATE_UNMASKED, _PSTATE_EL1T = 0x005, 0x3C4

_ADDRESS = 0x00CA_11B8_A7E5_1230  # beyond any physical address: an address size fault with the MMU off
_MARKS = tuple(0x5EED_CAFE_0000_F00D + (index << 16) for index in range(4))
_WORD = 0x5EED_F00D
_PROGRAM = bytes.fromhex(
    "1f2003d5"  # nop
    "1f2003d5"  # nop
    "200040f9"  # ldr x0, [x1]
)
_DATA_ABORT_EL1 = 0x25
_STRUCT_BYTES = 2048  # uc_struct is larger than this in every 2.1 release
_CPU_BYTES = 1 << 17


class Layout(NamedTuple):
    """Offsets in bytes: `cpu` of a pointer in uc_struct, `x0` from where that points to X0, the rest from X0."""

    cpu: int
    x0: int
    pc: int
    pstate: int
    daif: int
    elr: int
    spsr: int
    vbar: int
    syndrome: int
    address: int

    def cpu_of(self, uc: unicorn.Uc) -> int:
        """Address of the state of an open Uc's vCPU."""
        return ctypes.c_uint64.from_address(uc._uch.value + self.cpu).value

    def find(self, uc: unicorn.Uc) -> int:
        """Address of X0 in the state of an open Uc; raises UnicornError when it is not there."""
        address = self.cpu_of(uc) + self.x0
        before = uc.reg_read(reg.UC_ARM64_REG_X0)
        uc.reg_write(reg.UC_ARM64_REG_X0, _MARKS[0])
        found = _read(address, 8) == struct.pack("<Q", _MARKS[0])
        uc.reg_write(reg.UC_ARM64_REG_X0, before)
        if not found:
            raise _unknown("registers")
        return address


def reset(uc: unicorn.Uc, entry: int = 0, x0: int = 0) -> None:
    """Put a Uc that has not run yet into the state in which firmware starts an AArch64 kernel.

    That is Non-secure EL1h with interrupts masked. SCR_EL3 and HCR_EL2 make EL1 AArch64, or ERET would be illegal.
    Parameters: `uc`, opened for UC_ARCH_ARM64; `entry`, the PC; `x0`, what X0 holds.
    Raises: ConfigError when `uc` is of another architecture; UcError.
    """
    native.check_uc(uc)
    uc.reg_write(reg.UC_ARM64_REG_PSTATE, PSTATE_RESET)
    for (op0, op1, crn, crm, op2), value in (SCR_EL3, HCR_EL2):
        uc.reg_write(reg.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2, value))
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
    uc.emu_start(0, 0x1000)
    saved = bytes(uc.context_save())
    # X1 holds the address as well; the fault's own copy stands behind a syndrome.
    address = next((
        place for place in range(8, len(saved) - 8, 8)
        if saved[place : place + 8] == struct.pack("<Q", _ADDRESS)
        and struct.unpack_from("<I", saved, place - 8)[0] >> 26 == _DATA_ABORT_EL1
    ), -1)
    if address < 0:
        raise _unknown("exception syndrome")
    for index, mark in enumerate(_MARKS):
        uc.reg_write(reg.UC_ARM64_REG_X0 + index, mark)
    saved = bytes(uc.context_save())
    x0 = saved.find(struct.pack("<4Q", *_MARKS))
    cpu, in_cpu = _find_cpu(uc)
    op0, op1, crn, crm, op2 = SPSR_EL1
    spsr = (crn, crm, op0, op1, op2)
    places = [
        _changed(uc, reg.UC_ARM64_REG_PC, (0, _MARKS[0])),
        _changed(uc, reg.UC_ARM64_REG_PSTATE, (PSTATE_RESET, _PSTATE_EL1T), (0x5, 0x4)),
        _changed(uc, reg.UC_ARM64_REG_PSTATE, (PSTATE_RESET, _PSTATE_UNMASKED), (0x3C0, 0)),
        _changed(uc, reg.UC_ARM64_REG_ELR_EL1, (0, _MARKS[0])),
        _changed(uc, reg.UC_ARM64_REG_CP_REG, ((*spsr, 0), (*spsr, _WORD)), (0, _WORD)),
        _changed(uc, reg.UC_ARM64_REG_VBAR_EL1, (0, _MARKS[0])),
    ]
    if x0 < 0 or cpu < 0 or min(places) < 0:
        raise _unknown("registers")
    return Layout(cpu, in_cpu, *(place - x0 for place in (*places, address - 8, address)))


def _changed(uc: unicorn.Uc, register: int, written: tuple[Any, Any], kept: tuple[int, int] | None = None) -> int:
    """The one place in a saved context where the words that are `kept` follow the values `written`, or -1."""
    saved = []
    for value in written:
        uc.reg_write(register, value)
        saved.append(bytes(uc.context_save()))
    words = [struct.pack("<Q", word)[:4] for word in kept or written]
    places = [
        place
        for place in range(0, len(saved[0]) - 4, 4)
        if [context[place : place + 4] for context in saved] == words
    ]
    return places[0] if len(places) == 1 else -1


def _find_cpu(uc: unicorn.Uc) -> tuple[int, int]:
    """Offset of the pointer to the vCPU in uc_struct, and of X0 in the vCPU, which begins with two counts of 1."""
    pointers = struct.unpack(f"<{_STRUCT_BYTES // 8}Q", ctypes.string_at(uc._uch.value, _STRUCT_BYTES))
    for index, pointer in enumerate(pointers):
        memory = _read(pointer, _CPU_BYTES)
        if memory[:8] == struct.pack("<II", 1, 1):
            place = memory.find(struct.pack("<4Q", *_MARKS))
            if place >= 0:
                return index * 8, place
    return -1, -1


def _read(address: int, size: int) -> bytes:
    """Memory of this process, as far as there is any: a wild pointer must not kill it."""
    if not 0 < address < 1 << 63:
        return b""
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        return os.pread(memory, size, address)
    except OSError:
        return b""
    finally:
        os.close(memory)


def _unknown(what: str) -> native.UnicornError:
    return native.UnicornError(
        f"unicorn {unicorn.__version__} keeps its {what} in an unknown place; tested with 2.1.4"
    )
