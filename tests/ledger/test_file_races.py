"""A writer that reuses a stored table and a prune that removes it, at the same moment, on both databases."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from sqlalchemy import update

from flowctx import StepResult
from flowctx.artifacts import artifact_store
from flowctx.ledger.sql import SqlLedger
from flowctx.ledger.tables import artifacts

NUMBERS = pa.table({"n": random.Random(5).choices(range(2**60), k=5000)})
#: How often they meet.
ROUNDS = 25


def kept(store, number):
    return store.put_table(StepResult.ok(NUMBERS.slice(number)).output["table"])


def prune(store):
    return store.prune(set(), datetime.now(UTC) - timedelta(hours=1))


def test_what_a_writer_refers_to_is_there(sql_url, tmp_path, monkeypatch):
    """Whatever two writers were given while two prunes ran can be read afterwards, be it the old file or a new one."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path / "files"))
    ledgers = [SqlLedger(sql_url) for _ in range(4)]
    stores = [artifact_store(ledger) for ledger in ledgers]
    start = threading.Barrier(4)

    def at_once(work):
        start.wait()
        return work()

    with ThreadPoolExecutor(4) as threads:
        for number in range(ROUNDS):
            old = kept(stores[0], number)
            os.utime(stores[0].local_path(old.reference), (0, 0))
            long_ago = update(artifacts).values(intended_at="2020-01-01")
            ledgers[0]._database.autocommit(lambda at, long_ago=long_ago: at.execute(long_ago))
            writes = [lambda store=store, number=number: kept(store, number) for store in stores[:2]]
            prunes = [lambda store=store: prune(store) for store in stores[2:]]
            tables = list(threads.map(at_once, [*writes, *prunes]))[:2]
            for table in tables:
                assert table.to_arrow().equals(NUMBERS.slice(number)), (number, table.reference == old.reference)
    for ledger in ledgers:
        ledger.close()
