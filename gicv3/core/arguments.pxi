# What an embedder passes in: converted, checked, and refused with the value and the limit in the text.

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef object arg_index(object value, str name):
    """The int that an integer of another type stands for; floats are a TypeError, as for any index in Python."""
    try:
        return as_index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


cdef inline long long arg_number(object value, str name) except? -2:
    """An integer; -1 for one that 64 bits do not hold, which is as much out of any range."""
    cdef int overflow
    return PyLong_AsLongLongAndOverflow(value if isinstance(value, int) else arg_index(value, name), &overflow)


cdef u64 arg_unsigned(object value, u64 limit, str name) except? 0xFFFFFFFFFFFFFFFFULL:
    """An integer in 0..limit."""
    cdef object number = value if isinstance(value, int) else arg_index(value, name)
    if not 0 <= number <= limit:
        raise ConfigError(f"{name} must be in 0..{limit:#x}, got {value}")
    return number


cdef inline u32 arg_pe(Gic gic, pe) except? 0xFFFFFFFF:
    cdef long long number = arg_number(pe, "pe")
    if not 0 <= number < gic.s.num_pe:
        raise ConfigError(f"pe must be in 0..{gic.s.num_pe - 1}, got {pe}")
    return <u32>number


cdef u32 arg_spi(Gic gic, intid) except? 0xFFFFFFFE:
    cdef long long number = arg_number(intid, "intid")
    cdef u32 slot = shared_slot(gic.s, <u32>number) if 0 <= number < 0x10000 else <u32>NO_SLOT
    if slot == NO_SLOT:
        raise ConfigError(f"intid must be an implemented SPI ({spi_ranges(gic)}), got {intid}")
    return slot


cdef u32 arg_ppi(Gic gic, intid) except? 0xFFFFFFFE:
    cdef long long number = arg_number(intid, "intid")
    cdef u32 slot = private_slot(gic.s, <u32>number) if NUM_SGI <= number < 0x10000 else <u32>NO_SLOT
    if slot == NO_SLOT:
        more = f" or 1056..{1055 + gic.s.num_eppi}" if gic.s.num_eppi else ""
        raise ConfigError(f"intid must be an implemented PPI (16..31{more}), got {intid}")
    return slot


cdef str spi_ranges(Gic gic):
    ranges = [f"32..{31 + gic.s.num_spi}"] if gic.s.num_spi else []
    if gic.s.num_espi:
        ranges.append(f"4096..{4095 + gic.s.num_espi}")
    return " or ".join(ranges) or "none"


cdef bint arg_secure(Gic gic, secure, u32 pe) except -1:
    if secure is None:
        return pe_secure(gic.s, &gic.s.pe[pe])
    return secure


cdef u32 arg_frame(frame) except? 0xFFFFFFFF:
    cdef object number = frame
    if isinstance(frame, str):
        number = Frame.__members__.get(frame, -1)
    elif not isinstance(frame, int):
        number = arg_index(frame, "frame")
    if not 0 <= number < NUM_FRAMES:
        raise ConfigError(f"frame must be GICD, RD, SGI, GICM, GITS or GITS_TRANS (0..5), got {frame!r}")
    return number


cdef u32 arg_its(Gic gic, its) except? 0xFFFFFFFF:
    cdef long long number = arg_number(its, "its")
    if not 0 <= number < gic.s.num_its:
        raise ConfigError(f"its must be below {gic.s.num_its}, the number of ITSs, got {its}")
    return <u32>number


cdef u32 arg_frame_index(Gic gic, u32 frame, index) except? 0xFFFFFFFF:
    return arg_its(gic, index) if frame >= FRAME_GITS else arg_pe(gic, index)


cdef u32 arg_register(reg) except? 0xFFFFFFFF:
    if isinstance(reg, int):
        if not 0 <= reg <= 0xFFFF:
            raise ConfigError(f"a register encoding must be in 0..0xffff, got {reg:#x}")
        return <u32>reg
    if isinstance(reg, str):
        if reg not in SysReg.__members__:
            raise RegisterError.unknown("unknown system register", reg, SysReg.__members__)
        return <u32>SysReg[reg]
    if isinstance(reg, tuple) and len(reg) == 5:
        for value, limit in zip(reg, (3, 7, 15, 15, 7)):
            if not 0 <= arg_index(value, "each of (op0, op1, CRn, CRm, op2)") <= limit:
                raise ConfigError(f"(op0, op1, CRn, CRm, op2) must be within (3, 7, 15, 15, 7), got {reg}")
        return <u32>encode(*reg)
    if hasattr(type(reg), "__index__"):
        return arg_register(int(as_index(reg)))
    raise ConfigError(f"a register is a SysReg, a name or (op0, op1, CRn, CRm, op2), got {reg!r}")
