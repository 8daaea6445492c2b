# The tables of an ITS in guest memory: device, collection and interrupt translation entries in KVM's revision-0 layout.
#
#   device      Valid 63, next 62:49, ITT address 51:8 in 48:5, EventID bits - 1 in 4:0
#   event       next 63:48, pINTID 47:16 (0: not mapped), ICID 15:0
#   collection  Valid 63, RDbase 51:16, ICID 15:0
#   level 1     Valid 63, address 51:page size
#
# `next` serves KVM's walk through the tables alone: read over, written 0. Results are the reasons of errors, notes 4.3.

cdef enum:
    ITS_OK = 0
    ITS_DEVICE_RANGE = 0x01      # for MAPC and MOVALL, of a redistributor: see its_commands.pxi
    ITS_ITT_RANGE = 0x02
    ITS_ICID_RANGE = 0x03
    ITS_DEVICE_UNMAPPED = 0x04
    ITS_EVENT_RANGE = 0x05
    ITS_PINTID_RANGE = 0x06
    ITS_EVENT_UNMAPPED = 0x07
    ITS_ICID_UNMAPPED = 0x09
    ITS_ITE_INVALID = 0x10
    ITS_WAIT = 0x100             # for memory, or for the reading of a pending table; nothing was changed
    ITS_UNKNOWN = 0x200          # no such command
    ITS_STORE = 0x400            # the command goes on with an entry to be written: Its.store
    # GITS_BASER
    TABLE_DEVICE = 0
    TABLE_COLLECTION = 1
    TABLE_EVENT = 2              # index of GicState.its_entry_size

cdef struct ItsRoute:            # where an event leads
    u64 place                    # address of its entry
    u32 intid
    u32 icid
    u32 pe


cdef inline u64 bits_of(u64 value, u32 high, u32 low) noexcept nogil:
    return value >> low & ((<u64>2 << (high - low)) - 1)


cdef inline u32 baser_page_shift(u64 baser) noexcept nogil:
    """4, 16 or 64 KB."""
    return <u32>(12 + 2 * min(bits_of(baser, 9, 8), <u64>2))


cdef inline u64 baser_address(u64 baser) noexcept nogil:
    """With 64 KB pages bits 15:12 hold address bits 51:48; bits below the page size count as 0."""
    cdef u32 shift = baser_page_shift(baser)
    cdef u64 address = baser & <u64>0xFFFFFFFFF000ULL
    if shift == 16:
        address |= bits_of(baser, 15, 12) << 48
    return address >> shift << shift


