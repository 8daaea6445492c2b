# Output lines as Python sees them.

class Line(IntFlag):
    """Output lines of a PE, as bits of its byte in `Gic.lines`.

    IRQ, FIQ : interrupts that the PE takes, by the Exception of that name.
    VIRQ, VFIQ, VNMI : virtual interrupts; the virtual CPU interface is not emulated: always low.
    NMI : in place of IRQ: the interrupt is non-maskable and the PE's SCTLR_ELx.NMI is set (`set_context`).
    MAINT : the virtual CPU interface asks its hypervisor for maintenance; always low, as it is not emulated.
    WAKE : an interrupt waits for a PE that asked to sleep (GICR_WAKER.ProcessorSleep): power it up.
    """

    IRQ = LINE_IRQ
    FIQ = LINE_FIQ
    VIRQ = LINE_VIRQ
    VFIQ = LINE_VFIQ
    NMI = LINE_NMI
    VNMI = LINE_VNMI
    MAINT = LINE_MAINT
    WAKE = LINE_WAKE
