"""Two security states: views of the Distributor, groups and lines, banked registers, the one-way DS bit."""

from typing import Any

import pytest
from rig import CTLR_EOIMODE, G0, G1NS, G1S, IDLE, SCR_FIQ, SCR_IRQ, SCR_NS, Group, Rig

from gicv3 import Frame, GICv3, GICv3Config, Line

QUIET = Line(0)
GROUPS = {"G0": G0, "G1S": G1S, "G1NS": G1NS}
each_group = pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)


def make(cpus: int = 1, **config: Any) -> Rig:
    return Rig(cpus, security=True, **config)


def enter(rig: Rig, state: str, pe: int = 0) -> None:
    """Put a PE into "NS", "S" or "EL3" with nothing routed to EL3."""
    {"NS": rig.nonsecure, "S": rig.secure, "EL3": rig.el3}[state](pe)


# --- GICD_CTLR and GICD_TYPER


def ctlr(gic: GICv3, secure: bool) -> int:
    return gic.frame_read(Frame.GICD, 0, secure=secure)


def test_gicd_ctlr_has_a_secure_and_a_non_secure_view() -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True))
    assert (ctlr(gic, True), ctlr(gic, False)) == (0x30, 0x10)
    gic.frame_write(Frame.GICD, 0, 0x7, secure=True)
    assert (ctlr(gic, True), ctlr(gic, False)) == (0x37, 0x12)
    gic.frame_write(Frame.GICD, 0, 0, secure=False)
    assert (ctlr(gic, True), ctlr(gic, False)) == (0x35, 0x10), "Non-secure software switches its own group only"
    gic.frame_write(Frame.GICD, 0, 0xFFFF_FFFF, secure=False)
    assert (ctlr(gic, True), ctlr(gic, False)) == (0x37, 0x12)
    for bit in range(3):
        gic.frame_write(Frame.GICD, 0, 1 << bit, secure=True)
        assert ctlr(gic, True) == 0x30 | 1 << bit
        assert ctlr(gic, False) == 0x10 | (2 if bit == 1 else 0)


def test_ds_is_set_by_secure_software_once_and_for_all_until_reset() -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True))
    gic.frame_write(Frame.GICD, 0, 0x40, secure=False)
    assert ctlr(gic, True) == 0x30
    assert gic.dist["GICD_TYPER"] >> 10 & 1
    gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    assert ctlr(gic, True) == ctlr(gic, False) == 0x50
    assert not gic.dist["GICD_TYPER"] >> 10 & 1
    gic.frame_write(Frame.GICD, 0, 0, secure=True)
    assert ctlr(gic, True) == 0x50
    gic.reset()
    assert (ctlr(gic, True), ctlr(gic, False)) == (0x30, 0x10)


def test_the_write_that_sets_ds_is_read_in_the_old_format() -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True))
    gic.frame_write(Frame.GICD, 0, 0x40 | 0x7, secure=True)
    assert ctlr(gic, True) == 0x53, "EnableGrp1S is RES0 now; bit 1 was EnableGrp1NS and is EnableGrp1"
    gic.frame_write(Frame.GICD, 0, 0x7, secure=False)
    assert ctlr(gic, True) == 0x53


def test_with_ds_set_non_secure_software_reaches_everything() -> None:
    rig = make()
    rig.prepare(40, group=G1S)
    gic = rig.gic
    assert gic.frame_read(Frame.GICD, 0x104, secure=False) == 0
    gic.frame_write(Frame.GICD, 0, 0x42, secure=True)
    assert gic.frame_read(Frame.GICD, 0x104, secure=False) == 0x100
    assert gic.frame_read(Frame.RD, 0x14, secure=False) == 0
    gic.frame_write(Frame.RD, 0x14, 2, secure=False)
    assert gic.frame_read(Frame.RD, 0x14, secure=False) == 6
    gic.frame_write(Frame.GICD, 0x84, 0xFFFF_FFFF, secure=False)
    assert gic.dist["GICD_IGROUPR", 1] == 0xFFFF_FFFF


def test_setting_ds_turns_secure_group_1_into_group_0() -> None:
    rig = make()
    rig.prepare(40, group=G1S)
    rig.raise_(40)
    rig.secure()
    assert rig.line() == Line.IRQ
    rig.gic.frame_write(Frame.GICD, 0, 0x43, secure=True)
    assert rig.gic.dist["GICD_IGRPMODR", 1] == 0
    rig.nonsecure()
    assert rig.line() == Line.FIQ
    assert rig.iar(0) == 40


