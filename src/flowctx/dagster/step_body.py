"""What the op of a step knows of itself: its names in Dagster, and where its outputs are."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import dagster as dg

from flowctx.core.errors import ContextError
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.dagster._compat import asset_keys_by_op
from flowctx.dagster.outputs import IO_MANAGER_KEY, WorkflowIOManager

#: Name of an op's only output.
RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class StepBody:
    """What an op does for a step."""

    workflow: Workflow
    step: Step
    #: Where outputs of this workflow are kept: the path before the step's name.
    prefix: tuple[str, ...]
    #: Name of the op's output.
    output_name: str = RESULT
    #: The asset, if it is one.
    asset_key: dg.AssetKey | None = None
    #: Whether the op has the quality check.
    checked: bool = False
    #: The resource that keeps outputs.
    io_manager_key: str = IO_MANAGER_KEY
    #: In a run: the keys of its assets, by the names of their ops.
    keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)

    def in_run(self, op: dg.OpExecutionContext) -> "StepBody":
        """Return it with the keys that assets have in a run: what loads them may rename them (``key_prefix=``)."""
        if self.asset_key is None:
            return self
        keys = asset_keys_by_op(op)
        return replace(self, asset_key=keys[self.node(self.step.name)], keys=keys)

    def node(self, step: str) -> str:
        """Return Dagster's name for the op of a step of the same workflow, which stays as it was made."""
        return step if self.asset_key is None else dg.AssetKey((*self.prefix, step)).to_python_identifier()

    def asset_path(self, step: str) -> tuple[str, ...]:
        """Return where the outputs of a step are kept: the path of its asset's key."""
        made = (*self.prefix, step)
        known = self.keys.get(self.node(step))
        if known is not None:
            return tuple(known.path)
        own = (*self.prefix, self.step.name)  # of a step that is no part of the run: renamed as this one is
        path = tuple(self.asset_key.path) if self.asset_key is not None else own
        return (*path[: -len(own)], *made) if path[-len(own) :] == own else made

    def io_manager(self, op: dg.OpExecutionContext) -> WorkflowIOManager:
        """Return the resource that keeps outputs.

        Raises:
            ContextError: It is no :class:`WorkflowIOManager`.
        """
        return check_io_manager(getattr(op.resources, self.io_manager_key), self.io_manager_key)


def check_io_manager(found: object, key: str) -> WorkflowIOManager:
    """Return what keeps the outputs of steps.

    Raises:
        ContextError: It cannot: a step reads its own captures again, by partition and batch.
    """
    if not isinstance(found, WorkflowIOManager):
        raise ContextError(
            f"the resource {key!r} is {type(found).__name__}, and steps keep their outputs in a WorkflowIOManager; "
            "pass one, or a class of your own that extends it, and use another key for assets of your own"
        )
    return found
