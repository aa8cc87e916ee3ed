"""Many partitions under one batch id: plan, skip what is done, launch on any engine, follow."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flowctx.core.lazy_names import lazy_names
from flowctx.core.renames import old_names

if TYPE_CHECKING:
    from flowctx.backfill.engine_runs import import_engine_runs
    from flowctx.backfill.html_page import render_html
    from flowctx.backfill.joint import JointBackfill
    from flowctx.backfill.local import LocalLauncher
    from flowctx.backfill.plan import Backfill, Plan
    from flowctx.backfill.progress import LaunchListener, LaunchProgress
    from flowctx.backfill.status import BatchStatus

__all__ = [
    "Backfill",
    "BatchStatus",
    "JointBackfill",
    "LaunchListener",
    "LaunchProgress",
    "LocalLauncher",
    "Plan",
    "import_engine_runs",
    "render_html",
]


class _Callable(ModuleType):
    """``flowctx.backfill``, which can be called as the command of that name is."""

    def __call__(self, *args: Any, **kwargs: Any) -> LaunchProgress:
        """Run many partitions under one batch id; see :func:`flowctx.backfill.call.backfill`."""
        from flowctx.backfill.call import backfill

        return backfill(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

# Who only looks at a batch needs no launcher.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Backfill": "flowctx.backfill.plan",
        "BatchStatus": "flowctx.backfill.status",
        "JointBackfill": "flowctx.backfill.joint",
        "LaunchListener": "flowctx.backfill.progress",
        "LaunchProgress": "flowctx.backfill.progress",
        "LocalLauncher": "flowctx.backfill.local",
        "Plan": "flowctx.backfill.plan",
        "backfill": "flowctx.backfill.call",
        "import_engine_runs": "flowctx.backfill.leading",
        "render_html": "flowctx.backfill.html_page",
    },
    otherwise=old_names(
        __name__,
        {
            "Follower": "LaunchListener",
            "Tally": "LaunchProgress",
            "adopt": "import_engine_runs",
            "page": "render_html",
        },
    ),
)
