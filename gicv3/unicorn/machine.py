"""A `VirtMachine` whose vCPUs run real code: one Uc each, shared RAM, one deterministic clock."""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from math import ceil
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from unicorn import arm64_const

from gicv3.arguments import integer, switch
from gicv3.association import CPUHotplugInfo
from gicv3.errors import ConfigError, GicError
from gicv3.machine import SPI, Region, VirtMachine
from gicv3.notifier import Notifier
from gicv3.pl011 import PL011
from gicv3.pl031 import PL031
from gicv3.timer import TimerBank
from gicv3.unicorn import _native, layout
from gicv3.unicorn.cpu import OFF, POWER, GuestCpu
from gicv3.vcpu import PowerState, Unique, Vcpu

PAGE = 4096
MAX_QUANTUM = 1 << 31
TCG_BUFFER = 1 << 20, 1 << 31
"""Least and most bytes that Unicorn uses, which says nothing of other numbers."""
CPU_MODELS = {
    "cortex-a53": arm64_const.UC_CPU_ARM64_A53,
    "cortex-a57": arm64_const.UC_CPU_ARM64_A57,
    "cortex-a72": arm64_const.UC_CPU_ARM64_A72,
}
"""Not the "max" of Unicorn 2.1.4: it ends the whole process when its guest executes some of the SVE instructions."""
CLOCKS = ("instructions", "host")
END = (1 << 64) - 1


class Stop(Enum):
    """Why `UnicornMachine.run` came back.

    OFF: the guest is switched off, by PSCI SYSTEM_OFF or a semihosting exit; `UnicornMachine.status` has its status.
    RESET: the guest called PSCI SYSTEM_RESET; `UnicornMachine.boot` starts it again.
    IDLE: every vCPU sleeps or is off, and no timer is set: only the host can wake one.
    LIMIT: the ticks asked for have passed.
    STOPPED: `UnicornMachine.stop` was called.
    """

    OFF = "off"
    RESET = "reset"
    IDLE = "idle"
    LIMIT = "limit"
    STOPPED = "stopped"


_driven: weakref.WeakSet[VirtMachine] = weakref.WeakSet()


