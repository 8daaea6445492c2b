# From the register table to a byte per word: which row answers, with what width, mask and access kind.
# Built once when the module is imported; shared by every GIC, read-only afterwards.

cdef enum:
    NUM_FRAMES = 6
    FRAME_GICD = 0
    FRAME_RD = 1
    FRAME_SGI = 2
    FRAME_GICM = 3
    FRAME_GITS = 4
    FRAME_GITS_TRANS = 5
    READABLE = 1
    WRITABLE = 2
    # GICD_STATUSR, GICR_STATUSR
    STATUSR_RRD = 1              # read of a reserved location
    STATUSR_WRD = 2              # write to a reserved location
    STATUSR_RWOD = 4             # read of a write-only register
    STATUSR_WROD = 8             # write to a read-only register

cdef enum:
    # What a memory-mapped register is: the name in the table without its frame prefix and range suffix.
    REG_NONE = 0
    REG_CTLR
    REG_TYPER
    REG_IIDR
    REG_TYPER2
    REG_STATUSR
    REG_SETSPI_NSR
    REG_CLRSPI_NSR
    REG_SETSPI_SR
    REG_CLRSPI_SR
    REG_IGROUPR
    REG_ISENABLER
    REG_ICENABLER
    REG_ISPENDR
    REG_ICPENDR
    REG_ISACTIVER
    REG_ICACTIVER
    REG_IPRIORITYR
    REG_ICFGR
    REG_IGRPMODR
    REG_NSACR
    REG_INMIR
    REG_IROUTER
    REG_LEGACY                   # RES0 with affinity routing
    REG_PIDR
    REG_CIDR
    REG_WAKER
    REG_PROPBASER
    REG_PENDBASER
    REG_SETLPIR
    REG_CLRLPIR
    REG_INVLPIR
    REG_INVALLR
    REG_SYNCR
    REG_UMSIR
    REG_CBASER
    REG_CWRITER
    REG_CREADR
    REG_BASER
    REG_TRANSLATER

cdef enum:
    SYS_NONE = 0
    SYS_PMR
    SYS_IAR0
    SYS_EOIR0
    SYS_HPPIR0
    SYS_BPR0
    SYS_AP0R
    SYS_AP1R
    SYS_NMIAR1
    SYS_DIR
    SYS_RPR
    SYS_SGI1R
    SYS_ASGI1R
    SYS_SGI0R
    SYS_IAR1
    SYS_EOIR1
    SYS_HPPIR1
    SYS_BPR1
    SYS_CTLR_EL1
    SYS_SRE_EL1
    SYS_IGRPEN0
    SYS_IGRPEN1
    SYS_SRE_EL2
    SYS_CTLR_EL3
    SYS_SRE_EL3
    SYS_IGRPEN1_EL3

cdef struct RegDecode:
    u64 write_mask
    u32 offset
    u32 base                     # element 0 in the core's numbering
    u32 needs
    u8 kind
    u8 access                    # READABLE | WRITABLE
    u8 sizes                     # bit n: 1 << n bytes allowed
    u8 shift                     # element size: 2 = 4 bytes, 3 = 8 bytes
    u8 slots                     # interrupts an element stands for; 0 when it is not per interrupt

cdef RegDecode[192] reg_rows
cdef u8[6][0x4000] reg_index
cdef SysDecode[64] sys_rows
cdef u8[0x4000] sys_index

_FEATURES = {"": 0, "security": FEAT_SECURITY, "el2": FEAT_EL2, "espis": FEAT_ESPI, "eppis": FEAT_EPPI,
             "message_spis": FEAT_MESSAGE_SPI, "nmi": FEAT_NMI, "range_selector": FEAT_RSS,
             "one_of_n": FEAT_ONE_OF_N, "statusr": FEAT_STATUSR, "lpis": FEAT_LPI,
             "message_frame": FEAT_MESSAGE_FRAME, "direct_lpi": FEAT_DIRECT_LPI, "lpi_invalidate": FEAT_LPI_INVALIDATE,
             "its": FEAT_ITS, "its_umsi": FEAT_UMSI, "its_status": FEAT_ITS_STATUS}

_REG_KINDS = {
    "CTLR": REG_CTLR, "TYPER": REG_TYPER, "IIDR": REG_IIDR, "TYPER2": REG_TYPER2, "STATUSR": REG_STATUSR,
    "SETSPI_NSR": REG_SETSPI_NSR, "CLRSPI_NSR": REG_CLRSPI_NSR, "SETSPI_SR": REG_SETSPI_SR,
    "CLRSPI_SR": REG_CLRSPI_SR, "IGROUPR": REG_IGROUPR, "ISENABLER": REG_ISENABLER, "ICENABLER": REG_ICENABLER,
    "ISPENDR": REG_ISPENDR, "ICPENDR": REG_ICPENDR, "ISACTIVER": REG_ISACTIVER, "ICACTIVER": REG_ICACTIVER,
    "IPRIORITYR": REG_IPRIORITYR, "ICFGR": REG_ICFGR, "IGRPMODR": REG_IGRPMODR, "NSACR": REG_NSACR,
    "INMIR": REG_INMIR, "IROUTER": REG_IROUTER, "ITARGETSR": REG_LEGACY, "SGIR": REG_LEGACY,
    "CPENDSGIR": REG_LEGACY, "SPENDSGIR": REG_LEGACY, "PIDR": REG_PIDR, "CIDR": REG_CIDR, "WAKER": REG_WAKER,
    "PROPBASER": REG_PROPBASER, "PENDBASER": REG_PENDBASER, "SETLPIR": REG_SETLPIR, "CLRLPIR": REG_CLRLPIR,
    "INVLPIR": REG_INVLPIR, "INVALLR": REG_INVALLR, "SYNCR": REG_SYNCR,
    "UMSIR": REG_UMSIR, "CBASER": REG_CBASER, "CWRITER": REG_CWRITER, "CREADR": REG_CREADR, "BASER": REG_BASER,
    "TRANSLATER": REG_TRANSLATER,
}

