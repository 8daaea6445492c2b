"""1-of-N: who participates, who is chosen, when the choice moves; E1NWF, DPG and PMHE; unknown routes."""

from collections.abc import Callable
from typing import Any

import pytest
from rig import G0, G1, G1NS, G1S, SCR_NS, SPURIOUS, Group, Rig

from gicv3 import Frame, GICv3, GICv3Config, Line

IRM = 1 << 31
E1NWF = 0x80
DPG = {G0: 1 << 24, G1NS: 1 << 25, G1S: 1 << 26}


def make(cpus: int = 4, **config: Any) -> Rig:
    return Rig(cpus, one_of_n=True, **config)


def any_pe(rig: Rig, intid: int, **more: Any) -> int:
    """Configure an SPI for delivery to whoever participates."""
    rig.prepare(intid, **more)
    name, number = ("GICD_IROUTER", intid) if intid < 1024 else ("GICD_IROUTERnE", intid - 4096)
    rig.gic.dist[name, number] = IRM
    return intid


def signalled(rig: Rig) -> list[int]:
    return [pe for pe in range(rig.gic.num_pe) if rig.line(pe)]


def test_typers_tell_that_1_of_n_is_there() -> None:
    gic = make().gic
    assert not gic.dist["GICD_TYPER"] >> 25 & 1
    assert gic.redist[0]["GICR_TYPER"] >> 5 & 1
    plain = GICv3(GICv3Config(cpus=1))
    assert plain.dist["GICD_TYPER"] >> 25 & 1
    assert not plain.redist[0]["GICR_TYPER"] >> 5 & 1


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 63, 64, 65, 130])
def test_the_first_choice_is_the_intid_modulo_the_number_of_pes(cpus: int) -> None:
    rig = make(cpus, espis=32)
    for intid in (32, 33, 95, 96, 1019, 4096, 4127):
        any_pe(rig, intid, edge=True)
        rig.raise_(intid)
        assert signalled(rig) == [intid % cpus]
        assert rig.iar(pe=intid % cpus) == intid
        rig.raise_(intid, False)
        rig.eoi(intid, pe=intid % cpus)


def leave(rig: Rig, pe: int, how: str) -> None:
    """Make a PE not participate in Group 1."""
    if how == "sleep":
        rig.gic.redist[pe]["GICR_WAKER"] = 2
    elif how == "unplug":
        rig.gic.set_cpustate(pe, None, False)
    elif how == "igrpen":
        rig.gic.pe[pe]["ICC_IGRPEN1_EL1"] = 0
    elif how == "reset_cpuif":
        rig.gic.reset_cpuif(pe)
    else:
        rig.gic.redist[pe]["GICR_CTLR"] = DPG[G1NS]


LEAVING = ["sleep", "unplug", "igrpen", "reset_cpuif", "dpg"]
leaving = pytest.mark.parametrize("how", LEAVING)


@leaving
@pytest.mark.parametrize("rule", ["filter", "gate"])
def test_a_pe_that_does_not_participate_is_passed_over(how: str, rule: str) -> None:
    rig = make(4, hpp_rule=rule)
    any_pe(rig, 40)
    leave(rig, 0, how)
    leave(rig, 1, how)
    rig.raise_(40)
    assert signalled(rig) == [2]
    assert rig.iar(pe=2) == 40


@leaving
def test_a_waiting_spi_moves_on_when_its_pe_stops_participating(how: str) -> None:
    rig = make(4)
    any_pe(rig, 42)
    rig.raise_(42)
    assert signalled(rig) == [2]
    leave(rig, 2, how)
    assert signalled(rig) == [3]
    leave(rig, 3, how)
    assert signalled(rig) == [0], "and wraps"
    leave(rig, 0, how)
    assert signalled(rig) == [1]
    leave(rig, 1, how)
    assert signalled(rig) == []
    assert rig.pending(42)
    rig.gic.set_cpustate(3, None, True)
    rig.bring_up(3)
    rig.gic.redist[3]["GICR_CTLR"] = 0
    assert signalled(rig) == [3], "the first to participate again gets it"


def test_the_choice_is_kept_while_its_pe_participates() -> None:
    rig = make(4)
    any_pe(rig, 42)
    leave(rig, 2, "igrpen")
    rig.raise_(42)
    assert signalled(rig) == [3]
    rig.gic.pe[2]["ICC_IGRPEN1_EL1"] = 1
    assert signalled(rig) == [3]
    rig.priority(42, 0x40)
    assert signalled(rig) == [3], "a new priority is no reason to move"
    rig.raise_(42, False)
    rig.raise_(42)
    assert signalled(rig) == [2], "a new interrupt is a new choice"


