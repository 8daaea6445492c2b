"""Every row of the register table, in every security view: reset value, write mask, widths, alignment, ends, holes."""

import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import gicv3
from gicv3 import Frame, GICv3, GICv3Config
from gicv3.registers import REGISTERS, Reg

ONES = 0xFFFF_FFFF_FFFF_FFFF
SPIS, ESPIS, EPPIS = 988, 64, 32
EVERYTHING: dict[str, Any] = {
    "cpus": 2, "spis": SPIS, "espis": ESPIS, "eppis": EPPIS, "message_spis": True, "nmi": True, "statusr": True,
    "range_selector": True, "message_frame": 0x0A00_0000,
}
FRAME_SIZE = 0x10000
WORDS = range(0, FRAME_SIZE, 4)


@dataclass(frozen=True)
class View:
    """Who accesses a GIC of which kind: the columns that a register table test runs over."""

    name: str
    security: bool
    secure: bool
    set_ds: bool = False
    groups: int = 0
    """What every IGROUPR bit was set to before."""

    def make(self) -> GICv3:
        gic = GICv3(GICv3Config(**EVERYTHING, security=self.security))
        if self.set_ds:
            gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
        if self.groups:
            for row in ROWS:
                if stem(row) == "IGROUPR":
                    for element in range(present(row)):
                        gic.frame_write(row.frame, row.offset + 4 * element, ONES, secure=True, index=1)
        return gic

    def read(self, gic: GICv3, frame: int, offset: int, size: int = 4) -> int:
        return gic.frame_read(frame, offset, size, self.secure, 1)

    def write(self, gic: GICv3, frame: int, offset: int, value: int, size: int = 4) -> None:
        gic.frame_write(frame, offset, value, size, self.secure, 1)

    @property
    def sees_all(self) -> bool:
        """One security state, or the Secure side of two."""
        return self.secure or self.set_ds or not self.security


VIEWS = (
    View("one_state", security=False, secure=False),
    View("one_state_group1", security=False, secure=False, groups=1),
    View("secure", security=True, secure=True),
    View("nonsecure", security=True, secure=False),
    View("nonsecure_group1", security=True, secure=False, groups=1),
    View("ds_set", security=True, secure=False, set_ds=True),
)


def stem(row: Reg) -> str:
    """The register's name without frame prefix and range suffix."""
    name = row.name.split("_", 1)[1]
    return name if row.name == "GICD_TYPER2" else name.removesuffix("nE").rstrip("0123456789")


FRAMES = (Frame.GICD, Frame.RD, Frame.SGI, Frame.GICM)
# The tests of LPIs and the ITS walk over their own rows.
ROWS = [row for row in REGISTERS if row.frame in FRAMES and row.needs not in ("lpis", "direct_lpi", "lpi_invalidate")]
PER_INTID = {
    "IGROUPR": 1, "ISENABLER": 1, "ICENABLER": 1, "ISPENDR": 1, "ICPENDR": 1, "ISACTIVER": 1, "ICACTIVER": 1,
    "IPRIORITYR": 8, "ICFGR": 2, "IGRPMODR": 1, "NSACR": 2, "INMIR": 1, "IROUTER": 64,
}
"""Width of the field that one interrupt has."""

