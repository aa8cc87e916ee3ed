"""What happened in a run, whichever engine it ran on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Protocol

from flowctx.core.data.encoding import digest
from flowctx.core.errors import RunFailed
from flowctx.core.html_tables import table
from flowctx.core.workflow.cascade import RunIf, cascaded_status
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import FAILED, OK, ErrorCategory, QualityMetrics, StepStatus

_status = attrgetter("status")
#: How a run ends: by the first of these that one of its steps ended with.
_RANKED = (FAILED, OK, StepStatus.SKIPPED)


class StepEnd(Protocol):
    """What says how a step ended: its result, its envelope, or its record."""

    @property
    def status(self) -> StepStatus:
        """How it ended."""

    @property
    def error(self) -> str | None:
        """Why it failed or was skipped."""

    @property
    def category(self) -> ErrorCategory | None:
        """Whether trying again could have helped."""

    @property
    def quality(self) -> QualityMetrics | None:
        """What it found out about its data."""


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

    #: What it raised, where that is known: the cause of :meth:`RunResult.raise_for_failure`.
    exception: BaseException | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls, name: str, ended: StepEnd, attempts: int, duration: timedelta, exception: BaseException | None = None
    ) -> StepRun:
        """Make the entry of a step that ran, from what says how it ended."""
        entry = object.__new__(cls)
        fields = {
            "name": name,
            "status": ended.status,
            "attempts": attempts,
            "duration": duration,
            "error": ended.error,
            "category": ended.category,
            "quality": ended.quality,
            "exception": exception,
        }
        object.__setattr__(entry, "__dict__", fields)  # to set them one by one takes longer than all else here
        return entry

    @classmethod
    def not_started(cls, name: str, before: Iterable[StepRun], run_if: RunIf = RunIf.OK) -> StepRun | None:
        """Make the entry of a step that is not started, or return ``None`` if those before it let it run.

        Args:
            name: The step's name.
            before: What happened to the steps that it directly follows.
            run_if: What the step asks of them.

        Example:
            >>> gate = StepRun(name="gate", status=StepStatus.FAILED)
            >>> StepRun.not_started("load", [gate]).error
            "step 'gate' before it failed"
        """
        entries = list(before)
        status = cascaded_status([entry.status for entry in entries], run_if)
        if status is None:
            return None
        if status is StepStatus.SKIPPED:
            reason = next(entry.error for entry in entries if entry.status is StepStatus.SKIPPED)
            return cls(name=name, status=status, error=reason)
        cause = next(e.name for e in entries if e.status in (StepStatus.FAILED, StepStatus.NOT_RUN))
        return cls(name=name, status=status, error=failure_before(cause))


def failure_before(step: str) -> str:
    """Return why a step was not run: the step before it that failed, or that was not run either."""
    return f"step {step!r} before it failed"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What happened in a run."""

    #: The workflow's name.
    workflow: str
    #: ``ok``; ``failed`` if any step failed that is not optional; ``skipped`` if nothing ran to its end.
    status: StepStatus
    #: The context with all outputs and updates.
    context: WorkflowContext
    #: One entry for each step, in order.
    steps: tuple[StepRun, ...]

    @classmethod
    def of(cls, workflow: str, context: WorkflowContext, steps: Iterable[StepRun]) -> RunResult:
        """Make the result of a run from what happened to each step."""
        entries = tuple(steps)
        found = list(map(_status, entries))
        status = OK if found.count(OK) == len(found) else next((status for status in _RANKED if status in found), OK)
        result = object.__new__(cls)
        fields = {"workflow": workflow, "status": status, "context": context, "steps": entries}
        object.__setattr__(result, "__dict__", fields)
        return result

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.context.run_id

    @property
    def outputs_digest(self) -> str:
        """SHA-256 of all outputs in their JSON form: equal on every engine for equal outputs."""
        return digest(self.context.step_outputs)

    @property
    def completed_steps(self) -> list[str]:
        """The names of the steps that are done."""
        return [entry.name for entry in self.steps if entry.status is StepStatus.OK]

    @property
    def failed_steps(self) -> list[str]:
        """The names of the steps that failed, optional ones too."""
        return [entry.name for entry in self.steps if entry.status in (StepStatus.FAILED, StepStatus.TOLERATED)]

    @property
    def error_step(self) -> str | None:
        """The first step that failed the run; an optional one does not."""
        return next((entry.name for entry in self.steps if entry.status is StepStatus.FAILED), None)

    @property
    def started_at(self) -> datetime:
        """When the run started, in UTC."""
        return self.context.started_at

    @property
    def duration(self) -> timedelta:
        """How long its steps took, all together."""
        return sum((entry.duration for entry in self.steps), timedelta(0))

    def __repr__(self) -> str:
        where = f" for {self.context.partition}" if self.context.partition else ""
        steps = ", ".join(f"{entry.name} {entry.status}" for entry in self.steps)
        return f"<RunResult of {self.workflow}{where}: {self.status}; {steps}>"

    def _repr_html_(self) -> str:
        where = f", {self.context.partition}" if self.context.partition else ""
        rows = [(e.name, e.status, e.attempts, e.duration, e.error) for e in self.steps]
        header = ("step", "status", "attempts", "duration", "error")
        return table(f"{self.workflow}{where}: {self.status}", header, rows)

    def __getitem__(self, step: str) -> StepRun:
        for entry in self.steps:
            if entry.name == step:
                return entry
        raise KeyError(f"no step {step!r} in this run; it has {', '.join(entry.name for entry in self.steps)}")

    def raise_for_failure(self) -> RunResult:
        """Return this result, unless a step failed.

        Raises:
            RunFailed: The message names the step, why it failed, and the run; its cause is what the step raised.
        """
        for entry in self.steps:
            if entry.status is StepStatus.FAILED:
                where = f", partition {self.context.partition}" if self.context.partition else ""
                why = f" ({entry.category})" if entry.category is not None else ""  # a plain task has none
                raise RunFailed(
                    f"workflow {self.workflow!r} failed at step {entry.name!r}{why}: {entry.error} "
                    f"[run {self.run_id}{where}]"
                ) from entry.exception
        return self
