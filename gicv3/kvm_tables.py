"""LPI and ITS tables in guest memory as KVM writes and reads them: revision 0 of its table format.

A GIC here works on its tables in guest memory all the time. KVM keeps mappings to itself, and writes tables only when
it is told to save them, with entries linked: device and event entries name the distance to the next one, and collection
entries are packed. `save_tables` brings the tables of a GIC that stands still into that form, `load_tables` brings
KVM's form, whoever made it, into the one that this GIC works on. Register attributes are in `gicv3.kvm`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy

from gicv3._core import its_forget
from gicv3.errors import ConfigError, SnapshotError

if TYPE_CHECKING:
    import numpy.typing

    from gicv3.gic import GICv3
    from gicv3.its import ItsView

    Words = numpy.typing.NDArray[numpy.uint64]

ENTRY = 8
"""Bytes of each entry."""
_VALID = 1 << 63
_FIRST_LPI = 8192
_ADDRESS = (1 << 52) - 1
_NEXT_DEVICE, _NEXT_EVENT = 0x3FFF, 0xFFFF
_BUDGET = 1 << 28
"""Bytes of tables that are read at most: a guest's may be as large as it likes."""


class _Table(NamedTuple):
    """Where a run of entries is: of numbers first .. first + length - 1."""

    address: int
    first: int
    length: int


class TableChanges:
    """Tables in the guest memory of a GIC: what is read, within a budget, and what will be written after all checks."""

    def __init__(self, gic: GICv3) -> None:
        self._memory = gic.memory
        self._left = _BUDGET
        self._writes: list[tuple[int, bytes]] = []

    def words(self, address: int, count: int) -> Words:
        """64-bit words."""
        self._left -= count * ENTRY
        if self._left < 0:
            raise SnapshotError(f"tables must be of at most {_BUDGET:#x} bytes in all")
        try:
            data = self._memory.read(address, count * ENTRY)
        except ConfigError as error:
            raise SnapshotError(f"a table is not in guest memory: {error}") from None
        return numpy.frombuffer(data, "<u8").copy()

    def put(self, address: int, words: Words) -> None:
        """Write words, when all is checked."""
        self._writes.append((address, words.astype("<u8").tobytes()))

    def commit(self) -> None:
        """Write everything. Nothing is written when memory is not there."""
        for address, data in self._writes:
            if self._memory._place(address, len(data)).readonly:
                raise SnapshotError(f"a table at {address:#x} is in memory that may not be written")
        for address, data in self._writes:
            self._memory.write(address, data)


def refuse(gic: GICv3) -> None:
    """Raise SnapshotError for a GIC whose tables KVM cannot have."""
    if not gic.config.its:
        raise SnapshotError("there are tables with its=1 or more alone, this GIC has its=0")
    if tuple(gic.config.its_entry_sizes) != (ENTRY, ENTRY, ENTRY) or gic.config.pta:
        raise SnapshotError(
            "KVM has entries of 8 bytes and no PTA, this GIC has "
            f"its_entry_sizes={gic.config.its_entry_sizes!r} and pta={gic.config.pta!r}"
        )


def refuse_work(gic: GICv3) -> None:
    """Raise SnapshotError for a GIC that is in the middle of something: KVM has no place for it."""
    if gic.has_work or gic.memory.awaited:
        raise SnapshotError("the GIC must have no work under way: call step(0) until has_work is False"
                            + (", and map what memory.awaited names" if gic.memory.awaited else ""))


