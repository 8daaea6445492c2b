"""System registers: every encoding on present, absent and sleeping PEs; names; access kinds; reset values; masks."""

import random
from typing import Any

import pytest
from rig import CTLR_CBPR, CTLR_EOIMODE, SCR_EEL2, SCR_NS, SPURIOUS, Rig

from gicv3 import ConfigError, GICv3, GICv3Config, SysReg
from gicv3.registers import SYSREGS

ONES = 0xFFFF_FFFF_FFFF_FFFF
FULL: dict[str, Any] = {"priority_bits": 8, "security": True, "el2": True, "nmi": True, "spis": 64}

# op1 CRn CRm op2, then how it may be accessed: the architecture's list, written down a second time.
ARCHITECTURE = {
    "ICC_PMR_EL1": (0, 4, 6, 0, "RW"), "ICC_IAR0_EL1": (0, 12, 8, 0, "R"), "ICC_EOIR0_EL1": (0, 12, 8, 1, "W"),
    "ICC_HPPIR0_EL1": (0, 12, 8, 2, "R"), "ICC_BPR0_EL1": (0, 12, 8, 3, "RW"),
    "ICC_AP0R0_EL1": (0, 12, 8, 4, "RW"), "ICC_AP0R1_EL1": (0, 12, 8, 5, "RW"),
    "ICC_AP0R2_EL1": (0, 12, 8, 6, "RW"), "ICC_AP0R3_EL1": (0, 12, 8, 7, "RW"),
    "ICC_AP1R0_EL1": (0, 12, 9, 0, "RW"), "ICC_AP1R1_EL1": (0, 12, 9, 1, "RW"),
    "ICC_AP1R2_EL1": (0, 12, 9, 2, "RW"), "ICC_AP1R3_EL1": (0, 12, 9, 3, "RW"),
    "ICC_NMIAR1_EL1": (0, 12, 9, 5, "R"), "ICC_DIR_EL1": (0, 12, 11, 1, "W"), "ICC_RPR_EL1": (0, 12, 11, 3, "R"),
    "ICC_SGI1R_EL1": (0, 12, 11, 5, "W"), "ICC_ASGI1R_EL1": (0, 12, 11, 6, "W"), "ICC_SGI0R_EL1": (0, 12, 11, 7, "W"),
    "ICC_IAR1_EL1": (0, 12, 12, 0, "R"), "ICC_EOIR1_EL1": (0, 12, 12, 1, "W"), "ICC_HPPIR1_EL1": (0, 12, 12, 2, "R"),
    "ICC_BPR1_EL1": (0, 12, 12, 3, "RW"), "ICC_CTLR_EL1": (0, 12, 12, 4, "RW"), "ICC_SRE_EL1": (0, 12, 12, 5, "RW"),
    "ICC_IGRPEN0_EL1": (0, 12, 12, 6, "RW"), "ICC_IGRPEN1_EL1": (0, 12, 12, 7, "RW"),
    "ICC_SRE_EL2": (4, 12, 9, 5, "RW"), "ICC_CTLR_EL3": (6, 12, 12, 4, "RW"), "ICC_SRE_EL3": (6, 12, 12, 5, "RW"),
    "ICC_IGRPEN1_EL3": (6, 12, 12, 7, "RW"),
}
OF_EL3 = {"ICC_CTLR_EL3", "ICC_SRE_EL3", "ICC_IGRPEN1_EL3"}
AP_WORDS = {4: 1, 5: 1, 6: 2, 7: 4, 8: 4}
GROUP = "ICC_AP{}R{}_EL1"


def split(encoding: int) -> tuple[int, int, int, int, int]:
    return encoding >> 14, encoding >> 11 & 7, encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7


def existing(el: int, priority_bits: int, nmi: bool) -> dict[int, str]:
    """Encoding -> access of what a PE with EL2 and EL3 has at an Exception level, by the architecture's list."""
    found = {}
    for name, (op1, crn, crm, op2, access) in ARCHITECTURE.items():
        if el == 0 or (name == "ICC_SRE_EL2" and el < 2) or (name in OF_EL3 and el < 3):
            continue
        if name == "ICC_NMIAR1_EL1" and not nmi:
            continue
        if name[4:6] == "AP" and int(name[8]) >= AP_WORDS[priority_bits]:
            continue
        found[3 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2] = access
    return found


