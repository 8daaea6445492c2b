# Translations that were made, so that a repeated MSI reads no table: one place for each hash of ITS, device and event.
# Every command that changes a mapping drops what it made stale, and nothing else.

cdef inline ItsEntry *cache_place(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    """Consecutive events have consecutive places; devices and ITSs start apart."""
    return &s.its_cache[((device * 0x9E3779B1U >> 7) + its * 0x2F0B + event) & (CACHE_PLACES - 1)]


cdef inline ItsEntry *cache_find(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    cdef ItsEntry *entry = cache_place(s, its, device, event)
    if entry.event == event and entry.device == device and entry.its == its + 1:
        return entry
    return NULL


cdef inline void cache_drop(GicState *s, ItsEntry *entry) noexcept nogil:
    if entry.its:
        s.its[entry.its - 1].cached -= 1
        memset(entry, 0, sizeof(ItsEntry))


cdef void cache_put(GicState *s, u32 its, u32 device, u32 event, ItsRoute *route) noexcept nogil:
    cdef ItsEntry *entry = cache_place(s, its, device, event)
    cache_drop(s, entry)
    entry.device = device
    entry.event = event
    entry.intid = route.intid
    entry.pe = route.pe
    entry.icid = <u16>route.icid
    entry.its = <u8>(its + 1)
    s.its[its].cached += 1


cdef void cache_drop_event(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    cdef ItsEntry *entry = cache_find(s, its, device, event)
    if entry != NULL:
        cache_drop(s, entry)


cdef void cache_drop_device(GicState *s, u32 its, u32 device) noexcept nogil:
    cdef u32 i
    if s.its[its].cached == 0:
        return
    for i in range(CACHE_PLACES):
        if s.its_cache[i].its == its + 1 and s.its_cache[i].device == device:
            cache_drop(s, &s.its_cache[i])


cdef void cache_drop_collection(GicState *s, u32 its, u32 icid) noexcept nogil:
    cdef u32 i
    if s.its[its].cached == 0:
        return
    for i in range(CACHE_PLACES):
        if s.its_cache[i].its == its + 1 and s.its_cache[i].icid == icid:
            cache_drop(s, &s.its_cache[i])


cdef void cache_drop_all(GicState *s, u32 its) noexcept nogil:
    cdef u32 i
    if s.its[its].cached == 0:
        return
    for i in range(CACHE_PLACES):
        if s.its_cache[i].its == its + 1:
            cache_drop(s, &s.its_cache[i])
