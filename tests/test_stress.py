"""The stress loop: it repeats, it finds what is broken, and it says so in a few steps."""

import concurrent.futures
import json
import os
import pickle
import random
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from required import unavailable

from gicv3.errors import ConfigError
from gicv3.hotplug import CpuHotplugHandler
from gicv3.plug import HotplugEvent, HotplugStage
from gicv3.stress import Action, Interrupted, Report, Step, StressConfig, Violation, replay, run, run_seeds, write
from gicv3.stress.steps import WEIGHTS, generate
from gicv3.stress.world import World

ROOT = Path(__file__).parents[1]
SMALL = StressConfig(max_cpus=24, cycles=300, check_every=100)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_cpus", 1), ("max_cpus", 65537), ("cycles", 0), ("check_every", 0), ("duration", 0.0)],
)
def test_a_configuration_out_of_range_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be .*got {value}"):
        StressConfig(**{field: value})


def test_a_seed_is_the_same_run_and_another_is_another():
    def outcome(seed):
        report = run(StressConfig(max_cpus=24, cycles=300, check_every=100, seed=seed))
        assert report.ok, str(report)
        last = report.samples[-1]
        return report.steps, report.cycles, last.operations, last.plugged, last.interrupts

    assert outcome(1) == outcome(1) != outcome(2)


@pytest.mark.parametrize("max_cpus", [2, 3, 17, 300])
def test_a_machine_of_any_size_survives(max_cpus):
    report = run(StressConfig(max_cpus=max_cpus, cycles=500, check_every=250))
    assert report.ok, str(report)
    assert report.cycles == 500
    assert len(report.samples) >= 4
    assert report.samples[-1].interrupts > 0


