# Batches: many inputs or accesses in one call, in order, each with the effect that a single call would have.
# A few elements at a time are read from the caller's arrays, once, and each is checked before it acts; the first bad
# one ends the batch.

cdef enum:
    # What a batch does with each element; the columns that it reads
    BATCH_LINES = 0              # intid, pe, level
    BATCH_PULSES                 # intid, pe
    BATCH_ACCESSES               # pe, register, value, write
    BATCH_TAKE                   # pe
    BATCH_CYCLES                 # intid, pe
    BATCH_COLUMNS = 4
    BATCH_RESULTS = 2
    CHUNK = 64                   # elements read at a time
    CACHED_PES = 256             # so few are in the cache anyway

cdef struct Column:              # element i is an integer of `width` bytes at data + i * stride
    char *data
    Py_ssize_t stride
    u32 width
    bint is_signed
    bint swapped                 # not in the host's byte order

cdef struct Batch:
    u32 kind
    bint group1                  # take and end by IAR1 and EOIR1, else by IAR0 and EOIR0
    bint signed_values           # the values to write may be negative, which is wrong
    void *results[2]
    u64 chunk[4][64]    # negative numbers in two's complement: above every limit but UINT64_MAX
    const char *wrong            # what the bad element lacks, or NULL
    u32 wrong_column
    void *gic                    # the Gic
    void *raised                 # _Raised, what callbacks of memory raised
    bint working                 # LPIs or ITSs have work under way, which goes on after each call: see call_done()

cdef const char *LIMIT_PE = "pe must be in 0..{last_pe}"
cdef const char *LIMIT_INTID = "intid must be an implemented PPI ({ppis}) or SPI ({spis})"
cdef const char *LIMIT_REGISTER = "a register encoding must be in 0..0xffff"
cdef const char *LIMIT_VALUE = "value must be in 0..0xffffffffffffffff"
cdef u32 ENC_IAR0 = SysReg.ICC_IAR0_EL1
cdef u32 ENC_EOIR0 = SysReg.ICC_EOIR0_EL1


cdef void column_load(Column *c, Py_ssize_t start, u32 count, u64 *values) noexcept nogil:
    """Read `count` elements from `start` on, whatever their width, sign and byte order."""
    cdef const char *place = c.data + start * c.stride
    cdef Py_ssize_t stride = c.stride    # in registers, so that the width is tested once and not for each element
    cdef u32 width = c.width
    cdef Py_ssize_t i
    cdef u8 wide8
    cdef u16 wide16
    cdef u32 wide32
    cdef u64 sign = <u64>1 << (8 * width - 1)
    for i in range(<Py_ssize_t>count):   # memcpy: a field of a packed record need not be aligned
        if width == 4 and stride == 4:   # most arrays: a loop for the compiler to make vectors of
            memcpy(&wide32, place + 4 * i, 4)
            values[i] = wide32
        elif width == 4:
            memcpy(&wide32, place + i * stride, 4)
            values[i] = wide32
        elif width == 8:
            memcpy(&values[i], place + i * stride, 8)
        elif width == 1:
            memcpy(&wide8, place + i * stride, 1)
            values[i] = wide8
        else:
            memcpy(&wide16, place + i * stride, 2)
            values[i] = wide16
    if c.swapped:
        for i in range(<Py_ssize_t>count):
            values[i] = gic_bswap64(values[i]) >> (64 - 8 * width)
    if c.is_signed:
        for i in range(<Py_ssize_t>count):
            values[i] = (values[i] ^ sign) - sign


cdef int batch_serve(Gic gic, _Raised raised) except -1:
    """One portion of work, unless a call that serves it is under way."""
    if not gic.serving:
        try:
            work_serve(gic, raised)
        except BaseException as error:
            raised_add(raised, error)
    return 0


cdef void batch_work(Batch *b) noexcept with gil:
    try:
        batch_serve(<Gic>b.gic, <_Raised>b.raised)
    except:  # noqa: E722 - no memory even to note it
        pass


