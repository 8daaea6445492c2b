"""The DSDT: devices of the machine, and the methods by which a guest scans for, reports on and ejects vCPUs."""

from __future__ import annotations

from gicv3.acpi import aml
from gicv3.acpi.cpuhp import CpuHotplugRegisters, CpuhpCommand
from gicv3.acpi.ged import AcpiGed, GedEvent
from gicv3.machine import SPI, VirtMachine

_PRESENT = 0xD
"""_STA of a vCPU that is possible: present, shown and working, as it must be at all times."""
_ENABLED = 0xF
_DEVICE_CHECK, _EJECT_REQUEST = 1, 3
_BLOCK, _LOCK = r"\_SB.PRES", r"\_SB.PRES.CPLK"

# The same bytes in each CPU device, which its _UID tells apart: there may be 65,536.
_CPU = aml.assign("_HID", aml.string("ACPI0007"))
_FIXED = aml.method("_STA", 0, aml.give_back(aml.call("CSTA", aml.name("_UID")))) + aml.method(
    "_OST", 3, aml.call("COST", aml.name("_UID"), aml.argument(0), aml.argument(1))
)
_REMOVABLE = _FIXED + aml.method("_EJ0", 1, aml.call("CEJ0", aml.name("_UID")))


def build_dsdt(machine: VirtMachine) -> bytes:
    """The definition block's content, without a header.

    Parameters: `machine`, whose policy says which vCPUs can never be ejected.
    """
    devices = [_console(machine)]
    if machine.acpi_device is not None:
        devices += [_registers(machine), _cpus(machine), _ged(machine)]
    else:
        devices.append(_container(*(_cpu(index) for index in range(machine.max_cpus))))
    return aml.scope(r"\_SB", *devices)


def cpu_name(index: int) -> str:
    """Name of a CPU device: a letter from C on, and three hexadecimal digits, so that there are 65,536."""
    return f"{chr(ord('C') + (index >> 12))}{index & 0xFFF:03X}"


def _console(machine: VirtMachine) -> bytes:
    return aml.device(
        "COM0",
        aml.assign("_HID", aml.string("ARMH0011")),
        aml.assign("_UID", aml.ZERO),
        aml.assign(
            "_CRS",
            aml.resources(aml.memory(*machine.memory_map["UART0"]), aml.interrupt(32 + SPI["UART0"], edge=False)),
        ),
    )


def _registers(machine: VirtMachine) -> bytes:
    """The CPU hotplug registers as fields, and the lock that keeps selecting and accessing together."""
    base = machine.memory_map["CPUHP_ACPI"].base
    size = CpuHotplugRegisters.SIZE
    return aml.device(
        "PRES",
        aml.assign("_HID", aml.eisa_id("PNP0A06")),
        aml.assign("_UID", aml.string("CPU Hotplug resources")),
        aml.assign("_CRS", aml.resources(aml.memory(base, size))),
        aml.mutex("CPLK"),
        aml.region("PRST", base, size),
        # A write of one bit must write no other: each of them does something.
        aml.field(
            "PRST",
            aml.Access.BYTE,
            aml.Update.ZEROS,
            {"-4": 32, "CPEN": 1, "CINS": 1, "CRMV": 1, "CEJ0": 1, "CEJF": 1, "-rest": 3, "CCMD": 8},
        ),
        aml.field("PRST", aml.Access.DWORD, aml.Update.PRESERVE, {"CSEL": 32, "-4": 32, "CDAT": 32}),
    )


def _register(short: str) -> bytes:
    return aml.name(f"{_BLOCK}.{short}")


def _locked(slot: bytes, *terms: bytes) -> bytes:
    """The terms with a slot selected."""
    return aml.acquire(_LOCK) + aml.store(slot, _register("CSEL")) + b"".join(terms) + aml.release(_LOCK)


