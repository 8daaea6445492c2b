/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_H
#define KERNEL_H

#include "gic.h"
#include "shared.h"
#include "sysreg.h"

#define PAGE 4096ul
#define USER 0x80000000ul       /* 2 MiB for each task, its own tables and ASID */
#define WINDOW (~0ul << 39)     /* TTBR1: a page for each CPU, mapped when it is touched; behind them one with code */

/* Pages of USER. */
enum { CODE, CODE_END = 2, STACK, UNMAPPED, READ_ONLY, OLD, FRESH_CODE, NO_EXECUTE, PAGES };

/* The order is that of start.S. */
struct frame {
    u64 x[31];
    u64 sp_el0, elr, spsr, fpcr, fpsr;
    u64 v[64];
};

struct context {
    u64 x[12]; /* x19 to x30 */
    u64 sp;
};

struct task {
    struct context context;
    u64 *l1, *l3;
    u64 asid;
    u32 rounds;
    u32 running;
};

/* Written by the CPU it describes only. */
struct counts {
    u32 sgi, ppi, spi;
    u32 preempted;                                       /* SGIs taken within the handler of another */
    u32 svc, data_aborts, instruction_aborts, undefined; /* of EL0 */
    u32 kernel_aborts;                                   /* of EL1 */
    u32 rounds, boots;
};

struct cpu {
    u32 number;
    struct counts counts;
    struct context idle;
    struct task tasks[TASKS];
    u32 current; /* TASKS: none */
    u32 depth;   /* interrupt handlers under way */
    u32 resched, leave, doorbell, next_is_done;
    volatile u32 taken[16]; /* SGIs */
    volatile u32 own_spis;
    u64 rd_base;
    u64 next_tick;
};

extern struct cpu cpus[CPUS];

static inline struct cpu *this_cpu(void) { return (struct cpu *)read_sysreg(TPIDR_EL1); }

#define fail(frame) report_error(__LINE__, frame)
void report_error(u32 line, const struct frame *frame);

/* mmu.c */
void make_kernel_tables(void);
void make_task_tables(struct task *task, u32 number);
void use_tables(const struct task *task); /* NULL: the kernel's alone */
void release_pages(struct task *task);
/* Change the function that a task has called while it is mapped. */
void patch(struct task *task);
/* Give a task what it lacks at far; returns 0 if that is not one of the pages that it may lack. */
int repair(struct task *task, u64 esr, u64 far);
void move_window(u32 cpu, u64 value);
int repair_window(u32 cpu, u64 far);
/* Have a CPU's function of the window return value, 16 bits; call it. */
void change_code(u32 cpu, u32 value);
u32 call_code(u32 cpu);

/* start.S */
extern void secondary_start(void), return_to_user(void);
extern u64 kernel_tables[2][512], kernel_stacks[CPUS][TASKS + 1][1024];
void switch_to(struct context *from, const struct context *to);
void spoil_fp(void);
u64 window_load(u64 address);

#endif
