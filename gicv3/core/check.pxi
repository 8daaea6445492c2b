# state_check(): the numbered invariants, each recomputed from scratch. For tests and stress loops; slow on purpose.

# What each number means; raised by Gic.check() with the place where it failed.
_INVARIANTS = {
    1: "gate of a private word == enable & open groups",
    2: "unimplemented bits of private state are 0",
    3: "the highest priority pending interrupt is the best of all candidates",
    4: "output lines follow from the choice, the group, the masks and the context",
    5: "an SPI waits in a queue exactly when it is a candidate: at its target, in its group, at its level",
    6: "the running priority follows from the active priorities",
    7: "the affinity table leads from every PE's affinity to that PE",
    8: "the accessible bitmap equals the PEs' flags; an absent PE drives no line",
    9: "an SPI's target is the PE that IROUTER names",
    10: "a PE is on a drain list exactly when its mark says so",
    11: "every queue and bucket is in use or free, none both",
    12: "priorities have no unimplemented bits",
    13: "preemption masks follow from the binary points",
    14: "unimplemented bits of SPI state are 0",
    15: "a PE is plain exactly when nothing about it is special",
    16: "the 1-of-N sets hold exactly the PEs that participate or may be woken",
    17: "a 1-of-N SPI waits at a participant; where there is none, at a PE being woken or nowhere, and is listed",
    18: "ChildrenAsleep blocks delivery exactly while it differs from awake",
    19: "a redistributor's count of pending LPIs is that of its bits; they lie inside its tables",
    20: "pending LPIs stand in order at an implemented level, and the best one is known",
    21: "a redistributor has LPI state only while they are enabled, and is listed while it has work",
    22: "every node of the LPI pool hangs in one tree or is free",
    23: "a cached translation is of an enabled ITS, in its place, valid and counted",
    24: "an ITS is busy exactly when its queue has commands that can be done",
    25: "where the order has no room for LPIs, some stand in it, or all are about to be judged again",
}

cdef enum:
    CHECK_NO_MEMORY = 0xFFFFFFFFU

cdef struct Failure:
    u32 rule
    u32 pe
    u32 intid


cdef u32 check_fail(Failure *f, u32 rule, u32 pe, u32 intid) noexcept nogil:
    f.rule = rule
    f.pe = pe
    f.intid = intid
    return rule


cdef bint private_candidate(GicState *s, PeState *p, u32 slot) noexcept nogil:
    """Candidate by definition: pending, enabled, not active, group enabled where the choice looks."""
    cdef PrivateHot *h = private_word(s, p, slot >> 5)
    cdef u32 b = slot & 31
    cdef bint level = not h.edge >> b & 1
    cdef bint pending = h.latch >> b & 1 or (level and h.line >> b & 1)
    cdef u32 groups = s.enables
    if not s.gate_rule and not p.flags & PE_ASLEEP:
        groups &= p.igrpen
    return (pending and cold_of(s, p).enable[slot >> 5] >> b & 1 and not h.active >> b & 1
            and groups >> private_group(s, p, slot) & 1)


cdef u64 spi_key(GicState *s, u32 slot) noexcept nogil:
    cdef u32 group = shared_group(s, slot)
    if shared_is_nmi(s, slot):
        return order_key(s, nmi_prio(s, group), 0, shared_intid(slot))
    return order_key(s, s.spi[slot].prio, 1, shared_intid(slot))


cdef bint spi_candidate(GicState *s, u32 slot) noexcept nogil:
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef u32 b = slot & 31
    return shared_pending(s, slot) and w.enable >> b & 1 and not w.active >> b & 1


