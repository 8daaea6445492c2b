"""Snapshots: what comes after a restore is what would have come without; what cannot be restored is refused whole."""

import copy
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import storm
from model.builder import Op
from replay import ALL, act, assert_same_future, made, trace
from rig import Rig

from gicv3 import ConfigError, GICv3, GICv3Config, Line, SnapshotError, _core, snapshot

DATA = Path(__file__).parent / "data"


# --- the future is the same


@pytest.mark.parametrize("name", ALL)
def test_a_restored_gic_goes_on_as_the_saved_one(name: str) -> None:
    ops = trace(name, seed=len(name))
    half = len(ops) // 2
    gic = made(name, ops[:half])
    other = GICv3.restore(gic.save())
    other.check()
    assert_same_future(gic, other, ops[half:])


@pytest.mark.parametrize("name", ALL)
def test_a_rewound_gic_goes_on_as_from_the_save_point(name: str) -> None:
    ops = trace(name, seed=100 + len(name))
    third = len(ops) // 3
    gic = made(name, ops[:third])
    point, data = gic.savepoint(), gic.save()
    for op in ops[third:]:
        act(gic, op)
    gic.rewind(point)
    gic.check()
    assert gic.save() == data
    assert_same_future(gic, GICv3.restore(data), ops[third:])
    gic.rewind(point)
    assert gic.save() == data


def test_a_snapshot_in_a_storm_goes_on_in_a_new_process(tmp_path: Path) -> None:
    seed, cut, count = 7, 1500, 1500
    gic = storm.prepared()
    storm.run(gic, seed, 0, cut)
    gic.save(tmp_path / "storm")
    here = storm.run(gic, seed, cut, count)
    command = [sys.executable, storm.__file__, str(tmp_path / "storm"), str(seed), str(cut), str(count)]
    environment = os.environ | {"PYTHONHASHSEED": "3", "PYTHONPATH": str(Path(snapshot.__file__).parent.parent)}
    there = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    assert there.stdout.splitlines() == here
    taken = [int(line.split()[3]) for line in here if " took " in line]
    assert len(set(taken)) > 20
    assert len([intid for intid in taken if intid < 1020]) > 100


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda gic: pickle.loads(pickle.dumps(gic))])
def test_a_copy_goes_its_own_way(duplicate: Callable[[GICv3], GICv3]) -> None:
    rig = Rig(2)
    rig.prepare(20)
    rig.gic.on_line = lambda pe, line, level: None
    other = duplicate(rig.gic)
    assert other.on_line is None
    assert other.save() == rig.gic.save()
    rig.raise_(20)
    assert (rig.gic.pe[0].irq, other.pe[0].irq) == (True, False)


@pytest.mark.parametrize("left", [3, 2, 1, 0])
def test_what_settles_goes_on_settling(left: int) -> None:
    gic = GICv3(GICv3Config(cpus=2, settle_steps=3))
    gic.redist[1]["GICR_WAKER"] = 0
    gic.redist[0]["GICR_ICENABLER0"] = 1
    gic.pe[1]["ICC_SGI1R_EL1"] = 1
    gic.step(3 - left)
    other = GICv3.restore(gic.save())
    for one in (gic, other):
        assert [bool(one.redist[1]["GICR_WAKER"]), *(one.redist[pe]["GICR_CTLR"] for pe in (0, 1))] == (
            [True, 1 << 3, 1 << 31] if left else [False, 0, 0]
        )
        one.step(left)
        assert [one.redist[1]["GICR_WAKER"], *(one.redist[pe]["GICR_CTLR"] for pe in (0, 1))] == [0, 0, 0]


def test_a_copy_is_of_the_class_of_the_original() -> None:
    class Mine(GICv3):
        pass

    assert type(Mine.restore(Mine(GICv3Config(cpus=1)).save())) is Mine


# --- no edge


