"""IMPLEMENTATION DEFINED choices of GICv3Config show where the architecture lets them show."""

import random

import pytest

import gicv3


def taking(**config):
    """A GIC whose PE 0 takes any Group 1 SPI."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=2, spis=988, **config))
    gic.dist["GICD_CTLR"] = 2
    gic.redist[0]["GICR_WAKER"] = 0
    for word in range(1, 32):
        gic.dist["GICD_IGROUPR", word] = 0xFFFF_FFFF
        gic.dist["GICD_ISENABLER", word] = 0xFFFF_FFFF
    gic.pe[0]["ICC_PMR_EL1"] = 0xFF
    gic.pe[0]["ICC_IGRPEN1_EL1"] = 1
    return gic


@pytest.mark.parametrize(("tie", "order"), [("lowest", False), ("highest", True)])
def test_the_tie_rule_orders_equal_priorities(tie, order):
    gic = taking(tie=tie)
    gic.redist[0]["GICR_IGROUPR0"] = gic.redist[0]["GICR_ISENABLER0"] = 0xFFFF_FFFF
    intids = random.Random(5).sample(range(32, 1020), 60)
    for intid in intids:
        gic.set_spi(intid, True)
    gic.set_ppi(0, 27, True)
    gic.check()
    taken = []
    while (intid := gic.pe[0]["ICC_IAR1_EL1"]) != 1023:
        taken.append(intid)
        if intid == 27:
            gic.set_ppi(0, 27, False)
        else:
            gic.set_spi(intid, False)
        gic.pe[0]["ICC_EOIR1_EL1"] = intid
        gic.check()
    assert taken == sorted([*intids, 27], reverse=order)


def test_without_aff3_the_type_registers_say_so_and_the_affinities_must_follow():
    gic = taking(aff3=False)
    assert not gic.dist["GICD_TYPER"] >> 24 & 1
    assert not gic.pe[0]["ICC_CTLR_EL1"] >> 15 & 1
    assert taking().dist["GICD_TYPER"] >> 24 & 1
    with pytest.raises(gicv3.ConfigError, match="Aff3 = 0 with aff3=False, got 0x100000000"):
        gicv3.GICv3Config(affinities=[0, 1 << 32], aff3=False)


@pytest.mark.parametrize(("id_bits", "field"), [(10, 0), (16, 0), (17, 1), (24, 1)])
@pytest.mark.parametrize("name", ["ICC_CTLR_EL1", "ICC_CTLR_EL3"])
def test_the_cpu_interface_has_as_many_intid_bits_as_the_distributor_needs(id_bits, field, name):
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=1, security=True, id_bits=id_bits))
    gic.set_context(0, el=3, secure=True)
    assert gic.pe[0][name] >> 11 & 7 == field


@pytest.mark.parametrize(("route", "irq"), [("nowhere", False), ("first", True)])
def test_an_affinity_that_no_pe_has_leads_nowhere_or_to_the_first_pe(route, irq):
    gic = taking(unknown_route=route)
    gic.dist["GICD_IROUTER", 40] = 0xAB00
    gic.set_spi(40, True)
    assert gic.pe[0].irq is irq
    assert gic.dist["GICD_IROUTER", 40] == 0xAB00
    gic.check()
    gic.dist["GICD_IROUTER", 40] = gic.affinity(1)
    assert not gic.pe[0].irq


def test_identification_registers_are_the_configured_ones():
    identity = [[n + 16 * frame for n in range(8)] for frame in range(3)]
    gic = taking(iidr=0x1234_5678, pidr=identity, message_spis=True, message_frame=0x0802_0000)
    for frame, (view, prefix) in enumerate([(gic.dist, "GICD"), (gic.redist[1], "GICR"), (gic.message, "GICM")]):
        low = [view[f"{prefix}_PIDR0", n] for n in range(4)]
        high = [view[f"{prefix}_PIDR4", n] for n in range(4, 8)]
        assert low + high == identity[frame]
        assert view[f"{prefix}_IIDR"] == 0x1234_5678
    with pytest.raises(gicv3.ConfigError, match="three sequences of eight bytes"):
        gicv3.GICv3Config(cpus=1, pidr=[[0] * 8] * 2)


def test_a_group_disabled_at_the_cpu_interface_hides_others_only_by_the_gate_rule():
    """Architecture notes 2.5: ICC_IGRPEN as a filter before the choice, or a gate after it."""
    for rule, seen in (("filter", 40), ("gate", 1023)):
        gic = taking(hpp_rule=rule)
        gic.dist["GICD_CTLR"] = 3
        gic.dist["GICD_IGROUPR", 1] = 0xFFFF_FFFF & ~(1 << 1)  # INTID 33 in Group 0, which the PE has disabled
        gic.set_spi(33, True)
        gic.dist["GICD_IPRIORITYR", 10] = 0x80
        gic.set_spi(40, True)
        assert gic.pe[0]["ICC_HPPIR1_EL1"] == seen, rule
        assert gic.pe[0].irq is (seen == 40)
