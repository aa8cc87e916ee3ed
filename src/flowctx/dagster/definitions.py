"""A workflow as Dagster definitions: one partitioned asset for each step, their job, schedule and checks; or ops."""
# No `from __future__ import annotations`: Dagster 1.13 refuses a decorated function whose `context` has one.

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from inspect import getdoc, signature
from types import CodeType
from typing import Any

import dagster as dg

from flowctx.core.errors import ContextError, WorkflowError
from flowctx.core.masking import mask_text
from flowctx.core.suggestions import nearest
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.definition import RetryPolicy, Step, Workflow, check_workflow
from flowctx.core.workflow.names import listed
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster._compat import quiet
from flowctx.dagster.asset_keys import KeyPrefix, asset_key, check_prefix, key_path, op_name
from flowctx.dagster.checks import QUALITY_CHECK, check_spec
from flowctx.dagster.endings import shared_sensor
from flowctx.dagster.inputs import input_deps, input_metadata
from flowctx.dagster.outputs import IO_MANAGER_KEY, STEP_METADATA, WorkflowIOManager
from flowctx.dagster.params import params_key, params_resource
from flowctx.dagster.partitions import partitions_def
from flowctx.dagster.schedules import workflow_schedule
from flowctx.dagster.step_body import StepBody, check_io_manager
from flowctx.dagster.steps import run_step


def workflow_assets(
    workflow: Workflow,
    *,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    kinds: Iterable[str] | None = None,
    deps: Mapping[str, Sequence[dg.AssetKey | str | dg.AssetDep | dg.AssetsDefinition]] | None = None,
    checks: Iterable[str] | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    pool: str | None = None,
    key_prefix: KeyPrefix | None = None,
    io_manager_key: str = IO_MANAGER_KEY,
) -> list[dg.AssetsDefinition]:
    """Return one asset for each step of a workflow, under the key ``[workflow name, step name]``.

    A skipped step materialises nothing, and its run succeeds. (Dagster 1.13 shows a backfill of assets as failed if a
    partition in it was skipped, although all its runs succeeded.)

    They need the resource ``workflow_io_manager`` (:class:`WorkflowIOManager`), and bring the workflow's parameters
    as the resource ``<workflow name>_params``, to be edited in the launchpad.

    Args:
        workflow: The workflow.
        group_name: The group of all its assets; the workflow's name by default.
        owners: Owners of each.
        tags: Tags of each.
        kinds: The kind, or kinds, of each; ``python`` by default.
        deps: For steps by name, assets of others that must be there first.
        checks: The step, or steps, whose quality metrics are shown as the asset check ``quality``; by default those
            whose function passes ``quality=`` on.
        backfill_policy: One run for each partition by default; ``BackfillPolicy.single_run()`` for one run for a range.
        automation_condition: When Dagster materialises them by itself.
        pool: The concurrency pool of each.
        key_prefix: What the keys begin with, its own and those of the workflows that it reads; a dict by the name of
            the workflow where they differ. (Dagster's ``load_assets_from_modules(key_prefix=…)`` does as well.)
        io_manager_key: The resource that keeps the outputs, where several workflows do not share one.

    Raises:
        WorkflowError: The workflow has no steps, ``deps`` or ``checks`` name a step that it does not have, or
            ``key_prefix`` is empty.
        ContextError: Another argument is empty text.

    Example:
        ::

            defs = dg.Definitions(
                assets=[*workflow_assets(prices, owners=["team:data"]), report],
                resources={"workflow_io_manager": WorkflowIOManager(base_path="s3://bucket/outputs")},
            )
    """
    _check_always(workflow)
    check_prefix(workflow, key_prefix)
    read_text(group_name, "group_name")
    read_text(io_manager_key, "io_manager_key")
    checked = _checked_steps(workflow, checks)
    if deps is not None and not isinstance(deps, Mapping):
        raise WorkflowError('deps must be a dict by step, such as {"fetch": [landed]}: it says which step needs what')
    for name in deps or ():
        _ = workflow[name]
    definition = partitions_def(workflow.partitions)
    resources = {params_key(workflow): params_resource(workflow)}
    assets = []
    for step in workflow.steps.values():
        before = [asset_key(workflow, name, key_prefix) for name in step.after]
        spec = dg.AssetSpec(
            asset_key(workflow, step.name, key_prefix),
            deps=[*before, *input_deps(workflow, step, key_prefix), *(deps or {}).get(step.name, ())],
            metadata={STEP_METADATA: f"{workflow.name}/{step.name}", **input_metadata(step)},
            skippable=True,
            description=getdoc(step.function),
            automation_condition=automation_condition,
            group_name=group_name or workflow.name,
            owners=owners,
            tags=tags,
            kinds={*listed(kinds or "python")},
        )
        body = StepBody(
            workflow=workflow,
            step=step,
            prefix=key_path(workflow, key_prefix),
            output_name=spec.key.to_python_identifier(),
            asset_key=spec.key,
            checked=step.name in checked,
            io_manager_key=io_manager_key,
        )
        assets.append(_asset(body, spec, definition, resources, backfill_policy, pool))
    return assets


