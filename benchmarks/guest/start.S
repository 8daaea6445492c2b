/* Boot, vectors, and the one handler: acknowledge, end, count in x28. */
        .section .text.start
        .globl  secondary
        b       start                   /* a Linux Image: QEMU then serves PSCI */
        .word   0
        .quad   0x200000, 0x200000, 0, 0, 0, 0
        .ascii  "ARM\x64"
        .word   0
start:  mov     x0, #0
secondary:
        adr     x1, vectors
        msr     vbar_el1, x1
        adrp    x1, stacks
        add     x1, x1, :lo12:stacks
        add     x2, x0, #1
        add     x1, x1, x2, lsl #9
        mov     sp, x1
        mov     x28, #0
        isb
        cbz     x0, 1f
        bl      other
1:      bl      first
        b       .

        .balign 2048
vectors:
        .space  0x280
        mrs     x27, S3_0_C12_C12_0     /* ICC_IAR1_EL1 */
        msr     S3_0_C12_C12_1, x27     /* ICC_EOIR1_EL1 */
        add     x28, x28, #1
        eret
        .balign 2048
