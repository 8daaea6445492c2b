"""Tables of an ITS in guest memory: flat and two-level, every page size, at their ends, missing, and hostile."""

import random
from typing import Any

import pytest

from tests.itses import (
    COLLECTIONS,
    DEVICES,
    FIRST,
    ITTS,
    QUEUE,
    VALID,
    Command,
    ItsRig,
    clear,
    discard,
    int_,
    inv,
    invall,
    mapc,
    mapd,
    mapi,
    mapti,
    movall,
    movi,
    sync,
)
from tests.lpis import PEND, PROP, RAM

INDIRECT = 1 << 62
PAGES = [(0, 4096), (1, 16384), (2, 65536), (3, 65536)]
NOWHERE = 0x9_0000_0000

# --- where an entry stands


@pytest.mark.parametrize(("code", "page"), PAGES)
@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("size", [8, 32])
def test_a_flat_table_ends_with_its_last_page(code: int, page: int, pages: int, size: int) -> None:
    rig = ItsRig(1, enable_its=False, device_bits=20, its_entry_sizes=(size, size, 8), ram=16 << 20)
    place = RAM + (8 << 20)
    for table in (0, 1):
        rig.its["GITS_BASER", table] = VALID | place + table * (1 << 20) | code << 8 | pages - 1
    rig.its["GITS_CBASER"] = VALID | QUEUE
    rig.its["GITS_CTLR"] = 1
    last = page * pages // size - 1
    assert rig.fails(mapd(last)) == 0
    assert rig.entry(place + last * size) >> 63
    assert rig.fails(mapd(last + 1)) == 0x010801
    assert rig.fails(mapc(last, 0)) == 0
    assert rig.entry(place + (1 << 20) + last * size) >> 63
    assert rig.fails(mapc(last + 1, 0)) == 0x010903


@pytest.mark.parametrize(("code", "page"), PAGES)
@pytest.mark.parametrize("size", [8, 32])
def test_a_two_level_table_leads_through_its_pages(code: int, page: int, size: int) -> None:
    rig = ItsRig(1, enable_its=False, device_bits=32, its_entry_sizes=(size, 8, 8), ram=16 << 20)
    first, second = RAM + (8 << 20), RAM + (9 << 20)
    rig.its["GITS_BASER", 0] = VALID | INDIRECT | first | code << 8
    rig.its["GITS_BASER", 1] = VALID | COLLECTIONS
    rig.its["GITS_CBASER"] = VALID | QUEUE
    rig.its["GITS_CTLR"] = 1
    each, places = page // size, page // 8
    rig.set_entry(first + 8, VALID | second | page - 1)  # bits below the page size are not part of the address
    rig.set_entry(first + (places - 1) * 8, VALID | second + page)
    assert rig.fails(mapd(each - 1)) == 0x010801
    assert rig.fails(mapd(each)) == 0
    assert rig.entry(second) >> 63
    assert rig.fails(mapd(2 * each - 1)) == 0
    assert rig.entry(second + (each - 1) * size) >> 63
    assert rig.fails(mapd(2 * each)) == 0x010801
    assert rig.fails(mapd(places * each - 1)) == 0
    assert rig.entry(second + page + (each - 1) * size) >> 63
    assert rig.fails(mapd(places * each)) == 0x010801


def test_collections_may_be_in_two_levels_too() -> None:
    rig = ItsRig(2, enable_its=False)
    rig.program(collections=INDIRECT)
    rig.do(mapd(1))
    assert rig.fails(mapc(600, 1)) == 0x010903
    rig.set_entry(COLLECTIONS + 8, VALID | ITTS + 0x4000)
    assert rig.fails(mapc(600, 1)) == 0
    assert rig.entry(ITTS + 0x4000 + (600 - 512) * 8) == VALID | 1 << 16 | 600
    rig.do(mapti(1, 0, FIRST, icid=600), int_(1, 0))
    assert rig.lpis(1) == [FIRST]


def test_address_bits_below_the_page_size_count_as_zero_and_64k_pages_have_four_more_above() -> None:
    rig = ItsRig(1, enable_its=False)
    high = bytearray(1 << 17)
    rig.gic.memory.map(0xA_0000_0000_0000, high)
    rig.its["GITS_BASER", 0] = VALID | 2 << 8 | 0xA << 12
    rig.its["GITS_BASER", 1] = VALID | COLLECTIONS | 1 << 8 | 0x3000  # 16 KB pages: bits 13:12 are below
    rig.its["GITS_CBASER"] = VALID | QUEUE | 0xF000  # the queue is 64 KB aligned
    rig.its["GITS_CTLR"] = 1
    rig.do(mapd(1), mapc(0, 0))
    assert high[15] & 0x80
    assert rig.entry(COLLECTIONS) >> 63
    assert rig.its["GITS_CREADR"] == 64


