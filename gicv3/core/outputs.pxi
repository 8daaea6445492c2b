# Output lines as Python sees them.

class Line(IntFlag):
    """Output lines of a PE, as bits of its byte in `Gic.lines`."""

    IRQ = LINE_IRQ
    FIQ = LINE_FIQ
    VIRQ = LINE_VIRQ
    VFIQ = LINE_VFIQ
    NMI = LINE_NMI
    VNMI = LINE_VNMI
    MAINT = LINE_MAINT
    WAKE = LINE_WAKE
