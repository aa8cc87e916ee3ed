"""PartitionScheme: which keys exist, in which order, with which dates, and how they are written."""

import csv
import enum
import gzip
import itertools
import json
import pickle
import tracemalloc
import warnings
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    CalendarError,
    Daily,
    Hourly,
    Monthly,
    PartitionError,
    PartitionKey,
    PartitionScheme,
    UnknownPartition,
    Weekly,
)
from flowctx.core.partitions.dagster_keys import static_values

SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
PRICES = PartitionScheme(
    date=Daily(start="2000-03-01", end="2013-03-01", calendar="XNYS", timezone="America/New_York"),
    symbol=SYMBOLS,
)
ENDLESS = PartitionScheme(week_ending=Weekly(start="2012-01-01"), tier=["T1", "T2"], venue=["N", "Q", "Z"])
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=4)


@st.composite
def schemes(draw):
    """A scheme of one to three dimensions with odd values, at most one of them a cadence, in any order."""
    names = draw(st.permutations(["date", "tier", "a_b"]))[: draw(st.integers(1, 3))]
    dims = {name: draw(st.lists(VALUES, min_size=1, max_size=4, unique=True)) for name in names}
    if "date" in dims:
        start = draw(st.dates(date(2000, 1, 1), date(2020, 1, 1)))
        dims["date"] = Daily(start=start, end=start + timedelta(days=draw(st.integers(4, 20))), calendar="WEEKDAYS")
    return PartitionScheme(**dims)


def values_of(scheme):
    """The values of each dimension, listed."""
    return [
        [day.isoformat() for day in scheme.cadence] if name == scheme.cadence_dimension else scheme.values(name)
        for name in scheme.dimensions
    ]


@given(schemes())
@settings(max_examples=60, deadline=None)
def test_keys_are_the_product_in_declared_order(scheme):
    """The first dimension varies slowest, and listing, counting and numbering agree."""
    expected = [
        PartitionKey(**dict(zip(scheme.dimensions, v, strict=True))) for v in itertools.product(*values_of(scheme))
    ]
    assert list(scheme) == expected == list(scheme.keys())
    assert len(scheme) == scheme.count() == len(expected)
    assert [scheme[i] for i in range(len(expected))] == expected
    assert [scheme.index(key) for key in expected] == list(range(len(expected)))
    assert scheme[-1] == expected[-1]


@given(schemes())
@settings(max_examples=60, deadline=None)
def test_keys_made_by_a_scheme_are_whole(scheme):
    """A key from a scheme has the text, the order, the hash and the pickle of one that was made by hand."""
    for key in (scheme[0], next(iter(scheme)), scheme[-1]):
        by_hand = PartitionKey(**key)
        assert (str(key), list(key), hash(key), key.path) == (str(by_hand), list(by_hand), hash(by_hand), by_hand.path)
        assert pickle.loads(pickle.dumps(key)) == by_hand


@given(schemes(), st.data())
@settings(max_examples=60, deadline=None)
def test_both_texts_come_back(scheme, data):
    """Positional and named text, whatever the values are, give the key again."""
    key = scheme[data.draw(st.integers(0, len(scheme) - 1))]
    assert scheme.parse(scheme.text(key)) == key
    assert scheme.parse(str(key)) == scheme.check(str(key)) == key
    assert scheme.key(**key) == scheme.check(dict(key)) == key
    assert key in scheme
    gone = PartitionKey(**{name: f"{value}?" for name, value in key.items()})
    assert gone not in scheme
    assert PartitionKey(**key, other="A") not in scheme


@given(schemes())
@settings(max_examples=60, deadline=None)
def test_a_scheme_survives_json_and_pickle(scheme):
    """A scheme comes back equal from its dict and from a pickle."""
    assert PartitionScheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme
    assert pickle.loads(pickle.dumps(scheme)) == scheme
    assert hash(pickle.loads(pickle.dumps(scheme))) == hash(scheme)


