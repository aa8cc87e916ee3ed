"""A ledger that is away on Dagster, where runs need not be recorded: what the files of outputs have is taken."""

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import Daily, PartitionScheme, Workflow
from flowctx.dagster import asset_key, partitions_def

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"


@pytest.fixture
def away(monkeypatch, tmp_path):
    """Return what takes the ledger away."""
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    return lambda: monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")


def test_files_are_read_where_the_ledger_cannot_be(away, ledger, tmp_path, caplog):
    """By a step that runs alone, and by an asset of one's own; the log says that there may be something newer."""
    flow, seen = Workflow("apart", partitions=DAYS), []
    flow.step("load")(lambda ctx: {"rows": 3})
    flow.step("check")(lambda ctx: seen.append(ctx.get_output("load", "rows")))

    @dg.asset(ins={"load": dg.AssetIn(asset_key(flow, "load"))}, partitions_def=partitions_def(DAYS))
    def beside(load: dict) -> None:
        seen.append(load["rows"])

    bench = Bench(flow, tmp_path, beside)
    assert bench.run(DAY, selection=[asset_key(flow, "load")]).success
    away()
    assert bench.run(DAY, selection=[asset_key(flow, "check")]).success
    assert bench.run(DAY, selection=[beside.key]).success
    assert seen == [3, 3]
    assert "cannot say what is newer than the files of outputs" in caplog.text


def test_a_failure_in_a_range_is_told_once(away, tmp_path):
    """A ledger that does not hear of it makes no other failure of it, for which Dagster would run all again."""
    flow, seen = Workflow("broken", partitions=DAYS), []

    @flow.step(retries=1)
    def load(ctx):
        seen.append(ctx.as_of_date.day)
        if ctx.as_of_date.day == 25:
            raise ValueError("boom")

    away()
    done = Bench(flow, tmp_path, backfill_policy=dg.BackfillPolicy.single_run()).run(span=("2012-10-24", DAY))
    assert seen == [24, 25, 25, 26]
    assert "boom" in str(done.failure_data_for_node("broken__load").user_failure_data.description)
