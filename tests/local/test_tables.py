"""Tables in runs here: in memory, beside the ledger, after a resume, in a replay."""

from __future__ import annotations

import pickle
import random
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowctx import ArtifactError, File, OutputTooLarge, StepResult, Table, Workflow, replay, resume, run
from flowctx.artifacts import PathArtifactStore, artifact_store
from flowctx.artifacts.library import ArrowTables
from flowctx.core.data.plain import ArtifactRef
from flowctx.ledger import open_ledger
from flowctx.testing import make_context

#: Small tables of plain columns that cannot be written for what is in them, or what they are called.
REFUSED = [
    pa.table([[1], [2]], names=["n", "n"]),
    pa.table({"n\0": [1]}),
    pa.table({"n": pa.array([None], pa.int64())}, schema=pa.schema([pa.field("n", pa.int64(), nullable=False)])),
    pa.table(
        {"s": pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])}
    ),
]


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


def table_flow(rows=100_000, broken=()):
    """A step that makes a large table and a large output, one that changes it, one that fails on demand."""
    flow = Workflow("tables")

    @flow.step()
    def load(ctx):
        return {"prices": pd.DataFrame({"n": range(rows), "s": "x"}), "zeta": ["x" * 1000] * 60, "alpha": 1}

    @flow.step()
    def double(ctx):
        frame = ctx.get_output("load", "prices").to_polars()
        return frame.with_columns(n=pl.col("n") * 2)

    @flow.step()
    def total(ctx):
        if broken:
            raise RuntimeError("no")
        table = ctx.get_output("double", "table")
        return {"total": sum(batch["n"].to_numpy().sum().item() for batch in table.batches(["n"]))}

    return flow


def test_a_lenient_run_keeps_tables_where_a_strict_one_does(book, monkeypatch):
    """Large ones are files of the ledger, which equal ones share and pruning may remove; its rows stay small."""
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    lenient = run(table_flow(), ledger=book).raise_for_failure()
    monkeypatch.delenv("FLOWCTX_LEDGER_MODE")
    strict = run(table_flow(), ledger=book).raise_for_failure()
    made = [book.steps(book.get_run(some.run_id).key, ["load", "double"]) for some in (lenient, strict)]
    (load, double), (load_again, double_again) = ([record.output for record in records] for records in made)
    assert (load.holds, double) == (load_again.holds, double_again)
    assert all(path.startswith(f"{book.artifact_prefix}/") for path in book.artifact_paths())


def test_a_lenient_run_that_is_not_recorded_keeps_tables_in_memory(tmp_path, monkeypatch):
    """Beside a ledger that cannot be reached no files can be written either."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    (tmp_path / "folder").touch()
    ledger = open_ledger(f"sqlite:///{tmp_path}/folder/ledger.db")
    result = run(table_flow(), ledger=ledger).raise_for_failure()
    assert result.context.get_output("total", "total") == sum(range(100_000)) * 2


def test_a_run_without_a_ledger_keeps_tables_in_memory(monkeypatch):
    """Tables of any size flow from step to step, and are there when the run is over."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    result = run(table_flow()).raise_for_failure()
    assert result.context.get_output("total", "total") == sum(range(100_000)) * 2
    assert len(result.context.get_output("load", "prices").to_pandas()) == 100_000


def test_large_outputs_go_beside_the_ledger(book, tmp_path):
    """Rows of the ledger hold references of a few hundred bytes; what they refer to is found through its folder."""
    result = run(table_flow(), ledger=book).raise_for_failure()
    load, double, _ = book.steps(book.get_run(result.run_id).key)
    assert isinstance(load.output, ArtifactRef)
    assert len(load.output.holds) == 1
    assert isinstance(double.output["table"], Table)
    paths = book.artifact_paths()
    assert {load.output.uri, *load.output.holds} <= paths
    assert all(path.startswith(f"{book.artifact_prefix}/") for path in paths)
    assert {
        str(p.relative_to(tmp_path / "ledger.db.artifacts"))
        for p in tmp_path.rglob("*.*")
        if p.parent.name != tmp_path.name
    } >= paths


def test_a_run_goes_on_with_its_tables(book):
    """A resume finds the tables and outputs of the steps before it, keys in their order."""
    broken = [True]
    flow = table_flow(broken=broken)
    failed = run(flow, ledger=book)
    broken.clear()
    done = resume(failed.run_id, flow, ledger=book).raise_for_failure()
    assert done.context.get_output("total", "total") == sum(range(100_000)) * 2
    assert list(done.context.get_output("load")) == ["prices", "zeta", "alpha"]
    assert done.context.get_output("load", "prices").to_pandas().equals(pd.DataFrame({"n": range(100_000), "s": "x"}))


