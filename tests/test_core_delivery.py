"""From an input to an acknowledge: wires and latches, groups and gates, sleep, routing. One security state."""

import pytest
from rig import G0, G1, IDLE, SPURIOUS, Group, Rig

from gicv3 import Line

WIRED = {"ppi": 20, "spi": 40, "eppi": 1070, "espi": 4200}
ALL = {"sgi": 3, **WIRED}
wired = pytest.mark.parametrize("intid", WIRED.values(), ids=WIRED)
any_kind = pytest.mark.parametrize("intid", ALL.values(), ids=ALL)
both_groups = pytest.mark.parametrize(("group", "line"), [(G0, Line.FIQ), (G1, Line.IRQ)], ids=["group0", "group1"])
QUIET = Line(0)


def make(cpus: int = 1, **config: object) -> Rig:
    return Rig(cpus, espis=256, eppis=64, **config)


# --- level, edge and latch


@wired
def test_a_level_interrupt_follows_its_wire(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=False)
    for _ in range(2):
        rig.raise_(intid)
        assert rig.pending(intid)
        assert rig.line() == Line.IRQ
        rig.raise_(intid, False)
        assert not rig.pending(intid)
        assert rig.line() == QUIET


@wired
def test_a_level_interrupt_held_high_is_active_and_pending_and_returns_after_eoi(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=False)
    rig.raise_(intid)
    assert rig.iar() == intid
    assert rig.pending(intid)
    assert rig.active(intid)
    assert rig.line() == QUIET
    assert rig.iar() == SPURIOUS
    rig.eoi(intid)
    assert not rig.active(intid)
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid
    rig.raise_(intid, False)
    assert not rig.pending(intid)
    rig.eoi(intid)
    assert rig.line() == QUIET


@wired
def test_an_edge_interrupt_latches_and_outlives_its_wire(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=True)
    rig.raise_(intid)
    rig.raise_(intid, False)
    assert rig.pending(intid)
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid
    assert not rig.pending(intid)
    rig.eoi(intid)
    assert rig.line() == QUIET


@wired
def test_an_edge_interrupt_held_high_is_taken_once(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=True)
    rig.raise_(intid)
    assert rig.iar() == intid
    assert not rig.pending(intid)
    rig.raise_(intid)
    rig.eoi(intid)
    assert rig.line() == QUIET
    rig.raise_(intid, False)
    assert not rig.pending(intid)
    rig.raise_(intid)
    assert rig.line() == Line.IRQ


@any_kind
def test_an_edge_during_service_is_delivered_after_eoi(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=None if intid < 16 else True)
    rig.raise_(intid)
    assert rig.iar() == intid
    if intid >= 16:
        rig.raise_(intid, False)
    rig.raise_(intid)
    assert rig.pending(intid)
    assert rig.active(intid)
    assert rig.line() == QUIET
    rig.eoi(intid)
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid


@wired
def test_edges_before_an_acknowledge_merge(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=True)
    for _ in range(3):
        rig.raise_(intid)
        rig.raise_(intid, False)
    assert rig.iar() == intid
    rig.eoi(intid)
    assert rig.iar() == SPURIOUS


@wired
@pytest.mark.parametrize("edge", [False, True], ids=["level", "edge"])
@pytest.mark.parametrize("high_before", [False, True], ids=["low", "high"])
def test_a_pulse_is_an_edge_and_leaves_the_wire_low(intid: int, edge: bool, high_before: bool) -> None:
    rig = make()
    rig.prepare(intid, edge=edge, enable=False)
    gic = rig.gic
    private = intid < 32 or 1056 <= intid < 4096
    if high_before:
        rig.raise_(intid)
        rig.write_bit("ICPENDR", intid)
    if private:
        gic.pulse_ppi(0, intid)
        assert gic.ppi_line(0, intid) is False
    else:
        gic.pulse_spi(intid)
        assert gic.spi_line(intid) is False
    assert rig.pending(intid) == (edge and not high_before)


@wired
def test_a_wire_reads_back_its_level(intid: int) -> None:
    rig = make()
    for level in (True, True, False, False):
        rig.raise_(intid, level)
        private = intid < 32 or 1056 <= intid < 4096
        assert (rig.gic.ppi_line(0, intid) if private else rig.gic.spi_line(intid)) is level


@wired
def test_ispendr_on_a_level_interrupt_stays_until_icpendr(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=False)
    rig.write_bit("ISPENDR", intid)
    rig.raise_(intid)
    rig.raise_(intid, False)
    assert rig.pending(intid)
    assert rig.line() == Line.IRQ
    rig.write_bit("ICPENDR", intid)
    assert not rig.pending(intid)
    assert rig.line() == QUIET


