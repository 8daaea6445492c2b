"""Unicorn vCPUs on a GICv3: `attach` for a Unicorn program of your own, `UnicornMachine` for a whole SMP machine.

Importing it needs Unicorn: ``pip install 'gicv3[unicorn]'``.
"""

try:
    import unicorn as _unicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "gicv3.unicorn needs the Unicorn engine, which is not installed: pip install 'gicv3[unicorn]' (unicorn>=2.1.4)"
    ) from error

from gicv3.unicorn.cpu import GuestCpu
from gicv3.unicorn.layout import reset
from gicv3.unicorn.machine import CPU_MODELS, Stop, UnicornMachine
from gicv3.unicorn.native import UnicornError
from gicv3.unicorn.port import UnicornPort, attach

__all__ = ["CPU_MODELS", "GuestCpu", "Stop", "UnicornError", "UnicornMachine", "UnicornPort", "attach", "reset"]
