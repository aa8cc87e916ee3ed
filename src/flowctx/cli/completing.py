"""What a shell offers at the tab key: names of workflows, and ids that the ledger remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress

import click

from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import FlowctxError
from flowctx.ledger import default_ledger_url, open_ledger

#: So many of the latest are offered.
_MOST = 200


def batch_ids(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the ids of the latest batches that begin so."""
    return _remembered(ctx, begun, lambda ledger: (batch.batch_id for batch in ledger.batches.all(_MOST)))


def run_ids(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the ids of the latest runs that begin so."""
    return _remembered(ctx, begun, lambda ledger: (run.run_id for run in ledger.list_runs(limit=_MOST)))


def _remembered(ctx: click.Context, begun: str, ids: Callable[[Ledger], Iterable[str]]) -> list[str]:
    url = ctx.params.get("ledger") or os.environ.get("FLOWCTX_LEDGER_URL") or default_ledger_url()
    if not isinstance(url, str):
        return []
    # A message would end up in the middle of what is being typed.
    with suppress(FlowctxError), closing(open_ledger(url, make=False)) as ledger:
        return sorted({found for found in ids(ledger) if found.startswith(begun)})
    return []