def workflow_definitions(
    workflow: Workflow,
    *,
    base_path: str | None = None,
    ledger_url: str | None = None,
    catch_up: int = 0,
    io_manager_key: str = IO_MANAGER_KEY,
    **asset_args: Any,
) -> dg.Definitions:
    """Return all that Dagster needs for a workflow, ready to be a code location or merged into one.

    Args:
        workflow: The workflow.
        base_path: Where outputs are kept: a folder or any URL that fsspec knows; by default in the storage folder of
            the Dagster instance.
        ledger_url: The ledger in which runs are recorded, where ``FLOWCTX_LEDGER_URL`` names none.
        catch_up: For how many business dates back the schedule makes up for what it missed
            (:func:`workflow_schedule`).
        io_manager_key: The resource that keeps the outputs: another one for each of several workflows that do not share
            ``base_path`` and ``ledger_url`` in one code location.
        **asset_args: As for :func:`workflow_assets`.

    Returns:
        One asset for each step with its checks, a job ``<workflow name>_job`` of all of them, its schedule
        ``<workflow name>_schedule`` (to be turned on) if the partitions have a cadence, the IO manager as the
        resource ``io_manager_key``, and an :func:`endings_sensor` for all workflows if a ledger is named.

    Raises:
        WorkflowError: As for :func:`workflow_assets`.
        ContextError: ``base_path`` or ``ledger_url`` is empty text, or the URL holds a password.

    Example:
        ::

            defs = dg.Definitions.merge(
                workflow_definitions(prices, owners=["team:data"]), dg.Definitions(assets=[other_asset])
            )
    """
    for name in asset_args.keys() - signature(workflow_assets).parameters.keys():
        near = nearest(name, [*signature(workflow_definitions).parameters, *signature(workflow_assets).parameters])
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"workflow_definitions() has no argument {name!r}{hint}")
    assets = workflow_assets(workflow, io_manager_key=io_manager_key, **asset_args)
    job = dg.define_asset_job(
        f"{workflow.name}_job",
        selection=dg.AssetSelection.assets(*assets),
        description=f"All steps of workflow {workflow.name}.",
    )
    scheme = workflow.partitions
    schedules = []
    if scheme is not None and scheme.cadence is not None:
        schedules.append(workflow_schedule(job, scheme, name=f"{workflow.name}_schedule", catch_up=catch_up))
    resources = {io_manager_key: io_manager(base_path, ledger_url)}
    recorded = ledger_url is not None or bool(os.environ.get("FLOWCTX_LEDGER_URL"))
    sensors = [shared_sensor(ledger_url)] if recorded else []
    return dg.Definitions(assets=assets, jobs=[job], schedules=schedules, sensors=sensors, resources=resources)


def workflow_job(workflow: Workflow, name: str | None = None, **job_args: Any) -> dg.JobDefinition:
    """Return a job of ops, one for each step, for people who think in ops rather than assets.

    Args:
        workflow: The workflow.
        name: The job's name; the workflow's by default.
        **job_args: For Dagster's ``GraphDefinition.to_job``: ``tags``, ``hooks``, ``resource_defs``, ``executor_def`` …

    Raises:
        WorkflowError: The workflow has no steps.

    Example:
        ::

            defs = dg.Definitions(jobs=[workflow_job(prices, tags={"team": "data"})])
    """
    _check_always(workflow)
    job_name = name or workflow.name
    ops = []
    wires: dict[dg.NodeInvocation, dict[str, Any]] = {}
    for step in workflow.steps.values():
        ops.append(_op(StepBody(workflow=workflow, step=step, prefix=("jobs", job_name)), op_name(job_name, step.name)))
        node = dg.NodeInvocation(ops[-1].name, alias=step.name)
        wires[node] = {f"after_{before}": dg.DependencyDefinition(before, "result") for before in step.after}
    graph = dg.GraphDefinition(name=job_name, node_defs=ops, dependencies=wires)
    resources = {params_key(workflow): params_resource(workflow), IO_MANAGER_KEY: io_manager()}
    resources |= job_args.pop("resource_defs", None) or {}
    if isinstance(resources[IO_MANAGER_KEY], dg.IOManager | dg.IOManagerDefinition | dg.ConfigurableIOManagerFactory):
        check_io_manager(resources[IO_MANAGER_KEY], IO_MANAGER_KEY)
    definition = partitions_def(workflow.partitions)
    job_args.setdefault("description", f"Workflow {workflow.name}, step by step.")
    return graph.to_job(name=job_name, resource_defs=resources, partitions_def=definition, **job_args)


