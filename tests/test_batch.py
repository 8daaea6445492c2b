"""Batches do what single calls do, element by element and in order, and say where a bad element is."""

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from batch_rig import ready
from hypothesis import given, settings
from hypothesis import strategies as st
from player import CONFIGS, Player
from rig import G0, SPURIOUS, Rig

from gicv3 import Accesses, BatchError, ConfigError, GICv3, GICv3Config, Line, SysReg
from gicv3._core import run_batch
from tests.lpis import RAM, LpiRig

CODES = ("value", "undefined", "trap", "trap", "virtual")
IAR, EOIR = "ICC_IAR{}_EL1", "ICC_EOIR{}_EL1"


def take(gic: GICv3, pe: int, group: int) -> int:
    """Acknowledge by a single call; spurious where the access is not allowed."""
    access = gic.sysreg_access(pe, IAR.format(group))
    return access.value if access.kind == "value" else SPURIOUS


def end(gic: GICv3, pe: int, group: int, intid: int) -> None:
    if not 1020 <= intid <= 1023:
        gic.sysreg_write(pe, EOIR.format(group), intid)


def wire(gic: GICv3, intid: int, pe: int, level: bool) -> None:
    if intid < 32 or 1056 <= intid < 1120:
        gic.set_ppi(pe, intid, level)
    else:
        gic.set_spi(intid, level)


def pulse(gic: GICv3, intid: int, pe: int) -> None:
    if intid < 32 or 1056 <= intid < 1120:
        gic.pulse_ppi(pe, intid)
    else:
        gic.pulse_spi(intid)


class Single:
    """Every batch method, by single calls: what a batch must be equal to."""

    def __init__(self, gic: GICv3) -> None:
        self.gic = gic

    def set_lines(self, intids: list[int], pes: list[int], levels: list[int]) -> None:
        for intid, pe, level in zip(intids, pes, levels):
            wire(self.gic, intid, pe, bool(level))

    def pulse_lines(self, intids: list[int], pes: list[int]) -> None:
        for intid, pe in zip(intids, pes):
            pulse(self.gic, intid, pe)

    def sysregs(self, pes: list[int], regs: list[int], values: list[int], writes: list[int]) -> Accesses:
        done = [
            self.gic.sysreg_access(pe, reg, value if write else None)
            for pe, reg, value, write in zip(pes, regs, values, writes)
        ]
        codes = [CODES.index(access.kind) + (access.target_el == 3) for access in done]
        return Accesses(numpy.array([access.value for access in done], numpy.uint64), numpy.array(codes))

    def ack_eoi(self, pes: list[int], group: int) -> list[int]:
        taken = []
        for pe in pes:
            taken.append(take(self.gic, pe, group))
            end(self.gic, pe, group, taken[-1])
        return taken

    def cycle(self, intids: list[int], pes: list[int], group: int) -> list[int]:
        taken = []
        for intid, pe in zip(intids, pes):
            wire(self.gic, intid, pe, True)
            taken.append(take(self.gic, pe, group))
            wire(self.gic, intid, pe, False)
            end(self.gic, pe, group, taken[-1])
        return taken


TYPES = ["i8", "u8", "i4", "u4", "i2", "u2", ">i4", ">u8", ">i2", "i1", "u1", "?"]


@st.composite
def column(draw: st.DrawFn, values: list[int]) -> Any:
    """The same numbers in one of the forms that a caller may have them in."""
    largest = max(values, default=0)
    fitting = [kind for kind in TYPES if largest <= (1 if kind == "?" else numpy.iinfo(kind).max)]
    array = numpy.array(values, draw(st.sampled_from(fitting)))
    form = draw(st.sampled_from(["array", "list", "strided", "reversed", "packed", "read-only"]))
    if form == "list":
        return values
    if form == "strided":
        array = numpy.repeat(array, 3)[::3]
    elif form == "reversed":
        array = array[::-1].copy()[::-1]
    elif form == "packed":  # a field of a record that aligns nothing
        records = numpy.zeros(len(values), [("odd", "u1"), ("value", array.dtype)])
        records["value"] = array
        array = records["value"]
    elif form == "read-only":
        array.flags.writeable = False
    return array


