# The fields of a saved state: where each lives in its records, and which of its bits a configuration has.
# What is not named here can be derived from it.

cdef enum:
    # Where a part of a field lives: its records are ...
    IN_GIC = 0                   # one: GicState
    IN_NSACR                     # GicState.nsacr
    IN_WORDS                     # GicState.shared, 32 SPIs each
    IN_SPIS                      # GicState.spi
    IN_PES                       # GicState.pe
    IN_COLD                      # GicState.cold
    IN_LPI                       # one, when there are LPIs: GicState
    IN_REDISTS                   # GicState.lpi
    IN_ITSS                      # GicState.its
    # Which of its bits a GIC has
    HAS_ALL = 0                  # those of the part's mask
    HAS_PRIVATE                  # the SGIs and PPIs of word `word`
    HAS_SHARED                   # the SPIs of the record's word
    HAS_PRIORITY                 # the implemented bits of a priority, of an implemented private interrupt
    HAS_SPI_PRIORITY
    HAS_IROUTER
    HAS_NSACR
    HAS_ACTIVE                   # the priorities of word `word` of an active-priority register

cdef struct Part:                # one value of each record
    u32 home
    u32 offset                   # of the value in its record
    u32 size                     # bytes of it: 1, 2, 4 or 8
    u32 shift                    # the field is (value >> shift) & mask
    u64 mask
    u32 has
    u32 word

cdef struct Place:               # where the records of a home are
    char *first
    size_t stride
    u32 count

cdef enum:
    MAX_PARTS = 320

cdef Part[MAX_PARTS] parts
cdef u32 num_parts = 0
_SAVED_FIELDS = {}               # name: (first part, number of parts, size of an element, home)
_MASKS = {row.name: row.write_mask for row in REGISTERS}
cdef u64 IROUTER_MASK = _MASKS["GICD_IROUTER"]
cdef u64 PENDBASER_MASK = _MASKS["GICR_PENDBASER"]
cdef u64 PROPBASER_MASK = _MASKS["GICR_PROPBASER"]
cdef u64 BASER_MASK = _MASKS["GITS_BASER"]
cdef u64 CBASER_MASK = _MASKS["GITS_CBASER"]
cdef u64 CWRITER_MASK = _MASKS["GITS_CWRITER"]
cdef u64 ITS_STATUSR_MASK = _MASKS["GITS_STATUSR"]


cdef Place place_of(GicState *s, u32 home) noexcept nogil:
    cdef Place place
    place.first = <char *>s
    place.stride = 0
    place.count = 1
    if home == IN_NSACR:
        place.first = <char *>&s.nsacr[0]
        place.stride = sizeof(u32)
        place.count = 128
    elif home == IN_WORDS:
        place.first = <char *>&s.shared[0]
        place.stride = sizeof(SharedWord)
        place.count = SHARED_WORDS
    elif home == IN_SPIS:
        place.first = <char *>s.spi
        place.stride = sizeof(Shared)
        place.count = SHARED_SLOTS
    elif home == IN_PES:
        place.first = <char *>s.pe
        place.stride = sizeof(PeState)
        place.count = s.num_pe
    elif home == IN_COLD:
        place.first = <char *>s.cold
        place.stride = sizeof(PeCold)
        place.count = s.num_pe
    elif home == IN_LPI:
        place.count = s.lpi != NULL
    elif home == IN_REDISTS:
        place.first = <char *>s.lpi
        place.stride = sizeof(LpiPe)
        place.count = s.num_pe if s.lpi != NULL else 0
    elif home == IN_ITSS:
        place.first = <char *>s.its
        place.stride = sizeof(Its)
        place.count = s.num_its
    return place


cdef u64 part_bits(GicState *s, Part *part, u32 record) noexcept nogil:
    """The bits that may be set in a part of a record, in this configuration."""
    cdef u32 bits
    if part.has == HAS_PRIVATE:
        return private_valid(s, part.word)
    elif part.has == HAS_SHARED:
        return shared_valid(s, record)
    elif part.has == HAS_PRIORITY:
        return s.prio_mask if private_valid(s, part.word >> 5) else 0
    elif part.has == HAS_SPI_PRIORITY:
        return s.prio_mask if shared_slot(s, shared_intid(record)) != NO_SLOT else 0
    elif part.has == HAS_IROUTER:
        return IROUTER_MASK if shared_slot(s, shared_intid(record)) != NO_SLOT else 0
    elif part.has == HAS_NSACR:
        return gicd_nsacr_valid(s, record)
    elif part.has == HAS_ACTIVE:
        if part.word >= s.ap_words:
            return 0
        return part.mask if s.prebits >= 5 else (<u64>1 << (1 << s.prebits)) - 1
    return part.mask


