"""`explain` names the gate that a user should look at first, and agrees with the output lines."""

import pytest

import gicv3

GROUP1 = 0xFFFF_FFFF
PPI, SPI, SGI = 27, 40, 3


def ready(**config):
    """A GIC whose PE 1 would take any Group 1 interrupt: the starting point that each mistake spoils."""
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=4, spis=64, **config))
    gic.dist["GICD_CTLR"] = 0x7
    redist = gic.redist[1]
    redist["GICR_WAKER"] = 0
    redist["GICR_IGROUPR0"] = GROUP1
    redist["GICR_ISENABLER0"] = GROUP1
    gic.dist["GICD_IGROUPR", 1] = GROUP1
    gic.dist["GICD_ISENABLER", 1] = GROUP1
    gic.dist["GICD_IROUTER", SPI] = gic.affinity(1)
    pe = gic.pe[1]
    pe["ICC_PMR_EL1"] = 0xF0
    pe["ICC_IGRPEN1_EL1"] = 1
    return gic


def raised(gic):
    gic.set_spi(SPI, True)
    gic.set_ppi(1, PPI, True)
    return gic


def group_disabled_in_the_distributor(gic):
    gic.dist["GICD_CTLR"] = 0
    raised(gic)


def group_disabled_at_the_cpu_interface(gic):
    gic.pe[1]["ICC_IGRPEN1_EL1"] = 0
    raised(gic)


def pmr_left_at_zero(gic):
    gic.pe[1]["ICC_PMR_EL1"] = 0
    raised(gic)


def waker_never_woken(gic):
    gic.redist[1]["GICR_WAKER"] = 2
    raised(gic)


def routed_to_the_wrong_affinity(gic):
    gic.dist["GICD_IROUTER", SPI] = gic.affinity(2)
    raised(gic)


def routed_to_an_affinity_that_nobody_has(gic):
    gic.dist["GICD_IROUTER", SPI] = 0xFF00
    raised(gic)


def not_enabled(gic):
    gic.dist["GICD_ICENABLER", 1] = GROUP1
    raised(gic)


def pulsed_but_configured_as_level(gic):
    gic.pulse_spi(SPI)


def held_but_configured_as_edge_and_taken(gic):
    gic.dist["GICD_ICFGR", 2] = GROUP1
    gic.set_spi(SPI, True)
    gic.pe[1]["ICC_EOIR1_EL1"] = gic.pe[1]["ICC_IAR1_EL1"]


def sgi_to_an_absent_vcpu(gic):
    gic.set_cpustate(1, None, False)
    gic.pe[0]["ICC_SGI1R_EL1"] = SGI << 24 | 1 << 1


def eoimode_set_but_no_dir(gic):
    gic.pe[1]["ICC_CTLR_EL1"] = 2
    gic.set_spi(SPI, True)
    gic.pe[1]["ICC_EOIR1_EL1"] = gic.pe[1]["ICC_IAR1_EL1"]


def no_eoi_at_all(gic):
    gic.set_spi(SPI, True)
    assert gic.pe[1]["ICC_IAR1_EL1"] == SPI


