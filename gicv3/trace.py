"""The event trace: what happened to interrupts, in order, as text or for Perfetto and Chrome's tracing view."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import IntEnum
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy

from gicv3._core import Gic, Line
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
    a time: a second one takes the first one's place. Use it in a `with` statement, or call `start` and `stop`.

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
        self._stopped: tuple[int, bytes] | None = None

    def start(self) -> None:
        """Start with an empty ring."""
        self.gic._trace_start(self.entries, self.clock == "host")
        self._stopped = None

    def stop(self) -> None:
        """Stop; what was recorded can still be read."""
        if self._stopped is None:
            self._stopped = self.gic._trace_read()
            self.gic._trace_stop()

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
        return self._stopped if self._stopped is not None else self.gic._trace_read()


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
    Returns: JSON text, an object with ``traceEvents``.
    """
    events = list(events)
    timed = len({event.time for event in events}) > 1
    stamps = [event.time / ticks_per_us if timed else float(number) for number, event in enumerate(events)]
    result: list[dict[str, Any]] = [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "GICv3"}}]
    for pe in sorted({-1 if event.pe is None else event.pe for event in events}):
        name = "Distributor" if pe < 0 else f"PE {pe}"
        result.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": pe + 1, "args": {"name": name}})
        result.append({"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": pe + 1, "args": {"sort_index": pe + 1}})
    open_slices: dict[tuple[int | None, int | None], list[dict[str, Any]]] = {}
    for event, stamp in zip(events, stamps):
        tid = 0 if event.pe is None else event.pe + 1
        entry: dict[str, Any] = {"pid": 1, "tid": tid, "ts": stamp, "cat": event.kind.name.lower()}
        if event.kind is Kind.TAKEN:
            entry |= {"ph": "X", "name": f"INTID {event.intid}", "args": {"priority": event.detail}}
            entry["dur"] = stamps[-1] - stamp    # until it ends, or the trace does
            open_slices.setdefault((event.pe, event.intid), []).append(entry)
        elif event.kind is Kind.ENDED and open_slices.get((event.pe, event.intid)):
            begun = open_slices[event.pe, event.intid].pop()
            begun["dur"] = stamp - begun["ts"]
            continue
        else:
            entry |= {"ph": "i", "s": "t", "name": _what(event)}
        result.append(entry)
    return json.dumps({"traceEvents": result, "displayTimeUnit": "ns"})
