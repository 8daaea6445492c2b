"""Notifier lists: how a machine tells its devices of an event, and lets each of them refuse it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from gicv3.errors import ConfigError, GicError

_F = TypeVar("_F", bound=Callable[..., object])


def check_callback(name: str, callback: _F | None) -> _F | None:
    """`callback` itself. Raises: ConfigError when it is neither callable nor None."""
    if callback is not None and not callable(callback):
        raise ConfigError(f"{name} must be callable or None, got {callback!r}")
    return callback


class Callback(Generic[_F]):
    """An attribute that holds a callable or None. Raises: ConfigError when set to something else."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._held_as = f"_{name}"

    def __get__(self, instance: object, owner: type) -> _F | None:
        # Not by vars(): CPython finds attributes of an object slower from then on.
        found: _F | None = getattr(instance, self._held_as, None)
        return found

    def __set__(self, instance: object, callback: _F | None) -> None:
        setattr(instance, self._held_as, check_callback(self._name, callback))


class Notifier:
    """One listener of a :class:`NotifierList`.

    Parameters:
        notify: called with the data of each event, and refuses it by raising; a subclass overrides the method.
    Raises: ConfigError when `notify` cannot be called.
    Thread-safety: as the list it is on.
    """

    __slots__ = ("__weakref__", "_callback", "_list")

    def __init__(self, notify: Callable[[Any], object] | None = None) -> None:
        self._callback = check_callback("notify", notify)
        self._list: weakref.ref[NotifierList] | None = None

    def notify(self, data: Any) -> None:
        """Be told of one event."""
        if self._callback is not None:
            self._callback(data)

    def remove(self) -> None:
        """Leave the list, if on one that still exists; safe to call at any time and more than once."""
        members = self._list() if self._list is not None else None
        if members is not None:
            members.remove(self)


class NotifierList:
    """Listeners in the order they were added; adding and removing cost the same at any length.

    Thread-safety: none of its own; use it from the thread that plugs and unplugs.
    """

    __slots__ = ("__weakref__", "_members", "_order", "heard")

    def __init__(self) -> None:
        self._members: dict[Notifier, None] = {}
        self._order: tuple[Notifier, ...] = ()  # empty: not made yet
        self.heard = False
        """Whether anybody is on the list: events that nobody hears need not be made."""

    def init(self) -> None:
        """Make the list empty; notifiers that were on it are on no list."""
        for notifier in self._members:
            notifier._list = None
        self._members.clear()
        self._order = ()
        self.heard = False

    def add(self, notifier: Notifier) -> None:
        """Append `notifier`.

        Raises: GicError when it is on a list already; TypeError when it is no Notifier.
        """
        if not isinstance(notifier, Notifier):
            raise TypeError(f"notifier must be a Notifier, as Notifier(function) makes one, got {notifier!r:.80}")
        if notifier._list is not None and notifier._list() is not None:
            raise GicError("a notifier can be on one list only, and once")
        self._members[notifier] = None
        self._order = ()
        self.heard = True
        notifier._list = weakref.ref(self)

    def remove(self, notifier: Notifier) -> None:
        """Take `notifier` off; one that is not on this list is left alone."""
        if notifier in self._members:
            del self._members[notifier]
            self._order = ()
            self.heard = bool(self._members)
            notifier._list = None

    def notify(self, data: Any, *, undo: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Tell every member of an event.

        With `undo` the round is a transaction: see :meth:`propose`. Without, the event is a fact: all are told, then
        errors are raised. A member removed during the round is not told any more; one added during it is not told yet.

        Parameters:
            data: what each member gets.
            undo: makes from `data` the event that takes it back.
            reverse: tell those added last first.
        Raises: what a member raised; an ExceptionGroup for several.
        """
        if undo is not None:
            self.propose(data, undo, reverse)
        else:
            order = self._order or self._in_order()
            raise_all("notifiers failed", self._tell(order[::-1] if reverse else order, data))

    def propose(self, data: Any, undo: Callable[[Any], Any], reverse: bool = False) -> None:
        """Tell every member of an event that each may refuse.

        The first error ends the round, those already told are told `undo(data)` in the opposite order, and the error
        propagates.

        Parameters, Raises: as :meth:`notify`.
        """
        order = self._order or self._in_order()
        if reverse:
            order = order[::-1]
        members = self._members
        told = 0
        try:
            for notifier in order:
                if notifier in members:
                    notifier.notify(data)
                told += 1
        except BaseException as error:
            failed = self._tell(order[:told][::-1], undo(data))
            if failed:
                raise_all("a notifier failed, and others when told to take it back", [error, *failed])
            raise

    def _in_order(self) -> tuple[Notifier, ...]:
        """The members, the first that was added first."""
        order = self._order = tuple(self._members)
        return order

    def _tell(self, order: tuple[Notifier, ...], data: Any) -> list[BaseException]:
        """Tell all in `order` that are still members, and return what they raised."""
        errors: list[BaseException] = []
        for notifier in order:
            if notifier in self._members:
                collect(errors, notifier.notify, data)
        return errors

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Notifier]:
        return iter(tuple(self._members))

    def __contains__(self, notifier: object) -> bool:
        return notifier in self._members


def collect(errors: list[BaseException], step: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Run one of several steps that must all run; what it raises is added to `errors`, for `raise_all` at the end."""
    try:
        step(*args, **kwargs)
    except BaseException as error:
        errors.append(error)


def raise_all(message: str, errors: list[BaseException]) -> None:
    """Raise what was collected: one error as it is, several as a group.

    Raises: the error, or a BaseExceptionGroup (an ExceptionGroup where all are Exceptions); nothing when `errors` is
    empty.
    """
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(message, errors)
