# Starting, stopping and reading the event trace.

cdef void trace_switch(GicState *s, Trace *trace) noexcept nogil:
    """Trace into `trace`, or not at all (NULL): PEs and SPIs cease to be plain, or may be so again."""
    cdef u32 pe
    s.trace = trace
    plain_configure(s)
    s.marks_wanted &= <u8>~MARK_TRACE
    if trace != NULL:
        s.marks_wanted |= MARK_TRACE
        trace_know_spis(s)
    for pe in range(s.num_pe):
        pe_plain(s, &s.pe[pe])


cdef void trace_free(Trace *trace) noexcept nogil:
    if trace != NULL:
        free(trace.ring)
        free(trace)


cdef int trace_begin(Gic gic, u32 entries, bint host_clock) except -1:
    """Start a trace with room for `entries` events, a power of two; one under way is dropped."""
    cdef Trace *before
    cdef Trace *trace = <Trace *>zalloc(sizeof(Trace))
    if trace == NULL:
        raise MemoryError
    trace.ring = <TraceEntry *>calloc(entries, sizeof(TraceEntry))
    if trace.ring == NULL:
        free(trace)
        raise MemoryError
    trace.mask = entries - 1
    trace.host_clock = host_clock
    with gic.mutex:
        before = gic.s.trace
        trace_switch(gic.s, trace)
    trace_free(before)
    return 0


cdef void trace_end(Gic gic) noexcept nogil:
    cdef Trace *trace
    with gic.mutex:
        trace = gic.s.trace
        trace_switch(gic.s, NULL)
    trace_free(trace)


cdef tuple trace_copy(Gic gic):
    """(number of events ever, the last ones as raw records, oldest first)."""
    cdef u64 i, first
    cdef u64 seen = 0
    cdef u32 kept = 0
    cdef size_t room = 0
    cdef TraceEntry *copy = NULL
    while copy == NULL:          # the ring may be another one when the lock is taken again
        with gic.mutex:
            room = gic.s.trace.mask + 1 if gic.s.trace != NULL else 1
        copy = <TraceEntry *>malloc(room * sizeof(TraceEntry))
        if copy == NULL:
            raise MemoryError
        with gic.mutex:
            if gic.s.trace != NULL and gic.s.trace.mask < room:
                seen = gic.s.trace.seen
                kept = <u32>min(seen, <u64>gic.s.trace.mask + 1)
                first = seen - kept
                for i in range(kept):
                    copy[i] = gic.s.trace.ring[(first + i) & gic.s.trace.mask]
    try:
        return seen, PyBytes_FromStringAndSize(<char *>copy, kept * sizeof(TraceEntry))
    finally:
        free(copy)
