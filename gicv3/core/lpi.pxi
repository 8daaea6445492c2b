# LPIs of a redistributor: configuration and pending tables in guest memory (architecture notes 3.4).
#
# Pending is a bit an LPI, kept here while EnableLPIs is 1; of those, the enabled ones stand in order of service. They
# have no active state: acknowledging clears pending. A configuration byte is read when an LPI becomes pending, and
# cached for all redistributors that share the table (CommonLPIAff is 0) until it is invalidated.
#
# Reading a table, going through what is pending, and writing a table are work that goes by portions: see lpi_work().

cdef enum:
    LPI_ENABLE = 1               # configuration byte
    LPI_CACHED = 2               # its RES1 bit: marks a byte of the cache as filled
    NO_LEVEL = 0xFFFFFFFFU
    LPI_FIRST_WORD = 128         # of a pending table; what is before is not for LPIs
    CTLR_ENABLE_LPIS = 1
    CTLR_CES = 2
    CTLR_IR = 4
    WORK_BUDGET = 0x20000        # units that one call may spend: a command, a pending LPI, a cache line of a table


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


# --- order of service --------------------------------------------------------------------------------------------

cdef inline void lpi_best_is(GicState *s, u32 pe, LpiPe *lp, u64 key) noexcept nogil:
    lp.best = key
    if key != KEY_NONE:
        s.pe[pe].flags |= PE_HAS_LPI
    else:
        s.pe[pe].flags &= <u8>~PE_HAS_LPI


