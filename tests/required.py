"""What tests need and may lack: then they skip on a user's machine and fail in CI, where everything has to run."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"

_DEBIAN_PACKAGE = {
    "acpiexec": "acpica-tools",
    "aarch64-linux-gnu-as": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-objcopy": "gcc-aarch64-linux-gnu",
    "dtc": "device-tree-compiler",
    "iasl": "acpica-tools",
    "qemu-system-aarch64": "qemu-system-arm",
}


def unavailable(reason: str) -> NoReturn:
    """Skip the test, in CI fail it."""
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"{name} is not installed: apt-get install {_DEBIAN_PACKAGE.get(name, name)}")
    return path


def guest(name: str, folder: Path) -> Path:
    """The image of a guest of tests/guests, built in `folder`."""
    tool("aarch64-linux-gnu-gcc")
    image = folder / f"{name}.bin"
    subprocess.run([Path(__file__).parent / "guests" / "build.sh", name, image], check=True)
    return image
