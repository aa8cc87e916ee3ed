"""The JSON form of plain data: nothing lost, nothing taken for what it is not, the same for ever."""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PayloadError
from flowctx.core.data.encoding import decode, digest, encode, from_json, to_json
from flowctx.core.data.plain import freeze
from strategies import plain_data, same


@given(plain_data())
def test_the_json_form_loses_nothing(value):
    """What is stored is what comes back, to the last digit and offset, through any JSON library."""
    frozen = freeze(value)
    assert same(from_json(json.loads(json.dumps(to_json(frozen), allow_nan=False))), frozen)
    assert same(decode(encode(frozen)), from_json(json.loads(encode(frozen))))
    assert [from_json(json.loads(json.dumps(to_json(frozen))))] == [frozen]


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
