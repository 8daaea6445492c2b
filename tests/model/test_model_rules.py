"""The slow model against worked examples of the architecture reference; section numbers are its."""

from __future__ import annotations

from typing import Any

import pytest

from .config import ModelConfig
from .delivery import LINE_FIQ, LINE_IRQ, LINE_WAKE
from .model import Model
from .state import SCR_FIQ, SCR_IRQ, SCR_NS

PMR, RPR, CTLR = "ICC_PMR_EL1", "ICC_RPR_EL1", "ICC_CTLR_EL1"
IAR0, IAR1, EOIR0, EOIR1, DIR = "ICC_IAR0_EL1", "ICC_IAR1_EL1", "ICC_EOIR0_EL1", "ICC_EOIR1_EL1", "ICC_DIR_EL1"
SGI0R, SGI1R, ASGI1R = "ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1"


def started(**keywords: Any) -> Model:
    """Return a model whose PEs are awake with every group enabled and nothing masked."""
    model = Model(ModelConfig(**{"cpus": 2, "spis": 64, **keywords}))
    two_states = model.config.security
    model.frame_write("GICD", 0, 0x7, secure=True)
    for pe in range(len(model.pes)):
        model.frame_write("RD", 0x14, 0, secure=True, index=pe)
        if two_states:
            model.set_context(pe, 3, True, SCR_NS)
            model.sysreg_write(pe, "ICC_IGRPEN1_EL3", 3)
        else:
            model.sysreg_write(pe, "ICC_IGRPEN1_EL1", 1)
        model.sysreg_write(pe, "ICC_IGRPEN0_EL1", 1)
        model.sysreg_write(pe, PMR, 0xFF)
    return model


def spi(model: Model, intid: int, priority: int, group: int = 1, edge: bool = False, modifier: int = 0) -> None:
    """Set an SPI up for PE 0, enabled."""
    irq = model.spis[intid]
    irq.priority, irq.group, irq.modifier, irq.edge, irq.enabled = priority, group, modifier, edge, True


def test_a_level_spi_follows_its_wire_and_leaves_pending_with_it() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    assert model.lines() == [LINE_IRQ, 0]
    model.set_spi(40, False)
    assert model.lines() == [0, 0]


def test_a_level_spi_made_pending_by_software_outlives_its_wire() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    model.frame_write("GICD", 0x204, 1 << 8)
    model.set_spi(40, False)
    assert model.frame_read("GICD", 0x284) == 1 << 8
    model.frame_write("GICD", 0x284, 1 << 8)
    assert model.frame_read("GICD", 0x204) == 0


def test_icpendr_does_not_silence_a_high_wire() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    model.frame_write("GICD", 0x284, 1 << 8)
    assert model.lines()[0] == LINE_IRQ


def test_an_edge_is_kept_once_and_again_while_active() -> None:
    model = started()
    spi(model, 40, 0x80, edge=True)
    model.set_spi(40, True)
    model.set_spi(40, True)
    assert model.sysreg_read(0, IAR1) == 40
    assert not model.is_pending(model.spis[40])
    model.set_spi(40, False)
    model.pulse_spi(40)
    assert model.is_pending(model.spis[40])
    assert model.lines()[0] == 0
    model.sysreg_write(0, EOIR1, 40)
    assert model.lines()[0] == LINE_IRQ


def test_acknowledge_runs_at_the_priority_and_eoi_drops_it() -> None:
    model = started()
    spi(model, 40, 0x48)
    model.set_spi(40, True)
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == 40
    assert model.sysreg_read(0, IAR1) == 40
    assert model.sysreg_read(0, RPR) == 0x48
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 1 << 9
    assert model.frame_read("GICD", 0x304) == 1 << 8
    model.sysreg_write(0, EOIR1, 40)
    assert model.sysreg_read(0, RPR) == 0xFF
    assert model.sysreg_read(0, IAR1) == 40  # the wire is still high


