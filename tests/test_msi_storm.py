"""The short form of `python -m tests.msi_storm`: every MSI is delivered, pending, or discarded by a command."""

import pytest

from tests.msi_storm import Storm


@pytest.mark.parametrize(("seed", "budget"), [(1, 1 << 17), (2, 1)])
def test_every_msi_of_a_storm_is_accounted_for(seed: int, budget: int) -> None:
    counts = Storm(seed, budget).run(12_000, 3_000)
    assert (counts["polls of GITS_CREADR"] > 0) == (budget == 1)
    assert counts["sent"] >= 12_000
    assert counts["sent"] == counts["delivered"] + counts["pending"] + counts["discarded"]
    for happened in (
        "plugged",
        "unplugged",
        "MOVI",
        "MOVALL",
        "DISCARD",
        "CLEAR",
        "restored",
        "pending at absent vCPUs",
    ):
        assert counts[happened] > 0, happened
