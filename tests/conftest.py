"""What every test shares: tools that may be absent, the invariants after each test, and Hypothesis without a clock."""

import functools
import os
import shutil
import weakref
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

import gicv3

CI = os.environ.get("CI") == "true"

# No deadline: nothing may depend on the host's speed. In CI the same examples every time: red then means the change.
settings.register_profile("gicv3", deadline=None, derandomize=CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gicv3")

_DEBIAN_PACKAGE = {
    "aarch64-linux-gnu-as": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-objcopy": "gcc-aarch64-linux-gnu",
    "dtc": "device-tree-compiler",
    "iasl": "acpica-tools",
    "qemu-system-aarch64": "qemu-system-arm",
}


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Find a program by name; without it the test skips on a user's machine and fails in CI, where it must run."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"{name} is not installed: apt-get install {_DEBIAN_PACKAGE.get(name, name)}"
            (pytest.fail if CI else pytest.skip)(reason)
        return path

    return find


@pytest.fixture(autouse=True)
def invariants_hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check every GIC that a test made and left alive."""
    made: list[weakref.ref[gicv3.GICv3]] = []
    construct = gicv3.GICv3.__init__

    @functools.wraps(construct)
    def remember(self: gicv3.GICv3, *args: object, **kwargs: object) -> None:
        construct(self, *args, **kwargs)
        made.append(weakref.ref(self))

    monkeypatch.setattr(gicv3.GICv3, "__init__", remember)
    yield
    for reference in made:
        gic = reference()
        if gic is not None:
            gic.check()
