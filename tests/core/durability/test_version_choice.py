"""What was known at a time is what a naive model of two times says; or an error, never a guess."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import PartitionScheme, StepResult, VersionGone, Workflow, WorkflowContext, outputs, run
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing.clock import NOON, FakeClock

TIERS, BATCHES = ("T1", "T2"), ("b1", "b2", "b3")
MINUTE = timedelta(minutes=1)
flow = Workflow("tiers", partitions=PartitionScheme(tier=TIERS), params={"outcome": "ok", "value": 0})


@flow.step()
def rate(ctx: WorkflowContext) -> StepResult:
    """End as the parameters say."""
    if ctx.params["outcome"] == "skip":
        return StepResult.skip("nothing")
    if ctx.params["outcome"] == "fail":
        return StepResult.fail("no", category="DATA_QUALITY")
    return StepResult.ok({"rate": ctx.params["value"]})


@dataclass
class Written:
    """A version, from when to when it could be read."""

    revision: int
    since: datetime
    value: int | None
    until: datetime | None = None


@dataclass
class Model:
    """What was written, in order of time: nothing is ever replaced."""

    written: dict[tuple[str, str], list[Written]] = field(default_factory=dict)
    revisions: dict[str, list[str]] = field(default_factory=dict)

    def run(self, now: datetime, tier: str, batch: str, outcome: str, value: int) -> None:
        """Note what a run does."""
        order = self.revisions.setdefault(tier, [])
        if batch not in order:
            order.append(batch)
        versions = self.written.setdefault((tier, batch), [])
        if versions and versions[-1].until is None:
            versions[-1].until = now
        if outcome != "fail":
            versions.append(Written(order.index(batch) + 1, now, value if outcome == "ok" else None))

    def known_at(self, time: datetime, tier: str) -> Any:
        """Return what was known: a value, ``None`` for nothing, or the error where it was written over since."""
        found, is_lost = Written(0, time, None), False
        for (of, _), versions in self.written.items():
            if of != tier or not versions or versions[0].revision < found.revision:
                continue
            now = [one for one in versions if one.since <= time and (one.until is None or time < one.until)]
            # Of a capture that was written over only its first time and its last are kept: between them is no answer.
            ends = [one.until for one in versions if one.until is not None]
            blurred = bool(ends) and versions[0].since <= time < ends[-1]
            if now or blurred:
                found, is_lost = (now or versions)[0], blurred
        return VersionGone if is_lost else found.value


RUNS = st.tuples(
    st.sampled_from(TIERS),
    st.sampled_from(BATCHES),
    st.sampled_from(["ok", "ok", "ok", "skip", "fail"]),
    st.integers(1, 9),
)


def answers(ledger: Any, time: datetime | None) -> dict[str, Any]:
    """Return what the ledger says of each tier."""
    found: dict[str, Any] = {}
    for tier in TIERS:
        try:
            one = outputs(flow, "rate", f"tier={tier}", known_at=time, ledger=ledger)
            found[tier] = one.last["rate"] if one.last else None
        except VersionGone:
            found[tier] = VersionGone
    return found


HISTORIES = st.lists(RUNS, max_size=9)


@settings(max_examples=60)
@given(history=HISTORIES, pruned=st.integers(0, 9))
def test_what_was_known_is_what_a_naive_model_says(history, pruned):
    """At every minute of a history; and pruning takes answers away, but never changes one."""
    clock = FakeClock()
    check_history(MemoryLedger(clock), clock, history, pruned)


@settings(max_examples=2)
@given(history=HISTORIES.filter(lambda history: len(history) > 5), pruned=st.integers(3, 9))
def test_a_database_says_the_same(tmp_path_factory, history, pruned):
    """What was known, and what was pruned, is the same in a database."""
    clock = FakeClock()
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
    check_history(SqlLedger(url, clock=clock), clock, history, pruned)


def check_history(ledger: Any, clock: FakeClock, history: list[Any], pruned: int) -> None:
    """Run a history, and compare what was known at each of its minutes, before and after pruning."""
    model = Model()
    for number, (tier, batch, outcome, value) in enumerate(history):
        model.run(clock.now(), tier, batch, outcome, value)
        how = {"params": {"outcome": outcome, "value": value}, "batch_id": batch, "run_id": f"run-{number}"}
        run(flow, partition=f"tier={tier}", ledger=ledger, clock=clock, **how)
        clock.advance(MINUTE)
    times = [NOON + number * MINUTE for number in range(-1, len(history) + 1)]
    before = {time: answers(ledger, time) for time in times}
    assert before == {time: {tier: model.known_at(time, tier) for tier in TIERS} for time in times}
    assert answers(ledger, None) == before[times[-1]]
    ledger.prune(NOON + pruned * MINUTE)
    for time, after in ((time, answers(ledger, time)) for time in times):
        assert all(after[tier] in (before[time][tier], VersionGone) for tier in TIERS)
    assert answers(ledger, None) == before[times[-1]]
    ledger.close()
