# What decides whether an interrupt reaches a PE, gathered in one look: the data behind explain.py.

cdef u32 lpi_find(GicState *s, u32 intid) noexcept nogil:
    """The first PE at whose redistributor an LPI is pending, or NO_PE; it looks at every PE."""
    cdef u32 pe
    for pe in range(s.num_pe):
        if lpi_is_pending(s, pe, intid):
            return pe
    return NO_PE


def interrupt_facts(Gic gic not None, intid, pe):
    """The facts by name, consistent with each other; None when there is no such interrupt."""
    cdef GicState *s = gic.s
    cdef u32 index = arg_pe(gic, pe)
    cdef u32 number = <u32>arg_unsigned(intid, 0xFFFFFF, "intid")
    cdef u32 slot = private_slot(s, number)
    cdef bint shared = slot == NO_SLOT
    cdef u32 bit, latch, line, edge, enable, group, prio
    cdef u32 target = NO_PE
    cdef bint nmi, active, unmasked, preempts, split, secure, masks_nmi, shown, one_of_n = False, participates = True
    cdef bint lpi = is_lpi(s, number)
    cdef u32 limit = 0, level = NO_LEVEL, elsewhere = NO_PE
    cdef bint unread = False, lpis_enabled = False, readable = False
    cdef u64 irouter = 0
    cdef PeState p
    cdef u8 ds, enables, dpg
    if shared:
        slot = shared_slot(s, number)
        if slot == NO_SLOT and not lpi:
            return None
    bit = 0 if lpi else slot & 31
    with gic.mutex:
        p = s.pe[index]
        if lpi:
            shared = line = nmi = False
            edge = 1
            limit = s.lpi[index].limit
            latch = lpi_is_pending(s, index, number)
            if latch:
                level = lpi_where(s, &s.lpi[index], number)
            elif lpi_known(s, index, number) & LPI_ENABLE:
                level = lpi_known(s, index, number) >> 2 & lpi_level_mask(s)
            unread = not latch and lpi_known(s, index, number) == 0
            readable = mem_find(s, table_address(s.lpi[index].propbaser) + number - FIRST_LPI, 1) != NULL
            lpis_enabled = s.lpi[index].enabled != 0
            if not latch:
                elsewhere = lpi_find(s, number)
            enable = level != NO_LEVEL
        elif shared:
            latch = s.shared[slot >> 5].latch
            line = s.shared[slot >> 5].line | s.shared[slot >> 5].message
            edge = s.shared[slot >> 5].edge
            enable = s.shared[slot >> 5].enable
            nmi = shared_is_nmi(s, slot)
            irouter = s.spi[slot].irouter
            one_of_n = spi_is_one_of_n(s, slot)
            target = s.spi[slot].queued_pe if one_of_n else s.spi[slot].target
        else:
            latch = private_word(s, &s.pe[index], slot >> 5).latch
            line = private_word(s, &s.pe[index], slot >> 5).line
            edge = private_word(s, &s.pe[index], slot >> 5).edge
            enable = s.cold[index].enable[slot >> 5]
            nmi = private_is_nmi(s, &s.pe[index], slot)
        group = intid_group(s, &s.pe[index], number)
        prio = nmi_prio(s, group) if nmi else intid_priority(s, &s.pe[index], number)
        active = intid_active(s, &s.pe[index], number)
        unmasked = pe_unmasked(s, &s.pe[index], prio, nmi)
        preempts = pe_preempts(&s.pe[index], prio, group, nmi)
        split = eoi_split(s, &s.pe[index])
        secure = pe_secure(s, &s.pe[index])
        masks_nmi = s.cold[index].sctlr_nmi
        shown = icc_shows(s, &s.pe[index], group)
        if one_of_n:
            participates = pe_participates(s, &s.pe[index]) & (1 << group | 1 << (SLEEPER_SETS + group)) != 0
        ds = s.ds
        enables = s.enables
        dpg = s.cold[index].dpg
    return {
        "shared": shared, "latch": bool(latch >> bit & 1), "line": bool(line >> bit & 1),
        "edge": bool(edge >> bit & 1), "enabled": bool(enable >> bit & 1), "nmi": nmi, "active": active,
        "group": group, "priority": prio, "group_enabled": bool(enables >> group & 1),
        "igrpen": bool(p.igrpen >> group & 1), "accessible": bool(p.flags & PE_ACCESSIBLE),
        "asleep": bool(p.flags & PE_ASLEEP), "hpp": p.hpp, "hpp_priority": p.hpp_prio, "pmr": p.pmr,
        "running": p.running, "mask": p.preempt_mask[group], "unmasked": unmasked, "preempts": preempts,
        "signalled": bool(p.lines & (LINE_IRQ | LINE_FIQ | LINE_NMI)) and p.hpp == number,
        "output": "FIQ" if p.fiq_groups >> group & 1 else "NMI" if nmi and masks_nmi else "IRQ",
        "shown": shown,
        "ds": bool(ds), "secure": secure, "el": p.el,
        "access": p.access[TRAP_GROUP0 if group == G0 else TRAP_GROUP1], "eoimode": split,
        "irouter": irouter, "target": None if target == NO_PE else target, "one_of_n": one_of_n,
        "participates": participates, "dpg": bool(dpg >> group & 1), "lpi": lpi, "limit": limit, "unread": unread,
        "readable": readable, "lpis_enabled": lpis_enabled, "pending_at": None if elsewhere == NO_PE else elsewhere,
    }
