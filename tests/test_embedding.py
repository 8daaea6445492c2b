"""The examples for emulators without an adapter do what docs/embedding.md says."""

import os
import subprocess
import sys
from pathlib import Path

import gicv3

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_a_toy_cpu_sleeps_and_takes_its_timer_once_a_tick() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(gicv3.__file__).parent.parent)}
    command = [sys.executable, str(EXAMPLES / "toy_cpu.py")]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    assert printed.splitlines() == [
        line for tick in range(3) for line in (f"asleep at 7, tick {tick}", "interrupt 27")
    ]


def test_the_toy_is_as_short_as_its_page_says() -> None:
    source = (EXAMPLES / "toy_cpu.py").read_text()
    loop = source[source.index("class ToyCpu") : source.index("def main")]
    assert len([line for line in loop.splitlines() if line.strip()]) <= 40
