"""LPIs of the slow model: what is pending is a dictionary a PE, and tables are read and written a doubleword at a time.

Sections are those of the architecture reference; "choice" is one that it leaves open and docs/lpis.md tells of.
"""

from __future__ import annotations

from typing import Any

from .delivery import Spis
from .memory import Memory
from .mmio import Mmio, Row
from .state import Interrupt, Pe
from .sysregs import SysRegs

FIRST_LPI = 8192
PTZ = 1 << 62
# 3.4: which bits there are; the others are RES0.
PROPBASER_MASK = 7 << 56 | (1 << 52) - (1 << 12) | 3 << 10 | 7 << 7 | 0x1F
PENDBASER_MASK = 7 << 56 | (1 << 52) - (1 << 16) | 3 << 10 | 7 << 7


def bits(value: int, high: int, low: int) -> int:
    """Return bits ``high`` to ``low`` of a value."""
    return value >> low & (1 << high - low + 1) - 1


def replaced(old: int, value: int, row: Row, offset: int, size: int) -> int:
    """Return a 64-bit register after a write of all of it or of a half."""
    if size == 8:
        return value
    shift = 8 * (offset - row.first)
    return old & ~(0xFFFF_FFFF << shift) | value << shift


def part(value: int, row: Row, offset: int, size: int) -> int:
    """Return what a read of all or a half of a 64-bit register gives."""
    return value >> 8 * (offset - row.first) & (1 << 8 * size) - 1


class Lpi(Interrupt):
    """A pending LPI as the CPU interface sees it: edge, always Group 1 (1), never active."""

    def __init__(self, intid: int, enabled: bool, priority: int) -> None:
        super().__init__(intid)
        self.latch = self.edge = True
        self.group, self.enabled, self.priority = 1, enabled, priority


class LpiState:
    """The LPI part of a redistributor; unplugging leaves it alone (choice)."""

    def __init__(self) -> None:
        self.enabled = False
        self.propbaser = self.pendbaser = 0
        self.zero = False  # PTZ was written
        self.pending: dict[int, int] = {}  # INTID -> configuration byte as it was read last


