"""Starting a run on Dagster: what it answers, asked again while a call was lost or the code is away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from flowctx.backfill.dagster_runs import LONGEST, one_line
from flowctx.backfill.http import Patience
from flowctx.core.errors import EngineError, EngineUnavailable
from flowctx.core.printable import brief
from flowctx.core.workflow.definition import Workflow

#: What an answer is called that has a run.
STARTED: Final = "LaunchRunSuccess"
#: How errors begin to be called of a code location that is not loaded or cannot be reached, as while it is deployed.
_AWAY: Final = ("PipelineNotFoundError", "DagsterCodeLocation", "DagsterUserCodeUnreachable")
#: What an answer is called where the user may start nothing.
FORBIDDEN: Final = "UnauthorizedError"


class Place(NamedTuple):
    """Where a job is."""

    location: str
    repository: str
    job: str

    @property
    def selector(self) -> dict[str, str]:
        """How Dagster is told which job is meant."""
        return {"repositoryLocationName": self.location, "repositoryName": self.repository, "jobName": self.job}


class Target(NamedTuple):
    """A workflow, and where its job is."""

    workflow: Workflow
    place: Place

    @property
    def refreshes(self) -> bool:
        """Whether some step runs again although it is complete."""
        return any(step.refresh for step in self.workflow.steps.values())


def place_of(names: Sequence[str], places: Sequence[Place], location: str | None, where: str, made_by: str) -> Place:
    """Return the place of one of some jobs.

    Args:
        names: The jobs, the best first.
        places: All jobs that there are.
        location: The code location that is to have it, if one is named.
        where: The Dagster, for messages.
        made_by: What makes the job, for messages.

    Raises:
        EngineError: There is none of them, or it is in several code locations.
    """
    here = [place for place in places if location in (None, place.location)]
    found = next((found for name in names if (found := [place for place in here if place.job == name])), [])
    if not found:
        there = f" in the code location {location!r}" if location else ""
        others = ", ".join(sorted({place.location for place in places if place.job in names}))
        made = f"put {made_by} into a code location"
        remedy = f"it is in {others}" if others else f"{made}, and see whether it loads: dg check defs"
        raise EngineError(f"{where} has no job {' or '.join(map(repr, names))}{there}; {remedy}")
    if len(found) > 1:
        locations = ", ".join(sorted(place.location for place in found))
        raise EngineError(
            f"{where} has the job {found[0].job!r} in {len(found)} code locations, {locations}; say which one: "
            "--location NAME (in Python location=), or FLOWCTX_DAGSTER_LOCATION"
        )
    return found[0]


class Starting:
    """Starts runs one try at a time, so that the launch looks around in between; for a minute that may be in vain."""

    def __init__(self) -> None:
        self._patience: Patience | None = None
        #: Whether the answer to the last try was lost, which may begin a run a moment later.
        self._lost = False

    def once(
        self,
        start: Callable[[], Mapping[str, Any]],
        find: Callable[[], Mapping[str, Any] | None],
        *,
        again: bool = False,
    ) -> Mapping[str, Any] | None:
        """Return what Dagster answers to the start of a run; ``None``: it is to be asked again in a moment.

        Args:
            start: Asks for it, once.
            find: Looks for the run where an answer was lost; right after that, and before the next try.
            again: Whether it is a re-execution: what is wrong is not waited for, since the run may be gone for good
                while its job can be run anew.

        Raises:
            EngineUnavailable: It cannot be reached for too long, and there is no such run.
        """
        answer, self._lost = _started(find()) if self._lost else None, False
        try:
            answer = answer or start()
        except EngineUnavailable:
            answer = _started(find())
            if answer is None:
                self._lost = self._may_wait()
                if not self._lost:
                    raise
                return None
        if answer["__typename"] == STARTED or not (again or is_away(answer) or is_trouble(answer)):
            self._patience = None
        elif not again and self._may_wait():
            return None
        return answer

    def _may_wait(self) -> bool:
        """Whether another try may help: for a minute from the first one in vain."""
        self._patience = self._patience or Patience()
        if self._patience.lasts:
            return True
        self._patience = None
        return False


def _started(run: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what Dagster answers where a run has begun, if it has."""
    return None if run is None else {"__typename": STARTED, "run": run}


def is_away(answer: Mapping[str, Any]) -> bool:
    """Return whether Dagster has no code to run at the moment."""
    return str(answer.get("className") or answer["__typename"]).startswith(_AWAY)


def is_trouble(answer: Mapping[str, Any]) -> bool:
    """Return whether something around Dagster went wrong, such as its database, and not what it was asked for."""
    return answer["__typename"] == "PythonError" and not (answer.get("className") or "Dagster").startswith("Dagster")


def concerns_all(answer: Mapping[str, Any]) -> bool:
    """Return whether Dagster would start no other run either."""
    return is_away(answer) or is_trouble(answer) or answer["__typename"] == FORBIDDEN


def why_not_started(answer: Mapping[str, Any]) -> str:
    """Return why Dagster has not started a run: what its errors say, else what the answer is called."""
    errors = answer.get("errors") or [answer]
    error = "; ".join(str(error.get("message") or answer["__typename"]) for error in errors)
    why = brief(one_line(error), LONGEST)
    return f"{why}; see whether its code location loads, and type the same again" if is_away(answer) else why
