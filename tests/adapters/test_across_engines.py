"""A run that failed on one engine goes on on another: nothing complete runs again, and nothing comes out differently."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import itertools

import pytest

from flowctx import Daily, PartitionScheme, StepResult, Workflow, replay, resume, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.core.records import CaptureState, RunStatus
from flowctx.dagster.running import run_assets
from flowctx.examples.prices import prices
from flowctx.ledger import open_ledger

APPLE = "2000-09-29|AAPL"
ORDER = ["fetch", "validate", "returns", "volatility", "summarise"]


def on_airflow(workflow, **how):
    """Run or resume on Airflow."""
    return run_dag(workflow_dag(workflow), **how)


def on_dagster(workflow, **how):
    """Run or resume on Dagster."""
    return run_assets(workflow, **how)


def here(workflow, *, resume_from=None, batch_id=None, partition=None, **how):
    """Run or resume in this process; a run that is resumed here keeps its id."""
    if resume_from is not None:
        return resume(resume_from, workflow, partition=partition, **how)
    return run(workflow, partition=partition, batch_id=batch_id, **how)


ENGINES = {"airflow": on_airflow, "dagster": on_dagster, "local": here}
PAIRS = [pytest.param(*pair, id="-".join(pair)) for pair in itertools.permutations(ENGINES, 2)]


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_the_example_goes_on_elsewhere(first, then, ledger):
    """Real prices: stopped by a strict gate on one engine, continued with a wider one on another."""
    undisturbed = run(prices, partition=APPLE, batch_id="b", ledger="memory://").raise_for_failure()
    failed = ENGINES[first](prices, partition=APPLE, batch_id="b", params={"max_move": 0.25})
    done = ENGINES[then](prices, partition=APPLE, resume_from=failed.run_id, params={"max_move": 0.6})
    assert (failed["validate"].status, done.status) == ("failed", "ok"), done.steps
    assert done.outputs_digest == undisturbed.outputs_digest
    assert done.context.capture_id == undisturbed.context.capture_id == "2000-09-29|AAPL|b"
    assert done.context.params == undisturbed.context.params
    checkpoint = done.context.checkpoint
    assert (checkpoint.completed, checkpoint.failed, checkpoint.attempt) == (("fetch",), "validate", 2)
    assert (checkpoint.resumed_from, checkpoint.error) == (failed.run_id, failed["validate"].error)
    found = ledger.run(done.run_id)
    assert (found.status, found.attempt, found.engine) == (RunStatus.OK, 2, then)
    assert {r.step: r.run_attempt for r in ledger.steps(found.key)} == dict.fromkeys(ORDER, 2) | {"fetch": 1}
    assert [c.state for c in ledger.captures(workflow="daily_prices")] == [CaptureState.COMPLETE]