def test_a_replay_compares_tables_by_content(book):
    """The same content is no difference, other content is; nothing is written for it."""
    shift = [0]
    flow = Workflow("replayed")

    @flow.step()
    def load(ctx):
        return {"t": pl.DataFrame({"n": range(shift[0], 50_000)})}

    done = run(flow, ledger=book)
    before = book.artifact_paths()
    assert replay(done.run_id, "load", flow, ledger=book).diff == ""
    shift[0] = 1
    assert "-" in replay(done.run_id, "load", flow, ledger=book).diff
    assert book.artifact_paths() == before


def test_a_ledger_without_a_place_for_artifacts_refuses_what_is_large(monkeypatch):
    """A ledger on a server has no folder beside it: outputs and tables over the limit are refused with the remedy."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    from flowctx.ledger.memory import MemoryLedger

    class Elsewhere(MemoryLedger):
        url = "postgresql://host/db"

    outputs = [{"t": pl.DataFrame({"n": [random.random() for _ in range(20_000)]})}, {"text": "x" * 50_000}]
    flow = Workflow("large")
    flow.step(name="load")(lambda ctx: outputs.pop())
    while outputs:
        (entry,) = run(flow, ledger=Elsewhere()).steps
        assert OutputTooLarge.__name__ in entry.error
        assert "set FLOWCTX_ARTIFACTS_URL" in entry.error
        assert str(entry.category) == "CONFIGURATION"
    small = Workflow("small")
    small.step(name="load")(lambda ctx: {"t": pl.DataFrame({"n": [1]})})
    assert run(small, ledger=Elsewhere()).raise_for_failure().context.get_output("load", "t").rows == 1


def test_a_source_that_breaks_is_the_failure_of_its_step(book):
    """A generator that raises while it is stored fails the step with its own error, and the step is tried again."""
    tries = []
    flow = Workflow("breaks")

    @flow.step(retries=1)
    def load(ctx):
        def batches():
            tries.append(1)
            yield from pa.table({"n": [1, 2]}).to_batches()
            if len(tries) < 2:
                raise ConnectionResetError("the source broke")

        return batches()

    class Clock:
        def now(self):
            from datetime import UTC, datetime

            return datetime.now(UTC)

        def sleep(self, duration):
            return None

    result = run(flow, ledger=book, clock=Clock()).raise_for_failure()
    assert result["load"].attempts == 2
    assert result.context.get_output("load", "table").rows == 2


def test_a_refusal_is_the_failure_of_its_step():
    """What Arrow would change fails the step as CONFIGURATION, naming column and remedy."""
    flow = Workflow("refused")
    flow.step(name="load", retries=3)(lambda ctx: pd.DataFrame({"o": pd.Series([1, "a"], dtype=object)}))
    (entry,) = run(flow).steps
    assert (str(entry.category), entry.attempts) == ("CONFIGURATION", 1)
    assert "output['table'] has values of int and str in column 'o'" in entry.error


def test_files_are_handed_on(book, tmp_path):
    """A step reads the bytes of a file that another one made, though the original is gone."""
    flow = Workflow("files")

    @flow.step()
    def write(ctx):
        path = tmp_path / "report.txt"
        path.write_text("done")
        return {"report": File(path)}

    @flow.step()
    def read(ctx):
        (tmp_path / "report.txt").unlink()
        file = ctx.get_output("write", "report")
        return {"name": file.name, "text": file.read_bytes().decode()}

    assert run(flow, ledger=book).raise_for_failure().context.get_output("read") == {
        "name": "report.txt",
        "text": "done",
    }
    missing = Workflow("missing")
    missing.step(name="write")(lambda ctx: {"report": File(tmp_path / "none")})
    (entry,) = run(missing, ledger=book).steps
    assert "cannot hand on the file" in entry.error


def test_steps_are_tested_with_frames():
    """A context made for a test takes frames as outputs, and steps see tables."""
    ctx = make_context(step_outputs={"load": {"prices": pd.DataFrame({"n": [1, 2]})}})
    assert ctx.get_output("load", "prices").to_pandas()["n"].sum() == 3
    assert type(ctx).from_dict(ctx.to_dict()) == ctx


def test_order_is_content(book, monkeypatch, tmp_path):
    """A large output has its keys in the order in which they were written, here and after a resume."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path / "store"))
    store = PathArtifactStore(str(tmp_path / "store"))
    flow = Workflow("ordered")
    flow.step(name="load")(lambda ctx: {"symbol": "IBM", "close": 1.5, "adjusted": "x" * 60_000})
    flow.step(name="header")(lambda ctx: StepResult.ok({"header": ",".join(ctx.get_output("load"))}))
    done = run(flow, ledger=book).raise_for_failure()
    (record, _) = book.steps(book.get_run(done.run_id).key)
    assert store.get(record.output).startswith(b'{"symbol":"IBM","close":1.5,"adjusted":"xxx')
    assert done.context.get_output("header", "header") == "symbol,close,adjusted"
    assert replay(done.run_id, "header", flow, ledger=book).diff == ""


