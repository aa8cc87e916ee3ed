"""A batch of several workflows: one id, in the order of what they read of each other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from flowctx.backfill.again import RunsAgain
from flowctx.backfill.bulk import BulkLauncher
from flowctx.backfill.launching import Launch
from flowctx.backfill.leading import LaunchOptions
from flowctx.backfill.order import batch_inputs, ranked
from flowctx.backfill.plan import Backfill, Plan
from flowctx.backfill.polling import PollingLauncher
from flowctx.backfill.progress import LaunchListener, LaunchProgress
from flowctx.backfill.same_batch import known_batch, refuse_other_workflows
from flowctx.backfill.settling import Settling
from flowctx.backfill.superseding import warn_of_superseded
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.records import BatchRecord, BatchWorkflow, Job, PartitionRun
from flowctx.core.errors import BatchError
from flowctx.core.workflow.definition import Workflow, check_workflow
from flowctx.core.workflow.import_path import refuse_while_imported

#: Where a workflow's partitions stand among those of the others: stage, end of the window, and rank.
_Place = tuple[int, float, int]


class JointBackfill:
    """Several workflows under one batch id: a partition begins when what it reads of the batch is done.

    It is launched, planned and gone on with as a :class:`~flowctx.backfill.Backfill` is.

    Args:
        plans: What is to run of each workflow, all of one batch id and one ledger; in any order.
        first: The workflow that the record of a new batch begins with; by default the one that is read first.

    Raises:
        BatchError: There is none, one workflow stands twice, ``first`` is of no plan, or they are of several batches.
        WorkflowError: The workflows wait for each other.

    Example:
        >>> from flowctx import PartitionScheme, Workflow
        >>> tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]))
        >>> totals = Workflow("totals", partitions=PartitionScheme(tier=["T1", "T2"]))
        >>> @tiers.step()
        ... def load(ctx):
        ...     return {"rows": 1}
        >>> @totals.step(inputs={"rows": tiers.output(load)})
        ... def add(ctx, *, rows):
        ...     return rows
        >>> from flowctx.ledger import open_ledger
        >>> ledger = open_ledger("memory://")
        >>> both = JointBackfill([Backfill(flow, None, "restate", ledger=ledger) for flow in (totals, tiers)])
        >>> [plan.workflow.name for plan in both.plans], both.plan().total
        (['tiers', 'totals'], 4)
    """

    def __init__(self, plans: Sequence[Backfill], *, first: Workflow | None = None) -> None:
        if not plans:
            raise BatchError("a batch needs a workflow; pass at least one Backfill")
        names = [check_workflow(plan.workflow).name for plan in plans]
        for name in names:
            if names.count(name) > 1:
                raise BatchError(f"workflow {name!r} stands twice in the batch; name each once")
        if first is not None and check_workflow(first).name not in names:
            raise BatchError(f"first={first.name!r} is none of the workflows {', '.join(names)}; name one of them")
        if len({plan.batch_id for plan in plans}) > 1 or len({id(plan.ledger) for plan in plans}) > 1:
            raise BatchError(
                "the workflows of a batch have one batch id and one ledger; pass the same to each Backfill"
            )
        #: What is to run of each workflow, those that are read first.
        self.plans = [plans[place] for place in ranked([plan.workflow for plan in plans])]
        self.batch_id, self.ledger = plans[0].batch_id, plans[0].ledger
        self._first = (first or self.plans[0].workflow).name

    @property
    def workflows(self) -> list[Workflow]:
        """Its workflows, those that are read first."""
        return [plan.workflow for plan in self.plans]

    def record(self) -> BatchRecord:
        """Return what it asks for, as the ledger remembers it."""
        return _joined([plan.record() for plan in self.plans], self._first)

    def reconcile(self, *, extend: bool = False, accept_changes: bool = False) -> BatchRecord:
        """Return its record, unless the ledger knows another batch by its id.

        Args:
            extend: Add workflows and selections to those of the batch, and let the parameters be these from now on.
            accept_changes: Go on without those parameters of the batch that its workflows do not take any more.

        Raises:
            BatchError: The same id with other workflows, selections or parameters, or of a batch that was pruned.
        """
        known = known_batch(self.ledger, self.batch_id, [plan.workflow.name for plan in self.plans])
        return self._reconciled(known, extend=extend, accept_changes=accept_changes)

    def _reconciled(self, known: BatchRecord | None, *, extend: bool, accept_changes: bool) -> BatchRecord:
        if known is None:
            return self.record()
        refuse_other_workflows(known, [plan.workflow.name for plan in self.plans], extend=extend)
        how = {"extend": extend, "accept_changes": accept_changes}
        found = [plan._reconciled(known.of(plan.workflow.name), **how) for plan in self.plans]
        # What engines said of the first workflow is noted without its name, so that it stays the first.
        return replace(_joined(found, known.workflow), created_at=known.created_at)

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
            BatchError: As for :meth:`reconcile`, or no workflow has such a step.
            NotDue: Some partitions are not due yet.
        """
        self.reconcile(extend=extend, accept_changes=accept_changes)
        self._check(from_step)
        again = RunsAgain(retry_failed=retry_failed, retry_skipped=retry_skipped)
        plans = {plan.workflow.name: plan._plan(again) for plan in self.plans}
        states: dict[Any, int] = {}
        for plan in plans.values():
            for state, count in plan.states.items():
                states[state] = states.get(state, 0) + count
        first, *_, last = [*plans.values(), *plans.values()]
        total, would_run = sum(p.total for p in plans.values()), sum(p.would_run for p in plans.values())
        return Plan(
            total=total, first=first.first, last=last.last, states=states, would_run=would_run, by_workflow=plans
        )

    def _check(self, from_step: str | None) -> None:
        """Refuse what is not due, a function that makes no parameters, and a step that none of the workflows has."""
        for plan in self.plans:
            plan.check_due(datetime.now(UTC))
            plan.check_params()
        if from_step is not None and not any(from_step in workflow.steps for workflow in self.workflows):
            names = ", ".join(workflow.name for workflow in self.workflows)
            raise BatchError(f"none of the workflows {names} has a step {from_step!r}")

    # -- what is to run ---------------------------------------------------------------------------------------------

    def iter_work(self, engine: str | None, again: RunsAgain) -> Iterator[Job | PartitionRun]:
        """Yield a job for what is to run and what is known of the rest: each after what it reads."""
        stages = _stages(self.workflows)
        streams = []
        for rank, (plan, stage) in enumerate(zip(self.plans, stages, strict=True)):
            own = again if again.from_step in plan.workflow.steps else replace(again, from_step=None)
            work = plan.iter_work(engine, own, by_date=True)
            streams.append(_placed(plan, work, stage, rank))
        return (item for _, item in heapq.merge(*streams, key=itemgetter(0)))

    def _had_made_params(self, run: PartitionRun) -> bool:
        return next(plan for plan in self.plans if plan.workflow.name == run.workflow).had_made_params(run)

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
    ) -> LaunchProgress:
        """Run what is missing, and return when it has ended or was stopped; see :meth:`Backfill.launch`.

        Args:
            launcher: The engine to run it on, all workflows alike.
            retry_failed: Also run again what has failed.
            retry_skipped: Also run again what was skipped.
            from_step: Where what ran before runs again, in the workflows that have such a step.
            extend: As for :meth:`reconcile`.
            accept_changes: Go on although a workflow has changed since what ran before.
            max_failures: Stop when so many partitions have failed.
            listener: Is told what happens.

        Raises:
            BatchError: As for :meth:`reconcile`, somebody else launches the batch right now, or this is called while a
                module is imported for its workflow.
            NotDue: Some partitions are not due yet.
            EngineError: The engine cannot run one of the workflows; nothing was launched.
        """
        refuse_while_imported()
        if isinstance(launcher, BulkLauncher):
            raise BatchError(_not_in_bulk(self.workflows))
        batch = self.reconcile(extend=extend, accept_changes=accept_changes)
        again = RunsAgain(
            retry_failed=retry_failed, retry_skipped=retry_skipped, from_step=from_step, accept_changes=accept_changes
        )
        kept = [plan.weigh_params(again) for plan in self.plans] if extend else []
        _refuse_one_name(launcher)
        self._check(from_step)
        for plan in self.plans:
            launcher.check(plan.workflow)
        warn_of_superseded(self.ledger, batch)
        launch = Launch(
            self.ledger.batches,
            self.iter_work(launcher.engine, again),
            self.workflows,
            batch,
            launcher,
            LaunchOptions(
                total=sum(len(plan.selection) for plan in self.plans),
                max_failures=max_failures,
                listener=listener or LaunchListener(),
                decide=lambda known: self._reconciled(known, extend=extend, accept_changes=accept_changes),
                settling=Settling(self.ledger, self.batch_id, launcher, had_made_params=self._had_made_params),
            ),
        )
        return replace(launch.to_the_end(), params_kept=True in kept and False not in kept)


