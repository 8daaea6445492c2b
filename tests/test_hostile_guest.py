"""A guest that tries everything: no access raises or breaks an invariant, whatever the state of the PE.

Each test says how many accesses it made (`pytest -s`, and properties of the JUnit report).
"""

import random
from collections.abc import Callable, Iterator

import pytest

from gicv3 import Frame, GICv3, GICv3Config, Line

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


def fill(gic: GICv3, first: int, count: int, value: int, size: int = 4) -> None:
    """Write one value to registers of the Distributor that follow each other."""
    for offset in range(first, first + count * size, size):
        gic.frame_write(Frame.GICD, offset, value, size, True)


def pend_everything(gic: GICv3, rng: random.Random, route: int) -> None:
    """Every interrupt there can be enabled and pending, in random groups and priorities; the SPIs go one way."""
    for plain, extended, value in (
        (0x80, 0x1000, rng.choice((0, 0xFFFF_FFFF, rng.getrandbits(32)))),  # IGROUPR
        (0xD00, 0x3400, rng.getrandbits(32)),  # IGRPMODR
        (0xF80, 0x3B00, rng.getrandbits(32) & rng.getrandbits(32)),  # INMIR
        (0x100, 0x1200, 0xFFFF_FFFF),  # ISENABLER
        (0x200, 0x1600, 0xFFFF_FFFF),  # ISPENDR
    ):
        fill(gic, plain, 32, value)
        fill(gic, extended, 32, value)
    fill(gic, 0x6100, 988, route, 8)
    fill(gic, 0x8000, 1024, route, 8)
    fill(gic, 0x400 + 4 * rng.randrange(8, 128), 64, rng.getrandbits(32))
    for pe in range(gic.num_pe):
        for offset in (0x80, 0x100, 0x200):
            for word in range(3):
                gic.frame_write(Frame.SGI, offset + 4 * word, 0xFFFF_FFFF, 4, True, pe)


@pytest.mark.parametrize("seed", range(6))
def test_everything_pending_while_pes_come_and_go(seed: int, counted: Counted) -> None:
    rng, cpus, wakes, taken = random.Random(seed), 6, 0, 0
    gic = GICv3(
        GICv3Config(
            cpus=cpus, spis=988, espis=1024, eppis=64, security=True, nmi=True, one_of_n=True, strict=True,
            statusr=True, priority_bits=5 + seed % 4, settle_steps=seed % 3, hpp_rule=("filter", "gate")[seed % 2],
        )
    )

    def registers(pe: int, *names: str) -> None:
        gic.set_context(pe, el=3, secure=True, scr_el3=rng.choice((0, NS)), nmi_enabled=rng.random() < 0.5)
        for name in names:
            gic.sysreg_write(pe, name, rng.choice((0, 3, 3, 0xFF)))

    def serve(pe: int) -> None:
        nonlocal taken
        gic.frame_write(Frame.RD, 0x14, 0, 4, True, pe)
        for scr in (0, NS):
            gic.set_context(pe, el=3, secure=True, scr_el3=scr)
            for name, value in (("PMR_EL1", 0xFF), ("IGRPEN0_EL1", 1), ("IGRPEN1_EL3", 3)):
                gic.sysreg_write(pe, f"ICC_{name}", value)
            for number in range(4):
                gic.sysreg_access(pe, f"ICC_AP0R{number}_EL1", 0)
                gic.sysreg_access(pe, f"ICC_AP1R{number}_EL1", 0)
        for _ in range(4):
            gic.set_context(pe, el=rng.choice((1, 3)), secure=rng.random() < 0.5, nmi_enabled=rng.random() < 0.5)
            for number in (0, 1):
                intid = gic.sysreg_read(pe, f"ICC_IAR{number}_EL1")
                taken += not 1020 <= intid <= 1023
                gic.sysreg_write(pe, f"ICC_EOIR{number}_EL1", intid)

    def one_sleeper(pe: int) -> None:
        gic.frame_write(Frame.GICD, 0, 0x87, 4, True)
        for other in range(cpus):
            gic.frame_write(Frame.RD, 0, 0 if other == pe else 7 << 24, 4, True, other)
        gic.frame_write(Frame.RD, 0x14, 2, 4, True, pe)

    actions: list[Callable[[int], object]] = [
        lambda pe: gic.frame_write(Frame.RD, 0x14, 2, 4, True, pe),
        lambda pe: gic.frame_write(Frame.RD, 0x14, 0, 4, True, pe),
        lambda pe: gic.frame_write(Frame.RD, 0, rng.choice((0, 7, rng.getrandbits(3))) << 24, 4, True, pe),
        lambda pe: gic.frame_write(Frame.GICD, 0, rng.choice((0x87, 0x87, 7, rng.getrandbits(3))), 4, True),
        lambda pe: gic.set_cpustate(pe, None, False),
        lambda pe: gic.set_cpustate(pe, "cpu", True),
        lambda pe: registers(pe, "ICC_IGRPEN0_EL1", "ICC_IGRPEN1_EL3"),
        lambda pe: registers(pe, "ICC_PMR_EL1", "ICC_CTLR_EL3"),
        lambda pe: gic.step(rng.randrange(4)),
        serve,
        serve,
        one_sleeper,
    ]
    for _ in range(8):
        pend_everything(gic, rng, rng.choice((1 << 31, 1 << 31, rng.randrange(cpus))))
        for _ in range(300):
            rng.choice(actions)(rng.randrange(cpus))
            gic.check()
            wakes += any(line & Line.WAKE for line in gic.lines)
    assert wakes > 100
    assert taken > 50
    counted(f"everything pending, seed {seed}", 8 * 300)
