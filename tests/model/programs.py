"""Random programs of GIC operations, biased to be interesting: seeded, so that a number names a program."""

from __future__ import annotations

from collections.abc import Callable

from .builder import BITMAPS, PER_INTID, Op
from .config import ModelConfig
from .mmio import GICM_ROWS, ROWS, SGI_ROWS, Row
from .pressure import Pressure
from .state import SCR_FIQ, SCR_NS
from .sysregs import REGISTERS, encoding

__all__ = ["Generator", "Op"]

MOST_ESPIS = 1024
"""A configuration with so many is there for its size."""


class Generator(Pressure):
    """Draws operations for one configuration.

    Parameters: as ``Builder``.
    """

    def __init__(self, config: ModelConfig, seed: int) -> None:
        super().__init__(config, seed)
        self.steps: list[tuple[int, Callable[[], list[Op]]]] = [
            (14, self.step_acknowledge),
            (14, self.step_end),
            (12, self.step_line),
            (8, self.step_sgi),
            (14, self.step_bitmap),
            (6, self.step_priority),
            (4, self.step_config),
            (4, self.step_route if self.spis else self.step_line),
            (3, self.step_distributor_control),
            (3, self.step_waker),
            (8, self.step_mask),
            (3, self.step_sweep),
            (4, self.step_observe),
            (4, self.step_group_enable),
            (3, self.step_active_priorities),
            (4, self.step_any_register),
            (3, self.step_odd_access),
            (2, self.step_odd_sysreg),
            (1, self.step_hotplug),
        ]
        if config.security or config.el2 or config.nmi:
            self.steps.append((12, self.step_context))
        if config.message_spis and self.spis:
            self.steps.append((8, self.step_message))
        if config.one_of_n:
            self.steps.append((4, self.step_dpg))
        if self.spis:
            self.steps.append((4 if config.espis == MOST_ESPIS else 1, self.step_pressure))
        if config.nmi:
            self.steps.append((5, self.step_nmi_pair))
        if config.settle_steps:
            self.steps.append((10, self.step_settle))
        if config.statusr:
            self.steps.append((4, self.step_statusr))

    def program(self, length: int) -> list[Op]:
        """Return ``length`` operations or a few more; most programs begin by setting the GIC up."""
        ops: list[Op] = self.prologue() if self.rng.random() < 0.9 else []
        weights, steps = [w for w, _ in self.steps], [s for _, s in self.steps]
        while len(ops) < length:
            ops += self.rng.choices(steps, weights)[0]()
        return [self.name_otherwise(op) for op in ops]

    def name_otherwise(self, op: Op) -> Op:
        """Return a register operation with its register named by number, fields or address now and then."""
        if op.call.startswith("frame") and self.rng.random() < 0.1:
            # A GICD_CTLR write is never moved: what it would hit instead may not be what its author meant.
            odd = self.rng.random() < 0.05 and op.args[1] > 0x100
            shift = self.rng.choice((0x10000, 0x20000, -0x10000, 0x4000_0000)) if odd else 0
            return Op("by_address", (op, shift, self.pe() if self.rng.random() < 0.3 else None))
        if op.call != "sysreg_access" or not isinstance(op.args[1], str) or self.rng.random() < 0.75:
            return op
        pe, name, value = op.args
        code = encoding(name)
        fields = (code >> 14, code >> 11 & 7, code >> 7 & 15, code >> 3 & 15, code & 7)
        if self.rng.random() < 0.2 and "SGI" not in name:
            return Op("cp15_access", (pe, *fields[1:], value and value & 0xFFFF_FFFF))
        if self.rng.random() < 0.5 and value is not None and "SGI" in name:
            opc1 = {"ICC_SGI1R_EL1": 0, "ICC_ASGI1R_EL1": 1, "ICC_SGI0R_EL1": 2}[name]
            return Op("mcrr_access", (pe, opc1, 12, value))
        return Op("sysreg_access", (pe, self.rng.choice((code, fields)), value))

    def dump(self) -> list[Op]:
        """Return reads of all state that the program can have touched, and of a little that it cannot have."""
        states = (True, False) if self.config.security else (False,)
        words = {0, 32, *(intid // 32 * 32 for intid in self.spis), self.rng.randrange(1, 32) * 32}
        ops = [self.read("GICD", offset, 4, secure) for offset in (0, 4, 8, 0x10) for secure in states]
        for secure in states:
            for start in sorted(words):
                for name, per_intid in PER_INTID:
                    if start >= 32:
                        _, first, _ = self.place(name, start, per_intid)
                        offsets = range(first, first + 4 * per_intid, 4)
                        ops += [self.read("GICD", offset, 4, secure) for offset in offsets]
            for intid in self.spis:
                offset = 0x8000 + 8 * (intid - 4096) if intid >= 4096 else 0x6000 + 8 * intid
                ops.append(self.read("GICD", offset, 8, secure))
            for pe in range(self.count):
                ops += [self.read("RD", offset, 4, secure, pe) for offset in (0, 8, 12, 0x10, 0x14)]
                for row in SGI_ROWS:
                    ops += [self.read("SGI", offset, 4, secure, pe) for offset in range(row.first, row.last + 1, 4)]
        for pe in range(self.count):
            ops += self.dump_cpu_interface(pe)
        return ops

    def dump_cpu_interface(self, pe: int) -> list[Op]:
        """Return reads of every register of a CPU interface that a read does not change, from each state there is."""
        names = [n for n, r in REGISTERS.items() if r.access == "RW" or "HPPIR" in n or "RPR" in n]
        contexts: list[tuple[int, bool, int]] = []
        if self.config.security:
            contexts = [(1, False, SCR_NS), (1, False, SCR_NS | SCR_FIQ), (1, True, 0), (3, True, 0), (3, True, SCR_NS)]
        ops = [Op("sysreg_access", (pe, name, None)) for name in names]
        for el, secure, scr in contexts:
            ops.append(Op("set_context", (pe, el, secure, scr, 0, 0, False)))
            ops += [Op("sysreg_access", (pe, name, None)) for name in names]
        return ops

    def prologue(self) -> list[Op]:
        """Return what a careless operating system does at start."""
        rng, ops = self.rng, []
        if self.config.security and rng.random() < 0.8:
            ops += [self.context_op(pe, 3) for pe in range(self.count)]
        ops.append(self.write("GICD", 0x0000, rng.choice((0x7, 0x37, 0x37, 0x2)), secure=True))
        if self.touches_ds and rng.random() < 0.7:
            ops.append(self.write("GICD", 0x0000, 0x47, secure=True))
        for pe in range(self.count):
            if rng.random() < 0.95:
                ops.append(self.write("RD", 0x14, 0, secure=True, index=pe))
            ops.append(Op("sysreg_access", (pe, "ICC_PMR_EL1", rng.choice((0xFF, 0xFF, 0xF8, 0xF0, 0x80)))))
            ops.append(Op("sysreg_access", (pe, "ICC_IGRPEN0_EL1", int(rng.random() < 0.9))))
            ops.append(Op("sysreg_access", (pe, "ICC_IGRPEN1_EL1", int(rng.random() < 0.9))))
            if self.config.security:
                ops.append(Op("sysreg_access", (pe, "ICC_IGRPEN1_EL3", rng.choice((0, 1, 2, 3, 3)))))
            ops.append(self.write("SGI", 0x80, rng.getrandbits(32), secure=True, index=pe))
            ops.append(self.write("SGI", 0x100, 0xFFFF_FFFF, secure=True, index=pe))
            if self.config.security:
                ops.append(self.write("SGI", 0xD00, rng.getrandbits(32), secure=True, index=pe))
                ops.append(self.write("SGI", 0xE00, rng.getrandbits(32), secure=True, index=pe))
        if self.config.nmi:
            ops += [self.bitmap_op("INMIR", rng.choice(self.sgis), secure=True, index=pe) for pe in self.pes]
        for intid in self.sgis + self.ppis:
            ops += [self.priority_op(intid, pe, secure=True) for pe in self.pes]
        for intid in self.spis:
            ops.append(self.bitmap_op("IGROUPR", intid, secure=True, value=rng.getrandbits(32)))
            ops.append(self.bitmap_op("ISENABLER", intid, secure=True, value=0xFFFF_FFFF))
            ops.append(self.priority_op(intid, 0, secure=True))
            ops.append(self.route_op(intid, secure=True))
            if self.config.security:
                ops.append(self.bitmap_op("IGRPMODR", intid, secure=True, value=rng.getrandbits(32)))
        if self.config.nmi:
            ops += [self.bitmap_op("INMIR", intid, secure=True) for intid in self.spis if rng.random() < 0.5]
        if self.spis and rng.random() < (0.9 if self.config.espis == MOST_ESPIS else 0.1):
            ops += self.prologue_all()
        if self.config.settle_steps and rng.random() < 0.8:
            ops.append(Op("step", (self.config.settle_steps,)))
        if rng.random() < 0.7:
            ops += [self.context_op(pe) for pe in range(self.count)]
        return ops

    def step_acknowledge(self) -> list[Op]:
        """Acknowledge: usually where something is signalled, sometimes anywhere."""
        rng = self.rng
        if rng.random() < 0.8:
            return [Op("service", (rng.randrange(64), rng.choice((1, 1, 1, 3)), rng.random() < 0.2))]
        names = ["ICC_IAR1_EL1", "ICC_IAR1_EL1", "ICC_IAR0_EL1"]
        if self.config.nmi:
            names += ["ICC_NMIAR1_EL1"]
        return [Op("sysreg_access", (self.pe(), rng.choice(names), None))]

    def step_end(self) -> list[Op]:
        """End or deactivate an interrupt: usually the one acknowledged last, with the register it came from."""
        rng, pe = self.rng, self.pe()
        roll = rng.random()
        if roll < 0.55:
            return [Op("end_last", (pe, rng.random() < 0.1))]
        if roll < 0.8:
            return [Op("deactivate_last", (pe,))]
        if roll < 0.85:
            return [self.write("SGI", 0x380, 0xFFFF_FFFF, secure=True, index=pe)]
        if roll < 0.9 and self.spis:
            return [self.bitmap_op("ICACTIVER", rng.choice(self.spis), secure=True, value=0xFFFF_FFFF)]
        name = rng.choice(("ICC_EOIR0_EL1", "ICC_EOIR1_EL1", "ICC_DIR_EL1"))
        odd = [1019, 1020, 1021, 1022, 1023, 1024, 1056, 4095, 4096, 5119, 8192, 0xFFFF, rng.getrandbits(24)]
        value = rng.choice((self.intid(), self.intid(), rng.choice(odd), self.intid() | rng.getrandbits(40) << 24))
        return [Op("sysreg_access", (pe, name, value))]

    def step_line(self) -> list[Op]:
        """Drive an input wire."""
        rng = self.rng
        if self.spis and rng.random() < 0.6:
            intid = rng.choice(self.spis)
            if rng.random() < 0.25:
                return [Op("pulse_spi", (intid,))]
            return [Op("set_spi", (intid, rng.random() < 0.6))]
        pe, intid = self.pe(), rng.choice(self.ppis)
        if rng.random() < 0.25:
            return [Op("pulse_ppi", (pe, intid))]
        return [Op("set_ppi", (pe, intid, rng.random() < 0.6))]

    def step_sgi(self) -> list[Op]:
        """Send an SGI."""
        rng = self.rng
        affinity = self.affinities[self.pe()]
        targets = 1 << (affinity & 15) if rng.random() < 0.6 else rng.getrandbits(16)
        value = targets | rng.choice(self.sgis) << 24
        value |= (affinity >> 8 & 0xFF) << 16 | (affinity >> 16 & 0xFF) << 32 | (affinity >> 32) << 48
        if rng.random() < 0.5:
            value |= (affinity >> 4 & 15) << 44
        if rng.random() < 0.2:
            value |= 1 << 40
        if rng.random() < 0.05:
            value ^= 1 << rng.randrange(64)
        name = rng.choice(("ICC_SGI1R_EL1", "ICC_SGI1R_EL1", "ICC_SGI0R_EL1", "ICC_ASGI1R_EL1"))
        pe = self.pe()
        ops = [Op("sysreg_access", (pe, name, value))]
        if self.config.security and rng.random() < 0.3:
            ops.insert(0, self.context_op(pe, rng.choice((1, 1, 3))))
        return ops

    def step_bitmap(self) -> list[Op]:
        """Write a set or clear register, sometimes reading it back."""
        rng = self.rng
        weights = (6, 3, 6, 3, 2, 2, 3, 2 if self.config.security else 0, 9 if self.config.nmi else 0)
        name, intid = rng.choices(BITMAPS, weights)[0], self.intid()
        ops = [self.bitmap_op(name, intid)]
        if rng.random() < 0.3:
            frame, offset, _ = self.place(name, intid, 1)
            ops.append(self.read(frame, offset, index=self.pe()))
        return ops

    def step_priority(self) -> list[Op]:
        """Write a priority."""
        return [self.priority_op(self.intid(), self.pe())]

    def step_config(self) -> list[Op]:
        """Write edge or level configuration, or Non-secure access control."""
        rng, intid = self.rng, self.intid()
        if self.config.security and self.spis and rng.random() < 0.5:
            frame, offset, bit = self.place("NSACR", rng.choice(self.spis), 2)
            return [self.write(frame, offset, rng.randrange(4) << bit | rng.getrandbits(32) & rng.getrandbits(32))]
        frame, offset, bit = self.place("ICFGR", intid, 2)
        value = rng.getrandbits(32) if rng.random() < 0.5 else rng.randrange(4) << bit
        return [self.write(frame, offset, value, index=self.pe())]

    def step_route(self) -> list[Op]:
        """Write a route."""
        return [self.route_op(self.rng.choice(self.spis))]

    def step_distributor_control(self) -> list[Op]:
        """Write GICD_CTLR."""
        rng = self.rng
        value = rng.choice((0, 1, 2, 3, 4, 5, *(7,) * 9, 0x37, rng.getrandbits(32)))
        value &= ~0x40
        if self.touches_ds and rng.random() < 0.2:
            value |= 0x40
        return [self.write("GICD", 0, value), self.read("GICD", 0)]

    def step_waker(self) -> list[Op]:
        """Write GICR_WAKER."""
        value = self.rng.choice((*(0,) * 6, 2, 2, 6, 4, self.rng.getrandbits(32)))
        pe = self.pe()
        return [self.write("RD", 0x14, value, index=pe), self.read("RD", 0x14, index=pe)]

    def step_mask(self) -> list[Op]:
        """Write PMR, a binary point or the modes."""
        rng, pe = self.rng, self.pe()
        name = rng.choice(("ICC_PMR_EL1",) * 3 + ("ICC_BPR0_EL1", "ICC_BPR1_EL1", "ICC_CTLR_EL1"))
        if name == "ICC_PMR_EL1":
            value = rng.choice((*(0xFF,) * 8, 0xF8, 0xF0, 0, *self.levels))
        elif name == "ICC_CTLR_EL1":
            if self.config.security and rng.random() < 0.5:
                name = "ICC_CTLR_EL3"
            value = rng.choice((0, 1, 2, 3, rng.getrandbits(7), rng.getrandbits(64)))
        else:
            value = rng.randrange(8) if rng.random() < 0.9 else rng.getrandbits(64)
        ops = [Op("sysreg_access", (pe, name, value))]
        return [*ops, Op("sysreg_access", (pe, name, None))] if rng.random() < 0.4 else ops

    def step_sweep(self) -> list[Op]:
        """Move the binary points, CBPR and PMR of one PE about, so that what waits there is compared many ways."""
        rng, pe = self.rng, self.pe()
        names = ["ICC_BPR0_EL1", "ICC_BPR1_EL1", "ICC_CTLR_EL1"]
        ops = []
        if self.config.security:
            ops.append(self.context_op(pe, rng.choice((1, 3, 3))))
            names[2] = rng.choice(("ICC_CTLR_EL1", "ICC_CTLR_EL3"))
        for _ in range(rng.randint(3, 8)):
            name = rng.choice((*names, "ICC_PMR_EL1"))
            value = rng.choice(self.levels) if name == "ICC_PMR_EL1" else rng.randrange(8)
            ops.append(Op("sysreg_access", (pe, name, value)))
        return [*ops, Op("sysreg_access", (pe, "ICC_PMR_EL1", 0xFF))]

    def step_observe(self) -> list[Op]:
        """Read what is pending and running."""
        names = ("ICC_RPR_EL1", "ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1", "ICC_AP0R0_EL1", "ICC_AP1R0_EL1", "ICC_PMR_EL1")
        pe = self.pe()
        return [Op("sysreg_access", (pe, name, None)) for name in self.rng.sample(names, 3)]

    def step_group_enable(self) -> list[Op]:
        """Write a group enable of a CPU interface."""
        rng = self.rng
        names = ["ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL1"] + ["ICC_IGRPEN1_EL3"] * self.config.security
        name = rng.choice(names)
        value = rng.choice((3, 3, 1, 2, 0)) if name == "ICC_IGRPEN1_EL3" else int(rng.random() < 0.85)
        return [Op("sysreg_access", (self.pe(), name, value))]

    def step_active_priorities(self) -> list[Op]:
        """Read or write an active-priority register: mostly clearing it, sometimes save and restore, rarely noise."""
        rng = self.rng
        name = f"ICC_AP{rng.randrange(2)}R{rng.choice((0, 0, 0, 1, 2, 3))}_EL1"
        roll = rng.random()
        value = (
            None if roll < 0.5 else 0 if roll < 0.75 else rng.getrandbits(32) if roll < 0.85 else 1 << rng.randrange(64)
        )
        return [Op("sysreg_access", (self.pe(), name, value))]

    def step_any_register(self) -> list[Op]:
        """Read or write any register of any frame at its proper size."""
        rng = self.rng
        frame = rng.choice(("GICD", "GICD", "RD", "SGI"))
        row = rng.choice(ROWS[frame])
        offset, size = self.somewhere_in(row)
        if rng.random() < 0.7:
            return [self.read(frame, offset, size, index=self.pe())]
        value = rng.getrandbits(8 * size)
        if frame == "GICD" and row.name == "CTLR":
            return self.step_distributor_control()
        return [self.write(frame, offset, value, size, index=self.pe())]

    def somewhere_in(self, row: Row) -> tuple[int, int]:
        """Return an offset and a proper size within a register array."""
        size = self.rng.choice(row.sizes)
        near = min(row.last, row.first + 0x20)  # the implemented interrupts are at the low end
        last = near if self.rng.random() < 0.7 else row.last
        return self.rng.randrange(row.first, last + 1) // size * size, size

    def step_odd_access(self) -> list[Op]:
        """Access a frame in a way that no driver should."""
        rng = self.rng
        frame = rng.choice(("GICD", "RD", "SGI"))
        row = rng.choice(ROWS[frame])
        offset, _ = self.somewhere_in(row)
        kind = rng.randrange(3)
        if kind == 0:
            offset += rng.randrange(1, 8)
        elif kind == 1:
            offset = rng.randrange(0x10000)
        offset, size = offset & 0xFFFF, rng.choice((1, 2, 4, 8))
        if frame == "GICD" and offset < 4 and size == 4:
            return []  # GICD_CTLR has its own step, which is careful with DS
        if rng.random() < 0.5:
            return [self.read(frame, offset, size, index=self.pe())]
        return [self.write(frame, offset, rng.getrandbits(8 * size), size, index=self.pe())]

    def step_odd_sysreg(self) -> list[Op]:
        """Access a system register the wrong way round, or one that may not exist."""
        rng, pe = self.rng, self.pe()
        value = None if rng.random() < 0.5 else rng.getrandbits(64)
        if rng.random() < 0.6:
            name = rng.choice(sorted(REGISTERS))
            if name.startswith("ICC_SRE") or REGISTERS[name].access != ("WO" if value is not None else "RO"):
                return [Op("sysreg_access", (pe, encoding(name), value))]
            return []
        if rng.random() < 0.3:
            fields = (rng.choice((0, 0, 4, 6)), 12, rng.randrange(8, 13), rng.randrange(8))
            return [Op("cp15_access", (pe, *fields, value and value & 0xFFFF_FFFF))]
        if rng.random() < 0.5:
            return [
                Op("sysreg_access", (pe, (3, rng.choice((0, 4, 6)), 12, rng.randrange(8, 16), rng.randrange(8)), None))
            ]
        return [Op("sysreg_access", (pe, (3, 0, 4, 6, rng.randrange(1, 8)), value))]

    def step_context(self) -> list[Op]:
        """Change a PE's Exception level, Security state or routing, and try a few registers from there."""
        rng, pe = self.rng, self.pe()
        ops = [self.context_op(pe)]
        for _ in range(rng.choice((0, 0, 2, 3))):
            name = rng.choice(sorted(REGISTERS))
            if "IAR" in name:
                continue  # left to those that want to acknowledge
            value = None if "W" not in REGISTERS[name].access or rng.random() < 0.6 else self.harmless_value(name, pe)
            ops.append(Op("sysreg_access", (pe, name, value)))
        return ops

    def harmless_value(self, name: str, pe: int) -> int:
        """Return a value that a register may be written with without bringing everything to a stop."""
        if "SGI" in name:
            affinity = self.affinities[self.pe()]
            return self.rng.choice(self.sgis) << 24 | (affinity >> 8 & 0xFF) << 16 | 0xFFFF
        if "IGRPEN" in name:
            return 3
        if "EOIR" in name or "DIR" in name:
            return self.intid()
        return 0xFF if "PMR" in name else self.rng.randrange(8) if "AP" not in name else 0

    def step_hotplug(self) -> list[Op]:
        """Unplug a PE, plug it, or reset something."""
        rng = self.rng
        if not self.hotplug:
            return []
        pe, roll = self.pe(), rng.random()
        if roll < 0.35:
            return [Op("set_cpustate", (pe, None, False))]
        if roll < 0.7:
            return [Op("set_cpustate", (pe, "cpu", True))]
        if roll < 0.9:
            return [Op("reset_cpuif", (pe,))]
        return [Op("reset", ())]

    def step_message(self) -> list[Op]:
        """Write a message SPI register."""
        rng = self.rng
        intid = rng.choice(self.spis) if rng.random() < 0.9 else rng.getrandbits(13)
        offset = rng.choice((0x40, 0x40, 0x48, 0x50, 0x58))
        frame = "GICD" if self.config.message_frame is None or rng.random() < 0.5 else "GICM"
        size = rng.choice((2, 4))
        value = intid if size == 2 or rng.random() < 0.8 else intid | rng.getrandbits(19) << 13
        if frame == "GICM" and rng.random() < 0.2:
            row = rng.choice(GICM_ROWS)
            return [self.read(frame, *self.somewhere_in(row))]
        return [self.write(frame, offset, value, size)]

    def step_dpg(self) -> list[Op]:
        """Write the DPG bits of GICR_CTLR."""
        pe, value = self.pe(), self.rng.choice((0, 0, 7, self.rng.getrandbits(3))) << 24
        return [self.write("RD", 0, value, index=pe), self.read("RD", 0, index=pe)]

    def step_statusr(self) -> list[Op]:
        """Read or clear a STATUSR."""
        frame, pe = self.rng.choice(("GICD", "RD")), self.pe()
        if self.rng.random() < 0.7:
            return [self.read(frame, 0x10, index=pe)]
        return [self.write(frame, 0x10, self.rng.getrandbits(4), index=pe)]
