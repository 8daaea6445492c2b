"""A GIC with LPIs, guest memory for their tables, and short names for what software does with them."""

from __future__ import annotations

from typing import Any

from tests.rig import Rig

RAM = 0x4000_0000
PROP = RAM + 0x10_0000
PEND = RAM + 0x20_0000
FIRST, LAST = 8192, (1 << 16) - 1
ENABLE_LPIS, CES, IR, RWP = 1, 2, 4, 8


class LpiRig(Rig):
    """Redistributors with LPIs enabled, every configuration byte `config`; no pending table is read unless asked.

    Tables are in one buffer of `ram` bytes at RAM: configuration at PROP, the pending table of PE n at
    PEND + n * 0x1_0000.
    """

    def __init__(self, cpus: int = 1, *, config: int = 0xA1, enable: bool = True, callbacks: bool = False,
                 id_bits: int = 16, ram: int = 4 << 20, **options: Any) -> None:
        super().__init__(cpus, lpis=True, id_bits=id_bits, direct_lpi=True, **options)
        self.id_bits = id_bits
        self.ram = bytearray(ram)
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []
        if callbacks:
            self.gic.memory.map_callbacks(RAM, len(self.ram), self.read_ram, self.write_ram)
        else:
            self.gic.memory.map(RAM, self.ram)
        size = min((1 << id_bits) - FIRST, 0x10_0000)
        self.ram[PROP - RAM : PROP - RAM + size] = bytes([config]) * size
        for pe in range(cpus):
            self.tables(pe)
            if enable:
                self.enable_lpis(pe)

    def read_ram(self, address: int, size: int) -> bytes | None:
        self.reads.append((address, size))
        return bytes(self.ram[address - RAM : address - RAM + size])

    def write_ram(self, address: int, data: bytes) -> None:
        self.writes.append((address, len(data)))
        self.ram[address - RAM : address - RAM + len(data)] = data

    def tables(self, pe: int = 0, *, bits: int | None = None, ptz: bool = False) -> None:
        """Program GICR_PROPBASER and GICR_PENDBASER."""
        redist = self.gic.redist[pe]
        redist["GICR_PROPBASER"] = PROP | (self.id_bits if bits is None else bits) - 1
        redist["GICR_PENDBASER"] = PEND + pe * 0x1_0000 | ptz << 62

    def enable_lpis(self, pe: int = 0, on: bool = True) -> None:
        self.gic.redist[pe]["GICR_CTLR"] = int(on)

    def finish(self) -> int:
        """Let work that is under way come to its end; the number of calls that it took."""
        calls = 0
        while self.gic.has_work:
            self.gic.step(0)
            calls += 1
        return calls

    def configure(self, intid: int, byte: int, pe: int | None = None) -> None:
        """Write a configuration byte; with `pe`, invalidate it there too."""
        self.ram[PROP - RAM + intid - FIRST] = byte
        if pe is not None:
            self.gic.redist[pe]["GICR_INVLPIR"] = intid

    def table_bit(self, intid: int, pe: int = 0) -> bool:
        """The LPI's bit in the pending table in memory."""
        return bool(self.ram[PEND - RAM + pe * 0x1_0000 + intid // 8] >> intid % 8 & 1)

    def set_table_bit(self, intid: int, pe: int = 0) -> None:
        self.ram[PEND - RAM + pe * 0x1_0000 + intid // 8] |= 1 << intid % 8

    def lpi(self, *intids: int, pe: int = 0) -> None:
        """Make LPIs pending by GICR_SETLPIR."""
        for intid in intids:
            self.gic.redist[pe]["GICR_SETLPIR"] = intid

    def lpis(self, pe: int = 0) -> list[int]:
        return self.gic.lpi_pending(pe)

    def take_all(self, pe: int = 0) -> list[int]:
        """Acknowledge and end interrupts until there is none."""
        taken = []
        while (intid := self.iar(pe=pe)) != 1023:
            self.eoi(intid, pe=pe)
            taken.append(intid)
        return taken
