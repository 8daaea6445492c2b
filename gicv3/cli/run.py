"""`gicv3 run`: a guest from the shell, its UART on the terminal, its exit status as the command's."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unicorn import Uc
from unicorn import arm64_const as reg

from gicv3 import ConfigError, GicError
from gicv3.machine import MIB, REDIST2_CAPACITY, VirtMachine
from gicv3.unicorn import Stop, UnicornMachine
from gicv3.unicorn.linux import linux
from gicv3.vcpu import PowerState

USAGE, TIMED_OUT, NEVER_ENDS, CANNOT_RUN, INTERRUPTED = 2, 124, 125, 126, 130
"""Exit statuses: 124 is that of timeout(1), 125 that of a guest that only the host could wake, when nobody types."""
MAX_SECONDS = 10**9
APPEND = "console=ttyAMA0"
VECTORS_SIZE = 0x800
WATCH = 1 << 26
"""Counter ticks, about a second of the guest's, between two looks whether its vCPUs can get anywhere."""

_VBAR, _ELR, _ESR, _PC = (
    reg.UC_ARM64_REG_VBAR_EL1, reg.UC_ARM64_REG_ELR_EL1, reg.UC_ARM64_REG_ESR_EL1, reg.UC_ARM64_REG_PC
)
_SMP = re.compile(r"(\d+)(?:,maxcpus=(\d+))?")
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class Options:
    """What the command line says; see `gicv3 run --help`."""

    image: Path | None
    kernel: Path | None
    initrd: Path | None
    append: str | None
    acpi: bool
    smp: str
    memory: int
    plug_at: Sequence[float]
    timeout: float | None
    quantum: int
    clock: str
    load_address: int
    its: bool = False


def parse_smp(text: str) -> tuple[int, int]:
    """vCPUs at boot and possible vCPUs, from N or N,maxcpus=M. Raises: ConfigError."""
    match = _SMP.fullmatch(text)
    if match is None:
        raise ConfigError(f"--smp must be N or N,maxcpus=M, got {text!r}")
    cpus = int(match[1])
    return cpus, int(match[2] or cpus)


def load(image: bytes, load_address: int, ram_size: int) -> dict[str, Any]:
    """Arguments for `UnicornMachine` that load an ELF file, where it says, or a flat image. Raises: ConfigError."""
    if image[:4] != _ELF:
        return {"image": image, "load_address": load_address}
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(image))
        for what, got, wanted in (
            ("class", elf.header.e_ident.EI_CLASS, ("ELFCLASS64",)),
            ("byte order", elf.header.e_ident.EI_DATA, ("ELFDATA2LSB",)),
            ("type", elf.header.e_type, ("ET_EXEC", "ET_DYN")),
            ("machine", elf.header.e_machine, ("EM_AARCH64",)),
        ):
            if got not in wanted:
                raise ConfigError(f"the ELF file's {what} must be {' or '.join(wanted)}, got {got}")
        segments = [segment.header for segment in elf.iter_segments("PT_LOAD") if segment.header.p_memsz]
    except (ELFError, OverflowError) as error:
        raise ConfigError(f"the ELF file is not whole: {error}") from error
    if not segments:
        raise ConfigError("the ELF file must have something to load, got no PT_LOAD segment")
    needed = sum(segment.p_memsz for segment in segments)
    if needed > ram_size:
        raise ConfigError(f"the ELF file's segments must be within the RAM of {ram_size:#x} bytes, got {needed:#x}")
    (address, first), *rest = ((segment.p_paddr, _contents(image, segment)) for segment in segments)
    return {"image": first, "load_address": address, "files": rest, "entry": elf.header.e_entry}


def _contents(image: bytes, segment: Any) -> bytes:
    """What a segment of an ELF file has in memory; not more than RAM has."""
    begin, end = segment.p_offset, segment.p_offset + segment.p_filesz
    if end > len(image) or segment.p_filesz > segment.p_memsz:
        raise ConfigError(
            f"the ELF file is not whole: the segment of {segment.p_memsz:#x} bytes at {segment.p_paddr:#x} "
            f"has bytes {begin:#x}..{end:#x} of {len(image):#x}"
        )
    return image[begin:end].ljust(segment.p_memsz, b"\0")


def run(options: Options) -> int:
    """Run a guest until it ends. Returns: the exit status."""
    try:
        engine = _make(options)
    except (ConfigError, OSError) as error:
        return _failed(error, USAGE)
    except (GicError, ImportError) as error:
        return _failed(error, CANNOT_RUN)
    try:
        with closing(engine):
            return _drive(engine, options)
    except GicError as error:
        return _failed(error, CANNOT_RUN)
    except KeyboardInterrupt:
        return INTERRUPTED


def _failed(error: Exception, status: int) -> int:
    print(f"gicv3 run: {error}", file=sys.stderr)
    return status


