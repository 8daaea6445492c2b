"""What every test shares: the invariants after each test, and Hypothesis without a clock."""

import functools
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator

import pytest
import required
from hypothesis import HealthCheck, settings

import gicv3

# No deadline: nothing may depend on the host's speed. In CI the same examples every time: red then means the change.
settings.register_profile("gicv3", deadline=None, derandomize=required.CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gicv3")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a file that skips itself, for want of a module that it imports, is a failure."""
    report = yield
    if required.CI and report.skipped:
        report.outcome = "failed"
    return report


HELD = 64
"""GICs kept for their check after the test; beyond that the oldest is checked at once, to bound the memory."""

_checks = Counter[str]()


@pytest.fixture(autouse=True)
def invariants_hold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check every GIC that a test made, also one it has let go of; with `drops_gics` only those it left alive."""
    drops = request.node.get_closest_marker("drops_gics") is not None
    made: deque[Callable[[], gicv3.GICv3 | None]] = deque()
    construct = gicv3.GICv3.__init__

    def check() -> None:
        gic = made.popleft()()
        if gic is not None:
            gic.check()
            _checks["checked"] += 1

    @functools.wraps(construct)
    def remember(self: gicv3.GICv3, *args: object, **kwargs: object) -> None:
        construct(self, *args, **kwargs)
        _checks["made"] += 1
        made.append(weakref.ref(self) if drops else lambda: self)
        if len(made) > HELD:
            check()

    monkeypatch.setattr(gicv3.GICv3, "__init__", remember)
    yield
    while made:
        check()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the GICs made had their invariants checked."""
    if _checks["made"]:
        terminalreporter.write_line(f"invariants checked on {_checks['checked']} of {_checks['made']} GICs made")
