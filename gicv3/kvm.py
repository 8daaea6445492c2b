"""State in the form of KVM's GICv3 device attributes: what KVM_GET_DEVICE_ATTR gives and KVM_SET_DEVICE_ATTR takes.

A form is four dictionaries from the attribute to its value, by KVM's group names:

- ``DIST_REGS``: register offset -> 32 bits; a 64-bit register is two halves
- ``REDIST_REGS``: affinity in 63:32, register offset in 31:0 (the SGI frame from 0x10000) -> 32 bits
- ``CPU_SYSREGS``: affinity in 63:32, op0 15:14, op1 13:11, CRn 10:7, CRm 6:3, op2 2:0 -> 64 bits
- ``LEVEL_INFO``: affinity in 63:32, 0 (line level) in 31:10, first of 32 INTIDs in 9:0 -> 32 input levels
- ``ITS_REGS``, with an ITS: its number in 63:32, register offset in 31:0 -> 64 bits

Affinities are Aff3.Aff2.Aff1.Aff0. As in KVM, ISPENDR is the latch, without the input levels. KVM has one Security
state and no extended ranges or NMIs; a GIC that has them cannot be exported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gicv3._core import save_arrays
from gicv3.arguments import instance
from gicv3.errors import SnapshotError
from gicv3.gic import GICv3
from gicv3.kvm_tables import loaded, refuse_work
from gicv3.registers import REGISTERS, SYSREGS, Frame, Reg, SysReg, encode
from gicv3.snapshot import make

Form = dict[str, dict[int, int]]

GROUPS = ("DIST_REGS", "REDIST_REGS", "CPU_SYSREGS", "LEVEL_INFO")
ITS_GROUP = "ITS_REGS"
_DIST = ("CTLR", "STATUSR", "IGROUPR", "ICFGR", "IPRIORITYR", "IROUTER", "ISENABLER", "ISACTIVER", "ISPENDR")
_ITS = ("CBASER", "BASER", "CWRITER", "CREADR", "CTLR")
_FIRST_WORD = 128                # of a pending table that is for LPIs
_REDIST = ("PROPBASER", "PENDBASER", "CTLR", "STATUSR", "WAKER", "IGROUPR0", "ICFGR0", "ICFGR1", "IPRIORITYR",
           "ISENABLER0", "ISACTIVER0", "ISPENDR0")
_ICC = ("PMR", "BPR0", "BPR1", "AP0R", "AP1R", "CTLR", "SRE", "IGRPEN0", "IGRPEN1")
_SGI_FRAME = 0x1_0000
_INTIDS = {"IGROUPR": 32, "ISENABLER": 32, "ISPENDR": 32, "ISACTIVER": 32, "ICFGR": 16, "IPRIORITYR": 4, "IROUTER": 1}


class _Element(NamedTuple):
    """A number in a saved array: for registers whose reads or writes are not plain ones."""

    array: str
    number: int
    size: int = 4

    def get(self, arrays: Mapping[str, bytes]) -> int:
        """Its value."""
        start = self.number * self.size
        return int.from_bytes(arrays[self.array][start : start + self.size], "little")

    def put(self, arrays: dict[str, bytearray], value: int) -> None:
        """Change its value."""
        start = self.number * self.size
        arrays[self.array][start : start + self.size] = value.to_bytes(self.size, "little")


class _Place(NamedTuple):
    """A 32-bit register, or half of one, of a frame."""

    attribute: int
    frame: Frame
    offset: int
    pe: int
    raw: _Element | None         # where ISPENDR's latches and STATUSR are


def _affinity(gic: GICv3, pe: int) -> int:
    """Aff3.Aff2.Aff1.Aff0 in 63:32."""
    mpidr = gic.affinity(pe)
    return (mpidr >> 8 & 0xFF00_0000 | mpidr & 0xFF_FFFF) << 32


def _rows(prefix: str, names: tuple[str, ...]) -> list[Reg]:
    """The rows of the register table, in the order in which they are written."""
    rows = {row.name: row for row in REGISTERS}
    return [rows[f"{prefix}_{name}"] for name in names]


def _dist(gic: GICv3) -> Iterator[_Place]:
    for row in _rows("GICD", _DIST):
        if row.needs and not gic.config.has(row.needs):
            continue
        per = _INTIDS.get(row.name.removeprefix("GICD_"), 0)
        for element in range(row.count):
            intid = (row.first + element) * per
            if per and not 32 <= intid < 32 + gic.config.spis:
                continue
            raw = _Element("spi.latch", row.base + element) if row.name == "GICD_ISPENDR" else None
            if row.name == "GICD_STATUSR":
                raw = _Element("dist.statusr", 1, 1)
            for half in range(row.width // 32):
                offset = row.offset + element * row.width // 8 + 4 * half
                yield _Place(offset, row.frame, offset, 0, raw)


def _redist(gic: GICv3, pe: int) -> Iterator[_Place]:
    affinity = _affinity(gic, pe)
    for row in _rows("GICR", _REDIST):
        if row.needs and not gic.config.has(row.needs):
            continue
        base = affinity | (_SGI_FRAME if row.frame is Frame.SGI else 0)
        raw = _Element("pe.latch", pe) if row.name == "GICR_ISPENDR0" else None
        if row.name == "GICR_STATUSR":
            raw = _Element("pe.statusr", gic.num_pe + pe, 1)
        for element in range(row.count * row.width // 32):
            yield _Place(base | row.offset + 4 * element, row.frame, row.offset + 4 * element, pe, raw)


def _its(gic: GICv3) -> Iterator[tuple[int, Reg, int, int]]:
    """(attribute, row, offset, number of the ITS) of each ITS register, in the order in which they are written."""
    for number in range(len(gic.its)):
        for row in _rows("GITS", _ITS):
            for element in range(row.count):
                offset = row.offset + element * row.width // 8
                yield number << 32 | offset, row, offset, number


def _sysregs(gic: GICv3) -> list[int]:
    """The encodings that every PE has, in KVM's set."""
    rows = {row.name.removeprefix("ICC_").removesuffix("_EL1"): row for row in SYSREGS if row.min_el == 1}
    names = [name for name in rows if name in _ICC or name[:-1] in _ICC]
    return [code for name in names if (code := encode(*rows[name].encoding)) in gic.sysregs]


