"""Suspected QEMU defects that no accepted difference stands for, each confirmed or refuted on the QEMU at hand.

They are where the core must not be made to agree with QEMU. Others of the list are in `accepted.py` (CTLR_EL3, ICFGR,
the Non-secure AP1R0, IPRIORITYR, Group 1 as FIQ with DS=1) or out of this QEMU's reach (NMI).
"""

from __future__ import annotations

import pytest

from .configs import CONFIGS, Config
from .ops import GICD_BASE, GICR_BASE, Kind, reg
from .qemu import Qemu
from .writer import Writer

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("qemu_installed")]

ICH_HCR = reg(4, 12, 11, 0)
ICH_MISR = reg(4, 12, 11, 2)
ICH_VMCR = reg(4, 12, 11, 7)
GITS_BASE = 0x0808_0000
CONFIG_TABLE = 0x4030_0000
PENDING_TABLE = 0x4032_0000


def run(writer: Writer) -> list[int]:
    """Values of a program's operations on QEMU."""
    with Qemu(writer.config) as qemu:
        return [result.value for result in qemu.run(writer.program)]


def test_confirmed_misr_vgrp0d_is_computed_from_veng1() -> None:
    writer = Writer(CONFIGS["ds1-smp4-el2"]).msr(ICH_HCR, 1 << 5 | 1).msr(ICH_VMCR, 1).mrs(ICH_MISR)
    assert run(writer)[-1] & 1 << 5
    writer = Writer(CONFIGS["ds1-smp4-el2"]).msr(ICH_HCR, 1 << 5 | 1).msr(ICH_VMCR, 2).mrs(ICH_MISR)
    assert not run(writer)[-1] & 1 << 5


def test_confirmed_pendbaser_and_propbaser_have_no_res0_bits() -> None:
    everything = (1 << 64) - 1
    writer = Writer(CONFIGS["ds1-smp1"])
    for offset in (0x70, 0x78):
        writer.write(GICR_BASE + offset, everything, Kind.W64).read(GICR_BASE + offset, Kind.R64)
    assert set(run(writer)) == {everything}


def test_confirmed_creadr_is_writable_with_one_security_state() -> None:
    writer = Writer(Config("its", 1, its=True))
    writer.write(GITS_BASE + 0x90, 0x40, Kind.W64).read(GITS_BASE + 0x90, Kind.R64)
    assert run(writer)[-1] == 0x40


def test_confirmed_eoir_of_an_lpi_clears_a_bit_outside_the_active_bitmap() -> None:
    """The place of LPI 13824 behind the bitmap of active SPIs is bit 32 (Aff3) of IROUTER40."""
    lpi = 13824
    writer = Writer(CONFIGS["ds1-smp1"]).ready(group1=0xFFFFFFFF)
    writer.write(CONFIG_TABLE + lpi - 8192, 0xA1, Kind.W8).write(PENDING_TABLE + lpi // 8, 1 << lpi % 8, Kind.W8)
    writer.write(GICR_BASE + 0x70, CONFIG_TABLE | 15, Kind.W64).write(GICR_BASE + 0x78, PENDING_TABLE, Kind.W64)
    writer.write(GICD_BASE + 0x6000 + 8 * 40, 1 << 32, Kind.W64).write(GICR_BASE, 1)
    writer.mrs("ICC_IAR1_EL1").msr("ICC_EOIR1_EL1", lpi).read(GICD_BASE + 0x6000 + 8 * 40, Kind.R64)
    acknowledged, _, router = run(writer)[-3:]
    assert acknowledged == lpi
    assert router == 0
