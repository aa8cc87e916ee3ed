"""A dict whose values are fetched when they are first looked at."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ReadOnlyError
from flowctx.core.data.encoding import to_json
from flowctx.core.data.lazy import LazyDict, UnreadDict
from flowctx.core.data.plain import freeze

ITEMS = {"a": 1, "b": 2, "c": 3}


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def lazy(fetched):
    """``a`` is at hand; ``b`` and ``c`` are not."""

    def fetch(key):
        fetched.append(key)
        return ITEMS[key]

    return LazyDict(ITEMS, {"a": 1}, fetch)


def test_keys_cost_nothing(lazy, fetched):
    """Keys, length, order and membership fetch no value, nor does a value that is at hand."""
    assert (list(lazy), len(lazy), "b" in lazy, "x" in lazy, lazy["a"]) == (["a", "b", "c"], 3, True, False, 1)
    assert (list(lazy.keys()), lazy.get("x"), lazy.get("x", 0), fetched) == (["a", "b", "c"], None, 0, [])


def test_a_value_is_fetched_once(lazy, fetched):
    """The first look at a value fetches it, and only it."""
    assert [lazy["b"], lazy["b"], lazy.get("b")] == [2, 2, 2]
    assert fetched == ["b"]


@pytest.mark.parametrize(
    "use",
    [
        lambda lazy: dict(lazy.items()),
        lambda lazy: dict(zip(lazy, lazy.values(), strict=True)),
        lambda lazy: dict(lazy),
        lambda lazy: {**lazy},
        lambda lazy: lazy.copy(),
        lambda lazy: lazy | {},
        lambda lazy: {} | lazy,
        lambda lazy: copy.deepcopy(lazy),
        lambda lazy: pickle.loads(pickle.dumps(lazy)),
        lambda lazy: to_json(lazy),
        lambda lazy: eval(repr(lazy)),
    ],
)
def test_whoever_looks_at_all_values_has_them(lazy, use):
    """No way of copying, merging, storing or showing it sees a value that was not fetched."""
    assert use(lazy) == ITEMS


def test_it_equals_an_ordinary_dict(lazy):
    """It compares by its values, fetched for that, to a dict and to another of its kind."""
    other = LazyDict(ITEMS, {}, ITEMS.__getitem__)
    assert lazy == ITEMS
    assert lazy == other
    assert lazy != {**ITEMS, "c": 4}
    assert lazy != LazyDict(ITEMS, {"c": 4}, ITEMS.__getitem__)


def test_a_read_only_dict_equals_it_too(lazy):
    """Whichever stands on the left, and however deep, the values are fetched and compared."""
    assert freeze(ITEMS) == lazy
    assert freeze({"x": [ITEMS]}) == {"x": [lazy]}
    assert freeze({**ITEMS, "c": 4}) != LazyDict(ITEMS, {}, ITEMS.__getitem__)


def test_one_more_item_fetches_nothing(lazy, fetched):
    """A dict with one more item shares what is not fetched yet, and leaves the first as it was."""
    more = lazy.plus("d", 4)
    assert (fetched, list(more), "d" in lazy) == ([], ["a", "b", "c", "d"], False)
    assert more == {**ITEMS, "d": 4}


def test_it_cannot_be_changed(lazy):
    """It is as read-only as any dict in a context, and has no hash."""
    with pytest.raises(ReadOnlyError, match="copy it first"):
        lazy["a"] = 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(lazy)


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=6), st.data())
def test_what_is_at_hand_makes_no_difference(items, data):
    """Whichever values were there from the start, it is the same dict in the same order."""
    ready = {key: value for key, value in items.items() if data.draw(st.booleans())}
    assert list(LazyDict(items, ready, items.__getitem__).items()) == list(items.items())


@pytest.fixture
def unread(fetched):
    """``a``, ``b`` and ``c`` are not read yet."""

    def read(key, data):
        fetched.append(key)
        return json.loads(data)

    return UnreadDict({key: str(value).encode() for key, value in ITEMS.items()}, read)


def test_what_is_unread_is_handed_on_as_it_came(unread, fetched):
    """One more item reads none of the others, and their encoded form is there, read or not."""
    more = unread.plus("d", 4)
    assert (more["b"], fetched) == (2, ["b"])
    assert more.encoded(repr) == {"a": b"1", "b": b"2", "c": b"3", "d": "4"}
    assert (list(unread), more) == (["a", "b", "c"], {**ITEMS, "d": 4})


def test_an_item_in_the_place_of_one_that_is_unread_wins(unread, fetched):
    """It stands where the other stood, and is what one sees and what is stored; the first dict is as it was."""
    other = unread.plus("b", 7)
    assert (other["b"], fetched) == (7, [])
    assert unread["b"] == 2
    assert list(to_json(other).items()) == list(other.items()) == [("a", 1), ("b", 7), ("c", 3)]


def test_what_is_unread_is_a_read_only_dict_like_any_other(unread):
    """It compares, copies, pickles and prints with all its values, and refuses every change."""
    assert unread == ITEMS == freeze(ITEMS) == unread
    assert pickle.loads(pickle.dumps(unread)) == copy.deepcopy(unread) == dict(unread) == eval(repr(unread)) == ITEMS
    with pytest.raises(ReadOnlyError, match="copy it first"):
        unread.update(a=1)
