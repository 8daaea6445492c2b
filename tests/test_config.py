"""The embedder's mistakes: each names the value and the limit and changes nothing. The ends of every range."""

import dataclasses
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import pytest
from rig import Rig

from gicv3 import ConfigError, Frame, GicError, GICv3, GICv3Config

GOOD: dict[str, list[Any]] = {
    "spis": [0, 32, 960, 988],
    "espis": [0, 32, 1024],
    "eppis": [0, 32, 64],
    "priority_bits": [4, 5, 6, 7, 8],
    "id_bits": [10, 24],
    "iidr": [0, 0xFFFF_FFFF],
    "hpp_rule": ["filter", "gate"],
    "apr_rule": ["minimum", "bpr"],
    "unknown_route": ["nowhere", "first"],
    "tie": ["lowest", "highest"],
    "aff3": [False, True],
    "settle_steps": [0, 1_000_000],
    "work_budget": [1, 1 << 24],
    "dist_base": [0, 0x0800_0000, (1 << 52) - 0x10000],
    "redist_regions": [[(0, 1)], [(0x0801_0000, 1)], [((1 << 52) - 0x20000, 1)]],
}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"cpus": 0}, "cpus must be in 1..65536, got 0"),
    ({"cpus": -1}, "cpus must be in 1..65536, got -1"),
    ({"cpus": 65537}, "cpus must be in 1..65536, got 65537"),
    ({"cpus": None}, "exactly one of cpus and affinities must be given"),
    ({"affinities": [0]}, "exactly one of cpus and affinities must be given"),
    ({"cpus": None, "affinities": []}, r"len\(affinities\) must be in 1..65536, got 0"),
    ({"cpus": None, "affinities": range(65537)}, r"len\(affinities\) must be in 1..65536, got 65537"),
    ({"cpus": None, "affinities": [0, 1 << 24]}, "Aff3 in 39:32 and Aff2..Aff0 in 23:0 only, got 0x1000000"),
    ({"cpus": None, "affinities": [1 << 31]}, "Aff3 in 39:32 and Aff2..Aff0 in 23:0 only, got 0x80000000"),
    ({"cpus": None, "affinities": [1 << 40]}, "Aff3 in 39:32 and Aff2..Aff0 in 23:0 only, got 0x10000000000"),
    ({"cpus": None, "affinities": [-1]}, "Aff3 in 39:32 and Aff2..Aff0 in 23:0 only, got -0x1"),
    ({"cpus": None, "affinities": [5, 6, 5]}, "affinities must be distinct, got 0x5 twice"),
    ({"spis": -32}, "spis must be a multiple of 32 in 0..960, or 988, got -32"),
    ({"spis": 31}, "spis must be a multiple of 32 in 0..960, or 988, got 31"),
    ({"spis": 987}, "or 988, got 987"),
    ({"spis": 989}, "or 988, got 989"),
    ({"spis": 992}, "or 988, got 992"),
    ({"espis": 33}, "espis must be a multiple of 32 in 0..1024, got 33"),
    ({"espis": 1056}, "espis must be a multiple of 32 in 0..1024, got 1056"),
    ({"espis": -32}, "espis must be a multiple of 32 in 0..1024, got -32"),
    ({"eppis": 16}, "eppis must be 0, 32 or 64, got 16"),
    ({"eppis": 96}, "eppis must be 0, 32 or 64, got 96"),
    ({"priority_bits": 3}, "priority_bits must be in 4..8, got 3"),
    ({"priority_bits": 9}, "priority_bits must be in 4..8, got 9"),
    ({"priority_bits": 4, "security": True}, "priority_bits must be in 5..8, got 4"),
    ({"hpp_rule": "qemu"}, "hpp_rule must be 'filter' or 'gate', got 'qemu'"),
    ({"apr_rule": ""}, "apr_rule must be 'minimum' or 'bpr', got ''"),
    ({"unknown_route": "last"}, "unknown_route must be 'nowhere' or 'first', got 'last'"),
    ({"tie": "first"}, "tie must be 'lowest' or 'highest', got 'first'"),
    ({"cpus": None, "affinities": [0, 1 << 32], "aff3": False}, "affinities must have Aff3 = 0 .*, got 0x100000000"),
    ({"id_bits": 9}, "id_bits must be in 10..24, got 9"),
    ({"id_bits": 25}, "id_bits must be in 10..24, got 25"),
    ({"id_bits": 12, "espis": 32}, "id_bits must be in 13..24 with espis, got 12"),
    ({"id_bits": 10, "eppis": 32}, "id_bits must be in 11..24 with eppis, got 10"),
    ({"iidr": -1}, "iidr must be in 0..0xffffffff, got -0x1"),
    ({"iidr": 1 << 32}, "iidr must be in 0..0xffffffff, got 0x100000000"),
    ({"settle_steps": -1}, "settle_steps must be in 0..1000000, got -1"),
    ({"work_budget": 0}, "work_budget must be in 1..16777216, got 0"),
    ({"work_budget": (1 << 24) + 1}, "work_budget must be in 1..16777216, got 16777217"),
    ({"settle_steps": 1_000_001}, "settle_steps must be in 0..1000000, got 1000001"),
    ({"pidr": [[0] * 8] * 2}, "pidr must be three sequences of eight bytes, got"),
    ({"pidr": [[0] * 7] * 3}, "pidr must be three sequences of eight bytes, got"),
    ({"pidr": [[256] * 8] * 3}, "pidr must be three sequences of eight bytes, got"),
    ({"dist_base": 0x1000}, "64 KB aligned and end below 2\\*\\*52, got 0x1000"),
    ({"dist_base": -0x10000}, "64 KB aligned and end below 2\\*\\*52, got -0x10000"),
    ({"dist_base": 1 << 52}, "64 KB aligned and end below 2\\*\\*52, got 0x10000000000000"),
    ({"message_frame": 0x0A00_0000}, "message_frame needs message_spis=True, got False"),
    ({"message_spis": True, "message_frame": 0x0A00_8000}, "64 KB aligned and end below 2\\*\\*52, got 0xa008000"),
    ({"message_spis": True, "message_frame": 0x0800_0000}, "must not overlap: 0x8000000 is below 0x8010000"),
    ({"redist_regions": [(0x8000, 1)]}, "64 KB aligned and end below 2\\*\\*52, got 0x8000"),
    ({"redist_regions": [((1 << 52) - 0x10000, 1)]}, "64 KB aligned and end below 2\\*\\*52, got 0xfffffffff0000"),
    ({"redist_regions": []}, r"redist_regions must hold 1 PEs with none empty, got \[\]"),
    ({"redist_regions": [(0, 2)]}, r"redist_regions must hold 1 PEs with none empty, got \[\(0, 2\)\]"),
    ({"redist_regions": [(0, 1), (0x9000_0000, 0)]}, "redist_regions must hold 1 PEs with none empty"),
    ({"redist_regions": [(0, 2), (0x9000_0000, -1)]}, "redist_regions must hold 1 PEs with none empty"),
    ({"redist_regions": [(0x0800_0000, 1)]}, "must not overlap: 0x8000000 is below 0x8010000"),
    ({"redist_regions": [(0x07FF_0000, 1)]}, "must not overlap: 0x8000000 is below 0x8010000"),
    ({"cpus": 2, "redist_regions": [(0, 1), (0x1_0000, 1)]}, "must not overlap: 0x10000 is below 0x20000"),
]


