"""A restatement of real prices: what was known before, and exactly what follows from a corrected source."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from flowctx import VersionChoice, diff, outputs
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from versions.real_chain import SYMBOLS, adjusted, backfill, market, month, moves, quotes

CORRECTED, FACTOR = "2012-10-10|IBM", 1.01
FIRST, RESTATED = VersionChoice(batch_id="first"), VersionChoice(batch_id="restate")


def computed(corrections):
    """Return what each workflow makes of October, by the text of the partition, without any of it."""
    days = [key.date for key in market.partitions.select("date=2012-10-01..2012-10-31")]
    dates = {
        key.date: market.partitions.as_of_date(key) for key in market.partitions.select("date=2012-10-01..2012-10-31")
    }
    found = {"quotes": {}, "moves": {}, "market": {}}
    for number, day in enumerate(days):
        for symbol in SYMBOLS:
            name = f"{day}|{symbol}"
            found["quotes"][name] = adjusted(symbol, dates[day]) * corrections.get(name, 1.0)
            before = found["quotes"].get(f"{days[number - 1]}|{symbol}") if number else None
            found["moves"][name] = math.log(found["quotes"][name] / before) if before else 0.0
        found["market"][day] = sum(found["moves"][f"{day}|{symbol}"] for symbol in SYMBOLS) / len(SYMBOLS)
    return found | {"month": {"2012-10-31": sum(map(abs, found["market"].values()))}}


@pytest.fixture(scope="module")
def clock():
    return FakeClock()


@pytest.fixture(scope="module")
def ledger(clock):
    """October, and October again with one close that was corrected; half a day lies between."""
    made = MemoryLedger(clock)
    backfill(made, "first", {}, clock=clock)
    clock.advance(timedelta(hours=12))
    backfill(made, "restate", {CORRECTED: FACTOR}, clock=clock)
    return made


@pytest.mark.parametrize(("workflow", "path"), [(quotes, "close"), (moves, "move"), (market, "mean"), (month, "total")])
def test_what_differs_is_exactly_what_follows(ledger, workflow, path):
    """Each value that changes with the corrected close, as computed without any of it, and no other."""
    old, new = computed({})[workflow.name], computed({CORRECTED: FACTOR})[workflow.name]
    found = diff(workflow, FIRST, RESTATED, ledger=ledger, key=["symbol"], step=next(iter(workflow.steps)))
    seen = {
        workflow.partitions.text(step.partition): (change.old, change.new)
        for step in found.steps
        for change in step.changes
        if change.path == path
    }
    assert seen.keys() == {name for name in old if old[name] != new[name]}
    assert len(seen) == {"quotes": 1, "moves": 2, "market": 2, "month": 1}[workflow.name]
    for name, values in seen.items():
        assert values == (pytest.approx(old[name], rel=1e-12), pytest.approx(new[name], rel=1e-12))


def test_a_corrected_row_of_a_table_is_found_by_its_key(ledger):
    """One cell of one row of one partition's table."""
    [step] = diff(quotes, FIRST, RESTATED, ledger=ledger, key=["symbol"]).steps
    [change] = [change for change in step.changes if change.table is not None]
    [cell] = change.table.largest
    close = computed({})["quotes"][CORRECTED]
    assert (change.path, cell.row, cell.column, cell.old) == ("rows", {"symbol": "IBM"}, "close", pytest.approx(close))
    assert cell.delta == pytest.approx(close * (FACTOR - 1))


def test_what_was_known_before_is_still_known(ledger, clock):
    """By time as by batch, the old numbers; now the new ones."""
    old, new = computed({})["moves"], computed({CORRECTED: FACTOR})["moves"]
    texts = moves.partitions.text
    before = outputs(moves, "move", known_at=clock.now() - timedelta(hours=6), ledger=ledger)
    assert {texts(key): output["move"] for key, output in before.items()} == pytest.approx(old)
    assert {
        texts(key): output["move"] for key, output in outputs(moves, "move", ledger=ledger).items()
    } == pytest.approx(new)
    times = (VersionChoice(known_at=clock.now() - timedelta(hours=6)), VersionChoice(known_at=clock.now()))
    assert {step.partition for step in diff(moves, *times, ledger=ledger).steps} == {
        step.partition for step in diff(moves, FIRST, RESTATED, ledger=ledger).steps
    }
