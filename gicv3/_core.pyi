"""The compiled core. Embedders use `Gic` through its subclass `gicv3.GICv3`; Cython code cimports it (_core.pxd)."""

from collections.abc import Callable
from enum import IntFlag
from typing import Any, ClassVar, Self, TypeAlias, final

import numpy
import numpy.typing
from typing_extensions import disjoint_base

from gicv3.errors import ConfigError as ConfigError
from gicv3.errors import GicError as GicError
from gicv3.gic import GICv3Config
from gicv3.registers import REGISTERS as REGISTERS
from gicv3.registers import SYSREGS as SYSREGS
from gicv3.registers import SysReg as SysReg
from gicv3.registers import encode as encode

_Frame: TypeAlias = int | str
_Register: TypeAlias = int | str | tuple[int, int, int, int, int]

class Line(IntFlag):
    """Output lines of a PE, as bits of its byte in `Gic.lines`.

    IRQ, FIQ : interrupts that the PE takes, by the Exception of that name.
    VIRQ, VFIQ, VNMI : virtual interrupts; the virtual CPU interface is not emulated: always low.
    NMI : in place of IRQ: the interrupt is non-maskable and the PE's SCTLR_ELx.NMI is set (`set_context`).
    MAINT : the virtual CPU interface asks its hypervisor for maintenance; always low, as it is not emulated.
    WAKE : an interrupt waits for a PE that asked to sleep (GICR_WAKER.ProcessorSleep): power it up.
    """

    IRQ = 1
    FIQ = 2
    VIRQ = 4
    VFIQ = 8
    NMI = 16
    VNMI = 32
    MAINT = 64
    WAKE = 128

api: object
"""Capsule "gicv3._core.api" of the struct of function pointers in ``gicv3.h``: see `gicv3.capi`."""

api_address: int
"""Address of that struct."""

