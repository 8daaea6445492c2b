"""Fixtures of the comparison with QEMU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from required import unavailable

from .qemu import BINARY, VERSION, version


@pytest.fixture
def qemu_installed(require_tool: Callable[[str], str]) -> None:
    """The QEMU that the table of accepted differences was written for; without it skip, but fail in CI."""
    require_tool(BINARY)
    found = version()
    if not str(found).startswith(f"{VERSION}."):
        reason = f"{BINARY} is {found}, and the table of accepted differences was written for {VERSION}"
        unavailable(reason)
