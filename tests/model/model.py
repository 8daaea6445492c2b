"""The slow model as one class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .its import Its

CALLS = (
    "frame_write",
    "fill",
    "mmio_write",
    "sysreg_access",  # and the AArch32 forms through it
    "set_spi",
    "pulse_spi",
    "set_ppi",
    "pulse_ppi",
    "msi",
    "translate",
    "set_context",
    "set_cpustate",
    "reset_cpuif",
    "reset",
    "step",
)


def then_settle(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that lets 1-of-N interrupts find their PE when it is done."""

    def settled(self: Model, *args: Any, **keywords: Any) -> Any:
        result = call(self, *args, **keywords)
        if self.config.one_of_n:
            self.settle_routes()
        return result

    return settled


class Model(Its):
    """A GICv3 without virtualization, slow and obvious: the judge of the fast one."""


for name in CALLS:
    setattr(Model, name, then_settle(getattr(Model, name)))
