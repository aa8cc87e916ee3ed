"""Read the inputs of a step from the ledger: the same versions again where they were read before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.asking import asked
from flowctx.core.durability.current import versions_to_read
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import Reads, RunStatus, VersionRead
from flowctx.core.durability.version_choice import VersionChoice, read_time
from flowctx.core.durability.versions import (
    Version,
    by_partition,
    older_with_step,
    version_read,
    without_step,
)
from flowctx.core.errors import InputMissing, VersionGone
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import whole_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.definition import Step
from flowctx.core.workflow.import_path import import_path_of
from flowctx.core.workflow.inputs import Input
from flowctx.core.workflow.outputs import Outputs
from flowctx.core.workflow.result import StepResult, StepStatus

#: In ``metadata``: the time as of which a run reads its inputs.
KNOWN_AT = "known_at"
#: So many partitions are named in a message.
_NAMED = 5
#: A run of an engine serves no more partitions than this.
_MOST = 10_000

#: Returns why the engine may still be to make a partition, given the version that would be read; or ``None``.
Unordered = Callable[[Input, PartitionKey | None, Version | None], str | None]


class Unmade(NamedTuple):
    """Why an engine has not made a partition that it was to make in the run's own batch."""

    #: When its run ended; ``None``: what the run's own batch has made is right all the same.
    ended_at: datetime | None
    #: Why, as a clause that goes on from the partition's name.
    why: str


#: Waits, in the engine's own way, for partitions that it is still to make, and returns those that it has not made.
AwaitMade = Callable[[Input, Sequence[PartitionKey | None]], Mapping[PartitionKey | None, Unmade]]