def _refuse_one_name(launcher: Launcher) -> None:
    """Refuse a launcher that launches one DAG or job only."""
    if isinstance(launcher, PollingLauncher) and launcher._named is not None:
        raise BatchError(
            f"{launcher._named!r} is named for all workflows of the batch, and runs one of them; leave it out, or "
            "launch that workflow alone"
        )


def _not_in_bulk(workflows: Sequence[Workflow]) -> str:
    names = ", ".join(workflow.name for workflow in workflows)
    return f"in bulk, a batch is of one workflow; launch each alone, under an id of its own, in this order: {names}"


def _joined(records: Sequence[BatchRecord], name: str) -> BatchRecord:
    """Return the record of a batch of several workflows, from that of each, beginning with that of one."""
    first, *others = sorted(records, key=lambda record: record.workflow != name)
    names = [field.name for field in fields(BatchWorkflow)]
    return replace(first, others=tuple(BatchWorkflow(**{name: getattr(o, name) for name in names}) for o in others))


def _placed(
    plan: Backfill, work: Iterator[Job | PartitionRun], stage: int, rank: int
) -> Iterator[tuple[_Place, Job | PartitionRun]]:
    """Yield work with its place among that of the others, and with its workflow's name."""
    end_of, end = "", 0.0
    dated = plan.scheme.cadence_dimension
    for item in work:
        key = plan.scheme.check(item.partition)
        if dated is not None and key[dated] != end_of:
            window = plan.scheme.window(key)
            end_of, end = key[dated], window.end.timestamp() if window is not None else 0.0
        yield (stage, end, rank), replace(item, workflow=plan.workflow.name)


def _stages(workflows: Sequence[Workflow]) -> list[int]:
    """Return when each workflow's turn is: all of one stage come before the next, and within one the dates decide.

    A workflow without dates that is read by one with dates comes before it as a whole, and after it if it reads it.
    """
    inputs = batch_inputs(workflows)
    dated = [workflow.partitions is not None and workflow.partitions.cadence is not None for workflow in workflows]
    stages = [0] * len(workflows)
    for _ in workflows:
        for place, some in enumerate(inputs):
            for source, _mapping, _back in some:
                stages[place] = max(stages[place], stages[source] + (dated[place] != dated[source]))
    return stages