def test_names_and_encodings_agree_with_the_architecture() -> None:
    table = {row.name: row.encoding[1:] for row in SYSREGS if not row.needs.startswith("virt")}
    known = {name: entry[:4] for name, entry in ARCHITECTURE.items()}
    assert {name: encoding for name, encoding in table.items() if name.startswith("ICC_")} == known
    for name, (op1, crn, crm, op2, _) in ARCHITECTURE.items():
        assert int(SysReg[name]) == 3 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
        assert split(int(SysReg[name])) == (3, op1, crn, crm, op2)


@pytest.mark.parametrize("name", ARCHITECTURE)
def test_name_enum_int_and_tuple_reach_the_same_register(name: str) -> None:
    gic = GICv3(GICv3Config(cpus=1, **FULL))
    gic.set_context(0, el=3, secure=True, scr_el3=SCR_NS, nmi_enabled=True)
    forms = [name, SysReg[name], int(SysReg[name]), split(int(SysReg[name]))]
    assert len({gic.sysreg_access(0, form) for form in forms}) == 1
    assert len({gic.sysreg_access(0, form, 0x12).kind for form in forms}) == 1
    if ARCHITECTURE[name][4] == "RW" and "SRE" not in name:
        for number, form in enumerate(forms):
            gic.sysreg_write(0, form, 0)
            assert {gic.sysreg_read(0, other) for other in forms} == {gic.pe[0][name]}
            gic.pe[0].sysreg_write(forms[number - 1], ONES)
            assert {gic.pe[0].sysreg_read(other) for other in forms} == {gic.sysreg_read(0, form)}


@pytest.mark.parametrize("state", ["present", "asleep", "absent"])
@pytest.mark.parametrize("el", [0, 1, 2, 3])
def test_exactly_the_architectures_encodings_exist(el: int, state: str) -> None:
    gic = GICv3(GICv3Config(cpus=2, **FULL))
    if state == "present":
        gic.redist[1]["GICR_WAKER"] = 0
    if state == "absent":
        gic.set_cpustate(1, None, False)
    secure = el == 3
    gic.set_context(1, el=el, secure=secure, scr_el3=SCR_NS, nmi_enabled=True)
    known = existing(el, 8, nmi=True)
    for encoding in range(3 << 14, 4 << 14):
        access = known.get(encoding, "")
        read = gic.sysreg_access(1, encoding)
        assert read.kind == ("value" if "R" in access else "undefined"), split(encoding)
        written = gic.sysreg_access(1, encoding, ONES)
        assert written.kind == ("value" if "W" in access else "undefined"), split(encoding)
        if state == "absent":
            assert read.value in (0, SPURIOUS)
    gic.check()


@pytest.mark.parametrize("op0", [0, 1, 2])
def test_an_encoding_outside_op0_3_is_undefined(op0: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, **FULL))
    gic.set_context(0, el=3, secure=True)
    for encoding in existing(3, 8, nmi=True):
        other = encoding & 0x3FFF | op0 << 14
        assert gic.sysreg_access(0, other).kind == gic.sysreg_access(0, other, 0).kind == "undefined"


@pytest.mark.parametrize("security", [False, True])
def test_random_values_to_every_encoding_never_raise_and_keep_the_invariants(security: bool) -> None:
    rng = random.Random(20)
    gic = GICv3(GICv3Config(cpus=3, priority_bits=6, security=security, el2=True, nmi=True, spis=32))
    gic.redist[0]["GICR_WAKER"] = 0
    gic.set_cpustate(2, None, False)
    for el in (1, 2, 3) if security else (1, 2):
        for pe in range(3):
            gic.set_context(pe, el=el, secure=security and rng.random() < 0.5, nmi_enabled=rng.random() < 0.5)
            for encoding in range(3 << 14, 4 << 14):
                gic.sysreg_write(pe, encoding, rng.getrandbits(64))
                gic.sysreg_read(pe, encoding)
                if encoding in gic.sysregs:
                    gic.check()
    assert gic.totals()["bad_access"] == 0


@pytest.mark.parametrize("priority_bits", [4, 5, 6, 7, 8])
def test_active_priority_registers_exist_by_priority_bits(priority_bits: int) -> None:
    gic = GICv3(GICv3Config(cpus=1, priority_bits=priority_bits))
    for group in (0, 1):
        for word in range(4):
            there = word < AP_WORDS[priority_bits]
            kind = "value" if there else "undefined"
            assert gic.sysreg_access(0, GROUP.format(group, word)).kind == kind
            assert gic.sysreg_access(0, GROUP.format(group, word), 0x8001).kind == kind
            assert gic.pe[0][GROUP.format(group, word)] == (0x8001 if there else 0)
            assert (int(SysReg[GROUP.format(group, word)]) in gic.sysregs) == there


