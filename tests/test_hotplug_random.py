"""Random plugging and unplugging, with a guest and an embedder at work in between, and a very long run of it."""

import gc
import random
import tracemalloc
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from virt import ALL, enable_distributor, fingerprint, wake

from gicv3.errors import HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.timer import TimerReg
from gicv3.vcpu import CpuPpi

SLOTS = 6
BOOT = 2
slots = st.integers(0, SLOTS - 1)
words = st.integers(0, ALL)


class Boom(Exception):
    pass


class Saboteur(Notifier):
    """Lets `patience` events pass and refuses the next; harmless until it is armed."""

    def __init__(self):
        super().__init__()
        self.patience = None

    def notify(self, data):
        if self.patience is None or getattr(data, "undo", False):
            return
        self.patience -= 1
        if self.patience < 0:
            self.patience = None
            raise Boom


class Hotplug(RuleBasedStateMachine):
    """The expected machine is a set of plugged slots, and a set of those asked to go."""

    @initialize(virtualization=st.booleans(), security=st.booleans())
    def build(self, virtualization, security):
        self.machine = VirtMachine(
            cpus=BOOT, max_cpus=SLOTS, virtualization=virtualization, security=security, spis=64
        )
        self.saboteurs = [Saboteur() for _ in range(3)]
        notifiers = self.machine.cpuhp_notifiers
        own = list(notifiers)
        # One on each side of the GIC's own notifier, and one among the listeners.
        notifiers.init()
        for notifier in (self.saboteurs[0], *own, self.saboteurs[1]):
            notifiers.add(notifier)
        self.machine.hotplug_events.add(self.saboteurs[2])
        self.plugged = set(range(BOOT))
        self.asked = set()
        self.now = 0

    def others(self, slot):
        return [self.machine.gic.save_pe(pe) for pe in range(SLOTS) if pe != slot]

    @rule(slot=slots, sabotage=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 1)))
    def plug(self, slot, sabotage):
        before, others = fingerprint(self.machine), self.others(slot)
        self.arm(sabotage)
        try:
            self.machine.device_add(id=f"cpu{slot}", core_id=slot)
        except HotplugError:
            assert slot in self.plugged
            assert fingerprint(self.machine) == before
        except Boom:
            assert fingerprint(self.machine) == before
        else:
            assert slot not in self.plugged
            self.plugged.add(slot)
        finally:
            self.arm(None)
        assert self.others(slot) == others

    @rule(slot=slots)
    def ask(self, slot):
        before = fingerprint(self.machine)
        try:
            self.machine.device_del(self.name(slot))
        except HotplugError:
            assert slot < BOOT or slot not in self.plugged
            assert fingerprint(self.machine) == before
        else:
            self.asked.add(slot)

    @rule(slot=slots)
    def decline(self, slot):
        try:
            self.machine.reject_unplug(self.name(slot))
        except HotplugError:
            assert slot not in self.asked
        else:
            self.asked.remove(slot)

    @rule(slot=slots, sabotage=st.none() | st.tuples(st.integers(0, 2), st.just(0)))
    def eject(self, slot, sabotage):
        before, others = fingerprint(self.machine), self.others(slot)
        self.arm(sabotage)
        try:
            self.machine.complete_unplug(self.name(slot))
        except HotplugError:
            assert slot not in self.asked or self.machine.cpus[slot].power_state.name != "OFF"
            assert fingerprint(self.machine) == before
        except Boom:
            assert fingerprint(self.machine) == before
        else:
            self.plugged.remove(slot)
            self.asked.remove(slot)
            assert self.machine.gic.redist[slot]["GICR_WAKER"] == 6
        finally:
            self.arm(None)
        assert self.others(slot) == others

    @rule(slot=slots)
    def power(self, slot):
        if slot in self.plugged:
            cpu = self.machine.cpus[slot]
            if cpu.power_state.name == "OFF":
                self.machine.power_on(cpu, 0x4000_0000)
            else:
                self.machine.power_off(cpu)

    @rule(slot=slots)
    def guest_sets_up(self, slot):
        enable_distributor(self.machine)
        wake(self.machine, slot)

    @rule(slot=slots, register=st.sampled_from(["GICR_WAKER", "GICR_ISENABLER0", "GICR_ISPENDR0", "GICR_ISACTIVER0",
                                                "GICR_IGROUPR0", "GICR_ICFGR1", "GICR_ICENABLER0"]), value=words)
    def guest_writes_a_redistributor(self, slot, register, value):
        self.machine.gic.redist[slot][register] = value

    @rule(slot=slots, output=st.sampled_from(CpuPpi), level=st.booleans())
    def wire_moves(self, slot, output, level):
        if slot in self.plugged:
            self.machine.cpus[slot].set_output(output, level)

    @rule(slot=slots, distance=st.integers(0, 100))
    def timer_is_set(self, slot, distance):
        if slot in self.plugged:
            timer = self.machine.cpus[slot].timer
            timer.write(TimerReg.CNTV_TVAL_EL0, distance, self.now)
            timer.write(TimerReg.CNTV_CTL_EL0, 1, self.now)

    @rule(ticks=st.integers(0, 100))
    def time_passes(self, ticks):
        self.now += ticks
        self.machine.timers.advance(self.now)

    @rule(slot=slots, mask=st.integers(0, (1 << SLOTS) - 1), everyone=st.booleans())
    def sgi(self, slot, mask, everyone):
        self.machine.gic.pe[slot]["ICC_SGI1R_EL1"] = everyone << 40 | 3 << 24 | mask

    @rule(intid=st.integers(32, 40), route=slots, level=st.booleans())
    def spi(self, intid, route, level):
        gic = self.machine.gic
        gic.dist["GICD_IGROUPR", 1] = ALL
        gic.dist["GICD_ISENABLER", 1] = ALL
        gic.dist["GICD_IROUTER", intid] = route
        gic.set_spi(intid, level)

    @rule(slot=slots, end=st.booleans())
    def acknowledge(self, slot, end):
        view = self.machine.gic.pe[slot]
        intid = view["ICC_IAR1_EL1"]
        assert intid >= 1020 or slot in self.plugged
        if end and intid < 1020:
            view["ICC_EOIR1_EL1"] = intid

    @precondition(lambda self: self.now % 7 == 0)
    @rule()
    def system_reset(self):
        self.machine.reset()

    @invariant()
    def everything_agrees(self):
        self.machine.check()
        assert set(self.machine.cpus) == self.plugged
        assert self.machine.boot_cpus == len(self.plugged)
        assert {slot for slot, cpu in self.machine.cpus.items() if cpu.unplug_requested} == self.asked
        for pe in range(SLOTS):
            if pe not in self.plugged:
                assert int(self.machine.gic.lines[pe]) & 0x3F == 0

    def teardown(self):
        if hasattr(self, "machine"):
            fresh = VirtMachine(
                cpus=BOOT,
                max_cpus=SLOTS,
                virtualization=self.machine.virtualization,
                security=self.machine.gic.config.security,
                spis=64,
            )
            for slot in self.plugged - set(range(BOOT)):
                self.machine.power_off(self.machine.cpus[slot])
                self.machine.device_del(f"cpu{slot}")
                self.machine.complete_unplug(f"cpu{slot}")
            for intid in range(32, 41):
                self.machine.gic.set_spi(intid, False)
            self.machine.reset()
            assert self.machine.gic.state_digest() == fresh.gic.state_digest()
            self.machine.check()

    def arm(self, sabotage):
        for saboteur in self.saboteurs:
            saboteur.patience = None
        if sabotage is not None:
            index, patience = sabotage
            self.saboteurs[index].patience = patience

    def name(self, slot):
        return f"cpu{slot}" if slot >= BOOT else f"/machine/unattached/device[{slot}]"


