"""An input in code that is no step and runs on no engine."""

from __future__ import annotations

from typing import Any

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading_once import read_once
from flowctx.core.errors import ContextError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.inputs import Input
from flowctx.ledger import ledger_to_read


def read_input(
    ctx: WorkflowContext, item: Input, *, scheme: PartitionScheme | None = None, ledger: Ledger | str | None = None
) -> Any:
    """Return an output of another partition or workflow, in code that is no step of a workflow.

    It is what a step would get that declares the input, from the same ledger, by the same rule. Nothing is remembered
    of it. Inside Airflow and Dagster use the function of the same name in ``flowctx.airflow`` or ``flowctx.dagster``,
    which knows what the engine is still to make.

    Args:
        ctx: The context of whoever reads.
        item: The input, such as ``nav.output("value").previous()``.
        scheme: The scheme of the context's partition. Without it, the partition's dimensions are taken for those of the
            workflow that is read, and the business date for its date.
        ledger: The ledger, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        The output, or :class:`~flowctx.Outputs` of several partitions; ``None`` where there is none before the first
        date, or of an optional one.

    Raises:
        InputMissing: It is not there, not yet, or was skipped and is not optional.
        ContextError: The context is one of an engine's, does not say which partition it is about, or there is no
            ledger.
        WorkflowError: There is no such step, or its partitions do not fit.
        NoLedger: There is no ledger at the URL.

    Example:
        >>> from flowctx import Daily, PartitionScheme, Workflow, run
        >>> from flowctx.ledger import open_ledger
        >>> from flowctx.testing import make_context
        >>> ledger = open_ledger("memory://")
        >>> nav = Workflow("nav", partitions=PartitionScheme(date=Daily(start="2026-01-05"), fund=["A", "B"]))
        >>> @nav.step()
        ... def value(ctx):
        ...     return {"nav": 100.0}
        >>> done = [run(nav, partition=f"2026-01-05|{fund}", ledger=ledger).status for fund in "AB"]
        >>> navs = read_input(make_context(as_of_date="2026-01-05"), nav.output("value"), ledger=ledger)
        >>> [str(key) for key in navs]
        ['date=2026-01-05|fund=A', 'date=2026-01-05|fund=B']
    """
    name = engine_of(ctx).get("name")
    if name in ("airflow", "dagster"):
        raise ContextError(
            f"this context is one of {str(name).capitalize()}'s; use flowctx.{name}.read_input(), which knows what "
            f"{str(name).capitalize()} is still to make"
        )
    found = ledger_to_read(ledger)
    return read_once(ctx, item, scheme=scheme, ledger=found, store=artifact_store(found))