def test_a_table_that_is_not_valid_maps_nothing() -> None:
    rig = ItsRig(1, enable_its=False)
    rig.its["GITS_CBASER"] = VALID | QUEUE
    rig.its["GITS_CTLR"] = 1
    assert rig.fails(mapd(0)) == 0x010801
    assert rig.fails(mapc(0, 0)) == 0x010903


# --- memory that is not there


@pytest.mark.parametrize(
    ("place", "failing"),
    [
        ("devices", {mapd(1): 0x0801, int_(1, 0): 0x0301, mapti(1, 0, FIRST): 0x0A01}),
        ("collections", {mapc(0, 0): 0x0903, invall(0): 0x0D03, int_(1, 0): 0x0310}),
        ("level 1", {mapd(1): 0x0801, int_(1, 0): 0x0301, mapti(1, 0, FIRST): 0x0A01}),
        ("itt", {mapti(1, 0, FIRST): 0x0A05, int_(1, 0): 0x0305, discard(1, 0): 0x0F05, clear(1, 0): 0x0505}),
    ],
)
def test_missing_memory_fails_the_commands_that_need_it(place: str, failing: dict[Command, int]) -> None:
    rig = ItsRig(1, events=1)
    rig.its["GITS_CTLR"] = 0
    if place == "devices":
        rig.its["GITS_BASER", 0] = VALID | NOWHERE
    elif place == "level 1":
        rig.its["GITS_BASER", 0] = VALID | INDIRECT | NOWHERE
    elif place == "collections":
        rig.its["GITS_BASER", 1] = VALID | NOWHERE
    else:
        rig.set_entry(DEVICES + 8, VALID | NOWHERE >> 3 | 4)
    rig.its["GITS_CTLR"] = 1
    for command, code in failing.items():
        assert rig.fails(command) == 0x010000 | code
    assert rig.its.counters()["table_faults"] == len(failing)
    rig.msi(0)
    assert rig.its.counters()["unmapped"] == 1
    assert rig.lpis() == []


def test_read_only_tables_can_be_used_and_not_changed() -> None:
    rig = ItsRig(1, events=1)
    frozen = bytes(rig.ram[0x30_0000:0x34_0000])
    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map(RAM, bytes(rig.ram[:0x30_0000]), writable=False)
    rig.gic.memory.map(RAM + 0x30_0000, frozen, writable=False)
    rig.msi(0)
    assert rig.lpis() == [FIRST]
    queue = bytearray(4096)
    queue[:32] = b"".join(word.to_bytes(8, "little") for word in mapti(1, 0, FIRST + 1))
    rig.gic.memory.map(NOWHERE, queue)
    rig.its["GITS_CTLR"] = 0
    rig.its["GITS_CBASER"] = VALID | NOWHERE
    rig.its["GITS_CWRITER"] = 32
    rig.its["GITS_CTLR"] = 1
    assert rig.its.errors()[-1].code == 0x010A05
    rig.msi(0)
    assert rig.lpis() == [FIRST]


# --- hostile tables


def test_tables_that_are_all_one_another_and_the_queue_are_survived() -> None:
    rig = ItsRig(1, enable_its=False)
    for table in (0, 1):
        rig.its["GITS_BASER", table] = VALID | INDIRECT * (1 - table) | QUEUE
    rig.set_entry(QUEUE, VALID | QUEUE)  # level 1 leads to itself
    rig.its["GITS_CBASER"] = VALID | QUEUE
    rig.its["GITS_CTLR"] = 1
    rig.put(mapd(0, QUEUE), mapd(1, QUEUE), mapc(0, 0), mapc(1, 0), mapti(0, 0, FIRST), mapti(1, 1, FIRST), int_(0, 0))
    rig.its["GITS_CWRITER"] = rig.offset
    assert rig.its["GITS_CREADR"] == rig.offset
    for event in range(64):
        rig.msi(event, device=event % 3)
    rig.gic.check()


@pytest.mark.parametrize(
    ("address", "value", "reason"),
    [
        (DEVICES + 8, VALID | 0x1F | ITTS >> 3, 5),  # 2**32 events, of which the ITS has 2**16
        (DEVICES + 8, (1 << 64) - 1, 5),
        (ITTS, ((1 << 64) - 1), 0x10),
        (ITTS, 1 << 16, 0x10),
        (ITTS, FIRST - 1 << 16, 0x10),
        (ITTS, FIRST << 16 | 0xFFFF, 0x10),
        (COLLECTIONS, VALID | 2 << 16, 0x10),
        (COLLECTIONS, (1 << 64) - 1, 0x10),
    ],
)
def test_entries_that_no_command_makes_lead_nowhere(address: int, value: int, reason: int) -> None:
    rig = ItsRig(2, events=1)
    rig.set_entry(address, value)
    event = 0 if reason != 5 else 0x1_0000
    assert rig.fails(int_(1, event)) == 0x010300 | reason
    rig.msi(event)
    assert rig.its.counters()["unmapped"] == 1
    assert rig.lpis(0) == rig.lpis(1) == []


