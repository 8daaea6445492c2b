"""Defects of the RFC's fifth version that a vCPU hotplug must not have, one test or more for each.

The numbers D1 to D23 are the project's list of them. Not here: D3, D14 and D22, which are about firmware tables and
migration streams, and D20, about an engine's translation contexts, of which this package has none.
"""

import gc
import sys

import pytest
from virt import ALL, enable_distributor, fingerprint, plug, take, unplug, wake

from gicv3 import GICv3, GICv3Config
from gicv3.association import GicCpuHotplugNotifier
from gicv3.errors import ConfigError, HotplugError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier, NotifierList
from gicv3.psci import PsciFunction, PsciResult
from gicv3.timer import TimerReg
from gicv3.topology import Topology
from gicv3.vcpu import CpuPpi, PowerState, Vcpu


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8)


def test_d01_the_el2_virtual_timer_is_wired_to_intid_28(machine):
    for cpu in (machine.cpus[0], machine.cpus[1], plug(machine, 5)):
        cpu.timer.write(TimerReg.CNTHV_CTL_EL2, 1, now=1)
        assert machine.gic.ppi_line(cpu.cpu_index, 28)


def test_d02_a_gicv2_is_refused_and_not_an_abort():
    with pytest.raises(ConfigError, match="gic_version must be 3, got 2"):
        VirtMachine(cpus=4, gic_version=2)


def test_d04_a_gic_without_this_machine_has_all_interfaces_from_the_start():
    gic = GICv3(GICv3Config(cpus=4))
    assert all(gic.is_accessible(pe) for pe in range(4))
    assert gic.cpu(3) is None
    gic.check()


def test_d05_a_notifier_never_added_can_be_removed_and_collected():
    gic = GICv3(GICv3Config(cpus=1))
    gic.cpuhp_notifier.remove()
    GicCpuHotplugNotifier(gic).remove()
    del gic
    gc.collect()


def test_d05_a_list_that_went_first_leaves_its_notifiers_usable(machine):
    members = NotifierList()
    notifier = machine.gic.cpuhp_notifier
    notifier.remove()
    members.add(notifier)
    del members
    notifier.remove()
    machine.cpuhp_notifiers.add(notifier)
    plug(machine, 5)
    machine.check()


def test_d06_affinities_that_differ_in_aff3_only_are_different_vcpus():
    machine = VirtMachine(cpus=1, affinities=[0x0, 0x1, 0x1_0000_0001, 0x1_0000_0000])
    assert [machine.gic.proc_num(affinity) for affinity in (0, 1, 0x1_0000_0001, 0x1_0000_0000)] == [0, 1, 2, 3]
    assert machine.gic.proc_num(0x2_0000_0001) == -1
    plug(machine, 2)
    assert [machine.gic.is_accessible(pe) for pe in range(4)] == [True, False, True, False]
    machine.check()


