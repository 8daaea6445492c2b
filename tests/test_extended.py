"""GICv3.1 and options: extended ranges, message-based SPIs, non-maskable interrupts, STATUSR."""

from typing import Any

import pytest
from rig import G0, G1, G1NS, G1S, IDLE, SCR_FIQ, SCR_NS, SPURIOUS, Group, Rig

from gicv3 import Frame, GICv3, GICv3Config, Line

QUIET = Line(0)
NMI_BIT = 1 << 63
NMI_NS_BIT = 1 << 62


# --- extended ranges


@pytest.mark.parametrize("espis", [0, 32, 1024])
def test_typer_and_ctlr_report_the_extended_spis(espis: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, espis=espis))
    typer = gic.dist["GICD_TYPER"]
    assert typer >> 8 & 1 == (espis > 0)
    assert typer >> 27 == (espis // 32 - 1 if espis else 0)
    assert gic.pe[0]["ICC_CTLR_EL1"] >> 19 & 1 == (espis > 0)


@pytest.mark.parametrize("eppis", [0, 32, 64])
def test_typer_and_ctlr_report_the_extended_ppis(eppis: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, eppis=eppis))
    assert gic.redist[0]["GICR_TYPER"] >> 27 & 31 == eppis // 32
    assert gic.pe[0]["ICC_CTLR_EL1"] >> 19 & 1 == (eppis > 0)


@pytest.mark.parametrize("intid", [1056, 1087, 1088, 1119, 4096, 4127, 5119])
@pytest.mark.parametrize("group", [G0, G1], ids=["group0", "group1"])
def test_the_first_and_last_extended_interrupts_live_a_whole_life(intid: int, group: Group) -> None:
    rig = Rig(2, espis=1024, eppis=64)
    rig.prepare(intid, 1, group=group, priority=0x48, edge=True)
    rig.raise_(intid, pe=1)
    rig.raise_(intid, False, pe=1)
    assert rig.line(0) == QUIET
    assert rig.line(1) == (Line.FIQ if group == G0 else Line.IRQ)
    number = min(group, 1)
    assert rig.hppir(number, 1) == rig.iar(number, 1) == intid
    assert rig.rpr(1) == 0x48
    assert rig.active(intid, 1)
    assert not rig.pending(intid, 1)
    rig.eoi(intid, number, 1)
    assert not rig.active(intid, 1)


def test_extended_interrupts_do_not_share_state_with_those_a_register_block_away() -> None:
    rig = Rig(espis=1024, eppis=64, spis=988)
    for intid in (1056, 4096, 4128):
        rig.prepare(intid, priority=0x40, edge=True)
        rig.write_bit("ISPENDR", intid)
        rig.write_bit("ISACTIVER", intid)
    for intid in (0, 32, 64, 1088, 4160, 5088):
        for kind in ("ISENABLER", "ISPENDR", "ISACTIVER", "IGROUPR"):
            assert not rig.bit(kind, intid), (kind, intid)


# --- message-based SPIs

SET_NSR, CLR_NSR, SET_SR, CLR_SR = 0x40, 0x48, 0x50, 0x58
by_frame = pytest.mark.parametrize("frame", [Frame.GICD, Frame.GICM], ids=["GICD", "GICM"])


def messages(**config: Any) -> Rig:
    return Rig(message_spis=True, message_frame=0x0A00_0000, espis=32, **config)


@by_frame
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("intid", [40, 4100])
def test_a_message_makes_an_edge_spi_pending_until_acknowledged_or_cleared(
    frame: Frame, size: int, intid: int
) -> None:
    rig = messages()
    rig.prepare(intid, edge=True)
    rig.gic.frame_write(frame, SET_NSR, intid, size)
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid
    assert not rig.pending(intid)
    rig.gic.frame_write(frame, SET_NSR, intid, size)
    rig.eoi(intid)
    assert rig.line() == Line.IRQ
    rig.gic.frame_write(frame, CLR_NSR, intid, size)
    assert rig.line() == QUIET
    assert rig.iar() == SPURIOUS


