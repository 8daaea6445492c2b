# What callbacks raise while all the others still run: raised when they have.

cdef enum:
    ERRORS_KEPT = 16             # of one drain; the rest is counted


@cython.final
cdef class _Raised:
    """What callbacks raised in one drain: the first few, and how many more there were."""

    cdef list kept
    cdef u64 left_out
    cdef bint fatal              # something was no Exception

    def __cinit__(self):
        self.kept = []


cdef _Raised raised_add(_Raised raised, error):
    """Note what a callback raised; the first that is no Exception is kept though there be no room."""
    cdef bint fatal = not isinstance(error, Exception)
    if raised is None:
        raised = _Raised()
    if len(raised.kept) < ERRORS_KEPT or (fatal and not raised.fatal):
        raised.kept.append(error)
    else:
        raised.left_out += 1
    raised.fatal |= fatal
    return raised


cdef int raised_out(_Raised raised) except -1:
    """Raise what callbacks raised, if anything."""
    if raised is None:
        return 0
    if len(raised.kept) == 1:
        raise raised.kept[0]
    more = f", {raised.left_out} more left out" if raised.left_out else ""
    raise BaseExceptionGroup(f"callbacks failed{more}", raised.kept)
