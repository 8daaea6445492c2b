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

/* Interrupts do not nest and handlers use no FP registers: the caller-saved general registers are all there is to keep. */
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

    .section .stacks, "aw", %nobits
    .balign 1 << STACK_SHIFT
    .global stacks
stacks:
    .space  MAX_CPUS << STACK_SHIFT
