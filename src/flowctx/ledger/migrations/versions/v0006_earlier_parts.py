"""Tell the parts from the whole runs among those that were recorded before this was told.

Dagster's runs of some assets were recorded as if those were all steps, and completed captures. A run is known to be a
part if its steps follow steps that are none of its own, or if runs before and after it had all of its steps and more;
a workflow that grew or shrank is not taken for that.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_RUNS = sa.table(
    "flowctx_run",
    *(sa.column(name) for name in ("run_key", "workflow", "engine", "status", "steps", "selected", "started_at")),
)
_STEPS = sa.table("flowctx_step", *(sa.column(name) for name in ("run_key", "payload")))
_CAPTURES = sa.table("flowctx_capture", *(sa.column(name) for name in ("holder", "state", "completed_at")))


def upgrade() -> None:
    """Make parts of those runs that are known to be, and let go of the captures that they completed."""
    at = op.get_bind()
    for workflow, steps in at.execute(sa.select(_RUNS.c.workflow, _RUNS.c.steps).where(*_whole()).distinct()).all():
        own = json.loads(steps)
        same = (_RUNS.c.workflow == workflow, _RUNS.c.steps == steps)
        others = [other for (other,) in at.execute(_steps_of(workflow)).all() if set(json.loads(other)) > set(own)]
        before = _follows(at, same)
        if before - set(own):
            _make_parts(at, (*same, *_whole()), own, [*(before - set(own)), *own])
        elif others:
            began = sa.select(sa.func.min(_RUNS.c.started_at), sa.func.max(_RUNS.c.started_at))
            first, last = at.execute(began.where(_RUNS.c.workflow == workflow, _RUNS.c.steps.in_(others))).one()
            within = (_RUNS.c.started_at > first, _RUNS.c.started_at < last)
            _make_parts(at, (*same, *_whole(), *within), own, json.loads(max(others, key=len)))


def downgrade() -> None:
    """Leave parts as they are: an older flowctx does not know the difference."""


def _whole() -> tuple[Any, ...]:
    return _RUNS.c.engine == "dagster", _RUNS.c.status == "ok", _RUNS.c.selected.is_(None)


def _steps_of(workflow: str) -> Any:
    return sa.select(_RUNS.c.steps).where(_RUNS.c.workflow == workflow).distinct()


def _follows(at: Any, same: tuple[Any, ...]) -> set[str]:
    """Return the steps that those of such a run follow."""
    run_key = at.execute(sa.select(_RUNS.c.run_key).where(*same, *_whole()).limit(1)).scalar()
    payloads = at.execute(sa.select(_STEPS.c.payload).where(_STEPS.c.run_key == run_key)).scalars()
    return {name for payload in payloads for name in json.loads(payload).get("after", ())}


def _make_parts(at: Any, which: tuple[Any, ...], own: list[str], steps: list[str]) -> None:
    keys = at.execute(sa.select(_RUNS.c.run_key).where(*which)).scalars().all()
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        part = {"status": "partial", "selected": json.dumps(own), "steps": json.dumps(steps)}
        at.execute(_RUNS.update().where(_RUNS.c.run_key.in_(some)).values(**part))
        free = {"state": "released", "completed_at": None}
        at.execute(_CAPTURES.update().where(_CAPTURES.c.holder.in_(some)).values(**free))