@final
class SavedPe:
    """State of one PE, from `Gic.save_pe`: opaque, comparable."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

RECORD_FIELDS: dict[str, dict[str, tuple[int, str]]]
RECORD_SIZES: dict[str, int]

def record_bytes(gic: Gic, name: str) -> numpy.typing.NDArray[numpy.uint8]: ...
def latency_start(gic: Gic) -> None: ...
def latency_stop(gic: Gic) -> None: ...
def latency_time(gic: Gic, now: int | None = None) -> int | None: ...
def latency_bins(gic: Gic) -> numpy.typing.NDArray[numpy.uint64] | None: ...
def run_batch(
    gic: Gic,
    kind: int,
    group: int,
    inputs: tuple[numpy.typing.NDArray[Any], ...],
    results: tuple[numpy.typing.NDArray[Any], ...],
) -> tuple[int, str | None]: ...
def finish_batch(gic: Gic, error: BaseException | None) -> None: ...
def register_encoding(reg: _Register) -> int: ...
def saved_names() -> dict[str, tuple[int, int, str]]:
    """The saved arrays by name: (bytes of an element, elements a record, what the records are)."""

@final
class SavePoint:
    """State of a GIC at one moment, from `GICv3.savepoint`: opaque, for `GICv3.rewind`."""

    @property
    def size(self) -> int:
        """Bytes that it holds."""

@disjoint_base
class Gic:
    """Distributor, redistributors and CPU interfaces of one GICv3.

    A guest's mistakes never raise: its bad accesses read 0, are ignored and counted (`totals`). An embedder's mistakes
    raise `ConfigError` with the value and the limit, and change nothing.

    Thread safety: every method may be called from any thread. One that changes state holds the GIC's lock meanwhile,
    then runs `on_line` without it; while one thread runs callbacks, the changes that others make are told by it, too.
    """

    def __new__(cls, config: GICv3Config, *_args: Any, **_kwargs: Any) -> Self:
        """Allocate the state for all PEs of a configuration, in reset, every PE accessible and asleep.

        Parameters
        ----------
        config : what is configurable, see `gicv3.GICv3Config`.

        Raises
        ------
        ConfigError : two PEs have the same affinity.
        MemoryError : there is no memory for so many PEs.
        """

    @property
    def config(self) -> GICv3Config:
        """The configuration this GIC was made from."""

    @property
    def num_pe(self) -> int:
        """Number of PEs, accessible or not: 1..65536."""

    @property
    def handle(self) -> int:
        """Address of this GIC for the functions of ``gicv3.h``; good while this object lives."""

    # Outputs

    @property
    def on_line(self) -> Callable[[int, Line, bool], object] | None:
        """Callable (pe, line, level) run for each line that changed, after the state is final; or None.

        It may call any method of this GIC; the changes it makes are told when it has returned. When calls raise, the
        rest still run; then the exception is raised again from the method that caused the change, several together as
        an ExceptionGroup. Setting it tells nothing of what changed before.

        Raises
        ------
        ConfigError : set to something that is neither callable nor None.
        """

    @on_line.setter
    def on_line(self, callback: Callable[[int, Line, bool], object] | None) -> None: ...
    @property
    def lines(self) -> numpy.typing.NDArray[numpy.uint8]:
        """Read-only uint8 view of all PEs' output lines, one byte of `Line` bits a PE; live, keeps the GIC alive."""

    def line(self, pe: int) -> int:
        """Output lines of one PE as an int of `Line` bits.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def changed(self) -> list[int]:
        """PEs whose lines moved since the last call, each once.

        Returns
        -------
        PE indexes in the order of their first change; a PE whose lines moved and moved back is among them.
        """

    # Inputs

    def set_spi(self, intid: int, level: bool) -> None:
        """Drive the input wire of an SPI; a rising edge latches if it is edge-triggered.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.
        level : the wire's level from now on.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """

    def pulse_spi(self, intid: int) -> None:
        """Raise and lower the input wire of an SPI: one edge if it was low, none if it was high; it ends low.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """

    def set_ppi(self, pe: int, intid: int, level: bool) -> None:
        """Drive the input wire of a PPI; a rising edge latches if it is edge-triggered.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.
        level : the wire's level from now on.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """

    def pulse_ppi(self, pe: int, intid: int) -> None:
        """Raise and lower the input wire of a PPI: one edge if it was low, none if it was high; it ends low.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """

    def spi_line(self, intid: int) -> bool:
        """Level of an SPI's input wire.

        Parameters
        ----------
        intid : an implemented SPI: 32..31+spis, or 4096..4095+espis.

        Raises
        ------
        ConfigError : `intid` is no implemented SPI.
        """

    def ppi_line(self, pe: int, intid: int) -> bool:
        """Level of a PPI's input wire.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        intid : an implemented PPI: 16..31, or 1056..1055+eppis.

        Raises
        ------
        ConfigError : there is no such PE, or `intid` is no implemented PPI.
        """

    # Memory-mapped registers

    def mmio_read(self, address: int, size: int = 4, secure: bool | None = None, pe: int = 0) -> int:
        """Read `size` bytes at a physical address; a bad access reads 0 and is counted.

        Parameters
        ----------
        address : physical address, 64 bits; outside every frame is a bad access.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `pe`.
        pe : PE index of the requester, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def mmio_write(
        self, address: int, value: int, size: int = 4, secure: bool | None = None, pe: int = 0, device_id: int = 0
    ) -> None:
        """Write `size` bytes at a physical address; a bad access is ignored and counted.

        Parameters
        ----------
        address : physical address, 64 bits; outside every frame is a bad access.
        value : 64 bits, of which the low 8 * `size` count.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `pe`.
        pe : PE index of the requester, 0..num_pe-1.
        device_id : DeviceID of the requester, 32 bits, which a write of GITS_TRANSLATER needs.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def frame_read(self, frame: _Frame, offset: int, size: int = 4, secure: bool | None = None, index: int = 0) -> int:
        """Read `size` bytes at an offset of a frame: of PE `index` for RD and SGI, of ITS `index` for GITS.

        Parameters
        ----------
        frame : a `gicv3.Frame`, its int, or its name.
        offset : 32 bits; 0x10000 and above is a bad access.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `index`, or of PE 0 for GITS.
        index : PE index, 0..num_pe-1; for GITS and GITS_TRANS an ITS, 0..its-1.

        Raises
        ------
        ConfigError : there is no such frame, PE or ITS.
        """

    def frame_write(
        self, frame: _Frame, offset: int, value: int, size: int = 4, secure: bool | None = None, index: int = 0
    ) -> None:
        """Write `size` bytes at an offset of a frame: of PE `index` for RD and SGI, of ITS `index` for GITS.

        Parameters
        ----------
        frame : a `gicv3.Frame`, its int, or its name.
        offset : 32 bits; 0x10000 and above is a bad access.
        value : 64 bits, of which the low 8 * `size` count.
        size : bytes, 1, 2, 4 or 8 where the register allows it; any other is a bad access.
        secure : a Secure access; None means the Security state of PE `index`, or of PE 0 for GITS.
        index : PE index, 0..num_pe-1; for GITS and GITS_TRANS an ITS, 0..its-1.

        Raises
        ------
        ConfigError : there is no such frame, PE or ITS.
        """

    # System registers

    def sysreg_read(self, pe: int, reg: _Register) -> int:
        """Read a system register as software on the PE; 0 when the access is UNDEFINED or trapped.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1, whose context decides.
        reg : `gicv3.SysReg`, its int, its name, or (op0, op1, CRn, CRm, op2).

        Raises
        ------
        ConfigError : there is no such PE, or the encoding is out of range; `RegisterError` if the name is unknown.
        """

    def sysreg_write(self, pe: int, reg: _Register, value: int) -> None:
        """Write a system register as software on the PE; ignored when the access is UNDEFINED or trapped.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1, whose context decides.
        reg : `gicv3.SysReg`, its int, its name, or (op0, op1, CRn, CRm, op2).
        value : 64 bits.

        Raises
        ------
        ConfigError : there is no such PE, or the encoding is out of range; `RegisterError` if the name is unknown.
        """

    def _sysreg_access(self, pe: int, reg: _Register, value: int | None) -> tuple[int, int]: ...
    def _set_context(
        self, pe: int, el: int, secure: bool, scr_el3: int, hcr_el2: int, ich_hcr_el2: int, nmi_enabled: bool
    ) -> None: ...

    # Hotplug

    def proc_num(self, mpidr: int) -> int:
        """PE with this affinity, or -1; O(1) at any number and assignment of affinities.

        Parameters
        ----------
        mpidr : affinity in MPIDR form: Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0; any other bit set finds no PE.
        """

    def affinity(self, pe: int) -> int:
        """Affinity of a PE in MPIDR form: Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def is_accessible(self, pe: int) -> bool:
        """True while the PE's CPU interface may be used: a vCPU is plugged there.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def cpu(self, pe: int) -> Any:
        """The object given to `set_cpustate` when a vCPU was plugged at this PE, or None.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def set_cpustate(self, pe: int, cpu: object, accessible: bool) -> None:
        """Plug (True) or unplug (False) the vCPU of a PE; unplugging resets what is private to the PE.

        An unplugged PE drives no line; its redistributor, CPU interface and context are as after a reset, its PPI wires
        low, and its redistributor's registers still work. SGIs sent to it are dropped and counted. SPIs routed to it
        stay pending for the next vCPU; one that was active on it stays active in the Distributor.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        cpu : the embedder's object for the vCPU, kept until it is unplugged, or None.
        accessible : the CPU interface may be used from now on.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def set_accessible_range(self, first: int, count: int, accessible: bool) -> None:
        """`set_cpustate` without an object for `count` PEs from `first`: how a machine marks its absent slots.

        Parameters
        ----------
        first : first PE index, 0..num_pe-1.
        count : number of PEs, 0..num_pe-first.
        accessible : their CPU interfaces may be used from now on.

        Raises
        ------
        ConfigError : the range leaves 0..num_pe-1.
        """

    def save_pe(self, pe: int) -> SavedPe:
        """All state of one PE: redistributor, wires, CPU interface, context, accessibility; not the vCPU object.

        Good for `restore_pe` of the same PE of this GIC while both live; equal for equal state.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def restore_pe(self, pe: int, saved: SavedPe) -> None:
        """Put back what `save_pe` of the same PE of this GIC gave; makes no edge.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.
        saved : what `save_pe` returned.

        Raises
        ------
        ConfigError : there is no such PE, or `saved` is another PE's or another GIC's.
        TypeError : `saved` is nothing that `save_pe` gave.
        """

    def savepoint(self, point: SavePoint | None = None) -> SavePoint:
        """All state as raw memory, in the time of a copy: for fuzzers and for undo, while the process lives.

        Parameters
        ----------
        point : an earlier save point to be filled anew, which saves an allocation; or None.

        Raises
        ------
        MemoryError : there is no memory for it.
        """

    def rewind(self, point: SavePoint) -> None:
        """Bring the state of a save point back, in the time of a copy. Counters and the strict log go back with it.

        No edge is made. Callbacks are told of the lines that differ. The objects given to `set_cpustate` stay.

        Parameters
        ----------
        point : from `savepoint` of this GIC, or of one with an equal configuration.

        Raises
        ------
        ConfigError : it is of a GIC with another configuration; nothing has changed.
        MemoryError : there is no memory; nothing has changed.
        """

    def _save_arrays(self) -> dict[str, bytes]: ...
    def _load_arrays(self, arrays: dict[str, bytes]) -> None: ...

    trace_time: int
    """Time that the next events get in a trace with the caller's clock, in the caller's unit: 0..2**64-1."""

    def _trace_start(self, entries: int, host_clock: bool) -> None: ...
    def _trace_stop(self) -> None: ...
    def _trace_read(self) -> tuple[int, bytes]: ...

    def reset_cpuif(self, pe: int) -> None:
        """Cold reset of one PE's CPU interface: its ICC registers and the context from `set_context`.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def reset(self) -> None:
        """Reset of the Distributor and all redistributors; wires keep their level, CPU interfaces their state."""

    # LPIs and ITS

    def _msi(self, its: int, device_id: int, event_id: int) -> None: ...
    def _its_counters(self, its: int) -> dict[str, int]: ...
    def _its_errors(self, its: int) -> list[tuple[int, tuple[int, int, int, int], int]]: ...
    def lpi_pending(self, pe: int) -> list[int]:
        """INTIDs of the LPIs that are pending at a PE, enabled or not, in order.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def _map_buffer(self, address: int, buffer: Any, writable: bool) -> None: ...
    def _map_callbacks(
        self, address: int, size: int, read: Callable[[int, int], bytes | None], write: Callable[[int, bytes], object]
    ) -> None: ...
    def _unmap(self, address: int) -> None: ...

    # Inspection

    def check(self) -> None:
        """Verify every invariant by full recomputation: O(PEs + SPIs), for tests.

        Raises
        ------
        GicError : an invariant is broken; the text names the first, with its PE and INTID.
        """

    def counters(self, pe: int) -> dict[str, int]:
        """Interrupts that a PE has acknowledged since construction: {"sgi", "ppi", "spi"}, and "lpi" with LPIs.

        Parameters
        ----------
        pe : PE index, 0..num_pe-1.

        Raises
        ------
        ConfigError : there is no such PE.
        """

    def totals(self) -> dict[str, int]:
        """Counts of the whole GIC: {"bad_access", "sgi_dropped"}, and with LPIs three more.

        Returns
        -------
        bad_access : accesses of memory that hit no register, or one with a wrong size, alignment or direction.
        sgi_dropped : SGIs sent to a PE without a vCPU.
        lpi_discarded : LPIs for a redistributor that has them disabled, or whose tables end before their INTID.
        lpi_lost : pending LPIs that a bad pending table, or the host's want of memory, has cost.
        lpi_table_faults : LPI tables, or bytes of them, that are not in guest memory.
        """

    def state_digest(self) -> bytes:
        """A digest of all architectural state: equal for equal state, whatever history led to it.

        Returns
        -------
        16 bytes, to compare inside one process.
        """

    def memory_use(self) -> dict[str, float]:
        """Core memory in bytes: {"per_pe", "fixed"}.

        Returns
        -------
        per_pe : of every PE, its part of the affinity table included.
        fixed : of the GIC whatever its number of PEs; pools in it are touched only when used.
        """

    # Time and strict mode

    def step(self, steps: int = 1) -> None:
        """Let settling time pass for RWP, UWP and ChildrenAsleep (`GICv3Config.settle_steps`).

        Parameters
        ----------
        steps : units of time, 0..0xffffffff.

        Raises
        ------
        ConfigError : `steps` is out of range.
        """

    def strict_counts(self) -> dict[str, int]:
        """How often each rule of strict mode was broken, by its text; rules never broken are left out."""
    def _facts(self, intid: int, pe: int) -> dict[str, Any] | None: ...
    def _findings(self) -> list[tuple[str, str, int | None, int | None, int | None, int, bool, int | None]]: ...