def test_restore_makes_no_edge_of_a_wire_that_is_high() -> None:
    rig = Rig(1)
    rig.prepare(20, edge=True)
    rig.raise_(20)
    assert rig.gic.pe[0]["ICC_IAR1_EL1"] == 20
    rig.gic.pe[0]["ICC_EOIR1_EL1"] = 20
    data, point = rig.gic.save(), rig.gic.savepoint()
    rig.raise_(20, False)
    rig.gic.rewind(point)
    for gic in (GICv3.restore(data), rig.gic):
        assert gic.ppi_line(0, 20)
        assert not gic.pe[0].irq
        gic.set_ppi(0, 20, True)
        assert not gic.pe[0].irq


def test_a_rewind_tells_the_lines_that_differ_and_no_others() -> None:
    rig = Rig(3)
    for pe in range(3):
        rig.prepare(20, pe)
    rig.raise_(20, pe=0)
    point = rig.gic.savepoint()
    rig.raise_(20, False, pe=0)
    rig.raise_(20, pe=1)
    rig.gic.changed()
    told: list[tuple[int, Line, bool]] = []
    rig.gic.on_line = lambda pe, line, level: told.append((pe, line, level))
    rig.gic.rewind(point)
    assert told == [(0, Line.IRQ, True), (1, Line.IRQ, False)]
    assert rig.gic.changed() == [0, 1]
    rig.gic.rewind(point)
    assert len(told) == 2


def test_load_tells_the_lines_that_differ() -> None:
    rig = Rig(2)
    rig.prepare(20, 1)
    quiet = rig.gic.save()
    rig.raise_(20, pe=1)
    loud = rig.gic.save()
    told: list[tuple[int, Line, bool]] = []
    rig.gic.on_line = lambda pe, line, level: told.append((pe, line, level))
    rig.gic.load(quiet)
    rig.gic.load(loud)
    assert told == [(1, Line.IRQ, False), (1, Line.IRQ, True)]
    assert rig.gic.save() == loud


# --- the bytes


def test_equal_state_is_equal_bytes_whatever_led_to_it() -> None:
    gics = [Rig(2, one_of_n=True).gic for _ in range(2)]
    for gic, order in zip(gics, ((40, 41, 42), (42, 40, 41))):
        for intid in order:
            gic.set_spi(intid, True)
    gics[0].pe[0]["ICC_IAR1_EL1"]
    gics[0].mmio_read(0)
    assert gics[0].save() == gics[1].save() == GICv3.restore(gics[0].save()).save()


def test_a_snapshot_is_small() -> None:
    assert len(GICv3(GICv3Config(cpus=4)).save()) < 2500
    assert len(GICv3(GICv3Config(cpus=4096)).save()) < 2500


def test_the_fields_are_named_and_sized_in_the_file() -> None:
    gic = GICv3(GICv3Config(cpus=3))
    parsed = snapshot.unpack(gic.save())
    assert parsed.version == snapshot.VERSION
    assert parsed.texts["config"]["cpus"] == 3
    assert parsed.arrays["icc.pmr"].kind == b"B"
    assert parsed.arrays["icc.pmr"].number == 3
    assert parsed.arrays["spi.irouter"].kind == b"Q"
    assert parsed.arrays.keys() == snapshot.gic_arrays(gic).keys()


