# LPI and ITS state in a save point, as raw memory: records, tree nodes and cached pages as they are, and what is
# pending as INTIDs, because the bitmaps of thousands of PEs are large and nearly empty.

cdef enum:
    MAX_REGIONS = 64

cdef struct Region:              # memory that a save point holds
    void *data
    size_t size

cdef struct LpiPoint:            # what the rest of it is
    u64 pending
    u64 table
    u64 config_used[64]
    u64 discarded
    u64 lost
    u64 faults
    u32 pages
    u32 nodes
    u32 node_free
    u32 enabled
    u32 job_first
    u32 jobs
    u32 its_busy
    u64 clears[LPI_CLEARS]
    u32 num_clears
    u32 num_awaited
    MemSpan awaited[MEM_REGIONS]


cdef void point_counts(GicState *s, LpiPoint *head) noexcept nogil:
    cdef u32 i
    memset(head, 0, sizeof(LpiPoint))
    for i in range(s.num_pe):
        head.pending += s.lpi[i].pending
    for i in range(64):
        head.pages += gic_count64(s.lpi_config_used[i])
    memcpy(&head.config_used[0], &s.lpi_config_used[0], sizeof(head.config_used))
    head.table = s.lpi_table
    head.discarded = s.lpi_discarded
    head.lost = s.lpi_lost
    head.faults = s.lpi_table_faults
    head.nodes = s.num_lpi_node
    head.node_free = s.lpi_node_free
    head.enabled = s.num_lpi_enabled
    head.job_first = s.lpi_job_first
    head.jobs = s.num_lpi_jobs
    head.its_busy = s.its_busy
    memcpy(&head.clears[0], &s.lpi_clears[0], sizeof(head.clears))
    head.num_clears = s.num_lpi_clears
    head.num_awaited = work_spans(s, &head.awaited[0])


cdef inline void region_add(Region *region, u32 *n, void *data, size_t size) noexcept nogil:
    region[n[0]].data = data
    region[n[0]].size = size
    n[0] += 1


cdef u32 lpi_regions(GicState *s, Region *region) noexcept nogil:
    """The memory whose size follows from the configuration."""
    cdef u32 n = 0
    region_add(region, &n, s.lpi, s.num_pe * sizeof(LpiPe))
    region_add(region, &n, s.lpi_jobs, s.num_pe * sizeof(u32))
    if s.num_its:
        region_add(region, &n, s.its, s.num_its * sizeof(Its))
        region_add(region, &n, s.its_cache, CACHE_PLACES * sizeof(ItsEntry))
    return n


cdef size_t lpi_point_size(GicState *s) noexcept nogil:
    cdef LpiPoint head
    cdef Region[MAX_REGIONS] region
    cdef size_t size = sizeof(LpiPoint)
    cdef u32 i
    if s.lpi == NULL:
        return 0
    point_counts(s, &head)
    for i in range(lpi_regions(s, region)):
        size += (region[i].size + 7) // 8 * 8
    return size + head.nodes * sizeof(LpiNode) + <size_t>head.pages * 4096 + head.pending * sizeof(u32)


cdef char *pages_copy(GicState *s, char *at, bint back) noexcept nogil:
    """Copy the pages of configuration bytes that are used."""
    cdef u32 i
    cdef u64 bits
    cdef u8 *page
    for i in range(64):
        bits = s.lpi_config_used[i]
        while bits:
            page = &s.lpi_config[<size_t>(i * 64 + gic_ctz64(bits)) * 4096]
            bits &= bits - 1
            if back:
                memcpy(page, at, 4096)
            else:
                memcpy(at, page, 4096)
            at += 4096
    return at


cdef void lpi_point_take(GicState *s, char *at) noexcept nogil:
    cdef Region[MAX_REGIONS] region
    cdef u32 i, pe, word, intid
    cdef u64 bits
    if s.lpi == NULL:
        return
    point_counts(s, <LpiPoint *>at)
    at += sizeof(LpiPoint)
    for i in range(lpi_regions(s, region)):
        memcpy(at, region[i].data, region[i].size)
        at += (region[i].size + 7) // 8 * 8
    memcpy(at, s.lpi_node, s.num_lpi_node * sizeof(LpiNode))
    at = pages_copy(s, at + s.num_lpi_node * sizeof(LpiNode), False)
    for pe in range(s.num_pe):
        for word in range(LPI_FIRST_WORD, lpi_held(&s.lpi[pe]) >> 6 if s.lpi[pe].pending else 0):
            bits = s.lpi[pe].pend[word]
            while bits:
                intid = word * 64 + gic_ctz64(bits)
                bits &= bits - 1
                memcpy(at, &intid, sizeof(u32))
                at += sizeof(u32)


