"""What the GIC does when a vCPU comes or goes.

What becomes of interrupts when a vCPU goes:

- Its PPI wires are cut, and low. SGIs and PPIs pending or active on it are gone with the rest of its redistributor's
  state, which returns to reset: GICR_WAKER says asleep, nothing is enabled.
- An SGI sent to it while it is absent is dropped and counted.
- An SPI routed to it stays pending, and is signalled without further stimulus to the next vCPU in its slot.
- An SPI that was active on it stays active in the Distributor until software writes GICD_ICACTIVER.
- Its redistributor is always on: registers read and write, and the next vCPU finds what was written.
- Its CPU interface reads as reset and ignores writes; the next vCPU finds it reset.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from gicv3._core import CPUHotplugInfo as CPUHotplugInfo
from gicv3.notifier import Notifier

if TYPE_CHECKING:
    from gicv3.gic import GICv3
    from gicv3.vcpu import Vcpu


class GicCpuHotplugNotifier(Notifier):
    """Gives a GIC CPU interface to the vCPU that comes, and takes it from the one that goes.

    It holds its GIC weakly and leaves its list when the GIC goes.
    Parameters: `gic`, a GICv3.
    """

    __slots__ = ("_gic",)

    def __init__(self, gic: GICv3) -> None:
        super().__init__()
        notifier = weakref.ref(self)

        def gic_gone(_: object) -> None:
            if (self := notifier()) is not None:
                self.remove()

        self._gic = weakref.ref(gic, gic_gone)

    def notify(self, data: CPUHotplugInfo) -> None:
        """Give `data.cpu` the interface of its affinity, or take it away; an event of another GIC is ignored.

        Raises: HotplugError, with nothing changed, when no interface has its affinity or another vCPU holds it.
        """
        gic = self._gic()
        if gic is None or gic is not data.gic:
            return
        if data.plugging:
            associate(gic, data.cpu)
        else:
            dissociate(gic, data.cpu)


def associate(gic: GICv3, cpu: Vcpu) -> None:
    """Give `cpu` the interface of its affinity and define its ICC registers, reset; the same at boot and at a plug.

    Raises: HotplugError, or what a line callback raised; nothing has changed then.
    """
    gic.associate(cpu)
    cpu.associated = True
    cpu.sysregs = gic.sysregs


def dissociate(gic: GICv3, cpu: Vcpu) -> None:
    """Take its interface from `cpu`, in both directions: a stale vCPU must not reach what is somebody else's next.

    Raises: as `associate`; it has its interface yet, which was reset, if a line callback raised.
    """
    gic.dissociate(cpu)
    cpu.associated = False
    cpu.sysregs = None
