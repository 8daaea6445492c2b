# Which PE gets an SPI: IROUTER by affinity, or 1-of-N among the participating PEs (architecture notes 2.6).
#
# The 1-of-N choice: the first participating PE at or after INTID mod num_pe, wrapping. It is kept until the SPI is
# acknowledged or that PE stops participating, so it depends on nothing but the order of events. A PE participates in a
# group while it is plugged and awake, the group is enabled in GICD_CTLR and ICC_IGRPEN, and its DPG bit is clear. With
# GICD_CTLR.E1NWF, when nobody participates, a sleeping PE is chosen and sees WakeRequest. A PE with PMHE set whose PMR
# would mask the interrupt is passed over, if another is found among the next PMHE_TRIES.

cdef enum:
    PMHE_TRIES = 64
    SLEEPER_SETS = 3             # sets 0..2: participants by group; 3..5: PEs that E1NWF may wake
    IROUTER_IRM = 0x80000000U

cdef inline bint set_has(GicState *s, u32 kind, u32 pe) noexcept nogil:
    return s.one_of_n[kind].members[pe >> 6] >> (pe & 63) & 1


cdef u32 set_next(GicState *s, u32 kind, u32 start) noexcept nogil:
    """The first member at or after `start`, wrapping; NO_PE when the set is empty. 4096 PEs a step."""
    cdef PeSet *members = &s.one_of_n[kind]
    cdef u32 word = start >> 6
    cdef u64 bits = members.members[word] >> (start & 63)
    cdef u32 i, place
    cdef u32 words = (s.num_pe + 4095) // 4096
    if bits:
        return start + gic_ctz64(bits)
    for i in range(words + 1):
        place = ((word + 1) >> 6) + i
        bits = members.summary[place % words]
        if i == 0 and place < words:
            bits = bits >> ((word + 1) & 63) << ((word + 1) & 63)
        if bits:
            word = place % words * 64 + gic_ctz64(bits)
            return word * 64 + gic_ctz64(members.members[word])
    return NO_PE


cdef inline void set_put(GicState *s, u32 kind, u32 pe, bint member) noexcept nogil:
    cdef PeSet *members = &s.one_of_n[kind]
    cdef u32 word = pe >> 6
    if member:
        members.members[word] |= <u64>1 << (pe & 63)
        members.summary[word >> 6] |= <u64>1 << (word & 63)
        return
    members.members[word] &= ~(<u64>1 << (pe & 63))
    if members.members[word] == 0:
        members.summary[word >> 6] &= ~(<u64>1 << (word & 63))


cdef inline bint spi_is_one_of_n(GicState *s, u32 slot) noexcept nogil:
    return s.features & FEAT_ONE_OF_N and s.spi[slot].irouter & IROUTER_IRM


cdef u32 one_of_n_choose(GicState *s, u32 slot, u32 group, u32 prio) noexcept nogil:
    """The PE that takes a 1-of-N SPI now, or NO_PE."""
    cdef u32 current = s.spi[slot].queued_pe
    cdef u32 first, pe, i
    if not s.spi[slot].chosen:
        current = NO_PE          # it waits there by affinity, which counts no longer
    if current != NO_PE and set_has(s, group, current):
        return current
    first = set_next(s, group, shared_intid(slot) % s.num_pe)
    if first == NO_PE:
        if current != NO_PE and set_has(s, SLEEPER_SETS + group, current):
            return current
        return set_next(s, SLEEPER_SETS + group, shared_intid(slot) % s.num_pe)
    pe = first
    for i in range(PMHE_TRIES):
        if not s.cold[pe].pmhe or prio < s.pe[pe].pmr:
            return pe
        pe = set_next(s, group, (pe + 1) % s.num_pe)
        if pe == first:
            break
    return first


cdef inline u32 spi_target(GicState *s, u32 slot, u32 group, u32 prio) noexcept nogil:
    """The PE in whose queue a candidate SPI belongs, or NO_PE."""
    if spi_is_one_of_n(s, slot):
        return one_of_n_choose(s, slot, group, prio)
    return s.spi[slot].target


cdef void spi_route(GicState *s, u32 slot) noexcept nogil:
    """Find the PE that IROUTER's affinity names. A path that no PE has leads nowhere: the SPI stays pending.

    With GICD_TYPER.No1N set, IRM is kept and read back, and the affinity fields route.
    """
    s.spi[slot].target = affinity_find(s, affinity_pack(s.spi[slot].irouter & ~<u64>IROUTER_IRM))
    if s.spi[slot].target == NO_PE and s.unknown_route_first:
        s.spi[slot].target = 0


cdef u32 pe_participates(GicState *s, PeState *p) noexcept nogil:
    """Bits by set: 0..2 participation in a group, 3..5 may be woken for a group."""
    cdef u32 groups = s.enables & ~cold_of(s, p).dpg
    if not p.flags & PE_ACCESSIBLE:
        return 0
    if p.flags & PE_ASLEEP:
        return groups << SLEEPER_SETS if s.e1nwf else 0
    return groups & p.igrpen


cdef u32 pe_enrol(GicState *s, u32 pe) noexcept nogil:
    """Bring the 1-of-N sets up to date for one PE; returns the bits of the sets that it left or joined."""
    cdef u32 now = pe_participates(s, &s.pe[pe])
    cdef u32 kind
    cdef u32 moved = 0
    for kind in range(2 * SLEEPER_SETS):
        if set_has(s, kind, pe) != (now >> kind & 1):
            set_put(s, kind, pe, now >> kind & 1)
            moved |= 1 << kind
    return moved
