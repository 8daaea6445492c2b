/* SPDX-License-Identifier: MIT */
#ifndef GIC_H
#define GIC_H

#include "mailbox.h"

#define INTID_SPURIOUS 1020 /* 1020..1023 are not interrupts */

/* Sets up the Distributor, all SPIs to CPU 0; once, by the boot CPU. */
void gicd_init(void);
/* Makes an SPI edge (1) or level (0) triggered, routes it to cpu and enables it. */
void gicd_enable_spi(u32 intid, int edge, u32 cpu);
void gicd_route(u32 intid, u32 cpu);

/* Finds the Redistributor of the PE this runs on by its affinity; 0 if there is none. */
u64 gicr_find(u64 mpidr);
/* Wakes the Redistributor and puts all SGIs and PPIs into a known state, the ones in `enable` enabled. */
void gicr_init(u64 rd_base, u32 enable);
void gicr_sleep(u64 rd_base);

/* Sets up this PE's CPU interface; returns 0 if system register access cannot be enabled. */
int icc_init(void);
void icc_disable(void);
void icc_send_sgi(u32 intid, u32 cpu);

#endif
