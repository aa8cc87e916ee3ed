"""A workflow in a ``dg`` project: a few lines of YAML, and ``dg scaffold`` to write them."""
# No `from __future__ import annotations`: Dagster 1.13 reads the annotations of components when they are defined.

import re
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import BaseModel, Field

from flowctx.core.errors import ContextError
from flowctx.core.workflow.import_path import import_workflow
from flowctx.dagster.bulk import workflow_bulk_job
from flowctx.dagster.definitions import workflow_definitions

_STARTER = '''"""A workflow: plain functions of a context, with no orchestrator in sight."""

from flowctx import Daily, PartitionScheme, StepResult, Workflow, WorkflowContext

workflow = Workflow("{name}", partitions=PartitionScheme(date=Daily(start="2026-01-01", calendar="WEEKDAYS")))


@workflow.step(retries=2)
def fetch(ctx: WorkflowContext) -> StepResult:
    """Fetch the day's rows."""
    return StepResult.ok({{"rows": 0, "day": ctx.as_of_date}})
'''


class ScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` may be told."""

    workflow: str | None = Field(
        default=None, description="Where the workflow is, such as flows:prices; without, a new one is written."
    )


class WorkflowScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes ``defs.yaml`` and, unless a workflow is named, one to start from."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """Return the type of the parameters."""
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Write the files."""
        target = Path(request.target_path)
        where = request.params.workflow if request.params else None
        if where is None:
            where = ".workflow:workflow"
            name = re.sub(r"[^A-Za-z0-9]", "_", target.name)
            name = name if name[:1].isalpha() else f"workflow_{name}"
            (target / "workflow.py").write_text(_STARTER.format(name=name))
        dg.scaffold_component(request, {"workflow": where})


@dg.scaffold_with(WorkflowScaffolder)
class WorkflowComponent(dg.Component, dg.Model, dg.Resolvable):
    """All definitions of a workflow: an asset for each step, with job, schedule and checks.

    Example:
        ::

            # defs/prices/defs.yaml
            type: flowctx.dagster.component.WorkflowComponent
            attributes:
              workflow: flows:prices
              owners: [team:data]
              backfill: single_run
    """

    workflow: str = Field(description="Where it is: package.module:name, or .module:name beside this file.")
    base_path: str | None = Field(default=None, description="Folder or fsspec URL under which outputs are kept.")
    ledger_url: str | None = Field(default=None, description="Ledger in which runs are recorded.")
    group_name: str | None = Field(default=None, description="Group of its assets; by default the workflow's name.")
    owners: list[str] | None = Field(default=None, description="Owners of each asset.")
    tags: dict[str, str] | None = Field(default=None, description="Tags of each asset.")
    kinds: list[str] | None = Field(default=None, description="Kinds of each asset.")
    deps: dict[str, list[str]] | None = Field(
        default=None, description="For steps, keys of assets that must be there first, as landing/raw."
    )
    checks: list[str] | None = Field(default=None, description="Steps whose quality metrics are asset checks.")
    backfill: Literal["multi_run", "single_run"] | None = Field(default=None, description="How ranges are run.")
    key_prefix: str | list[str] | dict[str, str | list[str]] | None = Field(
        default=None, description="What keys begin with, its own and those of the workflows that it reads."
    )
    io_manager_key: str | None = Field(
        default=None, description="Resource that keeps outputs; another one for each other base_path."
    )
    catch_up: int = Field(default=0, description="Business dates that the schedule makes up for after an outage.")
    bulk: bool = Field(default=False, description="Whether its batches can run in bulk: a job that --bulk starts.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the workflow's definitions.

        Raises:
            ContextError: A field is there and has nothing: its template may be of a variable that is not set.
        """
        fields = WorkflowComponent.model_fields.keys()  # a component of the user's own may have others
        empty = sorted(name for name in self.model_fields_set & fields if getattr(self, name) is None)
        if empty:
            raise ContextError(
                f"{empty[0]} of workflow {self.workflow!r} is there and has nothing: a template of a variable that is "
                "not set? leave it out, or set the variable"
            )
        package = context.defs_relative_module_name(context.path) if self.workflow.startswith(".") else None
        own = fields - {"workflow", "backfill", "bulk"}
        # Not only what is set: that component may have other defaults.
        args: dict[str, Any] = {name: value for name in own if (value := getattr(self, name)) is not None}
        if self.deps:
            args["deps"] = {step: [*map(dg.AssetKey.from_user_string, keys)] for step, keys in self.deps.items()}
        if self.backfill is not None:
            args["backfill_policy"] = getattr(dg.BackfillPolicy, self.backfill)()
        workflow = import_workflow(self.workflow, package)
        defs = workflow_definitions(workflow, **args)
        if not self.bulk:
            return defs
        job = workflow_bulk_job(workflow, key_prefix=self.key_prefix, ledger_url=self.ledger_url)
        return dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
