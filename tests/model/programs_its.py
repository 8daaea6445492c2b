"""Random programs with LPIs and ITSs: their tables, commands that can be done and that cannot, and MSIs.

Tables stand apart, and each mapping of a device has an ITT of its own: a translation that is kept would otherwise be
told from one that is looked up, and software may not rely on either.
"""

from __future__ import annotations

from .config import ModelConfig
from .lpis import FIRST_LPI, PTZ
from .memory import RAM, ROM
from .mmio import GITS_ROWS
from .programs import Generator, Op
from .state import SCR_NS

CONFIGURATION = RAM
PENDING, PENDING_SIZE = RAM + 0x10_0000, 0x2_0000
DEVICES = RAM + 0x18_0000
COLLECTIONS = RAM + 0x20_0000
TABLE_SIZE = 0x4_0000
QUEUES, QUEUE_SIZE = RAM + 0x28_0000, 0x1_0000
ITTS, ITT_SIZE, ITT_COUNT = RAM + 0x30_0000, 0x2_0000, 23
EDGE = RAM + 0x5F_0000  # the last 64 KB, where tables are cut off
NOWHERE = 0x7000_0000
VALID = 1 << 63

Command = tuple[int, int, int, int]
EVENT_COMMANDS = {"INT": 0x03, "CLEAR": 0x04, "INV": 0x0C, "DISCARD": 0x0F}


