"""Run a batch in bulk on Dagster: a run of the bulk job for each slice, as many at a time as there are lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from flowctx.backfill.bulk import LANES, BulkLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.dagster import launcher_from_env as native_from_env
from flowctx.backfill.dagster_config import RUN_TAG
from flowctx.backfill.dagster_retries import tags_of
from flowctx.backfill.dagster_runs import LIVE
from flowctx.backfill.dagster_starting import STARTED, Place, Starting, why_not_started
from flowctx.backfill.graphql import tagged
from flowctx.backfill.polling import PAGE
from flowctx.core.batches.bulk import BULK, GOT_THROUGH_TAG, RUN_SLICE, BulkRequest, Slice, bulk_name
from flowctx.core.batches.records import BatchRecord
from flowctx.core.errors import EngineError
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import RunRequest

#: So often a slice is started whose run died; it goes on from where it was.
_ATTEMPTS: Final = 3
#: The tag that says in whose name a slice runs.
_LAUNCHER_TAG: Final = "flowctx/launcher"


def launcher_from_env(
    *, url: str | None = None, workers: int | None = None, location: str | None = None
) -> DagsterBulkLauncher:
    """Make a launcher; see :func:`flowctx.backfill.dagster.launcher_from_env`."""
    return DagsterBulkLauncher(native_from_env(url=url, location=location), workers or LANES)


class DagsterBulkLauncher(BulkLauncher):
    """Runs slices as runs of the workflow's bulk job, as ``workflow_bulk_job`` makes it.

    Args:
        dagster: Asks that Dagster, and knows what runs there partition by partition.
        lanes: So many slices run at a time.
        job: The bulk job, if it is not named after the workflow.
    """

    def __init__(self, dagster: DagsterLauncher, lanes: int = LANES, *, job: str | None = None) -> None:
        super().__init__(dagster, lanes)
        self._dagster, self._api, self._named = dagster, dagster.api, job
        self._place: Place | None = None
        self._request: BulkRequest | None = None
        self._batch_id = ""
        self._starting = Starting()
        self._waiting: list[tuple[int, Slice]] = []
        #: The slices of runs under way; those of an earlier launch are not known.
        self._active: dict[str, tuple[int, Slice] | None] = {}
        self._attempts: Counter[int] = Counter()
        #: The marks of runs whose slices did not get through.
        self._failed = set[str]()

    def check(self, workflow: Workflow) -> None:
        """See whether the bulk job is there, and whether somebody takes runs from the queue.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        name = self._named or bulk_name(workflow.name)
        made_by = f"workflow_bulk_job({workflow.name})"
        self._place = self._api.find_job([name], self._dagster.location, f"{made_by}, or `bulk: true` in its YAML,")

    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        """Return who launched slices of the batch that are queued or running, and follow them."""
        self._batch_id = batch.batch_id
        return self._follow()

    def _follow(self) -> str | None:
        wanted = {**tagged("flowctx/batch_id", self._batch_id), "statuses": [*LIVE]}
        found = [run for run in self._api.all_runs(wanted) if tags_of(run).get(_LAUNCHER_TAG)]
        self._active = {run["runId"]: None for run in found}
        return tags_of(found[0])[_LAUNCHER_TAG] if found else None

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        """Start runs of as many slices as there are lanes.

        Raises:
            EngineError: Dagster does not take one.
        """
        self._request, self._waiting, self._active = request, list(enumerate(slices)), {}
        self._batch_id, self._starting = request.batch_id, Starting()
        self._failed, self._attempts = set(), Counter()  # what slices before these have left is in these
        self._fill()

    def obstacle(self) -> str | None:
        """Return what the slices wait for, if Dagster says so."""
        return self._api.obstacle()

    def is_over(self) -> bool:
        """Return whether all slices have ended, having started those for which there is room by now."""
        if self._active:
            wanted = {"runIds": list(self._active)}
            found = {run["runId"]: run for run in self._api.runs(wanted, len(self._active))}
            for run_id in [one for one in self._active if found.get(one, {}).get("status") not in LIVE]:
                self._take_end(run_id, self._active.pop(run_id), found.get(run_id, {}))
        self._fill()
        if self._active or self._waiting:
            return False
        return self._follow() is None  # somebody may have re-executed one of them

    def failure(self) -> str | None:
        """Return how many slices did not get through, nor where somebody has re-executed them."""
        marked = (self._api.runs(tagged(RUN_TAG, mark), PAGE) for mark in self._failed)
        failed = sum(not any(map(_got_through, runs)) for runs in marked)
        where = f"see the runs of job {self._job.job} in Dagster"
        return f"{amount(failed, 'slice')} did not get through; {where}" if failed else None

    def detach(self) -> None:
        """Start no more slices, and leave those under way to Dagster."""
        self._waiting = []

    @property
    def _job(self) -> Place:
        assert self._place is not None  # noqa: S101 - check() saw to it
        return self._place

    def _take_end(self, run_id: str, part: tuple[int, Slice] | None, run: dict[str, Any]) -> None:
        if _got_through(run):
            return
        if part is not None and run.get("status") == "FAILURE" and self._attempts[part[0]] < _ATTEMPTS:
            self._waiting.append(part)
        else:
            self._failed.add(tags_of(run).get(RUN_TAG, run_id))

    def _fill(self) -> None:
        while self._waiting and len(self._active) < self.lanes:
            number, part = self._waiting[0]
            run_id = self._start(number, part)
            if run_id is None:
                return
            self._waiting.pop(0)
            self._attempts[number] += 1
            self._active[run_id] = (number, part)

    def _start(self, number: int, part: Slice) -> str | None:
        """Start a slice, and return its run; ``None``: Dagster cannot just now, and is asked again in a moment."""
        request = self._request
        assert request is not None  # noqa: S101 - start() has it
        mark = f"{request.launcher}/{request.launched_at:%Y%m%dT%H%M%S%f}/{number}/{self._attempts[number] + 1}"
        tags = {RUN_TAG: mark, _LAUNCHER_TAG: request.launcher, **RunRequest(batch_id=request.batch_id).to_tags()}
        tags["dagster/max_retries"] = "0"  # a slice that dies is started again here; a retry would run beside that
        config = {"ops": {RUN_SLICE: {"config": {BULK: request.to_dict(), "slice": asdict(part)}}}}
        answer = self._starting.once(
            lambda: self._api.launch(self._job, config, tags),
            lambda: next(iter(self._api.runs(tagged(RUN_TAG, mark), 1)), None),
        )
        if answer is None:
            return None
        if answer["__typename"] == STARTED:
            return str(answer["run"]["runId"])
        raise EngineError(f"Dagster does not start a slice of batch {request.batch_id!r}: {why_not_started(answer)}")


def _got_through(run: Mapping[str, Any]) -> bool:
    """Return whether nothing is left of a slice: its run fails where partitions of it have."""
    return run.get("status") == "SUCCESS" or GOT_THROUGH_TAG in tags_of(run)
