"""Snapshots and save points with LPIs and ITSs: what comes after is the same, also from the middle of their work."""

import copy
import pickle
import struct
from collections.abc import Callable
from typing import Any

import pytest

from gicv3 import GICv3, GICv3Config, Line, SnapshotError, VirtMachine, snapshot
from tests.its_software import ItsSoftware
from tests.itses import FIRST, QUEUE, ItsRig, mapc, movi
from tests.lpis import PEND, RAM, LpiRig

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two ITSs, stalling": {"its": 2, "its_errors": "stall", "its_umsi": True, "its_umsi_spi": 40},
    "live, 20 bits": {"lpi_config": "live", "id_bits": 20},
    "security, highest first, settling": {"security": True, "tie": "highest", "settle_steps": 2, "its": 2},
}


def again(software: ItsSoftware) -> ItsSoftware:
    return software.copied(GICv3.restore(software.gic.save()))


# --- the future is the same


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CONFIGS)
def test_a_restored_gic_goes_on_as_the_saved_one(name: str, seed: int) -> None:
    one = ItsSoftware.started(seed, **CONFIGS[name])
    one.run(seed, 400)
    two = again(one)
    two.gic.check()
    assert two.gic.save() == one.gic.save()
    assert two.gic.state_digest() == one.gic.state_digest()
    for part in range(4):
        assert one.run(100 + part, 100) == two.run(100 + part, 100)
        assert one.gic.save() == two.gic.save()
        assert one.ram == two.ram
        two = again(one)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rewound_gic_goes_on_as_from_the_save_point_with_its_counters(name: str) -> None:
    software = ItsSoftware.started(9, **CONFIGS[name])
    software.run(9, 300)
    point, data = software.gic.savepoint(), software.gic.save()
    ram, taken = bytes(software.ram), copy.deepcopy(software.taken)

    def future() -> object:
        seen = software.run(10, 400)
        counts = [its.counters() for its in software.gic.its], [its.errors() for its in software.gic.its]
        return seen, counts, software.gic.totals(), software.gic.save(), bytes(software.ram)

    first = future()
    for _ in range(2):
        software.gic.rewind(point)
        software.ram[:], software.taken = ram, copy.deepcopy(taken)
        software.gic.check()
        assert software.gic.save() == data
        assert future() == first


def test_a_save_point_can_be_taken_to_a_twin_and_filled_anew() -> None:
    one, two = ItsSoftware.started(1), ItsSoftware.started(2)
    point = two.gic.savepoint()
    one.run(3, 300)
    assert one.gic.savepoint(point) is point
    two.gic.rewind(point)
    two.gic.check()
    assert two.gic.save() == one.gic.save()
    assert point.size > 16_384 * 24  # the translation cache alone


@pytest.mark.parametrize("bits", [14, 20])
def test_rewinding_over_tables_of_another_size(bits: int) -> None:
    rig = LpiRig(id_bits=20)
    rig.lpi(FIRST + 3, (1 << 20) - 1)
    point, data = rig.gic.savepoint(), rig.gic.save()
    rig.enable_lpis(on=False)
    rig.tables(bits=bits)
    rig.enable_lpis()
    rig.lpi(*range(FIRST, FIRST + 8000, 37))
    rig.gic.rewind(point)
    rig.gic.check()
    assert rig.gic.save() == data
    assert rig.take_all() == [FIRST + 3, (1 << 20) - 1]
    rig.gic.rewind(point)
    assert rig.gic.save() == data


def test_rewinding_to_fewer_and_to_more_pending_lpis_than_now() -> None:
    rig = LpiRig(id_bits=20)
    few = rig.gic.savepoint()
    spread = range(FIRST, 1 << 20, 4096)
    for intid in spread:
        rig.configure(intid, (intid >> 12) & 0xFC | 1)
    rig.lpi(*spread)
    many, data = rig.gic.savepoint(), rig.gic.save()
    rig.gic.rewind(few)
    assert rig.lpis() == []
    rig.lpi(FIRST + 4096)
    twin = GICv3(rig.gic.config)
    for gic in (rig.gic, twin):
        gic.rewind(many)
        gic.check()
        assert gic.save() == data
        assert gic.lpi_pending(0) == list(spread)


