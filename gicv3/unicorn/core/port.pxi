# One Unicorn vCPU wired to one PE: its accesses to the GIC, and interrupts taken.

cdef enum:
    KIND_UNICORN = 0            # what a Port does with an encoding of op0 = 3: leave it to Unicorn,
    KIND_ICC = 1                # ask the GIC,
    KIND_CONSTANT = 2           # answer with constants[0], ...; reads only,
    KIND_TIMER = 16             # or ask the vCPU of a machine,
    KIND_KNOWN = 17             # or the GIC, for a register that Unicorn knows too
    MAX_CONSTANTS = 4
    ACCESS_UNCATEGORIZED = 2    # QEMU's CP_ACCESS_TRAP_UNCATEGORIZED

    HELD = 1                    # how let_go() found a port
    RAN = 2

    LINE_IRQ = 1
    LINE_FIQ = 2
    LINES = 3

    PSTATE_SPSEL = 1
    PSTATE_EL = 3 << 2
    PSTATE_EL1H = 5
    PSTATE_F = 1 << 6
    PSTATE_I = 1 << 7
    PSTATE_DAIF = 0x3C0
    PSTATE_SS = 1 << 21
    PSTATE_IL = 1 << 20

    VECTOR_SYNC = 0x000
    VECTOR_IRQ = 0x080
    VECTOR_FIQ = 0x100

cdef u32 EL1H_MASKED = 0x3C5
# N, Z, C, V and PAN go into the handler as they were.
cdef u32 PSTATE_KEPT = 0xF0400000

cdef u32 SPSR_EL1 = 0xC200      # op0 3, op1 0, CRn 4, CRm 0, op2 0


