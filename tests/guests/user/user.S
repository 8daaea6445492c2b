/* SPDX-License-Identifier: MIT */
/*
 * The program of every task, at EL0: a round of system calls, faults and FP, each checked, for ever.
 *
 * What an exception has to say is in x19 (ESR), x20 (FAR, where there is one), x21 (ELR) and x22 (SPSR) when it comes;
 * the kernel compares, and clears x19. Entered with the task's number in x28.
 */

#define SVC_ROUND 1                     /* a round is done: x0 = its number, or no return */
#define SVC_PING 2                      /* an SGI to another CPU and one back */
#define SVC_NEST 3                      /* interrupts that preempt each other */
#define SVC_SPI 4
#define SVC_WINDOW 5                    /* EL1 faults, and another CPU sees the page that was mapped */
#define SVC_RELEASE 6                   /* all pages go */
#define SVC_YIELD 7
#define SVC_FAIL 8                      /* x0 = line */
#define SVC_PATCH 9                     /* the function that is called next returns one more */

#define USER 0x80000000
#define KERNEL 0x40200000
#define PAGE 4096
#define SPINS 40

#define ESR_SVC 0x56000000
#define ESR_BRK 0xF2000000
#define ESR_UNDEFINED 0x02000000
#define ESR_DATA_ABORT 0x92000000
#define ESR_FETCH_ABORT 0x82000000
#define WRITE 0x40
#define TRANSLATION_3 0x07
#define ACCESS_FLAG_3 0x0B
#define PERMISSION_1 0x0D
#define PERMISSION_3 0x0F
#define ALIGNMENT 0x21

    .macro  set register, value
    movz    \register, #(\value) & 0xFFFF
    movk    \register, #(\value) >> 16 & 0xFFFF, lsl #16
    .endm

    /* The next instruction makes an exception that comes back to the one that is `back` bytes behind it. */
    .macro  expect esr, flags, back=0
    set     x19, \esr
    movz    x22, #\flags << 12, lsl #16
    adr     x21, 9f + \back
    msr     nzcv, x22
9:
    .endm

    .macro  call number, flags
    expect  ESR_SVC + \number, \flags, 4
    svc     #\number
    .endm

    .macro  check condition
    b.\condition 9f
    mov     x0, #__LINE__
    b       failed
9:
    .endm

    .section .user, "ax"
    .balign PAGE
    .global user_start, user_end
user_start:
round:
    call    SVC_ROUND, 5
    mov     x27, x0

    /* Every FP register has a value of this task and round while others run. */
    add     x1, x27, x28, lsl #48
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     x2, x1, #\n * 16
    mvn     x3, x2
    fmov    d\n, x2
    mov     v\n\().d[1], x3
    .endr
    and     x2, x28, #3
    lsl     x2, x2, #22                 /* FPCR.RMode */
    msr     fpcr, x2
    and     x3, x27, #0x1f
    msr     fpsr, x3
    mov     x4, #SPINS
1:  subs    x4, x4, #1
    b.ne    1b
    call    SVC_YIELD, 10
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add     x2, x1, #\n * 16
    fmov    x5, d\n
    cmp     x5, x2
    b.ne    lost
    mov     x5, v\n\().d[1]
    mvn     x2, x2
    cmp     x5, x2
    b.ne    lost
    .endr
    mrs     x5, fpcr
    lsl     x2, x28, #62
    cmp     x5, x2, lsr #40
    check   eq
    mrs     x5, fpsr
    cmp     x5, x3
    check   eq

    /* A third, rounded as this task rounds. */
    fmov    d0, #1.0
    fmov    d1, #3.0
    fdiv    d2, d0, d1
    fmov    x5, d2
    set     x2, 0x55555555
    add     x2, x2, x2, lsl #32
    movk    x2, #0x3fd5, lsl #48
    and     x6, x28, #3
    cmp     x6, #1                      /* towards plus infinity */
    cinc    x2, x2, eq
    cmp     x5, x2
    check   eq
    mrs     x5, fpsr
    tst     x5, #0x10                   /* inexact */
    check   ne

    /* Pages that are not there, or not for this. */
    set     x20, USER + 4 * PAGE + 0x128
    expect  ESR_DATA_ABORT + TRANSLATION_3, 8
    ldr     x5, [x20]
    cmp     x5, #0
    check   eq
    str     x27, [x20]
    ldr     x5, [x20]
    cmp     x5, x27
    check   eq
    set     x20, USER + 5 * PAGE + 0xff8
    expect  ESR_DATA_ABORT + WRITE + PERMISSION_3, 4
    str     x27, [x20]
    ldr     x5, [x20]
    cmp     x5, x27
    check   eq
    set     x20, USER + 6 * PAGE
    expect  ESR_DATA_ABORT + ACCESS_FLAG_3, 2
    ldr     q3, [x20]
    fmov    x5, d3
    cmp     x5, #0
    check   eq

    /* Code that is new each time. */
    set     x20, USER + 7 * PAGE + 0x40
    expect  ESR_FETCH_ABORT + TRANSLATION_3, 1, 4
    mov     x21, x20
    blr     x20
    and     x5, x27, #0xffff
    cmp     x0, x5
    check   eq
    call    SVC_PATCH, 12
    blr     x20
    add     x5, x5, #1
    cmp     x0, x5
    check   eq
    set     x20, USER + 8 * PAGE
    expect  ESR_FETCH_ABORT + PERMISSION_3, 6, 4
    mov     x21, x20
    blr     x20
    and     x5, x27, #0xffff
    cmp     x0, x5
    check   eq

    /* What EL0 may not do: the kernel steps over it. */
    set     x20, KERNEL
    expect  ESR_DATA_ABORT + PERMISSION_1, 3
    ldr     x5, [x20]
    expect  ESR_DATA_ABORT + WRITE + PERMISSION_1, 3
    str     x5, [x20]
    add     x20, sp, #-60
    expect  ESR_DATA_ABORT + ALIGNMENT, 9
    ldxr    x5, [x20]
    expect  ESR_UNDEFINED, 15
    .inst   0
    expect  ESR_UNDEFINED, 0
    mrs     x5, sctlr_el1
    expect  ESR_UNDEFINED, 0
    mrs     x5, S3_0_C12_C12_0          /* ICC_IAR1_EL1 */
    expect  ESR_BRK + 7, 7
    brk     #7

    mov     x6, sp
    call    SVC_NEST, 1
    call    SVC_SPI, 2
    call    SVC_WINDOW, 4
    call    SVC_PING, 8
    call    SVC_RELEASE, 0
    mov     x5, sp
    cmp     x5, x6
    check   eq
    b       round

lost:
    mov     x0, #__LINE__
failed:
    svc     #SVC_FAIL
    b       .
user_end:
