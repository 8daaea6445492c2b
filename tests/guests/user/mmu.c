/* SPDX-License-Identifier: MIT */
/* Translation tables: the kernel's, where every address is the physical one, and each task's 2 MiB at USER. */
#include "kernel.h"

#define TABLE 3ul
#define BLOCK 1ul
#define LEVEL_3 3ul
#define DEVICE (1ul << 2)
#define AP_EL0 (1ul << 6)
#define AP_READ_ONLY (1ul << 7)
#define INNER_SHAREABLE (3ul << 8)
#define AF (1ul << 10)
#define NOT_GLOBAL (1ul << 11)
#define PXN (1ul << 53)
#define UXN (1ul << 54)
#define KERNEL_BLOCK (BLOCK | INNER_SHAREABLE | AF | UXN)
#define WINDOW_PAGE (LEVEL_3 | INNER_SHAREABLE | AF | UXN | PXN)
#define WINDOW_CODE (LEVEL_3 | INNER_SHAREABLE | AF | UXN | AP_READ_ONLY)
#define USER_PAGE (LEVEL_3 | INNER_SHAREABLE | AF | AP_EL0 | NOT_GLOBAL | PXN)

#define EC(esr) ((esr) >> 26)
#define EC_FETCH_ABORT_EL0 0x20
#define FAULT(esr) ((esr) & 0x3F)
#define WNR(esr) ((esr) >> 6 & 1)
#define TRANSLATION_3 0x07
#define ACCESS_FLAG_3 0x0B
#define PERMISSION_3 0x0F

#define MOVZ_X0 0xD2800000u
#define RET 0xD65F03C0u
#define FRESH_CODE_OFFSET 0x40

extern u8 user_start[];

u64 kernel_tables[2][512] __attribute__((aligned(PAGE)));
static u64 task_tables[CPUS * TASKS][3][512] __attribute__((aligned(PAGE)));
static u8 task_pages[CPUS * TASKS][PAGES][PAGE] __attribute__((aligned(PAGE)));
static u64 window_tables[2][512] __attribute__((aligned(PAGE)));
static u64 window_pages[CPUS][2][512] __attribute__((aligned(PAGE)));
static u32 window_turn[CPUS];
static u8 window_code[CPUS][PAGE] __attribute__((aligned(PAGE)));

static void forget_page(u64 address, u64 asid)
{
    dsb();
    asm volatile("tlbi vae1is, %0\n dsb sy\n isb" ::"r"((address >> 12 & 0xFFFFFFFFFFF) | asid << 48) : "memory");
}

static void forget_task(u64 asid)
{
    dsb();
    asm volatile("tlbi aside1is, %0\n dsb sy\n isb" ::"r"(asid << 48) : "memory");
}

static void clear(u64 *page)
{
    for (u32 i = 0; i < 512; i++)
        page[i] = 0;
}

static void map_kernel(u64 *l1)
{
    clear(l1);
    l1[0] = KERNEL_BLOCK | DEVICE | PXN;
    l1[1] = 0x40000000 | KERNEL_BLOCK;
}

void make_kernel_tables(void)
{
    map_kernel(kernel_tables[0]);
    clear(kernel_tables[1]);
    clear(window_tables[0]);
    clear(window_tables[1]);
    kernel_tables[1][0] = (u64)window_tables[0] | TABLE;
    window_tables[0][0] = (u64)window_tables[1] | TABLE;
    for (u32 cpu = 0; cpu < CPUS; cpu++)
        window_tables[1][CPUS + cpu] = (u64)window_code[cpu] | WINDOW_CODE;
}

void use_tables(const struct task *task)
{
    write_sysreg(TTBR0_EL1, task ? (u64)task->l1 | task->asid << 48 : (u64)kernel_tables[0]);
    isb();
}

static u8 *page_of(const struct task *task, u32 page) { return task_pages[task->asid - 1][page]; }

