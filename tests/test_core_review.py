"""Behaviour at the edges where the parts meet: finalizers, changed configurations, sleepers, settling, digests."""

import copy
import gc

import pytest

import gicv3
from gicv3 import ConfigError, Frame, GICv3, GICv3Config


def test_a_callback_whose_finalizer_calls_the_gic_can_be_replaced():
    gic = GICv3(GICv3Config(cpus=1))

    class Device:
        def __call__(self, *change):
            pass

        def __del__(self):
            gic.set_spi(32, False)

    gic.on_line = Device()
    gic.on_line = None
    gc.collect()
    gic.check()


def test_garbage_collected_while_changes_are_told_may_call_the_gic():
    gic = GICv3(GICv3Config(cpus=1024))
    finalized = []

    class Garbage:
        def __init__(self):
            self.me = self

        def __del__(self):
            gic.set_ppi(0, 20, False)
            finalized.append(gic.changed())

    told = []
    gic.on_line = lambda pe, line, level: told.append(pe)
    gic.dist["GICD_CTLR"] = 2
    for pe in range(1024):
        gic.redist[pe]["GICR_WAKER"] = 0
        gic.redist[pe]["GICR_IGROUPR0"] = gic.redist[pe]["GICR_ISENABLER0"] = 0xFFFF_FFFF
        gic.pe[pe]["ICC_PMR_EL1"] = 0xF0
        gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1
    limits = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(20):
            Garbage()
        gic.pe[0]["ICC_SGI1R_EL1"] = 1 << 40  # to all others
        gic.changed()
    finally:
        gc.set_threshold(*limits)
    gc.collect()
    assert len(finalized) == 20
    assert told == list(range(1, 1024))


def test_a_configuration_cannot_change_after_it_was_checked():
    regions, affinities = [[0x080A_0000, 2]], [0, 1]
    config = GICv3Config(affinities=affinities, redist_regions=regions)
    regions[0][1] = 1 << 26
    affinities.clear()
    gic = GICv3(config)
    gic.check()
    assert gic.num_pe == config.num_pe == 2
    assert config.affinities == (0, 1)
    assert config.redist_regions == ((0x080A_0000, 2),)
    assert hash(config) == hash(copy.copy(config))


@pytest.mark.parametrize("wrong", [(), (4,), ({"cpus": 4},)])
def test_a_gic_is_made_of_a_configuration(wrong):
    with pytest.raises(TypeError, match=r"GICv3Config|config"):
        GICv3(*wrong)


def one_of_n():
    gic = GICv3(GICv3Config(cpus=2, one_of_n=True))
    gic.dist["GICD_CTLR"] = 0x82  # E1NWF, EnableGrp1
    gic.dist["GICD_IGROUPR", 1] = gic.dist["GICD_ISENABLER", 1] = 1
    gic.dist["GICD_IROUTER", 32] = 1 << 31
    return gic


def take_part(gic, pe):
    gic.redist[pe]["GICR_WAKER"] = 0
    gic.pe[pe]["ICC_PMR_EL1"] = 0xFF
    gic.pe[pe]["ICC_IGRPEN1_EL1"] = 1


def test_an_interrupt_parked_on_a_sleeper_goes_to_the_first_that_takes_part():
    gic = one_of_n()
    gic.set_spi(32, True)
    assert list(gic.lines) == [gicv3.Line.WAKE, 0]
    take_part(gic, 1)
    gic.check()
    assert list(gic.lines) == [0, gicv3.Line.IRQ]
    assert gic.pe[1]["ICC_IAR1_EL1"] == 32


def test_an_interrupt_leaves_a_pe_that_goes_to_sleep_when_another_takes_part():
    gic = one_of_n()
    take_part(gic, 0)
    take_part(gic, 1)
    gic.set_spi(32, True)
    assert gic.pe[0].irq
    gic.redist[0]["GICR_WAKER"] = 2
    gic.check()
    assert list(gic.lines) == [0, gicv3.Line.IRQ]


def test_waking_again_before_sleep_has_settled_shows_children_asleep():
    gic = GICv3(GICv3Config(cpus=1, settle_steps=2))
    redist = gic.redist[0]
    redist["GICR_WAKER"] = 0
    gic.step(2)
    redist["GICR_WAKER"] = 2
    redist["GICR_WAKER"] = 0
    assert redist["GICR_WAKER"] == 4
    gic.check()
    gic.step(2)
    assert redist["GICR_WAKER"] == 0
    gic.check()


