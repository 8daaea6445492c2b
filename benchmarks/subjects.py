"""What is measured, built to a size: a GIC beside its floor, a GIC whose vCPUs come and go, a machine with slots."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

import gicv3
from gicv3.association import CPUHotplugInfo
from gicv3.machine import VirtMachine

from .build import driver

SIZES = (1, 512, 4096, 65536)
PLUG_SIZES = (16, 64, 4096, 65536)


def expect(right: bool, what: str) -> None:
    """AssertionError unless it is `right`, under `python -O` too: a fast wrong answer is no number."""
    if not right:
        raise AssertionError(what)


@cache
def pair(n_pe: int) -> Any:
    """A driver.Pair of `n_pe` PEs with every interrupt enabled; built and verified once."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=n_pe))
    made = driver().Pair(gic, [gic.affinity(pe) for pe in range(n_pe)])
    made.verify()
    return made


@cache
def gathered(n_pe: int) -> Any:
    """The same with every SPI routed to PE 0."""
    made = pair.__wrapped__(n_pe)
    made.gather_spis(0)
    return made


class Msis:
    """One PE with an ITS: device 1's events are LPIs of one priority, and `pending` other LPIs of a lower one pend.

    Parameters: `id_bits`, bits of an INTID; `events`, how many; `pending`, how many others, in INTIDs below theirs.
    """

    RAM, DEVICES, COLLECTIONS, QUEUE, ITT, PENDING, CONFIG = (
        n << 20 for n in (1024, 1024, 1025, 1026, 1027, 1028, 1030)
    )
    SIZE = 16 << 20
    FIRST_LPI = 8192
    VALID = 1 << 63

    def __init__(self, id_bits: int, events: int, pending: int) -> None:
        self.gic = gic = gicv3.GICv3(gicv3.GICv3Config(cpus=1, lpis=True, direct_lpi=True, its=1, id_bits=id_bits))
        self.ram = bytearray(self.SIZE)
        self.events = events
        self.first = self.FIRST_LPI + 3 * pending
        gic.memory.map(self.RAM, self.ram)
        config = self.CONFIG - self.RAM
        self.ram[config : config + 3 * pending] = b"\xa1" * (3 * pending)
        self.ram[config + 3 * pending : config + 3 * pending + events] = b"\x81" * events
        redist, its = gic.redist[0], gic.its[0]
        gic.dist["GICD_CTLR"] = 2
        redist["GICR_WAKER"] = 0
        redist["GICR_PROPBASER"] = self.CONFIG | id_bits - 1
        redist["GICR_PENDBASER"] = self.PENDING
        redist["GICR_CTLR"] = 1
        gic.pe[0]["ICC_PMR_EL1"] = 0xF8
        gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
        its["GITS_BASER", 0] = self.VALID | self.DEVICES
        its["GITS_BASER", 1] = self.VALID | self.COLLECTIONS
        its["GITS_CBASER"] = self.VALID | self.QUEUE | 255
        its["GITS_CTLR"] = 1
        commands = [(0x08 | 1 << 32, 13, self.ITT | self.VALID, 0), (0x09, 0, self.VALID, 0)]  # MAPD, MAPC
        commands += [(0x0A | 1 << 32, event | self.first + event << 32, 0, 0) for event in range(events)]  # MAPTI
        data = b"".join(word.to_bytes(8, "little") for command in commands for word in command)
        gic.memory.write(self.QUEUE, data)
        its["GITS_CWRITER"] = len(data)
        for n in range(pending):
            redist["GICR_SETLPIR"] = self.FIRST_LPI + 3 * n
        expect(len(gic.lpi_pending(0)) == pending, "not every other LPI pends")
        for event in range(events):  # every translation is made, every configuration byte read
            its.msi(1, event)
            expect(gic.pe[0]["ICC_IAR1_EL1"] == self.first + event, f"event {event} is not what is acknowledged")
            gic.pe[0]["ICC_EOIR1_EL1"] = self.first + event
        expect(its.counters()["errors"] == 0, "a command failed")

    def cycle(self, count: int, seed: int) -> int:
        """`count` MSIs, each taken at once; ns."""
        elapsed: int = driver().msi_cycle(self.gic, self.first, self.events, count, seed)
        return elapsed

    def drain(self) -> int:
        """An MSI of every event, then all taken; ns."""
        elapsed: int = driver().msi_drain(self.gic, self.first, self.events)
        return elapsed


