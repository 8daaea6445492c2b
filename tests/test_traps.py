"""What the architecture does with a system register access: a value, UNDEFINED, or a trap with its syndrome."""

import json
from typing import Any

import pytest
from rig import G1NS, G1S, HCR_FMO, HCR_IMO, SCR_EEL2, SCR_FIQ, SCR_IRQ, SCR_NS, SPURIOUS, Rig

from gicv3 import Access, ConfigError, GICv3, Line, SnapshotError, SysReg, snapshot


def make(**config: Any) -> Rig:
    return Rig(1, security=True, **config)


CLASSES = {
    "group0": ["ICC_IAR0_EL1", "ICC_HPPIR0_EL1", "ICC_BPR0_EL1", "ICC_AP0R0_EL1", "ICC_IGRPEN0_EL1", "ICC_EOIR0_EL1"],
    "group1": ["ICC_IAR1_EL1", "ICC_HPPIR1_EL1", "ICC_BPR1_EL1", "ICC_AP1R0_EL1", "ICC_IGRPEN1_EL1", "ICC_EOIR1_EL1"],
    "common": ["ICC_PMR_EL1", "ICC_CTLR_EL1", "ICC_RPR_EL1", "ICC_DIR_EL1"],
    "sgi": ["ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1"],
    "sre": ["ICC_SRE_EL1"],
}
WRITE_ONLY = {"ICC_EOIR0_EL1", "ICC_EOIR1_EL1", "ICC_DIR_EL1", *CLASSES["sgi"]}


def outcomes(rig: Rig, register: str) -> set[tuple[str, int]]:
    """What happens to the accesses that the register allows."""
    values = [0] if register in WRITE_ONLY else [None]
    if register not in WRITE_ONLY and "IAR" not in register and "HPPIR" not in register and "RPR" not in register:
        values.append(0)
    return {(found.kind, found.target_el) for found in (rig.gic.sysreg_access(0, register, v) for v in values)}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("routing", [0, SCR_FIQ, SCR_IRQ, SCR_FIQ | SCR_IRQ])
def test_scr_el3_traps_the_registers_of_what_it_routes(routing: int, el: int, secure: bool) -> None:
    rig = make(el2=True)
    (rig.secure if secure else rig.nonsecure)(el=el, scr=routing | (SCR_EEL2 if secure else SCR_NS))
    fiq, irq = bool(routing & SCR_FIQ), bool(routing & SCR_IRQ)
    trapped = {"group0": fiq, "group1": irq, "common": fiq and irq, "sgi": fiq and irq, "sre": False}
    for name, registers in CLASSES.items():
        for register in registers:
            assert outcomes(rig, register) == {("trap", 3) if trapped[name] else ("value", 0)}, register


@pytest.mark.parametrize("routing", [0, SCR_FIQ | SCR_IRQ])
def test_el3_is_never_trapped(routing: int) -> None:
    rig = make(el2=True)
    rig.gic.set_context(0, el=3, secure=True, scr_el3=SCR_NS | routing, hcr_el2=HCR_FMO | HCR_IMO)
    for registers in CLASSES.values():
        for register in registers:
            assert outcomes(rig, register) == {("value", 0)}, register


@pytest.mark.parametrize("routing", [0, SCR_FIQ | SCR_IRQ], ids=["", "scr"])
@pytest.mark.parametrize("hcr", [0, HCR_FMO, HCR_IMO, HCR_FMO | HCR_IMO])
def test_hcr_el2_redirects_el1_to_the_virtual_interface_before_scr_el3_traps(hcr: int, routing: int) -> None:
    rig = make(el2=True)
    rig.nonsecure(scr=SCR_NS | routing, hcr=hcr)
    fmo, imo = bool(hcr & HCR_FMO), bool(hcr & HCR_IMO)
    otherwise = ("trap", 3) if routing else ("value", 0)
    virtual = ("virtual", 0)
    expected = {
        "group0": virtual if fmo else otherwise, "group1": virtual if imo else otherwise,
        "common": virtual if hcr else otherwise, "sgi": ("trap", 2) if hcr else otherwise, "sre": ("value", 0),
    }
    for name, registers in CLASSES.items():
        for register in registers:
            assert outcomes(rig, register) == {expected[name]}, register


@pytest.mark.parametrize(
    ("context", "inert"),
    [
        ({"el": 2, "scr_el3": SCR_NS}, True), ({"el": 1, "scr_el3": SCR_NS}, False),
        ({"el": 1, "secure": True, "scr_el3": 0}, True), ({"el": 1, "secure": True, "scr_el3": SCR_EEL2}, False),
    ],
)
def test_hcr_el2_acts_at_el1_where_el2_is_enabled(context: dict[str, Any], inert: bool) -> None:
    rig = make(el2=True)
    rig.gic.set_context(0, hcr_el2=HCR_FMO | HCR_IMO, **context)
    assert rig.gic.sysreg_access(0, "ICC_PMR_EL1").kind == ("value" if inert else "virtual")


