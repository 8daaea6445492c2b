# Strict mode: CONSTRAINED UNPREDICTABLE or reserved use by the guest, recorded in a bounded ring and counted by rule.
# Never changes what the guest sees.

_STRICT_RULES = {
    STRICT_BAD_ACCESS: "access to a reserved location, of a wrong size, or in a direction that the register lacks",
    STRICT_SLEEP_WITH_GROUPS: "GICR_WAKER.ProcessorSleep set while ICC_IGRPEN* enables a group",
    STRICT_WAKE_TOO_EARLY: "GICR_WAKER.ProcessorSleep cleared before ChildrenAsleep was 1",
    STRICT_EOI_NOTHING_ACTIVE: "ICC_EOIR* written while no interrupt is active at this PE",
    STRICT_EOI_ORDER: "ICC_EOIR* written with an INTID that is not the one acknowledged last",
    STRICT_EOI_GROUP: "ICC_EOIR* of the wrong group, or of a group that this state may not end",
    STRICT_DIR_WITHOUT_EOIMODE: "ICC_DIR written with EOImode 0",
    STRICT_DIR_NOT_ACTIVE: "ICC_DIR written with an INTID that is not active",
    STRICT_ICFGR_ENABLED: "ICFGR changed while the interrupt is enabled",
    STRICT_DS_ENABLED: "GICD_CTLR.DS set while a group is enabled",
    STRICT_ROUTE_UNKNOWN: "GICD_IROUTER names an affinity that no PE has",
    STRICT_IRM_UNSUPPORTED: "GICD_IROUTER.IRM set although GICD_TYPER.No1N is 1",
    STRICT_RS_UNSUPPORTED: "ICC_SGI*R.RS is not 0 although the range selector is not supported",
    STRICT_SGI_NO_TARGET: "ICC_SGI*R target list names a PE that does not exist",
    STRICT_AP_WRITE: "ICC_AP*R written with a value that is neither 0 nor what it reads",
}


cdef void strict_log(GicState *s, u32 rule, u32 pe, u32 intid, u64 detail) noexcept nogil:
    """Record one finding; the oldest gives way when the ring is full."""
    cdef StrictEntry *entry = &s.strict_ring[s.strict_seen % STRICT_RING]
    entry.rule = rule
    entry.pe = pe
    entry.intid = intid
    entry.detail = detail
    s.strict_seen += 1
    s.strict_count[rule] += 1
