"""Live arrays over the state of a GIC, counts of what became of its interrupts, and how long they waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy
import numpy.typing as npt

from gicv3._core import (
    RECORD_FIELDS,
    RECORD_SIZES,
    counter_bytes,
    latency_bins,
    latency_set_time,
    latency_start,
    latency_stop,
    latency_time,
    record_bytes,
)
from gicv3.errors import GicError

if TYPE_CHECKING:
    from gicv3.gic import GICv3

Records: TypeAlias = npt.NDArray[numpy.void]
Words: TypeAlias = npt.NDArray[numpy.uint32]
_Value = TypeVar("_Value")

_DTYPES = {
    name: numpy.dtype(
        {
            "names": list(fields),
            "formats": [kind for _, kind in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": RECORD_SIZES[name],
        }
    )
    for name, fields in RECORD_FIELDS.items()
}


def _records(gic: GICv3, name: str) -> Records:
    """All records of a name, without a copy."""
    view: Records = record_bytes(gic, name).view(_DTYPES[name])
    return view[:, 0]


class Arrays:
    """Read-only NumPy arrays over the state itself: `gic.arrays`.

    Each is live: it shows what the state is when it is looked at, costs no copy, and refuses writes. It does not keep
    the GIC, but all the memory of its state: what it shows when the GIC is gone is the last state. Fields of structured
    arrays go by name, as in ``gic.arrays.pe["pmr"]``; record sizes and offsets are no promise. Bit n of a word of 32
    stands for the interrupt n of its 32.

    Thread safety: looking takes no lock, so while another thread works on the GIC, fields of one PE may be of
    different moments.
    """

    __slots__ = ("_gic",)

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic

    def __repr__(self) -> str:
        return f"<Arrays of {self._gic!r}>"

    @property
    def lines(self) -> npt.NDArray[numpy.uint8]:
        """Output lines, a byte of `Line` bits a PE."""
        return self._gic.lines

    @property
    def pe(self) -> Records:
        """A record a PE: CPU interface, and the SGIs and PPIs below INTID 32.

        Fields
        ------
        hpp, hpp_priority, hpp_group : highest priority pending interrupt (1023: none), its priority, its group
            (0 Group 0, 1 Secure Group 1, 2 Non-secure Group 1, or Group 1 of a GIC with one Security state).
        pmr, running, igrpen : priority mask, running priority (0xFF: idle), groups enabled (bit n: group n).
        lines, el, secure : output lines, Exception level, Security state.
        flags : bit 0 a vCPU is plugged, bit 1 asleep (GICR_WAKER); others are internal.
        latch, line, edge : pending latches, input wires, trigger (1: edge); see `private_pending`.
        active, group, grpmod, priority : as in GICR_ISACTIVER0, IGROUPR0, IGRPMODR0, and IPRIORITYR, 32 bytes.
        raised, acknowledged : SGIs, PPIs and SPIs, modulo 2**32; see `GICv3.statistics` for all of it.
        """
        return _records(self._gic, "pe")

    @property
    def redist(self) -> Records:
        """A record a PE of what is looked at less often.

        Fields
        ------
        enable, nmi : as in GICR_ISENABLER and GICR_INMIR: INTIDs 0..31, 1056..1087, 1088..1119.
        affinity : Aff3.Aff2.Aff1.Aff0, a byte each.
        bpr : ICC_BPR0, Secure and Non-secure ICC_BPR1.
        waker : GICR_WAKER.
        scr_el3, hcr_el2 : the context that `set_context` gave.
        """
        return _records(self._gic, "redist")

    @property
    def spi_words(self) -> Records:
        """64 records of 32 SPIs: INTIDs 32 n .. 32 n + 31 in record n = 1..31, ESPIs from 4096 on in records 32..63.

        Fields
        ------
        latch, line, message, edge : pending latches, input wires, message-based levels, trigger; see `spi_pending`.
        enable, active, group, grpmod, nmi : as in GICD_ISENABLER, ISACTIVER, IGROUPR, IGRPMODR, INMIR.
        """
        return _records(self._gic, "spi_words")

    @property
    def spis(self) -> Records:
        """2048 records, an SPI each: INTID n in record n = 32..1019, ESPI 4096 + n in record 1024 + n.

        Fields
        ------
        irouter, priority : as in GICD_IROUTER and GICD_IPRIORITYR.
        target : the PE whose affinity irouter names, or 0xFFFFFFFF.
        """
        return _records(self._gic, "spis")

    @property
    def counters(self) -> Records:
        """The counters that only the rarer events touch: fields as of `GICv3.statistics`, which adds the others."""
        return _records(self._gic, "counters")

    def private_pending(self) -> Words:
        """The SGIs and PPIs pending, a word of INTIDs 0..31 a PE: computed, a copy."""
        pe = self.pe
        pending: Words = pe["latch"] | (pe["line"] & ~pe["edge"])
        return pending

    def spi_pending(self) -> Words:
        """The SPIs pending, a word for each record of `spi_words`: computed, a copy."""
        words = self.spi_words
        pending: Words = words["latch"] | ((words["line"] | words["message"]) & ~words["edge"])
        return pending


def statistics(gic: GICv3) -> Records:
    """See `GICv3.statistics`."""
    return numpy.frombuffer(counter_bytes(gic), _DTYPES["counters"])


class Latency:
    """How long interrupts wait from raise to acknowledge: `gic.latency`. Off, and free, until `start`.

    The GIC knows no clock: `now` is whatever the embedder sets it to, in its own unit. What happens between two
    settings happens at one time. While it is on, acknowledges take a longer path through the core, and its tables take
    8 bytes for each interrupt that can pend, 16 for an LPI: see `GICv3.memory_use`.

    Thread safety: as for every method of a GIC.
    """

    __slots__ = ("_gic",)

    def __init__(self, gic: GICv3) -> None:
        self._gic = gic

    def start(self) -> None:
        """Measure from now on, with an empty histogram, at time 0; interrupts pending already are left out."""
        latency_start(self._gic)

    def stop(self) -> None:
        """Measure no longer, and drop the histogram."""
        latency_stop(self._gic)

    @property
    def now(self) -> int:
        """The embedder's time, 0..2**64-2; it should not go back.

        Raises
        ------
        ConfigError : set to a number out of range.
        GicError : nothing is being measured.
        """
        return _started(latency_time(self._gic))

    @now.setter
    def now(self, now: int) -> None:
        _started(latency_set_time(self._gic, now))

    @property
    def histogram(self) -> npt.NDArray[numpy.uint64]:
        """How many interrupts waited how long, (4, 65): a row for SGIs, PPIs, SPIs and LPIs each. A copy.

        Bin 0 counts waits of 0, bin n those of 2**(n-1) .. 2**n-1. An interrupt counts from when it became pending, by
        whatever counts as `raised` in `GICv3.statistics`. Left out is what is pending without that: a level that is
        still high at its EOI, and what pends after `reset`, `rewind`, `load` or a vCPU's return (`restore_pe`), which
        keep the histogram and `now`. Of an LPI that is pending at several PEs only the wait where it was raised last
        counts.

        Raises
        ------
        GicError : nothing is being measured.
        """
        return _started(latency_bins(self._gic))


def _started(value: _Value | None) -> _Value:
    if value is None:
        raise GicError("latencies are not being measured: call latency.start() first")
    return value
