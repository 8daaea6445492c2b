# GicState's arrays, sized once for the maximum number of PEs.

cdef void *zalloc(size_t size) noexcept nogil:
    """Zeroed memory on a cache line; NULL when there is none."""
    cdef void *memory = NULL
    if posix_memalign(&memory, 64, size if size else 64):
        return NULL
    memset(memory, 0, size)
    return memory


cdef bint lpi_alloc(GicState *s) noexcept nogil:
    cdef u32 pe
    s.lpi = <LpiPe *>zalloc(s.num_pe * sizeof(LpiPe))
    s.lpi_jobs = <u32 *>zalloc(s.num_pe * 4)
    s.lpi_config = <u8 *>calloc(1, <size_t>1 << s.id_bits)       # untouched pages cost nothing
    s.lpi_node = <LpiNode *>zalloc(LPI_NODES * sizeof(LpiNode))
    if s.lpi == NULL or s.lpi_jobs == NULL or s.lpi_config == NULL or s.lpi_node == NULL:
        return False
    for pe in range(s.num_pe):
        s.lpi[pe].best = KEY_NONE
        s.lpi[pe].behind = KEY_NONE
    s.num_lpi_node = 1           # node 0 is none
    s.lpi_node_room = LPI_NODES
    return True


cdef bint its_alloc(GicState *s) noexcept nogil:
    s.its = <Its *>zalloc(s.num_its * sizeof(Its))
    s.its_cache = <ItsEntry *>zalloc(CACHE_PLACES * sizeof(ItsEntry))
    s.its_waiting = <WaitingMsi *>zalloc(WAITING_MSIS * sizeof(WaitingMsi))
    return s.its != NULL and s.its_cache != NULL and s.its_waiting != NULL


cdef bint state_alloc(GicState *s) noexcept nogil:
    """Allocate every array from the counts in `s`; False when memory is short (state_free() then cleans up)."""
    cdef u32 i, table = 16
    cdef u32 waiting = s.num_spi + s.num_espi
    while table < 2 * s.num_pe:
        table *= 2
    s.aff_mask = table - 1
    s.pool_size = <u16>waiting
    s.pe = <PeState *>zalloc(s.num_pe * sizeof(PeState))
    s.cold = <PeCold *>zalloc(s.num_pe * sizeof(PeCold))
    s.stats = <PeStats *>calloc(s.num_pe, sizeof(PeStats))      # untouched pages cost nothing
    s.spi = <Shared *>zalloc(SHARED_SLOTS * sizeof(Shared))
    s.accessible = <u64 *>zalloc((s.num_pe + 63) // 64 * 8)
    s.poll = <u32 *>zalloc(s.num_pe * 4)
    s.notify = <u32 *>zalloc(s.num_pe * 4)
    s.aff_slot = <AffinitySlot *>zalloc(table * sizeof(AffinitySlot))
    s.region = <RedistRegion *>zalloc(s.num_region * sizeof(RedistRegion))
    s.settling = <u32 *>zalloc(s.num_pe * 4)
    s.strict_ring = <StrictEntry *>zalloc(STRICT_RING * sizeof(StrictEntry))
    if s.settling == NULL or s.strict_ring == NULL:
        return False
    for i in range(6):
        s.one_of_n[i].members = <u64 *>zalloc((s.num_pe + 63) // 64 * 8)
        s.one_of_n[i].summary = <u64 *>zalloc((s.num_pe + 4095) // 4096 * 8)
        if s.one_of_n[i].members == NULL or s.one_of_n[i].summary == NULL:
            return False
    # calloc: at most one queue and one bucket for each SPI, and untouched pages cost nothing
    s.queue = <SpiQueue *>calloc(waiting + 1, sizeof(SpiQueue))
    s.bucket = <SpiBucket *>calloc(waiting + 1, sizeof(SpiBucket))
    if s.pe == NULL or s.cold == NULL or s.stats == NULL or s.spi == NULL or s.accessible == NULL:
        return False
    if s.poll == NULL or s.notify == NULL or s.aff_slot == NULL or s.region == NULL:
        return False
    if s.queue == NULL or s.bucket == NULL:
        return False
    s.mem = <MemRegion *>zalloc(MEM_REGIONS * sizeof(MemRegion))
    if s.mem == NULL or (s.features & FEAT_LPI and not lpi_alloc(s)):
        return False
    if s.num_its and not its_alloc(s):
        return False
    for i in range(SHARED_SLOTS):
        s.spi[i].queued_pe = NO_PE
    s.queue_free = 1             # a fresh pool hands out 1, 2, 3 ...: see queue_take()
    s.bucket_free = 1
    return True


cdef void latency_free(Latency *latency) noexcept nogil:
    if latency != NULL:
        free(latency.private_since)
        free(latency.shared_since)
        free(latency.lpi)
        free(latency)


cdef void state_free(GicState *s) noexcept nogil:
    cdef u32 i
    if s.lpi != NULL:
        for i in range(s.num_pe):
            free(s.lpi[i].pend)
    free(s.lpi)
    free(s.lpi_jobs)
    free(s.lpi_config)
    free(s.lpi_node)
    free(s.its)
    free(s.its_cache)
    free(s.its_waiting)
    free(s.mem)
    free(s.stage)
    free(s.pe)
    free(s.cold)
    free(s.stats)
    latency_free(s.latency)
    free(s.spi)
    free(s.accessible)
    free(s.poll)
    free(s.notify)
    free(s.aff_slot)
    free(s.region)
    free(s.settling)
    free(s.strict_ring)
    for i in range(6):
        free(s.one_of_n[i].members)
        free(s.one_of_n[i].summary)
    free(s.queue)
    free(s.bucket)


cdef void state_hold(GicState *s) noexcept nogil:
    """One more has it: see state_release()."""
    gic_add32(&s.holders, 1)


cdef void state_release(GicState *s) noexcept nogil:
    """One of those that have it goes; the last one frees it."""
    if gic_add32(&s.holders, -1) == 0:
        state_free(s)
        free(s)
