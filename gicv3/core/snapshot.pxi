# All architectural state by name, for snapshots: what cannot be derived, gathered into plain arrays and put back.
# Everything else (gates, choices, queues, lines, masks) is rebuilt by the functions that keep it up to date.

# --- order: state that is in lists, not in a record ----------------------------------------------------------------

cdef void order_gather(GicState *s, u32 *chosen, u32 *settling) noexcept nogil:
    """1-of-N choices, which are kept (PE + 1 by slot), and the order in which step() visits PEs (from 1, by PE)."""
    cdef u32 i, pe
    cdef u32 place = 0
    for i in range(SHARED_SLOTS):
        chosen[i] = s.spi[i].queued_pe + 1 if s.spi[i].chosen else 0
    memset(settling, 0, s.num_pe * sizeof(u32))
    for i in range(s.num_settling):
        pe = s.settling[i]
        if s.cold[pe].rwp_left or s.cold[pe].uwp_left or s.cold[pe].waker_left:
            place += 1
            settling[pe] = place


cdef bint order_scatter(GicState *s, const u32 *chosen, const u32 *settling) noexcept nogil:
    """Put back what order_gather() gave, into a GIC that was just made and has its fields; False if that cannot be."""
    cdef u32 i, level, group
    cdef bint nmi
    for i in range(s.num_pe):
        if settling[i] > s.num_pe:
            return False
        if settling[i]:
            if s.settling[settling[i] - 1]:
                return False
            s.settling[settling[i] - 1] = i + 1
            s.pe[i].marks |= MARK_SETTLING
            s.num_settling += 1
    for i in range(s.num_settling):
        if s.settling[i] == 0:
            return False
        s.settling[i] -= 1
    for i in range(SHARED_SLOTS):
        if not chosen[i]:
            continue
        if chosen[i] > s.num_pe or not spi_is_one_of_n(s, i) or shared_slot(s, shared_intid(i)) == NO_SLOT:
            return False
        group = shared_group(s, i)
        nmi = shared_is_nmi(s, i)
        level = queue_level(s, nmi_prio(s, group) if nmi else s.spi[i].prio, nmi)
        spi_enqueue(s, i, chosen[i] - 1, &s.pe[chosen[i] - 1], group, level)
        s.spi[i].chosen = 1
    return True


cdef str saved_fault(Gic gic):
    """What no guest and no embedder could have brought about, beyond single bits; None when there is nothing."""
    cdef GicState *s = gic.s
    cdef u32 pe, i
    cdef PeState *p
    cdef PeCold *c
    cdef u8 status = s.statusr[0] | s.statusr[1]
    if not s.features & FEAT_SECURITY and not s.ds:
        return "dist.ds is 0 with one security state"
    if s.ds and s.enables >> G1S & 1:
        return "dist.enables has Secure Group 1 with one security state"
    if s.rwp_left > s.settle_steps:
        return f"dist.rwp_left is above settle_steps, {s.settle_steps}"
    if s.e1nwf and not s.features & FEAT_ONE_OF_N:
        return "dist.e1nwf is set without one_of_n"
    for pe in range(s.num_pe):
        p = &s.pe[pe]
        c = &s.cold[pe]
        if not context_fits(s, p.el, p.secure, c.scr_el3):
            return f"context of PE {pe} is a state that it has not"
        if max(c.rwp_left, c.uwp_left, c.waker_left) > s.settle_steps:
            return f"PE {pe} settles for longer than settle_steps, {s.settle_steps}"
        if (p.marks & MARK_SETTLING != 0) != (c.rwp_left | c.uwp_left | c.waker_left != 0):
            return f"pe.settling and the steps left of PE {pe} disagree"
        if c.waker_left == 0 if c.waker == WAKER_SLEEP or c.waker == WAKER_CHILDREN else c.waker_left and not c.waker:
            return f"pe.waker and pe.waker_left of PE {pe} disagree"
        if ~p.w0.edge & 0xFFFF:
            return f"pe.edge of PE {pe} has a level-sensitive SGI"
        for i in range(NUM_GROUPS):
            if c.bpr[i] < bpr_min(s, i):
                return f"icc.bpr of PE {pe} is below its minimum"
        if (c.dpg or c.pmhe) and not s.features & FEAT_ONE_OF_N:
            return f"pe.dpg or icc.pmhe of PE {pe} is set without one_of_n"
        if (p.flags & PE_NMI_ACTIVE or c.nmi[0] | c.nmi[1] | c.nmi[2]) and not s.features & FEAT_NMI:
            return f"pe.nmi or icc.nmi_active of PE {pe} is set without nmi"
        status |= c.statusr[0] | c.statusr[1]
    if status and not s.features & FEAT_STATUSR:
        return "a statusr is set without statusr"
    for i in range(SHARED_WORDS):
        if s.shared[i].message and not s.features & FEAT_MESSAGE_SPI:
            return "spi.message is set without message_spis"
        if s.shared[i].nmi and not s.features & FEAT_NMI:
            return "spi.nmi is set without nmi"
    return None


