"""Arrays over the state: live, read-only, and there for as long as somebody has them."""

import gc
import hashlib
import weakref
from collections.abc import Callable

import numpy
import pytest
from player import CONFIGS, Player
from rig import G1, Rig

from gicv3 import GICv3, GICv3Config

RECORDS = {"pe": "num_pe", "redist": "num_pe", "counters": "num_pe", "spi_words": 64, "spis": 2048, "lines": "num_pe"}


@pytest.fixture
def rig() -> Rig:
    rig = Rig(3, eppis=32, espis=32)
    rig.prepare(20, 1, priority=0x40)
    rig.prepare(40, 2, priority=0x88)
    return rig


@pytest.mark.parametrize("name", RECORDS)
def test_arrays_refuse_writes(rig: Rig, name: str) -> None:
    array = getattr(rig.gic.arrays, name)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = array[0]
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    for field in array.dtype.names or ():
        assert not array[field].flags.writeable


@pytest.mark.parametrize("name", RECORDS)
def test_arrays_have_a_record_each(rig: Rig, name: str) -> None:
    count = RECORDS[name]
    assert getattr(rig.gic.arrays, name).shape == (rig.gic.num_pe if count == "num_pe" else count,)


@pytest.mark.drops_gics
@pytest.mark.parametrize("name", RECORDS)
def test_arrays_outlive_the_gic_and_show_its_last_state(name: str) -> None:
    gic = GICv3(GICv3Config(cpus=2))
    gic.set_spi(40, True)
    gone, arrays = weakref.ref(gic), [getattr(gic.arrays, name) for _ in range(2)]
    last = arrays[0].tobytes()
    del gic
    gc.collect()
    assert gone() is None
    for _ in range(2):
        others = [getattr(GICv3(GICv3Config(cpus=2)).arrays, name) for _ in range(8)]
        assert not any(numpy.shares_memory(arrays[-1], other) for other in others)
        assert arrays.pop().tobytes() == last


@pytest.mark.drops_gics
@pytest.mark.parametrize("name", RECORDS)
def test_a_gic_whose_callback_has_an_array_is_collected(name: str) -> None:
    def with_callback() -> weakref.ref[GICv3]:
        gic = GICv3(GICv3Config(cpus=2))
        array = getattr(gic.arrays, name)
        gic.on_line = lambda pe, line, level: gic.line(array.size)
        return weakref.ref(gic)

    gone = with_callback()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", RECORDS)
def test_arrays_cost_no_copy(rig: Rig, name: str) -> None:
    assert numpy.shares_memory(getattr(rig.gic.arrays, name), getattr(rig.gic.arrays, name))


@pytest.mark.parametrize("name", RECORDS)
def test_what_cannot_be_told_of_strides_is_refused(rig: Rig, name: str) -> None:
    memory = getattr(rig.gic.arrays, name)
    while not isinstance(memory, memoryview):
        memory = memory.base
    with pytest.raises(BufferError, match="strides"):
        hashlib.sha256(memory.obj)


def test_arrays_are_live(rig: Rig) -> None:
    pe, words = rig.gic.arrays.pe, rig.gic.arrays.spi_words
    rig.gic.set_ppi(1, 20, True)
    rig.gic.set_spi(40, True)
    assert (pe["hpp"].tolist(), pe["lines"].tolist()) == ([1023, 20, 40], [0, 1, 1])
    assert words["line"][1] == 1 << 8
    rig.iar(pe=2)
    assert (words["active"][1], pe["running"].tolist()) == (1 << 8, [0xFF, 0xFF, 0x88])


@pytest.mark.parametrize(
    "again",
    [
        lambda gic, point, data: gic.rewind(point),
        lambda gic, point, data: gic.load(data),
        lambda gic, point, data: (gic.reset(), gic.rewind(point)),
    ],
    ids=["rewind", "load", "reset"],
)
def test_arrays_outlive_a_state_that_comes_back(rig: Rig, again: Callable[[GICv3, object, bytes], object]) -> None:
    before = {name: getattr(rig.gic.arrays, name) for name in RECORDS}
    rig.gic.set_ppi(1, 20, True)
    point, data = rig.gic.savepoint(), rig.gic.save()
    rig.gic.set_ppi(1, 20, False)
    again(rig.gic, point, data)
    assert before["pe"]["hpp"].tolist() == [1023, 20, 1023]
    rig.gic.set_spi(40, True)
    assert before["spi_words"]["line"][1] == 1 << 8
    for name, array in before.items():
        assert numpy.shares_memory(array, getattr(rig.gic.arrays, name))


