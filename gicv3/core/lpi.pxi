# LPIs of a redistributor: configuration and pending tables in guest memory (architecture notes 3.4).
#
# Pending is a bit an LPI, kept here while EnableLPIs is 1; of those, the enabled ones stand in order of service. They
# have no active state: acknowledging clears pending. A configuration byte is read when an LPI becomes pending, and
# cached for all redistributors that share the table (CommonLPIAff is 0) until it is invalidated.
#
# Reading a table, going through what is pending, and writing a table are work that goes by portions: see lpi_work.pxi.

cdef enum:
    LPI_ENABLE = 1               # configuration byte
    LPI_CACHED = 2               # its RES1 bit: marks a byte of the cache as filled
    NO_LEVEL = 0xFFFFFFFFU
    LPI_FIRST_WORD = 128         # of a pending table; what is before is not for LPIs
    CTLR_ENABLE_LPIS = 1
    CTLR_CES = 2
    CTLR_IR = 4


cdef inline u64 table_address(u64 baser) noexcept nogil:
    """PA of a PROPBASER, or of a PENDBASER, whose bits 15:12 are RES0."""
    return baser & <u64>0xFFFFFFFFFF000ULL


cdef inline bint lpi_accepts(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """The redistributor has LPIs enabled, and this INTID is inside its tables: `limit` is 0 while they are disabled."""
    return intid >= FIRST_LPI and intid < s.lpi[pe].limit


cdef inline bint lpi_is_pending(GicState *s, u32 pe, u32 intid) noexcept nogil:
    return lpi_accepts(s, pe, intid) and s.lpi[pe].pend[intid >> 6] >> (intid & 63) & 1


# --- configuration -----------------------------------------------------------------------------------------------

cdef void lpi_config_drop(GicState *s) noexcept nogil:
    """Empty the configuration cache; only pages that were filled are touched."""
    cdef u32 word, page
    for word in range(64):
        while s.lpi_config_used[word]:
            page = word * 64 + gic_ctz64(s.lpi_config_used[word])
            s.lpi_config_used[word] &= s.lpi_config_used[word] - 1
            memset(&s.lpi_config[<size_t>page * 4096], 0, 4096)


cdef u32 lpi_config_read(GicState *s, LpiPe *lp, u32 intid, u8 *byte) noexcept nogil:
    """Read a configuration byte and cache it. A table that is not there makes its LPIs disabled, and is counted."""
    cdef u32 result = mem_read(s, table_address(lp.propbaser) + intid - FIRST_LPI, byte, 1)
    if result == MEM_FAULT:
        s.lpi_table_faults += 1
        byte[0] = 0
        return MEM_OK
    if result == MEM_OK and lp.cached:
        s.lpi_config[intid] = byte[0] | LPI_CACHED
        s.lpi_config_used[intid >> 18] |= <u64>1 << (intid >> 12 & 63)
    return result


cdef inline u32 lpi_level(GicState *s, LpiPe *lp, u32 intid, u32 *level) noexcept nogil:
    """Level of an LPI by its configuration, NO_LEVEL when it is disabled; MEM_WAIT leaves it unknown."""
    cdef u8 byte = s.lpi_config[intid]
    cdef u32 result
    if unlikely(not byte or not lp.cached):
        result = lpi_config_read(s, lp, intid, &byte)
        if result != MEM_OK:
            return result
    level[0] = byte >> 2 & lpi_level_mask(s) if byte & LPI_ENABLE else NO_LEVEL
    return MEM_OK


cdef inline u8 lpi_known(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """The configuration byte that is cached for a PE; 0: none is."""
    return s.lpi_config[intid] if s.lpi[pe].cached else 0


# --- order of service --------------------------------------------------------------------------------------------

cdef inline void lpi_best_is(GicState *s, u32 pe, LpiPe *lp, u64 key) noexcept nogil:
    lp.best = key
    if key != KEY_NONE:
        s.pe[pe].flags |= PE_HAS_LPI
    else:
        s.pe[pe].flags &= <u8>~PE_HAS_LPI


cdef inline bint lpi_enqueue(GicState *s, u32 pe, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """An enabled LPI takes its place; False when there is no room: it stays pending."""
    cdef u64 key = lpi_key(s, level, intid)
    if not order_put(s, lp, level, intid, key):
        lp.unplaced = 1
        return False
    if key < lp.best:
        lpi_best_is(s, pe, lp, key)
    return True


cdef inline void lpi_dequeue(GicState *s, u32 pe, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    order_take(s, lp, level, intid)
    lpi_best_is(s, pe, lp, order_best(s, lp))


cdef inline void lpi_place_again(GicState *s, u32 pe, LpiPe *lp) noexcept nogil:
    """When no LPI stands in order any more, those for which there was no room try again: one word of them finds it."""
    if unlikely(lp.unplaced and lp.best == KEY_NONE):
        lp.unplaced = 0
        lpi_want(s, pe, FIRST_LPI, lp.limit)


cdef u32 lpi_where(GicState *s, LpiPe *lp, u32 intid) noexcept nogil:
    """The level at which a pending LPI stands, or NO_LEVEL: its configuration may have changed since."""
    cdef u64 levels
    cdef u32 level
    if front_has(lp, intid):
        return lp.front_level
    levels = s.lpi_node[lp.order].used           # node 0 is empty
    while levels:
        level = gic_ctz64(levels)
        levels &= levels - 1
        if order_has(s, lp, level, intid):
            return level
    return NO_LEVEL


cdef u32 lpi_prio_now(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """Priority of an LPI as it stands or is cached; 0 when that is not known."""
    cdef u32 level = lpi_where(s, &s.lpi[pe], intid) if lpi_is_pending(s, pe, intid) else <u32>NO_LEVEL
    if level == NO_LEVEL:
        level = lpi_known(s, pe, intid) >> 2 & lpi_level_mask(s)
    return lpi_prio(s, level)


# --- pending -----------------------------------------------------------------------------------------------------

cdef void lpi_want(GicState *s, u32 pe, u32 first, u32 end) noexcept nogil:
    """Ask for pending LPIs first..end-1 to be judged by their configuration."""
    cdef LpiPe *lp = &s.lpi[pe]
    if lp.refresh_end == 0:
        lp.refresh_at = first
        lp.refresh_end = end
    else:
        lp.refresh_at = min(lp.refresh_at, first)
        lp.refresh_end = max(lp.refresh_end, end)
    lpi_listed(s, pe)


cdef inline void lpi_listed(GicState *s, u32 pe) noexcept nogil:
    """Put a PE at the end of the list of those with work, once."""
    if not s.lpi[pe].listed:
        s.lpi[pe].listed = 1
        s.lpi_jobs[(s.lpi_job_first + s.num_lpi_jobs) % s.num_pe] = pe
        s.num_lpi_jobs += 1


cdef inline void lpi_pend(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """An LPI becomes pending at a PE. Discarded, and counted, where LPIs are disabled or the tables end before it."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef PeState *p = &s.pe[pe]
    cdef u64 bit = <u64>1 << (intid & 63)
    cdef u32 level
    if unlikely(not lpi_accepts(s, pe, intid)):
        s.lpi_discarded += 1
        s.stats[pe].dropped[STAT_LPI] += 1
        return
    if lp.pend[intid >> 6] & bit:
        return
    lp.pend[intid >> 6] |= bit
    lp.pending += 1
    s.stats[pe].raised[STAT_LPI] += 1
    if unlikely(s.latency != NULL):
        s.latency.lpi[intid].since = s.latency.now + 1
        s.latency.lpi[intid].pe = pe
    if unlikely(lpi_level(s, lp, intid, &level) != MEM_OK):
        lpi_want(s, pe, intid, intid + 1)
        return
    if level == NO_LEVEL:
        return
    if unlikely(not lpi_enqueue(s, pe, lp, level, intid)):
        return
    if unlikely(not p.flags & PE_PLAIN):
        trace_event(s, TRACE_PENDING, pe, intid, 0)
        if p.open_groups >> G1NS & 1:
            pe_offer(s, pe, lpi_key(s, level, intid), G1NS)
    elif p.open_groups >> G1NS & 1:
        plain_offer(s, pe, p, intid, lpi_prio(s, level))


cdef inline void lpi_take(GicState *s, u32 pe) noexcept nogil:
    """Acknowledge the best LPI: it is pending no more, and has no active state."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 intid = <u32>lp.best ^ s.tie_flip
    cdef u32 level = <u32>(lp.best >> 33) >> (2 if s.ds else 1) & 0x3F
    lp.pend[intid >> 6] &= ~(<u64>1 << (intid & 63))
    lp.pending -= 1
    s.stats[pe].acked[STAT_LPI] += 1
    lpi_dequeue(s, pe, lp, level, intid)
    lpi_place_again(s, pe, lp)


cdef void lpi_clear(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """Pending no more; nothing when it was not."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 level
    if not lpi_is_pending(s, pe, intid):
        return
    lp.pend[intid >> 6] &= ~(<u64>1 << (intid & 63))
    lp.pending -= 1
    level = lpi_where(s, lp, intid)
    if level != NO_LEVEL:
        lpi_dequeue(s, pe, lp, level, intid)
        lpi_place_again(s, pe, lp)
        if s.pe[pe].hpp == intid:
            pe_update(s, pe)


cdef void lpi_move(GicState *s, u32 pe, u32 target, u32 intid) noexcept nogil:
    """The pending state follows an LPI to another redistributor; it stays where the other one could not take it."""
    if pe != target and lpi_is_pending(s, pe, intid) and lpi_accepts(s, target, intid):
        lpi_clear(s, pe, intid)
        lpi_pend(s, target, intid)


cdef bint lpi_move_all(GicState *s, u32 pe, u32 target, int32_t *budget) noexcept nogil:
    """The pending LPIs that another redistributor can take go there, one at least; False when the budget ends before.

    Begun again it goes on, for what was moved is pending here no more.
    """
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 end = min(lp.limit, s.lpi[target].limit)
    cdef u32 word
    if pe == target or lp.pending == 0:
        return True
    for word in range(LPI_FIRST_WORD, end >> 6):
        while lp.pend[word]:
            lpi_move(s, pe, target, word * 64 + gic_ctz64(lp.pend[word]))
            budget[0] -= 1
            if budget[0] <= 0:
                return False
    budget[0] -= end >> 9
    return True


cdef u32 lpi_list(GicState *s, u32 pe, u32 *intids) noexcept nogil:
    """The pending LPIs in order, `pending` of them."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 count = 0
    cdef u32 word
    cdef u64 bits
    for word in range(LPI_FIRST_WORD, lp.limit >> 6):
        bits = lp.pend[word]
        while bits:
            intids[count] = word * 64 + gic_ctz64(bits)
            bits &= bits - 1
            count += 1
    return count
