/*
 * What one interrupt costs: the same image on QEMU and on UnicornMachine, timed by its own counter, told on its UART
 * as lines of "name rounds ticks" (hexadecimal), the frequency first. The handler in start.S counts in x28.
 */
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define UARTDR ((volatile u32 *)0x09000000)
#define GICD 0x08000000ul
#define GICR 0x080a0000ul
#define GICR_HIGH 0x4000000000ul
#define GICR_LOW_CPUS 123
#define REG(address) (*(volatile u32 *)(address))
#define REG64(address) (*(volatile u64 *)(address))
#define GITS 0x08080000ul
#define SPI 40
#define LPI 8192
#define MAX_CPUS 512

#define READ(name) ({ u64 v; __asm__ volatile("mrs %0, " name : "=r"(v)); v; })
#define WRITE(name, value) __asm__ volatile("msr " name ", %0" :: "r"((u64)(value)) : "memory")
#define ICC_PMR "S3_0_C4_C6_0"
#define ICC_IAR1 "S3_0_C12_C12_0"
#define ICC_EOIR1 "S3_0_C12_C12_1"
#define ICC_SGI1R "S3_0_C12_C11_5"
#define ICC_IGRPEN1 "S3_0_C12_C12_7"
#define UNMASK() __asm__ volatile("msr daifclr, #2\n isb" ::: "memory")
#define MASK() __asm__ volatile("msr daifset, #2" ::: "memory")
#define WFI() __asm__ volatile("wfi" ::: "memory")

/* Tables of LPIs and of the ITS, behind image and stacks; zero from the start. */
#define CONFIGURATION 0x40280000ul
#define PENDING 0x40290000ul
#define DEVICES 0x402a0000ul
#define COLLECTIONS 0x402b0000ul
#define QUEUE 0x402c0000ul
#define ITT 0x402d0000ul
#define VALID (1ull << 63)

/* The handler changes it: read anew at each use. */
#define taken ({ u64 v; __asm__ volatile("mov %0, x28" : "=r"(v)); v; })
char stacks[MAX_CPUS + 1][512] __attribute__((aligned(16)));
extern char secondary[];

static volatile u32 online, broadcast;
static u32 arrived;
static u32 cpus;          /* set in first(): the image has no .data */

static u64 psci(u64 function, u64 x1, u64 x2, u64 x3)
{
    register u64 r0 __asm__("x0") = function;
    register u64 r1 __asm__("x1") = x1;
    register u64 r2 __asm__("x2") = x2;
    register u64 r3 __asm__("x3") = x3;
    __asm__ volatile("hvc #0" : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3) :: "memory");
    return r0;
}

static void put(const char *text)
{
    while (*text)
        *UARTDR = *text++;
}

