"""What a PE loses and keeps when its vCPU goes and comes: the Distributor's side of hotplug."""

import pytest
from rig import CTLR_EOIMODE, G0, G1, IDLE, SPURIOUS, Rig

from gicv3 import ConfigError, Frame, GICv3, GICv3Config, HotplugError, Line

QUIET = Line(0)


class Cpu:
    """An embedder's object."""


def busy(pe: int = 1) -> Rig:
    """Three PEs; one of them configured everywhere, with an SGI, a PPI and an SPI pending and another SPI active."""
    rig = Rig(3, espis=32, eppis=32)
    gic = rig.gic
    gic.pe[pe]["ICC_CTLR_EL1"] = CTLR_EOIMODE
    gic.pe[pe]["ICC_BPR0_EL1"] = 5
    for intid, priority in ((50, 0x20), (5, 0x40), (20, 0x60), (1060, 0x68), (40, 0x70), (4100, 0x78)):
        rig.prepare(intid, pe, priority=priority)
        rig.raise_(intid, pe=pe)
    assert rig.iar(pe=pe) == 50
    rig.prepare(6, pe, priority=0x10)
    rig.sgi(6, 1 << pe, pe=0)
    assert rig.iar(pe=pe) == 6
    return rig


def private_registers(gic: GICv3, pe: int) -> list[int]:
    words = [(Frame.SGI, offset) for offset in range(0x80, 0x1000, 4)] + [(Frame.RD, offset) for offset in (0, 0x14)]
    return [gic.frame_read(frame, offset, index=pe) for frame, offset in words]


# --- going


def test_an_unplugged_pe_drives_no_line_and_tells_so() -> None:
    rig = busy()
    rig.eoi(6, pe=1)
    rig.gic.pe[1]["ICC_DIR_EL1"] = 6
    rig.eoi(50, pe=1)
    assert rig.line(1) == Line.IRQ
    told: list[tuple[int, Line, bool]] = []
    rig.gic.on_line = lambda *change: told.append(change)
    rig.gic.changed()
    rig.gic.set_cpustate(1, None, False)
    assert rig.line(1) == QUIET
    assert told == [(1, Line.IRQ, False)]
    assert rig.gic.changed() == [1]


def test_unplug_returns_the_redistributor_to_reset_and_leaves_it_usable() -> None:
    rig = busy()
    rig.gic.set_cpustate(1, None, False)
    fresh = GICv3(GICv3Config(cpus=3, espis=32, eppis=32))
    assert private_registers(rig.gic, 1) == private_registers(fresh, 1)
    assert rig.gic.redist[1]["GICR_WAKER"] == 6
    assert rig.gic.redist[1]["GICR_TYPER"] == fresh.redist[1]["GICR_TYPER"]
    rig.gic.redist[1]["GICR_ISENABLER0"] = 0x55
    rig.gic.redist[1]["GICR_WAKER"] = 0
    assert rig.gic.redist[1]["GICR_ISENABLER0"] == 0x55
    assert rig.gic.redist[1]["GICR_WAKER"] == 0
    assert rig.line(1) == QUIET


def test_unplug_resets_the_cpu_interface_and_its_context() -> None:
    rig = busy()
    assert rig.rpr(1) == 0x10
    rig.gic.set_cpustate(1, None, False)
    assert rig.iar(pe=1) == rig.hppir(pe=1) == SPURIOUS
    rig.gic.set_cpustate(1, None, True)
    pe = rig.gic.pe[1]
    assert rig.rpr(1) == IDLE
    assert pe["ICC_PMR_EL1"] == pe["ICC_IGRPEN0_EL1"] == pe["ICC_IGRPEN1_EL1"] == pe["ICC_AP1R0_EL1"] == 0
    assert pe["ICC_BPR0_EL1"] == 2
    assert pe["ICC_CTLR_EL1"] & 3 == 0
    secure = Rig(2, security=True)
    secure.el3(1)
    secure.gic.set_cpustate(1, None, False)
    assert secure.gic.sysreg_access(1, "ICC_CTLR_EL3").kind == "undefined", "the default context is Non-secure EL1"


def test_unplug_lowers_the_ppi_wires() -> None:
    rig = busy()
    rig.gic.set_cpustate(1, None, False)
    assert rig.gic.ppi_line(1, 20) is False
    assert rig.gic.ppi_line(1, 1060) is False
    assert not rig.pending(20, 1)


