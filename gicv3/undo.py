"""Taking back what a failed plug or unplug has done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gicv3.notifier import collect, raise_all

UndoSteps = list[tuple[Callable[..., object], *tuple[Any, ...]]]
"""Functions, each with its arguments."""


def take_back(error: BaseException, steps: UndoSteps) -> None:
    """Go through all steps, whatever fails on the way.

    Parameters: `error`, why; `steps`. Raises: a group of `error` and of what failed; nothing when nothing did.
    """
    errors = [error]
    for step, *arguments in steps:
        collect(errors, step, *arguments)
    if len(errors) > 1:
        raise_all("a plug or unplug failed, and so did taking it back", errors)
