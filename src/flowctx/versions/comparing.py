"""Compare two versions of many partitions, or a run with its replay."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.replay import replay_step
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import Version
from flowctx.core.errors import VersionGone
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.names import listed
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Change, Tolerance, changes, tables_in
from flowctx.versions.choosing import StepVersions, required_ledger
from flowctx.versions.differences import Differences, Outcome, StepDifference

#: Partitions, each with the two versions that are compared.
Pairs = Sequence[tuple[PartitionKey | None, tuple[Version | None, ...]]]
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
        common: Only partitions that both versions have.
        until: The last as-of date: what is selected after it is left out.
        ledger: Where they are remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Raises:
        WorkflowError: There is no such step.
        ContextError: A time that is meant lies ahead of the ledger's clock.
        UnknownBatch: Nobody remembers a batch.
        VersionGone: No partition has both versions, or one was pruned or written over since.
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
    after = after or VersionChoice()
    how = Tolerance(atol=atol, rtol=rtol, key=tuple(listed(key)))
    there = required_ledger(ledger)
    found = Differences(workflow=workflow.name, before=before.text, after=after.text)
    names = [workflow[step].name] if step is not None else list(workflow.steps)
    keys, in_common = _keys(StepVersions(there, workflow, names[0]), before, after, select, until), 0
    without, some = "", dict[str, tuple[StepVersions, Version]]()
    for name in names:
        versions = StepVersions(there, workflow, name)
        pairs = versions.all_chosen(keys, before, after)
        while page := list(itertools.islice(pairs, _PAGE)):
            without = without or next(_without(name, page, (before, after)), "")
            both = [(key, _has(old), _has(new)) for key, (old, new) in page if _has(old) or _has(new)]
            shared = [one for one in both if one[1] is not None and one[2] is not None]
            in_common += len(shared)
            some.update((name, (versions, new)) for _, _, new in both if new is not None and not new.is_hole)
            for difference in _differences(versions, shared if common else both, how):
                found.add(difference)
    if not in_common:
        raise _nothing_in_common(workflow, before, after, without)
    _check_key(how, some.values())
    if len(names) > 1:
        differing = {one.partition for one in found.steps}
        order = {partition: place for place, partition in enumerate(keys) if partition in differing}
        found.steps.sort(key=lambda one: (order[one.partition], names.index(one.step)))
    return found


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
        UnknownRun: The ledger remembers no such run.
        WorkflowError: There is no such step, or the run did not get so far.
        PlainDataError: No table has a column of the key.
    """
    there = required_ledger(ledger)
    how = Tolerance(atol=atol, rtol=rtol, key=tuple(listed(key)))
    run = there.get_run(run_id, workflow=workflow.name, partition=partition)
    found = Differences(workflow=workflow.name, before=f"run {run_id}", after="its replay")
    store = artifact_store(there)
    wanted = {workflow[step].name} if step is not None else workflow.steps.keys()
    for record in there.steps(run.key):
        if record.step not in wanted or record.status is not StepStatus.OK:
            continue
        now = replay_step(there, workflow, run, record.step, store=store, scratch=MemoryArtifactStore()).result
        then = load_output(Envelope(step=record.step, output=record.output), store)
        if now.status is StepStatus.OK:
            differs = tuple(changes(then, now.output, how))
        else:
            differs = (Change(path="status", old="ok", new=f"{now.status}: {now.error}"),)
        outcome = Outcome.CHANGED if differs else Outcome.EQUAL
        captures = {"before": run.context.capture_id, "after": run.context.capture_id}
        partition = run.context.partition
        found.add(StepDifference(partition=partition, step=record.step, outcome=outcome, changes=differs, **captures))
    how.check_key()
    return found


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
    runs = (run for id_ in named for run in versions.ledger.list_runs(workflow=workflow, capture_id=id_, limit=1))
    return list(dict.fromkeys(run.context.partition for run in runs))


def _check_key(how: Tolerance, some: Iterable[tuple[StepVersions, Version]]) -> None:
    """Refuse a key that is a column of no table: of those that differ, or of some that are equal and were not read."""
    for versions, version in some:
        if not how.key_is_seen:
            for table in tables_in(versions.load([version])[0]):
                how.look_at(table)
    how.check_key()


def _has(version: Version | None) -> Version | None:
    """Return a version if it has the step; if not, it is as if there were none."""
    return version if version is not None and version.has_step else None


def _without(step: str, page: Pairs, choices: Sequence[VersionChoice]) -> Iterator[str]:
    """Yield, in words, which versions that are there have not the step."""
    for _, versions in page:
        for choice, version in zip(choices, versions, strict=True):
            if version is not None and not version.has_step:
                has = ", ".join(map(repr, version.other_steps)) or "nobody knows which"
                yield f"capture {version.capture_id}, {choice.text}, has no step {step!r}: it has {has}"


def _nothing_in_common(workflow: Workflow, before: VersionChoice, after: VersionChoice, without: str) -> VersionGone:
    both = f"both versions, {before.text} and {after.text}"
    what = f"a step in {both}: {without}" if without else both
    return VersionGone(
        f"no partition of workflow {workflow.name!r} that is meant has {what}; see: flowctx captures {workflow.name}"
    )


def _differences(
    versions: StepVersions, pairs: Sequence[tuple[PartitionKey | None, Version | None, Version | None]], how: Tolerance
) -> Iterator[StepDifference]:
    """Yield how the versions of partitions stand to each other; what is compared of them is read at once."""
    compared = [one for _, old, new in pairs for one in (old, new) if _may_differ(old, new) and one is not None]
    outputs = iter(versions.load(compared) if compared else [])
    for partition, old, new in pairs:
        captures: dict[str, Any] = {"before": old and old.capture_id, "after": new and new.capture_id}
        outcome, found = Outcome.EQUAL, tuple[Change, ...]()
        if _may_differ(old, new):
            found = tuple(changes(next(outputs), next(outputs), how))
            outcome = Outcome.CHANGED if found else Outcome.EQUAL
        elif _is_hole(old) != _is_hole(new):
            outcome = Outcome.ADDED if _is_hole(old) else Outcome.REMOVED
        yield StepDifference(partition=partition, step=versions.step, outcome=outcome, changes=found, **captures)


def _is_hole(version: Version | None) -> bool:
    return version is None or version.is_hole


def _may_differ(old: Version | None, new: Version | None) -> bool:
    """Whether both versions have an output, and not the same one."""
    if old is None or new is None or old.is_hole or new.is_hole:
        return False
    return old.run_key != new.run_key and old.digest != new.digest
