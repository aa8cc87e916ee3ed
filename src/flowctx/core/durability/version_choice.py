"""Which version of each partition is meant: the current one, a batch's, a revision, or what was known at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flowctx.core.durability.versions import PrunedVersion, Version, last_of_each, newest, version_to_read
from flowctx.core.errors import ContextError, VersionGone
from flowctx.core.suggestions import a_kind

#: The largest number that SQLite and PostgreSQL hold.
_LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionChoice:
    """Which version of each partition is meant; by default the current one.

    Args:
        batch_id: That of a batch.
        revision: That of a number.
        known_at: That which was current at a time on the ledger's clock.
        capture_id: That of an id.

    Raises:
        ContextError: More than one of them, one of another type, a revision that cannot be, or a time without a zone.

    Example:
        >>> VersionChoice(revision=0)
        Traceback (most recent call last):
        flowctx.core.errors.ContextError: revision=0: revisions count from 1 to 9223372036854775807
    """

    batch_id: str | None = None
    revision: int | None = None
    known_at: datetime | None = None
    capture_id: str | None = None

    def __post_init__(self) -> None:
        chosen = [
            name for name in ("batch_id", "revision", "known_at", "capture_id") if getattr(self, name) is not None
        ]
        if len(chosen) > 1:
            raise ContextError(f"{' and '.join(chosen)} exclude each other; say one of them")
        for name, value, kind, example in (
            ("batch_id", self.batch_id, str, "its id as text"),
            ("revision", self.revision, int, "a whole number, such as 2"),
            ("known_at", self.known_at, datetime, "a datetime with its zone"),
            ("capture_id", self.capture_id, str, "its id as text"),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                raise ContextError(f"{name}={value!r} is {a_kind(value)}; pass {example}")
        if self.revision is not None and not 1 <= self.revision <= _LARGEST:
            raise ContextError(f"revision={self.revision!r}: revisions count from 1 to {_LARGEST}")
        if self.known_at is not None and self.known_at.tzinfo is None:
            raise ContextError(f"known_at={self.known_at.isoformat()} has no time zone; write one, such as +00:00 or Z")

    @property
    def text(self) -> str:
        """What is meant, in words."""
        if self.batch_id is not None:
            return f"batch {self.batch_id}"
        if self.revision is not None:
            return f"revision {self.revision}"
        if self.capture_id is not None:
            return f"capture {self.capture_id}"
        return "current" if self.known_at is None else f"known at {self.known_at.isoformat()}"

    def version(self, versions: Sequence[Version], pruned: Sequence[PrunedVersion] = ()) -> Version | None:
        """Return the version of one partition that is meant, complete or a hole; ``None`` if there is none.

        It need not have the step that is read: no other one stands in for it.

        Args:
            versions: All captures of the partition.
            pruned: Those that were complete and are pruned.

        Raises:
            VersionGone: It was there, and was pruned or written over since.
        """
        if self.known_at is not None:
            return _known_at(versions, pruned, self.known_at)
        if self.text == "current":
            return version_to_read(versions, None)
        found = newest(v for v in versions if self._is_meant(v) and _is_readable(v))
        gone = next((one for one in pruned if self._is_meant(one)), None) if found is None else None
        if gone is not None:
            raise VersionGone(_pruned(gone))
        return found

    def _is_meant(self, version: Version | PrunedVersion) -> bool:
        if self.batch_id is not None:
            return version.batch_id == self.batch_id
        if self.capture_id is not None:
            return version.capture_id == self.capture_id
        return version.revision == self.revision


def read_time(time: datetime | str | None) -> datetime | None:
    """Return a time that may be text in ISO 8601.

    Raises:
        ContextError: It is no time.

    Example:
        >>> read_time("2026-01-15T18:00:00Z").hour
        18
    """
    if time is None or isinstance(time, datetime):
        return time
    try:
        return datetime.fromisoformat(time)
    except (TypeError, ValueError) as exc:
        raise ContextError(f"known_at={time!r} is no time; write one such as 2026-01-15T18:00:00+00:00") from exc


def check_past(known_at: datetime | None, now: Callable[[], datetime], *, clock: str = "the ledger's clock") -> None:
    """Refuse a time of which nobody can say yet what will be known then.

    Args:
        known_at: The time, if one is meant.
        now: Returns the time by which captures are completed.
        clock: What tells that time.

    Raises:
        ContextError: It lies ahead.

    Example:
        >>> check_past(datetime(2026, 1, 2, tzinfo=UTC), lambda: datetime(2026, 1, 1, 18, tzinfo=UTC))
        Traceback (most recent call last):
        flowctx.core.errors.ContextError: known_at=2026-01-02T00:00:00+00:00 lies ahead: it is ...
    """
    if known_at is not None and known_at > (time := now()):
        raise ContextError(
            f"known_at={known_at.isoformat()} lies ahead: it is {time.astimezone(UTC).isoformat()} by {clock}; what "
            "will be known then is not known yet"
        )


def _known_at(versions: Iterable[Version], pruned: Iterable[PrunedVersion], time: datetime) -> Version | None:
    """Return the version that was current at a time: the last of those that were complete then.

    What was complete then and is not there any more hides what is older: an older number was not what was known.
    """
    at = time.astimezone(UTC).isoformat(timespec="microseconds")
    versions = list(versions)
    then = [v for v in versions if _is_readable(v) and v.completed_at is not None and v.completed_at <= at]
    last, found = last_of_each(then), newest(then)
    for version in versions:
        first = version.first_completed_at
        if first is None or not first <= at < (version.claimed_at or "") or not _is_after(version, last):
            continue
        # Of more than two grants, it may have been complete again, at any time in between.
        if version.grants != 2 or _hides(version.subject, first, found):
            raise VersionGone(_written_over(version))
    gone = [
        one
        for one in pruned
        if one.completed_at <= at and _is_after(one, last) and _hides(one.subject, one.completed_at, found)
    ]
    if gone:
        raise VersionGone(_pruned(max(gone, key=lambda one: (one.revision, one.completed_at))))
    return found


def _is_readable(version: Version) -> bool:
    return version.ended_well and not version.part


def _is_after(one: Version | PrunedVersion, last: Mapping[str, Version]) -> bool:
    """Return whether a version is newer than the last one of its subject."""
    return one.subject not in last or one.revision > last[one.subject].revision


def _hides(subject: str, completed_at: str, found: Version | None) -> bool:
    """Return whether what was complete since a time was newer than the version that was found."""
    return found is None or subject == found.subject or completed_at > (found.completed_at or "")


def _pruned(version: PrunedVersion) -> str:
    return (
        f"capture {version.capture_id} (revision {version.revision}, of {version.completed_at}) was pruned, and "
        "nothing older stands in for it; choose another version (flowctx captures lists them), and keep such ones: "
        "flowctx ledger keep BATCH"
    )


def _written_over(version: Version) -> str:
    since = "" if version.ended_well else f" (run {version.run_id}, which {version.standing})"
    return (
        f"capture {version.capture_id} (revision {version.revision}, of {version.first_completed_at}) was written over "
        f"in its batch at {version.claimed_at}{since}, so what it held before is not known any more; choose a later "
        "time, and restate under a batch id of its own"
    )
