# Field masks, bit scans and the numbers of things: a leaf, no state.

cdef extern from *:
    """
    static inline unsigned gic_ctz32(uint32_t x) { return (unsigned)__builtin_ctz(x); }
    static inline unsigned gic_ctz64(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
    static inline unsigned gic_top64(uint64_t x) { return 63u - (unsigned)__builtin_clzll(x); }
    static inline uint64_t gic_bswap64(uint64_t x) { return __builtin_bswap64(x); }
    #define gic_prefetch(place) __builtin_prefetch(place, 1)
    static inline uint16_t gic_load16(const void *place) { uint16_t x; __builtin_memcpy(&x, place, 2); return x; }
    static inline unsigned gic_count64(uint64_t x) { return (unsigned)__builtin_popcountll(x); }
    static inline uint32_t gic_add32(uint32_t *x, int32_t n) { return __atomic_add_fetch(x, n, __ATOMIC_ACQ_REL); }
    #define KEY_NONE UINT64_MAX                 /* worse than the key of any candidate */
    #define NMI_FLAG (UINT64_C(1) << 63)        /* ICC_AP1R0.NMI, ICC_RPR.NMI */
    #define RPR_NMI_NS (UINT64_C(1) << 62)
    #define PENDBASER_PTZ (UINT64_C(1) << 62)
    """
    const u64 KEY_NONE
    const u64 NMI_FLAG
    const u64 RPR_NMI_NS
    const u64 PENDBASER_PTZ
    u32 gic_ctz32(u32 x) noexcept nogil      # x must not be 0
    u32 gic_ctz64(u64 x) noexcept nogil      # x must not be 0
    u64 gic_bswap64(u64 x) noexcept nogil
    void gic_prefetch(const void *place) noexcept nogil
    u16 gic_load16(const void *place) noexcept nogil
    u32 gic_top64(u64 x) noexcept nogil      # number of the highest bit; x must not be 0
    u32 gic_count64(u64 x) noexcept nogil
    u32 gic_add32(u32 *x, int32_t n) noexcept nogil

cdef extern from *:              # macros that Cython defines in every C file
    bint likely(bint) noexcept nogil
    bint unlikely(bint) noexcept nogil

cdef enum:
    # INTID space (IHI 0069 2.2)
    NUM_SGI = 16
    NUM_PRIVATE = 32
    FIRST_SPECIAL = 1020
    INTID_SECURE = 1020          # a Secure interrupt, seen from EL3
    INTID_NONSECURE = 1021       # a Non-secure Group 1 interrupt, seen from EL3
    INTID_NMI = 1022
    INTID_NONE = 1023            # spurious
    FIRST_EPPI = 1056
    FIRST_ESPI = 4096
    FIRST_LPI = 8192
    # A slot numbers an interrupt inside its bank: of a PE, SGI/PPI 0..31 then EPPI 32..95;
    # of the Distributor, SPI 32..1019 then ESPI 1024..2047.
    PRIVATE_WORDS = 3
    PRIVATE_SLOTS = 96
    SHARED_WORDS = 64
    SHARED_SLOTS = 2048
    FIRST_ESPI_SLOT = 1024
    NO_SLOT = 0xFFFFFFFFU
    NO_PE = 0xFFFFFFFFU

cdef enum:
    # Interrupt groups; with one security state Group 1 is G1NS (its registers behave as the Non-secure copy).
    G0 = 0
    G1S = 1
    G1NS = 2
    NUM_GROUPS = 3

cdef enum:
    # PeState.spi_q: instead of a queue's number, the one SPI that waits
    SPI_ALONE = 0x8000

