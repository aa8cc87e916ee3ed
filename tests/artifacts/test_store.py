"""A store keeps what is large: each is there completely or not at all, and no reference leads out of it."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from flowctx import (
    ArtifactError,
    ArtifactRef,
    ArtifactRefused,
    ArtifactUnavailable,
    ContextError,
    ErrorCategory,
    File,
    PayloadError,
    StepResult,
    Table,
    Workflow,
    run,
)
from flowctx.artifacts import PathArtifactStore, artifact_store
from flowctx.artifacts.trouble import explained
from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.execution.artifacts import PrunedArtifacts
from flowctx.core.execution.execute import categorize
from flowctx.ledger.memory import MemoryLedger

LATER = datetime.now(UTC) + timedelta(days=1)
FRAME = pd.DataFrame({"symbol": ["IBM", "AAPL", None], "close": [1.5, 2.5, None]})


def kept(store, frame=FRAME):
    return store.put_table(StepResult.ok(frame).output["table"])


def read_back(table, store):
    """Return a table as another process finds it: from its JSON form."""
    found = from_json(to_json(table))
    found.bind(store)
    return found


# -- every kind of store ----------------------------------------------------------------------------------------------


def test_a_table_is_found_again(store):
    """All ways to read it give what was written; its reference has a few hundred bytes and a relative path."""
    table = kept(store)
    again = read_back(table, store)
    assert again == table
    assert len(str(to_json(table))) < 600
    assert table.reference.path.startswith("shared/tables/")
    pd.testing.assert_frame_equal(again.to_pandas(), FRAME)
    assert again.to_pandas(columns=["close"], where=[("symbol", "=", "IBM")])["close"].tolist() == [1.5]
    assert again.to_polars().equals(pl.from_pandas(FRAME))
    assert again.scan_polars().filter(pl.col("close") > 2).collect()["symbol"].to_list() == ["AAPL"]
    assert again.dataset().count_rows() == 3
    assert pa.table(again)["symbol"].to_pylist() == ["IBM", "AAPL", None]
    assert [batch.num_rows for batch in again.batches(rows=2)] == [2, 1]
    assert again.head(1) == [{"symbol": "IBM", "close": 1.5}]
    assert "<td>IBM</td>" in again._repr_html_()


def test_extension_types_are_scanned(store):
    """As they are read, whatever they are stored as: polars casts no structs and no lists to them."""
    starts = pd.interval_range(pd.Timestamp("2026-01-01", tz="Europe/Berlin"), periods=2)
    frame = pa.Table.from_pandas(pd.DataFrame({"n": [1, 2], "i": pd.interval_range(0, 2), "t": starts}))
    tensors = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), [2]), pa.array([[1, 2], None], pa.list_(pa.int8(), 2))
    )
    table = kept(store, frame.append_column("x", tensors))
    found = table.scan_polars()
    assert found.collect_schema() == table.to_polars().schema
    assert found.filter(pl.col("n") > 1).collect().equals(table.to_polars()[1:])


def test_an_output_is_found_again(store):
    """Bytes that were put are got, and every put is a file of its own."""
    ref, other = store.put(b"{}"), store.put(b"{}")
    assert store.get(ref) == store.get(other) == b"{}"
    assert ref.uri != other.uri


def test_a_file_is_found_again(store, tmp_path):
    """A file keeps its name and bytes; the original may go."""
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF" * 1000)
    file = store.put_file(File(path))
    path.unlink()
    again = from_json(to_json(file))
    again.bind(store)
    assert (again.name, again.bytes, again.read_bytes()) == ("report.pdf", 4000, b"%PDF" * 1000)


@pytest.mark.parametrize("name", [b"a\\b.pdf", b"a\xff.pdf", b"a\0.pdf"])
def test_a_file_whose_name_others_cannot_have_is_refused(name, tmp_path):
    """A name that would be read as a path, or cannot be written into a payload, fails the step that hands it on."""
    path = os.path.join(tmp_path, os.fsdecode(name))
    flow = Workflow("report")
    flow.step(name="write")(lambda ctx: {"pdf": File(path)})
    failed = run(flow, ledger=f"sqlite:///{tmp_path / 'ledger.db'}")["write"]
    assert failed.category is ErrorCategory.CONFIGURATION
    assert failed.error.endswith("give the file another name")


def test_a_file_with_a_backslash_in_its_name_is_read(tmp_path):
    """Of a ledger in which one was recorded before that was refused; a lone surrogate is in none."""
    (tmp_path / "a.pdf").write_bytes(b"pdf")
    store = PathArtifactStore(str(tmp_path / "store"))
    stored = store.put_file(File(tmp_path / "a.pdf"))
    payload = to_json(stored)
    payload["$file"]["name"] = "a\\b.pdf"
    again = from_json(payload)
    again.bind(store)
    assert (again.name, again.read_bytes()) == ("a\\b.pdf", b"pdf")
    for name in ("a\ud800.pdf", "a/b.pdf", "a\0.pdf", ".."):
        payload["$file"]["name"] = name
        with pytest.raises(PayloadError, match="is no name of a file"):
            from_json(payload)


def test_a_source_that_breaks_leaves_nothing(store):
    """A generator that raises half way has written no file that anybody could find."""

    def batches():
        yield from pa.table({"a": range(1000)}).to_batches(max_chunksize=10)
        raise ConnectionResetError("the source broke")

    with pytest.raises(ConnectionResetError):
        kept(store, batches())
    assert list(store._files.list("shared")) == []


def test_what_is_gone_or_damaged_is_said(store):
    """A table whose file is gone, cut or changed is an error that says what to do, and never other data."""
    table = kept(store, pd.DataFrame({"a": range(1000)}))
    data = store.open_table(table.reference).read()
    for what, broken in {
        "bytes where": data[:-1],
        "damaged": data[:50] + bytes([data[50] ^ 255]) + data[51:],
        "damaged, or cannot": bytes(len(data)),
    }.items():
        overwrite(store, table.reference.path, broken)
        with pytest.raises(ArtifactError, match=f"{what}.*run the step that made it again") as raised:
            read_back(table, store).to_arrow()
        assert str(categorize(raised.value)) == "DEPENDENCY"
    store._files.remove(table.reference.path)
    with pytest.raises(ArtifactError, match="it is not there; .*run the step that made it again"):
        read_back(table, store).to_pandas()


def test_a_table_handed_on_is_stored_once(store):
    """A step that returns the table it was given refers to the same file."""
    table = kept(store)
    assert store.put_table(read_back(table, store)).reference == table.reference


def test_a_table_of_another_store_is_copied(store, tmp_path):
    """What a reader in one store hands on to another is there too."""
    table = kept(PathArtifactStore(str(tmp_path / "other"), inline_bytes=0))
    copied = store.put_table(table)
    assert copied == table
    pd.testing.assert_frame_equal(read_back(copied, store).to_pandas(), FRAME)


def test_prune_removes_what_nothing_refers_to(store):
    """What is referred to stays, what is newer than the grace period stays, what others wrote stays."""
    table, left_over, output = kept(store), kept(store), store.put(b"{}")
    foreign = PathArtifactStore(store.base, prefix="l-other", patience=(), inline_bytes=0).put(b"{}")
    keep = {table.reference.path}
    assert store.prune(keep, datetime.now(UTC) - timedelta(days=1)).files == 0
    counted = store.prune(keep, LATER, dry_run=True)
    assert (counted.files, counted.bytes) == (2, left_over.bytes + 2)
    assert store.prune(keep, LATER) == counted
    assert [stored.path for stored in store._files.list("shared")] == [table.reference.path]
    assert store.get(foreign) == b"{}"
    with pytest.raises(ArtifactError, match="it is not there"):
        store.get(output)


class OverAFileSystem:
    """A path object: a file system of fsspec's, and a folder on it."""

    fs = path = None

    def __init__(self, fs, path):
        self.fs, self.path = fs, path

    def __str__(self):
        return f"{self.fs.protocol[0]}://{self.path}"


