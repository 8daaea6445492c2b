"""Executes operations on `gicv3.GICv3` as the agent does on QEMU, with the same outcome of faults and interrupts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gicv3

from .accepted import CHOICES
from .configs import SPIS, Config
from .ops import (
    GICD_BASE,
    GICD_CTLR_DS,
    HCR_FMO,
    HCR_IMO,
    POP,
    PUSH,
    RAM_BASE,
    READ_SIZE,
    RING_SLOTS,
    SCR_FIQ,
    SCR_IRQ,
    SCR_NS,
    TABLES,
    TABLES_SIZE,
    USE,
    WRITE_SIZE,
    Kind,
    Op,
    Result,
    World,
    is_special,
)

_OP0 = 3 << 14
ESR_UNDEFINED = 0x0200_0000
ISR_I = 1 << 7
ISR_F = 1 << 6
_IRQ_FIQ = int(gicv3.Line.IRQ | gicv3.Line.FIQ)
_ISR = {0: 0, int(gicv3.Line.IRQ): ISR_I, int(gicv3.Line.FIQ): ISR_F, _IRQ_FIQ: ISR_I | ISR_F}
_NOTHING = Result(0, 0, 0, 0, 0, 0)


class _Ring:
    """The agent's ring of acknowledged INTIDs: what is pushed beyond its slots overwrites the oldest."""

    def __init__(self) -> None:
        self._count = 0
        self._slots = [0] * RING_SLOTS

    def push(self, value: int) -> None:
        self._slots[self._count % RING_SLOTS] = value
        self._count += 1

    def pop(self) -> None:
        self._count = max(self._count - 1, 0)

    def below_top(self, depth: int) -> int:
        return self._slots[(self._count - 1 - depth) % RING_SLOTS] if depth < self._count else 1023