def test_four_priority_bits_leave_sixteen_active_priority_bits() -> None:
    gic = GICv3(GICv3Config(cpus=1, priority_bits=4))
    gic.pe[0]["ICC_AP0R0_EL1"] = gic.pe[0]["ICC_AP1R0_EL1"] = ONES
    assert gic.pe[0]["ICC_AP0R0_EL1"] == gic.pe[0]["ICC_AP1R0_EL1"] == 0xFFFF


@pytest.mark.parametrize(
    ("register", "security", "el2", "el", "exists"),
    [
        ("ICC_SRE_EL2", False, False, 1, False), ("ICC_SRE_EL2", False, True, 1, False),
        ("ICC_SRE_EL2", False, True, 2, True), ("ICC_SRE_EL2", True, True, 3, True),
        ("ICC_SRE_EL2", True, False, 3, False), ("ICC_SRE_EL3", True, True, 3, True),
        ("ICC_SRE_EL3", True, True, 2, False), ("ICC_CTLR_EL3", True, False, 1, False),
        ("ICC_CTLR_EL3", True, False, 3, True), ("ICC_IGRPEN1_EL3", True, False, 1, False),
        ("ICC_IGRPEN1_EL3", True, False, 3, True), ("ICC_PMR_EL1", True, True, 0, False),
        ("ICC_PMR_EL1", False, False, 0, False), ("ICC_PMR_EL1", False, False, 1, True),
    ],
)
def test_a_register_exists_from_its_exception_level_up(
    register: str, security: bool, el2: bool, el: int, exists: bool
) -> None:
    gic = GICv3(GICv3Config(cpus=1, security=security, el2=el2))
    gic.set_context(0, el=el, secure=el == 3, scr_el3=SCR_NS)
    assert gic.sysreg_access(0, register).kind == ("value" if exists else "undefined")


@pytest.mark.parametrize(("scr", "exists"), [(0, False), (SCR_NS, True), (SCR_EEL2, True)])
def test_sre_el2_at_el3_needs_el2_in_the_state_below(scr: int, exists: bool) -> None:
    gic = GICv3(GICv3Config(cpus=1, security=True, el2=True))
    gic.set_context(0, el=3, secure=True, scr_el3=scr)
    assert gic.sysreg_access(0, "ICC_SRE_EL2").kind == ("value" if exists else "undefined")


@pytest.mark.parametrize(("nmi", "enabled", "exists"), [(False, True, False), (True, False, False), (True, True, True)])
def test_nmiar1_exists_with_the_feature_while_sctlr_nmi_is_set(nmi: bool, enabled: bool, exists: bool) -> None:
    gic = GICv3(GICv3Config(cpus=1, nmi=nmi))
    gic.set_context(0, nmi_enabled=enabled)
    assert gic.sysreg_access(0, "ICC_NMIAR1_EL1").kind == ("value" if exists else "undefined")


def test_a_read_of_an_undefined_register_gives_zero_and_a_write_nothing() -> None:
    gic = GICv3(GICv3Config(cpus=1))
    digest = gic.state_digest()
    for register in ("ICC_EOIR0_EL1", "ICC_AP1R3_EL1", (3, 0, 0, 0, 0)):
        assert gic.sysreg_read(0, register) == 0
    for register in ("ICC_IAR0_EL1", "ICC_AP1R3_EL1", (3, 0, 0, 0, 0)):
        gic.sysreg_write(0, register, ONES)
    assert gic.state_digest() == digest


# --- values


