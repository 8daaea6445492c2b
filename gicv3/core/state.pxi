# GicState and PeState: contiguous arrays, an element a PE or an INTID.

cdef struct PrivateHot:          # 32 SGI/PPI/EPPI: what a delivery decision reads
    u32 latch                    # set by an edge, an SGI or ISPENDR
    u32 line                     # input wire
    u32 edge                     # 1 edge, 0 level (ICFGR)
    u32 gate                     # enable & groups open to this PE: see pe_gates()
    u32 active
    u32 group                    # IGROUPR
    u32 grpmod                   # IGRPMODR

cdef struct PeState:             # two cache lines: all that raise, acknowledge and EOI of an ordinary interrupt touch
    PrivateHot w0
    u32 raised[3]                # SGI, PPI, SPI: statistics, not state; the upper halves are in PeStats
    u32 hpp                      # highest priority pending INTID, or INTID_NONE
    u8 hpp_prio
    u8 hpp_group
    u8 hpp_nmi
    u8 pmr
    u8 running                   # running group priority
    u8 lines
    u8 flags                     # and marks: also read as one, see pe_ready()
    u8 marks
    u8 prio[32]                  # SGIs 0..11 are in the first line: a broadcast touches one line for each PE
    u32 ap0[3]                   # active priorities, word 0 of AP0R, AP1R Secure, AP1R Non-secure
    u32 acked[3]                 # as `raised`
    u16 spi_q[3]                 # per group, SPIs waiting for this PE: 0, SPI_ALONE | slot, or a queue
    u8 igrpen                    # ICC_IGRPEN: one bit a group
    u8 open_groups               # groups that may be chosen: see pe_gates()
    u8 preempt_mask[3]           # group-priority mask of a pending interrupt, by group
    u8 fiq_groups                # groups that this PE's context receives as FIQ
    u8 el                        # context given by the embedder, see also PeCold
    u8 secure
    u8 eoimode                   # bit 0 Secure EL1, bit 1 Non-secure EL1, bit 2 EL3
    u8 access[5]                 # result of an access by trap class: ACCESS_*

cdef struct PeCold:
    PrivateHot wx[2]             # EPPI words
    u32 enable[3]
    u32 nmi[3]                   # INMIR
    u32 ap_hi[9]                 # words 1..3 of the three AP registers, [word - 1][group]
    u32 affinity                 # Aff3.Aff2.Aff1.Aff0
    u32 nsacr
    u8 prio[64]                  # EPPI
    u8 bpr[3]                    # BPR0, BPR1 Secure, BPR1 Non-secure
    u8 cbpr                      # bit 0 Secure, bit 1 Non-secure
    u8 statusr[2]                # by security: Non-secure, Secure
    u8 sctlr_nmi
    u8 pmhe
    u8 dpg                       # GICR_CTLR.DPG*: one bit a group
    u8 waker                     # GICR_WAKER as it reads
    u32 rwp_left                 # steps until RWP, UWP and ChildrenAsleep settle
    u32 uwp_left
    u32 waker_left
    u64 scr_el3
    u64 hcr_el2
    u32 ich_hcr_el2              # its trap bits; the virtual CPU interface itself is not here

cdef struct PeStats:             # SGI, PPI, SPI, LPI: see stats.pxi
    u64 raised[4]                # of SGI, PPI, SPI without the lower halves
    u64 acked[4]
    u64 preempted[4]
    u64 dropped[4]
    u64 spurious

cdef struct LpiRaise:
    u64 since                    # 1 + when the LPI was raised last, or 0
    u32 pe                       # where it was

cdef struct Latency:
    u64 now                      # the embedder's time
    u64 *private_since           # 1 + when a pending interrupt was raised, or 0: PRIVATE_SLOTS a PE
    u64 *shared_since
    LpiRaise *lpi                # by INTID, 1 << id_bits of them; NULL without LPIs
    u64 bins[4][65]

cdef struct SharedWord:          # 32 SPIs
    u32 latch
    u32 line
    u32 message                  # message-based level
    u32 edge
    u32 enable
    u32 active
    u32 group
    u32 grpmod
    u32 nmi

cdef struct Shared:              # one SPI
    u64 irouter
    u32 target                   # PE that irouter names, or NO_PE
    u32 queued_pe                # PE in whose queue it waits, or NO_PE
    u16 queued_level
    u8 queued_group
    u8 prio
    u8 chosen                    # 1: queued_pe is a 1-of-N choice

cdef struct SpiQueue:            # the SPIs of one group waiting for one PE: levels -> buckets -> slots
    u64 levels[8]
    u16 bucket[512]
    u16 next_free

cdef struct SpiBucket:           # the waiting SPIs of one level, lowest INTID first
    u64 summary
    u64 slots[32]
    u16 next_free

cdef struct RedistRegion:
    u64 base
    u32 first
    u32 count

cdef struct PeSet:               # a set of PEs
    u64 *members                 # a bit a PE
    u64 *summary                 # a bit a word of members

