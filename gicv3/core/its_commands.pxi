# The commands of an ITS (architecture notes 4.1 to 4.3). A command reads all it needs; one that has to wait for that,
# or stalls, is done again from its start. Then it writes one table entry at most, and what follows from that it does
# when the entry is in memory: see its_store().

cdef enum:
    CMD_MOVI = 0x01
    CMD_INT = 0x03
    CMD_CLEAR = 0x04
    CMD_SYNC = 0x05
    CMD_MAPD = 0x08
    CMD_MAPC = 0x09
    CMD_MAPTI = 0x0A
    CMD_MAPI = 0x0B
    CMD_INV = 0x0C
    CMD_INVALL = 0x0D
    CMD_MOVALL = 0x0E
    CMD_DISCARD = 0x0F
    CLEAR_CLASS = 0x05           # of its error codes: everybody's, though its opcode is another
    SCAN_UNITS = 256             # what a walk through the translation cache costs of the budget


cdef u32 its_route(GicState *s, Its *t, u32 device, u32 event, ItsRoute *route) noexcept nogil:
    """Event to LPI and PE, for commands: a collection that is not mapped makes the event's entry invalid."""
    cdef u32 result = its_find_event(s, t, device, event, route)
    if result == ITS_OK:
        result = its_find_target(s, t, route.icid, &route.pe)
        if result == ITS_ICID_RANGE or result == ITS_ICID_UNMAPPED:
            return ITS_ITE_INVALID
    return result


cdef u32 its_mapd(GicState *s, Its *t, u64 *cmd) noexcept nogil:
    cdef u32 device = <u32>(cmd[0] >> 32)
    cdef u64 size = bits_of(cmd[1], 4, 0)
    cdef u64 place
    cdef u64 entry = 0
    cdef u32 result = its_device_place(s, t, device, &place)
    if result != ITS_OK:
        return result
    if cmd[2] >> 63:
        if size + 1 > s.event_bits:
            return ITS_ITT_RANGE
        entry = <u64>1 << 63 | bits_of(cmd[2], 51, 8) << 5 | size
    return its_to_store(t, place, entry, ITS_DEVICE_RANGE)


cdef u32 its_mapc(GicState *s, Its *t, u64 *cmd) noexcept nogil:
    cdef u32 icid = <u32>bits_of(cmd[2], 15, 0)
    cdef u64 place
    cdef u64 entry = 0
    cdef u32 result = its_icid_place(s, t, icid, &place)
    if result != ITS_OK:
        return result
    if cmd[2] >> 63:
        if its_target(s, bits_of(cmd[2], 51, 16)) == NO_PE:
            return ITS_ITT_RANGE         # 02: here of the redistributor
        entry = <u64>1 << 63 | bits_of(cmd[2], 51, 16) << 16 | icid
    return its_to_store(t, place, entry, ITS_ICID_RANGE)


cdef u32 its_mapti(GicState *s, Its *t, u64 *cmd, u32 intid) noexcept nogil:
    """MAPTI and MAPI: a mapping that is there already is replaced; the old LPI keeps its pending state."""
    cdef u32 icid = <u32>bits_of(cmd[2], 15, 0)
    cdef u64 place, collection
    cdef u32 result = its_event_place(s, t, <u32>(cmd[0] >> 32), <u32>cmd[1], &place)
    if result != ITS_OK:
        return result
    if not is_lpi(s, intid):
        return ITS_PINTID_RANGE
    result = its_icid_place(s, t, icid, &collection)
    if result != ITS_OK:
        return result
    return its_to_store(t, place, <u64>intid << 16 | icid, ITS_EVENT_RANGE)


cdef u32 its_movi(GicState *s, Its *t, u64 *cmd) noexcept nogil:
    cdef u32 icid = <u32>bits_of(cmd[2], 15, 0)
    cdef ItsRoute route
    cdef u32 result = its_find_event(s, t, <u32>(cmd[0] >> 32), <u32>cmd[1], &route)
    if result != ITS_OK:
        return result
    result = its_find_target(s, t, icid, &t.store.target)
    if result != ITS_OK:
        return result
    result = its_find_target(s, t, route.icid, &route.pe)
    if result != ITS_OK:
        return ITS_ICID_UNMAPPED if result == ITS_ICID_RANGE else result
    if lpi_unread(s, route.pe, route.intid):
        return ITS_WAIT
    t.store.pe = route.pe
    t.store.intid = route.intid
    return its_to_store(t, route.place, <u64>route.intid << 16 | icid, ITS_EVENT_RANGE)


