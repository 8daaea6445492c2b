"""QMP from those who mean no good, or do not know how: the server stays small, clear, and there for others."""

import asyncio
import json
import os
import socket
import stat

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qmp_client import A57, RawClient, in_loop, serving

from gicv3.errors import ConfigError
from gicv3.machine import VirtMachine
from gicv3.policy import HotplugPolicy
from gicv3.qmp import QmpServer, StandInGuest
from gicv3.qmp.schema import COMMANDS
from gicv3.qmp.wire import MAX_DIGITS, MAX_NESTING, Framer, Malformed

FUZZ_MESSAGES = int(os.environ.get("GICV3_QMP_FUZZ", "500"))
"""Messages of the fuzz test; docs/qmp.md has the command of the long run."""
BATCH = 50


def feed(*chunks, limit=1000):
    """What a framer makes of chunks of bytes, reasons in place of what is malformed."""
    framer = Framer(limit)
    values = [value for chunk in chunks for value in framer.feed(chunk)]
    return [value.reason if isinstance(value, Malformed) else value for value in values]


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'{"a": 1}', [{"a": 1}]),
        (b'{"a": 1}{"a": 2}\n[3]', [{"a": 1}, {"a": 2}, [3]]),
        (b'{"a":\r\n 1\n}\n', [{"a": 1}]),
        (b'{"a": "}{\\"]["}\n', [{"a": '}{"]['}]),
        (b'{"a": "\\\\"}{}\n', [{"a": "\\"}, {}]),
        (b'5\n"a"\nnull\n{}', [5, "a", None, {}]),
        (b"\n \t\r\n", []),
        (b'{"execute": nope} {"skipped": 1}\n{}', ["JSON parse error, expecting value", {}]),
        (b"nope\n{}", ["JSON parse error, expecting value", {}]),
        (b'{"a": "b\n{}', ["JSON parse error, stray byte", {}]),
        (b'{"a": "b\xff skipped\n{}', ["JSON parse error, stray byte", {}]),
        (b'{"half": \xff\n{}', ["JSON parse error, stray byte", {}]),
        (b'{\n"over":\nlines\n, "a": \xff skipped\n{}', ["JSON parse error, stray byte", {}]),
        (b'{\n"over":\nlines} skipped\n{}', ["JSON parse error, expecting value", {}]),
        (b"\xff\n{}", ["JSON parse error, invalid UTF-8", {}]),
        (b'{"a": "\xc3"}\n{}', ["JSON parse error, invalid UTF-8", {}]),
        (b'{"a": 1, "a": 2}\n{}', ["JSON parse error, duplicate key", {}]),
        (b'{"a": NaN}\n{}', ["JSON parse error, invalid keyword 'NaN'", {}]),
        (b'{"a": 1e400}\n{}', ["JSON parse error, number out of range", {}]),
        (b"[-1e309]\n{}", ["JSON parse error, number out of range", {}]),
        (b"[1e308]\n{}", [[1e308], {}]),
        (b"[" + b"9" * 901 + b"]\n{}", [[int("9" * 901)], {}]),
        (b"[}\n{}", ["JSON parse error, expecting value", {}]),
        (b"}\n{}", ["JSON parse error, expecting value", {}]),
        (b"[" + b"9" * 900 + b"]\n{}", [[int("9" * 900)], {}]),
        (b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"\n{}", [json.loads("[" * MAX_NESTING + "]" * MAX_NESTING), {}]),
        (b"[" * (MAX_NESTING + 1) + b"\n{}", ["JSON nesting depth limit exceeded", {}]),
        (b'"' + b"a" * 997 + b'"\n{}', ["a" * 997, {}]),
        (b'["' + b"a" * 996 + b'"]\n{}', [["a" * 996], {}]),
        (b'["' + b"a" * 997 + b'"]\n{}', ["JSON token size limit exceeded", {}]),
        (b'["' + b"a" * 5000 + b"\n{}", ["JSON parse error, stray byte", {}]),
        (b"a" * 5000 + b"\n{}", ["JSON token size limit exceeded", {}]),
        (b" " * 5000 + b"{}", [{}]),
    ],
)
def test_values_are_the_same_however_the_bytes_come(data, values):
    if len(data) < 2000:
        assert feed(data) == values
    # What is too long is noticed as soon as it is.
    assert feed(*(data[i : i + 1] for i in range(len(data))))[-1:] == values[-1:]
    if len(data) < 2000:
        for cut in range(len(data)):
            assert feed(data[:cut], data[cut:]) == values


