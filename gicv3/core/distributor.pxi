# GICD_*: what each register of the Distributor returns and does. Arguments are decoded and masked; `secure` is true for
# a Secure access and for any access with one security state.

cdef enum:
    CTLR_DS = 0x40
    CTLR_ARE = 0x10              # ARE with DS=1, ARE_S in the Secure view, ARE_NS in the Non-secure view
    CTLR_ARE_NS = 0x20
    CTLR_E1NWF = 0x80
    # GICD_TYPER; ITLinesNumber is in bits 4:0
    TYPER_ESPI = 1 << 8
    TYPER_NMI = 1 << 9
    TYPER_SECURITY = 1 << 10     # SecurityExtn
    TYPER_MBIS = 1 << 16
    TYPER_LPIS = 1 << 17
    TYPER_IDBITS_SHIFT = 19
    TYPER_A3V_SHIFT = 24
    TYPER_NO1N = 1 << 25
    TYPER_RSS = 1 << 26
    TYPER_ESPI_RANGE_SHIFT = 27
    # GICM_TYPER; the number of SPIs is in bits 10:0
    GICM_TYPER_FIRST_SHIFT = 16
    GICM_TYPER_SR_SHIFT = 29     # the *_SR registers exist
    GICM_TYPER_CLR = 1 << 30     # the CLRSPI_* registers exist
    GICM_TYPER_VALID = 0x80000000U
    PART_DIST = 0                # index of GicState.pidr
    PART_REDIST = 1
    PART_MESSAGE = 2
    PART_ITS = 3


# --- bitmap helpers, shared with the Redistributor ---------------------------------------------------------------

cdef inline u32 spread16(u32 bits) noexcept nogil:
    """16 bits to the odd positions of 32: one bit an interrupt to its ICFGR field."""
    bits &= 0xFFFF
    bits = (bits | bits << 8) & 0x00FF00FF
    bits = (bits | bits << 4) & 0x0F0F0F0F
    bits = (bits | bits << 2) & 0x33333333
    bits = (bits | bits << 1) & 0x55555555
    return bits << 1


cdef inline u32 gather16(u32 fields) noexcept nogil:
    """The odd positions of 32 bits to 16: an ICFGR write to one bit an interrupt."""
    fields = (fields >> 1) & 0x55555555
    fields = (fields | fields >> 1) & 0x33333333
    fields = (fields | fields >> 2) & 0x0F0F0F0F
    fields = (fields | fields >> 4) & 0x00FF00FF
    return (fields | fields >> 8) & 0xFFFF


cdef inline u32 priority_field(u32 prio, bint secure) noexcept nogil:
    """IPRIORITYR byte as this access sees it."""
    return prio if secure else (prio << 1) & 0xFF


cdef inline u8 priority_store(GicState *s, u32 field, bint secure) noexcept nogil:
    """The priority that an IPRIORITYR byte stores: Non-secure software reaches the lower-priority half."""
    return <u8>((field if secure else 0x80 | field >> 1) & s.prio_mask)


# --- Non-secure access -------------------------------------------------------------------------------------------

cdef inline u32 nsacr_field(GicState *s, u32 slot) noexcept nogil:
    return s.nsacr[slot >> 4] >> (2 * (slot & 15)) & 3


cdef u32 nsacr_bits(GicState *s, u32 word, u32 minimum) noexcept nogil:
    """The SPIs of a word whose GICD_NSACR field is at least `minimum`."""
    cdef u32 bit
    cdef u32 result = 0
    for bit in range(32):
        if nsacr_field(s, word * 32 + bit) >= minimum:
            result |= <u32>1 << bit
    return result


cdef inline u32 gicd_reach(GicState *s, u32 word, bint secure, u32 nsacr) noexcept nogil:
    """The bits of an SPI word that an access reaches; `nsacr` is the field that opens a Secure SPI (4: none does)."""
    cdef u32 valid = shared_valid(s, word)
    if secure:
        return valid
    if nsacr < 4:
        return valid & (s.shared[word].group | nsacr_bits(s, word, nsacr))
    return valid & s.shared[word].group


# --- registers ---------------------------------------------------------------------------------------------------

cdef u64 gicd_ctlr_read(GicState *s, bint secure) noexcept nogil:
    cdef u64 g0 = s.enables >> G0 & 1
    cdef u64 g1s = s.enables >> G1S & 1
    cdef u64 g1ns = s.enables >> G1NS & 1
    cdef u64 common = <u64>1 << 31 if s.rwp_left else 0
    if secure and s.e1nwf:
        common |= CTLR_E1NWF
    if s.ds:
        return common | CTLR_DS | CTLR_ARE | g1ns << 1 | g0
    if secure:
        return common | CTLR_ARE_NS | CTLR_ARE | g1s << 2 | g1ns << 1 | g0
    return common | CTLR_ARE | g1ns << 1


