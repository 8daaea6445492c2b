"""Whether a vCPU runs."""

from enum import IntEnum


class PowerState(IntEnum):
    """Power of a vCPU; the values are those of PSCI AFFINITY_INFO."""

    ON = 0
    OFF = 1
    ON_PENDING = 2


OFF = PowerState.OFF
"""For hot paths: in CPython 3.11 a member costs as much as a call each time it is fetched from its Enum."""
