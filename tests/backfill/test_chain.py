"""A chain of dates in processes: the numbers are those of numpy, whatever else runs, fails or is killed."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from backfill.chain import SYMBOLS, chain, daily_return
from flowctx import Backfill, BatchStatus
from flowctx.backfill import LaunchProgress, LocalLauncher, render_html
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger

SOME = "date=2012-01-03..2012-01-20"  # 13 sessions of five symbols
#: So many sessions are a product of five symbols, with so many kills on the way; 754 are three years.
SESSIONS, KILLS = int(os.environ.get("FLOWCTX_TEST_DATES", "13")), int(os.environ.get("FLOWCTX_TEST_KILLS", "5"))
LONG = f"date=first:{SESSIONS}"
BAD = "date=2012-01-10|symbol=IBM"


def fill(
    ledger: Ledger, batch_id: str, workers: int = 1, again: bool = False, dates: str = SOME, **params: object
) -> LaunchProgress:
    """Launch a batch, or launch it again."""
    backfill = Backfill(chain, dates, batch_id, params=params, ledger=ledger)
    return backfill.launch(LocalLauncher(ledger, workers), retry_failed=again)


def navs(ledger: Ledger, batch_id: str, symbol: str, dates: str = SOME) -> list[float]:
    """What a batch has made of a symbol, in order."""
    runs = {run.context.partition: run for run in ledger.list_runs(batch_id=batch_id, limit=10_000)}
    found = [ledger.steps(runs[key].key)[0].output for key in chain.partitions.select(f"{dates},symbol={symbol}")]
    assert {output["batch"] for output in found} == {batch_id}
    return [output["nav"] for output in found]


def product(symbol: str, scale: float, dates: str = SOME) -> list[float]:
    """What numpy makes of the same returns."""
    keys = chain.partitions.select(f"{dates},symbol={symbol}")
    return np.cumprod([100.0, *(1 + daily_return(key, scale) for key in keys)])[1:].tolist()


def test_two_batches_are_each_a_product_of_their_own_returns(ledger: Ledger, tmp_path: Path) -> None:
    """With four workers, kills on the way and another batch before, no date reads a wrong one before it."""
    (tmp_path / "kills").mkdir()
    for batch_id, scale in (("v1", 1.0), ("v2", 2.5)):
        for number in range(KILLS):
            (tmp_path / "kills" / str(number)).touch()
        begin = partial(fill, ledger, batch_id, 4, dates=LONG, scale=scale, kills=str(tmp_path / "kills"))
        progress = begin()
        for _ in range(4 * KILLS):
            if progress.complete:
                break
            progress = begin(again=True)
        assert progress.complete
        assert {s: navs(ledger, batch_id, s, LONG) for s in SYMBOLS} == {s: product(s, scale, LONG) for s in SYMBOLS}


def test_what_hangs_on_a_failure_waits_and_goes_on_after_it(ledger: Ledger, tmp_path: Path) -> None:
    """The other symbols have run; the rest of this one waits, says why, and runs when the day is mended."""
    broken = tmp_path / "broken"
    broken.write_text(BAD)
    first = fill(ledger, "v1", 2, fail=str(broken))
    assert first.ended == {PartitionState.OK: 57, PartitionState.FAILED: 1}
    assert (first.waiting, first.complete) == (7, False)
    status = BatchStatus.of(ledger, "v1", chain)
    why = f"waits for {BAD}, which failed at step value"
    assert status.counts == {"ok": 57, "failed": 1, "waiting": 7}
    assert (status.waits, status.missing, status.complete) == ({why: 7}, 0, False)
    assert status.to_dict()["waits"] == {why: 7}
    assert status.grid is not None
    assert status.grid.cells.decode().count("w") == 7
    assert "Waiting</caption>" in render_html(status)
    again = fill(ledger, "v1", fail=str(broken))
    assert (again.ended, again.waiting) == ({}, 7)
    broken.unlink()
    assert fill(ledger, "v1", again=True, fail=str(broken)).ended == {PartitionState.OK: 8}
    assert navs(ledger, "v1", "IBM") == product("IBM", 1.0)
    assert BatchStatus.of(ledger, "v1", chain).counts == {"ok": 65}


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_keeps_the_order(ledger: Ledger, workers: int) -> None:
    """One worker has no more to wait for than three."""
    assert fill(ledger, "v1", workers).complete
    assert navs(ledger, "v1", "MSFT") == product("MSFT", 1.0)
