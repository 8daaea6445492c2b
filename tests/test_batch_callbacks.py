"""Callbacks of a batch are told when it is done, and its results come out with whatever they raise."""

import ctypes
import dataclasses
import signal
from typing import Any

import numpy
import pytest
from batch_rig import ready
from rig import SPURIOUS

from gicv3 import BatchError, Line, capi


def test_a_line_that_went_up_and_down_within_a_batch_is_not_told() -> None:
    rig = ready()
    told: list[Any] = []
    rig.gic.on_line = lambda *change: told.append(change)
    rig.gic.batch.set_lines([20, 20, 20], [3, 2, 3], [1, 1, 0])
    assert told == [(2, Line.IRQ, True)]
    assert rig.gic.changed() == [3, 2]


def test_a_callback_may_run_a_batch() -> None:
    rig = ready()
    taken: list[int] = []

    def handler(pe: int, line: Line, level: bool) -> None:
        if level:
            taken.extend(rig.gic.batch.ack_eoi([pe]).tolist())
            rig.gic.set_ppi(pe, 20, False)

    rig.gic.on_line = handler
    rig.gic.batch.set_lines(20, [0, 1, 2, 3], 1)
    assert taken == [20] * 4


def test_a_bad_element_and_a_callback_that_raises_are_both_reported() -> None:
    rig = ready()

    def fail(*change: object) -> None:
        raise LookupError("mine")

    rig.gic.on_line = fail
    with pytest.raises(ExceptionGroup) as caught:
        rig.gic.batch.set_lines(20, [0, 4], 1)
    assert [type(error) for error in caught.value.exceptions] == [BatchError, LookupError]
    assert rig.gic.line(0) == Line.IRQ
    with pytest.raises(ExceptionGroup) as caught:
        rig.gic.batch.sysregs([1, 0, 2, 4], "ICC_IAR1_EL1")
    values, _ = caught.value.batch_results  # type: ignore[attr-defined]
    assert values.tolist() == [SPURIOUS, 20, SPURIOUS]


def test_what_was_acknowledged_comes_out_with_what_a_callback_raises() -> None:
    rig = ready(1000)
    pes = numpy.arange(1000)
    rig.gic.batch.set_lines(20, pes[::2], 1)

    def fail(pe: int, *change: object) -> None:
        if pe == 500:
            raise LookupError("mine")

    rig.gic.on_line = fail
    with pytest.raises(LookupError) as caught:
        rig.gic.batch.sysregs(pes, "ICC_IAR1_EL1")
    values, codes = caught.value.batch_results  # type: ignore[attr-defined]
    assert values.tolist() == [20, SPURIOUS] * 500
    assert codes.tolist() == [0] * 1000
    assert rig.gic.statistics()["acknowledged"].sum() == 500


@pytest.mark.parametrize("bad", [False, True])
def test_what_was_acknowledged_comes_out_with_a_signal_that_came_meanwhile(bad: bool) -> None:
    rig = ready()
    rig.gic.batch.set_lines(20, [0, 2], 1)
    raise_signal = ctypes.cast(ctypes.CDLL(None)["raise"], capi.Lines)  # `opaque` is the signal, C runs it
    capi.functions().on_lines(rig.gic.handle, raise_signal, signal.SIGINT)
    with pytest.raises(BaseExceptionGroup if bad else KeyboardInterrupt) as caught:
        rig.gic.batch.sysregs([0, 1, 2, 4] if bad else [0, 1, 2], "ICC_IAR1_EL1")
    capi.functions().on_lines(rig.gic.handle, capi.Lines(), None)
    values, _ = caught.value.batch_results  # type: ignore[attr-defined]
    assert values.tolist() == [20, SPURIOUS, 20]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    text: str


def test_what_was_acknowledged_comes_out_with_an_exception_that_takes_no_attributes() -> None:
    rig = ready()

    def fail(*change: object) -> None:
        raise Frozen("mine")

    rig.gic.batch.set_lines(20, [0], 1)
    rig.gic.on_line = fail
    with pytest.raises(Frozen) as caught:
        rig.gic.batch.sysregs([0], "ICC_IAR1_EL1")
    assert caught.value.batch_results[0].tolist() == [20]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [BatchError, LookupError])
def test_what_another_batch_raised_in_a_callback_is_told_from_what_this_one_raises(kind: type[Exception]) -> None:
    rig, other = ready(), ready()

    def fail(*change: object) -> None:
        raise LookupError("mine")

    rig.gic.set_ppi(0, 20, True)
    other.gic.on_line = fail if kind is LookupError else None
    rig.gic.on_line = lambda *change: other.gic.batch.set_lines(20, [3, 4] if kind is BatchError else [3], 1)
    with pytest.raises(ExceptionGroup, match=r"^callbacks after a batch failed") as caught:
        rig.gic.batch.sysregs([0, 1], "ICC_IAR1_EL1")
    (inner,) = caught.value.exceptions
    assert type(inner) is kind
    assert (inner.results if isinstance(inner, BatchError) else inner.batch_results) == ()  # type: ignore[attr-defined]
    values, _ = caught.value.batch_results  # type: ignore[attr-defined]
    assert values.tolist() == [20, SPURIOUS]


def test_a_callback_that_raises_alone_is_raised_as_it_is() -> None:
    rig = ready()

    def fail(*change: object) -> None:
        raise KeyboardInterrupt

    rig.gic.on_line = fail
    with pytest.raises(KeyboardInterrupt):
        rig.gic.batch.set_lines(20, [0], 1)
