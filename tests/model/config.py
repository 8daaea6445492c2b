"""What the slow model is built from, under ``gicv3.GICv3Config``'s names, so that one set of keywords builds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Size and options of a modelled GIC.

    Parameters: as ``gicv3.GICv3Config``; only what the physical interrupt path needs.
    """

    cpus: int | None = None
    affinities: Sequence[int] | None = None
    spis: int = 988
    priority_bits: int = 5
    security: bool = False
    el2: bool = False
    dist_base: int = 0x0800_0000
    redist_regions: Sequence[tuple[int, int]] | None = None
    id_bits: int = 16
    iidr: int = 0x43B
    unknown_route: str = "nowhere"
    tie: str = "lowest"
    aff3: bool = True
    strict: bool = False
    message_frame: int | None = None
    hpp_rule: str = "filter"
    apr_rule: str = "minimum"
    espis: int = 0
    eppis: int = 0
    message_spis: bool = False
    one_of_n: bool = False
    range_selector: bool = False
    nmi: bool = False
    statusr: bool = False
    lpis: bool = False
    direct_lpi: bool = False
    lpi_invalidate: bool = True
    lpi_config: str = "cached"
    its: int = 0
    its_bases: Sequence[int] | None = None
    device_bits: int = 16
    event_bits: int = 16
    collection_bits: int = 16
    pta: bool = False
    its_entry_sizes: Sequence[int] = (8, 8, 8)
    its_errors: str = "continue"
    its_umsi: bool = False
    its_umsi_spi: int | None = None
    work_budget: int = 1 << 17  # of the core alone: the model does everything at once
    settle_steps: int = 0

    def affinity_list(self) -> list[int]:
        """Return the affinity of each PE in MPIDR form (Aff3 39:32, Aff2 23:16, Aff1 15:8, Aff0 7:0)."""
        if self.affinities is not None:
            return list(self.affinities)
        result = []
        for index in range(self.cpus or 1):
            aff0, rest = index % 16, index // 16
            aff1, rest = rest % 256, rest // 256
            aff2, aff3 = rest % 256, rest // 256
            result.append(aff3 << 32 | aff2 << 16 | aff1 << 8 | aff0)
        return result

    def its_base(self, number: int) -> int:
        """Return the address of an ITS: the default ones go down from 0x0808_0000."""
        return self.its_bases[number] if self.its_bases is not None else 0x0808_0000 - 0x2_0000 * number

    def spi_intids(self) -> list[int]:
        """Return the implemented SPIs: 32 up to 31 + spis, never beyond 1019 (section 1)."""
        return [intid for intid in range(32, 32 + self.spis) if intid <= 1019]

    def espi_intids(self) -> list[int]:
        """Return the implemented extended SPIs, 4096 upwards (section 1)."""
        return list(range(4096, 4096 + self.espis))

    def eppi_intids(self) -> list[int]:
        """Return the implemented extended PPIs, 1056 upwards (section 1)."""
        return list(range(1056, 1056 + self.eppis))
