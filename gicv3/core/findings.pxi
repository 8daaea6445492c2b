# What strict mode found, as an embedder reads it.

_STRICT_RULES = {
    STRICT_BAD_ACCESS:
        ("reserved", "access to a reserved location, of a wrong size, or in a direction that the register lacks"),
    STRICT_SLEEP_WITH_GROUPS:
        ("unpredictable", "GICR_WAKER.ProcessorSleep set while ICC_IGRPEN* enables a group"),
    STRICT_WAKE_TOO_EARLY: ("unpredictable", "GICR_WAKER.ProcessorSleep cleared before ChildrenAsleep was 1"),
    STRICT_EOI_NOTHING_ACTIVE: ("unpredictable", "ICC_EOIR* written while no interrupt is active at this PE"),
    STRICT_EOI_ORDER: ("unpredictable", "ICC_EOIR* written with an INTID that is not the one acknowledged last"),
    STRICT_EOI_GROUP: ("unpredictable", "ICC_EOIR* of the wrong group, or of a group that this state may not end"),
    STRICT_INTID_RESERVED: ("reserved", "ICC_EOIR* or ICC_DIR written with an INTID that does not exist"),
    STRICT_DIR_WITHOUT_EOIMODE: ("unpredictable", "ICC_DIR written with EOImode 0"),
    STRICT_DIR_NOT_ACTIVE: ("unpredictable", "ICC_DIR written with an INTID that is not active"),
    STRICT_ICFGR_ENABLED: ("unpredictable", "ICFGR changed while the interrupt is enabled"),
    STRICT_ICFGR_PENDING: ("unpredictable", "ICFGR changed while the interrupt is pending"),
    STRICT_DS_ENABLED: ("unpredictable", "GICD_CTLR.DS set while a group is enabled"),
    STRICT_DS_ACTIVE: ("unpredictable", "GICD_CTLR.DS set while an interrupt is active"),
    STRICT_ROUTE_UNKNOWN: ("unpredictable", "GICD_IROUTER names an affinity that no PE has"),
    STRICT_IRM_UNSUPPORTED: ("unpredictable", "GICD_IROUTER.IRM set although GICD_TYPER.No1N is 1"),
    STRICT_RS_UNSUPPORTED: ("reserved", "ICC_SGI*R.RS is not 0 although the range selector is not supported"),
    STRICT_SGI_NO_TARGET: ("hint", "ICC_SGI*R target list names a PE that does not exist"),
    STRICT_AP_WRITE: ("unpredictable", "ICC_AP*R written with a value that is neither 0 nor what it reads"),
    STRICT_LPI_TABLES: ("unpredictable", "GICR_PROPBASER or GICR_PENDBASER written while GICR_CTLR.EnableLPIs is 1"),
}


def strict_findings(Gic gic not None):
    """(kind, rule, PE or None, INTID or None, frame or None, offset or encoding, Secure, value or None), in order."""
    cdef u64 i, seen
    cdef StrictEntry *entry
    cdef StrictEntry *ring = <StrictEntry *>malloc(STRICT_RING * sizeof(StrictEntry))
    if ring == NULL:
        raise MemoryError
    with gic.mutex:
        memcpy(ring, gic.s.strict_ring, STRICT_RING * sizeof(StrictEntry))
        seen = gic.s.strict_seen
    result = []
    try:
        for i in range(seen - min(seen, <u64>STRICT_RING), seen):
            entry = &ring[i % STRICT_RING]
            result.append((*_STRICT_RULES[entry.rule], None if entry.pe == NO_PE else entry.pe,
                           None if entry.intid == INTID_NONE else entry.intid,
                           None if entry.access.frame == STRICT_SYSREG else entry.access.frame, entry.access.place,
                           entry.access.secure != 0, entry.access.value if entry.access.write else None))
    finally:
        free(ring)
    return result


cdef dict finding_counts(Gic gic):
    return {rule: gic.s.strict_count[number] for number, (_, rule) in _STRICT_RULES.items()
            if gic.s.strict_count[number]}