class ItsGenerator(Generator):
    """Draws operations for a configuration with LPIs, as its base does for one without."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        super().__init__(config, seed)
        rng = self.rng
        last = (1 << config.id_bits) - 1
        pool = [8192, 8193, 8199, 8200, 8255, 8256, 8300, 12287, 12288, 16383, 16384, last, last - 1]
        self.lpis = rng.sample([i for i in pool if i <= last], rng.randint(2, 6))
        self.devices = [*rng.sample([0, 1, 2, 5, 63, 511], 2), rng.choice((3, 4, 512, 700))]
        self.events = rng.sample([0, 1, 2, 3, 7, 30, 31], 4)
        self.icids = rng.sample([0, 1, 2, 3, 4, 15], 3)
        self.itts: dict[tuple[int, int], list[int]] = {}
        self.restores = rng.random() < 0.3
        self.calm = rng.random() < 0.7
        if self.calm:  # little else, so that LPIs come through
            self.steps = [(w if w >= 14 else max(1, w // 4), step) for w, step in self.steps]
        self.steps += [
            (24, self.step_handle),
            (26, self.step_commands),
            (20, self.step_pend_and),
            (16, self.step_msi),
            (5, self.step_configure),
            (3, self.step_direct),
            (2, self.step_tables),
            (3, self.step_its_register),
            (2, self.step_its_control),
            (2, self.step_look_at_lpis),
            (1, self.step_restore),
            (2, self.step_reload),
        ]
        if not config.its:
            of_its = (self.step_commands, self.step_pend_and, self.step_msi, self.step_its_register)
            of_its += (self.step_its_control,)
            self.steps = [(w, s) for w, s in self.steps if s not in of_its]
            self.steps += [(20, self.step_direct), (4, self.step_tables)]

    def its(self) -> int:
        """Return the number of an ITS."""
        return self.rng.randrange(self.config.its)

    def lpi(self) -> int:
        """Return one of the program's LPIs, rarely what is none."""
        rng = self.rng
        odd = (0, 5, 40, 1023, 8191, 1 << self.config.id_bits, rng.getrandbits(32))
        return rng.choice(self.lpis) if rng.random() < 0.95 else rng.choice(odd)

    def rd(self, offset: int, value: int, pe: int, size: int = 8) -> Op:
        """Return a write to an RD frame."""
        return self.write("RD", offset, value & (1 << 8 * size) - 1, size, index=pe)

    def gits(self, offset: int, value: int, its: int, size: int = 8) -> Op:
        """Return a write to the control frame of an ITS."""
        return self.write("GITS", offset, value & (1 << 8 * size) - 1, size, index=its)

    # Beginning and end.

    def prologue(self) -> list[Op]:
        """Return what a careless operating system does at start, for LPIs too."""
        ops = super().prologue()
        if self.calm:
            ops += self.open_wide()
        for intid in self.lpis:
            ops.append(self.configuration_op(intid))
        for pe in range(self.count):
            ops += self.tables_of(pe)
        for its in range(self.config.its):
            ops += self.set_up(its)
        return ops

    def open_wide(self) -> list[Op]:
        """Return what lets every PE take Group 1 interrupts of any priority, and keeps most others away."""
        rng, security = self.rng, self.config.security
        ops = [self.write("GICD", 0, 0x37, secure=True)]
        ops += [self.bitmap_op("ICENABLER", intid, True, 0xFFFF_FFFF) for intid in self.spis if rng.random() < 0.8]
        for pe in range(self.count):
            ops.append(self.write("RD", 0x14, 0, secure=True, index=pe))
            ops += [self.write("SGI", 0x180, 0xFFFF_FFFF, secure=True, index=pe)] * (rng.random() < 0.8)
            ops.append(Op("set_context", (pe, 3 if security else 1, security, SCR_NS, 0, 0, False)))
            enables = "ICC_IGRPEN1_EL3" if security else "ICC_IGRPEN1_EL1"
            ops += [Op("sysreg_access", (pe, name, value)) for name, value in ((enables, 3), ("ICC_PMR_EL1", 0xFF))]
            ops.append(Op("set_context", (pe, 1, False, SCR_NS, 0, 0, False)))
        return ops

    def set_up(self, its: int) -> list[Op]:
        """Return the set-up of an ITS that is disabled, most of its events being mapped then."""
        rng = self.rng
        icids = [self.mapc(icid, rng.choice(self.pes)) for icid in self.icids]
        devices = [self.mapd(its, device) for device in self.devices]
        events = [self.mapti(device, event) for device in self.devices for event in self.events]
        commands = (*icids, *devices, *rng.sample(events, rng.randint(len(events) // 2, len(events))))
        return [*self.its_tables(its), Op("commands", (its, commands))]

    def dump(self) -> list[Op]:
        """Return reads of all state that the program can have touched; pending tables are written for it."""
        ops = super().dump()
        for its in range(self.config.its):
            ops += [self.read("GITS", offset, 8, index=its) for offset in (8, 0x48, 0x80, 0x88, 0x90, 0x100, 0x108)]
            ops += [self.read("GITS", offset, 4, index=its) for offset in (0, 0x40)]
            ops += [Op("its_counters", (its,)), Op("its_errors", (its,))]
        for pe in range(self.count):
            ops += [self.read("RD", offset, 8, index=pe) for offset in (0x70, 0x78)]
            ops += [Op("lpi_pending", (pe,)), self.rd(0, 0, pe, 4), Op("lpi_pending", (pe,))]
        return [*ops, Op("memory_holds", ())]

    # Tables.

    def configuration_op(self, intid: int) -> Op:
        """Return a write of an LPI's configuration byte."""
        rng = self.rng
        byte = rng.choice(self.levels) & ~1 | (rng.random() < 0.85)
        return Op("memory_write", (CONFIGURATION + intid - FIRST_LPI, bytes([byte])))

    def tables_of(self, pe: int) -> list[Op]:
        """Return the set-up of a redistributor's LPIs, LPIs being disabled."""
        rng = self.rng
        width = rng.choice((*(self.config.id_bits,) * 9, 14, 15, 13, 5, 32))
        table = CONFIGURATION if rng.random() < 0.95 else rng.choice((ROM, NOWHERE, EDGE + 0xF000))
        pending = PENDING + pe * PENDING_SIZE if rng.random() < 0.93 else rng.choice((ROM, NOWHERE, EDGE))
        ops = [Op("memory_write", (PENDING + pe * PENDING_SIZE + intid // 8, bytes([rng.getrandbits(8)])))
               for intid in self.lpis if rng.random() < 0.2]  # fmt: skip
        high = rng.choice((0, 0, 7 << 56, rng.getrandbits(64) & ~(1 << 52) + 1 & ~0x1F))
        ops.append(self.rd(0x70, table | width - 1 | (high & 0xFFF0_0000_0000_0F80), pe))
        zero = pending == ROM or rng.random() < 0.4  # what is in ROM would be some thousand LPIs
        ops.append(self.rd(0x78, pending | zero * PTZ | rng.choice((0, 0x780)), pe))
        if rng.random() < 0.1:
            ops.append(self.rd(rng.choice((0x70, 0x74, 0x78, 0x7C)), rng.choice((0, rng.getrandbits(32))), pe, 4))
        return [*ops, self.rd(0, int(rng.random() < 0.95), pe, 4)]

    def its_tables(self, its: int) -> list[Op]:
        """Return the set-up of an ITS, while it is disabled: tables, queue, GITS_CTLR."""
        rng, ops = self.rng, list[Op]()
        for number, base in enumerate((DEVICES, COLLECTIONS)):
            base += its * TABLE_SIZE
            ops.append(Op("memory_fill", (base, TABLE_SIZE)))
            shift = rng.choice((12, 12, 14, 16))
            baser = VALID | base | (shift - 12) // 2 << 8 | rng.randrange(2)
            if rng.random() < 0.5:
                baser |= 1 << 62
                pages = [base + 0x2_0000 | VALID, base + 0x3_0000 | VALID, 0, NOWHERE | VALID]
                level1 = [pages[0], *rng.choices(pages, (1, 8, 2, 1), k=7)]
                level1 = [page for n, page in enumerate(level1) if page not in level1[:n] or not page & VALID]
                ops += [Op("memory_write", (base + 8 * n, page.to_bytes(8, "little"))) for n, page in enumerate(level1)]
            if rng.random() < 0.04:
                baser = rng.choice((baser & ~VALID, baser & ~0x4000_0000 | NOWHERE, rng.getrandbits(64) & ~0x7000_0000))
            ops.append(self.gits(0x100 + 8 * number, baser, its))
        pages = rng.choice((1, 1, 1, 2))
        queue = QUEUES + its * QUEUE_SIZE if rng.random() < 0.97 else NOWHERE
        ops.append(self.gits(0x80, VALID | queue | pages - 1 | 7 << 59, its))
        ops.append(self.gits(0x88, 0, its))
        ops.append(self.gits(0, rng.choice((1, 1, 1, 0x101)), its, 4))
        return ops

    # Commands.

    def mapd(self, its: int, device: int, valid: bool = True) -> Command:
        """Return a MAPD to one of the two ITTs that a device has, rarely to none."""
        rng = self.rng
        places = self.itts.setdefault((its, device), [2 * len(self.itts), 2 * len(self.itts) + 1])
        places.reverse()
        address = ITTS + places[0] * ITT_SIZE + 0x100 * (places[0] % 16)
        if places[0] >= ITT_COUNT or rng.random() < 0.02:
            address = rng.choice((NOWHERE, ROM))
        most = self.config.event_bits - 1
        size = rng.choice((*(4,) * 8, 3, 2, 12, most)) if rng.random() < 0.97 else rng.choice((most + 1, 31))
        return (0x08 | device << 32, size, address | valid << 63, 0)

    def rdbase(self, pe: int) -> int:
        """Return an RDbase field for a PE, rarely for none."""
        rng = self.rng
        if rng.random() < 0.03:
            return rng.choice((self.count, 0xFFFF, rng.getrandbits(36))) << 16
        if not self.config.pta:
            return pe << 16
        for base, count in self.config.redist_regions or [(0x080A_0000, self.count)]:
            if pe < count:
                return base + 0x2_0000 * pe
            pe -= count
        raise ValueError(pe)

    def mapc(self, icid: int, pe: int, valid: bool = True) -> Command:
        """Return a MAPC."""
        return (0x09, 0, icid | self.rdbase(pe) | valid << 63, 0)

    def mapti(self, device: int, event: int) -> Command:
        """Return a MAPTI."""
        return (0x0A | device << 32, event | self.lpi() << 32, self.icid(), 0)

    def device(self) -> int:
        """Return a DeviceID: rarely one that was never mapped or is out of range."""
        rng = self.rng
        most = 1 << self.config.device_bits
        odd = (7, 600, 1023, 8191, most - 1, most, rng.getrandbits(32))
        return rng.choice(self.devices) if rng.random() < 0.95 else rng.choice(odd) & 0xFFFF_FFFF

    def event(self) -> int:
        """Return an EventID: rarely one that was never mapped or is out of range."""
        rng = self.rng
        odd = (4, 8, 32, 8192, 1 << self.config.event_bits & 0xFFFF_FFFF, rng.getrandbits(32))
        return rng.choice(self.events) if rng.random() < 0.95 else rng.choice(odd)

    def icid(self) -> int:
        """Return an ICID: rarely one that was never mapped or is out of range."""
        rng = self.rng
        return rng.choice(self.icids) if rng.random() < 0.95 else rng.choice((5, 511, 600, 0xFFFF, rng.getrandbits(16)))

    def command(self, its: int) -> Command:
        """Return any command."""
        rng = self.rng
        roll = rng.random()
        event = (self.device(), self.event())
        if roll < 0.5:
            name = rng.choices(list(EVENT_COMMANDS), (9, 2, 3, 1))[0]
            return (EVENT_COMMANDS[name] | event[0] << 32, event[1], 0, 0)
        if roll < 0.66:
            return self.mapti(*event)
        if roll < 0.70:
            intid = self.lpi()
            number = intid if intid < ITT_SIZE // 8 and rng.random() < 0.7 else self.event()
            return (0x0B | event[0] << 32, number, self.icid(), 0)  # MAPI
        if roll < 0.80:
            return (0x01 | event[0] << 32, event[1], self.icid(), 0)  # MOVI
        if roll < 0.85:
            return (0x0E, 0, self.rdbase(self.pe()), self.rdbase(self.pe()))  # MOVALL
        if roll < 0.89:
            return (0x0D, 0, self.icid(), 0)  # INVALL
        if roll < 0.93:
            return self.mapc(self.icid(), self.pe(), rng.random() < 0.9)
        if roll < 0.96:
            return self.mapd(its, self.device(), rng.random() < 0.85)
        if roll < 0.98:
            return (0x05, 0, self.rdbase(self.pe()), 0)  # SYNC
        return self.odd_command()

    def odd_command(self) -> Command:
        """Return a command of noise: an unknown one, or one whose RES0 bits are not."""
        rng = self.rng
        noise = tuple(rng.getrandbits(64) for _ in range(4))
        if rng.random() < 0.5:
            opcode = rng.choice((0, 2, 6, 7, 0x10, 0x20, 0x21, 0x25, 0x2A, 0x2D, 0xFF, rng.getrandbits(8) | 0x80))
            return (noise[0] & ~0xFF | opcode, *noise[1:])  # type: ignore[return-value]
        event = rng.choice(list(EVENT_COMMANDS.values()))
        first = event | noise[0] & 0xFFFF_FF00 | self.device() << 32
        return (first, self.event() | noise[1] & ~0xFFFF_FFFF, *noise[2:])  # type: ignore[return-value]

    # Steps.

    def step_handle(self) -> list[Op]:
        """Take what is signalled somewhere and end it, as a driver does."""
        choice = self.rng.randrange(64)
        return [Op("service", (choice, 1, False)), Op("end_newest", ())]

    def step_commands(self) -> list[Op]:
        """Queue a few commands and ring."""
        rng, its = self.rng, self.its()
        commands = tuple(self.command(its) for _ in range(rng.choice((1, 1, 2, 3, 8))))
        ops = [Op("commands", (its, commands))]
        return [*ops, self.read("GITS", 0x90, 8, index=its)] if rng.random() < 0.2 else ops

    def step_pend_and(self) -> list[Op]:
        """Make an event's LPI pending, if it leads to one, and do something about it before it is taken."""
        rng, its = self.rng, self.its()
        device, event, icid = rng.choice(self.devices), rng.choice(self.events), rng.choice(self.icids)
        ops = [Op("msi", (its, device, event))]
        act: tuple[Command, ...] = rng.choice((
            ((0x01 | device << 32, event, icid, 0),),
            ((0x04 | device << 32, event, 0, 0),),
            ((0x0F | device << 32, event, 0, 0), self.mapti(device, event)),
            ((0x0E, 0, self.rdbase(self.pe()), self.rdbase(self.pe())),),
            (self.mapc(icid, self.pe()),),
            (self.mapti(device, event),),
            (self.mapd(its, device), *(self.mapti(device, e) for e in self.events)),
        ))  # fmt: skip
        if self.touches_ds and rng.random() < 0.1:
            ops.append(self.write("GICD", 0, 0x47, secure=True))
        elif rng.random() < 0.2:
            ops += [self.configuration_op(intid) for intid in self.lpis]
            ops.append(Op("commands", (its, ((0x0C | device << 32, event, 0, 0),))))
        else:
            ops.append(Op("commands", (its, act)))
        return [*ops, Op("lpi_pending", (self.pe(),))]

    def step_msi(self) -> list[Op]:
        """Send MSIs: by call or by a write to GITS_TRANSLATER."""
        rng = self.rng
        ops = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            its, device, event = self.its(), self.device(), self.event()
            roll = rng.random()
            if roll < 0.6:
                ops.append(Op("msi", (its, device, event)))
            elif roll < 0.95:
                ops.append(Op("translate", (its, event, rng.choice((2, 4)), device)))
            else:
                ops.append(self.write("GITS_TRANS", 0x40, event & 0xFFFF, 2, index=its))
        return ops

    def step_configure(self) -> list[Op]:
        """Change the configuration of an LPI in memory, and usually say so."""
        rng, intid, pe = self.rng, self.rng.choice(self.lpis), self.pe()
        ops = [self.configuration_op(intid)]
        roll = rng.random()
        if self.config.lpi_invalidate and roll < 0.4:
            ops.append(self.rd(*rng.choice(((0xA0, intid), (0xA0, intid), (0xB0, 0))), pe))
        elif self.config.its and roll < 0.8:
            ops.append(Op("commands", (self.its(), ((0x0D, 0, self.icid(), 0),))))
        return ops

    def step_direct(self) -> list[Op]:
        """Write a register of a redistributor that acts on one LPI."""
        rng, pe, intid = self.rng, self.pe(), self.lpi()
        offset = rng.choice((0x40, 0x40, 0x40, 0x48, 0xA0, 0xB0) if self.config.direct_lpi else (0xA0, 0xB0))
        roll = rng.random()
        if roll < 0.5:
            return [self.rd(offset, intid | rng.choice((0, rng.getrandbits(32) << 32)), pe)]
        if roll < 0.9:
            return [self.rd(offset, intid, pe, 4)]
        if roll < 0.95:
            return [self.rd(offset + 4, intid, pe, 4)]
        return [self.read("RD", rng.choice((offset, 0xC0)), 4, index=pe)]

    def step_tables(self) -> list[Op]:
        """Disable LPIs of a PE, and usually enable them again, with the tables as they were or others."""
        rng, pe = self.rng, self.pe()
        if rng.random() < 0.2:
            return self.tables_of(pe)  # ignored, as LPIs are enabled
        ops = [self.rd(0, 0, pe, 4), self.read("RD", 0, 4, index=pe), Op("lpi_pending", (pe,))]
        roll = rng.random()
        if roll < 0.4:
            return [*ops, *self.tables_of(pe)]
        return [*ops, self.rd(0, 1, pe, 4)] if roll < 0.9 else ops

    def step_reload(self) -> list[Op]:
        """Let a redistributor write its pending table and read it, and act on LPIs meanwhile."""
        rng, pe = self.rng, self.pe()
        ops = [self.rd(0x40, intid, pe) for intid in self.lpis if self.config.direct_lpi and rng.random() < 0.7]
        ops += [self.rd(0, 0, pe, 4), self.rd(0, 1, pe, 4)]
        for _ in range(rng.choice((1, 2, 3))):
            if not self.config.its or rng.random() < 0.4:
                ops += self.step_direct()
            elif rng.random() < 0.6:
                ops += self.step_commands()
            else:
                ops.append(Op("commands", (self.its(), ((0x0E, 0, self.rdbase(pe), self.rdbase(self.pe())),))))
        return [*ops, self.rd(0, 0, pe, 4), self.rd(0, 1, pe, 4)] if rng.random() < 0.2 else ops

    def step_its_register(self) -> list[Op]:
        """Read or write any register of an ITS."""
        rng, its = self.rng, self.its()
        row = rng.choice(GITS_ROWS)
        offset, size = self.somewhere_in(row)
        if rng.random() < 0.6 or row.name == "CWRITER":
            return [self.read("GITS", offset, rng.choice((size, size, 1, 2, 4, 8)), index=its)]
        if row.name.startswith(("BASER", "CBASER")):
            # A base that is read back, yet never one where the tables of another may be.
            value = rng.getrandbits(64) & ~0x7000_0000
            return [self.write("GITS", row.first, value, 8, index=its)]
        return [self.write("GITS", offset, rng.getrandbits(8 * size), size, index=its)]

    def step_its_control(self) -> list[Op]:
        """Disable and enable an ITS, set it up anew, retry after a stall, or put GITS_CWRITER somewhere."""
        rng, its = self.rng, self.its()
        roll = rng.random()
        if roll < 0.4:
            return [self.gits(0, 1, its, 4), Op("retry", (its, rng.random() < 0.8))]
        if roll < 0.6:
            return [self.gits(0, 0, its, 4), *self.set_up(its)]
        if roll < 0.8:
            off, on, look = self.gits(0, 0, its, 4), self.gits(0, 1, its, 4), self.read("GITS", 0, 4, index=its)
            return [off, *self.step_msi(), look, on]
        if roll < 0.9:
            return [self.gits(0x88, rng.choice((0, 32, 0x1000 - 32, 0x1000, 0xF_FFE0, rng.getrandbits(20))), its)]
        return [self.gits(rng.choice((0x88, 0x8C)), rng.randrange(0, 0x1000, 32), its, 4)]

    def step_look_at_lpis(self) -> list[Op]:
        """Ask the host's question: what is pending."""
        return [Op("lpi_pending", (self.pe(),))]

    def step_restore(self) -> list[Op]:
        """Save the core and go on with what a new one makes of it, in few programs."""
        return [Op("go_on_restored", ())] if self.restores else []


def generator_for(config: ModelConfig, seed: int) -> Generator:
    """Return the generator that suits a configuration."""
    return ItsGenerator(config, seed) if config.lpis else Generator(config, seed)
