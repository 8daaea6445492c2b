# Reset values of the CPU interface, the Redistributor and the Distributor.

cdef void cpuif_reset_fields(GicState *s, PeState *p) noexcept nogil:
    """ICC_* of one PE at its reset values (architecture notes 5.2); UNKNOWN fields are 0, BPRs at their minimum."""
    cdef PeCold *c = cold_of(s, p)
    memset(&p.ap0[0], 0, sizeof(p.ap0))
    memset(&c.ap_hi[0], 0, sizeof(c.ap_hi))
    nmi_set_active(p, G1S, False)
    nmi_set_active(p, G1NS, False)
    p.pmr = 0
    p.igrpen = 0
    p.eoimode = 0
    c.pmhe = 0
    c.cbpr = 0
    c.bpr[G0] = 7 - s.prebits
    c.bpr[G1S] = 7 - s.prebits
    c.bpr[G1NS] = 8 - s.prebits
    p.running = PRIO_IDLE


cdef void redist_reset_fields(GicState *s, PeState *p) noexcept nogil:
    """GICR_* of one PE at its reset values (architecture notes 2.7); input wires keep their level."""
    cdef u32 word
    cdef PrivateHot *h
    cdef PeCold *c = cold_of(s, p)
    for word in range(PRIVATE_WORDS):
        h = private_word(s, p, word)
        h.latch = 0
        h.active = 0
        h.group = 0
        h.grpmod = 0
        h.edge = 0xFFFF if word == 0 else 0
        c.enable[word] = 0
        c.nmi[word] = 0
    memset(&p.prio[0], 0, sizeof(p.prio))
    memset(&c.prio[0], 0, sizeof(c.prio))
    c.nsacr = 0
    c.dpg = 0
    c.waker = WAKER_SLEEP | WAKER_CHILDREN
    c.waker_left = 0
    c.rwp_left = 0
    c.uwp_left = 0
    c.statusr[0] = 0
    c.statusr[1] = 0
    p.flags = (p.flags | PE_ASLEEP) & ~PE_HAS_NMI


cdef void dist_reset_fields(GicState *s) noexcept nogil:
    """GICD_* at their reset values (architecture notes 2.7); input wires keep their level."""
    cdef u32 word, slot
    cdef SharedWord *w
    s.ds = 0 if s.features & FEAT_SECURITY else 1
    s.enables = 0
    s.e1nwf = 0
    s.rwp_left = 0
    s.statusr[0] = 0
    s.statusr[1] = 0
    memset(&s.nsacr[0], 0, sizeof(s.nsacr))
    for word in range(SHARED_WORDS):
        w = &s.shared[word]
        w.latch = 0
        w.message = 0
        w.edge = 0
        w.enable = 0
        w.active = 0
        w.group = 0
        w.grpmod = 0
        w.nmi = 0
    for slot in range(SHARED_SLOTS):
        s.spi[slot].prio = 0
        s.spi[slot].irouter = 0
