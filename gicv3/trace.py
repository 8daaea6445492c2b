"""The event trace: what happened to interrupts, in order, as text or for Perfetto and Chrome's tracing view."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import IntEnum
from numbers import Real
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy

from gicv3._core import Gic, Line, Recording, trace_begin
from gicv3.arguments import instance, integer
from gicv3.errors import ConfigError

MAX_ENTRIES = 1 << 24
_NONE = 0xFFFF_FFFF
_NO_INTID = 1023
_RECORD = numpy.dtype(
    [("time", "<u8"), ("detail", "<u8"), ("pe", "<u4"), ("intid", "<u4"), ("kind", "<u4"), ("reserved", "<u4")]
)


class Kind(IntEnum):
    """What an event is about."""

    PENDING = 0
    """An interrupt became pending: a private one at a PE, an SPI in the Distributor (no PE)."""
    CLEARED = 1
    """An SPI is pending no more, though nobody took it: its wire fell, or software cleared it."""
    ROUTED = 2
    """An SPI waits for a PE, with this priority."""
    LINES = 3
    """The output lines of a PE changed; the INTID is that of its highest priority pending interrupt."""
    TAKEN = 4
    """Software acknowledged an interrupt of this priority."""
    ENDED = 5
    """Software wrote an EOI register: priority drop, and deactivation unless EOImode splits them."""
    DEACTIVATED = 6
    """Software wrote ICC_DIR_EL1."""
    SGI = 7
    """Software wrote an SGI register with this value."""
    PLUGGED = 8
    UNPLUGGED = 9
    AWAKE = 10
    """GICR_WAKER: delivery to the PE starts."""
    ASLEEP = 11
    """GICR_WAKER: delivery to the PE has stopped."""
    RESET = 12
    """Of the Distributor and all redistributors, or, with a PE, of its CPU interface."""
    RESTORED = 13
    """The state was put back from a save point or a snapshot; pending interrupts are not told again."""


class Event(NamedTuple):
    """One event: when, what, at which PE and of which interrupt (None: of none in particular)."""

    time: int
    kind: Kind
    pe: int | None
    intid: int | None
    detail: int


class Tracer:
    """Records the events of a GIC in a ring of fixed size: when it is full, the oldest give way.

    While it runs, interrupts take the GIC's general paths; before and after, tracing costs nothing. One tracer runs at
    a time: a second one takes the place of the first, which keeps what it has. Use it in a `with` statement, or call
    `start` and `stop`; one that is dropped stops.

    Parameters:
        gic: the GIC.
        entries: size of the ring in events of 32 bytes, rounded up to a power of two, 1..2**24.
        clock: "caller": events have the time that `gic.trace_time` was last set to; "host": nanoseconds of the host's
            monotonic clock.
    Raises: ConfigError; TypeError when `gic` is none. Thread-safety: as the GIC's methods.
    """

    def __init__(self, gic: Gic, entries: int = 65536, clock: str = "caller") -> None:
        instance("gic", gic, Gic)
        entries = integer("entries", entries)
        if not 1 <= entries <= MAX_ENTRIES:
            raise ConfigError(f"entries must be in 1..{MAX_ENTRIES}, got {entries}")
        if clock not in ("caller", "host"):
            raise ConfigError(f"clock must be 'caller' or 'host', got {clock!r}")
        self.gic = gic
        self.clock = clock
        self.entries = 1 << (entries - 1).bit_length()
        self._recording: Recording | None = None

    def start(self) -> None:
        """Start with an empty ring."""
        self._recording = trace_begin(self.gic, self.entries, self.clock == "host")

    def stop(self) -> None:
        """Stop; what was recorded can still be read."""
        if self._recording is not None:
            self._recording.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.stop()

    def events(self) -> list[Event]:
        """The events that the ring holds, oldest first."""
        _, data = self._read()
        return [
            Event(time, Kind(kind), None if pe == _NONE else pe, None if intid == _NO_INTID else intid, detail)
            for time, detail, pe, intid, kind, _ in numpy.frombuffer(data, _RECORD).tolist()
        ]

    @property
    def lost(self) -> int:
        """Number of events that gave way to later ones."""
        seen, data = self._read()
        return seen - len(data) // _RECORD.itemsize

    def text(self) -> str:
        """The events as lines of text."""
        return to_text(self.events())

    def chrome(self, ticks_per_us: float | None = None) -> str:
        """The events as JSON for Perfetto (ui.perfetto.dev) and chrome://tracing: see `to_chrome`."""
        if ticks_per_us is None:
            ticks_per_us = 1000.0 if self.clock == "host" else 1.0
        return to_chrome(self.events(), ticks_per_us)

    def _read(self) -> tuple[int, bytes]:
        return (0, b"") if self._recording is None else self._recording.read()