# --- what is in it


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda gic: pickle.loads(pickle.dumps(gic)),
        lambda gic: GICv3.restore(snapshot.from_json(snapshot.to_json(gic.save()))),
    ],
)
def test_a_copy_has_its_lpis_and_goes_its_own_way(duplicate: Callable[[GICv3], GICv3]) -> None:
    rig = ItsRig(2, events=3)
    rig.msi(0)
    rig.msi(2)
    other = duplicate(rig.gic)
    other.check()
    assert other.save() == rig.gic.save()
    assert other.memory.regions == ()
    assert [other.pe[0]["ICC_IAR1_EL1"] for _ in range(2)] == [FIRST, 1023]
    assert (other.lpi_pending(0), rig.lpis()) == ([FIRST + 2], [FIRST, FIRST + 2])


def test_fields_of_lpis_and_itss_are_there_with_them_alone() -> None:
    def names(**options: Any) -> set[str]:
        prefixes = {name.partition(".")[0] for name in snapshot.gic_arrays(GICv3(GICv3Config(cpus=1, **options)))}
        return prefixes & {"lpi", "its"}

    assert names() == set()
    assert names(lpis=True) == {"lpi"}
    assert names(lpis=True, its=1) == {"lpi", "its"}


def test_equal_states_have_equal_bytes_whatever_led_to_them() -> None:
    one, two = ItsRig(2, events=4), ItsRig(2, events=4)
    for event in (0, 3):
        one.msi(event)
    two.msi(1)
    assert two.take_all() == [FIRST + 1]
    for event in (3, 2, 0):
        two.msi(event)
    two.do(*(movi(1, 2, 0) for _ in range(3)))
    two.gic.redist[0]["GICR_CLRLPIR"] = FIRST + 2
    two.its["GITS_CTLR"] = 0
    two.program()
    for rig in (one, two):
        rig.gic.redist[0]["GICR_INVALLR"] = 0
        rig.do(mapc(9, 0))
        rig.its["GITS_CTLR"] = 0
        rig.its["GITS_CBASER"] = rig.its["GITS_CWRITER"] = 0
    assert one.gic.save() == two.gic.save()
    for rig in (one, two):
        for pe in range(2):
            rig.enable_lpis(pe, on=False)
    fresh = ItsRig(2, enable=False)
    fresh.its["GITS_CTLR"] = 0
    fresh.its["GITS_CBASER"] = 0
    assert one.gic.save() == fresh.gic.save()


def test_a_cached_configuration_byte_is_saved() -> None:
    rig = LpiRig()
    rig.lpi(FIRST)
    assert rig.take_all() == [FIRST]
    rig.configure(FIRST, 0x41)
    other = GICv3.restore(rig.gic.save())
    other.memory.map(RAM, rig.ram)
    other.redist[0]["GICR_SETLPIR"] = FIRST
    assert other.pe[0]["ICC_IAR1_EL1"] == FIRST
    assert other.pe[0]["ICC_RPR_EL1"] == 0xA0


def test_lpis_that_wait_for_an_absent_pe_are_saved() -> None:
    rig = ItsRig(2, events=1)
    rig.do(movi(1, 0, 1))
    rig.gic.set_cpustate(1, None, False)
    rig.msi(0)
    other = GICv3.restore(rig.gic.save())
    assert other.lines[1] == 0
    other.set_cpustate(1, object(), True)
    assert other.lines[1] == Line.WAKE
    other.redist[1]["GICR_WAKER"] = 0
    other.pe[1]["ICC_PMR_EL1"] = 0xFF
    other.pe[1]["ICC_IGRPEN1_EL1"] = 1
    assert other.pe[1]["ICC_IAR1_EL1"] == FIRST