cdef void strict_ds(GicState *s, u8 enables) noexcept nogil:
    """Judge a write that sets DS, before it does; it is one a reset, and looks at every INTID in strict mode alone."""
    cdef u32 word, pe, active
    if enables:
        strict_log(s, STRICT_DS_ENABLED, NO_PE, INTID_NONE)
    for word in range(SHARED_WORDS):
        active = s.shared[word].active
        if active:
            strict_log(s, STRICT_DS_ACTIVE, NO_PE, shared_intid(word * 32 + gic_ctz32(active)))
            return
    for pe in range(s.num_pe):
        for word in range(private_words(s)):
            active = private_word(s, &s.pe[pe], word).active
            if active:
                strict_log(s, STRICT_DS_ACTIVE, pe, private_intid(word * 32 + gic_ctz32(active)))
                return


cdef void gicd_ctlr_write(GicState *s, u64 value, bint secure) noexcept nogil:
    cdef u8 g1ns = <u8>((value >> 1 & 1) << G1NS)
    cdef u8 before = s.enables
    cdef bint settles = False
    if not secure:
        s.enables = s.enables & <u8>~(1 << G1NS) | g1ns
    else:
        s.enables = <u8>(value & 1) | g1ns
        if s.features & FEAT_ONE_OF_N and s.e1nwf != (value & CTLR_E1NWF != 0):
            s.e1nwf = not s.e1nwf
            settles = True
        if not s.ds:             # this very write is read in the format before a change of DS
            s.enables |= <u8>((value >> 2 & 1) << G1S)
            if value & CTLR_DS:
                if s.strict_on:
                    strict_ds(s, before)
                s.ds = 1         # one way, until reset; EnableGrp1S becomes RES0
                s.enables &= <u8>~(1 << G1S)
                settles = True
                lpi_security_changed(s)
    if settles or before & ~s.enables:
        gicd_wait(s)
    if settles or before != s.enables:
        gic_update_all(s)


