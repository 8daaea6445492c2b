"""Whether a machine runs: stopped and continued by management, reset and switched off by its guest or by management."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from gicv3.notifier import NotifierList


class RunState(Enum):
    """Run state of a machine; the values are QEMU's."""

    RUNNING = "running"
    PAUSED = "paused"
    """By `stop`, until `cont`."""
    SHUTDOWN = "shutdown"
    """By `system_off`, until a reset and `cont`."""


class RunChange(Enum):
    """What happened to a machine as a whole; the values are the names of QEMU's events."""

    STOP = "STOP"
    RESUME = "RESUME"
    RESET = "RESET"
    SHUTDOWN = "SHUTDOWN"


class RunEvent(NamedTuple):
    """What a member of `VirtMachine.run_events` receives."""

    change: RunChange
    guest: bool
    """Whether the guest asked for it."""


class RunControl:
    """The part of a machine that knows whether its vCPUs may run. The engine looks at `running`, or listens."""

    run_state = RunState.RUNNING
    """Changed by `stop`, `cont`, `system_off` and `reset`."""
    run_events: NotifierList
    """Told of each :class:`RunEvent`, after it has happened."""

    @property
    def running(self) -> bool:
        """Whether vCPUs may execute."""
        return self.run_state is RunState.RUNNING

    def stop(self) -> None:
        """Pause a machine that runs; otherwise nothing happens. Raises: what a member of `run_events` raised."""
        if self.run_state is RunState.RUNNING:
            self._change(RunState.PAUSED, RunEvent(RunChange.STOP, False))

    def cont(self) -> None:
        """Let a paused machine run; one that was switched off stays so until its reset.

        Raises: what a member of `run_events` raised.
        """
        if self.run_state is RunState.PAUSED:
            self._change(RunState.RUNNING, RunEvent(RunChange.RESUME, False))

    def _change(self, state: RunState, event: RunEvent) -> None:
        self.run_state = state
        self.run_events.notify(event)
