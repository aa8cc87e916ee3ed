"""Runs in a database, as they are read: what is remembered of them and of their steps."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from flowctx.core.durability.records import RunKey, RunRecord, RunStatus, StepRecord
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.among import rows_among
from flowctx.ledger.database import Database
from flowctx.ledger.refusals import no_attempt, one_run
from flowctx.ledger.rows import attempt_context, run_record, step_record
from flowctx.ledger.statements import find_run, find_statuses, find_steps, of_all_times, with_context
from flowctx.ledger.tables import LAST_TEXT, attempts, runs, steps

#: Columns of which few runs have the same value.
_FEW = {"run_id", "capture_id"}
#: Columns with an index of when their runs started, those that fewer runs share first; most runs are ok.
_LISTED = ("partition", "batch_id", "status", "workflow")
_LISTED_OK = ("partition", "batch_id", "workflow", "status")


class SqlRuns:
    """The runs of a ledger, to read; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    _database: Database

    def get_run(self, run_id: str, *, workflow: str | None = None, partition: PartitionKey | None = None) -> RunRecord:
        """Return a run; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        if workflow is not None and partition is not None:
            key = RunKey(workflow=workflow, run_id=run_id, partition=partition)
            found = [run_record(row) for row in self._database.rows(find_run(), {"run_key": key.digest})]
        else:
            found = self._find(6, run_id=run_id, workflow=workflow, partition=partition)
        return one_run(found, run_id, lambda: self.list_runs(run_id=run_id, limit=6))

    def list_runs(
        self,
        *,
        workflow: str | None = None,
        batch_id: str | None = None,
        status: RunStatus | None = None,
        partition: PartitionKey | None = None,
        capture_id: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Return the runs that fit, the latest first."""
        equal = {"workflow": workflow, "batch_id": batch_id, "status": status, "partition": partition}
        return self._find(limit, capture_id=capture_id, run_id=run_id, **equal)

    def run_ids(self, begun: str, *, limit: int = 10) -> list[str]:
        """Return the ids of runs that begin so, sorted, each once."""
        begins = (runs.c.run_id >= begun, runs.c.run_id <= begun + LAST_TEXT)
        query = select(runs.c.run_id).distinct().where(*begins).order_by(runs.c.run_id).limit(limit)
        return [row["run_id"] for row in self._database.rows(query)]

    def _find(self, limit: int, **equal: object) -> list[RunRecord]:
        wanted = {name: str(value) for name, value in equal.items() if value is not None}
        listed = _LISTED_OK if wanted.get("status") == RunStatus.OK else _LISTED
        chosen = None if wanted.keys() & _FEW else next((name for name in listed if name in wanted), None)
        query, order = with_context(), [runs.c.started_at.desc(), runs.c.run_key]
        if chosen is not None:
            column = runs.c[chosen]
            query = query.where(*of_all_times(column, wanted.pop(chosen)))
            order.insert(0, column.desc())
        # SQLite would take the index of another column, whose value is given, and sort all that it finds by it.
        alone = chosen is not None and self._database.sqlite
        conditions = [(runs.c[name] + "" if alone else runs.c[name]) == value for name, value in wanted.items()]
        query = query.where(*conditions).order_by(*order).limit(limit)
        return [run_record(row) for row in self._database.rows(query)]

    def runs_of(self, run_keys: Collection[str]) -> dict[str, RunRecord]:
        """Return several runs, by the digests of their keys; those that nobody knows are left out."""
        rows = rows_among(self._database, with_context(), runs.c.run_key, run_keys)
        return {row["run_key"]: run_record(row) for row in rows}

    def steps(self, key: RunKey, names: Collection[str] | None = None) -> list[StepRecord]:
        """Return the recorded steps of a run in the order in which they began."""
        if names is None:
            found = self._database.rows(find_steps(), {"run_key": key.digest})
        else:
            query = select(steps).where(steps.c.run_key == key.digest, steps.c.step.in_(list(names)))
            found = self._database.rows(query.order_by(steps.c.started_at))
        return [step_record(row, key.run_id) for row in found]

    def statuses(self, key: RunKey) -> dict[str, StepStatus]:
        """Return how the recorded steps of a run ended."""
        found = self._database.rows(find_statuses(), {"run_key": key.digest})
        return {row["step"]: StepStatus(row["status"]) for row in found}

    def context(self, key: RunKey, attempt: int) -> WorkflowContext:
        """Return what the first step of an attempt at a run saw."""
        query = select(attempts).where(attempts.c.run_key == key.digest, attempts.c.attempt == attempt)
        for row in self._database.rows(query):
            return attempt_context(row, f"what the ledger holds of attempt {attempt} at run {key.run_id}")
        raise no_attempt(key, attempt)
