# RWP, UWP and ChildrenAsleep: settled at once, or after a configured number of step()s, so that polling loops and the
# window before a redistributor wakes can be tested.

cdef void pe_settling(GicState *s, u32 pe) noexcept nogil:
    """Put a PE on the list that step() walks; it is on it once."""
    if not s.pe[pe].marks & MARK_SETTLING:
        s.pe[pe].marks |= MARK_SETTLING
        s.settling[s.num_settling] = pe
        s.num_settling += 1


cdef inline void gicd_wait(GicState *s) noexcept nogil:
    """GICD_CTLR.RWP reads 1 for the configured number of steps."""
    s.rwp_left = s.settle_steps


cdef inline void gicr_wait(GicState *s, u32 pe) noexcept nogil:
    """GICR_CTLR.RWP reads 1 for the configured number of steps."""
    if s.settle_steps:
        s.cold[pe].rwp_left = s.settle_steps
        pe_settling(s, pe)


cdef inline void upstream_wait(GicState *s, u32 pe) noexcept nogil:
    """GICR_CTLR.UWP: a write of the CPU interface is on its way to the Distributor."""
    if s.settle_steps:
        s.cold[pe].uwp_left = s.settle_steps
        pe_settling(s, pe)


cdef void waker_settle(GicState *s, u32 pe) noexcept nogil:
    """ChildrenAsleep reaches ProcessorSleep, and delivery with it."""
    cdef PeState *p = &s.pe[pe]
    cdef PeCold *c = &s.cold[pe]
    cdef u32 event = TRACE_ASLEEP if c.waker & WAKER_SLEEP else TRACE_AWAKE
    c.waker_left = 0
    if c.waker & WAKER_SLEEP:
        c.waker = WAKER_SLEEP | WAKER_CHILDREN
        p.flags |= PE_ASLEEP
    else:
        c.waker = 0
        p.flags &= <u8>~PE_ASLEEP
    trace_event(s, event, pe, INTID_NONE, 0)
    pe_gates_changed(s, pe)


cdef void waker_write(GicState *s, u32 pe, u64 value) noexcept nogil:
    """ProcessorSleep. Going to sleep stops delivery now; waking starts it when ChildrenAsleep is 0."""
    cdef PeState *p = &s.pe[pe]
    cdef PeCold *c = &s.cold[pe]
    cdef u8 sleep = <u8>(value & WAKER_SLEEP)
    if sleep == (c.waker & WAKER_SLEEP):
        return
    if s.strict_on:
        if sleep and p.igrpen & ~(s.ds << G1S):      # with one security state nobody reaches the Secure copy
            strict_log(s, STRICT_SLEEP_WITH_GROUPS, pe, INTID_NONE)
        if not sleep and not c.waker & WAKER_CHILDREN:
            strict_log(s, STRICT_WAKE_TOO_EARLY, pe, INTID_NONE)
    c.waker = c.waker & WAKER_CHILDREN | sleep
    if not sleep and p.flags & PE_ASLEEP:
        c.waker = WAKER_CHILDREN         # delivery has stopped already, and starts again when this settles
    if s.settle_steps == 0:
        waker_settle(s, pe)
        return
    if sleep:
        p.flags |= PE_ASLEEP
        pe_gates_changed(s, pe)
    else:
        pe_output(s, pe)
    c.waker_left = s.settle_steps
    pe_settling(s, pe)


cdef u32 count_down(u32 left, u32 steps) noexcept nogil:
    return left - steps if left > steps else 0


cdef void gic_step(GicState *s, u32 steps) noexcept nogil:
    """Let `steps` units of settling time pass. Visits the PEs that settle, no others."""
    cdef u32 i, pe
    cdef u32 kept = 0
    cdef PeCold *c
    s.rwp_left = count_down(s.rwp_left, steps)
    for i in range(s.num_its):
        s.its[i].quiescent_left = count_down(s.its[i].quiescent_left, steps)
    for i in range(s.num_settling):
        pe = s.settling[i]
        c = &s.cold[pe]
        c.rwp_left = count_down(c.rwp_left, steps)
        c.uwp_left = count_down(c.uwp_left, steps)
        if c.waker_left:
            c.waker_left = count_down(c.waker_left, steps)
            if c.waker_left == 0:
                waker_settle(s, pe)
        if c.rwp_left or c.uwp_left or c.waker_left:
            s.settling[kept] = pe
            kept += 1
        else:
            s.pe[pe].marks &= <u8>~MARK_SETTLING
    s.num_settling = kept