cdef struct StrictAccess:        # of software to a register
    u64 value                    # what it writes
    u32 place                    # offset in the frame, or the encoding of a system register
    u8 frame                     # FRAME_*, or STRICT_SYSREG
    u8 secure
    u8 write

cdef struct StrictEntry:
    StrictAccess access
    u32 rule
    u32 pe
    u32 intid

cdef struct TraceEntry:
    u64 time
    u64 detail
    u32 pe
    u32 intid
    u32 kind                     # TRACE_*
    u32 reserved

cdef struct Trace:
    TraceEntry *ring
    u32 mask                     # entries - 1
    u8 host_clock
    u64 seen
    u64 now                      # as the caller said
    u32 pending[64]              # SPIs that the trace knows to be pending

cdef struct AffinitySlot:
    u32 affinity
    u32 pe                       # index + 1, 0 = empty

cdef struct SysDecode:           # one system register, from the register table: see decode.pxi
    u64 write_mask
    u32 needs
    u8 kind
    u8 access                    # READABLE | WRITABLE; 0 when this GIC has no such register
    u8 trap
    u8 min_el
    u8 index
    u8 intid                     # reads an INTID: 1023 when there is nothing
    u8 acks                      # acknowledges an interrupt
    u8 conditional               # exists under conditions of the PE's state

cdef struct LpiNode:             # 64 places, of nodes or at the lowest step of words of LPIs: see lpi_order.pxi
    u64 used
    u64 place[64]

cdef struct LpiPe:               # LPIs of one redistributor
    u64 best                     # key of the best enabled pending LPI, or KEY_NONE
    u64 behind                   # of those in the tree
    u64 front                    # LPIs of one word that are not in the tree
    u64 *pend                    # a bit an LPI, as in the pending table; while `limit` or `flush_at` is not 0
    u32 limit                    # first INTID that is not taken: 0 while EnableLPIs is 0
    u32 pending
    u32 front_word               # their INTIDs / 64
    u32 order                    # top node of the tree
    u8 front_level
    u8 cached                    # its table is the one of GicState.lpi_config
    u8 enabled                   # GICR_CTLR.EnableLPIs
    u8 ptz                       # GICR_PENDBASER.PTZ, for the next enabling
    u8 listed                    # it is on GicState.lpi_jobs
    u8 unplaced                  # the order had no room for some: see lpi_place_again()
    u64 propbaser
    u64 pendbaser
    u32 load_at                  # next word of the pending table to read; 0: nothing to do, as for those below
    u32 flush_at                 # next word of the pending table to write
    u32 flush_limit
    u32 refresh_at               # pending LPIs to judge by their configuration
    u32 refresh_end

cdef struct ItsEntry:            # one cached translation
    u32 device
    u32 event
    u32 intid
    u32 pe
    u16 icid
    u8 its                       # number + 1; 0: empty

cdef struct ItsError:            # one command that could not be done
    u64 command[4]
    u32 code
    u32 offset                   # where it stood in the queue

cdef struct ItsStore:            # an entry that a command writes, and whose pending state follows
    u64 command[4]
    u64 place
    u64 entry
    u32 fault                    # reason of the error when there is no memory
    u32 pe
    u32 target
    u32 intid

cdef struct Its:
    u64 base                     # physical address of the control frame
    u64 cbaser
    u64 baser[2]                 # device table, collection table
    u64 umsir
    u32 cwriter                  # offset in the queue
    u32 creadr
    u32 quiescent_left           # steps until GITS_CTLR.Quiescent
    u8 enabled
    u8 stalled
    u8 umsi_irq                  # GITS_CTLR.UMSIirq
    u8 statusr
    u8 syndrome                  # GITS_STATUSR.Syndrome
    u8 storing                   # the entry of the command under way is being written
    ItsStore store
    u32 cached                   # translations
    ItsError error[64]           # the last ones
    u64 commands                 # statistics from here
    u64 errors
    u64 msis
    u64 translated
    u64 discarded
    u64 unmapped
    u64 cache_hits
    u64 merged
    u64 table_faults

cdef struct WaitingMsi:          # its tables are in callback memory that is not staged, or awaited
    u32 its
    u32 device
    u32 event

cdef struct MemRegion:           # guest memory that is mapped for the GIC
    u64 base
    u64 size
    u8 *data                     # NULL: callbacks
    u8 writable

cdef enum:
    # Stage.state
    STAGE_EMPTY = 0
    STAGE_VALID = 1
    STAGE_ASKED = 2              # a callback is about to bring or to write it
    STAGE_FAULT = 3              # it did not: there is nothing

cdef struct Stage:               # a page of callback memory, or a write inside one
    u64 address
    u64 region
    u32 size
    u8 state
    u8 data[4096]

cdef struct MemSpan:
    u64 base
    u64 size