def test_a_two_state_gic_with_ds_set_acts_as_one_with_a_single_state() -> None:
    rig = make()
    rig.gic.frame_write(Frame.GICD, 0, 0x43, secure=True)
    rig.prepare(40, priority=0x20, group=G1NS)
    rig.prepare(41, priority=0x40, group=G0)
    rig.raise_(40)
    assert rig.line() == Line.IRQ
    assert rig.iar(1) == 40
    rig.raise_(41)
    rig.eoi(40)
    rig.raise_(40, False)
    assert rig.line() == Line.FIQ
    assert rig.iar(0) == 41
    rig.eoi(41, 0)
    assert rig.rpr() == IDLE


# --- which interrupts Non-secure software reaches


def test_waker_is_secure() -> None:
    rig = make()
    rig.gic.frame_write(Frame.RD, 0x14, 2, secure=False)
    assert rig.gic.redist[0]["GICR_WAKER"] == 0
    rig.gic.frame_write(Frame.RD, 0x14, 2, secure=True)
    assert rig.gic.redist[0]["GICR_WAKER"] == 6
    assert rig.gic.frame_read(Frame.RD, 0x14, secure=False) == 0


def test_an_access_without_a_stated_security_is_one_of_the_pes_state() -> None:
    rig = make(2)
    gic = rig.gic
    for state, seen in (("NS", 0x12), ("S", 0x37), ("EL3", 0x37)):
        enter(rig, state, 1)
        assert gic.frame_read(Frame.GICD, 0, index=1) == seen
        assert gic.mmio_read(0x0800_0000, pe=1) == seen
    rig.nonsecure(1)
    gic.mmio_write(0x0800_0000, 0, pe=1)
    assert ctlr(gic, True) == 0x35
    gic.frame_write(Frame.GICD, 0, 2, index=1)
    assert ctlr(gic, True) == 0x37


BITS = {"ISENABLER": 0x100, "ISPENDR": 0x200, "ISACTIVER": 0x300}


@pytest.mark.parametrize("frame", [Frame.GICD, Frame.SGI], ids=["spi", "private"])
@pytest.mark.parametrize("kind", BITS)
def test_non_secure_software_reaches_the_bits_of_its_own_group_only(frame: Frame, kind: str) -> None:
    rig = make(spis=32)
    gic = rig.gic
    base = 4 if frame == Frame.GICD else 0
    group, offset = 0x0F0F_3333, BITS[kind] + base
    gic.frame_write(frame, 0x80 + base, group, secure=True)
    gic.frame_write(frame, 0xD00 + base, 0x00FF_0055, secure=True)
    gic.frame_write(frame, offset, 0xFFFF_FFFF, secure=False)
    assert gic.frame_read(frame, offset, secure=True) == group
    gic.frame_write(frame, offset, 0xFFFF_FFFF, secure=True)
    assert gic.frame_read(frame, offset, secure=False) == group
    gic.frame_write(frame, offset + 0x80, 0xFFFF_FFFF, secure=False)
    assert gic.frame_read(frame, offset, secure=True) == ~group & 0xFFFF_FFFF
    for register in (0x80, 0xD00, 0xE00):
        assert gic.frame_read(frame, register + base, secure=False) == 0
        before = gic.frame_read(frame, register + base, secure=True)
        gic.frame_write(frame, register + base, ~before & 0xFFFF_FFFF, secure=False)
        assert gic.frame_read(frame, register + base, secure=True) == before


@pytest.mark.parametrize("frame", [Frame.GICD, Frame.SGI], ids=["spi", "private"])
def test_trigger_and_priority_of_secure_interrupts_are_hidden(frame: Frame) -> None:
    rig = make(spis=32)
    gic = rig.gic
    word, priorities, icfgr = (4, 0x420, 0xC08) if frame == Frame.GICD else (0, 0x410, 0xC04)
    shift = 0 if frame == Frame.GICD else 16
    gic.frame_write(frame, 0x80 + word, 0b0101 << shift, secure=True)
    gic.frame_write(frame, priorities, 0x9080_4020, secure=True)
    gic.frame_write(frame, icfgr, 0xFF, secure=True)
    assert gic.frame_read(frame, priorities, secure=False) == 0x0000_0040
    assert gic.frame_read(frame, icfgr, secure=False) == 0x22
    gic.frame_write(frame, priorities, 0xFFFF_FFFF, secure=False)
    assert gic.frame_read(frame, priorities, secure=True) == 0x90F8_40F8
    gic.frame_write(frame, icfgr, 0, secure=False)
    assert gic.frame_read(frame, icfgr, secure=True) == 0x88


