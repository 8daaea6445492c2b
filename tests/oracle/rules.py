"""Where the accepted differences show, and what keeps both sides equal afterwards.

For an operation a rule has both sides execute something else, or says exactly which difference may show and adds
operations that make the two states equal again. Rules judge by the core's state and the operation; nothing here reads
QEMU's. Whatever no rule accepts is a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import rules_its
from .configs import SPIS, Config
from .ops import (
    GICD_BASE,
    GICD_CTLR_DS,
    GICR_BASE,
    GICR_STRIDE,
    GITS_BASE,
    ICC,
    RAM_BASE,
    READ_SIZE,
    SCR_NS,
    SGI_FRAME,
    WRITE_SIZE,
    Kind,
    Op,
    Result,
    World,
)
from .qemu_limits import harmless
from .step import Accept, Rule, Step, rewritten
from .subject import ESR_UNDEFINED, ISR_F, ISR_I, Subject


def steps(subject: Subject, op: Op) -> Iterable[Step]:
    """What is executed for one operation of a program: itself, or what the rules make of it.

    The caller executes each step before it asks for the next, so a rule sees the core's state before and after.
    """
    return _with_ds(subject, op) if subject.config.secure else _ruled(subject, op)


def _ruled(subject: Subject, op: Op) -> Iterable[Step]:
    kind = op.kind
    if kind == Kind.MSR:
        rule = _MSR_RULES.get(op.reg)
    elif kind == Kind.MRS:
        rule = _MRS_RULES.get(op.reg)
    elif kind in WRITE_SIZE:
        rule = _rule_at(_WRITE_RULES, op.address)
    elif kind in READ_SIZE:
        rule = _rule_at(_READ_RULES, op.address)
    else:
        rule = None
    return rule(subject, op) if rule else (Step(op),)


_Rules = dict[str, list[tuple[int, int, Rule]]]


def _rule_at(rules: _Rules, address: int) -> Rule | None:
    if address >= RAM_BASE:
        return None
    if GITS_BASE <= address < GICR_BASE:
        frame, offset = "GITS", address - GITS_BASE
    elif address < GICR_BASE:
        frame, offset = "GICD", address - GICD_BASE
    else:
        offset = (address - GICR_BASE) % GICR_STRIDE
        frame, offset = ("SGI", offset - SGI_FRAME) if offset >= SGI_FRAME else ("RD", offset)
    for first, last, rule in rules[frame]:
        if first <= offset <= last:
            return rule
    return None


def _base(config: Config, ns: bool = True) -> World:
    """The highest EL: sees and may do everything, and no interrupt ends an operation there."""
    return config.world(config.base_el, ns=ns)


def _lines_only(*names: str) -> Accept:
    """Accepts that the lines, and what they interrupt, differ."""
    return lambda ours, theirs: names if _same_but_lines(ours, theirs) else ()


def _same_but_lines(ours: Result, theirs: Result) -> bool:
    """Equal apart from the interrupt lines and what they interrupt."""
    return ours[:3] == theirs[:3]


_BANKED = {
    ICC[f"ICC_{name}_EL1"]
    for name in ("IAR1", "HPPIR1", "EOIR0", "EOIR1", "DIR", "BPR1", "CTLR", "IGRPEN1", *(f"AP1R{n}" for n in range(4)))
}
"""What a Secure PE's bank, or its not owning Non-secure Group 1, decides on QEMU; EOIR0 and DIR by EOImode."""


def _with_ds(subject: Subject, op: Op) -> Iterator[Step]:
    """With DS=1, an FIQ of a Secure PE on QEMU alone must not end an operation: routing to EL3 is kept off there.

    QEMU then asks what is banked of a Non-secure PE: its Secure one has a bank of its own, and ours has not.
    """
    sets_ds = op.kind == Kind.W32 and op.address == GICD_BASE and op.value & GICD_CTLR_DS
    if (subject.ds or sets_ds) and op.world.secure and op.kind != Kind.LINE:
        op = op._replace(world=subject.config.world(op.world.el, ns=bool(op.world.scr & SCR_NS)))
        if op.kind in (Kind.MRS, Kind.MSR) and op.reg in _BANKED and not op.world.scr & SCR_NS:
            yield from _as_non_secure(subject, op)
            return
    if sets_ds and op.world.secure and not subject.ds:
        yield from _end_secure_group_1(subject)
    for step in _ruled(subject, op):
        if step.op.world.secure and (subject.ds or sets_ds):
            yield step._replace(accept=_ds1_secure_fiq(step.accept))
        else:
            yield step


