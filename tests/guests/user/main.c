/* SPDX-License-Identifier: MIT */
/*
 * A kernel with tasks in user mode: it checks every exception that they take, and that nothing of theirs gets lost.
 *
 * Each CPU has three tasks, each with tables of its own, between which its timer switches. Their program is user.S. In
 * a round a task makes page faults that are repaired and accesses that are refused, each with its ESR, FAR, ELR and
 * SPSR compared; it has interrupts preempt each other, an SPI taken, and SGIs sent to another CPU and back, which sees
 * what this one has changed in tables and code. Handlers spoil all FP registers.
 *
 * How many interrupts each CPU takes follows from `work` and `ticks` alone, and so does what is printed.
 * With `work` 0 CPUs come and go: SPI_DOORBELL makes CPU 0 look at `want`. They all send their SGIs to CPU 0 then.
 */
#include "kernel.h"
#include "psci.h"

#define UART_DR 0x09000000ul
#define GICD_ISPENDR 0x08000200ul
#define GICR_IPRIORITYR 0x10400
#define CNTV_ENABLE 1
#define SPI_OWN 48 /* and the next ones, one for each CPU */
#define USER_STACK_TOP (USER + (STACK + 1) * PAGE)

#define EC(esr) ((esr) >> 26)
#define EC_UNDEFINED 0x00
#define EC_SVC 0x15
#define EC_FETCH_ABORT_EL0 0x20
#define EC_DATA_ABORT_EL0 0x24
#define FAULT(esr) ((esr) & 0x3F)
#define PERMISSION_1 0x0D
#define ALIGNMENT 0x21
#define IMMEDIATE(esr) ((esr) & 0xFFFF)
#define ESR_WINDOW 0x96000007 /* a load at EL1, translation fault at level 3 */
#define MODE(spsr) ((spsr) & 0x1F)
#define MODE_EL0 0

enum { SVC_ROUND = 1, SVC_PING, SVC_NEST, SVC_SPI, SVC_WINDOW, SVC_RELEASE, SVC_YIELD, SVC_FAIL, SVC_PATCH };
enum { SGI_LOWEST, SGI_LOW, SGI_MIDDLE, SGI_HIGH, SGI_PING, SGI_PONG, SGI_DONE, SGI_LEAVE_NOW, SGIS };

/* Of the SGIs above; the timer's is the highest and the SPIs' the one of gicd_init(). */
static const u8 sgi_priority[] = {0xC0, 0x80, 0x60, 0x40, 0xA0, 0xA0, 0xA0, 0xA0};
#define TIMER_PRIORITY 0x20
#define SPI_PRIORITY 0xA0

struct cpu cpus[CPUS];
u64 kernel_stacks[CPUS][TASKS + 1][1024] __attribute__((aligned(PAGE)));
static u32 present;              /* CPUs that were there at boot */
static volatile u32 pings[CPUS]; /* sent by, */
static volatile u32 pongs[CPUS]; /* and answered to this CPU */
static u32 rounds_done;          /* by all CPUs, counted with exclusives */

int sleep(void);

/* Output */

static void print(const char *text)
{
    for (; *text; text++)
        write32(UART_DR, (u8)*text);
}

static void print_number(const char *name, u64 value)
{
    char digits[21];
    u32 place = 20;

    digits[place] = 0;
    do
        digits[--place] = '0' + value % 10;
    while (value /= 10);
    print(name);
    print(digits + place);
}

static void print_hex(const char *name, u64 value)
{
    print(name);
    for (int shift = 60; shift >= 0; shift -= 4)
        print((char[]){"0123456789abcdef"[value >> shift & 15], 0});
}

/* The first thing that is wrong ends the guest. */
void report_error(u32 line, const struct frame *frame)
{
    print_number("error: line ", line);
    print_number(" cpu ", this_cpu()->number);
    print_hex(" esr ", read_sysreg(ESR_EL1));
    print_hex(" far ", read_sysreg(FAR_EL1));
    if (frame) {
        print_hex(" elr ", frame->elr);
        print_hex(" spsr ", frame->spsr);
        print_hex(" x19 ", frame->x[19]);
        print_hex(" x20 ", frame->x[20]);
        print_hex(" x21 ", frame->x[21]);
        print_hex(" x22 ", frame->x[22]);
    }
    print("\n");
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}

