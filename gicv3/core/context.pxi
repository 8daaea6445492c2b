# The state in which a PE executes, as the embedder gives it, and what follows from it: banks, views, trap results,
# which groups are FIQs, and whether the short path serves.

cdef enum:
    # What the architecture does with a system-register access
    ACCESS_VALUE = 0
    ACCESS_UNDEFINED = 1
    ACCESS_TRAP_EL2 = 2
    ACCESS_TRAP_EL3 = 3
    ACCESS_VIRTUAL = 4           # redirected to ICV_*: the virtual CPU interface answers
    # Trap classes: index of PeState.access
    TRAP_GROUP0 = 0
    TRAP_GROUP1 = 1
    TRAP_COMMON = 2
    TRAP_SGI = 3
    TRAP_DIR = 4
    TRAP_NONE = 5
    # SCR_EL3 and HCR_EL2
    SCR_NS = 1
    SCR_IRQ = 2
    SCR_FIQ = 4
    SCR_EEL2 = 0x40000
    HCR_FMO = 8
    HCR_IMO = 16
    ICH_HCR_TC = 0x400           # trap common and SGI registers
    ICH_HCR_TALL0 = 0x800
    ICH_HCR_TALL1 = 0x1000
    ICH_HCR_TDIR = 0x4000
    # ICC_CTLR_EL1 / EL3
    CTLR_CBPR = 1
    CTLR_EOIMODE = 2
    CTLR_PMHE = 0x40
    CTLR_A3V = 0x8000
    CTLR_IDBITS_24 = 0x800
    CTLR_RSS = 0x40000
    CTLR_EXTRANGE = 0x80000
    # Which SGI register
    SGI0R = 0
    SGI1R = 1
    ASGI1R = 2


cdef inline bint has_el3(GicState *s) noexcept nogil:
    return (s.features & FEAT_SECURITY) != 0


cdef bint context_fits(GicState *s, u32 el, bint secure, u64 scr_el3) noexcept nogil:
    """A PE of this GIC can be in that state; Secure EL2 is one with SCR_EL3.EEL2 alone."""
    if (el == 3 or secure) and not has_el3(s):
        return False
    if el == 2:
        return s.features & FEAT_EL2 and (not secure or scr_el3 & SCR_EEL2)
    return el <= 3


cdef inline bint pe_secure(GicState *s, PeState *p) noexcept nogil:
    """Secure state, EL3 included; a PE without EL3 is Non-secure."""
    return has_el3(s) and (p.secure or p.el == 3)


cdef inline bint pe_el3(GicState *s, PeState *p) noexcept nogil:
    return has_el3(s) and p.el == 3


cdef inline u32 pe_bank(GicState *s, PeState *p) noexcept nogil:
    """Which copy of a banked ICC register an access reaches: G1S or G1NS (architecture notes 5.3).

    With one security state the Non-secure copy is the only one, for a Secure PE too.
    """
    if s.ds:
        return G1NS
    if p.el == 3:
        return G1NS if cold_of(s, p).scr_el3 & SCR_NS else G1S
    return G1S if p.secure else G1NS


cdef inline bint pe_ns_view(GicState *s, PeState *p) noexcept nogil:
    """True when priorities are shown shifted: Non-secure access with SCR_EL3.FIQ set."""
    return has_el3(s) and not pe_secure(s, p) and (cold_of(s, p).scr_el3 & SCR_FIQ) != 0