def test_unplug_leaves_the_other_pes_and_the_distributor() -> None:
    rig = busy()
    rig.prepare(20, 0)
    rig.raise_(20, pe=0)
    before = [private_registers(rig.gic, pe) for pe in (0, 2)]
    spis = [rig.gic.frame_read(Frame.GICD, offset) for offset in range(0, 0xD00, 4)]
    rig.gic.set_cpustate(1, None, False)
    assert [private_registers(rig.gic, pe) for pe in (0, 2)] == before
    assert [rig.gic.frame_read(Frame.GICD, offset) for offset in range(0, 0xD00, 4)] == spis
    assert rig.iar(pe=0) == 20


def test_unplugging_twice_changes_nothing_more() -> None:
    rig = busy()
    rig.gic.set_cpustate(1, None, False)
    digest = rig.gic.state_digest()
    rig.gic.changed()
    rig.gic.set_cpustate(1, None, False)
    assert rig.gic.state_digest() == digest
    assert rig.gic.changed() == []


# --- what waits


def test_an_spi_routed_to_an_absent_pe_waits_and_is_delivered_after_plug() -> None:
    rig = Rig(2)
    rig.prepare(40, 1)
    rig.gic.set_cpustate(1, None, False)
    rig.raise_(40)
    assert rig.pending(40)
    assert rig.line(1) == QUIET
    rig.gic.set_cpustate(1, None, True)
    assert rig.line(1) == Line.WAKE, "the newcomer sleeps: it is asked to wake, without further stimulus"
    rig.bring_up(1)
    assert rig.line(1) == Line.IRQ
    assert rig.iar(pe=1) == 40


def test_an_spi_active_on_a_leaving_pe_stays_active_until_somebody_deactivates_it() -> None:
    rig = busy()
    rig.gic.set_cpustate(1, None, False)
    assert rig.active(50)
    rig.gic.set_cpustate(1, None, True)
    rig.bring_up(1)
    assert rig.pending(50)
    assert rig.hppir(pe=1) == 40
    rig.write_bit("ICACTIVER", 50)
    assert rig.hppir(pe=1) == 50


def test_an_spi_pending_on_a_leaving_pe_can_be_rerouted() -> None:
    rig = Rig(2)
    rig.prepare(40, 1)
    rig.raise_(40)
    rig.gic.set_cpustate(1, None, False)
    rig.route(40, 0)
    assert rig.line(0) == Line.IRQ
    rig.gic.set_cpustate(1, None, True)
    rig.bring_up(1)
    assert rig.line(1) == QUIET


def test_private_interrupts_pended_in_an_absent_pes_registers_survive_plug() -> None:
    rig = Rig(2)
    rig.gic.set_cpustate(1, None, False)
    rig.prepare(20, 1)
    rig.write_bit("ISPENDR", 20, 1)
    rig.gic.set_cpustate(1, None, True)
    rig.bring_up(1)
    assert rig.iar(pe=1) == 20


@pytest.mark.parametrize("group", [G0, G1])
def test_a_replugged_pe_receives_what_a_first_one_does(group: int) -> None:
    rig = busy()
    for _ in range(3):
        rig.gic.set_cpustate(1, None, False)
        rig.gic.set_cpustate(1, None, True)
        rig.bring_up(1)
        for intid in (50, 40, 4100):
            rig.raise_(intid, False)
        rig.write_bit("ICACTIVER", 50)
        for intid in (5, 20, 1060, 50):
            rig.prepare(intid, 1, group=group)
            rig.raise_(intid, pe=1)
            assert rig.iar(min(group, 1), 1) == intid
            rig.raise_(intid, False, pe=1)
            rig.eoi(intid, min(group, 1), 1)
            assert rig.line(1) == QUIET
        rig.gic.check()


def test_plugging_and_unplugging_leaves_a_digest_equal_to_a_fresh_gic() -> None:
    rig = Rig(3, ready=False)
    fresh = rig.gic.state_digest()
    rig.gic.dist["GICD_CTLR"] = 3
    rig.bring_up(1)
    for intid, priority in ((40, 0x20), (41, 0x80), (20, 0x40)):
        rig.prepare(intid, 1, priority=priority)
        rig.raise_(intid, pe=1)
        rig.iar(pe=1)
        rig.raise_(intid, False, pe=1)
    rig.gic.set_cpustate(1, Cpu(), False)
    rig.gic.set_cpustate(1, Cpu(), True)
    assert rig.gic.state_digest() != fresh, "an SPI stays active"
    rig.gic.reset()
    assert rig.gic.state_digest() == fresh


# --- the association


def test_the_object_is_kept_while_plugged() -> None:
    gic = GICv3(GICv3Config(cpus=2))
    assert gic.is_accessible(1)
    assert gic.cpu(1) is None
    cpu = Cpu()
    gic.set_cpustate(1, cpu, True)
    assert gic.cpu(1) is cpu
    assert gic.cpu(0) is None
    gic.set_cpustate(1, cpu, False)
    assert gic.cpu(1) is None
    assert not gic.is_accessible(1)
    assert not gic.pe[1].accessible
    assert not gic.redist[1].accessible
    assert gic.redist[0].accessible


