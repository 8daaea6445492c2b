/* SPDX-License-Identifier: MIT */
/* Boot, the MMU, exception entry and return with all registers, and the change from one task to another. */

#define FRAME 800
#define STACKS_SHIFT 15                 /* of one CPU: its tasks', and the last one's end for booting and idling */

#define MAIR 0x04FF                     /* 0 is Normal write-back, 1 is Device-nGnRE */
#define TCR 0x2B5193519                 /* twice 39 bits, 4 KiB pages, inner shareable, write-back; 40-bit PA */
#define CPACR_FPEN (3 << 20)
#define SCTLR_M_C_I 0x1005

    .section .text.start, "ax"
    .global _start, secondary_start
_start:
    mov     x0, #0
secondary_start:                        /* PSCI CPU_ON comes here with the CPU number in x0 */
    msr     daifset, #0xf
    msr     spsel, #1
    mov     x19, x0
    ldr     x1, =kernel_stacks
    add     x2, x0, #1
    add     x1, x1, x2, lsl #STACKS_SHIFT
    mov     sp, x1
    ldr     x1, =vectors
    msr     vbar_el1, x1
    mov     x1, #CPACR_FPEN
    msr     cpacr_el1, x1
    isb
    cbnz    x0, 1f
    bl      make_kernel_tables
1:  ldr     x1, =MAIR
    msr     mair_el1, x1
    ldr     x1, =TCR
    msr     tcr_el1, x1
    ldr     x1, =kernel_tables
    msr     ttbr0_el1, x1
    add     x1, x1, #4096
    msr     ttbr1_el1, x1
    dsb     sy
    tlbi    vmalle1
    dsb     sy
    isb
    mrs     x1, sctlr_el1
    ldr     x2, =SCTLR_M_C_I
    orr     x1, x1, x2
    msr     sctlr_el1, x1
    isb
    mov     x0, x19
    bl      kernel_main
    b       .
    .ltorg

    .macro  save
    sub     sp, sp, #FRAME
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x0, sp_el0
    stp     x30, x0, [sp, #240]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #256]
    mrs     x0, fpcr
    mrs     x1, fpsr
    stp     x0, x1, [sp, #272]
    add     x0, sp, #288
    st1     {v0.2d-v3.2d}, [x0], #64
    st1     {v4.2d-v7.2d}, [x0], #64
    st1     {v8.2d-v11.2d}, [x0], #64
    st1     {v12.2d-v15.2d}, [x0], #64
    st1     {v16.2d-v19.2d}, [x0], #64
    st1     {v20.2d-v23.2d}, [x0], #64
    st1     {v24.2d-v27.2d}, [x0], #64
    st1     {v28.2d-v31.2d}, [x0]
    mov     x0, sp
    .endm

irq_entry:
    save
    bl      handle_irq
    b       leave
sync_entry:
    save
    bl      handle_sync
leave:
    mov     x0, sp
    bl      before_return
    .global return_to_user
return_to_user:                         /* or to wherever the frame on the stack says */
    add     x0, sp, #288
    ld1     {v0.2d-v3.2d}, [x0], #64
    ld1     {v4.2d-v7.2d}, [x0], #64
    ld1     {v8.2d-v11.2d}, [x0], #64
    ld1     {v12.2d-v15.2d}, [x0], #64
    ld1     {v16.2d-v19.2d}, [x0], #64
    ld1     {v20.2d-v23.2d}, [x0], #64
    ld1     {v24.2d-v27.2d}, [x0], #64
    ld1     {v28.2d-v31.2d}, [x0]
    ldp     x0, x1, [sp, #272]
    msr     fpcr, x0
    msr     fpsr, x1
    ldp     x0, x1, [sp, #256]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldp     x30, x0, [sp, #240]
    msr     sp_el0, x0
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldp     x0, x1, [sp]
    add     sp, sp, #FRAME
    eret

bad_entry:
    save
    bl      handle_bad
    b       .

    .balign 2048
vectors:
    .irp    handler, bad, irq, bad, bad, sync, irq, bad, bad, sync, irq, bad, bad, bad, bad, bad, bad
    b       \handler\()_entry
    .balign 128
    .endr

    .text
    .global switch_to
switch_to:
    stp     x19, x20, [x0]
    stp     x21, x22, [x0, #16]
    stp     x23, x24, [x0, #32]
    stp     x25, x26, [x0, #48]
    stp     x27, x28, [x0, #64]
    stp     x29, x30, [x0, #80]
    mov     x2, sp
    str     x2, [x0, #96]
    ldp     x19, x20, [x1]
    ldp     x21, x22, [x1, #16]
    ldp     x23, x24, [x1, #32]
    ldp     x25, x26, [x1, #48]
    ldp     x27, x28, [x1, #64]
    ldp     x29, x30, [x1, #80]
    ldr     x2, [x1, #96]
    mov     sp, x2
    ret

    /* Sleeps on SP_EL0 until an interrupt, which comes to another vector than those of kernel and user. */
    .global sleep
sleep:
    mov     x0, sp
    msr     sp_el0, x0
    msr     spsel, #0
    wfi
    msr     daifclr, #2
    isb
    msr     daifset, #2
    mov     x1, sp
    msr     spsel, #1
    sub     x0, x0, x1                  /* 0: the interrupt has given it back */
    ret

    .global window_load
window_load:
    ldr     x0, [x0]
    ret

    /* What a handler that uses FP does to those it interrupts. */
    .global spoil_fp
spoil_fp:
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    movi    v\n\().16b, #0xa5
    .endr
    mov     x0, #0x0c00000              /* round to zero */
    msr     fpcr, x0
    msr     fpsr, xzr
    ret
