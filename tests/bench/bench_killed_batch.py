"""The whole example as one local batch that is killed three times: nothing is lost, and how long it takes."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from report import console

sys.path.insert(0, str(Path(__file__).parents[1]))
from flowctx.ledger import open_ledger
from killed_batch import KilledBatch


def main() -> None:
    """Launch 3,270 sessions of 5 symbols, kill the launch three times, check every row, and print the time."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        ledger = open_ledger(url)
        batch = KilledBatch(ledger, url, "2000-03-01", "2013-03-01")
        started = time.perf_counter()
        batch.launch()
        seconds = time.perf_counter() - started
        batch.check_that_every_partition_is_accounted_for()
        batch.check_that_each_has_one_run_and_one_capture()
        batch.check_that_sums_are_those_of_the_data()
        ledger.close()
    console.print(
        f"{batch.total:,} partitions, killed three times: one run and one capture each, all sums right; "
        f"{seconds:.0f} s, {batch.total / seconds:.0f} partitions/s"
    )


if __name__ == "__main__":
    main()
