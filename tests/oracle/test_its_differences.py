"""Where QEMU's ITS and ours part and random programs do not go: shown on both, as each may do what it does."""

from __future__ import annotations

import pytest

from .configs import CONFIGS
from .differ import compare
from .ops import GICR_BASE, GICR_STRIDE, GITS_BASE, TABLES, Kind
from .qemu import Qemu
from .writer import Writer

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("qemu_installed")]

CONFIGURATION, PENDING = TABLES, TABLES + 0x1_0000
DEVICES, COLLECTIONS, QUEUE, ITT = (TABLES + 0x10_0000 + 0x1_0000 * n for n in range(4))
VALID, INDIRECT = 1 << 63, 1 << 62
ENABLE, FIRST = 1, 8192


class ItsWriter(Writer):
    """Writes a program that begins with LPIs of every PE enabled, and the ITS; event 0 of device 0 is LPI 8192."""

    def __init__(self, name: str = "its-smp1", widths: tuple[int, ...] = (16,), collections: int = 0) -> None:
        super().__init__(CONFIGS[name])
        self.at_command = 0
        self.write(CONFIGURATION, 0xA1, Kind.W8)
        for pe, width in enumerate(widths):
            base = GICR_BASE + pe * GICR_STRIDE
            self.write(base + 0x70, CONFIGURATION | width - 1, Kind.W64)
            self.write(base + 0x78, PENDING + pe * 0x1_0000, Kind.W64).write(base, ENABLE)
        self.write(COLLECTIONS, VALID | COLLECTIONS + 0x1000, Kind.W64)
        self.write(GITS_BASE + 0x100, VALID | DEVICES, Kind.W64)
        self.write(GITS_BASE + 0x108, VALID | collections | COLLECTIONS, Kind.W64)
        self.write(GITS_BASE + 0x80, VALID | QUEUE, Kind.W64).write(GITS_BASE, ENABLE)
        self.command(0x08, 4, ITT | VALID).command(0x09, 0, VALID).command(0x0A, FIRST << 32)

    def command(self, *words: int) -> ItsWriter:
        """Queues a command and tells the ITS; doublewords that are not given are 0."""
        for number, word in enumerate((*words, 0, 0, 0)[:4]):
            self.write(QUEUE + self.at_command + 8 * number, word, Kind.W64)
        self.at_command += 32
        self.write(GITS_BASE + 0x88, self.at_command)
        return self

    def look(self, pe: int = 0) -> ItsWriter:
        """Has the pending table of a PE written, and reads the word of LPI 8192."""
        self.write(GICR_BASE + pe * GICR_STRIDE, 0).read(PENDING + pe * 0x1_0000 + FIRST // 8, Kind.R64)
        return self


@pytest.mark.parametrize(("name", "writer", "ours", "theirs"), [
    ("the ITT size of a MAPD that unmaps counts there", ItsWriter().command(0x08, 31).command(0x03).look(), 0, 1),
    ("an event is mapped to a collection that has no place there",
     ItsWriter(collections=INDIRECT).command(0x0A, FIRST << 32, 600).command(0x03).look(), 1, 0),
    ("MOVI to a redistributor whose tables are too small loses the LPI there",
     ItsWriter("its-smp4", (16, 13)).command(0x09, 0, VALID | 1 << 16 | 1).command(0x03).command(0x01, 0, 1).look(),
     1, 0),
])  # fmt: skip
def test_what_is_left_to_implementations(name: str, writer: ItsWriter, ours: int, theirs: int) -> None:
    with Qemu(writer.config) as qemu:
        difference = compare(qemu, writer.program).difference
    assert difference is not None
    assert (difference.ours.value, difference.theirs.value) == (ours, theirs)
