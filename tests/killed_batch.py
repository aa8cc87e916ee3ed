"""The example as one local batch that is killed three times on the way, and what holds of it in the end.

The end-to-end tests do so with half a year of it, and ``make bench`` with the whole of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from bokeh_sampledata import stocks

from flowctx.core.batches.records import PartitionRun
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState
from flowctx.examples.prices import SYMBOLS, prices

#: When the launch is killed, as a part of all partitions, and how.
KILLS = ((0.2, signal.SIGKILL), (0.45, signal.SIGINT), (0.7, signal.SIGKILL))


class KilledBatch:
    """A batch in a ledger.

    Args:
        ledger: The ledger.
        url: Its URL, for the processes that launch the batch.
        first: The first date, as ISO 8601.
        last: The last date.
    """

    batch_id = "killed"

    def __init__(self, ledger: Ledger, url: str, first: str, last: str) -> None:
        assert prices.partitions is not None
        self.ledger, self.url, self.first, self.last = ledger, url, first, last
        self.total = len(prices.partitions.select(f"date={first}..{last}"))

    def launch(self) -> None:
        """Launch the batch, kill the launch by SIGKILL, SIGINT and SIGKILL again, and launch it to its end."""
        for part, number in KILLS:
            process = self._start()
            while len(self.outcomes()) < part * self.total:
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(number)
            process.wait(timeout=60)
        assert self._start().wait(timeout=900) == 0, [run for run in self.outcomes() if not run.state.done]

    def _start(self) -> subprocess.Popen[bytes]:
        selection = ("--select", f"date={self.first}..{self.last}", "--batch", self.batch_id, "--workers", "2")
        return subprocess.Popen(
            [sys.executable, "-m", "flowctx.cli", "backfill", "flowctx.examples.prices:prices", *selection],
            env={**os.environ, "FLOWCTX_LEDGER_URL": self.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def outcomes(self) -> list[PartitionRun]:
        """Return what the ledger knows of each partition."""
        return list(self.ledger.batches.iter_outcomes(self.batch_id))

    # -- what holds -------------------------------------------------------------------------------------------------

    def check_that_every_partition_is_accounted_for(self) -> None:
        """Each partition is captured, or was skipped because the stock did not trade: as many as the data has rows."""
        rows = sum(1 for symbol in SYMBOLS for _ in self._rows(symbol))
        assert Counter(str(run.state) for run in self.outcomes()) == {"ok": rows, "skipped": self.total - rows}

    def check_that_each_has_one_run_and_one_capture(self) -> None:
        """However often the launch was killed, each partition has one run, and one complete capture at revision 1."""
        assert len({run.run_id for run in self.outcomes()}) == self.total
        assert len(self.ledger.list_runs(batch_id=self.batch_id, limit=self.total + 1)) == self.total
        complete = [c for c in self.ledger.captures(workflow=prices.name) if c.state is CaptureState.COMPLETE]
        assert {capture.revision for capture in complete} == {1}
        assert len({capture.partition for capture in complete}) == len(complete)

    def check_that_sums_are_those_of_the_data(self) -> None:
        """Closes and volumes, added up over all captures, are to the cent those of the data file."""
        found: dict[str, Counter[str]] = {"close": Counter(), "volume": Counter()}
        for run in self.ledger.list_runs(batch_id=self.batch_id, limit=self.total):
            for step in self.ledger.steps(run.key, ["fetch"]):
                output: Any = step.output
                if "close" in output and run.context.partition is not None:
                    for name, sums in found.items():
                        sums[run.context.partition.symbol] += output[name]
        assert found == {
            name: Counter({symbol: sum(row[name] for row in self._rows(symbol)) for symbol in SYMBOLS})
            for name in found
        }

    def _rows(self, symbol: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of the data file that the batch is about."""
        data = getattr(stocks, symbol)
        for day, close, volume in zip(data["date"], data["close"], data["volume"], strict=True):
            if self.first <= day <= self.last:
                yield {"close": Decimal(str(close)), "volume": volume}
