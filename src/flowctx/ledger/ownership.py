"""Whose a run is: who began its latest attempt, with which nonce, and whether it is alive."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from flowctx.core.durability.records import RunKey, RunRecord, RunStatus
from flowctx.core.errors import RunAlive, RunExists, Superseded
from flowctx.core.workflow.result import StepStatus


def new_nonce() -> str:
    """Return what only the writer of an attempt knows: by it, and by nothing else, it knows its own commit again."""
    return uuid4().hex


def this_process() -> str:
    """Return who we are, for people to read."""
    return f"process {os.getpid()} on {platform.node()}"


def owned(owner: str | None, now: datetime, lease: timedelta) -> dict[str, Any]:
    """Return the fields that say whose a run is from now on; this process's, if nobody is named."""
    return {"owner": owner or this_process(), "begun_at": now, "lease_until": now + lease}


def reopened(run: RunRecord, now: datetime, follower: RunRecord | None) -> RunRecord:
    """Return a run that is over, as it goes on itself when a step of it begins again.

    Args:
        run: The run.
        now: The time now.
        follower: Who went on with it; whoever looks for it is sent there only while that one is under way.
    """
    continued_by = run.continued_by if follower is not None and follower.is_alive(now) else None
    return replace(run, status=RunStatus.RUNNING, finished_at=None, error=None, continued_by=continued_by)


def follower_key(run: RunRecord) -> RunKey | None:
    """Return the key of the run that went on with a run, if one did."""
    if run.continued_by is None:
        return None
    return RunKey(workflow=run.workflow, run_id=run.continued_by, partition=run.context.partition)


def refuse_alive(run: RunRecord, now: datetime) -> None:
    """Refuse to go on with a run that somebody else is at.

    Raises:
        RunAlive: The message says who, since when, and what to do.
    """
    if run.is_alive(now):
        raise RunAlive(
            f"run {run.key.text} is under way: {_who(run)}; wait for its end"
            f"{_until(run)}, or take it over (take_over=True, --take-over), which stops it at its next write"
        )


def refuse_known(run: RunRecord, now: datetime) -> None:
    """Refuse to begin a run that is there already.

    Raises:
        RunExists: The message says how it can be continued.
    """
    standing = f", which is under way: {_who(run)}" if run.is_alive(now) else ""
    raise RunExists(
        f"the ledger remembers a run {run.run_id!r} already{standing}; continue it with resume "
        f"(flowctx resume {run.run_id}), or pass another run_id="
    )


def refuse_unseen(
    run: RunRecord, seen: Mapping[str, StepStatus] | None, status: str, statuses: Mapping[str, StepStatus]
) -> None:
    """Refuse to go on with a run that has come further since it was read: the plan would repeat a step.

    Args:
        run: The run as it was read.
        seen: How its recorded steps had ended then; ``None``: nothing was planned by them.
        status: How it stands now.
        statuses: How its recorded steps have ended by now.

    Raises:
        Superseded: Read it again.
    """
    if seen is not None and (dict(seen) != dict(statuses) or status != str(run.status)):
        raise Superseded(
            f"run {run.key.text} has come further since it was read; begin again, and see: flowctx show {run.run_id}"
        )


def _who(run: RunRecord) -> str:
    since = f" since {run.begun_at:%Y-%m-%d %H:%M:%S} UTC" if run.begun_at else ""
    return f"{run.owner or 'somebody'} is at it{since}"


def _until(run: RunRecord) -> str:
    if run.lease_until is None:
        return ""
    return f" (if it is gone, it may be continued from {run.lease_until:%Y-%m-%d %H:%M:%S} UTC)"
