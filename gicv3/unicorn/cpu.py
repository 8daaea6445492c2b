"""One vCPU of a `UnicornMachine`: its Uc, its firmware calls and timers, and its power."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from unicorn import arm64_const as reg

from gicv3.errors import GicError
from gicv3.timer import TimerReg
from gicv3.unicorn import _native, known, layout, native
from gicv3.unicorn.port import ID_AA64PFR0_EL1, PFR0_GIC, UnicornPort
from gicv3.vcpu import PowerState, Vcpu

if TYPE_CHECKING:
    from gicv3.unicorn.machine import UnicornMachine

MPIDR_EL1 = (3, 0, 0, 0, 5)
MPIDR_RES1 = 1 << 31
# AArch64 only, at EL0 and EL1, no EL2 or EL3, and a GIC with system registers.
PFR0 = 0x11 | PFR0_GIC

# Timers of EL2 and EL3 are left to Unicorn.
_TIMERS = tuple(
    TimerReg[name]
    for name in (
        "CNTFRQ_EL0", "CNTPCT_EL0", "CNTVCT_EL0",
        "CNTV_TVAL_EL0", "CNTV_CTL_EL0", "CNTV_CVAL_EL0", "CNTP_TVAL_EL0", "CNTP_CTL_EL0", "CNTP_CVAL_EL0",
    )
)
_ARGUMENTS = tuple(reg.UC_ARM64_REG_X0 + number for number in range(4))

# Semihosting operations, and the reason that stands for an exit the program wanted.
SYS_EXIT, SYS_EXIT_EXTENDED = 0x18, 0x20
APPLICATION_EXIT = 0x2_0026
_EXIT_BLOCK = struct.Struct("<QQ")  # reason, status

OFF, STARTING, ON = range(3)
POWER = {PowerState.OFF: OFF, PowerState.ON_PENDING: STARTING, PowerState.ON: ON}
"""What `_native` calls the states of power."""


class GuestCpu(UnicornPort, _native.Core):
    """A plugged vCPU and the Uc that runs it.

    Parameters: `machine`, which it is part of; `vcpu`. Raises: UnicornError when Unicorn cannot make it.
    Thread-safety: as its machine's.
    """

    def __init__(self, machine: UnicornMachine, vcpu: Vcpu) -> None:
        self.machine = machine
        self.vcpu = vcpu
        self.power = POWER[vcpu.power_state]
        uc = native.open_uc(machine.cpu_model, machine.tcg_buffer)
        native.map_memory(uc, machine.ram_base, machine.ram_size, machine.ram_address)
        self.join(machine)
        super().__init__(machine.gic, uc, vcpu.cpu_index)
        cpu = machine.layout.cpu_of(uc) if native.inner(native.LOOP_EXIT) else 0
        self.find(cpu, machine.layout.find(uc), machine.layout)
        for base, size, read, write in machine.devices:
            self.map_device(base, size, read, write)
        self._hooks.vcpu(self, (machine.ram_base, machine.ram_size))
        self._cold = uc.context_save()

    def _constants(self) -> Mapping[native.Encoding, int]:
        return {ID_AA64PFR0_EL1: PFR0, MPIDR_EL1: MPIDR_RES1 | self.vcpu.mp_affinity}

    def _tell(self, registers: Iterable[native.Encoding]) -> bool:
        return known.tell(self.uc, self.machine.layout.cpu_of(self.uc), registers)

    def _timers(self) -> tuple[int, ...]:
        return _TIMERS

    def detach(self) -> None:
        """Refused. Raises: GicError; a vCPU leaves its machine by an unplug."""
        raise GicError(f"vCPU {self.pe} is part of a machine, and cannot be detached: unplug it")

    def release(self) -> None:
        """Let go of the Uc, which then closes; for the machine when the vCPU is unplugged."""
        super().detach()
        del self._cold

    def power_on(self) -> None:
        """Start from reset at the vCPU's `context.pc` with X0 = `context.x0`."""
        self.uc.context_restore(self._cold)
        self.flush(code=True, translations=True)
        layout.reset(self.uc, self.vcpu.context.pc, self.vcpu.context.x0)
        self.waiting = False
        self.machine.machine.powered_on(self.vcpu)
        self.power = ON

    def flush(self, code: bool, translations: bool) -> None:
        """Drop translated code, or the TLB, because somebody else has changed what they were made from."""
        if code:
            native.flush_code(self.uc)
        if translations:
            native.flush_translations(self.uc)

    # What the compiled half asks

    def timer_read(self, register: int, now: int) -> int:
        return self.vcpu.timer.read(register, now)

    def timer_write(self, register: int, value: int, now: int) -> None:
        self.vcpu.timer.write(register, value, now)

    def firmware_call(self) -> None:
        function, x1, x2, x3 = (self.uc.reg_read(register) for register in _ARGUMENTS)
        result = self.machine.machine.psci.call(self.vcpu, function, x1, x2, x3)
        self.uc.reg_write(reg.UC_ARM64_REG_X0, result & 0xFFFF_FFFF_FFFF_FFFF)

    def semihosting_call(self) -> bool:
        operation, argument = (self.uc.reg_read(register) for register in _ARGUMENTS[:2])
        if operation & 0xFFFF_FFFF not in (SYS_EXIT, SYS_EXIT_EXTENDED):
            return False
        block = self._read(argument, _EXIT_BLOCK.size)
        reason, status = _EXIT_BLOCK.unpack(block) if block is not None else (0, 0)
        self.machine.exit(status & 0xFF if reason == APPLICATION_EXIT else 1)
        return True

    def _read(self, address: int, size: int) -> bytes | None:
        """RAM at a virtual address of the guest; None where it has none."""
        data = bytearray()
        for place in range(address, address + size):
            physical = native.translate(self.uc, place)
            if physical is None or not 0 <= physical - self.machine.ram_base < self.machine.ram_size:
                return None
            data.append(self.machine.memory[physical - self.machine.ram_base])
        return bytes(data)

    def run_failed(self, status: int, pc: int) -> None:
        native.check(status, f"go on with vCPU {self.pe} at {pc:#x}")
