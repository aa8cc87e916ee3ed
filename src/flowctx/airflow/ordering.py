"""Whether Airflow is still to make what a step reads: it is waited for, and nothing older stands in for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from flowctx.airflow._compat import run_type_of
from flowctx.airflow.dag_names import dags_of
from flowctx.airflow.planned_runs import TO_COME, Count, DagRuns, failed_runs, runs_of, together
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import Unmade
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.inputs import Input

logger = logging.getLogger("flowctx")

#: The partitions that are read.
Keys = Sequence[PartitionKey | None]


class Reader(Protocol):
    """What a task that runs a step says of itself."""

    def context_of(self, context: Mapping[str, Any]) -> WorkflowContext:
        """Return the run's context."""

    def wait_for(self, runs: list[DagRuns]) -> NoReturn:
        """Let go of the worker until some runs have ended; the task begins anew then."""


def await_runs(
    operator: Reader, context: Any, item: Input, keys: Keys, ledger: Ledger | None
) -> dict[PartitionKey | None, Unmade]:
    """Wait for what one of Airflow's own backfills is still to make; return what it has not made, and why.

    Airflow begins the runs of a backfill in the order of their dates, several at once, and each backfill goes its own
    way. All runs of a partition are waited for that its DAGs have, whatever began them.

    Args:
        operator: The task that reads.
        context: Its context.
        item: What it reads.
        keys: The partitions.
        ledger: The ledger, which knows the DAGs.
    """
    if run_type_of(context["dag_run"]) != "backfill" or ledger is None or not keys:
        return {}
    ask, own_dag = context["ti"].get_dr_count, context["dag"].dag_id
    unmade: dict[PartitionKey | None, Unmade] = {}
    for dag_id, dimensions in dags_of(item.workflow, ledger).items():
        every = DagRuns(dag_id)
        if not every.count(ask, *TO_COME, "failed"):
            continue
        scheme = item.workflow.partitions
        if scheme is None or not dimensions:
            if dag_id == own_dag:
                unmade |= dict.fromkeys(keys, Unmade(None, _no_order(dag_id)))
            elif every.count(ask, *TO_COME):
                _wait(operator, item, keys, [every])
            continue
        some = [key for key in keys if key is not None]
        runs = runs_of(context["ti"], dag_id, item.step_name, scheme, dimensions, some)
        if to_come := [group for group in together(runs.values()) if group.count(ask, *TO_COME)]:
            _wait(operator, item, keys, to_come)
        unmade |= _failures(operator.context_of(context).batch_id, runs, ask)
    return unmade


def _wait(operator: Reader, item: Input, keys: Keys, runs: list[DagRuns]) -> NoReturn:
    logger.info(
        "waiting, without a worker, for runs of DAG %s that are queued or under way: %r reads %s%s",
        runs[0].dag_id,
        item,
        item.workflow.name if keys[0] is None else keys[0],
        f" and {len(keys) - 1:,} more partitions" if len(keys) > 1 else "",
    )
    operator.wait_for(runs)


def _failures(
    batch_id: str | None, runs: Mapping[PartitionKey, DagRuns], ask: Count
) -> dict[PartitionKey | None, Unmade]:
    """Return the partitions of which a run of the same batch failed, the last one of each."""
    if not any(group.count(ask, "failed") for group in together(runs.values())):
        return {}
    failed: dict[PartitionKey | None, Unmade] = {}
    for key, of_key in runs.items():
        found = [run for run in failed_runs(of_key) if _is_of_batch(run, batch_id)]
        if found:
            last = max(found, key=lambda run: run.end_date)
            why = (
                f"whose run {last.run_id} in DAG {of_key.dag_id!r} failed in Airflow, in the same backfill or batch; "
                "no older version stands in: run that one again, and this task after it"
            )
            failed[key] = Unmade(last.end_date, why)
    return failed


def _is_of_batch(run: Any, batch_id: str | None) -> bool:
    if run.end_date is None or (run.conf or {}).get("batch_id") != batch_id:
        return False
    return batch_id is not None or run_type_of(run) == "backfill"  # backfills that name no batch are one


def _no_order(dag_id: str) -> str:
    return (
        f"which a backfill of DAG {dag_id!r} may still be to make: its schedule does not say which run makes what; "
        "give it a PartitionTimetable, or launch it with flowctx backfill --on airflow"
    )
