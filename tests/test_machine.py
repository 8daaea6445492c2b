"""The machine: memory map, redistributor regions, MPIDRs, wires, reset, memory and lifetime."""

import copy
import gc
import pickle
import tracemalloc
import weakref
from itertools import pairwise

import pytest
from virt import ALL, enable_distributor, fingerprint, plug, take, unplug, wake

from gicv3 import Line
from gicv3.errors import ConfigError, GicError
from gicv3.machine import SPI, VirtMachine
from gicv3.notifier import Notifier
from gicv3.timer import Timer, TimerReg
from gicv3.topology import MAX_CPUS, Topology, default_affinity
from gicv3.vcpu import CpuPpi, PowerState, Vcpu

GIB = 1 << 30
STRIDE = 0x2_0000
LAST = 1 << 4

TIMER_INTID = {Timer.PHYS: 30, Timer.VIRT: 27, Timer.HYP: 26, Timer.SEC: 29, Timer.HYPVIRT: 28}
TIMER_CTL = {
    Timer.PHYS: TimerReg.CNTP_CTL_EL0,
    Timer.VIRT: TimerReg.CNTV_CTL_EL0,
    Timer.HYP: TimerReg.CNTHP_CTL_EL2,
    Timer.SEC: TimerReg.CNTPS_CTL_EL1,
    Timer.HYPVIRT: TimerReg.CNTHV_CTL_EL2,
}


def last_bits(machine):
    return [pe for pe in range(machine.max_cpus) if machine.gic.redist[pe]["GICR_TYPER"] & LAST]


def test_the_map_is_that_of_virt():
    memory_map = VirtMachine(cpus=1, max_cpus=2, ram_size=1 << 28).memory_map
    expected = {
        "GIC_DIST": (0x0800_0000, 0x1_0000),
        "GIC_ITS": (0x0808_0000, 0x2_0000),
        "GIC_REDIST": (0x080A_0000, 0xF6_0000),
        "UART0": (0x0900_0000, 0x1000),
        "ACPI_GED": (0x0908_0000, 4),
        "CPUHP_ACPI": (0x090C_0000, 12),
        "RAM": (0x4000_0000, 1 << 28),
    }
    assert {name: tuple(memory_map[name]) for name in expected} == expected
    assert SPI["ACPI_GED"] == 9
    assert SPI["UART0"] == 1


@pytest.mark.parametrize("options", [{}, {"max_cpus": 635}, {"max_cpus": MAX_CPUS, "redist2_capacity": MAX_CPUS}])
def test_regions_of_the_map_do_not_overlap(options):
    regions = sorted(VirtMachine(cpus=1, **options).memory_map.values())
    for region, following in pairwise(regions):
        assert region.base + region.size <= following.base


@pytest.mark.parametrize(
    ("max_cpus", "counts", "last"),
    [
        (1, [1], [0]),
        (123, [123], [122]),
        (124, [123, 1], [122, 123]),
        (200, [123, 77], [122, 199]),
        (635, [123, 512], [122, 634]),
    ],
)
def test_redistributors_fill_region_1_then_region_2_and_each_ends_with_last(max_cpus, counts, last):
    machine = VirtMachine(cpus=1, max_cpus=max_cpus)
    regions = machine.gic.config.regions
    assert [count for _, count in regions] == counts
    assert regions[0][0] == 0x080A_0000
    assert ("HIGH_GIC_REDIST2" in machine.memory_map) == (len(counts) == 2)
    assert last_bits(machine) == last


@pytest.mark.parametrize(
    ("ram_size", "base"),
    [
        (1, 256 * GIB),
        (255 * GIB, 256 * GIB),
        (255 * GIB + 1, 257 * GIB),
        (300 * GIB + 5, 302 * GIB),
    ],
)
def test_region_2_floats_above_ram_and_not_below_256_gib(ram_size, base):
    machine = VirtMachine(cpus=1, max_cpus=124, ram_size=ram_size)
    assert machine.memory_map["HIGH_GIC_REDIST2"] == (base, 64 << 20)
    assert machine.gic.config.regions[1] == (base, 1)


