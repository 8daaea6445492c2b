"""Unicorn's C interface without its Python wrapper, for calls made at every interrupt.

The wrapper converts every register value and re-raises through several layers: 3 us for one register. Prebuilt
argument tuples on the plain function pointers take a tenth of that, so the adapter calls the library directly, on the
handle that `unicorn.Uc` opened. Nothing here knows about interrupts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import unicorn
from unicorn import arm64_const as reg
from unicorn import unicorn_const as const

from gicv3.errors import ConfigError, GicError

try:
    from unicorn.unicorn_py3.unicorn import uclib as _lib
except ImportError as error:
    raise ImportError(
        f"gicv3.unicorn needs unicorn>=2.1.4, found {unicorn.__version__}: pip install 'gicv3[unicorn]'"
    ) from error


class UnicornError(GicError):
    """Unicorn cannot do what the adapter needs; the text says what."""


# Without argtypes ctypes passes prebuilt objects as they are, which halves the cost of a call. PYFUNCTYPE keeps the
# GIL: right for register access, wrong for emu_start, during which other threads should run.
def _function(name: str, keep_gil: bool = True) -> Any:
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int) if keep_gil else ctypes.CFUNCTYPE(ctypes.c_int)
    return prototype(ctypes.cast(getattr(_lib, name), ctypes.c_void_p).value or 0)


_reg_read_batch = _function("uc_reg_read_batch")
_reg_write_batch = _function("uc_reg_write_batch")
context_save = _function("uc_context_save")
_vmem_read = _function("uc_vmem_read")
emu_start = _function("uc_emu_start", keep_gil=False)
emu_stop = _function("uc_emu_stop")

HOOK_SYSREG = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p)
HOOK_INTR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
HOOK_MEM = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
)
MMIO_READ = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p)
MMIO_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p)

OK = const.UC_ERR_OK
PC = reg.UC_ARM64_REG_PC
PSTATE = reg.UC_ARM64_REG_PSTATE
SP = reg.UC_ARM64_REG_SP
X0 = reg.UC_ARM64_REG_X0


class CpReg(ctypes.Structure):
    """`uc_arm64_cp_reg`: a system register by its encoding, with its value."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("crn", "crm", "op0", "op1", "op2")] + [("val", ctypes.c_uint64)]

    def __init__(self, encoding: Encoding) -> None:
        op0, op1, crn, crm, op2 = encoding
        super().__init__(crn=crn, crm=crm, op0=op0, op1=op1, op2=op2)


Encoding = tuple[int, int, int, int, int]
CP_VALUE = CpReg.val.offset
CP_KEY_SIZE = CP_VALUE - 4  # five words, then padding before the value


def cp_key(encoding: Encoding) -> bytes:
    """The bytes with which a `uc_arm64_cp_reg` for this (op0, op1, CRn, CRm, op2) starts: a hook's dictionary key."""
    return bytes(CpReg(encoding))[:CP_KEY_SIZE]


def check(status: int, what: str) -> None:
    """Raise `UnicornError` with Unicorn's own words when `status` is not UC_ERR_OK."""
    if status != OK:
        raise UnicornError(f"Unicorn cannot {what}: {_lib.uc_strerror(status).decode()}")


def open_uc(model: int, tcg_buffer: int) -> unicorn.Uc:
    """Open a Uc of one `UC_CPU_ARM64_*` model with `tcg_buffer` bytes for translated code; raises UnicornError."""
    # Its type stubs are those of an older interface.
    make: Any = unicorn.Uc
    try:
        uc = make(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM, model)
        uc.ctl_set_tcg_buffer_size(tcg_buffer)
        # Without an "until" address Unicorn need not look for one in every block and drop the block there afterwards.
        uc.ctl_exits_enabled(True)
    except unicorn.UcError as error:
        raise UnicornError(f"Unicorn cannot make another vCPU: {error}") from error
    return uc


def flush_code(uc: Any) -> None:
    """Drop the code that a Uc has translated."""
    uc.ctl_flush_tb()


