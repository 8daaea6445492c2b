"""One GIC used from several threads at once stays whole; what each thread is told is true."""

import random
import threading
from collections.abc import Callable

import numpy
import pytest
from rig import SPURIOUS, Rig

CPUS = 64


def together(*bodies: Callable[[], None]) -> None:
    """Run bodies in threads that start at once; what one raises is raised here."""
    begin, raised = threading.Barrier(len(bodies)), []

    def run(body: Callable[[], None]) -> None:
        try:
            begin.wait()
            body()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


@pytest.fixture
def rig() -> Rig:
    rig = Rig(CPUS)
    for pe in range(CPUS):
        for intid in (1, 20, 27):
            rig.prepare(intid, pe)
    for intid in range(32, 64):
        rig.prepare(intid, intid % CPUS)
    return rig


def test_batches_and_calls_of_several_threads_leave_a_whole_gic(rig: Rig) -> None:
    gic = rig.gic
    pes = numpy.arange(CPUS)

    def wires() -> None:
        for turn in range(150):
            gic.batch.set_lines(20, pes, turn & 1)
            gic.batch.pulse_lines(numpy.arange(32, 64))

    def takers() -> None:
        for _ in range(150):
            gic.batch.ack_eoi(pes)

    def cycles() -> None:
        for _ in range(50):
            gic.batch.cycle(27, numpy.repeat(pes, 20))

    def calls() -> None:
        choice = random.Random(1)
        for _ in range(300):
            pe = choice.randrange(CPUS)
            gic.sysreg_write(pe, "ICC_SGI1R_EL1", 1 << 40 | 1 << 24)
            intid = gic.sysreg_read(pe, "ICC_IAR1_EL1")
            gic.sysreg_write(pe, "ICC_EOIR1_EL1", intid)
            gic.dist["GICD_IROUTER", choice.randrange(32, 64)] = gic.affinity(pe)
            gic.changed()

    def plugs() -> None:
        for turn in range(100):
            gic.set_cpustate(CPUS - 1, None, bool(turn & 1))

    def checks() -> None:
        for _ in range(20):
            gic.check()

    gic.on_line = lambda pe, line, level: None
    together(wires, takers, cycles, calls, plugs, checks)
    gic.check()


def test_batches_of_two_threads_are_whole_one_after_the_other(rig: Rig) -> None:
    taken: list[set[int]] = []

    def run(intid: int) -> None:
        for _ in range(100):
            taken.append(set(rig.gic.batch.cycle(intid, numpy.repeat(numpy.arange(CPUS), 4)).tolist()))

    together(lambda: run(20), lambda: run(27))
    assert all(found in ({20}, {27}) for found in taken)
    assert sum(rig.gic.counters(pe)["ppi"] for pe in range(CPUS)) == 2 * 100 * 4 * CPUS


def test_every_interrupt_is_taken_by_one_thread_only(rig: Rig) -> None:
    taken: list[int] = []

    def run() -> None:
        found = [rig.gic.batch.ack_eoi(numpy.arange(CPUS)) for _ in range(30)]
        taken.extend(intid for batch in found for intid in batch.tolist() if intid != SPURIOUS)

    rig.gic.batch.sysregs(numpy.arange(CPUS), "ICC_SGI1R_EL1", 1 << 40 | 1 << 24)  # everybody to all others
    together(run, run, run)
    assert taken == [1] * CPUS


def test_the_last_thing_told_of_a_line_is_its_level(rig: Rig) -> None:
    told: dict[int, bool] = {}
    rig.gic.on_line = lambda pe, line, level: told.__setitem__(pe, level)

    def run(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(100):
            pes = choice.sample(range(CPUS), 8)
            rig.gic.batch.set_lines(choice.choice((20, 27)), pes, choice.randrange(2))

    together(*(lambda seed=seed: run(seed) for seed in range(4)))  # type: ignore[misc]
    assert {pe: level for pe, level in told.items() if level} == {pe: True for pe in range(CPUS) if rig.gic.line(pe)}
