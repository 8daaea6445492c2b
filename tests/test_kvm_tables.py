"""ITS tables in KVM's form: KVM's walk, written here as well, finds what was mapped, and what KVM wrote is used."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from gicv3 import ConfigError, GICv3, SnapshotError, kvm
from gicv3.kvm_tables import load_tables, save_tables
from tests.its_software import ItsSoftware
from tests.itses import COLLECTIONS, DEVICES, FIRST, ITTS, QUEUE, VALID, ItsRig, discard, mapc, mapd, mapti, movi
from tests.lpis import PEND, RAM, LpiRig

INDIRECT = 1 << 62
Mapped = dict[int, dict[int, tuple[int, int]]]


class KvmTables:
    """What KVM does with tables: a walk from entry to entry as its restore has it, and a save into dirty memory."""

    def __init__(self, ram: bytearray) -> None:
        self.ram = ram

    def read(self, address: int) -> int:
        return int.from_bytes(self.ram[address - RAM : address - RAM + 8], "little")

    def write(self, address: int, entry: int) -> None:
        self.ram[address - RAM : address - RAM + 8] = entry.to_bytes(8, "little")

    def events(self, itt: int, bits: int) -> dict[int, tuple[int, int]]:
        found, event = {}, 0
        while event < 1 << bits:
            entry = self.read(itt + event * 8)
            if entry >> 16 & 0xFFFF_FFFF == 0:
                event += 1
                continue
            found[event] = (entry >> 16 & 0xFFFF_FFFF, entry & 0xFFFF)
            if entry >> 48 == 0:
                break
            event += entry >> 48
        return found

    def devices(self, places: dict[int, int]) -> Mapped:
        """`places` has the address of each DeviceID's entry."""
        found: Mapped = {}
        device, last = 0, max(places)
        while device <= last:
            entry = self.read(places[device]) if device in places else 0
            if not entry & VALID:
                device += 1
                continue
            found[device] = self.events((entry >> 5 & (1 << 44) - 1) << 8, (entry & 31) + 1)
            if entry >> 49 & 0x3FFF == 0:
                break
            device += entry >> 49 & 0x3FFF
        return found

    def collections(self, table: int, count: int) -> dict[int, int]:
        found = {}
        for n in range(count):
            entry = self.read(table + n * 8)
            if not entry & VALID:
                break
            found[entry & 0xFFFF] = entry >> 16 & (1 << 36) - 1
        return found

    def save(self, mapped: Mapped, collections: dict[int, int], bits: int = 5) -> None:
        """The devices' ITTs are at ITTS + device * 0x1000."""
        for device, after in zip(mapped, [*list(mapped)[1:], 0]):
            link = max(after - device, 0) << 49
            itt = ITTS + device * 0x1000
            self.write(DEVICES + device * 8, VALID | link | itt >> 8 << 5 | bits - 1)
            events = mapped[device]
            for event, following in zip(events, [*list(events)[1:], 0]):
                intid, icid = events[event]
                self.write(itt + event * 8, max(following - event, 0) << 48 | intid << 16 | icid)
        for n, (icid, pe) in enumerate(collections.items()):
            self.write(COLLECTIONS + n * 8, VALID | pe << 16 | icid)
        self.write(COLLECTIONS + len(collections) * 8, 0)


FLAT = {device: DEVICES + device * 8 for device in range(512)}


