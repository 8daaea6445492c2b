# cython: language_level=3, cdivision=True, wraparound=False, binding=False
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False
"""The GICv3 core: state in contiguous arrays, affinity lookup, registers and the delivery path.

This file is the umbrella of one extension: the parts under core/ are included below, each depending only on those
before it for its state. `Gic` locks, calls a part, and drains callbacks after unlocking; it holds no rules.
"""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset
from cpython.buffer cimport (PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_CONTIG, PyBUF_F_CONTIGUOUS, PyBUF_SIMPLE,
                             PyBUF_STRIDED_RO, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject_GenericSetAttr

from enum import IntFlag
from hashlib import blake2b
from operator import index as as_index

import numpy

from gicv3.errors import BatchError, ConfigError, GicError, HotplugError, RegisterError, SnapshotError
from gicv3.power_state import OFF as _OFF
from gicv3.registers import REGISTERS, SYSREGS, Frame, SysReg, encode

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef extern from "<stdint.h>" nogil:
    const uint32_t UINT32_MAX
    const uint64_t UINT64_MAX

ctypedef uint8_t u8
ctypedef uint16_t u16
ctypedef uint32_t u32
ctypedef uint64_t u64

include "core/bits.pxi"
include "core/state.pxi"
include "core/slots.pxi"
include "core/allocation.pxi"
include "core/reset.pxi"
include "core/stats.pxi"
include "core/strict.pxi"
include "core/trace.pxi"
include "core/affinity.pxi"
include "core/context.pxi"
include "core/priority.pxi"
include "core/decode.pxi"
include "core/routing.pxi"
include "core/queue.pxi"
include "core/delivery.pxi"
include "core/settle.pxi"
include "core/memory.pxi"
include "core/lpi_order.pxi"
include "core/lpi.pxi"
include "core/lpi_work.pxi"
include "core/cpu_interface.pxi"
include "core/plain.pxi"
include "core/icc_registers.pxi"
include "core/distributor.pxi"
include "core/redistributor.pxi"
include "core/its_tables.pxi"
include "core/its_cache.pxi"
include "core/its_commands.pxi"
include "core/its.pxi"
include "core/mmio.pxi"
include "core/work.pxi"
include "core/hotplug.pxi"
include "core/configure.pxi"
include "core/check.pxi"
include "core/check_lpi.pxi"
include "core/arguments.pxi"
include "core/raised.pxi"
include "core/mapping.pxi"
include "core/inspection.pxi"
include "core/findings.pxi"
include "core/outputs.pxi"
include "core/drain.pxi"
include "core/association.pxi"
include "core/sysreg_access.pxi"
include "core/lpi_access.pxi"
include "core/saved_fields.pxi"
include "core/lpi_saved.pxi"
include "core/snapshot.pxi"
include "core/saved.pxi"
include "core/lpi_point.pxi"
include "core/savepoint.pxi"
include "core/recorder.pxi"
include "core/vcpu_record.pxi"
include "core/facts.pxi"
include "core/arrays.pxi"
include "core/batch.pxi"


cdef class Gic:
    """Distributor, redistributors and CPU interfaces of one GICv3.

    A guest's mistakes never raise: its bad accesses read 0, are ignored and counted (`totals`). An embedder's mistakes
    raise `ConfigError` with the value and the limit, and change nothing.

    Thread safety: every method may be called from any thread. One that changes state holds the GIC's lock meanwhile,
    then runs `on_line` without it; while one thread runs callbacks, the changes that others make are told by it, too.
    """

    def __cinit__(self, config=None, *_args, **_kwargs):
        if type(config).__name__ != "GICv3Config":
            raise TypeError(f"GICv3 takes one GICv3Config, got {config!r}")
        self.s = <GicState *>zalloc(sizeof(GicState))
        if self.s == NULL:
            raise MemoryError
        state_hold(self.s)
        self.config = config
        self._cpus = [None] * config.num_pe
        self._buffers = {}
        self._callbacks = {}
        gic_configure(self, config)

    def __dealloc__(self):
        if self.s != NULL:
            state_release(self.s)
        free(self.notified)

    # --- public C API ---------------------------------------------------------------------------------------------

    cdef void lock(self) noexcept nogil:
        self.mutex.acquire()

    cdef void unlock(self) noexcept nogil:
        self.mutex.release()

    cdef void c_set_spi(self, uint32_t intid, bint level) noexcept nogil:
        cdef u32 slot = shared_slot(self.s, intid)
        if slot != NO_SLOT:
            spi_set_line(self.s, slot, level)

    cdef void c_set_ppi(self, uint32_t pe, uint32_t intid, bint level) noexcept nogil:
        cdef u32 slot
        if pe >= self.s.num_pe:
            return
        if intid - NUM_SGI < 16:         # an ordinary PPI is its own slot
            pe_set_line(self.s, pe, &self.s.pe[pe], intid, level)
            return
        slot = private_slot(self.s, intid)
        if slot != NO_SLOT and slot >= NUM_PRIVATE:
            pe_set_line(self.s, pe, &self.s.pe[pe], slot, level)

    cdef uint64_t c_mmio_read(self, uint64_t address, uint32_t size, bint secure) noexcept nogil:
        cdef u32 frame, index, offset
        if mmio_decode(self.s, address, &frame, &index, &offset):
            return frame_read(self.s, frame, index, offset, size, secure)
        self.s.bad_access += 1
        return 0

    cdef void c_mmio_write(self, uint64_t address, uint64_t value, uint32_t size, bint secure) noexcept nogil:
        cdef u32 frame, index, offset
        if mmio_decode(self.s, address, &frame, &index, &offset):
            frame_write(self.s, frame, index, offset, value, size, secure)
        else:
            self.s.bad_access += 1

    cdef uint64_t c_frame_read(self, uint32_t frame, uint32_t index, uint32_t offset, uint32_t size,
                               bint secure) noexcept nogil:
        if frame_has(self.s, frame, index):
            return frame_read(self.s, frame, index, offset, size, secure)
        return 0

    cdef void c_frame_write(self, uint32_t frame, uint32_t index, uint32_t offset, uint64_t value, uint32_t size,
                            bint secure) noexcept nogil:
        if frame_has(self.s, frame, index):
            frame_write(self.s, frame, index, offset, value, size, secure)

    cdef uint64_t c_sysreg_read(self, uint32_t pe, uint32_t encoding) noexcept nogil:
        return sysreg_read(self.s, pe, encoding) if pe < self.s.num_pe else 0

    cdef void c_sysreg_write(self, uint32_t pe, uint32_t encoding, uint64_t value) noexcept nogil:
        if pe < self.s.num_pe:
            sysreg_write(self.s, pe, encoding, value)

    cdef uint32_t c_sysreg_access(self, uint32_t pe, uint32_t encoding, uint64_t *value, bint write) noexcept nogil:
        if pe >= self.s.num_pe:
            return ACCESS_UNDEFINED
        return sysreg_access(self.s, pe, encoding, value, write)

    cdef int32_t c_proc_num(self, uint64_t mpidr) noexcept nogil:
        if mpidr & <u64>0xFFFFFF00FF000000ULL:
            return -1
        return <int32_t>affinity_find(self.s, affinity_pack(mpidr))      # NO_PE is -1

    cdef void c_set_accessible(self, uint32_t pe, bint accessible) noexcept nogil:
        if pe < self.s.num_pe:
            pe_set_accessible(self.s, pe, accessible)

    cdef bint c_set_context(self, uint32_t pe, uint32_t el, bint secure, uint64_t scr_el3, uint64_t hcr_el2,
                            uint32_t ich_hcr_el2, bint nmi_enabled) noexcept nogil:
        cdef GicState *s = self.s
        if pe >= s.num_pe or not context_fits(s, el, secure, scr_el3):
            return False
        pe_set_context(s, pe, <u8>el, secure, scr_el3, hcr_el2, ich_hcr_el2, nmi_enabled)
        return True

    cdef bint c_pe_secure(self, uint32_t pe) noexcept nogil:
        return pe < self.s.num_pe and pe_secure(self.s, &self.s.pe[pe])

    cdef void c_step(self, uint32_t steps) noexcept nogil:
        gic_step(self.s, steps)

    cdef uint32_t c_lines(self, uint32_t pe) noexcept nogil:
        return self.s.pe[pe].lines if pe < self.s.num_pe else 0

    cdef void c_trace_time(self, uint64_t now) noexcept nogil:
        if self.s.trace != NULL:
            self.s.trace.now = now

    @property
    def handle(self):
        """Address of this GIC for the functions of ``gicv3.h``; good while this object lives."""
        return <size_t><void *>self

    cdef void c_msi(self, uint32_t its, uint32_t device, uint32_t event) noexcept nogil:
        if its < self.s.num_its:
            its_msi(self.s, its, device, event)

    cdef bint c_map_memory(self, uint64_t address, void *data, uint64_t size, bint writable) noexcept nogil:
        if data == NULL or size == 0 or address >> 52 or size > (<u64>1 << 52) - address:
            return False
        return mem_insert(self.s, address, size, <u8 *>data, writable)

    cdef void c_unmap_memory(self, uint64_t address) noexcept nogil:
        mem_remove(self.s, address)

    cdef bint c_has_work(self) noexcept nogil:
        return gic_has_work(self.s)

    # --- outputs --------------------------------------------------------------------------------------------------

    cdef int drain(self) except -1:
        """Run the callbacks for what changed since the last drain, in order. State is final; they may call back in.

        One call drains at a time: a nested call, or one from another thread, leaves its changes to the one under way.
        If callbacks raise, the rest still runs, and the first 16 exceptions come out; what is not an `Exception`
        (KeyboardInterrupt) ends the drain after the changes in hand, and later ones wait for the next call.
        """
        cdef _Raised raised = None
        if unlikely(gic_has_work(self.s) and not self.serving):
            raised = work_serve(self, None)
        return drain_lines(self, raised)

    cdef void c_drain(self) noexcept nogil:
        drain_nogil(self)

    cdef void c_on_lines(self, lines_callback callback, void *opaque) noexcept nogil:
        with self.mutex:
            self.lines_callback = callback
            self.lines_opaque = opaque
            notify_from_now(self)

    cdef uint32_t c_changed(self, uint32_t *pes, uint32_t room) noexcept nogil:
        return changed_take(self.s, pes, room)

    @property
    def on_line(self):
        """Callable (pe, line, level) run for each line that changed, after the state is final; or None.

        It may call any method of this GIC; the changes it makes are told when it has returned. When calls raise, the
        rest still run; then the exception is raised again from the method that caused the change, several together as
        an ExceptionGroup. Setting it tells nothing of what changed before.

        Raises
        ------
        ConfigError : set to something that is neither callable nor None.
        """
        return self._on_line

    @on_line.setter
    def on_line(self, callback):
        if callback is not None and not callable(callback):
            raise ConfigError(f"on_line must be callable or None, got {callback!r}")
        before = self._on_line   # let go of only after the lock is: its finalizer may call in
        with self.mutex:
            self._on_line = callback
            notify_from_now(self)
        del before

    def changed(self):
        """PEs whose lines moved since the last call, each once.

        Returns
        -------
        PE indexes in the order of their first change; a PE whose lines moved and moved back is among them.
        """
        return changed_list(self)

    @property
    def lines(self):
        """Read-only uint8 view of all PEs' output lines, one byte of `Line` bits a PE; live, and outlives the GIC."""
        return memory_array(self.s, &self.s.pe[0].lines, self.s.num_pe, 1, sizeof(PeState))

    def line(self, pe):
        """Output lines of one PE as an int of `Line` bits.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return self.s.pe[arg_pe(self, pe)].lines

    # --- inputs ---------------------------------------------------------------------------------------------------

    def set_spi(self, intid, bint level):
        """Drive the input wire of an SPI; a rising edge latches if it is edge-triggered.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.
        level : the wire's level from now on.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """
        cdef u32 slot = arg_spi(self, intid)
        with self.mutex:
            spi_set_line(self.s, slot, level)
        self.drain()

    def pulse_spi(self, intid):
        """Raise and lower the input wire of an SPI: one edge if it was low, none if it was high; it ends low.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """
        cdef u32 slot = arg_spi(self, intid)
        with self.mutex:
            spi_set_line(self.s, slot, True)
            spi_set_line(self.s, slot, False)
        self.drain()

    def set_ppi(self, pe, intid, bint level):
        """Drive the input wire of a PPI; a rising edge latches if it is edge-triggered.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.
        level : the wire's level from now on.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """
        cdef u32 index = arg_pe(self, pe)
        cdef u32 slot = arg_ppi(self, intid)
        with self.mutex:
            pe_set_line(self.s, index, &self.s.pe[index], slot, level)
        self.drain()

    def pulse_ppi(self, pe, intid):
        """Raise and lower the input wire of a PPI: one edge if it was low, none if it was high; it ends low.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """
        cdef u32 index = arg_pe(self, pe)
        cdef u32 slot = arg_ppi(self, intid)
        with self.mutex:
            pe_set_line(self.s, index, &self.s.pe[index], slot, True)
            pe_set_line(self.s, index, &self.s.pe[index], slot, False)
        self.drain()

    def spi_line(self, intid):
        """Level of an SPI's input wire.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """
        cdef u32 slot = arg_spi(self, intid)
        return bool(self.s.shared[slot >> 5].line >> (slot & 31) & 1)

    def ppi_line(self, pe, intid):
        """Level of a PPI's input wire.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """
        cdef PeState *p = &self.s.pe[arg_pe(self, pe)]
        cdef u32 slot = arg_ppi(self, intid)
        return bool(private_word(self.s, p, slot >> 5).line >> (slot & 31) & 1)

    # --- memory-mapped registers ----------------------------------------------------------------------------------

    def mmio_read(self, address, size=4, secure=None, pe=0):
        """Read `size` bytes at a physical address; a bad access reads 0 and is counted.

        Parameters
        ----------
        address : physical address, 64 bits; outside every frame is a bad access.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `pe`.
        pe : PE index of the requester, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        cdef bint is_secure = arg_secure(self, secure, arg_pe(self, pe))
        cdef u64 place = arg_unsigned(address, UINT64_MAX, "address")
        cdef u32 width = <u32>arg_unsigned(size, UINT32_MAX, "size")
        cdef u64 value
        with self.mutex:
            value = self.c_mmio_read(place, width, is_secure)
        self.drain()
        return value

    def mmio_write(self, address, value, size=4, secure=None, pe=0, device_id=0):
        """Write `size` bytes at a physical address; a bad access is ignored and counted.

        Parameters
        ----------
        address : physical address, 64 bits; outside every frame is a bad access.
        value : 64 bits, of which the low 8 * `size` count.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `pe`.
        pe : PE index of the requester, 0..num_pe-1.
        device_id : DeviceID of the requester, 32 bits, which a write of GITS_TRANSLATER needs.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        cdef u32 device = <u32>arg_unsigned(device_id, UINT32_MAX, "device_id")
        cdef bint is_secure = arg_secure(self, secure, arg_pe(self, pe))
        cdef u64 place = arg_unsigned(address, UINT64_MAX, "address")
        cdef u64 data = arg_unsigned(value, UINT64_MAX, "value")
        cdef u32 width = <u32>arg_unsigned(size, UINT32_MAX, "size")
        with self.mutex:
            self.s.bus_device = device
            self.c_mmio_write(place, data, width, is_secure)
            self.s.bus_device = 0
        self.drain()

    def frame_read(self, frame, offset, size=4, secure=None, index=0):
        """Read `size` bytes at an offset of a frame: of PE `index` for RD and SGI, of ITS `index` for GITS.

        Parameters
        ----------
        frame : a `gicv3.Frame`, its int, or its name.
        offset : 32 bits; 0x10000 and above is a bad access.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `index`, or of PE 0 for GITS.
        index : PE index, 0..num_pe-1; for GITS and GITS_TRANS an ITS, 0..its-1.

        Raises
        ------
        ConfigError : there is no such frame, PE or ITS.
        """
        cdef u32 which = arg_frame(frame)
        cdef u32 number = arg_frame_index(self, which, index)
        cdef bint is_secure = arg_secure(self, secure, number if which < FRAME_GITS else 0)
        cdef u32 place = <u32>arg_unsigned(offset, UINT32_MAX, "offset")
        cdef u32 width = <u32>arg_unsigned(size, UINT32_MAX, "size")
        cdef u64 value
        with self.mutex:
            value = frame_read(self.s, which, number, place, width, is_secure)
        self.drain()
        return value

    def frame_write(self, frame, offset, value, size=4, secure=None, index=0):
        """Write `size` bytes at an offset of a frame: of PE `index` for RD and SGI, of ITS `index` for GITS.

        Parameters
        ----------
        frame : a `gicv3.Frame`, its int, or its name.
        offset : 32 bits; 0x10000 and above is a bad access.
        value : 64 bits, of which the low 8 * `size` count.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `index`, or of PE 0 for GITS.
        index : PE index, 0..num_pe-1; for GITS and GITS_TRANS an ITS, 0..its-1.

        Raises
        ------
        ConfigError : there is no such frame, PE or ITS.
        """
        cdef u32 which = arg_frame(frame)
        cdef u32 number = arg_frame_index(self, which, index)
        cdef bint is_secure = arg_secure(self, secure, number if which < FRAME_GITS else 0)
        cdef u32 place = <u32>arg_unsigned(offset, UINT32_MAX, "offset")
        cdef u64 data = arg_unsigned(value, UINT64_MAX, "value")
        cdef u32 width = <u32>arg_unsigned(size, UINT32_MAX, "size")
        with self.mutex:
            frame_write(self.s, which, number, place, data, width, is_secure)
        self.drain()

    # --- system registers -----------------------------------------------------------------------------------------

    def sysreg_read(self, pe, reg):
        """Read a system register as software on the PE; 0 when the access is UNDEFINED or trapped.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1, whose context decides.
        reg : `gicv3.SysReg`, its int, its name, or (op0, op1, CRn, CRm, op2).

        Raises
        ------
        ConfigError : there is no such PE, or the encoding is out of range; `RegisterError` if the name is unknown.
        """
        cdef u32 index = arg_pe(self, pe)
        cdef u32 encoding = arg_register(reg)
        cdef u64 value = 0
        with self.mutex:
            sysreg_access(self.s, index, encoding, &value, False)
        self.drain()
        return value

    def sysreg_write(self, pe, reg, value):
        """Write a system register as software on the PE; ignored when the access is UNDEFINED or trapped.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1, whose context decides.
        reg : `gicv3.SysReg`, its int, its name, or (op0, op1, CRn, CRm, op2).
        value : 64 bits.

        Raises
        ------
        ConfigError : there is no such PE, or the encoding is out of range; `RegisterError` if the name is unknown.
        """
        cdef u32 index = arg_pe(self, pe)
        cdef u32 encoding = arg_register(reg)
        cdef u64 data = arg_unsigned(value, UINT64_MAX, "value")
        with self.mutex:
            sysreg_access(self.s, index, encoding, &data, True)
        self.drain()

    # --- guest memory ---------------------------------------------------------------------------------------------

    @property
    def has_work(self):
        """Work for LPIs or ITSs is under way that a later call goes on with, any call: `step(0)` does nothing else.

        True when a command queue, or the tables of a redistributor, took more than `GICv3Config.work_budget`, and while
        callbacks of guest memory run. False when what comes next needs memory that `Memory.awaited` names.
        """
        with self.mutex:
            return gic_has_work(self.s)

    # --- LPIs and ITSs --------------------------------------------------------------------------------------------

    def lpi_pending(self, pe):
        """INTIDs of the LPIs that are pending at a PE, enabled or not, in order.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return lpi_pending_of(self, pe)

    # --- hotplug --------------------------------------------------------------------------------------------------

    @property
    def num_pe(self):
        """Number of PEs, accessible or not: 1..65536."""
        return self.s.num_pe

    def proc_num(self, mpidr):
        """PE with this affinity, or -1; O(1) at any number and assignment of affinities.

        Parameters
        ----------
        mpidr : affinity in MPIDR form: Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0; any other bit set finds no PE.
        """
        return proc_num(self, mpidr, "mpidr")

    def affinity(self, pe):
        """Affinity of a PE in MPIDR form: Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return affinity_unpack(self.s.cold[arg_pe(self, pe)].affinity)

    def is_accessible(self, pe):
        """True while the PE's CPU interface may be used: a vCPU is plugged there.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return self.s.pe[arg_pe(self, pe)].flags & PE_ACCESSIBLE != 0

    def cpu(self, pe):
        """The object given to `set_cpustate` when a vCPU was plugged at this PE, or None.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return self._cpus[arg_pe(self, pe)]

    def set_cpustate(self, pe, cpu, bint accessible):
        """Plug (True) or unplug (False) the vCPU of a PE; unplugging resets what is private to the PE.

        An unplugged PE drives no line; its redistributor, CPU interface and context are as after a reset, its PPI wires
        low, and its redistributor's registers still work. SGIs sent to it are dropped and counted. SPIs routed to it
        stay pending for the next vCPU; one that was active on it stays active in the Distributor.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        cpu : the embedder's object for the vCPU, kept until it is unplugged, or None.
        accessible : the CPU interface may be used from now on.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        cdef u32 index = arg_pe(self, pe)
        if not accessible:
            self._cpus[index] = None
        elif cpu is not None:
            self._cpus[index] = cpu
        with self.mutex:
            pe_set_accessible(self.s, index, accessible)
        self.drain()

    def associate(self, cpu):
        """Plug a vCPU at the PE of its affinity: `set_cpustate` and `reset_cpuif` in one, all of it or nothing.

        Parameters
        ----------
        cpu : the embedder's object for the vCPU, with its `mp_affinity` as in MPIDR, and `cpu_index` for messages.

        Returns
        -------
        The PE's index.

        Raises
        ------
        HotplugError : no PE has its affinity, or another vCPU has that PE.
        """
        return vcpu_associate(self, cpu)

    def dissociate(self, cpu):
        """Unplug a vCPU that `associate` plugged: `set_cpustate`, all of it or nothing.

        Parameters
        ----------
        cpu : what `associate` got.

        Returns
        -------
        The PE's index.

        Raises
        ------
        HotplugError : no PE has its affinity, or it is another vCPU's.
        """
        return vcpu_dissociate(self, cpu)

    def set_accessible_range(self, first, count, bint accessible):
        """`set_cpustate` without an object for `count` PEs from `first`: how a machine marks its absent slots.

        Parameters
        ----------
        first : first PE index, 0..num_pe-1.
        count : number of PEs, 0..num_pe-first.
        accessible : their CPU interfaces may be used from now on.

        Raises
        ------
        ConfigError : the range leaves 0..num_pe-1.
        """
        vcpu_range(self, first, count, accessible)

    def save_pe(self, pe):
        """All state of one PE: redistributor, wires, CPU interface, context, accessibility, and what `cpu` gives.

        Good for `restore_pe` of the same PE of this GIC while both live; equal for equal state. The vCPU object and
        the 1-of-N SPIs that wait for the PE are not compared.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return pe_save(self, pe)

    def restore_pe(self, pe, SavedPe saved not None):
        """Put back what `save_pe` of the same PE of this GIC gave; makes no edge.

        Of the statistics it puts back what was counted as dropped, because the interrupts are back.

        1-of-N SPIs that waited for the PE then, and wait for another now, come back to it.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        saved : what `save_pe` returned.

        Raises
        ------
        ConfigError : there is no such PE, or `saved` is another PE's or another GIC's.
        TypeError : `saved` is nothing that `save_pe` gave.
        """
        pe_restore(self, pe, saved)
        self.drain()

    def savepoint(self, SavePoint point=None):
        """All state as raw memory, in the time of a copy: for fuzzers and for undo, while the process lives.

        Parameters
        ----------
        point : an earlier save point to be filled anew, which saves an allocation; or None.

        Raises
        ------
        MemoryError : there is no memory for it.
        """
        return point_fill(self, point)

    def rewind(self, SavePoint point not None):
        """Bring the state of a save point back, in the time of a copy. Counters and the strict log go back with it.

        No edge is made. Callbacks are told of the lines that differ. The objects given to `set_cpustate` stay.

        Parameters
        ----------
        point : from `savepoint` of this GIC, or of one with an equal configuration.

        Raises
        ------
        ConfigError : it is of a GIC with another configuration; nothing has changed.
        MemoryError : there is no memory; nothing has changed.
        """
        point_rewind(self, point)
        drain_lines(self, None)

    @property
    def trace_time(self):
        """The time that events get while a trace with the caller's clock runs: 0..2**64-1, in the caller's unit."""
        with self.mutex:
            return self.s.trace.now if self.s.trace != NULL else 0

    @trace_time.setter
    def trace_time(self, now):
        cdef u64 time = arg_unsigned(now, UINT64_MAX, "trace_time")
        with self.mutex:
            self.c_trace_time(time)

    def reset_cpuif(self, pe):
        """Cold reset of one PE's CPU interface: its ICC registers and the context from `set_context`.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        cdef u32 index = arg_pe(self, pe)
        with self.mutex:
            cpuif_reset(self.s, index)
        self.drain()

    def reset(self):
        """Reset of the Distributor and all redistributors; wires keep their level, CPU interfaces their state."""
        with self.mutex:
            gic_reset(self.s)
        self.drain()

    # --- inspection -----------------------------------------------------------------------------------------------

    def check(self):
        """Verify every invariant by full recomputation: O(PEs + SPIs), for tests.

        Raises
        ------
        GicError : an invariant is broken; the text names the first, with its PE and INTID.
        """
        check_raise(self)

    def counters(self, pe):
        """Interrupts that a PE has acknowledged since construction: {"sgi", "ppi", "spi"}, and "lpi" with LPIs.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """
        return counters_of(self, pe)

    def totals(self):
        """Counts of the whole GIC: {"bad_access", "sgi_dropped"}, and with LPIs three more.

        Returns
        -------
        bad_access : accesses of memory that hit no register, or one with a wrong size, alignment or direction.
        sgi_dropped : SGIs sent to a PE without a vCPU.
        lpi_discarded : LPIs for a redistributor that has them disabled, or whose tables end before their INTID.
        lpi_lost : pending LPIs that a bad pending table has cost.
        lpi_table_faults : LPI tables, or bytes of them, that are not in guest memory.
        """
        return totals_of(self)

    def state_digest(self):
        """A digest of all architectural state: equal for equal state, whatever history led to it.

        Returns
        -------
        16 bytes, to compare inside one process.
        """
        return digest_of(self)

    def memory_use(self):
        """Core memory in bytes: {"per_pe", "fixed"}.

        Returns
        -------
        per_pe : of every PE, its part of the affinity table included.
        fixed : of the GIC whatever its number of PEs; pools in it are touched only when used.

        Both have the tables of `latency` while it measures.
        """
        return memory_use_of(self.s)

    def step(self, steps=1):
        """Let settling time pass for RWP, UWP and ChildrenAsleep (`GICv3Config.settle_steps`).

        Parameters
        ----------
        steps : units of time, 0..0xffffffff.

        Raises
        ------
        ConfigError : `steps` is out of range.
        """
        cdef u32 count = <u32>arg_unsigned(steps, UINT32_MAX, "steps")
        with self.mutex:
            gic_step(self.s, count)
        self.drain()

    def strict_counts(self):
        """How often each rule of strict mode was broken, by its text; rules never broken are left out."""
        return finding_counts(self)


include "core/capi.pxi"
