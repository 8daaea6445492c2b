"""Drives `qemu-system-aarch64`: starts the machine with the agent, resets it, runs programs on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .configs import SPIS, Config
from .ops import QUEUE_DTYPE, RAM_BASE, TABLES, TABLES_SIZE, Kind, Op, Result, decode, encode

BINARY = "qemu-system-aarch64"
VERSION = "7.2"
"""The version that the table of accepted differences was written for."""
IMAGE = Path(__file__).parent / "agent" / "agent.bin"

_RAM_SIZE = 32 << 20
_ENTRY = 0x4020_0000
_HEADER = 0x4021_0000 - RAM_BASE
_OPS = 0x4040_0000 - RAM_BASE
_END = 0x040
_NCPU = 0x080
_READY = 0x100
MAX_OPS = (TABLES - RAM_BASE - _OPS) // QUEUE_DTYPE.itemsize

_SPIN_SECONDS = 200e-6
_STALL_SECONDS = 20.0


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """A killed test run must not leave a QEMU behind whose PEs spin for ever."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class OracleError(Exception):
    """QEMU died, hung or is not what the driver expects."""


@functools.cache
def version() -> str | None:
    """QEMU's version, or None when it is not installed."""
    binary = shutil.which(BINARY)
    if binary is None:
        return None
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+\.\d+\.\d+)", out)
    return match.group(1) if match else None


