"""What a run that continues another takes over of that one, for whatever is no step that is recorded in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flowctx.airflow.recording import ledger
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.taken_over import TakenOver, taken_over
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger import strict_from_env


def run_taken_over(
    workflow: Workflow,
    run: Any,
    partition: PartitionKey | None,
    request: RunRequest,
    *,
    params: Mapping[str, Any],
    new_params: Collection[str],
) -> TakenOver | None:
    """Return what Airflow's run takes over, if a ledger is named; see :func:`~.core.durability.taken_over.taken_over`.

    Raises:
        UnknownRun: The ledger remembers no run ``resume_from``.
        LedgerError: The ledger cannot be read, and the setting is strict.
    """
    if (found := ledger()) is None:
        return None
    recorded_in = run_ledger(found, strict=strict_from_env())
    return taken_over(recorded_in, workflow, run.run_id, partition, request, params=params, new_params=new_params)