@st.composite
def batches(draw: st.DrawFn, gic: GICv3) -> tuple[str, list[list[int]], list[Any], dict[str, int]]:
    """(method, columns as lists, columns as the caller has them, other arguments)."""
    config = gic.config
    pes = st.integers(0, gic.num_pe - 1)
    wires = [16, 20, 31, 32, 33, 31 + config.spis]
    wires += [1056, 1055 + config.eppis] if config.eppis else []
    wires += [4096, 4095 + config.espis] if config.espis else []
    regs = st.sampled_from([*map(int, gic.sysregs), int(SysReg.ICC_IAR1_EL1), int(SysReg.ICC_EOIR1_EL1), 0, 0xFFFF])
    values = st.sampled_from([0, 1, 2, 3, 0xF0, 0xFF, 1 << 24, 5 << 24 | 3, 1 << 40, *wires, (1 << 64) - 1])
    intids, levels = st.sampled_from(wires), st.integers(0, 1)
    method, *columns = draw(
        st.sampled_from(
            [
                ("set_lines", intids, pes, levels),
                ("pulse_lines", intids, pes),
                ("sysregs", pes, regs, values, levels),
                ("ack_eoi", pes),
                ("cycle", intids, pes),
            ]
        )
    )
    rows = draw(st.lists(st.tuples(*columns), max_size=150 if draw(st.booleans()) else 12))
    plain = [[row[i] for row in rows] for i in range(len(columns))]
    group = {"group": draw(st.integers(0, 1))} if method in ("ack_eoi", "cycle") else {}
    return method, plain, [draw(column(values)) for values in plain], group


LPI_CONFIGS: dict[str, dict[str, Any]] = {
    "lpis": {},
    "work": {"work_budget": 1},
    "work by callbacks": {"work_budget": 1, "callbacks": True},
}


def twins(name: str, seed: int, steps: int) -> list[GICv3]:
    """Two GICs with one random past; LPI_CONFIGS name those with LPIs."""
    made = []
    for _ in range(2):
        lpis = LPI_CONFIGS.get(name)
        gic = GICv3(GICv3Config(**CONFIGS[name])) if lpis is None else LpiRig(3, spis=32, **lpis).gic
        player = Player(gic, seed)
        player.open_everything()
        for _ in range(steps):
            player.step()
        made.append(player.gic)
    return made


def seen(gic: GICv3) -> tuple[Any, ...]:
    """All that can be asked of a GIC that tells two pasts apart."""
    counters = [gic.counters(pe) for pe in range(gic.num_pe)]
    lpis = [gic.lpi_pending(pe) for pe in range(gic.num_pe)] if gic.config.lpis else None
    lines, works = bytes(gic.lines), gic.has_work
    return gic.state_digest(), gic.changed(), counters, gic.totals(), gic.strict_log(), lines, lpis, works


@settings(max_examples=150)
@given(st.data(), st.sampled_from([*CONFIGS, *LPI_CONFIGS]), st.integers(0, 2**32), st.integers(0, 80))
def test_a_batch_does_what_single_calls_do(data: st.DataObject, name: str, seed: int, steps: int) -> None:
    single, batched = twins(name, seed, steps)
    single.changed(), batched.changed()
    told: list[tuple[int, Line, bool]] = []
    batched.on_line = lambda pe, line, level: told.append((pe, line, level))
    for _ in range(data.draw(st.integers(1, 4))):
        for intid in data.draw(st.lists(st.integers(8192, 8224), max_size=9)) if name in LPI_CONFIGS else []:
            for gic in (single, batched):
                gic.redist[intid % 3]["GICR_SETLPIR"] = intid
                gic.redist[intid % 3]["GICR_INVALLR"] = 0  # work, as long as the LPIs that pend are many
        assert single.changed() == batched.changed()
        told.clear()
        method, lists, arrays, more = data.draw(batches(single))
        before = bytes(single.lines)
        expected = getattr(Single(single), method)(*lists, **more)
        result = getattr(batched.batch, method)(*arrays, **more)
        if method == "sysregs":
            assert result.values.tolist() == expected.values.tolist()
            assert result.codes.tolist() == expected.codes.tolist()
        else:
            assert (result is expected is None) or result.tolist() == expected
        moves = {(pe, bit) for pe in range(single.num_pe) for bit in Line if (before[pe] ^ single.line(pe)) & bit}
        assert {(pe, line): level for pe, line, level in told} == {
            (pe, bit): bool(single.line(pe) & bit) for pe, bit in moves
        }
        assert len(told) == len(moves)
        assert seen(batched) == seen(single)
    batched.check()


