# Work that does not end with the access that started it: it goes on with every later call, a portion at a time.

cdef inline bint gic_has_work(GicState *s) noexcept nogil:
    return not s.resting and (s.num_lpi_jobs | s.its_busy | s.num_its_waiting | s.num_dirty | s.want | s.staged) != 0


cdef void gic_work(GicState *s) noexcept nogil:
    """One portion of all there is to do."""
    cdef int32_t budget = WORK_BUDGET
    lpi_work(s, &budget)
    its_work(s, &budget)
