"""Seeds: random workflows in an unkind world, all invariants watched. ``python -m tests.simulation`` runs more of them.

A seed that once found a fault stays below, under the name of what was wrong.
"""

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.runs import run_seed

BATCHES = 12
SEEDS_PER_BATCH = 15


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failing actions are the daily bread here; nobody reads of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def faults_of(seeds: range) -> list[str]:
    """What went wrong, each with the seed that shows it again."""
    found = []
    for seed in seeds:
        try:
            run_seed(seed)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to its seed
            found.append(f"python -m tests.simulation --seed {seed} --verbose: {type(error).__name__}: {error}"[:600])
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_invariant_holds_for_every_seed(batch: int):
    assert faults_of(range(batch * SEEDS_PER_BATCH, (batch + 1) * SEEDS_PER_BATCH)) == []
