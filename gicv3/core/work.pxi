# Work that does not end with the access that started it: it goes on with every later call, a portion at a time.

cdef inline bint work_under_way(GicState *s) noexcept nogil:
    """Of the kinds that a saved state has."""
    return (s.num_lpi_jobs | s.its_busy) != 0


cdef inline bint gic_has_work(GicState *s) noexcept nogil:
    """A later call goes on with something: not when it came upon memory that is awaited."""
    return not s.absent and (work_under_way(s) or (s.num_its_waiting | s.want | s.staged) != 0)


cdef void gic_work(GicState *s, int32_t *budget) noexcept nogil:
    """One portion of all there is to do."""
    lpi_work(s, budget)
    its_work(s, budget)


cdef u32 work_spans(GicState *s, MemSpan *spans) noexcept nogil:
    """The memory that work under way goes on in, as far as it is or was mapped."""
    cdef u32 i
    if not work_under_way(s):
        return 0
    if s.num_awaited:
        memcpy(spans, &s.awaited[0], s.num_awaited * sizeof(MemSpan))
        return s.num_awaited if spans[0].size else 0     # 0: it waits for any memory
    for i in range(s.num_mem):
        spans[i].base = s.mem[i].base
        spans[i].size = s.mem[i].size
    return s.num_mem


cdef void work_await(GicState *s, const MemSpan *spans, u32 count) noexcept nogil:
    """State was brought back: its work waits for the memory that it had."""
    memset(&s.awaited[0], 0, sizeof(s.awaited))
    memcpy(&s.awaited[0], spans, count * sizeof(MemSpan))
    s.num_awaited = max(count, 1) if work_under_way(s) else 0
    mem_await(s)


cdef void work_resume(GicState *s) noexcept nogil:
    """Nothing is awaited any more."""
    s.num_awaited = 0
    s.absent = 0
