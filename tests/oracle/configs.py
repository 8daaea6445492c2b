"""The machines compared: one row per configuration of QEMU's `virt` and of the core."""

from __future__ import annotations

from dataclasses import dataclass

from .ops import HCR_RW, SCR_HCE, SCR_NS, SCR_RW, World

SPIS = 256
"""What QEMU's `virt` has, fixed."""


@dataclass(frozen=True)
class Config:
    """One machine: number of PEs, EL3 and two Security states or one, EL2, priority bits, an ITS; `sets_ds`: programs
    begin by leaving two states for one, with PEs that have EL3; `work_budget` of the core."""

    name: str
    smp: int
    secure: bool = False
    el2: bool = False
    priority_bits: int = 5
    its: bool = False
    sets_ds: bool = False
    work_budget: int = 1 << 17

    @property
    def machine(self) -> str:
        """QEMU's machine type: `virt-7.0` has 8 priority bits, later ones what the CPU has (5)."""
        return "virt-7.0" if self.priority_bits == 8 else "virt"

    @property
    def base_el(self) -> int:
        """The highest implemented Exception level."""
        if self.secure:
            return 3
        return 2 if self.el2 else 1

    def world(self, el: int, ns: bool = True, scr: int = 0, hcr: int = 0) -> World:
        """A place to execute: `scr` and `hcr` are added to what the levels need (AArch64 below, HVC enabled)."""
        full_scr = (SCR_RW | SCR_HCE | (SCR_NS if ns else 0) | scr) if self.secure else 0
        return World(el, full_scr, (HCR_RW | hcr) if self.el2 else 0)


CONFIGS = {
    config.name: config
    for config in (
        Config("ds1-smp1", 1),
        Config("ds1-smp4", 4),
        Config("ds1-smp1-p8", 1, priority_bits=8),
        Config("ds1-smp4-p8", 4, priority_bits=8),
        Config("ds1-smp4-el2", 4, el2=True),
        Config("ds0-smp1", 1, secure=True),
        Config("ds0-smp4", 4, secure=True),
        Config("ds0-smp4-p8", 4, secure=True, priority_bits=8),
        Config("ds0-smp4-el2", 4, secure=True, el2=True),
        Config("its-smp1", 1, its=True),
        Config("its-smp4", 4, its=True),
        Config("its-smp4-slow", 4, its=True, work_budget=4),
        Config("its-ds0-smp4", 4, secure=True, its=True),
        Config("ds1-smp4-el3", 4, secure=True, sets_ds=True),
    )
}