def test_save_writes_a_file_that_restore_and_load_read(tmp_path: Path) -> None:
    gic = Rig(2).gic
    data = gic.save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    assert GICv3.restore(tmp_path / "file").save() == data
    gic.load(tmp_path / "file")
    assert GICv3.restore(bytearray(data)).save() == GICv3.restore(memoryview(data)).save() == data
    with pytest.raises(TypeError, match="bytes or the path of a file, got int"):
        GICv3.restore(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ds1", "1ofn-sparse", "all-ds0", "settle-1ofn"])
def test_json_says_the_same_as_the_bytes(name: str) -> None:
    data = made(name, trace(name, seed=5)).save()
    text = snapshot.to_json(data, indent=1)
    assert snapshot.from_json(text) == snapshot.from_json(text.encode()) == data


def test_json_is_runs_of_count_and_value() -> None:
    gic = GICv3(GICv3Config(cpus=4))
    gic.pe[2]["ICC_PMR_EL1"] = 0x80
    value = json.loads(snapshot.to_json(gic.save()))
    assert (value["format"], value["version"]) == ("gicv3", snapshot.VERSION)
    assert value["state"]["icc.pmr"] == [[2, 0], [1, 0x80], [1, 0]]
    assert value["config"]["cpus"] == 4


@pytest.mark.parametrize(("path", "value", "text"), [
    ((), [], "an object with format"),
    (("format",), "other", "must be 'gicv3'"),
    (("version",), snapshot.VERSION + 1, f"and {snapshot.VERSION + 1}"),
    (("version",), True, "and True"),
    (("state", "icc.pmr"), [[1, 0]], "must have 2 elements, got 1"),
    (("state", "icc.pmr"), [[2, 256]], "value of 1 bytes"),
    (("state", "icc.pmr"), [[2, -1]], "value of 1 bytes"),
    (("state", "icc.pmr"), [[1 << 40, 0]], "value of 1 bytes"),
    (("state", "icc.pmr"), [[2, True]], "value of 1 bytes"),
    (("state", "icc.pmr"), [2, 0], "value of 1 bytes"),
    (("state", "icc.pmr"), None, "value of 1 bytes"),
    (("state", "new"), [[2, 0]], "exactly the fields"),
    (("state",), {}, "exactly the fields"),
    (("config", "cpus"), 0, "config is none that a GICv3 can have: cpus must be in 1..65536, got 0"),
])
def test_json_that_is_no_snapshot_is_refused(path: tuple[str, ...], value: Any, text: str) -> None:
    whole = json.loads(snapshot.to_json(GICv3(GICv3Config(cpus=2)).save()))
    place = whole
    for key in path[:-1]:
        place = place[key]
    if path:
        place[path[-1]] = value
    with pytest.raises(SnapshotError, match=text):
        snapshot.from_json(json.dumps(whole if path else value))


# --- old versions


@pytest.mark.parametrize("path", sorted(DATA.glob("snapshot-v*.bin")), ids=lambda path: path.stem)
def test_a_snapshot_of_an_older_version_loads(path: Path) -> None:
    gic = GICv3.restore(path)
    gic.check()
    assert gic.num_pe == 4
    assert gic.redist[1]["GICR_WAKER"] == 6
    assert [gic.pe[pe]["ICC_IAR1_EL1"] for pe in range(4)] == [40, 1023, 33, 63]
    assert gic.redist[2]["GICR_ISPENDR0"] == 1 << 27
    assert GICv3.restore(gic.save()).state_digest() == gic.state_digest()


def test_there_is_a_file_of_every_version() -> None:
    wanted = {f"{what}-v{n}" for what in ("snapshot", "machine") for n in range(1, snapshot.VERSION + 1)}
    assert {path.stem for path in DATA.glob("*.bin")} == wanted


# --- what does not fit


def refused(gic: GICv3, data: bytes) -> str:
    """The text with which a GIC refuses to load; nothing may change."""
    before, lines = gic.save(), bytes(gic.lines)
    with pytest.raises(SnapshotError) as caught:
        gic.load(data)
    assert (gic.save(), bytes(gic.lines)) == (before, lines)
    return str(caught.value)


@pytest.mark.parametrize(("config", "text"), [
    ({"cpus": 3}, "cpus is 3 in the snapshot, 2 here"),
    ({"cpus": 2, "security": True}, "security is True in the snapshot, False here"),
    ({"cpus": 2, "priority_bits": 8, "el2": True},
     "el2 is True in the snapshot, False here; priority_bits is 8 in the snapshot, 5 here"),
    ({"affinities": (0, 2)}, "affinities is [0, 2] in the snapshot, None here"),
])
def test_load_refuses_another_configuration_and_names_both_sides(config: dict[str, Any], text: str) -> None:
    assert text in refused(GICv3(GICv3Config(cpus=2)), GICv3(GICv3Config(**config)).save())


@pytest.mark.parametrize(("saved", "here", "text"), [
    (True, False, "PE 1 is plugged in the snapshot, absent here"),
    (False, True, "PE 1 is absent in the snapshot, plugged here"),
])
def test_load_refuses_another_plugged_set_and_names_both_sides(saved: bool, here: bool, text: str) -> None:
    gics = [GICv3(GICv3Config(cpus=2)) for _ in range(2)]
    for gic, accessible in zip(gics, (saved, here)):
        gic.set_cpustate(1, None, accessible)
    assert refused(gics[1], gics[0].save()) == text


@pytest.mark.parametrize("value", [2, 255])
@pytest.mark.parametrize("here", [True, False])
def test_load_refuses_a_pe_that_is_neither_plugged_nor_absent(value: int, here: bool) -> None:
    gic = GICv3(GICv3Config(cpus=2, spis=32))
    gic.set_cpustate(1, None, here)
    text = refused(gic, replaced("pe.accessible", bytes([1, value])))
    assert text == "PE 1 is plugged in the snapshot, absent here" or here


def test_a_save_point_is_of_a_configuration() -> None:
    gic, other = GICv3(GICv3Config(cpus=2)), GICv3(GICv3Config(cpus=3))
    before = gic.state_digest()
    with pytest.raises(ConfigError, match="this configuration"):
        gic.rewind(other.savepoint())
    with pytest.raises(ConfigError, match="this configuration"):
        gic.rewind(type(gic.savepoint())())
    assert gic.state_digest() == before
    twin = GICv3(GICv3Config(cpus=2))
    twin.pe[1]["ICC_PMR_EL1"] = 0x80
    gic.rewind(twin.savepoint())
    assert gic.state_digest() == twin.state_digest()


def test_counters_go_back_with_a_save_point_and_start_at_0_after_a_load() -> None:
    rig = Rig(1)
    rig.prepare(20, edge=True)
    fresh = rig.gic.counters(0)
    rig.raise_(20)
    rig.gic.pe[0]["ICC_IAR1_EL1"]
    point, data = rig.gic.savepoint(), rig.gic.save()
    counted = rig.gic.counters(0)
    rig.gic.pe[0]["ICC_EOIR1_EL1"] = 20
    rig.raise_(20, False)
    rig.raise_(20)
    rig.gic.pe[0]["ICC_IAR1_EL1"]
    rig.gic.mmio_read(0)
    assert rig.gic.counters(0) != counted != fresh
    rig.gic.rewind(point)
    assert rig.gic.counters(0) == counted
    assert rig.gic.totals()["bad_access"] == 0
    rig.gic.load(data)
    assert rig.gic.counters(0) == fresh


def test_a_save_point_can_be_filled_anew() -> None:
    rig = Rig(2)
    point = rig.gic.savepoint()
    for intid in (40, 41, 42):
        rig.prepare(intid)
        rig.raise_(intid)
    data = rig.gic.save()
    assert rig.gic.savepoint(point) is point
    rig.raise_(41, False)
    rig.gic.rewind(point)
    assert rig.gic.save() == data


SHORT_OF_MEMORY = """
import resource
from gicv3 import ConfigError, GICv3, GICv3Config
small, large = GICv3(GICv3Config(cpus=1)), GICv3(GICv3Config(cpus=65536))
point, before = small.savepoint(), small.state_digest()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), resource.RLIM_INFINITY))
for attempt in (lambda: large.savepoint(point), lambda: large.rewind(point), lambda: small.rewind(point)):
    try:
        attempt()
    except (ConfigError, MemoryError) as error:
        print(type(error).__name__)
assert small.state_digest() == before
small.rewind(small.savepoint(point))
"""


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer takes all address space")
def test_a_save_point_that_found_no_memory_is_of_no_use_until_it_is_filled() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(snapshot.__file__).parent.parent)}
    command = [sys.executable, "-c", SHORT_OF_MEMORY]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    assert done.stdout.split() == ["MemoryError", "ConfigError", "ConfigError"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_save_point_and_a_saved_pe_cannot_be_copied(duplicate: Callable[[object], object]) -> None:
    gic = GICv3(GICv3Config(cpus=1))
    for value in (gic.savepoint(), gic.save_pe(0)):
        with pytest.raises(TypeError, match="cannot pickle"):
            duplicate(value)


def test_no_compiled_class_is_copied_field_by_field() -> None:
    modules = [_core, pytest.importorskip("gicv3.unicorn._native")]
    classes = [value for module in modules for value in vars(module).values()
               if isinstance(value, type) and value.__module__ == module.__name__ and value is not Line]
    assert {GICv3.__base__, type(GICv3(GICv3Config(cpus=1)).savepoint())} < set(classes)
    assert [cls for cls in classes if cls.__reduce__ is not object.__reduce__] == []


# --- hostile data


def entries(data: bytes) -> tuple[bytes, list[tuple[bytes, list[Any], bytes]]]:
    """(head, [(name, [type, encoding, count], payload)])."""
    at, result = 12, []
    while at < len(data) - 4:
        length, kind, encoding, count, size = struct.unpack_from("<BccII", data, at)
        start = at + 11 + length
        result.append((data[at + 11 : start], [kind, encoding, count], data[start : start + size]))
        at = start + size
    return data[:12], result


def joined(head: bytes, fields: list[tuple[bytes, list[Any], bytes]]) -> bytes:
    body = head + b"".join(
        struct.pack("<BccII", len(name), *how, len(payload)) + name + payload for name, how, payload in fields
    )
    return body + struct.pack("<I", zlib.crc32(body))


def test_the_test_takes_files_apart_as_they_are() -> None:
    data = GICv3(GICv3Config(cpus=2)).save()
    assert joined(*entries(data)) == data


def replaced(name: str, payload: bytes | None = None, **how: Any) -> bytes:
    """A snapshot of two PEs with one field changed."""
    head, fields = entries(GICv3(GICv3Config(cpus=2, spis=32)).save())
    for place, (key, (kind, encoding, count), old) in enumerate(fields):
        if key == name.encode():
            new = [how.get("kind", kind), how.get("encoding", b"=" if payload else encoding), how.get("count", count)]
            fields[place] = (key, new, old if payload is None else payload)
    return joined(head, fields)


@pytest.mark.parametrize(("data", "text"), [
    (b"", "at least 16 bytes, got 0"),
    (b"\x89GICv3\r\n\1\0\0\0\0\0\0", "at least 16 bytes, got 15"),
    (b"\x7fELF" + bytes(40), "begins with"),
    (replaced("icc.pmr", b"\1\0"), r"icc.pmr\[0\] has a bit for record 0"),
    (replaced("icc.pmr", b"\x80"), "must have 2 bytes, got 1"),
    (replaced("icc.pmr", count=3), "must be 2 elements of 1 bytes, got 3"),
    (replaced("icc.pmr", count=0xFFFF_FFFF), "must be 2 elements"),
    (replaced("icc.pmr", kind=b"Q"), "must be 2 elements"),
    (replaced("icc.pmr", b"\2\0\0\0\1\0\0\0\x80\0", encoding=b"r"), "must have 2 elements, got 3"),
    (replaced("icc.pmr", b"\2\0\0\0", encoding=b"r"), "incomplete run"),
    (replaced("icc.pmr", b"\0\0", encoding=b"z"), "unknown encoding"),
    (replaced("spi.enable", struct.pack("<64I", 1, *[0] * 63)), r"spi.enable\[0\] has a bit for record 0"),
    (replaced("spi.enable", struct.pack("<64I", 0, 0, 1, *[0] * 61)), r"spi.enable\[0\] has a bit for record 2"),
    (replaced("pe.enable", struct.pack("<6I", 0, 0, 1, 0, 0, 0)), r"pe.enable\[1\] has a bit for record 0"),
    (replaced("spi.chosen", struct.pack("<2048I", *[0] * 32, 3, *[0] * 2015)), "spi.chosen"),
    (replaced("spi.chosen", struct.pack("<2048I", *[0] * 32, 1, *[0] * 2015)), "spi.chosen"),
    (replaced("pe.settling", struct.pack("<2I", 1, 1)), "pe.settling"),
    (replaced("pe.settling", struct.pack("<2I", 2, 0)), "pe.settling"),
    (replaced("pe.settling", struct.pack("<2I", 1, 0)), "pe.settling and the steps left of PE 0 disagree"),
    (replaced("pe.rwp_left", struct.pack("<2I", 1, 0)), "settles for longer than settle_steps, 0"),
    (replaced("pe.waker", b"\2\0"), "pe.waker"),
    (replaced("pe.edge", struct.pack("<6I", 0xFFFE, 0xFFFF, 0, 0, 0, 0)), "level-sensitive SGI"),
    (replaced("context.el", b"\3\1"), "context of PE 0"),
    (replaced("context.secure", b"\0\1"), "context of PE 1"),
    (replaced("icc.bpr", b"\2\2\2\2\2\3"), "icc.bpr of PE 0 is below its minimum"),
    (replaced("pe.nmi", struct.pack("<6I", 1, 0, 0, 0, 0, 0)), "without nmi"),
    (replaced("spi.nmi", struct.pack("<64I", 0, 1, *[0] * 62)), "without nmi"),
    (replaced("spi.message", struct.pack("<64I", 0, 1, *[0] * 62)), "without message_spis"),
    (replaced("dist.statusr", b"\1\0"), "without statusr"),
    (replaced("pe.statusr", b"\0\0\0\1"), "without statusr"),
    (replaced("dist.ds", b"\0"), "dist.ds is 0"),
    (replaced("dist.enables", b"\2"), "Secure Group 1"),
    (replaced("dist.e1nwf", b"\1"), "without one_of_n"),
    (replaced("dist.rwp_left", b"\1\0\0\0"), "above settle_steps, 0"),
    (replaced("pe.dpg", b"\0\1"), "without one_of_n"),
    (replaced("config", b"{"), "the field config is no JSON"),
    (replaced("config", b"[" * 100_000), "the field config is no JSON"),
    (replaced("config", b'{"cpus":2,"security":' + b"[" * 900 + b"]" * 900 + b"}"), "more than 16 deep"),
    (replaced("config", b'{"cpus":NaN}'), "the field config is no JSON: NaN is no number"),
    (replaced("config", b'{"cpus":1e999}'), "the field config is no JSON: 1e999 is no number"),
    (replaced("config", b"[]"), "config must be an object, got list"),
    (replaced("config", b'{"cpus":0}'), "cpus must be in 1..65536, got 0"),
    (replaced("config", b'{"cpus":true}'), "config.cpus is none that a GICv3 can have: True"),
    (replaced("config", b'{"cpus":1.0}'), "config is none that a GICv3 can have"),
    (replaced("config", b'{"cpus":2,"security":1}'), "config.security is none"),
    (replaced("config", b'{"cpus":2,"pidr":[1,2,3]}'), "config is none that a GICv3 can have"),
    (replaced("config", b'{"cpus":2,"redist_regions":[[1]]}'), "config is none that a GICv3 can have"),
    (replaced("config", b'{"affinities":[0,0]}'), "affinities must be distinct"),
    (replaced("config", b'{"cpus":2,"wings":2}'), "config has fields that GICv3Config has not: wings"),
])
def test_data_of_no_state_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(SnapshotError, match=text):
        GICv3.restore(data)


def test_fields_that_are_missing_unknown_twice_or_cut_off_are_refused() -> None:
    head, fields = entries(GICv3(GICv3Config(cpus=2)).save())
    cases = {
        "missing: icc.pmr": joined(head, [field for field in fields if field[0] != b"icc.pmr"]),
        "unknown fields: new": joined(head, [*fields, (b"new", [b"B", b"=", 1], b"\0")]),
        "icc.pmr is there twice": joined(head, [*fields, *(field for field in fields if field[0] == b"icc.pmr")]),
        "a GIC's snapshot has the text config, got none": joined(head, fields[1:]),
        "got config, more": joined(head, [*fields, (b"more", [b"J", b"=", 2], b"{}")]),
    }
    whole = joined(head, fields)[:-4]
    for cut in (1, 30, 100):
        body = whole[:-cut]
        cases[f"is incomplete{' ' * cut}"] = body + struct.pack("<I", zlib.crc32(body))
    for text, data in cases.items():
        with pytest.raises(SnapshotError, match=text.strip()):
            GICv3.restore(data)


def test_a_damaged_file_and_one_of_the_future_are_refused() -> None:
    data = bytearray(GICv3(GICv3Config(cpus=2)).save())
    data[40] ^= 1
    with pytest.raises(SnapshotError, match="the snapshot is damaged: its CRC is"):
        GICv3.restore(data)
    data[8] = snapshot.VERSION + 1
    with pytest.raises(SnapshotError, match=f"versions 1..{snapshot.VERSION} can be read, got version"):
        GICv3.restore(data)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """A snapshot with some of its fields changed, and a CRC that is right again."""
    head, fields = entries(data)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(1, len(fields))
        name, how, payload = fields[place]
        how, changed = list(how), bytearray(payload)
        kind = draw.randrange(8)
        if kind < 4 and changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        elif kind == 4:
            how[draw.randrange(3)] = draw.choice((b"B", b"I", b"Q", b"=", b"r", b"J", 0, 2, 0xFFFF_FFFF))
            if not isinstance(how[2], int) or not all(isinstance(value, bytes) for value in how[:2]):
                continue
        elif kind == 5:
            changed = changed[: draw.randrange(len(changed) + 1)]
        elif kind == 6:
            changed += draw.randbytes(draw.randint(1, 9))
        else:
            name = draw.choice(fields)[0]
        fields[place] = (name, how, bytes(changed))
    return joined(head, fields)


@pytest.mark.parametrize("name", ["ds1", "ds0", "all-ds0", "settle-1ofn", "1ofn", "nmi-ds0"])
def test_hostile_data_is_refused_or_a_state_that_the_invariants_hold_in(name: str) -> None:
    data = made(name, trace(name, seed=3, length=250)).save()
    draw = random.Random(name)
    empty = GICv3(GICv3Config(**ALL[name]))
    empty.set_accessible_range(0, empty.num_pe, False)
    before = empty.state_digest()
    accepted = 0
    for _ in range(int(os.environ.get("GICV3_SNAPSHOT_FUZZ", "150"))):
        hostile = mutated(data, draw)
        with suppress(SnapshotError):
            empty.load(hostile)
        assert empty.state_digest() == before
        try:
            gic = GICv3.restore(hostile)
        except SnapshotError:
            continue
        accepted += 1
        gic.check()
        assert GICv3.restore(gic.save()).save() == gic.save()
        for op in trace_of_wake_up(gic):
            act(gic, op)
        gic.check()
    assert accepted


def trace_of_wake_up(gic: GICv3) -> list[Op]:
    """What lets everything out that is in there."""
    ops = [Op("frame_write", ("GICD", 0, 0x37, 4, True, 0)), Op("step", (5,))]
    for pe in range(gic.num_pe):
        ops += [Op("set_cpustate", (pe, None, True)), Op("frame_write", ("RD", 0x14, 0, 4, True, pe)), Op("step", (5,))]
        ops += [Op("sysreg_write", (pe, name, 0xFF)) for name in ("ICC_PMR_EL1", "ICC_IGRPEN1_EL1", "ICC_IGRPEN0_EL1")]
        ops += [Op("sysreg_read", (pe, name)) for name in ("ICC_IAR1_EL1", "ICC_IAR0_EL1")] * 4
    return ops


@pytest.mark.parametrize("cut", [1, 11, 12, 13, 40, 500])
def test_a_file_cut_short_is_refused(cut: int) -> None:
    data = GICv3(GICv3Config(cpus=2)).save()
    with pytest.raises(SnapshotError):
        GICv3.restore(data[:cut])


@pytest.mark.parametrize("name", ALL)
def test_the_configuration_comes_back_as_it_was(name: str) -> None:
    gic = GICv3(GICv3Config(**ALL[name]))
    assert GICv3.restore(gic.save()).config == gic.config