cdef u64 gicd_typer(GicState *s) noexcept nogil:
    cdef u64 value = (s.num_spi + 31) // 32 | (s.id_bits - 1) << TYPER_IDBITS_SHIFT | s.aff3 << TYPER_A3V_SHIFT
    if has_el3(s) and not s.ds:
        value |= TYPER_SECURITY
    if s.features & FEAT_LPI:
        value |= TYPER_LPIS
    if s.num_espi:
        value |= TYPER_ESPI | <u64>(s.num_espi // 32 - 1) << TYPER_ESPI_RANGE_SHIFT
    if s.features & FEAT_NMI:
        value |= TYPER_NMI
    if s.features & FEAT_MESSAGE_SPI:
        value |= TYPER_MBIS
    if not s.features & FEAT_ONE_OF_N:
        value |= TYPER_NO1N
    if s.features & FEAT_RSS:
        value |= TYPER_RSS
    return value


cdef u64 identification(GicState *s, u32 kind, u32 element, u32 part) noexcept nogil:
    """PIDR0..7 and CIDR0..3 of a frame; `part` tells the frames apart."""
    if kind == REG_CIDR:
        return (0xB105F00DU >> (8 * element)) & 0xFF
    return s.pidr[part][element]


cdef u64 gicd_bits_read(GicState *s, u32 kind, u32 word, bint secure) noexcept nogil:
    cdef SharedWord *w = &s.shared[word]
    if kind == REG_ISENABLER or kind == REG_ICENABLER:
        return w.enable & gicd_reach(s, word, secure, 4)
    elif kind == REG_ISPENDR:
        return (w.latch | ((w.line | w.message) & ~w.edge)) & gicd_reach(s, word, secure, 1)
    elif kind == REG_ICPENDR:
        return (w.latch | ((w.line | w.message) & ~w.edge)) & gicd_reach(s, word, secure, 2)
    elif kind == REG_ISACTIVER or kind == REG_ICACTIVER:
        return w.active & gicd_reach(s, word, secure, 2)
    elif kind == REG_INMIR:      # acts on Group 1 only
        return w.nmi & (w.group | (0 if s.ds else w.grpmod)) & gicd_reach(s, word, secure, 4)
    if not secure:
        return 0                 # IGROUPR, IGRPMODR
    if kind == REG_IGROUPR:
        return w.group
    return 0 if s.ds else w.grpmod


cdef void spis_update(GicState *s, u32 word, u32 touched, u32 raised) noexcept nogil:
    """Bring the touched SPIs of a word up to date, of which some became pending."""
    cdef u32 slot
    while touched:
        slot = word * 32 + gic_ctz32(touched)
        spi_update(s, slot)
        if raised & touched & -touched:
            stat_raised_spi(s, slot)
        touched &= touched - 1


cdef void gicd_bits_write(GicState *s, u32 kind, u32 word, u32 value, bint secure) noexcept nogil:
    cdef SharedWord *w = &s.shared[word]
    cdef u32 touched
    cdef u32 raised = 0
    if kind == REG_IGROUPR or kind == REG_IGRPMODR:
        touched = shared_valid(s, word) if secure else 0
        if kind == REG_IGROUPR:
            touched &= w.group ^ value
            w.group ^= touched
        elif s.ds:
            return
        else:
            touched &= w.grpmod ^ value
            w.grpmod ^= touched
    elif kind == REG_INMIR:
        touched = gicd_reach(s, word, secure, 4) & (w.group | (0 if s.ds else w.grpmod)) & (w.nmi ^ value)
        w.nmi ^= touched
    elif kind == REG_ISPENDR:
        touched = value & gicd_reach(s, word, secure, 1)
        raised = touched & ~(w.latch | ((w.line | w.message) & ~w.edge))
        w.latch |= touched
    elif kind == REG_ICPENDR:
        touched = value & gicd_reach(s, word, secure, 2)
        w.latch &= ~touched
    else:
        touched = value & gicd_reach(s, word, secure, 4)
        if kind == REG_ISENABLER:
            w.enable |= touched
        elif kind == REG_ICENABLER:
            w.enable &= ~touched
            gicd_wait(s)
        elif kind == REG_ISACTIVER:
            w.active |= touched
        else:
            w.active &= ~touched
    spis_update(s, word, touched, raised)


cdef u64 gicd_priority_read(GicState *s, u32 element, bint secure) noexcept nogil:
    cdef u32 slot = element * 4
    cdef u32 reach = gicd_reach(s, slot >> 5, secure, 4) >> (slot & 31)
    cdef u64 value = 0
    cdef u32 i
    for i in range(4):
        if reach >> i & 1 and not shared_is_nmi(s, slot + i):
            value |= <u64>priority_field(s.spi[slot + i].prio, secure) << (8 * i)
    return value


cdef void gicd_priority_write(GicState *s, u32 element, u64 value, u64 lanes, bint secure) noexcept nogil:
    cdef u32 slot = element * 4
    cdef u32 reach = gicd_reach(s, slot >> 5, secure, 4) >> (slot & 31)
    cdef u32 i
    for i in range(4):
        if reach >> i & 1 and lanes >> (8 * i) & 1 and not shared_is_nmi(s, slot + i):
            s.spi[slot + i].prio = priority_store(s, <u32>(value >> (8 * i)) & 0xFF, secure)
            spi_update(s, slot + i)


cdef void gicd_icfgr_write(GicState *s, u32 element, u32 value, bint secure) noexcept nogil:
    cdef u32 word = element >> 1
    cdef u32 shift = 16 * (element & 1)
    cdef u32 reach = gicd_reach(s, word, secure, 4) & (0xFFFF << shift)
    cdef SharedWord *w = &s.shared[word]
    cdef u32 touched = (w.edge ^ gather16(value) << shift) & reach
    if s.strict_on:
        strict_icfgr(s, NO_PE, shared_intid(word * 32), touched, w.enable, w.latch | ((w.line | w.message) & ~w.edge))
    w.edge ^= touched
    spis_update(s, word, touched, touched & (w.line | w.message) & ~(w.latch | w.edge))


cdef u32 gicd_nsacr_valid(GicState *s, u32 element) noexcept nogil:
    """The fields of a GICD_NSACR word that belong to implemented SPIs."""
    cdef u32 half = shared_valid(s, element >> 1) >> (16 * (element & 1))
    cdef u32 odd = spread16(half)
    return odd | odd >> 1


cdef inline bint gicd_router_reach(GicState *s, u32 slot, bint secure) noexcept nogil:
    if shared_slot(s, shared_intid(slot)) == NO_SLOT:
        return False
    return secure or shared_group(s, slot) == G1NS or nsacr_field(s, slot) == 3


cdef void gicd_message(GicState *s, u32 kind, u32 intid, bint secure) noexcept nogil:
    """SETSPI_* and CLRSPI_*: message-based SPIs (architecture notes 2.5)."""
    cdef u32 slot = shared_slot(s, intid)
    cdef bint setting = kind == REG_SETSPI_NSR or kind == REG_SETSPI_SR
    cdef SharedWord *w
    cdef u32 bit
    if slot == NO_SLOT:
        return
    if kind == REG_SETSPI_SR or kind == REG_CLRSPI_SR:
        if s.ds or not secure:
            return
    elif not secure and shared_group(s, slot) != G1NS and nsacr_field(s, slot) < (1 if setting else 2):
        return
    w = &s.shared[slot >> 5]
    bit = <u32>1 << (slot & 31)
    if shared_pending(s, slot) == setting:
        return
    if setting:
        if w.edge & bit:
            w.latch |= bit
        else:
            w.message |= bit
    else:
        w.latch &= ~(bit & w.edge)
        w.message &= ~bit
    spi_update(s, slot)
    if setting:
        stat_raised_spi(s, slot)


cdef u64 gicm_read(GicState *s, u32 kind, u32 element) noexcept nogil:
    """The frame of message-based SPIs; its writes act as their GICD twins."""
    if kind == REG_TYPER:
        return (GICM_TYPER_VALID | GICM_TYPER_CLR | <u64>has_el3(s) << GICM_TYPER_SR_SHIFT
                | <u64>NUM_PRIVATE << GICM_TYPER_FIRST_SHIFT | s.num_spi)
    elif kind == REG_IIDR:
        return s.iidr
    return identification(s, kind, element, PART_MESSAGE)


cdef void strict_router(GicState *s, u32 slot) noexcept nogil:
    cdef u64 irouter = s.spi[slot].irouter
    if irouter & IROUTER_IRM:
        if not s.features & FEAT_ONE_OF_N:
            strict_log(s, STRICT_IRM_UNSUPPORTED, NO_PE, shared_intid(slot))
    elif affinity_find(s, affinity_pack(irouter)) == NO_PE:
        strict_log(s, STRICT_ROUTE_UNKNOWN, NO_PE, shared_intid(slot))


cdef u64 gicd_read(GicState *s, u32 kind, u32 element, bint secure) noexcept nogil:
    if REG_IGROUPR <= kind <= REG_ICACTIVER or kind == REG_IGRPMODR or kind == REG_INMIR:
        return gicd_bits_read(s, kind, element, secure)
    elif kind == REG_IPRIORITYR:
        return gicd_priority_read(s, element, secure)
    elif kind == REG_ICFGR:
        return spread16((s.shared[element >> 1].edge & gicd_reach(s, element >> 1, secure, 4)) >> (16 * (element & 1)))
    elif kind == REG_IROUTER:
        return s.spi[element].irouter if gicd_router_reach(s, element, secure) else 0
    elif kind == REG_CTLR:
        return gicd_ctlr_read(s, secure)
    elif kind == REG_TYPER:
        return gicd_typer(s)
    elif kind == REG_IIDR:
        return s.iidr
    elif kind == REG_NSACR:
        return s.nsacr[element] if secure and not s.ds else 0
    elif kind == REG_STATUSR:
        return s.statusr[secure]
    elif kind == REG_PIDR or kind == REG_CIDR:
        return identification(s, kind, element, PART_DIST)
    return 0                     # TYPER2, and what is RES0 with affinity routing


cdef void gicd_write(GicState *s, u32 kind, u32 element, u64 value, u64 lanes, bint secure) noexcept nogil:
    cdef Shared *spi
    if REG_IGROUPR <= kind <= REG_ICACTIVER or kind == REG_IGRPMODR or kind == REG_INMIR:
        gicd_bits_write(s, kind, element, <u32>value, secure)
    elif kind == REG_IPRIORITYR:
        gicd_priority_write(s, element, value, lanes, secure)
    elif kind == REG_ICFGR:
        gicd_icfgr_write(s, element, <u32>value, secure)
    elif kind == REG_IROUTER:
        if gicd_router_reach(s, element, secure):
            spi = &s.spi[element]
            spi.irouter = spi.irouter & ~lanes | value
            spi_route(s, element)
            if s.strict_on:
                strict_router(s, element)
            spi_update(s, element)
    elif kind == REG_CTLR:
        gicd_ctlr_write(s, value, secure)
    elif kind == REG_NSACR:
        if secure and not s.ds:
            s.nsacr[element] = <u32>value & gicd_nsacr_valid(s, element)
    elif kind == REG_STATUSR:
        s.statusr[secure] &= <u8>~value
    elif REG_SETSPI_NSR <= kind <= REG_CLRSPI_SR:
        gicd_message(s, kind, <u32>value, secure)
