"""A ledger of many runs, written in bulk: rows as the ledger itself writes them, without its transactions."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from growth_flow import growth
from sqlalchemy import make_url

from flowctx import Backfill, PartitionKey, StepStatus
from flowctx.core.batches.records import PartitionRun, PartitionState, batch_run_id
from flowctx.core.data.plain import freeze
from flowctx.core.durability.records import Capture, CaptureKey, CaptureState, RunRecord, RunStatus, StepRecord
from flowctx.ledger.batch_rows import batch_row, launch_row
from flowctx.ledger.rows import attempt_row, capture_row, run_row, stamp, step_row
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context

WORKFLOW = growth.name
#: Runs of one batch; each next batch captures the same partitions again.
BATCH = 40_000
#: Batches that an engine ran natively, which says of each partition how its run ended; the others ran here or in bulk.
NATIVE = ("b11", "b23")
BEGUN = datetime(2025, 1, 1, tzinfo=UTC)


def fill(urls: Sequence[str], runs: int) -> None:
    """Make ledgers and write so many runs into each, each with its attempt, three steps and a capture."""
    for url in urls:
        ledger = SqlLedger(url)
        ledger.list_runs(limit=1)
        ledger.close()
    writers = [_Sqlite(url) if url.startswith("sqlite") else _Postgres(url) for url in urls]
    tables: dict[str, list[dict[str, Any]]] = {}
    for start in range(0, runs, 5000):
        some = range(start, min(start + 5000, runs))
        for table, row in itertools.chain.from_iterable(map(_rows, some)):
            tables.setdefault(table, []).append(row)
        for write, (table, rows) in itertools.product(writers, tables.items()):
            write(table, rows)
        tables.clear()
    for write in writers:
        write.close()


def partition(number: int) -> PartitionKey:
    """Return the partition of a run, one of 40,000: 400 days of 100 symbols."""
    day = date(2024, 1, 1) + timedelta(days=number % BATCH // 100)
    return PartitionKey(date=day.isoformat(), symbol=f"S{number % 100:03}")


def run_id(number: int) -> str:
    """Return the id of a run, as a launch makes it."""
    key = partition(number)
    return batch_run_id(WORKFLOW, f"b{number // BATCH}", key, growth.partitions.text(key))


def _rows(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    key, batch = partition(number), f"b{number // BATCH}"
    began = BEGUN + timedelta(seconds=20 * number)
    failed = number % 100 == 99
    ctx = make_context(
        workflow=WORKFLOW,
        run_id=run_id(number),
        partition=key,
        batch_id=batch,
        as_of_date=date.fromisoformat(key.date),
        params={"limit": 3, "note": "a few words"},
    )
    run = RunRecord(
        workflow=WORKFLOW,
        context=ctx,
        steps=("fetch", "check", "load"),
        status=RunStatus.FAILED if failed else RunStatus.OK,
        finished_at=began,
        error="step 'load': no rows" if failed else None,
        import_path="growth_flow:growth",
    )
    yield "flowctx_run", {**run_row(run, began, f"{number:032x}"), "started_at": stamp(began)}
    yield "flowctx_attempt", attempt_row(run)
    for name in run.steps:
        status = StepStatus.FAILED if failed and name == "load" else StepStatus.OK
        output = freeze({"rows": number, "close": 1.5, "note": "x" * 40})
        error = "no rows" if status is StepStatus.FAILED else None
        record = StepRecord(step=name, status=status, output=output, error=error, started_at=began, seconds=0.1)
        yield "flowctx_step", step_row(run.key.digest, record)
    capture = Capture(
        key=CaptureKey(idempotency_key=str(ctx.idempotency_key), capture_id=str(ctx.capture_id)),
        revision=number // BATCH + 1,
        fencing_token=1,
        holder=run.key.digest,
        state=CaptureState.RELEASED if failed else CaptureState.COMPLETE,
        workflow=WORKFLOW,
        partition=key,
        run_id=run.run_id,
        lease_until=began,
        claimed_at=began,
        completed_at=None if failed else began,
    )
    yield "flowctx_capture", capture_row(capture)
    if batch in NATIVE:
        state = PartitionState.FAILED if failed else PartitionState.OK
        noted = PartitionRun(partition=str(key), state=state, run_id=run.run_id, engine="airflow", last_seen_at=began)
        yield "flowctx_launch", launch_row(batch, noted)
    if number % BATCH == 0:
        yield (
            "flowctx_batch",
            batch_row(replace(Backfill(growth, None, batch, ledger="memory://").record(), created_at=began)),
        )


class _Sqlite:
    """Writes rows into a SQLite file; the indexes are made when all rows are there."""

    def __init__(self, url: str) -> None:
        self._raw = sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None)
        self._raw.execute("PRAGMA synchronous=OFF")
        self._raw.execute("PRAGMA cache_size=-200000")
        found = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        self._indexes = self._raw.execute(found).fetchall()
        for name, _ in self._indexes:
            self._raw.execute(f"DROP INDEX {name}")

    def __call__(self, table: str, rows: list[dict[str, Any]]) -> None:
        names = list(rows[0])
        marks = ", ".join("?" * len(names))
        quoted = ", ".join(f'"{name}"' for name in names)
        self._raw.execute("BEGIN")
        self._raw.executemany(f"INSERT INTO {table} ({quoted}) VALUES ({marks})", [tuple(row.values()) for row in rows])
        self._raw.execute("COMMIT")

    def close(self) -> None:
        """Make the indexes, and let go of the file."""
        for _, statement in self._indexes:
            self._raw.execute(statement)
        self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._raw.close()


class _Postgres:
    """Writes rows into PostgreSQL; the indexes are made when all rows are there."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._raw = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
        found = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix\\_flowctx%'"
        self._indexes = self._raw.execute(found).fetchall()
        for name, _ in self._indexes:
            self._raw.execute(f"DROP INDEX {name}")
        self._raw.commit()

    def __call__(self, table: str, rows: list[dict[str, Any]]) -> None:
        names = ", ".join(f'"{name}"' for name in rows[0])
        with self._raw.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
        self._raw.commit()

    def close(self) -> None:
        """Make the indexes, and let it count what there is, as it does by itself in time."""
        for _, statement in self._indexes:
            self._raw.execute(statement)
        self._raw.execute("ANALYZE")
        self._raw.commit()
        self._raw.close()
