"""A worker process of a local batch: reads partitions from its standard input, runs them, and says how they ended.

It ends when it is told to, and at once when whoever started it is gone: a run that is cut off so is continued by the
next launch, from the step that it was at.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import IO, Any, NoReturn

from flowctx.core.data.encoding import from_json
from flowctx.core.durability.continuation import changed_params
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import FlowctxError, UnknownRun
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_result import RunResult
from flowctx.ledger import open_ledger

#: Runs a workflow, or continues a run: ``flowctx.run`` and ``flowctx.resume``.
Runner = Callable[..., RunResult]


def main(run: Runner, resume: Runner) -> NoReturn:
    """Run what comes in until there is no more.

    Args:
        run: Runs a workflow.
        resume: Continues a run that was begun.
    """
    incoming, say = _pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Failures are told to whoever follows the batch; without a handler, logging would print them here as well.
    logging.getLogger("flowctx").addHandler(logging.NullHandler())
    setup = json.loads(incoming.readline())
    workflows = [import_workflow(target) for target in setup["targets"]]
    who = f"{_worker_of(setup['batch_id'])} (process {os.getpid()} on {platform.node()})"
    ledger = open_ledger(setup["ledger"], owner=who)
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    stopping = threading.Event()
    runs = _Runs(run, resume, workflows, ledger, setup["batch_id"])
    threading.Thread(target=_listen, args=(incoming, tasks, stopping), daemon=True).start()
    while True:
        task = tasks.get()
        if stopping.is_set() or "stop" in task:
            break
        say.write(json.dumps({"run_id": task["run_id"], **runs.outcome(task)}).encode() + b"\n")
        say.flush()
    # Threads that a step left behind must not keep the batch waiting.
    os._exit(0)


def _worker_of(batch_id: str) -> str:
    return f"a worker of batch {batch_id!r}"


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep standard input and output to ourselves; what steps print goes to standard error."""
    incoming, say = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return incoming, say


def _listen(incoming: IO[bytes], tasks: queue.SimpleQueue[dict[str, Any]], stopping: threading.Event) -> None:
    for line in incoming:
        task = json.loads(line)
        if "stop" in task:
            stopping.set()
        tasks.put(task)
    os._exit(0)  # whoever started us is gone


class _Runs:
    """The runs of one batch."""

    def __init__(
        self, run: Runner, resume: Runner, workflows: Sequence[Workflow], ledger: Ledger, batch_id: str
    ) -> None:
        self.run, self.resume, self.ledger, self.batch_id = run, resume, ledger, batch_id
        self.workflows = {"": workflows[0], **{workflow.name: workflow for workflow in workflows}}

    def outcome(self, task: dict[str, Any]) -> dict[str, Any]:
        """Run a partition and say how it ended."""
        started = datetime.now(UTC)
        try:
            result = self.result(task)
        except (FlowctxError, OSError) as exc:  # the run could not begin, or not be recorded
            return {"state": "failed", "error": f"{type(exc).__name__}: {exc}", "attempt": 0}
        failed = next((entry for entry in result.steps if entry.status is StepStatus.FAILED), None)
        return {
            "state": str(result.status),
            "attempt": result.context.checkpoint.attempt if result.context.checkpoint else 1,
            "started_at": started.isoformat(),
            "step": failed.name if failed else None,
            "error": failed.error if failed else None,
        }

    def is_left(self, run: RunRecord) -> bool:
        """Return whether a run is left from the launch before this one, whose workers are gone with it."""
        return (run.owner or "").startswith(_worker_of(self.batch_id))

    def skipped_steps(self, run: RunRecord) -> list[str]:
        """Return the steps of a skipped run that are to run again: it was asked for, or the run would be left alone."""
        if run.status is not RunStatus.SKIPPED:
            return []
        return [name for name, how in self.ledger.statuses(run.key).items() if how is StepStatus.SKIPPED]

    def _run_of(self, task: dict[str, Any]) -> RunRecord:
        workflow = self.workflow_of(task)
        key = workflow.partition_key(task["partition"])
        return self.ledger.get_run(task["run_id"], workflow=workflow.name, partition=key)

    def workflow_of(self, task: dict[str, Any]) -> Workflow:
        """Return the workflow that a task is of: the batch's first, unless it says which."""
        return self.workflows[task.get("workflow", "")]

    def result(self, task: dict[str, Any]) -> RunResult:
        params = from_json(task["params"]) if "params" in task else {}
        if task["known"]:
            try:
                before = self._run_of(task)
                return self.resume(
                    task["run_id"],
                    self.workflow_of(task),
                    partition=task["partition"],
                    params=changed_params(params, before),
                    from_step=task.get("from_step") or self.skipped_steps(before),
                    ledger=self.ledger,
                    take_over=self.is_left(before),
                )
            except UnknownRun:
                pass  # what is known of it happened on another engine, or before it began
        return self.run(
            self.workflow_of(task),
            partition=task["partition"],
            params=params,
            batch_id=self.batch_id,
            run_id=task["run_id"],
            ledger=self.ledger,
        )
