"""The hot operations stay short: their instructions, counted by callgrind, against benchmarks/instructions.json."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import required

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return pytest.importorskip("benchmarks.instructions")


@pytest.mark.parametrize(("count", "problems"), [(90, 0), (100, 0), (110, 0), (110.1, 1), (200, 1)])
def test_an_operation_may_take_a_tenth_more_than_its_record(instructions: ModuleType, count: float, problems: int):
    assert len(instructions.grown({"cycle": (count, 50)}, {"cycle": [100, 50]})) == problems


def test_an_operation_without_a_record_is_a_problem(instructions: ModuleType):
    assert len(instructions.grown({"cycle": (100, 50)}, {})) == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_hot_operation_takes_a_tenth_more_instructions_than_recorded():
    required.tool("valgrind")
    command = [sys.executable, "-m", "benchmarks.instructions", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 2:
        required.unavailable(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
