# Guest memory as the GIC sees it: buffers at pointer speed, or pages of callback memory that are staged.
#
# A callback is Python and never runs here: an access to a page that is not staged asks for it and answers MEM_WAIT. Who
# asked leaves its work undone, to be resumed by gic_pump() when serve.pxi has let the callback bring the page, without
# the lock. So whatever reads guest memory reads all it needs before it changes anything.

cdef enum:
    MEM_OK = 0
    MEM_FAULT = 1                # nothing is mapped there, or it may not be written
    MEM_WAIT = 2                 # callback memory that is not staged: see mem_next()
    STAGES = 16                  # more than one command or translation touches
    STAGE_SIZE = 4096

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
        return MEM_FAULT
    if r.data != NULL:
        memcpy(data, r.data + (address - r.base), size)
        return MEM_OK
    result = stage_find(s, r, address, size, &stage)
    if result == MEM_OK:
        memcpy(data, &stage.data[address & (STAGE_SIZE - 1)], size)
    return result


cdef u32 mem_write(GicState *s, u64 address, const void *data, u32 size) noexcept nogil:
    """Copy into guest memory; a staged page remembers the range to write back, which grows only where it touches."""
    cdef MemRegion *r = mem_find(s, address, size)
    cdef u32 offset = <u32>(address & (STAGE_SIZE - 1))
    cdef Stage *stage
    cdef u32 result
    if r == NULL or not r.writable:
        return MEM_FAULT
    if r.data != NULL:
        memcpy(r.data + (address - r.base), data, size)
        return MEM_OK
    result = stage_find(s, r, address, size, &stage)
    if result != MEM_OK:
        return result
    if stage.dirty_high == 0:
        stage.dirty_low = offset
        stage.dirty_high = offset + size
        s.num_dirty += 1
    elif offset <= stage.dirty_high and stage.dirty_low <= offset + size:
        stage.dirty_low = min(stage.dirty_low, offset)
        stage.dirty_high = max(stage.dirty_high, offset + size)
    else:
        s.want = 1               # written back first, and read again: nothing between is overwritten
        s.want_page = stage.address
        s.want_region = r.base
        return MEM_WAIT
    memcpy(&stage.data[offset], data, size)
    return MEM_OK


cdef inline u32 mem_read64(GicState *s, u64 address, u64 *value) noexcept nogil:
    return mem_read(s, address, value, 8)


cdef inline u32 mem_write64(GicState *s, u64 address, u64 value) noexcept nogil:
    return mem_write(s, address, &value, 8)


# --- for serve.pxi ------------------------------------------------------------------------------------------------

cdef void stage_request(Stage *stage, u32 kind, MemRequest *request) noexcept nogil:
    request.kind = kind
    request.region = stage.region
    request.address = stage.address
    request.size = STAGE_SIZE
    if kind == REQUEST_WRITE:
        request.address += stage.dirty_low
        request.size = stage.dirty_high - stage.dirty_low
        memcpy(&request.data[0], &stage.data[stage.dirty_low], request.size)


cdef void stage_clean(GicState *s, Stage *stage) noexcept nogil:
    """The page leaves; what was to be written is in the caller's hands."""
    if stage.dirty_high:
        s.num_dirty -= 1
    stage.dirty_high = 0
    stage.state = STAGE_EMPTY


cdef bint mem_next(GicState *s, MemRequest *request) noexcept nogil:
    """The next thing a callback has to do, or False: then all is written, and no page stays staged.

    A page that is written leaves the stage, so the next access reads what the callback made of it.
    """
    cdef u32 i
    cdef Stage *stage
    if s.stage == NULL:
        return False
    if s.want:
        for i in range(STAGES):
            if s.stage[i].state != STAGE_EMPTY and s.stage[i].address == s.want_page and s.stage[i].dirty_high:
                stage_request(&s.stage[i], REQUEST_WRITE, request)
                stage_clean(s, &s.stage[i])
                return True
        stage = &s.stage[s.stage_next]           # the oldest gives way
        if stage.dirty_high:
            stage_request(stage, REQUEST_WRITE, request)
            stage_clean(s, stage)
            return True
        s.stage_next = (s.stage_next + 1) % STAGES
        stage.address = s.want_page
        stage.region = s.want_region
        stage.state = STAGE_ASKED
        stage.dirty_high = 0
        s.want = 0
        s.staged = 1
        stage_request(stage, REQUEST_READ, request)
        return True
    for i in range(STAGES):
        if s.stage[i].dirty_high:
            stage_request(&s.stage[i], REQUEST_WRITE, request)
            stage_clean(s, &s.stage[i])
            return True
    for i in range(STAGES):
        s.stage[i].state = STAGE_EMPTY
    s.staged = 0
    return False


cdef void mem_supply(GicState *s, MemRequest *request, bint brought) noexcept nogil:
    """A callback brought the page it was asked for, or did not."""
    cdef u32 i
    for i in range(STAGES):
        if s.stage[i].state == STAGE_ASKED and s.stage[i].address == request.address:
            if brought:
                memcpy(&s.stage[i].data[0], &request.data[0], STAGE_SIZE)
            s.stage[i].state = STAGE_VALID if brought else STAGE_FAULT


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
    s.resting = 0
    return True


cdef bint mem_remove(GicState *s, u64 base) noexcept nogil:
    """Take out the region that begins at `base`; its staged pages go unwritten."""
    cdef u32 i, k
    for i in range(s.num_mem):
        if s.mem[i].base == base:
            for k in range(i + 1, s.num_mem):
                s.mem[k - 1] = s.mem[k]
            s.num_mem -= 1
            memset(&s.mem[s.num_mem], 0, sizeof(MemRegion))
            s.mem_last = 0
            if s.stage != NULL:
                for k in range(STAGES):
                    if s.stage[k].region == base:
                        stage_clean(s, &s.stage[k])
            return True
    return False
