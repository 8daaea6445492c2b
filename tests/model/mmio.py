"""The memory-mapped frames of the slow model: GICD, and RD and SGI of each PE."""

from __future__ import annotations

from typing import NamedTuple

from .delivery import Delivery
from .state import G0, G1NS, G1S, NONSECURE, SECURE, Interrupt, Pe


class Row(NamedTuple):
    """A register or an array of them: where it is, and which access sizes it takes."""

    name: str
    first: int
    last: int
    sizes: tuple[int, ...] = (4,)
    stride: int = 4
    access: str = "RW"


# 2: the whole Distributor frame.
GICD_ROWS = [
    Row("CTLR", 0x0000, 0x0000),
    Row("TYPER", 0x0004, 0x0004, access="RO"),
    Row("IIDR", 0x0008, 0x0008, access="RO"),
    Row("TYPER2", 0x000C, 0x000C, access="RO"),
    Row("STATUSR", 0x0010, 0x0010),
    Row("SETSPI_NSR", 0x0040, 0x0040, (2, 4), access="WO"),
    Row("CLRSPI_NSR", 0x0048, 0x0048, (2, 4), access="WO"),
    Row("SETSPI_SR", 0x0050, 0x0050, (2, 4), access="WO"),
    Row("CLRSPI_SR", 0x0058, 0x0058, (2, 4), access="WO"),
    Row("IGROUPR", 0x0080, 0x00FC),
    Row("ISENABLER", 0x0100, 0x017C),
    Row("ICENABLER", 0x0180, 0x01FC),
    Row("ISPENDR", 0x0200, 0x027C),
    Row("ICPENDR", 0x0280, 0x02FC),
    Row("ISACTIVER", 0x0300, 0x037C),
    Row("ICACTIVER", 0x0380, 0x03FC),
    Row("IPRIORITYR", 0x0400, 0x07FB, (1, 4), 1),
    Row("ITARGETSR", 0x0800, 0x0BFB, (1, 4), 1),
    Row("ICFGR", 0x0C00, 0x0CFC),
    Row("IGRPMODR", 0x0D00, 0x0D7C),
    Row("NSACR", 0x0E00, 0x0EFC),
    Row("SGIR", 0x0F00, 0x0F00, access="WO"),
    Row("CPENDSGIR", 0x0F10, 0x0F1F, (1, 4), 1),
    Row("SPENDSGIR", 0x0F20, 0x0F2F, (1, 4), 1),
    Row("INMIR", 0x0F80, 0x0FFC),
    Row("IGROUPRE", 0x1000, 0x107C),
    Row("ISENABLERE", 0x1200, 0x127C),
    Row("ICENABLERE", 0x1400, 0x147C),
    Row("ISPENDRE", 0x1600, 0x167C),
    Row("ICPENDRE", 0x1800, 0x187C),
    Row("ISACTIVERE", 0x1A00, 0x1A7C),
    Row("ICACTIVERE", 0x1C00, 0x1C7C),
    Row("IPRIORITYRE", 0x2000, 0x23FF, (1, 4), 1),
    Row("ICFGRE", 0x3000, 0x30FC),
    Row("IGRPMODRE", 0x3400, 0x347C),
    Row("NSACRE", 0x3600, 0x36FC),
    Row("INMIRE", 0x3B00, 0x3B7C),
    Row("IROUTER", 0x6100, 0x7FDF, (4, 8), 4),
    Row("IROUTERE", 0x8000, 0x9FFF, (4, 8), 4),
    Row("ID", 0xFFD0, 0xFFFC, access="RO"),
]

# 3.1: RD_base.
RD_ROWS = [
    Row("RD_CTLR", 0x0000, 0x0000),
    Row("IIDR", 0x0004, 0x0004, access="RO"),
    Row("RD_TYPER", 0x0008, 0x000F, (4, 8), 4, access="RO"),
    Row("RD_STATUSR", 0x0010, 0x0010),
    Row("WAKER", 0x0014, 0x0014),
    Row("SETLPIR", 0x0040, 0x0047, (4, 8), 4, access="WO"),
    Row("CLRLPIR", 0x0048, 0x004F, (4, 8), 4, access="WO"),
    Row("PROPBASER", 0x0070, 0x0077, (4, 8), 4),
    Row("PENDBASER", 0x0078, 0x007F, (4, 8), 4),
    Row("INVLPIR", 0x00A0, 0x00A7, (4, 8), 4, access="WO"),
    Row("INVALLR", 0x00B0, 0x00B7, (4, 8), 4, access="WO"),
    Row("SYNCR", 0x00C0, 0x00C0, access="RO"),
    Row("ID", 0xFFD0, 0xFFFC, access="RO"),
]

