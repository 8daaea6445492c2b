# Memory-mapped access: from an address to a frame, from an offset to a row, and the act.

cdef void access_bad(GicState *s, u32 frame, u32 index, u32 offset, bint secure, u32 status) noexcept nogil:
    """Count a bad access and record it in STATUSR where that is implemented."""
    cdef u32 pe = index if frame == FRAME_RD or frame == FRAME_SGI else <u32>NO_PE
    s.bad_access += 1
    if frame >= FRAME_GITS:
        its_status(s, frame, index, status)
    if s.strict_on:
        strict_log(s, STRICT_BAD_ACCESS, pe, INTID_NONE)
    if s.features & FEAT_STATUSR:
        if frame == FRAME_GICD:
            s.statusr[secure] |= <u8>status
        elif frame == FRAME_RD or frame == FRAME_SGI:
            s.cold[index].statusr[secure] |= <u8>status


cdef inline bint word_exists(GicState *s, u32 frame, u32 word) noexcept nogil:
    """Arrays end with the last implemented interrupt; word 0 of the Distributor exists and is RAZ/WI."""
    if frame == FRAME_GICD:
        return word == 0 or shared_valid(s, word) != 0
    return word < private_words(s)


cdef inline RegDecode *frame_decode(GicState *s, u32 frame, u32 offset, u32 size) noexcept nogil:
    """The row that answers an access, or NULL for a hole, a wrong size or a misaligned offset."""
    cdef RegDecode *row
    # a halfword is bits [15:0] of its register, never the upper half: so it is aligned as a word
    if offset >= DIST_FRAME_SIZE or size - 1 >= 8 or size & (size - 1) or offset & (size - 1 | size & 2):
        return NULL
    row = &reg_rows[reg_index[frame][offset >> 2]]
    # sizes is the sum of the sizes allowed, so the size itself is the bit to test
    if row.kind == REG_NONE or not row.sizes & size or row.needs & ~s.features:
        return NULL
    if row.slots and not word_exists(s, frame, (row.base + ((offset - row.offset) >> row.shift)) * row.slots >> 5):
        return NULL
    return row


cdef inline bint frame_has(GicState *s, u32 frame, u32 index) noexcept nogil:
    """A frame of this kind and number may be accessed: `index` is a PE, which GICD and GICM ignore, or an ITS."""
    return frame < NUM_FRAMES and index < (s.num_its if frame >= FRAME_GITS else s.num_pe)


cdef u64 frame_read(GicState *s, u32 frame, u32 index, u32 offset, u32 size, bint secure) noexcept nogil:
    """Read a register of a frame; `index` names its PE or ITS: see frame_has(). Bad accesses read 0."""
    cdef RegDecode *row = frame_decode(s, frame, offset, size)
    cdef u64 value
    cdef u32 element
    if unlikely(s.strict_on):
        strict_access(s, <u8>frame, offset, secure != 0, False, 0)
    secure = 1 if secure or s.ds else 0      # callers from C may pass any truth
    if row == NULL or not row.access & READABLE:
        access_bad(s, frame, index, offset, secure, STATUSR_RRD if row == NULL else STATUSR_RWOD)
        return 0
    element = row.base + ((offset - row.offset) >> row.shift)
    if frame == FRAME_GICD:
        value = gicd_read(s, row.kind, element, secure)
    elif frame == FRAME_GICM:
        value = gicm_read(s, row.kind, element)
    elif frame == FRAME_GITS:
        value = gits_read(s, index, row.kind, element)
    else:
        value = gicr_read(s, index, row.kind, element, secure)
    if size == 8 or (size == 4 and row.shift == 2):
        return value
    value >>= 8 * (offset & ((1 << row.shift) - 1))      # a byte of a word, or half of a 64-bit register
    return value & (0xFF if size == 1 else 0xFFFF if size == 2 else 0xFFFFFFFFU)


cdef void frame_write(GicState *s, u32 frame, u32 index, u32 offset, u64 value, u32 size, bint secure) noexcept nogil:
    """Write a register of a frame; bad accesses are ignored and counted."""
    cdef RegDecode *row = frame_decode(s, frame, offset, size)
    cdef u64 lanes = 0xFFFFFFFFFFFFFFFFULL
    cdef u32 element, place
    if unlikely(s.strict_on):
        strict_access(s, <u8>frame, offset, secure != 0, True, value)
    secure = 1 if secure or s.ds else 0      # callers from C may pass any truth
    if row == NULL or not row.access & WRITABLE:
        access_bad(s, frame, index, offset, secure, STATUSR_WRD if row == NULL else STATUSR_WROD)
        return
    element = row.base + ((offset - row.offset) >> row.shift)
    if size < (1 << row.shift):
        place = 8 * (offset & ((1 << row.shift) - 1))
        lanes = (((<u64>1 << (8 * size)) - 1)) << place
        value <<= place
    lanes &= row.write_mask
    value &= lanes
    if frame == FRAME_GICD or frame == FRAME_GICM:
        gicd_write(s, row.kind, element, value, lanes, secure)
    elif frame >= FRAME_GITS:
        gits_write(s, index, row.kind, element, value, lanes)
    else:
        gicr_write(s, index, row.kind, element, value, lanes, secure)


cdef bint mmio_decode(GicState *s, u64 address, u32 *frame, u32 *index, u32 *offset) noexcept nogil:
    """Find the frame, PE and offset of a physical address; False outside the GIC."""
    cdef u64 distance = address - s.dist_base
    cdef u32 i
    if distance < DIST_FRAME_SIZE:
        frame[0] = FRAME_GICD
        index[0] = 0
        offset[0] = <u32>distance
        return True
    if s.features & FEAT_MESSAGE_FRAME and address - s.message_base < DIST_FRAME_SIZE:
        frame[0] = FRAME_GICM
        index[0] = 0
        offset[0] = <u32>(address - s.message_base)
        return True
    index[0] = redist_at(s, address, &distance)
    if index[0] != NO_PE:
        frame[0] = FRAME_SGI if distance & DIST_FRAME_SIZE else FRAME_RD
        offset[0] = <u32>(distance & (DIST_FRAME_SIZE - 1))
        return True
    for i in range(s.num_its):
        distance = address - s.its[i].base
        if distance < ITS_FRAMES_SIZE:
            frame[0] = FRAME_GITS_TRANS if distance & DIST_FRAME_SIZE else FRAME_GITS
            index[0] = i
            offset[0] = <u32>(distance & (DIST_FRAME_SIZE - 1))
            return True
    return False
