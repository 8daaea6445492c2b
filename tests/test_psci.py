"""PSCI: what a guest gets for each call, and which vCPUs run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virt import enable_distributor, plug, unplug, wake

from gicv3.errors import GicError
from gicv3.machine import VirtMachine
from gicv3.psci import PsciFunction, PsciResult
from gicv3.timer import TimerReg
from gicv3.vcpu import PowerState

SMC64 = 0x4000_0000
ENTRY = 0x4020_0000


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=20)


def call(machine, function, x1=0, x2=0, x3=0, cpu=0):
    return machine.psci.call(machine.cpus[cpu], function, x1, x2, x3)


def test_version_is_1_1(machine):
    assert call(machine, PsciFunction.VERSION) == 0x1_0001


@pytest.mark.parametrize("form", [0, SMC64])
def test_cpu_on_starts_a_vcpu_that_is_off(machine, form):
    assert call(machine, PsciFunction.CPU_ON | form, 1, ENTRY, 0xABC) == PsciResult.SUCCESS
    cpu = machine.cpus[1]
    assert cpu.power_state is PowerState.ON
    assert (cpu.context.pc, cpu.context.x0) == (ENTRY, 0xABC)


def test_an_smc32_call_uses_32_bits_of_its_arguments_and_an_smc64_call_64(machine):
    assert call(machine, PsciFunction.CPU_ON, 5 << 32 | 1, 5 << 32 | ENTRY, 5 << 32 | 7) == 0
    assert (machine.cpus[1].context.pc, machine.cpus[1].context.x0) == (ENTRY, 7)
    machine.power_off(machine.cpus[1])
    assert call(machine, PsciFunction.CPU_ON | SMC64, 5 << 32 | 1, ENTRY) == PsciResult.INVALID_PARAMETERS
    assert call(machine, PsciFunction.CPU_ON | SMC64, 1, 1 << 40 | ENTRY, 1 << 40) == 0
    assert (machine.cpus[1].context.pc, machine.cpus[1].context.x0) == (1 << 40 | ENTRY, 1 << 40)


def test_cpu_on_of_a_running_vcpu_is_already_on(machine):
    assert call(machine, PsciFunction.CPU_ON, 0, ENTRY) == PsciResult.ALREADY_ON


def test_cpu_on_of_a_starting_vcpu_is_pending_until_the_engine_runs_it(machine):
    started = []
    machine.on_power = lambda cpu, state: started.append((cpu.cpu_index, state))
    assert call(machine, PsciFunction.CPU_ON, 1, ENTRY) == PsciResult.SUCCESS
    assert call(machine, PsciFunction.CPU_ON, 1, ENTRY) == PsciResult.ON_PENDING
    assert call(machine, PsciFunction.AFFINITY_INFO, 1) == 2
    machine.powered_on(machine.cpus[1])
    assert call(machine, PsciFunction.CPU_ON, 1, ENTRY) == PsciResult.ALREADY_ON
    assert call(machine, PsciFunction.AFFINITY_INFO, 1) == 0
    assert started == [(1, PowerState.ON_PENDING)]


def test_a_vcpu_that_the_engine_cannot_start_stays_off(machine):
    def fail(cpu, state):
        raise RuntimeError("no engine")

    machine.on_power = fail
    with pytest.raises(RuntimeError, match="no engine"):
        call(machine, PsciFunction.CPU_ON, 1, ENTRY)
    assert machine.cpus[1].power_state is PowerState.OFF


def test_cpu_on_wants_an_aligned_entry(machine):
    for entry in (ENTRY + 1, ENTRY + 2, ENTRY + 3):
        assert call(machine, PsciFunction.CPU_ON, 1, entry) == PsciResult.INVALID_ADDRESS
    assert machine.cpus[1].power_state is PowerState.OFF


def test_cpu_on_resets_the_interface_and_timers_of_the_target_only(machine):
    enable_distributor(machine)
    wake(machine, 0)
    wake(machine, 1)
    target = machine.cpus[1]
    target.timer.write(TimerReg.CNTV_CTL_EL0, 1, 5)
    boot = machine.gic.save_pe(0)
    call(machine, PsciFunction.CPU_ON, 1, ENTRY)
    assert machine.gic.pe[1]["ICC_PMR_EL1"] == machine.gic.pe[1]["ICC_IGRPEN1_EL1"] == 0
    assert machine.gic.redist[1]["GICR_WAKER"] == 0
    assert not machine.gic.ppi_line(1, 27)
    assert machine.gic.save_pe(0) == boot


def test_cpu_off_stops_the_caller(machine):
    states = []
    machine.on_power = lambda cpu, state: states.append((cpu.cpu_index, state))
    assert call(machine, PsciFunction.CPU_OFF) == PsciResult.SUCCESS
    assert machine.cpus[0].power_state is PowerState.OFF
    assert states == [(0, PowerState.OFF)]
    call(machine, PsciFunction.CPU_OFF)
    assert len(states) == 1


def test_a_vcpu_starts_again_after_cpu_off(machine):
    call(machine, PsciFunction.CPU_ON, 1, ENTRY)
    call(machine, PsciFunction.CPU_OFF, cpu=1)
    assert call(machine, PsciFunction.AFFINITY_INFO, 1) == 1
    assert call(machine, PsciFunction.CPU_ON, 1, ENTRY + 4) == PsciResult.SUCCESS
    assert machine.cpus[1].context.pc == ENTRY + 4


def test_a_vcpu_can_be_started_once_it_is_plugged(machine):
    assert call(machine, PsciFunction.CPU_ON, 0x102, ENTRY) == PsciResult.DENIED
    plug(machine, 18)
    assert call(machine, PsciFunction.CPU_ON, 0x102, ENTRY) == PsciResult.SUCCESS
    call(machine, PsciFunction.CPU_OFF, cpu=18)
    unplug(machine, "cpu18")
    assert call(machine, PsciFunction.CPU_ON, 0x102, ENTRY) == PsciResult.DENIED


def test_affinity_info_of_levels_above_0_is_on_and_above_3_invalid(machine):
    assert [call(machine, PsciFunction.AFFINITY_INFO, 0, level) for level in range(5)] == [0, 0, 0, 0, -2]


def test_system_off_tells_the_embedder(machine):
    told = []
    machine.on_system_off = lambda: told.append(True)
    assert call(machine, PsciFunction.SYSTEM_OFF) == PsciResult.SUCCESS
    assert told == [True]
    machine.on_system_off = None
    assert call(machine, PsciFunction.SYSTEM_OFF) == PsciResult.SUCCESS


def test_system_reset_resets_the_machine(machine):
    told = []
    machine.on_system_reset = lambda: told.append([cpu.power_state for cpu in machine.cpus.values()])
    call(machine, PsciFunction.CPU_ON, 1, ENTRY)
    wake(machine, 1)
    assert call(machine, PsciFunction.SYSTEM_RESET, cpu=1) == PsciResult.SUCCESS
    assert told == [[PowerState.ON, PowerState.OFF]]
    assert machine.gic.redist[1]["GICR_WAKER"] == 6


@pytest.mark.parametrize("function", PsciFunction)
def test_features_knows_every_function_in_the_forms_it_has(machine, function):
    wide = function in (PsciFunction.CPU_ON, PsciFunction.AFFINITY_INFO)
    assert call(machine, PsciFunction.FEATURES, function) == PsciResult.SUCCESS
    assert call(machine, PsciFunction.FEATURES, function | SMC64) == (0 if wide else -1)


@pytest.mark.parametrize("function", [0x8400_0001, 0x8400_0005, 0x8400_000B, 0xC400_0002, 0, 0xFFFF_FFFF])
def test_other_functions_are_not_supported(machine, function):
    assert call(machine, function) == PsciResult.NOT_SUPPORTED
    assert call(machine, PsciFunction.FEATURES, function) == PsciResult.NOT_SUPPORTED


def test_the_function_identifier_is_32_bits(machine):
    assert call(machine, 7 << 32 | PsciFunction.VERSION) == 0x1_0001


def test_only_a_plugged_vcpu_that_is_off_is_powered_on(machine):
    gone = plug(machine, 4)
    unplug(machine, "cpu4")
    for cpu in (gone, machine.cpus[0]):
        with pytest.raises(GicError, match=f"cpu {cpu.cpu_index} must be plugged and OFF"):
            machine.power_on(cpu, ENTRY)
    machine.powered_on(gone)
    assert gone.power_state is PowerState.OFF


word = st.integers(0, 2**64 - 1)
function_ids = st.sampled_from([int(function) for function in PsciFunction]).flatmap(
    lambda function: st.sampled_from([function, function | SMC64])
)


@given(st.lists(st.tuples(function_ids | word, st.integers(0, 0x104) | word, word, word), max_size=20))
def test_no_call_of_a_guest_raises_or_breaks_the_machine(calls):
    machine = VirtMachine(cpus=2, max_cpus=20)
    for function, *arguments in calls:
        result = machine.psci.call(machine.cpus[1], function, *arguments)
        assert -5 <= result <= 2 or result == 0x1_0001
    machine.check()
