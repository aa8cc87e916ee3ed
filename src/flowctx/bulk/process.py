"""Run a slice of a batch in a process of its own, and hear how its partitions end.

The process ends when this one does, whatever the way: what was recorded by then stays, and the next attempt at the
slice goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Any, Final

from flowctx.core.batches.bulk import BulkRequest, Slice
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, WorkflowError
from flowctx.core.workflow.definition import Workflow, check_workflow
from flowctx.core.workflow.import_path import import_path_of

#: What the process runs; the package that has it does not know this one.
_PROGRAM: Final = "from flowctx.backfill.slice_run import main; main()"
#: As much as a pipe holds.
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceNews:
    """How a partition of a slice ended."""

    partition: str
    state: PartitionState
    run_id: str
    #: When it ended, as the ledger has it.
    ended_at: datetime
    #: Whether it had ended before this attempt at the slice began, so that an earlier one may have told of it.
    before: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SliceNews:
        """Read what the process says."""
        read = {"state": PartitionState(data["state"]), "ended_at": datetime.fromisoformat(data["ended_at"])}
        return cls(**{**data, **read})


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceEnd:
    """How a slice ended."""

    #: How many of its partitions stand how.
    counts: Mapping[str, int]
    #: Why it stopped before all of them had their turn, if it did.
    stopped: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return asdict(self)


class SliceProcess:
    """Runs a slice.

    Args:
        workflow: The workflow, which the process imports.
        request: What the batch asks for.
        part: The slice.
        ledger: Where the batch is remembered.

    Raises:
        BatchError: The process cannot import the workflow, or there is no ledger that it can reach.
    """

    def __init__(self, workflow: Workflow, request: BulkRequest, part: Slice, ledger: Ledger | None) -> None:
        address = getattr(ledger, "address", None)
        if address is None:
            raise BatchError(
                f"a slice of batch {request.batch_id!r} goes on from what the ledger remembers, and here none is "
                "named; set FLOWCTX_LEDGER_URL for whatever runs tasks, to the ledger of whoever launched the batch"
            )
        setup = {"target": importable(workflow), "ledger": address, "request": request.to_dict(), "slice": asdict(part)}
        self._setup = json.dumps(setup).encode() + b"\n"
        self._what = f"a slice of batch {request.batch_id!r}"
        self._process: subprocess.Popen[bytes] | None = None
        self._refusal: str | None = None
        #: How it ended, once it has.
        self.end: SliceEnd | None = None

    def run(self) -> Iterator[SliceNews]:
        """Run it, and yield how each partition ended, on the disk by then; at last, ``end`` says how all of them did.

        Raises:
            BatchError: It cannot run, or its process died.
        """
        for news in self.run_in_groups():
            yield from news

    def run_in_groups(self, gather_seconds: float = 0.0) -> Iterator[list[SliceNews]]:
        """Run it, and yield together what has ended since the last time.

        Args:
            gather_seconds: How long what ends is gathered, for who needs less time for many than for each.

        Raises:
            BatchError: It cannot run, or its process died.
        """
        process = self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Where it is closed, a pipe of the process would take its place.
            stderr=subprocess.DEVNULL if sys.stderr is None else None,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they are pipes
        try:
            with suppress(BrokenPipeError):  # it died; that is seen when it is read from
                process.stdin.write(self._setup)
                process.stdin.flush()
            for lines in _lines(process.stdout, gather_seconds):
                yield [news for line in lines for news in self._news(json.loads(line))]
        finally:
            self.kill()
        if self._refusal is not None:
            raise BatchError(self._refusal)
        if self.end is None:
            raise BatchError(f"{self._what} was not finished: its process ended {_how(process.returncode)}")

    def kill(self) -> None:
        """End it at once; what is recorded stays."""
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()

    def _news(self, message: Mapping[str, Any]) -> Iterator[SliceNews]:
        if "refused" in message:
            self._refusal = str(message["refused"])
        elif "counts" in message:
            self.end = SliceEnd(**message)
        else:
            yield SliceNews.from_dict(message)


def check_bulk(workflow: Workflow, instead: str) -> None:
    """Refuse a workflow whose batches cannot run in bulk.

    Args:
        workflow: The workflow.
        instead: What is enough for a workflow without partitions.

    Raises:
        WorkflowError: It has no partitions or no steps, or other processes cannot import it.
    """
    if check_workflow(workflow).partitions is None:
        raise WorkflowError(f"workflow {workflow.name!r} has no partitions to run in bulk; {instead} is enough")
    try:
        importable(workflow)
    except BatchError as exc:
        raise WorkflowError(str(exc)) from None


def importable(workflow: Workflow) -> str:
    """Return where other processes import a workflow from.

    Raises:
        BatchError: They cannot.
    """
    import_path = import_path_of(workflow)
    if import_path is None:
        raise BatchError(
            f"workflow {workflow.name!r} cannot be imported by the processes that run slices; bind it to a name in a "
            "module, such as prices = Workflow(...) in flows.py"
        )
    return import_path


def _lines(pipe: IO[bytes], gather_seconds: float) -> Iterator[list[bytes]]:
    """Yield the lines that have come since the last time, as soon as there are any."""
    rest = b""
    while some := os.read(pipe.fileno(), _MOST_BYTES):
        *lines, rest = (rest + some).split(b"\n")
        if lines:
            yield lines
            time.sleep(gather_seconds)


def _how(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
