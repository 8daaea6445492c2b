"""What `device_add` takes as a driver and as an id."""

from __future__ import annotations

import re

from gicv3.arguments import plain_text
from gicv3.errors import HotplugError

_CPU_MODELS = frozenset(
    f"{model}-arm-cpu"
    for model in (
        "a64fx",
        "cortex-a35",
        "cortex-a53",
        "cortex-a55",
        "cortex-a57",
        "cortex-a710",
        "cortex-a72",
        "cortex-a76",
        "host",
        "max",
        "neoverse-n1",
        "neoverse-n2",
        "neoverse-v1",
    )
)
_NOT_PLUGGABLE = frozenset({"acpi-ged", "arm-gicv3", "arm-gicv3-its", "arm-smmuv3", "pl011", "pl031", "pl061"})
is_identifier = re.compile(r"[A-Za-z][A-Za-z0-9\-._]*").fullmatch
"""Whether a text is an id as QEMU's: a letter, then letters, digits and `-._`."""


def check_identifier(id: object) -> str:
    """An id of any string type as a str. Raises: HotplugError for what is no id."""
    if not isinstance(id, str) or not is_identifier(id):
        raise HotplugError(f"Parameter 'id' expects an identifier, got {id!r}")
    return plain_text(id)


def check_driver(driver: object) -> None:
    """Raises: HotplugError for a driver that is no vCPU model."""
    if not isinstance(driver, str):
        raise HotplugError(f"Parameter 'driver' expects a string, got {driver!r}")
    if driver in _NOT_PLUGGABLE:
        raise HotplugError("Parameter 'driver' expects a pluggable device type")
    if driver not in _CPU_MODELS:
        raise HotplugError(f"'{driver}' is not a valid device model name")
