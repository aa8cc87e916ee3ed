"""Many partitions under one batch id: what is to run, what is done, and launching the rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from flowctx.backfill.again import RunsAgain, compared, had_params, not_done
from flowctx.backfill.bulk import BulkLaunch, BulkLauncher, BulkWork
from flowctx.backfill.launching import Launch
from flowctx.backfill.leading import LaunchOptions
from flowctx.backfill.order import own_mappings
from flowctx.backfill.progress import LaunchListener, LaunchProgress
from flowctx.backfill.same_batch import (
    checked_batch_id,
    known_batch,
    refuse_another,
    refuse_another_workflow,
    refuse_forgotten,
    same_params,
    warn_of_params_kept,
    with_params_taken,
)
from flowctx.backfill.selected import scheme_of
from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.backfill.settling import CALLED_DONE, Settling
from flowctx.backfill.superseding import warn_of_superseded
from flowctx.bulk import importable
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.partition_params import PartitionParams, params_of_all, params_source
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState, batch_run_id
from flowctx.core.data.plain import FrozenDict
from flowctx.core.data.secrets import stands_for, with_digests
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import find_run
from flowctx.core.errors import BatchError, LedgerError, NotDue, ending_text
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.renames import warn_renamed
from flowctx.core.workflow.definition import Workflow, expect_workflow
from flowctx.core.workflow.import_path import import_path_of, refuse_while_imported
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger import ledger_or_default

#: Makes the parameters of one partition.
ParamsOf = Callable[[PartitionKey], Mapping[str, Any]]

#: How many partitions are looked up in the ledger at a time; few at first, so that the first run starts at once.
_FIRST, _CHUNK = 50, 500


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What launching a batch would do now."""

    #: How many partitions are selected.
    total: int
    #: The first and the last of them.
    first: PartitionKey | None
    last: PartitionKey | None
    #: How many of them stand how; those of which nothing is known are not among them.
    states: Mapping[PartitionState, int]
    #: How many would run.
    would_run: int
    #: The same of each workflow, where the batch has several.
    by_workflow: Mapping[str, Plan] = field(default_factory=dict)


