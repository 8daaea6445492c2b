# Public C API: `from gicv3._core cimport Gic`; docs/c-api.md explains it. Every c_ method is nogil and never raises.
#
# Thread safety: the c_ methods do not lock, except c_drain() and c_on_lines(), which must be called without the lock.
# Call the others while nobody else uses this GIC, or between lock() and unlock(). They do not run callbacks: poll
# c_lines() or c_changed(), or call c_drain() (any thread, no GIL) or drain() (GIL held) with the lock released.
# A PE index, INTID, offset or encoding out of range is ignored (reads give 0).

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef struct GicState

# The output lines of PE `pe` are now `lines` (bits of gicv3.Line). It may call the c_ methods.
ctypedef void (*lines_callback)(void *opaque, uint32_t pe, uint8_t lines) noexcept nogil


cdef class Gic:
    cdef GicState *s
    cdef cython.pymutex mutex
    cdef unsigned char *notified
    cdef bint draining
    cdef lines_callback lines_callback
    cdef void *lines_opaque
    cdef bint serving
    cdef object _on_line
    cdef readonly object config
    cdef list _cpus
    cdef dict _buffers
    cdef dict _callbacks
    cdef object __weakref__

    cdef void lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil

    # Outputs. drain() raises what `on_line` raised; c_drain() takes the GIL only when there is an `on_line`, and what
    # that raises goes to sys.unraisablehook. c_changed() moves PEs from the list of `Gic.changed()` to `pes`, at most
    # `room` of them, and returns how many. NULL takes the callback of c_on_lines() away.
    cdef int drain(self) except -1
    cdef void c_drain(self) noexcept nogil
    cdef void c_on_lines(self, lines_callback callback, void *opaque) noexcept nogil
    cdef uint32_t c_lines(self, uint32_t pe) noexcept nogil
    cdef uint32_t c_changed(self, uint32_t *pes, uint32_t room) noexcept nogil

    # Inputs
    cdef void c_set_spi(self, uint32_t intid, bint level) noexcept nogil
    cdef void c_set_ppi(self, uint32_t pe, uint32_t intid, bint level) noexcept nogil

    # Memory-mapped registers, by physical address or by frame (gicv3.Frame) and PE
    cdef uint64_t c_mmio_read(self, uint64_t address, uint32_t size, bint secure) noexcept nogil
    cdef void c_mmio_write(self, uint64_t address, uint64_t value, uint32_t size, bint secure) noexcept nogil
    cdef uint64_t c_frame_read(self, uint32_t frame, uint32_t index, uint32_t offset, uint32_t size,
                               bint secure) noexcept nogil
    cdef void c_frame_write(self, uint32_t frame, uint32_t index, uint32_t offset, uint64_t value, uint32_t size,
                            bint secure) noexcept nogil

    # System registers by packed encoding (gicv3.SysReg). c_sysreg_access() tells what the architecture does with an
    # access: 0 value, 1 UNDEFINED, 2 trap to EL2, 3 trap to EL3, 4 redirected to ICV_*; the others then read 0.
    cdef uint64_t c_sysreg_read(self, uint32_t pe, uint32_t encoding) noexcept nogil
    cdef void c_sysreg_write(self, uint32_t pe, uint32_t encoding, uint64_t value) noexcept nogil
    cdef uint32_t c_sysreg_access(self, uint32_t pe, uint32_t encoding, uint64_t *value, bint write) noexcept nogil

    # The PE's state of execution, as `GICv3.set_context`; False, and nothing done, when the PE has no such state
    cdef bint c_set_context(self, uint32_t pe, uint32_t el, bint secure, uint64_t scr_el3, uint64_t hcr_el2,
                            uint32_t ich_hcr_el2, bint nmi_enabled) noexcept nogil
    cdef bint c_pe_secure(self, uint32_t pe) noexcept nogil       # its accesses are Secure ones
    cdef int32_t c_proc_num(self, uint64_t mpidr) noexcept nogil
    cdef void c_set_accessible(self, uint32_t pe, bint accessible) noexcept nogil
    cdef void c_step(self, uint32_t steps) noexcept nogil
    # Guest memory for LPI and ITS tables: `data` stays valid until it is unmapped. False, and nothing done, when the
    # range is empty, ends beyond 52 bits, overlaps another, or 64 regions are mapped. `gic.memory` does not list it.
    cdef bint c_map_memory(self, uint64_t address, void *data, uint64_t size, bint writable) noexcept nogil
    cdef void c_unmap_memory(self, uint64_t address) noexcept nogil
    # What a write of `event` to GITS_TRANSLATER does that comes from DeviceID `device`
    cdef void c_msi(self, uint32_t its, uint32_t device, uint32_t event) noexcept nogil
    cdef void c_trace_time(self, uint64_t now) noexcept nogil     # the time of the trace's next events
    # Whether work is left that drain() goes on with: the rest of a long ITS queue, or what callbacks have to bring
    cdef bint c_has_work(self) noexcept nogil