def test_tables_may_change_under_a_cached_translation_until_a_command_says_so() -> None:
    rig = ItsRig(1, events=1)
    rig.msi(0)
    rig.set_entry(ITTS, FIRST + 7 << 16)
    rig.msi(0)
    assert rig.lpis() == [FIRST]
    rig.do(mapc(0, 0))
    rig.msi(0)
    assert rig.lpis() == [FIRST, FIRST + 7]


def random_command(chance: random.Random) -> Command:
    device, event = chance.choice((0, 1, 2, 3, 511, 512)), chance.choice((0, 1, 2, 7, 8, 31, 32, 1 << 31))
    icid, pe = chance.choice((0, 1, 2, 511, 512)), chance.choice((0, 1, 2, 1 << 20))
    intid = chance.choice((0, FIRST, FIRST + 1, FIRST + 500, 0xFFFF, 0x1_0000))
    itt = chance.choice((ITTS, ITTS + 0x100, DEVICES, COLLECTIONS, QUEUE, PROP, PEND, NOWHERE, (1 << 52) - 256))
    return chance.choice((
        mapd(device, itt, bits=chance.randrange(1, 33), valid=chance.random() < 0.8),
        mapc(icid, pe, valid=chance.random() < 0.8), mapti(device, event, intid, icid), mapi(device, event, icid),
        movi(device, event, icid), movall(pe, chance.choice((0, 1, 2))), discard(device, event), clear(device, event),
        inv(device, event), invall(icid), int_(device, event), sync(pe),
        tuple(chance.getrandbits(64) for _ in range(4)),  # type: ignore[arg-type]
    ))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "options", [{}, {"its_errors": "stall"}, {"callbacks": True}, {"its_entry_sizes": (16, 32, 8)}]
)
def test_a_hostile_guest_cannot_break_the_gic(seed: int, options: dict[str, Any]) -> None:
    chance = random.Random(seed)
    rig = ItsRig(2, enable_its=False, id_bits=16, **options)
    indirect = (0, INDIRECT)[seed % 2]
    rig.set_entry(DEVICES, VALID | ITTS + 0x8000)
    rig.program(devices=indirect)
    for _ in range(400):
        choice = chance.random()
        if choice < 0.6:
            rig.put(*(random_command(chance) for _ in range(chance.randrange(1, 8))))
            rig.its["GITS_CWRITER"] = rig.offset | 1
        elif choice < 0.8:
            rig.its.msi(chance.choice((0, 1, 2, 511, 512, 1 << 31)), chance.choice((0, 1, 2, 31, 32)))
        elif choice < 0.9:
            address = chance.choice((DEVICES, COLLECTIONS, ITTS, QUEUE, PROP)) + chance.randrange(64) * 8
            rig.set_entry(address, chance.choice((0, VALID, (1 << 64) - 1, chance.getrandbits(64))))
        elif choice < 0.95:
            rig.its["GITS_CTLR"] = chance.randrange(2)
            rig.its["GITS_CTLR"] = 1
        else:
            pe = chance.randrange(2)
            rig.enable_lpis(pe, on=False)
            rig.enable_lpis(pe)
        rig.take_all(chance.randrange(2))
    assert rig.gic.its[0].counters()["commands"] > 100
    rig.gic.check()


def test_callback_memory_gives_the_same_results_as_a_buffer() -> None:
    rigs = [ItsRig(2, events=16, callbacks=callbacks) for callbacks in (False, True)]
    chance = random.Random(3)
    commands = [random_command(chance) for _ in range(300)]
    for rig in rigs:
        for start in range(0, 300, 20):
            rig.do(*commands[start : start + 20])
            for event in range(16):
                rig.msi(event)
    one, two = rigs
    assert one.ram == two.ram
    assert one.gic.state_digest() == two.gic.state_digest()
    assert one.its.errors() == two.its.errors() != []
    for counter in ("commands", "errors", "msis", "unmapped", "discarded"):
        assert one.its.counters()[counter] == two.its.counters()[counter]


def test_msis_that_need_callback_memory_wait_for_it_and_cached_ones_do_not() -> None:
    rig = ItsRig(1, events=2, callbacks=True)
    inside = []

    def read(address: int, size: int) -> bytes | None:
        if not inside:
            inside.append(address)
            rig.msi(1)  # waits behind the one that made us
            inside.append((rig.lpis(), rig.its["GITS_CTLR"]))
        return rig.read_ram(address, size)

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.msi(0)
    assert inside[1] == ([], 1)
    assert rig.lpis() == [FIRST, FIRST + 1]
    calls = len(rig.reads)
    rig.take_all()
    rig.msi(0)
    assert rig.lpis() == [FIRST]
    assert len(rig.reads) == calls
