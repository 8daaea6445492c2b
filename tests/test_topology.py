"""Topology ids, MPIDRs and slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicv3.errors import ConfigError, HotplugError
from gicv3.machine import VirtMachine
from gicv3.topology import (
    AFFINITY_MASK,
    MAX_CPUS,
    CpuProps,
    Topology,
    default_affinity,
    resolve_topology,
)

levels = st.integers(1, 8)
topologies = st.builds(Topology, sockets=levels, clusters=levels, cores=levels, threads=levels)


@pytest.mark.parametrize(
    ("index", "affinity"),
    [
        (0, 0x0),
        (15, 0xF),
        (16, 0x100),
        (4095, 0xFF0F),
        (4096, 0x1_0000),
        (65_535, 0xF_FF0F),
        (1 << 20, 0x1_0000_0000),
        ((1 << 28) - 1, 0xFF_00FF_FF0F),
    ],
)
def test_default_affinity_has_16_to_a_cluster_and_carries_upwards(index, affinity):
    assert default_affinity(index) == affinity


def test_default_affinities_are_distinct_and_within_the_affinity_fields():
    affinities = {default_affinity(index) for index in range(MAX_CPUS)}
    assert len(affinities) == MAX_CPUS
    assert not any(affinity & ~AFFINITY_MASK for affinity in affinities)


@pytest.mark.parametrize("level", ["sockets", "clusters", "cores", "threads"])
def test_levels_are_integers(level):
    with pytest.raises(TypeError, match=f"{level} must be an integer, got 2.0"):
        Topology(**{level: 2.0})


@given(topologies, st.data())
def test_index_and_props_are_inverse(topology, data):
    index = data.draw(st.integers(0, topology.max_cpus - 1))
    props = topology.props(index)
    assert topology.index(*props) == index
    assert topology.index(*map(str, props)) == index
    assert props.socket_id < topology.sockets
    assert props.thread_id < topology.threads


def test_threads_are_innermost_and_sockets_outermost():
    topology = Topology(sockets=2, clusters=2, cores=2, threads=2)
    assert [topology.props(index) for index in (0, 1, 2, 4, 8)] == [
        CpuProps(0, 0, 0, 0),
        CpuProps(0, 0, 0, 1),
        CpuProps(0, 0, 1, 0),
        CpuProps(0, 1, 0, 0),
        CpuProps(1, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ((2, 2, 2, 2), "Invalid thread-id 2 specified, correct range 0:1"),
        ((2, 2, 2, 1), "Invalid core-id 2 specified, correct range 0:1"),
        ((2, 2, 1, 1), "Invalid cluster-id 2 specified, correct range 0:1"),
        ((2, 1, 1, 1), "Invalid socket-id 2 specified, correct range 0:1"),
        ((0, 0, -1, 0), "Invalid core-id -1 specified, correct range 0:1"),
        ((0, 0, "x", 0), "Parameter 'core-id' expects a number, got 'x'"),
        ((0, 0, 1.0, 0), "Parameter 'core-id' expects a number, got 1.0"),
    ],
)
def test_ids_are_checked_thread_first_and_socket_last(ids, text):
    with pytest.raises(HotplugError) as caught:
        Topology(sockets=2, clusters=2, cores=2, threads=2).index(*ids)
    assert str(caught.value) == text


def test_an_id_may_be_left_out_only_where_its_level_has_one_value():
    topology = Topology(cores=4)
    assert topology.index(None, None, 3, None) == 3
    with pytest.raises(HotplugError, match="CPU core-id is not set, correct range 0:3"):
        topology.index(0, 0, None, 0)


def test_an_id_is_a_number_or_numeric_text():
    topology = Topology(cores=32)
    assert topology.index(None, None, "17", "0") == topology.index(None, None, "0x11", None) == 17


@pytest.mark.parametrize("level", ["sockets", "clusters", "cores", "threads"])
def test_a_level_has_at_least_one_member(level):
    assert getattr(Topology(**{level: 1}), level) == 1
    with pytest.raises(ConfigError, match=f"{level} must be at least 1, got 0"):
        Topology(**{level: 0})


def test_a_topology_has_at_most_65536_members():
    assert Topology(sockets=256, cores=256).max_cpus == MAX_CPUS
    with pytest.raises(ConfigError, match=r"must be in 1\.\.65536, got 65537"):
        Topology(cores=65_537)


@pytest.mark.parametrize(
    ("arguments", "cpus", "topology"),
    [
        ((None, None, None), 1, Topology()),
        ((4, None, None), 4, Topology(cores=4)),
        ((None, 4, None), 4, Topology(cores=4)),
        ((4, 6, None), 4, Topology(cores=6)),
        ((None, None, Topology(sockets=2, cores=3)), 6, Topology(sockets=2, cores=3)),
        ((1, None, Topology(sockets=2, cores=3)), 1, Topology(sockets=2, cores=3)),
        ((1, 6, Topology(sockets=2, cores=3)), 1, Topology(sockets=2, cores=3)),
    ],
)
def test_what_is_left_open_follows_from_the_rest(arguments, cpus, topology):
    assert resolve_topology(*arguments) == (cpus, topology.max_cpus, topology)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, None, None), "cpus must be in 1..65536, got 0"),
        ((65_537, None, None), "cpus must be in 1..65536, got 65537"),
        ((1, 0, None), "max_cpus must be in 1..65536, got 0"),
        ((1, 65_537, None), "max_cpus must be in 1..65536, got 65537"),
        (
            (4, 3, None),
            "Invalid CPU topology: maxcpus must be equal to or greater than smp: "
            "sockets (1) * clusters (1) * cores (3) * threads (1) == maxcpus (3) < smp_cpus (4)",
        ),
        (
            (1, 5, Topology(sockets=2, cores=3)),
            "Invalid CPU topology: product of the hierarchy must match maxcpus: "
            "sockets (2) * clusters (1) * cores (3) * threads (1) != maxcpus (5)",
        ),
    ],
)
def test_counts_that_do_not_fit_are_refused_with_value_and_limit(arguments, text):
    with pytest.raises(ConfigError) as caught:
        resolve_topology(*arguments)
    assert str(caught.value) == text


def test_slots_tell_place_affinity_and_occupant():
    machine = VirtMachine(cpus=2, topology=Topology(sockets=2, clusters=2, cores=5, threads=2))
    slots = machine.possible_cpus
    assert len(slots) == 40
    assert [slot.index for slot in slots] == list(range(40))
    assert slots[17].arch_id == 0x101
    assert slots[17].props == (0, 1, 3, 1)
    assert slots[17].type == machine.cpu_type
    assert slots[1].cpu is machine.cpus[1]
    assert slots[2].cpu is None


def test_slot_views_are_equal_by_machine_and_index():
    machine, other = VirtMachine(cpus=2), VirtMachine(cpus=2)
    assert machine.possible_cpus[1] == machine.possible_cpus[1]
    assert len({machine.possible_cpus[1], machine.possible_cpus[1]}) == 1
    assert machine.possible_cpus[0] != machine.possible_cpus[1]
    assert machine.possible_cpus[1] != other.possible_cpus[1]
    assert machine.possible_cpus[1] != 1


def test_possible_cpus_is_a_sequence():
    slots = VirtMachine(cpus=1, max_cpus=8).possible_cpus
    assert slots[-1].index == 7
    assert [slot.index for slot in slots[2:8:2]] == [2, 4, 6]
    assert [slot.index for slot in reversed(slots)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert slots[3] in slots
    assert slots.index(slots[3]) == 3
    assert "CpuSlot 3 arch_id=0x3" in repr(slots[3])
    for index in (8, -9):
        with pytest.raises(IndexError, match=r"in 0\.\.7, got"):
            slots[index]