def test_a_larger_region_2_lies_on_a_multiple_of_its_own_size():
    machine = VirtMachine(cpus=1, max_cpus=200, ram_size=257 * GIB, redist2_capacity=MAX_CPUS)
    assert machine.memory_map["HIGH_GIC_REDIST2"] == (264 * GIB, 8 * GIB)


def test_a_redistributor_is_reached_at_its_address_in_either_region():
    machine = VirtMachine(cpus=1, max_cpus=200)
    region2 = machine.memory_map["HIGH_GIC_REDIST2"].base
    for pe, base in ((0, 0x080A_0000), (122, 0x080A_0000 + 122 * STRIDE), (123, region2), (199, region2 + 76 * STRIDE)):
        typer = machine.gic.mmio_read(base + 8, 8)
        assert typer >> 8 & 0xFFFF == pe
        assert typer >> 32 == default_affinity(pe)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"max_cpus": 636},
            "Number of SMP CPUs requested (636) exceeds max CPUs supported by machine 'mach-virt' (635)\n"
            "Try 'redist2_capacity=513' for more CPUs",
        ),
        (
            {"max_cpus": 124, "highmem_redists": False},
            "Number of SMP CPUs requested (124) exceeds max CPUs supported by machine 'mach-virt' (123)\n"
            "Try 'highmem-redists=on' for more CPUs",
        ),
        ({"redist2_capacity": 0}, "redist2_capacity must be in 1..65536, got 0"),
        ({"redist2_capacity": 65_537}, "redist2_capacity must be in 1..65536, got 65537"),
        ({"ram_size": 0}, "ram_size must be at least 1, got 0"),
        ({"cpus": 0}, "cpus must be in 1..65536, got 0"),
        ({"frequency": 0}, "frequency must be in 1..4294967295 Hz, got 0"),
        ({"max_cpus": 2, "affinities": [0]}, "affinities must be one for each of 2 vCPUs, got 1"),
        ({"dist_base": 0, "cpus": 1}, "dist_base of the GIC are set by the machine"),
    ],
)
def test_limits_are_refused_with_value_and_limit(options, text):
    with pytest.raises(ConfigError) as caught:
        VirtMachine(**options)
    assert str(caught.value) == text


def test_without_high_redistributors_123_vcpus_fit():
    assert VirtMachine(cpus=1, max_cpus=123, highmem_redists=False).gic.num_pe == 123


def test_gic_options_reach_the_gic():
    machine = VirtMachine(cpus=1, priority_bits=6, spis=64, security=True)
    assert machine.gic.config.priority_bits == 6
    assert machine.gic.config.spis == 64
    assert machine.gic.config.security
    assert VirtMachine(cpus=1).gic.config.spis == 256


def test_default_mpidrs_are_16_to_a_cluster():
    machine = VirtMachine(cpus=1, max_cpus=40)
    assert [slot.arch_id for slot in machine.possible_cpus] == [default_affinity(index) for index in range(40)]


def test_large_machines_carry_into_aff2():
    machine = VirtMachine(cpus=1, max_cpus=5000, redist2_capacity=8192)
    assert machine.possible_cpus[4095].arch_id == 0xFF0F
    assert machine.possible_cpus[4096].arch_id == 0x1_0000
    assert machine.gic.proc_num(0x1_0000) == 4096


def test_custom_affinities_are_the_slots_mpidrs_and_give_the_number_of_slots():
    affinities = [0x100, 0x0, 0xFF_0000_0000, 0x7F_00FF_FFFF]
    machine = VirtMachine(cpus=2, affinities=affinities)
    assert [slot.arch_id for slot in machine.possible_cpus] == affinities
    assert [machine.gic.proc_num(affinity) for affinity in affinities] == [0, 1, 2, 3]
    assert [cpu.mp_affinity for cpu in machine.cpus.values()] == affinities[:2]