def test_it_equals_thirteen_years_of_prices():
    """The XNYS scheme has exactly the trading dates of five symbols, each from its listing on, closures included."""
    path = files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with path.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as text:
        rows = [(row["Ticker"], row["Date"]) for row in csv.DictReader(text)]
    sessions = [day.isoformat() for day in PRICES.cadence]
    assert len(sessions) == 3270
    for symbol in SYMBOLS:
        traded = [day for ticker, day in rows if ticker == symbol]
        assert traded == [day for day in sessions if day >= traded[0]]
    assert len([day for ticker, day in rows if ticker == "AAPL"]) == 3270
    closed = ["2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2012-10-29", "2012-10-30"]
    assert not any(PartitionKey(date=day, symbol="IBM") in PRICES for day in closed)


def test_a_key_has_a_date_a_window_and_a_due_time():
    """They are those of its as-of date in the cadence."""
    key = PRICES.key(date=date(2012, 10, 26), symbol="IBM")
    assert PRICES.as_of_date(key) == date(2012, 10, 26)
    assert PRICES.window(key) == PRICES.cadence.window(date(2012, 10, 26))
    assert PRICES.due(key).astimezone(UTC) == datetime(2012, 10, 27, 4, tzinfo=UTC)
    static = PartitionScheme(tier=["T1"])
    assert static.as_of_date(static[0]) is static.window(static[0]) is static.due(static[0]) is static.cadence is None


def test_a_scheme_says_what_it_is_made_of():
    """Names in declared order, the cadence and its dimension, and the values of the others."""
    assert PRICES.dimensions == ("date", "symbol")
    assert (PRICES.cadence_dimension, PRICES.cadence.calendar) == ("date", "XNYS")
    assert PRICES.values("symbol") == tuple(SYMBOLS)
    with pytest.raises(PartitionError, match=r"use scheme\.cadence"):
        PRICES.values("date")
    with pytest.raises(PartitionError, match="it has date, symbol"):
        PRICES.values("ticker")


def test_values_may_be_dates_numbers_and_enums():
    """Values become texts, in the order given; an Enum class stands for its members."""

    class Tier(enum.Enum):
        ONE = "T1"
        TWO = "T2"

    scheme = PartitionScheme(tier=Tier, year=range(2010, 2012), day=[date(2012, 1, 3)])
    assert (scheme.values("tier"), scheme.values("year"), scheme.values("day")) == (
        ("T1", "T2"),
        ("2010", "2011"),
        ("2012-01-03",),
    )


def test_a_callable_is_called_once_and_late():
    """Values that come from a callable are read when first needed, and then kept."""
    calls = []

    def symbols():
        calls.append(1)
        return ["AAPL", "IBM"]

    scheme = PartitionScheme(symbol=symbols)
    assert "symbols" in repr(scheme)
    assert calls == []
    assert (len(scheme), scheme[1].symbol, scheme == PartitionScheme(symbol=["AAPL", "IBM"])) == (2, "IBM", True)
    assert calls == [1]
    assert pickle.loads(pickle.dumps(scheme)) == scheme
    with pytest.raises(PartitionError, match="no values"):
        len(PartitionScheme(symbol=lambda: iter(())))


def test_without_an_end_keys_are_still_numbered():
    """With the cadence first, any key of a scheme without an end has a number; counting takes an until."""
    assert bool(ENDLESS)
    assert [str(key) for key in itertools.islice(ENDLESS, 5, 7)] == [
        "tier=T2|venue=Z|week_ending=2012-01-06",
        "tier=T1|venue=N|week_ending=2012-01-13",
    ]
    assert all(ENDLESS.index(ENDLESS[i]) == i for i in (0, 5, 6, 100_003))
    assert ENDLESS.count("2012-02-03") == len(ENDLESS.keys(date(2012, 2, 3))) == 30
    for needs in (lambda: len(ENDLESS), lambda: ENDLESS[-1], ENDLESS.keys, ENDLESS.count):
        with pytest.raises(PartitionError, match="until="):
            needs()


