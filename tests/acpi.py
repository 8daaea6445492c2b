"""A reader of ACPI tables in guest memory, and ACPICA's tools on them."""

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import required

HEADER_SIZE = 36


def read_tables(memory: bytes, base: int, rsdp: int) -> dict[str, bytes]:
    """Every table that the RSDP leads to, by signature, with checksums and lengths verified."""
    at = rsdp - base
    assert (memory[at : at + 8], memory[at + 15]) == (b"RSD PTR ", 2)
    assert sum(memory[at : at + 20]) & 0xFF == 0 == sum(memory[at : at + 36]) & 0xFF
    (length, xsdt) = struct.unpack_from("<IQ", memory, at + 20)
    assert length == 36
    tables = {"XSDT": _table(memory, xsdt - base)}
    for (address,) in struct.iter_unpack("<Q", tables["XSDT"][HEADER_SIZE:]):
        table = _table(memory, address - base)
        tables[table[:4].decode()] = table
    (dsdt,) = struct.unpack_from("<Q", tables["FACP"], 140)
    tables["DSDT"] = _table(memory, dsdt - base)
    return tables


def _table(memory: bytes, at: int) -> bytes:
    (length,) = struct.unpack_from("<I", memory, at + 4)
    table = memory[at : at + length]
    assert (len(table), sum(table) & 0xFF) == (length, 0)
    return table


def entries(madt: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each structure of a MADT."""
    at = HEADER_SIZE + 8
    while at < len(madt):
        kind, length = madt[at], madt[at + 1]
        yield kind, madt[at : at + length]
        at += length


def compile_again(table: bytes, folder: Path) -> tuple[str, bytes]:
    """A table's source as iasl disassembles it, and what iasl compiles from that; neither may have a complaint."""
    iasl = required.tool("iasl")
    (folder / "table.aml").write_bytes(table)
    said = _run(folder, iasl, "-p", "table", "-d", "table.aml")
    source = (folder / "table.dsl").read_text()
    assert not {"error", "warning", "invalid", "unknown"} & set(f"{said} {source}".lower().replace(":", " ").split())
    said = _run(folder, iasl, "-p", "again", "-oa", "-oe", "table.dsl")
    assert "0 Errors, 0 Warnings," in said, said
    return source, (folder / "again.aml").read_bytes()


def execute(dsdt: bytes, folder: Path, *methods: str) -> str:
    """What ACPICA's interpreter says when it evaluates methods, its memory regions being plain memory."""
    (folder / "dsdt.aml").write_bytes(dsdt)
    commands = ";".join(f"execute {method}" for method in methods)
    said = _run(folder, required.tool("acpiexec"), "-b", f"{commands};quit", "dsdt.aml")
    assert not re.search("exception|error", said, re.IGNORECASE), said
    return said


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
