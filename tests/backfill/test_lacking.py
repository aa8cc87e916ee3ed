"""What of a batch lacks inputs is known before it begins."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from backfill import desk
from flowctx import Backfill, BusinessCalendar, Daily, PartitionScheme, StepResult, Workflow, run
from flowctx.backfill import JointBackfill, LocalLauncher, lacking
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.lacking import Lacking, inputs_lacking
from flowctx.cli import cli
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger.memory import MemoryLedger

DAYS = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"))


def flows(*, optional: bool = False, days: PartitionScheme = DAYS) -> tuple[Workflow, Workflow]:
    """Return a source, which fails for what its parameter names, and what reads each date of it and the one before."""
    source, reader = Workflow("source", partitions=DAYS, params={"bad": ""}), Workflow("reader", partitions=days)

    @source.step()
    def value(ctx):  # type: ignore[no-untyped-def]
        bad = str(ctx.as_of_date) == ctx.params["bad"]
        return StepResult.fail("no price", category="DATA_QUALITY") if bad else {"n": 1}

    item = source.output(value)
    inputs = {"now": item.optional() if optional else item, "before": reader.output("line").previous()}

    @reader.step(inputs=inputs)
    def line(ctx, *, now, before):  # type: ignore[no-untyped-def]
        return {"n": 1}

    return source, reader


def found(ledger: Ledger, *workflows: Workflow, select: str | None = None, **again: bool) -> Lacking:
    """Return what lacks inputs of a batch."""
    plans = [Backfill(workflow, select, "b", ledger=ledger) for workflow in workflows]
    return inputs_lacking(plans[0] if len(plans) == 1 else JointBackfill(plans), RunsAgain(**again))


def test_what_nobody_has_captured_is_lacking_and_all_that_hangs_on_it() -> None:
    """A date that reads the one before lacks what that lacks; where all is there, or optional, nothing lacks."""
    ledger = MemoryLedger()
    source, reader = flows()
    for day in ("2026-01-05", "2026-01-06", "2026-01-08"):
        run(source, partition=day, ledger=ledger)
    lacks = found(ledger, reader)
    assert lacks == Lacking(count=3, first="date=2026-01-07 needs date=2026-01-07 of source", cut=False)
    assert found(ledger, reader, select="date=..2026-01-06").count == 0
    assert found(ledger, reader, select="date=2026-01-06").first == "date=2026-01-06 needs date=2026-01-05 of reader"
    assert found(ledger, source).count == 0
    assert found(MemoryLedger(), flows(optional=True)[1]).count == 0


def test_what_the_batch_makes_is_not_lacking() -> None:
    """Unless it has failed and does not run again: then what reads it waits."""
    ledger = MemoryLedger()
    source, reader = flows()
    assert found(ledger, reader, source).count == 0
    run(source, partition="2026-01-08", batch_id="b", params={"bad": "2026-01-08"}, ledger=ledger)
    lacks = found(ledger, source, reader)
    assert (lacks.count, lacks.first) == (2, "date=2026-01-08 of reader needs date=2026-01-08 of source")
    assert found(ledger, source, reader, retry_failed=True).count == 0


def test_a_skipped_source_is_there_and_a_failed_one_is_not() -> None:
    """As it is for the step that reads it."""
    ledger = MemoryLedger()
    source, reader = flows()
    run(source, partition="2026-01-05", params={"bad": "2026-01-05"}, ledger=ledger)
    assert found(ledger, reader, select="date=2026-01-05").count == 1
    run(source, partition="2026-01-05", ledger=ledger)
    assert found(ledger, reader, select="date=2026-01-05").count == 0


def test_a_date_that_the_source_has_not_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why there is nothing to read, also where a calendar does not reach; of very many, some are looked at."""
    later = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-12"))
    ledger = MemoryLedger()
    _, reader = flows(days=later)
    lacks = found(ledger, reader, select="date=2026-01-12")
    assert lacks.first.startswith("date=2026-01-12 has no partition of source to read (")
    monkeypatch.setattr(lacking, "MAX_LOOKED_AT", 2)
    lacks = found(ledger, reader)
    assert lacks.cut
    assert lacks.text == "2 of the first 2: date=2026-01-05 needs date=2026-01-05 of source"
    assert Lacking(count=0, first="", cut=True).text == "none of the first 2"
    short = BusinessCalendar.from_holidays("SHORT", [], first="2026-01-01", last="2026-01-07")
    known = Workflow("known", partitions=PartitionScheme(date=Daily(start="2026-01-05", calendar=short)))
    known.step(name="value")(lambda ctx: {})
    knows = Workflow("knows", partitions=DAYS)
    knows.step(name="line", inputs={"now": known.output("value")})(lambda ctx, *, now: {})
    assert "date=2026-01-08 cannot be read for: " in found(ledger, knows, select="date=2026-01-08").first


def test_the_dry_run_says_how_many_lack_inputs(url: str) -> None:
    """And so many fail, or wait."""

    def shell(*args: str) -> str:
        place = f"{desk.__name__}:desk"
        fill = ["backfill", place, "--batch", "b", "--select", "date=2013-01-02..2013-01-04", "--dry-run"]
        return CliRunner().invoke(cli, [*fill, *args], env={"FLOWCTX_LEDGER_URL": url}).stdout

    assert "lack inputs  3: date=2013-01-02 needs date=2013-01-02|fund=A and 1 more of nav" in shell()
    planned = json.loads(shell("--json"))
    assert (planned["would_run"], planned["lack_inputs"]) == (3, 3)
    assert planned["first_lacks"].startswith("date=2013-01-02 needs")


def test_as_many_fail_as_lack_inputs(ledger: Ledger) -> None:
    """What was said before the launch is what becomes of it."""
    plan = Backfill(desk.nav, "date=2013-01-02", "first", ledger=ledger)
    assert plan.launch(LocalLauncher(ledger, workers=1)).complete
    reading = Backfill(desk.desk, "date=2013-01-02..2013-01-04", "b", ledger=ledger)
    assert inputs_lacking(reading, RunsAgain()).count == 2
    assert reading.launch(LocalLauncher(ledger, workers=1)).ended["failed"] == 2
