"""Guest memory of callbacks: what becomes of work whose callbacks fail, act on the GIC, or never come to an end."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from gicv3 import GICv3, SnapshotError
from gicv3.its_commands import encode
from tests.itses import (
    COLLECTIONS,
    DEVICES,
    ITTS,
    QUEUE,
    VALID,
    ItsRig,
    discard,
    int_,
    inv,
    mapc,
    mapd,
    mapti,
    movi,
)
from tests.lpis import FIRST, LAST, PEND, RAM, RWP, LpiRig

# --- write callbacks that fail


class Deaf(ItsRig):
    """Tables in callback memory whose write callback does `on_write`; event 0 is LPI FIRST at PE 0, and pending."""

    def __init__(self) -> None:
        self.on_write: Callable[[], object] | None = None
        self.written = 0
        super().__init__(2, events=1, callbacks=True)
        self.msi(0)
        self.before = bytes(self.ram[DEVICES - RAM : QUEUE - RAM] + self.ram[ITTS - RAM :])

    def write_ram(self, address: int, data: bytes) -> None:
        if self.on_write is None:
            super().write_ram(address, data)
            return
        self.written += 1
        assert self.written < 10
        self.on_write()

    def unchanged(self) -> bool:
        return self.before == bytes(self.ram[DEVICES - RAM : QUEUE - RAM] + self.ram[ITTS - RAM :])


def refuse() -> None:
    raise OSError("disk")


WRITERS = [(mapd(2), 0x010801), (mapc(5, 1), 0x010903), (mapti(1, 3, FIRST + 3), 0x010A05), (movi(1, 0, 1), 0x010105),
           (discard(1, 0), 0x010F05)]  # fmt: skip


@pytest.mark.parametrize(("command", "code"), WRITERS, ids=["MAPD", "MAPC", "MAPTI", "MOVI", "DISCARD"])
def test_a_command_whose_entry_cannot_be_written_is_an_error_and_does_nothing(command: Any, code: int) -> None:
    rig = Deaf()
    rig.on_write = refuse
    with pytest.raises(OSError, match="disk"):
        rig.do(command)
    assert [error.code for error in rig.its.errors()] == [code]
    assert rig.its.errors()[0].command == command
    assert rig.its.counters()["table_faults"] == 1
    assert rig.unchanged()
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [])
    assert rig.its["GITS_CREADR"] == rig.offset
    assert not rig.gic.has_work
    rig.on_write = None
    rig.do(movi(1, 0, 1))
    assert (rig.lpis(0), rig.lpis(1)) == ([], [FIRST])


@pytest.mark.parametrize(("command", "code"), WRITERS, ids=["MAPD", "MAPC", "MAPTI", "MOVI", "DISCARD"])
def test_memory_unmapped_while_an_entry_is_written_fails_the_command(command: Any, code: int) -> None:
    rig = Deaf()
    rig.on_write = lambda: rig.gic.memory.unmap(RAM)
    rig.do(command)
    assert [error.code for error in rig.its.errors()] == [code]
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [])


def test_lpis_whose_table_cannot_be_written_are_lost_and_counted() -> None:
    rig = LpiRig(callbacks=True)
    rig.lpi(FIRST, 40_000, 41_000)
    rig.gic.memory.unmap(RAM)
    pages: list[int] = []

    def write(address: int, data: bytes) -> None:
        pages.append(address)
        if len(pages) == 2:
            raise OSError("disk")
        rig.write_ram(address, data)

    rig.gic.memory.map_callbacks(RAM, len(rig.ram), rig.read_ram, write)
    with pytest.raises(OSError, match="disk"):
        rig.enable_lpis(on=False)
    assert pages == [PEND + 1024, PEND + 4096]
    totals = rig.gic.totals()
    assert (totals["lpi_lost"], totals["lpi_table_faults"]) == (2, 1)
    assert not rig.gic.redist[0]["GICR_CTLR"] & RWP
    rig.enable_lpis()
    assert rig.lpis() == [FIRST]


def test_lpis_whose_memory_is_unmapped_while_they_are_written_are_lost_and_counted() -> None:
    rig = LpiRig(callbacks=True)
    rig.lpi(FIRST, LAST)
    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), rig.read_ram, lambda address, data: rig.gic.memory.unmap(RAM))
    rig.enable_lpis(on=False)
    totals = rig.gic.totals()
    assert (totals["lpi_lost"], totals["lpi_table_faults"]) == (2, 1)


def test_a_write_callback_that_drops_what_it_gets_does_not_keep_the_gic_busy() -> None:
    rig = Deaf()
    rig.on_write = lambda: None
    rig.do(movi(1, 0, 1), mapti(1, 3, FIRST + 3))
    assert rig.its.errors() == []
    assert rig.unchanged()
    rig.msi(0)  # goes where memory says
    assert (rig.lpis(0), rig.lpis(1)) == ([FIRST], [FIRST])


def test_pending_state_follows_when_the_entry_is_written_and_a_disabled_its_ends_its_command() -> None:
    rig = Deaf()
    seen = []

    def look() -> None:
        seen.append((rig.lpis(0), rig.its["GITS_CREADR"]))
        rig.its["GITS_CTLR"] = 0
        rig.its["GITS_CBASER"] = 0
        seen.append((rig.its["GITS_CTLR"] >> 31, rig.its["GITS_CBASER"]))

    rig.on_write = look
    before, queue = rig.offset, rig.its["GITS_CBASER"]
    rig.do(movi(1, 0, 1), mapti(1, 3, FIRST + 3))
    assert seen == [([FIRST], before), (0, queue)]
    assert (rig.lpis(0), rig.lpis(1)) == ([], [FIRST])
    assert rig.its["GITS_CREADR"] == before + 32
    assert rig.its["GITS_CTLR"] >> 31 == 1


# --- MSIs that wait for callback memory


def msis_meanwhile(msis: Callable[[ItsRig], None]) -> ItsRig:
    """A rig whose read callback sends MSIs while the first one is translated."""
    rig = ItsRig(1, events=2, callbacks=True, device_bits=16)
    rig.gic.memory.unmap(RAM)
    sent = []

    def read(address: int, size: int) -> bytes | None:
        if not sent:
            sent.append(True)
            msis(rig)
        return rig.read_ram(address, size)

    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.msi(5)
    return rig


def test_equal_msis_that_wait_are_one_and_take_no_room() -> None:
    def send(rig: ItsRig) -> None:
        for _ in range(2000):
            rig.msi(0)
        rig.msi(1)

    rig = msis_meanwhile(send)
    assert rig.lpis() == [FIRST, FIRST + 1]
    counters = rig.its.counters()
    assert (counters["msis"], counters["translated"], counters["unmapped"]) == (2002, 2, 1)
    assert (counters["merged"], counters["discarded"]) == (1999, 0)


def test_1024_msis_wait_and_more_are_discarded_and_counted() -> None:
    def send(rig: ItsRig) -> None:
        for device in range(2, 2 + 1022):
            rig.msi(0, device)
        rig.msi(0)
        rig.msi(1)

    rig = msis_meanwhile(send)
    assert rig.lpis() == [FIRST]
    counters = rig.its.counters()
    assert (counters["translated"], counters["unmapped"], counters["discarded"]) == (1, 1023, 1)


def test_msis_that_wait_when_a_reset_comes_are_counted_as_discarded() -> None:
    rig = msis_meanwhile(lambda rig: rig.gic.reset())
    assert rig.lpis() == []
    assert rig.its.counters()["discarded"] == 1


class Feedback(ItsRig):
    """Callback memory whose callbacks do `on_call` before each access; `calls` is how often one came."""

    def __init__(self, cpus: int = 1, **options: Any) -> None:
        self.on_call: Callable[[], object] | None = None
        self.calls = 0
        super().__init__(cpus, callbacks=True, work_budget=1, **options)
        self.finish()

    def called(self) -> None:
        self.calls += 1
        assert self.calls < 1 << 16
        if self.on_call is not None:
            self.on_call()

    def read_ram(self, address: int, size: int) -> bytes | None:
        self.called()
        return super().read_ram(address, size)

    def write_ram(self, address: int, data: bytes) -> None:
        self.called()
        super().write_ram(address, data)


CALLS = 8192
"""Callbacks of a call with a budget of one unit that is spent and never has an end."""


def test_a_read_callback_that_sends_new_msis_for_ever_does_not_keep_its_call() -> None:
    rig = Feedback(events=2, device_bits=16)
    devices = count(0x1000, 512)  # each in a page of the device table that is not at hand
    rig.its["GITS_CTLR"] = 0
    rig.its["GITS_BASER", 0] = VALID | DEVICES | 0xFF
    rig.its["GITS_CTLR"] = 1
    rig.finish()
    sent = rig.its.counters()["msis"]
    rig.calls, rig.on_call = 0, lambda: rig.msi(0, next(devices) & 0xFFFF)
    rig.msi(1)
    assert rig.calls == CALLS
    assert rig.gic.has_work
    assert rig.lpis() == [FIRST + 1]
    with pytest.raises(SnapshotError, match="cannot be saved, loaded or rewound while callbacks of guest memory"):
        rig.gic.save()
    rig.on_call = None
    rig.finish()
    counters = rig.its.counters()
    assert counters["msis"] - sent == sum(counters[name] for name in ("translated", "unmapped", "merged", "discarded"))
    GICv3.restore(rig.gic.save())


def test_callbacks_that_give_two_itss_commands_for_ever_do_not_keep_their_call() -> None:
    rig = Feedback(its=2)
    queues = (QUEUE, QUEUE + 4096)
    for its, queue in zip(rig.gic.its, queues):
        rig.ram[queue - RAM : queue - RAM + 4096] = encode(mapc(1, 0)) * 128
        its["GITS_CTLR"] = 0
        its["GITS_BASER", 0] = VALID | DEVICES
        its["GITS_BASER", 1] = VALID | COLLECTIONS
        its["GITS_CBASER"] = VALID | queue
        its["GITS_CTLR"] = 1
    rig.finish()

    def go_on() -> None:
        for its in rig.gic.its:
            its["GITS_CWRITER"] = (its["GITS_CREADR"] + 64) % 4096

    rig.on_call = go_on
    rig.its["GITS_CWRITER"] = 64
    for _ in range(2):
        assert rig.gic.has_work
        rig.calls = 0
        rig.gic.step(0)
        assert rig.calls == CALLS
    with pytest.raises(SnapshotError, match="cannot be saved, loaded or rewound while callbacks of guest memory"):
        rig.gic.save()
    rig.on_call = None
    rig.finish()
    assert [its.errors() for its in rig.gic.its] == [[], []]
    assert [its["GITS_CREADR"] == its["GITS_CWRITER"] for its in rig.gic.its] == [True, True]
    assert sum(its.counters()["commands"] for its in rig.gic.its) > 1000
    GICv3.restore(rig.gic.save())


# --- budgets and callbacks


@pytest.mark.parametrize("command", [int_, inv, lambda device, event: mapti(device, event, FIRST + event)],
                         ids=["INT", "INV", "MAPTI"])  # fmt: skip
@pytest.mark.parametrize("budget", [1, 16, 100])
def test_a_call_does_no_more_callbacks_and_commands_than_its_budget_and_what_is_under_way(
    budget: int, command: Callable[[int, int], Any]
) -> None:
    rig = ItsRig(1, events=4, callbacks=True, work_budget=budget)
    rig.finish()
    rig.put(*(command(1, n % 4) for n in range(100)))
    done = rig.its.counters()["commands"]
    calls = 0
    while not calls or rig.gic.has_work:
        before = rig.its.counters()["commands"], len(rig.reads) + len(rig.writes)
        if calls:
            rig.gic.step(0)
        else:
            rig.its["GITS_CWRITER"] = rig.offset
        calls += 1
        assert rig.its.counters()["commands"] - before[0] <= 2 * budget + 17
        assert len(rig.reads) + len(rig.writes) - before[1] <= budget + 17
        data = rig.gic.save()
        assert GICv3.restore(data).save() == data
    assert rig.its.counters()["commands"] - done == 100
    assert calls > 1
    assert rig.its.errors() == []


def test_an_msi_of_callback_memory_is_translated_in_its_call_whatever_the_budget() -> None:
    rig = ItsRig(1, events=4, callbacks=True, work_budget=1)
    rig.finish()
    rig.put(*(mapti(1, n, FIRST + n) for n in range(32)))
    rig.its["GITS_CWRITER"] = rig.offset
    assert rig.gic.has_work
    rig.msi(3)
    assert rig.its.counters()["translated"] == 1
    rig.finish()
    assert rig.lpis() == [FIRST + 3]
