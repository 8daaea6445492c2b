# What decides whether an interrupt reaches a PE, gathered in one look: the data behind explain.py.

cdef u32 lpi_find(GicState *s, u32 intid) noexcept nogil:
    """The first PE at whose redistributor an LPI is pending, or NO_PE; it looks at every PE."""
    cdef u32 pe
    for pe in range(s.num_pe):
        if lpi_is_pending(s, pe, intid):
            return pe
    return NO_PE


cdef struct Source:              # an interrupt, as a PE may get it
    u32 bit                      # its bit in the next four
    u32 latch
    u32 line
    u32 edge
    u32 enable
    bint nmi
    u64 irouter                  # of an SPI
    u32 target
    bint one_of_n
    u32 limit                    # of an LPI
    u32 elsewhere
    bint unread
    bint readable
    bint lpis_enabled


cdef void source_private(GicState *s, u32 pe, u32 slot, Source *source) noexcept nogil:
    cdef PrivateHot *h = private_word(s, &s.pe[pe], slot >> 5)
    source.bit = slot & 31
    source.latch = h.latch
    source.line = h.line
    source.edge = h.edge
    source.enable = s.cold[pe].enable[slot >> 5]
    source.nmi = private_is_nmi(s, &s.pe[pe], slot)


cdef void source_shared(GicState *s, u32 slot, Source *source) noexcept nogil:
    cdef SharedWord *w = &s.shared[slot >> 5]
    source.bit = slot & 31
    source.latch = w.latch
    source.line = w.line | w.message
    source.edge = w.edge
    source.enable = w.enable
    source.nmi = shared_is_nmi(s, slot)
    source.irouter = s.spi[slot].irouter
    source.one_of_n = spi_is_one_of_n(s, slot)
    source.target = s.spi[slot].queued_pe if source.one_of_n else s.spi[slot].target


cdef void source_lpi(GicState *s, u32 pe, u32 intid, Source *source) noexcept nogil:
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 known = lpi_known(s, pe, intid)
    source.edge = 1
    source.limit = lp.limit
    source.latch = lpi_is_pending(s, pe, intid)
    source.lpis_enabled = lp.enabled != 0
    source.readable = mem_find(s, table_address(lp.propbaser) + intid - FIRST_LPI, 1) != NULL
    if source.latch:
        source.enable = lpi_where(s, lp, intid) != NO_LEVEL or (lp.unplaced and known & LPI_ENABLE)
    else:
        source.enable = (known & LPI_ENABLE) != 0
        source.unread = known == 0
        source.elsewhere = lpi_find(s, intid)


def interrupt_facts(Gic gic not None, intid, pe):
    """The facts by name, consistent with each other; None when there is no such interrupt."""
    cdef GicState *s = gic.s
    cdef u32 index = arg_pe(gic, pe)
    cdef u32 number = <u32>arg_unsigned(intid, 0xFFFFFF, "intid")
    cdef u32 private = private_slot(s, number)
    cdef u32 shared = shared_slot(s, number)
    cdef bint lpi = is_lpi(s, number)
    cdef Source source
    cdef u32 bit, group, prio
    cdef bint active, unmasked, preempts, split, secure, masks_nmi, shown, participates = True
    cdef PeState p
    cdef u8 ds, enables, dpg
    if private == NO_SLOT and shared == NO_SLOT and not lpi:
        return None
    memset(&source, 0, sizeof(source))
    source.target = source.elsewhere = NO_PE
    with gic.mutex:
        p = s.pe[index]
        if lpi:
            source_lpi(s, index, number, &source)
        elif private != NO_SLOT:
            source_private(s, index, private, &source)
        else:
            source_shared(s, shared, &source)
        group = intid_group(s, &s.pe[index], number)
        prio = nmi_prio(s, group) if source.nmi else intid_priority(s, &s.pe[index], number)
        active = intid_active(s, &s.pe[index], number)
        unmasked = pe_unmasked(s, &s.pe[index], prio, source.nmi)
        preempts = pe_preempts(&s.pe[index], prio, group, source.nmi)
        split = eoi_split(s, &s.pe[index])
        secure = pe_secure(s, &s.pe[index])
        masks_nmi = s.cold[index].sctlr_nmi
        shown = icc_shows(s, &s.pe[index], group)
        if source.one_of_n:
            participates = pe_participates(s, &s.pe[index]) & (1 << group | 1 << (SLEEPER_SETS + group)) != 0
        ds = s.ds
        enables = s.enables
        dpg = s.cold[index].dpg
    bit = source.bit
    return {
        "shared": shared != NO_SLOT, "latch": bool(source.latch >> bit & 1), "line": bool(source.line >> bit & 1),
        "edge": bool(source.edge >> bit & 1), "enabled": bool(source.enable >> bit & 1), "nmi": source.nmi,
        "active": active, "group": group, "priority": prio, "group_enabled": bool(enables >> group & 1),
        "igrpen": bool(p.igrpen >> group & 1), "accessible": bool(p.flags & PE_ACCESSIBLE),
        "asleep": bool(p.flags & PE_ASLEEP), "hpp": p.hpp, "hpp_priority": p.hpp_prio, "pmr": p.pmr,
        "running": p.running, "mask": p.preempt_mask[group], "unmasked": unmasked, "preempts": preempts,
        "signalled": bool(p.lines & (LINE_IRQ | LINE_FIQ | LINE_NMI)) and p.hpp == number,
        "output": "FIQ" if p.fiq_groups >> group & 1 else "NMI" if source.nmi and masks_nmi else "IRQ",
        "shown": shown,
        "ds": bool(ds), "secure": secure, "el": p.el,
        "access": p.access[TRAP_GROUP0 if group == G0 else TRAP_GROUP1], "eoimode": split,
        "irouter": source.irouter, "target": None if source.target == NO_PE else source.target,
        "one_of_n": source.one_of_n, "participates": participates, "dpg": bool(dpg >> group & 1), "lpi": lpi,
        "limit": source.limit, "unread": source.unread, "readable": source.readable,
        "lpis_enabled": source.lpis_enabled, "pending_at": None if source.elsewhere == NO_PE else source.elsewhere,
    }