static void end(void)
{
    for (u32 cpu = 0; cpu < CPUS; cpu++) {
        struct counts *counts = &cpus[cpu].counts;

        if (!counts->boots)
            continue;
        print_number("cpu ", cpu);
        print_number(" rounds ", counts->rounds);
        print_number(" sgi ", counts->sgi);
        print_number(" ppi ", counts->ppi);
        print_number(" spi ", counts->spi);
        print_number(" preempted ", counts->preempted);
        print_number(" svc ", counts->svc);
        print_number(" data ", counts->data_aborts);
        print_number(" fetch ", counts->instruction_aborts);
        print_number(" undefined ", counts->undefined);
        print_number(" kernel ", counts->kernel_aborts);
        print("\n");
    }
    print_number("rounds ", rounds_done);
    print("\n");
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}

/* Interrupts */

/* An interrupt that has been asked for comes in finite time. */
static void await(volatile u32 *count, u32 goal)
{
    for (u32 i = 0; *count != goal; i++)
        if (i == 1000000)
            fail(0);
}

/* SGI_LOW is preempted by SGI_MIDDLE, and that by SGI_HIGH; SGI_LOWEST has to wait for all. */
static void preempt(struct cpu *cpu, u32 by)
{
    u32 lowest = cpu->taken[SGI_LOWEST], goal = cpu->taken[by] + 1;

    if (by == SGI_MIDDLE)
        icc_send_sgi(SGI_LOWEST, cpu->number);
    irq_unmask();
    icc_send_sgi(by, cpu->number);
    await(&cpu->taken[by], goal);
    irq_mask();
    if (cpu->taken[SGI_LOWEST] != lowest)
        fail(0);
}

static void answer(struct cpu *cpu)
{
    for (u32 from = 0; from < CPUS; from++) {
        u32 ping = pings[from];
        u32 to = shared->work ? (from + 1) % present : 0;

        if (to != cpu->number || pongs[from] == ping)
            continue;
        /* Its page of the window is another than the last time, and its code: what is left of the old ones shows. */
        if (ping & 1 && (window_load(WINDOW + from * PAGE) != ping || call_code(from) != (ping & 0xFFFF)))
            fail(0);
        pongs[from] = ping;
        dsb();
        icc_send_sgi(SGI_PONG, from);
    }
}

static void tick(struct cpu *cpu)
{
    cpu->next_tick += shared->period;
    cpu->resched = 1;
    if (shared->ticks && cpu->counts.ppi == shared->ticks)
        write_sysreg(CNTV_CTL_EL0, 0);
    else
        write_sysreg(CNTV_CVAL_EL0, cpu->next_tick);
    isb();
}

static void serve(struct cpu *cpu, u32 intid)
{
    if (intid < SGIS) {
        cpu->counts.sgi++;
        cpu->counts.preempted += cpu->depth > 1;
        cpu->taken[intid]++;
    }
    if (intid == PPI_TIMER) {
        cpu->counts.ppi++;
        tick(cpu);
    } else if (intid == SGI_LOW) {
        preempt(cpu, SGI_MIDDLE);
    } else if (intid == SGI_MIDDLE) {
        preempt(cpu, SGI_HIGH);
    } else if (intid == SGI_PING) {
        answer(cpu);
    } else if (intid == SGI_DONE) {
        cpu->next_is_done = 1;
    } else if (intid == SGI_LEAVE_NOW) {
        cpu->leave = 1;
    } else if (intid == SPI_DOORBELL || intid == SPI_OWN + cpu->number) {
        cpu->counts.spi++;
        cpu->own_spis += intid != SPI_DOORBELL;
        cpu->doorbell |= intid == SPI_DOORBELL;
    } else if (intid >= SGIS) {
        fail(0);
    }
}

static u32 priority(u32 intid)
{
    return intid < SGIS ? sgi_priority[intid] : intid == PPI_TIMER ? TIMER_PRIORITY : SPI_PRIORITY;
}

void handle_irq(struct frame *frame)
{
    struct cpu *cpu = this_cpu();
    u32 before = read_sysreg(S3_0_C12_C11_3); /* ICC_RPR_EL1 */
    u32 intid = read_sysreg(ICC_IAR1_EL1);

    spoil_fp();
    if (intid >= INTID_SPURIOUS)
        return;
    if (priority(intid) >= before || read_sysreg(S3_0_C12_C11_3) != priority(intid))
        fail(frame);
    cpu->depth++;
    serve(cpu, intid);
    cpu->depth--;
    write_sysreg(ICC_EOIR1_EL1, intid);
    isb();
}

/* System calls */

