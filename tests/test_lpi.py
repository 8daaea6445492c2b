"""LPIs of a redistributor: enabling, tables in memory, priorities, acknowledge and end."""

import random

import pytest

import gicv3
from gicv3 import ConfigError, GICv3, GICv3Config, Line
from tests.lpis import CES, ENABLE_LPIS, FIRST, IR, PEND, PROP, RAM, RWP, LpiRig
from tests.rig import SPURIOUS, Rig

# --- what there is


def test_without_the_switch_there_are_no_lpis() -> None:
    rig = Rig()
    rig.gic.redist[0]["GICR_CTLR"] = ENABLE_LPIS
    assert rig.gic.redist[0]["GICR_CTLR"] == 0
    assert rig.gic.redist[0]["GICR_TYPER"] & 0b1001 == 0
    assert rig.gic.dist["GICD_TYPER"] >> 17 & 1 == 0
    assert rig.gic.lpi_pending(0) == []
    assert "lpi" not in rig.gic.counters(0)


def test_identification_tells_of_lpis() -> None:
    gic = LpiRig(enable=False, id_bits=20).gic
    assert gic.dist["GICD_TYPER"] >> 17 & 1 == 1
    assert gic.dist["GICD_TYPER"] >> 19 & 31 == 19
    assert gic.redist[0]["GICR_TYPER"] & 0b1001 == 0b1001
    assert gic.redist[0]["GICR_CTLR"] == CES | IR
    assert GICv3(GICv3Config(cpus=1, lpis=True)).redist[0]["GICR_TYPER"] & 0b1001 == 0b0001
    assert GICv3(GICv3Config(cpus=1, lpis=True, lpi_invalidate=False)).redist[0]["GICR_CTLR"] == CES


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lpis": True, "id_bits": 13}, "id_bits must be in 14..24 with lpis=True, got 13"),
        ({"direct_lpi": True}, "direct_lpi needs lpis=True, got False"),
        ({"lpis": True, "lpi_config": "often"}, "lpi_config must be 'cached' or 'live', got 'often'"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GICv3Config(cpus=1, **options)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["GICR_SETLPIR", "GICR_CLRLPIR", "GICR_INVLPIR", "GICR_INVALLR", "GICR_SYNCR"])
def test_registers_of_options_that_are_off_are_holes(name: str) -> None:
    gic = GICv3(GICv3Config(cpus=1, lpis=True, lpi_invalidate=False))
    gic.redist[0][name] = FIRST
    assert gic.redist[0][name] == 0
    assert gic.totals()["bad_access"] == 2


# --- base registers


@pytest.mark.parametrize(
    ("name", "ones"), [("GICR_PROPBASER", 0x070F_FFFF_FFFF_FF9F), ("GICR_PENDBASER", 0x070F_FFFF_FFFF_0F80)]
)
def test_base_registers_keep_their_fields_and_are_fixed_while_lpis_are_enabled(name: str, ones: int) -> None:
    redist = LpiRig(enable=False).gic.redist[0]
    for value, kept in ((0xFFFF_FFFF_FFFF_FFFF, ones), (0, 0), (RAM | 15, RAM | 15 if "PROP" in name else RAM)):
        redist[name] = value
        assert redist[name] == kept
    redist["GICR_CTLR"] = ENABLE_LPIS
    before = redist[name]
    redist[name] = 0xFFFF_FFFF_FFFF_FFFF
    assert redist[name] == before
    redist["GICR_CTLR"] = 0
    redist[name] = 0
    assert redist[name] == 0


def test_base_registers_take_halves() -> None:
    rig = LpiRig(enable=False)
    frame, base = gicv3.Frame.RD, 0x70
    rig.gic.frame_write(frame, base, 0x1234_5000 | 15, 4)
    rig.gic.frame_write(frame, base + 4, 0x0700_0001, 4)
    assert rig.gic.redist[0]["GICR_PROPBASER"] == 0x0700_0001_1234_500F
    assert rig.gic.frame_read(frame, base + 4, 4) == 0x0700_0001


