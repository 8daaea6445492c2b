"""Runs a program on the core and on the model side by side, and makes a program that differs small."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from .builder import Op, fill_writes
from .config import ModelConfig
from .delivery import LINE_FIQ, LINE_IRQ, LINE_NMI, LINE_WAKE
from .memory import RAM, RAM_SIZE, ROM
from .model import Model
from .programs_its import QUEUE_SIZE, QUEUES, generator_for
from .state import G0, G1NS, SCR_NS
from .sysregs import SysRegs

LINES = LINE_IRQ | LINE_FIQ | LINE_NMI | LINE_WAKE
END_OF = {"ICC_IAR0_EL1": "ICC_EOIR0_EL1", "ICC_IAR1_EL1": "ICC_EOIR1_EL1", "ICC_NMIAR1_EL1": "ICC_EOIR1_EL1"}
ACCESSES = ("sysreg_access", "cp15_access", "mcrr_access")
MEMORY = ("memory_write", "memory_fill")  # no register access: no line moves
LOOKS = (*MEMORY, "frame_read", "mmio_read", "memory_holds", "its_counters", "its_errors", "lpi_pending")
COUNTS = ("totals", "counters", "its_counters", "its_errors")
OTHER_END = {"ICC_EOIR0_EL1": "ICC_EOIR1_EL1", "ICC_EOIR1_EL1": "ICC_EOIR0_EL1"}


class Difference(NamedTuple):
    """Where core and model part: the operation, what was compared, and both answers."""

    op: Op
    what: str
    core: object
    model: object

    def signature(self) -> str:
        """Return what makes two differences look like one."""
        place = self.op.args[:2] if self.op.call.startswith("frame") else self.op.args[1:2]
        return f"{self.op.call} {place} {self.what}"

    def __str__(self) -> str:
        return f"{self.what}: core {show(self.core)}, model {show(self.model)}"


def show(value: object) -> str:
    """Return integers in hexadecimal, anything else as it prints."""
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(v) for v in value) + "]"
    return str(value)


class ModelRun:
    """A model running a program alone; steps that depend on the state become operations that do not.

    Parameters:
        keywords: of ``ModelConfig``.
    """

    def __init__(self, keywords: dict[str, Any]) -> None:
        self.model = Model(ModelConfig(**keywords))
        self.trace: list[Op] = []
        self.acknowledged: list[list[tuple[int, str]]] = [[] for _ in self.model.pes]
        self.ended: list[list[int]] = [[] for _ in self.model.pes]
        self.newest = 0  # the PE that acknowledged last

    def resolve(self, op: Op) -> list[Op]:
        """Return the plain operations that a step stands for in the present state."""
        if op.call == "service":
            return self.resolve_service(*op.args)
        if op.call == "end_newest":
            return self.resolve(Op("end_last", (self.newest, False)))
        if op.call == "commands":
            return self.resolve_commands(*op.args)
        if op.call == "retry":
            return self.resolve_retry(*op.args)
        if op.call == "end_last":
            pe, wrong_register = op.args
            if not self.acknowledged[pe]:
                return []
            intid, name = self.acknowledged[pe].pop()
            self.ended[pe].append(intid)
            return [Op("sysreg_access", (pe, OTHER_END[name] if wrong_register else name, intid))]
        if op.call == "deactivate_last":
            (pe,) = op.args
            return [Op("sysreg_access", (pe, "ICC_DIR_EL1", self.ended[pe].pop()))] if self.ended[pe] else []
        if op.call == "by_address":
            return [self.by_address(*op.args)]
        return [op]

    def by_address(self, op: Op, shift: int, who: int | None) -> Op:
        """Return an access by frame as one by physical address, moved by ``shift``, as PE ``who`` would make it."""
        frame, offset, *rest = op.args
        *middle, size, secure, index = rest
        address = self.model.address_of(frame, offset, index) + shift
        return Op(op.call.replace("frame", "mmio"), (address, *middle, size, secure if who is None else None, who or 0))

    def resolve_service(self, choice: int, el: int, careless: bool) -> list[Op]:
        """Acknowledge on a PE that is being signalled, in a state that may (or, careless, in the one it is in)."""
        model = self.model
        spis = model.candidate_spis()
        ready = [(pe, irq) for pe in model.pes if (irq := model.signalled(pe, spis)) is not None]
        if not ready:
            return self.resolve_idle(choice)
        pe, irq = ready[choice % len(ready)]
        group = model.group_of(irq)
        name = "ICC_IAR0_EL1" if group == G0 else "ICC_IAR1_EL1"
        if model.is_nmi(irq) and pe.sctlr_nmi:
            name = ("ICC_NMIAR1_EL1", "ICC_NMIAR1_EL1", "ICC_IAR1_EL1")[choice % 3]
        ops = [Op("sysreg_access", (pe.index, name, None))]
        if model.config.security and not careless:
            scr = SCR_NS if group == G1NS else 0
            context = (pe.index, el, el == 3 or not scr, scr, 0, 0, pe.sctlr_nmi)
            ops.insert(0, Op("set_context", context))
        if choice % 2:
            ops += [Op("sysreg_access", (pe.index, look, None)) for look in ("ICC_RPR_EL1", "ICC_AP1R0_EL1")]
        return ops

    def resolve_commands(self, number: int, commands: tuple[tuple[int, ...], ...]) -> list[Op]:
        """Put commands into the queue of an ITS and tell it."""
        its, ops = self.model.itss[number], []
        at = its.cwriter
        for command in commands:
            ops += self.queue_write(number, at, command)
            at = (at + 32) % its.queue_size()
        return [*ops, Op("frame_write", ("GITS", 0x88, at, 8, False, number))]

    def queue_write(self, number: int, offset: int, command: tuple[int, ...]) -> list[Op]:
        """Return the write of a command into a queue, nothing where there is no RAM."""
        its = self.model.itss[number]
        address = (its.cbaser >> 16 & 0xF_FFFF_FFFF) * 0x10000 + offset
        if not RAM <= address < RAM + RAM_SIZE or offset >= its.queue_size():
            return []
        return [Op("memory_write", (address, b"".join(word.to_bytes(8, "little") for word in command)))]

    def resolve_retry(self, number: int, mended: bool) -> list[Op]:
        """Let a stalled queue go on, with its bad command replaced by a SYNC or not."""
        its = self.model.itss[number]
        ops = self.queue_write(number, its.creadr, (5, 0, 0, 0)) if mended and its.stalled else []
        return [*ops, Op("frame_write", ("GITS", 0x88, its.cwriter | 1, 8, False, number))]

    def resolve_idle(self, choice: int) -> list[Op]:
        """Get things going again: end what is active somewhere, or else pend all that one PE has of its own."""
        busy = [pe for pe, stack in enumerate(self.acknowledged) if stack]
        if busy:
            return self.resolve(Op("end_last", (busy[choice % len(busy)], False)))
        pe = choice % len(self.model.pes)
        return [Op("frame_write", ("SGI", 0x200, 0xFFFF_FFFF, 4, self.model.config.security, pe))]

    def on_model(self, op: Op) -> object:
        """Carry out a plain operation on the model and remember what it acknowledged."""
        if op.call == "fill":
            return self.model.fill(fill_writes(self.model.config, *op.args))
        result = getattr(self.model, op.call)(*op.args)
        if op.call in ACCESSES and op.call != "mcrr_access":
            pe, reg = op.args[0], op.args[1] if op.call == "sysreg_access" else (3, *op.args[1:5])
            name = SysRegs.name_of(reg)
            if name in END_OF and result.kind == "value" and not 1020 <= result.value <= 1023:
                self.acknowledged[pe].append((result.value, END_OF[name]))
                self.newest = pe
        return result

    def step(self, op: Op) -> Difference | None:
        """Carry out a step."""
        for plain in self.resolve(op):
            self.trace.append(plain)
            difference = self.carry_out(plain)
            if difference is not None:
                return difference
        return None

    def carry_out(self, op: Op) -> Difference | None:
        """Carry out one plain operation."""
        self.on_model(op)
        return None


class Pair(ModelRun):
    """One core and one model, given the same operations.

    Parameters:
        keywords: of ``GICv3Config`` and ``ModelConfig``.
    """

    def __init__(self, keywords: dict[str, Any]) -> None:
        import gicv3

        super().__init__(keywords)
        self.frames = {frame.name: frame for frame in gicv3.Frame}
        self.gic = gicv3.GICv3(gicv3.GICv3Config(**keywords))
        self.ram = bytearray(RAM_SIZE)
        self.restored = False
        self.map_memory()
        self.pushed = [0] * len(self.model.pes)
        self.known = list(self.pushed)
        self.expected = list(self.pushed)
        self.gic.on_line = self.take_line

    def map_memory(self) -> None:
        """Give the core its memory."""
        self.gic.memory.map(RAM, self.ram)
        self.gic.memory.map(ROM, self.model.memory.rom, writable=False)

    def go_on_restored(self) -> None:
        """Go on with a new core in the state of this one; what it counted is not part of that."""
        import gicv3

        self.gic = gicv3.GICv3.restore(self.gic.save())
        self.gic.check()
        self.map_memory()
        self.gic.on_line = self.take_line
        self.gic.changed()
        self.known = list(self.expected)  # what had changed before and was not asked for is told of no more
        self.restored = True

    def take_line(self, pe: int, line: Any, level: bool) -> None:
        """Keep the lines as the callback tells them."""
        bit = int(line)
        self.pushed[pe] = self.pushed[pe] | bit if level else self.pushed[pe] & ~bit

    def settle(self) -> None:
        """Let the core end what it does by portions."""
        while self.gic.has_work:
            self.gic.step(0)

    def carry_out(self, op: Op) -> Difference | None:
        """Carry out one plain operation on both and compare everything that can be seen.

        A redistributor may still be at work on what came before when it is written to, and when an ITS gets commands.
        """
        begins, queues = begins_work(op), fills_queue(op)
        if not (begins or queues) or (begins and op.args[1] == 0 and op.args[2] & 1):
            self.settle()
        core: Any = self.on_core(op)
        model: Any = self.on_model(op)
        if op.call == "totals" and self.model.config.work_budget < 1 << 17:
            for name in ("lpi_table_faults", "lpi_lost"):  # how far a table was read is not the model's business
                core[name] = model[name]
        if begins or op.call == "memory_write":
            self.expected = self.model.lines()
            return None
        self.settle()
        if self.restored and op.call in COUNTS:
            return None
        if op.call in ACCESSES:
            is_read = op.args[-1] is None
            core, model = reduce_access(core, is_read), reduce_access(model, is_read)
        if core != model:
            return Difference(op, "result", core, model)
        if not changes_nothing(op):
            self.expected = self.model.lines()
        expected = self.expected
        lines = [int(v) & LINES for v in self.gic.lines]
        if lines != expected:
            return Difference(op, "lines", lines, expected)
        pushed = [v & LINES for v in self.pushed]
        if pushed != expected:
            return Difference(op, "lines told by on_line", pushed, expected)
        if len(self.trace) % 7 == 0:  # so that changes of several operations add up
            changed = list(self.gic.changed())
            moved = [pe for pe, (old, new) in enumerate(zip(self.known, expected)) if old != new]
            if len(set(changed)) != len(changed) or not set(moved) <= set(changed):
                return Difference(op, "changed()", changed, moved)
            self.known = expected
            if self.model.config.lpis and self.ram != self.model.memory.ram:
                return Difference(op, "memory", *parting(self.ram, self.model.memory.ram))
        return None

    def on_core(self, op: Op) -> object:
        """Carry out a plain operation on the core."""
        if op.call.startswith("frame"):
            frame, *rest = op.args
            return getattr(self.gic, op.call)(self.frames[frame], *rest)
        if op.call in ON_CORE:
            return ON_CORE[op.call](self, *op.args)
        if op.call == "fill":
            for frame, *rest in fill_writes(self.model.config, *op.args):
                self.gic.frame_write(self.frames[frame], *rest)
            return None
        return getattr(self.gic, op.call)(*op.args)


def begins_work(op: Op) -> bool:
    """Tell whether a redistributor is told to do something that another may follow: GICR_CTLR or a direct register."""
    return op.call == "frame_write" and op.args[0] == "RD" and op.args[1] in (0, 0x40, 0x48, 0xA0, 0xB0)


def fills_queue(op: Op) -> bool:
    """Tell whether an operation puts a command into a queue, or rings."""
    if op.call == "memory_write":
        return QUEUES <= op.args[0] < QUEUES + 2 * QUEUE_SIZE
    return op.call == "frame_write" and op.args[:2] == ("GITS", 0x88)


def its_counters(pair: Pair, its: int) -> dict[str, int]:
    """What an ITS counted, but for which translations were found in a cache."""
    counts = dict(pair.gic.its[its].counters())
    counts["translated"] += counts.pop("cache_hits")
    counts.pop("merged")  # of callback memory alone
    counts["faults"] = counts.pop("table_faults")
    return counts


def translate(pair: Pair, its: int, event: int, size: int, device: int) -> None:
    """A device writes GITS_TRANSLATER."""
    pair.gic.mmio_write(pair.gic.its[its].translater, event, size, device_id=device)


# Operations that the core has under another name.
ON_CORE: dict[str, Callable[..., object]] = {
    "msi": lambda pair, its, device, event: pair.gic.its[its].msi(device, event),
    "translate": translate,
    "memory_write": lambda pair, address, data: pair.gic.memory.write(address, data),
    "memory_fill": lambda pair, address, size: pair.gic.memory.write(address, bytes(size)),
    "go_on_restored": lambda pair: pair.go_on_restored(),
    "memory_holds": lambda pair: bytes(pair.ram),
    "its_counters": its_counters,
    "its_errors": lambda pair, its: [tuple(error) for error in pair.gic.its[its].errors()],
}


def parting(core: bytearray, model: bytearray) -> tuple[str, str]:
    """Return where two memories differ first, and what each holds there."""
    at = next(n for n in range(0, len(core), 8) if core[n : n + 8] != model[n : n + 8])
    return tuple(f"{memory[at : at + 8].hex()} at {RAM + at:#x}" for memory in (core, model))  # type: ignore[return-value]


def sweep(keywords: dict[str, Any], offsets: range = range(0x10000)) -> tuple[list[str], int]:
    """Read and write every offset of every frame in every width; return what differs, and the number of accesses."""
    pair = Pair(keywords)
    config = pair.model.config
    built = {"GICM": config.message_frame is not None, "GITS": bool(config.its), "GITS_TRANS": bool(config.its)}
    frames = [name for name in pair.frames if built.get(name, True)]
    states = (True, False) if pair.model.config.security else (False,)
    places = [(frame, offset) for frame in frames for offset in offsets]
    different, done = [], 0
    for frame, offset in places:
        for size, secure, value in product((1, 2, 4, 8), states, (None, 0)):
            access = (size, secure, config.its - 1 if frame.startswith("GITS") else len(pair.model.pes) - 1)
            if value is None:
                op = Op("frame_read", (frame, offset, *access))
            else:
                op = Op("frame_write", (frame, offset, value, *access))
            answers = pair.on_core(op), pair.on_model(op)
            counts = pair.gic.totals()["bad_access"], pair.model.totals()["bad_access"]
            done += 1
            if answers[0] != answers[1] or counts[0] != counts[1]:
                different.append(f"{op.code()}: core {answers[0]} {counts[0]}, model {answers[1]} {counts[1]}")
                pair.model.counts["bad_access"] = counts[0]
    return different, done


def changes_nothing(op: Op) -> bool:
    """Tell whether an operation only looks."""
    if op.call != "sysreg_access":
        return op.call in LOOKS
    _, reg, value = op.args
    return value is None and SysRegs.name_of(reg) not in END_OF


def reduce_access(access: Any, is_read: bool) -> tuple[object, ...]:
    """Return the parts of an access result that mean something for its kind."""
    kind = str(access.kind)
    if kind == "trap":
        return (kind, access.target_el, access.syndrome)
    return (kind, access.value) if kind == "value" and is_read else (kind,)


def run(keywords: dict[str, Any], ops: list[Op]) -> tuple[Difference | None, list[Op]]:
    """Run a program from reset; return the first difference or None, and the plain operations done."""
    pair = Pair(keywords)
    for op in ops:
        difference = pair.step(op)
        if difference is not None:
            return difference, pair.trace
    pair.gic.check()
    for call, arguments in [("totals", ()), *(("counters", (pe,)) for pe in range(len(pair.model.pes)))]:
        pair.trace.append(Op(call, arguments))
        difference = pair.carry_out(pair.trace[-1])
        if difference is not None:
            return difference, pair.trace
    return None, pair.trace


def build_program(keywords: dict[str, Any], seed: int, length: int) -> list[Op]:
    """Return the program that a seed names, with a dump of the whole state behind it."""
    generator = generator_for(ModelConfig(**keywords), seed)
    return generator.program(length) + generator.dump()


def shrink(ops: list[Op], fails: Callable[[list[Op]], bool]) -> list[Op]:
    """Return a short sublist that still fails: delta debugging, then one by one until nothing more goes."""
    size = max(1, len(ops) // 2)
    while True:
        start, removed = 0, False
        while start < len(ops):
            shorter = ops[:start] + ops[start + size :]
            if shorter and fails(shorter):
                ops, removed = shorter, True
            else:
                start += size
        if size == 1 and not removed:
            return ops
        size = max(1, size // 2)


def explain(keywords: dict[str, Any], difference: Difference, trace: list[Op]) -> str:
    """Return a program that ends in a difference, shrunk, as a listing."""

    def fails(candidate: list[Op]) -> bool:
        found = run(keywords, candidate)[0]
        return found is not None and found.what == difference.what and found.op.call == difference.op.call

    ops = shrink(trace, fails)
    last, ops = run(keywords, ops)
    lines = [f"gic = GICv3(GICv3Config(**{keywords}))", *(op.code() for op in ops)]
    return "\n".join([*lines, f"# {last}"])
