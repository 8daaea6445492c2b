"""Why is this interrupt not delivered? Every gate between an interrupt and a PE, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gicv3._core import interrupt_facts

if TYPE_CHECKING:
    from gicv3.gic import GICv3

_GROUPS = ("Group 0", "Secure Group 1", "Group 1")
_IDLE = 0xFF
_NONE = 1023


class Gate(NamedTuple):
    """One condition of delivery: whether it holds, what was found, and, where it does not, what would make it hold."""

    name: str
    is_open: bool
    found: str
    remedy: str = ""


class Explanation(NamedTuple):
    """The gates between an interrupt and a PE, in the order in which the interrupt meets them.

    ``delivered`` is True when the interrupt is being signalled to the PE now, on ``output``. The last gate, "context",
    may be closed even then: the line is up, but the PE cannot acknowledge where it executes.
    """

    intid: int
    pe: int
    gates: tuple[Gate, ...]
    output: str
    delivered: bool

    @property
    def blocking(self) -> tuple[Gate, ...]:
        """The closed gates; the first one is what to look at first."""
        return tuple(gate for gate in self.gates if not gate.is_open)

    def __repr__(self) -> str:
        what = f"signalled on {self.output}" if self.delivered else f"blocked by {self.blocking[0].name!r}"
        return f"<INTID {self.intid} to PE {self.pe}: {what}>"

    def __str__(self) -> str:
        if self.delivered:
            verdict = f"INTID {self.intid} is signalled to PE {self.pe} on {self.output}."
            if self.blocking:
                verdict += f" But {self.blocking[0].found}."
        else:
            first = self.blocking[0]
            verdict = f"INTID {self.intid} does not reach PE {self.pe}: {first.found}. {first.remedy}"
        width = max(len(gate.name) for gate in self.gates)
        lines = [f"  {'ok' if gate.is_open else '--'}  {gate.name:<{width}}  {gate.found}" for gate in self.gates]
        others = [f"  then: {gate.remedy}" for gate in self.blocking[1:] if gate.remedy]
        return "\n".join([verdict, *lines, *others])


def _register(name: str, intid: int, per: int, shared: bool) -> str:
    """The register that holds a field of an interrupt: GICD_ISENABLER1, GICR_ISENABLER0, GICD_ISENABLER0E, ..."""
    frame = "GICD" if shared else "GICR"
    first, extended = (4096, "E") if intid >= 4096 else (1024, "E") if not shared and intid >= 1024 else (0, "")
    return f"{frame}_{name}{(intid - first) // per}{extended}"


def _tables(facts: Mapping[str, Any], intid: int) -> Gate:
    limit = facts["limit"]
    if limit > intid:
        return Gate("LPI tables", True, f"the redistributor takes LPIs up to INTID {limit - 1}")
    if not facts["lpis_enabled"]:
        return Gate("LPI tables", False, "GICR_CTLR.EnableLPIs is 0: LPIs to this redistributor are discarded",
                    "Give it tables (GICR_PROPBASER, GICR_PENDBASER), then set EnableLPIs.")
    if limit == 0:
        return Gate("LPI tables", False, "GICR_PROPBASER.IDbits is below 13: there is room for no LPI",
                    "Set a larger GICR_PROPBASER.IDbits while EnableLPIs is 0.")
    return Gate("LPI tables", False, f"the tables of this redistributor end with INTID {limit - 1}",
                "Set a larger GICR_PROPBASER.IDbits while EnableLPIs is 0.")


def _configuration(facts: Mapping[str, Any], intid: int) -> Gate:
    where = f"its configuration byte (GICR_PROPBASER + {intid - 8192:#x})"
    if not facts["readable"] and not facts["enabled"] and facts["limit"]:
        return Gate("enabled", False, f"{where} is not in guest memory",
                    "Map memory there (`gic.memory`), or set GICR_PROPBASER anew while EnableLPIs is 0.")
    if facts["unread"]:
        return Gate("enabled", True, f"{where} is read when it becomes pending")
    state = "set" if facts["enabled"] else "clear"
    return Gate("enabled", facts["enabled"], f"{where} had its enable bit {state} when it was read",
                "Set bit 0 of that byte in memory, then invalidate: INV or INVALL, or GICR_INVLPIR.")


def _routing(facts: Mapping[str, Any], pe: int, intid: int) -> Gate:
    if facts["lpi"]:
        return _tables(facts, intid)
    if not facts["shared"]:
        return Gate("routing", True, "private to this PE")
    target = facts["target"]
    router = f"GICD_IROUTER{intid}" if intid < 4096 else f"GICD_IROUTER{intid - 4096}E"
    if facts["one_of_n"]:
        if target is None:  # what keeps this PE from participating are gates of their own
            return Gate("routing", True, "1-of-N, and no PE is chosen yet")
        if target == pe:
            return Gate("routing", True, "1-of-N, and this PE is chosen")
        return Gate("routing", False, f"1-of-N ({router}.IRM): it went to PE {target}",
                    "A PE participates while it is awake and plugged, the group is enabled in GICD_CTLR and its "
                    "ICC_IGRPEN, and its GICR_CTLR.DPG bit is 0.")
    if target == pe:
        return Gate("routing", True, f"{router} names this PE")
    named = f"{router} = {facts['irouter']:#x} names " + ("no PE" if target is None else f"PE {target}")
    return Gate("routing", False, named, f"Write this PE's affinity to {router}.")


def _participation(facts: Mapping[str, Any]) -> list[Gate]:
    """Of a 1-of-N interrupt; what else a PE needs to participate are gates of their own."""
    if not facts["one_of_n"]:
        return []
    field = ("DPG0", "DPG1S", "DPG1NS")[facts["group"]]
    return [Gate("participation", not facts["dpg"], f"GICR_CTLR.{field} is {int(facts['dpg'])}",
                 f"Clear GICR_CTLR.{field}, or route the interrupt to this PE (IRM 0).")]


def _pending(facts: Mapping[str, Any], intid: int) -> Gate:
    if facts["lpi"]:
        if facts["latch"]:
            return Gate("pending", True, "in this redistributor's pending table (GICR_PENDBASER)")
        if facts["pending_at"] is not None:
            return Gate("pending", False, f"it is pending at PE {facts['pending_at']}, not here",
                        "Give its collection this PE (MAPC), or move it (MOVI, MOVALL).")
        return Gate("pending", False, "it is not pending at any PE: no event came, it was discarded, or taken",
                    "Check the event's MAPD, MAPTI and MAPC, `gic.its[n].errors()` and its `counters()`.")
    level = facts["line"] and not facts["edge"]
    if facts["latch"] or level:
        return Gate("pending", True, "the input is high" if level else "latched")
    if facts["active"]:
        return Gate("pending", True, "acknowledged, and nothing new came")
    if intid < 16:
        return Gate("pending", False,
                    "it is not pending: no SGI was sent that this PE forwards, or it was taken or dropped",
                    f"Send it {_sender(facts)}, with this PE's affinity (Aff0 above 15 needs the range selector). "
                    "An SGI to an absent vCPU is dropped.")
    config = _register("ICFGR", intid, 16, facts["shared"])
    if facts["edge"]:
        why = "is high, but no edge came since" if facts["line"] else "is low"
        return Gate("pending", False, f"it is not pending: edge-triggered ({config}) and its input {why}",
                    f"Give a rising edge, or configure it as level in {config} if the device holds its line.")
    return Gate("pending", False, f"it is not pending: level-sensitive ({config}) and its input is low",
                f"Hold the input high until it is served, or configure it as edge in {config} if the device pulses.")


def _sender(facts: Mapping[str, Any]) -> str:
    """The register that generates an SGI of its group: another one's is not forwarded."""
    if facts["group"] == 0:
        return "by ICC_SGI0R_EL1" + ("" if facts["ds"] else " (from Non-secure state only if GICR_NSACR allows it)")
    if facts["group"] == 1:
        return "by ICC_SGI1R_EL1 in Secure state (from Non-secure state by ICC_ASGI1R_EL1, if GICR_NSACR allows it)"
    return "by ICC_SGI1R_EL1 (in Secure state by ICC_ASGI1R_EL1)"


