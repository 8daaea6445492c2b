/* SPDX-License-Identifier: MIT */
#ifndef SYSREG_H
#define SYSREG_H

#include "mailbox.h"

#define ICC_PMR_EL1 S3_0_C4_C6_0
#define ICC_SGI1R_EL1 S3_0_C12_C11_5
#define ICC_IAR1_EL1 S3_0_C12_C12_0
#define ICC_EOIR1_EL1 S3_0_C12_C12_1
#define ICC_BPR1_EL1 S3_0_C12_C12_3
#define ICC_CTLR_EL1 S3_0_C12_C12_4
#define ICC_SRE_EL1 S3_0_C12_C12_5
#define ICC_IGRPEN1_EL1 S3_0_C12_C12_7

#define STRING(x) #x
#define read_sysreg(name) ({ u64 value_; asm volatile("mrs %0, " STRING(name) : "=r"(value_)::"memory"); value_; })
#define write_sysreg(name, value) asm volatile("msr " STRING(name) ", %x0" ::"rZ"((u64)(value)) : "memory")

static inline void isb(void) { asm volatile("isb" ::: "memory"); }
static inline void dsb(void) { asm volatile("dsb sy" ::: "memory"); }
static inline void wfi(void) { asm volatile("dsb sy\n wfi" ::: "memory"); }
static inline void irq_mask(void) { asm volatile("msr daifset, #2" ::: "memory"); }
static inline void irq_unmask(void) { asm volatile("msr daifclr, #2\n isb" ::: "memory"); }

/* A moment in which whatever is pending is taken. */
static inline void irq_window(void)
{
    irq_unmask();
    irq_mask();
}

static inline u32 read32(u64 address)
{
    u32 value;
    asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline u64 read64(u64 address)
{
    u64 value;
    asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline void write8(u64 address, u8 value)
{
    asm volatile("strb %w0, [%1]" ::"rZ"(value), "r"(address) : "memory");
}

static inline void write32(u64 address, u32 value)
{
    asm volatile("str %w0, [%1]" ::"rZ"(value), "r"(address) : "memory");
}

static inline void write64(u64 address, u64 value)
{
    asm volatile("str %x0, [%1]" ::"rZ"(value), "r"(address) : "memory");
}

#endif
