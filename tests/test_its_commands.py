"""The commands of an ITS, each with what it does and every way in which it fails."""

from typing import Any

import pytest

from tests.itses import (
    COLLECTIONS,
    DEVICES,
    FIRST,
    ITTS,
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
    one,
    sync,
)

# --- entries: KVM's revision 0


def test_entries_have_the_layout_of_kvm() -> None:
    rig = ItsRig(2)
    rig.do(mapd(3, ITTS + 0x100, bits=4), mapc(5, 1), mapti(3, 2, 9000, icid=5), mapi(3, 1, icid=6))
    assert rig.entry(DEVICES + 3 * 8) == VALID | (ITTS + 0x100) >> 8 << 5 | 3
    assert rig.entry(COLLECTIONS + 5 * 8) == VALID | 1 << 16 | 5
    assert rig.entry(ITTS + 0x100 + 2 * 8) == 9000 << 16 | 5
    assert rig.its.errors()[-1].code == 0x010B06  # MAPI: the EventID is the INTID, and 1 is no LPI


def test_next_fields_of_kvm_are_read_over() -> None:
    rig = ItsRig(2, events=3)
    for event in range(3):
        rig.set_entry(ITTS + event * 8, rig.entry(ITTS + event * 8) | (3 - event) << 48)
    rig.set_entry(DEVICES + 8, rig.entry(DEVICES + 8) | 0x3FFF << 49)
    rig.msi(0)
    assert rig.lpis() == [FIRST]


@pytest.mark.parametrize("sizes", [(8, 8, 8), (16, 32, 8), (32, 16, 16), (8, 8, 32)])
def test_larger_entries_stand_apart_and_hold_the_same(sizes: tuple[int, int, int]) -> None:
    rig = ItsRig(2, events=3, its_entry_sizes=sizes)
    rig.msi(2)
    rig.do(movi(1, 1, 1))
    rig.msi(1)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST + 2], [FIRST + 1])
    assert rig.entry(DEVICES + sizes[0]) >> 63
    assert rig.entry(COLLECTIONS + sizes[1]) == VALID | 1 << 16 | 1
    assert rig.entry(ITTS + sizes[2]) == FIRST + 1 << 16 | 1


# --- what each does


def test_int_makes_the_lpi_pending() -> None:
    rig = ItsRig(events=4)
    rig.do(int_(1, 2))
    assert rig.lpis() == [FIRST + 2]


def test_mapi_maps_an_event_to_the_lpi_of_its_number() -> None:
    rig = ItsRig(event_bits=16)
    rig.do(mapd(1, bits=16), mapc(0, 0), mapi(1, FIRST + 7), int_(1, FIRST + 7))
    assert rig.lpis() == [FIRST + 7]


def test_clear_takes_pending_back() -> None:
    rig = ItsRig(events=2)
    rig.msi(0)
    rig.msi(1)
    rig.do(clear(1, 0), clear(1, 0))
    assert rig.lpis() == [FIRST + 1]
    assert rig.its.counters()["errors"] == 0


def test_discard_takes_pending_back_and_unmaps() -> None:
    rig = ItsRig(events=2)
    rig.msi(0)
    rig.do(discard(1, 0))
    assert rig.lpis() == []
    assert rig.entry(ITTS) == 0
    rig.msi(0)
    assert (rig.lpis(), rig.its.counters()["unmapped"]) == ([], 1)


def test_movi_takes_event_and_pending_state_to_another_collection() -> None:
    rig = ItsRig(events=2)
    rig.msi(0)
    rig.do(movi(1, 0, 1))
    assert (rig.lpis(0), rig.lpis(1)) == ([], [FIRST])
    rig.msi(1)
    rig.msi(0)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST + 1], [FIRST])


def test_movall_takes_all_pending_lpis_along_and_none_back() -> None:
    rig = ItsRig(3, events=4)
    for event in range(4):
        rig.msi(event)
    rig.lpi(FIRST + 1, 9000, pe=2)
    rig.do(movall(0, 2))
    assert [rig.lpis(pe) for pe in range(3)] == [[], [], [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, 9000]]
    rig.do(movall(1, 2), movall(2, 2))
    assert len(rig.lpis(2)) == 5
    rig.msi(0)  # the collection still leads to PE 0
    assert rig.lpis(0) == [FIRST]
    assert rig.take_all(2) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, 9000]


