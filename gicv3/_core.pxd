# Public C API: `from gicv3._core cimport Gic`. Every method is nogil and never raises.
#
# Thread safety: the c_ methods do not lock. Call them while nobody else uses this GIC, or between lock() and unlock().
# They do not run `on_line`: poll c_lines(), or call drain() with the GIL held and the lock released.
# A PE index, INTID, offset or encoding out of range is ignored (reads give 0).

cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef struct GicState


cdef class Gic:
    cdef GicState *s
    cdef cython.pymutex mutex
    cdef unsigned char *notified
    cdef bint draining
    cdef object _on_line
    cdef readonly object config
    cdef list _cpus
    cdef object __weakref__

    cdef void lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil
    cdef int drain(self) except -1

    cdef void c_set_spi(self, uint32_t intid, bint level) noexcept nogil
    cdef void c_set_ppi(self, uint32_t pe, uint32_t intid, bint level) noexcept nogil
    cdef uint64_t c_mmio_read(self, uint64_t address, uint32_t size, bint secure) noexcept nogil
    cdef void c_mmio_write(self, uint64_t address, uint64_t value, uint32_t size, bint secure) noexcept nogil
    cdef uint64_t c_frame_read(self, uint32_t frame, uint32_t index, uint32_t offset, uint32_t size,
                               bint secure) noexcept nogil
    cdef void c_frame_write(self, uint32_t frame, uint32_t index, uint32_t offset, uint64_t value, uint32_t size,
                            bint secure) noexcept nogil
    # Reads give the value, 0 when the access is UNDEFINED or trapped; c_sysreg_access() tells those apart (0 = value).
    cdef uint64_t c_sysreg_read(self, uint32_t pe, uint32_t encoding) noexcept nogil
    cdef void c_sysreg_write(self, uint32_t pe, uint32_t encoding, uint64_t value) noexcept nogil
    cdef uint32_t c_sysreg_access(self, uint32_t pe, uint32_t encoding, uint64_t *value, bint write) noexcept nogil
    cdef int32_t c_proc_num(self, uint64_t mpidr) noexcept nogil
    cdef void c_set_accessible(self, uint32_t pe, bint accessible) noexcept nogil
    cdef uint32_t c_lines(self, uint32_t pe) noexcept nogil
