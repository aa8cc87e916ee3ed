"""Which DAGs make a workflow: the ledger remembers those that are not called like it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import error_text
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Source

logger = logging.getLogger("flowctx")

#: What this process has written down, or could not.
_DONE: Final[set[tuple[str, str]]] = set()


def remember_dag(dag: Any, workflow: Workflow, ledger: Callable[[], Ledger | None]) -> None:
    """Remember that a DAG makes a workflow, if its name does not say so; once in a process, and it never raises.

    The dag-processor calls this before Airflow knows the DAG, so that none of its runs is planned before.
    """
    scheme = getattr(dag.timetable, "scheme", None)
    dimensions = scheme.dimensions if scheme is not None else ()
    own = workflow.partitions.dimensions if workflow.partitions is not None else ()
    if (dag.dag_id, workflow.name) in _DONE or (dag.dag_id == workflow.name and dimensions == own):
        return
    _DONE.add((dag.dag_id, workflow.name))
    try:
        if (found := ledger()) is not None:
            found.remember_engine_name("airflow", workflow.name, dag.dag_id, dimensions)
    except Exception as exc:  # noqa: BLE001  # the DAG is stored whatever it is
        logger.warning(
            "the ledger does not know that DAG %s makes workflow %s, so that readers wait for none of its runs: %s",
            dag.dag_id,
            workflow.name,
            error_text(exc),
        )


def dags_of(workflow: Source, ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """Return the ids of all DAGs that make a workflow, with the dimensions of their runs."""
    own = workflow.partitions.dimensions if workflow.partitions is not None else ()
    return {workflow.name: own, **ledger.engine_names("airflow", workflow.name)}
