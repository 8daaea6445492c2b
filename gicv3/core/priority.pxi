# Binary points, active priorities, running priority (architecture notes 6 and 11).

cdef inline u32 bpr_min(GicState *s, u32 group) noexcept nogil:
    return 8 - s.prebits if group == G1NS else 7 - s.prebits


cdef void cpuif_masks(GicState *s, PeState *p) noexcept nogil:
    """Group-priority mask of a pending interrupt of each group (architecture notes 6)."""
    cdef PeCold *c = cold_of(s, p)
    cdef u8 mask0 = <u8>(0xFF << (c.bpr[G0] + 1))
    p.preempt_mask[G0] = mask0
    p.preempt_mask[G1S] = mask0 if c.cbpr & 1 else <u8>(0xFF << (c.bpr[G1S] + 1))
    p.preempt_mask[G1NS] = mask0 if c.cbpr & 2 else <u8>(0xFF << c.bpr[G1NS])


cdef inline u32 active_highest(GicState *s, PeState *p, u32 *group) noexcept nogil:
    """Highest active priority as a bit number over the words of the AP registers, and whose it is; 128 when idle."""
    cdef u32 word, g0, g1s, all_groups, bit
    for word in range(s.ap_words):
        g0 = ap_word(s, p, G0, word)[0]
        g1s = ap_word(s, p, G1S, word)[0]
        all_groups = g0 | g1s | ap_word(s, p, G1NS, word)[0]
        if all_groups:
            bit = gic_ctz32(all_groups)
            group[0] = G0 if g0 >> bit & 1 else G1S if g1s >> bit & 1 else G1NS
            return word * 32 + bit
    group[0] = NUM_GROUPS
    return 128


cdef inline u32 active_nmi(GicState *s, PeState *p, u32 index) noexcept nogil:
    """The group of the active NMI when it is the highest active priority, `index` being that of the AP registers;
    NUM_GROUPS when there is none or a higher priority preempted it."""
    if nmi_is_active(p, G1S):
        return G1S
    if nmi_is_active(p, G1NS) and (index << (8 - s.prebits)) >= nmi_prio(s, G1NS):
        return G1NS
    return NUM_GROUPS


cdef inline void cpuif_running(GicState *s, PeState *p) noexcept nogil:
    """Recompute the running priority from the active-priority registers."""
    cdef u32 group
    cdef u32 index = active_highest(s, p, &group)
    p.running = PRIO_IDLE if group == NUM_GROUPS else <u8>(index << (8 - s.prebits))
    if p.flags & PE_NMI_ACTIVE:
        if s.ds or nmi_is_active(p, G1S):
            p.running = 0
        else:
            p.running = min(p.running, <u8>0x80)


cdef inline u64 ns_priority(u32 prio) noexcept nogil:
    """A running priority or mask as Non-secure software sees it: the upper half, shifted; 0xFF stays."""
    if prio == 0xFF:
        return prio
    return 0 if prio < 0x80 else (prio << 1) & 0xFF