def test_an_active_1_of_n_spi_returns_by_a_new_choice_after_deactivation() -> None:
    rig = make(4)
    any_pe(rig, 42)
    rig.raise_(42)
    assert rig.iar(pe=2) == 42
    assert signalled(rig) == []
    leave(rig, 3, "igrpen")
    rig.gic.pe[2]["ICC_PMR_EL1"] = 0
    rig.eoi(42, pe=2)
    assert signalled(rig) == []
    assert rig.hppir(pe=2) == 42
    leave(rig, 2, "igrpen")
    assert signalled(rig) == [0]


@pytest.mark.parametrize("group", [G0, G1], ids=["group0", "group1"])
def test_participation_is_by_group(group: Group) -> None:
    rig = make(2)
    any_pe(rig, 40, group=group)
    any_pe(rig, 42, group=G1 if group == G0 else G0)
    rig.gic.redist[0]["GICR_CTLR"] = DPG[group]
    rig.raise_(40)
    rig.raise_(42)
    other = 1 if group == G0 else 0
    assert rig.hppir(min(group, 1), 1) == 40
    assert rig.hppir(other, 0) == 42


def test_dpg_leaves_direct_routes_alone() -> None:
    rig = make(2)
    rig.prepare(40, 0)
    rig.gic.redist[0]["GICR_CTLR"] = sum(DPG.values())
    rig.raise_(40)
    assert signalled(rig) == [0]


def test_a_group_disabled_in_the_distributor_has_no_participants() -> None:
    rig = make(4)
    any_pe(rig, 42)
    rig.raise_(42)
    rig.gic.dist["GICD_CTLR"] = 1
    assert signalled(rig) == []
    leave(rig, 2, "igrpen")
    rig.gic.dist["GICD_CTLR"] = 3
    assert signalled(rig) == [3]


def test_changing_irm_moves_a_pending_spi() -> None:
    rig = make(4)
    rig.prepare(42, 1)
    rig.raise_(42)
    assert signalled(rig) == [1]
    rig.gic.dist["GICD_IROUTER", 42] = IRM
    assert signalled(rig) == [2]
    rig.route(42, 0)
    assert signalled(rig) == [0]


def test_many_spis_spread_and_all_move_on() -> None:
    rig = make(8, espis=64)
    intids = [*range(32, 200), *range(4096, 4160)]
    for intid in intids:
        any_pe(rig, intid, priority=0x40 + intid % 4 * 0x20, edge=True)
        rig.raise_(intid)
    assert signalled(rig) == list(range(8))
    for pe in range(7):
        leave(rig, pe, LEAVING[pe % len(LEAVING)])
        rig.gic.check()
    assert [pe for pe in signalled(rig) if rig.line(pe) == Line.IRQ] == [7]
    taken = []
    while (intid := rig.iar(pe=7)) != SPURIOUS:
        taken.append(intid)
        rig.eoi(intid, pe=7)
    assert sorted(taken) == sorted(intids)


def test_the_last_of_65536_pes_can_be_the_only_participant() -> None:
    rig = Rig(65536, ready=False, one_of_n=True)
    rig.gic.dist["GICD_CTLR"] = 3
    any_pe(rig, 40)
    rig.raise_(40)
    rig.bring_up(65535)
    assert rig.line(65535) == Line.IRQ
    rig.bring_up(39)
    rig.gic.redist[65535]["GICR_WAKER"] = 2
    assert rig.line(39) == Line.IRQ
    assert rig.iar(pe=39) == 40
    rig.gic.check()


# --- E1NWF


def test_e1nwf_lets_an_spi_wake_a_sleeper_when_nobody_participates() -> None:
    rig = make(4)
    any_pe(rig, 41)
    for pe in range(4):
        leave(rig, pe, "sleep")
    rig.raise_(41)
    assert signalled(rig) == []
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    assert rig.gic.dist["GICD_CTLR"] == 0x50 | 3 | E1NWF
    assert [rig.line(pe) for pe in range(4)] == [0, Line.WAKE, 0, 0]
    rig.gic.redist[1]["GICR_WAKER"] = 0
    assert rig.line(1) == Line.IRQ
    assert rig.iar(pe=1) == 41


def test_a_participant_is_preferred_to_a_sleeper() -> None:
    rig = make(4)
    any_pe(rig, 41)
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    for pe in (0, 1, 2):
        leave(rig, pe, "sleep")
    rig.raise_(41)
    assert signalled(rig) == [3]


def test_a_sleeper_gives_way_to_a_pe_that_begins_to_participate() -> None:
    rig = make(4)
    any_pe(rig, 41)
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    rig.gic.pe[3]["ICC_IGRPEN1_EL1"] = 0
    for pe in (0, 1, 2):
        leave(rig, pe, "sleep")
    rig.raise_(41)
    assert signalled(rig) == [1]
    rig.gic.pe[3]["ICC_IGRPEN1_EL1"] = 1
    assert signalled(rig) == [3]


