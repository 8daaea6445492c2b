"""The `gicv3` command itself: usage, statuses, and output that goes nowhere. Its commands have tests of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

import gicv3
from gicv3.cli import demo
from tests.test_demo import command


def test_version_is_an_option_too() -> None:
    result = command("--version")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == f"gicv3 {gicv3.__version__}"


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", "from gicv3.cli import main; main()", "version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "gicv3: No space left on device\n")


LONG = "unix:/tmp/" + "a" * 120


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["qmp", "--listen", "somewhere"], "address must be unix:PATH or tcp:127.0.0.1:PORT, got 'somewhere'"),
        (["qmp", "--listen", LONG], "a socket's path must have at most 107 bytes, got 125"),
        (["bench", "--only", "nothing"], "got 'nothing'"),
        (["bench", "--json", "--compare", __file__], "is for the table, not for --json"),
        (["stress", "--report", "report.txt"], "must be a .json or .html file, got 'report.txt'"),
        (["bench", "--sizes", "0"], "got '0'"),
        (["stress", "--cycles", "0"], "--cycles"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_usage_is_status_2(options: list[str], text: str) -> None:
    result = command(*options)
    assert result.returncode == 2
    assert text in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    result = command("qmp", "--listen", f"unix:{path}")
    assert result.returncode == 1
    assert "it exists and is no socket" in result.stderr
    assert path.read_text() == "mine"


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    assert demo.run(interrupts=20, quantum=1000, plain=False) == 0
    output = capsys.readouterr().out
    assert "starts" in output
    assert "…" not in output