@wired
def test_acknowledge_takes_a_software_latch_but_not_a_high_wire(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=False)
    rig.write_bit("ISPENDR", intid)
    assert rig.iar() == intid
    assert not rig.pending(intid)
    rig.eoi(intid)
    rig.write_bit("ISPENDR", intid)
    rig.raise_(intid)
    assert rig.iar() == intid
    assert rig.pending(intid)


@wired
@pytest.mark.parametrize("edge", [False, True], ids=["level", "edge"])
def test_icpendr_clears_the_latch_and_not_the_wire(intid: int, edge: bool) -> None:
    rig = make()
    rig.prepare(intid, edge=edge)
    rig.raise_(intid)
    rig.write_bit("ICPENDR", intid)
    assert rig.pending(intid) is not edge
    assert rig.line() == (QUIET if edge else Line.IRQ)


@wired
def test_a_change_of_trigger_shows_at_once(intid: int) -> None:
    rig = make()
    rig.prepare(intid, edge=True)
    rig.raise_(intid)
    rig.write_bit("ICPENDR", intid)
    assert rig.line() == QUIET
    rig.edge(intid, False)
    assert rig.line() == Line.IRQ
    rig.edge(intid, True)
    assert rig.line() == QUIET


def test_sgis_are_edges_whatever_is_written_to_icfgr0() -> None:
    rig = make()
    rig.gic.redist[0]["GICR_ICFGR0"] = 0
    assert rig.gic.redist[0]["GICR_ICFGR0"] == 0xAAAA_AAAA


@wired
@pytest.mark.parametrize("edge", [False, True], ids=["level", "edge"])
def test_reset_keeps_the_wire_and_makes_no_edge_of_it(intid: int, edge: bool) -> None:
    rig = make()
    rig.prepare(intid, edge=edge)
    rig.raise_(intid)
    rig.gic.reset()
    assert rig.pending(intid), "a reset interrupt is level-sensitive: its high wire shows"
    rig.edge(intid, True)
    assert not rig.pending(intid)
    assert rig.line() == QUIET


# --- gates


@any_kind
@both_groups
def test_group_0_is_a_fiq_and_group_1_an_irq(intid: int, group: Group, line: Line) -> None:
    rig = make()
    rig.prepare(intid, group=group)
    rig.raise_(intid)
    assert rig.line() == line
    assert rig.gic.pe[0].fiq == (line == Line.FIQ)
    assert rig.gic.pe[0].irq == (line == Line.IRQ)
    assert rig.hppir(group=1 - min(group, 1)) == rig.iar(group=1 - min(group, 1)) == SPURIOUS
    assert not rig.active(intid)
    assert rig.hppir(group=min(group, 1)) == rig.iar(group=min(group, 1)) == intid
    assert rig.active(intid)


@any_kind
@both_groups
@pytest.mark.parametrize("gate", ["enable", "dist_group", "cpu_group", "pmr", "waker"])
def test_every_gate_holds_an_interrupt_back_and_lets_it_through_when_opened(
    intid: int, group: Group, line: Line, gate: str
) -> None:
    rig = make()
    rig.prepare(intid, group=group)
    rig.raise_(intid)
    gic, number = rig.gic, min(group, 1)
    pe = gic.pe[0]

    def set_gate(opened: bool) -> None:
        if gate == "enable":
            (rig.enable if opened else rig.disable)(intid)
        elif gate == "dist_group":
            gic.dist["GICD_CTLR"] = 3 if opened else 3 & ~(1 << number)
        elif gate == "cpu_group":
            pe[f"ICC_IGRPEN{number}_EL1"] = int(opened)
        elif gate == "pmr":
            pe["ICC_PMR_EL1"] = 0x88 if opened else 0x80
        else:
            gic.redist[0]["GICR_WAKER"] = 0 if opened else 2

    for _ in range(2):
        set_gate(False)
        assert rig.line() == (Line.WAKE if gate == "waker" else QUIET)
        assert rig.iar(number) == SPURIOUS
        assert rig.hppir(number) == (intid if gate == "pmr" else SPURIOUS)
        assert rig.pending(intid)
        assert not rig.active(intid)
        set_gate(True)
        assert rig.line() == line
    assert rig.iar(number) == intid


@any_kind
def test_an_interrupt_that_became_pending_behind_a_closed_gate_is_delivered_when_it_opens(intid: int) -> None:
    rig = make()
    rig.prepare(intid, enable=False)
    rig.raise_(intid)
    assert rig.pending(intid)
    assert rig.line() == QUIET
    rig.enable(intid)
    assert rig.line() == Line.IRQ


@any_kind
def test_an_active_interrupt_is_not_signalled_and_isactiver_leaves_the_running_priority(intid: int) -> None:
    rig = make()
    rig.prepare(intid)
    rig.raise_(intid)
    rig.write_bit("ISACTIVER", intid)
    assert rig.line() == QUIET
    assert rig.hppir() == SPURIOUS
    assert rig.rpr() == IDLE
    rig.write_bit("ICACTIVER", intid)
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid
    rig.write_bit("ICACTIVER", intid)
    assert rig.rpr() == 0x80, "clearing the active state is no priority drop"


