"""Random accesses to the ACPI registers among random plugs, against a slow model: no crash, and the same answers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gicv3 import HotplugError, VirtMachine
from gicv3.vcpu import PowerState

SLOTS = 6
COLD = 2
AFFINITIES = [0, 1, 0x1_0000_0000, 0x7_0001_0203, 0x300, 0xFF_00FF_FFFF]
INSERTING, REMOVING, EJECT, FIRMWARE = 2, 4, 8, 16


class Slot:
    """One possible vCPU as the registers have it."""

    def __init__(self, here: bool) -> None:
        self.here = here
        self.cold = here
        self.running = False
        self.asked = False
        self.flags = 0
        self.ost = [0, 0]


class Model:
    """The rules of the register block and the GED, written as they are told: one slot at a time."""

    def __init__(self) -> None:
        self.slots = [Slot(index < COLD) for index in range(SLOTS)]
        self.selector = 0
        self.command = 0
        self.ged = 0

    def add(self, index: int) -> None:
        slot = self.slots[index]
        if not slot.here:
            slot.here, slot.running, slot.asked = True, False, False
            slot.flags |= INSERTING
            self.ged = 8

    def request(self, index: int) -> None:
        slot = self.slots[index]
        if slot.here and not slot.cold:
            slot.asked = True
            slot.flags |= REMOVING
            self.ged = 8

    def run(self, index: int, running: bool) -> None:
        self.slots[index].running = running

    def eject(self, index: int) -> None:
        slot = self.slots[index]
        if slot.here and not slot.cold and slot.asked and not slot.running:
            slot.here = slot.asked = False
            slot.flags = 0

    def read(self, offset: int, size: int) -> int:
        if not good(offset, size) or self.selector >= SLOTS:
            return 0
        slot, value = self.slots[self.selector], 0
        if offset == 4:
            value = slot.flags | slot.here
        elif offset == 8:
            value = {0: self.selector, 3: AFFINITIES[self.selector]}.get(self.command, 0)
        elif offset == 0 and self.command == 3:
            value = AFFINITIES[self.selector] >> 32
        return value % 256**size

    def write(self, offset: int, value: int, size: int) -> None:
        if not good(offset, size):
            return
        value %= 256**size
        if offset == 0:
            self.selector = value
            return
        if self.selector >= SLOTS:
            return
        slot = self.slots[self.selector]
        if offset == 4:
            for bit in (INSERTING, REMOVING, EJECT, FIRMWARE):
                if value & bit:
                    break
            else:
                return
            if bit in (INSERTING, REMOVING):
                slot.flags &= ~bit
            elif bit == EJECT:
                self.eject(self.selector)
            elif slot.here and self.selector > 0:
                slot.flags |= FIRMWARE
        elif offset == 5 and value < 4:
            self.command = value
            if value == 0:
                turn = [(self.selector + step) % SLOTS for step in range(SLOTS)]
                self.selector = next((index for index in turn if self.slots[index].flags), self.selector)
        elif offset == 8 and self.command in (1, 2):
            slot.ost[self.command - 1] = value
            failed = slot.ost[0] in (3, 0x103) and slot.ost[1] not in (0, 0x84)
            if self.command == 2 and failed:
                slot.asked = False


def good(offset: int, size: int) -> bool:
    return size in (1, 2, 4) and offset % size == 0 and offset >= 0 and offset + size <= 12


cores = st.integers(0, SLOTS - 1)
values = st.one_of(st.integers(0, 0x20), st.sampled_from([0x81, 0x84, 0x103, 0x200]), st.integers(0, 2**64 - 1))
registers = st.sampled_from([(0, 4), (4, 1), (5, 1), (8, 4)])
places = st.one_of(registers, registers, st.tuples(st.integers(-8, 20), st.integers(0, 9)))
steps = st.one_of(
    st.tuples(st.just("add"), cores),
    st.tuples(st.just("request"), cores),
    st.tuples(st.just("eject"), cores),
    st.tuples(st.just("run"), cores, st.booleans()),
    st.tuples(st.just("reset")),
    st.tuples(st.just("ged"), places),
    st.tuples(st.just("read"), places),
    st.tuples(st.just("write"), places, values),
    st.tuples(st.just("write"), places, values),
)


class Pair:
    """A machine and the model of its registers, driven alike."""

    def __init__(self) -> None:
        self.machine = VirtMachine(cpus=COLD, affinities=AFFINITIES)
        device = self.machine.acpi_device
        assert device is not None
        self.device, self.block = device, device.cpuhp
        self.model = Model()

    def step(self, kind: str, *arguments: Any) -> None:
        getattr(self, kind)(*arguments)

    def add(self, core: int) -> None:
        with suppress(HotplugError):
            self.machine.device_add(id=f"cpu{core}", core_id=core)
        self.model.add(core)

    def request(self, core: int) -> None:
        with suppress(HotplugError):
            self.machine.device_del(f"cpu{core}")
        self.model.request(core)

    def eject(self, core: int) -> None:
        with suppress(HotplugError):
            self.machine.complete_unplug(f"cpu{core}")
        self.model.eject(core)

    def run(self, core: int, running: bool) -> None:
        cpu = self.machine.cpus.get(core)
        if cpu is not None:
            cpu.power_state = PowerState.ON if running else PowerState.OFF
            self.model.run(core, running)

    def reset(self) -> None:
        self.machine.reset()
        for index, slot in enumerate(self.model.slots):
            slot.running = index == 0

    def ged(self, place: tuple[int, int]) -> None:
        expected = 0
        if place == (0, 4):
            expected, self.model.ged = self.model.ged, 0
        assert self.device.read(*place) == expected
        self.device.write(place[0], 0xFFFF_FFFF, place[1])

    def read(self, place: tuple[int, int]) -> None:
        assert self.block.read(*place) == self.model.read(*place)

    def write(self, place: tuple[int, int], value: int) -> None:
        self.block.write(place[0], value, place[1])
        self.model.write(place[0], value, place[1])

    def compare(self) -> None:
        self.machine.check()
        assert self.device.read(0, 4) == self.model.ged
        assert [(info.source, info.status) for info in self.device.ospm_status()] == [
            tuple(slot.ost) for slot in self.model.slots
        ]
        for index, slot in enumerate(self.model.slots):
            cpu = self.machine.cpus.get(index)
            assert (cpu is not None) == slot.here
            assert (cpu is not None and cpu.unplug_requested) == slot.asked
            self.block.write(0, index, 4)
            self.model.selector = index
            for offset, size in ((4, 1), (8, 4), (0, 4)):
                assert self.block.read(offset, size) == self.model.read(offset, size)


@settings(max_examples=200)
@given(st.lists(steps, max_size=60))
@example([("add", 3), ("request", 3), ("write", (0, 4), 3), ("write", (4, 1), EJECT)])
@example([("add", 3), ("request", 3), ("run", 3, True), ("write", (0, 4), 3), ("write", (4, 1), EJECT)])
def test_any_accesses_among_any_plugs_do_what_the_model_does(sequence: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for step in sequence:
        pair.step(*step)
    pair.compare()
