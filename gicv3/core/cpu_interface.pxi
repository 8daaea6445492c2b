# ICC_*: acknowledge, end, deactivate, and generate SGIs.

# --- acknowledge -------------------------------------------------------------------------------------------------

cdef void icc_activate(GicState *s, PeState *p, u32 pe) noexcept nogil:
    """Acknowledge the chosen interrupt: latch cleared, active set, active priority recorded."""
    cdef u32 intid = p.hpp
    cdef u32 slot = private_slot(s, intid)
    cdef u32 bit, index
    cdef PrivateHot *h
    cdef SharedWord *w
    cdef u32 group = p.hpp_group
    trace_event(s, TRACE_TAKEN, pe, intid, p.hpp_prio)
    if p.running != PRIO_IDLE:
        stat_preempted(s, pe, intid)
    if p.hpp_nmi:
        nmi_set_active(p, group, True)
        cpuif_running(s, p)
    else:
        index = p.hpp_prio & p.preempt_mask[group] if s.apr_by_bpr else p.hpp_prio
        index >>= 8 - s.prebits
        ap_word(s, p, group, index >> 5)[0] |= <u32>1 << (index & 31)
        p.running = <u8>(index << (8 - s.prebits))       # it preempted, so it is the highest
    if slot != NO_SLOT:
        h = private_word(s, p, slot >> 5)
        bit = <u32>1 << (slot & 31)
        h.latch &= ~bit
        h.active |= bit
        stat_acked(s, p, stat_kind(intid))
        if s.latency != NULL:
            latency_until(s, stat_kind(intid), &s.latency.private_since[pe * PRIVATE_SLOTS + slot])
        pe_update(s, pe)
        return
    if intid >= FIRST_LPI:
        lpi_take(s, pe)
        if s.latency != NULL:
            latency_until_lpi(s, pe, intid)
        pe_update(s, pe)
        return
    slot = shared_slot(s, intid)
    w = &s.shared[slot >> 5]
    bit = <u32>1 << (slot & 31)
    w.latch &= ~bit
    w.active |= bit
    stat_acked(s, p, STAT_SPI)
    if s.latency != NULL:
        latency_until(s, STAT_SPI, &s.latency.shared_since[slot])
    spi_update(s, slot)          # an acknowledged SPI always leaves its queue, so this updates the PE too


cdef inline bint icc_shows(GicState *s, PeState *p, u32 group) noexcept nogil:
    """Whether an acknowledge register tells this PE's software of an interrupt of `group` (architecture notes 8)."""
    if s.ds:
        return True
    if group == G0:
        return pe_secure(s, p)
    return pe_el3(s, p) or (group == G1S) == pe_secure(s, p)


cdef inline u32 icc_visible(GicState *s, PeState *p, u32 reg_group) noexcept nogil:
    """INTID that IAR<reg_group>/HPPIR<reg_group> show for the chosen interrupt, tests passed (architecture notes 8)."""
    if reg_group == 0:
        if p.hpp_group == G0:
            return p.hpp if icc_shows(s, p, G0) else INTID_NONE
        if pe_el3(s, p):
            return INTID_SECURE if p.hpp_group == G1S else INTID_NONSECURE
        return INTID_NONE
    return p.hpp if p.hpp_group != G0 and icc_shows(s, p, p.hpp_group) else INTID_NONE


cdef inline u32 icc_iar(GicState *s, u32 pe, u32 reg_group) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    cdef u32 intid
    if not pe_deliverable(s, p):
        return INTID_NONE
    intid = icc_visible(s, p, reg_group)
    if intid - FIRST_SPECIAL < 4:
        return intid
    if p.hpp_nmi and cold_of(s, p).sctlr_nmi:
        return INTID_NMI
    icc_activate(s, p, pe)
    return intid


cdef u32 icc_nmiar(GicState *s, u32 pe) noexcept nogil:
    """ICC_NMIAR1: acknowledges an NMI and nothing else."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 intid
    if not pe_deliverable(s, p) or not p.hpp_nmi:
        return INTID_NONE
    intid = icc_visible(s, p, 1)
    if intid - FIRST_SPECIAL >= 4:
        icc_activate(s, p, pe)
    return intid


cdef u32 icc_hppir(GicState *s, PeState *p, u32 reg_group) noexcept nogil:
    """The choice without the priority tests; only the group must be enabled."""
    if (p.hpp == INTID_NONE or (p.flags & (PE_ACCESSIBLE | PE_ASLEEP)) != PE_ACCESSIBLE
            or not p.igrpen >> p.hpp_group & 1):
        return INTID_NONE
    return icc_visible(s, p, reg_group)


# --- end of interrupt --------------------------------------------------------------------------------------------

cdef inline void icc_deactivate(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """Clear the active state of an implemented interrupt."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 slot = private_slot(s, intid)
    cdef PrivateHot *h
    if slot != NO_SLOT:
        h = private_word(s, p, slot >> 5)
        h.active &= ~(<u32>1 << (slot & 31))
        if (h.latch | (h.line & ~h.edge)) >> (slot & 31) & 1:
            private_pended(s, pe, p, slot)
        return
    slot = shared_slot(s, intid)
    if slot != NO_SLOT:
        s.shared[slot >> 5].active &= ~(<u32>1 << (slot & 31))
        spi_update(s, slot)


