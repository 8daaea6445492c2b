"""Plugging and unplugging vCPUs: what happens, in which order, what is refused, and that a failure changes nothing."""

import gc
import weakref
from enum import Enum

import numpy
import pytest
from virt import ALL, enable_distributor, fingerprint, plug, refuse, take, unplug, wake

from gicv3.association import CPUHotplugInfo
from gicv3.errors import ConfigError, HotplugError
from gicv3.hotplug import DeviceNotFoundError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugEvent, HotplugStage
from gicv3.timer import TimerReg
from gicv3.topology import Topology
from gicv3.vcpu import CpuPpi, PowerState


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=8)


def test_boot_vcpus_are_associated_and_absent_ones_have_no_interface(machine):
    for pe in range(8):
        assert machine.gic.is_accessible(pe) == (pe < 2)
        assert machine.gic.cpu(pe) is machine.cpus.get(pe)
    assert machine.boot_cpus == 2
    assert [cpu.power_state for cpu in machine.cpus.values()] == [PowerState.ON, PowerState.OFF]
    assert not any(cpu.hotplugged for cpu in machine.cpus.values())


def test_the_gics_notifier_is_on_the_list_only_where_vcpus_are_hotpluggable():
    assert list(VirtMachine(cpus=2).cpuhp_notifiers) != []
    for options in ({"hotplug": False}, {"acpi": False}):
        machine = VirtMachine(cpus=2, **options)
        assert len(machine.cpuhp_notifiers) == 0
        assert not machine.has_hotpluggable_cpus


def test_a_device_from_the_start_is_a_cold_vcpu_of_which_no_event_tells():
    machine = VirtMachine(cpus=1, max_cpus=4, devices=[{"id": "extra", "core_id": 2}, {"core_id": 3}])
    assert sorted(machine.cpus) == [0, 2, 3]
    cpu = machine.cpus[2]
    assert machine.gic.is_accessible(2)
    assert not cpu.hotplugged
    assert cpu.power_state is PowerState.OFF
    assert machine.boot_cpus == 3
    assert machine.cpus[3].qom_path == "/machine/peripheral-anon/device[0]"
    refuse(machine, lambda: machine.device_del("extra"), "Hot-unplug of cold-booted CPU not supported!")
    machine.check()


def test_plug_makes_exactly_one_interface_accessible_and_touches_no_other_pe(machine):
    wake(machine, 0)
    before = [machine.gic.save_pe(pe) for pe in range(8)]
    cpu = plug(machine, 4)
    after = [machine.gic.save_pe(pe) for pe in range(8)]
    assert [pe for pe in range(8) if machine.gic.is_accessible(pe)] == [0, 1, 4]
    assert [pe for pe in range(8) if before[pe] != after[pe]] == [4]
    assert machine.gic.cpu(4) is cpu
    assert cpu.gicv3state == machine.gic.pe[4]
    assert machine.possible_cpus[4].cpu is cpu
    assert cpu.hotplugged
    assert cpu.power_state is PowerState.OFF


def test_plug_gives_the_registers_of_a_cold_vcpu_all_reset(machine):
    plug(machine, 4)
    unplugged_context = machine.cpus[4]
    wake(machine, 4)
    machine.gic.pe[4]["ICC_BPR1_EL1"] = 7
    unplug(machine, "cpu4")
    cpu = plug(machine, 4)
    cold = machine.cpus[1]
    assert cpu is not unplugged_context
    assert set(cpu.sysregs) == set(cold.sysregs)
    for name in ("ICC_PMR_EL1", "ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL1", "ICC_AP0R0_EL1", "ICC_AP1R0_EL1"):
        assert machine.gic.pe[4][name] == 0
    for name in ("ICC_BPR0_EL1", "ICC_BPR1_EL1", "ICC_CTLR_EL1", "ICC_SRE_EL1", "ICC_RPR_EL1"):
        assert machine.gic.pe[4][name] == machine.gic.pe[1][name]


def test_pre_plug_tells_the_gic_before_the_lines_are_wired_and_the_slot_is_taken(machine):
    seen = []

    def look(info):
        cpu = info.cpu
        seen.append((info.plugging, cpu.gicv3state is not None, cpu.wired, cpu.cpu_index in machine.cpus))

    machine.cpuhp_notifiers.add(Notifier(look))
    plug(machine, 4)
    assert seen == [(True, True, False, False)]


