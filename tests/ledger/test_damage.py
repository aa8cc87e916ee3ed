"""Rows and payloads that somebody has tampered with: an error of ours each time, in few words."""

from __future__ import annotations

import hashlib
import json
import sqlite3

import pytest

from flowctx import PayloadError, StepStatus, WorkflowContext
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.data.encoding import from_json
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON


@pytest.mark.parametrize("value", [[], [1], "x" * 100_000, {"x": 1}])
@pytest.mark.parametrize("tag", ["$uuid", "$date", "$decimal", "$datetime", "$artifact", "$timedelta"])
def test_a_damaged_tag_is_an_error_of_ours(tag, value):
    """Whatever stands under a tag, the error is ours and quotes at most a few hundred characters."""
    with pytest.raises(PayloadError) as caught:
        from_json({tag: value})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("started_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], 5])
def test_a_time_that_cannot_be_is_an_error_of_ours(started_at):
    """A context that started at the edge of time, or at none, is refused in our words."""
    with pytest.raises(PayloadError):
        WorkflowContext.from_dict({**make_context(workflow="w").to_dict(), "started_at": started_at})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE flowctx_batch SET params = '{'",
        "UPDATE flowctx_batch SET params = '{\"$uuid\": []}'",
        "UPDATE flowctx_batch SET created_at = 'soon'",
        "UPDATE flowctx_launch SET state = 'odd'",
        "UPDATE flowctx_launch SET heard_at = 7",
    ],
)
def test_a_damaged_row_of_a_batch_is_named(sqlite_url, change):
    """A row of a batch or of one of its partitions that is not what was written is an error that names the batch."""
    ledger = SqlLedger(sqlite_url)
    ledger.batches.put(BatchRecord(batch_id="b7", workflow="flow", created_at=NOON))
    run = PartitionRun(partition="n=1", state=PartitionState.OK, run_id="r", engine="local", last_seen_at=NOON)
    ledger.batches.record_outcomes("b7", [run])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute(change)
    read = ledger.batches.get if "flowctx_batch" in change else lambda batch: list(ledger.batches.iter_outcomes(batch))
    with pytest.raises(PayloadError, match="batch b7 is damaged"):
        read("b7")
    ledger.close()


ROWS = {
    "step": ("attempts = 'x'", "seconds = 'x'", "seconds = 1e300", "run_attempt = 'x'", "started_at = 'x'"),
    "run": ("finished_at = 'x'", "heard_at = 'x'", "started_at = 'x'", "status = 'x'", "steps = '7'"),
    "capture": ("revision = 'x'", "state = 'x'", "partition = 'x'"),
}
PAYLOADS = (
    {"updates": 1},
    {"updates": [1]},
    {"config": None},
    {"config": "x"},
    {"error": {"a": 1}},
    {"traceback": 1},
    {"inputs": {"a": ["w", {}, ["n=1", "c", 1, "k", "d"]]}},
    {"inputs": {"a": ["w", "s", ["n=1", "c", "x", 5, "d"]]}},
    {"inputs": {"a": ["w", "s", [1]]}},
    {"inputs": ["w"]},
)


def questions(ledger):
    """Return all that reads rows of runs, steps and captures."""
    ctx = a_failed_run().context
    key = a_failed_run().key
    return {
        "get_run": lambda: ledger.get_run("r1"),
        "steps": lambda: ledger.steps(key),
        "batches": lambda: ledger.batches.all(),
        "outcomes": lambda: list(ledger.batches.iter_outcomes("b1")),
        "captures": lambda: ledger.captures(workflow="flow"),
        "versions": lambda: ledger.versions("flow", "a", [ctx.partition]),
        "recorded_steps": lambda: ledger.recorded_steps([key.digest]),
        "step_outputs": lambda: ledger.step_outputs("a", [key.digest]),
    }


def a_failed_run():
    ctx = make_context(workflow="flow", run_id="r1", partition={"n": "1"}, batch_id="b1")
    return RunRecord(workflow="flow", context=ctx, steps=("b",))


def damaged_by(sqlite_url, change, values=()):
    """Return a ledger of one run that failed, after a change of its rows, and what cannot be read of it."""
    ledger = SqlLedger(sqlite_url)
    begun = ledger.begin(a_failed_run())
    ledger.record(begun, [StepRecord(step="a", status=StepStatus.FAILED, started_at=NOON, error="no")])
    ledger.finish(begun, RunStatus.FAILED)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute(change, values)
    refused = {what: refusal_of(ask) for what, ask in questions(ledger).items()}
    ledger.close()
    assert all(len(why) < 1000 for why in refused.values())
    assert not any(a_failed_run().key.digest in why for why in refused.values())  # people know runs by their ids
    return {what for what, why in refused.items() if why}


def refusal_of(ask):
    """Return what is said of what cannot be read; nothing of what can be."""
    try:
        ask()
    except PayloadError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize(("table", "change"), [(table, change) for table in ROWS for change in ROWS[table]])
def test_a_damaged_row_is_an_error_of_ours_for_all_who_read_it(sqlite_url, table, change):
    """SQLite takes anything in any column: whoever reads it is told so, and others are answered."""
    assert damaged_by(sqlite_url, f"UPDATE flowctx_{table} SET {change}")


@pytest.mark.parametrize("change", PAYLOADS)
def test_what_is_in_a_step_must_be_of_its_form(sqlite_url, change):
    """A payload with the right digest and the wrong types is refused when it is read, not where it is used."""
    payload = json.dumps({"output": {}, **change})
    digest = hashlib.sha256(payload.encode()).hexdigest()[:32]
    refused = damaged_by(sqlite_url, "UPDATE flowctx_step SET payload = ?, digest = ?", (payload, digest))
    assert refused >= {"steps", "recorded_steps"}


@pytest.mark.parametrize("payload", [{}, {"output": 1}, {"output": [1]}, {"output": {"$odd": 1}}])
def test_an_output_must_be_of_its_form(sqlite_url, payload):
    """Whoever reads the output of a step alone is told, too."""
    text = json.dumps(payload)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    refused = damaged_by(sqlite_url, "UPDATE flowctx_step SET payload = ?, digest = ?", (text, digest))
    assert refused >= {"steps", "recorded_steps", "step_outputs"}


@pytest.mark.parametrize("value", ["{", "[1]", "{}", "x" * 10_000])
def test_a_damaged_fact_is_an_error_of_ours(sqlite_url, value):
    """The machines that used a file, and the names of engines."""
    ledger = SqlLedger(sqlite_url)
    ledger.remember_engine_name("airflow", "nav", "nav_by_fund")
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE flowctx_fact SET value = ?", (value,))
    for ask in (lambda: ledger.engine_names("airflow", "nav"), SqlLedger(sqlite_url).list_runs):
        with pytest.raises(PayloadError, match="is damaged") as caught:
            ask()
        assert len(str(caught.value)) < 1000
    ledger.close()