class LineDown(LocalFileSystem):
    """As SFTP and its like: a file that is written is empty at once, and then the line may be down."""

    protocol = ("sftp",)
    cachable = False
    is_down = False

    def open(self, path, mode="rb", **kwargs):
        file = super().open(path, mode, **kwargs)
        if "w" in mode and self.is_down:
            raise ConnectionResetError("the line is down")
        return file


@pytest.mark.parametrize("with_ledger", [False, True], ids=["without a ledger", "with a ledger"])
def test_an_old_object_is_never_written_over(with_ledger, tmp_path):
    """It is referred to anew if the ledger keeps it, and else copied; others may read it meanwhile."""
    fs, memory = LineDown(), MemoryLedger()
    found = {"prefix": memory.artifact_prefix, "index": memory.artifacts} if with_ledger else {}
    store = PathArtifactStore(OverAFileSystem(fs, str(tmp_path)), patience=(), inline_bytes=0, **found)
    table = kept(store)
    os.utime(tmp_path / table.reference.path, (0, 0))
    fs.is_down = True
    if with_ledger:
        assert store.put_table(table).reference == table.reference
        assert store.prune(set(), datetime.now(UTC) - timedelta(days=7)).files == 0
    else:
        with pytest.raises(ArtifactUnavailable):
            store.put_table(table)
        fs.is_down = False
        copied = store.put_table(table)
        assert copied.reference.path != table.reference.path
        pd.testing.assert_frame_equal(copied.to_pandas(), FRAME)
    pd.testing.assert_frame_equal(table.to_pandas(), FRAME)


