/* SPDX-License-Identifier: MIT */
/* Entry points and exception vectors. Non-secure EL1, MMU off, one 4 KiB stack per CPU. */

#define STACK_SHIFT 12
#define MAX_CPUS 64

    .section .text.start, "ax"
    .global _start
_start:                                 /* boot CPU: the first byte of the image */
    msr     daifset, #0xf
    ldr     x1, =bss_start
    ldr     x2, =bss_end
1:  cmp     x1, x2
    b.hs    2f
    stp     xzr, xzr, [x1], #16
    b       1b
2:  mov     x0, #0
    ldr     x3, =boot_main
    b       enter

    .global secondary_start
secondary_start:                        /* PSCI CPU_ON comes here with the CPU number in x0 */
    msr     daifset, #0xf
    ldr     x3, =secondary_main
enter:
    msr     spsel, #1
    ldr     x1, =stacks
    add     x2, x0, #1
    add     x1, x1, x2, lsl #STACK_SHIFT
    mov     sp, x1
    ldr     x1, =vectors
    msr     vbar_el1, x1
    isb
    blr     x3
1:  wfi                                 /* neither function returns */
    b       1b
    .ltorg

/* Interrupts do not nest and nothing uses FP registers: the caller-saved general registers are all there is to keep. */
irq_entry:
    stp     x0, x1, [sp, #-160]!
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x30, [sp, #144]
    mov     x0, sp                      /* whose stack it is tells the CPU number, without a system register */
    ldr     x1, =stacks
    sub     x0, x0, x1
    lsr     x0, x0, #STACK_SHIFT
    bl      handle_irq
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x30, [sp, #144]
    ldp     x0, x1, [sp], #160
    eret

fault_entry:
    mov     x0, sp
    ldr     x1, =stacks
    sub     x0, x0, x1
    lsr     x0, x0, #STACK_SHIFT
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    b       handle_fault
    .ltorg

    .balign 2048
vectors:
    .rept   5                           /* SP_EL0 (never used) and synchronous */
    b       fault_entry
    .balign 128
    .endr
    b       irq_entry
    .balign 128
    .rept   10                          /* FIQ, SError, lower Exception levels */
    b       fault_entry
    .balign 128
    .endr

/*
 * int registers_lost(u64 seed): the work between two deliveries. Spins with a different value in every general register
 * and with known flags; returns 1 if an interrupt taken meanwhile has not given all of them back.
 */
#define SPINS 100
    .text
    .global registers_lost
registers_lost:
    stp     x19, x20, [sp, #-112]!
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #96]
    .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    add     x\n, x0, #\n
    .endr
    mov     x0, #SPINS
    cmp     x1, x2                      /* less: N set, Z, C and V clear */
1:  sub     x0, x0, #1
    cbnz    x0, 1b
    b.pl    2f
    b.eq    2f
    b.cs    2f
    b.vs    2f
    ldr     x0, [sp, #96]
    .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    sub     x\n, x\n, #\n
    cmp     x\n, x0
    b.ne    2f
    .endr
    mov     x0, #0
    b       3f
2:  mov     x0, #1
3:  ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     x19, x20, [sp], #112
    ret

    .section .stacks, "aw", %nobits
    .balign 1 << STACK_SHIFT
    .global stacks
stacks:
    .space  MAX_CPUS << STACK_SHIFT