# --- pending, acknowledge, end


def test_an_lpi_is_signalled_acknowledged_and_ended_without_an_active_state() -> None:
    rig = LpiRig()
    rig.lpi(FIRST + 5)
    assert rig.line() == Line.IRQ
    assert rig.hppir() == FIRST + 5
    assert rig.iar() == FIRST + 5
    assert rig.lpis() == []
    assert rig.line() == 0
    assert rig.rpr() == 0xA0
    rig.lpi(FIRST + 5)  # pends again while the first is being served; equal priority does not preempt
    assert rig.lpis() == [FIRST + 5]
    assert rig.line() == 0
    rig.eoi(FIRST + 5)
    assert rig.rpr() == 0xFF
    assert rig.iar() == FIRST + 5
    assert rig.gic.counters(0)["lpi"] == 2


def test_with_eoimode_1_an_lpi_needs_no_deactivation() -> None:
    rig = LpiRig()
    rig.gic.pe[0]["ICC_CTLR_EL1"] = 2
    rig.lpi(FIRST)
    assert rig.iar() == FIRST
    rig.eoi(FIRST)
    assert rig.rpr() == 0xFF
    rig.gic.pe[0]["ICC_DIR_EL1"] = FIRST
    rig.lpi(FIRST)
    assert rig.iar() == FIRST


def test_ending_an_intid_beyond_id_bits_is_ignored_and_the_last_one_is_not() -> None:
    rig = LpiRig(id_bits=14)
    last = (1 << 14) - 1
    rig.lpi(last)
    assert rig.iar() == last
    rig.eoi(last + 1)
    assert rig.rpr() == 0xA0
    rig.eoi(last)
    assert rig.rpr() == 0xFF


@pytest.mark.parametrize("bits", [14, 16, 18, 19, 20, 24])
def test_the_first_and_the_last_lpi_of_a_size_are_taken_and_their_neighbours_discarded(bits: int) -> None:
    rig = LpiRig(id_bits=bits, config=0xA1)
    if bits == 24:  # its configuration table is larger than the rig's memory
        rig.gic.memory.map(RAM + (4 << 20), bytearray(b"\xa1") * (1 << 24))
    last = (1 << bits) - 1
    for intid in (FIRST - 1, last + 1, 0, 0xFFFF_FFFF):
        rig.lpi(intid)
        assert rig.lpis() == []
    assert rig.gic.totals()["lpi_discarded"] == 4
    rig.lpi(last, FIRST)
    assert rig.lpis() == [FIRST, last]
    assert rig.take_all() == [FIRST, last]


def test_propbaser_limits_the_lpis_of_its_redistributor() -> None:
    rig = LpiRig(enable=False)
    rig.tables(bits=14)
    rig.enable_lpis()
    rig.lpi((1 << 14) - 1, 1 << 14)
    assert rig.lpis() == [(1 << 14) - 1]
    assert rig.gic.totals()["lpi_discarded"] == 1


def test_id_bits_below_14_in_propbaser_leave_no_lpis() -> None:
    rig = LpiRig(enable=False)
    rig.tables(bits=13)
    rig.enable_lpis()
    assert rig.gic.redist[0]["GICR_CTLR"] & ENABLE_LPIS
    rig.lpi(FIRST)
    assert rig.lpis() == []
    assert rig.gic.totals()["lpi_discarded"] == 1
    rig.enable_lpis(on=False)
    assert rig.gic.totals()["lpi_table_faults"] == 0


def test_while_lpis_are_disabled_they_are_discarded_and_counted() -> None:
    rig = LpiRig(enable=False)
    rig.lpi(FIRST)
    assert rig.gic.totals()["lpi_discarded"] == 0  # GICR_SETLPIR itself is ignored
    rig.enable_lpis()
    assert rig.lpis() == []


