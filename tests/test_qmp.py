"""QMP: what clients of QEMU see of a machine."""

import asyncio
import json

import pytest
from qmp_client import A57, RawClient, in_loop, serving
from virt import fingerprint

import gicv3
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugStage
from gicv3.policy import HotplugPolicy
from gicv3.qmp import StandInGuest
from gicv3.qmp.guest import Answer
from gicv3.qmp.schema import COMMANDS, EVENTS


@pytest.fixture
def machine():
    return VirtMachine(cpus=2, max_cpus=4)


@in_loop
async def test_the_greeting_names_version_and_capabilities(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": f"gicv3 {gicv3.__version__}"}
        assert client.greeting == {"QMP": {"version": version, "capabilities": []}}
        assert await client.returned("query-version") == version


@in_loop
async def test_nothing_but_negotiation_comes_first(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp"):
        client = await RawClient.connect(str(tmp_path / "qmp"), negotiate=False)
        expecting = ("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'")
        assert await client.refused("query-status") == expecting
        assert await client.refused("nope") == expecting
        assert await client.refused("qmp_capabilities", enable=["oob"]) == (
            "GenericError",
            "Parameter 'enable' does not accept value 'oob'",
        )
        machine.device_del(machine.device_add(id="cpu2", core_id=2).id)
        machine.complete_unplug("cpu2")
        assert await client.execute("qmp_capabilities", enable=[]) == {"return": {}}
        assert client.events == []  # what happened before is not told afterwards
        assert await client.refused("qmp_capabilities") == (
            "CommandNotFound",
            "Capabilities negotiation is already complete, command ignored",
        )


REQUESTS = [
    ('[]', "GenericError", "QMP input must be a JSON object"),
    ('5', "GenericError", "QMP input must be a JSON object"),
    ('"a"', "GenericError", "QMP input must be a JSON object"),
    ('{}', "GenericError", "QMP input lacks member 'execute'"),
    ('{"arguments": {}}', "GenericError", "QMP input lacks member 'execute'"),
    ('{"execute": 5}', "GenericError", "QMP input member 'execute' must be a string"),
    ('{"execute": "query-status", "arguments": []}', "GenericError", "QMP input member 'arguments' must be an object"),
    ('{"execute": "query-status", "foo": 1}', "GenericError", "QMP input member 'foo' is unexpected"),
    ('{"exec-oob": "query-status"}', "GenericError", "QMP input member 'exec-oob' is unexpected"),
    ('{"execute": "nope"}', "CommandNotFound", "The command nope has not been found"),
    ('{"execute": "query-status", "arguments": {"a": 1}}', "GenericError", "Parameter 'a' is unexpected"),
    ('{"execute": "device_del"}', "GenericError", "Parameter 'id' is missing"),
    ('{"execute": "device_del", "arguments": {"id": 5}}', "GenericError",
     "Invalid parameter type for 'id', expected: string"),
    ('{"execute": "device_del", "arguments": {"id": "a", "b": 1}}', "GenericError", "Parameter 'b' is unexpected"),
    ('{"execute": "device_del", "arguments": {"id": "a"}}', "DeviceNotFound", "Device 'a' not found"),
    ('{"execute": "device_del", "arguments": {"id": "/machine"}}', "GenericError",
     "/machine is not a hotpluggable device"),
    ('{"execute": "device_add"}', "GenericError", "Parameter 'driver' is missing"),
    ('{"execute": "device_add", "arguments": {"driver": null}}', "GenericError", "Parameter 'driver' is missing"),
    ('{"execute": "device_add", "arguments": {"driver": "nope"}}', "GenericError",
     "'nope' is not a valid device model name"),
    ('{"execute": "device_add", "arguments": {"driver": true}}', "GenericError",
     "'on' is not a valid device model name"),
    ('{"execute": "device_add", "arguments": {"driver": "pl011"}}', "GenericError",
     "Parameter 'driver' expects a pluggable device type"),
    ('{"execute": "device_add", "arguments": {"driver": "nope", "id": "a b"}}', "GenericError",
     "Parameter 'id' expects an identifier"),
    ('{"execute": "qom-list"}', "GenericError", "Parameter 'path' is missing"),
    ('{"execute": "qom-list", "arguments": {"path": "/nope"}}', "DeviceNotFound", "Device '/nope' not found"),
    ('{"execute": "qom-get", "arguments": {"path": "/nope", "property": "x"}}', "DeviceNotFound",
     "Device '/nope' not found"),
    ('{"execute": "qom-get", "arguments": {"path": "/machine/unattached/device[0]"}}', "GenericError",
     "Parameter 'property' is missing"),
    ('{"execute": "qom-get", "arguments": {"path": "/machine/unattached/device[0]", "property": "nope"}}',
     "GenericError", f"Property '{A57}.nope' not found"),
]  # fmt: skip
"""Requests that QEMU refuses too, in these words: tests/test_qmp_qemu.py asks it."""


@in_loop
async def test_a_wrong_request_gets_qemus_error(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        before = fingerprint(machine)
        for text, kind, desc in REQUESTS:
            assert await client.ask(text) == {"error": {"class": kind, "desc": desc}}
        assert fingerprint(machine) == before


@in_loop
async def test_any_id_comes_back_with_replies_and_errors(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        for identity in ("5", "null", '"x"', '[1, {"a": null}]', '"\\ud800"', "1e300", "-0.5", str(1 << 90)):
            for command in ("query-name", "nope"):
                reply = await client.ask(f'{{"execute": "{command}", "id": {identity}}}')
                assert json.dumps(reply["id"]) == json.dumps(json.loads(identity))
                assert ("return" in reply) == (command == "query-name")


def place(core, **more):
    return {"socket-id": 0, "cluster-id": 0, "core-id": core, "thread-id": 0, **more}


@in_loop
async def test_behaviour_22_slots_are_listed_downwards_and_a_path_appears_with_the_plug(machine, tmp_path):
    def slot(core, **more):
        return {"type": A57, "vcpus-count": 1, "props": place(core), **more}

    async with serving(machine, tmp_path / "qmp") as (_, client):
        boot = [slot(core, **{"qom-path": f"/machine/unattached/device[{core}]"}) for core in (1, 0)]
        assert await client.returned("query-hotpluggable-cpus") == [slot(3), slot(2), *boot]
        assert await client.execute("device_add", driver=A57, id="two", core_id=2) == {"return": {}}
        plugged = slot(2, **{"qom-path": "/machine/peripheral/two"})
        assert await client.returned("query-hotpluggable-cpus") == [slot(3), plugged, *boot]
        await client.execute("device_del", id="two")
        machine.complete_unplug("two")
        assert await client.returned("query-hotpluggable-cpus") == [slot(3), slot(2), *boot]


@in_loop
async def test_vcpus_are_listed_in_the_order_of_their_plug(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        await client.execute("device_add", driver=A57, core_id=3)
        await client.execute("device_add", driver=A57, id="b", core_id="2")
        cpus = await client.returned("query-cpus-fast")
        assert [cpu["cpu-index"] for cpu in cpus] == [0, 1, 3, 2]
        assert [cpu["qom-path"] for cpu in cpus[2:]] == ["/machine/peripheral-anon/device[0]", "/machine/peripheral/b"]
        assert [cpu["props"] for cpu in cpus] == [place(core) for core in (0, 1, 3, 2)]
        assert {cpu["target"] for cpu in cpus} == {"aarch64"}


@in_loop
async def test_device_add_refuses_in_qemus_words_and_order(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        assert await client.execute("device_add", driver=A57, id="two", core_id=2) == {"return": {}}
        before = fingerprint(machine)
        for arguments, desc in [
            ({"driver": A57, "id": "two", "zap": 1}, "Duplicate device ID 'two'"),
            ({"driver": A57, "zap": 1, "core-id": 9}, f"Property '{A57}.zap' not found"),
            ({"driver": A57, "core_id": 3}, f"Property '{A57}.core_id' not found"),
            ({"driver": A57, "self": 3}, f"Property '{A57}.self' not found"),
            ({"driver": A57, "core-id": {}}, "Parameter 'core-id' expects a number, string or boolean"),
            ({"driver": "cortex-a53-arm-cpu", "core-id": 9}, f"Invalid CPU type, expected cpu type: '{A57}'"),
            ({"driver": A57, "core-id": 4}, "Invalid core-id 4 specified, correct range 0:3"),
            ({"driver": A57, "core-id": "x"}, "Parameter 'core-id' expects a number, got 'x'"),
            ({"driver": A57, "core-id": "1_1"}, "Parameter 'core-id' expects a number, got '1_1'"),
            ({"driver": A57, "core-id": " 3"}, "Parameter 'core-id' expects a number, got ' 3'"),
            ({"driver": A57, "core-id": "\u0663"}, "Parameter 'core-id' expects a number, got '\u0663'"),
            ({"driver": A57, "core-id": "03"}, "Parameter 'core-id' expects a number, got '03'"),
            ({"driver": A57, "core-id": 1 << 64},
             "Parameter 'core-id' expects a 64-bit number, got 0x10000000000000000"),
            ({"driver": A57, "core-id": "0x" + "f" * 33},
             f"Parameter 'core-id' expects a number, got '0x{'f' * 33}'"),
            ({"driver": A57, "core-id": 3, "mp-affinity": "9" * 41},
             f"Parameter 'mp-affinity' expects a number, got '{'9' * 41}'"),
            ({"driver": A57, "core-id": True}, "Parameter 'core-id' expects a number, got 'on'"),
            ({"driver": A57}, "CPU core-id is not set, correct range 0:3"),
            ({"driver": A57, "core-id": 2}, "cpu(id2=0:0:2:0) with arch-id 2 exist"),
            ({"driver": A57, "core-id": 3, "node-id": 1}, "invalid node-id, must be 0"),
            ({"driver": A57, "core-id": 3, "mp-affinity": "x"}, "Parameter 'mp-affinity' expects a number, got 'x'"),
            ({"driver": A57, "core-id": 3, "pmu": "off"}, "CPU 3: 'pmu' feature didn't match with existing CPUs"),
            ({"driver": A57, "core-id": 3, "bus": "b"}, "Bus 'b' not found"),
        ]:
            reply = await client.ask(json.dumps({"execute": "device_add", "arguments": arguments}))
            assert reply == {"error": {"class": "GenericError", "desc": desc}}
        assert fingerprint(machine) == before
        machine.migrating = True
        assert await client.refused("device_add", driver=A57, core_id=3) == (
            "GenericError", "device_add not allowed while migrating")  # fmt: skip
        assert await client.refused("device_del", id="two") == (
            "GenericError", "device_del not allowed while migrating")  # fmt: skip
        machine.migrating = False
        whole = {"driver": A57, "core-id": "0x3", "pmu": "on", "node-id": "0", "mp-affinity": 3, "socket-id": None}
        assert await client.execute("device_add", **whole) == {"return": {}}


@in_loop
async def test_device_del_asks_and_the_event_comes_with_the_eject(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp", now=lambda: 12.25) as (_, client):
        await client.execute("device_add", driver=A57, id="two", core_id=2)
        await client.execute("device_add", driver=A57, core_id=3)
        for _ in range(2):
            assert await client.execute("device_del", id="two") == {"return": {}}
        assert await client.execute("device_del", id="/machine/peripheral-anon/device[0]") == {"return": {}}
        assert client.events == []
        assert 2 in machine.cpus
        machine.complete_unplug("two")
        machine.complete_unplug("/machine/peripheral-anon/device[0]")
        when = {"seconds": 12, "microseconds": 250_000}
        assert await client.event() == {
            "timestamp": when,
            "event": "DEVICE_DELETED",
            "data": {"device": "two", "path": "/machine/peripheral/two"},
        }
        assert (await client.event())["data"] == {"path": "/machine/peripheral-anon/device[0]"}
        assert await client.refused("device_del", id="two") == ("DeviceNotFound", "Device 'two' not found")
        assert await client.execute("device_add", driver=A57, id="three", core_id=2) == {"return": {}}


@in_loop
async def test_behaviour_9_boot_vcpus_are_not_removable(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        boot, cold = (f"/machine/unattached/device[{index}]" for index in (0, 1))
        assert await client.refused("device_del", id=boot) == (
            "GenericError", "Boot CPU(id0=0:0:0:0) hot-unplug not supported")  # fmt: skip
        assert await client.refused("device_del", id=cold) == (
            "GenericError", "Hot-unplug of cold-booted CPU not supported!")  # fmt: skip


@in_loop
async def test_behaviour_25_a_machine_without_hotplug_refuses_cleanly(tmp_path):
    machine = VirtMachine(cpus=2, hotplug=False)
    async with serving(machine, tmp_path / "qmp") as (_, client):
        assert await client.refused("query-hotpluggable-cpus") == (
            "GenericError", "machine does not support hot-plugging CPUs")  # fmt: skip
        assert await client.refused("device_add", driver=A57, core_id=1) == (
            "GenericError", "CPU hotplug not supported on this machine")  # fmt: skip


@in_loop
async def test_a_listener_that_refuses_a_plug_is_the_commands_error(machine, tmp_path):
    def refuse(event):
        raise gicv3.HotplugError("the firmware has no room")

    async with serving(machine, tmp_path / "qmp") as (_, client):
        notifier = Notifier(refuse)
        machine.hotplug_events.add(notifier)
        before = fingerprint(machine)
        refused = await client.refused("device_add", driver=A57, core_id=2)
        assert refused == ("GenericError", "the firmware has no room")
        assert fingerprint(machine) == before


@in_loop
async def test_a_bug_in_a_listener_is_an_error_for_the_client_and_told_to_the_log(machine, tmp_path, caplog):
    def fail(event):
        raise ZeroDivisionError("oops")

    async with serving(machine, tmp_path / "qmp") as (_, client):
        notifier = Notifier(fail)
        machine.hotplug_events.add(notifier)
        refused = await client.refused("device_add", driver=A57, core_id=2)
        assert refused == ("GenericError", "device_add failed: ZeroDivisionError: oops")
        assert "oops" in caplog.text
        assert await client.returned("query-name") == {}


@in_loop
async def test_stop_cont_and_reset_tell_every_client(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        other = await RawClient.connect(str(tmp_path / "qmp"))

        async def status():
            answer = await client.returned("query-status")
            return answer["running"], answer["status"]

        assert await status() == (True, "running")
        await client.execute("cont")
        for command, expected in [
            ("stop", (False, "paused")), ("stop", (False, "paused")), ("cont", (True, "running"))
        ]:  # fmt: skip
            await client.execute(command)
            assert await status() == expected
        await client.execute("system_reset")
        machine.psci.call(machine.cpus[0], 0x8400_0009)
        machine.psci.call(machine.cpus[0], 0x8400_0008)
        assert await status() == (False, "shutdown")
        await client.execute("cont")
        assert await status() == (False, "shutdown")
        await client.execute("system_reset")
        await client.execute("cont")
        assert await status() == (True, "running")
        host, guest = {"guest": False, "reason": "host-qmp-system-reset"}, {"guest": True, "reason": "guest-reset"}
        for end in (client, other):
            await end.execute("query-name")
            assert [(event["event"], event.get("data")) for event in end.events] == [
                ("STOP", None),
                ("RESUME", None),
                ("RESET", host),
                ("RESET", guest),
                ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}),
                ("RESET", host),
                ("RESUME", None),
            ]
        other.close()


@in_loop
async def test_quit_replies_and_is_told_to_who_waits(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (server, client):
        assert await client.execute("quit") == {"return": {}}
        assert client.events[0]["data"] == {"guest": False, "reason": "host-qmp-quit"}
        await server.wait_quit()
    assert not (tmp_path / "qmp").exists()


@in_loop
async def test_a_server_that_closes_with_clients_ends_quietly(machine, tmp_path):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with serving(machine, tmp_path / "qmp") as (server, client):
        await client.execute("query-status")
        await server.close()
        assert await client.reader.read() == b""
        await server.close()  # once more does no harm
    assert complaints == []


@in_loop
async def test_the_object_tree_shows_vcpus_and_the_gic(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        await client.execute("device_add", driver=A57, id="two", core_id=2)

        async def names(path):
            return {entry["name"]: entry["type"] for entry in await client.returned("qom-list", path=path)}

        assert await names("/") == {"type": "string", "machine": "child<virt-machine>"}
        assert await names("/machine/peripheral") == {"type": "string", "two": f"child<{A57}>"}
        assert await names("/machine/unattached") == {
            "type": "string",
            "device[0]": f"child<{A57}>",
            "device[1]": f"child<{A57}>",
            "device[2]": "child<arm-gicv3>",
        }
        values = {}
        for path in ("/machine/peripheral/two", "/machine/unattached/device[1]", "/machine/unattached/device[2]"):
            for name in await names(path):
                values[path[-9:], name] = await client.returned("qom-get", path=path, property=name)
        assert values["heral/two", "type"] == A57
        assert values["heral/two", "hotplugged"] is True
        assert values["device[1]", "hotplugged"] is False
        assert values["heral/two", "mp-affinity"] == 2
        assert values["heral/two", "core-id"] == 2
        assert values["device[2]", "num-cpu"] == 4
        assert values["device[2]", "num-irq"] == 288
        assert values["device[2]", "redist-region-count[0]"] == 4
        child = await client.returned("qom-get", path="/machine/peripheral", property="two")
        assert child == "/machine/peripheral/two"


@in_loop
async def test_query_commands_and_the_schema_list_what_there_is(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        assert {entry["name"] for entry in await client.returned("query-commands")} == set(COMMANDS)
        schema = {entry["name"]: entry for entry in await client.returned("query-qmp-schema")}
        assert {name for name, entry in schema.items() if entry["meta-type"] == "command"} == set(COMMANDS)
        assert {name for name, entry in schema.items() if entry["meta-type"] == "event"} == set(EVENTS)
        for entry in schema.values():
            used = [entry[key] for key in ("arg-type", "ret-type", "element-type") if key in entry]
            used += [member["type"] for member in entry.get("members", []) if "type" in member]
            assert set(used) <= schema.keys()
        for name in COMMANDS.keys() - {"quit", "qmp_capabilities"}:
            assert "has not been found" not in str(await client.execute(name))


@in_loop
async def test_a_stand_in_guest_ejects_refuses_or_ignores(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        rejected = []
        listener = Notifier(lambda event: rejected.append(event.stage) if event.status else None)
        machine.hotplug_events.add(listener)
        guest = StandInGuest(machine, Answer.IGNORE)
        await client.execute("device_add", driver=A57, id="two", core_id=2)
        machine.power_on(machine.cpus[2], 0x4000_0000)
        await client.execute("device_del", id="two")
        await client.execute("query-name")
        assert machine.cpus[2].unplug_requested
        guest.answer = Answer.REFUSE
        await client.execute("device_del", id="two")
        await client.execute("query-name")
        assert not machine.cpus[2].unplug_requested
        assert rejected == [HotplugStage.UNPLUG_REJECTED]
        guest.answer = Answer.EJECT
        await client.execute("device_del", id="two")
        assert (await client.event())["event"] == "DEVICE_DELETED"
        assert 2 not in machine.cpus


@in_loop
async def test_vcpus_that_never_go_are_enabled_and_disabled(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=2, policy=HotplugPolicy(admin_state=True))
    path = "/machine/unattached/device[1]"
    async with serving(machine, tmp_path / "qmp") as (_, client):
        for state in ("enable", "enable", "disable"):
            assert await client.execute("device_set", id=path, admin_state=state) == {"return": {}}
        assert len(await client.returned("query-cpus-fast")) == 2
        machine.complete_unplug(path)
        assert len(await client.returned("query-cpus-fast")) == 1
        slots = await client.returned("query-hotpluggable-cpus")
        assert [slot["qom-path"] for slot in slots] == [path, "/machine/unattached/device[0]"]
        for slot in slots:  # there it is, enabled or not
            core = await client.returned("qom-get", path=slot["qom-path"], property="core-id")
            assert core == slot["props"]["core-id"]
        listed = await client.returned("qom-list", path="/machine/unattached")
        kinds = {entry["name"]: entry["type"] for entry in listed[1:]}
        assert kinds == {"device[0]": f"child<{A57}>", "device[1]": f"child<{A57}>", "device[2]": "child<arm-gicv3>"}
        gic = "/machine/unattached/device[2]"
        for pe, there in ((0, True), (1, False)):
            assert await client.returned("qom-get", path=gic, property=f"gicc-accessible[{pe}]") is there
        assert await client.refused("device_set", id=path, admin_state="off") == (
            "GenericError", "Parameter 'admin-state' does not accept value 'off'")  # fmt: skip
        assert await client.refused("device_set", id="x", admin_state="enable") == (
            "DeviceNotFound", "Device 'x' not found")  # fmt: skip


@in_loop
async def test_a_request_that_times_out_is_an_event(tmp_path):
    now = 0
    policy = HotplugPolicy(request_timeout=5, clock=lambda: now)
    machine = VirtMachine(cpus=1, max_cpus=2, policy=policy)
    async with serving(machine, tmp_path / "qmp") as (_, client):
        await client.execute("device_add", driver=A57, id="one", core_id=1)
        await client.execute("device_del", id="one")
        now = 5
        machine.expire_unplug_requests()
        event = await client.event()
        assert event["event"] == "DEVICE_UNPLUG_GUEST_ERROR"
        assert event["data"] == {"device": "one", "path": "/machine/peripheral/one"}
        assert 1 in machine.cpus


@in_loop
async def test_what_the_guest_says_by_ost_is_listed_and_told(machine, tmp_path):
    async with serving(machine, tmp_path / "qmp") as (_, client):
        await client.execute("device_add", driver=A57, id="two", core_id=2)
        registers = machine.acpi_device.cpuhp

        def say(slot, event, status):
            for offset, size, value in ((0, 4, slot), (5, 1, 1), (8, 4, event), (5, 1, 2), (8, 4, status)):
                registers.write(offset, value, size)

        say(2, 0x200, 0)
        say(3, 3, 0x81)
        named = {"device": "two", "slot": "2", "slot-type": "CPU", "source": 0x200, "status": 0}
        empty = {"slot": "3", "slot-type": "CPU", "source": 3, "status": 0x81}
        listed = await client.returned("query-acpi-ospm-status")
        assert [entry["slot"] for entry in listed] == ["0", "1", "2", "3"]
        assert listed[2:] == [named, empty]
        assert [(event["event"], event["data"]) for event in client.events] == [
            ("ACPI_DEVICE_OST", {"info": named}),
            ("ACPI_DEVICE_OST", {"info": empty}),
        ]


@in_loop
async def test_a_machine_without_acpi_registers_has_no_ospm_status(tmp_path):
    async with serving(VirtMachine(cpus=1, hotplug=False), tmp_path / "qmp") as (_, client):
        refused = await client.refused("query-acpi-ospm-status")
        assert refused == ("GenericError", "command is not supported, missing ACPI device")