def test_arrays_show_a_reset(rig: Rig) -> None:
    pe, words = rig.gic.arrays.pe, rig.gic.arrays.spi_words
    rig.raise_(40)
    rig.gic.reset()
    assert (words["line"][1], words["enable"][1], pe["hpp"][2]) == (1 << 8, 0, 1023)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_arrays_show_what_the_registers_read(name: str, seed: int) -> None:
    player = Player(GICv3(GICv3Config(**CONFIGS[name])), seed)
    gic = player.gic
    player.open_everything()
    for _ in range(300):
        player.step()
    arrays, config = gic.arrays, gic.config
    for pe in range(gic.num_pe):
        redist, record, cold = gic.redist[pe], arrays.pe[pe], arrays.redist[pe]
        assert redist["GICR_ISPENDR0"] == arrays.private_pending()[pe]
        assert redist["GICR_ISACTIVER0"] == record["active"]
        assert redist["GICR_ISENABLER0"] == cold["enable"][0]
        assert redist["GICR_IGROUPR0"] == record["group"]
        assert redist["GICR_WAKER"] == cold["waker"]
        assert (record["lines"], bool(record["flags"] & 1)) == (gic.line(pe), gic.is_accessible(pe))
        assert bool(record["flags"] & 2) == bool(redist["GICR_WAKER"] & 4)
        if not config.nmi:  # an NMI's priority reads as zero
            priority = [redist["GICR_IPRIORITYR", n].to_bytes(4, "little") for n in range(8)]
            assert b"".join(priority) == record["priority"].tobytes()
        affinity = gic.affinity(pe)
        assert cold["affinity"] == (affinity >> 8 & 0xFF000000 | affinity & 0xFFFFFF)
        assert record["acknowledged"].tolist() == [gic.counters(pe)[kind] for kind in ("sgi", "ppi", "spi")]
    pending = arrays.spi_pending()
    for word in range(1, (31 + config.spis) // 32 + 1):
        assert gic.dist["GICD_ISPENDR", word] == pending[word]
        assert gic.dist["GICD_ISACTIVER", word] == arrays.spi_words["active"][word]
        assert gic.dist["GICD_ISENABLER", word] == arrays.spi_words["enable"][word]
    for word in range(config.espis // 32):
        assert gic.dist["GICD_ISPENDRnE", word] == pending[32 + word]
        assert gic.dist["GICD_IROUTERnE", 32 * word] == arrays.spis["irouter"][1024 + 32 * word]
    for intid in range(32, 32 + config.spis):
        assert gic.dist["GICD_IROUTER", intid] == arrays.spis["irouter"][intid]


def test_the_target_of_an_spi_is_its_pe_or_none(rig: Rig) -> None:
    rig.gic.dist["GICD_IROUTER", 41] = 0xFF00
    assert rig.gic.arrays.spis["target"][[40, 41]].tolist() == [2, 0xFFFF_FFFF]


def test_the_cpu_interface_has_its_fields(rig: Rig) -> None:
    rig.gic.pe[1]["ICC_PMR_EL1"] = 0x58
    rig.gic.pe[1]["ICC_BPR1_EL1"] = 5
    rig.raise_(20, pe=1)
    record = rig.gic.arrays.pe[1]
    assert {name: int(record[name]) for name in ("pmr", "hpp", "hpp_priority", "hpp_group", "igrpen", "el")} == {
        "pmr": 0x58, "hpp": 20, "hpp_priority": 0x40, "hpp_group": G1, "igrpen": 5, "el": 1,
    }  # fmt: skip
    assert rig.gic.arrays.redist[1]["bpr"].tolist()[2] == 5
