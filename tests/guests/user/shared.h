/* SPDX-License-Identifier: MIT */
/* What host and guest share; tests/test_user_guest.py has the same layout. */
#ifndef SHARED_H
#define SHARED_H

#include "mailbox.h"

#define SHARED_ADDRESS 0x40100000
#define CPUS 16
#define TASKS 3 /* on each CPU */

struct shared {
    u32 magic;  /* guest: MAGIC once all CPUs present at boot are up */
    u32 work;   /* host, before start: rounds of each task, 0 is forever */
    u32 ticks;  /* host, before start: timer interrupts that each CPU takes, 0 is forever */
    u32 period; /* host, before start: counter ticks from one to the next */
    u64 want;   /* host: CPUs that are to be up; SPI_DOORBELL makes the guest look */
    u64 online; /* guest */
    u32 quit;   /* host: 1 asks for SYSTEM_OFF */
};

#define shared ((volatile struct shared *)SHARED_ADDRESS)

#endif
