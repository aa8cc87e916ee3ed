"""Which version of a partition's outputs is read, and what is remembered of what was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, TypeVar

from flowctx.core.durability.records import RunStatus, VersionRead
from flowctx.core.errors import VersionGone
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus

#: What comes after each time as it is stored, and what comes after that.
_NOW, _NEVER = "~", "~~"
_V = TypeVar("_V", "Version", "PrunedVersion")


class Version(NamedTuple):
    """One capture of a partition, as whoever reads a step of it needs to know it."""

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: What is captured; of a partition it is one, of a workflow without partitions there is one for each date.
    subject: str
    #: The capture.
    capture_id: str
    #: Counts the captures of one subject.
    revision: int
    #: The digest of the key of the run that writes or wrote it.
    run_key: str
    #: That run's id.
    run_id: str
    #: Its batch.
    batch_id: str | None
    #: How that run stands: what is ok is complete, what is skipped says that there is nothing.
    status: RunStatus
    #: Why it failed or was skipped.
    error: str | None = None
    #: When it was completed, or found that there is nothing; as text that sorts.
    completed_at: str | None = None
    #: When it was completed first, if what it held then was written over since; as text that sorts.
    first_completed_at: str | None = None
    #: Until when at the latest it held what was written over since, where that was before it was granted last.
    let_go_at: str | None = None
    #: When it was granted to whoever writes or wrote it, or they let go of what it held; as text that sorts.
    claimed_at: str | None = None
    #: How often it was granted; 0: nobody knows.
    grants: int = 0
    #: Whether its run does only some steps of the workflow, so that no capture is claimed yet.
    part: bool = False
    #: Whether its workflow had the step that is read, when it was made.
    has_step: bool = True
    #: The steps that it had instead, where it had not that one; empty where nobody knows them.
    other_steps: tuple[str, ...] = ()
    #: How the step ended that is read.
    step_status: StepStatus | None = None
    #: The digest of what that step recorded.
    digest: str | None = None

    @property
    def ended_well(self) -> bool:
        """Whether it can be read: it is complete, or says that there is nothing."""
        return self.status in (RunStatus.OK, RunStatus.SKIPPED)

    @property
    def is_read(self) -> bool:
        """Whether its step can be read: it is done, also where the steps after it are still to come."""
        going_on = self.part or self.status is RunStatus.RUNNING
        return self.has_step and (self.ended_well or (going_on and self.step_status is StepStatus.OK))

    @property
    def is_hole(self) -> bool:
        """Whether there is no output, because the run or the step was skipped."""
        return self.status is RunStatus.SKIPPED or self.step_status is not StepStatus.OK

    @property
    def standing(self) -> str:
        """How its run stands, in words that follow its name."""
        return {
            RunStatus.RUNNING: "is under way",
            RunStatus.CANCELED: "was canceled",
            RunStatus.PARTIAL: "is partial",
        }.get(self.status, str(self.status))


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedVersion:
    """What is still known of a capture that was complete, and was pruned."""

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: What was captured, as of a :class:`Version`.
    subject: str
    #: The capture.
    capture_id: str
    #: Counts the captures of one subject.
    revision: int
    #: The batch of the run that wrote it.
    batch_id: str | None
    #: When it was completed, or found that there is nothing; as text that sorts.
    completed_at: str
    #: When it was completed last, at the latest, if it was written over since it was completed first.
    last_completed_at: str | None = None


def version_to_read(
    versions: Iterable[Version],
    batch_id: str | None,
    own_runs: Collection[str] = (),
    pruned: Collection[PrunedVersion] = (),
) -> Version | None:
    """Return the version of one partition that a run of a batch reads, or the one of the batch that is not done.

    That of the run's own batch, done or not: while the batch makes it, nothing older stands in. Of a workflow without
    partitions that is the one that was begun last, since a batch may make one for each of its dates. Where an engine
    makes the steps of a partition in runs of their own, it is the last run of a part with the step. Else the
    current one: the last that is complete or says that there is nothing. It need not have the step: then nothing is
    read, since an older one is not what is current.

    Args:
        versions: All captures of the partition.
        batch_id: The batch of the run that reads.
        own_runs: The digests of the keys that it has, where an engine makes several partitions or workflows in one run.
        pruned: What was complete and is pruned, as :func:`~flowctx.core.durability.current.pruned_beside` returns it.

    Raises:
        VersionGone: What is there is older than what was current, and was pruned.
    """
    versions = list(versions)
    found = [version for version in versions if not version.part]
    of_batch = [v for v in found if v.run_key in own_runs or (batch_id is not None and v.batch_id == batch_id)]
    if of_batch:
        return last_begun(of_batch, [one for one in pruned if batch_id is not None and one.batch_id == batch_id])
    parts = [version for version in versions if version.part]
    if parts:
        return parts[-1]
    return newest_known(found, pruned)


def last_begun(versions: Iterable[Version], pruned: Iterable[PrunedVersion] = ()) -> Version | None:
    """Return the version of a batch: of the dates that it has made without partitions, the one that it began last.

    Args:
        versions: All captures of the batch, done or not.
        pruned: Those that were complete and are pruned.

    Raises:
        VersionGone: One that was pruned may have been begun later.
    """
    found = max(versions, key=lambda version: (version.claimed_at or "", version.revision), default=None)
    if found is None:
        return None
    since = found.claimed_at or ""
    others = (one for one in pruned if one.subject != found.subject)
    if gone := next((one for one in others if (one.last_completed_at or one.completed_at) > since), None):
        raise VersionGone(pruned_text(gone))
    return found


def newest_known(
    versions: Iterable[Version], pruned: Collection[PrunedVersion], at: str | None = None
) -> Version | None:
    """Return the version that is current, or was so at a time: the last of those that are complete, or were then.

    What was complete then and is not there any more hides what is older: an older number was not what was known.

    Args:
        versions: All captures of the partition; parts are none.
        pruned: Those that were complete and are pruned.
        at: The time, as versions have it; ``None``: now.

    Raises:
        VersionGone: It was pruned, or written over since.
    """
    versions = [version for version in versions if not version.part]
    last = _last_then(versions, at)
    found = _latest(last.values())
    gone = _newest_gone(versions, pruned, last, found, at) if pruned else None
    lost = [] if gone is None else [(gone.revision, pruned_text(gone))]
    if at is not None:
        over = (one for one in versions if _is_after(one, last) and _was_written_over(one, found, at))
        lost += [(one.revision, _written_over(one)) for one in over]
    if lost:
        raise VersionGone(max(lost, key=itemgetter(0))[1])
    return found


def _was_written_over(version: Version, found: Version | None, at: str) -> bool:
    """Return whether a version may have been complete at a time, and newer than what is found of then."""
    first = version.first_completed_at
    if first is None or not first <= at < (version.let_go_at or version.claimed_at or ""):
        return False
    # Of more than two grants, it may have been complete again, at any time in between.
    return version.grants != 2 or _hides(version.subject, first, found)


def newest_pruned(versions: Iterable[Version], pruned: Collection[PrunedVersion]) -> PrunedVersion | None:
    """Return the version that was pruned and was newer than what is there now; the arguments are as above."""
    if not pruned:
        return None
    versions = [version for version in versions if not version.part]
    last = _last_then(versions, None)
    return _newest_gone(versions, pruned, last, _latest(last.values()), None)


def _newest_gone(
    versions: Iterable[Version],
    pruned: Iterable[PrunedVersion],
    last: Mapping[str, Version],
    found: Version | None,
    at: str | None,
) -> PrunedVersion | None:
    """Return the version that was pruned and was newer than what was found, at a time or now.

    What was made again since then is not pruned any more: it is judged by what became of that.
    """
    claimed = {(version.subject, version.revision): version.claimed_at or "" for version in versions}
    gone = [
        one
        for one in pruned
        if _is_after(one, last)
        and (at is None or one.completed_at <= at)
        and (at or _NOW) < claimed.get((one.subject, one.revision), _NEVER)
        and _hides(one.subject, min(at or _NOW, one.last_completed_at or one.completed_at), found)
    ]
    return max(gone, key=lambda one: (one.revision, one.completed_at), default=None)


def _last_then(versions: Iterable[Version], at: str | None) -> dict[str, Version]:
    """Return of each subject the last version that is complete, and was so at a time, if one is meant."""
    there = [version for version in versions if version.ended_well]
    if at is not None:
        there = [version for version in there if version.completed_at is not None and version.completed_at <= at]
    return last_of_each(there)


def _is_after(one: Version | PrunedVersion, last: Mapping[str, Version]) -> bool:
    """Return whether a version is newer than the last one of its subject."""
    return one.subject not in last or one.revision > last[one.subject].revision


def _hides(subject: str, completed_at: str, found: Version | None) -> bool:
    """Return whether what was complete since a time was newer than the version that was found."""
    return found is None or subject == found.subject or completed_at > (found.completed_at or "")


def pruned_text(version: PrunedVersion) -> str:
    """Return that a version was pruned, and what to do about it."""
    return (
        f"capture {version.capture_id} (revision {version.revision}, of {version.completed_at}) was pruned, and "
        "nothing older stands in for it; make it again, or choose another version (flowctx captures lists them), and "
        "keep such ones: flowctx ledger keep BATCH"
    )


def _written_over(version: Version) -> str:
    since = "" if version.ended_well else f" (run {version.run_id}, which {version.standing})"
    return (
        f"capture {version.capture_id} (revision {version.revision}, of {version.first_completed_at}) was written over "
        f"in its batch at {version.claimed_at}{since}, so what it held before is not known any more; choose a later "
        "time, and restate under a batch id of its own"
    )


def newest(versions: Iterable[Version]) -> Version | None:
    """Return the last of some versions of a partition: the highest revision of each subject, of those the latest."""
    return _latest(last_of_each(versions).values())


def _latest(last: Iterable[Version]) -> Version | None:
    return max(last, key=lambda version: (version.completed_at or _NOW, version.revision), default=None)


def last_of_each(versions: Iterable[Version]) -> dict[str, Version]:
    """Return the version of the highest revision of each subject."""
    return {version.subject: version for version in sorted(versions, key=lambda version: version.revision)}


def by_partition(versions: Iterable[_V]) -> dict[PartitionKey | None, list[_V]]:
    """Return the versions of each partition, in their order."""
    found: dict[PartitionKey | None, list[_V]] = {}
    for version in versions:
        found.setdefault(version.partition, []).append(version)
    return found


def comes_after(version: Version | PrunedVersion, other: Version) -> bool:
    """Return whether a version of a partition is newer than another: by revision, or by time if of another subject."""
    if version.subject == other.subject:
        return version.revision > other.revision
    return _time_of(version) > _time_of(other)


def _time_of(version: Version | PrunedVersion) -> str:
    if isinstance(version, PrunedVersion):
        return version.completed_at
    return version.completed_at or version.first_completed_at or version.claimed_at or ""


def older_with_step(version: Version, versions: Iterable[Version]) -> Version | None:
    """Return the last version before one that has the step which that one has not."""
    return newest(v for v in versions if v.ended_well and v.has_step and not v.part and comes_after(version, v))


def without_step(step: str, version: Version, older: Version | None) -> str:
    """Return, as words that follow a partition's name, that its version has not the step that is read.

    Args:
        step: The step.
        version: The version that is meant.
        older: One before it that has the step.
    """
    has = f"it has {', '.join(map(repr, version.other_steps))}" if version.other_steps else "nobody knows which it has"
    remedy = "make it again with code that has the step, or read a step that it has"
    if older is not None:
        remedy = (
            f"capture {older.capture_id} (revision {older.revision}) has it, and does not stand in: {remedy}, or "
            f"read the older one as of its time: known_at={older.completed_at!r}"
        )
    batch = f", batch {version.batch_id}" if version.batch_id is not None else ""
    return (
        f"of which the version that is meant, capture {version.capture_id} (revision {version.revision}{batch}), has "
        f"no step {step!r}: {has}; {remedy}"
    )


def version_read(workflow: str, step: str, version: Version) -> VersionRead:
    """Return what is remembered of a version that was read."""
    return VersionRead(
        workflow=workflow,
        step=step,
        partition=version.partition,
        capture_id=version.capture_id,
        revision=version.revision,
        run_key=version.run_key,
        digest=None if version.is_hole else version.digest,
    )
