"""A batch of several workflows, as it was typed: which workflows, which partitions of each, which parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flowctx.backfill import Backfill, JointBackfill
from flowctx.backfill.call import kept_params
from flowctx.backfill.selected import scheme_of, selections_again
from flowctx.backfill.selecting import downstream, selections_of
from flowctx.cli.options import CommandError, batches_as_typed, read_params
from flowctx.cli.output import echo
from flowctx.cli.planning import TypedBatch
from flowctx.core.batches.records import BatchRecord
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of, import_workflow, workflows_beside
from flowctx.core.workflow.named_workflows import named_workflows


def joint_plan_of(
    targets: Sequence[str], typed: TypedBatch, params: Mapping[str, str], *, hanging: bool
) -> JointBackfill:
    """Return a batch of several workflows; what is not typed again is as the batch has it.

    Args:
        targets: Where the workflows are, as they were typed.
        typed: What else was typed of the batch.
        params: Parameters as texts: each is that of the workflows that declare it.
        hanging: Whether what hangs on the selection is to run with it, up to the same date.

    Raises:
        CommandError: The batch cannot be.
    """
    workflows, known = [import_workflow(target) for target in targets], typed.known
    near = _workflows_near(workflows, targets) if hanging else None
    if known is not None and known.selection is not None and typed.selection is None:
        chosen = _chosen_again(workflows, near, known, until=typed.until, extend=typed.extend)
    else:
        chosen = _chosen(workflows, near, typed, known)
    own_params = _params_by_workflow([workflow for workflow, _ in chosen], params)
    plans = []
    with batches_as_typed():  # later on, it may be one that somebody else is launching
        for workflow, some in chosen:
            record = known.of(workflow.name) if known is not None else None
            values: Mapping[str, Any] = own_params[workflow.name]
            if not values and record is not None:
                values = kept_params(record, workflow, accept_changes=typed.accept_changes)
            plans.append(Backfill(workflow, some, typed.batch_id, params=values, ledger=typed.ledger))
        plan = JointBackfill(plans)
        plan.reconcile(**typed.how)
    return plan


def _chosen(
    workflows: Sequence[Workflow], near: Sequence[Workflow] | None, typed: TypedBatch, known: BatchRecord | None
) -> list[tuple[Workflow, Selection]]:
    """Return what is selected of each workflow; with what hangs on it of those near them."""
    now, selection, until = datetime.now(UTC), typed.selection, typed.until
    some = list(zip(workflows, selections_of(workflows, selection, now=now, until=until), strict=True))
    for workflow, keys in some if selection is not None and "last:" in selection else ():
        echo(f"{selection} is {keys} of {workflow.name}", err=True)
    if near is None:
        return _not_empty(some, until, known)
    found = _with_what_hangs(some, near, now, until)
    if sum(len(keys) for _, keys in found) == sum(len(keys) for _, keys in some):
        raise CommandError(
            f"nothing that is known here reads {', '.join(workflow.name for workflow in workflows)}: --downstream "
            "looks into the same modules and [tool.flowctx] of pyproject.toml; name the workflows instead"
        )
    own = _own(known, some, found) if known is not None else None
    return _with_more(typed.batch_id, own or found, found, extend=typed.extend)


def _own(
    known: BatchRecord, some: list[tuple[Workflow, Selection]], found: list[tuple[Workflow, Selection]]
) -> list[tuple[Workflow, Selection]] | None:
    """Return what a batch has, if that is all that is selected, and some of what hangs on it by now."""
    has = {
        workflow: scheme_of(workflow).select(of.selection)
        for workflow, _ in found
        if (of := known.of(workflow.name)) is not None and of.selection is not None
    }
    same = len(has) == len(found) == len(known.workflows)
    if not same or any(keys - has[workflow] for workflow, keys in some if keys):
        return None
    return None if any(has[workflow] - keys for workflow, keys in found) else list(has.items())


def _with_more(
    batch_id: str, own: list[tuple[Workflow, Selection]], found: list[tuple[Workflow, Selection]], *, extend: bool
) -> list[tuple[Workflow, Selection]]:
    """Return all that is found, or what the batch has of the same workflows if that is less; and say so."""
    is_all = [len(keys) for _, keys in found] == [len(keys) for _, keys in own]
    if extend or is_all or len(found) > len(own):
        echo(f"with all that hangs on it: {_counts(found)}", err=True)
        return found
    echo(  # of what has become due since, say
        f"batch {batch_id!r} goes on as it is, {_counts(own)}; with all that hangs on it by now that would be "
        f"{_counts(found)}: add it with --extend",
        err=True,
    )
    return own


def _chosen_again(
    workflows: Sequence[Workflow],
    near: Sequence[Workflow] | None,
    known: BatchRecord,
    *,
    until: str | None,
    extend: bool,
) -> list[tuple[Workflow, Selection]]:
    """Return what a batch has of its workflows, where nothing is selected; with what hangs on it of those near them.

    Raises:
        CommandError: It has nothing of a workflow that was typed.
    """
    everyone = [*workflows, *(near or ())]
    own = [workflow for workflow in everyone if workflow.name in known.workflows]
    with batches_as_typed():
        some = selections_again(known, own, until, extend=extend)
    chosen = [(workflow, keys) for workflow, keys in zip(own, some, strict=True) if keys]
    if near is not None and chosen:
        others = [workflow for workflow in everyone if workflow not in own]
        found = _with_what_hangs(chosen, others, datetime.now(UTC), until)
        chosen = _with_more(known.batch_id, chosen, found, extend=extend)
    there = {workflow for workflow, _ in chosen}
    if missing := [workflow.name for workflow in workflows if workflow not in there]:
        raise CommandError(
            f"batch {known.batch_id!r} is one of {', '.join(known.workflows)}, and has no partitions of "
            f"{', '.join(missing)}; leave out {', '.join(missing)}, or add it with --extend and --select"
        )
    return chosen


def _counts(chosen: Sequence[tuple[Workflow, Selection]]) -> str:
    return ", ".join(f"{workflow.name} ({len(keys):,})" for workflow, keys in chosen)


def _with_what_hangs(
    chosen: list[tuple[Workflow, Selection]], others: Sequence[Workflow], now: datetime, until: str | None
) -> list[tuple[Workflow, Selection]]:
    """Add what hangs on what is chosen."""
    found = downstream(chosen, others, now, until)
    workflows = [*(workflow for workflow, _ in chosen), *others]
    return [(workflow, keys) for workflow, keys in zip(workflows, found, strict=True) if keys]


def _not_empty(
    chosen: list[tuple[Workflow, Selection]], until: str | None, known: BatchRecord | None
) -> list[tuple[Workflow, Selection]]:
    """Leave out, and say so, workflows of which nothing that hangs on the selection is due; of a batch, they stay."""
    last, found = "" if until is None else f", up to {until}", []
    for workflow, keys in chosen:
        own = known.of(workflow.name) if known is not None else None
        if keys:
            found.append((workflow, keys))
        elif own is not None and own.selection is not None:
            echo(
                f"nothing of {workflow.name} is due that reads the selection{last}; it stays as the batch has it",
                err=True,
            )
            found.append((workflow, scheme_of(workflow).select(own.selection)))
        else:
            echo(f"nothing of {workflow.name} is due that reads the selection{last}; it is left out", err=True)
    return found


def _workflows_near(workflows: Sequence[Workflow], targets: Sequence[str]) -> list[Workflow]:
    """Return other workflows with partitions: of the modules typed, of where these are made, and named ones."""
    modules = [sys.modules.get((import_path_of(workflow) or "").rpartition(":")[0]) for workflow in workflows]
    found = [value for module in modules if module is not None for value in vars(module).values()]
    found += [workflow for target in targets for workflow in workflows_beside(target)]
    found += [import_workflow(place) for place in named_workflows().values()]
    ours = {workflow.name for workflow in workflows}
    flows = {one.name: one for one in found if isinstance(one, Workflow) and one.partitions is not None and one.steps}
    return [workflow for name, workflow in flows.items() if name not in ours]


def _params_by_workflow(workflows: Sequence[Workflow], params: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the parameters of each workflow: those that it declares; what none does is of those that take any."""
    declared = {name for workflow in workflows for name in workflow.params}
    unknown = [name for name in params if name not in declared]
    takers = [workflow for workflow in workflows if workflow.extra_params and (workflow.params or not declared)]
    if unknown and not takers:
        raise CommandError(
            f"none of the workflows {', '.join(w.name for w in workflows)} has a parameter {unknown[0]!r}; they have "
            f"{', '.join(sorted(declared))}"
        )
    found: dict[str, dict[str, Any]] = {}
    for workflow in workflows:
        free = unknown if workflow in takers else []
        own = {name: text for name, text in params.items() if name in workflow.params or name in free}
        found[workflow.name] = read_params(workflow, own)
    return found