def label(entry: Any) -> str:
    return ",".join(f"{name}={value!r}"[:40] for name, value in entry.items()) if isinstance(entry, dict) else ""


@pytest.mark.parametrize(("change", "message"), BAD, ids=label)
def test_a_bad_configuration_names_the_value_and_the_limit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        GICv3(GICv3Config(**{"cpus": 1} | change))
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, GicError)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_the_ends_of_every_range_are_valid(name: str, value: Any) -> None:
    gic = GICv3(GICv3Config(cpus=1, **{name: value}))
    assert getattr(gic.config, name) == (tuple(value) if isinstance(value, list) else value)
    gic.check()


@pytest.mark.parametrize("name", ["cpus", "spis", "priority_bits", "id_bits", "iidr", "dist_base", "settle_steps"])
@pytest.mark.parametrize("value", [1.5, 32.0, "32"])
def test_a_number_that_is_no_integer_is_a_type_error(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, got {value!r}"):
        GICv3(GICv3Config(**{"cpus": 1} | {name: value}))


def test_a_configuration_is_frozen_and_kept() -> None:
    config = GICv3Config(cpus=3)
    gic = GICv3(config)
    assert gic.config is config
    assert gic.num_pe == config.num_pe == 3
    assert config.regions == ((0x080A_0000, 3),)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.cpus = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        GICv3Config(4)  # type: ignore[misc]


Call = Callable[[GICv3], Any]
PE_LIMIT = "pe must be in 0..2, got"
SPI_LIMIT = r"intid must be an implemented SPI \(32..95 or 4096..4127\), got"
PPI_LIMIT = r"intid must be an implemented PPI \(16..31 or 1056..1087\), got"
U64 = "must be in 0..0xffffffffffffffff, got"
NO_PE = (-1, 3, 1 << 32, 1 << 70, -(1 << 70))
CALLS: list[tuple[str, Call, str]] = [
    *((f"{name}({pe})", methodcaller(name, pe), f"{PE_LIMIT} {pe}")
      for name in ("line", "affinity", "is_accessible", "cpu", "save_pe", "reset_cpuif", "counters")
      for pe in NO_PE),
    *((f"{name}({intid})", methodcaller(name, intid, *more), f"{SPI_LIMIT} {intid}")
      for name, more in (("set_spi", (True,)), ("pulse_spi", ()), ("spi_line", ()))
      for intid in (-1, 0, 31, 96, 1019, 1020, 4095, 4128, 8192, 1 << 32 | 40, 1 << 70)),
    *((f"{name}({intid})", methodcaller(name, 0, intid, *more), f"{PPI_LIMIT} {intid}")
      for name, more in (("set_ppi", (True,)), ("pulse_ppi", ()), ("ppi_line", ()))
      for intid in (-1, 0, 15, 32, 1055, 1088, 4096, 1 << 32 | 20, 1 << 70)),
    ("set_ppi(3)", methodcaller("set_ppi", 3, 20, True), f"{PE_LIMIT} 3"),
    ("pulse_ppi(-1)", methodcaller("pulse_ppi", -1, 20), f"{PE_LIMIT} -1"),
    ("ppi_line(3)", methodcaller("ppi_line", 3, 20), f"{PE_LIMIT} 3"),
    ("mmio_read(-1)", methodcaller("mmio_read", -1), f"address {U64} -1"),
    ("mmio_read(2**64)", methodcaller("mmio_read", 1 << 64), f"address {U64} 18446744073709551616"),
    ("mmio_read(size=-1)", methodcaller("mmio_read", 0, -1), "size must be in 0..0xffffffff, got -1"),
    ("mmio_read(pe=3)", methodcaller("mmio_read", 0, pe=3), f"{PE_LIMIT} 3"),
    ("mmio_write(-1)", methodcaller("mmio_write", -1, 0), f"address {U64} -1"),
    ("mmio_write(value)", methodcaller("mmio_write", 0x0800_0000, 1 << 64), f"value {U64} 1844"),
    ("mmio_write(-value)", methodcaller("mmio_write", 0x0800_0000, -1), f"value {U64} -1"),
    ("mmio_write(size)", methodcaller("mmio_write", 0x0800_0000, 3, 1 << 32), "size must be in 0..0xffffffff, got"),
    ("frame_read(-1)", methodcaller("frame_read", -1, 0), "frame must be .*, got -1"),
    ("frame_read(9)", methodcaller("frame_read", 9, 0), "frame must be .*, got 9"),
    ("frame_read(offset)", methodcaller("frame_read", Frame.GICD, -4), "offset must be in 0..0xffffffff, got -4"),
    ("frame_read(big)", methodcaller("frame_read", Frame.GICD, 1 << 32), "offset must be in 0..0xffffffff, got"),
    ("frame_read(index)", methodcaller("frame_read", Frame.RD, 0, index=3), f"{PE_LIMIT} 3"),
    ("frame_write(9)", methodcaller("frame_write", 9, 0, 0), "frame must be .*, got 9"),
    ("frame_write(value)", methodcaller("frame_write", Frame.GICD, 0, -1), f"value {U64} -1"),
    ("frame_write(offset)", methodcaller("frame_write", Frame.GICD, -1, 0), "offset must be in 0..0xffffffff, got -1"),
    ("frame_write(index)", methodcaller("frame_write", Frame.RD, 0, 0, index=-1), f"{PE_LIMIT} -1"),
    ("sysreg_read(pe)", methodcaller("sysreg_read", 3, "ICC_PMR_EL1"), f"{PE_LIMIT} 3"),
    ("sysreg_write(pe)", methodcaller("sysreg_write", -1, "ICC_PMR_EL1", 0), f"{PE_LIMIT} -1"),
    ("sysreg_write(value)", methodcaller("sysreg_write", 0, "ICC_PMR_EL1", 1 << 64), f"value {U64} 1844"),
    ("sysreg_write(-value)", methodcaller("sysreg_write", 0, "ICC_PMR_EL1", -1), f"value {U64} -1"),
    ("sysreg_access(pe)", methodcaller("sysreg_access", 3, "ICC_PMR_EL1"), f"{PE_LIMIT} 3"),
    ("sysreg_access(value)", methodcaller("sysreg_access", 0, "ICC_PMR_EL1", -1), f"value {U64} -1"),
    ("set_context(pe)", methodcaller("set_context", 3), f"{PE_LIMIT} 3"),
    ("set_context(el=2)", methodcaller("set_context", 0, el=2), r"el must be one of \[0, 1\].*, got 2"),
    ("set_context(el=3)", methodcaller("set_context", 0, el=3), r"el must be one of \[0, 1\].*, got 3"),
    ("set_context(el=-1)", methodcaller("set_context", 0, el=-1), r"el must be one of \[0, 1\].*, got -1"),
    ("set_context(secure)", methodcaller("set_context", 0, secure=True), "secure must be False .*, got True"),
    ("set_context(scr)", methodcaller("set_context", 0, scr_el3=1 << 64), f"scr_el3 {U64} 1844"),
    ("set_context(hcr)", methodcaller("set_context", 0, hcr_el2=-1), f"hcr_el2 {U64} -1"),
    ("set_context(ich)", methodcaller("set_context", 0, ich_hcr_el2=1 << 32), "ich_hcr_el2 must be in 0..0xffffffff"),
    ("set_cpustate(pe)", methodcaller("set_cpustate", 3, None, True), f"{PE_LIMIT} 3"),
    ("restore_pe(pe)", lambda gic: gic.restore_pe(3, gic.save_pe(0)), f"{PE_LIMIT} 3"),
    ("step(-1)", methodcaller("step", -1), "steps must be in 0..0xffffffff, got -1"),
    ("step(2**32)", methodcaller("step", 1 << 32), "steps must be in 0..0xffffffff, got 4294967296"),
]


@pytest.fixture
def running() -> GICv3:
    """A GIC with something going on, so that a half-done change would show."""
    rig = Rig(3, spis=64, espis=32, eppis=32)
    rig.prepare(40, 1)
    rig.raise_(40)
    rig.prepare(20, 0)
    return rig.gic


@pytest.mark.parametrize(("call", "message"), [entry[1:] for entry in CALLS], ids=[entry[0] for entry in CALLS])
def test_a_bad_argument_names_the_value_and_the_limit_and_changes_nothing(
    running: GICv3, call: Call, message: str
) -> None:
    digest, totals = running.state_digest(), running.totals()
    with pytest.raises(ConfigError, match=message):
        call(running)
    assert running.state_digest() == digest
    assert running.totals() == totals
    running.check()


@pytest.mark.parametrize(
    "call",
    [
        methodcaller("set_spi", 40.0, True), methodcaller("set_ppi", 0, 20.5, True), methodcaller("line", 1.0),
        methodcaller("mmio_read", 0.0), methodcaller("frame_read", 0, 0.0), methodcaller("frame_read", 0.0, 0),
        methodcaller("sysreg_write", 0, "ICC_PMR_EL1", 1.0), methodcaller("proc_num", 0.0),
        methodcaller("set_spi", "40", 1), methodcaller("line", None), methodcaller("step", 0.5),
    ],
)
def test_what_is_no_integer_is_a_type_error(running: GICv3, call: Call) -> None:
    digest = running.state_digest()
    with pytest.raises(TypeError):
        call(running)
    assert running.state_digest() == digest


def test_anything_with_an_index_is_an_integer(running: GICv3) -> None:
    import numpy

    running.set_spi(numpy.uint16(41), True)
    assert running.spi_line(numpy.int64(41)) is True
    assert running.line(numpy.uint8(1)) == 1
    assert running.frame_read(numpy.uint32(0), numpy.uint32(0x104), numpy.uint8(4)) == 0x100


@pytest.mark.parametrize("mpidr", [-1, 1 << 64, 1 << 40, 0x99])
def test_an_affinity_that_no_pe_can_have_finds_none(running: GICv3, mpidr: int) -> None:
    assert running.proc_num(mpidr) == -1


def test_a_gic_without_extended_ranges_does_not_offer_them_in_its_errors() -> None:
    gic = GICv3(GICv3Config(cpus=1, spis=0))
    with pytest.raises(ConfigError, match=r"intid must be an implemented SPI \(none\), got 32"):
        gic.set_spi(32, True)
    with pytest.raises(ConfigError, match=r"intid must be an implemented PPI \(16..31\), got 1056"):
        gic.set_ppi(0, 1056, True)
    with pytest.raises(ConfigError, match=r"\(4096..4127\), got 32"):
        GICv3(GICv3Config(cpus=1, spis=0, espis=32)).set_spi(32, True)


@pytest.mark.parametrize(
    ("config", "levels"),
    [
        ({}, [0, 1]), ({"el2": True}, [0, 1, 2]), ({"security": True}, [0, 1, 3]),
        ({"el2": True, "security": True}, [0, 1, 2, 3]),
    ],
)
def test_a_pe_runs_at_the_exception_levels_it_has(config: dict[str, Any], levels: list[int]) -> None:
    gic = GICv3(GICv3Config(cpus=1, **config))
    for el in range(5):
        if el in levels:
            gic.set_context(0, el=el)
        else:
            with pytest.raises(ConfigError, match=f"got {el}"):
                gic.set_context(0, el=el)


# --- views


def test_views_are_equal_by_gic_and_index(running: GICv3) -> None:
    other = GICv3(GICv3Config(cpus=3))
    for make in (lambda gic, pe: gic.pe[pe], lambda gic, pe: gic.redist[pe]):
        assert make(running, 1) == make(running, 1)
        assert hash(make(running, 1)) == hash(make(running, 1))
        assert make(running, 1) != make(running, 2)
        assert make(running, 1) != make(other, 1)
        assert make(running, 1) != 1
    assert running.dist == running.dist != other.dist
    assert running.dist != running.redist[0]
    assert repr(running.pe[1]) == "<PE 1>"
    assert repr(running.redist[1]) == "<GICR_* of PE 1>"
    assert repr(running.dist) == "<GICD_*>"


def test_sequences_of_views_take_indexes_of_pes_alone(running: GICv3) -> None:
    for views in (running.pe, running.redist):
        assert len(views) == 3
        assert [view.index for view in views] == [0, 1, 2]
        assert [view.index for view in views[1:]] == [1, 2]
        for index in (3, -1):
            with pytest.raises(IndexError, match=f"PE index must be in 0..2, got {index}"):
                views[index]


def test_a_pe_view_passes_its_context_on() -> None:
    gic = GICv3(GICv3Config(cpus=2, security=True))
    pe = gic.pe[1]
    assert pe.sysreg_access("ICC_CTLR_EL3").kind == "undefined"
    pe.set_context(el=3, secure=True)
    assert pe.sysreg_access("ICC_CTLR_EL3", 4).kind == "value"
    assert pe["ICC_CTLR_EL3"] & 4
    assert gic.sysreg_access(0, "ICC_CTLR_EL3").kind == "undefined"


def test_memory_per_pe_stays_below_a_kibibyte() -> None:
    for cpus in (64, 65536):
        gic = GICv3(GICv3Config(cpus=cpus, spis=988, espis=1024, eppis=64, one_of_n=True))
        assert gic.memory_use()["per_pe"] <= 1024
