"""The versions of many partitions that are meant, found so many at a time; and what a step of each recorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from struct import Struct
from typing import overload

from flowctx.artifacts import artifact_store
from flowctx.core.data.plain import ArtifactRef, FrozenDict
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.version_choice import VersionChoice, check_past
from flowctx.core.durability.versions import PrunedVersion, Version, by_partition, older_with_step, without_step
from flowctx.core.errors import LedgerError, PartitionError, UnknownBatch, VersionGone
from flowctx.core.execution.envelope import whole_output
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow
from flowctx.ledger import ledger_to_read

#: How many partitions are looked up at a time.
_PAGE = 500


def required_ledger(ledger: Ledger | str | None) -> Ledger:
    """Return the ledger that is meant, to be read.

    Raises:
        LedgerError: There is none.
    """
    found = ledger_to_read(ledger)
    if found is None:
        raise LedgerError("versions of outputs are in the ledger; pass ledger= or set FLOWCTX_LEDGER_URL")
    return found


def refuse_selection(workflow: Workflow, select: Selection | str | None, until: date | str | None) -> None:
    """Refuse to select from a workflow without partitions.

    Raises:
        PartitionError: Something is selected, or left out.
    """
    values = {"select= (--select)": select, "until= (--until)": until}
    if options := [name for name, value in values.items() if value is not None]:
        raise PartitionError(f"workflow {workflow.name!r} has no partitions; leave out {' and '.join(options)}")


class KeysInOrder(Sequence[PartitionKey]):
    """Partition keys in the order of their scheme; of each, only its place there is in memory.

    Args:
        scheme: The scheme.
        keys: Keys, in any order; those that the scheme has not are left out.
    """

    def __init__(self, scheme: PartitionScheme, keys: Iterable[PartitionKey]) -> None:
        self._scheme = scheme
        self._form = Struct(f">{len(scheme.dimensions)}Q")
        self._places = sorted(self._form.pack(*path) for path in map(scheme._find, keys) if path is not None)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> PartitionKey: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[PartitionKey]: ...
    def __getitem__(self, at: int | slice) -> PartitionKey | Sequence[PartitionKey]:
        if isinstance(at, slice):
            return [self[place] for place in range(len(self))[at]]
        return self._scheme.key_at(list(self._form.unpack(self._places[at])))


@dataclass(frozen=True)
class StepVersions:
    """The versions of one step of a workflow that are in a ledger."""

    #: Where they are.
    ledger: Ledger
    #: The workflow.
    workflow: Workflow
    #: The step's name.
    step: str

    def keys(
        self, select: Selection | str | None = None, until: date | str | None = None
    ) -> Sequence[PartitionKey | None]:
        """Return the partitions that are meant, in the scheme's order.

        Args:
            select: Which; ``None``: those that anybody has captured. A text without an end, such as ``"symbol=IBM"``,
                ends with the last date of those, where the dates of the scheme go on for ever.
            until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the
                latest one that is due.

        Raises:
            PartitionError: It cannot be, or the workflow has no partitions to select from.
            NotDue: It counts from the latest date that is due, and none is.
        """
        scheme = self.workflow.partitions
        if scheme is None:
            refuse_selection(self.workflow, select, until)
            return [None]
        if select is not None or until is not None:
            return selected(scheme, select, until, lambda: self._last_captured(scheme))
        return KeysInOrder(scheme, self.ledger.captured_partitions(self.workflow.name))

    def _last_captured(self, scheme: PartitionScheme) -> date:
        """Return the last date of which anything is captured; the first one of the scheme if nothing is."""
        assert scheme.cadence is not None  # noqa: S101 - else there are no dates
        captured = (key for key in self.ledger.captured_partitions(self.workflow.name) if key in scheme)
        return max(filter(None, map(scheme.as_of_date, captured)), default=scheme.cadence.start)

    def with_step(
        self, keys: Iterable[PartitionKey | None], choice: VersionChoice
    ) -> Iterator[tuple[PartitionKey | None, Version | None]]:
        """Yield partitions in their order, each with the version that is meant, if one has ever had the step.

        Raises:
            UnknownBatch: Nobody remembers the batch that is meant.
            VersionGone: A version was there, and was pruned or written over since; or the one that is meant has not
                the step, and is named or has one before it that has the step, which does not stand in.
        """
        named = choice.known_at is None and choice != VersionChoice()
        for key, (version,), versions in self._found(keys, (choice,)):
            if version is None or version.has_step:
                yield key, version
                continue
            older = older_with_step(version, versions)
            if named or older is not None:
                raise VersionGone(f"{key or self.workflow.name}, {without_step(self.step, version, older)}")
            yield key, None

    def ever_had_step(self, keys: Iterable[PartitionKey | None], choice: VersionChoice) -> bool:
        """Return whether any version of some partitions that may be meant, or one before it, has the step."""
        return any(version.has_step for _, versions, _ in self.each(keys, (choice,)) for version in versions)

    def chosen_or_gone(
        self, keys: Iterable[PartitionKey | None], *choices: VersionChoice
    ) -> Iterator[tuple[PartitionKey | None, tuple[Version | None, ...] | VersionGone]]:
        """Yield partitions in their order, each with the versions that are meant, those that there are; read once.

        Of a partition of which one was pruned or written over since, it is the error that says so.

        Raises:
            ContextError: A time that is meant lies ahead.
            UnknownBatch: Nobody remembers a batch that is meant.
        """
        return ((key, found) for key, found, _ in self._found_or_gone(keys, choices))

    def _found(
        self, keys: Iterable[PartitionKey | None], choices: Sequence[VersionChoice]
    ) -> Iterator[tuple[PartitionKey | None, tuple[Version | None, ...], list[Version]]]:
        """Yield partitions in their order, each with the versions that are meant, and those among which they were."""
        for key, found, versions in self._found_or_gone(keys, choices):
            if isinstance(found, VersionGone):
                raise VersionGone(f"{key or self.workflow.name}: {found}") from found
            yield key, found, versions

    def _found_or_gone(
        self, keys: Iterable[PartitionKey | None], choices: Sequence[VersionChoice]
    ) -> Iterator[tuple[PartitionKey | None, tuple[Version | None, ...] | VersionGone, list[Version]]]:
        for choice in choices:
            check_past(choice.known_at, self.ledger.now)
        unknown = {choice: error for choice in choices if (error := self._unknown(choice)) is not None}
        for key, versions, pruned in self.each(keys, choices):
            for choice in [one for one in unknown if any(map(one._is_meant, pruned))]:
                del unknown[choice]
            found: tuple[Version | None, ...] | VersionGone
            try:
                found = tuple([choice.version(versions, pruned) for choice in choices])
            except VersionGone as exc:
                found = exc
            yield key, found, versions
        for error in unknown.values():  # nor was any of their versions pruned
            raise error

    def each(
        self, keys: Iterable[PartitionKey | None], choices: Sequence[VersionChoice]
    ) -> Iterator[tuple[PartitionKey | None, list[Version], list[PrunedVersion]]]:
        """Yield partitions in their order, each with the captures that may be meant, and those that were pruned."""
        rest = iter(keys)
        while page := list(itertools.islice(rest, _PAGE)):
            there = by_partition(self.ledger.versions_meant(self.workflow.name, self.step, page, choices))
            gone = by_partition(self.ledger.pruned_versions(self.workflow.name, page))
            for key in page:
                yield key, there.get(key, []), gone.get(key, [])

    def _unknown(self, choice: VersionChoice) -> UnknownBatch | None:
        """Return the error of a batch that nobody remembers: neither it nor a run of it."""
        if choice.batch_id is not None:
            try:
                self.ledger.batches.get(choice.batch_id)
            except UnknownBatch as exc:
                return exc
        return None

    def load(self, versions: Sequence[Version]) -> list[FrozenDict]:
        """Return the outputs of versions.

        Raises:
            VersionGone: One is there no more: it was pruned or written over meanwhile.
        """
        return load_versions(self.ledger, self.workflow.name, self.step, versions)


def load_versions(ledger: Ledger, workflow: str, step: str, versions: Sequence[Version]) -> list[FrozenDict]:
    """Return what a step of a workflow recorded in some versions of it.

    Raises:
        VersionGone: One is there no more: it was pruned or written over meanwhile.
    """
    store = artifact_store(ledger)
    recorded = recorded_outputs(ledger, workflow, step, [(version, version.digest) for version in versions])
    return [whole_output(step, output, store) for output in recorded]


def recorded_outputs(
    ledger: Ledger, workflow: str, step: str, versions: Sequence[tuple[Version, str | None]]
) -> list[FrozenDict | ArtifactRef]:
    """Return what a step has returned in some versions of it, before large outputs are read from the store.

    Args:
        ledger: Where they are.
        workflow: The workflow's name.
        step: The step.
        versions: The versions, each with the digest of what the step recorded.

    Raises:
        VersionGone: One is there no more: it was pruned or written over meanwhile.
    """
    recorded = ledger.step_outputs(step, [version.run_key for version, _ in versions])
    found: list[FrozenDict | ArtifactRef] = []
    for version, digest in versions:
        one = recorded.get(version.run_key)
        if one is None:
            raise pruned_meanwhile(workflow, version)
        if one.digest not in (None, digest):
            raise written_over_meanwhile(workflow, version)
        found.append(one.output)
    return found


def pruned_meanwhile(workflow: str, version: Version) -> VersionGone:
    """Return the error of a version of a workflow that is there no more, though it was a moment ago."""
    return _gone_meanwhile(workflow, version, "was pruned")


def written_over_meanwhile(workflow: str, version: Version) -> VersionGone:
    """Return the error of a version of a workflow that is made again, though it was complete a moment ago."""
    return _gone_meanwhile(workflow, version, "was written over")


def _gone_meanwhile(workflow: str, version: Version, how: str) -> VersionGone:
    return VersionGone(
        f"capture {version.capture_id} of workflow {workflow!r} is there no more: what its run {version.run_id} held "
        f"{how} while it was read; read it again"
    )