class PagesOfUploads(MemoryFileSystem):
    """As S3, whose list of uploads has two pages; or it is not for everybody."""

    protocol = ("s3",)
    cachable = False
    is_allowed = True
    store: ClassVar[dict[str, object]] = {}

    def __init__(self):
        super().__init__()
        self.aborted = []

    def find(self, path, **kwargs):
        return {name.removeprefix("/"): info for name, info in super().find(path, **kwargs).items()}

    def call_s3(self, method, **asked):
        if not self.is_allowed:
            raise PermissionError("Access Denied")
        if method == "abort_multipart_upload":
            self.aborted.append((asked["Key"], asked["UploadId"]))
            return {}
        number = int(asked.get("UploadIdMarker", 0)) + 1
        upload = {"Key": f"{asked['Prefix']}{number}", "UploadId": str(number), "Initiated": datetime.now(UTC)}
        return {"Uploads": [upload], "IsTruncated": number == 1, "NextUploadIdMarker": str(number)}


def test_uploads_that_were_never_completed_are_aborted(caplog):
    """All of them, and a dry run counts them; a bucket that does not let one do so is told, and costs no count."""
    fs = PagesOfUploads()
    store = PathArtifactStore(OverAFileSystem(fs, "bucket/artifacts"), patience=())
    store.put(b"{}")
    assert store.prune(set(), LATER, dry_run=True) == PrunedArtifacts(files=3, bytes=2)
    assert fs.aborted == []
    assert store.prune(set(), LATER) == PrunedArtifacts(files=3, bytes=2)
    assert fs.aborted == [("artifacts/shared/1", "1"), ("artifacts/shared/2", "2")]
    store.put(b"{}")
    fs.is_allowed = False
    assert store.prune(set(), LATER) == PrunedArtifacts(files=1, bytes=2)
    assert "uploads that were never completed stay: cannot list multipart uploads" in caplog.text


def overwrite(store, path, data):
    """Change a stored file as somebody else would."""
    files = store._files
    if hasattr(files, "local_path"):
        with open(files.local_path(path), "wb") as file:
            file.write(data)
        return
    fs, target = files._at(path)
    fs.pipe_file(target, data)
    fs.invalidate_cache()


def test_a_tiny_table_travels_inside(tmp_path):
    """A table of a few rows has no file of its own, and is found in its reference, by every reader."""
    store = PathArtifactStore(str(tmp_path))
    table = kept(store, pl.DataFrame({"n": range(20)}))
    again = read_back(table, None)
    assert again.reference.path is None
    assert again.to_polars()["n"].to_list() == list(range(20))
    assert again.scan_polars().collect().height == again.dataset().count_rows() == 20
    assert store.put_table(again).reference == table.reference
    assert not list(tmp_path.rglob("*.parquet"))


