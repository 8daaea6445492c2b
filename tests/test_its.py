"""An ITS: its registers, its command queue, MSIs and what is told of those that lead nowhere."""

from typing import Any

import pytest

from gicv3 import ConfigError, Frame, GICv3, GICv3Config, Line
from gicv3.registers import REGISTERS
from tests.itses import COLLECTIONS, DEVICES, FIRST, QUEUE, VALID, ItsRig, int_, inv, invall, mapc, mapd, mapti, sync
from tests.lpis import RAM
from tests.rig import Rig

QUIESCENT = 1 << 31
ONES = (1 << 64) - 1
STALLED = 1
UMSI, OVERFLOW = 16, 32

# --- what there is


def test_without_an_its_there_is_none() -> None:
    rig = Rig(lpis=True)
    assert len(rig.gic.its) == 0
    rig.gic.mmio_write(0x0809_0040, 1)
    assert rig.gic.totals()["bad_access"] == 1
    with pytest.raises(ConfigError, match="its must be below 0, the number of ITSs, got 0"):
        rig.gic.frame_read(Frame.GITS, 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"its": 17}, "its must be in 0..16, got 17"),
        ({"its": -1}, "its must be in 0..16, got -1"),
        ({"its": 1, "lpis": False}, "its needs lpis=True, got False"),
        ({"its": 5}, "its_bases must be given for more than 4 ITSs, got None for 5"),
        ({"its": 1, "its_bases": ()}, "its_bases must be one for each of 1 ITSs, got 0"),
        ({"its": 1, "its_bases": (0x0809_0000,)},
         "frames must not overlap: 0x80a0000 is below 0x80b0000, the end of the one before"),
        ({"device_bits": 0}, "device_bits must be in 1..32, got 0"),
        ({"event_bits": 33}, "event_bits must be in 1..32, got 33"),
        ({"collection_bits": 17}, "collection_bits must be in 1..16, got 17"),
        ({"its_entry_sizes": (8, 8, 12)}, "its_entry_sizes must be three of 8, 16 and 32, got (8, 8, 12)"),
        ({"its_errors": "ignore"}, "its_errors must be 'continue' or 'stall', got 'ignore'"),
        ({"its_umsi": True}, "its_umsi needs an ITS, got its=0"),
        ({"its": 1, "its_umsi_spi": 40}, "its_umsi_spi needs its_umsi=True, got False"),
        ({"its": 2, "its_umsi": True, "its_umsi_spi": 1019},
         "its_umsi_spi must name 2 SPIs in 32..1019, got 1019"),
        ({"its": 1, "its_umsi": True, "its_umsi_spi": 31}, "its_umsi_spi must name 1 SPIs in 32..1019, got 31"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GICv3Config(**{"cpus": 1, "lpis": True, **options})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "typer"),
    [
        ({}, 1 | 7 << 4 | 15 << 8 | 15 << 13),
        ({"device_bits": 32, "event_bits": 1}, 1 | 7 << 4 | 31 << 13),
        ({"collection_bits": 4}, 1 | 7 << 4 | 15 << 8 | 15 << 13 | 1 << 36 | 3 << 32),
        ({"pta": True, "its_entry_sizes": (8, 8, 16)}, 1 | 15 << 4 | 15 << 8 | 15 << 13 | 1 << 19),
        ({"its_umsi": True}, 1 | 7 << 4 | 15 << 8 | 15 << 13 | 1 << 44),
        ({"its_umsi": True, "its_umsi_spi": 40}, 1 | 7 << 4 | 15 << 8 | 15 << 13 | 3 << 44),
    ],
)
def test_typer_tells_the_configuration(options: dict[str, Any], typer: int) -> None:
    assert ItsRig(1, **options).its["GITS_TYPER"] == typer


def test_identification() -> None:
    its = ItsRig(1).its
    assert its["GITS_IIDR"] == 0x43B
    assert [its["GITS_PIDR0", n] for n in range(4)] == [0x94, 0xB4, 0x3B, 0]
    assert [its["GITS_PIDR4", n] for n in range(4, 8)] == [0x44, 0, 0, 0]
    assert [its["GITS_CIDR", n] for n in range(4)] == [0x0D, 0xF0, 0x05, 0xB1]


# --- registers


RESET = {"GITS_CTLR": QUIESCENT, "GITS_CBASER": 0, "GITS_CWRITER": 0, "GITS_CREADR": 0}
WRITABLE = {"GITS_CBASER": 0xB8EF_FFFF_FFFF_FCFF, "GITS_CWRITER": 0xF_FFE0, "GITS_CREADR": 0}


