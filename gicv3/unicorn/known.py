"""System registers that Unicorn is told of, so that an access does not end the block of code that it is in.

Unicorn takes an access to a register that it does not know for the end of a block, and finding the next block costs as
much as the access. Its own function that defines registers is in the libraries of Unicorn's wheels, but no part of its
interface: where it is not found, or is of another version, registers stay unknown, and only time is lost.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import unicorn
from unicorn import arm64_const as reg

from gicv3.unicorn import _native, native

_DEFINE = "define_one_arm_cp_reg_with_opaque_aarch64"
# QEMU's ARM_CP_STATE_AA64, ARM_CP_SECSTATE_NS, ARM_CP_CONST | ARM_CP_OVERRIDE | ARM_CP_NO_RAW, PL1_RW.
_AARCH64, _NON_SECURE, _TYPE, _AT_EL1 = 1, 2, 0x92, 0xFC
_MARK = 0x6963_6333


class _Register(ctypes.Structure):
    """QEMU's ARMCPRegInfo."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        *((field, ctypes.c_uint8) for field in ("cp", "crn", "crm", "op0", "op1", "op2")),
        *((field, ctypes.c_int) for field in ("state", "type", "access", "secure")),
        ("opaque", ctypes.c_void_p),
        ("resetvalue", ctypes.c_uint64),
        *((field, ctypes.c_ssize_t) for field in ("fieldoffset", "secure_offset", "non_secure_offset")),
        ("accessfn", ctypes.c_void_p),
        *((field, ctypes.c_void_p) for field in ("readfn", "writefn", "raw_readfn", "raw_writefn", "resetfn")),
        *((field, ctypes.c_void_p) for field in ("orig_readfn", "orig_writefn")),
    )


def tell(uc: unicorn.Uc, cpu: int, encodings: Iterable[native.Encoding]) -> bool:
    """Tell a Uc of registers that hooks serve; an access that the hooks leave alone is UNDEFINED.

    Parameters: `uc`, that has not run yet; `cpu`, the address of its vCPU's state; `encodings`, (op0, op1, CRn, CRm,
    op2) of registers that Unicorn does not know. Returns: whether it knows them now.
    """
    define = native.inner(_DEFINE)
    if define is None:
        return False
    define.argtypes, define.restype = (ctypes.c_void_p, ctypes.POINTER(_Register), ctypes.c_void_p), None
    for op0, op1, crn, crm, op2 in encodings:
        register = _Register(
            name=b"GIC", op0=op0, op1=op1, crn=crn, crm=crm, op2=op2, state=_AARCH64, type=_TYPE,
            access=_AT_EL1, secure=_NON_SECURE, resetvalue=_MARK, accessfn=_native.CALLBACKS["access"],
        )
        define(cpu, ctypes.byref(register), None)
        if uc.reg_read(reg.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2)) != _MARK:
            name = f"S{op0}_{op1}_C{crn}_C{crm}_{op2}"
            raise native.UnicornError(f"Unicorn {native.VERSION} does not take a definition of {name}")
    return True
