/* See floor.h for what the floor is and what it leaves out. */
#include "floor.h"

#include <stdlib.h>
#include <string.h>

/* One array of pages from the system, zeroed, aligned to a cache line. */
static void *array(size_t count, size_t size)
{
    size_t bytes = (count * size + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

/* interrupts */

/*
 * The best of what is ready, from scratch: done only when the best one itself goes away. Costs one step per ready
 * private interrupt and one for all SPIs together.
 */
static inline void find_best(const floor_gic *gic, floor_vcpu *v)
{
    uint32_t ready = (v->level | v->latch) & v->enabled & ~v->active;
    uint32_t best = FLOOR_IDLE, intid = FLOOR_SPURIOUS;

    (void)gic;
    for (; ready; ready &= ready - 1) {
        uint32_t candidate = (uint32_t)__builtin_ctz(ready);
        if (v->priority[candidate] < best) {
            best = v->priority[candidate];
            intid = candidate;
        }
    }
    if (v->spi_priorities) {
        uint32_t bucket = (uint32_t)__builtin_ctz(v->spi_priorities);
        if (bucket * 8 < best) {
            best = bucket * 8;
            intid = v->spi_head[bucket];
        }
    }
    v->hppi_priority = (uint8_t)best;
    v->hppi = (uint16_t)intid;
}

/* The output: the best one passes the mask and preempts what runs. */
static inline void set_line(floor_vcpu *v)
{
    v->line = (v->hppi_priority < v->mask) & (v->hppi_priority < v->running);
}

/* A private interrupt became pending: one comparison. */
static inline void private_ready(floor_vcpu *v, uint32_t intid)
{
    uint32_t bit = UINT32_C(1) << intid;

    if (bit & v->enabled & ~v->active && v->priority[intid] < v->hppi_priority) {
        v->hppi_priority = v->priority[intid];
        v->hppi = (uint16_t)intid;
        set_line(v);
    }
}

static inline void set_ppi(floor_gic *gic, uint32_t pe, uint32_t intid, int level)
{
    floor_vcpu *v = &gic->vcpu[pe];
    uint32_t bit = UINT32_C(1) << intid;

    if (level) {
        v->level |= bit;
        private_ready(v, intid);
    } else {
        v->level &= ~bit;
        if (v->hppi == intid && !(v->latch & bit)) {
            find_best(gic, v);
            set_line(v);
        }
    }
}

static inline void list_push(floor_gic *gic, floor_vcpu *v, uint32_t intid)
{
    uint32_t bucket = gic->spi[intid].priority / 8, head = v->spi_head[bucket];

    gic->spi[intid].next = (uint16_t)head;
    gic->spi[intid].previous = 0;
    gic->spi[head].previous = (uint16_t)intid; /* record 0 belongs to no SPI: a write there needs no branch */
    v->spi_head[bucket] = (uint16_t)intid;
    v->spi_priorities |= UINT32_C(1) << bucket;
}

static inline void list_remove(floor_gic *gic, floor_vcpu *v, uint32_t intid)
{
    floor_spi *s = &gic->spi[intid];

    gic->spi[s->next].previous = s->previous;
    if (s->previous) {
        gic->spi[s->previous].next = s->next;
    } else {
        v->spi_head[s->priority / 8] = s->next;
        if (!s->next)
            v->spi_priorities &= ~(UINT32_C(1) << s->priority / 8);
    }
}

/* An SPI became pending: route, list, one comparison. */
static inline void spi_ready(floor_gic *gic, uint32_t intid)
{
    floor_spi *s = &gic->spi[intid];
    floor_vcpu *v = &gic->vcpu[s->route];

    list_push(gic, v, intid);
    if (s->priority < v->hppi_priority) {
        v->hppi_priority = s->priority;
        v->hppi = (uint16_t)intid;
        set_line(v);
    }
}

static inline void set_spi(floor_gic *gic, uint32_t intid, int level)
{
    floor_spi *s = &gic->spi[intid];

    if (s->level == level)
        return;
    s->level = (uint8_t)level;
    if (!s->enabled || s->active)
        return;
    if (level) {
        spi_ready(gic, intid);
    } else {
        floor_vcpu *v = &gic->vcpu[s->route];
        list_remove(gic, v, intid);
        if (v->hppi == intid) {
            find_best(gic, v);
            set_line(v);
        }
    }
}

/* Take the best one if the output is up: pending -> active, its priority runs, the next best is found. */
static inline uint32_t acknowledge(floor_gic *gic, uint32_t pe)
{
    floor_vcpu *v = &gic->vcpu[pe];
    uint32_t intid = v->hppi;

    if (!v->line)
        return FLOOR_SPURIOUS;
    if (intid < FLOOR_FIRST_SPI) {
        v->active |= UINT32_C(1) << intid;
        v->latch &= ~(UINT32_C(1) << intid);
    } else {
        gic->spi[intid].active = 1;
        list_remove(gic, v, intid);
    }
    v->active_priorities |= UINT32_C(1) << v->hppi_priority / 8;
    v->running = v->hppi_priority;
    find_best(gic, v);
    v->line = 0; /* whatever is left does not preempt what was the best */
    return intid;
}

/* Active -> inactive, or pending again when its level is still high; the priority below runs again. */
static inline void end(floor_gic *gic, uint32_t pe, uint32_t intid)
{
    floor_vcpu *v = &gic->vcpu[pe];

    v->active_priorities &= v->active_priorities - 1;
    v->running = v->active_priorities ? (uint8_t)(__builtin_ctz(v->active_priorities) * 8) : FLOOR_IDLE;
    if (intid < FLOOR_FIRST_SPI) {
        v->active &= ~(UINT32_C(1) << intid);
        if ((v->level | v->latch) >> intid & 1)
            private_ready(v, intid);
    } else {
        gic->spi[intid].active = 0;
        if (gic->spi[intid].level)
            spi_ready(gic, intid);
    }
    set_line(v);
}

/* The state `steps` draws after `seed`. */
static inline uint64_t skip(uint64_t seed, uint32_t steps)
{
    while (steps--)
        seed = floor_random(seed);
    return seed;
}

/* raise -> acknowledge -> lower -> end, on a random vCPU: what a timer does. `ahead` is 0 or FLOOR_AHEAD. */
static inline uint64_t ppi_cycles(floor_gic *gic, uint64_t seed, uint32_t count, uint32_t ahead, uint64_t *bad)
{
    uint64_t future = skip(seed, ahead);

    for (uint32_t i = 0; i < count; i++) {
        if (ahead) {
            future = floor_random(future);
            __builtin_prefetch(&gic->vcpu[floor_pick(future, gic->n_pe)], 1);
        }
        seed = floor_random(seed);
        uint32_t pe = floor_pick(seed, gic->n_pe), intid = floor_pick_ppi(seed);
        set_ppi(gic, pe, intid, 1);
        uint32_t got = acknowledge(gic, pe);
        set_ppi(gic, pe, intid, 0);
        end(gic, pe, got);
        *bad += got != intid;
    }
    return seed;
}

uint64_t floor_ppi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad)
{
    return ahead ? ppi_cycles(gic, seed, count, FLOOR_AHEAD, bad) : ppi_cycles(gic, seed, count, 0, bad);
}

/* The same for a random SPI, on the vCPU it is routed to: what a device does. */
static inline uint64_t spi_cycles(floor_gic *gic, uint64_t seed, uint32_t count, uint32_t ahead, uint64_t *bad)
{
    uint64_t future = skip(seed, ahead);

    for (uint32_t i = 0; i < count; i++) {
        if (ahead) {
            future = floor_random(future);
            const floor_vcpu *v = &gic->vcpu[gic->spi[FLOOR_FIRST_SPI + floor_pick(future, FLOOR_SPIS)].route];
            __builtin_prefetch(v, 1);
            __builtin_prefetch((const char *)v + 64, 1);
        }
        seed = floor_random(seed);
        uint32_t intid = FLOOR_FIRST_SPI + floor_pick(seed, FLOOR_SPIS), pe = gic->spi[intid].route;
        set_spi(gic, intid, 1);
        uint32_t got = acknowledge(gic, pe);
        set_spi(gic, intid, 0);
        end(gic, pe, got);
        *bad += got != intid;
    }
    return seed;
}

uint64_t floor_spi_cycle(floor_gic *gic, uint64_t seed, uint32_t count, int ahead, uint64_t *bad)
{
    return ahead ? spi_cycles(gic, seed, count, FLOOR_AHEAD, bad) : spi_cycles(gic, seed, count, 0, bad);
}

/* `depth` PPIs of a random vCPU pending at once, then taken one after the other. */
uint64_t floor_ppi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad)
{
    for (uint32_t i = 0; i < count; i++) {
        seed = floor_random(seed);
        uint32_t pe = floor_pick(seed, gic->n_pe), last = 0;
        for (uint32_t k = 0; k < depth; k++)
            set_ppi(gic, pe, FLOOR_FIRST_PPI + floor_nth(k, depth), 1);
        for (uint32_t k = 0; k < depth; k++) {
            uint32_t got = acknowledge(gic, pe);
            set_ppi(gic, pe, got & 31, 0);
            end(gic, pe, got);
            *bad += floor_priority(got) < last;
            last = floor_priority(got);
        }
        *bad += gic->vcpu[pe].line;
    }
    return seed;
}

