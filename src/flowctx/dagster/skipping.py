"""What is kept of a step without output, and of the steps after it that Dagster does not start for that."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from dataclasses import replace

import dagster as dg

from flowctx.core.execution.envelope import Envelope
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.result import StepStatus
from flowctx.dagster.output_store import OutputStore, StoredOutput
from flowctx.dagster.recording import selected_steps
from flowctx.dagster.step_body import StepBody


def keep_without_output(body: StepBody, op: dg.OpExecutionContext, outputs: OutputStore, stored: StoredOutput) -> None:
    """Keep that a step has no output; if it was skipped, also of the steps of the run that are skipped for that.

    Args:
        body: The step's.
        op: Dagster's context.
        outputs: Where outputs are kept.
        stored: What is stored of the step.
    """
    outputs.write(stored)
    if stored.envelope.status is not StepStatus.SKIPPED:
        return
    skipped, selected = {body.step.name}, selected_steps(body, op)
    reason = stored.envelope.error or f"step {body.step.name!r} was skipped"
    for name, step in body.workflow.steps.items():
        if name in selected and step.run_if is RunIf.OK and not skipped.isdisjoint(step.after):
            skipped.add(name)
            envelope = Envelope(step=name, status=StepStatus.SKIPPED, error=reason)
            outputs.write(replace(stored, asset_path=body.asset_path(name), envelope=envelope))