@pytest.mark.parametrize(
    ("written", "stored", "read"), [(0x00, 0x80, 0x00), (0x10, 0x88, 0x10), (0x08, 0x80, 0x00), (0xFF, 0xF8, 0xF0)]
)
@pytest.mark.parametrize("size", [1, 4])
def test_non_secure_priorities_are_the_lower_half(written: int, stored: int, read: int, size: int) -> None:
    rig = make()
    rig.group(40, G1NS)
    rig.gic.frame_write(Frame.GICD, 0x428, written, size, secure=False)
    assert rig.gic.frame_read(Frame.GICD, 0x428, 1, secure=True) == stored
    assert rig.gic.frame_read(Frame.GICD, 0x428, 1, secure=False) == read


NSACR = {"ISPENDR": (1, 1), "ICPENDR": (2, 2), "ISACTIVER": (2, 4), "ICACTIVER": (2, 4), "ISENABLER": (4, 4)}
OFFSETS = {"ISPENDR": 0x204, "ICPENDR": 0x284, "ISACTIVER": 0x304, "ICACTIVER": 0x384, "ISENABLER": 0x104}


@pytest.mark.parametrize("group", [G0, G1S], ids=["G0", "G1S"])
@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("kind", NSACR)
def test_nsacr_opens_a_secure_spi_step_by_step(kind: str, field: int, group: Group) -> None:
    rig = make()
    gic = rig.gic
    for intid in (40, 41):
        rig.prepare(intid, group=group)
        for register in ("ISPENDR", "ISACTIVER"):
            rig.write_bit(register, intid)
    rig.field("NSACR", 2, 40, field)
    read_from, write_from = NSACR[kind]
    shown = gic.frame_read(Frame.GICD, OFFSETS[kind], secure=False)
    assert shown == (1 << 8 if field >= read_from else 0), "and its neighbour stays closed"
    if kind == "ISPENDR":
        gic.dist["GICD_ICPENDR", 1] = 0xFFFF_FFFF
    if kind == "ISACTIVER":
        gic.dist["GICD_ICACTIVER", 1] = 0xFFFF_FFFF
    if kind == "ISENABLER":
        gic.dist["GICD_ICENABLER", 1] = 0xFFFF_FFFF
    before = gic.frame_read(Frame.GICD, OFFSETS[kind], secure=True)
    gic.frame_write(Frame.GICD, OFFSETS[kind], 0x300, secure=False)
    after = gic.frame_read(Frame.GICD, OFFSETS[kind], secure=True)
    assert before ^ after == (1 << 8 if field >= write_from else 0)


@pytest.mark.parametrize("field", range(4))
def test_nsacr_three_opens_the_router(field: int) -> None:
    rig = make(2)
    rig.prepare(40, 1, group=G0)
    rig.field("NSACR", 2, 40, field)
    opened = field == 3
    assert rig.gic.frame_read(Frame.GICD, 0x6140, 8, secure=False) == (1 if opened else 0)
    rig.gic.frame_write(Frame.GICD, 0x6140, 0, 8, secure=False)
    assert rig.gic.dist["GICD_IROUTER", 40] == (0 if opened else 1)


def test_nsacr_is_meaningless_for_a_non_secure_interrupt() -> None:
    rig = make()
    rig.prepare(40, group=G1NS, enable=False)
    rig.gic.frame_write(Frame.GICD, 0x104, 0x100, secure=False)
    assert rig.bit("ISENABLER", 40)


def test_nsacr_does_not_open_private_interrupts() -> None:
    rig = make()
    rig.prepare(5, group=G0)
    rig.gic.redist[0]["GICR_NSACR"] = 0xFFFF_FFFF
    rig.gic.frame_write(Frame.SGI, 0x200, 0x20, secure=False)
    assert not rig.pending(5)


