"""Saved states: a versioned, self-describing file format, and its JSON form. docs/snapshots.md describes both."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from gicv3._core import load_arrays, save_arrays, saved_names
from gicv3.errors import ConfigError, GicError, SnapshotError

if TYPE_CHECKING:
    import numpy.typing

    from gicv3._core import SavePoint
    from gicv3.gic import GICv3, GICv3Config

VERSION = 1
"""Version of the format and of the fields that a GIC writes; every older one can be read."""

Source = bytes | bytearray | memoryview | str | PathLike[str]

_MAGIC = b"\x89GICv3\r\n"
_HEAD = struct.Struct("<8sI")
_ENTRY = struct.Struct("<BccII")     # length of the name, type, encoding, number of elements, bytes of the payload
_CRC = struct.Struct("<I")
_TYPES = {b"B": 1, b"H": 2, b"I": 4, b"Q": 8}
_PLAIN, _RUNS = b"=", b"r"
_JSON = b"J"
_DEPTH = 16                          # lists and objects inside each other, at most


class Field(NamedTuple):
    """One field of a snapshot as it stands in the file."""

    kind: bytes
    encoding: bytes
    number: int
    payload: bytes


class Snapshot(NamedTuple):
    """A file taken apart: its version, its texts (parsed JSON) and its arrays, not yet expanded."""

    version: int
    texts: dict[str, Any]
    arrays: dict[str, Field]


def canonical(value: Any) -> str:
    """JSON with one spelling for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# --- arrays: plain, or as runs of equal elements


def _runs(array: numpy.typing.NDArray[Any]) -> tuple[numpy.typing.NDArray[Any], numpy.typing.NDArray[Any]]:
    """(lengths, values) of the runs of equal elements."""
    starts = numpy.concatenate(([0] if len(array) else [], numpy.flatnonzero(array[1:] != array[:-1]) + 1)).astype("i8")
    lengths = numpy.diff(starts, append=len(array))
    return lengths.astype("<u4"), array[starts]


def _pack(array: bytes, size: int) -> Field:
    """The shorter of the two encodings."""
    values = numpy.frombuffer(array, dtype=f"<u{size}")
    kind = next(kind for kind, width in _TYPES.items() if width == size)
    lengths, distinct = _runs(values)
    if len(lengths) * (4 + size) < len(array):
        return Field(kind, _RUNS, len(values), lengths.tobytes() + distinct.tobytes())
    return Field(kind, _PLAIN, len(values), array)


def _unpack(name: str, field: Field, size: int, count: int | None) -> bytes:
    """The elements of a field that must have `count` of `size` bytes; nothing is expanded before that is known.

    With `count` None, any number: a list, whose elements differ, so that runs cannot be shorter.
    """
    if count is None:
        if field.encoding != _PLAIN:
            raise SnapshotError(f"{name} is a list, which has no runs, got the encoding {field.encoding!r}")
        count = field.number
    if _TYPES.get(field.kind) != size or field.number != count:
        raise SnapshotError(f"{name} must be {count} elements of {size} bytes, got {field.number} of {field.kind!r}")
    payload = field.payload
    if field.encoding == _PLAIN:
        if len(payload) != count * size:
            raise SnapshotError(f"{name} must have {count * size} bytes, got {len(payload)}")
        return payload
    if field.encoding != _RUNS or len(payload) % (4 + size):
        raise SnapshotError(f"{name} has the unknown encoding {field.encoding!r} or an incomplete run")
    number = len(payload) // (4 + size)
    lengths = numpy.frombuffer(payload, dtype="<u4", count=number).astype("i8")
    values = numpy.frombuffer(payload, dtype=f"<u{size}", offset=4 * number)
    if int(lengths.sum()) != count or number > count:
        raise SnapshotError(f"the runs of {name} must have {count} elements, got {int(lengths.sum())}")
    return numpy.repeat(values, lengths).tobytes()


# --- the file