# 3.2: SGI_base; word 0 is the SGIs and PPIs, words 1 and 2 the extended PPIs.
SGI_ROWS = [
    Row("IGROUPR", 0x0080, 0x0088),
    Row("ISENABLER", 0x0100, 0x0108),
    Row("ICENABLER", 0x0180, 0x0188),
    Row("ISPENDR", 0x0200, 0x0208),
    Row("ICPENDR", 0x0280, 0x0288),
    Row("ISACTIVER", 0x0300, 0x0308),
    Row("ICACTIVER", 0x0380, 0x0388),
    Row("IPRIORITYR", 0x0400, 0x045F, (1, 4), 1),
    Row("ICFGR", 0x0C00, 0x0C14),
    Row("IGRPMODR", 0x0D00, 0x0D08),
    Row("SGI_NSACR", 0x0E00, 0x0E00),
    Row("INMIR", 0x0F80, 0x0F88),
]

# 2: the MSI frame; TYPER and IIDR at both offsets that are documented.
GICM_ROWS = [
    Row("MSI_TYPER", 0x0004, 0x0008, access="RO"),
    Row("SETSPI_NSR", 0x0040, 0x0040, (2, 4), access="WO"),
    Row("CLRSPI_NSR", 0x0048, 0x0048, (2, 4), access="WO"),
    Row("SETSPI_SR", 0x0050, 0x0050, (2, 4), access="WO"),
    Row("CLRSPI_SR", 0x0058, 0x0058, (2, 4), access="WO"),
    Row("IIDR", 0x0FCC, 0x0FCC, access="RO"),
    Row("IIDR", 0xFFCC, 0xFFCC, access="RO"),
    Row("ID", 0xFFD0, 0xFFFC, access="RO"),
]

# 4: control and translation frame of an ITS.
GITS_ROWS = [
    Row("ITS_CTLR", 0x0000, 0x0000),
    Row("IIDR", 0x0004, 0x0004, access="RO"),
    Row("ITS_TYPER", 0x0008, 0x000F, (4, 8), 4, access="RO"),
    Row("ITS_STATUSR", 0x0040, 0x0040),
    Row("UMSIR", 0x0048, 0x004F, (4, 8), 4, access="RO"),
    Row("CBASER", 0x0080, 0x0087, (4, 8), 4),
    Row("CWRITER", 0x0088, 0x008F, (4, 8), 4),
    Row("CREADR", 0x0090, 0x0097, (4, 8), 4, access="RO"),
    *(Row(f"BASER{n}", 0x0100 + 8 * n, 0x0107 + 8 * n, (4, 8), 4) for n in range(8)),
    Row("ID", 0xFFD0, 0xFFFC, access="RO"),
]
TRANSLATION_ROWS = [Row("TRANSLATER", 0x0040, 0x0040, (2, 4), access="WO")]

ROWS = {
    "GICD": GICD_ROWS,
    "RD": RD_ROWS,
    "SGI": SGI_ROWS,
    "GICM": GICM_ROWS,
    "GITS": GITS_ROWS,
    "GITS_TRANS": TRANSLATION_ROWS,
}

# 2.4: the GICD_NSACR level from which Non-secure code may read or write a Secure SPI's bit; absent = never.
NSACR_READ = {"ISPENDR": 1, "ICPENDR": 2, "ISACTIVER": 2, "ICACTIVER": 2, "IROUTER": 3}
NSACR_WRITE = {"ISPENDR": 1, "ICPENDR": 2, "IROUTER": 3}

# 2: PIDR4..7, PIDR0..3, CIDR0..3 from 0xFFD0; PIDR0 differs by frame.
ID_VALUES = [0x44, 0, 0, 0, 0, 0xB4, 0x3B, 0, 0x0D, 0xF0, 0x05, 0xB1]
PIDR0 = {"GICD": 0x92, "RD": 0x93, "GICM": 0x97, "GITS": 0x94}