@by_frame
@pytest.mark.parametrize("offset", [SET_NSR, CLR_NSR, SET_SR, CLR_SR])
def test_a_message_of_16_bits_goes_to_the_lower_half_of_its_register(frame: Frame, offset: int) -> None:
    rig = messages(security=True)
    digest = rig.gic.state_digest()
    rig.gic.frame_write(frame, offset, 40, 2, True)
    assert rig.gic.totals()["bad_access"] == 0
    assert (rig.gic.state_digest() != digest) == (offset in (SET_NSR, SET_SR))
    digest = rig.gic.state_digest()
    rig.gic.frame_write(frame, offset + 2, 41, 2, True)
    assert rig.gic.totals()["bad_access"] == 1
    assert rig.gic.state_digest() == digest


@by_frame
def test_a_message_is_the_wire_of_a_level_spi_until_another_clears_it(frame: Frame) -> None:
    rig = messages()
    rig.prepare(40, edge=False)
    rig.gic.frame_write(frame, SET_NSR, 40)
    assert rig.iar() == 40
    assert rig.pending(40), "active and pending: acknowledging does not lower a level"
    rig.eoi(40)
    rig.write_bit("ICPENDR", 40)
    assert rig.line() == Line.IRQ
    rig.gic.frame_write(frame, CLR_NSR, 40)
    assert not rig.pending(40)
    assert rig.line() == QUIET


def test_message_level_wire_and_latch_are_apart() -> None:
    rig = messages()
    rig.prepare(40, edge=False)
    dist = rig.gic.dist
    dist["GICD_SETSPI_NSR"] = 40
    rig.raise_(40)
    dist["GICD_CLRSPI_NSR"] = 40
    assert rig.pending(40), "the wire is still high"
    rig.raise_(40, False)
    assert not rig.pending(40)
    rig.write_bit("ISPENDR", 40)
    dist["GICD_SETSPI_NSR"] = 40
    rig.write_bit("ICPENDR", 40)
    assert not rig.pending(40), "SETSPI has no effect on an SPI that is pending already"
    rig.write_bit("ISPENDR", 40)
    dist["GICD_CLRSPI_NSR"] = 40
    assert rig.pending(40), "CLRSPI on a level SPI lowers the message level, not the latch"


def test_clearing_lowers_a_message_level_left_from_before_the_spi_became_edge_triggered() -> None:
    rig = messages()
    rig.prepare(40, edge=False)
    dist = rig.gic.dist
    dist["GICD_SETSPI_NSR"] = 40
    rig.field("ICFGR", 2, 40, 2)
    dist["GICD_CLRSPI_NSR"] = 40
    rig.field("ICFGR", 2, 40, 0)
    assert rig.pending(40), "as an edge it was not pending, so there was nothing to clear"
    rig.field("ICFGR", 2, 40, 2)
    rig.write_bit("ISPENDR", 40)
    dist["GICD_CLRSPI_NSR"] = 40
    rig.field("ICFGR", 2, 40, 0)
    assert not rig.pending(40)


@pytest.mark.parametrize("intid", [0, 20, 31, 1020, 1023, 1056, 4128, 8191])
def test_a_message_to_what_is_no_spi_has_no_effect(intid: int) -> None:
    rig = messages()
    digest = rig.gic.state_digest()
    for offset in (SET_NSR, CLR_NSR):
        for frame in (Frame.GICD, Frame.GICM):
            rig.gic.frame_write(frame, offset, intid)
    assert rig.gic.state_digest() == digest


def test_a_message_names_an_intid_of_13_bits() -> None:
    rig = messages()
    rig.prepare(40, edge=True)
    rig.gic.dist["GICD_SETSPI_NSR"] = 0xFFFF_E000 | 40
    assert rig.pending(40)


def test_typer_reports_message_spis_and_the_frame_describes_them() -> None:
    rig = messages(spis=96)
    assert rig.gic.dist["GICD_TYPER"] >> 16 & 1
    assert not GICv3(GICv3Config(cpus=1)).dist["GICD_TYPER"] >> 16 & 1
    assert rig.gic.message["GICM_TYPER", 0] == 1 << 31 | 1 << 30 | 32 << 16 | 96
    assert rig.gic.message["GICM_TYPER", 1] == rig.gic.message["GICM_TYPER", 0]
    assert rig.gic.mmio_read(0x0A00_0FCC) == rig.gic.mmio_read(0x0A00_FFCC) == 0x43B


