# LPI and ITS state for snapshots and digests. Fields of fixed size are parts like those of saved_fields.pxi; what
# is pending, and which configuration bytes are cached, are lists, because there may be millions and are few.
#
# Translations are read from the tables again. MSIs never wait while a GIC may be saved: see saved_guard().

cdef enum:
    STANDS_NOWHERE = 0xFF        # level of a pending LPI that is not enabled
    UNPLACED = 0xFE              # the same, of a PE where it may be enabled: LpiPe.unplaced

cdef struct LpiLists:
    u64 *pending                 # PE << 32 | INTID << 8 | level, ascending
    u64 num_pending
    u32 *config                  # INTID << 8 | byte, ascending
    u64 num_config
    u64 clears[LPI_CLEARS]       # GicState.lpi_clears
    u32 num_clears
    MemSpan spans[MEM_REGIONS]   # memory that work under way has
    u32 num_spans


cdef inline u32 lpi_held(LpiPe *lp) noexcept nogil:
    """First INTID that a PE's pending bits do not hold: also while they are written to memory."""
    return lp.flush_limit if lp.flush_at else lp.limit


cdef u64 pending_gather(GicState *s, u64 *out) noexcept nogil:
    """Write the list of what is pending, or only count it when `out` is NULL."""
    cdef u64 n = 0
    cdef u32 pe, word, intid, level
    cdef u64 bits
    cdef LpiPe *lp
    for pe in range(s.num_pe):
        lp = &s.lpi[pe]
        if lp.pending == 0:
            continue
        if out == NULL:
            n += lp.pending
            continue
        for word in range(LPI_FIRST_WORD, lpi_held(lp) >> 6):
            bits = lp.pend[word]
            while bits:
                intid = word * 64 + gic_ctz64(bits)
                bits &= bits - 1
                level = lpi_where(s, lp, intid)
                if level == NO_LEVEL:
                    level = UNPLACED if lp.unplaced else STANDS_NOWHERE
                out[n] = <u64>pe << 32 | intid << 8 | level
                n += 1
    return n


cdef u64 config_gather(GicState *s, u32 *out) noexcept nogil:
    """Write the list of cached configuration bytes, or only count them when `out` is NULL."""
    cdef u64 n = 0
    cdef u32 page, intid
    for page in range(<u32>1 << s.id_bits >> 12):
        if not s.lpi_config_used[page >> 6] >> (page & 63) & 1:
            continue
        for intid in range(page << 12, page + 1 << 12):
            if s.lpi_config[intid]:
                if out != NULL:
                    out[n] = intid << 8 | s.lpi_config[intid]
                n += 1
    return n


cdef bint lists_gather(GicState *s, LpiLists *lists) noexcept nogil:
    """Make both lists; False when memory is short. The caller frees them."""
    lists.num_pending = pending_gather(s, NULL)
    lists.num_config = config_gather(s, NULL)
    lists.pending = <u64 *>malloc(lists.num_pending * sizeof(u64) + 1)
    lists.config = <u32 *>malloc(lists.num_config * sizeof(u32) + 1)
    if lists.pending == NULL or lists.config == NULL:
        return False
    pending_gather(s, lists.pending)
    config_gather(s, lists.config)
    memcpy(&lists.clears[0], &s.lpi_clears[0], sizeof(lists.clears))
    lists.num_clears = s.num_lpi_clears
    lists.num_spans = work_spans(s, &lists.spans[0])
    return True


cdef void jobs_gather(GicState *s, u32 *jobs) noexcept nogil:
    """The places of PEs on the list of those with work, from 1."""
    cdef u32 i
    memset(jobs, 0, s.num_pe * sizeof(u32))
    for i in range(s.num_lpi_jobs):
        jobs[s.lpi_jobs[(s.lpi_job_first + i) % s.num_pe]] = i + 1


# --- back --------------------------------------------------------------------------------------------------------

