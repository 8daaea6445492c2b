# An ITS: its registers, its command queue, and the translation of MSIs. Commands are done when GITS_CWRITER is written,
# at most GicState.work_budget units a call; the rest goes on with later calls. MSIs that need callback memory wait in a
# list.

cdef enum:
    ITS_FRAMES_SIZE = 0x20000    # control and translation frame
    ITS_ENABLED = 1
    ITS_UMSI_IRQ = 0x100
    CWRITER_RETRY = 1
    CREADR_STALLED = 1
    STATUSR_UMSI = 16
    STATUSR_OVERFLOW = 32
    COMMAND_SIZE = 32
    ITS_ERRORS = 64              # kept; all are counted
    BASER_TYPE_DEVICE = 1
    BASER_TYPE_COLLECTION = 4


cdef void its_status(GicState *s, u32 frame, u32 its, u32 status) noexcept nogil:
    """Record a bad access to a frame of an ITS."""
    if its < s.num_its and s.features & FEAT_ITS_STATUS and frame == FRAME_GITS:
        s.its[its].statusr |= <u8>status


# --- MSIs ----------------------------------------------------------------------------------------------------------

cdef void its_umsi_line(GicState *s, u32 its) noexcept nogil:
    """The level of the interrupt that tells of unmapped MSIs."""
    cdef Its *t = &s.its[its]
    cdef u32 slot
    if s.its_umsi_spi:
        slot = shared_slot(s, s.its_umsi_spi + its)
        if slot != NO_SLOT:
            spi_set_line(s, slot, t.umsi_irq and t.statusr & STATUSR_UMSI)


cdef void its_unmapped(GicState *s, u32 its, u32 device, u32 event, u32 reason) noexcept nogil:
    """An MSI that leads nowhere: the first is kept in GITS_UMSIR, with its syndrome."""
    cdef Its *t = &s.its[its]
    t.unmapped += 1
    if not s.features & FEAT_UMSI:
        return
    if t.statusr & STATUSR_UMSI:
        t.statusr |= STATUSR_OVERFLOW
        return
    t.statusr |= STATUSR_UMSI
    t.umsir = <u64>device << 32 | event
    if reason == ITS_DEVICE_RANGE:
        t.syndrome = 2
    elif reason == ITS_DEVICE_UNMAPPED:
        t.syndrome = 3
    elif reason == ITS_EVENT_RANGE:
        t.syndrome = 4
    elif reason == ITS_ICID_RANGE or reason == ITS_ICID_UNMAPPED:
        t.syndrome = 7
    else:
        t.syndrome = 5
    its_umsi_line(s, its)


