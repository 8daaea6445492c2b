"""Fixtures of the comparison with QEMU."""

from __future__ import annotations

import pytest
from required import tool, unavailable

from .qemu import BINARY, VERSION, version


@pytest.fixture
def qemu_installed() -> None:
    """The QEMU that the table of accepted differences was written for; without it skip, but fail in CI."""
    tool(BINARY)
    found = version()
    if not str(found).startswith(f"{VERSION}."):
        reason = f"{BINARY} is {found}, and the table of accepted differences was written for {VERSION}"
        unavailable(reason)
