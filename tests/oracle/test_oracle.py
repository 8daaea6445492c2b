"""The core does what QEMU does, outside the table of accepted differences; and the comparison can fail."""

from __future__ import annotations

import pytest

from .configs import CONFIGS
from .differ import run, shrink
from .qemu import Qemu

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("qemu_installed")]

OPERATIONS = 30_000
"""For each configuration, so that all take about a minute; `python -m tests.oracle` goes as far as asked."""


@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs_give_the_same_values_lines_and_faults(name: str) -> None:
    with Qemu(CONFIGS[name]) as qemu:
        report = run(qemu, OPERATIONS)
        found = [shrink(qemu, difference) for _, difference in report.differences]
    assert not found, "\n".join(["", *map(str, found[0].program), "", str(found[0])])
    assert report.operations >= OPERATIONS
    assert report.acknowledged > OPERATIONS // 100


@pytest.mark.parametrize("choice", [{"hpp_rule": "filter"}, {"apr_rule": "minimum"}])
def test_the_other_legal_choice_is_seen_as_a_difference_and_shrinks(choice: dict[str, str]) -> None:
    with Qemu(CONFIGS["ds1-smp1"]) as qemu:
        report = run(qemu, 10 * OPERATIONS, length=1000, choices=choice)
        assert report.differences
        _, difference = report.differences[0]
        small = shrink(qemu, difference, choices=choice)
    assert len(small.program) < 25
