"""Whether Airflow may still be to make what a step reads: nothing older stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flowctx.airflow._compat import runs_to_come
from flowctx.airflow.dag_names import dags_of
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.versions import Version
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Input


class Reader(Protocol):
    """What a task that runs a step says of itself."""

    workflow: Workflow | None

    def context_of(self, context: Mapping[str, Any]) -> WorkflowContext:
        """Return the run's context."""


def unordered(
    operator: Reader, context: Any, item: Input, version: Version | None, ledger: Ledger | None
) -> str | None:
    """Return why a partition may still be to come in the batch of one of Airflow's own backfills.

    Airflow makes the runs of a backfill in any order, and says of none which partition it is about.
    """
    if str(context["dag_run"].run_type) != "backfill":
        return None
    if version is not None and version.batch_id == operator.context_of(context).batch_id:
        return None
    if item.workflow is operator.workflow:
        return (
            "inputs are not ordered in Airflow's own backfills yet, and an older version must not stand in; launch it "
            "with flowctx backfill --on airflow"
        )
    dags = dags_of(item.workflow, ledger) if ledger is not None else [item.workflow.name]
    busy = next((dag_id for dag_id in dags if runs_to_come(context["ti"], dag_id)), None)
    if busy is not None:
        return (
            f"DAG {busy!r} has runs that are queued or running, and one of them may make it; run this "
            "one again when they have ended"
        )
    return None
