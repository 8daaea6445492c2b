"""Snapshots of a machine: what comes after is the same, and what does not fit is refused whole."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from virt import fingerprint

from gicv3 import GICv3, GICv3Config, HotplugError, Line, Notifier, SnapshotError, Topology, VirtMachine, snapshot
from gicv3.acpi.cpuhp import CpuhpReg
from gicv3.hotplug import MAX_DEVICES
from gicv3.machine_state import save_machine
from gicv3.policy import HotplugPolicy
from gicv3.snapshot import Field
from gicv3.timer import TimerReg
from gicv3.vcpu import CpuPpi, PowerState, Vcpu

DATA = Path(__file__).parent / "data"
ENABLE = 1


def busy() -> VirtMachine:
    """Four of eight vCPUs, two of them hotplugged (one without a name), timers set, one to go, one output up."""
    machine = VirtMachine(cpus=2, max_cpus=8, topology=Topology(clusters=2, cores=4), ram_size=1 << 30)
    machine.gic.dist["GICD_CTLR"] = 3
    named = machine.device_add(id="named", cluster_id=1, core_id=1)
    machine.device_add(cluster_id=0, core_id=3)
    machine.power_on(named, 0x4000_0000, 7)
    named.set_context(el=0)
    named.timer.write(TimerReg.CNTV_CVAL_EL0, 500, 100)
    named.timer.write(TimerReg.CNTV_CTL_EL0, ENABLE, 100)
    machine.cpus[0].timer.write(TimerReg.CNTP_CVAL_EL0, 500, 100)
    machine.cpus[0].timer.write(TimerReg.CNTP_CTL_EL0, ENABLE, 100)
    machine.cpus[1].timer.write(TimerReg.CNTVOFF_EL2, 50, 100)
    machine.cpus[1].set_output(CpuPpi.PMU, True)
    machine.power_off(machine.cpus[1])
    machine.device_del("named")
    machine.acpi_device.cpuhp.write(CpuhpReg.SELECTOR, 3, 4)
    return machine


def told(machine: VirtMachine) -> Any:
    """Everything of a machine but the identities of its objects."""
    cpus = [(cpu.saved(), cpu.wired, cpu.lines, cpu.qom_path) for cpu in machine.cpus.values()]
    deadlines = [(when, cpu.cpu_index, timer) for when, cpu, timer in machine.timers.deadlines()]
    return machine.gic.state_digest(), cpus, deadlines, machine.run_state, machine.acpi_device.saved()


def what_follows(machine: VirtMachine) -> list[Any]:
    """What happens next, with everything that was going on."""
    events: list[Any] = []
    machine.hotplug_events.add(Notifier(lambda event: events.append((event.stage, event.cpu.cpu_index))))
    machine.timers.advance(499)
    events.append(told(machine))
    machine.timers.advance(500)
    events.append(told(machine))
    machine.power_off(machine.find_cpu("named"))
    block = machine.acpi_device.cpuhp
    events += [machine.acpi_device.read(0, 4), block.read(CpuhpReg.FLAGS, 1)]
    block.write(CpuhpReg.SELECTOR, 5, 4)
    events.append(block.read(CpuhpReg.FLAGS, 1))
    block.write(CpuhpReg.FLAGS, 8, 1)                  # the guest ejects what was asked for
    events.append(told(machine))
    events.append(machine.device_add(core_id=2, cluster_id=0).qom_path)
    machine.reset()
    machine.check()
    return [*events, told(machine)]


# --- the future is the same


def test_a_restored_machine_goes_on_as_the_saved_one() -> None:
    machine = busy()
    other = VirtMachine.restore(machine.save())
    other.check()
    assert told(other) == told(machine)
    assert what_follows(other) == what_follows(machine)


def test_a_machine_goes_back_to_what_it_was() -> None:
    machine = busy()
    before, data = fingerprint(machine), machine.save()
    machine.timers.advance(1000)
    machine.reject_unplug("named")
    machine.acpi_device.unplug_requested(1)
    machine.stop()
    machine.reset()
    machine.load(data)
    machine.check()
    assert fingerprint(machine) == before
    assert machine.save() == data
    assert what_follows(machine) == what_follows(busy())


def test_equal_machines_are_equal_bytes(tmp_path: Path) -> None:
    data = busy().save(tmp_path / "machine")
    assert data == busy().save() == (tmp_path / "machine").read_bytes()
    assert VirtMachine.restore(tmp_path / "machine").save() == data


def test_a_boot_vcpu_that_went_is_absent_after_a_restore() -> None:
    policy = HotplugPolicy(removable="all")
    machine = VirtMachine(cpus=3, policy=policy)
    machine.power_off(machine.cpus[1])
    path = machine.cpus[1].qom_path
    machine.device_del(path)
    machine.complete_unplug(path)
    machine.device_add(core_id=1)
    machine.device_del(machine.cpus[1].qom_path)
    other = VirtMachine.restore(machine.save(), policy)
    other.check()
    assert told(other) == told(machine)
    assert other.policy is policy


def test_a_request_goes_on_to_time_out() -> None:
    now = [100.0]
    policy = HotplugPolicy(request_timeout=10, clock=lambda: now[0])
    machine = VirtMachine(cpus=1, max_cpus=2, policy=policy)
    machine.device_add(id="late", core_id=1)
    machine.device_del("late")
    now[0] = 104
    data = machine.save()
    now[0] = 1000
    other = VirtMachine.restore(data, policy)
    now[0] = 1005
    assert other.expire_unplug_requests() == []
    now[0] = 1006
    assert other.expire_unplug_requests() == [other.cpus[1]]


def test_a_new_machine_is_its_own() -> None:
    machine = busy()
    other = VirtMachine.restore(machine.save())
    before = machine.save()
    other.power_off(other.find_cpu("named"))
    other.complete_unplug("named")
    assert machine.save() == before


def test_callbacks_of_a_load_find_all_in_place_and_what_they_raise_comes_after() -> None:
    machine = busy()
    machine.gic.set_ppi(0, 20, True)
    machine.gic.redist[0]["GICR_WAKER"] = 0
    machine.gic.redist[0]["GICR_IGROUPR0"] = machine.gic.redist[0]["GICR_ISENABLER0"] = 1 << 20
    machine.gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    machine.gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    data, before = machine.save(), fingerprint(machine)
    machine.timers.advance(1000)
    machine.reject_unplug("named")
    machine.stop()
    machine.reset()
    found: list[tuple[int, bool, tuple[Any, ...]]] = []

    def fail(cpu: Vcpu, line: Line, level: bool) -> None:
        found.append((cpu.cpu_index, level, fingerprint(machine)))
        raise RuntimeError("no")

    machine.on_cpu_line = fail
    with pytest.raises(RuntimeError, match="no"):
        machine.load(data)
    assert found == [(0, True, before)]
    assert (fingerprint(machine), machine.save()) == (before, data)
    machine.check()


def test_a_clock_that_raises_leaves_the_machine_as_it_was() -> None:
    def clock() -> float:
        if now is None:
            raise RuntimeError("no clock")
        return now

    now: float | None = 5
    machine = VirtMachine(cpus=1, max_cpus=2, policy=HotplugPolicy(request_timeout=10, clock=clock))
    machine.device_add(id="late", core_id=1)
    machine.device_del("late")
    data = machine.save()
    machine.gic.pe[1]["ICC_PMR_EL1"] = 0x80
    before, now = fingerprint(machine), None
    with pytest.raises(RuntimeError, match="no clock"):
        machine.load(data)
    assert fingerprint(machine) == before


def test_json_says_the_same_as_the_bytes() -> None:
    data = busy().save()
    text = snapshot.to_json(data, indent=1)
    assert snapshot.from_json(text) == snapshot.from_json(text.encode()) == data
    value = json.loads(text)
    assert (value["format"], value["version"]) == ("gicv3-machine", snapshot.VERSION)
    assert value["machine"]["cpus"][2]["id"] == "named"
    assert value["gic"] == json.loads(snapshot.to_json(busy().gic.save()))


@pytest.mark.parametrize(("key", "value", "text"), [
    ("version", True, "'gicv3-machine' and 1, got 'gicv3-machine' and True"),
    ("version", 2, "and 2"),
    ("more", 1, "an object with format, version, gic and machine"),
    ("gic", [], "an object with format, version, config and state"),
    ("format", "gicv3", "an object with format, version, config and state"),
    ("machine", 5, "machine.state"),
])
def test_json_that_is_no_machine_is_refused(key: str, value: Any, text: str) -> None:
    whole = json.loads(snapshot.to_json(busy().save()))
    whole[key] = value
    with pytest.raises(SnapshotError, match=text):
        VirtMachine.restore(snapshot.from_json(json.dumps(whole)))


# --- old versions


@pytest.mark.parametrize("path", sorted(DATA.glob("machine-v*.bin")), ids=lambda path: path.stem)
def test_a_machine_of_an_older_version_loads(path: Path) -> None:
    machine = VirtMachine.restore(path)
    machine.check()
    assert told(machine)[1:] == told(busy())[1:]
    assert what_follows(machine) == what_follows(busy())


# --- what does not fit


def refused(machine: VirtMachine, data: bytes) -> str:
    before = fingerprint(machine)
    with pytest.raises(SnapshotError) as caught:
        machine.load(data)
    assert fingerprint(machine) == before
    return str(caught.value)


def test_load_refuses_a_machine_made_otherwise() -> None:
    text = refused(VirtMachine(cpus=2), VirtMachine(cpus=2, max_cpus=3, virtualization=True).save())
    assert "max_cpus is 3 in the snapshot, 2 here" in text
    assert "virtualization is True in the snapshot, False here" in text


def test_load_refuses_other_vcpus_and_names_both_sides() -> None:
    empty, full = VirtMachine(cpus=1, max_cpus=2), VirtMachine(cpus=1, max_cpus=2)
    full.device_add(id="a", core_id=1)
    assert refused(empty, full.save()) == "cpu 1 is plugged in the snapshot, absent here"
    assert refused(full, empty.save()) == "cpu 1 is absent in the snapshot, plugged here"
    empty.device_add(id="b", core_id=1)
    assert refused(empty, full.save()) == "cpu 1: id is 'a' in the snapshot, 'b' here"


def test_the_snapshot_of_a_gic_is_not_that_of_a_machine() -> None:
    with pytest.raises(SnapshotError, match="snapshot of a GIC alone"):
        VirtMachine.restore(GICv3(GICv3Config(cpus=1)).save())
    with pytest.raises(SnapshotError, match="snapshot of a machine"):
        GICv3.restore(VirtMachine(cpus=1).save())


def deep(levels: int) -> list[Any]:
    """Lists inside each other."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def changed(path: tuple[Any, ...], value: Any) -> bytes:
    """The busy machine's snapshot with one value of its text changed."""
    parsed = snapshot.unpack(save_machine(busy()))
    state = json.loads(json.dumps(parsed.texts["machine"]))
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    gic: Field = parsed.arrays["gic"]
    return snapshot.pack({"machine": state}, {"gic": gic})