# --- one by one, what an embedder may rely on


def test_lines_rise_and_fall_in_order() -> None:
    rig = ready()
    rig.gic.batch.set_lines([20, 20, 40, 20], [0, 2, -1, 0], [1, 1, 1, 0])
    assert rig.gic.lines.tolist() == [0, 1, 1, 0]
    assert rig.gic.changed() == [0, 2, 1]


def test_one_value_stands_for_every_element() -> None:
    rig = ready()
    rig.gic.batch.set_lines(20, numpy.arange(4), True)
    assert rig.gic.lines.tolist() == [1, 1, 1, 1]
    assert rig.gic.batch.ack_eoi(numpy.arange(4)).tolist() == [20] * 4


@pytest.mark.parametrize("level", [False, True])
def test_a_latched_interrupt_is_pending_again_after_its_end_only_if_its_level_is_high(level: bool) -> None:
    rig = ready()
    rig.gic.set_ppi(0, 20, level)
    rig.gic.redist[0]["GICR_ISPENDR0"] = 1 << 20
    assert rig.gic.batch.ack_eoi([0]).tolist() == [20]
    assert rig.gic.lines[0] == level


def test_spis_need_no_pe() -> None:
    rig = ready()
    rig.gic.batch.set_lines([40, 41], None, 1)
    assert rig.gic.batch.ack_eoi([1, 1, 0]).tolist() == [41, 41, SPURIOUS]


def test_a_pulse_leaves_the_latch_and_no_level() -> None:
    rig = ready()
    rig.edge(40, True)
    rig.gic.batch.pulse_lines([40])
    assert rig.pending(40)
    assert not rig.gic.spi_line(40)


def test_a_cycle_returns_what_was_acknowledged_which_may_be_another_interrupt() -> None:
    rig = ready()
    rig.gic.set_spi(41, True)
    assert rig.gic.batch.cycle([40, 20], [1, 0]).tolist() == [41, 20]
    assert rig.gic.counters(1) == {"sgi": 0, "ppi": 0, "spi": 1}


def test_group_0_is_taken_by_the_registers_of_group_0() -> None:
    rig = ready()
    rig.prepare(21, 3, group=G0)
    rig.gic.set_ppi(3, 21, True)
    assert rig.gic.batch.ack_eoi([3], group=1).tolist() == [SPURIOUS]
    assert rig.gic.batch.ack_eoi([3], group=0).tolist() == [21]
    assert rig.gic.pe[3]["ICC_RPR_EL1"] == 0xFF


@pytest.mark.parametrize("reg", ["ICC_PMR_EL1", SysReg.ICC_PMR_EL1, int(SysReg.ICC_PMR_EL1), (3, 0, 4, 6, 0)])
def test_a_register_goes_by_name_number_or_parts(reg: Any) -> None:
    rig = ready()
    written = rig.gic.batch.sysregs(numpy.arange(4), reg, [0x10, 0x20, 0x30, 0x40])
    assert written.values.tolist() == [0, 0, 0, 0]
    assert rig.gic.batch.sysregs(numpy.arange(4), reg).values.tolist() == [0x10, 0x20, 0x30, 0x40]


def test_lpis_are_taken_too() -> None:
    rig = LpiRig(2)
    rig.lpi(8193, 8192)
    rig.lpi(8200, pe=1)
    assert rig.gic.batch.ack_eoi([0, 1, 0, 1]).tolist() == [8192, 8200, 8193, SPURIOUS]
    assert rig.gic.pe[0]["ICC_RPR_EL1"] == 0xFF