@pytest.mark.parametrize("command", [movi(1, 0, 1), movall(0, 1)])
def test_pending_state_stays_where_the_target_has_lpis_disabled(command: Command) -> None:
    rig = ItsRig(events=1)
    rig.msi(0)
    rig.enable_lpis(1, on=False)
    rig.do(command)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [])
    assert rig.take_all(0) == [FIRST]


def test_inv_and_invall_read_configuration_anew() -> None:
    rig = ItsRig(events=3)
    for event in range(3):
        rig.configure(FIRST + event, 0)
        rig.msi(event)
    for event in range(3):
        rig.configure(FIRST + event, 0xA1)
    assert rig.line() == 0
    rig.do(inv(1, 1))
    assert rig.take_all() == [FIRST + 1]
    rig.do(invall(0))
    assert rig.take_all() == [FIRST, FIRST + 2]


def test_mapc_leads_a_collection_elsewhere_and_leaves_pending_state() -> None:
    rig = ItsRig(events=1)
    rig.msi(0)
    rig.do(mapc(0, 1))
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [])
    rig.take_all(0)
    rig.msi(0)
    assert (rig.lpis(0), rig.lpis(1)) == ([], [FIRST])


def test_an_event_of_an_unmapped_collection_waits_for_mapc() -> None:
    rig = ItsRig(events=1)
    rig.do(mapti(1, 1, FIRST + 1, icid=9))
    rig.msi(1)
    assert rig.its.counters()["unmapped"] == 1
    rig.do(mapc(9, 1))
    rig.msi(1)
    assert rig.lpis(1) == [FIRST + 1]
    rig.do(mapc(9, 0, valid=False))
    rig.msi(1)
    assert rig.its.counters()["unmapped"] == 2
    assert rig.lpis(1) == [FIRST + 1]


def test_mapping_an_event_again_replaces_it() -> None:
    rig = ItsRig(events=1)
    rig.msi(0)
    rig.do(mapti(1, 0, FIRST + 99, icid=1))
    rig.msi(0)
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [FIRST + 99])


def test_unmapping_a_device_leaves_its_pending_lpis() -> None:
    rig = ItsRig(events=1)
    rig.msi(0)
    rig.do(mapd(1, valid=False))
    assert rig.lpis() == [FIRST]
    rig.msi(0)
    assert rig.its.counters()["unmapped"] == 1
    rig.do(mapd(1))
    rig.msi(0)
    assert rig.its.counters()["unmapped"] == 1


def test_sync_does_nothing_and_never_fails() -> None:
    rig = ItsRig()
    assert [rig.fails(sync(rdbase)) for rdbase in (0, 1, 2, 0xFFFF)] == [0, 0, 0, 0]


def test_with_pta_redistributors_go_by_address() -> None:
    rig = ItsRig(3, pta=True)
    first = 0x080A_0000 >> 16
    rig.do(mapd(1), mapc(0, first), mapc(1, first + 4), mapti(1, 0, FIRST), int_(1, 0), movall(first, first + 2))
    assert [rig.lpis(pe) for pe in range(3)] == [[], [FIRST], []]
    rig.do(movi(1, 0, 1), int_(1, 0))
    assert rig.lpis(2) == [FIRST]
    for bad in (0, 1, first + 1, first + 6, first - 2, 0x0800):
        assert rig.fails(mapc(2, bad)) == 0x010902
    assert rig.fails(movall(first, first + 1)) == 0x010E01


# --- what each refuses: the reasons of the architecture notes, 4.3, in the order in which they are looked for

DEVICE_OOR, DEVICE_UNMAPPED, EVENT_OOR, EVENT_UNMAPPED = 1, 4, 5, 7
BEYOND = 1 << 16  # the first DeviceID that 16 bits do not hold; a flat page of 4 KB ends much before, at 512

