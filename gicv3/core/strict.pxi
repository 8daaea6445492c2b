# Strict mode: CONSTRAINED UNPREDICTABLE or reserved use by the guest, recorded in a bounded ring and counted by rule.
# Never changes what the guest sees. Which access is under way is noted once, where it comes in.

cdef inline void strict_access(GicState *s, u8 frame, u32 place, bint secure, bint write, u64 value) noexcept nogil:
    """Note the access that findings from here on are about."""
    s.strict_access.frame = frame
    s.strict_access.place = place
    s.strict_access.secure = secure
    s.strict_access.write = write
    s.strict_access.value = value


cdef void strict_log(GicState *s, u32 rule, u32 pe, u32 intid) noexcept nogil:
    """Record one finding; the oldest gives way when the ring is full."""
    cdef StrictEntry *entry = &s.strict_ring[s.strict_seen % STRICT_RING]
    entry.access = s.strict_access
    entry.rule = rule
    entry.pe = pe
    entry.intid = intid
    s.strict_seen += 1
    s.strict_count[rule] += 1


cdef void strict_icfgr(GicState *s, u32 pe, u32 first, u32 changed, u32 enabled, u32 pending) noexcept nogil:
    """Judge a change of trigger of some of the 32 interrupts from INTID `first` on."""
    cdef u32 bit
    changed &= enabled | pending
    while changed:
        bit = gic_ctz32(changed)
        changed &= changed - 1
        if enabled >> bit & 1:
            strict_log(s, STRICT_ICFGR_ENABLED, pe, first + bit)
        if pending >> bit & 1:
            strict_log(s, STRICT_ICFGR_PENDING, pe, first + bit)
