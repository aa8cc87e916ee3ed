"""Whether a batch is asked for what it was asked for before."""

from __future__ import annotations

from collections.abc import Sequence

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.partition_params import has_params_again, params_option
from flowctx.core.batches.records import BatchRecord
from flowctx.core.data.encoding import digest
from flowctx.core.data.secrets import without_secrets
from flowctx.core.errors import BatchError
from flowctx.core.printable import amount


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


def refuse_another(known: BatchRecord, requested: BatchRecord) -> None:
    """Refuse another selection, or other parameters, than a batch has.

    Raises:
        BatchError: They are others.
    """
    same = "the same"
    if known.digest != requested.digest:
        what = f"{amount(known.total or 0, 'partition')} ({brief(known.selection)})"
        now = f"{requested.total:,} ({brief(requested.selection)})"
        if known.selection == requested.selection:  # the text is the same, and the values behind it are not
            now += "; a dimension or the calendar of the workflow has changed since"
    elif not _same_for_all(known, requested):
        what = f"the parameters {brief(dict(without_secrets(known.params)))}"
        now = f"{brief(dict(requested.params))}"
    elif known.params_from != requested.params_from:
        what, now = f"parameters of {_source(known)}", _source(requested)
        option = params_option(known.params_from)
        same = f"the same ({option})" if option and option != params_option(requested.params_from) else same
    else:
        return
    raise BatchError(
        f"batch {requested.batch_id!r} has {what}, and this asks for {now}; ask for {same}, take another id, or "
        "add this to it with extend=True (--extend)"
    )


def same_params(known: BatchRecord, requested: BatchRecord) -> bool:
    """Return whether a batch has the parameters that it is asked for with."""
    return _same_for_all(known, requested) and known.params_from == requested.params_from


def count_other_params(batches: BatchStore, batch: BatchRecord) -> int:
    """Return how many runs that are ok have other parameters than their batch by now, of those for all partitions.

    Args:
        batches: Where batches are remembered.
        batch: The batch, of one workflow.
    """
    now = without_secrets(batch.params)
    if batch.selection is None or not now:
        return 0
    found = batches.params_of_runs(batch.batch_id, batch.workflow)
    then = ((without_secrets({n: params[n] for n in now if n in params}), count) for params, count in found)
    return sum(count for params, count in then if digest(params) != digest(now))


def _same_for_all(known: BatchRecord, requested: BatchRecord) -> bool:
    return digest(without_secrets(known.params)) == digest(requested.params)


def _source(batch: BatchRecord) -> str:
    """Return where parameters are from, in words."""
    again = has_params_again(batch.params_from)
    return "the run that each partition had" if again else batch.params_from or "no function"


def brief(value: object) -> str:
    """Return a value in few characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