MESSAGE_RULES = {
    # (register, Secure access): the lowest GICD_NSACR field that lets it reach a Secure SPI, None for never
    (SET_NSR, True): 0, (CLR_NSR, True): 0, (SET_NSR, False): 1, (CLR_NSR, False): 2,
    (SET_SR, True): 0, (CLR_SR, True): 0, (SET_SR, False): None, (CLR_SR, False): None,
}


@pytest.mark.parametrize(("offset", "secure"), MESSAGE_RULES)
@pytest.mark.parametrize("group", [G0, G1S, G1NS], ids=["G0", "G1S", "G1NS"])
@by_frame
def test_messages_reach_secure_spis_as_nsacr_allows(offset: int, secure: bool, group: Group, frame: Frame) -> None:
    needed = MESSAGE_RULES[offset, secure]
    for field in range(4):
        rig = messages(security=True)
        rig.prepare(40, group=group, edge=True, enable=False)
        rig.field("NSACR", 2, 40, field)
        clears = offset in (CLR_NSR, CLR_SR)
        if clears:
            rig.write_bit("ISPENDR", 40)
        rig.gic.frame_write(frame, offset, 40, secure=secure)
        reached = needed is not None and (field >= needed or group == G1NS)
        assert rig.pending(40) == (clears ^ reached), field


@pytest.mark.parametrize("secure", [False, True])
def test_with_one_state_the_nsr_pair_serves_all_and_the_sr_pair_nothing(secure: bool) -> None:
    rig = messages(security=True)
    rig.gic.frame_write(Frame.GICD, 0, 0x43, secure=True)
    rig.prepare(40, group=G0, edge=True)
    rig.gic.frame_write(Frame.GICD, SET_SR, 40, secure=secure)
    assert not rig.pending(40)
    rig.gic.frame_write(Frame.GICD, SET_NSR, 40, secure=secure)
    assert rig.pending(40)
    rig.gic.frame_write(Frame.GICD, CLR_SR, 40, secure=secure)
    assert rig.pending(40)
    rig.gic.frame_write(Frame.GICD, CLR_NSR, 40, secure=secure)
    assert not rig.pending(40)


# --- non-maskable interrupts

NMI_KINDS = {"sgi": 3, "ppi": 20, "spi": 40, "eppi": 1060, "espi": 4100}
nmi_kind = pytest.mark.parametrize("intid", NMI_KINDS.values(), ids=NMI_KINDS)


def nmi_rig(intid: int = 40, *, security: bool = False, group: Group = G1, **more: Any) -> Rig:
    """An NMI source, configured; SCTLR_EL1.NMI set."""
    rig = Rig(nmi=True, espis=32, eppis=32, security=security, **more)
    rig.prepare(intid, group=group, priority=0xC0)
    rig.field("INMIR", 1, intid, 1)
    rig.nonsecure(nmi=True)
    return rig


@nmi_kind
def test_an_nmi_is_signalled_on_its_line_and_acknowledged_by_nmiar1(intid: int) -> None:
    rig = nmi_rig(intid)
    pe = rig.gic.pe[0]
    pe["ICC_PMR_EL1"] = 0
    rig.raise_(intid)
    assert rig.line() == Line.NMI
    assert rig.iar() == 1022
    assert rig.hppir() == intid
    assert not rig.active(intid)
    assert pe["ICC_NMIAR1_EL1"] == intid
    assert rig.active(intid)
    assert rig.rpr() == NMI_BIT
    assert pe["ICC_AP1R0_EL1"] == NMI_BIT
    assert pe["ICC_NMIAR1_EL1"] == SPURIOUS
    rig.raise_(intid, False)
    rig.eoi(intid)
    assert not rig.active(intid)
    assert rig.rpr() == IDLE
    assert pe["ICC_AP1R0_EL1"] == 0
    assert rig.line() == QUIET


def test_typer_reports_nmi() -> None:
    assert nmi_rig().gic.dist["GICD_TYPER"] >> 9 & 1
    assert not Rig().gic.dist["GICD_TYPER"] >> 9 & 1


def test_without_sctlr_nmi_an_nmi_is_an_irq_that_iar1_takes() -> None:
    rig = nmi_rig()
    rig.nonsecure(nmi=False)
    rig.raise_(40)
    assert rig.line() == Line.IRQ
    assert rig.iar() == 40
    assert rig.rpr() == NMI_BIT


