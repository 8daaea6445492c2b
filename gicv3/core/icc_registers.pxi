# ICC_* register by register: what each read returns and each write does, after decoding and trap checks.

cdef u64 icc_ctlr_common(GicState *s) noexcept nogil:
    """The fields that ICC_CTLR_EL1 and ICC_CTLR_EL3 share."""
    cdef u64 value = <u64>(s.prio_bits - 1) << 8
    if s.id_bits > 16:
        value |= CTLR_IDBITS_24
    if s.aff3:
        value |= CTLR_A3V
    if s.features & FEAT_RSS:
        value |= CTLR_RSS
    if s.features & (FEAT_ESPI | FEAT_EPPI):
        value |= CTLR_EXTRANGE
    return value


cdef inline void icc_pmhe_write(GicState *s, PeState *p, u64 value) noexcept nogil:
    """PMHE is RAZ/WI where there is no 1-of-N choice to take the hint."""
    cold_of(s, p).pmhe = value & CTLR_PMHE != 0 and s.features & FEAT_ONE_OF_N != 0


cdef u64 icc_ctlr_el1_read(GicState *s, PeState *p) noexcept nogil:
    cdef u32 bit = 1 if pe_bank(s, p) == G1NS else 0
    cdef PeCold *c = cold_of(s, p)
    return icc_ctlr_common(s) | c.pmhe << 6 | (p.eoimode >> bit & 1) << 1 | (c.cbpr >> bit & 1)


cdef void icc_ctlr_el1_write(GicState *s, PeState *p, u64 value) noexcept nogil:
    cdef u8 bit = 2 if pe_bank(s, p) == G1NS else 1
    p.eoimode = p.eoimode & ~bit | (bit if value & CTLR_EOIMODE else 0)
    pe_plain(s, p)
    if s.ds:                     # with two security states CBPR and PMHE are read-only here, even at EL3
        icc_pmhe_write(s, p, value)
        cold_of(s, p).cbpr = cold_of(s, p).cbpr & ~bit | (bit if value & CTLR_CBPR else 0)
        cpuif_masks(s, p)


cdef u64 icc_ctlr_el3_read(GicState *s, PeState *p) noexcept nogil:
    cdef PeCold *c = cold_of(s, p)
    cdef u64 value = icc_ctlr_common(s) | c.pmhe << 6
    value |= (p.eoimode >> 1 & 1) << 4 | (p.eoimode & 1) << 3 | (p.eoimode >> 2 & 1) << 2
    return value | (c.cbpr >> 1 & 1) << 1 | (c.cbpr & 1)


cdef void icc_ctlr_el3_write(GicState *s, PeState *p, u64 value) noexcept nogil:
    p.eoimode = <u8>((value >> 3 & 1) | (value >> 4 & 1) << 1 | (value >> 2 & 1) << 2)
    cold_of(s, p).cbpr = <u8>(value & 3)
    icc_pmhe_write(s, p, value)
    pe_plain(s, p)
    cpuif_masks(s, p)


cdef u64 icc_pmr_read(GicState *s, PeState *p) noexcept nogil:
    return ns_priority(p.pmr) & s.prio_mask if pe_ns_view(s, p) else p.pmr


cdef void icc_pmr_write(GicState *s, PeState *p, u64 value) noexcept nogil:
    if pe_ns_view(s, p):
        if p.pmr < 0x80:
            return
        value = 0x80 | value >> 1
    p.pmr = <u8>(value & s.prio_mask)


cdef u64 icc_rpr_read(GicState *s, PeState *p) noexcept nogil:
    cdef u64 value = p.running
    cdef bint ns_nmi = nmi_is_active(p, G1NS)
    cdef bint secure_nmi = nmi_is_active(p, G1S)
    if pe_ns_view(s, p):
        value = ns_priority(<u32>value)
    elif value == 0x80 and ns_nmi and not s.ds and not pe_secure(s, p):
        value = 0                # a Non-secure NMI reads as 0x00 whatever the view
    if s.ds:
        return value | (NMI_FLAG if ns_nmi or secure_nmi else 0)
    if not pe_secure(s, p):
        return value | (NMI_FLAG if ns_nmi else 0)
    return value | (NMI_FLAG if secure_nmi else 0) | (RPR_NMI_NS if ns_nmi else 0)