cdef inline u64 value_load(const char *at, u32 size) noexcept nogil:
    """A field or an element; arrays follow each other unaligned."""
    cdef u16 half
    cdef u32 word
    cdef u64 whole
    if size == 1:
        return (<const u8 *>at)[0]
    elif size == 2:
        memcpy(&half, at, 2)
        return half
    elif size == 4:
        memcpy(&word, at, 4)
        return word
    memcpy(&whole, at, 8)
    return whole


cdef inline void value_store(char *at, u32 size, u64 value) noexcept nogil:
    cdef u16 half = <u16>value
    cdef u32 word = <u32>value
    if size == 1:
        (<u8 *>at)[0] = <u8>value
    elif size == 2:
        memcpy(at, &half, 2)
    elif size == 4:
        memcpy(at, &word, 4)
    else:
        memcpy(at, &value, 8)


cdef void part_gather(GicState *s, Part *part, char *out) noexcept nogil:
    """Copy a part of every record to an array."""
    cdef Place place = place_of(s, part.home)
    cdef u32 record
    for record in range(place.count):
        value_store(out + record * part.size, part.size,
                    value_load(place.first + record * place.stride + part.offset, part.size) >> part.shift & part.mask)


cdef u32 part_scatter(GicState *s, Part *part, const char *values) noexcept nogil:
    """Copy an array to a part of every record; the number of records accepted, all of them unless one is invalid."""
    cdef Place place = place_of(s, part.home)
    cdef u32 record
    cdef u64 value, before
    cdef char *at
    for record in range(place.count):
        value = value_load(values + record * part.size, part.size)
        if value & ~part_bits(s, part, record):
            return record
        at = place.first + record * place.stride + part.offset
        before = value_load(at, part.size)
        value_store(at, part.size, before & ~(part.mask << part.shift) | value << part.shift)
    return place.count


# --- the fields ---------------------------------------------------------------------------------------------------

cdef GicState _gic
cdef PeState _pe
cdef PeCold _cold
cdef SharedWord _word
cdef Shared _spi
cdef LpiPe _redist
cdef Its _its


cdef u32 offset_in(u32 home, void *member) except? 0xFFFFFFFF:
    cdef void *record = <void *>&_pe
    if home == IN_GIC or home == IN_LPI:
        record = <void *>&_gic
    elif home == IN_NSACR:
        record = <void *>&_gic.nsacr[0]
    elif home == IN_WORDS:
        record = <void *>&_word
    elif home == IN_SPIS:
        record = <void *>&_spi
    elif home == IN_COLD:
        record = <void *>&_cold
    elif home == IN_REDISTS:
        record = <void *>&_redist
    elif home == IN_ITSS:
        record = <void *>&_its
    return <u32>(<char *>member - <char *>record)


cdef int saved_add(str name, u32 home, void *member, u32 size, u64 mask, u32 shift, u32 has, u32 word) except -1:
    """Add a part to a field; the parts of one field are added in order, and are of one size."""
    global num_parts
    cdef Part *part = &parts[num_parts]
    if num_parts == MAX_PARTS:
        raise RuntimeError("MAX_PARTS is too small for the saved fields")
    part.home = home
    part.offset = offset_in(home, member)
    part.size = size
    part.shift = shift
    part.mask = mask & (UINT64_MAX >> (64 - 8 * size))
    part.has = has
    part.word = word
    first, count, _, _ = _SAVED_FIELDS.get(name, (num_parts, 0, 0, 0))
    _SAVED_FIELDS[name] = (first, count + 1, size, home)
    num_parts += 1
    return 0


cdef int saved_part(str name, u32 home, void *member, u32 size, u64 mask=UINT64_MAX) except -1:
    return saved_add(name, home, member, size, mask, 0, HAS_ALL, 0)


cdef int saved_has(str name, u32 home, void *member, u32 size, u32 has, u32 word=0) except -1:
    return saved_add(name, home, member, size, UINT64_MAX, 0, has, word)


