"""What random programs of GIC operations are made of: operations, and the pools that a program draws from."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from .config import ModelConfig
from .mmio import ROWS
from .state import HCR_FMO, HCR_IMO, SCR_EEL2, SCR_FIQ, SCR_IRQ, SCR_NS
from .sysregs import TALL0, TALL1, TC, TDIR

BITMAPS = ("ISENABLER", "ICENABLER", "ISPENDR", "ICPENDR", "ISACTIVER", "ICACTIVER", "IGROUPR", "IGRPMODR", "INMIR")

PER_INTID = [(name, 1) for name in BITMAPS] + [("IPRIORITYR", 8), ("ICFGR", 2), ("NSACR", 2)]


class Op(NamedTuple):
    """One operation: the name of a call of the GIC, or of a step the runner resolves, and its arguments."""

    call: str
    args: tuple[Any, ...]

    def code(self) -> str:
        """Return the operation as a line of Python, register named behind it."""
        if self.call in ("frame_read", "frame_write"):
            frame, offset, *rest = self.args
            value = [f"{rest.pop(0):#x}"] if self.call == "frame_write" else []
            size, secure, index = rest
            row = next((r.name for r in ROWS[frame] if r.first <= offset <= r.last), "reserved")
            parts = [f"Frame.{frame}", f"{offset:#06x}", *value, str(size), f"secure={secure}", f"index={index}"]
            return f"gic.{self.call}({', '.join(parts)})  # {row}"
        if self.call == "fill":
            name, value, secure = self.args
            return f"fill(gic, {name!r}, {value:#x}, secure={secure})  # GICD_{name}<n> and <n>E, whole"
        if self.call == "set_context":
            pe, el, secure, scr, hcr, ich_hcr, nmi = self.args
            return f"gic.set_context({pe}, {el}, {secure}, {scr:#x}, {hcr:#x}, {ich_hcr:#x}, {nmi})"
        return f"gic.{self.call}({', '.join(f'{a:#x}' if type(a) is int and a > 9 else repr(a) for a in self.args)})"


def fill_writes(config: ModelConfig, name: str, value: int, secure: bool) -> list[tuple[str, int, int, int, bool]]:
    """Return the writes (frame, offset, value, size, secure) of one value to every SPI register of a name."""
    width = {"IPRIORITYR": 8, "ICFGR": 2, "NSACR": 2, "IROUTER": 64}.get(name, 1)
    size = max(width // 8, 4)
    offsets = set()
    for suffix, intids, zero in (("", config.spi_intids(), 0), ("E", config.espi_intids(), 4096)):
        first = 0x6000 if name + suffix == "IROUTER" else next(r.first for r in ROWS["GICD"] if r.name == name + suffix)
        offsets |= {first + (intid - zero) * width // 8 // size * size for intid in intids}
    return [("GICD", offset, value, size, secure) for offset in sorted(offsets)]


class Builder:
    """Draws single operations for one configuration; each program has its own small pools, so that things meet.

    Parameters:
        config: what the GIC is built from.
        seed: names the program; the same seed gives the same operations.
    """

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self.config = config
        self.rng = rng = random.Random(seed)
        self.affinities = config.affinity_list()
        self.count = len(self.affinities)
        self.pes = rng.sample(range(self.count), min(self.count, rng.randint(1, 4)))
        self.sgis = rng.sample(range(16), rng.randint(1, 3))
        self.ppis = rng.sample([*range(16, 32), *config.eppi_intids()], rng.randint(1, 3))
        spis = [*config.spi_intids(), *config.espi_intids()]
        edges = [i for i in (32, 33, 63, 64, 1019, 4096, 4127, 4128) if i in spis] + spis[-1:]
        self.spis = list({rng.choice(rng.choice((spis, edges))) for _ in range(rng.randint(2, 6))}) if spis else []
        keep = 0xFF << 8 - config.priority_bits & 0xFF
        levels = [0x00, 0x40, 0x60, 0x68, 0x70, 0x78, 0x7F, 0x80, 0x82, 0x90, 0xA0, 0xA1, 0xC0, 0xF0, 0xF8, 0xFF]
        self.levels = [*rng.sample(levels, 5), rng.randrange(256), 0xFF & keep]
        self.hotplug = rng.random() < 0.3
        self.touches_ds = config.security and rng.random() < 0.25
        self.routes_virtual = config.el2 and rng.random() < 0.2

    def pe(self) -> int:
        """Return one of the program's PEs, rarely any."""
        return self.rng.choice(self.pes) if self.rng.random() < 0.95 else self.rng.randrange(self.count)

    def intid(self) -> int:
        """Return one of the program's interrupts."""
        return self.rng.choice(self.rng.choice([pool for pool in (self.sgis, self.ppis, self.spis) if pool]))

    def secure(self) -> bool:
        """Return the Security state of a memory access."""
        return self.config.security and self.rng.random() < 0.6

    def some_bits(self, bit: int | None = None) -> int:
        """Return a 32-bit value: often one interesting bit, sometimes several or all."""
        roll = self.rng.random()
        one = 1 << (self.rng.randrange(32) if bit is None else bit)
        if roll < 0.7:
            return one
        if roll < 0.8:
            return 0xFFFF_FFFF
        return one | self.rng.getrandbits(32) if roll < 0.9 else self.rng.getrandbits(32) & self.rng.getrandbits(32)

    def write(
        self, frame: str, offset: int, value: int, size: int = 4, secure: bool | None = None, index: int = 0
    ) -> Op:
        """Return a write to a frame."""
        secure = self.secure() if secure is None else secure
        return Op("frame_write", (frame, offset, value, size, secure and self.config.security, index))

    def read(self, frame: str, offset: int, size: int = 4, secure: bool | None = None, index: int = 0) -> Op:
        """Return a read of a frame."""
        secure = self.secure() if secure is None else secure
        return Op("frame_read", (frame, offset, size, secure and self.config.security, index))

    def place(self, name: str, intid: int, per_intid: int) -> tuple[str, int, int]:
        """Return (frame, offset of the 32-bit word, bit) of an interrupt's field of ``per_intid`` bits."""
        frame = "SGI" if intid < 32 or 1024 <= intid < 1120 else "GICD"
        extended = frame == "GICD" and intid >= 4096
        row = next(r for r in ROWS[frame] if r.name == name + ("E" if extended else ""))
        number = intid - 4096 if extended else intid - 1024 if frame == "SGI" and intid >= 1024 else intid
        bit = number * per_intid
        return frame, row.first + bit // 32 * 4, bit % 32

    def bitmap_op(
        self, name: str, intid: int, secure: bool | None = None, value: int | None = None, index: int | None = None
    ) -> Op:
        """Return a write to the word of a bitmap that holds an interrupt."""
        frame, offset, bit = self.place(name, intid, 1)
        value = self.some_bits(bit) if value is None else value
        return self.write(frame, offset, value, secure=secure, index=self.pe() if index is None else index)

    def priority_op(self, intid: int, index: int, secure: bool | None = None) -> Op:
        """Return a write of one interrupt's priority, as a byte or within its word."""
        frame, offset, bit = self.place("IPRIORITYR", intid, 8)
        if self.rng.random() < 0.7:
            return self.write(frame, offset + bit // 8, self.rng.choice(self.levels), 1, secure, index)
        word = sum(self.rng.choice(self.levels) << 8 * n for n in range(4))
        return self.write(frame, offset, word, 4, secure, index)

    def route_op(self, intid: int, secure: bool | None = None) -> Op:
        """Return a write of an SPI's route: mostly to a PE of the program."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.8:
            value = self.affinities[self.pe()]
        elif roll < 0.9:
            value = rng.getrandbits(64)
        else:
            value = self.affinities[self.pe()] ^ 1 << rng.choice((0, 1, 8, 16, 31, 32))
        if self.config.one_of_n and rng.random() < 0.6:
            value |= 1 << 31
        offset = 0x8000 + 8 * (intid - 4096) if intid >= 4096 else 0x6000 + 8 * intid
        if rng.random() < 0.7:
            return self.write("GICD", offset, value, 8, secure)
        half = rng.randrange(2)
        return self.write("GICD", offset + 4 * half, value >> 32 * half & 0xFFFF_FFFF, 4, secure)

    def context_op(self, pe: int, el: int | None = None) -> Op:
        """Return a change of what a PE executes in."""
        rng, config = self.rng, self.config
        weights = (1, 12, 4 * config.el2, 8 * config.security)
        el = rng.choices((0, 1, 2, 3), weights)[0] if el is None else el
        scr, secure = 0, False
        if config.security:
            scr = rng.choices((0, SCR_FIQ, SCR_IRQ, SCR_FIQ | SCR_IRQ), (10, 6, 2, 2))[0]
            nonsecure = rng.random() < 0.6
            if el == 2 and not nonsecure:
                nonsecure = rng.random() < 0.8
                scr |= 0 if nonsecure else SCR_EEL2
            elif config.el2 and rng.random() < 0.1:
                scr |= SCR_EEL2
            scr |= SCR_NS if nonsecure else 0
            secure = el == 3 or not nonsecure
        hcr = ich_hcr = 0
        if self.routes_virtual and rng.random() < 0.3:
            hcr = rng.choice((0, HCR_FMO, HCR_IMO, HCR_FMO | HCR_IMO))
            ich_hcr = rng.choice((0, TC, TALL0, TALL1, TDIR, rng.getrandbits(16)))
        nmi = config.nmi and rng.random() < 0.6
        return Op("set_context", (pe, el, secure, scr, hcr, ich_hcr, nmi))
