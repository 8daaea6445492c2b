"""The state of the slow model: one plain object per interrupt and per PE, in lists and dictionaries.

Sections named in comments are those of the project's architecture reference; "page" is Arm's page of the register.
"""

from __future__ import annotations

from typing import Any

from .config import ModelConfig

G0 = "G0"
G1S = "G1S"
G1NS = "G1NS"

SECURE = "S"
NONSECURE = "NS"

SCR_NS = 1 << 0
SCR_IRQ = 1 << 1
SCR_FIQ = 1 << 2
SCR_EEL2 = 1 << 18
HCR_FMO = 1 << 3
HCR_IMO = 1 << 4


class Interrupt:
    """One interrupt: an SPI of the Distributor, or an SGI or PPI of one PE."""

    def __init__(self, intid: int) -> None:
        self.intid = intid
        self.is_sgi = intid < 16
        self.is_spi = 32 <= intid <= 1019 or 4096 <= intid <= 5119
        self.wire = False  # the input signal: no register and no reset reaches it
        self.reset()

    def reset(self) -> None:
        """Put the registers of this interrupt at their reset values (2.7; UNKNOWN ones are 0)."""
        self.latch = False  # 2.5: set by an edge, ISPENDR, an SGI or an edge message
        self.message = False  # 2.5: the level that SETSPI holds on a level-sensitive SPI
        self.active = False
        self.enabled = False
        self.priority = 0
        self.group = 0  # the IGROUPR bit
        self.modifier = 0  # the IGRPMODR bit
        self.edge = self.is_sgi  # 1: SGIs are edge only
        self.nsacr = 0
        self.nmi = 0  # the INMIR bit
        self.route_mode = 0  # IROUTER.IRM
        self.route = 0  # IROUTER affinity, MPIDR form
        self.chosen: Pe | None = None  # 2.6: the PE that a pending 1-of-N SPI was offered to


class Pe:
    """One PE: its redistributor, its CPU interface and the context its embedder reported."""

    def __init__(self, index: int, affinity: int, config: ModelConfig) -> None:
        self.index = index
        self.affinity = affinity
        self.config = config
        self.accessible = True
        self.irqs = {i: Interrupt(i) for i in [*range(32), *config.eppi_intids()]}
        self.reset_redistributor()
        self.reset_cpu_interface()
        self.set_context(1, False, None, None, 0, False)

    def reset_redistributor(self) -> None:
        """Reset GICR_* of this PE (2.7)."""
        self.sleep = True  # 2.7: WAKER.ProcessorSleep resets to 1
        self.children_asleep = True  # 2.7: WAKER.ChildrenAsleep resets to 1
        self.waker_left = 0  # steps until ChildrenAsleep follows ProcessorSleep
        self.rwp_left = 0  # steps that GICR_CTLR.RWP stays 1
        self.uwp_left = 0
        self.dpg = {G0: 0, G1S: 0, G1NS: 0}
        self.statusr = {SECURE: 0, NONSECURE: 0}
        for irq in self.irqs.values():
            irq.reset()

    @property
    def asleep(self) -> bool:
        """Whether nothing is handed to this PE: from the write of ProcessorSleep on, until its children are awake."""
        return self.sleep or self.children_asleep

    def step(self, steps: int) -> None:
        """Let settling time pass."""
        self.rwp_left = max(self.rwp_left - steps, 0)
        self.uwp_left = max(self.uwp_left - steps, 0)
        self.waker_left = max(self.waker_left - steps, 0)
        if not self.waker_left:
            self.children_asleep = self.sleep

    def reset_cpu_interface(self) -> None:
        """Reset ICC_* of this PE (5.2)."""
        prebits = prebits_of(self.config.priority_bits)
        self.pmr = 0
        self.bpr0 = 7 - prebits
        self.bpr1 = {SECURE: 7 - prebits, NONSECURE: 8 - prebits}
        self.active_levels: dict[str, set[int]] = {G0: set(), G1S: set(), G1NS: set()}  # AP0R, AP1R(S), AP1R(NS)
        self.active_nmi = {G1S: False, G1NS: False}  # bit 63 of AP1R0
        self.igrpen = {G0: 0, G1S: 0, G1NS: 0}
        self.cbpr = {SECURE: 0, NONSECURE: 0}
        self.eoimode = {SECURE: 0, NONSECURE: 0}
        self.eoimode_el3 = 0
        self.pmhe = 0

    def set_context(
        self, el: int, secure: bool, scr_el3: int | None, hcr_el2: int | None, ich_hcr_el2: int, nmi_enabled: bool
    ) -> None:
        """Take what the embedder says the PE is executing in."""
        self.el = el
        self.secure = secure or el == 3  # 5.3: at EL3 the PE counts as Secure
        self.scr = (0 if self.secure else SCR_NS) if scr_el3 is None else scr_el3
        self.hcr = 0 if hcr_el2 is None else hcr_el2
        self.ich_hcr = ich_hcr_el2
        self.sctlr_nmi = nmi_enabled