def test_a_notifier_receives_gic_vcpu_and_direction(machine):
    told = []
    machine.cpuhp_notifiers.add(Notifier(told.append))
    cpu = plug(machine, 4)
    unplug(machine, "cpu4")
    assert told == [CPUHotplugInfo(machine.gic, cpu, True), CPUHotplugInfo(machine.gic, cpu, False)]


def test_a_vcpu_without_a_name_is_found_by_its_path(machine):
    first, second = machine.device_add(core_id=4), machine.device_add(core_id=5)
    assert first.qom_path == "/machine/peripheral-anon/device[0]"
    assert second.qom_path == "/machine/peripheral-anon/device[1]"
    unplug(machine, first.qom_path)
    assert 4 not in machine.cpus
    assert machine.find_cpu(second.qom_path) is second


def test_paths_find_boot_and_named_vcpus(machine):
    cpu = plug(machine, 4)
    assert cpu.qom_path == "/machine/peripheral/cpu4"
    assert machine.find_cpu("/machine/peripheral/cpu4") is machine.find_cpu("cpu4") is cpu
    assert machine.find_cpu("/machine/unattached/device[1]") is machine.cpus[1]
    for path in (
        "/machine/unattached/device[01]",
        "/machine/unattached/device[4]",
        "/machine/unattached/device[7]",
        "/machine/peripheral/",
        "/machine/peripheral//machine/peripheral/cpu4",
        "",
    ):
        with pytest.raises(DeviceNotFoundError):
            machine.find_cpu(path)


def test_vcpus_are_listed_in_the_order_of_their_last_plug(machine):
    plug(machine, 5)
    plug(machine, 4)
    assert list(machine.cpus) == [0, 1, 5, 4]
    unplug(machine, "cpu5")
    plug(machine, 5)
    assert list(machine.cpus) == [0, 1, 4, 5]


def test_boot_cpus_follows_every_operation_and_no_refusal(machine):
    counts = [machine.boot_cpus]
    plug(machine, 4)
    counts.append(machine.boot_cpus)
    with pytest.raises(HotplugError):
        plug(machine, 4, "other")
    counts.append(machine.boot_cpus)
    machine.device_del("cpu4")
    counts.append(machine.boot_cpus)
    machine.complete_unplug("cpu4")
    counts.append(machine.boot_cpus)
    assert counts == [2, 3, 3, 3, 2]


def test_a_slot_is_replugged_under_another_name_and_a_name_in_another_slot(machine):
    old = plug(machine, 4, "a")
    unplug(machine, "a")
    new = plug(machine, 4, "b")
    assert new is not old
    assert plug(machine, 5, "a").cpu_index == 5
    machine.check()


def test_typer_of_every_slot_stays_the_same_through_plug_unplug_and_reset(machine):
    def typers():
        return [machine.gic.redist[pe]["GICR_TYPER"] for pe in range(8)]

    before = typers()
    assert [typer >> 8 & 0xFFFF for typer in before] == list(range(8))
    assert [typer >> 32 for typer in before] == list(range(8))
    plug(machine, 4)
    assert typers() == before
    unplug(machine, "cpu4")
    machine.reset()
    assert typers() == before


def test_device_add_refusals_in_their_order(machine):
    add = machine.device_add
    plug(machine, 4, "taken")
    bad_place = {"core_id": 99}
    machine.migrating = True
    refuse(
        machine,
        lambda: add("nonsense", id="taken", colour=1, **bad_place),
        "'nonsense' is not a valid device model name",
    )
    refuse(machine, lambda: add("pl011", id="taken"), "Parameter 'driver' expects a pluggable device type")
    refuse(machine, lambda: add(id="taken", colour=1, **bad_place), "device_add not allowed while migrating")
    machine.migrating = False
    refuse(machine, lambda: add("max-arm-cpu", id="taken", colour=1, **bad_place), "Duplicate device ID 'taken'")
    refuse(
        machine,
        lambda: add("max-arm-cpu", id="new", my_colour=1, **bad_place),
        "Property 'max-arm-cpu.my-colour' not found",
    )
    refuse(
        machine,
        lambda: add("max-arm-cpu", id="new", **bad_place),
        "Invalid CPU type, expected cpu type: 'cortex-a57-arm-cpu'",
    )
    refuse(machine, lambda: add(id="new", **bad_place), "Invalid core-id 99 specified, correct range 0:7")
    refuse(machine, lambda: add(id="new", core_id=4, pmu=False), "cpu(id4=0:0:4:0) with arch-id 4 exist")
    refuse(machine, lambda: add(id="new", core_id=5, node_id=1), "invalid node-id, must be 0")