def test_an_integer_has_at_most_a_thousand_digits():
    longest, longer = (b"[" + b"9" * digits + b"]\n" for digits in (MAX_DIGITS, MAX_DIGITS + 1))
    assert feed(longest, longer, limit=2000) == [[10**MAX_DIGITS - 1], "JSON parse error, number out of range"]


@given(st.binary(max_size=200), st.integers(1, 20))
@example(b"\xff", 1)
def test_after_any_bytes_a_cut_and_a_line_end_bring_the_framer_in_step_again(junk, step):
    chunks = [junk[i : i + step] for i in range(0, len(junk), step)]
    assert feed(*chunks, b"\xff\n", b'{"in": "step"}')[-1] == {"in": "step"}


def test_endless_input_is_not_kept():
    framer = Framer(1000)
    reasons = []
    for _ in range(10_000):
        reasons += [value.reason for value in framer.feed(b'{"a": "' + b"x" * 100)]
        assert len(framer._buffer) <= 1000 + 107
    assert len(reasons) == 1


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ids = st.sampled_from(["cpu1", "cpu2", "cpu3", "/machine/unattached/device[0]", "/machine", "/", ""])
arguments = st.dictionaries(
    st.sampled_from(
        ["driver", "id", "core-id", "path", "property", "enable", "node-id", "self", "core_id", "x", "bus"]
    ),
    scalars | ids | st.just(A57) | st.integers(-1, 4) | st.lists(scalars, max_size=2),
    max_size=4,
)
plugs = st.fixed_dictionaries(
    {"driver": st.just(A57), "core-id": st.integers(0, 3)},
    optional={"id": ids, "pmu": scalars, "mp-affinity": st.integers(0, 3) | scalars},
)
requests = st.builds(
    lambda name, arguments, more: json.dumps({"execute": name, "arguments": arguments, **more}).encode(),
    st.sampled_from([*COMMANDS, "nope"]),
    arguments,
    st.dictionaries(st.sampled_from(["id", "exec-oob", "x"]), scalars, max_size=1),
)
hotplug = st.builds(
    lambda name, arguments: json.dumps({"execute": name, "arguments": arguments}).encode(),
    st.just("device_add"),
    plugs,
) | st.builds(lambda id: json.dumps({"execute": "device_del", "arguments": {"id": id}}).encode(), ids)
broken = st.builds(
    lambda data, at, junk: data[:at] + junk + data[at:], requests, st.integers(0, 80), st.binary(max_size=4)
)
messages = hotplug | requests | broken | st.binary(max_size=40) | st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
).map(lambda value: json.dumps(value).encode())  # fmt: skip