def test_kvm_finds_what_was_mapped() -> None:
    rig = ItsRig(3)
    rig.do(mapd(3, ITTS + 0x1000), mapd(7, ITTS + 0x2000), mapd(200, ITTS + 0x3000), mapd(9, ITTS + 0x4000),
           mapc(5, 2), mapc(0, 1), mapc(300, 0),
           mapti(3, 0, FIRST, 5), mapti(3, 31, FIRST + 1, 0), mapti(7, 4, FIRST + 2, 300), mapti(7, 5, FIRST + 3, 5),
           mapti(200, 9, FIRST + 4, 5), mapd(7, ITTS + 0x2000, valid=False), discard(3, 0))  # fmt: skip
    save_tables(rig.gic)
    walk = KvmTables(rig.ram)
    assert walk.devices(FLAT) == {3: {31: (FIRST + 1, 0)}, 9: {}, 200: {9: (FIRST + 4, 5)}}
    assert walk.collections(COLLECTIONS, 512) == {0: 1, 5: 2, 300: 0}
    assert walk.read(DEVICES + 200 * 8) >> 49 & 0x3FFF == 0
    load_tables(rig.gic)
    assert [rig.entry(COLLECTIONS + icid * 8) & 0xFFFF_FFFF for icid in (0, 5, 300)] == [0x1_0000, 0x2_0005, 300]
    rig.do(mapd(7, ITTS + 0x2000))  # what KVM forgets is not there any more, what it keeps is
    for device, event in ((3, 31), (200, 9), (7, 5), (3, 0)):
        rig.msi(event, device)
    assert [rig.lpis(pe) for pe in range(3)] == [[], [FIRST + 1], [FIRST + 3, FIRST + 4]]


def test_tables_of_two_levels_are_linked_over_their_pages() -> None:
    rig = ItsRig(2, enable_its=False)
    first, pages = DEVICES, (RAM + 0x38_0000, RAM + 0x39_0000)
    rig.set_entry(first + 8, VALID | pages[0])
    rig.set_entry(first + 3 * 8, VALID | pages[1])
    rig.program(devices=INDIRECT)
    places = {number * 512 + n: page + n * 8 for number, page in zip((1, 3), pages) for n in range(512)}
    rig.do(mapc(1, 1), *(mapd(device, ITTS + n * 0x1000) for n, device in enumerate((512, 1023, 1536, 2047))),
           mapti(1023, 1, FIRST, 1), mapti(2047, 2, FIRST + 1, 1))  # fmt: skip
    save_tables(rig.gic)
    walk = KvmTables(rig.ram)
    assert walk.devices(places) == {512: {}, 1023: {1: (FIRST, 1)}, 1536: {}, 2047: {2: (FIRST + 1, 1)}}
    assert [walk.read(places[n]) >> 49 & 0x3FFF for n in (512, 1023, 1536, 2047)] == [511, 513, 511, 0]
    load_tables(rig.gic)
    rig.msi(1, 1023)
    rig.msi(2, 2047)
    assert rig.lpis(1) == [FIRST, FIRST + 1]


def test_links_that_are_too_long_for_their_field_lead_part_of_the_way() -> None:
    rig = ItsRig(1, device_bits=16, enable_its=False, ram=8 << 20)
    rig.its["GITS_BASER", 0] = VALID | RAM + 0x40_0000 | 127
    rig.its["GITS_BASER", 1] = VALID | COLLECTIONS
    rig.its["GITS_CBASER"] = VALID | QUEUE
    rig.its["GITS_CTLR"] = 1
    rig.do(mapd(1, ITTS), mapd(0xFFFF, ITTS + 0x1000))
    save_tables(rig.gic)
    walk = KvmTables(rig.ram)
    assert walk.read(RAM + 0x40_0008) >> 49 & 0x3FFF == 0x3FFF
    assert list(walk.devices({n: RAM + 0x40_0000 + n * 8 for n in range(1 << 16)})) == [1, 0xFFFF]
    load_tables(rig.gic)
    rig.do(mapc(0, 0), mapti(0xFFFF, 0, FIRST))
    rig.msi(0, 0xFFFF)
    assert rig.lpis() == [FIRST]


