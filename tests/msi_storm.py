"""MSIs from 8 devices to 64 vCPUs that come and go: `python -m tests.msi_storm [--msis N] [--seed N] [--budget N]`.

Software maps, moves and discards events at random, vCPUs are plugged and unplugged with their LPIs moved away or left
behind, and a ledger of its own knows where each MSI has to be. Every acknowledge is compared with it, everything that
is pending now and then, and now and then all goes on in a machine that is restored from a snapshot. At the end

    MSIs sent = delivered + pending + discarded by DISCARD or CLEAR

and each of them is a particular MSI, not a number: an event is signalled again only after it was taken or discarded.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from gicv3 import VirtMachine
from gicv3.its_commands import encode
from gicv3.msi import MsiDevice
from tests import itses
from tests.itses import FIRST, VALID, Command

RAM = 0x4000_0000
RAM_SIZE = 32 << 20
QUEUE = RAM
DEVICE_TABLE = RAM + 0x1_0000
COLLECTIONS = RAM + 0x2_0000
ITTS = RAM + 0x4_0000
PROP = RAM + 0x10_0000
PEND = RAM + 0x80_0000
QUEUE_SIZE = 0x1_0000
VCPUS, DEVICES, EVENTS = 64, 8, 256
CHECK_EVERY = 20_000
SPURIOUS = 1023


class Ledger:
    """Which MSI is where, by the rules of the commands alone."""

    def __init__(self) -> None:
        self.pending: list[set[int]] = [set() for _ in range(VCPUS)]
        self.icid = [event % VCPUS for event in range(DEVICES * EVENTS)]
        self.target = list(range(VCPUS))
        self.free = list(range(DEVICES * EVENTS))
        self.place = list(self.free)  # of each event in `free`
        self.counts: Counter[str] = Counter(delivered=0, discarded=0)

    def take_free(self, number: int) -> int:
        """An event that is not outstanding, which it is from now on."""
        event, last = self.free[number], self.free.pop()
        if event != last:
            self.free[number] = last
            self.place[last] = number
        return event

    def end(self, event: int, how: str) -> None:
        """What was outstanding is delivered or discarded."""
        self.counts[how] += 1
        self.place[event] = len(self.free)
        self.free.append(event)

    def home(self, event: int) -> int:
        """The PE that an event leads to."""
        return self.target[self.icid[event]]


class Storm:
    """The guest's software, its devices, and who plugs and unplugs."""

    def __init__(self, seed: int, budget: int = 1 << 17) -> None:
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.ram = bytearray(RAM_SIZE)
        self.machine = VirtMachine(cpus=1, max_cpus=VCPUS, its=True, work_budget=budget)
        self.offset = 0
        self.names = 0
        count = DEVICES * EVENTS
        self.priority = [self.random.randrange(0, 0xF0, 8) for _ in range(count)]
        self.ram[PROP - RAM : PROP - RAM + count] = bytes(priority | 1 for priority in self.priority)
        self._attach()
        self._boot()

    def _attach(self) -> None:
        """Connect what is outside of the machine to it."""
        gic = self.gic = self.machine.gic
        gic.memory.map(RAM, self.ram)
        self.its = gic.its[0]
        self.devices = [MsiDevice(gic, device, EVENTS) for device in range(DEVICES)]
        for device in self.devices:
            for event in range(EVENTS):
                device.program(event, self.its.translater, event)

    def _boot(self) -> None:
        """Tables, a queue, and every event mapped to an LPI of its own; each redistributor's LPIs enabled once."""
        its, gic = self.its, self.gic
        gic.dist["GICD_CTLR"] = 3
        for pe in range(VCPUS):
            redist = gic.redist[pe]
            redist["GICR_PROPBASER"] = PROP | 15
            redist["GICR_PENDBASER"] = PEND + pe * 0x1_0000
            redist["GICR_CTLR"] = 1
        its["GITS_BASER", 0] = VALID | DEVICE_TABLE
        its["GITS_BASER", 1] = VALID | COLLECTIONS
        its["GITS_CBASER"] = VALID | QUEUE | QUEUE_SIZE // 4096 - 1
        its["GITS_CTLR"] = 1
        self.do(
            *(itses.mapd(device, ITTS + device * 0x1000, 8) for device in range(DEVICES)),
            *(itses.mapc(pe, pe) for pe in range(VCPUS)),
        )
        for event in range(DEVICES * EVENTS):
            self.do(self.mapti(event))
        self.open(0)

    def mapti(self, event: int) -> Command:
        return itses.mapti(event // EVENTS, event % EVENTS, FIRST + event, self.ledger.icid[event])

    def do(self, *commands: Command) -> None:
        """Have commands done, which must all be right."""
        for command in commands:
            at = QUEUE - RAM + self.offset
            self.ram[at : at + 32] = encode(command)
            self.offset = (self.offset + 32) % QUEUE_SIZE
        self.its["GITS_CWRITER"] = self.offset
        while self.its["GITS_CREADR"] != self.offset:
            self.ledger.counts["polls of GITS_CREADR"] += 1
        assert not self.its.errors()

    def open(self, pe: int) -> None:
        """What a vCPU's guest does when it comes up."""
        self.gic.redist[pe]["GICR_WAKER"] = 0
        self.gic.pe[pe]["ICC_PMR_EL1"] = 0xF8
        self.gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1

    # what happens

    def send(self) -> None:
        """A burst of MSIs, each of an event that is not outstanding."""
        ledger = self.ledger
        for _ in range(min(self.random.randrange(1, 48), len(ledger.free))):
            event = ledger.take_free(self.random.randrange(len(ledger.free)))
            ledger.pending[ledger.home(event)].add(event)
            self.devices[event // EVENTS].fire(event % EVENTS)
            ledger.counts["sent"] += 1

    def serve(self, pe: int, most: int) -> None:
        """A vCPU takes interrupts: each the best of what has to be pending there."""
        view, pending = self.gic.pe[pe], self.ledger.pending[pe]
        for _ in range(most):
            intid = view["ICC_IAR1_EL1"]
            best = min(pending, key=lambda event: (self.priority[event], event), default=None)
            assert intid == (SPURIOUS if best is None else FIRST + best)
            if best is None:
                return
            pending.remove(best)
            self.ledger.end(best, "delivered")
            view["ICC_EOIR1_EL1"] = intid

    def move_event(self, event: int, icid: int) -> None:
        """MOVI."""
        ledger, source = self.ledger, self.ledger.home(event)
        ledger.icid[event] = icid
        if event in ledger.pending[source]:
            ledger.pending[source].remove(event)
            ledger.pending[ledger.home(event)].add(event)
        self.do(itses.movi(event // EVENTS, event % EVENTS, icid))
        ledger.counts["MOVI"] += 1

    def move_all(self, source: int, target: int) -> None:
        """MOVALL, and the collections that lead there led elsewhere."""
        ledger = self.ledger
        icids = [icid for icid in range(VCPUS) if ledger.target[icid] == source]
        for icid in icids:
            ledger.target[icid] = target
        if source != target:
            ledger.pending[target] |= ledger.pending[source]
            ledger.pending[source].clear()
        self.do(*(itses.mapc(icid, target) for icid in icids), itses.movall(source, target), itses.sync(target))
        ledger.counts["MOVALL"] += 1

    def drop(self, event: int) -> None:
        """DISCARD with a new MAPTI, or CLEAR."""
        ledger, home = self.ledger, self.ledger.home(event)
        if event in ledger.pending[home]:
            ledger.pending[home].remove(event)
            ledger.end(event, "discarded")
        device, number = event // EVENTS, event % EVENTS
        if self.random.random() < 0.5:
            self.do(itses.clear(device, number))
            ledger.counts["CLEAR"] += 1
        else:
            self.do(itses.discard(device, number), self.mapti(event))
            ledger.counts["DISCARD"] += 1

    def plug(self, pe: int) -> None:
        self.names += 1
        self.machine.device_add(id=f"cpu{self.names}", core_id=pe)
        self.open(pe)
        self.ledger.target[pe] = pe
        self.do(itses.mapc(pe, pe))
        if self.random.random() < 0.5:  # events come back to it, as an operating system balances them
            for event in self.random.sample(range(DEVICES * EVENTS), 8):
                self.move_event(event, pe)
        self.ledger.counts["plugged"] += 1

    def unplug(self, pe: int) -> None:
        """Away, after its LPIs are moved to another vCPU, or with them left where they are."""
        if self.random.random() < 0.7:
            self.move_all(pe, self.random.choice([index for index in self.machine.cpus if index != pe]))
        cpu = self.machine.cpus[pe]
        self.machine.device_del(cpu.id)
        self.machine.complete_unplug(cpu.id)
        self.ledger.counts["unplugged"] += 1

    def save_and_restore(self) -> None:
        """Everything goes on in a machine made of a snapshot."""
        data = self.machine.save()
        self.machine = VirtMachine.restore(data)
        self._attach()
        assert self.machine.save() == data
        self.ledger.counts["restored"] += 1

    def check(self) -> None:
        """The GIC has pending exactly what the ledger says, present vCPUs or not."""
        self.machine.check()
        for pe in range(VCPUS):
            assert self.gic.lpi_pending(pe) == sorted(FIRST + event for event in self.ledger.pending[pe])
        counts = self.ledger.counts
        assert counts["sent"] == counts["delivered"] + counts["discarded"] + sum(map(len, self.ledger.pending))
        totals = self.gic.totals()
        assert totals["lpi_discarded"] == totals["lpi_lost"] == totals["lpi_table_faults"] == 0
        assert self.its.counters()["unmapped"] == self.its.counters()["discarded"] == 0

    def step(self) -> None:
        """One thing: mostly MSIs and service."""
        what = self.random.random()
        present = list(self.machine.cpus)
        if what < 0.45:
            self.send()
        elif what < 0.88:
            for pe in self.random.sample(present, min(4, len(present))):
                self.serve(pe, self.random.randrange(1, 64))
        elif what < 0.92:
            self.move_event(self.random.randrange(DEVICES * EVENTS), self.random.randrange(VCPUS))
        elif what < 0.94:
            self.drop(self.random.randrange(DEVICES * EVENTS))
        elif what < 0.95:
            self.move_all(self.random.randrange(VCPUS), self.random.randrange(VCPUS))
        else:
            pe = self.random.randrange(1, VCPUS)
            if pe in present:
                self.unplug(pe)
            else:
                self.plug(pe)

    def run(self, msis: int, restore_every: int) -> Counter[str]:
        """Until so many MSIs were sent; what there was of everything."""
        counts = self.ledger.counts
        checks, restores = range(0, msis, CHECK_EVERY), range(restore_every, msis, restore_every)
        todo = iter(
            sorted(
                [(sent, self.check) for sent in checks] + [(sent, self.save_and_restore) for sent in restores],
                key=lambda item: item[0],
            )
        )
        due = next(todo, None)
        while counts["sent"] < msis:
            self.step()
            while due is not None and counts["sent"] >= due[0]:
                due[1]()
                counts["checked"] += due[1] == self.check
                due = next(todo, None)
        self.check()
        counts["pending"] = sum(map(len, self.ledger.pending))
        counts["pending at absent vCPUs"] = sum(
            len(pending) for pe, pending in enumerate(self.ledger.pending) if pe not in self.machine.cpus
        )
        return counts


def main() -> None:
    """Run a storm and print what became of its MSIs."""
    parser = argparse.ArgumentParser(prog="python -m tests.msi_storm", description=__doc__.partition("\n")[0])
    parser.add_argument("--msis", type=int, default=1_000_000, help="MSIs to send at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=1 << 17, help="GICv3Config.work_budget (default: %(default)s)")
    options = parser.parse_args()
    start = time.perf_counter()
    counts = Storm(options.seed, options.budget).run(options.msis, max(1, options.msis // 8))
    accounted = counts["delivered"] + counts["pending"] + counts["discarded"]
    for name, count in counts.items():
        print(f"{name:>24}: {count:,}")
    print(
        f"{'unaccounted for':>24}: {counts['sent'] - accounted:,}   ({time.perf_counter() - start:.0f} s, "
        f"{DEVICES} devices, {VCPUS} vCPUs, seed {options.seed})"
    )


if __name__ == "__main__":
    main()
