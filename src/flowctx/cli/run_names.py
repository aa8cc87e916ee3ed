"""The run that a command is about, as it was typed: its id may be cut short, and its partition written briefly."""

from __future__ import annotations

from flowctx.cli.options import CommandError
from flowctx.core.durability.ledger import Ledger
from flowctx.core.partitions.key import PartitionKey

#: So many are named where the beginning of an id fits several.
_SHOWN = 5
#: So many partitions of one run id are looked through.
_MOST = 10_000


def run_named(ledger: Ledger, begun: str, partition: PartitionKey | str | None) -> tuple[str, PartitionKey | None]:
    """Return the id of the run that is meant, and its partition, if that was typed.

    Args:
        ledger: Where it is remembered.
        begun: The id, or its beginning.
        partition: The partition key, or its values in the scheme's order, such as ``2012-10-26|IBM``.

    Raises:
        CommandError: Several runs begin so, or none has such a partition.
    """
    run_id = _run_id(ledger, begun)
    if not isinstance(partition, str):
        return run_id, partition
    found = {run.context.partition: run for run in ledger.list_runs(run_id=run_id, limit=_MOST)}
    keys = [key for key in found if key is not None and sorted(key.values()) == sorted(partition.split("|"))]
    if len(keys) != 1:
        there = ", ".join(str(key) for key in list(found)[:_SHOWN])
        raise CommandError(
            f"run {run_id} has {'several partitions' if keys else 'no partition'} {partition!r}; it has {there}"
        )
    return run_id, keys[0]


def _run_id(ledger: Ledger, begun: str) -> str:
    if ledger.list_runs(run_id=begun, limit=1):
        return begun
    found = ledger.run_ids(begun, limit=_SHOWN + 1)
    if len(found) > 1:
        more = ", …" if len(found) > _SHOWN else ""
        raise CommandError(f"several runs begin with {begun!r}: {', '.join(found[:_SHOWN])}{more}; type more of it")
    return found[0] if found else begun  # the command says that there is none
