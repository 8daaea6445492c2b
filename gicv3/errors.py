"""Exceptions that an embedder can get; a guest never causes one."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class GicError(Exception):
    """Base of every error of this package."""


class ConfigError(GicError, ValueError):
    """A value given by the embedder is out of its documented range; the text names the value and the limit."""


class BatchError(ConfigError):
    """An element of a batch is out of its documented range: those before it are done, it and those after it are not.

    ``index`` is its place in the batch. ``results`` holds the result arrays of the method, cut to that length: none,
    one, or for system registers the values and the codes.
    """

    def __init__(self, text: str, index: int = 0, results: tuple[Any, ...] = ()) -> None:
        super().__init__(text)
        self.index = index
        self.results = results


class RegisterError(ConfigError, KeyError):
    """No register has this name, or it has no element of this index; a KeyError, too, as from any mapping."""

    __str__ = Exception.__str__  # KeyError's quotes the text

    @classmethod
    def unknown(cls, what: str, name: object, names: Iterable[str]) -> "RegisterError":
        """The error for a `name` that no register has, with the most similar of `names`, if any is."""
        similar = get_close_matches(name.upper(), names, 1) if isinstance(name, str) else []
        return cls(f"{what} {name!r}" + "".join(f", did you mean {other}?" for other in similar))


class HotplugError(GicError, RuntimeError):
    """A plug or unplug was refused or failed; the machine is as it was before."""


class SnapshotError(GicError, ValueError):
    """A saved state cannot be restored here."""