cdef void saved_rebuild(GicState *s) noexcept nogil:
    """Derive the rest from the fields that were put back."""
    cdef u32 pe, slot
    cdef PeState *p
    cdef PeCold *c
    for pe in range(s.num_pe):
        p = &s.pe[pe]
        c = &s.cold[pe]
        pe_accessible_bit(s, pe, p.flags & PE_ACCESSIBLE != 0)
        p.flags &= <u8>~(PE_ASLEEP | PE_HAS_NMI)
        if c.waker:
            p.flags |= PE_ASLEEP
        if c.nmi[0] | c.nmi[1] | c.nmi[2]:
            p.flags |= PE_HAS_NMI
    for slot in range(NUM_PRIVATE, SHARED_SLOTS):
        if shared_slot(s, shared_intid(slot)) != NO_SLOT:
            spi_route(s, slot)
    gic_update_all(s)


# --- whole ---------------------------------------------------------------------------------------------------------

cdef int saved_guard(Gic gic) except -1:
    """Guest memory is not in a snapshot, so nothing may be on its way there or from there."""
    if gic.serving or mem_is_asked(gic.s) or gic.s.num_its_waiting or its_storing(gic.s):
        raise SnapshotError("a GIC cannot be saved, loaded or rewound while callbacks of guest memory are under way, "
                            "or MSIs wait for them")
    return 0


def saved_names():
    """The saved arrays by name: (bytes of an element, elements a record, records: "gic", "nsacr", "words", ...).

    Those of "lpi", "redists", "lists" and "itss" are there with LPIs and with ITSs alone; "lists" have any length.
    """
    homes = ("gic", "nsacr", "words", "spis", "pes", "pes", "lpi", "redists", "itss")
    names = {name: (size, count, homes[home]) for name, (_, count, size, home) in _SAVED_FIELDS.items()}
    names["spi.chosen"] = (4, 1, "spis")
    names["pe.settling"] = (4, 1, "pes")
    names["lpi.jobs"] = (4, 1, "redists")
    names["lpi.pending"] = (8, 1, "lists")
    names["lpi.config"] = (4, 1, "lists")
    names["lpi.clears"] = (8, 1, "lists")
    names["lpi.memory"] = (8, 1, "lists")
    return names


cdef struct Gathered:            # all that is saved, as it is copied under the lock
    char *fields
    u32 *chosen
    u32 *settling
    u32 *jobs
    LpiLists lists


cdef bint gather_raw(GicState *s, Gathered *all) noexcept nogil:
    """Copy all that is saved; False when memory is short. The caller frees `fields` and the lists."""
    cdef size_t at = 0
    cdef size_t total = 0
    cdef u32 i
    memset(all, 0, sizeof(Gathered))
    for i in range(num_parts):
        total += <size_t>place_of(s, parts[i].home).count * parts[i].size
    total = (total + 7) // 8 * 8
    all.fields = <char *>malloc(total + (SHARED_SLOTS + 2 * s.num_pe) * sizeof(u32))
    if all.fields == NULL or (s.lpi != NULL and not lists_gather(s, &all.lists)):
        return False
    for i in range(num_parts):
        part_gather(s, &parts[i], all.fields + at)
        at += <size_t>place_of(s, parts[i].home).count * parts[i].size
    all.chosen = <u32 *>(all.fields + total)
    all.settling = all.chosen + SHARED_SLOTS
    all.jobs = all.settling + s.num_pe
    order_gather(s, all.chosen, all.settling)
    if s.lpi != NULL:
        jobs_gather(s, all.jobs)
    return True


