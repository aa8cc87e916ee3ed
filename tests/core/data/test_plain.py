"""Plain data: what may flow, how it is kept, and its JSON form."""

import copy
import json
import math
import pickle
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import ArtifactRef, PayloadError, PlainDataError, ReadOnlyError, thaw
from flowctx.core.data.encoding import decode, digest, encode, from_json, to_json
from flowctx.core.data.handles import artifacts_in
from flowctx.core.data.plain import freeze
from strategies import plain_data


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


def same(a, b):
    """Compare more strictly than ==: types, digits, signs of zero and offsets too."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@given(plain_data())
def test_the_json_form_loses_nothing(value):
    """What is stored is what comes back, to the last digit and offset, through any JSON library."""
    frozen = freeze(value)
    assert same(from_json(json.loads(json.dumps(to_json(frozen), allow_nan=False))), frozen)
    assert same(decode(encode(frozen)), from_json(json.loads(encode(frozen))))
    assert [from_json(json.loads(json.dumps(to_json(frozen))))] == [frozen]


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
        (bytearray(b"x"), b"x"),
        ({Colour.RED: 1}, {"red": 1}),
        (datetime(2026, 7, 1, tzinfo=ZoneInfo("America/New_York")), datetime(2026, 7, 1, 4, tzinfo=UTC)),
    ],
)
def test_values_are_normalised_on_entry(value, kept):
    """Tuples, enums, records and subclasses become what they are stored as."""
    assert freeze(value) == kept


def test_a_datetime_keeps_its_offset():
    """The zone goes, the offset stays, in the repeated hour of autumn too."""
    zone = ZoneInfo("America/New_York")
    first, second = (datetime(2026, 11, 1, 1, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    kept = [from_json(to_json(freeze(value))) for value in (first, second)]
    assert [value.utcoffset() for value in kept] == [timedelta(hours=-4), timedelta(hours=-5)]
    assert [value.timestamp() for value in kept] == [first.timestamp(), second.timestamp()]


def test_nan_equals_itself_after_a_round_trip():
    """Containers with NaN compare equal once stored and read back."""
    frozen = freeze({"x": [float("nan"), math.inf, -math.inf], "d": Decimal("NaN")})
    assert decode(encode(frozen)) == frozen


def test_a_users_own_dollar_keys_are_escaped():
    """A key that looks like a tag comes back as the key it was."""
    value = {"$date": "not a date", "$$": {"$decimal": 1, "b": 2}}
    assert to_json(freeze({"$date": "x"})) == {"$$date": "x"}
    assert decode(encode(freeze(value))) == value


def test_keys_that_airflow_reserves_are_escaped():
    """Its serialiser refuses or rebuilds dicts with keys such as these, so none is written as it is."""
    value = {"__classname__": "x", "rows": [{"__type": "dict", "__var": 1}, {"$__id__": 2}], "a__b": 3, "_c": 4}
    form = {"$__classname__": "x", "rows": [{"$__type": "dict", "$__var": 1}, {"$$__id__": 2}], "a__b": 3, "_c": 4}
    assert to_json(freeze(value)) == form
    assert from_json(form) == value


@given(st.dictionaries(st.text("$_a", max_size=5), st.integers(0, 9), max_size=4))
def test_every_key_survives(value):
    """No two keys are written assert_same_as_local, none as Airflow's, and all come back in their order."""
    form = to_json(freeze(value))
    assert len(form) == len(value)
    assert not [key for key in form if key.startswith("__")]
    assert list(from_json(form).items()) == list(value.items())


def test_keys_that_were_never_escaped_are_read_as_they_are():
    """Older versions wrote keys that start with two underscores unchanged."""
    payload = {"__classname__": "x", "rows": [{"__type": {"$date": "2026-01-10"}}]}
    assert from_json(payload) == {"__classname__": "x", "rows": [{"__type": date(2026, 1, 10)}]}


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (date(2026, 1, 10), {"$date": "2026-01-10"}),
        (Decimal("1.10"), {"$decimal": "1.10"}),
        (time(9, 30), {"$time": "09:30:00"}),
        (timedelta(days=1, seconds=2, microseconds=3), {"$timedelta": "P1DT2.000003S"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (b"\x00", {"$bytes": "AA=="}),
        (2**70, {"$int": hex(2**70)}),
        ("a\0b", {"$str": "a\\u0000b"}),
        (math.nan, {"$float": "nan"}),
    ],
)
def test_tags(value, form):
    """The JSON form is stable: stored payloads depend on it."""
    assert to_json(freeze(value)) == form
    assert same(from_json(form), freeze(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"output\['a'\]\[1\] is a builtins.set, which cannot be passed on; use sorted\(...\)"),
        ({"a": object()}, r"output\['a'\] is a builtins.object.*turn it into text, numbers"),
        ({1: "x"}, r"output has the key 1, a int; keys are text: use str"),
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


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"$nonsense": 1}, r"unknown tag '\$nonsense'"),
        ({"$date": "yesterday"}, r"damaged \$date"),
        ({"$bytes": "?"}, r"damaged \$bytes"),
        ({"$decimal": "x"}, r"damaged \$decimal"),
        ({"$artifact": {}}, r"damaged \$artifact"),
        ({"$a": 1, "b": 2}, "unescaped key"),
        ({"a": {1}}, r"value\['a'\] is a set"),
    ],
)
def test_damaged_payloads_are_refused(payload, message):
    """The message says where."""
    with pytest.raises(PayloadError, match=message):
        from_json(payload)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_json_are_refused(data):
    """Truncated, binary or endless data ends with a clear error."""
    with pytest.raises(PayloadError):
        decode(data)


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


def test_equal_data_has_equal_digests():
    """The order in which keys were set does not matter, the values do."""
    assert digest(freeze({"a": 1, "b": 2})) == digest(freeze({"b": 2, "a": 1}))
    assert digest(freeze({"a": Decimal("1.0")})) != digest(freeze({"a": Decimal("1.00")}))


def test_artifacts_in_finds_references():
    """References are found wherever they are."""
    ref = ArtifactRef(uri="memory://x", digest="0" * 64, size=3)
    assert list(artifacts_in(freeze({"a": [ref, {"b": ref}], "c": 1}))) == [ref, ref]
    assert decode(encode(freeze({"a": ref}))) == {"a": ref}