cdef u64 icc_bpr1_read(GicState *s, PeState *p) noexcept nogil:
    cdef u32 bank = pe_bank(s, p)
    if not pe_el3(s, p) and cold_of(s, p).cbpr >> (1 if bank == G1NS else 0) & 1:
        return min(cold_of(s, p).bpr[G0] + 1, 7) if bank == G1NS else cold_of(s, p).bpr[G0]
    return cold_of(s, p).bpr[bank]


cdef void icc_bpr_write(GicState *s, PeState *p, u32 group, u64 value) noexcept nogil:
    cold_of(s, p).bpr[group] = max(<u8>value, <u8>bpr_min(s, group))
    cpuif_masks(s, p)


cdef void icc_bpr1_write(GicState *s, PeState *p, u64 value) noexcept nogil:
    cdef u32 bank = pe_bank(s, p)
    if not pe_el3(s, p) and cold_of(s, p).cbpr >> (1 if bank == G1NS else 0) & 1:
        if bank == G1S:          # a common BPR: the Secure write reaches BPR0, the Non-secure one nothing
            icc_bpr_write(s, p, G0, value)
        return
    icc_bpr_write(s, p, bank, value)


cdef u64 icc_ap_read(GicState *s, PeState *p, u32 group, u32 word) noexcept nogil:
    cdef u64 value = ap_word(s, p, group, word)[0]
    if word == 0 and group != G0 and nmi_is_active(p, group):
        value |= NMI_FLAG
    return value


cdef void icc_ap_write(GicState *s, PeState *p, u32 group, u32 word, u64 value) noexcept nogil:
    """Write an active-priority register; Non-secure software may not mark priorities of the Secure half (notes 6)."""
    cdef u32 bits = <u32>value
    cdef u32 secure_half = 0
    if group == G1NS and not s.ds:
        if s.ap_words == 1:
            secure_half = 0xFFFF
        elif word < s.ap_words // 2:
            secure_half = 0xFFFFFFFFU
    if s.prebits < 5:
        bits &= (<u32>1 << (1 << s.prebits)) - 1
    if s.strict_on and value and value != icc_ap_read(s, p, group, word):
        strict_log(s, STRICT_AP_WRITE, <u32>(p - s.pe), INTID_NONE)
    # such a bit may be there by an acknowledgement, and then be written back or cleared
    ap_word(s, p, group, word)[0] = bits & (~secure_half | ap_word(s, p, group, word)[0])
    if word == 0 and group != G0 and s.features & FEAT_NMI:
        nmi_set_active(p, group, value >> 63)
    cpuif_running(s, p)


cdef void icc_igrpen_write(GicState *s, PeState *p, u32 group, bint enable) noexcept nogil:
    p.igrpen = p.igrpen & <u8>~(1 << group) | <u8>(enable << group)
    pe_gates(s, p)
    pe_reroute(s, <u32>(p - s.pe))