def flush_translations(uc: Any) -> None:
    """Drop a Uc's TLB."""
    uc.ctl(const.UC_CTL_TLB_FLUSH, const.UC_CTL_IO_WRITE)


def map_memory(uc: unicorn.Uc, base: int, size: int, host: int) -> None:
    """Map `size` bytes of host memory at `host` as the guest's RAM at `base`; they must outlive the Uc."""
    check(_lib.uc_mem_map_ptr(uc._uch, base, size, const.UC_PROT_ALL, host), f"map {size:#x} bytes of RAM at {base:#x}")


_PAGE = 4096
_code = ctypes.create_string_buffer(_PAGE)
_code_address = ctypes.c_void_p(ctypes.addressof(_code))
_EXECUTE = ctypes.c_int(const.UC_PROT_EXEC)


def read_code(handle: ctypes.c_void_p, pc: int, size: int) -> bytes:
    """Up to `size` bytes, at most 4096, of what the guest executes from `pc` on, within its page; b"" if unmapped."""
    size = min(size, _PAGE - pc % _PAGE)
    status = _vmem_read(handle, ctypes.c_uint64(pc), _EXECUTE, _code_address, ctypes.c_size_t(size))
    return _code.raw[:size] if status == OK else b""


class RegisterBatch:
    """A fixed list of registers that one call reads or writes.

    Parameters: `handle`, an open Unicorn handle; `registers`, Unicorn register numbers or (op0, op1, CRn, CRm, op2).
    `values` holds the values in order for plain registers, `cp[i].val` for system registers. Not thread-safe.
    """

    __slots__ = ("_arguments", "_pointers", "_storage", "cp", "ids", "values")

    def __init__(self, handle: int, registers: Sequence[int | Encoding]) -> None:
        count = len(registers)
        self.ids = (ctypes.c_int * count)()
        self._storage = (ctypes.c_uint64 * count)()
        self._pointers = (ctypes.c_void_p * count)()
        self.cp: dict[int, CpReg] = {}
        for i, register in enumerate(registers):
            if isinstance(register, int):
                self.ids[i] = register
                self._pointers[i] = ctypes.addressof(self._storage) + 8 * i
            else:
                self.ids[i] = reg.UC_ARM64_REG_CP_REG
                self.cp[i] = CpReg(register)
                self._pointers[i] = ctypes.addressof(self.cp[i])
        self.values = memoryview(self._storage).cast("B").cast("Q")
        self._arguments = (
            ctypes.c_void_p(handle), ctypes.c_void_p(ctypes.addressof(self.ids)),
            ctypes.c_void_p(ctypes.addressof(self._pointers)), ctypes.c_int(count),
        )

    def read(self) -> None:
        """Read all of them into `values` and `cp`."""
        _reg_read_batch(*self._arguments)

    def write(self) -> None:
        """Write all of them from `values` and `cp`, in order; a PC among them makes the running block end."""
        _reg_write_batch(*self._arguments)


_ARCH_NAMES = {
    getattr(const, name): name for name in dir(const) if name.startswith("UC_ARCH_") and name != "UC_ARCH_MAX"
}


def check_uc(uc: Any) -> None:
    """Raise `ConfigError` unless `uc` is a `unicorn.Uc` that runs little-endian AArch64."""
    if not isinstance(uc, unicorn.Uc):
        raise ConfigError(f"uc must be a unicorn.Uc, got {uc!r}")
    vcpu: Any = uc
    architecture, mode = vcpu.query(const.UC_QUERY_ARCH), vcpu.query(const.UC_QUERY_MODE)
    if architecture != const.UC_ARCH_ARM64:
        got = _ARCH_NAMES.get(architecture, architecture)
        raise ConfigError(f"uc must be opened for UC_ARCH_ARM64 (AArch64), got {got}")
    # A big-endian guest would find every device register with its bytes swapped.
    if mode & const.UC_MODE_BIG_ENDIAN:
        raise ConfigError(f"uc must be little-endian, UC_MODE_ARM, got mode {mode:#x} with UC_MODE_BIG_ENDIAN")