class Backfill:
    """Many partitions of a workflow under one batch id; nothing is listed, and only what has happened is stored.

    Launching it again runs what is missing: each partition has one run, whose id is derived from the batch and the
    partition, whichever engine it is launched on.

    Args:
        workflow: The workflow; it must have partitions.
        selection: Which partitions, as a selection or its text (``"date=2012-01-03..2012-12-31,symbol=IBM"``);
            ``None``: all.
        batch_id: The id that all its runs carry.
        params: Parameters on top of the workflow's own, or a function that makes them from the partition key.
        until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the
            latest one that is due.
        ledger: Where it is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Raises:
        BatchError: The workflow has no partitions, none is selected, or an id or parameters that cannot be.
        PartitionError: The selection cannot be.
        LedgerError: There is no ledger.

    Example:
        >>> from flowctx import PartitionScheme, Workflow
        >>> flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2", "T3"]))
        >>> plan = Backfill(flow, "tier=T1|T3", "restate", ledger="memory://").plan()
        >>> plan.total, str(plan.first), plan.would_run
        (2, 'tier=T1', 2)
    """

    def __init__(
        self,
        workflow: Workflow,
        selection: Selection | str | None,
        batch_id: str,
        *,
        params: Mapping[str, Any] | ParamsOf | None = None,
        until: date | str | None = None,
        ledger: Ledger | str | None = None,
    ) -> None:
        self.workflow = expect_workflow(workflow)
        self.scheme = scheme_of(workflow)
        self.selection = selected(self.scheme, selection, until)
        if self.selection.scheme != self.scheme:
            raise BatchError(f"the selection is not one of the partitions of workflow {workflow.name!r}")
        if not self.selection:
            raise BatchError(f"nothing of workflow {workflow.name!r} is selected; a batch needs a partition")
        self.batch_id = checked_batch_id(batch_id)
        self.params_of = params if callable(params) else None
        self.params: Mapping[str, Any] = self._read_params(params_of_all(params))
        found = ledger_or_default(ledger)
        if found is None:
            raise LedgerError("a batch has to be remembered; pass ledger= or set FLOWCTX_LEDGER_URL")
        self.ledger: Ledger = found
        #: What the batch asked for before it was added to, if it was planned by then.
        self._known: BatchRecord | None = None
        #: Whether the batch keeps its parameters although others were asked for, since nothing would run with those.
        self.keeps_params = False

    # -- what it is -------------------------------------------------------------------------------------------------

    def record(self) -> BatchRecord:
        """Return what it asks for, as the ledger remembers it."""
        return BatchRecord(
            batch_id=self.batch_id,
            workflow=self.workflow.name,
            import_path=import_path_of(self.workflow),
            selection=str(self.selection),
            digest=self.selection.digest(),
            total=len(self.selection),
            params=self._hidden_params,
            params_from=params_source(self.params_of),
            created_at=datetime.now(UTC),
        )

    @cached_property
    def _hidden_params(self) -> FrozenDict:
        return with_digests(self.params)

    def reconcile(self, *, extend: bool = False, accept_changes: bool = False) -> BatchRecord:
        """Return its record, unless the ledger knows another batch by its id.

        Args:
            extend: Add the selection to that of the batch, and let the parameters be these from now on.
            accept_changes: Go on without those parameters of the batch that the workflow does not take any more.

        Raises:
            BatchError: The same id with another workflow, selection or parameters, or of a batch that was pruned.
        """
        known = known_batch(self.ledger, self.batch_id, [self.workflow.name])
        return self._reconciled(known, extend=extend, accept_changes=accept_changes)

    def _reconciled(self, known: BatchRecord | None, *, extend: bool, accept_changes: bool) -> BatchRecord:
        requested = self.record()
        if known is None:
            return requested
        refuse_another_workflow(known, requested.workflow)
        if known.selection is None:  # started by an engine; its plan is ours now
            return replace(requested, created_at=known.created_at)
        self._known, anew = known, self.params if extend else ()
        known = with_params_taken(known, self.workflow, accept_changes=accept_changes, anew=anew)
        if extend:
            self.selection |= self.scheme.select(known.selection)
            refuse_forgotten(known, self.params, self.params_of)
            record = replace(self.record(), created_at=known.created_at)
            return replace(record, params=known.params, params_from=known.params_from) if self.keeps_params else record
        refuse_another(known, requested, self.params, self.selection)
        return replace(requested, created_at=known.created_at)

    def plan(
        self,
        *,
        retry_failed: bool = False,
        retry_skipped: bool = False,
        from_step: str | None = None,
        extend: bool = False,
        accept_changes: bool = False,
    ) -> Plan:
        """Return what a launch would do now, and do nothing; what it would refuse is refused.

        Raises:
            BatchError: As for :meth:`reconcile`.
            NotDue: Some partitions are not due yet.
        """
        self.reconcile(extend=extend, accept_changes=accept_changes)
        self._check(from_step)
        return self._plan(RunsAgain(retry_failed=retry_failed, retry_skipped=retry_skipped))

    def _plan(self, again: RunsAgain) -> Plan:
        known, keys = self.ledger.find_batch(self.batch_id), self.selection
        compared = known is None or known.selection is not None  # else what an engine called done may run again
        states, not_again, selected = dict[PartitionState, int](), 0, SelectedTexts(keys)
        for run in self.ledger.batches.iter_standings(self.batch_id, self.workflow.name):
            if run.partition in selected:
                states[run.state] = states.get(run.state, 0) + 1
                not_again += not again.runs(run, None) and (compared or run.recorded or run.state not in CALLED_DONE)
        return Plan(total=len(keys), first=keys[0], last=keys[-1], states=states, would_run=len(keys) - not_again)

    def _check(self, from_step: str | None) -> None:
        """Refuse what is not due, a step that there is not, and a function that makes no parameters."""
        self.check_due(datetime.now(UTC))
        if from_step is not None:
            self.workflow[from_step]
        self.check_params()

    def check_params(self) -> None:
        """Refuse a function that makes no parameters of the first partition, where the batch is not bound to it yet."""
        new = self._known is None or self._known.params_from != params_source(self.params_of)
        if new and self.params_of is not None and not isinstance(self.params_of, PartitionParams):
            self.job(self.selection[0], None)

    def weigh_params(self, again: RunsAgain) -> bool | None:
        """See whether anything would run with parameters that are added to the batch; if not, it keeps its own.

        Returns:
            Whether it keeps them; ``None`` where no others were asked for.
        """
        known = self.ledger.find_batch(self.batch_id)
        own = known.of(self.workflow.name) if known is not None else None
        if own is None or own.selection is None or same_params(own, self.params, params_source(self.params_of)):
            return None
        plan = self._plan(again)
        self.keeps_params = not plan.would_run
        if self.keeps_params:
            warn_of_params_kept(self.batch_id, self.workflow.name, plan.states)
        return self.keeps_params

    def check_due(self, now: datetime) -> None:
        """Refuse partitions that are not due yet, as each of them would be refused on every engine.

        Raises:
            NotDue: Some are not; the message says which, and what to select instead.
        """
        if early := self.selection - self.scheme.due_keys(now):
            due = self.scheme.due(early[0])
            raise NotDue(
                f"{len(early):,} of the {len(self.selection):,} partitions are not due yet, {early[0]} until "
                f"{due.isoformat() if due else 'later'}; select those that are, such as with until= (--until)"
            )

    # -- what is to run ---------------------------------------------------------------------------------------------

    def iter_work(
        self,
        engine: str | None,
        again: RunsAgain,
        *,
        by_date: bool = False,
        done: dict[PartitionState, int] | None = None,
    ) -> Iterator[Job | PartitionRun]:
        """Yield a job for what is to run and what is known of the rest: in the selection's order.

        Where partitions read others of their workflow, or it is asked for, dates come in order, whatever the scheme's
        order is. Where ``done`` is given, what is done is only counted there, so that what is missing comes at once.
        """
        keys = self.selection.by_date() if by_date or own_mappings(self.workflow) else iter(self.selection)
        if done is not None:
            batch = (self.ledger.batches, self.batch_id, self.workflow.name)
            keys = not_done(keys, SelectedTexts(self.selection), *batch, done, again)
        size = _FIRST
        while chunk := list(itertools.islice(keys, size)):
            texts, name = [str(key) for key in chunk], self.workflow.name  # others may carry the same batch id
            outcomes = self.ledger.batches.iter_outcomes(self.batch_id, texts, workflow=name)
            known = {run.partition: run for run in outcomes}
            for key in chunk:
                before = known.get(str(key))
                if before is None or again.runs(before, engine):
                    job = self.job(key, before)
                    if before is not None and engine in (None, "local"):  # it is compared when it is read there
                        job = replace(job, accept_changes=again.accept_changes, from_step=again.from_step)
                    elif before is not None:
                        job = replace(self._compared(job, before, again), from_step=again.from_step)
                    yield job
                else:
                    yield before
            size = _CHUNK

    def _read_params(self, params: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Return the parameters of a run, as the workflow reads them."""
        read = self.workflow.params_with(params)
        return FrozenDict({name: read[name] for name in params or ()})

    def job(self, key: PartitionKey, before: PartitionRun | None) -> Job:
        """Make the job of a partition."""
        params = self.params
        if self.params_of is not None:
            try:
                params = self._read_params(self.params_of(key))
            except (Exception, SystemExit, GeneratorExit) as exc:
                raise BatchError(f"the parameters of partition {key} cannot be made: {ending_text(exc)}") from exc
        run_id = batch_run_id(self.workflow.name, self.batch_id, key, self.scheme.text(key))
        of_steps = self.params_of.step_config(key) if isinstance(self.params_of, PartitionParams) else None
        request = RunRequest(batch_id=self.batch_id, step_config=of_steps)
        return Job(key=key, run_id=run_id, params=params, request=request, before=before)

    def had_made_params(self, run: PartitionRun) -> bool:
        """Return whether a run had what a function makes of its partition, as far as its engine tells."""
        if self.params_of is None or run.engine_params is None or run.partition not in self.selection:
            return True
        return had_params(self.workflow, run.engine_params, self.job(self.scheme.check(run.partition), None).params)

    def _compared(self, job: Job, before: PartitionRun, again: RunsAgain) -> Job:
        """Return a job, and how the run before differs; one that is not recorded had the parameters of the batch."""
        found = find_run(self.ledger, before.run_id, self.workflow.name, job.key)
        if found is None:
            changed = self._known is not None and not stands_for(self._known.params, self.params)
            return replace(job, other_params=changed)
        return compared(job, found, self.workflow, self.ledger, again)

    def launch(
        self,
        launcher: Launcher | BulkLauncher,
        *,
        retry_failed: bool = False,
        retry_skipped: bool = False,
        from_step: str | None = None,
        extend: bool = False,
        accept_changes: bool = False,
        max_failures: int | None = None,
        listener: LaunchListener | None = None,
        follower: LaunchListener | None = None,
    ) -> LaunchProgress:
        """Run what is missing, and return when it has ended or was stopped.

        The first Ctrl-C stops it cleanly, the second at once; either way the batch can go on.

        Args:
            launcher: The engine to run it on.
            retry_failed: Also run again what has failed.
            retry_skipped: Also run again what was skipped.
            from_step: Where what ran before runs again: from this step on, although it is complete. By default only
                what is not complete runs, and steps that say ``refresh=True``.
            extend: As for :meth:`reconcile`.
            accept_changes: Go on although the workflow has changed since what ran before: what its complete steps have
                recorded is kept, and the parameters are as they are declared now.
            max_failures: Stop when so many partitions have failed.
            listener: Is told what happens.
            follower: Old name of ``listener``.

        Raises:
            BatchError: As for :meth:`reconcile`, somebody else launches the batch right now, or this is called while a
                module is imported for its workflow.
            NotDue: Some partitions are not due yet.
            EngineError: The engine cannot run it; nothing was launched.
        """
        if follower is not None:
            warn_renamed("Backfill.launch(follower=)", "Backfill.launch(listener=)")
            listener = follower
        refuse_while_imported()
        again = RunsAgain(
            retry_failed=retry_failed, retry_skipped=retry_skipped, from_step=from_step, accept_changes=accept_changes
        )
        batch = self.reconcile(extend=extend, accept_changes=accept_changes)
        if extend:
            self.weigh_params(again)
        self._check(from_step)
        launcher.check(self.workflow)
        warn_of_superseded(self.ledger, batch)
        options = LaunchOptions(
            total=len(self.selection),
            max_failures=max_failures,
            listener=listener or LaunchListener(),
            decide=lambda known: self._reconciled(known, extend=extend, accept_changes=accept_changes),
            settling=Settling(self.ledger, self.batch_id, launcher, self.workflow.name, self.had_made_params),
        )
        return replace(self._launch(launcher, batch, options, again), params_kept=self.keeps_params)

    def _launch(
        self, launcher: Launcher | BulkLauncher, batch: BatchRecord, options: LaunchOptions, again: RunsAgain
    ) -> LaunchProgress:
        if isinstance(launcher, BulkLauncher):
            return BulkLaunch(self._bulk_work(again), batch, launcher, options).to_the_end()
        work = self.iter_work(launcher.engine, again, done=options.before)
        return Launch(self.ledger.batches, work, [self.workflow], batch, launcher, options).to_the_end()

    def _bulk_work(self, again: RunsAgain) -> BulkWork:
        """Return what there is to do in bulk.

        Raises:
            BatchError: No slice could do it.
        """
        if self.params_of is not None:
            raise BatchError(
                f"batch {self.batch_id!r} has parameters that a function makes of each partition, and its slices would "
                "run where that function is not; give all partitions the same parameters, or run it without bulk"
            )
        importable(self.workflow)
        return BulkWork(self.ledger, self.workflow, self.selection, self.params, again)
