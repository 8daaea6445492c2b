"""An embedder's mistakes: refused at the door, by the parameter's name, whatever their type."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import gicv3
from gicv3 import (
    ConfigError,
    GICv3,
    GICv3Config,
    HotplugPolicy,
    Notifier,
    RegisterError,
    SnapshotError,
    Topology,
    VirtMachine,
)
from gicv3.kvm import export_state, import_state
from gicv3.stress import StressConfig
from gicv3.timer import TimerReg
from gicv3.trace import Tracer

SWITCHES = ("security", "el2", "message_spis", "nmi", "range_selector", "statusr", "one_of_n", "lpi_invalidate", "aff3",
            "strict")
MACHINE_SWITCHES = ("highmem_redists", "acpi", "hotplug", "virtualization", "pmu", "its")


@pytest.fixture(scope="module")
def machine() -> VirtMachine:
    return VirtMachine(cpus=2, max_cpus=4)


@pytest.mark.parametrize(
    "options",
    [
        *({"cpus": 2} | {name: value} for name in SWITCHES for value in (0, 1, numpy.True_, numpy.int64(0))),
        {"cpus": numpy.int64(2), "spis": numpy.uint16(64), "its_entry_sizes": numpy.array([8, 16, 32])},
        {"affinities": numpy.arange(3), "its": numpy.int8(1), "lpis": True, "its_bases": numpy.array([0x900_0000])},
        {"cpus": True, "tie": numpy.str_("highest"), "pidr": numpy.zeros((3, 8), int)},
        {"cpus": 2, "redist_regions": numpy.array([[0x900_0000, 1], [0xA00_0000, 1]])},
        {"cpus": 2, "message_spis": 1, "message_frame": numpy.int64(0x900_0000)},
    ],
)
def test_whatever_a_configuration_accepts_is_saved_and_restored(options: dict[str, Any]) -> None:
    gic = GICv3(GICv3Config(**options))
    again = GICv3.restore(gic.save())
    assert again.config == gic.config
    assert again.save() == gic.save()


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name in MACHINE_SWITCHES for value in (1, numpy.False_)),
        {"max_cpus": numpy.int64(4), "ram_size": numpy.int64(1 << 27), "frequency": numpy.uint32(1000)},
        {"max_cpus": 2, "affinities": numpy.arange(2)},
        {"topology": Topology(cores=numpy.int64(2))},  # type: ignore[arg-type]
        {"spis": numpy.int64(64), "nmi": 1},
    ],
)
def test_whatever_a_machine_accepts_is_saved_and_restored(options: dict[str, Any]) -> None:
    machine = VirtMachine(cpus=1, **options)
    again = VirtMachine.restore(machine.save())
    assert again.arguments == machine.arguments
    assert again.save() == machine.save()


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", ["no", 2, -1, None, 1.0])
def test_a_switch_of_a_gic_is_on_or_off(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be True or False, got {value!r}"):
        GICv3Config(**{"cpus": 1} | {name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 2}, f"{name} must be True or False, got 2") for name in MACHINE_SWITCHES),
        ({"cpu_type": "foo"}, "cpu_type must be a vCPU model such as 'max-arm-cpu', got 'foo'"),
        ({"cpu_type": None}, "cpu_type must be a vCPU model such as 'max-arm-cpu', got None"),
        ({"max_cpus": 4, "policy": HotplugPolicy(removable={4})}, "removable must name slots in 0..3, got 4"),
        ({"max_cpus": 4, "policy": HotplugPolicy(removable=[-1])}, "removable must name slots in 0..3, got -1"),
        ({"security": "no"}, "security must be True or False, got 'no'"),
    ],
)
def test_a_machine_refuses_what_it_has_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VirtMachine(cpus=1, **options)


def test_the_last_slot_of_a_machine_may_be_removable() -> None:
    assert VirtMachine(cpus=1, max_cpus=4, policy=HotplugPolicy(removable={3})).policy.removable == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"removable": 5}, "removable must be 'hotplugged', 'all' or slots, got 5"),
        ({"request_timeout": "1"}, r"request_timeout must be above 0, at most 2\*\*63, or None, got '1'"),
        ({"request_timeout": (1 << 63) + 1}, r"request_timeout must be .* got 9223372036854775809"),
        ({"request_timeout": float("inf")}, "request_timeout must be .* got inf"),
        ({"clock": 5}, "clock must be callable, got 5"),
        ({"admin_state": "no"}, "admin_state must be True or False, got 'no'"),
    ],
)
def test_a_policy_refuses_what_it_cannot_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HotplugPolicy(**options)


WRONG_TYPES: dict[str, tuple[Callable[[VirtMachine], Any], str]] = {
    "cpus": (lambda m: GICv3Config(cpus="4"), "cpus must be an integer, got '4'"),  # type: ignore[arg-type]
    "spis": (lambda m: GICv3Config(cpus=4, spis=None), "spis must be an integer, got None"),  # type: ignore[arg-type]
    "affinities": (lambda m: GICv3Config(affinities=5), "affinities must be a sequence"),  # type: ignore[arg-type]
    "pidr": (lambda m: GICv3Config(cpus=1, pidr=5), "pidr must be a sequence"),  # type: ignore[arg-type]
    "set_spi": (lambda m: m.gic.set_spi("33", True), "intid must be an integer, got '33'"),  # type: ignore[arg-type]
    "set_ppi": (lambda m: m.gic.set_ppi(None, 20, True), "pe must be an integer, got None"),  # type: ignore[arg-type]
    "mmio_read": (lambda m: m.gic.mmio_read(1.0), "address must be an integer, got 1.0"),  # type: ignore[arg-type]
    "frame_read": (lambda m: m.gic.frame_read(0.5, 0), "frame must be an integer, got 0.5"),  # type: ignore[arg-type]
    "el": (lambda m: m.gic.set_context(0, el="1"), "el must be an integer, got '1'"),  # type: ignore[arg-type]
    "scr_el3": (lambda m: m.gic.set_context(0, scr_el3="1"), "scr_el3 must be an integer"),  # type: ignore[arg-type]
    "index": (lambda m: m.gic.dist["GICD_IROUTER", "a"], "index must be an integer, got 'a'"),  # type: ignore[index]
    "notifier": (lambda m: m.cpuhp_notifiers.add(print), "notifier must be a Notifier"),  # type: ignore[arg-type]
    "build_fdt": (lambda m: gicv3.fdt.build_fdt(m.gic), "machine must be a VirtMachine, got <GICv3"),
    "attach": (lambda m: gicv3.unicorn.attach(m, None), "gic must be a GICv3, got <VirtMachine"),
    "Tracer": (lambda m: Tracer(5), "gic must be a Gic, got 5"),  # type: ignore[arg-type]
    "entries": (lambda m: Tracer(m.gic, "1"), "entries must be an integer, got '1'"),  # type: ignore[arg-type]
    "form": (lambda m: import_state(m.gic, None), "form must be a Mapping, got None"),  # type: ignore[arg-type]
    "kvm gic": (lambda m: export_state(m), "gic must be a GICv3, got <VirtMachine"),  # type: ignore[arg-type]
    "group": (lambda m: import_state(m.gic, {"DIST_REGS": 5}),  # type: ignore[dict-item]
              "DIST_REGS must be a Mapping, got 5"),
    "attribute": (lambda m: import_state(m.gic, {"DIST_REGS": {"0": 0}}),  # type: ignore[dict-item]
                  "DIST_REGS must map integers to integers, got '0': 0"),
    "stress": (lambda m: StressConfig(max_cpus="a"), "max_cpus must be an integer, got 'a'"),  # type: ignore[arg-type]
    "power_on": (lambda m: m.power_on(1, 0), "cpu must be a Vcpu, got 1"),  # type: ignore[arg-type]
    "entry": (lambda m: m.power_on(m.cpus[1], "0"), "entry must be an integer, got '0'"),  # type: ignore[arg-type]
    "policy": (lambda m: VirtMachine(1, policy="all"), "policy must be a HotplugPolicy"),  # type: ignore[arg-type]
    "topology": (lambda m: VirtMachine(1, topology=1), "topology must be a Topology, got 1"),  # type: ignore[arg-type]
    "batch group": (lambda m: m.gic.batch.ack_eoi([0], "1"), "group must be an integer"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_wrong_type_is_refused_by_the_name_of_the_parameter(machine: VirtMachine, name: str) -> None:
    call, message = WRONG_TYPES[name]
    before = machine.gic.state_digest()
    with pytest.raises(TypeError) as caught:
        call(machine)
    assert message in str(caught.value)
    assert machine.gic.state_digest() == before


@pytest.mark.parametrize(
    "read",
    [
        lambda m: m.gic.dist["FOO"], lambda m: m.gic.dist["GICR_CTLR"], lambda m: m.gic.dist[5],
        lambda m: m.gic.dist[("GICD_CTLR",)], lambda m: m.gic.dist["GICD_IROUTER"],
        lambda m: m.gic.dist["GICD_CTLR", 1],
        lambda m: m.gic.redist[0]["FOO"], lambda m: m.gic.pe[0]["ICC_FOO"], lambda m: m.gic.sysreg_read(0, "FOO"),
        lambda m: m.gic.sysreg_access(0, "FOO"), lambda m: m.gic.batch.sysregs(0, "FOO"),
        lambda m: m.gic.batch.sysregs(0, ["ICC_PMR_EL1", "FOO"]), lambda m: m.cpus[0].timer.read("FOO", 0),
        lambda m: m.cpus[0].timer.write(5, 0, 0),
    ],
)
def test_a_register_that_does_not_exist_is_one_error_everywhere(
    machine: VirtMachine, read: Callable[[VirtMachine], Any]
) -> None:
    with pytest.raises(RegisterError) as caught:
        read(machine)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ConfigError)
    assert not str(caught.value).startswith(("'", '"'))    # a KeyError would quote its text


@pytest.mark.parametrize("now", [-1, 1 << 64])
def test_a_system_counter_has_64_bits(machine: VirtMachine, now: int) -> None:
    timer = machine.cpus[0].timer
    for call in (lambda: machine.timers.advance(now), lambda: timer.read("CNTPCT_EL0", now),
                 lambda: timer.write(TimerReg.CNTV_CTL_EL0, 1, now)):
        with pytest.raises(ConfigError, match=rf"now must be in 0..2\*\*64-1, got {now}"):
            call()
    assert timer.read("CNTV_CTL_EL0", 0) == 0


def test_registers_go_by_name_wherever_they_go_by_number(machine: VirtMachine) -> None:
    gic, timer = machine.gic, machine.cpus[0].timer
    assert gic.frame_read("GICD", 4) == gic.frame_read(gicv3.Frame.GICD, 4) != 0
    gic.frame_write("RD", 0x14, 6, index=1)
    assert gic.redist[1]["GICR_WAKER"] == gic.frame_read("RD", 0x14, index=1)
    timer.write("CNTV_CVAL_EL0", 1234, now=5)
    assert timer.read(TimerReg.CNTV_CVAL_EL0, 5) == timer.read("CNTV_CVAL_EL0", (1 << 64) - 1) == 1234
    gic.batch.sysregs(0, ["ICC_PMR_EL1", "ICC_BPR1_EL1"], [0xA0, 4])
    assert (gic.pe[0]["ICC_PMR_EL1"], gic.pe[0]["ICC_BPR1_EL1"]) == (0xA0, 4)
    with pytest.raises(ConfigError, match=r"frame must be GICD, .* got 'FOO'"):
        gic.frame_read("FOO", 0)


@pytest.mark.parametrize("length", [1, 3])
def test_an_array_stands_for_no_more_elements_than_it_has(length: int) -> None:
    gic = GICv3(GICv3Config(cpus=4))
    before = gic.state_digest()
    with pytest.raises(ConfigError, match="one length"):
        gic.batch.set_lines([20, 21], numpy.zeros(length, int), 1)
    assert gic.state_digest() == before
    gic.batch.set_lines([20, 21], numpy.array(0), 1)
    assert gic.ppi_line(0, 21)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_snapshot_is_written_and_read_by_the_name_of_its_file(tmp_path: Path, kind: type) -> None:
    path = kind(tmp_path / "saved")
    gic, machine = GICv3(GICv3Config(cpus=2)), VirtMachine(cpus=1)
    gic.set_spi(40, True)
    data = gic.save(path)
    fresh = GICv3(gic.config)
    fresh.load(path)
    assert fresh.save() == GICv3.restore(path).save() == data == (tmp_path / "saved").read_bytes()
    data = machine.save(path)
    machine.load(path)
    assert VirtMachine.restore(path).save() == data


def test_a_snapshot_of_the_other_kind_names_who_takes_it() -> None:
    gic, machine = GICv3(GICv3Config(cpus=1)).save(), VirtMachine(cpus=1).save()
    for take in (VirtMachine.restore, VirtMachine(cpus=1).load):
        with pytest.raises(SnapshotError, match=r"of a GIC alone: GICv3.restore or GICv3.load takes it"):
            take(gic)
    for take in (GICv3.restore, GICv3(GICv3Config(cpus=1)).load):
        with pytest.raises(SnapshotError, match=r"of a machine: VirtMachine.restore or VirtMachine.load takes it"):
            take(machine)


@pytest.mark.parametrize("virtualization", [False, True])
def test_taking_away_on_cpu_line_leaves_the_users_on_line(virtualization: bool) -> None:
    machine = VirtMachine(cpus=1, virtualization=virtualization)
    ours = machine.gic.on_line
    machine.on_cpu_line = lambda *told: None
    assert machine.gic.on_line is not None
    machine.on_cpu_line = None
    assert machine.gic.on_line == ours
    machine.gic.on_line = print
    machine.on_cpu_line = None
    assert machine.gic.on_line is print
    machine.gic.on_line = None
    machine.on_cpu_line = None
    assert machine.gic.on_line == ours       # the maintenance output comes back to its PPI again


REPRS = {
    "config": (lambda m: GICv3Config(cpus=2, dist_base=0x900_0000), "GICv3Config(cpus=2, dist_base=0x9000000)"),
    "regions": (lambda m: GICv3Config(cpus=1, redist_regions=[(0x900_0000, 1)]),
                "GICv3Config(cpus=1, redist_regions=[(0x9000000, 1)])"),
    "affinities": (lambda m: GICv3Config(affinities=[0x100]), "GICv3Config(affinities=(0x100,))"),
    "many": (lambda m: GICv3Config(affinities=range(9)), "GICv3Config(affinities=<9 values>)"),
    "gic": (lambda m: m.gic, "<GICv3 of 4 PEs, 2 plugged>"),
    "machine": (lambda m: m, "<VirtMachine: 2 of 4 vCPUs plugged, running>"),
    "batch": (lambda m: m.gic.batch, "<Batch of <GICv3 of 4 PEs, 2 plugged>>"),
    "arrays": (lambda m: m.gic.arrays, "<Arrays of <GICv3 of 4 PEs, 2 plugged>>"),
    "memory": (lambda m: m.gic.memory, "<Memory: empty>"),
    "pe": (lambda m: m.gic.pe, "<views of PEs 0..3>"),
    "possible_cpus": (lambda m: m.possible_cpus, "<4 possible CPUs, 2 plugged>"),
    "memory_map": (lambda m: m.memory_map["GIC_DIST"], "Region(base=0x8000000, size=0x10000)"),
}


@pytest.mark.parametrize("name", REPRS)
def test_objects_say_what_they_are(machine: VirtMachine, name: str) -> None:
    make, shown = REPRS[name]
    assert repr(make(machine)) == shown


def test_memory_shows_its_regions_in_hexadecimal() -> None:
    gic = GICv3(GICv3Config(cpus=1))
    gic.memory.map(0x4000_0000, bytearray(0x1000))
    assert repr(gic.memory) == "<Memory: 0x40000000+0x1000 buffer>"


def test_a_pe_shows_its_lines() -> None:
    gic = GICv3(GICv3Config(cpus=1, nmi=True))
    gic.redist[0]["GICR_WAKER"] = 0
    gic.dist["GICD_CTLR"] = 2
    gic.redist[0]["GICR_IGROUPR0"] = gic.redist[0]["GICR_ISENABLER0"] = 1 << 20
    gic.pe[0]["ICC_PMR_EL1"], gic.pe[0]["ICC_IGRPEN1_EL1"] = 0xF0, 1
    assert (gic.pe[0].line, gic.pe[0].nmi) == (gicv3.Line(0), False)
    gic.set_ppi(0, 20, True)
    assert (gic.pe[0].line, gic.pe[0].irq, gic.pe[0].nmi) == (gicv3.Line.IRQ, True, False)
    gic.redist[0]["GICR_INMIR0"] = 1 << 20
    gic.pe[0].set_context(nmi_enabled=True)
    assert (gic.pe[0].line, gic.pe[0].irq, gic.pe[0].nmi) == (gicv3.Line.NMI, False, True)


_LAZY = """
import sys, gicv3
names = sorted(gicv3._MODULES)
assert not [name for name in names if f"gicv3.{name}" in sys.modules and name not in {allowed}]
for name in names:
    assert getattr(gicv3, name) is sys.modules[f"gicv3.{name}"], name
