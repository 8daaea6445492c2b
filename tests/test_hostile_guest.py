"""A guest that tries everything: no access raises or breaks an invariant, whatever the state of the PE.

Each test says how many accesses it made (`pytest -s`, and properties of the JUnit report).
"""

import random
from collections.abc import Callable, Iterator

import pytest

from gicv3 import Frame, GICv3, GICv3Config

PRESENT, ASLEEP, ABSENT = range(3)
NS, IRQ, FIQ, EEL2 = 1, 2, 4, 1 << 18
FMO, IMO = 8, 16
# Where a PE executes: its EL, whether Secure, SCR_EL3 and HCR_EL2.
CONTEXTS = [
    (0, False, NS, 0), (1, False, NS, 0), (1, False, NS | IRQ | FIQ, 0), (1, False, NS, IMO | FMO), (2, False, NS, 0),
    (1, True, 0, 0), (1, True, EEL2, IMO | FMO), (3, True, 0, 0), (3, True, NS, 0),
]
Counted = Callable[[str, int], None]


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """Tell how many accesses a test made."""

    def tell(what: str, accesses: int) -> None:
        record_property(what, accesses)
        print(f"\n{what}: {accesses} accesses")

    return tell


def make() -> GICv3:
    """A GIC with every feature, open for interrupts of all groups, with a PE in each state."""
    gic = GICv3(
        GICv3Config(
            cpus=3, spis=988, espis=64, eppis=64, security=True, el2=True, nmi=True, message_spis=True,
            message_frame=0x0A00_0000, range_selector=True, statusr=True, strict=True, one_of_n=True, priority_bits=7,
        )
    )
    gic.dist["GICD_CTLR"] = 7
    for pe in range(3):
        gic.redist[pe]["GICR_WAKER"] = 0
        gic.set_context(pe, el=3, secure=True, scr_el3=NS)
        gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
        gic.pe[pe]["ICC_IGRPEN1_EL3"] = 3
    put_back(gic)
    return gic


def put_back(gic: GICv3) -> None:
    """Let the PEs be what they stand for again: a guest may have woken and put to sleep any that is there."""
    gic.frame_write(Frame.RD, 0x14, 0, 4, True, PRESENT)
    gic.frame_write(Frame.RD, 0x14, 2, 4, True, ASLEEP)
    gic.set_cpustate(ABSENT, None, False)


def values(seed: int) -> Iterator[int]:
    """Values of 64 bits: random, none, all, few."""
    rng = random.Random(seed)
    while True:
        yield from (rng.getrandbits(64), 0, (1 << 64) - 1, rng.getrandbits(64) & rng.getrandbits(64))


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("frame", "index"),
    [(Frame.GICD, 0), (Frame.GICM, 0), *((frame, pe) for frame in (Frame.RD, Frame.SGI) for pe in range(3))],
)
def test_every_offset_of_every_frame_in_every_width(frame: Frame, index: int, secure: bool, counted: Counted) -> None:
    gic = make()
    value, read, write = values(frame).__next__, gic.frame_read, gic.frame_write
    sizes = [(size, 1 << 8 * size) for size in range(1, 9)]
    accesses = 0
    for offset in range(0x1_0000):
        for size, limit in sizes:
            write(frame, offset, value(), size, secure, index)
            assert read(frame, offset, size, secure, index) < limit
            accesses += 2
        if offset % 256 == 0:
            put_back(gic)
        if offset % 4096 == 0:
            gic.check()
    assert 0 < gic.totals()["bad_access"] < accesses
    counted(f"{frame.name} {index} {'Secure' if secure else 'Non-secure'}", accesses)


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_system_register_encoding_of_op0_3(context: tuple[int, bool, int, int], counted: Counted) -> None:
    gic = make()
    el, secure, scr, hcr = context
    value = values(el).__next__
    accesses = 0
    for pe in (PRESENT, ASLEEP, ABSENT):
        gic.set_context(pe, el=el, secure=secure, scr_el3=scr, hcr_el2=hcr)
        for encoding in range(0xC000, 0x1_0000):
            gic.sysreg_access(pe, encoding, value())
            assert gic.sysreg_access(pe, encoding).value < 1 << 64
            accesses += 2
        gic.check()
    counted(f"op0=3 at {context}", accesses)


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_aarch32_encoding(context: tuple[int, bool, int, int], counted: Counted) -> None:
    gic = make()
    el, secure, scr, hcr = context
    value = values(el).__next__
    cp15 = [(a, b, c, d) for a in range(8) for b in range(16) for c in range(16) for d in range(8)]
    mcrr = [(a, b) for a in range(16) for b in range(16)]
    accesses = 0
    for pe in (PRESENT, ASLEEP, ABSENT):
        gic.set_context(pe, el=el, secure=secure, scr_el3=scr, hcr_el2=hcr)
        for encoding in cp15:
            gic.cp15_access(pe, *encoding, value() & 0xFFFF_FFFF)
            assert gic.cp15_access(pe, *encoding).value < 1 << 32
            accesses += 2
        for place in mcrr:
            gic.mcrr_access(pe, *place, value())
            accesses += 1
        gic.check()
    counted(f"AArch32 at {context}", accesses)