@any_kind
def test_moving_a_pending_interrupt_to_the_other_group_moves_the_line(intid: int) -> None:
    rig = make()
    rig.prepare(intid)
    rig.raise_(intid)
    rig.group(intid, G0)
    assert rig.line() == Line.FIQ
    rig.group(intid, G1)
    assert rig.line() == Line.IRQ


@any_kind
def test_changing_the_priority_of_a_pending_interrupt_is_seen_at_once(intid: int) -> None:
    rig = make()
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0x80
    rig.prepare(intid, priority=0x80)
    rig.raise_(intid)
    assert rig.line() == QUIET
    rig.priority(intid, 0x78)
    assert rig.line() == Line.IRQ
    rig.priority(intid, 0x88)
    assert rig.line() == QUIET
    assert rig.hppir() == intid


def test_each_acknowledge_is_counted_by_kind() -> None:
    rig = make()
    for number, intid in enumerate(ALL.values(), 1):
        rig.prepare(intid)
        for _ in range(number):
            rig.raise_(intid)
            assert rig.iar() == intid
            rig.raise_(intid, False)
            rig.eoi(intid)
    assert rig.gic.counters(0) == {"sgi": 1, "ppi": 2 + 4, "spi": 3 + 5}
    rig.iar()
    assert rig.gic.counters(0) == {"sgi": 1, "ppi": 6, "spi": 8}, "a spurious read acknowledges nothing"


@pytest.mark.parametrize(("rule", "irq_too"), [("filter", True), ("gate", False)])
def test_hpp_rule_decides_whether_a_group_disabled_at_the_pe_hides_others(rule: str, irq_too: bool) -> None:
    rig = make(hpp_rule=rule)
    rig.prepare(40, priority=0x10, group=G0)
    rig.prepare(20, priority=0x90)
    rig.raise_(40)
    rig.raise_(20)
    rig.gic.pe[0]["ICC_IGRPEN0_EL1"] = 0
    assert rig.line() == (Line.IRQ if irq_too else QUIET)
    assert rig.hppir(0) == SPURIOUS
    assert rig.hppir(1) == (20 if irq_too else SPURIOUS)
    assert rig.iar(1) == (20 if irq_too else SPURIOUS)
    rig.gic.pe[0]["ICC_IGRPEN0_EL1"] = 1
    assert rig.line() == Line.FIQ
    assert rig.iar(0) == 40


@pytest.mark.parametrize("rule", ["filter", "gate"])
def test_a_group_disabled_in_the_distributor_never_hides_another(rule: str) -> None:
    rig = make(hpp_rule=rule)
    rig.prepare(40, priority=0x10, group=G0)
    rig.prepare(20, priority=0x90)
    rig.raise_(40)
    rig.raise_(20)
    rig.gic.dist["GICD_CTLR"] = 2
    assert rig.line() == Line.IRQ
    assert rig.iar() == 20


# --- sleep


def asleep(intid: int = 40, **config: object) -> Rig:
    rig = make(**config)
    rig.prepare(intid)
    rig.gic.redist[0]["GICR_WAKER"] = 2
    return rig


def test_waker_sleeps_and_wakes_at_once() -> None:
    rig = make()
    waker = rig.gic.redist[0]
    assert waker["GICR_WAKER"] == 0
    waker["GICR_WAKER"] = 0xFFFF_FFFF
    assert waker["GICR_WAKER"] == 6
    waker["GICR_WAKER"] = 4
    assert waker["GICR_WAKER"] == 0


@any_kind
def test_a_sleeping_pe_asks_to_be_woken_and_is_delivered_to_when_awake(intid: int) -> None:
    rig = asleep(intid)
    rig.raise_(intid)
    assert rig.line() == Line.WAKE
    assert rig.iar() == rig.hppir() == SPURIOUS
    rig.gic.redist[0]["GICR_WAKER"] = 0
    assert rig.line() == Line.IRQ
    assert rig.iar() == intid


def test_going_to_sleep_takes_a_signalled_interrupt_back() -> None:
    rig = make()
    rig.prepare(40)
    rig.raise_(40)
    rig.gic.redist[0]["GICR_WAKER"] = 2
    assert rig.line() == Line.WAKE
    rig.raise_(40, False)
    assert rig.line() == QUIET


@pytest.mark.parametrize("gate", ["enable", "dist_group"])
def test_what_the_distributor_holds_back_wakes_nobody(gate: str) -> None:
    rig = asleep()
    rig.raise_(40)
    assert rig.line() == Line.WAKE
    if gate == "enable":
        rig.disable(40)
    else:
        rig.gic.dist["GICD_CTLR"] = 1
    assert rig.line() == QUIET


