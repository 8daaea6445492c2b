"""An unmodified Linux hot-plugs vCPUs by ACPI: the example, where a kernel is at hand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "hotplug_linux.py"
FILES = {option: os.environ.get(f"GICV3_LINUX_{option.upper()}", "") for option in ("kernel", "busybox")}


@pytest.mark.slow
@pytest.mark.guest
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not all(FILES.values()), reason="GICV3_LINUX_KERNEL and GICV3_LINUX_BUSYBOX name no files")
def test_linux_brings_plugged_cpus_online_and_ejects_them_with_a_clean_log() -> None:
    arguments = [f"--{option}={path}" for option, path in FILES.items()]
    done = subprocess.run(
        [sys.executable, EXAMPLE, *arguments, "--cycles", "6"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"then DEVICE_DELETED of (cpu\d)", done.stdout) == [f"cpu{slot}" for slot in range(2, 8)]
