"""What happened in a run, whichever engine it ran on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from flowctx.core.data.encoding import digest
from flowctx.core.errors import RunFailed
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepStatus


@dataclass(frozen=True, kw_only=True)
class StepRun:
    """What happened to one step."""

    #: The step's name.
    name: str
    #: How it ended.
    status: StepStatus
    #: How many times it was tried; 0 if it was not started.
    attempts: int = 0
    #: How long it took, all attempts and the waits between them together.
    duration: timedelta = timedelta(0)
    #: Why it failed, was skipped or was not run.
    error: str | None = None
    #: Whether trying again could have helped.
    category: ErrorCategory | None = None
    #: What it found out about its data.
    quality: QualityMetrics | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What happened in a run."""

    #: The workflow's name.
    workflow: str
    #: ``ok``; ``failed`` if any step failed; ``skipped`` if nothing ran to its end.
    status: StepStatus
    #: The context with all outputs and updates.
    context: WorkflowContext
    #: One entry for each step, in order.
    steps: tuple[StepRun, ...]

    @classmethod
    def of(cls, workflow: str, context: WorkflowContext, steps: Iterable[StepRun]) -> RunResult:
        """Make the result of a run from what happened to each step."""
        entries = tuple(steps)
        found = {entry.status for entry in entries}
        ranked = (StepStatus.FAILED, StepStatus.OK, StepStatus.SKIPPED)
        status = next((status for status in ranked if status in found), StepStatus.OK)
        return cls(workflow=workflow, status=status, context=context, steps=entries)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.context.run_id

    @property
    def outputs_digest(self) -> str:
        """SHA-256 of all outputs in their JSON form: equal on every engine for equal outputs."""
        return digest(self.context.step_outputs)

    def __getitem__(self, step: str) -> StepRun:
        for entry in self.steps:
            if entry.name == step:
                return entry
        raise KeyError(f"no step {step!r} in this run; it has {', '.join(entry.name for entry in self.steps)}")

    def raise_for_failure(self) -> RunResult:
        """Return this result, unless a step failed.

        Raises:
            RunFailed: The message names the step, why it failed, and the run.
        """
        for entry in self.steps:
            if entry.status is StepStatus.FAILED:
                where = f", partition {self.context.partition}" if self.context.partition else ""
                raise RunFailed(
                    f"workflow {self.workflow!r} failed at step {entry.name!r} ({entry.category}): {entry.error} "
                    f"[run {self.run_id}{where}]"
                )
        return self
