"""The server: a machine's commands and events for any number of QMP clients."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import gicv3
from gicv3.acpi.cpuhp import OstInfo
from gicv3.errors import ConfigError
from gicv3.notifier import Notifier, collect, raise_all
from gicv3.plug import HotplugEvent, HotplugStage
from gicv3.qmp.address import Listener
from gicv3.qmp.commands import Commands, ost_info
from gicv3.qmp.errors import QmpError
from gicv3.qmp.session import Session, encode
from gicv3.qmp.wire import MAX_REQUEST
from gicv3.run_state import RunChange, RunEvent
from gicv3.vcpu import Vcpu

if TYPE_CHECKING:
    from gicv3.machine import VirtMachine

log = logging.getLogger(__name__)

_UNPLUG_EVENTS = {
    HotplugStage.DELETED: "DEVICE_DELETED",
    HotplugStage.UNPLUG_TIMEOUT: "DEVICE_UNPLUG_GUEST_ERROR",
}
_REASONS = {
    (RunChange.RESET, True): "guest-reset",
    (RunChange.RESET, False): "host-qmp-system-reset",
    (RunChange.SHUTDOWN, True): "guest-shutdown",
    (RunChange.SHUTDOWN, False): "host-qmp-quit",
}


class QmpServer:
    """Serves QMP for one machine from inside an event loop; use it as an asynchronous context manager.

    Commands run in the loop, one at a time, each at once; so does everything else that touches the machine: a program
    that runs vCPUs gives the loop its turn with `await asyncio.sleep(0)`.

    Parameters
    ----------
    machine : what the commands are about. The server listens to its events until it is closed.
    max_clients : connections at a time; a further one is told so and closed.
    max_request : bytes of one request.
    max_events : events that a client may leave unread, beside one for each possible vCPU, before it is cut off.
    handshake : seconds in which a client must have negotiated.
    now : the time of events, in seconds since 1970.

    Thread-safety: the event loop's thread only.
    """

    def __init__(
        self,
        machine: VirtMachine,
        *,
        max_clients: int = 16,
        max_request: int = MAX_REQUEST,
        max_events: int = 4096,
        handshake: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        for name, value in (("max_clients", max_clients), ("max_request", max_request), ("max_events", max_events)):
            if not 1 <= value <= 1 << 30:
                raise ConfigError(f"{name} must be in 1..{1 << 30}, got {value}")
        self._machine = machine
        self._max_clients = max_clients
        self._handshake = handshake
        self._limits: dict[str, Any] = {
            "max_request": max_request,
            # Requests of all vCPUs may end at once: in one turn of the loop, in which no client can read.
            "max_events": max_events + machine.max_cpus,
            "handshake": handshake,
        }
        self._now = now
        self._package = f"gicv3 {gicv3.__version__}"
        self._quit = asyncio.Event()
        self._commands = Commands(machine, self._package, self._on_quit)
        self._sessions: dict[Session, asyncio.Task[Any]] = {}
        self._listeners: dict[Listener, asyncio.Server] = {}
        self._notifiers = [Notifier(self._on_hotplug), Notifier(self._on_run)]
        machine.hotplug_events.add(self._notifiers[0])
        machine.run_events.add(self._notifiers[1])
        if machine.acpi_device is not None:
            self._notifiers.append(Notifier(self._on_ost))
            machine.acpi_device.ost_events.add(self._notifiers[-1])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def listen(self, address: str) -> str:
        """Accept clients at an address; may be called for several.

        Parameters: `address`, `unix:PATH` or `tcp:127.0.0.1:PORT`; port 0 is any free one.
        Returns: the address as it is now. Raises: ConfigError for an address that others could reach; OSError.
        """
        listener = Listener(address)
        start: Any = asyncio.start_unix_server if listener.socket.family == socket.AF_UNIX else asyncio.start_server
        self._listeners[listener] = await start(self._accept, sock=listener.socket)
        return listener.name

    async def wait_quit(self) -> None:
        """Wait until a client sends `quit`."""
        await self._quit.wait()

    async def close(self) -> None:
        """Close all connections, stop listening, and listen to the machine no more."""
        for notifier in self._notifiers:
            notifier.remove()
        errors: list[BaseException] = []
        for listener, server in self._listeners.items():
            server.close()
            collect(errors, listener.close)
        self._listeners.clear()
        for task in self._sessions.values():
            task.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        raise_all("listeners could not be closed", errors)

    def send_event(self, name: str, data: dict[str, Any] | None = None) -> None:
        """Tell every client of an event.

        Parameters: `name`, one of `gicv3.qmp.schema.EVENTS`; `data`, its members.
        """
        microseconds = int(self._now() * 1_000_000)
        seconds, microseconds = divmod(microseconds, 1_000_000)
        event: dict[str, Any] = {"timestamp": {"seconds": seconds, "microseconds": microseconds}, "event": name}
        if data:
            event["data"] = data
        message = encode(event)
        for session in self._sessions:
            session.send_event(message)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._sessions) >= self._max_clients:
            error = QmpError(f"there are {self._max_clients} clients already")
            writer.write(encode({"error": {"class": error.kind, "desc": error.desc}}))
            writer.close()
            return
        session = Session(reader, writer, self._commands, package=self._package, **self._limits)
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        try:
            await session.serve()
        except asyncio.CancelledError:
            pass  # the server closes
        except Exception:
            log.exception("a QMP session ended")
        finally:
            del self._sessions[session]

    def _on_quit(self) -> None:
        self.send_event("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
        # The client has its reply before the one who waits closes the server.
        asyncio.get_running_loop().call_soon(self._quit.set)

    def _on_hotplug(self, event: HotplugEvent) -> None:
        name = _UNPLUG_EVENTS.get(event.stage)
        if name is not None:
            self.send_event(name, _device(event.cpu))

    def _on_run(self, event: RunEvent) -> None:
        reason = _REASONS.get((event.change, event.guest))
        self.send_event(event.change.value, {"guest": event.guest, "reason": reason} if reason else None)

    def _on_ost(self, status: OstInfo) -> None:
        self.send_event("ACPI_DEVICE_OST", {"info": ost_info(*status)})


def _device(cpu: Vcpu) -> dict[str, str]:
    return {"path": cpu.qom_path} if cpu.id is None else {"device": cpu.id, "path": cpu.qom_path}
