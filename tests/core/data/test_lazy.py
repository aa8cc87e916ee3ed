"""A dict whose values are fetched when they are first looked at."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ReadOnlyError
from flowctx.core.data.encoding import to_json
from flowctx.core.data.lazy import LazyDict

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