/* A function that returns value. It runs at another address than it is written by. */
static void write_code(u8 *place, u32 value)
{
    u32 *code = (u32 *)place;

    code[0] = MOVZ_X0 | (value & 0xFFFF) << 5;
    code[1] = RET;
    asm volatile("dc cvau, %0\n dsb sy\n ic ivau, %0\n dsb sy\n isb" ::"r"(code) : "memory");
}

void release_pages(struct task *task)
{
    task->l3[UNMAPPED] = 0;
    task->l3[READ_ONLY] = (u64)page_of(task, READ_ONLY) | USER_PAGE | UXN | AP_READ_ONLY;
    task->l3[OLD] = ((u64)page_of(task, OLD) | USER_PAGE | UXN) & ~AF;
    task->l3[FRESH_CODE] = 0;
    task->l3[NO_EXECUTE] = (u64)page_of(task, NO_EXECUTE) | USER_PAGE | UXN;
    forget_task(task->asid);
}

void make_task_tables(struct task *task, u32 number)
{
    u64(*tables)[512] = task_tables[number];

    task->asid = number + 1;
    task->l1 = tables[0];
    task->l3 = tables[2];
    map_kernel(tables[0]);
    clear(tables[1]);
    clear(tables[2]);
    tables[0][USER >> 30] = (u64)tables[1] | TABLE;
    tables[1][0] = (u64)tables[2] | TABLE;
    for (u32 page = CODE; page <= CODE_END; page++)
        task->l3[page] = ((u64)user_start + page * PAGE) | USER_PAGE | AP_READ_ONLY;
    task->l3[STACK] = (u64)page_of(task, STACK) | USER_PAGE | UXN;
    release_pages(task);
}

void patch(struct task *task) { write_code(page_of(task, FRESH_CODE) + FRESH_CODE_OFFSET, task->rounds + 1); }

int repair(struct task *task, u64 esr, u64 far)
{
    u32 page = (far - USER) / PAGE;
    int fetch = EC(esr) == EC_FETCH_ABORT_EL0;

    if (page == UNMAPPED && FAULT(esr) == TRANSLATION_3 && !fetch) {
        clear((u64 *)page_of(task, page));
        task->l3[page] = (u64)page_of(task, page) | USER_PAGE | UXN;
    } else if (page == READ_ONLY && FAULT(esr) == PERMISSION_3 && WNR(esr)) {
        task->l3[page] &= ~AP_READ_ONLY;
    } else if (page == OLD && FAULT(esr) == ACCESS_FLAG_3) {
        task->l3[page] |= AF;
    } else if (page == FRESH_CODE && FAULT(esr) == TRANSLATION_3 && fetch) {
        write_code(page_of(task, page) + FRESH_CODE_OFFSET, task->rounds);
        task->l3[page] = (u64)page_of(task, page) | USER_PAGE | AP_READ_ONLY;
    } else if (page == NO_EXECUTE && FAULT(esr) == PERMISSION_3 && fetch) {
        write_code(page_of(task, page), task->rounds);
        task->l3[page] &= ~UXN;
    } else {
        return 0;
    }
    forget_page(far, task->asid);
    return 1;
}

/* Let the next access to the CPU's page of the window fault and then find value, in another page than before. */
void move_window(u32 cpu, u64 value)
{
    window_turn[cpu] ^= 1;
    window_pages[cpu][window_turn[cpu]][0] = value;
    window_tables[1][cpu] = 0;
    forget_page(WINDOW + cpu * PAGE, 0);
}

void change_code(u32 cpu, u32 value) { write_code(window_code[cpu], value); }

u32 call_code(u32 cpu) { return ((u32(*)(void))(WINDOW + (CPUS + cpu) * PAGE))(); }

int repair_window(u32 cpu, u64 far)
{
    if (far != WINDOW + cpu * PAGE || window_tables[1][cpu])
        return 0;
    window_tables[1][cpu] = (u64)window_pages[cpu][window_turn[cpu]] | WINDOW_PAGE;
    dsb();
    isb();
    return 1;
}
