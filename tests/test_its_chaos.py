"""Hostile tables and storms of MSIs raise nothing and break no invariant; ``python -m tests.its_chaos`` goes on."""

import pytest

from tests.its_chaos import CONFIGS, MEMORIES, run


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_is_raised_and_every_msi_is_accounted_for(config: str, memory: str) -> None:
    msis, commands = run(config, memory, seed=0, steps=800)
    assert msis > 800
    assert commands > 20  # few where the queue stalls
