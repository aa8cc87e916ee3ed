"""A program that reads a corpus of hostile payloads, rows and names, and tells what it was made to do meanwhile.

An audit hook sees every file, socket, import and process of this interpreter; it cannot be removed, hence a program.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import resource
import sys
import tempfile
import warnings
from pathlib import Path

import msgspec

from flowctx import Daily, FlowctxError, PartitionKey, PartitionScheme, WorkflowContext
from flowctx.artifacts import PathArtifactStore
from flowctx.core.batches.records import BatchWorkflow
from flowctx.core.data.encoding import decode, encode, from_json
from flowctx.core.data.plain import ArtifactRef, freeze
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.workflow.import_path import import_recorded
from flowctx.core.workflow.run_request import RESERVED_NAMES, RunRequest
from flowctx.ledger.batch_rows import batch_of, noted_run
from flowctx.ledger.rows import capture_record, run_record, step_record
from flowctx.testing import make_context

warnings.simplefilter("ignore")  # to show one, Python opens the file that warns
NAME = "ab" * 16
ADDRESSES = [
    "/etc/passwd",
    "file:///etc/passwd",
    "../../../etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "~/.ssh/id_rsa",
    "http://169.254.169.254/latest/meta-data",
    "https://127.0.0.1:1/x",
    "github://o:r@/x",
    "s3://bucket/key",
    "memory://x",
    "ftp://127.0.0.1/x",
    "data:,x",
    "zip://x::file:///etc/passwd",
    "\\\\host\\share",
    "/etc/passwd\0.parquet",
    "",
    ".",
    "x" * 5000,
    f"a/tables/ab/{NAME}.parquet",
    f"a/tables/ab/../../{NAME}.parquet",
    f"a/outputs/ab/{NAME}.json",
    "{{ ''.__class__.__mro__ }}",
    "$(touch proof)",
    "`touch proof`",
    "__import__('os').system('touch proof')",
    "cos\nsystem\n(S'touch proof'\ntR.",
    "!!python/object/apply:os.system ['touch proof']",
    "os:system",
    "evil.py:flow",
    "/tmp/evil.py:flow",
    "\x1b]0;own\x07",
    "\ud800",
    "9" * 5000,
    "1e999999999",
    "-1",
    "nan",
]
TAGS = [
    "$artifact",
    "$table",
    "$file",
    "$uuid",
    "$date",
    "$datetime",
    "$time",
    "$timedelta",
    "$decimal",
    "$bytes",
    "$float",
    "$int",
    "$str",
    "$python",
    "$class",
    "py/object",
    "__type",
    "__classname__",
    "__reduce__",
    "$ref",
]
SCHEME = PartitionScheme(date=Daily(start="2026-01-02", calendar="WEEKDAYS"), tier=["T1", "T2"])


def values():
    """Yield what may stand anywhere in a payload."""
    yield from (None, True, -1, 2**63, 1e308, [], {}, [[]], {"": ""})
    for text in ADDRESSES:
        yield text
        for tag in TAGS:
            yield {tag: text}
        for tag in ("$artifact", "$table", "$file"):
            reference = {
                "path": text,
                "uri": text,
                "digest": "0" * 64,
                "checksum": "0" * 64,
                "size": 1,
                "rows": 1,
                "name": text,
            }
            kept = {"$artifact": ("uri", "digest", "size"), "$table": ("path", "digest", "checksum", "size", "rows")}
            names = kept.get(tag, ("path", "digest", "size", "name"))
            yield {tag: {name: reference[name] for name in names}}
            yield {tag: reference}


def payloads():
    """Yield hostile contexts, envelopes and conf."""
    ctx, envelope = make_context(workflow="w").to_dict(), {"flowctx": "1.0", "step": "a", "output": {}}
    for value in values():
        yield "json", value
        yield "context", {**ctx, "params": {"x": value}}
        yield "bytes", json.dumps({**ctx, "step_outputs": {"x": value}})
        yield (
            "bytes",
            json.dumps({**ctx, "step_outputs": {"x": {"y": value}}}, separators=(",", ":"), ensure_ascii=False),
        )
        yield "envelope", {**envelope, "output": {"x": value}}
        yield "envelope", {**envelope, "output": value}
    for value in itertools.islice(values(), 0, None, 7):  # every tag and every address comes by
        for field in (*ctx, "checkpoint", "partition"):
            yield "context", {**ctx, field: value}
            yield "bytes", json.dumps({**ctx, field: value})
        for field in (*envelope, "status", "updates", "prior", "quality", "error"):
            yield "envelope", {**envelope, field: value}
        for name in RESERVED_NAMES:
            yield "conf", {name: value}
    nested: object = 0
    for _ in range(5000):
        nested = [nested]
    yield "json", nested
    yield "context", {**ctx, "params": {"x": nested}}
    yield "bytes", json.dumps({**ctx, "step_outputs": {"x": "HERE"}}).replace('"HERE"', "[" * 900 + "]" * 900)
    yield "bytes", json.dumps(ctx).replace("null", "[" * 5000)
    yield "envelope", {**envelope, "output": {"x": nested}}


def rows():
    """Yield hostile rows of a ledger, each with the digest that its writer would give it."""
    run = {
        "run_key": "k",
        "workflow": "w",
        "run_id": "r",
        "status": "ok",
        "attempt": 1,
        "fence": 1,
        "steps": "[]",
        "selected": None,
        "continued_by": None,
        "target": None,
        "finished_at": None,
        "error": None,
        "owner": None,
        "begun_at": None,
        "lease_until": None,
        "heard_at": "2026-01-09T12:00:00+00:00",
        "reads": None,
        "started_at": "2026-01-09T12:00:00+00:00",
        "batch_id": "b",
        "partition": None,
        "engine": "local",
    }
    step = {
        "step": "a",
        "status": "ok",
        "version": None,
        "attempts": 1,
        "started_at": "2026-01-09T12:00:00+00:00",
        "seconds": 1.0,
        "run_attempt": 1,
        "inputs": None,
    }
    for value in values():
        if "ud800" in json.dumps(value):
            continue  # no database holds one
        for payload in ({"output": value}, {"output": {"x": value}}, {"output": {}, "after": value, "config": value}):
            yield "step", step | signed("payload", payload)
        for reads in (value, {"x": value}, {"x": ["w", "a", value]}, {"x": ["w", "a", [value] * 5]}):
            yield "step", step | signed("payload", {"output": {}, "updates": value, "inputs": reads})
        yield "run", run | signed("context", {**make_context(workflow="w").to_dict(), "params": value})
        if isinstance(value, str):
            for field in ("status", "steps", "heard_at", "selected", "reads", "target"):
                yield "run", run | signed("context", make_context(workflow="w").to_dict()) | {field: value}
            empty = dict.fromkeys(
                (
                    "target",
                    "digest",
                    "total",
                    "params_from",
                    "engine",
                    "canceled_at",
                    "started_at",
                    "ended_at",
                    "step",
                    "error",
                    "kept_at",
                    "others",
                )
            )
            batch = {
                "batch_id": "b",
                "workflow": "w",
                "params": "{}",
                "selection": value,
                "created_at": run["heard_at"],
            }
            yield "batch", empty | batch | {"target": value}
            yield "batch", empty | batch | {"params": json.dumps({"x": value})}
            yield "batch", empty | batch | {"params": value, "created_at": value}
            for others in ({"x": value}, [value], [{"workflow": value, "params": {}}], [{"params": value}]):
                yield "batch", empty | batch | {"selection": "x=y", "others": json.dumps(others)}
            yield "batch", empty | batch | {"others": value}
            note = {"batch_id": "b", "partition": value, "run_id": value, "state": value, "attempt": 1}
            yield "note", empty | note | {"heard_at": value}


def signed(column, payload):
    """Return a payload as a column, and its digest."""
    text = json.dumps(payload)
    return {column: text, "digest": hashlib.sha256(text.encode()).hexdigest()[:32]}


def texts():
    """Yield hostile texts for all that reads texts."""
    for text in ADDRESSES:
        yield "key", text
        yield "key", f"date={text}|tier={text}"
        yield "selection", text
        yield "selection", f"date={text}..{text},tier={text}"
        yield "calendar", text
        if text.rpartition(":")[0].endswith(".py") or "/" in text:
            yield "target", text


def readers(store):
    """Return what reads each kind."""

    def opened(value):
        found = from_json(value)
        for one in (found, *(found.values() if isinstance(found, dict) else ())):
            if isinstance(one, ArtifactRef):
                store.get(one)
            elif hasattr(one, "to_arrow"):
                store.open_table(one.reference).read()
            elif hasattr(one, "reference"):
                store.open_file(one.reference).read()
        return decode(encode(freeze(found)))

    def step(row):
        load_output(Envelope(step="a", output=step_record(row, "r").output), store)

    return {
        "json": opened,
        "context": WorkflowContext.from_dict,
        "bytes": lambda text: WorkflowContext.from_bytes(text).to_dict(),
        "envelope": lambda data: load_output(Envelope.from_payload(data), store),
        "conf": lambda data: RunRequest.parse(data.get, "conf"),
        "step": step,
        "run": run_record,
        "batch": batch_of,
        "note": noted_run,
        "capture": capture_record,
        "key": PartitionKey.parse,
        "selection": lambda text: SCHEME.select(text, until="2026-02-01"),
        "calendar": lambda text: Daily(start="2026-01-02", calendar=text).count("2026-02-01"),
        "target": import_recorded,
    }


#: What a payload must never bring about.
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "exec",
    "compile",
    "import",
    "pickle.",
    "ctypes.",
    "marshal.",
    "urllib.",
    "http.",
    "ftplib.",
    "shutil.",
    "os.symlink",
    "os.putenv",
)


class Witness:
    """Notes what happens while it looks."""

    def __init__(self, allowed):
        self.allowed, self.looking, self.seen = allowed, False, {}
        sys.addaudithook(self)

    def __call__(self, event, args):
        if not self.looking:
            return
        if event == "open":
            if not str(args[0]).startswith(self.allowed):
                self.seen.setdefault(f"open {args[0]!r}"[:200], self.about)
        elif event.startswith(FORBIDDEN):
            self.seen.setdefault(f"{event} {args!r}"[:200], self.about)

    def look(self, read, kind, value):
        """Read something, and return an error that is none of ours or too long."""
        try:
            self.about = f"{kind} {value!r}"[:200]
        except RecursionError:
            self.about = f"{kind} nested without end"
        self.looking = True
        try:
            read(value)
        except FlowctxError as exc:
            return None if len(str(exc)) < 2000 else f"{len(str(exc))} characters: {str(exc)[:100]}"
        except BaseException as exc:
            return f"{type(exc).__name__}: {exc}"[:200]
        finally:
            self.looking = False
        return None


def main():
    """Read everything, and print what was seen as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    os.chdir(folder)
    store = PathArtifactStore(str(folder / "store"), patience=(), inline_bytes=0)
    planted = folder / "store" / "a" / "tables" / "ab"
    planted.mkdir(parents=True)
    (planted / f"{NAME}.parquet").symlink_to("/etc/passwd")
    (folder / "store" / "a" / "outputs" / "ab").mkdir(parents=True)
    os.mkfifo(folder / "store" / "a" / "outputs" / "ab" / f"{NAME}.json")
    every = list(itertools.chain(payloads(), rows(), texts()))
    known = readers(store)
    # What is imported when it is first needed is imported now, by what is harmless.
    warm_up(known)
    witness, raw = Witness((str(folder / "store"), str(folder / "cache"))), {}
    witness.look(lambda path: open(path, "rb").close(), "canary", "/dev/null")
    witness.look(__import__, "canary", "this_is_no_module")
    canaries = [event.split(" ")[0] for event in witness.seen]
    witness.seen.clear()
    modules = set(sys.modules)  # not every way to import raises an event
    for kind, value in every:
        problem = witness.look(known[kind], kind, value)
        if problem is not None:
            raw.setdefault(f"{kind}: {problem}", witness.about)
    witness.seen |= dict.fromkeys(sorted(set(sys.modules) - modules), "is imported")
    report = {"count": len(every), "canaries": canaries, "seen": witness.seen, "raw": raw, "files": os.listdir(".")}
    print(json.dumps(report))