def _lines(value: int) -> str:
    return " ".join(line.name or "" for line in Line if value & line) or "none"


def _what(event: Event) -> str:
    """The event without its time and place."""
    intid = "" if event.intid is None else f" {event.intid}"
    match event.kind:
        case Kind.LINES:
            return f"lines {_lines(event.detail)}{f' for{intid}' if intid else ''}"
        case Kind.TAKEN | Kind.ROUTED:
            return f"{event.kind.name.lower()}{intid} priority {event.detail:#04x}"
        case Kind.SGI:
            return f"sgi{intid} value {event.detail:#x}"
    return f"{event.kind.name.lower()}{intid}"


def to_text(events: Iterable[Event]) -> str:
    """One line an event: time, PE (or GIC), what."""
    return "".join(
        f"{event.time:>14} {'GIC' if event.pe is None else f'PE {event.pe}':<9} {_what(event)}\n" for event in events
    )


def to_chrome(events: Iterable[Event], ticks_per_us: float = 1.0) -> str:
    """Trace Event JSON: a track for the GIC and one for each PE; an interrupt in service is a slice, the rest instants.

    Parameters:
        events: in order.
        ticks_per_us: units of the events' time in a microsecond. When all have the same time, because the caller has
            no clock, an event's number stands for microseconds.
    Returns: JSON text, an object with ``traceEvents``. Raises: ConfigError when `ticks_per_us` is no number, or out of
        1e-9..1e9.
    """
    events = list(events)
    if not isinstance(ticks_per_us, Real) or not 1e-9 <= ticks_per_us <= 1e9:
        raise ConfigError(f"ticks_per_us must be in 1e-9..1e9, got {ticks_per_us!r:.80}")
    timed = len({event.time for event in events}) > 1
    stamps = [event.time / float(ticks_per_us) if timed else float(number) for number, event in enumerate(events)]
    result: list[dict[str, Any]] = [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "GICv3"}}]
    for pe in sorted({-1 if event.pe is None else event.pe for event in events}):
        name = "Distributor" if pe < 0 else f"PE {pe}"
        result.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": pe + 1, "args": {"name": name}})
        result.append({"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": pe + 1, "args": {"sort_index": pe + 1}})
    open_slices: dict[int | None, list[dict[str, Any]]] = {}
    for event, stamp in zip(events, stamps):
        tid = 0 if event.pe is None else event.pe + 1
        entry: dict[str, Any] = {"pid": 1, "tid": tid, "ts": stamp, "cat": event.kind.name.lower()}
        ended = _ended(open_slices, event)
        _end(ended, stamp)
        if event.kind is Kind.TAKEN:
            entry |= {"ph": "X", "name": f"INTID {event.intid}", "args": {"priority": event.detail}}
            open_slices.setdefault(event.pe, []).append(entry)
        elif event.kind is Kind.ENDED and ended:
            continue
        else:
            entry |= {"ph": "i", "s": "t", "name": _what(event)}
        result.append(entry)
    for slices in open_slices.values():
        _end(slices, stamps[-1])
    return json.dumps({"traceEvents": result, "displayTimeUnit": "ns"}, allow_nan=False)


def _ended(open_slices: dict[int | None, list[dict[str, Any]]], event: Event) -> list[dict[str, Any]]:
    """Take out the slices, by PE, that an event ends: of its interrupt, or all where nothing is in service any more."""
    if event.kind in (Kind.UNPLUGGED, Kind.RESET, Kind.RESTORED):
        pes = list(open_slices) if event.pe is None else [event.pe]
        return [begun for pe in pes for begun in open_slices.pop(pe, ())]
    slices = open_slices.get(event.pe, [])
    if event.kind is Kind.ENDED:
        for place in reversed(range(len(slices))):
            if slices[place]["name"] == f"INTID {event.intid}":
                return [slices.pop(place)]
    return []


def _end(slices: list[dict[str, Any]], stamp: float) -> None:
    for begun in slices:
        begun["dur"] = max(0.0, stamp - begun["ts"])     # the caller's clock may go back
