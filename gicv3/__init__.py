"""gicv3: an embeddable Arm GICv3 interrupt controller whose vCPUs can be hot-plugged and unplugged without end."""

try:
    from gicv3._core import Gic, Line
except ModuleNotFoundError as error:
    if error.name != "gicv3._core":
        raise
    raise ImportError(
        "gicv3._core is not built: run `pip install .` (or `pip install -e .`) in the project's folder, or `make test`"
    ) from error

from gicv3.arrays import Arrays, Latency
from gicv3.batch import Accesses, Batch
from gicv3.capi import get_include
from gicv3.errors import BatchError, ConfigError, GicError, HotplugError, SnapshotError
from gicv3.explain import Explanation, Gate
from gicv3.gic import GICv3, GICv3Config
from gicv3.hotplug import CPUHotplugInfo
from gicv3.machine import VirtMachine
from gicv3.notifier import Notifier, NotifierList
from gicv3.policy import HotplugPolicy
from gicv3.registers import Frame, SysReg
from gicv3.strict import Finding
from gicv3.topology import Topology
from gicv3.views import Access, PeView, RedistView

__version__ = "0.1.0"

__all__ = [
    "Access",
    "Accesses",
    "Arrays",
    "Batch",
    "BatchError",
    "CPUHotplugInfo",
    "ConfigError",
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
    "SnapshotError",
    "SysReg",
    "Topology",
    "VirtMachine",
    "get_include",
]
