"""`gicv3 demo`: vCPUs come and go under a running guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gicv3 import GicError
from gicv3.guests import (
    EJECT_REQUEST_OFFSET,
    LOAD_ADDRESS,
    MAGIC,
    MAILBOX_ADDRESS,
    MAILBOX_SIZE,
    MAX_CPUS_OFFSET,
    QUIT_OFFSET,
    SPI_DOORBELL,
    TIMER_PERIOD_OFFSET,
    CpuRecord,
    CpuState,
    Mailbox,
    parse_mailbox,
    parse_record,
    smp_image,
)
from gicv3.machine import VirtMachine
from gicv3.unicorn import Stop, UnicornMachine

BOOT_CPUS, MAX_CPUS = 4, 8
HOTPLUG_CPUS = range(BOOT_CPUS, MAX_CPUS)
TIMER_PERIOD = 20_000
"""Counter ticks between two timer interrupts of a vCPU: some of each kind in every phase."""
SLICE = 5_000
"""Counter ticks between two looks at the guest."""
IDLE = 0xFF
"""ICC_RPR_EL1 while no interrupt is active."""
WIDTH = 80
"""Columns that the live table needs."""
REFRESH = 0.1
"""Host seconds between two pictures of the live table."""
PATIENCE = 20_000_000
"""Counter ticks without progress after which a phase is a failure: guest time, the same on every host."""
TYPED = b"The quick brown fox jumps over the lazy dog. "
"""Typed again and again, the next character when the last one was read."""
KINDS = ("sgi", "ppi", "spi")


class DemoError(Exception):
    """The guest or the GIC did not do what the demo shows; the text says what."""


@dataclass(frozen=True)
class Row:
    """One vCPU of the live table."""

    cpu: int
    mpidr: int
    state: str
    record: CpuRecord


class Demo:
    """The guest, the machine under it, and the story they play.

    Parameters: `interrupts` each vCPU has to take in a phase; `quantum` in instructions; `report`, called with a line
    of text at each step; `tick`, called often while the guest runs.
    """

    def __init__(
        self, interrupts: int, quantum: int, report: Callable[[str], None], tick: Callable[[Demo], None]
    ) -> None:
        self.interrupts = interrupts
        self._report = report
        self._tick = tick
        self.phase = "starting"
        self.output = bytearray()
        self.typed = bytearray()
        self.typing = False
        self.machine = VirtMachine(cpus=BOOT_CPUS, max_cpus=MAX_CPUS)
        self.engine = UnicornMachine(
            self.machine,
            image=smp_image(),
            load_address=LOAD_ADDRESS,
            quantum=quantum,
            output=self.output.extend,
        )
        offset = MAILBOX_ADDRESS - self.machine.memory_map["RAM"].base
        self._memory = self.engine.memory[offset : offset + MAILBOX_SIZE]
        self._write(MAX_CPUS_OFFSET, 4, MAX_CPUS)
        self._write(TIMER_PERIOD_OFFSET, 4, TIMER_PERIOD)
        self._started = time.monotonic()

    # What the guest says

    @property
    def mailbox(self) -> Mailbox:
        """The words that guest and host share."""
        return parse_mailbox(self._memory)

    def record(self, cpu: int) -> CpuRecord:
        """What vCPU `cpu` tells of itself."""
        return parse_record(self._memory, cpu)

    def rows(self) -> list[Row]:
        """The state of every possible vCPU."""
        rows = []
        for slot in self.machine.possible_cpus:
            record = self.record(slot.index)
            if slot.cpu is None:
                state = "absent"
            elif slot.cpu.power_state.name == "OFF":
                state = "plugged, off"
            else:
                state = CpuState(record.state).name.lower()
            rows.append(Row(slot.index, slot.arch_id, state, record))
        return rows

    @property
    def seconds(self) -> float:
        """Host seconds since the start."""
        return time.monotonic() - self._started

    @property
    def taken(self) -> int:
        """Interrupts that all vCPUs together have taken."""
        return sum(self.record(cpu).total for cpu in range(MAX_CPUS))

    # The story

    def play(self) -> str:
        """Play it to the end. Returns: what was shown, in one sentence. Raises: DemoError; GicError."""
        boot = range(BOOT_CPUS)
        with self._step(f"boot {BOOT_CPUS} of {MAX_CPUS} possible vCPUs"):
            self._run_until(lambda: self.mailbox.magic == MAGIC, "the guest did not boot")
        with self._step(f"{self.interrupts} interrupts on each of the {BOOT_CPUS}"):
            self._take(boot)
        for again in ("", " again"):
            with self._step(f"plug 4 vCPUs into the running guest{again}"):
                self._plug()
            with self._step(f"{self.interrupts} interrupts on each of the {MAX_CPUS}"):
                self.typing = True
                self._take(range(MAX_CPUS))
                self.typing = False
            if not again:
                with self._step("unplug the 4"):
                    self._unplug()
        verdict = self._summary()
        with self._step("switch off"):
            self._write(QUIT_OFFSET, 4, 1)
            self._ring()
            self._run_until(lambda: False, "the guest did not switch off", off=True)
        self.phase = "what each vCPU took"
        return verdict

    @contextmanager
    def _step(self, phase: str) -> Iterator[None]:
        self.phase = phase
        before, started = self.taken, self.seconds
        yield
        interrupts, seconds = self.taken - before, self.seconds - started
        self._report(f"{self.seconds:6.2f} s  {phase}: {interrupts} interrupts in {seconds:.2f} s")

    def _plug(self) -> None:
        for index in HOTPLUG_CPUS:
            self.machine.device_add(id=f"cpu{index}", core_id=index)
        self._write(EJECT_REQUEST_OFFSET, 8, 0)
        self._ring()
        everyone = (1 << MAX_CPUS) - 1
        self._run_until(lambda: self.mailbox.online == everyone, "the guest did not start the vCPUs that were plugged")

    def _unplug(self) -> None:
        wanted = sum(1 << index for index in HOTPLUG_CPUS)
        for index in HOTPLUG_CPUS:
            self.machine.device_del(f"cpu{index}")
        self._write(EJECT_REQUEST_OFFSET, 8, wanted)
        self._ring()
        self._run_until(lambda: self.mailbox.ejected == wanted, "the guest did not let the vCPUs go")
        for index in HOTPLUG_CPUS:
            self.machine.complete_unplug(f"cpu{index}")
        self.machine.check()

    def _take(self, cpus: range) -> None:
        """Run until each of `cpus` has taken its interrupts."""
        goal = {cpu: self.record(cpu).total + self.interrupts for cpu in cpus}

        def missing() -> int:
            return sum(max(total - self.record(cpu).total, 0) for cpu, total in goal.items())

        self._run_until(lambda: not missing(), "interrupts stopped coming", progress=missing)

    def _type(self) -> None:
        """Type a character into the guest's UART once it has read the last; it will echo it."""
        if not self.engine.uart.unread:
            character = TYPED[len(self.typed) % len(TYPED)]
            self.typed.append(character)
            self.engine.uart.receive(bytes((character,)))

    def _ring(self) -> None:
        self.machine.gic.pulse_spi(SPI_DOORBELL)

    def _run_until(
        self,
        done: Callable[[], bool],
        otherwise: str,
        ticks: int = SLICE,
        *,
        off: bool = False,
        progress: Callable[[], object] | None = None,
    ) -> None:
        """Run until `done`, or until what `progress` returns, by default who is online, is the same for too long."""
        progress = progress or (lambda: (self.mailbox.magic, self.mailbox.online, self.mailbox.ejected))
        seen, since = progress(), self.engine.clock
        while not done():
            if self.typing:
                self._type()
            stop = self.engine.run(ticks)
            self._tick(self)
            if stop is Stop.OFF and off:
                return
            if stop is not Stop.LIMIT:
                raise DemoError(f"{otherwise}: it stopped, {stop.value}")
            now = progress()
            if now != seen:
                seen, since = now, self.engine.clock
            elif self.engine.clock - since > PATIENCE:
                raise DemoError(f"{otherwise}: nothing moved for {PATIENCE} ticks")

    def _summary(self) -> str:
        """Compare the guest's counts with the GIC's. Raises: DemoError naming what differs."""
        # A handler counts after it has acknowledged: wait until none is running.
        self._run_until(lambda: all(pe["ICC_RPR_EL1"] == IDLE for pe in self.machine.gic.pe), "handlers never end", 10)
        self.machine.check()
        totals = dict.fromkeys(KINDS, 0)
        for cpu in range(MAX_CPUS):
            record, counters = self.record(cpu), self.machine.gic.counters(cpu)
            for kind in KINDS:
                guest, gic = getattr(record, kind), counters[kind]
                if guest != gic:
                    raise DemoError(f"vCPU {cpu} counted {guest} {kind.upper()}s, the GIC acknowledged {gic}")
                totals[kind] += guest
            if record.errors:
                raise DemoError(f"vCPU {cpu} counted {record.errors} errors")
            if record.total < self.interrupts:
                raise DemoError(f"vCPU {cpu} took {record.total} interrupts, {self.interrupts} were wanted")
        if dropped := self.machine.gic.totals()["sgi_dropped"]:
            raise DemoError(f"{dropped} SGIs went to absent vCPUs")
        for cpu in HOTPLUG_CPUS:
            if self.record(cpu).boots != 2:
                raise DemoError(f"vCPU {cpu} was started {self.record(cpu).boots} times, not twice")
        if not _within(self.typed, self.output):
            raise DemoError("the UART did not give back what was typed")
        counts = ", ".join(f"{totals[kind]} {kind.upper()}s" for kind in KINDS)
        return (
            f"{sum(totals.values())} interrupts ({counts}) on {MAX_CPUS} vCPUs, counted alike by guest and GIC; "
            f"{len(self.typed)} characters echoed; {self.engine.instructions} instructions in {self.seconds:.1f} s"
        )

    def _write(self, offset: int, size: int, value: int) -> None:
        self._memory[offset : offset + size] = value.to_bytes(size, "little")

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def _within(wanted: bytearray, output: bytearray) -> bool:
    """Whether `wanted` is a subsequence of `output`: the guest's own lines may come in between."""
    rest = iter(output)
    return all(character in rest for character in wanted)


