# Synchronous exceptions of a vCPU, delivered to the guest's EL1.

cdef enum:
    # UC_HOOK_INTR numbers (QEMU's EXCP_*)
    EXCP_UNDEFINED = 1
    EXCP_HVC = 11
    EXCP_SMC = 13

    FSC_EXTERNAL = 0x10
    EC_INSTRUCTION_ABORT = 0x20
    EC_DATA_ABORT = 0x24
    EC_SAME_EL = 1
    ESR_WNR = 1 << 6
    ESR_FNV = 1 << 10
    ESR_IL = 1 << 25

cdef u32 HLT_SEMIHOSTING = 0xD45E0000


cdef void take_exception(Core core, u32 syndrome, u64 resume) noexcept nogil:
    """Take a synchronous exception at EL1."""
    write_register(core.uc, REG_ESR_EL1, syndrome)
    enter(core, VECTOR_SYNC, resume)
    core.direct_pc[0] = core.entered


cdef void on_exception(void *uc, u32 number, Core core) noexcept nogil:
    cdef u64 pc = core.direct_pc[0]
    cdef u32 word = 0
    if number == EXCP_HVC:
        call_python(core, False)
        return
    if number == EXCP_SMC:
        # There is no EL3: the instruction is UNDEFINED, and Unicorn has moved past it.
        take_exception(core, ESR_IL, pc - 4)
        return
    if number == EXCP_UNDEFINED and core.turns.semihosting:
        uc_vmem_read(uc, pc, PROT_EXEC, &word, 4)
        if word == HLT_SEMIHOSTING and call_python(core, True):
            core.direct_pc[0] = pc + 4
            return
    write_register(uc, REG_FAR_EL1, core.address[0])
    take_exception(core, core.syndrome[0], pc)
    if core.count == core.faulted:
        # Nothing ran since the last exception: a vector that faults itself would go on for ever here.
        core.count += 1
        if core.count >= core.budget or core.stopping:
            core.ended = True
            uc_emu_stop(uc)
    core.faulted = core.count


cdef bint call_python(Core core, bint semihosting) noexcept nogil:
    """Let Python serve a call of the guest's. Returns: whether it knew the call."""
    cdef u32 before = let_go(core)
    cdef bint known = call_with_gil(core, semihosting)
    hold(core, before)
    return known


cdef bint call_with_gil(Core core, bint semihosting) noexcept with gil:
    cdef bint known = True
    try:
        try:
            if semihosting:
                known = core.semihosting_call()
            else:
                core.firmware_call()
        except BaseException as error:
            core.fail(error)
        core.turns.refresh_deadline()
    except:  # noqa: E722 - nobody is left to tell
        pass
    if core.turns.halted_now or core.power != POWER_ON:
        core.stop()
    core.limit = 0
    return known


cdef bint on_invalid_memory(void *uc, int kind, u64 address, int size, int64_t value, Core core) noexcept nogil:
    core.bad_address = address
    return False


cdef bint take_abort(Core core, int status) noexcept nogil:
    """Turn an access to nothing, which ends a Unicorn run, into the external abort a PE takes.

    Returns: False when it was something else that ended the run; `error` then says what.
    """
    cdef u64 pc = core.direct_pc[0]
    cdef u64 address = pc
    cdef u32 syndrome
    cdef bint data = True
    if ERRORS_FETCH >> status & 1:
        syndrome = EC_INSTRUCTION_ABORT << 26 | FSC_EXTERNAL
        data = False
    elif ERRORS_READ >> status & 1:
        syndrome = <u32>EC_DATA_ABORT << 26 | FSC_EXTERNAL
    elif ERRORS_WRITE >> status & 1:
        syndrome = <u32>EC_DATA_ABORT << 26 | FSC_EXTERNAL | ESR_WNR
    else:
        run_failed(core, status, pc)
        return False
    if core.pstate[0] & PSTATE_EL:
        syndrome |= EC_SAME_EL << 26
    if data:
        address = core.bad_address
    if data and read_system(core.uc, SCTLR_EL1) & SCTLR_M:
        # Unicorn tells the physical address only, and FAR_EL1 is for virtual ones.
        syndrome |= ESR_FNV
    else:
        write_register(core.uc, REG_FAR_EL1, address)
    take_exception(core, syndrome | ESR_IL, pc)
    return True


cdef void run_failed(Core core, int status, u64 pc) noexcept with gil:
    try:
        try:
            core.run_failed(status, pc)
        except BaseException as error:
            core.fail(error)
    except:  # noqa: E722 - nobody is left to tell
        pass