def test_setting_twice_pends_once_and_clearing_takes_it_back() -> None:
    rig = LpiRig()
    rig.lpi(FIRST, FIRST)
    assert rig.lpis() == [FIRST]
    rig.gic.redist[0]["GICR_CLRLPIR"] = FIRST + 1
    assert rig.line() == Line.IRQ
    rig.gic.redist[0]["GICR_CLRLPIR"] = FIRST
    assert (rig.lpis(), rig.line(), rig.iar()) == ([], 0, SPURIOUS)


def test_set_and_clear_take_a_lower_half_and_ignore_an_upper_one() -> None:
    rig = LpiRig()
    rig.gic.frame_write(gicv3.Frame.RD, 0x44, FIRST, 4)
    assert rig.lpis() == []
    assert rig.gic.totals()["lpi_discarded"] == 0
    rig.gic.frame_write(gicv3.Frame.RD, 0x40, FIRST, 4)
    assert rig.lpis() == [FIRST]
    rig.gic.frame_write(gicv3.Frame.RD, 0x4C, FIRST, 4)
    assert rig.lpis() == [FIRST]


def test_lpis_belong_to_group_1_and_its_enables() -> None:
    rig = LpiRig()
    rig.gic.dist["GICD_CTLR"] = 1
    rig.lpi(FIRST)
    assert rig.line() == 0
    rig.gic.dist["GICD_CTLR"] = 2
    assert rig.line() == Line.IRQ
    rig.gic.pe[0]["ICC_IGRPEN1_EL1"] = 0
    assert rig.line() == 0
    rig.gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    assert rig.iar(group=0) == SPURIOUS
    assert rig.iar() == FIRST


def test_a_sleeping_pe_is_asked_to_wake() -> None:
    rig = LpiRig()
    rig.gic.redist[0]["GICR_WAKER"] = 2
    rig.lpi(FIRST)
    assert rig.line() == Line.WAKE
    rig.gic.redist[0]["GICR_WAKER"] = 0
    assert rig.line() == Line.IRQ


def test_lpis_compete_with_spis_and_ppis_by_priority_then_intid() -> None:
    rig = LpiRig()
    rig.prepare(40, priority=0xA0)
    rig.prepare(20, priority=0xB0)
    rig.configure(FIRST + 1, 0x91, 0)
    rig.lpi(FIRST, FIRST + 1)
    rig.raise_(40)
    rig.raise_(20)
    order = []
    for _ in range(4):
        intid = rig.iar()
        order.append(intid)
        if intid < 1020:
            rig.raise_(intid, False)
        rig.eoi(intid)
    assert order == [FIRST + 1, 40, FIRST, 20]


@pytest.mark.parametrize("tie", ["lowest", "highest"])
def test_lpis_that_join_others_of_their_word_are_served_in_order(tie: str) -> None:
    rig = LpiRig(tie=tie)
    rig.configure(FIRST + 999, 0x41, 0)
    rig.lpi(FIRST + 5, FIRST + 999)
    assert rig.iar() == FIRST + 999  # what is left stands behind it
    rig.eoi(FIRST + 999)
    better, worse = (FIRST + 3, FIRST + 7) if tie == "lowest" else (FIRST + 7, FIRST + 3)
    rig.lpi(better, worse)
    assert rig.take_all() == [better, FIRST + 5, worse]


def test_a_higher_priority_lpi_preempts() -> None:
    rig = LpiRig()
    rig.lpi(FIRST)
    assert rig.iar() == FIRST
    rig.configure(FIRST + 1, 0x41, 0)
    rig.lpi(FIRST + 1)
    assert rig.line() == Line.IRQ
    assert rig.iar() == FIRST + 1
    assert rig.rpr() == 0x40
    rig.eoi(FIRST + 1)
    rig.eoi(FIRST)
    assert rig.rpr() == 0xFF


# --- enabling and disabling


def test_enabling_reads_the_pending_table_beyond_its_first_kilobyte() -> None:
    rig = LpiRig(enable=False)
    wanted = [FIRST, FIRST + 1, FIRST + 63, FIRST + 64, 0xFFFF]
    for intid in (0, 5, FIRST - 1, *wanted):
        rig.set_table_bit(intid)
    rig.enable_lpis()
    assert rig.lpis() == wanted
    assert rig.take_all() == wanted


