# THE hot path: who is the highest priority pending interrupt of a PE, and what do its output lines show.
# pe_show() and its short form are the only writers of an output line.

# --- choice of the highest priority pending interrupt ------------------------------------------------------------

cdef u64 private_best_nmi(GicState *s, PeState *p, u32 word, u32 cand, u64 best) noexcept nogil:
    """private_best() where some may be NMIs."""
    cdef u32 bit
    while cand:
        bit = gic_ctz32(cand)
        cand &= cand - 1
        best = min(best, private_key(s, p, word * 32 + bit))
    return best


cdef inline u64 private_best(GicState *s, PeState *p, u32 word, u64 best) noexcept nogil:
    """The better of `best` and the candidates of one private word; only set bits are visited."""
    cdef PrivateHot *h = private_word(s, p, word)
    cdef u8 *prio = private_prio(s, p, word * 32)
    cdef u32 cand = (h.latch | (h.line & ~h.edge)) & h.gate & ~h.active
    cdef u32 flip = s.tie_flip & 31
    cdef u32 first = UINT32_MAX
    cdef u32 bit
    if unlikely(p.flags & PE_HAS_NMI):
        return private_best_nmi(s, p, word, cand, best)
    while cand:                  # inside a word five bits of the INTID make the order
        bit = gic_ctz32(cand)
        cand &= cand - 1
        first = min(first, <u32>prio[bit] << 5 | (bit ^ flip))
    if first == UINT32_MAX:
        return best
    return min(best, order_key(s, first >> 5, 1, private_intid(word * 32) + ((first ^ flip) & 31)))


cdef u64 eppi_best(GicState *s, PeState *p, u64 best) noexcept nogil:
    return private_best(s, p, 2, private_best(s, p, 1, best))


cdef inline void pe_choose_none(PeState *p) noexcept nogil:
    p.hpp = INTID_NONE
    p.hpp_prio = 0xFF
    p.hpp_nmi = 0
    p.hpp_group = 0


cdef inline bint pe_has_spi(PeState *p) noexcept nogil:
    """SPIs wait for this PE, in whatever group."""
    return (p.spi_q[G0] | p.spi_q[G1S] | p.spi_q[G1NS]) != 0


cdef void pe_choose(GicState *s, PeState *p) noexcept nogil:
    """Recompute the highest priority pending interrupt from this PE's own candidates."""
    cdef u64 best = private_best(s, p, 0, KEY_NONE)
    cdef u64 key
    cdef u32 group, order
    cdef u32 from_queue = NUM_GROUPS
    if s.num_eppi:
        best = eppi_best(s, p, best)
    if pe_has_spi(p):
        for group in range(NUM_GROUPS):
            if p.spi_q[group] and p.open_groups >> group & 1:
                key = queue_best(s, p.spi_q[group])
                if key < best:
                    best = key
                    from_queue = group
    if p.flags & PE_HAS_LPI and p.open_groups >> G1NS & 1 and s.lpi[p - s.pe].best < best:
        best = s.lpi[p - s.pe].best
        from_queue = G1NS
    order = <u32>(best >> 32)
    if order >= 2 * 0xFF:        # nothing, or a stored 0xFF, which is never signalled nor reported
        pe_choose_none(p)
        return
    p.hpp = <u32>best ^ s.tie_flip
    p.hpp_prio = <u8>(order >> 1)
    p.hpp_nmi = not (order & 1)
    if from_queue < NUM_GROUPS:
        p.hpp_group = <u8>from_queue
    else:
        p.hpp_group = private_group(s, p, private_slot(s, p.hpp))


cdef inline bint pe_unmasked(GicState *s, PeState *p, u32 prio, bint nmi) noexcept nogil:
    """The priority mask. It does not hold an NMI, except a Non-secure one with two security states (notes 6, 11)."""
    if not nmi:
        return prio < p.pmr
    return prio != 0x80 or p.pmr > 0x80 or (p.pmr == 0x80 and not pe_secure(s, p))


