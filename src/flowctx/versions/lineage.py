"""What a version was built from: what its steps have read, and what that was built from, down to the first inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowctx.core.data.encoding import to_json
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, StepRecord, VersionRead
from flowctx.core.durability.versions import Version
from flowctx.core.errors import UnknownRun
from flowctx.core.masking import mask_data
from flowctx.core.partitions.key import PartitionKey

#: A workflow, a step, a partition, and the id of a capture of it.
_StepOfCapture = tuple[str, str, PartitionKey | None, str]


@dataclass(kw_only=True)
class Source:
    """A capture that something was built from, as far as it was read; the first one is what is asked about."""

    #: How many readings it is away from what is asked about.
    depth: int
    #: The workflow's name.
    workflow: str
    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The capture.
    capture_id: str
    #: Counts the captures of one partition; ``None`` where it is not known.
    revision: int | None
    #: The digest of the key of the run that wrote it.
    run_key: str
    #: That run; ``None`` where it was pruned.
    run: RunRecord | None = None
    #: The steps that were read, and those before them, in the order in which they ran.
    steps: list[StepRecord] = field(default_factory=list)
    #: What is not as it was when it was read, if anything.
    problem: str | None = None
    #: The names of the steps that were read.
    wanted: set[str] = field(default_factory=set)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data, without secrets."""
        run = self.run
        data: dict[str, Any] = {
            "depth": self.depth,
            "workflow": self.workflow,
            "partition": str(self.partition) if self.partition else None,
            "capture_id": self.capture_id,
            "revision": self.revision,
            "run_key": self.run_key,
            "problem": self.problem,
            "run": None if run is None else _run_data(run),
            "steps": [_step_data(step) for step in self.steps],
        }
        masked: dict[str, Any] = mask_data(data)
        return masked


def lineage(ledger: Ledger, run: RunRecord) -> list[Source]:
    """Return what a run was built from, itself first; each capture once, the nearest first.

    Args:
        ledger: Where runs are remembered.
        run: The run that wrote what is asked about.
    """
    ctx = run.context
    first = Source(
        depth=0,
        workflow=run.workflow,
        partition=ctx.partition,
        capture_id=ctx.capture_id or "",
        revision=_revision_of(ledger, run),
        run_key=run.key.digest,
    )
    found = {first.run_key: first}
    pending: dict[str, Source] = {first.run_key: first}
    while pending:
        runs, records = ledger.runs_of(pending), ledger.recorded_steps(pending)
        reads: list[tuple[int, VersionRead]] = []
        for key, source in pending.items():
            source.run = runs.get(key)
            if source.run is None:
                source.problem = "pruned: what it was built from is not known any more"
            before = {step.step for step in source.steps}
            source.steps = _relevant(records.get(key, []), source.wanted)
            new = (step for step in source.steps if step.step not in before)
            reads += [(source.depth + 1, read) for step in new for some in step.inputs.values() for read in some]
        digests = _digests(ledger, [read for _, read in reads])
        pending = {}
        for depth, read in reads:
            source = _source_of(read, depth, found)
            if read.step not in source.wanted:
                source.wanted.add(read.step)
                pending[read.run_key] = source
            now = digests.get((read.workflow, read.step, read.partition, read.capture_id), read.digest)
            if now != read.digest:
                source.problem = "written over since it was read: what it held then is not known any more"
    return sorted(found.values(), key=lambda source: source.depth)


def find_captured(ledger: Ledger, text: str, workflow: str | None, partition: PartitionKey | None) -> RunRecord:
    """Return the run that wrote a capture, or the run of an id.

    Raises:
        UnknownRun: There is none, or the capture is one of several workflows.
    """
    runs = ledger.list_runs(capture_id=text, workflow=workflow, partition=partition, limit=200)
    holders = {
        capture.holder for run in runs for capture in _captures_of(ledger, run) if capture.key.capture_id == text
    }
    written = [run for run in runs if run.key.digest in holders] or runs[:1]
    names = sorted({run.workflow for run in written})
    if len(names) > 1:
        raise UnknownRun(f"capture {text!r} is one of several workflows; say which: --workflow {' or '.join(names)}")
    return written[0] if written else ledger.get_run(text, workflow=workflow, partition=partition)


def _captures_of(ledger: Ledger, run: RunRecord) -> list[Any]:
    return ledger.captures(idempotency_key=run.capture.idempotency_key) if run.capture is not None else []


def _revision_of(ledger: Ledger, run: RunRecord) -> int | None:
    return next((c.revision for c in _captures_of(ledger, run) if c.holder == run.key.digest), None)


def _relevant(records: list[StepRecord], wanted: set[str]) -> list[StepRecord]:
    """Return the steps that are wanted and those before them; all, if none in particular is."""
    by_name = {record.step: record for record in records}
    pending, found = list(wanted or by_name), set()
    while pending:
        name = pending.pop()
        if name in by_name and name not in found:
            found.add(name)
            pending += by_name[name].after
    return [record for record in records if record.step in found]


def _source_of(read: VersionRead, depth: int, found: dict[str, Source]) -> Source:
    known = found.get(read.run_key)
    if known is None:
        known = found[read.run_key] = Source(
            depth=depth,
            workflow=read.workflow,
            partition=read.partition,
            capture_id=read.capture_id,
            revision=read.revision,
            run_key=read.run_key,
        )
    return known


def _digests(ledger: Ledger, reads: list[VersionRead]) -> Mapping[_StepOfCapture, str | None]:
    """Return the digests that the captures that were read have now, whichever run of their batch holds them."""
    of_step: dict[tuple[str, str], set[PartitionKey | None]] = {}
    for read in reads:
        of_step.setdefault((read.workflow, read.step), set()).add(read.partition)
    found: dict[_StepOfCapture, str | None] = {}
    for (workflow, step), partitions in of_step.items():
        versions: list[Version] = ledger.versions(workflow, step, partitions)
        for v in versions:
            found[workflow, step, v.partition, v.capture_id] = None if v.is_hole else v.digest
    return found


def _run_data(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": str(run.status),
        "batch_id": run.context.batch_id,
        "as_of_date": run.context.as_of_date.isoformat() if run.context.as_of_date else None,
        "engine": run.engine,
        "by": run.owner,
        "started_at": run.context.started_at.isoformat(),
        "finished_at": _time(run.finished_at),
        "params": to_json(run.context.params),
    }


def _step_data(step: StepRecord) -> dict[str, Any]:
    return {
        "step": step.step,
        "status": str(step.status),
        "code": step.version,
        "config": to_json(step.config),
        "started_at": step.started_at.isoformat(),
        "inputs": {
            name: [
                {
                    "workflow": read.workflow,
                    "step": read.step,
                    "partition": str(read.partition) if read.partition else None,
                    "capture_id": read.capture_id,
                    "revision": read.revision,
                    "run_key": read.run_key,
                    "digest": read.digest,
                }
                for read in reads
            ]
            for name, reads in step.inputs.items()
        },
    }


def _time(time: datetime | None) -> str | None:
    return time.isoformat() if time is not None else None
