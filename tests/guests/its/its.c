/* SPDX-License-Identifier: MIT */
#include "its.h"
#include "gic.h"
#include "sysreg.h"

#define GICD_TYPER 0x08000004ul
#define GICD_TYPER_LPIS (1u << 17)

#define GICR_CTLR 0x0000
#define GICR_CTLR_EnableLPIs 1u
#define GICR_CTLR_RWP (1u << 3)
#define GICR_PROPBASER 0x0070
#define GICR_PENDBASER 0x0078

#define GITS 0x08080000ul
#define GITS_CTLR (GITS + 0x0000)
#define GITS_CBASER (GITS + 0x0080)
#define GITS_CWRITER (GITS + 0x0088)
#define GITS_CREADR (GITS + 0x0090)
#define GITS_BASER(table) (GITS + 0x0100 + 8 * (table))
#define GITS_TRANSLATER (GITS + 0x10040)
#define VALID (1ul << 63)

/* The tables lie in RAM that neither image nor mailbox uses, zero from the start. */
#define ID_BITS 16
#define CONFIGURATION 0x40400000ul
#define PENDING(cpu) (0x40410000ul + 0x10000ul * (cpu))
#define DEVICES 0x40500000ul
#define COLLECTIONS 0x40510000ul
#define QUEUE 0x40520000ul
#define QUEUE_SIZE 0x1000
#define ITT(device) (0x40530000ul + 0x1000ul * (device))
#define EVENT_BITS 5
#define PRIORITY 0xA0

static u32 queued;

static void command(u64 word0, u64 word1, u64 word2, u64 word3)
{
    u64 slot = QUEUE + queued;

    write64(slot, word0);
    write64(slot + 8, word1);
    write64(slot + 16, word2);
    write64(slot + 24, word3);
    queued = (queued + 32) % QUEUE_SIZE;
    dsb();
    write64(GITS_CWRITER, queued);
    while (read64(GITS_CREADR) != queued)
        ;
}

int its_init(void)
{
    if (!(read32(GICD_TYPER) & GICD_TYPER_LPIS))
        return 0;
    write64(GITS_BASER(0), VALID | DEVICES);
    write64(GITS_BASER(1), VALID | COLLECTIONS);
    write64(GITS_CBASER, VALID | QUEUE);
    write64(GITS_CWRITER, 0);
    write32(GITS_CTLR, 1);
    return 1;
}

void lpi_init(u64 rd_base, u32 cpu)
{
    write64(rd_base + GICR_PROPBASER, CONFIGURATION | (ID_BITS - 1));
    write64(rd_base + GICR_PENDBASER, PENDING(cpu));
    lpi_enable(rd_base);
}

void lpi_enable(u64 rd_base)
{
    write32(rd_base + GICR_CTLR, GICR_CTLR_EnableLPIs);
    dsb();
}

void lpi_disable(u64 rd_base)
{
    write32(rd_base + GICR_CTLR, 0);
    while (read32(rd_base + GICR_CTLR) & GICR_CTLR_RWP)
        ;
    dsb();
}

int lpi_in_pending_table(u32 cpu, u32 lpi) { return read32(PENDING(cpu) + lpi / 32 * 4) >> lpi % 32 & 1; }

void lpi_configure(u32 lpi, int enable)
{
    write8(CONFIGURATION + lpi - FIRST_LPI, PRIORITY | (u8)enable);
    dsb();
}

static void event_command(u64 op, u32 device, u64 event, u64 word2)
{
    command((u64)device << 32 | op, event, word2, 0);
}

void its_mapd(u32 device, int valid) { event_command(0x08, device, EVENT_BITS - 1, (u64)valid << 63 | ITT(device)); }
void its_mapti(u32 device, u32 event, u32 lpi, u32 collection)
{
    event_command(0x0A, device, (u64)lpi << 32 | event, collection);
}
void its_movi(u32 device, u32 event, u32 collection) { event_command(0x01, device, event, collection); }
void its_int(u32 device, u32 event) { event_command(0x03, device, event, 0); }
void its_clear(u32 device, u32 event) { event_command(0x04, device, event, 0); }
void its_discard(u32 device, u32 event) { event_command(0x0F, device, event, 0); }
void its_mapc(u32 collection, u32 cpu, int valid) { command(0x09, 0, (u64)valid << 63 | (u64)cpu << 16 | collection, 0); }
void its_movall(u32 from, u32 to) { command(0x0E, 0, (u64)from << 16, (u64)to << 16); }
void its_invall(u32 collection) { command(0x0D, 0, collection, 0); }
void its_translate(u32 event) { write32(GITS_TRANSLATER, event); }