@pytest.mark.parametrize("name", ["", "4cpu", "a b", "a/b", "_a", "é", 5, ["a"], b"a"])
def test_a_name_is_an_identifier(machine, name):
    text = f"Parameter 'id' expects an identifier, got {name!r}"
    refuse(machine, lambda: machine.device_add(id=name, core_id=4), text)


@pytest.mark.parametrize("driver", [5, ["cortex-a57-arm-cpu"]])
def test_a_driver_is_a_string(machine, driver):
    text = f"Parameter 'driver' expects a string, got {driver!r}"
    refuse(machine, lambda: machine.device_add(driver, core_id=4), text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1 << 63) - 1, "Invalid core-id 9223372036854775807 specified, correct range 0:7"),
        (1 << 63, "Parameter 'core-id' expects a 64-bit number, got 0x8000000000000000"),
        (1 << 20_000, f"Parameter 'core-id' expects a 64-bit number, got {1 << 20_000:#x}"),
        (hex(1 << 127), f"Parameter 'core-id' expects a 64-bit number, got {1 << 127:#x}"),
        (hex(1 << 128), f"Parameter 'core-id' expects a number, got '{1 << 128:#x}'"),
        ("9" * 5000, f"Parameter 'core-id' expects a number, got '{'9' * 5000}'"),
    ],
    ids=["last", "first-too-large", "large", "long-text", "too-long-text", "larger-than-python-reads"],
)
def test_an_id_of_any_size_is_answered(machine, value, text):
    refuse(machine, lambda: machine.device_add(core_id=value), text)


@pytest.mark.parametrize("name", [None, 5, ["cpu4"]])
@pytest.mark.parametrize("call", ["device_del", "reject_unplug", "complete_unplug"])
def test_a_vcpu_is_named_by_a_string(machine, call, name):
    refuse(machine, lambda: getattr(machine, call)(name), f"a vCPU is named by a string, got {name!r}")


@pytest.mark.parametrize("digits", ["00", "8", "65536", "9" * 5000])
def test_a_path_with_another_number_is_not_found(machine, digits):
    path = f"/machine/unattached/device[{digits}]"
    refuse(machine, lambda: machine.device_del(path), f"Device '{path}' not found", DeviceNotFoundError)


@pytest.mark.parametrize(("status", "fits"), [(0, False), (1, True), ((1 << 32) - 1, True), (1 << 32, False)])
def test_the_status_of_a_refusal_is_1_to_32_bits(machine, status, fits):
    plug(machine, 4)
    machine.device_del("cpu4")
    if fits:
        machine.reject_unplug("cpu4", status)
        assert not machine.cpus[4].unplug_requested
    else:
        before = fingerprint(machine)
        with pytest.raises(ConfigError) as caught:
            machine.reject_unplug("cpu4", status)
        assert str(caught.value) == f"status must be in 1..4294967295, got {status}"
        assert fingerprint(machine) == before


def test_a_name_may_have_digits_and_punctuation_after_its_first_letter(machine):
    assert machine.device_add(id="a-b.c_9", core_id=4).id == "a-b.c_9"


def test_properties_that_are_what_the_slot_has_are_accepted(machine):
    machine.device_add("cortex-a57-arm-cpu", id="a", core_id="4", mp_affinity=4, node_id=0, pmu=True)
    assert 4 in machine.cpus


def test_a_machine_without_acpi_refuses_by_the_missing_ged_and_has_no_spare_slots():
    with pytest.warns(RuntimeWarning, match="cpu hotplug feature has been disabled"):
        machine = VirtMachine(cpus=2, max_cpus=8, acpi=False)
    assert len(machine.possible_cpus) == machine.gic.num_pe == 2
    refuse(machine, lambda: plug(machine, 4), "GED acpi device does not exists")
    refuse(
        machine,
        lambda: machine.device_del("/machine/unattached/device[1]"),
        "GED does not exists or device is not realized!",
    )