def test_every_action_is_taken_and_does_something():
    config = StressConfig(max_cpus=8, seed=3)
    drawn = {step.action for step in islice(generate(config), 100_000)}
    assert WEIGHTS.keys() - drawn <= {Action.RESET, Action.SAVE}  # which are rare
    world = World(config)
    changed = set()

    def facts():
        powers = [cpu.power_state for cpu in world.machine.cpus.values()]
        return world.gic.state_digest(), len(world.asked), world.interrupts, powers, len(world.machine.timers)

    choose = random.Random(3)
    common = [action for action in WEIGHTS if action not in (Action.READ, Action.RESET)]
    for turn in range(3000):
        action = choose.choice(common) if turn % 100 else (Action.READ, Action.RESET)[turn // 100 % 2]
        before = facts() if action not in changed else None
        world.do(Step(action, choose.randint(1, 7), choose.getrandbits(32)))
        if before is not None and facts() != before:
            changed.add(action)
    world.check()
    assert world.operations > 50
    assert WEIGHTS.keys() - changed == {Action.FAIL_PLUG, Action.REFUSED, Action.READ, Action.SAVE}


@pytest.mark.parametrize("its", [False, True])
def test_a_machine_that_is_saved_and_loaded_in_the_middle_goes_on(its):
    world = World(StressConfig(max_cpus=8, its=its))
    choose = random.Random(4)
    actions = [action for action in WEIGHTS if action is not Action.RESET] + [Action.LPI] * its
    for _ in range(60):
        for _ in range(20):
            world.do(Step(choose.choice(actions), choose.randint(1, 7), choose.getrandbits(32)))
        world.do(Step(Action.SAVE, choose.randint(1, 7), choose.getrandbits(32)))
        world.check()


def test_lpis_come_and_go_and_are_taken():
    config = StressConfig(max_cpus=24, cycles=500, check_every=250, its=True)
    report = run(config)
    assert report.ok, str(report)
    world, taken = World(config), 0
    for turn in range(2000):
        slot = 1 + turn % 3
        world.do(Step(Action.FLIP if turn % 7 == 0 else Action.LPI, slot, turn * 0x9E37_79B9 & 0xFFFF_FFFF))
        before = world.interrupts
        world.do(Step(Action.WAKE, slot, 0))
        world.do(Step(Action.TAKE, slot, 3))
        taken += world.interrupts - before
    world.check()
    assert taken > 100
    world.do(Step(Action.RESET, 1, 0))
    world.do(Step(Action.PLUG, 1, 0))
    world.check()


@pytest.mark.guest
def test_guests_run_one_after_another_and_their_failure_is_told(monkeypatch):
    config = StressConfig(cycles=5, guest=True)
    report = run(config)
    assert report.ok, str(report)
    assert (report.cycles, report.steps, report.samples[-1].operations) == (8, 2, 24)
    assert "8 cycles of guests" in str(report)
    monkeypatch.setattr("gicv3.cli.demo.PATIENCE", 0)
    report = run(config)
    assert str(report).endswith("at step 0: DemoError: the guest did not boot: nothing moved for 0 ticks")
    monkeypatch.setattr("gicv3.cli.demo.Demo.play", lambda demo: [][demo.taken])
    assert str(run(config)).endswith("at step 0: IndexError: list index out of range")


def broken_unplug(skip):
    """`HotplugSteps._unplug` without one of its steps."""

    def unplug(self, cpu):
        if self.hotplug_events.heard:
            self.hotplug_events.propose(HotplugEvent(HotplugStage.UNPLUG, cpu), HotplugEvent.inverse)
        before = self.gic.save_pe(cpu.cpu_index)
        try:
            if skip != "wires":
                self._set_wires(cpu, False)
            if skip != "gic":
                self.update_gic(cpu, False)
        except BaseException:
            if skip != "restore":
                self.gic.restore_pe(cpu.cpu_index, before)
                self._set_wires(cpu, True)
            raise
        if skip != "forget":
            self._forget(cpu)

    return unplug


def test_the_planted_defects_differ_from_what_is_right_in_one_step_only(monkeypatch):
    monkeypatch.setattr(CpuHotplugHandler, "_unplug", broken_unplug(None))
    assert run(SMALL).ok


@pytest.mark.parametrize("skip", ["restore", "wires", "gic", "forget"])
def test_an_unplug_that_skips_a_step_is_found_and_shrunk(skip, monkeypatch):
    monkeypatch.setattr(CpuHotplugHandler, "_unplug", broken_unplug(skip))
    config = StressConfig(max_cpus=512, cycles=3000, check_every=500, seed=7)
    report = run(config)
    assert not report.ok
    failure = report.failure
    assert 1 <= len(failure.script) <= 10
    assert failure.max_cpus <= 64
    text = str(report)
    assert text.startswith("FAILED: seed 7")
    assert text.endswith("\n".join(f"  {step}" for step in failure.script))
    small = StressConfig(max_cpus=failure.max_cpus)
    # Each defect has an error of its own.
    with pytest.raises(Exception) as caught:
        replay(small, failure.script)
    assert failure.error.startswith(type(caught.value).__name__)
    # The step named is the first: the run is fine up to it.
    replay(config, islice(generate(config), min(failure.step, 40)))
    monkeypatch.undo()
    replay(small, failure.script)


def test_the_first_step_of_a_failure_is_found_with_few_checks(monkeypatch):
    checks, check, do = [], World.check, World.do
    wrong_from = 1234

    def counted(self):
        checks.append(self)
        check(self)
        if self.done > wrong_from:
            raise Violation("planted")

    def numbered(self, step):
        self.done = getattr(self, "done", 0) + 1
        do(self, step)

    monkeypatch.setattr(World, "check", counted)
    monkeypatch.setattr(World, "do", numbered)
    monkeypatch.setattr("gicv3.stress.loop.shrink", lambda config, steps, error: (list(steps), config.max_cpus))
    report = run(StressConfig(max_cpus=24, cycles=4000, check_every=1000))
    assert (report.failure.step, len(report.failure.script)) == (wrong_from, wrong_from + 1)
    assert report.failure.error == "Violation: planted"
    assert report.steps > wrong_from + 100
    assert len(checks) < 100


def hide_until(cycles, monkeypatch):
    """Break what no part of a run shows that has fewer cycles. Returns: a list of the steps done since."""
    done, do = [], World.do

    def counted(self, step):
        done.append(step)
        do(self, step)
        if self.cycles > cycles:
            raise Violation("planted")

    monkeypatch.setattr(World, "do", counted)
    return done


def test_the_search_for_a_short_script_ends_and_what_is_too_long_to_show_is_in_json(monkeypatch):
    monkeypatch.setattr("gicv3.stress.shrink.BUDGET", 20_000)
    done = hide_until(600, monkeypatch)
    report = run(StressConfig(max_cpus=24, cycles=1000, check_every=100))
    assert 3 * report.steps < len(done) <= 3 * report.steps + 20_000
    script = report.failure.script
    assert 1000 < len(script) <= report.steps
    assert str(report).endswith(
        f"{len(script)} steps on {report.failure.max_cpus} possible vCPUs lead there; a report in JSON has them"
    )
    assert len(json.loads(report.to_json())["failure"]["script"]) == len(script)


def test_a_failure_is_in_the_report_before_it_is_shrunk(monkeypatch, tmp_path, capsys):
    from gicv3.cli import stress

    def interrupted(*_):
        raise KeyboardInterrupt

    hide_until(10, monkeypatch)
    monkeypatch.setattr("gicv3.stress.loop.shrink", interrupted)
    path = tmp_path / "out.json"
    assert stress.run(SMALL, 1, None, path) == 130
    failure = json.loads(path.read_text())[0]["failure"]
    assert (failure["error"], failure["script"]) == ("Violation: planted", [])
    assert capsys.readouterr().out.startswith(
        f"step {failure['step']}: Violation: planted: shrinking it\nFAILED: seed 1: "
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_ctrl_c_leaves_a_report_of_what_was_done(seeds, monkeypatch, tmp_path, capsys):
    from gicv3.cli import stress

    do = World.do

    def interrupt(self, step):
        do(self, step)
        if self.cycles == 150:
            raise KeyboardInterrupt

    def one_after_another(config, seeds, jobs, done):
        for seed in seeds:
            if seed == 3:
                monkeypatch.setattr(World, "do", interrupt)
            done(run(replace(config, seed=seed)))

    monkeypatch.setattr(stress, "run_seeds", one_after_another)
    if seeds == 1:
        monkeypatch.setattr(World, "do", interrupt)
    path = tmp_path / "out.json"
    config = StressConfig(max_cpus=24, cycles=200, check_every=50)
    assert stress.run(config, seeds, None, path) == 130
    reports = json.loads(path.read_text())
    text = capsys.readouterr().out
    if seeds == 1:
        assert [(report["ok"], report["interrupted"], report["cycles"]) for report in reports] == [(True, True, 150)]
        assert reports[0]["steps"] > 150
        assert text.startswith("INTERRUPTED: seed 1: 150 cycles on 24 vCPUs")
    else:
        assert [(report["config"]["seed"], report["cycles"]) for report in reports] == [(1, 200), (2, 200)]
        assert text.count("OK: ") == 2
        assert text.endswith("INTERRUPTED: 2 of 3 seeds are done\n")


def test_an_interrupted_run_in_another_process_comes_back_with_its_report():
    report = run(SMALL)
    again = pickle.loads(pickle.dumps(Interrupted(report)))
    assert isinstance(again, KeyboardInterrupt)
    assert again.report == report


def test_the_report_is_json_and_a_page_with_or_without_plots(tmp_path, monkeypatch):
    report = run(SMALL)
    write(tmp_path / "out.json", [report, report])
    data = json.loads((tmp_path / "out.json").read_text())
    assert [entry["ok"] for entry in data] == [True, True]
    assert data[0]["config"]["max_cpus"] == 24
    assert data[0]["samples"][-1]["operations"] == report.samples[-1].operations
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write(tmp_path / "out.html", [report])
    page = (tmp_path / "out.html").read_text()
    assert "pip install matplotlib" in page
    assert "OK: seed 1: 300 cycles on 24 vCPUs" in page


def test_the_page_has_plots(tmp_path):
    script = (
        "import sys; from gicv3.stress import *; "
        "write(sys.argv[1], [run(StressConfig(max_cpus=24, cycles=300, check_every=100))])"
    )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        unavailable("matplotlib is not installed: pip install matplotlib")
    page = tmp_path / "stress.html"
    subprocess.run([sys.executable, "-c", script, str(page)], check=True, cwd=ROOT)
    assert page.read_text().count("<svg") == 1


def test_seeds_run_on_any_executor_and_come_back_in_order():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        told = []
        reports = run_seeds(SMALL, [5, 3, 4], executor, told.append)
    assert [report.config.seed for report in reports] == [5, 3, 4]
    assert told == reports
    assert all(isinstance(report, Report) and report.ok for report in reports)


def command(*arguments):
    run = [sys.executable, "-c", "from gicv3.cli import main; main()", "stress", *map(str, arguments)]
    return subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_command_runs_seeds_in_processes_and_writes_a_report(tmp_path):
    done = command("--max-cpus", 24, "--cycles", 200, "--seeds", 2, "--jobs", 1, "--report", tmp_path / "out.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^OK: seed (\d+): 200 cycles on 24 vCPUs", done.stdout, re.MULTILINE) == ["1", "2"]
    assert [entry["config"]["seed"] for entry in json.loads((tmp_path / "out.json").read_text())] == [1, 2]


def test_the_command_ends_in_time():
    done = command("--max-cpus", 24, "--cycles", 10**9, "--check-every", 50, "--duration", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("OK: seed 1: ")


def test_a_report_that_cannot_be_written_is_noticed_before_the_run(tmp_path):
    path = tmp_path / "missing" / "out.html"
    done = command("--max-cpus", 24, "--cycles", 10, "--report", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gicv3: {path}: No such file or directory\n"


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_processes_of_a_command_end_with_it(number, status):
    # A shell that starts a job in the background has it ignore SIGINT.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run = [sys.executable, "-c", f"{heed}; from gicv3.cli import main; main()", "stress"]
    with subprocess.Popen([*run, "--cycles", str(10**9), "--seeds", "2", "--jobs", "2"], cwd=ROOT) as process:
        while len(workers := children(process.pid)) < 3:  # two, and multiprocessing's own
            assert process.poll() is None
            time.sleep(0.05)
        ends = [os.pidfd_open(int(pid)) for pid in workers]
        process.send_signal(number)
        assert process.wait(timeout=60) == status
        for end in ends:
            assert select.select([end], [], [], 60)[0]
            os.close(end)


def test_a_failing_command_says_how_to_repeat_it(monkeypatch, capsys):
    from gicv3.cli import stress

    monkeypatch.setattr(CpuHotplugHandler, "_unplug", broken_unplug("gic"))
    config = StressConfig(max_cpus=24, cycles=300, check_every=100, seed=9)
    assert stress.run(config, 1, None, None) == 1
    out = capsys.readouterr().out
    assert "FAILED: seed 9: " in out
    assert out.endswith("again: gicv3 stress --max-cpus 24 --cycles 300 --check-every 100 --seed 9\n")


OTHERS = """
import gicv3

def test_good(gic_stress):
    assert gic_stress(max_cpus=8, cycles=50, check_every=25).cycles == 50

def test_bad(gic_stress, monkeypatch):
    monkeypatch.setattr(gicv3.VirtMachine, "_forget", lambda self, cpu: None)
    gic_stress(max_cpus=8, cycles=50, check_every=25)
"""


def test_the_fixture_passes_and_fails_the_tests_of_others(tmp_path):
    (tmp_path / "test_others.py").write_text(OTHERS)
    pytest_there = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "gicv3.pytest_plugin",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(pytest_there, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED: seed 1: " in done.stdout
    assert re.search(r"\d+ steps on \d+ possible vCPUs lead there:", done.stdout)


def test_dask_runs_the_seeds_as_the_docs_show():
    try:
        import distributed  # noqa: F401
    except ImportError:
        unavailable("dask.distributed is not installed: pip install 'dask[distributed]'")
    example = [
        sys.executable,
        "-W",
        "ignore",
        str(ROOT / "examples/stress_cluster.py"),
        "--seeds",
        "2",
        "--cycles",
        "200",
    ]
    done = subprocess.run(example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^OK: seed (\d+): 200 cycles", done.stdout, re.MULTILINE) == ["1", "2"]
