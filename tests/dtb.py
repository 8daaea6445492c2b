"""A reader of flattened devicetrees that shares nothing with the writer, and what the tests ask of one."""

import struct
import subprocess
from collections.abc import Iterator

import required

BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
Nodes = dict[str, dict[str, bytes]]


def parse(blob: bytes) -> Nodes:
    """Properties by name, by the path of their node."""
    magic, total, structure, strings, _, version = struct.unpack_from(">6I", blob)
    assert (magic, total, version) == (0xD00D_FEED, len(blob), 17)
    return dict(_nodes(blob, structure, strings))


def _nodes(blob: bytes, position: int, strings: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    path: list[str] = []
    properties: dict[str, bytes] = {}
    while True:
        (token,) = struct.unpack_from(">I", blob, position)
        position += 4
        match token:
            case 1:
                name = _text(blob, position)
                position = position + len(name) + 4 & ~3
                path.append(name)
                properties = {}
                yield "/".join(path) or "/", properties
            case 2:
                path.pop()
            case 3:
                size, name_at = struct.unpack_from(">II", blob, position)
                position += 8
                properties[_text(blob, strings + name_at)] = blob[position : position + size]
                position = position + size + 3 & ~3
            case 4:
                pass
            case 9:
                return
            case _:
                raise AssertionError(f"token {token} at {position - 4:#x}")


def _text(blob: bytes, position: int) -> str:
    return blob[position : blob.index(0, position)].decode()


def cells(value: bytes) -> tuple[int, ...]:
    """The value as 32-bit numbers."""
    return struct.unpack(f">{len(value) // 4}I", value)


def with_paths(nodes: Nodes, references: set[str]) -> Nodes:
    """The same with paths in the place of the phandles in `references`, and without the phandles themselves."""
    paths = {
        value: path for path, properties in nodes.items() for name, value in properties.items() if name == "phandle"
    }
    return {
        path: {
            name: b" ".join(paths[value[at : at + 4]].encode() for at in range(0, len(value), 4))
            if name in references
            else value
            for name, value in properties.items()
            if name != "phandle"
        }
        for path, properties in nodes.items()
    }


def compile_again(blob: bytes) -> str:
    """What dtc prints of it, as source; dtc must accept it without a warning, and its source again."""
    dtc = required.tool("dtc")
    text = subprocess.run([dtc, "-I", "dtb", "-O", "dts"], input=blob, capture_output=True)
    assert (text.returncode, text.stderr) == (0, b""), text.stderr.decode()
    # Decompiled source has numbers where a person writes references.
    again = subprocess.run(
        [dtc, "-I", "dts", "-O", "dtb", "-W", "no-clocks_property"], input=text.stdout, capture_output=True
    )
    assert (again.returncode, again.stderr) == (0, b""), again.stderr.decode()
    assert parse(again.stdout) == parse(blob)
    return text.stdout.decode()
