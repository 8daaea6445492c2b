"""The agent's committed image is what its source builds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .qemu import IMAGE

CROSS_COMPILER = "aarch64-linux-gnu-gcc"


def test_committed_image_is_what_the_source_builds(tmp_path: Path) -> None:
    if shutil.which(CROSS_COMPILER) is None:
        pytest.skip(f"{CROSS_COMPILER} is not installed: the agent's image cannot be rebuilt")
    built = tmp_path / "agent.bin"
    subprocess.run(["sh", str(IMAGE.parent / "build.sh"), str(built)], check=True)
    assert built.read_bytes() == IMAGE.read_bytes()
