# Statistics: what became of each PE's interrupts, by class, and how long they waited. They decide nothing.

cdef enum:
    STAT_SGI = 0
    STAT_PPI
    STAT_SPI
    STAT_LPI
    STAT_KINDS = 4
    LATENCY_BINS = 65            # 0, 1, 2..3, 4..7, ... 2**63..2**64-1


cdef u32 stat_kind(u32 intid) noexcept nogil:
    if intid < NUM_SGI:
        return STAT_SGI
    if intid < NUM_PRIVATE or intid - FIRST_EPPI < 64:
        return STAT_PPI
    return STAT_LPI if intid >= FIRST_LPI else STAT_SPI


cdef void latency_until(GicState *s, u32 kind, u64 *since) noexcept nogil:
    """Sort the time since the raise into its bin; a level that stayed high through its EOI was not raised again."""
    cdef u64 waited = 0
    if since[0] == 0:
        return
    if s.latency.now >= since[0]:        # else no time has passed, or the embedder's clock went back
        waited = s.latency.now + 1 - since[0]
    s.latency.bins[kind][1 + gic_top64(waited) if waited else 0] += 1
    since[0] = 0


cdef void latency_until_lpi(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """An LPI may be pending at several PEs; the wait at the one where it was raised last is known."""
    if s.latency.lpi[intid].pe == pe:
        latency_until(s, STAT_LPI, &s.latency.lpi[intid].since)


cdef void latency_forget(GicState *s) noexcept nogil:
    """What is pending now became so by another way than a raise: it is left out, as what was pending at the start."""
    if s.latency != NULL:
        memset(s.latency.private_since, 0, s.num_pe * PRIVATE_SLOTS * sizeof(u64))
        memset(s.latency.shared_since, 0, SHARED_SLOTS * sizeof(u64))


cdef void latency_forget_pe(GicState *s, u32 pe) noexcept nogil:
    """latency_forget() of the private interrupts of a PE."""
    if s.latency != NULL:
        memset(&s.latency.private_since[pe * PRIVATE_SLOTS], 0, PRIVATE_SLOTS * sizeof(u64))


cdef void stat_raised_rare(GicState *s, u32 pe, u32 slot, u32 kind) noexcept nogil:
    """What stat_raised() does once in 2**32 times, or while latencies are measured: then no PE is plain."""
    if s.pe[pe].raised[kind] == 0:
        s.stats[pe].raised[kind] += <u64>1 << 32
    if s.latency != NULL:
        s.latency.private_since[pe * PRIVATE_SLOTS + slot] = s.latency.now + 1


cdef inline void stat_raised(GicState *s, PeState *p, u32 pe, u32 slot, u32 kind) noexcept nogil:
    """A private interrupt has become pending, or an SPI for a plain PE: its counters are in a line of the cache that
    delivery needs."""
    p.raised[kind] += 1
    if unlikely(p.raised[kind] == 0 or not p.flags & PE_PLAIN):
        stat_raised_rare(s, pe, slot, kind)


cdef inline void stat_raised_plain(GicState *s, PeState *p, u32 kind) noexcept nogil:
    """stat_raised() for a plain PE."""
    p.raised[kind] += 1
    if unlikely(p.raised[kind] == 0):
        s.stats[p - s.pe].raised[kind] += <u64>1 << 32


cdef void stat_raised_spi(GicState *s, u32 slot) noexcept nogil:
    """An SPI has become pending: counted for the PE that it waits for, or would if it were enabled, if there is one."""
    cdef u32 pe = s.spi[slot].queued_pe
    if pe == NO_PE and not (s.features & FEAT_ONE_OF_N and s.spi[slot].irouter & IROUTER_IRM):
        pe = s.spi[slot].target
    if pe != NO_PE:
        s.pe[pe].raised[STAT_SPI] += 1
        if unlikely(s.pe[pe].raised[STAT_SPI] == 0):
            s.stats[pe].raised[STAT_SPI] += <u64>1 << 32
    if unlikely(s.latency != NULL):
        s.latency.shared_since[slot] = s.latency.now + 1


cdef void stat_acked_carry(GicState *s, PeState *p, u32 kind) noexcept nogil:
    s.stats[p - s.pe].acked[kind] += <u64>1 << 32


cdef inline void stat_acked(GicState *s, PeState *p, u32 kind) noexcept nogil:
    """An SGI, PPI or SPI is acknowledged."""
    p.acked[kind] += 1
    if unlikely(p.acked[kind] == 0):
        stat_acked_carry(s, p, kind)


cdef void stat_preempted(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """An interrupt is acknowledged while another one is active."""
    s.stats[pe].preempted[stat_kind(intid)] += 1


cdef inline void stat_dropped(GicState *s, u32 pe, u32 kind, u32 bits) noexcept nogil:
    """Interrupts lost without a receiver, one for each bit that is set."""
    while bits:
        bits &= bits - 1
        s.stats[pe].dropped[kind] += 1
