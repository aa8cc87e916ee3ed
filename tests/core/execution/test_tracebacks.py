"""Tracebacks that are kept."""

from __future__ import annotations

import pytest

from flowctx import PartitionScheme, RunFailed, StepResult, Workflow, run
from flowctx.core.durability.records import RunStatus
from flowctx.core.execution.tracebacks import MAX_TRACEBACK, traceback_text
from flowctx.ledger.memory import MemoryLedger


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as exc:
        return exc


def test_a_traceback_says_where_and_why() -> None:
    """File, line and message are there, and so is the exception that it was raised from."""
    try:
        try:
            raise KeyError("rows")
        except KeyError as exc:
            raise ValueError("no rows") from exc
    except ValueError as exc:
        text = traceback_text(exc)
    assert "test_tracebacks.py" in text
    assert text.index("KeyError: 'rows'") < text.index("ValueError: no rows")


def test_a_traceback_is_bounded() -> None:
    """Of a long one the beginning and the end stay."""
    text = traceback_text(raised(ValueError("x" * 50_000 + " the end")))
    assert len(text) < MAX_TRACEBACK + 100
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("the end\n")
    assert "characters left out" in text


def test_a_traceback_has_no_secrets() -> None:
    """Values of parameters whose names say that they are secret are hidden."""
    text = traceback_text(raised(ValueError("login of hunter2 failed")), {"db_password": "hunter2"})
    assert "hunter2" not in text


def test_a_failure_is_kept_with_its_traceback() -> None:
    """The ledger has it, batches have it, and the exception itself is the cause of the failure here."""
    ledger, flow = MemoryLedger(), Workflow("fails")

    @flow.step()
    def load(ctx):
        raise ValueError("no rows")

    done = run(flow, batch_id="b", ledger=ledger)
    (record,) = ledger.steps(ledger.get_run(done.run_id).key)
    assert record.traceback is not None
    assert record.traceback.endswith("ValueError: no rows\n")
    (outcome,) = ledger.batches.iter_outcomes("b")
    assert (outcome.traceback, outcome.category) == (record.traceback, "INTERNAL")
    with pytest.raises(RunFailed) as failed:
        done.raise_for_failure()
    assert isinstance(failed.value.__cause__, ValueError)


def test_a_failure_names_its_partition_whatever_its_secrets_are() -> None:
    """Errors and tracebacks show the key and dates, where a parameter of a secret name has the same value."""
    ledger, scheme = MemoryLedger(), PartitionScheme(month=["2026-01"], fund=["GROWTH"])
    flow = Workflow("fails", partitions=scheme, params={"token_date": "", "proxy_fund": "", "token": ""})

    @flow.step()
    def load(ctx):
        raise ValueError(f"no rows of {ctx.key} at 2026-01-05 with {ctx.params['token']}")

    params = {"token_date": "2026-01-05", "proxy_fund": "GROWTH", "token": "hunter2"}
    done = run(flow, partition="2026-01|GROWTH", params=params, ledger=ledger)
    (record,) = ledger.steps(ledger.get_run(done.run_id).key)
    message = "no rows of fund=GROWTH|month=2026-01 at 2026-01-05 with ***"
    assert record.error == f"ValueError: {message}"
    assert record.traceback is not None
    assert record.traceback.endswith(f"ValueError: {message}\n")


def test_a_skipped_run_says_why() -> None:
    """The reason of the first step that was skipped is the run's and the partition's."""
    ledger, flow = MemoryLedger(), Workflow("skips")
    flow.step("load")(lambda ctx: StepResult.skip("it did not trade"))
    flow.step("use")(lambda ctx: None)
    done = run(flow, batch_id="b", ledger=ledger)
    found = ledger.get_run(done.run_id)
    assert (found.status, found.error) == (RunStatus.SKIPPED, "it did not trade")
    assert [outcome.error for outcome in ledger.batches.iter_outcomes("b")] == ["it did not trade"]
