"""Random software for a GIC with LPIs and ITSs: what it does follows from a seed, and what it sees is told."""

from __future__ import annotations

from random import Random
from typing import Any

from gicv3 import GICv3
from gicv3.its_commands import encode
from tests import itses
from tests.itses import COLLECTIONS, DEVICES, FIRST, ITTS, QUEUE, VALID, Command
from tests.lpis import PEND, PROP, RAM

LPIS = 40
PAGE = 0x1000
QUEUES = 0x2_0000  # aligned to 64 KB


class ItsSoftware:
    """A guest and its devices: two ITSs at most, few devices, events and LPIs, so that they meet each other."""

    def __init__(self, gic: GICv3, ram: bytearray) -> None:
        self.gic = gic
        self.ram = ram
        self.taken: dict[int, list[int]] = {pe: [] for pe in range(gic.num_pe)}
        gic.memory.map(RAM, ram)

    @classmethod
    def started(cls, seed: int, **options: Any) -> ItsSoftware:
        """A GIC with everything enabled, and tables with random configuration bytes."""
        rig = itses.ItsRig(3, enable_its=False, config=0xA1, **options)
        rig.gic.memory.unmap(RAM)
        self = cls(rig.gic, rig.ram)
        random = Random(seed)
        for n in range(LPIS):
            self.ram[PROP - RAM + n] = random.randrange(256)
        for its in rig.gic.its:
            its["GITS_BASER", 0] = VALID | DEVICES + its.index * PAGE
            its["GITS_BASER", 1] = VALID | COLLECTIONS + its.index * PAGE
            its["GITS_CBASER"] = VALID | QUEUE + its.index * QUEUES
            its["GITS_CTLR"] = 1
            for command in (
                *(itses.mapc(pe, pe) for pe in range(3)),
                *(itses.mapd(n, self.itt(its.index, n)) for n in range(2)),
                *(itses.mapti(n % 2, n // 2, FIRST + n, n % 3) for n in range(16)),
            ):
                self.do(its.index, command)
        return self

    def copied(self, gic: GICv3) -> ItsSoftware:
        """The same software on another GIC, with memory of its own."""
        other = ItsSoftware(gic, bytearray(self.ram))
        other.taken = {pe: list(taken) for pe, taken in self.taken.items()}
        return other

    @staticmethod
    def itt(its: int, device: int) -> int:
        return ITTS + its * PAGE + device * 0x400

    def do(self, its: int, command: Command) -> None:
        """Write a command into the queue, and ring; a queue that stalled is retried."""
        view = self.gic.its[its]
        at = view["GITS_CWRITER"]
        place = QUEUE - RAM + its * QUEUES + at
        self.ram[place : place + 32] = encode(command)
        view["GITS_CWRITER"] = (at + 32) % 4096 | view["GITS_CREADR"] & 1

    def command(self, random: Random, its: int) -> Command:
        """A command that may be one or not."""
        device, event, icid, pe = (random.randrange(n) for n in (4, 12, 5, 4))
        make = random.choice(
            (
                lambda: itses.mapd(device, self.itt(its, device), random.choice((3, 5, 40)), random.random() < 0.8),
                lambda: itses.mapc(icid, pe, random.random() < 0.8),
                lambda: itses.mapti(device, event, FIRST + random.randrange(-1, LPIS), icid),
                lambda: itses.mapi(device, event, icid),
                lambda: itses.movi(device, event, icid),
                lambda: itses.discard(device, event),
                lambda: itses.one(random.choice((0x03, 0x04, 0x0C)), device, event),
                lambda: itses.invall(icid),
                lambda: itses.movall(pe, random.randrange(4)),
                lambda: itses.sync(pe),
                lambda: itses.one(random.randrange(256), device, event),
            )
        )
        return make()

    def redistributor(self, random: Random, pe: int) -> None:
        """Something at a redistributor."""
        redist = self.gic.redist[pe]
        intid = FIRST + random.randrange(LPIS)
        what = random.randrange(6)
        if what < 3:
            redist[("GICR_SETLPIR", "GICR_CLRLPIR", "GICR_INVLPIR")[what]] = intid
        elif what == 3:
            redist["GICR_INVALLR"] = 0
        elif random.random() < 0.7:
            redist["GICR_CTLR"] = 1
        else:
            redist["GICR_CTLR"] = 0
            if random.random() < 0.5:
                redist["GICR_PENDBASER"] = PEND + pe * 0x1_0000 | random.randrange(2) << 62

    def hotplug(self, random: Random, pe: int) -> None:
        """A vCPU goes or comes, and its guest opens the CPU interface."""
        if self.gic.is_accessible(pe):
            self.gic.set_cpustate(pe, None, False)
            self.taken[pe].clear()
            return
        self.gic.set_cpustate(pe, object(), True)
        if random.random() < 0.8:
            self.gic.redist[pe]["GICR_WAKER"] = 0
            self.gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1
            self.gic.pe[pe]["ICC_PMR_EL1"] = 0xF0

    def interface(self, random: Random, pe: int) -> int:
        """Acknowledge or end."""
        if self.taken[pe] and random.random() < 0.5:
            self.gic.pe[pe]["ICC_EOIR1_EL1"] = self.taken[pe].pop()
            return 0
        intid = self.gic.pe[pe]["ICC_IAR1_EL1"] if self.gic.is_accessible(pe) else 1023
        if intid != 1023:
            self.taken[pe].append(intid)
        return intid

    def step(self, random: Random) -> object:
        """One thing; what can be seen after it."""
        gic, result = self.gic, 0
        pe, its, what = random.randrange(gic.num_pe), random.randrange(len(gic.its)), random.randrange(100)
        if what < 30:
            gic.its[its].msi(random.randrange(4), random.randrange(12))
        elif what < 50:
            self.do(its, self.command(random, its))
        elif what < 75:
            result = self.interface(random, pe)
        elif what < 85:
            self.redistributor(random, pe)
        elif what < 92:
            self.ram[PROP - RAM + random.randrange(LPIS)] = random.randrange(256)
        elif what < 95:
            self.hotplug(random, pe)
        elif what < 98:
            gic.step()
        else:
            gic.its[its]["GITS_CTLR"] = random.random() < 0.8
        its_state = [(view["GITS_CREADR"], view["GITS_CTLR"]) for view in gic.its]
        return result, bytes(gic.lines), [gic.lpi_pending(n) for n in range(gic.num_pe)], its_state

    def run(self, seed: int, steps: int) -> list[object]:
        """Many steps."""
        random = Random(seed)
        return [self.step(random) for _ in range(steps)]