def _end_secure_group_1(subject: Subject) -> Iterator[Step]:
    """To set DS while an INTID is active is UNPREDICTABLE: who may end Secure Group 1 afterwards is not the same."""
    config = subject.config
    world = _base(config, ns=False)
    for pe in range(config.smp):
        for n in range(4 if config.priority_bits == 8 else 1):
            register = ICC[f"ICC_AP1R{n}_EL1"]
            if subject.read(pe, world, register):
                yield Step(Op(Kind.MSR, pe, world, reg=register), changed="ds1-active")


def _as_non_secure(subject: Subject, op: Op) -> Iterator[Step]:
    world = subject.config.world(op.world.el, ns=True)
    for index, step in enumerate(_ruled(subject, op._replace(world=world))):
        if index == 0:
            step = step._replace(op=step.op._replace(world=op.world), changed="ds1-banks", theirs=step.op)
        yield step._replace(accept=_ds1_secure_fiq(step.accept)) if step.op.world.el == 3 else step


def _ds1_secure_fiq(inner: Accept | None) -> Accept:
    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        if (ours.isr, theirs.isr) != (ISR_I, ISR_F):
            return inner(ours, theirs) if inner else ()
        # An IRQ taken in a window is bit 2 * EL of `taken`, an FIQ the next.
        theirs = theirs._replace(isr=ISR_I, taken=theirs.taken >> 1)
        if ours == theirs:
            return ("ds1-secure-fiq",)
        rest = inner(ours, theirs) if inner else ()
        return ("ds1-secure-fiq", *rest) if rest else ()

    return accept


# System registers.


def _no_crash(subject: Subject, op: Op) -> Iterable[Step]:
    changed = harmless(op)
    entry = "crash-bpr" if op.reg in (ICC["ICC_BPR0_EL1"], ICC["ICC_BPR1_EL1"]) else "crash-intid"
    return (Step(op),) if changed == op else (Step(changed, changed=entry),)