/* `depth` SPIs pending at once on the one vCPU they are all routed to, then taken one after the other. */
uint64_t floor_spi_drain(floor_gic *gic, uint64_t seed, uint32_t depth, uint32_t count, uint64_t *bad)
{
    uint32_t pe = gic->spi[FLOOR_FIRST_SPI].route;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t last = 0;
        for (uint32_t k = 0; k < depth; k++)
            set_spi(gic, FLOOR_FIRST_SPI + floor_nth(k, depth), 1);
        for (uint32_t k = 0; k < depth; k++) {
            uint32_t got = acknowledge(gic, pe);
            set_spi(gic, got, 0);
            end(gic, pe, got);
            *bad += floor_priority(got) < last;
            last = floor_priority(got);
        }
        *bad += gic->vcpu[pe].line;
    }
    return seed;
}

void floor_spi_spread(floor_gic *gic, uint32_t count, uint64_t *bad)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t intid = FLOOR_FIRST_SPI; intid < FLOOR_FIRST_SPI + FLOOR_SPIS; intid++)
            set_spi(gic, intid, 1);
        for (uint32_t intid = FLOOR_FIRST_SPI; intid < FLOOR_FIRST_SPI + FLOOR_SPIS; intid++) {
            uint32_t pe = gic->spi[intid].route, got = acknowledge(gic, pe);
            set_spi(gic, got, 0);
            end(gic, pe, got);
            *bad += gic->spi[got].route != pe;
        }
    }
}