cdef struct GicState:
    u32 num_pe
    u32 num_spi                  # 0..988
    u32 num_espi
    u32 num_eppi
    u32 features
    u8 prio_bits
    u8 prio_mask                 # implemented bits of a priority field
    u8 prebits
    u8 ap_words                  # implemented words of an AP register
    u8 level_shift
    u8 level_words
    u8 id_bits                   # 10..24
    u8 gate_rule                 # 1: ICC_IGRPEN is tested after the choice; 0: it filters before
    u8 apr_by_bpr                # 1: active priority masked by the current BPR; 0: by the minimum BPR
    u8 aff3                      # A3V: Aff3 may be other than 0
    u32 tie_flip                 # all ones: of equal priorities the highest INTID goes first
    u8 unknown_route_first       # 1: an IROUTER path that no PE has leads to PE 0; 0: nowhere
    u8 strict_on
    u8 plain_possible            # neither configuration nor an observer rules PE_PLAIN out: plain_configure()
    u8 plain_spis                # no SPI can be 1-of-N or an NMI
    u8 marks_wanted              # marks of a PE that is on every drain list in use
    u16 ready_mask               # what pe_ready() looks at in a PE's flags and marks, and what it has to be
    u16 ready
    u32 settle_steps
    Trace *trace                 # NULL: off
    PeState *pe                  # num_pe
    Shared *spi                  # SHARED_SLOTS
    LpiPe *lpi                   # num_pe; NULL without LPIs, as all else of theirs
    PeCold *cold                 # num_pe
    PeStats *stats               # num_pe
    Latency *latency             # NULL while latencies are not measured
    # Distributor
    u8 ds                        # GICD_CTLR.DS
    u8 enables                   # GICD_CTLR group enables, one bit a group
    u8 e1nwf                     # GICD_CTLR.E1NWF
    u8 statusr[2]
    u32 iidr
    u8 pidr[4][8]                # identification of GICD, GICR, GICM and GITS
    u32 rwp_left
    SharedWord shared[64]
    u32 nsacr[128]
    u64 *accessible              # bitmap of accessible PEs
    # 1-of-N: participants by group, then PEs that E1NWF may wake; candidates that no participant takes
    PeSet one_of_n[6]
    u32 homeless[64]
    # PEs whose RWP, UWP or ChildrenAsleep settles
    u32 *settling
    u32 num_settling
    # PEs whose lines changed
    u32 *poll
    u32 *notify
    u32 num_poll
    u32 num_notify
    # Pools
    SpiQueue *queue
    SpiBucket *bucket
    u16 queue_free
    u16 bucket_free
    u16 pool_size
    # Affinity table
    AffinitySlot *aff_slot
    u32 aff_mask
    SysDecode sysreg[64]         # the table's rows as this configuration has them
    # Memory map
    u64 dist_base
    u64 message_base
    RedistRegion *region         # in order of their addresses
    u32 num_region
    # Guest memory
    MemRegion *mem               # in order of their addresses
    u32 num_mem
    u32 mem_last
    Stage *stage                 # allocated with the first callback region; the last is of the write under way
    u32 stage_next
    MemSpan awaited[MEM_REGIONS]         # memory that a state had which was brought back: see mem_await()
    u32 num_awaited
    u8 absent                    # work came upon memory that is awaited
    int32_t work_budget          # units of work that one call does: see work_serve()
    u8 staged                    # pages of callback memory are staged
    u8 want                      # a page of callback memory is wanted
    u64 want_page
    u64 want_region
    # LPIs
    LpiNode *lpi_node
    u32 num_lpi_node
    u32 lpi_node_room
    u32 lpi_node_free
    u8 *lpi_config               # cached configuration bytes by INTID
    u64 lpi_config_used[64]      # pages of it
    u64 lpi_table                # PROPBASER of the table that is cached
    u8 lpi_live                  # nothing is cached
    u32 num_lpi_enabled
    u32 *lpi_jobs                # PEs with work, a ring: see lpi_work()
    u32 lpi_job_first
    u32 num_lpi_jobs
    u64 lpi_clears[LPI_CLEARS]   # PE << 32 | INTID: see lpi_clear_later()
    u32 num_lpi_clears
    u64 lpi_discarded
    u64 lpi_lost
    u64 lpi_table_faults
    # ITSs
    Its *its
    u32 num_its
    u32 its_busy                 # ITSs whose queues go on
    u32 device_bits
    u32 event_bits
    u32 collection_bits
    u32 its_entry_size[3]        # bytes: device, collection, event
    u32 its_umsi_spi             # INTID that ITS 0 drives, 0: none
    u32 bus_device               # DeviceID of the write under way
    u8 pta
    u8 its_stall                 # a command that cannot be done stalls the queue
    ItsEntry *its_cache
    WaitingMsi *its_waiting
    u32 num_its_waiting
    # Findings of strict mode
    StrictAccess strict_access   # the one under way
    StrictEntry *strict_ring
    u64 strict_seen
    u64 strict_count[STRICT_RULES]
    # Statistics
    u64 bad_access
    u64 sgi_dropped
    # Who frees it: the last of the Gic and the arrays over it
    u32 holders
