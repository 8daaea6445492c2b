"""QMP: the protocol by which QEMU's tools manage a machine, for a :class:`gicv3.VirtMachine`."""

from gicv3.qmp.guest import StandInGuest
from gicv3.qmp.server import QmpServer

__all__ = ["QmpServer", "StandInGuest"]