def test_eoimode_1_needs_dir_and_eoimode_0_ignores_it() -> None:
    model = started()
    spi(model, 40, 0x48)
    model.set_spi(40, True)
    model.sysreg_read(0, IAR1)
    model.sysreg_write(0, DIR, 40)
    assert model.spis[40].active
    model.sysreg_write(0, CTLR, 2)
    model.sysreg_write(0, EOIR1, 40)
    assert model.sysreg_read(0, RPR) == 0xFF
    assert model.spis[40].active
    model.sysreg_write(0, DIR, 40)
    assert not model.spis[40].active


@pytest.mark.parametrize(("register", "intid"), [(IAR0, 1023), (IAR1, 40)])
def test_an_acknowledge_register_takes_its_own_group_only(register: str, intid: int) -> None:
    model = started()
    spi(model, 40, 0x48)
    model.set_spi(40, True)
    assert model.sysreg_read(0, register) == intid


def test_eoi_with_the_other_groups_register_is_ignored_whole() -> None:
    model = started()
    spi(model, 40, 0x48)
    model.set_spi(40, True)
    model.sysreg_read(0, IAR1)
    model.sysreg_write(0, EOIR0, 40)
    assert model.sysreg_read(0, RPR) == 0x48
    assert model.spis[40].active


@pytest.mark.parametrize(("bits", "lowest"), [(4, 0xF0), (5, 0xF8), (6, 0xFC), (7, 0xFE), (8, 0xFF)])
def test_unimplemented_priority_bits_are_not_stored(bits: int, lowest: int) -> None:
    model = started(priority_bits=bits)
    model.frame_write("GICD", 0x420, 0xFF, 1)
    model.sysreg_write(0, PMR, 0xFF)
    assert model.frame_read("GICD", 0x420, 1) == lowest
    assert model.sysreg_read(0, PMR) == lowest


def test_the_lowest_level_is_reported_but_never_signalled() -> None:
    model = started()
    spi(model, 40, 0xF8)
    model.set_spi(40, True)
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == 40
    assert model.lines()[0] == 0


def test_priority_0xff_is_not_even_reported() -> None:
    model = started(priority_bits=8)
    spi(model, 40, 0xFF)
    model.set_spi(40, True)
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == 1023


@pytest.mark.parametrize(("bits", "bpr0", "bpr1"), [(4, 3, 4), (5, 2, 3), (6, 1, 2), (7, 0, 1), (8, 0, 1)])
def test_binary_points_clamp_to_their_minimum(bits: int, bpr0: int, bpr1: int) -> None:
    model = started(priority_bits=bits)
    for name, minimum in (("ICC_BPR0_EL1", bpr0), ("ICC_BPR1_EL1", bpr1)):
        assert model.sysreg_read(0, name) == minimum
        model.sysreg_write(0, name, 0)
        assert model.sysreg_read(0, name) == minimum
        model.sysreg_write(0, name, 7)
        assert model.sysreg_read(0, name) == 7


@pytest.mark.parametrize(("group", "point", "preempts"), [(1, 4, True), (1, 5, False), (0, 3, True), (0, 4, False)])
def test_preemption_compares_group_priorities(group: int, point: int, preempts: bool) -> None:
    model = started()
    spi(model, 40, 0x90, group)
    spi(model, 41, 0x80, group)
    model.sysreg_write(0, f"ICC_BPR{group}_EL1", point)
    model.set_spi(40, True)
    model.sysreg_read(0, IAR1 if group else IAR0)
    model.set_spi(41, True)
    assert (model.lines()[0] != 0) == preempts  # 0x90 and 0x80 differ in bit 4


def test_cbpr_gives_group_1_the_unshifted_mask_of_bpr0() -> None:
    model = started()
    model.sysreg_write(0, "ICC_BPR0_EL1", 3)
    model.sysreg_write(0, CTLR, 1)
    assert model.sysreg_read(0, "ICC_BPR1_EL1") == 4
    model.sysreg_write(0, "ICC_BPR1_EL1", 7)
    assert model.sysreg_read(0, "ICC_BPR1_EL1") == 4
    assert model.group_mask(model.pes[0], "G1NS") == 0xF0
    model.sysreg_write(0, "ICC_BPR0_EL1", 7)
    assert model.group_mask(model.pes[0], "G1NS") == 0