def masked_by_what_is_active(gic):
    gic.redist[1].__setitem__(("GICR_IPRIORITYR", PPI // 4), 0x20 << 8 * (PPI % 4))
    gic.dist["GICD_IPRIORITYR", SPI // 4] = 0x80
    gic.set_ppi(1, PPI, True)
    assert gic.pe[1]["ICC_IAR1_EL1"] == PPI
    gic.set_spi(SPI, True)


def behind_another_interrupt(gic):
    gic.dist["GICD_IPRIORITYR", SPI // 4] = 0x80
    raised(gic)


@pytest.mark.parametrize(
    ("mistake", "intid", "gate"),
    [
        (group_disabled_in_the_distributor, SPI, "group enable"),
        (group_disabled_at_the_cpu_interface, SPI, "CPU interface enable"),
        (pmr_left_at_zero, PPI, "priority mask"),
        (waker_never_woken, PPI, "awake"),
        (routed_to_the_wrong_affinity, SPI, "routing"),
        (routed_to_an_affinity_that_nobody_has, SPI, "routing"),
        (not_enabled, SPI, "enabled"),
        (pulsed_but_configured_as_level, SPI, "pending"),
        (held_but_configured_as_edge_and_taken, SPI, "pending"),
        (sgi_to_an_absent_vcpu, SGI, "accessible"),
        (eoimode_set_but_no_dir, SPI, "inactive"),
        (no_eoi_at_all, SPI, "inactive"),
        (masked_by_what_is_active, SPI, "preemption"),
        (behind_another_interrupt, SPI, "best"),
    ],
)
def test_explain_names_the_blocking_gate_first(mistake, intid, gate):
    gic = ready()
    assert raised(ready()).explain(PPI, 1).delivered  # the start itself has no mistake
    mistake(gic)
    told = gic.explain(intid, 1)
    assert told.blocking[0].name == gate, str(told)
    assert not told.delivered
    assert told.blocking[0].found in str(told)
    assert told.blocking[0].remedy


def test_non_secure_software_that_enables_a_secure_interrupt_is_told_so():
    gic = ready(security=True)
    gic.dist["GICD_IGROUPR", 1] = 0
    gic.dist["GICD_ICENABLER", 1] = GROUP1
    gic.frame_write(gicv3.Frame.GICD, 0x104, 1 << SPI - 32, secure=False)
    gic.set_spi(SPI, True)
    told = gic.explain(SPI, 1)
    assert told.blocking[0].name == "security"
    assert "Non-secure" in told.blocking[0].found


def test_an_icc_access_that_traps_is_a_closed_gate():
    gic = ready(security=True)
    gic.set_context(1, el=1, scr_el3=0x1 | 0x2)
    gic.set_ppi(1, PPI, True)
    assert [gate.name for gate in gic.explain(PPI, 1).blocking] == ["context"]


@pytest.mark.parametrize(("group1", "secure"), [(1, True), (0, False)], ids=["1 at Secure EL1", "0 outside"])
def test_a_group_that_the_software_cannot_acknowledge_is_a_closed_gate(group1, secure):
    gic = ready(security=True)
    gic.set_context(1, el=3, scr_el3=1)
    gic.pe[1]["ICC_IGRPEN0_EL1"] = 1
    gic.pe[1]["ICC_IGRPEN1_EL3"] = 1
    gic.redist[1]["GICR_IGROUPR0"] = group1 << PPI
    gic.set_context(1, el=1, secure=secure)
    gic.set_ppi(1, PPI, True)
    assert gic.pe[1].fiq
    told = gic.explain(PPI, 1)
    assert [gate.name for gate in told.blocking] == ["context"]
    assert "1023" in told.blocking[0].found
    assert {gic.pe[1]["ICC_IAR0_EL1"], gic.pe[1]["ICC_IAR1_EL1"]} == {1023}


def test_the_output_named_is_that_of_the_interrupt_asked_about():
    gic = ready(nmi=True)
    gic.redist[1]["GICR_INMIR0"] = 1 << SGI
    gic.set_context(1, nmi_enabled=True)
    gic.redist[1]["GICR_ISPENDR0"] = 1 << SGI
    assert (gic.explain(SGI, 1).output, gic.explain(SGI + 1, 1).output) == ("NMI", "IRQ")


def test_explain_of_a_delivered_interrupt_names_its_line():
    gic = ready()
    gic.set_spi(SPI, True)
    told = gic.explain(SPI, 1)
    assert told.delivered
    assert told.output == "IRQ"
    assert str(told).startswith(f"INTID {SPI} is signalled to PE 1 on IRQ")


@pytest.mark.parametrize("intid", [1019, 1020, 1023, 1056, 4096, 8192, 0xFF_FFFF])
def test_explain_of_an_interrupt_that_does_not_exist(intid):
    told = ready().explain(intid, 0)
    assert [gate.name for gate in told.gates] == ["implemented"]
    assert not told.delivered
    assert repr(told) == f"<INTID {intid} to PE 0: blocked by 'implemented'>"


@pytest.mark.parametrize(
    ("options", "intid", "remedy"),
    [
        ({"spis": 32}, 64, "INTIDs 32..1019 come by GICv3Config.spis, which is 32."),
        ({"spis": 960}, 1019, "INTIDs 32..1019 come by GICv3Config.spis, which is 960."),
        ({}, 1020, "No GIC has it: 1020..1023 have a meaning of their own, and others up to 8191 are reserved."),
        ({}, 1055, "No GIC has it: 1020..1023 have a meaning of their own, and others up to 8191 are reserved."),
        ({"eppis": 32}, 1119, "INTIDs 1056..1119 come by GICv3Config.eppis, which is 32."),
        ({}, 4096, "INTIDs 4096..5119 come by GICv3Config.espis, which is 0."),
        ({}, 8192, "LPIs need GICv3Config.lpis (it is False) and id_bits of at least 14 (it is 16)."),
        ({"lpis": True, "id_bits": 14}, 1 << 14,
         "LPIs need GICv3Config.lpis (it is True) and id_bits of at least 15 (it is 14)."),
    ],
)
def test_explain_names_the_field_that_an_interrupt_needs(options, intid, remedy):
    (gate,) = gicv3.GICv3(gicv3.GICv3Config(cpus=1, **options)).explain(intid, 0).gates
    assert gate.remedy == remedy


@pytest.mark.parametrize("options", [{}, {"one_of_n": True, "security": True, "lpis": True, "nmi": True}])
def test_a_gate_has_a_remedy_exactly_where_it_is_closed(options):
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=2, **options))
    for intid in (0, 20, 33, *([8192] if options else [])):
        told = gic.explain(intid, 1)
        assert [bool(gate.remedy) for gate in told.gates] == [not gate.is_open for gate in told.gates]
        assert repr(told).startswith(f"<INTID {intid} to PE 1: blocked by ")


def test_one_of_n_tells_where_the_interrupt_went():
    gic = ready(one_of_n=True)
    gic.dist["GICD_IROUTER", SPI] = 1 << 31
    gic.set_spi(SPI, True)
    assert gic.explain(SPI, 1).delivered
    assert gic.explain(SPI, 3).blocking[0].name == "routing"
    assert "PE 1" in gic.explain(SPI, 3).blocking[0].found


@pytest.mark.parametrize(("mistake", "gate"), [
    (group_disabled_in_the_distributor, "group enable"),
    (group_disabled_at_the_cpu_interface, "CPU interface enable"),
    (waker_never_woken, "awake"),
])
def test_one_of_n_that_nobody_takes_names_what_keeps_this_pe_out(mistake, gate):
    gic = ready(one_of_n=True)
    gic.dist["GICD_IROUTER", SPI] = 1 << 31
    mistake(gic)
    gic.set_spi(SPI, True)
    assert [gate.name for gate in gic.explain(SPI, 1).blocking] == [gate]


@pytest.mark.parametrize(("group", "modifier", "register"), [
    (0, 0, "ICC_SGI0R_EL1"),
    (0, 1, "ICC_SGI1R_EL1 in Secure state"),
    (1, 0, "ICC_SGI1R_EL1 (in Secure state by ICC_ASGI1R"),
])
def test_an_sgi_is_to_be_sent_by_the_register_of_its_group(group, modifier, register):
    gic = gicv3.GICv3(gicv3.GICv3Config(cpus=2, security=True))
    gic.frame_write("SGI", 0x80, group << 3, secure=True, index=1)
    gic.frame_write("SGI", 0xD00, modifier << 3, secure=True, index=1)
    assert any(register in gate.remedy for gate in gic.explain(3, 1).blocking)


@pytest.mark.parametrize(("group1", "bit"), [(0, 24), (1, 25)], ids=["0", "1"])
def test_one_of_n_names_the_dpg_bit_of_a_pe_that_takes_no_part(group1, bit):
    gic = ready(one_of_n=True)
    gic.dist["GICD_IGROUPR", 1] = GROUP1 * group1
    gic.dist["GICD_IROUTER", SPI] = 1 << 31
    gic.redist[1]["GICR_CTLR"] = 1 << bit
    gic.set_spi(SPI, True)
    gate = gic.explain(SPI, 1).blocking[0]
    assert gate.name == "participation"
    assert f"GICR_CTLR.{'DPG1NS' if group1 else 'DPG0'} is 1" in gate.found
    gic.redist[1]["GICR_CTLR"] = 1 << (49 - bit)
    assert gic.explain(SPI, 1).blocking[:1] != (gate,)
    assert "participation" not in [gate.name for gate in gic.explain(PPI, 1).gates]


def test_the_gates_stand_in_the_order_in_which_the_interrupt_meets_them():
    names = [gate.name for gate in ready(one_of_n=True).explain(SPI, 1).gates]
    assert names == ["implemented", "routing", "accessible", "awake", "enabled", "security", "group enable",
                     "CPU interface enable", "pending", "inactive", "best", "priority mask", "preemption", "context"]


def test_preemption_tells_what_the_binary_point_leaves():
    gic = ready()
    gic.pe[1]["ICC_BPR1_EL1"] = 6
    gic.dist["GICD_IPRIORITYR", SPI // 4] = 0x7090_7090
    gic.set_spi(SPI, True)
    gic.set_spi(SPI + 1, True)
    gic.dist["GICD_IROUTER", SPI + 1] = gic.affinity(1)
    assert gic.pe[1]["ICC_IAR1_EL1"] == SPI + 1
    gic.set_spi(SPI + 1, False)
    gic.dist["GICD_IPRIORITYR", SPI // 4] = 0x7090_7060
    gate = gic.explain(SPI, 1).blocking[0]
    assert gate.name == "preemption"
    assert "group priority 0x40 against running 0x40 (ICC_BPR leaves the bits 0xc0)" in gate.found


def test_explain_agrees_with_the_lines_in_random_states():
    """An interrupt explained as delivered is the one whose line is up, and the other way round."""
    import random

    rng = random.Random(11)
    delivered = blocked = 0
    for _ in range(300):
        gic = ready()
        for _ in range(rng.randrange(6)):
            rng.choice([
                lambda g: g.set_spi(SPI, True), lambda g: g.set_ppi(1, PPI, True),
                lambda g: g.pe[1].__setitem__("ICC_PMR_EL1", rng.choice((0, 0x40, 0xF0))),
                lambda g: g.redist[1].__setitem__("GICR_WAKER", rng.choice((0, 2))),
                lambda g: g.dist.__setitem__(("GICD_IPRIORITYR", SPI // 4), rng.choice((0, 0x40, 0x80))),
                lambda g: g.pe[1].sysreg_read("ICC_IAR1_EL1"),
                lambda g: g.dist.__setitem__("GICD_CTLR", rng.choice((0, 2, 3))),
                lambda g: g.pe[1].__setitem__("ICC_EOIR1_EL1", SPI),
            ])(gic)
        told = {intid: gic.explain(intid, 1).delivered for intid in (SPI, PPI, SGI)}
        assert sum(told.values()) == gic.pe[1].irq, told
        delivered += any(told.values())
        blocked += not any(told.values())
    assert delivered > 20
    assert blocked > 20
