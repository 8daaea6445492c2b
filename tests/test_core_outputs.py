"""What the embedder sees of the lines: callbacks, changed(), the array of all lines."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from rig import G0, G1, SPURIOUS, Rig

from gicv3 import ConfigError, Line

Change = tuple[int, Line, bool]


def ready(cpus: int = 1) -> Rig:
    """PPI 20 is an IRQ and PPI 21 a FIQ on every PE."""
    rig = Rig(cpus)
    for pe in range(cpus):
        rig.prepare(20, pe)
        rig.prepare(21, pe, group=G0, priority=0x40)
    rig.gic.changed()
    return rig


def recorded(rig: Rig) -> list[Change]:
    told: list[Change] = []
    rig.gic.on_line = lambda pe, line, level: told.append((pe, line, level))
    return told


# --- callbacks


def test_a_callback_is_told_each_line_that_moves_with_final_state_in_place() -> None:
    rig = ready(2)
    seen: list[tuple[int, Line, bool, int, bool]] = []
    rig.gic.on_line = lambda pe, line, level: seen.append((pe, line, level, rig.gic.line(pe), rig.pending(20, pe)))
    rig.raise_(20, pe=1)
    rig.raise_(20, False, pe=1)
    assert seen == [(1, Line.IRQ, True, Line.IRQ, True), (1, Line.IRQ, False, 0, False)]


def test_nothing_is_told_when_no_line_moves() -> None:
    rig = ready()
    told = recorded(rig)
    rig.raise_(20)
    rig.raise_(20)
    rig.write_bit("ISPENDR", 20)
    rig.gic.pe[0]["ICC_PMR_EL1"] = 0xF0
    assert told == [(0, Line.IRQ, True)]


def test_a_change_of_line_is_told_as_one_fall_and_one_rise() -> None:
    rig = ready()
    rig.raise_(20)
    told = recorded(rig)
    rig.raise_(21)
    assert sorted(told) == [(0, Line.IRQ, False), (0, Line.FIQ, True)]
    assert rig.gic.line(0) == Line.FIQ


def test_every_way_to_move_a_line_tells() -> None:
    rig = ready()
    gic = rig.gic
    rig.prepare(40)
    moves: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "set_ppi": (lambda: gic.set_ppi(0, 20, True), lambda: gic.set_ppi(0, 20, False)),
        "set_spi": (lambda: gic.set_spi(40, True), lambda: gic.set_spi(40, False)),
        "frame_write": (lambda: gic.frame_write(2, 0x200, 1 << 20), lambda: gic.frame_write(2, 0x280, 1 << 20)),
        "mmio_write": (
            lambda: gic.mmio_write(0x080B_0200, 1 << 20), lambda: gic.mmio_write(0x080B_0280, 1 << 20)
        ),
        "sysreg_read": (lambda: rig.write_bit("ISPENDR", 20), lambda: rig.iar()),
        "sysreg_write": (lambda: (rig.write_bit("ISPENDR", 20), rig.eoi(20)), lambda: rig.iar()),
    }
    for name, (raise_, lower) in moves.items():
        told = recorded(rig)
        raise_()
        assert told == [(0, Line.IRQ, True)], name
        lower()
        assert told == [(0, Line.IRQ, True), (0, Line.IRQ, False)], name
    rig.eoi(20)
    rig.raise_(20)
    for lower in (lambda: gic.reset_cpuif(0), lambda: gic.set_cpustate(0, None, False), gic.reset):
        told = recorded(rig)
        lower()
        if lower is not gic.reset:
            assert told == [(0, Line.IRQ, False)]
        gic.set_cpustate(0, None, True)
        rig.bring_up(0)
        rig.prepare(20)
        gic.set_ppi(0, 20, False)
        gic.set_ppi(0, 20, True)


def test_edges_that_leave_no_trace_are_not_told() -> None:
    rig = ready()
    told = recorded(rig)
    rig.gic.pulse_ppi(0, 20)
    assert told == []
    assert rig.gic.changed() == [0], "the line moved and moved back"


def test_callbacks_of_several_pes_come_in_the_order_of_the_changes() -> None:
    rig = ready(5)
    for pe in range(5):
        rig.prepare(5, pe)
    told = recorded(rig)
    rig.sgi(5, all_others=True, pe=2)
    assert told == [(pe, Line.IRQ, True) for pe in (0, 1, 3, 4)]


def test_a_callback_may_call_back_in_and_its_changes_are_told_after_it_returns() -> None:
    rig = ready(2)
    told: list[Change] = []
    depth = 0

    def callback(pe: int, line: Line, level: bool) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "callbacks do not nest"
        told.append((pe, line, level))
        if line == Line.IRQ and level:
            assert rig.iar(pe=pe) == 20
            rig.raise_(20, pe=1)
        depth -= 1

    rig.gic.on_line = callback
    rig.raise_(20, pe=0)
    assert told == [(0, Line.IRQ, True), (0, Line.IRQ, False), (1, Line.IRQ, True), (1, Line.IRQ, False)]
    assert rig.iar(pe=1) == SPURIOUS


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_of_a_callback_comes_out_after_the_rest_were_told(error: type[BaseException]) -> None:
    rig = ready(3)
    for pe in range(3):
        rig.prepare(5, pe)
    told: list[Change] = []

    def callback(pe: int, line: Line, level: bool) -> None:
        told.append((pe, line, level))
        if pe == 0:
            raise error("from the callback")

    rig.gic.on_line = callback
    with pytest.raises(error, match="from the callback"):
        rig.sgi(5, all_others=True, pe=2)
    assert told == [(0, Line.IRQ, True), (1, Line.IRQ, True)]
    assert rig.pending(5, 0)
    assert rig.line(0) == Line.IRQ, "the state is as if nothing had been raised"
    rig.raise_(20, pe=1)
    rig.raise_(5, False, pe=1)
    rig.raise_(20, False, pe=1)
    assert told[2:] == [(1, Line.IRQ, False)], "and callbacks go on"
    rig.gic.check()


def test_several_exceptions_come_out_as_a_group() -> None:
    rig = ready(4)
    for pe in range(4):
        rig.prepare(5, pe)

    def callback(pe: int, line: Line, level: bool) -> None:
        if pe != 1:
            raise ValueError(str(pe))

    rig.gic.on_line = callback
    with pytest.raises(ExceptionGroup) as caught:
        rig.sgi(5, all_others=True, pe=3)
    assert [str(error) for error in caught.value.exceptions] == ["0", "2"]


def test_an_exception_in_a_nested_change_comes_out_of_the_outer_call() -> None:
    rig = ready(2)
    inner: list[str] = []

    def callback(pe: int, line: Line, level: bool) -> None:
        if pe == 1:
            raise ValueError("nested")
        rig.raise_(20, pe=1)
        inner.append("returned")

    rig.gic.on_line = callback
    with pytest.raises(ValueError, match="nested"):
        rig.raise_(20, pe=0)
    assert inner == ["returned"]


def test_a_callback_set_later_hears_of_later_changes_only() -> None:
    rig = ready(2)
    rig.raise_(20, pe=0)
    told = recorded(rig)
    assert told == []
    rig.raise_(20, pe=1)
    rig.raise_(20, False, pe=0)
    assert told == [(1, Line.IRQ, True), (0, Line.IRQ, False)]
    rig.gic.on_line = None
    assert rig.gic.on_line is None
    rig.raise_(20, False, pe=1)
    assert len(told) == 2


def test_a_callback_may_remove_itself() -> None:
    rig = ready(2)
    told: list[int] = []

    def once(pe: int, line: Line, level: bool) -> None:
        told.append(pe)
        rig.gic.on_line = None

    rig.gic.on_line = once
    assert rig.gic.on_line is once
    rig.raise_(20, pe=0)
    rig.raise_(20, pe=1)
    assert told == [0]
    rig.gic.check()


@pytest.mark.parametrize("callback", [1, "print", []])
def test_what_cannot_be_called_is_refused(callback: Any) -> None:
    rig = ready()
    told = recorded(rig)
    with pytest.raises(ConfigError, match="on_line must be callable or None, got"):
        rig.gic.on_line = callback
    rig.raise_(20)
    assert told == [(0, Line.IRQ, True)], "the callback in place stays"


def test_callbacks_reach_their_listener_when_many_threads_drive_lines() -> None:
    rig = ready(4)
    levels = [0] * 4
    rig.gic.on_line = lambda pe, line, level: levels.__setitem__(pe, levels[pe] & ~line | (line if level else 0))

    def drive(pe: int) -> None:
        for _ in range(300):
            rig.gic.set_ppi(pe, 20, True)
            rig.gic.set_ppi(pe, 20, False)
        rig.gic.set_ppi(pe, 20, True)

    threads = [threading.Thread(target=drive, args=(pe,)) for pe in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.gic.check()
    assert levels == [Line.IRQ] * 4 == list(rig.gic.lines)


@pytest.mark.drops_gics
def test_a_gic_in_a_cycle_with_its_callback_is_freed() -> None:
    rig = ready()
    rig.gic.on_line = rig.gic.__class__.line.__get__(rig.gic)
    rig.gic.set_cpustate(0, rig.gic, True)
    reference = weakref.ref(rig.gic)
    del rig
    gc.collect()
    assert reference() is None


# --- what changed


def test_changed_names_each_pe_once_since_it_was_last_asked() -> None:
    rig = ready(70)
    assert rig.gic.changed() == []
    for pe in (66, 3, 66, 0):
        rig.raise_(20, pe=pe)
        rig.raise_(20, False, pe=pe)
    rig.raise_(20, pe=69)
    assert rig.gic.changed() == [66, 3, 0, 69]
    assert rig.gic.changed() == []
    rig.raise_(20, pe=3)
    assert rig.gic.changed() == [3]


def test_changed_and_callbacks_are_independent() -> None:
    rig = ready(2)
    told = recorded(rig)
    rig.raise_(20, pe=1)
    assert len(told) == 1
    assert rig.gic.changed() == [1]


# --- the array of lines


def test_the_lines_array_is_live_and_agrees_with_line() -> None:
    rig = ready(3)
    lines = rig.gic.lines
    assert lines.dtype == numpy.uint8
    assert lines.shape == (3,)
    rig.raise_(20, pe=1)
    rig.raise_(21, pe=2)
    assert list(lines) == [0, Line.IRQ, Line.FIQ] == [rig.gic.line(pe) for pe in range(3)]
    assert list(numpy.nonzero(lines)[0]) == [1, 2]
    rig.gic.redist[1]["GICR_WAKER"] = 2
    assert list(lines) == [0, Line.WAKE, Line.FIQ]


def test_the_lines_array_is_read_only() -> None:
    lines = ready().gic.lines
    with pytest.raises(ValueError, match="read-only"):
        lines[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        lines.flags.writeable = True


@pytest.mark.drops_gics
def test_the_lines_array_outlives_its_gic() -> None:
    rig = ready(3)
    rig.raise_(20, pe=1)
    lines = rig.gic.lines
    reference = weakref.ref(rig.gic)
    del rig
    gc.collect()
    assert reference() is None
    assert list(lines) == [0, Line.IRQ, 0]


def test_groups_swap_lines_in_the_array_at_once() -> None:
    rig = ready()
    rig.raise_(20)
    lines = rig.gic.lines
    for group, line in ((G0, Line.FIQ), (G1, Line.IRQ)):
        rig.group(20, group)
        assert lines[0] == line