@pytest.mark.parametrize(("rule", "running", "bit"), [("minimum", 0x68, 13), ("bpr", 0x40, 8)])
def test_the_active_priority_bit_follows_the_chosen_rule(rule: str, running: int, bit: int) -> None:
    model = started(apr_rule=rule)
    spi(model, 40, 0x68)
    model.sysreg_write(0, "ICC_BPR1_EL1", 6)  # group bits [7:6]
    model.set_spi(40, True)
    model.sysreg_read(0, IAR1)
    assert model.sysreg_read(0, RPR) == running
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 1 << bit


@pytest.mark.parametrize(("rule", "shown", "line"), [("filter", 41, LINE_IRQ), ("gate", 1023, 0)])
def test_a_group_disabled_at_the_cpu_interface_hides_others_only_by_the_gate_rule(
    rule: str, shown: int, line: int
) -> None:
    model = started(hpp_rule=rule)
    spi(model, 40, 0x40, group=0)
    spi(model, 41, 0x80, group=1)
    model.set_spi(40, True)
    model.set_spi(41, True)
    model.sysreg_write(0, "ICC_IGRPEN0_EL1", 0)
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == shown
    assert model.lines()[0] == line


@pytest.mark.parametrize(("register", "group", "arrives"), [
    (SGI0R, 0, True), (SGI0R, 1, False), (SGI1R, 0, True), (SGI1R, 1, True), (ASGI1R, 0, True), (ASGI1R, 1, False),
])  # fmt: skip
def test_sgis_of_a_single_security_state(register: str, group: int, arrives: bool) -> None:
    model = started()
    model.pes[1].irqs[5].group = group
    model.sysreg_write(0, register, 5 << 24 | 1 << 1)
    assert model.is_pending(model.pes[1].irqs[5]) == arrives


def test_a_broadcast_sgi_spares_its_sender_and_ignores_the_affinity() -> None:
    model = started(cpus=3)
    model.sysreg_write(1, SGI0R, 5 << 24 | 1 << 40 | 0xFF << 16)
    assert [pe.irqs[5].latch for pe in model.pes] == [True, False, True]


@pytest.mark.parametrize(("selector", "reached"), [(False, 0x02), (True, 0x12)])
def test_the_range_selector_counts_only_where_it_is_supported(selector: bool, reached: int) -> None:
    model = started(affinities=(0x00, 0x02, 0x12), cpus=None, range_selector=selector)
    model.sysreg_write(0, SGI0R, 5 << 24 | 1 << 44 | 1 << 2)
    assert [pe.affinity for pe in model.pes if pe.irqs[5].latch] == [reached]


def test_a_route_no_pe_has_keeps_the_interrupt_pending_until_it_is_changed() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.frame_write("GICD", 0x6000 + 8 * 40, 0x77_7F12_3456_0000 | 1, 8)
    model.set_spi(40, True)
    assert model.lines() == [0, 0]
    model.frame_write("GICD", 0x6000 + 8 * 40, 1, 8)
    assert model.lines() == [0, LINE_IRQ]


def test_irouter_keeps_its_fields_and_no_reserved_bit() -> None:
    model = started()
    model.frame_write("GICD", 0x6000 + 8 * 40, 0xFFFF_FFFF_FFFF_FFFF, 8)
    assert model.frame_read("GICD", 0x6000 + 8 * 40, 8) == 0xFF_80FF_FFFF
    model.frame_write("GICD", 0x6000 + 8 * 40 + 4, 0)
    assert model.frame_read("GICD", 0x6000 + 8 * 40, 8) == 0x80FF_FFFF


