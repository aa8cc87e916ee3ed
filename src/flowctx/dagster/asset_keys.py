"""The keys of the assets of workflows: a prefix, the workflow's name, the step's."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import warnings
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import dagster as dg

from flowctx.core.errors import WorkflowError
from flowctx.core.suggestions import SLIP, nearest
from flowctx.core.workflow.inputs import Source, inputs_of

#: What keys begin with: a name, several, or by the name of the workflow where those differ.
KeyPrefix: TypeAlias = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def asset_key(workflow: Source, step: str, key_prefix: KeyPrefix | None = None) -> dg.AssetKey:
    """Return the key of a step's asset.

    Args:
        workflow: The workflow.
        step: The step's name.
        key_prefix: As for :func:`workflow_assets`.

    Example:
        ::

            @dg.asset(ins={"summary": dg.AssetIn(asset_key(prices, "summarise"))})
            def report(summary): ...
    """
    return dg.AssetKey([*key_path(workflow, key_prefix), step])


def key_path(workflow: Source, key_prefix: KeyPrefix | None) -> tuple[str, ...]:
    """Return what the keys of a workflow's steps begin with."""
    if not hasattr(workflow, "steps"):
        raise WorkflowError(f"{workflow!r} is no workflow; pass what Workflow(...) returned")
    if isinstance(key_prefix, Mapping):
        key_prefix = key_prefix.get(workflow.name)
    parts = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix or ())
    if not all(isinstance(part, str) and part.strip() for part in parts):
        raise WorkflowError(
            f"key_prefix of workflow {workflow.name!r} is {key_prefix!r}; a name in it must be text and not empty: "
            "leave it out if keys begin with the workflow's name"
        )
    return (*parts, workflow.name)


def check_prefix(workflow: Source, key_prefix: KeyPrefix | None) -> None:
    """Refuse a prefix that is empty, and warn of a name that a slip seems to have made of a workflow's.

    One dict may serve many workflows, so other names are left alone.

    Args:
        workflow: The workflow whose assets get it.
        key_prefix: As for :func:`workflow_assets`.

    Raises:
        WorkflowError: It is empty.
    """
    concerned = [workflow, *(item.workflow for _, _, item in inputs_of(workflow))]
    for each in concerned:
        key_path(each, key_prefix)
    if not isinstance(key_prefix, Mapping):
        return
    names = list(dict.fromkeys(each.name for each in concerned))
    left_out = [name for name in names if name not in key_prefix]
    for name in key_prefix:
        if name not in names and (near := nearest(name, left_out, cutoff=SLIP)):
            warnings.warn(
                f"key_prefix names {name!r}, which workflow {workflow.name!r} is not and does not read; did you mean "
                f"{near[0]!r}?",
                stacklevel=3,
            )


def is_step_asset(key: dg.AssetKey, workflow: Source, step: str) -> bool:
    """Whether a key is that of a step's asset, under whatever prefix."""
    return list(key.path[-2:]) == [workflow.name, step]


def op_name(job: str, node: str) -> str:
    """Return the name of the op behind a node of a job: Dagster wants one name for each op of a code location.

    Args:
        job: The job's name.
        node: The node's name in the job, by which its configuration and its events go: a step's, say.

    Example:
        >>> op_name("fund_nav", "fetch")
        'fund_nav__fetch__op'
    """
    return f"{job}__{node}__op"