def table(demo: Demo) -> Table:
    """The live table: a line for each possible vCPU."""
    result = Table(title=demo.phase, caption=_rate(demo), title_justify="left", caption_justify="left", box=SIMPLE)
    result.add_column("vCPU", justify="right")
    result.add_column("affinity")
    result.add_column("state", min_width=12)
    for kind in (*KINDS, "total"):
        result.add_column(kind.upper() if kind in KINDS else kind, justify="right", min_width=6)
    result.add_column("starts", justify="right")
    for row in demo.rows():
        record = row.record
        counts = (record.sgi, record.ppi, record.spi, record.total, record.boots)
        style = {"online": "green", "absent": "dim"}.get(row.state, "yellow")
        affinity = f"{row.mpidr >> 8 & 0xFF}.{row.mpidr & 0xFF}"
        result.add_row(str(row.cpu), affinity, row.state, *map(str, counts), style=style)
    return result


def _rate(demo: Demo) -> str:
    engine, seconds = demo.engine, max(demo.seconds, 1e-6)
    guest = engine.clock / engine.timers.frequency
    return (
        f"{demo.seconds:.1f} s, {demo.taken / seconds:,.0f} interrupts/s, "
        f"{engine.instructions / seconds / 1e6:.1f} M instructions/s, guest time {guest * 1000:.1f} ms"
    )


