# The struct of function pointers in gicv3.h, for C, ctypes and cffi: each locks, acts, unlocks, and runs callbacks.

from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "gicv3.h" nogil:
    const uint32_t GICV3_API_VERSION
    const char *GICV3_API_CAPSULE
    ctypedef struct gicv3_handle:
        pass
    ctypedef struct gicv3_context:
        uint64_t scr_el3
        uint64_t hcr_el2
        uint32_t ich_hcr_el2
        uint8_t el
        uint8_t secure
        uint8_t nmi_enabled
    ctypedef struct gicv3_api:
        uint32_t version
        uint32_t size
        gicv3_handle *(*create)(const char *, char *, size_t) noexcept
        void (*retain)(gicv3_handle *) noexcept
        void (*release)(gicv3_handle *) noexcept
        uint32_t (*num_pe)(gicv3_handle *) noexcept
        int32_t (*proc_num)(gicv3_handle *, uint64_t) noexcept
        uint64_t (*mmio_read)(gicv3_handle *, uint64_t, uint32_t, int) noexcept
        void (*mmio_write)(gicv3_handle *, uint64_t, uint64_t, uint32_t, int) noexcept
        uint64_t (*frame_read)(gicv3_handle *, uint32_t, uint32_t, uint32_t, uint32_t, int) noexcept
        void (*frame_write)(gicv3_handle *, uint32_t, uint32_t, uint32_t, uint64_t, uint32_t, int) noexcept
        uint32_t (*sysreg_read)(gicv3_handle *, uint32_t, uint32_t, uint64_t *) noexcept
        uint32_t (*sysreg_write)(gicv3_handle *, uint32_t, uint32_t, uint64_t) noexcept
        int (*set_context)(gicv3_handle *, uint32_t, const gicv3_context *) noexcept
        void (*set_spi)(gicv3_handle *, uint32_t, int) noexcept
        void (*pulse_spi)(gicv3_handle *, uint32_t) noexcept
        void (*set_ppi)(gicv3_handle *, uint32_t, uint32_t, int) noexcept
        void (*pulse_ppi)(gicv3_handle *, uint32_t, uint32_t) noexcept
        uint8_t (*lines)(gicv3_handle *, uint32_t) noexcept
        uint32_t (*changed)(gicv3_handle *, uint32_t *, uint32_t) noexcept
        void (*on_lines)(gicv3_handle *, lines_callback, void *) noexcept
        void (*set_accessible)(gicv3_handle *, uint32_t, int) noexcept
        void (*step)(gicv3_handle *, uint32_t) noexcept
        void (*trace_time)(gicv3_handle *, uint64_t) noexcept
        int (*map_memory)(gicv3_handle *, uint64_t, void *, uint64_t, int) noexcept
        void (*unmap_memory)(gicv3_handle *, uint64_t) noexcept
        void (*msi)(gicv3_handle *, uint32_t, uint32_t, uint32_t) noexcept


cdef gicv3_handle *new_reference(const char *config, char *error, size_t error_size) except? NULL:
    from gicv3.capi import from_json
    try:
        gic = from_json(config)
    except Exception as problem:
        text = f"{type(problem).__name__}: {problem}".encode()[:error_size - 1 if error_size else 0]
        if error != NULL and error_size:
            memcpy(error, <const char *>text, len(text) + 1)
        return NULL
    Py_INCREF(gic)
    return <gicv3_handle *>gic


cdef gicv3_handle *api_create(const char *config, char *error, size_t error_size) noexcept with gil:
    if error != NULL and error_size:
        error[0] = 0
    try:
        return new_reference(config, error, error_size)
    except:  # noqa: E722 - no memory even for the text
        return NULL


cdef void api_retain(gicv3_handle *handle) noexcept with gil:
    Py_INCREF(<object>handle)


cdef void api_release(gicv3_handle *handle) noexcept with gil:
    Py_DECREF(<object>handle)


cdef inline void api_leave(gicv3_handle *handle) noexcept nogil:
    """Unlock, and run callbacks if there is something to tell."""
    cdef bint moved = (<Gic>handle).s.num_notify != 0 or gic_has_work((<Gic>handle).s)
    (<Gic>handle).mutex.release()
    if moved:
        (<Gic>handle).c_drain()


cdef uint32_t api_num_pe(gicv3_handle *handle) noexcept nogil:
    return (<Gic>handle).s.num_pe


cdef int32_t api_proc_num(gicv3_handle *handle, uint64_t mpidr) noexcept nogil:
    return (<Gic>handle).c_proc_num(mpidr)


cdef uint64_t api_mmio_read(gicv3_handle *handle, uint64_t address, uint32_t size, int secure) noexcept nogil:
    cdef u64 value
    (<Gic>handle).mutex.acquire()
    value = (<Gic>handle).c_mmio_read(address, size, secure != 0)
    api_leave(handle)
    return value


cdef void api_mmio_write(gicv3_handle *handle, uint64_t address, uint64_t value, uint32_t size,
                         int secure) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_mmio_write(address, value, size, secure != 0)
    api_leave(handle)


cdef uint64_t api_frame_read(gicv3_handle *handle, uint32_t frame, uint32_t pe, uint32_t offset, uint32_t size,
                             int secure) noexcept nogil:
    cdef u64 value
    (<Gic>handle).mutex.acquire()
    value = (<Gic>handle).c_frame_read(frame, pe, offset, size, secure != 0)
    api_leave(handle)
    return value