@pytest.mark.parametrize("ptz", [False, True])
def test_ptz_says_that_the_table_need_not_be_read(ptz: bool) -> None:
    rig = LpiRig(enable=False)
    rig.set_table_bit(FIRST)
    rig.tables(ptz=ptz)
    assert rig.gic.redist[0]["GICR_PENDBASER"] >> 62 & 1 == 0
    rig.enable_lpis()
    assert rig.lpis() == ([] if ptz else [FIRST])


def test_disabling_writes_what_is_pending_and_nothing_else_of_the_table() -> None:
    rig = LpiRig(enable=False)
    start = PEND - RAM
    rig.ram[start : start + 0x2001] = b"\xff" * 0x2001
    rig.tables(ptz=True)
    rig.configure(FIRST + 9, 0)
    rig.enable_lpis()
    rig.lpi(FIRST, FIRST + 9, 0xFFFF)
    rig.enable_lpis(on=False)
    assert rig.line() == 0
    assert rig.gic.redist[0]["GICR_CTLR"] == CES | IR
    assert rig.lpis() == []
    table = rig.ram[start : start + 0x2001]
    assert table[:1024] == b"\xff" * 1024
    assert table[0x2000] == 0xFF
    bits = [n for n in range(FIRST, 0x1_0000) if table[n // 8] >> n % 8 & 1]
    assert bits == [FIRST, FIRST + 9, 0xFFFF]
    rig.enable_lpis()
    assert rig.lpis() == bits


def test_rwp_tells_when_disabling_is_done() -> None:
    rig = LpiRig(settle_steps=3)
    rig.enable_lpis(on=False)
    assert rig.gic.redist[0]["GICR_CTLR"] & RWP
    rig.gic.step(3)
    assert rig.gic.redist[0]["GICR_CTLR"] & RWP == 0


def test_reset_forgets_lpis_and_writes_no_memory() -> None:
    rig = LpiRig()
    rig.lpi(FIRST)
    before = bytes(rig.ram)
    fresh = LpiRig(enable=False, ready=False)
    rig.gic.reset()
    assert rig.ram == before
    for name in ("GICR_PROPBASER", "GICR_PENDBASER"):
        assert rig.gic.redist[0][name] == 0
        fresh.gic.redist[0][name] = 0
    assert rig.gic.redist[0]["GICR_CTLR"] == CES | IR
    assert (rig.lpis(), rig.line()) == ([], 0)
    rig.gic.reset_cpuif(0)
    assert rig.gic.state_digest() == fresh.gic.state_digest()


def test_the_digest_tells_lpi_state_apart_and_not_its_history() -> None:
    rig, other = LpiRig(), LpiRig()
    empty = rig.gic.state_digest()
    rig.lpi(FIRST, FIRST + 1, FIRST + 2)
    assert rig.gic.state_digest() != empty
    rig.gic.redist[0]["GICR_CLRLPIR"] = FIRST + 1
    other.lpi(FIRST + 2)
    assert rig.gic.state_digest() != other.gic.state_digest()
    other.lpi(FIRST)
    assert rig.gic.state_digest() == other.gic.state_digest()
    assert rig.take_all() == other.take_all() == [FIRST, FIRST + 2]
    assert rig.gic.state_digest() == empty


# --- bad tables


def test_a_configuration_table_that_is_not_there_disables_its_lpis() -> None:
    rig = LpiRig(enable=False)
    rig.gic.redist[0]["GICR_PROPBASER"] = 0x9_0000_0000 | 15
    rig.enable_lpis()
    rig.lpi(FIRST)
    assert (rig.lpis(), rig.line()) == ([FIRST], 0)
    assert rig.gic.totals()["lpi_table_faults"] == 1
    rig.gic.memory.map(0x9_0000_0000, bytearray(b"\xa1") * 0x1_0000)
    rig.gic.redist[0]["GICR_INVALLR"] = 0
    assert rig.line() == Line.IRQ


def test_a_table_may_end_where_memory_ends_and_not_after() -> None:
    rig = LpiRig(enable=False, id_bits=14)
    end = RAM + len(rig.ram)
    rig.gic.redist[0]["GICR_PROPBASER"] = end - 0x1000 | 13  # 8 KB, of which 4 KB are there
    rig.ram[-0x1000:] = b"\xa1" * 0x1000
    rig.enable_lpis()
    rig.lpi(FIRST + 0xFFF, FIRST + 0x1000)
    assert rig.gic.totals()["lpi_table_faults"] == 1
    assert rig.take_all() == [FIRST + 0xFFF]
    assert rig.lpis() == [FIRST + 0x1000]


def test_a_pending_table_that_is_not_there_loses_its_own_lpis_only() -> None:
    rig = LpiRig(2, enable=False)
    rig.gic.redist[0]["GICR_PENDBASER"] = 0x9_0000_0000
    for pe in range(2):
        rig.enable_lpis(pe)
    assert rig.gic.totals()["lpi_table_faults"] == 1
    rig.lpi(FIRST, FIRST + 1, 0xFFFF, pe=0)
    rig.lpi(FIRST, pe=1)
    for pe in range(2):
        rig.enable_lpis(pe, on=False)
    assert rig.gic.totals()["lpi_table_faults"] == 2
    assert rig.gic.totals()["lpi_lost"] == 3
    assert rig.table_bit(FIRST, pe=1)


def test_read_only_memory_cannot_hold_a_pending_table() -> None:
    rig = LpiRig(enable=False)
    rig.gic.memory.map(0x9_0000_0000, bytes(0x1_0000), writable=False)
    rig.gic.redist[0]["GICR_PENDBASER"] = 0x9_0000_0000
    rig.enable_lpis()
    rig.lpi(FIRST)
    rig.enable_lpis(on=False)
    assert (rig.gic.totals()["lpi_lost"], rig.gic.totals()["lpi_table_faults"]) == (1, 1)


# --- many


@pytest.mark.parametrize("id_bits", [14, 16, 20])
@pytest.mark.parametrize("tie", ["lowest", "highest"])
def test_random_lpis_come_in_order_of_priority_and_intid(id_bits: int, tie: str) -> None:
    chance = random.Random(id_bits)
    rig = LpiRig(id_bits=id_bits, tie=tie, priority_bits=8)
    intids = chance.sample(range(FIRST, 1 << id_bits), 2000)
    for intid in intids:
        rig.configure(intid, chance.choice((0x00, 0x40, 0x80, 0xF8)) | chance.randrange(0, 256, 4) & 0x3C | 1)
    rig.lpi(*intids)
    rig.gic.check()
    for intid in intids[:500]:
        rig.gic.redist[0]["GICR_CLRLPIR"] = intid
    rig.gic.check()
    sign = -1 if tie == "highest" else 1
    byte = {intid: rig.ram[PROP - RAM + intid - FIRST] & 0xFC for intid in intids}
    expected = sorted(intids[500:], key=lambda intid: (byte[intid], sign * intid))
    assert rig.lpis() == sorted(intids[500:])
    assert rig.take_all() == expected


def test_random_changes_of_configuration_leave_the_order_that_a_fresh_redistributor_finds() -> None:
    chance = random.Random(7)
    rig = LpiRig(2)
    intids = chance.sample(range(FIRST, 1 << 16), 300)
    for intid in intids:
        rig.lpi(intid)
        rig.set_table_bit(intid, pe=1)
    for _ in range(900):
        rig.configure(chance.choice(intids), chance.randrange(256), 0)
    rig.gic.check()
    rig.enable_lpis(1, on=False)
    for intid in intids:
        rig.set_table_bit(intid, pe=1)
    rig.enable_lpis(1)
    assert rig.take_all(0) == rig.take_all(1) != []
    assert rig.lpis(0) == rig.lpis(1) != []


# --- explain


def first_gate(rig: LpiRig, intid: int = FIRST) -> str:
    return rig.gic.explain(intid, 0).blocking[0].name


def test_explain_names_what_keeps_an_lpi_back() -> None:
    rig = LpiRig(enable=False, config=0xA0)
    assert first_gate(rig) == "LPI tables"
    rig.enable_lpis()
    assert first_gate(rig) == "pending"
    rig.lpi(FIRST)
    assert first_gate(rig) == "enabled"
    rig.configure(FIRST, 0xA1, 0)
    told = rig.gic.explain(FIRST, 0)
    assert told.delivered
    assert told.output == "IRQ"
    rig.lpi(FIRST + 1)
    assert first_gate(rig, FIRST + 1) == "enabled"
    assert first_gate(rig, 1 << 16) == "implemented"
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0x80
    assert first_gate(rig) == "priority mask"
    assert "priority 0xa0 is not above ICC_PMR_EL1 = 0x80" in str(rig.gic.explain(FIRST, 0))


def test_explain_tells_missing_tables_from_tables_that_are_too_small() -> None:
    rig = LpiRig(enable=False)
    rig.tables(bits=13)
    assert "EnableLPIs is 0" in rig.gic.explain(FIRST, 0).blocking[0].found
    rig.enable_lpis()
    assert "IDbits is below 13" in rig.gic.explain(FIRST, 0).blocking[0].found
    small = LpiRig(enable=False)
    small.tables(bits=14)
    small.enable_lpis()
    assert "end with INTID 16383" in small.gic.explain(16384, 0).blocking[0].found
    assert small.gic.explain(16383, 0).blocking[0].name == "pending"


def test_explain_tells_at_which_pe_an_lpi_is_pending() -> None:
    rig = LpiRig(3, config=0xA0)
    assert "not pending at any PE" in rig.gic.explain(FIRST, 0).blocking[0].found
    rig.gic.redist[2]["GICR_SETLPIR"] = FIRST
    assert "pending at PE 2, not here" in str(rig.gic.explain(FIRST, 0))
    here = {gate.name: gate for gate in rig.gic.explain(FIRST, 2).gates}
    assert here["pending"].is_open
    assert "GICR_PENDBASER" in here["pending"].found
    assert not here["enabled"].is_open
    assert "GICR_PROPBASER + 0x0" in here["enabled"].found


def test_explain_does_not_name_a_priority_that_was_not_read() -> None:
    rig = LpiRig()
    shade = {gate.name: gate.found for gate in rig.gic.explain(FIRST, 0).gates}
    assert "read with its configuration byte" in shade["priority mask"]
    rig.lpi(FIRST)
    shade = {gate.name: gate.found for gate in rig.gic.explain(FIRST, 0).gates}
    assert "priority 0xa0 is above" in shade["priority mask"]


def test_explain_does_not_tell_a_redistributor_of_what_another_ones_table_has() -> None:
    rig = LpiRig(2)
    rig.lpi(FIRST)  # cached, of the table of PE 0
    rig.enable_lpis(1, on=False)
    rig.gic.redist[1]["GICR_PROPBASER"] = PROP + 0x8_0000 | 15
    rig.enable_lpis(1)
    gate = next(gate for gate in rig.gic.explain(FIRST, 1).gates if gate.name == "enabled")
    assert (gate.is_open, gate.found.endswith("is read when it becomes pending")) == (True, True)


def test_explain_says_that_a_configuration_table_is_not_in_memory() -> None:
    rig = LpiRig(enable=False)
    rig.gic.redist[0]["GICR_PROPBASER"] = 0x9000_0000 | 15
    rig.enable_lpis()
    for _ in range(2):
        gate = next(gate for gate in rig.gic.explain(FIRST, 0).blocking if gate.name == "enabled")
        assert gate.found == "its configuration byte (GICR_PROPBASER + 0x0) is not in guest memory"
        assert "Map memory there" in str(gate.remedy)
        rig.lpi(FIRST)