def run(interrupts: int, quantum: int, plain: bool) -> int:
    """Play the demo and print it. Returns: the exit status."""
    console = Console(highlight=False)
    if narrow := console.width < WIDTH:
        console.width = WIDTH  # longer lines than the terminal's lose nothing
    try:
        if plain or narrow or not console.is_terminal:
            verdict = _play_plain(console, interrupts, quantum)
        else:
            verdict = _play_live(console, interrupts, quantum)
    except (DemoError, GicError) as error:
        console.print(f"FAILED: {error}", soft_wrap=True)
        return 1
    console.print(f"OK: {verdict}", soft_wrap=True)
    return 0


def _play_plain(console: Console, interrupts: int, quantum: int) -> str:
    with closing(Demo(interrupts, quantum, console.print, lambda _: None)) as demo:
        verdict = demo.play()
        console.print(table(demo))
        return verdict


def _play_live(console: Console, interrupts: int, quantum: int) -> str:
    shown = 0.0

    def show(demo: Demo) -> None:
        nonlocal shown
        if demo.seconds >= shown + REFRESH:
            shown = demo.seconds
            live.update(table(demo), refresh=True)

    with (
        Live(console=console, auto_refresh=False) as live,
        closing(Demo(interrupts, quantum, console.print, show)) as demo,
    ):
        verdict = demo.play()
        live.update(table(demo), refresh=True)
        return verdict
