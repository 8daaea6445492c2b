"""One vCPU of a `UnicornMachine`: its Uc, its slices, its timers and firmware calls, its exceptions."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from unicorn import unicorn_const as const

from gicv3.timer import TimerReg
from gicv3.unicorn import blocks, layout, native
from gicv3.unicorn.native import X0, Encoding, RegisterBatch
from gicv3.unicorn.port import ID_AA64PFR0_EL1, LINES, PFR0_GIC, PSTATE_EL, VECTOR_SYNC, UnicornPort
from gicv3.vcpu import PowerState, Vcpu

if TYPE_CHECKING:
    from gicv3.unicorn.machine import UnicornMachine

# UC_HOOK_INTR numbers (QEMU's EXCP_*).
EXCP_HVC, EXCP_SMC = 11, 13

SCTLR_EL1 = (3, 0, 1, 0, 0)
SCTLR_M = 1
ESR_EL1 = (3, 0, 5, 2, 0)
FAR_EL1 = (3, 0, 6, 0, 0)
ESR_IL = 1 << 25
EC_INSTRUCTION_ABORT, EC_DATA_ABORT = 0x20, 0x24
EC_SAME_EL = 1
FSC_EXTERNAL = 0x10
ESR_WNR = 1 << 6
ESR_FNV = 1 << 10

_FETCH_ERRORS = {const.UC_ERR_FETCH_UNMAPPED, const.UC_ERR_FETCH_PROT, const.UC_ERR_FETCH_UNALIGNED}
_READ_ERRORS = {const.UC_ERR_READ_UNMAPPED, const.UC_ERR_READ_PROT, const.UC_ERR_READ_UNALIGNED}
_WRITE_ERRORS = {const.UC_ERR_WRITE_UNMAPPED, const.UC_ERR_WRITE_PROT, const.UC_ERR_WRITE_UNALIGNED}

MPIDR_EL1 = (3, 0, 0, 0, 5)
MPIDR_RES1 = 1 << 31
CNTKCTL_EL1 = (3, 0, 14, 1, 0)
# AArch64 only, at EL0 and EL1, no EL2 or EL3, and a GIC with system registers.
PFR0 = 0x11 | PFR0_GIC

# The bits of CNTKCTL_EL1 of which one must be set for EL0 to use a register. Timers of EL2 and EL3 are left to Unicorn.
_EL0_ENABLE = {
    TimerReg.CNTFRQ_EL0: 1 << 0 | 1 << 1,
    TimerReg.CNTPCT_EL0: 1 << 0,
    TimerReg.CNTVCT_EL0: 1 << 1,
    TimerReg.CNTV_TVAL_EL0: 1 << 8,
    TimerReg.CNTV_CTL_EL0: 1 << 8,
    TimerReg.CNTV_CVAL_EL0: 1 << 8,
    TimerReg.CNTP_TVAL_EL0: 1 << 9,
    TimerReg.CNTP_CTL_EL0: 1 << 9,
    TimerReg.CNTP_CVAL_EL0: 1 << 9,
}
_READ_ONLY = {TimerReg.CNTFRQ_EL0, TimerReg.CNTPCT_EL0, TimerReg.CNTVCT_EL0}

_CRN_TLBI, _CRM_INNER_SHAREABLE = 8, 3
_IC = {(0, 7, 1, 0), (0, 7, 5, 0), (3, 7, 5, 1)}  # IALLUIS, IALLU, IVAU as (op1, CRn, CRm, op2)


def _unpack(encoding: int) -> Encoding:
    return encoding >> 14, encoding >> 11 & 7, encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7


class GuestCpu(UnicornPort):
    """A plugged vCPU and the Uc that runs it.

    Parameters: `machine`, which it is part of; `vcpu`. Raises: UnicornError when Unicorn cannot make it.
    Thread-safety: as its machine's.
    """

    stop_when_pending = True

    def __init__(self, machine: UnicornMachine, vcpu: Vcpu) -> None:
        self.machine = machine
        self.vcpu = vcpu
        self.waiting = False
        self.executed = 0
        self._started = 0  # counter value at which the running emu_start began, and by which it ends
        self._ends = 0
        self._faulted = -1  # instructions counted at the last exception, and whether the next one ended the run
        self._stalled = False
        self._fault_address = 0
        uc = native.open_uc(machine.cpu_model, machine.tcg_buffer)
        native.map_memory(uc, machine.ram_base, machine.ram_size, machine.ram_address)
        super().__init__(machine.gic, uc, vcpu.cpu_index)
        base, size = machine.machine.memory_map["UART0"]
        uart = machine.uart
        self.map_device(
            base,
            size,
            lambda address, _: uart.read(address - base),
            lambda address, value, _: uart.write(address - base, value),
        )
        self._hooks.interrupt(self._exception)
        self._hooks.invalid_memory(self._invalid_memory)
        self._hooks.sys(self._sys)
        self._add_registers()
        handle = uc._uch.value
        self._begin, self._count = ctypes.c_uint64(), ctypes.c_size_t()
        self._start_arguments = (self._handle, self._begin, ctypes.c_uint64(0), ctypes.c_uint64(0), self._count)
        self._call = RegisterBatch(handle, (X0, X0 + 1, X0 + 2, X0 + 3))
        self._x0 = RegisterBatch(handle, (X0,))
        self._syndrome = RegisterBatch(handle, (ESR_EL1, FAR_EL1))
        self._cntkctl = RegisterBatch(handle, (CNTKCTL_EL1,))
        self._sctlr = RegisterBatch(handle, (SCTLR_EL1,))
        # Unicorn's own [instructions counted, instructions asked for] of the running emu_start.
        counter = (ctypes.c_uint64 * 2).from_address(handle + machine.layout.counter)
        self._counter = memoryview(counter).cast("B").cast("Q")
        self._fault = layout.Syndrome(uc, machine.layout)
        self._cold = uc.context_save()

    def detach(self) -> None:
        """Let go of the Uc, which then closes."""
        super().detach()
        del self._fault, self._cold

    # Power

    def power_on(self) -> None:
        """Start from reset at the vCPU's `context.pc` with X0 = `context.x0`."""
        self.uc.context_restore(self._cold)
        self.flush(code=True, translations=True)
        layout.reset(self.uc, self.vcpu.context.pc, self.vcpu.context.x0)
        self.waiting = False
        self.machine.machine.powered_on(self.vcpu)

    def flush(self, code: bool, translations: bool) -> None:
        """Drop translated code, or the TLB, because somebody else has changed what they were made from."""
        if code:
            native.flush_code(self.uc)
        if translations:
            native.flush_translations(self.uc)

    # Running

    def runnable(self) -> bool:
        """Whether the vCPU is on and awake; an interrupt ends WFI even where PSTATE masks it."""
        return self.vcpu.power_state is PowerState.ON and (not self.waiting or bool(self._lines[self.pe] & LINES))

    def run(self, start: int, budget: int) -> None:
        """Run from counter value `start` for up to `budget` instructions, at least 1; ends early when the vCPU sleeps.

        Afterwards `executed` is the number of instructions, also where it raises.
        Raises: what a callback raised; UnicornError when Unicorn itself fails.
        """
        lines, counter, pe = self._lines, self._counter, self.pe
        timers = self.machine.timers
        self.waiting = False
        pc = self.pc
        self.executed = 0
        while self.executed < budget and not self.waiting:
            now = start + self.executed
            count = budget - self.executed
            deadline = timers.next_deadline()
            if deadline is not None:
                if deadline <= now:
                    timers.advance(now)
                    continue
                count = min(count, deadline - now)
            if lines[pe] & LINES:
                if self.take_interrupt():
                    pc = self.entered
                else:
                    count = min(count, blocks.length(native.read_code(self._handle, pc, blocks.WINDOW)))
            self._begin.value, self._count.value = pc, count
            self._started, self._ends = now, now + count
            self._faulted = -1
            status = native.emu_start(*self._start_arguments)
            counted, asked = counter
            # The count ends a run at the instruction after the last one, which is counted but not executed.
            self.executed += max(1, min(counted, asked))
            self.raise_error()
            pc = self.pc
            if status != native.OK:
                pc = self._abort(status, pc)
            elif counted <= asked and not self._stalled:
                # The count did not end it: WFI did.
                self.waiting = not lines[pe] & LINES
            self._stalled = False
            if self.vcpu.power_state is not PowerState.ON or self.machine.halted:
                break

    def _stop(self) -> None:
        """End the running `emu_start` after this instruction.

        Unicorn's `uc_emu_stop` would leave the PC at a load or store that is under way, and repeat its MMIO access.
        """
        self._counter[1] = self._counter[0]

    def _now(self) -> int:
        return self._started + self._counter[0]

    # System registers beside the GIC's

    def _add_registers(self) -> None:
        self._set_constant(MPIDR_EL1, MPIDR_RES1 | self.vcpu.mp_affinity)
        self._set_constant(ID_AA64PFR0_EL1, PFR0)
        for register, enable in _EL0_ENABLE.items():
            key = native.cp_key(_unpack(register))
            self._readers[key] = partial(self._read_timer, register, enable)
            if register not in _READ_ONLY:
                self._writers[key] = partial(self._write_timer, register, enable)

    def _may_use(self, enable: int) -> bool:
        """Whether the guest may use a timer register now; if not Unicorn knows what exception that is."""
        self._state.read()
        if self._state.values[1] & PSTATE_EL:
            return True
        self._cntkctl.read()
        return bool(self._cntkctl.cp[0].val & enable)

    def _read_timer(self, encoding: TimerReg, enable: int, register: int) -> int:
        if not self._may_use(enable):
            return 0
        return self._return(register, self.vcpu.timer.read(encoding, self._now()))

    def _write_timer(self, encoding: TimerReg, enable: int, value: int) -> int:
        if not self._may_use(enable):
            return 0
        self.vcpu.timer.write(encoding, value, self._now())
        deadline = self.machine.timers.next_deadline()
        if self._lines[self.pe] & LINES or (deadline is not None and deadline < self._ends):
            self._stop()
        return 1

    def _sys(self, _handle: int, _register: int, cp: int, _data: object) -> int:
        """Pass cache and TLB maintenance that reaches other PEs on to them; Unicorn does this one's share itself."""
        crn, crm, _, op1, op2 = (ctypes.c_uint32 * 5).from_address(cp)
        try:
            if crn == _CRN_TLBI and crm == _CRM_INNER_SHAREABLE:
                self.machine.flush_others(self, code=False, translations=True)
            elif (op1, crn, crm, op2) in _IC:
                self.machine.flush_others(self, code=True, translations=False)
        except BaseException as error:
            self._fail(error)
        return 0

    # Exceptions

    def _exception(self, _handle: int, number: int, _data: object) -> None:
        try:
            self._state.read()
            pc = self._state.values[0]
            if number == EXCP_HVC:
                self._firmware_call()
            elif number == EXCP_SMC:
                # There is no EL3: the instruction is UNDEFINED, and Unicorn has moved past it.
                self._enter_synchronous(ESR_IL, None, pc - 4)
            else:
                syndrome, address = self._fault.read()
                self._enter_synchronous(syndrome, address, pc)
                if self._counter[0] == self._faulted:
                    # Nothing ran since the last exception: a vector that faults itself would go on for ever here.
                    self._stalled = True
                    native.emu_stop(self._handle)
                self._faulted = self._counter[0]
        except BaseException as error:
            self._fail(error)

    def _firmware_call(self) -> None:
        self._call.read()
        function, x1, x2, x3 = self._call.values
        result = self.machine.machine.psci.call(self.vcpu, function, x1, x2, x3)
        self._x0.values[0] = result & 0xFFFF_FFFF_FFFF_FFFF
        self._x0.write()
        if self.vcpu.power_state is not PowerState.ON or self.machine.halted or self._lines[self.pe] & LINES:
            self._stop()

    def _enter_synchronous(self, syndrome: int, address: int | None, resume: int) -> None:
        """Take a synchronous exception at EL1, with `_state` freshly read."""
        self._syndrome.read()
        self._syndrome.cp[0].val = syndrome
        if address is not None:
            self._syndrome.cp[1].val = address
        self._syndrome.write()
        self.enter(VECTOR_SYNC, resume)

    def _invalid_memory(
        self, _handle: int, _kind: int, address: int, _size: int, _value: int, _data: object
    ) -> bool:
        self._fault_address = address
        return False

    def _abort(self, status: int, pc: int) -> int:
        """Turn an access to nothing, which ends a Unicorn run, into the external abort a PE takes.

        Returns: the new PC. Raises: UnicornError when it was something else that ended the run.
        """
        address: int | None = pc
        if status in _FETCH_ERRORS:
            syndrome = EC_INSTRUCTION_ABORT << 26 | FSC_EXTERNAL
        elif status in _READ_ERRORS | _WRITE_ERRORS:
            syndrome = EC_DATA_ABORT << 26 | FSC_EXTERNAL | (ESR_WNR if status in _WRITE_ERRORS else 0)
            address = self._fault_address
            self._sctlr.read()
            if self._sctlr.cp[0].val & SCTLR_M:
                # Unicorn tells the physical address only, and FAR_EL1 is for virtual ones.
                syndrome, address = syndrome | ESR_FNV, None
        else:
            native.check(status, f"go on with vCPU {self.pe} at {pc:#x}")
        self._state.read()
        if self._state.values[1] & PSTATE_EL:
            syndrome |= EC_SAME_EL << 26
        self._enter_synchronous(syndrome | ESR_IL, address, pc)
        return self.entered