# How many interrupts one element of an array stands for.
_SLOTS = {"IGROUPR": 32, "ISENABLER": 32, "ICENABLER": 32, "ISPENDR": 32, "ICPENDR": 32, "ISACTIVER": 32,
          "ICACTIVER": 32, "IGRPMODR": 32, "INMIR": 32, "IPRIORITYR": 4, "ICFGR": 16, "NSACR": 16, "IROUTER": 1}

_SYS_KINDS = {
    "PMR": SYS_PMR, "IAR0": SYS_IAR0, "EOIR0": SYS_EOIR0, "HPPIR0": SYS_HPPIR0, "BPR0": SYS_BPR0, "AP0R": SYS_AP0R,
    "AP1R": SYS_AP1R, "NMIAR1": SYS_NMIAR1, "DIR": SYS_DIR, "RPR": SYS_RPR, "SGI1R": SYS_SGI1R,
    "ASGI1R": SYS_ASGI1R, "SGI0R": SYS_SGI0R, "IAR1": SYS_IAR1, "EOIR1": SYS_EOIR1, "HPPIR1": SYS_HPPIR1,
    "BPR1": SYS_BPR1, "CTLR_EL1": SYS_CTLR_EL1, "SRE_EL1": SYS_SRE_EL1, "IGRPEN0": SYS_IGRPEN0,
    "IGRPEN1": SYS_IGRPEN1, "SRE_EL2": SYS_SRE_EL2, "CTLR_EL3": SYS_CTLR_EL3, "SRE_EL3": SYS_SRE_EL3,
    "IGRPEN1_EL3": SYS_IGRPEN1_EL3,
}

_TRAPS = {"group0": TRAP_GROUP0, "group1": TRAP_GROUP1, "common": TRAP_COMMON, "sgi": TRAP_SGI, "dir": TRAP_DIR,
          "none": TRAP_NONE}
_ACCESS = {"RO": READABLE, "WO": WRITABLE, "RW": READABLE | WRITABLE, "W1S": READABLE | WRITABLE,
           "W1C": READABLE | WRITABLE}


def _kind_of(name):
    """The handler's name of a memory-mapped register: GICR_ISENABLER0 and GICD_ISENABLERnE are both ISENABLER."""
    stem = name.split("_", 1)[1]
    if stem in _REG_KINDS:
        return stem
    return stem.removesuffix("nE").rstrip("0123456789")


cdef int _load_register(u32 number, row) except -1:
    """Enter one row of the table; a row without a handler or overlapping another is a mistake of ours."""
    cdef RegDecode *entry = &reg_rows[number]
    cdef u32 word
    stem = _kind_of(row.name)
    if stem not in _REG_KINDS:
        raise RuntimeError(f"register table: {row.name} has no handler")
    entry.kind = _REG_KINDS[stem]
    entry.offset = row.offset
    entry.base = row.base
    entry.needs = _FEATURES[row.needs]
    entry.access = _ACCESS[row.access]
    entry.write_mask = row.write_mask
    entry.shift = 3 if row.width == 64 else 2
    entry.sizes = sum(row.sizes)
    entry.slots = _SLOTS.get(stem, 0)
    for word in range(row.offset // 4, (row.offset + row.count * row.width // 8) // 4):
        if reg_index[<int>row.frame][word]:
            raise RuntimeError(f"register table: {row.name} overlaps another row at offset {word * 4:#x}")
        reg_index[<int>row.frame][word] = <u8>number
    return 0


cdef int _load_sysreg(u32 number, row) except -1:
    cdef SysDecode *entry = &sys_rows[number]
    cdef u32 place = row.reg & 0x3FFF
    stem = row.name.removeprefix("ICC_")
    if stem not in _SYS_KINDS:   # CTLR_EL1 and CTLR_EL3 differ; the rest goes by its name alone
        stem = stem.removesuffix("_EL1")
    if stem not in _SYS_KINDS and stem[:3] in ("AP0", "AP1"):
        stem = stem[:4]
    if stem not in _SYS_KINDS:
        raise RuntimeError(f"register table: {row.name} has no handler")
    if sys_index[place]:
        raise RuntimeError(f"register table: {row.name} has the encoding of another row")
    entry.kind = _SYS_KINDS[stem]
    entry.write_mask = row.write_mask
    entry.needs = _FEATURES[row.needs]
    entry.access = _ACCESS[row.access]
    entry.trap = _TRAPS[row.trap]
    entry.min_el = row.min_el
    entry.index = row.index
    entry.intid = row.reads != ""
    entry.acks = row.reads == "acknowledged"
    entry.conditional = row.conditional
    sys_index[place] = <u8>number
    return 0


if len(REGISTERS) >= 192 or len(SYSREGS) >= 64:
    raise RuntimeError("register table: reg_rows and sys_rows are too small for it")
for _number, _row in enumerate(REGISTERS, 1):
    _load_register(_number, _row)
for _number, _row in enumerate(SYSREGS, 1):
    _load_sysreg(_number, _row)


cdef void sysreg_configure(GicState *s) noexcept nogil:
    """Copy the rows, without those that this configuration lacks: AP*R1 needs 6 priority bits, AP*R2/3 need 7."""
    cdef u32 i
    memcpy(&s.sysreg[0], &sys_rows[0], sizeof(s.sysreg))
    for i in range(64):
        if s.sysreg[i].needs & ~s.features or s.sysreg[i].index >= s.ap_words:
            s.sysreg[i].access = 0
