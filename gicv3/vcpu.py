"""A plugged vCPU: its place, its power, its context, and its wires to and from the GIC."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from gicv3._core import VcpuRecord
from gicv3.errors import ConfigError
from gicv3.notifier import collect, raise_all
from gicv3.power_state import OFF as OFF
from gicv3.power_state import PowerState as PowerState
from gicv3.views import PeView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gicv3.timer import GenericTimer
    from gicv3.topology import CpuProps


class Unique:
    """A part of a running machine: a copy of it would share some of its state and not the rest."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied or pickled")


class CpuPpi(IntEnum):
    """Interrupt outputs of a vCPU, each the INTID of the PPI it is wired to."""

    PMU = 23
    MAINTENANCE = 25
    TIMER_HYP = 26
    TIMER_VIRT = 27
    TIMER_HYPVIRT = 28
    TIMER_SEC = 29
    TIMER_PHYS = 30


CPU_LINES = 0x3F
"""The six GIC outputs wired to a vCPU: IRQ, FIQ, VIRQ, VFIQ, NMI and VINMI, as bits of `GICv3.lines`."""

MAINT_LINE = 0x40
"""The GIC's maintenance output of a PE, which comes back to it as a PPI."""


class CpuContext:
    """What an engine that runs the vCPU keeps with it; made when first asked for.

    `pc` and `x0` are where the vCPU starts and what it gets there; `engine` is the embedder's own and is not touched
    here. The other fields are what the GIC was last told by :meth:`Vcpu.set_context`.
    """

    __slots__ = ("el", "engine", "hcr_el2", "ich_hcr_el2", "nmi_enabled", "pc", "scr_el3", "secure", "x0")

    def __init__(self) -> None:
        self.engine: Any = None
        self.reset()

    def reset(self) -> None:
        """Go back to the state of a vCPU that was never started; `engine` stays."""
        self.pc = 0
        self.x0 = 0
        self.tell(1, False, None, None, 0, False)

    def told(self) -> tuple[int, bool, int | None, int | None, int, bool]:
        """What :meth:`tell` takes, as it is now."""
        return self.el, self.secure, self.scr_el3, self.hcr_el2, self.ich_hcr_el2, self.nmi_enabled

    def saved(self) -> dict[str, Any]:
        """All but `engine`, by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "engine"}

    def tell(
        self,
        el: int,
        secure: bool,
        scr_el3: int | None,
        hcr_el2: int | None,
        ich_hcr_el2: int,
        nmi_enabled: bool,
    ) -> None:
        """Record what the GIC is told."""
        self.el = el
        self.secure = secure
        self.scr_el3 = scr_el3
        self.hcr_el2 = hcr_el2
        self.ich_hcr_el2 = ich_hcr_el2
        self.nmi_enabled = nmi_enabled


_FRESH_CONTEXT = CpuContext().saved()


class Vcpu(Unique, VcpuRecord):
    """One vCPU of a machine, from its plug to its unplug.

    Attributes:
        machine: the `VirtMachine`.
        cpu_index: its slot, which is also its PE of the GIC.
        mp_affinity: its affinity in MPIDR form.
        id: the name that `device_add` gave it, or None.
        hotplugged: whether it came while the machine ran.
        anonymous: its number among vCPUs added without an id; -1 for others.
        power_state: ON, OFF or ON_PENDING; changed by `VirtMachine.power_on`, `powered_on` and `power_off`.
        unplug_requested: whether the guest was asked to let it go, and has not answered.
        associated: whether it has its GIC CPU interface.
        sysregs: the ICC registers that the GIC defined for it, by encoding, or None while it has none.
        wired: whether its lines are connected to the GIC.
        outputs: levels of its interrupt outputs, bit n for INTID n (`CpuPpi`).
    Thread-safety: as the machine's.
    """

    __slots__ = ("__weakref__",)

    @property
    def gicv3state(self) -> PeView | None:
        """A view of its GIC CPU interface, or None while it has none."""
        return PeView(self.machine.gic, self.cpu_index) if self.associated else None

    @property
    def context(self) -> CpuContext:
        """The vCPU's own context, made at first use."""
        context = self._context
        if context is None:
            context = self._context = CpuContext()
        return context

    @property
    def timer(self) -> GenericTimer:
        """The vCPU's five generic timers, made at first use; outputs are wired to its PPIs."""
        timer = self._timer
        if timer is None:
            timer = self._timer = self.machine.timers.attach(self)
        return timer

    @property
    def has_timer(self) -> bool:
        """Whether the timers have been used: asking `timer` makes them."""
        return self._timer is not None

    @property
    def props(self) -> CpuProps:
        """Socket, cluster, core and thread id."""
        return self.machine.topology.props(self.cpu_index)

    @property
    def qom_path(self) -> str:
        """Where management tools find the vCPU."""
        if self.id is not None:
            return f"/machine/peripheral/{self.id}"
        if self.anonymous >= 0:
            return f"/machine/peripheral-anon/device[{self.anonymous}]"
        return f"/machine/unattached/device[{self.cpu_index}]"

    @property
    def lines(self) -> int:
        """Levels of the six lines from the GIC, as bits of `gicv3.Line`; 0 while they are not wired."""
        return int(self.machine.gic.lines[self.cpu_index]) & CPU_LINES if self.wired else 0

    def set_output(self, output: int, level: bool) -> None:
        """Drive one of the vCPU's interrupt outputs; without a wire nothing else notices.

        Parameters: `output`, a :class:`CpuPpi`; `level`. Raises: ValueError for an output a vCPU does not have.
        """
        bit = 1 << CpuPpi(output)
        if bool(self.outputs & bit) != bool(level):
            self.outputs ^= bit
            if self.wired:
                self.machine.gic.set_ppi(self.cpu_index, int(output), bool(level))

    def raised_outputs(self) -> list[int]:
        """INTIDs of the outputs that are high."""
        return [output for output in CpuPpi if self.outputs >> output & 1] if self.outputs else []

    def set_context(
        self,
        *,
        el: int = 1,
        secure: bool = False,
        scr_el3: int | None = None,
        hcr_el2: int | None = None,
        ich_hcr_el2: int = 0,
        nmi_enabled: bool = False,
    ) -> None:
        """Record the Exception level and control registers the vCPU runs with, and tell the GIC if it is plugged.

        Parameters: as `GICv3.set_context`.
        Raises: ConfigError from the GIC, with nothing recorded; what a line callback raised, with all recorded.
        """
        context = self.context
        before = context.told()
        context.tell(el, secure, scr_el3, hcr_el2, ich_hcr_el2, nmi_enabled)
        if not self.associated:
            return
        try:
            self.machine.gic.set_context(
                self.cpu_index,
                el=el,
                secure=secure,
                scr_el3=scr_el3,
                hcr_el2=hcr_el2,
                ich_hcr_el2=ich_hcr_el2,
                nmi_enabled=nmi_enabled,
            )
        except (ConfigError, TypeError):
            context.tell(*before)
            raise

    def saved(self) -> dict[str, Any]:
        """What a snapshot of the machine has of the vCPU; its GIC's part is in the GIC's.

        None stands for a context and for timers as they are after a reset, used or not.
        """
        context = None if self._context is None else self._context.saved()
        return {
            "slot": self.cpu_index, "id": self.id, "anonymous": self.anonymous, "hotplugged": self.hotplugged,
            "power": int(self.power_state), "unplug_requested": self.unplug_requested, "outputs": self.outputs,
            "context": None if context == _FRESH_CONTEXT else context,
            "timer": None if self._timer is None else self._timer.saved(),
        }

    def bring_back(self, saved: Mapping[str, Any]) -> None:
        """Put back what `saved` gave; the GIC has its part, and no output moves."""
        self.power_state = PowerState(saved["power"])
        self.unplug_requested = saved["unplug_requested"]
        self.outputs = saved["outputs"]
        if saved["context"] is None:
            if self._context is not None:
                self._context.reset()
        else:
            told = dict(saved["context"])
            self.context.pc, self.context.x0 = told.pop("pc"), told.pop("x0")
            self.context.tell(**told)
        if saved["timer"] is not None:
            self.timer.bring_back(saved["timer"])
        else:
            self.drop_timers()

    def reset(self) -> None:
        """Reset what belongs to the vCPU: its timers and outputs, its context, and the CPU interface if it has one.

        Raises: what a callback raised that was told of it, after all is reset.
        """
        errors: list[BaseException] = []
        if self._timer is not None:
            collect(errors, self._timer.reset)
        for output in self.raised_outputs():
            collect(errors, self.set_output, output, False)
        if self._context is not None:
            self._context.reset()
        if self.associated:
            collect(errors, self.machine.gic.reset_cpuif, self.cpu_index)
        raise_all(f"callbacks failed in the reset of cpu {self.cpu_index}", errors)

    @property
    def enabled(self) -> bool:
        """Whether the vCPU is plugged; where all exist for good, whether it is administratively enabled."""
        return self.machine.cpus.get(self.cpu_index) is self

    def put_away(self) -> None:
        """Forget all that a vCPU had while it was enabled, so that it comes back as one that is new."""
        self.power_state = OFF
        self.outputs = 0
        self.unplug_requested = False
        if self._context is not None:
            self._context.reset()

    def drop_timers(self) -> None:
        """Forget the timers of a vCPU that goes, and their deadlines; no output moves."""
        if self._timer is not None:
            self._timer.cancel()
            # They know their owner: without this the vCPU would wait for the garbage collector.
            self._timer = None

    def __repr__(self) -> str:
        return f"<Vcpu {self.cpu_index} id={self.id!r} {self.power_state.name}>"
