"""Random sequences through the public API with the invariants checked after each step, and a hostile guest."""

import random

import pytest
from player import CONFIGS, Player

from gicv3 import Frame, GICv3, GICv3Config
from gicv3.registers import REGISTERS

configs = pytest.mark.parametrize("name", CONFIGS)


@configs
@pytest.mark.parametrize("seed", range(3))
def test_the_invariants_hold_after_every_random_step(name: str, seed: int) -> None:
    gic = GICv3(GICv3Config(**CONFIGS[name]))
    player = Player(gic, seed)
    player.open_everything()
    mirror = [0] * gic.num_pe
    gic.on_line = lambda pe, line, level: mirror.__setitem__(pe, mirror[pe] & ~line | (line if level else 0))
    for _ in range(1200):
        player.step()
        gic.check()
        assert mirror == list(gic.lines)
    assert sum(sum(gic.counters(pe).values()) for pe in range(gic.num_pe)) > 30, "the sequence exercises delivery"


@configs
def test_the_same_sequence_leads_to_the_same_state(name: str) -> None:
    digests = set()
    for _ in range(2):
        gic = GICv3(GICv3Config(**CONFIGS[name]))
        player = Player(gic, 77)
        player.open_everything()
        for _ in range(1500):
            player.step()
        digests.add(gic.state_digest())
    assert len(digests) == 1


def visible(gic: GICv3) -> list[int]:
    """What software and the embedder see of a GIC without changing it."""
    frames = [gic.frame_read(row.frame, row.offset + 4 * element, 4, True, pe) for row in REGISTERS
              if not row.needs and row.access != "WO"
              for element in range(min(row.count, 4)) for pe in range(gic.num_pe)]
    names = ("PMR", "RPR", "AP0R0", "AP1R0", "BPR0", "BPR1", "CTLR", "IGRPEN0", "IGRPEN1", "HPPIR0", "HPPIR1")
    registers = [pe[f"ICC_{name}_EL1"] for pe in gic.pe for name in names]
    return [*frames, *registers, *gic.lines, *(n for pe in range(gic.num_pe) for n in gic.counters(pe).values())]


@pytest.mark.parametrize("name", ["one_state", "two_states"])
@pytest.mark.parametrize("seed", range(4))
def test_the_short_path_of_acknowledge_and_eoi_gives_what_the_general_one_gives(name: str, seed: int) -> None:
    """Strict mode has no short path and records without changing anything."""
    players = [Player(GICv3(GICv3Config(**CONFIGS[name], strict=strict)), seed) for strict in (False, True)]
    for player in players:
        player.open_everything()
    for number in range(1500):
        for player in players:
            player.step()
        assert list(players[0].gic.lines) == list(players[1].gic.lines)
        assert players[0].taken == players[1].taken
        if number % 50 == 0:
            assert visible(players[0].gic) == visible(players[1].gic)
    assert visible(players[0].gic) == visible(players[1].gic)


@configs
def test_reset_of_everything_leads_back_to_a_fresh_gic(name: str) -> None:
    fresh = GICv3(GICv3Config(**CONFIGS[name])).state_digest()
    gic = GICv3(GICv3Config(**CONFIGS[name]))
    player = Player(gic, 5)
    for _ in range(1500):
        player.step()
    for intid in player.spis:
        gic.set_spi(intid, False)
    for pe in range(gic.num_pe):
        gic.set_cpustate(pe, None, False)
        gic.set_cpustate(pe, None, True)
    gic.reset()
    assert gic.state_digest() == fresh


@configs
@pytest.mark.parametrize("secure", [False, True])
def test_a_hostile_guest_reaches_every_offset_with_every_size(name: str, secure: bool) -> None:
    rng = random.Random(secure)
    gic = GICv3(GICv3Config(**CONFIGS[name]))
    player = Player(gic, 1)
    player.open_everything()
    last = gic.num_pe - 1
    gic.set_cpustate(0, None, False)
    frames = [Frame.GICD, Frame.RD, Frame.SGI, *([Frame.GICM] if gic.config.message_frame else [])]
    accesses = 0
    for frame in frames:
        for offset in range(0x1_0000):
            size = offset % 8 + 1
            index = last if offset & 8 else 0
            gic.frame_write(frame, offset, rng.getrandbits(64), size, secure, index)
            assert gic.frame_read(frame, offset, size, secure, index) < 1 << 8 * size
            accesses += 2
        gic.check()
    for row in REGISTERS:
        if row.frame not in frames:
            continue
        for size in range(1, 9):
            for shift in range(8):
                offset = row.offset + shift + row.width // 8 * rng.randrange(row.count)
                gic.frame_write(row.frame, offset, rng.getrandbits(64), size, secure, last)
                assert gic.frame_read(row.frame, offset, size, secure, last) < 1 << 8 * size
        gic.check()
    assert 0 < gic.totals()["bad_access"] < accesses + 2 * 64 * len(REGISTERS)


@pytest.mark.parametrize("secure", [False, True])
def test_random_physical_addresses_never_raise(secure: bool) -> None:
    rng = random.Random(9)
    gic = GICv3(GICv3Config(**CONFIGS["everything"]))
    bases = [0x0800_0000, 0x080A_0000, 0x0A00_0000, 0, 1 << 52, (1 << 64) - 0x20_0000]
    for _ in range(20_000):
        address = rng.choice(bases) + rng.randrange(0x10_0000)
        size = rng.randrange(10)
        gic.mmio_write(address, rng.getrandbits(64), size, secure, rng.randrange(4))
        assert gic.mmio_read(address, size, secure, rng.randrange(4)) < 1 << 8 * max(size, 1)
    gic.check()
