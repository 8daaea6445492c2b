"""`gicv3 run`: guests from the shell."""

import dataclasses
import gzip
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("unicorn", exc_type=ImportError)

from unicorn_code import words
from unicorn_rig import HI, OFF

from gicv3 import ConfigError
from gicv3.cli.run import CANNOT_RUN, INTERRUPTED, NEVER_ENDS, TIMED_OUT, USAGE, Options, load, parse_smp, run
from gicv3.machine import MIB
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

DEFAULTS = Options(
    image=None, kernel=None, initrd=None, append=None, acpi=False, smp="1", memory=16, plug_at=(), timeout=None,
    quantum=1000, clock="instructions", load_address=0x4020_0000,
)
FOREVER = words("""
    14000000  b .
""")
ASLEEP = words("""
    d503207f  wfi
    17ffffff  b .-4
""")
EXIT = words("""
    d2800300  mov x0, #0x18               // SYS_EXIT
    10000041  adr x1, block
    d45e0000  hlt #0xf000
    d503201f  block: nop
""")[:12] + struct.pack("<QQ", 0x2_0026, 7)
START_THE_OTHER = words("""
    d2b88000  again: movz x0, #0xc400, lsl #16    // PSCI CPU_ON, until there is one
    f2800060  movk x0, #3
    d2800021  mov x1, #1
    100000a2  adr x2, other
    d4000002  hvc #0
    b5ffff60  cbnz x0, again
    d503207f  wfi
    17ffffff  b .-4
    other:
""") + OFF


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., int]:
    def play(code: bytes, **options: object) -> int:
        path = tmp_path / "guest"
        path.write_bytes(code)
        return run(dataclasses.replace(DEFAULTS, **{"image": path} | options))  # type: ignore[arg-type]

    return play


def test_uart_is_printed_and_system_off_is_success(play, capfdbinary) -> None:
    assert play(HI + OFF) == 0
    assert capfdbinary.readouterr() == (b"hi", b"")


def test_semihosting_exit_is_the_exit_status(play) -> None:
    assert play(EXIT) == 7


@pytest.mark.parametrize("clock", ["instructions", "host"])
def test_guest_without_an_end_is_ended(play, capfdbinary, clock: str) -> None:
    assert play(FOREVER, timeout=0.01, clock=clock) == TIMED_OUT
    assert capfdbinary.readouterr().err == b"gicv3 run: the guest has not ended within 0.01 s\n"


