"""The examples with a guest, and the guest of docs/unicorn.md, do what they say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3.unicorn import Stop

pytestmark = pytest.mark.guest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
DOCUMENT = (ROOT / "docs" / "unicorn.md").read_text(encoding="utf-8")


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


def test_guest_of_the_document_is_built_and_run_as_it_says(tmp_path: Path) -> None:
    required.tool("aarch64-linux-gnu-as")
    for module in ("typer", "elftools"):
        pytest.importorskip(module, exc_type=ImportError)
    block = r"^```asm\n(.*?)^```$.*?prints `01`:\n\n(.*?)\n\n"
    program, commands = re.findall(block, DOCUMENT, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "g.S").write_text(program)
    *build, run = map(shlex.split, commands.splitlines())
    for command in build:
        subprocess.run(command, cwd=tmp_path, check=True)
    assert run[0] == "gicv3"
    main = [sys.executable, "-c", "from gicv3.cli import main; main()"]
    result = subprocess.run([*main, *run[1:]], cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"01", b"")


def test_document_tells_every_end_of_a_run() -> None:
    assert [stop.name for stop in Stop if f"\n| `Stop.{stop.name}` | " not in DOCUMENT] == []
