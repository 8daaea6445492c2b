"""Runs programs on QEMU and on the core and compares every value, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .configs import Config
from .generate import Generator
from .generate_its import ItsGenerator
from .ops import (
    FIRST_LPI,
    GICD_BASE,
    GICD_CTLR_DS,
    GICR_BASE,
    GICR_STRIDE,
    Kind,
    Op,
    Result,
    block,
    decode,
    encode,
    is_special,
    reg_name,
)
from .qemu import Qemu
from .rules import steps
from .step import Step
from .subject import Subject

FIELDS = ("value", "esr", "fault_el", "isr", "phase", "taken")


@dataclass(frozen=True)
class Difference:
    """The first operation of a program whose outcome is not the same and not accepted."""

    op: Op
    ours: Result
    theirs: Result
    program: tuple[Op, ...]
    """The program up to the operation (`op` itself, or one that a rule added to the last of these)."""

    def __str__(self) -> str:
        parts = [str(self.op)]
        for name in FIELDS:
            ours, theirs = getattr(self.ours, name), getattr(self.theirs, name)
            if ours != theirs:
                parts.append(f"  {name}: ours {ours:#x}, QEMU {theirs:#x}")
        return "\n".join(parts)


@dataclass
class Report:
    """What was run: operations executed on both sides, interrupts acknowledged and how many of them LPIs, commands and
    MSIs of the ITS, hits by entry, the differences (at most one a program)."""

    config: Config
    operations: int = 0
    programs: int = 0
    acknowledged: int = 0
    lpis: int = 0
    messages: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    differences: list[tuple[int, Difference]] = field(default_factory=list)


def beginning(config: Config) -> list[Op]:
    """What every program starts with: QEMU delivers to sleeping PEs, so all are woken first."""
    world = config.world(config.base_el)
    ops = [Op(Kind.W32, cpu, world, address=GICR_BASE + cpu * GICR_STRIDE + 0x14) for cpu in range(config.smp)]
    return [*ops, Op(Kind.W32, 0, world, address=GICD_BASE, value=GICD_CTLR_DS)] if config.sets_ds else ops


class Outcome(NamedTuple):
    """One program run: the first difference that no rule accepts (None: all equal), operations executed, how many of
    them acknowledged an interrupt and an LPI, commands and MSIs, and the entries met up to the difference."""

    difference: Difference | None
    operations: int
    acknowledged: int
    lpis: int
    messages: int
    hits: Counter[str]


def compare(qemu: Qemu, program: Sequence[Op], choices: Mapping[str, str] | None = None) -> Outcome:
    """Runs one program on both sides from reset; `choices` replaces configuration values that are QEMU's."""
    config = qemu.config
    subject = Subject(config, choices)
    executed: list[Step] = []
    origin: list[int] = []
    ours: list[Result] = []
    execute = subject.execute
    first = beginning(config)
    for position, op in enumerate([*first, *program], 1 - len(first)):
        for step in steps(subject, op):
            executed.append(step)
            origin.append(position)
            ours.append(execute(step.op))
    subject.gic.check()
    ops = [step.theirs or step.op for step in executed]
    qemu.reset()
    theirs = decode(qemu.run_queue(encode(ops)))

    hits: Counter[str] = Counter()
    difference = None
    for index, (step, mine, other) in enumerate(zip(executed, ours, theirs)):
        if step.changed:
            hits[step.changed] += 1
        if mine == other or step.op.kind == Kind.LINE:
            continue
        accepted = step.accept(mine, other) if step.accept else ()
        if accepted:
            hits.update(accepted)
            continue
        difference = Difference(step.op, mine, other, tuple(program[: max(origin[index], 0)]))
        break
    acknowledged = [
        result.value
        for op, result in zip(ops, theirs)
        if op.kind == Kind.MRS and op.flags and result.phase and not is_special(result.value)
    ]
    lpis = sum(1 for intid in acknowledged if intid >= FIRST_LPI)
    return Outcome(difference, len(ops), len(acknowledged), lpis, subject.messages(), hits)


def run(
    qemu: Qemu,
    operations: int,
    seed: int = 0,
    length: int = 5000,
    stop_at: int = 1,
    choices: Mapping[str, str] | None = None,
) -> Report:
    """Compares random programs until `operations` have been executed or `stop_at` programs have differed."""
    report = Report(qemu.config)
    while report.operations < operations and len(report.differences) < stop_at:
        program_seed = seed + report.programs
        program = (ItsGenerator if qemu.config.its else Generator)(qemu.config, program_seed, length).program()
        outcome = compare(qemu, program, choices)
        report.programs += 1
        report.operations += outcome.operations
        report.acknowledged += outcome.acknowledged
        report.lpis += outcome.lpis
        report.messages += outcome.messages
        report.hits.update(outcome.hits)
        if outcome.difference is not None:
            report.differences.append((program_seed, outcome.difference))
    return report


def fingerprint(difference: Difference) -> tuple[str, ...]:
    """What stays the same while a program shrinks: the kind of operation and the fields that differ."""
    op = difference.op
    where = f"{op.kind.name} {reg_name(op.reg) if op.kind in (Kind.MRS, Kind.MSR) else block(op.address)}"
    fields = [name for name in FIELDS if getattr(difference.ours, name) != getattr(difference.theirs, name)]
    return (where, *fields)


def shrink(
    qemu: Qemu, difference: Difference, budget: int = 600, choices: Mapping[str, str] | None = None
) -> Difference:
    """The shortest program found that still shows the difference: delta debugging with at most `budget` runs."""
    program = list(difference.program)
    wanted = fingerprint(difference)
    best = difference
    runs = 0

    def still(candidate: list[Op]) -> Difference | None:
        nonlocal runs
        runs += 1
        found = compare(qemu, candidate, choices).difference
        return found if found is not None and fingerprint(found) == wanted else None

    size = max(len(program) // 2, 1)
    while size and runs < budget:
        position = len(program)
        removed = False
        while position > 0 and runs < budget:
            start = max(position - size, 0)
            candidate = program[:start] + program[position:]
            found = still(candidate)
            if found is not None:
                program = list(found.program)
                best, removed = found, True
                position = min(start, len(program))
            else:
                position = start
        if size == 1 and not removed:
            break
        size = size if removed and size == 1 else size // 2
    return best