class Hooks:
    """The C callbacks of one Uc; they live until `close`, which also takes them out of the Uc.

    Parameters: `uc`, an open `unicorn.Uc`; `pe`, index of the PE that is connected to it.
    Raises: ConfigError when `uc` has hooks already; UnicornError when Unicorn refuses a hook or a mapping.
    """

    def __init__(self, uc: unicorn.Uc, pe: int) -> None:
        for other in vars(uc).get("_gicv3_hooks", ()):
            raise ConfigError(f"uc is already attached to PE {other.pe}, and must be detached from it first")
        self.pe = pe
        self._uc = uc
        self._alive: list[Any] = []
        self._hooks: list[ctypes.c_size_t] = []
        self._regions: list[tuple[int, int]] = []
        # Unicorn knows the callbacks by address only: they must live as long as the Uc does, whoever forgets the port.
        vars(uc).setdefault("_gicv3_hooks", set()).add(self)

    def _add(self, kind: int, callback: Any, *extra: Any) -> None:
        handle = ctypes.c_size_t()
        status = _lib.uc_hook_add(
            self._uc._uch, ctypes.byref(handle), kind, callback, None,
            ctypes.c_uint64(1), ctypes.c_uint64(0), *extra,
        )
        check(status, f"add a hook of kind {kind}")
        self._alive.append(callback)
        self._hooks.append(handle)

    def sysreg(self, read: Callable[..., int], write: Callable[..., int]) -> None:
        """Call `read(handle, Xt, cp_reg address, None)` at each MRS and `write(...)` at each MSR; 1 means handled."""
        self._add(const.UC_HOOK_INSN, HOOK_SYSREG(read), ctypes.c_int(reg.UC_ARM64_INS_MRS))
        self._add(const.UC_HOOK_INSN, HOOK_SYSREG(write), ctypes.c_int(reg.UC_ARM64_INS_MSR))

    def sys(self, callback: Callable[..., int]) -> None:
        """Call `callback(handle, Xt, cp_reg address, None)` at each SYS (cache and TLB maintenance)."""
        self._add(const.UC_HOOK_INSN, HOOK_SYSREG(callback), ctypes.c_int(reg.UC_ARM64_INS_SYS))

    def interrupt(self, callback: Callable[..., None]) -> None:
        """Call `callback(handle, number, None)` at each synchronous exception."""
        self._add(const.UC_HOOK_INTR, HOOK_INTR(callback))

    def invalid_memory(self, callback: Callable[..., bool]) -> None:
        """Call `callback(handle, kind, address, size, value, None)` at each access to nothing; False ends the run."""
        self._add(const.UC_HOOK_MEM_INVALID, HOOK_MEM(callback))

    def mmio(self, base: int, size: int, read: Callable[..., int], write: Callable[..., None]) -> None:
        """Map a device: `read(handle, offset, size, None)` and `write(handle, offset, size, value, None)`."""
        callbacks = MMIO_READ(read), MMIO_WRITE(write)
        status = _lib.uc_mmio_map(self._uc._uch, base, size, callbacks[0], None, callbacks[1], None)
        check(status, f"map {size:#x} bytes of MMIO at {base:#x}")
        self._alive.extend(callbacks)
        self._regions.append((base, size))

    def close(self) -> None:
        """Take every hook and mapping out of the Uc; it must not be running. Safe to repeat."""
        for handle in self._hooks:
            _lib.uc_hook_del(self._uc._uch, handle)
        for base, size in self._regions:
            _lib.uc_mem_unmap(self._uc._uch, base, size)
        if self._hooks:
            # Translated code still calls the hooks it was translated with.
            flush_code(self._uc)
        self._hooks.clear()
        self._regions.clear()
        self._alive.clear()
        vars(self._uc)["_gicv3_hooks"].discard(self)
