"""Keys in Dagster's form, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import Daily, Monthly, PartitionScheme, UnknownPartition, Weekly
from flowctx.core.partitions.dagster_keys import (
    dagster_key_parts,
    dagster_key_text,
    fold,
    parse_dagster_key,
    static_dimensions,
)

WEEKS = PartitionScheme(week=Weekly(start="2012-01-01", end="2012-03-01"), tier=["T1", "T~2"], venue=["N|Y", "..", "a"])
SCHEMES = [
    WEEKS,
    PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-31", calendar="WEEKDAYS")),
    PartitionScheme(zone=["x", "y"], month=Monthly(start="2012-01-01", end="2012-12-31", timezone="Asia/Tokyo")),
    PartitionScheme(tier=["T1", "T2"]),
    PartitionScheme(tier=["T1"], venue=["a...b", ".", "%"]),
]


@given(st.sampled_from(SCHEMES), st.data())
def test_every_key_comes_back(scheme, data):
    """A key is found again from the text that Dagster has for it, in as many dimensions as Dagster takes."""
    key = data.draw(st.sampled_from(list(scheme)))
    parts = dagster_key_parts(key, scheme)
    assert len(parts) <= 2
    assert parse_dagster_key(dagster_key_text(parts), scheme) == key


def test_a_period_is_named_by_its_first_day():
    """Dagster names a week by the day on which its window starts; the as-of date is the Friday that ends it."""
    key = WEEKS.key(week="2012-01-13", tier="T1", venue="a")
    assert dagster_key_parts(key, WEEKS) == {"week": "2012-01-07", "tier~venue": "T1~a"}


def test_dimensions_are_sorted_by_name():
    """Dagster orders the two dimensions by name, whichever was declared first."""
    assert dagster_key_text({"week": "2012-01-07", "tier~venue": "T1~a"}) == "T1~a|2012-01-07"
    assert static_dimensions(WEEKS) == ("tier", "venue")


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3))
def test_folded_values_are_safe(values):
    """No fold holds what Dagster or a file system reads in its own way, and none is taken for another."""
    names = [str(number) for number in range(len(values))]
    text = fold(dict(zip(names, values, strict=True)), names)
    assert text.count("~") == len(values) - 1
    assert not {"/", "|", "\0"} & set(text)
    assert "..." not in text
    assert text not in (".", "..")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2012-01-07", r"is no key of Dagster's for this scheme, whose keys there are '<tier~venue>\|<week>'"),
        ("T1~a|2012-01-07|x", "was it made with another scheme"),
        ("T1~a|7 January", r"has no date \(YYYY-MM-DD\) for week"),
        (
            "T1~a|2012-01-08",
            "2012-01-08 is not one; the window that holds it is 2012-01-07, with the as-of date 2012-01-13",
        ),
        ("T1~a|2011-01-08", "no window of this scheme starts on 2011-01-08"),
        ("T1|2012-01-07", "'T1' has 1 value, and tier~venue takes 2, joined by '~'"),
        ("T9~a|2012-01-07", "tier has no value 'T9'"),
    ],
)
def test_what_is_no_key_of_the_scheme_is_refused(text, words):
    """The message has the text and the form that this scheme's keys have."""
    with pytest.raises(UnknownPartition, match=words):
        parse_dagster_key(text, WEEKS)