def pack(texts: Mapping[str, Any], arrays: Mapping[str, Field]) -> bytes:
    """Put a file together."""
    parts = [_HEAD.pack(_MAGIC, VERSION)]
    for name, value in texts.items():
        payload = canonical(value).encode()
        parts += [_ENTRY.pack(len(name), _JSON, _PLAIN, len(payload), len(payload)), name.encode(), payload]
    for name, field in arrays.items():
        parts += [_ENTRY.pack(len(name), field.kind, field.encoding, field.number, len(field.payload)), name.encode(),
                  field.payload]
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def unpack(source: Source) -> Snapshot:
    """Take a file apart.

    Raises: SnapshotError when it is damaged, no snapshot at all, or of a version that is newer than this package.
    """
    data = source if isinstance(source, bytes) else _read(source)
    if len(data) < _HEAD.size + _CRC.size:
        raise SnapshotError(f"a snapshot has at least {_HEAD.size + _CRC.size} bytes, got {len(data)}")
    magic, version = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise SnapshotError(f"a snapshot begins with {_MAGIC!r}, got {magic!r}")
    if not 1 <= version <= VERSION:
        raise SnapshotError(f"snapshots of versions 1..{VERSION} can be read, got version {version}")
    body, (crc,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
    if zlib.crc32(body) != crc:
        raise SnapshotError(f"the snapshot is damaged: its CRC is {zlib.crc32(body):#010x}, {crc:#010x} is noted in it")
    texts: dict[str, Any] = {}
    arrays: dict[str, Field] = {}
    for name, field in _entries(body):
        if name in texts or name in arrays:
            raise SnapshotError(f"the field {name} is there twice")
        if field.kind == _JSON:
            texts[name] = _parse(name, field.payload)
        else:
            arrays[name] = field
    return Snapshot(version, texts, arrays)


def _read(source: Source) -> bytes:
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | PathLike):
        return Path(source).read_bytes()
    raise TypeError(f"a snapshot is bytes or the path of a file, got {type(source).__name__}")


def _entries(body: bytes) -> Iterator[tuple[str, Field]]:
    at = _HEAD.size
    while at < len(body):
        if at + _ENTRY.size > len(body):
            raise SnapshotError(f"the field at byte {at} is incomplete")
        length, kind, encoding, count, size = _ENTRY.unpack_from(body, at)
        start = at + _ENTRY.size + length
        if start + size > len(body):
            raise SnapshotError(f"the field at byte {at} is incomplete")
        name = body[at + _ENTRY.size : start].decode("ascii", "replace")
        yield name, Field(kind, encoding, count, body[start : start + size])
        at = start + size


def _parse(name: str, text: str | bytes) -> Any:
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"the field {name} is no JSON: {error}") from None
    level = [value]
    for _ in range(_DEPTH):
        level = [inner for outer in level if isinstance(outer, list | dict)
                 for inner in (outer.values() if isinstance(outer, dict) else outer)]
    if level:
        raise SnapshotError(f"the field {name} has lists or objects more than {_DEPTH} deep")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


# --- configurations


def config_fields(config: GICv3Config) -> dict[str, Any]:
    """A configuration as JSON has it."""
    result: dict[str, Any] = json.loads(canonical(asdict(config)))
    return result


