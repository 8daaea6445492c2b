"""pytest fixtures for those who embed the GIC: installed with the package, loaded by pytest itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gicv3.stress import Report

GicStress = Callable[..., "Report"]


@pytest.fixture
def gic_stress() -> GicStress:
    """A function that runs `gicv3.stress` with the fields of a StressConfig, and fails the test when the run fails.

    Its report is shown; it has the seed, and a short script of steps for `gicv3.stress.replay`.
    """
    from gicv3.stress import StressConfig, run

    def stress(**fields: Any) -> Report:
        report = run(StressConfig(**fields))
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return stress