@dataclass
class StepInputs:
    """The inputs of one step of one run."""

    #: Where outputs are remembered.
    ledger: RunLedger
    #: The step.
    step: Step
    #: What it sees.
    ctx: WorkflowContext
    #: Where large outputs and tables are.
    store: ArtifactStore | None = None
    #: Whether the engine may still be to make a partition that is not done in the run's own batch.
    unordered: Unordered = lambda item, key, version: None
    #: Waits for what the engine is still to make.
    await_made: AwaitMade = lambda item, keys: {}
    #: The versions that are to be read again, where they were read before.
    again: Reads = field(default_factory=dict)
    #: The versions that were read; what is left out was not there and optional.
    read: dict[str, tuple[VersionRead, ...]] = field(default_factory=dict)

    def load(self) -> dict[str, Any] | StepResult:
        """Return each input by its name; or how the step ends without having run, because one was skipped.

        Raises:
            InputMissing: Something is not there, or not yet.
            ContextError: There is no ledger.
            LedgerError: The ledger cannot be read.
        """
        values: dict[str, Any] = {}
        inputs = self.step.inputs
        self.read = {name: self.again[name] for name in inputs if name in self.again}
        keys_of = {name: self._keys(name, item) for name, item in inputs.items()}
        # Where one of them is gone, the next try says so too.
        self.read = {name: some for name, some in self.read.items() if _still_asked(inputs[name], keys_of[name], some)}
        for name, item in inputs.items():
            keys, known = keys_of[name], self.read.get(name)
            found = self._versions(name, item, keys) if known is None else self._read_before(name, item, known)
            self.read[name] = tuple(version_read(item.workflow.name, item.step_name, version) for version in found)
            if not item.is_single(self.step.partitions):
                values[name] = self._outputs(name, item, [version for version in found if not version.is_hole])
                continue
            skipped = next((version for version in found if version.is_hole), None)
            if skipped is not None and not item.back and not item.is_optional:
                return StepResult.skip(self._skip_reason(name, item, skipped))
            values[name] = self._loaded(name, item, found)[found[0].run_key] if found and skipped is None else None
        return values

    def _keys(self, name: str, item: Input) -> Sequence[PartitionKey | None]:
        scheme, key = self.step.partitions, self.ctx.partition
        keys = item.partitions(scheme, key)
        if (why := item.lacking(scheme, key, keys)) is not None:
            raise InputMissing(
                f"{self._label(name)}: workflow {item.workflow.name!r} has no partition for {key} ({why}); extend it, "
                "or declare the input .optional()"
            )
        return keys

    # -- which versions -------------------------------------------------------------------------------------------

    def _versions(self, name: str, item: Input, keys: Sequence[PartitionKey | None]) -> list[Version]:
        """Return the version of each partition that is read."""
        if (known_at := known_time(self.ctx)) is not None:
            return self._versions_then(name, item, keys, known_at)
        batch_id, workflow = self.ctx.batch_id, item.workflow.name
        unmade = self.await_made(item, keys)  # before the ledger is asked, which knows more after the wait
        versions = self.ledger.versions(workflow, item.step_name, keys, batch_id=batch_id)
        candidates = by_partition(versions)
        read = versions_to_read(self.ledger, workflow, versions, batch_id, self._own_runs(workflow, versions))
        gone = {key: exc for key, exc in read.items() if isinstance(exc, VersionGone)}
        chosen = {key: None if isinstance(found := read.get(key), VersionGone) else found for key in keys}
        to_come = self._to_come(item, [k for k, v in chosen.items() if v is None or v.batch_id != batch_id])
        unfinished = [k for k, v in chosen.items() if k in to_come or (v is not None and not _may_be_read(v))]
        if unfinished:
            raise InputMissing(self._unfinished(name, item, unfinished, chosen))
        for key, exc in gone.items():
            raise InputMissing(f"{self._label(name)} needs {_named(item, [key])}: {exc}")
        for key, failed in unmade.items():
            if not _made_since(failed, chosen[key], batch_id):
                raise InputMissing(f"{self._label(name)} needs {_named(item, [key])}, {failed.why}")
        for key, found in chosen.items():
            if why := self.unordered(item, key, found):
                raise InputMissing(f"{self._label(name)} may still be to come: {_named(item, [key])}, for {why}")
        missing = [key for key, version in chosen.items() if version is None]
        if missing and not item.is_optional:
            begun = [version for key in missing for version in candidates.get(key, ())]
            raise InputMissing(self._missing(name, item, missing, begun))
        return self._with_step(name, item, chosen, candidates)

    def _own_runs(self, workflow: str, versions: Sequence[Version]) -> set[str]:
        """Return the runs, by the digests of their keys, that are one run of the engine with this one.

        An equal id alone does not say so: other DAGs have the same ids, and whoever runs a workflow here may give any.
        """
        same = {version.run_key: version.partition for version in versions if version.run_id == self.ctx.run_id}
        engine = engine_of(self.ctx)
        if not same or engine.get("name", "local") == "local":
            return set()
        if (dag_id := engine.get("dag_id")) is None:
            return set(same)
        partition = next(iter(same.values())) if len(same) == 1 else None
        runs = self.ledger.list_runs(workflow=workflow, partition=partition, run_id=self.ctx.run_id, limit=_MOST)
        return {run.key.digest for run in runs if engine_of(run.context).get("dag_id") == dag_id}

    def _versions_then(
        self, name: str, item: Input, keys: Sequence[PartitionKey | None], known_at: datetime
    ) -> list[Version]:
        """Return the version of each partition that was current at a time."""
        found = by_partition(self.ledger.versions(item.workflow.name, item.step_name, keys))
        pruned = by_partition(self.ledger.pruned_versions(item.workflow.name, keys))
        choice = VersionChoice(known_at=known_at)
        chosen = {key: choice.version(found.get(key, ()), pruned.get(key, ())) for key in keys}
        missing = [key for key, version in chosen.items() if version is None]
        if missing and not item.is_optional:
            raise InputMissing(
                f"{self._label(name)} needs {_named(item, missing)}, of which no capture was complete at "
                f"{known_at}; choose a later known_at"
            )
        return self._with_step(name, item, chosen, found)

    def _with_step(
        self,
        name: str,
        item: Input,
        chosen: Mapping[PartitionKey | None, Version | None],
        candidates: Mapping[PartitionKey | None, Sequence[Version]],
    ) -> list[Version]:
        """Return the versions that are read; of a partition whose version has no such step, none stands in.

        It is left out where the input is optional, and no version has ever had the step.
        """
        read: list[Version] = []
        for key, version in chosen.items():
            if version is None:
                continue
            older = None if version.has_step else older_with_step(version, candidates[key])
            if version.has_step:
                read.append(version)
            elif older is not None or not item.is_optional or self._is_own(version):
                why = without_step(item.step_name, version, older)
                raise InputMissing(f"{self._label(name)} needs {_named(item, [key])}, {why}")
        return read

    def _is_own(self, version: Version) -> bool:
        """Whether a version is of the run's own batch."""
        return version.batch_id is not None and version.batch_id == self.ctx.batch_id

    def _to_come(self, item: Input, keys: Sequence[PartitionKey | None]) -> set[PartitionKey | None]:
        """Return the partitions that the run's own batch is still to make: nothing older stands in for them."""
        scheme, batch_id = item.workflow.partitions, self.ctx.batch_id
        batch = self.ledger.find_batch(batch_id) if keys and scheme is not None and batch_id is not None else None
        batch = batch.of(item.workflow.name) if batch is not None else None
        if batch is None or batch.selection is None or scheme is None:
            return set()
        selected = _selection(scheme, batch.selection)
        return {key for key in keys if key in selected}

    def _read_before(self, name: str, item: Input, known: Sequence[VersionRead]) -> list[Version]:
        """Return the versions that were read before, if they are still what they were."""
        keys = [read.partition for read in known]
        found = self.ledger.versions(item.workflow.name, item.step_name, keys, batch_id=self.ctx.batch_id)
        made = [version for version in found if not version.part or version.step_status is not None]
        there = {(v.partition, v.capture_id): v for v in sorted(made, key=lambda version: not version.part)}
        versions = []
        for read in known:
            version = there.get((read.partition, read.capture_id))
            if version is None or version_read(read.workflow, read.step, version).digest != read.digest:
                raise InputMissing(self._gone(name, item, read.capture_id, version is not None))
            versions.append(version)
        return versions

    # -- what is in them ------------------------------------------------------------------------------------------

    def _outputs(self, name: str, item: Input, versions: Sequence[Version]) -> Outputs:
        by_key = {version.partition: version for version in versions if version.partition is not None}

        def load(keys: Sequence[PartitionKey]) -> dict[PartitionKey, FrozenDict]:
            some = [by_key[key] for key in keys]
            found = self._loaded(name, item, some)
            return {key: found[version.run_key] for key, version in zip(keys, some, strict=True)}

        return Outputs.lazy(tuple(by_key), load)

    def _loaded(self, name: str, item: Input, versions: Sequence[Version]) -> dict[str, FrozenDict]:
        """Return the outputs that are recorded as read, by the digest of the run's key."""
        recorded = self.ledger.step_outputs(item.step_name, [version.run_key for version in versions])
        for version in versions:
            found = recorded.get(version.run_key)
            if found is None or found.digest not in (None, version.digest):
                raise InputMissing(self._gone(name, item, version.capture_id, found is not None))
        return {key: whole_output(item.step_name, one.output, self.store) for key, one in recorded.items()}

    # -- what is wrong --------------------------------------------------------------------------------------------

    def _skip_reason(self, name: str, item: Input, skipped: Version) -> str:
        why = f": {skipped.error}" if skipped.error else ""
        if skipped.step_status is StepStatus.TOLERATED:  # the run's own word is of one of its optional steps
            step = f"step {item.step_name!r}"
            why = why if why.startswith(f": optional {step}:") else f": optional {step}"
            return f"input {name!r}: {_named(item, [skipped.partition])} has no output, for a step failed{why}"
        return f"input {name!r}: {_named(item, [skipped.partition])} was skipped{why}"

    def _label(self, name: str) -> str:
        """Return what a message calls an input."""
        return f"input {name!r} of step {self.step.name!r}"

    def _anew(self) -> str:
        """Return what a message says to do about a version that was read and is gone."""
        name = self.step.name
        return f"run the step anew from the current one: from_step={name!r} (--from-step {name})"

    def _gone(self, name: str, item: Input, capture_id: str, is_there: bool) -> str:
        was = "has been captured again, with other content" if is_there else "is there no more"
        return (
            f"{self._label(name)} was read from capture {capture_id} of workflow {item.workflow.name!r}, which {was}; "
            f"{self._anew()}"
        )

    def _unfinished(
        self,
        name: str,
        item: Input,
        keys: Sequence[PartitionKey | None],
        chosen: Mapping[PartitionKey | None, Version | None],
    ) -> str:
        version = chosen[keys[0]]
        own = version if version is not None and not _may_be_read(version) else None
        if own is None and self._was_pruned(item, keys[0]):
            return (
                f"{self._label(name)} reads {_named(item, keys[:1])} in the same batch {self.ctx.batch_id!r}, whose "
                "version was pruned; no other version stands in: run it in another batch (--batch NEW_ID), which reads "
                "what is current"
            )
        how = "has not run" if own is None else own.standing
        why = f": {own.error}" if own is not None and own.error else ""
        same, remedy = f"batch {self.ctx.batch_id!r}", "launch the batch again when it is mended (--retry-failed)"
        if self.ctx.batch_id is None:
            same, remedy = f"run {self.ctx.run_id!r}", "mend it, and run that and then this step again"
        return (
            f"{self._label(name)} waits for {_named(item, keys)} in the same {same}, which {how}{why}; no older "
            f"version stands in: {remedy}"
        )

    def _was_pruned(self, item: Input, key: PartitionKey | None) -> bool:
        return any(v.batch_id == self.ctx.batch_id for v in self.ledger.pruned_versions(item.workflow.name, [key]))

    def _missing(self, name: str, item: Input, keys: Sequence[PartitionKey | None], begun: Sequence[Version]) -> str:
        why = "which nobody has captured"
        if begun:  # and none of them is complete, or is no more
            last = max(begun, key=lambda v: (v.status is RunStatus.RUNNING, v.claimed_at or ""))
            which = f" of {last.partition}" if len(keys) > 1 else ""
            why = f"of which no capture is complete: run {last.run_id}{which} {last.standing}"
            if last.status is RunStatus.RUNNING:
                return f"{self._label(name)} needs {_named(item, keys)}, {why}; wait for it"
            why += f": {last.error}" if last.error else ""
        target = import_path_of(item.workflow) or f"MODULE:{item.workflow.name}"
        if item.workflow.partitions is None or keys[0] is None:
            command = f"flowctx run {target}"
        elif len(keys) == 1:
            command = f'flowctx run {target} --partition "{keys[0]}"'
        else:
            ends = {dim: list(dict.fromkeys(str(key[dim]) for key in keys if key)) for dim in keys[0]}
            chosen = ",".join(f"{dim}={_choice(item.workflow.partitions, dim, some)}" for dim, some in ends.items())
            command = f'flowctx backfill {target} --batch NEW_ID --select "{chosen}"'
        return f"{self._label(name)} needs {_named(item, keys)}, {why}; make it: {command}"