def test_loading_tells_of_lines_that_differ_and_makes_no_interrupt() -> None:
    rig = ItsRig(1, events=2)
    rig.msi(0)
    data = rig.gic.save()
    assert rig.take_all() == [FIRST]
    told: list[Any] = []
    rig.gic.on_line = lambda *change: told.append(change)
    rig.gic.load(data)
    assert told == [(0, Line.IRQ, True)]
    assert rig.gic.counters(0)["lpi"] == 0  # of the GIC that was made for it
    assert rig.take_all() == [FIRST]
    rig.msi(1)
    assert rig.take_all() == [FIRST + 1]


# --- in the middle of work


def test_the_rest_of_a_long_queue_is_done_where_it_is_restored() -> None:
    rig = ItsRig(2)
    rig.its["GITS_CTLR"] = 0
    rig.queue_size = 0x1_0000
    rig.its["GITS_CBASER"] = 1 << 63 | QUEUE | 15
    rig.its["GITS_CTLR"] = 1
    rig.put(*(mapc(n % 500, n % 2) for n in range(1500)))  # 257 units each of the 131,072 that a call may spend
    rig.its["GITS_CWRITER"] = rig.offset
    data, ram = rig.gic.save(), bytearray(rig.ram)
    other = GICv3.restore(data)
    other.step()
    other.check()
    assert other.save() == data  # it waits for its memory
    other.memory.map(RAM, ram)
    for gic in (rig.gic, other):
        assert 0 < gic.its[0]["GITS_CREADR"] <= rig.offset
        while gic.its[0]["GITS_CREADR"] != rig.offset:
            gic.step()
        assert gic.its[0].errors() == []
    assert other.save() == rig.gic.save() != data
    assert ram == rig.ram