def _levels(gic: GICv3) -> Iterator[tuple[int, _Element]]:
    """(attribute, place) of each word of input levels."""
    for word in range(1, (32 + gic.config.spis + 31) // 32):
        yield _affinity(gic, 0) | 32 * word, _Element("spi.line", word)
    for pe in range(gic.num_pe):
        yield _affinity(gic, pe), _Element("pe.line", pe)


def _check_form(form: Any) -> None:
    """Raises: TypeError unless these are dictionaries of numbers by name of their group."""
    instance("form", form, Mapping)
    for group, values in form.items():
        instance("a group's name", group, str)
        instance(group, values, Mapping)
        for attribute, value in values.items():
            if not isinstance(attribute, int) or not isinstance(value, int):
                raise TypeError(f"{group} must map integers to integers, got {attribute!r:.80}: {value!r:.80}")


def _refuse(gic: GICv3) -> None:
    instance("gic", gic, GICv3)
    for feature in ("security", "espis", "eppis", "nmi"):
        if gic.config.has(feature):
            raise SnapshotError(f"KVM's form has no {feature}, this GIC has {feature}={getattr(gic.config, feature)!r}")


def _plain_copy(gic: GICv3) -> tuple[GICv3, dict[str, bytes]]:
    """A copy whose PEs all execute at EL1 without traps, so that every register can be reached; and the saved state."""
    arrays = save_arrays(gic)
    copy = make(GICv3, gic.config, dict(arrays))
    for pe in range(copy.num_pe):
        copy.set_context(pe)
    return copy, arrays


def export_state(gic: GICv3) -> Form:
    """The state of a GIC in KVM's form; CPU_SYSREGS of the plugged PEs.

    With LPIs or ITSs, call `kvm_tables.save_tables` first: KVM has what is pending and mapped in its tables.

    Raises: SnapshotError for a GIC with Security states, extended ranges or NMIs, and while work of LPIs or ITSs is
    under way (`has_work`): KVM has no command and no table half done. Call `step(0)` until there is none.
    """
    _refuse(gic)
    refuse_work(gic)
    return _form(gic)


def _form(gic: GICv3) -> Form:
    copy, arrays = _plain_copy(gic)

    def read(place: _Place) -> int:
        if place.raw is not None:
            return place.raw.get(arrays)
        return copy.frame_read(place.frame, place.offset, 4, True, place.pe)

    def sysreg(pe: int, code: int) -> int:
        if code == SysReg.ICC_BPR1_EL1:          # the stored one, also while CBPR hides it
            return _Element("icc.bpr", 2 * gic.num_pe + pe, 1).get(arrays)
        return copy.sysreg_read(pe, code)

    its = {ITS_GROUP: {attribute: copy.frame_read(row.frame, offset, row.width // 8, True, number)
                        for attribute, row, offset, number in _its(copy)}}
    return {
        "DIST_REGS": {place.attribute: read(place) for place in _dist(copy)},
        "REDIST_REGS": {place.attribute: read(place) for place in _all_redists(copy)},
        "CPU_SYSREGS": {
            _affinity(gic, pe) | code: sysreg(pe, code)
            for pe in range(gic.num_pe)
            if gic.is_accessible(pe)
            for code in _sysregs(gic)
        },
        "LEVEL_INFO": {attribute: place.get(arrays) for attribute, place in _levels(gic)},
        **(its if gic.config.its else {}),
    }


def import_state(gic: GICv3, form: Mapping[str, Mapping[int, int]]) -> None:
    """Bring a GIC to a state in KVM's form: what the form does not name is at its reset value; no edge is made.

    Which PEs are plugged and the context of each stay as they are, for KVM's form has neither. With ``ITS_REGS``, the
    ITS tables in `gic.memory`, which are in KVM's form, are brought into the one that this GIC works on; pending tables
    are read from there as well.

    Parameters: `form`, as from `export_state`; groups and attributes may be missing.
    Raises: SnapshotError, with nothing changed, when an attribute is not one of KVM's for this GIC, or when a value
    is one that the register cannot hold here.
    """
    _refuse(gic)
    _check_form(form)
    unknown = sorted(form.keys() - {*GROUPS, ITS_GROUP})
    if unknown:
        raise SnapshotError(f"groups must be of {', '.join(GROUPS)}, got {', '.join(unknown)}")
    target = GICv3(gic.config)
    for pe in range(gic.num_pe):
        if not gic.is_accessible(pe):
            target.set_cpustate(pe, None, False)
    dist, redist = form.get("DIST_REGS", {}), form.get("REDIST_REGS", {})
    sysregs, levels = form.get("CPU_SYSREGS", {}), form.get("LEVEL_INFO", {})
    for group, values in form.items():
        bits = 64 if group in ("CPU_SYSREGS", ITS_GROUP) else 32
        for attribute, value in values.items():
            if not 0 <= value < 1 << bits:
                raise SnapshotError(f"{group} {attribute:#x} must be a value of {bits} bits, got {value:#x}")
    raw = [(place, levels.get(attribute, 0)) for attribute, place in _levels(target)]
    for places, values in ((_dist(target), dist), (_all_redists(target), redist)):
        for place in places:
            if place.raw is not None:
                raw.append((place.raw, values.get(place.attribute, 0)))
            elif place.attribute in values:
                target.frame_write(place.frame, place.offset, values[place.attribute], 4, True, place.pe)
    target.step(gic.config.settle_steps)
    for pe in range(gic.num_pe):
        for code in _sysregs(gic):       # BPR1 is before CTLR, whose CBPR would hide it
            if _affinity(gic, pe) | code in sysregs:
                target.sysreg_write(pe, code, sysregs[_affinity(gic, pe) | code])
    raw += _write_its(target, form.get(ITS_GROUP, {}))
    arrays = {name: bytearray(array) for name, array in save_arrays(target).items()}
    if gic.config.lpis:
        _read_pending_tables(target, arrays)
    for element, value in raw:
        element.put(arrays, value & (1 << 8 * element.size) - 1)
    contexts = {name: array for name, array in save_arrays(gic).items() if name.startswith("context.")}
    target = make(GICv3, gic.config, {name: bytes(array) for name, array in arrays.items()} | contexts)
    _compare(form, _form(target))
    tables = loaded(gic, target) if gic.config.its and ITS_GROUP in form else None
    if tables is not None:
        tables.commit()
    gic.rewind(target.savepoint())
    gic.step(0)                  # pending tables are read


def _write_its(target: GICv3, values: Mapping[int, int]) -> list[tuple[_Element, int]]:
    """Write ITS registers, with the ITSs disabled: what they do then, and GITS_CREADR, is left for the arrays."""
    raw = []
    for attribute, row, offset, number in _its(target):
        value = values.get(attribute, 0)
        if row.name == "GITS_CREADR":
            raw += [(_Element("its.creadr", number), value & ~1), (_Element("its.stalled", number, 1), value & 1)]
        elif row.name == "GITS_CTLR":
            raw.append((_Element("its.enabled", number, 1), value & 1))
        elif attribute in values:
            target.frame_write(row.frame, offset, value, row.width // 8, True, number)
    return raw


def _read_pending_tables(target: GICv3, arrays: dict[str, bytearray]) -> None:
    """Let every PE with LPIs enabled read its pending table, as soon as it has memory."""
    jobs = 0
    for pe in range(target.num_pe):
        holds = (target.redist[pe]["GICR_PROPBASER"] & 31) + 1 >= 14
        if arrays["lpi.enabled"][pe] and holds:
            jobs += 1
            _Element("lpi.load_at", pe).put(arrays, _FIRST_WORD)
            _Element("lpi.jobs", pe).put(arrays, jobs)


def _all_redists(gic: GICv3) -> Iterator[_Place]:
    for pe in range(gic.num_pe):
        yield from _redist(gic, pe)


def _compare(wanted: Mapping[str, Mapping[int, int]], got: Form) -> None:
    """Every attribute must read back as it was given."""
    for group, values in wanted.items():
        for attribute, value in values.items():
            if attribute not in got.get(group, {}):
                raise SnapshotError(f"{group} {attribute:#x} is no attribute of this GIC")
            if got[group][attribute] != value:
                raise SnapshotError(
                    f"{group} {attribute:#x} cannot be {value:#x} here, it would read {got[group][attribute]:#x}"
                )