cdef int saved_private(str name, u32 *hot, u32 *cold0, u32 *cold1) except -1:
    """A word of SGIs and PPIs, and two of EPPIs."""
    saved_has(name, IN_PES, hot, 4, HAS_PRIVATE)
    saved_has(name, IN_COLD, cold0, 4, HAS_PRIVATE, 1)
    saved_has(name, IN_COLD, cold1, 4, HAS_PRIVATE, 2)
    return 0


cdef int saved_fields() except -1:
    """Name everything that is state and not derived from other state. A name, once released, keeps its meaning."""
    cdef u32 i
    saved_part("dist.ds", IN_GIC, &_gic.ds, 1, 1)
    saved_part("dist.enables", IN_GIC, &_gic.enables, 1, 7)
    saved_part("dist.e1nwf", IN_GIC, &_gic.e1nwf, 1, 1)
    saved_part("dist.statusr", IN_GIC, &_gic.statusr[0], 1, 15)
    saved_part("dist.statusr", IN_GIC, &_gic.statusr[1], 1, 15)
    saved_part("dist.rwp_left", IN_GIC, &_gic.rwp_left, 4)
    saved_has("dist.nsacr", IN_NSACR, &_gic.nsacr[0], 4, HAS_NSACR)
    saved_has("spi.latch", IN_WORDS, &_word.latch, 4, HAS_SHARED)
    saved_has("spi.line", IN_WORDS, &_word.line, 4, HAS_SHARED)
    saved_has("spi.message", IN_WORDS, &_word.message, 4, HAS_SHARED)
    saved_has("spi.edge", IN_WORDS, &_word.edge, 4, HAS_SHARED)
    saved_has("spi.enable", IN_WORDS, &_word.enable, 4, HAS_SHARED)
    saved_has("spi.active", IN_WORDS, &_word.active, 4, HAS_SHARED)
    saved_has("spi.group", IN_WORDS, &_word.group, 4, HAS_SHARED)
    saved_has("spi.grpmod", IN_WORDS, &_word.grpmod, 4, HAS_SHARED)
    saved_has("spi.nmi", IN_WORDS, &_word.nmi, 4, HAS_SHARED)
    saved_has("spi.priority", IN_SPIS, &_spi.prio, 1, HAS_SPI_PRIORITY)
    saved_has("spi.irouter", IN_SPIS, &_spi.irouter, 8, HAS_IROUTER)
    saved_private("pe.latch", &_pe.w0.latch, &_cold.wx[0].latch, &_cold.wx[1].latch)
    saved_private("pe.line", &_pe.w0.line, &_cold.wx[0].line, &_cold.wx[1].line)
    saved_private("pe.edge", &_pe.w0.edge, &_cold.wx[0].edge, &_cold.wx[1].edge)
    saved_private("pe.active", &_pe.w0.active, &_cold.wx[0].active, &_cold.wx[1].active)
    saved_private("pe.group", &_pe.w0.group, &_cold.wx[0].group, &_cold.wx[1].group)
    saved_private("pe.grpmod", &_pe.w0.grpmod, &_cold.wx[0].grpmod, &_cold.wx[1].grpmod)
    for i in range(PRIVATE_WORDS):
        saved_has("pe.enable", IN_COLD, &_cold.enable[i], 4, HAS_PRIVATE, i)
    for i in range(PRIVATE_WORDS):
        saved_has("pe.nmi", IN_COLD, &_cold.nmi[i], 4, HAS_PRIVATE, i)
    for i in range(NUM_PRIVATE):
        saved_has("pe.priority", IN_PES, &_pe.prio[i], 1, HAS_PRIORITY, i)
    for i in range(NUM_PRIVATE, PRIVATE_SLOTS):
        saved_has("pe.priority", IN_COLD, &_cold.prio[i - NUM_PRIVATE], 1, HAS_PRIORITY, i)
    saved_part("pe.nsacr", IN_COLD, &_cold.nsacr, 4)
    saved_part("pe.dpg", IN_COLD, &_cold.dpg, 1, 7)
    saved_part("pe.waker", IN_COLD, &_cold.waker, 1, WAKER_SLEEP | WAKER_CHILDREN)
    saved_part("pe.statusr", IN_COLD, &_cold.statusr[0], 1, 15)
    saved_part("pe.statusr", IN_COLD, &_cold.statusr[1], 1, 15)
    saved_part("pe.rwp_left", IN_COLD, &_cold.rwp_left, 4)
    saved_part("pe.uwp_left", IN_COLD, &_cold.uwp_left, 4)
    saved_part("pe.waker_left", IN_COLD, &_cold.waker_left, 4)
    saved_part("pe.accessible", IN_PES, &_pe.flags, 1, PE_ACCESSIBLE)
    for i in range(NUM_GROUPS):
        saved_has("icc.ap", IN_PES, &_pe.ap0[i], 4, HAS_ACTIVE)
    for i in range(9):
        saved_has("icc.ap", IN_COLD, &_cold.ap_hi[i], 4, HAS_ACTIVE, 1 + i // 3)
    saved_add("icc.nmi_active", IN_PES, &_pe.flags, 1, 3, PE_NMI_SHIFT + G1S, HAS_ALL, 0)
    saved_has("icc.pmr", IN_PES, &_pe.pmr, 1, HAS_PRIORITY)
    saved_part("icc.igrpen", IN_PES, &_pe.igrpen, 1, 7)
    for i in range(NUM_GROUPS):
        saved_part("icc.bpr", IN_COLD, &_cold.bpr[i], 1, 7)
    saved_part("icc.cbpr", IN_COLD, &_cold.cbpr, 1, 3)
    saved_part("icc.eoimode", IN_PES, &_pe.eoimode, 1, 7)
    saved_part("icc.pmhe", IN_COLD, &_cold.pmhe, 1, 1)
    saved_part("context.el", IN_PES, &_pe.el, 1, 3)
    saved_part("context.secure", IN_PES, &_pe.secure, 1, 1)
    saved_part("context.scr_el3", IN_COLD, &_cold.scr_el3, 8)
    saved_part("context.hcr_el2", IN_COLD, &_cold.hcr_el2, 8)
    saved_part("context.ich_hcr_el2", IN_COLD, &_cold.ich_hcr_el2, 4)
    saved_part("context.nmi_enabled", IN_COLD, &_cold.sctlr_nmi, 1, 1)
    return 0


cdef int saved_lpi_fields() except -1:
    """The same of LPIs and ITSs; their lists are in lpi_saved.pxi."""
    saved_part("lpi.table", IN_LPI, &_gic.lpi_table, 8, PROPBASER_MASK)
    saved_part("lpi.propbaser", IN_REDISTS, &_redist.propbaser, 8, PROPBASER_MASK)
    saved_part("lpi.pendbaser", IN_REDISTS, &_redist.pendbaser, 8, PENDBASER_MASK)
    saved_part("lpi.enabled", IN_REDISTS, &_redist.enabled, 1, 1)
    saved_part("lpi.ptz", IN_REDISTS, &_redist.ptz, 1, 1)
    saved_part("lpi.load_at", IN_REDISTS, &_redist.load_at, 4)
    saved_part("lpi.flush_at", IN_REDISTS, &_redist.flush_at, 4)
    saved_part("lpi.refresh_at", IN_REDISTS, &_redist.refresh_at, 4)
    saved_part("lpi.refresh_end", IN_REDISTS, &_redist.refresh_end, 4)
    saved_part("its.cbaser", IN_ITSS, &_its.cbaser, 8, CBASER_MASK)
    saved_part("its.baser", IN_ITSS, &_its.baser[TABLE_DEVICE], 8, BASER_MASK)
    saved_part("its.baser", IN_ITSS, &_its.baser[TABLE_COLLECTION], 8, BASER_MASK)
    saved_part("its.cwriter", IN_ITSS, &_its.cwriter, 4, CWRITER_MASK)
    saved_part("its.creadr", IN_ITSS, &_its.creadr, 4)
    saved_part("its.umsir", IN_ITSS, &_its.umsir, 8)
    saved_part("its.quiescent_left", IN_ITSS, &_its.quiescent_left, 4)
    saved_part("its.enabled", IN_ITSS, &_its.enabled, 1, 1)
    saved_part("its.stalled", IN_ITSS, &_its.stalled, 1, 1)
    saved_part("its.umsi_irq", IN_ITSS, &_its.umsi_irq, 1, 1)
    saved_part("its.statusr", IN_ITSS, &_its.statusr, 1, ITS_STATUSR_MASK)
    saved_part("its.syndrome", IN_ITSS, &_its.syndrome, 1, 7)
    return 0


saved_fields()
saved_lpi_fields()
