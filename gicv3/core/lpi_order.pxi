# The enabled pending LPIs of a PE in order of service. In front stands one word of them, which costs no walk; behind it
# a tree of 64-way nodes over (priority level, INTID), whose best is known, so that the best of any number costs a few
# bit scans, and nothing at all while what comes and goes is better than the rest. Nodes come from a pool that grows
# with what is pending, up to LPI_NODE_LIMIT, and are named by number: 0 is none.

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
    """An empty node, or 0 when there is no room for more; pointers to nodes do not survive it."""
    cdef u32 index = s.lpi_node_free
    cdef u32 room
    cdef LpiNode *grown
    if index:
        s.lpi_node_free = <u32>s.lpi_node[index].place[0]
        s.lpi_node[index].place[0] = 0
        return index
    if s.num_lpi_node == s.lpi_node_room:
        room = min(2 * s.lpi_node_room, <u32>LPI_NODE_LIMIT)
        if room == s.lpi_node_room:
            return 0
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


cdef inline u32 lpi_place(u32 level, u32 word, u32 steps, u32 step) noexcept nogil:
    """Which of 64 places leads on from the node at `step`, the first being 0, to a word of LPIs."""
    if step == 0:
        return level
    return word >> (12 if step + 1 < steps else 6) & 63


cdef bint tree_grow(GicState *s, LpiPe *lp, u32 level, u32 word, u64 bits) noexcept nogil:
    """tree_put() where nodes are missing on the way; False when there is no room, and nothing is changed then."""
    cdef u32[LPI_STEPS + 1] path
    cdef u32 steps = lpi_steps(s)
    cdef u32 step, place, fresh
    fresh = steps + 1            # the first node of the path that had to be made
    for step in range(steps + 1):
        if step == 0:
            path[0] = lp.order
        else:
            place = lpi_place(level, word, steps, step - 1)
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
        place = lpi_place(level, word, steps, step)
        s.lpi_node[path[step]].used |= <u64>1 << place
        s.lpi_node[path[step]].place[place] = path[step + 1]
    s.lpi_node[path[steps]].used |= <u64>1 << (word & 63)
    s.lpi_node[path[steps]].place[word & 63] |= bits
    return True


cdef inline u32 tree_leaf(GicState *s, LpiPe *lp, u32 level, u32 word) noexcept nogil:
    """The lowest node on the way to a word of LPIs, or 0. Node 0 is empty, so it leads to itself."""
    cdef LpiNode *node = s.lpi_node
    cdef u32 leaf = <u32>node[lp.order].place[level]
    if s.id_bits > 18:
        leaf = <u32>node[leaf].place[word >> 12 & 63]
    return <u32>node[leaf].place[word >> 6 & 63]


cdef inline bint tree_put(GicState *s, LpiPe *lp, u32 level, u32 word, u64 bits) noexcept nogil:
    """Enter LPIs of one word into the tree."""
    cdef u32 leaf = tree_leaf(s, lp, level, word)
    if unlikely(leaf == 0):
        return tree_grow(s, lp, level, word, bits)
    s.lpi_node[leaf].used |= <u64>1 << (word & 63)
    s.lpi_node[leaf].place[word & 63] |= bits
    return True


cdef inline u64 word_best(GicState *s, u32 level, u32 word, u64 bits) noexcept nogil:
    """Key of the best LPI of a word that is not empty."""
    return lpi_key(s, level, word << 6 | (gic_top64(bits) if s.tie_flip else gic_ctz64(bits)))


cdef u64 tree_best(GicState *s, LpiPe *lp) noexcept nogil:
    """Key of the best LPI in the tree, or KEY_NONE."""
    cdef u32 level, step, place
    cdef u32 word = 0
    cdef LpiNode *node
    if lp.order == 0:
        return KEY_NONE
    node = &s.lpi_node[lp.order]
    level = gic_ctz64(node.used)
    place = level
    for step in range(lpi_steps(s)):
        node = &s.lpi_node[node.place[place]]
        place = gic_top64(node.used) if s.tie_flip else gic_ctz64(node.used)
        word = word << 6 | place
    return word_best(s, level, word, node.place[place])


