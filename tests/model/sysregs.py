"""The CPU interface of the slow model: encodings, traps, banks, acknowledge, end of interrupt, SGIs."""

from __future__ import annotations

from typing import NamedTuple

from .delivery import HCR_FMO, HCR_IMO, Delivery
from .state import G0, G1NS, G1S, NONSECURE, SCR_EEL2, SCR_FIQ, SCR_IRQ, SCR_NS, SECURE, Interrupt, Pe, prebits_of

SPURIOUS = 1023
SECURE_AT_EL3 = 1020  # 1: G1 Secure interrupt (seen at EL3)
NONSECURE_AT_EL3 = 1021  # 1: G1 NS (seen at EL3)
NMI_PRESENT = 1022
SHOW_INTID = ("ICC_IAR0_EL1", "ICC_IAR1_EL1", "ICC_NMIAR1_EL1", "ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1")

TC, TALL0, TALL1, TDIR = 1 << 10, 1 << 11, 1 << 12, 1 << 14  # 5.1: ICH_HCR


class Access(NamedTuple):
    """What a system-register access does: a value, UNDEFINED, a trap, or (reads only of EL1) a virtual register."""

    kind: str
    value: int = 0
    target_el: int = 0
    syndrome: int = 0


class Register(NamedTuple):
    """A system register: op1, CRn, CRm, op2, access, and its class of 5.3."""

    op1: int
    crn: int
    crm: int
    op2: int
    access: str
    kind: str


# 5: encodings, op0 = 3.
REGISTERS = {
    "ICC_PMR_EL1": Register(0, 4, 6, 0, "RW", "common"),
    "ICC_IAR0_EL1": Register(0, 12, 8, 0, "RO", "group0"),
    "ICC_EOIR0_EL1": Register(0, 12, 8, 1, "WO", "group0"),
    "ICC_HPPIR0_EL1": Register(0, 12, 8, 2, "RO", "group0"),
    "ICC_BPR0_EL1": Register(0, 12, 8, 3, "RW", "group0"),
    **{f"ICC_AP0R{n}_EL1": Register(0, 12, 8, 4 + n, "RW", "group0") for n in range(4)},
    **{f"ICC_AP1R{n}_EL1": Register(0, 12, 9, n, "RW", "group1") for n in range(4)},
    "ICC_NMIAR1_EL1": Register(0, 12, 9, 5, "RO", "group1"),
    "ICC_DIR_EL1": Register(0, 12, 11, 1, "WO", "common"),
    "ICC_RPR_EL1": Register(0, 12, 11, 3, "RO", "common"),
    "ICC_SGI1R_EL1": Register(0, 12, 11, 5, "WO", "sgi"),
    "ICC_ASGI1R_EL1": Register(0, 12, 11, 6, "WO", "sgi"),
    "ICC_SGI0R_EL1": Register(0, 12, 11, 7, "WO", "sgi"),
    "ICC_IAR1_EL1": Register(0, 12, 12, 0, "RO", "group1"),
    "ICC_EOIR1_EL1": Register(0, 12, 12, 1, "WO", "group1"),
    "ICC_HPPIR1_EL1": Register(0, 12, 12, 2, "RO", "group1"),
    "ICC_BPR1_EL1": Register(0, 12, 12, 3, "RW", "group1"),
    "ICC_CTLR_EL1": Register(0, 12, 12, 4, "RW", "common"),
    "ICC_SRE_EL1": Register(0, 12, 12, 5, "RW", "sre1"),
    "ICC_IGRPEN0_EL1": Register(0, 12, 12, 6, "RW", "group0"),
    "ICC_IGRPEN1_EL1": Register(0, 12, 12, 7, "RW", "group1"),
    "ICC_SRE_EL2": Register(4, 12, 9, 5, "RW", "sre2"),
    "ICC_CTLR_EL3": Register(6, 12, 12, 4, "RW", "el3"),
    "ICC_SRE_EL3": Register(6, 12, 12, 5, "RW", "el3"),
    "ICC_IGRPEN1_EL3": Register(6, 12, 12, 7, "RW", "el3"),
}