cdef void pe_context(GicState *s, PeState *p) noexcept nogil:
    """Derive from the context which groups are FIQs and what an access of each trap class meets (5.3 and 7)."""
    cdef bint secure = pe_secure(s, p)
    cdef bint el2 = (s.features & FEAT_EL2) != 0 and (not secure or (cold_of(s, p).scr_el3 & SCR_EEL2) != 0)
    cdef bint fmo, imo, fiq, irq
    cdef u32 i, ich_hcr
    p.fiq_groups = 1 << G0
    if not s.ds:
        if not secure or p.el == 3:
            p.fiq_groups |= 1 << G1S
        if secure:
            p.fiq_groups |= 1 << G1NS
    for i in range(TRAP_NONE):
        p.access[i] = ACCESS_UNDEFINED if p.el == 0 else ACCESS_VALUE
    if p.el == 0 or p.el == 3:
        pe_plain(s, p)
        return
    fiq = has_el3(s) and (cold_of(s, p).scr_el3 & SCR_FIQ) != 0
    irq = has_el3(s) and (cold_of(s, p).scr_el3 & SCR_IRQ) != 0
    if fiq:
        p.access[TRAP_GROUP0] = ACCESS_TRAP_EL3
    if irq:
        p.access[TRAP_GROUP1] = ACCESS_TRAP_EL3
    if fiq and irq:
        p.access[TRAP_COMMON] = p.access[TRAP_SGI] = p.access[TRAP_DIR] = ACCESS_TRAP_EL3
    if p.el == 1 and el2:
        fmo = (cold_of(s, p).hcr_el2 & HCR_FMO) != 0
        imo = (cold_of(s, p).hcr_el2 & HCR_IMO) != 0
        if fmo:
            p.access[TRAP_GROUP0] = ACCESS_VIRTUAL
        if imo:
            p.access[TRAP_GROUP1] = ACCESS_VIRTUAL
        if fmo or imo:
            p.access[TRAP_COMMON] = p.access[TRAP_DIR] = ACCESS_VIRTUAL
            p.access[TRAP_SGI] = ACCESS_TRAP_EL2
        ich_hcr = cold_of(s, p).ich_hcr_el2      # these traps come before any redirection
        if ich_hcr & ICH_HCR_TALL0:
            p.access[TRAP_GROUP0] = ACCESS_TRAP_EL2
        if ich_hcr & ICH_HCR_TALL1:
            p.access[TRAP_GROUP1] = ACCESS_TRAP_EL2
        if ich_hcr & ICH_HCR_TC:
            p.access[TRAP_COMMON] = p.access[TRAP_SGI] = p.access[TRAP_DIR] = ACCESS_TRAP_EL2
        if ich_hcr & ICH_HCR_TDIR:
            p.access[TRAP_DIR] = ACCESS_TRAP_EL2
    pe_plain(s, p)


cdef inline bint eoi_split(GicState *s, PeState *p) noexcept nogil:
    """The EOImode bit in force: priority drop and deactivation apart."""
    if pe_el3(s, p):
        return p.eoimode >> 2 & 1
    return p.eoimode >> (1 if pe_bank(s, p) == G1NS else 0) & 1


cdef void plain_configure(GicState *s) noexcept nogil:
    """What the configuration, a trace that is under way and latencies that are measured leave to the short paths."""
    s.plain_possible = (s.trace == NULL and s.latency == NULL and s.ap_words == 1
                        and not (s.apr_by_bpr or s.strict_on or s.num_espi or s.num_eppi or s.features & FEAT_NMI))
    s.plain_spis = s.trace == NULL and not s.features & (FEAT_ONE_OF_N | FEAT_NMI)


cdef void marks_configure(GicState *s, u8 marks_wanted) noexcept nogil:
    """Which marks a PE has that is on every drain list in use."""
    cdef u8[2] mask = [PE_PLAIN | PE_HAS_LPI, marks_wanted]
    cdef u8[2] wanted = [PE_PLAIN, marks_wanted]
    s.marks_wanted = marks_wanted
    s.ready_mask = gic_load16(&mask[0])
    s.ready = gic_load16(&wanted[0])


cdef inline bint pe_ready(GicState *s, const PeState *p) noexcept nogil:
    """A plain PE without an enabled pending LPI, on every drain list in use: in one comparison."""
    return gic_load16(&p.flags) & s.ready_mask == s.ready


cdef void pe_plain(GicState *s, PeState *p) noexcept nogil:
    """PE_PLAIN: awake, accessible, Non-secure EL1 or EL2 without traps, Group 1 enabled and open, EOImode 0, one word
    of active priorities, and a GIC without extended ranges, NMIs, strict mode, `apr_rule` "bpr" or measured latencies:
    plain.pxi then serves it."""
    p.flags &= <u8>~PE_PLAIN
    if (p.flags & (PE_ACCESSIBLE | PE_ASLEEP) == PE_ACCESSIBLE and (p.el == 1 or p.el == 2) and not pe_secure(s, p)
            and p.access[TRAP_GROUP1] == ACCESS_VALUE and not eoi_split(s, p)
            and p.igrpen & p.open_groups & 1 << G1NS and s.plain_possible):
        p.flags |= PE_PLAIN
