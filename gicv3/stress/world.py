"""What a stress run acts on: a machine, and the little that is expected of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gicv3.association import CPUHotplugInfo
from gicv3.errors import GicError, HotplugError
from gicv3.gic import GICv3
from gicv3.machine import NUM_SPIS, VirtMachine
from gicv3.notifier import Notifier
from gicv3.plug import HotplugEvent
from gicv3.registers import REGISTERS, Frame, SysReg
from gicv3.stress.lpis import Lpis
from gicv3.stress.steps import Action, Step, StressConfig
from gicv3.timer import TimerReg
from gicv3.vcpu import OFF, CpuPpi, Vcpu

ENTRY = 0x4000_0000
_ALL = 0xFFFF_FFFF
_SPI_BANKS = range(1, 1 + NUM_SPIS // 32)
_PRIVATE = (
    "GICR_WAKER",
    "GICR_IGROUPR0",
    "GICR_ISENABLER0",
    "GICR_ICENABLER0",
    "GICR_ISPENDR0",
    "GICR_ICPENDR0",
    "GICR_ISACTIVER0",
    "GICR_ICACTIVER0",
    "GICR_ICFGR1",
    "GICR_IGRPMODR0",
    "GICR_NSACR",
)
_PPIS = tuple(CpuPpi)
_FREE_PPIS = tuple(intid for intid in range(16, 32) if intid not in _PPIS)
"""PPIs that no output of a vCPU drives."""
_REGISTERS = [
    (row.frame, row.offset + element * row.width // 8, max(row.sizes))
    for row in REGISTERS
    if row.frame in (Frame.RD, Frame.SGI)
    for element in range(row.count)
]
_ACKNOWLEDGE = frozenset({SysReg.ICC_IAR0_EL1, SysReg.ICC_IAR1_EL1, SysReg.ICC_NMIAR1_EL1})
"""Registers that change something when they are read."""


class Violation(GicError):
    """The machine did something other than what is expected; the text says what."""


class _Refusal(Exception):
    """Raised by the saboteurs."""


class _Saboteur(Notifier):
    """Refuses one event, but none that takes another back."""

    __slots__ = ("armed",)

    def __init__(self) -> None:
        super().__init__()
        self.armed = True

    def notify(self, data: CPUHotplugInfo | HotplugEvent) -> None:
        if self.armed:
            self.armed = False
            raise _Refusal


class World:
    """A machine under stress.

    Parameters: `config`. Not thread-safe.
    """

    def __init__(self, config: StressConfig) -> None:
        gic_options: dict[str, Any] = {"lpis": True, "its": 1} if config.its else {}
        self.machine = VirtMachine(cpus=1, max_cpus=config.max_cpus, redist2_capacity=config.max_cpus, **gic_options)
        self.gic: GICv3 = self.machine.gic
        self.plugged: set[int] = set()
        self.asked: set[int] = set()
        self.operations = 0
        """Plugs and unplugs that were done."""
        self.cycles = 0
        """Unplugs that were done."""
        self.interrupts = 0
        """Interrupts that were taken."""
        self._now = 0
        self._lpis: Lpis | None = None
        self._names = [f"cpu{slot}" for slot in range(config.max_cpus)]
        self._actions: dict[Action, Callable[[int, int], None]] = {
            Action.FLIP: self._flip,
            Action.PLUG: self._plug,
            Action.REQUEST: self._request,
            Action.REJECT: self._reject,
            Action.EJECT: self._eject,
            Action.POWER: self._power,
            Action.FAIL_PLUG: self._fail_plug,
            Action.FAIL_UNPLUG: self._fail_unplug,
            Action.REFUSED: self._refused,
            Action.WAKE: self._wake,
            Action.SGI: self._sgi,
            Action.PPI: self._ppi,
            Action.SPI: self._spi,
            Action.TAKE: self._take,
            Action.TIMER: self._timer,
            Action.WRITE: self._write,
            Action.READ: self._read,
            Action.SAVE: self._save,
            Action.RESET: self._reset,
        }
        if config.its:
            self._lpis = Lpis(self.gic)
            self._actions[Action.LPI] = self._lpis.send
        self._prepare()

    def do(self, step: Step) -> None:
        """Do one step. Raises: Violation, or whatever the machine raised that it should not have."""
        action, slot, value = step
        self._actions[action](slot, value)

    def check(self) -> None:
        """Check every invariant, and that the machine is what it is expected to be. Raises: GicError."""
        machine = self.machine
        machine.check()
        if machine.cpus.keys() != self.plugged | {0}:
            raise Violation(f"plugged are {sorted(machine.cpus)}, expected 0 and {sorted(self.plugged)}")
        asked = {slot for slot, cpu in machine.cpus.items() if cpu.unplug_requested}
        if asked != self.asked:
            raise Violation(f"asked to go are {sorted(asked)}, expected {sorted(self.asked)}")
        for slot in self.gic.lines.nonzero()[0].tolist():
            if slot not in machine.cpus:
                raise Violation(f"the absent vCPU {slot} has lines {self.gic.line(slot):#x}")

    def _prepare(self) -> None:
        """What a guest does once: let SPIs through."""
        gic = self.gic
        gic.dist["GICD_CTLR"] = 0x12
        for bank in _SPI_BANKS:
            gic.dist["GICD_IGROUPR", bank] = _ALL
            gic.dist["GICD_ISENABLER", bank] = _ALL
        self._wake(0, 0)
        if self._lpis is not None:
            self._lpis.prepare()

    def _expect_refusal(self, call: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        try:
            call(*args, **kwargs)
        except HotplugError:
            return
        raise Violation(f"{call.__name__}{args}{kwargs} was not refused")

    def _flip(self, slot: int, value: int) -> None:
        if slot not in self.plugged:
            self._plug(slot, value)
            return
        # What the run consists of: kept short.
        machine, name = self.machine, self._names[slot]
        cpu = machine.cpus[slot]
        machine.device_del(name)
        if cpu.power_state is not OFF:
            machine.power_off(cpu)
        machine.complete_unplug(name)
        self._gone(slot, cpu)

    def _plug(self, slot: int, value: int) -> None:
        plug = self.machine.device_add
        if slot in self.plugged:
            self._expect_refusal(plug, id=f"x{slot}", core_id=slot)
            return
        plug(id=self._names[slot], core_id=slot)
        self.plugged.add(slot)
        self.operations += 1

    def _request(self, slot: int, value: int) -> None:
        if slot not in self.plugged:
            self._expect_refusal(self.machine.device_del, self._names[slot])
            return
        self.machine.device_del(self._names[slot])
        self.asked.add(slot)

    def _reject(self, slot: int, value: int) -> None:
        if slot not in self.asked:
            self._expect_refusal(self.machine.reject_unplug, self._names[slot])
            return
        self.machine.reject_unplug(self._names[slot])
        self.asked.remove(slot)

    def _eject(self, slot: int, value: int) -> None:
        eject = self.machine.complete_unplug
        cpu = self.machine.cpus.get(slot)
        if cpu is None or slot not in self.asked or cpu.power_state is not OFF:
            self._expect_refusal(eject, self._names[slot])
            return
        eject(self._names[slot])
        self._gone(slot, cpu)

    def _gone(self, slot: int, cpu: Vcpu) -> None:
        if cpu.wired or cpu.associated:
            raise Violation(f"the vCPU {slot} that went is still {'wired' if cpu.wired else 'associated'}")
        self.plugged.remove(slot)
        self.asked.discard(slot)
        self.operations += 1
        self.cycles += 1

    def _power(self, slot: int, value: int) -> None:
        cpu = self.machine.cpus.get(slot)
        if cpu is None:
            return
        if cpu.power_state is OFF:
            self.machine.power_on(cpu, ENTRY, value)
        else:
            self.machine.power_off(cpu)

    def _sabotage(self, slot: int, value: int, call: Callable[..., object], **kwargs: Any) -> None:
        """Let one of the notifiers refuse: the PE, the slot and the names must be what they were."""

        def facts() -> tuple[Any, ...]:
            machine, gic = self.machine, self.gic
            cpu = machine.cpus.get(slot)
            state = (cpu.power_state, cpu.wired, cpu.outputs, cpu.unplug_requested) if cpu is not None else None
            return gic.save_pe(slot), gic.cpu(slot), cpu, state, len(machine.cpus), gic.totals()["sgi_dropped"]

        before = facts()
        saboteur = _Saboteur()
        self._place(saboteur, value % 3)
        try:
            call(**kwargs)
        except _Refusal:
            if facts() != before:
                raise Violation(f"a {call.__name__} of slot {slot} that a notifier refused has left traces") from None
            return
        finally:
            saboteur.remove()
        raise Violation(f"a {call.__name__} of slot {slot} went through though a notifier refused it")

    def _place(self, saboteur: _Saboteur, where: int) -> None:
        """Let it hear of a plug before the GIC (0), after it (1), or when the vCPU is in its slot (2)."""
        members = self.machine.cpuhp_notifiers if where < 2 else self.machine.hotplug_events
        others = list(members) if where == 0 else []
        for other in others:
            members.remove(other)
        for notifier in (saboteur, *others):
            members.add(notifier)

    def _fail_plug(self, slot: int, value: int) -> None:
        if slot not in self.plugged:
            self._sabotage(slot, value, self.machine.device_add, id=self._names[slot], core_id=slot)

    def _fail_unplug(self, slot: int, value: int) -> None:
        if slot in self.plugged:
            self._request(slot, value)
            self.machine.power_off(self.machine.cpus[slot])
            self._sabotage(slot, value, self.machine.complete_unplug, name=self._names[slot])

    def _refused(self, slot: int, value: int) -> None:
        machine, boot = self.machine, "/machine/unattached/device[0]"
        wrong: tuple[Callable[[], object], ...] = (
            partial(machine.device_add, core_id=machine.max_cpus),
            partial(machine.device_add, core_id=-1),
            partial(machine.device_add),
            partial(machine.device_add, id="9", core_id=slot),
            partial(machine.device_add, "pl011", core_id=slot),
            partial(machine.device_add, "max-arm-cpu", core_id=slot),
            partial(machine.device_add, core_id=slot, node_id=1),
            partial(machine.device_add, core_id=slot, speed=1),
            partial(machine.device_add, core_id=0),
            partial(machine.device_del, boot),
            partial(machine.device_del, "nobody"),
            partial(machine.complete_unplug, boot),
        )
        call = wrong[value % len(wrong)]
        try:
            call()
        except HotplugError:
            return
        raise Violation(f"{call} was not refused")

    def _wake(self, slot: int, value: int) -> None:
        redist, view = self.gic.redist[slot], self.gic.pe[slot]
        redist["GICR_WAKER"] = 0
        redist["GICR_IGROUPR0"] = _ALL
        redist["GICR_ISENABLER0"] = _ALL
        redist["GICR_ICFGR1"] = _ALL  # edges, so that pulses count
        view["ICC_PMR_EL1"] = 0xFF
        view["ICC_IGRPEN1_EL1"] = 1

    def _sgi(self, slot: int, value: int) -> None:
        cluster = value % self.machine.max_cpus // 16
        # One in 64 goes to all others.
        target = 1 << 40 if value % 64 == 0 else (cluster & 0xFF) << 16 | (cluster >> 8) << 32 | value >> 16
        sender = slot if slot in self.plugged else 0
        self.gic.pe[sender]["ICC_SGI1R_EL1"] = target | (value & 0xF) << 24

    def _ppi(self, slot: int, value: int) -> None:
        cpu = self.machine.cpus.get(slot)
        if cpu is not None:
            cpu.set_output(_PPIS[value % len(_PPIS)], bool(value & 0x100))
        elif value & 0x100:
            self.gic.pulse_ppi(slot, 16 + value % 16)

    def _spi(self, slot: int, value: int) -> None:
        intid = 32 + value % NUM_SPIS
        self.gic.dist["GICD_IROUTER", intid] = self.gic.affinity(slot)
        if value & 0x1000:
            self.gic.pulse_spi(intid)
        else:
            self.gic.set_spi(intid, bool(value & 0x2000))

    def _take(self, slot: int, value: int) -> None:
        view = self.gic.pe[slot]
        if slot in self.plugged:
            self._wake(slot, value)
            for bit, intid in enumerate(_FREE_PPIS):
                if value >> bit & 1:
                    self.gic.pulse_ppi(slot, intid)
        for _ in range(value % 16 + 1):
            intid = view["ICC_IAR1_EL1"]
            if 1020 <= intid < 1024:
                return
            if slot and slot not in self.plugged:
                raise Violation(f"the absent vCPU {slot} acknowledged INTID {intid}")
            view["ICC_EOIR1_EL1"] = intid
            self.interrupts += 1

    def _timer(self, slot: int, value: int) -> None:
        cpu = self.machine.cpus.get(slot)
        if cpu is not None:
            cpu.timer.write(TimerReg.CNTV_CVAL_EL0, self._now + value % 1000, self._now)
            cpu.timer.write(TimerReg.CNTV_CTL_EL0, value >> 16 & 1, self._now)
        self._now += value % 100
        self.machine.timers.advance(self._now)

    def _write(self, slot: int, value: int) -> None:
        self.gic.redist[slot][_PRIVATE[value % len(_PRIVATE)]] = value * 0x9E37_79B9 & _ALL

    def _read(self, slot: int, value: int) -> None:
        gic = self.gic
        for frame, offset, size in _REGISTERS:
            gic.frame_read(frame, offset, size, index=slot)
        for register in gic.sysregs:
            if register not in _ACKNOWLEDGE:
                gic.sysreg_read(slot, register)

    def _save(self, slot: int, value: int) -> None:
        machine, lpis = self.machine, self._lpis
        data, before = machine.save(), self.gic.state_digest()
        memory = lpis.saved() if lpis is not None else None
        for index in range(1, 20):
            self._write(slot, value + index)
            if lpis is not None:
                lpis.send(slot, value * index & _ALL)
        if lpis is not None and memory is not None:
            lpis.bring_back(memory)
        machine.load(data)
        if self.gic.state_digest() != before or machine.save() != data:
            raise Violation("a machine that was saved and loaded is not what it was")

    def _reset(self, slot: int, value: int) -> None:
        self.machine.reset()
        self._prepare()
