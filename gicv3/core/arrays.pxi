# What Python may look at without a copy: read-only memory of the state, and where its fields are.

@cython.final
cdef class _Memory:
    """Read-only bytes of records of a GIC: (records, size), or (records,) of one byte each.

    It keeps the state, not the GIC: NumPy's arrays are not seen by the garbage collector, so a GIC whose `on_line` has
    one would never be collected.
    """

    cdef GicState *s
    cdef void *first
    cdef Py_ssize_t[2] shape
    cdef Py_ssize_t[2] stride

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("the state of a GIC is read-only")
        if flags & (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) != PyBUF_STRIDES:
            raise BufferError("records of a GIC are only given to who takes them with their strides")
        view.obj = self
        view.buf = self.first
        view.len = self.shape[0] * self.shape[1]
        view.itemsize = 1
        view.readonly = 1
        view.ndim = 1 if self.shape[1] == 1 else 2
        view.format = b"B"
        view.shape = self.shape
        view.strides = self.stride
        view.suboffsets = NULL
        view.internal = NULL

    def __dealloc__(self):
        if self.s != NULL:
            state_release(self.s)


cdef memory_array(GicState *s, void *first, Py_ssize_t records, Py_ssize_t size, Py_ssize_t stride):
    cdef _Memory memory = _Memory.__new__(_Memory)
    state_hold(s)
    memory.s = s
    memory.first = first
    memory.shape = [records, size]
    memory.stride = [stride, 1]
    return numpy.asarray(memory)


def record_bytes(Gic gic not None, str name):
    """The records of a name in RECORD_FIELDS, as bytes: (records, size of one)."""
    cdef GicState *s = gic.s
    if name == "pe":
        return memory_array(s, s.pe, s.num_pe, sizeof(PeState), sizeof(PeState))
    if name == "redist":
        return memory_array(s, s.cold, s.num_pe, sizeof(PeCold), sizeof(PeCold))
    if name == "counters":
        return memory_array(s, s.stats, s.num_pe, sizeof(PeStats), sizeof(PeStats))
    if name == "spi_words":
        return memory_array(s, &s.shared[0], SHARED_WORDS, sizeof(SharedWord), sizeof(SharedWord))
    if name == "spis":
        return memory_array(s, s.spi, SHARED_SLOTS, sizeof(Shared), sizeof(Shared))
    raise ValueError(f"there are no records called {name!r}")


cdef dict record_fields():
    """Where the fields are: {records: {field: (offset, NumPy type)}}."""
    cdef PeState p
    cdef PeCold c
    cdef PeStats t
    cdef SharedWord w
    cdef Shared i
    starts = {"pe": <size_t>&p, "redist": <size_t>&c, "counters": <size_t>&t, "spi_words": <size_t>&w,
              "spis": <size_t>&i}
    places = {
        "pe": {
            "latch": (<size_t>&p.w0.latch, "u4"), "line": (<size_t>&p.w0.line, "u4"),
            "edge": (<size_t>&p.w0.edge, "u4"), "active": (<size_t>&p.w0.active, "u4"),
            "group": (<size_t>&p.w0.group, "u4"), "grpmod": (<size_t>&p.w0.grpmod, "u4"),
            "priority": (<size_t>&p.prio[0], "32u1"), "hpp": (<size_t>&p.hpp, "u4"),
            "hpp_priority": (<size_t>&p.hpp_prio, "u1"), "hpp_group": (<size_t>&p.hpp_group, "u1"),
            "lines": (<size_t>&p.lines, "u1"), "pmr": (<size_t>&p.pmr, "u1"),
            "running": (<size_t>&p.running, "u1"), "flags": (<size_t>&p.flags, "u1"),
            "igrpen": (<size_t>&p.igrpen, "u1"), "el": (<size_t>&p.el, "u1"), "secure": (<size_t>&p.secure, "u1"),
            "raised": (<size_t>&p.raised[0], "3u4"), "acknowledged": (<size_t>&p.acked[0], "3u4"),
        },
        "redist": {
            "enable": (<size_t>&c.enable[0], "3u4"), "nmi": (<size_t>&c.nmi[0], "3u4"),
            "affinity": (<size_t>&c.affinity, "u4"), "bpr": (<size_t>&c.bpr[0], "3u1"),
            "waker": (<size_t>&c.waker, "u1"), "scr_el3": (<size_t>&c.scr_el3, "u8"),
            "hcr_el2": (<size_t>&c.hcr_el2, "u8"),
        },
        "counters": {
            "raised": (<size_t>&t.raised[0], "4u8"), "acknowledged": (<size_t>&t.acked[0], "4u8"),
            "preempted": (<size_t>&t.preempted[0], "4u8"), "dropped": (<size_t>&t.dropped[0], "4u8"),
            "spurious": (<size_t>&t.spurious, "u8"),
        },
        "spi_words": {
            "latch": (<size_t>&w.latch, "u4"), "line": (<size_t>&w.line, "u4"), "message": (<size_t>&w.message, "u4"),
            "edge": (<size_t>&w.edge, "u4"), "enable": (<size_t>&w.enable, "u4"), "active": (<size_t>&w.active, "u4"),
            "group": (<size_t>&w.group, "u4"), "grpmod": (<size_t>&w.grpmod, "u4"), "nmi": (<size_t>&w.nmi, "u4"),
        },
        "spis": {
            "irouter": (<size_t>&i.irouter, "u8"), "target": (<size_t>&i.target, "u4"),
            "priority": (<size_t>&i.prio, "u1"),
        },
    }
    return {name: {field: (place - starts[name], kind) for field, (place, kind) in fields.items()}
            for name, fields in places.items()}