def test_without_the_dimension_of_its_delays_all_are_due_together():
    """After the longest of them; delays that differ by another dimension stay, and so does the rest."""
    delays = {"tier": {"T1": timedelta(days=1), "OTC": timedelta(days=3)}}
    scheme = PartitionScheme(date=Daily(start="2012-01-03", delay=delays), tier=["T1", "OTC"], venue=["Z"])
    left = scheme.without("tier")
    assert left == PartitionScheme(date=Daily(start="2012-01-03", delay=timedelta(days=3)), venue=["Z"])
    assert scheme.without("venue").cadence.delay == scheme.cadence.delay
    assert PartitionScheme.from_dict(left.to_dict()) == left


def test_without_an_end_a_cadence_that_is_not_first_needs_until():
    """Its keys can be counted and listed until a date, and found, but not numbered."""
    scheme = PartitionScheme(tier=["T1", "T2"], date=Daily(start="2012-01-01"))
    assert [str(key) for key in scheme.keys("2012-01-02")][1:3] == [
        "date=2012-01-02|tier=T1",
        "date=2012-01-01|tier=T2",
    ]
    assert {"tier": "T1", "date": "2050-01-01"} in scheme
    for needs in (
        lambda: scheme[0],
        lambda: next(iter(scheme)),
        lambda: scheme.index({"tier": "T1", "date": "2050-01-01"}),
    ):
        with pytest.raises(PartitionError, match="declare date first"):
            needs()


def test_a_million_keys_take_no_memory():
    """Counting, numbering, finding and iterating the keys of a scheme of a million takes less than 100 kB."""
    scheme = PartitionScheme(date=Daily(start="2000-01-01", end="2027-05-18"), symbol=[f"S{i}" for i in range(100)])
    tracemalloc.start()
    try:
        assert len(scheme) == 1_000_000
        assert scheme.index(scheme[777_777]) == 777_777
        assert sum(1 for _ in itertools.islice(scheme, 20_000)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "2012-10-29|IBM",
            "2012-10-29 is a holiday in XNYS.*nearest keys are date=2012-10-26.symbol=IBM and date=2012-10-31",
        ),
        ("2012-10-27|IBM", "is a Saturday, a weekend day in XNYS"),
        ("1999-12-31|IBM", "before the start 2000-03-01.*nearest keys are date=2000-03-01"),
        ("2013-03-04|IBM", "after the end 2013-03-01.*nearest keys are date=2013-03-01"),
        ("2999-01-01|IBM", "after the end"),
        ("2012-10-26|APPL", "no value 'APPL', did you mean AAPL.*nearest keys are date=2012-10-26.symbol=AAPL"),
        ("2012-10-26|ibm", "did you mean IBM"),
        ("2012-10-26|ZZZ", "it has AAPL, FB, GOOG, IBM, MSFT"),
        ("26/10/2012|IBM", "is not a date; write it as YYYY-MM-DD"),
        ("20121026|IBM", "is not a date; write it as YYYY-MM-DD"),
        ("2012-10-26", "write '<date>.<symbol>'"),
        ("date=2012-10-26", "add symbol"),
        ("date=2012-10-26,symbl=IBM", "symbl is not one of them, did you mean symbol"),
        ("date=2012-10-26,symbol=IBM,tier=T1", "tier is not one of them"),
    ],
)
def test_a_key_outside_names_its_nearest_neighbours(text, words):
    """What is wrong, with the offending value, and which keys were probably meant."""
    with pytest.raises(UnknownPartition, match=words):
        PRICES.parse(text)
    assert text not in PRICES


def test_a_saturday_week_ending_names_the_friday():
    """The Friday that was probably meant comes first."""
    with pytest.raises(UnknownPartition, match=r"2012-01-07 is a Saturday.*2012-01-06 was probably meant"):
        ENDLESS.parse("2012-01-07|T1|N")


