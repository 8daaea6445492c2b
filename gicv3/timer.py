"""The Arm generic timer, without a clock of its own: the caller says what the system counter reads."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any

from gicv3.arguments import integer
from gicv3.errors import ConfigError, RegisterError
from gicv3.notifier import collect, raise_all

MASK64 = (1 << 64) - 1
ENABLE, IMASK, ISTATUS = 1, 2, 4
DEFAULT_FREQUENCY = 62_500_000


class Timer(IntEnum):
    """The timers of one PE: EL1 physical, EL1 virtual, EL2 physical, Secure EL1 physical, EL2 virtual."""

    PHYS = 0
    VIRT = 1
    HYP = 2
    SEC = 3
    HYPVIRT = 4


def _encoding(op1: int, crm: int, op2: int) -> int:
    """op0<<14 | op1<<11 | CRn<<7 | CRm<<3 | op2, where the timer's registers all have op0 3 and CRn 14."""
    return 3 << 14 | op1 << 11 | 14 << 7 | crm << 3 | op2


class TimerReg(IntEnum):
    """System registers of the generic timer, each with its encoding in the form `gicv3.SysReg` uses."""

    CNTFRQ_EL0 = _encoding(3, 0, 0)
    CNTPCT_EL0 = _encoding(3, 0, 1)
    CNTVCT_EL0 = _encoding(3, 0, 2)
    CNTVOFF_EL2 = _encoding(4, 0, 3)
    CNTP_TVAL_EL0 = _encoding(3, 2, 0)
    CNTP_CTL_EL0 = _encoding(3, 2, 1)
    CNTP_CVAL_EL0 = _encoding(3, 2, 2)
    CNTV_TVAL_EL0 = _encoding(3, 3, 0)
    CNTV_CTL_EL0 = _encoding(3, 3, 1)
    CNTV_CVAL_EL0 = _encoding(3, 3, 2)
    CNTHP_TVAL_EL2 = _encoding(4, 2, 0)
    CNTHP_CTL_EL2 = _encoding(4, 2, 1)
    CNTHP_CVAL_EL2 = _encoding(4, 2, 2)
    CNTHV_TVAL_EL2 = _encoding(4, 3, 0)
    CNTHV_CTL_EL2 = _encoding(4, 3, 1)
    CNTHV_CVAL_EL2 = _encoding(4, 3, 2)
    CNTPS_TVAL_EL1 = _encoding(7, 2, 0)
    CNTPS_CTL_EL1 = _encoding(7, 2, 1)
    CNTPS_CVAL_EL1 = _encoding(7, 2, 2)


_PREFIX = {
    "CNTP": Timer.PHYS,
    "CNTV": Timer.VIRT,
    "CNTHP": Timer.HYP,
    "CNTPS": Timer.SEC,
    "CNTHV": Timer.HYPVIRT,
}
_FIELD = {
    int(reg): (_PREFIX[prefix], kind)
    for reg in TimerReg
    for prefix, kind in [reg.name.split("_")[:2]]
    if kind in ("TVAL", "CTL", "CVAL")
}


def _register(reg: int | str) -> TimerReg:
    """Raises: RegisterError for a register that is not the timer's."""
    try:
        return TimerReg[reg] if isinstance(reg, str) else TimerReg(reg)
    except (KeyError, ValueError):
        raise RegisterError.unknown("no timer register is called", reg, TimerReg.__members__) from None


def _checked(reg: int | str, now: int) -> int:
    """The encoding of a register. Raises: ConfigError when it is none of the timer's, or for a time out of range."""
    check_now(now)
    return int(_register(reg))


def check_now(now: int) -> None:
    """Raises: ConfigError when the system counter cannot read so."""
    if not 0 <= integer("now", now) <= MASK64:
        raise ConfigError(f"now must be in 0..2**64-1, got {now}")