FAILURES: list[tuple[int, Command]] = [
    *((kind << 8 | reason, one(op, device, event))
      for op, kind in ((0x03, 0x03), (0x04, 0x05), (0x0C, 0x0C), (0x0F, 0x0F))
      for reason, device, event in ((1, BEYOND, 0), (1, 512, 0), (4, 511, 0), (4, 2, 1 << 20), (5, 1, 32), (7, 1, 31),
                                    (0x10, 1, 3), (0x10, 1, 4))),
    (0x0101, movi(BEYOND, 0, 1)), (0x0101, movi(512, 0, 1)), (0x0104, movi(2, 0, 1)), (0x0105, movi(1, 32, 1)),
    (0x0107, movi(1, 31, 1)), (0x0103, movi(1, 0, 512)), (0x0109, movi(1, 0, 511)), (0x0109, movi(1, 3, 1)),
    (0x0801, mapd(BEYOND)), (0x0801, mapd(512)), (0x0801, mapd(512, valid=False)), (0x0802, mapd(1, bits=17)),
    (0x0902, mapc(0, 2)), (0x0902, mapc(0, 1 << 35)), (0x0903, mapc(512, 0)), (0x0903, mapc(512, 0, valid=False)),
    (0x0A01, mapti(512, 0, FIRST)), (0x0A04, mapti(2, 0, FIRST)), (0x0A05, mapti(1, 32, FIRST)),
    (0x0A06, mapti(1, 0, FIRST - 1)), (0x0A06, mapti(1, 0, 1 << 16)), (0x0A06, mapti(1, 0, 0)),
    (0x0A03, mapti(1, 0, FIRST, icid=512)), (0x0A05, mapti(1, 32, 0, icid=512)), (0x0A06, mapti(1, 0, 0, icid=512)),
    (0x0B01, mapi(512, FIRST)), (0x0B04, mapi(2, FIRST)), (0x0B05, mapi(1, FIRST)), (0x0B06, mapi(1, 31)),
    (0x0D03, invall(512)), (0x0D09, invall(511)),
    (0x0E01, movall(2, 0)), (0x0E01, movall(0, 2)),
]


@pytest.mark.parametrize("policy", ["continue", "stall"])
@pytest.mark.parametrize(("code", "command"), FAILURES)
def test_a_command_that_cannot_be_done_says_why_and_changes_nothing(code: int, command: Command, policy: str) -> None:
    rig = ItsRig(2, events=2, its_errors=policy)
    rig.do(mapti(1, 3, FIRST + 3, icid=9))
    rig.set_entry(ITTS + 4 * 8, 0xFFFF_FFFF << 16)
    rig.msi(0)
    before, state = bytes(rig.ram), (rig.lpis(0), rig.lpis(1))
    assert rig.fails(command) == 0x010000 | code
    rig.ram[rig.offset - 32 + 0x32_0000 : rig.offset + 0x32_0000] = bytes(32)
    assert rig.ram == before
    assert (rig.lpis(0), rig.lpis(1)) == state
    assert rig.its["GITS_CREADR"] & 1 == (policy == "stall")


DONE: list[Command] = [
    mapd(511), mapd(1, bits=16), mapd(511, bits=17, valid=False), mapc(511, 1), mapc(511, 7, valid=False),
    mapti(1, 31, 0xFFFF, icid=511), mapti(1, 0, FIRST), movi(1, 0, 1), movi(1, 0, 0), movall(1, 1), invall(1),
]


@pytest.mark.parametrize("command", DONE)
def test_the_last_values_in_range_are_taken(command: Command) -> None:
    assert ItsRig(2, events=2).fails(command) == 0


@pytest.mark.parametrize("op", [0x00, 0x02, 0x06, 0x07, 0x10, 0x21, 0x29, 0x2A, 0xFF])
def test_an_unknown_command_is_an_error_without_a_reason(op: int) -> None:
    assert ItsRig().fails((op, 0, 0, 0)) == 0x010000 | op << 8


def test_ids_have_the_configured_bits() -> None:
    rig = ItsRig(1, device_bits=5, event_bits=3, collection_bits=4)
    rig.do(mapc(15, 0))
    assert rig.fails(mapc(16, 0)) == 0x010903
    assert rig.fails(mapd(31, bits=3)) == 0
    assert rig.fails(mapd(32, bits=3)) == 0x010801
    assert rig.fails(mapd(31, bits=4)) == 0x010802
    assert rig.fails(mapti(31, 7, FIRST, icid=15)) == 0
    assert rig.fails(mapti(31, 8, FIRST, icid=15)) == 0x010A05


