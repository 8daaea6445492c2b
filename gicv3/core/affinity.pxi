# MPIDR affinity -> PE index in O(1): open addressing over all 32 affinity bits, at most half full.

cdef inline u32 affinity_hash(u32 affinity) noexcept nogil:
    """Mix all 32 bits: sparse assignments (one PE a cluster, only Aff3 used) must spread as well as dense ones."""
    affinity ^= affinity >> 16
    affinity *= 0x7FEB352D
    affinity ^= affinity >> 15
    affinity *= 0x846CA68BU
    return affinity ^ (affinity >> 16)


cdef inline u32 affinity_find(GicState *s, u32 affinity) noexcept nogil:
    """PE with this Aff3.Aff2.Aff1.Aff0, or NO_PE."""
    cdef u32 i = affinity_hash(affinity) & s.aff_mask
    while s.aff_slot[i].pe:
        if s.aff_slot[i].affinity == affinity:
            return s.aff_slot[i].pe - 1
        i = (i + 1) & s.aff_mask
    return NO_PE


cdef bint affinity_add(GicState *s, u32 pe) noexcept nogil:
    """Enter a PE; False when its affinity is taken. The table is at most half full, so the probe ends."""
    cdef u32 affinity = s.cold[pe].affinity
    cdef u32 i = affinity_hash(affinity) & s.aff_mask
    while s.aff_slot[i].pe:
        if s.aff_slot[i].affinity == affinity:
            return False
        i = (i + 1) & s.aff_mask
    s.aff_slot[i].affinity = affinity
    s.aff_slot[i].pe = pe + 1
    return True


cdef inline u32 affinity_pack(u64 mpidr) noexcept nogil:
    """MPIDR form (Aff3 39:32, Aff2..0 23:0) to Aff3.Aff2.Aff1.Aff0."""
    return <u32>((mpidr >> 8) & 0xFF000000U) | <u32>(mpidr & 0xFFFFFF)


cdef inline u64 affinity_unpack(u32 affinity) noexcept nogil:
    return (<u64>(affinity & 0xFF000000U) << 8) | (affinity & 0xFFFFFF)
