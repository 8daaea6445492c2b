"""What the architecture does with a system register access: a value, UNDEFINED, or a trap with its syndrome."""

from typing import Any

import pytest
from rig import G1NS, G1S, HCR_FMO, HCR_IMO, SCR_EEL2, SCR_FIQ, SCR_IRQ, SCR_NS, SPURIOUS, Rig

from gicv3 import Access, Line, SysReg


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
