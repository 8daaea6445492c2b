"""`gicv3 bench` measures what it says and prints what a script can read. How fast it was is no matter here."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gicv3 import bench
from gicv3.cli.app import app

SMALL = ["bench", "--samples", "3", "--sizes", "1,4"]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "CYCLES", 500)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_question_is_answered_for_every_size_that_it_makes_sense_for() -> None:
    found = json.loads(run(*SMALL, "--json"))
    asked = [(name, cpus) for name, (_, least) in bench.QUESTIONS.items() for cpus in (1, 4) if cpus >= least]
    assert [(result["question"], result["cpus"]) for result in found["results"]] == asked
    assert all(0 < result["low"] <= result["median"] <= result["high"] for result in found["results"])
    assert {"processor", "python", "numpy", "gicv3"} <= set(found["environment"])


def test_the_table_has_the_machine_below_it() -> None:
    printed = run(*SMALL, "--only", "PLUG")
    assert "plug and unplug" in printed
    assert "gic.batch" not in printed
    assert "processor: " in printed


@pytest.mark.parametrize("sizes", ["0", "65537", "1,x", ""])
def test_a_wrong_size_is_refused(sizes: str) -> None:
    result = CliRunner().invoke(app, ["bench", "--sizes", sizes], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "1..65536" in result.output


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run(*SMALL, "--only", "plug", "--plot", str(tmp_path / "cost.svg"))
    assert "plug and unplug" in (tmp_path / "cost.svg").read_text() or (tmp_path / "cost.svg").stat().st_size > 1000


def test_a_wrong_answer_is_no_number() -> None:
    sample = bench.by_batch(4, False)
    bench.opened(4).set_ppi(0, 16, True)  # something else waits on PE 0
    bench.opened(4).redist[0]["GICR_ICENABLER0"] = 0xFFFF_0000
    try:
        with pytest.raises(AssertionError, match="another interrupt"):
            sample()
    finally:
        bench.opened.cache_clear()