cdef u32 its_discard(GicState *s, Its *t, u64 *cmd) noexcept nogil:
    cdef ItsRoute route
    cdef u32 result = its_route(s, t, <u32>(cmd[0] >> 32), <u32>cmd[1], &route)
    if result != ITS_OK:
        return result
    if lpi_unread(s, route.pe, route.intid):
        return ITS_WAIT
    t.store.pe = route.pe
    t.store.intid = route.intid
    return its_to_store(t, route.place, 0, ITS_EVENT_RANGE)


cdef u32 its_one(GicState *s, Its *t, u32 op, u64 *cmd) noexcept nogil:
    """INT, CLEAR and INV: something happens to the LPI that an event leads to."""
    cdef ItsRoute route
    cdef u32 result = its_route(s, t, <u32>(cmd[0] >> 32), <u32>cmd[1], &route)
    if result != ITS_OK:
        return result
    if op == CMD_CLEAR and lpi_unread(s, route.pe, route.intid):
        return ITS_WAIT
    if op == CMD_INT:
        lpi_pend(s, route.pe, route.intid)
    elif op == CMD_CLEAR:
        lpi_clear(s, route.pe, route.intid)
    else:
        lpi_invalidate(s, route.pe, route.intid)
    return ITS_OK


cdef u32 its_movall(GicState *s, u64 *cmd, int32_t *budget) noexcept nogil:
    cdef u32 pe = its_target(s, bits_of(cmd[2], 51, 16))
    cdef u32 target = its_target(s, bits_of(cmd[3], 51, 16))
    if pe == NO_PE or target == NO_PE:
        return ITS_DEVICE_RANGE          # 01: here of the redistributor
    if s.lpi[pe].load_at and s.lpi[pe].enabled:
        return ITS_WAIT
    return ITS_OK if lpi_move_all(s, pe, target, budget) else ITS_WAIT


cdef u32 its_store(GicState *s, Its *t, u32 its, int32_t *budget) noexcept nogil:
    """Write the entry of the command under way, then do what follows from it."""
    cdef u64 *cmd = &t.store.command[0]
    cdef u32 op = <u32>(cmd[0] & 0xFF)
    cdef u32 device = <u32>(cmd[0] >> 32)
    cdef u32 result = mem_write64(s, t.store.place, t.store.entry)
    if result == MEM_WAIT:
        return ITS_WAIT
    if result == MEM_FAULT:
        t.table_faults += 1
        return t.store.fault
    if op == CMD_MAPD:
        cache_drop_device(s, its, device)
        budget[0] -= SCAN_UNITS
    elif op == CMD_MAPC:
        cache_drop_collection(s, its, <u32>bits_of(cmd[2], 15, 0))
        budget[0] -= SCAN_UNITS
    else:
        cache_drop_event(s, its, device, <u32>cmd[1])
    if op == CMD_MOVI:
        lpi_move(s, t.store.pe, t.store.target, t.store.intid)
    elif op == CMD_DISCARD:
        lpi_clear(s, t.store.pe, t.store.intid)
    return ITS_OK


cdef u32 its_command(GicState *s, Its *t, u64 *cmd, int32_t *budget) noexcept nogil:
    """Carry out one command: ITS_OK, ITS_STORE, ITS_WAIT, or why it could not be."""
    cdef u32 op = <u32>(cmd[0] & 0xFF)
    cdef u32 pe, result
    if op == CMD_INT or op == CMD_CLEAR or op == CMD_INV:
        return its_one(s, t, op, cmd)
    elif op == CMD_MAPTI:
        return its_mapti(s, t, cmd, <u32>(cmd[1] >> 32))
    elif op == CMD_MAPI:
        return its_mapti(s, t, cmd, <u32>cmd[1])
    elif op == CMD_MOVI:
        return its_movi(s, t, cmd)
    elif op == CMD_DISCARD:
        return its_discard(s, t, cmd)
    elif op == CMD_MAPD:
        return its_mapd(s, t, cmd)
    elif op == CMD_MAPC:
        return its_mapc(s, t, cmd)
    elif op == CMD_INVALL:
        result = its_find_target(s, t, <u32>bits_of(cmd[2], 15, 0), &pe)
        if result == ITS_OK:
            lpi_invalidate_all(s, pe)
        return result
    elif op == CMD_MOVALL:
        return its_movall(s, cmd, budget)
    elif op == CMD_SYNC:
        pe = its_target(s, bits_of(cmd[2], 51, 16))
        if pe != NO_PE and s.lpi[pe].listed:
            return ITS_WAIT              # what it asked for before is still being done
        return ITS_OK
    return ITS_UNKNOWN


cdef u32 its_error_code(u32 op, u32 reason) noexcept nogil:
    """Syndrome number: 01, class, reason. An unknown command has no reason, and its opcode as class."""
    cdef u32 kind = CLEAR_CLASS if op == CMD_CLEAR else op
    return 0x010000 | kind << 8 | (0 if reason == ITS_UNKNOWN else reason)