# -- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "shared/tables/../../../etc/passwd",
        "s3://evil/shared/tables/ab/" + "0" * 32 + ".parquet",
        "file:///etc/passwd",
        "shared/tables/ab/" + "0" * 32 + ".parquet\n",
        "shared\\tables\\ab\\x.parquet",
        "//host/shared/tables/ab/" + "0" * 32 + ".parquet",
        "shared/tables/ab/" + "0" * 32 + ".parquet::zip",
        "SHARED/tables/ab/" + "0" * 32 + ".parquet",
        "",
        None,
        7,
    ],
)
def test_a_reference_leads_nowhere_else(path, tmp_path):
    """No scheme, host, parent, absolute or other path is taken from a payload, for a table, file or output."""
    store = PathArtifactStore(str(tmp_path), patience=(), inline_bytes=0)
    payload = to_json(kept(store))
    payload["$table"]["path"] = path
    with pytest.raises(PayloadError, match="damaged"):
        from_json(payload)
    with pytest.raises(PayloadError, match="damaged"):
        from_json({"$file": {"path": path, "name": "x", "size": 1, "digest": "0" * 64}})
    with pytest.raises(PayloadError, match="no path in an artifact store"):
        store.get(ArtifactRef(uri=str(path), digest="0" * 64, size=1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("0" * 64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["path", "data", "digest", "size", "rows", "checksum", "columns", "name"])


@given(st.sampled_from(["$table", "$file"]), st.dictionaries(FIELDS, JSON))
def test_a_damaged_reference_is_refused(tag, data):
    """Whatever stands in a reference, it is a table or file of sound fields, or a PayloadError."""
    try:
        found = from_json({tag: data})
    except PayloadError:
        return
    assert isinstance(found, (Table, File))
    assert to_json(found)[tag].keys() <= data.keys()


def test_links_pipes_and_folders_are_not_opened(tmp_path):
    """Whoever can write into the store cannot make a reader leave it, or wait."""
    store = PathArtifactStore(str(tmp_path / "store"), patience=(), inline_bytes=0)
    secret = tmp_path / "secret"
    for made in ("link", "pipe", "folder", "linked folder"):
        table = kept(store)
        path = store._files.local_path(table.reference.path)
        secret.write_bytes(Path(path).read_bytes())
        os.unlink(path)
        if made == "link":
            os.symlink(secret, path)
        elif made == "pipe":
            os.mkfifo(path)
        elif made == "folder":
            os.mkdir(path)
        else:
            Path(path).write_bytes(secret.read_bytes())
            os.rename(os.path.dirname(path), tmp_path / "away")
            os.symlink(tmp_path / "away", os.path.dirname(path))
        for read in (Table.to_arrow, Table.scan_polars, Table.dataset):
            with pytest.raises(ArtifactRefused):
                read(read_back(table, store))


def test_counts_are_checked_before_memory_is_taken(tmp_path):
    """A reference that promises other rows or bytes than the file has is refused before anything is read."""
    store = PathArtifactStore(str(tmp_path), patience=(), inline_bytes=0)
    table = kept(store)
    for changes, what in (({"size": 2**52}, "bytes where"), ({"rows": 2**52}, "rows where")):
        with pytest.raises(ArtifactError, match=what):
            Table(replace(table.reference, **changes), store=store).to_arrow()
    with pytest.raises(ArtifactError, match="bytes where"):
        store.get(replace(store.put(b"{}"), size=2**52))


def test_references_of_0_1_are_read_inside_of_the_store(tmp_path):
    """An absolute URI that leads into the configured store is followed, and no other."""
    store = PathArtifactStore(str(tmp_path / "store"), patience=(), inline_bytes=0)
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    path = tmp_path / "store" / "44" / f"{digest}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}")
    assert store.get(ArtifactRef(uri=str(path), digest=digest, size=2)) == b"{}"
    with pytest.raises(PayloadError, match="no path in an artifact store"):
        store.get(ArtifactRef(uri=f"/elsewhere/44/{digest}.json", digest=digest, size=2))


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said():
    """A disk without space is DEPENDENCY or worth another try, and says so; nothing is left behind."""
    error = explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "write x to y")
    assert isinstance(error, ArtifactUnavailable)
    assert "free some space" in str(error)
    assert categorize(error).retryable


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_no_room_for_what_waits_for_an_upload_is_said(bucket, monkeypatch, tmp_path, size):
    """It is no fault of the bucket, whether a temporary file cannot be made, or not be written."""
    store = PathArtifactStore(bucket, patience=(), inline_bytes=0)
    words = rf"to {bucket}: temporary files in .* cannot be written \(No space left.*\); set TMPDIR to a folder"
    with monkeypatch.context() as full:
        full.setattr(tempfile, "TemporaryFile", lambda **how: open("/dev/full", "w+b"))  # noqa: SIM115
        with pytest.raises(ArtifactUnavailable, match=words):
            store.put(b"x" * size)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ArtifactUnavailable, match=r"temporary files in .*gone cannot be written \(No such file"):
        store.put(b"x" * size)


def test_a_folder_that_is_no_folder_is_said(tmp_path):
    """A store whose place is a file is a matter of configuration."""
    (tmp_path / "store").write_text("")
    with pytest.raises(ArtifactRefused, match="FLOWCTX_ARTIFACTS_URL") as raised:
        kept(PathArtifactStore(str(tmp_path / "store"), patience=(), inline_bytes=0))
    assert str(categorize(raised.value)) == "CONFIGURATION"


def test_a_folder_that_cannot_be_made_is_said():
    """Of a folder it is not said that a bucket is not there."""
    with pytest.raises(ArtifactRefused, match="to /proc/nope: the folder cannot be made .*name another one in FLOWCTX"):
        kept(PathArtifactStore("/proc/nope", patience=(), inline_bytes=0))


