"""Machines whose clocks are wrong, and what they do with one ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowctx import FlowctxError
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import CaptureKey
from flowctx.ledger import open_ledger
from flowctx.testing.clock import NOON
from forking import processes
from racing import same_capture

KEY = CaptureKey(idempotency_key="subject", capture_id="capture")
LEASE = timedelta(minutes=2)
BATCH = BatchRecord(batch_id="b1", workflow="flow", created_at=NOON)

#: What somebody does who comes second; each is refused while the first one's lease runs.
SECOND = {
    "claims the capture": lambda ledger: f"token {ledger.claim(KEY, holder='second', lease=LEASE).fencing_token}",
    "resumes the run": lambda ledger: str(
        ledger.begin(same_capture("r1", "r1"), resumes=ledger.get_run("r1"), take_over=False).fencing_token
    ),
    "takes the run's capture": lambda ledger: ledger.begin(same_capture("r2", "r1")).run_id,
    "launches the batch": lambda ledger: ledger.batches.lead("b1", "second", LEASE, lambda known: BATCH).launcher,
}


def first(ledger):
    """Hold a capture, a run and a batch."""
    ledger.claim(KEY, holder="first", lease=LEASE)
    ledger.begin(same_capture("r1", "r1"), lease=LEASE)
    ledger.batches.lead("b1", "first", LEASE, lambda known: BATCH)


def on_a_clock(minutes, url, is_first, line):
    """Be the first or the second, on a machine whose clock is so many minutes fast."""
    import time_machine

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minutes), tick=True):
        ledger = open_ledger(url)
        if is_first:
            first(ledger)
            line.send(ledger.now())
            line.recv()
        else:
            line.send({what: told(ledger, act) for what, act in SECOND.items()})
        ledger.close()


def told(ledger, act):
    """Return what comes of an act, or which error."""
    try:
        return act(ledger)
    except FlowctxError as exc:
        return type(exc).__name__


def started(minutes, url, *, is_first):
    """Return a process and the line to it."""
    ours, theirs = processes.Pipe()
    child = processes.Process(target=on_a_clock, args=(minutes, url, is_first, theirs))
    child.start()
    return child, ours
