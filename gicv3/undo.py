"""Transactions: all steps are done, or those that were are taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gicv3.notifier import collect, raise_all


class UndoStack:
    """How to take back the steps of a transaction, the last one first; one transaction at a time.

    Thread-safety: none.
    """

    __slots__ = ("_steps", "busy")

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.busy = False
        """Whether a transaction is under way."""

    def push(self, step: Callable[..., object], *args: Any) -> None:
        """Remember what takes back the step that is done next, or was done last."""
        if self.busy:
            self._steps.append((step, args))

    def begin(self) -> None:
        """Start a transaction."""
        self.busy = True

    def commit(self) -> None:
        """End it: all is done."""
        self._steps.clear()
        self.busy = False

    def take_back(self, error: BaseException) -> None:
        """End it: everything is taken back, whatever fails on the way.

        Parameters: `error`, why. Raises: a group of it and of what failed; nothing when nothing did.
        """
        errors = [error]
        while self._steps:
            step, args = self._steps.pop()
            collect(errors, step, *args)
        self.busy = False
        if len(errors) > 1:
            raise_all("a plug or unplug failed, and so did taking it back", errors)
