# Starting, stopping and reading the event trace.

cdef void trace_switch(GicState *s, Trace *trace) noexcept nogil:
    """Trace into `trace`, or not at all (NULL): PEs and SPIs cease to be plain, or may be so again."""
    cdef u32 pe
    s.trace = trace
    plain_configure(s)
    marks_configure(s, s.marks_wanted & <u8>~MARK_TRACE | (MARK_TRACE if trace != NULL else 0))
    if trace != NULL:
        trace_know_spis(s)
    for pe in range(s.num_pe):
        pe_plain(s, &s.pe[pe])


@cython.final
@cython.no_gc_clear              # __dealloc__ needs the GIC
cdef class Recording:
    """The events of one trace. The GIC records into it until it is stopped, another is started, or nobody has it."""

    cdef Gic gic
    cdef Trace *trace

    def stop(self):
        """Record no more; what was recorded can still be read."""
        trace_end(self.gic, self.trace)

    def read(self):
        """(number of events since the start, records of the last ones, oldest first: see gicv3/trace.py)."""
        return trace_copy(self.gic, self.trace)

    def __dealloc__(self):
        if self.trace != NULL:
            trace_end(self.gic, self.trace)
            free(self.trace.ring)
            free(self.trace)


def trace_begin(Gic gic not None, u32 entries, bint host_clock):
    """Start a trace with room for `entries` events, a power of two; one under way ends."""
    cdef Recording recording = Recording.__new__(Recording)
    cdef Trace *trace = <Trace *>zalloc(sizeof(Trace))
    if trace == NULL:
        raise MemoryError
    trace.ring = <TraceEntry *>calloc(entries, sizeof(TraceEntry))
    if trace.ring == NULL:
        free(trace)
        raise MemoryError
    trace.mask = entries - 1
    trace.host_clock = host_clock
    recording.gic = gic
    recording.trace = trace
    with gic.mutex:
        trace_switch(gic.s, trace)
    return recording


cdef void trace_end(Gic gic, Trace *trace) noexcept nogil:
    """Switch tracing off if it goes into `trace`."""
    with gic.mutex:
        if gic.s.trace == trace:
            trace_switch(gic.s, NULL)


cdef tuple trace_copy(Gic gic, Trace *trace):
    """(number of events ever, the last ones as raw records, oldest first)."""
    cdef u64 i, seen
    cdef u32 kept
    cdef TraceEntry *copy = <TraceEntry *>malloc((trace.mask + 1) * sizeof(TraceEntry))
    if copy == NULL:
        raise MemoryError
    with gic.mutex:
        seen = trace.seen
        kept = <u32>min(seen, <u64>trace.mask + 1)
        for i in range(kept):
            copy[i] = trace.ring[(seen - kept + i) & trace.mask]
    try:
        return seen, PyBytes_FromStringAndSize(<char *>copy, kept * sizeof(TraceEntry))
    finally:
        free(copy)
