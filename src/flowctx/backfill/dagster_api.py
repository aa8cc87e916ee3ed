"""The GraphQL of a Dagster's web server: its jobs, what it starts, and what it tells of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowctx.backfill import graphql
from flowctx.backfill.dagster_retries import retry_of
from flowctx.backfill.dagster_runs import retried_by
from flowctx.backfill.dagster_starting import Place, place_of
from flowctx.backfill.http import JsonClient
from flowctx.backfill.polling import PAGE
from flowctx.core.errors import EngineError


class DagsterApi:
    """Asks one Dagster.

    Args:
        url: Where the web server is.

    Raises:
        EngineError: It is no URL.
    """

    def __init__(self, url: str) -> None:
        self.client = JsonClient(url, name="Dagster", setting="FLOWCTX_DAGSTER_URL")

    def ask(self, query: str, *, repeat: bool = True, **variables: Any) -> Mapping[str, Any]:
        """Return what the only field of a query answers.

        Raises:
            EngineError: It answers nothing.
        """
        answer = self.client.call("POST", "/graphql", body={"query": query, "variables": variables}, repeat=repeat)
        data, errors = answer.data.get("data"), answer.data.get("errors")
        found: Mapping[str, Any] | None = next(iter(data.values()), None) if data else None
        if found is None:
            raise self.error(f"{answer.status}: {errors[0].get('message') if errors else answer.detail}")
        return found

    def read(self, field: str, query: str, **variables: Any) -> Any:
        """Return a field of what a query answers, which it has unless something went wrong in Dagster.

        Raises:
            EngineError: It has not.
        """
        found = self.ask(query, **variables)
        if field not in found:
            raise self.error(found.get("message") or found.get("__typename"))
        return found[field]

    def error(self, message: object) -> EngineError:
        """Say what Dagster has answered instead."""
        return EngineError(f"Dagster at {self.client.url} answers {' '.join(str(message).split())[:500]}")

    def find_job(self, names: Sequence[str], location: str | None, made_by: str) -> Place:
        """Return where one of some jobs is.

        Args:
            names: The jobs, the best first.
            location: The code location that is to have it, if one is named.
            made_by: What makes the job, for messages.

        Raises:
            EngineError: There is none of them, it is in several code locations, or nobody takes runs from the queue.
        """
        nodes = self.read("nodes", graphql.JOBS)
        places = [Place(n["location"]["name"], n["name"], job["name"]) for n in nodes for job in n["jobs"]]
        place = place_of(names, places, location, f"Dagster at {self.client.url}", made_by)
        if (obstacle := self.obstacle()) is not None:
            raise EngineError(obstacle)
        return place

    def obstacle(self) -> str | None:
        """Return what keeps Dagster from beginning runs: nobody takes them from its queue."""
        status = self.read("daemonHealth", graphql.DAEMON)["daemonStatus"]
        if not status["required"] or status["healthy"]:
            return None
        return f"Dagster at {self.client.url} has no daemon to take runs from its queue; type: dagster-daemon run"

    def launch(self, place: Place, config: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, Any]:
        """Ask once for a run of a job, and return the answer."""
        params = {
            "selector": place.selector,
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        return self.ask(graphql.LAUNCH, params=params, repeat=False)

    def runs(self, wanted: Mapping[str, Any], limit: int, cursor: str | None = None) -> list[dict[str, Any]]:
        """Return the latest runs that a filter lets through."""
        found: list[dict[str, Any]] = self.read("results", graphql.RUNS, filter=wanted, limit=limit, cursor=cursor)
        return found

    def all_runs(self, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all runs that a filter lets through, the latest first."""
        cursor = None
        while True:
            page = self.runs(wanted, PAGE, cursor)
            yield from page
            if len(page) < PAGE:
                return
            cursor = page[-1]["runId"]

    def retry_of(self, run: Mapping[str, Any]) -> str | None:
        """Return the id of the run that Dagster has made in the place of one that failed, if it has.

        Dagster's UI hands the tag that says so on to a run of which somebody has chosen the steps.
        """
        if (retry := retry_of(run)) is None:
            return None
        return retry if any(one["parentRunId"] == run["runId"] for one in self.runs({"runIds": [retry]}, 1)) else None

    def begun_by(self, run: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str | None]:
        """Return a run and those that it goes on with, the last first; and which of them was deleted, if one was."""
        runs = [run]
        while ids := retried_by(runs[-1]):
            found = {one["runId"]: one for one in self.runs({"runIds": ids}, len(ids))}
            if not (there := [found[run_id] for run_id in ids if run_id in found]):
                return runs, ids[0]
            runs.append(there[0])
        return runs, None

    def events(self, run_id: str, query: str = graphql.EVENTS) -> Iterator[dict[str, Any]]:
        """Yield what happened in a run; nothing, if it was deleted."""
        cursor, more = None, True
        while more:
            page = self.ask(query, id=run_id, cursor=cursor).get("eventConnection", {})
            yield from page.get("events", [])
            cursor, more = page.get("cursor"), page.get("hasMore", False)