"""
_LACKING = """
import sys
sys.modules["unicorn"] = None
import gicv3
try:
    gicv3.unicorn
except ImportError as error:
    assert "pip install 'gicv3[unicorn]'" in str(error), error
else:
    raise AssertionError
"""


@pytest.mark.parametrize("program", [_LAZY.replace("{allowed}", '{"acpi"}'), _LACKING], ids=["lazy", "lacking"])
def test_modules_of_the_package_are_imported_when_they_are_asked_for(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda gic: gic.dist["GICD_CTRL"], "'GICD_CTRL', did you mean GICD_CTLR?"),
        (lambda gic: gic.redist[0]["GICR_WAKE"], "'GICR_WAKE', did you mean GICR_WAKER?"),
        (lambda gic: gic.pe[0]["icc_iar1"], "'icc_iar1', did you mean ICC_IAR1_EL1?"),
        (lambda gic: gic.pe[0]["FOO"], "'FOO'"),
    ],
)
def test_a_misspelt_register_is_told_with_the_name_that_is_like_it(ask, answer: str) -> None:
    with pytest.raises(gicv3.RegisterError) as caught:
        ask(GICv3(GICv3Config(cpus=1)))
    assert str(caught.value).endswith(answer)


def test_a_module_that_the_package_has_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gicv3' has no attribute 'foo'"):
        gicv3.foo  # noqa: B018
    assert {"kvm", "unicorn", "VirtMachine"} <= set(dir(gicv3))


def test_a_notifier_made_of_a_function_may_be_added() -> None:
    machine, heard = VirtMachine(cpus=1, max_cpus=2), []
    machine.cpuhp_notifiers.add(Notifier(heard.append))
    machine.device_add(id="a", core_id=1)
    assert len(heard) == 1
