"""Transactions: all steps are done, or those that were are taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gicv3.notifier import collect, raise_all

UndoSteps = list[tuple[Callable[..., object], tuple[Any, ...]]]
"""How to take back what a transaction has done so far: functions and their arguments, in the order of the steps."""


def take_back(steps: UndoSteps, error: BaseException) -> None:
    """Take back everything, the last step first, whatever fails on the way.

    Parameters: `steps`; `error`, why. Raises: a group of it and of what failed; nothing when nothing did.
    """
    errors = [error]
    while steps:
        step, args = steps.pop()
        collect(errors, step, *args)
    if len(errors) > 1:
        raise_all("a plug or unplug failed, and so did taking it back", errors)
