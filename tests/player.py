"""Random sequences through the public API, in configurations that differ in what they exercise."""

import random
from collections.abc import Callable
from typing import Any

from gicv3 import GICv3
from gicv3.registers import REGISTERS
from tests.rig import SCR_EEL2

CONFIGS: dict[str, dict[str, Any]] = {
    "one_state": {"cpus": 4, "spis": 64},
    "one_state_gate": {"cpus": 3, "spis": 32, "hpp_rule": "gate", "apr_rule": "bpr", "priority_bits": 4},
    "two_states": {"cpus": 3, "spis": 64, "security": True, "el2": True},
    "two_states_8_bits": {"cpus": 2, "spis": 32, "security": True, "priority_bits": 8, "nmi": True, "strict": True},
    "everything": {
        "affinities": [0x0, 0x10, 0x100, 0xFF_00FF_FFFF], "spis": 988, "espis": 64, "eppis": 64, "security": True,
        "el2": True, "nmi": True, "message_spis": True, "message_frame": 0x0A00_0000, "range_selector": True,
        "statusr": True, "strict": True, "one_of_n": True, "settle_steps": 2, "priority_bits": 7,
    },
    "highest_tie": {"cpus": 2, "spis": 64, "tie": "highest", "espis": 32, "eppis": 32},
    "one_of_n": {"cpus": 70, "spis": 64, "one_of_n": True, "hpp_rule": "gate"},
    "first_route": {"cpus": 3, "spis": 32, "espis": 32, "unknown_route": "first", "one_of_n": True, "nmi": True},
}


