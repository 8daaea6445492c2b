// The oracle's agent: a bare-metal AArch64 guest that executes a queue of operations kept in shared RAM.
//
// Every PE runs this image. The PE named by the operation at `pc` executes it and writes back what it saw; the others
// wait, so the operations of all PEs happen in one strict order and a run replays exactly. A PE waits at the highest
// implemented Exception level ("base") with interrupts masked and goes down to the operation's own level for that one
// operation: an interrupt that lower levels cannot mask is then taken inside the operation that met it, never while
// waiting.
//
// Header at HEADER (all little endian):
//   +0x000 u32 pc        next operation; bumped by the PE that executed it, or by the host for an operation no PE owns
//   +0x040 u32 end       operations before this index may run; written last by the host
//   +0x080 u32 ncpu      PEs to start; written by the host before reset
//   +0x084 u32 stubs     STUBS_MAGIC once the system-register stubs are built
//   +0x100 u64 ready[i]  0x100 | base EL
//   +0x1000 + 128 * i    ring of PE i: u64 count, u64 slot[8]: the INTIDs it acknowledged and has not given back
// Operation (64 bytes, at OPS + 64 * index):
//   +0x00 u16 kind, u16 cpu, u8 el, u8 flags, u8 depth, u8 unused
//   +0x08 u32 encoding (op1:CRn:CRm:op2, op0 = 3), u32 unused
//   +0x10 u64 address     +0x18 u64 value in     +0x20 u32 SCR_EL3, u32 HCR_EL2
//   +0x28 u64 value out   +0x30 u64 ESR, bits 63:60 the EL that took the exception (0: none)
//   +0x38 u16 ISR_EL1 after the operation; u8 at +0x3c phase (0 not started, 1 started, 2 finished);
//         u8 at +0x3d interrupts taken: bit 2 * EL for an IRQ to that EL, bit 2 * EL + 1 for an FIQ
// flags: 1 push what was read (if it is no special INTID) on the ring; 2 the value in is the ring entry `depth` below the top
//        (1023: none); 4 pop the ring.

#define HEADER          0x40210000
#define STUBS           0x40240000      // 16384 x (MSR, RET), then 16384 x (MRS, RET)
#define OPS             0x40400000
#define STUBS_MAGIC     0x53525347

#define HDR_PC          0x000
#define HDR_END         0x040
#define HDR_NCPU        0x080
#define HDR_STUBS       0x084
#define HDR_READY       0x100
#define HDR_RINGS       0x1000

#define OP_KIND         0x00
#define OP_CPU          0x02
#define OP_EL           0x04
#define OP_FLAGS        0x05
#define OP_DEPTH        0x06
#define OP_ENC          0x08
#define OP_ADDR         0x10
#define OP_VALUE        0x18
#define OP_SCR          0x20
#define OP_HCR          0x24
#define OP_OUT          0x28
#define OP_ESR          0x30
#define OP_STATE        0x38

#define FLAG_PUSH       0
#define FLAG_USE        1
#define FLAG_POP        2

#define EC_HVC64        0x16
#define EC_SMC64        0x17
#define PSCI_CPU_ON     0xc4000003

// x16 ISR_EL1  x17 phase  x18 has EL2  x19 header  x20 operations  x21 this PE  x22 pc  x23 operation  x24 base EL
// x25 SCR_EL3 now  x26 HCR_EL2 now  x27 interrupts taken  x28 ESR  x29 ring.  Exception handlers use x9..x12.

        .arch   armv8-a
        .text
        .globl  _start
_start:
        mrs     x24, CurrentEL
        lsr     x24, x24, #2
        ldr     x19, =HEADER
        ldr     x20, =OPS
        mrs     x9, mpidr_el1
        and     x21, x9, #0xff
        ubfx    x9, x9, #8, #8
        add     x21, x21, x9, lsl #4            // 16 PEs in a cluster
        mrs     x18, id_aa64pfr0_el1
        ubfx    x18, x18, #8, #4
        mov     x25, #-1
        mov     x26, #-1

        adrp    x9, vectors_el1
        add     x9, x9, :lo12:vectors_el1
        msr     vbar_el1, x9
        cmp     x24, #2
        b.lo    1f
        cbz     x18, 2f
        adrp    x9, vectors_el2
        add     x9, x9, :lo12:vectors_el2
        msr     vbar_el2, x9
