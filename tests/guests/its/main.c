/* SPDX-License-Identifier: MIT */
/*
 * A guest that takes LPIs on all its vCPUs. CPU 0 maps four devices of eight events each, LPI 8192 + 8 * device + event
 * first to the collection of CPU (device + event) % cpus, and raises them one by one: each has to arrive where it is
 * mapped, once. Every part is told on the UART as "name ok", or "name WRONG" with what came instead; then it switches
 * off. Every counter has one writer: the CPU that takes the LPI.
 */
#include "gic.h"
#include "its.h"
#include "psci.h"
#include "sysreg.h"

#define UARTDR 0x09000000ul
#define SGI_TAKEN 1 /* to CPU 0: another CPU has taken something */
#define CPUS 8
#define DEVICES 4
#define EVENTS 8
#define LPIS (DEVICES * EVENTS)
#define ROUNDS 8
#define PATIENCE 1000000 /* looks before an LPI counts as lost */

static volatile u32 taken[CPUS][LPIS];
static volatile u32 others[CPUS];
static volatile u32 online[CPUS];
static u64 redistributor[CPUS];
static u32 expected[CPUS][LPIS];
static u32 target[LPIS];
static u32 cpus;

extern char secondary_start[];

static void put(const char *text)
{
    while (*text)
        write32(UARTDR, (u32)*text++);
}

static void put_number(u64 value)
{
    if (value >= 10)
        put_number(value / 10);
    write32(UARTDR, '0' + value % 10);
}

static void put_wrong(const char *what, u32 cpu, u64 value, u64 instead)
{
    put("  cpu "), put_number(cpu), put(what), put_number(value), put(" is "), put_number(instead), put("\n");
}

void handle_irq(u64 cpu)
{
    u32 intid = (u32)read_sysreg(ICC_IAR1_EL1);

    if (intid >= FIRST_LPI && intid < FIRST_LPI + LPIS)
        taken[cpu][intid - FIRST_LPI]++;
    else if (intid != SGI_TAKEN)
        others[cpu]++;
    if (intid < INTID_SPURIOUS || intid >= FIRST_LPI)
        write_sysreg(ICC_EOIR1_EL1, intid);
    if (cpu && intid >= FIRST_LPI)
        icc_send_sgi(SGI_TAKEN, 0);
}

void handle_fault(u64 cpu, u64 esr, u64 elr)
{
    put("fault"), put_wrong(" ESR ", (u32)cpu, esr, elr);
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}

static void cpu_init(u32 cpu)
{
    redistributor[cpu] = gicr_find(read_sysreg(mpidr_el1));
    gicr_init(redistributor[cpu], 1u << SGI_TAKEN);
    icc_init();
    lpi_init(redistributor[cpu], cpu);
}

void secondary_main(u32 cpu)
{
    cpu_init(cpu);
    online[cpu] = 1;
    icc_send_sgi(SGI_TAKEN, 0);
    for (;;) {
        wfi();
        irq_window();
    }
}

/* What has been raised arrives, or CPU 0 runs out of patience. */
static void wait_on(u32 cpu, u32 lpi)
{
    expected[cpu][lpi]++;
    for (u32 i = 0; i < PATIENCE && taken[cpu][lpi] != expected[cpu][lpi]; i++) {
        irq_window();
        asm volatile("yield");
    }
}

static void wait_for(u32 lpi) { wait_on(target[lpi], lpi); }
static void raise(u32 lpi) { its_int(lpi / EVENTS, lpi % EVENTS); }

static void raise_all(void)
{
    for (u32 lpi = 0; lpi < LPIS; lpi++) {
        raise(lpi);
        wait_for(lpi);
    }
}

static void verdict(const char *part)
{
    u32 wrong = 0;

    put(part);
    for (u32 cpu = 0; cpu < cpus; cpu++) {
        wrong += others[cpu];
        for (u32 lpi = 0; lpi < LPIS; lpi++)
            wrong += taken[cpu][lpi] != expected[cpu][lpi];
    }
    put(wrong ? " WRONG\n" : " ok\n");
    for (u32 cpu = 0; cpu < cpus && wrong; cpu++) {
        if (others[cpu])
            put_wrong(" others ", cpu, 0, others[cpu]);
        for (u32 lpi = 0; lpi < LPIS; lpi++)
            if (taken[cpu][lpi] != expected[cpu][lpi])
                put_wrong(" LPI ", cpu, lpi, taken[cpu][lpi]);
    }
}

