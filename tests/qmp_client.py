"""A QMP client made of a socket: it sends any bytes, and takes the server's lines as they come."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Self

from gicv3.machine import VirtMachine
from gicv3.qmp import QmpServer

A57 = "cortex-a57-arm-cpu"
_open: list[RawClient] = []


class RawClient:
    """One connection; `events` are those that came while something else was waited for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.events: list[dict[str, Any]] = []
        _open.append(self)

    @classmethod
    async def connect(cls, path: str, negotiate: bool = True, limit: int = 1 << 26) -> Self:
        self = cls(*await asyncio.open_unix_connection(path, limit=limit))
        self.greeting = await self.line()
        if negotiate:
            assert await self.execute("qmp_capabilities") == {"return": {}}
        return self

    async def line(self) -> Any:
        text = await self.reader.readline()
        assert text.endswith(b"\r\n"), text
        return json.loads(text)

    async def reply(self) -> dict[str, Any]:
        """The next message that is no event."""
        while "event" in (message := await self.line()):
            self.events.append(message)
        return message

    async def event(self) -> dict[str, Any]:
        """The next event."""
        if not self.events:
            self.events.append(await self.line())
        return self.events.pop(0)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def execute(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        await self.send(json.dumps(request).encode() + b"\n")
        return await self.reply()

    async def ask(self, text: str | bytes) -> dict[str, Any]:
        """Send one line as it is. Returns: the reply."""
        await self.send((text.encode() if isinstance(text, str) else text) + b"\n")
        return await self.reply()

    async def returned(self, name: str, /, **arguments: Any) -> Any:
        return (await self.execute(name, **arguments))["return"]

    async def refused(self, name: str, /, **arguments: Any) -> tuple[str, str]:
        error = (await self.execute(name, **arguments))["error"]
        return error["class"], error["desc"]

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def serving(machine: VirtMachine, path: Any, **options: Any) -> AsyncIterator[tuple[QmpServer, RawClient]]:
    """A server at `path`, and a client that has negotiated."""
    try:
        async with QmpServer(machine, **options) as server:
            await server.listen(f"unix:{path}")
            yield server, await RawClient.connect(str(path))
    finally:
        while _open:
            _open.pop().close()
        await asyncio.sleep(0)  # a transport closes its socket at the loop's next turn


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run