cdef u32 check_private(GicState *s, u32 pe, u64 *best, Failure *f) noexcept nogil:
    """Invariants of a PE's SGIs and PPIs; `best` becomes the key of the first to be served."""
    cdef PeState *p = &s.pe[pe]
    cdef PrivateHot *h
    cdef u32 slot, word, group, bits, wanted
    best[0] = KEY_NONE
    for word in range(PRIVATE_WORDS):
        h = private_word(s, p, word)
        bits = h.latch | h.line | h.active | h.group | h.grpmod | h.gate
        bits |= cold_of(s, p).enable[word] | cold_of(s, p).nmi[word]
        if bits & ~private_valid(s, word):
            return check_fail(f, 2, pe, word * 32)
        if word >= private_words(s):
            continue
        wanted = 0
        for slot in range(word * 32, word * 32 + 32):
            group = private_group(s, p, slot)
            if p.open_groups >> group & 1:
                wanted |= <u32>1 << (slot & 31)
            if private_prio(s, p, slot)[0] & ~s.prio_mask:
                return check_fail(f, 12, pe, private_intid(slot))
            if private_candidate(s, p, slot):
                if private_is_nmi(s, p, slot):
                    best[0] = min(best[0], order_key(s, nmi_prio(s, group), 0, private_intid(slot)))
                else:
                    best[0] = min(best[0], order_key(s, private_prio(s, p, slot)[0], 1, private_intid(slot)))
        if h.gate != (wanted & cold_of(s, p).enable[word]):
            return check_fail(f, 1, pe, word * 32)
    return 0


cdef u32 check_choice(GicState *s, u32 pe, u64 best, Failure *f) noexcept nogil:
    """A PE's choice is the interrupt with the key `best`."""
    cdef PeState *p = &s.pe[pe]
    if best >> 32 >= 2 * 0xFF:
        if p.hpp != INTID_NONE or p.hpp_prio != 0xFF:
            return check_fail(f, 3, pe, p.hpp)
    elif p.hpp != (<u32>best ^ s.tie_flip) or p.hpp_prio != <u8>(best >> 33) or p.hpp_nmi != (not best >> 32 & 1):
        return check_fail(f, 3, pe, <u32>best ^ s.tie_flip)
    elif p.hpp_group != intid_group(s, p, p.hpp):
        return check_fail(f, 3, pe, p.hpp)
    return 0


cdef u32 check_derived(GicState *s, u32 pe, Failure *f) noexcept nogil:
    """Recompute masks and lines in place, compare, put back: nothing else looks meanwhile."""
    cdef PeState *p = &s.pe[pe]
    cdef PeState kept = p[0]
    cdef PeState fresh
    cdef u32 group
    cdef u8 lines
    cpuif_masks(s, p)
    cpuif_running(s, p)
    pe_context(s, p)
    lines = pe_lines(s, p)
    fresh = p[0]
    p[0] = kept
    for group in range(NUM_GROUPS):
        if fresh.preempt_mask[group] != p.preempt_mask[group]:
            return check_fail(f, 13, pe, INTID_NONE)
    if fresh.running != p.running:
        return check_fail(f, 6, pe, INTID_NONE)
    if (fresh.flags ^ p.flags) & PE_PLAIN:
        return check_fail(f, 15, pe, INTID_NONE)
    if lines != p.lines or fresh.fiq_groups != p.fiq_groups:
        return check_fail(f, 4, pe, p.hpp)
    return 0