class UnicornMachine(_native.Turns, Unique):
    """Runs the vCPUs of a machine on Unicorn, in turns, as they are plugged, powered and unplugged.

    The system counter counts instructions. In a turn every vCPU that is awake executes the same number of them at the
    same time, as the vCPUs of a real machine do; when all sleep the counter jumps to the next timer. So runs can be
    repeated exactly. A turn is `quantum` instructions or less: results depend on it only where the guest's work depends
    on time. A vCPU takes an interrupt between turns, after its own accesses to the GIC and the timer, and wherever it
    unmasks one: before the next instruction. With `clock="host"` the counter follows the host's time instead, runs are
    not repeatable, and timers move between turns.

    Devices: the GIC, the generic timers, UART and RTC, and the machine's `mmio_devices`; any other address outside RAM
    is an external abort. HVC is PSCI. The machine's `on_power`, `on_system_off` and `on_system_reset` are taken until
    `close`.

    Parameters: `machine`, driven by this until `close`, which also says how much RAM there is; `image`, a flat image or
    the path of one, loaded at `load_address` in RAM; `entry`, where the boot vCPU starts with X0 = `x0`, by default at
    `load_address`; `files`, (address, data) of more to load; `quantum`, instructions, 1..2**31; `clock`,
    "instructions" or "host"; `seconds`, the RTC's time, by default that of the host at the start and then the guest's;
    `cpu_model`, a key of `CPU_MODELS`; `semihosting`, whether HLT #0xF000 with SYS_EXIT ends the guest;
    `uart_on`, whether the UART is switched on at the start, as firmware leaves it; `output`,
    called with what the guest sends to its UART; `tcg_buffer`, bytes for the translated code of one vCPU, 2**20..2**31.
    Attributes:
        machine, gic, timers: the `VirtMachine`, its GIC and its timers.
        memory: the guest's RAM, writable; after changing code that may have run call `flush_code`.
        ram_base, ram_size: where the RAM is, and its bytes: the machine's, in whole pages.
        uart: the `PL011`: `receive` types into it.
        rtc: the `PL031`.
        clock: the system counter, ticks since the start.
        instructions: how many all vCPUs together have executed.
        halted: `Stop.OFF` or `Stop.RESET` once the guest has asked for it; otherwise None.
        status: exit status of a guest that has ended with a semihosting call; otherwise 0.
        image, files, entry, x0, uart_on: as given, or by default: what `boot` starts from.
        cpu_model, tcg_buffer, layout, ram_address, devices: what vCPUs are made with.
    Raises: ConfigError, also when another one drives `machine`; GicError when the host has no room for the RAM;
    UnicornError when Unicorn cannot do what is needed.
    Thread-safety: `post` and `stop` may be called from any thread, everything else from the one that runs it.
    """

    def __init__(
        self,
        machine: VirtMachine,
        *,
        image: bytes | str | PathLike[str] = b"",
        load_address: int = 0x4020_0000,
        entry: int | None = None,
        x0: int = 0,
        files: Iterable[tuple[int, bytes]] = (),
        quantum: int = 1000,
        clock: str = "instructions",
        seconds: Callable[[], float] | None = None,
        cpu_model: str = "cortex-a72",
        semihosting: bool = True,
        uart_on: bool = False,
        output: Callable[[bytes], object] | None = None,
        tcg_buffer: int = 8 << 20,
    ) -> None:
        _check(machine, quantum, clock, cpu_model)
        load_address = integer("load_address", load_address)
        self.entry = load_address if entry is None else _within("entry", entry, 0, END)
        self.x0 = _within("x0", x0, 0, END)
        self.tcg_buffer = _within("tcg_buffer", tcg_buffer, *TCG_BUFFER)
        self.uart_on = switch("uart_on", uart_on)
        semihosting = switch("semihosting", semihosting)
        self.ram_base, size = machine.memory_map["RAM"]
        self.ram_size = -(-size // PAGE) * PAGE
        self.image = image if isinstance(image, bytes) else Path(image).read_bytes()
        if entry is None and self.image.startswith(b"\x7fELF"):
            raise ConfigError("image must be flat, got ELF: `gicv3 run` loads one, objcopy -O binary flattens it")
        self.files = ((load_address, self.image), *files)
        for address, data in self.files:
            if not self.ram_base <= address <= self.ram_base + self.ram_size - len(data):
                raise ConfigError(
                    f"the image of {len(data):#x} bytes at {address:#x} is not within the RAM of "
                    f"{self.ram_size:#x} bytes at {self.ram_base:#x}"
                )
        if self.entry % 4:
            raise ConfigError(f"entry must be a multiple of 4, got {self.entry:#x}")
        self.machine, self.gic, self.timers = machine, machine.gic, machine.timers
        self.cpu_model = CPU_MODELS[cpu_model]
        self.layout = layout.probe(self.cpu_model)
        self.halted: Stop | None = None
        self.status = 0
        self._ram = _memory_of_the_host(self.ram_size)
        self.ram_address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        self.memory = memoryview(self._ram)
        self.uart = PL011(_line(machine, "UART0"), output)
        self.rtc = PL031(_line(machine, "RTC"), seconds or _start_of_time(weakref.ref(self)))
        alarms = _Alarms(weakref.proxy(self), machine.timers)
        self._host_clock = clock == "host"
        self.set_up(alarms, quantum, self._host_clock, semihosting)
        self.devices = tuple(_pages({
            machine.memory_map["UART0"]: self.uart,
            machine.memory_map["RTC"]: _Noticed(self.rtc, alarms.changed),
            **getattr(machine, "mmio_devices", {}),
        }))
        self._cpus: dict[int, GuestCpu] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._event = threading.Condition()
        self._stop_requested = False
        self._running = False
        self._finalizer = weakref.finalize(self, *_connect(weakref.ref(self), machine, self._ram))
        self._finalizer.atexit = False
        try:
            for cpu in machine.cpus.values():
                self._plugged(cpu)
        except BaseException:
            self.close()
            raise
        self._start()

    # Host side

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Let go of the machine and close every Uc; the RAM stays readable. Safe to repeat.

        Raises: GicError while it runs.
        """
        if self._running:
            raise GicError("this UnicornMachine runs, and cannot be closed: stop() it, and close it after run()")
        try:
            self._finalizer()
        finally:
            for index in list(self._cpus):
                self._unplugged(index)

    def __enter__(self) -> UnicornMachine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def cpu(self, index: int) -> GuestCpu:
        """The engine side of plugged vCPU `index`, with its `uc`. Raises: KeyError when it is not plugged."""
        return self._cpus[index]

    def boot(self) -> None:
        """Load the image again and start the boot vCPU, after the guest has asked for a reset or been switched off.

        Raises: GicError when closed, and from a callback while a vCPU runs; a posted action may call it.
        """
        self._check_between_turns("booted")
        if self.halted is Stop.OFF:
            self.machine.reset()
        self._start()

    def flush_code(self) -> None:
        """Make every vCPU see code that the host has written into `memory`. Raises: GicError, as `boot`."""
        self._check_between_turns("flushed")
        for cpu in self._cpus.values():
            cpu.flush(code=True, translations=False)

    def post(self, action: Callable[[], object]) -> None:
        """Have `action()` called between two turns by the thread in `run`, or at its next call; thread-safe."""
        with self._event:
            self._posted.append(action)
            self.attention = True
            self._event.notify_all()

    def stop(self) -> None:
        """Make `run` come back between two turns, or its next call at once; thread-safe."""
        with self._event:
            self._stop_requested = True
            self.attention = True
            self._event.notify_all()

    def run(self, ticks: int | None = None, *, wait: bool = False) -> Stop:
        """Run the guest.

        Parameters: `ticks`, counter ticks after which to come back, at least 1, None for no limit; `wait`, sleep until
        `post` or `stop` where it would come back with IDLE, by the host's clock no longer than for `ticks`.
        Returns: why it came back. Raises: what a callback or a posted action raised; GicError when closed, or when it
        runs already, for which it does not matter who asks: a callback, an action, or another thread.
        """
        if self.closed:
            raise GicError("this UnicornMachine is closed")
        if self._running:
            raise GicError("this UnicornMachine runs already")
        if ticks is not None and integer("ticks", ticks) < 1:
            raise ConfigError(f"ticks must be at least 1, got {ticks}")
        end = END if ticks is None else min(self.clock + ticks, END)
        self._running = True
        try:
            return self._run(end, wait)
        finally:
            self._running = False

    def _run(self, end: int, wait: bool) -> Stop:
        self._look()
        while True:
            while self._posted:
                self._posted.popleft()()
                self._look()
            if self._stop_requested:
                self._stop_requested = False
                return Stop.STOPPED
            if self.halted is not None:
                return self.halted
            self.attention = False
            if self._posted or self._stop_requested:
                continue
            match self.run_turns(end):
                case _native.TURNS_END:
                    return Stop.LIMIT
                case _native.TURNS_IDLE:
                    if not wait:
                        return Stop.IDLE
                    self._wait(end if self._host_clock else END)
                case _native.TURNS_SLEEP:
                    self._wait(min(self.deadline, end))

    def _wait(self, end: int) -> None:
        """Sleep until `post` or `stop`, at most until the counter would be at `end`."""
        seconds = min((end - self.clock) / self.timers.frequency, threading.TIMEOUT_MAX)
        with self._event:
            self._event.wait_for(lambda: self._posted or self._stop_requested, seconds)

    def _check_between_turns(self, what: str) -> None:
        if self.closed:
            raise GicError("this UnicornMachine is closed")
        if any(cpu.running for cpu in self._cpus.values()):
            raise GicError(f"this UnicornMachine runs, and cannot be {what} by a callback: post() it")

    def _look(self) -> None:
        """Take over what the host may have changed: the vCPUs' power and the offset of their counters."""
        for cpu in self._cpus.values():
            cpu.power = POWER[cpu.vcpu.power_state]
            cpu.set_offset(cpu.vcpu.timer.cntvoff if cpu.vcpu.has_timer else 0)

    def _start(self) -> None:
        for address, data in self.files:
            offset = address - self.ram_base
            self.memory[offset : offset + len(data)] = data
        if self.uart_on:
            self.uart.switch_on()
        self.halted = None
        self.halt(False)
        boot = self.machine.cpus[0]
        boot.context.pc, boot.context.x0 = self.entry, self.x0
        for cpu in self._cpus.values():
            cpu.waiting = False
            if cpu.vcpu.power_state is PowerState.ON:
                cpu.power_on()

    def exit(self, status: int) -> None:
        """End the guest with an exit status, as SYSTEM_OFF does with 0; for callbacks while it runs."""
        self.status = status
        self._halt(Stop.OFF)

    def _halt(self, why: Stop) -> None:
        self.halted = why
        self.halt(True)

    # Hotplug

    def _plugged(self, cpu: Vcpu) -> None:
        self._cpus[cpu.cpu_index] = GuestCpu(self, cpu)
        self._reorder()

    def _unplugged(self, index: int) -> None:
        cpu = self._cpus.pop(index, None)
        if cpu is not None:
            self._reorder()
            cpu.power = OFF
            if cpu.running:
                # It has taken itself away: its Uc can go only when that has come back.
                self.post(cpu.release)
            else:
                cpu.release()

    def _reorder(self) -> None:
        self.set_cores(self._cpus[index] for index in sorted(self._cpus))


class _Alarms:
    """The timers of all PEs and the alarm of the RTC, on one counter."""

    def __init__(self, engine: UnicornMachine, timers: TimerBank) -> None:
        self._engine, self._timers = engine, timers
        self.frequency = timers.frequency

    def next_deadline(self) -> int | None:
        timer, seconds = self._timers.next_deadline(), self._engine.rtc.wait
        if seconds is None:
            return timer
        alarm = min(self._engine.clock + max(1, ceil(seconds * self.frequency)), END)
        return alarm if timer is None else min(timer, alarm)

    def advance(self, now: int) -> None:
        self._timers.advance(now)
        self._engine.rtc.poll()

    def changed(self) -> None:
        self._engine.refresh_deadline()


class _Noticed:
    """A device with something that is done after each of its writes."""

    def __init__(self, device: PL031, after: Callable[[], object]) -> None:
        self.read, self._write, self._after = device.read, device.write, after

    def write(self, offset: int, value: int, size: int) -> None:
        self._write(offset, value, size)
        self._after()


def _check(machine: object, quantum: int, clock: str, cpu_model: str) -> None:
    """Refuse what a `UnicornMachine` cannot be made of."""
    if not isinstance(machine, VirtMachine):
        raise ConfigError(f"machine must be a VirtMachine, got {machine!r}")
    if machine.gic.config.el2:
        raise ConfigError("machine must be without virtualization: guests run at EL1 and EL0")
    if machine in _driven:
        raise ConfigError("machine must be driven by one UnicornMachine, got one that another drives")
    if not 1 <= integer("quantum", quantum) <= MAX_QUANTUM:
        raise ConfigError(f"quantum must be in 1..{MAX_QUANTUM} instructions, got {quantum}")
    if clock not in CLOCKS:
        raise ConfigError(f"clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
    if cpu_model not in CPU_MODELS:
        raise ConfigError(f"cpu_model must be one of {', '.join(CPU_MODELS)}, got {cpu_model!r}")


def _memory_of_the_host(size: int) -> mmap.mmap:
    """Anonymous pages: what the guest does not touch costs nothing."""
    try:
        return mmap.mmap(-1, size)
    except OSError as error:
        raise GicError(f"the host has no {size:#x} bytes for the guest's RAM: {error.strerror}") from error


def _within(name: str, value: int, least: int, most: int) -> int:
    number = integer(name, value)
    if not least <= number <= most:
        raise ConfigError(f"{name} must be in {least:#x}..{most:#x}, got {number:#x}")
    return number


def _line(machine: VirtMachine, device: str) -> Callable[[bool], None]:
    gic, intid = machine.gic, 32 + SPI[device]
    return lambda level: gic.set_spi(intid, level)


def _start_of_time(this: weakref.ref[UnicornMachine]) -> Callable[[], float]:
    """The host's time of now, and from then on the guest's."""
    start = time.time()

    def seconds() -> float:
        engine = this()
        return start + (engine.clock / engine.timers.frequency if engine is not None else 0)

    return seconds


def _pages(devices: Mapping[Region, Any]) -> Iterator[tuple[int, int, Callable[..., int], Callable[..., object]]]:
    """Whole pages with what answers there: (base, size, read, write) for `UnicornPort.map_device`."""
    pages: dict[int, list[tuple[Region, Any]]] = {}
    for region, device in devices.items():
        for page in range(region.base // PAGE, -(-(region.base + region.size) // PAGE)):
            pages.setdefault(page * PAGE, []).append((region, device))
    for page, there in pages.items():
        yield page, PAGE, *_accesses(there)


def _accesses(there: list[tuple[Region, Any]]) -> tuple[Callable[[int, int], int], Callable[[int, int, int], None]]:
    """`read(address, size)` and `write(address, value, size)` for the devices of one page; between them is nothing."""

    def read(address: int, size: int) -> int:
        for (base, length), device in there:
            if base <= address < base + length:
                return int(device.read(address - base, size))
        return 0

    def write(address: int, value: int, size: int) -> None:
        for (base, length), device in there:
            if base <= address < base + length:
                device.write(address - base, value, size)

    return read, write


def _connect(this: weakref.ref[UnicornMachine], machine: VirtMachine, ram: mmap.mmap) -> tuple[Any, ...]:
    """Listen to `machine`, whose GIC has its tables in `ram`, without keeping `this` alive.

    Returns: what ends that, a function and its arguments.
    """

    def on_hotplug(info: CPUHotplugInfo) -> None:
        if (engine := this()) is not None:
            if info.plugging:
                engine._plugged(info.cpu)
            else:
                engine._unplugged(info.cpu.cpu_index)

    def halt(why: Stop) -> None:
        if (engine := this()) is not None:
            engine._halt(why)

    def on_off() -> None:
        halt(Stop.OFF)

    def on_reset() -> None:
        if (engine := this()) is not None:
            engine.uart.reset()
            engine.rtc.reset()
        halt(Stop.RESET)

    def on_power(cpu: Vcpu, state: PowerState) -> None:
        """A vCPU that is ON_PENDING is started at its next turn."""
        if (engine := this()) is not None and (core := engine._cpus.get(cpu.cpu_index)) is not None:
            core.power = POWER[state]

    machine.gic.memory.map(machine.memory_map["RAM"].base, ram)
    _driven.add(machine)
    notifier = Notifier(on_hotplug)
    machine.cpuhp_notifiers.add(notifier)
    machine.on_power, machine.on_system_off, machine.on_system_reset = on_power, on_off, on_reset
    return _disconnect, weakref.ref(machine), notifier, (on_power, on_off, on_reset)


def _disconnect(machine: weakref.ref[VirtMachine], notifier: Notifier, callbacks: tuple[Any, Any, Any]) -> None:
    notifier.remove()
    if (owner := machine()) is not None:
        _driven.discard(owner)
        for name, callback in zip(("on_power", "on_system_off", "on_system_reset"), callbacks):
            if getattr(owner, name) is callback:
                setattr(owner, name, None)
        owner.gic.memory.unmap(owner.memory_map["RAM"].base)
