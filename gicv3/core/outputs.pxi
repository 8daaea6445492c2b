# Output lines as Python sees them: a read-only view, and the changes that callbacks are told.

class Line(IntFlag):
    """Output lines of a PE, as bits of its byte in `Gic.lines`."""

    IRQ = LINE_IRQ
    FIQ = LINE_FIQ
    VIRQ = LINE_VIRQ
    VFIQ = LINE_VFIQ
    NMI = LINE_NMI
    VNMI = LINE_VNMI
    MAINT = LINE_MAINT
    WAKE = LINE_WAKE


cdef tuple _LINES = tuple(Line)


@cython.final
cdef class _LineBytes:
    """Read-only buffer over the lines byte of every PE record; keeps the GIC alive."""

    cdef Gic gic
    cdef Py_ssize_t[1] shape
    cdef Py_ssize_t[1] stride

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("the lines of a GIC are read-only")
        self.shape[0] = self.gic.s.num_pe
        self.stride[0] = sizeof(PeState)
        view.obj = self
        view.buf = &self.gic.s.pe[0].lines
        view.len = self.shape[0]
        view.itemsize = 1
        view.readonly = 1
        view.ndim = 1
        view.format = b"B"
        view.shape = self.shape
        view.strides = self.stride
        view.suboffsets = NULL
        view.internal = NULL


cdef struct Change:
    u32 pe
    u8 old
    u8 new


cdef list take_changes(Gic gic):
    """Empty the notify list: (PE, lines before, lines now) in order.

    Nothing of Python happens under the lock here or elsewhere: an allocation may collect garbage, and a finalizer may
    call this very GIC.
    """
    cdef u32 i, pe
    cdef u32 count = 0
    cdef Change *moved
    cdef GicState *s = gic.s
    cdef list result = []
    with gic.mutex:
        moved = <Change *>malloc(s.num_notify * sizeof(Change))
        if moved != NULL:
            count = s.num_notify
            for i in range(count):
                pe = s.notify[i]
                moved[i].pe = pe
                moved[i].old = gic.notified[pe]
                moved[i].new = s.pe[pe].lines
                s.pe[pe].marks &= <u8>~MARK_NOTIFY
                gic.notified[pe] = s.pe[pe].lines
            s.num_notify = 0
    if moved == NULL:
        raise MemoryError
    try:
        for i in range(count):
            result.append((moved[i].pe, moved[i].old, moved[i].new))
    finally:
        free(moved)
    return result


cdef list tell_lines(callback, tuple change, list errors):
    """Call back for each line of one PE that moved; what is raised is collected, so that nothing is left untold."""
    pe, old, new = change
    if callback is not None:
        for line in _LINES:
            bit = int(line)
            if (old ^ new) & bit:
                try:
                    callback(pe, line, new & bit != 0)
                except BaseException as error:
                    errors = [*(errors or ()), error]
    return errors
