"""The slow model as one class."""

from __future__ import annotations

from .mmio import Mmio
from .sysregs import SysRegs


class Model(Mmio, SysRegs):
    """A GICv3 without virtualization, LPIs and ITS, slow and obvious: the judge of the fast one."""
