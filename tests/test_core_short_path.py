"""The short path of acknowledge and EOI gives what the general path gives.

Strict mode turns the short path off and changes nothing that software sees, so two GICs that differ in it must agree on
every value, line and state after every operation.
"""

import random

import pytest

import gicv3

NAMES = ("ICC_IAR0_EL1", "ICC_HPPIR1_EL1", "ICC_RPR_EL1", "ICC_AP1R0_EL1", "ICC_PMR_EL1", "ICC_BPR1_EL1")
PRIORITIES = (0x80, 0x88, 0xA0, 0xC0)
PPIS = (18, 27, 30)  # few, so that something happens to those that are active or pending
SPIS = (32, 40, 43, 71, 95)
OPERATIONS = 1500


class Both:
    """The same calls on a GIC with the short path and on one without."""

    def __init__(self, **config):
        config |= {"cpus": 4, "spis": 64}
        self.gics = [gicv3.GICv3(gicv3.GICv3Config(strict=strict, **config)) for strict in (False, True)]

    def __call__(self, name, *args):
        short, general = (getattr(gic, name)(*args) for gic in self.gics)
        assert short == general, (name, args)
        return short

    def ack_eoi(self, pe):
        short, general = (gic.batch.ack_eoi([pe]).tolist() for gic in self.gics)
        assert short == general, pe
        return short[0] < 1020

    def compare(self):
        short, general = self.gics
        assert list(short.lines) == list(general.lines)
        for pe in range(4):
            assert short.counters(pe) == general.counters(pe)
            for name in ("ICC_RPR_EL1", "ICC_HPPIR1_EL1"):
                self("sysreg_read", pe, name)
        for gic in self.gics:
            gic.check()


def bring_up(both, rng):
    """Everything enabled, in random groups and at few priorities; every PE awake with nothing active."""
    frame = gicv3.Frame
    both("frame_write", frame.GICD, 0, 7, 4, True)
    for word in (1, 2):
        both("frame_write", frame.GICD, 0x80 + 4 * word, rng.getrandbits(32) | 0xF0F0_F0F0, 4, True)
        both("frame_write", frame.GICD, 0x100 + 4 * word, 0xFFFF_FFFF, 4, True)
        both("frame_write", frame.GICD, 0x380 + 4 * word, 0xFFFF_FFFF, 4, True)
        both("frame_write", frame.GICD, 0xC00 + 8 * word, rng.getrandbits(32), 4, True)
    for intid in range(32, 96):
        both("frame_write", frame.GICD, 0x6000 + 8 * intid, intid % 4, 8, True)
        both("frame_write", frame.GICD, 0x400 + intid, rng.choice(PRIORITIES), 1, True)
    for pe in range(4):
        both("set_cpustate", pe, None, True)
        both("reset_cpuif", pe)
        both("frame_write", frame.RD, 0x14, 0, 4, True, pe)
        both("frame_write", frame.SGI, 0x380, 0xFFFF_FFFF, 4, True, pe)
        both("frame_write", frame.SGI, 0x80, rng.getrandbits(32) | 0x0F0F_0F0F, 4, True, pe)
        both("frame_write", frame.SGI, 0x100, 0xFFFF_FFFF, 4, True, pe)
        both("frame_write", frame.SGI, 0xC04, rng.getrandbits(32), 4, True, pe)
        for n in range(32):
            both("frame_write", frame.SGI, 0x400 + n, rng.choice(PRIORITIES), 1, True, pe)
        both("sysreg_write", pe, "ICC_PMR_EL1", 0xF8)
        both("sysreg_write", pe, "ICC_IGRPEN0_EL1", 1)
        both("sysreg_write", pe, "ICC_IGRPEN1_EL1", 1)


