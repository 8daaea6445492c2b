"""QMP with the real client and its shell, as docs/qmp.md and the example show, and without a leak."""

import gc
import re
import socket
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
from qmp_client import A57, in_loop, serving
from required import unavailable

from gicv3.machine import VirtMachine
from gicv3.qmp import StandInGuest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def qemu_qmp():
    try:
        import qemu.qmp
    except ImportError:
        unavailable("qemu.qmp is not installed: pip install qemu.qmp")
    return qemu.qmp


@contextmanager
def command(*arguments):
    """`gicv3 qmp` as a process; yields the address it listens at."""
    run = [sys.executable, "-c", "from gicv3.cli import main; main()", "qmp", *map(str, arguments)]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process, process.stdout.readline().removeprefix("listening at ").strip()
        finally:
            process.terminate()
            try:
                assert process.wait(timeout=60) == 0
            finally:
                process.kill()


def test_the_shell_session_of_the_docs_is_what_happens(qemu_qmp, tmp_path):
    session = re.search(r"```qmp-shell\n(.*?)```", (ROOT / "docs/qmp.md").read_text(), re.DOTALL)[1]
    lines = session.splitlines()
    typed, expected = [line.removeprefix("(QEMU) ") for line in lines[::2]], lines[1::2]
    assert len(typed) > 5
    path = tmp_path / "qmp"
    with command("--listen", f"unix:{path}", "--cpus", 2, "--max-cpus", 4) as (_, address):
        assert address == f"unix:{path}"
        shell = [sys.executable, "-c", "from qemu.qmp.qmp_shell import main; main()", str(path)]
        environment = {"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            shell, input="\n".join(typed) + "\n", capture_output=True, text=True, env=environment, check=True
        )
    told = [line.removeprefix("(QEMU) ") for line in done.stdout.splitlines() if "{" in line]
    assert [line for line in told if "timestamp" not in line] == expected
    assert not path.exists()


def test_the_example_cycles_with_the_real_client(qemu_qmp, tmp_path):
    path = tmp_path / "qmp"
    with command("--listen", f"unix:{path}", "--listen", "tcp:127.0.0.1:0"):
        example = [sys.executable, str(ROOT / "examples/hotplug_qmp.py"), str(path), "--cycles", "100"]
        done = subprocess.run(example, capture_output=True, text=True, check=True)
    assert re.search(r"^OK: 100 cycles in .* memory grew by \d+ KiB$", done.stdout, re.MULTILINE), done.stdout


def test_the_command_gives_up_on_requests_that_nobody_answers(tmp_path):
    path = tmp_path / "qmp"
    with (
        command("--listen", f"unix:{path}", "--guest", "ignore", "--unplug-timeout", "0.01"),
        socket.socket(socket.AF_UNIX) as client,
        client.makefile("rwb", buffering=0) as stream,
    ):
        client.settimeout(60)
        client.connect(str(path))
        plug = b'{"execute": "device_add", "arguments": {"driver": "%s", "id": "one", "core-id": 1}}' % A57.encode()
        unplug = b'{"execute": "device_del", "arguments": {"id": "one"}}'
        stream.write(b"\n".join((b'{"execute": "qmp_capabilities"}', plug, unplug, b"")))
        while b"event" not in (line := stream.readline()):
            assert b"error" not in line
        assert b"DEVICE_UNPLUG_GUEST_ERROR" in line


def test_quit_ends_the_command_and_a_bad_address_fails(tmp_path):
    path = tmp_path / "qmp"
    with command("--listen", f"unix:{path}") as (process, _), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b'{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n')
        assert process.wait(timeout=60) == 0
    run = [sys.executable, "-c", "from gicv3.cli import main; main()", "qmp", "--listen", "tcp:0.0.0.0:1"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr == "gicv3 qmp: a server listens on a loopback address only, got 'tcp:0.0.0.0:1'\n"


@in_loop
async def test_cycles_over_qmp_leak_nothing(tmp_path):
    machine = VirtMachine(cpus=2, max_cpus=8)
    guest = StandInGuest(machine)
    async with serving(machine, tmp_path / "qmp") as (_, client):

        async def cycle(count):
            for turn in range(count):
                await client.execute("device_add", driver=A57, id="hot", core_id=2 + turn % 6)
                await client.execute("device_del", id="hot")
                assert (await client.event())["data"]["device"] == "hot"
            gc.collect()
            ours = tracemalloc.Filter(True, str(ROOT / "gicv3" / "*"))
            return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)

        tracemalloc.start()
        try:
            before = await cycle(100)
            after = await cycle(400)
        finally:
            tracemalloc.stop()
    # One word lost by each cycle would be 3,200.
    assert after - before < 2000
    guest.remove()
