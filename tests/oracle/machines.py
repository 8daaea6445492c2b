"""Where QEMU must be, and what happens where it is not."""

from __future__ import annotations

import os

import pytest

from . import qemu


def need_qemu() -> None:
    """Skips a test on a machine without QEMU, saying so; where CI=true its absence is a failure."""
    if qemu.version() is not None:
        return
    message = f"{qemu.BINARY} is not installed (Debian: qemu-system-arm): nothing is compared with QEMU"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
