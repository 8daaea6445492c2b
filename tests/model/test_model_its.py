"""The slow model's LPIs and ITS against worked examples of the architecture reference; section numbers are its."""

from __future__ import annotations

from typing import Any

import pytest

from .delivery import LINE_IRQ
from .memory import RAM, ROM
from .model import Model
from .test_model_rules import EOIR1, IAR1, RPR, started

PROP, PEND, DEVICES, COLLECTIONS, QUEUE, ITT = (RAM + 0x1_0000 * n for n in range(1, 7))
VALID = 1 << 63
FIRST = 8192


def with_its(**keywords: Any) -> Model:
    """Return a model with LPIs on, device 1 mapped, its events 0..3 leading to LPIs 8192.. of collection 0 at PE 0."""
    model = started(**{"lpis": True, "its": 1, "direct_lpi": True, **keywords})
    model.memory_write(PROP, bytes([0xA1]) * 64)
    for pe in range(2):
        model.frame_write("RD", 0x70, PROP | 15, 8, index=pe)
        model.frame_write("RD", 0x78, PEND + pe * 0x8_0000, 8, index=pe)
        model.frame_write("RD", 0, 1, index=pe)
    model.frame_write("GITS", 0x100, VALID | DEVICES, 8)
    model.frame_write("GITS", 0x108, VALID | COLLECTIONS, 8)
    model.frame_write("GITS", 0x80, VALID | QUEUE, 8)
    model.frame_write("GITS", 0, 1)
    events = [(0x0A | 1 << 32, event | FIRST + event << 32, 0) for event in range(4)]
    do(model, (0x08 | 1 << 32, 1, ITT | VALID), (0x09, 0, VALID), (0x09, 0, VALID | 1 << 16 | 1), *events)
    return model


def do(model: Model, *commands: tuple[int, ...]) -> list[int]:
    """Queue commands, the last doublewords 0; return the codes of the errors so far."""
    its = model.itss[0]
    for command in commands:
        words = (*command, 0, 0, 0)[:4]
        model.memory_write(QUEUE + its.cwriter, b"".join(word.to_bytes(8, "little") for word in words))
        model.frame_write("GITS", 0x88, (its.cwriter + 32) % its.queue_size(), 8)
    return [error[0] for error in its.errors]


def test_an_msi_is_acknowledged_as_its_lpi_and_leaves_nothing_active() -> None:
    model = with_its()
    model.msi(0, 1, 2)
    assert model.lines() == [LINE_IRQ, 0]
    assert model.sysreg_read(0, IAR1) == FIRST + 2
    assert model.lpi_pending(0) == []
    assert model.sysreg_read(0, RPR) == 0xA0
    model.sysreg_write(0, EOIR1, FIRST + 2)
    assert model.sysreg_read(0, RPR) == 0xFF


@pytest.mark.parametrize(("security", "priority"), [(False, 0x40), (True, 0xA0)])
def test_a_configured_priority_is_halved_below_two_security_states(security: bool, priority: int) -> None:
    model = with_its(security=security)
    model.memory_write(PROP, bytes([0x41]))
    model.msi(0, 1, 0)
    model.set_context(0, 3 if security else 1, security)
    best = model.best_pending(model.pes[0])
    assert best is not None
    assert best.priority == priority


def test_a_configuration_counts_when_it_is_invalidated() -> None:
    model = with_its()
    model.memory_write(PROP, bytes([0xA0]))
    model.msi(0, 1, 0)
    assert model.lines() == [0, 0]
    model.memory_write(PROP, bytes([0xA1]))
    assert model.lines() == [0, 0]
    do(model, (0x0C | 1 << 32, 0))
    assert model.lines() == [LINE_IRQ, 0]


def test_disabling_lpis_writes_what_is_pending_and_enabling_reads_it() -> None:
    model = with_its()
    model.msi(0, 1, 3)
    model.frame_write("RD", 0, 0)
    assert model.memory.read(PEND + 1024, 2) == b"\x08\0"
    assert model.lpi_pending(0) == []
    model.msi(0, 1, 2)
    assert model.totals()["lpi_discarded"] == 1
    model.frame_write("RD", 0, 1)
    assert model.lpi_pending(0) == [FIRST + 3]
    model.frame_write("RD", 0, 0)
    model.frame_write("RD", 0x78, PEND | 1 << 62, 8)
    model.frame_write("RD", 0, 1)
    assert model.lpi_pending(0) == []