@pytest.mark.parametrize("timeout", [None, 1e9 - 1])
def test_guest_that_nobody_can_wake_is_ended(play, capfdbinary, timeout: float | None) -> None:
    assert play(ASLEEP, timeout=timeout) == NEVER_ENDS
    assert capfdbinary.readouterr().err == b"gicv3 run: the guest waits for ever\n"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_command_that_was_started_with_a_stream_closed_does_without(
    play, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert play(HI + ASLEEP) == NEVER_ENDS


@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_vcpu_is_plugged_when_asked_for(play, seconds: float) -> None:
    assert play(START_THE_OTHER, smp="1,maxcpus=2", plug_at=(seconds,)) == 0


@pytest.mark.parametrize("clock", ["instructions", "host"])
def test_guest_that_sleeps_sees_a_vcpu_plugged_at_its_time(play, clock: str) -> None:
    assert play(ASLEEP, smp="1,maxcpus=2", plug_at=(0.001,), clock=clock) == NEVER_ENDS


def test_guest_that_sleeps_until_a_vcpu_is_plugged_is_ended_by_the_time_out(play) -> None:
    assert play(ASLEEP, smp="1,maxcpus=2", plug_at=(10**8,), timeout=0.01, clock="host") == TIMED_OUT


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"smp": "1,maxcpus=2", "plug_at": (0.1, 0.2)}, b"--plug-at must be given at most 1 times"),
        ({"plug_at": (0.1,)}, b"--plug-at must be given at most 0 times"),
        ({"smp": "1,maxcpus=2", "plug_at": (-1.0,)}, b"--plug-at must be in 0..1000000000 seconds, got -1"),
        ({"smp": "1,maxcpus=2", "plug_at": (float("nan"),)}, b"--plug-at must be in 0..1000000000 seconds, got nan"),
        ({"timeout": -1.0}, b"--timeout must be in 0..1000000000 seconds, got -1"),
        ({"timeout": 1e9}, b"--timeout must be in 0..1000000000 seconds, got 1e+09"),
        ({"timeout": float("inf")}, b"--timeout must be in 0..1000000000 seconds, got inf"),
        ({"timeout": float("nan")}, b"--timeout must be in 0..1000000000 seconds, got nan"),
        ({"initrd": Path("initrd")}, b"--initrd is for --kernel"),
        ({"append": ""}, b"--append is for --kernel"),
        ({"acpi": True}, b"--acpi is for --kernel"),
        ({"code": b""}, b"IMAGE must not be empty"),
        ({"code": bytes(2 << 20), "memory": 1}, b"is not within the RAM"),
        ({"load_address": 0x4020_0002}, b"entry must be a multiple of 4, got 0x40200002"),
        ({"image": Path("/nowhere")}, b"No such file"),
        ({"smp": "2,maxcpus=1"}, b"maxcpus must be equal to or greater than smp"),
        ({"clock": "sun"}, b"clock must be one of instructions, host"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(play, capfdbinary, options: dict, text: bytes) -> None:
    assert play(**{"code": OFF} | options) == USAGE
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.startswith(b"gicv3 run: ")
    assert err.count(b"\n") == 1
    assert text in err


def test_a_kernel_without_the_package_for_devicetrees_is_told_in_a_line(
    tmp_path: Path, capfdbinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = bytearray(4096)
    kernel[56:60] = b"ARM\x64"
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    monkeypatch.setitem(sys.modules, "fdt", None)
    assert run(dataclasses.replace(DEFAULTS, kernel=path)) == CANNOT_RUN
    err = capfdbinary.readouterr().err
    assert err.count(b"\n") == 1
    assert b"gicv3[fdt]" in err


def test_ctrl_c_ends_a_guest_that_makes_nothing_but_exceptions_and_says_so(
    play, capfdbinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: UnicornMachine, *arguments: object, **options: object) -> Stop:
        while run_guest(engine, 1000) is not Stop.LIMIT:
            pass
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("Ctrl-C was not heard")

    run_guest = UnicornMachine.run
    monkeypatch.setattr(UnicornMachine, "run", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in background
    try:
        assert play(bytes(4)) == INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert re.fullmatch(
        rb"gicv3 run: vCPU 0 takes one exception after another, .* ESR_EL1 0x\w+; its vectors, VBAR_EL1, are at 0x0\n",
        capfdbinary.readouterr().err,
    )


def test_guest_without_memory_at_its_vectors_is_ended(play, capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gicv3.cli.run.WATCH", 10_000)
    assert play(bytes(4)) == CANNOT_RUN
    assert b"takes one exception after another" in capfdbinary.readouterr().err


def test_guest_with_memory_at_its_vectors_goes_on(play, capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gicv3.cli.run.WATCH", 1000)
    vectors_at_itself = words("""
        10000000  adr x0, .
        d518c000  msr vbar_el1, x0
        d5033fdf  isb
        00000000  udf #0
    """)
    assert play(vectors_at_itself, timeout=0.05) == TIMED_OUT


def test_more_vcpus_than_qemus_map_has_room_for(play, capfdbinary) -> None:
    assert play(HI + OFF, smp="1,maxcpus=1000") == 0


def test_vcpu_that_is_off_is_not_accused(play, capfdbinary) -> None:
    assert play(FOREVER, smp="2,maxcpus=3", plug_at=(0.0,), timeout=0.01) == TIMED_OUT
    assert capfdbinary.readouterr().err == b"gicv3 run: the guest has not ended within 0.01 s\n"


@pytest.mark.parametrize(("text", "cpus"), [("4", (4, 4)), ("4,maxcpus=8", (4, 8))])
def test_smp(text: str, cpus: tuple[int, int]) -> None:
    assert parse_smp(text) == cpus


@pytest.mark.parametrize("text", ["", "four", "4,maxcpus", "4,8", "-1"])
def test_other_smp_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--smp must be N or N,maxcpus=M, got"):
        parse_smp(text)


def elf() -> bytes:
    """An ELF file that loads HI + OFF behind two bytes of nothing, and is entered behind them."""
    code = bytes(4) + HI + OFF
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 183, 1, 0x4030_0004, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, 0x8000_0000, 0x4030_0000, len(code), len(code) + 8, 4096)
    return header + segment + code


def test_elf_file_is_loaded_at_its_physical_address_and_entered_where_it_says(play, capfdbinary) -> None:
    assert play(elf()) == 0
    assert capfdbinary.readouterr().out == b"hi"
    assert load(elf(), 0, 16 * MIB)["image"].endswith(OFF + bytes(8))


# Where the fields of an ELF file are that `elf` writes, and their formats.
EI_CLASS, EI_DATA, E_TYPE, E_MACHINE = (4, "<B"), (5, "<B"), (16, "<H"), (18, "<H")
E_ENTRY, E_PHOFF, E_PHENTSIZE, E_PHNUM = (24, "<Q"), (32, "<Q"), (54, "<H"), (56, "<H")
P_OFFSET, P_PADDR, P_FILESZ, P_MEMSZ = (72, "<Q"), (88, "<Q"), (96, "<Q"), (104, "<Q")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (EI_CLASS, 1, "class must be ELFCLASS64, got ELFCLASS32"),
        (EI_CLASS, 3, "Invalid EI_CLASS"),
        (EI_DATA, 2, "byte order must be ELFDATA2LSB, got ELFDATA2MSB"),
        (EI_DATA, 3, "Invalid EI_DATA"),
        (E_TYPE, 1, "type must be ET_EXEC or ET_DYN, got ET_REL"),
        (E_TYPE, 4, "type must be ET_EXEC or ET_DYN, got ET_CORE"),
        (E_TYPE, 0x1234, "type must be ET_EXEC or ET_DYN, got 4660"),
        (E_MACHINE, 62, "machine must be EM_AARCH64, got EM_X86_64"),
        (E_ENTRY, 0x4030_0006, "entry must be a multiple of 4, got 0x40300006"),
        (E_PHOFF, 0x1000, "not whole"),
        (E_PHOFF, 1 << 40, "not whole"),
        (E_PHOFF, 1 << 63, "not whole"),
        (E_PHENTSIZE, 0, "not whole"),
        (E_PHNUM, 0, "no PT_LOAD"),
        (E_PHNUM, 2, "not whole"),
        (E_PHNUM, 65534, "not whole"),
        (P_OFFSET, 121, "has bytes 0x79..0x9d of 0x9c"),
        (P_OFFSET, 1 << 63, "not whole"),
        (P_PADDR, 0x3FFF_FFFF, "not within the RAM"),
        (P_PADDR, 0x4100_0000 - 43, "not within the RAM"),
        (P_PADDR, (1 << 64) - 1, "not within the RAM"),
        (P_FILESZ, 37, "has bytes 0x78..0x9d of 0x9c"),
        (P_FILESZ, 1 << 62, "not whole"),
        (P_MEMSZ, 35, "the segment of 0x23 bytes at 0x40300000 has bytes 0x78..0x9c"),
        (P_MEMSZ, 0, "no PT_LOAD"),
        (P_MEMSZ, 16 * MIB + 1, "must be within the RAM of 0x1000000 bytes, got 0x1000001"),
        (P_MEMSZ, 1 << 40, "must be within the RAM"),
        (P_MEMSZ, (1 << 64) - 1, "must be within the RAM"),
    ],
)
def test_elf_file_that_cannot_be_right_is_refused(
    play, capfdbinary, field: tuple[int, str], value: int, text: str
) -> None:
    image = bytearray(elf())
    offset, layout = field
    struct.pack_into(layout, image, offset, value)
    assert play(bytes(image)) == USAGE
    err = capfdbinary.readouterr().err
    assert err.startswith(b"gicv3 run: ")
    assert err.count(b"\n") == 1
    assert text.encode() in err


@pytest.mark.parametrize(
    ("field", "value"),
    [(E_TYPE, 3), (P_PADDR, 0x4100_0000 - 44), (P_FILESZ, 35), (P_MEMSZ, 36), (P_MEMSZ, 16 * MIB), (P_OFFSET, 119)],
)
def test_elf_file_at_the_edge_is_loaded(field: tuple[int, str], value: int) -> None:
    image = bytearray(elf())
    offset, layout = field
    struct.pack_into(layout, image, offset, value)
    assert load(bytes(image), 0, 16 * MIB)["entry"] == 0x4030_0004


def test_elf_file_that_breaks_off_is_refused() -> None:
    for length in range(4, len(elf())):
        with pytest.raises(ConfigError, match="not whole"):
            load(elf()[:length], 0, 16 * MIB)


KERNEL = words("""
    14000010  b .+64
""") + bytes(4) + struct.pack("<QQ", 0, 8192) + bytes(32) + b"ARM\x64" + bytes(4) + words("""
    d2a12001  movz x1, #0x0900, lsl #16
    b9403022  ldr w2, [x1, #0x30]         // UARTCR
    11018442  add w2, w2, #'a'
    b9000022  str w2, [x1]                // UARTDR takes its low byte
    b9400003  ldr w3, [x0]                // the devicetree's magic
    5281ba04  mov w4, #0x0dd0
    72bdbfc4  movk w4, #0xedfe, lsl #16
    6b04007f  cmp w3, w4
    54000001  b.ne .
""") + OFF


@pytest.mark.parametrize(("options", "said"), [({}, b"a"), ({"acpi": True}, b"b"), ({"its": True}, b"a")])
def test_kernel_gets_a_devicetree_and_by_acpi_a_uart_that_is_on(
    tmp_path: Path, capfdbinary, options: dict[str, bool], said: bytes
) -> None:
    pytest.importorskip("fdt", exc_type=ImportError)
    path = tmp_path / "kernel"
    path.write_bytes(KERNEL)
    assert run(dataclasses.replace(DEFAULTS, kernel=path, timeout=60, **options)) == 0  # type: ignore[arg-type]
    assert capfdbinary.readouterr() == (said, b"")


def test_kernel_may_be_compressed(tmp_path: Path, capfdbinary) -> None:
    pytest.importorskip("fdt", exc_type=ImportError)
    path = tmp_path / "kernel"
    path.write_bytes(gzip.compress(KERNEL))
    assert run(dataclasses.replace(DEFAULTS, kernel=path, timeout=60)) == 0
    assert capfdbinary.readouterr() == (b"a", b"")


COMPRESSED = gzip.compress(KERNEL.ljust(8192, b"\0"))


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        (COMPRESSED[:2], b"kernel is damaged: its gzip data breaks off after 2 bytes"),
        (COMPRESSED[:-1], b"kernel is damaged: its gzip data breaks off"),
        (COMPRESSED[:-5] + b"\1" + COMPRESSED[-4:], b"kernel is damaged: Error -3"),
        (COMPRESSED[:10] + bytes(8) + COMPRESSED[18:], b"kernel is damaged: Error -3"),
        (gzip.compress(bytes(16 * MIB)), b"ram_size must be larger than the decompressed kernel, got 16777216"),
        (gzip.compress(bytes(100)), b"kernel must be an arm64 Image, got one that begins with"),
        (KERNEL[:59], b"kernel must be an arm64 Image"),
        (KERNEL[:8] + struct.pack("<QQ", 0, 1 << 45) + KERNEL[24:], b"ram_size must be at least 35184374185985"),
        (KERNEL[:8] + struct.pack("<QQ", (1 << 64) - 1, 64) + KERNEL[24:], b"ram_size must be at least 18446744073"),
    ],
)
@pytest.mark.parametrize("acpi", [False, True])
def test_kernel_that_cannot_be_right_is_refused(
    tmp_path: Path, capfdbinary, kernel: bytes, text: bytes, acpi: bool
) -> None:
    pytest.importorskip("fdt", exc_type=ImportError)
    path, initrd = tmp_path / "kernel", tmp_path / "initrd"
    path.write_bytes(kernel)
    initrd.write_bytes(b"x")
    assert run(dataclasses.replace(DEFAULTS, kernel=path, initrd=initrd, acpi=acpi)) == USAGE
    err = capfdbinary.readouterr().err
    assert err.startswith(b"gicv3 run: " + text)
    assert err.count(b"\n") == 1


@pytest.mark.parametrize("both", [True, False])
def test_there_is_one_guest(both: bool, tmp_path: Path, capfdbinary) -> None:
    assert run(dataclasses.replace(DEFAULTS, image=tmp_path, kernel=tmp_path) if both else DEFAULTS) == USAGE
    assert b"either IMAGE or --kernel" in capfdbinary.readouterr().err


def test_command_types_what_it_reads(tmp_path: Path) -> None:
    echo = words("""
        d2a12001  movz x1, #0x0900, lsl #16
        52806022  mov w2, #0x301
        b9003022  str w2, [x1, #0x30]         // UARTCR: on
        b9401822  wait: ldr w2, [x1, #0x18]   // UARTFR
        3727ffe2  tbnz w2, #4, wait           // RXFE
        b9400022  ldr w2, [x1]
        b9000022  str w2, [x1]
    """)
    path = tmp_path / "guest"
    path.write_bytes(echo + OFF)
    code = "import sys; from gicv3.cli import main; sys.argv[0] = 'gicv3'; main()"
    done = subprocess.run([sys.executable, "-c", code, "run", path], input=b"x", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x", b"")
