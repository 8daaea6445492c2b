# One vCPU of a machine: runs by the instruction, its timers, what it asks of others, its power.

cdef enum:
    POWER_OFF = 0
    POWER_STARTING = 1
    POWER_ON = 2

    CRN_TLBI = 8
    CRM_INNER_SHAREABLE = 3
    LINE = 64                   # bytes of an instruction cache line, by CTR_EL0
    LINE_LOOP = 8               # instructions of a loop over lines

cdef u32 CNTKCTL_EL1 = 0xC708       # op0 3, op1 0, CRn 14, CRm 1, op2 0
cdef u32 SCTLR_EL1 = 0xC080         # op0 3, op1 0, CRn 1, CRm 0, op2 0
cdef u64 SCTLR_M = 1
# SYS encodings without op0: op1 13:11, CRn 10:7, CRm 6:3, op2 2:0.
cdef u32 IC_IALLUIS = 0x0388        # op1 0, CRn 7, CRm 1, op2 0
cdef u32 IC_IVAU = 0x1BA9           # op1 3, CRn 7, CRm 5, op2 1

cdef enum:
    COUNTER_FREQUENCY = 0xDF00      # CNTFRQ_EL0, CNTPCT_EL0, CNTVCT_EL0
    COUNTER_PHYSICAL = 0xDF01
    COUNTER_VIRTUAL = 0xDF02


cdef class Core(Port):
    """A plugged vCPU. A hook before every instruction counts it, ends runs, and takes interrupts where they may be.

    `limit` is the number of instructions at which that hook has something to do; 0 makes it look at once.
    """

    cdef Turns turns
    cdef readonly u64 count
    """Instructions counted in this run, the one under way included."""
    cdef u64 limit
    cdef u64 budget
    cdef u64 start              # counter value at which this run began
    cdef u64 faulted            # `count` at the last exception
    cdef u64 bad_address
    cdef u64 cntvoff
    cdef u64 tlb_seen
    cdef u64 code_seen
    cdef u64 noted              # the page whose code it changed last in this run, or 2**64-1, and `count` then
    cdef u64 noted_at
    cdef bint stopping
    cdef bint ended
    cdef public bint waiting
    """In WFI."""
    cdef public u32 power
    """0 off, 1 to be started at its next turn, 2 on."""

    def join(self, Turns turns not None):
        """Say which machine it is part of."""
        self.turns = turns
        self.tlb_seen = turns.tlb_generation
        self.code_seen = turns.code_generation

    # Python's share, called with the GIL

    def power_on(self):
        """Start from reset."""
        raise NotImplementedError

    def firmware_call(self):
        """Serve an HVC."""
        raise NotImplementedError

    def semihosting_call(self):
        """Serve HLT #0xF000; returns whether it was one that is known."""
        raise NotImplementedError

    def run_failed(self, status, pc):
        """Raise what Unicorn says of a run that it ended."""
        raise NotImplementedError

    def timer_read(self, register, now):
        """Read a timer register."""
        raise NotImplementedError

    def timer_write(self, register, value, now):
        """Write a timer register."""
        raise NotImplementedError

    def set_offset(self, offset):
        """Say what CNTVOFF_EL2 is."""
        self.cntvoff = offset

    # What hooks do with the run

    cdef void stop(self) noexcept nogil:
        self.stopping = True
        self.limit = 0

    cdef void changed(self) noexcept nogil:
        self.limit = 0

    cdef u64 now(self) noexcept nogil:
        return self.turns.host_now() if self.turns.by_host else self.start + self.count

    cdef void set_limit(self, u64 executed) noexcept nogil:
        cdef u64 left
        self.limit = self.budget
        if self.turns.deadline < self.start + self.budget and not self.turns.by_host:
            left = self.turns.deadline - self.start if self.turns.deadline > self.start else 0
            self.limit = left if left > executed else executed
        if self.gic.c_lines(self.pe) & LINES:
            self.limit = executed

    # Timers

    cdef bint may_use(self, u32 encoding) noexcept nogil:
        """Whether the guest may use a timer register now; if not Unicorn knows what exception that is."""
        cdef u64 enable
        if privileged(self):
            return True
        enable = read_system(self.uc, CNTKCTL_EL1)
        if encoding == COUNTER_FREQUENCY:
            return enable & 3 != 0
        if encoding == COUNTER_PHYSICAL:
            return enable & 1 != 0
        if encoding == COUNTER_VIRTUAL:
            return enable & 2 != 0
        # CRm is 2 for the physical timer and 3 for the virtual one.
        return enable & (1 << 9 if encoding >> 3 & 15 == 2 else 1 << 8) != 0

    cdef u32 read_timer(self, u32 register, u32 encoding) noexcept nogil:
        cdef u64 value
        if not self.may_use(encoding):
            return 0
        if encoding == COUNTER_VIRTUAL:
            value = self.now() - self.cntvoff
        elif encoding == COUNTER_PHYSICAL:
            value = self.now()
        elif encoding == COUNTER_FREQUENCY:
            value = self.turns.frequency
        else:
            value = timer_call(self, encoding, 0, False)
        set_result(self, register, value)
        return 1

    cdef u32 write_timer(self, u32 encoding, u64 value) noexcept nogil:
        if COUNTER_FREQUENCY <= encoding <= COUNTER_VIRTUAL or not self.may_use(encoding):
            return 0
        timer_call(self, encoding, value, True)
        self.limit = 0
        return 1

    # A run

    cdef void run(self, u64 start, u64 budget) noexcept nogil:
        """Run from counter value `start` for up to `budget` instructions; ends early when the vCPU sleeps.

        Afterwards `count` is the number of instructions.
        """
        cdef u64 pc, before
        cdef int status
        if self.tlb_seen != self.turns.tlb_generation or self.code_seen != self.turns.code_generation:
            self.turns.catch_up(self)
        self.start = start
        self.budget = budget
        self.count = 0
        self.waiting = False
        self.stopping = False
        self.noted = UINT64_MAX
        self.running = True
        pc = read_register(self.uc, REG_PC)
        while True:
            self.ended = False
            self.faulted = UINT64_MAX
            if enter_interrupt(self, pc):
                pc = self.entered
            self.set_limit(self.count)
            before = self.count
            hold(self, HELD | RAN)
            status = uc_emu_start(self.uc, pc, 0, 0, 0)
            let_go(self)
            if status != ERR_OK:
                if not take_abort(self, status):
                    break
                if self.count == before:
                    # A vector that cannot be fetched takes time, or it would be tried for ever.
                    self.count += 1
            elif not self.ended:
                # Nobody ended it: WFI did.
                self.waiting = not self.gic.c_lines(self.pe) & LINES
            if self.ended or self.stopping or self.waiting or self.count >= budget:
                break
            pc = self.direct_pc[0]
        self.running = False

    cdef void attend(self, u64 address) noexcept nogil:
        """Before the instruction at `address`: move timers, end the run, or take an interrupt.

        A method, because on_code(), which runs for each instruction, is three times as long with this inlined.
        """
        cdef u64 executed = self.count - 1
        cdef u32 before
        if self.turns.deadline <= self.start + executed and not self.turns.by_host:
            before = let_go(self)
            advance_timers(self, self.start + executed)
            hold(self, before)
        if self.stopping or self.power != POWER_ON or executed >= self.budget:
            self.count = executed
            self.ended = True
            uc_emu_stop(self.uc)
            return
        if not (self.gic.c_lines(self.pe) & LINES and enter_interrupt(self, address)):
            self.set_limit(self.count)
            return
        self.count = executed
        self.set_limit(executed)
        if self.cpu == NULL:
            write_register(self.uc, REG_PC, self.entered)
        else:
            self.direct_pc[0] = self.entered
            cpu_loop_exit(self.cpu)


