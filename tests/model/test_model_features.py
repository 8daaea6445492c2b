"""The slow model's later parts against worked examples: message SPIs, extended ranges, 1-of-N, NMI, STATUSR, traps."""

from __future__ import annotations

from typing import Any

import pytest

from .delivery import LINE_FIQ, LINE_IRQ, LINE_NMI, LINE_WAKE
from .model import Model
from .state import HCR_FMO, HCR_IMO, SCR_NS
from .sysregs import TALL1, TC, TDIR
from .test_model_rules import EOIR1, IAR1, PMR, RPR, spi, started

NMIAR1 = "ICC_NMIAR1_EL1"
SETSPI_NSR, CLRSPI_NSR, SETSPI_SR = 0x40, 0x48, 0x50


def test_a_message_to_a_level_spi_acts_as_a_wire_until_cleared() -> None:
    model = started(message_spis=True)
    spi(model, 40, 0x80)
    model.frame_write("GICD", SETSPI_NSR, 40, 2)
    assert model.sysreg_read(0, IAR1) == 40
    assert model.is_pending(model.spis[40])
    model.frame_write("GICD", 0x284, 1 << 8)
    assert model.is_pending(model.spis[40])
    model.frame_write("GICD", CLRSPI_NSR, 40)
    assert not model.is_pending(model.spis[40])


def test_a_message_to_an_edge_spi_is_taken_by_acknowledge() -> None:
    model = started(message_spis=True)
    spi(model, 40, 0x80, edge=True)
    model.frame_write("GICD", SETSPI_NSR, 40)
    assert model.sysreg_read(0, IAR1) == 40
    assert not model.is_pending(model.spis[40])


def test_a_message_adds_nothing_to_an_spi_its_wire_keeps_pending() -> None:
    model = started(message_spis=True)
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    model.frame_write("GICD", SETSPI_NSR, 40)
    model.set_spi(40, False)
    assert not model.is_pending(model.spis[40])


@pytest.mark.parametrize(("offset", "secure", "nsacr", "set_"), [
    (SETSPI_NSR, False, 0, False), (SETSPI_NSR, False, 1, True), (SETSPI_NSR, True, 0, True),
    (SETSPI_SR, False, 3, False), (SETSPI_SR, True, 0, True),
])  # fmt: skip
def test_who_may_send_a_message_to_a_secure_spi(offset: int, secure: bool, nsacr: int, set_: bool) -> None:
    model = started(message_spis=True, security=True)
    spi(model, 40, 0x80, group=0)
    model.spis[40].nsacr = nsacr
    model.frame_write("GICD", offset, 40, secure=secure)
    assert model.is_pending(model.spis[40]) == set_


def test_extended_interrupts_live_in_their_own_words() -> None:
    model = started(espis=64, eppis=64)
    model.frame_write("GICD", 0x1004, 1 << 3)  # IGROUPR1E: 4096 + 35
    model.frame_write("GICD", 0x2000 + 35, 0x80, 1)
    model.frame_write("GICD", 0x1204, 1 << 3)
    model.frame_write("GICD", 0x8000 + 8 * 35, 1, 8)
    model.set_spi(4131, True)
    assert model.lines() == [0, LINE_IRQ]
    assert model.sysreg_read(1, IAR1) == 4131
    model.frame_write("SGI", 0x108, 1 << 31, index=0)  # ISENABLER2E: 1119, Group 0
    model.set_ppi(0, 1119, True)
    assert model.sysreg_read(0, "ICC_IAR0_EL1") == 1119


