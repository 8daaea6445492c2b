# Queues of waiting SPIs: (PE, group) -> level -> lowest INTID, every step O(1).

cdef inline u64 order_key(GicState *s, u32 prio, u32 maskable, u32 intid) noexcept nogil:
    """Smaller is served first: priority, then NMI before others, then the lowest INTID (or the highest: tie_flip)."""
    return (<u64>(2 * prio + maskable) << 32) | (intid ^ s.tie_flip)


cdef inline u32 queue_level(GicState *s, u32 prio, bint nmi) noexcept nogil:
    """Order of service inside a group: by priority; an NMI goes before an equal priority."""
    return 2 * (prio >> s.level_shift) + (0 if nmi else 1)


cdef u32 queue_take(GicState *s) noexcept nogil:
    """A queue from the pool, which holds one for each SPI and cannot run out."""
    cdef u32 qi = s.queue_free
    s.queue_free = s.queue[qi].next_free if s.queue[qi].next_free else <u16>(qi + 1)
    return qi


cdef SpiBucket *bucket_take(GicState *s, SpiQueue *q, u32 level) noexcept nogil:
    """A bucket from the pool, likewise, for a level that had none."""
    cdef u32 bi = s.bucket_free
    s.bucket_free = s.bucket[bi].next_free if s.bucket[bi].next_free else <u16>(bi + 1)
    q.bucket[level] = <u16>bi
    q.levels[level >> 6] |= <u64>1 << (level & 63)
    return &s.bucket[bi]


cdef void bucket_give(GicState *s, PeState *p, u32 group, u32 level) noexcept nogil:
    """An empty bucket goes back to the pool, and the queue with its last one."""
    cdef u32 qi = p.spi_q[group]
    cdef SpiQueue *q = &s.queue[qi]
    cdef u32 bi = q.bucket[level]
    cdef u64 any_level = 0
    cdef u32 i
    s.bucket[bi].next_free = s.bucket_free
    s.bucket_free = <u16>bi
    q.levels[level >> 6] &= ~(<u64>1 << (level & 63))
    for i in range(s.level_words):
        any_level |= q.levels[i]
    if any_level == 0:
        q.next_free = s.queue_free
        s.queue_free = <u16>qi
        p.spi_q[group] = 0


cdef inline void queue_put(GicState *s, SpiQueue *q, u32 slot, u32 level) noexcept nogil:
    cdef SpiBucket *b
    if q.levels[level >> 6] >> (level & 63) & 1:
        b = &s.bucket[q.bucket[level]]
    else:
        b = bucket_take(s, q, level)
    b.slots[slot >> 6] |= <u64>1 << (slot & 63)
    b.summary |= <u64>1 << (slot >> 6)


cdef void queue_join(GicState *s, PeState *p, u32 slot, u32 group, u32 level) noexcept nogil:
    """An SPI meets others, or another, that wait."""
    cdef u32 alone = p.spi_q[group]
    if alone & SPI_ALONE:
        p.spi_q[group] = <u16>queue_take(s)
        alone &= ~SPI_ALONE
        queue_put(s, &s.queue[p.spi_q[group]], alone, s.spi[alone].queued_level)
    queue_put(s, &s.queue[p.spi_q[group]], slot, level)


cdef void queue_leave(GicState *s, PeState *p, u32 slot, u32 group, u32 level) noexcept nogil:
    cdef SpiBucket *b = &s.bucket[s.queue[p.spi_q[group]].bucket[level]]
    b.slots[slot >> 6] &= ~(<u64>1 << (slot & 63))
    if b.slots[slot >> 6]:
        return
    b.summary &= ~(<u64>1 << (slot >> 6))
    if b.summary == 0:
        bucket_give(s, p, group, level)


cdef inline void spi_enqueue(GicState *s, u32 slot, u32 pe, PeState *p, u32 group, u32 level) noexcept nogil:
    cdef Shared *spi = &s.spi[slot]
    if likely(p.spi_q[group] == 0):      # most SPIs never meet another one: a queue would cost more than all the rest
        p.spi_q[group] = <u16>(SPI_ALONE | slot)
    else:
        queue_join(s, p, slot, group, level)
    spi.queued_pe = pe
    spi.queued_group = <u8>group
    spi.queued_level = <u16>level


cdef inline void spi_dequeue(GicState *s, u32 slot, PeState *p, u32 group) noexcept nogil:
    """`p` and `group` are those of its queue."""
    cdef Shared *spi = &s.spi[slot]
    if likely(p.spi_q[group] & SPI_ALONE):
        p.spi_q[group] = 0
    else:
        queue_leave(s, p, slot, group, spi.queued_level)
    spi.queued_pe = NO_PE
    spi.queued_level = 0
    spi.queued_group = 0
    spi.chosen = 0


cdef inline u64 level_key(GicState *s, u32 level, u32 slot) noexcept nogil:
    """Order of service of an SPI among all interrupts, from its level in the queue."""
    return order_key(s, (level >> 1) << s.level_shift, level & 1, shared_intid(slot))


cdef inline u64 queue_best(GicState *s, u32 qi) noexcept nogil:
    """Key of the best of the SPIs that wait, `qi` being a PeState.spi_q that is not 0: see private_key()."""
    cdef SpiQueue *q
    cdef u32 i = 0
    cdef u32 level, word, slot
    cdef SpiBucket *b
    if qi & SPI_ALONE:
        slot = qi & ~SPI_ALONE
        return level_key(s, s.spi[slot].queued_level, slot)
    q = &s.queue[qi]
    while q.levels[i] == 0:
        i += 1
    level = i * 64 + gic_ctz64(q.levels[i])
    b = &s.bucket[q.bucket[level]]
    if s.tie_flip:
        word = gic_top64(b.summary)
        slot = word * 64 + gic_top64(b.slots[word])
    else:
        word = gic_ctz64(b.summary)
        slot = word * 64 + gic_ctz64(b.slots[word])
    return level_key(s, level, slot)