cdef inline bint pe_preempts(PeState *p, u32 prio, u32 group, bint nmi) noexcept nogil:
    """Preemption of what is active; an NMI preempts its own group priority once (notes 6, 11)."""
    cdef u32 mask = p.preempt_mask[group]
    if p.running == PRIO_IDLE or (prio & mask) < (p.running & mask):
        return True
    return nmi and (prio & mask) == (p.running & mask) and not p.flags & PE_NMI_ACTIVE


cdef inline bint pe_can_signal(GicState *s, PeState *p) noexcept nogil:
    """The tests on the chosen interrupt: group enabled at the CPU interface, above the mask, above what is active."""
    return (p.igrpen >> p.hpp_group & 1 and pe_unmasked(s, p, p.hpp_prio, p.hpp_nmi)
            and pe_preempts(p, p.hpp_prio, p.hpp_group, p.hpp_nmi))


cdef inline bint pe_deliverable(GicState *s, PeState *p) noexcept nogil:
    """True when the CPU interface has an interrupt to signal: awake, accessible and past the priority tests."""
    return (p.hpp != INTID_NONE and (p.flags & (PE_ACCESSIBLE | PE_ASLEEP)) == PE_ACCESSIBLE
            and pe_can_signal(s, p))


cdef inline u8 pe_lines(GicState *s, PeState *p) noexcept nogil:
    """The levels of the output lines (architecture notes 7)."""
    if p.hpp == INTID_NONE or not p.flags & PE_ACCESSIBLE:
        return 0
    if p.flags & PE_ASLEEP:      # no request any more while it wakes (architecture notes 3.6)
        return LINE_WAKE if cold_of(s, p).waker & WAKER_SLEEP else 0
    if not pe_can_signal(s, p):
        return 0
    if p.fiq_groups >> p.hpp_group & 1:
        return LINE_FIQ
    return LINE_NMI if p.hpp_nmi and cold_of(s, p).sctlr_nmi else LINE_IRQ


cdef void pe_mark(GicState *s, u32 pe) noexcept nogil:
    """Put a PE whose lines moved on the drain lists in use, once on each."""
    cdef PeState *p = &s.pe[pe]
    trace_event(s, TRACE_LINES, pe, p.hpp, p.lines)
    if not p.marks & MARK_POLL:
        p.marks |= MARK_POLL
        s.poll[s.num_poll] = pe
        s.num_poll += 1
    if s.marks_wanted & MARK_NOTIFY and not p.marks & MARK_NOTIFY:
        p.marks |= MARK_NOTIFY
        s.notify[s.num_notify] = pe
        s.num_notify += 1


cdef inline void pe_show(GicState *s, u32 pe, PeState *p, u8 lines) noexcept nogil:
    """Set a PE's output lines."""
    if lines == p.lines:
        return
    p.lines = lines
    if unlikely(s.marks_wanted & ~p.marks):
        pe_mark(s, pe)


cdef inline void pe_show_marked(PeState *p, u8 lines) noexcept nogil:
    """pe_show() of a PE that has all marks wanted: see pe_ready()."""
    p.lines = lines


cdef inline void pe_put_back(PeState *p, const PeState *record, u8 marks_of_now) noexcept nogil:
    """Put back a record of this PE from another time. What it shows stays as it is, and so do `marks_of_now`: the
    caller has pe_show() change the lines when all the rest is back, so that the change is told like any other."""
    cdef u8 lines = p.lines
    cdef u8 marks = p.marks & marks_of_now | record.marks & ~marks_of_now
    p[0] = record[0]
    p.lines = lines
    p.marks = marks


cdef void pe_output(GicState *s, u32 pe) noexcept nogil:
    """Show what follows from the choice, the masks and the context."""
    pe_show(s, pe, &s.pe[pe], pe_lines(s, &s.pe[pe]))


