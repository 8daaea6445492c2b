"""What an embedder passes in, made a plain int or bool, or refused by the parameter's name."""

from __future__ import annotations

from operator import index as as_index
from typing import Any

import numpy

from gicv3.errors import ConfigError


def integer(name: str, value: Any) -> int:
    """An integer of any type, a NumPy scalar for instance, as an int.

    Raises: TypeError naming the parameter; floats and texts are no integers.
    """
    try:
        return int(as_index(value))
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r:.80}") from None


def integers(name: str, values: Any) -> tuple[int, ...]:
    """A sequence of integers as ints. Raises: TypeError naming the parameter."""
    try:
        return tuple(int(as_index(value)) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, got {values!r:.80}") from None


def plain_text(text: str) -> str:
    """A string of any type, a member of an enumeration for instance, as a str."""
    return str.__str__(text)


def switch(name: str, value: Any) -> bool:
    """A bool, Python's or NumPy's, or the integers 0 and 1, as a bool. Raises: ConfigError naming the parameter."""
    if isinstance(value, bool | numpy.bool_):
        return bool(value)
    number = as_index(value) if hasattr(value, "__index__") else -1
    if number not in (0, 1):
        raise ConfigError(f"{name} must be True or False, got {value!r:.80}")
    return number == 1


def instance(name: str, value: Any, kind: type) -> None:
    """Check a parameter's type. Raises: TypeError naming the parameter."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r:.80}")
