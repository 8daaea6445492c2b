# Which vCPU object has which PE, and the event of a change: it gets the PE of its affinity when it comes, and loses it
# when it goes.

cdef class CPUHotplugInfo:
    """What a CPU hotplug notifier receives: the GIC, the vCPU, and whether it comes or goes.

    Attributes:
        gic: the `GICv3` that the vCPU belongs to; a notifier leaves those of others alone.
        cpu: the `Vcpu`, with `mp_affinity` and `cpu_index`.
        plugging: True when it comes, False when it goes.
    """

    cdef public object gic
    cdef public object cpu
    cdef public bint plugging

    def __cinit__(self, gic, cpu, bint plugging):
        self.gic = gic
        self.cpu = cpu
        self.plugging = plugging

    def inverse(self):
        """The event that takes this one back."""
        return CPUHotplugInfo(self.gic, self.cpu, not self.plugging)

    def __eq__(self, other):
        if not isinstance(other, CPUHotplugInfo):
            return NotImplemented
        return (self.gic, self.cpu, self.plugging) == (other.gic, other.cpu, other.plugging)

    __hash__ = None

    def __repr__(self):
        return f"CPUHotplugInfo(gic={self.gic!r}, cpu={self.cpu!r}, plugging={self.plugging})"


cdef u32 vcpu_pe(Gic gic, cpu) except? 0xFFFFFFFF:
    """The PE of a vCPU's affinity."""
    cdef int32_t pe = proc_num(gic, cpu.mp_affinity, "mp_affinity")
    if pe < 0:
        raise HotplugError(f"Failed to associate cpu {cpu.cpu_index} with any GIC cpuif")
    return <u32>pe


cdef int32_t proc_num(Gic gic, mpidr, str name) except? -2:
    cdef long long number = arg_number(mpidr, name)
    return gic.c_proc_num(<u64>number) if number >= 0 else -1


cdef int vcpu_set(Gic gic, u32 pe, cpu) except -1:
    """Give the PE to `cpu`, its CPU interface reset as a cold one, or with None take it away."""
    cdef bint comes = cpu is not None
    gic._cpus[pe] = cpu
    with gic.mutex:
        if comes:
            cpuif_reset_fields(gic.s, &gic.s.pe[pe])
            cpuif_default_context(gic.s, &gic.s.pe[pe])
        pe_set_accessible(gic.s, pe, comes)
    return gic.drain()


cdef int vcpu_change(Gic gic, u32 pe, before, after) except -1:
    """vcpu_set() to `after`, and to `before` again if a callback raises that is told of the lines."""
    try:
        vcpu_set(gic, pe, after)
    except BaseException as error:
        try:
            vcpu_set(gic, pe, before)
        except BaseException as another:
            errors = [error, another]
            raise BaseExceptionGroup("a callback failed, and another when the GIC took it back", errors) from None
        raise
    return 0


cdef u32 vcpu_associate(Gic gic, cpu) except? 0xFFFFFFFF:
    cdef u32 pe = vcpu_pe(gic, cpu)
    holder = gic._cpus[pe]
    if holder is not None:
        raise HotplugError(f"cpu {cpu.cpu_index}: GIC cpuif {pe} already belongs to {holder!r}")
    vcpu_change(gic, pe, None, cpu)
    return pe


cdef u32 vcpu_dissociate(Gic gic, cpu) except? 0xFFFFFFFF:
    cdef u32 pe = vcpu_pe(gic, cpu)
    holder = gic._cpus[pe]
    if holder is not cpu:
        raise HotplugError(f"cpu {cpu.cpu_index}: GIC cpuif {pe} belongs to {holder!r}")
    vcpu_change(gic, pe, cpu, None)
    return pe


cdef int vcpu_range(Gic gic, first, count, bint accessible) except -1:
    """`Gic.set_accessible_range`."""
    cdef u32 start = arg_pe(gic, first)
    cdef u32 pe
    count = arg_index(count, "count")
    if count < 0 or start + count > gic.s.num_pe:
        raise ConfigError(f"first + count must be at most {gic.s.num_pe}, got {first} + {count}")
    if not accessible:
        gic._cpus[start:start + count] = [None] * count
    with gic.mutex:
        for pe in range(start, start + <u32>count):
            if (gic.s.pe[pe].flags & PE_ACCESSIBLE != 0) != accessible:
                pe_set_accessible(gic.s, pe, accessible)
    return gic.drain()
