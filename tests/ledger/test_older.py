"""A database of an older flowctx (schema 0002, that took parts for whole runs) is migrated and shown right."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowctx import BatchStatus
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger.sql import SqlLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    file = tmp_path / "ledger.db"
    with sqlite3.connect(file) as database:
        database.executescript(Path(__file__).with_name("schema_0002.sql").read_text("utf-8"))
    database.close()
    ledger = SqlLedger(f"sqlite:///{file}")
    ledger.upgrade()
    yield ledger
    ledger.close()


def test_all_rows_are_read(ledger: SqlLedger) -> None:
    """Runs, their contexts and steps come back, and what failed says why."""
    runs = {run.run_id: run for run in ledger.list_runs()}
    assert len(runs) == 10
    assert (runs["failed"].status, runs["failed"].error) == (RunStatus.FAILED, "no rows")
    assert runs["dead"].status is RunStatus.RUNNING
    assert {record.step for record in ledger.steps(runs["whole"].key)} == {"fetch", "check", "load"}
    assert ledger.context(runs["whole"].key, 1) == runs["whole"].context


def test_parts_are_told_from_whole_runs(ledger: SqlLedger) -> None:
    """Runs of some assets between whole ones complete nothing any more; a workflow that grew keeps its captures."""
    runs = {run.run_id: run for run in ledger.list_runs()}
    assert {
        name: (str(runs[name].status), runs[name].selected) for name in ("whole", "head", "tail", "again", "small")
    } == {
        "whole": ("ok", ()),
        "head": ("partial", ("fetch",)),
        "tail": ("partial", ("load",)),
        "again": ("ok", ()),
        "small": ("ok", ()),
    }
    complete = {c.run_id for c in ledger.captures() if c.state is CaptureState.COMPLETE}
    assert complete == {"whole", "again", "small", "large", "day-8"}


def test_batches_are_shown_right(ledger: SqlLedger) -> None:
    """A part is not done whatever its engine said, and each date of a batch without partitions is a row."""
    assert BatchStatus.of(ledger, "b2").counts == {
        "partial": 2, "failed": 1, "running": 1, "canceled": 1,
    }  # fmt: skip
    status = BatchStatus.of(ledger, "restate")
    assert status.counts == {"ok": 1, "failed": 1}
    assert [failure.label for failure in status.failures] == ["2026-01-09"]
