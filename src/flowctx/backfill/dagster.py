"""Run a batch on Dagster, through the GraphQL of its web server: one run for each partition, found by tags."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flowctx.backfill import graphql
from flowctx.backfill.again import going_on
from flowctx.backfill.dagster_api import DagsterApi
from flowctx.backfill.dagster_config import RUN_TAG, has_params, run_again, run_config, run_tags, with_params
from flowctx.backfill.dagster_retries import is_retry_awaited, is_to_be_retried, is_undecided, retry_of
from flowctx.backfill.dagster_runs import (
    BATCH_TAGS,
    LIVE,
    STATES,
    did_all,
    failure_of,
    has_output,
    is_of,
    is_part,
    is_shared,
    of_each,
    partitions_of,
    says_ledger,
    time_of,
)
from flowctx.backfill.dagster_starting import (
    FORBIDDEN,
    STARTED,
    Starting,
    Target,
    concerns_all,
    why_not_started,
)
from flowctx.backfill.polling import (
    MAX_ACTIVE,
    PAGE,
    POLL_SECONDS,
    PollingLauncher,
    UnderWay,
    WhichPartition,
    under_way_otherwise,
)
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import read_text

_STOP_SECONDS = 60.0


def launcher_from_env(
    *, url: str | None = None, workers: int | None = None, location: str | None = None
) -> DagsterLauncher:
    """Make a launcher from ``FLOWCTX_DAGSTER_URL`` and ``FLOWCTX_DAGSTER_LOCATION``."""
    return DagsterLauncher(
        read_text(url, "url") or os.environ.get("FLOWCTX_DAGSTER_URL") or "http://localhost:3000",
        max_active=workers or MAX_ACTIVE,
        location=read_text(location, "location") or os.environ.get("FLOWCTX_DAGSTER_LOCATION"),
    )


class DagsterLauncher(PollingLauncher):
    """Runs partitions as runs of the workflow's job (as ``workflow_definitions`` or ``workflow_job`` makes it).

    Dagster lets nobody choose a run's id, so each run carries one of ours as a tag, by which a launch that was cut off
    finds what it had started; a run that failed is re-executed from its failure. Needs no Dagster here.

    Args:
        url: Where the web server is.
        max_active: So many runs are under way at a time.
        job: The job, if it is not named ``<workflow>_job`` or as the workflow.
        location: The code location that has it, where several have.

    Raises:
        EngineError: It is no URL.
    """

    engine = "dagster"

    def __init__(
        self, url: str, *, max_active: int = MAX_ACTIVE, job: str | None = None, location: str | None = None
    ) -> None:
        self.api = DagsterApi(url)
        super().__init__(self.api.client, max_active)
        self._named, self.location = job, location
        #: The workflows that were checked, and where their jobs are.
        self._targets: dict[str, Target] = {}
        #: The jobs of each workflow that were looked for before they were started.
        self._looked: dict[str, set[str]] = {}
        self._starting = Starting()
        #: Runs that had failed when they were last asked for, and of which Dagster had not said if it retries them.
        self._undecided: set[str] = set()
        #: Which runs say that they had a ledger.
        self._had_ledger: dict[str, bool] = {}

    # -- launching --------------------------------------------------------------------------------------------------

    def server_version(self) -> str:
        """Return the version of the Dagster that answers."""
        return str(self.api.ask(graphql.VERSION))

    def check(self, workflow: Workflow) -> None:
        """See whether the job is there, and whether somebody takes runs from the queue.

        Raises:
            EngineError: It is not; the message says what to do.
        """
        names = [self._named] if self._named else [f"{workflow.name}_job", workflow.name]
        place = self.api.find_job(names, self.location, f"defs = workflow_definitions({workflow.name})")
        self._targets[workflow.name] = Target(workflow, place)

    def _prepare(self, batch: BatchRecord) -> None:
        # A launcher that was killed a moment ago may have asked for one more run than it could note.
        self._looked = {name: set() for name in batch.workflows}
        self._starting = Starting()

    def _obstacle(self, batch: BatchRecord) -> str | None:
        return self.api.obstacle()

    def _begin(self, batch: BatchRecord, job: Job, before: PartitionRun | None) -> PartitionRun | None:
        target = self._targets[name := job.workflow or batch.workflow]
        workflow, known = target.workflow, {run.run_id for run in (before, job.before) if run is not None}
        if before is not None and (there := self._resumed(batch, workflow, job, before)) is not None:
            return there
        if before is not None and self._goes_on_anew(target, job, before):
            # A re-execution would be of the same steps and partitions, with the same parameters; a run of all goes on
            # with what the ledger has of it.
            job, before = going_on(job, before), None
        if before is None and (job.run_id in (looked := self._looked[name]) or len(looked) < self._max_active):
            looked.add(job.run_id)
            found = self._started(job)
            if found is not None and (there := self._there_already(workflow, job, found, known)) is not None:
                self._starting = Starting()  # the next one is waited for as long
                return there
            known |= {found["runId"]} if found is not None else set()
        begun = partial(self._begun, workflow, job, known)
        answer = self._starting.once(partial(self._start, target, job, before), begun, again=before is not None)
        if answer is None:
            return None
        if answer["__typename"] == STARTED:
            return self._launched(job, answer["run"]["runId"], before.attempt + 1 if before else 1)
        if before is not None and answer["__typename"] != FORBIDDEN:  # that or its job is gone, or has changed since
            return self._begin(batch, going_on(job, before), None)
        if concerns_all(answer):
            raise self.api.error(why_not_started(answer))
        return self._refused(job, why_not_started(answer))

    def _begun(self, workflow: Workflow, job: Job, known: Collection[str]) -> dict[str, Any] | None:
        """Return the run of a job that has begun although the answer was lost, if there is one."""
        found = self._started(job)  # waits until it is back
        if found is None or found["runId"] in known:
            return None
        # A failure may be older than this call, too, if any run was known.
        is_new = job.before is None or found["status"] == "SUCCESS" or self._is_of_this_launch(workflow, job, found)
        return found if is_new else None

    def _resumed(self, batch: BatchRecord, workflow: Workflow, job: Job, before: PartitionRun) -> PartitionRun | None:
        """Follow what somebody has executed again of a run meanwhile; beside other parameters, start nothing."""
        scheme = workflow.partitions
        children = graphql.tagged("dagster/parent_run_id", before.run_id)
        for run in self.api.runs({**children, "statuses": [*LIVE]}, PAGE):
            keys = () if scheme is None else map(str, partitions_of(run, scheme))
            if is_of(run, workflow, self._jobs(workflow), batch.batch_id) and (scheme is None or job.partition in keys):
                if job.other_params or not (before.recorded or has_params(run, workflow, job.params)):
                    return self._refused(job, under_way_otherwise(run["runId"]))
                return self._launched(job, run["runId"], before.attempt + 1)
        return None

    def _goes_on_anew(self, target: Target, job: Job, before: PartitionRun) -> bool:
        """Whether what ran before goes on as a run of its own: a re-execution would not do what is due."""
        if job.other_params or job.accept_changes or before.part or before.state is PartitionState.PARTIAL:
            return True
        if before.state is PartitionState.FAILED and (job.from_step is not None or target.refreshes):
            return True
        for run in self.api.runs({"runIds": [before.run_id]}, 1):  # nothing, if it was deleted
            if not (before.recorded or has_params(run, target.workflow, job.params)):
                return True
            if is_shared(run, target.workflow) or is_part(self.api.begun_by(run)[0][-1], target.workflow):
                return True
        return before.state is PartitionState.FAILED and not before.recorded and self.had_ledger(before)

    def _start(self, target: Target, job: Job, before: PartitionRun | None) -> Mapping[str, Any]:
        if before is not None:
            return self.api.ask(graphql.AGAIN, params=run_again(job, before), repeat=False)
        workflow, place = target
        return self.api.launch(place, run_config(workflow.name, job), run_tags(workflow, job))

    def _started(self, job: Job) -> dict[str, Any] | None:
        """Return the latest run of a job, if there is one."""
        return next(iter(self.api.runs(graphql.tagged(RUN_TAG, job.run_id), 1)), None)

    def _there_already(
        self, workflow: Workflow, job: Job, run: Mapping[str, Any], known: Collection[str]
    ) -> PartitionRun | None:
        """Go on with the run of a job that an earlier launch started, if it is one; beside others, start nothing."""
        if run["runId"] in known:
            return None
        if has_params(run, workflow, job.params):
            is_ours = self._is_of_this_launch(workflow, job, run)
            return self._launched(job, run["runId"]) if is_ours else None
        return self._refused(job, under_way_otherwise(run["runId"])) if run["status"] in LIVE else None

    def _is_of_this_launch(self, workflow: Workflow, job: Job, run: Mapping[str, Any]) -> bool:
        """Whether a run may be of this launch: it is under way, or did all of a job of which nothing was known."""
        goes_on = run["status"] in LIVE or is_retry_awaited(run)
        return goes_on or (
            job.before is None and run["status"] == "SUCCESS" and self._state_of_success(run, workflow)[0].done
        )

    def _changed(
        self, batch: BatchRecord, active: Mapping[WhichPartition, UnderWay]
    ) -> Iterator[tuple[WhichPartition, PartitionRun]]:
        of_run: dict[tuple[str, str], list[WhichPartition]] = defaultdict(list)
        for which, (job, last) in active.items():
            of_run[last.run_id, job.workflow or batch.workflow].append(which)
        ids = list({run_id for run_id, _ in of_run})
        found = {run["runId"]: run for run in self.api.runs({"runIds": ids}, len(ids))}
        undecided = {run_id for run_id, run in found.items() if is_undecided(run)}
        for (run_id, name), some in of_run.items():
            run, jobs = found.get(run_id), [active[which].job for which in some]
            if run is None:
                yield from ((which, self._deleted(active[which])) for which in some)
            elif (retry := self.api.retry_of(run)) is not None:
                yield from ((w, self._launched(active[w].job, retry, active[w].run.attempt + 1)) for w in some)
            elif run["status"] not in LIVE and not is_retry_awaited(run) and run_id not in undecided - self._undecided:
                states = self._partition_runs(run, [job.partition for job in jobs], self._targets[name].workflow)
                yield from (
                    (w, replace(one, attempt=active[w].run.attempt)) for w, one in zip(some, states, strict=True)
                )
        self._undecided = undecided

    # -- what Dagster knows -----------------------------------------------------------------------------------------

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield the runs that carry the batch id as a tag, or belong to Dagster's own backfill of that id.

        Of a run that Dagster has run again by itself, the retry is yielded alone.
        """
        scheme, jobs = workflow.partitions, self._jobs(workflow)
        seen: set[str] = set()
        for tag in BATCH_TAGS:
            # The latest first, so that a retry comes before what it is of.
            for run in self.api.all_runs(graphql.tagged(tag, batch.batch_id)):
                seen.add(run["runId"])
                if retry_of(run) in seen:
                    continue
                is_ours = is_of(run, workflow, jobs, batch.batch_id)
                if is_ours and scheme is not None and (keys := [str(key) for key in partitions_of(run, scheme)]):
                    yield from with_params(self._partition_runs(run, keys, workflow), run, workflow, batch)

    def _jobs(self, workflow: Workflow) -> set[str | None]:
        return {self._named, f"{workflow.name}_job", workflow.name}

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Terminate runs, and yield those that are over; one that is just starting, or is at a step, is asked again."""
        left: dict[str, list[PartitionRun]] = defaultdict(list)  # a run may be of a range of partitions
        for run in runs:
            left[run.run_id].append(run)
        end = time.monotonic() + _STOP_SECONDS
        while left and time.monotonic() < end:
            waiting = sorted(left)
            for start in range(0, len(waiting), PAGE):
                yield from self._terminated(batch, waiting[start : start + PAGE], left)
            time.sleep(POLL_SECONDS if left else 0)

    def _terminated(
        self, batch: BatchRecord, ids: Sequence[str], left: dict[str, list[PartitionRun]]
    ) -> Iterator[PartitionRun]:
        """Have runs terminated, and take those that are over from what is left."""
        self.api.ask(graphql.STOP, ids=ids)
        found = {found_run["runId"]: found_run for found_run in self.api.runs({"runIds": ids}, len(ids))}
        for run_id in ids:
            found_run = found.get(run_id)
            state = self._stopped(batch, left[run_id][0], found_run)
            if found_run is not None and (retry := self.api.retry_of(found_run)) is not None:
                left[retry] += [replace(run, run_id=retry, attempt=run.attempt + 1) for run in left.pop(run_id)]
            elif state.state.ended:
                state = replace(state, ended_at=state.ended_at or datetime.now(UTC))
                yield from (replace(state, partition=run.partition) for run in left.pop(run_id))

    def _stopped(self, batch: BatchRecord, run: PartitionRun, found: Mapping[str, Any] | None) -> PartitionRun:
        """Return how a run stands that is to stop; one that is not there any more was deleted."""
        if found is not None:
            target = self._targets.get(run.workflow or batch.workflow)
            return self._partition_run(found, run.partition, target and target.workflow, run.attempt)
        return replace(run, state=PartitionState.CANCELED, last_seen_at=datetime.now(UTC), step=None, error=None)

    def _partition_runs(
        self, run: Mapping[str, Any], partitions: Sequence[str], workflow: Workflow
    ) -> Iterator[PartitionRun]:
        """Yield what Dagster says of some partitions of a run, each for itself."""
        runs = self.api.begun_by(run)[0] if is_shared(run, workflow) else []
        made = (event for one in runs for event in self.api.events(one["runId"], graphql.OUTPUTS))
        yield from of_each(self._partition_run(run, partitions[0], workflow), partitions, made, workflow)

    def _partition_run(
        self, run: Mapping[str, Any], partition: str, workflow: Workflow | None, attempt: int = 1
    ) -> PartitionRun:
        """Return what Dagster says of a run: ok if any step made something, and with the step that failed and why."""
        state = STATES.get(run["status"], PartitionState.LAUNCHED)
        step = error = category = None
        if state is PartitionState.OK:
            state, error = self._state_of_success(run, workflow)
        elif is_retry_awaited(run):
            state = PartitionState.LAUNCHED
        elif state is PartitionState.FAILED:
            step, error, category = failure_of(self.api.events(run["runId"]), workflow)
            error += "; Dagster was to run it again (run_retries), and has not" if is_to_be_retried(run) else ""
        ended = time_of(run["endTime"]) if state.ended else None
        return PartitionRun(
            partition=partition,
            state=state,
            run_id=run["runId"],
            engine=self.engine,
            attempt=attempt,
            started_at=time_of(run["startTime"]),
            ended_at=ended,
            # What is under way was so just now: that counts before what the ledger has of a run that failed earlier.
            last_seen_at=ended or (time_of(run["updateTime"]) if state.ended else None) or datetime.now(UTC),
            step=step,
            error=error,
            category=category,
        )

    def _state_of_success(self, run: Mapping[str, Any], workflow: Workflow | None) -> tuple[PartitionState, str | None]:
        """Return what a run did that Dagster calls a success: it may have been of a part, or skipped every step."""
        runs, gone = self.api.begun_by(run)
        if is_part(runs[-1], workflow):
            return PartitionState.PARTIAL, None
        if gone is not None and not did_all(runs, workflow):
            return PartitionState.PARTIAL, f"run {gone}, with which it goes on, was deleted in Dagster"
        made = any((one["stats"] or {}).get("materializations") for one in runs)
        made = made or any(has_output(event) for one in runs for event in self.api.events(one["runId"]))
        return PartitionState.OK if made else PartitionState.SKIPPED, None

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run says that it had a ledger, in the metadata of what its steps made."""
        if run.run_id not in self._had_ledger:  # a run may be of thousands of partitions
            events = self.api.events(run.run_id, graphql.OUTPUTS)
            self._had_ledger[run.run_id] = any(map(says_ledger, events))
        return self._had_ledger[run.run_id]
