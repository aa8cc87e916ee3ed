"""One side of a comparison: partitions on one engine, in this process, recorded in a ledger of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from flowctx import local
from flowctx.core.errors import EngineError, MissingExtra, WorkflowError, error_text
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.ledger import open_ledger, shared_ledger

#: The engines that a run here is compared with.
ENGINES: Final = ("airflow", "dagster")
#: The batch and the trace of all runs: what is equal on all sides by the caller's word.
BATCH: Final = "parity"
#: What leads to a user's own ledger, files or events is not for runs that only compare.
_REMOVED: Final = ("FLOWCTX_ARTIFACTS_URL", "FLOWCTX_LEDGER_URL", "FLOWCTX_LEDGER_MODE", "DAGSTER_HOME")
#: Runs one partition.
RunOne = Callable[..., object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What runs on each side."""

    #: The workflow.
    workflow: Workflow
    #: The partitions, in the order in which they run; ``None`` of a workflow without partitions.
    keys: Sequence[PartitionKey | None]
    #: Parameters on top of the workflow's own.
    params: Mapping[str, Any]


def check_engines(engines: Sequence[str], servers: Collection[str] = ()) -> None:
    """Refuse engines that nobody knows, or that are not installed; those of servers need not be.

    Raises:
        WorkflowError: There is no such engine, or none is named.
        MissingExtra: One is not installed; the message says how to install it.
    """
    if not engines:
        raise WorkflowError(f"say which engines a run here is compared with: {', '.join(ENGINES)}")
    for name in engines:
        if name not in ENGINES:
            raise WorkflowError(f"there is no engine {name!r} to compare with; there are {', '.join(ENGINES)}")
        if name not in servers and find_spec(name) is None:
            raise MissingExtra(f"comparing with {name.capitalize()}", name, module=name)


def run_side(work: Work, engine: str, folder: Path) -> dict[PartitionKey | None, str]:
    """Run partitions on an engine, recorded in the ledger in a folder.

    Returns:
        Why a partition could not even begin, of those that could not.

    Raises:
        EngineError: The engine refuses to run anything here.
    """
    problems: dict[PartitionKey | None, str] = {}
    with scratch_environment(folder):
        run_one = _runner(work.workflow, engine)
        for key in work.keys:
            try:
                run_one(partition=key, params=work.params, batch_id=BATCH, trace_id=BATCH)
            except EngineError:  # the engine itself is not to be had
                raise
            except Exception as exc:
                if engine == "local":
                    raise
                problems[key] = error_text(exc)
    return problems


def _runner(workflow: Workflow, engine: str) -> RunOne:
    if engine == "airflow":
        from flowctx.airflow import workflow_dag
        from flowctx.airflow.running import run_dag

        dag = workflow_dag(workflow)
        return lambda **how: run_dag(dag, **how)
    if engine == "dagster":
        from flowctx.dagster.running import run_assets

        return lambda **how: run_assets(workflow, **how)
    return lambda **how: local.run(workflow, **how)


def ledger_url(folder: Path) -> str:
    """Return the URL of the ledger in a folder; its artifacts are beside it."""
    return f"sqlite:///{folder / 'ledger.db'}"


def prepare_ledger(folder: Path) -> None:
    """Make the database of the ledger in a folder."""
    ledger = open_ledger(ledger_url(folder))
    ledger.list_runs(limit=1)
    ledger.close()


def leave_places() -> None:
    """Let nothing in this process lead to a user's own ledger, files or events."""
    for name in _REMOVED:
        os.environ.pop(name, None)
    os.environ["OPENLINEAGE_DISABLED"] = "true"


@contextmanager
def scratch_environment(folder: Path) -> Iterator[None]:
    """Let all that looks into the environment find the ledger in a folder, and no other place of the user's."""
    before = dict(os.environ)
    try:
        leave_places()
        os.environ["FLOWCTX_LEDGER_URL"] = ledger_url(folder)
        yield
    finally:
        shared_ledger(ledger_url(folder)).close()
        for name in (*_REMOVED, "OPENLINEAGE_DISABLED"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
