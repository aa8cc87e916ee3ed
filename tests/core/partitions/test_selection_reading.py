"""What the text of a selection tells of keys, without their scheme."""

from __future__ import annotations

import sys
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import Daily, Hourly, Monthly, PartitionScheme, Weekly
from flowctx.core.partitions.selection_reading import SelectionText

SCHEMES = (
    PartitionScheme(
        date=Daily(start="2026-01-02", end="2026-02-27", calendar="XNYS"), fund=["GROWTH", "BOND", "INCOME"]
    ),
    PartitionScheme(tier=["T1", "T2", "T10", "T3", "a..b", "x/y"], date=Weekly(start="2026-01-02", end="2026-12-31")),
    PartitionScheme(hour=Hourly(start="2026-03-06", end="2026-03-10", timezone="America/New_York")),
    PartitionScheme(month=["2026-05-31", "2026-04-30", "2026-03-31", "2026-02-28", "2026-01-31"], side=["a", "b"]),
    PartitionScheme(day=["2026-01-05", "2026-01-09", "LATEST", "2026-01-06", "2026-01-07", "2026-01-08"]),
    PartitionScheme(at=["2026-01-05T02:00+02:00", "2026-01-05T01:00Z", "2026-01-05T02:00+01:00", "2026-13-05T02:00Z"]),
    PartitionScheme(month=Monthly(start="2026-01-01", end="2027-12-31"), n=range(12), side=["a", "b"]),
)


@given(st.data())
def test_what_it_tells_is_so(data: st.DataObject) -> None:
    """Of each key of a scheme, the text says what the selection says, or that it does not tell."""
    scheme = data.draw(st.sampled_from(SCHEMES))
    places = st.integers(0, len(scheme) - 1)
    selection = scheme.keys()[0:0]
    for _ in range(data.draw(st.integers(0, 4))):
        low, high = sorted((data.draw(places), data.draw(places)))
        selection |= scheme.keys()[low : high + 1 : data.draw(st.integers(1, 5))]
    text = SelectionText(str(selection))
    for key in scheme:
        assert text.holds(str(key)) in (key in selection, None)
    texts = list(scheme.keys().texts())
    assert list(text.doubtful(texts)) == [one for one in texts if text.holds(one) is not True]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_ranges_of_dates_and_lists_of_values_are_told(scheme: PartitionScheme) -> None:
    """Of selections as people write them, it tells all."""
    dated = scheme.cadence_dimension or scheme.dimensions[0]
    first, last = scheme[0], scheme[-1]
    texts = [f"{dated}={first[dated]}..{last[dated]}", f"{dated}=last:3", f"{dated}={first[dated]}", f"{dated}=.."]
    texts += [f"{name}={first[name]}|{last[name]}" for name in scheme.dimensions if name != dated]
    for written in texts:
        selection = scheme.select(written)
        text = SelectionText(str(selection))
        assert [text.holds(one) for one in scheme.keys().texts()] == [key in selection for key in scheme]


def test_what_is_no_key_of_the_scheme_is_not_held() -> None:
    """A key without a dimension that is named, with none that is known, or a text that is no key, is outside."""
    text = SelectionText("date=2026-01-02..2026-01-09,fund=GROWTH")
    assert text.holds("fund=GROWTH|date=2026-01-05")
    for partition in ("", "nightly", "date=2026-01-05", "date=2026-01-05|level=GROWTH", "fund=GROWTH|x=%"):
        assert text.holds(partition) is False
        assert list(text.doubtful([partition])) == [partition]


@pytest.mark.parametrize("text", ["month=2026-05-31..2026-02-28", "at=2026-01-05T01:00Z..2026-01-05T01:00+01:00"])
def test_of_a_range_back_in_time_only_the_ends_are_told(text: str) -> None:
    """A range whose first date is the later one has the order of its scheme, which the text does not tell."""
    name, _, ends = text.partition("=")
    low, _, high = ends.partition("..")
    held = [SelectionText(text).holds(f"{name}={value}") for value in (low, high, "2026-03-31", "T1")]
    assert held == [True, True, None, None]


def _calls_to_read(text: str) -> int:
    """Return how many calls it takes to tell of 200 dates whether they are held."""
    read = SelectionText(text)
    dates = [f"date={date(2000, 1, 1) + timedelta(days=days)}" for days in range(200)]
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        assert not list(read.doubtful(dates))
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(("item", "every"), [("{0}", 1), ("{0}..{1}", 3)], ids=["values", "ranges"])
def test_what_is_held_is_looked_up(item: str, every: int) -> None:
    """Of a date, in a list newest first or with gaps, it takes no longer to tell where many are selected."""
    few, many = (
        [date(2000, 1, 1) + timedelta(days=days) for days in range(0, count, every)][::-1] for count in (201, 4001)
    )
    texts = ("|".join(item.format(day, day + timedelta(days=every - 1)) for day in days) for days in (few, many))
    of_few, of_many = (_calls_to_read(f"date={text}") for text in texts)
    assert of_many < 2 * of_few