def config_of(saved: Any) -> GICv3Config:
    """The configuration that a snapshot names; what an older one does not name is as it was then, the default."""
    from gicv3.gic import GICv3Config  # GICv3.save() is built on this module

    if not isinstance(saved, dict):
        raise SnapshotError(f"config must be an object, got {type(saved).__name__}")
    unknown = sorted(saved.keys() - {field.name for field in fields(GICv3Config)})
    if unknown:
        raise SnapshotError(f"config has fields that GICv3Config has not: {', '.join(unknown)}")
    for field in fields(GICv3Config):
        value = saved.get(field.name, field.default)
        if isinstance(value, bool) != isinstance(field.default, bool):
            raise SnapshotError(f"config.{field.name} is none that a GICv3 can have: {value!r}")
    try:
        return GICv3Config(**saved)
    except (TypeError, ValueError, OverflowError) as error:
        raise SnapshotError(f"config is none that a GICv3 can have: {error}") from None


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Both sides of every entry that differs."""
    return [
        f"{name} is {saved.get(name)!r} in the snapshot, {here.get(name)!r} here"
        for name in sorted(saved.keys() | here.keys())
        if saved.get(name) != here.get(name)
    ]


# --- a GIC


def _shapes(config: GICv3Config) -> dict[str, tuple[int, int | None]]:
    """(bytes of an element, number of elements) of each saved array of a GIC; None for a list of any length."""
    records = {"gic": 1, "nsacr": 128, "words": 64, "spis": 2048, "pes": config.num_pe}
    if config.lpis:
        records |= {"lpi": 1, "redists": config.num_pe, "lists": 0}
    if config.its:
        records["itss"] = config.its
    return {name: (size, count * records[where] or None) for name, (size, count, where) in saved_names().items()
            if where in records}


def _required(shapes: Mapping[str, tuple[int, int | None]]) -> set[str]:
    """The fields that a snapshot must have: a list that is missing is empty."""
    return {name for name, (_, count) in shapes.items() if count is not None}


def gic_arrays(gic: GICv3) -> dict[str, bytes]:
    """The state of a GIC by name, each an array of unsigned little-endian numbers: see docs/snapshots.md."""
    return dict(sorted(save_arrays(gic).items()))


def save_gic(gic: GICv3) -> bytes:
    """The bytes of `GICv3.save`."""
    shapes = _shapes(gic.config)
    arrays = {name: _pack(array, shapes[name][0]) for name, array in gic_arrays(gic).items()}
    return pack({"config": config_fields(gic.config)}, arrays)


def expand(snapshot: Snapshot) -> tuple[GICv3Config, dict[str, bytes]]:
    """The configuration and the arrays of a GIC's snapshot."""
    if "machine" in snapshot.texts:
        raise SnapshotError("this is the snapshot of a machine: VirtMachine.restore or VirtMachine.load takes it")
    if snapshot.texts.keys() != {"config"}:
        raise SnapshotError(f"a GIC's snapshot has the text config, got {', '.join(snapshot.texts) or 'none'}")
    config = config_of(snapshot.texts["config"])
    shapes = _shapes(config)
    unknown = sorted(snapshot.arrays.keys() - shapes.keys())
    missing = sorted(_required(shapes) - snapshot.arrays.keys())
    if unknown or (missing and snapshot.version == VERSION):
        raise SnapshotError(f"unknown fields: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}")
    return config, {name: _unpack(name, field, *shapes[name]) for name, field in snapshot.arrays.items()}


def restore_gic(kind: type[GICv3], source: Source) -> GICv3:
    """What `GICv3.restore` gives."""
    config, arrays = expand(unpack(source))
    return make(kind, config, arrays)


def make(kind: type[GICv3], config: GICv3Config, arrays: dict[str, bytes]) -> GICv3:
    """A GIC in the state that the arrays hold; checked."""
    try:
        gic = kind(config)
    except ConfigError as error:
        raise SnapshotError(f"config is none that a GICv3 can have: {error}") from None
    fresh = gic.savepoint()
    try:
        load_arrays(gic, arrays)
        gic.check()
    except GicError as error:
        gic.rewind(fresh)
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"the saved state is none that a GIC can be in: {error}") from None
    return gic


def load_gic(gic: GICv3, source: Source) -> None:
    """What `GICv3.load` does."""
    gic.rewind(prepare(gic, source))


def prepare(gic: GICv3, source: Source) -> SavePoint:
    """A snapshot as a save point that fits the GIC. Raises: SnapshotError as `GICv3.load`."""
    from gicv3.gic import GICv3

    config, arrays = expand(unpack(source))
    wrong = differences(config_fields(config), config_fields(gic.config))
    if wrong:
        raise SnapshotError(f"the snapshot is of another GIC: {'; '.join(wrong)}")
    saved = numpy.frombuffer(arrays["pe.accessible"], dtype="u1")
    for pe, plugged in enumerate(saved != 0):
        if plugged != gic.is_accessible(pe):
            there, here = ("plugged", "absent") if plugged else ("absent", "plugged")
            raise SnapshotError(f"PE {pe} is {there} in the snapshot, {here} here")
    return make(GICv3, config, arrays).savepoint()


# --- a machine: its own text, and its GIC's whole snapshot


def pack_machine(state: Any, gic: bytes) -> bytes:
    """A machine's snapshot of its two fields."""
    return pack({"machine": state}, {"gic": Field(b"B", b"=", len(gic), gic)})