def calls_of(function):
    """Number of Python and C functions called by `function`."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_d07_a_plug_and_an_unplug_do_the_same_work_on_a_machine_of_any_size():
    work = set()
    for max_cpus, plugged in ((16, 1), (65_536, 1), (4096, 1000)):
        machine = VirtMachine(cpus=plugged, max_cpus=max_cpus, redist2_capacity=65_536)
        last = max_cpus - 1
        plug(machine, last)
        unplug(machine, f"cpu{last}")

        def cycle(machine=machine, last=last):
            machine.device_add(id="x", core_id=last)
            machine.device_del("x")
            machine.complete_unplug("x")

        work.add(calls_of(cycle))
    assert len(work) == 1


def test_d08_a_vcpu_that_matches_no_interface_is_an_error_and_changes_nothing(machine):
    before = fingerprint(machine)
    with pytest.raises(HotplugError, match="Failed to associate cpu 9 with any GIC cpuif"):
        machine.pre_plug(Vcpu(machine, 9, 0x9900))
    assert fingerprint(machine) == before


@pytest.mark.parametrize("where", ["notifier", "listener"])
def test_d09_a_plug_that_fails_after_the_gic_was_told_is_rolled_back(machine, where):
    def fail(_):
        assert machine.gic.is_accessible(5)
        raise HotplugError("realize failed")

    # State that a mere reset of the interface would lose.
    machine.gic.redist[5]["GICR_WAKER"] = 0
    machine.gic.redist[5]["GICR_ISENABLER0"] = 0xFF
    before = fingerprint(machine)
    failing = Notifier(fail)
    (machine.cpuhp_notifiers if where == "notifier" else machine.hotplug_events).add(failing)
    with pytest.raises(HotplugError, match="realize failed"):
        plug(machine, 5)
    failing.remove()
    assert fingerprint(machine) == before
    assert machine.gic.cpu(5) is None
    plug(machine, 5)
    machine.check()


def test_d10_an_unplug_that_fails_leaves_the_vcpu_working(machine):
    def fail(info):
        if not info.plugging:
            raise HotplugError("no")

    cpu = plug(machine, 5)
    enable_distributor(machine)
    wake(machine, 5)
    machine.device_del("cpu5")
    before = fingerprint(machine)
    failing = Notifier(fail)
    machine.cpuhp_notifiers.add(failing)
    with pytest.raises(HotplugError, match="no"):
        machine.complete_unplug("cpu5")
    failing.remove()
    assert fingerprint(machine) == before
    cpu.set_output(CpuPpi.PMU, True)
    assert take(machine, 5) == 23


def test_d11_an_eject_of_a_boot_or_cold_vcpu_is_refused():
    machine = VirtMachine(cpus=2, max_cpus=8, devices=[{"id": "cold", "core_id": 2}])
    for name in ("/machine/unattached/device[0]", "/machine/unattached/device[1]", "cold"):
        machine.find_cpu(name).unplug_requested = True
        with pytest.raises(HotplugError, match="not supported"):
            machine.complete_unplug(name)
    assert sorted(machine.cpus) == [0, 1, 2]


def test_d11_an_eject_that_nobody_asked_for_is_refused(machine):
    plug(machine, 5)
    with pytest.raises(HotplugError, match="unplug of cpu 5 was not requested"):
        machine.complete_unplug("cpu5")
    unplug(machine, "cpu5")
    plug(machine, 5)
    with pytest.raises(HotplugError, match="unplug of cpu 5 was not requested"):
        machine.complete_unplug("cpu5")


@pytest.mark.parametrize("state", [PowerState.ON, PowerState.ON_PENDING])
def test_d11_a_vcpu_is_stopped_before_it_is_detached(machine, state):
    cpu = plug(machine, 5)
    machine.on_power = lambda cpu, _: None
    machine.power_on(cpu, 0x4000_0000)
    if state is PowerState.ON:
        machine.powered_on(cpu)
    machine.device_del("cpu5")
    with pytest.raises(HotplugError, match=f"cpu 5 is {state.name}, and must be OFF"):
        machine.complete_unplug("cpu5")
    assert machine.gic.cpu(5) is cpu
    machine.power_off(cpu)
    machine.complete_unplug("cpu5")
    assert cpu.gicv3state is None


def test_d11_an_engine_that_still_runs_an_unplugged_vcpu_changes_nothing(machine):
    plug(machine, 5)
    wake(machine, 5)
    view = machine.gic.pe[5]
    unplug(machine, "cpu5")
    before = fingerprint(machine)
    for name in ("ICC_PMR_EL1", "ICC_IGRPEN1_EL1", "ICC_EOIR1_EL1", "ICC_SGI1R_EL1", "ICC_BPR1_EL1"):
        view[name] = 0xFF
    assert view["ICC_IAR1_EL1"] == 1023
    assert fingerprint(machine) == before


def test_d12_nothing_that_was_latched_active_or_enabled_is_inherited(machine):
    cpu = plug(machine, 5)
    enable_distributor(machine)
    wake(machine, 5)
    redist = machine.gic.redist[5]
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    redist["GICR_ISPENDR0"] = 0xFF
    redist["GICR_ISACTIVER0"] = 0xFF00
    unplug(machine, "cpu5")
    assert redist["GICR_WAKER"] == 6
    for name in ("GICR_ISPENDR0", "GICR_ISACTIVER0", "GICR_ISENABLER0", "GICR_IGROUPR0"):
        assert redist[name] == 0
    plug(machine, 5)
    wake(machine, 5)
    assert machine.cpus[5].lines == 0
    assert take(machine, 5) == 1023


def test_d12_a_plug_signals_what_waits_without_further_stimulus(machine):
    seen = []
    machine.on_cpu_line = lambda cpu, line, level: seen.append((cpu.cpu_index, line.name, level))
    gic = machine.gic
    enable_distributor(machine)
    gic.dist["GICD_IGROUPR", 1] = ALL
    gic.dist["GICD_ISENABLER", 1] = 1
    gic.dist["GICD_IROUTER", 32] = 5
    gic.set_spi(32, True)
    plug(machine, 5)
    gic.redist[5]["GICR_WAKER"] = 0
    gic.pe[5]["ICC_PMR_EL1"] = 0xFF
    gic.pe[5]["ICC_IGRPEN1_EL1"] = 1
    assert seen == [(5, "IRQ", True)]


@pytest.mark.parametrize("virtualization", [False, True])
def test_d13_a_hotplugged_vcpu_has_the_registers_of_a_cold_one(virtualization):
    machine = VirtMachine(cpus=2, max_cpus=8, virtualization=virtualization)
    cpu = plug(machine, 5)
    assert dict(cpu.sysregs) == dict(machine.cpus[1].sysregs)
    assert any("EL2" in reg.name for reg in cpu.sysregs.values()) == virtualization


def test_d15_cpu_on_tells_an_absent_vcpu_from_an_impossible_one(machine):
    caller = machine.cpus[0]

    def on(mpidr):
        return machine.psci.call(caller, PsciFunction.CPU_ON | 1 << 30, mpidr, 0x4000_0000)

    assert on(5) == PsciResult.DENIED
    for mpidr in (8, 0x100, 0x1_0000_0005, 1 << 31 | 5, 1 << 24 | 5, 1 << 40 | 5, (1 << 64) - 1):
        assert on(mpidr) == PsciResult.INVALID_PARAMETERS
    plug(machine, 5)
    assert on(5) == PsciResult.SUCCESS


def test_d15_affinity_info_of_an_absent_vcpu_is_off(machine):
    caller = machine.cpus[0]

    def info(mpidr):
        return machine.psci.call(caller, PsciFunction.AFFINITY_INFO | 1 << 30, mpidr)

    assert [info(mpidr) for mpidr in (0, 1, 5)] == [PowerState.ON, PowerState.OFF, PowerState.OFF]
    assert info(8) == info(1 << 31) == PsciResult.INVALID_PARAMETERS


def test_d16_a_slot_is_one_vcpu_whatever_the_threads():
    machine = VirtMachine(cpus=1, topology=Topology(cores=4, threads=2))
    assert {slot.vcpus_count for slot in machine.possible_cpus} == {1}
    assert len(machine.possible_cpus) == 8


def test_d17_a_forgotten_id_is_diagnosed_and_does_not_mean_0(machine):
    with pytest.raises(HotplugError, match="CPU core-id is not set, correct range 0:7"):
        machine.device_add(id="x")


def test_d17_a_negative_id_is_printed_as_it_was_given(machine):
    with pytest.raises(HotplugError, match="Invalid core-id -1 specified, correct range 0:7"):
        machine.device_add(id="x", core_id=-1)


def test_d17_an_affinity_that_is_not_the_slots_is_refused_and_not_overwritten(machine):
    with pytest.raises(HotplugError, match="invalid mp-affinity, must be 5"):
        machine.device_add(id="x", core_id=5, mp_affinity=6)
    assert machine.device_add(id="x", core_id=5, mp_affinity=5).mp_affinity == 5


def test_d18_the_boot_vcpu_has_a_refusal_of_its_own(machine):
    with pytest.raises(HotplugError) as caught:
        machine.device_del("/machine/unattached/device[0]")
    assert str(caught.value) == "Boot CPU(id0=0:0:0:0) hot-unplug not supported"


def test_d19_a_plug_stops_no_other_vcpu_and_resets_none(machine):
    states = []
    enable_distributor(machine)
    wake(machine, 0)
    machine.on_power = lambda cpu, state: states.append(state)
    running = machine.gic.save_pe(0)
    plug(machine, 5)
    unplug(machine, "cpu5")
    assert states == []
    assert machine.cpus[0].power_state is PowerState.ON
    assert machine.gic.save_pe(0) == running


@pytest.mark.parametrize("pmu", [True, False])
def test_d21_a_vcpu_that_differs_from_the_boot_vcpu_is_refused(pmu):
    machine = VirtMachine(cpus=1, max_cpus=8, pmu=pmu)
    before = fingerprint(machine)
    with pytest.raises(HotplugError, match="CPU 5: 'pmu' feature didn't match with existing CPUs"):
        machine.device_add(id="x", core_id=5, pmu=not pmu)
    assert fingerprint(machine) == before
    machine.device_add(id="x", core_id=5, pmu=pmu)


def test_d23_a_machine_without_hotplug_has_no_registers_for_it():
    assert "CPUHP_ACPI" in VirtMachine(cpus=2).memory_map
    assert "CPUHP_ACPI" not in VirtMachine(cpus=2, hotplug=False).memory_map
    assert "CPUHP_ACPI" not in VirtMachine(cpus=2, acpi=False).memory_map