cdef str lpi_fault(GicState *s, u32 pe):
    """What a redistributor cannot have come to; None when there is nothing."""
    cdef LpiPe *lp = &s.lpi[pe]
    cdef u32 limit = lpi_limit(s, lp)
    cdef u32 words = limit >> 6
    if lp.pendbaser & PENDBASER_PTZ or (lp.ptz and (lp.enabled or lp.flush_at)):
        return f"lpi.ptz or lpi.pendbaser of PE {pe} is one that cannot be"
    if lp.enabled and lp.flush_at:
        return f"lpi.flush_at of PE {pe} is set while its LPIs are enabled"
    if lp.flush_at and not LPI_FIRST_WORD <= lp.flush_at < words:
        return f"lpi.flush_at of PE {pe} is outside its pending table"
    if lp.load_at and not (LPI_FIRST_WORD <= lp.load_at < words and (lp.enabled or lp.flush_at)):
        return f"lpi.load_at of PE {pe} is outside its pending table"
    if lp.refresh_at or lp.refresh_end:
        if not FIRST_LPI <= lp.refresh_at < lp.refresh_end <= limit or not lp.enabled:
            return f"lpi.refresh_at and refresh_end of PE {pe} are no range of its LPIs"
    return None


cdef str its_fault(GicState *s, u32 its):
    """What an ITS cannot have come to; None when there is nothing."""
    cdef Its *t = &s.its[its]
    cdef u32 i
    if t.creadr >= queue_size(t) or t.creadr % COMMAND_SIZE:
        return f"its.creadr of ITS {its} is outside its queue"
    if t.cwriter & CWRITER_RETRY:
        return f"its.cwriter of ITS {its} has the Retry bit"
    if t.quiescent_left > (0 if t.enabled else s.settle_steps):
        return f"its.quiescent_left of ITS {its} is above settle_steps, {s.settle_steps}, or set while it is enabled"
    if t.statusr and not s.features & FEAT_ITS_STATUS:
        return f"its.statusr of ITS {its} is set without its_umsi"
    if (t.syndrome or t.umsir) and not s.features & FEAT_UMSI:
        return f"its.syndrome or its.umsir of ITS {its} is set without its_umsi"
    if t.syndrome and not t.statusr & STATUSR_UMSI:
        return f"its.syndrome of ITS {its} is set, and no unmapped MSI is"
    if t.umsi_irq and not s.its_umsi_spi:
        return f"its.umsi_irq of ITS {its} is set without its_umsi_spi"
    for i in range(2):
        if bits_of(t.baser[i], 9, 8) == 3:
            return f"its.baser of ITS {its} has page size 3"
    return None


cdef int jobs_scatter(GicState *s, const u32 *jobs) except -1:
    """Put the list of PEs with work back."""
    cdef u32 pe
    memset(s.lpi_jobs, 0, s.num_pe * sizeof(u32))
    for pe in range(s.num_pe):
        if jobs[pe] == 0:
            continue
        if jobs[pe] > s.num_pe or s.lpi_jobs[jobs[pe] - 1]:
            raise SnapshotError(f"lpi.jobs of PE {pe} is no place in a list, or another PE's: {jobs[pe]}")
        s.lpi_jobs[jobs[pe] - 1] = pe + 1
        s.lpi[pe].listed = 1
        s.num_lpi_jobs += 1
    for pe in range(s.num_lpi_jobs):
        if s.lpi_jobs[pe] == 0:
            raise SnapshotError(f"lpi.jobs has nobody at place {pe + 1}")
        s.lpi_jobs[pe] -= 1
    return 0


cdef int pending_scatter(GicState *s, const u64 *list, u64 count) except -1:
    """Put back what was pending, each LPI where it stood."""
    cdef u64 i
    cdef u64 before = 0
    cdef u32 pe, intid, level
    cdef LpiPe *lp
    for i in range(count):
        pe = <u32>(list[i] >> 32)
        intid = <u32>list[i] >> 8
        level = list[i] & 0xFF
        if pe >= s.num_pe or intid < FIRST_LPI or intid >= lpi_held(&s.lpi[pe]):
            raise SnapshotError(f"lpi.pending[{i}] is no LPI that a PE has: {list[i]:#x}")
        lp = &s.lpi[pe]
        if level != STANDS_NOWHERE and not lp.enabled or level < UNPLACED and level & ~lpi_level_mask(s):
            raise SnapshotError(f"lpi.pending[{i}] is at a level that there is not: {list[i]:#x}")
        if i and list[i] >> 8 <= before:
            raise SnapshotError(f"lpi.pending[{i}] is out of order: {list[i]:#x}")
        before = list[i] >> 8
        lp.pend[intid >> 6] |= <u64>1 << (intid & 63)
        lp.pending += 1
        if level < UNPLACED:
            lpi_enqueue(s, pe, lp, level, intid)
        elif level == UNPLACED:
            lp.unplaced = 1
    return 0