cdef u64 icc_read(GicState *s, u32 pe, SysDecode *row) noexcept nogil:
    """The value of a readable register; the access was decoded and allowed by sysreg_access()."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 kind = row.kind
    if kind == SYS_IAR1:
        return icc_iar(s, pe, 1)
    elif kind == SYS_IAR0:
        return icc_iar(s, pe, 0)
    elif kind == SYS_HPPIR0:
        return icc_hppir(s, p, 0)
    elif kind == SYS_HPPIR1:
        return icc_hppir(s, p, 1)
    elif kind == SYS_NMIAR1:
        return icc_nmiar(s, pe)
    elif kind == SYS_PMR:
        return icc_pmr_read(s, p)
    elif kind == SYS_RPR:
        return icc_rpr_read(s, p)
    elif kind == SYS_BPR0:
        return cold_of(s, p).bpr[G0]
    elif kind == SYS_BPR1:
        return icc_bpr1_read(s, p)
    elif kind == SYS_AP0R:
        return icc_ap_read(s, p, G0, row.index)
    elif kind == SYS_AP1R:
        return icc_ap_read(s, p, pe_bank(s, p), row.index)
    elif kind == SYS_CTLR_EL1:
        return icc_ctlr_el1_read(s, p)
    elif kind == SYS_CTLR_EL3:
        return icc_ctlr_el3_read(s, p)
    elif kind == SYS_SRE_EL1:
        return 7                 # SRE, DFB, DIB RAO/WI: no legacy operation, no bypass
    elif kind == SYS_SRE_EL2 or kind == SYS_SRE_EL3:
        return 15
    elif kind == SYS_IGRPEN0:
        return p.igrpen >> G0 & 1
    elif kind == SYS_IGRPEN1:
        return p.igrpen >> pe_bank(s, p) & 1
    elif kind == SYS_IGRPEN1_EL3:
        return (p.igrpen >> G1NS & 1) | (p.igrpen >> G1S & 1) << 1
    return 0


cdef void icc_write(GicState *s, u32 pe, SysDecode *row, u64 value) noexcept nogil:
    """Carry out a write of a writable register; `value` is masked, the access decoded and allowed."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 kind = row.kind
    if kind == SYS_EOIR1:
        icc_eoir(s, pe, 1, <u32>value)
        return
    elif kind == SYS_EOIR0:
        icc_eoir(s, pe, 0, <u32>value)
        return
    elif kind == SYS_DIR:
        icc_dir(s, pe, <u32>value)
        return
    elif kind == SYS_SGI1R:
        sgi_send(s, pe, value, SGI1R)
        return
    elif kind == SYS_SGI0R:
        sgi_send(s, pe, value, SGI0R)
        return
    elif kind == SYS_ASGI1R:
        sgi_send(s, pe, value, ASGI1R)
        return
    elif kind == SYS_PMR:
        icc_pmr_write(s, p, value)
    elif kind == SYS_BPR0:
        icc_bpr_write(s, p, G0, value)
    elif kind == SYS_BPR1:
        icc_bpr1_write(s, p, value)
    elif kind == SYS_AP0R:
        icc_ap_write(s, p, G0, row.index, value)
    elif kind == SYS_AP1R:
        icc_ap_write(s, p, pe_bank(s, p), row.index, value)
    elif kind == SYS_CTLR_EL1:
        icc_ctlr_el1_write(s, p, value)
    elif kind == SYS_CTLR_EL3:
        icc_ctlr_el3_write(s, p, value)
    elif kind == SYS_IGRPEN0:
        icc_igrpen_write(s, p, G0, value & 1)
    elif kind == SYS_IGRPEN1:
        icc_igrpen_write(s, p, pe_bank(s, p), value & 1)
    elif kind == SYS_IGRPEN1_EL3:
        icc_igrpen_write(s, p, G1NS, value & 1)
        icc_igrpen_write(s, p, G1S, value >> 1 & 1)
    pe_update(s, pe)


cdef bint sysreg_exists(GicState *s, PeState *p, u32 kind) noexcept nogil:
    """Registers that come and go with the PE's state: NMIAR1 with SCTLR_ELx.NMI; SRE_EL2 at EL3 needs EL2 enabled."""
    if kind == SYS_NMIAR1:
        return cold_of(s, p).sctlr_nmi
    return p.el != 3 or cold_of(s, p).scr_el3 & (SCR_NS | SCR_EEL2) != 0