def test_nmiar1_takes_nothing_but_an_nmi() -> None:
    rig = nmi_rig()
    rig.prepare(41, priority=0)
    rig.raise_(41)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == SPURIOUS
    assert rig.line() == Line.IRQ
    rig.raise_(40)
    assert rig.line() == Line.NMI, "an NMI goes before an equal priority"
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 40
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == SPURIOUS


@nmi_kind
def test_a_group_0_interrupt_is_never_an_nmi(intid: int) -> None:
    rig = nmi_rig(intid)
    rig.raise_(intid)
    rig.group(intid, G0)
    assert rig.line() == Line.FIQ
    assert not rig.bit("INMIR", intid)
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0xC0
    assert rig.line() == QUIET, "its own priority counts again"
    rig.field("INMIR", 1, intid, 1)
    assert not rig.bit("INMIR", intid)
    rig.group(intid, G1)
    assert rig.bit("INMIR", intid), "the property was kept while Group 0 hid it"
    assert rig.line() == Line.NMI


@nmi_kind
def test_the_priority_of_an_nmi_is_res0(intid: int) -> None:
    rig = nmi_rig(intid)
    view, key, number = rig._place("IPRIORITYR", intid, 4, 0)
    assert view[key] >> 8 * number & 0xFF == 0
    view[key] = 0xFFFF_FFFF
    rig.field("INMIR", 1, intid, 0)
    assert view[key] >> 8 * number & 0xFF == 0xC0


@nmi_kind
def test_taking_the_property_away_makes_a_pending_interrupt_maskable(intid: int) -> None:
    rig = nmi_rig(intid)
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0x80
    rig.raise_(intid)
    assert rig.line() == Line.NMI
    rig.field("INMIR", 1, intid, 0)
    assert rig.line() == QUIET
    rig.field("INMIR", 1, intid, 1)
    assert rig.line() == Line.NMI


def test_an_nmi_preempts_the_highest_priority_once() -> None:
    rig = nmi_rig()
    rig.prepare(41, priority=0)
    rig.prepare(42, priority=0xC0)
    rig.field("INMIR", 1, 42, 1)
    rig.raise_(41)
    assert rig.iar() == 41
    rig.raise_(40)
    assert rig.line() == Line.NMI
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 40
    assert rig.rpr() == NMI_BIT
    rig.raise_(42)
    assert rig.line() == QUIET, "an NMI does not preempt an NMI"
    rig.raise_(40, False)
    rig.eoi(40)
    assert rig.rpr() == 0
    assert rig.line() == Line.NMI
    rig.raise_(42, False)
    rig.raise_(41, False)
    rig.eoi(41)
    assert rig.rpr() == IDLE


def test_the_nmi_flag_can_be_saved_and_restored() -> None:
    rig = nmi_rig()
    rig.raise_(40)
    pe = rig.gic.pe[0]
    pe["ICC_AP1R0_EL1"] = NMI_BIT
    assert rig.rpr() == NMI_BIT
    assert rig.line() == QUIET
    pe["ICC_AP1R0_EL1"] = 0
    assert rig.line() == Line.NMI


@pytest.mark.parametrize(
    ("group", "state", "line"),
    [
        (G1NS, "NS", Line.NMI), (G1NS, "S", Line.FIQ), (G1NS, "EL3", Line.FIQ),
        (G1S, "NS", Line.FIQ), (G1S, "S", Line.NMI), (G1S, "EL3", Line.FIQ),
    ],
)
def test_with_two_states_an_nmi_of_the_other_state_is_a_plain_fiq(group: Group, state: str, line: Line) -> None:
    rig = nmi_rig(security=True, group=group)
    rig.raise_(40)
    rig.gic.set_context(0, el=3 if state == "EL3" else 1, secure=state != "NS", nmi_enabled=True)
    assert rig.line() == line


@pytest.mark.parametrize(
    ("pmr", "state", "signalled"),
    [(0x78, "NS", False), (0x80, "NS", True), (0x80, "S", False), (0x88, "S", True), (0x80, "EL3", False)],
)
def test_the_mask_of_the_secure_half_masks_a_non_secure_nmi(pmr: int, state: str, signalled: bool) -> None:
    rig = nmi_rig(security=True, group=G1NS)
    rig.raise_(40)
    rig.el3()["ICC_PMR_EL1"] = pmr
    rig.gic.set_context(0, el=3 if state == "EL3" else 1, secure=state != "NS", nmi_enabled=True)
    assert (rig.line() != QUIET) == signalled


