"""Seeded random programs, biased to be interesting: few interrupts and priorities, many acknowledges."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from .configs import SPIS, Config
from .ops import (
    GICD_BASE,
    GICR_BASE,
    GICR_STRIDE,
    HOST_CPU,
    ICC,
    POP,
    PUSH,
    READ_KIND,
    RING_SLOTS,
    SCR_FIQ,
    SCR_IRQ,
    SGI_FRAME,
    USE,
    WRITE_KIND,
    Kind,
    Op,
    World,
    reg,
)

_PRIORITIES = (
    0x00,
    0x08,
    0x10,
    0x18,
    0x20,
    0x28,
    0x40,
    0x48,
    0x60,
    0x7F,
    0x80,
    0x84,
    0x88,
    0xA0,
    0xA8,
    0xC0,
    0xF0,
    0xF8,
)
_MASKS = (0xFF, 0xFF, 0xF8, 0xF0, 0xC0, 0xA8, 0x88, 0x80, 0x60, 0x40, 0x20, 0x00)
_BITMAPS = {"IGROUPR": 0x080, "ISENABLER": 0x100, "ICENABLER": 0x180, "ISPENDR": 0x200, "ICPENDR": 0x280}
_BITMAPS |= {"ISACTIVER": 0x300, "ICACTIVER": 0x380, "IGRPMODR": 0xD00}
_CTLR_BITS = (0x3, 0x3, 0x3, 0x7, 0x7, 0x2, 0x1, 0x0, 0x4)
_REGISTERS = sorted(ICC.values())
_SIDE_EFFECTS = {ICC["ICC_IAR0_EL1"], ICC["ICC_IAR1_EL1"], ICC["ICC_NMIAR1_EL1"]}
_ENCODINGS = [reg(0, 12, crm, op2) for crm in range(8, 13) for op2 in range(8)] + [
    reg(6, 12, 12, op2) for op2 in range(8)
]
_ENCODINGS.append(ICC["ICC_SRE_EL2"])


class Generator:
    """Makes one program; the same configuration and seed make the same program.

    Parameters: configuration, seed (any integer), length in operations (at least that many are made).
    """

    def __init__(self, config: Config, seed: int, length: int) -> None:
        self._config = config
        self._length = length
        self._random = r = random.Random(f"{config.name}/{seed}")
        self._sgis = r.sample(range(16), 3)
        self._ppis = r.sample(range(16, 32), 3)
        word = 32 * r.randrange(1, SPIS // 32 + 1)
        self._spis = [word + r.randrange(32), word + r.randrange(32), *r.sample(range(32, 32 + SPIS), 2), 31 + SPIS]
        self._priorities = [*r.sample(_PRIORITIES, 4), r.randrange(256)]
        self._worlds = self._make_worlds()
        self._cpu = 0
        self._world = self._worlds[0]
        self._eoi_mode = r.random() < 0.4
        self._wild = r.random() < 0.3
        self._out: list[Op] = []
        self._acked: list[list[int]] = [[] for _ in range(config.smp)]
        self._levels: dict[tuple[int, int], int] = {}

    def program(self) -> list[Op]:
        """The operations, prelude included."""
        self._prelude()
        moves = list(self._moves())
        actions = [action for _, action in moves]
        weights = [weight for weight, _ in moves]
        r = self._random
        while len(self._out) < self._length:
            if r.random() < 0.25:
                self._cpu = r.randrange(self._config.smp)
            if r.random() < 0.1:
                self._world = r.choice(self._worlds)
            r.choices(actions, weights)[0]()
        self._sweep()
        return self._out

    def _make_worlds(self) -> list[World]:
        config, r = self._config, self._random
        if not config.secure:
            return [config.world(1), config.world(2)] if config.el2 else [config.world(1)]
        # A program has one routing of its own, as firmware would, and now and then another.
        routes = [0, 0, 0, SCR_FIQ, SCR_FIQ, SCR_FIQ, SCR_IRQ | SCR_FIQ, SCR_IRQ]
        worlds = []
        for route in (r.choice(routes), r.choice(routes)):
            worlds += [config.world(3, ns=True, scr=route), config.world(3, ns=False, scr=route)]
            worlds += [config.world(1, ns=True, scr=route)] * 3 + [config.world(1, ns=False, scr=route)] * 2
            if config.el2:
                worlds.append(config.world(2, ns=True, scr=route))
        return worlds

    def _moves(self) -> Iterator[tuple[float, Callable[[], None]]]:
        yield 14, self._acknowledge
        yield 11, self._end_of_interrupt
        yield 3, self._deactivate
        yield 6, self._handle
        yield 5, self._stimulate
        yield 1.2, self._refresh
        yield 9, self._read_icc
        yield 6, self._look
        yield 8, self._sgi
        yield 2.5, self._write_pmr
        yield 1.5, self._write_bpr
        yield 1, self._write_igrpen
        yield 0.8, self._write_icc_ctlr
        yield 0.3, self._write_apr
        yield 12, self._write_bitmap
        yield 6, self._write_priority
        yield 1.5, self._write_icfgr
        yield 3, self._write_irouter
        yield 0.7, self._write_gicd_ctlr
        yield 9, self._read_mmio
        yield 2, self._wild_mmio
        yield 0.7, self._wild_icc
        yield 1, self._window
        yield 1.5, self._lines
        if self._config.secure:
            yield 1.5, self._write_nsacr
            yield 1, self._write_el3

    # What the moves are made of.

    def _emit(self, kind: Kind, **fields: int) -> None:
        self._out.append(Op(kind, self._cpu, self._world, **fields))

    def _mrs(self, name: str, **fields: int) -> None:
        self._emit(Kind.MRS, reg=ICC[name], **fields)

    def _msr(self, name: str, value: int = 0, **fields: int) -> None:
        self._emit(Kind.MSR, reg=ICC[name], value=value, **fields)

    def _write(self, address: int, value: int, size: int = 4) -> None:
        self._emit(WRITE_KIND[size], address=address, value=value & (1 << 8 * size) - 1)

    def _read(self, address: int, size: int = 4) -> None:
        self._emit(READ_KIND[size], address=address)

    def _intid(self) -> int:
        r = self._random
        if self._wild and r.random() < 0.05:
            return r.randrange(32 + SPIS)
        return r.choice(r.choice((self._sgis, self._ppis, self._spis, self._spis)))

    def _hot_bits(self, word: int) -> int:
        return sum({1 << intid % 32 for intid in (*self._sgis, *self._ppis, *self._spis) if intid // 32 == word})

    def _base(self, intid: int) -> int:
        """Frame that holds an INTID's registers; of another PE now and then."""
        if intid >= 32:
            return GICD_BASE
        pe = self._cpu if self._random.random() < 0.7 else self._random.randrange(self._config.smp)
        return GICR_BASE + pe * GICR_STRIDE + SGI_FRAME

    def _priority(self) -> int:
        return self._random.choice(self._priorities)

    def _at(self, el: int | None = None) -> None:
        if el is not None:
            self._world = self._random.choice([world for world in self._worlds if world.el == el])

    # The prelude: most things on, most of the time.

    def _prelude(self) -> None:
        r, config = self._random, self._config
        privileged = config.base_el
        for cpu in range(config.smp):
            self._cpu = cpu
            self._at(privileged)
            self._write(GICR_BASE + cpu * GICR_STRIDE + 0x14, 0)
            self._read(GICR_BASE + cpu * GICR_STRIDE + 0x14)
        self._cpu = 0
        self._write(GICD_BASE, 0x37 if r.random() < 0.85 else r.randrange(64) & ~0x40)
        for intid in [*self._spis, *self._sgis, *self._ppis]:
            if r.random() < 0.05:
                continue
            for cpu in range(config.smp) if intid < 32 else (r.randrange(config.smp),):
                self._cpu = cpu
                base = GICD_BASE if intid >= 32 else GICR_BASE + cpu * GICR_STRIDE + SGI_FRAME
                word, bit = 4 * (intid // 32), 1 << intid % 32
                if r.random() < 0.9:
                    for first in range(intid & ~31, (intid & ~31) + 32, 4):
                        self._write(base + 0x400 + first, sum(self._priority() << 8 * byte for byte in range(4)))
                self._write(
                    base + 0x080 + word, (bit if r.random() < 0.6 else 0) | r.getrandbits(32) & r.getrandbits(32)
                )
                if config.secure and r.random() < 0.5:
                    self._write(base + 0xD00 + word, r.getrandbits(32))
                self._write(base + 0x100 + word, bit)
                if intid >= 32:
                    if r.random() < 0.5:
                        self._write(base + 0xC00 + 4 * (intid // 16), r.getrandbits(32))
                    self._write(GICD_BASE + 0x6000 + 8 * intid, r.randrange(config.smp), 8)
        for cpu in range(config.smp):
            self._cpu = cpu
            self._at(privileged)
            self._msr("ICC_PMR_EL1", r.choice((0xFF, 0xFF, 0xF0, 0xC0)))
            self._msr("ICC_IGRPEN0_EL1", r.random() < 0.9)
            if config.secure:
                self._msr("ICC_IGRPEN1_EL3", r.choice((3, 3, 3, 2, 1)))
            else:
                self._msr("ICC_IGRPEN1_EL1", r.random() < 0.9)
            if self._eoi_mode:
                self._msr("ICC_CTLR_EL1", r.choice((2, 2, 3)))
                if config.secure:
                    self._msr("ICC_CTLR_EL3", r.choice((0x1C, 0x14, 0x04, 0x1F)))

    def _sweep(self) -> None:
        """Reads all there is at the end, so that no difference in state stays unseen."""
        arrays = [0x080, 0x100, 0x200, 0x300, 0xD00]
        self._at(self._config.base_el)
        for cpu in range(self._config.smp):
            self._cpu = cpu
            base = GICR_BASE + cpu * GICR_STRIDE + SGI_FRAME
            for offset in (*arrays, *range(0x400, 0x420, 4), 0xC00, 0xC04, 0xE00):
                self._read(base + offset)
            for register in _REGISTERS:
                if register not in _SIDE_EFFECTS:
                    self._emit(Kind.MRS, reg=register)
            self._emit(Kind.ISR)
        for word in range(1, 1 + SPIS // 32):
            for offset in arrays:
                self._read(GICD_BASE + offset + 4 * word)
        for offset in (0, *range(0x420, 0x400 + 32 + SPIS, 4), *range(0xC08, 0xC00 + (32 + SPIS) // 4, 4)):
            self._read(GICD_BASE + offset)
        for spi in self._spis:
            self._read(GICD_BASE + 0x6000 + 8 * spi, 8)

    # Moves.

    def _acknowledge(self, group: int | None = None) -> None:
        group = self._random.choice((0, 1, 1)) if group is None else group
        self._mrs(f"ICC_IAR{group}_EL1", flags=PUSH)
        acked = self._acked[self._cpu]
        acked.append(group)
        del acked[:-RING_SLOTS]
        if self._random.random() < 0.4:
            self._mrs(f"ICC_IAR{1 - group}_EL1", flags=PUSH)

    def _end_of_interrupt(self) -> None:
        r, acked = self._random, self._acked[self._cpu]
        group = acked.pop() if acked else 1
        if r.random() < 0.05:
            group ^= 1
        if r.random() < 0.05:
            value = r.choice((self._intid(), 1020, 1021, 1022, 1023))
            self._msr(f"ICC_EOIR{group}_EL1", value)
        elif r.random() < 0.1:
            self._msr(f"ICC_EOIR{group}_EL1", flags=USE, depth=r.randrange(3))
        else:
            if r.random() < 0.5:  # which group was acknowledged is not known here: one of the two is ignored
                self._msr(f"ICC_EOIR{1 - group}_EL1", flags=USE)
            self._msr(f"ICC_EOIR{group}_EL1", flags=USE if self._eoi_mode and r.random() < 0.5 else USE | POP)

    def _deactivate(self) -> None:
        r = self._random
        if r.random() < 0.15:
            self._msr("ICC_DIR_EL1", r.choice((self._intid(), 1023)))
        else:
            self._msr("ICC_DIR_EL1", flags=USE | (POP if r.random() < 0.5 else 0), depth=r.choice((0, 0, 1)))

    def _handle(self) -> None:
        """Whole handlers: the shape of real guests."""
        groups = self._random.choice(((0,), (1,), (0, 1), (1, 0)))
        for group in groups:
            self._mrs(f"ICC_IAR{group}_EL1", flags=PUSH)
        for group in (*groups[::-1], *groups):
            self._msr(f"ICC_EOIR{group}_EL1", flags=USE)
            if self._eoi_mode:
                self._msr("ICC_DIR_EL1", flags=USE | POP)

    def _read_icc(self) -> None:
        names = ("ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1", "ICC_HPPIR1_EL1", "ICC_RPR_EL1", "ICC_RPR_EL1")
        if self._random.random() < 0.7:
            self._mrs(self._random.choice(names))
        else:
            self._emit(Kind.MRS, reg=self._random.choice(_REGISTERS), flags=0)

    def _look(self) -> None:
        cpu = self._cpu
        self._cpu = self._random.randrange(self._config.smp)
        self._emit(Kind.ISR)
        self._cpu = cpu

    def _sgi(self) -> None:
        r, smp = self._random, self._config.smp
        name = r.choice(("ICC_SGI1R_EL1", "ICC_SGI1R_EL1", "ICC_SGI0R_EL1", "ICC_ASGI1R_EL1"))
        targets = r.choice((1 << self._cpu, 1 << r.randrange(smp), r.getrandbits(16), (1 << smp) - 1))
        value = r.choice(self._sgis) << 24 | targets
        if r.random() < 0.2:
            value |= 1 << 40
        if r.random() < 0.05:
            value |= r.choice((1 << 16, 1 << 32, 1 << 48))
        self._msr(name, value)

    def _write_pmr(self) -> None:
        self._msr("ICC_PMR_EL1", self._random.choice((*_MASKS, self._priority(), self._priority())))

    def _write_bpr(self) -> None:
        r = self._random
        self._msr(r.choice(("ICC_BPR0_EL1", "ICC_BPR1_EL1")), r.randrange(16) if self._wild else r.randrange(8))

    def _write_igrpen(self) -> None:
        r = self._random
        self._msr(r.choice(("ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL1")), r.random() < 0.75)

    def _write_icc_ctlr(self) -> None:
        r = self._random
        self._msr("ICC_CTLR_EL1", r.choice((0, 0, 1, 2, 2, 3, 0x40, r.getrandbits(32))))

    def _write_apr(self) -> None:
        r = self._random
        name = f"ICC_AP{r.randrange(2)}R{r.randrange(4) if r.random() < 0.4 else 0}_EL1"
        value = r.choice((0, 0, 1 << r.randrange(32), r.getrandbits(32) & r.getrandbits(32) & r.getrandbits(32)))
        self._msr(name, value)

    def _stimulate(self) -> None:
        """Pends one interrupt, looks, and acknowledges what came of it."""
        r, intid = self._random, self._intid()
        if intid < 32:
            self._write(GICR_BASE + self._cpu * GICR_STRIDE + SGI_FRAME + 0x200, 1 << intid)
        else:
            self._write(GICD_BASE + 0x6000 + 8 * intid, self._cpu, 8)
            self._write(GICD_BASE + 0x200 + 4 * (intid // 32), 1 << intid % 32)
        for name in ("ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1"):
            if r.random() < 0.4:
                self._mrs(name)
        self._acknowledge()
        if r.random() < 0.5:
            self._mrs("ICC_RPR_EL1")

    def _refresh(self) -> None:
        """Undoes some of what keeps a PE silent (active priorities, masks), so that a long program stays alive."""
        r = self._random
        world = self._world
        self._at(self._config.base_el)
        if r.random() < 0.85:
            for register in range(4 if self._config.priority_bits == 8 else 1):
                self._msr(f"ICC_AP0R{register}_EL1", 0)
                self._msr(f"ICC_AP1R{register}_EL1", 0)
            if self._config.secure:  # QEMU lets nobody write the Non-secure AP1R0
                for _ in range(3):
                    self._msr("ICC_EOIR1_EL1", self._sgis[0])
            self._mrs("ICC_RPR_EL1")
        if r.random() < 0.7:
            self._msr("ICC_PMR_EL1", 0xFF)
        if r.random() < 0.7:
            self._msr("ICC_IGRPEN0_EL1", 1)
            self._msr("ICC_IGRPEN1_EL1", 1)
        if r.random() < 0.5:
            self._write(GICD_BASE, 0x37)
        for intid in (self._sgis[0], *self._spis):
            base = GICD_BASE if intid >= 32 else GICR_BASE + self._cpu * GICR_STRIDE + SGI_FRAME
            if r.random() < 0.5:
                self._write(base + 0x380 + 4 * (intid // 32), 0xFFFF_FFFF)
            if r.random() < 0.3:
                self._write(base + 0x100 + 4 * (intid // 32), 1 << intid % 32)
        self._world = world

    def _write_bitmap(self) -> None:
        r, intid = self._random, self._intid()
        names = [
            "ISPENDR",
            "ISPENDR",
            "ISPENDR",
            "ICPENDR",
            "ISENABLER",
            "ISENABLER",
            "ICENABLER",
            "ISACTIVER",
            "ICACTIVER",
        ]
        names += ["ICACTIVER", "ISENABLER", "IGROUPR"]
        if self._config.secure:
            names.append("IGRPMODR")
        name = r.choice(names)
        value = r.choice((1 << intid % 32, 1 << intid % 32, 1 << intid % 32 | 1 << r.randrange(32), r.getrandbits(32)))
        if r.random() < 0.8:
            value &= self._hot_bits(intid // 32)
        if name in ("ISACTIVER", "ICENABLER"):
            value &= r.getrandbits(32) | 1 << intid % 32 if r.random() < 0.5 else 1 << intid % 32
        self._write(self._base(intid) + _BITMAPS[name] + 4 * (intid // 32), value)

    def _write_priority(self) -> None:
        r, intid = self._random, self._intid()
        base = self._base(intid) + 0x400
        if r.random() < 0.7:
            self._write(base + intid, self._priority(), 1)
        else:
            self._write(base + (intid & ~3), sum(self._priority() << 8 * byte for byte in range(4)))

    def _write_icfgr(self) -> None:
        r, intid = self._random, self._intid()
        self._write(self._base(intid) + 0xC00 + 4 * (intid // 16), r.choice((r.getrandbits(32), 2 << 2 * (intid % 16))))

    def _write_irouter(self) -> None:
        r, intid = self._random, r_spi if (r_spi := self._intid()) >= 32 else self._random.choice(self._spis)
        route = r.randrange(self._config.smp)
        if r.random() < 0.15:
            route = r.choice((r.randrange(16), 0x100, 1 << 32, 1 << 31 | route, r.getrandbits(64)))
        address = GICD_BASE + 0x6000 + 8 * intid
        if r.random() < 0.8:
            self._write(address, route, 8)
        else:
            half = r.randrange(2)
            self._write(address + 4 * half, route >> 32 * half)

    def _write_gicd_ctlr(self) -> None:
        r = self._random
        value = (
            0x37 if r.random() < 0.6 else r.choice(_CTLR_BITS) | (r.getrandbits(32) & ~0x40 if r.random() < 0.2 else 0)
        )
        if self._config.secure and self._wild and r.random() < 0.03:
            value |= 0x40
        self._write(GICD_BASE, value)

    def _read_mmio(self) -> None:
        r, intid = self._random, self._intid()
        base = self._base(intid)
        kind = r.randrange(10)
        if kind < 6:
            self._read(base + r.choice(list(_BITMAPS.values())) + 4 * (intid // 32))
        elif kind == 6:
            self._read(base + 0x400 + intid, 1) if r.random() < 0.5 else self._read(base + 0x400 + (intid & ~3))
        elif kind == 7:
            self._read(base + r.choice((0xC00 + 4 * (intid // 16), 0xE00 + 4 * (intid // 16))))
        elif kind == 8:
            spi = r.choice(self._spis)
            self._read(GICD_BASE + 0x6000 + 8 * spi, 8) if r.random() < 0.7 else self._read(
                GICD_BASE + 0x6004 + 8 * spi
            )
        else:
            pe = r.randrange(self._config.smp)
            offset = r.choice((0x0, 0x4, 0x8, 0xC, 0x10, 0xFFE8, 0xFFD0, 0xFFF0, 0x40))
            self._read(r.choice((GICD_BASE, GICR_BASE + pe * GICR_STRIDE)) + offset)

    def _wild_mmio(self) -> None:
        """Any offset of any frame, any width, aligned (an unaligned one faults before it reaches the GIC)."""
        r = self._random
        size = r.choice((1, 2, 4, 4, 4, 8))
        if r.random() < 0.5:
            base, limit = GICD_BASE, 0x1_0000
        else:
            base, limit = GICR_BASE + r.randrange(self._config.smp) * GICR_STRIDE, GICR_STRIDE
        offset = r.choice(
            (r.randrange(limit), r.randrange(0x1000), limit - 1 - r.randrange(0x100), r.randrange(0x1000) | SGI_FRAME)
        )
        address = base + (offset % limit & -size)
        if r.random() < 0.6:
            self._read(address, size)
        else:
            self._write(address, r.choice((0, 1, r.getrandbits(64), (1 << 64) - 1)), size)

    def _wild_icc(self) -> None:
        """Any encoding of the ICC space, either direction."""
        r = self._random
        encoding = r.choice(_ENCODINGS)
        if r.random() < 0.6:
            self._emit(Kind.MRS, reg=encoding)
        else:
            self._emit(Kind.MSR, reg=encoding, value=r.choice((0, 1, 3, r.randrange(1024), r.getrandbits(32))))

    def _window(self) -> None:
        self._emit(Kind.WINDOW)

    def _lines(self) -> None:
        """A burst of input changes: the host answers once for all of them."""
        r = self._random
        for _ in range(r.choice((1, 1, 2, 3))):
            intid = r.choice(r.choice((self._ppis, self._spis)))
            pe = r.randrange(self._config.smp) if intid < 32 else 0
            level = 1 - self._levels.get((intid, pe), 0)
            if r.random() < 0.3:
                self._line(intid, pe, level)
                level ^= 1
            self._line(intid, pe, level)
        self._look()

    def _line(self, intid: int, pe: int, level: int) -> None:
        self._levels[intid, pe] = level
        self._out.append(Op(Kind.LINE, HOST_CPU, self._world, address=intid, value=level, depth=pe))

    def _write_nsacr(self) -> None:
        r, intid = self._random, self._intid()
        self._write(self._base(intid) + 0xE00 + 4 * (intid // 16), r.getrandbits(32))

    def _write_el3(self) -> None:
        r = self._random
        self._world = r.choice([world for world in self._worlds if world.el == 3])
        if r.random() < 0.5:
            self._msr("ICC_CTLR_EL3", r.choice((0, 0x1C, 0x1F, r.getrandbits(32))))
        else:
            self._msr("ICC_IGRPEN1_EL3", r.choice((3, 3, 3, 2, 1, 0)))