def test_a_pending_table_is_read_on_where_it_is_restored() -> None:
    rig = LpiRig(id_bits=19, enable=False)
    table = slice(PEND - RAM + FIRST // 8, PEND - RAM + (1 << 19) // 8)
    rig.ram[table] = b"\xff" * (table.stop - table.start)
    rig.enable_lpis()
    other = GICv3.restore(rig.gic.save())
    before = len(other.lpi_pending(0))
    assert 0 < before < (1 << 19) - FIRST
    assert len(other.lpi_pending(0)) == before
    other.memory.map(RAM, bytearray(rig.ram))
    for gic in (rig.gic, other):
        for _ in range(8):
            gic.step()
    assert len(other.lpi_pending(0)) == (1 << 19) - FIRST
    assert other.save() == rig.gic.save()


def test_clears_of_lpis_that_are_not_read_yet_are_saved_at_each_step_of_the_reading() -> None:
    rig = LpiRig(enable=False, id_bits=15, work_budget=1)
    intids = range(FIRST, 1 << 15, 401)
    for intid in intids:
        rig.set_table_bit(intid)
    rig.enable_lpis()
    for intid in intids[2::3]:
        rig.gic.redist[0]["GICR_CLRLPIR"] = intid
    left = [intid for n, intid in enumerate(intids) if n % 3 != 2]
    while rig.gic.has_work:
        data = rig.gic.save()
        other = GICv3.restore(data)
        assert other.save() == data
        rig.gic.step(0)
    other.memory.map(RAM, rig.ram)
    other.step(0)
    assert rig.lpis() == other.lpi_pending(0) == left


def test_nothing_is_saved_or_rewound_while_callbacks_bring_memory() -> None:
    rig = LpiRig(callbacks=True)
    point, data = rig.gic.savepoint(), rig.gic.save()
    refused = []

    def read(address: int, size: int) -> bytes | None:
        for call in (rig.gic.save, rig.gic.savepoint, lambda: rig.gic.rewind(point), lambda: rig.gic.load(data)):
            with pytest.raises(SnapshotError, match="while callbacks of guest memory are under way"):
                call()
            refused.append(call)
        return rig.read_ram(address, size)

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.lpi(FIRST)
    assert len(refused) == 4
    assert rig.take_all() == [FIRST]


# --- what cannot be restored is refused whole


def changed(data: bytes, **arrays: bytes) -> bytes:
    """A snapshot with some of its arrays replaced, dots in their names written as underscores."""
    taken = snapshot.unpack(data)
    fields = dict(taken.arrays)
    for name, array in arrays.items():
        dotted = name.replace("_", ".", 1)
        old = fields[dotted]
        size = {b"B": 1, b"H": 2, b"I": 4, b"Q": 8}[old.kind]
        fields[dotted] = snapshot.Field(old.kind, b"=", len(array) // size, array)
    return snapshot.pack(taken.texts, fields)


def u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def lpi(intid: int, level: int, pe: int = 0) -> int:
    return pe << 32 | intid << 8 | level


LEVEL = 0xA0 >> 2  # of a configuration byte 0xA1 with one security state


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"lpi_pending": u64(lpi(FIRST - 1, LEVEL))}, r"lpi.pending\[0\] is no LPI that a PE has: 0x1fff28"),
        ({"lpi_pending": u64(lpi(1 << 16, LEVEL))}, r"lpi.pending\[0\] is no LPI that a PE has"),
        ({"lpi_pending": u64(lpi(FIRST, LEVEL, pe=1))}, r"lpi.pending\[0\] is no LPI that a PE has"),
        ({"lpi_pending": u64(lpi(FIRST, LEVEL, pe=2))}, r"lpi.pending\[0\] is no LPI that a PE has"),
        ({"lpi_pending": u64(lpi(FIRST, 0x40))}, r"lpi.pending\[0\] is at a level that there is not"),
        ({"lpi_pending": u64(lpi(FIRST, 1))}, r"lpi.pending\[0\] is at a level that there is not"),
        ({"lpi_pending": u64(lpi(FIRST, 0xFE))}, "where the order has no room for LPIs, some stand in it"),
        ({"lpi_pending": u64(lpi(FIRST + 1, LEVEL), lpi(FIRST, LEVEL))}, r"lpi.pending\[1\] is out of order"),
        ({"lpi_pending": u64(lpi(FIRST, LEVEL), lpi(FIRST, 0xFF))}, r"lpi.pending\[1\] is out of order"),
        ({"lpi_config": u32(FIRST << 8 | 0xA1)}, r"lpi.config\[0\] is no cached byte of an LPI"),
        ({"lpi_config": u32((FIRST - 1) << 8 | 0xA3)}, r"lpi.config\[0\] is no cached byte"),
        ({"lpi_config": u32((1 << 16) << 8 | 0xA3)}, r"lpi.config\[0\] is no cached byte"),
        ({"lpi_config": u32(FIRST << 8 | 0xA3, FIRST << 8 | 0xA3)}, r"lpi.config\[1\] is no cached byte"),
        (
            {"lpi_enabled": b"\0\0", "lpi_pending": b"", "lpi_config": b""},
            "lpi.config or lpi.table is set, and nothing",
        ),
        ({"lpi_enabled": b"\2\0"}, r"lpi.enabled\[0\] has a bit for record 0"),
        ({"lpi_pendbaser": u64(1 << 62, 0)}, "lpi.ptz or lpi.pendbaser of PE 0 is one that cannot be"),
        ({"lpi_ptz": b"\1\0"}, "lpi.ptz or lpi.pendbaser of PE 0"),
        ({"lpi_flush_at": u32(200, 0)}, "lpi.flush_at of PE 0 is set while its LPIs are enabled"),
        ({"lpi_flush_at": u32(0, 127)}, "lpi.flush_at of PE 1 is outside its pending table"),
        ({"lpi_flush_at": u32(0, 1 << 10)}, "lpi.flush_at of PE 1 is outside its pending table"),
        ({"lpi_load_at": u32(127, 0)}, "lpi.load_at of PE 0 is outside its pending table"),
        ({"lpi_load_at": u32(1 << 10, 0)}, "lpi.load_at of PE 0 is outside its pending table"),
        ({"lpi_load_at": u32(0, 128)}, "lpi.load_at of PE 1 is outside its pending table"),
        ({"lpi_refresh_at": u32(FIRST, 0)}, "lpi.refresh_at and refresh_end of PE 0 are no range"),
        ({"lpi_refresh_at": u32(FIRST, 0), "lpi_refresh_end": u32(1 << 17, 0)}, "are no range of its LPIs"),
        ({"lpi_refresh_at": u32(0, FIRST), "lpi_refresh_end": u32(0, 1 << 16)}, "of PE 1 are no range"),
        ({"lpi_load_at": u32(128, 0)}, "invariant 21 broken at PE 0"),
        ({"lpi_jobs": u32(3, 0)}, "lpi.jobs of PE 0 is no place in a list, or another PE's: 3"),
        ({"lpi_jobs": u32(1, 1)}, "lpi.jobs of PE 1 is no place in a list, or another PE's: 1"),
        ({"lpi_jobs": u32(2, 0)}, "lpi.jobs has nobody at place 1"),
        ({"lpi_clears": u64(FIRST)}, r"lpi.clears\[0\] is no LPI that a PE has still to read: 0x2000"),
        ({"lpi_clears": u64(2 << 32 | FIRST)}, r"lpi.clears\[0\] is no LPI that a PE has"),
        ({"lpi_clears": u64(*[FIRST] * 65)}, "lpi.clears must have at most 64 elements, got 65"),
        ({"lpi_memory": u64(RAM)}, "lpi.memory ends inside an element of 16 bytes"),
        ({"lpi_memory": u64(RAM, 0)}, "lpi.memory must end below 2\\*\\*52, got 0x0 at 0x40000000"),
        ({"lpi_memory": u64(1 << 51, (1 << 51) + 1)}, "lpi.memory must end below 2\\*\\*52"),
        ({"lpi_memory": u64(*[RAM, 1] * 65)}, "lpi.memory must have at most 64 regions, got 65"),
        ({"lpi_memory": u64(RAM, 4 << 20)}, "lpi.memory contradicts other fields"),
        ({"lpi_propbaser": u64(1 << 63, 0)}, r"lpi.propbaser\[0\] has a bit for record 0"),
        ({"its_creadr": u32(4096)}, "its.creadr of ITS 0 is outside its queue"),
        ({"its_creadr": u32(16)}, "its.creadr of ITS 0 is outside its queue"),
        ({"its_cwriter": u32(1)}, "its.cwriter of ITS 0 has the Retry bit"),
        ({"its_quiescent_left": u32(1)}, "its.quiescent_left of ITS 0 is above settle_steps, 0, or set while"),
        ({"its_statusr": b"\1"}, "its.statusr of ITS 0 is set without its_umsi"),
        ({"its_syndrome": b"\1"}, "its.syndrome or its.umsir of ITS 0 is set without its_umsi"),
        ({"its_umsir": u64(1)}, "its.syndrome or its.umsir of ITS 0 is set without its_umsi"),
        ({"its_umsi_irq": b"\1"}, "its.umsi_irq of ITS 0 is set without its_umsi_spi"),
        ({"its_baser": u64(3 << 8, 0)}, "its.baser of ITS 0 has page size 3"),
        ({"its_enabled": b"\2"}, r"its.enabled\[0\] has a bit for record 0"),
    ],
)
def test_a_state_that_cannot_be_is_refused(arrays: dict[str, bytes], text: str) -> None:
    rig = ItsRig(2, events=2)
    rig.enable_lpis(1, on=False)
    rig.msi(0)
    data = rig.gic.save()
    with pytest.raises(SnapshotError, match=text):
        GICv3.restore(changed(data, **arrays))
    with pytest.raises(SnapshotError, match=text):
        rig.gic.load(changed(data, **arrays))
    assert rig.gic.save() == data


