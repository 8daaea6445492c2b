"""A device that signals by messages: an MSI-X table whose entries the guest programs, and its vectors."""

from __future__ import annotations

from gicv3.arguments import instance, integer, switch
from gicv3.errors import ConfigError
from gicv3.gic import GICv3

MAX_VECTORS = 2048
"""What a PCI function can have."""


def _field(name: str, value: int, bits: int) -> int:
    number = integer(name, value)
    if not 0 <= number < 1 << bits:
        raise ConfigError(f"{name} must be in 0..{(1 << bits) - 1:#x}, got {number}")
    return number


class MsiDevice:
    """The interrupt side of a PCI function with MSI-X, without the function.

    Parameters
    ----------
    gic : where its writes arrive.
    device_id : DeviceID that its writes carry: its requester ID on `virt`, 0..2**32-1.
    vectors : number of table entries, 1..2048; all are masked at first.

    Raises
    ------
    ConfigError : a number out of range.
    TypeError : a number is no integer, or `gic` no GICv3. Not thread-safe by itself.
    """

    def __init__(self, gic: GICv3, device_id: int, vectors: int) -> None:
        instance("gic", gic, GICv3)
        vectors = integer("vectors", vectors)
        if not 1 <= vectors <= MAX_VECTORS:
            raise ConfigError(f"vectors must be in 1..{MAX_VECTORS}, got {vectors}")
        self.gic = gic
        self.device_id = _field("device_id", device_id, 32)
        self._address = [0] * vectors
        self._data = [0] * vectors
        self._masked = [True] * vectors
        self._pending = [False] * vectors

    def _checked(self, vector: int) -> int:
        number = integer("vector", vector)
        if not 0 <= number < len(self._address):
            raise ConfigError(f"vector must be in 0..{len(self._address) - 1}, got {number}")
        return number

    def program(self, vector: int, address: int, data: int, masked: bool = False) -> None:
        """Write a table entry, as the guest's driver does; what was pending behind the mask is sent when it opens.

        Parameters: `vector`; `address`, of GITS_TRANSLATER or a message register, 64 bits; `data`, 32 bits; `masked`.
        Raises: ConfigError when there is no such vector, or a number has more bits; TypeError when it is none.
        """
        number = self._checked(vector)
        masked = switch("masked", masked)
        entry = _field("address", address, 64), _field("data", data, 32)
        self._address[number], self._data[number] = entry
        self.mask(number, masked)

    def mask(self, vector: int, masked: bool) -> None:
        """Set or clear a vector's mask bit. Raises: ConfigError when there is no such vector."""
        number = self._checked(vector)
        self._masked[number] = masked = switch("masked", masked)
        if self._pending[number] and not masked:
            self._pending[number] = False
            self._send(number)

    def is_pending(self, vector: int) -> bool:
        """The vector's pending bit: it fired while it was masked. Raises: ConfigError when there is no such vector."""
        return self._pending[self._checked(vector)]

    def fire(self, vector: int) -> None:
        """The function wants attention. Raises: ConfigError when there is no such vector."""
        number = self._checked(vector)
        if self._masked[number]:
            self._pending[number] = True
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        self.gic.mmio_write(self._address[number], self._data[number], 4, False, device_id=self.device_id)