2:      b.eq    1f
        adrp    x9, vectors_el3
        add     x9, x9, :lo12:vectors_el3
        msr     vbar_el3, x9
1:      msr     daifset, #0xf
        isb

        add     x29, x19, #HDR_RINGS
        add     x29, x29, x21, lsl #7
        str     xzr, [x29]

        cbnz    x21, ready
        bl      build_stubs
        cmp     x24, #3                         // with EL3 every PE starts by itself
        b.eq    ready
        mov     x6, #1
1:      ldr     w9, [x19, #HDR_NCPU]
        cmp     x6, x9
        b.hs    ready
        ldr     x0, =PSCI_CPU_ON
        and     x1, x6, #0xf
        lsr     x9, x6, #4
        orr     x1, x1, x9, lsl #8
        adr     x2, _start
        mov     x3, #0
        cmp     x24, #2
        b.eq    2f
        hvc     #0
        b       3f
2:      smc     #0
3:      add     x6, x6, #1
        b       1b

ready:
        add     x9, x19, #HDR_READY
        orr     x10, x24, #0x100
        str     x10, [x9, x21, lsl #3]
        b       poll

// Builds one MSR and one MRS for every op0 = 3 encoding; RAM survives a reset, so once is enough.
build_stubs:
        ldr     w9, [x19, #HDR_STUBS]
        ldr     w10, =STUBS_MAGIC
        cmp     w9, w10
        b.eq    2f
        ldr     x1, =STUBS
        add     x2, x1, #0x20000
        ldr     w3, =0xd5180000                 // MSR S3_0_c0_c0_0, X0
        ldr     w4, =0xd5380000                 // MRS X0, S3_0_c0_c0_0
        ldr     w5, =0xd65f03c0                 // RET
        mov     w6, #0x4000
1:      stp     w3, w5, [x1], #8
        stp     w4, w5, [x2], #8
        add     w3, w3, #0x20
        add     w4, w4, #0x20
        subs    w6, w6, #1
        b.ne    1b
        isb
        str     w10, [x19, #HDR_STUBS]
2:      ret

idle:
        yield
poll:
        ldar    w22, [x19]
        add     x9, x19, #HDR_END
        ldar    w10, [x9]
        cmp     w22, w10
        b.hs    idle
        add     x23, x20, x22, lsl #6
        ldrh    w9, [x23, #OP_CPU]
        cmp     w9, w21
        b.ne    idle

        mov     x16, #0
        mov     x17, #0
        mov     x27, #0
        mov     x28, #0
        cmp     w24, #2
        b.lo    do_op
        b.eq    1f
        ldr     w9, [x23, #OP_SCR]
        cmp     x9, x25
        b.eq    1f
        mov     x25, x9
        msr     scr_el3, x9
        isb
1:      cbz     x18, 2f
        ldr     w9, [x23, #OP_HCR]
        cmp     x9, x26
        b.eq    2f
        mov     x26, x9
        msr     hcr_el2, x9
        isb
2:      ldrb    w9, [x23, #OP_EL]
        cmp     w9, w24
        b.hs    do_op
        lsl     w9, w9, #2
        mov     w10, #0x3c1                     // D, A, I, F masked; SP_ELx
        orr     w9, w9, w10
        adr     x10, do_op
        cmp     w24, #3
        b.eq    3f
        msr     spsr_el2, x9
        msr     elr_el2, x10
        eret
3:      msr     spsr_el3, x9
        msr     elr_el3, x10
        eret

do_op:
        mov     w17, #1
        ldr     x0, [x23, #OP_VALUE]
        ldr     x1, [x23, #OP_ADDR]
        ldr     w2, [x23, #OP_ENC]
        ldrb    w3, [x23, #OP_FLAGS]
        tbz     w3, #FLAG_USE, 1f
        ldrb    w4, [x23, #OP_DEPTH]
        ldr     x5, [x29]
        subs    x5, x5, x4
        mov     x0, #1023
        b.ls    1f
        sub     x5, x5, #1
        and     x5, x5, #7
        add     x5, x5, #1
        ldr     x0, [x29, x5, lsl #3]
1:      ldrh    w4, [x23, #OP_KIND]
        adr     x5, kinds
        add     x5, x5, x4, lsl #2
        br      x5

kinds:  b       op_end                          // 0 only look at ISR_EL1
        b       op_mrs                          // 1
        b       op_msr                          // 2
        b       op_r8                           // 3
        b       op_r16                          // 4
        b       op_r32                          // 5
        b       op_r64                          // 6
        b       op_w8                           // 7
        b       op_w16                          // 8
        b       op_w32                          // 9
        b       op_w64                          // 10
        b       op_window                       // 11

op_mrs: ldr     x5, =(STUBS + 0x20000)
        b       1f
op_msr: ldr     x5, =STUBS
1:      add     x5, x5, x2, lsl #3
        blr     x5
        b       op_end
op_r8:  ldrb    w0, [x1]
        b       op_end
op_r16: ldrh    w0, [x1]
        b       op_end
op_r32: ldr     w0, [x1]
        b       op_end
op_r64: ldr     x0, [x1]
        b       op_end
op_w8:  strb    w0, [x1]
        b       op_end
op_w16: strh    w0, [x1]
        b       op_end
op_w32: str     w0, [x1]
        b       op_end
op_w64: str     x0, [x1]
        b       op_end
op_window:
        msr     daifclr, #3
        nop
        nop
        msr     daifset, #3
        b       op_end

op_end:
        mrs     x16, isr_el1
        mov     w17, #2
        mrs     x9, CurrentEL
        lsr     x9, x9, #2
        cmp     w9, w24
        b.eq    done
        cmp     w24, #3
        b.eq    1f
        hvc     #0
1:      smc     #0

done:
        str     x0, [x23, #OP_OUT]
        str     x28, [x23, #OP_ESR]
        orr     x16, x16, x17, lsl #32
        orr     x16, x16, x27, lsl #40
        str     x16, [x23, #OP_STATE]
        cbz     w17, 3f
        cbnz    x28, 3f
        ldrb    w3, [x23, #OP_FLAGS]
        ldr     x5, [x29]
        tbz     w3, #FLAG_PUSH, 2f
        cmp     x0, #1020
        b.lo    5f
        cmp     x0, #1023
        b.ls    2f
5:      and     x6, x5, #7
        add     x6, x6, #1
        str     x0, [x29, x6, lsl #3]
        add     x5, x5, #1
2:      tbz     w3, #FLAG_POP, 4f
        cbz     x5, 4f
        sub     x5, x5, #1
4:      str     x5, [x29]
3:      add     w22, w22, #1
        stlr    w22, [x19]
        b       poll

        .ltorg

// An exception to EL \el. A fault inside an operation is noted and its instruction skipped. An interrupt taken from the
// level it belongs to closes that operation's window; one taken from a lower level ends the operation, as that level
// could not mask it.
        .macro  handlers el
sync_el\el:
        mrs     x9, esr_el\el
        ubfx    x10, x9, #26, #6
        cmp     w24, #\el
        b.ne    1f
        cmp     x10, #EC_HVC64
        b.eq    done
        cmp     x10, #EC_SMC64
        b.eq    done
1:      mov     x10, #\el
        orr     x28, x9, x10, lsl #60
        mrs     x9, elr_el\el
        add     x9, x9, #4
        msr     elr_el\el, x9
        eret
irq_el\el:
        orr     x27, x27, #(1 << (2 * \el))
        b       taken_el\el
fiq_el\el:
        orr     x27, x27, #(2 << (2 * \el))
taken_el\el:
        cbnz    w17, 1f
        mov     x0, #0
1:      mrs     x9, spsr_el\el
        ubfx    x10, x9, #2, #2
        cmp     x10, #\el
        b.ne    2f
        orr     x9, x9, #0xc0
        msr     spsr_el\el, x9
        eret
2:      cmp     w24, #\el
        b.eq    done
        smc     #0
        .endm

        handlers 1
        handlers 2
        handlers 3

        .macro  vector target
        .balign 0x80
        b       \target
        .endm

        .macro  vectors el
        .balign 0x800
vectors_el\el:
        .rept   4
        vector  sync_el\el
        vector  irq_el\el
        vector  fiq_el\el
        vector  sync_el\el
        .endr
        .endm

        vectors 1
        vectors 2
        vectors 3