def test_a_sleeping_pe_takes_nothing_and_asks_to_be_woken() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.frame_write("RD", 0x14, 2)
    assert model.frame_read("RD", 0x14) == 6
    model.set_spi(40, True)
    assert model.lines()[0] == LINE_WAKE
    model.frame_write("RD", 0x14, 0)
    assert model.lines()[0] == LINE_IRQ


def test_an_unplugged_pe_is_silent_and_its_spi_waits_for_it() -> None:
    model = started()
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    model.sysreg_write(1, SGI0R, 5 << 24 | 1)
    model.set_cpustate(0, None, False)
    model.sysreg_write(1, SGI0R, 6 << 24 | 1)
    assert model.lines()[0] == 0
    assert model.frame_read("SGI", 0x200) == 0
    assert model.frame_read("RD", 0x14) == 6
    model.set_cpustate(0, "cpu", True)
    model.frame_write("RD", 0x14, 0)
    for name, value in (("ICC_IGRPEN1_EL1", 1), (PMR, 0xFF)):
        model.sysreg_write(0, name, value)
    assert model.lines()[0] == LINE_IRQ


@pytest.mark.parametrize(("offset", "size"), [(0x100, 1), (0x100, 2), (0x100, 8), (0x102, 4), (0x420, 2), (0x421, 4)])
def test_a_wrong_width_or_alignment_reads_zero(offset: int, size: int) -> None:
    model = started()
    model.frame_write("GICD", 0x104, 0xFFFF_FFFF)
    model.frame_write("GICD", 0x420, 0x8080_8080)
    model.frame_write("GICD", offset, (1 << 8 * size) - 1, size)
    assert model.frame_read("GICD", offset, size) == 0
    assert model.frame_read("GICD", 0x420) == 0x8080_8080


@pytest.mark.parametrize(("group", "modifier", "name"), [(0, 0, "G0"), (0, 1, "G1S"), (1, 0, "G1NS"), (1, 1, "G1NS")])
def test_the_group_matrix(group: int, modifier: int, name: str) -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group, modifier=modifier)
    assert model.group_of(model.spis[40]) == name


@pytest.mark.parametrize(("name", "el", "secure", "line"), [
    ("G0", 1, False, LINE_FIQ), ("G0", 1, True, LINE_FIQ), ("G0", 3, True, LINE_FIQ),
    ("G1S", 1, False, LINE_FIQ), ("G1S", 1, True, LINE_IRQ), ("G1S", 3, True, LINE_FIQ),
    ("G1NS", 1, False, LINE_IRQ), ("G1NS", 1, True, LINE_FIQ), ("G1NS", 3, True, LINE_FIQ),
])  # fmt: skip
def test_the_line_depends_on_group_and_state(name: str, el: int, secure: bool, line: int) -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group=int(name == "G1NS"), modifier=int(name == "G1S"))
    model.set_spi(40, True)
    model.set_context(0, el, secure)
    assert model.lines()[0] == line


@pytest.mark.parametrize(("nsacr", "ispendr", "icpendr", "isactiver", "irouter"), [
    (0, 0, 0, 0, 0), (1, 1, 0, 0, 0), (2, 1, 1, 1, 0), (3, 1, 1, 1, 1),
])  # fmt: skip
def test_nsacr_opens_a_secure_spi_step_by_step(
    nsacr: int, ispendr: int, icpendr: int, isactiver: int, irouter: int
) -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group=0)
    irq = model.spis[40]
    irq.latch, irq.active, irq.route, irq.nsacr = True, True, 1, nsacr

    def opened(offset: int, size: int = 4) -> int:
        return int(model.frame_read("GICD", offset, size, secure=False) != 0)

    found = (opened(0x204), opened(0x284), opened(0x304), opened(0x6000 + 8 * 40, 8))
    assert found == (ispendr, icpendr, isactiver, irouter)
    assert opened(0x104) == opened(0x428, 1) == opened(0xC08) == opened(0x84) == 0
    model.frame_write("GICD", 0x384, 1 << 8, secure=False)
    assert irq.active