cdef u32 table_place(GicState *s, Its *t, u32 table, u32 number, u64 *place) noexcept nogil:
    """Address of a device or collection entry; MEM_FAULT when the table has no place for it."""
    cdef u64 baser = t.baser[table]
    cdef u32 shift = baser_page_shift(baser)
    cdef u64 size = (bits_of(baser, 7, 0) + 1) << shift
    cdef u64 each = s.its_entry_size[table]
    cdef u64 first
    cdef u32 result
    cdef u64 per_page
    if not baser >> 63:
        return MEM_FAULT
    if not baser >> 62 & 1:
        place[0] = baser_address(baser) + number * each
        return MEM_OK if number < size // each else MEM_FAULT
    per_page = (<u64>1 << shift) // each
    if number // per_page >= size // 8:
        return MEM_FAULT
    result = mem_read64(s, baser_address(baser) + number // per_page * 8, &first)
    if result != MEM_OK:
        t.table_faults += result == MEM_FAULT
        return result
    if not first >> 63:
        return MEM_FAULT
    place[0] = (bits_of(first, 51, 0) >> shift << shift) + number % per_page * each
    return MEM_OK


cdef u32 its_device_place(GicState *s, Its *t, u32 device, u64 *place) noexcept nogil:
    cdef u32 result
    if s.device_bits < 32 and device >> s.device_bits:
        return ITS_DEVICE_RANGE
    result = table_place(s, t, TABLE_DEVICE, device, place)
    if result == MEM_WAIT:
        return ITS_WAIT
    return ITS_OK if result == MEM_OK else ITS_DEVICE_RANGE


cdef u32 its_event_place(GicState *s, Its *t, u32 device, u32 event, u64 *place) noexcept nogil:
    """Address of the entry of a mapped device's event."""
    cdef u64 entry
    cdef u32 bits
    cdef u32 result = its_device_place(s, t, device, place)
    if result != ITS_OK:
        return result
    result = mem_read64(s, place[0], &entry)
    if result != MEM_OK:
        t.table_faults += result == MEM_FAULT
        return ITS_WAIT if result == MEM_WAIT else ITS_DEVICE_RANGE
    if not entry >> 63:
        return ITS_DEVICE_UNMAPPED
    bits = min(<u32>bits_of(entry, 4, 0) + 1, s.event_bits)
    if bits < 32 and event >> bits:
        return ITS_EVENT_RANGE
    place[0] = (bits_of(entry, 48, 5) << 8) + <u64>event * s.its_entry_size[TABLE_EVENT]
    return ITS_OK


cdef u32 its_find_event(GicState *s, Its *t, u32 device, u32 event, ItsRoute *route) noexcept nogil:
    """The mapping of an event, its collection not yet looked at."""
    cdef u64 entry
    cdef u32 result = its_event_place(s, t, device, event, &route.place)
    if result != ITS_OK:
        return result
    result = mem_read64(s, route.place, &entry)
    if result != MEM_OK:
        t.table_faults += result == MEM_FAULT
        return ITS_WAIT if result == MEM_WAIT else ITS_EVENT_RANGE
    route.intid = <u32>bits_of(entry, 47, 16)
    route.icid = <u32>bits_of(entry, 15, 0)
    if route.intid == 0:
        return ITS_EVENT_UNMAPPED
    return ITS_OK if is_lpi(s, route.intid) else ITS_ITE_INVALID


cdef u32 its_target(GicState *s, u64 rdbase) noexcept nogil:
    """The PE that RDbase, bits 51:16 of a field, names: by number, or with PTA by address; NO_PE when there is none."""
    cdef u64 distance = 0
    cdef u32 pe
    if not s.pta:
        return <u32>rdbase if rdbase < s.num_pe else <u32>NO_PE
    pe = redist_at(s, rdbase << 16, &distance)
    return pe if distance == 0 else <u32>NO_PE


cdef u32 its_icid_place(GicState *s, Its *t, u32 icid, u64 *place) noexcept nogil:
    cdef u32 result
    if icid >> s.collection_bits:
        return ITS_ICID_RANGE
    result = table_place(s, t, TABLE_COLLECTION, icid, place)
    if result == MEM_WAIT:
        return ITS_WAIT
    return ITS_OK if result == MEM_OK else ITS_ICID_RANGE


cdef u32 its_find_target(GicState *s, Its *t, u32 icid, u32 *pe) noexcept nogil:
    """The PE that a collection leads to. An entry that names none is as good as no mapping."""
    cdef u64 place, entry
    cdef u32 result = its_icid_place(s, t, icid, &place)
    if result != ITS_OK:
        return result
    result = mem_read64(s, place, &entry)
    if result != MEM_OK:
        t.table_faults += result == MEM_FAULT
        return ITS_WAIT if result == MEM_WAIT else ITS_ICID_RANGE
    pe[0] = its_target(s, bits_of(entry, 51, 16))
    return ITS_OK if entry >> 63 and pe[0] != NO_PE else ITS_ICID_UNMAPPED


cdef u32 its_to_store(Its *t, u64 place, u64 entry, u32 fault) noexcept nogil:
    """The entry that a command writes; `fault` is what it means that there is no memory."""
    t.store.place = place
    t.store.entry = entry
    t.store.fault = fault
    return ITS_STORE
