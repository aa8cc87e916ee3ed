"""The run that a command is about, as it was typed: its id may be cut short, and its partition written briefly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations

from flowctx.cli.options import CommandError
from flowctx.core.durability.ledger import Ledger
from flowctx.core.partitions.key import PartitionKey, unescape_value

#: So many are named where the beginning of an id fits several.
_SHOWN = 5
#: So many partitions of one run id are looked through.
_MOST = 10_000
#: So many runs are asked which dimensions there are, and of so many dimensions it is tried which value is whose.
_LATEST, _MOST_DIMENSIONS = 1_000, 5


def run_named(ledger: Ledger, begun: str, partition: PartitionKey | str | None) -> tuple[str, PartitionKey | None]:
    """Return the id of the run that is meant, and its partition, if that was typed.

    Args:
        ledger: Where it is remembered.
        begun: The id, or its beginning.
        partition: The partition key, or its values in the scheme's order, such as ``2012-10-26|IBM``.

    Raises:
        CommandError: Several runs begin so, none has such a partition, or a value is known of two dimensions.
        UnknownRun: The ledger remembers no such run.
    """
    run_id = _run_id(ledger, begun)
    if not isinstance(partition, str):
        return run_id, partition
    found, values = (
        {run.context.partition: run for run in ledger.list_runs(run_id=run_id, limit=_MOST)},
        _values(partition),
    )
    keys = [key for key in found if key is not None and sorted(key.values()) == sorted(values)]
    _refuse_several_readings(values, [key for key in found if key is not None])
    if not found:
        ledger.get_run(run_id)  # says that there is none
    if len(keys) != 1:
        there = ", ".join(str(key) for key in list(found)[:_SHOWN])
        raise CommandError(
            f"run {run_id} has {'several partitions' if keys else 'no partition'} {partition!r}; it has {there}"
        )
    return run_id, keys[0]


def partition_named(ledger: Ledger, workflow: str | None, partition: PartitionKey | str | None) -> PartitionKey | None:
    """Return the partition that is meant, whose dimensions runs tell where only its values were typed.

    Args:
        ledger: Where runs are remembered.
        workflow: The workflow of which it is one, if that was typed.
        partition: The partition key, or its values, such as ``2012-10-26|IBM``.

    Raises:
        CommandError: No run, or runs of several partitions, have these values, or one is known of two dimensions.
    """
    if not isinstance(partition, str):
        return partition
    values = _values(partition)
    known = [run.context.partition for run in ledger.list_runs(workflow=workflow, limit=_LATEST)]
    alike = [key for key in known if key is not None and len(key) == len(values) <= _MOST_DIMENSIONS]
    _refuse_several_readings(values, alike)
    names = dict.fromkeys(map(tuple, alike))
    keys = (PartitionKey(**dict(zip(one, some, strict=True))) for one in names for some in permutations(values))
    found = [key for key in dict.fromkeys(keys) if ledger.list_runs(workflow=workflow, partition=key, limit=1)]
    if len(found) == 1:
        return found[0]
    those = f"; those are {', '.join(map(str, found))}" if found else ""
    example = ",".join(f"{name}=…" for name in next(iter(names), ("date", "symbol")))
    raise CommandError(
        f"{'several partitions have' if found else 'no run is known of a partition with'} the values "
        f"{partition!r}{those}; write it with its dimensions, as {example}"
    )


def _refuse_several_readings(values: Sequence[str], known: Iterable[PartitionKey]) -> None:
    """Refuse values of which one is known of two dimensions: a key does not tell in which order a scheme has them."""
    if len(set(values)) == 1:
        return
    dimensions: defaultdict[tuple[tuple[str, ...], str], set[str]] = defaultdict(set)
    for key in known:
        for name, value in key.items():
            dimensions[tuple(key), value].add(name)
    for (names, value), of in dimensions.items():
        if value in values and len(of) > 1:
            raise CommandError(
                f"{value!r} is a value of {' and of '.join(sorted(of))}; "
                f"write the partition with its dimensions, as {','.join(f'{name}=…' for name in names)}"
            )


def _values(text: str) -> list[str]:
    """Return the values of a partition that stand alone, as a scheme reads them."""
    return [unescape_value(value.strip()) for value in text.replace(",", "|").split("|")]


def _run_id(ledger: Ledger, begun: str) -> str:
    if ledger.list_runs(run_id=begun, limit=1):
        return begun
    found = ledger.run_ids(begun, limit=_SHOWN + 1)
    if len(found) > 1:
        more = ", …" if len(found) > _SHOWN else ""
        raise CommandError(f"several runs begin with {begun!r}: {', '.join(found[:_SHOWN])}{more}; type more of it")
    return found[0] if found else begun  # the command says that there is none
