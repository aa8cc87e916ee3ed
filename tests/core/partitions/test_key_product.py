"""The product of dimensions: keys, positions and texts agree with those of a plain list."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import Daily, PartitionError, PartitionKey, PartitionScheme, UnknownPartition

VALUES = {"tier": ["T1", "T2"], "date": ["2012-01-03", "2012-01-04"], "venue": ["N|Y", "A,B", "=x"]}
DAYS = Daily(start="2012-01-03", end="2012-01-04")
SCHEME = PartitionScheme(tier=VALUES["tier"], date=DAYS, venue=VALUES["venue"])
PLAIN = [dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())]
ENDLESS = PartitionScheme(date=Daily(start="2012-01-03"), tier=["T1", "T2"])


def test_keys_are_a_product():
    """The first dimension is the slowest, and a key's own text has its dimensions by name."""
    assert [dict(key) for key in SCHEME] == [dict(sorted(values.items())) for values in PLAIN]
    assert str(SCHEME[0]) == "date=2012-01-03|tier=T1|venue=N%7CY"
    assert (len(SCHEME), SCHEME.count(), bool(SCHEME), SCHEME.dimensions) == (12, 12, True, ("tier", "date", "venue"))


@given(st.integers(0, len(PLAIN) - 1))
def test_a_key_is_found_in_any_form(position):
    """A key, a dict, and both texts stand for the same key at the same position."""
    key = SCHEME[position]
    forms = [key, PLAIN[position], SCHEME.text(key), str(key)]
    assert {SCHEME.check(form) for form in forms} == {key}
    assert {SCHEME.index(form) for form in forms} == {position}
    assert SCHEME.key_at(SCHEME.path_of(key)) == SCHEME.key(**PLAIN[position]) == key


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ({"tier": "T1"}, "add date, venue"),
        ({**PLAIN[0], "tier": "T3"}, "tier has no value 'T3', it has T1, T2"),
        ("T1|2012-01-03", r"has 2 values, .* write '<tier>\|<date>\|<venue>'"),
        (PartitionKey(x="1"), "is not a key of this scheme"),
    ],
)
def test_what_is_no_key_is_refused(key, remedy):
    """The message says what to write, and the scheme does not contain it."""
    assert key not in SCHEME
    with pytest.raises(UnknownPartition, match=remedy):
        SCHEME.check(key)


@pytest.mark.parametrize("key", [None, 5, ["T1"]])
def test_what_is_no_kind_of_key_is_refused(key):
    """A key is a PartitionKey, a dict or a text."""
    assert key not in SCHEME
    with pytest.raises(PartitionError, match="pass a PartitionKey, a dict or text"):
        SCHEME.check(key)


def test_the_values_of_a_static_dimension_are_listed():
    """Those of a cadence are not, and an unknown dimension is told from those there are."""
    assert SCHEME.values("venue") == ("N|Y", "A,B", "=x")
    with pytest.raises(PartitionError, match="'date' is a cadence, whose dates are not listed"):
        SCHEME.values("date")
    with pytest.raises(PartitionError, match="no dimension 'x'; it has tier, date, venue"):
        SCHEME.values("x")


@given(st.integers(0, 5000))
def test_without_an_end_keys_are_still_numbered(position):
    """Of an endless scheme whose cadence is first, each key has its position; the last ones are not known."""
    assert ENDLESS.index(ENDLESS[position]) == position
    with pytest.raises(PartitionError, match=r"use scheme.keys\(until=...\)"):
        ENDLESS[-1 - position]


def test_without_an_end_the_cadence_comes_first():
    """Where a cadence without an end varies faster, no key has a number; up to a date all have."""
    scheme = PartitionScheme(tier=["T1", "T2"], date=Daily(start="2012-01-03"))
    for ask in (
        lambda: scheme[0],
        lambda: next(iter(scheme)),
        lambda: scheme.index(scheme.key(tier="T1", date="2012-01-03")),
    ):
        with pytest.raises(PartitionError, match="or declare date first"):
            ask()
    assert scheme.count("2012-01-04") == 4
    assert [str(key) for key in itertools.islice(ENDLESS, 3)][-1] == "date=2012-01-04|tier=T1"


def test_a_product_cannot_be_changed():
    """A scheme is a value."""
    with pytest.raises(AttributeError, match="immutable"):
        SCHEME.dimensions = ()
