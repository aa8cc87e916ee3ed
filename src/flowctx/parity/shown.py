"""What a comparison of engines found, as lines for people and as JSON-ready data; without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowctx.core.masking import mask_text
from flowctx.core.printable import amount
from flowctx.parity.comparing import Disagreement, Parity
from flowctx.versions.shown import Line, change_data, change_lines


def headline(found: Parity) -> str:
    """Return what was compared and what came out, in a sentence."""
    how = ", ".join(f"{number:,} {status}" for status, number in found.statuses.items())
    engines = " and ".join(name.capitalize() for name in found.engines)
    partitions = f"{amount(found.statuses.total(), 'partition')} of {found.workflow} ({how})"
    if found.equal:
        return f"{partitions}: here and on {engines} everything is equal"
    return f"{partitions}: here and on {engines} not everything is equal"


def lines(one: Disagreement) -> Iterator[Line]:
    """Yield what differs in a step, the largest changes of numbers first."""
    yield from change_lines((str(one.partition or ""), one.step or ""), one.changes)


def report(found: Parity, most: int = 10) -> str:
    """Return all of it as text: for an assertion.

    Args:
        found: What was found.
        most: So many values of each step are shown.
    """
    texts = [headline(found)]
    for one in found.disagreements:
        texts.append(mask_text(one.text))
        some = list(lines(one))
        texts += [
            f"    {line.path}: here {line.old or 'nothing'}, there {line.new or 'nothing'}" for line in some[:most]
        ]
        if len(some) > most:
            texts.append(f"    and {len(some) - most:,} more")
    return "\n".join(texts)


def to_data(found: Parity) -> dict[str, Any]:
    """Return it as JSON-ready data."""
    return {
        "workflow": found.workflow,
        "engines": list(found.engines),
        "equal": found.equal,
        "partitions": found.statuses.total(),
        "statuses": dict(found.statuses),
        "reasons": dict(found.reasons),
        "disagreements": [
            {
                "partition": str(one.partition) if one.partition else None,
                "engine": one.engine,
                "step": one.step,
                "deterministic": one.deterministic,
                "cause": one.cause,
                "changes": [change_data(change) for change in one.changes],
            }
            for one in found.disagreements
        ],
    }
