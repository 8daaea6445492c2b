/* SPDX-License-Identifier: MIT */
/*
 * An SMP guest that keeps a GICv3 busy while its vCPUs come and go.
 *
 * One token goes round the online CPUs as SGI 0, in ascending order of CPU number. Whoever takes it checks for a while
 * that interrupts give back all registers, and passes it on. Besides, every CPU runs a virtual timer (PPI 27), and the
 * UART's receive interrupt (SPI 33, echo) moves to the next online CPU each round. INTID 41 is the host's doorbell: at
 * the next homecoming of the token CPU 0 serves ejects, starts CPUs that have appeared, and switches off when asked to.
 *
 * Who may write what
 *   There is no atomic instruction in this program (with the MMU off all memory is Device memory, where exclusives are
 *   not architected). Every word has one writer at a time: a CPU writes its own record and its own queue; the holder of
 *   the token writes the delivery log; CPU 0 writes the masks and IROUTER, membership only while it holds the token.
 *   A CPU that leaves or arrives therefore never has the token, and the token is never sent to an absent CPU.
 *
 * The delivery log
 *   The interrupt handler appends what it acknowledged to its CPU's queue; the token's holder moves its queue to the
 *   log before it passes the token on. Hence, with any interleaving of the CPUs:
 *   1. Entries of one CPU are in the order in which that CPU acknowledged them.
 *   2. The SGI entries of all CPUs together are in causal order, and a function of what the host has asked for alone:
 *      a CPU that starts gives SGI_STATE on CPU 0; a round gives SGI_TOKEN on each other online CPU, ascending, then on
 *      CPU 0; an eject gives SGI_LEAVE on the one that goes, then SGI_STATE on CPU 0. Ejects are served before starts,
 *      both in ascending order. How far a CPU runs in its turn does not show.
 *   3. With FLAG_NO_TIMER and no UART input the doorbell is the only other entry. Then the whole log is invariant if
 *      the host rings only while the guest is idle (rounds == work, all CPUs in WFI), or never.
 *   Not invariant: where timer, UART and (if rung while the ring runs) doorbell entries fall between the others, the
 *   round after which such a doorbell is served, how many timer entries there are, which CPU takes a UART interrupt,
 *   and the spurious count (a UART interrupt that was routed away after it had been signalled).
 *   An idle guest's log is complete once a CPU 0 that holds the token has woken up; SYSTEM_OFF completes it as well.
 *
 * What is asked of the host: a CPU that has been started leaves by an eject; one that vanishes takes the token with it.
 * CPU n has affinity Aff1 = n / 16, Aff0 = n % 16. CPU 0 does not leave.
 */
#include "gic.h"
#include "mailbox.h"
#include "psci.h"
#include "sysreg.h"

#define UART 0x09000000ul
#define UART_DR (UART + 0x00)
#define UART_FR (UART + 0x18)
#define UART_FR_RXFE (1u << 4)
#define UART_FR_TXFF (1u << 5)
#define UART_LCR_H (UART + 0x2C)
#define UART_CR (UART + 0x30)
#define UART_IMSC (UART + 0x38)
#define UART_IMSC_RX (1u << 4)

#define QUEUE_SIZE 256
#define BIT(cpu) (1ul << (cpu))

/* Deliveries not yet in the log: written by the CPU's handler, emptied by the holder of the token. */
struct queue {
    u32 head, tail;
    u32 entries[QUEUE_SIZE];
};

static volatile struct queue queues[MAX_CPUS];
static volatile u32 token[MAX_CPUS]; /* this CPU holds the token */
static volatile u32 leave[MAX_CPUS]; /* this CPU has been told to go */
static volatile u32 doorbell;        /* CPU 0: the host has rung and has not been served */
static volatile u32 state_changed;   /* CPU 0: SGI_STATE has come in */
static u32 max_cpus, timer_period, uart_cpu;

extern void secondary_start(void);
extern int registers_lost(u64 seed);

/* UART */

static void uart_put(u32 character)
{
    while (read32(UART_FR) & UART_FR_TXFF)
        ;
    write32(UART_DR, character);
}

static void print(const char *text)
{
    for (; *text; text++)
        uart_put((u8)*text);
}

static void print_cpu(u32 cpu, const char *text)
{
    print("cpu ");
    if (cpu >= 10)
        uart_put('0' + cpu / 10);
    uart_put('0' + cpu % 10);
    print(text);
}

/* No FIFO: one interrupt a character, no time-out interrupt needed. */
static void uart_init(void)
{
    write32(UART_LCR_H, 3 << 5); /* 8 data bits */
    write32(UART_CR, 1 << 9 | 1 << 8 | 1);
    write32(UART_IMSC, UART_IMSC_RX);
}

/* Delivery log */