cdef enum:
    # Bits of PeState.flags
    PE_ACCESSIBLE = 1            # the CPU interface may be used: a vCPU is plugged
    PE_ASLEEP = 2                # GICR_WAKER.ProcessorSleep
    PE_LAST = 4                  # GICR_TYPER.Last
    PE_HAS_NMI = 8               # some GICR_INMIR bit is set
    PE_HAS_LPI = 16              # an enabled LPI is pending: LpiPe.best is not KEY_NONE
    PE_NMI_SHIFT = 4             # bit 5: AP1R0.NMI of the Secure copy, bit 6: of the Non-secure one
    PE_NMI_ACTIVE = 0x60
    PE_PLAIN = 128               # nothing special: see pe_plain()
    # Bits of PeState.marks
    MARK_POLL = 1                # on the list that changed() drains
    MARK_NOTIFY = 2              # on the list that callbacks drain
    MARK_SETTLING = 4            # on the list that step() walks
    MARK_TRACE = 8               # only in marks_wanted: every change of lines is to be seen

cdef enum:
    # Output lines of a PE
    LINE_IRQ = 1
    LINE_FIQ = 2
    LINE_VIRQ = 4
    LINE_VFIQ = 8
    LINE_NMI = 16
    LINE_VNMI = 32
    LINE_MAINT = 64
    LINE_WAKE = 128

cdef enum:
    # GicState.features: what a register row may need
    FEAT_SECURITY = 1
    FEAT_EL2 = 2
    FEAT_ESPI = 4
    FEAT_EPPI = 8
    FEAT_MESSAGE_SPI = 16
    FEAT_NMI = 32
    FEAT_RSS = 64
    FEAT_ONE_OF_N = 128
    FEAT_STATUSR = 256
    FEAT_LPI = 512
    FEAT_MESSAGE_FRAME = 1024
    FEAT_ITS = 2048
    FEAT_DIRECT_LPI = 4096
    FEAT_LPI_INVALIDATE = 8192
    FEAT_UMSI = 16384
    FEAT_ITS_STATUS = 32768

cdef enum:
    # Rules of strict mode: findings.pxi has their texts
    STRICT_BAD_ACCESS = 0
    STRICT_SLEEP_WITH_GROUPS
    STRICT_WAKE_TOO_EARLY
    STRICT_EOI_NOTHING_ACTIVE
    STRICT_EOI_ORDER
    STRICT_EOI_GROUP
    STRICT_INTID_RESERVED
    STRICT_DIR_WITHOUT_EOIMODE
    STRICT_DIR_NOT_ACTIVE
    STRICT_ICFGR_ENABLED
    STRICT_ICFGR_PENDING
    STRICT_DS_ENABLED
    STRICT_DS_ACTIVE
    STRICT_ROUTE_UNKNOWN
    STRICT_IRM_UNSUPPORTED
    STRICT_RS_UNSUPPORTED
    STRICT_SGI_NO_TARGET
    STRICT_AP_WRITE
    STRICT_LPI_TABLES
    STRICT_RULES
    # StrictAccess.frame when it is no FRAME_*
    STRICT_SYSREG = 0xFF

cdef enum:
    # GICR_WAKER
    WAKER_SLEEP = 2              # ProcessorSleep
    WAKER_CHILDREN = 4           # ChildrenAsleep
    # GICR_CTLR
    CTLR_RWP = 8
    CTLR_DPG0 = 0x1000000
    CTLR_DPG1NS = 0x2000000
    CTLR_DPG1S = 0x4000000
    CTLR_UWP = 0x80000000U

cdef enum:
    PRIO_IDLE = 0xFF             # running priority when nothing is active
    DIST_FRAME_SIZE = 0x10000
    STRICT_RING = 1024           # findings kept; all are counted
    REDIST_STRIDE = 0x20000
    MEM_REGIONS = 64             # of guest memory
    LPI_CLEARS = 64              # that wait for pending tables to be read
    CACHE_PLACES = 16384         # translations of all ITSs
    WAITING_MSIS = 1024          # that wait for callback memory
    LAST_CALLBACKS = 8192        # of a call whose budget is spent
    LPI_NODES = 64               # to begin with: the pool grows
    LPI_NODE_LIMIT = 1 << 18     # 136 MB


cdef inline u32 private_intid(u32 slot) noexcept nogil:
    return slot if slot < NUM_PRIVATE else slot + 1024


cdef inline u32 shared_intid(u32 slot) noexcept nogil:
    return slot if slot < FIRST_ESPI_SLOT else slot - FIRST_ESPI_SLOT + FIRST_ESPI
