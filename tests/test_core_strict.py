"""What strict mode records: every rule, the access that broke it, and that the guest sees nothing of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gicv3 import Finding, Frame, GICv3, GICv3Config
from tests.lpis import PROP, LpiRig
from tests.rig import CTLR_EOIMODE, G0, G1NS, G1S, Rig

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "explain.md"


def take(rig: Rig, intid: int) -> None:
    rig.write_bit("ISPENDR", intid)
    assert rig.iar() == intid


def eoi_out_of_order(rig: Rig) -> None:
    rig.prepare(41, priority=0x40)
    take(rig, 40)
    take(rig, 41)
    rig.eoi(40)


def split_dir(intid: int) -> Callable[[Rig], None]:
    def act(rig: Rig) -> None:
        rig.gic.pe[0]["ICC_CTLR_EL1"] = CTLR_EOIMODE
        rig.gic.pe[0]["ICC_DIR_EL1"] = intid

    return act


def trigger(intid: int, *, enabled: bool, pending: bool, pe: int = 0) -> Callable[[Rig], None]:
    """Change ICFGR of an interrupt in a state."""
    def act(rig: Rig) -> None:
        (rig.enable if enabled else rig.disable)(intid, pe)
        if pending:
            rig.raise_(intid, pe=pe)
        rig.edge(intid, True, pe)

    return act


class Case(NamedTuple):
    """An act, and what strict mode has to say of it."""

    act: Callable[[Rig], Any]
    rule: str
    pe: int | None
    intid: int | None
    register: str
    value: int | None
    kind: str = "unpredictable"
    secure: bool = False


CASES = {
    "hole": Case(lambda rig: rig.gic.frame_read(Frame.RD, 0x8000, index=1), "reserved location", 1, None, "RD+0x8000",
                 None, "reserved"),
    "outside the frame": Case(lambda rig: rig.gic.frame_read(Frame.GICD, 0xFFFC, 8), "reserved location", None, None,
                              "GICD_CIDR3", None, "reserved"),
    "size": Case(lambda rig: rig.gic.frame_write(Frame.GICD, 0x104, 5, 1), "wrong size", None, None,
                 "GICD_ISENABLER1", 5, "reserved"),
    "direction": Case(lambda rig: rig.gic.frame_write(Frame.GICD, 4, 7), "a direction", None, None, "GICD_TYPER", 7,
                      "reserved"),
    "sleep with groups enabled": Case(lambda rig: rig.gic.redist[1].__setitem__("GICR_WAKER", 2),
                                      "ProcessorSleep set while ICC_IGRPEN", 1, None, "GICR_WAKER", 2, secure=True),
    "eoi of nothing": Case(lambda rig: rig.eoi(40), "no interrupt is active", 0, 40, "ICC_EOIR1_EL1", 40),
    "eoi of nothing at another pe": Case(lambda rig: rig.eoi(40, 0, 1), "no interrupt is active", 1, 40,
                                         "ICC_EOIR0_EL1", 40),
    "eoi out of order": Case(eoi_out_of_order, "not the one acknowledged last", 0, 40, "ICC_EOIR1_EL1", 40),
    "eoi twice": Case(lambda rig: (rig.prepare(41), take(rig, 40), rig.eoi(41)), "not the one acknowledged last", 0, 41,
                      "ICC_EOIR1_EL1", 41),
    "eoi of the wrong group": Case(lambda rig: (take(rig, 40), rig.eoi(40, 0)), "wrong group", 0, 40, "ICC_EOIR0_EL1",
                                   40),
    "eoi of the first reserved": Case(lambda rig: rig.eoi(1024), "does not exist", 0, 1024, "ICC_EOIR1_EL1", 1024,
                                      "reserved"),
    "eoi of one that is not there": Case(lambda rig: (take(rig, 40), rig.eoi(96)), "does not exist", 0, 96,
                                         "ICC_EOIR1_EL1", 96, "reserved"),
    "dir of one that is not there": Case(split_dir(0xFF_FFFF), "does not exist", 0, 0xFF_FFFF, "ICC_DIR_EL1",
                                         0xFF_FFFF, "reserved"),
    "dir without eoimode": Case(lambda rig: rig.gic.sysreg_write(0, "ICC_DIR_EL1", 40), "ICC_DIR written with EOImode",
                                0, 40, "ICC_DIR_EL1", 40),
    "dir of an inactive one": Case(split_dir(40), "an INTID that is not active", 0, 40, "ICC_DIR_EL1", 40),
    "trigger of an enabled spi": Case(trigger(40, enabled=True, pending=False), "the interrupt is enabled", None, 40,
                                      "GICD_ICFGR2", 0x2_0000, secure=True),
    "trigger of a pending spi": Case(trigger(40, enabled=False, pending=True), "the interrupt is pending", None, 40,
                                     "GICD_ICFGR2", 0x2_0000, secure=True),
    "trigger of an enabled ppi": Case(trigger(20, enabled=True, pending=False, pe=1), "the interrupt is enabled", 1, 20,
                                      "GICR_ICFGR1", 0x200, secure=True),
    "trigger of a pending ppi": Case(trigger(20, enabled=False, pending=True, pe=1), "the interrupt is pending", 1, 20,
                                     "GICR_ICFGR1", 0x200, secure=True),
    "unknown route": Case(lambda rig: rig.gic.dist.__setitem__(("GICD_IROUTER", 40), 0x99), "affinity that no PE has",
                          None, 40, "GICD_IROUTER40", 0x99, secure=True),
    "irm": Case(lambda rig: rig.gic.dist.__setitem__(("GICD_IROUTER", 40), 1 << 31), "No1N is 1", None, 40,
                "GICD_IROUTER40", 1 << 31, secure=True),
    "range selector": Case(lambda rig: rig.sgi(5, 1, rs=1), "ICC_SGI*R.RS is not 0", 0, 5, "ICC_SGI1R_EL1",
                           1 << 44 | 5 << 24 | 1, "reserved"),
    "sgi to nobody": Case(lambda rig: rig.sgi(5, 4), "a PE that does not exist", 0, 5, "ICC_SGI1R_EL1", 5 << 24 | 4,
                          "hint"),
    "active priority": Case(lambda rig: rig.gic.sysreg_write(0, "ICC_AP1R0_EL1", 6), "neither 0 nor what it reads", 0,
                            None, "ICC_AP1R0_EL1", 6),
}
each_case = pytest.mark.parametrize("name", CASES)


def small(**config: Any) -> Rig:
    """Two PEs and 64 SPIs, 40 ready for use."""
    rig = Rig(2, spis=64, **config)
    rig.prepare(40)
    return rig


@each_case
def test_a_finding_names_the_rule_and_the_access(name: str) -> None:
    case = CASES[name]
    rig = small(strict=True)
    assert rig.gic.strict_log() == []
    case.act(rig)
    (finding,) = rig.gic.strict_log()
    assert case.rule in finding.rule
    assert finding[2:] == (case.pe, case.intid, case.register, case.secure, case.value)
    assert finding.kind == case.kind
    assert rig.gic.strict_counts() == {finding.rule: 1}


def test_a_finding_reads_as_a_sentence() -> None:
    assert str(Finding("hint", "some rule", 3, 40, "ICC_SGI1R_EL1", True, 0x1F)) == (
        "hint: some rule (ICC_SGI1R_EL1 = 0x1f at PE 3, Secure, INTID 40)"
    )
    assert str(Finding("reserved", "a rule", None, None, "GICD+0x14", False, None)) == (
        "reserved: a rule (GICD+0x14 read, Non-secure)"
    )


@pytest.mark.parametrize(
    ("frame", "offset", "name"),
    [
        (Frame.GICD, 0x0, "GICD_CTLR"), (Frame.GICD, 0x14, "GICD+0x14"), (Frame.GICD, 0xC08, "GICD_ICFGR2"),
        (Frame.GICD, 0xC0B, "GICD_ICFGR2"), (Frame.GICD, 0x6140, "GICD_IROUTER40"),
        (Frame.GICD, 0x6147, "GICD_IROUTER40"), (Frame.GICD, 0x3000, "GICD_ICFGR0E"),
        (Frame.GICD, 0x3004, "GICD_ICFGR1E"), (Frame.GICD, 0xFFE8, "GICD_PIDR2"),
        (Frame.RD, 0x14, "GICR_WAKER"), (Frame.SGI, 0x80, "GICR_IGROUPR0"), (Frame.SGI, 0x84, "GICR_IGROUPR1E"),
        (Frame.SGI, 0xFFFF_FFF0, "SGI+0xfffffff0"),
    ],
)  # fmt: skip
def test_a_finding_names_the_register_at_an_offset(frame: Frame, offset: int, name: str) -> None:
    gic = GICv3(GICv3Config(cpus=1, strict=True))
    gic.frame_read(frame, offset, 2)     # no register there has this size
    assert [finding.register for finding in gic.strict_log()] == [name]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("ds", [False, True])
def test_a_finding_tells_the_security_state_of_the_access_whatever_ds_makes_of_it(secure: bool, ds: bool) -> None:
    gic = GICv3(GICv3Config(cpus=1, strict=True, security=True))
    if ds:
        gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    gic.frame_read(Frame.GICD, 0x14, secure=secure)
    gic.set_context(0, secure=secure)
    gic.sysreg_write(0, "ICC_EOIR1_EL1", 40)
    assert [finding.secure for finding in gic.strict_log()] == [secure, secure]


def test_every_interrupt_of_one_icfgr_write_is_named_by_what_is_wrong_with_it() -> None:
    rig = small(strict=True, espis=32, eppis=32)
    for intid in (4100, 4105):
        rig.prepare(intid)
    rig.raise_(4105)
    rig.raise_(4106)
    rig.gic.dist["GICD_ICFGRnE", 0] = 0xAAAA_AAAA
    found = [(finding.intid, "enabled" in finding.rule) for finding in rig.gic.strict_log()]
    assert found == [(4100, True), (4105, True), (4105, False), (4106, False)]
    rig.enable(1080, 1)
    rig.edge(1080, True, 1)
    assert rig.gic.strict_log()[4][2:5] == (1, 1080, "GICR_ICFGR3E")


@pytest.mark.parametrize("shown", [0, 2], ids=["level", "edge"])
def test_writing_the_trigger_that_icfgr_has_already_is_in_order(shown: int) -> None:
    rig = small(strict=True)
    rig.disable(40)
    rig.field("ICFGR", 2, 40, shown)
    rig.enable(40)
    rig.write_bit("ISPENDR", 40)
    rig.field("ICFGR", 2, 40, shown)
    assert rig.gic.strict_log() == []


DS_RULES = {"nothing": [], "a group": ["while a group is enabled"], "an spi": ["while an interrupt is active"],
            "a ppi": ["while an interrupt is active"], "an extended ppi": ["while an interrupt is active"],
            "both": ["while a group is enabled", "while an interrupt is active"]}


@pytest.mark.parametrize("what", DS_RULES)
def test_ds_must_be_set_while_no_group_is_enabled_and_nothing_active(what: str) -> None:
    rig = Rig(2, strict=True, security=True, eppis=32, ready=False)
    intid, pe = {"an spi": (40, None), "both": (40, None), "a ppi": (27, 1), "an extended ppi": (1060, 1)}.get(
        what, (None, None)
    )
    if what in ("a group", "both"):
        rig.gic.dist["GICD_CTLR"] = 4
    if intid is not None:
        rig.group(intid, G1NS, pe or 0)
        rig.write_bit("ISACTIVER", intid, pe or 0)
    rig.gic.dist["GICD_CTLR"] = 0x40
    found = rig.gic.strict_log()
    assert len(found) == len(DS_RULES[what])
    for finding, rule in zip(found, DS_RULES[what], strict=True):
        assert rule in finding.rule
        assert finding[2:] == ((pe, intid) if "active" in rule else (None, None)) + ("GICD_CTLR", True, 0x40)
    rig.gic.dist["GICD_CTLR"] = 0x42
    assert rig.gic.strict_log() == found, "it was set already"


def test_a_wake_request_before_the_pe_sleeps_is_recorded() -> None:
    late = Rig(1, strict=True, settle_steps=2, ready=False)
    late.gic.redist[0]["GICR_WAKER"] = 0
    late.gic.step(2)
    late.gic.redist[0]["GICR_WAKER"] = 2
    late.gic.redist[0]["GICR_WAKER"] = 0
    (finding,) = late.gic.strict_log()
    assert "cleared before ChildrenAsleep was 1" in finding.rule
    assert finding[2:] == (0, None, "GICR_WAKER", True, 0)


@pytest.mark.parametrize("name", ["GICR_PROPBASER", "GICR_PENDBASER"])
def test_lpi_tables_must_not_be_moved_while_lpis_are_enabled(name: str) -> None:
    rig = LpiRig(2, strict=True, enable=False)
    rig.gic.redist[1][name] = PROP
    assert rig.gic.strict_log() == []
    rig.enable_lpis(1)
    rig.gic.redist[0][name] = PROP
    rig.gic.redist[1][name] = PROP
    (finding,) = rig.gic.strict_log()
    assert "written while GICR_CTLR.EnableLPIs is 1" in finding.rule
    assert finding[2:] == (1, None, name, True, PROP)


@pytest.mark.parametrize(
    ("group", "enter"), [(G1NS, "secure"), (G1S, "nonsecure"), (G0, "nonsecure")], ids=["G1NS", "G1S", "G0"]
)
def test_ending_a_group_of_the_other_state_is_recorded(group: int, enter: str) -> None:
    rig = Rig(1, strict=True, security=True)
    rig.prepare(40, group=group, priority=0x90)
    rig.raise_(40)
    rig.el3()
    assert rig.iar(min(group, 1)) == 40
    getattr(rig, enter)()
    rig.eoi(40, min(group, 1))
    (finding,) = rig.gic.strict_log()
    assert "a group that this state may not end" in finding.rule
    assert finding.secure == (enter == "secure")


def test_proper_use_leaves_the_log_empty() -> None:
    rig = Rig(2, strict=True, security=True, nmi=True, one_of_n=True)
    for intid, group in ((3, G1NS), (20, G1NS), (40, G1NS), (41, G1S), (42, G0)):
        rig.prepare(intid, group=group, priority=0x90)
        rig.raise_(intid)
        rig.el3()
        number = min(group, 1)
        assert rig.iar(number) == intid
        rig.raise_(intid, False)
        rig.eoi(intid, number)
    rig.prepare(43, group=G1NS)
    rig.field("INMIR", 1, 43, 1)
    rig.raise_(43)
    rig.nonsecure(nmi=True)
    assert rig.gic.pe[0]["ICC_NMIAR1_EL1"] == 43
    value = rig.gic.pe[0]["ICC_AP1R0_EL1"]
    rig.gic.pe[0]["ICC_AP1R0_EL1"] = 0
    rig.gic.pe[0]["ICC_AP1R0_EL1"] = 0
    assert value
    for special in range(1020, 1024):
        rig.eoi(special)
        rig.gic.pe[0]["ICC_DIR_EL1"] = special
    rig.sgi(3, 3)
    rig.gic.dist["GICD_IROUTER", 40] = 1 << 31
    assert rig.gic.strict_log() == []
    assert rig.gic.strict_counts() == {}


def test_the_log_keeps_the_latest_1024_and_counts_all() -> None:
    gic = GICv3(GICv3Config(cpus=1, strict=True))
    for number in range(1030):
        gic.frame_write(Frame.GICD, 0xA000, number)
    assert [finding.value for finding in gic.strict_log()] == list(range(6, 1030))
    assert list(gic.strict_counts().values()) == [1030]


def test_without_strict_mode_nothing_is_recorded() -> None:
    for case in CASES.values():
        rig = small()
        case.act(rig)
        assert rig.gic.strict_log() == []
        assert rig.gic.strict_counts() == {}


def visible(gic: GICv3) -> list[int]:
    """What software and the embedder see of a GIC."""
    frames = [gic.frame_read(Frame.GICD, offset) for offset in (*range(0, 0x1000, 4), *range(0x6100, 0x6300, 4))]
    frames += [gic.frame_read(frame, offset, index=pe) for pe in range(gic.num_pe) for frame in (Frame.RD, Frame.SGI)
               for offset in range(0, 0x1000, 4)]
    readable = ("PMR", "RPR", "AP0R0", "AP1R0", "BPR0", "BPR1", "CTLR", "IGRPEN0", "IGRPEN1", "HPPIR0", "HPPIR1")
    return [*frames, *(pe[f"ICC_{name}_EL1"] for pe in gic.pe for name in readable), *gic.lines]


@each_case
def test_strict_mode_changes_nothing_that_the_guest_sees(name: str) -> None:
    seen = []
    for strict in (False, True):
        rig = small(strict=strict)
        CASES[name].act(rig)
        seen.append(visible(rig.gic))
    assert seen[0] == seen[1]


def test_the_document_has_every_rule_with_its_kind() -> None:
    from gicv3 import _core

    document = DOCUMENT.read_text(encoding="utf-8")
    rows = [line for line in document.partition("| Kind | Rule |\n|---|---|\n")[2].splitlines() if line.startswith("|")]
    assert rows == [f"| `{kind}` | {rule} |" for kind, rule in _core._STRICT_RULES.values()]  # type: ignore[attr-defined]


def test_a_priority_that_changes_while_active_accuses_nobody() -> None:
    rig = Rig(strict=True)
    rig.prepare(40)
    take(rig, 40)
    rig.gic.dist["GICD_IPRIORITYR", 10] = 0x10
    rig.eoi(40)
    assert rig.gic.strict_log() == []


def test_with_one_security_state_the_secure_copy_keeps_nobody_awake() -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True, strict=True))
    gic.frame_write(Frame.RD, 0x14, 0, secure=True)
    gic.set_context(0, el=3, scr_el3=0)
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    gic.frame_write(Frame.GICD, 0, 0x40, secure=True)
    gic.set_context(0)
    gic.frame_write(Frame.RD, 0x14, 2, secure=True)
    assert gic.strict_log() == []
