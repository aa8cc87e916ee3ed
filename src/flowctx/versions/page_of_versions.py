"""Two versions of some partitions, compared step by step: what each has is asked of the ledger once for all steps."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import Version
from flowctx.core.errors import ArtifactError, VersionGone
from flowctx.core.execution.envelope import whole_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Change, Tolerance, lost, output_changes, tables_in
from flowctx.versions.choosing import pruned_meanwhile, recorded_outputs, written_over_meanwhile
from flowctx.versions.differences import Outcome, StepDifference

#: Partitions, each with the two versions that are compared.
Pairs = Sequence[tuple[PartitionKey | None, tuple[Version | None, ...]]]
#: The same, where one of them may be gone: then the error that says so.
PairsOrGone = Sequence[tuple[PartitionKey | None, tuple[Version | None, ...] | VersionGone]]


class _Side(NamedTuple):
    """A version that has a step."""

    #: The version, whichever step it was read for.
    version: Version
    #: The digest of what the step recorded; ``None`` if there is no output.
    digest: str | None


@dataclass(kw_only=True)
class Comparison:
    """Compares two versions of partitions page by page; of pages that were compared, it keeps only counts."""

    #: Where they are.
    ledger: Ledger
    #: The workflow's name.
    workflow: str
    #: The steps that are compared.
    steps: Sequence[str]
    #: When two values are equal.
    how: Tolerance
    #: Whether what only one version has is left out.
    common: bool
    #: How many steps of partitions both versions have.
    in_common: int = 0
    #: In words, the first version that has not one of the steps.
    without: str = ""
    #: In words, the first version that is gone.
    gone: str = ""
    #: Of each step, the last version with an output.
    some: dict[str, _Side] = field(default_factory=dict)

    def page(self, some: PairsOrGone, choices: tuple[VersionChoice, ...]) -> Iterator[StepDifference]:
        """Yield how the versions of some partitions stand to each other, by partition and step.

        Raises:
            VersionGone: One is gone, and not only what both have is compared; or it was pruned or written over
                meanwhile.
        """
        gone = {place: found for place, (_, found) in enumerate(some) if isinstance(found, VersionGone)}
        if gone and not self.gone:
            place, why = next(iter(gone.items()))
            self.gone = f"{some[place][0] or self.workflow}: {why}"
        if gone and not self.common:
            raise VersionGone(f"{self.gone}; to compare the others: common=True (--common)")
        page = [(key, (None, None) if isinstance(found, VersionGone) else found) for key, found in some]
        digests = self._digests(page, choices)
        of_steps = [self._of_step(name, page, digests) for name in self.steps]
        for place, (key, _) in enumerate(page):
            yield from (found[place] for found in of_steps if place in found)
            yield from (_gone(key, step, gone[place]) for step in self.steps if place in gone)

    def check(self, before: VersionChoice, after: VersionChoice) -> None:
        """Refuse what can only be said of all pages.

        Raises:
            VersionGone: No partition has both versions.
            PlainDataError: No table has a column of the key.
        """
        if not self.in_common:
            both = f"both versions, {before.text} and {after.text}"
            what = f"a step in {both}: {self.without}" if self.without else both
            what += f": {self.gone}" if self.gone and not self.without else ""
            raise VersionGone(
                f"no partition of workflow {self.workflow!r} that is meant has {what}; see: flowctx captures "
                f"{self.workflow}"
            )
        # A key may be a column of tables that differ, or of some that are equal and were not read.
        for step, side in self.some.items():
            if not self.how.key_is_seen:
                self._look_at(step, side)
        self.how.check_key()

    def _look_at(self, step: str, side: _Side) -> None:
        try:
            [recorded] = recorded_outputs(self.ledger, self.workflow, step, [side])
            output = whole_output(step, recorded, artifact_store(self.ledger))
        except VersionGone:  # what was compared stands
            return
        except ArtifactError as exc:
            lost(exc)
            return
        for table in tables_in(output):
            self.how.look_at(table)

    def _digests(self, page: Pairs, choices: tuple[VersionChoice, ...]) -> dict[tuple[str, str], str | None]:
        """Return, by run and step, the digest of what versions recorded, ``None`` if there is no output.

        A step that a version has not is left out.
        """
        versions = {version.run_key: version for _, pair in page for version in pair if version is not None}
        own, *others = self.steps  # a version says itself what the first one has recorded
        recorded: dict[tuple[str, str], tuple[StepStatus, str | None]] = {
            (key, own): (v.step_status, v.digest) for key, v in versions.items() if v.step_status is not None
        }
        recorded.update(self.ledger.digests_of(others, versions) if others else {})
        missing = [place for place in itertools.product(versions, self.steps) if place not in recorded]
        found = {
            place: None if status is not StepStatus.OK or versions[place[0]].status is RunStatus.SKIPPED else digest
            for place, (status, digest) in recorded.items()
        }
        has = self._steps_of(versions, {run_key for run_key, _ in missing})
        self._refuse_changed(versions)
        found |= {(run_key, step): None for run_key, step in missing if step in has[run_key]}
        lacking = ((run_key, step) for run_key, step in missing if step not in has[run_key])
        if not self.without and (first := next(lacking, None)) is not None:
            self.without = _without(page, choices, first, has[first[0]])
        return found

    def _steps_of(self, versions: dict[str, Version], run_keys: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the steps that the workflow of some runs had."""
        known = self.ledger.runs_of(run_keys) if run_keys else {}
        gone = next((run_key for run_key in run_keys if run_key not in known), None)
        if gone is not None:
            raise pruned_meanwhile(self.workflow, versions[gone])
        return {run_key: run.steps for run_key, run in known.items()}

    def _refuse_changed(self, versions: dict[str, Version]) -> None:
        """Refuse versions that are not what they were when they were chosen: what was read since may not be theirs."""
        as_they_were = set(self.ledger.versions_of_runs(self.workflow, self.steps[0], versions))
        version = next((version for version in versions.values() if version not in as_they_were), None)
        if version is None:
            return
        there = self.ledger.versions(self.workflow, self.steps[0], [version.partition])
        if (version.subject, version.capture_id) in {(one.subject, one.capture_id) for one in there}:
            raise written_over_meanwhile(self.workflow, version)
        raise pruned_meanwhile(self.workflow, version)

    def _of_step(self, step: str, page: Pairs, digests: dict[tuple[str, str], str | None]) -> dict[int, StepDifference]:
        """Return how what a step made stands, by the place of the partition; what is compared is read at once."""

        def side(version: Version | None) -> _Side | None:
            at = (version.run_key, step) if version is not None else None
            return _Side(version, digests[at]) if version is not None and at in digests else None

        pairs = {place: (side(old), side(new)) for place, (_, (old, new)) in enumerate(page)}
        self.in_common += sum(old is not None and new is not None for old, new in pairs.values())
        with_output = [new for _, new in pairs.values() if new is not None and new.digest is not None]
        self.some.update((step, new) for new in with_output[-1:])
        compared = [one for old, new in pairs.values() if _may_differ(old, new) for one in (old, new) if one]
        outputs = iter(recorded_outputs(self.ledger, self.workflow, step, compared) if compared else [])
        store = artifact_store(self.ledger)
        found: dict[int, StepDifference] = {}
        for place, (old, new) in pairs.items():
            if not (old and new) and (self.common or not (old or new)):
                continue
            differing: tuple[Change, ...] = ()
            if _may_differ(old, new):
                before, after = (step, next(outputs)), (step, next(outputs))
                differing = tuple(output_changes(before, after, store, self.how))
            found[place] = StepDifference(
                partition=page[place][0],
                step=step,
                outcome=_outcome(old, new, differing),
                before=old and old.version.capture_id,
                after=new and new.version.capture_id,
                changes=differing,
            )
        return found


