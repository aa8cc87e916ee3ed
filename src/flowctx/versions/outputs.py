"""Outputs of many partitions, of the version that is meant, whichever engine made them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.version_choice import VersionChoice, read_time
from flowctx.core.durability.versions import Version
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow, expect_workflow
from flowctx.core.workflow.outputs import Outputs
from flowctx.versions.choosing import StepVersions, required_ledger

#: How many partitions are on a page.
_PAGE = 500


def outputs(
    workflow: Workflow,
    step: str,
    select: Selection | str | None = None,
    *,
    batch_id: str | None = None,
    revision: int | None = None,
    known_at: datetime | str | None = None,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> Outputs:
    """Return what a step made of many partitions, from complete captures of runs on any engine.

    By default the current versions; or those of a batch, of a revision, or those that were current at a time. What was
    skipped, or has no such version, is left out. So is a partition whose version was made before there was the step.
    Where one before it has the step, none stands in: that is an error, and so is a version without it that is named.
    A step that was renamed or removed since is read by the name that it had. Outputs are loaded when they are looked
    at.

    Args:
        workflow: The workflow; it must have partitions.
        step: The step's name.
        select: Which partitions, as a selection or its text; ``None``: all that were captured.
        batch_id: Only versions of this batch.
        revision: The versions of this number.
        known_at: The versions that were current at this time on the ledger's clock, or its text with a time zone.
        until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the latest
            one that is due.
        ledger: Where they are remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        The outputs, by partition key, in the scheme's order; ``.table(name)`` makes one table of them.

    Raises:
        PartitionError: The workflow has no partitions, or the selection cannot be.
        WorkflowError: It is no workflow, or has no such step, and no version that may be meant has one.
        ContextError: More than one version is meant, one of another type, or the time has no zone, or lies ahead of
            the ledger's clock.
        UnknownBatch: Nobody remembers the batch.
        VersionGone: A version was there, and was pruned or written over since, or has no such step.
        LedgerError: There is no ledger.

    Example:
        >>> from flowctx import PartitionScheme, Workflow, run
        >>> from flowctx.ledger import open_ledger
        >>> flow, ledger = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"])), open_ledger("memory://")
        >>> @flow.step()
        ... def rate(ctx):
        ...     return {"rate": 0.01}
        >>> done = run(flow, partition="tier=T2", ledger=ledger)
        >>> {str(key): output["rate"] for key, output in outputs(flow, "rate", ledger=ledger).items()}
        {'tier=T2': 0.01}
    """
    which: dict[str, Any] = {"batch_id": batch_id, "revision": revision, "known_at": known_at, "until": until}
    found = _found(workflow, step, ledger)
    return _lazy(found, dict(_meant(found, select, **which)))


def output_pages(
    workflow: Workflow,
    step: str,
    select: Selection | str | None = None,
    *,
    ledger: Ledger | str | None = None,
    **which: Any,
) -> Iterator[Outputs]:
    """Yield what :func:`outputs` returns so many partitions at a time, each page as soon as it is found.

    Args:
        workflow: The workflow; it must have partitions.
        step: The step's name.
        select: Which partitions; ``None``: all that were captured.
        ledger: Where they are remembered, or its URL.
        **which: Which versions, and ``until``.

    Raises:
        FlowctxError: What :func:`outputs` raises; a version that is gone, when its page comes.
    """
    found = _found(workflow, step, ledger)
    meant = _meant(found, select, **which)
    while page := dict(itertools.islice(meant, _PAGE)):
        yield _lazy(found, page)


def _found(workflow: Workflow, step: str, ledger: Ledger | str | None) -> StepVersions:
    if expect_workflow(workflow).partitions is None:
        raise PartitionError(
            f"workflow {workflow.name!r} has no partitions, so that it has no outputs of many; see: flowctx captures "
            f"{workflow.name}"
        )
    return StepVersions(required_ledger(ledger), workflow, step if isinstance(step, str) else workflow[step].name)


def _meant(
    found: StepVersions,
    select: Selection | str | None,
    *,
    batch_id: str | None = None,
    revision: int | None = None,
    known_at: datetime | str | None = None,
    until: date | str | None = None,
) -> Iterator[tuple[PartitionKey, Version]]:
    """Yield the partitions that have an output, each with the version that is meant."""
    choice = VersionChoice(batch_id=batch_id, revision=revision, known_at=read_time(known_at))
    keys = found.keys(select, until)
    if found.step not in found.workflow.steps and not found.ever_had_step(keys, choice):
        found.workflow[found.step]
    chosen = found.with_step(keys, choice)
    return ((key, v) for key, v in chosen if v is not None and key is not None and not v.is_hole)


def _lazy(found: StepVersions, versions: Mapping[PartitionKey, Version]) -> Outputs:
    def load(keys: Sequence[PartitionKey]) -> dict[PartitionKey, FrozenDict]:
        return dict(zip(keys, found.load([versions[key] for key in keys]), strict=True))

    return Outputs.lazy(tuple(versions), load)