static void ping(struct cpu *cpu, int window)
{
    u32 number = cpu->number;
    u32 to = shared->work ? (number + 1) % present : 0;
    u32 ping = (pings[number] + 2) & ~1u;
    u32 goal = cpu->taken[SGI_PONG] + 1;

    if (window) {
        ping |= 1;
        move_window(number, ping);
        change_code(number, ping);
        if (window_load(WINDOW + number * PAGE) != ping)
            fail(0);
    }
    pings[number] = ping;
    dsb();
    icc_send_sgi(SGI_PING, to);
    /* The answer's SGI too: if the next one came before it is taken, the two would be one. */
    while (cpu->taken[SGI_PONG] != goal) {
        wfi();
        irq_window();
    }
    if (pongs[number] != ping)
        fail(0);
}

static void nest(struct cpu *cpu)
{
    u32 goal = cpu->taken[SGI_LOWEST] + 1;

    irq_unmask();
    icc_send_sgi(SGI_LOW, cpu->number);
    await(&cpu->taken[SGI_LOWEST], goal);
    irq_mask();
}

static void own_spi(struct cpu *cpu)
{
    u32 intid = SPI_OWN + cpu->number;
    u32 goal = cpu->own_spis + 1;

    irq_unmask();
    write32(GICD_ISPENDR + intid / 32 * 4, 1u << intid % 32);
    await(&cpu->own_spis, goal);
    irq_mask();
}

static void schedule(struct cpu *cpu)
{
    u32 last = cpu->current, next = TASKS;

    cpu->resched = 0;
    for (u32 i = 1; i <= TASKS && next == TASKS; i++)
        if (cpu->tasks[(last + i) % TASKS].running)
            next = (last + i) % TASKS;
    if (next == last)
        return;
    cpu->current = next;
    use_tables(next < TASKS ? &cpu->tasks[next] : 0);
    switch_to(last < TASKS ? &cpu->tasks[last].context : &cpu->idle,
              next < TASKS ? &cpu->tasks[next].context : &cpu->idle);
}

static void start_round(struct cpu *cpu, struct task *task, struct frame *frame)
{
    if (shared->work && task->rounds == shared->work) {
        task->running = 0;
        schedule(cpu);
    }
    frame->x[0] = ++task->rounds;
    cpu->counts.rounds++;
    __atomic_fetch_add(&rounds_done, 1, __ATOMIC_RELAXED);
}

static void system_call(struct cpu *cpu, struct task *task, struct frame *frame, u32 number)
{
    cpu->counts.svc++;
    switch (number) {
    case SVC_ROUND:
        start_round(cpu, task, frame);
        break;
    case SVC_PING:
    case SVC_WINDOW:
        ping(cpu, number == SVC_WINDOW);
        break;
    case SVC_NEST:
        nest(cpu);
        break;
    case SVC_SPI:
        own_spi(cpu);
        break;
    case SVC_RELEASE:
        release_pages(task);
        break;
    case SVC_PATCH:
        patch(task);
        break;
    case SVC_YIELD:
        cpu->resched = 1;
        break;
    default:
        report_error(frame->x[0], frame);
    }
}

/* Exceptions */

static void user_exception(struct cpu *cpu, struct frame *frame, u64 esr, u64 far)
{
    struct task *task = &cpu->tasks[cpu->current];
    int abort = EC(esr) == EC_FETCH_ABORT_EL0 || EC(esr) == EC_DATA_ABORT_EL0;

    if (frame->x[19] != esr || (abort && frame->x[20] != far) || frame->x[21] != frame->elr ||
        frame->x[22] != frame->spsr)
        fail(frame);
    frame->x[19] = 0;
    cpu->counts.data_aborts += EC(esr) == EC_DATA_ABORT_EL0;
    cpu->counts.instruction_aborts += EC(esr) == EC_FETCH_ABORT_EL0;
    cpu->counts.undefined += EC(esr) == EC_UNDEFINED;
    if (EC(esr) == EC_SVC)
        system_call(cpu, task, frame, IMMEDIATE(esr));
    else if (!abort || FAULT(esr) == PERMISSION_1 || FAULT(esr) == ALIGNMENT)
        frame->elr += 4;
    else if (!repair(task, esr, far))
        fail(frame);
}

void handle_sync(struct frame *frame)
{
    struct cpu *cpu = this_cpu();
    u64 esr = read_sysreg(ESR_EL1), far = read_sysreg(FAR_EL1);

    if (MODE(frame->spsr) == MODE_EL0) {
        user_exception(cpu, frame, esr, far);
        return;
    }
    cpu->counts.kernel_aborts++;
    if (esr != ESR_WINDOW || frame->elr != (u64)window_load || !repair_window(cpu->number, far))
        fail(frame);
}

void handle_bad(struct frame *frame) { fail(frame); }

/* CPUs that come and go */