cdef inline void call_done(GicState *s, Batch *b) noexcept nogil:
    """Here a single call would end: work goes on, without the lock because it may run callbacks."""
    if unlikely(b.working) and gic_has_work(s):
        (<Gic>b.gic).mutex.release()
        batch_work(b)
        (<Gic>b.gic).mutex.acquire()


cdef bint element_wrong(Batch *b, u32 column, const char *limit) noexcept nogil:
    """Note what is wrong; False, for the caller to return."""
    b.wrong = limit
    b.wrong_column = column
    return False


cdef inline bint element_wire(GicState *s, Batch *b, u32 i, u32 *slot, u32 *pe) noexcept nogil:
    """The wire that columns 0 and 1 name: of a PPI (`pe` is its PE), or of an SPI (`pe` is NO_PE)."""
    cdef u64 intid = b.chunk[0][i]
    pe[0] = NO_PE
    if intid - NUM_SGI < 16:
        slot[0] = <u32>intid
    elif intid > UINT32_MAX:
        return element_wrong(b, 0, LIMIT_INTID)
    else:
        slot[0] = shared_slot(s, <u32>intid)
        if slot[0] != NO_SLOT:
            return True
        slot[0] = private_slot(s, <u32>intid)
        if slot[0] == NO_SLOT or intid < NUM_SGI:
            return element_wrong(b, 0, LIMIT_INTID)
    if b.chunk[1][i] >= s.num_pe:
        return element_wrong(b, 1, LIMIT_PE)
    pe[0] = <u32>b.chunk[1][i]
    return True


cdef inline void wire_set(GicState *s, u32 slot, u32 pe, bint level) noexcept nogil:
    if pe != NO_PE:
        pe_set_line(s, pe, &s.pe[pe], slot, level)
    else:
        spi_set_line(s, slot, level)


cdef inline u32 element_take(GicState *s, Batch *b, u32 pe) noexcept nogil:
    """ICC_IAR of the group; INTID_NONE where the access is not allowed."""
    cdef u64 value = INTID_NONE
    cdef u32 result
    if b.group1:
        result = sysreg_iar1(s, pe, &value)
    else:
        result = sysreg_access_any(s, pe, ENC_IAR0, &value, False)
    call_done(s, b)
    return <u32>value if result == ACCESS_VALUE else <u32>INTID_NONE


cdef inline void element_end(GicState *s, Batch *b, u32 pe, u32 intid) noexcept nogil:
    """ICC_EOIR of the group, of what was taken; a special INTID needs no end."""
    cdef u64 value = intid
    if intid - FIRST_SPECIAL < 4:
        return
    if b.group1:
        sysreg_eoir1(s, pe, value)
    else:
        sysreg_access_any(s, pe, ENC_EOIR0, &value, True)
    call_done(s, b)


cdef bint batch_line(GicState *s, Batch *b, u32 i) noexcept nogil:
    """set_ppi() or set_spi()."""
    cdef u32 slot, pe
    if not element_wire(s, b, i, &slot, &pe):
        return False
    wire_set(s, slot, pe, b.chunk[2][i] != 0)
    call_done(s, b)
    return True


cdef bint batch_pulse(GicState *s, Batch *b, u32 i) noexcept nogil:
    """pulse_ppi() or pulse_spi()."""
    cdef u32 slot, pe
    if not element_wire(s, b, i, &slot, &pe):
        return False
    wire_set(s, slot, pe, True)
    wire_set(s, slot, pe, False)
    call_done(s, b)
    return True


