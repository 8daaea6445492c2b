"""What a rule makes of an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .ops import Op, Result
from .subject import Subject

Accept = Callable[[Result, Result], tuple[str, ...]]
"""The entries that together explain the difference between ours and QEMU's; empty: unexplained."""


class Step(NamedTuple):
    """An operation that both sides execute: in place of another (`changed` names the entry), with what it may show.

    Where `theirs` is given QEMU executes that, and the core has to answer as if it had been asked the same.
    """

    op: Op
    accept: Accept | None = None
    changed: str | None = None
    theirs: Op | None = None


Rule = Callable[[Subject, Op], Iterable[Step]]


def rewritten(op: Op, value: int, entry: str) -> Iterable[Step]:
    """The operation with another value, which the entry accounts for."""
    return (Step(op),) if value == op.value else (Step(op._replace(value=value), changed=entry),)