def arm(machine, cpu):
    """Let a vCPU take every PPI, and return what raising an interrupt does to its IRQ line."""
    enable_distributor(machine)
    wake(machine, cpu.cpu_index)


def every_cpu(machine):
    """A boot vCPU, a cold device and a hotplugged vCPU: all are wired alike."""
    return [machine.cpus[0], machine.cpus[2], plug(machine, 5)]


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8, devices=[{"core_id": 2}])


@pytest.mark.parametrize("timer", Timer)
def test_each_timer_raises_its_ppi_on_boot_cold_and_hotplugged_vcpus(machine, timer):
    for cpu in every_cpu(machine):
        arm(machine, cpu)
        cpu.timer.write(TIMER_CTL[timer], 1, now=5)
        assert machine.gic.ppi_line(cpu.cpu_index, TIMER_INTID[timer])
        assert cpu.lines == Line.IRQ
        assert machine.gic.pe[cpu.cpu_index]["ICC_HPPIR1_EL1"] == TIMER_INTID[timer]
        cpu.timer.write(TIMER_CTL[timer], 0, now=6)
        assert cpu.lines == 0


@pytest.mark.parametrize(("output", "intid"), [(CpuPpi.PMU, 23), (CpuPpi.MAINTENANCE, 25)])
def test_pmu_and_maintenance_outputs_raise_their_ppis(machine, output, intid):
    for cpu in every_cpu(machine):
        arm(machine, cpu)
        cpu.set_output(output, True)
        assert machine.gic.pe[cpu.cpu_index]["ICC_HPPIR1_EL1"] == intid
        cpu.set_output(output, False)
        assert cpu.lines == 0


def test_a_deadline_reached_by_the_bank_raises_the_ppi(machine):
    cpu = plug(machine, 5)
    arm(machine, cpu)
    cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 100, now=0)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, now=0)
    assert machine.timers.next_deadline() == 100
    machine.timers.advance(99)
    assert cpu.lines == 0
    machine.timers.advance(100)
    assert take(machine, 5) == 27


@pytest.mark.parametrize("intid", [16, 22, 24, 31, 32, 0])
def test_a_vcpu_has_no_other_outputs(machine, intid):
    with pytest.raises(ValueError, match=f"{intid} is not a valid CpuPpi"):
        machine.cpus[0].set_output(intid, True)


@pytest.mark.parametrize("output", CpuPpi)
def test_after_unplug_an_output_of_the_old_vcpu_moves_nothing(machine, output):
    cpu = plug(machine, 5)
    arm(machine, cpu)
    unplug(machine, "cpu5")
    before = fingerprint(machine)
    cpu.set_output(output, True)
    assert fingerprint(machine) == before
    assert cpu.lines == 0


@pytest.mark.parametrize("output", CpuPpi)
def test_an_output_high_at_unplug_does_not_reach_the_next_vcpu(machine, output):
    fresh = VirtMachine(cpus=2, max_cpus=8, devices=[{"core_id": 2}])
    cpu = plug(machine, 5)
    cpu.set_output(output, True)
    unplug(machine, "cpu5")
    assert machine.gic.state_digest() == fresh.gic.state_digest()
    arm(machine, plug(machine, 5))
    assert machine.cpus[5].lines == 0


@pytest.mark.parametrize("line", [Line.IRQ, Line.FIQ, Line.VIRQ, Line.VFIQ, Line.NMI, Line.VNMI])
def test_each_of_the_six_lines_reaches_the_vcpu_it_is_wired_to(machine, line):
    seen = []
    machine.on_cpu_line = lambda *event: seen.append(event)
    cpu = plug(machine, 5)
    machine.gic.on_line(5, line, True)
    assert seen == [(cpu, line, True)]
    machine.gic.on_line(6, line, True)
    machine.unwire_gic_cpu_irqs(cpu)
    machine.gic.on_line(5, line, False)
    assert len(seen) == 1
    machine.wire_gic_cpu_irqs(cpu)


