"""NumPy values in plain data: exactly, or not at all."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from flowctx import PlainDataError, StepResult


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float32(1.5), 1.5),
        (np.array([1, 2]), [1, 2]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.datetime64("2024-01-31"), dt.date(2024, 1, 31)),
        (np.array([0.1, float("inf")]), [0.1, float("inf")]),
    ],
)
def test_numpy_values_become_plain_ones(value, plain):
    """Scalars, and arrays of one dimension, are equal to what they become."""
    (found,) = StepResult.ok({"x": value}).output.values()
    assert found == plain
    assert type(found).__name__.removeprefix("Json").removeprefix("Frozen").lower() == type(plain).__name__


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.datetime64("2024-01-01T00:00:00", "s"), "no time zone"),
        (np.timedelta64(1, "ns"), "use datetime.timedelta"),
        (np.zeros((2, 2)), "array of 2 dimensions"),
        (np.longdouble("0.1"), "more digits"),
        (np.complex64(1), "z.real"),
        (np.datetime64("NaT", "D"), "use None"),
        (pd.Timedelta(1, "ns"), "nanoseconds"),
        (pd.Timestamp("2024-01-01T00:00:00.123456789", tz="UTC"), "nanoseconds"),
    ],
)
def test_values_that_have_no_plain_equal_are_refused(value, what):
    """Nothing is rounded, cut or given a zone."""
    with pytest.raises(PlainDataError, match=rf"output\['x'\].*{what}"):
        StepResult.ok({"x": value})
