/*
 * The floor: the least work that is still a correct interrupt, in plain C.
 *
 * One record of 128 bytes per vCPU (two cache lines; private interrupts need only the first) and one of 16 bytes per
 * SPI. Correct means: the highest-priority pending and enabled interrupt is the one acknowledged; the priority mask and
 * the running priority hold it back; a line and a latch are kept apart; an active interrupt is not acknowledged again;
 * a level that is still high at the end of interrupt is pending again; the output line is right after every step.
 *
 * Left out, so that no real core can be below it: register decoding, system-register encodings, Security states,
 * Group 0, binary points, EOImode 1, edge-triggered inputs, 1-of-N, LPIs, virtualization, counters, callbacks, locks.
 */
#ifndef GICV3_FLOOR_H
#define GICV3_FLOOR_H

#include <stdint.h>

enum {
    FLOOR_IDLE = 0xFF,     /* the priority of nothing, and the running priority when nothing is active */
    FLOOR_SPURIOUS = 1023, /* what an acknowledge returns when there is nothing to acknowledge */
    FLOOR_FIRST_PPI = 16,
    FLOOR_FIRST_SPI = 32,
    FLOOR_SPIS = 988,
    FLOOR_AHEAD = 16,      /* cycles; 32 and 64 were no faster */
};

typedef struct {
    uint32_t enabled, level, latch, active; /* SGIs and PPIs, one bit each */
    uint32_t active_priorities;             /* bit n: an interrupt of priority 8n is active */
    uint32_t spi_priorities;                /* bit n: spi_head[n] is not empty */
    uint16_t hppi;                          /* highest-priority pending interrupt, FLOOR_SPURIOUS if none */
    uint8_t hppi_priority;
    uint8_t mask;                           /* PMR */
    uint8_t running;
    uint8_t line;                           /* the output */
    uint8_t accessible;
    uint8_t reserved;
    uint8_t priority[32];
    uint16_t spi_head[32];                  /* pending SPIs routed here, a list per priority; 0 ends it */
} floor_vcpu __attribute__((aligned(64)));

typedef struct {
    uint16_t next, previous;
    uint32_t route;
    uint8_t priority, enabled, level, active;
    uint32_t reserved;
} floor_spi;

typedef struct {
    uint32_t key, index; /* affinity Aff3.Aff2.Aff1.Aff0; index + 1, so that 0 is an empty slot */
} floor_slot;

typedef struct {
    uint32_t n_pe;
    uint32_t hash_shift;
    uint32_t dense_size;
    floor_vcpu *vcpu;
    floor_spi *spi;       /* by INTID */
    uint32_t *affinities; /* by index: what a linear scan reads */
    floor_slot *hash;
    uint32_t *dense;      /* by affinity: index + 1; NULL where the affinities are too sparse for one */
    const void **cpu;     /* by index: the vCPU plugged in */
} floor_gic;

/* Packed 32-bit form of an MPIDR: Aff3 moves down next to Aff2. */
static inline uint32_t floor_affinity(uint64_t mpidr)
{
    return (uint32_t)(mpidr & 0xFFFFFF) | (uint32_t)(mpidr >> 8 & 0xFF000000);
}

/* The one random sequence of every benchmark; the high half of the state is the good one. */
static inline uint64_t floor_random(uint64_t state)
{
    return state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
}

static inline uint32_t floor_pick(uint64_t state, uint32_t n)
{
    return (uint32_t)((state >> 32) * n >> 32);
}

static inline uint32_t floor_pick_ppi(uint64_t state)
{
    return FLOOR_FIRST_PPI + (uint32_t)(state >> 28 & 15);
}

/* Every side gives an INTID this priority: 16 different ones, five bits wide. */
static inline uint8_t floor_priority(uint32_t intid)
{
    return (uint8_t)(0x40 + (intid & 15) * 8);
}

/* Interrupt i of `depth` that become pending together: any order but the sorted one. */
static inline uint32_t floor_nth(uint32_t i, uint32_t depth)
{
    return i * 389 % depth; /* 389 is prime and divides no depth below it */
}

/* NULL when memory is short. mpidr has n_pe entries, all distinct. */
floor_gic *floor_new(uint32_t n_pe, const uint64_t *mpidr);
void floor_free(floor_gic *gic);
/* The wiring of the benchmarks, the same on both sides: SPI -> PE. */
void floor_route(floor_gic *gic, uint32_t intid, uint32_t pe);

/*
 * Each loop does `count` rounds from `seed` and adds to *bad how often a result was not the one expected.
 * The state after a loop is the state before it, but for floor_plug_cycle. Where a loop has `ahead`, it may ask for the
 * record of the vCPU that is FLOOR_AHEAD cycles away, as a loop can that knows which come next.
 */
uint64_t floor_ppi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad);
uint64_t floor_spi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad);
uint64_t floor_spi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad);
uint64_t floor_ppi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad);
/* All SPIs pending at once, each on its PE; a PPI pending on every PE at once: then all are taken. */
void floor_spi_spread(floor_gic *gic, uint32_t count, uint64_t *bad);
void floor_ppi_everywhere(floor_gic *gic, uint32_t count, uint64_t *bad);
uint64_t floor_lookup_hash(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad);
uint64_t floor_lookup_dense(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad);
uint64_t floor_lookup_scan(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad);
uint64_t floor_plug_cycle(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad);
/* One SGI from `self` to all others; then every receiver acknowledges and ends it. */
void floor_broadcast(floor_gic *gic, uint32_t self, uint32_t sgi);
void floor_take_all(floor_gic *gic, uint32_t self, uint32_t sgi, uint64_t *bad);

#endif