def test_what_kvm_saved_over_old_entries_is_used_and_the_old_ones_are_not() -> None:
    rig = ItsRig(4, enable_its=False)
    dirty = random.Random(1).randbytes(0x6000)
    rig.ram[ITTS - RAM : ITTS - RAM + len(dirty)] = dirty
    rig.ram[DEVICES - RAM + 8 : DEVICES - RAM + 4096] = dirty[: 4096 - 8]
    rig.ram[COLLECTIONS - RAM : COLLECTIONS - RAM + 4096] = dirty[:4096]
    for device in range(6):
        rig.set_entry(ITTS + device * 0x1000, 0)
    mapped = {0: {1: (FIRST + 9, 3), 2: (FIRST + 1, 7), 30: (FIRST + 2, 3)}, 4: {1: (FIRST + 3, 7)}}
    KvmTables(rig.ram).save(mapped, {7: 1, 3: 2})
    form = kvm.export_state(rig.gic)
    its = form["ITS_REGS"]
    its[0x100], its[0x108] = its[0x100] | VALID | DEVICES, its[0x108] | VALID | COLLECTIONS
    its[0x80], its[0x0] = VALID | QUEUE, 1
    kvm.import_state(rig.gic, form)
    for device in range(8):
        for event in range(32):
            rig.msi(event, device)
    assert [rig.lpis(pe) for pe in range(4)] == [[], [FIRST + 1, FIRST + 3], [FIRST + 2, FIRST + 9], []]
    assert rig.its.counters()["unmapped"] == 8 * 32 - 4


# --- the whole state


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"its": 2, "lpi_config": "live"}])
def test_what_is_imported_goes_on_as_what_was_exported(options: dict[str, Any], seed: int) -> None:
    one = ItsSoftware.started(seed, **options)
    one.run(seed, 400)
    for pe in range(one.gic.num_pe):  # KVM reads configuration bytes anew
        one.gic.redist[pe]["GICR_INVALLR"] = 0
    before = one.gic.save()
    save_tables(one.gic)
    form, ram = kvm.export_state(one.gic), bytearray(one.ram)
    load_tables(one.gic)
    assert one.gic.save() == before
    other = GICv3(one.gic.config)
    for pe in range(other.num_pe):
        if not one.gic.is_accessible(pe):
            other.set_cpustate(pe, None, False)
    other.memory.map(RAM, ram)
    kvm.import_state(other, form)
    other.check()
    two = one.copied(GICv3(one.gic.config))
    two.gic, two.ram = other, ram
    assert [other.lpi_pending(pe) for pe in range(3)] == [one.gic.lpi_pending(pe) for pe in range(3)]
    assert one.run(77, 400) == two.run(77, 400)


def test_pending_tables_are_written_and_read() -> None:
    rig = LpiRig(2, its=1, its_bases=(0x0808_0000,))
    rig.lpi(FIRST, FIRST + 77, (1 << 16) - 1)
    rig.set_table_bit(FIRST + 1)  # of before
    save_tables(rig.gic)
    assert [rig.table_bit(FIRST + n) for n in (0, 1, 77)] == [True, False, True]
    form = kvm.export_state(rig.gic)
    assert form["REDIST_REGS"][0x78] == PEND & 0xFFFF_FFFF
    rig.gic.reset()
    kvm.import_state(rig.gic, form)
    assert rig.take_all() == [FIRST, FIRST + 77, (1 << 16) - 1]


# --- what KVM cannot have, and hostile tables


@pytest.mark.parametrize(("options", "text"), [
    ({"its": 0}, "there are tables with its=1 or more alone, this GIC has its=0"),
    ({"its": 1, "its_entry_sizes": (8, 8, 16)}, r"this GIC has its_entry_sizes=\(8, 8, 16\) and pta=False"),
    ({"its": 1, "pta": True}, "and pta=True"),
])  # fmt: skip
def test_a_gic_whose_tables_kvm_cannot_have_is_refused(options: dict[str, Any], text: str) -> None:
    gic = LpiRig(**options).gic
    for call in (save_tables, load_tables):
        with pytest.raises(SnapshotError, match=text):
            call(gic)


def collection(icid: int, pe: int) -> int:
    return VALID | pe << 16 | icid


