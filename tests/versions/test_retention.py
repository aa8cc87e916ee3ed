"""What pruning keeps: what is current, what that was built from, the last versions, and batches that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import Outputs, PartitionScheme, StepResult, VersionGone, Workflow, WorkflowContext, outputs, run
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock
from flowctx.versions.lineage import lineage

TIERS, BATCHES = ("T1", "T2"), ("b1", "b2", "b3", "b4")
MINUTE = timedelta(minutes=1)
SCHEME = PartitionScheme(tier=TIERS)
source = Workflow("source", partitions=SCHEME, params={"value": 1, "skip": False})
single = Workflow("single", partitions=SCHEME)
every = Workflow("every", partitions=PartitionScheme(all=["one"]))


@source.step()
def number(ctx: WorkflowContext) -> StepResult:
    """The parameter, or nothing."""
    return StepResult.skip("none") if ctx.params["skip"] else StepResult.ok({"n": ctx.params["value"]})


@single.step(inputs={"own": source.output("number").optional()})
def doubled(ctx: WorkflowContext, *, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Twice what was read."""
    return {"n": 2 * own["n"] if own else 0}


@every.step(inputs={"all_of_them": single.output("doubled").where(tier=TIERS).optional()})
def together(ctx: WorkflowContext, *, all_of_them: Outputs) -> dict[str, Any]:
    """The sum of what was read."""
    return {"n": sum(output["n"] for output in all_of_them.values())}


RUNS = st.tuples(
    st.sampled_from([source, source, single, every]),
    st.sampled_from(TIERS),
    st.sampled_from(BATCHES),
    st.integers(0, 9),
)
HISTORIES = st.lists(RUNS, max_size=14)


def read(ledger: Any, workflow: Workflow, **which: Any) -> dict[str, Any]:
    step = next(iter(workflow.steps))
    return {str(key): output["n"] for key, output in outputs(workflow, step, ledger=ledger, **which).items()}


def versions_of(ledger: Any, workflow: Workflow, tier: str) -> list[Any]:
    """Return the readable versions of a partition, the last first."""
    key = workflow.partition_key(tier if workflow is not every else "one")
    found = [v for v in ledger.versions(workflow.name, next(iter(workflow.steps)), [key]) if v.ended_well]
    return sorted(found, key=lambda version: -version.revision)


def check(ledger: Any, clock: FakeClock, history: list[Any], kept: str, count: int, age: int) -> None:
    """Run a history, prune it, and see that all is there that the policy keeps."""
    for place, (workflow, tier, batch, value) in enumerate(history):
        params = {"value": value, "skip": value == 0} if workflow is source else {}
        how = {"params": params, "batch_id": batch, "run_id": f"run-{place}", "ledger": ledger, "clock": clock}
        run(workflow, partition=tier if workflow is not every else "one", **how)
        clock.advance(MINUTE)
    if any(batch == kept for _, _, batch, _ in history):
        ledger.batches.keep(kept)
    current = {workflow.name: read(ledger, workflow) for workflow in (source, single, every)}
    last = {(w.name, tier): versions_of(ledger, w, tier) for w in (source, single, every) for tier in TIERS}
    built = {run.run_id: len(lineage(ledger, run)) for run in ledger.list_runs(limit=100)}
    of_kept = {run.run_id for run in ledger.list_runs(batch_id=kept, limit=100)}
    would, _ = ledger.would_prune(clock.now() - age * MINUTE, versions=count)
    assert ledger.prune(clock.now() - age * MINUTE, versions=count) == would
    assert {workflow.name: read(ledger, workflow) for workflow in (source, single, every)} == current
    left = {run.run_id: run for run in ledger.list_runs(limit=100)}
    assert of_kept <= left.keys()
    for (name, tier), versions in last.items():
        workflow = next(w for w in (source, single, every) if w.name == name)
        assert versions_of(ledger, workflow, tier)[:count] == versions[:count]
    for run_id, made in left.items():  # whatever stays still knows what it was built from
        found = lineage(ledger, made)
        assert (len(found), [one.problem for one in found if "pruned" in str(one.problem)]) == (built[run_id], [])


@settings(max_examples=80)
@given(HISTORIES, st.sampled_from(BATCHES), st.integers(1, 3), st.integers(0, 5))
def test_pruning_never_removes_what_the_policy_keeps(history, kept, count, age):
    """For random histories of workflows that read each other, by age, by number, and by batch."""
    clock = FakeClock()
    check(MemoryLedger(clock), clock, history, kept, count, age)


@settings(max_examples=3)
@given(HISTORIES.filter(lambda history: len(history) > 8), st.sampled_from(BATCHES), st.integers(1, 2), st.just(0))
def test_a_database_keeps_the_same(tmp_path_factory, history, kept, count, age):
    """The same rule, in a database."""
    clock = FakeClock()
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
    ledger = SqlLedger(url, clock=clock)
    check(ledger, clock, history, kept, count, age)
    ledger.close()


def test_pruning_forgets_what_nothing_keeps():
    """A version that was superseded, and that nothing was built from, goes; what was known then is an error."""
    clock = FakeClock()
    ledger = MemoryLedger(clock)
    for batch, value in (("b1", 1), ("b2", 2), ("b3", 3)):
        run(source, partition="T1", params={"value": value}, batch_id=batch, ledger=ledger, clock=clock)
        if batch == "b2":
            run(single, partition="T1", batch_id=batch, ledger=ledger, clock=clock)
        clock.advance(MINUTE)
    assert ledger.prune(clock.now()).runs == 1
    assert read(ledger, source, batch_id="b2") == {"tier=T1": 2}
    assert read(ledger, source) == {"tier=T1": 3}
    with pytest.raises(VersionGone, match="was pruned"):
        read(ledger, source, revision=1)