def test_a_range_of_pes_is_made_absent_and_forgets_its_objects() -> None:
    gic = GICv3(GICv3Config(cpus=130))
    for pe in range(130):
        gic.set_cpustate(pe, Cpu(), True)
    gic.set_accessible_range(60, 10, False)
    assert [pe for pe in range(130) if not gic.is_accessible(pe)] == list(range(60, 70))
    assert [pe for pe in range(130) if gic.cpu(pe) is None] == list(range(60, 70))
    gic.set_accessible_range(60, 5, True)
    assert [pe for pe in range(130) if not gic.is_accessible(pe)] == list(range(65, 70))
    gic.set_accessible_range(0, 0, False)
    gic.set_accessible_range(129, 1, False)
    assert not gic.is_accessible(129)


@pytest.mark.parametrize(("first", "count"), [(0, 5), (4, 0), (3, 2), (-1, 1), (0, -1), (1, 1 << 70), (1 << 32, 1)])
def test_a_range_outside_the_pes_is_refused_and_changes_nothing(first: int, count: int) -> None:
    gic = GICv3(GICv3Config(cpus=4))
    with pytest.raises(ConfigError, match="must be"):
        gic.set_accessible_range(first, count, False)
    assert all(gic.is_accessible(pe) for pe in range(4))


def test_init_cpu_reginfo_gives_every_vcpu_the_same_registers_and_a_reset_interface() -> None:
    rig = busy()

    class Vcpu:
        def __init__(self, pe: int) -> None:
            self.gicv3state = rig.gic.pe[pe]
            self.sysregs: object = None

    first, second = Vcpu(0), Vcpu(1)
    for cpu in (first, second):
        rig.gic.init_cpu_reginfo(cpu)
        assert cpu.gicv3state["ICC_PMR_EL1"] == 0
    assert first.sysregs is second.sysregs
    assert first.sysregs == rig.gic.sysregs


class Placed:
    """An embedder's object with a place."""

    def __init__(self, cpu_index: int, mp_affinity: int) -> None:
        self.cpu_index = cpu_index
        self.mp_affinity = mp_affinity

    def __repr__(self) -> str:
        return f"vCPU {self.cpu_index}"


def test_associate_finds_the_pe_by_affinity_and_resets_its_interface() -> None:
    used, fresh = (GICv3(GICv3Config(affinities=(0, 1 << 32 | 0x203, 0x203))) for _ in range(2))
    used.pe[1]["ICC_PMR_EL1"] = 0xFF
    used.set_accessible_range(0, 3, False)
    fresh.set_accessible_range(0, 3, False)
    used.set_context(1, nmi_enabled=True)  # an absent one's
    cpu = Placed(1, 1 << 32 | 0x203)
    assert used.associate(cpu) == fresh.associate(cpu) == 1
    assert (used.cpu(1), used.is_accessible(1), used.is_accessible(2)) == (cpu, True, False)
    assert used.save_pe(1) == fresh.save_pe(1)
    assert used.dissociate(cpu) == 1
    assert (used.cpu(1), used.is_accessible(1)) == (None, False)


@pytest.mark.parametrize("affinity", [3, 1 << 24, 1 << 40, -1, 1 << 63, 1 << 64])
def test_associate_refuses_an_affinity_that_no_pe_has(affinity: int) -> None:
    gic = GICv3(GICv3Config(cpus=3))
    for call in (gic.associate, gic.dissociate):
        with pytest.raises(HotplugError, match=r"^Failed to associate cpu 7 with any GIC cpuif$"):
            call(Placed(7, affinity))


def test_a_pe_belongs_to_one_object_and_only_that_one_gives_it_back() -> None:
    gic = GICv3(GICv3Config(cpus=2))
    cpu, other = Placed(1, 1), Placed(9, 1)
    gic.associate(cpu)
    before = gic.state_digest()
    with pytest.raises(HotplugError, match=r"^cpu 9: GIC cpuif 1 already belongs to vCPU 1$"):
        gic.associate(other)
    with pytest.raises(HotplugError, match=r"^cpu 9: GIC cpuif 1 belongs to vCPU 1$"):
        gic.dissociate(other)
    assert (gic.cpu(1), gic.state_digest()) == (cpu, before)


