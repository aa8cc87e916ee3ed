"""Two versions of flowctx share a ledger: this one, and the latest that had an older schema: ``rolling.py [v0013]``."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from postgres import postgres_database, postgres_server  # noqa: E402

MIGRATIONS = "src/flowctx/ledger/migrations/versions"


def git(*arguments: str) -> bytes:
    """Return what git says."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def version_before(folder: Path, migration: str) -> str:
    """Unpack the code before a migration, such as ``v0013``, and return the schema that it knows."""
    added = git("log", "-1", "--format=%H", "--diff-filter=A", "--", f"{MIGRATIONS}/{migration}*").decode().strip()
    with tarfile.open(fileobj=BytesIO(git("archive", f"{added}^", "src"))) as archive:
        archive.extractall(folder, filter="data")
    return max(file.stem for file in (folder / MIGRATIONS).glob("v*.py"))[1:5]


class Worker:
    """A process of one of the versions.

    Args:
        source: Where its code is.
        folder: Where it notes its calls.
        arguments: What it runs.
    """

    def __init__(self, source: Path, folder: Path, *arguments: str) -> None:
        env = {**os.environ, "PYTHONPATH": f"{source}:{HERE}", "ROLLING": str(folder)}
        self._process = subprocess.Popen([sys.executable, *arguments], env=env, stdout=subprocess.PIPE, text=True)

    def answer(self) -> str:
        """Wait for its end, and return its last line."""
        return (self._process.communicate(timeout=120)[0].strip().splitlines() or [""])[-1]

    def wait_for(self, file: Path) -> None:
        """Wait until it has made a file."""
        while not file.exists():
            assert self._process.poll() is None, f"it ended without {file.name}: {self.answer()}"
            time.sleep(0.05)


def roll(url: str, old: Path, folder: Path, schema: str) -> None:
    """Upgrade a ledger beneath workers of the version before, and let this version go on."""
    new, work = ROOT / "src", str(HERE / "rolling_flow.py")
    before = [Worker(old, folder, work, url, kind) for kind in ("run", "batch")]
    for kind, worker in zip(("run", "batch"), before, strict=True):
        worker.wait_for(folder / f"waiting-{kind}")
    early = Worker(new, folder, work, url, "late").answer()
    assert f"has schema {schema} and this flowctx needs" in early, early
    assert early.endswith("type: flowctx ledger upgrade"), early
    subprocess.run([sys.executable, "-m", "flowctx", "ledger", "upgrade", "--ledger", url], check=True)
    (folder / "upgraded").touch()
    for kind, worker in zip(("run", "batch"), before, strict=True):
        print(f"  the {kind} of the version before, begun before the upgrade: {worker.answer()}")
    late = Worker(old, folder, work, url, "late").answer()
    assert f"newer than the {schema} of this flowctx; type: pip install --upgrade flowctx" in late, late
    print(f"  a run of it that begins after the upgrade: {late}")
    finish(url, folder, work)


def finish(url: str, folder: Path, work: str) -> None:
    """Go on with this version until all is done: nothing that was recorded runs again, and nothing is lost."""
    from flowctx import BatchStatus, resume
    from flowctx.core.durability.records import RunStatus
    from flowctx.ledger import open_ledger

    os.environ["ROLLING"] = str(folder)
    sys.modules.pop("rolling_flow", None)
    from rolling_flow import rolling

    ledger = open_ledger(url)
    found = ledger.get_run("run")
    if found.status is not RunStatus.OK:
        resume("run", workflow=rolling, ledger=ledger, take_over=True).raise_for_failure()
    again = Worker(ROOT / "src", folder, work, url, "batch").answer()
    assert BatchStatus.of(ledger, "batch").counts == {"ok": 4}, again
    ledger.close()
    calls = Counter((folder / "calls").read_text().splitlines())
    assert {call: times for call, times in calls.items() if call.endswith("load") and times > 1} == {}, calls
    assert len([call for call in calls if call.endswith("use")]) == 5, calls


@contextmanager
def ledgers(folder: Path) -> Iterator[list[str]]:
    """Yield an empty database of each kind."""
    with postgres_server() as server, postgres_database(server) as database:
        yield [f"sqlite:///{folder}/ledger.db", database]


def main(migration: str) -> None:
    """Try both databases."""
    with tempfile.TemporaryDirectory(prefix="flowctx-rolling-") as name, ledgers(Path(name)) as urls:
        folder = Path(name)
        schema = version_before(folder / "before", migration)
        for url in urls:
            print(f"{url.partition(':')[0]}, from schema {schema}:")
            work = folder / url.partition(":")[0]
            work.mkdir()
            roll(url, folder / "before" / "src", work, schema)
    print(f"a ledger of schema {schema} was upgraded beneath its workers: all done, nothing loaded twice")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["v"])
