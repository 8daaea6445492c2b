# Invariants of LPIs, for state_check(): recomputed from the trees and tables themselves.

cdef struct OrderWalk:           # what a walk over an order of service finds
    u64 best
    u32 count
    u32 nodes
    u32 bad                      # an INTID that stands but is not pending, or a bit of `used` that lies


cdef void walk_lpi(GicState *s, LpiPe *lp, u32 level, u32 intid, OrderWalk *walk) noexcept nogil:
    cdef u64 key = lpi_key(s, level, intid)
    walk.count += 1
    walk.best = min(walk.best, key)
    if intid >= lp.limit or not lp.pend[intid >> 6] >> (intid & 63) & 1 or level & ~lpi_level_mask(s):
        walk.bad = intid


cdef void walk_node(GicState *s, LpiPe *lp, u32 node, u32 step, u32 level, u32 intid, OrderWalk *walk) noexcept nogil:
    """Visit what hangs below a node; `step` counts from the top, so the walk is as deep as the tree."""
    cdef u32 place, bit
    cdef u64 value
    walk.nodes += 1
    for place in range(64):
        value = s.lpi_node[node].place[place]
        if (value != 0) != (s.lpi_node[node].used >> place & 1):
            walk.bad = intid
        if value == 0:
            continue
        if step == lpi_steps(s):
            for bit in range(64):
                if value >> bit & 1:
                    walk_lpi(s, lp, level, (intid << 6 | place) << 6 | bit, walk)
        elif step == 0:
            walk_node(s, lp, <u32>value, 1, place, 0, walk)
        else:
            walk_node(s, lp, <u32>value, step + 1, level, intid << 6 | place, walk)


cdef bint lpi_in_tree(GicState *s, LpiPe *lp, u32 intid) noexcept nogil:
    cdef u32 level
    for level in range(64):
        if s.lpi_node[tree_leaf(s, lp, level, intid >> 6)].place[intid >> 6 & 63] >> (intid & 63) & 1:
            return True
    return False


cdef u32 check_lpi_pe(GicState *s, u32 pe, u32 *nodes, Failure *f) noexcept nogil:
    cdef LpiPe *lp = &s.lpi[pe]
    cdef OrderWalk walk
    cdef u32 word, bit
    cdef u32 pending = 0
    memset(&walk, 0, sizeof(walk))
    walk.best = KEY_NONE
    if (lp.limit or lp.flush_at) and lp.pend == NULL:
        return check_fail(f, 19, pe, INTID_NONE)
    for word in range(lp.limit >> 6):
        pending += gic_count64(lp.pend[word])
        if word < LPI_FIRST_WORD and lp.pend[word]:
            return check_fail(f, 19, pe, word * 64)
    if pending != lp.pending and not lp.flush_at:
        return check_fail(f, 19, pe, INTID_NONE)
    if lp.order:
        walk_node(s, lp, lp.order, 0, 0, 0, &walk)
    if walk.best != lp.behind:
        return check_fail(f, 20, pe, <u32>walk.best ^ s.tie_flip)
    for bit in range(64):
        if lp.front >> bit & 1:
            walk_lpi(s, lp, lp.front_level, lp.front_word << 6 | bit, &walk)
            if lpi_in_tree(s, lp, lp.front_word << 6 | bit):
                walk.bad = lp.front_word << 6 | bit
    nodes[0] += walk.nodes
    if walk.bad:
        return check_fail(f, 20, pe, walk.bad)
    if walk.best != lp.best or (lp.best != KEY_NONE) != (s.pe[pe].flags & PE_HAS_LPI != 0):
        return check_fail(f, 20, pe, <u32>walk.best ^ s.tie_flip)
    if (lp.enabled == 0 and lp.limit) or (lp.listed == 0 and (lp.load_at or lp.flush_at or lp.refresh_end)):
        return check_fail(f, 21, pe, INTID_NONE)
    if lp.unplaced and lp.best == KEY_NONE and not lp.refresh_end:
        return check_fail(f, 25, pe, INTID_NONE)
    return 0


cdef u32 check_its(GicState *s, Failure *f) noexcept nogil:
    """Translations are of enabled ITSs, lead to PEs and LPIs that there are, stand in their places and are counted."""
    cdef u32[16] count
    cdef u32 i, its
    cdef ItsEntry *entry
    memset(&count[0], 0, sizeof(count))
    if s.num_its == 0:
        return 0
    for i in range(CACHE_PLACES):
        entry = &s.its_cache[i]
        if entry.its == 0:
            continue
        its = entry.its - 1
        if entry.its > s.num_its or entry.pe >= s.num_pe or not is_lpi(s, entry.intid):
            return check_fail(f, 23, entry.pe, entry.intid)
        if entry != cache_place(s, its, entry.device, entry.event) or not s.its[its].enabled:
            return check_fail(f, 23, entry.pe, entry.intid)
        count[its] += 1
    for i in range(s.num_its):
        if count[i] != s.its[i].cached:
            return check_fail(f, 23, NO_PE, INTID_NONE)
        if (s.its_busy >> i & 1) != queue_has_work(&s.its[i]):
            return check_fail(f, 24, NO_PE, INTID_NONE)
    return 0


cdef u32 check_lpis(GicState *s, Failure *f) noexcept nogil:
    """Every PE; then that each node of the pool hangs in one tree or is free."""
    cdef u32 pe, failed
    cdef u32 nodes = 1
    cdef u32 i = s.lpi_node_free
    if s.lpi == NULL:
        return 0
    for pe in range(s.num_pe):
        failed = check_lpi_pe(s, pe, &nodes, f)
        if failed:
            return failed
    while i and nodes <= s.num_lpi_node:
        nodes += 1
        i = <u32>s.lpi_node[i].place[0]
    return check_fail(f, 22, NO_PE, INTID_NONE) if nodes != s.num_lpi_node else check_its(s, f)
