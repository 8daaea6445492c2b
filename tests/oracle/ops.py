"""Operations of an oracle program and their form in the agent's queue (`agent/agent.S` documents the layout)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

HOST_CPU = 0xFFFF
"""The `cpu` of an operation that the host performs; no PE owns it, so all wait."""
RING_SLOTS = 8

PUSH = 1
"""Flag: what is read, unless a special INTID (`is_special`), goes on the PE's ring of acknowledged INTIDs."""
USE = 2
"""Flag: the value written is the ring entry `depth` below the top, 1023 when there is none."""
POP = 4
"""Flag: the ring loses its top entry."""

SCR_NS = 1 << 0
SCR_IRQ = 1 << 1
SCR_FIQ = 1 << 2
SCR_HCE = 1 << 8
SCR_RW = 1 << 10
HCR_FMO = 1 << 3
HCR_IMO = 1 << 4
HCR_RW = 1 << 31


class Kind(enum.IntEnum):
    """What an operation does; the values are the agent's."""

    ISR = 0
    MRS = 1
    MSR = 2
    R8 = 3
    R16 = 4
    R32 = 5
    R64 = 6
    W8 = 7
    W16 = 8
    W32 = 9
    W64 = 10
    WINDOW = 11
    LINE = 12


READ_SIZE = {Kind.R8: 1, Kind.R16: 2, Kind.R32: 4, Kind.R64: 8}
WRITE_SIZE = {Kind.W8: 1, Kind.W16: 2, Kind.W32: 4, Kind.W64: 8}
READ_KIND = {size: kind for kind, size in READ_SIZE.items()}
WRITE_KIND = {size: kind for kind, size in WRITE_SIZE.items()}


class World(NamedTuple):
    """Where an operation executes: Exception level and the registers that decide its Security state and routing."""

    el: int
    scr: int
    hcr: int

    @property
    def secure(self) -> bool:
        """Whether the PE is in Secure state there (EL3 always is, for a PE that has it)."""
        return self.scr != 0 and (self.el == 3 or not self.scr & SCR_NS)


class Op(NamedTuple):
    """One operation. `reg` is op1:CRn:CRm:op2 (op0 = 3); a LINE has its INTID in `address`, its PE in `depth`."""

    kind: Kind
    cpu: int
    world: World
    reg: int = 0
    address: int = 0
    value: int = 0
    flags: int = 0
    depth: int = 0

    def __str__(self) -> str:
        where = f"cpu{self.cpu} EL{self.world.el}"
        if self.world.scr:
            where += f" scr={self.world.scr:#x}"
        if self.world.hcr & (HCR_FMO | HCR_IMO):
            where += f" hcr={self.world.hcr:#x}"
        data = f"ring[-{self.depth + 1}]" if self.flags & USE else f"{self.value:#x}"
        if self.kind == Kind.LINE:
            return f"line INTID {self.address} pe {self.depth} = {self.value}"
        if self.kind == Kind.MRS:
            return f"{where}: MRS {reg_name(self.reg)}"
        if self.kind == Kind.MSR:
            return f"{where}: MSR {reg_name(self.reg)}, {data}"
        if self.kind in READ_SIZE:
            return f"{where}: {self.kind.name} {address_name(self.address)}"
        if self.kind in WRITE_SIZE:
            return f"{where}: {self.kind.name} {address_name(self.address)} = {self.value:#x}"
        return f"{where}: {self.kind.name}"


class Result(NamedTuple):
    """What the agent saw: value, syndrome of a fault and the EL that took it, ISR_EL1, phase, interrupts taken."""

    value: int
    esr: int
    fault_el: int
    isr: int
    phase: int
    taken: int


def reg(op1: int, crn: int, crm: int, op2: int) -> int:
    """Encoding of an op0 = 3 system register as the agent's stub index."""
    return op1 << 11 | crn << 7 | crm << 3 | op2


