"""The loops of benchmarks/: a wrong answer is no number, and every loop has its benchmark. How fast is no matter."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

DEAF = """
import gicv3
from benchmarks.subjects import python_cycle
python_cycle(gicv3.GICv3(gicv3.GICv3Config(cpus=1)), 3, seed=1)
"""


def test_a_wrong_answer_is_no_number_even_where_asserts_are_removed() -> None:
    done = subprocess.run([sys.executable, "-O", "-c", DEAF], cwd=ROOT, capture_output=True, text=True)
    assert "AssertionError: 3 acknowledges returned another INTID" in done.stderr


def pytest_benchmarks(*arguments: str) -> str:
    """Run pytest as `make bench` does; what it prints."""
    pytest.importorskip("pytest_benchmark")
    command = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_benchmark_runs() -> None:
    printed = pytest_benchmarks("benchmarks", "--benchmark-disable", "-k", "not 4096 and not 65536")
    assert "failed" not in printed


def test_every_loop_has_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    loops = vars(pytest.importorskip("benchmarks.loops"))
    named = {name for name, made in loops.items() if "Loop" in getattr(made, "__annotations__", {}).get("return", "")}
    files = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("bench_*.py"))
    missing = {name for name in named if not re.search(rf"\bloops\.{name}\b", files)}
    assert missing == {"constant"}  # a budget


ROUNDS = """
import pytest
from benchmarks.conftest import measure
from benchmarks.loops import Loop

@pytest.mark.parametrize("n_pe", [1])
def bench_it(measure, n_pe):
    measure(Loop(lambda seed: 3000.0 * seed, operations=100))
"""


def test_the_columns_are_ns_per_operation_of_the_loops_own_clock(tmp_path: Path) -> None:
    (tmp_path / "bench_it.py").write_text(ROUNDS)
    result = tmp_path / "result.json"
    printed = pytest_benchmarks(str(tmp_path), f"--rootdir={tmp_path}", f"--benchmark-json={result}")
    (found,) = json.loads(result.read_text())["benchmarks"]
    assert found["stats"]["data"] == pytest.approx([30e-9 * seed for seed in range(2, 11)])  # the first one warms up
    assert re.search(r"Name \(time in ns\) .*\n-+\nbench_it\[1\] +180\.0", printed)
