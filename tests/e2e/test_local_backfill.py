"""Half a year of the example as one local batch, killed three times on the way (``make bench`` does all of it)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowctx.ledger import open_ledger
from killed_batch import KilledBatch

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def batch() -> Iterator[KilledBatch]:
    """The partitions of the half-year in which one symbol began to trade, in a ledger in memory-backed storage."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        url = f"sqlite:///{folder}/ledger.db"
        ledger = open_ledger(url)
        batch = KilledBatch(ledger, url, "2012-04-02", "2012-09-28")
        batch.launch()
        yield batch
        ledger.close()


def test_every_partition_is_accounted_for(batch: KilledBatch) -> None:
    """Each partition is captured, or was skipped because the stock did not trade: as many as the data has rows."""
    batch.check_that_every_partition_is_accounted_for()


def test_each_partition_has_one_run_and_one_capture(batch: KilledBatch) -> None:
    """However often the launch was killed, each partition has one run, and one complete capture at revision 1."""
    batch.check_that_each_has_one_run_and_one_capture()


def test_the_sums_are_those_of_the_data(batch: KilledBatch) -> None:
    """Closes and volumes, added up over all captures, are to the cent those of the data file."""
    batch.check_that_sums_are_those_of_the_data()
