"""Where partitions run: the options that say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from flowctx.core.batches.launcher import ENGINES

#: Adds ``--url``.
url_option = click.option(
    "--url", metavar="URL", help="Where the engine is; else FLOWCTX_AIRFLOW_URL, FLOWCTX_DAGSTER_URL."
)
#: Adds ``--location``, to commands that start runs.
location_option = click.option(
    "--location", metavar="NAME", help="The code location of Dagster's, where several have the workflow."
)


def engine_options(what_for: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--on`` and ``--url``."""
    on = click.option("--on", "engine", type=click.Choice(ENGINES), help=what_for)
    return lambda command: on(url_option(command))


def check_engine(
    engine: str, *, url: str | None, location: str | None, durability: str | None = None, bulk: bool = False
) -> None:
    """Refuse options that are not for where partitions are to run, whether or not they do run.

    Raises:
        UsageError: One is for another engine.
    """
    if bulk and engine == "local":
        raise click.UsageError(
            "--bulk is for tasks of an engine; add --on, or leave it out: a batch here does the same"
        )
    refuse_url(engine, url)
    if engine != "local" and durability is not None and not bulk:
        raise click.UsageError("--durability is for batches here; on an engine, each step is a task of its own")
    if engine != "dagster" and location is not None:
        raise click.UsageError("--location is a code location of Dagster's; leave it out, or add --on dagster")


def refuse_url(engine: str | None, url: str | None) -> None:
    """Refuse ``--url`` of what runs here, or of a batch that no engine has.

    Raises:
        UsageError: There is no engine that it could be of.
    """
    if engine in (None, "local") and url is not None:
        raise click.UsageError(
            "--url is where another engine is, and batches here need none; leave it out, or add --on"
        )