# 9: (DS, writer is Secure, register) -> for each configured group, the GICR_NSACR level from which it is forwarded.
NEVER = 4
FORWARD = {
    (False, True, "ICC_SGI0R_EL1"): {G0: 0, G1S: NEVER, G1NS: NEVER},
    (False, True, "ICC_SGI1R_EL1"): {G0: NEVER, G1S: 0, G1NS: NEVER},
    (False, True, "ICC_ASGI1R_EL1"): {G0: NEVER, G1S: NEVER, G1NS: 0},
    (False, False, "ICC_SGI0R_EL1"): {G0: 1, G1S: NEVER, G1NS: NEVER},
    (False, False, "ICC_SGI1R_EL1"): {G0: 1, G1S: 2, G1NS: 0},
    (False, False, "ICC_ASGI1R_EL1"): {G0: 1, G1S: 2, G1NS: NEVER},
    (True, False, "ICC_SGI0R_EL1"): {G0: 0, G1NS: NEVER},
    (True, False, "ICC_SGI1R_EL1"): {G0: 0, G1NS: 0},
    (True, False, "ICC_ASGI1R_EL1"): {G0: 0, G1NS: NEVER},
    (True, True, "ICC_SGI0R_EL1"): {G0: 0, G1NS: NEVER},
    (True, True, "ICC_SGI1R_EL1"): {G0: 0, G1NS: NEVER},
    (True, True, "ICC_ASGI1R_EL1"): {G0: NEVER, G1NS: 0},
}


def encoding(name: str) -> int:
    """Return op0<<14 | op1<<11 | CRn<<7 | CRm<<3 | op2 of a register."""
    reg = REGISTERS[name]
    return 3 << 14 | reg.op1 << 11 | reg.crn << 7 | reg.crm << 3 | reg.op2