@pytest.mark.parametrize(("entries", "text"), [
    ({DEVICES: VALID | 16}, r"device 0x0 of ITS 0 has 17 bits of EventID, this GIC 16"),
    ({DEVICES: VALID | 0x1_0000 << 5 | 4}, "a table is not in guest memory"),
    ({ITTS: (FIRST - 1) << 16}, r"event 0 of device 0x0 of ITS 0 is INTID 8191, which is no LPI"),
    ({ITTS: 1 << 48 | FIRST << 16, ITTS + 8: 1 << 32}, "event 1 of device 0x0 of ITS 0 is INTID 65536"),
    ({COLLECTIONS: collection(0, 2)}, "collection 0 of ITS 0 leads to 2, of 2 PEs and 512 collections"),
    ({COLLECTIONS: collection(512, 0)}, "collection 512 of ITS 0 leads to 0"),
    ({COLLECTIONS: collection(3, 0), COLLECTIONS + 8: collection(3, 1)}, "or is there twice"),
    ({DEVICES + 64 * 8: VALID | ITTS >> 8 << 5}, "device 0x40 of ITS 0 is beyond the DeviceIDs"),
])  # fmt: skip
def test_tables_that_this_gic_cannot_have_are_refused_and_left(entries: dict[int, int], text: str) -> None:
    rig = ItsRig(2, device_bits=6)
    rig.set_entry(DEVICES, VALID | (64 << 49) | ITTS >> 8 << 5 | 4)
    for address, entry in entries.items():
        rig.set_entry(address, entry)
    before, state = bytes(rig.ram), rig.gic.save()
    with pytest.raises(SnapshotError, match=text):
        load_tables(rig.gic)
    assert (rig.ram, rig.gic.save()) == (before, state)


def test_memory_that_cannot_be_written_or_is_of_callbacks_is_refused() -> None:
    rig = ItsRig(1, events=1)
    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map(RAM, bytes(rig.ram), writable=False)
    with pytest.raises(SnapshotError, match="is in memory that may not be written"):
        save_tables(rig.gic)
    with pytest.raises(SnapshotError, match="a table is not in guest memory"):
        load_tables(ItsRig(1, callbacks=True).gic)


def test_tables_that_go_on_for_ever_end() -> None:
    rig = ItsRig(1, enable_its=False, ram=32 << 20, device_bits=32)
    table, page = RAM + 0x100_0000, RAM + 0x80_0000
    rig.ram[table - RAM :] = (VALID | page).to_bytes(8, "little") * (0x100_0000 // 8)
    rig.its["GITS_BASER", 0] = VALID | INDIRECT | table | 2 << 8 | 255  # 2M pages of 64 KB, which are one
    for call in (save_tables, load_tables):
        with pytest.raises(SnapshotError, match="tables must be of at most 0x10000000 bytes in all"):
            call(rig.gic)


@pytest.mark.parametrize("seed", range(6))
def test_tables_of_any_bytes_are_loaded_or_refused(seed: int) -> None:
    """One over the other and over the queue as well: what is loaded does not matter, that it ends does."""
    choice = random.Random(seed)
    rig = ItsRig(2, enable_its=False, device_bits=8)
    place = RAM + 0x30_0000
    for part in range(0, 0x1000, 8):
        at = choice.choice((place, place + 0x1000, ITTS)) >> 8 << 5
        rig.set_entry(place + part, choice.choice((0, at | VALID | 4, choice.getrandbits(64), at | VALID | 5 << 49)))
    rig.its["GITS_BASER", 0] = VALID | place
    rig.its["GITS_BASER", 1] = VALID | choice.choice((place, COLLECTIONS))
    rig.its["GITS_CBASER"] = VALID | place
    rig.its["GITS_CTLR"] = 1
    for call in (load_tables, save_tables, load_tables):
        before = bytes(rig.ram)
        try:
            call(rig.gic)
        except SnapshotError:
            assert rig.ram == before
        rig.gic.check()
    rig.its["GITS_CWRITER"] = 32 * 100
    for event in range(64):
        rig.msi(event, event % 8)
    rig.gic.check()


def test_an_import_that_fails_on_its_tables_changes_nothing() -> None:
    rig = ItsRig(2, events=2)
    rig.msi(0)
    form = kvm.export_state(rig.gic)
    rig.set_entry(COLLECTIONS, collection(0, 5))
    before, state = bytes(rig.ram), rig.gic.save()
    with pytest.raises(SnapshotError, match="collection 0 of ITS 0 leads to 5"):
        kvm.import_state(rig.gic, form)
    assert (rig.ram, rig.gic.save()) == (before, state)
    form["ITS_REGS"][0x90] = 4096
    with pytest.raises(SnapshotError, match="creadr"):
        kvm.import_state(rig.gic, form)
    with pytest.raises((SnapshotError, ConfigError), match="no attribute"):
        kvm.import_state(LpiRig().gic, {"ITS_REGS": {0x80: 0}})
    assert rig.gic.save() == state


def test_an_its_that_goes_on_after_save_and_load_uses_its_tables() -> None:
    rig = ItsRig(2, events=3)
    rig.msi(0)
    save_tables(rig.gic)
    load_tables(rig.gic)
    rig.do(movi(1, 1, 1))
    for event in range(3):
        rig.msi(event)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST, FIRST + 2], [FIRST + 1])


