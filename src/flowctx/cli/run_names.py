"""The run that a command is about, as it was typed: its id may be cut short, and its partition written briefly."""

from __future__ import annotations

import shlex

from flowctx.cli.options import CommandError
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord
from flowctx.core.errors import UnknownRun
from flowctx.core.partitions.key import PartitionKey, escape_value, unescape_value
from flowctx.core.suggestions import SLIP, nearest, question

#: So many are named where the beginning of an id fits several.
_SHOWN = 5
#: So many partitions of one run id are looked through.
_MOST = 10_000
#: So many runs are asked which dimensions there are, and in which order.
_LATEST = 1_000


def run_named(
    ledger: Ledger, begun: str, partition: PartitionKey | str | None, *, or_capture: bool = False
) -> tuple[str, PartitionKey | None]:
    """Return the id of the run that is meant, and its partition, if that was typed.

    Args:
        ledger: Where it is remembered.
        begun: The id, or its beginning.
        partition: The partition key, or its values in the scheme's order, such as ``2012-10-26|IBM``.
        or_capture: Whether the id may be that of a capture, too, which is returned as it is.

    Raises:
        CommandError: Several runs begin so, or none has such a partition.
        UnknownRun: The ledger remembers no such run.
    """
    run_id = _run_id(ledger, begun, or_capture=or_capture)
    if not isinstance(partition, str):
        return run_id, partition
    values = _values(partition)
    found = {run.context.partition: run for run in ledger.list_runs(run_id=run_id, limit=_MOST)}
    keys = [key for key, run in found.items() if key is not None and _in_order(run) == values]
    if len(keys) == 1:
        return run_id, keys[0]
    if keys:
        what = f"has several partitions {partition!r}"
    elif any(key is not None and sorted(key.values()) == sorted(values) for key in found):
        what = f"does not have the values {partition!r} in the order of its scheme; write it with its dimensions"
    else:
        what = f"has no partition {partition!r}"
    raise CommandError(f"run {run_id} {what}; it has {', '.join(str(key) for key in list(found)[:_SHOWN])}")


def partition_named(ledger: Ledger, workflow: str | None, partition: PartitionKey | str | None) -> PartitionKey | None:
    """Return the partition that is meant, whose dimensions runs tell where only its values were typed.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow of which it is one, if that was typed.
        partition: The partition key, or its values in the scheme's order, such as ``2012-10-26|IBM``.

    Raises:
        CommandError: No run, or runs of several partitions, have these values in that order.
    """
    if not isinstance(partition, str):
        return partition
    values = _values(partition)
    latest = ledger.list_runs(workflow=workflow, limit=_LATEST)
    alike = [(run, key) for run in latest if (key := run.context.partition) is not None and len(key) == len(values)]
    keys = [(run.workflow, key) for run, key in alike if _in_order(run) == values]
    schemes = dict.fromkeys((run.workflow, names) for run, _ in alike if (names := _names_in_order(run)) is not None)
    keys += [(of, PartitionKey(**dict(zip(names, values, strict=True)))) for of, names in schemes]
    found = dict.fromkeys(k for of, k in dict.fromkeys(keys) if ledger.list_runs(workflow=of, partition=k, limit=1))
    if len(found) == 1:
        return next(iter(found))
    those = f"; those are {', '.join(map(str, found))}" if found else ""
    others = (key for run in latest if (key := run.context.partition) is not None)
    example = ",".join(f"{name}=…" for name in (alike[0][1] if alike else next(others, ("date", "symbol"))))
    raise CommandError(
        f"{'several partitions have' if found else 'no run is known of a partition with'} the values "
        f"{partition!r} in the order of their scheme{those}; write it with its dimensions, as {example}"
    )


def _in_order(run: RunRecord) -> list[str] | None:
    """Return the values of a run's partition in the scheme's order, as its capture id has them; ``None`` if it has not.

    A partition key alone does not tell the order: ``EUR|USD`` is not to be taken for ``USD|EUR``.
    """
    values = list((run.context.partition or {}).values())
    if len(set(values)) == 1:
        return values
    written = (run.context.capture_id or "").split("|")[: len(values)]
    return list(map(unescape_value, written)) if sorted(written) == sorted(map(escape_value, values)) else None


def _names_in_order(run: RunRecord) -> tuple[str, ...] | None:
    """Return the dimensions of a run's partition in the scheme's order, if its values tell them apart."""
    values, names = _in_order(run), {value: name for name, value in (run.context.partition or {}).items()}
    return tuple(map(names.__getitem__, values)) if values is not None and len(names) == len(values) else None


def _values(text: str) -> list[str]:
    """Return the values of a partition that stand alone, as a scheme reads them."""
    return [unescape_value(value.strip()) for value in text.replace(",", "|").split("|")]


def _run_id(ledger: Ledger, begun: str, *, or_capture: bool) -> str:
    if ledger.list_runs(run_id=begun, limit=1):
        return begun
    found = ledger.run_ids(begun, limit=_SHOWN + 1)
    if len(found) > 1:
        more = ", …" if len(found) > _SHOWN else ""
        raise CommandError(f"several runs begin with {begun!r}: {', '.join(found[:_SHOWN])}{more}; type more of it")
    if found:
        return found[0]
    written = ledger.list_runs(capture_id=begun, limit=1)
    if or_capture and written:
        return begun
    latest = ledger.list_runs(limit=_LATEST)
    known = [run.run_id for run in latest]
    known += [run.context.capture_id for run in latest if or_capture and run.context.capture_id]
    if written:
        what = f"its capture was written by a run: flowctx show {shlex.quote(written[0].run_id)}"
    elif ledger.find_batch(begun) is not None:
        what = f"a batch has this id: flowctx status {shlex.quote(begun)}"
    else:
        what = f"{question(nearest(begun, known, cutoff=SLIP))}see: flowctx runs"
    raise UnknownRun(f"the ledger remembers no run {'or capture ' if or_capture else ''}{begun!r}; {what}")


def meant_workflow(ledger: Ledger, name: str) -> str:
    """Return the question whether another workflow was meant by a name that no run has; empty if none is nearly so.

    Args:
        ledger: Where runs are remembered.
        name: The name.
    """
    return question(nearest(name, dict.fromkeys(run.workflow for run in ledger.list_runs(limit=_LATEST))))
