# Guest memory as the GIC sees it: buffers at pointer speed, or pages of callback memory that are staged.
#
# A callback is Python and never runs here: a read of a page that is not staged, and every write, ask for a callback and
# answer MEM_WAIT. Who asked leaves its work undone and asks again when work_serve() has let the callback run, without
# the lock. So whatever reads guest memory reads all it needs before it changes anything, and what follows from a write
# is done when it is known to be there.

cdef enum:
    MEM_OK = 0
    MEM_FAULT = 1                # nothing is mapped there, or it may not be written
    MEM_WAIT = 2                 # a callback has to run first, see mem_next(); or memory is awaited
    STAGES = 16                  # more than one command or translation touches
    STAGE_SIZE = 4096
    STAGE_WORDS = 512

cdef enum:
    # MemRequest.kind
    REQUEST_NONE = 0
    REQUEST_READ = 1
    REQUEST_WRITE = 2

cdef struct MemRequest:          # what a callback is to do, outside of the lock
    u32 kind
    u32 size
    u64 region
    u64 address
    u8 data[STAGE_SIZE]


cdef MemRegion *mem_find(GicState *s, u64 address, u64 size) noexcept nogil:
    """The region that holds the whole range, or NULL. They are sorted and apart; the last one found is tried first."""
    cdef MemRegion *r = &s.mem[s.mem_last]
    cdef u32 low = 0
    cdef u32 high = s.num_mem
    cdef u32 middle
    if address - r.base >= r.size:
        while low < high:        # the last region that begins at or below the address
            middle = (low + high) // 2
            if s.mem[middle].base <= address:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return NULL
        r = &s.mem[low - 1]
        if address - r.base >= r.size:
            return NULL
        s.mem_last = low - 1
    return r if size <= r.size - (address - r.base) else NULL


cdef u32 mem_absent(GicState *s) noexcept nogil:
    """Nothing is mapped there: a fault, unless it may yet come."""
    if s.num_awaited == 0:
        return MEM_FAULT
    s.absent = 1
    return MEM_WAIT


cdef u32 stage_find(GicState *s, MemRegion *r, u64 address, u32 size, Stage **found) noexcept nogil:
    """The staged page of callback memory that holds a range inside one page."""
    cdef u64 page = address & ~<u64>(STAGE_SIZE - 1)
    cdef u32 i
    if (address + size - 1 ^ address) >= STAGE_SIZE:
        return MEM_FAULT
    for i in range(STAGES):
        if s.stage[i].state != STAGE_EMPTY and s.stage[i].address == page:
            found[0] = &s.stage[i]
            if s.stage[i].state == STAGE_ASKED:
                return MEM_WAIT
            return MEM_OK if s.stage[i].state == STAGE_VALID else MEM_FAULT
    s.want_page = page
    s.want_region = r.base
    s.want = 1
    return MEM_WAIT


cdef u32 mem_read(GicState *s, u64 address, void *data, u32 size) noexcept nogil:
    """Copy guest memory out, once: what the guest changes afterwards cannot change what was judged."""
    cdef MemRegion *r = mem_find(s, address, size)
    cdef Stage *stage
    cdef u32 result
    if r == NULL:
        return mem_absent(s)
    if r.data != NULL:
        memcpy(data, r.data + (address - r.base), size)
        return MEM_OK
    result = stage_find(s, r, address, size, &stage)
    if result == MEM_OK:
        memcpy(data, &stage.data[address & (STAGE_SIZE - 1)], size)
    return result


cdef bint stage_is(Stage *stage, u64 address, const void *data, u32 size) noexcept nogil:
    """This write was asked for."""
    return (stage.state != STAGE_EMPTY and stage.address == address and stage.size == size
            and memcmp(&stage.data[0], data, size) == 0)


cdef u32 stage_write(GicState *s, MemRegion *r, u64 address, const void *data, u32 size) noexcept nogil:
    """A write to callback memory: asked for the first time, answered when it is repeated after the callback ran."""
    cdef Stage *stage = &s.stage[STAGES]
    cdef u8 state = stage.state
    if (address + size - 1 ^ address) >= STAGE_SIZE:
        return MEM_FAULT
    if state == STAGE_ASKED:
        return MEM_WAIT
    if stage_is(stage, address, data, size):
        stage.state = STAGE_EMPTY
        return MEM_OK if state == STAGE_VALID else MEM_FAULT
    stage.address = address
    stage.region = r.base
    stage.size = size
    stage.state = STAGE_ASKED
    memcpy(&stage.data[0], data, size)
    return MEM_WAIT


cdef u32 mem_write(GicState *s, u64 address, const void *data, u32 size) noexcept nogil:
    """Copy into guest memory: MEM_OK when it is there, MEM_WAIT when the same write has to be tried again."""
    cdef MemRegion *r = mem_find(s, address, size)
    if r == NULL:
        return mem_absent(s)
    if not r.writable:
        return MEM_FAULT
    if r.data == NULL:
        return stage_write(s, r, address, data, size)
    memcpy(r.data + (address - r.base), data, size)
    return MEM_OK


cdef u32 mem_run(GicState *s, u64 address, u32 size) noexcept nogil:
    """How many of these bytes one access can reach, from the first on: those in one page and in one region."""
    cdef MemRegion *r = mem_find(s, address, 1)
    size = min(size, STAGE_SIZE - <u32>(address & (STAGE_SIZE - 1)))
    return size if r == NULL else <u32>min(<u64>size, r.size - (address - r.base))