static void put_hex(u64 value)
{
    char digits[18] = " ";
    for (int i = 0; i < 16; i++)
        digits[1 + i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    digits[17] = 0;
    put(digits);
}

static u64 affinity(u32 cpu)
{
    return (cpu >> 4) << 8 | (cpu & 15);
}

static u64 sgi(u32 cpu, u64 intid)
{
    u64 a = affinity(cpu);
    return (a >> 8 & 0xff) << 16 | 1ull << (a & 15) | intid << 24;
}

static u64 redistributor(u32 cpu)
{
    return cpu < GICR_LOW_CPUS ? GICR + cpu * 0x20000ul : GICR_HIGH + (cpu - GICR_LOW_CPUS) * 0x20000ul;
}

static void open_interface(u32 cpu)
{
    u64 frame = redistributor(cpu);
    REG(frame + 0x14) = 0;                      /* GICR_WAKER */
    while (REG(frame + 0x14) & 4)
        ;
    REG(frame + 0x10080) = 0xffffffff;          /* GICR_IGROUPR0 */
    REG(frame + 0x10100) = 0xffff;              /* GICR_ISENABLER0 */
    WRITE(ICC_PMR, 0xf0);
    WRITE(ICC_IGRPEN1, 1);
    __asm__ volatile("isb");
}

/* Queues a command of three doublewords and rings. */
static void command(u64 word0, u64 word1, u64 word2)
{
    static u32 at;
    REG64(QUEUE + at) = word0;
    REG64(QUEUE + at + 8) = word1;
    REG64(QUEUE + at + 16) = word2;
    at = (at + 32) & 0xfff;
    __asm__ volatile("dsb sy" ::: "memory");
    REG(GITS + 0x88) = at;                      /* GITS_CWRITER */
}

/* Event 0 of device 0 is LPI 8192 at CPU 0; 16 bits of INTID. */
static void open_its(void)
{
    *(volatile uint8_t *)CONFIGURATION = 0xa1;
    REG64(GICR + 0x70) = CONFIGURATION | 15;    /* GICR_PROPBASER */
    REG64(GICR + 0x78) = PENDING;               /* GICR_PENDBASER */
    REG(GICR) = 1;                              /* GICR_CTLR.EnableLPIs */
    REG64(GITS + 0x100) = VALID | DEVICES;      /* GITS_BASER0 */
    REG64(GITS + 0x108) = VALID | COLLECTIONS;  /* GITS_BASER1 */
    REG64(GITS + 0x80) = VALID | QUEUE;         /* GITS_CBASER */
    REG(GITS) = 1;                              /* GITS_CTLR */
    command(0x08, 4, VALID | ITT);              /* MAPD */
    command(0x09, 0, VALID);                    /* MAPC */
    command(0x0a, (u64)LPI << 32, 0);           /* MAPTI */
}

static u32 add_one(u32 *word)
{
    u32 value, failed;
    do
        __asm__ volatile("ldxr %w0, [%2]\n add %w0, %w0, #1\n stxr %w1, %w0, [%2]"
                         : "=&r"(value), "=&r"(failed) : "r"(word) : "memory");
    while (failed);
    return value;
}

void other(u64 cpu)
{
    open_interface(cpu);
    online = online + 1;
    for (;;) {
        u64 before = taken;
        WFI();
        UNMASK();
        MASK();
        if (taken != before && (!broadcast || add_one(&arrived) == cpus - 1))
            WRITE(ICC_SGI1R, sgi(0, 2));
    }
}

static void wait_for(u64 count)
{
    while (taken < count) {
        WFI();
        UNMASK();
        MASK();
    }
}

#define MEASURE(name, rounds, before, each) do { \
    before; \
    u64 start = READ("cntvct_el0"); \
    for (u32 i = 0; i < (rounds); i++) { each; } \
    u64 ticks = READ("cntvct_el0") - start; \
    put(name); put_hex(rounds); put_hex(ticks); put("\n"); \
} while (0)

void first(void)
{
    u64 goal = 0;
    cpus = 1;
    u64 self = sgi(0, 1);
    REG(GICD) = 0x12;                           /* GICD_CTLR: ARE, Group 1 */
    REG(GICD + 0x84) = 0xffffffff;              /* GICD_IGROUPR1 */
    REG(GICD + 0xc08) = 0xaaaaaaaa;             /* GICD_ICFGR2: edges */
    REG(GICD + 0x104) = 1 << (SPI - 32);        /* GICD_ISENABLER1 */
    open_interface(0);
    put("frequency"); put_hex(READ("cntfrq_el0")); put_hex(0); put("\n");
    MEASURE("polled SGI", 200000, , WRITE(ICC_SGI1R, self); __asm__ volatile("isb");
            u64 intid; do intid = READ(ICC_IAR1); while (intid == 1023); WRITE(ICC_EOIR1, intid));
    MEASURE("ICC_PMR read", 1000000, , READ(ICC_PMR));
    MEASURE("GICD_TYPER read", 1000000, , (void)REG(GICD + 4));
    UNMASK();
    MEASURE("SGI to self", 200000, goal = taken, WRITE(ICC_SGI1R, self); goal++; while (taken < goal) ;);
    MEASURE("SPI by ISPENDR", 200000, goal = taken, REG(GICD + 0x204) = 1 << (SPI - 32); goal++; while (taken < goal) ;);
    if (REG(GICD + 4) >> 17 & 1) {              /* GICD_TYPER.LPIS */
        open_its();
        MEASURE("LPI by INT", 5000, goal = taken, command(0x03, 0, 0); goal++; while (taken < goal) ;);
    }
    MASK();
    while (psci(0xc4000003, affinity(cpus), (u64)secondary, cpus) == 0) {
        cpus++;
        while (online + 1 < cpus)
            __asm__ volatile("yield");
    }
    if (cpus > 1) {
        u64 partner = sgi(1, 1);
        MEASURE("ping-pong", cpus == 2 ? 50000 : 100, goal = taken, WRITE(ICC_SGI1R, partner); wait_for(++goal));
        broadcast = 1;
        u32 rounds = cpus > 64 ? 20 : 40000 / cpus;
        MEASURE("broadcast", rounds, goal = taken, arrived = 0; WRITE(ICC_SGI1R, 1ull << 40 | 1 << 24); wait_for(++goal));
    }
    put("end\n");
    psci(0x84000008, 0, 0, 0);
}
