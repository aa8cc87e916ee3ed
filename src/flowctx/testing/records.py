"""Runs, steps and captures for the tests that ledgers inherit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flowctx.core.data.plain import freeze
from flowctx.core.durability.records import CaptureKey, RunRecord, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.testing.clock import NOON
from flowctx.testing.contexts import make_context

MINUTE = timedelta(minutes=1)
EVERYTHING = {"π": [1, 2.5, None, True, "x\0y", b"\x00", 2**70, {"$": "$"}], "when": NOON, "nan": float("nan")}


def a_run(run_id: str = "run-1", **context: Any) -> RunRecord:
    """Return a run of a workflow with three steps, about one business date."""
    fields = {"as_of_date": NOON.date(), **context}
    return RunRecord(
        workflow="flow", context=make_context(workflow="flow", run_id=run_id, **fields), steps=("a", "b", "c")
    )


def a_step(name: str = "a", **fields: Any) -> StepRecord:
    """Return the record of a step."""
    values = {"status": StepStatus.OK, "started_at": NOON, **fields}
    if isinstance(values.get("output"), dict):
        values["output"] = freeze(values["output"])
    return StepRecord(step=name, **values)


def a_key(capture_id: str = "2026-01-09|b1", idempotency_key: str = "subject") -> CaptureKey:
    """Return the key of a capture."""
    return CaptureKey(idempotency_key=idempotency_key, capture_id=capture_id)
