"""Steps that may be left out, may fail, or always run: here, in the ledger, in resumed runs and in the command line."""

import json

import pytest
from click.testing import CliRunner

from flowctx import StepResult, StepStatus, Workflow, replay, resume, run
from flowctx.cli import cli
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing.engine_flows import notified

CALLED = []
cleaned = Workflow("cleaned", params={"broken": True})


@cleaned.step()
def stage(ctx):
    """Make what is to be cleaned up."""
    return StepResult.ok({"table": "t1"}, {"staged": "t1"})


@cleaned.step()
def load(ctx):
    """Fail, if so wished."""
    if ctx.params["broken"]:
        raise ConnectionError("no answer")
    return {"rows": 3}


@cleaned.step()
def publish(ctx):
    """Come after it."""
    return {"published": ctx.get_output("load", "rows")}


@cleaned.step(run_if="always")
def clean_up(ctx):
    """Drop the table, whatever happened."""
    CALLED.append(sorted(ctx.step_outputs))
    return {"dropped": ctx.get_output("stage", "table"), "staged": ctx.params["staged"]}


@pytest.fixture
def ledger():
    """A ledger in memory."""
    return MemoryLedger()


def test_a_clean_up_runs_after_a_failure_and_hides_nothing(ledger):
    """It sees what there was before the failure; the run failed all the same, and can be resumed."""
    CALLED.clear()
    result = run(cleaned, ledger=ledger)
    assert [str(step.status) for step in result.steps] == ["ok", "failed", "not_run", "ok"]
    assert (result.status, result.error_step, CALLED) == (StepStatus.FAILED, "load", [["stage"]])
    assert result.context.get_output("clean_up") == {"dropped": "t1", "staged": "t1"}
    assert ledger.get_run(result.run_id).error == "step 'load': ConnectionError: no answer"
    assert replay(result.run_id, "clean_up", cleaned, ledger=ledger).diff == ""

    done = resume(result.run_id, cleaned, params={"broken": False}, ledger=ledger)
    assert (done.status, CALLED[-1]) == (StepStatus.OK, ["load", "publish", "stage"])
    (capture,) = ledger.captures()
    assert capture.state is CaptureState.COMPLETE


def test_an_optional_failure_is_recorded_and_in_the_way_of_no_capture(ledger):
    """The run is ok, its capture complete, and both say which step failed; it is not run again."""
    result = run(notified(), ledger=ledger)
    known = ledger.get_run(result.run_id)
    assert (known.status, known.error) == (
        RunStatus.OK,
        "optional step 'notify': ConnectionError: the mail server does not answer",
    )
    record = {step.step: step for step in ledger.steps(known.key)}["notify"]
    assert (record.status, record.attempts, "notify" in str(record.traceback)) == (StepStatus.TOLERATED, 2, True)
    assert [capture.state for capture in ledger.captures()] == [CaptureState.COMPLETE]
    again = resume(result.run_id, notified(), ledger=ledger)
    assert (again.status, again["notify"].status, again["notify"].error) == (
        StepStatus.OK,
        StepStatus.TOLERATED,
        result["notify"].error,
    )
    assert again.context.get_output("report") == {"sent": False, "stored": [3, 0]}


def test_what_is_after_a_skip_and_an_optional_failure_goes_on_in_a_resumed_run(ledger):
    """A resumed run finds skipped and tolerated steps done, and the outputs of those before them."""
    flow, broken = notified(), [True]

    @flow.step()
    def last(ctx):
        if broken:
            raise ConnectionError("no answer")
        return {"seen": sorted(ctx.step_outputs)}

    first = run(flow, ledger=ledger)
    broken.clear()
    done = resume(first.run_id, flow, ledger=ledger)
    assert (first.error_step, done.status, done["notify"].attempts) == ("last", StepStatus.OK, 2)
    assert done.context.get_output("last", "seen") == ["fetch", "report", "store"]


def test_the_command_line_tells_of_it(tmp_path):
    """`runs`, `show` and `status` say that an optional step failed, although the run is ok."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    run_id = run(notified(), batch_id="b", ledger=url).run_id
    shown = CliRunner().invoke(cli, ["show", run_id, "--ledger", url])
    assert "tolerated" in shown.output
    assert "the mail server does not answer" in shown.output
    runs = json.loads(CliRunner().invoke(cli, ["runs", "--json", "--ledger", url]).output)
    assert [entry["error"] for entry in runs] == [
        "optional step 'notify': ConnectionError: the mail server does not answer"
    ]
    status = CliRunner().invoke(cli, ["status", "b", "--ledger", url])
    assert "optional step 'notify'" in status.output