cdef int config_scatter(GicState *s, const u32 *list, u64 count) except -1:
    """Put the cached configuration bytes back."""
    cdef u64 i
    cdef u32 intid
    if (count or s.lpi_table) and (s.num_lpi_enabled == 0 or (count and s.lpi_live)):
        raise SnapshotError("lpi.config or lpi.table is set, and nothing can be cached")
    for i in range(count):
        intid = list[i] >> 8
        if not is_lpi(s, intid) or not list[i] & LPI_CACHED or i and intid <= list[i - 1] >> 8:
            raise SnapshotError(f"lpi.config[{i}] is no cached byte of an LPI, or out of order: {list[i]:#x}")
        s.lpi_config[intid] = <u8>list[i]
        s.lpi_config_used[intid >> 18] |= <u64>1 << (intid >> 12 & 63)
    return 0


cdef int its_scatter(GicState *s) except -1:
    """What follows from an ITS's registers."""
    cdef u32 its
    for its in range(s.num_its):
        fault = its_fault(s, its)
        if fault is not None:
            raise SnapshotError(fault)
        s.its_busy |= <u32>queue_has_work(&s.its[its]) << its
    return 0


cdef int clears_scatter(GicState *s, const u64 *list, u64 count) except -1:
    """Put back the clears that wait for pending tables."""
    cdef u64 i
    cdef u32 pe, intid
    if count > LPI_CLEARS:
        raise SnapshotError(f"lpi.clears must have at most {LPI_CLEARS} elements, got {count}")
    for i in range(count):
        pe = <u32>(list[i] >> 32)
        intid = <u32>list[i]
        if pe >= s.num_pe or not 0 < s.lpi[pe].load_at <= intid >> 6 < lpi_held(&s.lpi[pe]) >> 6:
            raise SnapshotError(f"lpi.clears[{i}] is no LPI that a PE has still to read: {list[i]:#x}")
        s.lpi_clears[i] = list[i]
    s.num_lpi_clears = <u32>count
    return 0


cdef int spans_scatter(GicState *s, const MemSpan *list, u64 count) except -1:
    """Let work wait for the memory that it had."""
    cdef u64 i
    if count > MEM_REGIONS:
        raise SnapshotError(f"lpi.memory must have at most {MEM_REGIONS} regions, got {count}")
    for i in range(count):
        if list[i].size - 1 >= <u64>1 << 52 or list[i].base > (<u64>1 << 52) - list[i].size:
            raise SnapshotError(f"lpi.memory must end below 2**52, got {list[i].size:#x} at {list[i].base:#x}")
    work_await(s, list, <u32>count)
    return 0


cdef int lpi_scatter(GicState *s, dict arrays) except -1:
    """Bring the LPIs of a GIC that was just made to a saved state; its fields are there already."""
    cdef u32 pe
    cdef LpiPe *lp
    cdef bytes jobs = saved_bytes(arrays, "lpi.jobs", s.num_pe * sizeof(u32))
    cdef bytes pending = saved_list(arrays, "lpi.pending", sizeof(u64))
    cdef bytes config = saved_list(arrays, "lpi.config", sizeof(u32))
    cdef bytes clears = saved_list(arrays, "lpi.clears", sizeof(u64))
    cdef bytes spans = saved_list(arrays, "lpi.memory", sizeof(MemSpan))
    for pe in range(s.num_pe):
        lp = &s.lpi[pe]
        fault = lpi_fault(s, pe)
        if fault is not None:
            raise SnapshotError(fault)
        if lp.flush_at:
            lp.flush_limit = lpi_limit(s, lp)
        elif lp.enabled:
            lp.limit = lpi_limit(s, lp)
            lp.cached = not s.lpi_live and s.lpi_table == lp.propbaser
            s.num_lpi_enabled += 1
        if lpi_held(lp):
            lp.pend = <u64 *>calloc(1, lpi_held(lp) // 8)
            if lp.pend == NULL:
                raise MemoryError
    jobs_scatter(s, <const u32 *><const char *>jobs)
    pending_scatter(s, <const u64 *><const char *>pending, len(pending) // sizeof(u64))
    config_scatter(s, <const u32 *><const char *>config, len(config) // sizeof(u32))
    clears_scatter(s, <const u64 *><const char *>clears, len(clears) // sizeof(u64))
    its_scatter(s)
    spans_scatter(s, <const MemSpan *><const char *>spans, len(spans) // sizeof(MemSpan))
    return 0
