"""The whole example as one local batch: 3,270 sessions and 5 symbols, killed three times on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from bokeh_sampledata import stocks

from flowctx.core.batches.records import PartitionRun
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState
from flowctx.examples.prices import SYMBOLS
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.e2e

TOTAL = 16_350
COMMAND = ["backfill", "flowctx.examples.prices:prices", "--batch", "whole", "--workers", "2"]


@pytest.fixture(scope="module")
def ledger_url() -> Iterator[str]:
    """A ledger in memory-backed storage where there is some: what is tested is not the disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield f"sqlite:///{folder}/ledger.db"


@pytest.fixture(scope="module")
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """The ledger after the batch was launched, killed by SIGKILL, SIGINT and SIGKILL again, and launched to its end."""
    ledger = open_ledger(ledger_url)
    for part, number in ((0.2, signal.SIGKILL), (0.45, signal.SIGINT), (0.7, signal.SIGKILL)):
        process = start(ledger_url)
        while known(ledger) < part * TOTAL:
            assert process.poll() is None
            time.sleep(0.5)
        process.send_signal(number)
        process.wait(timeout=60)
    assert start(ledger_url).wait(timeout=900) == 0
    yield ledger
    ledger.close()


def start(url: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "FLOWCTX_LEDGER_URL": url}
    return subprocess.Popen([sys.executable, "-m", "flowctx.cli", *COMMAND], env=env, stderr=subprocess.DEVNULL)


def known(ledger: Ledger) -> int:
    return len(outcomes(ledger))


def outcomes(ledger: Ledger) -> list[PartitionRun]:
    return list(ledger.batches.iter_outcomes("whole"))


@pytest.mark.timeout(1500)
def test_every_partition_is_accounted_for(ledger: Ledger) -> None:
    """Each partition is captured, or was skipped because the stock did not trade: as many as the data has rows."""
    rows = sum(len(getattr(stocks, symbol)["date"]) for symbol in SYMBOLS)
    states = Counter(str(run.state) for run in outcomes(ledger))
    assert states == {"ok": rows, "skipped": TOTAL - rows}


def test_each_partition_has_one_run_and_one_capture(ledger: Ledger) -> None:
    """However often the launch was killed, each partition has one run, and one complete capture at revision 1."""
    assert len({run.run_id for run in outcomes(ledger)}) == TOTAL
    assert len(ledger.list_runs(batch_id="whole", limit=TOTAL + 1)) == TOTAL
    complete = [c for c in ledger.captures(workflow="daily_prices") if c.state is CaptureState.COMPLETE]
    assert {capture.revision for capture in complete} == {1}
    assert len({capture.partition for capture in complete}) == len(complete)


def test_the_sums_are_those_of_the_data(ledger: Ledger) -> None:
    """Closes and volumes, added up over all captures, are to the cent those of the data file."""
    closes: Counter[str] = Counter()
    volumes: Counter[str] = Counter()
    for run in ledger.list_runs(batch_id="whole", limit=TOTAL):
        for step in ledger.steps(run.key, ["fetch"]):
            if "close" in step.output and run.context.partition is not None:  # type: ignore[operator]
                closes[run.context.partition.symbol] += step.output["close"]  # type: ignore[index]
                volumes[run.context.partition.symbol] += step.output["volume"]  # type: ignore[index]
    assert closes == {name: sum(Decimal(str(value)) for value in getattr(stocks, name)["close"]) for name in SYMBOLS}
    assert volumes == {name: sum(getattr(stocks, name)["volume"]) for name in SYMBOLS}
