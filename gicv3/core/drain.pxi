# Telling callbacks which lines moved: taken from the notify list under the lock, told after it is released. Polling.

from cpython.exc cimport PyErr_SetObject, PyErr_WriteUnraisable

cdef tuple _LINES = tuple(Line)

cdef enum:
    FEW_CHANGES = 16

cdef struct Change:
    u32 pe
    u8 old
    u8 new

cdef struct Changes:             # in order; `few` holds them unless they are many
    u32 count
    Change *moved
    lines_callback callback      # as it was when they were taken
    void *opaque
    Change[FEW_CHANGES] few


cdef void notify_from_now(Gic gic) noexcept nogil:
    """The callbacks were set anew: changes count from now on. Under the lock."""
    cdef u32 pe
    cdef u8 marks = gic.s.marks_wanted & MARK_TRACE | MARK_POLL
    if gic._on_line is not None or gic.lines_callback != NULL:
        marks |= MARK_NOTIFY
    marks_configure(gic.s, marks)
    for pe in range(gic.s.num_pe):
        gic.notified[pe] = gic.s.pe[pe].lines


cdef bint drain_begin(Gic gic) noexcept nogil:
    """True when there is something to tell and nobody tells it: the caller does, until drain_take() finds nothing."""
    cdef bint mine
    with gic.mutex:
        mine = gic.s.num_notify and not gic.draining
        if mine:
            gic.draining = True
    return mine


cdef bint drain_take(Gic gic, Changes *changes) noexcept nogil:
    """Empty the notify list; False, and the drain has ended, when there is nothing left (or no memory to hold it)."""
    cdef u32 i, pe
    cdef GicState *s = gic.s
    cdef Change *moved = &changes.few[0]
    changes.moved = moved
    with gic.mutex:
        if s.num_notify > FEW_CHANGES:
            moved = <Change *>malloc(s.num_notify * sizeof(Change))
        changes.count = s.num_notify if moved != NULL else 0
        changes.moved = moved
        changes.callback = gic.lines_callback
        changes.opaque = gic.lines_opaque
        for i in range(changes.count):
            pe = s.notify[i]
            moved[i].pe = pe
            moved[i].old = gic.notified[pe]
            moved[i].new = s.pe[pe].lines
            s.pe[pe].marks &= <u8>~MARK_NOTIFY
            gic.notified[pe] = s.pe[pe].lines
        if changes.count:
            s.num_notify = 0
        else:                    # under the lock: who adds to the list after this finds that nobody drains
            gic.draining = False
    return changes.count != 0


cdef inline void drain_tell(Gic gic, Changes *changes, u32 i) noexcept nogil:
    """The C callback for one change; a PE whose lines came back to what was told is skipped.

    A callback that was taken away meanwhile is told no more; its successor starts with what changes from then on.
    """
    if changes.callback == NULL or changes.moved[i].old == changes.moved[i].new:
        return
    if changes.callback == gic.lines_callback and changes.opaque == gic.lines_opaque:
        changes.callback(changes.opaque, changes.moved[i].pe, changes.moved[i].new)


cdef inline void drain_free(Changes *changes) noexcept nogil:
    if changes.moved != &changes.few[0]:
        free(changes.moved)


cdef list take_changes(Gic gic):
    """Run the C callback for all that changed, and return it for Python's: (PE, lines before, lines now).

    Nothing of Python happens under the lock here or elsewhere: an allocation may collect garbage, and a finalizer may
    call this very GIC.
    """
    cdef Changes changes
    cdef u32 i
    cdef list result = []
    if not drain_take(gic, &changes):
        return result
    try:
        for i in range(changes.count):
            drain_tell(gic, &changes, i)
            result.append((changes.moved[i].pe, changes.moved[i].old, changes.moved[i].new))
    except BaseException:
        gic.draining = False
        raise
    finally:
        drain_free(&changes)
    return result


cdef _Raised tell_lines(Gic gic, tuple change, _Raised raised):
    """Call `on_line` for each line of one PE that moved; what is raised is collected, so that all the rest is told."""
    callback = gic._on_line
    pe, old, new = change
    if callback is not None:
        for line in _LINES:
            bit = int(line)
            if (old ^ new) & bit:
                try:
                    callback(pe, line, new & bit != 0)
                except BaseException as error:
                    raised = raised_add(raised, error)
    return raised


cdef int drain_lines(Gic gic, _Raised raised) except -1:
    """Tell what changed, then raise what callbacks raised, in `raised` before."""
    if gic.s.num_notify and drain_begin(gic):
        while (changes := take_changes(gic)):
            for change in changes:
                raised = tell_lines(gic, change, raised)
            if raised is not None and raised.fatal:
                gic.draining = False
                break
    return raised_out(raised)


cdef int drain_or_report(Gic gic) except -1:
    try:
        gic.drain()
    except BaseException as error:
        PyErr_SetObject(type(error), error)
        PyErr_WriteUnraisable(gic)
    return 0


cdef void drain_with_gil(Gic gic) noexcept with gil:
    """Drain for C code that has `on_line` to run: it cannot be raised to, so sys.unraisablehook gets the exception."""
    try:
        drain_or_report(gic)
    except:  # noqa: E722 - no memory even to report it
        pass


cdef void drain_nogil(Gic gic) noexcept nogil:
    """`Gic.c_drain`: without the GIL unless there is Python to run."""
    cdef Changes changes
    cdef u32 i
    if gic.s.num_notify == 0 and not gic_has_work(gic.s):
        return
    if gic._on_line is not None or gic_has_work(gic.s):
        drain_with_gil(gic)
        return
    if not drain_begin(gic):
        return
    while drain_take(gic, &changes):
        for i in range(changes.count):
            drain_tell(gic, &changes, i)
        drain_free(&changes)


cdef u32 changed_take(GicState *s, u32 *pes, u32 room) noexcept nogil:
    """`Gic.c_changed`: move PEs from the poll list, the first that changed first."""
    cdef u32 count = min(room, s.num_poll)
    cdef u32 i
    for i in range(count):
        pes[i] = s.poll[i]
        s.pe[pes[i]].marks &= <u8>~MARK_POLL
    s.num_poll -= count
    memmove(s.poll, s.poll + count, s.num_poll * sizeof(u32))
    return count


cdef list changed_list(Gic gic):
    """`Gic.changed`."""
    cdef u32 count, i
    cdef u32 *polled = <u32 *>malloc(gic.s.num_pe * sizeof(u32))
    if polled == NULL:
        raise MemoryError
    with gic.mutex:
        count = changed_take(gic.s, polled, gic.s.num_pe)
    try:
        return [polled[i] for i in range(count)]
    finally:
        free(polled)