@pytest.mark.parametrize("place", ["", "  "])
def test_a_place_of_blanks_is_refused(place):
    """No folder is named by blanks."""
    with pytest.raises(ContextError, match="the artifact store needs a folder or URL"):
        PathArtifactStore(place)


def test_a_bucket_that_is_not_there_is_said(bucket):
    """A bucket that does not exist is no damage of the data, but a matter of configuration."""
    with pytest.raises(
        ArtifactRefused, match="no-such-bucket.*there is no such bucket or container.*make it"
    ) as raised:
        kept(PathArtifactStore("s3://no-such-bucket/x", patience=(), inline_bytes=0))
    assert str(categorize(raised.value)) == "CONFIGURATION"


def test_who_has_no_credentials_is_told_at_once(bucket, monkeypatch):
    """Without a key nothing is tried again: the error says who is to be let in, and is a matter of configuration."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = PathArtifactStore(bucket, patience=(60.0,), inline_bytes=0)
    nobody._files._given = UPath(bucket, skip_instance_cache=True)
    with pytest.raises(ArtifactRefused, match="NoCredentialsError.*grant access") as raised:
        kept(nobody)
    assert str(categorize(raised.value)) == "CONFIGURATION"


def test_errors_of_a_cause_are_told(tmp_path):
    """What a library wraps is seen through, and only the first line of what it says is shown."""

    class ResourceNotFoundError(Exception):
        __module__ = "azure.core.exceptions"

    error = RuntimeError("Failed to upload block: no such container\n<Error>\n")
    error.__cause__ = ResourceNotFoundError("no such container")
    refusal = explained(error, "write x to abfs://c")
    assert isinstance(refusal, ArtifactRefused)
    assert "(RuntimeError: Failed to upload block: no such container); make it" in str(refusal)


def test_a_store_that_does_not_answer_is_asked_again(bucket, monkeypatch):
    """After some patience the error says that the store is away; its category lets the step be retried."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = PathArtifactStore("s3://other/x", patience=(0.0, 0.0), inline_bytes=0)
    away._files._given = __import__("upath").UPath("s3://other/x", skip_instance_cache=True)
    with pytest.raises(ArtifactUnavailable, match="does not answer") as raised:
        kept(away)
    assert str(categorize(raised.value)) == "TRANSIENT"


def test_urls_that_lead_nowhere_are_said():
    """A scheme that nobody knows, a package that is missing and a host in a file URL are errors with a remedy."""
    for url, what in {
        "nope://x/y": "cannot be opened.*nope.*that fsspec knows",
        "gs://b/x": "needs a package",
        "abfs://c/x": "package",
    }.items():
        with pytest.raises(ContextError, match=what):
            PathArtifactStore(url, patience=(), inline_bytes=0).put(b"")
    with pytest.raises(ContextError, match="three strokes"):
        PathArtifactStore("file://data/x")


def test_a_place_is_taken_or_refused_at_once(tmp_path):
    """A ``pathlib.Path`` is a folder, as its text is; what can hold no files is refused before anything is written."""
    for place in (tmp_path, UPath(tmp_path), UPath(tmp_path.as_uri())):
        store = PathArtifactStore(place)
        assert store == PathArtifactStore(str(tmp_path))
        assert store.get(store.put(b"{}")) == b"{}"
        assert kept(PathArtifactStore(place, inline_bytes=0)).to_arrow().num_rows == 3
    for wrong in (7, b"/tmp", object(), os.fsencode(tmp_path), None, ""):
        with pytest.raises(ContextError, match="needs a folder or URL, such as"):
            PathArtifactStore(wrong)
    with pytest.raises(ContextError, match="pass the text 's3://bucket/x'"):
        PathArtifactStore(Path("s3://bucket/x"))


# -- where ------------------------------------------------------------------------------------------------------------


class ALedger:
    artifact_prefix = "l-1"

    def __init__(self, url):
        self.url = url


def test_where_artifacts_go(monkeypatch, tmp_path):
    """The variable, else beside the ledger's file, else the engine's place, else nowhere."""
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    beside = artifact_store(ALedger(f"sqlite:///{tmp_path}/ledger.db"), "/engine")
    assert (beside.base, beside.prefix) == (f"{tmp_path}/ledger.db.artifacts", "l-1")
    assert artifact_store(ALedger("postgresql://h/db"), "/engine").base == "/engine"
    assert artifact_store(ALedger("postgresql://h/db")) is None
    assert artifact_store() is None
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", "s3://b/x")
    assert artifact_store(ALedger(f"sqlite:///{tmp_path}/ledger.db")).base == "s3://b/x"