cdef class Port:
    """What Unicorn's callbacks get: the handle, the PE, and, in a machine, where the vCPU's own registers are.

    Thread safety: none; for the thread that runs the Uc.
    """

    cdef void *uc
    cdef readonly Gic gic
    cdef readonly u32 pe
    cdef public object error
    """The first exception that a callback raised while the guest ran, or None."""
    cdef bytes table
    cdef const u8 *kinds
    cdef u64[4] constants
    # Addresses in Unicorn's state, NULL outside a machine: there only its interface may be used.
    cdef void *cpu              # also NULL where cpu_loop_exit() is not to be called
    cdef u64 *x
    cdef u64 *direct_pc
    cdef u32 *pstate
    cdef u64 *daif
    cdef u64 *elr
    cdef u64 *spsr
    cdef u64 *vbar
    cdef u32 *syndrome
    cdef u64 *address
    cdef readonly bint running
    """Whether the guest runs: in a machine, or where a callback asks."""
    cdef bint holding           # the run loop holds the GIC's lock, which costs more than most accesses
    cdef bint has_tables        # the GIC keeps tables in memory, which it works on without the lock
    cdef readonly u64 entered
    """The vector at which the last exception was taken."""

    def connect(self, Gic gic not None, handle, u32 pe, bytes table, constants):
        """Say what `uc` is wired to; `table` has a KIND_* for each encoding of op0 3, `constants` up to four values."""
        self.uc = <void *><size_t>handle
        self.gic = gic
        self.pe = pe
        self.table = table
        self.has_tables = gic.config.lpis
        self.kinds = <const u8 *>table
        for index, value in enumerate(constants):
            self.constants[index] = value

    def find(self, cpu, x0, offsets):
        """Say where Unicorn keeps its vCPU, 0 to let it alone, and X0, and the other registers by offsets from X0."""
        cdef char *base = <char *><size_t>x0
        self.cpu = <void *><size_t>cpu
        self.x = <u64 *>base
        self.direct_pc = <u64 *>(base + <int64_t>offsets.pc)
        self.pstate = <u32 *>(base + <int64_t>offsets.pstate)
        self.daif = <u64 *>(base + <int64_t>offsets.daif)
        self.elr = <u64 *>(base + <int64_t>offsets.elr)
        self.spsr = <u64 *>(base + <int64_t>offsets.spsr)
        self.vbar = <u64 *>(base + <int64_t>offsets.vbar)
        self.syndrome = <u32 *>(base + <int64_t>offsets.syndrome)
        self.address = <u64 *>(base + <int64_t>offsets.address)

    @property
    def pc(self):
        """The guest's program counter: where the next `emu_start` has to begin."""
        return read_register(self.uc, REG_PC)

    def take_interrupt(self):
        """Enter the guest's IRQ or FIQ vector if an interrupt is pending and PSTATE lets it through.

        Returns: whether it was entered; `pc` then is the vector. Raises: what a callback raised while the guest ran.
        """
        cdef u64 pc
        self.raise_error()
        pc = read_register(self.uc, REG_PC)
        if not enter_interrupt(self, pc):
            return False
        write_register(self.uc, REG_PC, self.entered)
        return True

    def raise_error(self):
        """Raise, once, the exception that a callback raised while the guest ran."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    cdef void fail(self, error) noexcept:
        """Keep the first exception and end the run."""
        try:
            if self.error is None:
                self.error = error
                self.on_failure(error)
        except:  # noqa: E722 - the first one is what the run raises
            pass
        self.stop()

    def on_failure(self, error):
        """Called with the first exception that a callback raised."""

    cdef void stop(self) noexcept nogil:
        """End the run after this instruction, or block where nothing counts instructions."""
        uc_emu_stop(self.uc)

    cdef void changed(self) noexcept nogil:
        """Something has happened from which an interrupt may follow."""

    cdef u32 read_timer(self, u32 register, u32 encoding) noexcept nogil:
        return 0

    cdef u32 write_timer(self, u32 encoding, u64 value) noexcept nogil:
        return 0


cdef inline void take_lock(Port port) noexcept nogil:
    if not port.holding:
        port.gic.lock()


cdef inline void give_lock(Port port) noexcept nogil:
    if not port.holding:
        port.gic.unlock()


cdef inline u32 let_go(Port port) noexcept nogil:
    """Release the lock for Python, which may use the GIC and wait for threads that do. Returns: what hold() undoes."""
    cdef u32 before = (HELD if port.holding else 0) | (RAN if port.running else 0)
    port.running = True
    if port.holding:
        port.holding = False
        port.gic.unlock()
    return before


cdef inline void hold(Port port, u32 before) noexcept nogil:
    port.running = before & RAN != 0
    if before & HELD:
        port.gic.lock()
        port.holding = True


cdef void drain(Port port) noexcept nogil:
    """Do what an access leaves to be done without the lock: callbacks for lines, tables in memory."""
    cdef u32 before
    if <void *>port.gic._on_line == <void *>None and port.gic.lines_callback == NULL:
        if not port.has_tables or not port.gic.c_has_work():
            return
    before = let_go(port)
    if <void *>port.gic._on_line != <void *>None:
        drain_with_gil(port)
    else:
        port.gic.c_drain()
    hold(port, before)
    port.changed()


cdef inline void accessed(Port port) noexcept nogil:
    """The guest has had the GIC do something: also a read goes on with work that is left."""
    drain(port)
    if port.gic.c_lines(port.pe) & LINES:
        port.changed()


cdef void drain_with_gil(Port port) noexcept with gil:
    try:
        try:
            port.gic.drain()
        except BaseException as error:
            port.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass


cdef inline bint privileged(Port port) noexcept nogil:
    if port.pstate != NULL:
        return port.pstate[0] & PSTATE_EL != 0
    return read_register(port.uc, REG_PSTATE) & PSTATE_EL != 0


cdef inline bint masked(Port port, u32 lines) noexcept nogil:
    """Whether PSTATE keeps back all of `lines`."""
    cdef u64 daif = port.daif[0] if port.daif != NULL else read_register(port.uc, REG_PSTATE)
    return not ((lines & LINE_FIQ and not daif & PSTATE_F) or (lines & LINE_IRQ and not daif & PSTATE_I))


cdef void enter(Port port, u32 vector, u64 resume) noexcept nogil:
    """Take an exception to EL1: everything but the PC, which becomes `entered`."""
    cdef u32 pstate = <u32>read_register(port.uc, REG_PSTATE)
    cdef u64 stack
    if pstate & (15 | PSTATE_SS) == PSTATE_EL1H and vector != VECTOR_SYNC and port.x != NULL:
        # Neither level nor stack pointer nor single-stepping changes: what Unicorn has derived from them stays right.
        port.elr[0] = resume
        port.spsr[0] = pstate
        port.daif[0] = PSTATE_DAIF
        port.pstate[0] &= ~<u32>PSTATE_IL
        port.entered = port.vbar[0] + 0x200 + vector
        return
    port.entered = read_register(port.uc, REG_VBAR_EL1) + vector
    if not pstate & PSTATE_EL:
        port.entered += 0x400
    elif pstate & PSTATE_SPSEL:
        port.entered += 0x200
    if not pstate & PSTATE_SPSEL:
        # Unicorn keeps the stack pointer in use apart from the banked ones and swaps them only in its own entries.
        stack = read_register(port.uc, REG_SP)
        write_register(port.uc, REG_SP_EL0, stack)
        write_register(port.uc, REG_SP, read_register(port.uc, REG_SP_EL1))
    write_register(port.uc, REG_PSTATE, pstate & PSTATE_KEPT | EL1H_MASKED)
    write_register(port.uc, REG_ELR_EL1, resume)
    write_system(port.uc, SPSR_EL1, pstate)


cdef bint enter_interrupt(Port port, u64 resume) noexcept nogil:
    """Take what the lines ask for and PSTATE lets through; `resume` is where ERET goes back to."""
    cdef u32 lines = port.gic.c_lines(port.pe) & LINES
    cdef u64 daif
    if not lines:
        return False
    daif = port.daif[0] if port.daif != NULL else read_register(port.uc, REG_PSTATE)
    if lines & LINE_FIQ and not daif & PSTATE_F:
        enter(port, VECTOR_FIQ, resume)
    elif lines & LINE_IRQ and not daif & PSTATE_I:
        enter(port, VECTOR_IRQ, resume)
    else:
        return False
    return True


# System registers. A hook answers 1 for "handled"; 0 leaves the access to Unicorn, which makes it UNDEFINED.

cdef inline void set_result(Port port, u32 register, u64 value) noexcept nogil:
    if port.x != NULL and REG_X0 <= <int>register <= REG_X0 + 28:
        port.x[register - REG_X0] = value
    else:
        write_register(port.uc, register, value)


cdef inline void jump(Port port, u64 target) noexcept nogil:
    """Go on at `target` after a hook at whose end Unicorn leaves the block."""
    cdef void *value = &target
    if port.direct_pc != NULL:
        port.direct_pc[0] = target
    else:
        # Unlike a single write, a batch leaves nothing behind that would confuse a later stop.
        uc_reg_write_batch(port.uc, &REG_PC, &value, 1)


cdef inline u64 current_pc(Port port) noexcept nogil:
    return port.direct_pc[0] if port.direct_pc != NULL else read_register(port.uc, REG_PC)


cdef u32 on_mrs(void *uc, u32 register, CpReg *cp, Port port) noexcept nogil:
    cdef u32 encoding = cp.op0 << 14 | cp.op1 << 11 | cp.crn << 7 | cp.crm << 3 | cp.op2
    cdef u64 value = 0
    cdef u8 kind
    if cp.op0 != 3:
        return 0
    kind = port.kinds[encoding & 0x3FFF]
    if kind == KIND_UNICORN:
        return 0
    if kind == KIND_KNOWN or kind == KIND_ICC:
        if not privileged(port):
            return 0
        take_lock(port)
        if port.gic.c_sysreg_access(port.pe, encoding, &value, False):
            give_lock(port)
            return 0
        give_lock(port)
        accessed(port)
        set_result(port, register, value)
        if kind == KIND_ICC:
            # Unicorn does not know the register: for it the instruction is undefined unless the PC has moved on.
            jump(port, current_pc(port) + 4)
        return 1
    if kind < KIND_CONSTANT + MAX_CONSTANTS:
        set_result(port, register, port.constants[kind - KIND_CONSTANT])
        return 1
    return port.read_timer(register, encoding)


cdef u32 on_msr(void *uc, u32 register, CpReg *cp, Port port) noexcept nogil:
    cdef u32 encoding = cp.op0 << 14 | cp.op1 << 11 | cp.crn << 7 | cp.crm << 3 | cp.op2
    cdef u64 value = cp.val
    cdef u64 next_pc
    cdef u8 kind
    if cp.op0 != 3:
        return 0
    kind = port.kinds[encoding & 0x3FFF]
    if kind == KIND_ICC or kind == KIND_KNOWN:
        if not privileged(port):
            return 0
        take_lock(port)
        if port.gic.c_sysreg_access(port.pe, encoding, &value, True):
            give_lock(port)
            return 0
        give_lock(port)
        accessed(port)
        if kind == KIND_ICC:
            next_pc = current_pc(port) + 4
            jump(port, port.entered if enter_interrupt(port, next_pc) else next_pc)
        return 1
    return port.write_timer(encoding, value) if kind == KIND_TIMER else 0


cdef int on_access(void *env, const void *register, bint is_read) noexcept nogil:
    """Asked by Unicorn about a register of KIND_KNOWN that on_mrs() has not answered."""
    return ACCESS_UNCATEGORIZED


# Memory-mapped registers

cdef class Frames:
    """A range of addresses behind which a GIC's frames are; what a port hands to Unicorn with its callbacks."""

    cdef Port port
    cdef u64 base
    cdef u64 fixed_at           # bit n: at offset n begins a word that never changes, fixed[n // 4]
    cdef u32[16] fixed

    def __init__(self, Port port not None, base, fixed=None):
        self.port = port
        self.base = base
        for offset, value in (fixed or {}).items():
            self.fixed_at |= <u64>1 << <u32>offset
            self.fixed[<u32>offset // 4] = value


@cython.final
cdef class Device(Frames):
    """A range of addresses behind which is a device in Python: `read(address, size)`, `write(address, value, size)`."""

    cdef object read
    cdef object write

    def __init__(self, Port port not None, base, read, write):
        super().__init__(port, base)
        self.read = read
        self.write = write


cdef u64 on_gic_read(void *uc, u64 offset, u32 size, Frames frames) noexcept nogil:
    cdef u64 value
    if offset < 64 and size == 4 and frames.fixed_at >> offset & 1:
        return frames.fixed[offset // 4]
    take_lock(frames.port)
    value = frames.port.gic.c_mmio_read(frames.base + offset, size, False)
    give_lock(frames.port)
    accessed(frames.port)
    return value


cdef void on_gic_write(void *uc, u64 offset, u32 size, u64 value, Frames frames) noexcept nogil:
    take_lock(frames.port)
    frames.port.gic.c_mmio_write(frames.base + offset, value, size, False)
    give_lock(frames.port)
    accessed(frames.port)


cdef u64 on_device_read(void *uc, u64 offset, u32 size, Device device) noexcept nogil:
    cdef u32 before = let_go(device.port)
    cdef u64 value = device_read(device, offset, size)
    hold(device.port, before)
    device.port.changed()
    return value


cdef void on_device_write(void *uc, u64 offset, u32 size, u64 value, Device device) noexcept nogil:
    cdef u32 before = let_go(device.port)
    device_write(device, offset, size, value)
    hold(device.port, before)
    device.port.changed()


cdef u64 device_read(Device device, u64 offset, u32 size) noexcept with gil:
    try:
        try:
            return device.read(device.base + offset, size)
        except BaseException as error:
            device.port.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass
    return 0


cdef void device_write(Device device, u64 offset, u32 size, u64 value) noexcept with gil:
    try:
        try:
            device.write(device.base + offset, value, size)
        except BaseException as error:
            device.port.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass


CALLBACKS = {
    "access": <size_t>&on_access,
    "mrs": <size_t>&on_mrs,
    "msr": <size_t>&on_msr,
    "gic_read": <size_t>&on_gic_read,
    "gic_write": <size_t>&on_gic_write,
    "device_read": <size_t>&on_device_read,
    "device_write": <size_t>&on_device_write,
}
"""Addresses of the functions to register with Unicorn, by name; each takes an object of here as its user data."""