static int start(u32 cpu)
{
    u64 affinity = (cpu / 16) << 8 | cpu % 16;

    if (psci_call(PSCI_CPU_ON, affinity, (u64)secondary_start, cpu) != PSCI_SUCCESS)
        return 0;
    while (!(shared->online & 1ul << cpu))
        asm volatile("yield");
    return 1;
}

static void serve_doorbell(struct cpu *cpu)
{
    cpu->doorbell = 0;
    if (shared->quit)
        end();
    for (u32 other = 1; other < CPUS; other++) {
        u64 bit = 1ul << other;

        if (shared->want & ~shared->online & bit && !start(other))
            fail(0);
        else if (shared->online & ~shared->want & bit)
            icc_send_sgi(SGI_LEAVE_NOW, other);
    }
}

static void leave(struct cpu *cpu)
{
    write_sysreg(CNTV_CTL_EL0, 0);
    isb();
    icc_disable();
    gicr_sleep(cpu->rd_base);
    __atomic_fetch_and(&shared->online, ~(1ul << cpu->number), __ATOMIC_RELEASE);
    psci_call(PSCI_CPU_OFF, 0, 0, 0);
    fail(0);
}

void before_return(const struct frame *frame)
{
    struct cpu *cpu = this_cpu();

    if (MODE(frame->spsr) != MODE_EL0)
        return;
    if (cpu->leave)
        leave(cpu);
    if (cpu->doorbell)
        serve_doorbell(cpu);
    if (cpu->resched)
        schedule(cpu);
}

static void make_task(struct cpu *cpu, u32 number)
{
    struct task *task = &cpu->tasks[number];
    struct frame *frame = (struct frame *)kernel_stacks[cpu->number][number + 1] - 1;
    u64 *words = (u64 *)frame;

    for (u32 i = 0; i < sizeof *frame / 8; i++)
        words[i] = 0;
    make_task_tables(task, cpu->number * TASKS + number);
    frame->x[28] = cpu->number * TASKS + number;
    frame->sp_el0 = USER_STACK_TOP;
    frame->elr = USER;
    task->context.x[11] = (u64)return_to_user;
    task->context.sp = (u64)frame;
    task->rounds = 0;
    task->running = 1;
}

static void init(struct cpu *cpu)
{
    cpu->depth = cpu->resched = cpu->leave = cpu->doorbell = cpu->next_is_done = 0;
    cpu->current = TASKS;
    for (u32 number = 0; number < TASKS; number++)
        make_task(cpu, number);
    cpu->rd_base = gicr_find(read_sysreg(MPIDR_EL1));
    if (cpu->number == 0)
        gicd_init();
    gicr_init(cpu->rd_base, ((1u << SGIS) - 1) | 1u << PPI_TIMER);
    for (u32 sgi = 0; sgi < SGIS; sgi++)
        write8(cpu->rd_base + GICR_IPRIORITYR + sgi, sgi_priority[sgi]);
    write8(cpu->rd_base + GICR_IPRIORITYR + PPI_TIMER, TIMER_PRIORITY);
    gicd_enable_spi(SPI_OWN + cpu->number, 1, cpu->number);
    if (!icc_init())
        fail(0);
    cpu->counts.boots++;
    __atomic_fetch_or(&shared->online, 1ul << cpu->number, __ATOMIC_RELEASE);
}

static void start_all(void)
{
    if (!shared->period) { /* nobody has asked for anything */
        shared->work = shared->ticks = 20;
        shared->period = read_sysreg(CNTFRQ_EL0) / 1000;
    }
    gicd_enable_spi(SPI_DOORBELL, 1, 0);
    for (present = 1; present < CPUS && start(present); present++)
        ;
    shared->magic = MAGIC;
}

static void rest(void)
{
    if (sleep())
        fail(0);
}

void kernel_main(u32 number)
{
    struct cpu *cpu = &cpus[number];

    write_sysreg(TPIDR_EL1, cpu);
    cpu->number = number;
    init(cpu);
    if (number == 0)
        start_all();
    while (shared->magic != MAGIC)
        asm volatile("yield");
    cpu->next_tick = read_sysreg(CNTVCT_EL0) + shared->period;
    write_sysreg(CNTV_CVAL_EL0, cpu->next_tick);
    write_sysreg(CNTV_CTL_EL0, CNTV_ENABLE);
    schedule(cpu);

    /* Back here when all tasks are done. The last CPU tells the one before it, and so on. */
    while (cpu->counts.ppi != shared->ticks || (number + 1 < present && !cpu->next_is_done))
        rest();
    if (number == 0)
        end();
    icc_send_sgi(SGI_DONE, number - 1);
    for (;;)
        rest();
}
