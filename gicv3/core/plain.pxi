# The common case made short: acknowledge and EOI of Non-secure Group 1 by a PE about which nothing is special.
# The general path in cpu_interface.pxi gives the same results; `benchmarks.ratios --only cycle` shows the gain.

cdef u32 ENC_IAR1 = SysReg.ICC_IAR1_EL1
cdef u32 ENC_EOIR1 = SysReg.ICC_EOIR1_EL1
cdef u64 EOIR1_MASK = sys_rows[sys_index[ENC_EOIR1 & 0x3FFF]].write_mask


cdef inline void plain_take_spi(GicState *s, PeState *p, u32 intid) noexcept nogil:
    """Pending to active; a plain PE's GIC has no extended ranges, so the INTID is the slot."""
    cdef SharedWord *w = &s.shared[intid >> 5 & 63]
    cdef u32 bit = <u32>1 << (intid & 31)
    w.latch &= ~bit
    w.active |= bit
    stat_acked(s, p, STAT_SPI)
    spi_dequeue(s, intid, p, G1NS)


cdef void plain_take_lpi(GicState *s, u32 pe) noexcept nogil:
    lpi_take(s, pe)


cdef inline u32 plain_accept(GicState *s, u32 pe, PeState *p) noexcept nogil:
    """Take what the IRQ line of a plain PE showed."""
    cdef u32 intid = p.hpp
    cdef u32 bit
    p.ap0[G1NS] |= <u32>1 << (p.hpp_prio >> s.level_shift)       # one word of active priorities has a bit for each
    p.running = p.hpp_prio
    if intid < NUM_PRIVATE:
        bit = <u32>1 << intid
        p.w0.latch &= ~bit
        p.w0.active |= bit
        stat_acked(s, p, intid >> 4)    # SGI, PPI
    elif likely(intid < FIRST_LPI):
        plain_take_spi(s, p, intid)
    else:
        plain_take_lpi(s, pe)
    if unlikely((p.w0.latch | (p.w0.line & ~p.w0.edge)) & p.w0.gate & ~p.w0.active or pe_has_spi(p)
                or p.flags & PE_HAS_LPI):
        pe_choose(s, p)
    else:
        pe_choose_none(p)
    return intid


cdef u32 plain_iar1_any(GicState *s, u32 pe, PeState *p) noexcept nogil:
    """ICC_IAR1: for a plain PE the IRQ line says that Group 1 has something to take."""
    if not p.lines & LINE_IRQ:
        s.stats[pe].spurious += 1
        return INTID_NONE
    if p.running != PRIO_IDLE:
        stat_preempted(s, pe, p.hpp)
    pe_show(s, pe, p, 0)         # what is left will not be above what was best, so it cannot preempt
    return plain_accept(s, pe, p)


cdef inline u32 plain_iar1(GicState *s, u32 pe, PeState *p) noexcept nogil:
    """plain_iar1_any(), shorter while nothing is active."""
    if unlikely(not pe_ready(s, p) or not p.lines & LINE_IRQ or p.running != PRIO_IDLE):
        return plain_iar1_any(s, pe, p)
    pe_show_marked(p, 0)
    return plain_accept(s, pe, p)


cdef inline void plain_drop(GicState *s, PeState *p) noexcept nogil:
    """Priority drop: the highest active priority, which is of Group 1, goes."""
    cdef u32 bits = p.ap0[G1NS] & (p.ap0[G1NS] - 1)
    p.ap0[G1NS] = bits
    p.running = <u8>(gic_ctz32(bits) << s.level_shift) if bits else PRIO_IDLE


cdef inline bint plain_end_spi(GicState *s, PeState *p, u32 intid) noexcept nogil:
    """plain_eoir1() of an SPI."""
    cdef SharedWord *w = &s.shared[intid >> 5]
    cdef u32 bit = <u32>1 << (intid & 31)
    if unlikely(not w.group & bit):
        return False
    plain_drop(s, p)
    w.active &= ~bit
    if unlikely((w.latch | ((w.line | w.message) & ~w.edge)) & bit):
        spi_update(s, intid)
    return True


cdef inline void plain_end_show(GicState *s, u32 pe, PeState *p) noexcept nogil:
    """pe_output() after an end, with something pending."""
    if likely(p.hpp_group == G1NS):
        plain_show(s, pe, p, p.hpp_prio)
    else:
        pe_output(s, pe)


cdef inline bint plain_eoir1(GicState *s, u32 pe, PeState *p, u32 intid) noexcept nogil:
    """ICC_EOIR1 of a Group 1 interrupt while only Group 1 is active; False when it is not that simple."""
    cdef u32 bit = <u32>1 << (intid & 31)
    if unlikely(p.ap0[G0] | p.ap0[G1S] or not p.ap0[G1NS]):
        return False
    if intid < NUM_PRIVATE:
        if unlikely(not p.w0.group & bit):
            return False
        plain_drop(s, p)
        p.w0.active &= ~bit
        if unlikely((p.w0.latch | (p.w0.line & ~p.w0.edge)) & bit):
            private_pended(s, pe, p, intid)
    elif likely(intid - NUM_PRIVATE < s.num_spi):
        if not plain_end_spi(s, p, intid):
            return False
    elif is_lpi(s, intid):       # no active state: only the priority drops
        plain_drop(s, p)
    else:
        return False
    if p.hpp != INTID_NONE:
        plain_end_show(s, pe, p)
    return True
