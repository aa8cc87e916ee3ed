"""Runs that Dagster runs again by itself: what it says of that in the tags of the run that failed (``run_retries``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: So long after a run has failed, its retry is waited for; the daemon makes it in seconds, unless it cannot.
_PATIENCE: Final = timedelta(minutes=5)


def tags_of(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run."""
    return {tag["key"]: tag["value"] for tag in run.get("tags", ())}


def retry_of(run: Mapping[str, Any]) -> str | None:
    """Return the id of the run that Dagster has made in the place of one that failed, if it has."""
    return tags_of(run).get("dagster/auto_retry_run_id") if run["status"] == "FAILURE" else None


def is_to_be_retried(run: Mapping[str, Any]) -> bool:
    """Return whether Dagster has said of a run that failed that it will run it again, and has not done so."""
    return (
        run["status"] == "FAILURE"
        and tags_of(run).get("dagster/will_retry", "").lower() == "true"
        and retry_of(run) is None
    )


def is_retry_awaited(run: Mapping[str, Any]) -> bool:
    """Return whether a retry may still come."""
    if not is_to_be_retried(run):
        return False
    ended_at = run["endTime"]
    return ended_at is None or datetime.now(UTC) - datetime.fromtimestamp(ended_at, UTC) < _PATIENCE


def is_undecided(run: Mapping[str, Any]) -> bool:
    """Return whether Dagster may not have said yet if it will run a run again: it does so just after the failure."""
    return run["status"] == "FAILURE" and "dagster/will_retry" not in tags_of(run)
