"""The example workflow, here, against its data."""

from datetime import date
from decimal import Decimal

import pytest

from flowctx import ErrorCategory, StepStatus, run
from flowctx.examples.prices import SYMBOLS, closes, prices

SCHEME = prices.partitions
ROWS = {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}


def test_the_sessions_are_the_dates_in_the_data():
    """The XNYS sessions of the scheme are the days on which the stocks were traded, with no gap and no extra."""
    sessions = list(SCHEME.cadence)
    assert len(sessions) == 3270
    for symbol in SYMBOLS:
        days = closes(symbol).days
        assert len(days) == ROWS[symbol]
        assert sessions[-len(days) :] == days


def test_the_scheme_counts_its_keys():
    """3,270 sessions of 5 symbols."""
    assert len(SCHEME) == 16_350


def test_an_ordinary_partition():
    """The summary joins both branches; prices are exact, dates are dates."""
    result = run(prices, partition="date=2012-10-26,symbol=IBM").raise_for_failure()
    summary = result.context.get_output("summarise")
    assert summary["close"] == Decimal("193.27")
    assert summary["session"] == result.context.as_of_date == date(2012, 10, 26)
    assert summary["return"] == pytest.approx(0.008716, abs=1e-6)
    assert summary["volatility"] == pytest.approx(0.2369, abs=1e-4)
    assert summary["validated"] is True


@pytest.mark.parametrize(
    ("symbol", "before", "first"), [("FB", "2012-05-17", "2012-05-18"), ("GOOG", "2004-08-18", "2004-08-19")]
)
def test_a_stock_that_did_not_trade_is_skipped(symbol, before, first):
    """Every step of the day before the first is skipped, with the reason; the first day is not."""
    skipped = run(prices, partition={"date": before, "symbol": symbol})
    assert {step.status for step in skipped.steps} == {StepStatus.SKIPPED}
    assert skipped.steps[-1].error == f"{symbol} did not trade on {before}"
    assert run(prices, partition={"date": first, "symbol": symbol}).status is StepStatus.OK


def test_a_day_that_does_not_pass_the_gate():
    """Apple's fall of 52% fails when less is allowed: at once, with what was wrong, and nothing after it runs."""
    result = run(prices, partition="2000-09-29|AAPL", params={"max_move": 0.25})
    assert (result["validate"].category, result["validate"].attempts) == (ErrorCategory.DATA_QUALITY, 1)
    assert result["validate"].error == "-52% in a day"
    assert result["validate"].quality.passed is False
    assert result["summarise"].status is StepStatus.NOT_RUN
    assert "summarise" not in result.context.step_outputs


def test_there_is_no_volatility_before_there_are_enough_sessions():
    """The 20th session has 19 moves, the 21st the first volatility."""
    twentieth, next_one = (run(prices, partition=SCHEME.text(SCHEME[5 * i])).context for i in (19, 20))
    assert twentieth.get_output("volatility", "sessions") == 19
    assert twentieth.get_output("volatility", "volatility") is None
    window = twentieth.get_output("volatility", "window")
    assert (window.rows, window.columns) == (20, {"session": "date", "adjusted": "float64", "move": "float64"})
    assert window.to_arrow()["move"].null_count == 1
    assert next_one.get_output("volatility", "sessions") == 20
    assert next_one.get_output("volatility", "volatility") > 0
