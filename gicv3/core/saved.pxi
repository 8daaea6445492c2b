# State taken out of a GIC: one PE for a transaction's undo, and all of it for comparison.

cdef void forget_history(PeState *p) noexcept nogil:
    """Clear what tells how a state came about or who looks on, not what it is: places in a pool, marks, statistics."""
    memset(&p.spi_q[0], 0, sizeof(p.spi_q))
    memset(&p.raised[0], 0, sizeof(p.raised))
    memset(&p.acked[0], 0, sizeof(p.acked))
    p.marks = 0
    p.flags &= <u8>~(PE_HAS_LPI | PE_PLAIN)


@cython.final
cdef class SavedPe:
    """State of one PE, from `Gic.save_pe`: opaque, comparable."""

    cdef Gic gic
    cdef object cpu              # who has the PE: `Gic.cpu`
    cdef u32 index
    cdef PeState hot
    cdef PeCold cold
    cdef u64[STAT_KINDS] dropped  # what an unplug counted that was then refused
    cdef u16 *chosen             # 1-of-N SPIs that waited for it
    cdef u32 num_chosen

    def __dealloc__(self):
        free(self.chosen)

    def __eq__(self, other):
        cdef PeState mine, yours
        if not isinstance(other, SavedPe):
            return NotImplemented
        mine = self.hot
        yours = (<SavedPe>other).hot
        forget_history(&mine)
        forget_history(&yours)
        return (memcmp(&mine, &yours, sizeof(PeState)) == 0
                and memcmp(&self.cold, &(<SavedPe>other).cold, sizeof(PeCold)) == 0)

    __hash__ = None


cdef bint pe_save_chosen(GicState *s, SavedPe saved) noexcept nogil:
    """Note the 1-of-N SPIs that wait for the PE; False when memory is short."""
    cdef u16[SHARED_SLOTS] slots
    cdef PeState *p = &s.pe[saved.index]
    cdef u32 found = 0
    cdef u32 group, i
    for group in range(NUM_GROUPS):
        found += queue_slots(s, p.spi_q[group], &slots[found])
    if found == 0:
        return True
    saved.chosen = <u16 *>malloc(found * sizeof(u16))
    if saved.chosen == NULL:
        return False
    for i in range(found):
        if s.spi[slots[i]].chosen:
            saved.chosen[saved.num_chosen] = slots[i]
            saved.num_chosen += 1
    return True


cdef SavedPe pe_save(Gic gic, pe):
    cdef SavedPe saved = SavedPe.__new__(SavedPe)
    cdef bint room = True
    saved.index = arg_pe(gic, pe)
    saved.gic = gic
    saved.cpu = gic._cpus[saved.index]
    with gic.mutex:
        saved.hot = gic.s.pe[saved.index]
        saved.cold = gic.s.cold[saved.index]
        memcpy(&saved.dropped[0], &gic.s.stats[saved.index].dropped[0], sizeof(saved.dropped))
        if gic.s.features & FEAT_ONE_OF_N:
            room = pe_save_chosen(gic.s, saved)
    if not room:
        raise MemoryError
    return saved


cdef int pe_restore(Gic gic, pe, SavedPe saved) except -1:
    """Bring a PE back, and its 1-of-N SPIs to it; what else the GIC knows of it is not the PE's to bring back."""
    cdef u32 index = arg_pe(gic, pe)
    cdef u32 i
    cdef GicState *s = gic.s
    cdef PeState *p = &s.pe[index]
    cdef PeState record = saved.hot
    if saved.gic is not gic or saved.index != index:
        raise ConfigError(f"saved must come from save_pe of PE {pe} of this GIC, got PE {saved.index}'s"
                          f"{'' if saved.gic is gic else ' of another GIC'}")
    gic._cpus[index] = saved.cpu
    with gic.mutex:
        memcpy(&record.spi_q[0], &p.spi_q[0], sizeof(p.spi_q))
        memcpy(&record.raised[0], &p.raised[0], sizeof(p.raised))
        memcpy(&record.acked[0], &p.acked[0], sizeof(p.acked))
        record.flags = record.flags & <u8>~PE_HAS_LPI | p.flags & PE_HAS_LPI
        pe_put_back(p, &record, 0xFF)
        s.cold[index] = saved.cold
        memcpy(&s.stats[index].dropped[0], &saved.dropped[0], sizeof(saved.dropped))
        pe_accessible_bit(s, index, p.flags & PE_ACCESSIBLE != 0)
        if s.cold[index].rwp_left or s.cold[index].uwp_left or s.cold[index].waker_left:
            pe_settling(s, index)
        latency_forget_pe(s, index)
        pe_recompute(s, index)
        for i in range(saved.num_chosen):
            spi_return(s, saved.chosen[i], index)
        if saved.num_chosen:
            pe_update(s, index)
    return 0


_CACHED = ("lpi.table", "lpi.config")     # what only the future tells


cdef bytes digest_of(Gic gic):
    """Hash of all architectural state, without what only tells its history."""
    cdef PeState *pes
    cdef u32 pe
    cdef GicState *s = gic.s
    cdef size_t hot = s.num_pe * sizeof(PeState)
    cdef size_t cold = s.num_pe * sizeof(PeCold)
    cdef size_t spis = SHARED_SLOTS * sizeof(Shared)
    cdef size_t size = hot + cold + spis + sizeof(s.shared) + sizeof(s.nsacr)
    cdef char *copy = <char *>malloc(size)
    cdef u8 ds, enables, e1nwf, status_ns, status_s
    cdef u32 rwp_left
    if copy == NULL:
        raise MemoryError
    with gic.mutex:
        memcpy(copy, s.pe, hot)
        memcpy(copy + hot, s.cold, cold)
        memcpy(copy + hot + cold, s.spi, spis)
        memcpy(copy + hot + cold + spis, &s.shared[0], sizeof(s.shared))
        memcpy(copy + hot + cold + spis + sizeof(s.shared), &s.nsacr[0], sizeof(s.nsacr))
        ds = s.ds
        enables = s.enables
        e1nwf = s.e1nwf
        rwp_left = s.rwp_left
        status_ns = s.statusr[0]
        status_s = s.statusr[1]
    try:
        pes = <PeState *>copy
        for pe in range(s.num_pe):
            forget_history(&pes[pe])
        digest = blake2b(PyBytes_FromStringAndSize(copy, size), digest_size=16)
    finally:
        free(copy)
    digest.update(repr((ds, enables, e1nwf, rwp_left, status_ns, status_s)).encode())
    if s.lpi != NULL:
        arrays = gather_all(gic)
        for name in sorted(arrays):
            if name.startswith(("lpi.", "its.")) and name not in _CACHED:
                digest.update(name.encode() + arrays[name])
    return digest.digest()
