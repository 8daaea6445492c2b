"""An unmodified Linux hot-plugs vCPUs by ACPI: the example, with the kernel that `make linux` fetches."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.linux
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not (ROOT / "build/linux/kernel").exists(), reason="no kernel: `make linux` fetches one")
def test_linux_brings_plugged_cpus_online_and_ejects_them_with_a_clean_log() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/hotplug_linux.py", "--cycles", "6"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"then DEVICE_DELETED of (cpu\d)", done.stdout) == [f"cpu{slot}" for slot in range(2, 8)]
