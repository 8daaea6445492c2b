"""Which interrupt a PE is offered and what its output lines are; every answer walks the whole state again."""

from __future__ import annotations

from .state import G0, G1NS, G1S, HCR_FMO, HCR_IMO, NONSECURE, SECURE, Interrupt, Pe, State, prebits_of

LINE_IRQ = 1
LINE_FIQ = 2
LINE_NMI = 16
LINE_WAKE = 128

IDLE_PRIORITY = 0xFF

__all__ = ["HCR_FMO", "HCR_IMO", "LINE_FIQ", "LINE_IRQ", "LINE_NMI", "LINE_WAKE", "Delivery"]


Spis = dict[int, list[Interrupt]]


class Delivery(State):
    """The rules between an interrupt and a PE's lines."""

    def group_of(self, irq: Interrupt) -> str:
        """Return the group of an interrupt (2.3)."""
        if irq.group:
            return G1NS  # 2.3: with DS=0 whatever IGRPMODR says; with DS=1 this is Group 1
        if self.ds:
            return G0
        return G1S if irq.modifier else G0

    def is_secure(self, irq: Interrupt) -> bool:
        """Tell whether an interrupt is Secure: Group 0 or Secure Group 1 of a two-state GIC (2.3)."""
        return not self.ds and self.group_of(irq) != G1NS

    @staticmethod
    def is_pending(irq: Interrupt) -> bool:
        """Tell whether an interrupt is pending (2.5)."""
        return irq.latch or (not irq.edge and (irq.wire or irq.message))

    def is_nmi(self, irq: Interrupt) -> bool:
        """Tell whether an interrupt is non-maskable (2: Group 0 is never one)."""
        return bool(irq.nmi) and self.config.nmi and self.group_of(irq) != G0

    def priority_of(self, irq: Interrupt) -> int:
        """Return the priority the CPU interface compares."""
        if self.is_nmi(irq):
            return 0x80 if not self.ds and self.group_of(irq) == G1NS else 0x00  # 11
        return irq.priority

    def participates(self, pe: Pe, irq: Interrupt, asleep: bool) -> bool:
        """Tell whether a PE that is awake, or asleep, may be chosen for a 1-of-N SPI (2.6)."""
        group = self.group_of(irq)
        if not pe.accessible or pe.asleep != asleep or not self.group_enable[group] or pe.dpg[group]:
            return False
        if asleep:
            return bool(self.e1nwf)  # 2.6: a sleeping PE only with E1NWF=1, under IMPDEF controls
        return bool(pe.igrpen[group])

    def choose_target(self, irq: Interrupt) -> Pe | None:
        """Choose a PE for a 1-of-N SPI; which eligible one is IMPDEF (2.6): from INTID mod PEs on, wrapping."""
        count = len(self.pes)
        turn = [self.pes[(irq.intid + n) % count] for n in range(count)]
        awake = [pe for pe in turn if self.participates(pe, irq, asleep=False)]
        if awake:
            willing = [pe for pe in awake if not pe.pmhe or self.priority_of(irq) < pe.pmr]  # 2.6: PMHE is a hint
            return (willing or awake)[0]
        return next((pe for pe in turn if self.participates(pe, irq, asleep=True)), None)

    def settle_routes(self) -> None:
        """Offer each pending 1-of-N SPI to a PE, and take it back where the PE no longer takes part (2.6)."""
        for irq in self.spis.values():
            if not irq.route_mode or not self.is_candidate(irq):
                irq.chosen = None
                continue
            pe = irq.chosen
            if pe is not None and self.participates(pe, irq, asleep=False):
                continue
            other = self.choose_target(irq)
            if pe is None or other is None or not other.asleep or not self.participates(pe, irq, asleep=True):
                irq.chosen = other  # one to be woken keeps it only while nobody is awake for it (IMPDEF)

    def target_of(self, irq: Interrupt) -> Pe | None:
        """Return the PE an SPI goes to now, None for no PE (2.6)."""
        if self.config.one_of_n and irq.route_mode:
            return irq.chosen
        for pe in self.pes:
            if pe.affinity == irq.route:
                return pe
        # 2.6: a path that no PE has: not delivered, stays pending; or as some PE's
        return self.pes[0] if self.config.unknown_route == "first" else None

    def is_candidate(self, irq: Interrupt) -> bool:
        """Tell whether the Distributor would forward an interrupt at all (2.5)."""
        if not irq.enabled or irq.active or not self.is_pending(irq):
            return False
        return bool(self.group_enable[self.group_of(irq)])

    def candidate_spis(self) -> Spis:
        """Return every SPI that the Distributor would forward, by the number of the PE that it would go to."""
        spis: Spis = {pe.index: [] for pe in self.pes}
        for irq in self.spis.values():
            if self.is_candidate(irq) and (pe := self.target_of(irq)) is not None:
                spis[pe.index].append(irq)
        return spis

    def candidates(self, pe: Pe, spis: Spis) -> list[Interrupt]:
        """Return every interrupt that is ready for one PE, before its CPU interface has a say (2.5)."""
        return [irq for irq in pe.irqs.values() if self.is_candidate(irq)] + spis[pe.index]

    def best_pending(self, pe: Pe, spis: Spis | None = None) -> Interrupt | None:
        """Return the highest priority pending interrupt of a PE (2.5, 6); ``spis`` are the candidate ones."""
        if not pe.accessible or pe.asleep:
            return None  # 3.6: nothing is handed to a sleeping PE
        spis = self.candidate_spis() if spis is None else spis
        ready = [irq for irq in self.candidates(pe, spis) if self.priority_of(irq) != IDLE_PRIORITY]  # 6: 0xFF never
        if self.config.hpp_rule == "filter":
            ready = [irq for irq in ready if pe.igrpen[self.group_of(irq)]]  # 2.5 [?] "filter"
        if not ready:
            return None
        # 6: lowest value first; 11: an NMI beats an equal; 6: ties go to the lowest INTID (IMPDEF).
        order = 1 if self.config.tie == "lowest" else -1
        best = min(ready, key=lambda irq: (self.priority_of(irq), not self.is_nmi(irq), order * irq.intid))
        if not pe.igrpen[self.group_of(best)]:
            return None  # 2.5 [?] "gate": a disabled group hides the others
        return best

    def group_mask(self, pe: Pe, group: str) -> int:
        """Return the bits of a priority that form the group priority (6)."""
        bank = SECURE if group == G1S else NONSECURE
        if group == G1NS and not pe.cbpr[bank]:
            lowest = pe.bpr1[NONSECURE]  # 6: Non-secure BPR1 value b: group bits [7:b]
        else:
            point = pe.bpr1[SECURE] if group == G1S and not pe.cbpr[bank] else pe.bpr0
            lowest = point + 1  # 6: BPR0 value b: group bits [7:b+1]
        return sum(1 << bit for bit in range(lowest, 8))

    def level_shift(self) -> int:
        """Return the number of priority bits below the preemption levels (6)."""
        return 8 - prebits_of(self.config.priority_bits)

    def nmi_running_priority(self, group: str) -> int:
        """Return the running priority of an active NMI (11)."""
        return 0x80 if group == G1NS and not self.ds else 0x00

    def running_priority(self, pe: Pe) -> int:
        """Return the running priority, 0xFF when idle (6)."""
        values = [level << self.level_shift() for levels in pe.active_levels.values() for level in levels]
        values += [self.nmi_running_priority(group) for group, active in pe.active_nmi.items() if active]
        return min(values, default=IDLE_PRIORITY)

    def is_idle(self, pe: Pe) -> bool:
        """Tell whether no priority is active on a PE."""
        return not any(pe.active_levels.values()) and not any(pe.active_nmi.values())

    def passes_mask(self, pe: Pe, irq: Interrupt) -> bool:
        """Tell whether ICC_PMR lets an interrupt through."""
        if self.is_nmi(irq):
            if self.ds or self.group_of(irq) == G1S:
                return True  # 11: PMR does not mask an NMI
            return pe.pmr > 0x80 if pe.secure else pe.pmr >= 0x80  # 11: but a Non-secure one needs the half open
        return self.priority_of(irq) < pe.pmr  # 6: strict

    def preempts(self, pe: Pe, irq: Interrupt) -> bool:
        """Tell whether an interrupt beats what is active (6)."""
        if self.is_idle(pe):
            return True
        mask = self.group_mask(pe, self.group_of(irq))
        new, running = self.priority_of(irq) & mask, self.running_priority(pe) & mask
        if self.is_nmi(irq) and new == running and not any(pe.active_nmi.values()):
            return True  # 11: an NMI preempts an equal group priority unless an NMI is active
        return new < running

    def signalled(self, pe: Pe, spis: Spis | None = None) -> Interrupt | None:
        """Return the interrupt a PE is being signalled, None for none (2.5, 6)."""
        best = self.best_pending(pe, spis)
        if best is not None and self.passes_mask(pe, best) and self.preempts(pe, best):
            return best
        return None

    def line_of(self, pe: Pe, irq: Interrupt) -> int:
        """Return the line that an interrupt raises on a PE (7)."""
        group = self.group_of(irq)
        if group == G0:
            as_irq = False
        elif self.ds:
            as_irq = True  # 7: DS=1 column [?]
        elif group == G1S:
            as_irq = pe.secure and pe.el < 3
        else:
            as_irq = not pe.secure
        if as_irq:
            return LINE_NMI if self.is_nmi(irq) and pe.sctlr_nmi else LINE_IRQ  # 11: SCTLR_ELx.NMI=0: as any other
        return LINE_FIQ  # 11: an NMI sent as FIQ is a plain FIQ

    def wake_request(self, pe: Pe, spis: Spis) -> bool:
        """Tell whether a sleeping PE's redistributor asks for it to be woken (3.6)."""
        if not pe.accessible or not pe.sleep:
            return False
        # 3.6 [?]: only what is enabled and group-enabled; 6: 0xFF can never be signalled, so it does not wake either.
        return any(self.priority_of(irq) != IDLE_PRIORITY for irq in self.candidates(pe, spis))

    def lines(self) -> list[int]:
        """Return the output lines of every PE, one bit per line."""
        result, spis = [], self.candidate_spis()
        for pe in self.pes:
            irq = self.signalled(pe, spis)
            value = 0 if irq is None else self.line_of(pe, irq)
            result.append(value | (LINE_WAKE if self.wake_request(pe, spis) else 0))
        return result