# --- lines


@pytest.mark.parametrize("state", ["NS", "S", "EL3"])
@each_group
def test_the_line_follows_the_group_and_the_state_of_the_pe(group: Group, state: str) -> None:
    rig = make()
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    expected = {
        ("NS", G0): Line.FIQ, ("NS", G1S): Line.FIQ, ("NS", G1NS): Line.IRQ,
        ("S", G0): Line.FIQ, ("S", G1S): Line.IRQ, ("S", G1NS): Line.FIQ,
        ("EL3", G0): Line.FIQ, ("EL3", G1S): Line.FIQ, ("EL3", G1NS): Line.FIQ,
    }
    enter(rig, state)
    assert rig.line() == expected[state, group]
    enter(rig, "NS")
    assert rig.line() == expected["NS", group], "and is recomputed when the context changes"


@each_group
@pytest.mark.parametrize("gate", ["dist", "cpu"])
def test_each_group_has_an_enable_of_its_own(group: Group, gate: str) -> None:
    rig = make()
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    pe = rig.el3()
    if gate == "dist":
        bit = {G0: 1, G1NS: 2, G1S: 4}[group]
        rig.gic.dist["GICD_CTLR"] = 7 & ~bit
        assert rig.line() == QUIET
        rig.gic.dist["GICD_CTLR"] = bit
    elif group == G0:
        pe["ICC_IGRPEN0_EL1"] = pe["ICC_IGRPEN1_EL3"] = 0
        assert rig.line() == QUIET
        pe["ICC_IGRPEN0_EL1"] = 1
    else:
        pe["ICC_IGRPEN0_EL1"] = 0
        pe["ICC_IGRPEN1_EL3"] = 1 if group == G1S else 2
        assert rig.line() == QUIET
        pe["ICC_IGRPEN1_EL3"] = 2 if group == G1S else 1
    assert rig.line() == Line.FIQ


# --- acknowledge

ACKNOWLEDGED = {
    # (state, group): what IAR0 and IAR1 return; 0 stands for the interrupt itself
    ("NS", G0): (1023, 1023), ("NS", G1S): (1023, 1023), ("NS", G1NS): (1023, 0),
    ("S", G0): (0, 1023), ("S", G1S): (1023, 0), ("S", G1NS): (1023, 1023),
    ("EL3", G0): (0, 1023), ("EL3", G1S): (1020, 0), ("EL3", G1NS): (1021, 0),
}


@pytest.mark.parametrize("state", ["NS", "S", "EL3"])
@each_group
def test_iar_and_hppir_show_an_interrupt_to_whom_it_belongs(group: Group, state: str) -> None:
    rig = make()
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    enter(rig, state)
    for register in (0, 1):
        wanted = ACKNOWLEDGED[state, group][register] or 40
        assert rig.hppir(register) == wanted
        assert rig.iar(register) == wanted
        assert rig.active(40) == (wanted == 40)
        if wanted == 40:
            rig.eoi(40, register)
            assert not rig.active(40)


@pytest.mark.parametrize(
    ("state", "allowed"), [("NS", {G1NS}), ("S", {G0, G1S}), ("EL3", {G0, G1S, G1NS})], ids=["NS", "S", "EL3"]
)
@each_group
@pytest.mark.parametrize("register", [0, 1])
def test_eoir_ends_what_its_register_and_state_may_end(
    group: Group, state: str, allowed: set[Group], register: int
) -> None:
    rig = make()
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    rig.el3()
    assert rig.iar(min(group, 1)) == 40
    rig.raise_(40, False)
    enter(rig, state)
    rig.eoi(40, register)
    ended = group in allowed and register == min(group, 1)
    assert rig.active(40) != ended
    rig.el3()
    assert rig.rpr() == (IDLE if ended else 0x90)


def test_eoir_does_not_deactivate_an_interrupt_of_a_group_that_the_state_may_not_end() -> None:
    rig = make()
    rig.prepare(40, group=G1NS, priority=0x90)
    rig.prepare(41, group=G0)
    rig.write_bit("ISACTIVER", 41)
    rig.raise_(40)
    assert rig.iar() == 40
    rig.eoi(41)
    assert rig.active(41)
    assert rig.rpr() == IDLE


