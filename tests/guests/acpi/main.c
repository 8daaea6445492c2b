/* SPDX-License-Identifier: MIT */
/*
 * An operating system's part in vCPU hotplug by ACPI, without AML: brings up the CPUs that the MADT enables, then does
 * by itself what the methods of the DSDT do with the GED and the CPU hotplug registers.
 */
#include "acpi.h"
#include "gic.h"
#include "psci.h"
#include "sysreg.h"

#define GED 0x09080000ul
#define GED_CPU (1u << 3)
#define CPUHP 0x090C0000ul
#define SELECTOR (CPUHP + 0)
#define DATA2 (CPUHP + 0)
#define FLAGS (CPUHP + 4)
#define COMMAND (CPUHP + 5)
#define DATA (CPUHP + 8)
#define FLAG_ENABLED (1u << 0)
#define FLAG_INSERTING (1u << 1)
#define FLAG_REMOVING (1u << 2)
#define FLAG_EJECT (1u << 3)
#define NEXT_EVENT 0
#define OST_EVENT 1
#define OST_STATUS 2
#define ARCH_ID 3

#define OST_INSERTION 0x200
#define OST_EJECTION 3
#define OST_SUCCESS 0
#define OST_IN_USE 0x81

#define PSCI_DENIED (-3)
#define PSCI_AFFINITY_OFF 1
#define ALL_SGIS 0xFFFFu
#define SGI_GO_OFF 1

void secondary_start(void);

static struct madt madt;
static volatile u8 online[MAX_CPUS], leave[MAX_CPUS];

static u32 read8(u64 address) { return *(const volatile u8 *)address; }

static u64 my_mpidr(void) { return read_sysreg(MPIDR_EL1) & 0xFF00FFFFFF; }

static u32 flags_of(u32 slot)
{
    write32(SELECTOR, slot);
    return read8(FLAGS);
}

static void open_interrupts(void)
{
    u64 redistributor = gicr_find(my_mpidr());

    expect(redistributor != 0);
    gicr_init(redistributor, ALL_SGIS);
    expect(icc_init());
}

static void bring_up(u32 cpu)
{
    expect(psci_call(PSCI_CPU_ON, madt.mpidr[cpu], (u64)secondary_start, cpu) == PSCI_SUCCESS);
    while (!online[cpu])
        ;
    shared->online |= 1u << cpu;
}

/* An ejection of what may not go: nothing happens. */
static void try_to_eject(u32 slot)
{
    u32 before = flags_of(slot);

    write8(FLAGS, FLAG_EJECT);
    if (read8(FLAGS) == before)
        shared->kept++;
    else
        fail();
}

static void report(u32 slot, u32 event, u32 status)
{
    write32(SELECTOR, slot);
    write8(COMMAND, OST_EVENT);
    write32(DATA, event);
    write8(COMMAND, OST_STATUS);
    write32(DATA, status);
}

static void insert(u32 slot)
{
    write8(FLAGS, FLAG_INSERTING);
    expect(read8(FLAGS) == FLAG_ENABLED);
    write8(COMMAND, ARCH_ID);
    expect(((u64)read32(DATA2) << 32 | read32(DATA)) == madt.mpidr[slot]);
    bring_up(slot);
    shared->inserted++;
    report(slot, OST_INSERTION, OST_SUCCESS);
}

static void remove(u32 slot)
{
    write8(FLAGS, FLAG_REMOVING);
    expect(read8(FLAGS) == FLAG_ENABLED);
    if (shared->decline & 1u << slot) {
        report(slot, OST_EJECTION, OST_IN_USE);
        /* The request is over: now it may not go even when it is off. */
        try_to_eject(slot);
        return;
    }
    try_to_eject(slot); /* it still runs */
    leave[slot] = 1;
    icc_send_sgi(SGI_GO_OFF, slot);
    while (psci_call(PSCI_AFFINITY_INFO, madt.mpidr[slot], 0, 0) != PSCI_AFFINITY_OFF)
        ;
    shared->online &= ~(1u << slot);
    write32(SELECTOR, slot);
    write8(FLAGS, FLAG_EJECT);
    expect(read8(FLAGS) == 0);
    expect(psci_call(PSCI_CPU_ON, madt.mpidr[slot], (u64)secondary_start, slot) == PSCI_DENIED);
    shared->ejected++;
    report(slot, OST_EJECTION, OST_SUCCESS);
}

static void scan(void)
{
    for (;;) {
        u32 flags, slot;

        write8(COMMAND, NEXT_EVENT);
        flags = read8(FLAGS);
        slot = read32(DATA);
        if (flags & FLAG_INSERTING)
            insert(slot);
        else if (flags & FLAG_REMOVING)
            remove(slot);
        else
            return;
    }
}

void handle_irq(u64 cpu)
{
    u32 intid = read_sysreg(ICC_IAR1_EL1);

    if (intid >= INTID_SPURIOUS)
        return;
    if (intid == GED_INTID) {
        expect(cpu == 0);
        if (read32(GED) & GED_CPU) {
            shared->events++;
            scan();
        }
        expect(read32(GED) == 0);
    }
    write_sysreg(ICC_EOIR1_EL1, intid);
    isb();
}

void handle_fault(u64 cpu, u64 esr, u64 elr)
{
    (void)cpu;
    shared->fault_esr = esr;
    shared->fault_elr = elr;
    fail();
    for (;;)
        wfi();
}

void secondary_main(u64 cpu)
{
    expect(my_mpidr() == madt.mpidr[cpu]);
    leave[cpu] = 0;
    open_interrupts();
    online[cpu] = 1;
    while (!leave[cpu]) {
        wfi();
        irq_window();
    }
    online[cpu] = 0;
    icc_disable();
    gicr_sleep(gicr_find(my_mpidr()));
    psci_call(PSCI_CPU_OFF, 0, 0, 0);
    fail();
}

void boot_main(void)
{
    parse_madt(shared->rsdp, &madt);
    shared->enabled = madt.enabled;
    shared->online_capable = madt.online_capable;
    expect(madt.gicd == 0x08000000 && madt.gicr == 0x080A0000);
    expect(my_mpidr() == madt.mpidr[0]);
    gicd_init();
    open_interrupts();
    shared->online = 1;
    for (u32 cpu = 1; cpu < madt.cpus; cpu++) {
        if (madt.enabled & 1u << cpu) {
            bring_up(cpu);
            try_to_eject(cpu);
        } else if (psci_call(PSCI_CPU_ON, madt.mpidr[cpu], (u64)secondary_start, cpu) == PSCI_DENIED) {
            shared->denied++;
        }
    }
    try_to_eject(0);
    gicd_enable_spi(GED_INTID, 1, 0);
    shared->ready = MAGIC;
    while (!shared->quit) {
        wfi();
        irq_window();
    }
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}