def _checked_steps(workflow: Workflow, checks: Iterable[str] | None) -> set[str]:
    """Return the steps whose quality metrics are an asset check: those that are named, else those that report some."""
    if checks is None:
        return {name for name, step in workflow.steps.items() if _reports_quality(step)}
    return {workflow[name].name for name in listed(checks)}


def _check_always(workflow: Workflow) -> None:
    """Refuse what Dagster cannot do: it starts no step after one that failed."""
    for step in check_workflow(workflow).steps.values():
        if step.run_if is RunIf.ALWAYS:
            raise WorkflowError(
                f"step {step.name!r} runs whatever happened (run_if='always'), and Dagster starts no step after one "
                "that failed; use a hook or a run failure sensor of Dagster's for it, or run_if='not_failed'"
            )


@lru_cache(maxsize=32)
def io_manager(base_path: str | None = None, ledger_url: str | None = None) -> WorkflowIOManager:
    """Return the IO manager for a folder, the same object each time: ``Definitions.merge`` refuses equal ones."""
    read_text(base_path, "base_path")
    read_text(ledger_url, "ledger_url")
    if ledger_url is not None and mask_text(ledger_url) != ledger_url:
        raise ContextError(
            "ledger_url= holds a password, which Dagster would show to whoever asks its API; pass "
            "dagster.EnvVar('NAME') of an environment variable, or set FLOWCTX_LEDGER_URL"
        )
    return WorkflowIOManager(base_path=base_path, ledger_url=ledger_url)


def _asset(
    body: StepBody,
    spec: dg.AssetSpec,
    definition: dg.PartitionsDefinition[str] | None,
    resources: Mapping[str, dg.ResourceDefinition],
    backfill_policy: dg.BackfillPolicy | None,
    pool: str | None,
) -> dg.AssetsDefinition:
    with quiet():  # resource_defs= is in beta

        @dg.multi_asset(
            name=spec.key.to_python_identifier(),
            specs=[spec.with_io_manager_key(body.io_manager_key)],
            check_specs=[check_spec(spec.key, definition)] if body.checked else None,
            # Without this, a check of a skipped step would be missing rather than not evaluated.
            can_subset=body.checked,
            partitions_def=definition,
            required_resource_keys={body.io_manager_key},
            resource_defs=resources,
            retry_policy=retry_policy(body.step.retry),
            backfill_policy=backfill_policy,
            pool=pool,
        )
        def compute(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from run_step(body, context)

    return compute


def _op(body: StepBody, name: str) -> dg.OpDefinition:
    @dg.op(
        name=name,
        description=getdoc(body.step.function),
        ins={f"after_{name}": dg.In(dg.Nothing) for name in body.step.after},
        out=dg.Out(is_required=False, io_manager_key=IO_MANAGER_KEY),
        required_resource_keys={IO_MANAGER_KEY, params_key(body.workflow)},
        retry_policy=retry_policy(body.step.retry),
    )
    def compute(context: dg.OpExecutionContext) -> Iterator[Any]:
        yield from run_step(body, context)

    return compute


def retry_policy(policy: RetryPolicy) -> dg.RetryPolicy | None:
    """Return the policy in Dagster's words; it applies to what fails around the step, such as ``handle_output``.

    The step itself asks for its retries, with the exact wait and for the categories that can be retried.
    """
    if not policy.retries:
        return None
    backoff = dg.Backoff.EXPONENTIAL if policy.backoff > 1 and policy.delay > timedelta(0) else None
    delay = min(policy.delay, policy.max_delay).total_seconds()
    return dg.RetryPolicy(max_retries=policy.retries, delay=delay, backoff=backoff)


def _reports_quality(step: Step) -> bool:
    code = getattr(step.function, "__code__", None)
    return code is not None and _mentions(code, QUALITY_CHECK)


def _mentions(code: CodeType, name: str) -> bool:
    """Whether a function uses a name, as a variable or as a keyword in a call."""
    if name in (*code.co_names, *code.co_varnames):
        return True
    return any(
        name in const if isinstance(const, tuple) else isinstance(const, CodeType) and _mentions(const, name)
        for const in code.co_consts
    )
