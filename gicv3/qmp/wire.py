"""From a stream of bytes to JSON values, whatever the bytes are: bounded, and in step again after an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_REQUEST = 1 << 20
"""Bytes of one request, by default."""
MAX_NESTING = 64
"""Objects and arrays inside each other in one request."""
MAX_DIGITS = 1000
"""Digits of an integer: CPython itself converts no more than some thousands."""

# No JSON text has the byte 0xFF: sent with a line end, it cuts short whatever was half sent.
_outside_string = re.compile(rb'["{}\[\]\xff]').search
_inside_string = re.compile(rb'["\\\x00-\x1f\xff]').search
_not_space = re.compile(rb"[^ \t\r\n]").search


class Malformed:
    """In place of a value: input that is not JSON, or too much of it; `reason` is the text for the sender."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Framer:
    """Cuts a byte stream into JSON values; after a malformed one the rest of its line is ignored.

    Parameters: `limit`, bytes of one value. Thread-safety: none.
    """

    __slots__ = ("_buffer", "_depth", "_in_string", "_limit", "_position", "_skipping")

    def __init__(self, limit: int = MAX_REQUEST) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._position = 0
        self._depth = 0
        self._in_string = False
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """Add bytes, and go through what they complete: values as `json.loads` has them, or :class:`Malformed`."""
        self._buffer += data
        while not self._skipping or self._skip_line():
            try:
                end = self._scan()
                if (end or len(self._buffer)) > self._limit:
                    raise ValueError("JSON token size limit exceeded")
                if not end:
                    return
                value = _parse(self._buffer[:end])
            except ValueError as error:
                self._skipping = True
                yield Malformed(str(error))
            else:
                self._consume(end)
                yield value

    def _consume(self, end: int) -> None:
        del self._buffer[:end]
        self._position = self._depth = 0
        self._in_string = False

    def _skip_line(self) -> bool:
        """Ignore what is left of a line, from where the scan stopped. Returns: whether its end is there."""
        line_end = self._buffer.find(b"\n", self._position)
        self._consume(line_end + 1 if line_end >= 0 else len(self._buffer))
        self._skipping = line_end < 0
        return not self._skipping

    def _scan(self) -> int:
        """Where the first value in the buffer ends, or 0 while that is not known. Raises: ValueError."""
        buffer = self._buffer
        if not self._position:
            start = _not_space(buffer)
            del buffer[: start.start() if start else len(buffer)]
        if not self._depth and buffer and buffer[0] not in b"{[":
            # Neither object nor array: it ends with its line, whose end is left for a malformed one to skip to.
            self._position = max(buffer.find(b"\n"), 0)
            return self._position
        while True:
            found = (_inside_string if self._in_string else _outside_string)(buffer, self._position)
            if found is None:
                self._position = len(buffer)
                return 0
            token, self._position = found[0], found.end()
            if token == b'"':
                self._in_string = not self._in_string
            elif token == b"\\":
                if self._position == len(buffer):
                    self._position -= 1  # what it escapes has not come yet
                    return 0
                self._position += 1
            elif token in b"{[":
                self._depth += 1
                if self._depth > MAX_NESTING:
                    raise ValueError("JSON nesting depth limit exceeded")
            elif token in b"}]":
                self._depth -= 1
                if not self._depth:
                    return self._position
            else:
                self._position = found.start()
                raise ValueError("JSON parse error, stray byte")


def _parse(text: bytearray) -> Any:
    try:
        return json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON parse error, {error.msg[0].lower()}{error.msg[1:]}") from None
    except UnicodeDecodeError:
        raise ValueError("JSON parse error, invalid UTF-8") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("JSON parse error, duplicate key")
    return result


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # it could not be echoed: JSON has no infinity
        raise ValueError("JSON parse error, number out of range")
    return number


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("JSON parse error, number out of range")
    return int(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON parse error, invalid keyword '{constant}'")
