# cython: language_level=3, cdivision=True, wraparound=False, embedsignature=False, binding=False, auto_pickle=False
"""The callbacks that Unicorn calls, and the loop that calls Unicorn: no Python between a guest and its GIC.

Nothing is linked: `native.py` hands over the addresses of the functions of the Unicorn library that Python has loaded.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from gicv3._core cimport Gic

cdef extern from "<stdint.h>" nogil:
    const uint64_t UINT64_MAX

ctypedef uint8_t u8
ctypedef uint32_t u32
ctypedef uint64_t u64

include "core/library.pxi"
include "core/port.pxi"
include "core/vcpu.pxi"
include "core/exceptions.pxi"
include "core/turns.pxi"
