/* The GIC from C: a struct of function pointers, found by `gicv3_import()`, or at the address `gicv3.capi.address()`.
 *
 * Explained in docs/c-api.md. In short: a handle is the address of a gicv3.GICv3 (its `handle`), good while that object
 * lives. Every function may be called from any thread, with or without Python's GIL; each takes the GIC's lock and
 * releases it before it runs callbacks. What is out of range is ignored: reads give 0.
 */
#ifndef GICV3_H
#define GICV3_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GICV3_API_VERSION 1      /* rises when a member changes; new ones are added at the end, and `size` tells */
#define GICV3_API_CAPSULE "gicv3._core.api"

/* The encoding of a system register: GICV3_SYSREG(3, 0, 12, 12, 0) is ICC_IAR1_EL1. */
#define GICV3_SYSREG(op0, op1, crn, crm, op2) ((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

/* Output lines of a PE */
enum {
    GICV3_IRQ = 1, GICV3_FIQ = 2, GICV3_VIRQ = 4, GICV3_VFIQ = 8,
    GICV3_NMI = 16, GICV3_VNMI = 32, GICV3_MAINT = 64, GICV3_WAKE = 128
};

/* What the architecture does with a system-register access */
enum { GICV3_VALUE, GICV3_UNDEFINED, GICV3_TRAP_EL2, GICV3_TRAP_EL3, GICV3_VIRTUAL };

typedef struct gicv3_handle gicv3_handle;

/* The lines of PE `pe` are now `lines`. Runs without the GIC's lock; it may call any function of the API, on_lines()
 * too, but must not release() the last reference to the GIC. */
typedef void (*gicv3_lines)(void *opaque, uint32_t pe, uint8_t lines);

/* In which state a PE executes: see GICv3.set_context */
typedef struct gicv3_context {
    uint64_t scr_el3, hcr_el2;
    uint32_t ich_hcr_el2;
    uint8_t el, secure, nmi_enabled, reserved;   /* reserved is 0 */
} gicv3_context;

typedef struct gicv3_api {
    uint32_t version;            /* GICV3_API_VERSION */
    uint32_t size;               /* bytes of this struct */

    /* These three take the GIL. `config` is a JSON object of GICv3Config's fields; on failure the result is NULL and
     * `error` (unless NULL) says why. Who creates or retains a GIC releases it. */
    gicv3_handle *(*create)(const char *config, char *error, size_t error_size);
    void (*retain)(gicv3_handle *gic);
    void (*release)(gicv3_handle *gic);

    uint32_t (*num_pe)(gicv3_handle *gic);
    int32_t (*proc_num)(gicv3_handle *gic, uint64_t mpidr);      /* PE with this affinity, or -1 */

    /* Memory-mapped registers: `size` is 1, 2, 4 or 8 bytes; `secure` is who asks */
    uint64_t (*mmio_read)(gicv3_handle *gic, uint64_t address, uint32_t size, int secure);
    void (*mmio_write)(gicv3_handle *gic, uint64_t address, uint64_t value, uint32_t size, int secure);
    /* frame: 0 GICD, 1 RD, 2 SGI, 3 GICM; `pe` names the redistributor */
    uint64_t (*frame_read)(gicv3_handle *gic, uint32_t frame, uint32_t pe, uint32_t offset, uint32_t size, int secure);
    void (*frame_write)(gicv3_handle *gic, uint32_t frame, uint32_t pe, uint32_t offset, uint64_t value, uint32_t size,
                        int secure);

    /* System registers: the result is GICV3_VALUE or what happens instead */
    uint32_t (*sysreg_read)(gicv3_handle *gic, uint32_t pe, uint32_t encoding, uint64_t *value);
    uint32_t (*sysreg_write)(gicv3_handle *gic, uint32_t pe, uint32_t encoding, uint64_t value);
    /* 0, and nothing done, when the PE has no such state */
    int (*set_context)(gicv3_handle *gic, uint32_t pe, const gicv3_context *context);

    /* Input wires; a pulse is up and down */
    void (*set_spi)(gicv3_handle *gic, uint32_t intid, int level);
    void (*pulse_spi)(gicv3_handle *gic, uint32_t intid);
    void (*set_ppi)(gicv3_handle *gic, uint32_t pe, uint32_t intid, int level);
    void (*pulse_ppi)(gicv3_handle *gic, uint32_t pe, uint32_t intid);

    /* Output lines: now; the PEs whose lines moved since they were last asked for, at most `room`; by callback */
    uint8_t (*lines)(gicv3_handle *gic, uint32_t pe);
    uint32_t (*changed)(gicv3_handle *gic, uint32_t *pes, uint32_t room);
    void (*on_lines)(gicv3_handle *gic, gicv3_lines callback, void *opaque);

    void (*set_accessible)(gicv3_handle *gic, uint32_t pe, int accessible);      /* plug or unplug the vCPU */
    void (*step)(gicv3_handle *gic, uint32_t steps);                             /* GICv3Config.settle_steps */
    void (*trace_time)(gicv3_handle *gic, uint64_t now);                         /* of the trace's next events */

    /* Guest memory for the tables of LPIs and ITSs: `data` stays valid until unmap_memory() or the end of the GIC. 0,
     * and nothing mapped, when the range is empty, ends beyond 52 bits, overlaps another, or 64 regions are mapped */
    int (*map_memory)(gicv3_handle *gic, uint64_t address, void *data, uint64_t size, int writable);
    void (*unmap_memory)(gicv3_handle *gic, uint64_t address);                   /* what map_memory() mapped there */
    /* An MSI: what a write of `event` to GITS_TRANSLATER of ITS `its` does that comes from DeviceID `device` */
    void (*msi)(gicv3_handle *gic, uint32_t its, uint32_t device, uint32_t event);
} gicv3_api;

#ifdef Py_PYTHON_H
/* The API, or NULL with a Python exception set. The GIL must be held. */
static inline const gicv3_api *gicv3_import(void)
{
    const gicv3_api *api = (const gicv3_api *)PyCapsule_Import(GICV3_API_CAPSULE, 0);
    if (api != NULL && (api->version != GICV3_API_VERSION || api->size < sizeof(gicv3_api))) {
        PyErr_Format(PyExc_ImportError,
                     "gicv3.h is of API version %d with %zu bytes, the installed gicv3 of %u with %u",
                     GICV3_API_VERSION, sizeof(gicv3_api), api->version, api->size);
        return NULL;
    }
    return api;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
