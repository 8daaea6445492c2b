# cython: language_level=3
"""What an embedder's own Cython module looks like: it cimports the public C API and nothing else of gicv3."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from gicv3._core cimport Gic

cdef enum:
    IAR1 = 3 << 14 | 12 << 7 | 12 << 3
    EOIR1 = IAR1 | 1


cdef struct Heard:
    uint32_t lines
    uint32_t times


cdef class Cpu:
    """A PE that takes its interrupts without Python, and remembers what its lines were said to be."""

    cdef readonly Gic gic
    cdef readonly uint32_t pe
    cdef Heard heard

    def __init__(self, Gic gic not None, uint32_t pe):
        self.gic = gic
        self.pe = pe

    def take(self, uint32_t most):
        """INTIDs acknowledged and ended, at most `most`."""
        cdef uint32_t[16] taken
        cdef uint32_t count = 0
        cdef uint64_t intid = 0
        with nogil:
            self.gic.lock()
            while count < most and count < 16 and self.gic.c_lines(self.pe) & 1:
                if self.gic.c_sysreg_access(self.pe, IAR1, &intid, False) != 0:
                    break
                taken[count] = <uint32_t>intid
                count += 1
                self.gic.c_sysreg_write(self.pe, EOIR1, intid)
            self.gic.unlock()
            self.gic.c_drain()
        return [taken[i] for i in range(count)]

    def pulse(self, uint32_t intid):
        """One edge of a PPI."""
        with nogil:
            self.gic.lock()
            self.gic.c_set_ppi(self.pe, intid, True)
            self.gic.c_set_ppi(self.pe, intid, False)
            self.gic.unlock()
            self.gic.c_drain()

    def listen(self):
        """From now on `told` has this GIC's last change of lines, and how many there were."""
        self.gic.c_on_lines(hear, &self.heard)

    def deaf(self):
        self.gic.c_on_lines(NULL, NULL)

    @property
    def told(self):
        return self.heard.lines, self.heard.times

    def changed(self, uint32_t room):
        cdef uint32_t[16] pes
        cdef uint32_t count
        self.gic.lock()
        count = self.gic.c_changed(pes, min(room, 16))
        self.gic.unlock()
        return [pes[i] for i in range(count)]

    def context(self, uint32_t el, bint secure):
        self.gic.lock()
        done = self.gic.c_set_context(self.pe, el, secure, 1, 0, 0, False)
        secure_now = self.gic.c_pe_secure(self.pe)
        self.gic.unlock()
        return bool(done), bool(secure_now)

    def out_of_range(self):
        """Everything that takes a number, with one that no GIC has."""
        cdef uint64_t value = 0
        cdef uint32_t none = self.gic.num_pe
        self.gic.lock()
        self.gic.c_set_spi(2000, True)
        self.gic.c_set_ppi(none, 20, True)
        self.gic.c_set_ppi(0, 15, True)
        self.gic.c_frame_write(9, 0, 0, 1, 4, True)
        self.gic.c_frame_write(1, none, 0, 1, 4, True)
        self.gic.c_sysreg_write(none, EOIR1, 0)
        self.gic.c_set_accessible(none, False)
        result = (self.gic.c_frame_read(9, 0, 0, 4, True), self.gic.c_frame_read(1, none, 8, 4, True),
                  self.gic.c_sysreg_read(none, IAR1), self.gic.c_sysreg_access(none, IAR1, &value, False),
                  self.gic.c_lines(none), self.gic.c_proc_num(0xFFFFFFFFFFFFFFFFULL),
                  self.gic.c_set_context(none, 1, False, 1, 0, 0, False), self.gic.c_pe_secure(none))
        self.gic.unlock()
        return result


cdef void hear(void *opaque, uint32_t pe, uint8_t lines) noexcept nogil:
    (<Heard *>opaque).lines = lines
    (<Heard *>opaque).times += 1
