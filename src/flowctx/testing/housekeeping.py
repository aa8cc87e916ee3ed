"""What every ledger forgets and keeps, as tests; part of ``LedgerContract``."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from flowctx.core.data.plain import ArtifactRef, FrozenDict
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import Table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, VersionRead
from flowctx.core.errors import UnknownBatch
from flowctx.testing.clock import FakeClock
from flowctx.testing.records import a_run, a_step


class HousekeepingContract:
    """The facts that hold for what is forgotten and kept."""

    @pytest.mark.parametrize("ended", [False, True])
    @pytest.mark.parametrize(
        "engines",
        [
            ({"name": "airflow", "dag_id": "one"}, {"name": "airflow", "dag_id": "two"}),
            ({"name": "local"}, {"name": "airflow", "dag_id": "two"}),
            ({"name": "local"}, {"name": "dagster", "instance": "one"}),
        ],
    )
    def test_a_run_that_two_begin_is_kept_as_the_last_ones(
        self, ledger: Ledger, ended: bool, engines: tuple[dict[str, str], dict[str, str]]
    ) -> None:
        """The engine of a run, and its DAG there, are those whose step began last; all else is as it was begun."""
        first, second = (a_run(metadata={"engine": engine}, batch_id="b") for engine in engines)
        begun = ledger.begin(first)
        if ended:
            ledger.finish(begun, RunStatus.PARTIAL)
        joined = ledger.begin(replace(second, context=replace(second.context, params={"other": 1})))
        assert ledger.get_run("run-1") == joined
        assert engines[1].items() <= joined.context.metadata["engine"].items()
        assert [run.engine for run in ledger.batches.iter_outcomes("b")] == [engines[1]["name"]]
        assert (joined.attempt, joined.context.params) == (1, first.context.params)

    def test_old_runs_are_forgotten_but_not_the_current_capture(self, ledger: Ledger, clock: FakeClock) -> None:
        """Pruning forgets old runs and superseded captures, and keeps whatever wrote the current capture."""
        for number in range(3):
            run = ledger.begin(a_run(f"r{number}", batch_id=f"b{number}"))
            ledger.record(run, [a_step()])
            ledger.finish(run, RunStatus.OK)
        failed = ledger.begin(a_run("failed", batch_id="b9"))
        ledger.finish(failed, RunStatus.FAILED, "no")
        clock.advance(timedelta(days=90))
        ledger.begin(a_run("new", batch_id="b10"))
        pruned = ledger.prune(clock.now() - timedelta(days=30))
        assert (pruned.runs, pruned.captures) == (3, 3)
        assert {run.run_id for run in ledger.list_runs()} == {"r2", "new"}
        assert [capture.run_id for capture in ledger.captures()] == ["r2", "new"]
        assert len(ledger.steps(a_run("r2").key)) == 1
        assert ledger.steps(a_run("r0").key) == []

    def test_what_is_under_way_is_not_forgotten_while_its_lease_runs(self, ledger: Ledger, clock: FakeClock) -> None:
        """Of a part, which holds no capture, only its run says so."""
        for number, selected in enumerate([(), ("a",)]):
            ledger.begin(
                replace(a_run(f"r{number}", batch_id=f"b{number}"), selected=selected), lease=timedelta(days=9)
            )
        clock.advance(timedelta(days=8))
        assert ledger.would_prune(clock.now())[0].runs == ledger.prune(clock.now()).runs == 0
        clock.advance(timedelta(days=8))
        assert ledger.would_prune(clock.now())[0].runs == ledger.prune(clock.now()).runs == 2

    def _captured(self, ledger: Ledger, run_id: str, read: RunRecord | None = None, **context: Any) -> RunRecord:
        """Record a run that captures its partition, and may have read what another one made."""
        run = ledger.begin(a_run(run_id, **context))
        ledger.record(run, [replace(a_step(), inputs=_reads(read) if read is not None else {})])
        ledger.finish(run, RunStatus.OK)
        return run

    def test_what_something_current_was_built_from_is_never_forgotten(self, ledger: Ledger, clock: FakeClock) -> None:
        """Nor is what that was built from, however far; what only superseded versions were built from is."""
        monday = date(2026, 1, 5)
        first = self._captured(ledger, "first", batch_id="b1", as_of_date=monday)
        second = self._captured(ledger, "second", first, batch_id="b1", as_of_date=date(2026, 1, 6))
        self._captured(ledger, "third", second, batch_id="b1", as_of_date=date(2026, 1, 7))
        loose = self._captured(ledger, "loose", batch_id="b2", as_of_date=monday)
        self._captured(ledger, "over", loose, batch_id="b2", as_of_date=date(2026, 1, 8))
        for number, day in enumerate((5, 6, 8)):
            self._captured(ledger, f"again-{number}", batch_id="b3", as_of_date=date(2026, 1, day))
        clock.advance(timedelta(days=90))
        would, _ = ledger.would_prune(clock.now())
        assert [(one.workflow, one.batch_id, one.runs) for one in would.of] == [("flow", "b2", 2)]
        assert ledger.prune(clock.now()) == would
        stay = {"first", "second", "third", "again-0", "again-1", "again-2"}
        assert {run.run_id for run in ledger.list_runs()} == {capture.run_id for capture in ledger.captures()} == stay

    def test_what_is_to_be_read_again_is_not_forgotten(self, ledger: Ledger, clock: FakeClock) -> None:
        """Nor is what that was built from, as long as the run that is to read it is not over."""
        monday = date(2026, 1, 5)
        source = self._captured(ledger, "source", batch_id="b1", as_of_date=monday)
        read = self._captured(ledger, "read", source, batch_id="b1", as_of_date=date(2026, 1, 6))
        clock.advance(timedelta(days=1))
        before = clock.now()
        reader = a_run("reader", batch_id="b1", as_of_date=date(2026, 1, 7))
        reader = ledger.begin(replace(reader, reads={"a": _reads(read)}))
        for number, day in enumerate((5, 6)):
            self._captured(ledger, f"again-{number}", batch_id="b2", as_of_date=date(2026, 1, day))
        clock.advance(timedelta(days=9))  # its lease runs no more
        for status in (None, RunStatus.FAILED, RunStatus.OK):
            if status is not None:
                ledger.finish(reader, status)
            would, _ = ledger.would_prune(before)
            assert ledger.prune(before) == would
            assert would.runs == (2 if status is RunStatus.OK else 0)

    def test_the_last_versions_of_a_partition_are_kept_by_number(self, ledger: Ledger, clock: FakeClock) -> None:
        """So many as are asked for, of those that are complete, the current one among them; what was, stays so long."""
        for number in range(5):
            run = self._captured(ledger, f"r{number}", batch_id=f"b{number}")
            if number == 3:
                ledger.finish(run, RunStatus.FAILED, "no")
        clock.advance(timedelta(days=90))
        would, _ = ledger.would_prune(clock.now(), versions=2)
        assert (would.runs, would.captures) == (2, 2)
        assert ledger.prune(clock.now(), versions=2) == would
        assert [capture.run_id for capture in ledger.captures()] == ["r2", "r3", "r4"]
        assert ledger.prune(clock.now()).captures == 2

    def test_a_batch_that_is_kept_stays_with_all_its_runs(self, ledger: Ledger, clock: FakeClock) -> None:
        """Until it is said otherwise; launching it again changes nothing of that."""
        for number in range(3):
            self._captured(ledger, f"r{number}", batch_id=f"b{number}")
        kept = ledger.batches.keep("b0")
        assert ledger.batches.get("b0").kept_at == kept.kept_at == clock.now()
        ledger.batches.put(replace(kept, engine="airflow", kept_at=None))
        assert ledger.batches.lead("b0", "me", timedelta(0), lambda known: replace(kept, kept_at=None)).launcher == "me"
        assert ledger.batches.get("b0").kept_at == clock.now()
        clock.advance(timedelta(days=90))
        would, _ = ledger.would_prune(clock.now())
        assert (would.runs, would.captures) == (1, 1)
        assert ledger.prune(clock.now()) == would
        assert [capture.run_id for capture in ledger.captures()] == ["r0", "r2"]
        assert ledger.batches.keep("b0", kept=False).kept_at is None
        assert ledger.prune(clock.now()).runs == 1
        with pytest.raises(UnknownBatch):
            ledger.batches.keep("nobody")

    def test_artifacts_are_referred_to_as_long_as_their_steps_are_remembered(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        """A ledger knows where the tables, files and large outputs are that its rows refer to, and no others."""
        table, file, outer = (f"x/{kind}/ab/{'ab' * 16}.bin" for kind in ("tables", "files", "outputs"))
        reference = TableReference(path=table, rows=1, size=1, digest="0" * 64, checksum="0" * 64)
        large = ArtifactRef(uri=outer, digest="0" * 64, size=1, holds=(file,))
        run = ledger.begin(a_run())
        ledger.record(run, [replace(a_step("one"), output=FrozenDict(t=Table(reference)))])
        ledger.record(run, [replace(a_step("two"), output=large)])
        assert ledger.artifact_paths() == {table, file, outer}
        assert ledger.artifact_prefix
        ledger.finish(run, RunStatus.FAILED, "no")
        clock.advance(timedelta(days=90))
        would, left = ledger.would_prune(clock.now())
        assert (would.runs, left) == (1, set())
        assert ledger.artifact_paths() == {table, file, outer}
        assert ledger.prune(clock.now()) == would
        assert ledger.artifact_paths() == left

    def test_a_file_is_released_or_reused_but_not_both(self, ledger: Ledger, clock: FakeClock) -> None:
        """An equal table is found until its file is released, which it is not while somebody means to refer to it."""
        path, other = (f"x/tables/ab/{name * 16}.parquet" for name in ("ab", "cd"))
        table = TableReference(path=path, rows=1, size=1, digest="0" * 64, checksum="1" * 64)
        known, start = ledger.artifacts, clock.now()
        known.add(table, "form")
        assert known.find(table.digest, "other form") is known.find("2" * 64, "form") is None
        clock.advance(timedelta(days=9))
        assert known.release([path, other], clock.now(), dry_run=True) == {path, other}
        assert known.find(table.digest, "form") == table  # and means to refer to it
        assert known.release([path, other], clock.now()) == {other}
        assert (known.reuse(path), known.reuse(other)) == (True, False)
        clock.advance(timedelta(days=9))
        assert known.release([path], start) == set()
        assert (known.release([path], clock.now()), known.find(table.digest, "form")) == ({path}, None)
        known.forget([path, other])
        assert (known.reuse(path), known.find(table.digest, "form")) == (True, None)

    def test_names_of_workflows_on_engines(self, ledger: Ledger) -> None:
        """All names come back that one workflow has on one engine, each once, with the dimensions of its runs."""
        ledger.remember_engine_name("airflow", "nav", "nav_by_fund", ["date"])
        ledger.remember_engine_name("airflow", "nav", "b", ["date", "fund"])
        ledger.remember_engine_name("airflow", "nav", "nav_by_fund", ["month"])
        for engine, workflow in (("dagster", "nav"), ("airflow", "NAV"), ("airflow", "nav_2"), ("airflow", "n_v")):
            ledger.remember_engine_name(engine, workflow, "other")
        assert ledger.engine_names("airflow", "nav") == {"b": ("date", "fund"), "nav_by_fund": ("month",)}
        assert ledger.engine_names("airflow", "n_v") == {"other": ()}
        assert ledger.engine_names("airflow", "value") == {}


def _reads(read: RunRecord) -> dict[str, tuple[VersionRead, ...]]:
    """Return that what a run made is read."""
    version = VersionRead(
        workflow=read.workflow,
        step="a",
        partition=read.context.partition,
        capture_id=str(read.context.capture_id),
        revision=1,
        run_key=read.key.digest,
        digest="0" * 32,
    )
    return {"input": (version,)}