def test_loading_tables_leaves_counters_and_statistics() -> None:
    rig = ItsRig(2, events=3)
    rig.msi(0)
    save_tables(rig.gic)
    counters, totals = rig.its.counters(), rig.gic.counters(0)
    load_tables(rig.gic)
    assert (rig.its.counters(), rig.gic.counters(0)) == (counters, totals)
    rig.msi(1)
    assert rig.its.counters()["translated"] == 2


def pending_table_under_way(rig: ItsRig) -> None:
    rig.enable_lpis(on=False)
    rig.finish()
    rig.set_table_bit(FIRST + 9)
    rig.set_table_bit(65535)
    rig.enable_lpis()


def queue_under_way(rig: ItsRig) -> None:
    rig.do(*(mapc(icid, 1) for icid in range(1, 40)), mapti(1, 4, FIRST + 4, 30))


@pytest.mark.parametrize(("begin", "events"), [(pending_table_under_way, []), (queue_under_way, [FIRST + 4])])
def test_tables_and_registers_are_not_saved_while_work_is_under_way_and_are_whole_after_it(
    begin: Callable[[ItsRig], None], events: list[int]
) -> None:
    rig = ItsRig(2, events=3, work_budget=8)
    rig.finish()
    begin(rig)
    before, state = bytes(rig.ram), rig.gic.save()
    for save in (save_tables, kvm.export_state):
        with pytest.raises(SnapshotError, match=r"no work under way: call step\(0\) until has_work is False"):
            save(rig.gic)
    assert (rig.ram, rig.gic.save()) == (before, state)
    waiting = GICv3.restore(state)
    for save in (save_tables, kvm.export_state):
        with pytest.raises(SnapshotError, match=r"map what memory\.awaited names"):
            save(waiting)
    rig.finish()
    pending = [rig.lpis(pe) for pe in range(2)]
    assert pending[0] == ([] if events else [FIRST + 9, 65535])
    save_tables(rig.gic)
    other = GICv3(rig.gic.config)
    other.memory.map(RAM, bytearray(rig.ram))
    kvm.import_state(other, kvm.export_state(rig.gic))
    while other.has_work:
        other.step(0)
    assert [other.lpi_pending(pe) for pe in range(2)] == pending
    load_tables(rig.gic)
    for gic in (other, rig.gic):
        gic.its[0].msi(1, 1)
        gic.its[0].msi(1, 4)
        assert [gic.lpi_pending(pe) for pe in range(2)] == [sorted({*pending[0], FIRST + 1}), events]
