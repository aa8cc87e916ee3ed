"""A batch of several workflows, as it was typed: which workflows, which partitions of each, which parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flowctx.backfill import Backfill, JointBackfill
from flowctx.backfill.call import kept_params
from flowctx.backfill.same_batch import refuse_other_workflows
from flowctx.backfill.selected import selections_again
from flowctx.backfill.selecting import downstream, selections_of
from flowctx.cli.options import CommandError, read_params
from flowctx.cli.output import echo
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of, import_workflow, workflows_beside
from flowctx.core.workflow.named_workflows import named_workflows


def joint_plan_of(
    targets: Sequence[str],
    batch_id: str,
    selection: str | None,
    params: Mapping[str, str],
    *,
    until: str | None,
    hanging: bool,
    extend: bool,
    ledger: Ledger,
) -> JointBackfill:
    """Return a batch of several workflows; what is not typed again is as the batch has it.

    Args:
        targets: Where the workflows are, as they were typed.
        batch_id: The batch.
        selection: Which partitions; ``None``: those of the batch, or all of a new one.
        params: Parameters as texts: each is that of the workflows that declare it.
        until: The last as-of date, of what hangs on the selection too.
        hanging: Whether what hangs on the selection is to run with it.
        extend: Whether this is added to the batch.
        ledger: Where batches are remembered.

    Raises:
        CommandError: The batch cannot be.
    """
    workflows, known = [import_workflow(target) for target in targets], ledger.find_batch(batch_id)
    if known is not None and not hanging:
        try:
            refuse_other_workflows(known, [workflow.name for workflow in workflows], extend=extend)
        except BatchError as exc:
            raise CommandError(str(exc)) from exc
    near = _workflows_near(workflows, targets) if hanging else None
    chosen = _chosen(workflows, near, known, selection, until=until, extend=extend)
    own_params = _params_by_workflow([workflow for workflow, _ in chosen], params)
    plans = []
    try:
        for workflow, some in chosen:
            record = known.of(workflow.name) if known is not None else None
            values = own_params[workflow.name] or (kept_params(record) if record is not None else {})
            plans.append(Backfill(workflow, some, batch_id, params=values, ledger=ledger))
        plan = JointBackfill(plans)
        plan.reconcile(extend=extend)
    except BatchError as exc:  # later on, it may be one that somebody else is launching
        raise CommandError(str(exc)) from exc
    return plan


def _chosen(
    workflows: Sequence[Workflow],
    near: Sequence[Workflow] | None,
    known: BatchRecord | None,
    selection: str | None,
    *,
    until: str | None,
    extend: bool,
) -> list[tuple[Workflow, Selection | str | None]]:
    """Return the workflows of the batch, and what is selected of each; with what hangs on it of those near them."""
    again = selection is None and known is not None
    if again and known is not None and known.others and near is not None:
        found = {workflow.name: workflow for workflow in (*workflows, *near)}
        workflows = [found[name] for name in known.workflows if name in found]
    if again and known is not None and all(workflow.name in known.workflows for workflow in workflows):
        try:
            return list(zip(workflows, selections_again(known, workflows, until, extend=extend), strict=True))
        except BatchError as exc:
            raise CommandError(str(exc)) from exc
    now = datetime.now(UTC)
    some = selections_of(workflows, selection, now=now, until=until)
    if near is None:
        return _not_empty(list(zip(workflows, some, strict=True)), until)
    found_some = downstream(list(zip(workflows, some, strict=True)), near, now, until)
    both = list(zip([*workflows, *near], found_some, strict=True))
    reading = [(workflow, keys) for workflow, keys in both[len(workflows) :] if keys]
    if not reading and [len(keys) for _, keys in both[: len(workflows)]] == [len(keys) for keys in some]:
        raise CommandError(
            f"nothing that is known here reads {', '.join(workflow.name for workflow in workflows)}: --downstream "
            "looks into the same modules and [tool.flowctx] of pyproject.toml; name the workflows instead"
        )
    echo("with all that hangs on it: " + ", ".join(f"{w.name} ({len(keys):,})" for w, keys in both if keys), err=True)
    return [(w, keys) for w, keys in both if keys]


def _not_empty(
    chosen: list[tuple[Workflow, Selection]], until: str | None
) -> list[tuple[Workflow, Selection | str | None]]:
    """Leave out, and say so, workflows of which nothing that hangs on the selection is due."""
    last = "" if until is None else f", up to {until}"
    for workflow, keys in chosen:
        if not keys:
            echo(f"nothing of {workflow.name} is due that reads the selection{last}; it is left out", err=True)
    return [(workflow, keys) for workflow, keys in chosen if keys]


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