cdef bint batch_access(GicState *s, Batch *b, u32 i, u64 *value, u8 *code) noexcept nogil:
    """sysreg_read() or sysreg_write(): what a read gives, and ACCESS_*."""
    cdef bint write = b.chunk[3][i] != 0
    value[0] = b.chunk[2][i] if write else 0
    if b.chunk[0][i] >= s.num_pe:
        return element_wrong(b, 0, LIMIT_PE)
    if b.chunk[1][i] > 0xFFFF:
        return element_wrong(b, 1, LIMIT_REGISTER)
    if b.signed_values and value[0] >> 63:
        return element_wrong(b, 2, LIMIT_VALUE)
    code[0] = <u8>sysreg_access(s, <u32>b.chunk[0][i], <u32>b.chunk[1][i], value, write)
    if write or code[0] != ACCESS_VALUE:
        value[0] = 0
    call_done(s, b)
    return True


cdef bint batch_take(GicState *s, Batch *b, u32 i, u32 *taken) noexcept nogil:
    """Acknowledge and end."""
    cdef u32 pe = <u32>b.chunk[0][i]
    if b.chunk[0][i] >= s.num_pe:
        return element_wrong(b, 0, LIMIT_PE)
    taken[0] = element_take(s, b, pe)
    element_end(s, b, pe, taken[0])
    return True


cdef bint batch_cycle(GicState *s, Batch *b, u32 i, u32 *taken) noexcept nogil:
    """Raise, acknowledge, lower, end."""
    cdef u32 slot, owner
    cdef u32 pe = <u32>b.chunk[1][i]
    if not element_wire(s, b, i, &slot, &owner):
        return False
    if b.chunk[1][i] >= s.num_pe:
        return element_wrong(b, 1, LIMIT_PE)
    wire_set(s, slot, owner, True)
    call_done(s, b)
    taken[0] = element_take(s, b, pe)
    wire_set(s, slot, owner, False)
    call_done(s, b)
    element_end(s, b, pe, taken[0])
    return True


# The same on a plain PE, which it is from the first step to the last.

cdef void plain_end_any(GicState *s, u32 pe, u32 intid) noexcept nogil:
    cdef u64 value = intid
    if intid != INTID_NONE:
        sysreg_access_any(s, pe, ENC_EOIR1, &value, True)


cdef inline void plain_end(GicState *s, u32 pe, PeState *p, u32 intid) noexcept nogil:
    if unlikely(intid == INTID_NONE or not plain_eoir1(s, pe, p, intid)):
        plain_end_any(s, pe, intid)


cdef inline u32 plain_take(GicState *s, u32 pe, PeState *p) noexcept nogil:
    cdef u32 intid = p.hpp
    cdef u32 bit = <u32>1 << (intid & 31)
    cdef u32 left = (p.w0.latch & ~bit) | (p.w0.line & ~p.w0.edge)
    # Nothing is active, and a private interrupt is pending, no longer and nothing else afterwards: its active state and
    # priority would only come and go.
    if likely(pe_ready(s, p) and p.lines & LINE_IRQ and p.running == PRIO_IDLE and intid < NUM_PRIVATE
              and not left & p.w0.gate & ~p.w0.active and not pe_has_spi(p)):
        p.w0.latch &= ~bit
        stat_acked(s, p, intid >> 4)
        pe_choose_none(p)
        pe_show_marked(p, 0)
        return intid
    intid = plain_iar1(s, pe, p)
    plain_end(s, pe, p, intid)
    return intid


cdef inline u32 plain_cycle(GicState *s, u32 pe, PeState *p, u32 slot) noexcept nogil:
    cdef u32 intid
    if slot < NUM_PRIVATE:
        pe_set_line(s, pe, p, slot, True)
    else:
        spi_set_line(s, slot, True)
    intid = plain_iar1(s, pe, p)
    if slot < NUM_PRIVATE:
        pe_set_line(s, pe, p, slot, False)
    else:
        spi_set_line(s, slot, False)
    plain_end(s, pe, p, intid)
    return intid


cdef void batch_prefetch(GicState *s, u64 *pes, u32 count) noexcept nogil:
    """Ask for the records of the PEs of a chunk, so that the waits for memory overlap."""
    cdef u32 i
    if s.num_pe <= CACHED_PES:
        return
    for i in range(count):
        if pes[i] < s.num_pe:
            gic_prefetch(&s.pe[pes[i]])
            gic_prefetch(<char *>&s.pe[pes[i]] + 64)