LEGACY = {"ITARGETSR", "SGIR", "CPENDSGIR", "SPENDSGIR"}
NOT_PER_INTID = (
    LEGACY
    | {"CTLR", "TYPER", "IIDR", "TYPER2", "STATUSR", "ID", "SGI_NSACR"}
    | {f"{verb}SPI_{kind}" for verb in ("SET", "CLR") for kind in ("NSR", "SR")}
)

WROD, RWOD, WRD, RRD = 8, 4, 2, 1  # 2: STATUSR bits


class Mmio(Delivery):
    """Register reads and writes by frame and offset."""

    def frame_read(self, frame: str, offset: int, size: int = 4, secure: bool | None = None, index: int = 0) -> int:
        """Read ``size`` bytes; anything unreadable is zero."""
        secure = self.pes[index].secure if secure is None else secure
        row = self.find_row(frame, offset, size)
        if row is None or row.access == "WO":
            self.note_bad_access(frame, index, secure, RRD if row is None else RWOD)
            return 0
        return self.read_register(frame, row, offset, size, secure, self.pes[index])

    def frame_write(
        self, frame: str, offset: int, value: int, size: int = 4, secure: bool | None = None, index: int = 0
    ) -> None:
        """Write ``size`` bytes; anything unwritable is ignored."""
        secure = self.pes[index].secure if secure is None else secure
        row = self.find_row(frame, offset, size)
        if row is None or row.access == "RO":
            self.note_bad_access(frame, index, secure, WRD if row is None else WROD)
            return
        self.write_register(frame, row, offset, value & ((1 << 8 * size) - 1), size, secure, self.pes[index])

    def fill(self, writes: list[tuple[str, int, int, int, bool]]) -> None:
        """Carry out writes to frames as one operation."""
        for write in writes:
            Mmio.frame_write(self, *write)

    def mmio_read(self, address: int, size: int = 4, secure: bool | None = None, pe: int = 0) -> int:
        """Read by physical address; where there is no frame, zero."""
        secure = self.pes[pe].secure if secure is None else secure
        place = self.find_frame(address)
        if place is None:
            self.counts["bad_access"] += 1
            return 0
        return self.frame_read(place[0], place[1], size, secure, place[2])

    def mmio_write(self, address: int, value: int, size: int = 4, secure: bool | None = None, pe: int = 0) -> None:
        """Write by physical address; where there is no frame, ignored."""
        secure = self.pes[pe].secure if secure is None else secure
        place = self.find_frame(address)
        if place is None:
            self.counts["bad_access"] += 1
        else:
            self.frame_write(place[0], place[1], value, size, secure, place[2])

    def find_frame(self, address: int) -> tuple[str, int, int] | None:
        """Return (frame, offset, PE) of an address: 64 KB a frame, RD and SGI of each PE in turn (2, 3)."""
        for frame, base in (("GICD", self.config.dist_base), ("GICM", self.config.message_frame)):
            if base is not None and base <= address < base + 0x10000:
                return frame, address - base, 0
        first = 0
        for base, count in self.config.redist_regions or [(0x080A_0000, len(self.pes))]:
            if base <= address < base + count * 0x20000:
                pe, offset = divmod(address - base, 0x20000)
                return ("RD", offset, first + pe) if offset < 0x10000 else ("SGI", offset - 0x10000, first + pe)
            first += count
        return None

    def address_of(self, frame: str, offset: int, pe: int) -> int:
        """Return the physical address of a place in a frame."""
        if frame in ("GICD", "GICM"):
            return (self.config.dist_base if frame == "GICD" else self.config.message_frame) + offset
        for base, count in self.config.redist_regions or [(0x080A_0000, len(self.pes))]:
            if pe < count:
                return base + pe * 0x20000 + offset + (0x10000 if frame == "SGI" else 0)
            pe -= count
        raise ValueError(pe)

    def find_row(self, frame: str, offset: int, size: int) -> Row | None:
        """Return the register at an offset if the access suits it: right size and aligned to it (2: else RAZ/WI)."""
        for row in ROWS[frame]:
            if row.first <= offset <= row.last and size in row.sizes and offset % size == 0:
                return row if self.exists(frame, row, offset) else None
        return None

    def exists(self, frame: str, row: Row, offset: int) -> bool:
        """Tell whether this GIC was built with a register."""
        if row.name in ("STATUSR", "RD_STATUSR"):
            return self.config.statusr  # 2: optional
        if "SPI_" in row.name:
            return self.config.message_spis  # 2: needs TYPER.MBIS
        if row.name.startswith("INMIR") and not self.config.nmi:
            return False  # 2: only if TYPER.NMI
        if frame in ("RD", "GICM") or row.name in NOT_PER_INTID:
            return True
        # 2: as many registers as TYPER and ESPI_range count words, 3.2: as PPInum counts
        intid = self.first_intid(frame, row, offset)
        if frame == "SGI":
            return intid < 32 or intid < 1056 + self.config.eppis
        if row.name.endswith("E"):
            return intid < 4096 + self.config.espis
        return intid < 32 * (self.read_gicd_typer() % 32 + 1)

    def first_intid(self, frame: str, row: Row, offset: int) -> int:
        """Return the INTID of the lowest field of an access to a per-INTID register."""
        start = 0x6000 if row.name == "IROUTER" else row.first
        extended = frame == "GICD" and row.name.endswith("E")
        number = (offset - start) * 8 // self.bits_per_intid(frame, row)
        if frame == "SGI" and number >= 32:
            return number + 1024  # 1: word n of the extended PPIs starts at 1024 + 32n
        return number + (4096 if extended else 0)

    @staticmethod
    def bits_per_intid(frame: str, row: Row) -> int:
        """Return the width of one interrupt's field: a byte of priority, two bits of ICFGR or NSACR, 64 of IROUTER."""
        name = row.name.removesuffix("E") if frame == "GICD" else row.name
        return {"IPRIORITYR": 8, "ITARGETSR": 8, "ICFGR": 2, "NSACR": 2, "IROUTER": 64}.get(name, 1)

    def note_bad_access(self, frame: str, index: int, secure: bool, bit: int) -> None:
        """Count a reserved, read-only or write-only violation, and record it in the banked STATUSR (2)."""
        self.counts["bad_access"] += 1
        if not self.config.statusr or frame == "GICM":
            return
        statusr = self.dist_statusr if frame == "GICD" else self.pes[index].statusr
        statusr[self.statusr_bank(secure)] |= bit

    def statusr_bank(self, secure: bool) -> str:
        """Return the copy of STATUSR that an access reaches: banked with two Security states, else one (2)."""
        return SECURE if secure or self.ds else NONSECURE

    def fields(self, frame: str, row: Row, offset: int, size: int, pe: Pe) -> list[tuple[int, int, Interrupt]]:
        """Return (lowest bit, width, interrupt) for each implemented field of an access to a per-INTID register."""
        width, first = self.bits_per_intid(frame, row), self.first_intid(frame, row, offset)
        table = pe.irqs if frame == "SGI" else self.spis
        found = []
        for number, bit in enumerate(range(0, size * 8, min(width, size * 8))):
            if first + number in table:
                found.append((bit, width, table[first + number]))
        return found

    def allowed(self, frame: str, name: str, irq: Interrupt, secure: bool, levels: dict[str, int]) -> bool:
        """Tell whether an access may see or change one interrupt's field (2.4, 3.2)."""
        if self.ds or secure or not self.is_secure(irq):
            return True
        if frame == "SGI":
            return False  # 3.2: GICR_NSACR opens no register
        return name in levels and irq.nsacr >= levels[name]

    def read_register(self, frame: str, row: Row, offset: int, size: int, secure: bool, pe: Pe) -> int:
        """Return the value of a readable register."""
        name = row.name
        if name == "CTLR":
            return self.read_gicd_ctlr(secure)
        if name == "TYPER":
            return self.read_gicd_typer()
        if name == "IIDR":
            return self.config.iidr  # 2: IMPDEF; Implementer 0x43B is Arm
        if name == "MSI_TYPER":
            # 2: Valid, CLR and SR, first SPI, number of SPIs
            return 7 << 29 | 32 << 16 | len(self.config.spi_intids())
        if name == "TYPER2":
            return 0  # 2: RES0 unless GICv4.1
        if name == "ID":
            number = (offset - 0xFFD0) // 4
            return PIDR0[frame] if number == 4 else ID_VALUES[number]
        if name in ("STATUSR", "RD_STATUSR"):
            return (self.dist_statusr if name == "STATUSR" else pe.statusr)[self.statusr_bank(secure)]
        if name == "RD_CTLR":
            return self.read_gicr_ctlr(pe, secure)
        if name == "RD_TYPER":
            return self.read_gicr_typer(pe) >> 8 * (offset - row.first) & ((1 << 8 * size) - 1)
        if name == "WAKER":
            if not self.ds and not secure:
                return 0  # 3.1: NS RAZ/WI when DS=0
            return pe.children_asleep << 2 | pe.sleep << 1
        if name == "SGI_NSACR":
            if self.ds or not secure:
                return 0  # 2.4: RAZ/WI for NS and with DS=1
            return sum(pe.irqs[intid].nsacr << 2 * intid for intid in range(16))
        return self.read_fields(frame, row, offset, size, secure, pe)

    def read_fields(self, frame: str, row: Row, offset: int, size: int, secure: bool, pe: Pe) -> int:
        """Return a register made of one field per interrupt."""
        name = row.name.removesuffix("E") if frame == "GICD" else row.name
        if name == "IGROUPR" and not self.ds and not secure:
            return 0  # 2: RAZ/WI for NS when DS=0
        if name in ("IGRPMODR", "NSACR") and (self.ds or not secure):
            return 0  # 2: RAZ/WI for NS or DS=1
        if name in LEGACY:
            return 0  # 2: RES0 for ARE
        value = 0
        for bit, _, irq in self.fields(frame, row, offset, size, pe):
            if self.allowed(frame, name, irq, secure, NSACR_READ):
                field = self.read_field(name, irq, secure)
                if name == "IROUTER" and size == 4:
                    field = field >> 8 * (offset % 8) & 0xFFFF_FFFF  # 2: 32-bit halves allowed
                value |= field << bit
        return value

    def read_field(self, name: str, irq: Interrupt, secure: bool) -> int:
        """Return one interrupt's field of a register."""
        if name == "IGROUPR":
            return irq.group
        if name == "IGRPMODR":
            return irq.modifier
        if name in ("ISENABLER", "ICENABLER"):
            return int(irq.enabled)
        if name in ("ISPENDR", "ICPENDR"):
            return int(self.is_pending(irq))
        if name in ("ISACTIVER", "ICACTIVER"):
            return int(irq.active)
        if name == "ICFGR":
            return 2 if irq.edge else 0
        if name == "NSACR":
            return irq.nsacr
        if name == "INMIR":
            return irq.nmi if self.group_of(irq) != G0 else 0  # 2: RES0 while its interrupt is Group 0
        if name == "IPRIORITYR":
            if self.is_nmi(irq):
                return 0  # 2: RES0 for an INTID whose INMIR bit is 1
            if not self.ds and not secure:
                return irq.priority << 1 & 0xFF  # 2.4: the Non-secure view
            return irq.priority
        assert name == "IROUTER", name
        aff3, low = irq.route >> 32, irq.route & 0xFF_FFFF
        return aff3 << 32 | irq.route_mode << 31 | low

    def read_gicd_ctlr(self, secure: bool) -> int:
        """Return GICD_CTLR in the view of the access (2.1); ARE is fixed at 1."""
        enable, rwp = self.group_enable, bool(self.rwp_left) << 31
        if self.ds:
            return rwp | self.e1nwf << 7 | 1 << 6 | 1 << 4 | enable[G1NS] << 1 | enable[G0]
        if secure:
            return rwp | self.e1nwf << 7 | 0x30 | enable[G1S] << 2 | enable[G1NS] << 1 | enable[G0]
        return rwp | 1 << 4 | enable[G1NS] << 1  # EnableGrp1A

    def read_gicd_typer(self) -> int:
        """Return GICD_TYPER (2.2)."""
        config = self.config
        lines = 31 if config.spis == 988 else config.spis // 32
        security = config.security and not self.ds  # RAZ when DS=1
        value = lines | (config.id_bits - 1) << 19 | int(config.aff3) << 24
        value |= int(security) << 10 | int(config.nmi) << 9 | int(config.message_spis) << 16
        value |= int(config.range_selector) << 26 | int(not config.one_of_n) << 25
        if config.espis:
            value |= 1 << 8 | (config.espis // 32 - 1) << 27  # 1: ESPI count = 32 * (ESPI_range + 1)
        return value

    def read_gicr_ctlr(self, pe: Pe, secure: bool) -> int:
        """Return GICR_CTLR (3.1)."""
        value = bool(pe.uwp_left) << 31 | bool(pe.rwp_left) << 3 | pe.dpg[G1NS] << 25
        if self.ds or secure:
            value |= pe.dpg[G0] << 24  # 3.1: RAZ/WI to NS when DS=0
        if not self.ds and secure:
            value |= pe.dpg[G1S] << 26  # 3.1: RAZ/WI when DS=1 and to NS
        return value

    def read_gicr_typer(self, pe: Pe) -> int:
        """Return GICR_TYPER (3.3)."""
        aff = pe.affinity
        packed = aff >> 32 << 24 | aff & 0xFF_FFFF
        ppinum = {0: 0, 32: 1, 64: 2}[self.config.eppis]
        value = packed << 32 | ppinum << 27 | (pe.index & 0xFFFF) << 8 | int(self.config.one_of_n) << 5
        return value | int(self.is_last_of_region(pe)) << 4

    def is_last_of_region(self, pe: Pe) -> bool:
        """Tell whether a PE's redistributor ends a series of contiguous ones (3.3)."""
        regions = self.config.redist_regions or [(0, len(self.pes))]
        ends, total = [len(self.pes) - 1], 0
        for _, count in regions:
            total += count
            ends.append(total - 1)
        return pe.index in ends

    def write_register(self, frame: str, row: Row, offset: int, value: int, size: int, secure: bool, pe: Pe) -> None:
        """Write a writable register."""
        name = row.name
        if name == "CTLR":
            self.write_gicd_ctlr(value, secure)
        elif name in ("STATUSR", "RD_STATUSR"):
            statusr = self.dist_statusr if name == "STATUSR" else pe.statusr
            statusr[self.statusr_bank(secure)] &= ~value  # 2: RW1C
        elif "SPI_" in name:
            self.write_message(name, value & 0x1FFF, secure)
        elif name == "RD_CTLR":
            self.write_gicr_ctlr(pe, value, secure)
        elif name == "WAKER":
            if self.ds or secure:  # 3.1: NS RAZ/WI when DS=0
                self.write_waker(pe, bool(value & 2))
        elif name == "SGI_NSACR":
            if not self.ds and secure:  # 2.4: RAZ/WI for NS and with DS=1
                for intid in range(16):
                    pe.irqs[intid].nsacr = value >> 2 * intid & 3
        else:
            self.write_fields(frame, row, offset, value, size, secure, pe)

    def write_fields(self, frame: str, row: Row, offset: int, value: int, size: int, secure: bool, pe: Pe) -> None:
        """Write a register made of one field per interrupt."""
        name = row.name.removesuffix("E") if frame == "GICD" else row.name
        if name == "IGROUPR" and not self.ds and not secure:
            return  # 2: RAZ/WI for NS when DS=0
        if name in ("IGRPMODR", "NSACR") and (self.ds or not secure):
            return  # 2: RAZ/WI for NS or DS=1
        if name in LEGACY:
            return  # 2: RES0 for ARE
        if name == "ICENABLER":  # 2.1, 3.1: any write of it, RWP
            (pe if frame == "SGI" else self).rwp_left = self.config.settle_steps
        for bit, width, irq in self.fields(frame, row, offset, size, pe):
            if not self.allowed(frame, name, irq, secure, NSACR_WRITE):
                continue
            field = value >> bit & ((1 << width) - 1)
            if name == "IROUTER":
                self.write_irouter(irq, field, offset, size)
            else:
                self.write_field(name, irq, field, secure)

    def write_field(self, name: str, irq: Interrupt, field: int, secure: bool) -> None:
        """Write one interrupt's field of a register."""
        if name == "IGROUPR":
            irq.group = field
        elif name == "IGRPMODR":
            irq.modifier = field
        elif name == "ISENABLER":
            irq.enabled = irq.enabled or bool(field)
        elif name == "ICENABLER":
            irq.enabled = irq.enabled and not field
        elif name == "ISPENDR":
            irq.latch = irq.latch or bool(field)  # 2.5: also on an interrupt its wire keeps pending
        elif name == "ICPENDR":
            irq.latch = irq.latch and not field  # 2.5: the latch only
        elif name == "ISACTIVER":
            irq.active = irq.active or bool(field)  # 2.5: APRs are not touched
        elif name == "ICACTIVER":
            irq.active = irq.active and not field
        elif name == "ICFGR":
            if not irq.is_sgi:  # 1: SGIs are RAO/WI
                irq.edge = bool(field & 2)  # 2: bit 2x is RES0
        elif name == "NSACR":
            irq.nsacr = field
        elif name == "INMIR":
            if self.group_of(irq) != G0:  # 2: RES0 while its interrupt is Group 0
                irq.nmi = field
        else:
            assert name == "IPRIORITYR", name
            if self.is_nmi(irq):
                return  # 2: RES0 for an INTID whose INMIR bit is 1
            if not self.ds and not secure:
                field = 0x80 | field >> 1  # 2.4: the Non-secure view
            irq.priority = field & (0xFF << 8 - self.config.priority_bits & 0xFF)  # 2: low bits RAZ/WI

    def write_irouter(self, irq: Interrupt, value: int, offset: int, size: int) -> None:
        """Write GICD_IROUTER or one half of it (2.6); RES0 bits are dropped."""
        if size == 8 or offset % 8 == 0:
            irq.route = irq.route & 0xFF_0000_0000 | value & 0xFF_FFFF
            irq.route_mode = value >> 31 & 1
        if size == 8 or offset % 8 == 4:
            aff3 = value >> (32 if size == 8 else 0) & 0xFF
            irq.route = aff3 << 32 | irq.route & 0xFFFF_FFFF

    def write_waker(self, pe: Pe, sleep: bool) -> None:
        """Write WAKER.ProcessorSleep; ChildrenAsleep follows, at once or later (3.6)."""
        if sleep == pe.sleep:
            return
        if not sleep:
            pe.children_asleep = True  # also when they were only on their way there
        pe.sleep = sleep
        pe.waker_left = self.config.settle_steps
        pe.step(0)

    def write_gicd_ctlr(self, value: int, secure: bool) -> None:
        """Write GICD_CTLR; every bit is decoded in the view before the write (2.1)."""
        before = dict(self.group_enable), self.e1nwf, self.ds
        self.write_gicd_ctlr_fields(value, secure)
        disabled = any(before[0][group] > now for group, now in self.group_enable.items())
        if disabled or before[1:] != (self.e1nwf, self.ds):
            self.rwp_left = self.config.settle_steps  # 2.1: a group enable 1 -> 0, a change of bits 7:4

    def write_gicd_ctlr_fields(self, value: int, secure: bool) -> None:
        """Take what a write of GICD_CTLR says."""
        enable = self.group_enable
        if not self.ds and not secure:
            enable[G1NS] = value >> 1 & 1  # EnableGrp1A
            return
        enable[G0] = value & 1
        enable[G1NS] = value >> 1 & 1
        if not self.ds:
            enable[G1S] = value >> 2 & 1
        if self.config.one_of_n:
            self.e1nwf = value >> 7 & 1
        if not self.ds and value & 1 << 6:
            self.ds = True  # 2.1: one-way till reset
            enable[G1S] = 0  # 2.1: turns RES0

    def write_gicr_ctlr(self, pe: Pe, value: int, secure: bool) -> None:
        """Write the DPG bits of GICR_CTLR (3.1)."""
        if not self.config.one_of_n:
            return  # 3.1: RAZ/WI if TYPER.DPGS=0
        before = dict(pe.dpg)
        pe.dpg[G1NS] = value >> 25 & 1
        if self.ds or secure:
            pe.dpg[G0] = value >> 24 & 1
        if not self.ds and secure:
            pe.dpg[G1S] = value >> 26 & 1
        if pe.dpg != before:
            pe.rwp_left = self.config.settle_steps  # 3.1

    def write_message(self, name: str, intid: int, secure: bool) -> None:
        """Write SETSPI_* or CLRSPI_* (2.4, 2.5)."""
        irq = self.spis.get(intid)
        if irq is None:
            return  # 2.5: no effect on an unimplemented SPI
        setting = name.startswith("SET")
        if name.endswith("_SR"):
            if self.ds or not secure:
                return  # 2: Secure only; WI when DS=1
        elif self.is_secure(irq) and not secure and irq.nsacr < (1 if setting else 2):
            return  # 2.4
        if setting:
            if self.is_pending(irq):
                return  # 2.5: no effect on an already pending SPI
            if irq.edge:
                irq.latch = True
            else:
                irq.message = True
        elif self.is_pending(irq):  # 2.5: no effect on one that is not pending
            irq.message = False
            if irq.edge:
                irq.latch = False