cdef inline u32 intid_group(GicState *s, PeState *p, u32 intid) noexcept nogil:
    """Group of an interrupt as this PE would see it; NUM_GROUPS when it is not implemented."""
    cdef u32 slot = private_slot(s, intid)
    if slot != NO_SLOT:
        return private_group(s, p, slot)
    slot = shared_slot(s, intid)
    if slot != NO_SLOT:
        return shared_group(s, slot)
    return G1NS if is_lpi(s, intid) else NUM_GROUPS


cdef bint intid_active(GicState *s, PeState *p, u32 intid) noexcept nogil:
    """Active state of an implemented interrupt."""
    cdef u32 slot = private_slot(s, intid)
    if slot != NO_SLOT:
        return private_word(s, p, slot >> 5).active >> (slot & 31) & 1
    slot = shared_slot(s, intid)
    return slot != NO_SLOT and s.shared[slot >> 5].active >> (slot & 31) & 1


cdef u32 intid_priority(GicState *s, PeState *p, u32 intid) noexcept nogil:
    """Priority of an implemented interrupt."""
    cdef u32 slot = private_slot(s, intid)
    if is_lpi(s, intid):         # as it is configured now, unknown as highest
        return lpi_prio_now(s, <u32>(p - s.pe), intid)
    return private_prio(s, p, slot)[0] if slot != NO_SLOT else s.spi[shared_slot(s, intid)].prio


cdef inline bint may_end(GicState *s, PeState *p, u32 group) noexcept nogil:
    """True when the current state may EOI an interrupt of this group (architecture notes 8)."""
    if s.ds or pe_el3(s, p):
        return True
    return (group == G1NS) != pe_secure(s, p)