cdef inline u32 mem_read64(GicState *s, u64 address, u64 *value) noexcept nogil:
    return mem_read(s, address, value, 8)


cdef inline u32 mem_write64(GicState *s, u64 address, u64 value) noexcept nogil:
    return mem_write(s, address, &value, 8)


# --- for mapping.pxi ----------------------------------------------------------------------------------------------

cdef void stage_request(Stage *stage, u32 kind, MemRequest *request) noexcept nogil:
    request.kind = kind
    request.region = stage.region
    request.address = stage.address
    request.size = stage.size
    if kind == REQUEST_WRITE:
        memcpy(&request.data[0], &stage.data[0], stage.size)


cdef bint mem_next(GicState *s, MemRequest *request) noexcept nogil:
    """The next thing a callback has to do, or False: then no page stays staged."""
    cdef Stage *stage
    if s.stage == NULL:
        return False
    if s.stage[STAGES].state == STAGE_ASKED:
        s.staged = 1
        stage_request(&s.stage[STAGES], REQUEST_WRITE, request)
        return True
    if s.want:
        stage = &s.stage[s.stage_next]           # the oldest gives way
        s.stage_next = (s.stage_next + 1) % STAGES
        stage.address = s.want_page
        stage.region = s.want_region
        stage.size = STAGE_SIZE
        stage.state = STAGE_ASKED
        s.want = 0
        s.staged = 1
        stage_request(stage, REQUEST_READ, request)
        return True
    stages_forget(s)
    return False


cdef bint mem_is_asked(GicState *s) noexcept nogil:
    """A callback has to run, or what it brought is in use."""
    return s.want or s.staged or (s.stage != NULL and s.stage[STAGES].state != STAGE_EMPTY)


cdef void stages_forget(GicState *s) noexcept nogil:
    """No page is staged, and nothing is asked for."""
    cdef u32 i
    if s.stage == NULL:
        return
    for i in range(STAGES + 1):
        s.stage[i].state = STAGE_EMPTY
    s.want = 0
    s.staged = 0


cdef void mem_supply(GicState *s, MemRequest *request, bint done) noexcept nogil:
    """A callback did what it was asked for, or failed. What was written is read anew: it is what the callback made."""
    cdef u32 i
    cdef u64 page = request.address & ~<u64>(STAGE_SIZE - 1)
    cdef u8 state = STAGE_VALID if done else STAGE_FAULT
    if request.kind == REQUEST_WRITE:
        if stage_is(&s.stage[STAGES], request.address, &request.data[0], request.size):
            s.stage[STAGES].state = state
    for i in range(STAGES):
        if s.stage[i].state == STAGE_EMPTY or s.stage[i].address != page:
            continue
        if request.kind == REQUEST_WRITE:
            s.stage[i].state = STAGE_EMPTY
        elif s.stage[i].state == STAGE_ASKED:
            memcpy(&s.stage[i].data[0], &request.data[0], STAGE_SIZE)
            s.stage[i].state = state


# --- regions ------------------------------------------------------------------------------------------------------

cdef bint mem_covers(GicState *s, MemSpan *span) noexcept nogil:
    """All of a span is mapped, in one region or in several."""
    cdef u64 at = span.base
    cdef MemRegion *r
    while at < span.base + span.size:
        r = mem_find(s, at, 1)
        if r == NULL:
            return False
        at = r.base + r.size
    return True


cdef void mem_await(GicState *s) noexcept nogil:
    """Memory that is not mapped is no fault, but awaited, until all is that a state had which was brought back.

    One that had nothing awaits the first region.
    """
    cdef u32 i
    s.absent = 0
    for i in range(s.num_awaited):
        if s.num_mem == 0 or not mem_covers(s, &s.awaited[i]):
            return
    s.num_awaited = 0


cdef bint mem_insert(GicState *s, u64 base, u64 size, u8 *data, bint writable) noexcept nogil:
    """Enter a region into the table; False when that is full, or it would overlap another."""
    cdef u32 i = s.num_mem
    cdef u32 k
    if s.num_mem == MEM_REGIONS:
        return False
    for k in range(s.num_mem):
        if base < s.mem[k].base + s.mem[k].size and s.mem[k].base < base + size:
            return False
    while i and s.mem[i - 1].base > base:
        s.mem[i] = s.mem[i - 1]
        i -= 1
    s.mem[i].base = base
    s.mem[i].size = size
    s.mem[i].data = data
    s.mem[i].writable = writable
    s.num_mem += 1
    s.mem_last = i
    mem_await(s)
    return True


cdef bint mem_remove(GicState *s, u64 base) noexcept nogil:
    """Take out the region that begins at `base`: who waits for it finds no memory."""
    cdef u32 i, k
    for i in range(s.num_mem):
        if s.mem[i].base == base:
            for k in range(i + 1, s.num_mem):
                s.mem[k - 1] = s.mem[k]
            s.num_mem -= 1
            memset(&s.mem[s.num_mem], 0, sizeof(MemRegion))
            s.mem_last = 0
            if s.stage != NULL:
                for k in range(STAGES + 1):
                    if s.stage[k].region == base:
                        s.stage[k].state = STAGE_EMPTY
            return True
    return False