def test_a_date_beyond_the_calendar_says_how_far_it_goes():
    """The calendar's bounds are named, with what to do."""
    scheme = PartitionScheme(date=Daily(start="2030-01-01", calendar="XNYS"))
    with pytest.raises(UnknownPartition, match="2039-12-31"):
        scheme.check("2045-01-03")


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: PartitionScheme(), "at least one dimension"),
        (
            lambda: PartitionScheme(a=Daily(start="2012-01-01"), b=Monthly(start="2012-01-01")),
            "give the values of b as a list",
        ),
        (lambda: PartitionScheme(date=Daily), r"Daily\(start="),
        (lambda: PartitionScheme(symbol="IBM"), r"symbol=\['IBM'\]"),
        (lambda: PartitionScheme(symbol={"IBM", "FB"}), r"pass sorted\("),
        (lambda: PartitionScheme(symbol={"IBM": 1}), r"pass sorted\("),
        (lambda: PartitionScheme(symbol=7), "a list of values"),
        (lambda: PartitionScheme(symbol=None), "a list of values"),
        (lambda: PartitionScheme(symbol=[]), "at least one"),
        (lambda: PartitionScheme(symbol=["IBM", "FB", "IBM"]), "'IBM' twice"),
        (lambda: PartitionScheme(symbol=["1", 1]), "'1' twice"),
        (lambda: PartitionScheme(symbol=[""]), "is empty"),
        (lambda: PartitionScheme(symbol=[1.5]), "a string, a date or an int"),
        (lambda: PartitionScheme(path=["A"]), "an attribute of PartitionKey"),
        (lambda: len(PartitionScheme(a=["x" * 150], b=["y" * 60])), "shorten the values of a"),
        (lambda: PartitionScheme.from_dict({"dims": []}), "not a scheme written by"),
        (lambda: PartitionScheme.from_dict({"dimensions": [{"name": "a"}]}), "not a scheme written by"),
        (lambda: PRICES.check(7), "pass a PartitionKey, a dict or text"),
        (lambda: PRICES.parse(7), "'<date>.<symbol>'"),
        (lambda: PRICES.parse("2012-10-26|%ZZ"), "%25"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(make, remedy):
    """Each error says what to write instead."""
    with pytest.raises(PartitionError, match=remedy):
        make()


def test_an_unknown_calendar_is_told_at_first_use():
    """A scheme on a calendar that does not exist can be made, and says so when it is asked for a key."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", calendar="XNYZ"))
    with pytest.raises(CalendarError, match="XNYS"):
        scheme[0]


def test_a_scheme_is_immutable():
    """Nothing of a scheme can be set."""
    with pytest.raises(AttributeError, match="immutable"):
        PRICES.cadence = None


def test_a_key_that_is_not_there_is_shown_as_it_was_typed():
    """The error has the value as people typed it, not as it is escaped in a canonical key."""
    with pytest.raises(UnknownPartition, match="the scheme has no key tier=T/9: "):
        PartitionScheme(tier=["T1"]).check({"tier": "T/9"})


def test_a_dimension_that_is_named_like_a_secret_is_warned_of():
    """Its values are hidden wherever they are shown; the scheme goes on working, and is warned of once."""
    with pytest.warns(
        UserWarning, match="dimension 'token' says that its values are secret.*take another name"
    ) as said:
        scheme = PartitionScheme(date=Daily(start="2026-01-05"), token=["BTC", "ETH"])
    assert said[0].filename == __file__
    assert str(scheme[1]) == "date=2026-01-05|token=ETH"
    with warnings.catch_warnings(action="error"):
        assert [str(key) for key in scheme.without("date")] == ["token=BTC", "token=ETH"]
        assert PartitionScheme.from_dict(scheme.to_dict()) == scheme
        assert [dict(values) for values in static_values(scheme)] == [{"token": "BTC"}, {"token": "ETH"}]


def test_an_hour_of_a_scheme_is_a_value_of_its_keys():
    """An entry of the cadence stands for its text, of two that look alike for its own; no other time does."""
    hours = Hourly(start="2026-11-01", end="2026-11-01", timezone="America/New_York")
    scheme = PartitionScheme(hour=hours, fund=["A"])
    texts = [scheme.key(hour=hour, fund="A").hour for hour in hours[:3]]
    assert texts == ["2026-11-01T00:00-04:00", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"]
    assert {"hour": hours[1], "fund": "A"} in scheme
    for wrong, words in (
        (hours[1].replace(second=30), "is no full hour"),
        (hours[1].astimezone(UTC), "write 2026-11-01T01:00-04:00"),
    ):
        with pytest.raises(UnknownPartition, match=words):
            scheme.check({"hour": wrong, "fund": "A"})