def test_a_small_table_that_nobody_looks_at_is_not_written(monkeypatch):
    """Without a ledger it stays as it is; whoever asks for its digest gets that of the file it would be."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    frame = pa.table({"n": [1, None], "s": ["a", "b"]})
    flow = Workflow("small")
    flow.step(name="load")(lambda ctx: {"t": frame})
    table = run(flow).context.get_output("load", "t")
    assert table.source is not None
    assert table.source.kept
    assert repr(table).startswith("<Table: 2 rows x 2 columns")
    assert table.source is None
    assert table.to_arrow().equals(frame)
    written = Table(source=ArrowTables().take(frame, "t"))
    assert (written.digest, written.bytes) == (table.digest, table.bytes)


def test_a_kept_table_is_that_of_the_moment_at_which_its_step_ended(monkeypatch):
    """Arrow shares the memory of numpy: what is changed there later is not in the output."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    numbers = np.arange(3)
    flow = Workflow("shared_memory")
    flow.step(name="load")(lambda ctx: {"t": pa.table({"n": numbers})})
    result = run(flow)
    numbers[:] = 7
    assert result.context.get_output("load", "t").to_arrow()["n"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("frame", REFUSED, ids=lambda frame: str(frame.schema).replace("\n", " "))
def test_what_cannot_be_written_fails_its_step(frame, monkeypatch):
    """Also where nobody looks at the table: the step that made it fails, and not whoever looks first."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    flow = Workflow("refused")
    flow.step(name="load")(lambda ctx: {"t": frame})
    assert run(flow)["load"].status == "failed"


@pytest.mark.parametrize("written_there", [True, False])
def test_what_another_store_has_is_not_called_gone(book, tmp_path, monkeypatch, written_there):
    """Where only the setting differs, the message says where was looked, why, and that another store may have it."""
    other, beside, broken = tmp_path / "other", tmp_path / "ledger.db.artifacts", [True]
    flow = table_flow(broken=broken)
    if written_there:
        monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(other))
    run(flow, ledger=book, run_id="r1")
    broken.clear()
    if written_there:
        monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL")
        looked = f"from {beside} (beside the ledger, as FLOWCTX_ARTIFACTS_URL is not set here): it is not there"
    else:
        monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(other))
        looked = f"from {other} (which FLOWCTX_ARTIFACTS_URL names here): it is not there"
    with pytest.raises(ArtifactError, match=re.escape(looked)) as raised:
        resume("r1", flow, ledger=book)
    assert "if it was written to another store, name that one in FLOWCTX_ARTIFACTS_URL here" in str(raised.value)
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(other if written_there else beside))
    assert resume("r1", flow, ledger=book).status == "ok"


def test_another_process_says_why_it_looks_there(tmp_path):
    """A store that was pickled knows why it was chosen."""
    store = pickle.loads(pickle.dumps(artifact_store(default=str(tmp_path))))
    with pytest.raises(ArtifactError, match="the engine's own place, as FLOWCTX_ARTIFACTS_URL is not set here"):
        store.get(ArtifactRef(uri=f"shared/outputs/ab/{'ab' * 16}.json", digest="0" * 64, size=1))


def test_a_run_is_over_though_an_output_cannot_be_read(book, tmp_path):
    """Where what it has made is gone before the end, the run has ended, and holds nothing."""
    flow = Workflow("forgetful")
    flow.step(name="load")(lambda ctx: {"text": "x" * 60_000})

    @flow.step()
    def lose(ctx):
        for file in tmp_path.glob("*.artifacts/**/*.json"):
            file.unlink()

    with pytest.raises(ArtifactError, match="it is not there"):
        run(flow, ledger=book, run_id="r1")
    assert (book.get_run("r1").status, book.captures()[0].state) == ("ok", "complete")
