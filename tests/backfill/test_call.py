"""``flowctx.backfill(…)``: a batch in one call."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import flowctx
from backfill.flows import flow
from flowctx import BatchError, Daily, PartitionScheme, Workflow
from flowctx.backfill.call import launcher_on
from flowctx.backfill.local import LocalLauncher
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02..2012-01-03"


def test_a_batch_is_one_call(url: str, notes: Path) -> None:
    """It runs what is selected, with two workers; called again with the id alone, it goes on with what failed."""
    bad = "date=2012-01-03|tier=T2"
    params = {"notes": str(notes), "fail": [bad]}
    done = flowctx.backfill(flow, SOME, batch_id="b", params=params, workers=2, ledger=url)
    assert (done.complete, done.total, done.failed) == (False, 6, 1)
    Path(f"{notes}.mended").touch()
    again = flowctx.backfill(flow, batch_id="b", retry_failed=True, workers=1, ledger=url)
    assert (again.complete, again.total) == (True, 6)


def test_a_batch_goes_on_up_to_its_last_date_alone(url: str) -> None:
    """A later last date would add dates to it, and is refused; they are selected with extend=True."""
    flowctx.backfill(flow, SOME, batch_id="b", workers=1, ledger=url)
    assert flowctx.backfill(flow, batch_id="b", until="2012-01-03", workers=1, ledger=url).total == 6
    with pytest.raises(BatchError, match="until='2012-01-04' only leaves dates out, and adds none to batch 'b'"):
        flowctx.backfill(flow, batch_id="b", until="2012-01-04", workers=1, ledger=url)


@pytest.mark.parametrize(
    "how", [{"retry_failed": True}, {"retry_skipped": True}, {"extend": True}, {"from_step": "no"}]
)
def test_a_batch_that_nobody_planned_does_not_go_on(url: str, how: dict[str, Any]) -> None:
    """A slip in its id, or a batch of single runs, does not run all partitions."""
    with pytest.raises(BatchError, match=f"has no batch 'slip'; leave out {next(iter(how))}= to begin one of all"):
        flowctx.backfill(flow, batch_id="slip", ledger=url, **how)
    flowctx.run(flow, partition="date=2012-01-03|tier=T2", batch_id="hand", ledger=url)
    with pytest.raises(BatchError, match="nobody has selected its partitions"):
        flowctx.backfill(flow, batch_id="hand", ledger=url, **how)
    with pytest.raises(BatchError, match="has no batch 'hnd'; did you mean 'hand'[?] leave out"):
        flowctx.backfill(flow, batch_id="hnd", ledger=url, **how)


def test_what_goes_on_with_a_batch_needs_a_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one there is none to look for the batch in, whatever is asked for."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    with pytest.raises(flowctx.LedgerError, match="a batch has to be remembered; pass ledger="):
        flowctx.backfill(flow, batch_id="b", retry_failed=True)


def test_a_batch_of_another_workflow_is_refused(url: str) -> None:
    """Before its partitions are looked at, of which there may be no end."""
    flowctx.backfill(flow, SOME, batch_id="b", workers=1, ledger=url)
    endless = Workflow("endless", partitions=PartitionScheme(date=Daily(start="2026-01-05")))
    with pytest.raises(BatchError, match="'b' is one of workflow 'filled', not of 'endless'; take another id"):
        flowctx.backfill(endless, batch_id="b", ledger=url)


def test_a_workflow_that_no_worker_can_import_is_refused_before_the_first(url: str) -> None:
    """One made in a notebook, or on standard input, is named, and nothing is remembered."""
    nameless = Workflow("nameless", partitions=flow.partitions)
    nameless.step("only")(lambda ctx: None)
    with pytest.raises(BatchError, match="cannot be imported by worker processes; bind it to a name in a module"):
        flowctx.backfill(nameless, SOME, batch_id="b", ledger=url)
    with closing(open_ledger(url)) as ledger:
        assert ledger.find_batch("b") is None


def test_where_it_runs_is_one_of_three(url: str) -> None:
    """A slip, or a server where none is needed, is refused before anything runs."""
    with pytest.raises(BatchError, match="on='airflw' must be one of 'local', 'airflow', 'dagster'"):
        flowctx.backfill(flow, SOME, batch_id="b", on="airflw", ledger=url)  # type: ignore[arg-type]
    with pytest.raises(BatchError, match="url= is for other engines"):
        flowctx.backfill(flow, SOME, batch_id="b", url="http://localhost", ledger=url)
    with closing(open_ledger(url)) as ledger:
        assert isinstance(launcher_on("local", None, 1, ledger), LocalLauncher)


def test_the_package_of_that_name_is_still_one() -> None:
    """``flowctx.backfill`` has its classes, called or not."""
    import flowctx.backfill as package

    assert package.Backfill is flowctx.Backfill
    assert callable(package)
