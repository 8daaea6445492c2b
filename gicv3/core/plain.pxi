# The common case made short: acknowledge and EOI of Non-secure Group 1 by a PE about which nothing is special.
# The general path in cpu_interface.pxi gives the same results; `benchmarks.ratios --only cycle` shows the gain.

cdef u32 ENC_IAR1 = SysReg.ICC_IAR1_EL1
cdef u32 ENC_EOIR1 = SysReg.ICC_EOIR1_EL1
cdef u64 EOIR1_MASK = sys_rows[sys_index[ENC_EOIR1 & 0x3FFF]].write_mask


cdef inline u32 plain_iar1(GicState *s, u32 pe, PeState *p) noexcept nogil:
    """ICC_IAR1: for a plain PE the IRQ line says that Group 1 has something to take."""
    cdef u32 intid = p.hpp
    cdef u32 bit, index
    cdef SharedWord *w
    if not p.lines & LINE_IRQ:
        return INTID_NONE
    index = p.hpp_prio & p.preempt_mask[G1NS] if s.apr_by_bpr else p.hpp_prio
    index >>= 8 - s.prebits
    p.ap0[G1NS] |= <u32>1 << index
    p.running = <u8>(index << (8 - s.prebits))
    bit = <u32>1 << (intid & 31)
    if intid < NUM_PRIVATE:
        p.w0.latch &= ~bit
        p.w0.active |= bit
        p.acked[intid >> 4] += 1         # SGI, PPI
    else:                        # plain PEs have no extended ranges, so the INTID is the slot
        w = &s.shared[intid >> 5]
        w.latch &= ~bit
        w.active |= bit
        p.acked[2] += 1
        spi_dequeue(s, intid)
    if unlikely((p.w0.latch | (p.w0.line & ~p.w0.edge)) & p.w0.gate & ~p.w0.active or pe_has_spi(p)):
        pe_choose(s, p)
    else:
        pe_choose_none(p)
    pe_show(s, pe, 0)            # what is left is not above what was best, so it cannot preempt
    return intid


cdef inline bint plain_eoir1(GicState *s, u32 pe, PeState *p, u32 intid) noexcept nogil:
    """ICC_EOIR1 of a Group 1 interrupt while only Group 1 is active; False when it is not that simple."""
    cdef u32 bits = p.ap0[G1NS]
    cdef u32 bit = <u32>1 << (intid & 31)
    cdef SharedWord *w
    if unlikely(p.ap0[G0] | p.ap0[G1S] or not bits):
        return False
    if intid < NUM_PRIVATE:
        if not p.w0.group & bit:
            return False
        p.w0.active &= ~bit
    else:
        if shared_slot(s, intid) == NO_SLOT:
            return False
        w = &s.shared[intid >> 5]
        if not w.group & bit:
            return False
        w.active &= ~bit
    bits &= bits - 1
    p.ap0[G1NS] = bits
    p.running = <u8>(gic_ctz32(bits) << (8 - s.prebits)) if bits else PRIO_IDLE
    if intid < NUM_PRIVATE:
        if (p.w0.latch | (p.w0.line & ~p.w0.edge)) & bit:
            private_pended(s, pe, intid)
    elif (w.latch | ((w.line | w.message) & ~w.edge)) & bit:
        spi_update(s, intid)
    if p.hpp != INTID_NONE:
        pe_output(s, pe)
    return True