@pytest.mark.parametrize("priority_bits", [4, 5, 6, 7, 8])
def test_reset_values_with_one_security_state(priority_bits: int) -> None:
    pe = GICv3(GICv3Config(cpus=1, priority_bits=priority_bits)).pe[0]
    prebits = min(priority_bits, 7)
    assert pe["ICC_PMR_EL1"] == pe["ICC_IGRPEN0_EL1"] == pe["ICC_IGRPEN1_EL1"] == 0
    assert pe["ICC_BPR0_EL1"] == 7 - prebits
    assert pe["ICC_BPR1_EL1"] == 8 - prebits
    assert pe["ICC_CTLR_EL1"] == 0x8000 | priority_bits - 1 << 8
    assert pe["ICC_SRE_EL1"] == 7
    assert pe["ICC_RPR_EL1"] == 0xFF
    assert pe["ICC_IAR0_EL1"] == pe["ICC_IAR1_EL1"] == pe["ICC_HPPIR0_EL1"] == pe["ICC_HPPIR1_EL1"] == SPURIOUS
    assert pe["ICC_AP0R0_EL1"] == pe["ICC_AP1R0_EL1"] == 0


def test_reset_values_at_el3() -> None:
    rig = Rig(ready=False, **FULL)
    pe = rig.el3()
    assert pe["ICC_CTLR_EL3"] == 0x8000 | 7 << 8
    assert pe["ICC_SRE_EL2"] == pe["ICC_SRE_EL3"] == 0xF
    assert pe["ICC_IGRPEN1_EL3"] == 0
    assert pe["ICC_BPR1_EL1"] == 1
    assert rig.el3(scr=0)["ICC_BPR1_EL1"] == 0


@pytest.mark.parametrize(
    ("register", "config", "value"),
    [
        ("ICC_PMR_EL1", {}, 0xF8), ("ICC_PMR_EL1", {"priority_bits": 4}, 0xF0),
        ("ICC_PMR_EL1", {"priority_bits": 8}, 0xFF), ("ICC_BPR0_EL1", {}, 7), ("ICC_BPR1_EL1", {}, 7),
        ("ICC_IGRPEN0_EL1", {}, 1), ("ICC_IGRPEN1_EL1", {}, 1), ("ICC_SRE_EL1", {}, 7),
        ("ICC_CTLR_EL1", {}, 0x8403), ("ICC_CTLR_EL1", {"range_selector": True}, 0x4_8403),
        ("ICC_CTLR_EL1", {"espis": 32}, 0x8_8403), ("ICC_CTLR_EL1", {"eppis": 32}, 0x8_8403),
        ("ICC_AP0R0_EL1", {}, 0xFFFF_FFFF), ("ICC_AP1R0_EL1", {}, 0xFFFF_FFFF),
        ("ICC_AP1R0_EL1", {"nmi": True}, 1 << 63 | 0xFFFF_FFFF), ("ICC_AP0R0_EL1", {"nmi": True}, 0xFFFF_FFFF),
        ("ICC_AP1R1_EL1", {"nmi": True, "priority_bits": 6}, 0xFFFF_FFFF),
    ],
)
def test_writing_ones_reaches_the_writable_fields(register: str, config: dict[str, Any], value: int) -> None:
    pe = GICv3(GICv3Config(cpus=1, **config)).pe[0]
    pe[register] = ONES
    assert pe[register] == value


@pytest.mark.parametrize(
    ("register", "minimum_at_5_bits", "minimum_at_8_bits"), [("ICC_BPR0_EL1", 2, 0), ("ICC_BPR1_EL1", 3, 1)]
)
def test_binary_points_clamp_to_their_minimum(register: str, minimum_at_5_bits: int, minimum_at_8_bits: int) -> None:
    for bits, minimum in ((5, minimum_at_5_bits), (8, minimum_at_8_bits)):
        pe = GICv3(GICv3Config(cpus=1, priority_bits=bits)).pe[0]
        for value in range(8):
            pe[register] = value
            assert pe[register] == max(value, minimum)


def test_el3_control_aliases_the_banks_of_el1() -> None:
    rig = Rig(**FULL)
    pe = rig.el3()
    aliases = ((4, SCR_NS, CTLR_EOIMODE), (3, 0, CTLR_EOIMODE), (1, SCR_NS, CTLR_CBPR), (0, 0, CTLR_CBPR))
    for field, scr, flag in aliases:
        rig.el3(scr=scr)
        pe["ICC_CTLR_EL3"] = 1 << field
        assert pe["ICC_CTLR_EL3"] & 0x5F == 1 << field
        assert pe["ICC_CTLR_EL1"] & 3 == flag
        rig.el3(scr=scr ^ SCR_NS)
        assert pe["ICC_CTLR_EL1"] & 3 == 0
    pe["ICC_CTLR_EL3"] = 1 << 2
    assert pe["ICC_CTLR_EL3"] & 0x5F == 4
    pe["ICC_CTLR_EL3"] = ONES
    assert pe["ICC_CTLR_EL3"] == 0x871F