cdef u64 timer_call(Core core, u32 encoding, u64 value, bint write) noexcept nogil:
    cdef u32 before = let_go(core)
    value = timer_access(core, encoding, value, write)
    hold(core, before)
    return value


cdef u64 timer_access(Core core, u32 encoding, u64 value, bint write) noexcept with gil:
    try:
        try:
            if not write:
                return core.timer_read(encoding, core.now())
            core.timer_write(encoding, value, core.now())
            core.turns.refresh_deadline()
        except BaseException as error:
            core.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass
    return 0


cdef void on_code(void *uc, u64 address, u32 size, Core core) noexcept nogil:
    core.count += 1
    if core.count > core.limit:
        core.attend(address)


cdef void advance_timers(Core core, u64 now) noexcept with gil:
    try:
        try:
            core.turns.advance(now)
        except BaseException as error:
            core.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass


cdef u32 on_sys(void *uc, u32 register, CpReg *cp, Core core) noexcept nogil:
    """Cache and TLB maintenance: other PEs are told of what reaches them.

    Unicorn's own TLB maintenance is right; of changed code it learns only where it is written by the address at which
    it runs.
    """
    cdef u32 encoding = cp.op1 << 11 | cp.crn << 7 | cp.crm << 3 | cp.op2
    if cp.crn == CRN_TLBI and cp.crm == CRM_INNER_SHAREABLE:
        core.turns.tlb_generation += 1
        core.tlb_seen = core.turns.tlb_generation
    elif encoding == IC_IVAU:
        line_changed(core, cp.val)
    elif encoding == IC_IALLUIS:
        core.turns.all_code_changed(core)
    return 0


cdef void line_changed(Core core, u64 address) noexcept nogil:
    """IC IVAU: the line of code at virtual `address` is not what it was."""
    cdef u64 line = address & ~<u64>(LINE - 1)
    cdef u64 physical, page
    if uc_vmem_translate(core.uc, address, PROT_READ, &physical) != ERR_OK:
        core.turns.all_code_changed(core)
        return
    page = physical & ~<u64>(PAGE - 1)
    if uc_vmem_translate(core.uc, address, PROT_EXEC, &physical) == ERR_OK:
        uc_ctl(core.uc, CTL_TB_REMOVE, line, line + LINE)
    elif core.noted == page and core.count - core.noted_at <= LINE_LOOP:
        # The next line of a page that is written by another address than it runs at: it cannot have run since.
        core.noted_at = core.count
        return
    else:
        forget_code(core, &page, 1)
    core.noted = page
    core.noted_at = core.count
    core.turns.code_changed(core, page)