# Name, frame, offset of the first and of the last element: the architecture's map, written down a second time.
ARCHITECTURE = """
GICD_CTLR 0 0000 0000|GICD_TYPER 0 0004 0004|GICD_IIDR 0 0008 0008|GICD_TYPER2 0 000C 000C|GICD_STATUSR 0 0010 0010
GICD_SETSPI_NSR 0 0040 0040|GICD_CLRSPI_NSR 0 0048 0048|GICD_SETSPI_SR 0 0050 0050|GICD_CLRSPI_SR 0 0058 0058
GICD_IGROUPR 0 0080 00FC|GICD_ISENABLER 0 0100 017C|GICD_ICENABLER 0 0180 01FC|GICD_ISPENDR 0 0200 027C
GICD_ICPENDR 0 0280 02FC|GICD_ISACTIVER 0 0300 037C|GICD_ICACTIVER 0 0380 03FC|GICD_IPRIORITYR 0 0400 07F8
GICD_ITARGETSR 0 0800 0BF8|GICD_ICFGR 0 0C00 0CFC|GICD_IGRPMODR 0 0D00 0D7C|GICD_NSACR 0 0E00 0EFC
GICD_SGIR 0 0F00 0F00|GICD_CPENDSGIR 0 0F10 0F1C|GICD_SPENDSGIR 0 0F20 0F2C|GICD_INMIR 0 0F80 0FFC
GICD_IGROUPRnE 0 1000 107C|GICD_ISENABLERnE 0 1200 127C|GICD_ICENABLERnE 0 1400 147C|GICD_ISPENDRnE 0 1600 167C
GICD_ICPENDRnE 0 1800 187C|GICD_ISACTIVERnE 0 1A00 1A7C|GICD_ICACTIVERnE 0 1C00 1C7C|GICD_IPRIORITYRnE 0 2000 23FC
GICD_ICFGRnE 0 3000 30FC|GICD_IGRPMODRnE 0 3400 347C|GICD_NSACRnE 0 3600 36FC|GICD_INMIRnE 0 3B00 3B7C
GICD_IROUTER 0 6100 7FD8|GICD_IROUTERnE 0 8000 9FF8|GICD_PIDR4 0 FFD0 FFDC|GICD_PIDR0 0 FFE0 FFEC|GICD_CIDR 0 FFF0 FFFC
GICR_CTLR 1 0000 0000|GICR_IIDR 1 0004 0004|GICR_TYPER 1 0008 0008|GICR_STATUSR 1 0010 0010|GICR_WAKER 1 0014 0014
GICR_PIDR4 1 FFD0 FFDC|GICR_PIDR0 1 FFE0 FFEC|GICR_CIDR 1 FFF0 FFFC
GICR_IGROUPR0 2 0080 0080|GICR_ISENABLER0 2 0100 0100|GICR_ICENABLER0 2 0180 0180|GICR_ISPENDR0 2 0200 0200
GICR_ICPENDR0 2 0280 0280|GICR_ISACTIVER0 2 0300 0300|GICR_ICACTIVER0 2 0380 0380|GICR_IPRIORITYR 2 0400 041C
GICR_ICFGR0 2 0C00 0C00|GICR_ICFGR1 2 0C04 0C04|GICR_IGRPMODR0 2 0D00 0D00|GICR_NSACR 2 0E00 0E00
GICR_INMIR0 2 0F80 0F80|GICR_IGROUPRnE 2 0084 0088|GICR_ISENABLERnE 2 0104 0108|GICR_ICENABLERnE 2 0184 0188
GICR_ISPENDRnE 2 0204 0208|GICR_ICPENDRnE 2 0284 0288|GICR_ISACTIVERnE 2 0304 0308|GICR_ICACTIVERnE 2 0384 0388
GICR_IPRIORITYRnE 2 0420 045C|GICR_ICFGRnE 2 0C08 0C14|GICR_IGRPMODRnE 2 0D04 0D08|GICR_INMIRnE 2 0F84 0F88
GICM_TYPER 3 0004 0008|GICM_SETSPI_NSR 3 0040 0040|GICM_CLRSPI_NSR 3 0048 0048|GICM_SETSPI_SR 3 0050 0050
GICM_CLRSPI_SR 3 0058 0058|GICM_IIDR 3 0FCC 0FCC|GICM_IIDR2 3 FFCC FFCC|GICM_PIDR4 3 FFD0 FFDC
GICM_PIDR0 3 FFE0 FFEC|GICM_CIDR 3 FFF0 FFFC
"""


def place(row: Reg, element: int) -> int:
    return row.offset + element * row.width // 8


