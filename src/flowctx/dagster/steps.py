"""One step of a workflow as the body of an asset's op, or of an op: for one partition or for a range of them."""
# No `from __future__ import annotations`: Dagster 1.13 refuses a decorated function whose `context` has one.

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from flowctx.core.errors import ContextError, FlowctxError
from flowctx.core.execution.execute import categorize
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_request import TAG_PREFIX
from flowctx.dagster.checks import CheckEvent, range_checks
from flowctx.dagster.engine_contexts import run_facts
from flowctx.dagster.outputs import Written
from flowctx.dagster.params import params_key, params_of
from flowctx.dagster.partition_step import Event, PartitionStep, name_run, no_asset_events, skip_mark
from flowctx.dagster.run_facts import RunFacts
from flowctx.dagster.step_body import StepBody


def run_step(body: StepBody, context: Any) -> Iterator[Event]:
    """Run a step for every partition of the run; a run of its check alone runs no step, and reports what is stored."""
    op: dg.OpExecutionContext = context.op_execution_context
    try:
        body = body.in_run(op)
        facts = run_facts(context)
        params = params_of(getattr(op.resources, params_key(body.workflow)), "params")
        request = facts.request(params)
        attempts = [
            PartitionStep(body, op, key, facts.context(key, workflow=body.workflow, params=params), request)
            for key in facts.keys_of(body.workflow)
        ]
        if body.asset_key is not None and not op.selected_asset_keys:
            return range_checks([check for attempt in attempts for check in attempt.stored_checks(facts)])
        _check_partition(body, facts, attempts)
    except FlowctxError as exc:
        category = {f"{TAG_PREFIX}category": str(categorize(exc))}
        raise dg.Failure(f"{type(exc).__name__}: {exc}", metadata=category, allow_retries=False) from exc
    name_run(op, attempts[0].ctx)
    return attempts[0].events() if len(attempts) == 1 else _range_events(attempts)


def _check_partition(body: StepBody, facts: RunFacts, attempts: list[PartitionStep]) -> None:
    """Refuse a run of partitioned assets that has a partition by our tag alone: Dagster asks for its own at the second.

    Raises:
        ContextError: It has.
    """
    key = attempts[0].key
    if body.asset_key is None or facts.keys or key is None:
        return
    raise ContextError(
        f"this run of assets has no partition of Dagster's, and its tag {TAG_PREFIX}partition cannot stand for one: "
        f"choose the partition where it is launched, which is {key} in Dagster (the tag dagster/partition); a "
        "workflow_job takes either"
    )


@dataclass
class _Ended:
    """How the partitions of a range ended."""

    failures: list[tuple[PartitionStep, dg.Failure]] = field(default_factory=list)
    done: list[tuple[PartitionStep, dict[str, Any]]] = field(default_factory=list)
    checks: list[CheckEvent] = field(default_factory=list)
    #: Whether steps after this one may run although a partition has no output.
    leads_on: bool = False
    #: Whether all were skipped.
    skipped: bool = True

    def run(self, attempt: PartitionStep) -> None:
        """Run the step for a partition, with its own attempts."""
        outcome = attempt.to_the_end().outcome
        result = outcome.result
        self.checks += attempt.checks(result)
        self.skipped = self.skipped and result.status is StepStatus.SKIPPED
        if result.status is StepStatus.FAILED:
            self.failures.append((attempt, attempt.failure(outcome)))
            return
        metadata = attempt.metadata(result)
        if result.status is not StepStatus.OK:
            metadata |= attempt.tell_no_output(result)
            self.leads_on = self.leads_on or attempt.leads_on(result)
        else:
            self.done.append((attempt, metadata))
        attempt.about_partition(metadata)


def _range_events(attempts: list[PartitionStep]) -> Iterator[Event]:
    """Run a step for a range of partitions: each by itself, with its own attempts, stored as soon as it is done."""
    ended = _Ended()
    for attempt in attempts:
        ended.run(attempt)
    failures, done = ended.failures, ended.done
    yield from range_checks(ended.checks)
    body = attempts[0].body
    if failures:
        for attempt, metadata in done:
            yield from attempt.done(metadata)
        _end(attempts, failures)
        raise _range_failure(failures, len(attempts)) from failures[0][1]
    output_metadata = no_asset_events(body) if len(done) < len(attempts) else {}
    if output_metadata:  # each by itself, so that what was skipped is not called materialised
        for attempt, metadata in done:
            yield from attempt.done(metadata)
    if done or ended.leads_on:
        metadata = output_metadata | skip_mark(ended.skipped)
        yield dg.Output(Written(count=len(done)), body.output_name, metadata=metadata)


def _end(attempts: list[PartitionStep], failures: list[tuple[PartitionStep, dg.Failure]]) -> None:
    """Say of all partitions of a range that their runs go no further; one whose step failed says so itself."""
    step = attempts[0].body.step.name
    names = ", ".join(str(attempt.ctx.partition) for attempt, _ in failures[:5])
    for attempt in attempts:
        attempt.end(f"step {step} failed for other partitions of the range: {names}")


def _range_failure(failures: list[tuple[PartitionStep, dg.Failure]], of: int) -> dg.Failure:
    step = failures[0][0].body.step.name
    lines = [f"{attempt.ctx.partition}: {failure.description}" for attempt, failure in failures]
    return dg.Failure(
        f"step {step} failed for {len(failures)} of {of} partitions; the others are stored\n" + "\n".join(lines[:10]),
        metadata={"failed partitions": [str(attempt.key) for attempt, _ in failures], **failures[0][1].metadata},
        allow_retries=False,  # each partition has had its own
    )
