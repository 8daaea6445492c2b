"""KVM's attribute form: the numbers are KVM's, a round trip keeps the future, what does not fit is refused whole."""

from typing import Any

import pytest
from model.configs import CONFIGS
from replay import act, assert_same_future, trace
from rig import G0, Rig

from gicv3 import GICv3, GICv3Config, SnapshotError, kvm

# Attributes as a program that talks to KVM writes them.
ICC_PMR, ICC_AP1R0, ICC_CTLR, ICC_IGRPEN1 = 0xC230, 0xC648, 0xC664, 0xC667
AFF1_1 = 0x100 << 32


def prepared() -> Rig:
    """Four PEs in two clusters; a level-sensitive SPI up, an edge latched, an SGI active."""
    rig = Rig(affinities=(0, 1, 0x100, 0x7_0000_0101), spis=64)
    rig.prepare(40, 2, priority=0x80)
    rig.raise_(40)
    rig.prepare(20, 2, priority=0x90, edge=True)
    rig.raise_(20, pe=2)
    rig.prepare(5, 1, priority=0x40, group=G0)
    rig.prepare(3, 2, priority=0x20)
    rig.raise_(3, pe=2)
    assert rig.gic.pe[2]["ICC_IAR1_EL1"] == 3
    return rig


def test_the_attributes_are_those_of_kvm() -> None:
    form = kvm.export_state(prepared().gic)
    assert tuple(form) == kvm.GROUPS
    dist, redist, sysregs, levels = form.values()
    assert dist[0x0] == 0x53
    assert dist[0x84] == 1 << 8                                  # IGROUPR1
    assert dist[0x104] == 1 << 8                                 # ISENABLER1
    assert dist[0x204] == 0                                      # ISPENDR1: the latch, without the level
    assert dist[0x428] == 0x80                                   # IPRIORITYR10
    assert (dist[0x6140], dist[0x6144]) == (0x100, 0)            # IROUTER40
    assert redist[AFF1_1 | 0x14] == 0                            # WAKER
    assert redist[AFF1_1 | 0x10200] == 1 << 20                   # ISPENDR0
    assert redist[AFF1_1 | 0x10300] == 1 << 3                    # ISACTIVER0
    assert redist[AFF1_1 | 0x10C04] == 2 << 8                    # ICFGR1
    assert redist[0x0700_0101 << 32 | 0x10080] == 0
    assert sysregs[AFF1_1 | ICC_PMR] == 0xF8
    assert sysregs[AFF1_1 | ICC_AP1R0] == 1 << 4
    assert sysregs[AFF1_1 | ICC_IGRPEN1] == 1
    assert sysregs[AFF1_1 | ICC_CTLR] == 0x8400
    assert levels[32] == 1 << 8
    assert levels[AFF1_1] == 1 << 20


@pytest.mark.parametrize("name", ["ds1", "ds1-p8", "ds1-gate", "ds1-sparse", "ds1-el2", "statusr", "choices", "rss"])
def test_what_is_imported_goes_on_as_what_was_exported(name: str) -> None:
    ops = trace(name, seed=40 + len(name))
    half = len(ops) // 2
    gic = GICv3(GICv3Config(**CONFIGS[name]))
    for op in ops[:half]:
        act(gic, op)
    other = GICv3.restore(gic.save())
    for op in ops[:half]:
        if op.call != "set_cpustate" and op.call != "set_context":
            act(other, op)
    other.reset()
    kvm.import_state(other, kvm.export_state(gic))
    other.check()
    assert kvm.export_state(other) == kvm.export_state(gic)
    assert_same_future(gic, other, ops[half:])


def test_only_plugged_pes_have_system_registers() -> None:
    gic = GICv3(GICv3Config(cpus=2))
    gic.set_cpustate(1, None, False)
    form = kvm.export_state(gic)
    assert {attribute >> 32 for attribute in form["CPU_SYSREGS"]} == {0}
    assert {attribute >> 32 for attribute in form["REDIST_REGS"]} == {0, 1}


def test_what_is_missing_is_at_its_reset_value() -> None:
    rig = prepared()
    kvm.import_state(rig.gic, {})
    assert rig.gic.save() == GICv3(rig.gic.config).save()


def test_an_import_makes_no_edge_and_tells_the_lines() -> None:
    rig = prepared()
    form = kvm.export_state(rig.gic)
    form["REDIST_REGS"][AFF1_1 | 0x10200] = 0
    form["LEVEL_INFO"][AFF1_1] = 1 << 20
    told: list[tuple[int, int, bool]] = []
    rig.raise_(40, False)
    rig.gic.pe[2]["ICC_EOIR1_EL1"] = 3
    rig.gic.on_line = lambda pe, line, level: told.append((pe, line, level))
    kvm.import_state(rig.gic, form)
    assert not rig.bit("ISPENDR", 20, 2)
    assert told == [(2, 1, False)]


@pytest.mark.parametrize(("group", "attribute", "value", "text"), [
    ("DIST_REGS", 0x6144, 1 << 32, "DIST_REGS 0x6144 must be a value of 32 bits, got 0x100000000"),
    ("DIST_REGS", 0x84, -1, "must be a value of 32 bits"),
    ("DIST_REGS", 0x9000, 1, "DIST_REGS 0x9000 is no attribute of this GIC"),
    ("DIST_REGS", 0x80, 0, "DIST_REGS 0x80 is no attribute of this GIC"),
    ("DIST_REGS", 0x90, 1, "DIST_REGS 0x90 is no attribute of this GIC"),
    ("DIST_REGS", 0x428, 0x87, "DIST_REGS 0x428 cannot be 0x87 here, it would read 0x80"),
    ("REDIST_REGS", 0x33 << 32, 0, "is no attribute of this GIC"),
    ("CPU_SYSREGS", AFF1_1 | ICC_CTLR, 0x8C00, "cannot be 0x8c00 here, it would read 0x8400"),
    ("CPU_SYSREGS", AFF1_1 | 0xC662, 0, "is no attribute of this GIC"),
    ("LEVEL_INFO", 96, 0, "LEVEL_INFO 0x60 is no attribute of this GIC"),
    ("NR_IRQS", 0, 0, "groups must be of DIST_REGS, REDIST_REGS, CPU_SYSREGS, LEVEL_INFO, got NR_IRQS"),
])
def test_what_does_not_fit_is_refused_and_changes_nothing(group: str, attribute: int, value: int, text: str) -> None:
    gic = prepared().gic
    form = kvm.export_state(gic)
    form.setdefault(group, {})[attribute] = value
    before = gic.save()
    with pytest.raises(SnapshotError, match=text):
        kvm.import_state(gic, form)
    assert gic.save() == before


@pytest.mark.parametrize("config", [{"security": True}, {"espis": 32}, {"eppis": 64}, {"nmi": True}])
def test_a_gic_that_kvm_has_not_is_refused(config: dict[str, Any]) -> None:
    gic = GICv3(GICv3Config(cpus=1, **config))
    name = next(iter(config))
    for call in (lambda: kvm.export_state(gic), lambda: kvm.import_state(gic, {})):
        with pytest.raises(SnapshotError, match=f"KVM's form has no {name}, this GIC has {name}="):
            call()
