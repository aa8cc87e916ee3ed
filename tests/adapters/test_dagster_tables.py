"""Tables in Dagster: assets that take and return frames by annotation, what the UI shows, runs that go on elsewhere."""
# No `from __future__ import annotations`: Dagster reads the annotations of assets.

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from adapters.dagster_support import Bench
from flowctx import PartitionKey, PartitionScheme, Table, Workflow, resume, run
from flowctx.core.dates.cadence import Daily
from flowctx.ledger import open_ledger

FRAME = pd.DataFrame({"symbol": ["IBM", "AAPL"] * 20_000, "close": [i / 7 for i in range(40_000)]})


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch):
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)


def table_flow(broken=(), partitions=None):
    flow = Workflow("prices", partitions=partitions)

    @flow.step()
    def load(ctx):
        return FRAME

    @flow.step()
    def mean(ctx):
        if broken:
            raise ValueError("not yet")
        return {"mean": float(ctx.get_output("load", "table").to_pandas()["close"].mean())}

    return flow


def of(name):
    return dg.AssetIn(dg.AssetKey(["prices", name]))


def asset(*names, **about):
    ins = {name: of(name) for name in names}
    return dg.asset(ins=ins, io_manager_key="workflow_io_manager", **about)


def test_assets_take_and_return_frames_by_annotation(tmp_path):
    """Each library's frame is what the annotation says, of steps and of own assets."""

    @asset("load")
    def pandas_mean(load: pd.DataFrame) -> pd.DataFrame:
        return load.groupby("symbol", as_index=False).mean()

    @asset("load")
    def polars_mean(load: pl.DataFrame) -> pl.DataFrame:
        return load.group_by("symbol").mean().sort("symbol")

    @asset("load")
    def lazy_mean(load: pl.LazyFrame) -> pl.LazyFrame:
        return load.group_by("symbol").agg(pl.col("close").mean()).sort("symbol")

    @asset("load")
    def arrow_rows(load: pa.Table) -> pa.Table:
        return load.select(["close"])

    @asset("load")
    def handle(load: Table) -> dict:
        return {"rows": load.rows, "table": load}

    @asset("load")
    def plain(load: dict) -> dict:
        return {"rows": load["table"].rows}

    @dg.asset(io_manager_key="workflow_io_manager")
    def agree(
        pandas_mean: pl.DataFrame, polars_mean: pd.DataFrame, lazy_mean: pa.Table, arrow_rows: pl.LazyFrame
    ) -> dict:
        assert arrow_rows.collect().height == len(FRAME)
        left, right, third = pandas_mean.to_dicts(), polars_mean.to_dict("records"), lazy_mean.to_pylist()
        return {"left": left, "right": right, "third": third}

    own = [pandas_mean, polars_mean, lazy_mean, arrow_rows, handle, plain, agree]
    bench = Bench(table_flow(), tmp_path, *own)
    assert bench.run().success
    found = bench.outputs.output("agree")
    assert [row["symbol"] for row in found["left"]] == ["AAPL", "IBM"]
    for one, two in (("left", "right"), ("left", "third")):
        for a, b in zip(found[one], found[two], strict=True):
            assert a["symbol"] == b["symbol"]
            assert a["close"] == pytest.approx(b["close"])
    assert bench.outputs.output("plain") == {"rows": 40_000}
    assert bench.outputs.output("handle")["table"].to_pandas().equals(FRAME)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]


def test_a_table_is_seen_in_the_ui(tmp_path):
    """A materialization has the row count, columns with types, size and first rows; an own asset's too."""

    @asset("load")
    def own(load: pd.DataFrame) -> pd.DataFrame:
        return load.head(3)

    bench = Bench(table_flow(), tmp_path, own)
    result = bench.run()
    for event in bench.events(result, dg.DagsterEventType.ASSET_MATERIALIZATION):
        name, metadata = event.asset_key.path[-1], event.materialization.metadata
        if name == "mean":
            continue
        assert metadata["dagster/row_count"].value == (3 if name == "own" else 40_000)
        columns = metadata["dagster/column_schema"].value.columns
        assert [(column.name, column.type) for column in columns] == [("symbol", "string"), ("close", "float64")]
        assert metadata["table/preview"].value.splitlines()[2] == "| IBM | 0.0 |"
        assert metadata["table/bytes"].value > 0


def test_frames_of_several_partitions(tmp_path):
    """An argument over several partitions gets a frame for each, if it is annotated so."""
    days = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-03", calendar="WEEKDAYS"))
    flow = table_flow(partitions=days)
    seen = {}

    @asset("load")
    def all_days(load: dict[PartitionKey, pl.DataFrame]) -> None:
        seen.update(load)

    bench = Bench(flow, tmp_path, all_days)
    for key in ("2012-10-01", "2012-10-02"):
        assert bench.run(key, selection=["prices/load"]).success
    result = bench.run(selection=[all_days], config={})
    assert not result.success or len(seen) == 3
    assert bench.run("2012-10-03", selection=["prices/load"]).success
    assert bench.run(selection=[all_days]).success
    assert [(str(key), frame.height) for key, frame in seen.items()] == [
        (f"date=2012-10-0{day}", len(FRAME)) for day in (1, 2, 3)
    ]


def test_a_frame_that_is_not_there_is_said(tmp_path):
    """An argument annotated as a frame, of an output without a table, is refused with the remedy."""

    @asset("mean")
    def wrong(mean: pd.DataFrame) -> None: ...

    result = Bench(table_flow(), tmp_path, wrong).run()
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "has 0 tables (none), and one is needed for a frame" in str(failure.step_failure_data)


def test_a_run_with_tables_goes_on_elsewhere(tmp_path, monkeypatch):
    """A run fails in Dagster and is resumed here; one that failed here is resumed in Dagster, with its tables."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    broken = [True]
    flow = table_flow(broken)
    bench = Bench(flow, tmp_path / "outputs")
    failed = bench.run()
    assert not failed.success
    here = run(flow, ledger=ledger)
    assert str(here.status) == "failed"
    broken.clear()
    done = resume(failed.run_id, flow, ledger=ledger).raise_for_failure()
    assert done.context.get_output("mean", "mean") == pytest.approx(FRAME["close"].mean())
    there = bench.run(tags={"flowctx/resume_from": here.run_id})
    assert there.success
    assert bench.outputs.output("prices/mean") == done.context.get_output("mean")
    assert bench.outputs.output("prices/load")["table"].to_pandas().equals(FRAME)
    ledger.close()
