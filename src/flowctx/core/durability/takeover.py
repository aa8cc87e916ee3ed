"""Tell the dead from the living: a capture whose holder is over, as its engine says, is taken over at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.recorded import find_run
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.durability.run_plan import RunPlan, begin_run
from flowctx.core.errors import CaptureHeld, RunAlive

#: Says how a run ended, as its engine tells it; ``None``: it goes on, or nobody here can know.
EndOf = Callable[[RunRecord], RunStatus | None]


def begin_or_take_over(recorded_in: RunLedger, ledger: Ledger | None, plan: RunPlan, end_of: EndOf) -> Recorder:
    """Begin a run as it was planned; if others are in its way, ask their engines whether those are over.

    Args:
        recorded_in: What the run is recorded in.
        ledger: The ledger itself, if there is one.
        plan: The plan.
        end_of: Says how another run ended.

    Raises:
        CaptureHeld: Another run holds the capture and is not over.
        RunAlive: The run that is to be continued is not over.
        LedgerError: As for :func:`~flowctx.core.durability.run_plan.begin_run`.
    """
    while True:
        try:
            return begin_run(recorded_in, plan)
        except (CaptureHeld, RunAlive):
            if ledger is None:
                raise
            others = list(_in_the_way(ledger, plan))
            ended = [_end(ledger, other, end_of) for other in others]  # each of them, before the next try
            if not any(ended):
                raise


def _in_the_way(ledger: Ledger, plan: RunPlan) -> Iterator[RunRecord]:
    if plan.resume is not None:
        yield plan.resume.run
    for capture in ledger.captures(idempotency_key=plan.run.context.idempotency_key):
        if capture.state is CaptureState.HELD and capture.run_id not in (None, plan.run.run_id):
            holder = find_run(ledger, str(capture.run_id), capture.workflow or plan.run.workflow, capture.partition)
            if holder is not None:
                yield holder


def _end(ledger: Ledger, run: RunRecord, end_of: EndOf) -> bool:
    status = end_of(run)
    return status is not None and end_run(ledger, run, status, "it died; its engine says that it is over") is not None