# A loop for each kind: elements 0..count-1 of what was read, element 0 being number `start` of the batch; returns how
# many were done. They are called by address, because inlined into the caller they would share its registers.

ctypedef u32 (*BatchLoop)(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil


cdef u32 batch_lines(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    cdef u32 i
    for i in range(count):
        if not batch_line(s, b, i):
            return i
    return count


cdef u32 batch_pulses(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    cdef u32 i
    for i in range(count):
        if not batch_pulse(s, b, i):
            return i
    return count


cdef u32 batch_accesses(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    cdef u32 i
    cdef u64 *values = <u64 *>b.results[0] + start
    cdef u8 *codes = <u8 *>b.results[1] + start
    for i in range(count):
        if not batch_access(s, b, i, &values[i], &codes[i]):
            return i
    return count


cdef u32 batch_takes(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    cdef u32 i
    cdef u32 *taken = <u32 *>b.results[0] + start
    for i in range(count):
        if not batch_take(s, b, i, &taken[i]):
            return i
    return count


cdef u32 batch_takes1(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    """batch_takes() by IAR1 and EOIR1."""
    cdef u32 i
    cdef u64 pe
    cdef u32 *taken = <u32 *>b.results[0] + start
    for i in range(count):
        pe = b.chunk[0][i]
        if likely(pe < s.num_pe and s.pe[pe].flags & PE_PLAIN):
            taken[i] = plain_take(s, <u32>pe, &s.pe[pe])
        elif not batch_take(s, b, i, &taken[i]):
            return i
    return count


cdef u32 batch_cycles(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    cdef u32 i
    cdef u32 *taken = <u32 *>b.results[0] + start
    for i in range(count):
        if not batch_cycle(s, b, i, &taken[i]):
            return i
    return count


cdef u32 batch_cycles1(GicState *s, Batch *b, Py_ssize_t start, u32 count) noexcept nogil:
    """batch_cycles() by IAR1 and EOIR1."""
    cdef u32 i
    cdef u64 intid, pe
    cdef u32 *taken = <u32 *>b.results[0] + start
    for i in range(count):
        intid = b.chunk[0][i]
        pe = b.chunk[1][i]
        if likely((intid - NUM_SGI < 16 or intid - NUM_PRIVATE < s.num_spi)
                  and pe < s.num_pe and s.pe[pe].flags & PE_PLAIN):
            taken[i] = plain_cycle(s, <u32>pe, &s.pe[pe], <u32>intid)
        elif not batch_cycle(s, b, i, &taken[i]):
            return i
    return count


# By BATCH_*
cdef BatchLoop[5] BATCH_LOOPS = [batch_lines, batch_pulses, batch_accesses, batch_takes, batch_cycles]
cdef tuple _FORMS = ((3, 0), (2, 0), (4, 2), (1, 1), (2, 1))         # columns, results


cdef str wrong_text(Gic gic, Batch *b, u64 got, bint is_signed):
    cdef object value = got
    if is_signed and got >> 63:
        value -= 1 << 64
    ppis = "16..31" + (f" or 1056..{1055 + gic.s.num_eppi}" if gic.s.num_eppi else "")
    limit = b.wrong.decode().format(last_pe=gic.s.num_pe - 1, ppis=ppis, spis=spi_ranges(gic))
    return f"{limit}, got {value}"


cdef Py_ssize_t batch_length(u32 kind, tuple inputs, tuple results) except -1:
    """The number of elements, all columns and results being there and of one length."""
    lengths = {len(array) for array in inputs + results}
    if kind >= len(_FORMS) or (len(inputs), len(results)) != _FORMS[kind] or len(lengths) != 1:
        raise ValueError(f"no batch of kind {kind} has {len(inputs)} columns and {len(results)} results of the lengths "
                         f"{sorted(lengths)}")
    return lengths.pop()


cdef tuple batch_elements(Gic gic, u32 kind, u32 group, tuple inputs, tuple results, _Raised raised):
    """Do them: how many were done, and what is wrong with the next one or None."""
    cdef Py_buffer[BATCH_COLUMNS + BATCH_RESULTS] held
    cdef Column[BATCH_COLUMNS] column
    cdef Batch b
    cdef BatchLoop loop
    cdef u32 i, wanted
    cdef u32 pes = 0 if kind == BATCH_ACCESSES or kind == BATCH_TAKE else 1      # which column
    cdef u32 ready = 0
    cdef u32 buffers = 0
    cdef u32 columns = len(inputs)
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t count = batch_length(kind, inputs, results)
    b.kind = kind
    b.group1 = group == 1
    b.wrong = NULL
    b.gic = <void *>gic
    b.raised = <void *>raised
    loop = BATCH_LOOPS[kind]
    if b.group1 and kind == BATCH_TAKE:
        loop = batch_takes1
    elif b.group1 and kind == BATCH_CYCLES:
        loop = batch_cycles1
    try:
        for array in inputs:
            PyObject_GetBuffer(array, &held[buffers], PyBUF_STRIDED_RO)
            column[buffers].data = <char *>held[buffers].buf
            column[buffers].stride = held[buffers].strides[0]
            column[buffers].width = <u32>held[buffers].itemsize
            column[buffers].is_signed = array.dtype.kind == "i"
            column[buffers].swapped = not array.dtype.isnative
            buffers += 1
        b.signed_values = columns > 2 and column[2].is_signed
        for array in results:
            PyObject_GetBuffer(array, &held[buffers], PyBUF_CONTIG)
            b.results[buffers - columns] = held[buffers].buf
            buffers += 1
        with nogil, gic.mutex:
            while done < count:
                wanted = <u32>min(count - done, <Py_ssize_t>CHUNK)
                for i in range(columns):
                    column_load(&column[i], done, wanted, &b.chunk[i][0])
                batch_prefetch(gic.s, &b.chunk[pes][0], wanted)
                b.working = gic_has_work(gic.s)          # no element of a batch starts some
                if b.working:
                    ready = BATCH_LOOPS[kind](gic.s, &b, done, wanted)
                else:
                    ready = loop(gic.s, &b, done, wanted)
                done += ready
                if b.wrong != NULL:
                    break
    finally:
        for i in range(buffers):
            PyBuffer_Release(&held[i])
    if b.wrong == NULL:
        return done, None
    return done, wrong_text(gic, &b, b.chunk[b.wrong_column][ready], column[b.wrong_column].is_signed)


def run_batch(Gic gic not None, u32 kind, u32 group, tuple inputs, tuple results):
    """Run a batch for gicv3/batch.py and tell `on_line` of it; `Batch` says what is raised.

    `inputs` are the columns of `kind`: integer arrays of one dimension and one length. `results` are fresh arrays.
    Nothing of Python runs between the batch and its end but callbacks, so no signal gets between them.
    """
    cdef _Raised raised = _Raised()
    done, wrong = batch_elements(gic, kind, group, inputs, results, raised)
    error = None
    if wrong is not None:
        results = tuple([result[:done] for result in results])
        error = BatchError(f"element {done}: {wrong}", done, results)
    try:
        drain_lines(gic, raised if raised.kept else None)
        PyErr_CheckSignals()
    except BaseException as told:
        if error is not None:
            told = BaseExceptionGroup("a batch and on_line callbacks failed", [error, told])
        elif isinstance(told, BatchError) or hasattr(told, "batch_results"):     # of a batch that a callback ran
            told = BaseExceptionGroup("callbacks after a batch failed", [told])
        PyObject_GenericSetAttr(told, "batch_results", results)      # also of a class that forbids it
        raise told from None
    if error is not None:
        raise error
    return results


def register_encoding(reg):
    """The packed encoding of a register, by name, parts or number."""
    return arg_register(reg)
