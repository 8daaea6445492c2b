"""A GICv3 brought up as firmware does it, and short names for what software does to it: shared by the core's tests."""

from enum import IntEnum
from typing import Any

from gicv3 import GICv3, GICv3Config, Line, PeView

SPURIOUS = 1023
IDLE = 0xFF
SCR_NS, SCR_IRQ, SCR_FIQ, SCR_EEL2 = 1, 2, 4, 1 << 18
HCR_FMO, HCR_IMO = 8, 16
CTLR_CBPR, CTLR_EOIMODE = 1, 2


class Group(IntEnum):
    """Interrupt groups; with one security state Group 1 is G1NS."""

    G0 = 0
    G1S = 1
    G1NS = 2


G0, G1S, G1NS, G1 = Group.G0, Group.G1S, Group.G1NS, Group.G1NS


class Rig:
    """A GIC whose groups are enabled, whose PEs are awake, at EL1 Non-secure, with every priority mask open."""

    def __init__(self, cpus: int | None = None, *, ready: bool = True, **config: Any) -> None:
        if cpus is None and "affinities" not in config:
            cpus = 1
        self.gic = GICv3(GICv3Config(cpus=cpus, **config))
        self.security = self.gic.config.security
        if ready:
            self.gic.dist["GICD_CTLR"] = 0x37 if self.security else 0x3
            for pe in range(self.gic.num_pe):
                self.bring_up(pe)

    def bring_up(self, pe: int) -> None:
        """Wake a PE and open its CPU interface to every group and priority."""
        self.gic.redist[pe]["GICR_WAKER"] = 0
        view = self.gic.pe[pe]
        if self.security:
            self.el3(pe)
            view["ICC_IGRPEN1_EL3"] = 3
        else:
            view["ICC_IGRPEN1_EL1"] = 1
        view["ICC_IGRPEN0_EL1"] = 1
        view["ICC_PMR_EL1"] = 0xFF
        self.gic.set_context(pe)

    # contexts

    def el3(self, pe: int = 0, scr: int = SCR_NS) -> PeView:
        """Let a PE run at EL3; `scr` chooses the bank of banked registers."""
        self.gic.set_context(pe, el=3, secure=True, scr_el3=scr)
        return self.gic.pe[pe]

    def secure(self, pe: int = 0, el: int = 1, scr: int = 0) -> PeView:
        """Let a PE run in Secure state below EL3."""
        self.gic.set_context(pe, el=el, secure=True, scr_el3=scr)
        return self.gic.pe[pe]

    def nonsecure(self, pe: int = 0, el: int = 1, scr: int = SCR_NS, hcr: int = 0, nmi: bool = False) -> PeView:
        """Let a PE run in Non-secure state."""
        self.gic.set_context(pe, el=el, secure=False, scr_el3=scr, hcr_el2=hcr, nmi_enabled=nmi)
        return self.gic.pe[pe]

    # per-interrupt fields of memory-mapped registers

    def _place(self, kind: str, intid: int, per_register: int, pe: int) -> tuple[Any, Any, int]:
        """(view, key, number inside the register) of an interrupt's field; `per_register` fields share one."""
        if intid < 32:
            number = intid // per_register
            if kind == "IPRIORITYR":
                return self.gic.redist[pe], (f"GICR_{kind}", number), intid % per_register
            return self.gic.redist[pe], f"GICR_{kind}{number}", intid % per_register
        if intid < 1024:
            return self.gic.dist, (f"GICD_{kind}", intid // per_register), intid % per_register
        if intid < 4096:
            return self.gic.redist[pe], (f"GICR_{kind}nE", (intid - 1024) // per_register), intid % per_register
        return self.gic.dist, (f"GICD_{kind}nE", (intid - 4096) // per_register), intid % per_register

    def bit(self, kind: str, intid: int, pe: int = 0) -> bool:
        """One interrupt's bit of a bitmap register."""
        view, key, number = self._place(kind, intid, 32, pe)
        return bool(view[key] >> number & 1)

    def write_bit(self, kind: str, intid: int, pe: int = 0) -> None:
        """Write 1 to one interrupt's bit of a set or clear register."""
        view, key, number = self._place(kind, intid, 32, pe)
        view[key] = 1 << number

    def field(self, kind: str, width: int, intid: int, value: int, pe: int = 0) -> None:
        """Change one interrupt's field of a read-write register and leave its neighbours."""
        view, key, number = self._place(kind, intid, 32 // width, pe)
        mask = ((1 << width) - 1) << number * width
        view[key] = view[key] & ~mask | value << number * width

    def pending(self, intid: int, pe: int = 0) -> bool:
        """Pending state as the Distributor or redistributor shows it."""
        return self.bit("ISPENDR", intid, pe)

    def active(self, intid: int, pe: int = 0) -> bool:
        """Active state as the Distributor or redistributor shows it."""
        return self.bit("ISACTIVER", intid, pe)

    def enable(self, intid: int, pe: int = 0) -> None:
        """Enable an interrupt."""
        self.write_bit("ISENABLER", intid, pe)

    def disable(self, intid: int, pe: int = 0) -> None:
        """Disable an interrupt."""
        self.write_bit("ICENABLER", intid, pe)

    def priority(self, intid: int, value: int, pe: int = 0) -> None:
        """Set an interrupt's priority."""
        self.field("IPRIORITYR", 8, intid, value, pe)

    def group(self, intid: int, group: Group, pe: int = 0) -> None:
        """Put an interrupt into a group."""
        self.field("IGROUPR", 1, intid, group == G1NS, pe)
        if self.security:
            self.field("IGRPMODR", 1, intid, group == G1S, pe)

    def edge(self, intid: int, edge: bool, pe: int = 0) -> None:
        """Make an interrupt edge-triggered or level-sensitive."""
        self.field("ICFGR", 2, intid, 2 * edge, pe)

    def route(self, intid: int, pe: int) -> None:
        """Route an SPI to one PE."""
        name, number = ("GICD_IROUTER", intid) if intid < 1024 else ("GICD_IROUTERnE", intid - 4096)
        self.gic.dist[name, number] = self.gic.affinity(pe)

    def prepare(self, intid: int, pe: int = 0, *, priority: int = 0x80, group: Group = G1, edge: bool | None = None,
                enable: bool = True) -> int:
        """Configure an interrupt for delivery to a PE: what a driver does when it requests one. Returns the INTID."""
        self.group(intid, group, pe)
        self.priority(intid, priority, pe)
        if edge is not None:
            self.edge(intid, edge, pe)
        if not (intid < 32 or 1056 <= intid < 1120):
            self.route(intid, pe)
        if enable:
            self.enable(intid, pe)
        return intid

    def raise_(self, intid: int, level: bool = True, pe: int = 0) -> None:
        """Drive an input wire; an SGI is made pending instead."""
        if intid < 16:
            self.write_bit("ISPENDR" if level else "ICPENDR", intid, pe)
        elif intid < 32 or 1056 <= intid < 1120:
            self.gic.set_ppi(pe, intid, level)
        else:
            self.gic.set_spi(intid, level)

    # CPU interface

    def iar(self, group: int = 1, pe: int = 0) -> int:
        """Acknowledge."""
        return self.gic.sysreg_read(pe, f"ICC_IAR{group}_EL1")

    def eoi(self, intid: int, group: int = 1, pe: int = 0) -> None:
        """End of interrupt."""
        self.gic.sysreg_write(pe, f"ICC_EOIR{group}_EL1", intid)

    def hppir(self, group: int = 1, pe: int = 0) -> int:
        """Highest priority pending interrupt."""
        return self.gic.sysreg_read(pe, f"ICC_HPPIR{group}_EL1")

    def rpr(self, pe: int = 0) -> int:
        """Running priority."""
        return self.gic.sysreg_read(pe, "ICC_RPR_EL1")

    def line(self, pe: int = 0) -> Line:
        """Output lines of a PE."""
        return Line(self.gic.line(pe))

    def sgi(self, intid: int, targets: int = 0, *, pe: int = 0, cluster: int = 0, all_others: bool = False,
            reg: str = "ICC_SGI1R_EL1", rs: int = 0) -> None:
        """Generate an SGI to a list of Aff0 bits in a cluster (MPIDR form), or to all other PEs."""
        value = intid << 24 | targets | all_others << 40 | rs << 44
        value |= (cluster >> 8 & 0xFF) << 16 | (cluster >> 16 & 0xFF) << 32 | (cluster >> 32 & 0xFF) << 48
        self.gic.sysreg_write(pe, reg, value)