cdef void api_frame_write(gicv3_handle *handle, uint32_t frame, uint32_t pe, uint32_t offset, uint64_t value,
                          uint32_t size, int secure) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_frame_write(frame, pe, offset, value, size, secure != 0)
    api_leave(handle)


cdef uint32_t api_sysreg_read(gicv3_handle *handle, uint32_t pe, uint32_t encoding, uint64_t *value) noexcept nogil:
    cdef u32 code
    value[0] = 0
    (<Gic>handle).mutex.acquire()
    code = (<Gic>handle).c_sysreg_access(pe, encoding, value, False)
    api_leave(handle)
    return code


cdef uint32_t api_sysreg_write(gicv3_handle *handle, uint32_t pe, uint32_t encoding, uint64_t value) noexcept nogil:
    cdef u32 code
    (<Gic>handle).mutex.acquire()
    code = (<Gic>handle).c_sysreg_access(pe, encoding, &value, True)
    api_leave(handle)
    return code


cdef int api_set_context(gicv3_handle *handle, uint32_t pe, const gicv3_context *context) noexcept nogil:
    cdef bint done
    (<Gic>handle).mutex.acquire()
    done = (<Gic>handle).c_set_context(pe, context.el, context.secure != 0, context.scr_el3, context.hcr_el2,
                                       context.ich_hcr_el2, context.nmi_enabled != 0)
    api_leave(handle)
    return done


cdef void api_set_spi(gicv3_handle *handle, uint32_t intid, int level) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_set_spi(intid, level != 0)
    api_leave(handle)


cdef void api_pulse_spi(gicv3_handle *handle, uint32_t intid) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_set_spi(intid, True)
    (<Gic>handle).c_set_spi(intid, False)
    api_leave(handle)


cdef void api_set_ppi(gicv3_handle *handle, uint32_t pe, uint32_t intid, int level) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_set_ppi(pe, intid, level != 0)
    api_leave(handle)


cdef void api_pulse_ppi(gicv3_handle *handle, uint32_t pe, uint32_t intid) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_set_ppi(pe, intid, True)
    (<Gic>handle).c_set_ppi(pe, intid, False)
    api_leave(handle)


cdef uint8_t api_lines(gicv3_handle *handle, uint32_t pe) noexcept nogil:
    return <uint8_t>(<Gic>handle).c_lines(pe)


cdef uint32_t api_changed(gicv3_handle *handle, uint32_t *pes, uint32_t room) noexcept nogil:
    cdef u32 count
    (<Gic>handle).mutex.acquire()
    count = (<Gic>handle).c_changed(pes, room)
    (<Gic>handle).mutex.release()
    return count


cdef void api_on_lines(gicv3_handle *handle, lines_callback callback, void *opaque) noexcept nogil:
    (<Gic>handle).c_on_lines(callback, opaque)


cdef void api_set_accessible(gicv3_handle *handle, uint32_t pe, int accessible) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_set_accessible(pe, accessible != 0)
    api_leave(handle)


cdef void api_step(gicv3_handle *handle, uint32_t steps) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_step(steps)
    api_leave(handle)


cdef void api_trace_time(gicv3_handle *handle, uint64_t now) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_trace_time(now)
    (<Gic>handle).mutex.release()


cdef int api_map_memory(gicv3_handle *handle, uint64_t address, void *data, uint64_t size, int writable) noexcept nogil:
    cdef bint done
    (<Gic>handle).mutex.acquire()
    done = (<Gic>handle).c_map_memory(address, data, size, writable != 0)
    api_leave(handle)
    return done


cdef void api_unmap_memory(gicv3_handle *handle, uint64_t address) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_unmap_memory(address)
    (<Gic>handle).mutex.release()


cdef void api_msi(gicv3_handle *handle, uint32_t its, uint32_t device, uint32_t event) noexcept nogil:
    (<Gic>handle).mutex.acquire()
    (<Gic>handle).c_msi(its, device, event)
    api_leave(handle)


cdef gicv3_api _api
_api.version = GICV3_API_VERSION
_api.size = sizeof(gicv3_api)
_api.create = api_create
_api.retain = api_retain
_api.release = api_release
_api.num_pe = api_num_pe
_api.proc_num = api_proc_num
_api.mmio_read = api_mmio_read
_api.mmio_write = api_mmio_write
_api.frame_read = api_frame_read
_api.frame_write = api_frame_write
_api.sysreg_read = api_sysreg_read
_api.sysreg_write = api_sysreg_write
_api.set_context = api_set_context
_api.set_spi = api_set_spi
_api.pulse_spi = api_pulse_spi
_api.set_ppi = api_set_ppi
_api.pulse_ppi = api_pulse_ppi
_api.lines = api_lines
_api.changed = api_changed
_api.on_lines = api_on_lines
_api.set_accessible = api_set_accessible
_api.step = api_step
_api.trace_time = api_trace_time
_api.map_memory = api_map_memory
_api.unmap_memory = api_unmap_memory
_api.msi = api_msi

api = PyCapsule_New(&_api, GICV3_API_CAPSULE, NULL)
api_address = <size_t>&_api
