"""The event trace: what is in it, what it never changes, and the forms it is exported in."""

import gc
import json
import weakref
from typing import Any

import numpy
import pytest
from model.configs import CONFIGS
from replay import act, trace
from rig import Rig

from gicv3 import ConfigError, GICv3, GICv3Config
from gicv3.trace import Event, Kind, Tracer, to_chrome

Short = tuple[str, int | None, int | None, int]


def told(tracer: Tracer) -> list[Short]:
    return [(event.kind.name, event.pe, event.intid, event.detail) for event in tracer.events()]


def ready() -> Rig:
    """Edge-triggered PPI 20 of PE 1 and level-sensitive SPI 40 of PE 0."""
    rig = Rig(2)
    rig.prepare(20, 1, edge=True)
    rig.prepare(40, 0, priority=0xA0)
    rig.prepare(3, 0, priority=0x40)
    return rig


# --- what is recorded


def test_an_edge_is_pending_shown_taken_and_ended() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.raise_(20, pe=1)
        rig.gic.pe[1]["ICC_IAR1_EL1"]
        rig.gic.pe[1]["ICC_EOIR1_EL1"] = 20
    assert told(tracer) == [
        ("PENDING", 1, 20, 0),
        ("LINES", 1, 20, 1),
        ("TAKEN", 1, 20, 0x80),
        ("LINES", 1, None, 0),
        ("ENDED", 1, 20, 0x80),
    ]


def test_a_level_sensitive_spi_is_routed_and_comes_again_until_its_wire_falls() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.raise_(40)
        rig.gic.pe[0]["ICC_IAR1_EL1"]
        rig.gic.pe[0]["ICC_EOIR1_EL1"] = 40
        rig.raise_(40, False)
    assert told(tracer) == [
        ("PENDING", None, 40, 0),
        ("ROUTED", 0, 40, 0xA0),
        ("LINES", 0, 40, 1),
        ("TAKEN", 0, 40, 0xA0),
        ("LINES", 0, None, 0),
        ("ENDED", 0, 40, 0xA0),
        ("ROUTED", 0, 40, 0xA0),
        ("LINES", 0, 40, 1),
        ("CLEARED", None, 40, 0),
        ("LINES", 0, None, 0),
    ]


def test_an_sgi_names_its_sender_and_its_receiver() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.gic.pe[1]["ICC_SGI1R_EL1"] = 3 << 24 | 1
    assert told(tracer) == [("SGI", 1, 3, 3 << 24 | 1), ("PENDING", 0, 3, 0), ("LINES", 0, 3, 1)]


def test_what_software_makes_pending_or_clears_is_told() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.write_bit("ISPENDR", 20, 1)
        rig.write_bit("ISPENDR", 20, 1)
        rig.write_bit("ISPENDR", 40)
        rig.write_bit("ICPENDR", 40)
    assert [event[:3] for event in told(tracer) if event[0] in ("PENDING", "CLEARED")] == [
        ("PENDING", 1, 20), ("PENDING", None, 40), ("CLEARED", None, 40)]


def test_deactivation_is_an_event_when_eoi_is_split() -> None:
    rig = ready()
    rig.gic.pe[1]["ICC_CTLR_EL1"] = 2
    rig.raise_(20, pe=1)
    rig.gic.pe[1]["ICC_IAR1_EL1"]
    with Tracer(rig.gic) as tracer:
        rig.gic.pe[1]["ICC_EOIR1_EL1"] = 20
        rig.gic.pe[1]["ICC_DIR_EL1"] = 20
        rig.gic.pe[1]["ICC_EOIR1_EL1"] = 20
    assert told(tracer) == [("ENDED", 1, 20, 0x80), ("DEACTIVATED", 1, 20, 0)]


