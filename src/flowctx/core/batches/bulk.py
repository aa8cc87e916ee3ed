"""What a batch hands to the tasks of an engine that run its slices, in plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.data.plain import FrozenDict
from flowctx.core.errors import BatchError

#: Under which name it stands in the conf of a DAG run, or in the configuration of an op.
BULK: Final = "bulk"
#: What the task or op is called that runs a slice.
RUN_SLICE: Final = "run_slice"
#: The tag of a run of Dagster whose slice got through, whatever its partitions came to.
GOT_THROUGH_TAG: Final = "flowctx/slice"
#: The form of these data; one that is newer is refused.
_VERSION: Final = 1


def bulk_name(workflow: str) -> str:
    """Return what the DAG or the job is called that runs slices of a workflow's batches."""
    return f"{workflow}__bulk"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A slice of a batch: some of its partitions, which run in one task, one after the other."""

    #: The text of its selection.
    select: str
    #: The digest of the selection, by which whoever runs it sees that it has the same partitions.
    digest: str
    #: How many partitions it has.
    partitions: int
    #: How many of them were left to run when the batch was launched.
    left: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkRequest:
    """What all slices of a launch have in common.

    Example:
        >>> from datetime import UTC
        >>> request = BulkRequest(batch_id="b", launcher="me", launched_at=datetime(2026, 1, 9, tzinfo=UTC))
        >>> BulkRequest.from_dict(request.to_dict()) == request
        True
    """

    #: The batch.
    batch_id: str
    #: Who launches it, in whose name slices give signs of life.
    launcher: str
    #: When it was launched, on the ledger's clock: what ended since does not run again.
    launched_at: datetime
    #: The parameters of its runs.
    params: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: Whether what has failed runs again, or was skipped, and from which step on what is complete does.
    retry_failed: bool = False
    retry_skipped: bool = False
    from_step: str | None = None
    #: Whether what ran before goes on although the workflow has changed since.
    accept_changes: bool = False
    #: A slice stops when so many of its partitions have failed.
    max_failures: int | None = None
    #: Whether short steps are committed together, as in batches here.
    durability: str = "group"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        facts = {**asdict(self), "launched_at": self.launched_at.isoformat(), "params": to_json(self.params)}
        return {"version": _VERSION, **facts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BulkRequest:
        """Read it back.

        Raises:
            BatchError: It was written by a newer flowctx, or by something else.
        """
        version = data.get("version")
        if version != _VERSION:
            raise BatchError(
                f"the slices of this batch are of form {version!r}, and flowctx here knows form {_VERSION}; have the "
                "same version of it where batches are launched and where they run"
            )
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        known |= {"launched_at": datetime.fromisoformat(data["launched_at"]), "params": from_json(data["params"])}
        return cls(**known)