def test_a_machine_without_hotplug_refuses_and_has_no_spare_slots():
    with pytest.warns(RuntimeWarning, match="cpu hotplug feature has been disabled"):
        machine = VirtMachine(cpus=2, max_cpus=8, hotplug=False, affinities=[7, 6, 5, 4, 3, 2, 1, 0])
    assert len(machine.possible_cpus) == machine.gic.num_pe == 2
    assert [slot.arch_id for slot in machine.possible_cpus] == [7, 6]
    refuse(machine, lambda: plug(machine, 4), "CPU hotplug not supported on this machine")
    refuse(
        machine,
        lambda: machine.device_del("/machine/unattached/device[1]"),
        "CPU hot(un)plug not supported on this machine",
    )


def test_device_del_refusals_in_their_order(machine):
    plug(machine, 4)
    machine.migrating = True
    refuse(machine, lambda: machine.device_del("x"), "Device 'x' not found", DeviceNotFoundError)
    refuse(machine, lambda: machine.device_del("cpu4"), "device_del not allowed while migrating")
    machine.migrating = False
    refuse(
        machine,
        lambda: machine.device_del("/machine/unattached/device[0]"),
        "Boot CPU(id0=0:0:0:0) hot-unplug not supported",
    )
    refuse(
        machine,
        lambda: machine.device_del("/machine/unattached/device[1]"),
        "Hot-unplug of cold-booted CPU not supported!",
    )


@pytest.mark.parametrize("index", [0, 1])
def test_an_eject_of_a_boot_vcpu_is_refused_too(machine, index):
    name = f"/machine/unattached/device[{index}]"
    with pytest.raises(HotplugError, match="not supported"):
        machine.complete_unplug(name)
    assert index in machine.cpus


def test_device_del_only_asks_and_may_be_repeated(machine):
    stages = []
    machine.hotplug_events.add(Notifier(lambda event: stages.append(event.stage)))
    cpu = plug(machine, 4)
    before = machine.gic.save_pe(4)
    machine.device_del("cpu4")
    machine.device_del("cpu4")
    assert machine.cpus[4] is cpu
    assert machine.gic.save_pe(4) == before
    assert stages == [HotplugStage.PLUG, HotplugStage.UNPLUG_REQUEST, HotplugStage.UNPLUG_REQUEST]
    machine.complete_unplug("cpu4")
    assert 4 not in machine.cpus


def test_a_guest_that_declines_keeps_the_vcpu_and_can_be_asked_again(machine):
    events = []
    machine.hotplug_events.add(Notifier(events.append))
    cpu = plug(machine, 4)
    machine.device_del("cpu4")
    machine.reject_unplug("cpu4", status=0x82)
    assert events[-1] == HotplugEvent(HotplugStage.UNPLUG_REJECTED, cpu, 0x82)
    assert machine.cpus[4] is cpu
    refuse(machine, lambda: machine.reject_unplug("cpu4"), "unplug of cpu 4 was not requested")
    refuse(machine, lambda: machine.complete_unplug("cpu4"), "unplug of cpu 4 was not requested")
    unplug(machine, "cpu4")
    assert 4 not in machine.cpus


def test_an_eject_is_seen_in_order(machine):
    """The guest's tables first, then the wires, then the interface, then the slot; DELETED last."""
    cpu = plug(machine, 4)
    cpu.set_output(CpuPpi.TIMER_VIRT, True)
    seen = []

    def state():
        return (
            cpu.wired,
            machine.gic.ppi_line(4, 27),
            machine.gic.is_accessible(4),
            4 in machine.cpus,
        )

    machine.hotplug_events.add(Notifier(lambda event: seen.append((event.stage.name, *state()))))
    machine.cpuhp_notifiers.init()
    for notifier in (
        Notifier(lambda info: seen.append(("after GIC", *state()))),
        machine.gic.cpuhp_notifier,
        Notifier(lambda info: seen.append(("before GIC", *state()))),
    ):
        machine.cpuhp_notifiers.add(notifier)
    unplug(machine, "cpu4")
    assert seen == [
        ("UNPLUG_REQUEST", True, True, True, True),
        ("UNPLUG", True, True, True, True),
        ("before GIC", False, False, True, True),
        ("after GIC", False, False, False, True),
        ("DELETED", False, False, False, False),
    ]


def test_unplug_leaves_all_other_pes_bit_identical(machine):
    for core in (4, 5):
        plug(machine, core)
    enable_distributor(machine)
    for pe in (0, 1, 4, 5):
        wake(machine, pe)
        machine.gic.set_ppi(pe, 27, True)
    others = [pe for pe in range(8) if pe != 4]
    before = [machine.gic.save_pe(pe) for pe in others]
    unplug(machine, "cpu4")
    assert [machine.gic.save_pe(pe) for pe in others] == before


