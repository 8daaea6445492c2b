# LPIs and ITSs as an embedder asks about them: MSIs, counters, errors, what is pending.

def msi_send(Gic gic not None, its, device_id, event_id):
    """`ItsView.msi`."""
    cdef u32 number = arg_its(gic, its)
    cdef u32 device = <u32>arg_unsigned(device_id, UINT32_MAX, "device_id")
    cdef u32 event = <u32>arg_unsigned(event_id, UINT32_MAX, "event_id")
    with gic.mutex:
        its_msi(gic.s, number, device, event)
    gic.drain()


def its_counters(Gic gic not None, its):
    """`ItsView.counters`."""
    cdef Its *t = &gic.s.its[arg_its(gic, its)]
    return {"commands": t.commands, "errors": t.errors, "msis": t.msis, "translated": t.translated,
            "cache_hits": t.cache_hits, "unmapped": t.unmapped, "discarded": t.discarded,
            "merged": t.merged, "table_faults": t.table_faults}


def its_errors(Gic gic not None, its):
    """The errors that are kept, oldest first: (code, command, offset)."""
    cdef u32 number = arg_its(gic, its)
    cdef u64 i, seen
    cdef ItsError *ring = <ItsError *>malloc(ITS_ERRORS * sizeof(ItsError))
    if ring == NULL:
        raise MemoryError
    with gic.mutex:
        memcpy(ring, &gic.s.its[number].error[0], ITS_ERRORS * sizeof(ItsError))
        seen = gic.s.its[number].errors
    try:
        return [(ring[i % ITS_ERRORS].code, tuple(ring[i % ITS_ERRORS].command), ring[i % ITS_ERRORS].offset)
                for i in range(seen - min(seen, <u64>ITS_ERRORS), seen)]
    finally:
        free(ring)


def its_forget(Gic gic not None):
    """Translations are read from the tables again, which somebody else has changed."""
    cdef u32 its
    with gic.mutex:
        for its in range(gic.s.num_its):
            cache_drop_all(gic.s, its)


cdef list lpi_pending_of(Gic gic, pe):
    """INTIDs that are pending at a PE, in order."""
    cdef u32 index = arg_pe(gic, pe)
    cdef u32 count = 0
    cdef u32 *intids = NULL
    if gic.s.lpi == NULL:
        return []
    with gic.mutex:
        count = gic.s.lpi[index].pending
        intids = <u32 *>malloc(count * sizeof(u32) + 1)
        if intids != NULL:
            count = lpi_list(gic.s, index, intids)
    if intids == NULL:
        raise MemoryError
    try:
        return [intids[i] for i in range(count)]
    finally:
        free(intids)
