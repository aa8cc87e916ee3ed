"""Compare two versions of many partitions, or a run with its replay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import date

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import load_record
from flowctx.core.durability.replay import replay_step
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.errors import ArtifactError, ContextError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.definition import Workflow, expect_workflow
from flowctx.core.workflow.names import listed
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Change, Tolerance, changes, lost
from flowctx.versions.choosing import StepVersions, required_ledger
from flowctx.versions.differences import Differences, Outcome, StepDifference
from flowctx.versions.page_of_versions import Comparison

#: How many partitions are compared at a time.
_PAGE = 250


def diff(
    workflow: Workflow,
    before: VersionChoice,
    after: VersionChoice | None = None,
    select: Selection | str | None = None,
    *,
    step: str | None = None,
    key: Sequence[str] = (),
    atol: float = 0.0,
    rtol: float = 0.0,
    common: bool = False,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> Differences:
    """Return what differs between two versions of what a workflow made of many partitions.

    Args:
        workflow: The workflow.
        before: The first version, such as ``VersionChoice(batch_id="first")``.
        after: The second one; by default the current one.
        select: Which partitions, as a selection or its text; ``None``: all that were captured.
        step: Only this step.
        key: The columns that say which rows of a table are one and the same; without them, the position.
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the new one are equal.
        common: Only partitions that both versions have; one of which a version was pruned or written over since is
            ``gone``, and neither equal nor different.
        until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the latest
            one that is due.
        ledger: Where they are remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Raises:
        WorkflowError: It is no workflow, or there is no such step.
        ContextError: A version is no choice of one, a time that is meant lies ahead of the ledger's clock, or a
            tolerance cannot be.
        UnknownBatch: Nobody remembers a batch.
        VersionGone: No partition has both versions, or one was pruned or written over since, without ``common``.
        PlainDataError: No table has a column of the key.

    Example:
        >>> from flowctx import PartitionScheme, Workflow, run
        >>> from flowctx.ledger import open_ledger
        >>> flow, ledger = Workflow("tiers", partitions=PartitionScheme(tier=["T1"])), open_ledger("memory://")
        >>> @flow.step()
        ... def rate(ctx):
        ...     return {"rate": ctx.params["rate"]}
        >>> for batch_id, rate in [("first", 0.5), ("restate", 0.75)]:
        ...     done = run(flow, partition="tier=T1", batch_id=batch_id, params={"rate": rate}, ledger=ledger)
        >>> found = diff(flow, VersionChoice(batch_id="first"), ledger=ledger)
        >>> [(change.path, change.old, change.new) for change in found.steps[0].changes]
        [('rate', 0.5, 0.75)]
    """
    expect_workflow(workflow)
    before, after = _choice("before", before), _choice("after", after or VersionChoice())
    found = Differences(workflow=workflow.name, before=before.text, after=after.text)
    how = Tolerance(atol=atol, rtol=rtol, key=tuple(listed(key)))
    compared = iter_diff(workflow, before, after, select, how, step=step, common=common, until=until, ledger=ledger)
    for one in compared:
        found.add(one)
    return found


def _choice(name: str, given: object) -> VersionChoice:
    """Return what was given for one of the two versions, if it says which is meant.

    Raises:
        ContextError: It is something else, such as the id of a batch.
    """
    if not isinstance(given, VersionChoice):
        shown = repr(given) if isinstance(given, str) else "..."
        raise ContextError(f"{name}={given!r} is {a_kind(given)}; pass a choice: VersionChoice(batch_id={shown})")
    return given


def iter_diff(
    workflow: Workflow,
    before: VersionChoice,
    after: VersionChoice,
    select: Selection | str | None,
    how: Tolerance,
    *,
    step: str | None = None,
    common: bool = False,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> Iterator[StepDifference]:
    """Yield how the versions stand that :func:`diff` compares, equal ones too, so many partitions at a time.

    It raises the same; what can only be said of all partitions is raised at the end.
    """
    there = required_ledger(ledger)
    names = [workflow[step].name] if step is not None else list(workflow.steps)
    versions = StepVersions(there, workflow, names[0])  # which version is meant does not depend on the step
    compared = Comparison(ledger=there, workflow=workflow.name, steps=names, how=how, common=common)
    chosen = versions.chosen_or_gone(_keys(versions, before, after, select, until), before, after)
    while page := list(itertools.islice(chosen, _PAGE)):
        yield from compared.page(page, (before, after))
    compared.check(before, after)


def diff_replay(
    workflow: Workflow,
    run_id: str,
    *,
    partition: PartitionKey | None = None,
    step: str | None = None,
    key: Sequence[str] = (),
    atol: float = 0.0,
    rtol: float = 0.0,
    ledger: Ledger | str | None = None,
) -> Differences:
    """Return what differs between what the steps of a run recorded, and what they return now on the same contexts.

    Args:
        workflow: The workflow.
        run_id: The run.
        partition: Which partition is meant, where one run id serves several.
        step: Only this step.
        key: The columns that say which rows of a table are one and the same.
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the new one are equal.
        ledger: Where the run is remembered, or its URL.

    Raises:
        ContextError: A tolerance cannot be.
        UnknownRun: The ledger remembers no such run.
        WorkflowError: It is no workflow, there is no such step, or the run did not get so far.
        PlainDataError: No table has a column of the key.
    """
    found = Differences(workflow=expect_workflow(workflow).name, before=f"run {run_id}", after="its replay")
    how = Tolerance(atol=atol, rtol=rtol, key=tuple(listed(key)))
    for one in iter_replay(workflow, run_id, how, partition=partition, step=step, ledger=ledger):
        found.add(one)
    return found


def iter_replay(
    workflow: Workflow,
    run_id: str,
    how: Tolerance,
    *,
    partition: PartitionKey | None = None,
    step: str | None = None,
    ledger: Ledger | str | None = None,
) -> Iterator[StepDifference]:
    """Yield how what :func:`diff_replay` compares stands, equal steps too; it raises the same."""
    there = required_ledger(ledger)
    run = there.get_run(run_id, workflow=workflow.name, partition=partition)
    store = artifact_store(there)
    wanted = {workflow[step].name} if step is not None else workflow.steps.keys()
    for record in there.steps(run.key):
        if record.step not in wanted or record.status is not StepStatus.OK:
            continue
        try:
            now = replay_step(there, workflow, run, record.step, store=store, scratch=MemoryArtifactStore()).result
            then = load_record(record, store)
            if now.status is StepStatus.OK:
                differs = tuple(changes(then, now.output, how))
            else:
                differs = (Change(path="status", old="ok", new=f"{now.status}: {now.error}"),)
        except ArtifactError as exc:  # what it read is gone or damaged
            differs = (Change(path="", problem=lost(exc)),)
        outcome = Outcome.CHANGED if differs else Outcome.EQUAL
        captures = {"before": run.context.capture_id, "after": run.context.capture_id}
        partition = run.context.partition
        yield StepDifference(partition=partition, step=record.step, outcome=outcome, changes=differs, **captures)
    how.check_key()


def _keys(
    versions: StepVersions,
    before: VersionChoice,
    after: VersionChoice,
    select: Selection | str | None,
    until: date | str | None,
) -> Sequence[PartitionKey | None]:
    """Return the partitions that are compared; of captures that are named, those that they are of."""
    named = [choice.capture_id for choice in (before, after) if choice.capture_id is not None]
    if not named or select is not None:
        return versions.keys(select, until)
    workflow = versions.workflow.name
    runs = [run for id_ in named for run in versions.ledger.list_runs(workflow=workflow, capture_id=id_, limit=1)]
    if len(runs) < len(named):  # it may be one that was pruned, which is known by its partition
        return versions.keys(None, until)
    return list(dict.fromkeys(run.context.partition for run in runs))