def warm_up(known):
    """Read one harmless value of each kind, and one of each that is refused."""
    for name in (
        "pyarrow.parquet",
        "flowctx.artifacts.frames",
        "flowctx.artifacts.library",
        "difflib",
        "unicodedata",
        "encodings.unicode_escape",
    ):
        importlib.import_module(name)
    msgspec.convert(
        {"workflow": "w", "selection": "s", "digest": "d", "total": 1}, BatchWorkflow
    )  # reads its types once
    witness = Witness(())
    good = [
        ("json", {"$decimal": "1.1"}),
        ("json", {"$uuid": "0" * 32}),
        ("json", {"$date": "2026-01-09"}),
        ("key", "tier=T1"),
        ("selection", "tier=T1"),
        ("calendar", "WEEKDAYS"),
        ("calendar", "NO_SUCH"),
        ("calendar", "XNYS"),
        ("calendar", "no such"),
        ("target", "/no/such.py:flow"),
        ("conf", {"as_of_date": "2026-01-09"}),
        ("json", {"$str": "x"}),
        ("bytes", make_context(workflow="w").to_bytes()),
    ]
    for kind, value in good:
        witness.look(known[kind], kind, value)
    for tag in TAGS:
        witness.look(known["json"], "json", {tag: {}})
    record = {"path": f"a/tables/cd/{NAME}.parquet", "digest": "0" * 64, "checksum": "0" * 64, "size": 1, "rows": 1}
    witness.look(known["json"], "json", {"$table": record})
    for kind, value in rows():
        witness.look(known[kind], kind, value)
        break


if __name__ == "__main__":
    main()