static void queue_delivery(u32 cpu, u32 intid)
{
    volatile struct queue *queue = &queues[cpu];

    if (queue->head - queue->tail == QUEUE_SIZE) {
        records[cpu].log_lost++;
        return;
    }
    queue->entries[queue->head % QUEUE_SIZE] = cpu << 24 | intid;
    dsb();
    queue->head++;
}

/* Only the holder of the token may call this: for itself, for a CPU that is off, or, on CPU 0, for anyone. */
static void log_queue(u32 cpu)
{
    volatile struct queue *queue = &queues[cpu];

    while (queue->tail != queue->head) {
        u32 count = delivery_log->count;

        if (count == LOG_CAPACITY) {
            queue->tail = queue->head;
            break;
        }
        delivery_log->entries[count] = queue->entries[queue->tail % QUEUE_SIZE];
        dsb();
        delivery_log->count = count + 1;
        queue->tail++;
    }
}

/* Interrupts */

static void timer_arm(void)
{
    write_sysreg(CNTV_TVAL_EL0, timer_period);
    write_sysreg(CNTV_CTL_EL0, 1);
    isb();
}

void handle_irq(u32 cpu)
{
    volatile struct record *record = &records[cpu];
    u64 iar = read_sysreg(ICC_IAR1_EL1);
    u32 intid = iar & 0xFFFFFF;

    dsb(); /* the acknowledge comes before any access to the device */
    record->last_iar = iar;
    if (intid >= INTID_SPURIOUS) {
        record->spurious++;
        return;
    }
    record->total++;
    if (intid < 16)
        record->sgi++;
    else if (intid < 32)
        record->ppi++;
    else
        record->spi++;
    queue_delivery(cpu, intid);

    switch (intid) {
    case SGI_TOKEN:
        token[cpu] = 1;
        break;
    case SGI_LEAVE:
        leave[cpu] = 1;
        break;
    case SGI_STATE:
        state_changed = 1;
        break;
    case PPI_TIMER:
        timer_arm();
        break;
    case SPI_UART:
        while (!(read32(UART_FR) & UART_FR_RXFE))
            uart_put(read32(UART_DR) & 0xFF);
        break;
    case SPI_DOORBELL:
        doorbell = 1;
        break;
    default:
        record->errors++;
    }
    dsb(); /* the device has taken its request back before the interrupt ends */
    write_sysreg(ICC_EOIR1_EL1, iar);
    isb();
}

void handle_fault(u32 cpu, u64 esr, u64 elr)
{
    if (cpu < MAX_CPUS) {
        records[cpu].fault_esr = esr;
        records[cpu].fault_elr = elr;
        records[cpu].errors++;
    }
    print_cpu(cpu, " fault\r\n");
    for (;;)
        wfi();
}

static u32 next_online(u32 cpu)
{
    u64 online = mailbox->online;
    u64 above = cpu < 63 ? online >> (cpu + 1) << (cpu + 1) : 0;

    return __builtin_ctzl(above ? above : online);
}

/* Interrupts are masked on entry and on return, and open in between. */
static void pass_token(u32 cpu)
{
    int lost;

    irq_unmask();
    lost = registers_lost((u64)cpu << 32 | mailbox->rounds);
    irq_mask();
    if (lost)
        records[cpu].errors++;
    log_queue(cpu);
    token[cpu] = 0;
    icc_send_sgi(SGI_TOKEN, next_online(cpu));
}

/* Arriving and leaving */

static int cpu_init(u32 cpu, u64 *rd_base)
{
    u64 mpidr = read_sysreg(MPIDR_EL1);
    u32 enable = 1u << SGI_TOKEN | 1u << SGI_LEAVE | 1u << SGI_STATE;

    records[cpu].state = STATE_BOOTING;
    records[cpu].boots++;
    records[cpu].mpidr = mpidr;
    token[cpu] = leave[cpu] = 0;
    *rd_base = gicr_find(mpidr);
    if (!*rd_base)
        return 0;
    if (!(mailbox->flags & FLAG_NO_TIMER))
        enable |= 1u << PPI_TIMER;
    gicr_init(*rd_base, enable);
    if (!icc_init())
        return 0;
    if (!(mailbox->flags & FLAG_NO_TIMER))
        timer_arm();
    return 1;
}

static void cpu_leave(u32 cpu, u64 rd_base)
{
    records[cpu].state = STATE_LEAVING;
    write_sysreg(CNTV_CTL_EL0, 0);
    icc_disable();
    gicr_sleep(rd_base);
    icc_send_sgi(SGI_STATE, 0);
    psci_call(PSCI_CPU_OFF, 0, 0, 0);
    records[cpu].errors++; /* CPU_OFF returns only on failure */
    for (;;)
        wfi();
}

