/* SPDX-License-Identifier: MIT */
/* GICv3 as a Non-secure EL1 driver sees it: Group 1 only, one priority, EOImode 0. */
#include "gic.h"
#include "sysreg.h"

#define GICD 0x08000000ul
#define GICD_CTLR (GICD + 0x0000)
#define GICD_CTLR_EnableGrp1 (1u << 1) /* the Non-secure view of two Security states calls it EnableGrp1A */
#define GICD_CTLR_ARE (1u << 4)
#define GICD_CTLR_RWP (1u << 31)
#define GICD_TYPER (GICD + 0x0004)
#define GICD_IROUTER(intid) (GICD + 0x6000 + 8ul * (intid))

#define GICR 0x080A0000ul
#define GICR_CTLR 0x0000
#define GICR_CTLR_RWP (1u << 3)
#define GICR_TYPER 0x0008
#define GICR_TYPER_VLPIS (1ul << 1)
#define GICR_TYPER_Last (1ul << 4)
#define GICR_WAKER 0x0014
#define GICR_WAKER_ProcessorSleep (1u << 1)
#define GICR_WAKER_ChildrenAsleep (1u << 2)
#define SGI_BASE 0x10000

/* GICD and the SGI frame of a Redistributor have these at the same offsets. */
#define IGROUPR 0x0080
#define ISENABLER 0x0100
#define ICENABLER 0x0180
#define ICPENDR 0x0280
#define ICACTIVER 0x0380
#define IPRIORITYR 0x0400
#define ICFGR 0x0C00

#define PRIORITY 0xA0A0A0A0u
#define LAST_SPI 1019

static u64 affinity_of(u32 cpu) { return (cpu / 16) << 8 | cpu % 16; }

/* The state every group of 32 INTIDs starts from: disabled, idle, Group 1, one priority. */
static void reset_32(u64 frame, u32 first)
{
    u32 word = first / 32 * 4;

    write32(frame + ICENABLER + word, ~0u);
    write32(frame + ICPENDR + word, ~0u);
    write32(frame + ICACTIVER + word, ~0u);
    write32(frame + IGROUPR + word, ~0u);
    for (u32 intid = first; intid < first + 32; intid += 4)
        write32(frame + IPRIORITYR + intid, PRIORITY);
}

static void gicd_wait(void)
{
    while (read32(GICD_CTLR) & GICD_CTLR_RWP)
        ;
}

void gicd_init(void)
{
    u32 lines = 32 * ((read32(GICD_TYPER) & 0x1F) + 1);

    write32(GICD_CTLR, 0);
    gicd_wait();
    write32(GICD_CTLR, GICD_CTLR_ARE);
    gicd_wait();
    for (u32 first = 32; first < lines; first += 32)
        reset_32(GICD, first);
    gicd_wait();
    for (u32 intid = 32; intid < lines && intid <= LAST_SPI; intid++)
        gicd_route(intid, 0);
    write32(GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_EnableGrp1);
    gicd_wait();
}

void gicd_route(u32 intid, u32 cpu) { write64(GICD_IROUTER(intid), affinity_of(cpu)); }

void gicd_enable_spi(u32 intid, int edge, u32 cpu)
{
    u64 config = GICD + ICFGR + intid / 16 * 4;
    u32 bit = 2u << intid % 16 * 2;

    write32(config, edge ? read32(config) | bit : read32(config) & ~bit);
    gicd_route(intid, cpu);
    write32(GICD + ISENABLER + intid / 32 * 4, 1u << intid % 32);
}

u64 gicr_find(u64 mpidr)
{
    u64 affinity = (mpidr >> 32 & 0xFF) << 24 | (mpidr & 0xFFFFFF);
    u64 rd_base = GICR;

    for (;;) {
        u64 typer = read64(rd_base + GICR_TYPER);

        if (typer >> 32 == affinity)
            return rd_base;
        if (typer & GICR_TYPER_Last)
            return 0;
        rd_base += typer & GICR_TYPER_VLPIS ? 0x40000 : 0x20000;
    }
}

void gicr_init(u64 rd_base, u32 enable)
{
    u64 sgi_base = rd_base + SGI_BASE;

    write32(rd_base + GICR_WAKER, read32(rd_base + GICR_WAKER) & ~GICR_WAKER_ProcessorSleep);
    while (read32(rd_base + GICR_WAKER) & GICR_WAKER_ChildrenAsleep)
        ;
    reset_32(sgi_base, 0);
    while (read32(rd_base + GICR_CTLR) & GICR_CTLR_RWP)
        ;
    write32(sgi_base + ICFGR + 4, 0); /* PPIs are level sensitive */
    write32(sgi_base + ISENABLER, enable);
    dsb();
}

void gicr_sleep(u64 rd_base)
{
    write32(rd_base + SGI_BASE + ICENABLER, ~0u);
    while (read32(rd_base + GICR_CTLR) & GICR_CTLR_RWP)
        ;
    write32(rd_base + GICR_WAKER, read32(rd_base + GICR_WAKER) | GICR_WAKER_ProcessorSleep);
    while (!(read32(rd_base + GICR_WAKER) & GICR_WAKER_ChildrenAsleep))
        ;
    dsb();
}

int icc_init(void)
{
    write_sysreg(ICC_SRE_EL1, read_sysreg(ICC_SRE_EL1) | 1);
    isb();
    if (!(read_sysreg(ICC_SRE_EL1) & 1))
        return 0;
    write_sysreg(ICC_PMR_EL1, 0xFF);
    write_sysreg(ICC_BPR1_EL1, 0);
    write_sysreg(ICC_CTLR_EL1, 0);
    write_sysreg(ICC_IGRPEN1_EL1, 1);
    isb();
    return 1;
}

void icc_disable(void)
{
    write_sysreg(ICC_IGRPEN1_EL1, 0);
    isb();
}

void icc_send_sgi(u32 intid, u32 cpu)
{
    u64 affinity = affinity_of(cpu);

    dsb(); /* what the target is to read must be there before the interrupt is */
    write_sysreg(ICC_SGI1R_EL1, (u64)intid << 24 | (affinity >> 8) << 16 | 1ul << (affinity & 15));
    isb();
}
