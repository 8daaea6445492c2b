# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
"""The measured loops: gicv3 through its public C API, and the floor, with no Python between two interrupts.

Both sides of a question see the same vCPUs and INTIDs in the same order. A loop returns the nanoseconds of CPU time
that this thread spent in it, so that a busy machine costs the neighbours' noise and not their time slices. It raises
AssertionError when a result is wrong: a fast wrong answer must not become a number.

Not thread-safe: a loop owns the GIC it is given.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from gicv3._core cimport Gic


cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec *now)
    int CLOCK_MONOTONIC
    int CLOCK_THREAD_CPUTIME_ID


cdef extern from "floor.h" nogil:
    ctypedef struct floor_gic:
        pass
    uint64_t floor_random(uint64_t state)
    uint32_t floor_pick(uint64_t state, uint32_t n)
    uint32_t floor_pick_ppi(uint64_t state)
    uint8_t floor_priority(uint32_t intid)
    uint32_t floor_nth(uint32_t i, uint32_t depth)
    floor_gic *floor_new(uint32_t n_pe, const uint64_t *mpidr)
    void floor_free(floor_gic *gic)
    void floor_route(floor_gic *gic, uint32_t intid, uint32_t pe)
    uint64_t floor_ppi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad)
    uint64_t floor_spi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad)
    uint64_t floor_ppi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad)
    uint64_t floor_spi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad)
    void floor_spi_spread(floor_gic *gic, uint32_t count, uint64_t *bad)
    void floor_ppi_everywhere(floor_gic *gic, uint32_t count, uint64_t *bad)
    uint64_t floor_lookup_hash(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)
    uint64_t floor_lookup_dense(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)
    uint64_t floor_lookup_scan(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)
    uint64_t floor_plug_cycle(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)
    void floor_broadcast(floor_gic *gic, uint32_t self, uint32_t sgi)
    void floor_take_all(floor_gic *gic, uint32_t self, uint32_t sgi, uint64_t *bad)


# Compile-time constants, as an embedder's decoder has them: op0<<14 | op1<<11 | CRn<<7 | CRm<<3 | op2.
cdef enum:
    ICC_PMR_EL1 = 3 << 14 | 4 << 7 | 6 << 3
    ICC_SGI1R_EL1 = 3 << 14 | 12 << 7 | 11 << 3 | 5
    ICC_RPR_EL1 = 3 << 14 | 12 << 7 | 11 << 3 | 3
    ICC_IAR1_EL1 = 3 << 14 | 12 << 7 | 12 << 3
    ICC_EOIR1_EL1 = 3 << 14 | 12 << 7 | 12 << 3 | 1
    ICC_IGRPEN1_EL1 = 3 << 14 | 12 << 7 | 12 << 3 | 7
    FRAME_GICD = 0
    FRAME_RD = 1
    FRAME_SGI = 2
    # One map for the distributor and the SGI frame: IGROUPR0 is at the offset of GICR_IGROUPR0, and so on.
    CTLR = 0x0000
    WAKER = 0x0014
    IGROUPR = 0x0080
    ISENABLER = 0x0100
    IPRIORITYR = 0x0400
    IROUTER = 0x6000
    ENABLE_ALL = 0x13               # GICD_CTLR: EnableGrp0, EnableGrp1, ARE
    ALL_BUT_SELF = 1                # ICC_SGI1R_EL1[40], IRM
    IRQ = 1                         # gicv3.Line.IRQ
    IDLE_PRIORITY = 0xFF
    FIRST_PPI = 16
    FIRST_SPI = 32
    SPIS = 988


cdef inline int64_t cpu_time() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec


cdef inline int64_t short_time(uint32_t targets) noexcept nogil:
    # CPU time costs a system call, which would be in the result of a broadcast to few; a long one would be preempted.
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC if targets < 1024 else CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec


cdef class Pair:
    """A floor and a GIC with the same vCPUs, both set up to take every interrupt as Group 1.

    Parameters
    ----------
    gic : gicv3.GICv3
        Every PE accessible, 988 SPIs, one Security state. The pair owns it from now on.
    mpidr : sequence of int
        The affinity of each PE in MPIDR form, in order.
    """

    cdef readonly Gic gic
    cdef floor_gic *floor
    cdef uint64_t *mpidr
    cdef uint32_t *route
    cdef readonly uint32_t n_pe

    def __cinit__(self, Gic gic not None, mpidr):
        cdef uint32_t pe
        self.gic = gic
        self.n_pe = len(mpidr)
        self.mpidr = <uint64_t *>calloc(self.n_pe, sizeof(uint64_t))
        self.route = <uint32_t *>calloc(FIRST_SPI + SPIS, sizeof(uint32_t))
        if self.mpidr == NULL or self.route == NULL:
            raise MemoryError
        for pe in range(self.n_pe):
            self.mpidr[pe] = mpidr[pe]
        self.floor = floor_new(self.n_pe, self.mpidr)
        if self.floor == NULL:
            raise MemoryError
        self.set_up()
        self.spread_spis()

    def __dealloc__(self):
        floor_free(self.floor)
        free(self.mpidr)
        free(self.route)

    cdef void set_up(self) noexcept:
        cdef Gic gic = self.gic
        cdef uint32_t pe, intid
        gic.c_frame_write(FRAME_GICD, 0, CTLR, ENABLE_ALL, 4, False)
        for intid in range(FIRST_SPI, FIRST_SPI + SPIS):
            gic.c_frame_write(FRAME_GICD, 0, IPRIORITYR + intid, floor_priority(intid), 1, False)
        for intid in range(1, 32):
            gic.c_frame_write(FRAME_GICD, 0, IGROUPR + 4 * intid, 0xFFFFFFFF, 4, False)
            gic.c_frame_write(FRAME_GICD, 0, ISENABLER + 4 * intid, 0xFFFFFFFF, 4, False)
        for pe in range(self.n_pe):
            gic.c_frame_write(FRAME_RD, pe, WAKER, 0, 4, False)
            gic.c_frame_write(FRAME_SGI, pe, IGROUPR, 0xFFFFFFFF, 4, False)
            for intid in range(FIRST_SPI):
                gic.c_frame_write(FRAME_SGI, pe, IPRIORITYR + intid, floor_priority(intid), 1, False)
            gic.c_frame_write(FRAME_SGI, pe, ISENABLER, 0xFFFFFFFF, 4, False)
            gic.c_sysreg_write(pe, ICC_PMR_EL1, 0xF8)
            gic.c_sysreg_write(pe, ICC_IGRPEN1_EL1, 1)

    cdef void route_spi(self, uint32_t intid, uint32_t pe) noexcept:
        self.route[intid] = pe
        floor_route(self.floor, intid, pe)
        self.gic.c_frame_write(FRAME_GICD, 0, IROUTER + 8 * intid, self.mpidr[pe], 8, False)

    def spread_spis(self) -> None:
        """Route each SPI to a random PE."""
        cdef uint64_t state = 1
        cdef uint32_t intid
        for intid in range(FIRST_SPI, FIRST_SPI + SPIS):
            state = floor_random(state)
            self.route_spi(intid, floor_pick(state, self.n_pe))

    def gather_spis(self, uint32_t pe) -> None:
        """Route every SPI to one PE."""
        cdef uint32_t intid
        if pe >= self.n_pe:
            raise IndexError(f"pe must be in 0..{self.n_pe - 1}, got {pe}")
        for intid in range(FIRST_SPI, FIRST_SPI + SPIS):
            self.route_spi(intid, pe)

    def sequence(self, bint shared, uint32_t count, uint64_t seed) -> tuple[bytes, bytes]:
        """The INTIDs and the PEs, as uint32, of `count` cycles of ppi_cycle() or (shared) spi_cycle() from `seed`."""
        cdef bytes intids = PyBytes_FromStringAndSize(NULL, 4 * <Py_ssize_t>count)
        cdef bytes pes = PyBytes_FromStringAndSize(NULL, 4 * <Py_ssize_t>count)
        cdef uint32_t *intid = <uint32_t *>PyBytes_AS_STRING(intids)
        cdef uint32_t *pe = <uint32_t *>PyBytes_AS_STRING(pes)
        cdef uint32_t i
        for i in range(count):
            seed = floor_random(seed)
            if shared:
                intid[i] = FIRST_SPI + floor_pick(seed, SPIS)
                pe[i] = self.route[intid[i]]
            else:
                intid[i] = floor_pick_ppi(seed)
                pe[i] = floor_pick(seed, self.n_pe)
        return intids, pes

    def verify(self, uint32_t samples=1000) -> None:
        """Check on random PEs what the loops have no time for: the output line and the running priority."""
        cdef Gic gic = self.gic
        cdef uint64_t state = 2
        cdef uint32_t _, pe, intid, got
        for _ in range(samples):
            state = floor_random(state)
            pe = floor_pick(state, self.n_pe)
            intid = floor_pick_ppi(state)
            expect(not gic.c_lines(pe) & IRQ, f"PE {pe} has a line up before anything was raised")
            gic.c_set_ppi(pe, intid, True)
            expect(gic.c_lines(pe) & IRQ, f"PPI {intid} raised, but the line of PE {pe} is down")
            got = gic.c_sysreg_read(pe, ICC_IAR1_EL1)
            expect(got == intid, f"PPI {intid} raised on PE {pe}, {got} acknowledged")
            expect(not gic.c_lines(pe) & IRQ, f"PPI {intid} acknowledged, but the line of PE {pe} is up")
            expect(gic.c_sysreg_read(pe, ICC_RPR_EL1) == floor_priority(intid), "the running priority is not the PPI's")
            gic.c_set_ppi(pe, intid, False)
            gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
            expect(gic.c_sysreg_read(pe, ICC_RPR_EL1) == IDLE_PRIORITY, f"PE {pe} is not idle after EOI")
            got = gic.c_sysreg_read(pe, ICC_IAR1_EL1)
            expect(got == 1023, f"{got} acknowledged on PE {pe} with nothing pending")

    def ppi_cycle(self, bint floor, uint32_t count, uint64_t seed=1, uint32_t warm=0, bint ahead=False) -> int:
        """Raise, acknowledge, lower and end `count` random PPIs on random PEs, after `warm` untimed ones; ns.

        `ahead` is for the floor alone: whether it asks for the records of the PEs that come next.
        """
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t i, pe, intid, got, n_pe = self.n_pe
        cdef int64_t start = 0
        with nogil:
            if floor:
                seed = floor_ppi_cycle(self.floor, seed, warm, ahead, &bad)
                start = cpu_time()
                floor_ppi_cycle(self.floor, seed, count, ahead, &bad)
            else:
                for i in range(warm + count):
                    if i == warm:
                        start = cpu_time()
                    seed = floor_random(seed)
                    pe = floor_pick(seed, n_pe)
                    intid = floor_pick_ppi(seed)
                    gic.c_set_ppi(pe, intid, True)
                    got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                    gic.c_set_ppi(pe, intid, False)
                    gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                    bad += got != intid
            start = cpu_time() - start
        return checked(start, bad)

    def spi_cycle(self, bint floor, uint32_t count, uint64_t seed=1, uint32_t warm=0, bint ahead=False) -> int:
        """The same for random SPIs, each on the PE it is routed to; ns."""
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t i, pe, intid, got
        cdef int64_t start = 0
        with nogil:
            if floor:
                seed = floor_spi_cycle(self.floor, seed, warm, ahead, &bad)
                start = cpu_time()
                floor_spi_cycle(self.floor, seed, count, ahead, &bad)
            else:
                for i in range(warm + count):
                    if i == warm:
                        start = cpu_time()
                    seed = floor_random(seed)
                    intid = FIRST_SPI + floor_pick(seed, SPIS)
                    pe = self.route[intid]
                    gic.c_set_spi(intid, True)
                    got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                    gic.c_set_spi(intid, False)
                    gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                    bad += got != intid
            start = cpu_time() - start
        return checked(start, bad)

    def ppi_drain(self, bint floor, uint32_t depth, uint32_t count, uint64_t seed=1) -> int:
        """`count` times: `depth` (1..16) PPIs pending at once on a random PE, all taken in priority order; ns."""
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t _round, _, k, pe, got, last, n_pe = self.n_pe
        cdef int64_t start
        if not 1 <= depth <= 16:
            raise ValueError(f"depth must be in 1..16, got {depth}")
        with nogil:
            start = cpu_time()
            if floor:
                floor_ppi_drain(self.floor, seed, depth, count, &bad)
            else:
                for _round in range(count):
                    seed = floor_random(seed)
                    pe = floor_pick(seed, n_pe)
                    last = 0
                    for k in range(depth):
                        gic.c_set_ppi(pe, FIRST_PPI + floor_nth(k, depth), True)
                    for _ in range(depth):
                        got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                        gic.c_set_ppi(pe, got & 31, False)
                        gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                        bad += floor_priority(got) < last
                        last = floor_priority(got)
                    bad += gic.c_lines(pe) & IRQ
            start = cpu_time() - start
        return checked(start, bad)

    def spi_drain(self, bint floor, uint32_t depth, uint32_t count) -> int:
        """`count` times: `depth` (1..988) SPIs pending at once on one PE, all taken in priority order; ns.

        The first `depth` SPIs must be routed to one PE: see gather_spis().
        """
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t _round, _, k, got, last, pe = self.route[FIRST_SPI]
        cdef int64_t start
        if not 1 <= depth <= SPIS:
            raise ValueError(f"depth must be in 1..{SPIS}, got {depth}")
        with nogil:
            start = cpu_time()
            if floor:
                floor_spi_drain(self.floor, 1, depth, count, &bad)
            else:
                for _round in range(count):
                    last = 0
                    for k in range(depth):
                        gic.c_set_spi(FIRST_SPI + floor_nth(k, depth), True)
                    for _ in range(depth):
                        got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                        gic.c_set_spi(got, False)
                        gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                        bad += floor_priority(got) < last
                        last = floor_priority(got)
                    bad += gic.c_lines(pe) & IRQ
            start = cpu_time() - start
        return checked(start, bad)

    def spi_spread(self, bint floor, uint32_t count) -> int:
        """`count` times: all SPIs pending at once, each on the PE it is routed to, then all taken; ns."""
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t _round, intid, got, pe
        cdef int64_t start
        with nogil:
            start = cpu_time()
            if floor:
                floor_spi_spread(self.floor, count, &bad)
            else:
                for _round in range(count):
                    for intid in range(FIRST_SPI, FIRST_SPI + SPIS):
                        gic.c_set_spi(intid, True)
                    for intid in range(FIRST_SPI, FIRST_SPI + SPIS):
                        pe = self.route[intid]
                        got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                        gic.c_set_spi(got, False)
                        gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                        bad += not FIRST_SPI <= got < FIRST_SPI + SPIS or self.route[got] != pe
            start = cpu_time() - start
        return checked(start, bad)

    def ppi_everywhere(self, bint floor, uint32_t count) -> int:
        """`count` times: a PPI pending on every PE at once, then all taken; ns."""
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t _round, pe, got
        cdef int64_t start
        with nogil:
            start = cpu_time()
            if floor:
                floor_ppi_everywhere(self.floor, count, &bad)
            else:
                for _round in range(count):
                    for pe in range(self.n_pe):
                        gic.c_set_ppi(pe, FIRST_PPI + pe % 16, True)
                    for pe in range(self.n_pe):
                        got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                        gic.c_set_ppi(pe, got & 31, False)
                        gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                        bad += got != FIRST_PPI + pe % 16
            start = cpu_time() - start
        return checked(start, bad)

    def lookup(self, str how, uint32_t count, uint64_t seed=1) -> int:
        """Find `count` random PEs by affinity: how is "gicv3", or the floor's "hash", "dense" or "scan"; ns."""
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0
        cdef uint32_t _, pe, n_pe = self.n_pe
        cdef uint64_t *mpidr = self.mpidr
        cdef int64_t start
        start = cpu_time()
        if how == "hash":
            floor_lookup_hash(self.floor, mpidr, seed, count, &bad)
        elif how == "dense":
            floor_lookup_dense(self.floor, mpidr, seed, count, &bad)
        elif how == "scan":
            floor_lookup_scan(self.floor, mpidr, seed, count, &bad)
        elif how == "gicv3":
            with nogil:
                for _ in range(count):
                    seed = floor_random(seed)
                    pe = floor_pick(seed, n_pe)
                    bad += gic.c_proc_num(mpidr[pe]) != <int64_t>pe
        else:
            raise ValueError(f"how must be gicv3, hash, dense or scan, got {how!r}")
        start = cpu_time() - start
        return checked(start, bad)

    def broadcast(self, bint floor, uint32_t rounds, uint32_t self_pe=0, uint32_t sgi=1) -> tuple[int, int]:
        """One SGI to all PEs but one, then each of them acknowledges and ends it.

        Returns
        -------
        tuple of int
            ns of the broadcast and ns of taking it, for all targets: each the median of `rounds`.
        """
        cdef Gic gic = self.gic
        cdef uint64_t bad = 0, value = <uint64_t>ALL_BUT_SELF << 40 | sgi << 24
        cdef uint32_t _, pe, got
        cdef int64_t start, middle
        sent, taken = [], []
        for _ in range(rounds):
            with nogil:
                start = short_time(self.n_pe)
                if floor:
                    floor_broadcast(self.floor, self_pe, sgi)
                    middle = short_time(self.n_pe)
                    floor_take_all(self.floor, self_pe, sgi, &bad)
                else:
                    gic.c_sysreg_write(self_pe, ICC_SGI1R_EL1, value)
                    middle = short_time(self.n_pe)
                    for pe in range(self.n_pe):
                        if pe == self_pe:
                            continue
                        got = <uint32_t>gic.c_sysreg_read(pe, ICC_IAR1_EL1)
                        gic.c_sysreg_write(pe, ICC_EOIR1_EL1, got)
                        bad += got != sgi
            taken.append(short_time(self.n_pe) - middle)
            sent.append(middle - start)
        checked(0, bad)
        return sorted(sent)[rounds // 2], sorted(taken)[rounds // 2]

    def floor_plug_cycle(self, uint32_t count, uint64_t seed=1) -> int:
        """Unplug and plug random vCPUs of the floor `count` times; ns. The floor is of no use for interrupts then."""
        cdef uint64_t bad = 0
        cdef int64_t start = cpu_time()
        floor_plug_cycle(self.floor, self.mpidr, seed, count, &bad)
        return checked(cpu_time() - start, bad)


def msi_cycle(Gic gic not None, uint32_t first, uint32_t events, uint32_t count, uint64_t seed=1) -> int:
    """`count` times: an MSI on PE 0 of a random one of device 1's events (LPIs from `first`), acknowledge, end; ns."""
    cdef uint64_t bad = 0
    cdef uint32_t _, event, got
    cdef int64_t start
    with nogil:
        start = cpu_time()
        for _ in range(count):
            seed = floor_random(seed)
            event = floor_pick(seed, events)
            gic.c_msi(0, 1, event)
            got = <uint32_t>gic.c_sysreg_read(0, ICC_IAR1_EL1)
            gic.c_sysreg_write(0, ICC_EOIR1_EL1, got)
            bad += got != first + event
        start = cpu_time() - start
    return checked(start, bad)


def msi_drain(Gic gic not None, uint32_t first, uint32_t depth) -> int:
    """`depth` LPIs from `first` of one priority pending at once on PE 0, all taken in order; ns."""
    cdef uint64_t bad = 0
    cdef uint32_t k, got
    cdef int64_t start
    with nogil:
        start = cpu_time()
        for k in range(depth):
            gic.c_msi(0, 1, floor_nth(k, depth))
        for k in range(depth):
            got = <uint32_t>gic.c_sysreg_read(0, ICC_IAR1_EL1)
            gic.c_sysreg_write(0, ICC_EOIR1_EL1, got)
            bad += got != first + k
        bad += gic.c_lines(0) & IRQ
        start = cpu_time() - start
    return checked(start, bad)


cdef expect(bint right, str what):
    if not right:
        raise AssertionError(what)


cdef checked(int64_t elapsed, uint64_t bad):
    if bad:
        raise AssertionError(f"{bad} results were not the ones expected: there is nothing to measure")
    return elapsed