def prebits_of(priority_bits: int) -> int:
    """Return the number of preemption bits (6: as priority bits, except 8 which gives 7)."""
    return 7 if priority_bits == 8 else priority_bits


class State:
    """Distributor, PEs and the embedder's inputs."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.pes = [Pe(i, affinity, config) for i, affinity in enumerate(config.affinity_list())]
        self.spis = {i: Interrupt(i) for i in [*config.spi_intids(), *config.espi_intids()]}
        self.counts = {"bad_access": 0, "sgi_dropped": 0}  # what a host can ask about, no part of the architecture
        self.taken = [{"sgi": 0, "ppi": 0, "spi": 0} for _ in self.pes]
        self.reset_distributor()

    def totals(self) -> dict[str, int]:
        """Return the counts of the whole GIC."""
        return dict(self.counts)

    def counters(self, pe: int) -> dict[str, int]:
        """Return how many interrupts of each kind a PE acknowledged."""
        return dict(self.taken[pe])

    def reset_distributor(self) -> None:
        """Reset GICD_* (2.7)."""
        self.ds = not self.config.security  # 2.1: resets to 0; RAO/WI without security
        self.group_enable = {G0: 0, G1S: 0, G1NS: 0}
        self.e1nwf = 0
        self.dist_statusr = {SECURE: 0, NONSECURE: 0}
        self.rwp_left = 0  # steps that GICD_CTLR.RWP stays 1
        for irq in self.spis.values():
            irq.reset()

    def reset(self) -> None:
        """Reset the Distributor and every redistributor; ICC_* belongs to the reset of the CPU."""
        self.reset_distributor()
        for pe in self.pes:
            pe.reset_redistributor()

    def step(self, steps: int = 1) -> None:
        """Let settling time pass: RWP, UWP and ChildrenAsleep take ``settle_steps`` of it."""
        self.rwp_left = max(self.rwp_left - steps, 0)
        for pe in self.pes:
            pe.step(steps)

    def reset_cpuif(self, pe: int) -> None:
        """Reset ICC_* and the context of one PE."""
        self.pes[pe].reset_cpu_interface()
        self.pes[pe].set_context(1, False, None, None, 0, False)

    def set_context(
        self,
        pe: int,
        el: int = 1,
        secure: bool = False,
        scr_el3: int | None = None,
        hcr_el2: int | None = None,
        ich_hcr_el2: int = 0,
        nmi_enabled: bool = False,
    ) -> None:
        """Report what PE ``pe`` is executing in."""
        self.pes[pe].set_context(el, secure, scr_el3, hcr_el2, ich_hcr_el2, nmi_enabled)

    def set_cpustate(self, pe: int, cpu: object, accessible: bool) -> None:
        """Plug (``accessible``) or unplug PE ``pe``; an unplugged PE is asleep, in reset, and its wires are cut."""
        target = self.pes[pe]
        target.accessible = accessible
        if not accessible:
            for irq in target.irqs.values():
                irq.wire = False
            target.reset_redistributor()
            self.reset_cpuif(pe)

    @staticmethod
    def drive(irq: Interrupt, level: bool) -> None:
        """Put a level on an input wire."""
        if irq.edge and level and not irq.wire:
            irq.latch = True  # 2.5: edge configuration, wire 0 -> 1 sets the latch
        irq.wire = bool(level)

    def set_spi(self, intid: int, level: bool) -> None:
        """Drive an SPI's wire."""
        self.drive(self.spis[intid], level)

    def pulse_spi(self, intid: int) -> None:
        """Raise and lower an SPI's wire."""
        self.drive(self.spis[intid], True)
        self.drive(self.spis[intid], False)

    def set_ppi(self, pe: int, intid: int, level: bool) -> None:
        """Drive a PPI's wire."""
        self.drive(self.pes[pe].irqs[intid], level)

    def pulse_ppi(self, pe: int, intid: int) -> None:
        """Raise and lower a PPI's wire."""
        self.drive(self.pes[pe].irqs[intid], True)
        self.drive(self.pes[pe].irqs[intid], False)