TC, TALL0, TALL1, TDIR = 1 << 10, 1 << 11, 1 << 12, 1 << 14
ICH_TRAPS = {TC: {"common", "sgi"}, TALL0: {"group0"}, TALL1: {"group1"}}


@pytest.mark.parametrize("routing", [0, SCR_FIQ | SCR_IRQ], ids=["", "scr"])
@pytest.mark.parametrize("hcr", [0, HCR_FMO | HCR_IMO], ids=["", "hcr"])
@pytest.mark.parametrize("bit", ICH_TRAPS, ids=["TC", "TALL0", "TALL1"])
def test_ich_hcr_el2_traps_el1_to_el2_before_everything_else(bit: int, hcr: int, routing: int) -> None:
    rig = make(el2=True)
    rig.gic.set_context(0, scr_el3=SCR_NS | routing, hcr_el2=hcr, ich_hcr_el2=bit)
    for name, registers in CLASSES.items():
        for register in registers:
            trapped = outcomes(rig, register) == {("trap", 2)}
            assert trapped == (name in ICH_TRAPS[bit] or (hcr != 0 and name == "sgi")), register


@pytest.mark.parametrize("bit", [TC, TDIR])
def test_tdir_and_tc_trap_dir(bit: int) -> None:
    rig = make(el2=True)
    rig.gic.set_context(0, ich_hcr_el2=bit)
    assert outcomes(rig, "ICC_DIR_EL1") == {("trap", 2)}
    assert outcomes(rig, "ICC_PMR_EL1") == {("trap", 2) if bit == TC else ("value", 0)}
    rig.gic.set_context(0, ich_hcr_el2=TALL0 | TALL1)
    assert outcomes(rig, "ICC_DIR_EL1") == {("value", 0)}


@pytest.mark.parametrize("context", [{"el": 2}, {"el": 3, "secure": True}, {"el": 1, "secure": True}])
def test_ich_hcr_el2_is_inert_where_el2_is_not_enabled_or_not_above(context: dict[str, Any]) -> None:
    rig = make(el2=True)
    rig.gic.set_context(0, ich_hcr_el2=TC | TALL0 | TALL1 | TDIR, **context)
    for registers in CLASSES.values():
        for register in registers:
            assert outcomes(rig, register) == {("value", 0)}, register


def test_hcr_el2_is_inert_without_el2() -> None:
    rig = Rig()
    rig.gic.set_context(0, hcr_el2=HCR_FMO | HCR_IMO)
    assert rig.gic.pe[0]["ICC_PMR_EL1"] == 0xF8


def test_a_trapped_access_reads_zero_changes_nothing_and_acknowledges_nothing() -> None:
    rig = make()
    rig.prepare(40, group=G1NS, priority=0x90)
    rig.raise_(40)
    pe = rig.nonsecure(scr=SCR_NS | SCR_IRQ)
    digest = rig.gic.state_digest()
    assert pe["ICC_IAR1_EL1"] == 0
    pe["ICC_IGRPEN1_EL1"] = 0
    assert rig.gic.state_digest() == digest


@pytest.mark.parametrize(
    ("register", "value", "rest"),
    [
        # ISS: op0 21:20, op2 19:17, op1 16:14, CRn 13:10, Rt 9:5, CRm 4:1, direction 0
        ("ICC_IAR0_EL1", None, 3 << 20 | 0 << 17 | 12 << 10 | 8 << 1 | 1),
        ("ICC_EOIR0_EL1", 0, 3 << 20 | 1 << 17 | 12 << 10 | 8 << 1),
        ("ICC_IGRPEN0_EL1", None, 3 << 20 | 6 << 17 | 12 << 10 | 12 << 1 | 1),
        ("ICC_IGRPEN0_EL1", 1, 3 << 20 | 6 << 17 | 12 << 10 | 12 << 1),
        ("ICC_PMR_EL1", 1, 3 << 20 | 0 << 17 | 4 << 10 | 6 << 1),
        ("ICC_SGI1R_EL1", 1, 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1),
    ],
)
def test_a_trap_carries_the_syndrome_of_its_instruction(register: str, value: int | None, rest: int) -> None:
    rig = make()
    rig.nonsecure(scr=SCR_NS | SCR_FIQ | SCR_IRQ)
    syndrome = 0x18 << 26 | 1 << 25 | rest
    wanted = Access("trap", 0, 3, syndrome)
    number = int(SysReg[register])
    encoding = (number >> 14, number >> 11 & 7, number >> 7 & 15, number >> 3 & 15, number & 7)
    for form in (register, SysReg[register], number, encoding):
        assert rig.gic.sysreg_access(0, form, value) == wanted


def test_without_el3_scr_el3_has_no_effect() -> None:
    rig = Rig()
    rig.prepare(40, priority=0x40)
    rig.raise_(40)
    rig.gic.set_context(0, scr_el3=SCR_FIQ | SCR_IRQ)
    assert rig.gic.pe[0]["ICC_PMR_EL1"] == 0xF8
    assert rig.iar() == 40
    assert rig.rpr() == 0x40