DIR_ALLOWED = {
    # state and SCR_EL3 bits: groups that ICC_DIR deactivates
    ("EL3", 0): {G0, G1S, G1NS}, ("EL3", SCR_FIQ | SCR_IRQ): {G0, G1S, G1NS},
    ("S", 0): {G0, G1S, G1NS}, ("S", SCR_FIQ): {G1S, G1NS}, ("S", SCR_IRQ): {G0}, ("S", SCR_FIQ | SCR_IRQ): set(),
    ("NS", 0): {G1NS}, ("NS", SCR_FIQ): {G1NS}, ("NS", SCR_IRQ): set(), ("NS", SCR_FIQ | SCR_IRQ): set(),
}


@pytest.mark.parametrize(("state", "routing"), DIR_ALLOWED)
@each_group
def test_dir_deactivates_what_the_state_owns(group: Group, state: str, routing: int) -> None:
    rig = make()
    rig.prepare(40, group=group)
    rig.write_bit("ISACTIVER", 40)
    rig.el3()["ICC_CTLR_EL3"] = 0x1C
    if state == "NS":
        rig.nonsecure(scr=SCR_NS | routing)
    elif state == "S":
        rig.secure(scr=routing)
    else:
        rig.el3(scr=SCR_NS | routing)
    rig.gic.pe[0]["ICC_DIR_EL1"] = 40
    assert rig.active(40) == (group not in DIR_ALLOWED[state, routing])


@each_group
def test_with_ds_set_dir_from_non_secure_state_reaches_both_groups(group: Group) -> None:
    rig = make()
    rig.gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    rig.group(40, group)
    rig.write_bit("ISACTIVER", 40)
    rig.nonsecure()["ICC_CTLR_EL1"] = CTLR_EOIMODE
    rig.gic.pe[0]["ICC_DIR_EL1"] = 40
    assert not rig.active(40)


@pytest.mark.parametrize(("field", "state"), [(4, "NS"), (3, "S"), (2, "EL3")])
def test_each_state_has_its_own_eoimode(field: int, state: str) -> None:
    rig = make()
    rig.el3()["ICC_CTLR_EL3"] = 1 << field
    group = G1NS if state != "S" else G1S
    rig.prepare(40, group=group, priority=0x90)
    for other in ("NS", "S", "EL3"):
        rig.write_bit("ISPENDR", 40)
        rig.el3()
        assert rig.iar() == 40
        enter(rig, other)
        rig.eoi(40)
        if other == state:
            assert rig.active(40), "dropped, not deactivated"
        rig.write_bit("ICACTIVER", 40)
        rig.el3()["ICC_AP1R0_EL1"] = 0
        rig.el3(scr=0)["ICC_AP1R0_EL1"] = 0
    rig.write_bit("ISPENDR", 40)
    rig.el3()
    rig.iar()
    enter(rig, "S" if state == "EL3" and group == G1S else "NS" if state == "EL3" else "EL3")
    rig.eoi(40)
    assert not rig.active(40)


# --- priorities


@pytest.mark.parametrize(("scr", "shifted"), [(SCR_NS, False), (SCR_NS | SCR_FIQ, True)])
def test_with_fiqs_routed_to_el3_non_secure_software_sees_half_of_pmr_and_rpr(scr: int, shifted: bool) -> None:
    rig = make()
    pe = rig.nonsecure(scr=scr)
    assert pe["ICC_PMR_EL1"] == (0xF0 if shifted else 0xF8)
    assert rig.rpr() == IDLE
    pe["ICC_PMR_EL1"] = 0x40
    rig.el3(scr=scr)
    assert pe["ICC_PMR_EL1"] == (0xA0 if shifted else 0x40)
    for real, seen in ((0x40, 0x00), (0x80, 0x00), (0x90, 0x20), (0xF0, 0xE0)):
        rig.el3(scr=scr)
        pe["ICC_AP1R0_EL1"] = 0
        pe["ICC_AP0R0_EL1"] = 1 << (real >> 3)
        pe["ICC_PMR_EL1"] = real
        rig.nonsecure(scr=scr)
        assert rig.rpr() == (seen if shifted else real)
        assert pe["ICC_PMR_EL1"] == (seen if shifted else real)


