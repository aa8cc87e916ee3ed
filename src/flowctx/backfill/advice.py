"""What to do about partitions that failed, by the category of the failure, and about others that are not done."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from flowctx.backfill.again import GOES_ON
from flowctx.backfill.status import counted
from flowctx.core.batches.outcomes import says_changed, says_only_params_changed, says_params_changed
from flowctx.core.batches.partition_params import has_params_again, params_option
from flowctx.core.batches.records import BatchRecord, PartitionRun
from flowctx.core.errors import NotDue
from flowctx.core.masking import MASK

#: What to do about each category, before and after the command that does it.
_ADVICE: Final[Mapping[str, tuple[str, str]]] = {
    "TRANSIENT": ("it may pass", ""),
    "TIMEOUT": ("it may pass", ""),
    "DEPENDENCY": ("once what they need is there", ""),
    "DATA_QUALITY": ("once the source is corrected", " --from-step STEP (the step that reads it)"),
    "CONFIGURATION": ("with other parameters", " --extend"),
    "INTERNAL": ("once the code is corrected", ""),
    "not due": ("once they are due", ""),
    "without category": ("once what their errors say is corrected", ""),
}
#: What to do about runs of a batch that nobody planned: there is no selection to launch, and one run may serve several
#: partitions.
_UNPLANNED: Final[Mapping[str, str]] = {
    "airflow": "clear the steps that are not complete, and what follows them, in these runs in Airflow",
    "dagster": "re-execute these runs from their failure in Dagster",
    "local": "flowctx resume RUN",
}
#: The same of runs of which the ledger has nothing, so that nothing can go on with them.
_UNRECORDED: Final[Mapping[str, str]] = {
    "airflow": "clear these runs in Airflow",
    "dagster": "re-execute all of these runs in Dagster",
}
_UNPLANNED_PARAMS: Final[Mapping[str, str]] = {
    "airflow": 'new runs in Airflow with {"resume_from": "RUN", "NAME": VALUE} in their conf',
    "dagster": "flowctx resume RUN --on dagster -p NAME=VALUE",
    "local": "flowctx resume RUN -p NAME=VALUE",
}
#: What stands for the category of what could not go on, since its workflow is not what it was when complete steps ran.
_CHANGED: Final = "workflow changed"
#: How the error begins of what was started before it was due.
_NOT_DUE: Final = f"{NotDue.__name__}: "
#: A run that failed and no step of it: it died, as of too little memory, or could not begin, as its error says.
_NO_STEP: Final = "no step failed, so look at its machine or at why it could not begin, and run it again"
_NONE: Final[Mapping[str, int]] = {}
_WHERE: Final = " (see where: flowctx show RUN --traceback)"


def advice(failures: Iterable[PartitionRun], batch: BatchRecord) -> list[str]:
    """Return a line for each category of failure: how many partitions, and the command to type.

    Args:
        failures: The partitions that failed.
        batch: Their batch; its selection and parameters need not be typed again.

    Example:
        >>> from datetime import UTC, datetime
        >>> from flowctx.core.batches.records import PartitionState
        >>> now = datetime.now(UTC)
        >>> failed = {"state": PartitionState.FAILED, "engine": "local", "last_seen_at": now}
        >>> batch = BatchRecord(
        ...     batch_id="b", workflow="tiers", import_path="flows:tiers", selection="tier=T1", created_at=now
        ... )
        >>> advice([PartitionRun(partition="tier=T1", run_id="r", category="DEPENDENCY", **failed)], batch)
        ['1 DEPENDENCY: once what they need is there: flowctx backfill flows:tiers --batch b --retry-failed']
    """
    by_category: dict[str, list[PartitionRun]] = {}
    for failure in failures:
        by_category.setdefault(_category(failure), []).append(failure)
    return [
        f"{len(some):,}{name and f' {name}'}: {_what_to_do(name, batch, some)}"
        for name, some in sorted(by_category.items())
    ]


def _category(failure: PartitionRun) -> str:
    """Return the category of a failure, or what stands for it; empty: no step failed."""
    why = failure.refused or failure.error or ""
    if says_changed(why):
        return _CHANGED
    if why.startswith(_NOT_DUE):
        return "not due"
    return failure.category or ("" if not failure.step else "INTERNAL" if failure.recorded else "without category")


def advice_on_rest(
    counts: Mapping[str, int], engines: Iterable[str], batch: BatchRecord, unrecorded: Mapping[str, int] = _NONE
) -> str | None:
    """Return a line about partitions that are over and not done, though nothing failed; none if there are none.

    Args:
        counts: How many partitions of the batch stand how.
        engines: Where its runs were.
        batch: The batch.
        unrecorded: Of how many of them the ledger has no run, by engine.

    Example:
        >>> from datetime import UTC, datetime
        >>> now = datetime.now(UTC)
        >>> batch = BatchRecord(
        ...     batch_id="b", workflow="tiers", import_path="flows:tiers", selection="tier=T1", created_at=now
        ... )
        >>> advice_on_rest({"ok": 3, "canceled": 1}, ["local"], batch)
        '1 canceled: to go on: flowctx backfill flows:tiers --batch b'
    """
    rest = {str(state): counts[state] for state in GOES_ON if counts.get(state)}
    if not rest:
        return None
    where = sorted(engines) or [str(batch.engine or "local")]
    if batch.selection is None:
        known = [_resume(name) for name in where] if sum(rest.values()) > sum(unrecorded.values()) else []
        if known:
            of_batch = f"flowctx runs --batch {shlex.quote(batch.batch_id)}"
            known[-1] += f" (which: {' and '.join(f'{of_batch} --status {state}' for state in rest)})"
        lost = [
            f"{count:,} of which the ledger has nothing: {_UNRECORDED.get(name, f'run them again on {name}')}"
            for name, count in sorted(unrecorded.items())
        ]
        return f"{counted(rest)}: to go on: {'; '.join(known + lost)}"
    command = backfill_command(batch, params_option(batch.params_from))
    return f"{counted(rest)}: to go on: {command}{_bulk(batch, where)}"


def _what_to_do(category: str, batch: BatchRecord, failures: Sequence[PartitionRun]) -> str:
    if category == _CHANGED:
        return _after_changes(batch, failures)
    when, more = _ADVICE.get(category, _ADVICE["TRANSIENT"]) if category else (_NO_STEP, "")
    where = _WHERE if category == "INTERNAL" and any(run.recorded for run in failures) else ""
    # With --stale, -p is of the workflow that was named, and not of those that it reads.
    of_source = has_params_again(batch.params_from) and any(
        run.workflow not in ("", batch.workflow) for run in failures
    )
    if batch.selection is None or (category == "CONFIGURATION" and of_source):
        how = _UNPLANNED_PARAMS if category == "CONFIGURATION" else _UNPLANNED
        engines = sorted({run.engine for run in failures})
        return f"{when}: {'; '.join(how.get(name, f'run them again on {name}') for name in engines)}{where}"
    option = params_option(batch.params_from)
    if category == "CONFIGURATION" and option.startswith("--params-from"):
        when = "once that function makes others"
    elif category == "CONFIGURATION" and not _has_hidden(batch):
        more += f" {_params(batch)}"
    bulk = _bulk(batch, [run.engine for run in failures])
    return f"{when}: {backfill_command(batch, option)} --retry-failed{more}{bulk}{where}"


def _after_changes(batch: BatchRecord, failures: Sequence[PartitionRun]) -> str:
    """Return how to go on with runs whose workflow has changed: from what has, or with what they have."""
    if not any(run.recorded for run in failures):  # the run that there is has another id, which the error names
        return "as their errors say"
    engines = sorted({run.engine for run in failures if run.recorded})
    commands, bulk = [_resume(name) for name in engines], ""
    if batch.selection is not None:
        bulk = _bulk(batch, engines)
        commands = [f"{backfill_command(batch, params_option(batch.params_from))} --retry-failed"]
    redo, keep = (
        "; ".join(f"{command} {option}{bulk}" for command in commands)
        for option in ("--from-step STEP", "--accept-changes")
    )
    errors = [run.refused or run.error for run in failures]
    if not any(map(says_params_changed, errors)):
        return f"{redo} (the first that has changed); or {keep} keeps what they have"
    keep += " keeps what they have, and takes the parameters as they are declared now"
    if all(map(says_only_params_changed, errors)):
        return keep
    return f"{keep}; with --from-step STEP beside it, the first that has changed and what follows run again"


def _resume(engine: str) -> str:
    return f"flowctx resume RUN{'' if engine == 'local' else f' --on {engine}'}"


def backfill_command(batch: BatchRecord, option: str) -> str:
    """Return the command that goes on with a batch.

    Args:
        batch: The batch.
        option: What says where its parameters are from, if anything does.
    """
    workflows = [shlex.quote(one.import_path or "MODULE:NAME") for one in _named(batch)]
    on = ["--on", str(batch.engine)] if batch.engine not in (None, "local") else []
    again = [_params(batch)] if _has_hidden(batch) else []
    of = [*([option] if option else []), "--batch", shlex.quote(batch.batch_id)]
    words = ["flowctx backfill", *workflows, *of, *again, *on]
    return " ".join(words)


def _named(batch: BatchRecord) -> Sequence[BatchRecord]:
    """Return what is typed of a batch: --stale finds what its workflow reads."""
    of_each = batch.by_workflow()
    return of_each[:1] if has_params_again(batch.params_from) else of_each


def _has_hidden(batch: BatchRecord) -> bool:
    """Whether parameters of a batch have to be typed again, since secrets are not kept."""
    return any(MASK in repr(one.params) for one in batch.by_workflow())


def _params(batch: BatchRecord) -> str:
    """Return the options of parameters: of a batch, all that it has are typed together."""
    names = dict.fromkeys(name for one in _named(batch) for name in one.params) or ("NAME",)
    return " ".join(f"-p {shlex.quote(name)}=VALUE" for name in names)


def _bulk(batch: BatchRecord, engines: Sequence[str]) -> str:
    """Return what to add where an engine has the batch and all runs were of the batch runner, as in slices."""
    in_slices = batch.engine not in (None, "local") and set(engines) <= {"local"}
    return " (and --bulk, if it ran so)" if in_slices else ""
