"""What is measured, built to a size: a GIC beside its floor, a GIC whose vCPUs come and go, a machine with slots."""

from __future__ import annotations

import random
import time
import tracemalloc
from functools import cache
from typing import Any

import numpy as np

import gicv3
from gicv3.hotplug import CPUHotplugInfo
from gicv3.machine import VirtMachine

from .build import driver

SIZES = (1, 512, 4096, 65536)
PLUG_SIZES = (16, 64, 4096, 65536)


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


class BatchCycle:
    """`GICv3.batch.cycle` over arrays made beforehand: the cycles of the other loops, in the same order."""

    def __init__(self, subject: Any, shared: bool, count: int) -> None:
        self.batch = subject.gic.batch
        self.intids, self.pes = (np.array(column, np.uint32) for column in subject.sequence(shared, count, 1))

    def run(self) -> int:
        """All cycles once; ns."""
        start = time.thread_time_ns()
        taken = self.batch.cycle(self.intids, self.pes)
        elapsed = time.thread_time_ns() - start
        assert np.array_equal(taken, self.intids), "an acknowledge returned another INTID than the one raised"
        return elapsed


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
    assert not bad, f"{bad} acknowledges returned another INTID than the one raised"
    return elapsed


class Cpu:
    """The least vCPU that the GIC's hotplug notifier accepts."""

    __slots__ = ("__weakref__", "cpu_index", "gicv3state", "mp_affinity", "sysregs")

    def __init__(self, cpu_index: int, mp_affinity: int) -> None:
        self.cpu_index = cpu_index
        self.mp_affinity = mp_affinity
        self.gicv3state: object = None
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
        assert all(gic.is_accessible(cpu.cpu_index) and cpu.gicv3state is not None for cpu in todo)
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
        assert all(machine.possible_cpus[slot].cpu is None for slot in slots)
        return elapsed


def make_machine(max_cpus: int) -> VirtMachine:
    """A machine with one vCPU plugged of many possible."""
    return VirtMachine(cpus=1, max_cpus=max_cpus, redist2_capacity=65_536)


def construct(max_cpus: int) -> int:
    """Make a machine; ns."""
    start = time.thread_time_ns()
    machine = make_machine(max_cpus)
    elapsed = time.thread_time_ns() - start
    assert len(machine.possible_cpus) == max_cpus
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
    """Plug every vCPU of `machines` fresh machines, in random order; ns of the plugging alone."""
    elapsed = 0
    for made in range(machines):
        machine = make_machine(max_cpus)
        slots = random.Random(seed + made).sample(range(1, max_cpus), max_cpus - 1)
        todo = [(f"cpu{slot}", slot) for slot in slots]
        start = time.thread_time_ns()
        for name, slot in todo:
            machine.device_add(id=name, core_id=slot)
        elapsed += time.thread_time_ns() - start
        assert len(machine.cpus) == max_cpus
    return elapsed


gic_plug = cache(GicPlug)
machine_plug = cache(MachinePlug)
