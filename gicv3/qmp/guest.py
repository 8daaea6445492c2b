"""A stand-in for the guest's part of an unplug, where no guest runs."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from gicv3.errors import HotplugError
from gicv3.notifier import Notifier
from gicv3.plug import HotplugEvent, HotplugStage

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine

OST_BUSY = 0x82
"""_OST status of an ejection that cannot be done now: the device is busy."""


class Answer(StrEnum):
    """What the guest does when it is asked to let a vCPU go."""

    EJECT = "eject"
    REFUSE = "refuse"
    IGNORE = "ignore"


class StandInGuest(Notifier):
    """Answers unplug requests of a machine from the event loop, after the request's own reply is on its way.

    Parameters: `machine`; `answer`. Thread-safety: the event loop's thread only.
    """

    __slots__ = ("_machine", "answer")

    def __init__(self, machine: VirtMachine, answer: Answer = Answer.EJECT) -> None:
        super().__init__()
        self._machine = machine
        self.answer = answer
        machine.hotplug_events.add(self)

    def notify(self, data: HotplugEvent) -> None:
        """Hear of a request, and answer it soon."""
        if data.stage is HotplugStage.UNPLUG_REQUEST and not data.undo and self.answer is not Answer.IGNORE:
            asyncio.get_running_loop().call_soon(self._answer, data)

    def _answer(self, request: HotplugEvent) -> None:
        cpu, machine = request.cpu, self._machine
        # Asked twice, it has answered already.
        if machine.cpus.get(cpu.cpu_index) is not cpu or not cpu.unplug_requested:
            return
        if self.answer is Answer.REFUSE:
            machine.reject_unplug(cpu.qom_path, OST_BUSY)
            return
        machine.power_off(cpu)
        try:
            machine.complete_unplug(cpu.qom_path)
        except HotplugError:
            machine.reject_unplug(cpu.qom_path, OST_BUSY)
