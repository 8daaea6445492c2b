/* SPDX-License-Identifier: MIT */
/* PSCI by HVC (Arm DEN0022). */
#ifndef PSCI_H
#define PSCI_H

#include "mailbox.h"

#define PSCI_CPU_OFF 0x84000002ul
#define PSCI_CPU_ON 0xC4000003ul
#define PSCI_AFFINITY_INFO 0xC4000004ul
#define PSCI_SYSTEM_OFF 0x84000008ul

#define PSCI_SUCCESS 0
#define PSCI_ALREADY_ON (-4)
#define PSCI_AFFINITY_ON 0
#define PSCI_AFFINITY_ON_PENDING 2

static inline int psci_call(u64 function, u64 a1, u64 a2, u64 a3)
{
    register u64 x0 asm("x0") = function;
    register u64 x1 asm("x1") = a1;
    register u64 x2 asm("x2") = a2;
    register u64 x3 asm("x3") = a3;

    asm volatile("hvc #0"
                 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
                 :
                 : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
                   "memory");
    return (int)x0;
}

#endif
