"""What strict mode found: use by a guest that the architecture leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gicv3._core import strict_findings
from gicv3.registers import REGISTERS, Frame, SysReg

if TYPE_CHECKING:
    from gicv3.gic import GICv3


class Finding(NamedTuple):
    """One use that strict mode recorded: what was wrong with which access. See docs/explain.md for the rules.

    ``kind`` is "unpredictable" (CONSTRAINED UNPREDICTABLE: an implementation has a choice), "reserved" (nothing is
    there) or "hint" (allowed, and rarely meant). ``pe`` is the PE whose CPU interface or redistributor it is about,
    None for the Distributor's and an ITS's registers; ``intid`` the interrupt, None when it is about none. ``register``
    is its name, or frame+offset where there is none. ``secure`` is the Security state of the access and ``value`` what
    it wrote, None for a read.
    """

    kind: str
    rule: str
    pe: int | None
    intid: int | None
    register: str
    secure: bool
    value: int | None

    def __str__(self) -> str:
        where = "" if self.pe is None else f" at PE {self.pe}"
        about = "" if self.intid is None else f", INTID {self.intid}"
        access = "read" if self.value is None else f"= {self.value:#x}"
        return f"{self.kind}: {self.rule} ({self.register} {access}{where}, {_STATES[self.secure]}{about})"


_STATES = ("Non-secure", "Secure")


def register_at(frame: Frame, offset: int) -> str:
    """The register at an offset of a frame: GICD_ICFGR2, GICD_ICFGR0E, or RD+0x8000 where there is none."""
    for row in REGISTERS:
        element = (offset - row.offset) // (row.width // 8)
        if row.frame is frame and 0 <= element < row.count:
            if row.count == 1:
                return row.name
            stem, extended = row.name.removesuffix("nE"), "E" if row.name.endswith("nE") else ""
            return f"{stem.rstrip('0123456789')}{row.first + element}{extended}"
    return f"{frame.name}+{offset:#x}"


def findings(gic: GICv3) -> list[Finding]:
    """See `GICv3.strict_log`."""
    result = []
    for kind, rule, pe, intid, frame, place, secure, value in strict_findings(gic):
        register = SysReg(place).name if frame is None else register_at(Frame(frame), place)
        result.append(Finding(kind, rule, pe, intid, register, secure, value))
    return result
