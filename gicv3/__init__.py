"""gicv3: an embeddable Arm GICv3 interrupt controller whose vCPUs can be hot-plugged and unplugged without end."""

try:
    from gicv3._core import Gic, Line
except ModuleNotFoundError as error:
    if error.name != "gicv3._core":
        raise
    raise ImportError(
        "gicv3._core is not built: run `pip install .` (or `pip install -e .`) in the project's folder, or `make test`"
    ) from error

from gicv3.errors import ConfigError, GicError, HotplugError, SnapshotError
from gicv3.gic import Access, GICv3, GICv3Config, PeView, RedistView
from gicv3.registers import Frame, SysReg

__version__ = "0.1.0"

__all__ = [
    "Access",
    "ConfigError",
    "Frame",
    "GICv3",
    "GICv3Config",
    "Gic",
    "GicError",
    "HotplugError",
    "Line",
    "PeView",
    "RedistView",
    "SnapshotError",
    "SysReg",
]