def test_unplug_returns_the_pe_to_the_state_of_one_never_plugged(machine):
    fresh = VirtMachine(cpus=2, max_cpus=8)
    cpu = plug(machine, 4)
    wake(machine, 4)
    machine.gic.redist[4]["GICR_IPRIORITYR", 3] = 0x80808080
    machine.gic.redist[4]["GICR_ISPENDR0"] = 0xFF
    cpu.set_context(el=0, hcr_el2=1 << 34, nmi_enabled=True)
    cpu.set_output(CpuPpi.PMU, True)
    cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
    unplug(machine, "cpu4")
    assert machine.gic.state_digest() == fresh.gic.state_digest()
    assert machine.gic.redist[4]["GICR_WAKER"] == 6
    assert cpu.gicv3state is None
    assert cpu.sysregs is None
    assert cpu.lines == 0


def test_a_vcpu_is_freed_by_its_unplug_without_the_garbage_collector(machine):
    gc.disable()
    try:
        cpu = plug(machine, 4)
        wake(machine, 4)
        cpu.timer.write(TimerReg.CNTV_CVAL_EL0, 10**9, 0)
        cpu.timer.write(TimerReg.CNTV_CTL_EL0, 1, 0)
        cpu.context.engine = object()
        gone = weakref.ref(cpu)
        del cpu
        unplug(machine, "cpu4")
        assert gone() is None
    finally:
        gc.enable()


def test_a_deleted_listener_that_raises_is_heard_but_the_vcpu_is_gone(machine):
    def fail(event):
        if event.stage is HotplugStage.DELETED:
            raise ValueError("late")

    plug(machine, 4)
    machine.hotplug_events.add(Notifier(fail))
    machine.device_del("cpu4")
    with pytest.raises(ValueError, match="late"):
        machine.complete_unplug("cpu4")
    assert 4 not in machine.cpus
    machine.check()


def test_a_listener_may_plug_again_when_told_deleted(machine):
    def replace(event):
        if event.stage is HotplugStage.DELETED:
            plug(machine, 4, "successor")

    plug(machine, 4)
    machine.hotplug_events.add(Notifier(replace))
    unplug(machine, "cpu4")
    assert machine.cpus[4].id == "successor"


def test_an_sgi_to_an_absent_vcpu_is_dropped_and_counted(machine):
    enable_distributor(machine)
    wake(machine, 0)
    dropped = machine.gic.totals()["sgi_dropped"]
    machine.gic.pe[0]["ICC_SGI1R_EL1"] = 5 << 24 | 1 << 4
    assert machine.gic.totals()["sgi_dropped"] == dropped + 1
    assert machine.gic.redist[4]["GICR_ISPENDR0"] == 0
    plug(machine, 4)
    wake(machine, 4)
    assert machine.cpus[4].lines == 0


def test_an_sgi_to_all_reaches_plugged_vcpus_but_not_the_sender_nor_absent_ones(machine):
    plug(machine, 4)
    enable_distributor(machine)
    for pe in (0, 1, 4):
        wake(machine, pe)
    machine.gic.pe[0]["ICC_SGI1R_EL1"] = 5 << 24 | 1 << 40
    assert [take(machine, pe) for pe in (0, 1, 4)] == [1023, 5, 5]
    assert [machine.gic.redist[pe]["GICR_ISPENDR0"] for pe in (2, 3, 5, 6, 7)] == [0] * 5


def test_an_spi_for_an_absent_vcpu_stays_pending_and_comes_when_it_is_plugged(machine):
    enable_distributor(machine)
    gic = machine.gic
    gic.dist["GICD_IGROUPR", 1] = ALL
    gic.dist["GICD_ISENABLER", 1] = 1 << 8
    gic.dist["GICD_IROUTER", 40] = 4
    gic.set_spi(40, True)
    assert gic.dist["GICD_ISPENDR", 1] == 1 << 8
    cpu = plug(machine, 4)
    wake(machine, 4)
    assert cpu.lines == 1
    gic.set_spi(40, False)
    gic.set_spi(40, True)
    assert take(machine, 4) == 40
    gic.set_spi(40, False)


