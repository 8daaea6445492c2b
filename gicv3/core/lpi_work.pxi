# Work of redistributors, which goes by portions: reading the pending table, judging what is pending by its
# configuration, writing the table; and the registers that ask for it.

# --- clears that wait for the pending table ------------------------------------------------------------------------

cdef inline bint lpi_unread(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """The pending table is being read, and has not been as far as this LPI: what is pending is not known."""
    return s.lpi[pe].load_at and intid >> 6 >= s.lpi[pe].load_at and lpi_accepts(s, pe, intid)


cdef u64 lpi_table_bits(GicState *s, u32 pe, u32 word, u64 bits) noexcept nogil:
    """What counts of a word that was read from the pending table."""
    cdef u32 i
    for i in range(s.num_lpi_clears):
        if s.lpi_clears[i] >> 6 == <u64>pe << 26 | word:
            bits &= ~(<u64>1 << (s.lpi_clears[i] & 63))
    return bits


cdef void lpi_clear_later(GicState *s, u32 pe, u32 intid) noexcept nogil:
    """GICR_CLRLPIR of an LPI that is not read yet: its bit in the table will not count. One too many is ignored."""
    lpi_clear(s, pe, intid)
    if s.num_lpi_clears < LPI_CLEARS and lpi_table_bits(s, pe, intid >> 6, <u64>1 << (intid & 63)):
        s.lpi_clears[s.num_lpi_clears] = <u64>pe << 32 | intid
        s.num_lpi_clears += 1


cdef u32 lpi_clears_of(GicState *s, u32 pe) noexcept nogil:
    cdef u32 i
    cdef u32 count = 0
    for i in range(s.num_lpi_clears):
        count += s.lpi_clears[i] >> 32 == pe
    return count


cdef void lpi_clears_drop(GicState *s, u32 pe, u32 end) noexcept nogil:
    """Words below `end` are read: no clear waits for them."""
    cdef u32 i
    cdef u32 kept = 0
    for i in range(s.num_lpi_clears):
        if s.lpi_clears[i] >> 32 != pe or <u32>s.lpi_clears[i] >> 6 >= end:
            s.lpi_clears[kept] = s.lpi_clears[i]
            kept += 1
    s.num_lpi_clears = kept


cdef void lpi_load_ends(GicState *s, u32 pe) noexcept nogil:
    """The table is read, or what is left of it needs no reading."""
    s.lpi[pe].load_at = 0
    lpi_clears_drop(s, pe, 1 << 26)


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
    if now != NO_LEVEL:
        lpi_enqueue(s, pe, lp, now, intid)
    return MEM_OK


cdef u32 lpi_read_word(GicState *s, u32 pe, u64 *bits) noexcept nogil:
    """Read the next word of the pending table that is not read yet, less what was cleared."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 result = mem_read64(s, table_address(lp.pendbaser) + <u64>lp.load_at * 8, bits)
    if result == MEM_OK:
        bits[0] = lpi_table_bits(s, pe, lp.load_at, bits[0])
        lp.load_at += 1
        lpi_clears_drop(s, pe, lp.load_at)
    return result


cdef u32 lpi_load(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Read the pending table from where it was left. A table that is not there holds nothing, and is counted."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u64 bits
    cdef u32 word, result
    while lp.load_at < lp.limit >> 6:
        if budget[0] <= 0:
            return MEM_WAIT
        word = lp.load_at
        result = lpi_read_word(s, pe, &bits)
        if result == MEM_WAIT:
            return result
        if result == MEM_FAULT:
            s.lpi_table_faults += 1
            break
        budget[0] -= (word & 7) == 0
        while bits:
            lpi_pend(s, pe, word * 64 + gic_ctz64(bits))
            bits &= bits - 1
            budget[0] -= 1
    lpi_load_ends(s, pe)
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
    lpi_place_again(s, pe, lp)
    return MEM_OK


cdef u32 lpi_flush_words(GicState *s, u32 pe, u64 address, u32 words) noexcept nogil:
    """Write some words of the pending table, after what memory has of those that were not read yet: that is kept.

    Each is read once, so that a write which is tried again is the same, whatever reads bring.
    """
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u64 bits
    cdef u32 result
    while lp.load_at and lp.load_at < lp.flush_at + words:       # disabled before all was read
        result = lpi_read_word(s, pe, &bits)
        if result != MEM_OK:
            return result
        lp.pending += gic_count64(bits & ~lp.pend[lp.load_at - 1])
        lp.pend[lp.load_at - 1] |= bits
        if lp.load_at == lp.flush_limit >> 6:
            lpi_load_ends(s, pe)
    return mem_write(s, address, &lp.pend[lp.flush_at], words * 8)


cdef u32 lpi_flush(GicState *s, u32 pe, int32_t *budget) noexcept nogil:
    """Write the pending table; what a table that is not there cannot take is lost, and counted."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u64 address
    cdef u32 words, result
    while lp.flush_at < lp.flush_limit >> 6:
        if budget[0] <= 0:
            return MEM_WAIT
        address = table_address(lp.pendbaser) + <u64>lp.flush_at * 8
        words = mem_run(s, address, ((lp.flush_limit >> 6) - lp.flush_at) * 8) // 8
        result = lpi_flush_words(s, pe, address, words) if words else <u32>MEM_FAULT
        if result == MEM_WAIT:
            return result
        if result == MEM_FAULT:
            s.lpi_table_faults += 1
            while lp.flush_at < lp.flush_limit >> 6:
                s.lpi_lost += gic_count64(lp.pend[lp.flush_at])
                lp.flush_at += 1
            break
        budget[0] -= (words + 7) // 8
        lp.flush_at += words
    lp.flush_at = 0
    lpi_load_ends(s, pe)
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
    while lp.refresh_end:
        result = lpi_refresh(s, pe, budget)
        if result != MEM_OK:
            return result
    return MEM_OK


cdef void lpi_work(GicState *s, int32_t *budget) noexcept nogil:
    """Go on with what redistributors have to do, until it is done, the budget is, or callback memory is wanted.

    They take turns: one that spends the budget is the last next time, whatever it is asked for meanwhile.
    """
    cdef u32 pe, result
    while s.num_lpi_jobs and budget[0] > 0 and not s.want:
        pe = s.lpi_jobs[s.lpi_job_first]
        result = lpi_portion(s, pe, budget)
        if result != MEM_OK and budget[0] > 0:   # it waits for memory
            return
        s.lpi_job_first = (s.lpi_job_first + 1) % s.num_pe
        s.num_lpi_jobs -= 1
        s.lpi[pe].listed = 0
        if result != MEM_OK:
            lpi_listed(s, pe)


cdef void lpi_work_now(GicState *s) noexcept nogil:
    cdef int32_t budget = s.work_budget
    lpi_work(s, &budget)


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
    lp.unplaced = 0
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
    s.lpi_job_first = 0
    s.num_lpi_jobs = 0
    s.num_lpi_clears = 0
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
    if lp.flush_at:
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
    return s.lpi[pe].refresh_end != 0 or lpi_clears_of(s, pe) != 0       # SYNCR.Busy


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
    elif kind == REG_CLRLPIR and lpi_unread(s, pe, <u32>value):
        lpi_clear_later(s, pe, <u32>value)
    elif kind == REG_CLRLPIR:
        lpi_clear(s, pe, <u32>value)
    elif kind == REG_INVLPIR:
        lpi_invalidate(s, pe, <u32>value)
    elif kind == REG_INVALLR:
        lpi_invalidate_all(s, pe)
    lpi_work_now(s)
