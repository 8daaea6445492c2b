/* SPDX-License-Identifier: MIT */
/* What the ACPI guest shares with the host; tests/test_acpi_guest.py has the same layout. */
#ifndef ACPI_H
#define ACPI_H

#include "mailbox.h"

#define SHARED_ADDRESS 0x40100000
#define GED_INTID 41

/* Written by the guest unless marked "host". A CPU is a bit by its number, which is its UID. */
struct shared {
    u64 rsdp;           /* host, before start */
    u32 decline;        /* host: CPUs that the guest will not let go */
    u32 quit;           /* host: 1 asks for SYSTEM_OFF with the next event */
    u32 ready;          /* MAGIC once all enabled CPUs are online */
    u32 enabled;        /* by the MADT */
    u32 online_capable; /* by the MADT */
    u32 denied;         /* absent CPUs that PSCI CPU_ON was denied for */
    u32 online;
    u32 events;         /* reads of the GED that had the CPU event */
    u32 inserted;       /* device checks */
    u32 ejected;        /* CPUs let go */
    u32 kept;           /* ejections that were rightly ignored */
    u32 errors;
    u32 last_error;     /* source line */
    u32 fault_esr;
    u64 fault_elr;
};

#define shared ((volatile struct shared *)SHARED_ADDRESS)

#define fail() (shared->errors++, shared->last_error = __LINE__)
#define expect(condition) ((condition) ? (void)0 : (void)fail())

struct madt {
    u32 cpus; /* highest UID + 1 */
    u32 enabled, online_capable;
    u64 mpidr[MAX_CPUS];
    u64 gicd, gicr;
};

/* Finds the MADT by the RSDP and takes it apart; what does not hold is an error. */
void parse_madt(u64 rsdp, struct madt *madt);

#endif