cdef bint lpi_point_room(GicState *s, const char *at, u64 **fresh) noexcept nogil:
    """Get the memory that lpi_point_return() needs before anything changes: nodes, and bitmaps of another size."""
    cdef const LpiPoint *head = <const LpiPoint *>at
    cdef LpiPe *saved = <LpiPe *>(at + sizeof(LpiPoint))
    cdef LpiNode *nodes
    cdef u32 pe
    if head.nodes > s.lpi_node_room:
        nodes = <LpiNode *>zalloc(head.nodes * sizeof(LpiNode))
        if nodes == NULL:
            return False
        memcpy(nodes, s.lpi_node, s.num_lpi_node * sizeof(LpiNode))
        free(s.lpi_node)
        s.lpi_node = nodes
        s.lpi_node_room = head.nodes
    for pe in range(s.num_pe):
        if lpi_held(&saved[pe]) and lpi_held(&saved[pe]) != lpi_held(&s.lpi[pe]):
            fresh[pe] = <u64 *>calloc(1, lpi_held(&saved[pe]) // 8)
            if fresh[pe] == NULL:
                return False
    return True


cdef void bitmap_return(LpiPe *lp, LpiPe *saved, u64 *fresh) noexcept nogil:
    """A PE's bitmap, empty and of the size that it had."""
    cdef u32 word
    if lpi_held(saved) == lpi_held(lp):
        for word in range(lpi_held(lp) >> 6 if lp.pending else 0):
            if lp.pend[word]:
                lp.pend[word] = 0
    else:
        free(lp.pend)
        lp.pend = fresh


cdef void lpi_point_return(GicState *s, const char *at, u64 **fresh) noexcept nogil:
    """Put back what lpi_point_take() wrote, with the memory from lpi_point_room()."""
    cdef const LpiPoint *head = <const LpiPoint *>at
    cdef Region[MAX_REGIONS] region
    cdef LpiPe *saved = <LpiPe *>(at + sizeof(LpiPoint))
    cdef u64 *pend
    cdef u64 k
    cdef u32 i, pe, intid
    at += sizeof(LpiPoint)
    for pe in range(s.num_pe):
        bitmap_return(&s.lpi[pe], &saved[pe], fresh[pe])
        pend = s.lpi[pe].pend
        s.lpi[pe] = saved[pe]
        s.lpi[pe].pend = pend
    for i in range(lpi_regions(s, region)):
        if i:                    # the first were the records
            memcpy(region[i].data, at, region[i].size)
        at += (region[i].size + 7) // 8 * 8
    if s.num_lpi_node > head.nodes:
        memset(&s.lpi_node[head.nodes], 0, (s.num_lpi_node - head.nodes) * sizeof(LpiNode))
    memcpy(s.lpi_node, at, head.nodes * sizeof(LpiNode))
    at += head.nodes * sizeof(LpiNode)
    lpi_config_drop(s)
    memcpy(&s.lpi_config_used[0], &head.config_used[0], sizeof(head.config_used))
    at = pages_copy(s, <char *>at, True)
    for pe in range(s.num_pe):
        for k in range(s.lpi[pe].pending):
            memcpy(&intid, at, sizeof(u32))
            at += sizeof(u32)
            s.lpi[pe].pend[intid >> 6] |= <u64>1 << (intid & 63)
            if s.latency != NULL:        # see latency_forget(), which would have to touch all of a large table
                s.latency.lpi[intid].since = 0
    s.lpi_table = head.table
    s.lpi_discarded = head.discarded
    s.lpi_lost = head.lost
    s.lpi_table_faults = head.faults
    s.num_lpi_node = head.nodes
    s.lpi_node_free = head.node_free
    s.num_lpi_enabled = head.enabled
    s.lpi_job_first = head.job_first
    s.num_lpi_jobs = head.jobs
    s.its_busy = head.its_busy
    memcpy(&s.lpi_clears[0], &head.clears[0], sizeof(head.clears))
    s.num_lpi_clears = head.num_clears
    work_await(s, &head.awaited[0], head.num_awaited)
