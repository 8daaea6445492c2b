"""Writes short programs by hand."""

from __future__ import annotations

from .configs import Config
from .ops import GICD_BASE, GICR_BASE, HOST_CPU, ICC, SGI_FRAME, Kind, Op, World

SGI = GICR_BASE + SGI_FRAME
"""The SGI frame of PE 0."""


def _encoding(name: str | int) -> int:
    return ICC[name] if isinstance(name, str) else name


class Writer:
    """Writes a program for PE 0, at the highest EL unless told otherwise."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.world: World = config.world(config.base_el)
        self.program: list[Op] = []

    def at(self, el: int, ns: bool = True, scr: int = 0) -> Writer:
        """Moves to an EL and Security state."""
        self.world = self.config.world(el, ns=ns, scr=scr)
        return self

    def write(self, address: int, value: int, kind: Kind = Kind.W32) -> Writer:
        """A store."""
        self.program.append(Op(kind, 0, self.world, address=address, value=value))
        return self

    def read(self, address: int, kind: Kind = Kind.R32) -> Writer:
        """A load."""
        self.program.append(Op(kind, 0, self.world, address=address))
        return self

    def msr(self, name: str | int, value: int = 0, flags: int = 0) -> Writer:
        """A system register write, by name or encoding."""
        self.program.append(Op(Kind.MSR, 0, self.world, reg=_encoding(name), value=value, flags=flags))
        return self

    def mrs(self, name: str | int, flags: int = 0) -> Writer:
        """A system register read, by name or encoding."""
        self.program.append(Op(Kind.MRS, 0, self.world, reg=_encoding(name), flags=flags))
        return self

    def line(self, intid: int, level: int) -> Writer:
        """A change of an input line."""
        self.program.append(Op(Kind.LINE, HOST_CPU, self.world, address=intid, value=level))
        return self

    def look(self) -> Writer:
        """ISR_EL1."""
        self.program.append(Op(Kind.ISR, 0, self.world))
        return self

    def ready(self, group1: int = 0, modifier: int = 0) -> Writer:
        """All groups on, every mask open; SGIs and PPIs enabled at priority 0xA0 in the groups given."""
        self.write(GICD_BASE, 0x37).write(SGI + 0x80, group1).write(SGI + 0xD00, modifier)
        for first in range(0, 32, 4):
            self.write(SGI + 0x400 + first, 0xA0A0A0A0)
        self.write(SGI + 0x100, 0xFFFFFFFF).msr("ICC_PMR_EL1", 0xFF).msr("ICC_IGRPEN0_EL1", 1)
        if self.config.secure:
            return self.msr("ICC_IGRPEN1_EL3", 3)
        return self.msr("ICC_IGRPEN1_EL1", 1)