void floor_ppi_everywhere(floor_gic *gic, uint32_t count, uint64_t *bad)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t pe = 0; pe < gic->n_pe; pe++)
            set_ppi(gic, pe, FLOOR_FIRST_PPI + pe % 16, 1);
        for (uint32_t pe = 0; pe < gic->n_pe; pe++) {
            uint32_t got = acknowledge(gic, pe);
            set_ppi(gic, pe, got & 31, 0);
            end(gic, pe, got);
            *bad += got != FLOOR_FIRST_PPI + pe % 16;
        }
    }
}

/* broadcast */

void floor_broadcast(floor_gic *gic, uint32_t self, uint32_t sgi)
{
    for (uint32_t pe = 0; pe < gic->n_pe; pe++) {
        floor_vcpu *v = &gic->vcpu[pe];
        if (pe != self && v->accessible) {
            v->latch |= UINT32_C(1) << sgi;
            private_ready(v, sgi);
        }
    }
}

void floor_take_all(floor_gic *gic, uint32_t self, uint32_t sgi, uint64_t *bad)
{
    for (uint32_t pe = 0; pe < gic->n_pe; pe++) {
        if (pe == self)
            continue;
        uint32_t got = acknowledge(gic, pe);
        end(gic, pe, got);
        *bad += got != sgi;
    }
}

/* affinity */

static inline uint32_t hash_first(const floor_gic *gic, uint32_t key)
{
    return key * UINT32_C(0x9E3779B1) >> gic->hash_shift;
}

static inline int64_t lookup_hash(const floor_gic *gic, uint32_t key)
{
    uint32_t mask = (UINT32_C(1) << (32 - gic->hash_shift)) - 1;

    for (uint32_t i = hash_first(gic, key); gic->hash[i].index; i = (i + 1) & mask)
        if (gic->hash[i].key == key)
            return (int64_t)gic->hash[i].index - 1;
    return -1;
}

static inline int64_t lookup_dense(const floor_gic *gic, uint32_t key)
{
    return key < gic->dense_size ? (int64_t)gic->dense[key] - 1 : -1;
}

static inline int64_t lookup_scan(const floor_gic *gic, uint32_t key)
{
    for (uint32_t i = 0; i < gic->n_pe; i++)
        if (gic->affinities[i] == key)
            return i;
    return -1;
}

#define LOOKUP_LOOP(name)                                                                                              \
    uint64_t floor_##name(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)         \
    {                                                                                                                  \
        for (uint32_t i = 0; i < count; i++) {                                                                         \
            seed = floor_random(seed);                                                                                 \
            uint32_t pe = floor_pick(seed, gic->n_pe);                                                                 \
            *bad += name(gic, floor_affinity(mpidr[pe])) != pe;                                                        \
        }                                                                                                              \
        return seed;                                                                                                   \
    }

