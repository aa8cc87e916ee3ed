"""How the columns of a Parquet file are encoded: as their first rows are smallest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flowctx.artifacts.types import T

#: So many values of a column are looked at; of a table that begins with fewer rows, none.
SAMPLE = 4096
#: Fewer floats are small however they are written.
_MANY = 1 << 15


def encodings(leaves: Sequence[tuple[str, str]], samples: Mapping[str, pa.Array], rows: int) -> dict[str, Any]:
    """Return the options that say how a Parquet writer encodes columns.

    Floats hardly repeat: they get no dictionary. Those that are not round are smaller when all their first bytes stand
    together, then all second ones. Counts and times that go up step by step are kept as their steps.

    Args:
        leaves: The path and the physical type of each column in the file, nested ones too.
        samples: The first values of columns, as they are stored.
        rows: How many rows there are, at least.
    """
    times = Counter(path for path, _ in leaves)
    chosen: dict[str, str] = {}
    for path, kind in leaves:
        sample = samples.get(path)
        if sample is None or T.is_nested(sample.type) or times[path] > 1:
            continue
        if kind in ("INT32", "INT64") and _goes_by_steps(_bits(sample.drop_null())):
            chosen[path] = "DELTA_BINARY_PACKED"
        elif kind in ("FLOAT", "DOUBLE") and rows >= _MANY and _is_smaller_split(_bits(sample.drop_null())):
            chosen[path] = "BYTE_STREAM_SPLIT"
    repeating = [path for path, kind in leaves if kind not in ("FLOAT", "DOUBLE") and path not in chosen]
    return {"use_dictionary": repeating or False, "column_encoding": chosen or None}


def _bits(sample: pa.Array) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the values as whole numbers."""
    width = sample.type.bit_width // 8
    return np.frombuffer(sample.buffers()[1], f"<i{width}", len(sample), sample.offset * width)


def _goes_by_steps(values: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether values hardly repeat, and each is the one before and a step of about the same length."""
    steps = np.diff(values.astype("<i8"))
    hardly_repeats = len(steps) > 1 and int(np.count_nonzero(steps)) > len(steps) // 2
    return hardly_repeats and int(steps.max()) - int(steps.min()) < 256


def _is_smaller_split(values: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether values are clearly smaller by the bytes of each place than one after the other."""
    apart = np.ascontiguousarray(values.view("u1").reshape(len(values), -1).T)
    together, split = (len(pa.compress(data.tobytes(), "zstd", asbytes=True)) for data in (values, apart))
    return split < together * 0.97
