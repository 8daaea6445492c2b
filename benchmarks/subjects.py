"""What is measured, built to a size: a GIC beside its floor, a GIC whose vCPUs come and go, a machine with slots."""

from __future__ import annotations

import random
import time
from functools import cache
from typing import Any

import gicv3
from gicv3.hotplug import CPUHotplugInfo
from gicv3.machine import VirtMachine

from .build import driver

SIZES = (1, 64, 4096, 65536)
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
        self.machine = VirtMachine(cpus=1, max_cpus=max_cpus, redist2_capacity=65_536)
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

    def fill(self) -> int:
        """Plug every possible vCPU and unplug them again; ns of the plugging alone."""
        machine = self.machine
        todo = [(f"cpu{slot}", machine.possible_cpus[slot].props._asdict()) for slot in self.slots]
        start = time.thread_time_ns()
        for name, props in todo:
            machine.device_add(id=name, **props)
        elapsed = time.thread_time_ns() - start
        for name, _ in todo:
            machine.device_del(name)
            machine.complete_unplug(name)
        return elapsed


gic_plug = cache(GicPlug)
machine_plug = cache(MachinePlug)
