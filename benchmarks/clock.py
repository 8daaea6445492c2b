"""The clock that pytest-benchmark reads: it shows what the loops say, so that its columns are ns per operation."""

_now = 0.0


def seconds() -> float:
    """The time of the clock: `--benchmark-timer`."""
    return _now


def advance(nanoseconds: float) -> None:
    """Let time pass."""
    global _now
    _now += nanoseconds / 1e9