@pytest.mark.parametrize("budget", [1, 20])
@pytest.mark.parametrize("callbacks", [False, True])
def test_the_reading_of_a_pending_table_goes_on_as_with_single_calls(budget: int, callbacks: bool) -> None:
    single, batched = (LpiRig(enable=False, work_budget=budget, callbacks=callbacks) for _ in range(2))
    for rig in (single, batched):
        rig.set_table_bit(60000)
        rig.enable_lpis()
        assert rig.gic.has_work
    taken = Single(single.gic).ack_eoi([0] * 1000, 1)
    assert taken.count(60000) == 1
    assert batched.gic.batch.ack_eoi([0] * 1000).tolist() == taken
    assert seen(batched.gic) == seen(single.gic)


def test_what_a_callback_of_memory_raises_comes_out_after_the_batch() -> None:
    rig = LpiRig(enable=False, work_budget=1)
    wanted: list[int] = []

    def read(address: int, size: int) -> bytes:
        wanted.append(address)
        if len(wanted) > 1:
            raise LookupError("mine")
        return rig.read_ram(address, size)

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.enable_lpis()
    assert len(wanted) == 1
    with pytest.raises(LookupError, match=r"^mine$") as caught:
        rig.gic.batch.ack_eoi([0] * 1000)
    assert caught.value.batch_results[0].tolist() == [SPURIOUS] * 1000  # type: ignore[attr-defined]
    assert not rig.gic.has_work


def test_a_negative_value_is_no_mistake_where_nothing_is_written() -> None:
    rig = ready()
    assert rig.gic.batch.sysregs([0, 0], "ICC_PMR_EL1", [0x50, -1], [1, 0]).values.tolist() == [0, 0x50]


def test_a_list_may_mix_small_and_large_numbers() -> None:
    rig = ready()
    mixed = [0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0020, 0x20]  # NumPy would take the list for floats
    rig.gic.batch.sysregs([0, 1, 2], "ICC_PMR_EL1", mixed)
    assert [rig.gic.pe[pe]["ICC_PMR_EL1"] for pe in range(3)] == [0xF8, 0x20, 0x20]


def test_an_empty_batch_does_nothing() -> None:
    rig = ready()
    before = rig.gic.state_digest()
    assert rig.gic.batch.ack_eoi([]).shape == (0,)
    assert rig.gic.batch.sysregs(numpy.array([], int), []).codes.shape == (0,)
    rig.gic.batch.set_lines([], [], [])
    assert rig.gic.state_digest() == before


@pytest.mark.parametrize("count", [63, 64, 65, 128, 129])
def test_batches_longer_than_a_chunk_leave_nothing_out(count: int) -> None:
    rig = ready()
    assert rig.gic.batch.cycle(numpy.full(count, 20), numpy.arange(count) % 4).tolist() == [20] * count
    assert sum(rig.gic.counters(pe)["ppi"] for pe in range(4)) == count


# --- bad elements