def machine_fields(snapshot: Snapshot) -> tuple[Any, bytes]:
    """The text of a machine's snapshot, unchecked, and the GIC's snapshot."""
    if snapshot.texts.keys() != {"machine"} or snapshot.arrays.keys() != {"gic"}:
        if "config" in snapshot.texts:
            raise SnapshotError("this is the snapshot of a GIC alone: GICv3.restore or GICv3.load takes it")
        raise SnapshotError("a machine's snapshot has the fields machine and gic, this one has "
                            f"{', '.join([*snapshot.texts, *snapshot.arrays])}")
    return snapshot.texts["machine"], snapshot.arrays["gic"].payload


# --- JSON


def to_json(source: Source, indent: int | None = None) -> str:
    """A snapshot of a GIC or of a machine as JSON: see docs/snapshots.md."""
    return json.dumps(_json_form(unpack(source)), sort_keys=True, indent=indent)


def _json_form(snapshot: Snapshot) -> dict[str, Any]:
    if "machine" in snapshot.texts:
        machine, gic = machine_fields(snapshot)
        return {"format": "gicv3-machine", "version": snapshot.version, "machine": machine,
                "gic": _json_form(unpack(gic))}
    config, arrays = expand(snapshot)
    shapes = _shapes(config)
    state = {}
    for name, array in arrays.items():
        lengths, values = _runs(numpy.frombuffer(array, dtype=f"<u{shapes[name][0]}"))
        state[name] = [[int(length), int(value)] for length, value in zip(lengths, values)]
    return {"format": "gicv3", "version": snapshot.version, "config": snapshot.texts["config"], "state": state}


def from_json(text: str | bytes) -> bytes:
    """The snapshot that a JSON text describes: for `GICv3.restore`, or of a machine for `VirtMachine.restore`.

    Raises: SnapshotError when it is none; what a machine's says of its vCPUs is checked when it is restored.
    """
    value = _parse("snapshot", text)
    if isinstance(value, dict) and value.get("format") == "gicv3-machine":
        _check_form(value, "gicv3-machine", {"machine", "gic"})
        return pack_machine(value["machine"], _gic_of_json(value["gic"]))
    return _gic_of_json(value)


def _check_form(value: Any, kind: str, keys: set[str]) -> None:
    if not isinstance(value, dict) or value.keys() != {"format", "version"} | keys:
        raise SnapshotError(f"a snapshot in JSON is an object with format, version, {' and '.join(sorted(keys))}")
    if value["format"] != kind or type(value["version"]) is not int or value["version"] != VERSION:
        raise SnapshotError(f"format and version must be {kind!r} and {VERSION}, got {value['format']!r:.80} and "
                            f"{value['version']!r:.80}")


def _gic_of_json(value: Any) -> bytes:
    _check_form(value, "gicv3", {"config", "state"})
    config = config_of(value["config"])
    shapes = _shapes(config)
    if not isinstance(value["state"], dict) or not _required(shapes) <= value["state"].keys() <= shapes.keys():
        raise SnapshotError("state must have exactly the fields of a GIC's snapshot")
    arrays = {name: _from_runs(name, runs, *shapes[name]) for name, runs in sorted(value["state"].items())}
    return pack({"config": value["config"]}, arrays)


def _from_runs(name: str, runs: Any, size: int, count: int | None) -> Field:
    if count is None:            # a list: with as many elements as runs, each is of one
        count = len(runs) if isinstance(runs, list) else 0
    valid = isinstance(runs, list) and all(
        isinstance(run, list) and len(run) == 2 and all(type(number) is int for number in run) for run in runs
    )
    if not valid or not all(0 < length <= count and 0 <= value < 1 << 8 * size for length, value in runs):
        raise SnapshotError(f"{name} must be runs [number of elements, value of {size} bytes]")
    if sum(length for length, _ in runs) != count:
        raise SnapshotError(f"the runs of {name} must have {count} elements, got {sum(length for length, _ in runs)}")
    lengths = numpy.array([length for length, _ in runs], dtype="<u4")
    values = numpy.array([value for _, value in runs], dtype=f"<u{size}")
    return _pack(numpy.repeat(values, lengths).tobytes(), size)