class Player:
    """Does random things to a GIC, half of them likely to matter."""

    def __init__(self, gic: GICv3, seed: int) -> None:
        self.gic = gic
        self.rng = random.Random(seed)
        config = gic.config
        self.spis = [*range(32, 32 + config.spis), *range(4096, 4096 + config.espis)]
        self.ppis = [*range(16, 32), *range(1056, 1056 + config.eppis)]
        self.few = [*self.spis[:6], *self.spis[-3:]]
        self.rows = [row for row in REGISTERS if not row.needs or config.has(row.needs)]
        self.saved: dict[int, bytes] = {}
        self.taken: list[tuple[int, int, int]] = []
        self.names = [register.name for register in gic.sysregs.values()]
        self.actions: list[Callable[[], Any]] = [
            *[self.wire] * 12, *[self.acknowledge] * 14, *[self.end] * 10, *[self.sgi] * 4, *[self.register] * 8,
            *[self.sysreg] * 4, *[self.context] * 3, self.hotplug, self.rare, *[self.open_everything] * 2,
        ]

    def step(self) -> None:
        """Do one of the actions."""
        self.rng.choice(self.actions)()

    def pe(self) -> int:
        return self.rng.randrange(self.gic.num_pe)

    def wire(self) -> None:
        level = self.rng.random() < 0.6
        kind = self.rng.randrange(4)
        if kind == 0:
            self.gic.set_spi(self.rng.choice(self.few), level)
        elif kind == 1:
            self.gic.set_ppi(self.pe(), self.rng.choice(self.ppis), level)
        elif kind == 2:
            self.gic.pulse_spi(self.rng.choice(self.few))
        else:
            self.gic.pulse_ppi(self.pe(), self.rng.choice(self.ppis))

    def register(self) -> None:
        rng = self.rng
        row = rng.choice(self.rows)
        element = rng.choice([0, 1, rng.randrange(row.count), rng.randrange(row.count)]) % row.count
        offset = row.offset + element * row.width // 8
        size = rng.choice(row.sizes)
        secure = rng.choice([None, False, True, True])
        if rng.random() < 0.2:
            self.gic.frame_read(row.frame, offset, size, secure, self.pe())
            return
        value = rng.choice([0, (1 << 64) - 1, rng.getrandbits(64), rng.getrandbits(64) & rng.getrandbits(64)])
        if row.name == "GICD_CTLR":
            value = rng.choice([3, 7, 7, 7, 0x87, rng.getrandbits(6), 0x47 if rng.random() < 0.1 else 7])
        elif "IROUTER" in row.name:
            value = self.gic.affinity(self.pe()) | (rng.random() < 0.3) << 31 if rng.random() < 0.9 else value
        elif "WAKER" in row.name:
            value = 2 * (rng.random() < 0.2)
        self.gic.frame_write(row.frame, offset, value, size, secure, self.pe())

    def sysreg(self) -> None:
        rng = self.rng
        name = rng.choice(self.names)
        if rng.random() < 0.3:
            self.gic.sysreg_access(self.pe(), name)
            return
        value = rng.choice([0, 1, 2, 3, 0xF0, 0xFF, rng.getrandbits(8), rng.getrandbits(64)])
        self.gic.sysreg_write(self.pe(), name, value)

    def acknowledge(self) -> None:
        waiting = [pe for pe in range(self.gic.num_pe) if self.gic.line(pe)]
        pe = self.rng.choice(waiting) if waiting else self.pe()
        group = self.rng.randrange(2)
        intid = self.gic.sysreg_read(pe, f"ICC_IAR{group}_EL1")
        if intid not in (0, 1020, 1021, 1022, 1023):
            self.taken.append((pe, group, intid))

    def end(self) -> None:
        if self.taken and self.rng.random() < 0.9:
            pe, group, intid = self.taken.pop(-1 if self.rng.random() < 0.8 else 0)
        else:
            pe, group, intid = self.pe(), self.rng.randrange(2), self.rng.choice([*self.few, *self.ppis, 0, 15, 1023])
        self.gic.sysreg_write(pe, f"ICC_EOIR{group}_EL1", intid)
        if self.rng.random() < 0.5:
            self.gic.sysreg_write(pe, "ICC_DIR_EL1", intid)

    def sgi(self) -> None:
        rng = self.rng
        affinity = self.gic.affinity(self.pe())
        value = rng.randrange(16) << 24 | 1 << (affinity & 15) | (affinity >> 4 & 15) << 44
        value |= (affinity >> 8 & 0xFF) << 16 | (affinity >> 16 & 0xFF) << 32 | (affinity >> 32 & 0xFF) << 48
        if rng.random() < 0.3:
            value |= 1 << 40
        self.gic.sysreg_write(self.pe(), rng.choice(["ICC_SGI0R_EL1", "ICC_SGI1R_EL1", "ICC_ASGI1R_EL1"]), value)

    def context(self) -> None:
        config, rng = self.gic.config, self.rng
        levels = [1, 1, 1, 0] + [2] * config.el2 + [3] * (2 * config.security)
        pe, el, secure = self.pe(), rng.choice(levels), config.security and rng.random() < 0.4
        scr = rng.choice([None, 1, rng.getrandbits(3), SCR_EEL2 | rng.getrandbits(3)])
        if el == 2 and secure and scr is not None:
            scr |= SCR_EEL2
        self.gic.set_context(
            pe, el=el, secure=secure, scr_el3=scr,
            hcr_el2=rng.choice([None, 0, 0, 8, 16, 24]), nmi_enabled=rng.random() < 0.5,
        )

    def hotplug(self) -> None:
        pe = self.pe()
        self.gic.set_cpustate(pe, object(), self.rng.random() < 0.7)

    def rare(self) -> None:
        rng, gic = self.rng, self.gic
        kind = rng.randrange(8)
        if kind == 0:
            gic.reset()
        elif kind == 1:
            gic.reset_cpuif(self.pe())
        elif kind == 2:
            pe = self.pe()
            self.saved[pe] = gic.save_pe(pe)
        elif kind == 3 and self.saved:
            pe = rng.choice(list(self.saved))
            gic.restore_pe(pe, self.saved[pe])
        elif kind == 4:
            gic.changed()
        elif kind == 5:
            self.open_everything()
        else:
            gic.step(rng.randrange(4))

    def open_everything(self) -> None:
        """Enable all and leave no priority active, so that interrupts flow again."""
        gic = self.gic
        gic.dist["GICD_CTLR"] = 7
        for pe in self.rng.sample(range(gic.num_pe), min(gic.num_pe, 4)):
            gic.set_cpustate(pe, None, True)
            gic.redist[pe]["GICR_WAKER"] = 0
            gic.step(2)
            gic.redist[pe]["GICR_ISENABLER0"] = gic.redist[pe]["GICR_ICACTIVER0"] = 0xFFFF_FFFF
            for scr in (0, 1):
                gic.set_context(pe, el=3 if gic.config.security else 1, secure=gic.config.security, scr_el3=scr)
                for name, value in (("PMR", 0xFF), ("IGRPEN0", 1), ("IGRPEN1", 1), ("AP0R0", 0), ("AP1R0", 0)):
                    gic.pe[pe][f"ICC_{name}_EL1"] = value
            gic.set_context(pe, el=self.rng.choice([1, 3]) if gic.config.security else 1)
        for word in (1, 2):
            gic.dist["GICD_ISENABLER", word] = gic.dist["GICD_ICACTIVER", word] = 0xFFFF_FFFF
