"""AArch64 programs for tests: machine code beside its source, so that no assembler is needed to run them."""

import re
import struct

PROGRAMS: list[str] = []
"""The text of every program, for the test that assembles them again."""

_LINE = re.compile(r"\s*([0-9a-f]{8})\s\s+\S")


def words(text: str) -> bytes:
    """The code of lines `d503207f  wfi`; lines without a word are labels and directives that make no code."""
    PROGRAMS.append(text)
    return b"".join(struct.pack("<I", int(match[1], 16)) for match in map(_LINE.match, text.splitlines()) if match)


def source(text: str) -> str:
    """The assembler source of such a text."""
    lines = (line[match.end(1) :] if (match := _LINE.match(line)) else line for line in text.splitlines())
    return "\n".join(lines) + "\n"