def size_of(row: Reg) -> int:
    """The size in bytes that reaches a whole element."""
    return max(size for size in row.sizes if size <= row.width // 8)


def present(row: Reg) -> int:
    """How many elements of an array exist: it ends with the last implemented interrupt."""
    if stem(row) not in PER_INTID:
        return row.count
    each = max(1, 32 // PER_INTID[stem(row)])
    if row.name.endswith("nE"):
        return (ESPIS if row.frame == Frame.GICD else EPPIS) // each
    return row.count


def elements(row: Reg) -> range | list[int]:
    """All elements of a short array; the first, the last and some between of a long one."""
    count = present(row)
    return range(count) if count <= 32 else [0, 1, 7, count // 2, count - 2, count - 1]


def implemented(intid: int, frame: Frame) -> bool:
    if frame == Frame.SGI:
        return intid < 32 or 1056 <= intid < 1056 + EPPIS
    return 32 <= intid < 32 + SPIS or 4096 <= intid < 4096 + ESPIS


def fields(row: Reg, element: int) -> int:
    """The bits of an element that belong to implemented interrupts."""
    width = PER_INTID[stem(row)]
    each = max(1, 32 // width)
    extended = row.name.endswith("nE")
    start = (row.first + element) * each + ((4096 if row.frame == Frame.GICD else 1024) if extended else 0)
    ones = (1 << width) - 1
    return sum(ones << i * width for i in range(each) if implemented(start + i, row.frame))


def expected_after_ones(row: Reg, element: int, view: View) -> int:
    """What an element reads after all ones were written to it in reset state (IGROUPR as the view says)."""
    kind = stem(row)
    if kind not in PER_INTID:
        if kind == "WAKER":
            return 6 if view.sees_all else 0
        if kind == "STATUSR":
            return 0
        return reset_value(row, element, view)
    if not row.write_mask or kind in ("ICENABLER", "ICPENDR", "ICACTIVER"):
        return reset_value(row, element, view)
    value = fields(row, element) & row.write_mask
    if kind in ("IGRPMODR", "NSACR"):
        return value if view.secure else 0
    if kind == "IGROUPR":
        return value if view.sees_all else 0
    if not view.sees_all and not view.groups:
        return 0
    if kind == "INMIR" and not view.groups:
        return 0
    if kind == "IPRIORITYR":
        return value & (0xF8F8_F8F8 if view.sees_all else 0xF0F0_F0F0)
    return value


def reset_value(row: Reg, element: int, view: View) -> int:
    """Reset value, from the table or from the configuration; every interrupt is in Group 0, which hides it from NS."""
    kind = stem(row)
    if kind == "CTLR":
        if row.frame == Frame.RD:
            return 0
        return 0x50 if view.set_ds or not view.security else 0x30 if view.secure else 0x10
    if kind == "TYPER":
        if row.frame == Frame.RD:
            return 1 << 32 | EPPIS // 32 << 27 | 1 << 8 | 1 << 4
        if row.frame == Frame.GICM:
            return 1 << 31 | 1 << 30 | view.security << 29 | 32 << 16 | SPIS
        value = 31 | 1 << 24 | 15 << 19 | 1 << 25 | 1 << 26 | 1 << 16 | 1 << 9 | 1 << 8 | ESPIS // 32 - 1 << 27
        return value | (1 << 10 if view.security and not view.set_ds else 0)
    if kind == "IIDR":
        return 0x43B
    if kind == "PIDR":
        first = {Frame.GICD: 0x92, Frame.RD: 0x93, Frame.GICM: 0x97}[row.frame]
        return (first, 0xB4, 0x3B, 0, 0x44, 0, 0, 0)[row.first + element]
    if kind == "CIDR":
        return (0x0D, 0xF0, 0x05, 0xB1)[element]
    assert row.reset is not None
    value = row.reset
    if kind == "IGROUPR" and view.groups:
        return fields(row, element) if view.sees_all else 0
    if not view.sees_all and (kind == "WAKER" or (kind in PER_INTID and not view.groups)):
        return 0
    return value


by_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
by_readable_row = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.access != "WO" and row.name != "GICD_CTLR"], ids=lambda row: row.name
)


# --- the table itself


def test_the_table_agrees_with_the_architectures_map() -> None:
    known = {}
    for entry in ARCHITECTURE.replace("\n", "|").strip("|").split("|"):
        name, frame, first, last = entry.split()
        known[name] = (int(frame), int(first, 16), int(last, 16))
    table = {row.name: (int(row.frame), row.offset, place(row, row.count - 1)) for row in ROWS}
    assert table == known


def test_rows_stay_inside_their_frame_and_apart() -> None:
    for frame in Frame:
        spans = sorted((row.offset, place(row, row.count)) for row in REGISTERS if row.frame == frame)
        assert all(start % 4 == 0 and end <= FRAME_SIZE for start, end in spans)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_names_are_unique_and_masks_fit_the_width() -> None:
    assert len({row.name for row in REGISTERS}) == len(REGISTERS)
    for row in REGISTERS:
        assert row.width in (32, 64), row
        assert row.write_mask < 1 << row.width, row
        assert set(row.sizes) <= {1, 2, 4, 8}, row
        assert row.access in {"RW", "RO", "WO", "W1S", "W1C"}, row
        assert row.write_mask == 0 or row.access != "RO", row


LOAD_TABLE = """
import importlib, sys, types
package = types.ModuleType("gicv3")
package.__path__ = [{folder!r}]
sys.modules["gicv3"] = package
import gicv3.registers as table
rows = list(table.REGISTERS)
systems = list(table.SYSREGS)
row = next(row for row in rows if row.name == "GICD_TYPER2")
system = systems[0]
class Frob(int):
    name = "ICC_FROB"
{change}
table.REGISTERS = tuple(rows)
table.SYSREGS = tuple(systems)
import gicv3._core
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", None),
        ("rows.append(row._replace(name='GICD_TYPER'))", "GICD_TYPER overlaps another row at offset 0xc"),
        ("rows.append(row._replace(name='GICD_IIDR', offset=0x3C, count=2))", "GICD_IIDR overlaps another row at"),
        ("rows.append(row._replace(name='GICD_FROB', offset=0xF000))", "GICD_FROB has no handler"),
        ("systems.append(system)", "ICC_PMR_EL1 has the encoding of another row"),
        ("systems.append(system._replace(reg=Frob(0xC000)))", "ICC_FROB has no handler"),
    ],
    ids=["as_it_is", "overlap", "overlap_by_count", "no_handler", "same_encoding", "no_system_handler"],
)
def test_the_loader_refuses_a_bad_table(change: str, message: str | None) -> None:
    program = LOAD_TABLE.format(folder=str(Path(gicv3.__file__).parent), change=change)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if message is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]


# --- values


@by_row
def test_reset_values(row: Reg) -> None:
    for view in VIEWS:
        gic = view.make()
        for element in elements(row):
            if row.access != "WO":
                value = view.read(gic, row.frame, place(row, element), size_of(row))
                assert value == reset_value(row, element, view), (view.name, element)
        assert gic.totals()["bad_access"] == 0


@by_readable_row
def test_writing_ones_reaches_the_writable_bits(row: Reg) -> None:
    for view in VIEWS:
        gic = view.make()
        for element in elements(row):
            view.write(gic, row.frame, place(row, element), ONES, size_of(row))
            value = view.read(gic, row.frame, place(row, element), size_of(row))
            assert value == expected_after_ones(row, element, view), (view.name, element)
        gic.check()


@by_readable_row
def test_writing_zeros_clears_what_ones_set_except_in_set_registers(row: Reg) -> None:
    for view in VIEWS:
        gic = view.make()
        for element in elements(row):
            view.write(gic, row.frame, place(row, element), ONES, size_of(row))
            ones = view.read(gic, row.frame, place(row, element), size_of(row))
            view.write(gic, row.frame, place(row, element), 0, size_of(row))
            value = view.read(gic, row.frame, place(row, element), size_of(row))
            assert value == (0 if row.access == "RW" and row.write_mask else ones), (view.name, element)
        gic.check()


@by_view
@pytest.mark.parametrize("what", ["ENABLER", "PENDR", "ACTIVER"])
def test_set_registers_keep_ones_and_clear_registers_take_them(what: str, view: View) -> None:
    gic = view.make()
    for setter in ROWS:
        if stem(setter) != f"IS{what}":
            continue
        clearer = next(row for row in ROWS if row.name == setter.name.replace("_IS", "_IC"))
        for element in range(present(setter)):
            reach = fields(setter, element) if view.sees_all or view.groups else 0
            view.write(gic, setter.frame, place(setter, element), 0x0F0F_0F0F)
            view.write(gic, setter.frame, place(setter, element), 0)
            view.write(gic, clearer.frame, place(clearer, element), 0)
            for row in (setter, clearer):
                assert view.read(gic, row.frame, place(row, element)) == 0x0F0F_0F0F & reach, (row.name, element)
            view.write(gic, clearer.frame, place(clearer, element), 0x0303_0303)
            for row in (setter, clearer):
                assert view.read(gic, row.frame, place(row, element)) == 0x0C0C_0C0C & reach, (row.name, element)


@pytest.mark.parametrize("priority_bits", [4, 5, 6, 7, 8])
def test_priorities_keep_their_implemented_bits(priority_bits: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=32, priority_bits=priority_bits))
    mask = 0xFF << 8 - priority_bits & 0xFF
    for frame, offset in ((Frame.GICD, 0x420), (Frame.SGI, 0x410)):
        gic.frame_write(frame, offset, 0xFF, 1)
        assert gic.frame_read(frame, offset, 1) == mask
        gic.frame_write(frame, offset, 0x55, 1)
        assert gic.frame_read(frame, offset, 1) == 0x55 & mask


def every_register(gic: GICv3) -> dict[tuple[str, int], int]:
    """All readable registers of a GIC as Secure software sees them."""
    return {
        (row.name, element): gic.frame_read(row.frame, place(row, element), size_of(row), True, 1)
        for row in ROWS
        if row.access != "WO" and (not row.needs or row.needs in ("espis", "eppis"))
        for element in range(present(row))
    }


@pytest.mark.parametrize("frame", FRAMES[:3], ids=lambda frame: frame.name)
def test_a_write_changes_its_own_register_and_no_other(frame: Frame) -> None:
    gic = GICv3(GICv3Config(cpus=2, spis=SPIS, espis=ESPIS, eppis=EPPIS, security=True))
    for row in ROWS:
        if row.write_mask and row.access in ("RW", "W1S") and row.name not in ("GICD_CTLR", "GICR_CTLR"):
            for element in range(present(row)):
                gic.frame_write(row.frame, place(row, element), 0x5A5A_5A5A, size_of(row), True, 1)
    before = every_register(gic)
    for row in ROWS:
        if row.frame != frame or row.needs not in ("", "espis", "eppis"):
            continue
        for element in {0, present(row) // 2, present(row) - 1}:
            value = 0x37 if row.name == "GICD_CTLR" else 0xFFA5_A5FF
            gic.frame_write(frame, place(row, element), value, size_of(row), True, 1)
            after = every_register(gic)
            moved = {key for key in after if after[key] != before[key]}
            twin = row.name.replace("_IS", "_I#").replace("_IC", "_IS").replace("_I#", "_IC")
            assert moved <= {(row.name, element), (twin, element)}, (row.name, element)
            before = after


def test_the_redistributors_of_two_pes_are_apart() -> None:
    gic = GICv3(GICv3Config(**EVERYTHING))
    rows = [row for row in ROWS if row.frame == Frame.SGI]
    before = [gic.frame_read(row.frame, row.offset, size_of(row), True, 0) for row in rows]
    for row in rows:
        if row.access != "W1C":
            gic.frame_write(row.frame, row.offset, 0x1111_1111, size_of(row), True, 1)
    assert [gic.frame_read(row.frame, row.offset, size_of(row), True, 0) for row in rows] == before
    assert gic.redist[1]["GICR_ISENABLER0"] == gic.redist[1]["GICR_ISPENDR0"] == 0x1111_1111


# --- bad accesses: RAZ/WI and counted


def refused(gic: GICv3, view: View, frame: int, offset: int, size: int) -> None:
    """Both directions read zero, change nothing, and count once each."""
    count = gic.totals()["bad_access"]
    digest = gic.state_digest() if not gic.config.statusr else b""
    assert view.read(gic, frame, offset, size) == 0
    view.write(gic, frame, offset, ONES, size)
    assert gic.totals()["bad_access"] == count + 2, (Frame(frame).name, hex(offset), size)
    if not gic.config.statusr:
        assert gic.state_digest() == digest


@by_row
def test_a_size_that_the_register_lacks_is_refused(row: Reg) -> None:
    for view in VIEWS:
        gic = view.make()
        for element in (0, present(row) - 1):
            for size in set(range(10)) - set(row.sizes):
                refused(gic, view, row.frame, place(row, element), size)
        assert end_values(gic, row, view) == end_values(view.make(), row, view), view.name


def end_values(gic: GICv3, row: Reg, view: View) -> list[int]:
    if row.access == "WO" or stem(row) == "STATUSR":
        return []
    return [view.read(gic, row.frame, place(row, element), size_of(row)) for element in (0, present(row) - 1)]


@by_row
def test_a_misaligned_access_is_refused(row: Reg) -> None:
    view = VIEWS[0]
    gic = view.make()
    for size in row.sizes:
        for shift in range(1, 4 if size == 2 else size):  # a halfword is the lower one
            refused(gic, view, row.frame, place(row, 0) + shift, size)
    assert end_values(gic, row, view) == end_values(view.make(), row, view)


@by_view
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_holes_read_zero_ignore_writes_and_are_counted(frame: Frame, view: View) -> None:
    gic = view.make()
    taken = {offset for row in ROWS if row.frame == frame
             for offset in range(row.offset, place(row, present(row)), 4)}
    holes = [offset for offset in WORDS if offset not in taken]
    assert len(holes) > 8000
    for offset in holes:
        assert view.read(gic, frame, offset) == 0
        view.write(gic, frame, offset, ONES)
    assert gic.totals()["bad_access"] == 2 * len(holes)


def before_a_hole(row: Reg) -> bool:
    past = place(row, present(row))
    return past < FRAME_SIZE and not any(other.frame == row.frame and other.offset == past for other in ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if before_a_hole(row)], ids=lambda row: row.name)
def test_one_past_the_end_of_a_register_is_a_hole(row: Reg) -> None:
    view = VIEWS[0]
    gic = view.make()
    refused(gic, view, row.frame, place(row, present(row)), 4)
    gic.frame_read(row.frame, place(row, present(row) - 1), size_of(row), False, 1)
    assert gic.totals()["bad_access"] == 2 + (row.access == "WO")


@pytest.mark.parametrize("spis", [0, 32, 64, 960, 988])
def test_arrays_of_the_distributor_end_with_the_last_spi(spis: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=spis, security=True))
    words = 1 + (spis + 31) // 32
    for row in ROWS:
        if row.frame != Frame.GICD or row.needs or stem(row) not in PER_INTID:
            continue
        each = max(1, 32 // PER_INTID[stem(row)])
        for element in range(row.count):
            count = gic.totals()["bad_access"]
            gic.frame_read(Frame.GICD, place(row, element), size_of(row), True)
            past = (row.first + element) * each >= 32 * words
            assert gic.totals()["bad_access"] - count == past, (row.name, element)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
@pytest.mark.parametrize("offset", [FRAME_SIZE, FRAME_SIZE + 4, 0xFFFF_FFFC])
def test_an_offset_outside_the_frame_is_refused(frame: Frame, offset: int) -> None:
    refused(VIEWS[0].make(), VIEWS[0], frame, offset, 4)


@by_view
@pytest.mark.parametrize("row", [row for row in ROWS if row.access in ("RO", "WO")], ids=lambda row: row.name)
def test_an_access_in_the_wrong_direction_is_counted_and_has_no_effect(row: Reg, view: View) -> None:
    gic = view.make()
    before = end_values(gic, row, view)
    if row.access == "WO":
        assert view.read(gic, row.frame, row.offset, size_of(row)) == 0
    else:
        view.write(gic, row.frame, row.offset, ONES, size_of(row))
    assert gic.totals()["bad_access"] == 1
    assert end_values(gic, row, view) == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.needs], ids=lambda row: row.name)
def test_a_register_of_a_feature_that_is_off_is_a_hole(row: Reg) -> None:
    gic = GICv3(GICv3Config(cpus=2, spis=SPIS, security=True))
    for element in (0, row.count - 1):
        for size in row.sizes:
            refused(gic, VIEWS[2], row.frame, place(row, element), size)


# --- views by name


def test_a_view_by_name_reads_what_the_frame_holds() -> None:
    gic = GICv3(GICv3Config(**EVERYTHING, security=True))
    for row in ROWS:
        if row.access == "WO":
            continue
        view = {Frame.GICD: gic.dist, Frame.GICM: gic.message}.get(row.frame, gic.redist[1])
        for element in elements(row):
            key = row.name if row.count == 1 else (row.name, row.first + element)
            wanted = gic.frame_read(row.frame, place(row, element), size_of(row), True, 1)
            assert view[key] == wanted, key
            view[key] = wanted