@pytest.mark.parametrize("rule", ["filter", "gate"])
def test_a_cpu_interface_that_is_closed_does_not_prevent_waking(rule: str) -> None:
    rig = asleep(hpp_rule=rule)
    rig.prepare(20, priority=0)
    rig.raise_(20)
    rig.gic.redist[0]["GICR_WAKER"] = 0
    assert rig.iar() == 20
    rig.gic.redist[0]["GICR_WAKER"] = 2
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0
    rig.gic.pe[0]["ICC_IGRPEN1_EL1"] = 0
    rig.raise_(40)
    assert rig.line() == Line.WAKE


def test_the_lowest_priority_of_all_wakes_nobody_since_it_is_never_signalled() -> None:
    rig = asleep(priority_bits=8)
    rig.priority(40, 0xFF)
    rig.raise_(40)
    assert rig.line() == QUIET
    rig.priority(40, 0xFE)
    assert rig.line() == Line.WAKE


# --- routing


def test_an_spi_goes_to_the_pe_its_router_names() -> None:
    rig = make(4)
    rig.prepare(40, pe=2)
    rig.raise_(40)
    assert [rig.line(pe) for pe in range(4)] == [QUIET, QUIET, Line.IRQ, QUIET]
    assert [rig.iar(pe=pe) for pe in range(4)] == [SPURIOUS, SPURIOUS, 40, SPURIOUS]


@pytest.mark.parametrize("intid", [40, 4200])
def test_a_pending_spi_moves_with_its_route(intid: int) -> None:
    rig = make(3)
    rig.prepare(intid, pe=0)
    rig.raise_(intid)
    for pe in (1, 2, 0):
        rig.route(intid, pe)
        assert [rig.line(other) == Line.IRQ for other in range(3)] == [other == pe for other in range(3)]
        assert rig.hppir(pe=pe) == intid


def test_an_active_spi_stays_active_when_its_route_changes() -> None:
    rig = make(2)
    rig.prepare(40, pe=0)
    rig.raise_(40)
    assert rig.iar(pe=0) == 40
    rig.route(40, 1)
    assert rig.active(40)
    assert rig.line(1) == QUIET
    rig.eoi(40, pe=0)
    assert rig.line(1) == Line.IRQ, "the level is still high, and its route leads to PE 1 now"
    assert rig.line(0) == QUIET


def test_a_route_to_nowhere_keeps_the_spi_pending_and_reads_back() -> None:
    rig = make(2)
    rig.prepare(40, pe=1)
    rig.raise_(40)
    rig.gic.dist["GICD_IROUTER", 40] = 0xFF_00AB_CDEF
    assert rig.gic.dist["GICD_IROUTER", 40] == 0xFF_00AB_CDEF
    assert rig.pending(40)
    assert [rig.line(pe) for pe in range(2)] == [QUIET, QUIET]
    rig.route(40, 0)
    assert rig.line(0) == Line.IRQ


def test_irm_without_1_of_n_is_kept_and_the_affinity_routes() -> None:
    rig = make(2)
    assert rig.gic.dist["GICD_TYPER"] >> 25 & 1
    rig.prepare(40)
    rig.gic.dist["GICD_IROUTER", 40] = 1 << 31 | 1
    assert rig.gic.dist["GICD_IROUTER", 40] == 1 << 31 | 1
    rig.raise_(40)
    assert [rig.line(pe) for pe in range(2)] == [QUIET, Line.IRQ]


def test_the_reset_route_is_affinity_zero() -> None:
    rig = Rig(affinities=[0x100, 0x0])
    rig.group(40, G1)
    rig.enable(40)
    rig.raise_(40)
    assert [rig.line(pe) for pe in range(2)] == [QUIET, Line.IRQ]


def test_pes_have_private_interrupts_of_their_own() -> None:
    rig = make(3)
    for pe in range(3):
        rig.prepare(27, pe, priority=0x40 + 0x20 * pe)
    rig.raise_(27, pe=0)
    rig.raise_(27, pe=2)
    assert [rig.iar(pe=pe) for pe in range(3)] == [27, SPURIOUS, 27]
    assert [rig.rpr(pe) for pe in range(3)] == [0x40, IDLE, 0x80]
    rig.eoi(27, pe=0)
    assert [rig.active(27, pe) for pe in range(3)] == [False, False, True]


def test_an_spi_is_deactivated_by_the_pe_that_took_it_and_not_by_an_idle_one() -> None:
    rig = make(2)
    rig.prepare(40, pe=0)
    rig.raise_(40)
    assert rig.iar(pe=0) == 40
    rig.eoi(40, pe=1)
    assert rig.active(40), "PE 1 has nothing active: its EOIR is ignored whole"
    rig.eoi(40, pe=0)
    assert not rig.active(40)