def _gone(key: PartitionKey | None, step: str, why: VersionGone) -> StepDifference:
    changes = (Change(path="", problem=str(why).partition("; ")[0]),)  # what to do is the same for each
    return StepDifference(partition=key, step=step, outcome=Outcome.GONE, changes=changes)


def _without(page: Pairs, choices: tuple[VersionChoice, ...], which: tuple[str, str], has: Sequence[str]) -> str:
    """Return, in words, that a version has not a step, and which it has."""
    run_key, step = which
    sides = (both for _, versions in page for both in zip(choices, versions, strict=True))
    choice, version = next((c, v) for c, v in sides if v is not None and v.run_key == run_key)
    steps = ", ".join(map(repr, has)) or "nobody knows which"
    return f"capture {version.capture_id}, {choice.text}, has no step {step!r}: it has {steps}"


def _outcome(old: _Side | None, new: _Side | None, differing: Sequence[Change]) -> Outcome:
    if differing:
        return Outcome.CHANGED
    before, after = (one is not None and one.digest is not None for one in (old, new))
    return Outcome.EQUAL if before == after else Outcome.ADDED if after else Outcome.REMOVED


def _may_differ(old: _Side | None, new: _Side | None) -> bool:
    """Whether both versions have an output, and not the same one."""
    if old is None or new is None or old.digest is None or new.digest is None:
        return False
    return old.version.run_key != new.version.run_key and old.digest != new.digest