cdef void pe_update(GicState *s, u32 pe) noexcept nogil:
    """Choose again from all of this PE's candidates and show the result."""
    pe_choose(s, &s.pe[pe])
    pe_output(s, pe)


cdef inline void pe_offer(GicState *s, u32 pe, u64 key, u32 group) noexcept nogil:
    """A new candidate of an open group: only it can have become the best, so nothing else is looked at."""
    cdef PeState *p = &s.pe[pe]
    if key >= order_key(s, p.hpp_prio, not p.hpp_nmi, p.hpp) or key >> 32 >= 2 * 0xFF:
        return
    p.hpp = <u32>key ^ s.tie_flip
    p.hpp_prio = <u8>(key >> 33)
    p.hpp_nmi = not (key >> 32 & 1)
    p.hpp_group = <u8>group
    pe_output(s, pe)


cdef inline u64 private_key(GicState *s, PeState *p, u32 slot) noexcept nogil:
    """Order of service of a private interrupt."""
    if p.flags & PE_HAS_NMI and private_is_nmi(s, p, slot):
        return order_key(s, nmi_prio(s, private_group(s, p, slot)), 0, private_intid(slot))
    return order_key(s, private_prio(s, p, slot)[0], 1, private_intid(slot))


cdef inline void plain_show(GicState *s, u32 pe, PeState *p, u32 prio) noexcept nogil:
    """pe_output() of a plain PE whose best candidate has priority `prio` and is in Group 1."""
    cdef u32 mask = p.preempt_mask[G1NS]
    cdef bint shown = prio < p.pmr and (p.running == PRIO_IDLE or (prio & mask) < (p.running & mask))
    pe_show(s, pe, p, LINE_IRQ if shown else 0)


cdef inline void plain_offer(GicState *s, u32 pe, PeState *p, u32 intid, u32 prio) noexcept nogil:
    """A new candidate in Group 1, which is open: the best one if it comes before the present one."""
    if prio >= p.hpp_prio:
        if prio > p.hpp_prio or prio == 0xFF or (intid ^ s.tie_flip) > (p.hpp ^ s.tie_flip):
            return
    p.hpp = intid
    p.hpp_prio = <u8>prio
    p.hpp_group = G1NS           # hpp_nmi is 0: a plain PE's GIC has no NMIs
    plain_show(s, pe, p, prio)


cdef void private_pended_any(GicState *s, u32 pe, u32 slot) noexcept nogil:
    """private_pended() by the general rules."""
    cdef PeState *p = &s.pe[pe]
    cdef PrivateHot *h = private_word(s, p, slot >> 5)
    trace_event(s, TRACE_PENDING, pe, private_intid(slot), 0)
    if (h.gate & ~h.active) >> (slot & 31) & 1:
        pe_offer(s, pe, private_key(s, p, slot), private_group(s, p, slot))


cdef inline void private_pended(GicState *s, u32 pe, PeState *p, u32 slot) noexcept nogil:
    """A private interrupt became pending: offer it if it is a candidate."""
    if likely(p.flags & PE_PLAIN and p.w0.group >> slot & 1):    # a plain PE has no extended ranges: slot is below 32
        if (p.w0.gate & ~p.w0.active) >> slot & 1:
            plain_offer(s, pe, p, slot, p.prio[slot])
    else:
        private_pended_any(s, pe, slot)


# --- what follows from slower state ------------------------------------------------------------------------------

