"""Random plugging and unplugging with everything else going on, checked, and shrunk to a few steps when it fails."""

from gicv3.stress.loop import replay, run
from gicv3.stress.parallel import run_seeds
from gicv3.stress.report import Failure, Interrupted, Report, Sample, write
from gicv3.stress.steps import Action, Step, StressConfig
from gicv3.stress.world import Violation

__all__ = [
    "Action",
    "Failure",
    "Interrupted",
    "Report",
    "Sample",
    "Step",
    "StressConfig",
    "Violation",
    "replay",
    "run",
    "run_seeds",
    "write",
]
