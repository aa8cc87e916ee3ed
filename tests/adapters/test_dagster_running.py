"""Runs in this process; that they equal local runs is the engine contract, in test_engines.py."""

import gc
from pathlib import Path

import pytest

from flowctx import StepResult, Workflow, run
from flowctx.core.durability.ledger import Ledger
from flowctx.dagster import run_assets
from flowctx.examples.prices import prices


def test_an_output_may_be_large() -> None:
    """An output over the size that an envelope may have elsewhere is kept in its file, as here."""
    flow = Workflow("flow")

    @flow.step()
    def fetch(ctx):
        return {"rows": ["x" * 100] * 1000}

    @flow.step()
    def count(ctx):
        return {"rows": len(ctx.get_output("fetch", "rows"))}

    assert run_assets(flow).outputs_digest == run(flow).outputs_digest


def test_a_run_is_quiet(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """Dagster says nothing on the console, and nothing warns."""
    gc.collect()  # instances of Dagster that other tests have left, which warn when they go
    recwarn.clear()
    run_assets(prices, partition="2000-09-29|AAPL", params={"max_move": 0.25})
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn.list]


def test_what_is_captured_already_is_skipped(ledger: Ledger) -> None:
    """A run that leaves a captured partition alone ends as the same run here does, step by step."""
    flow = Workflow("captured")
    flow.step("one")(lambda ctx: {"n": 1})
    flow.step("two")(lambda ctx: {"n": 2})
    run(flow, ledger=ledger, batch_id="b")
    here, there = run(flow, ledger=ledger, on_captured="skip"), run_assets(flow, on_captured="skip")
    assert there.status == "skipped"
    assert "is captured already by run" in str(there["one"].error)
    assert there.steps == here.steps


def test_what_fails_beside_a_step_says_why(ledger: Ledger, tmp_path: Path) -> None:
    """Dagster's own word for it only says where it was; the reason is that of the exception beneath."""
    flow = Workflow("gone", params={"fix": False})
    flow.step("rows")(lambda ctx: {"rows": list(range(20_000))})
    flow.step("sum")(lambda ctx: {"n": 1} if ctx.params["fix"] else StepResult.fail("not yet", category="DATA_QUALITY"))
    failed = run(flow, ledger=ledger)
    for file in filter(Path.is_file, tmp_path.glob("*.artifacts/**/*")):
        file.unlink()
    done = run_assets(flow, params={"fix": True}, resume_from=failed.run_id)
    assert (done.status, done["rows"].status) == ("failed", "failed")
    assert "ArtifactError: cannot read" in str(done["rows"].error)
    assert "executing op" not in str(done["rows"].error)
