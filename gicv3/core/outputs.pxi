# Output lines as Python sees them.

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