@pytest.mark.parametrize(("espis", "eppis"), [(0, 0), (32, 32), (1024, 64)])
def test_typer_counts_the_extended_interrupts(espis: int, eppis: int) -> None:
    model = started(espis=espis, eppis=eppis)
    typer = model.frame_read("GICD", 4)
    assert (typer >> 8 & 1, typer >> 27) == ((1, espis // 32 - 1) if espis else (0, 0))
    assert model.frame_read("RD", 8) >> 27 == eppis // 32


def one_of_n(**keywords: Any) -> Model:
    """Return a model of four PEs with SPI 40 going to any."""
    model = started(cpus=4, one_of_n=True, **keywords)
    spi(model, 40, 0x80)
    model.spis[40].route_mode = 1
    return model


def test_a_1_of_n_spi_goes_to_one_participating_pe_and_stays() -> None:
    model = one_of_n()
    model.sysreg_write(0, "ICC_IGRPEN1_EL1", 0)
    model.frame_write("RD", 0, 1 << 25, index=1)  # DPG1NS
    model.set_spi(40, True)
    assert model.lines() == [0, 0, LINE_IRQ, 0]
    model.sysreg_write(0, "ICC_IGRPEN1_EL1", 1)
    assert model.lines() == [0, 0, LINE_IRQ, 0]


@pytest.mark.parametrize("leave", ["sleep", "unplug", "group", "dpg"])
def test_a_1_of_n_spi_moves_on_when_its_pe_leaves(leave: str) -> None:
    model = one_of_n()
    model.set_spi(40, True)
    assert model.lines() == [LINE_IRQ, 0, 0, 0]  # 40 mod 4
    if leave == "sleep":
        model.frame_write("RD", 0x14, 2, index=0)
    elif leave == "unplug":
        model.set_cpustate(0, None, False)
    elif leave == "group":
        model.sysreg_write(0, "ICC_IGRPEN1_EL1", 0)
    else:
        model.frame_write("RD", 0, 1 << 25, index=0)
    assert model.lines() == [0, LINE_IRQ, 0, 0]


@pytest.mark.parametrize(("e1nwf", "line"), [(0, 0), (1, LINE_WAKE)])
def test_e1nwf_lets_a_1_of_n_spi_wake_a_sleeper(e1nwf: int, line: int) -> None:
    model = one_of_n()
    for pe in range(4):
        model.frame_write("RD", 0x14, 2, index=pe)
    model.frame_write("GICD", 0, e1nwf << 7 | 3)
    model.set_spi(40, True)
    assert model.lines() == [line, 0, 0, 0]


def test_pmhe_passes_over_a_pe_that_masks_the_priority() -> None:
    model = one_of_n()
    model.sysreg_write(0, "ICC_CTLR_EL1", 1 << 6)
    model.sysreg_write(0, PMR, 0x80)
    model.set_spi(40, True)
    assert model.lines() == [0, LINE_IRQ, 0, 0]


def with_nmi(**keywords: Any) -> Model:
    """Return a model with SPI 40 in Group 1 non-maskable and SPI 41 not."""
    model = started(nmi=True, **keywords)
    for intid in (40, 41):
        spi(model, intid, 0x80)
    model.frame_write("GICD", 0xF84, 1 << 8, secure=True)
    return model


def test_an_nmi_ignores_pmr_and_beats_an_equal_priority() -> None:
    model = with_nmi()
    model.set_context(0, nmi_enabled=True)
    model.sysreg_write(0, PMR, 0)
    model.spis[41].priority = 0
    model.set_spi(41, True)
    model.set_spi(40, True)
    assert model.lines()[0] == LINE_NMI
    assert model.sysreg_read(0, "ICC_HPPIR1_EL1") == 40
    assert model.sysreg_read(0, IAR1) == 1022
    assert model.sysreg_read(0, NMIAR1) == 40
    assert model.sysreg_read(0, RPR) == 1 << 63
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 1 << 63
    model.sysreg_write(0, EOIR1, 40)
    assert model.sysreg_read(0, RPR) == 0xFF


def test_without_sctlr_nmi_an_nmi_is_acknowledged_as_any_other() -> None:
    model = with_nmi()
    model.set_spi(40, True)
    assert model.lines()[0] == LINE_IRQ
    assert model.sysreg_access(0, NMIAR1).kind == "undefined"
    assert model.sysreg_read(0, IAR1) == 40


def test_a_group_0_interrupt_is_never_an_nmi() -> None:
    model = with_nmi()
    model.frame_write("GICD", 0x84, 0)
    assert model.frame_read("GICD", 0xF84) == 0
    model.set_spi(40, True)
    assert model.lines()[0] == LINE_FIQ


def test_a_nonsecure_nmi_runs_at_0x80_which_nonsecure_code_reads_as_0() -> None:
    model = with_nmi(security=True)
    model.set_spi(40, True)
    model.set_context(0, 1, False, SCR_NS, nmi_enabled=True)
    assert model.sysreg_read(0, NMIAR1) == 40
    assert model.sysreg_read(0, RPR) == 1 << 63
    model.set_context(0, 3, True, SCR_NS)
    assert model.sysreg_read(0, RPR) == 1 << 62 | 0x80


@pytest.mark.parametrize(("offset", "size", "write", "bit"), [
    (0x20, 4, False, 1), (0x20, 4, True, 2), (0x4, 4, True, 8), (0x40, 4, False, 4), (0x100, 4, False, 0),
    (0x10C, 4, False, 1), (0x108, 4, True, 0),
])  # fmt: skip
def test_statusr_keeps_what_went_wrong(offset: int, size: int, write: bool, bit: int) -> None:
    model = started(statusr=True, message_spis=True)
    if write:
        model.frame_write("GICD", offset, 1, size)
    else:
        model.frame_read("GICD", offset, size)
    assert model.frame_read("GICD", 0x10) == bit
    model.frame_write("GICD", 0x10, bit)
    assert model.frame_read("GICD", 0x10) == 0


@pytest.mark.parametrize(("register", "value", "hcr", "ich_hcr", "kind"), [
    (IAR1, None, 0, TALL1, "trap"), (PMR, None, 0, TALL1, "value"), (PMR, None, 0, TC, "trap"),
    (IAR1, None, HCR_IMO, 0, "virtual"), (IAR1, None, HCR_FMO, 0, "value"), (PMR, None, HCR_FMO, 0, "virtual"),
    ("ICC_SGI1R_EL1", 0, HCR_FMO, 0, "trap"), ("ICC_DIR_EL1", 0, 0, TDIR, "trap"), (PMR, None, 0, TDIR, "value"),
])  # fmt: skip
def test_what_el2_takes_from_el1(register: str, value: int | None, hcr: int, ich_hcr: int, kind: str) -> None:
    model = started(security=True, el2=True)
    model.set_context(0, 1, False, SCR_NS, hcr, ich_hcr)
    assert model.sysreg_access(0, register, value).kind == kind
    model.set_context(0, 1, True, 0, hcr, ich_hcr)
    assert model.sysreg_access(0, register, value).kind == "value"
    model.set_context(0, 2, False, SCR_NS, hcr, ich_hcr)
    assert model.sysreg_access(0, register, value).kind == "value"


def test_a_traps_syndrome_names_the_access() -> None:
    model = started(security=True, el2=True)
    model.set_context(0, 1, False, SCR_NS, 0, TC)
    assert model.sysreg_access(0, PMR).syndrome == 0x6230_100D
    assert model.sysreg_access(0, PMR, 0).syndrome == 0x6230_100C
    assert model.cp15_access(0, 0, 4, 6, 0).syndrome == 0x0FE0_100D
    assert model.mcrr_access(0, 0, 12, 0).syndrome == 0x13E0_0018


def test_rwp_uwp_and_children_asleep_settle_after_the_steps() -> None:
    model = started(settle_steps=2)
    assert model.frame_read("RD", 0x14) == 4  # ProcessorSleep is 0, ChildrenAsleep not yet
    model.frame_write("GICD", 0x184, 0)
    model.frame_write("SGI", 0x180, 0, index=1)
    model.sysreg_write(0, "ICC_SGI1R_EL1", 1 << 1)
    model.step()
    found = [model.frame_read("GICD", 0) >> 31, *(model.frame_read("RD", 0, index=pe) for pe in (0, 1))]
    assert found == [1, 1 << 31, 1 << 3]
    model.step()
    found = [model.frame_read("GICD", 0) >> 31, *(model.frame_read("RD", 0, index=pe) for pe in (0, 1))]
    assert found == [0, 0, 0]
    assert model.frame_read("RD", 0x14) == 0


def test_nothing_is_delivered_or_asked_for_while_a_pe_wakes() -> None:
    model = started(settle_steps=2)
    spi(model, 40, 0x80)
    model.set_spi(40, True)
    assert model.lines()[0] == 0
    model.step(2)
    assert model.lines()[0] == LINE_IRQ
    model.frame_write("RD", 0x14, 2)
    assert (model.lines()[0], model.frame_read("RD", 0x14)) == (LINE_WAKE, 2)
    model.frame_write("RD", 0x14, 0)
    assert (model.lines()[0], model.frame_read("RD", 0x14)) == (0, 4)


def test_an_aarch32_write_of_ap1r0_leaves_the_nmi_flag() -> None:
    model = with_nmi()
    model.set_spi(40, True)
    model.sysreg_read(0, IAR1)
    model.cp15_access(0, 0, 12, 9, 0, 0)
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 1 << 63
    model.sysreg_write(0, "ICC_AP1R0_EL1", 0)
    assert model.sysreg_read(0, "ICC_AP1R0_EL1") == 0
