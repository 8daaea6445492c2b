# GICR_*: the RD and SGI frames of one PE. They belong to the always-on domain: they work for absent vCPUs too.

cdef enum:
    GICR_TYPER_PLPIS = 1
    GICR_TYPER_DIRECT_LPI = 1 << 3
    GICR_TYPER_LAST = 1 << 4
    GICR_TYPER_DPGS = 1 << 5
    GICR_TYPER_NUMBER_SHIFT = 8          # Processor_Number
    GICR_TYPER_PPINUM_SHIFT = 27
    GICR_TYPER_AFFINITY_SHIFT = 32


cdef u32 redist_at(GicState *s, u64 address, u64 *distance) noexcept nogil:
    """The PE in whose redistributor an address lies, and how far from its start; NO_PE outside of all."""
    cdef u32 middle
    cdef u32 low = 0
    cdef u32 high = s.num_region
    while low < high:            # the last region that begins at or below the address
        middle = (low + high) // 2
        if s.region[middle].base <= address:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return NO_PE
    distance[0] = address - s.region[low - 1].base
    if distance[0] >= <u64>s.region[low - 1].count * REDIST_STRIDE:
        return NO_PE
    middle = <u32>(distance[0] // REDIST_STRIDE)
    distance[0] -= <u64>middle * REDIST_STRIDE
    return s.region[low - 1].first + middle


cdef inline u32 gicr_reach(GicState *s, PeState *p, u32 word, bint secure) noexcept nogil:
    """The bits of a private word that an access reaches: Non-secure software sees Non-secure Group 1 only."""
    cdef u32 valid = private_valid(s, word)
    return valid if secure else valid & private_word(s, p, word).group


cdef u64 gicr_typer(GicState *s, u32 pe) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    cdef u64 value = <u64>cold_of(s, p).affinity << GICR_TYPER_AFFINITY_SHIFT | <u64>pe << GICR_TYPER_NUMBER_SHIFT
    value |= <u64>(s.num_eppi // 32) << GICR_TYPER_PPINUM_SHIFT
    if p.flags & PE_LAST:
        value |= GICR_TYPER_LAST
    if s.features & FEAT_ONE_OF_N:
        value |= GICR_TYPER_DPGS
    if s.features & FEAT_LPI:
        value |= GICR_TYPER_PLPIS        # CommonLPIAff 0: all redistributors share the configuration table
    if s.features & FEAT_DIRECT_LPI:
        value |= GICR_TYPER_DIRECT_LPI
    return value


cdef u64 gicr_ctlr_read(GicState *s, PeState *p, bint secure) noexcept nogil:
    """DPG1S is hidden from Non-secure software and with one security state, DPG0 from Non-secure software."""
    cdef PeCold *c = cold_of(s, p)
    cdef u64 value = gicr_lpi_ctlr(s, <u32>(p - s.pe))
    if c.dpg >> G1NS & 1:
        value |= CTLR_DPG1NS
    if c.dpg >> G0 & 1 and secure:
        value |= CTLR_DPG0
    if c.dpg >> G1S & 1 and secure and not s.ds:
        value |= CTLR_DPG1S
    if c.rwp_left:
        value |= CTLR_RWP
    if c.uwp_left:
        value |= CTLR_UWP
    return value


cdef void gicr_ctlr_write(GicState *s, u32 pe, u64 value, bint secure) noexcept nogil:
    cdef PeCold *c = &s.cold[pe]
    cdef u8 reach = 1 << G1NS
    cdef u8 wanted = 0
    gicr_lpi_ctlr_write(s, pe, value)
    if not s.features & FEAT_ONE_OF_N:
        return
    if secure:
        reach |= 1 << G0
        if not s.ds:
            reach |= 1 << G1S
    if value & CTLR_DPG1NS:
        wanted |= 1 << G1NS
    if value & CTLR_DPG0:
        wanted |= 1 << G0
    if value & CTLR_DPG1S:
        wanted |= 1 << G1S
    if (c.dpg ^ wanted) & reach:
        c.dpg = c.dpg & ~reach | wanted & reach
        gicr_wait(s, pe)
        pe_reroute(s, pe)


cdef u64 gicr_bits_read(GicState *s, PeState *p, u32 kind, u32 word, bint secure) noexcept nogil:
    cdef PrivateHot *h = private_word(s, p, word)
    cdef u32 reach = gicr_reach(s, p, word, secure)
    if kind == REG_ISENABLER or kind == REG_ICENABLER:
        return cold_of(s, p).enable[word] & reach
    elif kind == REG_ISPENDR or kind == REG_ICPENDR:
        return (h.latch | (h.line & ~h.edge)) & reach
    elif kind == REG_ISACTIVER or kind == REG_ICACTIVER:
        return h.active & reach
    elif kind == REG_INMIR:
        return cold_of(s, p).nmi[word] & (h.group | (0 if s.ds else h.grpmod)) & reach
    if not secure:
        return 0                 # IGROUPR, IGRPMODR
    if kind == REG_IGROUPR:
        return h.group
    return 0 if s.ds else h.grpmod


cdef void private_raised(GicState *s, u32 pe, u32 word, u32 raised) noexcept nogil:
    """Private interrupts of a word became pending by a write of their registers."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 slot, kind
    while raised:
        slot = word * 32 + gic_ctz32(raised)
        kind = STAT_SGI if slot < NUM_SGI else STAT_PPI
        stat_raised(s, p, pe, slot, kind)
        trace_event(s, TRACE_PENDING, pe, private_intid(slot), 0)
        raised &= raised - 1


cdef void gicr_bits_write(GicState *s, u32 pe, u32 kind, u32 word, u32 value, bint secure) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    cdef PrivateHot *h = private_word(s, p, word)
    cdef u32 reach = gicr_reach(s, p, word, secure)
    cdef u32 touched = value & reach
    if kind == REG_ISENABLER:
        cold_of(s, p).enable[word] |= touched
    elif kind == REG_ICENABLER:
        cold_of(s, p).enable[word] &= ~touched
        gicr_wait(s, pe)
    elif kind == REG_ISPENDR:
        private_raised(s, pe, word, touched & ~(h.latch | (h.line & ~h.edge)))
        h.latch |= touched
    elif kind == REG_ICPENDR:
        h.latch &= ~touched
    elif kind == REG_ISACTIVER:
        h.active |= touched
    elif kind == REG_ICACTIVER:
        h.active &= ~touched
    elif kind == REG_INMIR:
        reach &= h.group | (0 if s.ds else h.grpmod)
        cold_of(s, p).nmi[word] = cold_of(s, p).nmi[word] & ~reach | value & reach
        p.flags &= <u8>~PE_HAS_NMI
        if cold_of(s, p).nmi[0] | cold_of(s, p).nmi[1] | cold_of(s, p).nmi[2]:
            p.flags |= PE_HAS_NMI
    elif not secure:
        return                   # IGROUPR, IGRPMODR
    elif kind == REG_IGROUPR:
        h.group = value & reach
    elif not s.ds:
        h.grpmod = value & reach
    pe_gates(s, p)
    pe_update(s, pe)


cdef u64 gicr_priority_read(GicState *s, PeState *p, u32 element, bint secure) noexcept nogil:
    cdef u32 slot = element * 4
    cdef u32 reach = gicr_reach(s, p, slot >> 5, secure) >> (slot & 31)
    cdef u64 value = 0
    cdef u32 i
    for i in range(4):
        if reach >> i & 1 and not private_is_nmi(s, p, slot + i):
            value |= <u64>priority_field(private_prio(s, p, slot + i)[0], secure) << (8 * i)
    return value


cdef void gicr_priority_write(GicState *s, u32 pe, u32 element, u64 value, u64 lanes, bint secure) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    cdef u32 slot = element * 4
    cdef u32 reach = gicr_reach(s, p, slot >> 5, secure) >> (slot & 31)
    cdef u32 i
    for i in range(4):
        if reach >> i & 1 and lanes >> (8 * i) & 1 and not private_is_nmi(s, p, slot + i):
            private_prio(s, p, slot + i)[0] = priority_store(s, <u32>(value >> (8 * i)) & 0xFF, secure)
    pe_update(s, pe)


cdef void gicr_icfgr_write(GicState *s, u32 pe, u32 element, u32 value, bint secure) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    cdef PrivateHot *h = private_word(s, p, element >> 1)
    cdef u32 shift = 16 * (element & 1)
    cdef u32 reach = gicr_reach(s, p, element >> 1, secure) & (0xFFFF << shift)
    cdef u32 changed = (h.edge ^ gather16(value) << shift) & reach
    if s.strict_on:
        strict_icfgr(s, pe, private_intid((element >> 1) * 32), changed, cold_of(s, p).enable[element >> 1],
                     h.latch | (h.line & ~h.edge))
    h.edge ^= changed
    private_raised(s, pe, element >> 1, changed & h.line & ~(h.latch | h.edge))
    pe_update(s, pe)


cdef u64 gicr_read(GicState *s, u32 pe, u32 kind, u32 element, bint secure) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    if REG_IGROUPR <= kind <= REG_ICACTIVER or kind == REG_IGRPMODR or kind == REG_INMIR:
        return gicr_bits_read(s, p, kind, element, secure)
    elif kind == REG_IPRIORITYR:
        return gicr_priority_read(s, p, element, secure)
    elif kind == REG_ICFGR:
        return spread16((private_word(s, p, element >> 1).edge & gicr_reach(s, p, element >> 1, secure))
                        >> (16 * (element & 1)))
    elif kind == REG_NSACR:
        return cold_of(s, p).nsacr if secure and not s.ds else 0
    elif kind == REG_TYPER:
        return gicr_typer(s, pe)
    elif kind == REG_IIDR:
        return s.iidr
    elif kind == REG_WAKER:
        return cold_of(s, p).waker if secure else 0
    elif kind == REG_CTLR:
        return gicr_ctlr_read(s, p, secure)
    elif kind == REG_STATUSR:
        return cold_of(s, p).statusr[secure]
    elif kind == REG_PIDR or kind == REG_CIDR:
        return identification(s, kind, element, PART_REDIST)
    elif REG_PROPBASER <= kind <= REG_SYNCR:
        return gicr_lpi_read(s, pe, kind)
    return 0


cdef void gicr_write(GicState *s, u32 pe, u32 kind, u32 element, u64 value, u64 lanes, bint secure) noexcept nogil:
    cdef PeState *p = &s.pe[pe]
    if REG_IGROUPR <= kind <= REG_ICACTIVER or kind == REG_IGRPMODR or kind == REG_INMIR:
        gicr_bits_write(s, pe, kind, element, <u32>value, secure)
    elif kind == REG_IPRIORITYR:
        gicr_priority_write(s, pe, element, value, lanes, secure)
    elif kind == REG_ICFGR:
        if lanes:                # ICFGR0: SGIs are edge-triggered, its fields are fixed
            gicr_icfgr_write(s, pe, element, <u32>value, secure)
    elif kind == REG_WAKER:
        if secure:
            waker_write(s, pe, value)
    elif kind == REG_NSACR:
        if secure and not s.ds:
            cold_of(s, p).nsacr = <u32>value
    elif kind == REG_CTLR:
        gicr_ctlr_write(s, pe, value, secure)
    elif kind == REG_STATUSR:
        cold_of(s, p).statusr[secure] &= <u8>~value
    elif REG_PROPBASER <= kind <= REG_SYNCR:
        gicr_lpi_write(s, pe, kind, value, lanes)