def test_sleep_plug_reset_and_rewind_are_events() -> None:
    rig = ready()
    point = rig.gic.savepoint()
    rig.raise_(40)
    with Tracer(rig.gic) as tracer:
        rig.gic.redist[1]["GICR_WAKER"] = 2
        rig.gic.redist[1]["GICR_WAKER"] = 0
        rig.gic.set_cpustate(1, None, False)
        rig.gic.set_cpustate(1, None, True)
        rig.gic.rewind(point)
        rig.gic.reset()
        rig.gic.reset_cpuif(1)
    assert told(tracer) == [
        ("ASLEEP", 1, None, 0), ("AWAKE", 1, None, 0), ("UNPLUGGED", 1, None, 0), ("PLUGGED", 1, None, 0),
        ("LINES", 0, None, 0), ("RESTORED", None, None, 0), ("RESET", None, None, 0), ("RESET", 1, None, 0),
    ]
    rig.gic.check()


def test_events_have_the_time_that_the_caller_gave() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.gic.trace_time = 1000
        rig.raise_(40)
        rig.gic.trace_time = (1 << 64) - 1
        rig.raise_(40, False)
        assert rig.gic.trace_time == (1 << 64) - 1
    assert {event.time for event in tracer.events()} == {1000, (1 << 64) - 1}
    with pytest.raises(ConfigError, match="trace_time must be in 0"):
        rig.gic.trace_time = 1 << 64
    rig.gic.trace_time = 5
    assert rig.gic.trace_time == 0


def test_the_clock_of_the_host_does_not_go_back() -> None:
    rig = ready()
    with Tracer(rig.gic, clock="host") as tracer:
        rig.raise_(40)
        rig.raise_(40, False)
    times = [event.time for event in tracer.events()]
    assert times == sorted(times)
    assert times[0] > 0


# --- the ring


@pytest.mark.parametrize(("entries", "kept"), [(1, 1), (2, 2), (3, 4), (4, 4)])
def test_the_oldest_events_give_way(entries: int, kept: int) -> None:
    rig = ready()
    with Tracer(rig.gic, entries) as tracer:
        for _ in range(3):
            rig.raise_(20, pe=1)
            rig.raise_(20, False, pe=1)
            assert len(tracer.events()) == min(kept, len(tracer.events()) + tracer.lost)
        rig.raise_(40)
    assert [event[0] for event in told(tracer)] == ["PENDING", "PENDING", "ROUTED", "LINES"][-kept:]
    assert tracer.lost > 0
    assert len(tracer.events()) == kept


