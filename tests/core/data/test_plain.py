"""Plain data: what may flow, and how it is kept."""

import copy
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given

from flowctx import PlainDataError, ReadOnlyError, thaw
from flowctx.core.data.plain import freeze
from strategies import plain_data, same


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Quote:
    bid: Decimal
    when: tuple


class Tick(msgspec.Struct):
    price: float


class Cross(msgspec.Struct, tag_field="kind", tag="cross"):
    """One of a union, told by its tag."""

    price: float


@given(plain_data())
def test_freezing_is_done_once(value):
    """What is frozen stays the same object when it is frozen again, and equals what it was made from."""
    frozen = freeze(value)
    if isinstance(frozen, (dict, list)):
        assert freeze(frozen) is frozen
    assert [freeze(thaw(frozen))] == [frozen]


@given(plain_data())
def test_pickle_and_deepcopy(value):
    """Frozen data survives pickle; a deep copy of it is ordinary data that can be changed."""
    frozen = freeze(value)
    assert same(pickle.loads(pickle.dumps(frozen)), frozen)
    assert same(freeze(copy.deepcopy(frozen)), frozen)
    assert type(copy.deepcopy(frozen)) is type(thaw(frozen))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Quote(Decimal("1.10"), (1,)), {"bid": Decimal("1.10"), "when": [1]}),
        (Tick(1.5), {"price": 1.5}),
        (Cross(1.5), {"kind": "cross", "price": 1.5}),
        (bytearray(b"x"), b"x"),
        ({Colour.RED: 1}, {"red": 1}),
        (datetime(2026, 7, 1, tzinfo=ZoneInfo("America/New_York")), datetime(2026, 7, 1, 4, tzinfo=UTC)),
    ],
)
def test_values_are_normalised_on_entry(value, kept):
    """Tuples, enums, records and subclasses become what they are stored as."""
    assert freeze(value) == kept


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"output\['a'\]\[1\] is a set, which cannot be passed on; use sorted\(...\)"),
        ({"a": object()}, r"output\['a'\] is an object.*turn it into text, numbers"),
        ({1: "x"}, r"output has the key 1, an int; keys are text: use str"),
        ({"a\0": 1}, "NUL"),
        (datetime(2026, 1, 1), "without a time zone; add tzinfo"),  # noqa: DTZ001
        (Decimal("sNaN"), "signalling NaN"),
        (1j, r"use \[z.real, z.imag\]"),
        (lambda: 1, "return its result instead"),
        (time(9, tzinfo=ZoneInfo("America/New_York")), "offset depends on the day"),
        (ZoneInfo("UTC"), "use its name"),
    ],
)
def test_what_may_not_flow_is_refused(value, message):
    """The message has the path to it and the remedy."""
    with pytest.raises(PlainDataError, match=message):
        freeze(value, "output")


def test_an_open_file_is_refused(tmp_path):
    """The remedy is the path or the content."""
    with (tmp_path / "f").open("w") as file, pytest.raises(PlainDataError, match="not the open file"):
        freeze({"file": file})


def test_pandas_and_numpy_values():
    """A Timestamp is a datetime; NaT, nanoseconds, matrices and single columns are refused with the remedy."""
    import pandas as pd

    assert freeze(pd.Timestamp("2026-01-10", tz="UTC")) == datetime(2026, 1, 10, tzinfo=UTC)
    for value, message in [
        (pd.NaT, "use None"),
        (pd.Timestamp(1, tz="UTC"), "nanoseconds"),
        (pd.Series([1]).to_frame().to_numpy(), "tolist"),
        (pd.Series([1]), "to_frame"),
    ]:
        with pytest.raises(PlainDataError, match=message):
            freeze({"x": value})


def test_a_structure_that_contains_itself_is_refused():
    """It ends with an error, not with the recursion limit."""
    value = []
    value.append(value)
    with pytest.raises(PlainDataError, match="contains itself"):
        freeze(value)


MUTATIONS = [
    lambda v: v["d"].__setitem__("a", 1),
    lambda v: v["d"].update(a=1),
    lambda v: v["d"].pop("k"),
    lambda v: v["d"].popitem(),
    lambda v: v["d"].clear(),
    lambda v: v["d"].setdefault("a", 1),
    lambda v: v["d"].__delitem__("k"),
    lambda v: v["d"].__ior__({"a": 1}),
    lambda v: v["l"].append(1),
    lambda v: v["l"].__setitem__(0, 1),
    lambda v: v["l"].__iadd__([1]),
    lambda v: v["l"].__imul__(2),
    lambda v: v["l"].__delitem__(0),
    lambda v: v["l"].extend([1]),
    lambda v: v["l"].insert(0, 1),
    lambda v: v["l"].pop(),
    lambda v: v["l"].remove(1),
    lambda v: v["l"].reverse(),
    lambda v: v["l"].sort(),
    lambda v: v["l"].clear(),
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_frozen_data_cannot_be_changed(mutate):
    """Every way of changing it in place is a TypeError that says to copy it first."""
    value = freeze({"d": {"k": 1}, "l": [1]})
    with pytest.raises(ReadOnlyError, match="copy it first") as caught:
        mutate(value)
    assert isinstance(caught.value, TypeError)
    assert value == {"d": {"k": 1}, "l": [1]}


def test_copies_can_be_changed():
    """dict(), list(), copy() and thaw() give ordinary containers."""
    value = freeze({"l": [1]})
    for copied in (dict(value), value.copy(), copy.copy(value), value | {}, thaw(value), copy.deepcopy(value)):
        copied["new"] = 1
    for copied in (list(value["l"]), value["l"].copy(), copy.copy(value["l"]), value["l"] + []):
        copied.append(2)
    assert value == {"l": [1]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"limit": 1, "factor": 2}, r"^no 'limmit' here; did you mean 'limit'\?$"),
        ({"a": 1, "b": 2}, "^no 'limmit' here; there are a, b$"),
        ({}, "^no 'limmit' here; it is empty$"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(data, words):
    """A parameter or a value of an output that is missing is a KeyError with the names that there are."""
    with pytest.raises(KeyError, match=words):
        freeze(data)["limmit"]
    assert freeze(data).get("limmit", 7) == 7