LOOKUP_LOOP(lookup_hash)
LOOKUP_LOOP(lookup_dense)
LOOKUP_LOOP(lookup_scan)

/* plug */

static void reset_vcpu(floor_vcpu *v)
{
    memset(v, 0, sizeof *v);
    v->hppi = FLOOR_SPURIOUS;
    v->hppi_priority = FLOOR_IDLE;
    v->running = FLOOR_IDLE;
}

/* What the benchmarks' guest sets up: everything enabled and unmasked. */
static void set_up_vcpu(floor_vcpu *v)
{
    reset_vcpu(v);
    v->accessible = 1;
    v->enabled = UINT32_MAX;
    v->mask = 0xF8;
    for (uint32_t intid = 0; intid < FLOOR_FIRST_SPI; intid++)
        v->priority[intid] = floor_priority(intid);
}

/*
 * Unplug a random vCPU and plug it in again: find it by affinity, (dis)connect it, reset its record. The vCPUs it
 * touched are left as a guest finds them, not as the other loops need them.
 */
uint64_t floor_plug_cycle(floor_gic *gic, const uint64_t *mpidr, uint64_t seed, uint32_t count, uint64_t *bad)
{
    for (uint32_t i = 0; i < count; i++) {
        seed = floor_random(seed);
        uint32_t pe = floor_pick(seed, gic->n_pe);
        int64_t found = lookup_hash(gic, floor_affinity(mpidr[pe]));
        *bad += found != pe || !gic->vcpu[pe].accessible;
        gic->cpu[found] = NULL;
        reset_vcpu(&gic->vcpu[found]);
        found = lookup_hash(gic, floor_affinity(mpidr[pe]));
        gic->cpu[found] = gic;
        reset_vcpu(&gic->vcpu[found]);
        gic->vcpu[found].accessible = 1;
    }
    return seed;
}

/* construction */

void floor_route(floor_gic *gic, uint32_t intid, uint32_t pe)
{
    gic->spi[intid].route = pe;
}

void floor_free(floor_gic *gic)
{
    if (!gic)
        return;
    free(gic->vcpu);
    free(gic->spi);
    free(gic->affinities);
    free(gic->hash);
    free(gic->dense);
    free((void *)gic->cpu);
    free(gic);
}

floor_gic *floor_new(uint32_t n_pe, const uint64_t *mpidr)
{
    floor_gic *gic = calloc(1, sizeof *gic);
    uint32_t bits = 1, largest = 0;

    if (!gic)
        return NULL;
    while (UINT32_C(1) << bits < 2 * n_pe) /* at most half full */
        bits++;
    for (uint32_t pe = 0; pe < n_pe; pe++)
        if (floor_affinity(mpidr[pe]) > largest)
            largest = floor_affinity(mpidr[pe]);
    gic->n_pe = n_pe;
    gic->hash_shift = 32 - bits;
    gic->dense_size = largest < UINT32_C(1) << 24 ? largest + 1 : 0;
    gic->vcpu = array(n_pe, sizeof *gic->vcpu);
    gic->spi = array(FLOOR_SPURIOUS + 1, sizeof *gic->spi);
    gic->affinities = array(n_pe, sizeof *gic->affinities);
    gic->hash = array((size_t)1 << bits, sizeof *gic->hash);
    gic->dense = gic->dense_size ? array(gic->dense_size, sizeof *gic->dense) : NULL;
    gic->cpu = array(n_pe, sizeof *gic->cpu);
    if (!gic->vcpu || !gic->spi || !gic->affinities || !gic->hash || (gic->dense_size && !gic->dense) || !gic->cpu) {
        floor_free(gic);
        return NULL;
    }
    for (uint32_t pe = 0; pe < n_pe; pe++) {
        uint32_t key = floor_affinity(mpidr[pe]), i = hash_first(gic, key);
        while (gic->hash[i].index)
            i = (i + 1) & ((UINT32_C(1) << bits) - 1);
        gic->hash[i].key = key;
        gic->hash[i].index = pe + 1;
        if (gic->dense)
            gic->dense[key] = pe + 1;
        gic->affinities[pe] = key;
        gic->cpu[pe] = gic;
        set_up_vcpu(&gic->vcpu[pe]);
    }
    for (uint32_t intid = FLOOR_FIRST_SPI; intid < FLOOR_FIRST_SPI + FLOOR_SPIS; intid++) {
        gic->spi[intid].priority = floor_priority(intid);
        gic->spi[intid].enabled = 1;
    }
    return gic;
}
