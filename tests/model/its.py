"""The ITS of the slow model: its registers, its queue, and the translation of events; nothing is kept of a table.

Every event walks device, event and collection entry in guest memory again. Sections are those of the architecture
reference; "choice" is one that it leaves open and docs/lpis.md tells of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .lpis import FIRST_LPI, Lpis, bits, part, replaced
from .mmio import Row
from .state import Pe

VALID = 1 << 63
DEVICE, COLLECTION, EVENT = 0, 1, 2
ERRORS_KEPT = 64
UMSI, OVERFLOW = 1 << 4, 1 << 5

# 4.3: reasons of errors
DEVICE_RANGE, ITT_RANGE, ICID_RANGE, DEVICE_UNMAPPED, EVENT_RANGE, PINTID_RANGE, EVENT_UNMAPPED = range(1, 8)
ICID_UNMAPPED, ITE_INVALID = 0x09, 0x10
PROCESSOR_OF_MAPC, PROCESSOR_OF_MOVALL = 0x02, 0x01
# 4: GITS_STATUSR.Syndrome of an MSI that leads nowhere
SYNDROMES = {DEVICE_RANGE: 2, DEVICE_UNMAPPED: 3, EVENT_RANGE: 4, ICID_RANGE: 7, ICID_UNMAPPED: 7}
EVENT_SYNDROME = 5

# 4: which bits there are
CBASER_MASK = VALID | 7 << 59 | 7 << 53 | (1 << 52) - (1 << 12) | 3 << 10 | 0xFF
BASER_MASK = VALID | 1 << 62 | 7 << 59 | 7 << 53 | (1 << 48) - (1 << 12) | 3 << 10 | 3 << 8 | 0xFF


class CommandError(Exception):
    """A command or an MSI that cannot be done, with its reason (4.3)."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


class Event(NamedTuple):
    """The entry of a mapped event: its address, its LPI and its collection."""

    place: int
    intid: int
    icid: int


