"""The examples with a guest do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

pytestmark = pytest.mark.guest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> list[str]:
    """Run one example in a process of its own; returns the lines it printed."""
    result = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_attached_uc_takes_its_own_and_an_outside_interrupt() -> None:
    assert run("attach_unicorn.py") == [
        "the handler ran 1 time, for INTID 5",
        "the handler ran 2 times, for INTID 27",
    ]


def test_machine_with_a_plugged_vcpu() -> None:
    *cpus, said = run("hotplug_unicorn.py")
    assert [re.sub(r"\d+ interrupts", "n", line) for line in cpus] == [
        "vCPU 0, affinity 0x0: online, n",
        "vCPU 1, affinity 0x1: online, n",
        "vCPU 2, affinity 0x2: online, n",
        "vCPU 3, affinity 0x3: absent, n",
    ]
    assert all(int(re.findall(r"(\d+) interrupts", line)[0]) > 50 for line in cpus[:3])
    for words in ("cpu 1 online", "cpu 2 online", "hello", "off"):
        assert words in said