def test_an_spi_active_on_a_leaving_vcpu_stays_active_in_the_distributor(machine):
    enable_distributor(machine)
    gic = machine.gic
    plug(machine, 4)
    wake(machine, 4)
    gic.dist["GICD_IGROUPR", 1] = ALL
    gic.dist["GICD_ISENABLER", 1] = 1 << 8
    gic.dist["GICD_IROUTER", 40] = 4
    gic.set_spi(40, True)
    assert gic.pe[4]["ICC_IAR1_EL1"] == 40
    unplug(machine, "cpu4")
    assert gic.dist["GICD_ISACTIVER", 1] == 1 << 8
    plug(machine, 4)
    wake(machine, 4)
    assert machine.cpus[4].lines == 0
    gic.dist["GICD_ICACTIVER", 1] = 1 << 8
    assert machine.cpus[4].lines == 1


def test_the_redistributor_of_an_absent_vcpu_reads_and_writes_as_always_on(machine):
    redist = machine.gic.redist[6]
    redist["GICR_WAKER"] = 0
    redist["GICR_IGROUPR0"] = 0xAAAA
    redist["GICR_ISENABLER0"] = 0xFF00
    assert redist["GICR_WAKER"] == 0
    assert redist["GICR_IGROUPR0"] == 0xAAAA
    assert redist["GICR_ISENABLER0"] == 0xFF00
    plug(machine, 6)
    assert redist["GICR_IGROUPR0"] == 0xAAAA


def test_the_cpu_interface_of_an_absent_vcpu_reads_zero_and_ignores_writes(machine):
    view = machine.gic.pe[6]
    view["ICC_PMR_EL1"] = 0xF0
    assert view["ICC_PMR_EL1"] == 0
    plug(machine, 6)
    assert view["ICC_PMR_EL1"] == 0


def test_a_vcpu_is_found_by_all_four_levels_of_its_affinity():
    affinities = [0x0, 0x1, 0x100, 0x1_0000, 0x1_0000_0000, 0xFF_00FF_FFFF]
    machine = VirtMachine(cpus=1, affinities=affinities)
    for core in range(1, 6):
        cpu = plug(machine, core)
        assert cpu.mp_affinity == affinities[core]
        assert machine.gic.cpu(core) is cpu
    machine.check()


def test_topology_names_the_slot():
    machine = VirtMachine(cpus=1, topology=Topology(sockets=2, clusters=2, cores=2, threads=2))
    cpu = machine.device_add(id="x", socket_id=1, cluster_id=0, core_id=1, thread_id=1)
    assert cpu.cpu_index == 11
    assert cpu.props == (1, 0, 1, 1)
    refuse(
        machine,
        lambda: machine.device_add(socket_id=1, cluster_id=0, core_id=1, thread_id=1),
        "cpu(id11=1:0:1:1) with arch-id 11 exist",
    )


class Name(str, Enum):  # noqa: UP042 - no StrEnum
    """Strings whose hash and format are not those of their text."""

    FOUR = "cpu4"


@pytest.mark.parametrize("number", [numpy.int64(4), numpy.uint8(4), numpy.str_("4")])
def test_names_and_numbers_of_any_type_are_plain_ones(number):
    machine = VirtMachine(cpus=1, max_cpus=8)
    cpu = machine.device_add(id=Name.FOUR, core_id=number)
    assert (type(cpu.id), cpu.id, type(cpu.cpu_index), cpu.cpu_index) == (str, "cpu4", int, 4)
    assert cpu.qom_path == "/machine/peripheral/cpu4"
    assert machine.find_cpu("cpu4") is machine.find_cpu(Name.FOUR) is cpu
    with pytest.raises(HotplugError, match="Duplicate device ID 'cpu4'"):
        machine.device_add(id=Name.FOUR, core_id=5)
    again = VirtMachine.restore(machine.save())
    assert again.save() == machine.save()
    for one in (machine, again):
        one.device_del(Name.FOUR)
        one.complete_unplug(Name.FOUR)
        assert 4 not in one.cpus


@pytest.mark.parametrize("number", [numpy.float64(4), numpy.bool_(True), numpy.array([4, 5])])
def test_what_is_no_number_names_no_slot(number):
    with pytest.raises(HotplugError, match="Parameter 'core-id' expects a number, got"):
        VirtMachine(cpus=1, max_cpus=8).device_add(id="x", core_id=number)
