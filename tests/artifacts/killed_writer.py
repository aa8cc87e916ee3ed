"""Write tables into a store, one after the other, until somebody kills this process."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection

import pyarrow as pa

from flowctx import StepResult
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.encoding import to_json


def write_until_killed(url: str, environment: Mapping[str, str], handed_on: Connection) -> None:
    """Write tables, and send the reference of each that is stored."""
    os.environ.update(environment)
    store = PathArtifactStore(url, inline_bytes=0)
    number = 0
    while True:
        number += 1
        frame = pa.table({"n": range(number, number + 50_000), "s": [f"{number}-{i}" for i in range(50_000)]})
        table = store.put_table(StepResult.ok({"t": frame}).output["t"])
        handed_on.send_bytes(json.dumps(to_json(table)).encode())
