"""What failed and could not go on now, since its workflow has changed, is known before a launch is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from flowctx import Backfill, BatchStatus, PartitionScheme, StepResult, Workflow, run
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.changed import refused_again, refused_now
from flowctx.backfill.status import refusals
from flowctx.cli import cli
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger

TIERS = PartitionScheme(tier=["T1", "T2"])
SOURCE = """
from flowctx import PartitionScheme, StepResult, Workflow

flow = Workflow("changing", partitions=PartitionScheme(tier=["T1", "T2"]))
flow.step(name="load", version="{version}")(lambda ctx: {{}})
flow.step(name="check")(lambda ctx: StepResult.fail("too bad", category="DATA_QUALITY"))
"""


def flow_of(version: str, **params: object) -> Workflow:
    """Return a workflow of which the second step fails."""
    flow = Workflow("changing", partitions=TIERS, params=params)
    flow.step(name="load", version=version)(lambda ctx: {})
    flow.step(name="check", version="1")(lambda ctx: StepResult.fail("too bad", category="DATA_QUALITY"))
    return flow


def failed(ledger: Ledger, **params: object) -> None:
    """Run a batch of two partitions that fail."""
    plan = Backfill(flow_of("1"), None, "b", ledger=ledger, params=params)
    ledger.batches.put(plan.record())
    for tier in ("T1", "T2"):
        run(flow_of("1"), partition=tier, batch_id="b", ledger=ledger)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (flow_of("1"), None),
        (flow_of("2"), "the code of step 'load' changed: it ran as 1 and is 2 now"),
        (flow_of("1", limit=3), "parameter 'limit' was added"),
        (Workflow("another"), None),
    ],
)
def test_what_has_changed_is_known_before_a_launch(ledger: Ledger, now: Workflow, why: str | None) -> None:
    """Each failure that would be refused is told, with one reason for all that have it."""
    failed(ledger)
    status = BatchStatus.of(ledger, "b")
    found = refused_now(ledger, status.batch, [now], status.failures)
    assert [one.partition for one in found] == ([] if why is None else ["tier=T1", "tier=T2"])
    assert len(set(refusals(found))) == (why is not None)
    assert all(
        f"WorkflowChanged: workflow 'changing' has changed since run RUN ran: - {why};" in r for r in refusals(found)
    )


def test_a_parameter_that_the_batch_gives_is_no_change(ledger: Ledger) -> None:
    """The launch gives it to what goes on."""
    failed(ledger)
    plan = Backfill(flow_of("1", limit=3), None, "b", ledger=ledger, params={"limit": 4})
    ledger.batches.put(plan.reconcile(extend=True))
    status = BatchStatus.of(ledger, "b")
    assert refused_now(ledger, status.batch, [flow_of("1", limit=3)], status.failures) == []


def test_status_advises_to_accept_changes_before_a_launch(url, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """It imports the workflow that is typed, says what has changed, and which options go on."""
    monkeypatch.chdir(tmp_path)

    def shell(*args: str) -> str:
        return CliRunner().invoke(cli, list(args), env={"FLOWCTX_LEDGER_URL": url}).output

    for version in ("1", "2"):
        (tmp_path / f"changing_{version}.py").write_text(SOURCE.format(version=version))
    for tier in ("T1", "T2"):
        shell("run", "changing_1.py:flow", "--partition", tier, "--batch", "b")
    same, other = (shell("status", "b", "--workflow", f"changing_{version}.py:flow") for version in ("1", "2"))
    assert "2 DATA_QUALITY: once the source is corrected" in same
    assert "would not go on" not in same
    assert re.search(
        r"\nwould not go on\n.*\n2 +WorkflowChanged: .*the code of step 'load' changed: it ran as 1", other
    )
    assert "2 workflow changed: flowctx resume RUN --from-step STEP (the first that has changed); or " in other
    assert "flowctx resume RUN --accept-changes keeps what they have\n" in other


def test_the_dry_run_says_what_could_not_go_on(ledger: Ledger) -> None:
    """Before the launch is refused and after; not where changes are accepted, or what has changed runs again."""
    failed(ledger)
    plan = Backfill(flow_of("2"), None, "b", ledger=ledger)
    retry = RunsAgain(retry_failed=True)
    for _ in range(2):
        [(why, count)] = refused_again(plan, [plan.workflow], retry).items()
        assert (count, "the code of step 'load' changed" in why) == (2, True)
        state: dict[str, Any] = {
            "state": PartitionState.FAILED,
            "engine": "airflow",
            "last_seen_at": datetime.now(UTC),
            "attempt": 0,
        }
        failures = BatchStatus.of(ledger, "b").failures
        ledger.batches.record_outcomes(
            "b", [PartitionRun(partition=r.partition, run_id=r.run_id, error=why, **state) for r in failures]
        )
    for again in (RunsAgain(), replace(retry, accept_changes=True), replace(retry, from_step="load")):
        assert refused_again(plan, [plan.workflow], again) == {}
    other = Backfill(flow_of("2"), None, "new", ledger=ledger)
    assert refused_again(other, [other.workflow], retry) == {}
