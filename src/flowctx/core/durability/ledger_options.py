"""The options of a ledger's calls, for ledgers that pass them on to another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TypedDict

from flowctx.core.durability.records import OnCaptured, RunRecord, RunStatus
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus


class BeginOptions(TypedDict, total=False):
    """How a run is to begin; see :meth:`~flowctx.core.durability.ledger.RunLedger.begin`."""

    resumes: RunRecord | None
    completed: Collection[str]
    on_captured: OnCaptured
    lease: timedelta
    exclusive: bool
    take_over: bool
    seen: Mapping[str, StepStatus] | None


class RunQuery(TypedDict, total=False):
    """Which runs are asked for; see :meth:`~flowctx.core.durability.ledger.RunLedger.list_runs`."""

    workflow: str | None
    batch_id: str | None
    status: RunStatus | None
    partition: PartitionKey | None
    capture_id: str | None
    run_id: str | None
    limit: int


class CaptureQuery(TypedDict, total=False):
    """Which captures are asked for; see :meth:`~flowctx.core.durability.ledger.RunLedger.captures`."""

    idempotency_key: str | None
    workflow: str | None
    partition: PartitionKey | None
    limit: int | None
