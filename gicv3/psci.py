"""PSCI 1.1 for the vCPUs of a machine: powering on and off, what a vCPU's state is, and system off and reset."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from gicv3.vcpu import PowerState, Vcpu

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine

SMC64 = 1 << 30
MASK32 = (1 << 32) - 1
MASK64 = (1 << 64) - 1


class PsciFunction(IntEnum):
    """Function identifiers in their SMC32 form; CPU_ON and AFFINITY_INFO also have an SMC64 form, with bit 30 set."""

    VERSION = 0x8400_0000
    CPU_OFF = 0x8400_0002
    CPU_ON = 0x8400_0003
    AFFINITY_INFO = 0x8400_0004
    SYSTEM_OFF = 0x8400_0008
    SYSTEM_RESET = 0x8400_0009
    FEATURES = 0x8400_000A


class PsciResult(IntEnum):
    """Return codes."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETERS = -2
    DENIED = -3
    ALREADY_ON = -4
    ON_PENDING = -5
    INVALID_ADDRESS = -9


_HAVE_SMC64 = (PsciFunction.CPU_ON, PsciFunction.AFFINITY_INFO)
_FUNCTIONS = {int(function): function for function in PsciFunction} | {
    function | SMC64: function for function in _HAVE_SMC64
}
VERSION_1_1 = 1 << 16 | 1


class Psci:
    """The firmware calls of one machine, made with HVC or SMC.

    A possible vCPU that is absent is DENIED, whatever its slot; an affinity that no slot has is INVALID_PARAMETERS.
    Thread-safety: as the machine's.
    """

    __slots__ = ("_machine",)

    def __init__(self, machine: VirtMachine) -> None:
        self._machine = machine

    def call(self, cpu: Vcpu, function_id: int, x1: int = 0, x2: int = 0, x3: int = 0) -> int:
        """Serve one call.

        After CPU_OFF, SYSTEM_OFF and SYSTEM_RESET the caller must not go on: its `power_state` and the machine's
        callbacks say so.

        Parameters: `cpu`, the caller; `function_id` (W0) and the arguments, of which an SMC32 call uses 32 bits.
        Returns: what X0 gets, negative for an error.
        Raises: what the machine's callbacks raise; nothing a guest does.
        """
        function_id &= MASK32
        mask = MASK64 if function_id & SMC64 else MASK32
        x1 &= mask
        x2 &= mask
        machine = self._machine
        match _FUNCTIONS.get(function_id):
            case PsciFunction.VERSION:
                return VERSION_1_1
            case PsciFunction.CPU_ON:
                return self._cpu_on(x1, x2, x3 & mask)
            case PsciFunction.CPU_OFF:
                machine.power_off(cpu)
            case PsciFunction.AFFINITY_INFO:
                return self._affinity_info(x1, x2)
            case PsciFunction.SYSTEM_OFF:
                machine.system_off(guest=True)
            case PsciFunction.SYSTEM_RESET:
                machine.reset(guest=True)
            case PsciFunction.FEATURES:
                return PsciResult.SUCCESS if x1 in _FUNCTIONS else PsciResult.NOT_SUPPORTED
            case _:
                return PsciResult.NOT_SUPPORTED
        return PsciResult.SUCCESS

    def _cpu_on(self, mpidr: int, entry: int, context_id: int) -> int:
        slot = self._machine.gic.proc_num(mpidr)
        if slot < 0:
            return PsciResult.INVALID_PARAMETERS
        target = self._machine.cpus.get(slot)
        if target is None or target is self._machine._busy:
            return PsciResult.DENIED
        if target.power_state is PowerState.ON:
            return PsciResult.ALREADY_ON
        if target.power_state is PowerState.ON_PENDING:
            return PsciResult.ON_PENDING
        if entry & 3:
            return PsciResult.INVALID_ADDRESS
        self._machine.power_on(target, entry, context_id)
        return PsciResult.SUCCESS

    def _affinity_info(self, mpidr: int, lowest_level: int) -> int:
        if lowest_level > 3:
            return PsciResult.INVALID_PARAMETERS
        if lowest_level > 0:
            # Clusters and above are never powered down.
            return PowerState.ON
        slot = self._machine.gic.proc_num(mpidr)
        if slot < 0:
            return PsciResult.INVALID_PARAMETERS
        target = self._machine.cpus.get(slot)
        return PowerState.OFF if target is None else target.power_state
