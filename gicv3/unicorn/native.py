"""Unicorn's C library as Python has loaded it: what the compiled half calls, and the hooks of one Uc.

The wrapper converts every register value and re-raises through several layers: 3 us for one register. Callbacks and the
run loop are therefore compiled (`_native`) and call the library directly, on the handle that `unicorn.Uc` opened.
"""

from __future__ import annotations

import ctypes
from typing import Any

import unicorn
from unicorn import arm64_const as reg
from unicorn import unicorn_const as const

from gicv3.errors import ConfigError, GicError
from gicv3.unicorn import _native

try:
    from unicorn.unicorn_py3.unicorn import uclib
except ImportError as error:
    raise ImportError(
        f"gicv3.unicorn needs unicorn>=2.1.4, found {unicorn.__version__}: pip install 'gicv3[unicorn]'"
    ) from error


library: Any = uclib
VERSION = "2.1.4"
"""The Unicorn whose insides are known."""
LOOP_EXIT = "cpu_loop_exit_aarch64"


class UnicornError(GicError):
    """Unicorn cannot do what the adapter needs; the text says what."""


def inner(name: str) -> Any:
    """A function of the library that is no part of its interface; None where it is not there or may be another."""
    return getattr(library, name, None) if unicorn.__version__ == VERSION else None


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _control(number: int, arguments: int, access: int) -> int:
    """A `uc_control_type` with the number and the direction of its arguments, as unicorn.h packs them."""
    return number | arguments << 26 | access << 30


def _errors(kind: str) -> int:
    """The `uc_err` numbers of one kind of access, as a set of bits."""
    return sum(1 << getattr(const, f"UC_ERR_{kind}_{why}") for why in ("UNMAPPED", "PROT", "UNALIGNED"))


_FUNCTIONS = (
    "uc_reg_read", "uc_reg_write", "uc_reg_write_batch", "uc_emu_start", "uc_emu_stop", "uc_vmem_translate",
    "uc_vmem_read", "uc_ctl",
)
_REGISTERS = (
    "CP_REG", "ELR_EL1", "ESR_EL1", "FAR_EL1", "PC", "PSTATE", "SP", "SP_EL0", "SP_EL1", "VBAR_EL1", "X0", "X29", "X30",
)
_native.load(
    {name: _address(getattr(library, name)) for name in _FUNCTIONS} | {"cpu_loop_exit": _address(inner(LOOP_EXIT))},
    {name: getattr(reg, f"UC_ARM64_REG_{name}") for name in _REGISTERS}
    | {
        "TB_FLUSH": _control(const.UC_CTL_TB_FLUSH, 0, const.UC_CTL_IO_WRITE),
        "TLB_FLUSH": _control(const.UC_CTL_TLB_FLUSH, 0, const.UC_CTL_IO_WRITE),
        "TB_REMOVE": _control(const.UC_CTL_TB_REMOVE_CACHE, 2, const.UC_CTL_IO_WRITE),
        "PROT_READ": const.UC_PROT_READ,
        "PROT_EXEC": const.UC_PROT_EXEC,
        "ERR_OK": const.UC_ERR_OK,
        "ERRORS_FETCH": _errors("FETCH"),
        "ERRORS_READ": _errors("READ"),
        "ERRORS_WRITE": _errors("WRITE"),
    },
)

PHYSICAL_END = (1 << 48) - 1
"""The last physical address of an Armv8.0 PE."""
Encoding = tuple[int, int, int, int, int]


def check(status: int, what: str) -> None:
    """Raise `UnicornError` with Unicorn's own words when `status` is not UC_ERR_OK."""
    if status != const.UC_ERR_OK:
        raise UnicornError(f"Unicorn cannot {what}: {library.uc_strerror(status).decode()}")


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


def translate(uc: unicorn.Uc, address: int) -> int | None:
    """The physical address that a Uc's guest would read at virtual `address`; None when that is a fault."""
    physical = ctypes.c_uint64()
    status = library.uc_vmem_translate(
        uc._uch, ctypes.c_uint64(address), const.UC_PROT_READ, ctypes.byref(physical)
    )
    return physical.value if status == const.UC_ERR_OK else None


def map_memory(uc: unicorn.Uc, base: int, size: int, host: int) -> None:
    """Map `size` bytes of host memory at `host` as the guest's RAM at `base`; they must outlive the Uc."""
    status = library.uc_mem_map_ptr(uc._uch, base, size, const.UC_PROT_ALL, host)
    check(status, f"map {size:#x} bytes of RAM at {base:#x}")


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

    def _add(
        self, kind: int, callback: str, data: object, *extra: Any, begin: int = 1, end: int = 0
    ) -> None:
        handle = ctypes.c_size_t()
        status = library.uc_hook_add(
            self._uc._uch, ctypes.byref(handle), kind, ctypes.c_void_p(_native.CALLBACKS[callback]),
            ctypes.c_void_p(id(data)), ctypes.c_uint64(begin), ctypes.c_uint64(end), *extra,
        )
        check(status, f"add a hook of kind {kind}")
        self._alive.append(data)
        self._hooks.append(handle)

    def sysreg(self, port: _native.Port) -> None:
        """Have `port` asked at each MRS and MSR."""
        self._add(const.UC_HOOK_INSN, "mrs", port, ctypes.c_int(reg.UC_ARM64_INS_MRS))
        self._add(const.UC_HOOK_INSN, "msr", port, ctypes.c_int(reg.UC_ARM64_INS_MSR))

    def vcpu(self, core: _native.Core, ram: tuple[int, int]) -> None:
        """Have `core` called at each instruction, SYS, synchronous exception, and access to nothing but `ram`."""
        self._add(const.UC_HOOK_CODE, "code", core)
        self._add(const.UC_HOOK_INSN, "sys", core, ctypes.c_int(reg.UC_ARM64_INS_SYS))
        self._add(const.UC_HOOK_INTR, "exception", core)
        # Where such a hook applies no store is ever fast: RAM, which is always there, is spared.
        base, size = ram
        for begin, end in ((0, base - 1), (base + size, PHYSICAL_END)):
            self._add(const.UC_HOOK_MEM_INVALID, "invalid_memory", core, begin=begin, end=end)

    def mmio(self, base: int, size: int, kind: str, data: _native.Frames) -> None:
        """Map `data` as a device of `kind` "gic" or "device"."""
        pointer = ctypes.c_void_p(id(data))
        status = library.uc_mmio_map(
            self._uc._uch, base, size,
            ctypes.c_void_p(_native.CALLBACKS[f"{kind}_read"]), pointer,
            ctypes.c_void_p(_native.CALLBACKS[f"{kind}_write"]), pointer,
        )
        check(status, f"map {size:#x} bytes of MMIO at {base:#x}")
        self._alive.append(data)
        self._regions.append((base, size))

    def close(self) -> None:
        """Take every hook and mapping out of the Uc; it must not be running. Safe to repeat."""
        for handle in self._hooks:
            library.uc_hook_del(self._uc._uch, handle)
        for base, size in self._regions:
            library.uc_mem_unmap(self._uc._uch, base, size)
        if self._hooks:
            # Translated code still calls the hooks it was translated with.
            flush_code(self._uc)
        self._hooks.clear()
        self._regions.clear()
        self._alive.clear()
        vars(self._uc)["_gicv3_hooks"].discard(self)