def _container(*terms: bytes) -> bytes:
    return aml.device(
        "CPUS",
        aml.assign("_HID", aml.string("ACPI0010")),
        aml.assign("_CID", aml.eisa_id("PNP0A05")),
        *terms,
    )


def _cpus(machine: VirtMachine) -> bytes:
    slot, result = aml.argument(0), aml.local(0)
    count = machine.max_cpus
    return _container(
        aml.method("CTFY", 2, _tell(0, count)),
        aml.method(
            "CSTA",
            1,
            aml.store(aml.integer(_PRESENT), result),
            _locked(
                slot,
                aml.when(
                    aml.equal(_register("CPEN"), aml.ONE),
                    aml.store(aml.integer(_ENABLED), result),
                ),
            ),
            aml.give_back(result),
        ),
        aml.method("CEJ0", 1, _locked(slot, aml.store(aml.ONE, _register("CEJ0")))),
        aml.method(
            "COST",
            3,
            _locked(
                slot,
                aml.store(aml.integer(CpuhpCommand.OST_EVENT), _register("CCMD")),
                aml.store(aml.argument(1), _register("CDAT")),
                aml.store(aml.integer(CpuhpCommand.OST_STATUS), _register("CCMD")),
                aml.store(aml.argument(2), _register("CDAT")),
            ),
        ),
        aml.method("CSCN", 0, _scan()),
        *(_cpu(index, machine.is_removable(index)) for index in range(count)),
    )


def _tell(first: int, count: int) -> bytes:
    """Notify the CPU device of a slot: a search in halves, because a machine can have thousands."""
    if count == 1:
        return aml.notify(cpu_name(first), aml.argument(1))
    half = count // 2
    return aml.when(aml.less(aml.argument(0), aml.integer(first + half)), _tell(first, half)) + aml.otherwise(
        _tell(first + half, count - half)
    )


def _scan() -> bytes:
    """Tell of each pending event and acknowledge it, until none is left."""
    again = aml.local(0)

    def told(flag: str, value: int) -> bytes:
        return (
            aml.call("CTFY", _register("CDAT"), aml.integer(value))
            + aml.store(aml.ONE, _register(flag))
            + aml.store(aml.ONE, again)
        )

    return _locked(
        aml.ZERO,
        aml.store(aml.ONE, again),
        aml.repeat(
            aml.equal(again, aml.ONE),
            aml.store(aml.ZERO, again),
            aml.store(aml.integer(CpuhpCommand.NEXT_EVENT), _register("CCMD")),
            aml.when(aml.equal(_register("CINS"), aml.ONE), told("CINS", _DEVICE_CHECK)),
            aml.otherwise(aml.when(aml.equal(_register("CRMV"), aml.ONE), told("CRMV", _EJECT_REQUEST))),
        ),
    )


def _cpu(index: int, removable: bool | None = None) -> bytes:
    """A CPU device; `removable` is None where there is no hotplug."""
    methods = b"" if removable is None else _REMOVABLE if removable else _FIXED
    return aml.device(cpu_name(index), _CPU, aml.assign("_UID", aml.integer(index)), methods)


def _ged(machine: VirtMachine) -> bytes:
    base = machine.memory_map["ACPI_GED"].base
    events, cpu_event = aml.local(0), aml.integer(GedEvent.CPU)
    return aml.device(
        "GED",
        aml.assign("_HID", aml.string("ACPI0013")),
        aml.assign("_UID", aml.ZERO),
        aml.assign("_CRS", aml.resources(aml.interrupt(32 + SPI["ACPI_GED"], edge=True))),
        aml.region("EREG", base, AcpiGed.SIZE),
        aml.field("EREG", aml.Access.DWORD, aml.Update.ZEROS, {"ESEL": 32}),
        aml.method(
            "_EVT",
            1,
            aml.store(aml.name("ESEL"), events),
            aml.when(aml.equal(aml.bit_and(events, cpu_event), cpu_event), aml.call(r"\_SB.CPUS.CSCN")),
        ),
    )