@pytest.mark.parametrize(("path", "value", "text"), [
    (("run_state",), "gone", "machine.run_state"),
    (("anonymous",), -1, "machine.anonymous"),
    (("cpus",), {}, "machine.cpus"),
    (("cpus",), [], "slot 0 empty"),
    (("cpus", 1, "slot"), 0, "a slot or a name twice"),
    (("cpus", 1, "slot"), 8, r"machine.cpus\[1\].slot is none that a machine can have: 8"),
    (("cpus", 1, "power"), 3, r"machine.cpus\[1\].power"),
    (("cpus", 1, "outputs"), 1, r"machine.cpus\[1\].outputs"),
    (("cpus", 1, "outputs"), 1 << 40, r"machine.cpus\[1\].outputs"),
    (("cpus", 1, "unplug_requested"), 1, r"machine.cpus\[1\].unplug_requested"),
    (("cpus", 2, "id"), 5, r"machine.cpus\[2\].id"),
    (("cpus", 2, "id"), "", r"machine.cpus\[2\].id"),
    (("cpus", 2, "id"), "1a", r"machine.cpus\[2\].id"),
    (("cpus", 2, "id"), "a/b", r"machine.cpus\[2\].id"),
    (("cpus", 2, "id"), "a" + chr(0xD800), r"machine.cpus\[2\].id"),
    (("anonymous",), 0, "machine.anonymous is none that a machine can have: 0"),
    (("anonymous",), (1 << 64) + 1, "machine.anonymous"),
    (("cpus", 3, "anonymous"), 1, "machine.anonymous is none that a machine can have: 1"),
    (("cpus", 3, "anonymous"), 1 << 64, r"machine.cpus\[3\].anonymous"),
    (("cpus", 2, "anonymous"), 3, r"machine.cpus\[2\].id"),
    (("cpus", 2, "context", "el"), 4, r"machine.cpus\[2\].context.el"),
    (("cpus", 2, "context", "pc"), None, r"machine.cpus\[2\].context.pc"),
    (("cpus", 2, "context", "secure"), 0, r"machine.cpus\[2\].context.secure"),
    (("cpus", 2, "context"), {}, r"machine.cpus\[2\].context"),
    (("cpus", 2, "timer", "ctl"), [0] * 4, r"machine.cpus\[2\].timer.ctl"),
    (("cpus", 2, "timer", "ctl"), [4] * 5, r"machine.cpus\[2\].timer.ctl"),
    (("cpus", 2, "timer", "levels"), 32, r"machine.cpus\[2\].timer.levels"),
    (("cpus", 2, "timer"), None, "machine.deadlines"),
    (("deadlines",), [[1, 2]], "machine.deadlines"),
    (("deadlines",), [[1, 7, 0]], "machine.deadlines"),
    (("deadlines",), [[1, 0, 5]], "machine.deadlines"),
    (("deadlines",), [[1, 0, 0], [2, 0, 0]], "one timer twice"),
    (("requests",), [[4, 1.0]], "machine.requests"),
    (("requests",), [[0, "1"]], "machine.requests"),
    (("requests",), [[0, (1 << 63) + 1]], "machine.requests"),
    (("requests",), [[0, -(1 << 63) - 1]], "machine.requests"),
    (("requests",), [[0, 10**400]], "machine.requests"),
    (("requests",), deep(900), "the field machine has lists or objects more than 16 deep"),
    (("run_state",), deep(17), "the field machine has lists or objects more than 16 deep"),
    (("acpi", "selector"), 1 << 32, "machine.acpi.selector"),
    (("acpi", "command"), 4, "machine.acpi.command"),
    (("acpi", "removing"), [8], "machine.acpi.removing"),
    (("acpi", "ost"), [[0, 0]], "machine.acpi.ost"),
    (("acpi",), None, "machine.acpi"),
    (("arguments",), 5, "machine.arguments"),
    (("arguments", "ram_size"), 0, "machine.arguments|ram_size"),
    (("arguments", "frequency"), 10**400, "machine.arguments"),
    (("arguments", "cpus"), 10**400, "machine.arguments"),
    (("arguments", "wings"), 2, "machine.arguments|wings"),
    (("more",), 2, "machine.state"),
])
def test_a_text_that_no_machine_can_have_is_refused(path: tuple[Any, ...], value: Any, text: str) -> None:
    data = changed(path, value)
    with pytest.raises(SnapshotError, match=text):
        VirtMachine.restore(data)
    machine = busy()
    before = fingerprint(machine)
    with pytest.raises(SnapshotError):
        machine.load(data)
    assert fingerprint(machine) == before


