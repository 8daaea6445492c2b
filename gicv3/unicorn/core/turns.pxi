# All vCPUs of a machine in turns, on one clock.

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec *now)
    const int CLOCK_MONOTONIC

cdef enum:
    CODE_PAGES = 64             # changed pages that are remembered one by one
    PAGE = 4096
    SIGNAL_INSTRUCTIONS = 8192  # between two looks at Python's signals: 50 ms when each of them is an exception
    SIGNAL_TURNS = 512          # and at most so many turns


TURNS_END, TURNS_ATTENTION, TURNS_IDLE, TURNS_SLEEP = range(4)


cdef class Turns:
    """Runs cores in turns. Thread safety: `attention` may be set from any thread, all else is for the one that runs."""

    cdef public u64 clock
    """The system counter: ticks since the start."""
    cdef public u64 instructions
    """Instructions that all vCPUs together have executed."""
    cdef public bint attention
    """Set to make `run_turns` come back after this turn."""
    cdef u64 quantum
    cdef readonly u64 deadline
    """Counter value at which a timer moves next; 2**64-1 for none."""
    cdef u64 frequency
    cdef bint by_host
    cdef bint semihosting
    cdef bint halted_now
    cdef u64 host_start
    cdef u64 tlb_generation
    cdef u64 code_generation
    cdef u64[CODE_PAGES] code_page
    cdef tuple cores
    cdef object bank

    def set_up(self, bank, quantum, bint by_host, bint semihosting):
        """Say what timers there are, how long a turn is in instructions, and what the clock counts."""
        self.bank = bank
        self.quantum = quantum
        self.frequency = bank.frequency
        self.by_host = by_host
        self.semihosting = semihosting
        self.cores = ()
        self.host_start = 0
        self.host_start = self.host_now()
        self.refresh_deadline()

    def set_cores(self, cores):
        """Say which vCPUs there are, in the order of their turns; counts from the next turn on."""
        self.cores = tuple(cores)

    def refresh_deadline(self):
        """Look again at when a timer moves next."""
        deadline = self.bank.next_deadline()
        self.deadline = UINT64_MAX if deadline is None else deadline

    def advance(self, now):
        """Move the timers whose time has come."""
        try:
            self.bank.advance(now)
        finally:
            self.refresh_deadline()

    def halt(self, bint halted):
        """Say whether the guest has switched the machine off."""
        self.halted_now = halted
        self.attention = self.attention or halted

    cdef u64 host_now(self) noexcept nogil:
        """The counter by host time."""
        cdef timespec now
        cdef u64 ns
        clock_gettime(CLOCK_MONOTONIC, &now)
        ns = <u64>now.tv_sec * 1000000000 + <u64>now.tv_nsec - self.host_start
        if self.host_start == 0:
            return ns
        return ns // 1000000000 * self.frequency + ns % 1000000000 * self.frequency // 1000000000

    # Maintenance that one vCPU asked for and the others do before they run again

    cdef void code_changed(self, Core core, u64 physical) noexcept nogil:
        """Note for the others that the code in the page of `physical` is not what it was."""
        self.code_page[self.code_generation % CODE_PAGES] = physical & ~<u64>(PAGE - 1)
        self.code_generation += 1
        core.code_seen = self.code_generation

    cdef void all_code_changed(self, Core core) noexcept nogil:
        """The same for all pages; also `core` itself has still to forget them."""
        self.code_generation += CODE_PAGES + 1
        core.stop()

    cdef void catch_up(self, Core core) noexcept nogil:
        """Forget what others have changed since this core ran last."""
        cdef u64 missed = self.code_generation - core.code_seen
        cdef u64 pages[CODE_PAGES]
        cdef u32 i
        if missed > CODE_PAGES:
            uc_ctl(core.uc, CTL_TB_FLUSH)
        elif missed:
            for i in range(<u32>missed):
                pages[i] = self.code_page[(core.code_seen + i) % CODE_PAGES]
            forget_code(core, pages, <u32>missed)
        if core.tlb_seen != self.tlb_generation:
            uc_ctl(core.uc, CTL_TLB_FLUSH)
        core.code_seen = self.code_generation
        core.tlb_seen = self.tlb_generation

    # Turns

    def run_turns(self, end):
        """Run until counter value `end`.

        Returns: TURNS_END there; TURNS_ATTENTION when somebody asks for it; TURNS_IDLE when only the host can wake a
        vCPU; TURNS_SLEEP when the clock is the host's and nothing happens before `deadline`.
        Raises: what a callback raised.
        """
        cdef u64 last = end
        cdef u32 turns = 0
        cdef u64 looked = self.instructions
        cdef u64 budget
        cdef bint ran
        cdef tuple cores
        self.refresh_deadline()
        while True:
            if self.by_host:
                self.clock = self.host_now()
            if self.attention:
                return TURNS_ATTENTION
            if self.clock >= last:
                return TURNS_END
            if self.deadline <= self.clock:
                self.advance(self.clock)
            budget = min(self.quantum, last - self.clock)
            if not self.by_host:
                budget = min(budget, self.deadline - self.clock)
            cores = self.cores
            ran = self.turn(cores, budget)
            if not ran:
                if self.deadline == UINT64_MAX:
                    return TURNS_IDLE
                if self.by_host:
                    return TURNS_SLEEP
                # Nobody is awake: go to the next timer, at most to `end`.
                self.clock = min(self.deadline, last)
                self.advance(self.clock)
            turns += 1
            if turns % SIGNAL_TURNS == 0 or self.instructions - looked >= SIGNAL_INSTRUCTIONS:
                looked = self.instructions
                PyErr_CheckSignals()

    cdef bint turn(self, tuple cores, u64 budget) except -1:
        """Let every vCPU of `cores` that is awake run for up to `budget` instructions. Returns: whether any did."""
        cdef u64 longest = 0
        cdef u64 clock = self.clock
        cdef Core core
        for core in cores:
            if core.power == POWER_STARTING:
                core.power_on()
            if core.power != POWER_ON or (core.waiting and not core.gic.c_lines(core.pe) & LINES):
                continue
            with nogil:
                core.run(clock, budget)
            self.instructions += core.count
            longest = max(longest, core.count)
            # The guest has seen this time pass: after an error, too, it must not see it again.
            if core.error is not None:
                self.clock = clock + longest
                core.raise_error()
            if self.halted_now:
                break
        if not self.by_host:
            self.clock = clock + longest
        return longest > 0


cdef void forget_code(Core core, const u64 *pages, u32 count) noexcept nogil:
    """Drop what was translated from physical `pages`."""
    cdef u64 sctlr = read_system(core.uc, SCTLR_EL1)
    cdef u32 i
    # Unicorn takes virtual addresses here: with the MMU off they are physical ones. What it then has in its TLB is not
    # what the tables say.
    uc_ctl(core.uc, CTL_TLB_FLUSH)
    write_system(core.uc, SCTLR_EL1, sctlr & ~SCTLR_M)
    for i in range(count):
        uc_ctl(core.uc, CTL_TB_REMOVE, pages[i], pages[i] + PAGE)
    write_system(core.uc, SCTLR_EL1, sctlr)
    uc_ctl(core.uc, CTL_TLB_FLUSH)


CALLBACKS |= {
    "code": <size_t>&on_code,
    "sys": <size_t>&on_sys,
    "exception": <size_t>&on_exception,
    "invalid_memory": <size_t>&on_invalid_memory,
}
