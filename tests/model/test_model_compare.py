"""Core and slow model side by side, briefly; ``python -m tests.model.compare`` runs the same for as long as wanted."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from .builder import Op
from .config import ModelConfig
from .configs import CONFIGS, COST
from .programs import Generator
from .programs_its import generator_for
from .runner import ModelRun, Pair, build_program, explain, run, shrink, sweep

PROGRAMS = 4


@pytest.mark.parametrize("name", CONFIGS)
def test_core_and_model_agree_on_seeded_programs(name: str) -> None:
    keywords = CONFIGS[name]
    programs, length = (1, 100) if name in COST else (PROGRAMS // 2 if keywords.get("lpis") else PROGRAMS, 400)
    for seed in range(programs):
        difference, trace = run(keywords, build_program(keywords, seed, length))
        if difference is not None:
            pytest.fail(f"{name}, seed {seed}:\n{explain(keywords, difference, trace)}", pytrace=False)


@pytest.mark.parametrize(
    ("name", "offsets"),
    [("ds1", range(0, 0x10000, 4)), ("all-ds0", range(0, 0x10000, 14)), ("msi-frame", range(0x100))],
)
def test_every_place_in_every_frame_is_what_the_model_says(name: str, offsets: range) -> None:
    different, _ = sweep(CONFIGS[name], offsets)
    assert different == []


def test_a_seed_names_a_program() -> None:
    keywords = CONFIGS["ds0"]
    assert build_program(keywords, 5, 200) == build_program(keywords, 5, 200)
    assert build_program(keywords, 5, 200) != build_program(keywords, 6, 200)


def test_shrinking_keeps_only_what_the_failure_needs() -> None:
    ops = [Op("pulse_spi", (n,)) for n in range(100)]
    needed = {ops[7], ops[42], ops[93]}
    assert shrink(ops, lambda candidate: needed <= set(candidate)) == [ops[7], ops[42], ops[93]]


def test_programs_of_the_largest_configuration_fill_a_sleeper() -> None:
    """More SPIs than the 1,024 that a list of the core once held wait at a PE that E1NWF chose to be woken."""
    generator, alone, most = Generator(ModelConfig(**CONFIGS["largest"]), 4), ModelRun(CONFIGS["largest"]), 0
    ops = generator.prologue() + generator.prologue_all()
    for op in ops + [op for _ in range(8) for op in generator.step_pressure()]:
        alone.step(op)
        if op.call == "fill":
            waiting = [irq.chosen for irq in alone.model.spis.values() if irq.chosen and irq.chosen.sleep]
            most = max(most, *(waiting.count(pe) for pe in alone.model.pes))
    assert most > 1024


def test_a_wrong_model_is_noticed() -> None:
    pair = Pair({"cpus": 1, "spis": 32})
    pair.model.pes[0].pmr = 0x80
    assert pair.step(Op("sysreg_access", (0, "ICC_PMR_EL1", None))) is not None


def test_a_wrong_model_of_an_lpi_is_noticed() -> None:
    keywords = CONFIGS["its"]
    for seed in range(40):
        pair = Pair(keywords)
        pair.model.lpi_priority = lambda byte: byte & 0xF8 ^ 0x08  # type: ignore[method-assign]
        if any(pair.step(op) is not None for op in build_program(keywords, seed, 400)):
            return
    pytest.fail("40 programs saw nothing of it")


class Comparison(RuleBasedStateMachine):
    """Hypothesis chooses the steps; the generator fills them in; core and model must not part."""

    keywords: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.keywords)
        self.generator = generator_for(ModelConfig(**self.keywords), 0)
        self.begun = False

    def carry_out(self, ops: list[Op]) -> None:
        """Carry operations out on both."""
        for op in ops:
            difference = self.pair.step(op)
            assert difference is None, f"{difference}\n" + "\n".join(op.code() for op in self.pair.trace)

    @precondition(lambda self: not self.begun)
    @rule(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.generator = generator_for(ModelConfig(**self.keywords), seed)
        self.begun = True
        self.carry_out(self.generator.prologue())

    @rule(step=st.integers(0, 63), seed=st.integers(0, 2**16))
    def take_a_step(self, step: int, seed: int) -> None:
        steps = [function for _, function in self.generator.steps]
        self.generator.rng = random.Random(seed)
        self.carry_out(steps[step % len(steps)]())

    @invariant()
    def the_core_is_consistent(self) -> None:
        self.pair.gic.check()


def machine(name: str) -> type:
    """Return the state machine of one configuration."""
    return type(f"Comparison_{name}", (Comparison,), {"keywords": CONFIGS[name]})


@pytest.mark.parametrize("name", ["ds1", "ds0", "all-ds0"])
def test_core_and_model_agree_on_what_hypothesis_finds(name: str) -> None:
    case = machine(name).TestCase  # type: ignore[attr-defined]
    case.settings = settings(
        max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case().runTest()