def test_reset_values_and_writable_bits_while_disabled() -> None:
    its = ItsRig(1, enable_its=False).its
    for name, value in RESET.items():
        assert its[name] == value, name
    for name, ones in WRITABLE.items():
        its[name] = ONES
        assert its[name] == ones, name
        if name != "GITS_CREADR":
            its[name] = 0
            assert its[name] == 0, name
    for number, fixed in ((0, 0x0107 << 48), (1, 0x0407 << 48), (2, 0), (7, 0)):
        assert its["GITS_BASER", number] == fixed
        its["GITS_BASER", number] = ONES
        # page size 3 is taken as 2, and read back so
        assert its["GITS_BASER", number] == (fixed | 0xF8E0_FFFF_FFFF_FEFF if fixed else 0)
        its["GITS_BASER", number] = 0
        assert its["GITS_BASER", number] == fixed


def test_tables_and_queue_are_fixed_while_the_its_is_enabled() -> None:
    rig = ItsRig(1)
    names = [("GITS_BASER", 0), ("GITS_BASER", 1), "GITS_CBASER"]
    before = [rig.its[name] for name in names]
    for name in names:
        rig.its[name] = 0
    assert [rig.its[name] for name in names] == before
    rig.its["GITS_CTLR"] = 0
    for name in names:
        rig.its[name] = 0
    assert [rig.its[name] for name in names] == [0x0107 << 48, 0x0407 << 48, 0]


def test_wide_registers_take_halves() -> None:
    rig = ItsRig(1, enable_its=False)
    for offset, name in ((0x80, "GITS_CBASER"), (0x100, ("GITS_BASER", 0)), (0x88, "GITS_CWRITER")):
        rig.gic.frame_write(Frame.GITS, offset, 0x20, 4)
        rig.gic.frame_write(Frame.GITS, offset + 4, 0x1, 4)
        assert rig.its[name] & 0xFFFF_FFFF_FFFF == (0x20 if name == "GITS_CWRITER" else 0x1_0000_0020)
        assert rig.gic.frame_read(Frame.GITS, offset + 4, 4) == rig.its[name] >> 32
    assert rig.gic.totals()["bad_access"] == 0


@pytest.mark.parametrize("size", [1, 2])
def test_narrow_accesses_and_holes_are_bad(size: int) -> None:
    rig = ItsRig(1)
    rig.gic.frame_write(Frame.GITS, 0, 0, size)
    assert rig.gic.frame_read(Frame.GITS, 0, size) == 0
    assert rig.gic.frame_read(Frame.GITS, 0x40, 4) == 0
    assert rig.gic.frame_read(Frame.GITS_TRANS, 0x40, 4) == 0
    assert rig.gic.totals()["bad_access"] == 4
    assert rig.its["GITS_CTLR"] == 1


def test_status_register_of_an_its() -> None:
    rig = ItsRig(1, statusr=True)
    rig.gic.frame_read(Frame.GITS, 0x44)
    rig.gic.frame_write(Frame.GITS, 0x44, 0)
    rig.gic.frame_write(Frame.GITS, 0x04, 0)
    assert rig.its["GITS_STATUSR"] == 0b1011
    rig.its["GITS_STATUSR"] = 0b0011
    assert rig.its["GITS_STATUSR"] == 0b1000
    assert rig.gic.redist[0]["GICR_STATUSR"] == rig.gic.dist["GICD_STATUSR"] == 0