def test_non_secure_software_cannot_change_a_mask_of_the_secure_half() -> None:
    rig = make()
    pe = rig.el3()
    pe["ICC_PMR_EL1"] = 0x78
    rig.nonsecure(scr=SCR_NS | SCR_FIQ)
    pe["ICC_PMR_EL1"] = 0xF0
    assert pe["ICC_PMR_EL1"] == 0
    rig.el3()
    assert pe["ICC_PMR_EL1"] == 0x78
    pe["ICC_PMR_EL1"] = 0x80
    rig.nonsecure(scr=SCR_NS | SCR_FIQ)
    pe["ICC_PMR_EL1"] = 0
    rig.el3()
    assert pe["ICC_PMR_EL1"] == 0x80
    rig.nonsecure(scr=SCR_NS | SCR_FIQ)
    pe["ICC_PMR_EL1"] = 0xFF
    rig.el3()
    assert pe["ICC_PMR_EL1"] == 0xF8


@pytest.mark.parametrize(
    ("bits", "words", "secure_half"),
    [(5, 1, [0xFFFF]), (6, 2, [0xFFFF_FFFF, 0]), (8, 4, [0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0])],
)
def test_non_secure_software_cannot_create_active_priorities_of_the_secure_half(
    bits: int, words: int, secure_half: list[int]
) -> None:
    rig = make(priority_bits=bits)
    for word in range(words):
        for scr in (SCR_NS, 0):
            pe = rig.el3(scr=scr)
            pe[f"ICC_AP1R{word}_EL1"] = 0xFFFF_FFFF
            wanted = 0xFFFF_FFFF & ~secure_half[word] if scr == SCR_NS else 0xFFFF_FFFF
            assert pe[f"ICC_AP1R{word}_EL1"] == wanted


def test_an_active_priority_of_the_secure_half_that_came_by_acknowledge_is_kept_or_cleared() -> None:
    rig = make()
    rig.prepare(40, group=G1NS, priority=0x40)
    rig.raise_(40)
    pe = rig.nonsecure()
    assert rig.iar() == 40
    assert pe["ICC_AP1R0_EL1"] == 0x100
    pe["ICC_AP1R0_EL1"] = 0x3FF
    assert pe["ICC_AP1R0_EL1"] == 0x100
    pe["ICC_AP1R0_EL1"] = 0
    assert pe["ICC_AP1R0_EL1"] == 0
    assert rig.rpr() == IDLE


def test_secure_group_1_preempts_by_its_own_binary_point() -> None:
    rig = make()
    for intid, priority in ((40, 0x60), (41, 0x40)):
        rig.prepare(intid, group=G1S, priority=priority)
    pe = rig.secure()
    pe["ICC_BPR1_EL1"] = 6
    rig.nonsecure()["ICC_BPR1_EL1"] = 3
    rig.secure()
    rig.raise_(40)
    assert rig.iar() == 40
    rig.raise_(41)
    assert rig.line() == QUIET, "BPR1 of the Secure bank compares bit 7 alone"
    pe["ICC_BPR1_EL1"] = 5
    assert rig.line() == QUIET
    pe["ICC_BPR1_EL1"] = 4
    assert rig.line() == Line.IRQ


@pytest.mark.parametrize("secure", [False, True])
def test_cbpr_of_a_bank_redirects_bpr1_below_el3_only(secure: bool) -> None:
    rig = make()
    scr = 0 if secure else SCR_NS
    pe = rig.el3(scr=scr)
    pe["ICC_BPR0_EL1"], pe["ICC_BPR1_EL1"] = 4, 6
    pe["ICC_CTLR_EL3"] = 1 if secure else 2
    assert pe["ICC_BPR1_EL1"] == 6
    (rig.secure if secure else rig.nonsecure)()
    assert pe["ICC_BPR1_EL1"] == (4 if secure else 5)
    pe["ICC_BPR1_EL1"] = 3
    assert pe["ICC_BPR1_EL1"] == (3 if secure else 5)
    rig.el3(scr=scr)
    assert pe["ICC_BPR0_EL1"] == (3 if secure else 4), "a Secure write reaches BPR0, a Non-secure one nothing"
    assert pe["ICC_BPR1_EL1"] == 6
    pe["ICC_BPR1_EL1"] = 5
    assert pe["ICC_BPR1_EL1"] == 5


