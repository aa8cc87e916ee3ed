"""The dimensions of a scheme: values, their positions, and what is said of wrong ones."""

import pickle
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import BusinessCalendar, Daily, PartitionError, PartitionKey
from flowctx.core.partitions.dimensions import check_lengths, make_dimension, not_a_key, wrong_names

DAYS = make_dimension("date", Daily(start="2012-01-03", end="2012-01-31", calendar="WEEKDAYS"))
ENDLESS = make_dimension("date", Daily(start="2012-01-03"))
DESK = BusinessCalendar.from_sessions("DESK", ["2026-01-07", "2026-01-08", "2026-01-09"])
UNTIL_FRIDAY = make_dimension("date", Daily(start="2026-01-07", calendar=DESK))
SYMBOLS = make_dimension("symbol", ["AAPL", "IBM", "N|Y"])


@pytest.mark.parametrize("dimension", [DAYS, SYMBOLS])
def test_values_are_numbered(dimension):
    """A value is found at its index, and many at once are what they are one by one."""
    indexes = range(dimension.size(None))
    parts = [dimension.part(index) for index in indexes]
    assert [dimension.find(value) for value, _ in parts] == list(indexes)
    assert list(dimension.parts(indexes)) == parts
    assert dimension.has_values()


def test_parts_are_escaped():
    """A value comes with the text that a key has for it."""
    assert SYMBOLS.part(2) == ("N|Y", "symbol=N%7CY")
    assert DAYS.part(0) == ("2012-01-03", "date=2012-01-03")


def test_the_longest_part_is_known_before_there_is_one():
    """No part of a dimension is longer than it says."""
    for dimension in (DAYS, SYMBOLS):
        assert max(len(text) for _, text in dimension.parts(range(dimension.size(None)))) == dimension.max_length()


@pytest.mark.parametrize("value", ["2012-01-07", "2012-01-02", "2012-02-01", "20120103", "", "IBM", "9999-12-31"])
def test_what_is_no_date_of_the_cadence_is_not_found(value):
    """A closed day, a day outside and a text that is no date have no index."""
    assert DAYS.find(value) is None


@pytest.mark.parametrize(
    ("dimension", "value", "reason", "near"),
    [
        (DAYS, "2012-01-07", "2012-01-07 is a Saturday", ["2012-01-06", "2012-01-09"]),
        (DAYS, "07.01.2012", "date='07.01.2012' is not a date; write it as YYYY-MM-DD", []),
        (SYMBOLS, "imb", "symbol has no value 'imb', did you mean IBM?", ["IBM"]),
        (SYMBOLS, "???", "symbol has no value '???', it has AAPL, IBM, N|Y", []),
        (make_dimension("n", range(9)), "x", "it has 0, 1, 2, 3, 4 and 4 more", []),
        (UNTIL_FRIDAY, "2026-01-12", "2026-01-12 is outside what is known of the calendar DESK", []),
        (UNTIL_FRIDAY, "2026-01-10", "2026-01-10 is outside what is known of the calendar DESK", []),
    ],
)
def test_a_wrong_value_is_explained(dimension, value, reason, near):
    """The reason is a sentence, and the nearest values are there to be tried."""
    text, found = dimension.explain(value)
    assert reason in text
    assert found == near


def test_without_an_end_values_are_not_counted():
    """Of an endless cadence only the days up to a date can be counted."""
    assert ENDLESS.size(date(2012, 1, 5)) == 3
    with pytest.raises(
        PartitionError, match="date has no end.*pass until= .--until DATE., or give the cadence an end="
    ):
        ENDLESS.size(None)


def test_values_are_read_once_when_they_are_needed():
    """A callable is not called before somebody looks, and then only once."""
    calls = []
    dimension = make_dimension("symbol", lambda: calls.append(1) or ["A", "B"])
    assert (calls, repr(dimension)) == ([], "<values from <lambda>>")
    assert (dimension.find("B"), dimension.size(None), calls) == (1, 2, [1])


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ("AAPL", r"is one text; pass a list: symbol=\['AAPL'\]"),
        (b"AAPL", "is one text"),
        ({"A", "B"}, r"is a set, which has no order of its own; pass sorted\(...\)"),
        ({"A": 1}, "is a dict"),
        (5, "pass a cadence, a list of values, or a callable"),
        ([], "has no values, so there would be no keys"),
        (["A", "B", "A"], "has the value 'A' twice; leave one out"),
        (Daily, r"Daily is a class; make one: Daily\(start="),
        ([""], "symbol"),
    ],
)
def test_what_cannot_be_values_is_refused(values, remedy):
    """The message names the dimension and says what to pass."""
    with pytest.raises(PartitionError, match=remedy):
        make_dimension("symbol", values)


def test_dimensions_are_values():
    """They are equal by name and content, and survive pickle; values that are read are pickled as a list."""
    for dimension in (DAYS, SYMBOLS, make_dimension("symbol", lambda: ["A"])):
        again = pickle.loads(pickle.dumps(dimension))
        assert (again, hash(again)) == (dimension, hash(dimension))
    assert make_dimension("symbol", ["A"]) != make_dimension("other", ["A"])
    assert SYMBOLS != DAYS
    assert DAYS != SYMBOLS


def test_another_sign_than_a_comma_between_dimensions_is_told():
    """The second dimension is in the value of the first one then."""
    message = wrong_names(["date", "symbol"], PartitionKey.parse("date=2012-01-03;symbol=IBM"))
    assert message.endswith("which has the dimensions date, symbol; write a comma before symbol")


def test_wrong_names_say_what_to_add_and_to_leave_out():
    """A key with other dimensions is told which are missing, and what a wrong one may have meant."""
    message = wrong_names(["date", "symbol"], PartitionKey(symbl="IBM", x="1"))
    assert message == (
        "symbl=IBM|x=1 is not a key of this scheme, which has the dimensions date, symbol; add date, symbol; "
        "symbl is not one of them, did you mean symbol?; x is not one of them, leave it out"
    )


def test_a_key_outside_names_the_nearest():
    """Each wrong value is explained, and the keys that are nearest are written out."""
    text = not_a_key([DAYS, SYMBOLS], PartitionKey(date="2012-01-07", symbol="IBM"))
    assert text.startswith("the scheme has no key date=2012-01-07|symbol=IBM: 2012-01-07 is a Saturday")
    assert text.endswith("nearest keys are date=2012-01-06|symbol=IBM and date=2012-01-09|symbol=IBM")


@given(st.integers(150, 200))
def test_keys_that_would_be_too_long_are_refused(length):
    """The longest key that could be counts, before any is made."""
    dimensions = [DAYS, make_dimension("symbol", ["x" * length])]
    total = len("date=2012-01-03|symbol=") + length
    if total <= 200:
        check_lengths(dimensions)
    else:
        with pytest.raises(PartitionError, match=f"{total} characters.*shorten the values of symbol"):
            check_lengths(dimensions)
