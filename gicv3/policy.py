"""What a machine allows when vCPUs come and go: chosen once, when it is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from gicv3.arguments import integer, switch
from gicv3.errors import ConfigError

MAX_TIMEOUT = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class HotplugPolicy:
    """The choices around plug and unplug that QEMU's series made differently over time.

    Raises: ConfigError when a field is none of its values.
    """

    removable: str | Container[int] = "hotplugged"
    """vCPUs that may go: "hotplugged", those that came while the machine ran; "all"; or these slots. vCPU 0 never."""
    running: str = "refuse"
    """What an eject does to a vCPU that is not off: "refuse", or "stop" it first. A failed eject lets it run on."""
    request_timeout: float | None = None
    """How long, by `clock`, the guest may take to answer a request, at most 2**63; None for ever."""
    clock: Callable[[], float] = time.monotonic
    """The time that requests are measured by: seconds, unless the caller's clock counts something else."""
    admin_state: bool = False
    """False: vCPUs come and go, by `device_add` and `device_del` (RFC V5). True: all exist for good, and `device_set`
    enables and disables them (RFC V6); a disabled one is for the GIC and for PSCI as an absent one."""

    def __post_init__(self) -> None:
        if not isinstance(self.removable, str) and not hasattr(self.removable, "__contains__"):
            raise ConfigError(f"removable must be 'hotplugged', 'all' or slots, got {self.removable!r}")
        if isinstance(self.removable, str) and self.removable not in ("hotplugged", "all"):
            raise ConfigError(f"removable must be 'hotplugged', 'all' or slots, got {self.removable!r}")
        if self.running not in ("refuse", "stop"):
            raise ConfigError(f"running must be 'refuse' or 'stop', got {self.running!r}")
        timeout = self.request_timeout
        if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout <= MAX_TIMEOUT):
            raise ConfigError(f"request_timeout must be above 0, at most 2**63, or None, got {timeout!r:.80}")
        if not callable(self.clock):
            raise ConfigError(f"clock must be callable, got {self.clock!r}")
        object.__setattr__(self, "admin_state", switch("admin_state", self.admin_state))

    def check_slots(self, max_cpus: int) -> None:
        """Raises: ConfigError when `removable` lists a slot that a machine of `max_cpus` does not have."""
        if isinstance(self.removable, str) or not isinstance(self.removable, Iterable):
            return
        for slot in self.removable:
            if not 0 <= integer("a slot of removable", slot) < max_cpus:
                raise ConfigError(f"removable must name slots in 0..{max_cpus - 1}, got {slot}")
