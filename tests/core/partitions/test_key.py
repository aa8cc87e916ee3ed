"""PartitionKey."""

import copy
import pickle
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import MissingDimension, PartitionError, PartitionKey

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not hasattr(PartitionKey, name))
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=5)
KEYS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3).map(lambda dims: PartitionKey(**dims))


@given(KEYS)
def test_parse_inverts_str(key):
    """Every key comes back from its canonical text."""
    assert PartitionKey.parse(str(key)) == key
    assert str(PartitionKey.parse(str(key))) == str(key)


@given(KEYS)
def test_the_path_is_safe(key):
    """No value can leave the folder that the path is put in."""
    segments = key.path.split("/")
    assert len(segments) == len(key)
    assert not {"", ".", ".."} & set(segments)
    assert all(char.isalnum() or char in "_.:+-=%" for segment in segments for char in segment)


@given(KEYS)
def test_copies_are_equal(key):
    """A pickled or copied key is the same key."""
    assert pickle.loads(pickle.dumps(key)) == key
    assert copy.deepcopy(key) is key


def test_the_order_of_dimensions_does_not_matter():
    """Equality, hash and text ignore the order."""
    one, other = PartitionKey(tier="OTC", date="2026-01-09"), PartitionKey(date="2026-01-09", tier="OTC")
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == "date=2026-01-09|tier=OTC"
    assert one.path == "date=2026-01-09/tier=OTC"


def test_values_become_text():
    """Dates and aware datetimes become ISO 8601, ints digits."""
    key = PartitionKey(a=date(2026, 1, 9), b=datetime(2026, 1, 9, tzinfo=UTC), c=7)
    assert key.to_dict() == {"a": "2026-01-09", "b": "2026-01-09T00:00:00+00:00", "c": "7"}


def test_a_missing_dimension_lists_those_there_are():
    """The error is a KeyError and an AttributeError, and helps."""
    key = PartitionKey(date="2026-01-09", tier="OTC")
    with pytest.raises(MissingDimension, match=r"no dimension 'venue'; it has date, tier"):
        _ = key.venue
    with pytest.raises(KeyError, match="it has date, tier"):
        _ = key["venue"]
    assert not hasattr(key, "venue")


def test_traversal_is_only_text():
    """``../`` in a value is escaped."""
    assert PartitionKey(a="../../etc").path == "a=..%2F..%2Fetc"


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({}, "at least one dimension"),
        ({"a": ""}, "is empty; give it a value or leave the dimension out"),
        ({"a": "x" * 10_000}, "has 10000 characters; a key has at most 200"),
        ({"a": "é" * 100}, "at most 200 fit"),
        ({"a": "x\ny"}, "control characters; remove them"),
        ({"a": "\ud800"}, "control characters"),
        ({"a": 10**500}, "more than 200 digits"),
        ({"a": None}, "is a NoneType; a partition value is a string, a date or an int"),
        ({"a": True}, "is a bool"),
        ({"a": 1.5}, "is a float"),
        ({"a": datetime(2026, 1, 9)}, "has no time zone"),  # noqa: DTZ001
        ({"keys": "x"}, "it is an attribute of PartitionKey; use another name"),
        ({"path": "x"}, "attribute of PartitionKey"),
        ({"a-b": "x"}, "use letters, digits and '_'"),
        ({"_a": "x"}, "starting with a letter"),
        ({"é": "x"}, "starting with a letter"),
    ],
)
def test_what_cannot_be_a_key_is_refused(dims, message):
    """Each refusal says why and what to do."""
    with pytest.raises(PartitionError, match=message):
        PartitionKey(**dims)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-01-09", "has no '='"),
        ("", "has no '='"),
        ("a=1|a=2", "names the dimension 'a' twice"),
        ("a=%zz", "not followed by two hex digits"),
        ("a=%ff", "not UTF-8"),
        (None, "is not text"),
    ],
)
def test_text_that_is_no_key_is_refused(text, message):
    """Each refusal says why."""
    with pytest.raises(PartitionError, match=message):
        PartitionKey.parse(text)


def test_it_is_immutable():
    """Setting or deleting raises."""
    key = PartitionKey(a="1")
    with pytest.raises(AttributeError, match="make a new one"):
        key.a = "2"
    with pytest.raises(AttributeError, match="make a new one"):
        del key.a
    with pytest.raises(TypeError):
        key["a"] = "2"
