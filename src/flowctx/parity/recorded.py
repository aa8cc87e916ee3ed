"""What a side recorded of one partition: the run's identity, and how each step ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from flowctx.artifacts import artifact_store
from flowctx.core.data.handles import bind
from flowctx.core.data.plain import FrozenDict
from flowctx.core.data.tables import Table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import whole_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Change, Tolerance, changes

#: What says who a run is, and does not depend on the engine.
_IDENTITY: Final = ("partition", "as_of_date", "idempotency_key", "params")
#: What the context says of the dates of a run.
_DATES: Final = ("calendar", "window", "due")


#: The values of a run that are compared beside its steps.
OF_RUN: Final = (*_IDENTITY, "batch_id", "capture_id", *_DATES, "run", "capture")
#: What is compared of a step beside its output.
OF_STEP: Final = ("status", "attempts", "error", "category", "quality", "context_updates", "output")


class Place(NamedTuple):
    """Where a side recorded its runs."""

    #: Its ledger.
    ledger: Ledger
    #: The batch that its runs are of.
    batch_id: str
    #: Where its large outputs and tables are.
    store: ArtifactStore | None

    @classmethod
    def of(cls, ledger: Ledger, batch_id: str) -> Place:
        """Return the place of a ledger, with its artifacts where the environment says now."""
        return cls(ledger, batch_id, artifact_store(ledger))


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What one side recorded of a partition."""

    #: The run; ``None`` if there is none.
    run: RunRecord | None = None
    #: How its capture stands; ``None`` if it has none.
    capture: str | None = None
    #: The batch that it is of.
    batch_id: str
    #: Its steps.
    steps: Mapping[str, StepRecord]
    #: Their outputs.
    outputs: Mapping[str, FrozenDict]

    @classmethod
    def of(cls, place: Place, workflow: Workflow, key: PartitionKey | None) -> Recorded:
        """Read it from where the side recorded it."""
        ledger, batch_id, store = place
        found = ledger.list_runs(workflow=workflow.name, batch_id=batch_id, partition=key, limit=1)
        if not found:
            return cls(steps={}, outputs={}, batch_id=batch_id)
        steps = {record.step: record for record in ledger.steps(found[0].key)}
        for record in steps.values():
            bind(record.updates, store)
        outputs = {
            name: whole_output(name, record.output, store)
            for name, record in steps.items()
            if record.status is StepStatus.OK
        }
        captures = ledger.captures(workflow=workflow.name, partition=key)
        states = ("skipped" if one.is_hole else str(one.state) for one in captures if one.holder == found[0].key.digest)
        return cls(run=found[0], capture=next(states, None), steps=steps, outputs=outputs, batch_id=batch_id)

    @property
    def identity(self) -> dict[str, Any]:
        """Who the run is, for what and with what: the same on every engine."""
        if self.run is None:
            return {}
        ctx = self.run.context
        found = {name: getattr(ctx, name) for name in _IDENTITY}
        # Without partition and date, only its id tells a run from another; on servers each engine has its own batch.
        texts = {"batch_id": str(ctx.batch_id), "capture_id": str(ctx.capture_id).replace(ctx.run_id, "RUN")}
        found |= {name: value.replace(self.batch_id, "BATCH") for name, value in texts.items()}
        return found | {name: ctx.metadata.get(name) for name in _DATES}

    @property
    def why(self) -> str | None:
        """Why the run failed or was skipped, if it was."""
        if self.run is None or self.run.status is RunStatus.OK:
            return None
        found = (
            f"step {name!r} {record.status}: {record.error}" for name, record in self.steps.items() if record.error
        )
        return next(found, self.run.error)

    def end(self, step: str) -> dict[str, Any]:
        """Return how a step ended, beside its output."""
        record = self.steps.get(step)
        if record is None:
            return {"status": "not run"}
        quality = record.quality.to_dict() if record.quality is not None else None
        return {
            "status": str(record.status),
            "attempts": record.attempts,
            "error": record.error,
            "category": record.category and str(record.category),
            "quality": quality,
            "context_updates": record.updates,
        }


def step_changes(one: Recorded, other: Recorded, step: str, how: Tolerance) -> list[Change]:
    """Return what differs between two sides of what a step did; the largest part first: how it ended."""
    ends = list(changes(one.end(step), other.end(step), how))
    if any(change.path == "status" for change in ends):
        return ends
    if step not in one.outputs or step not in other.outputs:
        return ends
    before, after = one.outputs[step], other.outputs[step]
    found = [*ends, *changes(before, after, how, "output")]
    return found or list(order_changes(before, after, "output"))


def run_changes(one: Recorded, other: Recorded) -> list[Change]:
    """Return what differs in who the runs are."""
    if one.run is None or other.run is None:
        return [] if one.run is other.run else [Change(path="run", old=_there(one), new=_there(other))]
    return list(changes(one.identity, other.identity, Tolerance()))


def end_changes(one: Recorded, other: Recorded) -> list[Change]:
    """Return what differs in how the runs ended, if all their steps ended alike: else it follows from them."""
    if any(one.end(step)["status"] != other.end(step)["status"] for step in {*one.steps, *other.steps}):
        return []
    before, after = ({"run": _there(side), "capture": side.capture} for side in (one, other))
    return list(changes(before, after, Tolerance()))


def _there(side: Recorded) -> str:
    return "none recorded" if side.run is None else str(side.run.status)


def order_changes(one: object, other: object, path: str) -> Iterator[Change]:
    """Yield where two equal values have their keys or columns in another order: what loops over them may differ."""
    if isinstance(one, Table) and isinstance(other, Table):
        yield from _order_change(one.columns, other.columns, f"{path}, order of columns")
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        yield from _order_change(one, other, f"{path}, order of keys")
        for name in one:
            if name in other:
                yield from order_changes(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        for number, (before, after) in enumerate(zip(one, other, strict=False)):
            yield from order_changes(before, after, f"{path}[{number}]")


def _order_change(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> Iterator[Change]:
    if list(one) != list(other):
        yield Change(path=path, old=", ".join(one), new=", ".join(other))
