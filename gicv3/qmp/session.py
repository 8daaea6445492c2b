"""One client: negotiation, requests in order, and what is sent to it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gicv3.qmp.commands import QEMU_VERSION, Commands
from gicv3.qmp.errors import QmpError
from gicv3.qmp.schema import check_arguments
from gicv3.qmp.wire import Framer, Malformed

READ_SIZE = 1 << 16
"""Bytes read at once: what a client may make the server do before others get their turn."""

_MEMBERS: Mapping[str, tuple[type, str]] = {
    "execute": (str, "a string"),
    "arguments": (dict, "an object"),
    "id": (object, "anything"),
}


class Session:
    """Serves one client until it leaves, or is made to leave.

    A request is carried out when the reply to the one before has been taken, so a client that sends and does not read
    stops itself. Events cannot wait: a client that leaves `max_events` of them unread is cut off.

    Parameters: `reader`, `writer`, the connection; `commands`; `package`, of the greeting; `max_request` in bytes;
    `max_events`, events waiting; `handshake` in seconds, after which a client must have negotiated.
    Thread-safety: the event loop's thread only.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        commands: Commands,
        *,
        package: str,
        max_request: int,
        max_events: int,
        handshake: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._commands = commands
        self._package = package
        self._framer = Framer(max_request)
        self._max_events = max_events
        self._handshake = handshake
        self._negotiated = False
        self._gone = False
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()

    async def serve(self) -> None:
        """Greet and serve; returns when the connection is closed."""
        sender = asyncio.create_task(self._send_all())
        try:
            with suppress(TimeoutError, OSError):
                version = {"qemu": QEMU_VERSION, "package": self._package}
                await self._reply({"QMP": {"version": version, "capabilities": []}})
                await self._receive_all()
                self._writer.close()
                async with asyncio.timeout(self._handshake):  # for what is on its way to it
                    await self._writer.wait_closed()
        finally:
            sender.cancel()
            self._writer.transport.abort()
            with suppress(asyncio.CancelledError):
                await sender

    def send_event(self, event: bytes) -> None:
        """Queue an event for a client that has negotiated; one that leaves too many unread is cut off."""
        if not self._negotiated or self._gone:
            return
        if len(self._outgoing) >= self._max_events:
            self.cut()
        else:
            self._put(event)

    def cut(self) -> None:
        """End the connection at once."""
        self._gone = True
        self._outgoing.clear()
        self._taken.set()
        self._writer.transport.abort()

    async def _receive_all(self) -> None:
        async with asyncio.timeout(self._handshake) as limit:
            while data := await self._reader.read(READ_SIZE):
                for request in self._framer.feed(data):
                    if not self._negotiated and isinstance(request, Malformed):
                        # A browser that was tricked into speaking to this port begins with lines of HTTP.
                        await self._reply(_error({}, QmpError(request.reason)))
                        return
                    await self._reply(self._respond(request))
                    if self._negotiated:
                        limit.reschedule(None)

    def _respond(self, request: Any) -> dict[str, Any]:
        identity: dict[str, Any] = {}
        try:
            if isinstance(request, Malformed):
                raise QmpError(request.reason)
            if not isinstance(request, dict):
                raise QmpError("QMP input must be a JSON object")
            if "id" in request:
                identity["id"] = request["id"]
            return {"return": self._execute(request), **identity}
        except QmpError as error:
            return _error(identity, error)

    def _execute(self, request: dict[str, Any]) -> Any:
        for member, value in request.items():
            kind = _MEMBERS.get(member)
            if kind is None:
                raise QmpError(f"QMP input member '{member}' is unexpected")
            if not isinstance(value, kind[0]):
                raise QmpError(f"QMP input member '{member}' must be {kind[1]}")
        if "execute" not in request:
            raise QmpError("QMP input lacks member 'execute'")
        name, arguments = request["execute"], request.get("arguments", {})
        if self._negotiated:
            if name == "qmp_capabilities":
                complete = "Capabilities negotiation is already complete, command ignored"
                raise QmpError(complete, "CommandNotFound")
            return self._commands.run(name, arguments)
        if name != "qmp_capabilities":
            raise QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound")
        check_arguments(name, arguments)
        self._negotiated = True
        return {}

    async def _reply(self, message: dict[str, Any]) -> None:
        """Queue a reply and wait until all is sent: the next request is not looked at before."""
        if not self._gone:
            self._put(encode(message))
        await self._drain()

    async def _drain(self) -> None:
        while self._outgoing:
            self._taken.clear()
            await self._taken.wait()
        if self._gone:
            raise ConnectionAbortedError

    def _put(self, message: bytes) -> None:
        self._outgoing.append(message)
        self._wake.set()

    async def _send_all(self) -> None:
        try:
            while True:
                while self._outgoing:
                    self._writer.write(self._outgoing[0])
                    await self._writer.drain()
                    if self._outgoing:
                        self._outgoing.popleft()
                self._taken.set()
                self._wake.clear()
                await self._wake.wait()
        except OSError:
            self.cut()


def encode(message: dict[str, Any]) -> bytes:
    """A message as it goes over the wire; ASCII, whatever is in it."""
    return json.dumps(message).encode() + b"\r\n"


def _error(identity: dict[str, Any], error: QmpError) -> dict[str, Any]:
    return {"error": {"class": error.kind, "desc": error.desc}, **identity}