BAD: list[tuple[str, str, tuple[Any, ...], tuple[Any, ...], str]] = [
    ("set_lines", "PE", (20, 3, 1), (20, 4, 1), "pe must be in 0..3, got 4"),
    ("set_lines", "negative PE", (20, 0, 1), (20, -1, 1), "pe must be in 0..3, got -1"),
    ("set_lines", "SGI", (16, 0, 1), (15, 0, 1), "intid must be an implemented PPI (16..31) or SPI (32..63), got 15"),
    ("set_lines", "SPI", (63, 0, 1), (64, 0, 1), "intid must be an implemented PPI (16..31) or SPI (32..63), got 64"),
    ("set_lines", "beyond 32 bits", (20, 0, 1), (20 + (1 << 32), 0, 1),
     f"intid must be an implemented PPI (16..31) or SPI (32..63), got {20 + (1 << 32)}"),
    ("set_lines", "negative INTID", (20, 0, 1), (-236, 0, 1),
     "intid must be an implemented PPI (16..31) or SPI (32..63), got -236"),
    ("pulse_lines", "PE", (20, 3), (20, 1 << 32), f"pe must be in 0..3, got {1 << 32}"),
    ("pulse_lines", "INTID", (31, 0), (0, 0), "intid must be an implemented PPI (16..31) or SPI (32..63), got 0"),
    ("sysregs", "PE", (3, 0xC230, 1, 1), (4, 0xC230, 1, 1), "pe must be in 0..3, got 4"),
    ("sysregs", "register", (0, 0xFFFF, 1, 1), (0, 0x10000, 1, 1),
     "a register encoding must be in 0..0xffff, got 65536"),
    ("sysregs", "negative value", (0, 0xC230, 0, 1), (0, 0xC230, -1, 1),
     "value must be in 0..0xffffffffffffffff, got -1"),
    ("ack_eoi", "PE", (3,), (4,), "pe must be in 0..3, got 4"),
    ("ack_eoi", "negative PE", (0,), (-4,), "pe must be in 0..3, got -4"),
    ("cycle", "PE", (20, 3), (20, 4), "pe must be in 0..3, got 4"),
    ("cycle", "who acknowledges an SPI", (40, 3), (40, 4), "pe must be in 0..3, got 4"),
    ("cycle", "INTID", (40, 1), (64, 1), "intid must be an implemented PPI (16..31) or SPI (32..63), got 64"),
]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1, 63, 64, 99])
@pytest.mark.parametrize(
    ("method", "good", "bad", "text"),
    [(m, g, b, t) for m, _, g, b, t in BAD],
    ids=[f"{m}, {name}" for m, name, *_ in BAD],
)
def test_a_bad_element_is_named_and_ends_the_batch_there(
    method: str, good: tuple[int, ...], bad: tuple[int, ...], text: str, place: int
) -> None:
    whole, cut = ready(spis=32).gic, ready(spis=32).gic
    columns = [numpy.full(100, value) for value in good]
    expected = getattr(whole.batch, method)(*(c[:place] for c in columns))
    for c, value in zip(columns, bad):
        c[place] = value
    with pytest.raises(BatchError) as caught:
        getattr(cut.batch, method)(*columns)
    assert str(caught.value) == f"element {place}: {text}"
    assert caught.value.index == place
    results = () if expected is None else expected if isinstance(expected, tuple) else (expected,)
    assert [kept.tolist() for kept in caught.value.results] == [result.tolist() for result in results]
    assert seen(cut) == seen(whole)
    for c, value in zip(columns, good):
        c[place] = value
    getattr(cut.batch, method)(*columns)  # the last one that is good


def test_a_negative_pe_of_eight_bits_does_not_wrap() -> None:
    rig = Rig(256, ready=False)
    with pytest.raises(BatchError, match=r"element 0: pe must be in 0\.\.255, got -1$"):
        rig.gic.batch.ack_eoi(numpy.array([-1], numpy.int8))


def test_the_largest_of_64_bits_is_not_minus_one() -> None:
    rig = ready()
    with pytest.raises(BatchError, match=f"got {(1 << 64) - 1}$"):
        rig.gic.batch.ack_eoi(numpy.array([(1 << 64) - 1], numpy.uint64))


NO_INTEGERS = [[0.0], numpy.array([1.5]), ["0"], [None], numpy.array([0], "M8[s]"), 0.5, numpy.array([0], object),
               numpy.array([]), numpy.array([], "U1"), numpy.ma.array([1], mask=[False])]  # fmt: skip


@pytest.mark.parametrize("bad", NO_INTEGERS)
def test_what_is_no_integer_is_refused_before_anything_happens(bad: Any) -> None:
    rig = ready()
    before = rig.gic.state_digest()
    with pytest.raises(TypeError, match=r"^levels must be integers"):
        rig.gic.batch.set_lines([20], [0], bad)
    assert rig.gic.state_digest() == before


