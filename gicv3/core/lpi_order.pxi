# The enabled pending LPIs of a PE in order of service: a tree of 64-way nodes over (priority level, INTID), so that the
# best of any number is found by a few bit scans. One LPI alone needs no tree. Nodes come from a pool that grows with
# what is pending, and are named by number: 0 is none.

cdef enum:
    LPI_STEPS = 3                # most inner steps: level, INTID 23:18, INTID 17:12; the leaf holds 4096 LPIs


cdef inline u32 lpi_level_mask(GicState *s) noexcept nogil:
    """The bits of a configuration byte's priority field that are implemented (3.4): DS=0 shifts the field by one."""
    return s.prio_mask >> (2 if s.ds else 1) & 0x3F


cdef inline u32 lpi_prio(GicState *s, u32 level) noexcept nogil:
    """Effective priority of a level."""
    return level << 2 if s.ds else 0x80 | level << 1


cdef inline u64 lpi_key(GicState *s, u32 level, u32 intid) noexcept nogil:
    return order_key(s, lpi_prio(s, level), 1, intid)


cdef u32 node_take(GicState *s) noexcept nogil:
    """An empty node, or 0 when the host has no memory; pointers to nodes do not survive it."""
    cdef u32 index = s.lpi_node_free
    cdef u32 room
    cdef LpiNode *grown
    if index:
        s.lpi_node_free = <u32>s.lpi_node[index].place[0]
        s.lpi_node[index].place[0] = 0
        return index
    if s.num_lpi_node == s.lpi_node_room:
        room = 2 * s.lpi_node_room
        grown = <LpiNode *>zalloc(room * sizeof(LpiNode))
        if grown == NULL:
            return 0
        memcpy(grown, s.lpi_node, s.num_lpi_node * sizeof(LpiNode))
        free(s.lpi_node)
        s.lpi_node = grown
        s.lpi_node_room = room
    index = s.num_lpi_node
    s.num_lpi_node += 1
    return index


cdef inline void node_give(GicState *s, u32 index) noexcept nogil:
    """Give back an empty node; all its places are 0 already."""
    s.lpi_node[index].place[0] = s.lpi_node_free
    s.lpi_node_free = index


cdef inline u32 lpi_steps(GicState *s) noexcept nogil:
    return 3 if s.id_bits > 18 else 2


cdef inline u32 lpi_place(u32 level, u32 intid, u32 steps, u32 step) noexcept nogil:
    """Which of 64 places leads on from the node at `step`, the first being 0."""
    if step == 0:
        return level
    return intid >> (18 if step + 1 < steps else 12) & 63


cdef bint order_put(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """Enter an LPI into the tree; False when the host has no memory, and nothing is changed then."""
    cdef u32[LPI_STEPS + 1] path
    cdef u32 steps = lpi_steps(s)
    cdef u32 step, place, fresh
    fresh = steps + 1            # the first node of the path that had to be made
    for step in range(steps + 1):
        if step == 0:
            path[0] = lp.order
        else:
            place = lpi_place(level, intid, steps, step - 1)
            path[step] = <u32>s.lpi_node[path[step - 1]].place[place] if fresh > steps else 0
        if path[step] == 0:
            fresh = min(fresh, step)
            path[step] = node_take(s)
            if path[step] == 0:
                while step > fresh:
                    step -= 1
                    node_give(s, path[step])
                return False
    lp.order = path[0]
    for step in range(steps):
        place = lpi_place(level, intid, steps, step)
        s.lpi_node[path[step]].used |= <u64>1 << place
        s.lpi_node[path[step]].place[place] = path[step + 1]
    s.lpi_node[path[steps]].used |= <u64>1 << (intid >> 6 & 63)
    s.lpi_node[path[steps]].place[intid >> 6 & 63] |= <u64>1 << (intid & 63)
    return True


cdef bint order_has(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    cdef u32 node = lp.order
    cdef u32 steps = lpi_steps(s)
    cdef u32 step
    if lp.alone:
        return lp.alone == intid and lp.alone_level == level
    for step in range(steps):
        if node == 0:
            return False
        node = <u32>s.lpi_node[node].place[lpi_place(level, intid, steps, step)]
    return node != 0 and s.lpi_node[node].place[intid >> 6 & 63] >> (intid & 63) & 1


cdef u64 order_best(GicState *s, LpiPe *lp) noexcept nogil:
    """Key of the best LPI, or KEY_NONE."""
    cdef u32 level, intid, step, place
    cdef u32 steps = lpi_steps(s)
    cdef LpiNode *node
    if lp.alone:
        return lpi_key(s, lp.alone_level, lp.alone)
    if lp.order == 0:
        return KEY_NONE
    node = &s.lpi_node[lp.order]
    level = gic_ctz64(node.used)
    node = &s.lpi_node[node.place[level]]
    intid = 0
    for step in range(1, steps + 1):
        place = gic_top64(node.used) if s.tie_flip else gic_ctz64(node.used)
        intid = intid << 6 | place
        if step < steps:
            node = &s.lpi_node[node.place[place]]
    intid <<= 6
    intid |= gic_top64(node.place[place]) if s.tie_flip else gic_ctz64(node.place[place])
    return lpi_key(s, level, intid)


cdef void order_take(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """Take an LPI that order_has() out; nodes that become empty go back to the pool."""
    cdef u32[LPI_STEPS + 1] path
    cdef u32 steps = lpi_steps(s)
    cdef u32 step
    cdef u32 place = intid >> 6 & 63
    cdef LpiNode *node
    path[0] = lp.order
    for step in range(steps):
        path[step + 1] = <u32>s.lpi_node[path[step]].place[lpi_place(level, intid, steps, step)]
    node = &s.lpi_node[path[steps]]
    node.place[place] &= ~(<u64>1 << (intid & 63))
    if node.place[place]:
        return
    step = steps
    while True:
        node.used &= ~(<u64>1 << place)
        if node.used:
            return
        node_give(s, path[step])
        if step == 0:
            lp.order = 0
            return
        step -= 1
        node = &s.lpi_node[path[step]]
        place = lpi_place(level, intid, steps, step)
        node.place[place] = 0


cdef void node_drop(GicState *s, u32 index, u32 depth) noexcept nogil:
    """Empty a node and what hangs below it; `depth` inner steps lead from it to the leaves. At most LPI_STEPS deep."""
    cdef u32 place
    cdef u64 used = s.lpi_node[index].used
    while used:
        place = gic_ctz64(used)
        used &= used - 1
        if depth:
            node_drop(s, <u32>s.lpi_node[index].place[place], depth - 1)
        s.lpi_node[index].place[place] = 0
    s.lpi_node[index].used = 0
    node_give(s, index)


cdef void order_clear(GicState *s, LpiPe *lp) noexcept nogil:
    if lp.order:
        node_drop(s, lp.order, lpi_steps(s))
    lp.order = 0
    lp.alone = 0
    lp.best = KEY_NONE