class GenericTimer:
    """The five timers of one PE, made by :meth:`TimerBank.attach`.

    An output is high while its timer is enabled, unmasked, and the count has reached CVAL.
    Thread-safety: none of its own; as the bank.
    """

    __slots__ = ("_bank", "_ctl", "_cval", "_due", "_levels", "_owner", "cntvoff")

    def __init__(self, bank: TimerBank, owner: Any) -> None:
        self._bank = bank
        self._owner = owner
        self._ctl = [0] * len(Timer)
        self._cval = [0] * len(Timer)
        self._due: list[_Due | None] = [None] * len(Timer)
        self._levels = 0
        self.cntvoff = 0

    def read(self, reg: int | str, now: int) -> int:
        """Read a timer register.

        Parameters: `reg`, a :class:`TimerReg`, its encoding or its name; `now`, the system counter, 0..2**64-1.
        Returns: its 64-bit value. Raises: ConfigError for a register that is not the timer's, or `now` out of range.
        """
        if reg.__class__ is str or not 0 <= now <= MASK64:
            reg = _checked(reg, now)
        if reg in _FIELD:
            timer, kind = _FIELD[reg]
            if kind == "CVAL":
                return self._cval[timer]
            if kind == "TVAL":
                return (self._cval[timer] - self.count(timer, now)) & 0xFFFF_FFFF
            # ISTATUS of a disabled timer is UNKNOWN: 0 here.
            ctl = self._ctl[timer]
            return ctl | ISTATUS if ctl & ENABLE and self.count(timer, now) >= self._cval[timer] else ctl
        match _register(reg):
            case TimerReg.CNTVOFF_EL2:
                return self.cntvoff
            case TimerReg.CNTFRQ_EL0:
                return self._bank.frequency
            case TimerReg.CNTVCT_EL0:
                return self.count(Timer.VIRT, now)
            case _:
                return self.count(Timer.PHYS, now)

    def write(self, reg: int | str, value: int, now: int) -> None:
        """Write a timer register and move its output if that follows; the counters and CNTFRQ_EL0 ignore it.

        Parameters: as :meth:`read`; `value`, of which the register's width is used.
        Raises: as :meth:`read`.
        """
        if reg.__class__ is str or not 0 <= now <= MASK64:
            reg = _checked(reg, now)
        if reg in _FIELD:
            timer, kind = _FIELD[reg]
            if kind == "CTL":
                self._ctl[timer] = value & (ENABLE | IMASK)
            elif kind == "CVAL":
                self._cval[timer] = value & MASK64
            else:
                # TVAL is signed: with the top bit set the compare value has already passed.
                offset = ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
                self._cval[timer] = (self.count(timer, now) + offset) & MASK64
            self._update(timer, now)
        elif _register(reg) == TimerReg.CNTVOFF_EL2:
            self.cntvoff = value & MASK64
            self._update(Timer.VIRT, now)

    def count(self, timer: Timer, now: int) -> int:
        """What `timer` compares with its CVAL: only the EL1 virtual timer subtracts CNTVOFF_EL2."""
        return (now - self.cntvoff) & MASK64 if timer == Timer.VIRT else now & MASK64

    def level(self, timer: Timer) -> bool:
        """Output level, as of the last write or :meth:`TimerBank.advance`."""
        return bool(self._levels >> timer & 1)

    def cancel(self) -> None:
        """Disable all timers and forget their deadlines without moving an output, as for a PE that leaves."""
        self.cntvoff = 0
        for timer in Timer:
            self._ctl[timer] = 0
            self._cval[timer] = 0
            self._schedule(timer, None)

    def reset(self) -> None:
        """Disable all timers and lower their outputs.

        Raises: what `on_output` raised, after all are low.
        """
        self.cancel()
        errors: list[BaseException] = []
        for timer in Timer:
            collect(errors, self._drive, timer, False)
        raise_all("timer outputs failed", errors)

    def saved(self) -> dict[str, Any] | None:
        """Registers and output levels, for :meth:`bring_back`; None for timers in reset. Deadlines are the bank's."""
        if not (any(self._ctl) or any(self._cval) or self.cntvoff or self._levels):
            return None
        return {"cntvoff": self.cntvoff, "ctl": list(self._ctl), "cval": list(self._cval), "levels": self._levels}

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what :meth:`saved` gave; no output moves, and no deadline is set."""
        self.cancel()
        self.cntvoff = saved["cntvoff"]
        self._ctl[:] = saved["ctl"]
        self._cval[:] = saved["cval"]
        self._levels = saved["levels"]

    def _update(self, timer: Timer, now: int) -> None:
        """Recompute the output of one timer, and when it moves next if nothing is written."""
        enabled = self._ctl[timer] & (ENABLE | IMASK) == ENABLE
        count = self.count(timer, now)
        met = count >= self._cval[timer]
        # Once met, the condition lasts until the 64-bit count wraps.
        change = now + ((1 << 64) if met else self._cval[timer]) - count
        self._schedule(timer, change if enabled and change <= MASK64 else None)
        self._drive(timer, enabled and met)

    def _schedule(self, timer: Timer, when: int | None) -> None:
        due = self._due[timer]
        if due is not None:
            if due.when == when:
                return
            self._bank._cancel(due)
        self._due[timer] = None if when is None else self._bank._schedule(when, self, timer)

    def _drive(self, timer: Timer, level: bool) -> None:
        if self.level(timer) != level:
            self._levels ^= 1 << timer
            self._bank.on_output(self._owner, timer, level)


class _Due:
    """A deadline in the heap; one that was cancelled has no unit and is dropped when it comes up."""

    __slots__ = ("timer", "unit", "when")

    def __init__(self, when: int, unit: GenericTimer, timer: Timer) -> None:
        self.when = when
        self.unit: GenericTimer | None = unit
        self.timer = timer


class TimerBank:
    """All timers driven by one system counter: PEs that wait for nothing cost nothing.

    Parameters:
        on_output: called with (owner, :class:`Timer`, level) once the timer's state is final; it may access timers.
        frequency: what CNTFRQ_EL0 reads, 1..2**32-1 Hz.
    Raises: ConfigError. Thread-safety: none of its own; use it from one thread at a time.
    """

    __slots__ = ("__weakref__", "_cancelled", "_heap", "_serial", "frequency", "on_output")

    def __init__(
        self, on_output: Callable[[Any, Timer, bool], object], frequency: int = DEFAULT_FREQUENCY
    ) -> None:
        if not 1 <= integer("frequency", frequency) <= 0xFFFF_FFFF:
            raise ConfigError(f"frequency must be in 1..{0xFFFF_FFFF} Hz, got {frequency}")
        self.on_output = on_output
        self.frequency = frequency
        # The serial number settles ties in the order they were scheduled.
        self._heap: list[tuple[int, int, _Due]] = []
        self._serial = 0
        self._cancelled = 0

    def attach(self, owner: Any) -> GenericTimer:
        """Make the timers of one PE; `owner` is handed to `on_output`."""
        return GenericTimer(self, owner)

    def advance(self, now: int) -> None:
        """Move every output whose time has come.

        Parameters: `now`, the system counter, 0..2**64-1; it must not go back.
        Raises: ConfigError when it is out of range; what `on_output` raised, after all have moved.
        """
        if not 0 <= now <= MASK64:
            check_now(now)
        heap = self._heap
        errors: list[BaseException] = []
        while heap and heap[0][0] <= now:
            due = heapq.heappop(heap)[2]
            unit = due.unit
            if unit is None:
                self._cancelled -= 1
                continue
            unit._due[due.timer] = None
            collect(errors, unit._update, due.timer, now)
        raise_all("timer outputs failed", errors)

    def next_deadline(self) -> int | None:
        """Counter value at which :meth:`advance` next has something to do, or None."""
        heap = self._heap
        while heap and heap[0][2].unit is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def deadlines(self) -> list[tuple[int, Any, Timer]]:
        """(counter value, owner, timer) of each deadline, in the order in which :meth:`advance` serves them."""
        entries = sorted(entry for entry in self._heap if entry[2].unit is not None)
        return [(when, due.unit._owner, due.timer) for when, _, due in entries if due.unit is not None]

    def forget(self) -> None:
        """Forget all deadlines; no output moves."""
        for _, _, due in self._heap:
            if due.unit is not None:
                due.unit._due[due.timer] = None
        self._heap.clear()
        self._cancelled = 0

    def expect(self, deadlines: Iterable[tuple[int, GenericTimer, Timer]]) -> None:
        """Wait for (counter value, timers of a PE, timer) in this order: what :meth:`deadlines` gave."""
        for when, unit, timer in deadlines:
            unit._due[timer] = self._schedule(when, unit, timer)

    def __len__(self) -> int:
        """Number of deadlines waited for."""
        return len(self._heap) - self._cancelled

    def _schedule(self, when: int, unit: GenericTimer, timer: Timer) -> _Due:
        due = _Due(when, unit, timer)
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, due))
        return due

    def _cancel(self, due: _Due) -> None:
        due.unit = None
        self._cancelled += 1
        # A guest that moves a far deadline again and again must not grow the heap.
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].unit is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0