cdef void pe_gates(GicState *s, PeState *p) noexcept nogil:
    """Recompute which groups are open and the per-word gates; needed when enables, groups or group enables change.

    ICC_IGRPEN filters before the choice, or (gate_rule) is tested after it. A sleeping PE is judged by the Distributor
    enables alone, because what would wake it must not depend on a CPU interface that may be powered off.
    """
    cdef u32 word, opened, secure1
    cdef PrivateHot *h
    p.open_groups = s.enables
    if not s.gate_rule and not p.flags & PE_ASLEEP:
        p.open_groups &= p.igrpen
    for word in range(private_words(s)):
        h = private_word(s, p, word)
        secure1 = 0 if s.ds else h.grpmod & ~h.group
        opened = 0
        if p.open_groups & 1 << G0:
            opened |= ~(h.group | secure1)
        if p.open_groups & 1 << G1S:
            opened |= secure1
        if p.open_groups & 1 << G1NS:
            opened |= h.group
        h.gate = cold_of(s, p).enable[word] & opened
    pe_plain(s, p)


cdef bint spi_requeue(GicState *s, u32 slot, u32 *left) noexcept nogil:
    """Move one SPI to where it has to wait now; True when something changed. `left`: the PE that it left, or NO_PE."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef Shared *spi = &s.spi[slot]
    cdef u32 bit = slot & 31
    cdef u32 cand = (w.latch | ((w.line | w.message) & ~w.edge)) & w.enable & ~w.active
    cdef u32 pe = NO_PE
    cdef u32 group = 0
    cdef u32 level = 0
    cdef bint nmi
    if unlikely(s.trace != NULL):
        trace_spi(s, slot)
    left[0] = spi.queued_pe
    s.homeless[slot >> 5] &= ~(<u32>1 << bit)
    if cand >> bit & 1:
        group = shared_group(s, slot)
        nmi = shared_is_nmi(s, slot)
        pe = spi_target(s, slot, group, 0 if nmi else spi.prio)
        if pe != NO_PE:
            level = queue_level(s, nmi_prio(s, group) if nmi else spi.prio, nmi)
        if spi_is_one_of_n(s, slot) and (pe == NO_PE or not set_has(s, group, pe)):
            s.homeless[slot >> 5] |= <u32>1 << bit
    if pe == spi.queued_pe and (pe == NO_PE or (group == spi.queued_group and level == spi.queued_level)):
        spi.chosen = pe != NO_PE and spi_is_one_of_n(s, slot)
        return False
    if spi.queued_pe != NO_PE:
        spi_dequeue(s, slot, &s.pe[spi.queued_pe], spi.queued_group)
    if pe != NO_PE:
        trace_event(s, TRACE_ROUTED, pe, shared_intid(slot), spi.prio)
        spi_enqueue(s, slot, pe, &s.pe[pe], group, level)
    spi.chosen = pe != NO_PE and spi_is_one_of_n(s, slot)
    return True


cdef void spi_update(GicState *s, u32 slot) noexcept nogil:
    """Bring one SPI and the PEs that it leaves and reaches up to date."""
    cdef u32 left
    cdef Shared *spi = &s.spi[slot]
    if not spi_requeue(s, slot, &left):
        return
    if left != NO_PE and s.pe[left].hpp == shared_intid(slot):
        pe_update(s, left)
    if spi.queued_pe != NO_PE and s.pe[spi.queued_pe].open_groups >> spi.queued_group & 1:
        pe_offer(s, spi.queued_pe, level_key(s, spi.queued_level, slot), spi.queued_group)


cdef u32 queue_slots(GicState *s, u32 qi, u16 *slots) noexcept nogil:
    """The SPIs that wait in a queue, `qi` being any PeState.spi_q; returns how many."""
    cdef u32 found = 0
    cdef u32 i, level, word
    cdef u64 levels, words, bits
    cdef SpiQueue *q = &s.queue[qi]
    cdef SpiBucket *b
    if qi == 0:
        return 0
    if qi & SPI_ALONE:
        slots[0] = <u16>(qi & ~SPI_ALONE)
        return 1
    for i in range(s.level_words):
        levels = q.levels[i]
        while levels:
            level = i * 64 + gic_ctz64(levels)
            levels &= levels - 1
            b = &s.bucket[q.bucket[level]]
            words = b.summary
            while words:
                word = gic_ctz64(words)
                words &= words - 1
                bits = b.slots[word]
                while bits:
                    slots[found] = <u16>(word * 64 + gic_ctz64(bits))
                    found += 1
                    bits &= bits - 1
    return found


cdef void pe_reroute(GicState *s, u32 pe) noexcept nogil:
    """After a change of participation: move the 1-of-N SPIs that wait here on, and place those that wait nowhere.

    Visits the SPIs that wait for this PE, and the homeless ones; never all SPIs.
    """
    cdef u16[SHARED_SLOTS] slots         # of those that wait here; each waits in one place only
    cdef u32[SHARED_WORDS] homeless      # one of these may wait here as well: at a sleeper that it is to wake
    cdef u32 found = 0
    cdef u32 group, i, slot
    cdef u32 moved
    if not s.features & FEAT_ONE_OF_N:
        return
    moved = pe_enrol(s, pe)
    if moved == 0:
        return
    for group in range(NUM_GROUPS):
        if (moved >> group | moved >> (SLEEPER_SETS + group)) & 1:
            found += queue_slots(s, s.pe[pe].spi_q[group], &slots[found])
    memcpy(&homeless[0], &s.homeless[0], sizeof(homeless))
    for i in range(found):
        if spi_is_one_of_n(s, slots[i]):
            spi_update(s, slots[i])
    for i in range(SHARED_WORDS):
        while homeless[i]:
            slot = i * 32 + gic_ctz32(homeless[i])
            homeless[i] &= homeless[i] - 1
            if spi_is_one_of_n(s, slot):
                spi_update(s, slot)


cdef void spi_return(GicState *s, u32 slot, u32 pe) noexcept nogil:
    """Give a 1-of-N SPI that went elsewhere back to the PE that had it, if it waits yet and that PE takes part.

    The caller updates this PE.
    """
    cdef Shared *spi = &s.spi[slot]
    cdef u32 left = spi.queued_pe
    cdef u32 group = spi.queued_group
    cdef u32 level = spi.queued_level
    if not spi.chosen or left == pe:
        return
    spi_dequeue(s, slot, &s.pe[left], group)
    spi_enqueue(s, slot, pe, &s.pe[pe], group, level)
    spi.chosen = 1
    trace_event(s, TRACE_ROUTED, pe, shared_intid(slot), spi.prio)
    if s.pe[left].hpp == shared_intid(slot):
        pe_update(s, left)
    spi_update(s, slot)


cdef void gic_update_all(GicState *s) noexcept nogil:
    """Recompute everything derived: after GICD_CTLR, a reset or a change of security state; never on a hot path."""
    cdef u32 slot, pe, left
    for pe in range(s.num_pe):
        pe_gates(s, &s.pe[pe])
        cpuif_masks(s, &s.pe[pe])
        cpuif_running(s, &s.pe[pe])
        pe_context(s, &s.pe[pe])
        if s.features & FEAT_ONE_OF_N:
            pe_enrol(s, pe)
    for slot in range(NUM_PRIVATE, SHARED_SLOTS):
        if shared_slot(s, shared_intid(slot)) != NO_SLOT:
            spi_requeue(s, slot, &left)
    for pe in range(s.num_pe):
        pe_update(s, pe)


cdef void pe_gates_changed(GicState *s, u32 pe) noexcept nogil:
    """After a change of what this PE lets through: gates, 1-of-N participation, choice and lines."""
    pe_gates(s, &s.pe[pe])
    pe_reroute(s, pe)
    pe_update(s, pe)


# --- inputs ------------------------------------------------------------------------------------------------------

cdef inline bint plain_raise(GicState *s, u32 pe, PeState *p, u32 intid, u32 bit) noexcept nogil:
    """Where an idle, enabled private interrupt of Group 1 of a plain PE can become pending: the offer; else False."""
    if (p.w0.latch | p.w0.line | p.w0.active | ~(p.w0.gate & p.w0.group)) & bit or not p.flags & PE_PLAIN:
        return False
    plain_offer(s, pe, p, intid, p.prio[intid])
    return True


cdef void pe_set_line_any(GicState *s, u32 pe, u32 slot, bint level) noexcept nogil:
    """pe_set_line() by the general rules."""
    cdef PeState *p = &s.pe[pe]
    cdef PrivateHot *h = private_word(s, p, slot >> 5)
    cdef u32 bit = <u32>1 << (slot & 31)
    if level:
        if h.line & bit:
            return
        if not h.latch & bit:
            stat_raised(s, p, pe, slot, STAT_PPI)
        h.line |= bit
        h.latch |= bit & h.edge
        private_pended(s, pe, p, slot)
    elif h.line & bit:
        h.line &= ~bit
        if p.hpp == private_intid(slot):
            pe_update(s, pe)


cdef inline void pe_set_line(GicState *s, u32 pe, PeState *p, u32 slot, bint level) noexcept nogil:
    """Drive the wire of a PPI: a rising edge sets the latch of an edge-triggered one."""
    cdef u32 bit = <u32>1 << (slot & 31)
    if unlikely(slot >= NUM_PRIVATE):
        pe_set_line_any(s, pe, slot, level)
    elif level:
        if unlikely(not plain_raise(s, pe, p, slot, bit)):
            pe_set_line_any(s, pe, slot, True)
            return
        p.w0.line |= bit
        p.w0.latch |= bit & p.w0.edge
        stat_raised(s, p, pe, slot, STAT_PPI)
    elif likely(p.hpp != slot):
        p.w0.line &= ~bit
    else:
        pe_set_line_any(s, pe, slot, False)


cdef inline bint plain_spi_raise(GicState *s, u32 slot, SharedWord *w, u32 bit) noexcept nogil:
    """spi_set_line() of an idle, enabled SPI of Group 1 of a plain PE; False when it is not that simple.

    Such an SPI waits nowhere yet, it can be neither 1-of-N nor an NMI, and its slot is its INTID.
    """
    cdef Shared *spi = &s.spi[slot]
    cdef PeState *p
    if not s.plain_spis or (w.latch | w.line | w.message | w.active | ~w.enable | ~w.group) & bit:
        return False
    if spi.target == NO_PE:
        return False
    p = &s.pe[spi.target]
    if not p.flags & PE_PLAIN:
        return False
    w.line |= bit
    w.latch |= bit & w.edge
    stat_raised(s, p, spi.target, slot, STAT_SPI)
    spi_enqueue(s, slot, spi.target, p, G1NS, queue_level(s, spi.prio, False))
    plain_offer(s, spi.target, p, slot, spi.prio)
    return True


cdef void spi_set_line_any(GicState *s, u32 slot, bint level) noexcept nogil:
    """spi_set_line() by the general rules."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef u32 bit = <u32>1 << (slot & 31)
    cdef bint raised = False
    if level:
        if w.line & bit:
            return
        raised = not (w.latch | (w.message & ~w.edge)) & bit
        w.line |= bit
        w.latch |= bit & w.edge
    else:
        if not w.line & bit:
            return
        w.line &= ~bit
    spi_update(s, slot)
    if raised:
        stat_raised_spi(s, slot)


cdef inline void spi_set_line(GicState *s, u32 slot, bint level) noexcept nogil:
    """Drive the wire of an SPI: a rising edge sets the latch of an edge-triggered one."""
    cdef SharedWord *w = &s.shared[slot >> 5]
    cdef u32 bit = <u32>1 << (slot & 31)
    if level:
        if unlikely(not plain_spi_raise(s, slot, w, bit)):
            spi_set_line_any(s, slot, True)
    elif likely(w.active & bit and s.trace == NULL):     # active, it waits nowhere, and does not for a lower line
        w.line &= ~bit
    else:
        spi_set_line_any(s, slot, False)