cdef void strict_intid(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """An INTID of no interrupt; the special ones mean "none", and writing them back is in order."""
    if intid - FIRST_SPECIAL >= 4:
        strict_log(s, STRICT_INTID_RESERVED, pe, intid)


cdef void strict_eoir(GicState *s, u32 pe, u32 reg_group, u32 intid) noexcept nogil:
    """Judge an EOIR write before it acts."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 group = 0
    cdef u32 own = intid_group(s, p, intid)
    cdef u32 index = active_highest(s, p, &group)
    cdef u32 nmi = active_nmi(s, p, index)
    cdef u32 level
    if nmi != NUM_GROUPS:
        group = nmi
    if own == NUM_GROUPS:
        strict_intid(s, pe, intid)
    elif group == NUM_GROUPS:
        strict_log(s, STRICT_EOI_NOTHING_ACTIVE, pe, intid)
    elif (group == G0) != (reg_group == 0) or not may_end(s, p, group) or own != group:
        strict_log(s, STRICT_EOI_GROUP, pe, intid)
    elif is_lpi(s, intid):       # its priority may have changed since, and there is no active state to compare
        return
    elif not intid_active(s, p, intid):
        strict_log(s, STRICT_EOI_ORDER, pe, intid)
    elif nmi == NUM_GROUPS and not s.apr_by_bpr:
        level = intid_priority(s, p, intid) >> (8 - s.prebits)       # without an active priority there: changed since
        if level != index and ap_word(s, p, group, level >> 5)[0] >> (level & 31) & 1:
            strict_log(s, STRICT_EOI_ORDER, pe, intid)


cdef void icc_eoir(GicState *s, u32 pe, u32 reg_group, u32 intid) noexcept nogil:
    """Priority drop, then deactivation unless EOImode splits them; a write that does not suit is ignored whole."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 own = intid_group(s, p, intid)
    cdef u32 group, index, nmi
    if s.strict_on:
        strict_eoir(s, pe, reg_group, intid)
    if own == NUM_GROUPS:        # special or not implemented
        return
    index = active_highest(s, p, &group)
    nmi = NUM_GROUPS
    if p.flags & PE_NMI_ACTIVE:
        nmi = active_nmi(s, p, index)
        if nmi != NUM_GROUPS:
            group = nmi
    if group == NUM_GROUPS or (group == G0) != (reg_group == 0) or not may_end(s, p, group):
        return
    trace_event(s, TRACE_ENDED, pe, intid, p.running)
    if nmi != NUM_GROUPS:
        nmi_set_active(p, group, False)
    else:
        ap_word(s, p, group, index >> 5)[0] &= ~(<u32>1 << (index & 31))
    cpuif_running(s, p)
    if not eoi_split(s, p) and may_end(s, p, own):
        icc_deactivate(s, pe, intid)
    pe_output(s, pe)


cdef void icc_dir(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """Deactivate; only with EOImode set, and only groups that the current state owns (architecture notes 8)."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 group = intid_group(s, p, intid)
    cdef bint fiq = has_el3(s) and (cold_of(s, p).scr_el3 & SCR_FIQ) != 0
    cdef bint irq = has_el3(s) and (cold_of(s, p).scr_el3 & SCR_IRQ) != 0
    if s.strict_on:
        if group == NUM_GROUPS:
            strict_intid(s, pe, intid)
        elif not eoi_split(s, p):
            strict_log(s, STRICT_DIR_WITHOUT_EOIMODE, pe, intid)
        elif not intid_active(s, p, intid):
            strict_log(s, STRICT_DIR_NOT_ACTIVE, pe, intid)
    if group == NUM_GROUPS or not eoi_split(s, p):
        return
    if not pe_el3(s, p):
        if fiq if group == G0 else irq:
            return
        if not pe_secure(s, p) and not s.ds and group != G1NS:
            return
    trace_event(s, TRACE_DEACTIVATED, pe, intid, 0)
    icc_deactivate(s, pe, intid)


# --- SGIs --------------------------------------------------------------------------------------------------------

cdef inline bint sgi_allowed(GicState *s, PeState *target, u32 sgi, bint secure, u32 reg) noexcept nogil:
    """Does the target forward this SGI? Decided there, from its group for the INTID (architecture notes 9)."""
    cdef u32 group = private_group(s, target, sgi)
    cdef u32 nsacr
    if s.ds:
        if secure:
            return group == G1NS if reg == ASGI1R else group == G0
        return group == G0 or reg == SGI1R
    if secure:
        return group == reg      # SGI0R: G0, SGI1R: G1S, ASGI1R: G1NS
    nsacr = cold_of(s, target).nsacr >> (2 * sgi) & 3
    if group == G0:
        return nsacr >= 1
    if group == G1S:
        return nsacr >= 2 and reg != SGI0R
    return reg == SGI1R


cdef void sgi_pend(GicState *s, u32 pe, u32 sgi, bint secure, u32 reg) noexcept nogil:
    """An SGI reaches an accessible PE."""
    cdef PeState *p = &s.pe[pe]
    if p.w0.latch >> sgi & 1 or not sgi_allowed(s, p, sgi, secure, reg):
        return
    stat_raised(s, p, pe, sgi, STAT_SGI)
    p.w0.latch |= <u32>1 << sgi
    private_pended(s, pe, p, sgi)


cdef inline bint sgi_reaches_idle(GicState *s, PeState *p, u32 sgi, u32 bit) noexcept nogil:
    """sgi_pend() of an enabled SGI in Group 1 that an idle plain PE takes at once; False when it is not that simple."""
    cdef u32 prio = p.prio[sgi]
    if (not pe_ready(s, p) or p.running != PRIO_IDLE or p.lines
            or (p.w0.latch | p.w0.active | ~(p.w0.gate & p.w0.group)) & bit
            or prio >= p.pmr or prio >= p.hpp_prio):     # masked, or behind one that is
        return False
    p.w0.latch |= bit
    stat_raised_plain(s, p, STAT_SGI)
    p.hpp = sgi
    p.hpp_prio = <u8>prio
    p.hpp_group = G1NS
    pe_show_marked(p, LINE_IRQ)
    return True


cdef void sgi_send(GicState *s, u32 pe, u64 value, u32 reg) noexcept nogil:
    """A write of ICC_SGI0R, ICC_SGI1R or ICC_ASGI1R: a target list inside one cluster, or all accessible others."""
    cdef bint secure = pe_secure(s, &s.pe[pe])
    cdef u32 sgi = <u32>(value >> 24) & 15
    cdef u32 targets = <u32>value & 0xFFFF
    cdef u32 affinity, target, word
    cdef u64 bits
    cdef PeState *p
    cdef PeState *first
    cdef bint forwarded = reg == SGI1R and not secure    # by every PE for which it is in Non-secure Group 1
    trace_event(s, TRACE_SGI, pe, sgi, value)
    upstream_wait(s, pe)
    if value >> 40 & 1:
        for word in range((s.num_pe + 63) // 64):
            bits = s.accessible[word]
            if word == pe >> 6:
                bits &= ~(<u64>1 << (pe & 63))
            first = &s.pe[word * 64]
            while bits:
                p = first + gic_ctz64(bits)
                bits &= bits - 1
                if unlikely(not forwarded or not sgi_reaches_idle(s, p, sgi, <u32>1 << sgi)):
                    sgi_pend(s, <u32>(p - s.pe), sgi, secure, reg)
        return
    affinity = <u32>(value >> 24 & 0xFF000000U) | <u32>(value >> 16 & 0xFF0000) | <u32>(value >> 8 & 0xFF00)
    if s.features & FEAT_RSS:
        affinity |= <u32>(value >> 44 & 15) << 4
    elif s.strict_on and value >> 44 & 15:
        strict_log(s, STRICT_RS_UNSUPPORTED, pe, sgi)
    while targets:
        target = affinity_find(s, affinity | gic_ctz32(targets))
        targets &= targets - 1
        if target != NO_PE and s.pe[target].flags & PE_ACCESSIBLE:
            sgi_pend(s, target, sgi, secure, reg)
        elif target != NO_PE:
            stat_dropped(s, target, STAT_SGI, 1)
            s.sgi_dropped += 1   # an absent vCPU is no receiver: dropped and counted, never kept
        elif s.strict_on:
            strict_log(s, STRICT_SGI_NO_TARGET, pe, sgi)