def test_a_sleeper_keeps_an_spi_when_another_pe_falls_asleep() -> None:
    rig = make(4)
    any_pe(rig, 41)
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    rig.gic.pe[1]["ICC_IGRPEN1_EL1"] = 0
    for pe in (0, 2, 3):
        leave(rig, pe, "sleep")
    rig.raise_(41)
    assert signalled(rig) == [2]
    leave(rig, 1, "sleep")
    assert signalled(rig) == [2]


def test_clearing_e1nwf_takes_a_wake_request_back() -> None:
    rig = make(2)
    any_pe(rig, 40)
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    for pe in range(2):
        leave(rig, pe, "sleep")
    rig.raise_(40)
    assert signalled(rig) == [0]
    rig.gic.dist["GICD_CTLR"] = 3
    assert signalled(rig) == []


@pytest.mark.parametrize("why", ["absent", "dpg"])
def test_a_sleeper_that_is_absent_or_opted_out_is_not_woken(why: str) -> None:
    rig = make(2)
    any_pe(rig, 40)
    rig.gic.dist["GICD_CTLR"] = 3 | E1NWF
    leave(rig, 1, "sleep")
    if why == "absent":
        leave(rig, 0, "unplug")
    else:
        leave(rig, 0, "sleep")
        leave(rig, 0, "dpg")
    rig.raise_(40)
    assert signalled(rig) == [1]


def test_e1nwf_is_secure_and_exists_with_1_of_n_only() -> None:
    rig = make(security=True)
    rig.gic.frame_write(Frame.GICD, 0, E1NWF | 7, secure=False)
    assert not rig.gic.dist["GICD_CTLR"] & E1NWF
    rig.gic.frame_write(Frame.GICD, 0, E1NWF | 7, secure=True)
    assert rig.gic.dist["GICD_CTLR"] & E1NWF
    assert not rig.gic.frame_read(Frame.GICD, 0, secure=False) & E1NWF
    rig.gic.reset()
    assert not rig.gic.dist["GICD_CTLR"] & E1NWF
    plain = Rig()
    plain.gic.dist["GICD_CTLR"] = E1NWF | 3
    assert plain.gic.dist["GICD_CTLR"] == 0x53


# --- DPG and PMHE


@pytest.mark.parametrize(
    ("config", "secure", "shown"),
    [
        ({}, False, DPG[G0] | DPG[G1NS]), ({"security": True}, True, sum(DPG.values())),
        ({"security": True}, False, DPG[G1NS]),
    ],
)
def test_dpg_bits_are_there_for_those_who_own_the_group(config: dict[str, Any], secure: bool, shown: int) -> None:
    gic = make(1, **config).gic
    gic.frame_write(Frame.RD, 0, 0xFFFF_FFFF, secure=secure)
    assert gic.frame_read(Frame.RD, 0, secure=secure) == shown
    assert gic.frame_read(Frame.RD, 0, secure=True) == shown
    gic.frame_write(Frame.RD, 0, 0, secure=False)
    assert gic.frame_read(Frame.RD, 0, secure=True) == (shown & ~DPG[G1NS] if config else 0)
    gic.frame_write(Frame.RD, 0, 0xFFFF_FFFF, secure=secure)
    gic.reset()
    assert gic.frame_read(Frame.RD, 0, secure=True) == 0


def test_without_1_of_n_dpg_is_raz_wi() -> None:
    gic = GICv3(GICv3Config(cpus=1))
    gic.redist[0]["GICR_CTLR"] = 0xFFFF_FFFF
    assert gic.redist[0]["GICR_CTLR"] == 0


@pytest.mark.parametrize("group", [G0, G1S, G1NS], ids=["G0", "G1S", "G1NS"])
def test_with_two_states_each_group_is_chosen_by_its_own_participants(group: Group) -> None:
    rig = make(3, security=True)
    any_pe(rig, 42, group=group)
    rig.raise_(42)
    assert signalled(rig) == [0]
    rig.gic.redist[0]["GICR_CTLR"] = DPG[group]
    assert signalled(rig) == [1]
    rig.gic.redist[1]["GICR_CTLR"] = sum(DPG.values()) & ~DPG[group]
    assert signalled(rig) == [1], "the bits of the other groups do not matter"
    rig.gic.redist[1]["GICR_CTLR"] = DPG[group]
    assert signalled(rig) == [2]
    rig.gic.redist[2]["GICR_CTLR"] = DPG[group]
    assert signalled(rig) == []


def pmhe(rig: Rig, pe: int, pmr: int) -> None:
    rig.gic.pe[pe]["ICC_CTLR_EL1"] = 0x40
    rig.gic.pe[pe]["ICC_PMR_EL1"] = pmr


