"""A worker process of a local batch: reads partitions from its standard input, runs them, and says how they ended.

It ends when it is told to, and at once when whoever started it is gone: a run that is cut off so is continued by the
next launch, from the step that it was at.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import platform
import queue
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, NoReturn

from flowctx.backfill.settling import has_worker_of, worker_of
from flowctx.backfill.worker_process import outlive_signals, take_place
from flowctx.core.data.encoding import from_json
from flowctx.core.durability.continuation import changed_params
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import LOCAL_LEASE, RunPlan, begin_run
from flowctx.core.errors import FlowctxError, UnknownRun
from flowctx.core.masking import mask_text
from flowctx.core.own_warnings import without_source
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import SHOWN_BY_DEBUG, import_workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_result import RunResult
from flowctx.ledger import strict_from_env
from flowctx.ledger.grouped import GROUP_SECONDS, GroupedLedger

#: Runs or continues a run, and plans how one begins; the local runner brings them.
Runner = Callable[..., RunResult]
Planner = Callable[..., RunPlan]
Task = dict[str, Any]

#: How many runs are begun in one transaction at most, and how long those together may take.
_MOST_AHEAD = 16
_AHEAD_SECONDS = 0.1
#: A partition that takes so long leaves those that wait for it to other workers.
_SLOW_SECONDS = 0.2


def main(resume: Runner, plan: Planner, run_begun: Runner) -> NoReturn:
    """Run what comes in until there is no more.

    Args:
        resume: Continues a run that was begun.
        plan: Works out how a new run begins.
        run_begun: Runs every step of a run that has been begun.
    """
    incoming, outgoing = pipes()
    outlive_signals()
    # Failures are told to whoever follows the batch; without a handler, logging would print them here as well.
    logging.getLogger("flowctx").addHandler(logging.NullHandler())
    warnings.showwarning = without_source(partial(print, file=sys.stderr), warnings.showwarning)
    line = incoming.readline()
    if not line:  # there was nothing to do after all
        os._exit(0)
    setup, say = json.loads(line), Voice(outgoing)
    try:
        workflows, ledger, me = _at_its_place(setup)
    except BaseException as exc:  # noqa: BLE001  # also what ends a process: whoever started this one is told why
        say({"cannot_begin": mask_text(_why(exc))})
        os._exit(1)
    say({"ready": True, "worker": me})
    runs = _Runs(resume, plan, run_begun, workflows, ledger, setup["batch_id"])
    worker = _Worker(runs, ledger, say)
    threading.Thread(target=worker.listen, args=(incoming,), daemon=True).start()
    gc.freeze()  # what is imported stays: nothing is gained by looking through it again and again
    gc.enable()
    with suppress(FlowctxError):  # whoever has the first partition is told
        ledger.now()  # to connect takes as long as the first partition
    try:
        worker.to_the_end()
    except (GeneratorExit, KeyboardInterrupt):  # Ctrl-C does not get here: a step raised it, and that run has failed
        ledger.flush()
        os._exit(1)
    finally:  # a step may end the process
        ledger.flush()
    # Threads that a step left behind must not keep the batch waiting.
    os._exit(0)


def _at_its_place(setup: Mapping[str, Any]) -> tuple[list[Workflow], GroupedLedger, str]:
    """Be where the batch is launched, and return its workflows, its ledger, and who this is there."""
    take_place(setup["place"])
    workflows = [import_workflow(target) for target in setup["targets"]]
    me = f"{worker_of(setup['batch_id'])} (process {os.getpid()} on {platform.node()})"
    # Where a run that cannot be recorded goes on, it has to hear of each write by itself.
    seconds = None if not strict_from_env() else GROUP_SECONDS if setup["grouped"] else 0.0
    return workflows, GroupedLedger(setup["ledger"], owner=me, seconds=seconds), me


def _why(exc: BaseException) -> str:
    """Return why a worker cannot begin, in a line."""
    text = " ".join(str(exc).split())
    if not isinstance(exc, FlowctxError):
        return f"{type(exc).__name__}: {text}"
    place = traceback.extract_tb(exc.__cause__.__traceback__)[-1:] if exc.__cause__ is not None else []
    where = f" (line {place[0].lineno} of {place[0].filename})" if place else ""
    return text.replace(SHOWN_BY_DEBUG, where)  # here, nobody sees the traceback


def pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep standard input and output to ourselves, and return them; what steps print goes to standard error."""
    incoming, say = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error shows what it cannot hold as escapes
        sys.stdout.reconfigure(errors="backslashreplace")
    os.register_at_fork(after_in_child=lambda: _forget(incoming, say))
    return incoming, say