def test_a_callback_that_fails_keeps_the_vcpu_where_it_was() -> None:
    rig = Rig(2, ready=False)
    rig.gic.dist["GICD_CTLR"] = 3
    cpu = Placed(1, 1)
    rig.gic.associate(cpu)
    rig.bring_up(1)
    rig.prepare(40, 1)
    rig.raise_(40)

    def fail(pe: int, line: Line, level: bool) -> None:
        raise RuntimeError(f"{line.name} {level}")

    rig.gic.on_line = fail
    # The line drops; then the SPI asks the PE, which sleeps, to wake.
    with pytest.raises(ExceptionGroup) as caught:
        rig.gic.dissociate(cpu)
    assert [str(error) for error in caught.value.exceptions] == ["IRQ False", "WAKE True"]
    assert (rig.gic.cpu(1), rig.gic.is_accessible(1)) == (cpu, True)
    rig.gic.on_line = None
    rig.gic.dissociate(cpu)
    rig.gic.on_line = lambda pe, line, level: fail(pe, line, level) if level else None
    with pytest.raises(RuntimeError, match="WAKE True"):
        rig.gic.associate(cpu)
    assert (rig.gic.cpu(1), rig.gic.is_accessible(1)) == (None, False)


# --- save and restore of one PE


def test_a_restored_pe_is_as_it_was_saved_and_behaves_so() -> None:
    rig = busy()
    digest = rig.gic.state_digest()
    saved = rig.gic.save_pe(1)
    rig.gic.set_cpustate(1, None, False)
    assert rig.gic.state_digest() != digest
    rig.gic.restore_pe(1, saved)
    assert rig.gic.state_digest() == digest
    assert rig.gic.is_accessible(1)
    assert rig.rpr(1) == 0x10
    rig.eoi(6, pe=1)
    rig.eoi(50, pe=1)
    for intid in (5, 20, 1060, 40, 4100):
        assert rig.iar(pe=1) == intid
        rig.eoi(intid, pe=1)
    rig.gic.check()


def test_restore_makes_no_edge_and_shows_the_lines_that_follow() -> None:
    rig = Rig(2)
    rig.prepare(20, 1, edge=True)
    rig.raise_(20, pe=1)
    rig.write_bit("ICPENDR", 20, 1)
    saved = rig.gic.save_pe(1)
    rig.gic.set_cpustate(1, None, False)
    rig.gic.restore_pe(1, saved)
    assert rig.gic.ppi_line(1, 20)
    assert not rig.pending(20, 1)
    rig.edge(20, False, 1)
    assert rig.line(1) == Line.IRQ
    with_line = rig.gic.save_pe(1)
    told: list[tuple[int, Line, bool]] = []
    rig.gic.on_line = lambda *change: told.append(change)
    rig.gic.restore_pe(1, saved)
    rig.gic.restore_pe(1, with_line)
    assert told == [(1, Line.IRQ, False), (1, Line.IRQ, True)]


def test_restore_keeps_spis_that_came_meanwhile() -> None:
    rig = Rig(2)
    rig.prepare(40, 1)
    rig.prepare(41, 1, priority=0x40)
    saved = rig.gic.save_pe(1)
    rig.raise_(40)
    rig.raise_(41)
    rig.gic.restore_pe(1, saved)
    assert rig.line(1) == Line.IRQ
    assert rig.iar(pe=1) == 41
    assert rig.gic.counters(1) == {"sgi": 0, "ppi": 0, "spi": 1}


def test_a_redistributor_that_was_settling_settles_after_restore() -> None:
    rig = Rig(2, ready=False, settle_steps=3)
    rig.gic.redist[1]["GICR_WAKER"] = 0
    rig.gic.redist[1]["GICR_ICENABLER0"] = 1
    saved = rig.gic.save_pe(1)
    assert rig.gic.redist[1]["GICR_WAKER"] == 4
    assert rig.gic.redist[1]["GICR_CTLR"] == 8
    rig.gic.step(3)
    assert rig.gic.redist[1]["GICR_WAKER"] == 0
    rig.gic.restore_pe(1, saved)
    assert rig.gic.redist[1]["GICR_WAKER"] == 4
    rig.gic.step(3)
    assert rig.gic.redist[1]["GICR_WAKER"] == 0
    assert rig.gic.redist[1]["GICR_CTLR"] == 0


def test_what_is_no_saved_pe_is_refused_and_changes_nothing() -> None:
    gic = GICv3(GICv3Config(cpus=2))
    digest = gic.state_digest()
    saved = gic.save_pe(0)
    with pytest.raises(ConfigError, match="saved must come from save_pe of PE 1 of this GIC, got PE 0's"):
        gic.restore_pe(1, saved)
    with pytest.raises(ConfigError, match="got PE 0's of another GIC"):
        GICv3(GICv3Config(cpus=2)).restore_pe(0, saved)
    for other in (b"", None, object()):
        with pytest.raises(TypeError):
            gic.restore_pe(0, other)  # type: ignore[arg-type]
    assert gic.state_digest() == digest
