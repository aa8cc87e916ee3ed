"""Outputs of steps, and the tables and files in them, in tasks that are no steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flowctx.airflow.outputs import from_payload
from flowctx.airflow.recording import store_of_runs
from flowctx.core.data.encoding import from_json
from flowctx.core.data.files import File
from flowctx.core.data.handles import bind
from flowctx.core.data.plain import FrozenDict
from flowctx.core.data.previews import handles_of
from flowctx.core.data.tables import Table
from flowctx.core.errors import ArtifactError, ContextError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import output_made

_Handle = TypeVar("_Handle", Table, File)


def load_output(handed_on: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a step's output as the step returned it, in a task that is no step: with its dates, decimals and tables.

    Args:
        handed_on: What the step's task returned to Airflow: the task itself as an argument, or ``xcom_pull``. Of a
            mapped task that is a list: take each.

    Returns:
        The output.

    Raises:
        PayloadError: It is not what a step hands on.
        ArtifactError: The step was skipped or failed, so that there is none; or the output was put into a store, and is
            gone.

    Example:
        ::

            @task
            def report(published):
                return f"{load_output(published)['lot'] * 2}"

            report(publish_step())
    """
    return _output(handed_on, store_of_runs())


def load_table(handed_on: Mapping[str, Any], name: str | None = None) -> Table:
    """Return a table of a step's output, in a task that is no step.

    Args:
        handed_on: What the step's task returned to Airflow: the task itself as an argument, or ``xcom_pull``.
        name: Which table: its key in the output, or the way to it (``funds.GROWTH``); the only one if ``None``.

    Returns:
        The table; ``load_table(…).to_pandas()`` is the frame.

    Raises:
        ContextError: There is no such table, or several and no name.
        PayloadError: It is not what a step hands on.
        ArtifactError: The step was skipped or failed, so that it has none.

    Example:
        ::

            @task
            def report(prices):
                return len(load_table(prices, "rows").to_pandas())

            report(fetch_step())
    """
    return _handle(handed_on, name, Table)


def load_file(handed_on: Mapping[str, Any], name: str | None = None) -> File:
    """Return a file of a step's output, in a task that is no step; see :func:`load_table`."""
    return _handle(handed_on, name, File)


def _output(handed_on: Mapping[str, Any] | None, store: ArtifactStore | None) -> FrozenDict:
    if handed_on is None:
        raise ArtifactError("the task before handed nothing on: it has not run, or was skipped after another one")
    envelope = from_payload(handed_on)
    return output_made(envelope, store, f"step {envelope.step!r}")


def _handle(handed_on: Mapping[str, Any], name: str | None, kind: type[_Handle]) -> _Handle:
    store = store_of_runs()
    if isinstance(handed_on, Mapping) and set(handed_on) in ({"$table"}, {"$file"}):
        output: Any = from_json(dict(handed_on))
        bind(output, store)
    else:
        output = _output(handed_on, store)
    found = {at: handle for at, handle in handles_of(output) if isinstance(handle, kind)}
    word = kind.__name__.lower()
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        raise ContextError(
            f"the output has {len(found)} {word}s ({', '.join(found) or 'none'}); name one: load_{word}(output, 'rows')"
        )
    if name not in found:
        raise ContextError(f"the output has no {word} {name!r}; it has {', '.join(found) or 'none'}")
    return found[name]