void secondary_main(u32 cpu)
{
    u64 rd_base;

    if (!cpu_init(cpu, &rd_base)) {
        records[cpu].errors++;
        icc_send_sgi(SGI_STATE, 0);
        psci_call(PSCI_CPU_OFF, 0, 0, 0);
        for (;;)
            wfi();
    }
    records[cpu].state = STATE_ONLINE;
    icc_send_sgi(SGI_STATE, 0);
    for (;;) {
        if (leave[cpu])
            cpu_leave(cpu, rd_base);
        else if (token[cpu])
            pass_token(cpu);
        else
            wfi(); /* wakes up for a masked interrupt as well, so none is missed between test and sleep */
        irq_window();
    }
}

/* CPU 0 only, with the token in hand, from here on. */

static u64 mpidr_of(u32 cpu) { return (cpu / 16) << 8 | cpu % 16; }

static int powered(u32 cpu)
{
    int state = psci_call(PSCI_AFFINITY_INFO, mpidr_of(cpu), 0, 0);

    return state == PSCI_AFFINITY_ON || state == PSCI_AFFINITY_ON_PENDING;
}

static void wait_for_state_change(void)
{
    for (; !state_changed; irq_window())
        wfi();
    state_changed = 0;
}

static void start_cpu(u32 cpu)
{
    int result = psci_call(PSCI_CPU_ON, mpidr_of(cpu), (u64)secondary_start, cpu);

    if (result == PSCI_ALREADY_ON)
        records[0].errors++;
    if (result != PSCI_SUCCESS)
        return; /* absent: the host may plug it later */
    wait_for_state_change();
    if (records[cpu].state != STATE_ONLINE) {
        records[cpu].state = STATE_OFF;
        records[0].errors++;
        return;
    }
    mailbox->online |= BIT(cpu);
    print_cpu(cpu, " online\r\n");
}

static void eject_cpu(u32 cpu)
{
    mailbox->online &= ~BIT(cpu);
    if (uart_cpu == cpu)
        gicd_route(SPI_UART, uart_cpu = 0);
    icc_send_sgi(SGI_LEAVE, cpu);
    wait_for_state_change();
    while (powered(cpu))
        ;
    records[cpu].state = STATE_OFF;
    log_queue(cpu);
    log_queue(0);
    mailbox->ejected |= BIT(cpu);
    print_cpu(cpu, " offline\r\n");
}

static void start_present_cpus(void)
{
    u64 unwanted = mailbox->eject_request | mailbox->online;

    for (u32 cpu = 1; cpu < max_cpus; cpu++)
        if (!(unwanted & BIT(cpu)))
            start_cpu(cpu);
}

static void log_all(void)
{
    for (u32 cpu = 0; cpu < max_cpus; cpu++)
        log_queue(cpu);
}

static void serve_doorbell(void)
{
    u64 request = mailbox->eject_request;

    log_queue(0);
    doorbell = 0;
    if (mailbox->quit) {
        log_all();
        print("off\r\n");
        psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
        for (;;)
            wfi();
    }
    for (u32 cpu = 1; cpu < max_cpus; cpu++)
        if (request & mailbox->online & BIT(cpu))
            eject_cpu(cpu);
    mailbox->ejected &= request;
    start_present_cpus();
}

static void clear_mailbox(void)
{
    mailbox->magic = 0;
    mailbox->online = BIT(0);
    mailbox->ejected = 0;
    mailbox->rounds = 0;
    delivery_log->count = 0;
    for (u64 offset = 0; offset < MAX_CPUS * RECORD_SIZE; offset += 8)
        write64(MAILBOX_ADDRESS + RECORDS_OFFSET + offset, 0);
}

void boot_main(void)
{
    u64 rd_base;

    clear_mailbox();
    uart_init();
    print("gicv3 smp guest\r\n");
    max_cpus = mailbox->max_cpus ? mailbox->max_cpus : DEFAULT_CPUS;
    if (max_cpus > MAX_CPUS)
        max_cpus = MAX_CPUS;
    timer_period = mailbox->timer_period ? mailbox->timer_period : read_sysreg(CNTFRQ_EL0) / 100;
    gicd_init();
    if (!cpu_init(0, &rd_base)) {
        records[0].errors++;
        print("no redistributor or no system registers\r\n");
        for (;;)
            wfi();
    }
    records[0].state = STATE_ONLINE;
    gicd_enable_spi(SPI_UART, 0, 0);
    gicd_enable_spi(SPI_DOORBELL, 1, 0);
    start_present_cpus();
    mailbox->magic = MAGIC;

    token[0] = 1; /* it starts at home: round 0 begins without a delivery */
    for (;;) {
        while (token[0]) {
            u32 work = mailbox->work;

            if (doorbell) {
                serve_doorbell();
            } else if (!work || mailbox->rounds < work) {
                gicd_route(SPI_UART, uart_cpu = next_online(uart_cpu));
                pass_token(0);
            } else {
                log_all();
                wfi();
                irq_window();
            }
        }
        wfi();
        irq_window();
        if (token[0])
            mailbox->rounds++;
    }
}