cdef void tree_prune(GicState *s, LpiPe *lp, u32 level, u32 word) noexcept nogil:
    """A word of the tree is empty: so is its leaf perhaps; nodes that become empty go back to the pool."""
    cdef u32[LPI_STEPS + 1] path
    cdef u32 steps = lpi_steps(s)
    cdef u32 step
    cdef u32 place = word & 63
    path[0] = lp.order
    for step in range(steps):
        path[step + 1] = <u32>s.lpi_node[path[step]].place[lpi_place(level, word, steps, step)]
    step = steps
    while True:
        s.lpi_node[path[step]].used &= ~(<u64>1 << place)
        if s.lpi_node[path[step]].used:
            return
        node_give(s, path[step])
        if step == 0:
            lp.order = 0
            return
        step -= 1
        place = lpi_place(level, word, steps, step)
        s.lpi_node[path[step]].place[place] = 0


cdef void tree_take(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """Take out an LPI that is in the tree."""
    cdef u64 *bits = &s.lpi_node[tree_leaf(s, lp, level, intid >> 6)].place[intid >> 6 & 63]
    bits[0] &= ~(<u64>1 << (intid & 63))
    if bits[0] == 0:
        tree_prune(s, lp, level, intid >> 6)
    lp.behind = tree_best(s, lp)


cdef u64 tree_take_word(GicState *s, LpiPe *lp, u32 level, u32 word) noexcept nogil:
    """Take out all LPIs of a word, the best one's."""
    cdef LpiNode *leaf = &s.lpi_node[tree_leaf(s, lp, level, word)]
    cdef u64 bits = leaf.place[word & 63]
    cdef u64 rest = leaf.used & ~(<u64>1 << (word & 63))
    cdef u32 place
    leaf.place[word & 63] = 0
    if rest:                     # the next best is a neighbour
        leaf.used = rest
        place = gic_top64(rest) if s.tie_flip else gic_ctz64(rest)
        lp.behind = word_best(s, level, word & ~<u32>63 | place, leaf.place[place])
    else:
        tree_prune(s, lp, level, word)
        lp.behind = tree_best(s, lp)
    return bits


# --- the front word and the tree ---------------------------------------------------------------------------------

cdef inline bint front_has(LpiPe *lp, u32 intid) noexcept nogil:
    return lp.front_word == intid >> 6 and lp.front >> (intid & 63) & 1


cdef inline u64 order_best(GicState *s, LpiPe *lp) noexcept nogil:
    """Key of the best LPI, or KEY_NONE."""
    if lp.front == 0:
        return lp.behind
    return min(lp.behind, word_best(s, lp.front_level, lp.front_word, lp.front))


cdef inline bint order_put(GicState *s, LpiPe *lp, u32 level, u32 intid, u64 key) noexcept nogil:
    """Enter an LPI: in front if it is better than all the rest; False when there is no room, but not for the first."""
    cdef u64 bit = <u64>1 << (intid & 63)
    cdef u32 word = intid >> 6
    if lp.front and lp.front_word == word and lp.front_level == level:
        lp.front |= bit
        return True
    if key < lp.best:
        if lp.front:             # it gives way
            if not tree_put(s, lp, lp.front_level, lp.front_word, lp.front):
                return False
            lp.behind = min(lp.behind, word_best(s, lp.front_level, lp.front_word, lp.front))
        lp.front = bit
        lp.front_word = word
        lp.front_level = <u8>level
        return True
    if not tree_put(s, lp, level, word, bit):
        return False
    lp.behind = min(lp.behind, key)
    return True


cdef inline void order_take(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """Take out an LPI that stands at this level; with the best one comes its word, if nothing is in front."""
    if likely(front_has(lp, intid)):
        lp.front &= ~(<u64>1 << (intid & 63))
    elif lp.front == 0 and lpi_key(s, level, intid) == lp.behind:
        lp.front = tree_take_word(s, lp, level, intid >> 6) & ~(<u64>1 << (intid & 63))
        lp.front_word = intid >> 6
        lp.front_level = <u8>level
    else:
        tree_take(s, lp, level, intid)


cdef bint order_has(GicState *s, LpiPe *lp, u32 level, u32 intid) noexcept nogil:
    """An LPI stands at this level."""
    if front_has(lp, intid):
        return lp.front_level == level
    return s.lpi_node[tree_leaf(s, lp, level, intid >> 6)].place[intid >> 6 & 63] >> (intid & 63) & 1


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
    lp.front = 0
    lp.behind = KEY_NONE
    lp.best = KEY_NONE