cdef u32 check_sets(GicState *s, u32 pe, Failure *f) noexcept nogil:
    """A PE is where the sets of PEs and the table of affinities say."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 kind
    if affinity_find(s, cold_of(s, p).affinity) != pe:
        return check_fail(f, 7, pe, INTID_NONE)
    if (s.accessible[pe >> 6] >> (pe & 63) & 1) != (p.flags & PE_ACCESSIBLE):
        return check_fail(f, 8, pe, INTID_NONE)
    if not p.flags & PE_ACCESSIBLE and p.lines:
        return check_fail(f, 8, pe, INTID_NONE)
    if (p.flags & PE_ASLEEP != 0) != (cold_of(s, p).waker != 0):
        return check_fail(f, 18, pe, INTID_NONE)
    if s.features & FEAT_ONE_OF_N:
        for kind in range(2 * SLEEPER_SETS):
            if set_has(s, kind, pe) != (pe_participates(s, p) >> kind & 1):
                return check_fail(f, 16, pe, INTID_NONE)
    return 0


cdef u32 check_pe(GicState *s, u32 pe, u64 *best_spi, Failure *f) noexcept nogil:
    """Invariants of one PE; best_spi[group] is the best SPI key for it by full recomputation."""
    cdef PeState *p = &s.pe[pe]
    cdef u32 group, failed
    cdef u64 best
    failed = check_private(s, pe, &best, f)
    if failed:
        return failed
    for group in range(NUM_GROUPS):
        if p.open_groups >> group & 1:
            best = min(best, best_spi[group])
    if s.lpi != NULL and p.open_groups >> G1NS & 1:
        best = min(best, s.lpi[pe].best)
    failed = check_choice(s, pe, best, f)
    if not failed:
        failed = check_derived(s, pe, f)
    if not failed:
        failed = check_sets(s, pe, f)
    return failed


cdef u32 check_spi(GicState *s, u32 slot, Failure *f) noexcept nogil:
    cdef Shared *spi = &s.spi[slot]
    cdef u32 intid = shared_intid(slot)
    cdef u32 wanted, level, group
    cdef bint homeless
    cdef SpiQueue *q
    if spi.prio & ~s.prio_mask:
        return check_fail(f, 12, NO_PE, intid)
    wanted = affinity_find(s, affinity_pack(spi.irouter & ~<u64>IROUTER_IRM))
    if spi.target != (0 if wanted == NO_PE and s.unknown_route_first else wanted):
        return check_fail(f, 9, spi.target, intid)
    wanted = NO_PE
    if spi_is_one_of_n(s, slot):
        group = shared_group(s, slot)
        if spi_candidate(s, slot):
            wanted = spi.queued_pe
            if wanted == NO_PE:
                if set_next(s, group, 0) != NO_PE or set_next(s, SLEEPER_SETS + group, 0) != NO_PE:
                    return check_fail(f, 17, NO_PE, intid)
            elif not set_has(s, group, wanted):
                if not set_has(s, SLEEPER_SETS + group, wanted) or set_next(s, group, 0) != NO_PE:
                    return check_fail(f, 17, wanted, intid)
        homeless = spi_candidate(s, slot) and (wanted == NO_PE or not set_has(s, group, wanted))
        if (s.homeless[slot >> 5] >> (slot & 31) & 1) != homeless:
            return check_fail(f, 17, wanted, intid)
    elif spi_candidate(s, slot):
        wanted = spi.target
    if spi.queued_pe != wanted:
        return check_fail(f, 5, wanted, intid)
    if wanted == NO_PE:
        return 0
    level = queue_level(s, nmi_prio(s, shared_group(s, slot)) if shared_is_nmi(s, slot) else spi.prio,
                        shared_is_nmi(s, slot))
    if spi.queued_group != shared_group(s, slot) or spi.queued_level != level:
        return check_fail(f, 5, wanted, intid)
    if s.pe[wanted].spi_q[spi.queued_group] == 0:
        return check_fail(f, 5, wanted, intid)
    if s.pe[wanted].spi_q[spi.queued_group] & SPI_ALONE:
        if s.pe[wanted].spi_q[spi.queued_group] != (SPI_ALONE | slot):
            return check_fail(f, 5, wanted, intid)
        return 0
    q = &s.queue[s.pe[wanted].spi_q[spi.queued_group]]
    if not q.levels[level >> 6] >> (level & 63) & 1:
        return check_fail(f, 5, wanted, intid)
    if not s.bucket[q.bucket[level]].slots[slot >> 6] >> (slot & 63) & 1:
        return check_fail(f, 5, wanted, intid)
    return 0


cdef u32 pool_free(GicState *s, bint buckets) noexcept nogil:
    """Length of a free list; entries never handed out count as free. Stops at the pool's size, so a loop shows."""
    cdef u32 i = s.bucket_free if buckets else s.queue_free
    cdef u32 following
    cdef u32 n = 0
    while i <= s.pool_size and n <= s.pool_size:
        n += 1
        following = s.bucket[i].next_free if buckets else s.queue[i].next_free
        i = following if following else i + 1
    return n


