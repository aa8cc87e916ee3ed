"""Processes that do the same thing at the same moment, round after round."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from durable_flow import flow
from flowctx import FlowctxError, StepResult, StepStatus, Workflow, resume, run
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import CaptureKey, RunRecord, StepRecord
from flowctx.ledger import open_ledger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from forking import processes

#: Fails at its second step unless told otherwise; notes each call of a step in a file.
halting = Workflow("halting", params={"halt": True, "effects": ""})


def _note(ctx, name):
    with open(ctx.params["effects"], "a", encoding="utf-8") as file:
        file.write(f"{name}\n")


@halting.step(name="a")
def first(ctx):
    _note(ctx, "a")


@halting.step(name="b")
def second(ctx):
    if ctx.params["halt"]:
        return StepResult.fail("not yet", category="DATA_QUALITY")
    _note(ctx, "b")
    return StepResult.ok()


@halting.step(name="c")
def third(ctx):
    _note(ctx, "c")


def _resume(ledger, number, run_id, effects):
    return str(resume(run_id, halting, params={"halt": False}, ledger=ledger).status)


def _run(ledger, number, run_id, effects):
    return str(run(halting, run_id=run_id, params={"halt": False, "effects": effects}, ledger=ledger).status)


def _claim(ledger, number, run_id, effects):
    key = CaptureKey(idempotency_key=run_id, capture_id=run_id)
    return f"token {ledger.claim(key, holder=f'racer {number}', lease=timedelta(minutes=1)).fencing_token}"


def _lead(ledger, number, run_id, effects):
    batch = BatchRecord(batch_id=run_id, workflow="flow", selection=f"by {number}", created_at=NOON)
    leader = ledger.batches.lead(run_id, f"racer {number}", timedelta(minutes=1), lambda known: batch).launcher
    return "leads" if leader == f"racer {number}" else f"Refused: {leader} leads"


def _refused_or_cancels(ledger, number, run_id, effects):
    """The first cancels a batch that somebody launches; the others want to launch it."""
    if number:
        return _lead(ledger, number, run_id, effects)
    return "canceled" if ledger.batches.cancel(run_id).canceled_at else "not canceled"


def _takes_over(ledger, number, run_id, effects):
    """The first completes the capture that it holds since its lease ran out; the others claim it."""
    if number:
        return _claim(ledger, number, run_id, effects)
    (held,) = ledger.captures(idempotency_key=run_id)
    return str(ledger.close_capture(replace(held, fencing_token=1), complete=True).state)


def _begins_instead(ledger, number, run_id, effects):
    """The first goes on with its run, whose lease ran out; the others begin runs that write the same capture."""
    if number:
        return str(ledger.begin(same_capture(f"{run_id}-{number}", run_id)).capture is not None)
    step = StepRecord(step="a", status=StepStatus.OK, started_at=NOON)
    ledger.record(replace(ledger.get_run(run_id), fencing_token=1), [step])
    return "recorded"


def same_capture(run_id, capture_id):
    """Return one of several runs that write one capture."""
    ctx = make_context(workflow="halting", run_id=run_id, capture_id=capture_id, idempotency_key=capture_id)
    return RunRecord(workflow="halting", context=ctx, steps=("a",))


_ACTIONS = {
    "resume": _resume,
    "run": _run,
    "claim": _claim,
    "lead": _lead,
    "lead or cancel": _refused_or_cancels,
    "take over": _takes_over,
    "begin instead": _begins_instead,
}


def _race(number, gates, line):
    ledgers = {}
    while (order := line.recv()) is not None:
        count, url, action, run_id, effects = order
        if url not in ledgers:
            for ledger in ledgers.values():
                ledger.close()
            ledgers = {url: open_ledger(url)}
            ledgers[url].list_runs(limit=1)  # the connection is there, and the race is about the rest
        gates[count].wait()
        try:
            line.send(_ACTIONS[action](ledgers[url], number, run_id, effects))
        except FlowctxError as exc:
            line.send(f"{type(exc).__name__}: {exc}")
        except BaseException as exc:
            line.send(f"RAW {type(exc).__name__}: {exc}")


class Racers:
    """Processes that are there for all races, of which the first so many take part in one.

    Args:
        counts: How many may take part.
    """

    def __init__(self, counts):
        self._gates = {count: processes.Barrier(count) for count in counts}
        self._lines, self._children = [], []
        for number in range(max(counts)):
            ours, theirs = processes.Pipe()
            self._children.append(processes.Process(target=_race, args=(number, self._gates, theirs)))
            self._children[-1].start()
            self._lines.append(ours)

    def go(self, count, url, action, run_id, effects=""):
        """Have them do something at once, and return what became of it for each."""
        for line in self._lines[:count]:
            line.send((count, url, action, run_id, effects))
        return [line.recv() for line in self._lines[:count]]

    def close(self):
        """Send them home."""
        for line in self._lines:
            line.send(None)
        for child in self._children:
            child.join()


__all__ = ["Racers", "flow", "halting", "same_capture"]
