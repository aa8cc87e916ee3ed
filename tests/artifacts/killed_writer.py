"""Write tables into a store, one after the other, until somebody kills this process; prints each that is stored."""

from __future__ import annotations

import json
import sys

import pyarrow as pa

from flowctx import StepResult
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.encoding import to_json


def main(url: str) -> None:
    """Write until killed."""
    store = PathArtifactStore(url, inline_bytes=0)
    number = 0
    while True:
        number += 1
        frame = pa.table({"n": range(number, number + 50_000), "s": [f"{number}-{i}" for i in range(50_000)]})
        table = store.put_table(StepResult.ok({"t": frame}).output["t"])
        print(json.dumps(to_json(table)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
