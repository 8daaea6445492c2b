"""One Unicorn vCPU wired to one PE of a GICv3: MMIO, ICC registers, and interrupts taken.

An interrupt is taken the way the PE would: ELR_EL1, SPSR_EL1, PSTATE and PC are written and the guest goes on at its
vector; ERET is Unicorn's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import unicorn
from unicorn import arm64_const as reg

from gicv3.arguments import instance, integer
from gicv3.errors import ConfigError, GicError
from gicv3.gic import GICv3
from gicv3.registers import REGISTERS, SYSREGS, Frame, encode
from gicv3.unicorn import _native, native
from gicv3.vcpu import Unique

ID_AA64PFR0_EL1 = (3, 0, 0, 4, 0)
PFR0_GIC = 1 << 24

KIND_ICC, KIND_CONSTANT, KIND_TIMER, KIND_KNOWN = 1, 2, 16, 17
"""What `_native` does with a system register; 0 leaves it to Unicorn."""

FIXED = [row.offset for row in REGISTERS if row.frame == Frame.GICD and row.access == "RO" and row.offset < 64]
"""Registers of the Distributor that tell what the GIC is."""

GICD_SIZE = 0x1_0000
REDISTRIBUTOR_STRIDE = 0x2_0000
ITS_SIZE = 0x2_0000


class UnicornPort(_native.Port, Unique):
    """The connection of one `unicorn.Uc` (AArch64, at EL1 or EL0) to one PE.

    The guest's ICC_* accesses and, with `mmio`, its accesses to the GIC's frames go to the GIC. A pending interrupt
    that PSTATE lets through is taken at once after a write to an ICC register; at any other time when `take_interrupt`
    is called, which a run loop does between its calls of `emu_start`. Group 1 arrives as IRQ, Group 0 as FIQ.

    Parameters: `gic`; `uc`; `pe`, the PE's index in the GIC, 0..num_pe-1; `mmio`, map the GIC's frames.
    Raises: ConfigError when `pe` is out of range, or `uc` is not of AArch64, big-endian, or attached already;
    UnicornError when Unicorn refuses a hook or a mapping.
    Thread-safety: none; use it from the thread that runs the Uc.
    """

    def __init__(self, gic: GICv3, uc: unicorn.Uc, pe: int = 0, mmio: bool = True) -> None:
        instance("gic", gic, GICv3)
        if not 0 <= integer("pe", pe) < gic.num_pe:
            raise ConfigError(f"pe must be in 0..{gic.num_pe - 1}, got {pe}")
        native.check_uc(uc)
        self.uc = uc
        self._hooks = native.Hooks(uc, pe)
        kinds = bytearray(1 << 14)
        registers = [row for row in SYSREGS if row.min_el == 1 and encode(*row.encoding) in gic.sysregs]
        kind = KIND_KNOWN if self._tell(row.encoding for row in registers) else KIND_ICC
        for row in registers:
            kinds[encode(*row.encoding) & 0x3FFF] = kind
        constants = self._constants()
        for number, encoding in enumerate(constants):
            kinds[encode(*encoding) & 0x3FFF] = KIND_CONSTANT + number
        for register in self._timers():
            kinds[register & 0x3FFF] = KIND_TIMER
        self.connect(gic, uc._uch.value, pe, bytes(kinds), list(constants.values()))
        try:
            self._hooks.sysreg(self)
            if mmio:
                self._map_gic()
        except native.UnicornError:
            self._hooks.close()
            raise

    def _constants(self) -> Mapping[native.Encoding, int]:
        """Registers that Unicorn knows, but with another value, at most four."""
        op0, op1, crn, crm, op2 = ID_AA64PFR0_EL1
        features = self.uc.reg_read(reg.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2))
        return {ID_AA64PFR0_EL1: features | PFR0_GIC}

    def _tell(self, registers: Iterable[native.Encoding]) -> bool:
        """Tell the Uc of registers that the GIC answers. Returns: whether it knows them now."""
        return False

    def _timers(self) -> tuple[int, ...]:
        """Encodings of the timer registers that are not left to Unicorn."""
        return ()

    def detach(self) -> None:
        """Take the port out of its Uc, which is then as it was; safe to repeat. Raises: GicError while that runs."""
        if self.running:
            raise GicError(f"the port of PE {self.pe} cannot be detached by a callback of the guest that runs on it")
        self._hooks.close()

    def on_failure(self, error: BaseException) -> None:
        # Unicorn's own `emu_start` raises what it finds there.
        self.uc._hook_exception = error

    def _map_gic(self) -> None:
        config = self.gic.config
        dist = config.dist_base
        # With two Security states GICD_CTLR.DS changes them.
        fixed = {} if config.security else {offset: self.gic.mmio_read(dist + offset) for offset in FIXED}
        self._hooks.mmio(dist, GICD_SIZE, "gic", _native.Frames(self, dist, fixed))
        for base, size in (
            *((base, count * REDISTRIBUTOR_STRIDE) for base, count in config.regions),
            *((its.base, ITS_SIZE) for its in getattr(self.gic, "its", ())),
        ):
            self._hooks.mmio(base, size, "gic", _native.Frames(self, base))

    def map_device(
        self, base: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], object]
    ) -> None:
        """Map a device whose interrupts go to this GIC.

        Parameters: `base` and `size` in bytes, multiples of 4096; `read(address, size)`; `write(address, value, size)`.
        Raises: UnicornError when Unicorn refuses the mapping.
        """
        self._hooks.mmio(base, size, "device", _native.Device(self, base, read, write))


def attach(gic: GICv3, uc: unicorn.Uc, pe: int = 0, mmio: bool = True) -> UnicornPort:
    """Connect a Unicorn program's AArch64 `uc` to PE `pe` of `gic`; see `UnicornPort` for what the connection does.

    Parameters: `gic`; `uc`, opened for UC_ARCH_ARM64 and at EL1 or EL0 (see `reset`); `pe`, 0..num_pe-1; `mmio`, map
    the GIC's frames at the addresses of its configuration. Returns: the port; `detach()` undoes it.
    Raises: ConfigError when `pe` is out of range, or `uc` is not of AArch64, big-endian, or attached already;
    UnicornError when Unicorn refuses a hook or a mapping.
    """
    return UnicornPort(gic, uc, pe, mmio)
