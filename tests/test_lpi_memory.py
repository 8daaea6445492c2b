"""Guest memory as the GIC sees it: buffers, and callbacks that never run under the lock."""

import mmap
import threading

import numpy
import pytest

from gicv3 import ConfigError, GICv3, GICv3Config
from tests.lpis import CES, FIRST, IR, PEND, PROP, RAM, LpiRig
from tests.rig import SPURIOUS


def fresh() -> GICv3:
    return GICv3(GICv3Config(cpus=1, lpis=True))


def test_regions_are_told_in_order_and_hold_what_was_mapped() -> None:
    memory = fresh().memory
    memory.map(0x8000, bytearray(16))
    memory.map(0x1000, mmap.mmap(-1, 4096))
    memory.map(0x3000, numpy.zeros(5, dtype=numpy.uint64))
    memory.map_callbacks(0x10000, 0x2000, lambda address, size: None, lambda address, data: None)
    assert memory.regions == ((0x1000, 4096, "buffer"), (0x3000, 40, "buffer"), (0x8000, 16, "buffer"),
                              (0x10000, 0x2000, "callbacks"))
    memory.write(0x8004, b"abc")
    assert memory.read(0x8003, 5) == b"\0abc\0"
    memory.unmap(0x3000)
    assert [region[0] for region in memory.regions] == [0x1000, 0x8000, 0x10000]


@pytest.mark.parametrize(
    ("address", "size", "text"),
    [
        (0x0FFF, 2, "memory regions must not overlap, got 0xfff..0x1000"),
        (0x10FF, 1, "memory regions must not overlap, got 0x10ff..0x10ff"),
        (0x0800, 0x2000, "memory regions must not overlap, got 0x800..0x27ff"),
        ((1 << 52) - 1, 2, "a memory region must hold 1 or more bytes and end below 2**52, got 0x2 at 0xfffffffffffff"),
        (-1, 2, "a memory region must hold 1 or more bytes and end below 2**52, got 0x2 at -0x1"),
        (0, 0, "a memory region must hold 1 or more bytes and end below 2**52, got 0x0 at 0x0"),
    ],
)
def test_a_region_that_cannot_be_is_refused(address: int, size: int, text: str) -> None:
    memory = fresh().memory
    memory.map(0x1000, bytearray(0x100))
    with pytest.raises(ConfigError) as caught:
        memory.map(address, bytearray(size))
    assert str(caught.value) == text
    assert memory.regions == ((0x1000, 0x100, "buffer"),)
    memory.map(0x0FFF, bytearray(1))
    memory.map(0x1100, bytearray(1))
    memory.map((1 << 52) - 1, bytearray(1))


def test_the_sixty_fifth_region_is_refused() -> None:
    memory = fresh().memory
    for n in range(64):
        memory.map(n * 16, bytearray(8))
    with pytest.raises(ConfigError, match="at most 64 memory regions may be mapped, got another at 0x400"):
        memory.map(64 * 16, bytearray(8))
    memory.unmap(0)
    memory.map(64 * 16, bytearray(8))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda memory: memory.unmap(0x1001), "a region must begin at the address to unmap, got 0x1001"),
        (lambda memory: memory.read(0x10FF, 2), "2 bytes must lie inside one mapped buffer, got 0x10ff"),
        (lambda memory: memory.write(0xFFF, b"ab"), "2 bytes must lie inside one mapped buffer, got 0xfff"),
        (lambda memory: memory.map_callbacks(0x2800, 4096, print, print),
         "callback memory must be whole pages of 4096 bytes, got 0x1000 at 0x2800"),
        (lambda memory: memory.map_callbacks(0x2000, 4096, None, print), "read must be callable, got None"),
    ],
)
def test_mistakes_name_the_value(call: object, text: str) -> None:
    memory = fresh().memory
    memory.map(0x1000, bytearray(0x100))
    with pytest.raises(ConfigError) as caught:
        call(memory)  # type: ignore[operator]
    assert str(caught.value) == text


