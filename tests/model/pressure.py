"""Steps of programs that put a GIC under pressure: all SPIs pending, NMIs beside their equals, waits for settling."""

from __future__ import annotations

from .builder import Builder, Op

ALL = 0xFFFF_FFFF


class Pressure(Builder):
    """Draws steps that a driver would hardly take.

    Parameters: as ``Builder``.
    """

    def fill(self, name: str, value: int, secure: bool = True) -> Op:
        """Return the write of one value to every SPI register of a name, which the runner carries out as one."""
        return Op("fill", (name, value, secure and self.config.security))

    def prologue_all(self) -> list[Op]:
        """Set up every SPI there is, most often for any PE to take."""
        rng = self.rng
        route = self.affinities[self.pe()] | (rng.random() < 0.85) << 31
        ops = [
            self.fill("IGROUPR", rng.choice((ALL, ALL, rng.getrandbits(32), 0))),
            self.fill("IPRIORITYR", sum(rng.choice(self.levels) << 8 * n for n in range(4))),
            self.fill("IROUTER", route),
            self.fill("ICFGR", rng.choice((0, ALL, rng.getrandbits(32)))),
            self.fill("ISENABLER", ALL),
        ]
        if self.config.security:
            ops.append(self.fill("IGRPMODR", rng.choice((0, rng.getrandbits(32)))))
        if self.config.nmi and rng.random() < 0.5:
            ops.append(self.fill("INMIR", rng.getrandbits(32) & rng.getrandbits(32)))
        return ops

    def step_pressure(self) -> list[Op]:
        """Take PEs away, often all but a sleeping one, pend every SPI, and let the PEs come back one by one."""
        rng = self.rng
        ops = [self.write("GICD", 0, rng.choice((0x87, 0x87, 0x87, 0x07)), secure=True)]
        last_one = self.pe() if rng.random() < 0.5 else None
        for pe in rng.sample(range(self.count), self.count):
            ops += self.retire(pe, None if last_one is None else "sleep" if pe == last_one else "dpg")
        ops.append(self.fill("ISPENDR", rng.choice((ALL, ALL, ALL, rng.getrandbits(32)))))
        for pe in rng.sample(range(self.count), rng.randint(0, self.count)):
            ops += self.return_(pe)
            if rng.random() < 0.5:
                ops.append(Op("service", (rng.randrange(64), 1, False)))
        ops += [Op("service", (rng.randrange(64), 1, False)) for _ in range(rng.randint(0, 4))]
        ops += [self.read("GICD", 0x200 + 4 * (intid // 32), secure=True) for intid in self.spis if intid < 1020]
        last = rng.choice(("ICPENDR", "ICPENDR", "ICENABLER", "ICACTIVER", "IROUTER", None))
        if last is not None:
            ops.append(self.fill(last, self.affinities[self.pe()] if last == "IROUTER" else ALL))
        return ops

    def retire(self, pe: int, way: str | None) -> list[Op]:
        """Keep a PE from taking 1-of-N SPIs, in a given way or any of those there are."""
        way = way or self.rng.choice(("sleep", "sleep", "sleep", "dpg", "groups", "unplug", "stay"))
        if way == "sleep":
            return [self.write("RD", 0x14, 2, secure=True, index=pe)]
        if way == "dpg":
            return [self.write("RD", 0, self.rng.choice((7, 7, self.rng.getrandbits(3))) << 24, secure=True, index=pe)]
        if way == "groups":
            return self.groups(pe, 0)
        return [Op("set_cpustate", (pe, None, False))] if way == "unplug" and self.hotplug else []

    def return_(self, pe: int) -> list[Op]:
        """Let a PE take part again."""
        ops = [
            [Op("set_cpustate", (pe, "cpu", True))] if self.hotplug else [],
            [self.write("RD", 0x14, 0, secure=True, index=pe)],
            [self.write("RD", 0, 0, secure=True, index=pe)],
            self.groups(pe, 3),
            [Op("sysreg_access", (pe, "ICC_PMR_EL1", 0xFF))],
        ]
        return [op for part in self.rng.sample(ops, len(ops)) for op in part]

    def groups(self, pe: int, value: int) -> list[Op]:
        """Write the group enables of a CPU interface, from EL3 where there is one."""
        ops = [Op("sysreg_access", (pe, name, value & 1)) for name in ("ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL1")]
        if self.config.security:
            ops = [self.context_op(pe, 3), ops[0], Op("sysreg_access", (pe, "ICC_IGRPEN1_EL3", value))]
        return ops

    def step_nmi_pair(self) -> list[Op]:
        """Set an NMI beside an ordinary interrupt whose priority is the NMI's or next to it, in one group or in two."""
        rng, pe = self.rng, self.pe()
        pools = [pool for pool in (self.sgis, self.ppis, self.spis) if pool]
        nmi, other = (rng.choice(rng.choice(pools)) for _ in range(2))
        if nmi == other:
            return []
        lowest = 1 << 8 - self.config.priority_bits
        level = rng.choice((0x00, 0x80) if self.config.security else (0x00, 0x00, 0x80))
        level = max(level + rng.choice((0, 0, 0, lowest, -lowest)), 0)
        ops = [self.bitmap_op("IGROUPR", intid, True, rng.choice((ALL, ALL, 0)), pe) for intid in (nmi, other)]
        for intid, marked in ((other, False), (nmi, True)):
            _, _, bit = self.place("INMIR", intid, 1)
            ops.append(self.bitmap_op("INMIR", intid, True, 1 << bit if marked else 0, pe))
        frame, offset, bit = self.place("IPRIORITYR", other, 8)
        ops.append(self.write(frame, offset + bit // 8, level, 1, True, pe))
        for intid in (nmi, other):
            ops.append(self.bitmap_op("ISENABLER", intid, True, ALL, pe))
            if intid >= 32 and not 1024 <= intid < 1120:
                offset = 0x8000 + 8 * (intid - 4096) if intid >= 4096 else 0x6000 + 8 * intid
                ops.append(self.write("GICD", offset, self.affinities[pe], 8, True))
        if rng.random() < 0.5:
            ops += [Op("sysreg_access", (pe, f"ICC_BPR{n}_EL1", rng.randrange(8))) for n in range(2)]
        if rng.random() < 0.3:
            ops.append(Op("sysreg_access", (pe, "ICC_PMR_EL1", rng.choice((0, 0x80, 0x80 + lowest, 0xFF)))))
        for intid in rng.sample((nmi, other), 2):
            _, _, bit = self.place("ISPENDR", intid, 1)
            ops.append(self.bitmap_op("ISPENDR", intid, True, 1 << bit, pe))
            if rng.random() < 0.5:
                ops.append(Op("service", (rng.randrange(64), 1, rng.random() < 0.2)))
        names = ("ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1", "ICC_RPR_EL1", "ICC_AP1R0_EL1")
        ops += [Op("sysreg_access", (pe, name, None)) for name in rng.sample(names, 3)]
        ops += [Op("service", (rng.randrange(64), 1, False)) for _ in range(rng.randint(0, 2))]
        return [*ops, *(Op("end_last", (pe, False)) for _ in range(rng.randint(0, 3)))]

    def step_settle(self) -> list[Op]:
        """Let settling time pass, with a look at what settles."""
        rng, pe = self.rng, self.pe()
        look = [self.read("GICD", 0), self.read("RD", 0, index=pe), self.read("RD", 0x14, index=pe)]
        steps = rng.choice((1, 1, 1, self.config.settle_steps, rng.randrange(8)))
        return [Op("step", (steps,)), *rng.sample(look, 2)]
