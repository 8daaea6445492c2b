"""`gicv3 bench` measures what it says and prints what a script can read. How fast it was is no matter here."""

import json
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from gicv3 import GICv3, VirtMachine, bench
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


def test_results_are_compared_with_those_of_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def came_out(*results: bench.Result) -> None:
        monkeypatch.setattr(bench, "measure", lambda *_: iter(results))

    came_out(bench.Result("single calls", 1, 100, 90, 110), bench.Result("single calls", 4, 100, 90, 110))
    (tmp_path / "then.json").write_text(run("bench", "--sizes", "1,4", "--json"))
    came_out(
        bench.Result("single calls", 1, 150, 140, 160),
        bench.Result("single calls", 4, 105, 95, 115),
        bench.Result("single calls", 64, 1, 1, 1),
    )
    printed = run("bench", "--sizes", "1,4,64", "--compare", str(tmp_path / "then.json")).splitlines()
    assert printed[0].endswith("now / then")
    assert [line.split()[-1] for line in printed[1:4]] == ["1.50", "(1.05)", "1e+03"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{}]}', '{"results": [{"question": "q", "cpus": 1, '
                                  '"median": 0, "low": 0, "high": 0}]}'])
def test_a_file_that_is_no_earlier_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(bench, "measure", pytest.fail)
    (tmp_path / "then.json").write_text(text)
    result = CliRunner().invoke(app, ["bench", "--compare", str(tmp_path / "then.json")], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert "must be what gicv3 bench --json printed" in result.output


@pytest.mark.parametrize("sizes", ["0", "65537", "1,x", ""])
def test_a_wrong_size_is_refused(sizes: str) -> None:
    result = CliRunner().invoke(app, ["bench", "--sizes", sizes], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "1..65536" in result.output


def test_a_size_that_the_question_makes_no_sense_for_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "--sizes", "1", "--only", "plug"], env={"COLUMNS": "200"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "must be 2 or more for 'plug', got '1'" in result.output


def test_a_size_that_is_given_twice_is_measured_once() -> None:
    results = json.loads(run("bench", "--samples", "3", "--sizes", "4,4,2,4", "--only", "plug", "--json"))["results"]
    assert [result["cpus"] for result in results] == [4, 2]


@pytest.mark.parametrize("name", ["a.xyz", "a", "missing/a.svg"])
def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bench, "measure", pytest.fail)
    result = CliRunner().invoke(app, ["bench", "--plot", str(tmp_path / name)], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert "must be a .png, .svg or .pdf file in a folder that exists" in result.output


def test_a_plot_has_a_line_for_the_question_and_a_marker_for_each_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run("bench", "--samples", "3", "--sizes", "2,3,4", "--only", "plug", "--plot", str(tmp_path / "cost.svg"))
    picture = (tmp_path / "cost.svg").read_text()
    assert "<!-- plug and unplug -->" in picture  # above the outlines of its letters
    inside = ElementTree.fromstring(picture).findall(".//{*}g[@clip-path]/{*}use")
    markers = Counter(mark.get("{http://www.w3.org/1999/xlink}href") for mark in inside)
    assert sorted(markers.values()) == [3, 6]  # the medians, and both quartiles of each


@pytest.fixture
def misled(monkeypatch: pytest.MonkeyPatch) -> None:
    """GICs on which something else waits than what is raised, and machines that plug another vCPU."""

    def open_misled(cpus: int) -> GICv3:
        gic = open_gic(cpus)
        for pe in range(cpus):
            gic.set_ppi(pe, 16, True)
            gic.redist[pe]["GICR_ICENABLER0"] = 0xFFFE_FFFF
        return gic

    open_gic, device_add = bench.open_gic, VirtMachine.device_add
    monkeypatch.setattr(bench, "open_gic", open_misled)
    monkeypatch.setattr(bench, "opened", cache(open_misled))
    monkeypatch.setattr(VirtMachine, "device_add", lambda machine, id, **props: device_add(machine, id=id, core_id=1))


@pytest.mark.usefixtures("misled")
@pytest.mark.parametrize("question", bench.QUESTIONS)
def test_a_wrong_answer_is_no_number(question: str) -> None:
    sample = bench.QUESTIONS[question][0](4)
    with pytest.raises(AssertionError, match=r"another interrupt|did not arrive|another vCPU"):
        sample()


def test_what_a_thread_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = bench.in_threads(2, 2)
    monkeypatch.setattr(bench, "check_taken", lambda *found: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample()


class Clocks:
    """In place of the module time: a thread's every sample takes 1 s of CPU time and `walls` of wall time."""

    def __init__(self, walls: list[float]) -> None:
        self.walls = iter(walls)
        self.thread = threading.local()

    def thread_time_ns(self) -> int:
        self.thread.busy = getattr(self.thread, "busy", -1) + 1
        return self.thread.busy * 10**9

    def perf_counter_ns(self) -> int:
        self.thread.started = not getattr(self.thread, "started", False)
        return 0 if self.thread.started else int(next(self.walls) * 10**9)


@pytest.mark.parametrize(
    ("threads", "walls", "seconds"),
    [
        (1, [7.0], 1.0),  # one thread's time is its CPU time
        (2, [1.0, 1.2], 1.2),
        (2, [1.3, 1.0, 1.1, 1.0], 1.1),  # disturbed, and repeated
        (2, [3.0] * 8 + [2.0] * 2, 2.0),  # always disturbed: a number, but never one too small
    ],
)
def test_a_sample_of_threads_that_others_disturbed_is_repeated(
    monkeypatch: pytest.MonkeyPatch, threads: int, walls: list[float], seconds: float
) -> None:
    clocks = Clocks(walls)
    monkeypatch.setattr(bench, "time", clocks)
    assert bench.in_threads(1, threads)() == seconds * 1e9 / bench.CYCLES / threads
    assert next(clocks.walls, None) is None