TestHotplug = Hotplug.TestCase
TestHotplug.settings = settings(max_examples=50, stateful_step_count=30)


class Churn:
    """A machine of many slots that is plugged and unplugged at random while its vCPUs take interrupts."""

    def __init__(self, max_cpus, seed):
        self.machine = VirtMachine(cpus=1, max_cpus=max_cpus, redist2_capacity=max_cpus)
        self.random = random.Random(seed)
        self.max_cpus = max_cpus
        self.cycles = 0

    def flip(self):
        """Plug a random slot, or unplug it if it is plugged: half a cycle."""
        machine, slot = self.machine, self.random.randrange(1, self.max_cpus)
        if slot in machine.cpus:
            self.eject(slot)
            return
        cpu = machine.device_add(id=f"cpu{slot}", core_id=slot)
        what = self.random.random()
        if what < 0.3:
            wake(machine, slot)
            machine.gic.pulse_ppi(slot, 20)
        elif what < 0.4:
            cpu.set_output(CpuPpi.TIMER_VIRT, True)
        elif what < 0.5:
            cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 1 << 40, 0)
            cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)

    def eject(self, slot):
        self.machine.device_del(f"cpu{slot}")
        self.machine.complete_unplug(f"cpu{slot}")
        self.cycles += 1

    def run(self, cycles, each=None):
        target = self.cycles + cycles
        while self.cycles < target:
            self.flip()
            if each and self.cycles % each == 0:
                self.machine.check()

    def empty(self):
        for slot in [slot for slot in self.machine.cpus if slot]:
            self.eject(slot)


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.drops_gics
def test_behaviour_26_100000_cycles_on_4096_vcpus_leak_nothing_and_leave_a_fresh_machine():
    churn = Churn(4096, seed=26)
    churn.run(10_000)
    churn.empty()
    gc.collect()
    resident = resident_bytes()
    churn.run(90_000, each=10_000)
    churn.empty()
    gc.collect()
    assert churn.cycles >= 100_000
    # 256 KiB is 3 bytes a cycle: less than one word lost by each.
    assert resident_bytes() - resident < 1 << 18
    assert churn.machine.boot_cpus == 1
    assert len(churn.machine.timers) == 0
    churn.machine.check()
    fresh = VirtMachine(cpus=1, max_cpus=4096, redist2_capacity=4096)
    assert churn.machine.gic.state_digest() == fresh.gic.state_digest()
    gone = [weakref.ref(churn.machine), weakref.ref(churn.machine.gic)]
    del churn
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_behaviour_26_python_allocates_nothing_that_outlives_a_cycle():
    churn = Churn(256, seed=26)
    churn.run(2000)
    churn.empty()
    gc.collect()
    tracemalloc.start()
    try:
        churn.run(500)
        churn.empty()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        churn.run(5000)
        churn.empty()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A dictionary may hold spare room of one size or the next; 5,000 cycles that lost one word each would be 40,000.
    assert after - before < 8192
