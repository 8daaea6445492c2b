"""The agent's committed image is what its source builds."""

from __future__ import annotations

import subprocess
from pathlib import Path

from required import tool

from .qemu import IMAGE


def test_committed_image_is_what_the_source_builds(tmp_path: Path) -> None:
    tool("aarch64-linux-gnu-gcc")
    built = tmp_path / "agent.bin"
    subprocess.run(["sh", str(IMAGE.parent / "build.sh"), str(built)], check=True)
    assert built.read_bytes() == IMAGE.read_bytes()