def test_the_nonsecure_view_of_priorities() -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group=1)
    model.frame_write("GICD", 0x428, 0x50, 1, secure=False)
    assert model.spis[40].priority == 0xA8
    assert model.frame_read("GICD", 0x428, 1, secure=False) == 0x50
    model.set_context(0, 1, False, SCR_NS | SCR_FIQ)
    assert model.sysreg_read(0, PMR) == 0xF0
    model.sysreg_write(0, PMR, 0x40)
    assert model.pes[0].pmr == 0xA0
    model.pes[0].pmr = 0x70
    model.sysreg_write(0, PMR, 0xFF)
    assert model.pes[0].pmr == 0x70
    assert model.sysreg_read(0, PMR) == 0
    assert model.sysreg_read(0, RPR) == 0xFF


@pytest.mark.parametrize(("name", "register", "el", "secure", "shown"), [
    ("G0", IAR0, 1, False, 1023), ("G0", IAR0, 1, True, 40), ("G0", IAR0, 3, True, 40), ("G0", IAR1, 3, True, 1023),
    ("G1S", IAR0, 3, True, 1020), ("G1NS", IAR0, 3, True, 1021), ("G1NS", IAR0, 1, True, 1023),
    ("G1S", IAR1, 1, False, 1023), ("G1S", IAR1, 1, True, 40), ("G1S", IAR1, 3, True, 40),
    ("G1NS", IAR1, 1, True, 1023), ("G1NS", IAR1, 1, False, 40), ("G1NS", IAR1, 3, True, 40),
])  # fmt: skip
def test_acknowledge_shows_each_state_what_it_may_see(
    name: str, register: str, el: int, secure: bool, shown: int
) -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group=int(name == "G1NS"), modifier=int(name == "G1S"))
    model.set_spi(40, True)
    model.set_context(0, el, secure)
    assert model.sysreg_read(0, register) == shown
    assert model.spis[40].active == (shown == 40)


@pytest.mark.parametrize(("el", "secure", "register", "group0", "kind", "target"), [
    (1, False, "ICC_IAR0_EL1", SCR_FIQ, "trap", 3), (1, False, "ICC_IAR1_EL1", SCR_FIQ, "value", 0),
    (1, False, "ICC_IAR1_EL1", SCR_IRQ, "trap", 3), (2, False, "ICC_BPR1_EL1", SCR_IRQ, "trap", 3),
    (1, False, "ICC_PMR_EL1", SCR_FIQ, "value", 0), (1, False, "ICC_PMR_EL1", SCR_FIQ | SCR_IRQ, "trap", 3),
    (3, True, "ICC_PMR_EL1", SCR_FIQ | SCR_IRQ, "value", 0), (0, False, "ICC_PMR_EL1", 0, "undefined", 0),
    (2, False, "ICC_CTLR_EL3", 0, "undefined", 0), (3, True, "ICC_CTLR_EL3", 0, "value", 0),
    (1, False, "ICC_SRE_EL2", 0, "undefined", 0), (2, False, "ICC_SRE_EL2", 0, "value", 0),
    (1, False, "ICC_EOIR0_EL1", 0, "undefined", 0),
])  # fmt: skip
def test_who_may_reach_a_register(el: int, secure: bool, register: str, group0: int, kind: str, target: int) -> None:
    model = started(security=True)
    model.set_context(0, el, secure, group0 | (0 if secure else SCR_NS))
    access = model.sysreg_access(0, register)
    assert (access.kind, access.target_el) == (kind, target)


