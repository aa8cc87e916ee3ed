"""Whether a batch is asked for what it was asked for before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowctx.backfill.belonging import outcomes_of
from flowctx.core.batches.ledger import BatchStore, meant_batch
from flowctx.core.batches.partition_params import PartitionParams, has_params_again, params_option
from flowctx.core.batches.records import BatchRecord, PartitionState, Standing
from flowctx.core.data.plain import FrozenDict
from flowctx.core.data.secrets import stands_for, without_digests, without_secrets
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, FlowctxError
from flowctx.core.masking import MASK
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount, brief
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.parameters import check_known
from flowctx.core.workflow.run_request import batch_id_problem

logger = logging.getLogger("flowctx")


def checked_batch_id(batch_id: object) -> str:
    """Return the id of a batch.

    Raises:
        BatchError: It cannot be one.
    """
    if (problem := batch_id_problem(batch_id)) is not None:
        raise BatchError(problem)
    return str(batch_id)


def known_batch(ledger: Ledger, batch_id: str, workflows: Iterable[str]) -> BatchRecord | None:
    """Return a batch that is there; ``None`` if its id is free.

    Args:
        ledger: Where batches are remembered.
        batch_id: The batch.
        workflows: The names of those that it is asked for.

    Raises:
        BatchError: All of it was pruned: what was would count for the new batch, which would not run.
    """
    known = ledger.find_batch(batch_id)
    for name in workflows if known is None else ():
        if pruned := ledger.batches.count_outcomes(batch_id, name).get(str(PartitionState.PRUNED)):
            raise BatchError(
                f"batch {batch_id!r} was pruned, and other versions are current of the {amount(pruned, 'partition')} "
                f"that it had captured of workflow {name!r}; take another id"
            )
    return known


def refuse_without_selection(
    known: BatchRecord | None, batch_id: str, options: Sequence[str], batches: BatchStore, *, ledger: str = "the ledger"
) -> None:
    """Refuse to go on with what has no selection of its own, where nothing is selected: all partitions would run.

    Args:
        known: The batch, if it is there.
        batch_id: Its id.
        options: What was asked for that goes on with a batch, such as ``--retry-failed``; of nothing, all is fine.
        batches: Where batches are remembered.
        ledger: What the ledger is called.

    Raises:
        BatchError: There is no such batch, or nobody has planned it.
    """
    if not options or (known is not None and known.selection is not None):
        return
    without = f"leave out {' and '.join(options)}"
    if known is None:
        raise BatchError(
            f"{ledger} has no batch {batch_id!r}; {meant_batch(batch_id, batches)}{without} to begin one of all "
            "partitions, or add selection= (--select); see the batches that there are: flowctx batches"
        )
    raise BatchError(
        f"batch {batch_id!r} has runs, and nobody has selected its partitions, so {without} to run all that there are, "
        "or add selection= (--select); to continue its runs: flowctx resume RUN"
    )


def refuse_another_workflow(known: BatchRecord, workflow: str) -> None:
    """Refuse to launch a batch with a workflow that is not all of it.

    Raises:
        BatchError: It is of another workflow, or of several.
    """
    if workflow not in known.workflows:
        names = [repr(name) for name in known.workflows]
        of = f"workflow {names[0]}" if len(names) == 1 else f"the workflows {', '.join(names)}"
        raise BatchError(f"batch {known.batch_id!r} is one of {of}, not of {workflow!r}; take another id")
    if known.others:
        raise BatchError(
            f"batch {known.batch_id!r} is one of the workflows {', '.join(known.workflows)}; launch it with all of "
            "them, or take another id"
        )


def refuse_other_workflows(known: BatchRecord, workflows: Sequence[str], *, extend: bool) -> None:
    """Refuse to launch a batch of several workflows that leaves some out, or has more than the batch.

    Args:
        known: The batch.
        workflows: The names of what is asked for.
        extend: Whether they may be more.

    Raises:
        BatchError: They are others.
    """
    forgotten = [name for name in known.workflows if name not in workflows]
    added = [name for name in workflows if name not in known.workflows]
    if forgotten or (added and not extend):
        how = "name them all" if forgotten else "add the others to it with extend=True (--extend)"
        raise BatchError(
            f"batch {known.batch_id!r} is one of {', '.join(known.workflows)}, and this asks for "
            f"{', '.join(workflows)}; {how}, or take another id"
        )


def refuse_another(known: BatchRecord, requested: BatchRecord, params: Mapping[str, Any], selection: Selection) -> None:
    """Refuse another selection, or other parameters, than a batch has.

    Args:
        known: The batch.
        requested: What is asked for.
        params: The parameters of that, secrets too.
        selection: The partitions of that.

    Raises:
        BatchError: They are others.
    """
    same, others = "the same", "take another id, or add this to it with extend=True (--extend)"
    if known.digest is None or not selection.has_digest(known.digest):
        what = f"{amount(known.total or 0, 'partition')} ({brief(known.selection, 80)})"
        now = f"{requested.total:,} ({brief(requested.selection, 80)})"
        if known.selection == requested.selection:  # the text is the same, and the values behind it are not
            now += "; a dimension or the calendar of the workflow has changed since"
    elif not stands_for(known.params, params):
        what, now = (brief(dict(without_secrets(without_digests(one.params))), 80) for one in (known, requested))
        now += " with other secrets" if what == now else ""
        what = f"the parameters {what}"
    elif known.params_from != requested.params_from:
        what, now = f"parameters of {_source(known)}", _source(requested)
        option = params_option(known.params_from)
        if what.partition("@")[0].endswith(f" {now.partition('@')[0]}"):
            now += ", which has changed since"
        same = f"the same ({option})" if option and option != params_option(requested.params_from) else same
        others = others if requested.params_from is not None else "or take another id"
    else:
        return
    raise BatchError(f"batch {requested.batch_id!r} has {what}, and this asks for {now}; ask for {same}, {others}")


def with_params_taken(
    known: BatchRecord, workflow: Workflow, *, accept_changes: bool, anew: Collection[str] = ()
) -> BatchRecord:
    """Return a batch with those of its parameters that its workflow still takes, where it is to go on without others.

    Args:
        known: The batch, of one workflow.
        workflow: The workflow as it is now.
        accept_changes: Whether the batch goes on without them.
        anew: The names of those that it is given anew.

    Raises:
        BatchError: The workflow does not take all of them any more.
    """
    others = _not_taken(known, workflow)
    if not accept_changes and not others.keys() <= set(anew):
        raise BatchError(
            f"batch {known.batch_id!r} has parameters that its workflow does not take any more: "
            f"{'; '.join(others.values())}; or go on without {' and '.join(others)}, by accept_changes=True "
            "(--accept-changes)"
        )
    return replace(known, params=FrozenDict({n: value for n, value in known.params.items() if n not in others}))


def _not_taken(known: BatchRecord, workflow: Workflow) -> dict[str, str]:
    """Return the parameters of a batch that its workflow does not take, and why; secrets are known by name alone."""
    hidden = {name for name, value in known.params.items() if name in workflow.params and MASK in repr(value)}
    values = {name: value for name, value in known.params.items() if name not in hidden}
    others = {name: why for name, value in values.items() if (why := _why_not_read(workflow, name, value)) is not None}
    rest = {name: value for name, value in values.items() if name not in others}
    if _why_not(workflow, rest) is not None:  # by a rule that their class has, which may be of several together
        others |= {name: why for name in rest if (why := _why_not(workflow, {name: rest[name]})) is not None}
    return others


def _why_not_read(workflow: Workflow, name: str, value: object) -> str | None:
    try:
        check_known([name], workflow.params, extra=workflow.extra_params, what=f"workflow {workflow.name!r}")
        if name in workflow.parameters:
            workflow.parameters[name].read(value)
    except FlowctxError as exc:
        return str(exc)
    return None


def _why_not(workflow: Workflow, params: Mapping[str, Any]) -> str | None:
    try:
        workflow.params_with(params)
    except FlowctxError as exc:
        return str(exc)
    return None


def refuse_forgotten(known: BatchRecord, params: Mapping[str, Any], params_of: Callable[..., Any] | None) -> None:
    """Refuse to add to a batch without all parameters that it has: those left out would be the defaults.

    Args:
        known: The batch.
        params: The parameters that it is to have from now on.
        params_of: What makes those of each partition.

    Raises:
        BatchError: It has others, or a function that makes them, of which this says nothing.
    """
    left_out = {name: value for name, value in without_digests(known.params).items() if name not in params}
    if left_out and (params_of is None or isinstance(params_of, PartitionParams)):
        raise BatchError(
            f"batch {known.batch_id!r} has the parameters {brief(left_out, 80)}, of which this says nothing; name "
            "them too, with the values that they are to have from now on"
        )
    if known.params_from is not None and params_of is None:
        raise BatchError(
            f"batch {known.batch_id!r} has parameters of {_source(known)}, of which this says nothing; name that too "
            f"({params_option(known.params_from)}), or take another id"
        )


def same_params(known: BatchRecord, params: Mapping[str, Any], params_from: str | None) -> bool:
    """Return whether a batch has the parameters that it is asked for with, secrets too."""
    return stands_for(known.params, params) and known.params_from == params_from


def warn_of_params_kept(batch_id: str, workflow: str, states: Collection[PartitionState]) -> None:
    """Say that nothing runs with the parameters that were given, which are then not those of the batch.

    Args:
        batch_id: The batch.
        workflow: The workflow of the partitions.
        states: How its partitions stand.
    """
    logger.warning(
        "batch %s: nothing of %s runs with the parameters that were given: what is done keeps its own, and so does the "
        "batch%s",
        batch_id,
        workflow,
        "; --retry-failed runs with them what failed" if PartitionState.FAILED in states else "",
    )


def count_other_params(batches: BatchStore, batch: BatchRecord, standings: Iterable[Standing]) -> int:
    """Return how many partitions were made with other parameters than their batch has by now, of those for all.

    The run of a partition counts that its outcome is of.

    Args:
        batches: Where batches are remembered.
        batch: The batch, of one workflow.
        standings: How its partitions stand; others do not count.
    """
    if batch.selection is None or not batch.params:
        return 0
    others, same = dict[str, set[str]](), set[str]()
    for params, runs in batches.params_of_runs(batch.batch_id, batch.workflow, list(batch.params)):
        if stands_for(batch.params, params):
            same.update(partition for partition, _ in runs)
            continue
        for partition, run_id in runs:
            others.setdefault(partition, set()).add(run_id)
    if not others:
        return 0
    made = {one.partition for one in standings if one.state is PartitionState.OK and one.recorded} & others.keys()
    several, found = made & same, len(made - same)
    return found + sum(run.run_id in others[run.partition] for run in outcomes_of(batches, batch, several))


def _source(batch: BatchRecord) -> str:
    """Return where parameters are from, in words."""
    again = has_params_again(batch.params_from)
    return "the run that each partition had" if again else batch.params_from or "no function"
