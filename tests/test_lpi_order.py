"""The order of service has room for so many LPIs: whatever is made pending, memory is bounded and nothing is lost."""

from collections.abc import Callable

import numpy
import numpy.typing
import pytest

from gicv3 import GICv3, GICv3Config
from tests.lpis import FIRST, PROP

END = 1 << 24
TABLE = 0x8000_0000
NODES = 1 << 18
NODE = 8 * 65
WORDS = (END - FIRST) // 64


class Scattered:
    """PE 0 has an LPI pending in each word of its table, each at a level of its own among those of 4096 INTIDs: as
    many nodes of the order as there can be, more than there is room for. PE 1 has none yet."""

    def __init__(self) -> None:
        self.gic = GICv3(GICv3Config(cpus=2, lpis=True, direct_lpi=True, id_bits=24, priority_bits=8))
        levels = numpy.arange(FIRST, END, dtype=numpy.uint32) >> 6 & 0x3F
        self.config = bytearray((levels << 2 | 1).astype("u1").tobytes())
        self.tables = bytearray(numpy.ones(2 * END // 64, "<u8").tobytes())
        self.map(self.gic)
        self.gic.dist["GICD_CTLR"] = 2
        for pe in range(2):
            redist, cpu = self.gic.redist[pe], self.gic.pe[pe]
            redist["GICR_WAKER"] = 0
            cpu["ICC_PMR_EL1"], cpu["ICC_IGRPEN1_EL1"] = 0xFF, 1
            redist["GICR_PROPBASER"] = PROP | 23
            redist["GICR_PENDBASER"] = TABLE + pe * END // 8 | pe << 62  # PTZ for PE 1
            redist["GICR_CTLR"] = 1
        self.finish()

    def map(self, gic: GICv3) -> None:
        gic.memory.map(PROP, self.config)
        gic.memory.map(TABLE, self.tables)

    def finish(self) -> None:
        while self.gic.has_work:
            self.gic.step(0)


def take_all(gic: GICv3, pe: int = 0) -> numpy.typing.NDArray[numpy.uint32]:
    """Acknowledge and end interrupts of a PE until there is none."""
    taken = []
    while gic.pe[pe].irq or gic.has_work:
        got = gic.batch.ack_eoi(numpy.full(100_000, pe))
        taken.append(got[got != 1023])
    return numpy.concatenate(taken)


def assert_each_once(taken: numpy.typing.NDArray[numpy.uint32]) -> None:
    assert numpy.array_equal(numpy.sort(taken), numpy.arange(FIRST, END, 64))


def test_scattered_lpis_take_bounded_memory_and_all_are_taken() -> None:
    rig = Scattered()
    assert len(rig.gic.lpi_pending(0)) == WORDS
    point = rig.gic.savepoint()
    assert NODES * NODE < point.size < NODES * NODE + (2 << 20)
    taken = take_all(rig.gic)
    assert_each_once(taken)
    worse_first = numpy.flatnonzero(numpy.diff((taken >> 6 & 0x3F).astype(int)) < 0)
    assert len(worse_first) == 1  # by priority, then those for which there was no room, by priority
    assert worse_first[0] > NODES * 15 // 16
    assert rig.gic.totals()["lpi_lost"] == 0
    rig.gic.rewind(point)
    assert_each_once(take_all(rig.gic))


def test_a_restored_gic_takes_all_as_well() -> None:
    rig = Scattered()
    data = rig.gic.save()
    gic = GICv3.restore(data)
    rig.map(gic)
    assert gic.save() == data
    assert_each_once(take_all(gic))


def acknowledge(rig: Scattered, intid: int) -> None:
    assert rig.gic.pe[1]["ICC_IAR1_EL1"] == intid
    rig.gic.pe[1]["ICC_EOIR1_EL1"] = intid


def clear(rig: Scattered, intid: int) -> None:
    rig.gic.redist[1]["GICR_CLRLPIR"] = intid


def switch_off(rig: Scattered, intid: int) -> None:
    rig.config[intid - FIRST] = 0
    rig.gic.redist[1]["GICR_INVLPIR"] = intid


def disable_and_enable(rig: Scattered, intid: int) -> None:
    rig.gic.redist[1]["GICR_CTLR"] = 0
    rig.finish()
    rig.gic.check()
    rig.config[intid - FIRST] = 0
    rig.gic.redist[1]["GICR_CTLR"] = 1


@pytest.fixture(scope="module")
def full() -> Scattered:
    return Scattered()


@pytest.mark.parametrize("leaves", [acknowledge, clear, switch_off, disable_and_enable])
def test_an_lpi_without_room_stands_when_the_last_that_had_it_leaves(
    full: Scattered, leaves: Callable[[Scattered, int], None]
) -> None:
    rig, gic = full, full.gic
    stands, waits = FIRST + 64 * 5, FIRST + 64 * 9
    levels = bytes(rig.config)
    for intid in (stands, waits, waits + 1):
        gic.redist[1]["GICR_SETLPIR"] = intid
    gic.check()
    assert gic.lpi_pending(1) == [stands, waits, waits + 1]
    assert [gate.name for gate in gic.explain(waits, 1).gates if not gate.is_open] == ["best"]
    leaves(rig, stands)
    rig.finish()
    assert gic.pe[1]["ICC_HPPIR1_EL1"] == waits
    rig.config[:] = levels
    gic.redist[1]["GICR_INVALLR"] = 0
    gic.redist[1]["GICR_CLRLPIR"] = stands
    assert take_all(gic, 1).tolist() == [waits, waits + 1]
    gic.check()