def _gates(facts: Mapping[str, Any], intid: int, pe: int) -> list[Gate]:
    group, prio = facts["group"], facts["priority"]
    shared = facts["shared"]
    name = _GROUPS[group] if not facts["ds"] or group != 2 else "Group 1"
    igrpen = "ICC_IGRPEN0_EL1" if group == 0 else "ICC_IGRPEN1_EL1"
    grp_bit = ("EnableGrp0", "EnableGrp1S", "EnableGrp1" if facts["ds"] else "EnableGrp1NS")[group]
    enabler = _register("ISENABLER", intid, 32, shared)
    secret = not facts["ds"] and group != 2 and not facts["secure"] and facts["el"] != 3
    gates = [
        *_participation(facts),
        _routing(facts, pe, intid),
        Gate("accessible", facts["accessible"], f"{'a' if facts['accessible'] else 'no'} vCPU is plugged here",
             "Plug the vCPU (set_cpustate, device_add)."),
        Gate("awake", not facts["asleep"], f"this redistributor is {'asleep' if facts['asleep'] else 'awake'}",
             "Clear GICR_WAKER.ProcessorSleep and wait for ChildrenAsleep to read 0."),
        _configuration(facts, intid) if facts["lpi"] else
        Gate("enabled", facts["enabled"], f"{enabler} has its bit " + ("set" if facts["enabled"] else "clear"),
             f"Set its bit in {enabler}" + (f"; it is {name}, so Non-secure writes are ignored." if secret else ".")),
        Gate("security", True, f"{name}: {facts['output']} here"),
        Gate("group enable", facts["group_enabled"], f"GICD_CTLR.{grp_bit} is {int(facts['group_enabled'])}",
             f"Set GICD_CTLR.{grp_bit}, or move the interrupt to an enabled group (GICD/GICR_IGROUPR)."),
        Gate("CPU interface enable", facts["igrpen"], f"{igrpen} is {int(facts['igrpen'])}", f"Set {igrpen}."),
        _pending(facts, intid),
    ]
    if secret and not facts["lpi"] and not facts["enabled"]:
        at = next(number for number, gate in enumerate(gates) if gate.name == "enabled")
        gates[at + 1] = gates[at]
        gates[at] = Gate("security", False, f"it is {name}, and the PE is Non-secure",
                         "Let Secure software configure it, or give it to Non-secure Group 1 (IGROUPR).")
    if facts["active"]:
        wait = "EOImode is 1: a priority drop does not deactivate it" if facts["eoimode"] else "it was not ended yet"
        gates.append(Gate("inactive", False, f"it is active; {wait}",
                          "Write its INTID to ICC_DIR_EL1 after ICC_EOIR." if facts["eoimode"]
                          else f"Write its INTID to ICC_EOIR{min(group, 1)}_EL1 on the PE that acknowledged it."))
    else:
        gates.append(Gate("inactive", True, "not active"))
    ahead = facts["hpp"] not in (intid, _NONE) and all(gate.is_open for gate in gates)
    first = f"INTID {facts['hpp']} of priority {facts['hpp_priority']:#04x} goes first"
    gates.append(Gate("best", not ahead, first if ahead else "nothing of higher priority waits",
                      "Serve the other one first, or raise the priority."))
    masked = not facts["unmasked"]
    relation = "is not above" if masked else "is above"
    shade = f"priority {prio:#04x} {relation} ICC_PMR_EL1 = {facts['pmr']:#04x}"
    if facts["unread"]:
        shade = f"ICC_PMR_EL1 = {facts['pmr']:#04x}; the priority is read with its configuration byte"
    gates.append(Gate("priority mask", not masked, shade,
                      "Write a larger value to ICC_PMR_EL1, or give the interrupt a smaller priority value."))
    mask, running = facts["mask"], facts["running"]
    gates.append(Gate("preemption", facts["preempts"] or facts["active"],
                      "nothing is active at this PE" if running == _IDLE else
                      f"group priority {prio & mask:#04x} against running {running & mask:#04x} "
                      f"(ICC_BPR leaves the bits {mask:#04x})",
                      "End the active interrupt (ICC_EOIR), raise the priority by more than the binary point hides, "
                      "or lower ICC_BPR."))
    reach = ("may be taken", "EL0 has no access to the CPU interface", "ICC accesses trap to EL2",
             "ICC accesses trap to EL3", "HCR_EL2 redirects ICC accesses to the virtual CPU interface")[facts["access"]]
    if facts["access"] == 0 and not facts["shown"]:
        reach = "the acknowledge registers read 1023 for this group in this Security state"
    gates.append(Gate("context", facts["access"] == 0 and facts["shown"], f"at EL{facts['el']}: {reach}",
                      "The line is up all the same; the handler must run where it can acknowledge."))
    return gates