def test_a_buffer_cannot_be_resized_while_mapped_and_can_afterwards() -> None:
    memory = fresh().memory
    buffer = bytearray(64)
    memory.map(0, buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    memory.unmap(0)
    buffer.append(0)


def test_a_read_only_buffer_must_be_mapped_as_such() -> None:
    memory = fresh().memory
    with pytest.raises(BufferError):
        memory.map(0, b"1234")
    memory.map(0, b"1234", writable=False)


def test_arguments_of_another_type_are_named() -> None:
    memory = fresh().memory
    for text, call in (
        ("address must be an integer, got '0'", lambda: memory.map("0", bytearray(1))),  # type: ignore[arg-type]
        ("buffer must be an object with a contiguous buffer, got 3: ", lambda: memory.map(0, 3)),
        ("size must be an integer, got 1.5", lambda: memory.map_callbacks(0, 1.5, bytes, bytes)),  # type: ignore[arg-type]
        ("address must be an integer, got None", lambda: memory.unmap(None)),  # type: ignore[arg-type]
        ("size must be an integer, got '1'", lambda: memory.read(0, "1")),  # type: ignore[arg-type]
        ("data must be bytes, got 7", lambda: memory.write(0, 7)),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value).startswith(text)


def test_memory_is_read_and_written_by_whole_ranges_of_one_buffer() -> None:
    memory = fresh().memory
    memory.map(0x1000, bytearray(16))
    memory.write(0x1008, memoryview(bytes(range(8))))
    assert memory.read(0x1006, 4) == bytes((0, 0, 0, 1))
    for address, size in ((0x1000, 17), (0xFFF, 1), (0x1010, 1), (0x1004, -1)):
        with pytest.raises(ConfigError, match=f"{size} bytes must lie inside one mapped buffer, got {address:#x}"):
            memory.read(address, size)


def test_unmapped_tables_fault_and_do_not_crash() -> None:
    rig = LpiRig()
    rig.gic.memory.unmap(RAM)
    rig.lpi(FIRST)
    rig.enable_lpis(on=False)
    assert rig.gic.totals()["lpi_table_faults"] == 2
    assert rig.gic.totals()["lpi_lost"] == 1


# --- callbacks


def test_callback_memory_gives_the_same_results_as_a_buffer() -> None:
    one, two = LpiRig(2), LpiRig(2, callbacks=True)
    for rig in (one, two):
        for n in range(40):
            rig.configure(FIRST + n * 1000, (n * 37 & 0xFC) | n % 5 != 0)
        for n in range(40):
            rig.lpi(FIRST + n * 1000, pe=n % 2)
        rig.gic.redist[0]["GICR_INVALLR"] = 0
        rig.enable_lpis(1, on=False)
    assert one.ram == two.ram
    assert one.gic.state_digest() == two.gic.state_digest()
    assert two.gic.redist[1]["GICR_CTLR"] == CES | IR
    for rig in (one, two):
        rig.enable_lpis(1)
    assert one.take_all(1) == two.take_all(1) != []
    assert one.take_all(0) == two.take_all(0) != []
    assert all(address % 4096 == 0 and size == 4096 for address, size in two.reads)


def test_a_cached_configuration_needs_no_callback() -> None:
    rig = LpiRig(callbacks=True)
    rig.lpi(FIRST)
    assert rig.take_all() == [FIRST]
    calls = len(rig.reads)
    rig.lpi(FIRST)
    assert rig.take_all() == [FIRST]
    assert len(rig.reads) == calls


def test_every_call_reads_callback_memory_anew() -> None:
    rig = LpiRig(callbacks=True, lpi_config="live")
    for prio in (0xA0, 0x40, 0x20):
        rig.configure(FIRST, prio | 1)
        rig.lpi(FIRST)
        assert rig.iar() == FIRST
        assert rig.rpr() == prio
        rig.eoi(FIRST)


def test_only_written_ranges_go_to_the_write_callback() -> None:
    rig = LpiRig(callbacks=True)
    rig.lpi(FIRST)
    rig.writes.clear()
    rig.enable_lpis(on=False)
    assert sorted(rig.writes) == [(PEND + 1024, 4096 - 1024), (PEND + 4096, 4096)]
    assert rig.table_bit(FIRST)


def test_a_callback_may_call_the_gic() -> None:
    rig = LpiRig(callbacks=True)
    seen = []

    def read(address: int, size: int) -> bytes | None:
        seen.append((rig.gic.redist[0]["GICR_CTLR"], rig.iar()))
        rig.lpi(FIRST + 0x2000)
        return rig.read_ram(address, size)

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.lpi(FIRST)
    assert rig.take_all() == [FIRST, FIRST + 0x2000]
    assert seen[0] == (CES | IR | 1, SPURIOUS)


def test_what_a_callback_raises_comes_out_of_the_call_and_counts_as_no_memory() -> None:
    rig = LpiRig(callbacks=True)

    def read(address: int, size: int) -> bytes | None:
        raise OSError("gone")

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    with pytest.raises(OSError, match="gone"):
        rig.lpi(FIRST)
    assert rig.gic.totals()["lpi_table_faults"] == 1
    assert rig.lpis() == [FIRST]


@pytest.mark.parametrize("brought", [b"", b"x" * 4095, b"x" * 4097])
def test_a_callback_that_brings_another_size_is_refused(brought: bytes) -> None:
    rig = LpiRig(callbacks=True)
    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), lambda address, size: brought, rig.write_ram)
    with pytest.raises(ConfigError, match=f"must return 4096 bytes or None, got {len(brought)} bytes"):
        rig.lpi(FIRST)