def test_a_list_that_is_missing_is_empty() -> None:
    data = ItsRig(1, events=1).gic.save()
    taken = snapshot.unpack(data)
    fields = {name: field for name, field in taken.arrays.items() if name not in ("lpi.clears", "lpi.memory")}
    older = snapshot.pack(taken.texts, fields)
    assert len(older) < len(data)
    assert GICv3.restore(older).save() == data
    assert GICv3.restore(snapshot.from_json(snapshot.to_json(older))).save() == data
    with pytest.raises(SnapshotError, match=r"missing: lpi\.jobs$"):
        GICv3.restore(snapshot.pack(taken.texts, {n: f for n, f in taken.arrays.items() if n != "lpi.jobs"}))


def test_a_list_has_no_runs_and_no_half_elements() -> None:
    data = ItsRig(1, events=1).gic.save()
    taken = snapshot.unpack(data)
    for field in (
        snapshot.Field(b"Q", b"r", 1 << 30, struct.pack("<IQ", 1 << 30, 0)),
        snapshot.Field(b"Q", b"=", 1, b"1234"),
        snapshot.Field(b"I", b"=", 1, b"1234"),
    ):
        with pytest.raises(SnapshotError, match=r"lpi\.pending"):
            GICv3.restore(snapshot.pack(taken.texts, {**taken.arrays, "lpi.pending": field}))
    text = snapshot.to_json(data).replace('"lpi.pending": []', '"lpi.pending": [[1000000000, 5]]')
    with pytest.raises(SnapshotError, match=r"lpi\.pending"):
        snapshot.from_json(text)