def test_no_mask_stops_a_secure_nmi() -> None:
    rig = nmi_rig(security=True, group=G1S)
    rig.raise_(40)
    rig.el3()["ICC_PMR_EL1"] = 0
    assert rig.line() == Line.FIQ
    assert rig.iar() == 40


@pytest.mark.parametrize(("scr", "priority"), [(SCR_NS, 0), (SCR_NS | SCR_FIQ, 0)])
def test_rpr_tells_each_state_about_its_nmi(scr: int, priority: int) -> None:
    rig = nmi_rig(security=True, group=G1NS)
    rig.raise_(40)
    pe = rig.gic.pe[0]
    assert pe["ICC_NMIAR1_EL1"] == 40
    rig.nonsecure(scr=scr)
    assert rig.rpr() == NMI_BIT | priority
    rig.secure()
    assert rig.rpr() == NMI_NS_BIT | 0x80
    assert rig.el3()["ICC_AP1R0_EL1"] == NMI_BIT
    assert rig.el3(scr=0)["ICC_AP1R0_EL1"] == 0
    rig.el3(scr=0)["ICC_AP1R0_EL1"] = NMI_BIT
    assert rig.rpr() == NMI_BIT | NMI_NS_BIT
    rig.nonsecure()
    assert rig.rpr() == NMI_BIT


@pytest.mark.parametrize(("group", "register", "state"), [(G0, 0, "EL3"), (G0, 0, "S"), (G1S, 1, "S"), (G1S, 1, "EL3")])
def test_eoir_ends_the_secure_interrupt_that_preempted_a_non_secure_nmi_first(
    group: Group, register: int, state: str
) -> None:
    rig = nmi_rig(security=True, group=G1NS)
    rig.prepare(41, group=group, priority=0x40)
    rig.raise_(40)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 40
    rig.raise_(41)
    rig.gic.set_context(0, el=3 if state == "EL3" else 1, secure=True, scr_el3=SCR_NS)
    assert rig.line() != QUIET
    assert rig.iar(register) == 41
    assert rig.rpr() & 0xFF == 0x40
    rig.raise_(41, False)
    rig.eoi(41, register)
    assert not rig.active(41)
    assert rig.rpr() == NMI_NS_BIT | 0x80
    rig.raise_(40, False)
    rig.nonsecure(nmi=True)
    rig.eoi(40)
    assert not rig.active(40)
    assert rig.rpr() == IDLE


def test_eoir1_ends_the_nmi_before_a_lower_priority_of_its_group() -> None:
    rig = nmi_rig(security=True, group=G1NS)
    rig.prepare(41, group=G1NS, priority=0xA0)
    rig.raise_(41)
    assert rig.iar() == 41
    rig.raise_(40)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 40
    rig.raise_(40, False)
    rig.eoi(40)
    assert rig.rpr() == 0xA0


@pytest.mark.parametrize("setting", ["ds", "reset"])
def test_the_running_priority_of_an_nmi_follows_a_change_of_security_states(setting: str) -> None:
    rig = nmi_rig(security=True, group=G1NS)
    rig.raise_(40)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 40
    rig.gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    rig.gic.check()
    assert rig.rpr() == NMI_BIT
    if setting == "reset":
        rig.gic.reset()
        rig.gic.check()
        rig.secure()
        assert rig.rpr() == NMI_NS_BIT | 0x80


@pytest.mark.parametrize("frame", [Frame.GICD, Frame.SGI], ids=["spi", "private"])
def test_non_secure_software_reaches_inmir_of_its_own_interrupts_and_leaves_the_others(frame: Frame) -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True, nmi=True, spis=32))
    word = 4 if frame == Frame.GICD else 0
    gic.frame_write(frame, 0x80 + word, 0x0000_00FF, secure=True)
    gic.frame_write(frame, 0xD00 + word, 0x0000_FF00, secure=True)
    gic.frame_write(frame, 0xF80 + word, 0xFFFF_FFFF, secure=True)
    assert gic.frame_read(frame, 0xF80 + word, secure=True) == 0xFFFF
    assert gic.frame_read(frame, 0xF80 + word, secure=False) == 0x00FF
    gic.frame_write(frame, 0xF80 + word, 0, secure=False)
    assert gic.frame_read(frame, 0xF80 + word, secure=True) == 0xFF00