def test_ids_may_have_all_their_bits() -> None:
    rig = ItsRig(1, device_bits=32, event_bits=32, enable_its=False)
    rig.program(devices=1 << 62)
    assert rig.fails(mapd((1 << 32) - 1, bits=32)) == 0x010801  # level 1 has no such place
    rig.set_entry(DEVICES, VALID | ITTS)
    rig.do(mapd(7, ITTS + 0x2000, bits=32), mapc(0, 0))
    assert rig.fails(mapti(7, 5, FIRST)) == 0
    assert rig.fails(mapti(7, (1 << 32) - 1, FIRST)) == 0x010A05  # its entry is not in memory
    rig.msi(5, device=7)
    assert rig.lpis() == [FIRST]


# --- the translation cache


def mapped(rig: ItsRig) -> None:
    """Warm the cache: event 0 and 1 of device 1, event 0 of device 2, all to PE 0."""
    rig.do(mapd(2, ITTS + 0x1000), mapti(2, 0, FIRST + 50, icid=0))
    for device, event in ((1, 0), (1, 1), (2, 0)):
        rig.msi(event, device)
    rig.take_all(0)


INVALIDATING: list[tuple[list[Command], dict[tuple[int, int], tuple[int, int] | None], int]] = [
    ([movi(1, 0, 1)], {(1, 0): (1, FIRST)}, 1),
    ([discard(1, 0)], {(1, 0): None}, 1),
    ([mapti(1, 0, FIRST + 77)], {(1, 0): (0, FIRST + 77)}, 1),
    ([mapc(0, 1)], {(1, 0): (1, FIRST), (1, 1): (1, FIRST + 1), (2, 0): (1, FIRST + 50)}, 3),
    ([mapc(0, 0, valid=False)], {(1, 0): None, (1, 1): None, (2, 0): None}, 3),
    ([mapc(1, 0)], {}, 0),
    ([mapd(2, valid=False)], {(2, 0): None}, 1),
    ([mapd(1, ITTS + 0x2000)], {(1, 0): None, (1, 1): None}, 2),
    ([movall(0, 1), inv(1, 0), invall(0), clear(1, 0), sync(0)], {}, 0),
]


@pytest.mark.parametrize(("commands", "changed", "stale"), INVALIDATING)
def test_a_command_drops_exactly_the_translations_that_it_makes_stale(
    commands: list[Command], changed: dict[tuple[int, int], Any], stale: int
) -> None:
    rig = ItsRig(2, events=2)
    mapped(rig)
    rig.do(*commands)
    hits = rig.its.counters()["cache_hits"]
    expected = {(1, 0): (0, FIRST), (1, 1): (0, FIRST + 1), (2, 0): (0, FIRST + 50), **changed}
    for (device, event), where in expected.items():
        rig.msi(event, device)
        found = [(pe, intid) for pe in range(2) for intid in rig.lpis(pe)]
        assert found == ([] if where is None else [where])
        rig.take_all(0)
        rig.take_all(1)
    assert rig.its.counters()["cache_hits"] - hits == 3 - stale


def test_disabling_the_its_forgets_its_translations_and_no_others() -> None:
    rig = ItsRig(1, its=2, events=1)
    other = rig.gic.its[1]
    for name in ("GITS_BASER", 0), ("GITS_BASER", 1):
        other[name] = rig.its[name]
    other["GITS_CTLR"] = 1
    for its in (rig.its, other, rig.its, other):
        its.msi(1, 0)
    rig.its["GITS_CTLR"] = 0
    rig.set_entry(ITTS, FIRST + 5 << 16)
    rig.its["GITS_CTLR"] = 1
    rig.take_all()
    rig.msi(0)
    assert rig.lpis() == [FIRST + 5]
    other.msi(1, 0)
    assert rig.lpis() == [FIRST, FIRST + 5]


def test_events_that_share_a_place_in_the_cache_are_told_apart() -> None:
    rig = ItsRig(1, event_bits=16, enable_its=True)
    rig.do(mapd(1, bits=16), mapc(0, 0))
    events = [n * 1024 for n in range(5)] + [16384, 16384 + 1024]
    rig.ram[0x33_0000 : 0x33_0000 + 8 * 20000] = bytes(8 * 20000)
    rig.do(*(mapti(1, event, FIRST + n) for n, event in enumerate(events)))
    for _ in range(3):
        for event in events:
            rig.msi(event)
    assert rig.lpis() == [FIRST + n for n in range(len(events))]
