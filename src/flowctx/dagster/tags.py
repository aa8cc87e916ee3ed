"""Run tags: which a run has, and which mean nothing to flowctx or are nearly those that do."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import dagster as dg

from flowctx.core.errors import ContextError
from flowctx.core.workflow.parameters import slip_hint
from flowctx.core.workflow.run_request import RESERVED_NAMES, TAG_PREFIX
from flowctx.dagster._compat import SCHEDULED_TIME_TAG

PARTITION_TAG: Final = "dagster/partition"
RANGE_TAGS: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
SCHEDULE_TAG: Final = "dagster/schedule_name"
BACKFILL_TAG: Final = "dagster/backfill"
#: Of a run that does again what failed in another one: its ops, or its assets.
FROM_FAILURE_TAG: Final = "dagster/is_resume_retry"
FROM_ASSET_FAILURE_TAG: Final = "dagster/is_asset_resume_retry"

#: What Dagster's tags say of a run: its partitions, its tick, its backfill. The tags of one of them stand together.
_GROUPS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{PARTITION_TAG}(/.*)?|{'|'.join(RANGE_TAGS)}",
        rf"{re.escape(SCHEDULED_TIME_TAG)}|{SCHEDULE_TAG}",
        BACKFILL_TAG,
    )
)
#: Our name for a run that a batch launched, after the prefix.
_RUN_TAG: Final = "run"


@dataclass(frozen=True, kw_only=True)
class RunBefore:
    """A run that another one executes again, itself or by runs between them."""

    #: The run's id.
    run_id: str
    #: Whether each of those after it does again what failed in the one before.
    from_failure: bool


def runs_before(run: dg.DagsterRun, instance: dg.DagsterInstance) -> tuple[RunBefore, ...]:
    """Return the runs that a run executes again, the last first; of those before one that was deleted nobody knows."""
    return _runs_before(instance, run.run_id) if run.parent_run_id else ()


@lru_cache(maxsize=1)
def _runs_before(instance: dg.DagsterInstance, run_id: str) -> tuple[RunBefore, ...]:
    """Return the runs before one; asked for once by all that a process does for a run."""
    found: list[RunBefore] = []
    later, from_failure = instance.get_run_by_id(run_id), True
    while later is not None and later.parent_run_id is not None:
        before = instance.get_run_by_id(later.parent_run_id)
        from_failure = from_failure and _is_from_failure(later, before)
        found.append(RunBefore(run_id=later.parent_run_id, from_failure=from_failure))
        later = before
    return tuple(found)


def _is_from_failure(run: dg.DagsterRun, before: dg.DagsterRun | None) -> bool:
    """Whether a run does again what failed in another one; the tag of assets may be one that it inherited."""
    if run.tags.get(FROM_FAILURE_TAG) == "true":
        return True
    if run.tags.get(FROM_ASSET_FAILURE_TAG) != "true":
        return False
    return before is not None and before.tags.get(FROM_ASSET_FAILURE_TAG) != "true"


def root_of(run: dg.DagsterRun, instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """Return the first run of a chain of re-executions, if a run is not the first."""
    return instance.get_run_by_id(run.root_run_id) if run.root_run_id else None


def tags_of(run: dg.DagsterRun, root: dg.DagsterRun | None) -> Mapping[str, str]:
    """Return the tags of a run, and what Dagster's say of the run that it started from where its own do not.

    ``ReexecutionOptions`` in Python drops all tags.

    Args:
        run: The run.
        root: The run that it started from, if it did.
    """
    own: Mapping[str, str] = run.tags
    if root is None:
        return own
    lost: dict[str, str] = {}
    for group in _GROUPS:
        if not any(group.fullmatch(tag) for tag in own):
            lost |= {tag: value for tag, value in root.tags.items() if group.fullmatch(tag)}
    return {**lost, **own}


def partition_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those of Dagster's tags that say which partitions a run is about."""
    return {tag: value for tag, value in tags.items() if _GROUPS[0].fullmatch(tag)}


def check_tags(tags: Iterable[str], log: logging.Logger, *, strict: bool) -> None:
    """Refuse, or warn of, tags of ours that mean nothing, and those that are nearly ours.

    Args:
        tags: The run's tags.
        log: Where to warn: in Dagster the run's own log, since nobody sees another one unless it is configured.
        strict: The run is one of a workflow's own.

    Raises:
        ContextError: A tag in our namespace means nothing, and the run is one of a workflow's own.
    """
    for tag in tags:
        name = tag.removeprefix(TAG_PREFIX)
        ours = name != tag
        if name in (*RESERVED_NAMES, _RUN_TAG) or (not ours and "/" in tag):
            continue
        meant = slip_hint(name, TAG_PREFIX)
        hint = meant or f"there are {', '.join(RESERVED_NAMES)}"
        if ours and strict:
            raise ContextError(f"the run's tag {tag!r} means nothing to flowctx; {hint}")
        if ours or meant is not None:
            log.warning("the run's tag %r means nothing to flowctx; %s", tag, hint)
