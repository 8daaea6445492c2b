/* SPDX-License-Identifier: MIT */
/* The memory that host and guest share. gicv3/guests/__init__.py holds the same numbers; a test compares the two. */
#ifndef MAILBOX_H
#define MAILBOX_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#define LOAD_ADDRESS 0x40200000
#define MAILBOX_ADDRESS 0x40100000
#define MAGIC 0x47494356
#define MAX_CPUS 64
#define DEFAULT_CPUS 8
#define FLAG_NO_TIMER 1
#define RECORDS_OFFSET 0x100
#define RECORD_SIZE 64
#define LOG_OFFSET 0x2000
#define LOG_ENTRIES_OFFSET 0x2010
#define LOG_CAPACITY 65536

#define SGI_TOKEN 0 /* the ring: whoever takes it holds the token */
#define SGI_LEAVE 1 /* boot CPU to a CPU that is to be ejected */
#define SGI_STATE 2 /* to the boot CPU: "my record's state has changed" */
#define PPI_TIMER 27
#define SPI_UART 33
#define SPI_DOORBELL 41

enum cpu_state { STATE_OFF = 0, STATE_BOOTING = 1, STATE_ONLINE = 2, STATE_LEAVING = 3 };

/* Written by the CPU it describes only; by the boot CPU while that CPU is off. */
struct record {
    u32 state;
    u32 sgi, ppi, spi; /* interrupts taken, by class */
    u32 spurious;      /* IAR reads of 1020..1023 */
    u32 total;         /* sgi + ppi + spi */
    u32 boots;
    u32 errors;
    u64 mpidr;
    u64 last_iar;
    u32 log_lost;  /* deliveries that are not in the log because this CPU's queue was full */
    u32 fault_esr; /* ESR_EL1 and ELR_EL1 of an exception that should not have happened */
    u64 fault_elr;
};

/* Each word has one writer, so no word needs an atomic update. */
struct mailbox_page {
    u32 magic;         /* guest: MAGIC once all CPUs present at boot are online */
    u32 max_cpus;      /* host, before start: possible CPUs, 0 means DEFAULT_CPUS */
    u32 quit;          /* host: 1 asks for SYSTEM_OFF */
    u32 work;          /* host: rounds of the ring wanted, 0 is forever; may be raised later */
    u64 eject_request; /* host: CPUs that are to leave; they are not started again while their bit is set */
    u64 ejected;       /* guest: requested CPUs that are off; a bit goes when the host takes its request back */
    u64 online;        /* guest */
    u32 timer_period;  /* host, before start: counter ticks, 0 means a hundredth of a second */
    u32 rounds;        /* guest: times the token has come home to CPU 0 */
    u32 flags;         /* host, before start */
};

struct log_page {
    u32 count; /* entries written; stays at LOG_CAPACITY when full */
    u32 reserved[3];
    u32 entries[LOG_CAPACITY]; /* cpu << 24 | INTID */
};

#define mailbox ((volatile struct mailbox_page *)MAILBOX_ADDRESS)
#define records ((volatile struct record *)(MAILBOX_ADDRESS + RECORDS_OFFSET))
#define delivery_log ((volatile struct log_page *)(MAILBOX_ADDRESS + LOG_OFFSET))

_Static_assert(sizeof(struct record) == RECORD_SIZE, "record size");
_Static_assert(__builtin_offsetof(struct mailbox_page, flags) == 0x30, "mailbox layout");
_Static_assert(__builtin_offsetof(struct log_page, entries) == LOG_ENTRIES_OFFSET - LOG_OFFSET, "log layout");

#endif
