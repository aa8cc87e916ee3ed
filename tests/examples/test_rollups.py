"""The example's workflows that read the prices, against the data itself."""

import itertools
import math
import statistics
from datetime import date

import pytest

from flowctx import run
from flowctx.examples.prices import closes, prices
from flowctx.examples.rollups import SESSIONS, market, month, risk
from flowctx.ledger import open_ledger

FEBRUARY = "date=2012-02-01..2012-02-29"


@pytest.fixture(scope="module")
def ledger():
    """A month of prices of all stocks, in memory."""
    ledger = open_ledger("memory://")
    for key in prices.partitions.select(FEBRUARY):
        run(prices, partition=key, ledger=ledger, batch_id="february").raise_for_failure()
    for key in market.partitions.select(FEBRUARY):
        run(market, partition=key, ledger=ledger, batch_id="february").raise_for_failure()
    return ledger


def moves(symbol, count):
    """The last moves of a stock up to the end of the month, straight from the data."""
    adjusted = closes(symbol).adjusted_until(date(2012, 2, 29), count + 1)
    return [new / old - 1 for old, new in itertools.pairwise(adjusted)]


def test_the_volatility_through_an_input_is_that_of_the_data(ledger):
    """Twenty sessions, nineteen of them of other runs; FB, which did not trade yet, is skipped."""
    made = run(risk, partition="2012-02-29|IBM", ledger=ledger).raise_for_failure()
    expected = statistics.stdev(math.log1p(move) for move in moves("IBM", SESSIONS)) * math.sqrt(252)
    found = made.context.get_output("volatility")
    assert (found["sessions"], found["volatility"]) == (20, pytest.approx(expected))
    early = run(risk, partition="2012-02-02|IBM", ledger=ledger).context.get_output("volatility")
    assert early == {"sessions": 2, "volatility": None}
    assert run(risk, partition="2012-02-29|FB", ledger=ledger)["volatility"].status == "skipped"


def test_a_date_has_every_stock_that_traded(ledger):
    """Four of five: FB is a hole."""
    found = run(market, partition="2012-02-29", ledger=ledger).context.get_output("breadth")
    last = [moves(symbol, 1)[0] for symbol in ("AAPL", "GOOG", "IBM", "MSFT")]
    assert found == {"stocks": 4, "rose": sum(move > 0 for move in last), "mean": pytest.approx(statistics.fmean(last))}


def test_a_month_has_all_its_sessions(ledger):
    """Twenty sessions, compounded."""
    found = run(month, partition="2012-02-29", ledger=ledger).raise_for_failure().context.get_output("report")
    by_stock = [moves(symbol, 20) for symbol in ("AAPL", "GOOG", "IBM", "MSFT")]
    means = [statistics.fmean(day) for day in zip(*by_stock, strict=True)]
    assert found["sessions"] == 20
    assert found["return"] == pytest.approx(math.prod(1 + mean for mean in means) - 1)
