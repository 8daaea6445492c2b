"""Parts of registers, the physical map, views by name, and the identification that the configuration chooses."""

from typing import Any

import pytest

from gicv3 import Frame, GICv3, GICv3Config

ONES = 0xFFFF_FFFF_FFFF_FFFF


def test_the_halves_of_a_64_bit_register_are_read_and_written_apart() -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=32))
    offset = 0x6100
    gic.frame_write(Frame.GICD, offset, 0xAB_8012_3456, 8)
    assert gic.frame_read(Frame.GICD, offset, 8) == 0xAB_8012_3456
    assert gic.frame_read(Frame.GICD, offset) == 0x8012_3456
    assert gic.frame_read(Frame.GICD, offset + 4) == 0xAB
    gic.frame_write(Frame.GICD, offset, 0x0065_4321)
    assert gic.frame_read(Frame.GICD, offset, 8) == 0xAB_0065_4321
    gic.frame_write(Frame.GICD, offset + 4, 0xFFFF_FFCD)
    assert gic.frame_read(Frame.GICD, offset, 8) == 0xCD_0065_4321


def test_typer_of_a_redistributor_is_read_whole_and_by_halves() -> None:
    gic = GICv3(GICv3Config(affinities=[0x0, 0x12_0034_5678]))
    whole = gic.frame_read(Frame.RD, 8, 8, index=1)
    assert whole == 0x1234_5678 << 32 | 1 << 8 | 1 << 4
    assert gic.frame_read(Frame.RD, 8, index=1) == whole & 0xFFFF_FFFF
    assert gic.frame_read(Frame.RD, 12, index=1) == whole >> 32


@pytest.mark.parametrize(("frame", "offset"), [(Frame.GICD, 0x420), (Frame.SGI, 0x400), (Frame.SGI, 0x41C)])
def test_a_priority_byte_is_its_part_of_the_word(frame: Frame, offset: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=32))
    gic.frame_write(frame, offset, 0x40302010)
    assert [gic.frame_read(frame, offset + i, 1) for i in range(4)] == [0x10, 0x20, 0x30, 0x40]
    gic.frame_write(frame, offset + 2, 0xF8, 1)
    assert gic.frame_read(frame, offset) == 0x40F82010


def test_bits_of_a_value_beyond_the_access_size_are_ignored() -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=32))
    gic.frame_write(Frame.GICD, 0x421, 0xFFFF_FF10, 1)
    assert gic.frame_read(Frame.GICD, 0x420) == 0x1000
    gic.frame_write(Frame.GICD, 0x6100, 0xFF_0000_0003, 4)
    assert gic.frame_read(Frame.GICD, 0x6100, 8) == 3


# --- the physical map


def test_absolute_addresses_lead_to_frames_and_nowhere_else() -> None:
    regions = [(0x2_0000_0000, 2), (0x1000_0000, 3)]
    places = {"dist_base": 0x1_0000_0000, "redist_regions": regions, "message_frame": 0x1_0002_0000}
    gic = GICv3(GICv3Config(cpus=5, message_spis=True, **places))
    assert gic.mmio_read(0x1_0000_FFF0) == gic.mmio_read(0x1_0002_FFF0) == 0x0D
    assert (gic.mmio_read(0x1_0000_FFE0), gic.mmio_read(0x1_0002_FFE0)) == (0x92, 0x97)
    for pe, base in enumerate([0x2_0000_0000, 0x2_0002_0000, 0x1000_0000, 0x1002_0000, 0x1004_0000]):
        assert gic.mmio_read(base + 8, 8) >> 8 & 0xFFFF == pe
        assert gic.mmio_read(base + 8) >> 4 & 1 == (pe in (1, 4)), "Last ends each region"
        gic.mmio_write(base + 0x1_0100, 1 << pe)
        assert gic.redist[pe]["GICR_ISENABLER0"] == 1 << pe
    assert gic.totals()["bad_access"] == 0
    outside = [0, 0xFFFF_FFFC, 0x1_0001_0000, 0x1_0001_FFFC, 0x1_0003_0000, 0x2_0004_0000]
    outside += [0x0FFF_FFFC, 0x1006_0000, (1 << 64) - 4]
    for number, address in enumerate(outside, 1):
        assert gic.mmio_read(address) == 0
        gic.mmio_write(address, ONES)
        assert gic.totals()["bad_access"] == 2 * number, hex(address)


@pytest.mark.parametrize(
    ("frame", "key"),
    [
        ("dist", "GICD_NOPE"), ("dist", "GICR_WAKER"), ("redist", "GICD_CTLR"), ("dist", "GICD_ISENABLER"),
        ("dist", ("GICD_ISENABLER", 32)), ("dist", ("GICD_ISENABLER", -1)), ("dist", ("GICD_IROUTER", 31)),
        ("dist", ("GICD_IROUTER", 1020)), ("redist", ("GICR_IPRIORITYRnE", 7)), ("redist", ("GICR_IPRIORITYRnE", 24)),
        ("dist", ("GICD_CTLR", 1)), ("dist", "GICM_IIDR"), ("message", "GICD_IIDR"),
    ],
)
def test_a_view_refuses_names_and_indexes_that_do_not_exist(frame: str, key: Any) -> None:
    gic = GICv3(GICv3Config(cpus=2, eppis=32))
    view = {"dist": gic.dist, "redist": gic.redist[0], "message": gic.message}[frame]
    with pytest.raises(KeyError):
        view[key]
    with pytest.raises(KeyError):
        view[key] = 0


def test_gicd_ctlr_accepts_its_group_enables_and_nothing_else_with_one_state() -> None:
    gic = GICv3(GICv3Config(cpus=1))
    for value in range(4):
        gic.dist["GICD_CTLR"] = value
        assert gic.dist["GICD_CTLR"] == 0x50 | value
    gic.dist["GICD_CTLR"] = ONES >> 32
    assert gic.dist["GICD_CTLR"] == 0x53


@pytest.mark.parametrize("spis", [0, 32, 64, 960, 988])
def test_it_lines_number_tells_the_spis(spis: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=spis))
    lines = gic.dist["GICD_TYPER"] & 31
    assert min(32 * (lines + 1) - 1, 1019) == 31 + spis
    for word in range(32):
        gic.dist["GICD_ISENABLER", word] = 0xFFFF_FFFF
    count = sum(gic.dist["GICD_ISENABLER", word].bit_count() for word in range(32))
    assert count == spis


@pytest.mark.parametrize("id_bits", [10, 16, 24])
def test_typer_reports_the_configured_id_bits(id_bits: int) -> None:
    assert GICv3(GICv3Config(cpus=1, id_bits=id_bits)).dist["GICD_TYPER"] >> 19 & 31 == id_bits - 1


def test_iidr_is_configured_for_both_frames() -> None:
    gic = GICv3(GICv3Config(cpus=1, iidr=0xFFFF_FFFF))
    assert gic.dist["GICD_IIDR"] == gic.redist[0]["GICR_IIDR"] == 0xFFFF_FFFF