@pytest.mark.parametrize(("commands", "pending"), [
    ([(0x01 | 1 << 32, 0, 1)], [[], [FIRST]]),
    ([(0x0E, 0, 0, 1 << 16)], [[], [FIRST]]),
    ([(0x0F | 1 << 32, 0)], [[], []]),
    ([(0x04 | 1 << 32, 0)], [[], []]),
    ([(0x09, 0, VALID | 1 << 16), (0x03 | 1 << 32, 1)], [[FIRST], [FIRST + 1]]),
    ([(0x08 | 1 << 32, 1, ITT)], [[FIRST], []]),
])  # fmt: skip
def test_where_commands_leave_a_pending_lpi(commands: list[tuple[int, ...]], pending: list[list[int]]) -> None:
    model = with_its()
    model.msi(0, 1, 0)
    assert do(model, *commands) == []
    assert [model.lpi_pending(pe) for pe in range(2)] == pending


@pytest.mark.parametrize(("command", "code"), [
    ((0x03 | 513 << 32, 0), 0x01_0301), ((0x03 | 2 << 32, 0), 0x01_0304), ((0x04 | 1 << 32, 4), 0x01_0505),
    ((0x08 | 1 << 32, 16, ITT | VALID), 0x01_0802), ((0x09, 0, VALID | 2 << 16), 0x01_0902),
    ((0x09, 0, 513), 0x01_0903), ((0x21,), 0x01_2100),
    ((0x0A | 1 << 32, 1, 0), 0x01_0A06), ((0x0D, 0, 2), 0x01_0D09), ((0x0E, 0, 2 << 16), 0x01_0E01),
])  # fmt: skip
def test_what_is_wrong_with_a_command(command: tuple[int, ...], code: int) -> None:
    assert do(with_its(), command) == [code]


def test_a_stalled_queue_stands_at_the_bad_command_until_retry() -> None:
    model = with_its(its_errors="stall")
    before = model.itss[0].creadr
    do(model, (0x03 | 2 << 32, 0), (0x03 | 1 << 32, 1))
    assert model.frame_read("GITS", 0x90, 8) == before | 1
    model.memory_write(QUEUE + before, bytes([5]) + bytes(31))
    model.frame_write("GITS", 0x88, model.itss[0].cwriter | 1, 8)
    assert model.frame_read("GITS", 0x90, 8) == before + 64
    assert model.lpi_pending(0) == [FIRST + 1]


def test_the_queue_wraps() -> None:
    model = with_its()
    for _ in range(128):
        do(model, (0x03 | 1 << 32, 1))
    assert model.itss[0].counts["commands"] == 135
    assert model.itss[0].creadr == 7 * 32


def test_a_two_level_table_has_what_its_first_level_says() -> None:
    model = with_its()
    model.frame_write("GITS", 0, 0)
    model.memory_write(DEVICES + 0x8008, (VALID | DEVICES + 0x9000).to_bytes(8, "little"))
    model.frame_write("GITS", 0x100, VALID | 1 << 62 | DEVICES + 0x8000, 8)
    model.frame_write("GITS", 0, 1)
    assert do(model, (0x08 | 1 << 32, 1, ITT | VALID), (0x08 | 512 << 32, 1, ITT | VALID)) == [0x01_0801]
    assert model.memory.read64(DEVICES + 0x9000) == VALID | ITT >> 8 << 5 | 1


def test_pta_names_a_redistributor_by_its_address() -> None:
    model = with_its(pta=True)
    assert do(model, (0x09, 0, VALID | 0x080C_0000))[-1:] == [0x01_0902]  # of the second MAPC before: 1 is no address
    model.msi(0, 1, 0)
    assert [model.lpi_pending(pe) for pe in range(2)] == [[], [FIRST]]


def test_a_table_in_memory_that_cannot_be_written_loses_what_is_pending() -> None:
    model = with_its()
    model.frame_write("RD", 0, 0)
    model.frame_write("RD", 0x78, ROM | 1 << 62, 8)
    model.frame_write("RD", 0, 1)
    model.msi(0, 1, 0)
    model.frame_write("RD", 0, 0)
    assert (model.totals()["lpi_lost"], model.totals()["lpi_table_faults"]) == (1, 1)
