"""Which versions of Airflow's API for tasks are made, where it serves this process alone."""

from __future__ import annotations

import copy
from typing import Any


def speak_to_one_client(app: Any, version: str) -> None:
    """Let an API make the routes that its one client uses, and none of its older versions.

    Airflow makes all routes and models of its API anew for each of its versions, the newest first, at the first
    request. In a process that runs tasks itself that takes most of the time before the first task, and only the newest
    is ever asked for (seen with Airflow 3.3.2 and Cadwyn 7.0).

    Args:
        app: The application, a ``cadwyn.Cadwyn``, before its first request.
        version: The version that its client speaks; if it has no such version, all are made.

    Example:
        >>> from types import SimpleNamespace
        >>> dates = ("2026-06-30", "2026-04-06", "2025-04-11")
        >>> versions = SimpleNamespace(version_values=dates, versions=[SimpleNamespace(changes=()) for _ in dates])
        >>> app = SimpleNamespace(versions=versions)
        >>> speak_to_one_client(app, "2026-06-30")
        >>> app.versions.version_values
        ('2026-06-30',)
    """
    every = app.versions
    if version not in every.version_values:
        return
    # What brings back a route that only older versions have is needed, or Cadwyn refuses the route.
    back = [n for n, one in enumerate(every.versions) if any(map(_brings_back_a_route, one.changes))]
    count = 1 + max(every.version_values.index(version), *back, 0)
    app.versions = copy.copy(every)
    app.versions.versions = every.versions[:count]
    app.versions.version_values = every.version_values[:count]
    app.versions.reversed_versions = app.versions.versions[::-1]
    app.versions.reversed_version_values = app.versions.version_values[::-1]


def _brings_back_a_route(change: Any) -> bool:
    return any(type(part).__name__ == "EndpointExistedInstruction" for part in change.alter_endpoint_instructions)