def _make(options: Options) -> UnicornMachine:
    if (options.image is None) == (options.kernel is None):
        raise ConfigError("either IMAGE or --kernel must be given, and not both")
    for name, given in {"--initrd": options.initrd, "--append": options.append, "--acpi": options.acpi or None}.items():
        if given is not None and options.kernel is None:
            raise ConfigError(f"{name} is for --kernel")
    cpus, max_cpus = parse_smp(options.smp)
    machine = VirtMachine(
        cpus=cpus,
        max_cpus=max_cpus,
        redist2_capacity=max(REDIST2_CAPACITY, max_cpus),
        ram_size=options.memory * MIB,
        its=options.its,
    )
    times = [("--plug-at", at) for at in options.plug_at]
    if options.timeout is not None:
        times.append(("--timeout", options.timeout))
    for name, seconds in times:
        if not 0 <= seconds < MAX_SECONDS:
            raise ConfigError(f"{name} must be in 0..{MAX_SECONDS} seconds, got {seconds:g}")
    if len(options.plug_at) > max_cpus - cpus:
        raise ConfigError(
            f"--plug-at must be given at most {max_cpus - cpus} times, as often as --smp leaves a vCPU absent, "
            f"got {len(options.plug_at)}"
        )
    if options.kernel is not None:
        initrd = options.initrd.read_bytes() if options.initrd else b""
        append = APPEND if options.append is None else options.append
        guest = linux(machine, options.kernel.read_bytes(), initrd=initrd, append=append, acpi=options.acpi)
    else:
        assert options.image is not None
        image = options.image.read_bytes()
        if not image:
            raise ConfigError(f"IMAGE must not be empty: {options.image}")
        guest = load(image, options.load_address, machine.memory_map["RAM"].size)
    return UnicornMachine(machine, quantum=options.quantum, clock=options.clock, output=_print, **guest)


def _print(data: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _drive(engine: UnicornMachine, options: Options) -> int:
    """Run, plug at the times asked for, and type what comes on standard input."""
    limit = None if options.timeout is None else time.monotonic() + options.timeout
    timer = threading.Timer(options.timeout or 0, engine.stop)
    timer.daemon = True
    if limit is not None:
        timer.start()
    plugs = [round(at * engine.timers.frequency) for at in sorted(options.plug_at)]
    silent = threading.Event()
    threading.Thread(target=_type, args=(engine, silent), daemon=True).start()
    try:
        while True:
            if plugs and engine.clock >= plugs[0]:
                plugs.pop(0)
                _plug(engine.machine)
            ticks = min(WATCH, max(1, plugs[0] - engine.clock)) if plugs else WATCH
            match engine.run(ticks, wait=options.clock == "host" if plugs else not silent.is_set()):
                case Stop.OFF:
                    return engine.status
                case Stop.RESET:
                    engine.boot()
                case Stop.IDLE if plugs:
                    engine.clock = plugs[0]
                case Stop.LIMIT if _hopeless(engine):
                    _tell(engine)
                    return CANNOT_RUN
                case Stop.IDLE:
                    print("gicv3 run: the guest waits for ever", file=sys.stderr)
                    return NEVER_ENDS
                case Stop.STOPPED if limit is not None and time.monotonic() >= limit:
                    print(f"gicv3 run: the guest has not ended within {options.timeout:g} s", file=sys.stderr)
                    _tell(engine)
                    return TIMED_OUT
    except KeyboardInterrupt:
        _tell(engine)
        raise
    finally:
        timer.cancel()


def _running(engine: UnicornMachine) -> Iterator[tuple[int, Uc, int, int | None]]:
    """vCPUs that are on: index, Uc, VBAR_EL1, and, of one that took an exception in its vectors, the place."""
    for index, cpu in engine.machine.cpus.items():
        if cpu.power_state is PowerState.ON:
            uc = engine.cpu(index).uc
            vectors, *places = (uc.reg_read(register) for register in (_VBAR, _ELR, _PC))
            nested = all(0 <= place - vectors < VECTORS_SIZE for place in places)
            yield index, uc, vectors, places[0] if nested else None


def _hopeless(engine: UnicornMachine) -> bool:
    """Whether all vCPUs that are on take exceptions without end, because there is no memory where their vectors are."""
    ram = range(engine.ram_base, engine.ram_base + engine.ram_size)
    running = list(_running(engine))
    return bool(running) and all(nested is not None and vectors not in ram for _, _, vectors, nested in running)


def _tell(engine: UnicornMachine) -> None:
    """Say which vCPUs get no further for exceptions."""
    for index, uc, vectors, nested in _running(engine):
        if nested is not None:
            print(
                f"gicv3 run: vCPU {index} takes one exception after another, the last at {nested:#x} with ESR_EL1 "
                f"{uc.reg_read(_ESR):#x}; its vectors, VBAR_EL1, are at {vectors:#x}",
                file=sys.stderr,
            )


def _plug(machine: VirtMachine) -> None:
    """Plug the first possible vCPU that is absent."""
    slot = next(slot for slot in machine.possible_cpus if slot.cpu is None)
    machine.device_add(id=f"cpu{slot.index}", **slot.props._asdict())


def _type(engine: UnicornMachine, silent: threading.Event) -> None:
    """Standard input to the UART, until it ends; then nobody types any more. It is None when it was closed before."""
    try:
        if sys.stdin is not None:
            with ExitStack() as stack:
                stack.callback(_unbuffered())
                while data := os.read(sys.stdin.fileno(), 256):
                    engine.post(_typing(engine, data))
    except (OSError, ValueError):
        return
    finally:
        silent.set()
        engine.stop()


def _typing(engine: UnicornMachine, data: bytes) -> Callable[[], None]:
    return lambda: engine.uart.receive(data)


def _unbuffered() -> Callable[[], None]:
    """Have a terminal hand over every character, without an echo: the guest makes its own. Returns: what undoes it."""
    if not sys.stdin.isatty():
        return lambda: None
    import atexit
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def restore() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    # The thread that reads never comes back while the terminal is open.
    atexit.register(restore)
    tty.setcbreak(descriptor)
    return restore
