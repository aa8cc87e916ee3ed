"""The JSON form of plain data: nothing lost, nothing taken for what it is not, the same for ever."""

import json
import math
import pickle
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PayloadError
from flowctx.core.data.encoding import decode, digest, encode, from_json, to_json, to_wire
from flowctx.core.data.plain import (
    EMPTY,
    FrozenDict,
    FrozenList,
    JsonDict,
    JsonList,
    freeze,
    is_json,
    is_reserved,
    thaw,
)
from flowctx.core.hashing import sha256
from strategies import plain_data, same


@given(plain_data())
def test_the_json_form_loses_nothing(value):
    """What is stored is what comes back, to the last digit and offset, through any JSON library."""
    frozen = freeze(value)
    assert same(from_json(json.loads(json.dumps(to_json(frozen), allow_nan=False))), frozen)
    assert same(decode(encode(frozen)), from_json(json.loads(encode(frozen))))
    assert [from_json(json.loads(json.dumps(to_json(frozen))))] == [frozen]


def unmarked(value):
    """Return frozen data of which nothing says that it is its own JSON form, so that every value is looked at."""
    if isinstance(value, dict):
        return FrozenDict({key: unmarked(item) for key, item in value.items()})
    return FrozenList(map(unmarked, value)) if isinstance(value, list) else value


def parts(value):
    """Yield a value and all that is in it."""
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(item)


@given(plain_data())
def test_what_is_its_own_json_form_is_written_as_by_looking_at_it(value):
    """Bytes, digest and built-ins are the same as where every value is looked at."""
    frozen = freeze(value)
    slow = to_json(unmarked(frozen))
    assert encode(frozen) == msgspec.json.encode(slow) == encode(from_json(slow))
    assert digest(frozen) == sha256(msgspec.json.encode(slow, order="sorted"))
    assert same(to_json(frozen), slow)
    assert same(msgspec.json.decode(msgspec.json.encode(to_wire(frozen))), slow)


@given(plain_data())
def test_a_value_says_exactly_whether_it_is_its_own_json_form(value):
    """It does so where its JSON form is the value itself, in every part; of one that was read nothing is said."""
    frozen = freeze(value)
    for part in parts(frozen):
        assert is_json(part) == same(to_json(unmarked(part)), thaw(part))
    assert not [part for part in parts(from_json(to_json(frozen))) if type(part) in (JsonDict, JsonList)]


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        2**63,
        -(2**63) - 1,
        "\0",
        "\ud800",
        Decimal(1),
        date(2026, 1, 9),
        b"",
        {"$a": 1},
        {"__a": 1},
    ],
)
@pytest.mark.parametrize("place", [lambda x: {"a": x}, lambda x: [x], lambda x: {"a": [{"b": [1, x]}]}])
def test_one_value_that_needs_a_tag_is_enough(value, place):
    """However deep it lies, nothing around it is taken for its own JSON form; frozen, read, added or merged."""
    frozen = freeze(place(value))
    read = from_json(json.loads(json.dumps(to_json(frozen))))
    added = EMPTY.plus("a", 1).plus("b", frozen)
    merged = EMPTY.plus("a", 1).merged(freeze({"b": place(value)}))
    assert not {type(found) for found in (frozen, read, added, merged)} & {JsonDict, JsonList}
    assert encode(merged) == encode(added) == encode({"a": 1, "b": read})


def test_a_reserved_key_that_is_added_is_escaped():
    """A dict that is its own JSON form is not, once it has such a key; otherwise it still is."""
    assert encode(EMPTY.plus("$date", 1)) == b'{"$$date":1}'
    assert encode(EMPTY.plus("__a", 1)) == b'{"$__a":1}'
    assert type(EMPTY.plus("a", 1).merged(EMPTY.plus("b", 2))) is JsonDict


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
    """No two keys are written alike, none as Airflow's, and all come back in their order."""
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


def test_equal_data_has_equal_digests():
    """The order in which keys were set does not matter, the values do."""
    assert digest(freeze({"a": 1, "b": 2})) == digest(freeze({"b": 2, "a": 1}))
    assert digest(freeze({"a": Decimal("1.0")})) != digest(freeze({"a": Decimal("1.00")}))


@given(plain_data())
def test_a_dict_says_exactly_which_values_need_a_look(value):
    """It names those that are not their own JSON form, and none where a key is escaped; a copy of it names none."""
    for part in parts(freeze({"a": value})):
        if type(part) is FrozenDict and not any(map(is_reserved, part)):
            assert part._tagged == tuple(name for name, item in part.items() if not is_json(item))
            assert not hasattr(part.plus("b", 1), "_tagged")
            assert not hasattr(part.merged(part), "_tagged")
        else:
            assert not hasattr(part, "_tagged")


@given(plain_data())
def test_what_was_written_is_written_the_same_again(value):
    """Writing a frozen value changes nothing in how it is written, compared, copied or pickled."""
    frozen = freeze({"a": value, "day": date(2026, 1, 9)})
    first, before = encode(frozen), digest(frozen)
    assert encode(frozen) == first == encode(freeze({"a": value, "day": date(2026, 1, 9)}))
    assert (digest(frozen), decode(first)) == (before, frozen)
    assert pickle.loads(pickle.dumps(frozen)) == frozen == frozen.plus("day", date(2026, 1, 9))
    assert encode(frozen.plus("b", date(2026, 1, 10))) != first