def test_threads_share_callback_memory_without_deadlock() -> None:
    rig = LpiRig(4, callbacks=True)
    intids = range(FIRST, FIRST + 40_000, 200)

    def send(pe: int) -> None:
        for intid in intids:
            rig.lpi(intid, pe=pe)
            rig.gic.redist[pe]["GICR_INVLPIR"] = intid

    threads = [threading.Thread(target=send, args=(pe,)) for pe in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.gic.step()
    for pe in range(4):
        assert rig.take_all(pe) == list(intids)


def test_tables_of_one_page_are_read_by_one_callback() -> None:
    rig = LpiRig(callbacks=True, enable=False, id_bits=14)
    rig.set_table_bit(FIRST)
    rig.enable_lpis()
    assert rig.reads == [(PEND, 4096), (PROP, 4096)]


@pytest.mark.parametrize("budget", [1, 4, 64])
def test_lpis_disabled_amid_the_reading_of_memory_that_changes_are_written_once_a_page(budget: int) -> None:
    rig = LpiRig(enable=False, callbacks=True, work_budget=budget)
    seen: dict[int, bytes] = {}
    wrote: dict[int, bytes] = {}

    def read(address: int, size: int) -> bytes | None:
        assert len(rig.reads) < 1000, "the GIC reads on and on"
        rig.reads.append((address, size))
        seen[address] = bytes([len(rig.reads) & 0xFF]) * size
        return seen[address]

    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, lambda address, data: wrote.update({address: data}))
    rig.enable_lpis()
    rig.enable_lpis(on=False)
    rig.finish()
    assert sorted(wrote) == [PEND + 1024, PEND + 4096]
    assert wrote[PEND + 4096] == seen[PEND + 4096]
    assert rig.gic.redist[0]["GICR_CTLR"] == CES | IR
    rig.gic.check()


@pytest.mark.parametrize(("pages", "left_out"), [(16, 0), (17, 0), (18, 1), (60, 43)])
def test_sixteen_exceptions_come_out_with_an_interrupt_and_the_rest_are_counted(pages: int, left_out: int) -> None:
    rig = LpiRig(callbacks=True, id_bits=18)

    def read(address: int, size: int) -> bytes | None:
        rig.reads.append((address, size))
        raise KeyboardInterrupt if len(rig.reads) == pages else OSError(len(rig.reads))

    rig.lpi(*range(FIRST, FIRST + pages * 4096, 4096))
    rig.gic.memory.unmap(RAM)
    rig.gic.memory.map_callbacks(RAM, len(rig.ram), read, rig.write_ram)
    rig.reads.clear()
    with pytest.raises(BaseExceptionGroup) as caught:
        rig.gic.redist[0]["GICR_INVALLR"] = 0
    assert len(rig.reads) == pages
    kept = caught.value.exceptions
    assert [error.args for error in kept[:15]] == [(n,) for n in range(1, 16)]
    assert isinstance(kept[-1], KeyboardInterrupt)
    assert len(kept) + left_out == pages
    assert caught.value.message == "callbacks failed" + (f", {left_out} more left out" if left_out else "")