@pytest.mark.timeout(3600)
@settings(max_examples=max(1, FUZZ_MESSAGES // BATCH))
@given(batch=st.lists(messages, min_size=BATCH, max_size=BATCH))
def test_fuzzed_messages_crash_nothing_and_leave_no_client_stuck(batch, tmp_path_factory):
    async def run():
        machine = VirtMachine(cpus=1, max_cpus=4, spis=32)
        guest = StandInGuest(machine)
        path = tmp_path_factory.mktemp("fuzz", numbered=True) / "qmp"
        async with serving(machine, path) as (_, client):
            end = b'\xff\n{"execute": "query-name", "id": "end"}\n'
            sending = asyncio.create_task(client.send(b"\n".join(batch) + end))
            while (message := await client.line()).get("id") != "end":
                kinds = message.keys() & {"return", "error", "event"}
                assert len(kinds) == 1
                if "error" in message:
                    assert message["error"].keys() == {"class", "desc"}
                    assert "failed: " not in message["error"]["desc"]
            await sending
            assert message == {"return": {}, "id": "end"}
            machine.check()
        guest.remove()

    asyncio.run(run())


@in_loop
async def test_a_client_that_speaks_no_qmp_is_told_and_closed_before_it_negotiates(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=2)
    async with serving(machine, tmp_path / "qmp") as (_, other):
        client = await RawClient.connect(str(tmp_path / "qmp"), negotiate=False)
        body = b'{"execute": "qmp_capabilities"}\n{"execute": "stop"}\n'
        await client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + body)
        assert await client.reply() == {"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}}
        assert await client.reader.read() == b""
        assert machine.running
        assert await other.returned("query-name") == {}


@in_loop
async def test_a_client_that_never_negotiates_is_closed(tmp_path):
    async with QmpServer(VirtMachine(cpus=1, max_cpus=2), handshake=0.01) as server:
        await server.listen(f"unix:{tmp_path / 'qmp'}")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "qmp")
        assert b"QMP" in await reader.readline()
        assert await reader.read() == b""
        writer.transport.abort()
        await asyncio.sleep(0)


@in_loop
async def test_a_client_that_has_negotiated_may_be_silent_for_ever(tmp_path):
    async with serving(VirtMachine(cpus=1, max_cpus=2), tmp_path / "qmp") as (_, client):
        loop = asyncio.get_running_loop()
        now = loop.time
        loop.time = lambda: now() + 1000
        for _ in range(3):
            assert await client.returned("query-name") == {}


@in_loop
async def test_one_client_too_many_is_told_and_a_place_is_free_again(tmp_path):
    path = tmp_path / "qmp"
    async with serving(VirtMachine(cpus=1, max_cpus=2), path, max_clients=2) as (_, first):
        second = await RawClient.connect(str(path))
        reader, writer = await asyncio.open_unix_connection(path)
        error = {"class": "GenericError", "desc": "there are 2 clients already"}
        assert json.loads(await reader.read()) == {"error": error}
        writer.transport.abort()
        second.writer.close()
        assert await second.reader.read() == b""
        while "error" in (third := await RawClient.connect(str(path), negotiate=False)).greeting:
            pass
        assert third.greeting == first.greeting


@in_loop
async def test_a_client_that_does_not_read_stops_itself_and_nobody_else(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=512)
    ran = 0

    def count(_):
        nonlocal ran
        ran += 1

    async with serving(machine, tmp_path / "qmp") as (server, client):
        query = server._commands.run
        server._commands.run = lambda name, arguments: (count(name), query(name, arguments))[1]
        slow = await RawClient.connect(str(tmp_path / "qmp"), limit=100_000)
        slow.writer.write(b'{"execute": "query-hotpluggable-cpus"}\n' * 100)
        for _ in range(200):
            assert await client.returned("query-name") == {}
        # Of 60 kB each the sockets hold a few.
        assert ran - 200 < 50
        for _ in range(100):
            assert len((await slow.reply())["return"]) == 512


@in_loop
async def test_a_client_that_leaves_events_unread_is_cut_off(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=2)
    async with serving(machine, tmp_path / "qmp", max_events=100) as (server, client):
        deaf = await RawClient.connect(str(tmp_path / "qmp"), limit=1000)
        told = 0
        while len(server._sessions) == 2:
            machine.stop()
            machine.cont()
            assert [(await client.event())["event"] for _ in range(2)] == ["STOP", "RESUME"]
            told += 2
        assert told > 100
        received = await deaf.reader.read()
        assert 0 < received.count(b"\n") <= told
        assert await client.returned("query-name") == {}


@in_loop
async def test_a_client_that_reads_is_not_cut_off_when_the_requests_of_all_vcpus_end_at_once(tmp_path):
    now = 0
    machine = VirtMachine(cpus=1, max_cpus=40, policy=HotplugPolicy(request_timeout=5, clock=lambda: now))
    async with serving(machine, tmp_path / "qmp", max_events=1) as (server, client):
        for core_id in range(1, 40):
            machine.device_add(id=f"cpu{core_id}", core_id=core_id)
            machine.device_del(f"cpu{core_id}")
        now = 5
        machine.expire_unplug_requests()
        assert {(await client.event())["data"]["device"] for _ in range(39)} == {f"cpu{n}" for n in range(1, 40)}
        for count in (41, 42):
            assert await client.returned("query-name") == {}
            for _ in range(count):
                server.send_event("STOP")
            if count == 41:
                assert [(await client.event())["event"] for _ in range(count)] == ["STOP"] * count
        assert await client.reader.read() == b""


@in_loop
async def test_a_client_that_vanishes_in_the_middle_is_forgotten(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=512)
    async with serving(machine, tmp_path / "qmp") as (server, client):
        for goodbye in (b"", b'{"execute": "quer', b'{"execute": "query-hotpluggable-cpus"}\n' * 100):
            other = await RawClient.connect(str(tmp_path / "qmp"))
            await other.send(goodbye)
            other.close()
            while len(server._sessions) > 1:
                await client.returned("query-name")


@in_loop
async def test_replies_arrive_though_the_client_has_said_all_it_will(tmp_path):
    async with serving(VirtMachine(cpus=1, max_cpus=512), tmp_path / "qmp") as (_, client):
        await client.send(b'{"execute": "query-hotpluggable-cpus"}\n' * 20)
        client.writer.write_eof()
        assert (await client.reader.read()).count(b"\r\n") == 20


@in_loop
async def test_the_socket_file_is_its_owners_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        async with serving(VirtMachine(cpus=1, max_cpus=2), tmp_path / "qmp"):
            assert stat.S_IMODE((tmp_path / "qmp").stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not (tmp_path / "qmp").exists()


@in_loop
async def test_only_a_socket_that_nobody_listens_on_is_replaced(tmp_path):
    machine = VirtMachine(cpus=1, max_cpus=2)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    (tmp_path / "file").write_text("precious")
    async with serving(machine, tmp_path / "qmp") as (server, client):
        assert await server.listen(f"unix:{tmp_path / 'stale'}") == f"unix:{tmp_path / 'stale'}"
        for taken, why in (("qmp", "in use"), ("file", "is no socket")):
            with pytest.raises(OSError, match=why):
                await server.listen(f"unix:{tmp_path / taken}")
        assert await client.returned("query-name") == {}
    assert (tmp_path / "file").read_text() == "precious"


@in_loop
async def test_a_server_leaves_the_socket_of_its_successor(tmp_path):
    path = tmp_path / "qmp"
    async with QmpServer(VirtMachine(cpus=1)) as first:
        await first.listen(f"unix:{path}")
        path.unlink()
        async with serving(VirtMachine(cpus=1), path) as (_, client):
            await first.close()
            assert path.exists()
            assert await client.returned("query-name") == {}


@in_loop
async def test_the_server_listens_where_only_this_host_can_reach_it():
    async with QmpServer(VirtMachine(cpus=1)) as server:
        for good in ("tcp:127.0.0.1:0", "tcp:localhost:0", "tcp:[::1]:0", "tcp:127.1.2.3:0"):
            try:
                name = await server.listen(good)
            except OSError:
                assert "::1" in good  # a host without IPv6
                continue
            assert name.startswith(good[:-1])
            assert int(name.rpartition(":")[2]) > 0
        for bad in ("tcp:0.0.0.0:0", "tcp:192.168.1.1:0", "tcp:[::]:0", "tcp:example.com:0", "tcp::0"):
            with pytest.raises(ConfigError, match="address"):
                await server.listen(bad)
        for bad in (
            "unix:",
            "tcp:127.0.0.1",
            "tcp:127.0.0.1:65536",
            "tcp:127.0.0.1:x",
            "udp:127.0.0.1:1",
            "",
            "tcp:127.0.0.1:" + "9" * 5000,
            "unix:\0x",
            "unix:x\0",
        ):
            with pytest.raises(ConfigError, match="unix:PATH or tcp"):
                await server.listen(bad)


def test_limits_have_limits():
    for name in ("max_clients", "max_request", "max_events"):
        with pytest.raises(ConfigError, match=name):
            QmpServer(VirtMachine(cpus=1), **{name: 0})
