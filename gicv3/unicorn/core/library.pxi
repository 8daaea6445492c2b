# Unicorn's functions, its numbers for AArch64 registers, and the structure that names a system register.

cdef struct CpReg:
    u32 crn
    u32 crm
    u32 op0
    u32 op1
    u32 op2
    u64 val

ctypedef int (*reg_function)(void *uc, int register, void *value) noexcept nogil
ctypedef int (*batch_function)(void *uc, const int *registers, void **values, int count) noexcept nogil
ctypedef int (*start_function)(void *uc, u64 begin, u64 until, u64 timeout, size_t count) noexcept nogil
ctypedef int (*stop_function)(void *uc) noexcept nogil
ctypedef int (*translate_function)(void *uc, u64 address, int protection, u64 *physical) noexcept nogil
ctypedef int (*read_function)(void *uc, u64 address, int protection, void *data, size_t size) noexcept nogil
ctypedef int (*control_function)(void *uc, u32 control, ...) noexcept nogil
ctypedef void (*exit_function)(void *cpu) noexcept nogil

cdef reg_function uc_reg_read
cdef reg_function uc_reg_write
cdef batch_function uc_reg_write_batch
cdef start_function uc_emu_start
cdef stop_function uc_emu_stop
cdef translate_function uc_vmem_translate
cdef read_function uc_vmem_read
cdef control_function uc_ctl
# Ends a hook and the block that it is in, and goes on at the PC; no part of the interface.
cdef exit_function cpu_loop_exit

cdef int REG_CP_REG, REG_ELR_EL1, REG_ESR_EL1, REG_FAR_EL1, REG_PC, REG_PSTATE, REG_SP, REG_SP_EL0, REG_SP_EL1
cdef int REG_VBAR_EL1, REG_X0, REG_X29, REG_X30
cdef u32 CTL_TB_FLUSH, CTL_TLB_FLUSH, CTL_TB_REMOVE
cdef u32 PROT_READ, PROT_EXEC
cdef int ERR_OK
cdef u64 ERRORS_FETCH, ERRORS_READ, ERRORS_WRITE     # sets of UC_ERR_* numbers


def load(functions, numbers):
    """Take Unicorn's functions, addresses by name, and its constants, numbers by name; once, before anything else."""
    global uc_reg_read, uc_reg_write, uc_reg_write_batch, uc_emu_start, uc_emu_stop
    global uc_vmem_translate, uc_vmem_read, uc_ctl, cpu_loop_exit
    global REG_CP_REG, REG_ELR_EL1, REG_ESR_EL1, REG_FAR_EL1, REG_PC, REG_PSTATE, REG_SP, REG_SP_EL0, REG_SP_EL1
    global REG_VBAR_EL1, REG_X0, REG_X29, REG_X30
    global CTL_TB_FLUSH, CTL_TLB_FLUSH, CTL_TB_REMOVE, PROT_READ, PROT_EXEC, ERR_OK
    global ERRORS_FETCH, ERRORS_READ, ERRORS_WRITE
    uc_reg_read = <reg_function><size_t>functions["uc_reg_read"]
    uc_reg_write = <reg_function><size_t>functions["uc_reg_write"]
    uc_reg_write_batch = <batch_function><size_t>functions["uc_reg_write_batch"]
    uc_emu_start = <start_function><size_t>functions["uc_emu_start"]
    uc_emu_stop = <stop_function><size_t>functions["uc_emu_stop"]
    uc_vmem_translate = <translate_function><size_t>functions["uc_vmem_translate"]
    uc_vmem_read = <read_function><size_t>functions["uc_vmem_read"]
    uc_ctl = <control_function><size_t>functions["uc_ctl"]
    cpu_loop_exit = <exit_function><size_t>functions["cpu_loop_exit"]
    REG_CP_REG = numbers["CP_REG"]
    REG_ELR_EL1 = numbers["ELR_EL1"]
    REG_ESR_EL1 = numbers["ESR_EL1"]
    REG_FAR_EL1 = numbers["FAR_EL1"]
    REG_PC = numbers["PC"]
    REG_PSTATE = numbers["PSTATE"]
    REG_SP = numbers["SP"]
    REG_SP_EL0 = numbers["SP_EL0"]
    REG_SP_EL1 = numbers["SP_EL1"]
    REG_VBAR_EL1 = numbers["VBAR_EL1"]
    REG_X0 = numbers["X0"]
    REG_X29 = numbers["X29"]
    REG_X30 = numbers["X30"]
    CTL_TB_FLUSH = numbers["TB_FLUSH"]
    CTL_TLB_FLUSH = numbers["TLB_FLUSH"]
    CTL_TB_REMOVE = numbers["TB_REMOVE"]
    PROT_READ = numbers["PROT_READ"]
    PROT_EXEC = numbers["PROT_EXEC"]
    ERR_OK = numbers["ERR_OK"]
    ERRORS_FETCH = numbers["ERRORS_FETCH"]
    ERRORS_READ = numbers["ERRORS_READ"]
    ERRORS_WRITE = numbers["ERRORS_WRITE"]


cdef inline u64 read_register(void *uc, int register) noexcept nogil:
    cdef u64 value = 0
    uc_reg_read(uc, register, &value)
    return value


cdef inline void write_register(void *uc, int register, u64 value) noexcept nogil:
    uc_reg_write(uc, register, &value)


cdef inline void set_cp(CpReg *cp, u32 encoding) noexcept nogil:
    cp.op0 = encoding >> 14
    cp.op1 = encoding >> 11 & 7
    cp.crn = encoding >> 7 & 15
    cp.crm = encoding >> 3 & 15
    cp.op2 = encoding & 7


cdef inline u64 read_system(void *uc, u32 encoding) noexcept nogil:
    cdef CpReg cp
    set_cp(&cp, encoding)
    cp.val = 0
    uc_reg_read(uc, REG_CP_REG, &cp)
    return cp.val


cdef inline void write_system(void *uc, u32 encoding, u64 value) noexcept nogil:
    """Write a system register; this also makes Unicorn look at a new Exception level."""
    cdef CpReg cp
    set_cp(&cp, encoding)
    cp.val = value
    uc_reg_write(uc, REG_CP_REG, &cp)
