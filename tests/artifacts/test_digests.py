"""The digests of fixed tables: they stand in payloads for years, so they may never change."""

from __future__ import annotations

import datetime as dt
import decimal

import pandas as pd
import pyarrow as pa
import pytest

from stored_tables import stored

UTC = dt.UTC
TABLES = {
    "empty": pa.table({}),
    "no rows": pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())}),
    "numbers": pa.table(
        {"i": pa.array([1, None, -3], pa.int16()), "f": [1.5, float("nan"), None], "b": [True, None, False]}
    ),
    "texts": pa.table({"s": ["a", None, "", "ü"], "x": [b"\x00", b"", None, b"z"]}),
    "times": pa.table(
        {
            "d": [dt.date(2012, 10, 26), None],
            "t": pa.array([dt.datetime(2012, 10, 26, 20, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "n": pa.array([1, None], pa.timestamp("ns", "America/New_York")),
            "e": pa.array([1, None], pa.duration("ms")),
            "h": pa.array([dt.time(9, 30), None], pa.time64("us")),
        }
    ),
    "decimals": pa.table(
        {"p": [decimal.Decimal("193.27"), None], "q": pa.array([decimal.Decimal("-1.1"), None], pa.decimal256(50, 3))}
    ),
    "nested": pa.table(
        {
            "l": [[1, None], [], None],
            "s": [{"a": 1, "b": "x"}, {"a": None, "b": None}, None],
            "m": pa.array([[("k", 1.5)], [], None], pa.map_(pa.string(), pa.float64())),
            "f": pa.array([[1, 2], [4, 5], [3, None]], pa.list_(pa.int8(), 2)),
        }
    ),
    "categories": pa.table({"c": pa.array(["lo", "hi", None]).dictionary_encode()}),
    "blocks": pa.table({"n": range(200_000)}),
    "months": pd.DataFrame({"p": pd.PeriodIndex(["2026-01", None], freq="M")}),
    "days": pd.DataFrame({"p": pd.PeriodIndex.from_ordinals([672, pd.NaT._value], freq="D")}),
    "their numbers": pd.DataFrame({"p": pd.array([672, None], "Int64")}),
    "intervals": pd.DataFrame({"i": pd.interval_range(0, 1)}),
    "intervals closed on the left": pd.DataFrame({"i": pd.interval_range(0, 1, closed="left")}),
    "their sides": pa.table({"i": [{"left": 0, "right": 1}]}),
}
DIGESTS = {
    "empty": "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
    "no rows": "affaadff835082a2aedabfaf61e7a5f89c58be0418b8e21414fc1b17fd504c92",
    "numbers": "0b9606f6a88755dbb2191cc47e5e21bf656a1ae7abee20f48c860b50c5e1ea13",
    "texts": "5d91bca35091e6b16f40665cf58a2d6e2fac2a98f9a6a7d20ef9ef64bd3e9fb1",
    "times": "8a2dd20c7bca600eff5fcf1d2f135251767602e5957b1ed6201c3d14833edbb2",
    "decimals": "361ce0b6590885209a31b115d306a23634f4ed3f160561580641e675048fbbc3",
    "nested": "213e05e20df135947e744c66aa1e7585f0e661d96d906e16fc3ba6a71ea75aba",
    "categories": "e29f3c1bc7f0b13e67006878467149d9ad3f40d78533ccec65c9b6ef5a5d8044",
    "blocks": "9f773f5cb7dfd138dca2a39fca75c1d1766d61ba241f7fae8b8e825020a99763",
    "months": "ea15737d25b4b775f35d8f363d79fa15abfe0e79e2c00f09e9abb07b2cf32880",
    "days": "f7d09c57b124ae355442fb74db46e1bd456d275fe95e219701d47a5f328e7ad5",
    "their numbers": "bceab05b13c48346732ae8feeebe2235d1be570e5bad87fc534d7bc75084ce2e",
    "intervals": "5ae39cc77c90d673bbb61a4625a7222eeb68da5c43b488221f2d60973d9f8e28",
    "intervals closed on the left": "fac32de3143814ab47a8b25ed611e2ea3c8fb084a6ab34e0f92235380d26dd5f",
    "their sides": "5ae39cc77c90d673bbb61a4625a7222eeb68da5c43b488221f2d60973d9f8e28",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_digest_stays(name):
    """Equal under every version of pyarrow that is supported."""
    assert stored(TABLES[name]).digest == DIGESTS[name]
