"""Random programs for machines with an ITS: commands, valid and not, MSIs and LPIs beside all that others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .configs import Config
from .generate import Generator
from .ops import FIRST_LPI, GICR_BASE, GICR_STRIDE, GITS_BASE, POP, PUSH, TABLES, TRANSLATER, USE, Kind

_CONFIGURATION = TABLES
_PENDING = TABLES + 0x1_0000
_DEVICES = TABLES + 0x10_0000
_COLLECTIONS = TABLES + 0x14_0000
_SECOND_LEVEL = 0x2_0000
_QUEUE = TABLES + 0x18_0000
_ITTS, _ITT_SIZE = TABLES + 0x20_0000, 0x2_0000
_QUEUE_SIZE = 0x1000
_VALID = 1 << 63
_LAST_DELIVERED = 11000
"""QEMU corrupts the routes of SPIs when it ends a higher LPI (`test_defects`): those are never enabled."""
_OWN_ICID = 16
"""ICIDs from here on are those of the PEs for good: INVALL of them reaches every PE."""
_EVENT = {"INT": 0x03, "CLEAR": 0x04, "INV": 0x0C, "DISCARD": 0x0F}
_REGISTERS = (0x00, 0x04, 0x08, 0x40, 0x48, 0x80, 0x88, 0x90, 0x100, 0x108, 0x110, 0x138, 0xFFE0, 0xFFE8, 0xFFF0)


class ItsGenerator(Generator):
    """Makes one program with an ITS; parameters as `Generator`.

    Tables stand apart and are written by commands alone, each device has two ITTs of its own, and a changed
    configuration byte is invalidated everywhere at once: where software does otherwise, either answer is right.
    """

    def __init__(self, config: Config, seed: int, length: int) -> None:
        super().__init__(config, seed, length)
        r = self._random
        low = r.sample([8192, 8193, 8255, 8256, 8300, 9000, 10000, _LAST_DELIVERED], 5)
        self._lpis = [*low, r.choice((16383, 20000, 65535))]
        self._devices = [0, *r.sample([1, 2, 63, 511, 512, 700], 2)]
        self._events = r.sample([0, 1, 2, 7, 30, 31], 4)
        self._icids = r.sample(range(_OWN_ICID), 3)
        self._mapped = dict.fromkeys(self._devices, 0)
        self._writer = 0
        self._shift = (r.choice((12, 14, 16)), r.choice((12, 14, 16)))
        self._indirect = (r.random() < 0.5, r.random() < 0.5)
        self._width = r.choice((14, 15, 16))

    def _moves(self) -> Iterator[tuple[float, Callable[[], None]]]:
        keep = (self._acknowledge, self._end_of_interrupt, self._handle, self._read_icc, self._refresh)
        for weight, move in super()._moves():
            yield (weight if move in keep else weight / 5), move
        yield 3, self._refresh
        yield 40, self._take
        yield 24, self._commands
        yield 14, self._msi
        yield 3, self._configure
        yield 4, self._look_at_its
        yield 0.6, self._disable_lpis
        yield 0.4, self._disable_its
        yield 0.3, self._odd_writer

    # Set-up.

    def _prelude(self) -> None:
        super()._prelude()
        r, smp = self._random, self._config.smp
        self._at(self._config.base_el)
        for intid in self._lpis:
            self._write_configuration(intid)
        for pe in range(smp):
            self._set_up_lpis(pe)
        for number, base in enumerate((_DEVICES, _COLLECTIONS)):
            baser = _VALID | base | (self._shift[number] - 12) // 2 << 8
            if self._indirect[number]:
                baser |= 1 << 62
                self._write(base, _VALID | base + _SECOND_LEVEL, 8)
                if r.random() < 0.5:
                    self._write(base + 8, _VALID | base + _SECOND_LEVEL + 0x1_0000, 8)
            self._write(GITS_BASE + 0x100 + 8 * number, baser, 8)
        self._write(GITS_BASE + 0x80, _VALID | _QUEUE, 8)
        self._write(GITS_BASE + 0x88, 0, 8)
        self._write(GITS_BASE, 1)
        self._queue(*((0x09, 0, _VALID | pe << 16 | _OWN_ICID + pe) for pe in range(smp)))
        self._queue(*((0x09, 0, _VALID | r.randrange(smp) << 16 | icid) for icid in self._icids))
        self._queue(*(self._mapd(device) for device in self._devices))
        events = [self._mapti(device, event) for device in self._devices for event in self._events]
        self._queue(*r.sample(events, r.randint(6, len(events))))

    def _set_up_lpis(self, pe: int) -> None:
        base = GICR_BASE + pe * GICR_STRIDE
        self._write(base + 0x70, _CONFIGURATION | self._width - 1, 8)
        self._write(base + 0x78, _PENDING + pe * 0x1_0000, 8)
        self._write(base, 1)

    def _write_configuration(self, intid: int) -> None:
        """A priority that every PE implements in all its bits; two Security states shift it by one."""
        r = self._random
        byte = self._priority() & (0xF0 if self._config.secure else 0xF8)
        enabled = intid <= _LAST_DELIVERED and r.random() < 0.85
        self._write(_CONFIGURATION + intid - FIRST_LPI, byte | enabled, 1)

    # Commands.

    def _queue(self, *commands: tuple[int, ...]) -> None:
        """Puts commands into the queue and tells the ITS; doublewords that are not given are 0."""
        for command in commands:
            for number, word in enumerate((*command, 0, 0, 0)[:4]):
                self._write(_QUEUE + self._writer + 8 * number, word, 8)
            self._writer = (self._writer + 32) % _QUEUE_SIZE
        self._write(GITS_BASE + 0x88, self._writer, self._random.choice((4, 8)))

    def _mapd(self, device: int, valid: bool = True) -> tuple[int, ...]:
        r = self._random
        turn = self._mapped.get(device, 0)
        if device in self._mapped:
            self._mapped[device] = 1 - turn
        elif valid:
            device = r.choice((1 << 16, 0xFFFF_FFFF, 0xFFFF))  # beyond the table, or beyond 16 bits
        number = 2 * self._devices.index(device) + turn if device in self._mapped else 0
        size = r.choice((4, 4, 4, 4, 3, 13, 15)) if r.random() < 0.95 or not valid else r.choice((16, 31))
        return 0x08 | device << 32, size, _ITTS + number * _ITT_SIZE | valid << 63

    def _mapti(self, device: int, event: int) -> tuple[int, ...]:
        return 0x0A | device << 32, event | self._lpi() << 32, self._icid()

    def _lpi(self) -> int:
        r = self._random
        return r.choice(self._lpis) if r.random() < 0.95 else r.choice((0, 40, 8191, 1 << 16, r.getrandbits(32)))

    def _device(self) -> int:
        r = self._random
        if r.random() < 0.95:
            return r.choice(self._devices)
        return r.choice((5, 600, 8191, 0xFFFF, 1 << 16, r.getrandbits(32)))

    def _event(self) -> int:
        r = self._random
        return r.choice(self._events) if r.random() < 0.95 else r.choice((3, 8, 32, 8192, 1 << 16, 0xFFFF_FFFF))

    def _icid(self) -> int:
        r = self._random
        beyond = () if self._indirect[1] else (600, 0xFFFF)  # without a second-level page: see test_its_differences
        return r.choice(self._icids) if r.random() < 0.95 else r.choice((_OWN_ICID, 400, *beyond))

    def _rdbase(self) -> int:
        r = self._random
        return (r.randrange(self._config.smp) if r.random() < 0.95 else r.choice((8, 0xFFFF))) << 16

    def _command(self) -> tuple[int, ...]:
        r = self._random
        device, event = self._device(), self._event()
        roll = r.random()
        if roll < 0.52:
            return r.choices(list(_EVENT.values()), (10, 2, 2, 1))[0] | device << 32, event
        if roll < 0.68:
            return self._mapti(device, event)
        if roll < 0.71:
            return 0x0B | device << 32, r.choice((event, 8192, 8256)), self._icid()
        if roll < 0.82:
            return 0x01 | device << 32, event, self._icid()
        if roll < 0.87:
            return 0x0E, 0, self._rdbase(), self._rdbase()
        if roll < 0.90:
            return 0x0D, 0, self._icid()
        if roll < 0.95:
            return 0x09, 0, (r.random() < 0.85) << 63 | self._rdbase() | r.choice((*self._icids * 3, 600, 0xFFFF))
        if roll < 0.98:
            return self._mapd(device, r.random() < 0.85)
        if roll < 0.99:
            return 0x05, 0, self._rdbase()
        return r.choice((0x00, 0x02, 0x10, 0x21, 0x29, 0x2A, 0x2D, 0xFF)), r.getrandbits(64), r.getrandbits(64)

    # Moves.

    def _commands(self) -> None:
        self._queue(*(self._command() for _ in range(self._random.choice((1, 1, 2, 4)))))

    def _msi(self) -> None:
        """A store of a PE carries DeviceID 0; other devices signal by INT."""
        r = self._random
        if r.random() < 0.5:
            for _ in range(r.choice((1, 2, 4))):
                event = self._event()
                self._write(TRANSLATER, event, 2 if event < 1 << 16 and r.random() < 0.3 else 4)
        else:
            self._queue(*((0x03 | self._device() << 32, self._event()) for _ in range(r.choice((1, 2, 4)))))

    def _take(self) -> None:
        """What a driver does, on any PE, where Group 1 interrupts are its own."""
        r = self._random
        cpu, world = self._cpu, self._world
        self._cpu = r.randrange(self._config.smp)
        self._world = r.choice([world for world in self._worlds if world.el == 1 and not world.secure])
        for _ in range(r.choice((1, 2, 3))):
            self._mrs("ICC_IAR1_EL1", flags=PUSH)
            self._msr("ICC_EOIR1_EL1", flags=USE if self._eoi_mode else USE | POP)
            if self._eoi_mode:
                self._msr("ICC_DIR_EL1", flags=USE | POP)
        self._cpu, self._world = cpu, world

    def _configure(self) -> None:
        self._write_configuration(self._random.choice(self._lpis))
        self._invalidate()

    def _invalidate(self) -> None:
        self._queue(*((0x0D, 0, _OWN_ICID + pe) for pe in range(self._config.smp)))

    def _look_at_its(self) -> None:
        r = self._random
        offset = r.choice(_REGISTERS)
        self._read(GITS_BASE + offset, 8 if offset % 8 == 0 and r.random() < 0.6 else 4)

    def _disable_lpis(self) -> None:
        """What is pending is in memory then; LPIs that come meanwhile are lost."""
        r = self._random
        pe = r.randrange(self._config.smp)
        base = GICR_BASE + pe * GICR_STRIDE
        self._write(base, 0)
        self._read(base)
        self._read_pending(pe)
        for _ in range(r.choice((0, 1, 3))):
            self._commands()
        if r.random() < 0.5:
            self._set_up_lpis(pe)
        else:
            self._write(base, 1)

    def _read_pending(self, pe: int) -> None:
        for intid in self._lpis:
            self._read(_PENDING + pe * 0x1_0000 + intid // 64 * 8, 8)

    def _disable_its(self) -> None:
        self._write(GITS_BASE, 0)
        self._read(GITS_BASE)
        self._msi()
        self._write(GITS_BASE, 1)

    def _odd_writer(self) -> None:
        """GITS_CWRITER outside of the queue stops it; then it goes through all that the queue holds."""
        r = self._random
        self._write(GITS_BASE + 0x88, r.choice((_QUEUE_SIZE, 0xF_FFE0)), 8)
        self._msi()
        if r.random() < 0.3:
            self._writer = r.randrange(0, _QUEUE_SIZE, 32)
        self._queue()

    def _sweep(self) -> None:
        super()._sweep()
        for offset in _REGISTERS:
            self._read(GITS_BASE + offset)
        for offset in (0x80, 0x88, 0x90, 0x100, 0x108):
            self._read(GITS_BASE + offset, 8)
        for pe in range(self._config.smp):
            base = GICR_BASE + pe * GICR_STRIDE
            for offset in (0x70, 0x78):
                self._read(base + offset, 8)
            self._write(base, 0)
            self._read_pending(pe)
        self._emit(Kind.ISR)