def test_every_register_of_an_its_is_a_hole_without_one() -> None:
    gic = GICv3(GICv3Config(cpus=1, lpis=True, its=1))
    for row in REGISTERS:
        if row.name.startswith("GITS_") and row.needs != "its":
            before = gic.totals()["bad_access"]
            gic.frame_read(row.frame, row.offset, row.width // 8)
            assert gic.totals()["bad_access"] == before + 1, row.name


def test_several_its_have_registers_tables_and_counters_of_their_own() -> None:
    rig = ItsRig(1, its=3, events=2)
    assert [its.base for its in rig.gic.its] == [0x0808_0000, 0x0806_0000, 0x0804_0000]
    rig.msi(1)
    rig.gic.its[1].msi(1, 1)
    assert rig.gic.mmio_read(0x0806_0000) == rig.gic.its[1]["GITS_CTLR"] == QUIESCENT
    assert [its.counters()["msis"] for its in rig.gic.its] == [1, 1, 0]
    assert rig.gic.its[1].counters()["discarded"] == 1
    assert rig.lpis() == [FIRST + 1]
    with pytest.raises(ConfigError, match="its must be below 3, the number of ITSs, got 3"):
        rig.gic.frame_read(Frame.GITS, 0, index=3)


# --- quiescence


def test_quiescent_tells_that_a_disabled_its_is_done() -> None:
    rig = ItsRig(1, settle_steps=2)
    assert rig.its["GITS_CTLR"] == 1
    rig.its["GITS_CTLR"] = 0
    assert rig.its["GITS_CTLR"] == 0
    rig.gic.step()
    assert rig.its["GITS_CTLR"] == 0
    rig.gic.step()
    assert rig.its["GITS_CTLR"] == QUIESCENT


def test_reset_disables_an_its_and_forgets_its_registers() -> None:
    rig, fresh = ItsRig(1, events=3, ready=False), ItsRig(1, enable_its=False, enable=False, ready=False)
    fresh.gic.redist[0]["GICR_PROPBASER"] = fresh.gic.redist[0]["GICR_PENDBASER"] = 0
    rig.msi(1)
    rig.gic.reset()
    assert rig.gic.state_digest() == fresh.gic.state_digest()
    rig.msi(1)
    assert rig.its.counters()["discarded"] == 1


# --- the queue


def test_nothing_is_done_while_the_its_is_disabled_or_has_no_queue() -> None:
    rig = ItsRig(1, enable_its=False)
    rig.its["GITS_CBASER"] = QUEUE
    rig.put(mapd(1))
    rig.its["GITS_CWRITER"] = 32
    rig.its["GITS_CTLR"] = 1
    assert rig.its["GITS_CREADR"] == 0
    rig.its["GITS_CTLR"] = 0
    rig.its["GITS_CBASER"] = VALID | QUEUE
    assert rig.its["GITS_CREADR"] == 0
    rig.its["GITS_CTLR"] = 1  # what was written before is done now
    assert rig.its["GITS_CREADR"] == 32


@pytest.mark.parametrize("pages", [1, 2, 256])
def test_the_queue_wraps_at_its_size(pages: int) -> None:
    rig = ItsRig(1, enable_its=False, ram=8 << 20)
    rig.queue, rig.queue_size = RAM + (4 << 20), pages * 4096
    rig.program()
    for start in (0, rig.queue_size - 64, rig.queue_size - 32):
        rig.offset = start
        rig.its["GITS_CTLR"] = 0
        rig.its["GITS_CBASER"] = rig.its["GITS_CBASER"]
        rig.its["GITS_CWRITER"] = start
        rig.its["GITS_CTLR"] = 1
        before = rig.its.counters()["commands"]
        rig.do(sync(0), sync(0), sync(0))
        assert rig.its["GITS_CREADR"] == rig.offset == (start + 96) % rig.queue_size
        assert rig.its.counters()["commands"] == before + 3


def test_a_write_pointer_outside_the_queue_does_nothing_until_a_valid_one_is_written() -> None:
    rig = ItsRig(1)
    rig.put(sync(0), sync(0))
    for bad in (4096, 4128, 0xF_FFE0):
        rig.its["GITS_CWRITER"] = bad
        assert rig.its["GITS_CWRITER"] == bad
        assert rig.its["GITS_CREADR"] == 0
    rig.its["GITS_CWRITER"] = 32
    assert rig.its["GITS_CREADR"] == 32
    rig.its["GITS_CWRITER"] = 4096 - 32  # the last place; zeros are unknown commands
    assert rig.its["GITS_CREADR"] == 4096 - 32


def test_a_bad_command_is_recorded_and_left_out() -> None:
    rig = ItsRig(1, events=1)
    rig.do(int_(2, 0), int_(1, 0))
    assert rig.lpis() == [FIRST]
    error = rig.its.errors()[-1]
    assert (error.code, error.command, error.offset) == (0x010304, int_(2, 0), rig.offset - 64)
    assert rig.its["GITS_CREADR"] == rig.offset


def test_a_bad_command_stalls_the_queue_until_retry() -> None:
    rig = ItsRig(1, events=1, its_errors="stall")
    at = rig.offset
    rig.do(int_(2, 0), int_(1, 0))
    assert rig.its["GITS_CREADR"] == at | STALLED
    assert (rig.lpis(), rig.its.counters()["errors"]) == ([], 1)
    rig.its["GITS_CWRITER"] = rig.offset  # without Retry nothing moves
    assert rig.its["GITS_CREADR"] == at | STALLED
    rig.its["GITS_CWRITER"] = rig.offset | 1  # still bad
    assert rig.its["GITS_CREADR"] == at | STALLED
    assert rig.its.counters()["errors"] == 2
    assert rig.its["GITS_CWRITER"] == rig.offset
    rig.offset = at
    rig.put(int_(1, 0))
    rig.its["GITS_CWRITER"] = at + 64 | 1
    assert rig.its["GITS_CREADR"] == at + 64
    assert rig.lpis() == [FIRST]


def test_retry_of_a_queue_that_does_not_stall_does_nothing() -> None:
    rig = ItsRig(1)
    rig.its["GITS_CWRITER"] = 1
    assert (rig.its["GITS_CWRITER"], rig.its["GITS_CREADR"]) == (0, 0)


@pytest.mark.parametrize("policy", ["continue", "stall"])
def test_a_queue_that_is_not_in_memory_stalls_and_cbaser_ends_that(policy: str) -> None:
    rig = ItsRig(1, enable_its=False, its_errors=policy)
    rig.its["GITS_CBASER"] = VALID | 0x9_0000_0000
    rig.its["GITS_CTLR"] = 1
    rig.its["GITS_CWRITER"] = 32
    assert rig.its["GITS_CREADR"] == STALLED
    assert rig.its.errors()[-1].code == 0
    rig.its["GITS_CTLR"] = 0
    rig.its["GITS_CBASER"] = VALID | QUEUE
    assert rig.its["GITS_CREADR"] == 0
    rig.put(sync(0))
    rig.its["GITS_CTLR"] = 1
    assert rig.its["GITS_CREADR"] == 32


def test_only_the_last_64_errors_are_kept_and_all_are_counted() -> None:
    rig = ItsRig(1)
    rig.do(*(int_(device, 0) for device in range(100)))
    assert rig.its.counters()["errors"] == 100
    assert [error.command for error in rig.its.errors()] == [int_(device, 0) for device in range(36, 100)]


def test_a_long_queue_is_done_in_portions_and_none_is_left_out() -> None:
    rig = ItsRig(1, ram=8 << 20, enable_its=False)
    rig.queue, rig.queue_size = RAM + (4 << 20), 1 << 20
    rig.program()
    ids = range(FIRST, FIRST + 8000)
    rig.lpi(*ids)
    rig.put(mapc(0, 0), *[invall(0)] * 60, sync(0), mapd(1), mapti(1, 0, FIRST + 9000), int_(1, 0))
    rig.its["GITS_CWRITER"] = rig.offset
    seen = [rig.its["GITS_CREADR"]]
    while seen[-1] != rig.offset:
        seen.append(rig.its["GITS_CREADR"])
        assert seen[-1] > seen[-2]
    assert len(seen) > 1
    assert rig.lpis() == [*ids, FIRST + 9000]


# --- MSIs


@pytest.mark.parametrize("size", [2, 4])
def test_a_device_writes_its_event_to_the_translater(size: int) -> None:
    rig = ItsRig(1, events=4)
    rig.gic.mmio_write(rig.its.translater, 3, size, device_id=1)
    assert rig.lpis() == [FIRST + 3]
    rig.gic.mmio_write(rig.its.translater, 2, size)  # a CPU's store is DeviceID 0
    assert rig.its.counters()["unmapped"] == 1
    rig.do(mapd(0), mapti(0, 2, FIRST + 9))
    rig.gic.mmio_write(rig.its.translater, 2, size)
    assert rig.lpis() == [FIRST + 3, FIRST + 9]


def test_a_halfword_write_is_zero_extended() -> None:
    rig = ItsRig(1, events=4)
    rig.gic.mmio_write(rig.its.translater, 0xFFFF_0003, 2, device_id=1)
    assert rig.lpis() == [FIRST + 3]
    rig.gic.mmio_write(rig.its.translater, 0xFFFF_0003, 4, device_id=1)
    assert rig.its.counters()["unmapped"] == 1


@pytest.mark.parametrize(("device", "event"), [(-1, 0), (0, -1), (1 << 32, 0), (0, 1 << 32)])
def test_numbers_beyond_32_bits_are_refused(device: int, event: int) -> None:
    with pytest.raises(ConfigError, match=r"_id must be in 0\.\.0xffffffff, got"):
        ItsRig(1).its.msi(device, event)


def test_msis_are_discarded_while_the_its_is_disabled_or_lacks_a_table() -> None:
    rig = ItsRig(1, events=1)
    rig.msi(0)
    rig.take_all()
    for table in (0, 1):
        rig.its["GITS_CTLR"] = 0
        rig.msi(0)
        kept = rig.its["GITS_BASER", table]
        rig.its["GITS_BASER", table] = kept & ~VALID
        rig.its["GITS_CTLR"] = 1
        rig.msi(0)
        rig.its["GITS_CTLR"] = 0
        rig.its["GITS_BASER", table] = kept
        rig.its["GITS_CTLR"] = 1
    assert rig.lpis() == []
    assert rig.its.counters()["discarded"] == 4
    rig.msi(0)
    assert rig.lpis() == [FIRST]


def test_every_msi_is_counted_once() -> None:
    rig = ItsRig(1, events=4)
    for event in (0, 0, 1, 3, 4, 40):
        rig.msi(event)
    rig.msi(0, device=2)
    rig.its["GITS_CTLR"] = 0
    rig.msi(0)
    counts = rig.its.counters()
    assert counts["msis"] == 8
    assert (counts["translated"], counts["cache_hits"], counts["unmapped"], counts["discarded"]) == (3, 1, 3, 1)


UNMAPPED = [
    ((0x1_0000, 0), 2),
    ((2, 0), 3),
    ((1, 32), 4),
    ((1, 5), 5),
    ((1, 2), 7),
]


@pytest.mark.parametrize(("msi", "syndrome"), UNMAPPED)
def test_an_unmapped_msi_is_told_with_its_syndrome(msi: tuple[int, int], syndrome: int) -> None:
    rig = ItsRig(1, events=2, its_umsi=True)
    rig.do(mapti(1, 2, FIRST + 2, icid=7))
    rig.its.msi(1, 1)
    assert rig.its["GITS_STATUSR"] == 0
    rig.its.msi(*msi)
    assert rig.its["GITS_STATUSR"] == UMSI | syndrome << 6
    assert rig.its["GITS_UMSIR"] == msi[0] << 32 | msi[1]
    rig.its.msi(9, 9)  # the first one is kept
    assert rig.its["GITS_STATUSR"] == UMSI | OVERFLOW | syndrome << 6
    assert rig.its["GITS_UMSIR"] == msi[0] << 32 | msi[1]
    rig.its["GITS_STATUSR"] = UMSI | OVERFLOW
    assert rig.its["GITS_STATUSR"] == 0
    rig.its.msi(9, 9)
    assert rig.its["GITS_UMSIR"] == 9 << 32 | 9


def test_an_int_command_that_leads_nowhere_is_an_error_and_no_unmapped_msi() -> None:
    rig = ItsRig(1, events=1, its_umsi=True)
    assert rig.fails(int_(1, 1)) == 0x010307
    assert rig.its["GITS_STATUSR"] == 0


def test_the_unmapped_msi_interrupt_follows_status_and_enable() -> None:
    rig = ItsRig(1, events=1, its=2, its_umsi=True, its_umsi_spi=40)
    rig.prepare(40)
    rig.msi(9)
    assert rig.line() == 0
    rig.its["GITS_CTLR"] = 0x101
    assert rig.its["GITS_CTLR"] == 0x101
    assert (rig.line(), rig.iar()) == (Line.IRQ, 40)
    rig.its["GITS_STATUSR"] = UMSI
    rig.eoi(40)
    assert rig.line() == 0
    rig.msi(9)
    assert rig.line() == Line.IRQ
    rig.its["GITS_CTLR"] = 1
    assert rig.line() == 0
    assert not rig.gic.spi_line(41)
    rig.its["GITS_CTLR"] = 0x101
    rig.gic.reset()
    assert not rig.gic.spi_line(40)


# --- the digest


def test_the_digest_tells_registers_of_an_its_apart() -> None:
    rig = ItsRig(1, events=1)
    seen = {rig.gic.state_digest()}
    for change in (lambda: rig.do(sync(0)), lambda: rig.put(inv(1, 0)),
                   lambda: rig.its.__setitem__("GITS_CWRITER", 8192), lambda: rig.its.__setitem__("GITS_CTLR", 0),
                   lambda: rig.its.__setitem__(("GITS_BASER", 0), DEVICES),
                   lambda: rig.its.__setitem__(("GITS_BASER", 1), COLLECTIONS)):
        change()
        seen.add(rig.gic.state_digest())
    assert len(seen) == 6  # a command in memory alone is no state of the GIC
