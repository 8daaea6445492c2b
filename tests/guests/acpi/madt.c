/* SPDX-License-Identifier: MIT */
/* ACPI tables as a guest finds them. With the MMU off nothing may be read unaligned. */
#include "acpi.h"
#include "sysreg.h"

#define SIGNATURE(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)
#define HEADER_SIZE 36
#define MADT_FIRST 44
#define GICC 0xB
#define GICC_ENABLED (1u << 0)
#define GICC_ONLINE_CAPABLE (1u << 3)
#define GICD 0xC
#define GICR 0xE

static u8 get8(u64 address) { return *(const volatile u8 *)address; }

static u64 get(u64 address, u32 size)
{
    u64 value = 0;

    for (u32 i = 0; i < size; i++)
        value |= (u64)get8(address + i) << 8 * i;
    return value;
}

static void check_sum(u64 address, u64 size)
{
    u8 sum = 0;

    for (u64 i = 0; i < size; i++)
        sum += get8(address + i);
    expect(sum == 0);
}

static u64 find_madt(u64 rsdp)
{
    u64 xsdt = get(rsdp + 24, 8), end = xsdt + get(xsdt + 4, 4);

    check_sum(rsdp, 36);
    check_sum(xsdt, end - xsdt);
    expect(get(rsdp, 4) == SIGNATURE('R', 'S', 'D', ' '));
    for (u64 entry = xsdt + HEADER_SIZE; entry < end; entry += 8) {
        u64 table = get(entry, 8);

        if (get(table, 4) == SIGNATURE('A', 'P', 'I', 'C'))
            return table;
    }
    return 0;
}

static void take_cpu(u64 entry, struct madt *madt)
{
    u32 uid = get(entry + 8, 4), flags = get(entry + 12, 4);

    if (uid >= 32) {
        fail();
        return;
    }
    if (flags & GICC_ENABLED)
        madt->enabled |= 1u << uid;
    if (flags & GICC_ONLINE_CAPABLE)
        madt->online_capable |= 1u << uid;
    madt->mpidr[uid] = get(entry + 68, 8);
    if (uid >= madt->cpus)
        madt->cpus = uid + 1;
}

void parse_madt(u64 rsdp, struct madt *madt)
{
    u64 table = find_madt(rsdp), end = table + get(table + 4, 4);

    check_sum(table, end - table);
    for (u64 entry = table + MADT_FIRST; entry < end; entry += get8(entry + 1)) {
        switch (get8(entry)) {
        case GICC:
            take_cpu(entry, madt);
            break;
        case GICD:
            madt->gicd = get(entry + 8, 8);
            break;
        case GICR:
            if (!madt->gicr)
                madt->gicr = get(entry + 4, 8);
            break;
        }
    }
    expect((madt->enabled & madt->online_capable) == 0);
}
