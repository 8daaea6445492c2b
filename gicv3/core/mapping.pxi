# Guest memory as an embedder gives it: buffers that are kept open, and callbacks, which run here, without the lock.

@cython.final
cdef class _Buffer:
    """An object's memory, held until the region is unmapped."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, source, bint writable):
        cdef int flags = PyBUF_WRITABLE if writable else PyBUF_SIMPLE
        PyObject_GetBuffer(source, &self.view, flags)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef int mapping_enter(Gic gic, u64 base, u64 size, u8 *data, bint writable) except -1:
    """Put a region into the core's table."""
    cdef Stage *stage = NULL
    cdef bint full, apart = False
    if data == NULL:
        stage = <Stage *>zalloc((STAGES + 1) * sizeof(Stage))
        if stage == NULL:
            raise MemoryError
    with gic.mutex:
        full = gic.s.num_mem >= MEM_REGIONS
        if not full:
            apart = mem_insert(gic.s, base, size, data, writable)
        if apart and gic.s.stage == NULL:
            gic.s.stage = stage
            stage = NULL
    free(stage)
    if full:
        raise ConfigError(f"at most {MEM_REGIONS} memory regions may be mapped, got another at {base:#x}")
    if not apart:
        raise ConfigError(f"memory regions must not overlap, got {base:#x}..{base + size - 1:#x}")
    return 0


cdef int mapping_fits(address, size) except -1:
    """A region is not empty and ends inside 52 bits."""
    if not 0 <= address < 1 << 52 or not 1 <= size <= (1 << 52) - address:
        raise ConfigError("a memory region must hold 1 or more bytes and end below 2**52, "
                          f"got {size:#x} at {address:#x}")
    return 0


def mapping_buffer(Gic gic not None, address, buffer, bint writable):
    """`Memory.map`."""
    cdef _Buffer held = _Buffer(buffer, writable)
    mapping_fits(address, held.view.len)
    mapping_enter(gic, <u64>address, <u64>held.view.len, <u8 *>held.view.buf, writable)
    gic._buffers[address] = held


def mapping_callbacks(Gic gic not None, address, size, read, write):
    """`Memory.map_callbacks`."""
    mapping_fits(address, size)
    mapping_enter(gic, <u64>address, <u64>size, NULL, True)
    gic._callbacks[address] = (read, write)


def mapping_remove(Gic gic not None, address):
    """`Memory.unmap`."""
    with gic.mutex:
        mem_remove(gic.s, address)
    gic._buffers.pop(address, None)
    gic._callbacks.pop(address, None)


def mapping_awaited(Gic gic not None):
    """`Memory.awaited`: (address, size) of each region that work of a state brought back waits for."""
    cdef MemSpan[MEM_REGIONS] spans
    cdef u32 count, i
    with gic.mutex:
        count = gic.s.num_awaited
        memcpy(&spans[0], &gic.s.awaited[0], sizeof(spans))
    return tuple([(spans[i].base, spans[i].size) for i in range(count)])


def mapping_resume(Gic gic not None):
    """`Memory.resume`."""
    with gic.mutex:
        work_resume(gic.s)
    gic.drain()


cdef MemRequest *request_new() except NULL:
    cdef MemRequest *request = <MemRequest *>malloc(sizeof(MemRequest))
    if request == NULL:
        raise MemoryError
    return request


cdef bint request_serve(Gic gic, MemRequest *request) except -1:
    """Let a callback do what was asked; False when there is nothing to read or nobody to write."""
    cdef object callbacks = gic._callbacks.get(request.region)
    cdef bytes data
    if callbacks is None:        # unmapped meanwhile
        return False
    if request.kind == REQUEST_WRITE:
        callbacks[1](request.address, PyBytes_FromStringAndSize(<char *>&request.data[0], request.size))
        return True
    brought = callbacks[0](request.address, request.size)
    if brought is None:
        return False
    data = bytes(brought)
    if len(data) != request.size:
        raise ConfigError(f"a read callback must return {request.size} bytes or None, got {len(data)} bytes")
    memcpy(&request.data[0], <const char *>data, request.size)
    return True


cdef _Raised work_serve(Gic gic, _Raised raised):
    """Go on with the GIC's work; run the callbacks it needs, each a unit of the budget.

    Returns `raised` with what they raised added.

    The budget spent, some callbacks more may run with a unit each, so that what they bring is put to use. MSIs that
    wait and entries being written come to their end whatever the budget, because a state with them is not saved; but
    not those that callbacks add for ever: after LAST_CALLBACKS the rest is left to later calls.
    One call serves at a time: a nested call, or one from another thread, leaves its work to the one under way.
    """
    cdef MemRequest *request = request_new()
    cdef int32_t budget = gic.s.work_budget
    cdef u32 beyond = 0          # callbacks since the budget was spent
    cdef bint more = True
    cdef bint done
    gic.serving = True
    try:
        while more:
            with gic.mutex:
                gic_work(gic.s, &budget)
                more = mem_next(gic.s, request)
            if more:
                budget -= 1
                if budget <= 0:
                    beyond += 1
                    if beyond <= STAGES:
                        budget = 1
                    more = beyond < LAST_CALLBACKS
                done = False
                try:
                    done = request_serve(gic, request)
                except BaseException as error:
                    raised = raised_add(raised, error)
                with gic.mutex:
                    mem_supply(gic.s, request, done)
                    if not more:
                        stages_forget(gic.s)
    finally:
        gic.serving = False
        free(request)
    return raised
