"""One Unicorn vCPU wired to one PE of a GICv3: MMIO, ICC registers, and interrupts taken.

An interrupt is taken the way the PE would: ELR_EL1, SPSR_EL1, PSTATE and PC are written and the guest goes on at its
vector; ERET is Unicorn's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from operator import index as as_index
from typing import TYPE_CHECKING

import unicorn
from unicorn import arm64_const as reg

from gicv3.errors import ConfigError
from gicv3.registers import SYSREGS
from gicv3.unicorn import native
from gicv3.unicorn.native import PC, PSTATE, SP, X0, RegisterBatch
from gicv3.vcpu import Unique

if TYPE_CHECKING:
    from gicv3 import GICv3

SPSR_EL1 = (3, 0, 4, 0, 0)
ID_AA64PFR0_EL1 = (3, 0, 0, 4, 0)
PFR0_GIC = 1 << 24

PSTATE_F, PSTATE_I = 1 << 6, 1 << 7
PSTATE_EL = 3 << 2
PSTATE_SPSEL = 1
EL1H_MASKED = 0x3C5
# N, Z, C, V and PAN go into the handler as they were.
PSTATE_KEPT = 0xF040_0000

LINE_IRQ, LINE_FIQ = 1, 2
LINES = LINE_IRQ | LINE_FIQ
VECTOR_SYNC, VECTOR_IRQ, VECTOR_FIQ = 0x000, 0x080, 0x100

GICD_SIZE = 0x1_0000
REDISTRIBUTOR_STRIDE = 0x2_0000


class UnicornPort(Unique):
    """The connection of one `unicorn.Uc` (AArch64, at EL1 or EL0) to one PE.

    The guest's ICC_* accesses and, with `mmio`, its accesses to the GIC's frames go to the GIC. A pending interrupt
    that PSTATE lets through is taken at once after an ICC access; at any other time when `take_interrupt` is called,
    which a run loop does between its calls of `emu_start`. Group 1 arrives as IRQ, Group 0 as FIQ.

    Parameters: `gic`; `uc`; `pe`, the PE's index in the GIC, 0..num_pe-1; `mmio`, map the GIC's frames.
    Raises: ConfigError when `pe` is out of range, or `uc` is not of AArch64, big-endian, or attached already;
    UnicornError when Unicorn refuses a hook or a mapping.
    Thread-safety: none; use it from the thread that runs the Uc.
    """

    # True where an interrupt that becomes pending must end `emu_start`, so that a run loop can take it.
    stop_when_pending = False

    def __init__(self, gic: GICv3, uc: unicorn.Uc, pe: int = 0, mmio: bool = True) -> None:
        if not 0 <= as_index(pe) < gic.num_pe:
            raise ConfigError(f"pe must be in 0..{gic.num_pe - 1}, got {pe}")
        native.check_uc(uc)
        self.gic, self.uc, self.pe = gic, uc, pe
        self.error: BaseException | None = None
        self._lines = gic.lines.data
        handle = uc._uch.value
        self._handle = ctypes.c_void_p(handle)
        self._state = RegisterBatch(handle, (PC, PSTATE, reg.UC_ARM64_REG_VBAR_EL1))
        self._value = RegisterBatch(handle, (X0,))
        self._result = RegisterBatch(handle, (X0, PC))
        self._pc = RegisterBatch(handle, (PC,))
        self._stacks = RegisterBatch(handle, (SP, reg.UC_ARM64_REG_SP_EL1))
        self._swap = RegisterBatch(handle, (reg.UC_ARM64_REG_SP_EL0, SP))
        # The system register comes after PSTATE: writing one is what makes Unicorn look at the new Exception level.
        self._entry = RegisterBatch(handle, (PSTATE, reg.UC_ARM64_REG_ELR_EL1, SPSR_EL1, PC))
        self._spsr = self._entry.cp[2]
        self._readers: dict[bytes, Callable[[int], int]] = {}
        self._writers: dict[bytes, Callable[[int], int]] = {}
        for row in SYSREGS:
            register = row.reg
            if row.min_el == 1 and register in gic.sysregs:
                if row.access != "WO":
                    self._readers[native.cp_key(row.encoding)] = partial(self._read_icc, register)
                if row.access != "RO":
                    self._writers[native.cp_key(row.encoding)] = partial(self._write_icc, register)
        pfr0 = RegisterBatch(handle, (ID_AA64PFR0_EL1,))
        pfr0.read()
        self._set_constant(ID_AA64PFR0_EL1, pfr0.cp[0].val | PFR0_GIC)
        self._hooks = native.Hooks(uc, pe)
        try:
            self._hooks.sysreg(self._mrs, self._msr)
            if mmio:
                self._map_gic()
        except native.UnicornError:
            self.detach()
            raise

    def detach(self) -> None:
        """Take the port out of its Uc, which must not be running and is then as it was; safe to repeat."""
        self._hooks.close()
        self._readers.clear()
        self._writers.clear()

    @property
    def pc(self) -> int:
        """The guest's program counter: where the next `emu_start` has to begin."""
        self._pc.read()
        return self._pc.values[0]

    @property
    def entered(self) -> int:
        """The vector at which the last exception was taken."""
        return self._entry.values[3]

    def take_interrupt(self) -> bool:
        """Enter the guest's IRQ or FIQ vector if an interrupt is pending and PSTATE lets it through.

        Returns: whether it was entered; `pc` then is the vector. Raises: what a callback raised while the guest ran.
        """
        self.raise_error()
        line = self._lines[self.pe] & LINES
        if not line:
            return False
        self._state.read()
        return self._enter_interrupt(line, self._state.values[0])

    def raise_error(self) -> None:
        """Raise, once, the exception that a callback raised while the guest ran."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _enter_interrupt(self, line: int, resume: int) -> bool:
        """Take what `line` asks for, with `_state` freshly read; `resume` is where ERET goes back to."""
        pstate = self._state.values[1]
        if line & LINE_FIQ and not pstate & PSTATE_F:
            self.enter(VECTOR_FIQ, resume)
        elif line & LINE_IRQ and not pstate & PSTATE_I:
            self.enter(VECTOR_IRQ, resume)
        else:
            return False
        return True

    def enter(self, vector: int, resume: int) -> None:
        """Take an exception to EL1 at `vector` (offset within one quarter of the table), `_state` freshly read."""
        _, pstate, vbar = self._state.values
        if not pstate & PSTATE_EL:
            vector += 0x400
        elif pstate & PSTATE_SPSEL:
            vector += 0x200
        if not pstate & PSTATE_SPSEL:
            # Unicorn keeps the stack pointer in use apart from the banked ones and swaps them only in its own entries.
            self._stacks.read()
            self._swap.values[0], self._swap.values[1] = self._stacks.values
            self._swap.write()
        values = self._entry.values
        values[0] = pstate & PSTATE_KEPT | EL1H_MASKED
        values[1] = resume
        self._spsr.val = pstate
        values[3] = vbar + vector
        self._entry.write()

    def _fail(self, error: BaseException) -> None:
        """Keep the first exception and end the run; Unicorn's own `emu_start` raises what it finds in the Uc."""
        if self.error is None:
            self.error = error
            self.uc._hook_exception = error
        self._stop()

    def _stop(self) -> None:
        """End the running `emu_start` after this instruction, or block where nothing counts instructions."""
        native.emu_stop(self._handle)

    # System registers. A hook answers 1 for "handled"; 0 leaves the access to Unicorn, which makes it UNDEFINED.

    def _mrs(self, _handle: int, register: int, cp: int, _data: object) -> int:
        reader = self._readers.get(ctypes.string_at(cp, native.CP_KEY_SIZE))
        if reader is None:
            return 0
        try:
            return reader(register)
        except BaseException as error:
            self._fail(error)
            return 1

    def _msr(self, _handle: int, _register: int, cp: int, _data: object) -> int:
        writer = self._writers.get(ctypes.string_at(cp, native.CP_KEY_SIZE))
        if writer is None:
            return 0
        try:
            return writer(ctypes.c_uint64.from_address(cp + native.CP_VALUE).value)
        except BaseException as error:
            self._fail(error)
            return 1

    def _set_constant(self, encoding: native.Encoding, value: int) -> None:
        """Make a register that Unicorn knows read as `value`."""
        self._readers[native.cp_key(encoding)] = lambda register: self._return(register, value)

    def _return(self, register: int, value: int) -> int:
        """Answer an MRS of a register that Unicorn knows: it then goes on by itself."""
        result = self._value
        result.ids[0] = register
        result.values[0] = value
        result.write()
        return 1

    def _read_icc(self, encoding: int, register: int) -> int:
        self._state.read()
        pc, pstate, _ = self._state.values
        if not pstate & PSTATE_EL:
            return 0
        result = self._result
        result.ids[0] = register
        result.values[0] = self.gic.sysreg_read(self.pe, encoding)
        # Unicorn does not know the register: for it the instruction is undefined unless the PC has moved on.
        result.values[1] = pc + 4
        result.write()
        return 1

    def _write_icc(self, encoding: int, value: int) -> int:
        self._state.read()
        pc, pstate, _ = self._state.values
        if not pstate & PSTATE_EL:
            return 0
        self.gic.sysreg_write(self.pe, encoding, value)
        line = self._lines[self.pe] & LINES
        if not line or not self._enter_interrupt(line, pc + 4):
            self._pc.values[0] = pc + 4
            self._pc.write()
            if line and self.stop_when_pending:
                self._stop()
        return 1

    # Memory-mapped registers

    def _map_gic(self) -> None:
        config = self.gic.config
        self._map(config.dist_base, GICD_SIZE)
        for base, count in config.regions:
            self._map(base, count * REDISTRIBUTOR_STRIDE)

    def _map(self, base: int, size: int) -> None:
        gic, pe = self.gic, self.pe

        def read(address: int, size: int) -> int:
            return gic.mmio_read(address, size, None, pe)

        def write(address: int, value: int, size: int) -> None:
            gic.mmio_write(address, value, size, None, pe)

        self.map_device(base, size, read, write)

    def map_device(
        self, base: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None]
    ) -> None:
        """Map a device whose interrupts go to this GIC.

        Parameters: `base` and `size` in bytes, multiples of 4096; `read(address, size)`; `write(address, value, size)`.
        Raises: UnicornError when Unicorn refuses the mapping.
        """

        def on_read(_handle: int, offset: int, width: int, _data: object) -> int:
            try:
                return read(base + offset, width)
            except BaseException as error:
                self._fail(error)
                return 0

        def on_write(_handle: int, offset: int, width: int, value: int, _data: object) -> None:
            try:
                write(base + offset, value, width)
            except BaseException as error:
                self._fail(error)
            if self.stop_when_pending and self._lines[self.pe] & LINES:
                self._stop()

        self._hooks.mmio(base, size, on_read, on_write)


def attach(gic: GICv3, uc: unicorn.Uc, pe: int = 0, mmio: bool = True) -> UnicornPort:
    """Connect a Unicorn program's AArch64 `uc` to PE `pe` of `gic`; see `UnicornPort` for what the connection does.

    Parameters: `gic`; `uc`, opened for UC_ARCH_ARM64 and at EL1 or EL0 (see `reset`); `pe`, 0..num_pe-1; `mmio`, map
    the GIC's frames at the addresses of its configuration. Returns: the port; `detach()` undoes it.
    Raises: ConfigError when `pe` is out of range, or `uc` is not of AArch64, big-endian, or attached already;
    UnicornError when Unicorn refuses a hook or a mapping.
    """
    return UnicornPort(gic, uc, pe, mmio)
