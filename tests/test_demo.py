"""The `gicv3` command: `demo` and `version`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)
pytest.importorskip("rich", exc_type=ImportError)
pytest.importorskip("typer", exc_type=ImportError)

import gicv3
from gicv3.cli import demo
from gicv3.guests import QUIT_OFFSET

pytestmark = pytest.mark.guest


def command(*arguments: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Run `gicv3 ...` in a process of its own, with no terminal."""
    code = f"{prelude}\nimport sys; from gicv3.cli import main; sys.argv[0] = 'gicv3'; main()"
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_demo_shows_vcpus_come_and_go_and_ends_with_ok() -> None:
    result = command("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("OK: ")
    steps = [line.split("  ")[-1] for line in lines if " s  " in line]
    assert [re.sub(r":.*", "", step) for step in steps] == [
        "boot 4 of 8 possible vCPUs",
        "1000 interrupts on each of the 4",
        "plug 4 vCPUs into the running guest",
        "1000 interrupts on each of the 8",
        "unplug the 4",
        "plug 4 vCPUs into the running guest again",
        "1000 interrupts on each of the 8",
        "switch off",
    ]
    rows = [line.split() for line in lines if re.match(r" +\d +0\.\d ", line)]
    totals = {int(row[0]): int(row[-2]) for row in rows}
    starts = {int(row[0]): int(row[-1]) for row in rows}
    assert totals.keys() == set(range(8))
    assert all(totals[cpu] >= (3000 if cpu < 4 else 2000) for cpu in range(8))
    assert starts == {cpu: 1 if cpu < 4 else 2 for cpu in range(8)}
    assert all(len(line) <= 80 for line in lines[:-1])


@pytest.mark.parametrize("quantum", [100, 20_000])
def test_demo_does_not_depend_on_the_quantum(quantum: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(interrupts=50, quantum=quantum, plain=True) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("OK: ")


def test_live_table_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(demo, "REFRESH", 0)
    assert demo.run(interrupts=20, quantum=1000, plain=False) == 0
    output = capsys.readouterr().out
    for state in ("absent", "plugged, off", "online"):
        assert state in output
    # Behind the code that shows the cursor again.
    assert "OK: " in output.splitlines()[-1]


def test_counts_that_differ_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    counters = gicv3.GICv3.counters

    def one_more(gic: gicv3.GICv3, pe: int) -> dict[str, int]:
        result = counters(gic, pe)
        result["ppi"] += pe == 3
        return result

    monkeypatch.setattr(gicv3.GICv3, "counters", one_more)
    assert demo.run(interrupts=10, quantum=1000, plain=True) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"FAILED: vCPU 3 counted \d+ PPIs, the GIC acknowledged \d+", last)


def test_guest_that_stops_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def plug(story: demo.Demo) -> None:
        story._write(QUIT_OFFSET, 4, 1)
        story._ring()
        story._run_until(lambda: False, "the guest did not start the vCPUs")

    monkeypatch.setattr(demo.Demo, "_plug", plug)
    assert demo.run(interrupts=10, quantum=1000, plain=True) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED: the guest did not start the vCPUs: it stopped, off"


def test_guest_that_never_gets_there_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 0)
    assert demo.run(interrupts=10, quantum=1000, plain=True) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED: the guest did not boot: nothing moved for 0 ticks"


def test_version_names_what_matters() -> None:
    result = command("version")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == f"gicv3 {gicv3.__version__}"
    assert any(line.startswith("unicorn 2.") for line in result.stdout.splitlines())


def test_help_lists_the_commands_there_are() -> None:
    result = command("--help")
    assert result.returncode == 0
    assert "demo" in result.stdout
    assert "version" in result.stdout


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_command_without_its_packages_says_what_to_install(package: str) -> None:
    result = command("version", prelude=f"import sys; sys.modules['{package}'] = None")
    assert result.returncode == 1
    assert "pip install 'gicv3[cli,unicorn]'" in result.stderr
    readme = Path(__file__).parent.parent / "README.md"
    assert "pip install '.[cli,unicorn]'" in result.stderr
    assert "pip install '.[cli,unicorn]'" in readme.read_text(encoding="utf-8")


def test_demo_without_unicorn_says_what_to_install() -> None:
    result = command("demo", prelude="import sys; sys.modules['unicorn'] = None")
    assert result.returncode == 1
    assert re.match(r"FAILED: .*pip install 'gicv3\[unicorn\]'", result.stdout.splitlines()[-1])