def test_the_digest_tells_e1nwf_apart():
    one, other = (GICv3(GICv3Config(cpus=1, one_of_n=True)) for _ in range(2))
    one.dist["GICD_CTLR"] = 0x80
    assert one.state_digest() != other.state_digest()
    one.dist["GICD_CTLR"] = 0
    assert one.state_digest() == other.state_digest()


def test_a_message_frame_may_stand_at_address_0():
    gic = GICv3(GICv3Config(cpus=1, message_spis=True, message_frame=0))
    assert gic.mmio_read(4) == gic.message["GICM_TYPER", 0] == 1 << 31 | 1 << 30 | 32 << 16 | 988
    assert gic.totals()["bad_access"] == 0


def test_restoring_a_pe_after_ds_was_set_recomputes_the_running_priority():
    gic = GICv3(GICv3Config(cpus=1, security=True, nmi=True))
    gic.set_context(0, nmi_enabled=True)
    gic.pe[0]["ICC_AP1R0_EL1"] = 1 << 63
    saved = gic.save_pe(0)
    gic.dist["GICD_CTLR"] = 0x40
    gic.restore_pe(0, saved)
    gic.check()


def test_regions_in_any_order_of_addresses_are_found():
    config = GICv3Config(cpus=6, redist_regions=[(0x9000_0000, 1), (0x080A_0000, 3), (0x8000_0000, 2)])
    gic = GICv3(config)
    starts = [0x9000_0000, 0x080A_0000, 0x080C_0000, 0x080E_0000, 0x8000_0000, 0x8002_0000]
    for pe, start in enumerate(starts):
        typer = gic.mmio_read(start + 8, 8)
        assert typer >> 8 & 0xFFFF == pe
        assert typer >> 4 & 1 == (pe in (0, 3, 5))
        assert gic.mmio_read(start + 0x10000 + 0xC00) == 0xAAAA_AAAA
    assert gic.totals()["bad_access"] == 0
    for outside in (0x080A_0000 - 4, 0x0810_0000, 0x8004_0000, 0x9002_0000, 0x9000_0000 - 4):
        before = gic.totals()["bad_access"]
        assert gic.mmio_read(outside) == 0
        assert gic.totals()["bad_access"] == before + 1


@pytest.mark.parametrize("crm_op2", [(11, 5), (11, 6), (11, 7), (9, 5)])
def test_registers_without_an_mrc_form_are_undefined_in_aarch32(crm_op2):
    gic = GICv3(GICv3Config(cpus=2, nmi=True))
    gic.set_context(0, nmi_enabled=True)
    value = None if crm_op2 == (9, 5) else 1 | 3 << 24
    assert gic.cp15_access(0, 0, 12, *crm_op2, value).kind == "undefined"
    assert gic.frame_read(Frame.SGI, 0x200, index=1) == 0


def test_rewriting_gicd_ctlr_unchanged_changes_nothing():
    gic = GICv3(GICv3Config(cpus=2, settle_steps=1))
    gic.dist["GICD_CTLR"] = 3
    digest = gic.state_digest()
    gic.dist["GICD_CTLR"] = 3
    assert gic.state_digest() == digest


def test_a_keyboard_interrupt_in_a_callback_stops_the_drain_and_loses_no_later_change():
    gic = one_of_n()
    take_part(gic, 0)
    told = []

    def callback(pe, line, level):
        told.append((pe, level))
        if len(told) == 1:
            gic.set_spi(32, False)
            raise KeyboardInterrupt

    gic.on_line = callback
    with pytest.raises(KeyboardInterrupt):
        gic.set_spi(32, True)
    assert told == [(0, True)]
    gic.set_ppi(1, 20, True)  # any call drains what waits
    assert told == [(0, True), (0, False)]


def test_errors_name_every_frame():
    with pytest.raises(ConfigError, match=r"GICD, RD, SGI, GICM, GITS or GITS_TRANS \(0\.\.5\), got 6"):
        GICv3(GICv3Config(cpus=1)).frame_read(6, 0)
    with pytest.raises(ConfigError, match="its must be below 0, the number of ITSs, got 0"):
        GICv3(GICv3Config(cpus=1)).frame_read(4, 0)