cdef dict gather_all(Gic gic):
    """The saved arrays of a GIC: all values of the first part, then of the next."""
    cdef GicState *s = gic.s
    cdef Gathered all
    cdef bint done
    cdef u32 count, size
    cdef size_t total
    cdef size_t at = 0
    with gic.mutex:              # nothing of Python under the lock: gather first, make objects of it later
        done = gather_raw(s, &all)
    try:
        if not done:
            raise MemoryError
        arrays = {}
        for name, (_, count, size, home) in _SAVED_FIELDS.items():
            total = <size_t>place_of(s, home).count * size * count
            if total:
                arrays[name] = PyBytes_FromStringAndSize(all.fields + at, total)
            at += total
        arrays["spi.chosen"] = PyBytes_FromStringAndSize(<char *>all.chosen, SHARED_SLOTS * sizeof(u32))
        arrays["pe.settling"] = PyBytes_FromStringAndSize(<char *>all.settling, s.num_pe * sizeof(u32))
        if s.lpi != NULL:
            arrays["lpi.jobs"] = PyBytes_FromStringAndSize(<char *>all.jobs, s.num_pe * sizeof(u32))
            arrays["lpi.pending"] = PyBytes_FromStringAndSize(<char *>all.lists.pending,
                                                              all.lists.num_pending * sizeof(u64))
            arrays["lpi.config"] = PyBytes_FromStringAndSize(<char *>all.lists.config,
                                                             all.lists.num_config * sizeof(u32))
            arrays["lpi.clears"] = PyBytes_FromStringAndSize(<char *>&all.lists.clears[0],
                                                             all.lists.num_clears * sizeof(u64))
            arrays["lpi.memory"] = PyBytes_FromStringAndSize(<char *>&all.lists.spans[0],
                                                             all.lists.num_spans * sizeof(MemSpan))
        return arrays
    finally:
        free(all.fields)
        free(all.lists.pending)
        free(all.lists.config)


cdef int scatter_fields(GicState *s, dict arrays) except -1:
    """Put the fields back that are plain values of records."""
    cdef u32 i, first, count, size, accepted, records
    cdef bytes data
    for name, (first, count, size, home) in _SAVED_FIELDS.items():
        if name not in arrays:
            continue
        records = place_of(s, home).count
        data = saved_bytes(arrays, name, <size_t>records * size * count)
        for i in range(count):
            accepted = part_scatter(s, &parts[first + i], <const char *>data + <size_t>i * records * size)
            if accepted != records:
                raise SnapshotError(f"{name}[{i}] has a bit for record {accepted} that this GIC has not")
    return 0


cdef int scatter_all(Gic gic, dict arrays) except -1:
    """Put saved arrays into a GIC that was just made; SnapshotError when they are no state that it can have.

    A name that is missing keeps its reset value. A GIC that was refused is of no further use.
    """
    cdef GicState *s = gic.s
    cdef bytes chosen, settling
    homes = {"lpi": s.lpi != NULL, "redists": s.lpi != NULL, "lists": s.lpi != NULL, "itss": s.num_its != 0}
    unknown = sorted(arrays.keys() - {name for name, (_, _, home) in saved_names().items() if homes.get(home, True)})
    if unknown:
        raise SnapshotError(f"unknown fields: {', '.join(unknown)}")
    scatter_fields(s, arrays)
    chosen = saved_bytes(arrays, "spi.chosen", SHARED_SLOTS * sizeof(u32))
    settling = saved_bytes(arrays, "pe.settling", s.num_pe * sizeof(u32))
    memset(s.settling, 0, s.num_pe * sizeof(u32))
    if not order_scatter(s, <const u32 *><const char *>chosen, <const u32 *><const char *>settling):
        raise SnapshotError("spi.chosen or pe.settling is no order that this GIC can be in")
    fault = saved_fault(gic)
    if fault is not None:
        raise SnapshotError(fault)
    if s.lpi != NULL:
        lpi_scatter(s, arrays)
    saved_rebuild(s)
    now = gather_all(gic)
    for name in arrays:
        if arrays[name] != now[name]:
            raise SnapshotError(f"{name} contradicts other fields")
    return 0


def save_arrays(Gic gic not None):
    """The saved arrays by name, see saved_names()."""
    saved_guard(gic)
    return gather_all(gic)


def load_arrays(Gic gic not None, dict arrays):
    """Bring a GIC that was just made to a saved state; after a SnapshotError it is of no use."""
    scatter_all(gic, arrays)
    drain_lines(gic, None)


cdef bytes saved_bytes(dict arrays, str name, size_t size):
    """A saved array, aligned for its elements; zeros when it is missing."""
    cdef bytes data = arrays.get(name)
    if data is None:
        return bytes(size)
    if <size_t>len(data) != size:
        raise SnapshotError(f"{name} must have {size} bytes, got {len(data)}")
    return data


cdef bytes saved_list(dict arrays, str name, size_t size):
    """A saved list; empty when it is missing."""
    cdef bytes data = arrays.get(name, b"")
    if len(data) % size:
        raise SnapshotError(f"{name} ends inside an element of {size} bytes")
    return data