cdef inline bint lpi_enqueue(GicState *s, u32 pe, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """An enabled LPI takes its place; False when the host has no memory."""
    cdef u64 key = lpi_key(s, level, intid)
    if not order_put(s, lp, level, intid, key):
        return False
    if key < lp.best:
        lpi_best_is(s, pe, lp, key)
    return True


cdef inline void lpi_dequeue(GicState *s, u32 pe, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    order_take(s, lp, level, intid)
    lpi_best_is(s, pe, lp, order_best(s, lp))


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
        level = s.lpi_config[intid] >> 2 & lpi_level_mask(s)
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
    """Put a PE on the list of those with work, once."""
    if not s.lpi[pe].listed:
        s.lpi[pe].listed = 1
        s.lpi_jobs[s.num_lpi_jobs] = pe
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
    if unlikely(lpi_level(s, lp, intid, &level) != MEM_OK):
        lpi_want(s, pe, intid, intid + 1)
        return
    if level == NO_LEVEL:
        return
    if unlikely(not lpi_enqueue(s, pe, lp, level, intid)):
        lp.pend[intid >> 6] &= ~bit
        lp.pending -= 1
        s.lpi_lost += 1
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
        if s.pe[pe].hpp == intid:
            pe_update(s, pe)


cdef void lpi_move(GicState *s, u32 pe, u32 target, u32 intid) noexcept nogil:
    """The pending state follows an LPI to another redistributor; it stays where the other one could not take it."""
    if pe != target and lpi_is_pending(s, pe, intid) and lpi_accepts(s, target, intid):
        lpi_clear(s, pe, intid)
        lpi_pend(s, target, intid)


cdef u32 lpi_move_all(GicState *s, u32 pe, u32 target) noexcept nogil:
    """Every pending LPI goes to another redistributor that can take it. Returns the work done in units."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 word
    cdef u64 bits
    cdef u32 units = lp.limit >> 9
    if pe == target:
        return 0
    for word in range(LPI_FIRST_WORD, lp.limit >> 6):
        bits = lp.pend[word]
        while bits:
            lpi_move(s, pe, target, word * 64 + gic_ctz64(bits))
            bits &= bits - 1
            units += 1
    return units


# --- work --------------------------------------------------------------------------------------------------------

cdef u32 lpi_judge(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """Let a pending LPI stand where its configuration says; MEM_WAIT changes nothing."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 before, now
    cdef u32 result = lpi_level(s, lp, intid, &now)
    if result != MEM_OK:
        return result
    before = lpi_where(s, lp, intid)
    if before == now:
        return MEM_OK
    if before != NO_LEVEL:
        lpi_dequeue(s, pe, lp, before, intid)
    if now != NO_LEVEL and not lpi_enqueue(s, pe, lp, now, intid):
        lp.pend[intid >> 6] &= ~(<u64>1 << (intid & 63))
        lp.pending -= 1
        s.lpi_lost += 1
    return MEM_OK


cdef u32 lpi_load(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Read the pending table from where it was left. A table that is not there holds nothing, and is counted."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u64 bits
    cdef u32 result
    while lp.load_at < lp.limit >> 6:
        if budget[0] <= 0:
            return MEM_WAIT
        result = mem_read64(s, table_address(lp.pendbaser) + <u64>lp.load_at * 8, &bits)
        if result == MEM_WAIT:
            return result
        if result == MEM_FAULT:
            s.lpi_table_faults += 1
            break
        budget[0] -= (lp.load_at & 7) == 0
        while bits:
            lpi_pend(s, pe, lp.load_at * 64 + gic_ctz64(bits))
            bits &= bits - 1
            budget[0] -= 1
        lp.load_at += 1
    lp.load_at = 0
    return MEM_OK


cdef u32 lpi_refresh(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Judge the pending LPIs that were asked for."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 intid
    cdef u64 bits
    cdef u32 result = MEM_OK
    while lp.refresh_at < min(lp.refresh_end, lp.limit) and result == MEM_OK:
        bits = lp.pend[lp.refresh_at >> 6] >> (lp.refresh_at & 63)
        if bits == 0:
            lp.refresh_at = (lp.refresh_at | 63) + 1
            budget[0] -= (lp.refresh_at & 511) == 0
            continue
        intid = lp.refresh_at + gic_ctz64(bits)
        if intid >= lp.refresh_end:
            break
        lp.refresh_at = intid
        result = lpi_judge(s, pe, intid) if budget[0] > 0 else <u32>MEM_WAIT
        if result == MEM_OK:
            lp.refresh_at = intid + 1
            budget[0] -= 1
    lpi_best_is(s, pe, lp, order_best(s, lp))
    pe_update(s, pe)
    if result != MEM_OK:
        return result
    lp.refresh_at = 0
    lp.refresh_end = 0
    return MEM_OK


cdef u32 lpi_flush(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Write the pending table; what a table that is not there cannot take is lost, and counted."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u64 bits
    cdef u64 address
    cdef u32 result = MEM_OK
    while lp.flush_at < lp.flush_limit >> 6:
        if budget[0] <= 0:
            return MEM_WAIT
        address = table_address(lp.pendbaser) + <u64>lp.flush_at * 8
        bits = 0
        if lp.load_at and lp.flush_at >= lp.load_at:     # disabled before this word was read
            result = mem_read64(s, address, &bits)
        bits |= lp.pend[lp.flush_at]
        if result == MEM_OK:
            result = mem_write64(s, address, bits)
        if result == MEM_WAIT:
            return result
        if result == MEM_FAULT:
            s.lpi_table_faults += 1
            while lp.flush_at < lp.flush_limit >> 6:
                s.lpi_lost += gic_count64(lp.pend[lp.flush_at])
                lp.flush_at += 1
            break
        budget[0] -= (lp.flush_at & 7) == 0
        lp.flush_at += 1
    lp.flush_at = 0
    lp.load_at = 0
    lp.pending = 0
    free(lp.pend)
    lp.pend = NULL
    return MEM_OK


cdef u32 lpi_portion(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Go on with the work of one PE; MEM_OK when none is left."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 result
    if lp.flush_at:
        return lpi_flush(s, pe, budget)
    if lp.load_at:
        result = lpi_load(s, pe, budget)
        if result != MEM_OK:
            return result
    if lp.refresh_end:
        return lpi_refresh(s, pe, budget)
    return MEM_OK


cdef void lpi_work(GicState *s, int32_t *budget) noexcept nogil:
    """Go on with what redistributors have to do, until it is done, the budget is, or callback memory is wanted."""
    cdef u32 pe
    while s.num_lpi_jobs and budget[0] > 0 and not s.want:
        pe = s.lpi_jobs[s.num_lpi_jobs - 1]
        if lpi_portion(s, pe, budget) != MEM_OK:
            return
        s.num_lpi_jobs -= 1
        s.lpi[pe].listed = 0


cdef void lpi_work_now(GicState *s) noexcept nogil:
    cdef int32_t budget = WORK_BUDGET
    lpi_work(s, &budget)


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


# --- what software asks for --------------------------------------------------------------------------------------

cdef void lpi_invalidate(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """The configuration of one LPI is read anew; other redistributors see it when the LPI becomes pending there."""
    if not lpi_accepts(s, pe, intid):
        return
    s.lpi_config[intid] = 0
    if lpi_is_pending(s, pe, intid):
        lpi_want(s, pe, intid, intid + 1)


cdef void lpi_invalidate_all(GicState *s, u32 pe) noexcept nogil:
    lpi_config_drop(s)
    if s.lpi[pe].pending:
        lpi_want(s, pe, FIRST_LPI, s.lpi[pe].limit)


cdef void lpi_security_changed(GicState *s) noexcept nogil:
    """GICD_CTLR.DS decides what a configured priority means."""
    cdef u32 pe
    if s.lpi == NULL:
        return
    for pe in range(s.num_pe):
        if s.lpi[pe].pending and s.lpi[pe].limit:
            s.lpi[pe].behind = tree_best(s, &s.lpi[pe])
            lpi_best_is(s, pe, &s.lpi[pe], order_best(s, &s.lpi[pe]))
            lpi_want(s, pe, FIRST_LPI, s.lpi[pe].limit)
    lpi_work_now(s)


cdef inline u32 lpi_limit(GicState *s, LpiPe *lp) noexcept nogil:
    """First INTID that a redistributor's tables do not hold; 0 when they hold no LPI."""
    cdef u32 bits = min(<u32>(lp.propbaser & 0x1F) + 1, <u32>s.id_bits)
    return <u32>1 << bits if bits >= 14 else 0


cdef void lpi_enable(GicState *s, u32 pe) noexcept nogil:
    """EnableLPIs 0 -> 1. Ignored while the last disabling is not finished, or when the host has no memory."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 limit = lpi_limit(s, lp)
    if lp.flush_at:
        return
    if limit:
        lp.pend = <u64 *>calloc(1, limit // 8)
        if lp.pend == NULL:
            return
        lp.limit = limit
    lp.enabled = 1
    s.num_lpi_enabled += 1
    if s.num_lpi_enabled == 1 or s.lpi_table == lp.propbaser:
        lpi_config_drop(s)
        s.lpi_table = lp.propbaser
    lp.cached = not s.lpi_live and s.lpi_table == lp.propbaser
    if lp.limit and not lp.ptz:
        lp.load_at = LPI_FIRST_WORD
        lpi_listed(s, pe)
        lpi_work_now(s)
    lp.ptz = 0                   # said of the table as it was then: the next enabling reads what disabling wrote


cdef void lpi_disable(GicState *s, u32 pe) noexcept nogil:
    """EnableLPIs 1 -> 0: nothing more is taken or signalled, and what is pending goes to the pending table."""
    cdef LpiPe *lp = &s.lpi[pe]
    lp.enabled = 0
    s.num_lpi_enabled -= 1
    if s.num_lpi_enabled == 0:   # nobody's any more
        lpi_config_drop(s)
        s.lpi_table = 0
    gicr_wait(s, pe)
    if lp.limit == 0:
        return
    lp.flush_limit = lp.limit
    lp.limit = 0
    lp.refresh_at = 0
    lp.refresh_end = 0
    order_clear(s, lp)
    lpi_best_is(s, pe, lp, KEY_NONE)
    pe_update(s, pe)
    lp.flush_at = LPI_FIRST_WORD
    lpi_listed(s, pe)
    lpi_work_now(s)


cdef void lpi_reset(GicState *s) noexcept nogil:
    """GICR_PROPBASER, PENDBASER and EnableLPIs of every PE at reset; pending LPIs are gone and no memory is written."""
    cdef u32 pe
    if s.lpi == NULL:
        return
    for pe in range(s.num_pe):
        order_clear(s, &s.lpi[pe])
        free(s.lpi[pe].pend)
        memset(&s.lpi[pe], 0, sizeof(LpiPe))
        s.lpi[pe].behind = KEY_NONE
        lpi_best_is(s, pe, &s.lpi[pe], KEY_NONE)
    s.num_lpi_jobs = 0
    s.num_lpi_enabled = 0
    s.lpi_table = 0
    lpi_config_drop(s)


# --- registers ---------------------------------------------------------------------------------------------------

cdef u64 gicr_lpi_ctlr(GicState *s, u32 pe) noexcept nogil:
    """The bits of GICR_CTLR that are about LPIs; RWP until a pending table is written."""
    cdef LpiPe *lp
    cdef u64 value
    if s.lpi == NULL:
        return 0
    lp = &s.lpi[pe]
    value = CTLR_CES | lp.enabled
    if s.features & FEAT_LPI_INVALIDATE:
        value |= CTLR_IR
    if lp.flush_at or (s.num_dirty and not lp.enabled):
        value |= CTLR_RWP
    return value


cdef void gicr_lpi_ctlr_write(GicState *s, u32 pe, u64 value) noexcept nogil:
    if s.lpi == NULL or (value & CTLR_ENABLE_LPIS) == s.lpi[pe].enabled:
        return
    if value & CTLR_ENABLE_LPIS:
        lpi_enable(s, pe)
    else:
        lpi_disable(s, pe)


cdef u64 gicr_lpi_read(GicState *s, u32 pe, u32 kind) noexcept nogil:
    if kind == REG_PROPBASER:
        return s.lpi[pe].propbaser
    elif kind == REG_PENDBASER:
        return s.lpi[pe].pendbaser
    return s.lpi[pe].refresh_end != 0            # SYNCR.Busy


cdef void gicr_lpi_write(GicState *s, u32 pe, u32 kind, u64 value, u64 lanes) noexcept nogil:
    """PROPBASER and PENDBASER are fixed while LPIs are enabled. The others act on a write of their lower half."""
    cdef LpiPe *lp = &s.lpi[pe]
    if kind == REG_PROPBASER or kind == REG_PENDBASER:
        if lp.enabled or lp.flush_at:
            if s.strict_on:
                strict_log(s, STRICT_LPI_TABLES, pe, INTID_NONE)
            return
        if kind == REG_PROPBASER:
            lp.propbaser = lp.propbaser & ~lanes | value
            return
        lp.pendbaser = (lp.pendbaser & ~lanes | value) & ~PENDBASER_PTZ
        if lanes & PENDBASER_PTZ:
            lp.ptz = value & PENDBASER_PTZ != 0
        return
    if not lanes & 0xFFFFFFFFU or not lp.enabled:
        return
    if kind == REG_SETLPIR:
        lpi_pend(s, pe, <u32>value)
    elif kind == REG_CLRLPIR:
        lpi_clear(s, pe, <u32>value)
    elif kind == REG_INVLPIR:
        lpi_invalidate(s, pe, <u32>value)
    elif kind == REG_INVALLR:
        lpi_invalidate_all(s, pe)
    lpi_work_now(s)
