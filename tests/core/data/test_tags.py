"""Tags: what is called sound can be read, whoever wrote it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PayloadError
from flowctx.core.data.encoding import decode, encode
from flowctx.core.data.plain import freeze
from flowctx.core.data.tags import TAG_READERS, tags_are_sound
from strategies import plain_data

TEXTS = st.sampled_from(
    [
        "2026-01-09",
        "2026-02-30",
        "1.10",
        "nan",
        "\\u0024",
        "$date",
        '{"$date":"x"}',
        "}",
        '"',
        "",
        "é",
        "0" * 32,
        "AA==",
    ]
) | st.text('${}":,\\ a', max_size=6)
KEYS = st.sampled_from([*TAG_READERS, "$", "$$", "$$date", "$__a", "$ref", "__a", "a", "{"]) | TEXTS
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=8,
)


@pytest.mark.parametrize("write", [msgspec.json.encode, lambda value: json.dumps(value).encode()])
@given(value=VALUES)
def test_what_is_sound_can_be_read(write, value):
    """Of no JSON that is called sound a tag is unknown, damaged or hidden, in either common way of writing it."""
    data = write(value)
    if tags_are_sound(data):
        assert encode(decode(data)) == encode(decode(encode(decode(data))))


@given(plain_data())
def test_what_was_written_and_is_sound_comes_back(value):
    """Of plain data that was written here, all that is called sound is read as it was."""
    data = encode(freeze(value))
    assert [decode(data)] == [freeze(value)]  # in a list, since a NaN that is alone is not equal to itself
    assert tags_are_sound(data) in (True, False)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":[true,null,"x",1.5]}',
        '{"day":{"$date":"2026-01-09"},"at":{"$datetime":"2026-01-09T12:00:00+00:00"}}',
        '[{"$decimal":"1.10"},{"$decimal":"1.10"},{"$float":"nan"},{"$bytes":"AA=="}]',
        '{"note":"a $5 note","day":{"$date":"2026-01-09"}}',
    ],
)
def test_what_is_common_is_sound(text):
    """Dates, times, decimals and other values that are texts need no second look."""
    assert tags_are_sound(text.encode())
    decode(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"$date":"2026-02-30"}',
        '{"$date":"2026-01-09","x":1}',
        '{"x":1,"$date":"2026-01-09"}',
        '{"\\u0024date":"2026-02-30"}',
        '{"$date":["2026-01-09"]}',
        '{"$ref":"2026-01-09"}',
        '{"$datetime":"2026-01-09T12:00:00"}',
        '{"$table":"x"}',
        '{"$":"x"}',
    ],
)
def test_what_is_damaged_is_not_sound(text):
    """A tag with a wrong value, beside another key, unknown, or hidden by an escape is found."""
    assert not tags_are_sound(text.encode())
    with pytest.raises(PayloadError, match="damaged|unknown tag|no path"):
        decode(text)
