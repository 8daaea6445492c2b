"""The loops of benchmarks/: a wrong answer is no number, and `make bench` has them all. How fast they are is no matter."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DEAF = """
import gicv3
from benchmarks.subjects import python_cycle
python_cycle(gicv3.GICv3(gicv3.GICv3Config(cpus=1)), 3, seed=1)
"""


def test_a_wrong_answer_is_no_number_even_where_asserts_are_removed() -> None:
    done = subprocess.run([sys.executable, "-O", "-c", DEAF], cwd=ROOT, capture_output=True, text=True)
    assert "AssertionError: 3 acknowledges returned another INTID" in done.stderr
