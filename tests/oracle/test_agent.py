"""The agent: executes where it is told, and a program replays exactly."""

from __future__ import annotations

import numpy as np
import pytest

from .configs import CONFIGS
from .generate import Generator
from .ops import GICD_BASE, HOST_CPU, ICC, POP, PUSH, USE, Kind, Op, encode
from .qemu import Qemu
from .qemu_limits import without_crashes

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("qemu_installed")]


@pytest.mark.parametrize("name", ["ds1-smp1", "ds1-smp4-el2", "ds0-smp4-el2"])
def test_every_pe_executes_where_it_is_told(name: str) -> None:
    config = CONFIGS[name]
    worlds = [config.world(el) for el in range(1, config.base_el + 1)]
    program = [Op(Kind.MRS, cpu, world, reg=ICC["ICC_SRE_EL3"]) for cpu in range(config.smp) for world in worlds]
    with Qemu(config) as qemu:
        results = qemu.run(program)
    for op, result in zip(program, results):
        if op.world.el == 3:
            assert (result.value, result.esr) == (0xF, 0)
        else:
            assert (result.esr, result.fault_el) == (0x0200_0000, op.world.el)


def test_a_line_set_by_the_host_is_acknowledged_and_given_back() -> None:
    config = CONFIGS["ds1-smp4"]
    here = config.world(1)

    def line(level: int) -> Op:
        return Op(Kind.LINE, HOST_CPU, here, address=40, value=level)

    def msr(name: str, value: int = 0, flags: int = 0) -> Op:
        return Op(Kind.MSR, 2, here, reg=ICC[name], value=value, flags=flags)

    def write(address: int, value: int, kind: Kind = Kind.W32) -> Op:
        return Op(kind, 2, here, address=GICD_BASE + address, value=value)

    program = [write(0, 2), write(0x84, 1 << 8), write(0x104, 1 << 8), write(0x6000 + 8 * 40, 2, Kind.W64)]
    program += [msr("ICC_PMR_EL1", 0xFF), msr("ICC_IGRPEN1_EL1", 1), line(1), Op(Kind.WINDOW, 2, here)]
    program += [
        Op(Kind.MRS, 2, here, reg=ICC["ICC_IAR1_EL1"], flags=PUSH),
        line(0),
        msr("ICC_EOIR1_EL1", flags=USE | POP),
    ]
    program += [Op(Kind.MRS, 2, here, reg=ICC["ICC_RPR_EL1"]), msr("ICC_EOIR1_EL1", flags=USE)]
    with Qemu(config) as qemu:
        window, acknowledge, _, end, running, nothing_left = qemu.run(program)[-6:]
    assert (window.taken, window.isr) == (1 << 2, 0x80)
    assert (acknowledge.value, end.value, running.value, nothing_left.value) == (40, 40, 0xFF, 1023)


@pytest.mark.parametrize("name", ["ds1-smp1", "ds1-smp4", "ds0-smp4-el2"])
def test_a_program_replays_exactly_after_reset_and_in_another_process(name: str) -> None:
    queues = [encode(without_crashes(Generator(CONFIGS[name], seed, 2000).program())) for seed in range(5)]
    answers = []
    for _ in range(2):
        with Qemu(CONFIGS[name]) as qemu:
            for queue in (*queues, *queues):
                qemu.reset()
                answers.append(qemu.run_queue(queue))
    for index, answer in enumerate(answers):
        assert np.array_equal(answer, answers[index % len(queues)])