def _pages(its: ItsView, reader: TableChanges, table: int) -> Iterator[_Table]:
    """The runs of entries of a device (0) or collection (1) table."""
    baser = its["GITS_BASER", table]
    if not baser & _VALID:
        return
    shift = (12, 14, 16, 16)[baser >> 8 & 3]
    address = baser & 0xFFFF_FFFF_F000
    if shift == 16:
        address |= (baser >> 12 & 15) << 48
    address = address >> shift << shift
    size = ((baser & 0xFF) + 1) << shift
    if not baser >> 62 & 1:
        yield _Table(address, 0, size // ENTRY)
        return
    for number, first in enumerate(reader.words(address, size // ENTRY).tolist()):
        if first & _VALID:
            each = (1 << shift) // ENTRY
            yield _Table((first & _ADDRESS) >> shift << shift, number * each, each)


def _numbers(words: Words, mask: int) -> list[int]:
    """The places of words that have a bit of a mask."""
    return numpy.flatnonzero(words & numpy.uint64(mask)).tolist()


# --- saving


def _save_events(reader: TableChanges, device: int, event_bits: int) -> None:
    """Link the mapped events of a device."""
    address, bits = (device >> 5 & (1 << 44) - 1) << 8, min((device & 31) + 1, event_bits)
    words = reader.words(address, 1 << bits) & numpy.uint64(0xFFFF_FFFF_FFFF)
    events = _numbers(words, 0xFFFF_FFFF_0000)
    for event, following in zip(events, [*events[1:], None]):
        link = 0 if following is None else min(following - event, _NEXT_EVENT)
        words[event] |= numpy.uint64(link << 48)
    reader.put(address, words)


def _save_devices(its: ItsView, reader: TableChanges, event_bits: int, limit: int) -> None:
    """Link the mapped devices, over the pages of their table, and the events of each."""
    devices: list[tuple[int, int, int]] = []  # number, place of its entry, the entry
    for page in _pages(its, reader, 0):
        if page.first >= limit:
            break
        words = reader.words(page.address, min(page.length, limit - page.first))
        devices += [(page.first + n, page.address + n * ENTRY, int(words[n])) for n in _numbers(words, _VALID)]
    for (number, place, entry), following in zip(devices, [*devices[1:], None]):
        link = 0 if following is None else min(following[0] - number, _NEXT_DEVICE)
        reader.put(place, numpy.array([entry & ~(_NEXT_DEVICE << 49) | link << 49], "<u8"))
        _save_events(reader, entry, event_bits)


def _collections(its: ItsView, reader: TableChanges, limit: int) -> tuple[list[tuple[_Table, Words]], int]:
    """The collection table by pages, and how many entries it has."""
    pages = [(page, reader.words(page.address, page.length)) for page in _pages(its, reader, 1)]
    return pages, min(limit, max((page.first + page.length for page, _ in pages), default=0))


def _store_collections(reader: TableChanges, pages: list[tuple[_Table, Words]], entries: dict[int, int]) -> None:
    """Write the whole collection table."""
    by_number = {page.first // page.length: words for page, words in pages}
    for words in by_number.values():
        words[:] = 0
    for number, entry in entries.items():
        page_number, place = divmod(number, pages[0][0].length)
        if page_number not in by_number:
            raise SnapshotError(f"the collection table has no place for {number}")
        by_number[page_number][place] = entry
    for page, words in pages:
        reader.put(page.address, words)


def _save_collections(its: ItsView, reader: TableChanges, limit: int) -> None:
    """Pack the mapped collections: an entry that is not valid ends them."""
    pages, _ = _collections(its, reader, limit)
    mapped = [(page.first + n, int(words[n])) for page, words in pages for n in _numbers(words, _VALID)]
    packed = [_VALID | entry & 0xF_FFFF_FFFF_0000 | icid for icid, entry in mapped if icid < limit]
    places = islice((page.first + n for page, _ in pages for n in range(page.length)), len(packed))
    _store_collections(reader, pages, dict(zip(places, packed)))


def save_tables(gic: GICv3) -> None:
    """Bring the tables of every ITS, and the pending tables, into the form in which KVM loads them.

    The GIC must stand still, and must not go on before `load_tables`: collections are not where it looks for them.
    KVM has no commands and no tables half done, so there must be no work under way (`has_work`): it is not finished
    here, because it may take long, and because it changes memory and state.

    Raises: SnapshotError, with nothing written, while work is under way, for a GIC without an ITS, with entries other
    than KVM's or PTA, for tables that are not in mapped buffers, or are of more than 256 MB in all. Thread-safety:
    nobody else uses the GIC.
    """
    refuse(gic)
    refuse_work(gic)
    reader = TableChanges(gic)
    for its in gic.its:
        _save_devices(its, reader, gic.config.event_bits, 1 << gic.config.device_bits)
        _save_collections(its, reader, 1 << gic.config.collection_bits)
    for pe in range(gic.num_pe):
        redist = gic.redist[pe]
        if redist["GICR_CTLR"] & 1:
            bits = min((redist["GICR_PROPBASER"] & 31) + 1, gic.config.id_bits)
            table = numpy.zeros(max(0, (1 << bits) - _FIRST_LPI), "u1")
            table[[intid - _FIRST_LPI for intid in gic.lpi_pending(pe)]] = 1
            words = numpy.packbits(table, bitorder="little").view("<u8")
            reader.put((redist["GICR_PENDBASER"] & 0xF_FFFF_FFFF_0000) + _FIRST_LPI // 8, words)
    reader.commit()


# --- loading


def _load_events(reader: TableChanges, name: str, device: int, event_bits: int, id_bits: int) -> None:
    """Follow the links from event 0; what they do not reach is not mapped."""
    address, bits = (device >> 5 & (1 << 44) - 1) << 8, (device & 31) + 1
    if bits > event_bits:
        raise SnapshotError(f"{name} has {bits} bits of EventID, this GIC {event_bits}")
    words = reader.words(address, 1 << bits)
    kept = numpy.zeros_like(words)
    mapped = _numbers(words, 0xFFFF_FFFF_0000)
    event = 0
    while (place := bisect_left(mapped, event)) < len(mapped):  # from where a link leads, KVM looks for the next one
        event = mapped[place]
        entry = int(words[event])
        intid, link = entry >> 16 & 0xFFFF_FFFF, entry >> 48
        if not _FIRST_LPI <= intid < 1 << id_bits:
            raise SnapshotError(f"event {event} of {name} is INTID {intid}, which is no LPI of this GIC")
        kept[event] = entry & 0xFFFF_FFFF_FFFF
        if link == 0:
            break
        event += link
    reader.put(address, kept)


def _load_devices(its: ItsView, reader: TableChanges, event_bits: int, id_bits: int, limit: int) -> None:
    """Follow the links from device 0, over the pages of their table; an entry that is not valid leads to the next."""
    at, done = 0, False
    for page in _pages(its, reader, 0):
        words = reader.words(page.address, page.length)
        kept = numpy.zeros_like(words)
        mapped = _numbers(words, _VALID)
        while not done and (place := bisect_left(mapped, at - page.first)) < len(mapped):
            number = page.first + mapped[place]
            entry = int(words[mapped[place]])
            if number >= limit:
                raise SnapshotError(f"device {number:#x} of ITS {its.index} is beyond the DeviceIDs of this GIC")
            kept[number - page.first] = entry & ~(_NEXT_DEVICE << 49)
            _load_events(reader, f"device {number:#x} of ITS {its.index}", entry, event_bits, id_bits)
            link = entry >> 49 & _NEXT_DEVICE
            at, done = number + link, link == 0
        reader.put(page.address, kept)


def _load_collections(its: ItsView, reader: TableChanges, num_pe: int, limit: int) -> None:
    """Put each packed collection in its place."""
    pages, count = _collections(its, reader, limit)
    entries: dict[int, int] = {}
    for entry in (int(word) for _, words in pages for word in words):
        if not entry & _VALID:
            break
        icid, target = entry & 0xFFFF, entry >> 16 & (1 << 36) - 1
        if icid >= count or icid in entries or target >= num_pe:
            raise SnapshotError(
                f"collection {icid} of ITS {its.index} leads to {target}, of {num_pe} PEs and {count} "
                "collections, or is there twice"
            )
        entries[icid] = _VALID | target << 16 | icid
    _store_collections(reader, pages, entries)


def loaded(gic: GICv3, registers: GICv3) -> TableChanges:
    """What `load_tables` writes into a GIC's memory, not yet written, for the GITS_BASERs of another GIC."""
    refuse(gic)
    reader = TableChanges(gic)
    config = gic.config
    for its in registers.its:
        _load_devices(its, reader, config.event_bits, config.id_bits, 1 << config.device_bits)
        _load_collections(its, reader, gic.num_pe, 1 << config.collection_bits)
    return reader


def load_tables(gic: GICv3) -> None:
    """Bring ITS tables in KVM's form into the one that this GIC works on: it can go on after `save_tables`.

    Raises: SnapshotError, with nothing written, for what `save_tables` refuses, and for entries that this GIC cannot
    have. Thread-safety: nobody else uses the GIC.
    """
    loaded(gic, gic).commit()
    its_forget(gic)
