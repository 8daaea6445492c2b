# Accessibility of a PE's CPU interface, and resets. Plugging flips a flag and moves no memory.

cdef void pe_accessible_bit(GicState *s, u32 pe, bint accessible) noexcept nogil:
    cdef u64 bit = <u64>1 << (pe & 63)
    if accessible:
        s.pe[pe].flags |= PE_ACCESSIBLE
        s.accessible[pe >> 6] |= bit
    else:
        s.pe[pe].flags &= <u8>~PE_ACCESSIBLE
        s.accessible[pe >> 6] &= ~bit


cdef void pe_recompute(GicState *s, u32 pe) noexcept nogil:
    """Bring everything derived of one PE up to date after its fields were set anew."""
    cdef PeState *p = &s.pe[pe]
    cpuif_masks(s, p)
    cpuif_running(s, p)
    pe_context(s, p)
    pe_gates_changed(s, pe)


cdef void cpuif_default_context(GicState *s, PeState *p) noexcept nogil:
    p.el = 1
    p.secure = 0
    cold_of(s, p).sctlr_nmi = 0
    cold_of(s, p).scr_el3 = SCR_NS
    cold_of(s, p).hcr_el2 = 0
    cold_of(s, p).ich_hcr_el2 = 0


cdef void pe_set_context(GicState *s, u32 pe, u8 el, bint secure, u64 scr_el3, u64 hcr_el2, u32 ich_hcr_el2,
                         bint nmi) noexcept nogil:
    """The state in which a PE executes, as its embedder says."""
    cdef PeState *p = &s.pe[pe]
    cdef PeCold *c = cold_of(s, p)
    p.el = el
    p.secure = secure
    c.scr_el3 = scr_el3
    c.hcr_el2 = hcr_el2
    c.ich_hcr_el2 = ich_hcr_el2
    c.sctlr_nmi = nmi
    pe_context(s, p)
    pe_update(s, pe)


cdef void cpuif_reset(GicState *s, u32 pe) noexcept nogil:
    """Cold reset of one CPU interface: its ICC registers and the context that the embedder gave."""
    trace_event(s, TRACE_RESET, pe, INTID_NONE, 0)
    cpuif_reset_fields(s, &s.pe[pe])
    cpuif_default_context(s, &s.pe[pe])
    pe_recompute(s, pe)


cdef void pe_set_accessible(GicState *s, u32 pe, bint accessible) noexcept nogil:
    """A vCPU comes or goes.

    Coming: interrupts that wait for this PE (an SPI routed to it) are signalled without further stimulus.
    Going: lines drop, the CPU interface and the redistributor return to their reset values (asleep, nothing enabled,
    pending or active), so that the next vCPU finds what a cold one finds. Its PPI wires go with it.
    """
    cdef u32 word, pending, sgis
    cdef PrivateHot *h
    cdef u32 event = TRACE_PLUGGED if accessible else TRACE_UNPLUGGED
    trace_event(s, event, pe, INTID_NONE, 0)
    pe_accessible_bit(s, pe, accessible)
    if not accessible:
        for word in range(PRIVATE_WORDS):
            h = private_word(s, &s.pe[pe], word)
            sgis = 0xFFFF if word == 0 else 0
            pending = h.latch | (h.line & ~h.edge)
            stat_dropped(s, pe, STAT_SGI, pending & sgis)
            stat_dropped(s, pe, STAT_PPI, pending & ~sgis)
            h.line = 0
        latency_forget_pe(s, pe)
        redist_reset_fields(s, &s.pe[pe])
        cpuif_reset_fields(s, &s.pe[pe])
        cpuif_default_context(s, &s.pe[pe])
    pe_recompute(s, pe)


cdef void gic_reset(GicState *s) noexcept nogil:
    """Reset of the Distributor and of every redistributor; CPU interfaces belong to their PEs' reset."""
    cdef u32 pe, slot
    trace_event(s, TRACE_RESET, NO_PE, INTID_NONE, 0)
    latency_forget(s)
    dist_reset_fields(s)
    its_reset(s)
    lpi_reset(s)
    stages_forget(s)
    work_resume(s)
    for slot in range(NUM_PRIVATE, SHARED_SLOTS):
        if shared_slot(s, shared_intid(slot)) != NO_SLOT:
            spi_route(s, slot)
    for pe in range(s.num_pe):
        redist_reset_fields(s, &s.pe[pe])
    gic_update_all(s)
