# Save points: the whole state as raw memory, copied there and back in the time of a copy. For fuzzers and for undo:
# they live as long as the process and are no format.

cdef u32 pool_used(GicState *s, bint buckets) noexcept nogil:
    """Entries of a pool that were ever handed out, entry 0 included: the free list ends at the first fresh one."""
    cdef u32 i = s.bucket_free if buckets else s.queue_free
    cdef u32 following
    while i <= s.pool_size:
        following = s.bucket[i].next_free if buckets else s.queue[i].next_free
        if following == 0:
            break
        i = following
    return i


cdef u32 state_regions(GicState *s, Region *region) noexcept nogil:
    """The memory that holds what changes, pools apart; its size follows from the configuration. Returns how many."""
    cdef u32 n = 0
    cdef u32 i
    region_add(region, &n, s.pe, s.num_pe * sizeof(PeState))     # the first: see point_return_rest()
    region_add(region, &n, s.cold, s.num_pe * sizeof(PeCold))
    region_add(region, &n, s.stats, s.num_pe * sizeof(PeStats))  # its counters have their lower halves in PeState
    region_add(region, &n, s.spi, SHARED_SLOTS * sizeof(Shared))
    region_add(region, &n, s.shared, sizeof(s.shared))
    region_add(region, &n, s.nsacr, sizeof(s.nsacr))
    region_add(region, &n, s.homeless, sizeof(s.homeless))
    region_add(region, &n, s.accessible, (s.num_pe + 63) // 64 * 8)
    if s.features & FEAT_ONE_OF_N:
        for i in range(6):
            region_add(region, &n, s.one_of_n[i].members, (s.num_pe + 63) // 64 * 8)
            region_add(region, &n, s.one_of_n[i].summary, (s.num_pe + 4095) // 4096 * 8)
    if s.settle_steps:
        region_add(region, &n, s.settling, s.num_pe * sizeof(u32))
    if s.strict_on:
        region_add(region, &n, s.strict_ring, STRICT_RING * sizeof(StrictEntry))
    region_add(region, &n, s.strict_count, sizeof(s.strict_count))
    region_add(region, &n, &s.strict_seen, sizeof(s.strict_seen))
    region_add(region, &n, &s.bad_access, sizeof(s.bad_access))
    region_add(region, &n, &s.sgi_dropped, sizeof(s.sgi_dropped))
    region_add(region, &n, &s.num_settling, sizeof(s.num_settling))
    region_add(region, &n, &s.rwp_left, sizeof(s.rwp_left))
    region_add(region, &n, s.statusr, sizeof(s.statusr))
    region_add(region, &n, &s.ds, 1)
    region_add(region, &n, &s.enables, 1)
    region_add(region, &n, &s.e1nwf, 1)
    return n


@cython.final
cdef class SavePoint:
    """State of a GIC at one moment, from `GICv3.savepoint`: opaque, for `GICv3.rewind`."""

    cdef char *data
    cdef size_t room
    cdef size_t fixed            # bytes of state_regions()
    cdef u32 queues              # entries of the pools that follow it
    cdef u32 buckets
    cdef size_t lpis             # bytes of LPI and ITS state, which is last
    cdef u16 queue_free
    cdef u16 bucket_free
    cdef bint plain              # GicState.plain_possible, on which each PE's PE_PLAIN rests
    cdef object config

    @property
    def size(self):
        """Bytes that it holds."""
        return self.fixed + self.queues * sizeof(SpiQueue) + self.buckets * sizeof(SpiBucket) + self.lpis

    def __dealloc__(self):
        free(self.data)


cdef size_t point_size(GicState *s, SavePoint point) noexcept nogil:
    cdef Region[MAX_REGIONS] region
    cdef u32 n = state_regions(s, region)
    cdef u32 i
    point.fixed = 0
    for i in range(n):
        point.fixed += (region[i].size + 7) // 8 * 8
    point.queues = pool_used(s, False)
    point.buckets = pool_used(s, True)
    point.lpis = lpi_point_size(s)
    return point.fixed + point.queues * sizeof(SpiQueue) + point.buckets * sizeof(SpiBucket) + point.lpis


cdef inline char *point_lpis(SavePoint point) noexcept nogil:
    """Where LPI and ITS state begins."""
    return point.data + point.fixed + point.queues * sizeof(SpiQueue) + point.buckets * sizeof(SpiBucket)


cdef void point_copy(GicState *s, SavePoint point, bint back) noexcept nogil:
    cdef Region[MAX_REGIONS] region
    cdef u32 n = state_regions(s, region)
    cdef u32 i, pe
    cdef char *at = point.data
    for i in range(n):
        if back and region[i].data == s.pe:
            for pe in range(s.num_pe):
                pe_put_back(&s.pe[pe], <PeState *>at + pe, MARK_POLL | MARK_NOTIFY)
        elif back:
            memcpy(region[i].data, at, region[i].size)
        else:
            memcpy(at, region[i].data, region[i].size)
        at += (region[i].size + 7) // 8 * 8
    if back:
        memcpy(s.queue, at, point.queues * sizeof(SpiQueue))
        memcpy(s.bucket, at + point.queues * sizeof(SpiQueue), point.buckets * sizeof(SpiBucket))
        s.queue_free = point.queue_free
        s.bucket_free = point.bucket_free
    else:
        memcpy(at, s.queue, point.queues * sizeof(SpiQueue))
        memcpy(at + point.queues * sizeof(SpiQueue), s.bucket, point.buckets * sizeof(SpiBucket))
        lpi_point_take(s, point_lpis(point))
        point.plain = s.plain_possible
        point.queue_free = s.queue_free
        point.bucket_free = s.bucket_free


cdef bint point_take(Gic gic, SavePoint point) noexcept nogil:
    """Fill a save point, with room for it made if there is not enough; False when memory is short."""
    cdef size_t size
    with gic.mutex:
        size = point_size(gic.s, point)
        if size > point.room:
            free(point.data)
            point.data = <char *>malloc(size)
            point.room = size if point.data != NULL else 0
        if point.data != NULL:
            point_copy(gic.s, point, False)
    return point.data != NULL


cdef SavePoint point_fill(Gic gic, SavePoint point):
    """`Gic.savepoint`."""
    saved_guard(gic)
    if point is None:
        point = SavePoint.__new__(SavePoint)
    point.config = None          # of no use while there is no memory for it
    if not point_take(gic, point):
        raise MemoryError
    point.config = gic.config
    return point


cdef bint point_return(Gic gic, SavePoint point) noexcept nogil:
    """Bring a save point's state back. Lines that differ from those of now are told, as any change is."""
    cdef GicState *s = gic.s
    cdef bint room
    with gic.mutex:
        room = point_return_all(s, point)
    return room


cdef int point_rewind(Gic gic, SavePoint point) except -1:
    """`Gic.rewind`, but nobody is told yet."""
    if point.config is not gic.config and point.config != gic.config:
        raise ConfigError("point must be a save point of a GIC with this configuration, got another's")
    saved_guard(gic)
    if not point_return(gic, point):
        raise MemoryError
    return 0


def rewind_untold(Gic gic not None, SavePoint point not None):
    """`Gic.rewind` for who has more to put back before callbacks run: tell_changes() runs them."""
    point_rewind(gic, point)


def tell_changes(Gic gic not None):
    """Run the callbacks for what rewind_untold() changed."""
    drain_lines(gic, None)


cdef bint point_return_all(GicState *s, SavePoint point) noexcept nogil:
    """point_return() under the lock: memory first, so that nothing changes when it is short."""
    cdef u64 **fresh
    cdef bint room = True
    cdef u32 pe
    if s.lpi != NULL:
        fresh = <u64 **>calloc(s.num_pe, sizeof(u64 *))
        if fresh == NULL:
            return False
        room = lpi_point_room(s, point_lpis(point), fresh)
        if room:
            lpi_point_return(s, point_lpis(point), fresh)
        else:
            for pe in range(s.num_pe):
                free(fresh[pe])
        free(fresh)
    if room:
        point_return_rest(s, point)
    return room


cdef void point_return_rest(GicState *s, SavePoint point) noexcept nogil:
    """What is not LPI or ITS state."""
    cdef u32 pe, used
    used = pool_used(s, False)
    if used > point.queues:  # what was fresh then has to be fresh again
        memset(&s.queue[point.queues], 0, (used - point.queues) * sizeof(SpiQueue))
    used = pool_used(s, True)
    if used > point.buckets:
        memset(&s.bucket[point.buckets], 0, (used - point.buckets) * sizeof(SpiBucket))
    point_copy(s, point, True)
    latency_forget(s)
    for pe in range(s.num_pe):
        pe_show(s, pe, &s.pe[pe], (<PeState *>point.data)[pe].lines)
    if point.plain != s.plain_possible:      # a trace or latencies were started or stopped since
        for pe in range(s.num_pe):
            pe_plain(s, &s.pe[pe])
    if s.trace != NULL:
        trace_log(s, TRACE_RESTORED, NO_PE, INTID_NONE, 0)
        trace_know_spis(s)
