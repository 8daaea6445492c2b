"""Where a server listens: a socket file of its owner's, or the loopback interface; nowhere else."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import stat
from pathlib import Path

from gicv3.errors import ConfigError

BACKLOG = 16
_PORT = re.compile("[0-9]{1,5}")
MAX_PATH = 107
"""Bytes of a socket file's path on Linux: sun_path without its end."""


class Listener:
    """A listening socket; `name` is its address, as a client is told it.

    Parameters: `address`, `unix:PATH`, a socket file that only its owner may use, made with mode 0600; or
    `tcp:HOST:PORT` with a loopback address (port 0: any free one).
    Raises: ConfigError for any other; OSError.
    """

    def __init__(self, address: str) -> None:
        kind, _, rest = address.partition(":")
        self._inode = 0
        if kind == "unix" and rest and "\0" not in rest:
            self.socket = _unix(rest)
            self._path = Path(rest).absolute()
            self._inode = self._path.lstat().st_ino
            self.name = address
            return
        host, _, port = rest.rpartition(":")
        if kind != "tcp" or not host or not _PORT.fullmatch(port) or int(port) > 65535:
            raise ConfigError(f"address must be unix:PATH or tcp:127.0.0.1:PORT, got {address!r}")
        self.socket = _tcp(address, host.strip("[]"), int(port))
        self.name = f"tcp:{host}:{self.socket.getsockname()[1]}"

    def close(self) -> None:
        """Stop listening, and remove the socket file, unless somebody else's has taken its place."""
        self.socket.close()
        if self._inode and self._path.exists() and self._path.lstat().st_ino == self._inode:
            self._path.unlink()


def _tcp(address: str, host: str, port: int) -> socket.socket:
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        ip = None
    if ip is None or not ip.is_loopback:
        raise ConfigError(f"a server listens on a loopback address only, got {address!r}")
    listener = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(ip), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        # The file gets the mode of the socket: at no time is it open to others.
        os.fchmod(listener.fileno(), 0o600)
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            Path(path).unlink()
            listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno is None:  # what Python itself says of a path that does not fit into an address
            raise ConfigError(
                f"a socket's path must have at most {MAX_PATH} bytes, got {len(os.fsencode(path))}"
            ) from None
        reason = error.strerror or str(error)
        if Path(path).exists() and not Path(path).is_socket():
            reason = "it exists and is no socket"
        raise OSError(error.errno, reason, path) from None
    return listener


def _is_stale(path: str) -> bool:
    """Whether a path is a socket that nobody listens on: what a server that was killed leaves behind."""
    return stat.S_ISSOCK(Path(path).lstat().st_mode) and not _is_listening(path)


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
