"""Which version of each partition is meant: the current one, a batch's, a revision, or what was known at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flowctx.core.durability.versions import PrunedVersion, Version, last_begun, newest, newest_known, pruned_text
from flowctx.core.errors import ContextError, VersionGone
from flowctx.core.suggestions import a_kind

#: The largest number that SQLite and PostgreSQL hold.
_LARGEST = 2**63 - 1
#: How each way to choose a version is written: here, and as an option.
_WRITTEN = {
    "batch_id": "batch_id= (--batch)",
    "revision": "revision= (--revision)",
    "known_at": "known_at= (--known-at)",
    "capture_id": "capture_id= (--capture)",
}


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
        chosen = [written for name, written in _WRITTEN.items() if getattr(self, name) is not None]
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
            at = self.known_at.astimezone(UTC).isoformat(timespec="microseconds")
            return newest_known(versions, pruned, at)
        if self.text == "current":
            return newest_known(versions, pruned)
        meant = [version for version in versions if self._is_meant(version) and not version.part]
        gone = [one for one in pruned if self._is_meant(one)]
        found = last_begun(meant, gone) if self.batch_id is not None else newest(v for v in meant if v.ended_well)
        if found is not None and found.ended_well:
            return found
        if gone:
            raise VersionGone(pruned_text(gone[0]))
        return None

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