def test_a_gic_without_lpis_or_itss_refuses_their_fields_and_the_other_way_round() -> None:
    plain, lpis, its = (
        GICv3(GICv3Config(cpus=1, **options)) for options in ({}, {"lpis": True}, {"lpis": True, "its": 1})
    )
    for ours, theirs, text in (
        (plain, its, "its is 1 in the snapshot, 0 here; lpis is True in the snapshot, False here"),
        (its, lpis, "its is 0 in the snapshot, 1 here"),
    ):
        with pytest.raises(SnapshotError, match=text):
            ours.load(theirs.save())
    one, two = snapshot.unpack(plain.save()), snapshot.unpack(its.save())
    with pytest.raises(SnapshotError, match=r"unknown fields: its\.baser, its\.cbaser"):
        GICv3.restore(snapshot.pack(one.texts, two.arrays))
    with pytest.raises(SnapshotError, match=r"missing: its\.baser, its\.cbaser"):
        GICv3.restore(snapshot.pack(two.texts, one.arrays))


# --- machines


def test_a_machine_with_an_its_is_saved_and_made_again() -> None:
    machine = VirtMachine(cpus=1, max_cpus=4, its=True)
    ram = bytearray(4 << 20)
    machine.gic.memory.map(RAM, ram)
    rig = ItsRig(1, enable_its=False)  # for its tables alone
    ram[:] = rig.ram
    redist = machine.gic.redist[2]
    redist["GICR_PROPBASER"], redist["GICR_PENDBASER"] = rig.gic.redist[0]["GICR_PROPBASER"], PEND
    redist["GICR_CTLR"] = 1
    ram[PEND - RAM + FIRST // 8] = 0
    its = machine.gic.its[0]
    its["GITS_CBASER"] = 1 << 63 | QUEUE
    machine.device_add(id="two", core_id=2)
    other = VirtMachine.restore(machine.save())
    assert other.arguments["its"] is True
    assert other.save() == machine.save()
    other.gic.check()
    assert other.gic.its[0]["GITS_CBASER"] == its["GITS_CBASER"]
    machine.load(other.save())
    with pytest.raises(SnapshotError, match="its is True in the snapshot, False here"):
        VirtMachine(cpus=1, max_cpus=4).load(machine.save())
