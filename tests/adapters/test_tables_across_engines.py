"""Runs with tables that go on elsewhere, and stores that are full or read-only, on all engines."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from adapters.test_across_engines import ENGINES, PAIRS
from flowctx import ArtifactError, File, StepResult, Workflow, run
from flowctx.artifacts import artifact_store, prune_artifacts
from flowctx.core.data.previews import handles_of
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import open_ledger
from troubled_store import FULL, READ_ONLY, TroubledFileSystem

SYMBOLS = pd.CategoricalDtype(["MSFT", "IBM", "AAPL"], ordered=True)
CLOSES = pd.DataFrame(
    {
        "symbol": pd.Categorical(["IBM", "AAPL"] * 1500, dtype=SYMBOLS),
        "close": [n / 7 for n in range(3000)],
        "at": pd.date_range("2026-01-09 21:00", periods=3000, freq="min", tz="America/New_York"),
    },
).set_index("at")


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


def large_flow(calls: list[str]) -> Workflow:
    """A table, a stream, a file and a large output; the step that reads them fails unless it is told not to."""
    flow = Workflow("large", params={"fix": 0})

    @flow.step()
    def load(ctx):
        calls.append("load")

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, 30_000, 10_000):
                yield pa.record_batch({"n": range(start, start + 10_000)})

        return {"closes": CLOSES, "numbers": batches(), "code": File(__file__)}

    @flow.step()
    def header(ctx):
        calls.append("header")
        return {"symbol": "IBM", "close": 1.5, "adjusted": "x" * 60_000, "tiny": pd.DataFrame({"a": [1]})}

    @flow.step()
    def report(ctx):
        calls.append("report")
        if not ctx.params["fix"]:
            return StepResult.fail("not yet", category="DATA_QUALITY")
        closes = ctx.get_output("load", "closes")
        pd.testing.assert_frame_equal(closes.to_pandas(), CLOSES)
        numbers = sum(batch.num_rows for batch in ctx.get_output("load", "numbers").batches())
        code = ctx.get_output("load", "code").read_bytes()
        head = ",".join(ctx.get_output("header"))
        return {"head": head, "numbers": numbers, "code": len(code), "last": closes.to_pandas()[-100:]}

    return flow


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_a_run_with_tables_goes_on_elsewhere(first, then, ledger):
    """Tables, a stream, a file and a large output of one engine are read on the other, each in its writer's form."""
    calls: list[str] = []
    undisturbed = run(large_flow([]), params={"fix": 1}, ledger="memory://").raise_for_failure()
    failed = ENGINES[first](large_flow(calls))
    assert (failed.status, failed["report"].error) == ("failed", "not yet")
    done = ENGINES[then](large_flow(calls), resume_from=failed.run_id, params={"fix": 1})
    assert done.status == "ok", done["report"].error
    assert calls == ["load", "header", "report", "report"]
    assert done.outputs_digest == undisturbed.outputs_digest
    assert done.context.get_output("report", "head") == "symbol,close,adjusted,tiny"
    pd.testing.assert_frame_equal(done.context.get_output("report", "last").to_pandas(), CLOSES[-100:])
    assert ledger.get_run(done.run_id).status is RunStatus.OK


def handed_on_as_params(calls: list[str]) -> Workflow:
    """A table and a file that are parameters for all later steps, one of which fails unless it is told not to."""
    flow = Workflow("as_params", params={"fix": 0})

    @flow.step()
    def load(ctx):
        calls.append("load")
        return {"closes": CLOSES}

    @flow.step()
    def update(ctx):
        calls.append("update")
        noise = pd.DataFrame({"noise": np.random.default_rng(1).random(20_000)})
        updates = {"closes": ctx.get_output("load", "closes"), "found": {"noise": noise, "code": File(__file__)}}
        return StepResult.ok(context_updates=updates)

    @flow.step()
    def report(ctx):
        calls.append("report")
        if not ctx.params["fix"]:
            return StepResult.fail("not yet", category="DATA_QUALITY")
        pd.testing.assert_frame_equal(ctx.params["closes"].to_pandas(), CLOSES)
        code = ctx.params["found"]["code"].read_bytes()
        return {"noise": len(ctx.params["found"]["noise"].to_pandas()), "code": len(code)}

    return flow


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_tables_in_parameters_that_steps_write_are_stored(first, then, ledger, monkeypatch):
    """By each engine, and found by the steps after, in the context at the end and where the run goes on elsewhere."""
    calls: list[str] = []
    failed = ENGINES[first](handed_on_as_params(calls))
    written = ledger.steps(ledger.get_run(failed.run_id).key, ["update"])[0].updates
    assert {handle.reference.path is not None for _, handle in handles_of(written)} == {True}
    assert {handle.reference.path for _, handle in handles_of(written)} <= ledger.artifact_paths()
    done = ENGINES[then](handed_on_as_params(calls), resume_from=failed.run_id, params={"fix": 1})
    assert done.status == "ok", done["report"].error
    assert calls == ["load", "update", "report", "report"]
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")  # the store is known without it
    pd.testing.assert_frame_equal(done.context.params["closes"].to_pandas(), CLOSES)
    assert done.context.params["found"]["code"].read_bytes() == Path(__file__).read_bytes()


