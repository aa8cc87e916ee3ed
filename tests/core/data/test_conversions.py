"""Every value that is converted comes out equal, or is refused with advice that works for it."""

from __future__ import annotations

import array
import collections
import enum
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flowctx import PlainDataError
from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.data.plain import freeze


class Side(enum.Enum):
    """An enum of text."""

    BUY = "buy"


class Odd(int):
    """An int that converts to another one."""

    def __int__(self):
        return 5


class OddFloat(float):
    """A float that converts to another one."""

    def __float__(self):
        return 5.0


class Name(str):
    """A text of a type of one's own."""

    __slots__ = ()


SCALARS = npst.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8)


@given(SCALARS.flatmap(lambda dtype: npst.arrays(dtype, 3)))
def test_numpy_numbers_come_out_equal(values):
    """Big unsigned ints, halves and booleans too, in arrays and one by one, through JSON and back."""
    for plain in (freeze(values), freeze(list(values))):
        back = from_json(json.loads(json.dumps(to_json(plain))))
        assert np.array_equal(np.array(back, dtype=values.dtype), values, equal_nan=values.dtype.kind == "f")
        assert {type(item) for item in back} <= {bool, int, float}


@given(st.timedeltas(), st.integers(0, 999))
def test_nanoseconds_of_durations_are_kept_or_refused(value, nanoseconds):
    """A pandas Timedelta becomes an equal timedelta; with nanoseconds it is refused."""
    if abs(value) > timedelta(days=100_000):  # pandas ends there
        value %= timedelta(days=100_000)
    duration = pd.Timedelta(value) + pd.Timedelta(nanoseconds, "ns")
    if nanoseconds:
        with pytest.raises(PlainDataError, match="nanoseconds"):
            freeze(duration)
    else:
        assert freeze(duration) == value


@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), st.integers(0, 999))  # noqa: DTZ001
def test_nanoseconds_of_times_are_kept_or_refused(value, nanoseconds):
    """A pandas Timestamp becomes an equal datetime; with nanoseconds it is refused."""
    stamp = pd.Timestamp(value, tz="UTC") + pd.Timedelta(nanoseconds, "ns")
    if nanoseconds:
        with pytest.raises(PlainDataError, match="nanoseconds"):
            freeze(stamp)
    else:
        assert freeze(stamp) == value.replace(tzinfo=UTC)


@given(st.decimals(allow_nan=False), st.integers(1, 5))
def test_decimals_keep_their_digits_whatever_the_context(value, precision):
    """A decimal of any length comes out with every digit, in a context of few digits too."""
    from decimal import localcontext

    with localcontext() as context:
        context.prec = precision
        back = from_json(json.loads(json.dumps(to_json(freeze(value)))))
    assert (back, str(back)) == (value, str(value))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Odd(7), 7),
        (OddFloat(7.5), 7.5),
        (Name("x"), "x"),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.bool_(True), True),
        (np.datetime64("2012-10-26"), date(2012, 10, 26)),
        (enum.IntFlag("Bits", "A B")(3), 3),
        (Side.BUY, "buy"),
        (memoryview(b"abc"), b"abc"),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (pd.Timestamp("2012-10-26", tz="America/New_York"), datetime(2012, 10, 26, 4, tzinfo=UTC)),
    ],
)
def test_subclasses_come_out_as_the_value_that_they_are(value, plain):
    """What a subclass makes of itself when converted does not count: the value does, in a plain type."""
    found = freeze(value)
    assert (found, type(found)) == (plain, type(freeze(plain)))


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (np.ma.masked, lambda value: None),
        (np.ma.array([1, 2], mask=[0, 1]), lambda value: value.tolist()),
        (np.datetime64("20000-01-01"), lambda value: None),
        (np.array(["20000-01-01"], "M8[D]"), lambda value: None),
        (np.datetime64("NaT"), lambda value: None),
        (np.datetime64("2012-10-26T16:00", "ns"), lambda value: pd.Timestamp(value, tz="UTC")),
        (np.timedelta64(5, "s"), lambda value: value.astype(object)),
        (np.longdouble(1) / 3, float),
        (np.complex64(1j), lambda z: [z.real, z.imag]),
        (pd.NA, lambda value: None),
        (pd.NaT, lambda value: None),
        (pd.Period("2012-01"), str),
        (pd.Interval(0, 1), lambda value: [value.left, value.right]),
        (pd.Categorical(["a"]), lambda value: value.tolist()),
        (pd.Index([1, 2]), lambda value: value.tolist()),
        (pd.Series([1, 2]), lambda value: value.to_list()),
        (pd.array([1, 2], dtype="Int64"), lambda value: value.tolist()),
        (Fraction(1, 3), lambda value: [value.numerator, value.denominator]),
        (range(3), list),
        (collections.deque([1]), list),
        ({"a": 1}.keys(), list),
        (map(str, [1]), list),
        (memoryview(array.array("i", [1, 2])), lambda value: value.tolist()),
        ({1, 2}, sorted),
        (1j, lambda z: [z.real, z.imag]),
        (Decimal("sNaN"), lambda value: Decimal("NaN")),
        (datetime(2026, 1, 1), lambda value: value.replace(tzinfo=UTC)),  # noqa: DTZ001
        (ZoneInfo("UTC"), lambda value: value.key),
        (PurePosixPath("a"), str),
    ],
)
def test_the_advice_works_for_the_value_it_is_given_for(value, advice):
    """What is refused names a remedy, and whoever follows it has plain data."""
    with pytest.raises(PlainDataError, match="use |return|add"):
        freeze(value)
    freeze(advice(value))


def test_two_keys_that_become_one_are_refused():
    """An enum member and its value as keys of one dict would lose one of them."""
    with pytest.raises(PlainDataError, match="two keys that become the same text"):
        freeze({Side.BUY: 1, "buy": 2})
