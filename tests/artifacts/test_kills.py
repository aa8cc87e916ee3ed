"""A writer that is killed at any instant leaves nothing half-written that anybody could find."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from artifacts.conftest import OTHERS
from artifacts.killed_writer import write_until_killed
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.encoding import from_json
from flowctx.core.whole_files import PART
from forking import processes

#: How often a writer is killed; ``FLOWCTX_TEST_KILLS=200`` for the long run.
KILLS = int(os.environ.get("FLOWCTX_TEST_KILLS", "8"))


def killed(url: str, moment: random.Random) -> list[dict]:
    """Start a writer, kill it some time after its first table, and return the references that it has handed on."""
    receiver, sender = processes.Pipe(duplex=False)
    environment = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "AZURE_", "STORAGE_"))}
    writer = processes.Process(target=write_until_killed, args=(url, environment, sender))
    writer.start()
    sender.close()
    found = [receiver.recv_bytes()]
    time.sleep(moment.uniform(0, 0.3))
    writer.kill()
    with contextlib.suppress(EOFError, OSError):
        while True:
            found.append(receiver.recv_bytes())
    writer.join()
    return [json.loads(reference) for reference in found]


@pytest.mark.e2e
@pytest.mark.timeout(900 + 30 * KILLS)
@pytest.mark.parametrize("kind", ["folder", "s3", *OTHERS])
def test_a_killed_writer_leaves_no_half(kind, request, tmp_path):
    """Every reference that was handed on can be read, every complete file is whole, prune removes the rest."""
    url = f"{kind}/{uuid4().hex}" if kind in OTHERS else str(tmp_path / "store")
    if kind == "s3":
        url = request.getfixturevalue("bucket")
    store, moment = PathArtifactStore(url), random.Random(1)
    handed_on = [reference for _ in range(KILLS) for reference in killed(url, moment)]
    assert len(handed_on) >= KILLS
    for reference in handed_on:
        table = from_json(reference)
        table.bind(store)
        assert table.to_arrow()["n"].to_pylist()[0] == int(table.head(1)[0]["s"].split("-")[0])
    for stored in store._files.list("shared"):
        if not stored.path.endswith(PART):
            assert pq.ParquetFile(store._files.open(stored.path, stored.size)).metadata.num_rows == 50_000
    keep = {reference["$table"]["path"] for reference in handed_on}
    store.prune(keep, datetime.now(UTC) + timedelta(minutes=1))
    assert {stored.path for stored in store._files.list("shared")} == keep
    if kind == "s3":
        import boto3

        bucket = url.split("/")[2]
        assert not boto3.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")
