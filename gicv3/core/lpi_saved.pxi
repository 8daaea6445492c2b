# State of all LPIs and ITSs as 64-bit words: for digests and snapshots.

cdef u64 lpi_export_fill(GicState *s, u64 *out, bint cache) noexcept nogil:
    """Write LPI state as 64-bit words, or only count them when `out` is NULL.

    For each PE: PROPBASER, PENDBASER, flags, limit, work in five words, number of pending LPIs, and those as
    level << 32 | INTID. With `cache`, then the table that is cached, the number of its bytes, and those as
    byte << 32 | INTID.
    """
    cdef u64 n = 0
    cdef u32 pe, word, intid
    cdef u64 bits, count, at
    cdef LpiPe *lp
    cdef u32 last
    for pe in range(s.num_pe):
        lp = &s.lpi[pe]
        last = max(lp.limit, lp.flush_limit if lp.flush_at else <u32>0) >> 6
        if out != NULL:
            out[n] = lp.propbaser
            out[n + 1] = lp.pendbaser
            out[n + 2] = lp.enabled | lp.ptz << 1 | lp.cached << 2
            out[n + 3] = lp.limit
            out[n + 4] = lp.load_at
            out[n + 5] = lp.flush_at
            out[n + 6] = lp.flush_limit if lp.flush_at else <u64>0
            out[n + 7] = lp.refresh_at
            out[n + 8] = lp.refresh_end
        at = n + 9
        n += 10
        count = 0
        for word in range(LPI_FIRST_WORD, last):
            bits = lp.pend[word]
            while bits:
                intid = word * 64 + gic_ctz64(bits)
                bits &= bits - 1
                if out != NULL:
                    out[n] = <u64>lpi_where(s, lp, intid) << 32 | intid
                n += 1
                count += 1
        if out != NULL:
            out[at] = count
    if not cache:
        return n
    at = n + 1
    if out != NULL:
        out[n] = s.lpi_table
    n += 2
    count = 0
    for intid in range(FIRST_LPI, <u32>1 << s.id_bits):
        if s.lpi_config_used[intid >> 18] >> (intid >> 12 & 63) & 1 and s.lpi_config[intid]:
            if out != NULL:
                out[n] = <u64>s.lpi_config[intid] << 32 | intid
            n += 1
            count += 1
    if out != NULL:
        out[at] = count
    return n


cdef u64 its_export_fill(GicState *s, u64 *out) noexcept nogil:
    """Write ITS state as 64-bit words, or only count them when `out` is NULL: eight for each ITS, then the MSIs that
    wait, three words each after their number. Translations are read from the tables again, and not among them."""
    cdef u64 n = 0
    cdef u32 i
    cdef Its *t
    if out == NULL:
        return 8 * s.num_its + 1 + 3 * s.num_its_waiting
    for i in range(s.num_its):
        t = &s.its[i]
        out[n] = t.cbaser
        out[n + 1] = t.baser[TABLE_DEVICE]
        out[n + 2] = t.baser[TABLE_COLLECTION]
        out[n + 3] = t.umsir
        out[n + 4] = t.cwriter
        out[n + 5] = t.creadr
        out[n + 6] = t.quiescent_left
        out[n + 7] = t.enabled | t.stalled << 1 | t.umsi_irq << 2 | <u64>t.statusr << 8 | <u64>t.syndrome << 16
        n += 8
    out[n] = s.num_its_waiting
    n += 1
    for i in range(s.num_its_waiting):
        out[n] = s.its_waiting[i].its
        out[n + 1] = s.its_waiting[i].device
        out[n + 2] = s.its_waiting[i].event
        n += 3
    return n


cdef bytes lpi_export(Gic gic, bint cache):
    """State of all LPIs and ITSs, little endian; empty without LPIs. The cache is state that only the future tells."""
    cdef u64 *words
    cdef u64 count
    if gic.s.lpi == NULL:
        return b""
    with gic.mutex:
        count = lpi_export_fill(gic.s, NULL, cache) + its_export_fill(gic.s, NULL)
        words = <u64 *>malloc(count * 8)
        if words != NULL:
            its_export_fill(gic.s, words + lpi_export_fill(gic.s, words, cache))
    if words == NULL:
        raise MemoryError
    try:
        return PyBytes_FromStringAndSize(<char *>words, count * 8)
    finally:
        free(words)
