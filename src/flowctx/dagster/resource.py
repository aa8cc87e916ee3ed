"""The workflow's context by injection, for people who prefer a resource to a call."""
# No `from __future__ import annotations`: Dagster 1.13 reads the annotations of resources when they are defined.

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from flowctx.core.errors import ContextError
from flowctx.core.workflow.business_date import AsOf
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.import_path import import_workflow
from flowctx.dagster.context import workflow_context, workflow_contexts

_PLAIN_RULES: dict[str, Callable[[], AsOf]] = {"window_start": AsOf.window_start, "window_end": AsOf.window_end}
_RULES: dict[str, Callable[[str], AsOf]] = {
    "last_session": AsOf.last_session,
    "previous_session": AsOf.previous_session,
    "key": AsOf.key,
}


class WorkflowContextResource(dg.ConfigurableResource[None]):
    """Gives the workflow's context to the op, asset or asset check that asks for it.

    Args:
        as_of: The rule for the business date as text: ``window_start``, ``window_end``, ``last_session:XNYS``,
            ``previous_session:XNYS`` or ``key:<dimension>``; by default :meth:`flowctx.AsOf.default`.
        workflow: Where the workflow is, as ``flows:prices``; its scheme then names the partitions.

    Example:
        ::

            @dg.asset(partitions_def=days)
            def prices(workflow: WorkflowContextResource) -> None:
                ctx = workflow.context()

            defs = dg.Definitions([prices], resources={"workflow": WorkflowContextResource(as_of="last_session:XNYS")})
    """

    as_of: str | None = Field(default=None, description="Rule for the business date, such as last_session:XNYS.")
    workflow: str | None = Field(default=None, description="Where the workflow is, such as flows:prices.")

    def context(self) -> WorkflowContext:
        """Return the context of what runs now; see :func:`workflow_context`."""
        workflow = import_workflow(self.workflow) if self.workflow else None
        return workflow_context(dg.OpExecutionContext.get(), self._rule(), workflow=workflow)

    def contexts(self) -> list[WorkflowContext]:
        """Return a context for each partition of what runs now; see :func:`workflow_contexts`."""
        workflow = import_workflow(self.workflow) if self.workflow else None
        return workflow_contexts(dg.OpExecutionContext.get(), self._rule(), workflow=workflow)

    def _rule(self) -> AsOf | None:
        if self.as_of is None:
            return None
        kind, _, argument = self.as_of.partition(":")
        if kind in _PLAIN_RULES and not argument:
            return _PLAIN_RULES[kind]()
        if kind in _RULES and argument:
            return _RULES[kind](argument)
        raise ContextError(
            f"as_of={self.as_of!r} is no rule; use window_start, window_end, last_session:<calendar>, "
            "previous_session:<calendar> or key:<dimension>"
        )