def test_pmhe_passes_a_masked_pe_over_for_one_that_takes_it() -> None:
    rig = make(3)
    any_pe(rig, 42, priority=0x80)
    pmhe(rig, 0, 0x80)
    rig.raise_(42)
    assert signalled(rig) == [1]
    rig.raise_(42, False)
    pmhe(rig, 1, 0x88)
    rig.raise_(42)
    assert signalled(rig) == [1]
    rig.raise_(42, False)
    pmhe(rig, 1, 0x80)
    pmhe(rig, 2, 0x80)
    rig.raise_(42)
    assert signalled(rig) == []
    assert rig.hppir(pe=0) == 42, "when all would mask it, the first keeps it"


def test_pmhe_is_writable_with_1_of_n_only() -> None:
    pe = make(1).gic.pe[0]
    pe["ICC_CTLR_EL1"] = 0x40
    assert pe["ICC_CTLR_EL1"] & 0x40
    pe["ICC_CTLR_EL1"] = 0
    assert not pe["ICC_CTLR_EL1"] & 0x40
    plain = Rig().gic.pe[0]
    plain["ICC_CTLR_EL1"] = 0x40
    assert not plain["ICC_CTLR_EL1"] & 0x40


def test_with_two_states_pmhe_belongs_to_el3() -> None:
    rig = make(1, security=True)
    pe = rig.nonsecure()
    pe["ICC_CTLR_EL1"] = 0x40
    assert not pe["ICC_CTLR_EL1"] & 0x40
    rig.el3()["ICC_CTLR_EL3"] = 0x40
    assert pe["ICC_CTLR_EL3"] & 0x40
    assert rig.nonsecure()["ICC_CTLR_EL1"] & 0x40


# --- moving a choice never loses or doubles an interrupt


@pytest.mark.parametrize("cpus", [3, 70])
def test_whatever_participates_an_spi_waits_at_exactly_one_pe(cpus: int) -> None:
    import random

    rng = random.Random(cpus)
    rig = make(cpus)
    any_pe(rig, 55)
    rig.raise_(55)
    changes: list[Callable[[int], None]] = [
        lambda pe: leave(rig, pe, rng.choice(LEAVING)), lambda pe: rig.gic.set_cpustate(pe, None, True),
        rig.bring_up, rig.bring_up, lambda pe: rig.gic.redist[pe].__setitem__("GICR_CTLR", 0),
    ]
    for _ in range(400):
        rng.choice(changes)(rng.randrange(cpus))
        rig.gic.check()
        assert len([pe for pe in signalled(rig) if rig.line(pe) == Line.IRQ]) <= 1
    for pe in range(cpus):
        rig.gic.set_cpustate(pe, None, True)
        rig.bring_up(pe)
        rig.gic.redist[pe]["GICR_CTLR"] = 0
    assert len(signalled(rig)) == 1


# --- unknown routes


def test_an_unknown_route_can_lead_to_the_first_pe() -> None:
    rig = Rig(3, unknown_route="first")
    rig.prepare(40, 2)
    rig.raise_(40)
    rig.gic.dist["GICD_IROUTER", 40] = 0x99
    assert rig.gic.dist["GICD_IROUTER", 40] == 0x99
    assert signalled(rig) == [0]
    rig.route(40, 1)
    assert signalled(rig) == [1]


def test_security_of_the_bank_does_not_confuse_participation() -> None:
    rig = make(2, security=True)
    any_pe(rig, 40, group=G1S)
    rig.raise_(40)
    assert signalled(rig) == [0]
    rig.el3(0, scr=0)["ICC_IGRPEN1_EL1"] = 0
    assert signalled(rig) == [1]
    rig.el3(1, scr=SCR_NS)["ICC_IGRPEN1_EL1"] = 0
    assert signalled(rig) == [1]


@pytest.mark.parametrize("espis", [32, 64, 1024])
def test_every_spi_there_is_may_wait_at_a_sleeper_that_wakes(espis: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, one_of_n=True, espis=espis))
    gic.dist["GICD_CTLR"] = E1NWF | 0x2
    for name, words in (("", range(1, 32)), ("nE", range(espis // 32))):
        for word in words:
            for register in ("IGROUPR", "ISENABLER", "ISPENDR"):
                gic.dist[f"GICD_{register}{name}", word] = 0xFFFF_FFFF
    for intid in range(32, 1020):
        gic.dist["GICD_IROUTER", intid] = IRM
    for number in range(espis):
        gic.dist["GICD_IROUTERnE", number] = IRM
    gic.check()
    gic.redist[0]["GICR_WAKER"] = 0
    gic.check()
    gic.pe[0]["ICC_PMR_EL1"] = 0xF0
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    assert gic.pe[0]["ICC_IAR1_EL1"] == 32
    gic.check()
