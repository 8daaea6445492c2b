# What an embedder asks about a GIC as a whole: is it consistent, what has it counted, how large is it.

cdef int check_raise(Gic gic) except -1:
    """Recompute every invariant; GicError names the first that is broken."""
    cdef Failure failure
    cdef u32 rule
    with gic.mutex:
        rule = state_check(gic.s, &failure)
        if not rule:
            rule = check_lpis(gic.s, &failure)
    if rule == CHECK_NO_MEMORY:
        raise MemoryError
    if rule:
        where = [] if failure.pe == NO_PE else [f"PE {failure.pe}"]
        if failure.intid != INTID_NONE:
            where.append(f"INTID {failure.intid}")
        raise GicError(f"invariant {rule} broken at {', '.join(where) or 'the GIC'}: {_INVARIANTS[rule]}")
    return 0


cdef dict counters_of(Gic gic, pe):
    """Acknowledged interrupts of a PE by class."""
    cdef u32 index = arg_pe(gic, pe)
    cdef PeState *p = &gic.s.pe[index]
    cdef PeStats *whole = &gic.s.stats[index]
    counts = {"sgi": whole.acked[STAT_SGI] + p.acked[STAT_SGI], "ppi": whole.acked[STAT_PPI] + p.acked[STAT_PPI],
              "spi": whole.acked[STAT_SPI] + p.acked[STAT_SPI]}
    if gic.s.lpi != NULL:
        counts["lpi"] = whole.acked[STAT_LPI]
    return counts


cdef dict totals_of(Gic gic):
    """Counts of the whole GIC."""
    counts = {"bad_access": gic.s.bad_access, "sgi_dropped": gic.s.sgi_dropped}
    if gic.s.lpi != NULL:
        counts |= {"lpi_discarded": gic.s.lpi_discarded, "lpi_lost": gic.s.lpi_lost,
                   "lpi_table_faults": gic.s.lpi_table_faults}
    return counts


cdef dict memory_use_of(GicState *s):
    """Bytes of what state_alloc() gave, and latency_start()."""
    # records, notified, lists
    cdef size_t each = sizeof(PeState) + sizeof(PeCold) + sizeof(PeStats) + 1 + 3 * sizeof(u32)
    cdef size_t sets = ((s.num_pe + 63) // 64 + (s.num_pe + 4095) // 4096) * 8
    cdef size_t per_pe = s.num_pe * each + (s.aff_mask + 1) * sizeof(AffinitySlot) + 7 * sets
    cdef size_t fixed = sizeof(GicState) + SHARED_SLOTS * sizeof(Shared) + STRICT_RING * sizeof(StrictEntry)
    fixed += (s.pool_size + 1) * (sizeof(SpiQueue) + sizeof(SpiBucket))
    if s.lpi != NULL:
        per_pe += s.num_pe * (sizeof(LpiPe) + sizeof(u32))
    if s.its != NULL:
        fixed += s.num_its * sizeof(Its) + CACHE_PLACES * sizeof(ItsEntry) + WAITING_MSIS * sizeof(WaitingMsi)
    if s.latency != NULL:
        per_pe += s.num_pe * PRIVATE_SLOTS * sizeof(u64)
        fixed += sizeof(Latency) + SHARED_SLOTS * sizeof(u64)
        if s.lpi != NULL:
            fixed += sizeof(LpiRaise) << s.id_bits
    return {"per_pe": per_pe / s.num_pe, "fixed": fixed}