def test_el0_has_no_access_and_still_gets_lines() -> None:
    rig = make()
    rig.prepare(40, group=G1S, priority=0x20)
    rig.raise_(40)
    rig.gic.set_context(0, el=0, secure=True)
    assert rig.line() == Line.IRQ
    assert rig.gic.sysreg_access(0, "ICC_IAR1_EL1").kind == "undefined"
    rig.gic.set_context(0, el=0, secure=False)
    assert rig.line() == Line.FIQ
    assert rig.iar() in (0, SPURIOUS)
    assert not rig.active(40)


# --- AArch32


@pytest.mark.parametrize("name", ["ICC_PMR_EL1", "ICC_IAR1_EL1", "ICC_BPR0_EL1", "ICC_CTLR_EL1", "ICC_SRE_EL2"])
def test_a_cp15_access_reaches_the_register_of_the_same_encoding(name: str) -> None:
    rig = Rig(el2=True)
    rig.gic.set_context(0, el=2)
    number = int(SysReg[name])
    opc1, crn, crm, opc2 = number >> 11 & 7, number >> 7 & 15, number >> 3 & 15, number & 7
    assert rig.gic.cp15_access(0, opc1, crn, crm, opc2) == rig.gic.sysreg_access(0, name)
    if name != "ICC_IAR1_EL1":
        assert rig.gic.cp15_access(0, opc1, crn, crm, opc2, 3).kind == "value"
        assert rig.gic.cp15_access(0, opc1, crn, crm, opc2).value == rig.gic.pe[0][name]


@pytest.mark.parametrize(("opc1", "register"), [(0, "ICC_SGI1R_EL1"), (1, "ICC_ASGI1R_EL1"), (2, "ICC_SGI0R_EL1")])
def test_an_mcrr_generates_an_sgi(opc1: int, register: str) -> None:
    for group, delivered in ((0, True), (2, register == "ICC_SGI1R_EL1")):
        rig = Rig(2)
        rig.prepare(5, 1, group=group)
        assert rig.gic.mcrr_access(0, opc1, 12, 5 << 24 | 2).kind == "value"
        assert rig.pending(5, 1) == delivered


@pytest.mark.parametrize(("opc1", "crm"), [(3, 12), (0, 11), (0, 13)])
def test_another_mcrr_is_undefined(opc1: int, crm: int) -> None:
    assert Rig().gic.mcrr_access(0, opc1, crm, 0).kind == "undefined"


def test_a_cp15_access_to_nothing_is_undefined_and_a_wide_value_a_mistake() -> None:
    gic = Rig().gic
    assert gic.cp15_access(0, 0, 1, 0, 0).kind == "undefined"
    for value in (-1, 1 << 32):
        with pytest.raises(ConfigError, match=r"value must be in 0..0xffffffff, got"):
            gic.cp15_access(0, 0, 4, 6, 0, value)


def test_trapped_aarch32_accesses_carry_their_own_syndromes() -> None:
    rig = make()
    rig.nonsecure(scr=SCR_NS | SCR_FIQ | SCR_IRQ)
    # ISS: CV 24, COND 23:20, Opc2 19:17, Opc1 16:14, CRn 13:10, Rt 9:5, CRm 4:1, direction 0
    common = 1 << 25 | 1 << 24 | 0xE << 20
    assert rig.gic.cp15_access(0, 0, 12, 12, 3) == Access("trap", 0, 3, 0x03 << 26 | common | 3 << 17 | 12 << 10 | 25)
    assert rig.gic.cp15_access(0, 0, 4, 6, 0, 1) == Access("trap", 0, 3, 0x03 << 26 | common | 4 << 10 | 12)
    # ISS: CV 24, COND 23:20, Opc1 19:16, Rt2 14:10, Rt 9:5, CRm 4:1, direction 0
    assert rig.gic.mcrr_access(0, 2, 12, 1) == Access("trap", 0, 3, 0x04 << 26 | common | 2 << 16 | 24)


def test_secure_el2_is_a_state_with_scr_el3_eel2_alone() -> None:
    rig = make(el2=True)
    before = rig.gic.state_digest()
    for scr in (0, SCR_IRQ | SCR_FIQ, ~SCR_EEL2 & 0xFFFF_FFFF):
        with pytest.raises(ConfigError, match=rf"scr_el3 must have EEL2 \(bit 18\) at Secure EL2, got {scr:#x}"):
            rig.gic.set_context(0, el=2, secure=True, scr_el3=scr)
    assert rig.gic.state_digest() == before
    rig.gic.set_context(0, el=2, secure=True)
    default = rig.gic.state_digest()
    rig.gic.set_context(0, el=2, secure=True, scr_el3=SCR_EEL2)
    assert rig.gic.state_digest() == default != before
    saved = json.loads(snapshot.to_json(rig.gic.save()))
    saved["state"]["context.scr_el3"] = [[1, 0]]
    with pytest.raises(SnapshotError, match="context of PE 0 is a state that it has not"):
        GICv3.restore(snapshot.from_json(json.dumps(saved)))
    rig.gic.set_context(0, el=1, secure=True, scr_el3=0)