@pytest.mark.parametrize("engine", list(ENGINES))
def test_tables_in_parameters_are_found_without_a_ledger(engine, monkeypatch):
    """In the place that the engine has of its own; where there is none, what is large is refused with what to set."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    done = ENGINES[engine](handed_on_as_params([]), params={"fix": 1})
    if engine == "airflow":
        assert "hands on takes" in done["update"].error
        assert "set FLOWCTX_ARTIFACTS_URL" in done["update"].error
    else:
        assert done.raise_for_failure().context.get_output("report", "noise") == 20_000


# -- trouble ----------------------------------------------------------------------------------------------------------


def noisy_flow() -> Workflow:
    """A table that compresses badly, and a step after it."""
    flow = Workflow("noisy")
    noise = np.random.default_rng(1).random(2_000_000)
    flow.step(name="load")(lambda ctx: pd.DataFrame({"noise": noise}))
    flow.step(name="rows")(lambda ctx: {"rows": ctx.get_output("load", "table").rows})
    return flow


def check_nothing_is_half_done(ledger, failed, category: str, words: str) -> None:
    """Check that the step failed clearly, and that nothing refers to or is left of what could not be stored."""
    assert (failed.status, str(failed["load"].category)) == ("failed", category)
    for word in ("cannot write", words, "FLOWCTX_ARTIFACTS_URL"):
        assert word in failed["load"].error
    assert list(artifact_store(ledger)._files.list(ledger.artifact_prefix)) == []
    assert ledger.artifact_paths() == set()
    assert {str(record.status) for record in ledger.steps(ledger.get_run(failed.run_id).key)} == {"failed"}


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_table_without_a_preview_fails_no_step(engine, ledger):
    """What engines show of it is for people: a step that is complete is ok, though its rows cannot be shown."""
    flow = Workflow("odd")
    flow.step("load")(lambda ctx: pa.table({"at": pa.array([1], pa.timestamp("us", "Foo/Bar"))}))
    assert ENGINES[engine](flow).status == "ok"


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_full_disk_fails_the_step(engine, ledger, tmp_path):
    """A folder without room for a file: a clear error that may pass, nothing left over, and the run can go on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000_000, before[1]))
    try:
        failed = ENGINES[engine](noisy_flow())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Path(artifact_store(ledger).base).parent == tmp_path
    check_nothing_is_half_done(ledger, failed, "TRANSIENT", "free some space there")
    done = ENGINES[engine](noisy_flow(), resume_from=failed.run_id)
    assert done.raise_for_failure().context.get_output("rows", "rows") == 2_000_000


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize(
    ("trouble", "category", "words"),
    [(FULL, "TRANSIENT", "free some space there"), (READ_ONLY, "CONFIGURATION", "grant access to it")],
    ids=["full", "read-only"],
)
@pytest.mark.filterwarnings("ignore:UPath 'troubled' filesystem not explicitly implemented")
def test_a_bucket_in_trouble_fails_the_step(engine, trouble, category, words, ledger, monkeypatch, tmp_path):
    """A bucket that is full or read-only: a clear error of its category, nothing left over, and the run can go on."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", f"troubled://bucket/{tmp_path.name}")
    monkeypatch.setattr(TroubledFileSystem, "trouble", trouble)
    failed = ENGINES[engine](noisy_flow())
    check_nothing_is_half_done(ledger, failed, category, words)
    monkeypatch.setattr(TroubledFileSystem, "trouble", 0)
    done = ENGINES[engine](noisy_flow(), resume_from=failed.run_id)
    assert done.raise_for_failure().context.get_output("rows", "rows") == 2_000_000


@pytest.mark.filterwarnings("ignore:UPath 'troubled' filesystem not explicitly implemented")
def test_a_prune_in_trouble_forgets_nothing(ledger, monkeypatch, tmp_path):
    """A store in which nothing can be removed is told, and the next prune finds all of it again."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", f"troubled://bucket/{tmp_path.name}")
    run(noisy_flow(), ledger=ledger).raise_for_failure()
    far = ledger.now().replace(year=2100)
    monkeypatch.setattr(TroubledFileSystem, "trouble", READ_ONLY)
    with pytest.raises(ArtifactError, match="cannot remove"):
        prune_artifacts(ledger, set(), far)
    monkeypatch.setattr(TroubledFileSystem, "trouble", 0)
    assert prune_artifacts(ledger, set(), far).files == 1