RECORD_FIELDS = record_fields()
RECORD_SIZES = {"pe": sizeof(PeState), "redist": sizeof(PeCold), "counters": sizeof(PeStats),
                "spi_words": sizeof(SharedWord), "spis": sizeof(Shared)}


def counter_bytes(Gic gic not None):
    """A copy of the records "counters" of one moment, with what PeState counts added."""
    cdef GicState *s = gic.s
    cdef u32 pe, i
    cdef bytearray table = bytearray(s.num_pe * sizeof(PeStats))
    cdef PeStats *copy = <PeStats *><char *>table
    with nogil, gic.mutex:
        memcpy(copy, s.stats, s.num_pe * sizeof(PeStats))
        for pe in range(s.num_pe):
            for i in range(STAT_LPI):
                copy[pe].raised[i] += s.pe[pe].raised[i]
                copy[pe].acked[i] += s.pe[pe].acked[i]
    return table


cdef void latency_switch(GicState *s, Latency *latency) noexcept nogil:
    """Measure latencies from now on, or no longer (NULL). The general path measures, so no PE is plain meanwhile."""
    cdef u32 pe
    s.latency = latency
    plain_configure(s)
    for pe in range(s.num_pe):
        pe_plain(s, &s.pe[pe])


def latency_start(Gic gic not None):
    """Start measuring latencies with empty bins, at time 0."""
    cdef Latency *fresh = <Latency *>calloc(1, sizeof(Latency))
    if fresh == NULL:
        raise MemoryError
    fresh.private_since = <u64 *>calloc(<size_t>gic.s.num_pe * PRIVATE_SLOTS, sizeof(u64))
    fresh.shared_since = <u64 *>calloc(SHARED_SLOTS, sizeof(u64))
    if gic.s.lpi != NULL:
        fresh.lpi = <LpiRaise *>calloc(<size_t>1 << gic.s.id_bits, sizeof(LpiRaise))
    if fresh.private_since == NULL or fresh.shared_since == NULL or (gic.s.lpi != NULL and fresh.lpi == NULL):
        latency_free(fresh)
        raise MemoryError
    latency_replace(gic, fresh)


def latency_stop(Gic gic not None):
    """Measure no longer; the bins are gone."""
    latency_replace(gic, NULL)


cdef void latency_replace(Gic gic, Latency *latency) noexcept:
    cdef Latency *before
    with gic.mutex:
        before = gic.s.latency
        latency_switch(gic.s, latency)
    latency_free(before)


def latency_time(Gic gic not None):
    """The time that raises and acknowledges happen at; None while nothing is measured."""
    cdef u64 now = 0
    cdef bint measured
    with gic.mutex:
        measured = gic.s.latency != NULL
        if measured:
            now = gic.s.latency.now
    return now if measured else None


def latency_set_time(Gic gic not None, now):
    """Set that time, and return it; None while nothing is measured."""
    cdef u64 value = arg_unsigned(now, UINT64_MAX - 1, "now")
    cdef bint measured
    with gic.mutex:
        measured = gic.s.latency != NULL
        if measured:
            gic.s.latency.now = value
    return value if measured else None


def latency_bins(Gic gic not None):
    """A copy of the bins: (classes, bins), or None while nothing is measured."""
    cdef u64[STAT_KINDS * LATENCY_BINS] copy
    cdef bint measured
    with gic.mutex:
        measured = gic.s.latency != NULL
        if measured:
            memcpy(&copy[0], &gic.s.latency.bins[0][0], sizeof(copy))
    if not measured:
        return None
    return numpy.array([copy[i] for i in range(STAT_KINDS * LATENCY_BINS)], numpy.uint64).reshape(STAT_KINDS, -1)
