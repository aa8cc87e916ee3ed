"""Equal tables share a file, each writer finds its own form again, and nothing is removed under who reuses it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy import update

from flowctx import ArtifactError, File, StepResult, Table, Workflow, run
from flowctx.artifacts import PathArtifactStore, artifact_store, prune_artifacts
from flowctx.core.errors import LedgerUnavailable
from flowctx.ledger.sql import SqlLedger
from flowctx.ledger.tables import artifacts

NUMBERS = pa.table({"n": range(5000), "s": [f"{n}" for n in range(5000)]})
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def store(ledger):
    return artifact_store(ledger)


def kept(store, frame=NUMBERS) -> Table:
    return store.put_table(StepResult.ok(frame).output["table"])


def aged(ledger, store, table):
    """Make a table look as if it had been stored long ago, and nobody had meant to refer to it since."""
    os.utime(store.local_path(table.reference), (0, 0))
    old = {"intended_at": LONG_AGO.isoformat(timespec="microseconds")}
    ledger._database.autocommit(lambda at: at.execute(update(artifacts).values(**old)))


def files(store):
    return sorted(stored.path for stored in store._files.list(store.prefix))


def test_equal_tables_share_a_file(store):
    """Other libraries and other chunks make the same table, another value another one; without a ledger none share."""
    table = kept(store)
    for same in (NUMBERS, pa.concat_tables([NUMBERS[:7], NUMBERS[7:]])):
        again = kept(store, same)
        assert again.reference == table.reference
        assert again.to_arrow().equals(NUMBERS)
        assert again.head(1) == [{"n": 0, "s": "0"}]
    assert len(files(store)) == 1
    other = kept(store, NUMBERS[1:])
    assert other.reference.path != table.reference.path
    alone = PathArtifactStore(store.base)
    assert kept(alone).reference.path != kept(alone).reference.path


def test_each_form_is_a_file(store):
    """Names of indices, ordered categories and units are of each writer, whoever wrote the same content before."""
    plain = pd.DataFrame({"k": ["a", "b"] * 900, "v": [f"{n:09}" for n in range(1800)]})
    ordered = plain.assign(k=pd.Categorical(plain["k"], ["b", "a"], ordered=True))
    frames = [plain, ordered, plain.rename_axis(columns="names")]
    tables = [kept(store, frame) for frame in [*frames, *frames]]
    assert len({table.digest for table in tables}) == 1
    assert len({table.reference.path for table in tables}) == 3 == len(files(store))
    for table, frame in zip(tables, [*frames, *frames], strict=True):
        pd.testing.assert_frame_equal(table.to_pandas(), frame)
    polars = pl.DataFrame({"k": plain["k"].tolist(), "v": plain["v"].tolist()})
    assert kept(store, polars).to_polars().equals(polars)


def test_runs_share_what_is_equal(ledger):
    """A table that each day's run computes anew is one file, and stays for as long as one of them is remembered."""
    flow = Workflow("same")

    @flow.step()
    def load(ctx):
        return {"run": ctx.run_id, "rows": NUMBERS}

    first, second = (run(flow, run_id=run_id, ledger=ledger) for run_id in ("first", "second"))
    assert first.context.get_output("load", "rows").reference == second.context.get_output("load", "rows").reference
    store = artifact_store(ledger)
    aged(ledger, store, first.context.get_output("load", "rows"))
    assert prune_artifacts(ledger, ledger.artifact_paths(), datetime.now(UTC)).files == 0
    assert second.context.get_output("load", "rows").to_arrow().equals(NUMBERS)


def test_a_ledger_waits_for_the_disk_after_a_table(ledger, store):
    """What it knows of files is on the disk with the next commit, which waits as all others do."""
    kept(store)
    full = 2
    assert ledger._database.autocommit(lambda at: at.exec_driver_sql("PRAGMA synchronous").scalar()) == full


def changed(path):
    """Change one byte of a file, which keeps its size."""
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    Path(path).write_bytes(content)


def test_what_was_removed_by_hand_is_written_again(store):
    """An equal table whose file is gone, cut or changed is not referred to; the next one that is made is shared."""
    table = kept(store)
    for damage in (os.unlink, lambda path: Path(path).write_bytes(b"PAR1"), changed):
        damage(store.local_path(table.reference))
        again = kept(store)
        assert again.reference.path != table.reference.path
        assert again.to_arrow().equals(NUMBERS)
        table = again
        assert kept(store).reference == table.reference