class Lpis(Mmio, SysRegs):
    """LPIs of every redistributor, and the memory that holds their tables."""

    def __init__(self, config: Any) -> None:
        self.memory = Memory()
        self.reset_lpis(len(config.affinity_list()))
        super().__init__(config)
        if config.lpis:
            self.counts |= {"lpi_discarded": 0, "lpi_lost": 0, "lpi_table_faults": 0}
            for taken in self.taken:
                taken["lpi"] = 0

    def memory_write(self, address: int, data: bytes) -> None:
        """Write guest memory, as software does."""
        assert self.memory.write(address, data), hex(address)

    def memory_fill(self, address: int, size: int) -> None:
        """Write zeros."""
        self.memory_write(address, bytes(size))

    def memory_holds(self) -> bytes:
        """Return all of the guest's RAM."""
        return bytes(self.memory.ram)

    def go_on_restored(self) -> None:
        """Being saved and restored changes nothing."""

    def lpi_pending(self, pe: int) -> list[int]:
        """Return the INTIDs of the pending LPIs of a PE in order."""
        return sorted(self.lpis[pe].pending)

    def reset_lpis(self, count: int) -> None:
        """Forget every LPI and every table address; memory stays as it is (choice)."""
        self.lpis = [LpiState() for _ in range(count)]
        self.cache: dict[int, int] = {}  # INTID -> configuration byte, of the table at `cached_table`
        self.cached_table: int | None = None

    def reset(self) -> None:
        """Reset the Distributor and every redistributor."""
        self.reset_lpis(len(self.pes))
        super().reset()

    def limit(self, pe: int) -> int:
        """Return the first INTID that the tables of a redistributor do not hold, 0 where it takes no LPIs (3.4)."""
        state = self.lpis[pe]
        width = min(bits(state.propbaser, 4, 0) + 1, self.config.id_bits)
        return 1 << width if state.enabled and width >= 14 else 0

    def accepts(self, pe: int, intid: int) -> bool:
        """Tell whether a redistributor takes an LPI (3.1)."""
        return FIRST_LPI <= intid < self.limit(pe)

    def config_byte(self, pe: int, intid: int) -> int:
        """Return an LPI's configuration byte, 0 (disabled) where there is no memory (3.4)."""
        table = self.lpis[pe].propbaser
        kept = self.config.lpi_config == "cached" and table == self.cached_table  # choice: for PEs with equal PROPBASER
        if kept and intid in self.cache:
            return self.cache[intid]
        data = self.memory.read((bits(table, 51, 12) << 12) + intid - FIRST_LPI, 1)
        if data is None:
            self.counts["lpi_table_faults"] += 1
            return 0
        if kept:
            self.cache[intid] = data[0]
        return data[0]

    def lpi_priority(self, byte: int) -> int:
        """Return an LPI's effective priority (3.4)."""
        return self.store_priority(byte & 0xFC if self.ds else (byte & 0xFC) >> 1 | 0x80)

    def pend(self, pe: int, intid: int) -> None:
        """Make an LPI pending at a PE; its configuration is read then (choice)."""
        if not self.accepts(pe, intid):
            self.counts["lpi_discarded"] += 1  # 3.1: ignored while LPIs are disabled
        elif intid not in self.lpis[pe].pending:
            self.lpis[pe].pending[intid] = self.config_byte(pe, intid)

    def clear(self, pe: int, intid: int) -> None:
        """Make an LPI pending no more."""
        self.lpis[pe].pending.pop(intid, None)

    def move(self, pe: int, target: int, intid: int) -> None:
        """Let the pending state of an LPI follow it; where it cannot be taken it stays (choice)."""
        if pe != target and intid in self.lpis[pe].pending and self.accepts(target, intid):
            self.clear(pe, intid)
            self.pend(target, intid)

    def invalidate(self, pe: int, intid: int) -> None:
        """Read the configuration of one LPI anew (3.4)."""
        if self.accepts(pe, intid):
            self.cache.pop(intid, None)
            if intid in self.lpis[pe].pending:
                self.lpis[pe].pending[intid] = self.config_byte(pe, intid)

    def invalidate_all(self, pe: int) -> None:
        """Read the configuration of every LPI of a redistributor anew (3.4)."""
        self.cache.clear()
        self.read_configurations(pe)

    def read_configurations(self, pe: int) -> None:
        """Look at the configuration of everything that is pending at a PE."""
        pending = self.lpis[pe].pending
        for intid in sorted(pending):
            pending[intid] = self.config_byte(pe, intid)

    def enable_lpis(self, pe: int) -> None:
        """EnableLPIs 0 -> 1: read the pending table, unless it is said to be zero (3.4)."""
        state = self.lpis[pe]
        if not any(other.enabled for other in self.lpis) or state.propbaser == self.cached_table:
            self.cache.clear()
            self.cached_table = state.propbaser
        state.enabled = True
        table = bits(state.pendbaser, 51, 16) << 16
        if not state.zero:
            for byte in range(FIRST_LPI // 8, self.limit(pe) // 8, 8):  # 3.4: the first 1 KB is not for LPIs
                word = self.memory.read64(table + byte)
                if word is None:
                    self.counts["lpi_table_faults"] += 1
                    break
                for bit in range(64):
                    if word >> bit & 1:
                        self.pend(pe, 8 * byte + bit)
        state.zero = False

    def disable_lpis(self, pe: int) -> None:
        """EnableLPIs 1 -> 0: write the pending table (3.4); what finds no memory is lost."""
        state, limit = self.lpis[pe], self.limit(pe)
        state.enabled = False
        pending, state.pending = state.pending, {}
        table = bits(state.pendbaser, 51, 16) << 16
        for byte in range(FIRST_LPI // 8, limit // 8, 8):
            word = sum(1 << intid % 64 for intid in pending if intid // 64 == byte // 8)
            if not self.memory.write64(table + byte, word):
                self.counts["lpi_table_faults"] += 1
                self.counts["lpi_lost"] += sum(1 for intid in pending if intid >= 8 * byte)
                break

    def candidates(self, pe: Pe, spis: Spis) -> list[Interrupt]:
        """Return every interrupt that is ready for one PE, its LPIs too."""
        pending = self.lpis[pe.index].pending
        lpis = [Lpi(intid, True, self.lpi_priority(byte)) for intid, byte in pending.items() if byte & 1]
        return super().candidates(pe, spis) + [lpi for lpi in lpis if self.is_candidate(lpi)]

    def take(self, pe: Pe, irq: Interrupt) -> None:
        """Acknowledge: an LPI is pending no more, and has no active state (3.4)."""
        if isinstance(irq, Lpi):
            self.clear(pe.index, irq.intid)
            self.taken[pe.index]["lpi"] += 1
        else:
            super().take(pe, irq)

    def implemented_irq(self, pe: Pe, intid: int) -> Interrupt | None:
        """Return the interrupt of an INTID; an LPI is one to be ended, and nothing more comes of it (8)."""
        if self.config.lpis and FIRST_LPI <= intid < 1 << self.config.id_bits:
            return Lpi(intid, False, 0)
        return super().implemented_irq(pe, intid)

    def exists(self, frame: str, row: Row, offset: int) -> bool:
        """Tell whether this GIC was built with a register (3.1)."""
        if row.name in ("SETLPIR", "CLRLPIR"):
            return self.config.direct_lpi
        if row.name in ("INVLPIR", "INVALLR", "SYNCR"):
            return self.config.lpis and self.config.lpi_invalidate
        if row.name in ("PROPBASER", "PENDBASER"):
            return self.config.lpis
        return super().exists(frame, row, offset)

    def read_gicd_typer(self) -> int:
        """Return GICD_TYPER (2.2)."""
        return super().read_gicd_typer() | int(self.config.lpis) << 17

    def read_gicr_typer(self, pe: Pe) -> int:
        """Return GICR_TYPER (3.3); CommonLPIAff is 0."""
        return super().read_gicr_typer(pe) | int(self.config.direct_lpi) << 3 | int(self.config.lpis)

    def read_gicr_ctlr(self, pe: Pe, secure: bool) -> int:
        """Return GICR_CTLR (3.1)."""
        value = super().read_gicr_ctlr(pe, secure)
        if self.config.lpis:
            value |= int(self.config.lpi_invalidate) << 2 | 1 << 1 | int(self.lpis[pe.index].enabled)
        return value

    def write_gicr_ctlr(self, pe: Pe, value: int, secure: bool) -> None:
        """Write GICR_CTLR (3.1)."""
        super().write_gicr_ctlr(pe, value, secure)
        if self.config.lpis and (value & 1) != self.lpis[pe.index].enabled:
            if value & 1:
                self.enable_lpis(pe.index)
            else:
                self.disable_lpis(pe.index)

    def write_gicd_ctlr(self, value: int, secure: bool) -> None:
        """Write GICD_CTLR; DS decides what a configured priority means (3.4)."""
        before = self.ds
        super().write_gicd_ctlr(value, secure)
        if self.ds != before:
            for pe in range(len(self.pes)):
                self.read_configurations(pe)

    def read_register(self, frame: str, row: Row, offset: int, size: int, secure: bool, pe: Pe) -> int:
        """Return the value of a readable register."""
        state = self.lpis[pe.index]
        if row.name == "PROPBASER":
            return part(state.propbaser, row, offset, size)
        if row.name == "PENDBASER":
            return part(state.pendbaser, row, offset, size)
        if row.name == "SYNCR":
            return 0  # 3.1: nothing is under way
        return super().read_register(frame, row, offset, size, secure, pe)

    def write_register(self, frame: str, row: Row, offset: int, value: int, size: int, secure: bool, pe: Pe) -> None:
        """Write a writable register."""
        if row.name in ("PROPBASER", "PENDBASER"):
            self.write_baser(self.lpis[pe.index], row, offset, value, size)
        elif row.name in ("SETLPIR", "CLRLPIR", "INVLPIR", "INVALLR"):
            if offset == row.first and self.lpis[pe.index].enabled:  # 3.1: ignored while LPIs are disabled
                self.write_direct(row.name, pe.index, value & 0xFFFF_FFFF)
        else:
            super().write_register(frame, row, offset, value, size, secure, pe)

    def write_baser(self, state: LpiState, row: Row, offset: int, value: int, size: int) -> None:
        """Write PROPBASER or PENDBASER; UNPREDICTABLE while LPIs are enabled, ignored here (3.1)."""
        if state.enabled:
            return
        if row.name == "PROPBASER":
            state.propbaser = replaced(state.propbaser, value, row, offset, size) & PROPBASER_MASK
            return
        state.pendbaser = replaced(state.pendbaser, value, row, offset, size) & PENDBASER_MASK
        if size == 8 or offset != row.first:
            state.zero = bool(value & (PTZ if size == 8 else PTZ >> 32))

    def write_direct(self, name: str, pe: int, intid: int) -> None:
        """Write SETLPIR, CLRLPIR, INVLPIR or INVALLR (3.1)."""
        if name == "SETLPIR":
            self.pend(pe, intid)
        elif name == "CLRLPIR":
            self.clear(pe, intid)
        elif name == "INVLPIR":
            self.invalidate(pe, intid)
        else:
            self.invalidate_all(pe)