static void configure_all(int enable)
{
    for (u32 lpi = 0; lpi < LPIS; lpi++)
        lpi_configure(FIRST_LPI + lpi, enable);
    for (u32 cpu = 0; cpu < cpus; cpu++)
        its_invall(cpu);
}

static void map_all(void)
{
    for (u32 cpu = 0; cpu < cpus; cpu++)
        its_mapc(cpu, cpu, 1);
    for (u32 device = 0; device < DEVICES; device++)
        its_mapd(device, 1);
    for (u32 lpi = 0; lpi < LPIS; lpi++) {
        target[lpi] = (lpi / EVENTS + lpi) % cpus;
        its_mapti(lpi / EVENTS, lpi % EVENTS, FIRST_LPI + lpi, target[lpi]);
    }
    configure_all(1);
}

static void part_translater(void)
{
    for (u32 event = 0; event < EVENTS; event++) {
        its_translate(event);
        wait_for(event);
    }
    verdict("translater");
}

static void part_movi(void)
{
    for (u32 lpi = 0; lpi < LPIS; lpi++) {
        target[lpi] = (target[lpi] + 1) % cpus;
        its_movi(lpi / EVENTS, lpi % EVENTS, target[lpi]);
    }
    raise_all();
    verdict("movi");
}

/* Pending while disabled, moved, then enabled where they are. */
static void part_movall(void)
{
    configure_all(0);
    for (u32 lpi = 0; lpi < LPIS; lpi++)
        raise(lpi);
    for (u32 cpu = 1; cpu < cpus; cpu++)
        its_movall(cpu, 0);
    verdict("disabled");
    configure_all(1);
    for (u32 lpi = 0; lpi < LPIS; lpi++)
        wait_on(0, lpi);
    verdict("movall");
}

static void part_mapc(void)
{
    its_mapc(0, cpus - 1, 1);
    for (u32 lpi = 0; lpi < LPIS; lpi++) {
        raise(lpi);
        wait_on(target[lpi] ? target[lpi] : cpus - 1, lpi);
    }
    its_mapc(0, 0, 1);
    verdict("mapc");
}

static void part_clear(void)
{
    configure_all(0);
    raise(0);
    raise(9);
    its_clear(0, 0);
    its_discard(1, 1);
    configure_all(1);
    raise(9);
    its_mapti(1, 1, FIRST_LPI + 9, target[9]);
    raise(9);
    wait_for(9);
    verdict("clear");
}

/* What is pending when LPIs are disabled is in the pending table, and pending again when they are enabled. */
static void part_tables(void)
{
    u32 cpu = target[5];

    configure_all(0);
    raise(5);
    lpi_disable(redistributor[cpu]);
    if (!lpi_in_pending_table(cpu, FIRST_LPI + 5) || lpi_in_pending_table(cpu, FIRST_LPI + 6))
        others[0]++;
    configure_all(1);
    lpi_enable(redistributor[cpu]);
    wait_for(5);
    verdict("tables");
}

void boot_main(void)
{
    gicd_init();
    if (!its_init()) {
        put("no LPIs\n");
        psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
    }
    cpu_init(0);
    online[0] = 1;
    for (cpus = 1; cpus < CPUS && psci_call(PSCI_CPU_ON, cpus, (u64)secondary_start, cpus) == PSCI_SUCCESS; cpus++)
        while (!online[cpus])
            irq_window();
    put("cpus "), put_number(cpus), put("\n");
    map_all();
    for (u32 i = 0; i < ROUNDS; i++)
        raise_all();
    verdict("int");
    part_translater();
    part_movi();
    part_movall();
    part_mapc();
    part_clear();
    part_tables();
    put("end\n");
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}