def test_the_wake_line_is_not_a_line_to_the_vcpu(machine):
    seen = []
    machine.on_cpu_line = lambda *event: seen.append(event)
    machine.gic.on_line(0, Line.WAKE, True)
    machine.gic.on_line(0, Line.MAINT, True)
    assert seen == []


def test_irq_and_fiq_follow_the_group_of_the_interrupt(machine):
    cpu = plug(machine, 5)
    seen = []
    machine.on_cpu_line = lambda cpu, line, level: seen.append((cpu.cpu_index, line, level))
    arm(machine, cpu)
    machine.gic.dist["GICD_CTLR"] = 0x13
    machine.gic.pe[5]["ICC_IGRPEN0_EL1"] = 1
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    machine.gic.redist[5]["GICR_IGROUPR0"] = 0
    cpu.set_output(CpuPpi.TIMER_VIRT, False)
    assert set(seen) == {(5, Line.IRQ, True), (5, Line.IRQ, False), (5, Line.FIQ, True), (5, Line.FIQ, False)}
    assert cpu.lines == 0


def test_without_a_line_callback_nothing_runs_and_lines_are_polled(machine):
    assert machine.gic.on_line is None
    machine.on_cpu_line = lambda *event: None
    machine.on_cpu_line = None
    assert machine.gic.on_line is None
    cpu = machine.cpus[0]
    arm(machine, cpu)
    machine.gic.changed()
    cpu.set_output(CpuPpi.PMU, True)
    assert machine.gic.changed() == [0]
    assert cpu.lines == Line.IRQ


@pytest.mark.parametrize("name", ["on_cpu_line", "on_power", "on_system_off", "on_system_reset"])
def test_a_callback_is_callable_or_none(machine, name):
    def callback(*_):
        pass

    assert getattr(machine, name) is None
    setattr(machine, name, callback)
    with pytest.raises(ConfigError) as caught:
        setattr(machine, name, 5)
    assert str(caught.value) == f"{name} must be callable or None, got 5"
    assert getattr(machine, name) is callback
    setattr(machine, name, None)
    assert getattr(machine, name) is None


@pytest.mark.parametrize("name", ["entry", "context_id"])
def test_a_power_on_takes_64_bit_numbers(machine, name):
    cpu = machine.cpus[1]
    arguments = {"entry": 0, "context_id": 0}
    for value, shown in ((-1, "-0x1"), (1 << 64, "0x10000000000000000")):
        with pytest.raises(ConfigError) as caught:
            machine.power_on(cpu, **(arguments | {name: value}))
        assert str(caught.value) == f"{name} must be in 0..2**64-1, got {shown}"
        assert cpu.power_state is PowerState.OFF
    machine.power_on(cpu, **(arguments | {name: (1 << 64) - 1}))
    assert cpu.power_state is PowerState.ON


@pytest.mark.parametrize("option", ["cpus", "max_cpus", "ram_size", "redist2_capacity", "frequency"])
def test_numbers_of_a_machine_are_integers(option):
    with pytest.raises(TypeError, match=f"{option} must be an integer, got 4.0"):
        VirtMachine(**{option: 4.0})


def test_the_maintenance_output_comes_back_as_ppi_25_where_there_is_virtualization():
    machine = VirtMachine(cpus=2, virtualization=True)
    arm(machine, machine.cpus[1])
    machine.gic.on_line(1, Line.MAINT, True)
    assert take(machine, 1) == 25
    machine.gic.on_line(1, Line.MAINT, False)
    assert not machine.gic.ppi_line(1, 25)
    machine.on_cpu_line = lambda *event: None
    machine.on_cpu_line = None
    assert machine.gic.on_line is not None


