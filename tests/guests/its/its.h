/* SPDX-License-Identifier: MIT */
/* The tables of LPIs and of an ITS, and its commands; commands of one CPU at a time. */
#ifndef ITS_H
#define ITS_H

#include "mailbox.h"

#define FIRST_LPI 8192u

/* Makes flat tables for 64 devices and 64 collections and a queue of one page; once. Returns 0 if there is no ITS. */
int its_init(void);
/* Gives a Redistributor its tables and enables LPIs; all LPIs are enabled in the one configuration table. */
void lpi_init(u64 rd_base, u32 cpu);
void lpi_disable(u64 rd_base);
void lpi_enable(u64 rd_base);
int lpi_in_pending_table(u32 cpu, u32 lpi);
/* Writes the enable bit of an LPI's configuration; it counts after its_invall(). */
void lpi_configure(u32 lpi, int enable);

void its_mapd(u32 device, int valid);
void its_mapc(u32 collection, u32 cpu, int valid);
void its_mapti(u32 device, u32 event, u32 lpi, u32 collection);
void its_movi(u32 device, u32 event, u32 collection);
void its_movall(u32 from, u32 to);
void its_invall(u32 collection);
void its_int(u32 device, u32 event);
void its_clear(u32 device, u32 event);
void its_discard(u32 device, u32 event);
/* What a store of this CPU to GITS_TRANSLATER does: the DeviceID is 0. */
void its_translate(u32 event);

#endif
