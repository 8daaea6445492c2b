"""How far a vCPU may run before it could unmask its interrupts: one row for each instruction that ends a block."""

import struct

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3.unicorn import blocks

NOP = 0xD503_201F
ENDS = {
    "b": 0x1400_0001, "bl": 0x9400_0001, "b.eq": 0x5400_0020, "cbz x0": 0xB400_0020, "cbnz w0": 0x3500_0020,
    "tbz w0, #0": 0x3600_0020, "tbnz x0, #32": 0xB700_0020, "br x0": 0xD61F_0000, "blr x0": 0xD63F_0000,
    "ret": 0xD65F_03C0, "eret": 0xD69F_03E0, "svc #0": 0xD400_0001, "hvc #0": 0xD400_0002, "smc #0": 0xD400_0003,
    "brk #0": 0xD420_0000, "hlt #0": 0xD440_0000, "msr daifclr, #2": 0xD503_42FF, "msr daifclr, #15": 0xD503_4FFF,
    "msr daif, x3": 0xD51B_4223,
}
GOES_ON = {
    "nop": NOP, "add x0, x1, x2": 0x8B02_0020, "ldr x0, [x1]": 0xF940_0020, "msr daifset, #2": 0xD503_42DF,
    "mrs x3, daif": 0xD53B_4223, "msr spsel, #1": 0xD500_41BF, "mrs x0, icc_iar1_el1": 0xD538_CC00,
    "isb": 0xD503_3FDF, "wfi": 0xD503_207F, "msr nzcv, x3": 0xD51B_4203, "adr x0, .": 0x1000_0000,
}


def code(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


@pytest.mark.parametrize("name", ENDS)
def test_a_block_ends_with_what_branches_or_may_unmask(name: str) -> None:
    assert blocks.length(code(NOP, NOP, ENDS[name], NOP, ENDS["b"])) == 3
    assert blocks.length(code(ENDS[name], NOP)) == 1


@pytest.mark.parametrize("name", GOES_ON)
def test_a_block_goes_on_through_anything_else(name: str) -> None:
    assert blocks.length(code(GOES_ON[name], NOP, ENDS["ret"])) == 3


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"abc", 1), (code(NOP), 1), (code(NOP, NOP) + b"abc", 2)])
def test_without_an_end_in_sight_the_whole_words_count_and_at_least_one(data: bytes, count: int) -> None:
    assert blocks.length(data) == count


def test_the_window_is_a_whole_number_of_instructions() -> None:
    assert blocks.length(code(*[NOP] * (blocks.WINDOW // 4))) == 16