def test_a_context_is_told_to_the_gic_and_kept_with_the_vcpu():
    machine = VirtMachine(cpus=1, max_cpus=2, security=True)
    cpu = machine.cpus[0]
    cpu.set_context(el=3, secure=True, scr_el3=4, ich_hcr_el2=1 << 10, nmi_enabled=True)
    context = cpu.context
    assert (context.el, context.secure, context.scr_el3, context.ich_hcr_el2) == (3, True, 4, 1 << 10)
    assert context.nmi_enabled
    assert machine.gic.sysreg_access(0, "ICC_SRE_EL3").kind == "value"
    cpu.set_context(el=1)
    assert machine.gic.sysreg_access(0, "ICC_SRE_EL3").kind != "value"


def test_a_context_with_nmi_turns_irq_into_nmi():
    machine = VirtMachine(cpus=1, max_cpus=2, nmi=True)
    cpu = machine.cpus[0]
    arm(machine, cpu)
    machine.gic.redist[0]["GICR_INMIR0"] = 1 << CpuPpi.TIMER_VIRT
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    assert cpu.lines == Line.IRQ
    cpu.set_context(nmi_enabled=True)
    assert cpu.lines == Line.NMI
    cpu.set_context()
    assert cpu.lines == Line.IRQ


def test_a_context_with_ich_hcr_el2_traps_el1_accesses():
    machine = VirtMachine(cpus=1, max_cpus=2, virtualization=True)
    cpu = machine.cpus[0]
    assert machine.gic.sysreg_access(0, "ICC_PMR_EL1").kind == "value"
    cpu.set_context(ich_hcr_el2=1 << 10)
    assert machine.gic.sysreg_access(0, "ICC_PMR_EL1").kind == "trap"
    machine.reset()
    assert cpu.context.ich_hcr_el2 == 0
    assert machine.gic.sysreg_access(0, "ICC_PMR_EL1").kind == "value"


def test_a_context_the_gic_refuses_is_not_kept(machine):
    with pytest.raises(ConfigError, match="got 3"):
        machine.cpus[0].set_context(el=3)
    assert machine.cpus[0].context.el == 1


def test_the_embedders_engine_stays_with_the_vcpu_through_resets(machine):
    engine = object()
    cpu = machine.cpus[0]
    cpu.context.engine = engine
    machine.reset()
    assert cpu.context.engine is engine


def test_reset_keeps_plugged_vcpus_and_powers_off_all_but_the_first(machine):
    cpu = plug(machine, 5)
    for index in (1, 5):
        machine.power_on(machine.cpus[index], 0x4000_0000)
    machine.device_del("cpu5")
    order = list(machine.cpus)
    machine.reset()
    assert list(machine.cpus) == order
    assert machine.cpus[5] is cpu
    assert cpu.gicv3state == machine.gic.pe[5]
    states = {index: cpu.power_state for index, cpu in machine.cpus.items()}
    assert states == {0: PowerState.ON, 1: PowerState.OFF, 2: PowerState.OFF, 5: PowerState.OFF}
    machine.check()
    machine.complete_unplug("cpu5")


def test_reset_returns_gic_interfaces_and_timers_of_plugged_vcpus_to_their_start(machine):
    plug(machine, 5)
    before = machine.gic.state_digest()
    enable_distributor(machine)
    for index in (0, 5):
        cpu = machine.cpus[index]
        wake(machine, index)
        cpu.timer.write(TimerReg.CNTP_CTL_EL0, 1, now=9)
        cpu.set_context(nmi_enabled=True)
        assert take(machine, index) == 30
    machine.reset()
    assert machine.gic.state_digest() == before
    assert not machine.cpus[5].context.nmi_enabled
    assert machine.timers.next_deadline() is None


def test_reset_lowers_every_output_of_a_vcpu(machine):
    for output in CpuPpi:
        machine.cpus[1].set_output(output, True)
    machine.reset()
    assert machine.cpus[1].outputs == 0
    assert not any(machine.gic.ppi_line(1, output) for output in CpuPpi)


def test_reset_leaves_absent_vcpus_absent(machine):
    machine.gic.redist[6]["GICR_ISENABLER0"] = ALL
    machine.reset()
    assert not machine.gic.is_accessible(6)
    assert machine.gic.redist[6]["GICR_ISENABLER0"] == 0


