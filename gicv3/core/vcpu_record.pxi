# What a machine keeps of each vCPU. In C because a large machine makes thousands, and Python's garbage collector looks
# at each of them more than once: the fewer references it finds, the better.

cdef class VcpuRecord:
    """The fields of a `Vcpu`, which says what they are."""

    cdef public object machine
    cdef public object id
    cdef public object anonymous
    cdef public object power_state
    cdef public object sysregs
    cdef public object _context
    cdef public object _timer
    cdef public unsigned long long mp_affinity
    cdef public unsigned int cpu_index
    cdef public unsigned int outputs
    cdef public bint hotplugged
    cdef public bint unplug_requested
    cdef public bint associated
    cdef public bint wired

    def __cinit__(self, machine, cpu_index, mp_affinity, id=None, bint hotplugged=False, anonymous=-1):
        self.machine = machine
        self.cpu_index = cpu_index
        self.mp_affinity = mp_affinity
        self.id = id
        self.hotplugged = hotplugged
        self.anonymous = anonymous
        self.power_state = _OFF
