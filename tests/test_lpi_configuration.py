"""Configuration bytes of LPIs: priority and enable, when they are read, and how long they are kept."""

from collections.abc import Callable

import pytest

from gicv3 import Line
from tests.lpis import FIRST, RAM, LpiRig


def test_priority_has_the_implemented_bits_and_ties_go_by_intid() -> None:
    for bits, expected in ((4, 0x50), (5, 0x58), (6, 0x5C), (8, 0x5C)):
        rig = LpiRig(priority_bits=bits)
        rig.configure(FIRST, 0x5D)
        rig.lpi(FIRST)
        assert rig.iar() == FIRST
        assert rig.gic.pe[0]["ICC_RPR_EL1"] == expected, bits
    rig = LpiRig(priority_bits=5)
    rig.configure(FIRST, 0x5D)  # bit 2 is not implemented: equal to the next
    rig.configure(FIRST + 1, 0x59)
    rig.lpi(FIRST + 1, FIRST)
    assert rig.take_all() == [FIRST, FIRST + 1]


def test_the_highest_intid_goes_first_if_so_configured() -> None:
    rig = LpiRig(tie="highest")
    rig.lpi(FIRST, FIRST + 4096, FIRST + 63, FIRST + 64)
    assert rig.take_all() == [FIRST + 4096, FIRST + 64, FIRST + 63, FIRST]


def test_with_two_security_states_priorities_are_in_the_lower_half_until_ds_is_set() -> None:
    rig = LpiRig(security=True, priority_bits=5)
    rig.configure(FIRST, 0x41)
    rig.configure(FIRST + 1, 0x49)
    rig.configure(FIRST + 2, 0x45)  # 0xA2 and 0xA0 are one level with 5 bits
    rig.lpi(FIRST + 1, FIRST, FIRST + 2)
    rig.nonsecure()
    assert rig.iar() == FIRST
    assert rig.gic.pe[0]["ICC_RPR_EL1"] == 0xA0
    rig.eoi(FIRST)
    assert rig.hppir() == FIRST + 1  # 0xA4 and 0xA2: one level as well, 0xA0
    rig.lpi(FIRST)
    rig.gic.dist["GICD_CTLR"] = 0x50
    rig.gic.dist["GICD_CTLR"] = 0x2
    assert rig.iar() == FIRST
    assert rig.gic.pe[0]["ICC_RPR_EL1"] == 0x40
    rig.eoi(FIRST)
    assert rig.take_all() == [FIRST + 2, FIRST + 1]


def test_a_disabled_lpi_stays_pending_until_it_is_enabled_and_invalidated() -> None:
    rig = LpiRig(config=0xA0)
    rig.lpi(FIRST)
    assert (rig.lpis(), rig.line()) == ([FIRST], 0)
    rig.configure(FIRST, 0xA1)
    assert rig.line() == 0
    rig.gic.redist[0]["GICR_INVLPIR"] = FIRST
    assert rig.line() == Line.IRQ
    rig.configure(FIRST, 0xA0, 0)
    assert rig.line() == 0
    assert rig.lpis() == [FIRST]


Invalidate = Callable[[LpiRig], None]


def by_lpi(rig: LpiRig) -> None:
    rig.gic.redist[0]["GICR_INVLPIR"] = FIRST


def by_all(rig: LpiRig) -> None:
    rig.gic.redist[0]["GICR_INVALLR"] = 0


def by_enabling(rig: LpiRig) -> None:
    rig.enable_lpis(on=False)
    rig.enable_lpis()


@pytest.mark.parametrize("invalidate", [by_lpi, by_all, by_enabling])
@pytest.mark.parametrize("pending", [False, True])
def test_a_configuration_byte_is_cached_until_it_is_invalidated(pending: bool, invalidate: Invalidate) -> None:
    rig = LpiRig()
    rig.lpi(FIRST, FIRST + 1)
    rig.take_all()
    if pending:
        rig.lpi(FIRST)
    rig.configure(FIRST, 0x41)
    rig.configure(FIRST + 1, 0x41)
    rig.lpi(FIRST)
    assert rig.gic.explain(FIRST, 0).delivered
    assert rig.iar() == FIRST
    assert rig.rpr() == 0xA0
    rig.eoi(FIRST)
    if pending:
        rig.lpi(FIRST)
    invalidate(rig)
    rig.lpi(FIRST)
    rig.lpi(FIRST + 1)
    assert rig.iar() == FIRST
    assert rig.rpr() == 0x40
    rig.eoi(FIRST)
    assert rig.iar() == FIRST + 1
    assert rig.rpr() == (0xA0 if invalidate is by_lpi else 0x40)


def test_live_configuration_is_read_whenever_an_lpi_becomes_pending() -> None:
    rig = LpiRig(lpi_config="live")
    rig.lpi(FIRST)
    assert rig.take_all() == [FIRST]
    rig.configure(FIRST, 0x41)
    rig.lpi(FIRST)
    assert rig.iar() == FIRST
    assert rig.rpr() == 0x40


def test_a_redistributor_with_a_table_of_its_own_reads_it() -> None:
    rig = LpiRig(2, enable=False)
    other = RAM + 0x30_0000
    rig.ram[0x30_0000] = 0x21
    rig.gic.redist[1]["GICR_PROPBASER"] = other | 15
    rig.enable_lpis(0)
    rig.enable_lpis(1)
    for _ in range(2):
        for pe, prio in ((0, 0xA0), (1, 0x20)):
            rig.lpi(FIRST, pe=pe)
            assert rig.iar(pe=pe) == FIRST
            assert rig.rpr(pe) == prio
            rig.eoi(FIRST, pe=pe)


def test_one_lpi_can_be_pending_at_several_pes_with_what_each_knew_of_it() -> None:
    rig = LpiRig(3)
    for pe in range(3):
        rig.lpi(FIRST, pe=pe)
    rig.configure(FIRST, 0x41, 1)
    assert [rig.iar(pe=pe) for pe in range(3)] == [FIRST] * 3
    assert [rig.rpr(pe) for pe in range(3)] == [0xA0, 0x40, 0xA0]
    assert all(rig.lpis(pe) == [] for pe in range(3))
