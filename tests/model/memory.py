"""Guest memory as the slow model sees it: byte arrays at addresses, and nothing between them."""

from __future__ import annotations

RAM = 0x4000_0000
RAM_SIZE = 6 << 20
ROM = 0x4800_0000
ROM_SIZE = 64 << 10
ROM_BYTE = 0xA1


class Memory:
    """Guest RAM and a page that cannot be written; each comparison gives both sides such a memory of its own."""

    def __init__(self) -> None:
        self.ram = bytearray(RAM_SIZE)
        self.rom = bytearray([ROM_BYTE]) * ROM_SIZE

    def read(self, address: int, size: int) -> bytes | None:
        """Return what is there, None where not all of it is in one region."""
        for base, region in ((RAM, self.ram), (ROM, self.rom)):
            if base <= address and address + size <= base + len(region):
                return bytes(region[address - base : address - base + size])
        return None

    def write(self, address: int, data: bytes) -> bool:
        """Write; tell whether there is memory that can be written."""
        if address < RAM or address + len(data) > RAM + RAM_SIZE:
            return False
        self.ram[address - RAM : address - RAM + len(data)] = data
        return True

    def read64(self, address: int) -> int | None:
        """Return a doubleword."""
        data = self.read(address, 8)
        return None if data is None else int.from_bytes(data, "little")

    def write64(self, address: int, value: int) -> bool:
        """Write a doubleword; tell whether there is memory that can be written."""
        return self.write(address, value.to_bytes(8, "little"))
