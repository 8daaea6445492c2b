"""A small encoder of AML, the byte code of ACPI tables: as much of it as the DSDT of this machine needs.

Every function returns the encoded term. Source: ACPI specification 6.5, chapter 20, and 6.4 for resources.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

ZERO, ONE = b"\x00", b"\x01"
_EXTENDED = b"\x5b"


class Access(IntEnum):
    """Width by which a field's register is accessed."""

    BYTE = 1
    DWORD = 3


class Update(IntEnum):
    """What a write of a field does to the other bits of its register."""

    PRESERVE = 0
    ZEROS = 2


@lru_cache(maxsize=256)
def name(path: str) -> bytes:
    r"""A name: segments of at most four characters separated by dots, perhaps after the root's `\`."""
    root, segments = b"", path.split(".")
    if segments[0].startswith("\\"):
        root, segments[0] = b"\\", segments[0][1:]
    encoded = b"".join(segment.ljust(4, "_").encode("ascii") for segment in segments)
    match len(segments):
        case 1:
            prefix = b""
        case 2:
            prefix = b"\x2e"
        case count:
            prefix = bytes((0x2F, count))
    return root + prefix + encoded


def integer(value: int) -> bytes:
    """A constant, 0..2**64-1, in its shortest form."""
    if value < 2:
        return bytes((value,))
    for prefix, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4), (0x0E, 8)):
        if value < 1 << 8 * size:
            return bytes((prefix,)) + value.to_bytes(size, "little")
    raise OverflowError(f"an integer must be in 0..2**64-1, got {value:#x}")


def string(text: str) -> bytes:
    """A constant of ASCII text."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def local(number: int) -> bytes:
    """A method's variable, 0..7."""
    return bytes((0x60 + number,))


def argument(number: int) -> bytes:
    """A method's argument, 0..6."""
    return bytes((0x68 + number,))


def assign(path: str, value: bytes) -> bytes:
    """Declare an object with a value."""
    return b"\x08" + name(path) + value


def store(value: bytes, target: bytes) -> bytes:
    """Write a value to a variable or a field."""
    return b"\x70" + value + target


def bit_and(left: bytes, right: bytes) -> bytes:
    """The bits that both have."""
    return b"\x7b" + left + right + ZERO


def equal(left: bytes, right: bytes) -> bytes:
    """Whether two are equal."""
    return b"\x93" + left + right


def less(left: bytes, right: bytes) -> bytes:
    """Whether the left one is less."""
    return b"\x95" + left + right


def call(path: str, *arguments: bytes) -> bytes:
    """Call a method; its declaration must come earlier in the table."""
    return name(path) + b"".join(arguments)


def notify(device: str, value: bytes) -> bytes:
    """Tell the operating system of an event of a device."""
    return b"\x86" + name(device) + value


def give_back(value: bytes) -> bytes:
    """Return from a method with a value."""
    return b"\xa4" + value


def when(condition: bytes, *terms: bytes) -> bytes:
    """Run the terms if the condition holds."""
    return _package(b"\xa0", condition, *terms)


def otherwise(*terms: bytes) -> bytes:
    """Run the terms if the condition of the `when` before it did not hold."""
    return _package(b"\xa1", *terms)


def repeat(condition: bytes, *terms: bytes) -> bytes:
    """Run the terms as long as the condition holds."""
    return _package(b"\xa2", condition, *terms)


def scope(path: str, *terms: bytes) -> bytes:
    """Terms within an object that exists."""
    return _package(b"\x10", name(path), *terms)


def device(path: str, *terms: bytes) -> bytes:
    """Declare a device."""
    return _package(_EXTENDED + b"\x82", name(path), *terms)


def method(path: str, arguments: int, *terms: bytes) -> bytes:
    """Declare a method that runs once at a time, as all that declare or wait must."""
    serialized = 1 << 3
    return _package(b"\x14", name(path), bytes((arguments | serialized,)), *terms)


def mutex(path: str) -> bytes:
    """Declare a lock."""
    return _EXTENDED + b"\x01" + name(path) + ZERO


def acquire(path: str) -> bytes:
    """Take a lock, waiting for it without limit."""
    return _EXTENDED + b"\x23" + name(path) + b"\xff\xff"


def release(path: str) -> bytes:
    """Give a lock back."""
    return _EXTENDED + b"\x27" + name(path)


def region(path: str, base: int, size: int) -> bytes:
    """Declare a range of system memory, in bytes."""
    return _EXTENDED + b"\x80" + name(path) + ZERO + integer(base) + integer(size)


def field(of: str, access: Access, update: Update, layout: dict[str, int]) -> bytes:
    """Declare registers in a region: name and bits of each in order; names that begin with `-` are gaps."""
    encoded = b"".join(
        (ZERO if path.startswith("-") else name(path)) + _length(bits, including_itself=False)
        for path, bits in layout.items()
    )
    return _package(_EXTENDED + b"\x81", name(of), bytes((access | update << 5,)), encoded)


def resources(*descriptors: bytes) -> bytes:
    """A buffer of resource descriptors."""
    content = b"".join(descriptors) + b"\x79\x00"
    return _package(b"\x11", integer(len(content)), content)


def memory(base: int, size: int) -> bytes:
    """Resource: a fixed range of registers below 4 GiB, in bytes."""
    return b"\x86\x09\x00\x01" + base.to_bytes(4, "little") + size.to_bytes(4, "little")


def interrupt(intid: int, *, edge: bool) -> bytes:
    """Resource: an interrupt of the device's own, edge-triggered or active-high."""
    return b"\x89\x06\x00" + bytes((1 | edge << 1, 1)) + intid.to_bytes(4, "little")


def eisa_id(text: str) -> bytes:
    """A constant: three letters and four hexadecimal digits in 32 bits, as `PNP0A06`."""
    number = 0
    for letter in text[:3]:
        number = number << 5 | ord(letter) - ord("@")
    return b"\x0c" + (number << 16 | int(text[3:], 16)).to_bytes(4, "big")


def _package(opcode: bytes, *terms: bytes) -> bytes:
    content = b"".join(terms)
    return opcode + _length(len(content), including_itself=True) + content


def _length(value: int, *, including_itself: bool) -> bytes:
    """The length of a package: six bits, or four and up to three bytes more."""
    if value + including_itself < 1 << 6:
        return bytes((value + including_itself,))
    for more in range(1, 4):
        total = value + (more + 1 if including_itself else 0)
        if total < 1 << 4 + 8 * more:
            return bytes((more << 6 | total & 0xF,)) + (total >> 4).to_bytes(more, "little")
    raise OverflowError(f"a package must be less than 256 MiB long, got {value} bytes")