cdef u32 check_pools(GicState *s, Failure *f) noexcept nogil:
    """Count the queues and buckets reachable from PEs, and the SPIs in them."""
    cdef u32 queues = 0, buckets = 0, waiting = 0, queued = 0
    cdef u32 pe, group, level, word, slot
    cdef SpiQueue *q
    cdef SpiBucket *b
    for pe in range(s.num_pe):
        for group in range(NUM_GROUPS):
            if s.pe[pe].spi_q[group] == 0:
                continue
            if s.pe[pe].spi_q[group] & SPI_ALONE:
                waiting += 1
                continue
            queues += 1
            q = &s.queue[s.pe[pe].spi_q[group]]
            for level in range(512):
                if not q.levels[level >> 6] >> (level & 63) & 1:
                    continue
                buckets += 1
                b = &s.bucket[q.bucket[level]]
                for word in range(32):
                    if (b.slots[word] != 0) != (b.summary >> word & 1):
                        return check_fail(f, 11, pe, INTID_NONE)
                    for slot in range(64):
                        waiting += b.slots[word] >> slot & 1
    for slot in range(SHARED_SLOTS):
        queued += s.spi[slot].queued_pe != NO_PE
    if waiting != queued or queues + pool_free(s, False) != s.pool_size or buckets + pool_free(s, True) != s.pool_size:
        return check_fail(f, 11, NO_PE, INTID_NONE)
    return 0


cdef u32 check_lists(GicState *s, Failure *f) noexcept nogil:
    cdef u32 i
    cdef u32 polls = 0, notifies = 0
    for i in range(s.num_pe):
        polls += s.pe[i].marks & MARK_POLL
        notifies += s.pe[i].marks >> 1 & 1
    if polls != s.num_poll or notifies != s.num_notify:
        return check_fail(f, 10, NO_PE, INTID_NONE)
    for i in range(s.num_poll):
        if not s.pe[s.poll[i]].marks & MARK_POLL:
            return check_fail(f, 10, s.poll[i], INTID_NONE)
    for i in range(s.num_notify):
        if not s.pe[s.notify[i]].marks & MARK_NOTIFY:
            return check_fail(f, 10, s.notify[i], INTID_NONE)
    return 0


cdef u32 state_check(GicState *s, Failure *f) noexcept nogil:
    """The number of the first broken invariant, or 0; `f` says where. O(PEs + SPIs)."""
    cdef u32 slot, pe, word, group, bits
    cdef u64 key
    cdef u64 *best = <u64 *>malloc(s.num_pe * NUM_GROUPS * sizeof(u64))
    cdef u32 failed = 0
    cdef SharedWord *w
    if best == NULL:
        return CHECK_NO_MEMORY
    for pe in range(s.num_pe * NUM_GROUPS):
        best[pe] = KEY_NONE
    for word in range(SHARED_WORDS):
        w = &s.shared[word]
        bits = w.latch | w.line | w.message | w.edge | w.enable | w.active | w.group | w.grpmod | w.nmi
        if bits & ~shared_valid(s, word):
            failed = check_fail(f, 14, NO_PE, shared_intid(word * 32))
    for slot in range(NUM_PRIVATE, SHARED_SLOTS):
        if failed:
            break
        if shared_slot(s, shared_intid(slot)) == NO_SLOT:
            continue
        failed = check_spi(s, slot, f)
        if s.spi[slot].queued_pe != NO_PE:
            key = spi_key(s, slot)
            group = s.spi[slot].queued_group
            if key < best[s.spi[slot].queued_pe * NUM_GROUPS + group]:
                best[s.spi[slot].queued_pe * NUM_GROUPS + group] = key
    for pe in range(s.num_pe):
        if failed:
            break
        failed = check_pe(s, pe, &best[pe * NUM_GROUPS], f)
    if not failed:
        failed = check_pools(s, f)
    if not failed:
        failed = check_lists(s, f)
    free(best)
    return failed