def test_igrpen1_el3_shows_both_banks() -> None:
    rig = Rig(ready=False, **FULL)
    pe = rig.el3()
    pe["ICC_IGRPEN1_EL3"] = 1
    assert (rig.el3(scr=SCR_NS)["ICC_IGRPEN1_EL1"], rig.el3(scr=0)["ICC_IGRPEN1_EL1"]) == (1, 0)
    pe["ICC_IGRPEN1_EL3"] = 2
    assert (rig.el3(scr=SCR_NS)["ICC_IGRPEN1_EL1"], rig.el3(scr=0)["ICC_IGRPEN1_EL1"]) == (0, 1)
    rig.el3(scr=SCR_NS)["ICC_IGRPEN1_EL1"] = 1
    assert pe["ICC_IGRPEN1_EL3"] == 3


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("register", "value"), [("ICC_BPR1_EL1", 5), ("ICC_AP1R3_EL1", 0x8000_0000), ("ICC_IGRPEN1_EL1", 1)]
)
def test_banked_registers_are_apart(register: str, value: int, secure: bool) -> None:
    rig = Rig(ready=False, **FULL)
    other = (rig.nonsecure() if secure else rig.secure())[register]
    pe = rig.secure() if secure else rig.nonsecure()
    pe[register] = value
    assert pe[register] == value
    assert (rig.nonsecure() if secure else rig.secure())[register] == other
    assert rig.el3(scr=0 if secure else SCR_NS)[register] == value


# --- a PE without a vCPU


def test_an_absent_pes_registers_read_zero_or_1023_and_ignore_writes() -> None:
    rig = Rig(cpus=2)
    rig.gic.set_cpustate(1, None, False)
    for encoding, register in rig.gic.sysregs.items():
        row = next(row for row in SYSREGS if row.name == register.name)
        rig.gic.sysreg_write(1, encoding, ONES)
        spurious = "IAR" in register.name or "HPPIR" in register.name
        assert rig.gic.sysreg_access(1, encoding).kind == ("undefined" if row.access == "WO" else "value")
        assert rig.gic.sysreg_read(1, encoding) == (SPURIOUS if spurious else 0)
    rig.gic.set_cpustate(1, None, True)
    assert rig.gic.pe[1]["ICC_PMR_EL1"] == 0
    assert rig.gic.pe[1]["ICC_SRE_EL1"] == 7


def test_sysregs_is_what_a_pe_of_this_configuration_has() -> None:
    gic = GICv3(GICv3Config(cpus=1))
    names = {register.name for register in gic.sysregs.values()}
    absent = {GROUP.format(group, word) for group in (0, 1) for word in (1, 2, 3)}
    assert names == set(ARCHITECTURE) - absent - OF_EL3 - {"ICC_SRE_EL2", "ICC_NMIAR1_EL1"}
    assert gic.sysregs is gic.sysregs
    full = GICv3(GICv3Config(cpus=1, **FULL))
    assert {register.name for register in full.sysregs.values()} == set(ARCHITECTURE)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        ("ICC_NOPE_EL1", "unknown system register 'ICC_NOPE_EL1'"), (-1, "must be in 0..0xffff, got -0x1"),
        (0x1_0000, "must be in 0..0xffff, got 0x10000"), ((4, 0, 0, 0, 0), r"within \(3, 7, 15, 15, 7\), got \(4,"),
        ((3, 8, 0, 0, 0), r"got \(3, 8, 0, 0, 0\)"), ((3, 0, 16, 0, 0), r"got \(3, 0, 16, 0, 0\)"),
        ((3, 0, 0, 16, 0), r"got \(3, 0, 0, 16, 0\)"), ((3, 0, 0, 0, 8), r"got \(3, 0, 0, 0, 8\)"),
        ((3, 0, 0, 0), "a register is a SysReg, a name or"), (None, "a register is a SysReg, a name or"),
    ],
)
def test_what_is_no_register_is_an_embedders_mistake(register: Any, message: str) -> None:
    gic = GICv3(GICv3Config(cpus=1))
    for call in (gic.sysreg_read, gic.sysreg_access):
        with pytest.raises(ConfigError, match=message):
            call(0, register)
    with pytest.raises(ConfigError, match=message):
        gic.sysreg_write(0, register, 1)
