/* An embedder's plain C: no Python.h, only gicv3.h and the address of the API. */
#include "gicv3.h"

static const gicv3_api *api;

struct log {
    gicv3_handle *gic;
    uint32_t count;
    uint32_t answer;             /* a PPI to lower from inside the callback, 0 for none */
    struct { uint32_t pe; uint32_t lines; } entry[64];
};

int plain_use(uint64_t address)
{
    api = (const gicv3_api *)(uintptr_t)address;
    return api->version == GICV3_API_VERSION && api->size >= sizeof(gicv3_api);
}

static void record(void *opaque, uint32_t pe, uint8_t lines)
{
    struct log *log = opaque;
    if (log->count < 64) {
        log->entry[log->count].pe = pe;
        log->entry[log->count].lines = lines;
    }
    log->count++;
    if (log->answer && lines)
        api->set_ppi(log->gic, pe, log->answer, 0);
}

void plain_listen(gicv3_handle *gic, struct log *log) { log->gic = gic; api->on_lines(gic, record, log); }
void plain_ignore(gicv3_handle *gic) { api->on_lines(gic, NULL, NULL); }
void plain_raise(gicv3_handle *gic, uint32_t pe, uint32_t intid, int level) { api->set_ppi(gic, pe, intid, level); }

/* Acknowledge and end what a PE has, as its vCPU loop would; the number taken, the last INTID in `last`. */
uint32_t plain_take(gicv3_handle *gic, uint32_t pe, uint64_t *last)
{
    uint32_t taken = 0;
    while (api->lines(gic, pe) & GICV3_IRQ) {
        if (api->sysreg_read(gic, pe, GICV3_SYSREG(3, 0, 12, 12, 0), last) != GICV3_VALUE)
            break;
        api->sysreg_write(gic, pe, GICV3_SYSREG(3, 0, 12, 12, 1), *last);
        taken++;
    }
    return taken;
}

/* Give the GIC `size` bytes of guest memory, and let ITS 0 translate an MSI with what is in them. */
int plain_map(gicv3_handle *gic, uint64_t address, void *data, uint64_t size, int writable)
{
    return api->map_memory(gic, address, data, size, writable);
}

void plain_unmap(gicv3_handle *gic, uint64_t address) { api->unmap_memory(gic, address); }
void plain_msi(gicv3_handle *gic, uint32_t its, uint32_t device, uint32_t event) { api->msi(gic, its, device, event); }

gicv3_handle *plain_create(const char *config, char *error, size_t size) { return api->create(config, error, size); }
void plain_release(gicv3_handle *gic) { api->release(gic); }
uint32_t plain_size(void) { return sizeof(gicv3_api); }
uint32_t plain_context_size(void) { return sizeof(gicv3_context); }