class BatchCycle:
    """`GICv3.batch.cycle` over arrays made beforehand: the cycles of the other loops, in the same order.

    Parameters: the `subject`, whether SPIs are wanted (`shared`), and how many cycles after how many untimed ones.
    """

    def __init__(self, subject: Any, shared: bool, count: int, warm: int) -> None:
        self.batch = subject.gic.batch
        self.warm = warm
        self.sequence = lru_cache(1)(partial(subject.sequence, shared, warm + count))

    def run(self, seed: int) -> int:
        """All cycles from `seed`; ns."""
        warm = self.warm
        intids, pes = (np.frombuffer(column, np.uint32) for column in self.sequence(seed))
        self.batch.cycle(intids[:warm], pes[:warm])
        start = time.thread_time_ns()
        taken = self.batch.cycle(intids[warm:], pes[warm:])
        elapsed = time.thread_time_ns() - start
        expect(np.array_equal(taken, intids[warm:]), "an acknowledge returned another INTID than the one raised")
        return elapsed


class BatchTake:
    """`GICv3.batch.ack_eoi` of one SGI from PE 0 on all the others."""

    def __init__(self, subject: Any) -> None:
        self.gic = subject.gic
        self.pes = np.arange(1, subject.n_pe, dtype=np.uint32)
        self.clock = time.monotonic_ns if subject.n_pe < 1024 else time.thread_time_ns  # as in driver.Pair.broadcast()

    def run(self, rounds: int, sgi: int = 1) -> int:
        """Taking it on all targets; the median of `rounds`, ns."""
        times = []
        for _ in range(rounds):
            self.gic.sysreg_write(0, gicv3.SysReg.ICC_SGI1R_EL1, 1 << 40 | sgi << 24)
            start = self.clock()
            taken = self.gic.batch.ack_eoi(self.pes)
            times.append(self.clock() - start)
            expect((taken == sgi).all(), "an acknowledge returned another INTID than the one sent")
        return sorted(times)[rounds // 2]


def python_cycle(gic: gicv3.GICv3, count: int, seed: int) -> int:
    """Raise, acknowledge, lower and end `count` random PPIs, one Python call at a time; ns."""
    iar, eoir = int(gicv3.SysReg.ICC_IAR1_EL1), int(gicv3.SysReg.ICC_EOIR1_EL1)
    choice = random.Random(seed)
    todo = [(choice.randrange(gic.num_pe), choice.randrange(16, 32)) for _ in range(count)]
    bad = 0
    start = time.thread_time_ns()
    for pe, intid in todo:
        gic.set_ppi(pe, intid, True)
        got = gic.sysreg_read(pe, iar)
        gic.set_ppi(pe, intid, False)
        gic.sysreg_write(pe, eoir, got)
        bad += got != intid
    elapsed = time.thread_time_ns() - start
    expect(not bad, f"{bad} acknowledges returned another INTID than the one raised")
    return elapsed


class Cpu:
    """The least vCPU that the GIC's hotplug notifier accepts."""

    __slots__ = ("__weakref__", "associated", "cpu_index", "mp_affinity", "sysregs")

    def __init__(self, cpu_index: int, mp_affinity: int) -> None:
        self.cpu_index = cpu_index
        self.mp_affinity = mp_affinity
        self.associated = False
        self.sysregs: object = None


class GicPlug:
    """A GIC and its vCPUs, all plugged: what one unplug and plug costs the GIC, through its own notifier."""

    def __init__(self, n_pe: int) -> None:
        self.gic = gicv3.GICv3(gicv3.GICv3Config(cpus=n_pe))
        self.cpus = [Cpu(pe, self.gic.affinity(pe)) for pe in range(n_pe)]
        for cpu in self.cpus:
            self.gic.cpuhp_notifier.notify(CPUHotplugInfo(gic=self.gic, cpu=cpu, plugging=True))

    def cycles(self, count: int, seed: int) -> int:
        """Unplug and plug `count` random vCPUs, one after the other; ns."""
        gic, notify, info = self.gic, self.gic.cpuhp_notifier.notify, CPUHotplugInfo
        todo = random.Random(seed).choices(self.cpus, k=count)
        start = time.thread_time_ns()
        for cpu in todo:
            notify(info(gic=gic, cpu=cpu, plugging=False))
            notify(info(gic=gic, cpu=cpu, plugging=True))
        elapsed = time.thread_time_ns() - start
        connected = all(gic.is_accessible(cpu.cpu_index) and cpu.associated for cpu in todo)
        expect(connected, "a vCPU that was plugged is not connected")
        return elapsed


class MachinePlug:
    """A machine with one vCPU plugged of many possible: what `device_add` and the unplug after it cost.

    Each sample plugs into slots of the whole machine, drawn at random without repetition where there are enough.
    """

    def __init__(self, max_cpus: int) -> None:
        self.machine = make_machine(max_cpus)
        self.slots = list(range(1, max_cpus))

    def cycles(self, count: int, seed: int) -> int:
        """Plug and unplug `count` vCPUs, one after the other; ns."""
        machine, choice = self.machine, random.Random(seed)
        slots = choice.sample(self.slots, count) if count <= len(self.slots) else choice.choices(self.slots, k=count)
        todo = [(f"cpu{slot}", machine.possible_cpus[slot].props._asdict()) for slot in slots]
        start = time.thread_time_ns()
        for name, props in todo:
            machine.device_add(id=name, **props)
            machine.device_del(name)
            machine.complete_unplug(name)
        elapsed = time.thread_time_ns() - start
        expect(all(machine.possible_cpus[slot].cpu is None for slot in slots), "a vCPU that was unplugged is there")
        return elapsed


def make_machine(max_cpus: int) -> VirtMachine:
    """A machine with one vCPU plugged of many possible."""
    return VirtMachine(cpus=1, max_cpus=max_cpus, redist2_capacity=65_536)


def construct(max_cpus: int) -> int:
    """Make a machine; ns."""
    start = time.thread_time_ns()
    machine = make_machine(max_cpus)
    elapsed = time.thread_time_ns() - start
    expect(len(machine.possible_cpus) == max_cpus, "the machine is of another size")
    return elapsed


def bytes_per_cpu(max_cpus: int) -> tuple[float, float]:
    """Memory of a machine for each possible vCPU: the core's, and the core's and Python's together."""
    tracemalloc.start()
    machine = make_machine(max_cpus)
    python = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    core = machine.gic.memory_use()["per_pe"]
    return core, core + python / max_cpus


def fill(max_cpus: int, machines: int, seed: int) -> int:
    """Plug every vCPU of `machines` fresh machines, in random order; ns of the plugging alone.

    Python's cyclic garbage collector is on, and sees what the machines make but not what other loops keep.
    """
    elapsed = 0
    gc.collect()
    gc.freeze()
    for made in range(machines):
        machine = make_machine(max_cpus)
        slots = random.Random(seed + made).sample(range(1, max_cpus), max_cpus - 1)
        names = [f"cpu{slot}" for slot in slots]
        start = time.thread_time_ns()
        for name, slot in zip(names, slots, strict=True):
            machine.device_add(id=name, core_id=slot)
        elapsed += time.thread_time_ns() - start
        expect(len(machine.cpus) == max_cpus, "a vCPU is missing")
    gc.unfreeze()
    return elapsed


msis = cache(Msis)
gic_plug = cache(GicPlug)
machine_plug = cache(MachinePlug)