def _end_of_interrupt(subject: Subject, op: Op) -> Iterator[Step]:
    """What QEMU deactivates and we do not is then deactivated on both sides."""
    config = subject.config
    changed = harmless(op)
    name = None if changed == op else "crash-intid"
    intid = subject.written(changed)
    word, bit = 4 * (intid // 32), 1 << intid % 32

    def active() -> int:
        return (subject.sgi(op.cpu, 0x300) if intid < 32 else subject.gicd(0x300 + word)) & bit

    if intid >= 32 + SPIS or not active() or _may_end(subject, op, intid):
        yield Step(changed, changed=name)
        return
    yield Step(changed, _lines_only("eoi-other-group"), changed=name)
    if not active():
        return
    frame = GICR_BASE + op.cpu * GICR_STRIDE + SGI_FRAME if intid < 32 else GICD_BASE

    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        same = _same_but_lines(ours, theirs) or _same_but_lines(ours, theirs._replace(value=theirs.value ^ bit))
        return ("eoi-other-group",) if same else ()

    yield Step(Op(Kind.R32, op.cpu, _base(config), address=frame + 0x300 + word), accept)
    yield Step(Op(Kind.W32, op.cpu, _base(config), address=frame + 0x380 + word, value=bit))


def _may_end(subject: Subject, op: Op, intid: int) -> bool:
    """Whether the state that executes `op` could end an interrupt of this INTID's group."""
    if op.world.el == 3 or subject.ds:
        return True
    word, bit = 4 * (intid // 32), 1 << intid % 32
    group = subject.sgi(op.cpu, 0x080) if intid < 32 else subject.gicd(0x080 + word)
    return bool(group & bit) != op.world.secure


def _acknowledge(subject: Subject, op: Op) -> Iterator[Step]:
    """QEMU sets bit 31 of an AP register together with 63:32; writing the register back leaves bits 31:0."""
    group = 0 if op.reg == ICC["ICC_IAR0_EL1"] else 1
    config = subject.config
    if config.priority_bits != 8:
        yield Step(op)
        return
    worlds = [_base(config, ns) for ns in ((True,) if subject.ds or not group else (True, False))]
    registers = [ICC[f"ICC_AP{group}R{n}_EL1"] for n in range(4)]
    places = [(world, register) for world in worlds for register in registers]
    before = [subject.read(op.cpu, *place) for place in places]
    yield Step(op)
    for place, old in zip(places, before):
        value = subject.read(op.cpu, *place)
        if value & ~old & 1 << 31:
            world, register = place
            yield Step(Op(Kind.MSR, op.cpu, world, reg=register, value=value), changed="ap-sign")


def _write_ap1r(subject: Subject, op: Op) -> Iterable[Step]:
    """QEMU keeps the register as it is; ours takes what the Non-secure half may hold and clears what it is told to."""
    config = subject.config
    if not config.secure or not op.world.scr & SCR_NS or (config.priority_bits == 5 and op.reg != ICC["ICC_AP1R0_EL1"]):
        return (Step(op),)
    old = subject.read(op.cpu, _base(config), op.reg)
    only_secure = 0 if subject.ds else 0xFFFF if config.priority_bits == 5 else 0xFFFF_FFFF
    if op.value & 0xFFFF_FFFF & (~only_secure | old) == old:
        return (Step(op),)
    return (Step(op._replace(kind=Kind.MRS, value=0), changed="ap1r-ns"),)


_CTLR_IDBITS = 1 << 11


def _read_ctlr(subject: Subject, op: Op) -> Iterable[Step]:
    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        same = not ours.value & _CTLR_IDBITS and ours == theirs._replace(value=theirs.value & ~_CTLR_IDBITS)
        return ("ctlr-idbits",) if same else ()

    return (Step(op, accept),)


def _read_ctlr_el3(subject: Subject, op: Op) -> Iterable[Step]:
    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        names = []
        value = ours.value
        if not value & _CTLR_IDBITS and theirs.value & _CTLR_IDBITS:
            names.append("ctlr-idbits")
            value |= _CTLR_IDBITS
        if not value & 1 << 17 and theirs.value & 1 << 17:
            names.append("ctlr-el3-nds")
            value |= 1 << 17
        from_ns = value & ~0b1001 | (value >> 4 & 1) << 3 | value >> 1 & 1
        if value != from_ns and theirs.value == from_ns:
            names.append("ctlr-el3-el1s")
            value = from_ns
        return tuple(names) if ours._replace(value=value) == theirs else ()

    return (Step(op, accept),)


def _sre_el2(subject: Subject, op: Op) -> Iterable[Step]:
    enabled = subject.config.el2 and op.world.scr & SCR_NS
    if op.world.el != 3 or enabled:
        return (Step(op),)

    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        undefined = (ours.esr, ours.fault_el) == (ESR_UNDEFINED, 3) and not theirs.esr
        return ("sre-el2",) if undefined and ours[3:] == theirs[3:] else ()

    return (Step(op, accept),)


def sgi_targets(config: Config, cpu: int, value: int) -> list[int]:
    """PEs that an SGI register write names, affinities being Aff0 = PE (range selector absent)."""
    if value >> 40 & 1:
        return [pe for pe in range(config.smp) if pe != cpu]
    if value >> 16 & 0xFF or value >> 32 & 0xFF or value >> 48 & 0xFF:
        return []
    return [pe for pe in range(config.smp) if value >> pe & 1]


def _sgi1r_entry(subject: Subject, op: Op, pe: int) -> str | None:
    """The entry that covers an SGI1R write to a target, by the group configured there and what NSACR permits."""
    intid = op.value >> 24 & 15
    bit = 1 << intid
    if subject.sgi(pe, 0x080) & bit:
        return None
    if subject.ds:
        return "sgi1r-ds1"
    group1 = subject.sgi(pe, 0xD00) & bit
    if op.world.secure:
        return None if group1 else "sgi1r-secure"
    permitted = subject.sgi(pe, 0xE00) >> 2 * intid & 3
    return "sgi1r-nsacr" if permitted >= (2 if group1 else 1) else None


def _sgi1r(subject: Subject, op: Op) -> Iterator[Step]:
    """Compares what became pending at each target that an entry covers, then makes QEMU's pending bit ours."""
    config = subject.config
    bit = 1 << (op.value >> 24 & 15)
    covered = []
    for pe in sgi_targets(config, op.cpu, op.value):
        entry = _sgi1r_entry(subject, op, pe)
        if entry and not subject.sgi(pe, 0x200) & bit:
            covered.append((pe, entry))
    if not covered:
        yield Step(op)
        return

    names = tuple(sorted({entry for _, entry in covered}))
    yield Step(op, _lines_only(*names))
    for pe, entry in covered:
        pending = subject.sgi(pe, 0x200) & bit
        frame = GICR_BASE + pe * GICR_STRIDE + SGI_FRAME

        def accept(ours: Result, theirs: Result, entry: str = entry) -> tuple[str, ...]:
            same = _same_but_lines(ours, theirs._replace(value=theirs.value ^ bit))
            return (entry,) if same or _same_but_lines(ours, theirs) else ()

        yield Step(Op(Kind.R32, op.cpu, _base(config), address=frame + 0x200), accept)
        address = frame + (0x200 if pending else 0x280)
        equal = Op(Kind.W32, op.cpu, _base(config), address=address, value=bit)
        yield Step(equal, _lines_only(*names))


_MSR_RULES: dict[int, Rule] = {
    ICC["ICC_BPR0_EL1"]: _no_crash,
    ICC["ICC_BPR1_EL1"]: _no_crash,
    ICC["ICC_EOIR0_EL1"]: _end_of_interrupt,
    ICC["ICC_EOIR1_EL1"]: _end_of_interrupt,
    ICC["ICC_DIR_EL1"]: _no_crash,
    ICC["ICC_AP1R0_EL1"]: _write_ap1r,
    ICC["ICC_AP1R1_EL1"]: _write_ap1r,
    ICC["ICC_SGI1R_EL1"]: _sgi1r,
    ICC["ICC_SRE_EL2"]: _sre_el2,
}
_MRS_RULES: dict[int, Rule] = {
    ICC["ICC_IAR0_EL1"]: _acknowledge,
    ICC["ICC_IAR1_EL1"]: _acknowledge,
    ICC["ICC_CTLR_EL1"]: _read_ctlr,
    ICC["ICC_CTLR_EL3"]: _read_ctlr_el3,
    ICC["ICC_SRE_EL2"]: _sre_el2,
}


# Memory-mapped registers.


def _waker(subject: Subject, op: Op) -> Iterable[Step]:
    return rewritten(op, op.value & ~2, "waker")


def _priority(subject: Subject, op: Op) -> Iterable[Step]:
    """A Non-secure write stores 0x80 | value >> 1, so one bit less of it is left in unimplemented positions."""
    bits = subject.config.priority_bits
    non_secure = subject.config.secure and not subject.ds and not op.world.secure
    if bits == 8:
        return (Step(op),) if non_secure or not subject.config.secure else _no_ap_sign(op)
    if non_secure:
        bits -= 1
    lane = 0xFF << (8 - bits) & 0xFF
    return rewritten(op, op.value & int.from_bytes(bytes([lane] * 8), "little"), "priority-bits")


def _no_ap_sign(op: Op) -> Iterable[Step]:
    """Priorities 0x3E, 0x3F, 0x7E, 0x7F: their AP bit 31 may be in a Non-secure AP1R0 or 1, and QEMU drops a repair."""
    lanes = op.value.to_bytes(8, "little")
    changed = bytes(lane & ~2 if lane & 0xBE == 0x3E else lane for lane in lanes)
    return rewritten(op, int.from_bytes(changed, "little"), "ap-sign")


def _read_typer(subject: Subject, op: Op) -> Iterable[Step]:
    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        if op.kind != Kind.R32 or theirs.value & 0x1F != SPIS // 32 - 1:
            return ()
        return ("typer-lines",) if ours == theirs._replace(value=theirs.value + 1) else ()

    return (Step(op, accept),)


_IROUTER = 0xFF_80FF_FFFF


def _read_irouter(subject: Subject, op: Op) -> Iterable[Step]:
    mask = _IROUTER >> 8 * (op.address & 7)

    def accept(ours: Result, theirs: Result) -> tuple[str, ...]:
        same = ours.value & ~mask == 0 and ours == theirs._replace(value=theirs.value & mask)
        return ("irouter-res0",) if same else ()

    return (Step(op, accept),)


def _icfgr(subject: Subject, op: Op) -> Iterable[Step]:
    """Writing ISENABLER with what is enabled already changes nothing, and makes QEMU evaluate the word again."""
    offset = op.address - GICD_BASE
    if op.kind != Kind.W32 or not 0xC08 <= offset < 0xC00 + (32 + SPIS) // 4:
        return (Step(op),)
    address = 0x100 + 4 * ((offset - 0xC00) // 8)
    again = Op(Kind.W32, op.cpu, _base(subject.config), address=GICD_BASE + address, value=subject.gicd(address))
    return (
        Step(op, _lines_only("icfgr-stale")),
        Step(again),
    )


_WRITE_RULES: _Rules = {
    "GICD": [(0x400, 0x7FF, _priority), (0xC00, 0xCFF, _icfgr)],
    "RD": [
        (0x0, 0x3, rules_its.write_gicr_ctlr),
        (0x10, 0x17, _waker),
        (0x70, 0x7F, rules_its.write_lpi_base),
    ],
    "GITS": [],
    "SGI": [(0x400, 0x41F, _priority)],
}
_READ_RULES: _Rules = {
    "GICD": [(0x4, 0x7, _read_typer), (0x6100, 0x7FDF, _read_irouter)],
    "RD": [
        (0x8, 0xF, rules_its.read_gicr_typer),
    ],
    "GITS": [(0x0, 0x3, rules_its.read_gits_ctlr), (0x8, 0xF, rules_its.read_gits_typer)],
    "SGI": [],
}
