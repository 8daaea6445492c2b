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


cdef void stat_carry(u64 *whole) noexcept nogil:
    whole[0] += <u64>1 << 32


cdef void latency_since(GicState *s, u64 *since) noexcept nogil:
    since[0] = s.latency.now + 1


cdef void latency_until(GicState *s, u32 kind, u64 *since) noexcept nogil:
    """Sort the time since the raise into its bin; a level that stayed high through its EOI was not raised again."""
    cdef u64 waited = 0
    if since[0] == 0:
        return
    if s.latency.now >= since[0]:        # else no time has passed, or the embedder's clock went back
        waited = s.latency.now + 1 - since[0]
    s.latency.bins[kind][1 + gic_top64(waited) if waited else 0] += 1
    since[0] = 0


cdef inline void stat_raised(GicState *s, u32 pe, u32 slot) noexcept nogil:
    """A private interrupt has become pending. The counters' lower halves are in a cache line that delivery needs."""
    cdef u32 kind = STAT_SGI if slot < NUM_SGI else STAT_PPI
    s.pe[pe].raised[kind] += 1
    if unlikely(s.pe[pe].raised[kind] == 0):
        stat_carry(&s.stats[pe].raised[kind])
    if unlikely(s.latency != NULL):
        latency_since(s, &s.latency.private_since[pe * PRIVATE_SLOTS + slot])


cdef void stat_raised_spi(GicState *s, u32 slot) noexcept nogil:
    """An SPI has become pending: counted for the PE that it waits for, or would if it were enabled, if there is one."""
    cdef u32 pe = s.spi[slot].queued_pe
    if pe == NO_PE and not (s.features & FEAT_ONE_OF_N and s.spi[slot].irouter & IROUTER_IRM):
        pe = s.spi[slot].target
    if pe != NO_PE:
        s.pe[pe].raised[STAT_SPI] += 1
        if unlikely(s.pe[pe].raised[STAT_SPI] == 0):
            stat_carry(&s.stats[pe].raised[STAT_SPI])
    if unlikely(s.latency != NULL):
        latency_since(s, &s.latency.shared_since[slot])


cdef inline void stat_acked(GicState *s, u32 pe, u32 kind) noexcept nogil:
    """An SGI, PPI or SPI is acknowledged."""
    s.pe[pe].acked[kind] += 1
    if unlikely(s.pe[pe].acked[kind] == 0):
        stat_carry(&s.stats[pe].acked[kind])


cdef void stat_preempted(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """An interrupt is acknowledged while another one is active."""
    s.stats[pe].preempted[stat_kind(intid)] += 1


cdef inline void stat_dropped(GicState *s, u32 pe, u32 kind, u32 bits) noexcept nogil:
    """Interrupts lost without a receiver, one for each bit that is set."""
    while bits:
        bits &= bits - 1
        s.stats[pe].dropped[kind] += 1