REFUSED: dict[str, Callable[[GICv3], Any]] = {
    "lengths": lambda gic: gic.batch.set_lines([20, 20], [0, 1, 2], 1),
    "dimensions": lambda gic: gic.batch.ack_eoi(numpy.zeros((2, 2), int)),
    "group": lambda gic: gic.batch.ack_eoi([0], group=2),
    "writes without values": lambda gic: gic.batch.sysregs([0], "ICC_PMR_EL1", writes=1),
    "name": lambda gic: gic.batch.sysregs([0], "ICC_NONE"),
    "65 bits": lambda gic: gic.batch.sysregs([0], "ICC_PMR_EL1", [1 << 64]),
    "65 bits, alone": lambda gic: gic.batch.sysregs([0], "ICC_PMR_EL1", 1 << 64),
    "no type for both": lambda gic: gic.batch.sysregs([0, 0], "ICC_PMR_EL1", [-1, (1 << 64) - 1]),
    "parts": lambda gic: gic.batch.sysregs([0], (4, 0, 0, 0, 0)),
    "five encodings in a tuple": lambda gic: gic.batch.sysregs([0] * 5, (0xC230,) * 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_together_is_refused_before_anything_happens(name: str) -> None:
    gic = ready().gic
    gic.set_ppi(0, 20, True)
    before = gic.state_digest()
    with pytest.raises(ConfigError) as caught:
        REFUSED[name](gic)
    assert not isinstance(caught.value, BatchError)
    assert gic.state_digest() == before


def test_rows_of_different_lengths_are_refused_by_the_name_of_their_column() -> None:
    with pytest.raises(ConfigError, match=r"^pes must be of one dimension, got rows of different lengths: \[\[1\], "):
        ready().gic.batch.ack_eoi([[1], [2, 3]])


def test_five_encodings_go_as_a_list() -> None:
    assert ready().gic.batch.sysregs(0, [int(SysReg.ICC_PMR_EL1)] * 5).values.tolist() == [0xF8] * 5


@pytest.mark.parametrize(
    ("kind", "inputs", "results"),
    [(5, [4], [4]), (1 << 31, [4], [4]), (3, [], [4]), (3, [4] * 60, [4]), (4, [4], [4]), (4, [4, 3], [4]),
     (4, [3, 4], [3]), (3, [4], []), (3, [4], [4, 4]), (3, [4], [3]), (0, [4] * 3, [4])],
)  # fmt: skip
def test_the_core_refuses_columns_and_results_that_a_batch_has_not(
    kind: int, inputs: list[int], results: list[int]
) -> None:
    gic = ready().gic
    gic.set_ppi(0, 20, True)
    before = gic.state_digest()
    columns = tuple(numpy.zeros(length, numpy.uint32) for length in inputs)
    with pytest.raises(ValueError, match=r"^no batch "):
        run_batch(gic, kind, 1, columns, tuple(numpy.zeros(length, numpy.uint32) for length in results))
    assert gic.state_digest() == before


# --- memory and threads


def test_a_batch_needs_no_memory_but_its_results() -> None:
    rig = ready()
    count = 500_000
    intids, pes = numpy.full(2 * count, 20, ">i4")[::2], numpy.zeros((count, 3), numpy.int8)[:, 1]
    tracemalloc.start()
    try:
        taken = rig.gic.batch.cycle(intids, pes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken.nbytes == 4 * count
    assert peak < taken.nbytes + 100_000


def test_gics_in_threads_do_not_disturb_each_other() -> None:
    count = 20_000
    pes = numpy.arange(count) % 4
    gics = [ready().gic for _ in range(4)]
    results: dict[int, Any] = {}

    def run(number: int) -> None:
        results[number] = [gics[number].batch.cycle(numpy.full(count, 20), pes).tolist() for _ in range(10)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[number] for number in range(4)] == [[[20] * count] * 10] * 4
    assert [gic.counters(pe)["ppi"] for gic in gics for pe in range(4)] == [count * 10 // 4] * 16


def test_columns_that_another_thread_changes_meanwhile_do_no_harm() -> None:
    rig = ready()
    count = 20_000
    intids, pes = numpy.full(count, 20), numpy.zeros(count, int)
    stop = threading.Event()

    def disturb() -> None:
        choice = numpy.random.default_rng(1)
        while not stop.is_set():
            place = choice.integers(count)
            pes[place] = choice.choice([0, 3, 4, -1, 1 << 40])
            intids[place] = choice.choice([20, 40, 15, -1, 1 << 40])
            pes[:place:7] = intids[:place:7] = 20

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(100):
            pes[:], intids[:] = 0, 20
            try:
                taken, done = rig.gic.batch.cycle(intids, pes), count
            except BatchError as error:
                taken, done = error.results[0], error.index
            assert taken.shape == (done,)
    finally:
        stop.set()
        thread.join()
    rig.gic.check()
    assert rig.gic.batch.cycle([20, 40], [0, 1]).tolist() == [20, 40]