cdef u32 sysreg_access_any(GicState *s, u32 pe, u32 encoding, u64 *value, bint write) noexcept nogil:
    """sysreg_access() by the table."""
    cdef PeState *p = &s.pe[pe]
    cdef SysDecode *row
    cdef u32 result
    if encoding >> 14 != 3:
        return ACCESS_UNDEFINED
    row = &s.sysreg[sys_index[encoding & 0x3FFF]]        # row 0 is no register: neither readable nor writable
    if p.el < row.min_el or not row.access & (WRITABLE if write else READABLE):
        return ACCESS_UNDEFINED
    if row.conditional and not sysreg_exists(s, p, row.kind):
        return ACCESS_UNDEFINED
    if row.trap != TRAP_NONE:
        result = p.access[row.trap]
        if result != ACCESS_VALUE:
            return result
    if not p.flags & PE_ACCESSIBLE:      # no vCPU: RAZ/WI, and nothing to acknowledge
        if not write:
            value[0] = INTID_NONE if row.intid else 0
        return ACCESS_VALUE
    if write:
        if unlikely(s.strict_on):
            strict_access(s, STRICT_SYSREG, encoding, pe_secure(s, p), True, value[0])
        icc_write(s, pe, row, value[0] & row.write_mask)
    else:
        value[0] = icc_read(s, pe, row)
        if row.acks and value[0] == INTID_NONE:
            s.stats[pe].spurious += 1
    return ACCESS_VALUE


cdef inline u32 sysreg_iar1(GicState *s, u32 pe, u64 *value) noexcept nogil:
    """sysreg_access() for a read of ICC_IAR1_EL1."""
    cdef PeState *p = &s.pe[pe]
    if likely(p.flags & PE_PLAIN):
        value[0] = plain_iar1(s, pe, p)
        return ACCESS_VALUE
    return sysreg_access_any(s, pe, ENC_IAR1, value, False)


cdef inline u32 sysreg_eoir1(GicState *s, u32 pe, u64 value) noexcept nogil:
    """sysreg_access() for a write of ICC_EOIR1_EL1."""
    cdef PeState *p = &s.pe[pe]
    if likely(p.flags & PE_PLAIN and plain_eoir1(s, pe, p, <u32>(value & EOIR1_MASK))):
        return ACCESS_VALUE
    return sysreg_access_any(s, pe, ENC_EOIR1, &value, True)


cdef inline u32 sysreg_access(GicState *s, u32 pe, u32 encoding, u64 *value, bint write) noexcept nogil:
    """Read or write a system register as software on PE `pe` would; `pe` is below num_pe. Returns ACCESS_*."""
    if encoding == ENC_IAR1 and not write:
        return sysreg_iar1(s, pe, value)
    if encoding == ENC_EOIR1 and write:
        return sysreg_eoir1(s, pe, value[0])
    return sysreg_access_any(s, pe, encoding, value, write)


cdef u64 sysreg_read_any(GicState *s, u32 pe, u32 encoding) noexcept nogil:
    cdef u64 value = 0
    sysreg_access_any(s, pe, encoding, &value, False)
    return value


cdef inline u64 sysreg_read(GicState *s, u32 pe, u32 encoding) noexcept nogil:
    """sysreg_access() that reads; 0 where there is no value."""
    cdef PeState *p = &s.pe[pe]
    if encoding != ENC_IAR1 or not p.flags & PE_PLAIN:
        return sysreg_read_any(s, pe, encoding)
    return plain_iar1(s, pe, p)


cdef void sysreg_write_any(GicState *s, u32 pe, u32 encoding, u64 value) noexcept nogil:
    sysreg_access_any(s, pe, encoding, &value, True)


cdef inline void sysreg_write(GicState *s, u32 pe, u32 encoding, u64 value) noexcept nogil:
    """sysreg_access() that writes."""
    cdef PeState *p = &s.pe[pe]
    if encoding != ENC_EOIR1 or not p.flags & PE_PLAIN or not plain_eoir1(s, pe, p, <u32>(value & EOIR1_MASK)):
        sysreg_write_any(s, pe, encoding, value)
