"""THE register table: every offset, width, access kind, reset value and write mask of the memory-mapped registers,
and the encoding of every system register. Pure data; the core builds its decoders from it and the tests walk it.

Source: Arm register pages 2024-12 (GICD_*, GICR_*, ICC_*).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Frame(IntEnum):
    """The 64 KB frames of the physical register map."""

    GICD = 0
    RD = 1
    SGI = 2
    GICM = 3
    GITS = 4
    GITS_TRANS = 5


class Reg(NamedTuple):
    """One register, or one array of equal registers, of a memory-mapped frame.

    ``reset`` is per element; None means that it follows from the configuration. ``base`` is where element 0 stands in
    the core's own numbering (extended ranges follow the ordinary ones there); ``first`` is the architectural index of
    element 0. ``sizes`` lists the access sizes in bytes. ``needs`` names the configuration switch without which the
    register is RES0.
    """

    name: str
    frame: Frame
    offset: int
    width: int = 32
    count: int = 1  # type: ignore[assignment]  # the tuple method of this name is not wanted here
    access: str = "RW"
    reset: int | None = 0
    write_mask: int = 0xFFFF_FFFF
    sizes: tuple[int, ...] = (4,)
    first: int = 0
    base: int = 0
    needs: str = ""


_D, _R, _S, _M, _I, _T = Frame
_PRIO = (1, 4)
_WIDE = (4, 8)
_MSG = (2, 4)
# Aff3 39:32, IRM 31, Aff2 23:16, Aff1 15:8, Aff0 7:0; the rest is RES0.
_IROUTER = 0xFF_80FF_FFFF
_PROPBASER = 0x070F_FFFF_FFFF_FF9F
# Valid 63, InnerCache 61:59, OuterCache 55:53, address 51:12, Shareability 11:10, Size 7:0
_CBASER = 0xB8EF_FFFF_FFFF_FCFF
# Valid 63, Indirect 62, InnerCache 61:59, OuterCache 55:53, address 47:12, Shareability 11:10, Page_Size 9:8, Size 7:0
_BASER = 0xF8E0_FFFF_FFFF_FFFF
_PENDBASER = 0x470F_FFFF_FFFF_0F80  # PTZ, bit 62, reads 0


def _id_registers(prefix: str, frame: Frame) -> tuple[Reg, ...]:
    needs = {Frame.GICM: "message_frame", Frame.GITS: "its"}.get(frame, "")
    return tuple(
        Reg(f"{prefix}_{name}", frame, offset, count=4, access="RO", reset=None, write_mask=0, first=first, base=first,
            needs=needs)
        for name, offset, first in (("PIDR4", 0xFFD0, 4), ("PIDR0", 0xFFE0, 0), ("CIDR", 0xFFF0, 0))
    )


def _bitmaps(prefix: str, frame: Frame, offsets: dict[str, int], count: int, first: int, base: int, suffix: str,
             needs: str = "") -> tuple[Reg, ...]:
    """The seven set/clear bitmap arrays, which differ only in where they stand."""
    access = {"IGROUPR": "RW", "ISENABLER": "W1S", "ICENABLER": "W1C", "ISPENDR": "W1S", "ICPENDR": "W1C",
              "ISACTIVER": "W1S", "ICACTIVER": "W1C"}
    return tuple(
        Reg(f"{prefix}_{kind}{suffix}", frame, offsets[kind], count=count, access=access[kind], first=first, base=base,
            needs=needs)
        for kind in access
    )


_GICD_BITS = {"IGROUPR": 0x80, "ISENABLER": 0x100, "ICENABLER": 0x180, "ISPENDR": 0x200, "ICPENDR": 0x280,
              "ISACTIVER": 0x300, "ICACTIVER": 0x380}
_GICD_E_BITS = {"IGROUPR": 0x1000, "ISENABLER": 0x1200, "ICENABLER": 0x1400, "ISPENDR": 0x1600, "ICPENDR": 0x1800,
                "ISACTIVER": 0x1A00, "ICACTIVER": 0x1C00}
_GICR_E_BITS = {name: offset + 4 for name, offset in _GICD_BITS.items()}

REGISTERS: tuple[Reg, ...] = (
    # Distributor
    Reg("GICD_CTLR", _D, 0x0000, reset=None, write_mask=0x0000_00F7),
    Reg("GICD_TYPER", _D, 0x0004, access="RO", reset=None, write_mask=0),
    Reg("GICD_IIDR", _D, 0x0008, access="RO", reset=None, write_mask=0),
    Reg("GICD_TYPER2", _D, 0x000C, access="RO", write_mask=0),
    Reg("GICD_STATUSR", _D, 0x0010, access="W1C", write_mask=0xF, needs="statusr"),
    Reg("GICD_SETSPI_NSR", _D, 0x0040, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_spis"),
    Reg("GICD_CLRSPI_NSR", _D, 0x0048, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_spis"),
    Reg("GICD_SETSPI_SR", _D, 0x0050, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_spis"),
    Reg("GICD_CLRSPI_SR", _D, 0x0058, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_spis"),
    *_bitmaps("GICD", _D, _GICD_BITS, 32, 0, 0, ""),
    Reg("GICD_IPRIORITYR", _D, 0x0400, count=255, sizes=_PRIO),
    Reg("GICD_ITARGETSR", _D, 0x0800, count=255, write_mask=0, sizes=_PRIO),
    Reg("GICD_ICFGR", _D, 0x0C00, count=64, write_mask=0xAAAA_AAAA),
    Reg("GICD_IGRPMODR", _D, 0x0D00, count=32),
    Reg("GICD_NSACR", _D, 0x0E00, count=64),
    Reg("GICD_SGIR", _D, 0x0F00, access="WO", write_mask=0),
    Reg("GICD_CPENDSGIR", _D, 0x0F10, count=4, write_mask=0, sizes=_PRIO),
    Reg("GICD_SPENDSGIR", _D, 0x0F20, count=4, write_mask=0, sizes=_PRIO),
    Reg("GICD_INMIR", _D, 0x0F80, count=32, needs="nmi"),
    *_bitmaps("GICD", _D, _GICD_E_BITS, 32, 0, 32, "nE", "espis"),
    Reg("GICD_IPRIORITYRnE", _D, 0x2000, count=256, sizes=_PRIO, base=256, needs="espis"),
    Reg("GICD_ICFGRnE", _D, 0x3000, count=64, write_mask=0xAAAA_AAAA, base=64, needs="espis"),
    Reg("GICD_IGRPMODRnE", _D, 0x3400, count=32, base=32, needs="espis"),
    Reg("GICD_NSACRnE", _D, 0x3600, count=64, base=64, needs="espis"),
    Reg("GICD_INMIRnE", _D, 0x3B00, count=32, base=32, needs="nmi"),
    Reg("GICD_IROUTER", _D, 0x6100, width=64, count=988, write_mask=_IROUTER, sizes=_WIDE, first=32, base=32),
    Reg("GICD_IROUTERnE", _D, 0x8000, width=64, count=1024, write_mask=_IROUTER, sizes=_WIDE, base=1024, needs="espis"),
    *_id_registers("GICD", _D),
    # Redistributor, RD_base
    Reg("GICR_CTLR", _R, 0x0000, reset=None, write_mask=0x0700_0001),
    Reg("GICR_IIDR", _R, 0x0004, access="RO", reset=None, write_mask=0),
    Reg("GICR_TYPER", _R, 0x0008, width=64, access="RO", reset=None, write_mask=0, sizes=_WIDE),
    Reg("GICR_STATUSR", _R, 0x0010, access="W1C", write_mask=0xF, needs="statusr"),
    Reg("GICR_WAKER", _R, 0x0014, reset=0x6, write_mask=0x2),
    Reg("GICR_SETLPIR", _R, 0x0040, width=64, access="WO", write_mask=0xFFFF_FFFF, sizes=_WIDE, needs="direct_lpi"),
    Reg("GICR_CLRLPIR", _R, 0x0048, width=64, access="WO", write_mask=0xFFFF_FFFF, sizes=_WIDE, needs="direct_lpi"),
    Reg("GICR_PROPBASER", _R, 0x0070, width=64, write_mask=_PROPBASER, sizes=_WIDE, needs="lpis"),
    Reg("GICR_PENDBASER", _R, 0x0078, width=64, write_mask=_PENDBASER, sizes=_WIDE, needs="lpis"),
    Reg("GICR_INVLPIR", _R, 0x00A0, width=64, access="WO", write_mask=0xFFFF_FFFF, sizes=_WIDE, needs="lpi_invalidate"),
    Reg("GICR_INVALLR", _R, 0x00B0, width=64, access="WO", write_mask=0xFFFF_FFFF, sizes=_WIDE, needs="lpi_invalidate"),
    Reg("GICR_SYNCR", _R, 0x00C0, access="RO", write_mask=0, needs="lpi_invalidate"),
    *_id_registers("GICR", _R),
    # Redistributor, SGI_base
    *_bitmaps("GICR", _S, _GICD_BITS, 1, 0, 0, "0"),
    *_bitmaps("GICR", _S, _GICR_E_BITS, 2, 1, 1, "nE", "eppis"),
    Reg("GICR_IPRIORITYR", _S, 0x0400, count=8, sizes=_PRIO),
    Reg("GICR_IPRIORITYRnE", _S, 0x0420, count=16, sizes=_PRIO, first=8, base=8, needs="eppis"),
    Reg("GICR_ICFGR0", _S, 0x0C00, reset=0xAAAA_AAAA, write_mask=0),
    Reg("GICR_ICFGR1", _S, 0x0C04, write_mask=0xAAAA_AAAA, first=1, base=1),
    Reg("GICR_ICFGRnE", _S, 0x0C08, count=4, write_mask=0xAAAA_AAAA, first=2, base=2, needs="eppis"),
    Reg("GICR_IGRPMODR0", _S, 0x0D00),
    Reg("GICR_IGRPMODRnE", _S, 0x0D04, count=2, first=1, base=1, needs="eppis"),
    Reg("GICR_NSACR", _S, 0x0E00),
    Reg("GICR_INMIR0", _S, 0x0F80, needs="nmi"),
    Reg("GICR_INMIRnE", _S, 0x0F84, count=2, first=1, base=1, needs="nmi"),
    # Message-based SPIs in a frame of their own; sources disagree on where TYPER and IIDR stand, so both places answer
    Reg("GICM_TYPER", _M, 0x0004, count=2, access="RO", reset=None, write_mask=0, needs="message_frame"),
    Reg("GICM_SETSPI_NSR", _M, 0x0040, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_frame"),
    Reg("GICM_CLRSPI_NSR", _M, 0x0048, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_frame"),
    Reg("GICM_SETSPI_SR", _M, 0x0050, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_frame"),
    Reg("GICM_CLRSPI_SR", _M, 0x0058, access="WO", write_mask=0x1FFF, sizes=_MSG, needs="message_frame"),
    Reg("GICM_IIDR", _M, 0x0FCC, access="RO", reset=None, write_mask=0, needs="message_frame"),
    Reg("GICM_IIDR2", _M, 0xFFCC, access="RO", reset=None, write_mask=0, needs="message_frame"),
    *_id_registers("GICM", _M),
    # ITS, control frame; GITS_BASER0 is the device table, GITS_BASER1 the collection table, the rest is RES0
    Reg("GITS_CTLR", _I, 0x0000, reset=0x8000_0000, write_mask=0x101, needs="its"),
    Reg("GITS_IIDR", _I, 0x0004, access="RO", reset=None, write_mask=0, needs="its"),
    Reg("GITS_TYPER", _I, 0x0008, width=64, access="RO", reset=None, write_mask=0, sizes=_WIDE, needs="its"),
    Reg("GITS_STATUSR", _I, 0x0040, access="W1C", write_mask=0x3F, needs="its_status"),
    Reg("GITS_UMSIR", _I, 0x0048, width=64, access="RO", write_mask=0, sizes=_WIDE, needs="its_umsi"),
    Reg("GITS_CBASER", _I, 0x0080, width=64, write_mask=_CBASER, sizes=_WIDE, needs="its"),
    Reg("GITS_CWRITER", _I, 0x0088, width=64, write_mask=0xF_FFE1, sizes=_WIDE, needs="its"),
    Reg("GITS_CREADR", _I, 0x0090, width=64, access="RO", write_mask=0, sizes=_WIDE, needs="its"),
    Reg("GITS_BASER", _I, 0x0100, width=64, count=8, reset=None, write_mask=_BASER, sizes=_WIDE, needs="its"),
    *_id_registers("GITS", _I),
    # ITS, translation frame
    Reg("GITS_TRANSLATER", _T, 0x0040, access="WO", sizes=_MSG, needs="its"),
)


def encode(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """Pack an encoding the way KVM and ESR-style tables do: op0 15:14, op1 13:11, CRn 10:7, CRm 6:3, op2 2:0."""
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


class SysReg(IntEnum):
    """System registers by name; the value is the packed encoding, see `encode`."""

    ICC_PMR_EL1 = encode(3, 0, 4, 6, 0)
    ICC_IAR0_EL1 = encode(3, 0, 12, 8, 0)
    ICC_EOIR0_EL1 = encode(3, 0, 12, 8, 1)
    ICC_HPPIR0_EL1 = encode(3, 0, 12, 8, 2)
    ICC_BPR0_EL1 = encode(3, 0, 12, 8, 3)
    ICC_AP0R0_EL1 = encode(3, 0, 12, 8, 4)
    ICC_AP0R1_EL1 = encode(3, 0, 12, 8, 5)
    ICC_AP0R2_EL1 = encode(3, 0, 12, 8, 6)
    ICC_AP0R3_EL1 = encode(3, 0, 12, 8, 7)
    ICC_AP1R0_EL1 = encode(3, 0, 12, 9, 0)
    ICC_AP1R1_EL1 = encode(3, 0, 12, 9, 1)
    ICC_AP1R2_EL1 = encode(3, 0, 12, 9, 2)
    ICC_AP1R3_EL1 = encode(3, 0, 12, 9, 3)
    ICC_NMIAR1_EL1 = encode(3, 0, 12, 9, 5)
    ICC_DIR_EL1 = encode(3, 0, 12, 11, 1)
    ICC_RPR_EL1 = encode(3, 0, 12, 11, 3)
    ICC_SGI1R_EL1 = encode(3, 0, 12, 11, 5)
    ICC_ASGI1R_EL1 = encode(3, 0, 12, 11, 6)
    ICC_SGI0R_EL1 = encode(3, 0, 12, 11, 7)
    ICC_IAR1_EL1 = encode(3, 0, 12, 12, 0)
    ICC_EOIR1_EL1 = encode(3, 0, 12, 12, 1)
    ICC_HPPIR1_EL1 = encode(3, 0, 12, 12, 2)
    ICC_BPR1_EL1 = encode(3, 0, 12, 12, 3)
    ICC_CTLR_EL1 = encode(3, 0, 12, 12, 4)
    ICC_SRE_EL1 = encode(3, 0, 12, 12, 5)
    ICC_IGRPEN0_EL1 = encode(3, 0, 12, 12, 6)
    ICC_IGRPEN1_EL1 = encode(3, 0, 12, 12, 7)
    ICC_SRE_EL2 = encode(3, 4, 12, 9, 5)
    ICC_CTLR_EL3 = encode(3, 6, 12, 12, 4)
    ICC_SRE_EL3 = encode(3, 6, 12, 12, 5)
    ICC_IGRPEN1_EL3 = encode(3, 6, 12, 12, 7)


class SysRow(NamedTuple):
    """What the core knows of one system register: access kind, trap class, write mask, and what it needs.

    ``trap`` is the class that decides redirection and trapping: group0, group1, common, sgi, dir, or none. ``min_el``
    is the lowest Exception level with access. ``aarch32`` says whether MCR and MRC reach the register too, ``mcrr``
    is the opc1 and CRm by which MCRR does. ``reads`` is what a read gives when it is an INTID: "acknowledged" (and it
    is taken) or "pending". ``conditional`` registers exist in some states of the PE only.
    """

    reg: SysReg
    access: str = "RW"
    trap: str = "common"
    min_el: int = 1
    index: int = 0  # type: ignore[assignment]
    write_mask: int = 0xFFFF_FFFF_FFFF_FFFF
    needs: str = ""
    aarch32: bool = True
    mcrr: tuple[int, int] | None = None
    reads: str = ""
    conditional: bool = False

    @property
    def name(self) -> str:
        return self.reg.name

    @property
    def encoding(self) -> tuple[int, int, int, int, int]:
        """op0, op1, CRn, CRm, op2: what `encode` packs."""
        return self.reg >> 14, self.reg >> 11 & 7, self.reg >> 7 & 15, self.reg >> 3 & 15, self.reg & 7


_INTID = 0xFF_FFFF
_SGI = 0x00FF_F1FF_0FFF_FFFF

SYSREGS: tuple[SysRow, ...] = (
    SysRow(SysReg.ICC_PMR_EL1, write_mask=0xFF),
    SysRow(SysReg.ICC_IAR0_EL1, "RO", "group0", reads="acknowledged"),
    SysRow(SysReg.ICC_EOIR0_EL1, "WO", "group0", write_mask=_INTID),
    SysRow(SysReg.ICC_HPPIR0_EL1, "RO", "group0", reads="pending"),
    SysRow(SysReg.ICC_BPR0_EL1, "RW", "group0", write_mask=7),
    *(SysRow(SysReg[f"ICC_AP0R{n}_EL1"], "RW", "group0", index=n, write_mask=0xFFFF_FFFF) for n in range(4)),
    *(SysRow(SysReg[f"ICC_AP1R{n}_EL1"], "RW", "group1", index=n, write_mask=0x8000_0000_FFFF_FFFF) for n in range(4)),
    SysRow(SysReg.ICC_NMIAR1_EL1, "RO", "group1", needs="nmi", aarch32=False, reads="acknowledged", conditional=True),
    SysRow(SysReg.ICC_DIR_EL1, "WO", "dir", write_mask=_INTID),
    SysRow(SysReg.ICC_RPR_EL1, "RO"),
    SysRow(SysReg.ICC_SGI1R_EL1, "WO", "sgi", write_mask=_SGI, aarch32=False, mcrr=(0, 12)),
    SysRow(SysReg.ICC_ASGI1R_EL1, "WO", "sgi", write_mask=_SGI, aarch32=False, mcrr=(1, 12)),
    SysRow(SysReg.ICC_SGI0R_EL1, "WO", "sgi", write_mask=_SGI, aarch32=False, mcrr=(2, 12)),
    SysRow(SysReg.ICC_IAR1_EL1, "RO", "group1", reads="acknowledged"),
    SysRow(SysReg.ICC_EOIR1_EL1, "WO", "group1", write_mask=_INTID),
    SysRow(SysReg.ICC_HPPIR1_EL1, "RO", "group1", reads="pending"),
    SysRow(SysReg.ICC_BPR1_EL1, "RW", "group1", write_mask=7),
    SysRow(SysReg.ICC_CTLR_EL1, write_mask=0x43),
    SysRow(SysReg.ICC_SRE_EL1, "RW", "none", write_mask=0),
    SysRow(SysReg.ICC_IGRPEN0_EL1, "RW", "group0", write_mask=1),
    SysRow(SysReg.ICC_IGRPEN1_EL1, "RW", "group1", write_mask=1),
    SysRow(SysReg.ICC_SRE_EL2, "RW", "none", 2, write_mask=0, needs="el2", conditional=True),
    SysRow(SysReg.ICC_CTLR_EL3, "RW", "none", 3, write_mask=0x5F, needs="security"),
    SysRow(SysReg.ICC_SRE_EL3, "RW", "none", 3, write_mask=0, needs="security"),
    SysRow(SysReg.ICC_IGRPEN1_EL3, "RW", "none", 3, write_mask=3, needs="security"),
)
