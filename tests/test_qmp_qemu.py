"""QMP compared with QEMU's own: its schema and its words."""

import asyncio
import json
import socket
import subprocess
from contextlib import contextmanager

import pytest
from qmp_client import serving
from required import tool
from test_qmp import REQUESTS

from gicv3.machine import VirtMachine
from gicv3.qmp.schema import ENUMS, introspect

pytestmark = pytest.mark.oracle


@contextmanager
def qemu(tmp_path):
    """A function that sends a line to a QEMU of the same machine and returns what it says, its reply last."""
    path = tmp_path / "qemu"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(60)
        machine = ["-machine", "virt,gic-version=3", "-cpu", "cortex-a57", "-smp", "2", "-display", "none", "-S"]
        monitor = ["-chardev", f"socket,id=qmp,path={path}", "-mon", "chardev=qmp,mode=control"]
        with subprocess.Popen([tool("qemu-system-aarch64"), "-nodefaults", *machine, *monitor]) as process:
            try:
                connection, _ = listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    connection.settimeout(60)

                    def tell(line):
                        stream.write(line.encode() + b"\n")
                        stream.flush()
                        messages = []
                        while not messages or "event" in messages[-1]:
                            messages.append(json.loads(stream.readline()))
                        return messages

                    assert "QMP" in json.loads(stream.readline())
                    assert tell('{"execute": "qmp_capabilities"}') == [{"return": {}}]
                    yield tell
            finally:
                process.kill()


def shape(schema, name, seen=()):
    """A type as a nested value without names, which mean nothing; a type inside itself ends there."""
    entry = schema[name]
    if name in seen:
        return "itself"
    seen = (*seen, name)
    match entry["meta-type"]:
        case "object":
            return {
                (member["name"], "default" in member): shape(schema, member["type"], seen)
                for member in entry["members"]
            }
        case "array":
            return [shape(schema, entry["element-type"], seen)]
        case "enum":
            return frozenset(entry["values"])
        case "builtin":
            return entry["json-type"]
        case kind:
            raise AssertionError(kind)


def differences(ours, theirs, path):
    """Where our shape is not theirs; an enumeration may leave out values."""
    if isinstance(ours, frozenset) and isinstance(theirs, frozenset):
        return [] if ours <= theirs else [f"{path}: {set(ours - theirs)} are no values"]
    if isinstance(ours, list) and isinstance(theirs, list):
        return differences(ours[0], theirs[0], f"{path}[]")
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{path}: members differ: {ours.keys() ^ theirs.keys()}"] if ours.keys() != theirs.keys() else []
        for member in ours.keys() & theirs.keys():
            found += differences(ours[member], theirs[member], f"{path}.{member[0]}")
        return found
    return [] if ours == theirs else [f"{path}: {ours} is not {theirs}"]


def test_commands_events_and_their_types_have_the_shapes_of_qemus_schema(tmp_path):
    with qemu(tmp_path) as tell:
        theirs = {entry["name"]: entry for entry in tell('{"execute": "query-qmp-schema"}')[-1]["return"]}
    ours = {entry["name"]: entry for entry in introspect()}
    found, compared = [], 0
    for name, entry in ours.items():
        if name == "device_set":  # after a proposal that no QEMU has
            continue
        for key in ("arg-type", "ret-type"):
            if key in entry:
                compared += 1
                found += differences(shape(ours, entry[key]), shape(theirs, theirs[name][key]), f"{name} {key}")
    assert found == []
    assert compared > 40
    assert not ENUMS["QMPCapability"]  # out-of-band execution is not offered


def test_qemu_refuses_wrong_requests_in_the_same_words(tmp_path):
    with qemu(tmp_path) as tell:
        for text, kind, desc in REQUESTS:
            if "exec-oob" in text:  # offered by QEMU, and not negotiated here: the same words
                assert desc in str(tell(text)[-1])
                continue
            assert tell(text)[-1] == {"error": {"class": kind, "desc": desc}}, text


CONTROL = ["stop", "stop", "system_reset", "cont", "cont", "system_reset", "stop", "cont", "quit"]


def said(messages):
    """Events and replies without their times."""
    return [(message.get("event"), message.get("data"), message.get("return")) for message in messages]


def test_events_of_control_come_before_the_reply_as_qemus_do(tmp_path):
    requests = [json.dumps({"execute": name}) for name in CONTROL]
    with qemu(tmp_path) as tell:
        tell('{"execute": "cont"}')  # it was started with -S
        theirs = [said(tell(request)) for request in requests]

    async def talk():
        async with serving(VirtMachine(cpus=2), tmp_path / "ours") as (_, client):
            ours = []
            for request in requests:
                await client.send(request.encode() + b"\n")
                messages = []
                while not messages or "event" in messages[-1]:
                    messages.append(await client.line())
                ours.append(said(messages))
            return ours

    assert asyncio.run(talk()) == theirs
    assert sum(event is not None for messages in theirs for event, *_ in messages) == 7
