"""`python -m benchmarks.ratios`: its command line, and what --check makes of ratios. No ratio is measured here."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def ratios(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    pytest.importorskip("Cython")
    return pytest.importorskip("benchmarks.ratios")


def rows(ratios: ModuleType, *found: tuple[float, float | None]) -> Iterator[object]:
    """A row for each (ratio, limit)."""
    for ratio, limit in found:
        yield ratios.Row("lookup", 16, 10.0, 5.0, ratio, ratio, ratio, limit)


LIMITS = [
    ([(2.0, 2.0), (9.0, None)], 0),
    ([(0.5, 1.0), (2.001, 2.0)], 1),
    ([(2.001, 2.0), (0.5, 1.0)], 1),
]


@pytest.mark.parametrize(("found", "over"), LIMITS)
@pytest.mark.parametrize("check", [True, False])
def test_a_ratio_over_its_limit_is_told_and_with_check_it_is_the_exit_status(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    found: list[tuple[float, float | None]], over: int, check: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(ratios, "lookup_rows", lambda sizes, turns: rows(ratios, *found))
    arguments = ["--only", "lookup", "--json", str(tmp_path / "out.json"), *(["--check"] if check else [])]
    assert ratios.main(arguments) == (over if check else 0)
    printed = capsys.readouterr()
    assert printed.err == over * "over its limit: lookup, 16 PEs: 2 > 2\n"
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["ratio"] for row in written["rows"]] == [ratio for ratio, _ in found]
    assert "commit: " in printed.out


REFUSED = {
    "no such group": (["--only", "nosuch"], "--only must be part of one of cycle, batch, drain, msi, lookup"),
    "no row": (["--only", "machine", "--sizes", "16"], "no row of machine is for 16 PEs"),
    "no number": (["--sizes", "x"], "must be numbers in 1..65536 with commas, got 'x'"),
    "no size": (["--sizes", ""], "must be numbers in 1..65536 with commas, got ''"),
    "too few": (["--sizes", "4,0"], "must be numbers in 1..65536 with commas, got '4,0'"),
    "too many": (["--sizes", "65537"], "must be numbers in 1..65536 with commas, got '65537'"),
    "turns": (["--turns", "2"], "--turns must be at least 3, got 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_line_that_measures_nothing_is_an_error(
    ratios: ModuleType, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments, text = REFUSED[name]
    with pytest.raises(SystemExit) as caught:
        ratios.main([*arguments, "--check"])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_a_size_that_is_given_twice_is_measured_once(ratios: ModuleType) -> None:
    assert ratios.sizes_of("4,1,4") == (4, 1)


def test_a_ratio_is_the_median_of_turns_without_the_first(ratios: ModuleType) -> None:
    mine, others = ([10.0 * turn for turn in times] for times in ([99, 1, 9, 4], [1, 2, 2, 2]))
    row = ratios.compare(
        "question", 16, ratios.Loop(mine.__getitem__, 10), ratios.Loop(others.__getitem__, 10), turns=3, limit=0.5
    )
    assert (row.ratio, row.low, row.high, row.ours, row.theirs, row.limit) == (2.0, 0.5, 4.5, 4.0, 2.0, 0.5)
    assert ratios.over_limit([row]) == ["over its limit: question, 16 PEs: 2 > 0.5"]
