"""ITS commands, as software writes them into a queue: each the four doublewords that it is made of.

`encode` gives the bytes for guest memory. Nothing is checked here, so that wrong commands can be written as well.
"""

from __future__ import annotations

_U64 = (1 << 64) - 1

Command = tuple[int, int, int, int]


def encode(*commands: Command) -> bytes:
    """The bytes of commands, 32 each."""
    return b"".join((word & _U64).to_bytes(8, "little") for command in commands for word in command)


def _event(opcode: int, device: int, event: int, icid: int = 0) -> Command:
    return (opcode | device << 32, event, icid, 0)


def mapd(device: int, itt: int = 0, bits: int = 5, valid: bool = True) -> Command:
    """MAPD: a device gets a table at `itt`, aligned to 256 bytes, for events of so many bits; or has it no more."""
    return (0x08 | device << 32, bits - 1, itt | valid << 63, 0)


def mapc(icid: int, rdbase: int, valid: bool = True) -> Command:
    """MAPC: a collection leads to a PE: its number, or with PTA its redistributor's address >> 16."""
    return (0x09, 0, icid | rdbase << 16 | valid << 63, 0)


def mapti(device: int, event: int, intid: int, icid: int = 0) -> Command:
    """MAPTI: an event becomes an LPI, of a collection."""
    return (0x0A | device << 32, event | intid << 32, icid, 0)


def mapi(device: int, event: int, icid: int = 0) -> Command:
    """MAPI: the same with the EventID as INTID."""
    return _event(0x0B, device, event, icid)


def movi(device: int, event: int, icid: int) -> Command:
    """MOVI: an event goes to another collection, and takes its pending state along."""
    return _event(0x01, device, event, icid)


def movall(source: int, target: int) -> Command:
    """MOVALL: what is pending at a PE goes to another one; PEs as for `mapc`."""
    return (0x0E, 0, source << 16, target << 16)


def discard(device: int, event: int) -> Command:
    """DISCARD: an event is mapped no more, and its LPI pending no more."""
    return _event(0x0F, device, event)


def inv(device: int, event: int) -> Command:
    """INV: the configuration of an event's LPI is read anew."""
    return _event(0x0C, device, event)


def invall(icid: int) -> Command:
    """INVALL: so is that of all LPIs of a collection."""
    return (0x0D, 0, icid, 0)


def int_(device: int, event: int) -> Command:
    """INT: an event's LPI becomes pending, as by an MSI."""
    return _event(0x03, device, event)


def clear(device: int, event: int) -> Command:
    """CLEAR: an event's LPI is pending no more."""
    return _event(0x04, device, event)


def sync(rdbase: int) -> Command:
    """SYNC: what was asked of a PE before is done; the PE as for `mapc`."""
    return (0x05, 0, rdbase << 16, 0)
