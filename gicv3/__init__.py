"""gicv3: an embeddable Arm GICv3 interrupt controller whose vCPUs can be hot-plugged and unplugged without end.

`GICv3(GICv3Config(cpus=4))` is a GIC for an emulator of your own: registers, input wires, output lines.
`VirtMachine(cpus=2, max_cpus=8)` is a machine round one, with timers, PSCI and vCPUs that come and go.
`gicv3.unicorn.UnicornMachine(machine, image="guest.bin")` runs a guest's code on it; in the shell: `gicv3 run`.
An embedder's mistakes raise a `GicError` (or a TypeError); a guest's raise nothing.
In the project's folder, docs/ has a page for each topic, to begin with docs/embedding.md, and examples/ whole programs.
"""

import typing as _typing
from importlib import import_module as _import_module

try:
    from gicv3._core import Gic, Line
except ModuleNotFoundError as error:
    if error.name != "gicv3._core":
        raise
    raise ImportError(
        "gicv3._core is not built: run `pip install .` (or `pip install -e .`) in the project's folder, or `make test`"
    ) from error

from gicv3.arrays import Arrays, Latency
from gicv3.association import CPUHotplugInfo
from gicv3.batch import Accesses, Batch
from gicv3.capi import get_include
from gicv3.errors import BatchError, ConfigError, GicError, HotplugError, RegisterError, SnapshotError
from gicv3.explain import Explanation, Gate
from gicv3.gic import GICv3, GICv3Config
from gicv3.hotplug import DeviceNotFoundError
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier, NotifierList
from gicv3.policy import HotplugPolicy
from gicv3.registers import Frame, SysReg
from gicv3.strict import Finding
from gicv3.topology import Topology
from gicv3.views import Access, PeView, RedistView

__version__ = "0.1.0"

_MODULES = frozenset({"acpi", "fdt", "guests", "its_commands", "kvm", "kvm_tables", "msi", "pl011", "pl031", "qmp",
                      "stress", "trace", "unicorn"})

if _typing.TYPE_CHECKING:  # or a type checker would believe that every name exists
    from gicv3 import acpi as acpi
    from gicv3 import fdt as fdt
    from gicv3 import guests as guests
    from gicv3 import its_commands as its_commands
    from gicv3 import kvm as kvm
    from gicv3 import kvm_tables as kvm_tables
    from gicv3 import msi as msi
    from gicv3 import pl011 as pl011
    from gicv3 import pl031 as pl031
    from gicv3 import qmp as qmp
    from gicv3 import stress as stress
    from gicv3 import trace as trace
    from gicv3 import unicorn as unicorn
else:

    def __getattr__(name: str) -> object:
        """Import a module of the package when it is first asked for: `gicv3.kvm` needs no import of its own."""
        if name in _MODULES:
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


__all__ = [
    "Access",
    "Accesses",
    "Arrays",
    "Batch",
    "BatchError",
    "CPUHotplugInfo",
    "ConfigError",
    "DeviceNotFoundError",
    "Explanation",
    "Finding",
    "Frame",
    "GICv3",
    "GICv3Config",
    "Gate",
    "Gic",
    "GicError",
    "HotplugError",
    "HotplugPolicy",
    "Latency",
    "Line",
    "Notifier",
    "NotifierList",
    "PeView",
    "RedistView",
    "RegisterError",
    "SnapshotError",
    "SysReg",
    "Topology",
    "VirtMachine",
    "get_include",
]
