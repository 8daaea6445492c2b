"""The C API for programs that are not Cython: where its header is, its address, and its functions for ctypes."""

from __future__ import annotations

import ctypes
import json
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from gicv3._core import api_address
from gicv3.errors import ConfigError
from gicv3.gic import GICv3, GICv3Config

VERSION = 1
"""GICV3_API_VERSION of the header."""

Lines = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_uint8)
"""gicv3_lines: called with (opaque, PE, lines)."""


class Context(ctypes.Structure):
    """gicv3_context: in which state a PE executes."""

    _fields_ = (
        ("scr_el3", c_uint64),
        ("hcr_el2", c_uint64),
        ("ich_hcr_el2", c_uint32),
        ("el", c_uint8),
        ("secure", c_uint8),
        ("nmi_enabled", c_uint8),
        ("reserved", c_uint8),
    )


_GIC = c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "create": (c_void_p, c_char_p, c_char_p, c_size_t),
    "retain": (None, _GIC),
    "release": (None, _GIC),
    "num_pe": (c_uint32, _GIC),
    "proc_num": (c_int32, _GIC, c_uint64),
    "mmio_read": (c_uint64, _GIC, c_uint64, c_uint32, c_int),
    "mmio_write": (None, _GIC, c_uint64, c_uint64, c_uint32, c_int),
    "frame_read": (c_uint64, _GIC, c_uint32, c_uint32, c_uint32, c_uint32, c_int),
    "frame_write": (None, _GIC, c_uint32, c_uint32, c_uint32, c_uint64, c_uint32, c_int),
    "sysreg_read": (c_uint32, _GIC, c_uint32, c_uint32, POINTER(c_uint64)),
    "sysreg_write": (c_uint32, _GIC, c_uint32, c_uint32, c_uint64),
    "set_context": (c_int, _GIC, c_uint32, POINTER(Context)),
    "set_spi": (None, _GIC, c_uint32, c_int),
    "pulse_spi": (None, _GIC, c_uint32),
    "set_ppi": (None, _GIC, c_uint32, c_uint32, c_int),
    "pulse_ppi": (None, _GIC, c_uint32, c_uint32),
    "lines": (c_uint8, _GIC, c_uint32),
    "changed": (c_uint32, _GIC, POINTER(c_uint32), c_uint32),
    "on_lines": (None, _GIC, Lines, c_void_p),
    "set_accessible": (None, _GIC, c_uint32, c_int),
    "step": (None, _GIC, c_uint32),
    "trace_time": (None, _GIC, c_uint64),
    "map_memory": (c_int, _GIC, c_uint64, c_void_p, c_uint64, c_int),
    "unmap_memory": (None, _GIC, c_uint64),
    "msi": (None, _GIC, c_uint32, c_uint32, c_uint32),
}


class Api(ctypes.Structure):
    """gicv3_api: the functions, described in the header. ctypes releases the GIL around each call."""

    _fields_ = (
        ("version", c_uint32),
        ("size", c_uint32),
        *((name, ctypes.CFUNCTYPE(*types)) for name, types in _FUNCTIONS.items()),
    )


def get_include() -> str:
    """Folder of ``gicv3.h``, for a C compiler's -I."""
    return str(Path(__file__).parent)


def address() -> int:
    """Address of the ``gicv3_api`` struct; it stays for the life of the process."""
    return api_address


def functions() -> Api:
    """The functions for ctypes: ``functions().mmio_read(gic.handle, address, 4, 0)``."""
    return Api.from_address(api_address)


def addresses() -> dict[str, int]:
    """Address of each function by name, for whatever takes plain function pointers."""
    api = functions()
    values = {name: ctypes.cast(getattr(api, name), c_void_p).value for name in _FUNCTIONS}
    return {name: value for name, value in values.items() if value is not None}


def from_json(config: bytes | str) -> GICv3:
    """A GIC from a JSON object of `GICv3Config`'s fields: what `gicv3_api.create` does.

    Raises: ConfigError when it is no such object, or a value is out of range.
    """
    try:
        fields = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config must be a JSON object, got {config!r:.80}: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"config must be a JSON object, got {config!r:.80}")
    unknown = sorted(fields.keys() - GICv3Config.__dataclass_fields__.keys())
    if unknown:
        raise ConfigError(f"config has fields that GICv3Config has not: {', '.join(unknown)}")
    return GICv3(GICv3Config(**fields))
