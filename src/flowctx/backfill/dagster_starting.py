"""Starting a run on Dagster: what it answers, asked again while a call was lost or the code is away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from flowctx.backfill.dagster_runs import LONGEST, one_line
from flowctx.backfill.http import Patience
from flowctx.core.errors import EngineUnavailable
from flowctx.core.printable import brief
from flowctx.core.workflow.definition import Workflow

#: What an answer is called that has a run.
STARTED: Final = "LaunchRunSuccess"
#: How errors begin to be called of a code location that is not loaded or cannot be reached, as while it is deployed.
_AWAY: Final = ("PipelineNotFoundError", "DagsterCodeLocation", "DagsterUserCodeUnreachable")
_FORBIDDEN: Final = "UnauthorizedError"


class Place(NamedTuple):
    """Where a job is."""

    location: str
    repository: str
    job: str


class Target(NamedTuple):
    """A workflow, and where its job is."""

    workflow: Workflow
    place: Place

    @property
    def refreshes(self) -> bool:
        """Whether some step runs again although it is complete."""
        return any(step.refresh for step in self.workflow.steps.values())


def started(start: Callable[[], Mapping[str, Any]], find: Callable[[], Mapping[str, Any] | None]) -> Mapping[str, Any]:
    """Return what Dagster answers to the start of a run, asked again for a minute where that may help.

    Args:
        start: Asks for it, once.
        find: Looks for the run where an answer was lost.

    Raises:
        EngineUnavailable: It cannot be reached, and there is no such run.
    """
    patience = Patience()
    while True:
        try:
            answer = start()
        except EngineUnavailable:
            found = find()
            if found is not None:
                return {"__typename": STARTED, "run": found}
            if not patience.wait():
                raise
        else:
            if not is_away(answer) or not patience.wait():
                return answer


def is_away(answer: Mapping[str, Any]) -> bool:
    """Return whether Dagster has no code to run at the moment."""
    return str(answer.get("className") or answer["__typename"]).startswith(_AWAY)


def concerns_all(answer: Mapping[str, Any]) -> bool:
    """Return whether Dagster would start no other run either."""
    return is_away(answer) or answer["__typename"] == _FORBIDDEN


def why_not_started(answer: Mapping[str, Any]) -> str:
    """Return why Dagster has not started a run: what its errors say, else what the answer is called."""
    errors = answer.get("errors") or [answer]
    error = "; ".join(str(error.get("message") or answer["__typename"]) for error in errors)
    why = brief(one_line(error), LONGEST)
    return f"{why}; see whether its code location loads, and type the same again" if is_away(answer) else why