# --- STATUSR

RRD, WRD, RWOD, WROD = 1, 2, 4, 8
FAULTS = {
    "read of a hole": (lambda gic, s: gic.frame_read(Frame.GICD, 0x14, secure=s), RRD),
    "write of a hole": (lambda gic, s: gic.frame_write(Frame.GICD, 0x14, 1, secure=s), WRD),
    "read of a write-only register": (lambda gic, s: gic.frame_read(Frame.GICD, 0x40, secure=s), RWOD),
    "write of a read-only register": (lambda gic, s: gic.frame_write(Frame.GICD, 0x04, 1, secure=s), WROD),
    "wrong size": (lambda gic, s: gic.frame_read(Frame.GICD, 0x04, 1, secure=s), RRD),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_statusr_records_a_bad_access_for_its_security_state_until_cleared(fault: str, secure: bool) -> None:
    gic = GICv3(GICv3Config(cpus=1, statusr=True, security=True, message_spis=True))
    make, bit = FAULTS[fault]
    make(gic, secure)
    assert gic.frame_read(Frame.GICD, 0x10, secure=secure) == bit
    assert gic.frame_read(Frame.GICD, 0x10, secure=not secure) == 0
    gic.frame_write(Frame.GICD, 0x10, 0xF & ~bit, secure=secure)
    assert gic.frame_read(Frame.GICD, 0x10, secure=secure) == bit
    gic.frame_write(Frame.GICD, 0x10, bit, secure=not secure)
    assert gic.frame_read(Frame.GICD, 0x10, secure=secure) == bit
    gic.frame_write(Frame.GICD, 0x10, bit, secure=secure)
    assert gic.frame_read(Frame.GICD, 0x10, secure=secure) == 0
    assert gic.redist[0]["GICR_STATUSR"] == 0


@pytest.mark.parametrize("frame", [Frame.RD, Frame.SGI])
def test_statusr_of_a_redistributor_records_bad_accesses_to_its_frames(frame: Frame) -> None:
    gic = GICv3(GICv3Config(cpus=2, statusr=True))
    gic.frame_read(frame, 0x8000, index=1)
    gic.frame_write(frame, 0x8000, 1, index=1)
    assert gic.redist[1]["GICR_STATUSR"] == RRD | WRD
    gic.frame_write(Frame.RD, 0x04, 1, index=1)
    assert gic.redist[1]["GICR_STATUSR"] == RRD | WRD | WROD
    assert gic.redist[0]["GICR_STATUSR"] == 0
    assert gic.dist["GICD_STATUSR"] == 0
    gic.redist[1]["GICR_STATUSR"] = WRD
    assert gic.redist[1]["GICR_STATUSR"] == RRD | WROD
    gic.reset()
    assert gic.redist[1]["GICR_STATUSR"] == 0


def test_with_one_state_there_is_one_statusr() -> None:
    gic = GICv3(GICv3Config(cpus=1, statusr=True))
    gic.frame_read(Frame.GICD, 0x14, secure=False)
    assert gic.frame_read(Frame.GICD, 0x10, secure=True) == gic.frame_read(Frame.GICD, 0x10, secure=False) == RRD


def test_bad_accesses_are_counted_with_and_without_statusr() -> None:
    for statusr in (False, True):
        gic = GICv3(GICv3Config(cpus=1, statusr=statusr))
        for number in range(1, 4):
            gic.frame_read(Frame.GICD, 0x14)
            assert gic.totals() == {"bad_access": number, "sgi_dropped": 0}


def test_aarch32_leaves_the_nmi_flag_alone() -> None:
    gic = GICv3(GICv3Config(cpus=1, nmi=True))
    gic.pe[0]["ICC_AP1R0_EL1"] = NMI_BIT | 1 << 4
    assert gic.cp15_access(0, 0, 12, 9, 0).value == 1 << 4
    gic.cp15_access(0, 0, 12, 9, 0, 1 << 5)
    assert gic.pe[0]["ICC_AP1R0_EL1"] == NMI_BIT | 1 << 5