def _missing(gic: GICv3, intid: int) -> str:
    """Which fields of the configuration give a GIC an INTID that it has not."""
    config = gic.config
    if intid >= 8192:
        return (f"LPIs need GICv3Config.lpis (it is {config.lpis}) and id_bits of at least {intid.bit_length()} "
                f"(it is {config.id_bits}).")
    for name, first, last in (("spis", 32, 1019), ("eppis", 1056, 1119), ("espis", 4096, 5119)):
        if first <= intid <= last:
            return f"INTIDs {first}..{last} come by GICv3Config.{name}, which is {getattr(config, name)}."
    return "No GIC has it: 1020..1023 have a meaning of their own, and others up to 8191 are reserved."


def explain(gic: GICv3, intid: int, pe: int) -> Explanation:
    """See `GICv3.explain`."""
    facts = interrupt_facts(gic, intid, pe)
    if facts is None:
        gate = Gate("implemented", False, "this GIC has no such INTID", _missing(gic, intid))
        return Explanation(intid, pe, (gate,), "", False)
    gates = [Gate("implemented", True, "exists"), *_gates(facts, intid, pe)]
    told = tuple(gate._replace(remedy="") if gate.is_open else gate for gate in gates)
    return Explanation(intid, pe, told, facts["output"], facts["signalled"])