class SysRegs(Delivery):
    """System-register accesses of a PE in its reported context."""

    def sysreg_access(self, pe: int, reg: object, value: int | None = None) -> Access:
        """Read (``value`` None) or write a register named by name, encoding or (op0, op1, CRn, CRm, op2)."""
        who = self.pes[pe]
        op0, op1, crn, crm, op2 = self.split_encoding(reg)
        name = self.name_of(reg)
        wrong_way = "WO" if value is None else "RO"
        if name is None or REGISTERS[name].access == wrong_way or not self.implemented(who, name):
            return Access("undefined")
        kind, target = self.check_access(who, name)
        if kind == "trap":
            direction = int(value is None)
            # pages: SystemAccessTrap(level, 0x18): ESR_ELx with EC 0x18, IL 1, and the ISS of an MSR or MRS without Rt
            iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1 | direction
            return Access("trap", 0, target, 0x18 << 26 | 1 << 25 | iss)
        if kind != "value":
            return Access(kind)
        if not who.accessible:
            # hotplug: the CPU interface of an absent PE is RAZ/WI, and has no interrupt to show
            return Access("value", SPURIOUS if name in SHOW_INTID and value is None else 0)
        if value is None:
            return Access("value", self.read_sysreg(who, name))
        self.write_sysreg(who, name, value & (1 << 64) - 1)
        return Access("value", 0)

    def sysreg_read(self, pe: int, reg: object) -> int:
        """Read a register, 0 where the access is not one that gives a value."""
        return self.sysreg_access(pe, reg).value

    def sysreg_write(self, pe: int, reg: object, value: int) -> None:
        """Write a register."""
        self.sysreg_access(pe, reg, value)

    def cp15_access(self, pe: int, opc1: int, crn: int, crm: int, opc2: int, value: int | None = None) -> Access:
        """Carry out an AArch32 MRC (``value`` None) or MCR (5: the same fields name the same register)."""
        name = self.name_of((3, opc1, crn, crm, opc2))
        if name is None or REGISTERS[name].kind == "sgi" or name == "ICC_NMIAR1_EL1":
            return Access("undefined")  # 5, pages: SGI registers by MCRR alone; no AArch32 NMIAR1
        who = self.pes[pe]
        if name == "ICC_AP1R0_EL1" and value is not None and who.active_nmi[self.bank_group(who)]:
            value |= 1 << 63  # page: the AArch32 register is bits 31:0 of this one; the NMI flag stays
        result = self.sysreg_access(pe, name, value)
        if result.kind == "trap":
            # EC 0x03, IL, condition valid and 14 (always)
            iss = 1 << 24 | 14 << 20 | opc2 << 17 | opc1 << 14 | crn << 10 | crm << 1 | int(value is None)
            return result._replace(syndrome=0x03 << 26 | 1 << 25 | iss)
        return result._replace(value=result.value & 0xFFFF_FFFF)

    def mcrr_access(self, pe: int, opc1: int, crm: int, value: int) -> Access:
        """Carry out an AArch32 MCRR: CRm 12 with opc1 0, 1, 2 is SGI1R, ASGI1R, SGI0R (5)."""
        name = {0: "ICC_SGI1R_EL1", 1: "ICC_ASGI1R_EL1", 2: "ICC_SGI0R_EL1"}.get(opc1) if crm == 12 else None
        if name is None:
            return Access("undefined")
        result = self.sysreg_access(pe, name, value)
        if result.kind == "trap":
            # EC 0x04, IL, condition valid and 14 (always)
            iss = 1 << 24 | 14 << 20 | opc1 << 16 | crm << 1
            return result._replace(syndrome=0x04 << 26 | 1 << 25 | iss)
        return result

    @staticmethod
    def split_encoding(reg: object) -> tuple[int, int, int, int, int]:
        """Return (op0, op1, CRn, CRm, op2) of any way to name a register."""
        if isinstance(reg, tuple):
            return reg
        code = encoding(reg) if isinstance(reg, str) else int(reg)  # type: ignore[call-overload]
        return code >> 14, code >> 11 & 7, code >> 7 & 15, code >> 3 & 15, code & 7

    @classmethod
    def name_of(cls, reg: object) -> str | None:
        """Return the name of a register however it is given, None for an encoding that is none."""
        fields = cls.split_encoding(reg)
        return next((name for name, r in REGISTERS.items() if (3, *r[:4]) == fields), None)

    def has_el3(self) -> bool:
        """Tell whether the PEs have EL3: those of a GIC with two Security states do."""
        return self.config.security

    def scr(self, pe: Pe) -> int:
        """Return SCR_EL3, 0 without EL3 (so that nothing traps there)."""
        return pe.scr if self.has_el3() else 0

    def el2_enabled(self, pe: Pe) -> bool:
        """Tell whether EL2 is enabled in the current Security state (5.3)."""
        return self.config.el2 and (not pe.secure or bool(self.scr(pe) & SCR_EEL2))

    def implemented(self, pe: Pe, name: str) -> bool:
        """Tell whether a register exists for this PE's build and Exception level."""
        if pe.el == 0:
            return False  # pages: UNDEFINED at EL0
        if name[:7] in ("ICC_AP0", "ICC_AP1"):
            needed = {"0": 4, "1": 6, "2": 7, "3": 7}[name[8]]  # 5: R1 with >= 6 priority bits, R2 and R3 with >= 7
            return self.config.priority_bits >= needed
        if name == "ICC_NMIAR1_EL1":
            return self.config.nmi and pe.sctlr_nmi  # 5: checked before traps
        kind = REGISTERS[name].kind
        if kind == "el3":
            return self.has_el3() and pe.el == 3  # pages: UNDEFINED below EL3
        if kind == "sre2":
            if pe.el == 3:  # page: UNDEFINED at EL3 unless EL2 is enabled in the state SCR_EL3 selects
                return self.config.el2 and bool(pe.scr & (SCR_NS | SCR_EEL2))
            return pe.el == 2  # page: UNDEFINED at EL1
        return True

    def check_access(self, pe: Pe, name: str) -> tuple[str, int]:
        """Return ("value", 0), ("trap", level) or ("virtual", 0) in the order of 5.3; SRE is fixed at 1."""
        kind = REGISTERS[name].kind
        if pe.el == 3 or kind in ("sre1", "sre2", "el3"):
            return "value", 0  # 5.3: the SRE registers are gated by the Enable bits alone, fixed at 1
        if pe.el == 1 and self.el2_enabled(pe):
            # 5.3 step 2
            traps = {"group0": TALL0, "group1": TALL1, "common": TC, "sgi": TC}[kind]
            if name == "ICC_DIR_EL1":
                traps |= TDIR
            if pe.ich_hcr & traps:
                return "trap", 2
            # 5.3 step 3
            routing = {"group0": HCR_FMO, "group1": HCR_IMO}.get(kind, HCR_FMO | HCR_IMO)
            if pe.hcr & routing:
                return ("trap", 2) if kind == "sgi" else ("virtual", 0)
        # 5.3 step 4
        needed = {"group0": SCR_FIQ, "group1": SCR_IRQ}.get(kind, SCR_FIQ | SCR_IRQ)
        if self.scr(pe) & needed == needed:
            return "trap", 3
        return "value", 0

    def bank(self, pe: Pe) -> str:
        """Return the bank of CTLR, BPR1, AP1R and IGRPEN1 that an access reaches: SCR_EL3.NS selects (5.3)."""
        if self.ds:
            return NONSECURE  # 5.3: in a single-state GIC the one copy behaves as the Non-secure one
        if pe.el == 3:
            return NONSECURE if pe.scr & SCR_NS else SECURE
        return SECURE if pe.secure else NONSECURE

    def bank_group(self, pe: Pe) -> str:
        """Return the Group 1 that a banked register serves."""
        return G1S if self.bank(pe) == SECURE else G1NS

    def acts_secure(self, pe: Pe) -> bool:
        """Tell whether a PE counts as Secure; without EL3 it does not."""
        return self.has_el3() and pe.secure

    def at_el3(self, pe: Pe) -> bool:
        """Tell whether a PE executes at EL3, which it may not have."""
        return self.has_el3() and pe.el == 3

    def nonsecure_view(self, pe: Pe) -> bool:
        """Tell whether priorities are seen through the Non-secure window (6)."""
        return self.has_el3() and not pe.secure and bool(pe.scr & SCR_FIQ)

    def store_priority(self, value: int) -> int:
        """Drop the unimplemented low bits of a priority (6)."""
        return value & (0xFF << 8 - self.config.priority_bits & 0xFF)

    def read_sysreg(self, pe: Pe, name: str) -> int:
        """Return the value of a readable register."""
        if name.startswith(("ICC_AP0R", "ICC_AP1R")):
            return self.read_active_priorities(pe, name)
        return {
            "ICC_PMR_EL1": self.read_pmr,
            "ICC_IAR0_EL1": lambda pe: self.acknowledge(pe, "ICC_IAR0_EL1"),
            "ICC_IAR1_EL1": lambda pe: self.acknowledge(pe, "ICC_IAR1_EL1"),
            "ICC_NMIAR1_EL1": lambda pe: self.acknowledge(pe, "ICC_NMIAR1_EL1"),
            "ICC_HPPIR0_EL1": lambda pe: self.observe(pe, self.best_pending(pe), 0),
            "ICC_HPPIR1_EL1": lambda pe: self.observe(pe, self.best_pending(pe), 1),
            "ICC_BPR0_EL1": lambda pe: pe.bpr0,
            "ICC_BPR1_EL1": self.read_bpr1,
            "ICC_RPR_EL1": self.read_rpr,
            "ICC_CTLR_EL1": self.read_ctlr,
            "ICC_CTLR_EL3": self.read_ctlr_el3,
            "ICC_SRE_EL1": lambda pe: 0x7,  # 5.1: without legacy
            "ICC_SRE_EL2": lambda pe: 0xF,
            "ICC_SRE_EL3": lambda pe: 0xF,
            "ICC_IGRPEN0_EL1": lambda pe: pe.igrpen[G0],
            "ICC_IGRPEN1_EL1": lambda pe: pe.igrpen[self.bank_group(pe)],
            "ICC_IGRPEN1_EL3": lambda pe: pe.igrpen[G1S] << 1 | pe.igrpen[G1NS],
        }[name](pe)

    def read_pmr(self, pe: Pe) -> int:
        """Return ICC_PMR (6)."""
        if self.nonsecure_view(pe) and pe.pmr != 0xFF:  # 6: 0xFF stays as it is
            return pe.pmr << 1 & 0xFF if pe.pmr >= 0x80 else 0
        return pe.pmr

    def read_rpr(self, pe: Pe) -> int:
        """Return ICC_RPR (6, 11)."""
        value = self.running_priority(pe)
        if value != 0xFF and (self.nonsecure_view(pe) or self.nmi_saturates(pe)):
            value = value << 1 & 0xFF if value >= 0x80 else 0
        flags = 0
        if self.config.nmi:
            if self.ds:
                flags |= int(any(pe.active_nmi.values())) << 63  # 11: DS=1: an NMI is active
            elif self.acts_secure(pe):
                flags |= int(pe.active_nmi[G1S]) << 63 | int(pe.active_nmi[G1NS]) << 62  # 11: Secure read
            else:
                flags |= int(pe.active_nmi[G1NS]) << 63  # 11: NS read
        return flags | value

    def nmi_saturates(self, pe: Pe) -> bool:
        """Tell whether a Non-secure read sees the 0x80 of a running Non-secure NMI as 0 (11)."""
        running = self.running_priority(pe)
        return not self.ds and not pe.secure and pe.active_nmi[G1NS] and running == 0x80

    def read_bpr1(self, pe: Pe) -> int:
        """Return ICC_BPR1 (6)."""
        bank = self.bank(pe)
        if pe.el < 3 and pe.cbpr[bank]:
            return pe.bpr0 if bank == SECURE else min(pe.bpr0 + 1, 7)
        return pe.bpr1[bank]

    def ctlr_constants(self) -> int:
        """Return the read-only fields that ICC_CTLR_EL1 and _EL3 share (5.1)."""
        config = self.config
        extended = bool(config.espis or config.eppis)
        return (
            int(extended) << 19
            | int(config.range_selector) << 18
            | int(config.aff3) << 15
            | int(config.id_bits > 16) << 11  # IDbits: 16 or 24 identifier bits
            | (config.priority_bits - 1) << 8
        )

    def read_ctlr(self, pe: Pe) -> int:
        """Return ICC_CTLR_EL1 (5.1)."""
        bank = self.bank(pe)
        return self.ctlr_constants() | pe.pmhe << 6 | pe.eoimode[bank] << 1 | pe.cbpr[bank]

    def read_ctlr_el3(self, pe: Pe) -> int:
        """Return ICC_CTLR_EL3; nDS is 0 as DS is programmable, RM is RES0 (5.1)."""
        value = pe.pmhe << 6 | pe.eoimode[NONSECURE] << 4 | pe.eoimode[SECURE] << 3 | pe.eoimode_el3 << 2
        return self.ctlr_constants() | value | pe.cbpr[NONSECURE] << 1 | pe.cbpr[SECURE]

    def levels_of_word(self, name: str) -> range:
        """Return the active priority levels whose bits are in one AP register (5.1, 6)."""
        word = int(name[8])
        count = 1 << prebits_of(self.config.priority_bits)
        return range(32 * word, min(32 * word + 32, count))

    def active_group(self, pe: Pe, name: str) -> str:
        """Return the group whose active priorities an AP register holds."""
        return G0 if name[6] == "0" else self.bank_group(pe)

    def read_active_priorities(self, pe: Pe, name: str) -> int:
        """Return ICC_AP0R or ICC_AP1R (6, 11)."""
        group, levels = self.active_group(pe, name), self.levels_of_word(name)
        value = sum(1 << level - levels.start for level in levels if level in pe.active_levels[group])
        if name == "ICC_AP1R0_EL1" and pe.active_nmi[group]:
            value |= 1 << 63
        return value

    def write_sysreg(self, pe: Pe, name: str, value: int) -> None:
        """Write a writable register."""
        bank = self.bank(pe)
        if name.startswith(("ICC_AP0R", "ICC_AP1R")):
            self.write_active_priorities(pe, name, value)
        elif name == "ICC_PMR_EL1":
            self.write_pmr(pe, value & 0xFF)
        elif name == "ICC_BPR0_EL1":
            pe.bpr0 = max(value & 7, self.bpr_minimum(SECURE))
        elif name == "ICC_BPR1_EL1":
            self.write_bpr1(pe, value & 7)
        elif name in ("ICC_EOIR0_EL1", "ICC_EOIR1_EL1"):
            self.end_of_interrupt(pe, name, self.intid_of(value))
        elif name == "ICC_DIR_EL1":
            self.deactivate_by_dir(pe, self.intid_of(value))
        elif name in ("ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1"):
            self.generate_sgi(pe, name, value)
        elif name == "ICC_IGRPEN0_EL1":
            pe.igrpen[G0] = value & 1
        elif name == "ICC_IGRPEN1_EL1":
            pe.igrpen[self.bank_group(pe)] = value & 1
        elif name == "ICC_IGRPEN1_EL3":
            pe.igrpen[G1NS], pe.igrpen[G1S] = value & 1, value >> 1 & 1
        elif name == "ICC_CTLR_EL1":
            pe.eoimode[bank] = value >> 1 & 1  # 5.1: always RW
            if self.ds:  # page: CBPR and PMHE are RO with EL3 and DS=0, at any level
                pe.cbpr[bank] = value & 1
                self.write_pmhe(pe, value)
        elif name == "ICC_CTLR_EL3":
            pe.cbpr[SECURE], pe.cbpr[NONSECURE] = value & 1, value >> 1 & 1
            pe.eoimode_el3, pe.eoimode[SECURE], pe.eoimode[NONSECURE] = value >> 2 & 1, value >> 3 & 1, value >> 4 & 1
            self.write_pmhe(pe, value)
        # 5.1: the SRE registers are fixed without legacy.

    def write_pmhe(self, pe: Pe, value: int) -> None:
        """Write PMHE, RAZ/WI where there is no 1-of-N to hint at (5.1)."""
        if self.config.one_of_n:
            pe.pmhe = value >> 6 & 1

    def write_pmr(self, pe: Pe, value: int) -> None:
        """Write ICC_PMR (6)."""
        if self.nonsecure_view(pe):
            if pe.pmr < 0x80:
                return  # 6: NS may not lift a Secure mask
            value = 0x80 | value >> 1
        pe.pmr = self.store_priority(value)

    def bpr_minimum(self, bank: str) -> int:
        """Return the least binary point: BPR0 and BPR1(S) 7 - prebits, BPR1(NS) 8 - prebits (6)."""
        return (7 if bank == SECURE else 8) - prebits_of(self.config.priority_bits)

    def write_bpr1(self, pe: Pe, value: int) -> None:
        """Write ICC_BPR1 (6)."""
        bank = self.bank(pe)
        if pe.el < 3 and pe.cbpr[bank]:
            if bank == SECURE:
                pe.bpr0 = max(value, self.bpr_minimum(SECURE))  # 6: goes to BPR0
            return  # 6: ignored in the Non-secure bank
        pe.bpr1[bank] = max(value, self.bpr_minimum(bank))

    def write_active_priorities(self, pe: Pe, name: str, value: int) -> None:
        """Write ICC_AP0R or ICC_AP1R (6)."""
        group, levels = self.active_group(pe, name), self.levels_of_word(name)
        for level in levels:
            wanted = value >> level - levels.start & 1
            if group == G1NS and not self.ds and level << self.level_shift() < 0x80:
                # 6: NS may not create active bits in the Secure half (two-state GIC); page: but may write back or clear
                wanted = wanted and level in pe.active_levels[group]
            if wanted:
                pe.active_levels[group].add(level)
            else:
                pe.active_levels[group].discard(level)
        if name == "ICC_AP1R0_EL1" and self.config.nmi:
            pe.active_nmi[group] = bool(value >> 63)

    def intid_of(self, value: int) -> int:
        """Return the INTID field of a write (5.1)."""
        return value & 0xFF_FFFF

    def observe(self, pe: Pe, irq: Interrupt | None, register: int) -> int:
        """Return what IAR or HPPIR of a group shows of an interrupt to the PE's state (8)."""
        if irq is None:
            return SPURIOUS
        group = self.group_of(irq)
        secure, at_el3 = self.acts_secure(pe), self.at_el3(pe)
        if register == 0:
            if group != G0:
                if not at_el3:
                    return SPURIOUS
                return SECURE_AT_EL3 if group == G1S else NONSECURE_AT_EL3
            return SPURIOUS if not self.ds and not secure else irq.intid
        if group == G0:
            return SPURIOUS
        if group == G1S and not secure:
            return SPURIOUS
        if group == G1NS and secure and not self.ds and not at_el3:
            return SPURIOUS
        return irq.intid

    def acknowledge(self, pe: Pe, name: str) -> int:
        """Read ICC_IAR0, ICC_IAR1 or ICC_NMIAR1 (8, 11)."""
        irq = self.signalled(pe)
        shown = self.observe(pe, irq, 0 if name == "ICC_IAR0_EL1" else 1)
        if irq is None or shown != irq.intid:
            return shown  # 8: special INTIDs are not acknowledged
        if name == "ICC_NMIAR1_EL1" and not self.is_nmi(irq):
            return SPURIOUS
        if name == "ICC_IAR1_EL1" and self.is_nmi(irq) and pe.sctlr_nmi:
            return NMI_PRESENT
        group, priority = self.group_of(irq), self.priority_of(irq)
        if self.is_nmi(irq):
            pe.active_nmi[group] = True  # 11
        else:
            if self.config.apr_rule == "bpr":
                priority &= self.group_mask(pe, group)  # 6 [?]
            pe.active_levels[group].add(priority >> self.level_shift())  # 6
        self.take(pe, irq)
        return shown

    def take(self, pe: Pe, irq: Interrupt) -> None:
        """Let an acknowledged interrupt be active and pending no more (2.5)."""
        irq.latch = False
        irq.active = True
        self.taken[pe.index]["sgi" if irq.is_sgi else "spi" if irq.is_spi else "ppi"] += 1

    def highest_active(self, pe: Pe) -> tuple[str, int | None] | None:
        """Return what runs: its group and its level, None for an NMI's; NMI, G0, G1S, G1NS on equal terms (8, 11)."""
        active: list[tuple[int, bool, int, str, int | None]] = []
        for order, group in enumerate((G0, G1S, G1NS)):
            active += [(level << self.level_shift(), True, order, group, level) for level in pe.active_levels[group]]
            if group != G0 and pe.active_nmi[group]:
                active.append((self.nmi_running_priority(group), False, order, group, None))
        return min(active)[-2:] if active else None

    def may_end(self, pe: Pe, group: str) -> bool:
        """Tell whether the PE's state may end interrupts of a group (8)."""
        if self.at_el3(pe) or self.ds:
            return True
        return group in (G0, G1S) if self.acts_secure(pe) else group == G1NS

    def eoi_mode(self, pe: Pe) -> int:
        """Return the EOImode bit that rules the PE's current state (8)."""
        if self.at_el3(pe):
            return pe.eoimode_el3
        return pe.eoimode[self.bank(pe)]

    def implemented_irq(self, pe: Pe, intid: int) -> Interrupt | None:
        """Return the interrupt of an INTID as one PE sees it."""
        return pe.irqs.get(intid) or self.spis.get(intid)

    def end_of_interrupt(self, pe: Pe, name: str, intid: int) -> None:
        """Write ICC_EOIR0 or ICC_EOIR1 (8)."""
        irq = self.implemented_irq(pe, intid)
        if irq is None:
            return  # 8: special and unimplemented INTIDs are ignored
        running = self.highest_active(pe)
        if running is None:
            return
        group, level = running
        if (group == G0) != (name == "ICC_EOIR0_EL1") or not self.may_end(pe, group):
            return  # 8: the whole write is ignored
        if level is None:
            pe.active_nmi[group] = False  # 11: the NMI flag first, where it is the highest
        else:
            pe.active_levels[group].discard(level)
        if not self.eoi_mode(pe) and self.may_end(pe, self.group_of(irq)):
            irq.active = False  # 8 [?]: only an INTID whose group this state could EOI

    def deactivate_by_dir(self, pe: Pe, intid: int) -> None:
        """Write ICC_DIR (8)."""
        irq = self.implemented_irq(pe, intid)
        if irq is None or not self.eoi_mode(pe):
            return
        if self.may_deactivate(pe, self.group_of(irq)):
            irq.active = False

    def may_deactivate(self, pe: Pe, group: str) -> bool:
        """Tell whether ICC_DIR may deactivate an interrupt of a group (8)."""
        if self.at_el3(pe):
            return True
        fiq_to_el3, irq_to_el3 = bool(self.scr(pe) & SCR_FIQ), bool(self.scr(pe) & SCR_IRQ)
        if self.acts_secure(pe):
            return not fiq_to_el3 if group == G0 else not irq_to_el3
        if group == G0:
            return self.ds and not fiq_to_el3
        return group == G1NS and not irq_to_el3

    def generate_sgi(self, pe: Pe, name: str, value: int) -> None:
        """Write ICC_SGI0R, ICC_SGI1R or ICC_ASGI1R (5.1, 9)."""
        pe.uwp_left = self.config.settle_steps  # 3.1: on its way to the Distributor (which writes are is IMPDEF)
        intid = value >> 24 & 15
        row = FORWARD[self.ds, self.acts_secure(pe), name]
        for target in self.sgi_targets(pe, value):
            irq = target.irqs[intid]
            if not target.accessible:
                self.counts["sgi_dropped"] += 1  # hotplug: an SGI to an absent PE is dropped
            elif irq.nsacr >= row[self.group_of(irq)]:
                irq.latch = True

    def sgi_targets(self, pe: Pe, value: int) -> list[Pe]:
        """Return the PEs that an SGI register write names (5.1)."""
        if value >> 40 & 1:
            # 5.1: IRM: all but self; hotplug: an absent PE is none of "all"
            return [other for other in self.pes if other is not pe and other.accessible]
        selector = value >> 44 & 15 if self.config.range_selector else 0  # 5.1: RSS=0: RS is taken as 0
        cluster = (value >> 48 & 0xFF) << 32 | (value >> 32 & 0xFF) << 16 | (value >> 16 & 0xFF) << 8
        wanted = [cluster | selector * 16 + n for n in range(16) if value >> n & 1]
        return [other for other in self.pes if other.affinity in wanted]