def test_hostile_texts_are_refused_or_make_a_machine_that_is_whole() -> None:
    parsed = snapshot.unpack(busy().save())
    draw = random.Random(5)
    accepted = 0
    for _ in range(120):
        state = json.loads(json.dumps(parsed.texts["machine"]))
        place, key = draw.choice(list(leaves(state)))
        place[key] = draw.choice((0, 1, 2, -1, 7, 8, 1 << 64, 10**400, 1e300, None, True, "x", "a b", [], {}, 1.5,
                                  [[0, 10**400]], [[0, 1e300]], [[0, 5]], deep(14)))
        try:
            machine = VirtMachine.restore(snapshot.pack({"machine": state}, {"gic": parsed.arrays["gic"]}))
        except SnapshotError:
            continue
        accepted += 1
        machine.check()
        assert VirtMachine.restore(machine.save()).save() == machine.save()
        machine.timers.advance((1 << 64) - 1)
        machine.reset()
        machine.check()
        if 2 not in machine.cpus and machine.has_hotpluggable_cpus and machine._anonymous < MAX_DEVICES:
            machine.device_add(**machine.topology.props(2)._asdict())
        machine.check()
        VirtMachine.restore(machine.save())
    assert accepted


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = changed(("requests",), [[0, 12345]])
    monkeypatch.setattr(snapshot, "canonical", lambda value: json.dumps(value, sort_keys=True).replace("12345", text))
    parsed = snapshot.unpack(data)
    with pytest.raises(SnapshotError, match="the field machine is no JSON"):
        VirtMachine.restore(snapshot.pack(parsed.texts, parsed.arrays))


def test_a_machine_that_has_numbered_all_devices_adds_no_more_without_an_id() -> None:
    machine = VirtMachine.restore(changed(("anonymous",), MAX_DEVICES - 1))
    machine.device_add(core_id=2, cluster_id=0)
    assert machine.cpus[2].anonymous == MAX_DEVICES - 1
    machine = VirtMachine.restore(machine.save())
    with pytest.raises(HotplugError, match="no number is left"):
        machine.device_add(core_id=2, cluster_id=1)
    machine.device_add(id="more", core_id=2, cluster_id=1)
    machine.check()


def leaves(value: Any) -> Any:
    """(container, key) of everything inside."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from leaves(inner)


def test_the_power_of_each_vcpu_comes_back() -> None:
    states = [cpu.power_state for cpu in VirtMachine.restore(busy().save()).cpus.values()]
    assert states == [PowerState.ON, PowerState.OFF, PowerState.ON, PowerState.OFF]