class Qemu:
    """A running QEMU whose PEs wait for operations; use as a context manager.

    Parameters: the configuration. Raises OracleError when QEMU cannot be started or stops. Not thread-safe.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._cleanup = contextlib.ExitStack()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Qemu:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops QEMU and removes its files."""
        self._cleanup.close()

    def _start(self) -> None:
        config = self.config
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="gicv3-oracle-", dir=shm)))
        ram = folder / "ram"
        with ram.open("wb") as file:
            file.truncate(_RAM_SIZE)
        with ram.open("r+b") as file:
            memory = mmap.mmap(file.fileno(), _RAM_SIZE)
        self._memory = np.frombuffer(memory, dtype=np.uint8)
        self._pc = self._u32(0)
        self._end = self._u32(_END)
        self._u32(_NCPU)[0] = config.smp
        self._ready = self._memory[_HEADER + _READY : _HEADER + _READY + 8 * config.smp].view(np.uint64)
        self._ops = self._memory[_OPS : _OPS + MAX_OPS * QUEUE_DTYPE.itemsize].view(QUEUE_DTYPE)

        listeners = []
        for name in ("qmp", "qtest"):
            listener = self._cleanup.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / name))
            listener.listen(1)
            listener.settimeout(_STALL_SECONDS)
            listeners.append(listener)
        switches = {"secure": config.secure, "virtualization": config.el2, "its": config.its}
        flags = ",".join(f"{name}={'on' if on else 'off'}" for name, on in switches.items())
        command = [BINARY, "-M", f"{config.machine},gic-version=3,{flags},memory-backend=ram0"]
        command += ["-object", f"memory-backend-file,id=ram0,size={_RAM_SIZE},mem-path={ram},share=on"]
        command += ["-m", str(_RAM_SIZE >> 20), "-cpu", "cortex-a57", "-smp", str(config.smp)]
        # One thread for all PEs: with one each, the waiting PEs fight over the host's cores.
        command += ["-accel", "tcg,thread=single", "-display", "none", "-nodefaults", "-no-user-config"]
        command += ["-chardev", f"socket,path={folder / 'qmp'},id=qmp0", "-mon", "chardev=qmp0,mode=control"]
        command += ["-qtest", f"unix:{folder / 'qtest'}", "-qtest-log", "none"]
        command += ["-device", f"loader,file={IMAGE},addr={_ENTRY:#x},force-raw=on"]
        for cpu in range(config.smp):
            command += ["-device", f"loader,addr={_ENTRY:#x},cpu-num={cpu}"]
        self._log = self._cleanup.enter_context((folder / "log").open("w+"))
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=_die_with_parent
        )
        self._cleanup.callback(self._stop)
        streams = []
        for listener in listeners:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise OracleError(f"QEMU did not connect: {self._output()}") from None
            self._cleanup.enter_context(connection)
            connection.settimeout(_STALL_SECONDS)
            streams.append(self._cleanup.enter_context(connection.makefile("rwb")))
        self._qmp, self._qtest = streams
        self._qmp.readline()
        self._command("qmp_capabilities")
        self._gic = self._find("child<arm-gicv3>")
        self._wait_ready()

    def _u32(self, offset: int) -> np.ndarray:
        return self._memory[_HEADER + offset : _HEADER + offset + 4].view(np.uint32)

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _output(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read().strip() or "(no output)"

    def _command(self, name: str, **arguments: object) -> Any:
        request = {"execute": name, "arguments": arguments}
        self._qmp.write(json.dumps(request).encode() + b"\n")
        self._qmp.flush()
        while True:
            line = self._qmp.readline()
            if not line:
                raise OracleError(f"QEMU stopped: {self._output()}")
            reply = json.loads(line)
            if "error" in reply:
                raise OracleError(f"{name}: {reply['error']}")
            if "return" in reply:
                return reply["return"]

    def _find(self, kind: str) -> str:
        path = "/machine/unattached"
        for entry in self._command("qom-list", path=path):
            if entry["type"] == kind:
                return f"{path}/{entry['name']}"
        raise OracleError(f"no {kind} below {path}")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _STALL_SECONDS
        while not self._ready.all():
            if self._process.poll() is not None:
                raise OracleError(f"QEMU stopped: {self._output()}")
            if time.monotonic() > deadline:
                raise OracleError(f"PEs not ready: {self._ready.tolist()}; {self._output()}")
            time.sleep(100e-6)
        levels = {int(value) & 0xF for value in self._ready}
        if levels != {self.config.base_el}:
            raise OracleError(f"{self.config.name}: agent starts at EL {levels}, expected {self.config.base_el}")

    def reset(self) -> None:
        """Resets the machine (GIC, PEs; input lines are low afterwards) and waits until every PE polls again."""
        self._ready[:] = 0
        self._end[0] = 0
        self._pc[0] = 0
        if self.config.its:
            self._memory[TABLES - RAM_BASE :][:TABLES_SIZE] = 0
        self._command("system_reset")
        self._wait_ready()

    def run(self, program: Sequence[Op]) -> Sequence[Result]:
        """Executes a program from where the machine is and returns one result per operation."""
        return decode(self.run_queue(encode(program)))

    def run_queue(self, queue: np.ndarray) -> np.ndarray:
        """Executes an encoded program (at most MAX_OPS operations) and returns the queue with the agent's answers."""
        count = len(queue)
        if count > MAX_OPS:
            raise ValueError(f"program length must be at most {MAX_OPS}, got {count}")
        self._wait_pc(int(self._end[0]))
        self._end[0] = 0
        self._pc[0] = 0
        self._ops[:count] = queue
        lines = np.flatnonzero(queue["kind"] == Kind.LINE).tolist()
        self._end[0] = count
        position = 0
        while position < len(lines):
            first = lines[position]
            stop = position + 1
            while stop < len(lines) and lines[stop] == first + stop - position:
                stop += 1
            self._wait_pc(first)
            self._set_lines(queue[first : first + stop - position])
            self._pc[0] = first + stop - position
            position = stop
        self._wait_pc(count)
        return self._ops[:count].copy()

    def _set_lines(self, rows: np.ndarray) -> None:
        commands = []
        for intid, pe, level in zip(rows["address"].tolist(), rows["depth"].tolist(), rows["value"].tolist()):
            pin = intid - 32 if intid >= 32 else SPIS + 32 * pe + intid
            commands.append(f"set_irq_in {self._gic} unnamed-gpio-in {pin} {level}\n")
        self._qtest.write("".join(commands).encode())
        self._qtest.flush()
        for _ in commands:
            if self._qtest.readline() != b"OK\n":
                raise OracleError(f"qtest refused a line; {self._output()}")

    def _wait_pc(self, target: int) -> None:
        pc = self._pc
        spin_until = time.monotonic() + _SPIN_SECONDS
        stall_at = spin_until + _STALL_SECONDS
        while pc[0] != target:
            now = time.monotonic()
            if now < spin_until:
                continue
            if self._process.poll() is not None:
                raise OracleError(f"QEMU stopped at operation {int(pc[0])}: {self._output()}")
            if now > stall_at:
                raise OracleError(f"QEMU hangs at operation {int(pc[0])}, waiting for {target}")
            time.sleep(50e-6)
