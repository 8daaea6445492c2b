# The event trace: a bounded ring of what happened to interrupts. While it is off nothing on a hot path looks for it:
# a PE is plain, and SPIs are, only while there is no trace, so that all events pass through the general functions.

cdef extern from *:
    """
    #include <time.h>
    static inline uint64_t gic_host_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    """
    u64 gic_host_clock() noexcept nogil

cdef enum:
    # What happened; gicv3/trace.py has their texts
    TRACE_PENDING = 0            # an interrupt became pending, at a PE or (an SPI) in the Distributor
    TRACE_CLEARED                # an SPI is pending no more, and nobody took it
    TRACE_ROUTED                 # an SPI waits for a PE; detail: its priority
    TRACE_LINES                  # a PE's output lines changed; detail: the lines
    TRACE_TAKEN                  # acknowledged; detail: its priority
    TRACE_ENDED                  # priority drop by EOIR
    TRACE_DEACTIVATED            # by DIR
    TRACE_SGI                    # a PE wrote an SGI register; detail: the value
    TRACE_PLUGGED
    TRACE_UNPLUGGED
    TRACE_AWAKE                  # GICR_WAKER settled
    TRACE_ASLEEP
    TRACE_RESET                  # of the Distributor and all redistributors, or of a PE's CPU interface
    TRACE_RESTORED               # a save point or a snapshot was put back


cdef void trace_log(GicState *s, u32 kind, u32 pe, u32 intid, u64 detail) noexcept nogil:
    """Record one event; the oldest gives way when the ring is full."""
    cdef Trace *trace = s.trace
    cdef TraceEntry *entry = &trace.ring[trace.seen & trace.mask]
    entry.time = gic_host_clock() if trace.host_clock else trace.now
    entry.detail = detail
    entry.pe = pe
    entry.intid = intid
    entry.kind = kind
    entry.reserved = 0
    trace.seen += 1


cdef inline void trace_event(GicState *s, u32 kind, u32 pe, u32 intid, u64 detail) noexcept nogil:
    if unlikely(s.trace != NULL):
        trace_log(s, kind, pe, intid, detail)


cdef void trace_spi(GicState *s, u32 slot) noexcept nogil:
    """Record whether an SPI became pending, or ceased to be without being taken."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef u32 bit = <u32>1 << (slot & 31)
    cdef u32 *known = &s.trace.pending[slot >> 5]
    if (known[0] & bit != 0) == shared_pending(s, slot):
        return
    known[0] ^= bit
    if known[0] & bit:
        trace_log(s, TRACE_PENDING, NO_PE, shared_intid(slot), 0)
    elif not w.active & bit:
        trace_log(s, TRACE_CLEARED, NO_PE, shared_intid(slot), 0)


cdef void trace_know_spis(GicState *s) noexcept nogil:
    """What is pending now is no event."""
    cdef u32 word
    cdef SharedWord *w
    for word in range(SHARED_WORDS):
        w = &s.shared[word]
        s.trace.pending[word] = w.latch | ((w.line | w.message) & ~w.edge)