@pytest.mark.parametrize(("register", "nsacr", "group", "modifier", "arrives"), [
    (SGI0R, 0, 0, 0, False), (SGI0R, 1, 0, 0, True), (SGI0R, 3, 0, 1, False), (SGI0R, 3, 1, 0, False),
    (SGI1R, 0, 1, 0, True), (SGI1R, 1, 0, 0, True), (SGI1R, 1, 0, 1, False), (SGI1R, 2, 0, 1, True),
    (ASGI1R, 0, 0, 1, False), (ASGI1R, 2, 0, 1, True), (ASGI1R, 3, 1, 0, False),
])  # fmt: skip
def test_nonsecure_sgis_to_secure_ones_need_gicr_nsacr(
    register: str, nsacr: int, group: int, modifier: int, arrives: bool
) -> None:
    model = started(security=True)
    irq = model.pes[1].irqs[5]
    irq.group, irq.modifier = group, modifier
    model.frame_write("SGI", 0xE00, nsacr << 10, secure=True, index=1)
    model.set_context(0, 1, False, SCR_NS)
    model.sysreg_write(0, register, 5 << 24 | 1 << 1)
    assert irq.latch == arrives


def test_ds_is_set_once_and_its_own_write_is_read_the_old_way() -> None:
    model = started(security=True)
    model.frame_write("GICD", 0, 0x42, secure=False)
    assert model.frame_read("GICD", 0, secure=True) == 0x37
    model.frame_write("GICD", 0, 0x46, secure=True)
    assert model.frame_read("GICD", 0, secure=False) == 0x52
    model.frame_write("GICD", 0, 0x1, secure=False)
    assert model.frame_read("GICD", 0, secure=True) == 0x51
    assert model.frame_read("GICD", 4) >> 10 & 1 == 0
    model.reset()
    assert model.frame_read("GICD", 0, secure=True) == 0x30


@pytest.mark.parametrize(("name", "el", "secure", "ends"), [
    ("G0", 1, False, False), ("G0", 1, True, True), ("G1S", 1, False, False), ("G1S", 1, True, True),
    ("G1NS", 1, False, True), ("G1NS", 1, True, False), ("G1NS", 3, True, True), ("G0", 3, True, True),
])  # fmt: skip
def test_who_may_end_an_interrupt(name: str, el: int, secure: bool, ends: bool) -> None:
    model = started(security=True)
    spi(model, 40, 0x80, group=int(name == "G1NS"), modifier=int(name == "G1S"))
    model.set_spi(40, True)
    model.set_context(0, 3, True)
    assert model.sysreg_read(0, IAR0 if name == "G0" else IAR1) == 40
    model.set_context(0, el, secure)
    model.sysreg_write(0, EOIR0 if name == "G0" else EOIR1, 40)
    assert model.spis[40].active == (not ends)


def test_nonsecure_code_cannot_create_active_priorities_of_the_secure_half() -> None:
    model = started(security=True)
    model.set_context(0, 1, False)
    model.sysreg_write(0, "ICC_AP1R0_EL1", 0xFFFF_FFFF)
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 0xFFFF_0000


@pytest.mark.parametrize(("el", "secure", "scr"), [(1, True, 0), (3, True, 0), (1, False, SCR_NS), (3, True, SCR_NS)])
def test_with_ds_every_state_shares_the_nonsecure_copy(el: int, secure: bool, scr: int) -> None:
    model = started(security=True)
    model.frame_write("GICD", 0, 0x47, secure=True)
    spi(model, 40, 0x90)
    model.set_spi(40, True)
    model.set_context(0, el, secure, scr)
    assert model.lines()[0] == LINE_IRQ
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == model.sysreg_read(0, IAR1) == 40
    model.sysreg_write(0, "ICC_BPR1_EL1", 0)
    seen = {name: model.sysreg_read(0, name) for name in ("ICC_BPR1_EL1", "ICC_AP1R0_EL1", "ICC_IGRPEN1_EL1")}
    assert seen == {"ICC_BPR1_EL1": 3, "ICC_AP1R0_EL1": 1 << 18, "ICC_IGRPEN1_EL1": 1}
    model.sysreg_write(0, EOIR1, 40)
    assert not model.spis[40].active
    assert model.sysreg_read(0, RPR) == 0xFF