def operate(both, rng, active, saved, security):
    """One random operation; the interrupts that each PE has taken are in `active`."""
    frame = gicv3.Frame
    pe = rng.randrange(4)
    kind = rng.randrange(100)
    if kind < 16:
        both("set_ppi", pe, rng.choice(PPIS), rng.random() < 0.6)
    elif kind < 30:
        both("set_spi", rng.choice(SPIS), rng.random() < 0.6)
    elif kind < 32:
        both("pulse_ppi", pe, rng.choice(PPIS))
        both("pulse_spi", rng.choice(SPIS))
    elif kind < 38:
        both("sysreg_write", pe, "ICC_SGI1R_EL1", rng.getrandbits(4) << 24 | rng.choice((1 << 40, rng.getrandbits(4))))
    elif kind < 43:
        return both.ack_eoi(pe)
    elif kind < 58:
        intid = both("sysreg_read", pe, "ICC_IAR1_EL1" if rng.random() < 0.9 else "ICC_IAR0_EL1")
        if intid < 1020:
            active[pe].append(intid)
            return 1
    elif kind < 76:
        intid = active[pe].pop() if active[pe] and rng.random() < 0.95 else rng.choice((0, 20, 33, 1023, 5000))
        both("sysreg_write", pe, "ICC_EOIR1_EL1" if rng.random() < 0.95 else "ICC_EOIR0_EL1", intid)
    elif kind < 79:
        both("sysreg_read", pe, rng.choice(NAMES))
    elif kind < 82:
        both("sysreg_write", pe, "ICC_PMR_EL1", rng.choice((0xF8, 0xF8, 0xA0)))
        both("sysreg_write", pe, rng.choice(("ICC_BPR1_EL1", "ICC_BPR0_EL1")), rng.choice((3, 4, 5, 7)))
    elif kind < 84:
        both("sysreg_write", pe, "ICC_CTLR_EL1", rng.choice((0, 0, 1, 2, 3)))
        both("sysreg_write", pe, "ICC_DIR_EL1", active[pe][-1] if active[pe] else 33)
    elif kind < 90:  # enable or disable, pend or not, make active or not: some of each word
        offset = rng.choice((0x100, 0x100, 0x180, 0x180, 0x200, 0x280, 0x300, 0x380, 0x380))
        both("frame_write", frame.SGI, offset, 1 << rng.choice(PPIS), 4, True, pe)
        both("frame_write", frame.GICD, offset + 4 * rng.choice((1, 2)), 1 << rng.choice(SPIS) % 32, 4, True)
    elif kind < 93:  # a message, where there are any
        both("frame_write", frame.GICD, rng.choice((0x40, 0x40, 0x48)), rng.choice(SPIS), 4, True)
    elif kind < 94:
        both("frame_write", frame.RD, 0x14, rng.choice((0, 0, 2)), 4, True, pe)
    elif kind < 95:
        both("set_cpustate", pe, None, rng.random() < 0.7)
    elif kind < 97:
        saved[pe] = [gic.save_pe(pe) for gic in both.gics]
    elif kind < 98 and saved.get(pe):
        for gic, state in zip(both.gics, saved[pe]):
            gic.restore_pe(pe, state)
    elif kind < 99:
        both("frame_write", frame.GICD, 0, rng.choice((7, 7, 7, 5, 3, 0x47)), 4, True)
    elif security:
        both("set_context", pe, rng.choice((1, 1, 3)), rng.random() < 0.3)
    return 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "config",
    [{}, {"security": True}, {"one_of_n": True}, {"message_spis": True}, {"apr_rule": "bpr"}, {"hpp_rule": "gate"}],
    ids=str,
)
def test_the_short_path_agrees_with_the_general_one(config, seed):
    rng = random.Random(seed)
    both = Both(**config)
    security = config.get("security", False)
    active = [[], [], [], []]
    saved = {}
    taken = 0
    for step in range(OPERATIONS):
        if step % 75 == 0:
            bring_up(both, rng)
            active = [[], [], [], []]
        taken += operate(both, rng, active, saved, security)
        both.compare()
    assert taken > 75
