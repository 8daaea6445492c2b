# What a PE does, as its embedder tells it: accesses with their outcome, the context.

def sysreg_outcome(Gic gic not None, pe, reg, value):
    """(ACCESS_* code, value) of a read (value None) or a write."""
    cdef u32 index = arg_pe(gic, pe)
    cdef u32 encoding = arg_register(reg)
    cdef bint write = value is not None
    cdef u64 data = arg_unsigned(value, UINT64_MAX, "value") if write else 0
    cdef u32 code
    with gic.mutex:
        code = sysreg_access(gic.s, index, encoding, &data, write)
    gic.drain()
    return code, 0 if write else data


def context_set(Gic gic not None, pe, u8 el, bint secure, scr_el3, hcr_el2, ich_hcr_el2, bint nmi_enabled):
    """`GICv3.set_context`, which has checked that the PE has this state."""
    cdef u32 index = arg_pe(gic, pe)
    cdef u64 scr = arg_unsigned(scr_el3, UINT64_MAX, "scr_el3")
    cdef u64 hcr = arg_unsigned(hcr_el2, UINT64_MAX, "hcr_el2")
    cdef u32 ich_hcr = <u32>arg_unsigned(ich_hcr_el2, UINT32_MAX, "ich_hcr_el2")
    with gic.mutex:
        pe_set_context(gic.s, index, el, secure, scr, hcr, ich_hcr, nmi_enabled)
    gic.drain()