def known_fields(known_at: datetime | str | None) -> dict[str, str]:
    """Return what a run's metadata says of the time as of which it reads its inputs.

    Raises:
        ContextError: It is no time, or has no zone.
    """
    if known_at is None:
        return {}
    time = VersionChoice(known_at=read_time(known_at)).known_at
    return {} if time is None else {KNOWN_AT: time.isoformat()}


def known_time(ctx: WorkflowContext) -> datetime | None:
    """Return the time as of which a run reads its inputs, if it does."""
    known_at = ctx.metadata.get(KNOWN_AT)
    return None if known_at is None else datetime.fromisoformat(str(known_at))


def with_known_time(ctx: WorkflowContext, before: WorkflowContext) -> WorkflowContext:
    """Return the context of a run that goes on from another one, and reads as of the same time, if that had one."""
    if KNOWN_AT not in before.metadata:
        return ctx
    return replace(ctx, metadata={**ctx.metadata, KNOWN_AT: before.metadata[KNOWN_AT]})


def _still_asked(item: Input, keys: Sequence[PartitionKey | None], known: Sequence[VersionRead]) -> bool:
    """Whether an input can be what was read before; it may have been declared otherwise then."""
    found = asked(item.workflow.name, item.step_name, keys, known)
    return not found.removed and (item.is_optional or not found.added)


def _may_be_read(version: Version) -> bool:
    """Whether a version is done; it may have been made without the step."""
    return version.is_read or (version.ended_well and not version.has_step)


def _made_since(failed: Unmade, version: Version | None, batch_id: str | None) -> bool:
    """Whether a version is no older than what an engine has not made."""
    if version is None:
        return False
    if failed.ended_at is None:
        return batch_id is not None and version.batch_id == batch_id and version.is_read
    return version.completed_at is not None and datetime.fromisoformat(version.completed_at) >= failed.ended_at


def _choice(scheme: PartitionScheme, dimension: str, values: Sequence[str]) -> str:
    if dimension == scheme.cadence_dimension and len(values) > 1:
        return f"{values[0]}..{values[-1]}"
    return "|".join(values)


def _named(item: Input, keys: Sequence[PartitionKey | None]) -> str:
    if item.workflow.partitions is None:
        return f"workflow {item.workflow.name!r}"
    some = ", ".join(str(key) for key in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    partitions = "partition" if len(keys) == 1 else amount(len(keys), "partition")
    return f"{partitions} {some}{more} of workflow {item.workflow.name!r}"


@lru_cache(maxsize=16)
def _selection(scheme: PartitionScheme, text: str) -> Selection:
    return scheme.select(text)
