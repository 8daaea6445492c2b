"""A guest that hates its ITS: tables that loop, overlap each other and the queue, lie nowhere, or change while in use.

python -m tests.its_chaos --steps 1000000 --seed 1 runs that many steps in each configuration, with `check()` all along.
Nothing is compared: nothing may be raised, every invariant holds, and every MSI is accounted for.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Callable
from typing import Any

from gicv3 import Frame, GICv3, GICv3Config

RAM, RAM_SIZE = 0x4000_0000, 0x10_0000
ROM, ROM_SIZE = 0x5000_0000, 0x1_0000
VALID, INDIRECT = 1 << 63, 1 << 62
PAGES = (RAM, RAM + 0x1_0000, RAM + 0x2_0000, RAM + RAM_SIZE - 0x1_0000, ROM, 0x6000_0000, 0, (1 << 52) - 0x1_0000)
"""Where everything is: few places, so that all of it meets."""
GOOD = RAM + 0x8_0000
"""Where tables are that work."""
IAR1, EOIR1 = "ICC_IAR1_EL1", "ICC_EOIR1_EL1"

CONFIGS: dict[str, dict[str, Any]] = {
    "continue": {"its": 1, "id_bits": 15},
    "stall": {"its": 2, "id_bits": 16, "its_errors": "stall", "lpi_config": "live"},
    "pta": {"its": 1, "id_bits": 17, "pta": True, "security": True, "its_umsi": True, "its_umsi_spi": 40},
    "large": {"its": 1, "id_bits": 24, "device_bits": 32, "event_bits": 32, "its_entry_sizes": (32, 16, 8)},
    "small": {"its": 3, "id_bits": 14, "device_bits": 1, "event_bits": 1, "collection_bits": 1, "settle_steps": 3},
}
MEMORIES = ("buffer", "callbacks", "moody")
"""What holds the tables: "moody" callbacks bring nothing now and then, or fail, and call the GIC."""
BUDGETS = (1, 4, 64, 4096, 1 << 17)
"""Units of work a call: with few, everything happens while something is under way."""


class Refused(Exception):
    """What a write callback raises."""


class Chaos:
    """One GIC and its hostile guest; the same names and seed make the same steps."""

    def __init__(self, config: str, memory: str, seed: int) -> None:
        self.rng = random.Random(f"{config}/{memory}/{seed}")
        options = {"lpis": True, "direct_lpi": True, "statusr": True, "work_budget": self.rng.choice(BUDGETS)}
        self.gic = GICv3(GICv3Config(cpus=4, spis=32, **options, **CONFIGS[config]))
        self.its = self.gic.config.its
        self.id_bits = self.gic.config.id_bits
        self.ram = bytearray(RAM_SIZE)
        self.moody = memory == "moody"
        self.inside = False
        if memory == "buffer":
            self.gic.memory.map(RAM, self.ram)
        else:
            self.gic.memory.map_callbacks(RAM, RAM_SIZE, self.bring, self.take_back)
        self.gic.memory.map(ROM, self.rng.randbytes(ROM_SIZE), writable=False)
        self.moves: list[tuple[int, Callable[[], object]]] = [
            (10, self.scribble),
            (14, self.command),
            (8, self.its_register),
            (5, self.redistributor_register),
            (20, self.storm),
            (8, self.take_interrupts),
            (3, self.set_up),
            (1, self.plug),
            (1, self.look),
        ]
        for pe in range(4):
            self.wake(pe)

    def wake(self, pe: int) -> None:
        """Let a PE take Group 1 interrupts."""
        gic = self.gic
        gic.frame_write(Frame.GICD, 0, 0x37, 4, True)
        gic.frame_write(Frame.RD, 0x14, 0, 4, True, pe)
        gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
        gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1

    def bring(self, address: int, size: int) -> bytes | None:
        """The read callback."""
        if self.moody and not self.inside and self.rng.random() < 0.1:
            if self.rng.random() < 0.5:
                return None
            self.meddle()
        return bytes(self.ram[address - RAM : address - RAM + size])

    def take_back(self, address: int, data: bytes) -> None:
        """The write callback."""
        if self.moody and not self.inside and self.rng.random() < 0.1:
            self.meddle()
            if self.rng.random() < 0.5:
                raise Refused
        self.ram[address - RAM : address - RAM + len(data)] = data

    def meddle(self) -> None:
        """A callback uses the GIC."""
        self.inside = True
        self.rng.choice((self.storm, self.its_register, self.redistributor_register, self.take_interrupts,
                         self.scribble, self.command, self.plug))()  # fmt: skip
        self.inside = False

    def step(self) -> None:
        """One step; whatever write callbacks raise comes out of it."""
        move = self.rng.choices([move for _, move in self.moves], [weight for weight, _ in self.moves])[0]
        with contextlib.suppress(Refused, ExceptionGroup):
            move()

    def address(self) -> int:
        """Somewhere: mostly where something else is as well."""
        rng = self.rng
        page = rng.choice((*PAGES, *range(GOOD, GOOD + 0x5_0000, 0x1_0000)))
        return page + rng.choice((0, 0, 0, 0x100, 0x1000, rng.randrange(0x1_0000))) & ~0xFF

    def entry(self) -> int:
        """A doubleword that a table may hold, or the queue."""
        rng = self.rng
        return rng.choice((
            0, VALID | self.address(), VALID | self.address() >> 8 << 5 | rng.randrange(32), rng.getrandbits(64),
            VALID | rng.randrange(5) << 16 | rng.randrange(4), rng.randrange(8190, 8200) << 16 | rng.randrange(4),
            rng.choice((1, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)) | rng.randrange(4) << 32,
        ))  # fmt: skip

    def scribble(self) -> None:
        """Change tables under whoever uses them."""
        rng = self.rng
        for _ in range(rng.choice((1, 4, 32))):
            at = (self.address() + 8 * rng.randrange(32)) % RAM_SIZE
            self.ram[at : at + 8] = self.entry().to_bytes(8, "little")

    def words(self) -> tuple[int, int, int, int]:
        """Any command, made to meet others."""
        rng = self.rng
        device, event, icid = rng.randrange(4), rng.randrange(4), rng.randrange(4)
        rdbase = rng.choice((0, 1, 2, 3, 4, 0x80A, 0x80C, rng.getrandbits(36))) << 16
        op = rng.choice((1, 3, 3, 3, 4, 5, 8, 9, 9, 10, 10, 11, 12, 13, 14, 15, rng.getrandbits(8)))
        second = {8: rng.choice((1, 4, 31)), 10: event | rng.randrange(8190, 8200) << 32, 11: 8192 + event}
        third = {8: self.address() | VALID, 9: icid | rdbase | (rng.random() < 0.8) << 63}
        words = (op | device << 32, second.get(op, event), third.get(op, icid | rdbase), rdbase)
        if rng.random() < 0.9:
            return words
        return tuple(word ^ rng.getrandbits(64) & rng.getrandbits(64) for word in words)  # type: ignore[return-value]

    def command(self) -> None:
        """Queue any commands and ring."""
        count = self.rng.choice((1, 4, 16))
        self.queue(self.rng.randrange(self.its), [self.words() for _ in range(count)])

    def queue(self, its: int, commands: list[tuple[int, int, int, int]]) -> None:
        """Put commands where the queue is, wherever that is, and ring, with Retry now and then."""
        queue = self.gic.frame_read(Frame.GITS, 0x80, 8, index=its)
        base, size = queue & 0xF_FFFF_FFFF_0000, ((queue & 0xFF) + 1) * 4096
        at = self.gic.frame_read(Frame.GITS, 0x88, 8, index=its)
        for words in commands:
            place = base + at - RAM
            if 0 <= place <= RAM_SIZE - 32:
                self.ram[place : place + 32] = b"".join(word.to_bytes(8, "little") for word in words)
            at = (at + 32) % size
        self.gic.frame_write(Frame.GITS, 0x88, at | (self.rng.random() < 0.3), 8, index=its)

    def set_up(self) -> None:
        """Tables that work, for a while: with storms and interrupts, until something hits them."""
        gic, its = self.gic, self.rng.randrange(self.its)
        gic.frame_write(Frame.GITS, 0, 0, 4, index=its)
        self.ram[GOOD - RAM :] = bytes(RAM + RAM_SIZE - GOOD)
        self.ram[GOOD - RAM : GOOD - RAM + 16] = bytes([0xA1, 0x81]) * 8
        for pe in range(4):
            gic.frame_write(Frame.RD, 0, 0, 4, True, pe)
            gic.frame_write(Frame.RD, 0x70, GOOD | self.id_bits - 1, 8, True, pe)
            gic.frame_write(Frame.RD, 0x78, GOOD + 0x1_0000 | 1 << 62, 8, True, pe)
            gic.frame_write(Frame.RD, 0, 1, 4, True, pe)
            self.wake(pe)
        for table in range(2):
            gic.frame_write(Frame.GITS, 0x100 + 8 * table, VALID | GOOD + 0x2_0000 + 0x1000 * table, 8, index=its)
        gic.frame_write(Frame.GITS, 0x80, VALID | GOOD + 0x3_0000, 8, index=its)
        gic.frame_write(Frame.GITS, 0x88, 0, 8, index=its)
        gic.frame_write(Frame.GITS, 0, 1, 4, index=its)
        base = 0x80A_0000 if gic.config.pta else 0
        step = 0x2_0000 if gic.config.pta else 0x1_0000
        self.queue(its, [(9, 0, VALID | base + step * pe | pe, 0) for pe in range(4)])
        bits = min(gic.config.event_bits, 5)
        self.queue(its, [(8 | n << 32, bits - 1, VALID | GOOD + 0x4_0000 + 0x1000 * n, 0) for n in range(4)])
        self.queue(its, [(10 | n % 4 << 32, n // 4 | 8192 + n << 32, n % 3, 0) for n in range(16)])
        for _ in range(self.rng.randrange(4)):
            self.storm()
            self.take_interrupts()

    def its_register(self) -> None:
        """Set an ITS up over everything else, or write it at random."""
        rng, gic, its = self.rng, self.gic, self.rng.randrange(self.its)
        roll = rng.random()
        if roll < 0.5:
            gic.frame_write(Frame.GITS, 0, 0, 4, index=its)
            for table in range(2):
                baser = VALID | rng.choice((0, INDIRECT)) | rng.randrange(4) << 8 | rng.choice((0, 1, 255))
                gic.frame_write(Frame.GITS, 0x100 + 8 * table, baser | self.address() & ~0xFFF, 8, index=its)
            gic.frame_write(Frame.GITS, 0x80, VALID | self.address() & ~0xFFFF | rng.choice((0, 1, 15)), 8, index=its)
            gic.frame_write(Frame.GITS, 0, 0x101, 4, index=its)
        elif roll < 0.7:
            offset = rng.choice((0, 0x40, 0x80, 0x88, 0x8C, 0x100, 0x104, 0x108, 0x110))
            gic.frame_write(Frame.GITS, offset, rng.getrandbits(64), rng.choice((4, 8)), index=its)
        else:
            gic.frame_read(Frame.GITS, rng.randrange(0, 0x200, 4), rng.choice((1, 2, 4, 8)), index=its)

    def redistributor_register(self) -> None:
        """Set LPIs of a PE up over everything else, or write their registers at random."""
        rng, gic, pe = self.rng, self.gic, self.rng.randrange(4)
        roll = rng.random()
        if roll < 0.5:
            gic.frame_write(Frame.RD, 0, 0, 4, True, pe)
            width = rng.choice((self.id_bits, 14, 32))
            gic.frame_write(Frame.RD, 0x70, self.address() & ~0xFFF | width - 1, 8, True, pe)
            gic.frame_write(Frame.RD, 0x78, self.address() | (rng.random() < 0.3) << 62, 8, True, pe)
            gic.frame_write(Frame.RD, 0, 1, 4, True, pe)
        else:
            offset = rng.choice((0, 0x40, 0x48, 0x70, 0x78, 0xA0, 0xB0))
            value = rng.choice((8192, 8195, 16383, 1 << 20, rng.getrandbits(64)))
            gic.frame_write(Frame.RD, offset, value, rng.choice((4, 8)), True, pe)

    def storm(self) -> None:
        """MSIs, mostly of the few events that commands speak of."""
        rng = self.rng
        for _ in range(rng.choice((1, 8, 64))):
            its, device, event = rng.randrange(self.its), rng.randrange(4), rng.choice((0, 1, 2, 3, 8192, 8193))
            if rng.random() < 0.02:
                device, event = rng.getrandbits(32), rng.getrandbits(32)
            self.gic.its[its].msi(device, event)

    def take_interrupts(self) -> None:
        """Acknowledge and end what a PE is signalled."""
        pe = self.rng.randrange(4)
        self.gic.step()
        for _ in range(16):
            intid = self.gic.sysreg_read(pe, IAR1)
            if 1020 <= intid <= 1023:
                break
            assert intid < 1 << self.id_bits, intid
            self.gic.sysreg_write(pe, EOIR1, intid)

    def plug(self) -> None:
        """A vCPU goes or comes, or the machine is reset."""
        rng, pe = self.rng, self.rng.randrange(4)
        if rng.random() < 0.1:
            self.gic.reset()
        self.gic.set_cpustate(pe, "cpu", rng.random() < 0.7)
        self.wake(pe)

    def look(self) -> None:
        """What a host may ask at any time."""
        pe = self.rng.randrange(4)
        assert len(self.gic.lpi_pending(pe)) < 1 << self.id_bits
        str(self.gic.explain(8192, pe))
        self.gic.its[self.rng.randrange(self.its)].errors()
        self.gic.check()

    def finish(self) -> int:
        """Let all work come to its end, look at every invariant, and count the MSIs: each became something."""
        self.moody = False
        while self.gic.has_work:
            self.gic.step()
        self.gic.check()
        msis = 0
        for its in self.gic.its:
            counts = its.counters()
            ends = sum(counts[name] for name in ("cache_hits", "translated", "unmapped", "discarded", "merged"))
            assert counts["msis"] == ends, counts
            msis += ends
        return msis


def run(config: str, memory: str, seed: int, steps: int) -> tuple[int, int]:
    """Run one guest; return how many MSIs it sent and commands it gave."""
    chaos = Chaos(config, memory, seed)
    for number in range(steps):
        chaos.step()
        if number % 64 == 0:
            chaos.gic.check()
    msis = chaos.finish()
    return msis, sum(its.counters()["commands"] for its in chaos.gic.its)


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000, help="steps in each configuration (100000)")
    parser.add_argument("--seed", type=int, default=1, help="number of the first guest; each takes the next (1)")
    parser.add_argument("--length", type=int, default=2000, help="steps of a guest (2000)")
    arguments = parser.parse_args()
    for config in CONFIGS:
        for memory in MEMORIES:
            msis = commands = 0
            guests = -(-arguments.steps // arguments.length)
            for seed in range(arguments.seed, arguments.seed + guests):
                more = run(config, memory, seed, arguments.length)
                msis, commands = msis + more[0], commands + more[1]
            print(f"{config}, {memory}: {guests} guests, {msis} MSIs and {commands} commands accounted for", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