@pytest.mark.parametrize(("arguments", "text"), [
    ({"entries": 0}, "entries must be in 1..16777216, got 0"),
    ({"entries": (1 << 24) + 1}, "got 16777217"),
    ({"clock": "wall"}, "clock must be 'caller' or 'host', got 'wall'"),
])
def test_a_tracer_refuses_what_it_cannot_do(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Tracer(ready().gic, **arguments)


def test_a_tracer_that_is_off_records_nothing_and_keeps_what_it_has() -> None:
    rig = ready()
    tracer = Tracer(rig.gic)
    assert tracer.events() == []
    tracer.stop()
    with tracer:
        rig.raise_(40)
    before = tracer.events()
    rig.raise_(40, False)
    tracer.stop()
    assert tracer.events() == before != []
    with tracer:
        pass
    assert tracer.events() == []


def test_a_second_tracer_takes_the_place_of_the_first_which_keeps_what_it_has() -> None:
    rig = ready()
    first, second = Tracer(rig.gic), Tracer(rig.gic, 1)
    first.start()
    rig.write_bit("ISPENDR", 20, 1)
    had = first.events()
    second.start()
    rig.raise_(40)
    assert first.events() == had != []
    first.stop()
    rig.raise_(40, False)
    assert (first.events(), first.lost) == (had, 0)
    assert told(second) == [("LINES", 0, None, 0)]
    second.stop()
    rig.raise_(40)
    assert told(second) == [("LINES", 0, None, 0)]


def test_a_tracer_that_is_dropped_stops() -> None:
    rig = ready()
    tracer = Tracer(rig.gic)
    tracer.start()
    rig.gic.trace_time = 5
    assert rig.gic.trace_time == 5
    del tracer
    assert rig.gic.trace_time == 0
    rig.raise_(40)


@pytest.mark.drops_gics
def test_a_tracer_and_its_gic_that_hold_each_other_are_collected() -> None:
    rig = ready()
    tracer = Tracer(rig.gic)
    tracer.start()
    rig.gic.on_line = tracer.events  # never called
    gone = weakref.ref(tracer)
    del tracer, rig
    gc.collect()
    assert gone() is None


# --- it only looks


@pytest.mark.parametrize("name", ["ds1", "ds1-one", "ds0", "1ofn", "all-ds0"])
def test_a_traced_gic_does_what_an_untraced_one_does(name: str) -> None:
    ops = trace(name, seed=77)
    gic, other = (GICv3(GICv3Config(**CONFIGS[name])) for _ in range(2))
    tracer = Tracer(gic, 256)
    seen = 0
    for number, op in enumerate(ops):
        if number % 100 == 20:
            tracer.start()
        if number % 100 == 80:
            tracer.stop()
            seen += len(tracer.events())
        assert act(gic, op) == act(other, op)
        if number % 10 == 0:
            gic.check()
            assert gic.state_digest() == other.state_digest()
    assert gic.save() == other.save()
    assert seen > 10


@pytest.mark.parametrize("traced", [True, False])
def test_a_save_point_is_good_whether_or_not_a_trace_was_on(traced: bool) -> None:
    rig = ready()
    tracer = Tracer(rig.gic)
    if traced:
        tracer.start()
    point = rig.gic.savepoint()
    if traced:
        tracer.stop()
    else:
        tracer.start()
    rig.gic.rewind(point)
    rig.gic.check()
    rig.raise_(20, pe=1)
    assert ("PENDING", 1, 20, 0) in told(tracer) or traced


# --- exports


def test_text_has_one_line_an_event() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        rig.gic.trace_time = 12
        rig.raise_(40)
        rig.gic.pe[1]["ICC_SGI1R_EL1"] = 5 << 24 | 1
        rig.gic.pe[0]["ICC_IAR1_EL1"]
    assert [line.split() for line in tracer.text().splitlines()] == [
        ["12", "GIC", "pending", "40"],
        ["12", "PE", "0", "routed", "40", "priority", "0xa0"],
        ["12", "PE", "0", "lines", "IRQ", "for", "40"],
        ["12", "PE", "1", "sgi", "5", "value", "0x5000001"],
        ["12", "PE", "0", "pending", "5"],
        ["12", "PE", "0", "taken", "40", "priority", "0xa0"],
        ["12", "PE", "0", "lines", "none"],
    ]


def test_chrome_has_a_track_for_each_pe_and_a_slice_for_each_interrupt_in_service() -> None:
    rig = ready()
    with Tracer(rig.gic) as tracer:
        for time, action in enumerate([
            lambda: rig.raise_(40), lambda: rig.gic.pe[0]["ICC_IAR1_EL1"],
            lambda: rig.gic.pe[1].sysreg_write("ICC_SGI1R_EL1", 3 << 24 | 1), lambda: rig.gic.pe[0]["ICC_IAR1_EL1"],
            lambda: rig.gic.pe[0].sysreg_write("ICC_EOIR1_EL1", 3),
            lambda: rig.gic.pe[0].sysreg_write("ICC_EOIR1_EL1", 40), lambda: rig.raise_(40, False),
        ]):
            rig.gic.trace_time = 1000 * (time + 1)
            action()
    trace_events = json.loads(tracer.chrome(ticks_per_us=100))["traceEvents"]
    tracks = {entry["tid"]: entry["args"]["name"] for entry in trace_events if entry["name"] == "thread_name"}
    assert tracks == {0: "Distributor", 1: "PE 0", 2: "PE 1"}
    slices = [(entry["name"], entry["tid"], entry["ts"], entry["dur"]) for entry in trace_events if entry["ph"] == "X"]
    assert slices == [("INTID 40", 1, 20.0, 40.0), ("INTID 3", 1, 40.0, 10.0)]
    instants = [(entry["cat"], entry["tid"], entry["ts"]) for entry in trace_events if entry["ph"] == "i"]
    assert instants[0] == ("pending", 0, 10.0)
    assert ("sgi", 2, 30.0) in instants


def test_an_interrupt_that_does_not_end_lasts_until_the_trace_does() -> None:
    events = [Event(0, Kind.TAKEN, 0, 27, 0x80), Event(7, Kind.LINES, 0, None, 0), Event(9, Kind.ENDED, 0, 28, 0)]
    (only,) = [entry for entry in json.loads(to_chrome(events))["traceEvents"] if entry["ph"] == "X"]
    assert (only["ts"], only["dur"]) == (0, 9)


@pytest.mark.parametrize(("kind", "pe", "ended"), [
    (Kind.UNPLUGGED, 0, [3.0, 3.0, 9.0]),
    (Kind.RESET, 0, [3.0, 3.0, 9.0]),
    (Kind.RESET, None, [3.0, 3.0, 3.0]),
    (Kind.RESTORED, None, [3.0, 3.0, 3.0]),
    (Kind.ASLEEP, 0, [9.0, 9.0, 9.0]),
])
def test_what_is_in_service_ends_when_its_pe_forgets_it(kind: Kind, pe: int | None, ended: list[float]) -> None:
    events = [Event(0, Kind.TAKEN, 0, 27, 0x80), Event(0, Kind.TAKEN, 0, 28, 0x40), Event(0, Kind.TAKEN, 1, 27, 0x80),
              Event(3, kind, pe, None, 0), Event(9, Kind.LINES, 0, None, 0)]
    entries = json.loads(to_chrome(events))["traceEvents"]
    assert [entry["dur"] for entry in entries if entry["ph"] == "X"] == ended
    assert sum(entry["ph"] == "i" for entry in entries) == 2


def test_interrupts_that_end_out_of_order_have_their_own_ends() -> None:
    events = [Event(0, Kind.TAKEN, 0, 27, 0x80), Event(1, Kind.TAKEN, 0, 28, 0x40), Event(2, Kind.ENDED, 0, 27, 0x40),
              Event(5, Kind.ENDED, 0, 28, 0x40)]
    assert [entry["dur"] for entry in json.loads(to_chrome(events))["traceEvents"] if entry["ph"] == "X"] == [2.0, 4.0]


def test_a_clock_that_goes_back_makes_no_negative_time() -> None:
    events = [Event(5, Kind.TAKEN, 0, 27, 0), Event(6, Kind.TAKEN, 0, 28, 0), Event(4, Kind.ENDED, 0, 28, 0)]
    assert [entry["dur"] for entry in json.loads(to_chrome(events))["traceEvents"] if entry["ph"] == "X"] == [0.0, 0.0]


@pytest.mark.parametrize("ticks", [0, -1, 9e-10, 1.1e9, 1e-320, float("nan"), float("inf"), 10**400, "1", None])
def test_ticks_that_no_clock_has_are_refused(ticks: Any) -> None:
    with pytest.raises(ConfigError, match=r"ticks_per_us must be in 1e-9..1e9, got"):
        to_chrome([], ticks)


@pytest.mark.parametrize("ticks", [1e-9, 1e9, numpy.int64(1000)])
def test_the_slowest_and_the_fastest_clock_make_json(ticks: Any) -> None:
    events = [Event(0, Kind.TAKEN, 0, 27, 0), Event((1 << 64) - 1, Kind.ENDED, 0, 27, 0)]
    text = to_chrome(events, ticks)
    assert json.loads(text, parse_constant=pytest.fail)["traceEvents"]


def test_without_a_clock_an_event_stands_at_its_number() -> None:
    events = [Event(0, Kind.RESET, None, None, 0), Event(0, Kind.LINES, 3, None, 1)]
    entries = [entry for entry in json.loads(to_chrome(events))["traceEvents"] if entry["ph"] == "i"]
    assert [(entry["ts"], entry["tid"]) for entry in entries] == [(0, 0), (1, 4)]
    assert json.loads(to_chrome([]))["traceEvents"]


def test_the_host_clock_is_in_nanoseconds() -> None:
    rig = ready()
    with Tracer(rig.gic, clock="host") as tracer:
        rig.raise_(40)
    first = next(entry for entry in json.loads(tracer.chrome())["traceEvents"] if entry["ph"] == "i")
    assert first["ts"] == tracer.events()[0].time / 1000