def test_check_notices_what_does_not_agree(machine):
    machine.check()
    machine.gic.set_cpustate(5, None, True)
    with pytest.raises(GicError, match="slot 5 holds None"):
        machine.check()
    machine.gic.set_cpustate(5, None, False)
    machine.check()
    machine.cpus[1].wired = False
    with pytest.raises(GicError, match="not associated and wired"):
        machine.check()
    machine.cpus[1].wired = True
    machine.cpus[1].mp_affinity = 7
    with pytest.raises(GicError, match="affinity 0x7"):
        machine.check()
    machine.cpus[1].mp_affinity = 1
    machine._devices["ghost"] = Vcpu(machine, 5, 5, "ghost")
    with pytest.raises(GicError, match="'ghost'"):
        machine.check()
    del machine._devices["ghost"]
    machine.cpus[1].id = "nameless"
    with pytest.raises(GicError, match="no name"):
        machine.check()


def python_bytes(build):
    gc.collect()
    tracemalloc.start()
    try:
        kept = build()
        gc.collect()
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept is not None
    return size, peak


def test_65536_possible_vcpus_cost_next_to_no_python_memory():
    size, peak = python_bytes(lambda: VirtMachine(cpus=1, max_cpus=MAX_CPUS, redist2_capacity=MAX_CPUS))
    # An absent vCPU is no object: all that Python keeps for it is the core's reference to the vCPU to come, 8 bytes.
    # What is promised is 2 KiB a vCPU in all, 1 KiB of it in the core's own memory, which is not counted here.
    assert size <= 16 * MAX_CPUS
    assert peak <= 32 * MAX_CPUS


def test_a_plugged_vcpu_costs_less_than_1_kib_of_python_memory():
    plugged = 2048
    base, _ = python_bytes(lambda: VirtMachine(cpus=1, max_cpus=plugged, redist2_capacity=4096))
    size, _ = python_bytes(lambda: VirtMachine(cpus=plugged, redist2_capacity=4096))
    assert (size - base) / plugged < 1024


def test_the_last_of_65536_slots_can_be_plugged_and_takes_interrupts():
    machine = VirtMachine(cpus=1, topology=Topology(sockets=16, clusters=16, cores=256), redist2_capacity=MAX_CPUS)
    cpu = machine.device_add(id="last", socket_id=15, cluster_id=15, core_id=255)
    assert (cpu.cpu_index, cpu.mp_affinity) == (65_535, 0xF_FF0F)
    arm(machine, cpu)
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    assert take(machine, 65_535) == 27
    unplug(machine, "last")
    assert last_bits(VirtMachine(cpus=1, max_cpus=300)) == [122, 299]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_machine_and_its_vcpus_cannot_be_copied(machine, duplicate):
    for part in (machine, machine.cpus[1]):
        with pytest.raises(TypeError) as caught:
            duplicate(part)
        assert str(caught.value) == f"{type(part).__name__} cannot be copied or pickled"


@pytest.mark.drops_gics
def test_a_machine_and_all_it_made_can_be_collected():
    machine = VirtMachine(cpus=2, max_cpus=8, virtualization=True)
    # Callbacks that hold the machine make every cycle there can be.

    def holds(*_, held=machine):
        return held

    machine.on_cpu_line = machine.on_power = machine.on_system_reset = holds
    machine.hotplug_events.add(Notifier(holds))
    machine.cpuhp_notifiers.add(Notifier(holds))
    cpu = plug(machine, 5)
    cpu.timer.write(TimerReg.CNTP_CVAL_EL0, 1000, now=0)
    cpu.timer.write(TimerReg.CNTP_CTL_EL0, 1, now=0)
    cpu.context.engine = machine
    wake(machine, 5)
    parts = [machine, machine.gic, cpu, machine.gic.cpuhp_notifier, machine.cpuhp_notifiers, machine.timers]
    references = [weakref.ref(part) for part in parts]
    del machine, cpu, parts, holds
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)
