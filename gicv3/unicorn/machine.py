"""A `VirtMachine` whose vCPUs run real code: one Uc each, shared RAM, one deterministic clock."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections import deque
from collections.abc import Callable
from enum import Enum
from operator import index as as_index
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from unicorn import arm64_const

from gicv3.errors import ConfigError, GicError
from gicv3.hotplug import CPUHotplugInfo
from gicv3.machine import SPI, VirtMachine
from gicv3.notifier import Notifier
from gicv3.pl011 import PL011
from gicv3.unicorn import layout
from gicv3.unicorn.cpu import GuestCpu
from gicv3.vcpu import PowerState, Unique, Vcpu

PAGE = 4096
MAX_QUANTUM = 1 << 31
CPU_MODELS = {
    "cortex-a53": arm64_const.UC_CPU_ARM64_A53,
    "cortex-a57": arm64_const.UC_CPU_ARM64_A57,
    "cortex-a72": arm64_const.UC_CPU_ARM64_A72,
    "max": arm64_const.UC_CPU_ARM64_MAX,
}


class Stop(Enum):
    """Why `UnicornMachine.run` came back."""

    OFF = "off"
    """The guest called PSCI SYSTEM_OFF."""
    RESET = "reset"
    """The guest called PSCI SYSTEM_RESET; `UnicornMachine.boot` starts it again."""
    IDLE = "idle"
    """Every vCPU sleeps or is off, and no timer is set: only the host can wake one."""
    LIMIT = "limit"
    """The ticks asked for have passed."""
    STOPPED = "stopped"
    """`UnicornMachine.stop` was called."""


_driven: weakref.WeakSet[VirtMachine] = weakref.WeakSet()


class UnicornMachine(Unique):
    """Runs the vCPUs of a machine on Unicorn, in turns, as they are plugged, powered and unplugged.

    The system counter counts instructions. In a turn every vCPU that is awake executes the same number of them at the
    same time, as the vCPUs of a real machine do; when all sleep the counter jumps to the next timer. So runs can be
    repeated exactly. A turn is `quantum` instructions or less: results depend on it only where the guest's work depends
    on time. A vCPU takes an interrupt between turns, after its own accesses to the GIC and the timer, and wherever it
    unmasks one.

    Devices: the GIC, the generic timers and the UART; any other address outside RAM is an external abort. HVC is PSCI.
    The machine's `on_power`, `on_system_off` and `on_system_reset` are taken until `close`.

    Parameters: `machine`, driven by this until `close`; `image`, a flat image or the path of one, loaded at
    `load_address` in RAM, where the boot vCPU starts with X0 = `x0`; `ram`, base and size in bytes, whole pages;
    `quantum`, instructions, 1..2**31; `cpu_model`, a key of `CPU_MODELS`; `output`, called with what the guest sends to
    its UART; `tcg_buffer`, bytes for the translated code of one vCPU.
    Raises: ConfigError, also when another one drives `machine`; UnicornError when Unicorn cannot do what is needed.
    Thread-safety: `post` and `stop` may be called from any thread, everything else from the one that runs it.
    """

    def __init__(
        self,
        machine: VirtMachine,
        *,
        image: bytes | str | PathLike[str] = b"",
        load_address: int = 0x4020_0000,
        x0: int = 0,
        ram: tuple[int, int] = (0x4000_0000, 16 << 20),
        quantum: int = 1000,
        cpu_model: str = "cortex-a72",
        output: Callable[[bytes], object] | None = None,
        tcg_buffer: int = 8 << 20,
    ) -> None:
        if machine in _driven:
            raise ConfigError("machine must be driven by one UnicornMachine, got one that another drives")
        if not 1 <= as_index(quantum) <= MAX_QUANTUM:
            raise ConfigError(f"quantum must be in 1..{MAX_QUANTUM} instructions, got {quantum}")
        if cpu_model not in CPU_MODELS:
            raise ConfigError(f"cpu_model must be one of {', '.join(CPU_MODELS)}, got {cpu_model!r}")
        self.ram_base, self.ram_size = ram
        if self.ram_base % PAGE or self.ram_size % PAGE or self.ram_size <= 0:
            raise ConfigError(f"ram must be whole pages of {PAGE} bytes, got {self.ram_size:#x} at {self.ram_base:#x}")
        self.image = image if isinstance(image, bytes) else Path(image).read_bytes()
        if not self.ram_base <= load_address <= self.ram_base + self.ram_size - len(self.image):
            raise ConfigError(
                f"the image of {len(self.image):#x} bytes at {load_address:#x} is not within the RAM of "
                f"{self.ram_size:#x} bytes at {self.ram_base:#x}"
            )
        self.machine, self.gic, self.timers = machine, machine.gic, machine.timers
        self.load_address, self.x0 = load_address, x0
        self.quantum = quantum
        self.cpu_model = CPU_MODELS[cpu_model]
        self.tcg_buffer = tcg_buffer
        self.layout = layout.probe(self.cpu_model)
        self.clock = 0
        """The system counter: ticks since the start, each as long as one instruction."""
        self.instructions = 0
        """Instructions that all vCPUs together have executed."""
        self.halted: Stop | None = None
        """OFF or RESET once the guest has asked for it."""
        # Anonymous pages: what the guest does not touch costs nothing.
        self._ram = mmap.mmap(-1, self.ram_size)
        self.ram_address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        self.memory = memoryview(self._ram)
        """The guest's RAM, writable; after changing code that may have run call `flush_code`."""
        self.uart = PL011(_uart_line(machine), output)
        self._cpus: dict[int, GuestCpu] = {}
        self._order: tuple[GuestCpu, ...] = ()
        self._posted: deque[Callable[[], object]] = deque()
        self._event = threading.Condition()
        self._stop_requested = False
        self._finalizer = weakref.finalize(self, *_connect(weakref.ref(self), machine))
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
        """Let go of the machine and close every Uc; the RAM stays readable. Safe to repeat."""
        self._finalizer()
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
        """Load the image again and start the boot vCPU, after the guest has asked for a reset or been switched off."""
        if self.halted is Stop.OFF:
            self.machine.reset()
        self._start()

    def flush_code(self) -> None:
        """Make every vCPU see code that the host has written into `memory`."""
        for cpu in self._order:
            cpu.flush(code=True, translations=False)

    def post(self, action: Callable[[], object]) -> None:
        """Have `action()` called between two turns by the thread in `run`, or at its next call; thread-safe."""
        with self._event:
            self._posted.append(action)
            self._event.notify_all()

    def stop(self) -> None:
        """Make `run` come back between two turns, or its next call at once; thread-safe."""
        with self._event:
            self._stop_requested = True
            self._event.notify_all()

    def run(self, ticks: int | None = None, *, wait: bool = False) -> Stop:
        """Run the guest.

        Parameters: `ticks`, counter ticks after which to come back, at least 1, None for no limit; `wait`, sleep until
        `post` or `stop` where it would come back with IDLE.
        Returns: why it came back. Raises: what a callback or a posted action raised; GicError when closed.
        """
        if self.closed:
            raise GicError("this UnicornMachine is closed")
        if ticks is not None and as_index(ticks) < 1:
            raise ConfigError(f"ticks must be at least 1, got {ticks}")
        end = None if ticks is None else self.clock + ticks
        while True:
            while self._posted:
                self._posted.popleft()()
            if self._stop_requested:
                self._stop_requested = False
                return Stop.STOPPED
            if self.halted is not None:
                return self.halted
            if end is not None and self.clock >= end:
                return Stop.LIMIT
            if not self._turn(end) and not self._sleep(end):
                if not wait:
                    return Stop.IDLE
                with self._event:
                    self._event.wait_for(lambda: self._posted or self._stop_requested)

    # Turns

    def _turn(self, end: int | None) -> bool:
        """Let every vCPU that is awake run for one turn. Returns: whether any did."""
        clock = self.clock
        budget = self.quantum if end is None else min(self.quantum, end - clock)
        deadline = self.timers.next_deadline()
        if deadline is not None:
            if deadline <= clock:
                self.timers.advance(clock)
            else:
                budget = min(budget, deadline - clock)
        longest = 0
        try:
            for cpu in self._order:
                if cpu.vcpu.power_state is PowerState.ON_PENDING:
                    cpu.power_on()
                if cpu.runnable():
                    try:
                        cpu.run(clock, budget)
                    finally:
                        self.instructions += cpu.executed
                        longest = max(longest, cpu.executed)
                    if self.halted is not None:
                        break
        finally:
            # The guest has seen this time pass: after an error, too, it must not see it again.
            self.clock = clock + longest
        return longest > 0

    def _sleep(self, end: int | None) -> bool:
        """Nobody is awake: go to the next timer, at most to `end`. Returns: False if there is no timer."""
        deadline = self.timers.next_deadline()
        if deadline is None:
            return False
        self.clock = max(self.clock, deadline if end is None else min(deadline, end))
        self.timers.advance(self.clock)
        return True

    def _start(self) -> None:
        offset = self.load_address - self.ram_base
        self.memory[offset : offset + len(self.image)] = self.image
        self.halted = None
        boot = self.machine.cpus[0]
        boot.context.pc, boot.context.x0 = self.load_address, self.x0
        for cpu in self._order:
            cpu.waiting = False
            if cpu.vcpu.power_state is PowerState.ON:
                cpu.power_on()

    # What vCPUs ask of the machine

    def flush_others(self, cpu: GuestCpu, code: bool, translations: bool) -> None:
        """Make all vCPUs but `cpu` forget translated code or their TLB."""
        for other in self._order:
            if other is not cpu:
                other.flush(code, translations)

    # Hotplug

    def _plugged(self, cpu: Vcpu) -> None:
        self._cpus[cpu.cpu_index] = GuestCpu(self, cpu)
        self._order = tuple(self._cpus[index] for index in sorted(self._cpus))

    def _unplugged(self, index: int) -> None:
        cpu = self._cpus.pop(index, None)
        if cpu is not None:
            self._order = tuple(other for other in self._order if other is not cpu)
            cpu.detach()


def _uart_line(machine: VirtMachine) -> Callable[[bool], None]:
    gic, intid = machine.gic, 32 + SPI["UART0"]
    return lambda level: gic.set_spi(intid, level)


def _connect(this: weakref.ref[UnicornMachine], machine: VirtMachine) -> tuple[Any, ...]:
    """Listen to `machine` without keeping `this` alive. Returns: what ends that, a function and its arguments."""

    def on_hotplug(info: CPUHotplugInfo) -> None:
        if (engine := this()) is not None:
            if info.plugging:
                engine._plugged(info.cpu)
            else:
                engine._unplugged(info.cpu.cpu_index)

    def halt(why: Stop) -> None:
        if (engine := this()) is not None:
            engine.halted = why

    def on_off() -> None:
        halt(Stop.OFF)

    def on_reset() -> None:
        if (engine := this()) is not None:
            engine.uart.reset()
        halt(Stop.RESET)

    def on_power(cpu: Vcpu, state: PowerState) -> None:
        """A vCPU that is ON_PENDING is started at its next turn."""

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