def test_cbpr_is_read_only_in_icc_ctlr_el1_while_there_are_two_states() -> None:
    rig = make()
    for enter_state in (rig.secure, rig.nonsecure, rig.el3):
        pe = enter_state()
        pe["ICC_CTLR_EL1"] = 3
        assert pe["ICC_CTLR_EL1"] & 3 == CTLR_EOIMODE
    rig.gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    pe = rig.nonsecure()
    pe["ICC_CTLR_EL1"] = 3
    assert pe["ICC_CTLR_EL1"] & 3 == 3


# --- SGIs

SGI_RULES = {
    # (Secure writer, register, group): the lowest GICR_NSACR field that lets it through, None for never
    (True, "ICC_SGI0R_EL1", G0): 0, (True, "ICC_SGI0R_EL1", G1S): None, (True, "ICC_SGI0R_EL1", G1NS): None,
    (True, "ICC_SGI1R_EL1", G0): None, (True, "ICC_SGI1R_EL1", G1S): 0, (True, "ICC_SGI1R_EL1", G1NS): None,
    (True, "ICC_ASGI1R_EL1", G0): None, (True, "ICC_ASGI1R_EL1", G1S): None, (True, "ICC_ASGI1R_EL1", G1NS): 0,
    (False, "ICC_SGI0R_EL1", G0): 1, (False, "ICC_SGI0R_EL1", G1S): None, (False, "ICC_SGI0R_EL1", G1NS): None,
    (False, "ICC_SGI1R_EL1", G0): 1, (False, "ICC_SGI1R_EL1", G1S): 2, (False, "ICC_SGI1R_EL1", G1NS): 0,
    (False, "ICC_ASGI1R_EL1", G0): 1, (False, "ICC_ASGI1R_EL1", G1S): 2, (False, "ICC_ASGI1R_EL1", G1NS): None,
}


@pytest.mark.parametrize(("secure", "register", "group"), SGI_RULES)
def test_the_target_decides_which_sgis_it_takes(secure: bool, register: str, group: Group) -> None:
    needed = SGI_RULES[secure, register, group]
    for field in range(4):
        rig = make(2)
        for intid in (5, 6):
            rig.prepare(intid, 1, group=group)
        rig.gic.redist[1]["GICR_NSACR"] = field << 10
        rig.gic.redist[0]["GICR_NSACR"] = 0xFFFF_FFFF
        for enter_state in ((rig.secure, rig.el3) if secure else (rig.nonsecure,)):
            enter_state(0)
            rig.sgi(5, 2, reg=register)
            assert rig.pending(5, 1) == (needed is not None and field >= needed), field
            rig.write_bit("ICPENDR", 5, 1)
        if needed:
            rig.sgi(6, 2, reg=register)
            assert not rig.pending(6, 1), "the field of another SGI does not open this one"


SGI_DS = {
    # (Secure writer, register): groups that get it with DS=1
    (True, "ICC_SGI0R_EL1"): {G0}, (True, "ICC_SGI1R_EL1"): {G0}, (True, "ICC_ASGI1R_EL1"): {G1NS},
    (False, "ICC_SGI0R_EL1"): {G0}, (False, "ICC_SGI1R_EL1"): {G0, G1NS}, (False, "ICC_ASGI1R_EL1"): {G0},
}


@pytest.mark.parametrize(("secure", "register"), SGI_DS)
@pytest.mark.parametrize("group", [G0, G1NS], ids=["G0", "G1"])
def test_with_ds_set_sgis_follow_the_table_of_one_state(secure: bool, register: str, group: Group) -> None:
    rig = make()
    rig.gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    rig.prepare(5, group=group)
    (rig.secure if secure else rig.nonsecure)()
    rig.sgi(5, 1, reg=register)
    assert rig.pending(5) == (group in SGI_DS[secure, register])


def test_nsacr_of_a_redistributor_is_hidden_with_ds_set() -> None:
    rig = make()
    rig.gic.redist[0]["GICR_NSACR"] = 0x5555_5555
    assert rig.gic.frame_read(Frame.SGI, 0xE00, secure=False) == 0
    rig.gic.frame_write(Frame.SGI, 0xE00, 0, secure=False)
    assert rig.gic.redist[0]["GICR_NSACR"] == 0x5555_5555
    rig.gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    assert rig.gic.redist[0]["GICR_NSACR"] == 0