cdef u32 its_translate(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    """Read the tables for an MSI and let its LPI become pending; ITS_WAIT when it has to be tried again."""
    cdef Its *t = &s.its[its]
    cdef ItsRoute route
    cdef u32 result
    if not t.enabled or not (t.baser[TABLE_DEVICE] & t.baser[TABLE_COLLECTION]) >> 63:
        t.discarded += 1
        return ITS_OK
    result = its_find_event(s, t, device, event, &route)
    if result == ITS_OK:
        result = its_find_target(s, t, route.icid, &route.pe)
    if result == ITS_WAIT:
        return result
    if result != ITS_OK:
        its_unmapped(s, its, device, event, result)
        return ITS_OK
    cache_put(s, its, device, event, &route)
    t.translated += 1
    lpi_pend(s, route.pe, route.intid)
    return ITS_OK


cdef void its_msi_slow(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    """An MSI that the cache does not know. Of equal ones that wait, the first makes the LPI pending for all."""
    cdef WaitingMsi *waiting
    cdef u32 i
    if s.num_its_waiting == 0 and its_translate(s, its, device, event) == ITS_OK:
        return
    for i in range(s.num_its_waiting):
        waiting = &s.its_waiting[i]
        if waiting.event == event and waiting.device == device and waiting.its == its:
            s.its[its].merged += 1
            return
    if s.num_its_waiting == WAITING_MSIS:
        s.its[its].discarded += 1
        return
    waiting = &s.its_waiting[s.num_its_waiting]
    waiting.its = its
    waiting.device = device
    waiting.event = event
    s.num_its_waiting += 1


cdef inline void its_msi(GicState *s, u32 its, u32 device, u32 event) noexcept nogil:
    """An MSI as it arrives; `its` is below num_its. What is cached belongs to an enabled ITS."""
    cdef ItsEntry *entry = cache_find(s, its, device, event)
    s.its[its].msis += 1
    if likely(entry != NULL):
        s.its[its].cache_hits += 1
        lpi_pend(s, entry.pe, entry.intid)
    else:
        its_msi_slow(s, its, device, event)


cdef void its_msis_again(GicState *s) noexcept nogil:
    """Try the MSIs that waited, in order."""
    cdef u32 done = 0
    cdef u32 i
    while done < s.num_its_waiting:
        if its_translate(s, s.its_waiting[done].its, s.its_waiting[done].device,
                         s.its_waiting[done].event) == ITS_WAIT:
            break
        done += 1
    s.num_its_waiting -= done
    for i in range(s.num_its_waiting):
        s.its_waiting[i] = s.its_waiting[i + done]


# --- the command queue -----------------------------------------------------------------------------------------------

cdef inline u32 queue_size(Its *t) noexcept nogil:
    return (<u32>(t.cbaser & 0xFF) + 1) << 12


cdef inline bint queue_has_work(Its *t) noexcept nogil:
    """A GITS_CWRITER outside the queue stops it until a valid one is written."""
    return t.storing or (t.enabled and t.cbaser >> 63 and not t.stalled and t.creadr != t.cwriter
                         and t.cwriter < queue_size(t) and t.creadr < queue_size(t))


cdef bint its_storing(GicState *s) noexcept nogil:
    """The entry of a command is being written."""
    cdef u32 its
    for its in range(s.num_its):
        if s.its[its].storing:
            return True
    return False


cdef void its_record(Its *t, u64 *command, u32 code) noexcept nogil:
    """Keep what went wrong; the oldest gives way."""
    cdef ItsError *error = &t.error[t.errors % ITS_ERRORS]
    memcpy(&error.command[0], command, sizeof(error.command))
    error.code = code
    error.offset = t.creadr
    t.errors += 1


cdef bint its_step(GicState *s, Its *t, u32 its, int32_t *budget) noexcept nogil:
    """Do the next command; False when it has to wait or stalls."""
    cdef u64 *command = &t.store.command[0]
    cdef u32 result = ITS_STORE
    budget[0] -= 1
    if not t.storing:
        result = mem_read(s, (t.cbaser & <u64>0xFFFFFFFFF0000ULL) + t.creadr, command, COMMAND_SIZE)
        if result == MEM_WAIT:
            return False
        if result == MEM_FAULT:  # whatever the policy: what could not be read cannot be left out
            memset(command, 0, COMMAND_SIZE)
            t.table_faults += 1
            its_record(t, command, 0)
            t.stalled = 1
            return False
        result = its_command(s, t, command, budget)
    if result == ITS_STORE:
        result = its_store(s, t, its, budget)
        t.storing = result == ITS_WAIT
    if s.num_lpi_jobs:
        lpi_work(s, budget)
    if result == ITS_WAIT:
        return False
    t.commands += 1
    if result != ITS_OK:
        its_record(t, command, its_error_code(<u32>(command[0] & 0xFF), result))
        if s.its_stall:
            t.stalled = 1
            return False
    t.creadr = (t.creadr + COMMAND_SIZE) % queue_size(t)
    return True


cdef void its_run(GicState *s, u32 its, int32_t *budget) noexcept nogil:
    """Do commands until the queue is empty, stalls or waits, or the budget is spent. Bounded: each costs a unit.

    A command whose entry was being written is ended whatever the budget: its end is not saved.
    """
    cdef Its *t = &s.its[its]
    while (budget[0] > 0 or t.storing) and queue_has_work(t):
        if not its_step(s, t, its, budget):
            break
    s.its_busy &= ~(<u32>1 << its)
    s.its_busy |= <u32>queue_has_work(t) << its


cdef void its_run_now(GicState *s, u32 its) noexcept nogil:
    cdef int32_t budget = s.work_budget
    its_run(s, its, &budget)


cdef void its_work(GicState *s, int32_t *budget) noexcept nogil:
    """Go on with what ITSs have to do."""
    cdef u32 its
    if s.num_its_waiting:
        its_msis_again(s)
    for its in range(s.num_its):
        if s.its_busy >> its & 1 and not s.want:
            its_run(s, its, budget)


# --- registers -------------------------------------------------------------------------------------------------------

cdef void its_reset(GicState *s) noexcept nogil:
    cdef u32 its, i
    cdef Its *t
    for i in range(s.num_its_waiting):
        s.its[s.its_waiting[i].its].discarded += 1
    s.num_its_waiting = 0
    s.its_busy = 0
    for its in range(s.num_its):
        t = &s.its[its]
        cache_drop_all(s, its)
        t.enabled = t.umsi_irq = t.stalled = t.statusr = t.syndrome = t.storing = 0
        t.cbaser = t.umsir = 0
        t.cwriter = t.creadr = t.quiescent_left = 0
        t.baser[TABLE_DEVICE] = 0
        t.baser[TABLE_COLLECTION] = 0
        its_umsi_line(s, its)


cdef u64 gits_typer(GicState *s) noexcept nogil:
    cdef u64 value = 1                           # Physical
    value |= <u64>(s.its_entry_size[TABLE_EVENT] - 1) << 4 | <u64>(s.event_bits - 1) << 8
    value |= <u64>(s.device_bits - 1) << 13 | <u64>s.pta << 19
    if s.collection_bits < 16:                   # CIL and CIDbits
        value |= <u64>1 << 36 | <u64>(s.collection_bits - 1) << 32
    if s.features & FEAT_UMSI:
        value |= <u64>1 << 44
    if s.its_umsi_spi:
        value |= <u64>1 << 45
    return value


cdef u64 gits_ctlr(GicState *s, u32 its) noexcept nogil:
    """Quiescent: disabled, and nothing of before is still under way."""
    cdef Its *t = &s.its[its]
    cdef u64 value = t.enabled | <u64>t.umsi_irq << 8
    if not (t.enabled or t.quiescent_left or s.num_its_waiting or t.storing):
        value |= <u64>1 << 31
    return value


cdef void gits_ctlr_write(GicState *s, u32 its, u64 value) noexcept nogil:
    cdef Its *t = &s.its[its]
    cdef bint enable = value & ITS_ENABLED != 0
    if s.its_umsi_spi:
        t.umsi_irq = value & ITS_UMSI_IRQ != 0
        its_umsi_line(s, its)
    if enable == t.enabled:
        return
    cache_drop_all(s, its)
    t.enabled = enable
    t.quiescent_left = 0 if enable else s.settle_steps
    its_run_now(s, its)


cdef u64 baser_fixed(GicState *s, u32 table) noexcept nogil:
    """The read-only fields of GITS_BASER: type and entry size."""
    cdef u64 kind = BASER_TYPE_DEVICE if table == TABLE_DEVICE else BASER_TYPE_COLLECTION
    return kind << 56 | <u64>(s.its_entry_size[table] - 1) << 48


cdef u64 gits_read(GicState *s, u32 its, u32 kind, u32 element) noexcept nogil:
    """A register of the control frame; reading GITS_CREADR lets a long queue go on."""
    cdef Its *t = &s.its[its]
    if kind == REG_CTLR:
        return gits_ctlr(s, its)
    elif kind == REG_IIDR:
        return s.iidr
    elif kind == REG_TYPER:
        return gits_typer(s)
    elif kind == REG_STATUSR:
        return t.statusr | t.syndrome << 6
    elif kind == REG_UMSIR:
        return t.umsir
    elif kind == REG_CBASER:
        return t.cbaser
    elif kind == REG_CWRITER:
        return t.cwriter
    elif kind == REG_CREADR:
        if s.its_busy >> its & 1:
            its_run_now(s, its)
        return t.creadr | (CREADR_STALLED if t.stalled else 0)
    elif kind == REG_BASER:
        return t.baser[element] | baser_fixed(s, element) if element <= TABLE_COLLECTION else 0
    return identification(s, kind, element, PART_ITS)


cdef void gits_baser_write(GicState *s, u32 its, u32 table, u64 value, u64 lanes) noexcept nogil:
    """Page size 3 is 2. Tables are fixed while the ITS is enabled."""
    cdef Its *t = &s.its[its]
    if table > TABLE_COLLECTION or t.enabled:
        return
    t.baser[table] = t.baser[table] & ~lanes | value
    if bits_of(t.baser[table], 9, 8) == 3:
        t.baser[table] &= ~<u64>0x100


cdef void gits_cwriter_write(GicState *s, u32 its, u64 value, u64 lanes) noexcept nogil:
    cdef Its *t = &s.its[its]
    t.cwriter = (t.cwriter & <u32>~lanes | <u32>value) & ~<u32>CWRITER_RETRY
    if value & CWRITER_RETRY:
        t.stalled = 0
    its_run_now(s, its)


cdef void gits_statusr_write(GicState *s, u32 its, u64 value) noexcept nogil:
    cdef Its *t = &s.its[its]
    t.statusr &= <u8>~value
    if not t.statusr & STATUSR_UMSI:
        t.syndrome = 0
    its_umsi_line(s, its)


cdef void gits_write(GicState *s, u32 its, u32 kind, u32 element, u64 value, u64 lanes) noexcept nogil:
    cdef Its *t = &s.its[its]
    if kind == REG_TRANSLATER:
        its_msi(s, its, s.bus_device, <u32>value)
    elif kind == REG_CWRITER:
        gits_cwriter_write(s, its, value, lanes)
    elif kind == REG_CTLR:
        gits_ctlr_write(s, its, value)
    elif kind == REG_CBASER:
        if not t.enabled and not t.storing:
            t.cbaser = t.cbaser & ~lanes | value
            t.creadr = 0
            t.stalled = 0
    elif kind == REG_BASER:
        gits_baser_write(s, its, element, value, lanes)
    elif kind == REG_STATUSR:
        gits_statusr_write(s, its, value)