ICC = {
    "ICC_PMR_EL1": reg(0, 4, 6, 0),
    "ICC_IAR0_EL1": reg(0, 12, 8, 0),
    "ICC_EOIR0_EL1": reg(0, 12, 8, 1),
    "ICC_HPPIR0_EL1": reg(0, 12, 8, 2),
    "ICC_BPR0_EL1": reg(0, 12, 8, 3),
    "ICC_AP0R0_EL1": reg(0, 12, 8, 4),
    "ICC_AP0R1_EL1": reg(0, 12, 8, 5),
    "ICC_AP0R2_EL1": reg(0, 12, 8, 6),
    "ICC_AP0R3_EL1": reg(0, 12, 8, 7),
    "ICC_AP1R0_EL1": reg(0, 12, 9, 0),
    "ICC_AP1R1_EL1": reg(0, 12, 9, 1),
    "ICC_AP1R2_EL1": reg(0, 12, 9, 2),
    "ICC_AP1R3_EL1": reg(0, 12, 9, 3),
    "ICC_NMIAR1_EL1": reg(0, 12, 9, 5),
    "ICC_DIR_EL1": reg(0, 12, 11, 1),
    "ICC_RPR_EL1": reg(0, 12, 11, 3),
    "ICC_SGI1R_EL1": reg(0, 12, 11, 5),
    "ICC_ASGI1R_EL1": reg(0, 12, 11, 6),
    "ICC_SGI0R_EL1": reg(0, 12, 11, 7),
    "ICC_IAR1_EL1": reg(0, 12, 12, 0),
    "ICC_EOIR1_EL1": reg(0, 12, 12, 1),
    "ICC_HPPIR1_EL1": reg(0, 12, 12, 2),
    "ICC_BPR1_EL1": reg(0, 12, 12, 3),
    "ICC_CTLR_EL1": reg(0, 12, 12, 4),
    "ICC_SRE_EL1": reg(0, 12, 12, 5),
    "ICC_IGRPEN0_EL1": reg(0, 12, 12, 6),
    "ICC_IGRPEN1_EL1": reg(0, 12, 12, 7),
    "ICC_SRE_EL2": reg(4, 12, 9, 5),
    "ICC_CTLR_EL3": reg(6, 12, 12, 4),
    "ICC_SRE_EL3": reg(6, 12, 12, 5),
    "ICC_IGRPEN1_EL3": reg(6, 12, 12, 7),
}
_REG_NAMES = {encoding: name for name, encoding in ICC.items()}

GICD_BASE = 0x0800_0000
GITS_BASE = 0x0808_0000
TRANSLATER = 0x0809_0040
GICD_CTLR_DS = 1 << 6
GICR_BASE = 0x080A_0000
GICR_STRIDE = 0x2_0000
SGI_FRAME = 0x1_0000

RAM_BASE = 0x4000_0000
TABLES = 0x4180_0000
"""The guest's tables of LPIs and of the ITS: RAM that no program is in, zero when a program starts."""
TABLES_SIZE = 8 << 20


FIRST_LPI = 8192


def is_special(intid: int) -> bool:
    """Whether an INTID that an acknowledge returned says that there was nothing to acknowledge."""
    return 1020 <= intid <= 1023


def reg_name(encoding: int) -> str:
    """Arm's name of an encoding, or its generic S3_* form."""
    generic = f"S3_{encoding >> 11}_C{encoding >> 7 & 15}_C{encoding >> 3 & 15}_{encoding & 7}"
    return _REG_NAMES.get(encoding, generic)


def address_name(address: int) -> str:
    """Frame and offset of an absolute address."""
    if address >= RAM_BASE:
        return f"RAM+{address - RAM_BASE:#x}"
    if address >= GICR_BASE:
        index, offset = divmod(address - GICR_BASE, GICR_STRIDE)
        frame, offset = ("SGI", offset - SGI_FRAME) if offset >= SGI_FRAME else ("RD", offset)
        return f"{frame}[{index}]+{offset:#x}"
    if address >= GITS_BASE:
        return f"GITS+{address - GITS_BASE:#x}"
    return f"GICD+{address - GICD_BASE:#x}"


def block(address: int) -> str:
    """The 128-byte block of a frame that an address is in, about one kind of register; the same for every PE."""
    if address >= RAM_BASE:
        return "RAM"
    if address >= GICR_BASE:
        offset = (address - GICR_BASE) % GICR_STRIDE
        return f"GICR+{offset & ~0x7F:#x}"
    if address >= GITS_BASE:
        return f"GITS+{(address - GITS_BASE) & ~0x7:#x}"
    return f"GICD+{(address - GICD_BASE) & ~0x7F:#x}"


QUEUE_DTYPE = np.dtype(
    [
        ("kind", "<u2"),
        ("cpu", "<u2"),
        ("el", "u1"),
        ("flags", "u1"),
        ("depth", "u1"),
        ("pad0", "u1"),
        ("enc", "<u4"),
        ("pad1", "<u4"),
        ("address", "<u8"),
        ("value", "<u8"),
        ("scr", "<u4"),
        ("hcr", "<u4"),
        ("out", "<u8"),
        ("esr", "<u8"),
        ("isr", "<u2"),
        ("pad2", "<u2"),
        ("phase", "u1"),
        ("taken", "u1"),
        ("pad3", "<u2"),
    ]
)


def encode(program: Iterable[Op]) -> np.ndarray:
    """The program as the agent's queue."""
    rows = []
    for kind, cpu, (el, scr, hcr), encoding, address, value, flags, depth in program:
        rows.append((kind, cpu, el, flags, depth, 0, encoding, 0, address, value, scr, hcr, 0, 0, 0, 0, 0, 0, 0))
    return np.array(rows, dtype=QUEUE_DTYPE)


def decode(queue: np.ndarray) -> Sequence[Result]:
    """What the agent wrote back, one `Result` per operation."""
    esr = queue["esr"]
    columns = (
        queue["out"].tolist(),
        (esr & np.uint64((1 << 60) - 1)).tolist(),
        (esr >> np.uint64(60)).tolist(),
        queue["isr"].tolist(),
        queue["phase"].tolist(),
        queue["taken"].tolist(),
    )
    return [Result(*row) for row in zip(*columns)]