class Subject:
    """One core in the configuration of the machine it is compared with, from reset.

    Parameters: configuration; `choices` replaces configuration values that are QEMU's. Not thread-safe.
    """

    def __init__(self, config: Config, choices: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.gic: Any = gicv3.GICv3(
            gicv3.GICv3Config(
                cpus=config.smp,
                spis=SPIS,
                priority_bits=config.priority_bits,
                security=config.secure,
                el2=config.el2,
                lpis=True,
                lpi_invalidate=False,
                its=int(config.its),
                work_budget=config.work_budget,
                **({name: value for name, (value, _) in CHOICES.items()} | dict(choices or {})),
            )
        )
        if config.its:
            self.gic.memory.map(TABLES, bytearray(TABLES_SIZE))
        self._base_el = config.base_el
        self.ds = not config.secure
        self._lines = memoryview(self.gic.lines)
        self._worlds: list[World | None] = [None] * config.smp
        self._rings = [_Ring() for _ in range(config.smp)]

    def execute(self, op: Op) -> Result:
        """Performs one operation and returns what the agent has to report for it."""
        gic, cpu, world = self.gic, op.cpu, op.world
        if op.kind == Kind.LINE:
            if op.address >= 32:
                gic.set_spi(op.address, bool(op.value))
            else:
                gic.set_ppi(op.depth, op.address, bool(op.value))
            return _NOTHING
        if world != self._worlds[cpu]:
            self._enter(cpu, world)
        taken = self._unmaskable(cpu, world)
        if taken:
            return Result(0, 0, 0, 0, 0, taken)

        kind, flags = op.kind, op.flags
        value, esr, fault_el = op.value, 0, 0
        ring = self._rings[cpu]
        if flags & USE:
            value = self.written(op)
        if kind == Kind.MRS or kind == Kind.MSR:
            access = gic.sysreg_access(cpu, _OP0 | op.reg, None if kind == Kind.MRS else value)
            if access.kind == "value":
                if kind == Kind.MRS:
                    value = access.value
            elif access.kind == "undefined":
                esr, fault_el = ESR_UNDEFINED, world.el
            else:
                esr, fault_el = access.syndrome, access.target_el
        elif op.address >= RAM_BASE:
            value = self._access_memory(op, value)
        elif kind in READ_SIZE:
            value = gic.mmio_read(op.address, READ_SIZE[kind], None, cpu)
        elif kind in WRITE_SIZE:
            gic.mmio_write(op.address, value, WRITE_SIZE[kind], None, cpu)
            while gic.has_work:
                gic.step(0)
            if op.address == GICD_BASE:
                self.ds = bool(self.gicd(0) & GICD_CTLR_DS)
        elif kind == Kind.WINDOW:
            taken = self._taken_here(cpu, world)

        if not esr:
            if flags & PUSH and not is_special(value):
                ring.push(value)
            if flags & POP:
                ring.pop()
        late = self._unmaskable(cpu, world)
        if late:
            return Result(value, esr, fault_el, 0, 1, late)
        return Result(value, esr, fault_el, self.isr(cpu), 2, taken)

    def _access_memory(self, op: Op, value: int) -> int:
        """A load from the tables, or a store of `value` to them."""
        if op.kind in WRITE_SIZE:
            self.gic.memory.write(op.address, value.to_bytes(WRITE_SIZE[op.kind], "little"))
            return value
        return int.from_bytes(self.gic.memory.read(op.address, READ_SIZE[op.kind]), "little")

    def messages(self) -> int:
        """Commands and MSIs that the ITS has had."""
        counts = [its.counters() for its in self.gic.its]
        return sum(count["commands"] + count["msis"] for count in counts)

    def gicd(self, offset: int) -> int:
        """A Distributor word as Secure software reads it."""
        return self.gic.frame_read(gicv3.Frame.GICD, offset, 4, True)

    def sgi(self, pe: int, offset: int) -> int:
        """A word of a PE's SGI frame as Secure software reads it."""
        return self.gic.frame_read(gicv3.Frame.SGI, offset, 4, True, pe)

    def read(self, cpu: int, world: World, register: int) -> int:
        """A system register as read from `world`; the PE stays there until its next operation."""
        self.enter(cpu, world)
        return self.gic.sysreg_read(cpu, _OP0 | register)

    def written(self, op: Op) -> int:
        """The value that an operation writes."""
        return self._rings[op.cpu].below_top(op.depth) if op.flags & USE else op.value

    def isr(self, cpu: int) -> int:
        """ISR_EL1 (I and F) of a PE where it stands."""
        return _ISR[self._lines[cpu] & _IRQ_FIQ]

    def enter(self, cpu: int, world: World) -> None:
        """Puts a PE where an operation executes."""
        if world != self._worlds[cpu]:
            self._enter(cpu, world)

    def _enter(self, cpu: int, world: World) -> None:
        self._worlds[cpu] = world
        scr = world.scr if self.config.secure else None
        hcr = world.hcr if self.config.el2 else None
        self.gic.set_context(cpu, el=world.el, secure=world.secure, scr_el3=scr, hcr_el2=hcr)

    def _target(self, world: World, fiq: bool) -> int:
        """Exception level that takes a physical interrupt."""
        if world.scr & (SCR_FIQ if fiq else SCR_IRQ):
            return 3
        non_secure = not world.scr or world.scr & SCR_NS
        if self.config.el2 and non_secure and world.hcr & (HCR_FMO if fiq else HCR_IMO):
            return 2
        return 1

    def _unmaskable(self, cpu: int, world: World) -> int:
        """The interrupts taken although PSTATE masks all: those of an EL above the one that executes, FIQ first."""
        if world.el == self._base_el or not self.isr(cpu):
            return 0
        taken, el = 0, world.el
        while el < self._base_el:
            isr = self.isr(cpu)
            for fiq, bit in ((True, ISR_F), (False, ISR_I)):
                target = self._target(world, fiq)
                if isr & bit and target > el:
                    taken |= (2 if fiq else 1) << 2 * target
                    el = target
                    self.enter(cpu, world._replace(el=el))
                    break
            else:
                break
        self.enter(cpu, world)
        return taken

    def _taken_here(self, cpu: int, world: World) -> int:
        """The interrupt an open window lets in at the executing EL."""
        isr = self.isr(cpu)
        for fiq, bit in ((True, ISR_F), (False, ISR_I)):
            if isr & bit and self._target(world, fiq) == world.el:
                return (2 if fiq else 1) << 2 * world.el
        return 0