def test_a_ledger_that_does_not_answer_costs_only_the_sharing(ledger, tmp_path, caplog):
    """Each table gets a file of its own then, and a warning says so."""

    class Away:
        def find(self, *_):
            raise LedgerUnavailable("no route to the ledger")

        add = reuse = find

    store = PathArtifactStore(str(tmp_path / "store"), index=Away())
    table = kept(store)
    assert store.put_table(Table(table.reference)).reference.path != table.reference.path
    assert "no route to the ledger" in caplog.text


def test_what_is_of_another_ledger_is_copied(ledger, store, tmp_path, monkeypatch):
    """In a place of several ledgers, and of runs without one, whoever hands something on has a file of its own."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(store.base))
    (tmp_path / "a.pdf").write_bytes(b"pdf")
    other = SqlLedger(f"sqlite:///{tmp_path / 'other.db'}")
    for theirs in (artifact_store(other), artifact_store()):
        table, file = kept(theirs), theirs.put_file(File(tmp_path / "a.pdf"))
        mine, my_file = store.put_table(table), store.put_file(file)
        assert mine.reference == replace(table.reference, path=mine.reference.path)
        assert my_file.reference == replace(file.reference, path=my_file.reference.path)
        assert {mine.reference.path, my_file.reference.path} <= set(files(store))
        assert theirs.put_table(mine).reference.path in files(theirs)
        assert theirs.prune(set(), datetime.now(UTC) + timedelta(days=1)).files
        assert mine.to_arrow().equals(NUMBERS)
        assert my_file.read_bytes() == b"pdf"
    other.close()


# -- a writer and a prune ---------------------------------------------------------------------------------------------


def test_who_reuses_a_file_keeps_it(ledger, store, tmp_path):
    """Once a writer means to refer to an old file, prune leaves it, even one that had begun before."""
    (tmp_path / "a.pdf").write_bytes(b"pdf")
    table, file = kept(store), store.put_file(File(tmp_path / "a.pdf"))
    removed = artifact_store(ledger)
    release = removed._index.release

    class Late:
        """A prune that has listed the files and is about to ask, when a writer comes."""

        forget = staticmethod(removed._index.forget)

        def release(self, paths, before, *, dry_run=False):
            assert kept(store).reference == table.reference
            assert store.put_file(File.of(file.reference)).reference == file.reference
            return release(paths, before, dry_run=dry_run)

    removed._index = Late()
    aged(ledger, store, table)
    os.utime(store.local_path(file.reference), (0, 0))
    before = datetime.now(UTC) - timedelta(hours=1)
    assert removed.prune(set(), before).files == 0
    assert table.to_arrow().equals(NUMBERS)


def test_what_is_being_removed_is_made_anew(ledger, store):
    """A writer that comes after the release finds no old file, and one that hands a table on copies it in time."""
    table = kept(store)
    aged(ledger, store, table)
    path = table.reference.path
    assert ledger.artifacts.release([path], datetime.now(UTC)) == {path}
    copied = store.put_table(Table(table.reference))
    assert copied.reference == replace(table.reference, path=copied.reference.path)
    assert copied.reference.path != path
    assert kept(store).reference.path not in (path, copied.reference.path)
    os.unlink(store.local_path(table.reference))
    with pytest.raises(ArtifactError, match="it is not there; .*run the step that made it again"):
        store.put_table(Table(table.reference))


def test_a_prune_that_died_is_finished_by_the_next(ledger, store):
    """What was released and not removed yet is no longer found, and the next prune removes it."""
    table = kept(store)
    aged(ledger, store, table)
    ledger.artifacts.release([table.reference.path], datetime.now(UTC))
    again = kept(store)
    before = datetime.now(UTC) - timedelta(hours=1)
    assert store.prune({again.reference.path}, before).files == 1
    assert files(store) == [again.reference.path]


def test_dry_runs_count_what_would_go(ledger, store):
    """A dry run counts what nobody means to refer to, and keeps all of it findable."""
    table = kept(store)
    before = datetime.now(UTC) - timedelta(hours=1)
    os.utime(store.local_path(table.reference), (0, 0))
    assert store.prune(set(), before, dry_run=True).files == 0
    aged(ledger, store, table)
    assert store.prune(set(), before, dry_run=True).bytes == table.bytes
    assert kept(store).reference == table.reference
