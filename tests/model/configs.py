"""The configurations that the core and the model are compared in: keywords of GICv3Config and of ModelConfig alike."""

from __future__ import annotations

from typing import Any

# Every affinity level used, Aff0 above 15 (out of an SGI's reach without a range selector), gaps everywhere.
SPARSE = (0x0, 0x3, 0x11, 0x1_02, 0xFF_0000, 0x07_0000_0000, 0x07_0001_0203, 0xFF_00FF_FFFF)

SINGLE: dict[str, Any] = {"cpus": 4, "spis": 32}
TWO_STATES: dict[str, Any] = {"cpus": 4, "spis": 32, "security": True, "el2": True}

# As many interrupts as there can be.
LARGEST: dict[str, Any] = {"spis": 988, "espis": 1024, "eppis": 64, "one_of_n": True, "nmi": True, "message_spis": True}

# Work by portions, so that much happens while some is under way. What is read of a configuration table, and when, is
# another matter then: nothing is kept of it.
SLOW: dict[str, Any] = {**SINGLE, "lpis": True, "direct_lpi": True, "lpi_config": "live"}

CONFIGS: dict[str, dict[str, Any]] = {
    "ds1": {**SINGLE, "spis": 64},
    "ds1-p4": {**SINGLE, "priority_bits": 4},
    "ds1-p6": {**SINGLE, "priority_bits": 6},
    "ds1-p7": {**SINGLE, "priority_bits": 7},
    "ds1-p8": {**SINGLE, "priority_bits": 8},
    "ds1-gate": {**SINGLE, "hpp_rule": "gate"},
    "ds1-bpr": {**SINGLE, "apr_rule": "bpr", "priority_bits": 8},
    "ds1-one": {"cpus": 1, "spis": 32},
    "ds1-el2": {**SINGLE, "el2": True},
    "ds1-nospi": {"cpus": 3, "spis": 0},
    "ds1-988": {"cpus": 2, "spis": 988},
    "ds1-sparse": {"affinities": SPARSE, "spis": 32, "redist_regions": ((0x080A_0000, 3), (0x0A00_0000, 5))},
    "ds0": {**TWO_STATES, "spis": 64},
    "ds0-p6": {**TWO_STATES, "priority_bits": 6},
    "ds0-p8": {**TWO_STATES, "priority_bits": 8},
    "ds0-gate": {**TWO_STATES, "hpp_rule": "gate"},
    "ds0-bpr": {**TWO_STATES, "apr_rule": "bpr", "priority_bits": 7},
    "ds0-el3": {**TWO_STATES, "el2": False},
    "ds0-sparse": {"affinities": SPARSE, "spis": 32, "security": True},
    "ext": {**SINGLE, "espis": 64, "eppis": 64},
    "ext-ds0": {**TWO_STATES, "espis": 32, "eppis": 32},
    "msi": {**SINGLE, "message_spis": True},
    "msi-ds0": {**TWO_STATES, "message_spis": True},
    "msi-frame": {**TWO_STATES, "espis": 32, "message_spis": True, "message_frame": 0x0802_0000},
    "1ofn": {**SINGLE, "one_of_n": True},
    "1ofn-ds0": {**TWO_STATES, "one_of_n": True},
    "1ofn-sparse": {"affinities": SPARSE, "spis": 64, "one_of_n": True},
    "rss": {"affinities": SPARSE, "spis": 32, "range_selector": True},
    "nmi": {**SINGLE, "nmi": True},
    "nmi-ds0": {**TWO_STATES, "nmi": True},
    "statusr": {**SINGLE, "statusr": True},
    "choices": {**SINGLE, "tie": "highest", "unknown_route": "first", "id_bits": 24, "iidr": 0x1234_5678},
    "strict": {**TWO_STATES, "strict": True, "statusr": True, "message_spis": True},
    "settle": {**SINGLE, "settle_steps": 3},
    "settle-ds0": {**TWO_STATES, "settle_steps": 1, "statusr": True},
    "settle-1ofn": {**TWO_STATES, "settle_steps": 2, "one_of_n": True, "espis": 32, "eppis": 32, "strict": True},
    "nmi-gate": {**SINGLE, "nmi": True, "hpp_rule": "gate", "tie": "highest", "priority_bits": 8},
    "nmi-bpr": {**SINGLE, "nmi": True, "apr_rule": "bpr", "priority_bits": 7, "eppis": 32, "espis": 32},
    "nmi-ds0-gate": {**TWO_STATES, "nmi": True, "hpp_rule": "gate", "apr_rule": "bpr", "priority_bits": 6},
    "nmi-ds0-tie": {**TWO_STATES, "nmi": True, "tie": "highest", "priority_bits": 8, "one_of_n": True},
    "no-aff3": {"cpus": 40, "spis": 32, "aff3": False},
    "all-ds0": {
        "affinities": SPARSE,
        "spis": 64,
        "security": True,
        "espis": 64,
        "eppis": 32,
        "message_spis": True,
        "one_of_n": True,
        "range_selector": True,
        "nmi": True,
        "statusr": True,
    },
    "lpi": {**SINGLE, "lpis": True, "direct_lpi": True, "id_bits": 15},
    "lpi-ds0": {**TWO_STATES, "lpis": True, "direct_lpi": True, "lpi_config": "live", "priority_bits": 8},
    "its": {**SINGLE, "lpis": True, "its": 1, "id_bits": 15},
    "its-20": {**SINGLE, "lpis": True, "its": 1, "id_bits": 20, "tie": "highest", "its_entry_sizes": (16, 32, 8)},
    "its-ds0": {**TWO_STATES, "lpis": True, "its": 1, "direct_lpi": True},
    "its-stall": {**SINGLE, "lpis": True, "its": 1, "its_errors": "stall", "priority_bits": 8, "statusr": True},
    "its-pta": {
        **SINGLE,
        "lpis": True,
        "its": 2,
        "pta": True,
        "redist_regions": ((0x080A_0000, 1), (0x0A00_0000, 3)),
        "lpi_invalidate": False,
    },
    "its-umsi": {
        **TWO_STATES,
        "lpis": True,
        "its": 2,
        "its_umsi": True,
        "its_umsi_spi": 40,
        "device_bits": 10,
        "event_bits": 14,
        "collection_bits": 9,
        "lpi_config": "live",
    },
    "its-all": {
        **TWO_STATES,
        "lpis": True,
        "its": 1,
        "direct_lpi": True,
        "id_bits": 17,
        "pta": True,
        "one_of_n": True,
        "nmi": True,
        "eppis": 32,
        "message_spis": True,
        "statusr": True,
    },
    "lpi-slow": {**SLOW, "id_bits": 15, "work_budget": 1},
    "its-slow": {**SLOW, "its": 1, "id_bits": 16, "work_budget": 3},
    "its-slow-stall": {**SLOW, "its": 2, "id_bits": 17, "work_budget": 20, "its_errors": "stall"},
    "largest": {**LARGEST, "cpus": 5},
    "largest-p8": {**LARGEST, "cpus": 3, "priority_bits": 8, "tie": "highest", "strict": True},
    "largest-ds0": {**LARGEST, "affinities": SPARSE[:4], "security": True, "el2": True, "settle_steps": 2},
    "largest-ds0-p7": {**LARGEST, "cpus": 4, "security": True, "priority_bits": 7, "hpp_rule": "gate", "strict": True},
}

COST = {name: 5 for name in CONFIGS if name.startswith("largest")}
"""Configurations whose operations take so many times longer than others'; a campaign runs so many fewer."""
