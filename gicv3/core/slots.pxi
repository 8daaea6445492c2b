# Where the state of an INTID is, and what follows from it alone: its slot, its word, its group, whether it is an NMI,
# whether it is pending.

cdef inline u32 private_slot(GicState *s, u32 intid) noexcept nogil:
    """The slot of an implemented SGI, PPI or EPPI; NO_SLOT for anything else."""
    if intid < NUM_PRIVATE:
        return intid
    if intid - FIRST_EPPI < s.num_eppi:
        return intid - 1024
    return NO_SLOT


cdef inline u32 shared_slot(GicState *s, u32 intid) noexcept nogil:
    """The slot of an implemented SPI or ESPI; NO_SLOT for anything else."""
    if intid - NUM_PRIVATE < s.num_spi:
        return intid
    if intid - FIRST_ESPI < s.num_espi:
        return intid - FIRST_ESPI + FIRST_ESPI_SLOT
    return NO_SLOT


cdef inline bint is_lpi(GicState *s, u32 intid) noexcept nogil:
    return s.lpi != NULL and intid >= FIRST_LPI and intid >> s.id_bits == 0


cdef inline PeCold *cold_of(GicState *s, PeState *p) noexcept nogil:
    return &s.cold[p - s.pe]


cdef inline PrivateHot *private_word(GicState *s, PeState *p, u32 word) noexcept nogil:
    return &p.w0 if word == 0 else &cold_of(s, p).wx[word - 1]


cdef inline u8 *private_prio(GicState *s, PeState *p, u32 slot) noexcept nogil:
    return &p.prio[slot] if slot < NUM_PRIVATE else &cold_of(s, p).prio[slot - NUM_PRIVATE]


cdef inline u32 *ap_word(GicState *s, PeState *p, u32 group, u32 word) noexcept nogil:
    return &p.ap0[group] if word == 0 else &cold_of(s, p).ap_hi[(word - 1) * 3 + group]


cdef inline bint nmi_is_active(PeState *p, u32 group) noexcept nogil:
    """The NMI flag of a group's AP1R0; kept in PeState.flags."""
    return p.flags >> (PE_NMI_SHIFT + group) & 1


cdef inline void nmi_set_active(PeState *p, u32 group, bint active) noexcept nogil:
    p.flags = p.flags & <u8>~(1 << (PE_NMI_SHIFT + group)) | <u8>(active << (PE_NMI_SHIFT + group))


cdef inline u32 private_words(GicState *s) noexcept nogil:
    return 1 + s.num_eppi // 32


cdef inline u32 private_valid(GicState *s, u32 word) noexcept nogil:
    """The implemented bits of a private word."""
    return 0xFFFFFFFFU if word < private_words(s) else 0


cdef inline u32 shared_valid(GicState *s, u32 word) noexcept nogil:
    """The implemented bits of an SPI word; word 0 stands for the private INTIDs and has none."""
    if word >= 32:
        return 0xFFFFFFFFU if (word - 32) * 32 < s.num_espi else 0
    if word == 0 or (word - 1) * 32 >= s.num_spi:
        return 0
    return 0x0FFFFFFF if word == 31 else 0xFFFFFFFFU


cdef inline u8 private_group(GicState *s, PeState *p, u32 slot) noexcept nogil:
    """Group of a private interrupt (IGROUPR/IGRPMODR matrix)."""
    cdef PrivateHot *h = private_word(s, p, slot >> 5)
    cdef u32 bit = slot & 31
    if h.group >> bit & 1:
        return G1NS
    return G1S if not s.ds and h.grpmod >> bit & 1 else G0


cdef inline u8 shared_group(GicState *s, u32 slot) noexcept nogil:
    """Group of an SPI (IGROUPR/IGRPMODR matrix)."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef u32 bit = slot & 31
    if w.group >> bit & 1:
        return G1NS
    return G1S if not s.ds and w.grpmod >> bit & 1 else G0


cdef inline u8 nmi_prio(GicState *s, u32 group) noexcept nogil:
    """Effective priority of a non-maskable interrupt (architecture notes 11)."""
    return 0x80 if group == G1NS and not s.ds else 0


cdef inline bint private_is_nmi(GicState *s, PeState *p, u32 slot) noexcept nogil:
    """INMIR acts on Group 1 only: its bit is RES0 while the interrupt is in Group 0."""
    return cold_of(s, p).nmi[slot >> 5] >> (slot & 31) & 1 and private_group(s, p, slot) != G0


cdef inline bint shared_is_nmi(GicState *s, u32 slot) noexcept nogil:
    return s.shared[slot >> 5].nmi >> (slot & 31) & 1 and shared_group(s, slot) != G0


cdef inline bint shared_pending(GicState *s, u32 slot) noexcept nogil:
    """Pending as the Distributor shows it: the latch, or a level input that is high."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    return (w.latch | ((w.line | w.message) & ~w.edge)) >> (slot & 31) & 1