class ItsState:
    """The registers of one ITS, and what a host can ask about it."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("commands", "errors", "msis", "translated", "unmapped", "discarded", "faults"), 0)
        self.errors: list[tuple[int, tuple[int, ...], int]] = []
        self.reset()

    def reset(self) -> None:
        """Put the registers at their reset values (2.7; UNKNOWN ones are 0)."""
        self.enabled = self.umsi_irq = self.stalled = False
        self.statusr = self.syndrome = self.umsir = 0
        self.cbaser = self.cwriter = self.creadr = 0
        self.baser = [0, 0]

    def queue_size(self) -> int:
        """Return the bytes of the command queue (4)."""
        return (bits(self.cbaser, 7, 0) + 1) * 4096


class Its(Lpis):
    """Every ITS."""

    def __init__(self, config: Any) -> None:
        self.itss = [ItsState() for _ in range(config.its)]
        super().__init__(config)

    def reset(self) -> None:
        """Reset the Distributor, every redistributor and every ITS."""
        super().reset()
        for number, its in enumerate(self.itss):
            its.reset()
            self.drive_umsi(number)

    def its_counters(self, number: int) -> dict[str, int]:
        """Return what an ITS has counted."""
        return dict(self.itss[number].counts)

    def its_errors(self, number: int) -> list[tuple[int, tuple[int, ...], int]]:
        """Return the last commands that could not be done: code, command, offset in the queue."""
        return self.itss[number].errors[-ERRORS_KEPT:]

    # Tables (4). Entries are those of KVM's revision 0.

    def entry(self, its: ItsState, place: int, reason: int) -> int:
        """Return a table entry; no memory is as good as an id out of range."""
        value = self.memory.read64(place)
        if value is None:
            its.counts["faults"] += 1
            raise CommandError(reason)
        return value

    def store(self, its: ItsState, place: int, value: int, reason: int) -> None:
        """Write a table entry."""
        if not self.memory.write64(place, value):
            its.counts["faults"] += 1
            raise CommandError(reason)

    def place_in_table(self, its: ItsState, table: int, number: int, reason: int) -> int:
        """Return the address of a device's or collection's entry (4)."""
        baser, size = its.baser[table], self.config.its_entry_sizes[table]
        page_bits = {0: 12, 1: 14, 2: 16}[bits(baser, 9, 8)]
        page = 1 << page_bits
        base = bits(baser, 47, 12) << 12 | (bits(baser, 15, 12) << 48 if page_bits == 16 else 0)
        base -= base % page
        room = (bits(baser, 7, 0) + 1) * page
        if not baser & VALID:
            raise CommandError(reason)
        if not bits(baser, 62, 62):
            if (number + 1) * size > room:
                raise CommandError(reason)
            return base + number * size
        first, second = divmod(number, page // size)
        if (first + 1) * 8 > room:
            raise CommandError(reason)
        level1 = self.entry(its, base + 8 * first, reason)
        if not level1 & VALID:
            raise CommandError(reason)
        return (bits(level1, 51, page_bits) << page_bits) + second * size

    def device_place(self, its: ItsState, device: int) -> int:
        """Return the address of a device's entry."""
        if device >= 1 << self.config.device_bits:
            raise CommandError(DEVICE_RANGE)
        return self.place_in_table(its, DEVICE, device, DEVICE_RANGE)

    def collection_place(self, its: ItsState, icid: int) -> int:
        """Return the address of a collection's entry."""
        if icid >= 1 << self.config.collection_bits:
            raise CommandError(ICID_RANGE)
        return self.place_in_table(its, COLLECTION, icid, ICID_RANGE)

    def event_place(self, its: ItsState, device: int, event: int) -> int:
        """Return the address of an event's entry."""
        entry = self.entry(its, self.device_place(its, device), DEVICE_RANGE)
        if not entry & VALID:
            raise CommandError(DEVICE_UNMAPPED)
        if event >= 1 << min(bits(entry, 4, 0) + 1, self.config.event_bits):
            raise CommandError(EVENT_RANGE)
        return (bits(entry, 48, 5) << 8) + event * self.config.its_entry_sizes[EVENT]

    def find_event(self, its: ItsState, device: int, event: int) -> Event:
        """Return a mapped event."""
        place = self.event_place(its, device, event)
        entry = self.entry(its, place, EVENT_RANGE)
        intid, icid = bits(entry, 47, 16), bits(entry, 15, 0)
        if intid == 0:
            raise CommandError(EVENT_UNMAPPED)
        if not self.is_lpi(intid):
            raise CommandError(ITE_INVALID)
        return Event(place, intid, icid)

    def target_of_collection(self, its: ItsState, icid: int) -> int:
        """Return the PE that a collection leads to."""
        entry = self.entry(its, self.collection_place(its, icid), ICID_RANGE)
        pe = self.redistributor(bits(entry, 51, 16))
        if not entry & VALID or pe is None:
            raise CommandError(ICID_UNMAPPED)
        return pe

    def target_of_event(self, its: ItsState, found: Event) -> int:
        """Return the PE of an event for a command: its entry is invalid when its collection is not mapped (choice)."""
        try:
            return self.target_of_collection(its, found.icid)
        except CommandError:
            raise CommandError(ITE_INVALID) from None

    def redistributor(self, rdbase: int) -> int | None:
        """Return the PE that an RDbase names: by number, or with PTA by address (4)."""
        for pe in range(len(self.pes)):
            if rdbase == (self.address_of("RD", 0, pe) >> 16 if self.config.pta else pe):
                return pe
        return None

    def is_lpi(self, intid: int) -> bool:
        """Tell whether an INTID is an LPI (1)."""
        return FIRST_LPI <= intid < 1 << self.config.id_bits

    # Commands (4.1, 4.2); the order of tests is a choice.

    def do_mapd(self, its: ItsState, command: list[int]) -> None:
        """MAPD."""
        place, size, entry = self.device_place(its, command[0] >> 32), bits(command[1], 4, 0), 0
        if command[2] & VALID:
            if size + 1 > self.config.event_bits:
                raise CommandError(ITT_RANGE)
            entry = VALID | bits(command[2], 51, 8) << 5 | size
        self.store(its, place, entry, DEVICE_RANGE)

    def do_mapc(self, its: ItsState, command: list[int]) -> None:
        """MAPC."""
        icid, rdbase, entry = bits(command[2], 15, 0), bits(command[2], 51, 16), 0
        place = self.collection_place(its, icid)
        if command[2] & VALID:
            if self.redistributor(rdbase) is None:
                raise CommandError(PROCESSOR_OF_MAPC)
            entry = VALID | rdbase << 16 | icid
        self.store(its, place, entry, ICID_RANGE)

    def map_event(self, its: ItsState, command: list[int], intid: int) -> None:
        """MAPTI and MAPI; one that is mapped already is replaced (choice)."""
        place, icid = self.event_place(its, command[0] >> 32, bits(command[1], 31, 0)), bits(command[2], 15, 0)
        if not self.is_lpi(intid):
            raise CommandError(PINTID_RANGE)
        self.collection_place(its, icid)  # 4.2: it need not be mapped yet
        self.store(its, place, intid << 16 | icid, EVENT_RANGE)

    def do_mapti(self, its: ItsState, command: list[int]) -> None:
        """MAPTI."""
        self.map_event(its, command, command[1] >> 32)

    def do_mapi(self, its: ItsState, command: list[int]) -> None:
        """MAPI."""
        self.map_event(its, command, bits(command[1], 31, 0))

    def do_movi(self, its: ItsState, command: list[int]) -> None:
        """MOVI."""
        found, icid = self.event_of(its, command), bits(command[2], 15, 0)
        target = self.target_of_collection(its, icid)
        try:
            before = self.target_of_collection(its, found.icid)
        except CommandError:
            raise CommandError(ICID_UNMAPPED) from None
        self.store(its, found.place, found.intid << 16 | icid, EVENT_RANGE)
        self.move(before, target, found.intid)

    def do_discard(self, its: ItsState, command: list[int]) -> None:
        """DISCARD."""
        found = self.event_of(its, command)
        pe = self.target_of_event(its, found)
        self.store(its, found.place, 0, EVENT_RANGE)
        self.clear(pe, found.intid)

    def event_of(self, its: ItsState, command: list[int]) -> Event:
        """Return the event that a command names."""
        return self.find_event(its, command[0] >> 32, bits(command[1], 31, 0))

    def do_int(self, its: ItsState, command: list[int]) -> None:
        """INT."""
        found = self.event_of(its, command)
        self.pend(self.target_of_event(its, found), found.intid)

    def do_clear(self, its: ItsState, command: list[int]) -> None:
        """CLEAR."""
        found = self.event_of(its, command)
        self.clear(self.target_of_event(its, found), found.intid)

    def do_inv(self, its: ItsState, command: list[int]) -> None:
        """INV."""
        found = self.event_of(its, command)
        self.invalidate(self.target_of_event(its, found), found.intid)

    def do_invall(self, its: ItsState, command: list[int]) -> None:
        """INVALL."""
        self.invalidate_all(self.target_of_collection(its, bits(command[2], 15, 0)))

    def do_movall(self, its: ItsState, command: list[int]) -> None:
        """MOVALL."""
        source, target = (self.redistributor(bits(command[n], 51, 16)) for n in (2, 3))
        if source is None or target is None:
            raise CommandError(PROCESSOR_OF_MOVALL)
        for intid in self.lpi_pending(source):
            self.move(source, target, intid)

    def do_sync(self, its: ItsState, command: list[int]) -> None:
        """SYNC: everything is done already."""

    def run_queue(self, its: ItsState) -> None:
        """Do the commands between GITS_CREADR and GITS_CWRITER (4)."""
        while (
            its.enabled
            and its.cbaser & VALID
            and not its.stalled
            and its.creadr != its.cwriter
            and max(its.creadr, its.cwriter) < its.queue_size()
        ):
            self.next_command(its)

    def next_command(self, its: ItsState) -> None:
        """Do one command: in the end the queue goes on, or stalls (choice)."""
        data = self.memory.read((bits(its.cbaser, 51, 16) << 16) + its.creadr, 32)
        if data is None:
            its.counts["faults"] += 1
            self.note_error(its, [0, 0, 0, 0], 0)
            its.stalled = True  # whatever the policy: a command that could not be read cannot be left out
            return
        command = [int.from_bytes(data[8 * n : 8 * n + 8], "little") for n in range(4)]
        opcode = command[0] & 0xFF
        its.counts["commands"] += 1
        try:
            if opcode not in COMMANDS:
                raise CommandError(0)
            COMMANDS[opcode](self, its, command)
        except CommandError as error:
            kind = 0x05 if opcode == 0x04 else opcode  # 4.3: CLEAR's class is 05
            self.note_error(its, command, 0x01_0000 | kind << 8 | error.reason)
            if self.config.its_errors == "stall":
                its.stalled = True
                return
        its.creadr = (its.creadr + 32) % its.queue_size()

    @staticmethod
    def note_error(its: ItsState, command: list[int], code: int) -> None:
        """Record a command that could not be done."""
        its.counts["errors"] += 1
        its.errors.append((code, tuple(command), its.creadr))

    # What devices send.

    def msi(self, number: int, device: int, event: int) -> None:
        """Let an MSI arrive (4.2)."""
        its = self.itss[number]
        its.counts["msis"] += 1
        if not its.enabled or not its.baser[DEVICE] & its.baser[COLLECTION] & VALID:
            its.counts["discarded"] += 1
            return
        try:
            found = self.find_event(its, device, event)
            pe = self.target_of_collection(its, found.icid)
        except CommandError as error:
            self.note_unmapped(number, device, event, error.reason)
            return
        its.counts["translated"] += 1
        self.pend(pe, found.intid)

    def note_unmapped(self, number: int, device: int, event: int, reason: int) -> None:
        """Tell of an MSI that leads nowhere (4)."""
        its = self.itss[number]
        its.counts["unmapped"] += 1
        if not self.config.its_umsi:
            return
        if its.statusr & UMSI:
            its.statusr |= OVERFLOW
            return
        its.statusr |= UMSI
        its.umsir = device << 32 | event
        its.syndrome = SYNDROMES.get(reason, EVENT_SYNDROME)
        self.drive_umsi(number)

    def drive_umsi(self, number: int) -> None:
        """Drive the SPI that tells of unmapped MSIs (4)."""
        its = self.itss[number]
        if self.config.its_umsi_spi is not None:
            self.set_spi(self.config.its_umsi_spi + number, its.umsi_irq and bool(its.statusr & UMSI))

    def translate(self, number: int, event: int, size: int, device: int) -> None:
        """A device writes GITS_TRANSLATER: a 16-bit write zero-extends."""
        self.msi(number, device, event & (1 << 8 * size) - 1)

    # The registers of section 4.

    def find_frame(self, address: int) -> tuple[str, int, int] | None:
        """Return (frame, offset, PE or ITS) of an address."""
        for number in range(self.config.its):
            base = self.config.its_base(number)
            if base <= address < base + 0x10000:
                return "GITS", address - base, number
            if base + 0x10000 <= address < base + 0x20000:
                return "GITS_TRANS", address - base - 0x10000, number
        return super().find_frame(address)

    def address_of(self, frame: str, offset: int, pe: int) -> int:
        """Return the physical address of a place in a frame."""
        if frame in ("GITS", "GITS_TRANS"):
            return self.config.its_base(pe) + offset + (0x10000 if frame == "GITS_TRANS" else 0)
        return super().address_of(frame, offset, pe)

    def exists(self, frame: str, row: Row, offset: int) -> bool:
        """Tell whether this GIC was built with a register."""
        if row.name == "ITS_STATUSR":
            return self.config.statusr or self.config.its_umsi
        if row.name == "UMSIR":
            return self.config.its_umsi
        return frame in ("GITS", "GITS_TRANS") or super().exists(frame, row, offset)

    def note_bad_access(self, frame: str, index: int, secure: bool, bit: int) -> None:
        """Count a bad access; an ITS has a STATUSR of its own."""
        if frame not in ("GITS", "GITS_TRANS"):
            super().note_bad_access(frame, index, secure, bit)
            return
        self.counts["bad_access"] += 1
        if frame == "GITS" and (self.config.statusr or self.config.its_umsi):
            self.itss[index].statusr |= bit

    def read_its_typer(self) -> int:
        """Return GITS_TYPER (4)."""
        config = self.config
        value = 1 | (config.its_entry_sizes[EVENT] - 1) << 4 | (config.event_bits - 1) << 8
        value |= (config.device_bits - 1) << 13 | int(config.pta) << 19
        value |= int(config.its_umsi) << 44 | int(config.its_umsi_spi is not None) << 45
        if config.collection_bits < 16:
            value |= 1 << 36 | (config.collection_bits - 1) << 32
        return value

    def read_register(self, frame: str, row: Row, offset: int, size: int, secure: bool, pe: Pe) -> int:
        """Return the value of a readable register."""
        if frame != "GITS" or row.name in ("IIDR", "ID"):
            return super().read_register(frame, row, offset, size, secure, pe)
        its, name = self.itss[pe.index], row.name
        if name == "ITS_CTLR":
            return int(not its.enabled) << 31 | int(its.umsi_irq) << 8 | int(its.enabled)
        if name == "ITS_STATUSR":
            return its.statusr | its.syndrome << 6
        return part(self.wide_register(its, name), row, offset, size)

    def wide_register(self, its: ItsState, name: str) -> int:
        """Return a 64-bit register."""
        if name.startswith("BASER"):
            table = int(name[5])
            if table > COLLECTION:
                return 0
            kind = {DEVICE: 1, COLLECTION: 4}[table]
            return its.baser[table] | kind << 56 | (self.config.its_entry_sizes[table] - 1) << 48
        return {
            "ITS_TYPER": self.read_its_typer(),
            "UMSIR": its.umsir,
            "CBASER": its.cbaser,
            "CWRITER": its.cwriter,
            "CREADR": its.creadr | int(its.stalled),
        }[name]

    def write_register(self, frame: str, row: Row, offset: int, value: int, size: int, secure: bool, pe: Pe) -> None:
        """Write a writable register."""
        name = row.name
        if name == "TRANSLATER":
            self.translate(pe.index, value, size, 0)
        elif frame != "GITS":
            super().write_register(frame, row, offset, value, size, secure, pe)
        elif name == "ITS_CTLR":
            self.write_its_ctlr(pe.index, value)
        elif name == "ITS_STATUSR":
            its = self.itss[pe.index]
            its.statusr &= ~value
            if not its.statusr & UMSI:
                its.syndrome = 0
            self.drive_umsi(pe.index)
        else:
            self.write_wide(self.itss[pe.index], row, offset, value, size)

    def write_its_ctlr(self, number: int, value: int) -> None:
        """Write GITS_CTLR."""
        its = self.itss[number]
        if self.config.its_umsi_spi is not None:
            its.umsi_irq = bool(value >> 8 & 1)
            self.drive_umsi(number)
        its.enabled = bool(value & 1)
        self.run_queue(its)

    def write_wide(self, its: ItsState, row: Row, offset: int, value: int, size: int) -> None:
        """Write GITS_CBASER, GITS_CWRITER or GITS_BASER<n>."""
        if row.name == "CWRITER":
            its.cwriter = replaced(its.cwriter, value, row, offset, size) & 0xF_FFE0
            if offset == row.first and value & 1:
                its.stalled = False  # Retry: the command that stalled is done again
            self.run_queue(its)
        elif its.enabled:
            return  # UNPREDICTABLE; ignored (choice)
        elif row.name == "CBASER":
            its.cbaser = replaced(its.cbaser, value, row, offset, size) & CBASER_MASK
            its.creadr, its.stalled = 0, False
        elif int(row.name[5]) <= COLLECTION:
            table = int(row.name[5])
            baser = replaced(its.baser[table], value, row, offset, size) & BASER_MASK
            if bits(baser, 9, 8) == 3:
                baser &= ~(1 << 8)  # page size 3 is 2
            its.baser[table] = baser


# 4.1
COMMANDS = {
    0x01: Its.do_movi,
    0x03: Its.do_int,
    0x04: Its.do_clear,
    0x05: Its.do_sync,
    0x08: Its.do_mapd,
    0x09: Its.do_mapc,
    0x0A: Its.do_mapti,
    0x0B: Its.do_mapi,
    0x0C: Its.do_inv,
    0x0D: Its.do_invall,
    0x0E: Its.do_movall,
    0x0F: Its.do_discard,
}