def _forget(*pipes: IO[bytes]) -> None:
    """In a copy of this process that a step makes, hold no pipe: whoever started us waits until all have let it go."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in pipes:
        os.dup2(nothing, pipe.fileno(), inheritable=False)
    os.close(nothing)


class Voice:
    """Says things to whoever started this process."""

    def __init__(self, outgoing: IO[bytes]) -> None:
        self._outgoing, self._lock = outgoing, threading.Lock()

    def __call__(self, message: Mapping[str, Any], *, more: bool = False) -> None:
        """Say something; end at once if nobody hears it.

        Args:
            message: What.
            more: Whether more is said at once, with which it is sent.
        """
        try:
            with self._lock:
                self._outgoing.write(json.dumps(message).encode() + b"\n")
                if not more:
                    self._outgoing.flush()
        except OSError:  # whoever started us is gone; to the run that is at work, this is to be no failure
            os._exit(0)

    def send(self) -> None:
        """Send what was said."""
        try:
            with self._lock:
                self._outgoing.flush()
        except OSError:
            os._exit(0)


class _Worker:
    """Takes partitions, and runs one after the other."""

    def __init__(self, runs: _Runs, ledger: GroupedLedger, say: Voice) -> None:
        self.runs, self.ledger, self.say = runs, ledger, say
        ledger.after_answers = say.send
        self.tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.stopping = threading.Event()
        #: How many partitions are begun at once.
        self.ahead = 1

    def listen(self, incoming: IO[bytes]) -> None:
        """Hear what is to be done, until whoever started us is gone."""
        for line in incoming:
            task = json.loads(line)
            if "stop" in task:
                self.stopping.set()
            self.tasks.put(task)
        os._exit(0)

    def to_the_end(self) -> None:
        """Run what comes in until there is to be no more; what was begun is finished."""
        while True:
            tasks = self._next()
            if self.stopping.is_set():
                return
            started = time.monotonic()
            with ExitStack() as waiting:
                begun = self.runs.begin(tasks)
                for one in begun:
                    if isinstance(one, Recorder):
                        waiting.enter_context(one.alive(LOCAL_LEASE))
                well = [self._run(task, one) for task, one in zip(tasks, begun, strict=True)]
            seconds = (time.monotonic() - started) / len(tasks)
            fitting = int(_AHEAD_SECONDS / seconds) if seconds else _MOST_AHEAD
            # One that fails may be the last: nothing is begun that would have to be finished then. And where each step
            # waits for the commit of the one before it, so does the first of the next run.
            together = bool(self.ledger.seconds) and all(well)
            self.ahead = max(1, min(fitting, 2 * self.ahead, _MOST_AHEAD)) if together else 1

    def _next(self) -> list[Task]:
        """Return what is to run next; while there is nothing, all that was done is on the disk, and told."""
        try:
            tasks = [self.tasks.get_nowait()]
        except queue.Empty:
            self.ledger.flush()
            tasks = [self.tasks.get()]
        with suppress(queue.Empty):
            while len(tasks) < self.ahead:
                tasks.append(self.tasks.get_nowait())
        return tasks

    def _run(self, task: Task, begun: _Begun) -> bool:
        """Run a partition, see to it that its end is told, and return whether it ended well."""
        started = time.monotonic()
        self.say({"at": task["run_id"]})
        outcome, run = self.runs.outcome_of_begun(task, begun)

        def tell(refusal: FlowctxError | None) -> None:
            known = outcome if refusal is None else _not_recorded(refusal)
            self.say({"run_id": task["run_id"], "depth": 2 * self.ahead, **known}, more=run is not None)

        if run is None:
            tell(None)
        else:
            self.ledger.when_committed(run, tell)
        if time.monotonic() - started > _SLOW_SECONDS:
            self._give_back()
        return bool(outcome["state"] != str(RunStatus.FAILED))

    def _give_back(self) -> None:
        """Leave to others what would have to wait, all but one."""
        self.ahead = 1
        waiting = []
        with suppress(queue.Empty):
            while True:
                waiting.append(self.tasks.get_nowait())
        for task in waiting[:1]:
            self.tasks.put(task)
        if waiting[1:]:
            self.say({"returned": [task["run_id"] for task in waiting[1:] if "run_id" in task], "depth": 2})


#: How a partition was begun: what records it, why it could not begin, or nothing yet.
_Begun = Recorder | FlowctxError | None


class _Runs:
    """The runs of one batch."""

    def __init__(
        self,
        resume: Runner,
        plan: Planner,
        run_begun: Runner,
        workflows: Sequence[Workflow],
        ledger: Ledger,
        batch_id: str,
    ) -> None:
        self.resume, self.plan, self.run_begun = resume, plan, run_begun
        self.ledger, self.batch_id, self.strict = ledger, batch_id, strict_from_env()
        self.workflows = {"": workflows[0], **{workflow.name: workflow for workflow in workflows}}

    def begin(self, tasks: Sequence[Task]) -> list[_Begun]:
        """Begin those partitions that are new, all of them in one transaction."""
        planned = [self._planned(task) for task in tasks]
        new = [plan.run for plan in planned if isinstance(plan, RunPlan)]
        if new and isinstance(self.ledger, GroupedLedger):
            self.ledger.begin_ahead(new, LOCAL_LEASE)
        return [self._begun(plan) if isinstance(plan, RunPlan) else plan for plan in planned]

    def _planned(self, task: Task) -> RunPlan | FlowctxError | None:
        if task["known"]:
            return None
        try:
            return self.plan(
                self.workflow_of(task),
                partition=task["partition"],
                params=_params(task),
                batch_id=self.batch_id,
                run_id=task["run_id"],
                step_config=from_json(task["step_config"]) if "step_config" in task else None,
                ledger=self.ledger,
            )
        except FlowctxError as exc:
            return exc

    def _begun(self, plan: RunPlan) -> Recorder | FlowctxError:
        try:
            return begin_run(run_ledger(self.ledger, strict=self.strict), plan, lease=LOCAL_LEASE)
        except FlowctxError as exc:
            return exc

    def outcome(self, task: Task) -> dict[str, Any]:
        """Run a partition and say how it ended."""
        (begun,) = self.begin([task])
        return self.outcome_of_begun(task, begun)[0]

    def outcome_of_begun(self, task: Task, begun: _Begun) -> tuple[dict[str, Any], RunRecord | None]:
        """Run a partition that was begun, and say how it ended, and which run that was if it is recorded."""
        started = datetime.now(UTC)
        try:
            ended = self._ended(task) if task.get("again") else None
            if ended is not None:
                return ended, None
            result = self.result(task, begun)
        except (FlowctxError, OSError) as exc:  # the run could not begin, or not be recorded
            return _not_recorded(exc), None
        failed = next((entry for entry in result.steps if entry.status is StepStatus.FAILED), None)
        outcome = {
            "state": str(result.status),
            "attempt": result.context.checkpoint.attempt if result.context.checkpoint else 1,
            "started_at": started.isoformat(),
            "step": failed.name if failed else None,
            "error": failed.error if failed else None,
        }
        return outcome, RunRecord(workflow=self.workflow_of(task).name, context=result.context)

    def _ended(self, task: Task) -> dict[str, Any] | None:
        """Return how a partition ended whose worker died before it could tell."""
        try:
            run = self._run_of(task)
        except UnknownRun:
            return None
        if run.status is RunStatus.RUNNING:
            return None
        failed = next((one for one in self.ledger.steps(run.key) if one.status is StepStatus.FAILED), None)
        return {
            "state": str(run.status),
            "attempt": run.attempt,
            "started_at": (run.begun_at or run.context.started_at).isoformat(),
            "step": failed.step if failed else None,
            "error": failed.error if failed else run.error,
        }

    def skipped_steps(self, run: RunRecord) -> list[str]:
        """Return the steps of a skipped run that are to run again: it was asked for, or the run would be left alone."""
        if run.status is not RunStatus.SKIPPED:
            return []
        return [name for name, how in self.ledger.statuses(run.key).items() if how is StepStatus.SKIPPED]

    def _run_of(self, task: Task) -> RunRecord:
        workflow = self.workflow_of(task)
        key = workflow.partition_key(task["partition"])
        return self.ledger.get_run(task["run_id"], workflow=workflow.name, partition=key)

    def workflow_of(self, task: Task) -> Workflow:
        """Return the workflow that a task is of: the batch's first, unless it says which."""
        return self.workflows[task.get("workflow", "")]

    def result(self, task: Task, begun: _Begun) -> RunResult:
        """Run a partition, or go on with it if it was begun before."""
        if task["known"]:
            try:
                before = self._run_of(task)
                return self.resume(
                    task["run_id"],
                    self.workflow_of(task),
                    partition=task["partition"],
                    params=changed_params(_params(task), before),
                    from_step=task.get("from_step") or self.skipped_steps(before),
                    accept_changes=task.get("accept_changes", False),
                    ledger=self.ledger,
                    # It is left from the launch before this one, whose workers are gone with it.
                    take_over=has_worker_of(before, self.batch_id),
                )
            except UnknownRun:
                # What is known of it happened on another engine, or before it began.
                (begun,) = self.begin([{**task, "known": False}])
        if isinstance(begun, Recorder):
            return self.run_begun(self.workflow_of(task), begun)
        assert begun is not None  # noqa: S101 - what is not known was begun, or could not be
        raise begun


def _params(task: Task) -> Mapping[str, Any]:
    return from_json(task["params"]) if "params" in task else {}


def _not_recorded(exc: Exception) -> dict[str, Any]:
    return {"state": "failed", "error": f"{type(exc).__name__}: {exc}", "attempt": 0}
