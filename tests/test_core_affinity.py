"""From an MPIDR to a PE: every assignment of affinities, at every size, in a bounded number of steps."""

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rig import G1, Rig

from gicv3 import ConfigError, Frame, GICv3, GICv3Config, Line

MOST = 65536


def mpidr(packed: int) -> int:
    """Aff3.Aff2.Aff1.Aff0 in 32 bits to MPIDR form."""
    return (packed & 0xFF00_0000) << 8 | packed & 0xFF_FFFF


SPARSE = random.Random(3).sample(range(1 << 32), MOST)
ASSIGNMENTS: dict[str, Sequence[int]] = {
    "aff0_only": range(256),
    "aff1_only": [n << 8 for n in range(256)],
    "aff2_only": [n << 16 for n in range(256)],
    "aff3_only": [n << 24 for n in range(256)],
    "aff3_and_aff0": [(n >> 4) << 24 | n & 15 for n in range(4096)],
    "aff3_and_aff2": [n << 16 for n in range(MOST)],
    "dense": range(MOST),
    "dense_from_the_top": range((1 << 32) - MOST, 1 << 32),
    "one_pe_a_cluster": [n << 8 for n in range(MOST)],
    "sparse": SPARSE,
    "backwards": range(4095, -1, -1),
    "one": [0xFFFF_FFFF],
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_every_pe_is_found_by_its_full_affinity_and_nobody_else(name: str) -> None:
    packed = ASSIGNMENTS[name]
    gic = GICv3(GICv3Config(affinities=[mpidr(value) for value in packed], spis=0))
    assert gic.num_pe == len(packed)
    taken = set(packed)
    for pe, value in enumerate(packed):
        assert gic.proc_num(mpidr(value)) == pe
        assert gic.affinity(pe) == mpidr(value)
        for bit in (0, 8, 16, 24, 31):
            if value ^ 1 << bit not in taken:
                assert gic.proc_num(mpidr(value ^ 1 << bit)) == -1


def test_65536_pes_come_in_clusters_of_sixteen_by_default() -> None:
    gic = GICv3(GICv3Config(cpus=MOST))
    gic.check()
    for pe in (0, 1, 15, 16, 255, 256, 4095, 4096, MOST - 1):
        affinity = pe % 16 | (pe // 16 % 256) << 8 | (pe // 4096) << 16
        assert gic.affinity(pe) == affinity
        assert gic.proc_num(affinity) == pe
        assert gic.frame_read(Frame.RD, 8, 8, index=pe) >> 32 == affinity
        assert gic.frame_read(Frame.RD, 8, 8, index=pe) >> 8 & 0xFFFF == pe
        assert gic.frame_read(Frame.RD, 8, index=pe) >> 4 & 1 == (pe == MOST - 1)
    assert gic.proc_num(16) == -1
    assert gic.proc_num(MOST // 4096 << 16) == -1
    assert len(gic.lines) == MOST
    assert len(gic.pe) == len(gic.redist) == MOST


def test_the_last_of_65536_pes_receives_interrupts() -> None:
    rig = Rig(MOST, ready=False)
    gic, last = rig.gic, MOST - 1
    gic.dist["GICD_CTLR"] = 3
    for pe in (0, last):
        rig.bring_up(pe)
        rig.prepare(5, pe)
    rig.prepare(40, last, priority=0x40)
    rig.raise_(40)
    rig.sgi(5, 1 << 15, cluster=gic.affinity(last) & ~0xF)
    assert rig.line(last) == Line.IRQ
    assert gic.changed() == [last]
    assert rig.iar(pe=last) == 40
    rig.eoi(40, pe=last)
    rig.raise_(40, False)
    rig.eoi(40, pe=last)
    rig.sgi(5, all_others=True, pe=last)
    assert rig.line(0) == Line.IRQ


@pytest.mark.parametrize("bit", [24, 25, 30, 31, *range(40, 64)])
def test_bits_outside_the_affinity_fields_find_no_pe(bit: int) -> None:
    gic = GICv3(GICv3Config(affinities=[0, 0xFF_00FF_FFFF]))
    for pe in range(2):
        assert gic.proc_num(gic.affinity(pe)) == pe
        assert gic.proc_num(gic.affinity(pe) | 1 << bit) == -1


@pytest.mark.parametrize("first", [0, 0x1F, 0xFF_00FF_FFFF])
def test_two_pes_of_one_affinity_are_refused(first: int) -> None:
    with pytest.raises(ConfigError, match=f"distinct, got {first:#x} twice"):
        GICv3(GICv3Config(affinities=[first, 1, 2, first]))


def hash_of_the_core() -> Callable[[int], int]:
    """affinity_hash() of the core as Python: its source is plain arithmetic on 32 bits."""
    source = (Path(__file__).parent.parent / "gicv3" / "core" / "affinity.pxi").read_text()
    found = re.search(r"u32 affinity_hash\(u32 affinity\).*?\"\"\".*?\"\"\"\n(.*?)\n\n", source, re.DOTALL)
    assert found is not None
    body = re.sub(r"(0x[0-9A-F]+)U", r"\1", found[1]).replace("return", "affinity =")
    lines = [f"{line}\n    affinity &= 0xFFFFFFFF" for line in body.splitlines()]
    scope: dict[str, Callable[[int], int]] = {}
    exec("\n".join(["def affinity_hash(affinity):", *lines, "    return affinity"]), scope)
    return scope["affinity_hash"]


def probes(affinities: Sequence[int]) -> list[int]:
    """Steps that each look-up takes in the core's table: open addressing, a power of two, at most half full."""
    affinity_hash = hash_of_the_core()
    size = 16
    while size < 2 * len(affinities):
        size *= 2
    table: set[int] = set()
    counts = []
    for value in affinities:
        place = affinity_hash(value) & size - 1
        steps = 1
        while place in table:
            place = place + 1 & size - 1
            steps += 1
        table.add(place)
        counts.append(steps)
    return counts


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_lookup_takes_a_few_steps_for_every_assignment(name: str) -> None:
    counts = probes(ASSIGNMENTS[name])
    assert sum(counts) / len(counts) < 2
    assert max(counts) <= 40


def test_a_32_bit_affinity_routes_spis_and_sgis() -> None:
    packed = (0x0000_0000, 0x0100_0000, 0x0001_0000, 0x0000_0100, 0x0000_0001, 0x0101_0101)
    affinities = [mpidr(value) for value in packed]
    rig = Rig(affinities=affinities)
    for pe, affinity in enumerate(affinities):
        for intid in (40, 5):
            rig.prepare(intid, pe, group=G1)
        assert rig.gic.dist["GICD_IROUTER", 40] == affinity
        rig.raise_(40)
        assert [rig.line(other) != 0 for other in range(6)] == [other == pe for other in range(6)]
        rig.raise_(40, False)
        rig.sgi(5, 1 << (affinity & 0xFF), cluster=affinity & ~0xFF)
        assert [rig.pending(5, other) for other in range(6)] == [other == pe for other in range(6)]
        rig.write_bit("ICPENDR", 5, pe)
